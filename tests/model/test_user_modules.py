"""A module of one's own that the code of a layer or a target reaches is read, however it does."""

import importlib
import sys
import timeit

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks
from tests.model.test_staleness import image, with_layer
from tfcam.model.graph import graph_of
from tfcam.utils.digest_value import digest_value

FILES = {
    "__init__.py": "",
    "numbers_.py": "FACTOR = 1.0\n\ndef add(x):\n    return FACTOR * x\n\n"
    "class Setting:\n    slope = 1.0\n\n    def on(self, x):\n        return self.slope * x\n",
    "deep.py": "def inside(x):\n    from . import numbers_\n    return numbers_.add(x)\n\n"
    "def below(x):\n    from .numbers_ import FACTOR\n    return FACTOR * x\n\n"
    "def whole(x):\n    import own_house.numbers_ as n\n    return n.add(x)\n",
}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A package of a user's, its modules loaded."""
    (tmp_path / "own_house").mkdir()
    for name, text in FILES.items():
        (tmp_path / "own_house" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("own_house")
    for name in ("numbers_", "deep"):
        importlib.import_module(f"own_house.{name}")
    yield package
    for name in ("own_house", "own_house.numbers_", "own_house.deep"):
        sys.modules.pop(name)


class Holding(layers.Layer):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def call(self, x):
        return self.module.add(x)


class Target:
    """One that keeps a module."""

    def __init__(self, module):
        self.module = module

    def __call__(self, outputs):
        return self.module.add(outputs[:, 0])


def imports(x):
    import own_house.numbers_

    return own_house.numbers_.add(x)


def imports_a_name(x):
    from own_house.numbers_ import FACTOR

    return FACTOR * x


def imports_a_module(x):
    from own_house import numbers_ as other

    return other.add(x)


def factor(house):
    house.numbers_.FACTOR = 3.0


def function(house):
    house.numbers_.add = lambda x: 3.0 * x


def slope(house):
    house.numbers_.Setting.slope = 3.0


WAYS = [
    *("closure", "closure, another function", "closure, package", "closure, class"),
    *("closure, object", "closure, list", "import", "import of a name", "import of a module"),
    *("import of a folder", "import of a name there", "import under a name"),
]


def ways(house):
    """Functions of a tensor that reach a module, and what makes their result three times it."""
    numbers, deep = house.numbers_, house.deep
    setting = numbers.Setting()
    return {
        "closure": (lambda x: numbers.add(x), factor),
        "closure, another function": (lambda x: numbers.add(x), function),
        "closure, package": (lambda x: house.numbers_.add(x), factor),
        "closure, class": (lambda x: numbers.Setting().on(x), slope),
        "closure, object": (lambda x: setting.on(x), slope),
        "closure, list": (lambda x, of=[numbers]: of[0].add(x), factor),
        "import": (imports, factor),
        "import of a name": (imports_a_name, factor),
        "import of a module": (imports_a_module, function),
        "import of a folder": (lambda x: deep.inside(x), factor),
        "import of a name there": (lambda x: deep.below(x), factor),
        "import under a name": (lambda x: deep.whole(x), factor),
    }


@pytest.mark.parametrize("way", WAYS)
def test_a_layer_and_a_target_follow_a_module(house, way):
    function, change = ways(house)[way]
    of_layer, of_target = with_layer(layers.Lambda(function)), networks.flat()
    explainer = tfcam.Explainer(of_layer, "conv", preprocess=None)
    asked = tfcam.Explainer(of_target, "features")
    target = lambda outputs: function(outputs[:, 1])  # noqa: E731
    picture = networks.pictures(1)[0]
    for _ in range(2):
        before, of_two = explainer(image(), 0), asked(picture, target)
    assert graph_of(of_layer).is_current()
    told = digest_value(function)
    change(house)
    after, again = explainer(image(), 0), asked(picture, target)
    np.testing.assert_allclose(after.raw, 3 * before.raw, rtol=1e-4, atol=1e-7)
    assert after.score == pytest.approx(float(of_layer(image()[None])[0, 0]), rel=1e-5)
    np.testing.assert_allclose(again.raw, 3 * of_two.raw, rtol=1e-4, atol=1e-7)
    assert again.score == pytest.approx(3 * of_two.score, rel=1e-5)
    assert digest_value(function) != told


def test_a_module_that_a_layer_or_a_target_keeps_is_read(house):
    explainer = tfcam.Explainer(with_layer(Holding(house.numbers_)), "conv", preprocess=None)
    asked = tfcam.Explainer(networks.flat(), "features")
    target, picture = Target(house.numbers_), networks.pictures(1)[0]
    for _ in range(2):
        before, of_two = explainer(image(), 0), asked(picture, target)
    house.numbers_.FACTOR = -2.0
    np.testing.assert_allclose(explainer(image(), 0).raw, -2 * before.raw, rtol=1e-4, atol=1e-7)
    assert asked(picture, target).score == pytest.approx(-2 * of_two.score, rel=1e-5)
    function(house)
    np.testing.assert_allclose(explainer(image(), 0).raw, 3 * before.raw, rtol=1e-4, atol=1e-7)


def test_what_else_a_module_holds_is_no_change(house):
    graph = graph_of(with_layer(layers.Lambda(lambda x, of=house.numbers_: of.add(x))))
    house.numbers_.other = 5.0
    house.other = house.numbers_
    assert graph.is_current()


def test_a_layer_that_imports_takes_no_long_look(house):
    model = keras.Sequential([keras.Input((8, 8, 4)), *[layers.Lambda(imports) for _ in range(40)]])
    graph = graph_of(model)
    assert min(timeit.repeat(graph.is_current, number=5, repeat=5)) / 5 < 0.01
