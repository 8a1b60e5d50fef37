"""Other packages for TensorFlow, and the recipe of keras.io, each in a process of its own.

In an environment with TensorFlow and Keras 3::

    pip install tf-keras-vis tf-explain xplique tensorflow-probability tf-keras

``python -m tests.benchmarks.peers_tf '{"peer": "xplique", "batch": 1, "rounds": 7}'`` prints JSON.
Nothing here imports tfcam.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks.networks import build, forward, last_map, pictures
from tests.benchmarks.timing import interleaved

NETWORK = "resnet50"
CLASS = 7


def _tf_keras_vis(model: Any, images: np.ndarray) -> Callable[[], Any]:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
    from tf_keras_vis.utils.scores import CategoricalScore

    explain = Gradcam(model, model_modifier=ReplaceToLinear(), clone=True)
    score = CategoricalScore([CLASS] * len(images))
    return lambda: explain(score, images, penultimate_layer=last_map(NETWORK))


def _tf_explain(model: Any, images: np.ndarray) -> Callable[[], Any]:
    from tf_explain.core.grad_cam import GradCAM

    explain, layer = GradCAM().explain, last_map(NETWORK)
    return lambda: explain((images, None), model, class_index=CLASS, layer_name=layer)


def _xplique(model: Any, images: np.ndarray) -> Callable[[], Any]:
    from xplique.attributions import GradCAM

    explain = GradCAM(model, output_layer=-1, batch_size=32, conv_layer=last_map(NETWORK))
    targets = np.eye(1000, dtype=np.float32)[[CLASS] * len(images)]
    return lambda: explain(images, targets).numpy()


def _recipe(model: Any, images: np.ndarray) -> Callable[[], Any]:
    """Grad-CAM as the keras.io example goes about it: a second model, a tape, all of it eager."""

    def explain() -> np.ndarray:
        both = keras.Model(model.inputs, [model.get_layer(last_map(NETWORK)).output, model.output])
        with tf.GradientTape() as tape:
            maps, predictions = both(images)
            score = predictions[:, CLASS]
        weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
        heatmap = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
        heatmap /= tf.reduce_max(heatmap)
        return tf.image.resize(heatmap, images.shape[1:3]).numpy()

    return explain


PEERS = {
    "tf-keras-vis": _tf_keras_vis,
    "tf-explain": _tf_explain,
    "xplique": _xplique,
    "keras.io recipe": _recipe,
}


def measure(peer: str, batch: int, rounds: int) -> dict[str, Any]:
    """A peer's Grad-CAM beside the compiled forward pass of the same network."""
    model, images = build(NETWORK), pictures(NETWORK, batch)
    calls = {"forward": forward(model, images), "peer": PEERS[peer](model, images)}
    recipe = peer == "keras.io recipe"
    version = f"{peer}, keras {keras.__version__}" if recipe else f"{peer} {metadata.version(peer)}"
    return {"version": version, "seconds": interleaved(calls, rounds, 3)}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
