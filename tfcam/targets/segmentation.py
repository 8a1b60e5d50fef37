"""The scores of a class over the pixels of a region."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.targets.by_value import OfClass, single_tensor
from tfcam.targets.classes import class_index


@dataclass(frozen=True, eq=False)
class Segmentation(OfClass):
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
        outputs = single_tensor(outputs, "Segmentation", "(B, H, W, classes)", (4,))
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
