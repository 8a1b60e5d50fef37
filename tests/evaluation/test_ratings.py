"""Ratings of people: Bradley-Terry, agreement and consistency by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import tfcam
from tfcam.evaluation.ratings import (
    agreement,
    consistency,
    krippendorff_alpha,
    metric_agreement,
    read_ratings,
    strengths,
    write_ratings,
)


def table(rows):
    """Ratings of rows (rater, picture, left, right, answer, repeated)."""
    names = ["rater", "picture", "left", "right", "answer", "repeated"]
    return pd.DataFrame(rows, columns=names)


def duels(first, second, won, lost, ties=0, start=0):
    """Answers on a picture each; sides change from one to the next."""
    rows = []
    for number, best in enumerate([first] * won + [second] * lost + [""] * ties):
        left, right = (first, second) if number % 2 else (second, first)
        answer = {left: "left", right: "right"}.get(best, "tie" if number % 4 else "neither")
        rows.append(("a", f"{start + number}", left, right, answer, False))
    return rows


def test_two_methods_by_hand():
    found = strengths(table(duels("cam", "rise", 30, 10))).set_index("method")
    half = np.log(3) / 2
    assert found["strength"].to_dict() == pytest.approx({"cam": half, "rise": -half})
    # The variance of log(30 / 10) is 1 / (n p q); half of it is the strength's deviation.
    reach = stats.t.ppf(0.975, 39) * np.sqrt(1 / (40 * 0.75 * 0.25) * 40 / 39) / 2
    assert found.loc["cam", "high"] == pytest.approx(half + reach)
    assert found.loc["cam", "low"] == pytest.approx(half - reach)
    assert found[["wins", "ties", "losses"]].to_numpy().tolist() == [[30, 0, 10], [10, 0, 30]]


def test_three_methods_whose_counts_are_those_expected():
    rows = duels("a", "b", 10, 20) + duels("b", "c", 10, 20, start=30)
    rows += duels("a", "c", 6, 24, start=60)  # strengths 1 : 2 : 4
    found = strengths(table(rows))
    assert found["method"].tolist() == ["c", "b", "a"]
    np.testing.assert_allclose(found["strength"], [np.log(2), 0, -np.log(2)], atol=1e-9)
    assert (found["low"] < found["strength"]).all()
    swapped = table(
        [
            (r, p, right, left, {"left": "right", "right": "left"}.get(a, a), f)
            for r, p, left, right, a, f in rows
        ]
    )
    pd.testing.assert_frame_equal(strengths(swapped), found)


def test_a_tie_is_half_a_win_and_neither_too():
    found = strengths(table(duels("a", "b", 20, 5, ties=15)))
    assert found["strength"][0] == pytest.approx(np.log(27.5 / 12.5) / 2)
    assert found["ties"].tolist() == [15, 15]


def test_intervals_take_answers_on_one_picture_together():
    alone = table(duels("a", "b", 30, 10))
    thrice = pd.concat([alone.assign(rater=name) for name in "xyz"], ignore_index=True)
    one, three = strengths(alone), strengths(thrice)
    np.testing.assert_allclose(three["strength"], one["strength"], atol=1e-9)
    np.testing.assert_allclose(three["high"], one["high"], atol=1e-9)  # no more is known
    assert strengths(alone.assign(picture="same"))["low"].isna().all()


def test_repeated_answers_count_for_no_strength():
    once = table(duels("a", "b", 6, 3))
    again = once.assign(repeated=True, answer="left")
    pd.testing.assert_frame_equal(strengths(pd.concat([once, again])), strengths(once))


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say(rng):
    truth, held = np.array([0.6, 0.0, -0.6]), []
    for _ in range(200):
        pairs = np.array([rng.choice(3, 2, replace=False) for _ in range(90)])
        chance = 1 / (1 + np.exp(truth[pairs[:, 1]] - truth[pairs[:, 0]]))
        answers = np.where(rng.random(90) < chance, "left", "right")
        sides = np.array(list("abc"))[pairs]
        rows = [
            ("r", str(n), *side, answer, False)
            for n, (side, answer) in enumerate(zip(sides, answers, strict=True))
        ]
        found = strengths(table(rows)).set_index("method").loc[list("abc")]
        held.append(((found["low"] < truth) & (truth < found["high"])).to_numpy())
    assert 0.9 < np.mean(held) < 0.99


def test_methods_that_never_lose_are_refused():
    rows = duels("a", "b", 5, 0) + duels("b", "c", 3, 3, start=9)
    with pytest.raises(ValueError, match="won and lost against the others; a have not"):
        strengths(table(rows))
    with pytest.raises(ValueError, match="a, b have not"):
        strengths(table(duels("a", "b", 2, 2) + duels("c", "d", 2, 2, start=9)))


def test_krippendorffs_own_example():
    rows = ["1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 ."]
    rows.append("1 2 3 3 2 4 4 1 2 5 1 .")
    units = [[v for v in unit if v != "."] for unit in zip(*map(str.split, rows), strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1
    assert np.isnan(krippendorff_alpha([["a", "a"], ["a", "a"]]))
    assert np.isnan(krippendorff_alpha([["a"], ["b"]]))


def test_raters_agree_whatever_the_sides():
    rows = [
        ("x", "1", "a", "b", "left", False),
        ("y", "1", "b", "a", "right", False),
        ("x", "2", "a", "b", "right", False),
        ("y", "2", "a", "b", "right", False),
        ("x", "3", "a", "b", "left", False),
        ("y", "3", "b", "a", "left", False),
        ("y", "3", "b", "a", "right", True),  # counts for consistency alone
    ]
    assert agreement(table(rows)) == pytest.approx(1 - 5 * 2 / 18)
    assert np.isnan(agreement(table(rows[:1])))


def test_consistency_of_repeated_pairs():
    rows = [
        ("x", "1", "a", "b", "left", False),
        ("x", "1", "b", "a", "right", True),
        ("x", "2", "a", "b", "tie", False),
        ("x", "2", "a", "b", "left", True),
        ("y", "1", "a", "b", "left", False),
    ]
    found = consistency(table(rows))
    assert found[["rater", "consistency", "n"]].to_numpy().tolist() == [["x", 0.5, 2]]
    assert 0 < found["low"][0] < 0.5 < found["high"][0] < 1


@pytest.mark.slow
def test_metrics_that_prefer_what_people_prefer():
    scenes = [
        tfcam.Example(f"{n}", one.image, mask=one.masks[0])
        for n, one in enumerate(map(tfcam.scenes.draw_scene, range(3)))
    ]
    measured = tfcam.evaluate(
        tfcam.demo_model(),
        scenes,
        methods=["cam"],
        metrics=["energy", "entropy"],
        baselines=["centre_gaussian", "random_map"],
    )
    wide = measured.table[measured.table.metric == "energy"].assign(
        name=lambda rows: rows["method"].replace("cam", "cam at features")
    )
    of = wide.set_index(["image", "name"])["value"]
    rows = []
    for number, (a, b) in enumerate(
        [
            ("cam at features", "random_map"),
            ("cam at features", "centre_gaussian"),
            ("centre_gaussian", "random_map"),
        ]
        * 3
    ):
        picture = str(number // 3)
        answer = "left" if of[picture, a] > of[picture, b] else "right"
        rows.append(("x", picture, a, b, answer, False))
    # Ties, so that strengths are finite, say nothing of what is preferred.
    rows += [("y", "0", a, b, "tie", False) for _, _, a, b, _, _ in rows[:3]]
    found = metric_agreement(table(rows), measured).set_index("metric")
    assert found.loc["energy", "agreement"] == 1
    assert found.loc["energy", "n"] == 3
    means, power = of.groupby("name").mean(), strengths(table(rows)).set_index("method")["strength"]
    wanted = stats.spearmanr(means[power.index], power).statistic
    assert found.loc["energy", "correlation"] == pytest.approx(wanted)
    with pytest.raises(ValueError, match="none is. Methods are named as cam at features, centre"):
        metric_agreement(table(duels("cam", "rise", 2, 2)), measured)


def test_ratings_are_kept(tmp_path):
    first, second = table(duels("a", "b", 2, 1)), table(duels("a", "c", 1, 1))
    write_ratings(first, tmp_path / "1.parquet")
    pd.testing.assert_frame_equal(read_ratings(tmp_path / "1.parquet"), first)
    write_ratings(second.assign(more=1), tmp_path / "2.parquet")
    both = pd.concat([first, second], ignore_index=True)
    pd.testing.assert_frame_equal(read_ratings(tmp_path), both)
    with pytest.raises(ValueError, match="must be a Parquet file of ratings at"):
        read_ratings(tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "both"}, "An answer is one of left, right, tie, neither; got 'both'"),
        ({"right": "a", "left": "a"}, "Two different methods are compared; got 'a' twice"),
        ({"repeated": 2}, "repeated must be true or false; got int64"),
    ],
)
def test_what_is_no_rating_is_one_clear_error(change, message):
    with pytest.raises(ValueError, match=message):
        strengths(table(duels("a", "b", 2, 2)).assign(**change))


def test_columns_and_rows_that_are_missing_are_told():
    ratings = table(duels("a", "b", 2, 2))
    with pytest.raises(ValueError, match="answer, repeated; rater is missing"):
        strengths(ratings.drop(columns="rater"))
    with pytest.raises(ValueError, match="at least one rating; got none"):
        agreement(ratings.iloc[:0])
