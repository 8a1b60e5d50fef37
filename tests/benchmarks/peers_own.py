"""tfcam on the work that it shares with other packages, in a process of its own.

``python -m tests.benchmarks.peers_own '{"rounds": 7}'`` prints JSON.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import tfcam
from tests.benchmarks import peers_work as work
from tests.benchmarks.networks import last_map, subject
from tests.benchmarks.peers_work import Call, Maker, Subject
from tfcam import metrics

BASELINES = np.random.default_rng(2).uniform(-1, 1, (work.SAMPLES, 224, 224, 3))
HIDDEN: dict[str, Any] = {"fill": "zero", "batch_size": work.AT_ONCE}
GRID: dict[str, Any] = {"segments": f"grid:{work.CELLS}", "samples": work.MASKS, **HIDDEN}
OPTIONS: dict[str, dict[str, Any]] = {
    "smooth_grad_cam_pp": {"samples": work.SAMPLES},
    "smooth_grad": {"samples": work.SAMPLES},
    "integrated_gradients": {"steps": work.SAMPLES},
    "expected_gradients": {
        "samples": work.SAMPLES,
        "baselines": BASELINES.astype(np.float32),
    },
    "occlusion": {"window": work.WINDOW, "stride": work.WINDOW, **HIDDEN},
    "rise": {"masks": work.MASKS, **HIDDEN},
    "kernel_shap": GRID,
    "lime": GRID,
}


def _explainer(method: str, asked: Subject) -> tfcam.Explainer:
    layer = "block_16_project_BN" if method in work.BOTTLENECK else last_map(asked.network)
    pixels = tfcam.METHODS[method].pixels and method != "guided_grad_cam"
    options = {"preprocess": None, **OPTIONS.get(method, {})}
    return tfcam.Explainer(asked.model, None if pixels else layer, method=method, **options)


def _method(method: str) -> Maker:
    return lambda asked: functools.partial(_explainer(method, asked), asked.images)


def _of_probe(metric: Callable[..., object], signed: bool = False, **options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        maps = work.heatmaps(len(asked.images)) - (0.5 if signed else 0)
        probe = _probe(asked)
        return lambda: metric(probe, maps, **options)

    return make


def _probe(asked: Subject) -> metrics.Probe:
    return metrics.Probe(asked.model, asked.images, preprocess=None, freeze=True)


def _of_each_map(metric: Callable[..., object], **options: Any) -> Maker:
    def make(asked: Subject) -> Call:
        maps, truth = work.heatmaps(len(asked.images)), work.truth()
        return lambda: [metric(each, truth, **options) for each in maps]

    return make


def _of_maps(metric: Callable[..., object]) -> Maker:
    def make(asked: Subject) -> Call:
        maps = work.heatmaps(len(asked.images))
        return lambda: metric(maps)

    return make


def _of_changes(metric: Callable[..., object]) -> Maker:
    def make(asked: Subject) -> Call:
        explainer = _explainer("saliency", asked)

        def explain(images: np.ndarray) -> np.ndarray:
            return np.stack([result.raw for result in explainer(images)])

        options = {"radius": work.RADIUS, "samples": work.CHANGES}
        return lambda: metric(explain, asked.images[0], **options)

    return make


def _with_map(*measured: Callable[..., object]) -> Maker:
    def make(asked: Subject) -> Call:
        explainer, probe = _explainer("grad_cam", asked), _probe(asked)

        def call() -> object:
            results = explainer(asked.images)
            return [metric(probe, results) for metric in measured]

        return call

    return make


def _class_sensitivity(asked: Subject) -> Call:
    how: dict[str, Any] = {"methods": ["saliency"], "preprocess": None, "progress": False}
    return lambda: metrics.class_sensitivity(asked.model, asked.images, **how)


_deletion = functools.partial(metrics.deletion, steps=work.STEPS)
_insertion = functools.partial(metrics.insertion, steps=work.STEPS, fill="zero")
MAKERS: dict[str, Maker] = {
    **{name: _method(name) for name in (*work.ONE_PASS, *work.LOOPING)},
    "average_drop": _of_probe(metrics.average_drop),
    "increase_in_confidence": _of_probe(metrics.increase_in_confidence),
    "confidence_change": _of_probe(metrics.confidence_change),
    "grad_cam + average_drop + increase_in_confidence": _with_map(
        metrics.average_drop, metrics.increase_in_confidence
    ),
    "class_sensitivity": _class_sensitivity,
    "pointing_game": _of_each_map(metrics.pointing_game, tolerance=0),
    "energy": _of_each_map(metrics.energy),
    "relevance_rank_accuracy": _of_each_map(metrics.relevance_rank_accuracy),
    "localisation_auc": _of_each_map(metrics.localisation_auc),
    "gini": _of_maps(metrics.gini),
    "entropy": _of_maps(metrics.entropy),
    "deletion": _of_probe(_deletion),
    "insertion": _of_probe(_insertion),
    "grad_cam + deletion + insertion": _with_map(_deletion, _insertion),
    "road_morf": _of_probe(metrics.road_morf, fractions=work.FRACTIONS),
    "road": _of_probe(metrics.road, fractions=work.FRACTIONS),
    "faithfulness_correlation": _of_probe(
        metrics.faithfulness_correlation, signed=True, subsets=work.SETS
    ),
    "mu_fidelity": _of_probe(metrics.mu_fidelity, signed=True, subsets=work.SETS),
    "infidelity": _of_probe(
        metrics.infidelity, signed=True, samples=work.SQUARES, side=work.WINDOW
    ),
    "max_sensitivity": _of_changes(metrics.max_sensitivity),
    "local_lipschitz": _of_changes(metrics.local_lipschitz),
}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps(work.measure("tfcam", MAKERS, subject, asked["rounds"])))
