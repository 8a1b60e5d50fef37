"""What a model takes: its inputs, one or several, in the structure that it asks for.

All of tfcam has channels last; a model that takes (B, C, H, W) gets them so here.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.images.loading import as_numpy
from tfcam.model.tree import walk
from tfcam.utils.validation import check_model

_STEPPED = (
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
    keras.layers.TimeDistributed,
)


# Of each model: what it was found for, and whether it has its channels first.
_FIRST: weakref.WeakKeyDictionary[Any, tuple[tuple[int, ...], bool]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: How it can be asked for.
        shape: Without the batch axis, the channels last; unknown sizes are None.
        dtype: What the model asks for; float32 where it says nothing.
        channels_first: Whether the model takes the channels before the sides.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    channels_first: bool = False

    @property
    def own_shape(self) -> tuple[int | None, ...]:
        """The shape as the model takes it."""
        return (self.shape[-1], *self.shape[:-1]) if self.channels_first else self.shape

    def channels_last(self, example: np.ndarray) -> np.ndarray:
        """An example of ``own_shape``, the channels last."""
        return np.moveaxis(example, 0, -1) if self.channels_first else example

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
    found = _structure(model)
    most = max(len(each.shape) for each in tf.nest.flatten(found))
    if most < 2 or not _is_channels_first(model, most + 1):
        return found
    return tf.nest.map_structure(
        lambda each: _channels_first(each) if len(each.shape) == most else each, found
    )


def _structure(model: Any) -> Any:
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


def _channels_first(taken: Input) -> Input:
    return replace(taken, shape=(*taken.shape[1:], taken.shape[0]), channels_first=True)


def _is_channels_first(model: Any, axes: int) -> bool:
    """Whether a model's maps of so many axes are (B, C, ...); looked up once for its layers.

    Raises:
        ValueError: If some are and others are not.
    """
    key = (axes, *map(id, model.layers))
    known = _FIRST.get(model)
    if known is None or known[0] != key:
        known = _FIRST[model] = key, _find_channels_first(model, axes)
    return known[1]


def _find_channels_first(model: Any, axes: int) -> bool:
    found: dict[str, str] = {}
    for path, operation in walk(model):
        _check_steps(model, path, operation)
        spec = getattr(operation, "input_spec", None)
        if axes in (getattr(spec, "ndim", None), getattr(spec, "min_ndim", None)):
            found.setdefault(getattr(operation, "data_format", "none"), path)
    first, last = found.get("channels_first"), found.get("channels_last")
    if first and last:
        raise ValueError(
            f"A model must have one data_format; {first!r} of {model.name!r} has channels_first, "
            f"{last!r} channels_last. Give both the same."
        )
    return first is not None


def _check_steps(model: Any, path: str, operation: Any) -> None:
    """Refuse steps in time whose channels are neither the first of the axes nor the last."""
    stepped = getattr(operation, "layer", operation)
    first = getattr(stepped, "data_format", None) == "channels_first"
    if first and isinstance(operation, _STEPPED):
        raise ValueError(
            f"Channels must be the last of the axes or the first; {path!r} of {model.name!r} has "
            "data_format='channels_first', and thus its channels after the steps in time: "
            "(B, time, channels, ...). Build it with data_format='channels_last'."
        )


def swapped(tensor: tf.Tensor, to_first: bool) -> tf.Tensor:
    """A batch with its channels moved from the end to the front, or back."""
    sides = range(1, tensor.shape.rank - 1)
    order = [tensor.shape.rank - 1, *sides] if to_first else [*(s + 1 for s in sides), 1]
    return tf.transpose(tensor, [0, *order])


def _is_shape(given: Any) -> bool:
    return all(size is None or isinstance(size, int) for size in given)


def inputs_of(model: Any) -> list[Input]:
    """The model's inputs in their flat order."""
    return tf.nest.flatten(structure(model))


def check_one_image(model: Any, asked: str) -> None:
    """Refuse a model that takes something else than one image.

    Args:
        model: A built Keras model.
        asked: What is for models with one, such as "stream".

    Raises:
        ValueError: If it does.
    """
    known = inputs_of(model)
    if len(known) > 1 or not known[0].is_image:
        names = ", ".join(repr(each.name) for each in known)
        raise ValueError(
            f"{asked} is for models with one image input; {model.name!r} takes {names}."
        )


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
    """Call the model in inference mode with its inputs in their flat order, channels last."""
    wanted = structure(model)
    given = [
        swapped(value, to_first=True) if taken.channels_first else value
        for taken, value in zip(tf.nest.flatten(wanted), values, strict=True)
    ]
    return model(tf.nest.pack_sequence_as(wanted, given), training=False)


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
        return list(as_numpy(value))
    return None
