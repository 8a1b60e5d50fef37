"""Evidence: whether the number falls by as much as a map says, for sets of pixels.

Each function takes a ``Probe`` and maps, signed or not: (B, H, W), or (B, H, W, C), whose channels
are summed; a list of these; or explanations, of which the raw map counts. Maps are resized
linearly to the model's input. The value of a pixel is what it gives to the number, as that of
integrated gradients is: of a gradient give gradient x input. The number is that of the ``Probe``: a
probability, unless the target is a callable.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from tfcam.metrics.checks import Maps, checked_fraction
from tfcam.metrics.imputation import Fill
from tfcam.metrics.pixel_sets import (
    correlation,
    grid_cells,
    measure_falls,
    random_sets,
    random_squares,
    rank_correlation,
)
from tfcam.metrics.probing import Probe
from tfcam.metrics.ranking import evidence_on_input

SET_FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)


def infidelity(
    probe: Probe,
    maps: Maps,
    *,
    samples: int = 100,
    side: int | None = None,
    fill: Fill = "zero",
    scaled: bool = True,
    seed: int = 0,
) -> np.ndarray:
    """Measure infidelity: how far what a map says of squares is from how the number falls.

    The mean over random squares S of (b sum_{i in S} M_i - (p(x) - p(x without S)))^2, where b
    is 1, or the factor of at least 0 that makes it least.

    Args:
        probe: The model and its images.
        maps: (B, H, W) or (B, H, W, C), signed, or explanations.
        samples: The number of squares, at least 2.
        side: The side of a square in pixels; by default a seventh of the shorter side.
        fill: What replaces the pixels: "zero", "mean", "blur" or "noisy_linear".
        scaled: Choose b for each image, so that a map need not be in units of the number.
        seed: The seed of the squares, which are the same for each image.

    Returns:
        (B,) float32, at least 0, in units of the number squared; lower is better.

    Raises:
        ValueError: If an option is out of range, maps do not fit, or an unscaled one would have to
            be resized.

    Source: Yeh et al. 2019, "On the (in)fidelity and sensitivity of explanations",
        with its square removal.

    Departs from the paper: b, which it leaves at 1. A map that says the opposite is not turned
    round: b is 0 for it at best.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1)
        >>> probe = Probe(tfcam.demo_model(), scene.image)
        >>> on, off = (infidelity(probe, masks[:1]) for masks in (scene.masks, ~scene.masks))
        >>> bool(on[0] < off[0])
        True
    """
    resized = evidence_on_input(probe, maps, keeps_sums=not scaled)
    sides = resized.shape[1:]
    side = max(1, round(min(sides) / 7)) if side is None else side
    if samples < 2 or not 1 <= side < min(sides):
        raise ValueError(
            f"There must be at least 2 squares, of a side of 1 to {min(sides) - 1} pixels; got "
            f"{samples} of {side}."
        )
    sets = functools.partial(random_squares, sides, side, samples, seed)
    sums, falls = measure_falls(probe, resized, sets, fill, seed)
    factor = np.ones((len(sums), 1))
    if scaled:
        squares = (sums**2).sum(axis=1, keepdims=True)
        likeness = np.maximum((sums * falls).sum(axis=1, keepdims=True), 0)
        factor = likeness / np.where(squares > 0, squares, 1)
    return ((factor * sums - falls) ** 2).mean(axis=1).astype(np.float32)


def sensitivity_n(
    probe: Probe,
    maps: Maps,
    *,
    subsets: int = 50,
    fractions: Sequence[float] = SET_FRACTIONS,
    fill: Fill = "zero",
    seed: int = 0,
) -> np.ndarray:
    """Measure sensitivity-n: whether the number falls as the map says, for sets of several sizes.

    The correlation of sum_{i in S} M_i with p(x) - p(x without S) over random sets S of n pixels;
    the mean over several n. Of one n alone it is ``fractions=[0.1]``.

    Args:
        probe: The model and its images.
        maps: (B, H, W) or (B, H, W, C), signed, or explanations.
        subsets: The number of sets of each size, at least 2.
        fractions: The sizes, as fractions of the pixels.
        fill: What replaces the pixels: "zero", "mean", "blur" or "noisy_linear".
        seed: The seed of the sets, which are the same for each image.

    Returns:
        (B,) float32 in [-1, 1]; higher is better. A size of which a side does not vary gives 0.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: Ancona et al. 2018, "Towards better understanding of gradient-based attribution methods
        for deep neural networks".

    Departs from the paper: its curve over n is one number here.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1)
        >>> probe = Probe(tfcam.demo_model(), scene.image)
        >>> bool(sensitivity_n(probe, scene.masks[:1], subsets=9, fractions=[0.2])[0] > 0)
        True
    """
    resized = evidence_on_input(probe, maps)
    sides, pixels = resized.shape[1:], resized[0].size
    sizes = [round(checked_fraction(fraction) * pixels) for fraction in fractions]
    if subsets < 2 or not sizes or not 1 <= min(sizes) <= max(sizes) < pixels:
        raise ValueError(
            f"There must be at least 2 subsets, of 1 to {pixels - 1} pixels; got {subsets} of "
            f"{sizes}."
        )
    numbers = np.zeros((len(probe), len(sizes)))
    for column, size in enumerate(sizes):
        sets = functools.partial(random_sets, sides, size, subsets, seed)
        sums, falls = measure_falls(probe, resized, sets, fill, seed)
        numbers[:, column] = list(map(correlation, sums, falls))
    return numbers.mean(axis=1).astype(np.float32)


def mu_fidelity(
    probe: Probe,
    maps: Maps,
    *,
    subsets: int = 200,
    grid: int = 9,
    share: float = 0.2,
    fill: Fill = "zero",
    seed: int = 0,
) -> np.ndarray:
    """Measure mu-fidelity: whether sets of cells rank by the map as by the fall of the number.

    Spearman's correlation of sum_{i in S} M_i with p(x) - p(x without S) over random sets S of
    round(share grid^2) cells of a grid.

    Args:
        probe: The model and its images.
        maps: (B, H, W) or (B, H, W, C), signed, or explanations.
        subsets: The number of sets, at least 2.
        grid: The number of cells along each side.
        share: The share of the cells that a set holds.
        fill: What replaces the pixels: "zero", "mean", "blur" or "noisy_linear".
        seed: The seed of the sets, which are the same for each image.

    Returns:
        (B,) float32 in [-1, 1]; higher is better. 0 where a side does not vary, which says nothing.

    Raises:
        ValueError: If an option is out of range, or maps do not fit.

    Source: Bhatt et al. 2020, "Evaluating and Aggregating Feature-based Model Explanations",
        section 3.1, with the ranks and the grid of Fel et al. 2021, "Look at the Variance!".

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1)
        >>> probe = Probe(tfcam.demo_model(), scene.image)
        >>> bool(mu_fidelity(probe, scene.masks[:1], subsets=20)[0] > 0)
        True
    """
    resized = evidence_on_input(probe, maps)
    sides = resized.shape[1:]
    if not 2 <= grid <= min(sides):
        raise ValueError(f"grid must be in 2..{min(sides)}, the shorter side; got {grid}.")
    cells, count = grid_cells(sides, grid), grid ** len(sides)
    size = round(checked_fraction(share) * count)
    if subsets < 2 or not 1 <= size < count:
        raise ValueError(
            f"There must be at least 2 subsets, of 1 to {count - 1} cells; got {subsets} of {size}."
        )

    def sets() -> Iterator[np.ndarray]:
        return (chosen[cells] for chosen in random_sets((count,), size, subsets, seed))

    sums, falls = measure_falls(probe, resized, sets, fill, seed)
    before = probe.probabilities[:, np.newaxis].astype(np.float64)
    asked = np.maximum(np.abs(before), np.abs(before - falls)).max(axis=1)
    rounding = 8 * np.finfo(np.float32).eps * asked
    return np.array(list(map(rank_correlation, sums, falls, rounding)), np.float32)
