"""Maps as tensors at another size, whatever they are maps of."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def resized(maps: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Resize maps linearly, with the centres of positions at halves.

    Args:
        maps: (B, ..., K) float32 with one, two or three axes of positions.
        size: As many sizes.

    Returns:
        (B, *size, K) float32.

    Example:
        >>> resized(tf.constant([[[0.0], [1.0]]]), [4]).numpy().ravel()
        array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """
    size = list(size)
    if len(size) == 2:
        return tf.image.resize(maps, size)
    if len(size) == 1:
        return tf.image.resize(maps[:, :, tf.newaxis], [*size, 1])[:, :, 0]
    _, depth, *sides, channels = maps.shape
    slices = tf.image.resize(tf.reshape(maps, (-1, *sides, channels)), size[1:])
    columns = tf.reshape(slices, (-1, depth, size[1] * size[2], channels))
    deep = tf.image.resize(columns, [size[0], size[1] * size[2]])
    return tf.reshape(deep, (-1, *size, channels))
