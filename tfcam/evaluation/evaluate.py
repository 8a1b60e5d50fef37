"""The door of the evaluation: methods measured on many pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import keras

from tfcam.data.sources import open_data
from tfcam.engine.settings import Settings
from tfcam.evaluation.candidates import Candidates, OwnExplainer
from tfcam.evaluation.question import Question
from tfcam.evaluation.result import Evaluation
from tfcam.evaluation.run import EvaluationRun
from tfcam.methods.selection import MethodChoice
from tfcam.metrics.baselines import BASELINES
from tfcam.metrics.registry import MetricChoice, chosen_metrics
from tfcam.model.taps import Layers
from tfcam.preprocessing.modes import Preprocess
from tfcam.utils.progress import progress_bar


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
    measures = chosen_metrics(metrics)
    question = Question(
        model, target, preprocess, labels, input, Settings(score, output, False, batch_size)
    )
    candidates = Candidates(
        model,
        methods,
        list(layer) if isinstance(layer, list | tuple) else [layer],
        explainers or {},
        baselines,
        question.settings,
        input,
        seed,
    )
    source = open_data(data, split=split, data_dir=data_dir, annotations=annotations)
    folder = None if to is None else Path(to)
    run = EvaluationRun(question, candidates, measures, source, folder, seed, skip_broken)
    run.resume()
    with progress_bar(source.count, "evaluating", progress, "pictures", run.position) as advance:
        while run.step(advance):
            pass
    return run.conclude()
