"""An evaluation as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from tfcam.evaluation.gallery import Gallery, Shown
from tfcam.evaluation.names import CandidateKey, candidate_name
from tfcam.figures.charts import BANDS, Line, Means, draw_curves, draw_means

_ARROWS = {"higher": "↑", "lower": "↓"}


class Column(NamedTuple):
    """A metric as the head of a column: its name, in words, and what it means."""

    name: str
    words: str
    arrow: str
    better: str
    meaning: str


class TableCell(NamedTuple):
    """A mean of the table.

    Attributes:
        mean: In digits.
        interval: In words; "" where it is not known.
        best: Whether it reads the same as the best.
        beaten: Whether a baseline is as good.
        n: The number of pictures.
    """

    mean: str
    interval: str
    best: bool
    beaten: bool
    n: int


class TableRow(NamedTuple):
    """A method, what it is, and its cells: None where a metric gives nothing."""

    name: str
    kind: str
    cells: list[TableCell | None]


class Verdict(NamedTuple):
    """The best method by a metric, and how the others compare with it.

    Attributes:
        metric: The metric.
        best: The method with the best mean.
        equal: Those that can't be told from it.
        worse: The number of those that are significantly worse.
        better: Those that are significantly better on the pictures that both have.
        n: The number of pictures, from the fewest that a pair has to the most.
    """

    metric: str
    best: str
    equal: list[str]
    worse: int
    better: list[str]
    n: str


class Picture(NamedTuple):
    """A picture of the report: its data URL, its name, its label, its value in digits."""

    source: str
    image: str
    label: str
    value: str


def render(
    *,
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    curves: pd.DataFrame,
    skipped: pd.DataFrame,
    findings: pd.DataFrame,
    shown: Mapping[CandidateKey, Gallery],
    settings: Mapping[str, Any],
    pictures: int,
) -> str:
    """Write the report.

    Args:
        summary: The table of means of an ``Evaluation``.
        comparisons: Its table of pairs of methods.
        curves: Its table of mean curves.
        skipped: Its table of what was left out.
        findings: Its table of what to mind.
        shown: The best and worst pictures of each method.
        settings: The settings of the evaluation.
        pictures: The number of pictures that were measured.

    Returns:
        The HTML of the whole file.
    """
    summary = named(summary)
    meanings = settings.get("meanings", {})
    better = {metric: rows["better"].iloc[0] for metric, rows in _by_metric(summary)}
    columns = [
        Column(metric, metric.replace("_", " "), _ARROWS[way], way, meanings.get(metric, ""))
        for metric, way in better.items()
    ]
    template = resources.files("tfcam").joinpath("assets/report.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        settings=_flat(settings),
        model=settings.get("model", "a model"),
        data=settings.get("data", "pictures"),
        pictures=pictures,
        bands=BANDS,
        columns=columns,
        rows=table_rows(summary, [column.name for column in columns]),
        means=_svg(draw_means(panels_of(summary)), "The means and intervals of the table above"),
        curves=_curves(curves, summary),
        verdicts=verdicts(summary, comparisons),
        shown=[
            {
                "name": candidate_name(*key),
                "best": list(map(_picture, gallery.best)),
                "worst": list(map(_picture, gallery.worst)),
            }
            for key, gallery in shown.items()
        ],
        leading=settings.get("leading", ""),
        skipped=skipped.to_dict("records"),
        findings=findings.to_dict("records"),
    )


def named(table: pd.DataFrame) -> pd.DataFrame:
    """Add a column ``name``, the method with its layer; without where all have the same layer."""
    layers = {layer for layer in table["layer"] if layer}
    pairs = zip(table["method"], table["layer"], strict=True)
    several = len(layers) > 1
    return table.assign(name=[candidate_name(m, at if several else "") for m, at in pairs])


def panels_of(summary: pd.DataFrame) -> list[Means]:
    """Make a panel of means for each metric."""
    return [
        Means(
            f"{metric} {_ARROWS[rows['better'].iloc[0]]}",
            rows["name"].to_list(),
            rows[["mean", "low", "high"]].to_numpy(),
            (rows["kind"] == "baseline").to_list(),
        )
        for metric, rows in _by_metric(summary)
    ]


def table_rows(summary: pd.DataFrame, metrics: Sequence[str]) -> list[TableRow]:
    """Make the rows of the table of means, one for each method.

    Args:
        summary: The means, with a column ``name``.
        metrics: The columns.
    """
    cells: dict[tuple[str, str], TableCell] = {}
    for metric, rows in _by_metric(summary):
        sign = 1 if rows["better"].iloc[0] == "higher" else -1
        good = sign * rows["mean"]
        baseline = rows["kind"] == "baseline"
        best = number(sign * good[~baseline].max()) if not baseline.all() else ""
        bar = good[baseline].max() if baseline.any() else -np.inf
        for place, (_, row) in enumerate(rows.iterrows()):
            mean, competes = number(row["mean"]), not baseline.iloc[place]
            cells[row["name"], metric] = TableCell(
                mean,
                _range(row["low"], row["high"]),
                competes and mean == best,
                competes and bool(good.iloc[place] <= bar),
                row["n"],
            )
    kinds = dict(zip(summary["name"], summary["kind"], strict=True))
    return [
        TableRow(name, kind, [cells.get((name, metric)) for metric in metrics])
        for name, kind in kinds.items()
    ]


def verdicts(summary: pd.DataFrame, comparisons: pd.DataFrame) -> list[Verdict]:
    """Find the best method by each metric, and those that can't be told from it.

    Args:
        summary: The means, with a column ``name``.
        comparisons: The table of pairs of methods of an ``Evaluation``.
    """
    results = []
    short = {candidate_name(*key): name for key, name in _by_candidate(summary, "name").items()}
    for metric, rows in _by_metric(summary[summary["kind"] != "baseline"]):
        sign = 1 if rows["better"].iloc[0] == "higher" else -1
        best = rows.iloc[int((sign * rows["mean"]).argmax())]
        name = candidate_name(best["method"], best["layer"])
        tested = comparisons[comparisons["metric"] == metric]
        pairs = tested[(tested["first"] == name) | (tested["second"] == name)]
        if pairs.empty:
            continue
        others = pairs["first"].where(pairs["first"] != name, pairs["second"])
        winner = pairs["better"]
        results.append(
            Verdict(
                metric,
                best["name"],
                [short[other] for other in others[winner == ""]],
                int((winner == name).sum()),
                [short[other] for other in others[(winner != "") & (winner != name)]],
                " to ".join(map(str, sorted({pairs["n"].min(), pairs["n"].max()}))),
            )
        )
    return results


def number(value: float) -> str:
    """Write a number with three digits behind the point, or as many as say something.

    Example:
        >>> number(0.12345), number(123.456), number(0.0000123)
        ('0.123', '123', '1.23e-05')
    """
    if value == 0 or 0.001 <= abs(value) < 100:
        return f"{value:.3f}"
    return f"{value:.3g}"


def _range(low: float, high: float) -> str:
    return f"{number(low)} to {number(high)}" if np.isfinite(low) else ""


def _curve_panels(curves: pd.DataFrame, summary: pd.DataFrame) -> dict[str, list[Line]]:
    kinds, names = (_by_candidate(summary, column) for column in ("kind", "name"))
    return {
        metric: [
            Line(
                names[str(method), str(layer)],
                part["fraction"].to_numpy(),
                part[["value", "low", "high"]].to_numpy(),
                kinds[str(method), str(layer)] == "baseline",
            )
            for (method, layer), part in rows.groupby(["method", "layer"], sort=False)
        ]
        for metric, rows in _by_metric(curves)
    }


def _curves(curves: pd.DataFrame, summary: pd.DataFrame) -> str:
    if not len(curves):
        return ""
    panels = _curve_panels(curves, summary)
    return _svg(draw_curves(panels), "Curves; the areas under them are in the table above")


def _by_metric(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(metric), rows) for metric, rows in table.groupby("metric", sort=False)]


def _by_candidate(summary: pd.DataFrame, column: str) -> dict[tuple[str, str], str]:
    keys = zip(summary["method"], summary["layer"], strict=True)
    return dict(zip(keys, summary[column], strict=True))


def _svg(figure: Figure, words: str) -> Markup:
    """Draw a figure as SVG inside HTML, sized by the page, with words for who can't see it."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue()
    sized = re.sub(
        r'<svg([^>]*?) width="([\d.]+)pt" height="[\d.]+pt"',
        rf'<svg\1 role="img" aria-label="{words}" style="width:\2pt"',
        text[text.index("<svg") :],
        count=1,
    )
    return Markup(sized)


def _picture(shown: Shown) -> Picture:
    source = f"data:image/jpeg;base64,{base64.b64encode(shown.jpeg).decode()}"
    return Picture(source, shown.image, shown.label, number(shown.value))


def _flat(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the settings in words."""
    lines = []
    for name, value in settings.items():
        if name in ("meanings", "leading") or value in (None, [], {}, ""):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        lines.append((name.replace("_", " "), str(value)))
    return lines
