"""Samples that are kept for later: pictures that are read once, and strings as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfcam.images.arrays import as_arrays
from tfcam.images.loading import as_numpy, is_prepared, load_image
from tfcam.preprocessing.text_readers import strings_in


def listed_strings(images: Any) -> list[Any] | None:
    """List strings, and texts of several segments, one by one; None of anything else.

    Example:
        >>> listed_strings(np.array(["a film", "a book"])), listed_strings(np.zeros((1, 4, 4, 3)))
        (['a film', 'a book'], None)
    """
    if isinstance(images, list | tuple):
        return [*images] if images and all(map(_is_written, images)) else None
    if isinstance(images, np.ndarray) and not all(isinstance(one, str) for one in images.flat):
        return None
    found = strings_in(images, pairs=False) if hasattr(images, "shape") else None
    return found if isinstance(found, list) else None


def _is_written(one: Any) -> bool:
    """Whether it is a string, or a tuple of them: bytes are the content of a file."""
    return isinstance(one, str) or (isinstance(one, tuple) and all(map(_is_written, one)))


def listed_pictures(images: Any) -> list[Any]:
    """List the images one by one, those in files read, arrays copied: they stay as they are.

    Raises:
        TypeError: If they are neither a list nor an array of pictures or rows.
        ValueError: If there is none.
    """
    shape: tuple[int, ...] = tuple(getattr(images, "shape", ()))
    one = len(shape) == 3 and shape[-1] in (1, 3, 4)
    if not isinstance(images, list | tuple) and (one or len(shape) not in (2, 3, 4, 5)):
        of_shape = f" of shape {shape}" if shape else ""
        raise TypeError(
            "images must be a list of pictures, or an array (B, H, W, C), (B, H, W) of grey ones, "
            "(B, D, H, W, C) of videos or volumes or (B, values) of rows; got "
            f"{type(images).__name__}{of_shape}."
        )
    if not len(images):
        raise ValueError("There must be at least one image to explain; got none.")
    return [
        as_numpy(image).copy() if is_prepared(image) or _is_other(image) else load_image(image)
        for image in map(as_arrays, images)
    ]


def _is_other(image: Any) -> bool:
    """Whether it is a row of values, which a model folds itself, or a video or volume."""
    shape = tuple(getattr(image, "shape", ()))
    several = len(shape) == 3 and shape[-1] not in (1, 3, 4)
    return len(shape) == 1 or several or (len(shape) == 4 and shape[0] > 1)
