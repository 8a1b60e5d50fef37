"""A Gaussian blur of pictures that has a gradient."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_REACH = 4.0  # in deviations


def blur_images(images: tf.Tensor, width: float) -> tf.Tensor:
    """Blur pictures with a Gaussian; beyond its edge a picture is mirrored.

    Args:
        images: (n, H, W, C).
        width: The Gaussian's deviation in pixels, above 0.

    Returns:
        (n, H, W, C).

    Raises:
        ValueError: If the width is not above 0.

    Example:
        >>> peak = tf.reshape(tf.constant([0.0, 1.0, 0.0]), (1, 1, 3, 1))
        >>> blur_images(peak, 0.5).numpy().ravel().round(3)
        array([0.107, 0.787, 0.107], dtype=float32)
    """
    if not width > 0:
        raise ValueError(f"The width of a blur must be above 0; got {width}.")
    for axis in (1, 2):
        images = _along(images, width, axis)
    return images


def _along(images: tf.Tensor, width: float, axis: int) -> tf.Tensor:
    size = images.shape[axis]
    # Mirroring fills at most as many pixels as there are.
    reach = min(int(_REACH * width + 0.5), size)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / width) ** 2)
    paddings = [[0, 0]] * 4
    paddings[axis] = [reach, reach]
    padded = tf.pad(images, paddings, "SYMMETRIC")
    shape = [1, 1]
    shape[axis - 1] = len(weights)
    kernel = tf.constant((weights / weights.sum()).reshape(*shape, 1, 1), images.dtype)
    kernel = tf.tile(kernel, [1, 1, images.shape[-1], 1])
    return tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")
