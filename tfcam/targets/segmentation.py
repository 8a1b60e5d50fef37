"""The scores of a class over the pixels of a region."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.targets.by_value import OfClass, single_tensor
from tfcam.targets.classes import class_index
from tfcam.targets.two_classes import names_of_two, two_sides

_ONE_CLASS = (
    "Where the axis of classes is left out, as there is one, explain "
    "keras.Model(model.inputs, keras.ops.expand_dims(model.output, -1)). "
)


@dataclass(frozen=True, eq=False)
class Segmentation(OfClass):
    """Why pixels belong to a class: the sum of its logits over a mask.

    Outputs (B, H, W, C), of volumes (B, D, H, W, C).

    A model with one channel tells two classes apart in each pixel: its logit z is the score of
    class 1 and -z that of class 0, its probability p that of class 1 and 1 - p that of class 0.

    Where the model predicts the class nowhere and no mask is given, the score is 0 and has no
    gradient.

    Args:
        target: The class: an index, or a label where the model's labels are known.
        mask: Which pixels, bool, or how much of each, float: (H', W') for all images or
            (B, H', W'), brought to the outputs' size by the nearest pixel. Of volumes
            (D', H', W') for all or (B, D', H', W'). None: where the model predicts the class.
        threshold: Of a model with one channel, the value over which a pixel is predicted to be of
            class 1; by default 0 for logits and 0.5 for probabilities.
        channels_first: Whether the outputs are (B, C, H, W) or (B, C, D, H, W). None: as the model
            takes its images.
        likely: Whether the outputs of one channel are probabilities, not logits. None: as the model
            ends, or, where that can't be told, whether all of an image are in 0..1.
        volumes: Whether a mask of three axes is one of a volume. None: as the model's input is.
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
        >>> logits = tf.constant([[[[3.0], [-2.0]]]])
        >>> Segmentation(1)(logits).numpy(), Segmentation(0)(logits).numpy()
        (array([3.], dtype=float32), array([2.], dtype=float32))
    """

    mask: Any = None
    threshold: float | None = field(default=None, kw_only=True)
    channels_first: bool | None = field(default=None, kw_only=True)
    likely: bool | None = field(default=None, kw_only=True)
    volumes: bool | None = field(default=None, kw_only=True)
    _array = ("mask", 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask is None:
            return
        mask = np.asarray(self.mask)
        if mask.dtype.kind not in "bf" or mask.ndim not in (2, 3, 4):
            raise ValueError(
                "A mask must be bool or float, (H, W) or (B, H, W), of volumes (D, H, W) or "
                "(B, D, H, W); "
                f"got {mask.dtype.name} {mask.shape}. mask > 0 makes bool of whole numbers."
            )
        if not np.isfinite(mask).all():
            raise ValueError("A mask must be finite; got NaN or infinity.")
        # Of three axes, what the first is becomes known with the model.
        _check_pixels(mask, "It is empty", 3 if mask.ndim > 2 and self.volumes is not False else 2)
        self._keep("mask", mask.astype(np.float32))

    @property
    def _many(self) -> bool:
        """Whether there is a mask for each image."""
        return self.mask is not None and self.mask.ndim > (3 if self.volumes else 2)

    def with_labels(self, labels: Sequence[str]) -> Any:
        """The same target with its label turned into an index, or its index named.

        Raises:
            ValueError: If a label is unknown or ambiguous, or the class out of range.
        """
        return super().with_labels(names_of_two(labels))

    @property
    def name(self) -> str:
        """What it is called in results."""
        return f"segmentation of {self._called}"

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        form = "(B, H, W, classes) or (B, D, H, W, classes)"
        outputs = single_tensor(outputs, "Segmentation", form, (4, 5), _ONE_CLASS)
        inner = list(range(1, outputs.shape.rank - 1))
        if self.channels_first:
            outputs = tf.transpose(outputs, [0, *(axis + 1 for axis in inner), 1])
        batch, *sides, channels = outputs.shape
        index = class_index(self.target, max(channels, 2), None)
        if channels == 1:
            outputs, predicted = self._of_two(tf.cast(outputs, tf.float32))
        else:
            predicted = tf.argmax(outputs, axis=-1, output_type=tf.int32)
        scores = tf.cast(outputs[..., index], tf.float32)
        if self.mask is not None:
            if self.mask.ndim not in (len(sides), len(sides) + 1):
                raise ValueError(
                    "A mask must be (H, W) or (B, H, W), of volumes (D, H, W) or (B, D, H, W); "
                    f"got {self.mask.shape} for outputs {tuple(outputs.shape)}."
                )
            replace(self, volumes=len(sides) == 3).check_count(batch)
            mask = _nearest(self.mask, sides)
            size = " x ".join(map(str, sides))
            _check_pixels(mask, f"At the outputs' size, {size}, it is empty", len(sides))
        else:
            mask = tf.cast(predicted == index, tf.float32)
        # What is outside the mask does not count, infinite or not.
        return tf.reduce_sum(tf.math.multiply_no_nan(scores, mask), axis=inner)

    def _of_two(self, channel: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Compute the scores (B, ..., 2) of both classes, and which is predicted, (B, ...)."""
        likely: Any = self.likely
        if likely is None:
            within = (channel >= 0) & (channel <= 1)
            likely = tf.reduce_all(within, axis=list(range(1, channel.shape.rank)), keepdims=True)
        threshold = tf.where(likely, 0.5, 0.0) if self.threshold is None else self.threshold
        return two_sides(channel, likely), tf.cast(channel > threshold, tf.int32)[..., 0]


def _check_pixels(mask: np.ndarray, problem: str, sides: int) -> None:
    if mask.size == 0 or not mask.any(axis=tuple(range(-sides, 0))).all():
        raise ValueError(f"A mask must have a pixel that is not 0, in each image. {problem}.")


def _nearest(mask: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """The mask at another size: of each new pixel, the old one its centre lies in."""
    given = mask.shape[-len(sides) :]
    places = (
        (2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(sides, given, strict=True)
    )
    chosen = (..., *np.ix_(*places))
    return mask[chosen]
