"""Gradients in half precision, which underflow to zero where the score is small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# The score is scaled up, the gradient back down. A power of two changes no digit.
HALF_SCALE = 2.0**14


def unscaled(gradients: dict[int, tf.Tensor], plain: Callable[[], Any]) -> dict[int, tf.Tensor]:
    """Scale gradients of a scaled-up score back; take those of the score where they overflowed.

    Args:
        gradients: The gradients of ``HALF_SCALE`` times the score.
        plain: Gives those of the score itself; asked for only where some overflowed.

    Returns:
        Gradients of the score, float32.

    Example:
        >>> halves = {0: tf.constant([16384.0, float("inf")])}
        >>> unscaled(halves, lambda: {0: tf.constant([0.0, 7.0])})[0].numpy()
        array([1., 7.], dtype=float32)
    """
    slopes = {key: tf.cast(slope, tf.float32) / HALF_SCALE for key, slope in gradients.items()}
    finite = [tf.reduce_all(tf.math.is_finite(slope)) for slope in slopes.values()]

    def mended() -> dict[int, tf.Tensor]:
        small = {key: tf.cast(slope, tf.float32) for key, slope in plain().items()}
        return {k: tf.where(tf.math.is_finite(s), s, small[k]) for k, s in slopes.items()}

    return tf.cond(tf.reduce_all(finite), lambda: slopes, mended)
