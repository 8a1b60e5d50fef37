"""Does a loss on the map keep a network from a shortcut? A tag in the corner betrays the class.

python -m training.attention --output runs/attention     about five minutes on two cores

The embedded network, which knows the shapes of tfcam.scenes, gets a new last layer and is
fine-tuned on scenes of one shape each. Three ways: with a coloured tag in a corner whose colour is
the class; on the same with ``tfcam.losses.AttentionModel`` and the shapes' masks; and, for what can
be reached, without a tag. It is then asked about fresh scenes with the right tag, without one, and
with the tag of another class. The folder then holds attention.json, attention.md and attention.png.
"""

from __future__ import annotations

import argparse
import colorsys
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfcam
from tfcam.figures.contact_sheet import Cell, ContactSheet, Heading
from tfcam.losses import AttentionLoss, AttentionModel
from tfcam.metrics.localisation import area_fraction, energy
from tfcam.scenes import KINDS, draw_scene
from tfcam.utils.files import write_whole

OUTPUT = Path("runs/attention")
SIZE, TAG = 128, 32  # pixels: the side of a scene, and of the tag
BATCH, LEARNING_RATE, WEIGHT = 32, 1e-3, 1.0
TAGS = ("right", "none", "wrong")
ARMS = {
    "tag, no attention loss": ("right", 0.0),
    "tag, attention loss": ("right", WEIGHT),
    "no tag, no attention loss": ("none", 0.0),
}
DRAWN = 4  # scenes in the figure


@dataclass(frozen=True)
class Recipe:
    """How large the experiment is.

    Attributes:
        scenes: Number of scenes to train on.
        fresh: Number of fresh scenes to ask about.
        epochs: How often each is seen.
        seeds: How often all is done, with other scenes and weights.
    """

    scenes: int = 500
    fresh: int = 200
    epochs: int = 6
    seeds: int = 3


@dataclass(frozen=True)
class Scenes:
    """Images (N, S, S, 3) uint8 without tags, classes (N,), masks (N, S, S) bool."""

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray

    def tagged(self, tag: str, rng: np.random.Generator) -> np.ndarray:
        """The images with the "right" tag, "none", or the tag of another class, "wrong"."""
        if tag == "none":
            return self.images
        other = rng.integers(1, len(KINDS), len(self.labels)) if tag == "wrong" else 0
        images = self.images.copy()
        colours = _colours()[(self.labels + other) % len(KINDS)]
        images[:, 1 : 1 + TAG, 1 : 1 + TAG] = colours[:, np.newaxis, np.newaxis]
        return images


def _colours() -> np.ndarray:
    """A colour for each class, (8, 3) uint8."""
    hues = np.arange(len(KINDS)) / len(KINDS)
    return np.array([np.rint(255 * np.array(colorsys.hsv_to_rgb(h, 1, 1))) for h in hues], np.uint8)


def draw_scenes(rng: np.random.Generator, count: int) -> Scenes:
    """Scenes of one shape each."""
    labels = rng.integers(0, len(KINDS), count)
    drawn = [draw_scene(rng, size=SIZE, kinds=[KINDS[label]]) for label in labels]
    images, masks = ([getattr(each, name) for each in drawn] for name in ("image", "masks"))
    return Scenes(np.stack(images), labels, np.concatenate(masks))


def build_model() -> keras.Model:
    """The embedded network with a new last layer.

    Its normalisation stays as it is: while it followed each batch, the maps of the network in use,
    which the loss is about, would be of another one than that which learns.
    """
    known = tfcam.demo_model()
    model = keras.models.clone_model(known)
    model.set_weights(known.get_weights())
    for layer in model.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    kinds = keras.layers.Dense(len(KINDS), activation="softmax", name="kinds")
    return keras.Model(model.input, kinds(model.get_layer("pooling").output))


def learn(images: np.ndarray, scenes: Scenes, weight: float, epochs: int) -> keras.Model:
    """A network that has learnt the scenes; ``weight`` is that of the attention loss."""
    model = build_model()
    steps = epochs * -(-len(images) // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    learner = AttentionModel(AttentionLoss(model, "features"), weight=weight) if weight else model
    learner.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
    targets = (scenes.labels, scenes.masks) if weight else scenes.labels
    learner.fit(images, targets, BATCH, epochs, verbose=0)
    return model


def ask(model: keras.Model, scenes: Scenes, rng: np.random.Generator) -> dict[str, Any]:
    """Accuracy with each tag, and the share of Grad-CAM's map of the true class on the shape."""
    explainer = tfcam.Explainer(model, "features", batch_size=100)
    answer: dict[str, Any] = {}
    for tag in TAGS:
        images = scenes.tagged(tag, rng)
        predicted = model.predict(images, verbose=0).argmax(axis=1)
        found = explainer(images, scenes.labels.tolist())
        on_shape = [
            energy(heatmap, mask)
            for heatmap, mask in zip(found.heatmaps, scenes.masks, strict=True)
        ]
        answer[tag] = {
            "accuracy": float((predicted == scenes.labels).mean()),
            "energy": float(np.mean(on_shape)),
        }
    return answer


def run(recipe: Recipe) -> tuple[dict[str, Any], dict[str, keras.Model], Scenes]:
    """All arms for all seeds; the models and scenes of the last seed are kept for the figure."""
    rows, models, seconds = [], {}, {}
    for seed in range(recipe.seeds):
        rng = np.random.default_rng(seed)
        scenes, fresh = draw_scenes(rng, recipe.scenes), draw_scenes(rng, recipe.fresh)
        for arm, (tag, weight) in ARMS.items():
            keras.utils.set_random_seed(seed)  # the same first weights and order in each arm
            start = time.perf_counter()
            images = scenes.tagged(tag, np.random.default_rng(seed))
            models[arm] = learn(images, scenes, weight, recipe.epochs)
            seconds[arm] = round(time.perf_counter() - start, 1)
            answer = ask(models[arm], fresh, np.random.default_rng(seed))
            rows.append({"arm": arm, "seed": seed, "answer": answer})
            print(f"seed {seed}, {arm}: {seconds[arm]} s, {_said(answer)}", flush=True)
    uniform = float(np.mean([area_fraction(mask, mask.shape) for mask in fresh.masks]))
    facts = {"recipe": asdict(recipe), "size": SIZE, "tag": TAG, "chance": 1 / len(KINDS)}
    return {**facts, "uniform_energy": uniform, "seconds": seconds, "rows": rows}, models, fresh


def _said(answer: dict[str, Any]) -> str:
    return ", ".join(
        f"{tag} tag {each['accuracy']:.1%} (energy {each['energy']:.2f})"
        for tag, each in answer.items()
    )


def table(result: dict[str, Any]) -> str:
    """The mean over the seeds with the least and the largest, in Markdown."""
    heads = ["trained on", *(f"accuracy, {tag} tag" for tag in TAGS), "energy, no tag"]
    heads = [each.replace("none tag", "no tag") for each in heads]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for arm in ARMS:
        answers = [row["answer"] for row in result["rows"] if row["arm"] == arm]
        cells = [_spread([100 * each[tag]["accuracy"] for each in answers], "%") for tag in TAGS]
        cells.append(_spread([each["none"]["energy"] for each in answers]))
        lines.append(f"| {' | '.join([arm, *cells])} |")
    return "\n".join(lines)


def _spread(values: Sequence[float], unit: str = "") -> str:
    digits = 0 if unit else 2
    mean, low, high = (f"{each:.{digits}f}" for each in (np.mean(values), min(values), max(values)))
    return f"{mean}{' ' + unit if unit else ''} [{low}, {high}]"


def draw(models: dict[str, keras.Model], scenes: Scenes) -> bytes:
    """Maps of the true class on scenes with a wrong tag, a row for each network."""
    images = scenes.tagged("wrong", np.random.default_rng(0))[:DRAWN]
    rows, titles = [[Cell(each) for each in images]], [Heading("the picture", "with a wrong tag")]
    for arm, model in models.items():
        found = tfcam.explain(
            model, images, "features", target=scenes.labels[:DRAWN].tolist(), labels=KINDS
        )
        predicted = model.predict(images, verbose=0).argmax(axis=1)
        cells = [
            Cell(each.picture(), f"for {KINDS[label]}", (f"says {KINDS[said]}",))
            for each, label, said in zip(found, scenes.labels, predicted, strict=False)
        ]
        rows.append(cells)
        titles.append(Heading(arm))
    columns = [Heading("")] * len(images)
    bar = "of each map's maximum"
    return ContactSheet(rows, columns, titles, "", [], bar).render("png", 120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    usual = Recipe()
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the folder to write")
    parser.add_argument("--scenes", type=int, default=usual.scenes, help="scenes to train on")
    parser.add_argument("--fresh", type=int, default=usual.fresh, help="scenes to ask about")
    parser.add_argument("--epochs", type=int, default=usual.epochs)
    parser.add_argument("--seeds", type=int, default=usual.seeds)
    options = vars(parser.parse_args())
    output = options.pop("output")
    write(output, Recipe(**options))


def write(output: Path, recipe: Recipe) -> dict[str, Any]:
    """Run it, write JSON, table and figure, and return what the JSON holds."""
    output.mkdir(parents=True, exist_ok=True)
    result, models, scenes = run(recipe)
    write_whole(output / "attention.json", json.dumps(result, indent=2).encode())
    write_whole(output / "attention.md", f"{table(result)}\n".encode())
    write_whole(output / "attention.png", draw(models, scenes))
    print(table(result))
    return result


if __name__ == "__main__":
    main()
