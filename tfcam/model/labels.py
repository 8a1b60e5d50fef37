"""The labels of a model's classes, and which class a label of the data is."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from tfcam.findings import Finding, finding
from tfcam.model.applications import Family
from tfcam.targets.classes import class_index
from tfcam.targets.labels import read_label
from tfcam.utils.label_names import listed_names

Labels: TypeAlias = Sequence[str] | Mapping[str, int] | os.PathLike[str]


def imagenet_labels() -> tuple[str, ...] | None:
    """The 1000 ImageNet labels as Keras decodes them, such as "bull mastiff".

    Returns:
        The labels; None where Keras's class index is neither here nor to be had.
    """
    known = imagenet_classes()
    return None if known is None else tuple(label for _, label in known)


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...] | None:
    """The 1000 ImageNet classes, each by its WordNet number and its label.

    Returns:
        Such as ("n02108422", "bull mastiff"); None where Keras's class index is neither here nor
        to be had.
    """
    # The class index comes with Keras's own decoder, which names classes from the most likely on.
    decode = keras.applications.imagenet_utils.decode_predictions
    try:
        (row,) = decode(np.arange(1000, 0, -1, dtype=np.float32)[np.newaxis], top=1000)
    except Exception:  # Keras raises a bare Exception where a download fails
        return None
    return tuple((number, label.replace("_", " ")) for number, label, _ in row)


def read_names(labels: Labels | None) -> list[str] | None:
    """Read the label of each class, in any of the forms in which people have them.

    Args:
        labels: Texts in the order of the classes; a dict of names and indices, such as
            ``class_indices`` of Keras's directory iterators, either way round; "imagenet"; or a
            file: JSON with one of these, or a text with a label on each line.

    Raises:
        TypeError: If they are something else.
        ValueError: If indices are not 0, 1, 2, ..., or there is no such file.

    Example:
        >>> read_names({"dog": 1, "cat": 0}), read_names(["cat", "dog"])
        (['cat', 'dog'], ['cat', 'dog'])
    """
    if isinstance(labels, str) and labels == "imagenet":
        known = imagenet_labels()
        if known is None:
            raise ValueError("The labels of ImageNet come with Keras, and could not be had.")
        return list(known)
    return listed_names(labels)


def find_labels(
    family: Family | None, width: int | None, labels: Labels | None
) -> tuple[Sequence[str] | None, tuple[Finding, ...]]:
    """Find the labels of a model's classes, and a finding where they should be known but are not.

    Args:
        family: The family of keras.applications that the model itself is of.
        width: The length of the last side of its output; None where that is not known.
        labels: What the user says.
    """
    labels = read_names(labels)
    if labels is not None:
        if width == 1 and len(labels) not in (1, 2):
            raise ValueError(
                "The model has a single unit: labels must name its two classes, class 0 first, or "
                f"its one number; got {len(labels)}."
            )
        if width not in (None, 1) and len(labels) != width:
            raise ValueError(
                f"labels must name each of the model's {width} classes; got {len(labels)}."
            )
        return labels, ()
    if family is None or width != 1000:
        return None, ()
    known = imagenet_labels()
    return known, () if known else (finding("no_labels"),)


_WORDNET = re.compile(r"n\d{8}")


def class_of(
    label: Any,
    names: Sequence[str] | None,
    classes: int | None,
    labels: Sequence[str] | None,
) -> int:
    """The index of a label among a model's classes.

    An index is the model's own where the data have as many classes, or none with names; else it is
    sought by its name: by the WordNet number that it starts with ("n02085620-chihuahua") in an
    ImageNet network, or among ``labels``.

    Args:
        label: An index or a name, of a form that ``read_label`` takes.
        names: The names of the data's classes, where they have some.
        classes: Number of classes of the model.
        labels: The label of each of them, where they are known.

    Returns:
        The index.

    Raises:
        ValueError: If the model has no such class.

    Example:
        >>> class_of(1, None, 3, None), class_of("dog", None, 3, ["cat", "cow", "dog"])
        (1, 2)
    """
    label = read_label(label, classes if names is None else len(names))
    if isinstance(label, int):
        if names is None or len(names) == classes:
            return class_index(label, classes, labels)
        label = names[label]
    name = label
    number = _WORDNET.match(name)
    if number and labels is not None and tuple(labels) == imagenet_labels():
        known = [wordnet for wordnet, _ in imagenet_classes() or ()]
        if number[0] in known:
            return known.index(number[0])
    if labels is None:
        raise ValueError(
            f"To find the class {name!r} the model's labels must be known: pass labels=[...], or "
            "target=None to explain the predicted class."
        )
    return class_index(name, classes, labels)
