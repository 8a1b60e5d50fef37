"""Which layer and method explain a model best, measured on the user's pictures or texts."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import pandas as pd

from tfcam.engine.candidate_layers import candidate_layers
from tfcam.engine.opened_model import open_model
from tfcam.engine.options import GRID, Score
from tfcam.evaluation.evaluate import evaluate
from tfcam.evaluation.names import candidate_name
from tfcam.evaluation.ranking import SIGNIFICANT, rank_candidates
from tfcam.evaluation.result import Evaluation
from tfcam.evaluation.texts import better_of, texts_in
from tfcam.methods.selection import MethodChoice, as_request
from tfcam.metrics.registry import MetricChoice, find_metrics, fitting
from tfcam.model.labels import Labels
from tfcam.model.taps import Layer
from tfcam.passes.reading import Need
from tfcam.preprocessing.modes import Preprocess
from tfcam.targets.classes import Target
from tfcam.utils.terminal_text import make_printable

# What a map that explains the model must do: bring its score up, and down, sooner than others.
# In coarse steps, as many candidates are measured.
MEASURES: tuple[MetricChoice, ...] = (
    ("insertion", {"steps": 10}),
    ("deletion", {"steps": 10}),
    ("road", {"fractions": [0.3, 0.7]}),
)


@dataclass(frozen=True, eq=False, repr=False)
class Recommendation:
    """The layer and method that explain a model best.

    Attributes:
        method: The best method.
        layer: The best layer's path.
        table: A row for each layer and method, best first: its ``rank`` (the mean over pictures
            and metrics of its place among all, 1 for the best), ``n`` (the number of pictures on
            which it was measured), ``shared`` (on which the best was, too), ``p`` of its rank
            against the best on these, corrected by Holm for all pairs, ``differs``, whether that
            is below 0.05, and each metric's mean with ``_low`` and ``_high``.
        sentence: The result in words, with its numbers.
        evaluation: The ``Evaluation`` behind it.
    """

    method: str
    layer: str
    table: pd.DataFrame
    sentence: str
    evaluation: Evaluation

    def __repr__(self) -> str:
        metrics = list(dict.fromkeys(self.evaluation.summary["metric"]))
        table = self.table[["method", "layer", "rank", *metrics, "n", "p"]].round(3)
        lines = "\n".join([self.sentence, *self.evaluation.to_mind()])
        return make_printable(f"{lines}\n\n{table.to_string(index=False)}")

    def _repr_html_(self) -> str:
        lines = [self.sentence, *self.evaluation.to_mind()]
        said = "".join(f"<p>{html.escape(line, quote=False)}</p>" for line in lines)
        return f"{said}{self.table.round(3).to_html(index=False)}"


def recommend(
    model: keras.Model,
    images: Any,
    *,
    methods: Sequence[MethodChoice] | None = None,
    layers: Sequence[Layer] | None = None,
    metrics: Sequence[MetricChoice] | None = None,
    target: Target = None,
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
    progress: bool | None = None,
) -> Recommendation:
    """Find the layer and the method whose maps say best what a model looks at, on your data.

    Each candidate is ranked on each picture, or text, by each metric; the mean rank decides, as in
    Friedman's test. The pictures on which it was chosen flatter the best a little: measure it
    again on others where a number is to be quoted.

    Args:
        model: Any built Keras 3 model, as ``tfcam.evaluate`` takes it.
        images: A folder, a list of pictures or a data set, as ``tfcam.evaluate`` takes its data;
            twenty pictures say more than five. Of a model of texts a list of strings or of (string,
            label), a .txt file with a text on each line, or a data set of them.
        methods: The methods, by their names in ``tfcam.METHODS``; by default those of one pass that
            weight the channels of any layer. Functions Reading -> (B, h, w) and names with options,
            as in ("score_cam", {"channels": 32}), are taken, too.
        layers: The layers, each a path ("resnet50/conv5_block3_out"), a bare name where it is
            unique, or an index of ``tfcam.layers``; by default the one that ``tfcam.explain`` takes
            and, of each of the two map sizes before it, the last. Layer objects are taken, too.
        metrics: The metrics, by their names in ``tfcam.metrics.METRICS``; by default insertion,
            deletion and ROAD in coarse steps, of videos and volumes without ROAD, of texts those
            that ``tfcam.evaluate`` takes. Names with options, as in ("deletion", {"steps": 10}),
            are taken, too.
        target: The class that is explained: an index, a label, or "label" for each picture's own;
            by default the one that the model predicts. Also a ``tfcam.Difference``, or a callable
            outputs -> (B,) on the outputs before the final softmax or sigmoid, such as
            ``tfcam.Segmentation``.
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
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.

    Returns:
        A ``Recommendation``: the best method and layer, the ranked ``table``, and a sentence that
        gives the numbers and says whether they differ from those of the next.

    Raises:
        ValueError: If an argument does not fit the model or the data.

    Source: Demsar 2006, "Statistical comparisons of classifiers over multiple data sets", for mean
        ranks, Wilcoxon's test and Holm's correction.

    Example:
        >>> import tfcam
        >>> pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(6)]
        >>> choice = tfcam.recommend(
        ...     tfcam.demo_model(), pictures, methods=["grad_cam", "eigen_cam"],
        ...     layers=["features"], metrics=["deletion"])
        >>> choice.layer, len(choice.table)
        ('features', 2)
    """
    opened, candidates = open_model(model, input), layers
    texts = texts_in(model, images, input, preprocess)
    if texts is None:
        sides = 3 if opened.input.is_volume else 2
        metrics = fitting(MEASURES, sides) if metrics is None else metrics
    if candidates is None and not opened.graph.is_black_box and texts is None:
        candidates = candidate_layers(opened, GRID.check(grid), output)
        if any(Need.CLASS_WEIGHTS in as_request(one).method.needs for one in methods or ()):
            candidates = candidates[:1]  # CAM applies before a linear head alone
    result = evaluate(
        model,
        images,
        methods=methods,
        metrics=metrics,
        layer=None if candidates is None else list(candidates),
        target=target,
        baselines=(),
        split=split,
        data_dir=data_dir,
        annotations=annotations,
        preprocess=preprocess,
        labels=labels,
        score=score,
        input=input,
        output=output,
        grid=grid,
        batch_size=batch_size,
        tile=tile,
        to=to,
        key=key,
        seed=seed,
        progress=progress,
    )
    better = {measure.name: measure.better for measure in find_metrics(metrics)}
    table = rank_candidates(result.table, better if texts is None else better_of(metrics))
    for metric, rows in result.summary.groupby("metric", sort=False):
        numbers = rows.set_index(["method", "layer"])[["mean", "low", "high"]]
        numbers.columns = pd.Index([str(metric), f"{metric}_low", f"{metric}_high"])
        table = table.join(numbers, on=["method", "layer"])
    best = table.iloc[0]
    return Recommendation(
        best["method"], best["layer"], table, _sentence(table, result, model.name), result
    )


def _sentence(table: pd.DataFrame, result: Evaluation, model: str) -> str:
    """Say which candidate is best, with the numbers, and whether it differs from the next."""
    best = table.iloc[0]
    metrics = list(dict.fromkeys(result.summary["metric"]))

    def numbers(row: pd.Series) -> str:
        parts = []
        for metric in metrics:
            mean, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
            interval = "" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]"
            parts.append(f"{metric.split('(')[0]} {mean:.3f}{interval}")
        return ", ".join(parts)

    count, others = int(best["n"]), len(table) - 1
    of_all = "" if count == result.pictures else f" of {result.pictures}"
    name = candidate_name(best["method"], best["layer"])
    unit = result.settings.get("unit", "pictures")
    these = f"this {unit[:-1]}" if result.pictures == 1 else f"these {count}{of_all} {unit}"
    text = f"{name} explains {model} best on {these}: {numbers(best)}."
    text += "".join(
        f" {silent} is not ranked: {reason}."
        for silent, reason in result.settings.get("not_measured", {}).items()
        if silent not in metrics
    )
    if not others:
        return text
    second = table.iloc[1]
    text += f" Next is {candidate_name(second['method'], second['layer'])}: {numbers(second)}."
    shared = f" on the {second['shared']} {unit} of both" if second["shared"] < count else ""
    test = f"p = {second['p']:.2g}{shared}, Wilcoxon, corrected by Holm for all pairs"
    if second["differs"]:
        return f"{text} Their difference is significant ({test})."
    equal = int((~table["differs"].iloc[1:]).sum())
    text += (
        f" Their difference is not significant ({test}); {equal} of the {others} others can't be "
        "told from the best."
    )
    if 2.0 ** (1 - count) * math.comb(len(table), 2) >= SIGNIFICANT:
        text += f" With so few {unit} no difference could be significant: take more."
    return text
