"""Contestants timed round by round, so that what slows the machine down slows all of them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Seconds = dict[str, list[float]]


def interleaved(
    contestants: Mapping[str, Callable[[], object]], rounds: int, warm_up: int
) -> Seconds:
    """The seconds that each contestant takes in each round, called once in each, in shuffled order.

    Args:
        contestants: What is called, by name.
        rounds: How often each is timed.
        warm_up: How often each is called before, untimed.
    """
    for call in contestants.values():
        for _ in range(warm_up):
            call()
    order, shuffle = list(contestants), random.Random(0).shuffle
    seconds: Seconds = {name: [] for name in order}
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            seconds[name].append(round(timed(contestants[name]), 6))
    return seconds


def timed(call: Callable[[], object]) -> float:
    """How many seconds a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(seconds: Sequence[float], to: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, median and upper quartile of the ratios of each round."""
    low, median, high = np.percentile(np.divide(seconds, to), (25, 50, 75))
    return float(low), float(median), float(high)
