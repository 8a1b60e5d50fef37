"""The score of a detector's box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.targets.by_value import OfClass
from tfcam.targets.classes import class_index

FORMS = ("xyxy", "yxyx", "xywh", "center_xywh")


@dataclass(frozen=True, eq=False)
class Box(OfClass):
    """Why an object was found: the score of a class at one anchor of a detector's raw outputs.

    Outputs are (B, N, 4 + C), the box first, or two tensors (B, N, 4) and (B, N, C) in a dict or
    list. Boxes must be decoded, not offsets to anchors. The choice of the anchor is not part of
    the gradient. Where no predicted box overlaps the given one, the score is 0 and has no gradient.

    Args:
        target: The class: an index, or a label where the model's labels are known.
        box: [x0, y0, x1, y1] in the units of the model's boxes, for all images or (B, 4): the
            anchor whose box overlaps most with it, by intersection over union. None: the anchor
            with the highest score of the class.
        form: How the model writes a box: "xyxy", "yxyx", "xywh" (a corner and the size) or
            "center_xywh".
        boxes: The key or index of the boxes in a dict or list; None finds it.
        scores: The key or index of the scores; None finds it.
        label: What the class is called in results; found by itself where labels are known.

    Raises:
        ValueError: If the box or its form is none.

    Example:
        >>> anchors = [[0.0, 0.0, 2.0, 2.0, 0.3, 0.1], [4.0, 4.0, 8.0, 8.0, 0.2, 0.9]]
        >>> outputs = tf.constant([anchors])
        >>> Box(0)(outputs).numpy(), Box(0, [5, 4, 8, 8])(outputs).numpy()
        (array([0.3], dtype=float32), array([0.2], dtype=float32))
    """

    box: Any = None
    form: str = field(default="xyxy", kw_only=True)
    boxes: str | int | None = field(default=None, kw_only=True)
    scores: str | int | None = field(default=None, kw_only=True)
    _array = ("box", 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}; got {self.form!r}.")
        if self.box is None:
            return
        box = np.asarray(self.box, np.float32)
        if box.ndim not in (1, 2) or box.shape[-1] != 4:
            raise ValueError(f"A box must be [x0, y0, x1, y1], or (B, 4); got shape {box.shape}.")
        if not (np.isfinite(box).all() and (box[..., :2] < box[..., 2:]).all()):
            raise ValueError(
                f"A box must have x0 < x1 and y0 < y1, all finite; got {box.tolist()}."
            )
        self._keep("box", box)

    @property
    def name(self) -> str:
        """What it is called in results."""
        return f"box of {self._called}"

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        boxes, scores = _anchors(outputs, self.boxes, self.scores)
        own = tf.cast(scores[..., class_index(self.target, scores.shape[-1], None)], tf.float32)
        if self.box is None:
            return tf.gather(own, tf.argmax(own, axis=-1), batch_dims=1)
        self.check_count(own.shape[0])
        overlaps = _overlaps(_corners(tf.cast(boxes, tf.float32), self.form), self.box)
        score = tf.gather(own, tf.argmax(overlaps, axis=-1), batch_dims=1)
        return tf.where(tf.reduce_max(overlaps, axis=-1) > 0, score, 0.0)


def _anchors(
    outputs: Any, boxes: str | int | None, scores: str | int | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The boxes (B, N, 4) and the scores (B, N, C) among a detector's outputs."""
    several = outputs if isinstance(outputs, Mapping | list | tuple) else [outputs]
    named = dict(several) if isinstance(several, Mapping) else dict(enumerate(several))
    for option, key in (("boxes", boxes), ("scores", scores)):
        if key is not None and key not in named:
            raise ValueError(f"{option} must be one of {', '.join(map(repr, named))}; got {key!r}.")
    anchors = {k: v for k, v in named.items() if isinstance(v, tf.Tensor) and v.shape.rank == 3}
    if len(named) == len(anchors) == 1 and boxes is None and scores is None:
        (both,) = anchors.values()
        if both.shape[-1] > 4:
            return both[..., :4], both[..., 4:]
    fours = [key for key, value in anchors.items() if value.shape[-1] == 4 and key != scores]
    boxes = _only_one(fours, boxes, ("box",))
    if boxes in anchors:
        count = anchors[boxes].shape[1]
        others = [k for k, v in anchors.items() if k != boxes and v.shape[1] == count]
        scores = _only_one(others, scores, ("cls", "class", "score"))
        if scores in others and boxes in fours:
            return anchors[boxes], anchors[scores]
    shapes = {key: tuple(getattr(value, "shape", ())) for key, value in named.items()}
    raise ValueError(
        "A Box needs outputs (B, N, 4 + classes), or boxes (B, N, 4) and scores (B, N, classes) "
        f"told apart by shape or name; the model returns {shapes}. Name them with boxes= and "
        "scores=. Where they come in several levels, or otherwise, pass a callable outputs -> (B,) "
        "that joins them."
    )


def _only_one(keys: list[Any], chosen: Any, words: tuple[str, ...]) -> Any:
    """The chosen key, the only one, or the only one with such a word in its name; else None."""
    if chosen is not None:
        return chosen
    if len(keys) > 1:
        keys = [key for key in keys if any(word in str(key).lower() for word in words)]
    return keys[0] if len(keys) == 1 else None


def _corners(boxes: tf.Tensor, form: str) -> tf.Tensor:
    """Boxes of any form as [x0, y0, x1, y1]."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if form == "yxyx":
        first, second = first[..., ::-1], second[..., ::-1]
    elif form == "xywh":
        second = first + second
    elif form == "center_xywh":
        first, second = first - second / 2, first + second / 2
    return tf.concat([first, second], axis=-1)


def _overlaps(boxes: tf.Tensor, box: np.ndarray) -> tf.Tensor:
    """Intersection over union (B, N) of boxes (B, N, 4) and a box (4,) or (B, 4)."""
    box = box[..., None, :]

    def area(low: Any, high: Any) -> tf.Tensor:
        return tf.reduce_prod(tf.maximum(high - low, 0), axis=-1)

    inner = area(tf.maximum(boxes[..., :2], box[..., :2]), tf.minimum(boxes[..., 2:], box[..., 2:]))
    both = area(boxes[..., :2], boxes[..., 2:]) + area(box[..., :2], box[..., 2:])
    overlaps = inner / (both - inner)
    return tf.where(overlaps > 0, overlaps, 0.0)  # a box that is NaN overlaps with none
