"""The value that a model predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.targets.by_value import single_tensor


@dataclass(frozen=True)
class Regression:
    """Why a number is so high, or so low. Outputs (B,) or (B, n), before a final sigmoid.

    A single linear unit may be a number as well as the logit of two classes. It is taken for two
    classes where there are labels of both, a loss of two classes that the model was compiled with,
    such as binary crossentropy, or a class as the target; for a number with a loss of numbers, such
    as the mean squared error, or one label. Where nothing tells, what raises it is explained, with
    a finding. This target says that it is a number.

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
        outputs = single_tensor(outputs, "Regression", "(B,) or (B, n)", (1, 2))
        outputs = outputs[:, None] if outputs.shape.rank == 1 else outputs
        if self.index >= (count := outputs.shape[1]):
            raise ValueError(
                f"index must be one of the model's {count} numbers, 0..{count - 1}; "
                f"got {self.index}."
            )
        return float(self.sign) * tf.cast(outputs[:, self.index], tf.float32)
