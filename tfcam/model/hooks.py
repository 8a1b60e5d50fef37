"""Look inside a model while it runs, and leave no trace: the scoped tap.

While a model is called once, the ``call`` of some of its operations is replaced in the instance's
``__dict__``; the replacement sees (and may change) what goes in and what comes out. It works for
every kind of model, because every kind of model calls its layers; a ``finally`` takes it off again.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from tfcam.model.frames import frames_at_once
from tfcam.model.tree import ModelTree

Side = Literal["input", "output"]


Visitor = Callable[[Any, int, Side, Any], Any]


Wrapper = Callable[[Any, Callable[..., Any]], Callable[..., Any]]


# Taps change what other threads would run, so only one scope is open at a time.
LOCK = threading.RLock()


@contextlib.contextmanager
def observed(tree: ModelTree, operations: Iterable[Any], visit: Visitor) -> Iterator[None]:
    """Let ``visit(operation, call, side, value)`` see and replace values while the model runs.

    ``call`` counts the calls of one operation from 0, ``side`` is ``"input"`` (the first argument)
    or ``"output"``; what ``visit`` returns goes on in place of ``value``: an input in every
    argument that is the same tensor, as attention takes one as query and as value. Calls from
    other threads pass untouched.
    """
    calls = Counter[int]()
    refused: list[Exception] = []

    def seen_by(operation: Any, number: int, side: Side, value: Any) -> Any:
        try:
            return visit(operation, number, side, value)
        except Exception as error:
            refused.append(error)
            raise

    def watch(operation: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number = calls[id(operation)]
            calls[id(operation)] += 1
            if args or kwargs:
                first = args[0] if args else next(iter(kwargs.values()))
                seen = seen_by(operation, number, "input", first)
                if seen is not first:
                    args = tuple(seen if a is first else a for a in args)
                    kwargs = {k: seen if a is first else a for k, a in kwargs.items()}
            return seen_by(operation, number, "output", original(*args, **kwargs))

        return call

    with rewired(tree, operations, watch):
        try:
            yield
        except Exception:
            if refused:  # Keras writes its own words around what is raised inside a layer
                raise refused[0] from None
            raise


@contextlib.contextmanager
def rewired(tree: ModelTree, operations: Iterable[Any], wrap: Wrapper) -> Iterator[None]:
    """Let some operations call ``wrap(operation, its call)`` in place of their call.

    Only for this thread: calls from others pass untouched.
    """
    owner = threading.get_ident()
    inside = [tree.model, *tree.operations]
    chosen = {id(operation) for operation in operations}

    def wrapped(operation: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        replacement = wrap(operation, original)

        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            mine = threading.get_ident() == owner
            return (replacement if mine else original)(*args, **kwargs)

        return call

    with LOCK, contextlib.ExitStack() as undo:
        for operation in {id(operation): operation for operation in inside}.values():
            # A quantised layer computes in another method than `call`.
            quantized = getattr(operation, "quantization_mode", None) is not None
            name = "quantized_call" if quantized else "call"
            original = getattr(operation, name)
            # What an inner tf.function or a rematerialised call computes stays inside it.
            inlined = frames_at_once(operation, getattr(original, "python_function", original))
            if id(operation) in chosen:
                inlined = wrapped(operation, inlined)
            if inlined is not original:
                undo.enter_context(_attribute(operation, name, inlined))
            if getattr(operation, "_remat_mode", None) is not None:
                undo.enter_context(_attribute(operation, "_remat_mode", None))
        yield


@contextlib.contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an instance attribute past Keras's tracking, and put back what was there."""
    held, before = name in owner.__dict__, owner.__dict__.get(name)
    owner.__dict__[name] = value
    try:
        yield
    finally:
        if held:
            owner.__dict__[name] = before
        else:
            del owner.__dict__[name]
