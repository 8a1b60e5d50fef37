"""xplique's methods and metrics; ``peers_tf`` runs them. Nothing here imports tfcam."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tests.benchmarks import peers_work as work
from tests.benchmarks.networks import last_map
from tests.benchmarks.peers_work import Call, Maker, Subject


def _wanted(asked: Subject) -> np.ndarray:
    return np.eye(1000, dtype=np.float32)[[work.TARGET] * len(asked.images)]


def _explainer(kind: str, asked: Subject, **options: Any) -> Any:
    from xplique import attributions

    return getattr(attributions, kind)(asked.model, batch_size=work.AT_ONCE, **options)


def attribution(kind: str, **options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        if kind in ("GradCAM", "GradCAMPP"):
            options["conv_layer"] = last_map(asked.network)
        explain, wanted = _explainer(kind, asked, **options).explain, _wanted(asked)
        return lambda: np.asarray(explain(asked.images, wanted))

    return make


def _metric(kind: str, signed: bool = False, **options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        from xplique import metrics

        maps = work.heatmaps(len(asked.images)) - (0.5 if signed else 0)
        given = (asked.model, asked.images, _wanted(asked))
        measure = getattr(metrics, kind)(*given, batch_size=work.AT_ONCE, **options)
        return lambda: measure(maps[..., np.newaxis])

    return make


def _of_maps(kind: str) -> Maker:
    def make(asked: Subject) -> Call:
        from xplique import metrics

        maps, measure = work.heatmaps(len(asked.images)), getattr(metrics, kind)()
        return lambda: measure(maps[..., np.newaxis])

    return make


def _random_logit(asked: Subject) -> Call:
    from xplique import metrics

    measure = metrics.RandomLogitMetric(
        asked.model, asked.images, _wanted(asked), batch_size=work.AT_ONCE
    )
    explainer = _explainer("Saliency", asked)
    return lambda: measure(explainer)


PARTS: dict[str, Any] = {
    "map_to_interpret_space": lambda _: tf.constant(work.parts(), tf.int32),
    "ref_value": np.zeros(3, np.float32),
    "nb_samples": work.MASKS,
}
MAKERS: dict[str, Maker] = {
    "grad_cam": attribution("GradCAM"),
    "grad_cam_pp": attribution("GradCAMPP"),
    "saliency": attribution("Saliency"),
    "gradient_input": attribution("GradientInput"),
    "guided_backprop": attribution("GuidedBackprop"),
    "deconvnet": attribution("DeconvNet"),
    "integrated_gradients": attribution("IntegratedGradients", steps=work.SAMPLES),
    "smooth_grad": attribution("SmoothGrad", nb_samples=work.SAMPLES),
    "occlusion": attribution("Occlusion", patch_size=work.WINDOW, patch_stride=work.WINDOW),
    "rise": attribution("Rise", nb_samples=work.MASKS),
    "kernel_shap": attribution("KernelShap", **PARTS),
    "lime": attribution("Lime", **PARTS),
    "deletion": _metric("Deletion", steps=work.STEPS),
    "insertion": _metric("Insertion", steps=work.STEPS),
    "average_drop": _metric("AverageDropMetric"),
    "increase_in_confidence": _metric("AverageIncreaseMetric"),
    "mu_fidelity": _metric("MuFidelity", signed=True, nb_samples=work.SETS),
    "gini": _of_maps("Sparseness"),
    "entropy": _of_maps("Complexity"),
    "class_sensitivity": _random_logit,
}
