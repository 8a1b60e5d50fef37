"""What a probe asks of a model: compiled for full batches, once for all its probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.model.hooks import LOCK
from tfcam.passes.outputs import are_probabilities
from tfcam.passes.submodel import SubModel


def compiled(
    submodel: SubModel, size: int, classes: bool, only: bool, examples: Sequence[np.ndarray]
) -> Callable[..., Any]:
    """Compile the model for one batch, once for all probes that ask it for the same.

    Args:
        submodel: The model opened at no layer.
        size: The number of images of a batch.
        classes: Whether a class is explained.
        only: Whether nothing else is.
        examples: Examples of the inputs, (n, ...) each.
    """

    def function(images: tf.Tensor, *others: tf.Tensor) -> Any:
        outputs, _ = submodel.beside(others).forward(images)
        if not classes:
            return tf.zeros((size, 0)), tf.ones((size, 1), tf.bool), outputs.scores
        values = tf.cast(outputs.class_values, tf.float32)
        likely = are_probabilities(outputs) | outputs.is_unit
        return values, likely, None if only else outputs.scores

    specs = [tf.TensorSpec((size, *example.shape[1:]), example.dtype) for example in examples]
    with LOCK:
        return submodel.traced((size, classes, only), tf.function(function, autograph=False), specs)
