"""What every option must be, whatever the model: checked first, with one message each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from tfcam.utils.foreign_models import hint_for
from tfcam.utils.suggestions import did_you_mean

LARGEST = 2**31 - 1


def shown(value: object) -> str:
    """Write a value as an error shows it: on one line, and no screen of numbers.

    Example:
        >>> shown([[0.0] * 99])[:20], len(shown([[0.0] * 99]))
        ('[[0.0, 0.0, 0.0, 0.0', 200)
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def kind_of(value: object) -> str:
    """Write a value and its type as an error shows them."""
    return f"{shown(value)} of type {type(value).__name__}"


def check_choice(name: str, value: Any, known: Collection[str]) -> str:
    """Check a name: it must be one of the known ones.

    Raises:
        ValueError: If it is none.

    Example:
        >>> check_choice("fuse", "min", ["max", "mean"])
        Traceback (most recent call last):
        ValueError: fuse must be one of max, mean; got 'min'.
    """
    if not isinstance(value, str) or value not in known:
        raise ValueError(
            f"{name} must be one of {', '.join(known)}; got {shown(value)}."
            f"{did_you_mean(value, known)}"
        )
    return value


def check_model(model: object) -> None:
    """Refuse what is no Keras model.

    Raises:
        TypeError: If it is none.

    Example:
        >>> check_model("resnet50")
        Traceback (most recent call last):
        TypeError: model must be a built Keras model; got 'resnet50' of type str.
    """
    import keras  # here, as the command line's --help is to be quick

    if isinstance(model, keras.Model):
        return
    hint = hint_for(model)
    if isinstance(model, keras.Layer):
        hint = "Put the layer into one: keras.Model(inputs, layer(inputs))."
    raise TypeError(f"model must be a built Keras model; got {kind_of(model)}. {hint}".rstrip())


def check_flag(name: str, value: Any) -> bool:
    """Check a flag: "no" and [0] would count as true.

    Raises:
        TypeError: If it is neither.

    Example:
        >>> check_flag("augment", "no")
        Traceback (most recent call last):
        TypeError: augment must be True or False; got 'no' of type str.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False; got {kind_of(value)}.")
    return value


def check_count(name: str, value: Any, least: int = 1) -> int:
    """Check a whole number, and return it as an int.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is out of range.

    Example:
        >>> check_count("batch_size", 0)
        Traceback (most recent call last):
        ValueError: batch_size must be at least 1; got 0.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number; got {kind_of(value)}.")
    count = int(value)
    if count < least:
        raise ValueError(f"{name} must be at least {least}; got {count}.")
    if count > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST}; got {count}.")
    return count


def check_labels(labels: Any) -> list[str] | None:
    """Check labels, and return them as a list in the order of the classes.

    Raises:
        TypeError: If they are no ordered texts.

    Example:
        >>> check_labels("cat, dog")
        Traceback (most recent call last):
        TypeError: labels must be a list of texts, one for each class in order; got 'cat, dog' of
        type str.
    """
    if labels is None:
        return None
    unordered = (str, bytes, Mapping, set, frozenset)
    listed = None if isinstance(labels, unordered) else _listed(labels)
    if listed is not None:
        if all(isinstance(each, str) for each in listed):
            return listed
        wrong = next(each for each in listed if not isinstance(each, str))
        raise TypeError(f"labels must be texts, one for each class; one is {kind_of(wrong)}.")
    raise TypeError(
        f"labels must be a list of texts, one for each class in order; got {kind_of(labels)}."
    )


def kept_labels(labels: Any) -> Any:
    """Labels as they are now, whatever becomes of what holds them."""
    if isinstance(labels, Iterator):  # it gives them once
        return list(labels)
    try:
        return copy.copy(labels)
    except TypeError:
        return labels


def check_progress(value: Any) -> bool | None:
    """Check what ``progress`` may be: True, False or None.

    Raises:
        TypeError: If it is something else.

    Example:
        >>> check_progress("yes")
        Traceback (most recent call last):
        TypeError: progress must be None, True or False; got 'yes' of type str.
    """
    if not isinstance(value, bool | None):
        raise TypeError(f"progress must be None, True or False; got {kind_of(value)}.")
    return value


def check_grid(grid: Any) -> tuple[int, ...] | None:
    """Check a height and a width, with a number of frames before them or not.

    Raises:
        ValueError: If it is none of them.

    Example:
        >>> check_grid([14, 7]), check_grid((8, 14, 7))
        ((14, 7), (8, 14, 7))
    """
    sides = _counts(grid)
    if grid is not None and len(sides) not in (2, 3):
        raise ValueError(
            "grid must be (height, width), in patches, of videos (frames, height, width); got "
            f"{shown(grid)}."
        )
    return sides or None


def check_size(size: Any, name: str) -> tuple[int, int] | None:
    """Check a height and a width in pixels, and return them as two ints.

    Raises:
        ValueError: If it is none.
    """
    sides = _counts(size)
    if size is not None and len(sides) != 2:
        raise ValueError(f"{name} must be (height, width), in pixels; got {shown(size)}.")
    return (sides[0], sides[1]) if sides else None


def _listed(given: Any) -> list[Any] | None:
    """What can be gone through; None of anything else, such as a tensor of one number."""
    try:
        return list(given) if isinstance(given, Iterable) else None
    except TypeError:
        return None


def _counts(given: Any) -> tuple[int, ...]:
    """Whole numbers above 0; nothing of anything else."""
    sides = _listed(given) or ()
    whole = [isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0 for n in sides]
    return tuple(map(int, sides)) if all(whole) else ()


def check_output(output: Any) -> str | int | None:
    """Check what names an output, and return it as a text or an int.

    Raises:
        TypeError: If it can't name one.
    """
    if isinstance(output, bool) or not isinstance(output, str | Integral | None):
        raise TypeError(
            f"output must be the name or index of one of the outputs; got {kind_of(output)}."
        )
    return int(output) if isinstance(output, Integral) else output


def check_key(key: Any) -> str | None:
    """Check what ``key`` may be: a text, or None.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(key, str | None):
        raise TypeError(f"key must be a text, or None; got {kind_of(key)}.")
    return key


def check_shapes(
    arrays: Sequence[np.ndarray], wanted: Callable[[int], tuple[int | None, ...]]
) -> None:
    """Refuse examples of which one does not fit an input or the others, or is not finite.

    Args:
        arrays: The examples.
        wanted: Gives the shape of an example of so many axes; None where any size will do.

    Raises:
        ValueError: If one does not; of several it is named by its place.
    """
    for place, array in enumerate(arrays):
        named = f" It is number {place} of the batch, from 0." if len(arrays) > 1 else ""
        try:
            check_shape(array, wanted(array.ndim), arrays[0].shape)
        except ValueError as error:
            raise ValueError(f"{error}{named}") from None


def check_shape(array: np.ndarray, wanted: tuple[int | None, ...], first: tuple[int, ...]) -> None:
    """Refuse what does not fit an input, or the first of its batch, or is not finite.

    Raises:
        ValueError: If it does not.
    """
    fits = array.ndim == len(wanted) and all(
        given in (None, size) for given, size in zip(wanted, array.shape, strict=True)
    )
    if not fits or array.shape != first:
        text = " x ".join("any" if side is None else str(side) for side in wanted)
        hint = (
            " For a picture of 0..255 give uint8, or say preprocess='raw' or another."
            if len(wanted) == 3
            else ""
        )
        raise ValueError(
            "An array that is taken as already prepared must have the model's input shape "
            f"{text}, all of one size; got {array.shape}.{hint}"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            "A prepared array must be finite; "
            f"{np.count_nonzero(~np.isfinite(array))} of its values are NaN or infinite."
        )
