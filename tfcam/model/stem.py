"""What reaches the first weights of a model: known pixels, run through what stands before them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.model.applications import find_family
from tfcam.model.hooks import rewired
from tfcam.model.inputs import Input, run
from tfcam.model.layer_types import has_kernel, own_weights
from tfcam.model.scale import Scale, read_scale
from tfcam.model.tree import ModelTree

# What stands for the sides that a model leaves open, in pixels.
_NOMINAL = 224


@dataclass(frozen=True)
class Arrival:
    """Pixels as they reach a network of keras.applications inside, or else the first kernel.

    Attributes:
        scale: What they have become; None where they could not be followed.
        network: That network; None where a kernel was reached before any.
    """

    scale: Scale | None
    network: weakref.ref[Any] | None = None


@dataclass(frozen=True)
class Stem:
    """What stands before the first weights, as it was when it was run.

    Attributes:
        arrivals: What reaches each network inside, or the first kernel; none where nothing could
            be found out.
        scaling: The kind of the first of Keras's layers for it, such as "Rescaling", where one is
            passed.
        statistics: The vectors that it holds, such as a mean, and their values.
    """

    arrivals: tuple[Arrival, ...] = ()
    scaling: str | None = None
    statistics: tuple[tuple[weakref.ref[Any], np.ndarray], ...] = ()

    def is_current(self) -> bool:
        """Whether what it holds has the values it had: statistics are adapted, or trained."""
        for reference, value in self.statistics:
            variable = reference()
            if variable is None or not np.array_equal(variable.numpy(), value):
                return False
        return True


def probes(size: Sequence[int]) -> np.ndarray:
    """Pictures (6, h, w, C) to run: 0, 127.5, 255, a colour, a ramp to 255, and the same to 1.

    Example:
        >>> probes((2, 2, 3)).max(axis=(1, 2, 3)).tolist()
        [0.0, 127.5, 255.0, 255.0, 255.0, 1.0]
    """
    pictures = np.zeros((6, *size), np.float32)
    pictures[1], pictures[2] = 127.5, 255
    pictures[3] = np.linspace(255, 0, size[-1])
    pictures[4] = np.linspace(0, 255, size[1])[:, np.newaxis]
    pictures[5] = pictures[4] / 255
    return pictures


def run_stem(tree: ModelTree, structure: Any, which: int) -> Stem:
    """Run pictures of known pixels through a model until they reach weights.

    Args:
        tree: The model.
        structure: Its inputs in the structure in which it takes them.
        which: Which of them is of pictures; the others are zero.
    """
    taken: list[Input] = tf.nest.flatten(structure)
    values = []
    for number, one in enumerate(taken):
        size = one.spec(_NOMINAL).shape[1:]
        blank = np.zeros((6, *size), np.float32)
        values.append(tf.cast(probes(size) if number == which else blank, one.values))
    whole = find_family([tree.model]) is not None
    networks = [] if whole else [one for one in tree.operations if find_family([one])]
    several = len({find_family([network]) for network in networks}) > 1
    arrivals: list[Arrival] = []
    passed: list[Any] = []

    def watch(operation: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        network = operation in networks
        kernel = not network and has_kernel(operation)

        def call(*args: Any, **kwargs: Any) -> Any:
            values = [*map(_whole, tf.nest.flatten((args, kwargs)))]
            reaching = next(filter(_varies, values), None)
            if reaching is not None and not network and not kernel:
                passed.append(operation)
            elif reaching is not None and (network or not arrivals):
                found = _channels_last(np.asarray(reaching, np.float32), taken[which])
                arrivals.append(
                    Arrival(read_scale(found), weakref.ref(operation) if network else None)
                )
                if not several:
                    raise _ReachedError
            if network:  # what it gives does not matter, and would take long
                return _zeros_of(operation, *args)
            return original(*args, **kwargs)

        return call

    kinds = keras.layers.Rescaling | keras.layers.Normalization
    watched = [
        one
        for one in tree.operations
        if one in networks or isinstance(one, kinds) or own_weights(one)
    ]
    try:
        with rewired(tree, watched, watch):
            run(tree, structure, values)
    except _ReachedError:
        pass
    except Exception:  # a user's code may not bear six pictures, or such ones
        return Stem()
    held = [variable for operation in passed for variable in own_weights(operation)]
    return Stem(
        tuple(arrivals),
        next((type(one).__name__ for one in passed if isinstance(one, kinds)), None),
        tuple((weakref.ref(one), one.numpy()) for one in held),
    )


class _ReachedError(BaseException):
    """The pixels are where they were to come: neither Keras nor a user's code may catch this."""


def _zeros_of(network: Any, *inputs: Any) -> Any:
    specs = network.compute_output_spec(*inputs)
    return tf.nest.map_structure(lambda one: tf.zeros(one.shape, one.dtype), specs)


def _whole(value: Any) -> Any:
    """Parts of each picture that lie one after the other in the batch, as one picture again."""
    if not isinstance(value, tf.Tensor) or value.shape.rank != 4:
        return value
    count = value.shape[0]
    return value if not count or count % 6 else tf.reshape(value, (6, -1, *value.shape[2:]))


def _varies(value: Any) -> bool:
    """Whether a tensor is not the same for the ramp as for black."""
    if not isinstance(value, tf.Tensor) or value.shape.rank < 2 or value.shape[0] != 6:
        return False
    array = value.numpy()  # TensorFlow would have to make three kernels first
    return bool((array[4] != array[0]).any())


def _channels_last(values: np.ndarray, taken: Input) -> np.ndarray:
    return np.moveaxis(values, 1, -1) if taken.layers_first and values.ndim == 4 else values
