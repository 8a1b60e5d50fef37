"""What a user gives for a model: its inputs however they are wrapped, one example or a batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.images.arrays import as_arrays, of_columns
from tfcam.images.loading import as_numpy
from tfcam.model.inputs import Input

# The axis of channels of grey, RGB and RGBA pictures.
_CHANNELS = (1, 3, 4)


def split_batch(value: Any, taken: Input) -> list[Any] | None:
    """The examples of a batch one by one, None where it is a single example.

    Args:
        value: An array, or a list or tuple of examples. A list of numbers is one example where the
            input has one axis. A batch may lack the axis of a single channel, as in Keras.
        taken: The input.

    Example:
        >>> grey = Input("digit", (28, 28, 1))
        >>> split_batch(np.zeros((28, 28)), grey), len(split_batch(np.zeros((8, 28, 28)), grey))
        (None, 8)
    """
    axes = len(taken.shape)
    if isinstance(value, list | tuple):
        if axes == 1 and value and not np.ndim(value[0]) and np.asarray(value[0]).dtype != object:
            return None
        inner = value[0] if len(value) == 1 else None  # as Keras takes one input, in a list
        sizes = tuple(getattr(inner, "shape", ()))
        wrapped = len(sizes) == axes + 1 and sizes[0] != 1
        return list(as_numpy(inner)) if wrapped else list(value)
    shape = getattr(value, "shape", None)
    if shape is None:
        return None
    one_channel = taken.shape[-1] == 1 and not taken.channels_first
    grey = one_channel and len(shape) == axes and shape[-1] not in _CHANNELS
    return list(as_numpy(value)) if len(shape) == axes + 1 or grey else None


def split_inputs(given: Any, structure: Any, name: str) -> list[Any]:
    """Split what a user gives for a model into what each input gets, in their flat order.

    Args:
        given: As the model takes it: of one input, that input, however it is wrapped. Labels
            beside it, (images, labels), are left out.
        structure: The model's inputs as it takes them.
        name: The model's name.

    Raises:
        TypeError: If it is a data set, and not what is in it.
        ValueError: If a model with several inputs is given anything but a list or dict of them.
    """
    _refuse_data_set(given)
    given = of_columns(given)
    inputs: list[Input] = tf.nest.flatten(structure)
    if not any(taken.is_text for taken in inputs):
        given = as_arrays(given)
    given = _without_labels(given, inputs)
    if len(inputs) == 1:
        return [_unwrapped(given, structure)]
    laid_out = _laid_out(given, structure)
    if laid_out is not None:
        return laid_out
    names = ", ".join(repr(taken.name) for taken in inputs)
    kind = "dict" if isinstance(structure, dict) else "list"
    raise ValueError(
        f"{name!r} has several inputs: give a {kind} of all of them ({names}); "
        f"got a {type(given).__name__}."
    )


def _laid_out(given: Any, structure: Any) -> list[Any] | None:
    """What each of several inputs gets, dicts and lists in one another too; None if they differ."""
    if isinstance(structure, Input):
        return [given]
    if isinstance(structure, dict):
        if not isinstance(given, Mapping) or set(given) != set(structure):
            return None
        pairs = [(given[key], structure[key]) for key in sorted(structure)]
    elif isinstance(given, list | tuple) and len(given) == len(structure):
        pairs = list(zip(given, structure, strict=True))
    else:
        return _laid_out(given, structure[0]) if len(structure) == 1 else None
    parts = [_laid_out(*pair) for pair in pairs]
    if any(part is None for part in parts):
        return None
    return [value for part in parts for value in part or ()]


def _unwrapped(given: Any, structure: Any) -> Any:
    """The one input of a model that was given as {"name": input}, dicts of dicts, or (input,)."""
    (taken,) = tf.nest.flatten(structure)
    while isinstance(given, Mapping):
        inner = structure if isinstance(structure, dict) else {}
        if len(given) != 1 or not {taken.name, *inner}.issuperset(given):
            raise ValueError(
                f"The model has one input: give it as it is, or as a dict of {taken.name!r} "
                f"alone; got a dict of {', '.join(map(repr, given)) or 'nothing'}."
            )
        ((key, given),) = given.items()
        structure = inner.get(key)
    return given


def _without_labels(given: Any, inputs: Sequence[Input]) -> Any:
    """The images of (images, labels) or (images, labels, weights), as data sets give them."""
    if not isinstance(given, list | tuple) or len(given) not in (2, 3):
        return given
    first, second = given[:2]
    if isinstance(first, Mapping):
        return first
    if len(inputs) > 1:
        return first if _are_inputs(first, inputs) else given
    return first if _are_labels(second, first, inputs[0]) else given


def _are_inputs(value: Any, inputs: Sequence[Input]) -> bool:
    """Whether something in front of labels is a batch of each of several inputs."""
    if not isinstance(value, list | tuple) or len(value) != len(inputs):
        return False
    return all(
        len(getattr(one, "shape", ())) == len(taken.shape) + 1
        for one, taken in zip(value, inputs, strict=True)
    )


def _are_labels(value: Any, images: Any, taken: Input) -> bool:
    """Whether something beside images can't be another image, but says something of each."""
    if isinstance(images, Number):
        return False
    found = list(_shapes(value))
    shapes = [shape for shape in found if shape is not None]
    if not shapes or len(shapes) < len(found):
        return False
    least = min(map(len, shapes))
    batch = split_batch(images, taken)
    if batch is None:
        return least < max(1, len(taken.shape) - 1)
    each = least > 0 and all(shape[0] == len(batch) for shape in shapes)
    return each and (len(batch) > 1 or least < 3)


def _shapes(value: Any) -> Iterator[tuple[int, ...] | None]:
    """The shape of each array of numbers in a structure; None of what is none."""
    if isinstance(value, Number):
        yield ()
    elif isinstance(value, list | tuple) and _lists_numbers(value):
        yield (len(value),)
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _shapes(inner)
    else:
        shape = getattr(value, "shape", None)
        yield None if shape is None else tuple(shape)


def _lists_numbers(value: Sequence[Any]) -> bool:
    return bool(value) and not np.ndim(value[0]) and isinstance(value[0], Number | np.generic)


def _refuse_data_set(given: Any) -> None:
    """Refuse what holds pictures without being any, such as a ``tf.data.Dataset``."""
    iterator = hasattr(given, "__next__") and not hasattr(given, "read")
    loader = type(given).__name__ == "DataLoader"
    if isinstance(given, tf.data.Dataset | keras.utils.PyDataset) or iterator or loader:
        first = "data[0]" if isinstance(given, keras.utils.PyDataset) else "next(iter(data))"
        data = "list(data)" if iterator else "data"
        raise TypeError(
            f"Images must be given, one or a batch; got a {type(given).__name__}, a whole data "
            f"set. Give a batch of it, as in images, labels = {first}; or explain all of it with "
            f"tfcam.stream(model, {data}, to=folder), or measure methods on it with "
            f"tfcam.evaluate(model, {data})."
        )
