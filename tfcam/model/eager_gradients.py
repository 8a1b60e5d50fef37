"""Convolutions whose gradient by their kernel TensorFlow computes wrongly on a CPU.

TensorFlow 2.21 writes past its memory in ``Conv2DBackpropFilter`` of a kernel of one pixel, with
steps, of fewer than 16 channels. An eager tape always computes it; a traced function does only
where it is asked for, and no explanation asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tfcam.model.layer_types import POINTWISE, TRANSPOSED

_LAYERS = POINTWISE + TRANSPOSED
_LEAST_CHANNELS = 16
# Both take a kernel (..., channels, filters) as their second input; the gradient of the second is
# that of a convolution as well.
_CONVOLUTIONS = ("Conv2D", "Conv2DBackpropInput")
# What calls functions: "StatefulPartitionedCall", "StatelessWhile" and their like.
_CALLS = ("PartitionedCall", "While", "If", "Case")


def layers_harm(operations: Iterable[Any]) -> bool:
    """Tell whether one of Keras's own layers is such a convolution.

    Example:
        >>> import keras
        >>> layer = keras.layers.Conv2D(4, 1, strides=2)
        >>> layer.build((None, 8, 8, 3))
        >>> layers_harm([layer]), layers_harm([keras.layers.Conv2D(4, 1)])
        (True, False)
    """
    return any(
        isinstance(each, _LAYERS)
        and getattr(each, "kernel", None) is not None
        and _harms(each.kernel.shape, each.strides)
        for each in operations
    )


def graph_harms(graph: tf.Graph) -> bool:
    """Tell whether a traced graph holds such a convolution, whatever code it comes from.

    Of those in functions that it calls the kernels can't be told: with steps they count, but for
    functions that XLA compiles, which has code of its own.
    """
    operations = graph.get_operations()
    if any(
        operation.type in _CONVOLUTIONS
        and _harms(operation.inputs[1].shape, operation.get_attr("strides"))
        for operation in operations
    ):
        return True
    if not any(operation.type.endswith(_CALLS) for operation in operations):
        return False
    return any(
        node.op in _CONVOLUTIONS and max(node.attr["strides"].list.i) > 1
        for function in graph.as_graph_def().library.function
        if not function.attr["_XlaMustCompile"].b
        for node in function.node_def
    )


def _harms(kernel: Sequence[int | None] | tf.TensorShape, steps: Sequence[int]) -> bool:
    if max(steps) == 1:
        return False
    if isinstance(kernel, tf.TensorShape) and kernel.rank is None:
        return True
    *sides, channels, _ = kernel
    return {*sides} <= {1, None} and (channels or 0) < _LEAST_CHANNELS
