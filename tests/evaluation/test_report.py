"""The page of an evaluation: what it says of the methods."""

import pandas as pd

from tfcam.evaluation.report import panels_of, verdicts


def test_who_is_behind_the_best_level_with_it_and_ahead_on_the_pictures_that_both_have():
    means = {"cam": 0.9, "rise": 0.8, "lime": 0.7, "lrp": 0.6, "hill": 1.0}
    summary = pd.DataFrame(
        {"name": name, "method": name, "layer": "", "metric": "energy", "mean": mean}
        for name, mean in means.items()
    ).assign(better="higher", kind=["method"] * 4 + ["baseline"])
    pairs = [
        ("cam", "rise", "rise", 5),  # of fewer pictures
        ("lime", "cam", "", 9),
        ("cam", "lrp", "cam", 9),
        ("lime", "lrp", "lime", 9),
    ]
    comparisons = pd.DataFrame(pairs, columns=["first", "second", "better", "n"])
    (found,) = verdicts(summary, comparisons.assign(metric="energy"))
    assert found == ("energy", "cam", ["lime"], 1, ["rise"], "5 to 9")
    (low,) = verdicts(
        summary.assign(better="lower"), comparisons.assign(metric="energy").iloc[[1, 3]]
    )
    assert low == ("energy", "lrp", [], 0, ["lime"], "9")


def test_a_method_alone_has_a_panel():
    row = {"name": "cam", "metric": "gini", "mean": 0.5, "low": 0.4, "high": 0.6}
    (panel,) = panels_of(pd.DataFrame([row | {"better": "lower", "kind": "baseline"}]))
    assert (panel.title, panel.names, panel.quiet) == ("gini ↓", ["cam"], [True])
    assert panel.numbers.tolist() == [[0.5, 0.4, 0.6]]
