"""Pictures (h, w) without an axis of channels: which models take them, and not a series."""

from __future__ import annotations

import math
from dataclasses import replace

import keras

from tfcam.model.call_graph import CallGraph, Shape
from tfcam.model.inputs import Input

# What leaves each value where it is.
_IN_PLACE = (keras.layers.Normalization, keras.layers.BatchNormalization)


def may_be_bare(taken: Input) -> bool:
    """Whether an input (h, w) may be of pictures, as far as its shape tells."""
    return len(taken.shape) == 2 and None not in taken.shape and "int" not in taken.dtype


def is_bare(calls: CallGraph, shape: Shape) -> bool:
    """Whether an input (h, w) is a picture, as what the model does with it first tells.

    It is one where an axis of channels is added, and, of a square, where its values are laid out in
    another way, such as by Flatten. It is a series (L, C) where a layer with weights takes it.

    Args:
        calls: What the model calls, as seen from that input.
        shape: (h, w), or length and channels.

    Example:
        >>> from tfcam.model.graph import graph_of
        >>> flat = [keras.layers.Flatten(), keras.layers.Dense(10)]
        >>> graph_of(keras.Sequential([keras.Input((28, 28)), *flat])).inputs[0].shape
        (28, 28, 1)
        >>> graph_of(keras.Sequential([keras.Input((28, 4)), *flat])).inputs[0].shape
        (28, 4)
    """
    first = calls.explained_alone() if calls.sources else calls.calls
    for call in first:
        for taken in (call.input_shape, call.shape):
            if taken is not None and taken[1:] != shape:
                return _is_laid_out(taken[1:], shape)
        if getattr(call.operation, "weights", ()) and not isinstance(call.operation, _IN_PLACE):
            return False
    return False


def _is_laid_out(inner: Shape, shape: Shape) -> bool:
    """Whether a picture of a shape is laid out as another shape."""
    if inner in ((*shape, 1), (1, *shape)):
        return True
    count = math.prod(size or 0 for size in inner)
    return shape[0] == shape[1] and count == math.prod(size or 0 for size in shape)


def with_channel(taken: Input) -> Input:
    """The input (h, w) as one of pictures (h, w, 1)."""
    return replace(taken, shape=(*taken.shape, 1), bare=True)
