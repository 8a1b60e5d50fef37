"""The two classes of a single unit: its number speaks for class 1 and against class 0.

A sigmoid unit, or the logit that a model gives in its place, tells two classes apart. Its logit z
is the score of class 1 and -z that of class 0, its probability p that of class 1 and 1 - p that of
class 0. A single unit may as well be a number, such as an age, that tells no classes apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

# In a pair of classes: the number itself.
NUMBER = -3
# Its place among the columns of a single unit, after the two classes.
_COLUMN = 2


@dataclass(frozen=True)
class Classes:
    """What an output tells apart.

    Attributes:
        count: Number of classes, 2 of a single unit; None where it is of another form.
        number: Whether it is a single unit of which nothing says that it tells classes apart: it
            is explained as a number where no class is asked for.
    """

    count: int | None
    number: bool = False


def two_sides(unit: tf.Tensor, probability: tf.Tensor | bool) -> tf.Tensor:
    """Compute the scores of the two classes of a single unit.

    Args:
        unit: (..., 1), of class 1.
        probability: Whether it is a probability, not a logit.

    Returns:
        (..., 2) float32: -z and z of a logit, 1 - p and p of a probability.

    Example:
        >>> two_sides(tf.constant([[3.0], [0.25]]), [[False], [True]]).numpy()
        array([[-3.  ,  3.  ],
               [ 0.75,  0.25]], dtype=float32)
    """
    unit = tf.cast(unit, tf.float32)
    return tf.concat([tf.where(probability, 1.0 - unit, -unit), unit], axis=-1)


def with_number(sides: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Append the number itself, (B, 1), to what belongs to the two classes, (B, 2)."""
    return tf.concat([sides, tf.cast(number, sides.dtype)], axis=-1)


def as_columns(pairs: Any) -> tf.Tensor:
    """Turn pairs of classes into pairs of the columns that ``with_number`` gives.

    Example:
        >>> as_columns([[NUMBER, -2], [0, 1]]).numpy()
        array([[ 2, -2],
               [ 0,  1]], dtype=int32)
    """
    pairs = tf.convert_to_tensor(pairs, tf.int32)
    return tf.where(pairs == NUMBER, _COLUMN, pairs)


def names_of_two(labels: Sequence[str]) -> Sequence[str]:
    """Name both classes where a single label names class 1.

    Example:
        >>> names_of_two(["dog"]), names_of_two(["cat", "dog"])
        (['not dog', 'dog'], ['cat', 'dog'])
    """
    return [f"not {labels[0]}", labels[0]] if len(labels) == 1 else labels


def as_number(pairs: np.ndarray) -> np.ndarray:
    """Put the number itself in place of the class of each image, (B, 2)."""
    return np.concatenate([np.full_like(pairs[:, :1], NUMBER), pairs[:, 1:]], axis=1)
