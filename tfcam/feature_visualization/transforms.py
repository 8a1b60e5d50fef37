"""Small random changes that what a dream shows must survive: jitter, scale, rotation, padding.

Each is a matrix; together they are one, so that a picture is resampled once. ``n`` pictures of one
step are all changed alike. What comes into the picture from outside is grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfcam.utils.validation import check_count, shown

# (2,) int32 seed, (height, width) -> (3, 3) float32: from where, in (row, column, 1) about the
# middle of the picture, each pixel of the changed picture is taken.
Transform = Callable[[tf.Tensor, tuple[int, int]], tf.Tensor]


_GREY = 0.5


@dataclass(frozen=True)
class Jitter:
    """Move the picture by up to so many whole pixels to each side.

    Args:
        pixels: The farthest it is moved along each axis, in pixels.

    Example:
        >>> Jitter(0)(tf.constant([1, 2]), (8, 8)).numpy()[0]
        array([1., 0., 0.], dtype=float32)
    """

    pixels: int

    def __post_init__(self) -> None:
        check_count("pixels of Jitter", self.pixels, least=0)

    def __call__(self, seed: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
        """The matrix."""
        drawn = tf.random.stateless_uniform(
            [2], seed, -self.pixels, self.pixels + 1, tf.int32, alg="philox"
        )
        down, right = tf.unstack(tf.cast(drawn, tf.float32))
        return _matrix([[1.0, 0.0, down], [0.0, 1.0, right]])


@dataclass(frozen=True)
class Scale:
    """Magnify the picture about its middle.

    Args:
        low: The least factor, above 0.
        high: The largest factor.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < math.inf:
            raise ValueError(
                f"Scale needs factors 0 < low <= high; got {shown(self.low)} and "
                f"{shown(self.high)}."
            )

    def __call__(self, seed: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
        """The matrix."""
        part = 1 / _uniform(seed, self.low, self.high)
        return _matrix([[part, 0.0, 0.0], [0.0, part, 0.0]])


@dataclass(frozen=True)
class Rotate:
    """Turn the picture about its middle by up to so many degrees either way.

    Args:
        degrees: The most it is turned.
    """

    degrees: float

    def __post_init__(self) -> None:
        if not 0 <= self.degrees <= 180:
            raise ValueError(f"degrees of Rotate must be in 0..180; got {shown(self.degrees)}.")

    def __call__(self, seed: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
        """The matrix."""
        angle = _uniform(seed, -self.degrees, self.degrees) * (math.pi / 180)
        cosine, sine = tf.cos(angle), tf.sin(angle)
        return _matrix([[cosine, -sine, 0.0], [sine, cosine, 0.0]])


@dataclass(frozen=True)
class Pad:
    """Put a grey border around the picture, which shrinks to make room for it.

    Args:
        pixels: The border's width, in pixels of the picture before it shrinks.

    Example:
        >>> Pad(2)(tf.constant([0, 0]), (8, 4)).numpy()[:2]
        array([[1.5, 0. , 0. ],
               [0. , 2. , 0. ]], dtype=float32)
    """

    pixels: int

    def __post_init__(self) -> None:
        check_count("pixels of Pad", self.pixels, least=0)

    def __call__(self, seed: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
        """The matrix."""
        high, wide = ((side + 2 * self.pixels) / side for side in size)
        return _matrix([[high, 0.0, 0.0], [0.0, wide, 0.0]])


def apply_transforms(
    images: tf.Tensor, transforms: Sequence[Transform], seed: int, step: tf.Tensor
) -> tf.Tensor:
    """Change pictures by all transforms, the first of them first; each step anew.

    Args:
        images: (n, H, W, C) in [0, 1].
        transforms: None at all leaves the pictures as they are.
        seed: Of what is drawn.
        step: Scalar int32.

    Returns:
        (n, H, W, C).

    Example:
        >>> images = tf.reshape(tf.range(4.0) / 4, (1, 2, 2, 1))
        >>> apply_transforms(images, [Pad(1)], 0, tf.constant(0)).numpy().ravel()
        array([0.375 , 0.4375, 0.5   , 0.5625], dtype=float32)
    """
    if not transforms:
        return images
    size = (images.shape[1], images.shape[2])
    matrix = tf.eye(3)
    for number, transform in enumerate(transforms):
        drawn = tf.stack([tf.cast(step, tf.int32), tf.constant(number)])
        drawn = tf.random.experimental.stateless_fold_in(drawn, seed)
        matrix = tf.matmul(matrix, transform(drawn, size))
    return sample(images, matrix)


def sample(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Take each pixel from where a matrix says, linearly between the four pixels there.

    Args:
        images: (n, H, W, C).
        matrix: (3, 3), (row, column, 1) about the middle -> the same in ``images``.

    Returns:
        (n, H, W, C), with 0.5 where it was taken from outside.
    """
    count, height, width, channels = images.shape
    middle = tf.constant([(height - 1) / 2, (width - 1) / 2])
    rows, columns = tf.meshgrid(
        tf.range(height, dtype=tf.float32), tf.range(width, dtype=tf.float32), indexing="ij"
    )
    places = tf.reshape(tf.stack([rows, columns], axis=-1), (-1, 2)) - middle
    source = tf.matmul(places, matrix[:2, :2], transpose_b=True) + matrix[:2, 2] + middle
    first = tf.floor(source)
    rest = source - first
    # Positions first, so that one row of numbers is fetched for each.
    flat = tf.reshape(tf.transpose(images - _GREY, [1, 2, 0, 3]), (height * width, -1))
    total = tf.zeros_like(flat)
    for down in (0, 1):
        for right in (0, 1):
            corner = tf.cast(first, tf.int32) + tf.constant([down, right])
            inside = tf.reduce_all((corner >= 0) & (corner < [height, width]), axis=-1)
            weight = (rest[:, 0] if down else 1 - rest[:, 0]) * (
                rest[:, 1] if right else 1 - rest[:, 1]
            )
            held = tf.clip_by_value(corner, 0, [height - 1, width - 1])
            values = tf.gather(flat, held[:, 0] * width + held[:, 1])
            total += tf.where(inside, weight, 0.0)[:, tf.newaxis] * values
    back = tf.reshape(total, (height, width, count, channels))
    return tf.transpose(back, [2, 0, 1, 3]) + _GREY


def _uniform(seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + (high - low) * tf.random.stateless_uniform([], seed, alg="philox")


def _matrix(rows: list[list[float | tf.Tensor]]) -> tf.Tensor:
    return tf.stack([*(tf.stack(row) for row in rows), tf.constant([0.0, 0.0, 1.0])])
