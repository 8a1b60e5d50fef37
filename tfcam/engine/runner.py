"""How a function of tensors is run: eagerly at first, compiled, frozen, or on several devices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import tensorflow as tf

from tfcam.engine.freezing import frozen
from tfcam.maps.tensors import sizes
from tfcam.model.hooks import LOCK
from tfcam.utils.recent import LIMIT, Limit, Recent

# Tensors in, any structure of tensors out.
Function = TypeVar("Function", bound=Callable[..., Any])

# A tensor, or the description of such.
Tensor: TypeAlias = tf.Tensor | tf.TensorSpec

# A batch of so many images is compiled at once: eagerly, Keras keeps what every layer gives.
_MANY = 16


class Runner(Protocol):
    """How a function of tensors is run."""

    def __call__(self, key: Hashable, function: Function, tensors: Sequence[Tensor]) -> Function:
        """Find what to call in place of a function.

        Args:
            key: The same for all tensors and functions that can share what is compiled; None for
                what is never the same again, of which nothing is kept.
            function: Takes tensors, and returns tensors in any structure.
            tensors: What it will be called with, or descriptions of such, in which lengths may be
                left open.

        Returns:
            The function itself, or it compiled.
        """


class AsItIs:
    """Runs functions as they are, in plain Python."""

    def __call__(self, key: Hashable, function: Function, tensors: Sequence[Tensor]) -> Function:
        """Leave the function as it is; no other way is tried."""
        return functools.partial(function)  # type: ignore[return-value]


class Compiled:
    """Runs functions compiled, from the first call on; those used last are kept."""

    # What is let go of is compiled again when it is next asked for.
    limit: Limit | None = LIMIT

    def __init__(self) -> None:
        self.functions: Recent[Any] = Recent(limit=self.limit)

    def __call__(self, key: Hashable, function: Function, tensors: Sequence[Tensor]) -> Function:
        """Compile the function for tensors like these, or find it compiled."""
        with LOCK:
            if key is None:
                return self._made(function, tensors)
            return self.functions.get(key, lambda: self._made(function, tensors))

    def _made(self, function: Function, tensors: Sequence[Tensor]) -> Any:
        return traced(function, tensors)


class Frozen(Compiled):
    """Runs functions compiled with the weights in them, as they are at the first call."""

    limit = None  # compiled again, they would have the weights of another time

    def _made(self, function: Function, tensors: Sequence[Tensor]) -> Any:
        return frozen(traced(function, tensors))


class EagerFirst:
    """Runs functions as they are, and compiled from the second call with the same key on.

    For one picture that is faster than tracing. A large batch is compiled at once.
    """

    def __init__(self) -> None:
        self.compiled = Compiled()
        self._seen: Recent[bool] = Recent()

    def __call__(self, key: Hashable, function: Function, tensors: Sequence[Tensor]) -> Function:
        """Leave the function as it is; compile it where it was asked for before."""
        if key is None:
            return function
        with LOCK:
            known = key in self._seen
            self._seen.get(key, lambda: True)
        if known or tensors[0].shape[0] >= _MANY:
            return self.compiled(key, function, tensors)
        return function


class Replicated:
    """Runs functions compiled, each batch in equal parts on the replicas of a strategy.

    Args:
        strategy: Such as ``tf.distribute.MirroredStrategy``, in whose scope the model was made; it
            is not changed.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self.strategy = strategy
        self.functions: Recent[Any] = Recent(limit=LIMIT)

    def __call__(self, key: Hashable, function: Function, tensors: Sequence[Tensor]) -> Function:
        """Compile the function for tensors like these, whose first axis is that of the batch."""
        # Not under the lock of taps: each replica traces in a thread of its own that takes it.
        if key is None:
            return traced(self._split(function), tensors)
        return self.functions.get(key, lambda: traced(self._split(function), tensors))

    def _split(self, function: Callable[..., Any]) -> Callable[..., Any]:
        strategy, count = self.strategy, self.strategy.num_replicas_in_sync

        def share_of(tensor: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
            if not tensor.shape.rank:  # a number is of all
                return tensor
            batch, *sides = sizes(tensor)
            return tf.reshape(tensor, (count, batch // count, *sides))[which]

        def part(*tensors: tf.Tensor) -> Any:
            which = tf.distribute.get_replica_context().replica_id_in_sync_group
            return function(*(share_of(tensor, which) for tensor in tensors))

        def whole(*tensors: tf.Tensor) -> Any:
            results = strategy.run(part, args=tensors)
            return tf.nest.map_structure(lambda value: _joined(strategy, value), results)

        return whole


def traced(function: Callable[..., Any], tensors: Sequence[Tensor]) -> Any:
    """Compile a function for tensors like these, with the Python values that it reads now."""
    # One for each shape: a tf.function that held them all would complain of that.
    return tf.function(function, autograph=False).get_concrete_function(*tensors)


def _joined(strategy: tf.distribute.Strategy, value: Any) -> Any:
    """Join what the replicas gave, as if it were of one."""
    parts = strategy.experimental_local_results(value)
    if not isinstance(parts[0], tf.Tensor) or parts[0].shape.rank == 0:
        return parts[0]
    return tf.concat(parts, axis=0)
