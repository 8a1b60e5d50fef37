"""Maps of several explanations on one sheet: scales, sizes, and what is said of the colours."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfcam import maps
from tfcam.figures.palette import LEVELS, OF_EACH, OF_ROW, Palette
from tfcam.results.explanation import Explanation, draw_map
from tfcam.utils.suggestions import did_you_mean

_LARGEST_SIDE = 800  # pixels that a picture keeps in the figure: more than any print shows


class Legend(NamedTuple):
    """What is said of the colours of some maps.

    Attributes:
        bar: The label of their colour bar; None for no bar.
        faded: Whether it is of maps that lie over pictures.
        foot: What else to know, one line each.
    """

    bar: str | None
    faded: bool
    foot: list[str]


def describe_colours(
    explanations: Iterable[Explanation], palette: Palette, shared_scale: bool = False
) -> Legend:
    """Say what the colours of maps on one sheet are.

    Args:
        explanations: Of images.
        palette: The colours.
        shared_scale: Whether the maps of a row share one scale.
    """
    looks = {explanation.look for explanation in explanations}
    if palette.signed and "channels" in looks:  # drawn in its colours too
        looks = (looks - {"channels"}) | {"pixels"}
    foot = []
    if "channels" in looks:
        foot.append("Grey maps are of pixels: mid grey is zero, each has its own range.")
    if looks >= {"overlay", "pixels"}:
        foot.append(
            "Maps of pixels are drawn by themselves, in full colours up to their 99th percentile."
        )
    largest = OF_ROW if shared_scale else OF_EACH
    if "overlay" in looks and palette.contours:
        levels = ", ".join(f"{level:.0%}" for level in LEVELS)
        sides = ": red for, blue against" if palette.signed else ""
        foot.append(f"Lines are at {levels} {largest}{sides}.")
    elif "overlay" in looks:
        return Legend(largest, True, foot)
    return Legend("of each map's 99th percentile" if "pixels" in looks else None, False, foot)


def scale_row(row: Sequence[Explanation], signed: bool = False) -> list[np.ndarray]:
    """Scale the maps of one row together: relative to the largest value of all of them.

    Args:
        row: Explanations of one picture.
        signed: Whether signed maps are scaled, else heatmaps.

    Returns:
        For each M / max over the row, (H, W) float32 in [0, 1], where M is ``maps.evidence``; or
        in [-1, 1], where M is the resized raw map, by the largest absolute value. A map of pixels,
        or one that is not finite, keeps its own scale.

    Example:
        >>> import dataclasses, tfcam
        >>> one = tfcam.explain(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> weak = dataclasses.replace(one, raw=one.raw / 4)
        >>> [float(each.max()) for each in scale_row([one, weak])]
        [1.0, 0.25]
    """
    bring = maps.resize if signed else maps.evidence
    shared = {
        number: bring(explanation.raw, explanation.heatmap.shape)
        for number, explanation in enumerate(row)
        if explanation.raw.ndim == 2 and np.isfinite(explanation.raw).all()
    }
    largest = max((np.abs(values).max() for values in shared.values()), default=0.0) or 1.0
    return [
        shared[number] / largest if number in shared else scale_alone(explanation, signed)
        for number, explanation in enumerate(row)
    ]


def scale_alone(explanation: Explanation, signed: bool) -> np.ndarray:
    """Scale a map by itself: its heatmap, or its signed one."""
    return explanation.signed_heatmap if signed else explanation.heatmap


def shrink(explanation: Explanation, values: np.ndarray | None = None) -> Explanation:
    """Shrink the explanation of a large photo to what a figure can show.

    Args:
        explanation: Of an image.
        values: (H, W), what its heatmap is replaced by; None for its own.
    """
    heatmap = explanation.heatmap if values is None else values
    step = -(-max(heatmap.shape) // _LARGEST_SIDE)
    if step == 1:
        return dataclasses.replace(explanation, heatmap=heatmap)
    image = np.asarray(Image.fromarray(explanation.image).reduce(step))
    heatmap = np.asarray(Image.fromarray(heatmap).reduce(step))
    return dataclasses.replace(explanation, heatmap=heatmap, image=image)


def draw_small(
    explanation: Explanation, values: np.ndarray, alpha: float, palette: Palette
) -> np.ndarray:
    """Draw values of a map as large as a figure can show: (h, w, 3) uint8.

    Args:
        explanation: Of an image.
        values: (H, W) in [0, 1], or signed in [-1, 1].
        alpha: The largest weight of the colours over the picture.
        palette: The colours.
    """
    small = shrink(explanation, values)
    return draw_map(small, small.heatmap, alpha, palette)


def codes(explanation: Explanation) -> tuple[str, ...]:
    """List the codes of an explanation's findings."""
    return tuple(finding.code for finding in explanation.findings)


def find_label(kind: str, labels: Sequence[str], place: int | str) -> int:
    """Find a row or column of a sheet by its index or label.

    Args:
        kind: "row" or "column".
        labels: The labels of all.
        place: The index or label.

    Raises:
        IndexError: If there are fewer.
        ValueError: If none or several have that label.
    """
    if not isinstance(place, str):
        index = operator.index(place)
        if not -len(labels) <= index < len(labels):
            raise IndexError(f"A {kind}'s index must be in 0..{len(labels) - 1}; got {index}.")
        return index % len(labels)
    if labels.count(place) == 1:
        return labels.index(place)
    if place in labels:
        raise ValueError(f"{labels.count(place)} {kind}s are labelled {place!r}; give the index.")
    known = did_you_mean(place, labels) or f" It has {', '.join(map(repr, labels))}."
    raise ValueError(f"No {kind} of this comparison is labelled {place!r}.{known}")
