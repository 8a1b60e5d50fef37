"""What is explained: which number of the model's outputs a map is the map of."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Target = int | str | Sequence[int | str] | Callable[[Any], Any] | None
PREDICTED = -1


def class_indices(
    target: int | str | Sequence[int | str] | None,
    batch: int,
    classes: int | None,
    labels: Sequence[str] | None,
) -> np.ndarray:
    """Turn a class, a label or one of these for each image into class indices.

    Args:
        target: A class index, a label, a sequence of these (one for each image), or None.
        batch: How many images there are.
        classes: How many classes the model has; None where that is not known.
        labels: The label of each class, where known.

    Returns:
        (batch,) int32; ``PREDICTED`` stands for the class that the model predicts.

    Raises:
        ValueError: If a class is out of range, a label unknown or ambiguous, or the sequence has
            the wrong length.
        TypeError: If a target is neither an integer nor a label.

    Example:
        >>> class_indices(["dog", 0], batch=2, classes=2, labels=["cat", "dog"])
        array([1, 0], dtype=int32)
    """
    if isinstance(target, np.ndarray | tf.Tensor):
        target = np.asarray(target).tolist()
    many = target if isinstance(target, list | tuple) else [target] * batch
    if len(many) != batch:
        raise ValueError(
            f"A list of targets must have one for each image; got {len(many)} for {batch} images."
        )
    indices = [_class_index(each, classes, labels) for each in many]
    return np.asarray(indices, np.int32)


def _class_index(target: Any, classes: int | None, labels: Sequence[str] | None) -> int:
    if target is None:
        return PREDICTED
    if isinstance(target, str):
        return _label_index(target, labels)
    if isinstance(target, bool | np.bool_) or not isinstance(target, int | np.integer):
        raise TypeError(
            "A target must be a class index, a label, None for the predicted class, a list of "
            f"these, or a callable outputs -> (B,); got {target!r} of type {type(target).__name__}."
        )
    if target < 0 or (classes is not None and target >= classes):
        known = "at least 0" if classes is None else f"in 0..{classes - 1}: {classes} classes"
        raise ValueError(f"A class index must be {known}; got {target}.")
    return int(target)


def _label_index(label: str, labels: Sequence[str] | None) -> int:
    if labels is None:
        raise ValueError(
            f"The target {label!r} is a label, but the labels of this model are not known. "
            "Pass labels=[...], one for each class, or give the class index."
        )
    named = [_plain(each) for each in labels]
    found = [index for index, each in enumerate(named) if each == _plain(label)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"The label {label!r} names classes {found}; give one of these indices.")
    near = difflib.get_close_matches(_plain(label), named, n=4, cutoff=0.5)
    within = [each for each in named if _plain(label) in each][:4]
    hint = ", ".join(repr(each) for each in dict.fromkeys(within + near))
    raise ValueError(
        f"No class is labelled {label!r}. " + (f"Did you mean {hint}?" if hint else "See `labels`.")
    )


def _plain(label: str) -> str:
    return " ".join(label.replace("_", " ").lower().split())


def class_scores(outputs: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """The score of one class for each image: outputs (B, C), indices (B,) -> (B,)."""
    return tf.gather(outputs, indices, batch_dims=1)


def checked_scores(scores: Any, batch: int) -> tf.Tensor:
    """What a callable target returned, if it is one number for each image.

    Raises:
        ValueError: If it is not a floating-point tensor of shape (batch,).
    """
    if not isinstance(scores, tf.Tensor):
        raise ValueError(
            "A callable target must return a tensor (B,) computed from the outputs; "
            f"got {type(scores).__name__}. NumPy breaks the gradient: use keras.ops or tf."
        )
    if scores.shape != (batch,) or not scores.dtype.is_floating:
        raise ValueError(
            f"A callable target must return one float for each image, shape ({batch},); "
            f"got shape {tuple(scores.shape)}, {scores.dtype.name}."
        )
    return scores
