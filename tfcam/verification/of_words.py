"""Three of the questions, asked of a map of words: its use, its class, what was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcam.explainer.explainer import Explainer
from tfcam.metrics.moves import count_as_large
from tfcam.metrics.removal_test import UNDECIDED
from tfcam.metrics.similarity import spearman
from tfcam.metrics.word_orders import (
    WordsHidden,
    judged_words,
    marked_count,
    orders_of,
    word_order,
)
from tfcam.metrics.word_probe import WordProbe
from tfcam.results.explanation import Explanation
from tfcam.results.verification import WORD_FILLS, Check, Verification
from tfcam.targets.classes import NOTHING, Target, pair_name
from tfcam.utils.progress import Advance, progress_bar
from tfcam.utils.versions import versions
from tfcam.verification.again import SAME, STAGES, AgainOfText, of_training, random_maps
from tfcam.verification.inquiry import Inquiry, check_number
from tfcam.verification.questions import ABOUT_CLASS, OF_USE, by_permutation, of_class

# Of fewer words a rank correlation is large by chance: its mean size is about 0.8 / sqrt(W - 1).
_FEWEST_WORDS = 10


def verify_words(
    inquiry: Inquiry,
    probes: Sequence[WordProbe],
    text: Any,
    explanation: Explanation,
    explainer: Explainer | None,
    is_given: bool = False,
) -> Verification:
    """Ask how far a map of words can be trusted.

    The strongest quarter of the words is hidden one after the other, and the mean fall of the
    class's probability held against that of other orders of the words. The mean, as where one word
    decides, a quarter of all choices of a quarter of the words holds it, but few orders begin so.

    Args:
        inquiry: How it is asked.
        probes: The model and the text, one.
        text: What was explained, as it was given.
        explanation: The map.
        explainer: What makes it again.
        is_given: Whether the user gave that: then it must make this map.

    Raises:
        ValueError: If the map is not of this model and text, or explains no class.
    """
    target = _class_of(explanation)
    if len(probes) != 1:
        raise ValueError(f"verify takes one text; got {len(probes)}. Verify them one by one.")
    if inquiry.fills is not None:
        raise ValueError("fills are for pictures: words are hidden by the mask or padding.")
    (probe,) = probes
    if explanation.words != probe.read.words:
        raise ValueError(
            f"The map belongs to the words {' '.join(explanation.words)!r:.80}, but the model sees "
            f"{' '.join(probe.read.words)!r:.80}. Give verify the same text as image=, and the "
            "same preprocess=."
        )
    (whole,) = probe.probabilities(np.zeros((1, len(explanation.words)), bool))
    check_number(explanation, explanation.probability, float(whole[target]))
    rival = int(np.argmax(np.where(np.arange(len(whole)) == target, -1.0, whole)))
    orders, count = orders_of(explanation.raw, inquiry.fraction, inquiry.draws, inquiry.seed)
    with progress_bar(2 + STAGES, "verifying", inquiry.progress) as advance:
        hidden = WordsHidden.of(probe, orders, count)
        falls = whole[target] - hidden.mean[:, target]
        again = _again(explainer, is_given, text, explanation)
        many = len(explanation.words) >= _FEWEST_WORDS
        alike = spearman(again.own, again.map(target=rival)) if again and many else None
        advance(2)
        contrast = None if rival == target else hidden.contrast(whole, target, rival)
        other = pair_name((rival, NOTHING), inquiry.labels)
        checks = (
            _of_use(probe, explanation, orders[0] < count, hidden, whole, target),
            of_class(contrast, explanation.name, other, alike, SAME)
            if count
            else Check(ABOUT_CLASS, UNDECIDED, _nothing(explanation)),
            _of_training(again, probe, inquiry, whole, target, float(falls[0]), advance),
        )
    return Verification(
        explanation.name,
        float(whole[target]),
        checks,
        falls,
        explanation.image,
        explanation.heatmap,
        inquiry.fraction,
        WORD_FILLS,
        inquiry.seed,
        hidden.without[..., 0].size + 1,
        0 if again is None else again.count,
        versions(),
    )


def check_class(explanation: Explanation, target: Target) -> None:
    """Refuse a target that is not the class that a map of words explains.

    Raises:
        ValueError: If it is another.
    """
    own = _class_of(explanation)
    if target is not None and target not in (own, explanation.label):
        raise ValueError(
            f"The explanation is of {explanation.name!r}; got target={target!r}. Leave target= "
            "out, or explain that first."
        )


def explains_class(explanation: Explanation) -> bool:
    """Whether a map of words explains a class, as it must to be verified."""
    kind = explanation.score_kind == "callable" or " and not " in (explanation.label or "")
    return not kind and explanation.target is not None


def _class_of(explanation: Explanation) -> int:
    if not explains_class(explanation) or explanation.target is None:
        raise ValueError(
            f"The words of a text are verified for a class; the explanation is of "
            f"{explanation.name!r}, which is none. For that see explain's target=."
        )
    return explanation.target


def _of_use(
    probe: WordProbe,
    explanation: Explanation,
    marks: np.ndarray,
    hidden: WordsHidden,
    whole: np.ndarray,
    target: int,
) -> Check:
    falls = whole[target] - hidden.mean[:, target]
    count = int(marks.sum())
    verdict, p_value = judged_words(falls, count)
    if not count:
        return by_permutation(OF_USE, verdict, _nothing(explanation), falls, p_value)
    alone = probe.probabilities(~marks[np.newaxis])[0, target]
    words = ", ".join(
        repr(word) for word, is_marked in zip(explanation.words, marks, strict=True) if is_marked
    )
    sentence = (
        f"Hiding {words} ({count} of {len(explanation.words)} words) takes "
        f"{explanation.name} from {whole[target]:.3g} to {hidden.without[0, -1, target]:.3g}; of "
        f"{len(falls) - 1} other orders of words {count_as_large(falls[0], falls[1:])} lower it as "
        f"much, on the mean of the steps (p = {p_value:.2g}). "
        f"These words alone give {alone:.3g}."
    )
    return by_permutation(OF_USE, verdict, sentence, falls, p_value)


def _nothing(explanation: Explanation) -> str:
    """Say that a map marks no word."""
    return (
        f"No word speaks for {explanation.name}: the map marks nothing that could be hidden. "
        "Explain the class that the model predicts."
    )


def _again(
    explainer: Explainer | None, is_given: bool, text: Any, explanation: Explanation
) -> AgainOfText | None:
    if explainer is None:
        return None
    again = AgainOfText(explainer, text, explanation.target)
    if is_given and spearman(again.own, explanation.raw) < SAME:
        raise ValueError("explainer must make the map that is verified; its own is another.")
    return again if spearman(again.own, explanation.raw) >= SAME else None


def _of_training(
    again: AgainOfText | None,
    probe: WordProbe,
    inquiry: Inquiry,
    whole: np.ndarray,
    target: int,
    fall: float,
    advance: Advance,
) -> Check:
    """Ask what the map owes to training; nothing where the words are too few to tell."""
    if len(probe.read.words) < _FEWEST_WORDS:
        why = f"Rank correlations tell something from {_FEWEST_WORDS} words on."
        return Check("Does it come from what was learnt?", UNDECIDED, why)
    maps = random_maps(again, probe.opened.graph.model, inquiry.seed, advance)
    others = np.array(
        [
            whole[target] - WordsHidden.of(probe, order, count).mean[0, target]
            for each in ([] if isinstance(maps, str) else maps)
            for order, count in [
                (word_order(each)[np.newaxis], marked_count(each, inquiry.fraction))
            ]
        ]
    )
    return of_training(again, maps, fall, others)
