"""Sets of pixels: what a map says of each, and how far the number falls without it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from tfcam.metrics.imputation import FILLS, Fill, impute
from tfcam.metrics.probing import Probe, Replaced, Variants
from tfcam.utils.prefetch import map_in_order
from tfcam.utils.validation import check_choice

PixelSets = Callable[[], Iterator[np.ndarray]]

# What is left of equal values is rounding: a smaller share than this must not be correlated.
_ROUNDING = 1e-12

_THREADS = os.cpu_count() or 1


class SetFalls(NamedTuple):
    """What the maps say of each set, and by how much the number falls without it.

    Attributes:
        sums: (B, S) float64, the sum of each image's map over each set.
        falls: (B, S) float64, p(x) - p(x without the set).
    """

    sums: np.ndarray
    falls: np.ndarray


def measure_falls(
    probe: Probe, maps: np.ndarray, sets: PixelSets, fill: Fill, seed: int
) -> SetFalls:
    """Ask for each image without each set of pixels; no more than a batch is held at a time.

    Args:
        probe: The model and its images.
        maps: (B, H, W) at the size of the model's input.
        sets: Gives the sets, (H, W) bool each, the same whenever it is called.
        fill: What replaces the pixels: "zero", "mean", "blur" or "noisy_linear".
        seed: The seed of the noise.
    """
    check_choice("fill", fill, FILLS)
    sums = np.array([maps[:, removed].sum(axis=1, dtype=np.float64) for removed in sets()]).T
    removed = (each for _ in range(len(probe)) for each in sets())
    changed = without(probe, removed, fill, range(seed, seed + sums.shape[1]))
    after = probe(changed, np.repeat(np.arange(len(probe)), sums.shape[1]))
    before = probe.probabilities[:, np.newaxis].astype(np.float64)
    return SetFalls(sums, before - after.reshape(sums.shape))


def without(
    probe: Probe, removed: Iterable[np.ndarray], fill: Fill, seeds: Sequence[int]
) -> Variants:
    """Take sets of pixels out of the images of a probe, as many out of each.

    Args:
        probe: The model and its images.
        removed: (H, W) bool each, those of the first image first.
        fill: What replaces the pixels.
        seeds: The seed of the noise of each set of an image.
    """
    if fill == "noisy_linear":  # what it fills in depends on what is removed
        asked = zip(itertools.product(probe.inputs, seeds), removed, strict=True)
        return map_in_order(_filled_from_neighbours, asked, _THREADS, depth=2 * _THREADS)
    everything = np.ones(probe.inputs.shape[1:-1], bool)
    filled = np.stack([impute(image, everything, fill) for image in probe.inputs])
    return Replaced(removed, filled, np.repeat(np.arange(len(probe)), len(seeds)))


def _filled_from_neighbours(asked: tuple[tuple[np.ndarray, int], np.ndarray]) -> np.ndarray:
    (image, seed), removed = asked
    return impute(image, removed, "noisy_linear", seed)[np.newaxis]


def random_sets(shape: tuple[int, ...], size: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """Draw sets of pixels at random, each of as many.

    Args:
        shape: The sides of the picture.
        size: The number of pixels of a set.
        count: The number of sets.
        seed: The seed of the sets.

    Returns:
        ``shape`` bool each.
    """
    rng = np.random.default_rng(seed)
    pixels = int(np.prod(shape))
    for _ in range(count):
        chosen = np.zeros(pixels, bool)
        chosen[rng.choice(pixels, size, replace=False)] = True
        yield chosen.reshape(shape)


def random_squares(
    shape: tuple[int, ...], side: int, count: int, seed: int
) -> Iterator[np.ndarray]:
    """Draw squares of pixels that lie wholly in the picture, each place as likely.

    Args:
        shape: The sides of the picture.
        side: The side of a square in pixels.
        count: The number of squares.
        seed: The seed of the places.

    Returns:
        ``shape`` bool each.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        corner = [rng.integers(length - side + 1) for length in shape]
        square = np.zeros(shape, bool)
        square[tuple(slice(start, start + side) for start in corner)] = True
        yield square


def grid_cells(shape: tuple[int, ...], cells: int) -> np.ndarray:
    """Number the cells of a grid of as many along each side.

    Example:
        >>> grid_cells((2, 4), 2)
        array([[0, 0, 1, 1],
               [2, 2, 3, 3]])
    """
    along = np.ix_(*(np.arange(length) * cells // length for length in shape))
    return np.ravel_multi_index(along, (cells,) * len(shape))


def correlation(first: np.ndarray, second: np.ndarray, undefined: float = 0.0) -> float:
    """Compute Pearson's correlation of float64 values; ``undefined`` where one does not vary."""
    a, b = first.ravel() - first.mean(), second.ravel() - second.mean()
    norms = [np.linalg.norm(centred) for centred in (a, b)]
    pair = (first, second)
    least = [_ROUNDING * np.abs(values).max() * np.sqrt(values.size) for values in pair]
    if norms[0] <= least[0] or norms[1] <= least[1]:
        return undefined
    return float(np.clip(a @ b / (norms[0] * norms[1]), -1, 1))


def rank_correlation(first: np.ndarray, second: np.ndarray, rounding: float = 0.0) -> float:
    """Compute Spearman's correlation of float64 values (N,); 0 where one does not vary.

    Values that differ by rounding alone are equal: ``rounding`` is that of ``second``.
    """
    return correlation(_ranks(first, 0.0), _ranks(second, rounding))


def _ranks(values: np.ndarray, rounding: float) -> np.ndarray:
    order = np.argsort(values)
    least = max(rounding, 1e3 * _ROUNDING * np.abs(values).max())
    levels = np.cumsum(np.diff(values[order], prepend=values[order[0]]) > least)
    return rankdata(levels)[np.argsort(order)]
