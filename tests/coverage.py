"""How often intervals hold what they should, and how often differences are claimed falsely.

python -m tests.coverage                        drawn populations, some minutes
python -m tests.coverage --table FILE.parquet   besides, the numbers of an Evaluation.to_parquet
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from scipy import stats

from tfcam.evaluation.intervals import (
    bootstrap_intervals,
    is_nearly_share,
    mean_interval,
    share_difference_interval,
)
from tfcam.evaluation.ranking import rank_candidates
from tfcam.metrics.measure import ANY
from tfcam.metrics.registry import METRICS


def _populations() -> dict[str, np.ndarray]:
    """Draw 238 numbers each as metrics give them: in [0, 1], skewed, with zeros."""
    rng = np.random.default_rng(0)

    def some_zero(values: np.ndarray, share: float) -> np.ndarray:
        return np.where(rng.random(238) < share, 0, values)

    return {
        "overlap": rng.beta(3, 2.5, 238),
        "overlap, 15 % zero": some_zero(rng.beta(2, 4, 238), 0.15),
        "overlap, 40 % zero": some_zero(rng.beta(2, 4, 238), 0.4),
        "small and skewed": np.minimum(rng.exponential(0.08, 238), 1),
        "near one": 1 - rng.beta(1.2, 5, 238),
        "difference": rng.beta(3, 2.5, 238) - rng.beta(3, 3, 238),
        "difference, 40 % zero": some_zero(rng.normal(0.01, 0.05, 238), 0.4),
    }


POPULATIONS = _populations()


def covered(
    population: np.ndarray,
    count: int,
    trials: int,
    resamples: int = 2000,
    within: tuple[float, float] = ANY,
) -> float:
    """Find how often the interval of a sample's mean holds the population's."""
    drawn = np.random.default_rng(count).choice(population, (count, trials))
    found = bootstrap_intervals(drawn, 0, resamples)
    if within != ANY:  # else that of each would be drawn anew
        pairs = zip(found, drawn.T, strict=True)
        found = [
            mean_interval(v, within=within) if is_nearly_share(v, within) else i for i, v in pairs
        ]
    return _share_held(found, population.mean())


def covered_shares(count: int, trials: int) -> float:
    """Find how often the interval of 0/1 values holds their share, drawn uniformly from [0, 1]."""
    rng = np.random.default_rng(count)
    shares = rng.random(trials)
    rows = rng.random((trials, count)) < shares[:, np.newaxis]
    found = (mean_interval(row) for row in rows)
    pairs = zip(found, shares, strict=True)
    return float(np.mean([low <= share <= high for (_, low, high), share in pairs]))


def covered_share(share: float, count: int) -> float:
    """Compute how often Wilson's interval holds a share."""
    hits = np.arange(count + 1)
    limits = [mean_interval([1] * hit + [0] * (count - hit))[1:] for hit in hits]
    held = [low <= share <= high for low, high in limits]
    return float(stats.binom.pmf(hits, count, share)[held].sum())


def covered_differences(chances: tuple[float, float], count: int, trials: int) -> float:
    """Find how often the interval of a difference of shares holds it.

    Args:
        chances: That only the first is 1, and that only the second is.
        count: The number of pictures.
        trials: The number of samples.
    """
    rng = np.random.default_rng(count)
    kinds = rng.choice(3, (trials, count), p=[*chances, 1 - sum(chances)])
    found = [share_difference_interval(1.0 * (row == 0), 1.0 * (row == 1)) for row in kinds]
    return _share_held(found, chances[0] - chances[1])


def _share_held(intervals: list, truth: float) -> float:
    return float(np.mean([low - 1e-12 <= truth <= high + 1e-12 for _, low, high in intervals]))


def false_claims(
    methods: int, pictures: int, trials: int, metrics: int = 1, levels: int = 0, seed: int = 0
) -> float:
    """Find how often a method is said to be worse than the best where all are exchangeable.

    Args:
        methods: The number of methods.
        pictures: The number of pictures.
        trials: The number of tables that are drawn.
        metrics: The number of metrics, which agree in part.
        levels: Values are rounded to so many levels; 0 for none.
        seed: The seed of the tables.
    """
    rng = np.random.default_rng(seed)
    images, names = np.arange(pictures), np.arange(methods)
    index = pd.MultiIndex.from_product(
        [range(metrics), images, names, ["x"]], names=["metric", "image", "method", "layer"]
    )
    claimed = 0
    for _ in range(trials):
        common = rng.random((1, pictures, 1)) + rng.normal(0, 0.1, (1, pictures, methods))
        values = common + rng.normal(0, 0.1, (metrics, pictures, methods))
        if levels:
            values = np.floor(values * levels) / levels
        table = pd.Series(values.ravel(), index, name="value").reset_index()
        claimed += rank_candidates(table, dict.fromkeys(range(metrics), "higher")).differs.any()
    return claimed / trials


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", help="a Parquet file of Evaluation.to_parquet")
    parser.add_argument("--trials", type=int, default=4000)
    options = parser.parse_args()
    populations = dict(POPULATIONS)
    if options.table:
        table = pd.read_parquet(options.table)
        wide = table.pivot(index="image", columns=["metric", "method"], values="value")
        populations |= {" of ".join(key): wide[key].dropna().to_numpy() for key in wide.columns}
        for metric in wide.columns.unique("metric"):
            first, second = (wide[metric].iloc[:, place] for place in (0, 1))
            populations[f"{metric}, difference"] = (first - second).dropna().to_numpy()
    counts = (10, 20, 50)
    print("Coverage for n =", *counts)
    for name, values in populations.items():
        if not np.isin(values, (-1, 0, 1)).all():
            known = METRICS.get(name.partition(" of ")[0])
            within = known.within if known else ANY
            every = (covered(values, n, options.trials, within=within) for n in counts)
            found = (f"{each:.3f}" for each in every)
            print(*found, f"{name} (skewness {stats.skew(values):.1f})", flush=True)
    for share in (0.05, 0.1, 0.3, 0.5, 0.9):
        print(*(f"{covered_share(share, count):.3f}" for count in counts), f"a share of {share}")
    for count in counts:
        print(f"{covered_shares(count, options.trials):.3f} shares drawn uniformly, n = {count}")
    for chances in ((0.02, 0.02), (0.1, 0.05), (0.3, 0.1), (0.25, 0.25)):
        found = (f"{covered_differences(chances, n, options.trials):.3f}" for n in counts)
        print(*found, f"a difference of shares, chances {chances}", flush=True)
    trials = options.trials // 4
    print(f"False claims of exchangeable methods, {trials} tables of one and of three metrics")
    for methods in (8, 20, 33):
        for pictures in (20, 50):
            found = (false_claims(methods, pictures, trials, metrics) for metrics in (1, 3))
            ties = false_claims(methods, pictures, trials, levels=4)
            print(
                methods, "methods,", pictures, "pictures:", *found, "with ties:", ties, flush=True
            )


if __name__ == "__main__":
    main()
