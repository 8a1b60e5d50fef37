"""The figure of ``tfcam demo``, and how far its maps agree with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from tfcam.demo import demo_model
from tfcam.explainer.explainer import Explainer
from tfcam.figures.contact_sheet import Cell, ContactSheet, Heading
from tfcam.maps.regions import iou
from tfcam.results.explanation import Explanation
from tfcam.scenes import KINDS, Scene, draw_scene

SHOWN = ("cam", "grad_cam", "grad_cam_pp", "guided_backprop", "guided_grad_cam")


# The fraction of its maximum at which a map's box fits the shape best, on 400 other scenes.
THRESHOLD = 0.4


@dataclass(frozen=True)
class Agreement:
    """How a method's maps agree with the truth of scenes with one shape.

    Attributes:
        method: The method's name.
        iou: Mean intersection over union of the heatmap's box with the shape's.
        pointing: Share of heatmaps whose maximum lies on the shape.
    """

    method: str
    iou: float
    pointing: float


def agreement(scenes: Sequence[Scene], results: Sequence[Explanation]) -> Agreement:
    """Compare the maps of the shapes' classes with where the shapes are.

    Args:
        scenes: With one shape each.
        results: Their explanations by one method.

    Returns:
        The means over the scenes.
    """
    overlaps, hits = [], []
    for scene, result in zip(scenes, results, strict=True):
        boxes = result.boxes(THRESHOLD)
        overlaps.append(iou(boxes[0], scene.boxes[0]) if len(boxes) else 0.0)
        top = np.unravel_index(result.heatmap.argmax(), result.heatmap.shape)
        hits.append(bool(scene.masks[0][top]))
    return Agreement(results[0].method, float(np.mean(overlaps)), float(np.mean(hits)))


def run_demo(seed: int, count: int = 30) -> tuple[Figure, list[Agreement]]:
    """Explain fresh scenes by several methods: a figure to look at, and how well the maps agree.

    Args:
        seed: Random seed of the scenes.
        count: Number of scenes with one shape that are measured.

    Returns:
        The figure, and one agreement for each method.
    """
    model = demo_model()
    singles = [draw_scene(seed + number) for number in range(count)]
    pair = draw_scene(seed + count, shapes=2)
    scenes = [*singles, pair, pair]
    targets = [*(scene.labels[0] for scene in singles), *pair.labels]
    images = [scene.image for scene in scenes]
    by_method = [Explainer(model, method=name, labels=KINDS)(images, targets) for name in SHOWN]
    rows = [
        (scenes[number], [results[number] for results in by_method])
        for number in (0, count, count + 1)
    ]
    return _draw(rows), [agreement(singles, results[:count]) for results in by_method]


def _draw(rows: list[tuple[Scene, list[Explanation]]]) -> Figure:
    """Draw one row for each scene: what is explained, the scene, then its explanations."""
    cells = [
        [Cell(scene.image), *(Cell(explanation.picture()) for explanation in explanations)]
        for scene, explanations in rows
    ]
    columns = [
        Heading(explanation.method, f"at {explanation.layer}" if explanation.layer else "")
        for explanation in rows[0][1]
    ]
    firsts = [explanations[0] for _, explanations in rows]
    names = [Heading(first.name, first.title.split("\n")[0].split(", ")[1]) for first in firsts]
    foot = ["Grey maps are of pixels: mid grey is zero, each has its own range."]
    figure = Figure()
    ContactSheet(
        cells,
        [Heading("", "the scene"), *columns],
        names,
        "Drawn scenes, and what made the embedded network name each shape",
        foot,
        "of each map's maximum",
    ).draw(figure)
    return figure
