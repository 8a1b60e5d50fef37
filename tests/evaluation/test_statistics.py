"""Intervals, tests and corrections against loops, enumeration and hand arithmetic."""

import itertools

import numpy as np
import pytest

from tfcam.evaluation.statistics import compare_pairs, holm, mean_interval, wilcoxon


def test_the_interval_is_that_of_resampled_means(rng):
    values = rng.normal(3, 2, 40)
    mean, low, high = mean_interval(values, seed=5, resamples=300)
    draws = np.random.default_rng(5).integers(40, size=(300, 40))
    means = sorted(sum(values[i] for i in row) / 40 for row in draws)

    def percentile(q):  # linear between the two nearest
        place = q / 100 * 299
        below = int(place)
        return means[below] + (place - below) * (means[below + 1] - means[below])

    assert mean == pytest.approx(sum(values) / 40)
    assert (low, high) == pytest.approx((percentile(2.5), percentile(97.5)))


def test_the_interval_holds_the_true_mean_as_often_as_it_says(rng):
    held = 0
    for trial in range(200):
        _, low, high = mean_interval(rng.normal(0, 1, 60), seed=trial, resamples=400)
        held += low <= 0 <= high
    assert 0.90 <= held / 200 <= 0.99  # 0.95 with a standard error of 0.015, and n = 60


def test_an_interval_is_the_same_with_a_seed_and_drawn_in_parts(rng, monkeypatch):
    values = rng.random(50)
    whole = mean_interval(values, 1)
    assert whole == mean_interval(values, 1) != mean_interval(values, 2)
    monkeypatch.setattr("tfcam.evaluation.statistics._AT_ONCE", 500)
    assert mean_interval(values, 1) == pytest.approx(whole)  # the same draws, row by row


def test_equal_values_and_a_single_one_have_no_width():
    assert mean_interval([0.1]) == (0.1, 0.1, 0.1)
    assert mean_interval([0.1] * 7) == (0.1, 0.1, 0.1)


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
    for a, b, difference, low, high, p, corrected in pairs:
        assert difference == pytest.approx(values[a].mean() - values[b].mean())
        assert low < difference < high < 0
        assert p == wilcoxon(values[a], values[b])
        assert p <= corrected <= 3 * p * (1 + 1e-12)


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(ValueError, match=r"Values must be \(n,\), finite, n > 0"):
        mean_interval(values)


def test_methods_on_different_pictures_are_not_compared():
    with pytest.raises(ValueError, match="same pictures; got 2 and 3"):
        wilcoxon([1, 2], [1, 2, 3])
