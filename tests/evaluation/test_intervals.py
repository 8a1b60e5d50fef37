"""Intervals against plain loops, tables and simulations of what they hold."""

import numpy as np
import pytest
from scipy import stats

from tests.coverage import POPULATIONS, covered, covered_shares
from tfcam.evaluation.intervals import (
    mean_interval,
    share_difference_interval,
    share_interval,
    varying_share_interval,
)
from tfcam.evaluation.statistics import compare_pairs


def test_the_interval_is_bootstrap_t_and_at_least_students(rng):
    values = rng.lognormal(0, 1, 15)
    mean, low, high = mean_interval(values, seed=5, resamples=400)
    draws = np.random.default_rng(5).integers(15, size=(400, 15))
    added, ratios = values.var(ddof=1) / 15, []
    for row in draws:
        sample = values[row]
        ratios.append((sample.mean() - mean) / np.sqrt((sample.var(ddof=1) + added) / 15))
    student, error = stats.t.ppf(0.975, 14), np.sqrt((values.var(ddof=1) + added) / 15)
    below, above = np.percentile(ratios, [2.5, 97.5])
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - max(above, student) * error)
    assert high == pytest.approx(mean - min(below, -student) * error)
    assert high - mean > mean - low  # the long tail is above


@pytest.mark.parametrize("count", [10, 20])
@pytest.mark.parametrize("name", POPULATIONS)
def test_the_interval_holds_the_mean_as_often_as_it_says(name, count):
    # 0.95 to two standard errors of 400 trials, each seeded.
    assert 0.92 <= covered(POPULATIONS[name], count, trials=400, resamples=400) <= 0.985


@pytest.mark.parametrize("count", [10, 20])
def test_values_that_crowd_at_an_end_are_nearly_a_share(count):
    """As the average drop of fine-grained maps: nearly all near 1, a few anywhere below."""
    rng = np.random.default_rng(2)
    values = 1 - rng.exponential(0.002, 238)
    values[:12] = rng.uniform(0, 0.98, 12)
    assert covered(values, count, trials=400, resamples=400) < 0.75  # of what a sample tells
    assert covered(values, count, trials=400, resamples=400, within=(0.0, 1.0)) > 0.93


def test_the_interval_of_nearly_a_share_is_wilsons():
    values = [0.5, *np.linspace(0.981, 1, 9)]
    wilson = share_interval(np.mean(values), 10)
    assert mean_interval(values, within=(0.0, 1.0)) == pytest.approx(wilson)
    _, low, high = mean_interval(3 - 2 * np.array(values), within=(1.0, 3.0))
    assert (low, high) == pytest.approx((3 - 2 * wilson.high, 3 - 2 * wilson.low))
    small = np.linspace(0.985, 0.995, 20)
    for fewer in ([*values[:-1], 0.979], [*values, 0.5], [*values[:-1], 1.01], small):
        # More than a tenth elsewhere, or beyond the range, or near the end and not at it.
        wilson = share_interval(np.mean(fewer), len(fewer))
        assert mean_interval(fewer, within=(0.0, 1.0)).high != pytest.approx(wilson.high)


def test_what_is_beyond_its_range_by_rounding_is_at_its_end():
    """As the energy of maps that are all in the box: it was said to be 1 without any doubt."""
    values = np.full(5, np.nextafter(1, 2))
    assert mean_interval(values, within=(0.0, 1.0)) == mean_interval(np.ones(5))
    assert mean_interval([-1e-9, 0, 0], within=(0.0, np.inf)) == mean_interval(np.zeros(3))
    assert mean_interval(values)[1:] == (values[0], values[0])
    beyond = [1, 1, 1, 1, 1.00001]
    assert mean_interval(beyond, within=(0.0, 1.0)) == mean_interval(beyond)


@pytest.mark.parametrize("count", [10, 20, 50])
def test_the_interval_of_a_share_holds_it_as_often_as_it_says(count):
    assert 0.94 <= covered_shares(count, trials=4000) <= 0.96


def test_an_interval_is_the_same_with_a_seed_and_drawn_in_parts(rng, monkeypatch):
    values = rng.random(50) ** 4
    whole = mean_interval(values, 1)
    assert whole == mean_interval(values, 1) != mean_interval(values, 2)
    monkeypatch.setattr("tfcam.evaluation.intervals._AT_ONCE", 500)
    assert mean_interval(values, 1) == pytest.approx(whole)  # the same draws, row by row


def test_wilsons_interval_is_that_of_scipy():
    for hits, count in [(0, 10), (3, 10), (10, 10), (1, 1), (19, 20)]:
        wanted = stats.binomtest(hits, count).proportion_ci(method="wilson")
        values = [1] * hits + [0] * (count - hits)
        assert mean_interval(values)[1:] == pytest.approx((wanted.low, wanted.high))
        assert share_interval(hits / count, count)[1:] == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize("within", [(0, 1), (-1, 1), (0, np.inf)])
def test_an_interval_ends_where_the_values_do(within):
    """Of two values Student's t is 12.7: of 0.2 and 0.6 it alone reaches from -2.1 to 2.9."""
    mean, low, high = mean_interval([0.2, 0.6], within=within)
    assert (mean, low) == (pytest.approx(0.4), within[0])
    assert high == within[1] if within[1] == 1 else high > 2
    assert mean_interval([0.2, 0.6])[1] < -2
    assert mean_interval([2.0, 6.0], within=(0, 1)) == mean_interval([2.0, 6.0])  # no share


def test_a_difference_of_two_methods_is_at_most_the_range_of_their_values():
    values = [np.array([0.1, 0.9]), np.array([0.6, 0.1])]
    [pair] = compare_pairs(values, within=(0, 1))
    assert (pair.low, pair.high) == (-1, 1)
    [wide] = compare_pairs(values)
    assert wide.low < -1
    assert wide.high > 1


@pytest.mark.parametrize("count", [1, 2, 20])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_hits_or_none_are_not_certain(value, count):
    mean, low, high = mean_interval([value] * count)
    assert mean == value
    assert low <= mean <= high
    assert high - low == pytest.approx(1.96**2 / (count + 1.96**2), abs=1e-4)  # Wilson's


def test_equal_values_have_no_width_and_one_says_nothing_of_others():
    assert mean_interval([0.1] * 7) == (0.1, 0.1, 0.1)
    mean, low, high = mean_interval([0.1])
    assert mean == 0.1
    assert np.isnan([low, high]).all()


def test_two_values_have_at_least_students_interval():
    mean, low, high = mean_interval([0.2, 0.4])
    assert mean == pytest.approx(0.3)
    assert min(mean - low, high - mean) >= 12.7 * 0.1


def test_shares_of_the_same_pictures_differ_within_wald_of_two_more():
    first, second = np.repeat([1, 0, 1, 0], [6, 1, 3, 10]), np.repeat([0, 1, 1, 0], [6, 1, 3, 10])
    mean, low, high = share_difference_interval(first, second)
    assert mean == pytest.approx(5 / 20)
    half = 1.959964 * np.sqrt((7 / 22 + 2 / 22 - (5 / 22) ** 2) / 22)
    assert (low, high) == pytest.approx((5 / 22 - half, 5 / 22 + half))


def test_a_share_that_varies_as_that_of_few_pictures_is_as_sure_as_theirs(rng):
    samples = rng.normal(0.4, np.sqrt(0.4 * 0.6 / 25), 200_000)
    _, low, high = varying_share_interval(0.4, samples, 10**6)
    assert (low, high) == pytest.approx(share_interval(0.4, 25)[1:], abs=0.002)
    assert varying_share_interval(1.0, [1.0] * 9, 12) == share_interval(1.0, 12)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(ValueError, match=r"Values must be \(n,\), finite, n > 0"):
        mean_interval(values)
