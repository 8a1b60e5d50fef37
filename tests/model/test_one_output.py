"""Models whose one output is wrapped in a dict or a list, or has no axis of classes."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.networks import seeded

IMAGES = np.random.default_rng(5).normal(size=(3, 12, 12, 3)).astype("float32")


def body(x, head):
    x = layers.Conv2D(6, 3, activation="relu", name="conv")(x)
    return head(layers.GlobalAveragePooling2D()(x))


def plain(units=4, activation="softmax"):
    inputs = keras.Input((12, 12, 3))
    return seeded(keras.Model(inputs, body(inputs, layers.Dense(units, activation, name="head"))))


class Wrapped(keras.Model):
    """What a model returns, wrapped in code."""

    def __init__(self, inner, wrap):
        super().__init__()
        self.inner, self.wrap = inner, wrap

    def call(self, x):
        return self.wrap(self.inner(x))


def functional(wrap):
    model = plain()
    return keras.Model(model.inputs[0], wrap(model.output))


def subclassed(wrap):
    model = Wrapped(plain(), wrap)
    model(IMAGES)
    return model


WRAPS = {"a dict": lambda y: {"out": y}, "a list": lambda y: [y], "a tuple": lambda y: (y,)}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@pytest.mark.parametrize("make", [functional, subclassed])
def test_an_output_in_a_structure_of_one_is_that_output(make, wrap):
    model, bare = make(wrap), plain()
    for given in ({}, {"target": 2}, {"target": tfcam.Difference(1, 0)}):
        found = tfcam.explain(model, IMAGES[0], **given)
        wanted = tfcam.explain(bare, IMAGES[0], **given)
        assert (found.target, found.label) == (wanted.target, wanted.label)
        assert found.probability == pytest.approx(wanted.probability, rel=1e-5)
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    probe = tfcam.metrics.Probe(model, IMAGES, target=1)
    own = tfcam.metrics.Probe(bare, IMAGES, target=1)
    np.testing.assert_allclose(probe.probabilities, own.probabilities, rtol=1e-5)
    both = tfcam.compare(model, IMAGES[0], methods=["grad_cam"], targets=[0, 3])
    assert [each.target for each in both] == [0, 3]


def test_a_callable_is_given_what_the_model_returns():
    model = functional(WRAPS["a dict"])
    found = tfcam.explain(model, IMAGES[0], target=lambda outputs: outputs["out"][:, 1])
    wanted = tfcam.explain(plain(), IMAGES[0], target=1)
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)


def test_a_probability_without_an_axis_of_classes():
    """(B,): the unit of a network of two classes."""
    bare = plain(1, "sigmoid")
    inputs = bare.inputs[0]
    model = keras.Model(inputs, layers.Reshape(())(bare.output))
    for given in ({}, {"target": 1}, {"target": 0}, {"labels": ["cat", "dog"]}):
        found = tfcam.explain(model, IMAGES[1], **given)
        wanted = tfcam.explain(bare, IMAGES[1], **given)
        assert (found.target, found.label) == (wanted.target, wanted.label)
        assert found.probability == pytest.approx(wanted.probability, rel=1e-5)
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)


def test_several_outputs_are_still_asked_for():
    model = plain()
    both = keras.Model(model.inputs[0], {"a": model.output, "b": model.output})
    with pytest.raises(
        ValueError, match="it returns a dict of 2. Choose one with output='a' or 'b'"
    ):
        tfcam.explain(both, IMAGES[0])
    assert tf.nest.flatten(both(IMAGES))[0].shape == (3, 4)


class Named(NamedTuple):
    logits: object
    features: object


def test_outputs_of_a_named_tuple_are_chosen_by_name():
    bare = plain(activation=None)
    model = Wrapped(bare, lambda y: Named(y, 2 * y))
    model(IMAGES)
    found = tfcam.explain(model, IMAGES[0], output="logits", target=2)
    wanted = tfcam.explain(bare, IMAGES[0], target=2)
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="a Named of 2. Choose one with output='logits' or 'feat"):
        tfcam.explain(model, IMAGES[0])
    with pytest.raises(ValueError, match="output must be one of 'logits', 'features'; got 'boxes'"):
        tfcam.explain(model, IMAGES[0], output="boxes", target=0)


def test_of_outputs_within_outputs_a_callable_chooses():
    """No output= names what is deeper in a structure."""
    bare = plain()
    model = Wrapped(bare, lambda y: {"head": {"kind": y, "again": y}})
    model(IMAGES)
    with pytest.raises(ValueError, match=r"returns a dict of 2\. Pass a callable outputs"):
        tfcam.explain(model, IMAGES[0])
    found = tfcam.explain(model, IMAGES[0], target=lambda outputs: outputs["head"]["kind"][:, 1])
    wanted = tfcam.explain(bare, IMAGES[0], target=1)
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)
