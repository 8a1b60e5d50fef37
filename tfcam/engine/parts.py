"""Many targets of one call: part by part, all by what is compiled for one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfcam.engine.settings import Computed
from tfcam.targets.classes import Top
from tfcam.targets.resolve import ResolvedTarget

# So many targets share a forward pass: to compile one takes about a tenth of a second.
AT_ONCE = 32


def in_parts(
    answer: Callable[[Sequence[ResolvedTarget]], list[Computed]],
    targets: Sequence[ResolvedTarget],
) -> list[Computed]:
    """Answer targets, a ``Top`` as each of its classes, no more than ``AT_ONCE`` at a time.

    Args:
        answer: Computes the maps of some targets.
        targets: Of one call.
    """
    count = sum(target.k if isinstance(target, Top) else 1 for target in targets)
    if count <= AT_ONCE:
        return answer(targets)
    each: list[ResolvedTarget] = []
    for target in targets:
        each += _classes(target, answer) if isinstance(target, Top) else [target]
    size = -(-count // -(-count // AT_ONCE))  # of parts that are nearly equal
    computed = []
    for start in range(0, count, size):
        part = each[start : start + size]
        # The last is filled up, so that nothing is compiled for it alone.
        computed += answer([*part, *part[-1:] * (size - len(part))])[: len(part)]
    return computed


def _classes(
    top: Top, answer: Callable[[Sequence[ResolvedTarget]], list[Computed]]
) -> list[ResolvedTarget]:
    (first,) = answer([Top(1)])
    return list(top.pairs(tf.constant(first.values)).numpy()[:, np.newaxis])
