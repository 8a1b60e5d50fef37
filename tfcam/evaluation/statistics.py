"""How sure a mean is, and whether two methods differ on the same pictures."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 2000


LEVEL = 0.95


# The most numbers that are drawn at once, so that many pictures do not fill the memory.
_AT_ONCE = 10_000_000


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


class PairTest(NamedTuple):
    """How two methods differ on the same pictures: the mean of the first less the second."""

    first: int
    second: int
    difference: float
    low: float
    high: float
    p: float
    p_corrected: float


def mean_interval(
    values: Sequence[float] | np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Compute the mean over pictures, and its 95 % interval by the bootstrap.

    The 2.5th and 97.5th percentile of the means of samples of n pictures, drawn with replacement.

    Args:
        values: (n,) the value of each picture, finite, n > 0.
        seed: The seed of the samples.
        resamples: The number of samples.

    Returns:
        The mean and its interval. Of a single picture all three numbers are its value.

    Raises:
        ValueError: If there is no value, or one is NaN or infinite.

    Source: Efron 1979, "Bootstrap methods: another look at the jackknife"; percentile interval.

    Example:
        >>> mean, low, high = mean_interval(np.arange(100))
        >>> mean, round(low), round(high)  # the deviation of this mean is 2.9
        (49.5, 44, 55)
    """
    numbers = _checked(values)
    if (numbers == numbers[0]).all():  # else their means would differ by rounding
        return Interval(*(float(numbers[0]),) * 3)
    rng = np.random.default_rng(seed)
    rows, means = max(1, _AT_ONCE // len(numbers)), []
    for start in range(0, resamples, rows):
        size = (min(rows, resamples - start), len(numbers))
        means.append(numbers[rng.integers(len(numbers), size=size)].mean(axis=1))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return Interval(float(numbers.mean()), float(low), float(high))


def wilcoxon(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Test whether two methods differ: Wilcoxon's signed-rank test, two-sided.

    The probability of differences as large as these if neither method were better. Equal values are
    left out; where all are equal it is 1.

    Args:
        first: (n,), one method's value of each picture.
        second: (n,), the other's of the same pictures.

    Returns:
        p, in (0, 1].

    Raises:
        ValueError: If they are not of as many pictures, or not finite.

    Source: Wilcoxon 1945, "Individual comparisons by ranking methods".

    Example:
        >>> round(wilcoxon([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]), 4)  # 2 / 2^5
        0.0625
    """
    a, b = _checked(first), _checked(second)
    if a.shape != b.shape:
        raise ValueError(f"Both must be of the same pictures; got {len(a)} and {len(b)} values.")
    differences = a - b
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Correct p values for the number of tests, by Holm: the chance of any false finding.

    Sorted, p_(i) becomes the largest of (m - j + 1) p_(j) over j <= i, at most 1.

    Args:
        p: (m,) in [0, 1].

    Returns:
        (m,) float64, in the order given.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()  # 3 x 0.01; 2 x 0.03; the 0.06 before
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1) if len(values) else stepped
    return corrected


def compare_pairs(values: Sequence[np.ndarray], seed: int = 0) -> list[PairTest]:
    """Test every pair of methods on the same pictures.

    Args:
        values: (n,) of each method, of the same pictures in the same order.
        seed: The seed of the intervals.

    Returns:
        For each pair, by their places in ``values``: the mean difference with its interval, p by
        Wilcoxon, and p corrected by Holm for all pairs.

    Example:
        >>> better, worse = np.arange(10) + 1.0, np.arange(10) * 1.0
        >>> [pair] = compare_pairs([better, worse])
        >>> pair.difference, pair.low, pair.high, round(pair.p, 4)  # 2 / 2^10
        (1.0, 1.0, 1.0, 0.002)
    """
    pairs = list(itertools.combinations(range(len(values)), 2))
    tests = [wilcoxon(values[a], values[b]) for a, b in pairs]
    corrected = holm(tests)
    return [
        PairTest(a, b, *mean_interval(values[a] - values[b], seed), test, float(fixed))
        for (a, b), test, fixed in zip(pairs, tests, corrected, strict=True)
    ]


def _checked(values: Sequence[float] | np.ndarray) -> np.ndarray:
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(
            f"Values must be (n,), finite, n > 0; got {numbers.shape}, "
            f"{np.count_nonzero(~np.isfinite(numbers))} of them NaN or infinite."
        )
    return numbers
