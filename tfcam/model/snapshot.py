"""What a trace of a model reads as a constant, kept to be compared with the model as it is now."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from types import FunctionType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam.model.class_code import (
    attributes_read_in_call,
    changes_collections,
    counting_attributes,
)
from tfcam.model.tree import children

_PLAIN = (bool, int, float, str, type(None))
# They refer to no model, and are kept so that no other object can come to have their id.
_HELD = (tf.Tensor, keras.Variable)
# What can be changed in place, and is compared by what is in it.
_COLLECTIONS = (list, tuple, dict, np.ndarray, np.generic)
# Larger arrays are compared by their identity alone.
_SMALL = 4096
_VARIABLES = ("_trainable_variables", "_non_trainable_variables")


class _Objects(NamedTuple):
    """The attributes of an operation that are compared by what they are, or by what is in them."""

    read: Callable[[Any], tuple[Any, ...]]
    ids: tuple[int, ...]
    collections: list[str]
    contents: list[Any]
    call: int
    children: tuple[int, ...]
    held: list[Any]
    alive: list[weakref.ref[Any]]


class _Constants(NamedTuple):
    """The attributes of one operation that count; nearly all layers have values alone."""

    reference: weakref.ref[Any]
    read_values: Callable[[Any], tuple[Any, ...]]
    values: tuple[Any, ...]
    objects: _Objects | None


class Snapshot:
    """A model's structure, variables and configuration, as they are now.

    Of each layer every public attribute counts that Keras's own code sets (a slope, an epsilon, a
    scale, the mean of a normalisation, an activation), every attribute that holds a layer or
    several, and of a class of one's own what its ``call`` reads from ``self`` and never sets. What
    a layer reads elsewhere, in a global variable or inside of another object, is not seen.

    Args:
        model: The model; it is not kept alive.
        operations: Every operation inside.
    """

    def __init__(self, model: Any, operations: Sequence[Any]) -> None:
        unique = {id(operation): operation for operation in (model, *operations)}
        self._constants = list(map(_constants, unique.values()))
        self._variables = [list_ for one in unique.values() for list_ in _variable_lists(one)]
        self._variable_ids = _ids(chain.from_iterable(self._variables))

    def holds(self) -> bool:
        """Whether the model is still as it was."""
        # The lists of variables are compared all in one, as most of the time would go into them.
        now = _ids(chain.from_iterable(self._variables))
        return now == self._variable_ids and all(map(_is_unchanged, self._constants))


def _ids(objects: Iterable[Any]) -> tuple[int, ...]:
    return tuple(map(id, objects))


def _variable_lists(operation: Any) -> list[list[Any]]:
    return [vars(operation)[name] for name in _VARIABLES if name in vars(operation)]


def _constants(operation: Any) -> _Constants:
    own, kind = vars(operation), operation.__class__
    known = counting_attributes(operation)
    layers = [n for n, value in own.items() if n[0] != "_" and _has_layers(value)]
    variables = _ids(chain.from_iterable(_variable_lists(operation)))
    counting = [n for n in dict.fromkeys([*known, *layers]) if id(own[n]) not in variables]
    fixed = [name for name in counting if _is_fixed(own[name])]
    collections = [n for n in counting if n not in fixed and isinstance(own[n], _COLLECTIONS)]
    if changes_collections(kind):  # its own use of them, such as a cache, is no change
        collections = [n for n in collections if n not in attributes_read_in_call(kind)]
    objects = [name for name in counting if name not in fixed and name not in collections]
    values = tuple(own[name] for name in fixed)
    if own.get("_layers") == [] and not (objects or collections or "call" in own):
        fixed, values = [*fixed, "_layers"], (*values, [])
        return _Constants(weakref.ref(operation), _reader(fixed), values, None)
    rest = _objects(operation, objects, collections)
    return _Constants(weakref.ref(operation), _reader(fixed), values, rest)


def _objects(operation: Any, names: list[str], collections: list[str]) -> _Objects:
    own, read = vars(operation), _reader(names)
    objects = read(own)
    return _Objects(
        read,
        _ids(objects),
        collections,
        [_content(own[name]) for name in collections],
        id(own.get("call")),
        _ids(children(operation)),
        [value for value in objects if isinstance(value, _HELD)],
        [weakref.ref(value) for value in objects if isinstance(value, FunctionType)],
    )


def _is_unchanged(constants: _Constants) -> bool:
    reference, read_values, values, objects = constants
    operation = reference()
    own = vars(operation)
    try:
        if read_values(own) != values:
            return False
        # A call of its own may be put in place of a layer's at any time.
        return "call" not in own if objects is None else _are_unchanged(operation, own, objects)
    except KeyError:
        return False


def _are_unchanged(operation: Any, own: dict[str, Any], then: _Objects) -> bool:
    return (
        _ids(then.read(own)) == then.ids
        and [_content(own[name]) for name in then.collections] == then.contents
        and id(own.get("call")) == then.call
        and _ids(children(operation)) == then.children
        # A function that is gone may have left its id to another.
        and all(reference() is not None for reference in then.alive)
    )


def _has_layers(value: Any) -> bool:
    """Whether an attribute holds a layer, or some in a list or dict."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(map(_has_layers, value))
    return isinstance(value, keras.Operation)


def _is_fixed(value: Any) -> bool:
    """Whether it can't be changed in place, refers to no model, and is compared by ``==``."""
    if type(value) is tuple:
        return all(map(_is_fixed, value))
    if isinstance(value, FunctionType):  # an activation of Keras
        module = value.__module__ or ""  # None where text was run as code
        return module.startswith("keras.") and "<locals>" not in value.__qualname__
    return isinstance(value, (*_PLAIN, keras.DTypePolicy, keras.InputSpec))


def _content(value: Any) -> Any:
    """A copy of a collection that ``==`` compares as one: values as they are, objects by id."""
    if isinstance(value, list | tuple):
        return [_content(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _content(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic) and value.size <= _SMALL:
        return value.tobytes()
    return value if type(value) in _PLAIN else id(value)


def _reader(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that reads these attributes from a layer's ``vars``."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda own: tuple(own[name] for name in names)
