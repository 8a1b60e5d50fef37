"""Imports point one way, files are small, and formulas and tapes are where they belong."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "tfcam").rglob("*.py"))
# A module of a package is named with it: "metrics.complexity".
MODULES = {
    ".".join(path.relative_to(ROOT / "tfcam").with_suffix("").parts): path
    for path in FILES
    if path.name != "__init__.py"
}

# From the ground up: a module may import those of lower layers, and of its own layer those that
# come before it.
LAYERS = [
    ["demands", "fetching", "images", "writing"],
    [
        "tapping",
        "intake",
        "functional",
        "recording",
        "tokens",
        "heads",
        "listing",
        "inspection",
        "applications",
    ],
    [
        "maps",
        "targets",
        "tasks",
        "scoring",
        "guided",
        "components",
        "loops",
        "resizing",
        "biases",
        "folding",
    ],
    ["freezing", "half_precision"],
    ["reading", "network", "submodel", "findings", "scenes", "contact_sheet"],
    ["methods", "sampling", "attribution", "preparation"],
    ["drawing", "lettering", "explanation", "comparison"],
    ["metrics.localisation", "metrics.wsol", "metrics.similarity", "metrics.randomised"],
    ["settings", "asking", "engine", "opening", "views", "indifference", "checks", "results"],
    ["exporting"],
    ["explainer", "comparing", "diagnosing", "channels", "callbacks", "losses"],
    ["blurring", "objectives", "transforms", "parametrisations", "recipes", "dreams", "dreaming"],
    ["metrics.probing", "metrics.ranking", "metrics.imputation", "metrics.complexity"],
    ["metrics.running", "metrics.faithfulness", "metrics.curves"],
    ["metrics.reinitialising", "metrics.sanity", "metrics.table"],
    ["examples", "annotations", "folders", "datasets"],
    ["embedding"],
    ["classes", "trivial_maps", "significance", "storing"],
    ["tallying", "candidates", "measuring", "charts", "report", "evaluation", "evaluating"],
    ["recommending"],
    ["overlapping", "replicas", "shards", "map_store", "explaining", "streaming", "distributing"],
    ["demo", "silence", "arguments", "terminal", "evaluation_commands", "dream_commands"],
    ["streaming_commands"],
    ["cli", "__main__"],
]
ORDER = [name for layer in LAYERS for name in layer]
MAIN_WORDS = ("utils", "helpers", "manager", "base", "common", "misc")


def imported(path):
    """The modules of tfcam that a file imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = node.module.removeprefix("tfcam").removeprefix(".")
            if node.module.split(".")[0] == "tfcam":
                if inner in MODULES:
                    names.add(inner)
                else:  # a package: what is taken from it
                    names |= {f"{inner}.{alias.name}".strip(".") for alias in node.names}
            elif node.module.split(".")[0] in ("training", "tests"):
                names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {
                a.name.removeprefix("tfcam.") for a in node.names if a.name.startswith("tfcam.")
            }
    return names


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


def test_every_module_has_its_place():
    assert set(ORDER) == set(MODULES)


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_one_way(name):
    below = set(ORDER[: ORDER.index(name)])
    assert imported(MODULES[name]) <= below


@pytest.mark.parametrize("path", [*FILES, *(ROOT / "training").rglob("*.py")], ids=lambda p: p.stem)
def test_files_are_small(path):
    assert code_lines(path) <= 250


def test_one_file_has_a_gradient_tape():
    assert [path.name for path in FILES if "GradientTape(" in path.read_text()] == ["submodel.py"]


def test_no_file_has_a_name_that_says_nothing_or_is_that_of_a_function():
    import tfcam

    modules = set(tfcam.__all__) & set(MODULES)
    assert modules == {"callbacks", "losses", "scenes"}
    assert not {name for name in MODULES for word in MAIN_WORDS if word in name}


def test_training_is_not_imported_by_the_package():
    assert not any("training" in each for path in FILES for each in imported(path))


def test_the_package_loads_without_tensorflow():
    import subprocess
    import sys

    code = (
        "import sys, tfcam, tfcam.cli; sys.exit(bool({'tensorflow', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
