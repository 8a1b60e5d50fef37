"""What a callable reads now: a trace of it holds that as constants."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from tfcam.utils.code_reading import global_names, is_installed, state_of
from tfcam.utils.digest import digest_arrays

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_LIBRARIES = ("builtins", "keras", "numpy", "tensorflow")
# Of arrays with more numbers a digest is kept; with still more they count by their identity.
_SMALL, _LARGEST = 4096, 2**21
_DEPTH = 6


def plain_state(function: Callable[..., Any]) -> Hashable:
    """Condense the plain values that a callable reads, so that a change of one shows.

    Read are its attributes, its closure, its defaults and the globals that its code names: numbers,
    texts, arrays of up to two million numbers, and lists, dicts, objects and functions of these.
    What else they hold counts by its identity.

    Args:
        function: A function, a method, a ``functools.partial`` or an object with ``__call__``.

    Returns:
        What stays equal as long as none of these values changes, and is the same for two callables
        that are equal and hold the same.

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
    return _object_state(function, _DEPTH)


def _state(value: Any, depth: int) -> Hashable:
    if isinstance(value, _PLAIN):
        return type(value).__name__, repr(value)
    if depth == 0:
        return id(value)
    if isinstance(value, list | tuple):
        return tuple(_state(part, depth - 1) for part in value)
    if isinstance(value, set | frozenset):
        return frozenset(_state(part, depth - 1) for part in value)
    if isinstance(value, Mapping):
        items = (*value.keys(), *value.values())
        return tuple(_state(part, depth - 1) for part in items)
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.size > _LARGEST or array.dtype.hasobject:
            return id(value)
        if array.size > _SMALL:
            return digest_arrays(array)
        return array.dtype.str, array.shape, array.tobytes()
    return _identity(value), _object_state(value, depth - 1)


def _identity(value: Any) -> Hashable:
    """An object that is compared by its value stands for itself."""
    kind = type(value)
    by_value = kind.__eq__ is not object.__eq__ and kind.__hash__ is not None
    return value if by_value and kind.__module__.split(".")[0] not in _LIBRARIES else id(value)


def _object_state(value: Any, depth: int) -> Hashable:
    if isinstance(value, types.FunctionType):
        cells = tuple(_cell(cell) for cell in value.__closure__ or ())
        if is_installed(value.__code__.co_filename, value.__module__):
            return _state((cells, value.__defaults__, value.__kwdefaults__), depth)
        names = sorted(global_names(value.__code__) & value.__globals__.keys())
        read = [value.__globals__[name] for name in names]
        read = [part for part in read if not isinstance(part, types.ModuleType | type)]
        parts = (cells, value.__defaults__, value.__kwdefaults__, vars(value), read)
        return _state(parts, depth)
    if isinstance(value, types.MethodType):
        return _object_state(value.__func__, depth), _state(value.__self__, depth)
    if isinstance(value, functools.partial):
        return _state((value.func, value.args, value.keywords), depth)
    kind = type(value)
    if isinstance(value, type) or kind.__module__.split(".")[0] in _LIBRARIES:
        return None
    called = inspect.getattr_static(kind, "__call__", None)
    code = _object_state(called, depth) if isinstance(called, types.FunctionType) else None
    return code, _state(state_of(value), depth)


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None
