"""Targets of models that do more than classify: segmentation, regression, detection, embeddings.

Each is a callable on the outputs before their final softmax or sigmoid, outputs -> (B,) float32.
Where a model returns several tensors and one is needed, ``output=`` chooses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfcam.targets import class_index

FORMS = ("xyxy", "yxyx", "xywh", "center_xywh")


class _ByValue:
    """Equal where all fields are, arrays too: what was compiled for one serves its equal."""

    # The field that may hold one array for each image, and its rank where it is one for all.
    _array: ClassVar[tuple[str, int]]

    def _key(self) -> tuple[Any, ...]:
        values = [getattr(self, each.name) for each in fields(self)]  # type: ignore[arg-type]
        return type(self), *(
            (v.shape, v.dtype.str, v.tobytes()) if isinstance(v, np.ndarray) else v for v in values
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByValue) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def _many(self) -> bool:
        """Whether there is an array for each image."""
        return np.ndim(getattr(self, self._array[0])) > self._array[1]

    def for_images(self, part: slice) -> Any:
        """The target of some of the images: those of its arrays that are theirs."""
        name, _ = self._array
        return replace(self, **{name: getattr(self, name)[part]}) if self._many else self  # type: ignore[type-var]

    def check_count(self, batch: int) -> None:
        """Refuse an array for each image where there are more or fewer images.

        Raises:
            ValueError: If there are.
        """
        name, _ = self._array
        if self._many and len(getattr(self, name)) != batch:
            raise ValueError(
                f"A {name} for each image must be as many as the images; "
                f"got {len(getattr(self, name))} for {batch} images."
            )

    def _keep(self, name: str, value: np.ndarray) -> None:
        """Hold a copy of an array that nobody can write to."""
        value = value.copy()
        value.flags.writeable = False
        object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class _OfClass(_ByValue):
    target: int | str
    label: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.target is None:
            raise TypeError(
                f"The target of a {type(self).__name__} must be a class index or a label; got None."
            )
        if not isinstance(self.target, str):
            object.__setattr__(self, "target", class_index(self.target, None, None))

    @property
    def _called(self) -> str:
        return self.label or (
            self.target if isinstance(self.target, str) else f"class {self.target}"
        )

    def with_labels(self, labels: Sequence[str]) -> Any:
        """The same target with its label turned into an index, or its index named.

        Raises:
            ValueError: If a label is unknown or ambiguous, or the class out of range.
        """
        index = class_index(self.target, len(labels), labels)
        return replace(self, target=index, label=labels[index])


@dataclass(frozen=True, eq=False)
class Segmentation(_OfClass):
    """Why pixels belong to a class: the sum of its logits over a mask. Outputs (B, H, W, C).

    Where the model predicts the class nowhere and no mask is given, the score is 0 and has no
    gradient.

    Args:
        target: The class: an index, or a label where the model's labels are known.
        mask: Which pixels, bool, or how much of each, float: (H', W') for all images or
            (B, H', W'), brought to the outputs' size by the nearest pixel. None: where the model
            predicts the class.
        threshold: Of a model with one class, the score over which a pixel is predicted to be of
            it: 0 for logits, 0.5 for probabilities.
        channels_first: Whether the outputs are (B, C, H, W). None: as the model takes its images.
        label: What the class is called in results; found by itself where labels are known.

    Raises:
        ValueError: If the mask has no pixel, or is not of this form.

    Source: Vinogradova et al. 2020, "Towards Interpretable Semantic Segmentation via
        Gradient-Weighted Class Activation Mapping".

    Example:
        >>> outputs = tf.constant([[[[1.0, 0.0], [2.0, 3.0]], [[5.0, 4.0], [0.0, 1.0]]]])
        >>> Segmentation(0)(outputs).numpy()  # class 0 is the largest in the left column
        array([6.], dtype=float32)
        >>> Segmentation(0, [[False, True], [True, False]])(outputs).numpy()
        array([7.], dtype=float32)
    """

    mask: Any = None
    threshold: float = field(default=0.0, kw_only=True)
    channels_first: bool | None = field(default=None, kw_only=True)
    _array = ("mask", 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask is None:
            return
        mask = np.asarray(self.mask)
        if mask.dtype.kind not in "bf" or mask.ndim not in (2, 3):
            raise ValueError(
                "A mask must be bool or float, (H, W) or (B, H, W); "
                f"got {mask.dtype.name} {mask.shape}. mask > 0 makes bool of whole numbers."
            )
        if not np.isfinite(mask).all():
            raise ValueError("A mask must be finite; got NaN or infinity.")
        _check_pixels(mask, "It is empty")
        self._keep("mask", mask.astype(np.float32))

    @property
    def name(self) -> str:
        """What it is called in results."""
        return f"segmentation of {self._called}"

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        outputs = _tensor(outputs, "Segmentation", "(B, H, W, classes)", (4,))
        outputs = tf.transpose(outputs, [0, 2, 3, 1]) if self.channels_first else outputs
        batch, height, width, classes = outputs.shape
        index = class_index(self.target, classes, None)
        scores = tf.cast(outputs[..., index], tf.float32)
        if self.mask is not None:
            self.check_count(batch)
            mask = _nearest(self.mask, height, width)
            _check_pixels(mask, f"At the outputs' size, {height} x {width}, it is empty")
        elif classes == 1:
            mask = tf.cast(scores > self.threshold, tf.float32)
        else:
            mask = tf.cast(tf.argmax(outputs, axis=-1, output_type=tf.int32) == index, tf.float32)
        # What is outside the mask does not count, infinite or not.
        return tf.reduce_sum(tf.math.multiply_no_nan(scores, mask), axis=[1, 2])


def _check_pixels(mask: np.ndarray, problem: str) -> None:
    if not mask.any(axis=(-2, -1)).all() or mask.size == 0:
        raise ValueError(f"A mask must have a pixel that is not 0, in each image. {problem}.")


def _nearest(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask at another size: of each new pixel, the old one its centre lies in."""
    rows = (2 * np.arange(height) + 1) * mask.shape[-2] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask.shape[-1] // (2 * width)
    return mask[..., rows[:, None], columns]


@dataclass(frozen=True)
class Regression:
    """Why a number is so high, or so low. Outputs (B,) or (B, n), before a final sigmoid.

    Args:
        sign: 1 for what raises the number, -1 for what lowers it.
        index: Which of n numbers.

    Raises:
        ValueError: If the sign is not 1 or -1, or the index negative.

    Source: Selvaraju et al. 2017, "Grad-CAM", whose counterfactual maps are those of sign -1.

    Example:
        >>> Regression(-1, index=1)(tf.constant([[1.0, 2.0], [3.0, 4.0]])).numpy()
        array([-2., -4.], dtype=float32)
    """

    sign: int = 1
    index: int = 0

    def __post_init__(self) -> None:
        if self.sign not in (1, -1):
            raise ValueError(f"sign must be 1, what raises it, or -1; got {self.sign!r}.")
        if not isinstance(self.index, int | np.integer) or self.index < 0:
            raise ValueError(f"index must be a whole number of at least 0; got {self.index!r}.")

    @property
    def name(self) -> str:
        """What it is called in results."""
        which = f" of output {self.index}" if self.index else ""
        return f"regression{which}, {'up' if self.sign == 1 else 'down'}"

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        outputs = _tensor(outputs, "Regression", "(B,) or (B, n)", (1, 2))
        outputs = outputs[:, None] if outputs.shape.rank == 1 else outputs
        if self.index >= (count := outputs.shape[1]):
            raise ValueError(
                f"index must be one of the model's {count} numbers, 0..{count - 1}; "
                f"got {self.index}."
            )
        return float(self.sign) * tf.cast(outputs[:, self.index], tf.float32)


@dataclass(frozen=True, eq=False)
class Box(_OfClass):
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


def _only_one(keys: list[Any], given: Any, words: tuple[str, ...]) -> Any:
    """The given key, the only one, or the only one with such a word in its name; else None."""
    if given is not None:
        return given
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


@dataclass(frozen=True, eq=False)
class Similarity(_ByValue):
    """Why an image is like another: the cosine of its embedding and a reference. Outputs (B, D).

    An embedding of zeros has the score 0 and no gradient.

    Args:
        reference: The other embedding, (D,) or (1, D) for all images, or (B, D); copied.

    Raises:
        ValueError: If the reference is zero, not finite, or of another form.

    Source: compare Bachhawat 2024, "Generalizing GradCAM for Embedding Networks", where the score
        is the product with such a reference.

    Example:
        >>> Similarity([3.0, 4.0])(tf.constant([[2.0, 0.0], [6.0, 8.0]])).numpy().round(4)
        array([0.6, 1. ], dtype=float32)
    """

    reference: Any
    _array = ("reference", 1)

    def __post_init__(self) -> None:
        given = np.asarray(self.reference)
        if given.ndim == 0 or any(side != 1 for side in given.shape[1:-1]):
            raise ValueError(f"A reference must be (D,) or (B, D); got shape {given.shape}.")
        reference = given.astype(np.float64).reshape(-1, given.shape[-1])
        if not (np.isfinite(reference).all() and reference.any(axis=-1).all() and len(reference)):
            raise ValueError("A reference must be finite and not all zeros; got one that is not.")
        self._keep("reference", reference[0] if len(reference) == 1 else reference)

    @property
    def name(self) -> str:
        """What it is called in results."""
        return "similarity"

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        outputs = _tensor(outputs, "Similarity", "(B, D)", (2, 3, 4))
        if any(side != 1 for side in outputs.shape[1:-1]):
            raise ValueError(f"Similarity needs outputs (B, D); got {tuple(outputs.shape)}.")
        outputs = tf.cast(tf.reshape(outputs, (-1, outputs.shape[-1])), tf.float32)
        if outputs.shape[1] != self.reference.shape[-1]:
            raise ValueError(
                f"The reference must have the embedding's size, {outputs.shape[1]}; "
                f"got {self.reference.shape[-1]}."
            )
        self.check_count(outputs.shape[0])
        reference = self.reference / np.abs(self.reference).max(axis=-1, keepdims=True)
        reference /= np.linalg.norm(reference, axis=-1, keepdims=True)
        # The cosine does not depend on the length, so neither does its gradient on this factor:
        # it keeps squares from overflow, and the largest entry at 1 where there is any.
        largest = tf.stop_gradient(tf.reduce_max(tf.abs(outputs), axis=-1, keepdims=True))
        scaled = tf.math.divide_no_nan(outputs, largest)
        length = tf.sqrt(tf.maximum(tf.reduce_sum(scaled**2, axis=-1), 1.0))
        return tf.reduce_sum(scaled * reference.astype(np.float32), axis=-1) / length


def _tensor(outputs: Any, name: str, form: str, ranks: tuple[int, ...]) -> tf.Tensor:
    if not isinstance(outputs, tf.Tensor):
        raise ValueError(
            f"{name} needs one tensor {form}; the model returns a {type(outputs).__name__} of "
            f"{len(tf.nest.flatten(outputs))}. Choose one with output=."
        )
    if outputs.shape.rank not in ranks:
        raise ValueError(
            f"{name} needs outputs {form}; the model returns {tuple(outputs.shape)}. "
            "Pass a callable outputs -> (B,), which returns one number for each image."
        )
    return outputs
