"""What the code of a user's layer reads counts, wherever that is; what it changes does not."""

import array
import collections
import contextvars
import dataclasses
import re
import types

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests.model.test_staleness import image, with_layer
from tfcam.metrics.probing import Probe
from tfcam.model.graph import graph_of

GLOBAL = {"scale": 1.0}


@dataclasses.dataclass
class Config:
    slope: float = 1.0

    def set(self, slope):
        self.slope = slope


class Read(layers.Layer):
    """One factor, which is read in a way that each subclass has of its own."""

    shared = 1.0

    def __init__(self, **values):
        super().__init__(name="own")
        self.values = []
        self.values.append(1.0)  # not in its call
        for name, value in values.items():
            setattr(self, name, value)

    def call(self, x):
        return x * self.factor()

    def factor(self):
        return 1.0


def factor_of(layer):
    return layer.values[0]


class Numbers(list):
    """A list with an attribute beside its numbers."""

    scale = 1.0


class Fallback(dict):
    def __missing__(self, name):
        return GLOBAL["scale"]


class Times:
    def __rmul__(self, other):
        return other * GLOBAL["scale"]


NAMED = {"fallback": Fallback(), "numbers": Numbers(), "times": Times()}
CONTEXT = contextvars.ContextVar("context", default=1.0)


def readers():
    """Layers that read one factor each, and what makes that another."""
    factors, config = [1.0], Config()

    class Below(Read):
        def call(self, x):
            return keras.ops.tanh(super().call(x))

        def factor(self):
            return self.values[0]

    class OfClass(Read):
        def factor(self):
            return self.shared

    class Named(Read):
        def factor(self):
            return getattr(self, "slope")  # noqa: B009 - a name as text

    class Outside(Read):
        def factor(self):
            kept = {}
            kept["all"] = factor_of(self)  # a dict of its own
            return kept["all"]

    class Closed(Read):
        def factor(self, default=[1.0]):  # noqa: B006
            return factors[0] * default[0] * GLOBAL["scale"]

    class OfObject(Read):
        def factor(self):
            return self.config.slope

    class Counted(Read):
        def factor(self):
            return sum(self.kept)

    class OfFallback(Read):
        def factor(self):
            return NAMED["fallback"]["unknown"]

    class OfNumbers(Read):
        def factor(self):
            return NAMED["numbers"].scale

    class OfOperator(Read):
        def factor(self):
            return 1.0 * NAMED["times"]

    class OfContext(Read):
        def factor(self):
            return CONTEXT.get()

    class OfAnyName(Read):
        def __getattr__(self, name):
            if name != "unset":
                raise AttributeError(name)
            return GLOBAL["scale"]

        def factor(self):
            return self.unset

    class OfKeras(Read):
        def factor(self):
            return self.penalty.l2

    class Applied(Read):
        def factor(self):
            return float(self.function(1.0))

    def in_list(layer):
        layer.values[0] = 2.0

    def in_global(_):
        GLOBAL["scale"] = 2.0

    def function(x, by=factors):
        return x * by[0] * config.slope

    def of_module(layer):
        layer.factor = types.MethodType(lambda self: 2.0, layer)

    def in_array(layer):
        layer.kept[399, 299] = 7.0

    return {
        "super": (Below(), in_list),
        "class": (OfClass(), lambda layer: setattr(type(layer), "shared", 2.0)),
        "past the class": (OfClass(), lambda layer: setattr(layer, "shared", 3.0)),
        "method": (OfClass(), lambda layer: setattr(type(layer), "factor", lambda self: 4.0)),
        "method of one": (OfClass(), of_module),
        "name": (Named(slope=1.0), lambda layer: setattr(layer, "slope", 2.0)),
        "function": (Outside(), in_list),
        "closure": (Closed(), lambda layer: factors.__setitem__(0, 2.0)),
        "default": (Closed(), lambda layer: layer.factor.__defaults__[0].__setitem__(0, 2.0)),
        "global": (Closed(), in_global),
        "object": (OfObject(config=Config()), lambda layer: layer.config.set(2.0)),
        "namespace": (
            OfObject(config=types.SimpleNamespace(slope=1.0)),
            lambda layer: setattr(layer.config, "slope", 2.0),
        ),
        "another object": (
            OfObject(config=Config()),
            lambda layer: (setattr(layer, "config", None), setattr(layer, "config", Config(2.0))),
        ),
        "missing key": (OfFallback(), in_global),
        "attribute of a list": (OfNumbers(), lambda _: setattr(NAMED["numbers"], "scale", 2.0)),
        "operator": (OfOperator(), in_global),
        "context": (OfContext(), lambda _: CONTEXT.set(CONTEXT.get() + 1)),
        "any attribute": (OfAnyName(), in_global),
        "penalty of Keras": (
            OfKeras(penalty=keras.regularizers.L2(1.0)),
            lambda layer: setattr(layer.penalty, "l2", 2.0),
        ),
        "vectorized": (
            Applied(function=np.vectorize(lambda x: x * factors[0])),
            lambda layer: factors.__setitem__(0, 2.0),
        ),
        "typed array": (
            Counted(kept=array.array("f", [1.0])),
            lambda layer: layer.kept.__setitem__(0, 2.0),
        ),
        "mask": (
            Counted(kept=np.ma.MaskedArray([1.0, 2.0], [False, False])),
            lambda layer: layer.kept.mask.__setitem__(0, True),
        ),
        "pattern": (
            OfObject(config=types.SimpleNamespace(slope=2.0, pattern=re.compile("a"))),
            lambda layer: setattr(layer.config, "pattern", re.compile("b")),
        ),
        "set": (Counted(kept={1.0}), lambda layer: layer.kept.add(2.0)),
        "deque": (Counted(kept=collections.deque([1.0])), lambda layer: layer.kept.append(2.0)),
        "large array": (Counted(kept=np.ones((400, 300), "float32")), in_array),
        "class of a layer": (OfClass(), lambda layer: setattr(layer, "__class__", Counted)),
        "Lambda": (layers.Lambda(function, name="own"), lambda _: config.set(3.0)),
        "activation": (layers.Activation(function, name="own"), lambda _: config.set(4.0)),
    }


@pytest.mark.parametrize("way", readers())
def test_whatever_a_users_code_reads_counts(way):
    """All but what other packages hold inside."""
    GLOBAL["scale"] = 1.0
    layer, change = readers()[way]
    graph = graph_of(with_layer(layer))
    assert graph.is_current()
    try:
        change(layer)
        assert not graph.is_current()
    finally:
        GLOBAL["scale"] = 1.0


def test_an_array_that_is_part_of_a_graph_counts():
    scale = np.ones(3, "float32")
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.ops.mean(keras.ops.multiply(inputs, scale), axis=(1, 2)))
    graph = graph_of(model)
    assert graph.is_current()
    scale[0] = 2.0
    assert not graph.is_current()


def test_an_explanation_follows_a_closure_of_a_lambda():
    factors = [1.0]
    model = with_layer(layers.Lambda(lambda x: x * factors[0]))
    explainer = tfcam.Explainer(model, "conv", preprocess=None)
    for _ in range(3):
        before = explainer(image(), 0)
    factors[0] = -2.0
    after = explainer(image(), 0)
    np.testing.assert_allclose(after.raw, -2 * before.raw, rtol=1e-4, atol=1e-6)
    assert after.score == pytest.approx(float(model(image()[None])[0, 0]), rel=1e-5)


def test_the_call_of_a_keras_layer_that_is_replaced_counts(monkeypatch):
    graph = graph_of(with_layer(layers.ELU()))
    monkeypatch.setattr(layers.ELU, "call", lambda self, x: -x)
    assert not graph.is_current()


def test_a_layer_that_only_a_function_knows_counts():
    scale = layers.Rescaling(1.0)
    graph = graph_of(with_layer(layers.Lambda(lambda x: scale(x))))
    scale.scale = 2.0
    assert not graph.is_current()


def changing_themselves():
    """Layers whose call changes what it reads: that is no change of the model."""
    seen, default, config = [], [], Config()

    def add(to):
        to.append(1)

    def helped(x):
        helped.calls += 1
        return x

    helped.calls = 0

    class Adds(Read):
        def factor(self):
            seen.append(1)
            return 1.0 + 0 * len(seen)

    class Helped(Read):
        def factor(self):
            add(self.values)
            return self.values[0]

    class Sets(Read):
        def factor(self):
            setattr(self, "calls", getattr(self, "calls", 0) + 1)  # noqa: B010
            return 1.0

    class OfAnother(Read):
        def factor(self):
            config.set(config.slope + 1)
            return 1.0

    class WithDefault(Read):
        def factor(self, known=default):
            known.append(1)
            return 1.0

    return [Adds(), Helped(), Sets(), OfAnother(), WithDefault(), layers.Lambda(helped)]


@pytest.mark.parametrize("number", range(len(changing_themselves())))
def test_what_a_call_changes_itself_does_not_count(number):
    model = with_layer(changing_themselves()[number])
    probe = Probe(model, image(), 0, preprocess=None)
    graph = graph_of(model)
    for _ in range(2):
        probe(probe.inputs, [0])
        model(image()[None])
    assert graph_of(model) is graph


def test_labels_are_held_against_the_model_as_it_is():
    model = with_layer(layers.ReLU())
    explainer = tfcam.Explainer(model, "conv", preprocess=None, labels=["a", "b"])
    explainer(image(), "b")
    model.pop()
    model.add(layers.Dense(3))
    with pytest.raises(ValueError, match="each of the model's 3 classes; got 2"):
        explainer(image(), "b")
