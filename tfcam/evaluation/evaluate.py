"""The door of the evaluation: methods measured on many pictures."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from numbers import Integral
from typing import Any

import keras

from tfcam.data.sources import open_data
from tfcam.engine.opened_model import open_model
from tfcam.engine.options import Score
from tfcam.engine.picture_options import TILE
from tfcam.engine.settings import Settings
from tfcam.evaluation.candidates import Candidates, OwnExplainer, Tiling
from tfcam.evaluation.question import Question
from tfcam.evaluation.result import Evaluation
from tfcam.evaluation.run import EvaluationRun
from tfcam.evaluation.texts import evaluate_texts, texts_in
from tfcam.explainer.tiling import check_tiles
from tfcam.methods.selection import MethodChoice, as_request, one_pass_methods
from tfcam.metrics.baselines import BASELINES
from tfcam.metrics.measure import ASKING, Measure
from tfcam.metrics.registry import MetricChoice, find_metrics
from tfcam.model.labels import Labels
from tfcam.model.several import at_once
from tfcam.model.taps import Layers
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.names import split_window
from tfcam.targets.classes import Difference, Target
from tfcam.utils.paths import as_path
from tfcam.utils.progress import progress_bar
from tfcam.utils.run_folder import alone_in


def evaluate(
    model: keras.Model,
    data: Any,
    *,
    methods: Sequence[MethodChoice] | None = None,
    metrics: Sequence[MetricChoice] | None = None,
    layer: Layers = None,
    target: Target = None,
    baselines: Sequence[str] | None = None,
    explainers: Mapping[str, OwnExplainer] | None = None,
    split: str = "test",
    data_dir: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    batch_size: int = 32,
    tile: tuple[int, int] | None = None,
    to: str | os.PathLike[str] | None = None,
    key: str | None = None,
    seed: int = 0,
    skip_broken: bool = True,
    progress: bool | None = None,
) -> Evaluation:
    """Measure how far the maps of several methods can be trusted, on many pictures.

    Every method is measured on the same pictures, beside baselines that ask no model. All one-pass
    methods share one pass for each batch. Pictures are read one by one and none is kept.

    The first metric that gives a number for a picture chooses the best and worst pictures. With
    ``target="label"`` a picture of several classes counts once for each, with its boxes.

    Measures against boxes and masks are taken at the size of the picture; those of the whole set,
    such as MaxBoxAcc, and those that ask the model at the size of the model's input.

    With ``tile=`` maps are those of tiles. What asks the model about changed pictures asks about
    all of a picture at once, and can't measure these; nor is the ``probability`` that of tiles.

    Args:
        model: Any built Keras 3 model; it is left as it is. Of one with several inputs, images are
            explained, and each ``tfcam.Example`` of the data has what else it takes.
        data: A folder of pictures, with XML files of Pascal VOC's form beside them or in a folder
            Annotations, or with a JSON file of COCO's form; a ``tf.data.Dataset`` of images, of
            (image, label), or of dicts as tensorflow_datasets gives them; the name of a data set
            of tensorflow_datasets that is on this machine; a list of pictures, of (picture, label)
            or of ``tfcam.Example``. Boxes refer to the picture as it is stored; where a
            file says the size of the picture as EXIF turns it, to that. Of a model of videos or
            volumes a batch or list of arrays (D, H, W, C), with labels or as ``tfcam.Example`` with
            a mask (D, H, W), or a ``tf.data.Dataset``: a voxel is what is hidden, and what needs
            boxes or the neighbours of pixels is left out. Of a model of texts a list
            of strings, or of (text, label), a .txt file with a text on each line, or a data set of
            these: words are hidden in the order of each map, by deletion, insertion,
            comprehensiveness and sufficiency (or "supported", if named), beside random_words and
            first_words.
        methods: The methods, by their names in ``tfcam.METHODS``; by default those of one pass that
            weight the channels of any layer. Functions Reading -> (B, h, w) and names with options,
            as in ("score_cam", {"channels": 32}), are taken, too.
        metrics: The metrics, by their names in ``tfcam.metrics.METRICS``; by default the usual
            ones. Names with options, as in ("deletion", {"steps": 10}), are taken, too.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Of several each is taken
            by itself. Several are a list; layer objects are taken, too.
        target: The class that is explained: an index, a label, or "label" for each picture's own;
            by default the one that the model predicts. Also a ``tfcam.Difference``, or a callable
            outputs -> (B,) on the outputs before the final softmax or sigmoid, such as
            ``tfcam.Segmentation``.
        baselines: Baselines, maps that ask no model, by their names in
            ``tfcam.metrics.BASELINES``; by default all.
        explainers: Others by name: each takes a list of pictures, (H, W, 3) uint8 or floats as they
            were given, and a list of classes, as an ``Explainer`` does, and returns a heatmap
            (H, W) or an ``Explanation`` for each.
        split: Which part of a data set of tensorflow_datasets, such as "test[:100]".
        data_dir: The folder where tensorflow_datasets keeps a data set, if not its usual place.
        annotations: The folder of XML files, or the JSON file, that says what is in a folder of
            pictures, if not beside them.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        batch_size: Number of images that are computed at once; fewer take less memory.
        tile: Height and width in pixels of the tiles in which a picture is explained that is larger
            than the network takes at once: they overlap by half or more, and their maps become one.
            One class is explained in all, which the target must name.
        to: A folder that keeps what is done. A run that was stopped goes on there where it was,
            when it is called again with the same settings, and ends as if it had not been stopped.
        key: A name for your own functions and objects that make the maps, by which a stopped run
            recognises them where their code can't be read. A run goes on only with the same ones.
            They are compared by their code, constants and what they refer to, and by this name
            instead where these can't be read, or change while they run.
        seed: Random seed, at least 0: the same seed gives the same result.
        skip_broken: Leave out a picture that can't be used, and list it in ``skipped``; else it is
            an error.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

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
    if not isinstance(target, str | Integral | Difference | None) and not callable(target):
        raise TypeError(
            "target must be None, 'label', a class index or a label, a Difference, or a callable "
            f"outputs -> (B,); got {target!r}."
        )
    settings = Settings(score, output, False, batch_size, grid)
    settings = replace(settings, at_once=at_once(open_model(model, input).graph, batch_size))
    question = Question(model, target, preprocess, labels, input, settings)
    if (tile := TILE.check(tile)) is not None:
        check_tiles(open_model(model, input), [target])
    texts = texts_in(model, data, input, preprocess)
    if texts is not None:
        if explainers or to is not None:
            raise ValueError("explainers and to are for pictures; leave them out for texts.")
        options: Any = {"methods": methods, "metrics": metrics, "baselines": baselines}
        return evaluate_texts(question, texts, layer=layer, seed=seed, progress=progress, **options)
    taken = open_model(model, input).input
    measures = find_metrics(metrics, sides=3 if taken.is_volume else 2)
    if tile is not None:
        _check_asks_nothing(measures)
    chosen = one_pass_methods() if methods is None else methods
    window, applied = split_window(preprocess)
    candidates = Candidates(
        model,
        [as_request(method).at(layer) for method in chosen],
        list(layer) if isinstance(layer, list | tuple) else [layer],
        explainers or {},
        tuple(BASELINES) if baselines is None else baselines,
        question.settings,
        input,
        seed,
        question.own_target,
        None if tile is None else Tiling(tile, applied),
    )
    places: dict[str, Any] = {"split": split, "data_dir": data_dir, "annotations": annotations}
    source = open_data(data, **places, floats=True, window=window, volumes=taken.form)
    folder = None if to is None else as_path(to, "to")
    with nullcontext() if folder is None else alone_in(folder):
        run = EvaluationRun(question, candidates, measures, source, folder, seed, skip_broken, key)
        run.resume()
        bar = progress_bar(source.count, "evaluating", progress, f"{source.kind}s", run.position)
        with run.noting(), closing(run), bar as advance:
            while run.step(advance):
                pass
        return run.conclude()


def _check_asks_nothing(measures: Sequence[Measure]) -> None:
    """Refuse, for maps of tiles, what asks the model about the picture as a whole."""
    asking = [measure.name for measure in measures if measure.kind in ASKING]
    if asking:
        raise ValueError(
            f"{', '.join(asking)} ask the model about a picture at once, and a map of tiles says "
            "what it answers of each tile. Name metrics that do not ask it, such as "
            'metrics=["energy", "pointing_game"], or leave tile= out.'
        )
