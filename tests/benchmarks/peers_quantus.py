"""Quantus' metrics, of a network of PyTorch; ``peers_torch`` runs them.

Nothing here imports tfcam.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import quantus

from tests.benchmarks import peers_work as work
from tests.benchmarks.peers_work import Call, Maker, Subject

PLAIN: dict[str, Any] = {
    "normalise": False,
    "abs": False,
    "disable_warnings": True,
    "return_aggregate": False,
}


def _metric(kind: str, signed: bool = False, **options: Any) -> Maker:
    """A metric of maps, or of how they change, with captum's saliency."""

    def make(asked: Subject) -> Call:
        count = len(asked.images)
        measure = getattr(quantus, kind)(**PLAIN, **options)
        maps = work.heatmaps(count)[:, np.newaxis] - (0.5 if signed else 0)
        truth = np.broadcast_to(work.truth(), (count, 1, work.SIDE, work.SIDE))
        images, classes = asked.images.numpy(), np.full(count, work.TARGET)
        explaining = {
            "explain_func": quantus.explain,
            "explain_func_kwargs": {"method": "Saliency"},
        }

        def call() -> object:  # it changes what it gets
            return measure(
                model=asked.model,
                x_batch=images.copy(),
                y_batch=classes.copy(),
                a_batch=None if kind in EXPLAINS else maps.copy(),
                s_batch=truth.copy(),
                channel_first=True,
                softmax=True,
                **explaining,
            )

        return call

    return make


# What makes the maps itself.
EXPLAINS = {"MaxSensitivity", "LocalLipschitzEstimate", "RandomLogit"}
MAKERS: dict[str, Maker] = {
    "deletion": _metric("PixelFlipping", features_in_step=3 * work.SIDE**2 // work.STEPS),
    "road_morf": _metric("ROAD", percentages=[round(100 * each) for each in work.FRACTIONS]),
    "faithfulness_correlation": _metric(
        "FaithfulnessCorrelation", signed=True, nr_runs=work.SETS, subset_size=work.SIDE
    ),
    "infidelity": _metric(
        "Infidelity",
        signed=True,
        perturb_patch_sizes=[work.WINDOW],
        n_perturb_samples=work.SQUARES // work.CELLS**2,
    ),
    "max_sensitivity": _metric("MaxSensitivity", lower_bound=work.RADIUS, nr_samples=work.CHANGES),
    "local_lipschitz": _metric("LocalLipschitzEstimate", nr_samples=work.CHANGES),
    "class_sensitivity": _metric("RandomLogit", num_classes=1000),
    "pointing_game": _metric("PointingGame"),
    "energy": _metric("RelevanceMassAccuracy"),
    "relevance_rank_accuracy": _metric("RelevanceRankAccuracy"),
    "localisation_auc": _metric("AUC"),
    "gini": _metric("Sparseness"),
    "entropy": _metric("Complexity"),
}
