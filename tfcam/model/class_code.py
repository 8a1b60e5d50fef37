"""Which of its attributes a layer's class counts on, read from the code of the class."""

from __future__ import annotations

import dis
import functools
from collections.abc import Container, Iterator
from types import CodeType
from typing import Any

import keras

# What a layer's weights were made and are trained with, whether they are, and how it is called, do
# not change a map.
_IN_NO_MAP = ("_initializer", "_regularizer", "_constraint", "_signature_parameters")
_NOT_IN_CALL = {"__init__", "build", "get_config", "from_config", "compute_output_shape"}
_CHANGING = {"append", "extend", "insert", "pop", "update", "setdefault", "clear", "remove"}


def counting_attributes(operation: Any) -> list[str]:
    """The attributes that an operation's class counts on: Keras's, and what a user's call reads."""
    own, kind = vars(operation), operation.__class__
    read = attributes_read_in_call(kind)
    names: Container[str] = own  # all is set by Keras: its code need not be read
    if issubclass(kind, keras.Model):
        names = ()
    elif not _is_foreign(kind):
        names = _attributes_of_keras(kind)
    return [n for n in own if n in read or (n in names and _may_count(n, own[n]))]


def _may_count(name: str, value: object) -> bool:
    if name[0] == "_":  # Keras notes there what it uses
        plain = isinstance(value, bool | int | float | str | tuple | None)
        return name == "_dtype_policy" or (plain and name not in _of_every_layer())
    return name != "built" and not name.endswith(_IN_NO_MAP)


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
    codes = _codes(base).values()
    found = (one for code in codes for one in dis.get_instructions(code))
    return frozenset(one.argval for one in found if one.opname == "STORE_ATTR")


@functools.cache
def attributes_read_in_call(kind: type) -> frozenset[str]:
    """The attributes that a user's ``call``, and what it calls of its class, reads and never sets.

    What is set there, such as a count of the calls, is no constant.
    """
    codes = _own_codes(kind)
    keras_names = {name for base in kind.__mro__ if _is_foreign(base) for name in vars(base)}
    read, stored, reached = set[str](), set[str](), set[str]()
    waiting = {name for name in codes if name in keras_names} - _NOT_IN_CALL
    while waiting:
        reached |= waiting
        found = [one for name in waiting for one in _instructions(codes[name])]
        seen = {argument for name, argument in found if name in ("LOAD_ATTR", "LOAD_METHOD")}
        stored |= {argument for name, argument in found if name in ("STORE_ATTR", "DELETE_ATTR")}
        read |= seen
        waiting = (seen & set(codes)) - reached
    return frozenset(read - stored)


@functools.cache
def changes_collections(kind: type) -> bool:
    """Whether a user's class has code that changes a list, dict or array in place."""
    found = (one for code in _own_codes(kind).values() for one in _instructions(code))
    return any(name == "STORE_SUBSCR" or argument in _CHANGING for name, argument in found)


def _is_foreign(base: type) -> bool:
    """Whether a class is none of a user's."""
    return base.__module__.split(".")[0] in ("keras", "tensorflow", "builtins")


def _own_codes(kind: type) -> dict[str, CodeType]:
    """The code of each function that a user's class has from users' classes."""
    codes: dict[str, CodeType] = {}
    for base in reversed(kind.__mro__):
        if not _is_foreign(base):
            codes |= _codes(base)
    return codes


def _codes(kind: type) -> dict[str, CodeType]:
    """The code of each function of a class; what is decorated is looked through."""
    functions = {}
    for name, value in vars(kind).items():
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        function = getattr(function, "__wrapped__", function)
        if hasattr(function, "__code__"):
            functions[name] = function.__code__
    return functions


def _instructions(code: CodeType) -> Iterator[tuple[str, str]]:
    """Each instruction's name and argument, those of functions inside as well."""
    for instruction in dis.get_instructions(code):
        yield instruction.opname, instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _instructions(constant)
