"""Models that leave the size of pictures or the length of texts open, and yet take one only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from tfcam.model.call_graph import CallGraph
from tfcam.model.inputs import Input
from tfcam.model.tracing import trace_calls
from tfcam.model.tree import ModelTree

# Sizes and lengths for which networks are made; the first is what stands for any.
_USUAL = (224, 16, 32, 64, 77, 96, 128, 160, 192, 256, 299, 320, 331, 336, 384, 448, 512, 518, 640)


def is_open(structure: Any) -> bool:
    """Whether a model leaves the size of an input open."""
    return any(None in taken.sides for taken in tf.nest.flatten(structure))


def pin_size(tree: ModelTree, structure: Any) -> tuple[Any, CallGraph]:
    """Find the one size that a model takes, where it takes one only.

    A network of a fixed size may stand inside, or weights for so many positions or words.

    Args:
        tree: The model.
        structure: Its inputs, some of an open size.

    Returns:
        The inputs with that size, or as they were where any will do; and what the model calls, as
        seen from the first.

    Raises:
        Exception: Whatever the model says of the usual size, where it takes none.
    """

    def trace(given: Any) -> CallGraph:
        return trace_calls(tree, given, 0)

    inner = list(dict.fromkeys(_fixed_sizes(tree)))
    if not inner:
        try:
            traced = trace(structure)
        except Exception as error:
            refused = error
        else:
            bound = min(_bounds(tree, traced), default=_USUAL[0])
            if bound >= _USUAL[0] or not _are_texts(structure):
                return structure, traced
            structure = _with_usual(structure, bound)
            return structure, trace(structure)
    else:
        refused = ValueError(f"{tree.name!r} takes no picture of any size that was tried.")
    for size in dict.fromkeys((*inner, *_USUAL)):
        pinned = _sized(structure, size)
        try:
            traced = trace(pinned)
        except Exception:
            continue
        if inner and _takes_any(trace, structure):  # behind a layer that resizes
            return structure, trace(structure)
        if _are_texts(structure) and _takes(trace, _sized(structure, size // 2)):
            return _with_usual(structure, size), traced  # of at most so many positions
        return pinned, traced
    raise refused


def _fixed_sizes(tree: ModelTree) -> Iterator[int]:
    """The sizes of the square pictures that networks inside a model take."""
    for operation in tree.operations:
        network = isinstance(operation, keras.Model)
        shape = getattr(operation, "input_shape", None) if network else None
        if isinstance(shape, tuple) and len(shape) == 4 and shape[1] == shape[2] and shape[1]:
            yield shape[1]


def _bounds(tree: ModelTree, traced: CallGraph) -> Iterator[int]:
    """How many positions a text may have at most, as layers say that have weights for each."""
    for operation in tree.operations:
        length = getattr(operation, "sequence_length", None)
        if isinstance(length, int):
            yield length
    tables = (c for c in traced.calls if isinstance(c.operation, keras.layers.Embedding))
    for call in tables:
        # What counts positions comes from no input: at most from its shape.
        if not set(call.inputs) & set(traced.sources) and call != traced.embedding:
            yield int(call.operation.input_dim)


def _takes_any(trace: Callable[[Any], Any], structure: Any) -> bool:
    return _takes(trace, structure) and _takes(trace, _sized(structure, _USUAL[0] + 32))


def _takes(trace: Callable[[Any], Any], structure: Any) -> bool:
    try:
        trace(structure)
    except Exception:
        return False
    return True


def _are_texts(structure: Any) -> bool:
    """Whether all that a model leaves open is the length of texts."""
    return all(len(one.shape) == 1 for one in tf.nest.flatten(structure) if None in one.sides)


def _with_usual(structure: Any, size: int) -> Any:
    return tf.nest.map_structure(lambda one: replace(one, usual=size), structure)


def _sized(structure: Any, size: int) -> Any:
    """The inputs, those of an open size with this one."""

    def sized(taken: Input) -> Input:
        sides = tuple(side or size for side in taken.sides)
        return replace(taken, shape=(*sides, *taken.shape[len(sides) :]))

    return tf.nest.map_structure(sized, structure)
