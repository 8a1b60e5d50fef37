"""What of a Keras layer or model tells it from others, beside its weights and the layers inside."""

from __future__ import annotations

import types
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam.utils.code_reading import names_set_by_keras

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range, np.dtype, tf.DType)
BUILTIN: tuple[type, ...] = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
# What is another in each process, or says nothing of what a layer does: KerasHub lists layers by
# their places in memory.
_OF_THE_PROCESS = ("call", "history", "_functional_layer_ids")


class LayerSettings(NamedTuple):
    """The attributes of a layer that count.

    Attributes:
        keras: Those that Keras's own code sets, such as a slope.
        own: Those that a user's class sets.
    """

    keras: dict[str, Any]
    own: dict[str, Any]


def layer_settings(operation: keras.Operation) -> LayerSettings:
    """List the attributes of a layer or model that count: its name and weights do not.

    Example:
        >>> layer_settings(keras.layers.Rescaling(0.5)).keras["scale"]
        0.5
    """
    kind: type = type(operation)
    keras_names, held = names_set_by_keras(kind), vars(operation)
    own = {
        name: part
        for name, part in held.items()
        if name not in (*keras_names, *_OF_THE_PROCESS) and not name.startswith("_self_")
    }
    theirs = {
        name: part
        for name, part in held.items()
        if name in keras_names and name not in ("name", "trainable", "built")
        # Some note there what they were made with, such as the axes of an attention.
        if name[0] != "_" or type(part) in (int, float, tuple)
        # Compiling a model changes nothing of what it gives.
        if _is_readable(part) and not isinstance(operation, keras.Model)
    }
    return LayerSettings(theirs, own)


def _is_readable(value: Any) -> bool:
    """Whether what Keras sets on a layer is a setting: its other objects may hold anything."""
    if isinstance(value, list | tuple):
        return all(map(_is_readable, value))
    if isinstance(value, dict):
        return all(map(_is_readable, value.values()))
    readable = (*PLAIN, np.ndarray, np.generic, np.ufunc, tf.Tensor, type)
    return isinstance(value, (*readable, types.FunctionType, types.MethodType, *BUILTIN))
