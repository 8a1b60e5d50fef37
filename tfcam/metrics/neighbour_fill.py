"""Pixels that are the weighted means of their neighbours: one linear system, by multigrid.

A pixel i that is removed obeys sum_j w_ij (x_i - x_j) = 0 over its eight neighbours j inside of the
image. With the removed x as unknowns the system is symmetric and positive definite, and conjugate
gradients solve it. A cycle over ever coarser grids stands in for its inverse: without it, values
would creep into large holes pixel by pixel.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from tfcam.utils.opencv import cv2

# The eight neighbours: those that share an edge count twice. Whole numbers, so that their sums are
# exact: an error of float32 there would pull large holes towards 0.
WEIGHTS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]], np.float32)

# As a fraction of the range of what is left: corrections as small as this are the last.
TOLERANCE = 1e-6

_MOST = 500  # cycles; about fifteen are needed
_SMALLEST = 64  # cells: a grid of no more is solved exactly
_AT_ONCE = 3  # channels: with their weights as many as OpenCV resizes


def fill_from_neighbours(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Replace each removed pixel by the weighted mean of its eight neighbours.

    Args:
        image: (H, W, C).
        removed: (H, W) bool; not all of them.

    Returns:
        (H, W, C) float64, within 1e-5 of the solution, as a fraction of the range of what is left.

    Raises:
        ArithmeticError: If it does not get there.

    Example:
        >>> ramp = np.arange(5.0).reshape(1, 5, 1)
        >>> removed = np.array([[False, True, True, True, False]])
        >>> fill_from_neighbours(ramp, removed).ravel().round(3)
        array([0., 1., 2., 3., 4.])
    """
    filled = image.astype(np.float64)
    if 1 in removed.shape:
        return _on_a_line(filled, removed)
    for first in range(0, image.shape[-1], _AT_ONCE):
        part = filled[..., first : first + _AT_ONCE]
        part[...] = _solved(np.ascontiguousarray(part), removed)
    return filled


def _on_a_line(values: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Fill in a single row or column: means of two neighbours lie on straight lines."""
    places, gone = np.arange(removed.size), removed.ravel()
    columns = values.reshape(removed.size, -1).T
    filled = [np.interp(places, places[~gone], column[~gone]) for column in columns]
    return np.stack(filled, axis=-1).reshape(values.shape)


def _solved(values: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Correct a first guess until the corrections are small."""
    values = np.where(removed[..., np.newaxis], _guess(values, removed), values)
    low, high = float(values.min()), float(values.max())  # of what is left: the guess is of means
    limit = TOLERANCE * max(high - low, 0.1 * max(-low, high))
    grid = _Grid(removed.astype(np.float32), values.shape[-1])
    around = grid.around.astype(np.float64)
    done = 0
    while done < _MOST:
        # Anew in double precision: what float32 rounds away would grow in large holes.
        residual = _summed(values)
        residual -= around * values
        correction, cycles = _corrected(residual.astype(np.float32), grid, limit)
        values += correction
        done += cycles
        if cycles == 1:
            return values
    raise ArithmeticError(f"The means of neighbours were not found in {_MOST} steps.")


def _guess(values: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Means of what is left over ever larger squares, each where the smaller ones hold nothing."""
    weighted = np.ones((*removed.shape, values.shape[-1] + 1), np.float32)
    weighted[..., :-1] = values
    weighted *= ~removed[..., np.newaxis]
    levels = []
    while weighted[..., 0].size > _SMALLEST:
        weighted = _coarser(weighted)
        levels.append(weighted)
    whole = weighted.sum((0, 1))
    found = np.full((*weighted.shape[:2], len(whole) - 1), whole[:-1] / whole[-1])
    for weighted in reversed(levels):
        weights = weighted[..., -1:]
        coarse = found if weighted is levels[-1] else _finer(found, weighted)
        found = np.where(weights > 0, weighted[..., :-1] / np.maximum(weights, 1), coarse)
    return _finer(found, values) if levels else found


def _corrected(residual: np.ndarray, grid: _Grid, limit: float) -> tuple[np.ndarray, int]:
    """Conjugate gradients, in the form that bears a cycle that is not quite symmetric.

    Args:
        residual: (H, W, C) float32, which is written into.
        grid: The system.
        limit: The largest correction that is the last.

    Returns:
        What to add to the values, and the number of cycles: 1 where it is within the limit.
    """
    total, direction, applied = (np.zeros_like(residual) for _ in range(3))
    length, of_residual = 0.0, 1.0
    for cycles in range(1, _MOST):
        step = grid.cycle(residual)
        if not cv2.norm(step, cv2.NORM_INF) > limit:
            return total + step, cycles
        turned = -length * np.vdot(step, applied) / of_residual
        cv2.scaleAdd(direction, turned, step, direction)
        of_residual = np.vdot(step, residual)
        applied = grid.applied(direction)
        length = of_residual / np.vdot(direction, applied)
        cv2.scaleAdd(direction, length, total, total)
        cv2.scaleAdd(applied, -length, residual, residual)
    return total, _MOST


class _Grid:
    """Cells that are unknown, and coarser grids: there a cell is where all four below it are.

    Fields are 0 where nothing is unknown, but for residuals: they only count where something is.

    Args:
        unknown: (H, W) float32, 0 or 1.
        channels: The number of fields that are solved for at a time.
    """

    def __init__(self, unknown: np.ndarray, channels: int) -> None:
        around = _summed(np.ones_like(unknown))
        self.unknown, self.around = (_repeated(each, channels) for each in (unknown, around))
        self._over_around = self.unknown / self.around
        self._coarser: _Grid | None = None
        if unknown.size > _SMALLEST:
            # Outside of the image it goes on like its edge: known cells would hold it at 0.
            coarser = np.floor(_coarser(unknown, "edge") / 4)
            self._coarser = _Grid(coarser, channels)
        else:
            self._inverse = _inverse(unknown, around)

    def applied(self, x: np.ndarray) -> np.ndarray:
        """The system times x."""
        found = self.around * x
        found -= _summed(x)
        return found

    def cycle(self, residual: np.ndarray) -> np.ndarray:
        """Solve the system for a residual, nearly: smooth, correct on coarser grids, smooth."""
        if self._coarser is None:
            flat = residual.reshape(len(self._inverse), -1)
            return (self._inverse @ flat).reshape(residual.shape)
        found = residual * self._over_around
        left = _summed(found)  # what smoothing from 0 leaves
        correction = _finer(self._coarser.cycle(_coarser(left)), residual)
        correction *= self.unknown
        found += correction
        # One step of Jacobi's, which takes the waves between neighbours to a third.
        found = _summed(found)
        found += residual
        found *= self._over_around
        return found


def _inverse(unknown: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Invert the system of a grid of N cells, (N, N); 0 where nothing is unknown."""
    each = np.eye(unknown.size, dtype=np.float32)
    near = _summed(each.reshape(*unknown.shape, -1)).reshape(each.shape)
    both = np.outer(unknown, unknown)
    return both * np.linalg.inv(np.where(both, np.diag(around.ravel()) - near, each))


def _repeated(cells: np.ndarray, channels: int) -> np.ndarray:
    return np.repeat(cells[..., np.newaxis], channels, axis=-1)


def _summed(x: np.ndarray) -> np.ndarray:
    """The weighted sum over the neighbours; nothing is outside of the image."""
    return cv2.filter2D(x, -1, WEIGHTS, borderType=cv2.BORDER_CONSTANT).reshape(x.shape)


def _coarser(x: np.ndarray, outside: Literal["constant", "edge"] = "constant") -> np.ndarray:
    """Sum 2 x 2 cells: where cells are twice as far apart, the system is four times as large."""
    height, width = x.shape[:2]
    if height % 2 or width % 2:
        x = np.pad(x, [(0, height % 2), (0, width % 2), *[(0, 0)] * (x.ndim - 2)], outside)
    size = (-(-width // 2), -(-height // 2))
    sums = cv2.resize(x, size, interpolation=cv2.INTER_AREA)
    sums *= 4
    return sums.reshape(*size[::-1], *x.shape[2:])


def _finer(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    height, width = x.shape[:2]
    found = cv2.resize(x, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return found.reshape(2 * height, 2 * width, -1)[: like.shape[0], : like.shape[1]]
