"""What the doors of the library say of their options: ``python -m tests.doors`` writes it.

A door is a public function or class. Where it has an option of ``tfcam.engine.options``, its
docstring says the words of the declaration.
"""

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import tfcam
from tfcam import callbacks, losses, metrics
from tfcam.engine.doors import DOORS

PUBLIC = {
    name: value
    for place in (tfcam, metrics, callbacks, losses)
    for name in (tfcam.__all__ if place is tfcam else DOORS)
    if inspect.isroutine(value := getattr(place, name, None)) or inspect.isclass(value)
}


@dataclass(frozen=True)
class Signature:
    """A signature as it is written, with the docstring that goes with it.

    Attributes:
        name: Such as "Explainer", which is that of its ``__init__``, or "Explainer.__call__".
        types: The type of each argument, as text.
        defaults: The default of each argument that has one, as text.
        keywords: The names of those that are keywords only.
        docstring: Its node; None where there is none.
        overload: Whether it is one of several.
    """

    name: str
    types: dict[str, str]
    defaults: dict[str, str]
    keywords: frozenset[str]
    docstring: ast.Constant | None
    overload: bool

    @property
    def entries(self):
        """What the docstring says of each argument, on one line."""
        text = "" if self.docstring is None else inspect.cleandoc(self.docstring.value)
        section = re.search(r"^Args:\n((?: .*\n|\n)+)", f"{text}\n", re.MULTILINE)
        found = entry(r"\w+", "    ").findall(section[1] if section else "")
        return {name: " ".join(words.split()) for name, words in found}

    @property
    def declared(self):
        """The shared options that this door takes, by name."""
        return {option.name: option for option in DOORS.get(self.name, ())}


def entry(name, indent):
    """What matches an argument's entry in a docstring."""
    return re.compile(rf"^{indent}({name}): (.*\n(?:{indent}    .*\n)*)", re.MULTILINE)


def signatures(door):
    """The signatures of a function, or of a class and its public methods."""
    found = []
    for node in ast.parse(_file(door).read_text()).body:
        if getattr(node, "name", None) == door.__name__:
            parts = node.body if isinstance(node, ast.ClassDef) else [node]
            found += [
                _signature(part, node)
                for part in parts
                if isinstance(part, ast.FunctionDef)
                and (part.name in ("__init__", "__call__") or part.name[0] != "_")
            ]
    return found


def _file(door):
    return Path(inspect.getsourcefile(door))


def _signature(node, owner):
    documented = owner if node.name == "__init__" else node
    first = documented.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    plain = [*node.args.posonlyargs, *node.args.args]
    given = [None] * (len(plain) - len(node.args.defaults)) + node.args.defaults
    arguments = [*plain, *node.args.kwonlyargs]
    defaults = zip(arguments, [*given, *node.args.kw_defaults], strict=True)
    return Signature(
        owner.name if node.name in (owner.name, "__init__") else f"{owner.name}.{node.name}",
        {one.arg: ast.unparse(one.annotation) for one in arguments if one.annotation},
        {one.arg: ast.unparse(value) for one, value in defaults if value},
        frozenset(one.arg for one in node.args.kwonlyargs),
        first.value if is_docstring and isinstance(first.value.value, str) else None,
        any("overload" in ast.unparse(mark) for mark in node.decorator_list),
    )


def write():
    """Bring the docstrings of all doors to the words of the declarations."""
    for door in PUBLIC.values():
        for number in range(len(signatures(door))):
            signature = signatures(door)[number]  # anew, as the lines have moved
            if signature.docstring is not None:
                _write(_file(door), signature)


def _write(file, signature):
    lines = file.read_text().splitlines(keepends=True)
    start, end = signature.docstring.lineno - 1, signature.docstring.end_lineno
    text, indent = "".join(lines[start:end]), " " * (signature.docstring.col_offset + 4)
    before = None
    for name in signature.types:
        if option := signature.declared.get(name):
            if name not in signature.entries:
                text = entry(before, indent).sub(rf"\g<0>{indent}{name}: \n", text, count=1)
            text = entry(name, indent).sub(_fill(option, indent), text, count=1)
        before = name
    file.write_text("".join([*lines[:start], text, *lines[end:]]))


def _fill(option, indent):
    """Write an option's entry in a docstring."""
    text = f"{option.name}: {option.text}"
    margins = {"initial_indent": indent, "subsequent_indent": f"{indent}    "}
    return textwrap.fill(text, 100, **margins, break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    write()
