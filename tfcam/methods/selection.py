"""Several methods asked for at once, and which of them share a pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfcam.methods.registry import METHODS, Request, ask
from tfcam.passes.reading import Need, Reading
from tfcam.utils.validation import shown

MethodChoice = str | Callable[[Reading], tf.Tensor] | tuple[str, dict[str, Any]]


def one_pass_methods() -> list[str]:
    """List the methods that weight the channels of any layer in one pass."""
    cams = (method for method in METHODS.values() if method.needs in Need.GRADIENTS)
    return [method.name for method in cams if method.contrast is None]


def as_request(method: MethodChoice) -> Request:
    if not isinstance(method, tuple):
        return ask(method, {})
    if len(method) != 2 or not isinstance(method[1], dict):
        raise ValueError(
            "A method with options must be (name, {option: value}), as in ('score_cam', "
            f"{{'channels': 32}}); got {shown(method)}."
        )
    return ask(*method)


def groups(requests: Sequence[Request]) -> list[list[int]]:
    """Group methods that are computed together: those of one pass, and each other by itself."""
    alone = [request.method.stands_alone for request in requests]
    together = [
        [
            number
            for number, request in enumerate(requests)
            if not alone[number] and request.method.at_words == at_words
        ]
        for at_words in (False, True)
    ]
    return [group for group in together if group] + [[n] for n, apart in enumerate(alone) if apart]


def request_name(request: Request) -> str:
    options = ", ".join(f"{name}={value}" for name, value in request.told.items())
    return f"{request.method.name}({options})" if options else request.method.name


def numbered(names: Sequence[str]) -> list[str]:
    """Number names so that none is there twice."""
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]
