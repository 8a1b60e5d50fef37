"""The changes of mutation testing: drawn by a seed, each at one place, each still Python."""

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests import mutants
from tests.project import ROOT

PROJECT = {
    "tfcam/__init__.py": "",
    "tfcam/maps/__init__.py": "",
    "tfcam/maps/halves.py": """def half(x):
    return x / 2


def third(x):
    return x + 1


def count(x):
    while x > 0:
        x -= 1
    return x
""",
    "tests/__init__.py": "",
    "tests/maps/__init__.py": "",
    "tests/maps/test_halves.py": """from tfcam.maps.halves import count, half


def test_half():
    assert half(4) == 2


def test_count():
    assert count(3) == 0
""",
    "pyproject.toml": "[project]\n",
}


@pytest.mark.slow
def test_a_seed_draws_the_same_and_more_of_the_same():
    few, many = mutants.draw(20, 1), mutants.draw(60, 1)
    assert few == many[:20]
    assert few != mutants.draw(20, 2)
    assert {mutant.path.split("/")[1] for mutant in many} <= set(mutants.ROOMS)


def test_each_is_another_program():
    for mutant in mutants.draw(60, 3):
        text = (ROOT / mutant.path).read_text(encoding="utf-8")
        changed = mutant.apply(text)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
        assert text[: mutant.start] == changed[: mutant.start]


def test_every_kind_of_change_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    path = tmp_path / "a.py"
    path.write_text(
        "def f(x: int = 3, y=None):\n"
        '    """Not 7."""\n'
        "    if x is not y and not x < 2:\n"
        '        raise ValueError("é", 1 + 1)\n'
        "    x += 1\n"
        "    print(x, end=str(y))\n"
        "    return -x * 2.5 if y in (True,) else y\n"
    )
    found = {
        (mutant.line, mutant.before, mutant.after)
        for mutant in mutants.mutants(path)
        if mutants.is_another_program(mutant)
    }
    assert found == {
        (1, "3", "4"),
        (3, "x is not y and not x < 2", "(not (x is not y and not x < 2))"),
        (3, "is not", "is"),
        (3, "and", "or"),
        (3, "not ", ""),
        (3, "<", "<="),
        (3, "2", "3"),
        (4, 'raise ValueError("é", 1 + 1)', "pass"),
        (5, "x += 1", "pass"),
        (5, "1", "2"),
        (6, "print(x, end=str(y))", "pass"),
        (6, ", end=str(y)", ""),
        (7, "-", ""),
        (7, "*", "/"),
        (7, "2.5", "3.5"),
        (7, "y in (True,)", "(not (y in (True,)))"),
        (7, "in", "not in"),
        (7, "True", "False"),
    }


@pytest.fixture
def project(tmp_path):
    """A project of one file, of which its tests see two thirds; timed and covered."""
    root = tmp_path / "project"
    for path, text in PROJECT.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    for each in mutants.ACROSS:
        place = root / "tests" / each
        (place.parent if place.suffix else place).mkdir(parents=True, exist_ok=True)
        if place.suffix:
            place.touch()
    for path in ("mutants.py", "project.py"):
        shutil.copy(ROOT / "tests" / path, root / "tests")
    timed = ["--cov=tfcam", "--cov-context=test", "--cov-report=", "--junitxml=.junit.xml"]
    assert _run(root, "pytest", "-q", *timed).returncode == 0
    return root


def _run(root, *command):
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=root,
        env=alone | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.product
def test_what_no_test_sees_survives(project):
    command = ["tests.mutants", "--count", "100", "--patience", "1"]
    run = _run(project, *command)
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for line in (project / "mutants.jsonl").read_text().splitlines()]
    by = {(row["before"], row["after"]): row["caught"] for row in rows}
    assert by["/", "*"] == "tests/maps/test_halves.py::test_half"
    assert by["2", "3"] == "tests/maps/test_halves.py::test_half"
    assert by["+", "-"] is None
    assert by["x -= 1", "pass"] == "time"
    assert "tfcam/maps/halves.py:6: '+' -> '-'" in run.stdout
    # What is in the log is not tried again, unless its file has changed.
    again = _run(project, *command)
    assert run.stdout.endswith(again.stdout)
    assert again.stdout.startswith("tfcam/maps/halves.py:6: ")
    with (project / "tfcam/maps/halves.py").open("a") as file:
        file.write("\n")
    assert "1: tfcam/maps/halves.py" in _run(project, *command, "--count", "1").stdout


@pytest.mark.product
def test_a_test_that_fails_anyhow_catches_nothing(project):
    file = project / "tests/maps/test_halves.py"
    file.write_text(file.read_text().replace("half(4) == 2", "half(4) == 3"))
    run = _run(project, "tests.mutants", "--count", "3", "--patience", "1")
    test = "tests/maps/test_halves.py::test_half"
    assert f"{test} fails without a change, too" in run.stdout
    rows = [json.loads(line) for line in (project / "mutants.jsonl").read_text().splitlines()]
    assert test not in {row["caught"] for row in rows}
