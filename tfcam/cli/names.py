"""The names that the command line takes, read from sources so that TensorFlow is not loaded."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_METHODS = "tfcam.methods"


@functools.cache
def _methods() -> list[ast.FunctionDef]:
    """The functions of ``tfcam.METHODS``, in the order in which its files are imported."""
    texts: dict[str, ast.Module] = {}

    def visit(name: str) -> None:
        file = resources.files("tfcam").joinpath("methods").joinpath(f"{name}.py")
        if name in texts or not file.is_file():
            return
        tree = texts[name] = ast.parse(file.read_text("utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_METHODS):
                inner = str(node.module).removeprefix(_METHODS).strip(".")
                for each in [inner] if inner else [alias.name for alias in node.names]:
                    visit(each)
        texts[name] = texts.pop(name)  # behind what it imports

    visit("__init__")
    return [
        node
        for tree in texts.values()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and "method" in map(_called, node.decorator_list)
    ]


def method_options() -> dict[str, list[str]]:
    """The options of each of ``tfcam.METHODS``."""
    return {node.name: [each.arg for each in node.args.kwonlyargs] for node in _methods()}


def method_summaries() -> dict[str, str]:
    """What each of ``tfcam.METHODS`` shows, in a line."""
    return {node.name: (ast.get_docstring(node) or "").split("\n")[0] for node in _methods()}


@functools.cache
def metric_facts() -> dict[str, tuple[str, str]]:
    """What each of ``tfcam.metrics.METRICS`` measures, in a line, and which way is better."""
    folder = resources.files("tfcam").joinpath("metrics")
    files = (folder.joinpath(f"{name}.py") for name in ("localisation_measures", "registry"))
    nodes = [node for file in files for node in _nodes(file.read_text("utf-8"))]
    calls = [node for node in nodes if isinstance(node, ast.Call) and _called(node) == "Measure"]
    facts = ([ast.literal_eval(call.args[place]) for place in (0, 5, 3)] for call in calls)
    return {name: (meaning, better) for name, meaning, better in facts}


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


def settle_layer(network: Any, layer: Any) -> Any:
    """Take a typed number for the name of a layer where there is one; else it stays an index.

    Args:
        network: The model.
        layer: A name, an index, None, or a list of these.
    """
    layers = layer if isinstance(layer, list) else [layer]
    if not any(isinstance(each, int) for each in layers):
        return layer
    from tfcam.model.tree import walk

    names = {path.rsplit("/", 1)[-1] for path, _ in walk(network)}
    settled = [str(each) if str(each) in names else each for each in layers]
    return settled if isinstance(layer, list) else settled[0]
