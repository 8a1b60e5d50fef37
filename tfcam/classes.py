"""Which class of a model the label of a picture is, where data and model count differently."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Integral

from tfcam.applications import imagenet_classes, imagenet_labels
from tfcam.targets import class_index

_WORDNET = re.compile(r"n\d{8}")


def class_of(
    label: int | str,
    names: Sequence[str] | None,
    classes: int | None,
    labels: Sequence[str] | None,
) -> int:
    """The index of a label among a model's classes.

    An index is the model's own where the data have as many classes, or none with names; else it is
    sought by its name: by the WordNet number that it starts with ("n02085620-chihuahua") in an
    ImageNet network, or among ``labels``.

    Args:
        label: An index or a name.
        names: The names of the data's classes, where they have some.
        classes: How many classes the model has.
        labels: The label of each of them, where they are known.

    Returns:
        The index.

    Raises:
        ValueError: If the model has no such class.

    Example:
        >>> class_of(1, None, 3, None), class_of("dog", None, 3, ["cat", "cow", "dog"])
        (1, 2)
    """
    if isinstance(label, Integral):
        if names is None or len(names) == classes:
            return class_index(label, classes, labels)
        label = names[int(label)]
    name = str(label)
    number = _WORDNET.match(name)
    if number and labels is not None and tuple(labels) == imagenet_labels():
        known = [each for each, _ in imagenet_classes() or ()]
        if number[0] in known:
            return known.index(number[0])
    if labels is None:
        raise ValueError(
            f"To find the class {name!r} the model's labels must be known: pass labels=[...], or "
            "target=None to explain the predicted class."
        )
    return class_index(name, classes, labels)
