"""Which law is proven of which method, and the guides' table of methods, made from it.

``python -m tests.laws`` writes the table.
"""

import importlib
import re
from collections.abc import Callable

import tfcam
from tests.project import GUIDES

PAGE = GUIDES / "methods.md"
HEADER = "| method | map | passes | of the class | proven | source |\n|---|---|---|---|---|---|\n"
TABLE = re.compile(r"\| method \| map \|.*?\n\n", re.DOTALL)
# Where laws are proven: test modules whose functions carry ``law``.
PLACES = (
    "methods.test_cam",
    "methods.test_guided_grad_cam",
    "methods.test_masking",
    "methods.test_perturbation",
    "methods.test_gradients",
    "methods.test_full_grad",
    "methods.test_lrp",
    "methods.test_relevance",
    "methods.test_surrogates",
    "methods.test_transformers",
    "model.test_tokens",
    "passes.test_guided_relu",
)

_LAWS: dict[str, list[str]] = {name: [] for name in tfcam.METHODS}


def law(text: str, *methods: str) -> Callable[[Callable], Callable]:
    """Mark a test as the proof of a law of these methods."""

    def note(test: Callable) -> Callable:
        if unknown := set(methods) - set(_LAWS):
            raise ValueError(f"There is no method {unknown.pop()!r}; there are {', '.join(_LAWS)}.")
        for name in methods:
            if text not in _LAWS[name]:
                _LAWS[name].append(text)
        return test

    return note


def table() -> str:
    """The guides' table of methods."""
    for place in PLACES:
        importlib.import_module(f"tests.{place}")
    return HEADER + "".join(map(_row, tfcam.METHODS.values()))


def _row(method: tfcam.methods.Method) -> str:
    text = method.function.__doc__
    source = re.search(r"Source: (.+? \d{4})", text, re.DOTALL)
    if source is None or ": " not in method.summary:
        raise ValueError(
            f"The docstring of {method.name!r} must begin with 'Name: what it shows.' and have a "
            "line 'Source: Author 2020, ...'."
        )
    shown = method.summary.split(": ", 1)[1].rstrip(".")
    if method.pixels:
        shown = f"pixels: {shown}"
    laws = "; ".join(_LAWS[method.name])
    cells = (
        f"`{method.name}`",
        shown,
        method.passes,
        method.of_class,
        laws,
        " ".join(source.group(1).split()),
    )
    return "| " + " | ".join(cells) + " |\n"
