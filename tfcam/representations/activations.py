"""The activations of a layer, as arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcam.model.tokens import to_map
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.prepare import Prepared


class Activations(NamedTuple):
    """What layers give for pictures, (B, h, w, K) float32 each, and the model's outputs.

    Of a single unit these are the probabilities (B, 2) of two classes.
    """

    maps: list[np.ndarray]
    outputs: Any


def compute_activations(submodel: SubModel, prepared: Prepared) -> Activations:
    """Compute what the tapped layers give for pictures, and what the model does.

    Tokens are laid out on their grid. Several pictures are computed by a compiled pass: eagerly,
    Keras keeps what every layer gave.
    """
    inputs = [tf.convert_to_tensor(values) for values in (prepared.inputs, *prepared.others)]

    def look(images: tf.Tensor, *others: tf.Tensor) -> Any:
        outputs, taken = submodel.beside(others).forward(images)
        maps = [
            values if tap.grid is None else to_map(values, tap.grid)
            for tap, values in zip(submodel.taps, taken, strict=True)
        ]
        values = outputs.class_values if outputs.is_unit else outputs.values
        return [tf.cast(each, tf.float32) for each in maps], values

    if len(prepared.inputs) > 1:
        look = submodel.traced("activations", tf.function(look, autograph=False), inputs)
    return Activations(*tf.nest.map_structure(lambda tensor: tensor.numpy(), look(*inputs)))
