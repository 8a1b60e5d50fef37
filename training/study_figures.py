"""The figures of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import tfcam
from tfcam.evaluation.result import Evaluation
from tfcam.figures.overlays import overlay
from tfcam.figures.palette import PLAIN
from tfcam.metrics import localisation
from training import data

TRUE, CAM, GRAD_CAM = "#ffffff", "#0072b2", "#d55e00"
COLOURS = {"cam": CAM, "grad_cam": GRAD_CAM}
_WIDTH = 8.8  # inches
NAMES = {"cam": "CAM", "grad_cam": "Grad-CAM"}


def draw(
    model: keras.Model,
    dogs: data.Dogs,
    maps: Mapping[str, np.ndarray],
    tuned: Mapping[str, float],
    curves: Mapping[str, np.ndarray],
    rungs: pd.DataFrame,
    measured: Evaluation,
    places: Sequence[str],
) -> dict[str, Figure]:
    """All figures, by what they show."""
    methods = [each for each in NAMES if each in maps]
    right = np.flatnonzero(maps["right"])
    size = model.input_shape[1]
    shown = _pictures(dogs, right[np.linspace(0, len(right) - 1, 6).astype(int)])
    overlaps = _overlaps(dogs, maps, right, size, tuned)
    order = np.argsort(overlaps)
    extremes = _pictures(dogs, right[np.concatenate([order[-6:][::-1], order[:6]])])
    return {
        "The data: pictures as the network takes them, with their true boxes": _samples(
            dogs, shown
        ),
        "The maps of each picture's own breed, as overlays": _overlays(
            dogs, shown, maps, methods, size
        ),
        "Grad-CAM along the network, from an earlier block to the last": _along(
            model, dogs, shown[:3], places
        ),
        "True boxes (white) and those of the maps": _boxed(dogs, shown, maps, methods, size, tuned),
        "The six best and the six worst of Grad-CAM's boxes": _boxed(
            dogs, extremes, maps, ["grad_cam"], size, tuned, columns=4
        ),
        "The threshold, chosen on the validation part": _thresholds(curves, tuned),
        "The ladder: from the course's boxes to honest ones": _ladder(rungs),
        "All methods and the baselines, on pictures named rightly": measured.plot(),
    }


def _pictures(dogs: data.Dogs, numbers: np.ndarray) -> list[tuple[int, dict[str, Any]]]:
    """These examples of the test part, with their numbers."""
    wanted = set(numbers.tolist())
    found = {
        place: example
        for place, example in enumerate(dogs.test.as_numpy_iterator())
        if place in wanted
    }
    return [(number, found[number]) for number in numbers.tolist()]


def _overlaps(
    dogs: data.Dogs,
    maps: Mapping[str, np.ndarray],
    right: np.ndarray,
    size: int,
    tuned: Mapping[str, float],
) -> np.ndarray:
    """Grad-CAM's overlap on the pictures named rightly."""
    truths = [example["boxes"] for example in dogs.test.as_numpy_iterator()]
    return np.array(
        [
            localisation.box_iou(
                tfcam.maps.heatmap(maps["grad_cam"][each], (size, size)),
                truths[each],
                tuned["grad_cam"],
            )
            for each in right
        ]
    )


def _grid(rows: int, columns: int, bar: bool = False) -> tuple[Figure, Any]:
    """Places for pictures, as wide as a page: what is wider is shown with smaller letters."""
    side = _WIDTH / columns
    size = (_WIDTH, (side + 0.25) * rows + 0.7 * bar)
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(rows, columns, squeeze=False)
    for axes in places.flat:
        axes.set_axis_off()
    if bar:
        below = figure.colorbar(
            PLAIN.scale(faded=True), ax=places, location="bottom", aspect=40, shrink=0.4
        )
        below.set_label("of each map's maximum", fontsize=9)
    return figure, places


def _outline(axes: Axes, boxes: np.ndarray, colour: str, style: str = "-") -> None:
    for x0, y0, x1, y1 in boxes:
        for width, tint in ((3.5, "black"), (2, colour)):
            axes.add_patch(
                Rectangle(
                    (x0 - 0.5, y0 - 0.5),
                    x1 - x0,
                    y1 - y0,
                    fill=False,
                    edgecolor=tint,
                    linewidth=width,
                    linestyle=style,
                )
            )


def _samples(dogs: data.Dogs, shown: Sequence[tuple[int, dict[str, Any]]]) -> Figure:
    figure, places = _grid(-(-len(shown) // 3), 3)
    for axes, (_, example) in zip(places.flat, shown, strict=False):
        axes.imshow(example["image"])
        _outline(axes, example["boxes"], TRUE)
        axes.set_title(dogs.labels[example["label"]], fontsize=9)
    return figure


def _overlays(
    dogs: data.Dogs,
    shown: Sequence[tuple[int, dict[str, Any]]],
    maps: Mapping[str, np.ndarray],
    methods: Sequence[str],
    size: int,
) -> Figure:
    columns = 2 * len(methods)  # a picture's maps beside each other
    figure, places = _grid(-(-len(shown) * len(methods) // columns), columns, bar=True)
    cells = places.reshape(-1, len(methods))
    for row, (number, example) in zip(cells, shown, strict=False):
        for axes, method in zip(row, methods, strict=True):
            heatmap = tfcam.maps.heatmap(maps[method][number], (size, size))
            axes.imshow(overlay(example["image"], heatmap))
            axes.set_title(f"{NAMES[method]}, {dogs.labels[example['label']]}", fontsize=9)
    return figure


def _along(
    model: keras.Model,
    dogs: data.Dogs,
    shown: Sequence[tuple[int, dict[str, Any]]],
    places: Sequence[str],
) -> Figure:
    figure, cells = _grid(len(shown), len(places), bar=True)
    explainer = tfcam.Explainer(model, list(places), preprocess="raw")
    images = np.stack([example["image"] for _, example in shown])
    results = explainer(images, target=[int(example["label"]) for _, example in shown])
    for row, result in zip(cells, results, strict=True):
        for axes, (path, raw) in zip(row, result.parts.items(), strict=True):
            heatmap = tfcam.maps.heatmap(raw, result.image.shape[:2])
            axes.imshow(overlay(result.image, heatmap))
            axes.set_title(path.rpartition("/")[2], fontsize=8)
    return figure


def _boxed(
    dogs: data.Dogs,
    shown: Sequence[tuple[int, dict[str, Any]]],
    maps: Mapping[str, np.ndarray],
    methods: Sequence[str],
    size: int,
    tuned: Mapping[str, float],
    columns: int = 3,
) -> Figure:
    figure, places = _grid(-(-len(shown) // columns), columns)
    for axes, (number, example) in zip(places.flat, shown, strict=False):
        axes.imshow(example["image"])
        _outline(axes, example["boxes"], TRUE)
        said = []
        for method in methods:
            found = tfcam.maps.boxes(
                tfcam.maps.heatmap(maps[method][number], (size, size)), tuned[method]
            )
            # Dashed, as two boxes may lie on each other.
            _outline(axes, found, COLOURS[method], "--" if method == "grad_cam" else "-")
            overlap = localisation.best_iou(found, example["boxes"])
            said.append(f"{NAMES[method]} {overlap:.2f}")
        axes.set_title(", ".join(said), fontsize=9)
    return figure


def _thresholds(curves: Mapping[str, np.ndarray], tuned: Mapping[str, float]) -> Figure:
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.subplots()
    for method, curve in curves.items():
        style = "--" if method == "grad_cam" else "-"
        axes.plot(
            np.arange(len(curve)) / len(curve),
            curve,
            style,
            color=COLOURS[method],
            label=f"{NAMES[method]}, best at {tuned[method]:.2f}",
        )
        axes.axvline(tuned[method], color=COLOURS[method], linewidth=0.8, alpha=0.5)
    axes.set(xlabel="threshold, as a fraction of the maximum", ylabel="mean overlap (IoU)")
    axes.set_ylim(0, None)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _ladder(rungs: pd.DataFrame) -> Figure:
    names = list(dict.fromkeys(rungs["rung"]))
    figure = Figure(figsize=(8, 0.7 + 0.45 * len(names)), layout="constrained")
    axes = figure.subplots()
    for shift, method in enumerate(dict.fromkeys(rungs["method"])):
        rows = rungs[rungs["method"] == method]
        place = np.array([names.index(each) for each in rows["rung"]]) + (shift - 0.5) * 0.22
        axes.hlines(place, rows["low"], rows["high"], color=COLOURS[method], linewidth=2)
        axes.plot(
            rows["mean"],
            place,
            "o" if method == "cam" else "D",
            color=COLOURS[method],
            markersize=5,
            label=NAMES[method],
        )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="mean overlap (IoU) with its 95 % interval")
    axes.set_xlim(0, 1)
    axes.grid(axis="x", color="#e0e0e0", linewidth=0.6)
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure
