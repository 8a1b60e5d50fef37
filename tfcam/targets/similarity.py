"""The similarity of an embedding to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.targets.by_value import ByValue, single_tensor


@dataclass(frozen=True, eq=False)
class Similarity(ByValue):
    """Why an image is like another: the cosine of its embedding and a reference. Outputs (B, D).

    An embedding of zeros has the score 0 and no gradient.

    Args:
        reference: The other embedding, (D,) or (1, D) for all images, or (B, D); copied. Of a model
            of texts also the other text, a string or a tuple of its segments: what explains embeds
            it, the same way as the text that is explained.

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
        if self.is_text:
            return
        array = np.asarray(self.reference)
        if array.size == 0 or array.ndim == 0 or any(side != 1 for side in array.shape[1:-1]):
            raise ValueError(f"A reference must be (D,) or (B, D); got shape {array.shape}.")
        reference = array.astype(np.float64).reshape(-1, array.shape[-1])
        if not (np.isfinite(reference).all() and reference.any(axis=-1).all()):
            raise ValueError("A reference must be finite and not all zeros; got one that is not.")
        self._keep("reference", reference[0] if len(reference) == 1 else reference)

    @property
    def is_text(self) -> bool:
        """Whether the reference is a text, which must be embedded first."""
        parts = self.reference if isinstance(self.reference, tuple) else (self.reference,)
        return bool(parts) and all(isinstance(part, str) for part in parts)

    @property
    def name(self) -> str:
        """What it is called in results."""
        return "similarity"

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        if self.is_text:
            raise ValueError(
                f"The reference {self.reference!r:.60} must be embedded first, as tfcam.explain, "
                "compare and diagnose do. Give its embedding, (D,)."
            )
        outputs = single_tensor(outputs, "Similarity", "(B, D)", (2, 3, 4))
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
