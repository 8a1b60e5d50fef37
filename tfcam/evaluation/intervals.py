"""How sure a mean over pictures is: 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from tfcam.metrics.measure import ANY

RESAMPLES = 2000


LEVEL = 0.95


_TAIL = (1 - LEVEL) / 2


_Z = float(stats.norm.ppf(1 - _TAIL))


# Values of which so many lie so near an end of their range, as a fraction of it, are nearly a
# share: the others are too rare for a sample to tell how far away they are.
_MOST, _NEAR = 0.9, 0.02

# How far such values are from that end varies by more than so much of its mean: what varies less is
# small by nature, as a probability of one among many classes is.
_VARYING = 0.5


# How far sums of float32 may lie beyond the range of what they measure, as a fraction of it.
_ROUNDING = 1e-6


# The most numbers that are drawn at once, so that many pictures do not fill the memory.
_AT_ONCE = 2_000_000


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_interval(
    values: Sequence[float] | np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
    within: tuple[float, float] = ANY,
) -> Interval:
    """Compute the mean over pictures, and its 95 % interval.

    Values that are all 0 or 1 are a share, with Wilson's interval, and so are those that crowd at
    an end of their range, nine tenths within 2 % of it at distances that vary by more than half
    their mean: how far away the few others are, a sample does not tell. All others get a
    bootstrap-t interval, neither side of which is shorter than Student's.

    Args:
        values: (n,) the value of each picture, finite, n > 0.
        seed: The seed of the samples.
        resamples: The number of samples.
        within: The least and the largest value that there may be, such as 0 and 1 of a share: no
            mean lies beyond, and so neither does the interval.

    Returns:
        The mean and its interval; low and high are NaN for a single value that is at no end of the
        range, which says nothing of others.

    Raises:
        ValueError: If there is no value, or one is NaN or infinite.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference";
        Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 12, for bootstrap-t.

    Example:
        >>> mean, low, high = mean_interval(np.arange(100))
        >>> mean, round(low), round(high)  # the deviation of this mean is 2.9
        (49.5, 44, 55)
        >>> mean, low, high = mean_interval([1, 1, 1, 1, 1])  # all five, yet not certain
        >>> mean, round(low, 2), round(high, 2)
        (1.0, 0.57, 1.0)
        >>> mean, low, high = mean_interval([0.99, 0.995, 0.999, 1, 1], within=(0.0, 1.0))
        >>> round(mean, 2), round(low, 2), round(high, 2)  # nearly all five
        (1.0, 0.56, 1.0)
        >>> mean_interval([0.2, 0.6], within=(0.0, 1.0))  # of two, Student's is far wider
        Interval(mean=0.4, low=0.0, high=1.0)
    """
    numbers = _in_range(check_values(values), within)
    if is_share(numbers):
        return share_interval(float(numbers.mean()), len(numbers))
    if is_nearly_share(numbers, within):
        mean, (least, most) = float(numbers.mean()), within
        share = share_interval((mean - least) / (most - least), len(numbers))
        return Interval(mean, *(least + (most - least) * end for end in share[1:]))
    [interval] = bootstrap_intervals(numbers[:, np.newaxis], seed, resamples)
    return clipped(interval, within)


def clipped(interval: Interval, within: tuple[float, float]) -> Interval:
    """Cut an interval at the least and the largest value that its mean may have."""
    mean, *ends = interval
    if not within[0] <= mean <= within[1]:  # but for rounding, or what the range was not told of
        return interval
    return Interval(mean, *map(float, np.clip(ends, *within)))


def share_interval(share: float, count: float) -> Interval:
    """Compute Wilson's interval of a share.

    Args:
        share: In [0, 1].
        count: Of how many pictures, > 0; a fraction where they are worth so many.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Example:
        >>> mean, low, high = share_interval(0.5, 10)
        >>> round(low, 3), round(high, 3)
        (0.237, 0.763)
    """
    square = _Z**2 / count
    centre = (share + square / 2) / (1 + square)
    half = np.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    # A share of 0 or 1 is an end of its interval, but for rounding.
    return Interval(share, float(min(centre - half, share)), float(max(centre + half, share)))


def varying_share_interval(share: float, samples: np.ndarray, count: int) -> Interval:
    """Compute the interval of what is in [0, 1] and computed of many pictures at once.

    Wilson's, as of a share of so many pictures as vary as much as the samples do; of all pictures
    where these do not vary.

    Args:
        share: In [0, 1].
        samples: (R,), what it would be in bootstrap samples of the pictures.
        count: The number of pictures, > 0.

    Source: Korn and Graubard 1998, "Confidence intervals for proportions with small expected number
        of positive counts estimated from survey data", for the number of pictures.
    """
    spread, room = float(np.var(samples)), share * (1 - share)
    if count < 2 or spread <= 0 or room <= 0:
        return share_interval(share, count)
    student = stats.t.ppf(1 - _TAIL, count - 1)
    return share_interval(share, room / spread * (count - 1) / count * (_Z / student) ** 2)


def share_difference_interval(first: np.ndarray, second: np.ndarray) -> Interval:
    """Compute the difference of two shares of the same pictures, and its 95 % interval.

    Wald's interval with one picture more on which only the first, and one on which only the second
    is 1.

    Args:
        first: (n,), each 0 or 1.
        second: (n,), of the same pictures.

    Source: Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial
        proportions based on paired data".

    Example:
        >>> mean, low, high = share_difference_interval(np.ones(8), np.ones(8))
        >>> mean, round(low, 2), round(high, 2)  # 1.96 sqrt(2 / 10 / 10)
        (0.0, -0.28, 0.28)
    """
    total = len(first) + 2
    gained, lost = (((first > second).sum() + 1) / total, ((first < second).sum() + 1) / total)
    half = _Z * np.sqrt((gained + lost - (gained - lost) ** 2) / total)
    centre = gained - lost
    difference = float((first - second).mean())
    return Interval(difference, float(max(centre - half, -1)), float(min(centre + half, 1)))


def bootstrap_intervals(
    columns: np.ndarray, seed: int = 0, resamples: int = RESAMPLES
) -> list[Interval]:
    """Compute the mean of each column and its bootstrap-t interval.

    From mean - q_high s to mean - q_low s, with s the standard error and q the quantiles of (mean*
    - mean) / s* over samples of n rows, drawn with replacement. Neither is nearer to zero than
    Student's. To the variance of each sample that of the column is added as one observation: s* is
    then right on the average, and never zero.

    Args:
        columns: (n, k), finite, n > 0.
        seed: The seed of the samples, which all columns share.
        resamples: The number of samples.

    Returns:
        An interval for each column; of one row its low and high are NaN.

    Source: Efron and Tibshirani 1993, "An introduction to the bootstrap", chapter 12.
    """
    count = len(columns)
    means = columns.mean(axis=0)
    constant = (columns == columns[0]).all(axis=0)
    means[constant] = columns[0, constant]  # else they would differ from them by rounding
    if count == 1:
        return [Interval(float(mean), np.nan, np.nan) for mean in means]
    deviations = columns - means
    squares = deviations**2
    variances = squares.sum(axis=0) / (count - 1)
    added = variances / count
    rng = np.random.default_rng(seed)
    ratios, rows = [], max(1, _AT_ONCE // count)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, np.newaxis]
        times = np.bincount(drawn.ravel(), minlength=size * count)
        times = times.reshape(size, count).astype(np.float64)
        shifts = times @ deviations / count
        spread = np.maximum(times @ squares / count - shifts**2, 0) * count / (count - 1)
        ratios.append(shifts / np.where(constant, 1, np.sqrt((spread + added) / count)))
    student = stats.t.ppf(1 - _TAIL, count - 1)
    low, high = np.quantile(np.concatenate(ratios), [_TAIL, 1 - _TAIL], axis=0)
    errors = np.where(constant, 0, np.sqrt((variances + added) / count))
    lows = means - np.maximum(high, student) * errors
    highs = means - np.minimum(low, -student) * errors
    return [Interval(*map(float, interval)) for interval in zip(means, lows, highs, strict=True)]


def is_share(values: np.ndarray) -> bool:
    """Say whether all values are 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())


def is_nearly_share(values: np.ndarray, within: tuple[float, float]) -> bool:
    """Say whether nearly all values crowd at one end of their range, and not only near it."""
    span = within[1] - within[0]
    if not np.isfinite(span) or values.min() < within[0] or values.max() > within[1]:
        return False
    away = [np.abs(values - end) for end in within]
    return any(
        np.mean(each <= _NEAR * span) >= _MOST and each.std() > _VARYING * each.mean()
        for each in away
    )


def _in_range(values: np.ndarray, within: tuple[float, float]) -> np.ndarray:
    """Take values that are beyond their range by rounding alone for its ends."""
    span, inside = within[1] - within[0], np.clip(values, *within)
    beyond = np.abs(values - inside).max() / (span if np.isfinite(span) else 1)
    return inside if beyond <= _ROUNDING else values


def check_values(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Make values (n,) float64.

    Raises:
        ValueError: If there is none, or one is NaN or infinite.
    """
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(
            f"Values must be (n,), finite, n > 0; got {numbers.shape}, "
            f"{np.count_nonzero(~np.isfinite(numbers))} of them NaN or infinite."
        )
    return numbers
