"""Do metrics that need no truth rank the methods as the truth does?

On scenes whose shapes are known: the ranking of the methods by how well their maps lie on the
shape, against their ranking by faithfulness.

python -m training.trust_ranking --output ranking/
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr

import tfcam
from tfcam.methods import Need
from tfcam.metrics import localisation
from tfcam.metrics.curves import deletion, insertion, road
from tfcam.metrics.faithfulness import average_drop
from tfcam.metrics.probing import Probe
from tfcam.scenes import KINDS, Scene
from tfcam.utils.files import write_whole

SCENES = 60
SHAPES = 2  # a map must find the shape of its class beside another one
THRESHOLD = 0.4  # of the demo: the fraction of the maximum at which boxes fit best
ROAD = (0.2, 0.4, 0.6)
TRUTH = ("pointing game", "energy", "IoU")
# Those where less is better are turned around, so that more is better everywhere.
FAITHFULNESS = ("deletion", "insertion", "ROAD", "average drop")
SAME = 1e-3  # maps that nowhere differ by more are one map


def distinct_maps(scenes: list[Scene], methods: list[str]) -> dict[str, np.ndarray]:
    """The heatmaps of each method, those left out that only repeat another's."""
    model = tfcam.demo_model()
    images, targets = [each.image for each in scenes], [each.labels[0] for each in scenes]
    found: dict[str, np.ndarray] = {}
    for name in methods:
        maps = tfcam.Explainer(model, method=name, labels=KINDS)(images, targets).heatmaps
        same = next((k for k, each in found.items() if np.abs(each - maps).max() < SAME), None)
        if same is None:
            found[name] = maps
        else:
            print(f"{name} is {same} on this network and is left out")
    return found


def measured(scenes: list[Scene], heatmaps: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row for each method: truth and faithfulness, mean over the scenes, more is better."""
    images, targets = [each.image for each in scenes], [each.labels[0] for each in scenes]
    probe = Probe(tfcam.demo_model(), images, targets)
    rows = {}
    for name, maps in heatmaps.items():
        start = time.perf_counter()
        pairs = list(zip(maps, scenes, strict=True))
        rows[name] = {
            "pointing game": np.mean(
                [localisation.pointing_game(m, s.masks[0], 0) for m, s in pairs]
            ),
            "energy": np.mean([localisation.energy(m, s.masks[0]) for m, s in pairs]),
            "IoU": np.mean([localisation.box_iou(m, s.boxes[:1], THRESHOLD) for m, s in pairs]),
            "deletion": -deletion(probe, maps).area.mean(),
            "insertion": insertion(probe, maps).area.mean(),
            "ROAD": road(probe, maps, fractions=ROAD).mean(),
            "average drop": -average_drop(probe, maps).mean(),
        }
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return pd.DataFrame(rows).T.astype(float)


def agreement(table: pd.DataFrame) -> str:
    """Spearman's and Kendall's correlations of each ranking by faithfulness with each by truth."""
    lines = [["", *TRUTH], ["---"] * (1 + len(TRUTH))]
    for metric in FAITHFULNESS:
        cells = []
        for truth in TRUTH:
            rho = spearmanr(table[metric], table[truth])
            tau = kendalltau(table[metric], table[truth]).statistic
            cells.append(f"{rho.statistic:+.2f} ({tau:+.2f})")
        lines.append([metric, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def values(table: pd.DataFrame) -> str:
    """The numbers behind the rankings, best localisation first."""
    shown = table.sort_values(["energy"], ascending=False)
    lines = [["method", *table.columns], ["---"] * (1 + len(table.columns))]
    for method, row in shown.iterrows():
        lines.append([f"`{method}`", *(f"{each:.3f}" for each in row)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("ranking"), help="a folder to write to")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--seed", type=int, default=1000, help="of the first scene")
    parser.add_argument("--methods", nargs="+", help="all that apply, unless given")
    given = parser.parse_args()
    methods = given.methods or [
        name for name, m in tfcam.METHODS.items() if Need.ATTENTIONS not in m.needs
    ]
    seeds = range(given.seed, given.seed + given.scenes)
    scenes = [tfcam.scenes.draw_scene(seed, shapes=SHAPES) for seed in seeds]
    table = measured(scenes, distinct_maps(scenes, methods))
    given.output.mkdir(exist_ok=True, parents=True)
    write_whole(given.output / "ranking.csv", table.to_csv().encode())
    text = (
        f"n = {len(table)} methods, {len(scenes)} scenes\n\n{agreement(table)}\n\n{values(table)}\n"
    )
    write_whole(given.output / "ranking.md", text.encode())
    print(text)


if __name__ == "__main__":
    main()
