"""From the target that a user names to what an engine takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.targets.callables import per_image, with_labels
from tfcam.targets.classes import Top, class_indices
from tfcam.targets.detection import Box
from tfcam.targets.regression import Regression
from tfcam.targets.segmentation import Segmentation
from tfcam.targets.similarity import Similarity
from tfcam.targets.tagging import Tag
from tfcam.targets.two_classes import Classes, as_number

# What an engine takes: pairs of classes (B, 2), a callable outputs -> (B,), or a ``Top``.
ResolvedTarget = np.ndarray | Callable[[Any], tf.Tensor] | Top

# Callable targets that hold no model, so that what is compiled for one can be kept.
BY_VALUE = (Box, Regression, Segmentation, Similarity, Tag)


def chosen_targets(
    target: Any,
    count: int,
    several: bool,
    labels: Sequence[str] | None,
    classes: Callable[[], Classes],
) -> list[ResolvedTarget]:
    """What an engine takes for what a user asks: pairs of classes, callables, a ``Top``.

    Args:
        target: A class, a label, a callable, ``Top``, None for the predicted class, or a list.
        count: Number of images.
        several: Whether a list holds targets of one image, not one for each image.
        labels: The label of each class.
        classes: What the output tells apart; not asked for where all targets are callables.

    Raises:
        ValueError: If there is no such class, or it does not fit the images.
    """
    # Who names one class of several targets takes a single unit for a classifier.
    return _chosen(target, count, several, labels, classes, _names_class(target))


def _chosen(
    target: Any,
    count: int,
    several: bool,
    labels: Sequence[str] | None,
    classes: Callable[[], Classes],
    named: bool,
) -> list[ResolvedTarget]:
    if several:
        if isinstance(target, Top):
            return [_checked_top(target, classes())]
        if not target:
            raise ValueError("A list of targets must hold at least one; got an empty one.")
        return [
            chosen
            for one in target
            for chosen in _chosen(one, 1, isinstance(one, Top), labels, classes, named)
        ]
    if isinstance(target, Top):
        raise ValueError("Top(k) is for one image: give the images one by one.")
    if isinstance(target, list | tuple) and any(map(callable, target)):
        if len(target) != count:
            raise ValueError(
                "A list of targets must have one for each image; got "
                f"{len(target)} for {count} images."
            )
        if classes().number and not named:
            target = [Regression() if one is None else one for one in target]
        return [per_image(target, None, labels)]
    if callable(target):
        return [with_labels(target, labels)]
    known = classes()
    pairs = class_indices(target, count, known.count, labels)
    # The only class of a single unit that tells none apart is its number.
    return [as_number(pairs) if known.number and (known.count == 1 or not named) else pairs]


def _names_class(target: Any) -> bool:
    if isinstance(target, list | tuple):
        return any(map(_names_class, target))
    return target is not None and not callable(target)


def _checked_top(top: Top, known: Classes) -> Top:
    if known.count == 1:
        raise ValueError(
            "Top needs classes to choose from, but the model gives a single number; got "
            f"{top}. Leave the target out, or pass tfcam.Regression(sign)."
        )
    if known.count is not None:
        top.check_count(known.count)  # before as many places are made
    return top


def is_by_value(target: ResolvedTarget) -> bool:
    """Whether what is compiled for a target may be kept for others: it holds no model."""
    return not callable(target) or isinstance(target, BY_VALUE)


def spread_targets(targets: Sequence[ResolvedTarget]) -> list[ResolvedTarget | None]:
    """The target of each answer: a ``Top`` has several."""
    spread: list[ResolvedTarget | None] = []
    for target in targets:
        spread += [None] * target.k if isinstance(target, Top) else [target]
    return spread
