"""Methods measured on many pictures: read, explained, measured and kept batch by batch."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfcam.data.example import Example, Skipped, by_class
from tfcam.data.sources import open_data
from tfcam.engine.opened_model import open_model
from tfcam.engine.settings import Settings
from tfcam.evaluation.aggregate import Tally
from tfcam.evaluation.candidates import Candidates, OwnExplainer
from tfcam.evaluation.measure import measured
from tfcam.evaluation.result import Evaluation, conclude
from tfcam.evaluation.store import Store
from tfcam.methods.selection import MethodChoice
from tfcam.metrics.baselines import BASELINES
from tfcam.metrics.probing import Probe
from tfcam.metrics.registry import MetricChoice, chosen_metrics
from tfcam.model.graph import graph_of
from tfcam.model.labels import class_of
from tfcam.model.taps import Layers
from tfcam.preprocessing.modes import Preprocess
from tfcam.utils.progress import progress_bar
from tfcam.utils.run_folder import digest
from tfcam.utils.versions import versions

_COLUMNS = ["image", "method", "layer", "metric", "value", "target", "label", "probability"]


def evaluate(
    model: keras.Model,
    data: Any,
    *,
    methods: Sequence[MethodChoice] | None = None,
    metrics: Sequence[MetricChoice] | None = None,
    layer: Layers = None,
    target: str | int | None = None,
    baselines: Sequence[str] = tuple(BASELINES),
    explainers: Mapping[str, OwnExplainer] | None = None,
    split: str = "test",
    data_dir: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
    preprocess: Preprocess = "auto",
    labels: Sequence[str] | None = None,
    score: str = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    batch_size: int = 32,
    to: str | os.PathLike[str] | None = None,
    seed: int = 0,
    skip_broken: bool = True,
    progress: bool | None = None,
) -> Evaluation:
    """Measure how far the maps of several methods can be trusted, on many pictures.

    Every method is measured on the same pictures, beside baselines that ask no model. All one-pass
    methods share one pass for each batch. Pictures are read one by one and none is kept.

    Measures against boxes and masks are taken at the size of the picture; those of the whole set,
    such as MaxBoxAcc, and those that ask the model at the size of the model's input.

    Args:
        model: Any built Keras 3 model with one image input; it is left as it is.
        data: A folder of pictures, with XML files of Pascal VOC's form beside them or in a folder
            Annotations, or with a JSON file of COCO's form; a ``tf.data.Dataset`` of images, of
            (image, label), or of dicts as tensorflow_datasets gives them; the name of a data set
            of tensorflow_datasets that is on this machine; a list of pictures, of (picture, label)
            or of ``tfcam.Example``. Boxes refer to the picture as it is stored; where a
            file says the size of the picture as EXIF turns it, to that.
        methods: Names of ``tfcam.METHODS``, functions Reading -> map, or (name, options); None
            takes those that ``tfcam.compare`` takes.
        metrics: Names of ``tfcam.metrics.METRICS``, or (name, options); None takes the usual
            ones. The first that gives a number for a picture chooses the best and worst pictures.
        layer: See ``explain``; of a list each is explained by itself.
        target: None for the class that the model predicts, "label" for each picture's own (of
            several classes in a picture, each with its boxes), a class index, or a label.
        baselines: Names of ``tfcam.metrics.BASELINES``.
        explainers: Others by name: each takes a list of pictures (H, W, 3) uint8 and a list of
            classes, as an ``Explainer`` does, and returns a heatmap (H, W) or an ``Explanation``
            for each.
        split: Which part of a data set of tensorflow_datasets.
        data_dir: Where tensorflow_datasets keeps it, if not in its usual place.
        annotations: Of a folder: a folder of XML files or a JSON file, if not in its usual place.
        preprocess: See ``explain``.
        labels: The label of each class.
        score: "logit" or "probability".
        input: Which input of the model, by name or index.
        output: Which output of a model that has several.
        batch_size: How many pictures are computed at once.
        to: A folder that keeps what is done. A run that was stopped goes on where it was when it
            is called again with the same settings, and ends as if it had not been stopped.
        seed: Of random maps and of the intervals.
        skip_broken: Whether a picture that can't be used is left out, and listed in ``skipped``;
            else it is an error.
        progress: Whether to show how far it is; None shows it in a terminal or a notebook.

    Returns:
        An ``Evaluation``: the ``table`` of all numbers, the ``summary`` with intervals, the
        ``comparisons`` of all pairs, ``to_html`` for a report.

    Raises:
        ValueError: If an argument does not fit the model or the data, no picture can be used, or
            ``to`` holds another run.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import tfcam
        >>> from tfcam.data.example import Example
        >>> drawn = [tfcam.scenes.draw_scene(seed) for seed in range(8)]
        >>> data = [Example(str(n), each.image, each.boxes) for n, each in enumerate(drawn)]
        >>> result = tfcam.evaluate(
        ...     tfcam.demo_model(), data, methods=["cam", "eigen_cam"], metrics=["energy"])
        >>> result.best("energy"), len(result.table)  # of 2 methods and 5 baselines
        ('cam at features', 56)
    """
    if not isinstance(target, str | Integral | None):
        raise TypeError(f"target must be None, 'label', a class index or a label; got {target!r}.")
    known, _ = graph_of(model).labels(labels)
    measures = chosen_metrics(metrics)
    settings = Settings(score, output, False, batch_size)
    layers = list(layer) if isinstance(layer, list | tuple) else [layer]
    candidates = Candidates(
        model, methods, layers, explainers or {}, baselines, settings, input, seed
    )
    source = open_data(data, split=split, data_dir=data_dir, annotations=annotations)
    classes = open_model(model, input).classes(output)
    said: dict[str, Any] = {
        "model": model.name,
        "weights_digest": digest(*(np.asarray(each) for each in model.variables)),
        "data": source.name,
        "pictures_digest": source.key,
        "compared": [each.name for each in candidates.all],
        "methods": candidates.described,
        "metrics": [each.described for each in measures],
        "target": "the predicted class" if target is None else target,
        "labels_digest": None if known is None else digest(np.array(list(known))),
        "preprocess": getattr(preprocess, "__name__", preprocess),
        "score": score,
        "input": input,
        "output": output,
        "batch_size": batch_size,
        "seed": seed,
        "skip_broken": skip_broken,
    }
    store = None if to is None else Store(Path(to), said)
    tally = Tally({each.name: each.made for each in measures if each.kind == "set"}, seed)
    parts, state = store.read() if store else ([], {})
    if state:
        tally.restore(state)

    def class_for(example: Example) -> Any:
        if target != "label":
            return target
        if example.label is None:
            raise ValueError("it has no label, and target='label' explains that.")
        return class_of(example.label, source.label_names, classes, known)

    def probe(examples: Sequence[Example], chosen: list[Any]) -> Probe:
        return Probe(
            model,
            [each.image for each in examples],
            None if target is None else chosen,
            preprocess=preprocess,
            labels=labels,
            input=input,
            output=output,
            batch_size=batch_size,
        )

    seen = {name for part in parts for name in part["image"].unique()}
    done = tally.position
    with progress_bar(source.count, "evaluating", progress, "pictures", done) as advance:
        reader = source.read(max(tally.position - 1, 0))
        if tally.position:
            _check_same(next(reader, None), tally)
        while chunk := list(itertools.islice(reader, batch_size)):
            examples = _usable(chunk, target, tally, skip_broken, seen)
            asked = _asked(examples, class_for, tally, skip_broken)
            rows: list[tuple[Any, ...]] = []
            for start in range(0, len(asked), batch_size):
                batch = asked[start : start + batch_size]
                some = [each for each, _ in batch]
                asking = probe(some, [each for _, each in batch])
                rows += measured(some, asking, candidates, measures, tally, known, advance)
            tally.position += len(chunk)
            tally.last = _mark(chunk[-1])
            parts.append(pd.DataFrame(rows, columns=_COLUMNS).astype({"value": float}))
            if store:
                store.write(len(parts) - 1, parts[-1], tally.state())
            advance(len(chunk) - len(asked))  # pictures that were left out, or have several classes
    table = pd.concat([each for each in parts if len(each)] or parts[:1], ignore_index=True)
    if not tally.pictures:
        reasons = tally.skipped[0] if tally.skipped else (source.name, "there is none")
        raise ValueError(f"No picture could be measured. The first: {reasons[0]}: {reasons[1]}")
    return conclude(
        table,
        tally,
        {each.name: each.better for each in measures},
        {(each.method, each.layer): each.kind for each in candidates.all},
        {
            **{name: value for name, value in said.items() if value is not None},
            "meanings": {each.name: each.meaning for each in measures},
            "versions": versions(),
        },
        seed,
    )


def _usable(
    chunk: Sequence[Example | Skipped], target: Any, tally: Tally, skip_broken: bool, seen: set[str]
) -> list[Example]:
    """What can be read, each by a name that no other has; the rest is noted, or refused."""
    found: list[Example] = []
    for each in chunk:
        if isinstance(each, Example):
            found += by_class(each) if target == "label" else [each]
        elif skip_broken:
            tally.skipped.append((each.id, each.reason))
        else:
            raise ValueError(f"{each.id} can not be used: {each.reason}")
    for place, each in enumerate(found):
        if each.id in seen:
            found[place] = replace(each, id=f"{each.id} ({tally.position + place})")
        seen.add(found[place].id)
    return found


def _asked(
    examples: Sequence[Example], class_for: Callable[[Example], Any], tally: Tally, skip: bool
) -> list[tuple[Example, Any]]:
    """The pictures whose class can be explained, with that class."""
    found = []
    for each in examples:
        try:
            found.append((each, class_for(each)))
        except ValueError as error:
            if not skip:
                raise ValueError(f"{each.id} can not be explained: {error}") from None
            tally.skipped.append((each.id, str(error)))
    return found


def _mark(last: Example | Skipped) -> str:
    return digest(last.image) if isinstance(last, Example) else last.id


def _check_same(last: Example | Skipped | None, tally: Tally) -> None:
    if last is None or _mark(last) != tally.last:
        raise ValueError(
            "The data must give the same pictures in the same order to go on with a run that was "
            f"stopped; number {tally.position - 1} is another now. Do not shuffle, or begin anew "
            "in another folder."
        )
