"""The changes of mutation testing: drawn by a seed, each at one place, each still Python."""

import ast

from tests import mutants
from tests.project import ROOT


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


def test_tests_are_chosen_by_the_name_then_the_room_then_all():
    own, room, across = mutants.stages("tfcam/methods/cam.py")
    assert own[0] == "tfcam/methods/cam.py"  # its doctests
    assert "tests/methods/test_cam.py" in own
    assert room == ["tests/methods"]
    assert all((ROOT / each).exists() for each in (*own, *across))
