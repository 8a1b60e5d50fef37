"""What is explained: the number, computed from the model's outputs, that a map explains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.targets.labels import read_labels
from tfcam.utils.suggestions import did_you_mean
from tfcam.utils.validation import kind_of

PREDICTED = -1


NOTHING = -2


@dataclass(frozen=True)
class Difference:
    """Why class ``a`` and not ``b``: the score is y_a - y_b, on the logits.

    Of a single unit with the logit z, y_1 is z and y_0 is -z, so that ``Difference(1, 0)`` is 2 z.

    Where a class is the predicted one and that turns out to be the other, the score is 0.

    Args:
        a: The explained class: an index, a label, or None for the predicted class.
        b: The class it is held against, likewise.

    Source: Zhang et al. 2025, "Finer-CAM", with one class to compare with and alpha = 1.

    Example:
        >>> class_indices(Difference("dog", 0), batch=1, classes=2, labels=["cat", "dog"])
        array([[1, 0]], dtype=int32)
    """

    a: int | str | None
    b: int | str | None


@dataclass(frozen=True)
class Top:
    """The ``k`` classes with the highest scores of one image, each a target of its own.

    Args:
        k: Number of classes, at least 1.

    Raises:
        ValueError: If k is no such number.

    Example:
        >>> Top(2).pairs(tf.constant([[0.5, 3.0, 2.0]])).numpy()
        array([[ 1, -2],
               [ 2, -2]], dtype=int32)
    """

    k: int

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int | np.integer) or self.k < 1:
            raise ValueError(f"k of Top must be a whole number of at least 1; got {self.k!r}.")

    def check_count(self, count: int) -> None:
        """Refuse more classes than there are.

        Raises:
            ValueError: If there are fewer than k.
        """
        if self.k > count:
            raise ValueError(
                f"k of Top must be at most the number of classes, {count}; got {self.k}."
            )

    def pairs(self, scores: tf.Tensor) -> tf.Tensor:
        """The pairs of these classes, the highest first; of equal ones the lower index first.

        Args:
            scores: (1, C), of one image.

        Returns:
            (k, 2) int32, such as ``class_indices`` gives.

        Raises:
            ValueError: If there is more than one image, or fewer than k classes.
        """
        if len(scores.shape) != 2 or scores.shape[0] != 1:
            raise ValueError(
                f"Top takes the scores of one image, (1, classes); got {tuple(scores.shape)}. "
                "Explain the images one by one."
            )
        self.check_count(scores.shape[1])
        best = tf.math.top_k(tf.cast(scores[0], tf.float32), self.k).indices
        return tf.stack([best, tf.fill([self.k], NOTHING)], axis=1)


ClassTarget = int | str | Difference | None


Target = ClassTarget | Callable[[Any], Any]


Targets = Top | Sequence[Target]


def class_indices(
    target: ClassTarget | Sequence[ClassTarget],
    batch: int,
    classes: int | None,
    labels: Sequence[str] | None,
) -> np.ndarray:
    """Turn a class, a label, a difference or one of these for each image into pairs of classes.

    Args:
        target: A class index, a label, None for the predicted class, a ``Difference``, or a
            sequence of these, one for each image; or an array of labels as ``read_labels`` takes.
        batch: Number of images.
        classes: Number of classes of the model; None where that is not known.
        labels: The label of each class, where known.

    Returns:
        (batch, 2) int32: the explained class, and the class it is held against. ``PREDICTED``
        stands for the class that the model predicts, ``NOTHING`` for no second class.

    Raises:
        ValueError: If a class is out of range, a label unknown or ambiguous, a difference one of
            a class with itself, or the sequence has the wrong length.
        TypeError: If a target is neither an integer nor a label nor a difference.

    Example:
        >>> class_indices(["dog", Difference(0, 1)], batch=2, classes=2, labels=["cat", "dog"])
        array([[ 1, -2],
               [ 0,  1]], dtype=int32)
    """
    if isinstance(target, np.ndarray | tf.Tensor):
        target = read_labels(target, classes) if np.ndim(target) else np.asarray(target).item()
    elif isinstance(target, list) and target and all(map(_is_bool, target)):
        target = read_labels(target, classes)
    many = target if isinstance(target, list | tuple) else [target] * batch
    if len(many) != batch:
        raise ValueError(
            f"A list of targets must have one for each image; got {len(many)} for {batch} images."
        )
    pairs = [class_pair(one, classes, labels) for one in many]
    return np.asarray(pairs, np.int32).reshape(-1, 2)


def _is_bool(target: Any) -> bool:
    return isinstance(target, bool | np.bool_)


def class_pair(target: Any, classes: int | None, labels: Sequence[str] | None) -> tuple[int, int]:
    if not isinstance(target, Difference):
        return class_index(target, classes, labels), NOTHING
    first, second = (class_index(side, classes, labels) for side in (target.a, target.b))
    if first == second:
        raise ValueError(
            "A Difference must be of two classes: of a class with itself it is 0 everywhere; "
            f"got {target}."
        )
    return first, second


def class_index(target: Any, classes: int | None, labels: Sequence[str] | None) -> int:
    """The index of one class; see ``class_indices``."""
    if target is None:
        return PREDICTED
    if isinstance(target, str):
        return _label_index(target, labels)
    if _is_bool(target) or not isinstance(target, int | np.integer):
        raise TypeError(
            "A target must be a class index, a label, None for the predicted class, a Difference, "
            "a list of these, or a callable outputs -> (B,); "
            f"got {kind_of(target)}."
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
    named = [_plain(name) for name in labels]
    indices = [index for index, name in enumerate(named) if name == _plain(label)]
    if len(indices) == 1:
        return indices[0]
    if indices:
        raise ValueError(f"The label {label!r} names classes {indices}; give one of these indices.")
    suggestion = did_you_mean(_plain(label), named) or " See `labels`."
    raise ValueError(f"No class is labelled {label!r}.{suggestion}")


def _plain(label: str) -> str:
    return " ".join(label.replace("_", " ").lower().split())


def pair_name(pair: Sequence[int] | np.ndarray, labels: Sequence[str] | None = None) -> str:
    """What a pair of classes is called in results.

    Example:
        >>> pair_name((1, 0)), pair_name((1, NOTHING), ["cat", "dog"])
        ('class 1 and not class 0', 'dog')
    """
    known = [_class_name(int(index), labels or ()) for index in pair if index != NOTHING]
    return " and not ".join(known)


def _class_name(number: int, labels: Sequence[str]) -> str:
    if number == PREDICTED:
        return "the predicted class"
    return labels[number] if 0 <= number < len(labels) else f"class {number}"


def only_tensor(outputs: Any) -> Any:
    """The one tensor of a list, tuple or dict of one; of anything else what it is."""
    leaves = tf.nest.flatten(outputs)
    return leaves[0] if len(leaves) == 1 else outputs


def class_outputs(outputs: Any) -> tf.Tensor:
    """The outputs of a classifier as (B, C); sides of length 1 between the two are left out.

    Of a list, tuple or dict of one tensor it is that; (B,) is one unit.

    Raises:
        ValueError: If they are of another form.
    """
    outputs = only_tensor(outputs)
    if not isinstance(outputs, tf.Tensor):
        kind, count = type(outputs).__name__, len(tf.nest.flatten(outputs))
        keys = list(outputs) if isinstance(outputs, Mapping) else range(count)
        names = " or ".join(map(repr, getattr(outputs, "_fields", keys)))
        choose = f"Choose one with output={names}, or pass" if len(keys) == count else "Pass"
        raise ValueError(
            f"To explain a class the model must return one tensor (B, classes); it returns a "
            f"{kind} of {count}. {choose} a callable outputs -> (B,)."
        )
    shape = outputs.shape
    if shape.rank == 1:
        return outputs[:, tf.newaxis]
    if not shape.rank or any(side != 1 for side in shape[1:-1]):
        of_places = "; of a network that classifies each pixel or voxel tfcam.Segmentation(class)"
        of_words = "; of a network that tags words tfcam.Tag(word)"
        of_one = ", of one that gives a mask without an axis of classes tfcam.Segmentation(1)"
        made_for = {3: of_words + of_one, 4: of_places, 5: of_places}
        raise ValueError(
            f"To explain a class the model must return (B, classes); it returns {tuple(shape)}. "
            "Pass target=lambda outputs: ..., which returns one number for each image, (B,)"
            f"{made_for.get(shape.rank, '')}."
        )
    return tf.reshape(outputs, (-1, shape[-1]))


def resolved(outputs: tf.Tensor, pairs: Any) -> tf.Tensor:
    """The pairs with each image's highest class in place of ``PREDICTED``.

    Args:
        outputs: (B, C).
        pairs: (B, 2) int32, from ``class_indices``.

    Returns:
        (B, 2) int32.

    Example:
        >>> resolved(tf.constant([[1.0, 3.0]]), [[PREDICTED, 0]]).numpy()
        array([[1, 0]], dtype=int32)
    """
    pairs = tf.convert_to_tensor(pairs, tf.int32)
    predicted = tf.argmax(outputs, axis=-1, output_type=tf.int32)
    return tf.where(pairs == PREDICTED, predicted[:, None], pairs)


def class_scores(outputs: tf.Tensor, pairs: Any) -> tf.Tensor:
    """The score of each image: y_a of a plain class, y_a - y_b of a difference.

    Args:
        outputs: (B, C).
        pairs: (B, 2) int32, resolved.

    Returns:
        (B,) float32.

    Example:
        >>> outputs = tf.constant([[1.0, 3.0], [2.0, 7.0]])
        >>> class_scores(outputs, [[0, NOTHING], [0, 1]]).numpy()
        array([ 1., -5.], dtype=float32)
    """
    outputs = tf.cast(outputs, tf.float32)
    rows = tf.range(tf.shape(outputs)[0])
    # Not by tf.gather, whose gradient takes as long as a tenth of a network's first call.
    return _less(lambda classes: tf.gather_nd(outputs, tf.stack([rows, classes], 1)), pairs)


def class_weights(weights: tf.Tensor, pairs: Any) -> tf.Tensor:
    """The weights of a linear head for each image: W_a, or W_a - W_b of a difference.

    Args:
        weights: (K, C), of K channels and C classes.
        pairs: (B, 2) int32, resolved.

    Returns:
        (B, K) float32.

    Example:
        >>> class_weights(tf.constant([[2.0, 0.0], [-4.0, 8.0]]), [[1, NOTHING], [0, 1]]).numpy()
        array([[  0.,   8.],
               [  2., -12.]], dtype=float32)
    """
    rows = tf.transpose(tf.cast(weights, tf.float32))
    return _less(lambda indices: tf.gather(rows, indices), pairs)


def _less(values: Callable[[tf.Tensor], tf.Tensor], pairs: Any) -> tf.Tensor:
    """The values of the first classes, less those of the second where there is one."""
    pairs = tf.convert_to_tensor(pairs, tf.int32)
    first, second = values(pairs[:, 0]), values(tf.maximum(pairs[:, 1], 0))
    alone = tf.reshape(pairs[:, 1] == NOTHING, (-1, *[1] * (first.shape.rank - 1)))
    return tf.where(alone, first, first - second)
