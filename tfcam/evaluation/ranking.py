"""Methods in the order of their ranks, and which of them differ from the best."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tfcam.evaluation.statistics import holm, rounding, wilcoxon

SIGNIFICANT = 0.05


_NOTHING = (
    "To rank methods a metric must give numbers for two of them on the same picture; none does."
)


class Meeting(NamedTuple):
    """How two methods compare on the pictures that both have.

    Attributes:
        lost: The mean share of the metrics by which the first is worse; equal ones count half, as
            do pictures that one of them lacks.
        p: By Wilcoxon's test of the pictures' mean ranks; 1 without such pictures.
        n: The number of pictures.
    """

    lost: float
    p: float
    n: int


def rank_candidates(table: pd.DataFrame, better: Mapping[str, str]) -> pd.DataFrame:
    """Rank methods by their mean rank over pictures and metrics, with p against the best.

    A rank is one more than the number of methods that are better; one that is as good, but for
    rounding, counts half, and so does one on a picture that it or they lack.

    Args:
        table: As in ``Evaluation``.
        better: "higher" or "lower" for each metric.

    Returns:
        A row for each method and layer, best first: method, layer, rank, n (the number of pictures
        on which it was measured), shared (on which the best was, too), p (of its ranks against
        those of the best on these, by Wilcoxon's test, corrected by Holm for all pairs of methods,
        as the best is chosen on the same pictures) and differs.

    Raises:
        ValueError: If no two methods were measured on the same picture.

    Source: Friedman 1937, "The use of ranks to avoid the assumption of normality implicit in the
        analysis of variance"; Demsar 2006.
    """
    wide = table.pivot(index="image", columns=["metric", "method", "layer"], values="value")
    keys = pd.MultiIndex.from_frame(table[["method", "layer"]].drop_duplicates())
    costs = [
        wide[metric].reindex(columns=keys).to_numpy() * (-1 if better[metric] == "higher" else 1)
        for metric in wide.columns.unique("metric")
    ]
    if not costs:
        raise ValueError(_NOTHING)
    ranks = np.stack([_rank(of_metric) for of_metric in costs])
    pairs = list(itertools.combinations(range(len(keys)), 2))
    met = [_meet(ranks[..., a], ranks[..., b]) for a, b in pairs]
    counts = np.isfinite(ranks).any(axis=0).sum(axis=0)
    if not any(meeting.n for meeting in met) and (met or not counts.any()):
        raise ValueError(_NOTHING)
    means, p, shared = np.ones(len(keys)), np.eye(len(keys)), np.diag(counts)
    for (a, b), meeting, corrected in zip(pairs, met, holm([m.p for m in met]), strict=True):
        means[a] += meeting.lost
        means[b] += 1 - meeting.lost
        p[a, b] = p[b, a] = corrected
        shared[a, b] = shared[b, a] = meeting.n
    order = np.argsort(means, kind="stable")
    best = order[0]
    return (
        keys[order]
        .to_frame(index=False)
        .assign(
            rank=means[order],
            n=counts[order],
            shared=shared[best, order],
            p=p[best, order],
            differs=p[best, order] < SIGNIFICANT,
        )
    )


def _rank(costs: np.ndarray) -> np.ndarray:
    """Rank each row from its smallest; what differs by rounding shares a rank, NaN has none."""
    order = np.argsort(costs, axis=1)
    rising = np.take_along_axis(costs, order, axis=1)
    steps = np.diff(rising, axis=1) > rounding(costs)
    levels = np.full_like(costs, 0)
    np.put_along_axis(levels, order[:, 1:], np.cumsum(steps, axis=1), axis=1)
    return stats.rankdata(np.where(np.isnan(costs), np.nan, levels), axis=1, nan_policy="omit")


def _meet(first: np.ndarray, second: np.ndarray) -> Meeting:
    """Compare the ranks of two methods, (metrics, pictures); NaN where one has none."""
    both = np.isfinite(first) & np.isfinite(second)
    used, weights = both.any(axis=0), both / np.maximum(both.sum(axis=0), 1)
    if not used.any():
        return Meeting(0.5, 1.0, 0)
    lost = np.where(both, (first > second) + (first == second) / 2, 0)
    a, b = ((np.where(both, ranks, 0) * weights).sum(axis=0)[used] for ranks in (first, second))
    share = np.where(used, (lost * weights).sum(axis=0), 0.5).mean()
    return Meeting(float(share), wilcoxon(a, b), int(used.sum()))
