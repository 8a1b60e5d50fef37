"""captum's and zennit's methods; ``peers_torch`` runs them. Nothing here imports tfcam."""

from __future__ import annotations

from typing import Any

import captum.attr
import captum.metrics
import torch

from tests.benchmarks import peers_work as work
from tests.benchmarks.peers_work import Call, Maker, Subject


def _attribution(kind: str, **options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        explain = getattr(captum.attr, kind)(asked.model).attribute
        return _call(explain, asked, **options)

    return make


def _call(explain: Any, asked: Subject, **options: Any) -> Call:
    return lambda: explain(asked.images, target=work.TARGET, **options).detach().numpy()


def _grad_cam(asked: Subject) -> Call:
    explain = captum.attr.LayerGradCam(asked.model, asked.model.layer4[-1])

    def call() -> object:
        maps = explain.attribute(asked.images, target=work.TARGET, relu_attributions=True)
        size = (work.SIDE, work.SIDE)
        return torch.nn.functional.interpolate(maps.detach(), size, mode="bilinear").numpy()

    return call


def _guided_grad_cam(asked: Subject) -> Call:
    explain = captum.attr.GuidedGradCam(asked.model, asked.model.layer4[-1])
    return _call(explain.attribute, asked, interpolate_mode="bilinear")


def _smooth_grad(asked: Subject) -> Call:
    explain = captum.attr.NoiseTunnel(captum.attr.Saliency(asked.model))
    return _call(explain.attribute, asked, nt_type="smoothgrad", nt_samples=work.SAMPLES)


def _gradient_shap(asked: Subject) -> Call:
    others = torch.rand(work.SAMPLES, *asked.images.shape[1:])
    explain = captum.attr.GradientShap(asked.model)
    return _call(explain.attribute, asked, baselines=others, n_samples=work.SAMPLES)


def _of_parts(kind: str) -> Maker:
    numbers = torch.tensor(work.parts())[None, None]
    options = {"n_samples": work.MASKS, "perturbations_per_eval": work.AT_ONCE}
    return _attribution(kind, feature_mask=numbers, **options)


def _infidelity(asked: Subject) -> Call:
    """Random squares become 0; their places are drawn as in tfcam."""
    maps = torch.tensor(work.heatmaps(len(asked.images)) - 0.5)[:, None]

    def hide(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = images.clone()
        for image, (row, column) in zip(
            hidden, torch.randint(work.SIDE - work.WINDOW + 1, (len(images), 2)), strict=True
        ):
            image[:, row : row + work.WINDOW, column : column + work.WINDOW] = 0
        return images - hidden, hidden

    options = {"n_perturb_samples": work.SQUARES, "max_examples_per_batch": work.AT_ONCE}
    given = (asked.model, hide, asked.images, maps.expand_as(asked.images))
    return lambda: captum.metrics.infidelity(
        *given, target=work.TARGET, normalize=True, **options
    ).numpy()


def _max_sensitivity(asked: Subject) -> Call:
    explain = captum.attr.Saliency(asked.model).attribute
    options: dict[str, Any] = {
        "perturb_radius": work.RADIUS,
        "n_perturb_samples": work.CHANGES,
        "max_examples_per_batch": work.AT_ONCE,
        "target": work.TARGET,
    }
    return lambda: captum.metrics.sensitivity_max(explain, asked.images, **options).numpy()


def _zennit(asked: Subject) -> Call:
    from zennit.composites import EpsilonPlus
    from zennit.torchvision import ResNetCanonizer

    composite = EpsilonPlus(canonizers=[ResNetCanonizer()])

    def call() -> object:
        given = asked.images.clone().requires_grad_()
        with composite.context(asked.model) as model:
            score = model(given)[:, work.TARGET]
            (relevance,) = torch.autograd.grad(score, given, score.detach())
        return relevance.numpy()

    return call


MAKERS: dict[str, dict[str, Maker]] = {
    "captum": {
        "grad_cam": _grad_cam,
        "saliency": _attribution("Saliency"),
        "gradient_input": _attribution("InputXGradient"),
        "guided_backprop": _attribution("GuidedBackprop"),
        "deconvnet": _attribution("Deconvolution"),
        "guided_grad_cam": _guided_grad_cam,
        "integrated_gradients": _attribution("IntegratedGradients", n_steps=work.SAMPLES),
        "smooth_grad": _smooth_grad,
        "expected_gradients": _gradient_shap,
        "occlusion": _attribution(
            "Occlusion",
            sliding_window_shapes=(3, work.WINDOW, work.WINDOW),
            strides=(3, work.WINDOW, work.WINDOW),
            perturbations_per_eval=work.AT_ONCE,
        ),
        "kernel_shap": _of_parts("KernelShap"),
        "lime": _of_parts("Lime"),
        "lrp": _attribution("LRP"),
        "deep_lift": _attribution("DeepLift"),
        "infidelity": _infidelity,
        "max_sensitivity": _max_sensitivity,
    },
    "zennit": {"lrp": _zennit},
}
