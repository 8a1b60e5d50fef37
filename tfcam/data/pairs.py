"""Pictures and labels that are given together, in each form in which people hold them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tfcam.data.volumes import VolumeForm
from tfcam.images.arrays import of_columns
from tfcam.images.kinds import ImageError
from tfcam.images.loading import as_numpy


def zip_pair(data: Any, volumes: VolumeForm | None = None) -> list[tuple[Any, Any]] | None:
    """Put each picture beside its label, of (images, labels) or (images, labels, weights).

    Args:
        data: As ``load_data`` and batches of data sets give it. Images are an array of several, a
            list, or either in a dict of one; labels an array or list of as many, or these of
            several outputs in a dict or tuple. Columns of a table are lists.
        volumes: The form of videos and volumes; None of pictures.

    Returns:
        Each picture with its label; None where the data are of another form.

    Example:
        >>> images = np.zeros((2, 4, 4, 3), np.uint8)
        >>> [label for _, label in zip_pair((images, [1, 0]))]
        [1, 0]
        >>> zip_pair([images[0], images[1]]) is None
        True
    """
    if not isinstance(data, list | tuple) or len(data) not in (2, 3):
        return None
    images, labels = of_columns(only_part(data[0])), of_columns(data[1])
    axes = 4 if volumes is None else len(volumes.shapes[0]) + 1
    if isinstance(data, list) and not (is_array(images) and len(images.shape) == axes):
        return None
    if not (is_batch(images, volumes) if is_array(images) else _lists_pictures(images)):
        return None
    count = len(images)
    leaves = _leaves(labels, count)
    if not leaves or any(length != count for length, _ in leaves):
        return None
    if count == 1 and max(axes for _, axes in leaves) > 2:
        return None  # two pictures, each in a batch of its own
    arrays = as_numpy(images) if is_array(images) else images
    return [(arrays[place], row_of(labels, place, count)) for place in range(count)]


def is_array(value: Any) -> bool:
    """Whether something is an array or a tensor."""
    return isinstance(value, np.ndarray | tf.Tensor)


def is_batch(images: Any, volumes: VolumeForm | None = None) -> bool:
    """Whether an array is of several pictures: of grey ones, and of rows, too; or of volumes."""
    if volumes is not None:
        return volumes.is_batch(images.shape)
    axes = len(images.shape)
    return axes in (2, 4) or (axes == 3 and images.shape[-1] not in (1, 3, 4))


def only_part(given: Any) -> Any:
    """The picture or pictures of {"name": picture} or (picture,), as a model of one input has it.

    Raises:
        ImageError: If there are several in a dict.

    Example:
        >>> only_part({"image": 3}), only_part((3,)), only_part([3])
        (3, 3, [3])
    """
    if isinstance(given, Mapping):
        if len(given) != 1:
            names = ", ".join(map(repr, given)) or "nothing"
            raise ImageError(
                f"A picture must be given, by itself or in a dict of one; got a dict of {names}. "
                "Of a model with several inputs give tfcam.evaluate a list of "
                "tfcam.Example(name, image, others=(...))."
            )
        return next(iter(given.values()))
    return given[0] if isinstance(given, tuple) and len(given) == 1 else given


def row_of(batch: Any, place: int, count: int) -> Any:
    """What belongs to one picture, of labels that are given for a batch.

    Args:
        batch: An array or list of as many; of several outputs a dict, list or tuple of these.
        place: Which picture.
        count: Number of pictures.

    Example:
        >>> row_of({"kind": np.array([3, 1]), "age": [20, 40]}, 1, 2)
        {'kind': np.int64(1), 'age': 40}
    """
    if isinstance(batch, Mapping):
        return {key: row_of(values, place, count) for key, values in batch.items()}
    if _are_outputs(batch, count):
        return tuple(row_of(values, place, count) for values in batch)
    return batch[place]


def _are_outputs(labels: Any, count: int) -> bool:
    """Whether something holds the labels of several outputs, an array each."""
    if not isinstance(labels, list | tuple) or not labels:
        return False
    arrays = all(is_array(one) and one.shape and len(one) == count for one in labels)
    return arrays and (isinstance(labels, tuple) or len(labels) != count)


def _leaves(labels: Any, count: int) -> list[tuple[int, int]]:
    """How many each array or list of labels holds, and its number of axes; none of other things."""
    if isinstance(labels, Mapping) or _are_outputs(labels, count):
        parts = labels.values() if isinstance(labels, Mapping) else labels
        return [leaf for part in parts for leaf in _leaves(part, count)]
    if is_array(labels):
        return [(len(labels), len(labels.shape))] if labels.shape else []
    if isinstance(labels, list | tuple) and all(np.ndim(one) < 2 for one in labels):
        return [(len(labels), 1)]
    return []


def _lists_pictures(images: Any) -> bool:
    """Whether something is a list of pictures, none of them as nested lists of numbers."""
    if not isinstance(images, Sequence) or isinstance(images, str | bytes) or not images:
        return False
    kinds = (str, os.PathLike, bytes, Image.Image)
    return all(isinstance(one, kinds) or getattr(one, "shape", ()) for one in images)
