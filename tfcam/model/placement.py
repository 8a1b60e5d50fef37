"""How the cells of a layer lie in the picture, and maps of them laid over it.

Positions are in pixels of the model's input, the centre of the first pixel at 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# A cell may be off by so much of a pixel and still count as where it was.
NEAR = 0.75

# Where what happens before the first weights can't be followed.
UNKNOWN = "unknown"


class Axis(NamedTuple):
    """How the cells of a layer lie along one side of the input.

    Attributes:
        start: Where the first cell begins.
        stop: Where the last one ends; before ``start`` where the side is mirrored.
        low: Where what the network sees of the side begins.
        high: Where it ends.
    """

    start: float
    stop: float
    low: float
    high: float

    def covers(self, size: int) -> bool:
        """Whether the cells cover the side from end to end, as they do without any geometry."""
        ends = np.subtract(self, (0, size, 0, size))
        return bool((np.abs(ends) <= NEAR).all())

    def weights(self, cells: tf.Tensor | int, size: int) -> tf.Tensor:
        """What each cell counts for at each pixel, bilinear: (size, cells), 0 where none looks."""
        centres, count = tf.range(size, dtype=tf.float32) + 0.5, tf.cast(cells, tf.float32)
        along = (centres - self.start) / (self.stop - self.start)
        places = tf.clip_by_value(along * count - 0.5, 0.0, count - 1)
        seen = (centres > self.low) & (centres < self.high) & (along > 0) & (along < 1)
        near = tf.nn.relu(1 - tf.abs(places[:, tf.newaxis] - tf.range(count)))
        return tf.where(seen[:, tf.newaxis], near, 0.0)


class Placement(NamedTuple):
    """How the cells of a layer lie in the input.

    Attributes:
        rows: Along its height.
        columns: Along its width.
        transposed: Whether the layer has the two change places.
    """

    rows: Axis
    columns: Axis
    transposed: bool

    def carry_back(self, maps: tf.Tensor, sides: Sequence[int]) -> tf.Tensor:
        """Lay maps over the input; what the network never saw is 0.

        Where a map is positive, so is what becomes of it, as if it had been cut at zero before.

        Args:
            maps: (B, h, w) or (B, h, w, K) float32, signed.
            sides: Height and width of the input.

        Returns:
            (B, *sides) or (B, *sides, K).

        Example:
            >>> left = Placement(Axis(0, 1, 0, 1), Axis(0, 2, 0, 2), False)
            >>> left.carry_back(tf.constant([[[3.0, -1.0]]]), (1, 4)).numpy()
            array([[[ 3., -1.,  0.,  0.]]], dtype=float32)
        """
        if self.transposed:
            maps = tf.einsum("bhw...->bwh...", maps)
        cells = tf.shape(maps)
        down = self.rows.weights(cells[1], sides[0])
        across = self.columns.weights(cells[2], sides[1])
        signed, positive = (
            tf.einsum("yh,bhw...,xw->byx...", down, values, across)
            for values in (maps, tf.nn.relu(maps))
        )
        return tf.where(positive > 0, positive, signed)
