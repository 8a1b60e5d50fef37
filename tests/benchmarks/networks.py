"""The networks that are explained, with random weights: what they cost does not depend on those."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks.peers_work import Subject

# The name in keras.applications, the map that feeds the last pooling, the range of an input.
NETWORKS = {
    "resnet50": ("ResNet50", "conv5_block3_out", (-110.0, 130.0)),
    "mobilenet_v2": ("MobileNetV2", "out_relu", (-1.0, 1.0)),
    "efficientnet_b0": ("EfficientNetB0", "top_activation", (0.0, 255.0)),
}


def build(network: str) -> Any:
    """A network of keras.applications; the same one each time.

    Its normalisations know the noise that it will see. As it comes, without weights, the signal of
    MobileNetV2 fades to 1e-13 on its way, maps are empty, and one is told why in another pass.
    """
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, NETWORKS[network][0])(weights=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(pictures(network, 4), training=True)
    return model


def last_map(network: str) -> str:
    """The path of the map that feeds the network's last pooling."""
    return NETWORKS[network][1]


def pictures(network: str, batch: int) -> np.ndarray:
    """Noise (B, 224, 224, 3) float32 in the range of the network's input."""
    low, high = NETWORKS[network][2]
    noise = np.random.default_rng(0).uniform(low, high, (batch, 224, 224, 3))
    return noise.astype(np.float32)


def forward(model: Any, images: np.ndarray) -> Callable[[], np.ndarray]:
    """The compiled forward pass that all is measured by; its input lies ready as a tensor."""
    compiled, given = tf.function(lambda x: model(x, training=False)), tf.constant(images)
    return lambda: compiled(given).numpy()


@functools.cache
def subject(network: str, batch: int) -> Subject:
    """A network with its pictures and its compiled forward pass; the same model at each call."""
    model, images = _built(network), pictures(network, batch)
    return Subject(network, model, images, forward(model, images))


_built = functools.cache(build)
