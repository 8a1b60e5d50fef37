"""Pictures without an axis of channels, (h, w), or in a row: which models take them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from tfcam.model.call_graph import CallGraph, Shape
from tfcam.model.inputs import Input

# What leaves each value where it is.
_IN_PLACE = (keras.layers.Normalization, keras.layers.BatchNormalization)


def mark_bare(structure: Any, calls_of: Callable[[Any, int], CallGraph]) -> Any:
    """Give the inputs (h, w) that are pictures their axis of channels.

    Args:
        structure: The model's inputs as it takes them.
        calls_of: Gives what the model calls, of inputs in its structure and the number of one.
    """

    def marked(which: int, taken: Input) -> Input:
        # As far as its shape tells.
        may_be = len(taken.shape) == 2 and None not in taken.shape and "int" not in taken.dtype
        if may_be and is_bare(calls_of(structure, which), taken.shape):
            return replace(taken, shape=(*taken.shape, 1), bare=True)
        return taken

    inputs = enumerate(tf.nest.flatten(structure))
    return tf.nest.pack_sequence_as(structure, [marked(*each) for each in inputs])


def mark_rows(structure: Any, calls_of: Callable[[Any, int], CallGraph]) -> Any:
    """Give the inputs (h w C,) that a model folds to pictures at once the shape of these.

    Args:
        structure: The model's inputs as it takes them.
        calls_of: Gives what the model calls, of inputs in its structure and the number of one.

    Example:
        >>> from tfcam.model.graph import graph_of
        >>> fold = [keras.layers.Reshape((8, 8, 1)), keras.layers.Conv2D(4, 3)]
        >>> graph_of(keras.Sequential([keras.Input((64,)), *fold])).inputs[0].shape
        (8, 8, 1)
    """

    def marked(which: int, taken: Input) -> Input:
        may_be = len(taken.shape) == 1 and None not in taken.shape and not taken.is_text
        if not may_be:
            return taken
        inner = _first_other_shape(calls_of(structure, which), taken.shape)
        folded = _is_folded(inner, taken.shape[0])
        return replace(taken, shape=inner, row=True) if folded else taken

    inputs = tf.nest.flatten(structure)
    if any(len(taken.shape) > 1 for taken in inputs):  # what stands beside pictures is a table
        return structure
    return tf.nest.pack_sequence_as(structure, [marked(*each) for each in enumerate(inputs)])


def _is_folded(inner: Shape, count: int | None) -> bool:
    """Whether a shape is that of a picture with so many values."""
    sizes = [size or 0 for size in inner]
    is_picture = len(sizes) == 3 and sizes[-1] in (1, 3, 4) and min(sizes[:2]) > 1
    return is_picture and math.prod(sizes) == count


def is_bare(calls: CallGraph, shape: Shape) -> bool:
    """Whether an input (h, w) is a picture, as what the model does with it first tells.

    It is one where an axis of channels is added, and, of a square, where its values are laid out in
    another way, such as by Flatten. It is a series (L, C) where a layer with weights takes it.

    Args:
        calls: What the model calls, as seen from that input.
        shape: (h, w), or length and channels.

    Example:
        >>> from tfcam.model.graph import graph_of
        >>> def taken(shape):
        ...     flat = [keras.layers.Flatten(), keras.layers.Dense(10)]
        ...     return graph_of(keras.Sequential([keras.Input(shape), *flat])).inputs[0].shape
        >>> taken((28, 28)), taken((28, 4))
        ((28, 28, 1), (28, 4))
    """
    inner = _first_other_shape(calls, shape)
    return inner != () and _is_laid_out(inner, shape)


def _first_other_shape(calls: CallGraph, shape: Shape) -> Shape:
    """The first shape that an input gets before weights that mix its values; () without one."""
    first = calls.explained_alone() if calls.sources else calls.calls
    for call in first:
        for taken in (call.input_shape, call.shape):
            if taken is not None and taken[1:] != shape:
                return taken[1:]
        if getattr(call.operation, "weights", ()) and not isinstance(call.operation, _IN_PLACE):
            return ()
    return ()


def _is_laid_out(inner: Shape, shape: Shape) -> bool:
    """Whether a picture of a shape is laid out as another shape."""
    if inner in ((*shape, 1), (1, *shape), (*shape, 3)):  # three are the grey one, repeated
        return True
    count = math.prod(size or 0 for size in inner)
    return shape[0] == shape[1] and count == math.prod(size or 0 for size in shape)
