"""How often the removal test of ``tfcam.verify`` supports maps that know nothing, and methods.

``python -m tests.benchmarks.calibration --rows rows.csv`` asks MobileNetV2 and EfficientNet-Lite0,
with their ImageNet weights, about photos, photo by photo. Each p-value is a row, written at once:
it can be broken off, and goes on when it is called again. ``--table`` prints on which share of the
photos p is at most 0.05, with its interval. ``--scenes 200`` asks the embedded network about drawn
scenes instead, of which it is known where the explained shape is: how often a map that is supported
has its strongest pixel there, and one that is not.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import tfcam
from tfcam.evaluation.intervals import share_interval
from tfcam.methods.selection import one_pass_methods
from tfcam.metrics import Probe, centre_gaussian, random_map
from tfcam.metrics.hiding import Hiding
from tfcam.metrics.localisation import pointing_game
from tfcam.metrics.moves import permutation_p
from tfcam.metrics.removal_test import SURE, Marks

DATA = Path(os.environ.get("TFCAM_TEST_DATA", ""))
NETWORKS: dict[str, Callable[[], Any]] = {
    "MobileNetV2": keras.applications.MobileNetV2,
    "EfficientNet-Lite0": lambda: keras.models.load_model(
        DATA / "models" / "efficientnet_lite0.keras", compile=False
    ),
}
METHODS: dict[str, dict[str, Any]] = {
    **{name: {} for name in one_pass_methods()},
    "integrated_gradients": {},
    "lrp": {},
    "rise": {"masks": 300},
}
# All photos have random maps; one in so many has all the others.
RARE = 16
COLUMNS = ("photo", "network", "map", "p")


def p_value(hiding: Hiding, values: np.ndarray, draws: int, seed: int) -> float:
    """The p-value of the removal test, as ``tfcam.verify`` takes it."""
    marks = Marks.of(hiding, np.maximum(values, 0), 0.25, draws, seed)
    falls = marks.falls(marks.marked).number
    return permutation_p(falls[0], falls[1:])


def moved(explanation: tfcam.Explanation) -> np.ndarray:
    """The values that are moved: a layer's own, or the pixels'."""
    of_layer = explanation.layer is not None and explanation.raw.ndim == 2
    return explanation.raw if of_layer else explanation.heatmap


class Subject:
    """A network, and what explains it.

    Args:
        name: One of ``NETWORKS``.
        before: The photo before the first.
    """

    def __init__(self, name: str, before: Path) -> None:
        self.name, self.model = name, NETWORKS[name]()
        self.explainers = {
            method: tfcam.Explainer(self.model, method=method, progress=False, **options)
            for method, options in METHODS.items()
        }
        self.before = self.explainers["grad_cam"](before).raw

    def measure(self, photo: Path, number: int, draws: int) -> dict[str, float]:
        """The p-values of all maps of a photo."""
        hiding = Hiding.of(Probe(self.model, photo, batch_size=40), ("blur", "mean"), plain=True)
        image = hiding.image
        values = {
            "a random map": np.random.default_rng(number).random(self.before.shape),
            "a random map, as pixels": random_map(image, number),
        }
        if number % RARE == 0:
            values |= {name: moved(explain(photo)) for name, explain in self.explainers.items()}
            values["a hill in the middle"] = centre_gaussian(image)
            values["another photo's Grad-CAM"] = self.before
            self.before = values["grad_cam"]
        return {name: p_value(hiding, each, draws, number) for name, each in values.items()}


def measure(rows: Path, photos: int, draws: int) -> None:
    """Go on where the rows end."""
    every = sorted((DATA / "images" / "imagenet").glob("*.JPEG"))
    files = [every[place] for place in np.random.default_rng(0).permutation(len(every))[:photos]]
    done = {row["photo"] for row in csv.DictReader(rows.open())} if rows.exists() else set()
    start = len(done)
    subjects = [Subject(name, files[start - 1]) for name in NETWORKS]
    with rows.open("a") as file:
        writer = csv.writer(file)
        if not start:
            writer.writerow(COLUMNS)
        for number in range(start, len(files)):
            found = {each.name: each.measure(files[number], number, draws) for each in subjects}
            for network, values in found.items():
                for name, p in values.items():
                    writer.writerow((files[number].name, network, name, p))
            file.flush()


def table(rows: Path) -> str:
    """The share of p at most 0.05 of each network and map, as Markdown."""
    lines = ["| network | map | photos | p ≤ 0.05 | interval | median p |", "|---" * 6 + "|"]
    for (network, name), part in pd.read_csv(rows).groupby(["network", "map"], sort=False):
        share, low, high = share_interval(float((part["p"] <= SURE).mean()), len(part))
        said = f"{share:.0%}", f"{100 * low:.0f} to {high:.0%}", f"{part['p'].median():.2f}"
        lines.append(f"| {' | '.join((str(network), str(name), str(len(part)), *said))} |")
    return "\n".join(lines)


def measure_scenes(scenes: int, draws: int) -> pd.DataFrame:
    """The p-value of each method's map of a scene, and whether its strongest pixel is a hit.

    Each scene has two shapes; the likelier is explained where the network sees it.
    """
    model = tfcam.demo_model()
    methods = one_pass_methods()
    rows: list[tuple[str, float, bool]] = []
    for seed in range(scenes):
        scene = tfcam.scenes.draw_scene(seed, shapes=2)
        found = tfcam.compare(model, scene.image, methods=methods)
        target = found[0, 0].target
        if target not in scene.labels:
            continue
        mask = scene.masks[scene.labels.index(target)]
        hiding = Hiding.of(Probe(model, scene.image), ("blur", "mean"), plain=True)
        for each in found:
            p = p_value(hiding, moved(each), draws, seed)
            rows.append((each.method, p, pointing_game(each.heatmap, mask, tolerance=0)))
    return pd.DataFrame(rows, columns=["map", "p", "hit"])


def scenes_table(rows: pd.DataFrame) -> str:
    """Hits of maps that are supported and of others, and how p goes with them, as Markdown."""
    lines = ["| map | scenes | hits where p ≤ 0.05 | hits else | Spearman of p and hits |"]
    lines.append("|---" * 5 + "|")
    for name, part in [*rows.groupby("map", sort=False), ("all", rows)]:
        sure = part["p"] <= SURE
        hits = [f"{each['hit'].sum()} of {len(each)}" for each in (part[sure], part[~sure])]
        goes = spearmanr(part["p"], part["hit"]).statistic if part["hit"].nunique() > 1 else np.nan
        lines.append(f"| {name} | {len(part)} | {' | '.join(hits)} | {goes:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or print the table of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, default=Path("calibration.csv"))
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--draws", type=int, default=39)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--scenes", type=int)
    given = parser.parse_args()
    if given.scenes:
        print(scenes_table(measure_scenes(given.scenes, given.draws)))
        return
    if not given.table:
        measure(given.rows, given.photos, given.draws)
    print(table(given.rows))


if __name__ == "__main__":
    main()
