"""The embedded model: small, loaded offline, with scenes whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import keras
import numpy as np
from matplotlib.figure import Figure

from tfcam.explainer import METHODS, Explainer
from tfcam.explanation import Explanation
from tfcam.maps import iou
from tfcam.scenes import KINDS, Scene, draw_scene


def demo_model() -> keras.Model:
    """Load the network that comes with tfcam: it names the shapes that ``tfcam.scenes`` draws.

    Returns:
        A convolutional network for pictures (128, 128, 3) of 0..255, with global average pooling
        and one dense layer; its classes are ``tfcam.scenes.KINDS``. ``training/shapes.py`` made it.

    Example:
        >>> demo_model().output_shape
        (None, 8)
    """
    with resources.as_file(resources.files("tfcam") / "assets" / "shapes.keras") as path:
        return keras.models.load_model(path, compile=False)


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


def agreement(explainer: Explainer, scenes: list[Scene]) -> Agreement:
    """Compare the maps of the shapes' classes with where the shapes are.

    Args:
        explainer: For the embedded model.
        scenes: With one shape each.

    Returns:
        The means over the scenes.
    """
    targets = [scene.labels[0] for scene in scenes]
    results = explainer([scene.image for scene in scenes], targets)
    overlaps, hits = [], []
    for scene, result in zip(scenes, results, strict=True):
        boxes = result.boxes()
        overlaps.append(iou(boxes[0], scene.boxes[0]) if len(boxes) else 0.0)
        top = np.unravel_index(result.heatmap.argmax(), result.heatmap.shape)
        hits.append(bool(scene.masks[0][top]))
    return Agreement(results[0].method, float(np.mean(overlaps)), float(np.mean(hits)))


def run_demo(seed: int, count: int = 32) -> tuple[Figure, list[Agreement]]:
    """Explain fresh scenes by every method: a figure to look at, and how well the maps agree.

    Args:
        seed: Of the scenes.
        count: How many scenes are measured.

    Returns:
        The figure, and one agreement for each method.
    """
    model = demo_model()
    explainers = [Explainer(model, method=name, labels=KINDS) for name in METHODS]
    scenes = [draw_scene(seed + number) for number in range(count)]
    table = [agreement(explainer, scenes) for explainer in explainers]
    pair = draw_scene(seed + count, shapes=2)
    shown = [(scenes[0], 0), (pair, 0), (pair, 1)]
    rows = [
        (scene, [explainer(scene.image, scene.labels[which]) for explainer in explainers])
        for scene, which in shown
    ]
    return draw_rows(rows), table


def draw_rows(rows: list[tuple[Scene, list[Explanation]]]) -> Figure:
    """One row for each scene: the scene, then its explanations."""
    columns = 1 + len(rows[0][1])
    figure = Figure(figsize=(2.1 * columns, 2.5 * len(rows)), layout="constrained")
    for axes, (scene, results) in zip(figure.subplots(len(rows), columns), rows, strict=True):
        axes[0].imshow(scene.image)
        axes[0].set_title(" and ".join(KINDS[label] for label in scene.labels), fontsize="medium")
        axes[0].set_axis_off()
        for ax, result in zip(axes[1:], results, strict=True):
            result.plot(ax)
            ax.set_title(f"{result.method}\nfor {result.name}", fontsize="small")
    return figure
