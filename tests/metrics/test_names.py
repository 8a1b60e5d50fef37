"""The names of ``tfcam.metrics``: all public metrics and nothing else, loaded when first used."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from tfcam import metrics

# What the metrics are made of.
WORKINGS = {
    *("checks", "counting", "hiding", "localisation_measures", "map_changes", "measure", "moves"),
    "probe_function",
    *("neighbour_fill", "pixel_sets", "random_weights", "ranking", "registry", "removal_test"),
    *("similarity_table", "word_orders", "word_probe"),
}
MODULES = {each.name for each in pkgutil.iter_modules(metrics.__path__)}
CONSTANTS = {"BASELINES", "METRICS", "Measure"}


def public(module):
    """The functions and classes that a module defines."""
    home = importlib.import_module(f"tfcam.metrics.{module}")
    return {
        name
        for name, value in vars(home).items()
        if getattr(value, "__module__", None) == home.__name__
        and (inspect.isroutine(value) or inspect.isclass(value))
        and not name.startswith("_")
    }


def test_every_public_function_of_the_metric_modules_is_a_name():
    names = [name for module in MODULES - WORKINGS for name in public(module)]
    assert sorted([*names, *CONSTANTS]) == sorted(metrics.__all__)


@pytest.mark.parametrize("name", metrics.__all__)
def test_every_name_is_the_function_and_no_module(name):
    assert not inspect.ismodule(getattr(metrics, name))
    assert name not in MODULES
    assert name in dir(metrics)


def test_modules_stay_reachable():
    for name in MODULES - WORKINGS:
        assert getattr(metrics, name) is importlib.import_module(f"tfcam.metrics.{name}")
    assert metrics.insertion is metrics.curves.insertion


def test_type_checkers_see_every_name():
    tree = ast.parse(Path(metrics.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: line.module for line in block.body for alias in line.names}
    assert set(seen) == set(metrics.__all__)
    for name, module in seen.items():
        assert vars(importlib.import_module(module))[name] is getattr(metrics, name)


def test_what_there_is_not():
    with pytest.raises(AttributeError, match="'tfcam.metrics' has no attribute 'insertions'"):
        _ = metrics.insertions


@pytest.mark.slow
def test_a_name_is_loaded_when_it_is_first_used():
    code = (
        "import sys, tfcam; tfcam.metrics; dir(tfcam.metrics);"
        "loaded = {'tensorflow', 'pandas'} & set(sys.modules); tfcam.metrics.insertion;"
        "sys.exit(bool(loaded) or 'tensorflow' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
