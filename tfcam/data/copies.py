"""Pictures to be explained again and again, copied: what is changed afterwards does not matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfcam.data.pairs import is_array, is_batch
from tfcam.images.arrays import as_arrays
from tfcam.images.loading import as_numpy, is_prepared, load_image


def copy_images(images: Any) -> Any:
    """Copy pictures, those in files read.

    Args:
        images: Several, as ``tfcam.explain`` takes them.

    Returns:
        A list of them; or, where ``are_together``, what is given with its arrays copied.

    Raises:
        TypeError: If it is of another kind.
        ValueError: If there is none.

    Example:
        >>> import numpy as np
        >>> [each.shape for each in copy_images(np.zeros((2, 4, 5, 3), np.uint8))]
        [(4, 5, 3), (4, 5, 3)]
    """
    if are_together(images):
        return tf.nest.map_structure(lambda one: as_numpy(one).copy(), images)
    shape: tuple[int, ...] = tuple(getattr(images, "shape", ()))
    one = len(shape) == 3 and shape[-1] in (1, 3, 4)
    if not isinstance(images, list | tuple) and (one or len(shape) not in (2, 3, 4)):
        of_shape = f" of shape {shape}" if shape else ""
        raise TypeError(
            "images must be a list of pictures, or an array (B, H, W, C), (B, H, W) of grey ones "
            f"or (B, values) of rows; got {type(images).__name__}{of_shape}."
        )
    if not len(images):
        raise ValueError("There must be at least one image to explain; got none.")
    return [
        as_numpy(image).copy() if is_prepared(image) or _is_row(image) else load_image(image)
        for image in map(as_arrays, images)
    ]


def are_together(images: Any) -> bool:
    """Tell whether images are a batch with its labels, or a batch of each input of a model.

    Example:
        >>> import numpy as np
        >>> batch, labels = np.zeros((2, 4, 4, 3)), np.zeros(2)
        >>> are_together((batch, labels)), are_together({"image": batch}), are_together(list(batch))
        (True, True, False)
    """
    if not isinstance(images, Mapping | tuple) or not all(map(is_array, tf.nest.flatten(images))):
        return False
    first, *others = images.values() if isinstance(images, Mapping) else images or [None]
    if isinstance(images, Mapping) or not is_array(first):
        return True
    ranks = [len(each.shape) for each in (first, *others) if is_array(each)]
    return ranks[0] == 4 or (is_batch(first) and min(ranks) < ranks[0])


def count_images(images: Any) -> int:
    """Count what ``copy_images`` gives."""
    return len(images if isinstance(images, list) else tf.nest.flatten(images)[0])


def _is_row(image: Any) -> bool:
    """Whether a picture is a row of values, which a model folds itself."""
    return len(getattr(image, "shape", ())) == 1
