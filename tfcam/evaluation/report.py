"""An evaluation as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from tfcam.evaluation.gallery import Gallery, Shown
from tfcam.evaluation.names import CandidateKey, candidate_name
from tfcam.figures.charts import BANDS, Line, Means, draw_curves, draw_means

_ARROWS = {"higher": "↑", "lower": "↓"}


def render(
    *,
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    curves: pd.DataFrame,
    skipped: pd.DataFrame,
    shown: Mapping[CandidateKey, Gallery],
    settings: Mapping[str, Any],
    pictures: int,
) -> str:
    """Write the report.

    Args:
        summary: See ``Evaluation``; so for the next four.
        comparisons: Pairs of methods.
        curves: Mean curves.
        skipped: What was left out.
        shown: Best and worst pictures.
        settings: How it was made.
        pictures: How many were measured.

    Returns:
        The whole file.
    """
    summary = named(summary)
    meanings = settings.get("meanings", {})
    metrics = [
        {
            "name": metric,
            "words": metric.replace("_", " "),
            "arrow": _ARROWS[rows["better"].iloc[0]],
            "better": rows["better"].iloc[0],
            "meaning": meanings.get(metric, ""),
        }
        for metric, rows in _by_metric(summary)
    ]
    template = resources.files("tfcam").joinpath("assets/report.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        settings=_flat(settings),
        model=settings.get("model", "a model"),
        data=settings.get("data", "pictures"),
        pictures=pictures,
        bands=BANDS,
        metrics=metrics,
        rows=table_rows(summary, [each["name"] for each in metrics]),
        means=_svg(draw_means(panels_of(summary)), "The means and intervals of the table above"),
        curves=_curves(curves, summary),
        verdicts=verdicts(summary, comparisons),
        shown=[
            {
                "name": candidate_name(*key),
                "best": [_picture(each) for each in gallery.best],
                "worst": [_picture(each) for each in gallery.worst],
            }
            for key, gallery in shown.items()
        ],
        leading=settings.get("leading", ""),
        skipped=skipped.to_dict("records"),
    )


def named(table: pd.DataFrame) -> pd.DataFrame:
    """A table with a column ``name``, the method with its layer.

    Where all methods explain the same layer it is left out.
    """
    layers = {each for each in table["layer"] if each}
    pairs = zip(table["method"], table["layer"], strict=True)
    several = len(layers) > 1
    return table.assign(name=[candidate_name(m, at if several else "") for m, at in pairs])


def panels_of(summary: pd.DataFrame) -> list[Means]:
    """A panel of means for each metric."""
    return [
        Means(
            f"{metric} {_ARROWS[rows['better'].iloc[0]]}",
            rows["name"].to_list(),
            rows[["mean", "low", "high"]].to_numpy(),
            (rows["kind"] == "baseline").to_list(),
        )
        for metric, rows in _by_metric(summary)
    ]


def table_rows(summary: pd.DataFrame, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each method: its cells, each marked where it is the best, or beaten by a baseline.

    What reads the same as the best is as good.

    Args:
        summary: With ``name``.
        metrics: The columns.
    """
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for metric, rows in _by_metric(summary):
        sign = 1 if rows["better"].iloc[0] == "higher" else -1
        good = sign * rows["mean"]
        own, other = rows["kind"] != "baseline", rows["kind"] == "baseline"
        best = (
            number(rows["mean"].iloc[int(good.where(own, -np.inf).argmax())]) if own.any() else ""
        )
        bar = good[other].max() if other.any() else -np.inf
        for place, (_, row) in enumerate(rows.iterrows()):
            cells[row["name"], metric] = {
                "mean": number(row["mean"]),
                "interval": f"{number(row['low'])} to {number(row['high'])}",
                "best": bool(own.iloc[place]) and number(row["mean"]) == best,
                "beaten": bool(own.iloc[place]) and good.iloc[place] <= bar,
                "n": row["n"],
            }
    kinds = dict(zip(summary["name"], summary["kind"], strict=True))
    return [
        {"name": name, "kind": kind, "cells": [cells.get((name, metric)) for metric in metrics]}
        for name, kind in kinds.items()
    ]


def verdicts(summary: pd.DataFrame, comparisons: pd.DataFrame) -> list[dict[str, Any]]:
    """For each metric the best method, and those that can't be told from it.

    Args:
        summary: With ``name``.
        comparisons: See ``Evaluation``.
    """
    found = []
    short = {candidate_name(*who): name for who, name in _by_candidate(summary, "name").items()}
    for metric, rows in _by_metric(summary[summary["kind"] != "baseline"]):
        sign = 1 if rows["better"].iloc[0] == "higher" else -1
        best = rows.iloc[int((sign * rows["mean"]).argmax())]
        name = candidate_name(best["method"], best["layer"])
        tested = comparisons[comparisons["metric"] == metric]
        mine = tested[(tested["first"] == name) | (tested["second"] == name)]
        if mine.empty:
            continue
        others = mine["first"].where(mine["first"] != name, mine["second"])
        verdict = mine["better"]
        found.append(
            {
                "metric": metric,
                "best": best["name"],
                "equal": [short[each] for each in others[verdict == ""]],
                "worse": int((verdict == name).sum()),
                "better": [short[each] for each in others[(verdict != "") & (verdict != name)]],
                "n": int(mine["n"].iloc[0]),
            }
        )
    return found


def number(value: float) -> str:
    """Three digits behind the point, or as many as say something.

    Example:
        >>> number(0.12345), number(123.456), number(0.0000123)
        ('0.123', '123', '1.23e-05')
    """
    if value == 0 or 0.001 <= abs(value) < 100:
        return f"{value:.3f}"
    return f"{value:.3g}"


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
    who = zip(summary["method"], summary["layer"], strict=True)
    return dict(zip(who, summary[column], strict=True))


def _svg(figure: Figure, said: str) -> Markup:
    """A figure as SVG inside HTML, sized by the page, with words for who can't see it."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = stream.getvalue()
    drawn = text[text.index("<svg") :]
    sized = re.sub(
        r'<svg([^>]*?) width="([\d.]+)pt" height="[\d.]+pt"',
        rf'<svg\1 role="img" aria-label="{said}" style="width:\2pt"',
        drawn,
        count=1,
    )
    return Markup(sized)


def _picture(each: Shown) -> dict[str, str]:
    return {
        "source": f"data:image/jpeg;base64,{base64.b64encode(each.jpeg).decode()}",
        "image": each.image,
        "label": each.label,
        "value": number(each.value),
    }


def _flat(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is said of how it was made, as lines of words."""
    lines = []
    for name, value in settings.items():
        if name in ("meanings", "leading") or value in (None, [], {}, ""):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {each}" for key, each in value.items())
        elif isinstance(value, list | tuple):
            value = ", ".join(map(str, value))
        lines.append((name.replace("_", " "), str(value)))
    return lines
