"""A blind comparison: which two maps a rater sees, on which sides, in which order."""

from __future__ import annotations

import itertools
import random
from typing import NamedTuple

from tfcam.evaluation.names import seed_of

# The share of pairs that a rater sees again, to measure how consistent the answers are.
REPEATS = 0.1


class Pair(NamedTuple):
    """Two maps of one picture.

    Attributes:
        picture: Which picture.
        left: Which method is on the left.
        right: Which is on the right.
        repeated: Whether the rater has seen it before, the sides aside.
    """

    picture: int
    left: int
    right: int
    repeated: bool = False


def plan(
    rater: str,
    pictures: int,
    methods: int,
    seed: int,
    *,
    most: int | None = None,
    repeats: float = REPEATS,
) -> tuple[Pair, ...]:
    """Plan what a rater is asked: the same for the same name and seed.

    Every two methods are compared on every picture, or, where there are to be fewer answers, as
    often as every other two. Order and sides are drawn at random; those that are repeated are of
    the first half and stand in the second, each with its sides drawn anew.

    Args:
        rater: The rater's name: another one has another order.
        pictures: The number of pictures.
        methods: The number of methods, at least two.
        seed: The seed of all raters.
        most: The largest number of pairs, the repeated ones aside; None for all.
        repeats: The share of the pairs that is repeated, in [0, 1].

    Raises:
        ValueError: If there is nothing to compare.

    Example:
        >>> pairs = plan("ada", pictures=3, methods=3, seed=0)
        >>> len(pairs), sum(pair.repeated for pair in pairs)
        (10, 1)
    """
    if methods < 2:
        raise ValueError(f"A blind comparison needs at least two methods; got {methods}.")
    if not 0 <= repeats <= 1:
        raise ValueError(f"repeats must be in [0, 1]; got {repeats}.")
    draw = random.Random(seed_of(rater, seed))
    duels = list(itertools.combinations(range(methods), 2))
    # Of every two methods the pictures in an order of their own, taken in turns.
    turns = [draw.sample(range(pictures), pictures) for _ in duels]
    pairs = [
        _sided(draw, Pair(picture, *duel))
        for round_of in zip(*turns, strict=True)
        for duel, picture in draw.sample([*zip(duels, round_of, strict=True)], len(duels))
    ][:most]
    half = len(pairs) // 2
    count = min(half, round(repeats * len(pairs)))
    again = [
        _sided(draw, pair)._replace(repeated=True) for pair in draw.sample(pairs[:half], count)
    ]
    late = pairs[half:]
    for pair in again:
        late.insert(draw.randint(min(1, len(late)), len(late)), pair)
    return (*pairs[:half], *late)


def _sided(draw: random.Random, pair: Pair) -> Pair:
    return pair if draw.random() < 0.5 else pair._replace(left=pair.right, right=pair.left)
