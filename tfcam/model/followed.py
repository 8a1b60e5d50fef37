"""The values of a tensor as numbers of places of the input, which go where the values go."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import tensorflow as tf

from tfcam.model.layouts import Extent, Layout, lines_of, of_frames, of_map, of_tokens

# The rank of a video, which alone has an extent: where pictures' cells lie is asked of the model.
VIDEO = 5


@dataclass(frozen=True, eq=False)
class Followed:
    """The values of a tensor, as numbers of places: 0 is nowhere.

    Attributes:
        places: (n, sides) of each number, in parts of the sides of the input.
        numbers: In the shape of the tensor.
        extent: Of a video, over what part of it the places were spread when they were numbered.
    """

    places: np.ndarray
    numbers: np.ndarray
    extent: Extent | None = None

    @cached_property
    def is_of_positions(self) -> bool:
        """Whether all channels of a position are of one place."""
        numbers = self.numbers
        return numbers.strides[-1] == 0 or bool((numbers == numbers[..., :1]).all())

    @cached_property
    def centres(self) -> np.ndarray:
        """The mean place of each position, over its channels: (..., sides), NaN of nowhere."""
        numbers = self.numbers
        if self.is_of_positions:
            return self.places[numbers[..., 0]]
        seen = (numbers > 0)[..., np.newaxis]
        total = np.where(seen, self.places[numbers], 0).sum(axis=-2)
        with np.errstate(invalid="ignore"):
            means: np.ndarray = total / seen.sum(axis=-2)
        return means

    @property
    def map_centres(self) -> np.ndarray | None:
        """Of a map, or the frames of a video as a batch: (*sides, sides); None of anything else."""
        sides = self.places.shape[-1]
        if self.numbers.ndim == sides + 2 and len(self.numbers) == 1:
            return self.centres[0]
        return self.centres if sides + 2 == VIDEO == self.numbers.ndim + 1 else None

    @cached_property
    def lines(self) -> list[np.ndarray] | None:
        """The places along each side, of a map whose positions stand in order; else None."""
        centres = self.map_centres
        return None if centres is None else lines_of(centres)

    @cached_property
    def layout(self) -> Layout | None:
        """How the positions of a map or of tokens lie in the input; None of other tensors."""
        axes, rank = self.numbers.ndim, self.places.shape[-1] + 2
        centres, single = self.centres, len(self.numbers) == 1
        if axes == rank and single:
            layout = of_map(centres[0], self.extent)
            if rank == 4 and not layout.sides:  # rows and columns may change places
                layout = of_map(np.swapaxes(centres[0], 0, 1), self.extent)
            return layout
        if axes == 3 and single:
            return of_tokens(centres[0], self.extent)
        if self.extent is None or axes not in (3, 4):
            return None
        layout = of_frames(centres if axes == 3 else centres[0], self.extent)
        return of_map(centres, self.extent) if axes == 4 and not layout.sides else layout

    def at(self, shape: tf.TensorShape) -> Followed | None:
        """What a tensor of this shape is of that has the same positions; None if it has others."""
        positions, sides = self.numbers.shape[:-1], tuple(shape[:-1])
        if positions == (1, *sides):  # the frames of one video as a batch
            same = replace(self, numbers=self.numbers[0])
        elif sides == (1, *positions):
            same = replace(self, numbers=self.numbers[np.newaxis])
        elif positions != sides:
            return None
        elif self.numbers.shape[-1] == shape[-1]:
            return self
        else:
            same = self
        return same if same.numbers.shape[-1] == shape[-1] else same._of_positions(shape)

    def _of_positions(self, shape: tf.TensorShape) -> Followed:
        """What other channels are computed at the same positions."""
        numbers = self.numbers
        if self.is_of_positions:
            return replace(self, numbers=np.broadcast_to(numbers[..., :1], shape))
        centres = self.centres.reshape(-1, self.places.shape[-1])
        places = np.vstack([np.full((1, centres.shape[-1]), np.nan), centres])
        own = 1 + np.arange(len(centres)).reshape(*numbers.shape[:-1], 1)
        extent = self.extent and self.extent._replace(lost=self.extent.lost or self._is_strewn())
        return Followed(places, np.broadcast_to(own, shape), extent)

    def _is_strewn(self) -> bool:
        """Whether the channels of a position are of places farther apart than positions are."""
        places, centres = self.places[self.numbers], self.centres
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of what is nowhere
            reach = np.nanmax(np.ptp(places, axis=-2).reshape(-1, places.shape[-1]), axis=0)
        for apart, along in zip(reach, centres.reshape(-1, centres.shape[-1]).T, strict=True):
            steps = np.diff(np.unique(along[np.isfinite(along)].round(4)))
            if len(steps) and apart > 1.5 * steps.max():
                return True
        return False


def evenly(
    sides: Sequence[int], shape: Sequence[int] | tf.TensorShape, extent: Extent | None
) -> Followed:
    """The positions of a map that lies evenly over an extent, or the input, numbered from 1."""
    sides = list(sides)
    if extent is None:
        places = (np.indices(sides).reshape(len(sides), -1).T + 0.5) / sides
    else:
        places = extent.spread(sides)
    numbers = 1 + np.arange(math.prod(sides)).reshape(*shape[:-1], 1)
    table = np.vstack([np.full(len(sides), np.nan), places])
    return Followed(table, np.broadcast_to(numbers, shape), extent)


def in_one_table(known: Sequence[Followed | None]) -> list[Followed | None]:
    """What is joined, the places of all in one table."""
    tables = {id(one.places): one.places for one in known if one is not None}
    if len(tables) < 2:
        return list(known)
    starts = dict(zip(tables, np.cumsum([0, *map(len, tables.values())]), strict=False))
    places = np.vstack(list(tables.values()))
    extents = {one.extent for one in known if one is not None}
    extent = next(iter(extents))
    if extent is not None and len(extents) > 1:
        extent = Extent.whole(extent.sizes, lost=True)

    def moved(one: Followed) -> Followed:
        numbers = np.where(one.numbers > 0, one.numbers + starts[id(one.places)], 0)
        return Followed(places, numbers, extent)

    return [one and moved(one) for one in known]
