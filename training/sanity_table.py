"""The table of sanity checks in the README: which maps change when MobileNetV2 forgets its weights.

python -m training.sanity_table photos/ --output sanity/
"""

import argparse
from pathlib import Path

import keras

from tfcam.metrics.randomised import Randomisation
from tfcam.metrics.sanity import randomisation

METHODS = ("saliency", "grad_cam", "layer_cam", "eigen_cam", "guided_backprop", "guided_grad_cam")
STEPS = 10
SUFFIXES = (".jpg", ".jpeg", ".png")


def as_markdown(found: Randomisation) -> str:
    """Rank correlation of absolute values at the head, half of the steps and all, and SSIM."""
    last = found.frame["step"].max()
    chosen = {"the logits": 1, "the upper half": (last + 1) // 2, "everything": last}
    lines = [
        "| method | " + " | ".join(chosen) + " | SSIM, everything | mean over steps | verdict |",
        "|---|" + "---|" * (len(chosen) + 3),
    ]
    table = found.table.set_index(["method", "step"])
    for method, verdict in found.verdicts.items():
        rows = [table.loc[(method, step)] for step in chosen.values()]
        cells = [f"{r['spearman_absolute']:.2f} ± {r['spearman_absolute_std']:.2f}" for r in rows]
        cells += [f"{rows[-1]['ssim']:.2f} ± {rows[-1]['ssim_std']:.2f}"]
        word = "reacts" if verdict.reacts else "hardly reacts"
        lines.append(f"| `{method}` | {' | '.join(cells)} | {verdict.similarity:.2f} | {word} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--output", type=Path, default=Path("sanity"), help="a folder to write to")
    parser.add_argument("--count", type=int, default=8, help="how many photos, evenly spread")
    parser.add_argument("--mode", choices=["cascading", "independent"], default="cascading")
    parser.add_argument("--target", choices=["original", "randomised"], default="original")
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
        target=given.target,
        steps=given.steps,
        seed=given.seed,
    )
    given.output.mkdir(exist_ok=True, parents=True)
    found.frame.to_csv(given.output / "sanity.csv", index=False)
    found.show().savefig(given.output / "maps.png", dpi=150)
    for similarity in ("spearman_absolute", "ssim"):
        figure = found.plot(similarity=similarity).figure
        figure.savefig(given.output / f"{similarity}.png", dpi=110)
    (given.output / "sanity.md").write_text(as_markdown(found) + "\n")
    print(as_markdown(found))
    print(found)


if __name__ == "__main__":
    main()
