"""How the probability changes under a map as a mask: formulas, and metrics of Keras that add up."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops
from numpy.typing import ArrayLike


def relative_drop(before: ArrayLike, after: ArrayLike) -> tf.Tensor:
    """Compute the relative drop of each probability: max(0, Y - O) / Y, 0 where Y is 0.

    Args:
        before: (B,) Y, the probabilities of the unchanged images, not negative.
        after: (B,) O, the probabilities of the changed images.

    Returns:
        (B,) float32 in [0, 1].

    Source: Chattopadhay et al. 2018, "Grad-CAM++", section 4.1.1.

    Example:
        >>> import numpy as np
        >>> np.asarray(relative_drop(np.array([0.5, 0.5]), np.array([0.375, 0.9])))
        array([0.25, 0.  ], dtype=float32)
    """
    start, end = _flat(before), _flat(after)
    fall = ops.maximum(start - end, 0.0)
    return ops.where(fall > 0, fall / ops.where(start > 0, start, 1.0), 0.0)


def confidence_increased(before: ArrayLike, after: ArrayLike) -> tf.Tensor:
    """Find the images whose probability rises: 1 where Y < O, else 0.

    Args:
        before: (B,) Y, the probabilities of the unchanged images.
        after: (B,) O, the probabilities of the changed images.

    Returns:
        (B,) float32.

    Source: Chattopadhay et al. 2018, "Grad-CAM++", section 4.1.2.

    Example:
        >>> import numpy as np
        >>> np.asarray(confidence_increased(np.array([0.5, 0.5]), np.array([0.375, 0.9])))
        array([0., 1.], dtype=float32)
    """
    return ops.cast(_flat(before) < _flat(after), "float32")


def _flat(values: ArrayLike) -> tf.Tensor:
    """Flatten (B, 1), as a model with one output gives it, to (B,)."""
    return ops.reshape(ops.cast(values, "float32"), (-1,))


@keras.saving.register_keras_serializable("tfcam")
class AverageDrop(keras.metrics.Mean):
    """Averages the ``relative_drop`` over all images of all batches; lower is better.

    Args:
        name: The name of the metric.
        dtype: The dtype of its sum.

    Example:
        >>> metric = AverageDrop()
        >>> metric.update_state([0.5, 0.5], [0.375, 0.9])
        >>> float(metric.result())
        0.125
    """

    def __init__(self, name: str = "average_drop", dtype: str | None = None) -> None:
        super().__init__(name, dtype)

    def update_state(
        self, before: ArrayLike, after: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add the probabilities (B,) of unchanged and changed images."""
        super().update_state(relative_drop(before, after), sample_weight)


@keras.saving.register_keras_serializable("tfcam")
class IncreaseInConfidence(keras.metrics.Mean):
    """Averages the share of images whose probability rises over all batches; higher is better.

    Args:
        name: The name of the metric.
        dtype: The dtype of its sum.

    Example:
        >>> metric = IncreaseInConfidence()
        >>> metric.update_state([0.5, 0.5], [0.375, 0.9])
        >>> float(metric.result())
        0.5
    """

    def __init__(self, name: str = "increase_in_confidence", dtype: str | None = None) -> None:
        super().__init__(name, dtype)

    def update_state(
        self, before: ArrayLike, after: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add the probabilities (B,) of unchanged and changed images."""
        super().update_state(confidence_increased(before, after), sample_weight)
