"""Mutation testing of the core: is there a test that fails for each small change of it?

    python -m pytest --cov=tfcam --cov-context=test --cov-report= --junitxml=.junit.xml
    python -m tests.mutants --count 300 --seed 0 --to mutants.jsonl

The first line notes which lines each of the fast tests runs, and how long it takes. The second
draws so many changes by the seed, makes each in a copy of the project, and runs the tests that are
to catch it, ``--most`` seconds of them: those that run the line, the quickest first; of a line that
is run at import only, those of the file's room, then those across all rooms. A test that fails is
believed where it passes in the copy as it was. A line of JSON for each change says what caught it:
a test, or "time" where it ran without end, or "crash" where Python died. What is there already is
not tried again, so that it may be broken off. Those that nothing caught are printed at the end.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from coverage import CoverageData

from tests.project import ROOT, find_keras_home

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
SECONDS = 60  # of those that run a line, so many are tried first

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


class Tests:
    """The fast tests: which of them run a line, and how long each takes."""

    def __init__(self, lines: Path, times: Path) -> None:
        self.data = CoverageData(str(lines))
        self.data.read()
        cases = ElementTree.parse(times).getroot().iter("testcase")
        self.seconds = {
            (case.get("classname"), case.get("name")): float(case.get("time")) for case in cases
        }

    def time(self, test: str) -> float:
        """Seconds that a test took; a file that can't be read is no test."""
        path, *names = test.split("::")
        place = path.removesuffix(".py").replace("/", ".")
        return self.seconds.get((place, names[-1] if names else ""), 1.0)

    def near(self, path: str) -> list[str]:
        """Tests of a file's room, those named as the file first; then those across all rooms."""
        room = f"tests/{Path(path).parts[1]}/"
        across = tuple(f"tests/{each}" for each in ACROSS)
        every = [f"{place.replace('.', '/')}.py::{name}" for place, name in self.seconds]
        chosen = [test for test in every if test.startswith((room, f"{path}::", *across))]
        named = Path(path).stem
        return sorted(
            chosen,
            key=lambda test: (
                not test.startswith((room, f"{path}::")),
                f"{named}.py::" not in test,
                self.time(test),
            ),
        )

    def of(self, path: str, first: int, last: int) -> list[str]:
        """Tests that run one of these lines: those of the room first, then the quickest first."""
        (file,) = [name for name in self.data.measured_files() if name.endswith("/" + path)]
        contexts = self.data.contexts_by_lineno(file)
        found = {
            context.split("|")[0]
            for line in range(first, last + 1)
            for context in contexts.get(line, ())
            if context
        }
        room = Path(path).parts[1]
        return sorted(found, key=lambda test: (f"/{room}/" not in test, self.time(test)))


def lines(mutant: Mutant, text: str) -> tuple[int, int]:
    """From the first line of the statement that is changed to the last line of the change."""
    around = [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= node.end_lineno
    ]
    return max(around, default=mutant.line), mutant.line + mutant.before.count("\n")


def stages(
    mutant: Mutant, text: str, tests: Tests, most: float
) -> Iterator[tuple[list[str], float]]:
    """The tests that are to catch a change, those that are likeliest to first, and seconds.

    ``most``: Seconds that all of them may take; the others are left out.
    """
    chosen = tests.of(mutant.path, *lines(mutant, text)) or tests.near(mutant.path)
    sums = list(itertools.accumulate(map(tests.time, chosen)))
    first, last = (sum(total <= limit for total in sums) for limit in (min(SECONDS, most), most))
    for part in filter(None, (chosen[:first], chosen[first:last])):
        yield part, sum(map(tests.time, part))


def _run(copy: Path, chosen: list[str], output: Path) -> None:
    """In a process of its own: the tests of the copy."""
    with output.open("w") as file, contextlib.redirect_stdout(file):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy)
        sys.dont_write_bytecode = True
        sys.path[:] = [
            str(copy),
            *(each for each in sys.path if Path(each or ".").resolve() != ROOT),
        ]
        for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
            del sys.modules[name]
        code = pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", "-p", "no:cov", *chosen])
    os._exit(int(code))


def first_failing(copy: Path, chosen: list[str], limit: float) -> str | None:
    """The first test that fails in a copy of the project, in so many seconds; None if none does."""
    output = copy.parent / "output"
    process = multiprocessing.get_context("fork").Process(target=_run, args=(copy, chosen, output))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
        return "time"
    if process.exitcode in (0, 5):  # 5: no tests there
        return None
    if process.exitcode < 0:
        return "crash"
    told = output.read_text()
    # A test that is numbered by what was made before it has another name in a part of all.
    if gone := re.findall(r"^ERROR: not found: .*?/(tests/\S+)$", told, re.M):
        left = [test for test in chosen if test.partition("[")[0] not in gone]
        return first_failing(copy, left, limit) if left else None
    failed = re.search(r"^(?:FAILED|ERROR) ([^\n]+?)(?: - |$)", told, re.M)
    if process.exitcode not in (1, 2) or failed is None:
        raise RuntimeError(f"pytest ended with {process.exitcode}:\n{told[-2000:]}")
    return failed[1]


class Trial:
    """A copy of the project in which changes are made, one at a time.

    ``patience``: how many times as long as they took, and took to begin, tests are waited for.
    ``most``: seconds of tests that a change is given.
    """

    def __init__(self, copy: Path, tests: Tests, patience: float, most: float) -> None:
        self.copy, self.tests, self.patience, self.most = copy, tests, patience, most
        self.passing: dict[str, bool] = {}

    def run(self, chosen: list[str], seconds: float) -> str | None:
        """The first test that fails, of those that pass alone; None if none does."""
        broken = [f"--deselect={test}" for test, passes in self.passing.items() if not passes]
        return first_failing(self.copy, [*chosen, *broken], self.patience * (10 + seconds))

    def passes(self, test: str) -> bool:
        """Whether a test passes in the copy as it was."""
        if test not in self.passing:
            limit = self.patience * (10 + self.tests.time(test))
            self.passing[test] = first_failing(self.copy, [test], limit) is None
            if not self.passing[test]:
                print(f"{test} fails without a change, too", flush=True)
        return self.passing[test]

    def caught(self, mutant: Mutant) -> str | None:
        """What catches a change; None if nothing does."""
        file = self.copy / mutant.path
        text = file.read_text(encoding="utf-8")
        waiting = list(stages(mutant, text, self.tests, self.most))
        while waiting:
            chosen, seconds = waiting[0]
            file.write_text(mutant.apply(text), encoding="utf-8")
            try:
                by = self.run(chosen, seconds)
            finally:
                file.write_text(text, encoding="utf-8")
            if by is None:
                waiting.pop(0)
            elif by in ("time", "crash"):
                if self.run(chosen, seconds) is not None:
                    raise RuntimeError(f"Without a change, too, these do not end well: {chosen}")
                return by
            elif self.passes(by):
                return by
        return None


def digest(mutant: Mutant, root: Path) -> str:
    """What tells a change from the same one in another version of its file."""
    told = (root / mutant.path).read_bytes() + repr(mutant).encode()
    return hashlib.sha256(told).hexdigest()[:16]


def try_all(
    chosen: list[Mutant], tests: Tests, log: Path, patience: float, most: float
) -> list[dict[str, object]]:
    """Try each change that the log does not hold yet; return the row of each."""
    kept = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    rows = {row["digest"]: row for row in kept}
    wanted = [digest(mutant, ROOT) for mutant in chosen]
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "tfcam"
        ignored = shutil.ignore_patterns(".git", "__pycache__", "*.egg-info", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        trial = Trial(copy, tests, patience, most)
        for number, (mutant, key) in enumerate(zip(chosen, wanted, strict=True), start=1):
            if key in rows:
                continue
            began = time.monotonic()
            by = trial.caught(mutant)
            took = round(time.monotonic() - began, 1)
            rows[key] = mutant._asdict() | {"caught": by, "seconds": took, "digest": key}
            with log.open("a") as file:
                file.write(json.dumps(rows[key]) + "\n")
            print(f"{number}: {mutant.path}:{mutant.line} {by or 'SURVIVED'} {took} s", flush=True)
    return [rows[key] for key in wanted]


def main() -> None:
    """Try the changes that are asked for and print what was not caught."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=Path("mutants.jsonl"))
    parser.add_argument("--patience", type=float, default=10)
    parser.add_argument("--most", type=float, default=120, help="seconds of tests for each")
    parser.add_argument("--lines", type=Path, default=ROOT / ".coverage")
    parser.add_argument("--times", type=Path, default=ROOT / ".junit.xml")
    told = parser.parse_args()
    find_keras_home()
    import tensorflow  # noqa: F401  # once, not again in each process

    tests = Tests(told.lines, told.times)
    tried = try_all(draw(told.count, told.seed), tests, told.to, told.patience, told.most)
    counts = defaultdict[str, int](int)
    for row in tried:
        counts["survived" if row["caught"] is None else str(row["caught"]).split("/")[0]] += 1
        if row["caught"] is None:
            print(f"{row['path']}:{row['line']}: {row['before']!r} -> {row['after']!r}")
    print(f"{len(tried)} tried: {dict(counts)}")


if __name__ == "__main__":
    main()
