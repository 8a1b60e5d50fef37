"""Maps as tensors at another size, whatever they are maps of."""

from __future__ import annotations

import math
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


def first_component(maps: tf.Tensor, towards: tf.Tensor | None = None) -> tf.Tensor:
    """A v_1 of each image's matrix of positions by channels, through the smaller Gram matrix.

    A singular vector has no sign. It is turned so that it agrees with ``towards`` (a positive
    inner product) or, without that, so that its larger extreme is positive.

    Args:
        maps: (B, h, w, K) float32, not centred.
        towards: (B, h, w), or None.

    Returns:
        (B, h, w) float32; NaN for an image that has NaN or infinite values, as everywhere else.

    Example:
        >>> first_component(tf.constant([[[[3.0, 0.0], [4.0, 0.0]]]])).numpy().round(4)
        array([[[3., 4.]]], dtype=float32)
    """
    shape = maps.shape
    matrix = tf.reshape(maps, (-1, math.prod(shape[1:-1]), shape[-1]))
    # The decomposition stops at NaN.
    finite = tf.reduce_all(tf.math.is_finite(matrix), axis=(1, 2), keepdims=True)
    matrix = tf.where(finite, matrix, 0.0)
    # Scaled first: squares of gradients underflow.
    size = tf.reduce_max(tf.abs(matrix), axis=(1, 2), keepdims=True)
    matrix = tf.math.divide_no_nan(matrix, size)
    if matrix.shape[1] <= matrix.shape[2]:
        values, vectors = tf.linalg.eigh(tf.matmul(matrix, matrix, transpose_b=True))
        component = tf.sqrt(tf.nn.relu(values[:, -1:])) * vectors[..., -1]
    else:
        vectors = tf.linalg.eigh(tf.matmul(matrix, matrix, transpose_a=True))[1]
        component = tf.linalg.matvec(matrix, vectors[..., -1])
    if towards is None:
        agreement = tf.reduce_max(component, 1) + tf.reduce_min(component, 1)
    else:
        agreement = tf.reduce_sum(component * tf.reshape(towards, tf.shape(component)), 1)
    sign = tf.where(agreement < 0, -1.0, 1.0)[:, tf.newaxis]
    component = tf.where(finite[..., 0], component * sign * size[..., 0], float("nan"))
    return tf.reshape(component, (-1, *shape[1:-1]))
