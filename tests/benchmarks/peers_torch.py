"""Packages for PyTorch, each in a process of its own.

In an environment of its own::

    pip install torch torchvision grad-cam torchcam captum

``python -m tests.benchmarks.peers_torch '{"peer": "captum", "batch": 1, "rounds": 7}'`` prints
JSON. Nothing here imports tfcam or TensorFlow.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch
import torchvision

from tests.benchmarks.timing import interleaved


def _grad_cam(model: Any, images: torch.Tensor) -> Callable[[], Any]:
    from pytorch_grad_cam import GradCAM

    explain = GradCAM(model=model, target_layers=[model.layer4[-1]])
    return lambda: explain(input_tensor=images, targets=None)


def _torchcam(model: Any, images: torch.Tensor) -> Callable[[], Any]:
    from torchcam.methods import GradCAM

    explain = GradCAM(model, target_layer=model.layer4[-1])

    def call() -> Any:
        scores = model(images)
        (maps,) = explain(scores.argmax(1).tolist(), scores)
        return _resized(maps[:, None])

    return call


def _captum(model: Any, images: torch.Tensor) -> Callable[[], Any]:
    from captum.attr import LayerGradCam

    explain = LayerGradCam(model, model.layer4[-1])
    return lambda: _resized(explain.attribute(images, target=7, relu_attributions=True))


def _resized(maps: torch.Tensor) -> Any:
    maps = maps.detach()
    return torch.nn.functional.interpolate(maps, (224, 224), mode="bilinear").numpy()


PEERS = {"grad-cam": _grad_cam, "torchcam": _torchcam, "captum": _captum}


def measure(peer: str, batch: int, rounds: int) -> dict[str, Any]:
    """A peer's Grad-CAM beside the forward pass of torchvision's ResNet50."""
    torch.manual_seed(0)
    model = torchvision.models.resnet50(weights=None).eval()
    images = torch.rand(batch, 3, 224, 224)

    def forward() -> Any:
        with torch.inference_mode():
            return model(images).numpy()

    calls = {"forward": forward, "peer": PEERS[peer](model, images)}
    version = f"{peer} {metadata.version(peer)}, torch {torch.__version__}"
    return {"version": version, "seconds": interleaved(calls, rounds, 3)}


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
