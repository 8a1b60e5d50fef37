"""What values a model takes, and whether values that are given can be of them, or are pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfcam.model.graph import ModelGraph
from tfcam.preprocessing.modes import Preprocessing, choose_preprocessing

# Pixels divided by 255, also with mean and deviation taken out, are within this.
_SCALED_DOWN = 3.0

# A batch that reaches this holds pixels, if its values lie in 0..255; a bicubic filter overshoots.
_PIXELS, _OVERSHOOT = 10.0, 25.0


@dataclass(frozen=True)
class Range:
    """What values a model takes, and how this is known: pixels of 0 and of 255 as it takes them."""

    least: float
    most: float
    why: str

    @property
    def preparation(self) -> str:
        """How pixels become such values, without the reason for it."""
        return self.why.rsplit(", ", 1)[0]

    @property
    def is_raw(self) -> bool:
        """Whether it is that of pixels as they are."""
        return self.least == 0 and self.most == 255

    def fits(self, values: np.ndarray) -> bool:
        """Tell whether an input (h, w, C) may well have been prepared so.

        Its values may leave the range by a tenth of it. They may not all lie in 0..1, or not below
        0, where the range goes as far to the other side, nor differ by less than a fiftieth of it,
        as those of a picture prepared twice. In a range of pixels they may not be as those of
        pixels divided by 255: small, of different places, and not whole.
        """
        span, low, high = self.most - self.least, values.min(), values.max()
        if low < self.least - span / 10 or high > self.most + span / 10:
            return False
        rows = values.reshape(len(values), -1)  # NumPy is slow over a short last axis
        brightest, darkest = (
            each.reshape(-1, values.shape[-1]) for each in (rows.max(0), rows.min(0))
        )
        contrast = (brightest.max(0) - darkest.min(0)).max()
        if contrast == 0:
            return True
        if span < 100:
            one_sided = self.least < -0.4 and low >= 0 and high <= 1
            return bool(contrast >= span / 50 and not one_sided)
        if max(-low, high) > _SCALED_DOWN:
            return self.least == 0 or bool(low < 0)
        differences = values - values[:1, :1]
        return bool((np.abs(differences - np.round(differences)) < 1e-3).all())

    def excludes(self, arrays: Sequence[np.ndarray]) -> bool:
        """Tell whether a batch that ``look_like_pixels`` is, as a whole, none of this range."""
        if self.is_raw:
            return False
        most = max(array.max() for array in arrays)
        whole = all((array == np.round(array)).all() for array in arrays)
        return bool(most > self.most + (self.most - self.least) / 10 or whole)


def look_like_pixels(arrays: Sequence[np.ndarray]) -> bool:
    """Tell whether a batch of floats lies in 0..255 as pixels do, judged as a whole.

    Example:
        >>> dark, bright = np.full((2, 2, 3), 0.5), np.full((2, 2, 3), 200.0)
        >>> look_like_pixels([dark]), look_like_pixels([dark, bright])
        (False, True)
    """
    if not all(array.size for array in arrays):
        return False
    low, high = min(array.min() for array in arrays), max(array.max() for array in arrays)
    if not _PIXELS < high <= 255 + _OVERSHOOT:  # also where it is NaN
        return False
    return bool(low >= 0 or (low >= -_OVERSHOOT and high > 4 * _OVERSHOOT))


def look_like_counts(arrays: Sequence[np.ndarray]) -> bool:
    """Tell whether a batch of floats holds whole numbers beyond 0..255, as of 12 bits or of CT.

    Example:
        >>> look_like_counts([np.array([0.0, 4095.0])]), look_like_counts([np.array([0.0, 0.5])])
        (True, False)
    """
    if not all(array.size and np.isfinite(array).all() for array in arrays):
        return False
    largest = max(float(np.abs(array).max()) for array in arrays)
    return largest > 255 + _OVERSHOOT and all((a == np.round(a)).all() for a in arrays)


def known_range(graph: ModelGraph, which: int = 0) -> Range | None:
    """Find what values one of a model's inputs takes; None where it can't be known."""
    taken = graph.inputs[which]
    if not taken.is_image:
        return None
    try:
        chosen = choose_preprocessing(graph, "auto", which)
    except ValueError:
        return None
    key = ("range", which, chosen.description)
    return graph.once(key, lambda: _range_of(chosen, taken.shape[-1] or 3))


def _range_of(chosen: Preprocessing, channels: int) -> Range | None:
    black, white = (np.full((1, 1, 1, channels), value, np.float32) for value in (0, 255))
    try:
        ends = np.concatenate([np.asarray(chosen.function(pixels)) for pixels in (black, white)])
    except ValueError:  # a mode of three channels
        return None
    return Range(float(ends.min()), float(ends.max()), chosen.description)
