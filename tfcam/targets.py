"""What is explained: which number of the model's outputs a map is the map of."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.demands import kind_of

PREDICTED = -1
NOTHING = -2


@dataclass(frozen=True)
class Difference:
    """Why class ``a`` and not ``b``: the score is y_a - y_b, on the logits.

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
        k: How many, at least 1.

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
        if self.k > scores.shape[1]:
            raise ValueError(
                f"k of Top must be at most the number of classes, {scores.shape[1]}; got {self.k}."
            )
        found = tf.math.top_k(tf.cast(scores[0], tf.float32), self.k).indices
        return tf.stack([found, tf.fill([self.k], NOTHING)], axis=1)


ClassTarget = int | str | Difference | None
Target = ClassTarget | Top | Callable[[Any], Any] | Sequence[ClassTarget | Callable[[Any], Any]]


def class_indices(
    target: ClassTarget | Sequence[ClassTarget],
    batch: int,
    classes: int | None,
    labels: Sequence[str] | None,
) -> np.ndarray:
    """Turn a class, a label, a difference or one of these for each image into pairs of classes.

    Args:
        target: A class index, a label, None for the predicted class, a ``Difference``, or a
            sequence of these, one for each image.
        batch: How many images there are.
        classes: How many classes the model has; None where that is not known.
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
        target = np.asarray(target).tolist()
    many = target if isinstance(target, list | tuple) else [target] * batch
    if len(many) != batch:
        raise ValueError(
            f"A list of targets must have one for each image; got {len(many)} for {batch} images."
        )
    pairs = [_pair(each, classes, labels) for each in many]
    return np.asarray(pairs, np.int32).reshape(-1, 2)


def _pair(target: Any, classes: int | None, labels: Sequence[str] | None) -> tuple[int, int]:
    if not isinstance(target, Difference):
        return class_index(target, classes, labels), NOTHING
    first, second = (class_index(each, classes, labels) for each in (target.a, target.b))
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
    if isinstance(target, bool | np.bool_) or not isinstance(target, int | np.integer):
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


def pair_name(pair: Sequence[int] | np.ndarray, labels: Sequence[str] | None = None) -> str:
    """What a pair of classes is called in results.

    Example:
        >>> pair_name((1, 0)), pair_name((1, NOTHING), ["cat", "dog"])
        ('class 1 and not class 0', 'dog')
    """
    known = [_class_name(int(each), labels or ()) for each in pair if each != NOTHING]
    return " and not ".join(known)


def _class_name(number: int, labels: Sequence[str]) -> str:
    if number == PREDICTED:
        return "the predicted class"
    return labels[number] if 0 <= number < len(labels) else f"class {number}"


def class_outputs(outputs: Any) -> tf.Tensor:
    """The outputs of a classifier as (B, C); sides of length 1 between the two are left out.

    Raises:
        ValueError: If they are of another form.
    """
    if not isinstance(outputs, tf.Tensor):
        kind, count = type(outputs).__name__, len(tf.nest.flatten(outputs))
        keys = list(outputs) if isinstance(outputs, Mapping) else range(count)
        raise ValueError(
            f"To explain a class the model must return one tensor (B, classes); it returns a "
            f"{kind} of {count}. Choose one with output={' or '.join(map(repr, keys))}, or pass a "
            "callable outputs -> (B,)."
        )
    shape = outputs.shape
    if shape.rank is None or shape.rank < 2 or any(side != 1 for side in shape[1:-1]):
        raise ValueError(
            f"To explain a class the model must return (B, classes); it returns {tuple(shape)}. "
            "Pass target=lambda outputs: ..., which returns one number for each image, (B,)."
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


@dataclass(frozen=True)
class ClassScore:
    """A pair of classes as a callable on outputs (B, C).

    Args:
        pair: The explained class and the one it is held against; see ``class_indices``.
    """

    pair: tuple[int, int]

    @property
    def name(self) -> str:
        """What it is called in results."""
        return pair_name(self.pair)

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        outputs = class_outputs(outputs)
        for index in self.pair:
            class_index(max(index, 0), outputs.shape[1], None)
        return class_scores(outputs, resolved(outputs, [self.pair] * outputs.shape[0]))


def as_callable(pair: Sequence[int]) -> ClassScore:
    """A row of ``class_indices`` as a callable target.

    Example:
        >>> as_callable((1, 0))(tf.constant([[1.0, 3.0]])).numpy()
        array([2.], dtype=float32)
    """
    return ClassScore((int(pair[0]), int(pair[1])))


@dataclass(frozen=True)
class Each:
    """One callable target for each image: the score of image i is ``targets[i](outputs)[i]``.

    Each is called once with the outputs of all images, and no gradient reaches another image's.

    Args:
        targets: As many as there are images.
    """

    targets: tuple[Callable[[Any], Any], ...]

    @property
    def name(self) -> str:
        """What all of them are called; ``name_of(targets[i])`` names those of one image."""
        return ", ".join(dict.fromkeys(map(name_of, self.targets)))

    def for_images(self, part: slice) -> Each:
        """The targets of some of the images."""
        return Each(tuple(part_of(each, part) for each in self.targets[part]))

    def __call__(self, outputs: Any) -> tf.Tensor:
        """The scores (B,) float32."""
        batch, images = len(self.targets), tf.nest.flatten(outputs)[0].shape[0]
        if batch != images:
            raise ValueError(
                f"A list of targets must have one for each image; got {batch} for {images} images."
            )
        scores = tf.zeros(batch)
        for target in dict.fromkeys(self.targets):
            own = np.array([each == target for each in self.targets])
            found = checked_scores(target(_only(outputs, own)), batch)
            scores = tf.where(own, tf.cast(found, tf.float32), scores)
        return scores


def _only(outputs: Any, own: np.ndarray) -> Any:
    """Outputs through which gradients reach some images alone: 0 times infinity is no 0."""

    def masked(leaf: tf.Tensor) -> tf.Tensor:
        if leaf.shape.rank == 0 or leaf.shape[0] != len(own):
            return leaf
        own_rows = own.reshape(-1, *[1] * (leaf.shape.rank - 1))
        return tf.where(own_rows, leaf, tf.stop_gradient(leaf))

    return tf.nest.map_structure(masked, outputs)


def per_image(
    targets: Sequence[ClassTarget | Callable[[Any], Any]],
    classes: int | None = None,
    labels: Sequence[str] | None = None,
) -> Each:
    """One callable from a list with one target for each image, some of which are callables.

    Args:
        targets: Callables outputs -> (B,), and whatever else ``class_indices`` takes.
        classes: How many classes the model has, where known.
        labels: The label of each class, where known.

    Returns:
        A callable outputs -> (B,).

    Raises:
        ValueError: If a class is out of range, or a label unknown or ambiguous.
        TypeError: If a target is of another kind.

    Example:
        >>> mixed = per_image([1, lambda outputs: outputs[:, 0] * 10])
        >>> mixed(tf.constant([[1.0, 3.0], [2.0, 7.0]])).numpy()
        array([ 3., 20.], dtype=float32)
    """
    return Each(
        tuple(
            with_labels(each, labels)
            if callable(each)
            else as_callable(_pair(each, classes, labels))
            for each in targets
        )
    )


def with_labels(target: Any, labels: Sequence[str] | None) -> Any:
    """The target with its label turned into a class, where it holds one and labels are known."""
    named = hasattr(target, "with_labels") and labels is not None
    return target.with_labels(labels) if named else target


def part_of(target: Any, part: slice) -> Any:
    """The target of some of the images: of pairs their rows, of a mask for each image those masks.

    Example:
        >>> part_of(np.array([[3, NOTHING], [4, NOTHING], [5, 0]]), slice(1, 3))
        array([[ 4, -2],
               [ 5,  0]])
    """
    if isinstance(target, np.ndarray):
        return target[part]
    return target.for_images(part) if hasattr(target, "for_images") else target


def name_of(target: Callable[[Any], Any]) -> str:
    """What a callable target is called in results: its ``name``, or the name it was defined by."""
    name = getattr(target, "name", getattr(target, "__name__", None))
    return name if isinstance(name, str) else type(target).__name__


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


def told_format(target: Any, channels_first: bool) -> Any:
    """A target of pixels told where the outputs' classes are, if it was not; others as they are."""
    if isinstance(target, Each):
        return Each(tuple(told_format(each, channels_first) for each in target.targets))
    if is_dataclass(target) and getattr(target, "channels_first", True) is None:
        return replace(target, channels_first=channels_first)  # type: ignore[type-var]
    return target


def pick_output(outputs: Any, output: str | int | None, names: Sequence[str] = ()) -> Any:
    """One of several outputs of a model.

    Args:
        outputs: A tensor, or a list, tuple or dict of these.
        output: A key of the dict, a name of ``names``, or an index; None for all as they are.
        names: The names of the outputs, flattened: ``model.output_names`` where it has them.

    Returns:
        The chosen output.

    Raises:
        ValueError: If there is no such output, or the name is that of several.

    Example:
        >>> pick_output([tf.zeros(2), tf.ones(2)], "boxes", ["classes", "boxes"]).numpy()
        array([1., 1.], dtype=float32)
    """
    if output is None:
        return outputs
    whole = isinstance(outputs, Mapping | list | tuple)
    keys = list(outputs) if isinstance(outputs, Mapping) else range(len(outputs) if whole else 1)
    if isinstance(output, str | int) and not isinstance(output, bool) and output in keys:
        return outputs[output] if whole else outputs
    leaves = tf.nest.flatten(outputs)
    known: list[Any] = list(names) if len(names) == len(leaves) else []
    if known.count(output) == 1:
        return leaves[known.index(output)]
    if output in known:
        found = [index for index, name in enumerate(known) if name == output]
        raise ValueError(f"The name {output!r} is that of outputs {found}; give one's index.")
    words = [each for each in dict.fromkeys([*keys, *known]) if isinstance(each, str)]
    near = difflib.get_close_matches(str(output), words, n=1)
    choice = [*map(repr, keys), *(repr(each) for each in dict.fromkeys(known) if each not in keys)]
    raise ValueError(
        f"output must be one of {', '.join(choice)}; got {output!r}."
        + (f" Did you mean {near[0]!r}?" if near else "")
    )
