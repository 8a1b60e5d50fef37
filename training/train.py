"""Fine-tunes a network on Stanford Dogs; what it makes is what `python -m training.study` explains.

python -m training.train                            ResNet50, as recommended, all 120 breeds
python -m training.train --recipe paper             as the paper did: division by 255, 2 epochs
python -m training.train --breeds beagle "toy poodle" --backbone mobilenet_v2

Killed and started again with the same words, it goes on at the epoch where it stopped, and ends as
it would have ended: what is left to chance is drawn from the seed and the epoch. The folder then
holds model.keras (best on validation), log.csv, curves.png, logs/ for TensorBoard, and run.json
with everything that was used.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.figures.rendering import render
from tfcam.utils.files import write_whole
from training import data
from training.epochs import (
    Backup,
    BestModel,
    EpochLog,
    Patience,
    Reseeded,
    draw_curves,
    read_log,
)
from training.networks import build_network, let_learn
from training.recipes import RECIPES, Recipe, Stage

OUTPUT, BEST = Path("runs/dogs"), "model.keras"
SHUFFLED = 4096  # pictures shuffled at a time, 150 kB each


class RunError(RuntimeError):
    """The folder holds another run."""


def train(
    output: Path = OUTPUT,
    *,
    backbone: str = "resnet50",
    recipe: str | Recipe = "recommended",
    weights: str | None = "imagenet",
    data_dir: Path | None = None,
    breeds: Sequence[str] = (),
    size: int = data.SIZE,
    resize: data.Resize = "stretch",
    seed: int = 0,
    mirrored: bool = False,
    download: bool = True,
) -> dict[str, Any]:
    """Train, or go on training, and return what run.json holds.

    Args:
        output: The folder of this run.
        backbone: A network of keras.applications by name, or "custom".
        recipe: "paper", "recommended" or a ``Recipe``.
        weights: "imagenet", a weights file, or None for random ones.
        data_dir: Where TensorFlow Datasets keeps its data; None for its own place.
        breeds: Only these; all 120 if empty.
        size: The side of the pictures in pixels.
        resize: "stretch" or "letterbox".
        seed: Of everything that is left to chance.
        mirrored: Whether to train on all GPUs of this machine at once.
        download: Whether to download the data where it is not there.

    Raises:
        RunError: If the folder holds a run with other settings.
        DataError: If the data can't be had.
        OSError: If the weights can't be had.
    """
    chosen = RECIPES[recipe] if isinstance(recipe, str) else recipe
    settings = {
        "backbone": backbone,
        "recipe": asdict(chosen),
        "weights": weights,
        "breeds": list(breeds),
        "size": size,
        "resize": resize,
        "seed": seed,
    }
    run = _opened(output, settings)
    if "test_accuracy" in run:
        print(f"{output} holds this run, finished: nothing is left to do.")
        return run
    keras.utils.set_random_seed(seed)
    dogs = data.load(
        data_dir, breeds=breeds, size=size, resize=resize, seed=seed, download=download
    )
    start = time.perf_counter()
    policy = keras.mixed_precision.dtype_policy()
    if chosen.mixed_precision and tf.config.list_physical_devices("GPU"):
        keras.mixed_precision.set_global_policy("mixed_float16")
    strategy = tf.distribute.MirroredStrategy() if mirrored else None
    try:
        with strategy.scope() if strategy else contextlib.nullcontext():
            model = build_network(backbone, len(dogs.labels), chosen, weights, size)
        for number in range(len(chosen.stages)):
            with strategy.scope() if strategy else contextlib.nullcontext():
                _learn(model, number, chosen, dogs, seed, output)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    scores = {
        part: _accuracy(output, data.batches(getattr(dogs, part), 32, len(dogs.labels)))
        for part in ("validation", "test")
    }
    rows = read_log(output)
    write_whole(output / "curves.png", render(draw_curves(rows, chosen), "png", 120))
    run |= {
        "labels": dogs.labels,
        "counts": dogs.counts,
        "epochs": len(rows),
        "seconds_of_last_start": round(time.perf_counter() - start),
        "devices": strategy.num_replicas_in_sync if strategy else 1,
        "policy": model.dtype_policy.name,
        "parameters": model.count_params(),
        "validation_accuracy": scores["validation"],
        "test_accuracy": scores["test"],
    }
    write_whole(output / "run.json", json.dumps(run, indent=2).encode())
    return run


def _accuracy(output: Path, batches: tf.data.Dataset) -> float:
    """That of the best model."""
    best = keras.saving.load_model(output / BEST)
    return best.evaluate(batches, verbose=0, return_dict=True)["accuracy"]


def _learn(
    model: keras.Model, number: int, recipe: Recipe, dogs: data.Dogs, seed: int, output: Path
) -> None:
    """One stage; nothing where an earlier start has finished it."""
    best, done = output / BEST, output / f"stage{number}.done"
    if not done.exists():
        _fit(model, number, recipe, dogs, seed, output)
        if not best.exists():
            raise RunError(
                "Training must reach a finite validation loss, and no epoch did. Start again in "
                "another folder with a lower learning rate."
            )
        done.touch()
        shutil.rmtree(output / f"backup{number}", ignore_errors=True)
    # The next stage starts from the best, not from the last.
    model.set_weights(keras.saving.load_model(best, compile=False).get_weights())


def _fit(
    model: keras.Model, number: int, recipe: Recipe, dogs: data.Dogs, seed: int, output: Path
) -> None:
    stage, size, classes = recipe.stages[number], recipe.batch, len(dogs.labels)
    learnt = dogs.train
    if recipe.validated_on == "test":  # then nothing is held out
        learnt = learnt.concatenate(dogs.validation)
    steps = math.ceil(len(learnt) / size)
    let_learn(model, stage.backbone, recipe.normalization)
    model.compile(
        _optimizer(stage, steps),
        keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    backup = Backup(output / f"backup{number}")
    begin = backup.restore(model)
    print(f"{stage.name}: " + (f"goes on after epoch {begin}" if begin else "starts"), flush=True)
    known = [row for row in read_log(output) if (row["stage"], row["epoch"]) < (number, begin)]
    callbacks = [
        Reseeded(seed, number),
        BestModel(output / BEST, min((row["val_loss"] for row in known), default=None)),
        EpochLog(output, number),
        backup,
    ]
    if recipe.patience:
        before = [row["val_loss"] for row in known if row["stage"] < number]
        mine = [row["val_loss"] for row in known if row["stage"] == number]
        patience = Patience(recipe.patience, min(before, default=None), mine)
        if patience.ended:
            return
        callbacks.append(patience)
    if find_spec("tensorboard") is not None:
        callbacks.append(keras.callbacks.TensorBoard(output / "logs" / f"stage{number}"))
    if begin == stage.epochs:
        return
    model.fit(
        data.batches(
            learnt,
            size,
            classes,
            epochs=range(begin, stage.epochs),
            shuffled=SHUFFLED,
            seed=seed,
            flip=recipe.flip,
        ),
        validation_data=data.batches(getattr(dogs, recipe.validated_on), size, classes),
        initial_epoch=begin,
        epochs=stage.epochs,
        steps_per_epoch=steps,
        callbacks=callbacks,
        shuffle=False,  # the data set is
        verbose=2,
    )


def _optimizer(stage: Stage, steps: int) -> keras.optimizers.Optimizer:
    rate: Any = stage.learning_rate
    if stage.cosine:
        rate = keras.optimizers.schedules.CosineDecay(rate, stage.epochs * steps)
    kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}
    return kinds[stage.optimizer](rate)


def _opened(output: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What run.json holds of this run, begun where there is none.

    Raises:
        RunError: If it is that of another run.
    """
    path = output / "run.json"
    if path.exists():
        run = json.loads(path.read_text(encoding="utf-8"))
        asked = json.loads(json.dumps(settings))
        if other := [name for name, value in asked.items() if run["settings"][name] != value]:
            raise RunError(
                f"{output} holds a run with another {', '.join(other)}. Give the same again to go "
                "on with it, or another --output."
            )
        return run
    output.mkdir(parents=True, exist_ok=True)
    versions = {each.__name__: each.__version__ for each in (keras, tf, np)}
    run = {"settings": settings, "versions": versions | {"python": platform.python_version()}}
    write_whole(path, json.dumps(run, indent=2).encode())
    return run


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the folder of this run")
    parser.add_argument(
        "--backbone", default="resnet50", help="of keras.applications, or custom: a small network"
    )
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="recommended")
    parser.add_argument(
        "--weights", default="imagenet", help="imagenet, none for random ones, or a weights file"
    )
    parser.add_argument("--data-dir", type=Path, help="where TensorFlow Datasets keeps its data")
    parser.add_argument("--breeds", nargs="+", default=[], help="only these; all 120 otherwise")
    parser.add_argument("--size", type=int, default=data.SIZE, help="side of the input in pixels")
    parser.add_argument("--resize", choices=["stretch", "letterbox"], default="stretch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mirrored", action="store_true", help="train on all GPUs at once")
    parser.add_argument("--offline", action="store_true", help="do not download the data set")
    return parser.parse_args(arguments)


def main() -> None:
    options = vars(parse())
    options["download"] = not options.pop("offline")
    if options["weights"] == "none" or options["backbone"] == "custom":
        options["weights"] = None
    if find_spec("tensorboard") is None:
        print("No logs for TensorBoard: it is not installed (pip install tensorboard).")
    try:
        run = train(**options)
    except (RunError, data.DataError, OSError, ValueError) as error:
        sys.exit(f"{error}")
    print(f"{run['test_accuracy']:.1%} of {run['counts']['test']} test pictures are right.")


if __name__ == "__main__":
    main()
