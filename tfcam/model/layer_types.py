"""Kinds of layers: convolutions, global poolings, attentions."""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

import keras

from tfcam.model.class_code import call_code, is_foreign
from tfcam.model.tree import ModelTree, children, inner_operations


def _kinds(pattern: str) -> tuple[type, ...]:
    return tuple(getattr(keras.layers, pattern.format(d)) for d in ("1D", "2D", "3D"))


POINTWISE: tuple[Any, ...] = _kinds("Conv{}")


CONVOLUTIONS = (
    *POINTWISE,
    *_kinds("Conv{}Transpose"),
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


GLOBAL_POOLINGS = (*_kinds("GlobalAveragePooling{}"), *_kinds("GlobalMaxPooling{}"))


# What makes maps of a video step by step.
RECURRENT_MAPS = _kinds("ConvLSTM{}")


# What only passes a map on, smaller, larger or thinned out: never the best map to explain.
PASSING = (*_kinds("MaxPooling{}"), *_kinds("AveragePooling{}"), keras.layers.Dropout)


PASSING += (*_kinds("SpatialDropout{}"), *_kinds("ZeroPadding{}"), *_kinds("Cropping{}"))


# What convolves of keras.ops, as an operation of a functional model, and by name in users' code.
_CONVOLVING_OPERATIONS = ("Conv", "DepthwiseConv", "SeparableConv")
_CONVOLVING_FUNCTIONS = frozenset(
    [
        *("conv", "conv1d", "conv2d", "conv3d", "Conv2D", "Conv3D", "convolution"),
        *("depthwise_conv", "depthwise_conv2d", "separable_conv", "separable_conv2d"),
    ]
)
_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)


def attentions(tree: ModelTree) -> list[tuple[str, Any]]:
    """List the layers that can return attention scores, with their paths: the innermost ones.

    These are ``keras.layers.MultiHeadAttention`` and its like, and any layer whose ``call`` takes
    ``return_attention_scores``.
    """
    readable = [(path, layer) for path, layer in tree.items() if _returns_scores(layer)]
    return [
        (path, layer)
        for path, layer in readable
        if not any(map(_returns_scores, inner_operations(layer)))
    ]


def breaks_eager_gradients(tree: ModelTree) -> bool:
    """Whether a model has, or may have, a convolution whose gradient may not be computed eagerly.

    On a CPU, TensorFlow 2.21 writes past its memory in the eager gradient of a convolution of one
    pixel, with steps, of fewer than 16 channels; a traced function does not. Of what users' code
    convolves with, the sizes can't be told.
    """
    return any(map(_breaks, (tree.model, *tree.operations)))


def _breaks(operation: Any) -> bool:
    if isinstance(operation, POINTWISE):
        kernel = getattr(operation, "kernel", None)
        steps = max(operation.strides) > 1 and max(operation.kernel_size) == 1
        return steps and kernel is not None and kernel.shape[-2] < 16
    kind, own = type(operation), vars(operation)
    if kind.__module__.startswith("keras.") and not isinstance(operation, keras.Layer):
        return kind.__name__ in _CONVOLVING_OPERATIONS  # of keras.ops
    given = [value for value in own.values() if isinstance(value, _FUNCTIONS)]
    if is_foreign(kind) and not given:
        return False
    return not _CONVOLVING_FUNCTIONS.isdisjoint(call_code(operation, given).read - own.keys())


def sealed_path(tree: ModelTree) -> str | None:
    """The path of an exported network inside a model, which can't be opened; None without one."""
    sealed = (p for p, layer in tree.items() if isinstance(layer, keras.layers.TFSMLayer))
    return next(sealed, None)


def own_weights(operation: Any) -> list[Any]:
    """The weights of an operation that are not of operations inside it."""
    if isinstance(operation, keras.Model):
        return []
    inner = {
        id(weight) for child in children(operation) for weight in getattr(child, "weights", ())
    }
    return [weight for weight in getattr(operation, "weights", ()) if id(weight) not in inner]


def has_kernel(operation: Any) -> bool:
    """Whether an operation has weights that are no vectors: a mean or a scale is one."""
    if hasattr(operation, "kernel") or hasattr(operation, "depthwise_kernel"):
        return True
    return any(sum(n > 1 for n in weight.shape) > 1 for weight in own_weights(operation))


def _returns_scores(operation: Any) -> bool:
    call = getattr(operation.call, "python_function", operation.call)
    return "return_attention_scores" in inspect.signature(call).parameters
