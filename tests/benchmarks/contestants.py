"""What is timed, by name: each takes a model, its network's name and pictures, and gives a call."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

import tfcam
from tests.benchmarks.networks import forward, last_map, pictures
from tfcam import maps, metrics
from tfcam.explainer.compare import compare
from tfcam.methods.registry import Method

Call = Callable[[], object]
# The options that looping methods are timed with, and how many passes, forward or backward, they
# then need; Ablation-CAM asks the head alone, for each channel.
LOOPING: dict[str, tuple[dict[str, int], int]] = {
    "smooth_grad_cam_pp": ({"samples": 8}, 17),
    "score_cam": ({"channels": 64}, 65),
    "ablation_cam": ({}, 1),
    "smooth_grad": ({"samples": 8}, 17),
    "integrated_gradients": ({"steps": 8}, 18),
}
# Score-CAM over every channel of MobileNetV2, and the forward passes it can't do without.
ALL_CHANNELS, AT_ONCE = 1280, 32
# What one backward pass to the pixels gives.
PIXELS = ["saliency", "gradient_input", "guided_backprop", "deconvnet", "guided_grad_cam"]
# How many variants of a picture a metric asks for, and how many are asked at once.
VARIANTS, MEASURED_AT_ONCE = {"insertion": 29, "deletion": 29, "road": 18}, 8

# Methods that hide parts of a picture, and how many variants they ask for; the picture as it is
# comes on top.
HIDING: dict[str, tuple[dict[str, Any], int]] = {
    "occlusion": ({"window": 32, "stride": 16}, 169),
    "rise": ({"masks": 256}, 256),
    "kernel_shap": ({"segments": "grid:7", "samples": 256}, 256),
    "lime": ({"segments": "grid:7", "samples": 256}, 256),
}


class MissingError(Exception):
    """This version of tfcam has no such option."""


def contestant(name: str, model: Any, network: str, images: np.ndarray) -> Call:
    """The call of a name: one of ``SPECIAL``, or a method of ``tfcam.METHODS``.

    Raises:
        ValueError: If the method does not apply to the network; the message says why.
        MissingError: If this version of tfcam can't do it.
    """
    if name in SPECIAL:
        return SPECIAL[name](model, network, images)
    options, _ = LOOPING.get(name, ({}, 1))
    return _explainer(model, network, images, method=name, **options)


def _explainer(model: Any, network: str, images: np.ndarray, **options: Any) -> Call:
    layer = options.pop("layer", last_map(network))
    explainer = tfcam.Explainer(model, layer, preprocess=None, **options)
    return functools.partial(explainer, images)


def _forward(model: Any, network: str, images: np.ndarray) -> Call:
    return forward(model, images)


def _eager_forward(model: Any, network: str, images: np.ndarray) -> Call:
    given = tf.constant(images)
    return lambda: model(given, training=False).numpy()


def _forward_of_all_channels(model: Any, network: str, images: np.ndarray) -> Call:
    once = forward(model, pictures(network, AT_ONCE))
    return lambda: [once() for _ in range(ALL_CHANNELS // AT_ONCE)]


def _score_cam_of_all_channels(model: Any, network: str, images: np.ndarray) -> Call:
    return _explainer(model, network, images, method="score_cam", batch_size=AT_ONCE)


def _compiled_at_once(model: Any, network: str, images: np.ndarray) -> Call:
    """Grad-CAM without its eager first call, as methods that loop go about it."""
    explain = _explainer(model, network, images)

    def call() -> object:
        with mock.patch.object(Method, "loops", True):
            return explain()

    return call


def _explain(model: Any, network: str, images: np.ndarray) -> Call:
    return lambda: tfcam.explain(model, images, last_map(network), preprocess=None)


def _compare(model: Any, network: str, images: np.ndarray) -> Call:
    return lambda: compare(model, images[0], layers=[last_map(network)], preprocess=None)


def _every_block(model: Any, network: str, images: np.ndarray) -> Call:
    blocks = [each.name for each in model.layers if each.name.endswith("_out")]
    return _explainer(model, network, images, layer=blocks)


def _frozen(model: Any, network: str, images: np.ndarray) -> Call:
    if "freeze" not in inspect.signature(tfcam.Explainer).parameters:
        raise MissingError("Explainer has no freeze=True yet")
    return _explainer(model, network, images, freeze=True)


def _input_gradient(model: Any, network: str, images: np.ndarray) -> Call:
    """The bare gradient of each image's largest score by the image, its input ready as a tensor."""

    @tf.function
    def gradient(given: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(given)
            outputs = model(given, training=False)
            logits = getattr(outputs, "_keras_logits", outputs)
            total = tf.reduce_sum(tf.reduce_max(logits, axis=1))
        return tape.gradient(total, given)

    given = tf.constant(images)
    return lambda: gradient(given).numpy()


def _compare_pixels(model: Any, network: str, images: np.ndarray) -> Call:
    how = {"layers": [last_map(network)], "methods": PIXELS, "preprocess": None}
    return lambda: compare(model, images[0], **how)


def _pixels_one_by_one(model: Any, network: str, images: np.ndarray) -> Call:
    calls = [_explainer(model, network, images[:1], method=method) for method in PIXELS]
    return lambda: [call() for call in calls]


def _measured(metric: str, at_once: int | None, model: Any, network: str, images: Any) -> Call:
    """A metric of maps of noise, of a frozen network that is asked for full batches."""
    count, options = len(images), {"preprocess": None, "freeze": True}
    probe = metrics.Probe(model, images, batch_size=at_once or count, **options)
    noise = np.random.default_rng(1).random((count, 7, 7)).astype(np.float32)
    heatmaps = [maps.heatmap(each, images.shape[1:3]) for each in noise]
    return lambda: getattr(metrics, metric)(probe, heatmaps)


def _of_pixels(method: str, model: Any, network: str, images: np.ndarray) -> Call:
    options, _ = HIDING.get(method, ({}, 0))
    return _explainer(model, network, images, method=method, layer=None, **options)


def _forwards_of_hidden(variants: int, model: Any, network: str, images: np.ndarray) -> Call:
    """The forward passes of so many variants of a picture, in full batches, and of itself."""
    many, itself = (forward(model, pictures(network, count)) for count in (AT_ONCE, 1))
    return lambda: [itself(), *(many() for _ in range(-(-variants // AT_ONCE)))]


def _forwards(variants: int, model: Any, network: str, images: np.ndarray) -> Call:
    """The forward passes that a metric asks for, of so many variants of each image."""
    once = forward(model, pictures(network, MEASURED_AT_ONCE))
    batches = -(-variants * len(images) // MEASURED_AT_ONCE)
    return lambda: [once() for _ in range(batches)]


SPECIAL: dict[str, Callable[[Any, str, np.ndarray], Call]] = {
    "forward": _forward,
    "eager forward": _eager_forward,
    "grad_cam, compiled at once": _compiled_at_once,
    "explain": _explain,
    "compare": _compare,
    "every block": _every_block,
    "frozen": _frozen,
    "score_cam, all channels": _score_cam_of_all_channels,
    "forward, all channels": _forward_of_all_channels,
    "input gradient": _input_gradient,
    "compare, pixels": _compare_pixels,
    "pixels, one by one": _pixels_one_by_one,
    **{name: functools.partial(_measured, name, MEASURED_AT_ONCE) for name in VARIANTS},
    **{f"forwards of {name}": functools.partial(_forwards, n) for name, n in VARIANTS.items()},
    **{name: functools.partial(_measured, name, None) for name in ("average_drop", "removal")},
    **{name: functools.partial(_of_pixels, name) for name in (*HIDING, "lrp", "deep_lift")},
    **{
        f"forwards of {name}": functools.partial(_forwards_of_hidden, count)
        for name, (_, count) in HIDING.items()
    },
}
