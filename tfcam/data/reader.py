"""How one picture, video or volume of a data set is read, and its truth checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.data.annotations import AnnotationError, check_boxes, clip_boxes
from tfcam.data.example import Example
from tfcam.data.pairs import only_part
from tfcam.data.volumes import VolumeForm
from tfcam.images.arrays import as_arrays
from tfcam.images.kinds import ImageError
from tfcam.images.loading import as_numpy, is_prepared, load_image
from tfcam.images.window import Limits

# What a data set's elements call their picture.
NAMES = frozenset(("image", "video", "volume"))


@dataclass(frozen=True)
class Reader:
    """Reads a picture as it is given to its pixels, or to what was given prepared.

    Attributes:
        floats: Whether arrays of floats are handed on as they are.
        window: The values that become black and white.
        volumes: The form of videos and volumes; None of pictures.
    """

    floats: bool
    window: Limits
    volumes: VolumeForm | None = None

    def __call__(self, picture: Any) -> np.ndarray:
        """Read a picture, video or volume.

        Raises:
            ImageError: If it is none.
        """
        picture = only_part(picture)
        if self.volumes is not None:
            return self.volumes.read(picture)
        picture = as_arrays(picture)
        row = len(getattr(picture, "shape", ())) == 1  # that a model folds itself
        if self.window is not None or not self.floats or not (row or is_prepared(picture)):
            return load_image(picture, window=self.window)
        array = as_numpy(picture)
        if not np.isfinite(array).all():
            count = np.count_nonzero(~np.isfinite(array))
            raise ImageError(f"A prepared array must be finite; {count} of its values are not.")
        return array

    def sides(self, image: np.ndarray) -> tuple[int, ...]:
        """The axes of positions of what was read."""
        return image.shape[:2] if self.volumes is None else self.volumes.sides(image.shape)

    def is_batched(self, elements: Any) -> bool:
        """Whether the elements of a data set are batches."""
        if self.volumes is None:
            return _is_batched(elements)
        shape = picture_in(elements).shape
        return shape.rank is not None and self.volumes.is_batch([*shape])


def picture_in(element: Any) -> Any:
    """The picture, video or volume of an element, or of its kind: by its name, or the first."""
    if isinstance(element, dict) and (named := NAMES.intersection(element)):
        return element[min(named)]
    return tf.nest.flatten(element)[0]


def _is_batched(elements: Any) -> bool:
    """Whether the elements of a data set are batches of pictures, grey ones and rows too."""
    first, *others = tf.nest.flatten(elements)
    named = isinstance(elements, dict) and "image" in elements
    spec = elements["image"] if named else first
    rank = getattr(getattr(spec, "shape", None), "rank", None)
    if rank not in (2, 3) or (rank == 3 and spec.shape[-1] in (1, 3, 4, None)):
        return bool(rank == 4)
    return spec.shape[0] is None or any(
        each.shape.rank and each.shape[0] == spec.shape[0] for each in others
    )


def checked(example: Example, size: tuple[int, ...]) -> Example:
    """Check the mask and boxes of an example.

    Args:
        example: The picture, video or volume.
        size: Its axes of positions.

    Raises:
        AnnotationError: If they do not fit it.
    """
    if example.mask is not None and np.shape(example.mask) != size:
        raise AnnotationError(
            f"{example.id}: its mask must have the picture's size {size}; "
            f"got {np.shape(example.mask)}."
        )
    if example.boxes is None:
        return example
    if len(size) > 2:
        raise AnnotationError(
            f"{example.id}: boxes are for pictures, [x0, y0, x1, y1); of a video or volume give "
            f"a mask {size} of bool."
        )
    boxes = clip_boxes(check_boxes(example.boxes, example.id), (size[0], size[1]), example.id)
    if example.box_labels and len(example.box_labels) != len(boxes):
        raise AnnotationError(
            f"{example.id}: each box must have a label; got {len(example.box_labels)} for "
            f"{len(boxes)} boxes."
        )
    return replace(example, boxes=boxes if len(boxes) else None)
