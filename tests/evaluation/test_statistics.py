"""Tests and corrections against loops, enumeration and hand arithmetic."""

import itertools

import numpy as np
import pytest
from scipy import stats

from tfcam.evaluation.intervals import mean_interval
from tfcam.evaluation.statistics import compare_pairs, holm, wilcoxon


def signed_rank_by_enumeration(differences):
    """Two-sided p over all 2^n signs, with ranks of the absolute values (no ties)."""
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    total = ranks.sum()
    seen = ranks[np.array(differences) > 0].sum()
    far = abs(seen - total / 2)
    signs = itertools.product((0, 1), repeat=len(ranks))
    sums = [sum(r for r, s in zip(ranks, each, strict=True) if s) for each in signs]
    return np.mean([abs(each - total / 2) >= far for each in sums])


@pytest.mark.parametrize("count", [5, 8, 10])
def test_wilcoxon_is_the_enumeration_of_signs(rng, count):
    first, second = rng.normal(0.3, 1, count), rng.normal(0, 1, count)
    wanted = signed_rank_by_enumeration(first - second)
    assert wilcoxon(first, second) == pytest.approx(wanted)
    assert wilcoxon(second, first) == pytest.approx(wanted)


def test_wilcoxon_of_equals_is_one_and_leaves_ties_out(rng):
    values = rng.random(9)
    assert wilcoxon(values, values) == 1
    first, second = rng.random(8), rng.random(8)
    same = np.ones(4)
    padded = wilcoxon(np.r_[first, same], np.r_[second, same])
    assert padded == wilcoxon(first, second)


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, never falling: .02 .03 .06 .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert holm([0.2]) == pytest.approx([0.2])
    assert holm([]).shape == (0,)


def test_holm_finds_falsely_at_most_as_often_as_it_says(rng):
    false = sum((holm(rng.random(10)) < 0.05).any() for _ in range(2000))
    assert false / 2000 < 0.07


def test_pairs_hold_every_method_against_every_other(rng):
    values = [rng.random(20), rng.random(20) + 1, rng.random(20) + 2]
    pairs = compare_pairs(values)
    assert [each[:2] for each in pairs] == [(0, 1), (0, 2), (1, 2)]
    for a, b, difference, low, high, p, corrected, n in pairs:
        assert n == 20
        assert difference == pytest.approx(values[a].mean() - values[b].mean())
        assert low < difference < high < 0
        assert p == wilcoxon(values[a], values[b])
        assert p <= corrected <= 3 * p * (1 + 1e-12)


def test_methods_on_different_pictures_are_not_compared():
    with pytest.raises(ValueError, match="same pictures; got 2 and 3"):
        wilcoxon([1, 2], [1, 2, 3])


def test_missing_values_of_one_method_are_no_matter_for_others(rng):
    first, second, third = rng.random((3, 20)) + np.array([[0.5], [0], [0.2]])
    alone = compare_pairs([first, second])[0]
    third[3:] = np.nan
    pairs = compare_pairs([first, second, third])
    assert [pair.n for pair in pairs] == [20, 3, 3]
    assert pairs[0].p == alone.p < 0.05
    assert pairs[0][2:5] == pytest.approx(alone[2:5])
    assert pairs[1].p == wilcoxon(first[:3], third[:3])
    assert pairs[1].difference == pytest.approx((first - third)[:3].mean())


def test_a_pair_without_common_pictures_has_no_difference():
    [pair] = compare_pairs([np.array([1, np.nan]), np.array([np.nan, 1])])
    assert (pair.n, pair.p, pair.p_corrected) == (0, 1, 1)
    assert np.isnan(pair[2:5]).all()


def test_pairs_that_share_their_pictures_share_their_samples(rng):
    values = list(rng.random((3, 30)))
    for pair in compare_pairs(values, seed=4):
        wanted = mean_interval(values[pair.first] - values[pair.second], seed=4)
        assert pair[2:5] == pytest.approx(wanted)


def test_equal_shares_are_not_certain_to_be_equal():
    hits = np.ones(20)
    [pair] = compare_pairs([hits, hits])
    assert (pair.difference, pair.p) == (0, 1)
    assert pair.low < -0.1 < 0.1 < pair.high


@pytest.mark.parametrize("noise", [1e-9, -1e-9, 1e-7])
@pytest.mark.parametrize("size", [1, 1e-3, 1e5])
def test_what_differs_by_rounding_is_equal(rng, size, noise):
    values = rng.random(20) * size
    assert wilcoxon(values, values + noise * size) == 1
    assert wilcoxon(values, values * (1 + noise)) == 1


def test_small_values_differ_by_as_little(rng):
    values = rng.random(20) * 1e-9
    assert wilcoxon(values, values + 1e-9) < 1e-5


def test_differences_that_tie_but_for_rounding_are_tied():
    # All are 0.1, so all ranks are equal: 2 / 2^6 for six of one sign, whatever floats make of it.
    first, second = np.array([0.3, 0.8, 0.4, 1.1, 0.2, 0.7]), np.array([0.2, 0.7, 0.3, 1, 0.1, 0.6])
    mixed = np.array([1, 1, 1, 1, 1, -1])
    assert wilcoxon(first, second) == 2 / 2**6
    swapped = [np.where(mixed > 0, *pair) for pair in ((first, second), (second, first))]
    assert wilcoxon(*swapped) == pytest.approx(2 * (1 + 6) / 2**6)  # McNemar's: none or one of six


@pytest.mark.parametrize("count", [20, 80])
def test_p_is_that_of_scipy_where_it_has_no_ties(rng, count):
    first, second = rng.random(count), rng.random(count) + 0.1
    method = "exact" if count <= 50 else "approx"
    assert wilcoxon(first, second) == pytest.approx(
        stats.wilcoxon(first - second, method=method)[1]
    )
