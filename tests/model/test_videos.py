"""Videos: one map a frame, also where frames become a batch, or a layer sums up time."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks, replicas
from tests.tolerances import rounding
from tfcam.model.graph import graph_of

FRAMES, SIDE = 5, 16
VIDEOS = np.random.default_rng(3).normal(0, 1, (2, FRAMES, SIDE, SIDE, 3)).astype("float32")


def frame_network(pooled=True):
    """A network of a picture whose map (8, 8, 6) is that of "second"."""
    picture = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(picture)
    x = layers.MaxPooling2D(name="smaller")(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x) if pooled else x
    return keras.Model(picture, x, name="frame")


def over_time():
    return keras.Sequential(
        [keras.Input((FRAMES, 6)), layers.LSTM(8), layers.Dense(3, activation="softmax")],
        name="time",
    )


def each_step(frames=FRAMES):
    video = keras.Input((frames, SIDE, SIDE, 3))
    x = layers.TimeDistributed(frame_network(), name="steps")(video)
    return networks.seeded(keras.Model(video, over_time()(x)))


class Folded(keras.Model):
    """Frames become a batch by hand: (B T, h, w, C)."""

    def __init__(self):
        super().__init__()
        self.frame, self.time = frame_network(), over_time()

    def call(self, videos):
        features = self.frame(tf.reshape(videos, (-1, SIDE, SIDE, 3)))
        return self.time(tf.reshape(features, (-1, FRAMES, 6)))


def folded():
    model = Folded()
    model(VIDEOS)
    model.set_weights(each_step().get_weights())
    return model


def nested():
    inner, video = each_step(), keras.Input((FRAMES, SIDE, SIDE, 3))
    return keras.Model(video, inner(video))


def apart():
    """The steps one after the other: a network, a pooling."""
    video = keras.Input((FRAMES, SIDE, SIDE, 3))
    x = layers.TimeDistributed(frame_network(pooled=False), name="steps")(video)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D(), name="pools")(x)
    model = keras.Model(video, over_time()(x))
    model.set_weights(each_step().get_weights())
    return model


def open_time():
    """The number of frames is open."""
    model = each_step(None)
    model.set_weights(each_step().get_weights())
    return model


def by_hand(target):
    """Grad-CAM of each frame, (2, T, 8, 8): frame by frame up to the map, by plain Keras."""
    model = each_step()
    frame = model.get_layer("steps").layer
    to_map = keras.Model(frame.input, frame.get_layer("second").output)
    A = tf.stack([to_map(VIDEOS[:, step]) for step in range(FRAMES)], axis=1)
    with tf.GradientTape() as tape:
        tape.watch(A)
        probabilities = model.get_layer("time")(tf.reduce_mean(A, axis=(2, 3)))
        score = tf.reduce_sum(probabilities._keras_logits[:, target])
    A, G = (np.asarray(each, np.float64) for each in (A, tape.gradient(score, A)))
    return np.einsum("bk,bthwk->bthw", G.mean((1, 2, 3)), A)


@pytest.mark.parametrize("make", [each_step, folded, nested, apart, open_time])
@pytest.mark.thinned(1, kept="slow", rest="slow")
def test_each_frame_has_its_map_inside_of_what_is_done_for_each(make):
    model, wanted = make(), by_hand(1)
    before = np.asarray(model(VIDEOS))
    for layer in (None, "second"):
        explainer = tfcam.Explainer(model, layer, preprocess=None)
        for _ in range(2):  # eager, then compiled
            for found, raw in zip(explainer(VIDEOS, 1), wanted, strict=True):
                assert found.layer.endswith("second")
                assert found.heatmap.shape == (FRAMES, SIDE, SIDE)
                size = np.abs(raw).max()
                np.testing.assert_allclose(found.raw, raw, atol=rounding(50) * size)
    np.testing.assert_array_equal(model(VIDEOS), before)
    shapes = [entry.shape[1:] for entry in tfcam.layers(model)]
    assert shapes == [(16, 16, 4), (8, 8, 4), (8, 8, 6)]


def test_frames_that_stand_before_the_examples_are_refused():
    class TimeFirst(Folded):
        def call(self, videos):
            frames = tf.reshape(tf.transpose(videos, (1, 0, 2, 3, 4)), (-1, SIDE, SIDE, 3))
            features = tf.reshape(self.frame(frames), (FRAMES, -1, 6))
            return self.time(tf.transpose(features, (1, 0, 2)))

    model = TimeFirst()
    model(VIDEOS)
    with pytest.raises(ValueError, match="A layer with a map is needed"):
        tfcam.explain(model, VIDEOS, preprocess=None)
    assert tfcam.explain(model, VIDEOS, method="saliency", preprocess=None)[0].raw.any()


def recurrent(*sequences):
    x = video = keras.Input((FRAMES, SIDE, SIDE, 3))
    for number, each in enumerate(sequences):
        x = layers.ConvLSTM2D(4, 3, padding="same", return_sequences=each, name=f"state{number}")(x)
    x = layers.Flatten()(layers.BatchNormalization(name="norm")(x))
    return networks.seeded(keras.Model(video, layers.Dense(3)(x)))


def test_a_last_state_is_one_map_for_all_frames_and_says_so():
    model = recurrent(False)
    (found,) = tfcam.explain(model, VIDEOS[:1], target=1)
    assert (found.layer, found.raw.shape) == ("norm", (1, SIDE, SIDE))
    assert (found.heatmap == found.heatmap[:1]).all()
    (told,) = [each for each in found.findings if each.code == "no_time"]
    assert "'norm' lacks the input's first axis, of time or depth" in told.message
    assert "all 5 frames" in told.message
    state = keras.Model(model.input, model.get_layer("state0").output)(VIDEOS[:1])
    with tf.GradientTape() as tape:
        tape.watch(state)
        x = model.layers[-1](model.layers[-2](model.get_layer("norm")(state)))
        score = x[0, 1]
    wanted = replicas.grad_cam(state[0].numpy(), tape.gradient(score, state)[0].numpy())
    (at_state,) = tfcam.explain(model, VIDEOS[:1], "state0", target=1)
    np.testing.assert_allclose(at_state.raw[0], wanted, atol=rounding(50) * np.abs(wanted).max())


def test_by_default_a_map_with_time_is_explained_where_there_is_one():
    model = recurrent(True, False)
    assert tfcam.layers(model).default == "state0"
    (found,) = tfcam.explain(model, VIDEOS[:1], target=1)
    assert found.raw.shape == (FRAMES, SIDE, SIDE)
    assert "no_time" not in [each.code for each in found.findings]
    assert graph_of(model).open_layer("state1").tap.frames == 1
