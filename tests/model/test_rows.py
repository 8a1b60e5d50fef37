"""Models that take pictures laid out in a row, as (x_train.reshape(-1, 784)) has them."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests.networks import seeded
from tfcam.model.graph import graph_of

RNG = np.random.default_rng(2)
DIGITS = RNG.random((3, 784)).astype("float32")


def body(x):
    x = layers.Conv2D(5, 3, activation="relu", name="conv")(x)
    return layers.Dense(4, "softmax")(layers.GlobalAveragePooling2D()(x))


def plain():
    inputs = keras.Input((28, 28, 1))
    return seeded(keras.Model(inputs, body(inputs)))


def reshaped(*before):
    inputs = x = keras.Input((784,))
    for layer in before:
        x = layer(x)
    return seeded(keras.Model(inputs, body(layers.Reshape((28, 28, 1))(x))))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = plain()

    def call(self, x):
        return self.inner(keras.ops.reshape(x, (-1, 28, 28, 1)))


def subclassed():
    model = Subclassed()
    model(DIGITS)
    return model


MODELS = {
    "a layer": reshaped,
    "behind a scaling": lambda: reshaped(layers.Rescaling(1.0)),
    "an operation": lambda: keras.Model(
        row := keras.Input((784,)), plain()(keras.ops.reshape(row, (-1, 28, 28, 1)))
    ),
    "code": subclassed,
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_picture_in_a_row_is_explained_as_the_picture(kind):
    model, bare = MODELS[kind](), plain()
    assert graph_of(model).inputs[0].shape == (28, 28, 1)
    found = tfcam.explain(model, DIGITS[0], target=1)
    wanted = tfcam.explain(bare, DIGITS[0].reshape(28, 28, 1), target=1)
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    assert found.heatmap.shape == (28, 28)
    folded = tfcam.explain(model, DIGITS[0].reshape(28, 28, 1), target=1)
    np.testing.assert_allclose(folded.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    pixels = tfcam.explain(model, DIGITS[0], target=1, method="saliency")
    own = tfcam.explain(bare, DIGITS[0].reshape(28, 28, 1), target=1, method="saliency")
    np.testing.assert_allclose(pixels.raw, own.raw, rtol=1e-4, atol=1e-6)


def test_a_batch_of_rows():
    model = reshaped()
    for given in (DIGITS, list(DIGITS), (DIGITS, np.array([1, 2, 0]))):
        results = tfcam.explain(model, given, target=2)
        alone = [tfcam.explain(model, digit, target=2).raw for digit in DIGITS]
        np.testing.assert_allclose([found.raw for found in results], alone, rtol=1e-4, atol=1e-6)
    probe = tfcam.metrics.Probe(model, DIGITS, target=2)
    own = model.predict(DIGITS, verbose=0)
    np.testing.assert_allclose(probe.probabilities, own[:, 2], rtol=1e-5)


def test_pixels_in_a_row():
    model = reshaped(layers.Rescaling(1 / 255))
    pixels = np.rint(255 * DIGITS[0]).astype(np.uint8)
    found = tfcam.explain(model, pixels, target=1)
    wanted = tfcam.explain(model, pixels.astype("float32"), target=1, preprocess=None)
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)


def test_a_table_is_no_picture():
    inputs = keras.Input((64,))
    x = layers.Reshape((8, 8, 1))(layers.Dense(64)(inputs))
    model = seeded(keras.Model(inputs, body(x)))
    assert graph_of(model).inputs[0].shape == (64,)
