"""Inputs with the channels first that the model itself turns to (..., channels) for its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfcam.model.call_graph import CallGraph
from tfcam.model.inputs import Input, with_channels_first
from tfcam.model.layer_types import CONVOLUTIONS


def mark_turned(structure: Any, calls_of: Callable[[Any, int], CallGraph]) -> Any:
    """Tell which inputs (channels, ...) reach the first convolution as (..., channels).

    Only those with fewer channels than positions along each side are looked at.

    Args:
        structure: The model's inputs as its layers' formats tell them.
        calls_of: Gives what the model calls, of inputs in its structure and the number of one.

    Returns:
        The structure, with those inputs marked.

    Example:
        >>> import keras
        >>> from tfcam.model.graph import graph_of
        >>> turning = [keras.layers.Permute((2, 3, 1)), keras.layers.Conv2D(4, 3)]
        >>> graph_of(keras.Sequential([keras.Input((3, 8, 8)), *turning])).inputs[0].shape
        (8, 8, 3)
    """
    flat: list[Input] = tf.nest.flatten(structure)
    for which, taken in enumerate(flat):
        if _may_be_turned(taken):
            turned = [*flat[:which], with_channels_first(taken, turned=True), *flat[which + 1 :]]
            packed = tf.nest.pack_sequence_as(structure, turned)
            if _has_channels_last(calls_of(packed, which)):
                flat, structure = turned, packed
    return structure


def _may_be_turned(taken: Input) -> bool:
    channels, *sides = taken.shape
    if taken.channels_first or channels is None or len(sides) < 2:
        return False
    return all(side is not None and channels < side for side in sides)


def _has_channels_last(calls: CallGraph) -> bool:
    """Whether the first convolution that sees the explained input has its channels last."""
    for call in calls.explained(calls.calls):
        if isinstance(call.operation, CONVOLUTIONS) and call.inputs:
            rank, order = calls.rank, calls.order(call.inputs[0], calls.rank)
            return calls.ranks.get(call.inputs[0]) == rank and order[-1] == rank - 2
    return False
