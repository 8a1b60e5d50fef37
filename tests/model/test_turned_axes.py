"""Layers whose rows and columns have changed places, or whose channels have left theirs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import relative

TALL = np.random.default_rng(0).normal(size=(16, 24, 1)).astype(np.float32)


class Turn(layers.Layer):
    def call(self, x):
        return tf.transpose(x, (0, 2, 1, 3))


def convolved(name="before"):
    ends = keras.Input((16, 24, 1))
    return ends, layers.Conv2D(8, 3, padding="same", activation="relu", name=name)(ends)


def read_by_columns(turn):
    """As texts and spectrograms are read: each column is a step in time."""
    ends, x = convolved()
    x = layers.Reshape((24, 16 * 8))(turn(x))
    return keras.Model(ends, layers.Dense(3)(layers.GRU(8)(x)))


def turned_and_convolved():
    ends, x = convolved()
    x = layers.Permute((2, 1, 3), name="turned")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="after")(x)
    return keras.Model(ends, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    "turn",
    [
        layers.Permute((2, 1, 3), name="turned"),
        Turn(name="turned"),
        layers.Lambda(lambda x: keras.ops.transpose(x, (0, 2, 1, 3)), name="turned"),
        layers.Lambda(lambda x: keras.ops.einsum("bhwc->bwhc", x), name="turned"),
    ],
    ids=["Permute", "a layer of one's own", "Lambda", "einsum"],
)
@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "eigen_cam"])
@pytest.mark.thinned(2)
def test_a_turned_layers_map_lies_where_that_before_it_does(turn, method):
    model = networks.seeded(read_by_columns(turn))
    before, turned = (
        tfcam.explain(model, TALL, layer, method=method, preprocess=None, target=1)
        for layer in ("before", "turned")
    )
    assert turned.heatmap.shape == (16, 24)
    assert relative(turned.heatmap, before.heatmap) < 1e-4
    assert turned.findings == before.findings
    assert tfcam.explain(model, TALL, preprocess=None).layer == "turned"


def test_convolutions_of_what_is_turned_lie_where_they_look():
    """The twin turns the picture, and its map, instead of what the first layer makes of it."""
    model = networks.seeded(turned_and_convolved())
    ends = keras.Input((24, 16, 1))
    first = layers.Conv2D(8, 3, padding="same", activation="relu")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="after")(first(ends))
    twin = keras.Model(ends, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    twin.set_weights(model.get_weights())
    kernel = model.get_layer("before").kernel.numpy()
    first.kernel.assign(kernel.transpose(1, 0, 2, 3))
    found = tfcam.explain(model, TALL, target=0, preprocess=None)
    wanted = tfcam.explain(twin, TALL.transpose(1, 0, 2), "after", target=0, preprocess=None)
    assert (found.layer, found.score) == ("after", pytest.approx(wanted.score, rel=1e-4))
    assert relative(found.heatmap, wanted.heatmap.T) < 1e-4
    # And in the other doors.
    both = tfcam.explain(model, TALL, ["before", "after"], target=0, preprocess=None, fuse="max")
    assert (both.heatmap >= found.heatmap - 1e-5).all()
    asked = {"layers": ["after"], "methods": ["grad_cam"], "targets": [0]}
    (cell,) = tfcam.compare(model, TALL, preprocess=None, **asked)
    np.testing.assert_allclose(cell.heatmap, found.heatmap, atol=1e-5)


def test_channels_that_left_their_place_are_no_map():
    ends, x = convolved()
    x = layers.Rescaling(1.5, name="first")(layers.Permute((3, 1, 2), name="moved")(x))
    x = layers.Conv2D(8, 3, activation="relu", name="after")(layers.Permute((2, 3, 1))(x))
    model = keras.Model(ends, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    listed = [entry.path for entry in tfcam.layers(model)]
    assert {"before", "after"} <= set(listed)
    assert not {"moved", "first"} & set(listed)
    for layer in ("moved", "first"):
        with pytest.raises(ValueError, match=f"those of '{layer}' have changed places"):
            tfcam.explain(model, TALL, layer, preprocess=None)


def test_a_layer_without_positions_is_none_of_these():
    """In a model with channels first, either."""
    ends = keras.Input((1, 16, 24))
    x = layers.Conv2D(8, 3, data_format="channels_first", name="before")(ends)
    x = layers.GlobalAveragePooling2D(data_format="channels_first", name="mean")(x)
    model = keras.Model(ends, layers.Dense(3)(x))
    with pytest.raises(ValueError, match="'mean' gives \\(1, 8\\)") as caught:
        tfcam.explain(model, np.zeros((1, 16, 24), np.float32), "mean", preprocess=None)
    assert "changed places" not in str(caught.value)
    flat = keras.Model(ends, layers.Dense(3)(layers.Flatten()(ends)))
    with pytest.raises(ValueError, match="map is needed") as caught:
        tfcam.explain(flat, np.zeros((1, 16, 24), np.float32), preprocess=None)
    assert "moves the axes" not in str(caught.value)


def test_an_input_whose_axes_are_moved_first_is_told():
    ends = keras.Input((3, 16, 24))
    x = layers.Conv2D(4, 3, name="conv")(layers.Permute((2, 3, 1))(ends))
    model = keras.Model(ends, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match="It moves the axes of its input"):
        tfcam.explain(model, np.zeros((3, 16, 24), np.float32), preprocess=None)


def test_times_that_change_places_with_rows_are_told():
    ends = keras.Input((4, 8, 10, 2))
    x = layers.Permute((2, 3, 1, 4), name="turned")(layers.Conv3D(4, 3, name="conv")(ends))
    model = networks.seeded(keras.Model(ends, layers.Dense(3)(layers.GlobalAveragePooling3D()(x))))
    video = np.random.default_rng(1).normal(size=(4, 8, 10, 2)).astype(np.float32)
    codes = [
        [each.code for each in tfcam.explain(model, video, layer, preprocess=None).findings]
        for layer in ("turned", "conv")
    ]
    assert codes == [["place_unknown"], []]
