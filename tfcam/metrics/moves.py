"""The same map at other places: shifted around, mirrored, turned."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

# What float32 may add to the difference of two probabilities, with a factor of 10 to spare.
_TIE = 1e-6


def moved_maps(values: np.ndarray, draws: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Move a map to other places: the same values beside each other, elsewhere.

    A move shifts the map around along each side, so that what leaves at one end comes in at the
    other, mirrors it or not, and, where sides are equally long, turns it. No move is drawn twice,
    and none leaves the map where it is; where there are no more than ``draws``, all of them come.

    Args:
        values: A map of any number of axes.
        draws: The number of moves.
        seed: The seed of the moves.

    Yields:
        The moved maps, of the same shape.

    Example:
        >>> sorted(moved.tolist() for moved in moved_maps(np.array([0, 1, 2]), 99))
        [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    """
    shape, axes = values.shape, range(values.ndim)
    turns = [
        order
        for order in itertools.permutations(axes)
        if tuple(shape[axis] for axis in order) == shape
    ]
    sizes = (len(turns), *(min(side, 2) for side in shape), *shape)
    others = int(np.prod(sizes)) - 1  # all but the first, which leaves it as it is
    rng = np.random.default_rng(seed)
    for number in rng.choice(others, min(draws, others), replace=False) + 1:
        turn, *rest = (int(part) for part in np.unravel_index(number, sizes))
        mirrored = tuple(axis for axis in axes if rest[axis])
        turned = np.flip(values.transpose(turns[turn]), mirrored)
        yield np.roll(turned, rest[values.ndim :], tuple(axes))


def count_as_large(observed: float, others: np.ndarray) -> int:
    """Count the values that are at least as large as an observed one.

    Values within 1e-6 are equal: float32 holds no more of probabilities that are subtracted.
    """
    return int(np.count_nonzero(others >= observed - _TIE))


def permutation_p(observed: float, others: np.ndarray) -> float:
    """Compute the p-value of a permutation test: (1 + #{others >= observed}) / (1 + #others).

    Values within 1e-6 are equal.

    Args:
        observed: The value of the map that is tested.
        others: (n,) the values of the moved ones.

    Source: Phipson and Smyth 2010, "Permutation P-values should never be zero", equation 2.

    Example:
        >>> permutation_p(3.0, np.array([1.0, 2.0, 3.0]))
        0.5
    """
    return float((1 + count_as_large(observed, others)) / (1 + len(others)))
