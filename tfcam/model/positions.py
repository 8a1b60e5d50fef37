"""At how many positions of each map the gradient of a score arrives: one trace, run once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import tensorflow as tf

from tfcam.maps.tensors import cancels
from tfcam.model.call_graph import Call
from tfcam.model.hooks import Side, observed
from tfcam.model.inputs import Input, run
from tfcam.model.tokens import Grid, to_map
from tfcam.model.tree import ModelTree

# A call: the ``id`` of its operation, and its number.
CallKey: TypeAlias = tuple[int, int]


def call_key(call: Call) -> CallKey:
    """What a call is known by while the model runs."""
    return id(call.operation), call.number


def count_positions(
    tree: ModelTree, structure: Any, wanted: dict[CallKey, Grid | None], asked: Sequence[int]
) -> dict[CallKey, int]:
    """Count the positions of maps that the gradient of some outputs reaches, for a random input.

    They are none where the gradient's mean over the positions is zero in every channel.

    Args:
        tree: The model.
        structure: Its inputs in the structure in which it takes them.
        wanted: The calls that give the maps, with the grid of tokens.
        asked: The indices of the outputs.
    """
    seen: dict[CallKey, tf.Tensor] = {}
    keys: list[CallKey] = []

    def visit(operation: Any, number: int, side: Side, value: Any) -> Any:
        if side == "output" and (id(operation), number) in wanted and tf.is_tensor(value):
            seen[id(operation), number] = value
        return value

    def look(*values: tf.Tensor) -> dict[str, tf.Tensor]:
        with observed(tree, tree.operations, visit):
            outputs = tf.nest.flatten(run(tree, structure, values))
        chosen = [getattr(outputs[n], "_keras_logits", outputs[n]) for n in asked]
        total = tf.add_n([_weighted(one) for one in chosen if one.dtype.is_floating])
        keys[:] = [key for key, value in seen.items() if value.graph is total.graph]
        slopes = tf.gradients(total, [seen[key] for key in keys])
        return {
            str(index): _positions(slope, wanted[keys[index]], tree.spacing)
            for index, slope in enumerate(slopes)
            if slope is not None
        }

    taken: list[Input] = tf.nest.flatten(structure)
    examples = [*map(_example, taken)]
    counts = tf.function(look, autograph=False).get_concrete_function(*examples)(*examples)
    return {keys[int(name)]: int(count) for name, count in counts.items()}


def _weighted(output: tf.Tensor) -> tf.Tensor:
    weights = tf.random.stateless_normal(tf.shape(output), [0, 1])
    return tf.reduce_sum(tf.cast(output, tf.float32) * weights)


def _positions(slope: Any, grid: Grid | None, spacing: float) -> tf.Tensor:
    slopes = tf.cast(tf.convert_to_tensor(slope), tf.float32)
    patches = slopes if grid is None else to_map(slopes, grid)
    axes = list(range(patches.shape.rank - 1))
    # Before a softmax over positions the mean is zero, but for rounding.
    empty = tf.reduce_all(cancels(patches, axes, spacing))
    count = tf.math.count_nonzero(tf.reduce_any(patches != 0, axis=-1))
    return tf.where(empty, tf.zeros_like(count), count)


def _example(taken: Input) -> tf.Tensor:
    spec = taken.spec(224)
    if not spec.dtype.is_floating:
        return tf.ones(spec.shape, spec.dtype)
    return tf.cast(tf.random.stateless_uniform(spec.shape, [0, 2]), spec.dtype)
