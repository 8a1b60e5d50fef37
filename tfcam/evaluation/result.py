"""The result of an evaluation: tables that say how far each method's maps can be trusted."""

from __future__ import annotations

import html
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tfcam.evaluation.aggregate import FRACTIONS, LeftOut, Minded, Tally
from tfcam.evaluation.gallery import Gallery
from tfcam.evaluation.intervals import mean_interval
from tfcam.evaluation.names import CandidateKey, MetricKey, candidate_name
from tfcam.evaluation.ranking import SIGNIFICANT
from tfcam.evaluation.report import named, panels_of, render
from tfcam.evaluation.statistics import compare_pairs
from tfcam.figures.charts import draw_means
from tfcam.metrics.measure import ANY, UNIT
from tfcam.utils.files import utf8, write_whole
from tfcam.utils.paths import as_path
from tfcam.utils.terminal_text import printable_lines

_KEYS = ["method", "layer"]


_COMPARED = ["metric", "first", "second", "difference", "low", "high", "p", "p_corrected"]


_COMPARED += ["n", "better"]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Methods, measured on the same pictures.

    Attributes:
        table: One row for each picture, method, layer and metric, with ``value``, and of the
            picture ``target`` (the explained class), ``label`` and ``probability``.
        summary: One row for each method, layer and metric: ``mean``, its 95 % interval ``low`` to
            ``high`` (Wilson's of values all or nearly all at an end of the range of their metric,
            else bootstrap-t; NaN of one picture), the number ``n`` of pictures, ``better``
            ("higher" or "lower"), and ``kind`` ("method", "explainer" or "baseline").
        comparisons: One row for each metric and pair of methods: the mean ``difference`` of first
            less second with its interval, ``p`` by Wilcoxon's test, ``p_corrected`` by Holm for
            all pairs of the metric, ``n``, the number of pictures that both were measured on, and
            ``better``, the better one where ``p_corrected`` is below 0.05 and zero is not in the
            interval, else "".
        curves: The mean curve of each method and metric that has one: ``fraction`` of the pixels,
            ``value``, ``low``, ``high``.
        skipped: What could not be used: ``image`` and ``reason``.
        findings: What the checks found about pictures and layers, as an ``Explanation`` says it:
            the ``code``, the ``message`` of the first of these pictures, and how many
            ``pictures`` they are.
        shown: The best and the worst pictures of each method by the leading metric.
        settings: What it was made of: model, data, options, versions.
    """

    table: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    curves: pd.DataFrame
    skipped: pd.DataFrame
    findings: pd.DataFrame
    shown: Mapping[CandidateKey, Gallery] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def best(self, metric: str) -> str:
        """Find the best method by a metric: its name, with its layer where it has one.

        Raises:
            ValueError: If the metric was not measured.
        """
        rows = self.summary[(self.summary.metric == metric) & (self.summary.kind != "baseline")]
        if rows.empty:
            measured = ", ".join(dict.fromkeys(self.summary.metric))
            raise ValueError(f"metric must be one of {measured}; got {metric!r}.")
        order = rows["mean"] if rows["better"].iloc[0] == "higher" else -rows["mean"]
        best = rows.loc[order.idxmax()]
        return candidate_name(best["method"], best["layer"])

    def wide(self) -> pd.DataFrame:
        """Pivot the means: a row for each method and layer, a column for each metric."""
        names = [candidate_name(m, at) for m, at in zip(*self._who(), strict=True)]
        rows, columns = dict.fromkeys(names), dict.fromkeys(self.summary.metric)
        means = self.summary.assign(name=names).pivot(index="name", columns="metric", values="mean")
        return means.loc[list(rows), list(columns)]

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write ``table`` as a Parquet file, whole or not at all.

        Raises:
            FileNotFoundError: If its folder does not exist.
        """
        stream = io.BytesIO()
        self.table.to_parquet(stream, index=False)
        path = as_path(path)
        write_whole(path, stream.getvalue())
        return path

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write a report that any browser shows, without a network: tables, curves, pictures.

        Raises:
            FileNotFoundError: If its folder does not exist.
        """
        text = render(
            summary=self.summary,
            comparisons=self.comparisons,
            curves=self.curves,
            skipped=self.skipped,
            findings=self.findings,
            shown=self.shown,
            settings=self.settings,
            pictures=self.pictures,
        )
        path = as_path(path)
        write_whole(path, utf8(text))
        return path

    def plot(self, metrics: Sequence[str] | None = None) -> Figure:
        """Draw the means with their intervals, a panel for each metric.

        Args:
            metrics: The metrics that are drawn; None for all.

        Raises:
            ValueError: If one was not measured.
        """
        measured = list(dict.fromkeys(self.summary.metric))
        metrics = measured if metrics is None else list(metrics)
        if unknown := [metric for metric in metrics if metric not in measured]:
            raise ValueError(f"metric must be one of {', '.join(measured)}; got {unknown[0]!r}.")
        return draw_means(panels_of(named(self.summary[self.summary.metric.isin(metrics)])))

    @property
    def pictures(self) -> int:
        """The number of pictures that were measured."""
        return int(self.settings.get("pictures", 0))

    def __repr__(self) -> str:
        left = f", {len(self.skipped)} left out" if len(self.skipped) else ""
        model = self.settings.get("model", "a model")
        head = f"Evaluation of {model!r} on {self.pictures} {self.settings.get('unit', 'pictures')}"
        head += left
        reasons: dict[str, list[str]] = {}
        for metric, reason in self.settings.get("not_measured", {}).items():
            reasons.setdefault(reason, []).append(metric)
        lines = [f"not measured: {', '.join(names)}: {why}" for why, names in reasons.items()]
        lines += self.to_mind()
        with pd.option_context("display.width", 200, "display.max_columns", 50):
            table = self.wide().round(3).to_string()
        return printable_lines([head, *lines, *table.split("\n")])

    def to_mind(self) -> list[str]:
        """Say what to mind, a line for each finding."""
        lines = [
            f"finding on {row.pictures} of {self.pictures} pictures: {row.code}: {row.message}"
            for row in self.findings.itertuples()
        ]
        return lines + [
            f"empty maps of {name}: {count} of {self.pictures}"
            for name, count in self.settings.get("empty_maps", {}).items()
        ]

    def _repr_html_(self) -> str:
        lines = "".join(f"<p>{html.escape(line, quote=False)}</p>" for line in self.to_mind())
        return lines + self.wide().round(3).to_html()

    def _who(self) -> tuple[pd.Series, pd.Series]:
        return self.summary["method"], self.summary["layer"]


def conclude(
    table: pd.DataFrame,
    tally: Tally,
    better: Mapping[str, str],
    kinds: Mapping[CandidateKey, str],
    settings: Mapping[str, Any],
    seed: int,
    ranges: Mapping[str, tuple[float, float]],
) -> Evaluation:
    """Sum up what was measured.

    Args:
        table: One row for each picture, method, layer and metric.
        tally: What else was kept.
        better: "higher" or "lower" for each metric, in the order in which they are shown.
        kinds: The kind of each method and layer, in the order in which they are shown.
        settings: What the evaluation was made of.
        seed: The seed of the intervals.
        ranges: The least and the largest value of metrics, where these are known.
    """
    measured = table.dropna(subset="value").groupby([*_KEYS, "metric"], sort=False)
    values = {key: rows["value"].to_numpy() for key, rows in measured}
    summary = []
    for metric, direction in better.items():
        for candidate, kind in kinds.items():
            if (key := MetricKey(*candidate, metric)) in values:
                within = ranges.get(metric, ANY)
                numbers = mean_interval(values[key], seed, within=within)
                count = len(values[key])
            elif key in tally.sets:
                numbers, count = tally.sets[key].interval(), tally.sets[key].images
            else:
                continue
            summary.append((*key, *numbers, count, direction, kind))
    names = [*_KEYS, "metric", "mean", "low", "high", "n", "better", "kind"]
    return Evaluation(
        table,
        pd.DataFrame(summary, columns=names),
        compare_candidates(table, better, seed, ranges),
        _curves(tally, ranges),
        pd.DataFrame(tally.skipped, columns=LeftOut._fields),
        pd.DataFrame(tally.minded.values(), columns=Minded._fields),
        dict(tally.galleries),
        {
            **settings,
            **tally.notes,
            "pictures": tally.pictures,
            "leading": tally.leading,
            "empty_maps": tally.empty,
        },
    )


def compare_candidates(
    table: pd.DataFrame,
    better: Mapping[str, str],
    seed: int,
    ranges: Mapping[str, tuple[float, float]],
) -> pd.DataFrame:
    """Test every pair of methods by every metric, on the pictures that both were measured on.

    Args:
        table: The table of an ``Evaluation``.
        better: "higher" or "lower" for each metric.
        seed: The seed of the intervals.
        ranges: The least and the largest value of metrics, where these are known.
    """
    rows = []
    for metric, direction in better.items():
        part = table[table["metric"] == metric]
        if part.empty:
            continue
        wide = part.pivot(index="image", columns=_KEYS, values="value")
        wide = wide[list(dict.fromkeys(zip(part["method"], part["layer"], strict=True)))]
        columns = [wide[key].to_numpy() for key in wide.columns]
        names = [candidate_name(*key) for key in wide.columns]
        for pair in compare_pairs(columns, seed, ranges.get(metric, ANY)):
            first, second = names[pair.first], names[pair.second]
            won = first if (pair.difference > 0) == (direction == "higher") else second
            sure = pair.p_corrected < SIGNIFICANT and not pair.low <= 0 <= pair.high
            better_one = won if sure else ""
            rows.append((metric, first, second, *pair[2:], better_one))
    return pd.DataFrame(rows, columns=_COMPARED)


def _curves(tally: Tally, ranges: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "method": method,
                "layer": layer,
                "metric": metric,
                "fraction": FRACTIONS,
                "value": mean,
                "low": np.maximum(mean - error, _curve_range(ranges, metric)[0]),
                "high": np.minimum(mean + error, _curve_range(ranges, metric)[1]),
            }
        ).dropna(subset="value")
        for (method, layer, metric), (mean, error) in tally.curves().items()
    ]
    names = [*_KEYS, "metric", "fraction", "value", "low", "high"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def _curve_range(ranges: Mapping[str, tuple[float, float]], metric: str) -> tuple[float, float]:
    """The range of a metric's curve, where it is one of probabilities as the metric is."""
    return UNIT if ranges.get(metric) == UNIT else ANY
