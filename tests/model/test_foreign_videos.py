"""Networks of videos as papers and keras.io build them, small: the default layer, and its map."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfcam
from tests import networks
from tests.tolerances import rounding
from tests.zoo import by_hand

FRAMES, SIDE = 4, 16


class Windows(layers.Layer):
    """Video Swin: attention inside of windows of a map (B, t, h, w, K), which may be shifted."""

    def __init__(self, window, shift=(0, 0, 0), **options):
        super().__init__(**options)
        self.window, self.shift = window, shift
        self.attention = layers.MultiHeadAttention(2, 4)

    def call(self, x):
        (t, h, w, depth), (p, q, r) = x.shape[1:], self.window
        x = ops.roll(x, [-by for by in self.shift], axis=(1, 2, 3))
        x = ops.reshape(x, (-1, t // p, p, h // q, q, w // r, r, depth))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 5, 2, 4, 6, 7)), (-1, p * q * r, depth))
        x = ops.reshape(self.attention(x, x), (-1, t // p, h // q, w // r, p, q, r, depth))
        x = ops.reshape(ops.transpose(x, (0, 1, 4, 2, 5, 3, 6, 7)), (-1, t, h, w, depth))
        return ops.roll(x, self.shift, axis=(1, 2, 3))


class Merging(layers.Layer):
    """Video Swin: each two by two cells of a frame become one."""

    def __init__(self, depth, **options):
        super().__init__(**options)
        self.reduce = layers.Dense(depth, use_bias=False)

    def call(self, x):
        parts = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduce(ops.concatenate(parts, -1))


def swin():
    video = keras.Input((FRAMES, SIDE, SIDE, 3))
    x = layers.Conv3D(8, (2, 2, 2), strides=(2, 2, 2), name="patches")(video)
    x = x + Windows((2, 4, 4))(layers.LayerNormalization()(x))
    x = x + Windows((2, 4, 4), (1, 2, 2))(layers.LayerNormalization()(x))
    x = Merging(12)(x)
    x = x + Windows((2, 2, 2), (1, 1, 1))(layers.LayerNormalization()(x))
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling3D()(x)
    return keras.Model(video, layers.Dense(3)(x))


class Factorised(layers.Layer):
    """R(2+1)D: a convolution in space, then one in time."""

    def __init__(self, depth, **options):
        super().__init__(**options)
        self.space = layers.Conv3D(depth, (1, 3, 3), padding="same")
        self.time = layers.Conv3D(depth, (3, 1, 1), padding="same")

    def call(self, x):
        return self.time(self.space(x))


class ResizeVideo(layers.Layer):
    """As keras.io's video classification resizes: frames become a batch, and back."""

    def __init__(self, side, **options):
        super().__init__(**options)
        self.resizing = layers.Resizing(side, side)

    def call(self, video):
        frames = ops.reshape(video, (-1, *video.shape[2:]))
        resized = self.resizing(frames)
        return ops.reshape(resized, (-1, video.shape[1], *resized.shape[1:]))


def residual():
    video = keras.Input((FRAMES, SIDE, SIDE, 3))
    x = layers.ReLU()(layers.BatchNormalization()(Factorised(6)(video)))
    x = ResizeVideo(SIDE // 2)(x)
    x = layers.Add()([x, layers.LayerNormalization()(Factorised(6)(x))])
    x = ResizeVideo(SIDE // 4, name="smallest")(x)
    x = layers.Flatten()(layers.GlobalAveragePooling3D()(x))
    return keras.Model(video, layers.Dense(3)(x))


def frame_by_frame():
    """keras.io's CNN and RNN: features of each frame, a mask of those that there are, and a GRU."""
    picture = x = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 4)(x)
    x = layers.Conv2D(6, 3, strides=2, use_bias=False, activation="relu")(x)
    both = [layers.Conv2D(4, size, padding="same", activation="relu")(x) for size in (1, 3)]
    x = layers.Concatenate(name="mixed")(both)
    network = keras.Model(picture, layers.GlobalAveragePooling2D()(x), name="features")
    video, mask = keras.Input((FRAMES, SIDE, SIDE, 3)), keras.Input((FRAMES,), dtype="bool")
    x = layers.TimeDistributed(network, name="each")(video)
    x = layers.GRU(8, return_sequences=True)(x, mask=mask)
    x = layers.Dropout(0.4)(layers.GRU(6)(x))
    return keras.Model([video, mask], layers.Dense(3)(x))


def recurrent():
    video = keras.Input((FRAMES, SIDE, SIDE, 3))
    x = layers.ConvLSTM2D(4, 3, strides=2, return_sequences=True)(video)
    x = layers.TimeDistributed(layers.Dropout(0.2))(layers.MaxPooling3D((1, 2, 2))(x))
    x = layers.ConvLSTM2D(5, 2, return_sequences=True, name="deep")(x)
    return keras.Model(video, layers.Dense(3)(layers.Flatten()(x)))


# The model, the layer that is explained by default, and the size of its map.
MODELS = {
    "Video Swin": (swin, "norm", (2, 4, 4)),
    "R(2+1)D": (residual, "smallest", (4, 4, 4)),
    "CNN and RNN": (frame_by_frame, "each/features/mixed", (4, 7, 7)),
    "ConvLSTM": (recurrent, "deep", (4, 2, 2)),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.thinned(2, rest="slow")
def test_the_default_layer_and_its_map_are_as_by_hand(kind):
    build, layer, size = MODELS[kind]
    model = networks.seeded(build())
    clips = np.random.default_rng(2).normal(0, 1, (2, FRAMES, SIDE, SIDE, 3)).astype("float32")
    given = clips
    if len(model.inputs) > 1:
        given = [clips, np.array([[True] * FRAMES, [True, True, True, False]])]
    found = tfcam.explain(model, given, target=1, preprocess=None)
    assert {each.layer for each in found} == {layer}
    if kind == "CNN and RNN":  # by plain Keras each frame is called by itself
        wanted = by_frames(model, given)
    else:
        wanted = by_hand.grad_cam(model, layer, given, lambda made: made[:, 1], size)
    for each, raw in zip(found, wanted, strict=True):
        assert (each.raw.shape, each.heatmap.shape) == (size, (FRAMES, SIDE, SIDE))
        assert {one.code for one in each.findings} <= {"no_positive_evidence"}
        np.testing.assert_allclose(each.raw, raw, atol=rounding(100) * np.abs(wanted).max())


def by_frames(model, given):
    """Grad-CAM of a CNN and RNN: the map of all frames, then pooling and what follows."""
    network = model.get_layer("each").layer
    to_map = keras.Model(network.input, network.get_layer("mixed").output)
    clips, mask = given
    maps = np.stack([to_map(clips[:, step]) for step in range(FRAMES)], axis=1)
    pooled = keras.Input((FRAMES, maps.shape[-1]))
    x = pooled
    rest = model.layers[model.layers.index(model.get_layer("each")) + 1 :]
    first, *others = [one for one in rest if not isinstance(one, layers.InputLayer)]
    held = keras.Input((FRAMES,), dtype="bool")
    x = first(x, mask=held)
    for one in others:
        x = one(x)
    after = keras.Model([pooled, held], x)
    A = tf.constant(maps)
    with tf.GradientTape() as tape:
        tape.watch(A)
        score = after([tf.reduce_mean(A, axis=(2, 3)), tf.constant(mask)], training=False)[:, 1]
    G = tape.gradient(score, A).numpy()
    return (G.mean((1, 2, 3), keepdims=True) * maps).sum(-1)
