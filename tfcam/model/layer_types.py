"""Kinds of layers: convolutions, global poolings, attentions."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from tfcam.model.tree import ModelTree, children, inner_operations


def _kinds(pattern: str) -> tuple[type, ...]:
    return tuple(getattr(keras.layers, pattern.format(d)) for d in ("1D", "2D", "3D"))


POINTWISE: tuple[Any, ...] = _kinds("Conv{}")


TRANSPOSED: tuple[Any, ...] = _kinds("Conv{}Transpose")


CONVOLUTIONS = (
    *POINTWISE,
    *TRANSPOSED,
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
