"""What a user asks, as an engine takes it: methods, targets, labels."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam import attribution as attribution  # its methods join METHODS
from tfcam.applications import family_of, imagenet_labels
from tfcam.demands import check_labels, shown
from tfcam.findings import Finding, finding
from tfcam.methods import METHODS, Method
from tfcam.reading import Reading
from tfcam.settings import Request
from tfcam.targets import Top, class_indices, per_image, with_labels
from tfcam.tasks import Box, Regression, Segmentation, Similarity

# Callable targets that hold no model, so that what is compiled for one can be kept.
BY_VALUE = (Box, Regression, Segmentation, Similarity)


def chosen_targets(
    target: Any,
    count: int,
    several: bool,
    labels: Sequence[str] | None,
    classes: Callable[[], int | None],
) -> list[Any]:
    """What an engine takes for what a user asks: pairs of classes, callables, a ``Top``.

    Args:
        target: See ``explain``.
        count: How many images there are.
        several: Whether a list holds targets of one image, not one for each image.
        labels: The label of each class.
        classes: How many classes there are; asked for only where a class is named.
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


def spread_targets(targets: Sequence[Any]) -> list[Any]:
    """The target of each answer: a ``Top`` has several."""
    spread: list[Any] = []
    for target in targets:
        spread += [None] * target.k if isinstance(target, Top) else [target]
    return spread


def ask(method: str | Callable[[Reading], tf.Tensor], options: Mapping[str, Any]) -> Request:
    """A method and its options as an engine takes them.

    Raises:
        TypeError: If the method has no such option.
        ValueError: If there is no such method, or an option is out of range.
    """
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}
    return Request(find_method(method).of(plain), plain)


def find_method(method: str | Callable[[Reading], tf.Tensor]) -> Method:
    if callable(method):
        stored = METHODS.get(getattr(method, "__name__", ""))
        if stored is not None and stored.function is method:
            return stored
        return Method(getattr(method, "__name__", type(method).__name__), method)
    if not isinstance(method, str) or method not in METHODS:
        near = difflib.get_close_matches(str(method).lower(), METHODS, n=1)
        raise ValueError(
            f"method must be one of {', '.join(METHODS)}, or a function Reading -> map; "
            f"got {shown(method)}." + (f" Did you mean {near[0]!r}?" if near else "")
        )
    return METHODS[method]


def find_labels(
    model: Any, labels: Sequence[str] | None
) -> tuple[Sequence[str] | None, tuple[Finding, ...]]:
    """The labels of a model's classes, and a finding where they should be known but are not."""
    shape, labels = getattr(model, "output_shape", None), check_labels(labels)
    if labels is not None:
        if isinstance(shape, tuple) and len(labels) != shape[-1]:
            raise ValueError(
                f"labels must name each of the model's {shape[-1]} classes; got {len(labels)}."
            )
        return labels, ()
    if family_of(model, nested=False) is None or not shape or shape[-1] != 1000:
        return None, ()
    known = imagenet_labels()
    return known, () if known else (finding("no_labels"),)
