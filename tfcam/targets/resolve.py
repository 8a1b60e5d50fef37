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

# What an engine takes: pairs of classes (B, 2), a callable outputs -> (B,), or a ``Top``.
ResolvedTarget = np.ndarray | Callable[[Any], tf.Tensor] | Top

# Callable targets that hold no model, so that what is compiled for one can be kept.
BY_VALUE = (Box, Regression, Segmentation, Similarity)


def chosen_targets(
    target: Any,
    count: int,
    several: bool,
    labels: Sequence[str] | None,
    classes: Callable[[], int | None],
) -> list[ResolvedTarget]:
    """What an engine takes for what a user asks: pairs of classes, callables, a ``Top``.

    Args:
        target: A class, a label, a callable, ``Top``, None for the predicted class, or a list.
        count: Number of images.
        several: Whether a list holds targets of one image, not one for each image.
        labels: The label of each class.
        classes: Number of classes; asked for only where a class is named.
    """
    if several:
        if isinstance(target, Top):
            return [target]
        if not target:
            raise ValueError("A list of targets must hold at least one; got an empty one.")
        return [
            one if isinstance(one, Top) else chosen_targets(one, 1, False, labels, classes)[0]
            for one in target
        ]
    if isinstance(target, Top):
        raise ValueError("Top(k) is for one image: give the images one by one.")
    if isinstance(target, list | tuple) and any(map(callable, target)):
        if len(target) != count:
            raise ValueError(
                "A list of targets must have one for each image; got "
                f"{len(target)} for {count} images."
            )
        return [per_image(target, None, labels)]
    if callable(target):
        return [with_labels(target, labels)]
    return [class_indices(target, count, None if target is None else classes(), labels)]


def is_by_value(target: ResolvedTarget) -> bool:
    """Whether what is compiled for a target may be kept for others: it holds no model."""
    return not callable(target) or isinstance(target, BY_VALUE)


def spread_targets(targets: Sequence[ResolvedTarget]) -> list[ResolvedTarget | None]:
    """The target of each answer: a ``Top`` has several."""
    spread: list[ResolvedTarget | None] = []
    for target in targets:
        spread += [None] * target.k if isinstance(target, Top) else [target]
    return spread
