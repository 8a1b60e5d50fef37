"""How the positions of maps and tokens lie in the input, read from the place that each is of.

Places are in parts of the sides of the input; NaN is nowhere, as what padding adds is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfcam.model.fitted_sides import fit_side
from tfcam.model.placement import UNKNOWN, Axis, Placement

# Places that differ by less are the same, in parts of a side of the input.
_SAME = 1e-4


class Layout(NamedTuple):
    """How the positions of a tensor lie in the input.

    Attributes:
        sides: Number of positions along each side of the input; () where they lie on no grid, or
            on one of another order than they stand in.
        order: Of tokens in one sequence, or of the tokens of one frame: where each stands, side
            by side; nothing of maps.
        apart: Whether each frame has tokens of its own.
        place: Where they lie, of a video or volume: None where they cover the input from end to
            end, each the part around its place; ``UNKNOWN`` where that can't be followed.
    """

    sides: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    apart: bool = False
    place: Placement | str | None = None


class Extent(NamedTuple):
    """What part of the input is followed.

    Attributes:
        sizes: The sides of the input, in pixels.
        axes: Where positions that are spread evenly over it lie along each side.
        frames: Those that the model takes, as ``Placement`` has them.
        fresh: Whether nothing has been computed of them yet.
        lost: Whether something has been moved that can't be followed.
    """

    sizes: tuple[int, ...]
    axes: tuple[Axis, ...]
    frames: tuple[int, ...] = ()
    fresh: bool = True
    lost: bool = False

    @classmethod
    def whole(cls, sizes: Sequence[int], fresh: bool = True, lost: bool = False) -> Extent:
        """All of an input of these sides."""
        axes = tuple(Axis(0, size, 0, size) for size in sizes)
        return cls(tuple(sizes), axes, (), fresh, lost)

    @property
    def place(self) -> Placement | str | None:
        """Where positions that are spread evenly over it lie; see ``Layout``."""
        if self.lost:
            return UNKNOWN
        covers = (axis.covers(size) for axis, size in zip(self.axes, self.sizes, strict=True))
        return None if not self.frames and all(covers) else Placement(self.axes, frames=self.frames)

    def spread(self, counts: Sequence[int]) -> np.ndarray:
        """Places of so many positions along each side, spread evenly: (positions, sides)."""
        indices = np.indices(counts).reshape(len(counts), -1).T
        starts, stops = np.array([axis[:2] for axis in self.axes]).T
        places: np.ndarray = starts + (indices + 0.5) / counts * (stops - starts)
        return places / self._lengths

    def at(self, lines: Sequence[np.ndarray], margins: Sequence[int] = ()) -> Extent:
        """Tell what part of the input positions lie over that stand in lines along its sides.

        Args:
            lines: The places along each side.
            margins: Number of them that are at most but what a kernel needs.
        """
        if self.lost:
            return self
        frames = _frames(lines[0], self.sizes[0]) if self.fresh else ()
        start = self
        if frames:
            first = Axis(0, len(frames), 0, len(frames))
            start = self._replace(axes=(first, *self.axes[1:]), frames=frames)
            lines = [(np.arange(len(frames)) + 0.5) / len(frames), *lines[1:]]
        axes = [
            _axis(line * length, axis, margin)
            for line, length, axis, margin in zip(
                lines, start._lengths, start.axes, margins or [0] * len(lines), strict=True
            )
        ]
        known = tuple(axis for axis in axes if axis is not None)
        lost = len(known) < len(axes)
        return Extent.whole(self.sizes, lost=True) if lost else start._replace(axes=known)

    @property
    def _lengths(self) -> tuple[int, ...]:
        return (len(self.frames) or self.sizes[0], *self.sizes[1:])

    def with_frames(self, lines: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Places along each side of the input, where the first ones are among the frames taken."""
        if not self.frames:
            return list(lines)
        numbers = np.interp(lines[0] * len(self.frames) - 0.5, range(len(self.frames)), self.frames)
        return [(numbers + 0.5) / self.sizes[0], *lines[1:]]


def _frames(line: np.ndarray, size: int) -> tuple[int, ...]:
    """The numbers of frames that are not one after another; nothing of what is no frames."""
    numbers = line * size - 0.5
    if not np.isfinite(numbers).all() or np.abs(numbers - numbers.round()).max() > _SAME * size:
        return ()
    steps = np.diff(numbers.round())
    in_order = size == 1 or (len(steps) and abs(steps[0]) == 1 and (steps == steps[0]).all())
    return () if in_order else tuple(numbers.round().astype(int).tolist())


def _axis(places: np.ndarray, before: Axis, margin: int) -> Axis | None:
    """Where positions lie along a side whose places, in pixels, are known; None if unknown."""
    count = len(places)
    evenly = before.start + (np.arange(count) + 0.5) / count * (before.stop - before.start)
    if np.isfinite(places).all() and np.abs(places - evenly).max() < 0.01:
        return before
    fitted = fit_side(places[:, np.newaxis], math.ceil(before.high), margin)
    if fitted is None:
        return None
    low, high = max(fitted.low, before.low), min(fitted.high, before.high)
    return fitted._replace(low=low, high=high) if low < high else None


def lines_of(centres: np.ndarray) -> list[np.ndarray] | None:
    """The places along each side, of (*sides, sides); None where they stand in no such order."""
    lines = []
    for axis, count in enumerate(centres.shape[:-1]):
        values = np.moveaxis(centres[..., axis], axis, 0).reshape(count, -1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # lines that are nowhere
            low, high = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
        if np.nanmax(high - low, initial=0) > _SAME:
            return None
        lines.append(low)
    return lines


def of_map(centres: np.ndarray, extent: Extent | None) -> Layout:
    """Of (*sides, sides): each place along a side is that of its axis alone."""
    lines = lines_of(centres)
    if lines is None:
        return Layout()
    return Layout(centres.shape[:-1], place=extent and extent.at(lines).place)


def of_tokens(centres: np.ndarray, extent: Extent | None) -> Layout:
    """Of (tokens, sides): those that are of a place lie on a grid without gaps."""
    patches = np.flatnonzero(np.isfinite(centres).all(axis=-1))
    lattice = _lattice(centres[patches])
    if lattice is None:
        return Layout()
    lines, order = lattice
    place = extent and extent.at(lines).place
    return Layout(tuple(map(len, lines)), tuple(patches[order].tolist()), place=place)


def of_frames(centres: np.ndarray, extent: Extent) -> Layout:
    """Of (frames, tokens, sides): the tokens of each frame lie as those of the first do."""
    times, within = centres[..., 0], centres[..., 1:]
    whole = np.isfinite(within[0]).all(axis=-1)
    lattice = _lattice(within[0][whole])
    if lattice is None:
        return Layout()
    line = times[:, whole]
    alike = np.array_equal(
        np.isfinite(within), np.isfinite(np.broadcast_to(within[0], within.shape))
    )
    if (
        not alike
        or np.nanmax(np.abs(within - within[0])) > _SAME
        or np.ptp(line, axis=1).max() > _SAME
        or (np.diff(np.sort(line[:, 0])) < _SAME).any()
    ):
        return Layout()
    lines, order = lattice
    sides, place = (len(times), *map(len, lines)), extent.at([line[:, 0], *lines]).place
    return Layout(sides, tuple(np.flatnonzero(whole)[order].tolist()), apart=True, place=place)


def _lattice(points: np.ndarray) -> tuple[list[np.ndarray], np.ndarray] | None:
    """The lines that points lie on along each side, and their order; None where there are gaps."""
    if len(points) < 2:
        return None
    indices, lines = [], []
    for values in points.T:
        ordered = np.sort(values)
        line = ordered[np.r_[True, np.diff(ordered) > _SAME]]
        lines.append(line)
        indices.append(np.abs(values[:, np.newaxis] - line).argmin(axis=1))
    numbers = np.ravel_multi_index(indices, [len(line) for line in lines])
    full = len(points) == math.prod(map(len, lines)) == len(np.unique(numbers))
    return (lines, np.argsort(numbers)) if full else None


def is_even(line: np.ndarray) -> bool:
    """Whether places lie about in the middle of as many equal parts of a side."""
    middles = (np.arange(len(line)) + 0.5) / max(len(line), 1)
    return bool((np.abs(line - middles) * len(line) <= 0.5).all())
