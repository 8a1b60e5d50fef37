"""The classes that labels name, in each form in which data sets and people have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcam.utils.validation import shown

_FORMS = (
    "a class index, a label, or one-hot numbers of as many classes as the model has; whole floats "
    "are taken, and True and False of two classes"
)


def asks_label(target: Any) -> bool:
    """Tell whether each picture's own label is explained: a user's target may equal anything."""
    return isinstance(target, str) and target == "label"


def read_label(label: Any, classes: int | None) -> int | str:
    """Read the class that the label of one picture names.

    Args:
        label: An index, a name, a whole float, one of these in an array of a single value, or
            one-hot numbers (C,).
        classes: Number of classes of the model; None where that is not known.

    Returns:
        An index or a name.

    Raises:
        ValueError: If it names no class.

    Example:
        >>> read_label(np.float32([1.0]), 2), read_label([0, 0, 1], 3), read_label(b"cat", 3)
        (1, 2, 'cat')
    """
    array = np.asarray(label)
    if array.size == 1:
        return _plain(array.reshape(-1)[0], label, classes)
    if array.ndim == 1 and array.dtype.kind in "biuf":
        ones = np.flatnonzero(array)
        if len(array) == classes and len(ones) == 1 and array[ones[0]] == 1:
            return int(ones[0])
    raise ValueError(f"A label must be {_FORMS}; got {_seen(label, array, classes)}.")


def label_of_output(label: Any, output: str | int | None) -> Any:
    """Choose the label of one output, where a picture has one of each, as Keras takes them.

    Args:
        label: Of any form; a dict or tuple holds those of several outputs, or of the only one.
        output: Which output is explained, by name or index.

    Raises:
        ValueError: If there are several, and none of that output.

    Example:
        >>> label_of_output({"age": 3, "kind": 1}, "kind"), label_of_output((2,), None)
        (1, 2)
    """
    if not isinstance(label, Mapping | tuple):
        return label
    known = dict(label if isinstance(label, Mapping) else enumerate(label))
    if output is None and len(known) == 1:
        return next(iter(known.values()))
    if output not in known:
        raise ValueError(
            f"Labels of several outputs, {', '.join(map(repr, known))}, need output= one of these; "
            f"got {output!r}."
        )
    return known[output]


def read_labels(labels: Any, classes: int | None) -> list[int | str]:
    """Read the classes that the labels of several pictures name.

    Args:
        labels: (N,), (N, 1) or one-hot (N, C), of a form that ``read_label`` takes.
        classes: Number of classes of the model; None where that is not known.

    Returns:
        An index or a name of each picture.

    Raises:
        ValueError: If they name no classes; the message gives their shape.

    Example:
        >>> read_labels([[3.0], [1.0]], 10), read_labels(np.eye(3)[[2, 0]], 3)
        ([3, 1], [2, 0])
    """
    array = np.asarray(labels)
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] not in (1, classes)):
        raise ValueError(
            f"Labels must be (N,), (N, 1) or one-hot (N, {classes or 'classes'}); got the shape "
            f"{array.shape}."
        )
    try:
        return [read_label(row, classes) for row in array]
    except ValueError as error:
        raise ValueError(f"{error} It is one of labels of the shape {array.shape}.") from None


def _plain(value: Any, label: Any, classes: int | None) -> int | str:
    """Turn a scalar into an index or a name."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        return str(value)
    number = isinstance(value, int | np.integer | float | np.floating)
    of_two = isinstance(value, bool | np.bool_) and classes == 2
    if of_two or (number and not isinstance(value, bool) and float(value).is_integer()):
        return int(value)
    raise ValueError(f"A label must be {_FORMS}; got {_seen(label, np.asarray(label), classes)}.")


def _seen(label: Any, array: np.ndarray, classes: int | None) -> str:
    known = "" if classes is None else f", for {classes} classes"
    return f"{shown(label)} of the shape {array.shape}{known}"
