"""What a trace of a model reads as a constant, kept to be compared with the model as it is now."""

from __future__ import annotations

import dis
import functools
import weakref
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from types import FunctionType
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam.model.tree import child_ids

_PLAIN = (bool, int, float, str, type(None))
# They refer to no model, and are kept so that no other object can come to have their id.
_HELD = (tf.Tensor, keras.Variable)
# What can be changed in place, and is compared by what is in it.
_COLLECTIONS = (list, tuple, dict, np.ndarray, np.generic)
# Larger arrays are compared by their identity alone.
_SMALL = 4096


class _Constants(NamedTuple):
    """The attributes of one operation that count.

    Values are compared as they are, what can be changed in place by its content, and all else by
    what it is.
    """

    operation: weakref.ref[Any]
    read_values: Callable[[Any], tuple[Any, ...]]
    values: tuple[Any, ...]
    read_objects: Callable[[Any], tuple[Any, ...]]
    ids: tuple[int, ...]
    collections: list[str]
    contents: list[Any]
    call: int
    held: list[Any]
    alive: list[weakref.ref[Any]]


class Snapshot:
    """A model's structure, variables and configuration, as they are now.

    Of each layer every public attribute counts that Keras's own code sets (a slope, an epsilon, a
    scale, the mean of a normalisation, an activation), and every attribute that holds a layer or
    several. What else the code of a layer of one's own reads from its attributes is not seen: it
    may count its calls in them.

    Args:
        model: The model; it is not kept alive.
        operations: Every operation inside.
    """

    def __init__(self, model: Any, operations: Sequence[Any]) -> None:
        unique = list({id(operation): operation for operation in operations}.values())
        self._operations = [weakref.ref(operation) for operation in unique]
        self._children = child_ids([model, *unique])
        self._variables = _variable_ids([model, *unique])
        self._constants = [_constants(operation) for operation in (model, *unique)]

    def holds(self, model: Any) -> bool:
        """Whether the model is still as it was."""
        operations = [model, *(reference() for reference in self._operations)]
        return (
            child_ids(operations) == self._children
            and _variable_ids(operations) == self._variables
            and all(map(_is_unchanged, self._constants))
        )


def _variable_ids(operations: Iterable[Any]) -> list[tuple[int, ...]]:
    """The ``id`` of each operation's own variables; ``variables`` would go through all layers."""
    lists = ("_trainable_variables", "_non_trainable_variables")
    return [_ids(getattr(each, name, ())) for each in operations for name in lists]


def _ids(objects: Iterable[Any]) -> tuple[int, ...]:
    return tuple(map(id, objects))


def _constants(operation: Any) -> _Constants:
    own, names = vars(operation), _names_set_by_keras(operation.__class__)
    counting = [n for n, value in own.items() if n in names or (n[0] != "_" and _has_layers(value))]
    fixed = [name for name in counting if _is_fixed(own[name])]
    collections = [n for n in counting if n not in fixed and isinstance(own[n], _COLLECTIONS)]
    objects = [name for name in counting if name not in fixed and name not in collections]
    read_values, read_objects = _reader(fixed), _reader(objects)
    values = read_objects(own)
    return _Constants(
        weakref.ref(operation),
        read_values,
        read_values(own),
        read_objects,
        _ids(values),
        collections,
        [_content(own[name]) for name in collections],
        id(own.get("call")),
        [value for value in values if isinstance(value, _HELD)],
        [weakref.ref(value) for value in values if isinstance(value, FunctionType)],
    )


def _is_unchanged(constants: _Constants) -> bool:
    own = vars(constants.operation())
    try:
        values, objects = constants.read_values(own), constants.read_objects(own)
        contents = [_content(own[name]) for name in constants.collections]
    except KeyError:
        return False
    return (
        values == constants.values
        and _ids(objects) == constants.ids
        and contents == constants.contents
        # A call of its own may be put in place of a layer's at any time.
        and id(own.get("call")) == constants.call
        # A function that is gone may have left its id to another.
        and all(reference() is not None for reference in constants.alive)
    )


@functools.cache
def _names_set_by_keras(kind: type) -> frozenset[str]:
    """The attributes that Keras's own code sets on instances of a class, of models none."""
    if issubclass(kind, keras.Model):
        return frozenset()
    own = [base for base in kind.__mro__ if base.__module__.startswith("keras.")]
    functions = [f for base in own for f in vars(base).values() if hasattr(f, "__code__")]
    stored = {
        instruction.argval
        for function in functions
        for instruction in dis.get_instructions(function)
        if instruction.opname == "STORE_ATTR"
    }
    return frozenset({name for name in stored if name[0] != "_"} | {"_dtype_policy"})


def _has_layers(value: Any) -> bool:
    """Whether an attribute holds a layer, or some in a list or dict."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(map(_has_layers, value))
    return isinstance(value, keras.Operation)


def _is_fixed(value: Any) -> bool:
    """Whether it is a number, a word or a tuple of these, which can't be changed in place."""
    return all(map(_is_fixed, value)) if type(value) is tuple else type(value) in _PLAIN


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
