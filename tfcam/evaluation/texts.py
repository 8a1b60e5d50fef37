"""Methods measured on many texts: words hidden in the order of their maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfcam.engine.opened_model import open_model
from tfcam.evaluation.aggregate import Tally
from tfcam.evaluation.measure import Row
from tfcam.evaluation.names import CandidateKey
from tfcam.evaluation.question import Question
from tfcam.evaluation.result import Evaluation, conclude
from tfcam.explainer.explainer import Explainer
from tfcam.methods.selection import MethodChoice, as_request, request_name
from tfcam.metrics.checks import raw_map_of
from tfcam.metrics.registry import check_listed
from tfcam.metrics.word_orders import word_removal
from tfcam.metrics.word_probe import WordProbe, word_probes
from tfcam.metrics.words import erase_words
from tfcam.model.labels import class_of
from tfcam.model.taps import Layers
from tfcam.preprocessing.text_readers import split_label, strings_in
from tfcam.targets.classes import Difference
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


def texts_in(model: keras.Model, data: Any, input: str | int | None) -> list[Any] | None:
    """List texts, or (text, label), where a model of texts is given a list of these; else None."""
    if not isinstance(data, list | tuple) or not data or not open_model(model, input).is_text:
        return None
    first = data[0]
    own = first[0] if isinstance(first, tuple) and len(first) == 2 else first
    return list(data) if isinstance(strings_in(own, pairs=True), str | tuple) else None


def evaluate_texts(
    question: Question,
    data: Sequence[Any],
    *,
    methods: Sequence[MethodChoice] | None,
    metrics: Sequence[str] | None,
    layer: Layers,
    baselines: Sequence[str] | None,
    seed: int,
    progress: bool | None,
) -> Evaluation:
    """Measure methods on texts: see ``evaluate``.

    Args:
        question: What is asked of the model.
        data: Texts, or (text, label).
        methods: The methods; None for those that find words.
        metrics: Of ``TEXT_METRICS``, or "supported"; None for all but that one.
        layer: The layer; None for the embeddings, or the usual one.
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
    check_listed(metrics)
    known = TEXT_METRICS | {SUPPORTED: "higher"}
    better = _chosen("metrics", [*TEXT_METRICS] if metrics is None else metrics, known)
    usual = _chosen("baselines", baselines, dict.fromkeys(TEXT_BASELINES, "baseline"))
    texts, labels = _split(data)
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
                label = question.label(target)
                table.append(Row(name, *key, metric, value, target, label, likely))

    counts: list[int] = []
    chosen = [as_request(method) for method in methods or TEXT_METHODS]
    with progress_bar(len(chosen) + len(usual), "evaluating", progress) as advance:
        for request in chosen:
            explainer = Explainer(
                question.model,
                layer,
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
    return conclude(pd.DataFrame(table), tally, better, kinds, about, seed)


def _supported(
    probes: Sequence[WordProbe], maps: Sequence[Any], targets: np.ndarray, seed: int
) -> list[bool]:
    """Test each map of texts."""
    asked = zip(probes, maps, targets, strict=True)
    return [
        word_removal(probe, raw_map_of(own), int(target), seed=seed).verdict == SUPPORTED
        for probe, own, target in asked
    ]


def _split(data: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Split texts from their labels; a tuple of two strings is one text of two segments."""
    split = [split_label(each, pairs=True) for each in data]
    return [text for text, _ in split], [label for _, label in split]


def _target(question: Question, label: Any) -> int | None:
    """The class that is explained of a text."""
    if question.target is None:
        return None
    if question.target == "label" and label is None:
        raise ValueError("A text has no label, and target='label' explains that.")
    asked = label if question.target == "label" else question.target
    return class_of(asked, None, question.classes, question.known_labels)


def _chosen(name: str, asked: Sequence[str] | None, known: dict[str, str]) -> dict[str, str]:
    if asked is None:
        return known
    if strange := [each for each in asked if each not in known]:
        raise ValueError(f"{name} of texts must be of {', '.join(known)}; got {strange[0]!r}.")
    return {each: known[each] for each in asked}
