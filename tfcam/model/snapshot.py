"""What a trace of a model reads as a constant, kept to be compared with the model as it is now."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

_PLAIN = (bool, int, float, str, type(None))
# Arrays and tensors refer to no model, and are kept so that no other can come to have their id.
_ARRAYS = (np.ndarray, tf.Tensor, keras.Variable)


class _Constants(NamedTuple):
    """The public attributes of one of Keras's own layers: values that are compared, and objects."""

    read_values: Callable[[Any], Any]
    values: Any
    read_objects: Callable[[Any], Any]
    ids: tuple[int, ...]
    kept: list[Any]


class _Part(NamedTuple):
    reference: weakref.ref[Any]
    children: tuple[int, ...]
    constants: _Constants


class Snapshot:
    """A model's structure, variables and configuration, as they are now.

    Of Keras's own layers every public attribute counts (a slope, an epsilon, a scale, the mean of
    a normalisation, an activation); of other layers what is inside them and their variables, as
    their own code may count its calls in an attribute.

    Args:
        model: The model; it is not kept alive.
        operations: Every operation inside.
        children: Lists the operations directly inside a model or layer.
    """

    def __init__(
        self, model: Any, operations: Sequence[Any], children: Callable[[Any], list[Any]]
    ) -> None:
        self._children = children
        self._variables = _variables(model)
        self._own = self._ids(model)
        unique = {id(operation): operation for operation in operations}
        self._parts = [
            _Part(weakref.ref(each), self._ids(each), _constants(each)) for each in unique.values()
        ]

    def holds(self, model: Any) -> bool:
        """Whether the model is still as it was."""
        if self._ids(model) != self._own:
            return False
        for part in self._parts:
            operation = part.reference()
            if operation is None or self._ids(operation) != part.children:
                return False
            own, constants = vars(operation), part.constants
            try:
                if constants.read_values(own) != constants.values:
                    return False
                if tuple(map(id, constants.read_objects(own))) != constants.ids:
                    return False
            except KeyError:
                return False
        return _variables(model) == self._variables

    def _ids(self, operation: Any) -> tuple[int, ...]:
        return tuple(map(id, self._children(operation)))


def _variables(model: Any) -> tuple[int, ...]:
    return tuple(map(id, model.variables))


def _constants(operation: Any) -> _Constants:
    own: dict[str, Any] = {}
    if type(operation).__module__.startswith("keras.") and not isinstance(operation, keras.Model):
        own = {name: value for name, value in vars(operation).items() if name[0] != "_"}
    plain = [name for name, value in own.items() if _is_plain(value)]
    objects = [name for name in own if name not in plain]
    read_values, read_objects = _reader(plain), _reader(objects)
    return _Constants(
        read_values,
        tuple(map(_copied, read_values(own))),
        read_objects,
        tuple(map(id, read_objects(own))),
        [own[name] for name in objects if isinstance(own[name], _ARRAYS)],
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _copied(value: Any) -> Any:
    """A plain value that no later change of a list reaches."""
    return list(map(_copied, value)) if isinstance(value, list) else value


def _reader(names: Sequence[str]) -> Callable[[Any], Any]:
    """A function that reads these attributes, as a tuple, from a layer's ``vars``."""
    if not names:
        return lambda own: ()
    # Of one name itemgetter gives the value alone.
    return itemgetter(*names, *names[-1:]) if len(names) == 1 else itemgetter(*names)
