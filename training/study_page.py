"""One page that shows the study: its figures and its numbers."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from tfcam.evaluation.result import Evaluation
from tfcam.figures.rendering import render
from tfcam.utils.files import write_whole
from training.study_figures import NAMES


def write(
    output: Path,
    summary: Mapping[str, Any],
    figures: Mapping[str, Figure],
    measured: Mapping[str, Evaluation],
    along: Evaluation,
) -> None:
    """Write figures as PNG, and study.html that needs no other file."""
    parts = []
    for number, (title, figure) in enumerate(figures.items(), start=1):
        content = render(figure, "png", 110)
        write_whole(output / f"figure{number}.png", content)
        picture = base64.b64encode(content).decode()
        parts.append(
            f"<figure><figcaption>{number}. {html.escape(title)}</figcaption>"
            f'<img alt="{html.escape(title)}" src="data:image/png;base64,{picture}"></figure>'
        )
    tables = {
        "The ladder: mean overlap": _rounded(pd.DataFrame(summary["ladder"])),
        "What each rung adds, on the same pictures (Wilcoxon)": _rounded(changes_of(summary)),
        f"Pictures named rightly, {summary['named_rightly']}": measured["right"].wide().round(3),
        f"All pictures, {summary['test_pictures']}": measured["all"].wide().round(3),
        "Grad-CAM along the network": along.wide().round(3),
    }
    listed = "".join(
        f"<h2>{html.escape(title)}</h2>{table.to_html(border=0, index=title[0] in 'PAG')}"
        for title, table in tables.items()
    )
    write_whole(
        output / "study.html",
        f"""<!doctype html><html lang="en"><meta charset="utf-8">
<title>CAM and Grad-CAM on Stanford Dogs</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em }}
img {{ max-width: 100% }} figure {{ margin: 2em 0 }} figcaption {{ font-weight: 600 }}
table {{ border-collapse: collapse; display: block; overflow-x: auto }}
td, th {{ padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right }}
td:first-child, th:first-child {{ text-align: left }}
</style><h1>CAM and Grad-CAM on Stanford Dogs</h1>{_words(summary)}{"".join(parts)}{listed}
</html>""".encode(),
    )


def changes_of(summary: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(summary["changes"])


def _words(summary: Mapping[str, Any]) -> str:
    settings, run = summary["run"]["settings"], summary["run"]
    identity = summary["cam_minus_z_grad_cam"]
    lines = [
        f"{settings['backbone']}, weights from {settings['weights'] or 'chance'}, trained on "
        f"{run['counts']['train']} pictures of {len(run['labels'])} breeds; "
        f"{summary['named_rightly']} of {summary['test_pictures']} test pictures are named "
        "rightly.",
        "Thresholds, chosen on "
        f"{run['counts']['validation']} validation pictures: "
        + ", ".join(
            f"{NAMES[name]} {value:.2f}"
            for name, value in summary["thresholds_from_validation"].items()
        )
        + ".",
        "Stanford Dogs is a part of ImageNet's training pictures: a backbone with ImageNet weights "
        "has seen these test pictures.",
    ]
    if identity is not None:
        lines.append(
            "On this head CAM is Grad-CAM of the logit times the number of positions; measured "
            f"here, the two differ by at most {identity:.1e} of the largest value. What still "
            "tells them apart on a rung is the code around them, not the method."
        )
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    return table.round(dict.fromkeys(table.select_dtypes("number"), 3))
