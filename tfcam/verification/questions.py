"""The questions that hiding parts of the picture answers: the use, the class, the place."""

from __future__ import annotations

import numpy as np

from tfcam.metrics.baselines import centre_gaussian
from tfcam.metrics.moves import count_as_large
from tfcam.metrics.removal_test import (
    FEWEST,
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDED,
    Marks,
    judged,
)
from tfcam.results.verification import Check

OF_USE, ABOUT_CLASS = "Does the model use what is marked?", "Is it about this class?"


def of_use(marks: Marks, name: str, falls: np.ndarray, kept: np.ndarray) -> Check:
    """Ask whether the model uses what is marked: the removal test.

    Args:
        marks: What is marked.
        name: What is explained.
        falls: (1 + N,) by how much the number falls.
        kept: (1 + n,) the number where all but what is marked is hidden.
    """
    verdict, p_value = judged(falls[0], falls[1:])
    number, others = marks.hiding.number, falls[1:]
    as_much = count_as_large(falls[0], others)
    share = marks.count / np.prod(marks.hiding.sides)
    alone = "" if len(kept) == 1 else f", at other places {kept[1:].mean():.3g}"
    sentence = (
        f"Hiding what the map marks ({share:.0%} of the input) takes {name} from {number:.3g} to "
        f"{number - falls[0]:.3g}; of {len(others)} maps with the same values at other places "
        f"{as_much} do as much (p = {p_value:.2g}). What is marked alone gives "
        f"{kept[0]:.3g}{alone}."
    )
    return by_permutation(OF_USE, verdict, sentence, falls, p_value)


def of_class(
    contrast: np.ndarray | None, name: str, rival: str, similarity: float | None, same: float
) -> Check:
    """Ask whether it is about this class, rather than about the most likely other one.

    Args:
        contrast: (1 + N,) by how much the log odds of the class against the other fall.
        name: What is explained.
        rival: The other class.
        similarity: The rank correlation with the other class's map; None where it is not known.
        same: From which similarity on the two maps are the same.
    """
    if contrast is None:
        return Check(
            ABOUT_CLASS, UNDECIDED, f"{name} is no class that others could be compared with."
        )
    verdict, p_value = judged(contrast[0], contrast[1:])
    alike = ""
    if similarity is not None:
        alike = f" The map of {rival} has a rank correlation of {similarity:.2f} with this one."
        verdict = NOT_SUPPORTED if similarity >= same else verdict
    sentence = (
        f"Against {rival}, the most likely other class, hiding what is marked "
        f"{effect(contrast[0], f'the log odds of {name}')} (p = {p_value:.2g})." + alike
    )
    return by_permutation(ABOUT_CLASS, verdict, sentence, contrast, p_value, "fall of the log odds")


def hill_marked(marks: Marks) -> np.ndarray:
    """Find what a hill in the middle of the picture marks, of as many pixels."""
    sides = marks.hiding.sides
    hill = centre_gaussian(np.zeros((*sides, 1), np.uint8)) if len(sides) == 2 else np.zeros(sides)
    return marks.hiding.marked(hill, marks.count)


def of_place(marks: Marks, falls: np.ndarray, hill: float) -> Check:
    """Ask whether the map says more than that things are in the middle.

    Supported where it lowers the number more than the hill does, by more than the deviation of the
    moved maps' falls; not supported where by that much less; undecided with fewer than 19 of them.

    Args:
        marks: What is marked.
        falls: (1 + N,) by how much the number falls.
        hill: By how much it falls where what a hill in the middle marks is hidden.
    """
    question = "Does it tell more than that things are in the middle?"
    if len(marks.hiding.sides) != 2:
        return Check(question, UNDECIDED, "Only pictures are compared with a centred map.")
    more, spread = falls[0] - hill, float(falls[1:].std())
    verdict = SUPPORTED if more > spread else NOT_SUPPORTED if more < -spread else UNDECIDED
    if len(falls) <= FEWEST:
        verdict = UNDECIDED
    elif more == spread == 0:
        verdict = NOT_SUPPORTED
    sentence = (
        f"Hiding what it marks {effect(falls[0], 'the number')}, hiding as much in the middle of "
        f"the picture {effect(hill, 'it')}; where the map is moved, the effect varies by "
        f"{spread:.2g} (standard deviation)."
    )
    return Check(question, verdict, sentence, "fall less that of the middle", float(more))


def effect(fall: float, what: str) -> str:
    """Say that a number falls, or rises.

    Args:
        fall: By how much it falls; below 0 it rises.
        what: What falls.

    Example:
        >>> effect(0.25, "the number"), effect(-0.5, "it")
        ('lowers the number by 0.25', 'raises it by 0.5')
    """
    return f"{'raises' if fall < 0 else 'lowers'} {what} by {abs(fall):.3g}"


def by_permutation(
    question: str,
    verdict: str,
    sentence: str,
    values: np.ndarray,
    p_value: float,
    quantity: str = "fall of the explained number",
) -> Check:
    """Answer a question by a permutation test.

    Args:
        question: The question.
        verdict: The verdict.
        sentence: What was found.
        values: (1 + N,) of the map, then of the others.
        p_value: Of the test.
        quantity: What the values are, in words.
    """
    low, high = np.quantile(values[1:], [0.025, 0.975]) if len(values) > 1 else (None, None)
    ends = [None if end is None else float(end) for end in (low, high)]
    return Check(question, verdict, sentence, quantity, float(values[0]), p_value, *ends)
