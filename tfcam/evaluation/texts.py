"""Methods measured on many texts: words hidden in the order of their maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tfcam.data.example import Skipped
from tfcam.engine.opened_model import open_model
from tfcam.engine.refusals import WORD_HIDING
from tfcam.evaluation.aggregate import Tally
from tfcam.evaluation.measure import Row
from tfcam.evaluation.names import CandidateKey
from tfcam.evaluation.question import Question
from tfcam.evaluation.result import Evaluation, conclude
from tfcam.explainer.explainer import Explainer
from tfcam.methods.registry import Request
from tfcam.methods.selection import MethodChoice, as_request, request_name
from tfcam.metrics.checks import raw_map_of
from tfcam.metrics.registry import METRICS, check_listed
from tfcam.metrics.word_orders import word_removal
from tfcam.metrics.word_probe import WordProbe, word_probes
from tfcam.metrics.words import erase_words
from tfcam.model.labels import class_of
from tfcam.model.taps import Layers
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.text_readers import strings_in
from tfcam.streaming.texts import open_texts, text_of
from tfcam.targets.classes import NOTHING, Difference
from tfcam.utils.progress import progress_bar
from tfcam.utils.versions import versions

# Those that find the word that decides; see the guide on texts.
TEXT_METHODS = ("integrated_gradients", "gradient_input", "saliency", "occlusion")
TEXT_METRICS = {
    "deletion": "lower",
    "insertion": "higher",
    "comprehensiveness": "higher",
    "sufficiency": "lower",
}
# Of 0 and 1, whose mean is a share: the removal test of ``tfcam.verify``, up to 800 passes a map.
SUPPORTED = "supported"
# Maps that know nothing: of random values, and of values that fall from the first word to the last.
TEXT_BASELINES = ("random_words", "first_words")


def texts_in(
    model: keras.Model, data: Any, input: str | int | None, preprocess: Preprocess
) -> list[Any] | None:
    """List the texts that a model of texts is given, (text, label) each; else None.

    Args:
        model: The model.
        data: A list of strings or of (string, label), a ``.txt`` file with a text on each line, or
            a ``tf.data.Dataset`` of strings.
        input: Which input is explained.
        preprocess: What may turn strings into the model's inputs.

    Raises:
        ValueError: If one of the texts is none.
    """
    opened = open_model(model, input)
    if opened.is_text and opened.others and opened.input.behind is not None:
        names = ", ".join(repr(taken.name) for taken in opened.graph.inputs)
        raise ValueError(
            f"Methods are measured on texts where these are all that a model takes; {model.name!r} "
            f"takes {names}. Explain and verify what you have one by one."
        )
    if not (opened.is_text and _holds_strings(data)):
        return None
    source = open_texts(data, pairs=callable(preprocess) or opened.input.behind is None)
    texts = []
    for number, example in enumerate(source.read(0)):
        if isinstance(example, Skipped):
            raise ValueError(f"Text number {number} can't be measured. {example.reason}")
        texts.append((text_of(example.image), example.label))
    return texts


def _holds_strings(data: Any) -> bool:
    if isinstance(data, tf.data.Dataset):
        return any(each.dtype == tf.string for each in tf.nest.flatten(data.element_spec))
    if isinstance(data, str | os.PathLike):
        return os.fspath(data).endswith(".txt")
    if not isinstance(data, list | tuple) or not data:
        return False
    first = data[0]
    own = first[0] if isinstance(first, tuple) and len(first) == 2 else first
    return isinstance(strings_in(own, pairs=True), str | tuple)


def better_of(metrics: Sequence[Any] | None) -> dict[str, str]:
    """Tell which way metrics of texts are better: "higher" or "lower" for each.

    Args:
        metrics: Their names; None for all but "supported".

    Raises:
        ValueError: If there is no such metric, or none is asked for.

    Example:
        >>> better_of(["deletion"])
        {'deletion': 'lower'}
    """
    check_listed(metrics)
    known = TEXT_METRICS | {SUPPORTED: "higher"}
    return _chosen("metrics", [*TEXT_METRICS] if metrics is None else metrics, known)


def evaluate_texts(
    question: Question,
    data: Sequence[tuple[Any, Any]],
    *,
    methods: Sequence[MethodChoice] | None,
    metrics: Sequence[Any] | None,
    layer: Layers,
    baselines: Sequence[str] | None,
    seed: int,
    progress: bool | None,
) -> Evaluation:
    """Measure methods on texts: see ``evaluate``.

    Args:
        question: What is asked of the model.
        data: (text, label), None where it has none.
        methods: The methods; None for those that find words.
        metrics: Of ``TEXT_METRICS``, or "supported"; None for all but that one.
        layer: The layer, or several, each by itself; None for the embeddings, or the usual one.
        baselines: Of ``TEXT_BASELINES``; None for both.
        seed: Random seed of the baseline and the intervals.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If there is no such metric or baseline, or a text lacks the label it needs.
    """
    if question.own_target is not None or isinstance(question.target, Difference):
        raise ValueError(
            "The target of texts must be None, 'label', a class index or a label; got "
            f"{question.target!r}."
        )
    better = better_of(metrics)
    usual = _chosen("baselines", baselines, dict.fromkeys(TEXT_BASELINES, "baseline"))
    texts, labels = [text for text, _ in data], [label for _, label in data]
    targets = [_target(question, label) for label in labels]
    settings = question.settings
    shared: dict[str, Any] = {
        "preprocess": question.preprocess,
        "input": question.input,
        "output": settings.output,
    }
    probes: list[WordProbe] = []
    if SUPPORTED in better:
        probes = word_probes(question.model, texts, question.preprocess, question.input, settings)
    table: list[Row] = []
    kinds: dict[CandidateKey, str] = {}

    def add(key: CandidateKey, kind: str, maps: Sequence[Any]) -> None:
        kinds[key] = kind
        own: Any = None if None in targets else targets
        erased = erase_words(
            question.model, texts, maps, own, batch_size=settings.at_once, **shared
        )
        supported = _supported(probes, maps, erased.targets, seed) if probes else []
        for place, text in enumerate(texts):
            target, likely = int(erased.targets[place]), float(erased.probabilities[place])
            name = f"{place:06d} {text if isinstance(text, str) else ' | '.join(text)}"
            for metric in better:
                values = supported if metric == SUPPORTED else getattr(erased, metric)
                value = float(values[place])
                label = question.label((target, NOTHING))
                table.append(Row(name, *key, metric, value, target, label, likely))

    counts: list[int] = []
    opened = open_model(question.model, question.input)
    usual_methods = TEXT_METHODS if opened.has_embeddings else WORD_HIDING
    chosen = [as_request(method) for method in methods or usual_methods]
    asked = [(request, place) for request in chosen for place in _places(request, layer)]
    with progress_bar(len(asked) + len(usual), "evaluating", progress) as advance:
        for request, place in asked:
            explainer = Explainer(
                question.model,
                place,
                method=request.method.name,
                labels=question.labels,
                score=settings.score,
                batch_size=settings.at_once,
                progress=False,
                **shared,
                **request.options,
            )
            results = explainer(texts, None if None in targets else targets)
            counts = [len(each.words) for each in results]
            add(CandidateKey(request_name(request), results[0].layer or ""), "method", results)
            advance()
        rng = np.random.default_rng(seed)
        for name in usual:
            drawn = [rng.random(n) if name == "random_words" else -np.arange(n) for n in counts]
            add(CandidateKey(name, ""), "baseline", drawn)
            advance()
    tally = Tally({}, seed)
    tally.pictures = len(texts)
    about = {"model": question.model.name, "unit": "texts", "versions": versions()}
    ranges = {name: METRICS[name].within for name in better}
    return conclude(pd.DataFrame(table), tally, better, kinds, about, seed, ranges)


def _places(request: Request, layer: Layers) -> list[Any]:
    """The layers that a method is asked at, one by one; none where it explains no layer."""
    places = list(layer) if isinstance(layer, list | tuple) else [layer]
    return places if request.at(places[0]).method.placed else [None]


def _supported(
    probes: Sequence[WordProbe], maps: Sequence[Any], targets: np.ndarray, seed: int
) -> list[bool]:
    """Test each map of texts."""
    asked = zip(probes, maps, targets, strict=True)
    return [
        word_removal(probe, raw_map_of(own), int(target), seed=seed).verdict == SUPPORTED
        for probe, own, target in asked
    ]


def _target(question: Question, label: Any) -> int | None:
    """The class that is explained of a text."""
    if question.target is None:
        return None
    if question.of_labels and label is None:
        raise ValueError("A text has no label, and target='label' explains that.")
    asked = label if question.of_labels else question.target
    return class_of(asked, None, question.classes, question.known_labels)


def _chosen(name: str, asked: Sequence[Any] | None, known: dict[str, str]) -> dict[str, str]:
    if asked is None:
        return known
    if strange := [each for each in asked if not isinstance(each, str) or each not in known]:
        raise ValueError(f"{name} of texts must be of {', '.join(known)}; got {strange[0]!r}.")
    return {each: known[each] for each in asked}
