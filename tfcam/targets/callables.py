"""Targets that are functions of a model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.targets.classes import (
    NOTHING,
    ClassTarget,
    class_index,
    class_outputs,
    class_pair,
    class_scores,
    pair_name,
    resolved,
)
from tfcam.targets.two_classes import NUMBER
from tfcam.utils.code_reading import read_attribute
from tfcam.utils.plain_state import plain_state


def label(target: Any, pair: np.ndarray, labels: Sequence[str] | None) -> str | None:
    """What is explained, in words; None for a class without a label."""
    if callable(target):
        return name_of(target)
    if pair[0] == NUMBER:
        return labels[0] if labels is not None else "the number"
    if pair[1] == NOTHING and labels is None:
        return None
    return pair_name(pair, labels)


def target_key(target: Any) -> Hashable:
    """What stands for a target, or a method's function, in a key: the same while it asks the same.

    A callable of one's own is told by itself, or by its identity where it has no hash or can't be
    compared, and by the plain values that it reads, which may change.
    """
    if target is None or type(target).__module__.startswith("tfcam.targets."):
        return tuple(map(target_key, target.targets)) if isinstance(target, Each) else target
    return _Own(target), plain_state(target)


class _Own:
    """A user's object in a key, whose own hash and comparison may fail, as of a frozen dataclass
    that holds a list, or an array.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        try:
            self._hash = hash(target)
        except Exception:  # a user's code raises what it likes
            self._hash = id(target)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Own):
            return NotImplemented
        if self._target is other._target:
            return True
        try:
            return bool(self._target == other._target)
        except Exception:
            return False

    def __hash__(self) -> int:
        return self._hash


def changed(targets: Sequence[Any], keys: Sequence[Hashable]) -> set[int]:
    """The ``id`` of each target whose key is another by now, as of one that counts its calls."""
    pairs = zip(targets, keys, strict=True)
    return {id(target) for target, key in pairs if target_key(target) != key}


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
        return Each(tuple(part_of(target, part) for target in self.targets[part]))

    def __call__(self, outputs: Any, classes: tf.Tensor | None = None) -> tf.Tensor:
        """Score each image.

        Args:
            outputs: What callables take.
            classes: (B, C), what classes are scored by, where that is something else.

        Returns:
            (B,) float32.
        """
        batch, images = len(self.targets), tf.nest.flatten(outputs)[0].shape[0]
        if batch != images:
            raise ValueError(
                f"A list of targets must have one for each image; got {batch} for {images} images."
            )
        scores = tf.zeros(batch)
        keys = [target_key(target) for target in self.targets]
        for key, target in dict(zip(keys, self.targets, strict=True)).items():
            own = np.array([other == key for other in keys])
            of_class = isinstance(target, ClassScore) and classes is not None
            taken = _only(classes if of_class else outputs, own)
            own_scores = checked_scores(target(taken), batch)
            scores = tf.where(own, tf.cast(own_scores, tf.float32), scores)
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
        classes: Number of classes of the model, where known.
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
            with_labels(one, labels)
            if callable(one)
            else as_callable(class_pair(one, classes, labels))
            for one in targets
        )
    )


def with_labels(target: Any, labels: Sequence[str] | None) -> Any:
    """The target with its label turned into a class, where it holds one and labels are known."""
    named = hasattr(type(target), "with_labels") and labels is not None
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
    return target.for_images(part) if hasattr(type(target), "for_images") else target


def name_of(target: Callable[[Any], Any]) -> str:
    """What a callable target is called in results: its ``name``, or the name it was defined by."""
    names = (read_attribute(target, name) for name in ("name", "__name__"))
    return next((name for name in names if isinstance(name, str)), type(target).__name__)


def names_place(target: Any) -> bool:
    """Tell whether a mask or a box is part of a target: it asks something else of a moved image."""
    return any(
        read_attribute(one, name) is not None
        for one in (target.targets if isinstance(target, Each) else (target,))
        for name in ("mask", "box")
    )


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


def told_format(target: Any, **known: bool | None) -> Any:
    """Tell a target of pixels what it was not told; others are as they are.

    Args:
        target: A target.
        known: ``channels_first``, whether the outputs' classes come before their pixels;
            ``likely``, whether they are probabilities; ``volumes``, whether they have depth. None
            where that is not known.
    """
    if isinstance(target, Each):
        return Each(tuple(told_format(one, **known) for one in target.targets))
    if not is_dataclass(target):
        return target
    untold = {
        name: told for name, told in known.items() if read_attribute(target, name, True) is None
    }
    return replace(target, **untold) if untold else target  # type: ignore[type-var]
