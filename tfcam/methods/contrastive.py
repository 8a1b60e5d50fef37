"""Maps of what tells one class from the classes most like it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfcam.methods.registry import METHODS, method
from tfcam.passes.reading import Need, Reading


def nearest_classes(
    logits: tf.Tensor, pairs: tf.Tensor, *, nearest: int = 3, strength: float = 1.0, **_: Any
) -> tf.Tensor:
    """Weigh each logit as Finer-CAM does: (B, C), from logits (B, C) and pairs (B, 2)."""
    classes, nearest = logits.shape[-1], min(nearest, logits.shape[-1] - 1)
    if not nearest:
        raise ValueError("Finer-CAM needs another class to hold one against; the model has one.")
    chosen = tf.one_hot(pairs[:, 0], classes)
    logits = tf.cast(logits, tf.float32)
    distances = tf.abs(logits - tf.reduce_sum(chosen * logits, axis=-1, keepdims=True))
    order = tf.math.top_k(-tf.where(chosen > 0, float("inf"), distances), nearest).indices
    shares = tf.nn.softmax(tf.gather(logits, order, batch_dims=1))  # p_i / sum of the p_i
    return chosen - strength * tf.reduce_sum(
        shares[..., tf.newaxis] * tf.one_hot(order, classes), axis=1
    )


@method(Need.GRADIENTS, contrast=nearest_classes)
def finer_cam(
    reading: Reading, *, base: str = "grad_cam", nearest: int = 3, strength: float = 1.0
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Finer-CAM: what tells the class from the classes nearest to it, by any other method.

    The score is y_c - strength sum_i p_i y_i / sum_i p_i over the classes i whose logits are
    nearest to that of c, p being the softmax, taken as constant. On a linear head the map is
    CAM_c - strength sum_i p_i CAM_i / sum_i p_i. Score-CAM as a base takes probabilities for y, as
    it does by itself.

    Args:
        reading: What the base method needs, for this score.
        base: The method that makes the map.
        nearest: Number of classes that it is held against.
        strength: How strongly; 0 is the base method alone.

    Returns:
        What the base method returns.

    Source: Zhang et al. 2025, "Finer-CAM", eq. 5. Departs from the authors' code: no gradient
    passes through p.

    Example:
        >>> logits, pairs = tf.constant([[3.0, 2.0, 2.0, -9.0]]), tf.constant([[0, -2]])
        >>> nearest_classes(logits, pairs, nearest=2).numpy()
        array([[ 1. , -0.5, -0.5,  0. ]], dtype=float32)
    """
    return METHODS[base](reading)
