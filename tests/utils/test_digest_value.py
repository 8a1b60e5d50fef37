"""A value is told from others by all that it is made of."""

import collections
import functools
import re
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LinearRegression

import tfcam
from tfcam.utils.digest_value import UntoldError, digest_value

FACTOR = 2


def scaled(pixels, power=1):
    return FACTOR * pixels**power


class Slotted:
    __slots__ = ("__hidden", "shown")

    def __init__(self, shown, hidden=0):
        self.shown, self.__hidden = shown, hidden


class Called:
    def __init__(self, factor):
        self.factor, self.lock = factor, threading.Lock()

    def __call__(self, pixels):
        return pixels * self.factor


class Network(keras.Model):
    def __init__(self, factor):
        super().__init__()
        self.inner, self._factor = [keras.layers.Dense(2)], factor

    def build(self, shape):
        self.inner[0].build(shape)

    def call(self, values):
        return self.inner[0](values) * self._factor


def network(factor):
    made = Network(factor)
    made.build((None, 3))
    return made


def sequential(function, slope=0.1):
    return keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Lambda(function),
            keras.layers.LeakyReLU(negative_slope=slope),
        ]
    )


def functional(factor):
    inputs = keras.Input((4, 4, 3))
    return keras.Model(inputs, keras.ops.mean(inputs * factor, axis=(1, 2)))


def crossed(turned):
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(3)(inputs)
    parts = [dense, inputs] if turned else [inputs, dense]
    return keras.Model(inputs, keras.layers.Subtract()(parts))


def made(factor):
    return lambda pixels: [pixels * factor for _ in range(2)]


def cached(factor):
    return functools.cache(lambda pixels: pixels * factor)


class Numbers(list):
    def __init__(self, scale):
        super().__init__([1, 2])
        self.scale = scale


def kind_of(value):
    """A class, or one of the same name with other code."""

    class Kind(dict):
        def __missing__(self, name):
            return value

    return Kind


def dict_of_class(value):
    return kind_of(value)()


def made_by(value):
    class Kind(type):
        def __call__(cls, pixels):
            return pixels * value

    return Kind("Made", (), {})


DIFFERENT = {
    "cached": (lambda: cached(1), lambda: cached(2)),
    "pattern": (lambda: re.compile("cat"), lambda: re.compile("dog")),
    "flags of a pattern": (lambda: re.compile("cat"), lambda: re.compile("cat", re.IGNORECASE)),
    "mask": (
        lambda: np.ma.MaskedArray([1, 2], [True, False]),
        lambda: np.ma.MaskedArray([1, 2], [False, True]),
    ),
    "steps in a dict": (lambda: {"a": abs, "b": len}, lambda: {"b": len, "a": abs}),
    "default of a dict": (
        lambda: collections.defaultdict(lambda: 1),
        lambda: collections.defaultdict(lambda: 2),
    ),
    "code of a dict": (lambda: dict_of_class(1), lambda: dict_of_class(2)),
    "attribute of a list": (lambda: Numbers(1), lambda: Numbers(2)),
    "class of a class": (lambda: made_by(1), lambda: made_by(2)),
    "loss": (lambda: keras.losses.Huber(1.0), lambda: keras.losses.Huber(2.0)),
    "texts": (lambda: tf.constant(["cat"]), lambda: tf.constant(["dog"])),
    "number and flag": (lambda: 1, lambda: True),
    "zeros": (lambda: 0.0, lambda: -0.0),
    "order": (lambda: [1, 2], lambda: [2, 1]),
    "list and tuple": (lambda: [1], lambda: (1,)),
    "long array": (lambda: np.arange(9999), lambda: np.arange(9999) + (np.arange(9999) == 5000)),
    "code": (lambda: lambda p: p + 1, lambda: lambda p: p - 1),
    "constant": (lambda: lambda p: p + 1, lambda: lambda p: p + 2),
    "name of an attribute": (lambda: lambda p: p.max(), lambda: lambda p: p.min()),
    "closure": (lambda: made(1), lambda: made(2)),
    "default": (lambda: lambda p, k=1: p * k, lambda: lambda p, k=2: p * k),
    "keyword default": (lambda: lambda p, *, k=1: p * k, lambda: lambda p, *, k=2: p * k),
    "partial": (lambda: functools.partial(scaled, power=1), lambda: functools.partial(scaled, 2)),
    "state": (lambda: Called(1), lambda: Called(2)),
    "method": (lambda: Called(1).__call__, lambda: Called(2).__call__),
    "slot": (lambda: Slotted(1), lambda: Slotted(2)),
    "hidden slot": (lambda: Slotted(1, 1), lambda: Slotted(1, 2)),
    "tf.function": (lambda: tf.function(made(1)), lambda: tf.function(made(2))),
    "tensor": (lambda: tf.constant([1.0]), lambda: tf.constant([2.0])),
    "generator of numbers": (lambda: np.random.default_rng(1), lambda: np.random.default_rng(2)),
    "fitted": (
        lambda: LinearRegression().fit([[1], [2]], [1, 2]),
        lambda: LinearRegression().fit([[1], [2]], [1, 3]),
    ),
    "target": (lambda: tfcam.Segmentation(1), lambda: tfcam.Segmentation(2)),
    "Lambda": (lambda: sequential(made(1)), lambda: sequential(made(2))),
    "slope": (lambda: sequential(abs), lambda: sequential(abs, 0.2)),
    "operation": (lambda: functional(2), lambda: functional(3)),
    "who feeds whom": (lambda: crossed(False), lambda: crossed(True)),
    "attribute of a subclass": (lambda: network(2), lambda: network(3)),
    "explainer": (
        lambda: tfcam.Explainer(tfcam.demo_model(), method="cam"),
        lambda: tfcam.Explainer(tfcam.demo_model(), method="layer_cam"),
    ),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_is_equal_has_one_digest_and_what_is_not_has_two(one, other):
    assert digest_value(one()) == digest_value(one())
    assert digest_value(other()) == digest_value(other())
    assert digest_value(one()) != digest_value(other())


def test_globals_count_through_functions(monkeypatch):
    outer = made(scaled)
    before = digest_value(outer)
    monkeypatch.setitem(globals(), "FACTOR", 3)
    assert digest_value(outer) != before


def test_sets_and_named_arguments_have_no_order():
    one, other = functools.partial(scaled, a=1, b=2), functools.partial(scaled, b=2, a=1)
    assert digest_value(one) == digest_value(other)
    assert digest_value({"a", "b", "c"}) == digest_value({"c", "b", "a"})


def test_what_refers_to_itself_ends():
    one = [1]
    one.append(one)
    assert digest_value(one) == digest_value(one)


def test_using_a_model_changes_nothing():
    model = network(2)
    before = digest_value(model)
    model.compile("adam", "mse")
    model.predict(np.zeros((1, 3)), verbose=0)
    assert digest_value(model) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: (number for number in [1]),
        lambda: iter(tf.data.Dataset.range(3)),
        lambda: tf.data.Dataset.range(3),
        threading.Thread,
        lambda: memoryview(b"a"),
        lambda: np.frompyfunc(abs, 1, 1),
    ],
)
def test_what_can_not_be_read_is_told(make):
    with pytest.raises(UntoldError, match="it holds an object of"):
        digest_value(made(make()))


def attending(axes):
    inputs = keras.Input((4, 5, 3))
    return keras.Model(
        inputs, keras.layers.MultiHeadAttention(2, 3, attention_axes=axes)(inputs, inputs)
    )


def test_what_a_layer_of_keras_keeps_to_itself_counts():
    """The weights of both have the same shapes."""
    assert digest_value(attending((1,))) == digest_value(attending((1,)))
    assert digest_value(attending((1,))) != digest_value(attending((2,)))
    called = attending((1,))
    before = digest_value(called)
    called(np.zeros((1, 4, 5, 3), np.float32))
    assert digest_value(called) == before
