"""The tree of a model's layers and operations, with the path of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def children(operation: Any) -> list[Any]:
    """The operations directly inside a model or layer, in the order in which it lists them."""
    listed: list[Any] = []
    # Nearly all have none, and models are walked for each image.
    if not isinstance(operation, keras.Model) and not getattr(operation, "_layers", True):
        return listed
    if isinstance(operation, keras.Model):
        listed += getattr(operation, "operations", operation.layers)
    # Keras has no public way to the layers inside a layer that is no model.
    if hasattr(operation, "_flatten_layers"):
        listed += operation._flatten_layers(include_self=False, recursive=False)
    unique = {
        id(child): child for child in listed if not isinstance(child, keras.layers.InputLayer)
    }
    return list(unique.values())


def walk(
    operation: Any, prefix: str = "", above: tuple[int, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Every operation inside a model with its path, such as ``resnet50/conv5_block3_out``."""
    above = (*above, id(operation))
    for child in children(operation):
        if id(child) in above:  # a layer may keep a reference to the model that holds it
            continue
        path = f"{prefix}{child.name}"
        yield path, child
        yield from walk(child, f"{path}/", above)
