"""What the maps of pixels are worth: insertion, deletion, ROAD and the pointing game.

``python -m tests.benchmarks.worth --to kept`` asks a network with ImageNet weights about photos of
Stanford Dogs, a few at a time. What is done is kept in the folder: it can be broken off, and goes
on when it is called again. ``--table`` prints the means so far, with their intervals.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pandas as pd

import tfcam
from tfcam.evaluation.intervals import mean_interval
from tfcam.methods.selection import MethodChoice
from tfcam.metrics.registry import MetricChoice

DOGS = Path(os.environ.get("TFCAM_TEST_DATA", "")) / "tensorflow_datasets"
# The second is small and weak, and asked twenty times as fast.
NETWORKS: dict[str, Callable[[], Any]] = {
    "mobilenet_v2": keras.applications.MobileNetV2,
    "mobilenet": lambda: keras.applications.MobileNet((128, 128, 3), alpha=0.25),
}
METHODS: list[MethodChoice] = [
    "grad_cam",
    "saliency",
    "gradient_input",
    ("integrated_gradients", {"steps": 16}),
    "deep_lift",
    "lrp",
    ("lrp", {"composite": "epsilon_plus_flat"}),
    "occlusion",
    ("rise", {"masks": 300}),
    ("rise", {"masks": 300, "centred": True}),
    ("kernel_shap", {"samples": 300}),
    ("lime", {"samples": 300}),
]
METRICS: list[MetricChoice] = [
    ("insertion", {"steps": 10}),
    ("deletion", {"steps": 10}),
    ("road", {"fractions": [0.3, 0.7]}),
    "pointing_game",
]
AT_ONCE = 5


def measure(folder: Path, network: str, photos: int) -> None:
    """Go on where the folder ends."""
    tfcam.evaluate(
        NETWORKS[network](),
        "stanford_dogs",
        split=f"test[:{photos}]",
        data_dir=DOGS,
        methods=METHODS,
        metrics=METRICS,
        batch_size=AT_ONCE,
        to=folder,
        progress=True,
    )


def table(folder: Path) -> str:
    """The means of what is done, as Markdown."""
    rows = pd.concat(map(pd.read_parquet, sorted(folder.glob("rows-*.parquet"))))
    names = list(rows["metric"].unique())
    lines = [f"{rows['image'].nunique()} photos", "", f"| map | {' | '.join(names)} |"]
    lines.append("|---" * (1 + len(names)) + "|")
    for method, part in rows.groupby("method", sort=False):
        found = [mean_interval(part.loc[part["metric"] == name, "value"]) for name in names]
        said = [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in found]
        lines.append(f"| {method} | {' | '.join(said)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, or print the table of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("worth"))
    parser.add_argument("--network", choices=NETWORKS, default="mobilenet_v2")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        measure(given.to, given.network, given.photos)
    print(table(given.to))


if __name__ == "__main__":
    main()
