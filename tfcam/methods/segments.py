"""Parts of an image that are hidden as a whole: a grid, superpixels, a map of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfcam.methods.registry import OPTION_CHECKS
from tfcam.passes.reading import Network
from tfcam.utils.suggestions import did_you_mean
from tfcam.utils.validation import shown

Segments: TypeAlias = str | np.ndarray

# By name, how many parts there are, or at most.
_USUAL = {"grid": 7, "slic": 49, "quickshift": 100}


@dataclass(frozen=True)
class Parts:
    """Parts of images.

    Attributes:
        numbers: (B, *sides) or (1, *sides) int32, which part a position is of; -1 where it is of
            none, and always seen.
        count: The number of parts; where each image has its own, the largest that it may be. A
            scalar int32 where it may change.
        varies: Whether an image may have fewer.
        divided: Whether the value of a part is divided among its positions, as that of a word is
            among its pieces, which are summed; of an image's parts each position has the whole.
    """

    numbers: tf.Tensor
    count: int | tf.Tensor
    varies: bool = False
    divided: bool = False

    @property
    def present(self) -> tf.Tensor:
        """(B, count) or (1, count) float64: 1 for the parts that an image has."""
        return tf.minimum(self._sizes, 1)

    @property
    def _sizes(self) -> tf.Tensor:
        """(B, count) or (1, count) float64: how many positions each has."""
        flat = tf.reshape(self.numbers, (self.numbers.shape[0], -1))
        return tf.reduce_sum(tf.one_hot(flat, self.count, dtype=tf.float64), 1)

    def covers(self, indices: tf.Tensor) -> tf.Tensor:
        """(k, B, *sides) float32: 1 where the part of that number is."""
        wanted = tf.reshape(indices, (-1, *[1] * self.numbers.shape.rank))
        return tf.cast(self.numbers[tf.newaxis] == wanted, tf.float32)

    def seen(self, chosen: tf.Tensor) -> tf.Tensor:
        """(k, B, *sides) float32: what is seen with each choice (k, B, count) of parts."""
        batch = chosen.shape[1]
        numbers = tf.repeat(self.numbers, batch // self.numbers.shape[0], axis=0)
        flat = tf.reshape(self._places(numbers), (batch, -1))
        chosen = tf.pad(chosen, [[0, 0], [0, 0], [0, 1]], constant_values=True)
        seen = tf.gather(tf.transpose(chosen, (1, 2, 0)), flat, batch_dims=1)
        seen = tf.transpose(tf.cast(seen, tf.float32), (2, 0, 1))
        return tf.reshape(seen, (-1, batch, *numbers.shape[1:]))

    def spread(self, values: tf.Tensor) -> tf.Tensor:
        """(B, *sides) float32: a value (B, count) for each part, at all of its positions."""
        if self.divided:
            values = tf.cast(values, tf.float64) / tf.maximum(self._sizes, 1)
        batch = values.shape[0]
        numbers = tf.repeat(self.numbers, batch // self.numbers.shape[0], axis=0)
        values = tf.pad(tf.cast(values, tf.float32), [[0, 0], [0, 1]])
        return tf.gather(values, self._places(numbers), batch_dims=1)

    def _places(self, numbers: tf.Tensor) -> tf.Tensor:
        """Parts as places in lists of them, behind which is one for what is of none."""
        return tf.where(numbers < 0, self.count, numbers)


def parts_of(segments: Segments | None, network: Network) -> Parts:
    """Divide what a network explains into parts: as asked, or "grid:7", or a text into words.

    Args:
        segments: As ``segmented`` takes them; None where none were asked for.
        network: The network.
    """
    words = network.words
    if segments is not None or words is None or words.most is None:
        return segmented("grid:7" if segments is None else segments, network.images)
    return Parts(words.owners, words.most, varies=network.images.shape[0] > 1, divided=True)


def segmented(segments: Segments, images: tf.Tensor) -> Parts:
    """Divide images into parts.

    Args:
        segments: "grid:7" for 7 parts along each side; "slic" or "quickshift" for superpixels, and
            "slic:60" for at most so many; or an integer map (H, W), the same for all images.
        images: (B, *sides, C), as the network takes them; superpixels are found in them with their
            values stretched to 0..1.

    Raises:
        TypeError: If it is neither.
        ValueError: If there is no such name, or it does not fit the images.

    Example:
        >>> segmented("grid:2", tf.zeros((1, 2, 4, 3))).numbers.numpy()[0]
        array([[0, 0, 1, 1],
               [2, 2, 3, 3]], dtype=int32)
    """
    sides = tuple(images.shape[1 : max(images.shape.rank - 1, 2)])
    if isinstance(segments, np.ndarray):
        numbers = _own(segments, sides)
        return Parts(tf.constant(numbers[np.newaxis], tf.int32), int(numbers.max()) + 1)
    name, count = _named(segments)
    if name == "grid":
        return _grid(count, sides)
    if len(sides) != 2 or images.shape.rank != 4:
        raise ValueError(
            f"segments={segments!r} is for images (H, W, C); got inputs of shape "
            f"{tuple(images.shape[1:])}. Choose 'grid:7', or give an integer map {sides}."
        )
    found = tf.numpy_function(lambda batch: _superpixels(name, count, batch), [images], tf.int32)
    return Parts(tf.ensure_shape(found, images.shape[:3]), count, varies=True)


def _named(segments: str) -> tuple[str, int]:
    name, colon, number = segments.partition(":")
    if name not in _USUAL or (colon and not (number.isdecimal() and 0 < int(number) < 10_000)):
        known = ", ".join(f"{name}:{count}" for name, count in _USUAL.items())
        raise ValueError(
            f"segments must be one of {known}, with any such number or none, or an integer map of "
            f"what the model takes; got {shown(segments)}.{did_you_mean(name, _USUAL)}"
        )
    return name, int(number) if colon else _USUAL[name]


def check_segments(segments: object) -> None:
    """Refuse what is neither a name nor an array of whole numbers.

    Raises:
        TypeError: If it is neither.
        ValueError: If there is no such name.
    """
    if isinstance(segments, str):
        _named(segments)
    elif not isinstance(segments, np.ndarray) or segments.dtype.kind not in "iub":
        dtype = getattr(segments, "dtype", None)
        got = shown(segments) if dtype is None else f"an array of {dtype}"
        raise TypeError(
            "segments must be a name, such as 'grid:7', or an array of whole numbers, one for each "
            f"pixel of what the model takes; got {got}."
        )


OPTION_CHECKS["Segments"] = check_segments


def _own(numbers: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Number the parts of a map from 0."""
    if numbers.shape != sides:
        raise ValueError(
            f"segments must be a map of what the model takes, {sides}; got {numbers.shape}. Resize "
            "it without mixing its numbers."
        )
    return np.unique(numbers, return_inverse=True)[1].reshape(sides)


def _grid(count: int, sides: Sequence[int]) -> Parts:
    counts = [min(count, side) for side in sides]
    rows = [np.arange(side) * n // side for side, n in zip(sides, counts, strict=True)]
    numbers = np.ravel_multi_index(np.meshgrid(*rows, indexing="ij"), counts)
    return Parts(tf.constant(numbers[np.newaxis], tf.int32), int(np.prod(counts)))


def _superpixels(name: str, most: int, images: np.ndarray) -> np.ndarray:
    """Find the superpixels of each image, numbered from 0; larger ones where there are too many."""
    return np.stack([_of_image(name, most, image.astype(np.float64)) for image in images])


def _of_image(name: str, most: int, image: np.ndarray) -> np.ndarray:
    from skimage import segmentation  # here, as it is slow to load

    low, high = image.min(), image.max()
    unit = (image - low) / (high - low) if high > low else np.zeros_like(image)
    unit = np.repeat(unit, 3, -1) if unit.shape[-1] == 1 else unit
    coloured = unit.shape[-1] == 3
    for wider in 1.3 ** np.arange(12):
        if name == "slic":
            found = segmentation.slic(
                unit, max(1, int(most / wider)), convert2lab=coloured, start_label=0
            )
        else:
            found = segmentation.quickshift(
                unit, kernel_size=4 * wider, max_dist=200, ratio=0.2, convert2lab=coloured
            )
        numbers = np.unique(found, return_inverse=True)[1].reshape(found.shape)
        if numbers.max() < most:
            break
    return np.minimum(numbers, most - 1).astype(np.int32)
