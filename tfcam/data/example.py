"""One picture and the truth about it, and where many of them come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

# The units of sources of videos and of volumes.
VIDEOS, VOLUMES = "videos", "volumes"
OF_VOLUMES = (VIDEOS, VOLUMES)

# Read by ``tfcam.targets.labels.read_label``, which knows how many classes the model has.
Label = int | str | float | np.ndarray | None


@dataclass(frozen=True, eq=False)
class Example:
    """One picture and the truth about it.

    Attributes:
        id: Its name, of which no other has the same.
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4), half-open [x0, y0, x1, y1) in pixels; None where nothing is known.
        label: Its class, by index or name, or one-hot; None where it is not known.
        box_labels: The class of each box, where several may be in one picture.
        mask: (H, W) bool, the pixels of the object; None where it is not known.
        others: Of a model with several inputs, what it takes beside the image, in its order.
    """

    id: str
    image: np.ndarray
    boxes: np.ndarray | None = None
    label: Label = None
    box_labels: tuple[int | str, ...] = ()
    mask: np.ndarray | None = None
    others: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A picture that could not be used.

    Attributes:
        id: Its name.
        reason: Why, in a sentence.
    """

    id: str
    reason: str


class Mark(NamedTuple):
    """What tells a picture and its truth from others.

    Attributes:
        picture: A digest of its file or, where it is none, of its pixels; "" where there is none.
        label: Its class.
        truth: A digest of its boxes, its mask and what else the model takes; None where not kept.
    """

    picture: str
    label: Label
    truth: str | None


@dataclass(frozen=True)
class Source:
    """Pictures that can be read from any place on, again and again.

    Attributes:
        name: What they are, in words.
        read: From a place on, one by one.
        count: Their number; None where that is not known.
        key: What tells them from others.
        label_names: The names of their classes, where labels are indices that have some.
        item: One of them by its place, from several threads at once; None where they can be read
            in their order only.
        place: How to find them again, as ``open_data`` takes it; None where it can't be said.
        mark: The mark of one of them by its place, where it must not be decoded for that.
        unit: What texts, or videos and volumes, are called in settings; None of pictures.
    """

    name: str
    read: Callable[[int], Iterator[Example | Skipped]]
    count: int | None
    key: str
    label_names: tuple[str, ...] | None = None
    item: Callable[[int], Example | Skipped] | None = None
    place: Mapping[str, str | None] | None = None
    mark: Callable[[int], Mark | None] | None = None
    unit: str | None = None

    @property
    def kind(self) -> str:
        """What one of them is called: "picture", "text", "video" or "volume"."""
        return kind_of_unit(self.unit)


def kind_of_unit(unit: str | None) -> str:
    """Say what one is called of a source with a ``unit``.

    Example:
        >>> kind_of_unit(None), kind_of_unit("volumes"), kind_of_unit("texts of segments")
        ('picture', 'volume', 'text')
    """
    if unit is None:
        return "picture"
    return {VIDEOS: "video", VOLUMES: "volume"}.get(unit, "text")


def split_by_class(example: Example) -> list[Example]:
    """Split a picture by class: an example for each, with the boxes of that class alone.

    Example:
        >>> boxes = np.float32([[0, 0, 1, 1], [1, 1, 2, 2]])
        >>> picture = np.zeros((2, 2, 3), np.uint8)
        >>> two = Example("a.jpg", picture, boxes, box_labels=("cat", "dog"))
        >>> [(each.id, each.label, each.boxes.tolist()) for each in split_by_class(two)]
        [('a.jpg#cat', 'cat', [[0.0, 0.0, 1.0, 1.0]]), ('a.jpg#dog', 'dog', [[1.0, 1.0, 2.0, 2.0]])]
    """
    kinds = list(dict.fromkeys(example.box_labels))
    if example.label is not None or example.boxes is None or not kinds:
        return [example]
    if len(kinds) == 1:
        return [replace(example, label=kinds[0])]
    of = [[label == kind for label in example.box_labels] for kind in kinds]
    return [
        replace(
            example,
            id=f"{example.id}#{kind}",
            label=kind,
            boxes=example.boxes[mine],
            box_labels=(kind,) * sum(mine),
            mask=None,
        )
        for kind, mine in zip(kinds, of, strict=True)
    ]
