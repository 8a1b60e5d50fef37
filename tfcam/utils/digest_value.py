"""What tells any value from others: a function by its code and by all that it refers to."""

from __future__ import annotations

import contextlib
import copyreg
import enum
import functools
import hashlib
import types
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.utils.code_reading import (
    content_of,
    imported_modules,
    is_installed,
    is_plain_python,
    is_users_module,
    names_in,
    read_code,
    state_of,
)
from tfcam.utils.digest import digest_arrays, digest_file
from tfcam.utils.layer_settings import BUILTIN, PLAIN, layer_settings
from tfcam.utils.module_members import ModuleMembers
from tfcam.utils.tokenizers import is_tokenizer, tokenizer_content

_TENSORS = (tf.Tensor, tf.Variable, keras.Variable)
_CACHED = type(functools.cache(abs))
_CONTAINERS = (dict, list, tuple, set, frozenset, np.ndarray)
# What of a class is not what it does.
_OF_CLASSES = (
    "dict weakref doc module qualname annotations dataclass_fields abstractmethods firstlineno "
    "static_attributes parameters orig_bases"
)
_LEFT_OUT = {*(f"__{name}__" for name in _OF_CLASSES.split()), "_abc_impl"}


class UntoldError(ValueError):
    """A value holds what can't be read, so that it can't be told from others."""


def digest_value(value: Any) -> str:
    """Condense a value of any kind to 16 letters that tell it from others.

    A function counts by its code, its defaults, its closure and the globals that it reads, a
    class by its functions, an object by its class and its attributes, an array or variable by its
    content, a Keras layer by its class, its settings and what is in it but its weights. What comes
    from an installed package counts by its name.

    Raises:
        UntoldError: If part of it can't be read, such as an iterator or an open file.

    Example:
        >>> def scaled(factor):
        ...     return lambda pixels: pixels * factor
        >>> digest_value(scaled(2)) == digest_value(scaled(2))
        True
        >>> digest_value(scaled(2)) == digest_value(scaled(3))
        False
    """
    try:
        return _Digester().digest(value)
    except RecursionError:
        raise UntoldError("it is nested too deeply") from None


class _Digester:
    """Goes through a value, each object once: what refers to itself ends."""

    def __init__(self) -> None:
        self._hashed = hashlib.sha256()
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []
        self._modules = ModuleMembers()

    def digest(self, value: Any) -> str:
        """Digest a value by itself."""
        self._add(value)
        return self._hashed.hexdigest()[:16]

    def _say(self, *words: object) -> None:
        self._hashed.update(f"{words!r}".encode("utf-8", "surrogatepass"))

    def _add(self, value: Any) -> None:
        if isinstance(value, PLAIN) and not (isinstance(value, enum.Enum) or _is_of_users(value)):
            self._say(type(value).__name__, value)
        elif isinstance(value, types.ModuleType):
            self._add_module(value)
        elif id(value) in self._numbers:
            self._say("again", self._numbers[id(value)])
        else:
            self._numbers[id(value)] = len(self._numbers)
            self._alive.append(value)  # else another object could come to have its id
            if isinstance(value, (*PLAIN, *_CONTAINERS)) and _is_of_users(value):
                # What its class does, and what it holds beside.
                self._add_all("of", type(value), types.MappingProxyType(state_of(value)))
            self._add_object(value)

    def _add_all(self, kind: str, *values: Any) -> None:
        self._say(kind, len(values))
        for value in values:
            self._add(value)

    def _add_unordered(self, kind: str, values: Mapping[Any, Any]) -> None:
        """Keys in the order of their digests, as sets have none of their own."""
        self._say(kind, len(values))
        for key in sorted(values, key=lambda key: _Digester().digest(key)):
            self._add(key)
            self._add(values[key])

    def _add_object(self, value: Any) -> None:
        if isinstance(value, np.ndarray | np.generic):
            self._add_array(np.asanyarray(value))
        elif isinstance(value, _TENSORS):
            self._add_array(_content(value))
        elif isinstance(value, enum.Enum):
            self._add_all("member", type(value), value.name)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, types.FunctionType):
            self._add_function(value)
        elif isinstance(value, _CACHED):
            self._add_all("cached", value.__wrapped__)
        elif isinstance(value, types.CodeType):
            self._add_code(value)
        elif isinstance(value, types.MethodType):
            self._add_all("method", value.__func__, value.__self__)
        elif isinstance(value, BUILTIN):
            self._say("builtin", getattr(value, "__qualname__", repr(value)))
            self._add(getattr(value, "__self__", None))
        elif isinstance(value, functools.partial):
            named = types.MappingProxyType(value.keywords)
            self._add_all("partial", value.func, value.args, named)
        elif isinstance(value, staticmethod | classmethod):
            self._add_all("function", value.__func__)
        elif isinstance(value, property):
            self._add_all("property", value.fget, value.fset)
        elif isinstance(value, functools.cached_property):
            self._add_all("property", value.func)
        elif isinstance(value, keras.Operation):
            with self._modules.naming(names_in(type(value))):
                self._add_operation(value)
        elif isinstance(value, types.MappingProxyType):  # attributes, or arguments by name
            self._add_unordered("names", value)
        elif isinstance(value, dict):
            self._add_all("dict", getattr(value, "default_factory", None), *value, *value.values())
        elif isinstance(value, set | frozenset):
            self._add_unordered("set", dict.fromkeys(value))
        elif isinstance(value, list | tuple):
            self._add_all("tuple" if isinstance(value, tuple) else "list", *value)
        elif isinstance(value, weakref.ref):
            self._add_all("reference", value())
        elif hasattr(type(value), "python_function"):  # of tf.function
            self._add_all("tf.function", value.python_function)
        else:
            with self._modules.naming(names_in(type(value))):
                self._add_instance(value)

    # --- code -------------------------------------------------------------------------------

    def _add_function(self, function: types.FunctionType) -> None:
        with self._modules.naming(read_code(function.__code__).read):
            self._add_named(function)

    def _add_named(self, function: types.FunctionType) -> None:
        cells = [content_of(cell, "an empty cell") for cell in function.__closure__ or ()]
        state = [cells, function.__defaults__, function.__kwdefaults__]
        if is_installed(function.__code__.co_filename, function.__module__):
            self._say("function", function.__module__, function.__qualname__)
            if "<locals>" in function.__qualname__:
                self._add_all("made with", *state)
            return
        own = {name: part for name, part in vars(function).items() if name != "__wrapped__"}
        code = read_code(function.__code__)
        self._add_all("function", function.__code__, *state, types.MappingProxyType(own))
        for name in sorted(code.globals & function.__globals__.keys()):
            self._add_all("global", name, function.__globals__[name])
        self._add_all("imported", *imported_modules(function))

    def _add_code(self, code: types.CodeType) -> None:
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_freevars, code.co_cellvars, code.co_varnames)
        table = getattr(code, "co_exceptiontable", b"")
        self._say("code", code.co_code, counts, names, table)
        self._add_all("constants", *code.co_consts)

    def _add_class(self, kind: type) -> None:
        self._say("class", kind.__qualname__)
        if is_installed(None, kind.__module__):
            self._say(kind.__module__)
            return
        own = {name: part for name, part in vars(kind).items() if name not in _LEFT_OUT}
        self._add_all("of", types.MappingProxyType(own), type(kind), *kind.__bases__)

    def _add_module(self, module: types.ModuleType) -> None:
        file = getattr(module, "__file__", None)
        self._say("module", module.__name__, getattr(module, "__version__", None))
        if not is_users_module(module):
            return
        if file is not None:
            with contextlib.suppress(OSError):
                self._say(digest_file(Path(file)))
        # What code names there may be another while a program runs.
        for name in sorted(self._modules.new_of(module)):
            self._add_all("member", name, vars(module)[name])

    # --- objects ----------------------------------------------------------------------------

    def _add_array(self, array: np.ndarray) -> None:
        if array.dtype.hasobject:
            self._add_all("array", array.shape, *array.ravel().tolist())
        else:
            self._say("array", digest_arrays(np.ma.getdata(array)))
        if isinstance(array, np.ma.MaskedArray):
            self._add_array(np.ma.getmaskarray(array))

    def _add_instance(self, value: Any) -> None:
        kind: type = type(value)
        if kind.__module__ == "_thread":  # locks
            self._say(kind.__name__)
        elif hasattr(kind, "identity") and kind.__module__.startswith("tfcam."):
            self._add_all("identity", kind, value.identity)
        elif is_plain_python(kind):
            self._add_all("object", kind, types.MappingProxyType(state_of(value)))
        elif kind is np.ufunc and getattr(np, value.__name__, None) is not value:
            raise UntoldError(f"it holds {_said(value)}")  # it may be of any function
        else:
            try:
                known = copyreg.dispatch_table.get(kind)  # as pickle, such as of patterns
                reduced = value.__reduce_ex__(4) if known is None else known(value)
            except Exception:  # each kind of what can't be read has its own
                raise UntoldError(f"it holds {_said(value)}") from None
            if isinstance(reduced, str):
                self._say("named", reduced)
                return
            parts = [list(part) if isinstance(part, Iterator) else part for part in reduced]
            self._add_all("reduced", *parts)

    def _add_operation(self, operation: keras.Operation) -> None:
        """Of a layer or model all but names and weights: a digest of these stands beside."""
        kind: type = type(operation)
        if is_tokenizer(operation):
            self._add_all("tokenizer", kind, *tokenizer_content(operation))
            return
        theirs, mine = layer_settings(operation)
        self._add_all("layer", kind, vars(operation).get("call"), types.MappingProxyType(theirs))
        self._say(getattr(operation, "compute_dtype", None))
        nodes = getattr(operation, "_nodes_by_depth", None)
        if nodes is not None:
            self._add_graph(operation, nodes)
        elif isinstance(operation, keras.Layer):
            self._add_all("inner", *operation._flatten_layers(include_self=False, recursive=False))
        self._add_unordered("own", mine)

    def _add_graph(self, model: Any, nodes: Mapping[int, Any]) -> None:
        """Who feeds whom in a functional model."""
        numbers: dict[int, int] = {}

        def number(tensor: Any) -> Any:
            if isinstance(tensor, keras.KerasTensor):
                return ("tensor", numbers.setdefault(id(tensor), len(numbers)))
            return tensor

        order = {id(operation): place for place, operation in enumerate(model.operations)}
        for tensor in model.inputs:
            number(tensor)
        for depth in sorted(nodes, reverse=True):
            for node in nodes[depth]:
                given = tf.nest.flatten((node.arguments.args, node.arguments.kwargs))
                made = tf.nest.flatten(node.outputs)
                # The order of the weights: which of two equal layers has which.
                self._say("node", order.get(id(node.operation)))
                self._add_all("calls", node.operation, *map(number, [*given, *made]))
        self._add_all("outputs", *map(number, model.outputs))


def _content(tensor: Any) -> np.ndarray:
    try:
        return np.asarray(tensor)
    except Exception:  # symbolic, or of no numbers
        raise UntoldError(f"it holds {_said(tensor)}") from None


def _is_of_users(value: Any) -> bool:
    return not is_installed(None, type(value).__module__)


def _said(value: Any) -> str:
    return f"an object of {type(value).__module__}.{type(value).__qualname__}"
