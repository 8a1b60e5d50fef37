"""The sizes that pictures are brought to, or keep, and which of them can be in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcam.model.graph import ModelGraph
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
    return [slice(*ends) for ends in zip(starts, [*starts[1:], len(shapes)], strict=True)]


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
