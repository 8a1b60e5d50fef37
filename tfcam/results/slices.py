"""Explanations of one video or volume as those of one picture: its frames side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfcam import maps
from tfcam.figures.overlays import choose_slices, side_by_side, slice_name, slice_pictures
from tfcam.results.explanation import Explanation

Cells = tuple[tuple[Explanation, ...], ...]


def as_pictures(cells: Cells) -> tuple[Cells, str]:
    """Lay frames of one video, or slices of one volume, side by side, the same for all maps.

    Args:
        cells: Explanations of it, in rows.

    Returns:
        The same as explanations of one picture, and which frames it shows, in words.
    """
    every = [explanation for row in cells for explanation in row]
    first = every[0]
    chosen = choose_slices(np.sum([each.heatmap for each in every], axis=0))
    picture = side_by_side(slice_pictures(first.image), chosen)
    laid = tuple(tuple(_laid_out(each, picture, chosen) for each in row) for row in cells)
    numbers = ", ".join(map(str, chosen))
    return laid, f"{slice_name(first.image)}s {numbers} as given"


def _laid_out(explanation: Explanation, picture: np.ndarray, chosen: Sequence[int]) -> Explanation:
    raw, size = explanation.raw, explanation.heatmap.shape
    if raw.ndim == len(size):
        # Where it is positive it is as a heatmap has it: cut at zero before it is resized.
        evidence = maps.evidence(raw, size)
        raw = np.where(evidence > 0, evidence, maps.resize(raw, size))
    return dataclasses.replace(
        explanation,
        heatmap=side_by_side(explanation.heatmap, chosen),
        raw=side_by_side(raw, chosen),
        image=picture,
        parts={name: side_by_side(part, chosen) for name, part in explanation.parts.items()},
    )
