"""CAM against Grad-CAM by the overlap of boxes, on a network that `python -m training.train` made.

python -m training.study --model runs/dogs                       measures, draws, writes a page
python -m training.study --model runs/dogs --paper runs/paper    with the paper's network as rung A

The threshold of the boxes is chosen on the validation part, everything is reported on the test
part: on the pictures that the network names rightly, and on all. Stanford Dogs is a part of
ImageNet's training pictures, so a backbone with ImageNet weights has seen its test pictures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import tfcam
from tfcam.engine.options import Score
from tfcam.evaluation.intervals import mean_interval
from tfcam.evaluation.statistics import compare_pairs
from tfcam.methods.selection import one_pass_methods
from tfcam.metrics import localisation
from tfcam.utils.files import write_whole
from training import data, ladder, study_figures, study_page

BATCH = 32
THRESHOLDS = np.arange(100) / 100
MAPS = ("cam", "grad_cam")
METRICS = ("pointing_game", "energy", "max_box_acc", "max_box_acc_v2")


@dataclass(frozen=True)
class Trained:
    """A network with what is known of it.

    Attributes:
        model: It takes pixels of 0..255.
        run: What run.json holds.
        dogs: The data it was trained on.
    """

    model: keras.Model
    run: dict[str, Any]
    dogs: data.Dogs


def open_run(folder: Path, data_dir: Path | None, download: bool = True) -> Trained:
    """A network and its data, as it was trained.

    Raises:
        FileNotFoundError: If the folder holds no finished run.
    """
    path = folder / "run.json"
    run = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if "test_accuracy" not in run:
        raise FileNotFoundError(
            f"{folder} must hold a finished run of python -m training.train; it holds none."
        )
    settings = run["settings"]
    dogs = data.load(
        data_dir,
        download=download,
        **{name: settings[name] for name in ("breeds", "size", "resize", "seed")},
    )
    return Trained(keras.saving.load_model(folder / "model.keras", compile=False), run, dogs)


def raw_maps(model: keras.Model, part: tf.data.Dataset, score: Score) -> dict[str, np.ndarray]:
    """The raw maps of each picture's own breed, (N, h, w) by method, and whether it is named so.

    CAM where the network has the head for it; it knows no probability, so that its map is the
    same for either score.
    """
    explainers = {
        method: tfcam.Explainer(
            model, method=method, score="logit" if method == "cam" else score, preprocess="raw"
        )
        for method in MAPS
        if method != "cam" or has_cam(model)
    }
    found: dict[str, list[Any]] = {name: [] for name in ("right", *explainers)}
    for images, labels in _batches(part):  # read once: pictures are decoded each time
        called = np.asarray(model(tf.cast(images, tf.float32), training=False)).argmax(axis=-1)
        found["right"] += list(called == labels)
        for method, explainer in explainers.items():
            found[method] += [each.raw for each in explainer(images, target=labels)]
    return {name: np.stack(values) for name, values in found.items()}


def _batches(part: tf.data.Dataset) -> Iterator[tuple[np.ndarray, list[int]]]:
    pairs = part.map(lambda each: (each["image"], each["label"])).batch(BATCH)
    for images, labels in pairs.as_numpy_iterator():
        yield images, labels.tolist()


def has_cam(model: keras.Model) -> bool:
    """Whether CAM applies at the layer that is explained by default."""
    listed = tfcam.layers(model)
    return any(each.cam for each in listed)


def true_boxes(part: tf.data.Dataset) -> list[np.ndarray]:
    """The true boxes (n, 4) of each picture."""
    return list(part.map(lambda each: each["boxes"]).as_numpy_iterator())


def threshold_curve(raws: np.ndarray, truths: Sequence[np.ndarray], size: int) -> np.ndarray:
    """The mean overlap at each of ``THRESHOLDS``, (T,): of the largest part, the nearest box."""
    curves = [
        localisation.iou_curve(tfcam.maps.heatmap(raw, (size, size)), boxes, THRESHOLDS)
        for raw, boxes in zip(raws, truths, strict=True)
    ]
    return np.mean(curves, axis=0)


def check_identity(maps: dict[str, np.ndarray]) -> float:
    """The largest difference of CAM and Z x Grad-CAM, Z positions, as a share of the largest value.

    Raises:
        ValueError: If they differ by more than rounding: then something is measured wrongly.
    """
    cam, grad_cam = maps["cam"], maps["grad_cam"]
    z = cam[0].size
    error = float(np.abs(cam - z * grad_cam).max() / np.abs(cam).max())
    if error > 1e-3:
        raise ValueError(
            f"On a network that averages and then classifies, CAM must be {z} x Grad-CAM of the "
            f"logit; they differ by {error:.2g} of the largest value."
        )
    return error


def climb(
    here: Trained, paper: Trained | None, tuned: dict[str, float], maps: dict[str, np.ndarray]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The ladder: the overlap of each test picture at each rung, and its mean with an interval.

    Without the paper's network rung A is left out. Only pictures that the network explained names
    rightly count, as in the paper.

    Args:
        here: The network that is studied.
        paper: That of the paper.
        tuned: The threshold chosen on validation, by method.
        maps: Of ``here`` on the test part, of the logit.
    """
    rows = []
    known = {(False, "logit"): maps}
    truths = {
        trained is paper: true_boxes(trained.dogs.test) for trained in (here, paper) if trained
    }
    for rung in ladder.RUNGS:
        trained = paper if rung.paper else here
        if trained is None:
            continue
        if (rung.paper, rung.score) not in known:
            known[rung.paper, rung.score] = raw_maps(trained.model, trained.dogs.test, rung.score)
        own, boxes = known[rung.paper, rung.score], truths[rung.paper]
        size = trained.model.input_shape[1]
        for method in (each for each in MAPS if each in own):
            for number in np.flatnonzero(own["right"]):
                value = ladder.overlap(
                    rung, own[method][number], size, boxes[number], tuned[method]
                )
                rows.append((rung.name, method, int(number), value))
    table = pd.DataFrame(rows, columns=["rung", "method", "picture", "iou"])
    return table, summed(table, ["rung", "method"])


def summed(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Mean, 95 % interval and number of pictures of the overlaps of each group."""
    rows = [
        (*key, *mean_interval(group["iou"].to_numpy()), len(group))
        for key, group in table.groupby(by, sort=False)
    ]
    return pd.DataFrame(rows, columns=[*by, "mean", "low", "high", "n"])


def last_blocks(model: keras.Model, count: int = 6) -> list[str]:
    """The outputs of the last blocks, the last one the layer explained by default."""
    listed = tfcam.layers(model)
    before = [each for each in listed if each.path != listed.default]
    ends = [each.path for each in before if re.search(r"block\d+_out$", each.path)]
    if len(ends) < count - 1:
        ends = [each.path for each in before if each.kind in ("Add", "Concatenate")]
    if len(ends) < count - 1:
        ends = [each.path for each in before if each.convolution]
    return [*ends[-(count - 1) :], listed.default]


def study(
    folder: Path,
    output: Path,
    *,
    paper: Path | None = None,
    data_dir: Path | None = None,
    layers: Sequence[str] = (),
    download: bool = True,
) -> dict[str, Any]:
    """Run the whole study, write it to a folder, and return its summary.

    Args:
        folder: Of the run whose network is studied.
        output: Where rows, summary, figures and the page go.
        paper: Of the run with the paper's recipe, for rung A.
        data_dir: Where TensorFlow Datasets keeps its data.
        layers: Where Grad-CAM is compared along the network; the last six blocks if not given.
        download: Whether to download the data where it is not there.

    Raises:
        FileNotFoundError: If a folder holds no finished run.
        ValueError: If the identity of CAM and Grad-CAM fails.
    """
    here = open_run(folder, data_dir, download)
    before = None if paper is None else open_run(paper, data_dir, download)
    output.mkdir(parents=True, exist_ok=True)
    model, dogs, size = here.model, here.dogs, here.model.input_shape[1]

    watched = raw_maps(model, dogs.validation, "logit")
    curves = {
        method: threshold_curve(watched[method], true_boxes(dogs.validation), size)
        for method in MAPS
        if method in watched
    }
    tuned = {method: float(THRESHOLDS[curve.argmax()]) for method, curve in curves.items()}
    maps = raw_maps(model, dogs.test, "logit")
    identity = check_identity(maps) if "cam" in maps else None
    steps, rungs = climb(here, before, tuned, maps)

    places = list(layers) or last_blocks(model)
    right, everything = maps["right"], np.ones(len(maps["right"]), bool)
    metrics: list[Any] = [("box_iou", {"threshold": tuned["grad_cam"]}), *METRICS]
    methods = [*(each for each in MAPS if each in maps), *one_pass_methods()]
    asked: dict[str, Any] = {"target": "label", "labels": dogs.labels, "preprocess": "raw"}
    measured: dict[str, tfcam.Evaluation] = {}
    for name, kept in (("right", right), ("all", everything)):
        if name == "all" and right.all():  # nothing else to measure
            measured[name] = measured["right"]
            continue
        measured[name] = tfcam.evaluate(
            model,
            data.for_evaluation(dogs.test, size, kept),
            methods=list(dict.fromkeys(methods)),
            metrics=metrics,
            **asked,
        )
    along = tfcam.evaluate(
        model,
        data.for_evaluation(dogs.test, size, right),
        methods=["grad_cam"],
        layer=places,
        metrics=metrics,
        baselines=[],
        **asked,
    )
    for name, each in (*measured.items(), ("layers", along)):
        each.to_parquet(output / f"{name}.parquet")
        each.to_html(output / f"{name}.html")
    steps.to_parquet(output / "ladder.parquet", index=False)
    summary = {
        "run": here.run,
        "paper": None if before is None else before.run,
        "test_pictures": len(right),
        "named_rightly": int(right.sum()),
        "thresholds_from_validation": tuned,
        "validation_iou": {method: float(curve.max()) for method, curve in curves.items()},
        "cam_minus_z_grad_cam": identity,
        "ladder": rungs.to_dict("records"),
        "changes": changes(steps),
        "layers": along.summary.to_dict("records"),
        **{name: each.summary.to_dict("records") for name, each in measured.items()},
    }
    write_whole(output / "summary.json", json.dumps(summary, indent=2).encode())
    figures = study_figures.draw(model, dogs, maps, tuned, curves, rungs, measured["right"], places)
    study_page.write(output, summary, figures, measured, along)
    return summary


def changes(steps: pd.DataFrame) -> list[dict[str, Any]]:
    """What each rung adds to the one before, on the pictures that both have: paired, corrected."""
    found = []
    for method, rows in steps.groupby("method", sort=False):
        wide = rows.pivot(index="picture", columns="rung", values="iou")
        names = list(dict.fromkeys(rows["rung"]))
        for one, two in itertools.pairwise(names):
            [pair] = compare_pairs([wide[two].to_numpy(), wide[one].to_numpy()])
            found.append(
                {
                    "method": method,
                    "rung": two,
                    "gain": pair.difference,
                    "low": pair.low,
                    "high": pair.high,
                    "p": pair.p,
                    "n": pair.n,
                }
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="a folder of training.train")
    parser.add_argument("--paper", type=Path, help="one trained with --recipe paper, for rung A")
    parser.add_argument("--output", type=Path, help="the folder to write; in --model otherwise")
    parser.add_argument("--data-dir", type=Path, help="where TensorFlow Datasets keeps its data")
    parser.add_argument("--layers", nargs="+", default=[], help="where Grad-CAM is followed")
    parser.add_argument("--offline", action="store_true", help="do not download the data set")
    asked = parser.parse_args()
    output = asked.output or asked.model / "study"
    try:
        summary = study(
            asked.model,
            output,
            paper=asked.paper,
            data_dir=asked.data_dir,
            layers=asked.layers,
            download=not asked.offline,
        )
    except (data.DataError, OSError, ValueError) as error:
        sys.exit(f"{error}")
    for row in summary["ladder"]:
        spread = f"[{row['low']:.3f}, {row['high']:.3f}]"
        print(f"{row['rung']:40} {row['method']:9} {row['mean']:.3f} {spread}")
    print(f"wrote {output / 'study.html'}")


if __name__ == "__main__":
    main()
