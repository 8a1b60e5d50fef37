"""What classes and functions say of themselves."""

from __future__ import annotations

import dis
import functools
import inspect
import itertools
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras

_NOTHING = object()
# CPython's flags of classes: made while a program runs, as all of Python code; unchangeable.
_MADE_WHILE_RUNNING, _OF_C = 1 << 9, 1 << 8
# Methods that change a list, dict, set, deque or array in place.
_CHANGING = (
    *("add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "fill", "insert"),
    *("pop", "popitem", "popleft", "remove", "resize", "reverse", "setdefault", "sort", "update"),
)
_OPERATIONS = (
    "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift eq ne lt le gt ge neg "
    "pos abs invert call getattr getattribute getitem missing get len iter contains float int bool "
    "index array"
)
# Methods that code calls without naming them, as by ``a * b``; those that set something are none.
IMPLICIT = frozenset(f"__{side}{name}__" for name in _OPERATIONS.split() for side in ("", "r"))
_LOADS = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_FAST")


class Code(NamedTuple):
    """What a piece of code names, with the functions inside of it.

    Attributes:
        read: The attributes that it may read, by name or, as in ``getattr``, by a text.
        globals: The globals that it reads.
        changed: The attributes, globals and variables outside that it sets or changes in place.
        changes_arguments: Whether it changes what it is given in place.
        imports: The modules that it imports inside: of each how many folders up, and its name.
    """

    read: frozenset[str]
    globals: frozenset[str]
    changed: frozenset[str]
    changes_arguments: bool
    imports: frozenset[tuple[int, str]]


@functools.cache
def read_code(code: types.CodeType) -> Code:
    """Read what a piece of code names.

    Example:
        >>> def call(self, x):
        ...     self.kept.append(x)
        ...     return x * self.slope
        >>> code = read_code(call.__code__)
        >>> "slope" in code.read, "kept" in code.changed, code.changes_arguments
        (True, True, False)
    """
    inner = [read_code(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    read = {part for part in code.co_consts if isinstance(part, str) and part.isidentifier()}
    named, changed, changes_arguments = set[str](), set[str](), False
    steps = _steps(code)
    others = _others_names(steps)
    for step in steps:
        kind, name = step.kind, step.name
        if kind in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"):
            read.add(name)
        elif kind in ("LOAD_GLOBAL", "LOAD_NAME"):
            named.add(name)
        outside = kind in ("STORE_DEREF", "DELETE_DEREF") and name in code.co_freevars
        if kind in ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL") or outside:
            changed.add(name)
        in_place = kind in ("LOAD_ATTR", "LOAD_METHOD") and name in _CHANGING
        if in_place or kind in ("STORE_SUBSCR", "DELETE_SUBSCR"):
            owners = {one.name for one in steps if one.kind in _LOADS and one.place == step.place}
            changed |= owners.union(*(others.get(owner, ()) for owner in owners)) - {name}
            # Of a method the first is the object itself.
            given = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
            changes_arguments |= not owners.isdisjoint(given)
    return Code(
        frozenset(read.union(*(part.read for part in inner))),
        frozenset(named.union(*(part.globals for part in inner))),
        frozenset(changed.union(*(part.changed for part in inner))),
        changes_arguments or any(part.changes_arguments for part in inner),
        frozenset(_imports(code)).union(*(part.imports for part in inner)),
    )


def _imports(code: types.CodeType) -> list[tuple[int, str]]:
    """Which modules code imports: what comes two steps before says how many folders up."""
    steps = [one for one in dis.get_instructions(code) if one.opname != "EXTENDED_ARG"]
    pairs = zip(steps, steps[2:], strict=False)
    return [(level.argval, one.argval) for level, one in pairs if one.opname == "IMPORT_NAME"]


def imported_modules(function: types.FunctionType) -> list[types.ModuleType]:
    """List the modules that a function imports inside, as far as they are a user's and loaded.

    Example:
        >>> def call(x):
        ...     import math
        ...     return math.sin(x)
        >>> imported_modules(call)  # of Python itself
        []
    """
    package, names = function.__globals__.get("__package__") or "", set[str]()
    for level, name in read_code(function.__code__).imports:
        above = package.split(".")[: package.count(".") + 2 - level] if level else []
        whole = ".".join([*above, *([name] if name else [])])
        names |= {whole, whole.partition(".")[0]}  # ``import a.b`` gives a
    modules = [sys.modules[name] for name in sorted(names & sys.modules.keys())]
    return [one for one in modules if is_users_module(one)]


def is_users_module(module: types.ModuleType) -> bool:
    """Whether a user wrote a module: it is of no installed package."""
    return not is_installed(getattr(module, "__file__", None), module.__name__)


class _Step(NamedTuple):
    """An instruction, with where in the text its expression begins: before Python 3.11 the line."""

    kind: str
    name: Any
    place: Any


def _steps(code: types.CodeType) -> list[_Step]:
    steps, line = [], None
    for one in dis.get_instructions(code):
        line = one.starts_line or line
        places: Any = getattr(one, "positions", None)
        known = places is not None and places.col_offset is not None
        place = (places.lineno, places.col_offset) if known else line
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        steps += [_Step(one.opname.split("_LOAD_")[0], name, place) for name in names]
    return steps


def _others_names(steps: list[_Step]) -> dict[str, set[str]]:
    """Of each local variable the names of what it was set to, as in ``kept = self.kept``."""
    names: dict[str, set[str]] = {}
    for before, step in itertools.pairwise(steps):
        if step.kind == "STORE_FAST" and before.kind in _LOADS:
            names.setdefault(step.name, set()).add(before.name)
    return names


def state_of(value: Any) -> Any:
    """An object's attributes; what it has computed of itself and kept is not one."""
    kind = type(value)
    slots = [n for base in kind.__mro__ for n in _slots(base)]
    held = {name: read_attribute(value, name, _NOTHING) for name in slots}
    own = read_attribute(value, "__dict__")
    own = dict(own) if isinstance(own, Mapping) else {}
    own |= {name: part for name, part in held.items() if part is not _NOTHING}
    kept = functools.cached_property
    return {n: part for n, part in own.items() if not isinstance(getattr(kind, n, None), kept)}


def read_attribute(value: Any, name: str, default: Any = None) -> Any:
    """An attribute of a user's object, whose own code may raise what it likes where there is none.

    Example:
        >>> class Record(dict):
        ...     def __getattr__(self, name):
        ...         return self[name]
        >>> read_attribute(Record(name="wing"), "name"), read_attribute(Record(), "name")
        ('wing', None)
    """
    try:
        return getattr(value, name, default)
    except Exception:
        return default


def _slots(kind: type) -> list[str]:
    slots = vars(kind).get("__slots__", ())
    named = [slots] if isinstance(slots, str) else list(slots)
    private = f"_{kind.__name__.lstrip('_')}"  # Python's own name of what begins with two lines
    return [
        f"{private}{name}" if name.startswith("__") else name
        for name in named
        if name not in ("__dict__", "__weakref__")
    ]


@functools.cache
def is_plain_python(kind: type) -> bool:
    """Whether the attributes of an object are all its state.

    Example:
        >>> import re
        >>> is_plain_python(types.SimpleNamespace), is_plain_python(re.Pattern)
        (False, False)
    """
    return (
        all(map(_is_written_in_python, kind.__mro__[:-1]))
        and kind.__reduce__ in (object.__reduce__, keras.Loss.__reduce__)
        and kind.__reduce_ex__ is object.__reduce_ex__
    )


def _is_written_in_python(base: type) -> bool:
    """Whether a class is of Python code: those of C may be made while a program runs, too."""
    if not base.__flags__ & _MADE_WHILE_RUNNING or base.__flags__ & _OF_C:
        return False
    first = base.__base__ is object and base.__module__ != "typing"
    return not first or not {"__dict__", "__slots__"}.isdisjoint(vars(base))


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


def is_installed(file: str | None, module: str | None) -> bool:
    """Whether code comes from Python itself, tfcam or an installed package."""
    root = (module or "").partition(".")[0]
    if root == "__main__" and file is None:  # whose file may be that of what runs it
        return False
    if root == "tfcam" or root in sys.stdlib_module_names:
        return True
    if file is None:
        file = getattr(sys.modules.get(root), "__file__", None)
    return bool({"site-packages", "dist-packages"} & set(Path(file or "").parts))


def names_in(kind: type) -> frozenset[str]:
    """What the methods of a class name, as far as users wrote it."""
    own = [base for base in kind.__mro__ if not is_installed(None, base.__module__)]
    members = [part for base in own for part in vars(base).values()]
    functions = [part for part in members if isinstance(part, types.FunctionType)]
    return frozenset().union(*(read_code(function.__code__).read for function in functions))


def content_of(cell: types.CellType, empty: Any = None) -> Any:
    """What a variable of a closure holds; ``empty`` where nothing is in it yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return empty
