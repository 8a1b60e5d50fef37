"""The sizes of pictures, the lengths of texts, and which of them can be in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcam.model.graph import ModelGraph
from tfcam.model.inputs import Input
from tfcam.preprocessing.attached import attached_size


def keep_their_sizes(graph: ModelGraph, which: int = 0) -> bool:
    """Tell whether pictures keep their own sizes, so that those of several are in no batch.

    So do videos of any length.
    """
    taken = graph.inputs[which]
    if taken.is_volume:
        return None in taken.sides
    open_size = taken.is_image and None in taken.sides
    return open_size and attached_size(graph.model) is None and graph.family is None


def runs_of_one_size(pictures: Sequence[np.ndarray]) -> list[slice]:
    """Split pictures where their size changes.

    Example:
        >>> runs_of_one_size([np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((4, 3))])
        [slice(0, 2, None), slice(2, 3, None)]
    """
    shapes = [picture.shape for picture in pictures]
    starts = [n for n, shape in enumerate(shapes) if not n or shape != shapes[n - 1]]
    ends = [*starts[1:], len(shapes)] if shapes else []
    return [slice(*both) for both in zip(starts, ends, strict=True)]


def runs_of_one_length(graph: ModelGraph, which: int, texts: Sequence[Any]) -> list[slice]:
    """Split texts that were read, or their numbers, where the length changes.

    Padding counts wherever a model does not mask it: no text of a batch is filled up. Those with
    another text beside them, which may have any length, are taken one by one.
    """
    if any(map(_has_own_length, _others(graph, which))):
        return [slice(number, number + 1) for number in range(len(texts))]
    if graph.inputs[which].shape != (None,):
        return [slice(0, len(texts))]
    return runs_of_one_size([np.asarray(getattr(one, "numbers", one)) for one in texts])


def unpadded(graph: ModelGraph, which: int, others: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Cut off what only filled texts up that are given beside the explained one.

    Args:
        graph: What is known of the model.
        which: Which of its inputs is explained.
        others: The others, (B, ...) each.
    """
    return [
        values[:, : max(1, int(values.any(0).nonzero()[0].max(initial=0)) + 1)]
        if _has_own_length(taken)
        else values
        for taken, values in zip(_others(graph, which), others, strict=True)
    ]


def _others(graph: ModelGraph, which: int) -> list[Input]:
    return [taken for number, taken in enumerate(graph.inputs) if number != which]


def _has_own_length(taken: Input) -> bool:
    """Whether strings for an input become as many numbers as they have words."""
    return taken.behind is not None and taken.shape == (None,)


def size_for(
    graph: ModelGraph, shape: tuple[Any, ...], images: Sequence[np.ndarray]
) -> tuple[int, int]:
    """The (height, width) that pictures are resized to for a model that takes ``shape``."""
    if None not in shape[:2]:
        return shape[0], shape[1]
    attached = attached_size(graph.model)
    if attached is not None:
        return attached
    family = graph.family
    if family is None and len({image.shape[:2] for image in images}) > 1:
        raise ValueError(
            f"{graph.name!r} takes pictures of any size, and those of this batch have several; "
            "give them one by one, or resize them to one size."
        )
    nominal = (family.size, family.size) if family else images[0].shape[:2]
    height, width = (fixed or usual for fixed, usual in zip(shape[:2], nominal, strict=True))
    return height, width
