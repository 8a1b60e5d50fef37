"""Whether methods differ on the same pictures: tests of pairs, and how they are corrected."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from tfcam.evaluation.intervals import (
    Interval,
    bootstrap_intervals,
    check_values,
    clipped,
    is_share,
    share_difference_interval,
)

# Below this share of themselves values differ by the rounding of float32 sums.
_ROUNDING = 1e-5


# Of more pictures p is that of the normal distribution.
_EXACT = 50


class PairTest(NamedTuple):
    """How two methods differ on the pictures that both have: the mean of the first less the second.

    Without such pictures the difference is NaN, and p is 1.
    """

    first: int
    second: int
    difference: float
    low: float
    high: float
    p: float
    p_corrected: float
    n: int


def wilcoxon(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> float:
    """Test whether two methods differ: Wilcoxon's signed-rank test, two-sided.

    The probability of differences as large as these if neither method were better. Values that
    differ by rounding alone are equal; those are left out, and where all are it is 1. Exact for up
    to 50 differences, ties or not; of 0 and 1 it is McNemar's exact test.

    Args:
        first: (n,), one method's value of each picture.
        second: (n,), the other's of the same pictures.

    Returns:
        p, in (0, 1].

    Raises:
        ValueError: If they are not of as many pictures, or not finite.

    Source: Wilcoxon 1945, "Individual comparisons by ranking methods"; Streitberg and Roehmel 1986,
        "Exact distributions for permutations and rank tests", for exact p with ties.

    Example:
        >>> round(wilcoxon([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]), 4)  # 2 / 2^5
        0.0625
        >>> wilcoxon([1, 2, 3], [1 + 1e-9, 2 + 1e-9, 3 + 1e-9])
        1.0
    """
    a, b = check_values(first), check_values(second)
    if a.shape != b.shape:
        raise ValueError(f"Both must be of the same pictures; got {len(a)} and {len(b)} values.")
    steps = np.rint((a - b) / rounding(np.stack([a, b])))
    steps = steps[steps != 0]
    if not len(steps):
        return 1.0
    ranks = np.rint(2 * stats.rankdata(np.abs(steps))).astype(int)  # whole numbers, ties or not
    return _sign_probability(ranks, int(ranks[steps > 0].sum()))


def _sign_probability(ranks: np.ndarray, positive: int) -> float:
    """Find how often signs drawn at random give a sum of positive ranks as far from its mean."""
    if len(ranks) > _EXACT:
        deviation = np.sqrt((ranks.astype(float) ** 2).sum()) / 2
        return float(2 * stats.norm.sf(abs(positive - ranks.sum() / 2) / deviation))
    chances = np.zeros(ranks.sum() + 1)
    chances[0] = 1
    for rank in ranks:
        shifted = np.zeros_like(chances)
        shifted[rank:] = chances[: len(chances) - rank]
        chances = (chances + shifted) / 2
    lower = min(positive, len(chances) - 1 - positive)
    return float(min(2 * chances[: lower + 1].sum(), 1))


def rounding(values: np.ndarray) -> float:
    """Bound what rounding alone may make of the difference of two values.

    Args:
        values: (..., n), at least one, finite or NaN; the bound is a share of their median size, or
            of their largest where most are zero.

    Returns:
        The bound, > 0.
    """
    sizes = np.abs(values[np.isfinite(values)])
    return _ROUNDING * float(np.median(sizes) or sizes.max() or 1)


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


def compare_pairs(
    values: Sequence[np.ndarray], seed: int = 0, within: tuple[float, float] = (-np.inf, np.inf)
) -> list[PairTest]:
    """Test every pair of methods on the pictures that both have.

    Args:
        values: (n,) of each method, of the same pictures in the same order; NaN where it has none.
        seed: The seed of the intervals.
        within: The least and the largest value that there may be.

    Returns:
        For each pair, by their places in ``values``: the mean difference with its interval, p by
        Wilcoxon, p corrected by Holm for all pairs, and the number of pictures.

    Example:
        >>> better, worse = np.arange(10) + 1.0, np.arange(10) * 1.0
        >>> [pair] = compare_pairs([better, worse])
        >>> pair.difference, pair.low, pair.high, round(pair.p, 4)  # 2 / 2^10
        (1.0, 1.0, 1.0, 0.002)
        >>> worse[7:] = np.nan
        >>> [pair] = compare_pairs([better, worse])
        >>> pair.n, pair.p  # 2 / 2^7
        (7, 0.015625)
    """
    pairs = list(itertools.combinations(range(len(values)), 2))
    both = [np.isfinite(values[a]) & np.isfinite(values[b]) for a, b in pairs]
    shared = [(values[a][use], values[b][use]) for (a, b), use in zip(pairs, both, strict=True)]
    tests = [wilcoxon(a, b) if len(a) else 1.0 for a, b in shared]
    span = within[1] - within[0]
    intervals = [clipped(one, (-span, span)) for one in _difference_intervals(shared, both, seed)]
    rows = zip(pairs, intervals, tests, holm(tests), shared, strict=True)
    return [
        PairTest(a, b, *interval, test, float(corrected), len(used[0]))
        for (a, b), interval, test, corrected, used in rows
    ]


def _difference_intervals(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], both: Sequence[np.ndarray], seed: int
) -> list[Interval]:
    """Compute the mean difference of each pair; those of the same pictures share their samples."""
    intervals = [Interval(np.nan, np.nan, np.nan)] * len(pairs)
    together: dict[bytes, list[int]] = {}
    for place, (first, second) in enumerate(pairs):
        if not len(first):
            continue
        if is_share(first) and is_share(second):
            intervals[place] = share_difference_interval(first, second)
        else:
            together.setdefault(both[place].tobytes(), []).append(place)
    for places in together.values():
        columns = np.stack([np.subtract(*pairs[place]) for place in places], axis=1)
        found = bootstrap_intervals(columns, seed)
        for place, interval in zip(places, found, strict=True):
            intervals[place] = interval
    return intervals
