"""Tokens without attention: their grid is read from the code that cut them, and mixing ends it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfcam
from tfcam.model.graph import graph_of

PATCH = 4


class Patches(layers.Layer):
    def call(self, x):
        patches = ops.image.extract_patches(x, PATCH)
        count = patches.shape[1] * patches.shape[2]
        return ops.reshape(patches, (-1, count, patches.shape[3]))


class Rearranged(layers.Layer):
    """Patches by reshaping, as einops writes it: (h p) (w q) c -> (h w) (p q c)."""

    def call(self, x):
        _, height, width, channels = x.shape
        rows, columns = height // PATCH, width // PATCH
        x = tf.reshape(x, (-1, rows, PATCH, columns, PATCH, channels))
        x = tf.transpose(x, (0, 1, 3, 2, 4, 5))
        return tf.reshape(x, (-1, rows * columns, PATCH * PATCH * channels))


class ExtractedByTensorFlow(layers.Layer):
    def call(self, x):
        ones = [1, PATCH, PATCH, 1]
        patches = tf.image.extract_patches(x, ones, ones, [1] * 4, "VALID")
        _, rows, columns, depth = patches.shape
        return tf.reshape(patches, (-1, rows * columns, depth))


class Mixer(layers.Layer):
    """A block of MLP-Mixer: dense layers along the tokens, then along the channels."""

    def build(self, shape):
        self.tokens, self.channels = layers.Dense(shape[1]), layers.Dense(shape[2], "gelu")
        self.norm = layers.LayerNormalization()
        self.norm.build(shape)
        self.tokens.build((None, shape[2], shape[1]))
        self.channels.build(shape)

    def call(self, x):
        turned = ops.transpose(self.norm(x), (0, 2, 1))
        x = x + ops.transpose(self.tokens(turned), (0, 2, 1))
        return x + self.channels(x)


def mixer(patches, size, depth):
    ends = keras.Input((*size, 3))
    x = layers.Dense(depth, name="embedding")(patches()(ends))
    x = Mixer(name="mixer")(x)
    return keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


@pytest.mark.parametrize("patches", [Patches, Rearranged, ExtractedByTensorFlow])
@pytest.mark.parametrize("depth", [5, 24])  # 24 channels, as many as there are tokens
def test_the_grid_of_a_mixer_is_that_of_its_patches(patches, depth):
    size = (16, 24)
    model = mixer(patches, size, depth)
    assert tfcam.layers(model).default == "mixer"
    picture = np.random.default_rng(0).uniform(size=(*size, 3)).astype(np.float32)
    found = tfcam.explain(model, picture, "embedding", method=energy, preprocess=None)
    assert found.raw.shape == (4, 6)
    # What lies in one patch of the picture lies in one cell of the map.
    changed = picture.copy()
    changed[4:8, 16:20] += 1  # the second row, the fifth column
    other = tfcam.explain(model, changed, "embedding", method=energy, preprocess=None)
    assert np.argwhere(~np.isclose(other.raw, found.raw)).tolist() == [[1, 4]]


def energy(reading):
    return tf.reduce_sum(reading.activations**2, axis=-1)


def headed(depth, across):
    """Tokens that are turned, mixed and flattened, with no pooling: channels are no positions."""
    ends = keras.Input((16, 16, 3))
    x = layers.Conv2D(depth, 4, strides=4, name="patches")(ends)
    x = layers.Reshape((16, depth), name="tokens")(x)
    x = layers.Dense(depth, activation="relu", name="channels")(x)
    x = layers.Permute((2, 1), name="turned")(x)
    x = layers.Dense(across, activation="relu", name="mixed")(x)
    return keras.Model(ends, layers.Dense(2)(layers.Flatten()(x)))


class Headed(keras.Model):
    def __init__(self):
        super().__init__()
        self.patches, self.mixed = layers.Conv2D(16, 4, strides=4), layers.Dense(16, name="mixed")
        self.channels, self.head = layers.Dense(16, name="channels"), layers.Dense(2)

    def call(self, x):
        x = self.channels(tf.reshape(self.patches(x), (-1, 16, 16)))
        x = self.mixed(tf.transpose(x, (0, 2, 1)))
        return self.head(tf.reduce_max(x, 1))


@pytest.mark.parametrize(
    "make", [lambda: headed(16, 4), lambda: headed(16, 16), lambda: headed(4, 16), Headed]
)
def test_channels_in_the_place_of_tokens_are_no_map(make):
    model = make()
    model(np.zeros((1, 16, 16, 3), np.float32))
    listed = tfcam.layers(model)
    assert listed.default == "channels"
    assert not {"turned", "mixed"} & {entry.path for entry in listed}
    with pytest.raises(ValueError, match="'mixed' has .* there, its positions last"):
        tfcam.explain(model, np.zeros((16, 16, 3), np.float32), "mixed", preprocess=None)


def test_tokens_that_are_turned_twice_are_tokens_again():
    ends = keras.Input((16, 16, 3))
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 4, strides=4)(ends))
    x = layers.Permute((2, 1))(layers.Dense(16)(layers.Permute((2, 1))(x)))
    x = layers.Dense(3, name="back")(x)
    calls = graph_of(keras.Model(ends, layers.Dense(2)(layers.Flatten()(x)))).calls()
    (back,) = [call for call in calls.calls if call.path == "back"]
    assert back.output not in calls.orders


def learned(turned):
    """Tokens of no place, learned or of channels, that are pooled at the end."""
    ends = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 4, strides=4, activation="relu", name="features")(ends)
    x = layers.Reshape((16, 6), name="tokens")(x)
    if turned:
        x = layers.Dense(5)(layers.Permute((2, 1))(x))
    else:
        weights = layers.Softmax(axis=1)(layers.Dense(3)(x))
        x = layers.Dense(5, name="learned")(layers.Dot(axes=1)([weights, x]))
    return keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


@pytest.mark.parametrize("turned", [False, True])
def test_tokens_without_a_place_are_no_default(turned):
    model = learned(turned)
    assert tfcam.layers(model).default == "tokens"
    found = tfcam.explain(model, np.ones((16, 16, 3), np.float32), target=1, preprocess=None)
    assert found.raw.shape == (4, 4)
