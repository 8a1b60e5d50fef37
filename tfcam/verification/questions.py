"""The questions that hiding parts of the picture answers: the use, the class, the place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tfcam.metrics.baselines import centre_gaussian
from tfcam.utils.progress import Advance
from tfcam.verification.hiding import Hiding
from tfcam.verification.moves import moved_maps, permutation_p

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
# A p-value of at most the first supports, of more than the second does not.
SURE, UNSURE = 0.05, 0.2
# With fewer moved maps no p-value reaches SURE.
_FEWEST = 19
# Probabilities below are taken for it, so that their logarithm is finite.
_LEAST = 1e-30


@dataclass(frozen=True)
class Check:
    """The answer to one question.

    Attributes:
        question: The question.
        verdict: "supported", "not supported" or "undecided".
        sentence: What was found, in words that can be quoted.
        quantity: What ``value`` is, in words.
        value: The number; None where it could not be had.
        p_value: Of a permutation test; None where there is none.
        low: Where the middle 95 % of the moved maps' numbers begin; None without a test.
        high: Where they end.
    """

    question: str
    verdict: str
    sentence: str
    quantity: str = ""
    value: float | None = None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None


class Falls(NamedTuple):
    """What hiding what maps mark does, on the mean over the fills: of the map, then the others.

    Attributes:
        number: (N,) by how much the explained number falls.
        contrast: (N,) by how much its logarithm falls more than the rival's; None without a rival.
    """

    number: np.ndarray
    contrast: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Marks:
    """What a map marks, and what the same map marks at other places.

    Attributes:
        hiding: What asks the model.
        marked: (1 + N, H, W) bool at the model's input: of the map, then of the moved maps.
        values: The map that is moved: that of the layer, or of the pixels.
        count: The number of pixels that each marks.
    """

    hiding: Hiding
    marked: list[np.ndarray] = field(repr=False)
    values: np.ndarray
    count: int

    @classmethod
    def of(
        cls, hiding: Hiding, values: np.ndarray, fraction: float, draws: int, seed: int
    ) -> Marks:
        """Find what a map marks, and move it.

        Args:
            hiding: What asks the model.
            values: (h, w), the positive part of the map.
            fraction: Which part of the pixels is marked, at most; no pixel where the map is 0.
            draws: The number of moved maps.
            seed: The seed of the moves.
        """
        pixels = int(np.prod(hiding.sides))
        count = min(round(fraction * pixels), hiding.positive(values))
        maps = [values, *moved_maps(values, draws, seed)]
        return cls(hiding, [hiding.marked(each, count) for each in maps], values, count)

    def falls(self, marked: list[np.ndarray], advance: Advance) -> Falls:
        """Hide what maps mark.

        Args:
            marked: (H, W) bool each.
            advance: Is told of each variant.
        """
        asked = self.hiding.ask(marked, advance)
        number = self.hiding.number - asked[..., 0].mean(axis=1)
        probe, rival = self.hiding.probe, self.hiding.rival
        if rival is None:
            return Falls(number, None)
        classes = [int(probe.targets[0]), rival]
        whole = probe.class_probabilities(probe.inputs, [0])[0, classes].astype(np.float64)
        lower = np.log(np.maximum(whole, _LEAST)) - np.log(np.maximum(asked, _LEAST)).mean(axis=1)
        return Falls(number, lower[:, 0] - lower[:, 1])


def judged(value: float, others: np.ndarray) -> tuple[str, float]:
    """Judge a value by those of the moved maps: the verdict and the p-value.

    Supported where p is at most 0.05 and the value above 0; not supported where p is above 0.2, or
    the value not above 0; else undecided, as with fewer than 19 others.

    Args:
        value: Of the map.
        others: (n,) of the moved maps.

    Example:
        >>> judged(1.0, np.zeros(19)), judged(1.0, np.zeros(9)), judged(0.0, np.zeros(19))
        (('supported', 0.05), ('undecided', 0.1), ('not supported', 1.0))
    """
    p_value = permutation_p(value, others)
    if value <= 0 or p_value > UNSURE:
        return NOT_SUPPORTED if len(others) >= _FEWEST or value <= 0 else UNDECIDED, p_value
    return SUPPORTED if p_value <= SURE else UNDECIDED, p_value


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
    as_much = int(np.count_nonzero(others >= falls[0]))
    share = marks.count / np.prod(marks.hiding.sides)
    alone = "" if len(kept) == 1 else f", at other places {kept[1:].mean():.3g}"
    sentence = (
        f"Hiding what the map marks ({share:.0%} of the input) takes {name} from {number:.3g} to "
        f"{number - falls[0]:.3g}; of {len(others)} maps with the same values at other places "
        f"{as_much} do as much (p = {p_value:.2g}). What is marked alone gives "
        f"{kept[0]:.3g}{alone}."
    )
    return _tested("Does the model use what is marked?", verdict, sentence, falls, p_value)


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
    question = "Is it about this class?"
    if contrast is None:
        return Check(question, UNDECIDED, f"{name} is no class that others could be compared with.")
    verdict, p_value = judged(contrast[0], contrast[1:])
    alike = ""
    if similarity is not None:
        alike = f" The map of {rival} has a rank correlation of {similarity:.2f} with this one."
        verdict = NOT_SUPPORTED if similarity >= same else verdict
    sentence = (
        f"Hiding what is marked lowers the log odds of {name} against {rival}, the most likely "
        f"other class, by {contrast[0]:.3g} (p = {p_value:.2g})." + alike
    )
    return _tested(question, verdict, sentence, contrast, p_value, "fall of the log odds")


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
        return Check(question, UNDECIDED, "Only pictures are held against a hill in the middle.")
    more, spread = falls[0] - hill, float(falls[1:].std())
    verdict = SUPPORTED if more > spread else NOT_SUPPORTED if more < -spread else UNDECIDED
    if len(falls) <= _FEWEST:
        verdict = UNDECIDED
    elif more == spread == 0:
        verdict = NOT_SUPPORTED
    sentence = (
        f"Hiding what it marks lowers the number by {falls[0]:.3g}, hiding as much in the middle "
        f"of the picture by {hill:.3g}; by chance that differs by {spread:.2g}."
    )
    return Check(question, verdict, sentence, "fall less that of the middle", float(more))


def _tested(
    question: str,
    verdict: str,
    sentence: str,
    values: np.ndarray,
    p_value: float,
    quantity: str = "fall of the explained number",
) -> Check:
    low, high = np.quantile(values[1:], [0.025, 0.975]) if len(values) > 1 else (None, None)
    ends = [None if end is None else float(end) for end in (low, high)]
    return Check(question, verdict, sentence, quantity, float(values[0]), p_value, *ends)
