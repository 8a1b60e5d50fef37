"""Which law is proven of which method, and the README's table of methods, made from it.

``python -m tests.laws`` writes the table into README.md.
"""

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import tfcam

README = Path(__file__).parent.parent / "README.md"
HEADER = "| method | map | passes | of the class | proven | source |\n|---|---|---|---|---|---|\n"
TABLE = re.compile(r"\| method \| map \|.*?\n\n", re.DOTALL)
# Where laws are proven: test modules whose functions carry ``law``.
PLACES = ("methods", "attribution", "sampling", "integrated", "biases", "tokens", "guided")

_LAWS: dict[str, list[str]] = {name: [] for name in tfcam.METHODS}


def law(text: str, *methods: str) -> Callable[[Callable], Callable]:
    """Mark a test as the proof of a law of these methods."""

    def note(test: Callable) -> Callable:
        for name in methods:
            if text not in _LAWS[name]:
                _LAWS[name].append(text)
        return test

    return note


def table() -> str:
    """The README's table of methods."""
    for place in PLACES:
        importlib.import_module(f"tests.test_{place}")
    return HEADER + "".join(map(_row, tfcam.METHODS.values()))


def _row(method: tfcam.methods.Method) -> str:
    text = method.function.__doc__
    shown = method.summary.split(": ", 1)[1].rstrip(".")
    if method.pixels:
        shown = f"pixels: {shown}"
    source = re.search(r"Source: (.+? \d{4})", text, re.DOTALL).group(1)
    laws = "; ".join(_LAWS[method.name])
    cells = (
        f"`{method.name}`",
        shown,
        method.passes,
        method.of_class,
        laws,
        " ".join(source.split()),
    )
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    # Imported under its own name, as the tests do, so that both see the same laws.
    wanted = importlib.import_module("tests.laws").table()
    README.write_text(TABLE.sub(lambda _: wanted + "\n", README.read_text(), count=1))
