"""Kinds of layers: convolutions, global poolings, attentions."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from tfcam.model.tree import ModelTree, inner_operations


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


# What only passes a map on, smaller or thinned out: never the best map to explain.
PASSING = (*_kinds("MaxPooling{}"), *_kinds("AveragePooling{}"), keras.layers.Dropout)


PASSING += _kinds("SpatialDropout{}")


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


def _returns_scores(operation: Any) -> bool:
    call = getattr(operation.call, "python_function", operation.call)
    return "return_attention_scores" in inspect.signature(call).parameters
