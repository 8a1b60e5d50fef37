"""The removal test of words: hidden one after the other in the order of a map, and in others."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from tfcam.metrics.removal_test import LEAST, UNDECIDED, Removal, judged
from tfcam.metrics.word_probe import WordProbe

# Words are hidden in at most so many steps.
_STEPS = 8


def word_order(values: np.ndarray) -> np.ndarray:
    """Rank words (W,) int, from 0, the strongest first; of equal values the first word.

    Args:
        values: (W,) of the words, signed.

    Example:
        >>> word_order(np.array([0.1, -2.0, 3.0, 0.2])).tolist()
        [2, 3, 0, 1]
    """
    return np.asarray(np.argsort(np.argsort(-values, kind="stable")))


def marked_count(values: np.ndarray, fraction: float) -> int:
    """Count the words that a map marks: a fraction, one at least, of those above 0.

    Args:
        values: (W,) of the words, signed.
        fraction: Which part of the words.
    """
    return min(max(1, round(fraction * len(values))), int(np.count_nonzero(values > 0)))


def other_orders(own: np.ndarray, count: int, draws: int, seed: int) -> np.ndarray:
    """List other orders (N, W) of words, as to the first ones.

    All are taken where they are no more than draws, so that the test is exact, else as many drawn.

    Args:
        own: (W,) the rank of each word.
        count: The number of first words that tell orders apart.
        draws: The number of orders that are drawn.
        seed: Their seed.

    Example:
        >>> other_orders(np.array([1, 0, 2]), 1, 99, 0).tolist()
        [[0, 3, 3], [3, 3, 0]]
    """
    size = len(own)
    if math.perm(size, count) - 1 > draws:
        rng = np.random.default_rng(seed)
        return np.stack([rng.permutation(own) for _ in range(draws)])
    firsts = np.argsort(own)[:count].tolist()
    others = [list(each) for each in itertools.permutations(range(size), count)]
    others.remove(firsts)
    orders = np.full((len(others), size), size)
    for order, places in zip(orders, others, strict=True):
        order[places] = np.arange(count)
    return orders


def orders_of(values: np.ndarray, fraction: float, draws: int, seed: int) -> tuple[np.ndarray, int]:
    """The order of a map and the others that it is held against, (1 + N, W), and how many it marks.

    Args:
        values: (W,) of the words, signed.
        fraction: Which part of the words is marked.
        draws: The number of orders that are drawn.
        seed: Their seed.
    """
    own, count = word_order(values), marked_count(values, fraction)
    return np.stack([own, *other_orders(own, count, draws, seed)]), count


@dataclass(frozen=True)
class WordsHidden:
    """The probabilities of a text as words are hidden, the strongest first.

    Attributes:
        without: (N, S, C) float64, of each order, with more and more words hidden.
    """

    without: np.ndarray

    @classmethod
    def of(cls, probe: WordProbe, orders: np.ndarray, count: int) -> WordsHidden:
        """Hide 1, 2, ... count words of each order (N, W), in steps where they are many."""
        steps = np.unique(np.linspace(min(1, count), count, min(max(count, 1), _STEPS)).round())
        hidden = orders[:, np.newaxis] < steps[:, np.newaxis]
        asked = probe.probabilities(hidden.reshape(-1, orders.shape[1])).astype(np.float64)
        return cls(asked.reshape(*hidden.shape[:2], -1))

    @property
    def mean(self) -> np.ndarray:
        """(N, C) the mean over the steps."""
        mean: np.ndarray = self.without.mean(axis=1)
        return mean

    def contrast(self, whole: np.ndarray, target: int, rival: int) -> np.ndarray:
        """By how much the log odds of a class against a rival fall, on the mean (N,)."""
        before, after = (np.log(np.maximum(each, LEAST)) for each in (whole, self.without))
        falls: np.ndarray = (before - after).mean(axis=1)
        return falls[:, target] - falls[:, rival]


def word_removal(
    probe: WordProbe,
    values: np.ndarray,
    target: int,
    *,
    fraction: float = 0.25,
    draws: int = 99,
    seed: int = 0,
) -> Removal:
    """Test whether a model uses the words that a map marks, as ``tfcam.verify`` does.

    Args:
        probe: The model and the text.
        values: (W,) of the words, signed.
        target: The class.
        fraction: Which part of the words is marked.
        draws: The number of other orders, at most.
        seed: Their seed.
    """
    orders, count = orders_of(values, fraction, draws, seed)
    (whole,) = probe.probabilities(np.zeros((1, len(values)), bool))
    falls = whole[target] - WordsHidden.of(probe, orders, count).mean[:, target]
    return judged_words(falls, count)


def judged_words(falls: np.ndarray, count: int) -> Removal:
    """Judge a map of words by other orders; undecided where it marks none that could be hidden.

    Args:
        falls: (1 + N,) of the map, then of the others.
        count: The number of words that it marks.

    Example:
        >>> judged_words(np.zeros(1), 0)
        Removal(verdict='undecided', p_value=1.0)
    """
    return judged(falls[0], falls[1:]) if count else Removal(UNDECIDED, 1.0)
