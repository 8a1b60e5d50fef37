"""The rules of the house: a room imports only from lower floors; files are small."""

import ast
import re
import subprocess
import sys

import pytest

from tests.rooms import FILES, FLOOR, MODULES, PACKAGE, ROOT, imported_modules, imports

EMPTY_NAMES = {"utils", "helpers", "common", "base", "manager", "misc"}
# Private attributes of others that are used: of Keras, which has no public ones for them, and what
# NamedTuple calls so although it is public.
FOREIGN = {
    *("_flatten_layers", "_functional", "_layers", "_nodes_by_depth", "_remat_mode"),
    *("_keras_logits", "_keras_mask", "_lookup_layer"),
    *("_asdict", "_fields", "_replace"),
}
# Rooms that hand on names; the others have a docstring alone.
FACES = {"tfcam", "cli", "images", "maps", "methods", "metrics", "targets"}


def foreign_attributes(code):
    """The private attributes that code uses of objects that are not its own, ``FOREIGN`` aside."""
    tree = ast.parse(code)
    own, used = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            is_own |= ast.unparse(node.value) == "super()"
            (own if is_own else used).add(node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "getattr",
            "hasattr",
            "setattr",
        ):
            name = node.args[1]
            used |= {name.value} if isinstance(name, ast.Constant) else set()
    private = {name for name in used if name.startswith("_") and not name.endswith("__")}
    return private - own - FOREIGN


def cycle(graph):
    """A circle among modules, as a list of them; empty where there is none."""
    done, way = set(), []

    def visit(name):
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            way.append(name)
            for each in sorted(graph.get(name, ())):
                if found := visit(each):
                    return found
            way.pop()
            done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := visit(name))), [])


def code_lines(path):
    """Lines that hold code: not blank, comment or docstring."""
    tree = ast.parse(path.read_text())
    strings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            strings |= set(range(node.lineno, node.end_lineno + 1))
    lines = path.read_text().splitlines()
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in strings
        for number, line in enumerate(lines, 1)
    )


def test_every_room_has_its_floor():
    assert {name.split(".")[0] for name in MODULES} == set(FLOOR)


@pytest.mark.parametrize("name", MODULES)
def test_a_room_imports_only_from_lower_floors(name):
    room = name.split(".")[0]
    others = {each.split(".")[0] for each in imported_modules(MODULES[name])} - {room}
    assert not {each for each in others if FLOOR[each] >= FLOOR[room]}


def test_no_circle_of_modules():
    inside = {name: imported_modules(path) - {"methods"} for name, path in MODULES.items()}
    del inside["__init__"]
    assert not cycle(inside)


def test_a_circle_is_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "a"]


@pytest.mark.parametrize("name", MODULES)
def test_no_private_name_of_another_module_is_used(name):
    assert not {what for _, what in imports(MODULES[name]) if what.startswith("_")}
    assert not foreign_attributes(MODULES[name].read_text())


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("explainer._engine.run()", {"_engine"}),
        ("explainer._engine = None", {"_engine"}),
        ("getattr(explainer, '_engine', None)", {"_engine"}),
        ("class A:\n    def f(self):\n        return self._x, super()._y, other._x", set()),
        ("class A:\n    _x: int\n    def f(self, other):\n        return other._x", set()),
        ("def _f(): pass\nmodule._f()", set()),
        ("row._replace(x=1), tensor._keras_mask, thing.__dict__", set()),
    ],
)
def test_private_names_of_others_are_found(code, names):
    assert foreign_attributes(code) == names


CHECKED = "import tfcam.utils.backend"


def test_only_some_rooms_hand_on_names():
    for path in PACKAGE.rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert ast.get_docstring(ast.parse(path.read_text()))
        if path.parent.name not in FACES:
            assert [ast.unparse(line) for line in body[1:]] in ([], [CHECKED]), path


def test_rooms_that_load_keras_check_its_backend_first():
    for room in {path.parent for path in FILES} - {PACKAGE, PACKAGE / "cli", PACKAGE / "utils"}:
        loads = any(
            re.search(r"^(import|from) (keras|tensorflow)\b", path.read_text(), re.M)
            for path in room.glob("*.py")
        )
        lines = ast.parse((room / "__init__.py").read_text()).body
        imported = [ast.unparse(line) for line in lines if isinstance(line, ast.Import)]
        assert not loads or CHECKED in imported, room


@pytest.mark.parametrize("path", [*FILES, *(ROOT / "training").rglob("*.py")], ids=lambda p: p.stem)
def test_files_are_small(path):
    assert code_lines(path) <= 250


def test_one_file_has_a_gradient_tape():
    assert [path.name for path in FILES if "GradientTape(" in path.read_text()] == ["submodel.py"]


def test_no_file_has_a_name_that_says_nothing_or_at_the_root_that_of_a_function():
    import tfcam

    at_root = {path.stem for path in PACKAGE.glob("*.py")}
    assert len(at_root) <= 10
    assert not {name for name in at_root & set(tfcam.__all__) if callable(getattr(tfcam, name))}
    assert not {path.stem for path in FILES} & EMPTY_NAMES


def test_tests_mirror_the_rooms():
    rooms = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    assert rooms - {"benchmarks", "laws", "training", "zoo"} <= set(FLOOR)


def test_training_is_not_imported_by_the_package():
    assert not {path for path in FILES if {"training", "tests"} & imported_modules(path)}


@pytest.mark.slow
def test_all_methods_are_known_whoever_asks_first():
    code = "from tfcam.methods.registry import METHODS; print(len(METHODS))"
    ways = (code, "import tfcam; print(len(tfcam.METHODS))")
    run = [sys.executable, "-c"]
    counts = {subprocess.run([*run, w], capture_output=True, check=True).stdout for w in ways}
    import tfcam

    assert counts == {f"{len(tfcam.METHODS)}\n".encode()}


def test_the_package_loads_without_tensorflow():
    code = (
        "import sys, tfcam, tfcam.cli; sys.exit(bool({'tensorflow', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
