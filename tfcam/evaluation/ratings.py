"""Human judgement: what a blind comparison of two maps collects, and what it says.

A table of ratings has one row for each answer, with these columns: ``rater`` (a name), ``picture``
(its name), ``left`` and ``right`` (the method shown on each side), ``answer`` ("left", "right",
"tie" or "neither") and ``repeated`` (whether the rater had answered this pair on this picture
before). Repeated answers count for a rater's consistency and for nothing else.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats
from scipy.sparse.csgraph import connected_components

from tfcam.evaluation.intervals import LEVEL, mean_interval
from tfcam.evaluation.names import candidate_name
from tfcam.evaluation.result import Evaluation
from tfcam.metrics.measure import UNIT
from tfcam.utils.files import check_is_file, write_whole
from tfcam.utils.paths import as_path

COLUMNS = ("rater", "picture", "left", "right", "answer", "repeated")
ANSWERS = ("left", "right", "tie", "neither")
_STEPS = 100_000
_MOST = 1_000_000  # ratings of a file
_STEADY = 1e-13


def check_ratings(ratings: pd.DataFrame) -> pd.DataFrame:
    """Check a table of ratings.

    Returns:
        Its columns of ``COLUMNS``.

    Raises:
        ValueError: If a column or every row is missing, or an answer or a pair is none.
    """
    if missing := [name for name in COLUMNS if name not in ratings]:
        raise ValueError(f"Ratings have the columns {', '.join(COLUMNS)}; {missing[0]} is missing.")
    if ratings.empty:
        raise ValueError("There must be at least one rating; got none.")
    if odd := [answer for answer in ratings["answer"].unique() if answer not in ANSWERS]:
        raise ValueError(f"An answer is one of {', '.join(ANSWERS)}; got {odd[0]!r}.")
    if ratings["repeated"].dtype != bool:
        raise ValueError(f"repeated must be true or false; got {ratings['repeated'].dtype}.")
    same = ratings[ratings["left"] == ratings["right"]]
    if len(same):
        raise ValueError(f"Two different methods are compared; got {same['left'].iloc[0]!r} twice.")
    return ratings[list(COLUMNS)].reset_index(drop=True)


def write_ratings(ratings: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write ratings as a Parquet file, whole or not at all.

    Raises:
        ValueError: If they are no ratings.
        FileNotFoundError: If its folder does not exist.
    """
    stream = io.BytesIO()
    check_ratings(ratings).to_parquet(stream, index=False)
    path = as_path(path)
    write_whole(path, stream.getvalue())
    return path


def read_ratings(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read ratings: a Parquet file, or all of a folder, such as one for each rater.

    Raises:
        ValueError: If there is no such file, or one holds no ratings.
    """
    path = as_path(path)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ValueError(
            f"There must be a Parquet file of ratings at {str(path)!r}; there is none."
        )
    return pd.concat([_read_file(file) for file in files], ignore_index=True)


def _read_file(file: Path) -> pd.DataFrame:
    """Read one file, which somebody else may have written."""
    try:
        check_is_file(file)
        with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            if parquet.metadata.num_rows > _MOST:
                raise ValueError(f"it has {parquet.metadata.num_rows:,} rows")
            if missing := [name for name in COLUMNS if name not in parquet.schema_arrow.names]:
                raise ValueError(f"it has no column {missing[0]!r}")
            return check_ratings(parquet.read(list(COLUMNS)).to_pandas())
    # What is damaged lets nearly anything out.
    except (ValueError, TypeError, KeyError, OSError, MemoryError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"{str(file)!r} holds no ratings; give a file that tfcam rate wrote. ({why:.200})"
        ) from None


def strengths(ratings: pd.DataFrame) -> pd.DataFrame:
    """Estimate how strong each method is: Bradley-Terry, with intervals.

    P(i is preferred to j) = 1 / (1 + exp(b_j - b_i)); a tie, and "neither", is half a win for each.
    The strengths b sum to 0: a difference of 1 is odds of e. Their 95 % intervals allow for the
    answers on one picture belonging together (a sandwich estimate, Student's t).

    Args:
        ratings: The table of ratings.

    Returns:
        A row for each method, the strongest first: ``method``, ``strength``, ``low``, ``high``,
        and the numbers of ``wins``, ``ties`` and ``losses``. Of one picture low and high are NaN.

    Raises:
        ValueError: If methods can't be compared: some have won, or lost, every answer against all
            others, so that their strength would be infinite.

    Source: Bradley and Terry 1952, "Rank analysis of incomplete block designs"; Hunter 2004, "MM
        algorithms for generalized Bradley-Terry models", for the iteration.

    Example:
        >>> answers = ["left"] * 30 + ["right"] * 10
        >>> ratings = pd.DataFrame({"rater": "a", "picture": range(40), "left": "cam",
        ...     "right": "rise", "answer": answers, "repeated": False})
        >>> strengths(ratings)["strength"].round(3).tolist()  # half of log 3
        [0.549, -0.549]
    """
    table = _first_answers(ratings)
    names = sorted({*table["left"], *table["right"]})
    numbers = {name: number for number, name in enumerate(names)}
    left, right = (table[side].map(numbers).to_numpy() for side in ("left", "right"))
    won = table["answer"].map({"left": 1.0, "right": 0.0, "tie": 0.5, "neither": 0.5}).to_numpy()
    wins = np.zeros((len(names), len(names)))
    np.add.at(wins, (left, right), won)
    np.add.at(wins, (right, left), 1 - won)
    _check_connected(wins, names)
    strength = _bradley_terry(wins)
    deviation = _deviations(strength, left, right, won, table["picture"])
    columns = {"strength": strength, "low": strength - deviation, "high": strength + deviation}
    result = pd.DataFrame({"method": names, **columns})
    sides = [(left, won), (right, 1 - won)]
    for name, points in (("wins", 1), ("ties", 0.5), ("losses", 0)):
        result[name] = sum(
            np.bincount(side[gained == points], minlength=len(names)) for side, gained in sides
        )
    return result.sort_values("strength", ascending=False, kind="stable", ignore_index=True)


def krippendorff_alpha(units: Sequence[Sequence[str]]) -> float:
    """Compute Krippendorff's alpha of names: agreement beyond chance, with values missing or not.

    Args:
        units: The values that raters gave to each unit, in any order; units of one value are left
            out.

    Returns:
        1 where all agree, 0 as by chance; NaN where no two values are of one unit, or all are
        equal, which tells nothing.

    Source: Krippendorff 2011, "Computing Krippendorff's alpha-reliability".

    Example:
        >>> round(krippendorff_alpha([["a", "a"], ["b", "b"], ["a", "b"]]), 3)  # 1 - 5 x 2 / 18
        0.444
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    names = sorted({value for unit in paired for value in unit})
    counts = np.array([[unit.count(name) for name in names] for unit in paired], np.float64)
    if len(names) < 2:
        return float("nan")
    total = counts.sum(axis=0)
    sizes = counts.sum(axis=1, keepdims=True)
    equal = (counts * (counts - 1) / (sizes - 1)).sum()
    observed = total.sum() - equal
    expected = total.sum() ** 2 - (total**2).sum()
    return float(1 - (total.sum() - 1) * observed / expected)


def agreement(ratings: pd.DataFrame) -> float:
    """Compute how far raters agree on which map of a pair is better: ``krippendorff_alpha``.

    Args:
        ratings: The table of ratings.

    Returns:
        At most 1; NaN where no two raters have seen the same pair on the same picture.
    """
    table = _first_answers(ratings).drop_duplicates(["rater", "picture", "pair"])
    return krippendorff_alpha(
        [rows["choice"].tolist() for _, rows in table.groupby(["picture", "pair"])]
    )


def consistency(ratings: pd.DataFrame) -> pd.DataFrame:
    """Compute how often each rater answers a repeated pair as before, whatever the sides.

    Args:
        ratings: The table of ratings.

    Returns:
        A row for each rater with repeated pairs: ``rater``, the share ``consistency`` with its 95 %
        interval (Wilson's) ``low`` to ``high``, and the number ``n`` of repeated answers.
    """
    key = ["rater", "picture", "pair"]
    table = _with_choices(ratings)
    first = table[~table["repeated"]].drop_duplicates(key)
    both = table[table["repeated"]].merge(first, on=key, suffixes=("", "_first"))
    both["same"] = (both["choice"] == both["choice_first"]).astype(float)
    rows = [
        (rater, *mean_interval(part["same"].to_numpy()), len(part))
        for rater, part in both.groupby("rater")
    ]
    return pd.DataFrame(rows, columns=["rater", "consistency", "low", "high", "n"])


def metric_agreement(ratings: pd.DataFrame, evaluation: Evaluation) -> pd.DataFrame:
    """Compute how far metrics prefer the maps that people prefer.

    Args:
        ratings: The table of ratings; methods are named as in the evaluation, with their layer, as
            in "grad_cam at features", where they have one, and pictures likewise.
        evaluation: The same methods, measured on the same pictures.

    Returns:
        A row for each metric: ``agreement``, the share of answers for one side whose map the metric
        also puts higher (equal values count half), the mean over pictures with its 95 % interval
        ``low`` to ``high``; the number ``n`` of pictures; and ``correlation``, Spearman's of the
        methods' ``strengths`` with their means by the metric, signs turned so that + is agreement,
        NaN of fewer than three methods.

    Raises:
        ValueError: If no rated pair was measured.
    """
    table = _first_answers(ratings)
    decided = table[table["answer"].isin(["left", "right"])]
    measured = evaluation.table.assign(
        name=list(map(candidate_name, evaluation.table["method"], evaluation.table["layer"]))
    )
    better = dict(zip(evaluation.summary["metric"], evaluation.summary["better"], strict=True))
    strength = strengths(ratings).set_index("method")["strength"]
    rows = []
    for metric, part in measured.groupby("metric", sort=False):
        sign = 1 if better.get(str(metric)) == "higher" else -1
        values = sign * part.set_index(["image", "name"])["value"]
        of_side = [
            values.reindex(pd.MultiIndex.from_frame(decided[["picture", side]])).to_numpy()
            for side in ("left", "right")
        ]
        lead = np.where(decided["answer"] == "left", 1, -1) * np.sign(of_side[0] - of_side[1])
        shares = pd.Series((lead + 1) / 2, index=decided["picture"]).dropna()
        if shares.empty:
            continue
        per_picture = shares.groupby(level=0).mean()
        means = values.groupby(level="name").mean().reindex(strength.index).dropna()
        known = (
            stats.spearmanr(strength[means.index], means).statistic if len(means) > 2 else np.nan
        )
        share = mean_interval(per_picture.to_numpy(), within=UNIT)
        rows.append((metric, *share, len(per_picture), known))
    if not rows:
        raise ValueError(
            "At least one rated pair must be measured on its picture; none is. Methods are named "
            f"as {', '.join(sorted(set(measured['name'])))}, and rated are "
            f"{', '.join(strength.index)}."
        )
    return pd.DataFrame(rows, columns=["metric", "agreement", "low", "high", "n", "correlation"])


def _with_choices(ratings: pd.DataFrame) -> pd.DataFrame:
    """Add the pair, whatever the sides, and the choice: the preferred method, or the answer."""
    table = check_ratings(ratings)
    sides = zip(table["left"], table["right"], table["answer"], strict=True)
    chosen = [{"left": left, "right": right}.get(answer, answer) for left, right, answer in sides]
    pairs = [tuple(sorted(pair)) for pair in zip(table["left"], table["right"], strict=True)]
    return table.assign(pair=pd.Series(pairs, dtype=object), choice=chosen)


def _first_answers(ratings: pd.DataFrame) -> pd.DataFrame:
    table = _with_choices(ratings)
    return table[~table["repeated"]].reset_index(drop=True)


def _check_connected(wins: np.ndarray, names: Sequence[str]) -> None:
    """Refuse methods of which some never lose to, or win against, the others."""
    count, groups = connected_components(wins > 0, directed=True, connection="strong")
    if count > 1:
        apart = [name for name, group in zip(names, groups, strict=True) if group == groups[0]]
        raise ValueError(
            "Strengths are finite only where every group of methods has won and lost against the "
            f"others; {', '.join(apart)} have not. Collect more answers, or leave them out."
        )


def _bradley_terry(wins: np.ndarray) -> np.ndarray:
    """Maximise the likelihood: wins (m, m) of row against column -> strengths that sum to 0."""
    games, won = wins + wins.T, wins.sum(axis=1)
    power = np.ones(len(wins))
    for _ in range(_STEPS):
        renewed = won / (games / (power[:, np.newaxis] + power)).sum(axis=1)
        renewed /= np.exp(np.log(renewed).mean())
        steady = np.abs(renewed / power - 1).max() < _STEADY
        power = renewed
        if steady:
            break
    return np.log(power)


def _deviations(
    strength: np.ndarray, left: np.ndarray, right: np.ndarray, won: np.ndarray, picture: pd.Series
) -> np.ndarray:
    """Compute half the interval of each strength, answers on one picture taken together."""
    sides = np.eye(len(strength))[left] - np.eye(len(strength))[right]
    chance = 1 / (1 + np.exp(-(sides @ strength)))
    inverse = np.linalg.pinv(sides.T @ (sides * (chance * (1 - chance))[:, np.newaxis]))
    scores = pd.DataFrame(sides * (won - chance)[:, np.newaxis]).groupby(picture.to_numpy()).sum()
    count = len(scores)
    if count < 2:
        return np.full(len(strength), np.nan)
    # Squares are summed, so that rounding leaves none below 0.
    variance = ((scores.to_numpy() @ inverse) ** 2).sum(axis=0) * count / (count - 1)
    return stats.t.ppf((1 + LEVEL) / 2, count - 1) * np.sqrt(variance)
