"""What a trace of a model reads as a constant, kept to be compared with the model as it is now."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam.model.tree import child_ids

_PLAIN = (bool, int, float, str, type(None))
# Arrays and tensors refer to no model, and are kept so that no other can come to have their id.
_ARRAYS = (np.ndarray, tf.Tensor, keras.Variable)


class _Constants(NamedTuple):
    """The public attributes of one of Keras's own layers: values that are compared, and objects."""

    operation: weakref.ref[Any]
    read_values: Callable[[Any], tuple[Any, ...]]
    values: tuple[Any, ...]
    read_objects: Callable[[Any], tuple[Any, ...]]
    ids: tuple[int, ...]
    kept: list[Any]


class Snapshot:
    """A model's structure, variables and configuration, as they are now.

    Of Keras's own layers every public attribute counts (a slope, an epsilon, a scale, the mean of
    a normalisation, an activation); of other layers what is inside them and their variables, as
    their own code may count its calls in an attribute.

    Args:
        model: The model; it is not kept alive.
        operations: Every operation inside.
    """

    def __init__(self, model: Any, operations: Sequence[Any]) -> None:
        unique = list({id(operation): operation for operation in operations}.values())
        self._operations = [weakref.ref(operation) for operation in unique]
        self._children = child_ids([model, *unique])
        self._variables = _ids(model.variables)
        self._constants = [
            _constants(operation) for operation in unique if _is_own_layer(operation)
        ]

    def holds(self, model: Any) -> bool:
        """Whether the model is still as it was."""
        operations = [reference() for reference in self._operations]
        return (
            child_ids([model, *operations]) == self._children
            and _ids(model.variables) == self._variables
            and all(map(_is_unchanged, self._constants))
        )


def _is_own_layer(operation: Any) -> bool:
    """Whether it is one of Keras's own layers or operations; a model is none."""
    return type(operation).__module__.startswith("keras.") and not isinstance(
        operation, keras.Model
    )


def _ids(objects: Sequence[Any]) -> tuple[int, ...]:
    return tuple(map(id, objects))


def _constants(operation: Any) -> _Constants:
    own = {name: value for name, value in vars(operation).items() if name[0] != "_"}
    plain = [name for name, value in own.items() if _is_plain(value)]
    objects = [name for name in own if name not in plain]
    read_values, read_objects = _reader(plain), _reader(objects)
    return _Constants(
        weakref.ref(operation),
        read_values,
        tuple(map(_copied, read_values(own))),
        read_objects,
        _ids(read_objects(own)),
        [own[name] for name in objects if isinstance(own[name], _ARRAYS)],
    )


def _is_unchanged(constants: _Constants) -> bool:
    own = vars(constants.operation())
    try:
        values, objects = constants.read_values(own), constants.read_objects(own)
    except KeyError:
        return False
    return values == constants.values and _ids(objects) == constants.ids


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _copied(value: Any) -> Any:
    """A plain value that no later change of a list reaches."""
    return list(map(_copied, value)) if isinstance(value, list) else value


def _reader(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that reads these attributes from a layer's ``vars``."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda own: tuple(own[name] for name in names)
