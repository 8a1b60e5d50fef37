"""What classes and functions say of themselves."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import types
from pathlib import Path
from typing import Any

import keras

_WRITTEN_IN_PYTHON = 1 << 9  # CPython's flag of such classes


def state_of(value: Any) -> Any:
    """An object's attributes; what it has computed of itself and kept is not one."""
    kind = type(value)
    slots = [n for base in kind.__mro__ for n in _slots(base) if hasattr(value, n)]
    own = getattr(value, "__dict__", {}) | {name: getattr(value, name) for name in slots}
    kept = functools.cached_property
    return {n: part for n, part in own.items() if not isinstance(getattr(kind, n, None), kept)}


def _slots(kind: type) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    named = [slots] if isinstance(slots, str) else list(slots)
    private = f"_{kind.__name__.lstrip('_')}"  # Python's own name of what begins with two lines
    return [
        f"{private}{name}" if name.startswith("__") else name
        for name in named
        if name not in ("__dict__", "__weakref__")
    ]


def is_plain_python(kind: type) -> bool:
    """Whether the attributes of an object are all its state."""
    written = all(base.__flags__ & _WRITTEN_IN_PYTHON for base in kind.__mro__[:-1])
    return (
        written
        and kind.__reduce__ is object.__reduce__
        and kind.__reduce_ex__ is object.__reduce_ex__
    )


@functools.cache
def names_set_by_keras(kind: type) -> frozenset[str]:
    """The attributes that code of Keras and TensorFlow sets on instances of a class."""
    own = [base for base in kind.__mro__ if base.__module__.startswith(("keras.", "tensorflow."))]
    members = [member for base in own for member in vars(base).values()]
    functions = [
        inspect.unwrap(getattr(member, "__func__", None) or getattr(member, "fset", None) or member)
        for member in members
        if not isinstance(member, type)
    ]
    codes = [function.__code__ for function in functions if hasattr(function, "__code__")]
    return frozenset(vars(keras.layers.Layer())).union(
        instruction.argval
        for code in codes
        for instruction in dis.get_instructions(code)
        if instruction.opname == "STORE_ATTR"
    )


@functools.cache
def global_names(code: types.CodeType) -> frozenset[str]:
    """The globals that code reads, that of functions inside it too."""
    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return frozenset(names.union(*map(global_names, inner)))


def is_installed(file: str | None, module: str | None) -> bool:
    """Whether code comes from Python itself, tfcam or an installed package."""
    root = (module or "").partition(".")[0]
    if root == "tfcam" or root in sys.stdlib_module_names:
        return True
    if file is None:
        file = getattr(sys.modules.get(root), "__file__", None)
    return bool({"site-packages", "dist-packages"} & set(Path(file or "").parts))
