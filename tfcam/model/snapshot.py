"""What a trace of a model reads as a constant, kept to be compared with the model as it is now."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from types import FunctionType
from typing import Any, NamedTuple

import keras
import numpy as np

from tfcam.model.class_code import (
    CallCode,
    call_code,
    counting_attributes,
    is_foreign,
    missing_attributes,
)
from tfcam.model.hooks import LOCK
from tfcam.model.tree import called_operations, children
from tfcam.utils.plain_state import StateReader, is_users

_PLAIN = (bool, int, float, str, type(None))
_COLLECTIONS = (list, tuple, dict, set, np.ndarray)
_VARIABLES = ("_trainable_variables", "_non_trainable_variables")


class _Objects(NamedTuple):
    """What of an operation is compared by what it is, or by what is in it."""

    names: list[str]
    missing: frozenset[str]
    read: frozenset[str]
    changed: frozenset[str]
    call: int
    children: tuple[int, ...]


class _Constants(NamedTuple):
    """The attributes of one operation that count; nearly all layers have values alone."""

    reference: weakref.ref[Any]
    kind: int
    read_values: Callable[[Any], tuple[Any, ...]]
    values: tuple[Any, ...]
    objects: _Objects | None


class _Kind(NamedTuple):
    """A class that a user wrote, and the names of what is read of it."""

    reference: weakref.ref[Any]
    names: frozenset[str]
    changed: frozenset[str]


class Snapshot:
    """A model's structure, variables and configuration, as they are now.

    Of each layer every public attribute counts that Keras's own code sets (a slope, an epsilon, a
    scale, the mean of a normalisation, an activation), every attribute that holds a layer or
    several, and of a class of one's own what the code that its ``call`` runs reads, as far as users
    wrote it: attributes of the layer, of its class and of objects that it holds, globals, closures
    and defaults. What that code itself sets or changes, such as a count of the calls, does not
    count, and what objects of other packages hold inside is not seen.

    Args:
        model: The model; it is not kept alive.
        operations: Every operation inside.
    """

    def __init__(self, model: Any, operations: Sequence[Any]) -> None:
        unique = {id(operation): operation for operation in (model, *operations)}
        self._constants: list[_Constants] = []
        self._objects: list[tuple[weakref.ref[Any], _Objects]] = []
        self._kinds: list[_Kind] = []
        self._restless: set[Hashable] = set()
        self._arrays: list[np.ndarray] = []
        self._note(unique)
        self._arrays = [*chain.from_iterable(map(_arrays_given, unique.values()))]
        self._states = self._now()
        self._foreign = [*{_foreign_base(one.__class__): None for one in unique.values()}]
        self._calls = _calls(self._foreign)
        self._variables = [list_ for one in unique.values() for list_ in _variable_lists(one)]
        # Kept, so that no other can come to have their ids.
        self._held = list(chain.from_iterable(self._variables))
        self._variable_ids = _ids(self._held)

    def _note(self, unique: dict[int, Any]) -> None:
        """Note operations, and add those that nothing but their code refers to."""
        waiting, codes = list(unique.values()), dict[type, CallCode]()
        while waiting:
            for operation in waiting:
                constants, code = _constants(operation)
                self._constants.append(constants)
                if constants.objects is not None:
                    self._objects.append((constants.reference, constants.objects))
                if code.read:
                    kind = operation.__class__
                    codes[kind] = codes.get(kind, code).joined(code)
            self._kinds = [_Kind(weakref.ref(k), c.read, c.changed) for k, c in codes.items()]
            reader = StateReader()
            self._now(reader)
            hidden = [one for each in reader.operations for one in (each, *called_operations(each))]
            waiting = list({id(one): one for one in hidden if id(one) not in unique}.values())
            unique |= {id(one): one for one in waiting}

    def _now(self, reader: StateReader | None = None) -> dict[Hashable, Hashable]:
        """What the objects of operations, and users' classes, hold now, by their place."""
        reader, states = reader or StateReader(), dict[Hashable, Hashable]()
        for place, (reference, objects) in enumerate(self._objects):
            own = vars(reference())
            states |= {(place, name): True for name in objects.missing if name in own}
            _read_objects(states, place, own, objects, reader)
        for place, (kind, names, changed) in enumerate(self._kinds):
            reader.but, reader.modules.names = changed, names
            for depth, base in enumerate(getattr(kind(), "__mro__", ())):
                if is_users(base):
                    members = reader.members(vars(base), names)
                    states |= {(-1 - place, depth, name): members[name] for name in members}
        states |= {(-1, number): reader.state(one) for number, one in enumerate(self._arrays)}
        return {key: states[key] for key in states.keys() - self._restless}

    def holds(self) -> bool:
        """Whether the model is still as it was."""
        with LOCK:  # while another thread looks inside, layers have other calls
            # The lists of variables are compared all in one, as most of the time would go there.
            now = _ids(chain.from_iterable(self._variables))
            if now != self._variable_ids or not all(map(_is_unchanged, self._constants)):
                return False
            return self._now() == self._states and _calls(self._foreign) == self._calls

    @contextlib.contextmanager
    def during_call(self) -> Iterator[None]:
        """Note what the model changes itself while it is called: it is no constant."""
        if not self._states and not self._kinds:
            yield
            return
        before = self._now()
        try:
            yield
        finally:
            now = self._now()
            both = {**before, **now}
            self._restless |= {k for k in both if before.get(k, ...) != now.get(k, ...)}
            self._states = {k: s for k, s in self._states.items() if k not in self._restless}


def _ids(objects: Iterable[Any]) -> tuple[int, ...]:
    return tuple(map(id, objects))


def _variable_lists(operation: Any) -> list[list[Any]]:
    return [vars(operation)[name] for name in _VARIABLES if name in vars(operation)]


def _arrays_given(operation: Any) -> list[np.ndarray]:
    """The arrays that operations of a functional model are called with."""
    nodes = [*chain.from_iterable(getattr(operation, "_nodes_by_depth", {}).values())]
    given = keras.tree.flatten([(one.arguments.args, one.arguments.kwargs) for one in nodes])
    return [one for one in given if isinstance(one, np.ndarray)]


def _foreign_base(kind: type) -> Any:
    return next(base for base in kind.__mro__ if is_foreign(base))


def _calls(kinds: Iterable[Any]) -> list[Any]:
    """What Keras's classes call, which may be replaced, and what their code reads elsewhere."""
    settings = (keras.config.epsilon(), keras.config.floatx(), keras.config.image_data_format())
    return [*settings, *((kind.call, kind.__call__) for kind in kinds)]


def _constants(operation: Any) -> tuple[_Constants, CallCode]:
    own, kind = vars(operation), operation.__class__
    variables = _ids(chain.from_iterable(_variable_lists(operation)))
    code = call_code(operation)
    layers = [n for n, value in own.items() if n[0] != "_" and _has_layers(value)]
    known = dict.fromkeys([*counting_attributes(operation, code), *layers])
    counting = [n for n in known if id(own[n]) not in variables]
    fixed = [name for name in counting if not code.read and _is_fixed(own[name])]
    objects = [name for name in counting if name not in fixed]
    if objects:  # they may be called, such as an activation
        code = call_code(operation, [own[name] for name in objects])
    if code.changes_arguments:  # its own use of a cache is no change
        objects = [name for name in objects if not isinstance(own[name], _COLLECTIONS)]
    missing = missing_attributes(operation, code)
    values, who = tuple(own[name] for name in fixed), (weakref.ref(operation), id(kind))
    if own.get("_layers") == [] and not (objects or missing or "call" in own):
        fixed, values = [*fixed, "_layers"], (*values, [])
        return _Constants(*who, _reader(fixed), values, None), code
    kept = id(own.get("call")), _ids(children(operation))
    rest = _Objects(objects, missing, code.read, code.changed, *kept)
    return _Constants(*who, _reader(fixed), values, rest), code


def _is_unchanged(constants: _Constants) -> bool:
    """Whether an operation has the values and the operations inside that it had."""
    reference, kind, read_values, values, objects = constants
    operation = reference()
    if operation is None or id(operation.__class__) != kind:  # gone, and its id may be another's
        return False
    own = vars(operation)
    try:
        if read_values(own) != values:
            return False
    except KeyError:
        return False
    # A call of its own may be put in place of a layer's at any time.
    if objects is None:
        return "call" not in own
    return id(own.get("call")) == objects.call and _ids(children(operation)) == objects.children


def _read_objects(
    states: dict[Hashable, Hashable],
    place: int,
    own: Mapping[str, Any],
    objects: _Objects,
    reader: StateReader,
) -> None:
    """Read the objects of an operation; of the operations in these the reader makes no note."""
    reader.but, reader.modules.names = objects.changed, objects.read
    for name in objects.names:
        known = len(reader.operations)
        states[place, name] = reader.state(own[name]) if name in own else "missing"
        if _has_layers(own.get(name)):  # it may be beside what is called
            del reader.operations[known:]


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


def _reader(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that reads these attributes from a layer's ``vars``."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda own: tuple(own[name] for name in names)
