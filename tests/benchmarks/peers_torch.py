"""Packages for PyTorch, each in a process of its own.

In an environment of its own::

    pip install torch torchvision grad-cam torchcam captum zennit quantus

``python -m tests.benchmarks.peers_torch '{"package": "captum", "rounds": 7}'`` prints JSON; also of
the packages in ``peers_captum`` and ``peers_quantus``. Nothing here imports tfcam or TensorFlow.
"""

from __future__ import annotations

import copy
import functools
import json
import sys
from typing import Any

import torch
import torchvision

from tests.benchmarks import peers_captum, peers_quantus
from tests.benchmarks import peers_work as work
from tests.benchmarks.peers_work import Call, Maker, Subject


@functools.cache
def _built(network: str) -> Any:
    torch.manual_seed(0)
    model = getattr(torchvision.models, network)(weights=None)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # its normalisations know the noise that it will see
    with torch.no_grad():
        model.train()(torch.rand(4, 3, work.SIDE, work.SIDE))
    return model.eval()


def subject(network: str, batch: int) -> Subject:
    """A network of torchvision, of which each package gets its own copy, as some hook into it."""
    model = copy.deepcopy(_built(network))
    images = torch.rand(batch, 3, work.SIDE, work.SIDE, generator=torch.manual_seed(1))

    def forward() -> object:
        with torch.inference_mode():
            return _built(network)(images).numpy()

    return Subject(network, model, images, forward)


def _layer(asked: Subject, method: str = "") -> Any:
    """The map that feeds the last pooling; the last bottleneck where all channels are asked."""
    if asked.network == "resnet50":
        return asked.model.layer4[-1]
    return asked.model.features[17 if method in work.BOTTLENECK else 18]


def _grad_cam(kind: str, method: str = "") -> Maker:
    def make(asked: Subject) -> Call:
        import pytorch_grad_cam

        layers = [] if kind == "FullGrad" else [_layer(asked, method)]
        explain = getattr(pytorch_grad_cam, kind)(model=asked.model, target_layers=layers)
        if method in work.BOTTLENECK:
            explain.batch_size = work.AT_ONCE
        return lambda: explain(input_tensor=asked.images, targets=None)

    return make


def _guided(asked: Subject) -> Call:
    """It takes one picture."""
    import pytorch_grad_cam

    explain = pytorch_grad_cam.GuidedBackpropReLUModel(asked.model)
    return lambda: [explain(image.clone(), work.TARGET) for image in asked.images.split(1)]


def _grad_cam_metric(module: str, kind: str, **options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        from importlib import import_module

        from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

        measure = getattr(import_module(f"pytorch_grad_cam.metrics.{module}"), kind)(**options)
        targets = [ClassifierOutputSoftmaxTarget(work.TARGET)] * len(asked.images)
        maps = work.heatmaps(len(asked.images))
        return lambda: measure(asked.images, maps, targets, asked.model)

    return make


def _torchcam(kind: str, method: str = "", **options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        explain = _extractor(kind, asked, method, **options)

        def call() -> object:
            scores = asked.model(asked.images)
            (maps,) = explain(scores.argmax(1).tolist(), scores)
            size = (work.SIDE, work.SIDE)
            maps = maps.detach()[:, None]
            return torch.nn.functional.interpolate(maps, size, mode="bilinear").numpy()

        return call

    return make


def _extractor(kind: str, asked: Subject, method: str = "", **options: Any) -> Any:
    from torchcam import methods

    return getattr(methods, kind)(asked.model, target_layer=_layer(asked, method), **options)


def _torchcam_metric(kind: str, **options: Any) -> Maker:
    """Its metrics make the map, and several numbers at once."""

    def make(asked: Subject) -> Call:
        from torchcam import metrics

        softmax = functools.partial(torch.softmax, dim=-1)
        measure = getattr(metrics, kind)(_extractor("GradCAM", asked), softmax, **options)

        def call() -> object:
            measure.update(asked.images)
            return measure.summary()

        return call

    return make


_PERCENTILES = [round(100 * each) for each in work.FRACTIONS]
MAKERS: dict[str, dict[str, Maker]] = {
    "grad-cam": {
        "grad_cam": _grad_cam("GradCAM"),
        "grad_cam_pp": _grad_cam("GradCAMPlusPlus"),
        "x_grad_cam": _grad_cam("XGradCAM"),
        "hires_cam": _grad_cam("HiResCAM"),
        "layer_cam": _grad_cam("LayerCAM"),
        "grad_cam_elementwise": _grad_cam("GradCAMElementWise"),
        "eigen_cam": _grad_cam("EigenCAM"),
        "eigen_grad_cam": _grad_cam("EigenGradCAM"),
        "finer_cam": _grad_cam("FinerCAM"),
        "full_grad": _grad_cam("FullGrad"),
        "guided_backprop": _guided,
        "score_cam": _grad_cam("ScoreCAM", "score_cam"),
        "ablation_cam": _grad_cam("AblationCAM", "ablation_cam"),
        "average_drop": _grad_cam_metric("cam_mult_image", "DropInConfidence"),
        "increase_in_confidence": _grad_cam_metric("cam_mult_image", "IncreaseInConfidence"),
        "confidence_change": _grad_cam_metric("cam_mult_image", "CamMultImageConfidenceChange"),
        "road_morf": _grad_cam_metric(
            "road", "ROADMostRelevantFirstAverage", percentiles=_PERCENTILES
        ),
        "road": _grad_cam_metric("road", "ROADCombined", percentiles=_PERCENTILES),
    },
    "torchcam": {
        "cam": _torchcam("CAM", fc_layer="fc"),
        "grad_cam": _torchcam("GradCAM"),
        "grad_cam_pp": _torchcam("GradCAMpp"),
        "x_grad_cam": _torchcam("XGradCAM"),
        "layer_cam": _torchcam("LayerCAM"),
        "finer_cam": _torchcam("FinerCAM"),
        "smooth_grad_cam_pp": _torchcam("SmoothGradCAMpp", num_samples=work.SAMPLES),
        "score_cam": _torchcam("ScoreCAM", "score_cam", batch_size=work.AT_ONCE),
        "grad_cam + average_drop + increase_in_confidence": _torchcam_metric(
            "ClassificationMetric"
        ),
        "grad_cam + deletion + insertion": _torchcam_metric(
            "DeletionInsertionMetric", steps=work.STEPS, batch_size=work.AT_ONCE
        ),
    },
    **peers_captum.MAKERS,
    "quantus": peers_quantus.MAKERS,
}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    name, rounds = asked["package"], asked["rounds"]
    print(json.dumps(work.measure(name, MAKERS[name], subject, rounds)))
