"""Where cells look along a side of the picture, fitted to what pictures of positions gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcam.model.placement import NEAR, Axis


def fit_side(values: np.ndarray, size: int, margin: int) -> Axis | None:
    """Fit a line through where cells look along one side, (cells, cells across), NaN at nowhere.

    Cells beyond a straight part may repeat what is inside of it, as reflections do. Where those are
    no more than a convolution's own padding, they are no part of the cells' side.
    """
    cells = np.flatnonzero(np.isfinite(values).any(axis=1))
    if len(cells) < 2:
        return None
    places, quarter = np.nanmean(values[cells], axis=1), len(cells) // 4
    middle = slice(quarter, len(cells) - quarter)
    slope, first = np.polyfit(cells[middle], places[middle], 1)
    near = max(NEAR, 0.6 * abs(slope))
    straight = np.abs(places - slope * cells - first) <= near
    inner = cells[straight]
    across = np.nanmax(np.abs(values[cells] - places[:, np.newaxis]))
    if abs(slope) < 1e-3 or across > near or (np.diff(inner) > 1).any():
        return None
    edges = slope * np.array([inner[0] - 0.5, inner[-1] + 0.5]) + first
    low, high = np.clip(np.sort(edges), 0, size)
    others = places[~straight]
    if len(inner) < len(others) or (others < low - near).any() or (others > high + near).any():
        return None
    if len(values) - len(inner) > margin:
        edges = slope * np.array([-0.5, len(values) - 0.5]) + first
    return Axis(*map(float, (*edges, low, high)))


def between_vertices(read: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Where cells (h, w) lie between the vertices of parabolas; NaN of what is on none."""
    nowhere = np.full(read[0].shape if read else (1, 1), np.nan)
    axis = int(np.ptp(read[0], axis=1).mean() > np.ptp(read[0], axis=0).mean()) if read else 0
    if len(read) < 3 or nowhere.shape[axis] < 8:
        return nowhere
    lines = [np.moveaxis(values, axis, 0) for values in read]
    numbers, quarters = np.arange(len(lines[0])), [count // 4 for count in lines[0].shape]
    middle, centre = (
        slice(n, count - n) for n, count in zip(quarters, lines[0].shape, strict=True)
    )
    means = [each[middle, centre].mean(axis=1) for each in lines]
    curves = [np.polyfit(numbers[middle], mean, 2) for mean in means]
    with np.errstate(divide="ignore", invalid="ignore"):
        start, half, stop = (-slope / (2 * bend) for bend, slope, _ in curves)
        step = size / (stop - start)
    fits = (
        np.abs(np.polyval(curve, numbers[middle]) - mean).max() <= 0.05 * np.ptp(mean)
        for curve, mean in zip(curves, means, strict=True)
    )
    if not abs(half - (start + stop) / 2) * abs(step) <= NEAR or not all(fits):
        return nowhere
    near, on = max(NEAR / abs(step), 0.6), np.ones(lines[0].shape, bool)
    for values, curve in zip(lines, curves, strict=True):
        wanted = np.polyval(curve, numbers)
        moved = [np.abs(np.polyval(curve, numbers + by) - wanted) for by in (-near, near)]
        allowed = np.maximum(np.max(moved, axis=0), 0.01 * np.ptp(wanted))
        on &= np.abs(values - wanted[:, np.newaxis]) <= allowed[:, np.newaxis]
    places = np.where(on, step * (numbers - start)[:, np.newaxis], np.nan)
    return np.moveaxis(places, 0, axis)


def is_rising(values: np.ndarray) -> bool:
    """Whether values rise from the first to the last, or fall, but for rounding."""
    steps, span = np.diff(values), abs(values[-1] - values[0])
    sign = np.sign(values[-1] - values[0])
    return bool(span > 0 and (sign * steps > -1e-6 * span).all() and (steps != 0).mean() > 0.01)
