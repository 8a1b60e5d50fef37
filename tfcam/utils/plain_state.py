"""What a value holds now, as far as it can be read: a trace holds that as constants."""

from __future__ import annotations

import array
import collections
import contextvars
import functools
import types
import weakref
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfcam.utils.code_reading import (
    IMPLICIT,
    Code,
    content_of,
    imported_modules,
    is_installed,
    is_plain_python,
    is_users_module,
    names_in,
    read_code,
    state_of,
)
from tfcam.utils.digest import digest_arrays
from tfcam.utils.module_members import ModuleMembers

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_PLAIN_TYPES = frozenset(_PLAIN)
_LIBRARIES = ("builtins", "keras", "numpy", "tensorflow")
# Of arrays with more numbers a digest is kept; with still more they count by some of their values.
_SMALL, _LARGEST = 4096, 2**21
# So many objects are gone through.
_MOST = 2000
_CONTAINERS = (*_PLAIN[:-1], list, tuple, dict, set, frozenset, collections.deque, np.ndarray)
# What Keras keeps settings in that a layer of a user's may read or call.
_OF_KERAS = (
    *(keras.Loss, keras.Initializer, keras.Regularizer, keras.constraints.Constraint),
    keras.optimizers.schedules.LearningRateSchedule,
)
_WRAPPERS = (staticmethod, classmethod, functools.cached_property, property)


def plain_state(value: Any, but: Collection[str] = ()) -> Hashable:
    """Condense the plain values that a callable reads, so that a change of one shows.

    Read are its code, its attributes, its closure, its defaults, the globals that its code names,
    and the attributes of its class: numbers, texts, arrays, and lists, dicts, sets, objects,
    modules and functions of these. What can't be read, such as a tensor, counts by its identity; so
    does an array of more than two million numbers, of which some are read.

    Args:
        value: A function, a method, a ``functools.partial``, an object with ``__call__``, or
            anything else.
        but: Names of attributes and variables that do not count.

    Returns:
        What stays equal as long as none of these values changes, and is the same for two callables
        that hold the same.

    Example:
        >>> def of_class(outputs, index=[3]):
        ...     return outputs[:, index[0]]
        >>> before = plain_state(of_class)
        >>> before == plain_state(of_class)
        True
        >>> of_class.__defaults__[0][0] = 4
        >>> before == plain_state(of_class)
        False
    """
    return StateReader(but, layers=True).state(value)


class Same:
    """Stands for an object that can't be read: equal as long as it is the same one, and there."""

    __slots__ = ("_reference",)

    def __init__(self, value: Any) -> None:
        self._reference = weakref.ref(value)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Same)
            and self._reference is other._reference
            and self._reference() is not None
        )

    def __hash__(self) -> int:
        return id(self._reference)


class StateReader:
    """Reads the states of values, each object once.

    Args:
        but: Names of attributes and variables that do not count.
        layers: Whether the settings of Keras's layers count, too.

    Attributes:
        but: These names; they may be others for the next value.
        modules: What the code that has a value may read of modules in it.
        operations: The Keras layers and operations that were met.
    """

    def __init__(self, but: Collection[str] = (), layers: bool = False) -> None:
        self.but, self._layers = but, layers
        self.modules = ModuleMembers()
        self._read: dict[int, Any] = {}  # kept, else another object could come to have an id
        self.operations: list[Any] = []

    def state(self, value: Any) -> Hashable:
        """Read a value."""
        kind = type(value)
        if kind in _PLAIN_TYPES:
            return kind, repr(value) if kind in (float, complex) else value
        if _is_module(value):
            return self._module(value)
        if id(value) in self._read:
            return "again", id(value)
        if len(self._read) > _MOST:
            return _same(value)
        self._read[id(value)] = value
        if isinstance(value, _CONTAINERS) and is_users(kind):
            return self._state_of_object(value, kind), self._instance(value, kind)
        return self._state_of_object(value, kind)

    def states(self, values: Iterable[Any]) -> tuple[Hashable, ...]:
        """Read several values."""
        return tuple(map(self.state, values))

    def _state_of_object(self, value: Any, kind: type) -> Hashable:
        if isinstance(value, _PLAIN):
            return kind, repr(value)
        if isinstance(value, list | tuple | collections.deque):
            return self._sequence(value)
        if isinstance(value, set | frozenset):
            return frozenset(self.states(value))
        if isinstance(value, Mapping):
            made = getattr(value, "default_factory", None)
            return (*self.states(value.keys()), *self.states(value.values()), self.state(made))
        if isinstance(value, np.ndarray | np.generic):
            return self._array(np.asanyarray(value))
        if isinstance(value, bytearray | memoryview | array.array):
            return bytes(value)
        if isinstance(value, contextvars.ContextVar):
            return self.state(value.get(None))
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return self.states((value.__func__, value.__self__))
        if isinstance(value, functools.partial):
            return self.states((value.func, value.args, value.keywords))
        if isinstance(value, _WRAPPERS):
            return self.states(getattr(value, name, None) for name in ("__func__", "fget", "func"))
        if isinstance(value, keras.Operation):
            self.operations.append(value)
            return _same(value), self._settings(value) if self._layers else None
        if isinstance(value, type):
            return self.of_class(value) if is_users(value) else _same(value)
        if hasattr(kind, "python_function"):  # of tf.function
            return self.state(value.python_function)
        return self._instance(value, kind)

    def _settings(self, operation: keras.Operation) -> Hashable:
        """The plain values that a layer was made with, such as a scale."""
        own = vars(operation).items()
        names = (n for n, part in own if isinstance(part, _PLAIN) and n[0] != "_" and n != "built")
        return tuple((name, self.state(vars(operation)[name])) for name in names)

    def _sequence(self, value: Sequence[Any] | collections.deque[Any]) -> Hashable:
        if len(value) > 64 and _PLAIN_TYPES.issuperset(map(type, value)):
            return tuple(value)  # such as a vocabulary
        return self.states(value)

    def _array(self, values: np.ndarray) -> Hashable:
        if isinstance(values, np.ma.MaskedArray):
            return self._array(np.ma.getdata(values)), self._array(np.ma.getmaskarray(values))
        if values.dtype.hasobject:
            return values.shape, self.state(values.ravel().tolist())
        about = values.dtype.str, values.shape
        if values.size > _LARGEST:
            step = values.size // _SMALL
            some = values.reshape(-1)[::step] if values.flags.c_contiguous else values[:1]
            return *about, _same(values), some.tobytes()
        return *about, digest_arrays(values) if values.size > _SMALL else values.tobytes()

    def _function(self, function: types.FunctionType) -> Hashable:
        code = read_code(function.__code__)
        but = {*self.but, *code.changed}  # what it changes itself, such as a count, is no constant
        with self.modules.naming(code.read):
            return self._function_of(function, code, but)

    def _function_of(self, function: types.FunctionType, code: Code, but: set[str]) -> Hashable:
        closure = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        free = {name: content_of(cell) for name, cell in closure}
        cells = self.states(
            free[name] for name in free if name not in but or _is_module(free[name])
        )
        held = (cells, self.state(function.__defaults__), self.state(function.__kwdefaults__))
        if is_installed(function.__code__.co_filename, function.__module__):
            return function.__code__, held
        known = function.__globals__
        # ``helpers.add(x)`` changes no module.
        modules = {name for name in but & known.keys() if _is_module(known[name])}
        names = sorted((code.globals & known.keys()) - (but - modules))
        read = tuple(self._named(known[name], code.read) for name in names)
        own = {name: part for name, part in vars(function).items() if name != "__wrapped__"}
        wrapped = self.state(vars(function).get("__wrapped__"))
        inside = self.states(imported_modules(function))
        return function.__code__, held, self.state(own), wrapped, read, inside

    def _module(self, module: types.ModuleType) -> Hashable:
        """Read what is named of a module, and was not yet."""
        if not is_users_module(module):
            return _same(module)
        new = self.modules.new_of(module)
        return _same(module), tuple(self.members(vars(module), new).items())

    def _named(self, value: Any, names: Collection[str]) -> Hashable:
        """Read a global: of a class what the code that names it may read there."""
        if isinstance(value, type) and is_users(value):
            return self.of_class(value, names)
        return self.state(value)

    def of_class(self, kind: type, names: Collection[str] | None = None) -> Hashable:
        """Read a class that a user wrote, as far as users wrote it.

        Args:
            kind: The class.
            names: The names of what is read; by default all that is no matter of Python's.
        """
        own = [base for base in kind.__mro__ if is_users(base)]
        return _same(kind), tuple(tuple(self.members(vars(base), names).items()) for base in own)

    def members(
        self, own: Mapping[str, Any], names: Collection[str] | None = None
    ) -> dict[str, Hashable]:
        """Read what a class, a module or an object holds, by name.

        Args:
            own: Its members.
            names: The names of what is read; by default all that is no matter of Python's.
        """
        if names is None:
            names = [name for name in own if name in IMPLICIT or not name.startswith("__")]
        chosen = [n for n in own if n in names and (n not in self.but or _is_module(own[n]))]
        return {name: self.state(own[name]) for name in chosen}

    def _instance(self, value: Any, kind: type) -> Hashable:
        namespace = kind is types.SimpleNamespace
        if _root(kind) in _LIBRARIES and not (namespace or _is_open(value, kind)):
            return _same(value)
        own = state_of(value)
        with self.modules.naming(names_in(kind)):
            about = self.of_class(kind), tuple(self.members(own, own.keys()).items())
        return about if namespace or is_plain_python(kind) else (*about, _same(value))


def _is_module(value: Any) -> bool:
    return isinstance(value, types.ModuleType)


def _is_open(value: Any, kind: type) -> bool:
    """Whether an object of a library holds all that it does as attributes."""
    return isinstance(value, _OF_KERAS) or (_root(kind) == "numpy" and is_plain_python(kind))


def is_users(kind: type) -> bool:
    """Whether a user wrote a class: it is of no installed package."""
    return not _is_installed(kind.__module__ or "")


@functools.cache
def _is_installed(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES or is_installed(None, module)


def _root(kind: type) -> str:
    return (kind.__module__ or "").partition(".")[0]


def _same(value: Any) -> Hashable:
    try:
        return Same(value)
    except TypeError:  # there are no weak references to it
        return id(value)
