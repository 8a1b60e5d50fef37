"""Mutation testing of the core: is there a test that fails for each small change of it?

    python -m tests.mutants --count 300 --seed 0 --to mutants.jsonl

draws so many changes by the seed, makes each in a copy of the project, and runs the tests that
are to catch it: those of the file's name, then those of its room, then those across all rooms. A
line of JSON for each says what was changed and which test caught it; what is there already is not
tried again, so that it may be broken off. Those that were caught by none are printed at the end.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
ROOMS = ("passes", "engine", "methods", "maps", "streaming", "evaluation", "images")
ACROSS = (
    "laws/test_twins.py",
    "laws/test_evidence.py",
    "laws/test_kinds.py",
    "laws/test_paths.py",
    "laws/test_kept_traces.py",
    "explainer",
    "evaluation",
    "streaming",
    "test_callbacks.py",
    "test_losses.py",
)
SECONDS = 400  # a change may make a loop that never ends

COMPARED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
COMPARED |= {"is": "is not", "is not": "is", "in": "not in", "not in": "in"}
COMPUTED = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "**": "*", "%": "*", "@": "*"}
COMPUTED |= {"|": "&", "&": "|"}


class Mutant(NamedTuple):
    """A change: the characters from ``start`` to ``stop`` of a file become others."""

    path: str
    line: int
    start: int
    stop: int
    before: str
    after: str

    def apply(self, text: str) -> str:
        """The file's text with the change."""
        assert text[self.start : self.stop] == self.before
        return text[: self.start] + self.after + text[self.stop :]


class _Finder(ast.NodeVisitor):
    """Finds the changes of a file: (first character, one behind the last, what comes there)."""

    def __init__(self, text: str) -> None:
        self.text, self.found = text, list[tuple[int, int, str]]()
        ends = [0]
        for line in text.splitlines(keepends=True):
            ends.append(ends[-1] + len(line))
        self.starts = ends
        self.lines = text.splitlines()

    def place(self, line: int, column: int) -> int:
        """AST counts columns in bytes of UTF-8."""
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.AST) -> tuple[int, int]:
        return (
            self.place(node.lineno, node.col_offset),
            self.place(node.end_lineno, node.end_col_offset),
        )

    def between(self, left: ast.AST, right: ast.AST, table: dict[str, str]) -> None:
        start, stop = self.span(left)[1], self.span(right)[0]
        words = re.findall(r"[^\s()\\#]+(?: (?:not|in))?", self.text[start:stop])
        for word in words:
            if word in table:
                at = start + self.text[start:stop].index(word)
                self.found.append((at, at + len(word), table[word]))
                return

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, right in zip([node.left, *node.comparators], node.comparators, strict=False):
            self.between(left, right, COMPARED)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.between(node.left, node.right, COMPUTED)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, {"and": "or", "or": "and"})
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            start = self.span(node)[0]
            self.found.append((start, self.span(node.operand)[0], ""))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool | int | float) and node.kind is None:
            changed = not node.value if isinstance(node.value, bool) else node.value + 1
            self.found.append((*self.span(node), repr(changed)))

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        start, stop = self.span(node.test)
        self.found.append((start, stop, f"(not ({self.text[start:stop]}))"))
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit_If(node)

    def visit_Call(self, node: ast.Call) -> None:
        arguments = sorted([*node.args, *(k.value for k in node.keywords)], key=self.span)
        if len(arguments) > 1:
            for word in node.keywords:
                if word.arg is not None and word.value is not arguments[0]:
                    before = arguments[arguments.index(word.value) - 1]
                    self.found.append((self.span(before)[1], self.span(word.value)[1], ""))
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.found.append((*self.span(node), "pass"))
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.found.append((*self.span(node), "pass"))
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.found.append((*self.span(node), "pass"))  # its words are not looked at

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        for each in (*node.decorator_list, *defaults, *node.body):
            self.visit(each)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        pass


def mutants(path: Path) -> Iterator[Mutant]:
    """All changes of a file; see ``is_another_program``."""
    text = path.read_text(encoding="utf-8")
    finder = _Finder(text)
    finder.visit(ast.parse(text))
    name = path.relative_to(ROOT).as_posix()
    for start, stop, after in sorted(set(finder.found)):
        line = text.count("\n", 0, start) + 1
        yield Mutant(name, line, start, stop, text[start:stop], after)


def is_another_program(mutant: Mutant) -> bool:
    """Whether Python still reads the file with the change, and as something else than before."""
    text = (ROOT / mutant.path).read_text(encoding="utf-8")
    try:
        return ast.dump(ast.parse(mutant.apply(text))) != ast.dump(ast.parse(text))
    except SyntaxError:
        return False


def draw(count: int, seed: int) -> list[Mutant]:
    """Draw so many changes of the core: the first ones are the same for any count."""
    every = [
        mutant
        for room in ROOMS
        for path in sorted((ROOT / "tfcam" / room).rglob("*.py"))
        for mutant in mutants(path)
    ]
    random.Random(seed).shuffle(every)
    return list(itertools.islice(filter(is_another_program, every), count))


def stages(path: str) -> list[list[str]]:
    """The tests that are to catch a change of a file, those that are likeliest to first."""
    _, room, *_ = Path(path).parts
    stem = Path(path).stem.strip("_")
    own = sorted(each for each in (ROOT / "tests").rglob("test_*.py") if stem in each.stem)
    named = [str(each.relative_to(ROOT)) for each in own]
    folder = f"tests/{room}"
    return [[path, *named], [folder], [f"tests/{each}" for each in ACROSS]]


def caught(copy: Path, path: str) -> str | None:
    """The first test that fails in a copy of the project; None if none does."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider"]
    for chosen in stages(path):
        try:
            run = subprocess.run(
                [*command, *chosen],
                cwd=copy,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
                env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            )
        except subprocess.TimeoutExpired:
            return "time"
        if run.returncode not in (0, 5):  # 5: no tests there
            failed = re.search(r"^(?:FAILED|ERROR) ([^\n]+?)(?: - |$)", run.stdout, re.M)
            return failed[1] if failed else f"exit code {run.returncode}"
    return None


def try_all(chosen: list[Mutant], log: Path) -> list[dict[str, object]]:
    """Try each change that the log does not hold yet; return all rows."""
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["path"], row["start"], row["after"]) for row in rows}
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "tfcam"
        ignored = shutil.ignore_patterns(".git", "__pycache__", "*.egg-info", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for mutant in chosen:
            if (mutant.path, mutant.start, mutant.after) in done:
                continue
            text = (ROOT / mutant.path).read_text(encoding="utf-8")
            began = time.monotonic()
            (copy / mutant.path).write_text(mutant.apply(text), encoding="utf-8")
            by = caught(copy, mutant.path)
            (copy / mutant.path).write_text(text, encoding="utf-8")
            row = mutant._asdict() | {"caught": by, "seconds": round(time.monotonic() - began, 1)}
            rows.append(row)
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{len(rows)}: {mutant.path}:{mutant.line} {by or 'SURVIVED'}", flush=True)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=Path("mutants.jsonl"))
    told = parser.parse_args()
    tried = try_all(draw(told.count, told.seed), told.to)
    survivors = [row for row in tried if row["caught"] is None]
    for row in survivors:
        print(f"{row['path']}:{row['line']}: {row['before']!r} -> {row['after']!r}")
    print(f"{len(tried)} tried, {len(tried) - len(survivors)} caught")
