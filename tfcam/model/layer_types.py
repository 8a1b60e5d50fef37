"""Kinds of layers: convolutions, global poolings, attentions."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from tfcam.model.tree import walk


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


def attentions(model: Any) -> list[tuple[str, Any]]:
    """The layers that can return attention scores, with their paths: the innermost ones.

    These are ``keras.layers.MultiHeadAttention`` and its like, and any layer whose ``call`` takes
    ``return_attention_scores``.
    """
    found = [(path, each) for path, each in walk(model) if _returns_scores(each)]
    return [
        (path, each)
        for path, each in found
        if not any(_returns_scores(child) for _, child in walk(each))
    ]


def _returns_scores(operation: Any) -> bool:
    call = getattr(operation.call, "python_function", operation.call)
    return "return_attention_scores" in inspect.signature(call).parameters
