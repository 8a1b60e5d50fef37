"""The first principal component of maps: what Eigen-CAM, Eigen-Grad-CAM and ``eigen=True`` show."""

from __future__ import annotations

import math

import tensorflow as tf


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
