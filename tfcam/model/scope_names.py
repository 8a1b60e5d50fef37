"""Names that Keras allows and TensorFlow's graphs do not, such as those with spaces or accents."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

# What may begin a node's name: tf.Graph.name_scope also takes ">" and "\\", which nodes do not.
_VALID = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_./-]*")
_WRONG = re.compile(r"[^A-Za-z0-9_./-]")
_GRAPH: Any = tf.Graph
_LOCK = threading.Lock()
_open = 0  # how many threads are inside


def is_valid_scope(name: str) -> bool:
    """Whether a layer of this name can be called while a function is traced.

    Example:
        >>> is_valid_scope("block_1/conv"), is_valid_scope("my model"), is_valid_scope("café")
        (True, False, False)
    """
    return _VALID.fullmatch(name) is not None


@contextlib.contextmanager
def valid_scopes(odd: Sequence[str]) -> Iterator[None]:
    """Let layers of any name be traced: their scopes are named by what TensorFlow allows.

    Args:
        odd: The names of a model's layers that are not valid; without any nothing changes.
    """
    if not odd:
        yield
        return
    with _LOCK:
        _enter()
    try:
        yield
    finally:
        with _LOCK:
            _leave()


def _enter() -> None:
    global _open
    _open += 1
    if _open > 1:
        return
    original = _GRAPH.name_scope

    @functools.wraps(original)
    def name_scope(graph: Any, name: str | None) -> Any:
        if isinstance(name, str) and name and not is_valid_scope(name):
            name = f"L{_WRONG.sub('_', name)}"
        return original(graph, name)

    _GRAPH.name_scope = name_scope


def _leave() -> None:
    global _open
    _open -= 1
    if not _open:
        _GRAPH.name_scope = _GRAPH.name_scope.__wrapped__
