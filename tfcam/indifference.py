"""Whether a map would be the same for any other image."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.findings import Finding, finding
from tfcam.preparation import Prepared
from tfcam.submodel import SubModel

# The same but for the order in which numbers are summed.
_SAME = 1e-3


def of_deconvnet(submodel: SubModel, prepared: Prepared, target: Any, image: int) -> list[Finding]:
    """Whether noise has the same map of deconvnet: two more passes.

    Args:
        submodel: The opened model, in which no maximum is passed on.
        prepared: What it took.
        target: (B, 2) pairs of classes, or a callable.
        image: Which of the images.
    """
    others, images = prepared.others, prepared.inputs
    if not callable(target):  # which may treat each image of the batch in its own way
        one = slice(image, image + 1)
        target, images = tf.constant(target[one]), images[one]
        others = tuple(each[one] for each in others)
    opened = submodel.beside([*map(tf.constant, others)])
    noise = np.random.default_rng(0).normal(size=images.shape).astype(images.dtype)
    own, same = (
        opened.gated_gradients(tf.constant(each), target, "deconvnet")[0].numpy()
        for each in (images, noise)
    )
    if not np.allclose(own, same, rtol=0, atol=_SAME * np.abs(own).max()):
        return []
    return [finding("image_ignored", model=submodel.model.name)]
