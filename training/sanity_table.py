"""The table of sanity checks in the guides: which maps change when MobileNetV2 forgets its weights.

python -m training.sanity_table photos/ --output sanity/
"""

import argparse
from pathlib import Path

import keras
from matplotlib.figure import Figure

from tfcam.figures.rendering import render
from tfcam.metrics.sanity import randomisation
from tfcam.metrics.sanity_result import Randomisation
from tfcam.utils.files import write_whole

METHODS = ("saliency", "grad_cam", "layer_cam", "eigen_cam", "guided_backprop", "guided_grad_cam")
STEPS = 10
SUFFIXES = (".jpg", ".jpeg", ".png")


def as_markdown(found: Randomisation) -> str:
    """Rank correlation of absolute values at the head, half of the steps and all, and its mean."""
    last = int(found.frame["step"].max())
    half = (last + 1) // 2
    chosen = {"the logits": 1, "the upper half": half, "everything": last}
    if found.mode == "independent":
        chosen = {"the logits": 1, f"step {half} alone": half, f"step {last} alone": last}
    heads = ["method", *chosen, "mean over the steps", "different photos", "verdict"]
    table = found.table.set_index(["method", "step"])
    lines = [heads, ["---"] * len(heads)]
    for method, verdict in found.verdicts.items():
        cells = [table.loc[(method, step)] for step in chosen.values()]
        numbers = [f"{c.spearman_absolute:.2f} ± {c.spearman_absolute_std:.2f}" for c in cells]
        unrelated = "" if verdict.unrelated is None else f"{verdict.unrelated:.2f}"
        word = "reacts" if verdict.reacts else "hardly reacts"
        lines.append([f"`{method}`", *numbers, f"{verdict.similarity:.2f}", unrelated, word])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--output", type=Path, default=Path("sanity"), help="a folder to write to")
    parser.add_argument("--count", type=int, default=8, help="how many photos, evenly spread")
    parser.add_argument("--mode", choices=["cascading", "independent"], default="cascading")
    parser.add_argument("--explained", choices=["original", "randomised"], default="original")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    photos = sorted(each for each in given.photos.iterdir() if each.suffix.lower() in SUFFIXES)
    chosen = photos[:: max(len(photos) // given.count, 1)][: given.count]
    found = randomisation(
        keras.applications.MobileNetV2(weights="imagenet"),
        chosen,
        methods=given.methods,
        mode=given.mode,
        explained=given.explained,
        steps=given.steps,
        seed=given.seed,
    )
    given.output.mkdir(exist_ok=True, parents=True)
    write_whole(given.output / "sanity.csv", found.frame.to_csv(index=False).encode())
    write_whole(given.output / "maps.png", render(found.show(), "png", 150))
    for similarity in ("spearman_absolute", "ssim"):
        figure = Figure(figsize=(8, 5), layout="constrained")
        found.plot(figure.subplots(), similarity)
        write_whole(given.output / f"{similarity}.png", render(figure, "png", 110))
    write_whole(given.output / "sanity.md", f"{as_markdown(found)}\n".encode())
    print(as_markdown(found))
    print(found)


if __name__ == "__main__":
    main()
