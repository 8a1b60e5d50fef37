"""Other packages for TensorFlow, and the recipe of keras.io, each in a process of its own.

In an environment with TensorFlow and Keras 3::

    pip install tf-keras-vis tf-explain xplique saliency shap lime \
        tensorflow-probability tf-keras opencv-python-headless

``python -m tests.benchmarks.peers_tf '{"package": "tf-explain", "rounds": 7}'`` prints JSON; also
of the packages in ``peers_xplique`` and ``peers_functions``. Nothing here imports tfcam.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.benchmarks import peers_functions, peers_xplique
from tests.benchmarks import peers_work as work
from tests.benchmarks.networks import last_map, subject
from tests.benchmarks.peers_work import Call, Maker, OtherWorkError, Subject

BOTTLENECK = "block_16_project_BN"


def _tf_keras_vis_cam(module: str, kind: str) -> Maker:
    def make(asked: Subject) -> Call:
        from importlib import import_module

        from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
        from tf_keras_vis.utils.scores import CategoricalScore

        found = getattr(import_module(f"tf_keras_vis.{module}"), kind)
        explain = found(asked.model, model_modifier=ReplaceToLinear(), clone=True)
        score = CategoricalScore([work.TARGET] * len(asked.images))
        scored = kind == "Scorecam"
        layer = BOTTLENECK if scored else last_map(asked.network)
        options = {"batch_size": work.AT_ONCE} if scored else {}
        options |= {"seek_penultimate_conv_layer": False, "penultimate_layer": layer}
        return lambda: explain(score, asked.images, **options)

    return make


def _tf_keras_vis_saliency(**options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        from tf_keras_vis.saliency import Saliency
        from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
        from tf_keras_vis.utils.scores import CategoricalScore

        explain = Saliency(asked.model, model_modifier=ReplaceToLinear(), clone=True)
        score = CategoricalScore([work.TARGET] * len(asked.images))
        return lambda: explain(score, asked.images, **options)

    return make


def _tf_explain(module: str, kind: str, **options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        from importlib import import_module

        explainer = getattr(import_module(f"tf_explain.core.{module}"), kind)()
        given = dict(options)
        if kind == "GradCAM":
            given["layer_name"] = last_map(asked.network)
        if kind == "OcclusionSensitivity":
            explainer.batch_size = work.AT_ONCE
        images, model = (asked.images, None), asked.model
        return lambda: explainer.explain(images, model, class_index=work.TARGET, **given)

    return make


def _pair(kind: str, smooth: bool = False, **options: Any) -> Maker:
    """PAIR's package takes one picture, and a function that asks the model: here a compiled one."""

    def make(asked: Subject) -> Call:
        import saliency.core as pair

        explainer, ask = getattr(pair, kind)(), _asking(asked)
        explain = explainer.GetSmoothedMask if smooth else explainer.GetMask
        return lambda: [explain(image, ask, **options) for image in asked.images]

    return make


def _asking(asked: Subject) -> Callable[..., dict[str, np.ndarray]]:
    import saliency.core as pair

    model = asked.model
    layer = model.get_layer(last_map(asked.network))
    both = keras.Model(model.inputs, [layer.output, model.output])

    @tf.function(reduce_retracing=True)
    def pixels(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(images)
            score = model(images, training=False)[:, work.TARGET]
        return tape.gradient(score, images)

    @tf.function(reduce_retracing=True)
    def maps(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            found, scores = both(images, training=False)
            tape.watch(found)
            score = scores[:, work.TARGET]
        return found, tape.gradient(score, found)

    def ask(images: np.ndarray, call_model_args: Any, expected_keys: Any) -> dict[str, np.ndarray]:
        given = tf.constant(images, tf.float32)
        if pair.INPUT_OUTPUT_GRADIENTS in expected_keys:
            return {pair.INPUT_OUTPUT_GRADIENTS: pixels(given).numpy()}
        names = (pair.CONVOLUTION_LAYER_VALUES, pair.CONVOLUTION_OUTPUT_GRADIENTS)
        return {name: each.numpy() for name, each in zip(names, maps(given), strict=True)}

    return ask


def _pair_occlusion(asked: Subject) -> Call:
    raise OtherWorkError("hides a window at every pixel, one after the other: 37,249 passes")


def _recipe(asked: Subject) -> Call:
    """Grad-CAM as the keras.io example goes about it: a second model, a tape, all of it eager."""
    model, images = asked.model, asked.images

    def explain() -> np.ndarray:
        layer = model.get_layer(last_map(asked.network))
        both = keras.Model(model.inputs, [layer.output, model.output])
        with tf.GradientTape() as tape:
            maps, predictions = both(images)
            score = predictions[:, work.TARGET]
        weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
        heatmap = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
        heatmap /= tf.reduce_max(heatmap)
        return tf.image.resize(heatmap, images.shape[1:3]).numpy()

    return explain


MAKERS: dict[str, dict[str, Maker]] = {
    "tf-keras-vis": {
        "grad_cam": _tf_keras_vis_cam("gradcam", "Gradcam"),
        "grad_cam_pp": _tf_keras_vis_cam("gradcam_plus_plus", "GradcamPlusPlus"),
        "layer_cam": _tf_keras_vis_cam("layercam", "Layercam"),
        "score_cam": _tf_keras_vis_cam("scorecam", "Scorecam"),
        "saliency": _tf_keras_vis_saliency(),
        "smooth_grad": _tf_keras_vis_saliency(smooth_samples=work.SAMPLES),
    },
    "tf-explain": {
        "grad_cam": _tf_explain("grad_cam", "GradCAM"),
        "saliency": _tf_explain("vanilla_gradients", "VanillaGradients"),
        "gradient_input": _tf_explain("gradients_inputs", "GradientsInputs"),
        "integrated_gradients": _tf_explain(
            "integrated_gradients", "IntegratedGradients", n_steps=work.SAMPLES
        ),
        "smooth_grad": _tf_explain("smoothgrad", "SmoothGrad", num_samples=work.SAMPLES),
        "occlusion": _tf_explain(
            "occlusion_sensitivity", "OcclusionSensitivity", patch_size=work.WINDOW
        ),
    },
    "saliency": {
        "grad_cam": _pair("GradCam"),
        "saliency": _pair("GradientSaliency"),
        "smooth_grad": _pair(
            "GradientSaliency", smooth=True, nsamples=work.SAMPLES, magnitude=False
        ),
        "integrated_gradients": _pair(
            "IntegratedGradients", x_steps=work.SAMPLES, batch_size=work.SAMPLES
        ),
        "occlusion": _pair_occlusion,
    },
    "keras": {"grad_cam": _recipe},
    "xplique": peers_xplique.MAKERS,
    **peers_functions.MAKERS,
}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    name, rounds = asked["package"], asked["rounds"]
    print(json.dumps(work.measure(name, MAKERS[name], subject, rounds)))
