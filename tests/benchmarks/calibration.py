"""How often the removal test of ``tfcam.verify`` supports maps that know nothing, and methods.

``python -m tests.benchmarks.calibration --photos 20`` counts, for MobileNetV2 with its ImageNet
weights and with random ones, on which share of the photos p is at most 0.05, with its interval.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np

import tfcam
from tfcam.evaluation.intervals import share_interval
from tfcam.metrics import Probe, centre_gaussian, random_map
from tfcam.verification.hiding import Hiding
from tfcam.verification.moves import permutation_p
from tfcam.verification.questions import SURE, Marks

METHODS = ("grad_cam", "layer_cam", "saliency")


def p_value(hiding: Hiding, values: np.ndarray, draws: int, seed: int) -> float:
    """The p-value of the removal test, as ``tfcam.verify`` takes it."""
    marks = Marks.of(hiding, np.maximum(values, 0), 0.25, draws, seed)
    falls = marks.falls(marks.marked, lambda _: None).number
    return permutation_p(falls[0], falls[1:])


def measure(model: keras.Model, files: list[Path], draws: int) -> dict[str, list[float]]:
    """The p-values of each kind of map, one a photo."""
    explainers = {name: tfcam.Explainer(model, method=name, progress=False) for name in METHODS}
    found, before = defaultdict(list), explainers["grad_cam"](files[-1]).raw
    for seed, file in enumerate(files):
        hiding = Hiding.of(Probe(model, file), ("blur", "mean"), plain=True)
        maps = {name: explainer(file) for name, explainer in explainers.items()}
        values = {
            name: each.raw if each.raw.ndim == 2 else each.heatmap for name, each in maps.items()
        }
        image = maps["grad_cam"].image
        values["a hill in the middle"] = centre_gaussian(image)
        values["a random map"] = random_map(image, seed)
        values["another photo's Grad-CAM"] = before
        before = values["grad_cam"]
        for name, each in values.items():
            found[name].append(p_value(hiding, each, draws, seed))
    return found


def main() -> None:
    """Count, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--draws", type=int, default=39)
    given = parser.parse_args()
    folder = Path(os.environ["TFCAM_TEST_DATA"]) / "images" / "imagenet"
    every = sorted(folder.glob("*.JPEG"))
    files = every[:: max(1, len(every) // given.photos)][: given.photos]
    print("| weights | map | p <= 0.05 | 95 % interval | median p |\n|---|---|---|---|---|")
    for weights in ("imagenet", None):
        keras.utils.set_random_seed(0)
        model = keras.applications.MobileNetV2(weights=weights)
        for name, values in measure(model, files, given.draws).items():
            share = float(np.mean(np.array(values) <= SURE))
            _, low, high = share_interval(share, len(values))
            middle = f"{np.median(values):.2f}"
            line = (weights or "random", name, f"{share:.0%}", f"{low:.0%} to {high:.0%}", middle)
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
