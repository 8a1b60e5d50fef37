"""Pixels that are the weighted means of their neighbours: one linear system, by multigrid.

A pixel i that is removed obeys sum_j w_ij (x_i - x_j) = 0 over its eight neighbours j inside of the
image. With the removed x as unknowns the system is symmetric and positive definite, and conjugate
gradients solve it. A V-cycle over ever coarser grids stands in for its inverse: without it, values
would creep into large holes pixel by pixel.
"""

from __future__ import annotations

import numpy as np

from tfcam.utils.opencv import cv2

# The eight neighbours: those that share an edge count twice. Whole numbers, so that their sums are
# exact: an error of float32 there would pull large holes towards 0.
WEIGHTS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]], np.float32)

# As a fraction of the range of what is left: corrections as small as this are the last.
TOLERANCE = 3e-7

_MOST = 500  # V-cycles; about fifteen are needed
_SMALLEST = 4  # the side of the coarsest grid
_AT_ONCE = 4  # channels, as many as OpenCV resizes


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
    for first in range(0, image.shape[-1], _AT_ONCE):
        part = filled[..., first : first + _AT_ONCE]
        part[...] = _solved(np.ascontiguousarray(part), removed)
    return filled


def _solved(values: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Correct a first guess until the corrections are small."""
    left = values[~removed]
    limit = TOLERANCE * max(float(np.ptp(left)), 0.1 * float(np.abs(left).max()))
    grid = _Grid(removed.astype(np.float32), values.shape[-1])
    values = np.where(removed[..., np.newaxis], _guess(values, removed), values)
    done = 0
    while done < _MOST:
        # Anew in double precision: what float32 rounds away would grow in large holes.
        residual = (_summed(values) - grid.around * values) * grid.unknown
        correction, cycles = _corrected(residual.astype(np.float32), grid, limit)
        values += correction
        done += cycles
        if cycles == 1:
            return values
    raise ArithmeticError(f"The means of neighbours were not found in {_MOST} steps.")


def _guess(values: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Means of what is left over ever larger squares, each where the smaller ones hold nothing."""
    weights = np.repeat(~removed[..., np.newaxis], values.shape[-1], -1).astype(np.float32)
    sums = values.astype(np.float32) * weights
    levels = [(sums, weights)]
    while min(sums.shape[:2]) > _SMALLEST:
        sums, weights = _coarser(sums), _coarser(weights)
        levels.append((sums, weights))
    found = sums.sum((0, 1)) / weights.sum((0, 1))
    for sums, weights in reversed(levels):
        coarse = found if found.ndim == 1 else _finer(found, sums)
        found = np.where(weights > 0, sums / np.maximum(weights, 1), coarse)
    return found


def _corrected(residual: np.ndarray, grid: _Grid, limit: float) -> tuple[np.ndarray, int]:
    """Conjugate gradients, in the form that bears a V-cycle that is not quite symmetric.

    Returns:
        What to add to the values, and the number of V-cycles: 1 where it is within the limit.
    """
    total = np.zeros_like(residual)
    direction, of_residual = np.zeros_like(residual), 1.0
    before = residual
    for cycles in range(1, _MOST):
        step = grid.cycle(residual)
        if not cv2.norm(step, cv2.NORM_INF) > limit:
            return total + step, cycles
        turned = np.vdot(step, residual - before) / of_residual
        direction = cv2.scaleAdd(direction, turned, step).reshape(step.shape)
        of_residual = np.vdot(step, residual)
        applied = grid.applied(direction)
        length = of_residual / np.vdot(direction, applied)
        total = cv2.scaleAdd(direction, length, total).reshape(step.shape)
        before = residual
        residual = cv2.scaleAdd(applied, -length, residual).reshape(step.shape)
    return total, _MOST


class _Grid:
    """Cells that are unknown, and coarser grids: there a cell is where all four below it are.

    Args:
        unknown: (H, W) float32, 0 or 1.
        channels: The number of fields that are solved for at a time.
    """

    def __init__(self, unknown: np.ndarray, channels: int) -> None:
        around = _summed(np.ones_like(unknown))
        self.unknown, self.around = (_repeated(each, channels) for each in (unknown, around))
        self._inverse = self.unknown / self.around
        self._coarser: _Grid | None = None
        if min(unknown.shape) > _SMALLEST and unknown.any():
            self._coarser = _Grid(np.floor(_coarser(unknown) / 4), channels)

    def applied(self, x: np.ndarray) -> np.ndarray:
        """The system times x, which is 0 where nothing is unknown."""
        found = self.around * x
        found -= _summed(x)
        found *= self.unknown
        return found

    def cycle(self, residual: np.ndarray) -> np.ndarray:
        """Solve the system for a residual, nearly: smooth, correct on coarser grids, smooth."""
        found = residual * self._inverse
        if self._coarser is None:
            for _ in range(2 * _SMALLEST):
                self._smooth(found, residual)
            return found
        left = _summed(found)  # what smoothing from 0 leaves
        left *= self.unknown
        correction = _finer(self._coarser.cycle(_coarser(left)), residual)
        correction *= self.unknown
        found += correction
        self._smooth(found, residual)
        return found

    def _smooth(self, x: np.ndarray, residual: np.ndarray) -> None:
        """One step of Jacobi's, which takes the waves between neighbours to a third."""
        step = residual - self.applied(x)
        step *= self._inverse
        x += step


def _repeated(cells: np.ndarray, channels: int) -> np.ndarray:
    return np.repeat(cells[..., np.newaxis], channels, axis=-1)


def _summed(x: np.ndarray) -> np.ndarray:
    """The weighted sum over the neighbours; nothing is outside of the image."""
    return cv2.filter2D(x, -1, WEIGHTS, borderType=cv2.BORDER_CONSTANT).reshape(x.shape)


def _coarser(x: np.ndarray) -> np.ndarray:
    """Sum 2 x 2 cells: where cells are twice as far apart, the system is four times as large."""
    height, width = x.shape[:2]
    if height % 2 or width % 2:
        x = np.pad(x, [(0, height % 2), (0, width % 2), *[(0, 0)] * (x.ndim - 2)])
    size = (-(-width // 2), -(-height // 2))
    means = cv2.resize(x, size, interpolation=cv2.INTER_AREA)
    return 4 * means.reshape(*size[::-1], *x.shape[2:])


def _finer(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    height, width = x.shape[:2]
    found = cv2.resize(x, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return found.reshape(2 * height, 2 * width, -1)[: like.shape[0], : like.shape[1]]
