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
        axes: Along each side of the input: height and width, of videos and volumes depth first.
        transposed: Whether the layer has rows and columns change places.
        frames: Of a video of which the model takes some frames, in any order: the number of each
            in the order in which it has them, along which the first axis lies. Nothing where it
            takes the frames as they are.
    """

    axes: tuple[Axis, ...]
    transposed: bool = False
    frames: tuple[int, ...] = ()

    def carry_back(self, maps: tf.Tensor, sides: Sequence[int]) -> tf.Tensor:
        """Lay maps over the input; what the network never saw is 0.

        Where a map is positive, so is what becomes of it, as if it had been cut at zero before.

        Args:
            maps: (B, h, w) or (B, h, w, K) float32, signed; of videos (B, t, h, w) or with K.
            sides: Height and width of the input, of videos the number of frames first.

        Returns:
            (B, *sides) or (B, *sides, K).

        Example:
            >>> left = Placement((Axis(0, 1, 0, 1), Axis(0, 2, 0, 2)))
            >>> left.carry_back(tf.constant([[[3.0, -1.0]]]), (1, 4)).numpy()
            array([[[ 3., -1.,  0.,  0.]]], dtype=float32)
        """
        if self.transposed:
            maps = tf.einsum("bhw...->bwh...", maps)
        cells = tf.unstack(tf.shape(maps))[1:]
        weights = [
            self._weights(number, count, side)
            for number, (count, side) in enumerate(zip(cells, sides, strict=False))
        ]
        signed, positive = maps, tf.nn.relu(maps)
        for axis, along in enumerate(weights, start=1):
            signed, positive = (_spread(values, along, axis) for values in (signed, positive))
        return tf.where(positive > 0, positive, signed)

    def _weights(self, number: int, cells: tf.Tensor, size: int) -> tf.Tensor:
        if number or not self.frames:
            return self.axes[number].weights(cells, size)
        taken = tf.one_hot(self.frames, size, axis=0)  # each frame's mean, where it is taken twice
        mean = tf.math.divide_no_nan(taken, tf.reduce_sum(taken, axis=1, keepdims=True))
        return mean @ self.axes[0].weights(cells, len(self.frames))


def _spread(maps: tf.Tensor, weights: tf.Tensor, axis: int) -> tf.Tensor:
    """Sum the cells along an axis, each by what it counts for at each pixel."""
    first = tf.tensordot(weights, maps, [[1], [axis]])
    order = [1 + (at if at < axis else at - 1) for at in range(maps.shape.rank)]
    order[axis] = 0
    return tf.transpose(first, order)
