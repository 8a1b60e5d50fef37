"""The tree of a model's layers and operations, with the path of each: walked once a model."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, NamedTuple

import keras

from tfcam.maps.tensors import FLOAT32
from tfcam.model.scope_names import is_valid_scope

# At how many places what is inside an operation is listed.
_MOST = 16


class Node(NamedTuple):
    """One operation of a model.

    Attributes:
        path: Its path, such as ``resnet50/conv5_block3_out``.
        reference: The layer or operation; it is not kept alive.
        innermost: Whether no other operation is inside of it.
    """

    path: str
    reference: weakref.ref[Any]
    innermost: bool


class ModelTree:
    """Every layer and operation inside a model, with its path; the model is not kept alive.

    Args:
        model: A Keras model.

    Attributes:
        name: The model's name.
        nodes: The operations in the order in which the model lists them, outer before inner ones.
        during_call: What a call of the model is made in.
    """

    def __init__(self, model: Any) -> None:
        self._reference = weakref.ref(model)
        self.name: str = model.name
        self.during_call: Callable[[], AbstractContextManager[None]] = nullcontext
        self.nodes = tuple(
            Node(path, weakref.ref(operation), not children(operation))
            for path, operation in walk(model)
        )

    @property
    def model(self) -> Any:
        """The model itself.

        Raises:
            ReferenceError: If it no longer exists.
        """
        model = self._reference()
        if model is None:
            raise ReferenceError("The explained model no longer exists; keep a reference to it.")
        return model

    @property
    def operations(self) -> list[Any]:
        """The operation of each node."""
        return [node.reference() for node in self.nodes]

    @cached_property
    def odd_names(self) -> list[str]:
        """The names that can't be traced as they are."""
        names = (getattr(each, "name", "") for each in (self.model, *self.operations))
        return [name for name in names if not is_valid_scope(name)]

    def computes_in(self, dtype: str) -> bool:
        """Whether the model or a layer of it computes in a dtype, such as "float16"."""
        inside = (self.model, *self.operations)
        return any(getattr(layer, "compute_dtype", None) == dtype for layer in inside)

    @cached_property
    def spacing(self) -> float:
        """The spacing of numbers near 1 in the dtype of fewest digits that a layer computes in."""
        halves = {"bfloat16": 2.0**-7, "float16": 2.0**-10}
        return next((halves[dtype] for dtype in halves if self.computes_in(dtype)), FLOAT32)

    def items(self) -> list[tuple[str, Any]]:
        """The path and the operation of each node."""
        return [(node.path, node.reference()) for node in self.nodes]

    @cached_property
    def node_by_id(self) -> dict[int, Node]:
        """The first node of each operation, by its ``id``."""
        return {id(node.reference()): node for node in reversed(self.nodes)}

    def path(self, operation: Any) -> str | None:
        """The first path of an operation; None of one that is not inside."""
        node = self.node_by_id.get(id(operation))
        return None if node is None else node.path


def children(operation: Any) -> list[Any]:
    """List the operations directly inside a model or layer, in its own order."""
    listed: list[Any] = []
    # Nearly all have none.
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


def walk(operation: Any) -> Iterator[tuple[str, Any]]:
    """Go through every operation inside a model or layer, with its path from there.

    What is inside an operation is listed at no more than ``_MOST`` of its places: where each layer
    keeps a list of all earlier ones, there are twice as many places for each layer more.
    """
    return _walk(operation, "", (), Counter())


def _walk(
    operation: Any, prefix: str, above: tuple[int, ...], opened: Counter[int]
) -> Iterator[tuple[str, Any]]:
    above = (*above, id(operation))
    for child in children(operation):
        if id(child) in above:  # a layer may keep a reference to the model that holds it
            continue
        path = f"{prefix}{child.name}"
        yield path, child
        opened[id(child)] += 1
        if opened[id(child)] <= _MOST:
            yield from _walk(child, f"{path}/", above, opened)


def has_own_call(model: keras.Model) -> bool:
    """Whether a model computes otherwise than its layers are connected."""
    plain = type(model).call.__qualname__ in ("Functional.call", "Sequential.call")
    return not plain or "call" in vars(model)


def called_operations(model: Any) -> list[Any]:
    """List every operation inside that the model may call when it is called.

    Of a model that computes as its layers are connected, a layer beside them, such as the
    preprocessor that a task brings along, is none.
    """
    found: dict[int, Any] = {}
    waiting = [model]
    while waiting:
        operation = waiting.pop()
        inside = children(operation)
        if isinstance(operation, keras.Model) and not has_own_call(operation):
            connected = set(map(id, getattr(operation, "operations", operation.layers)))
            inside = [each for each in inside if id(each) in connected]
        waiting += [each for each in inside if id(each) not in found]
        found |= {id(each): each for each in inside}
    return list(found.values())


def inner_operations(layer: Any) -> list[Any]:
    """List every operation inside a layer, however deep."""
    return [operation for _, operation in walk(layer)]
