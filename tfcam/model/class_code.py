"""Which of its attributes a layer counts on, read from the code that its call runs."""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

import keras

from tfcam.utils.code_reading import (
    IMPLICIT,
    Code,
    imported_modules,
    is_installed,
    is_users_module,
    read_code,
    state_of,
)
from tfcam.utils.plain_state import is_users

# What a layer's weights were made and are trained with, whether they are, and how it is called, do
# not change a map.
_IN_NO_MAP = ("_initializer", "_regularizer", "_constraint", "_signature_parameters")
_NOT_IN_CALL = {"__init__", "build", "get_config", "from_config", "compute_output_shape"}
# They are put in the place of a layer's own for a while.
_HOOKED = {"call", "quantized_call"}
# So far values are followed into lists, dicts and objects, and of so long ones.
_DEPTH, _LONGEST = 3, 64


class CallCode(NamedTuple):
    """What the code that a call runs reads and changes, as far as users wrote it.

    Attributes:
        read: The attributes that it may read.
        changed: What it sets, such as a count of the calls, or changes in place: no constants.
        changes_arguments: Whether some of it changes what it is given in place.
    """

    read: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    changes_arguments: bool = False

    def joined(self, other: CallCode) -> CallCode:
        """Both together."""
        alters = self.changes_arguments or other.changes_arguments
        return CallCode(self.read | other.read, self.changed | other.changed, alters)


def call_code(operation: Any, others: Iterable[Any] = ()) -> CallCode:
    """Read the code that an operation's call runs: of its class, and what that calls.

    Args:
        operation: A layer or another operation.
        others: Values of its attributes that it may call, such as an activation.
    """
    kind = operation.__class__
    follower = _Follower()
    if not is_foreign(kind):
        keras_names = {name for base in kind.__mro__ if is_foreign(base) for name in vars(base)}
        members = [vars(base) for base in kind.__mro__ if not is_foreign(base)]
        own = {name for each in members for name in each}
        follower.own(members, (own & (keras_names | {"__getattr__"})) - _not_in_call())
        follower.run()
        held = vars(operation)
        others = [*others, *(held[name] for name in follower.names if name in held)]
    for value in others:
        follower.follow(value)
    return follower.run()


class _Follower:
    """Goes from function to function, each once: what it names may be called."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self._changed: set[str] = set()
        self._changes_arguments = False
        self._owners: list[Mapping[str, Any]] = []
        self._known: set[int] = set()
        self._waiting: list[types.FunctionType] = []

    def own(self, members: Iterable[Mapping[str, Any]], names: Iterable[str] = ()) -> None:
        """Add what a class or module holds: functions of these names, and what others name."""
        self.names |= set(names)
        for each in members:
            self._owners.append(each)
            for name in self.names:
                self._add_member(each, name)

    def follow(self, value: Any, depth: int = _DEPTH) -> None:
        """Add the functions that a value holds."""
        if id(value) in self._known or isinstance(value, keras.Operation):
            return
        if isinstance(value, types.FunctionType):
            self._add(value)
        elif isinstance(value, types.MethodType):
            self.follow(value.__func__)
            self.follow(value.__self__, depth)
        elif isinstance(value, functools.partial):
            for part in (value.func, *value.args, *value.keywords.values()):
                self.follow(part, depth)
        elif isinstance(value, types.ModuleType):
            if is_users_module(value):
                self._known.add(id(value))
                self.own([vars(value)])
        elif depth and isinstance(value, list | tuple | dict) and len(value) <= _LONGEST:
            for part in value.values() if isinstance(value, dict) else value:
                self.follow(part, depth - 1)
        elif is_users(kind := value if isinstance(value, type) else type(value)):
            self._known |= {id(value)}
            self.own([vars(base) for base in kind.__mro__ if is_users(base)], IMPLICIT)
            if depth and not isinstance(value, type):
                for part in state_of(value).values():
                    self.follow(part, depth - 1)

    def run(self) -> CallCode:
        """Go through all that was added, and what it names."""
        while self._waiting:
            function = self._waiting.pop()
            code = read_code(function.__code__)
            self._note(code)
            known = function.__globals__
            if not is_installed(function.__code__.co_filename, function.__module__):
                for value in (
                    *map(known.get, code.globals & known.keys()),
                    *imported_modules(function),
                ):
                    self.follow(value)
            for cell in function.__closure__ or ():
                if cell != types.CellType():
                    self.follow(cell.cell_contents)
        return CallCode(frozenset(self.names), frozenset(self._changed), self._changes_arguments)

    def _note(self, code: Code) -> None:
        for name in code.read - self.names:
            for owner in self._owners:
                self._add_member(owner, name)
        self.names |= code.read
        self._changed |= code.changed
        self._changes_arguments |= code.changes_arguments

    def _add_member(self, owner: Mapping[str, Any], name: str) -> None:
        member = owner.get(name)
        for function in _functions(member):
            self._add(function)
        if isinstance(member, types.ModuleType):
            self.follow(member)

    def _add(self, function: types.FunctionType) -> None:
        if id(function) not in self._known:
            self._known.add(id(function))
            self._waiting.append(function)


def _functions(member: Any) -> list[types.FunctionType]:
    """The functions of a member of a class; what is decorated is looked through."""
    parts = [getattr(member, name, None) for name in ("fget", "__func__", "func")]
    found = [member, *parts]
    found += [getattr(part, "__wrapped__", None) for part in found]
    return [part for part in found if isinstance(part, types.FunctionType)]


def counting_attributes(operation: Any, code: CallCode) -> list[str]:
    """The attributes that an operation counts on: Keras's, and what a user's call reads.

    Args:
        operation: A layer or another operation.
        code: What its call runs.
    """
    own, kind = vars(operation), operation.__class__
    names: Container[str] = own  # all is set by Keras: its code need not be read
    read: Container[str] = ()
    if not is_foreign(kind):
        # ``self.helpers.add(x)`` changes no module.
        modules = {n for n in code.changed if isinstance(own.get(n), types.ModuleType)}
        read = code.read - (code.changed - modules)
        names = _attributes_of_keras(kind)
    if issubclass(kind, keras.Model):
        names = ()
    return [n for n in own if n in read or (n in names and _may_count(n, own[n]))]


def missing_attributes(operation: Any, code: CallCode) -> frozenset[str]:
    """What a user's call reads and an instance does not hold: it may come to, past its class."""
    if is_foreign(operation.__class__):
        return frozenset()
    return code.read - code.changed - vars(operation).keys() - _HOOKED


def _may_count(name: str, value: object) -> bool:
    if name[0] == "_":  # Keras notes there what it uses
        plain = isinstance(value, bool | int | float | str | tuple | None)
        return name == "_dtype_policy" or (plain and name not in _of_every_layer())
    return name != "built" and not name.endswith(_IN_NO_MAP)


@functools.cache
def _not_in_call() -> frozenset[str]:
    """What Keras has code for that is run at other times, such as to train and to save."""
    of_models = {*dir(keras.Model)} - {*dir(keras.layers.Layer)}
    return frozenset(_NOT_IN_CALL | of_models)


@functools.cache
def _of_every_layer() -> frozenset[str]:
    """The attributes that every layer has once it has been called."""
    layer = keras.layers.Identity(name="any")
    layer(keras.KerasTensor((1, 1)))
    return frozenset(vars(layer))


@functools.cache
def _attributes_of_keras(kind: type) -> frozenset[str]:
    """The attributes that Keras's own code sets on instances of a user's class."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith("keras.")]
    return frozenset({"_dtype_policy"}.union(*map(_stored, bases)))


@functools.cache
def _stored(base: type) -> frozenset[str]:
    found = (
        one
        for member in vars(base).values()
        for function in _functions(member)
        for one in dis.get_instructions(function.__code__)
    )
    return frozenset(one.argval for one in found if one.opname == "STORE_ATTR")


def is_foreign(base: type) -> bool:
    """Whether a class is none of a user's, nor of a package that stands on Keras."""
    return (base.__module__ or "").split(".")[0] in ("keras", "tensorflow", "builtins")
