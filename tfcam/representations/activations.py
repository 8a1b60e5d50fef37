"""The activations of a layer, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.model.tokens import to_map
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.prepare import Prepared


def compute_activations(submodel: SubModel, prepared: Prepared) -> tuple[list[np.ndarray], Any]:
    """What the tapped layers give for pictures, (B, h, w, K) float32 each, and what the model does.

    Tokens are laid out on their grid. Several pictures are computed by a compiled pass: eagerly,
    Keras keeps what every layer gave.
    """
    given = [tf.convert_to_tensor(each) for each in (prepared.inputs, *prepared.others)]

    def look(images: tf.Tensor, *others: tf.Tensor) -> Any:
        outputs, taken = submodel.beside(others).forward(images)
        maps = [
            each if tap.grid is None else to_map(each, tap.grid)
            for tap, each in zip(submodel.taps, taken, strict=True)
        ]
        return [tf.cast(each, tf.float32) for each in maps], outputs.values

    if len(prepared.inputs) > 1:
        key = ("activations", tuple(given[0].shape))
        look = submodel.traced(key, tf.function(look, autograph=False), given)
    maps, values = tf.nest.map_structure(lambda each: each.numpy(), look(*given))
    return maps, values
