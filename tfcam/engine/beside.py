"""What readings and answers hold besides activations and gradients, made of one pass."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfcam.methods.bias_terms import biases
from tfcam.model.frames import by_example
from tfcam.passes.outputs import Outputs, TensorTarget
from tfcam.passes.reading import Need
from tfcam.passes.submodel import Answer, SubModel
from tfcam.targets.classes import class_weights, only_tensor
from tfcam.targets.two_classes import as_columns, two_sides, with_number


def bias_attributions(biased: SubModel, images: tf.Tensor, target: TensorTarget) -> dict[str, Any]:
    """Read what each layer's bias gave to the score, and the gradients by the images."""
    readings = biased.read(images, target, Need.GRADIENTS | Need.IMAGE_GRADIENTS).readings
    layers = [tap.operation() for tap in biased.taps]
    parts = [
        biased.channels_last(biases(layer, reading.activations) * reading.gradients)
        for layer, reading in zip(layers, readings, strict=True)
    ]
    parts = [by_example(part, images.shape[0]) for part in parts]
    return {"bias_attributions": parts, "image_gradients": readings[0].image_gradients}


def weights_of_class(weights: tf.Tensor, answer: Answer) -> tf.Tensor:
    """Choose the weights (B, K) of each image's class from those of a linear head, (K, C)."""
    unit = weights.shape[-1] == 1
    weights = two_sides(weights, False) if unit else weights
    if answer.weights is not None:
        return tf.matmul(answer.weights, weights, transpose_b=True)
    if not unit:
        return class_weights(weights, answer.pairs)
    return class_weights(with_number(weights, weights[:, 1:]), as_columns(answer.pairs))


def class_values(outputs: Outputs) -> tf.Tensor | None:
    """The outputs (B, C) of a classifier; None where they are of another form."""
    values = only_tensor(outputs.values)
    if not isinstance(values, tf.Tensor) or any(side != 1 for side in values.shape[1:-1]):
        return None
    if outputs.is_unit:
        return outputs.class_values
    return tf.cast(tf.reshape(values, (-1, values.shape[-1])), tf.float32)
