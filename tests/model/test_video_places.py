"""Where a layer's cells look in a video: models that crop, mirror, resize it, or drop frames."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfcam
from tests.networks import Code

FRAMES, SIDE = 8, 24
# One bright block: its frames, rows and columns.
BLOCK = (slice(4, 6), slice(6, 10), slice(14, 18))


def frames(function):
    """What is done to each frame, as code does it: the frames become a batch."""

    def call(video):
        made = function(tf.reshape(video, (-1, *video.shape[2:])))
        return tf.reshape(made, (-1, video.shape[1], *made.shape[1:]))

    return Code(call)


def brightness(*steps, layer=None):
    """A network whose map is how bright its input is, after some steps."""
    inputs = x = keras.Input((FRAMES, SIDE, SIDE, 3))
    for step in steps:
        x = step(x)
    ones = {"name": "conv", "activation": "relu", "kernel_initializer": "ones"}
    x = (layer or layers.Conv3D(1, 1, **ones))(x)
    x = layers.GlobalAveragePooling3D()(x)
    return keras.Model(inputs, layers.Dense(2, kernel_initializer="ones")(x))


def video(block=BLOCK):
    clip = np.zeros((FRAMES, SIDE, SIDE, 3), np.float32)
    clip[block] = 1
    return clip


def explained(model, clip=None, **options):
    clip = video() if clip is None else clip
    return tfcam.explain(model, clip, target=0, preprocess=None, **options)


def codes(found):
    return [each.code for each in found.findings if each.code != "no_positive_evidence"]


def peak(heatmap):
    """The centre of what is above half of the maximum: its frame, row and column."""
    return np.argwhere(heatmap > 0.5).mean(axis=0) + 0.5


def of_frame(picture):
    """The same for each frame, as a layer of Keras's own."""
    return layers.TimeDistributed(picture)


MOVES = {
    "cropped in time": [layers.Cropping3D(((3, 1), (0, 0), (0, 0)))],
    "cropped": [layers.Cropping3D((0, (4, 2), (9, 1)))],
    "cropped, code": [Code(lambda v: v[:, 2:7, 3:, 8:-2])],
    "padded": [layers.ZeroPadding3D((2, 4, 6))],
    "reflected": [Code(lambda v: tf.pad(v, [[0, 0], [0, 0], [3, 3], [5, 2], [0, 0]], "REFLECT"))],
    "cropped, then padded": [layers.Cropping3D((1, 4, 5)), layers.ZeroPadding3D((1, 4, 5))],
    "mirrored": [Code(lambda v: v[:, :, :, ::-1])],
    "backwards": [Code(lambda v: tf.reverse(v, [1]))],
    "every second frame": [Code(lambda v: v[:, ::2])],
    "some frames": [Code(lambda v: tf.gather(v, [1, 3, 4, 7], axis=1))],
    "shuffled": [Code(lambda v: tf.gather(v, [4, 1, 7, 0, 5, 2], axis=1))],
    "turned round in time": [Code(lambda v: tf.roll(v, 3, axis=1))],
    "a frame twice": [Code(lambda v: tf.gather(v, [0, 4, 4, 7], axis=1))],
    "the second half": [lambda v: ops.split(v, 2, axis=1)[1]],
    "halves the other way round": [lambda v: ops.concatenate([v[:, 4:], v[:, :4]], axis=1)],
    "one frame": [Code(lambda v: v[:, 4:5])],
    "cropped and resized, code": [
        frames(lambda f: tf.image.resize(tf.image.crop_to_bounding_box(f, 4, 8, 12, 16), (30, 20)))
    ],
    "cropped and resized": [
        of_frame(layers.CenterCrop(20, 16)),
        of_frame(layers.Resizing(16, 16)),
    ],
    "cropped between layers": [
        of_frame(layers.Conv2D(3, 3, padding="same", kernel_initializer="ones")),
        layers.Cropping3D((0, (4, 2), (9, 1))),
    ],
    "two of these": [layers.Cropping3D((0, (4, 2), (9, 1))), Code(lambda v: v[:, ::2, :, ::-1])],
}


@pytest.mark.parametrize("moved", MOVES)
@pytest.mark.thinned(6, rest="slow")
def test_a_map_is_bright_where_the_video_is(moved):
    found = explained(brightness(*MOVES[moved]))
    assert found.heatmap.shape == (FRAMES, SIDE, SIDE)
    assert codes(found) == []
    np.testing.assert_allclose(peak(found.heatmap)[1:], (8, 16), atol=0.7)
    assert int(found.heatmap.max(axis=(1, 2)).argmax()) in (4, 5)


def test_frames_that_are_not_taken_are_dark():
    bright = np.ones((FRAMES, SIDE, SIDE, 3), np.float32)
    for moved, taken in {"every second frame": (0, 2, 4, 6), "some frames": (1, 3, 4, 7)}.items():
        lit = explained(brightness(*MOVES[moved]), bright).heatmap.max(axis=(1, 2))
        np.testing.assert_array_equal(lit, np.isin(range(FRAMES), taken))
    cropped = explained(brightness(*MOVES["cropped, code"]), bright).heatmap
    seen = np.zeros_like(cropped)
    seen[2:7, 3:, 8:-2] = 1
    np.testing.assert_array_equal(cropped, seen)


def test_frames_before_a_layer_that_goes_through_time():
    ones = {"kernel_initializer": "ones", "recurrent_initializer": "zeros", "padding": "same"}
    step = layers.ConvLSTM2D(1, 1, return_sequences=True, name="conv", **ones)
    found = explained(brightness(*MOVES["two of these"], layer=step))
    assert (found.layer, codes(found)) == ("conv", [])
    np.testing.assert_allclose(peak(found.heatmap)[1:], (8, 16), atol=0.7)
    assert int(found.heatmap.max(axis=(1, 2)).argmax()) == 4


def test_frames_that_go_through_a_network_one_by_one_are_those_that_are_taken():
    """Four frames of eight, each as a picture of its own: the map of each is where it was."""
    step = of_frame(layers.Conv2D(1, 1, kernel_initializer="ones", name="each"))
    found = explained(brightness(*MOVES["some frames"], layer=step))
    assert (found.layer.rpartition("/")[2], codes(found)) == ("each", [])
    np.testing.assert_allclose(peak(found.heatmap), (4.5, 8, 16), atol=0.6)


@pytest.mark.parametrize("frames_of_clip", [8, 12])
def test_every_second_frame_where_the_number_of_frames_is_open(frames_of_clip):
    inputs = keras.Input((None, SIDE, SIDE, 3))
    x = layers.Conv3D(1, 1, kernel_initializer="ones", name="conv")(inputs[:, 1::2, 4:])
    x = layers.GlobalAveragePooling3D()(x)
    model = keras.Model(inputs, layers.Dense(2, kernel_initializer="ones")(x))
    bright = np.ones((frames_of_clip, SIDE, SIDE, 3), np.float32)
    lit = explained(model, bright).heatmap
    np.testing.assert_array_equal(lit.max(axis=(1, 2)), np.arange(frames_of_clip) % 2)
    np.testing.assert_array_equal(lit[1, :, 0], np.arange(SIDE) >= 4)


def brightest(video):
    """The two frames that are brightest, as the video itself tells."""
    order = tf.argsort(tf.reduce_mean(video, axis=(2, 3, 4)), direction="DESCENDING")
    return tf.gather(video, order[:, :2], axis=1, batch_dims=1)


def one_by_one(video):
    """What happens inside of a loop is not looked into."""
    return tf.map_fn(lambda clip: tf.image.resize(clip[:, 4:], (12, 24)), video)


def turned(video):
    return tf.transpose(video, (0, 1, 3, 2, 4))


def turned_round(pictures):
    angles = np.array([[0.8, -0.6, 8.0, 0.6, 0.8, -3.0, 0.0, 0.0]], np.float32)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=angles,
        output_shape=(SIDE, SIDE),
        fill_value=0.0,
        interpolation="BILINEAR",
    )


@pytest.mark.parametrize(
    "step", [Code(brightest), Code(turned), Code(one_by_one), frames(turned_round)]
)
def test_what_can_not_be_followed_is_told(step):
    """Also behind a step that is not followed itself, and beside what is."""
    found = explained(brightness(step, layers.Cropping3D((0, 2, 2))))
    assert codes(found) == ["place_unknown"]


def test_two_ways_of_which_one_takes_few_frames():
    """Slow and fast, as in SlowFast: each cell of either lies in the same part of the video."""
    video = keras.Input((FRAMES, SIDE, SIDE, 3))
    slow = layers.Conv3D(4, (1, 3, 3), padding="same")(video[:, ::4])
    fast = layers.Conv3D(2, (4, 1, 1), strides=(4, 1, 1))(video)
    x = layers.Conv3D(4, 1, name="both")(layers.Concatenate()([slow, fast]))
    model = keras.Model(video, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
    assert codes(explained(model)) == []
    moved = layers.Conv3D(4, (4, 3, 3), strides=(4, 1, 1))(video[:, :, ::-1])
    cropped = layers.Conv3D(2, (4, 3, 3), strides=(4, 1, 1))(video)
    x = layers.Conv3D(4, 1, name="both")(layers.Concatenate()([moved, cropped]))
    model = keras.Model(video, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
    assert codes(explained(model)) == ["place_unknown"]
