"""The names that the command line takes, read from sources so that TensorFlow is not loaded."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path


@functools.cache
def method_options() -> dict[str, list[str]]:
    """The options of each of ``tfcam.METHODS``."""
    folder = resources.files("tfcam").joinpath("methods")
    files = sorted(
        (file for file in folder.iterdir() if file.is_file()), key=lambda file: file.name
    )
    return {
        node.name: [argument.arg for argument in node.args.kwonlyargs]
        for file in files
        for node in _nodes(file.read_text("utf-8"))
        if isinstance(node, ast.FunctionDef) and "method" in map(_called, node.decorator_list)
    }


@functools.cache
def metric_names() -> list[str]:
    """The names of ``tfcam.metrics.METRICS``."""
    folder = resources.files("tfcam").joinpath("metrics")
    files = (folder.joinpath(f"{name}.py") for name in ("localisation_measures", "registry"))
    nodes = [node for file in files for node in _nodes(file.read_text("utf-8"))]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return [ast.literal_eval(call.args[0]) for call in calls if _called(call) == "Measure"]


@functools.cache
def recipe_options() -> list[str]:
    """The fields of a recipe of ``tfcam.dream``."""
    return [
        field.target.id
        for node in _nodes(_recipes())
        if isinstance(node, ast.ClassDef) and node.name == "Recipe"
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]


@functools.cache
def preset_names() -> list[str]:
    """The names of the presets of ``tfcam.dream``."""
    return [
        ast.literal_eval(key)
        for node in _nodes(_recipes())
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for key in node.value.keys
        if key is not None
    ]


def _recipes() -> str:
    folder = resources.files("tfcam").joinpath("feature_visualization")
    return folder.joinpath("recipes.py").read_text("utf-8")


@functools.cache
def network_names() -> list[str]:
    """The names of the classes of keras.applications; none where Keras keeps them elsewhere."""
    spec = find_spec("keras")
    folder = Path(spec.origin or "").parent if spec else Path()
    places = [folder / way / "applications" / "__init__.py" for way in (".", "api")]
    nodes = [
        node for place in places if place.is_file() for node in _nodes(place.read_text("utf-8"))
    ]
    imported = [alias for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    names = [alias.asname or alias.name for alias in imported]
    return list(dict.fromkeys(name for name in names if name[0].isupper()))


def _nodes(text: str) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(text))


def _called(node: ast.AST) -> str:
    """The plain name of the function that is called."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.id if isinstance(function, ast.Name) else ""
