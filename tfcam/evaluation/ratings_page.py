"""What people's ratings say, as a page: strengths with their intervals, agreement, consistency."""

from __future__ import annotations

import html
import math

import pandas as pd

from tfcam.evaluation.ratings import agreement, check_ratings, consistency, strengths
from tfcam.figures.charts import Means, draw_means
from tfcam.figures.overlays import embed_png
from tfcam.figures.page import page
from tfcam.figures.rendering import render

_MEANING = (
    "A difference of 1 is odds of 2.7 to 1 that one is preferred to the other (Bradley-Terry); the "
    "strengths sum to 0. A tie, and neither, is half a win for each. The intervals are of 95 %."
)


def sentences(ratings: pd.DataFrame) -> list[str]:
    """Say how much was answered, and how far raters agree with each other and with themselves.

    Args:
        ratings: The table of ratings.

    Raises:
        ValueError: If they are no ratings.
    """
    table = check_ratings(ratings)
    first = table[~table["repeated"]]
    counts = {name: table[name].nunique() for name in ("rater", "picture")}
    shares = first["answer"].isin(["tie", "neither"]).mean()
    alpha = agreement(table)
    said = [
        f"{len(table)} answers of {counts['rater']} raters on {counts['picture']} pictures, "
        f"{len(table) - len(first)} of them to repeated pairs; {shares:.0%} prefer no side.",
        "How far raters agree is not known: no two have answered the same pair on the same picture."
        if math.isnan(alpha)
        else f"Raters agree by {alpha:.2f} (Krippendorff's alpha: 1 is always, 0 is as by chance).",
    ]
    for rater, share, low, high, n in consistency(table).itertuples(index=False, name=None):
        said.append(
            f"{rater} answers {share:.0%} of {n} repeated pairs as before "
            f"(95 % interval {low:.0%} to {high:.0%})."
        )
    return said


def ratings_page(ratings: pd.DataFrame) -> str:
    """Write the page, which needs no other file.

    Where methods can't be compared yet, it says why.

    Args:
        ratings: The table of ratings.

    Returns:
        HTML.

    Raises:
        ValueError: If they are no ratings.

    Example:
        >>> ratings = pd.DataFrame({"rater": "a", "picture": range(4), "left": "cam",
        ...     "right": "rise", "answer": ["left", "right", "tie", "left"], "repeated": False})
        >>> "cam" in ratings_page(ratings)
        True
    """
    said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences(ratings))
    try:
        found = strengths(ratings)
    except ValueError as error:
        return page("Which maps people prefer", f"{said}<p>{html.escape(str(error))}</p>")
    numbers = found[["strength", "low", "high"]].to_numpy()
    figure = draw_means([Means("strength", [*found["method"]], numbers, [False] * len(found))])
    pairs = zip(found["method"], found["strength"], strict=True)
    words = "; ".join(f"{method} {strength:.2f}" for method, strength in pairs)
    table = found.to_html(index=False, border=0, float_format="{:.2f}".format, na_rep="not known")
    drawn = embed_png(render(figure, "png", 130), f"Strengths: {words}")
    body = f"<h2>Strengths</h2><p>{_MEANING}</p>{drawn}<div class='wide'>{table}</div>"
    return page("Which maps people prefer", f"{body}<h2>How they were had</h2>{said}")
