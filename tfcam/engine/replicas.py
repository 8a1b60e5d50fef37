"""A batch split over several devices of this machine, as a ``tf.distribute`` strategy has them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.engine.engine import Engine


def over_replicas(engine: Engine, strategy: tf.distribute.Strategy) -> Engine:
    """An engine that computes each batch in equal parts on the replicas of a strategy.

    Args:
        engine: Of a model that was made in the strategy's scope.
        strategy: Such as ``tf.distribute.MirroredStrategy``; it is not changed.

    Returns:
        A new engine, which is compiled at once.
    """
    same, count = copy.copy(engine), strategy.num_replicas_in_sync
    traced = same._seen = OrderedDict()

    def function(
        images: tf.Tensor, targets: Sequence[Any], others: Sequence[np.ndarray]
    ) -> tuple[Callable[..., Any], bool, list[tf.Tensor]]:
        fixed = [None if isinstance(each, np.ndarray) else each for each in targets]
        given = [images, *(tf.constant(t) for t in targets if isinstance(t, np.ndarray))]
        key = (*((*each.shape, each.dtype) for each in given), *map(id, fixed))

        def part(*given: tf.Tensor) -> Any:
            which = tf.distribute.get_replica_context().replica_id_in_sync_group
            parts = (tf.reshape(g, (count, g.shape[0] // count, *g.shape[1:])) for g in given)
            own, *rest = (each[which] for each in parts)
            left = iter(rest)
            chosen = [next(left) if each is None else each for each in fixed]
            return same.compute(same.submodel, own, chosen)

        def whole(*given: tf.Tensor) -> Any:
            found = strategy.run(part, args=given)
            return tf.nest.map_structure(lambda each: _joined(strategy, each), found)

        if key not in traced:
            # Not under the lock of taps, as engines trace: each replica has a thread that takes it.
            traced[key] = tf.function(whole, autograph=False).get_concrete_function(*given)
        return traced[key], True, given

    same._function = function  # type: ignore[method-assign]
    return same


def _joined(strategy: tf.distribute.Strategy, value: Any) -> Any:
    """What the replicas gave, as if it were of one."""
    parts = strategy.experimental_local_results(value)
    if not isinstance(parts[0], tf.Tensor) or parts[0].shape.rank == 0:
        return parts[0]
    return tf.concat(parts, axis=0)
