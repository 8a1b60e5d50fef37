"""What a model takes: its inputs, one or several, in the structure that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.demands import check_model


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: How it can be asked for.
        shape: Without the batch axis; unknown sizes are None.
        dtype: What the model asks for; float32 where it says nothing.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"

    @property
    def is_image(self) -> bool:
        """Whether it takes (h, w, channels)."""
        return len(self.shape) == 3

    @property
    def sides(self) -> tuple[int | None, ...]:
        """The axes of positions: all but the channels, which a sequence of numbers has none of."""
        return self.shape[:-1] if len(self.shape) > 1 else self.shape

    def spec(self, size: int) -> tf.TensorSpec:
        """One example, with ``size`` for the sides that the model leaves open."""
        sides = (side or size for side in self.sides)
        return tf.TensorSpec(
            (1, *sides, *(n or 3 for n in self.shape[len(self.sides) :])), self.dtype
        )


def structure(model: Any) -> Any:
    """The model's inputs as it takes them: one ``Input``, or a list, tuple or dict of them.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If it is not built, or does not say what it takes.
    """
    check_model(model)
    if not model.built:
        raise ValueError(
            f"The model must be built before it can be explained; {model.name!r} has never been "
            "called. Call it once on a batch of images, or build it with its input shape."
        )
    if getattr(model, "inputs", None):
        tensors = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        return _inputs(tensors)
    shape = getattr(model, "input_shape", None)
    if shape is None:
        shape = (model.get_build_config() or {}).get("input_shape")
    if not shape:
        raise ValueError(
            f"The model must say what it takes; {model.name!r} does not. Build it with the shape "
            "of its inputs, or call it in a functional model: "
            "keras.Model(inputs, model(inputs))."
        )
    return _inputs(shape)


def _inputs(given: Any, name: str | None = None) -> Any:
    if isinstance(given, dict):
        return {key: _inputs(value, str(key)) for key, value in given.items()}
    if isinstance(given, list | tuple) and not _is_shape(given):
        names = [None if hasattr(each, "name") else f"input_{n}" for n, each in enumerate(given)]
        return type(given)(map(_inputs, given, names))
    if isinstance(given, list | tuple):
        return Input(name or "input", tuple(given[1:]))
    dtype = given.dtype if "int" in given.dtype else "float32"
    return Input(name or given.name, tuple(given.shape[1:]), dtype)


def _is_shape(given: Any) -> bool:
    return all(size is None or isinstance(size, int) for size in given)


def inputs_of(model: Any) -> list[Input]:
    """The model's inputs in their flat order."""
    return tf.nest.flatten(structure(model))


def find_input(model: Any, name: str | int | None = None) -> int:
    """Which input is meant; the first one with most axes where none is named.

    Raises:
        ValueError: If there is no such input.
    """
    known = inputs_of(model)
    if name is None:
        return max(range(len(known)), key=lambda n: (len(known[n].shape), -n))
    names = [each.name for each in known]
    index = names.index(name) if name in names else name
    if isinstance(index, str) or not 0 <= index < len(known):
        raise ValueError(
            f"input must be one of {', '.join(map(repr, names))}, or an index in "
            f"0..{len(known) - 1}; got {name!r}."
        )
    return index


def run(model: Any, values: Sequence[tf.Tensor]) -> Any:
    """Call the model in inference mode with its inputs in their flat order."""
    return model(tf.nest.pack_sequence_as(structure(model), list(values)), training=False)


def split_batch(value: Any, axes: int) -> list[Any] | None:
    """The examples of a batch one by one, None where it is a single example.

    Args:
        value: An array, or a list or tuple of examples.
        axes: How many axes an example has. A list of numbers is one example where it has one.
    """
    if isinstance(value, list | tuple):
        single = axes == 1 and value and not np.ndim(value[0])
        return None if single else list(value)
    shape = getattr(value, "shape", None)
    if shape is not None and len(shape) == axes + 1:
        return list(np.asarray(value))
    return None
