"""Images that are given together: a batch with its labels, or a batch of each input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfcam.data.pairs import is_array, is_batch
from tfcam.images.loading import as_numpy


def copy_arrays(images: Any) -> Any:
    """Copy each array of images that ``are_together``."""
    return tf.nest.map_structure(lambda one: as_numpy(one).copy(), images)


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
    return ranks[0] in (4, 5) or (is_batch(first) and min(ranks) < ranks[0])


def count_images(images: Any) -> int:
    """Count images in a list, or together."""
    return len(images if isinstance(images, list) else tf.nest.flatten(images)[0])
