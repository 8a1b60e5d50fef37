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


TURNS_OF_CHANNELS = {
    "permute": layers.Permute((2, 3, 1)),
    "columns first": layers.Permute((3, 2, 1)),
    "scaled before": lambda x: layers.Permute((2, 3, 1))(layers.Rescaling(1.0)(x)),
    "transpose": lambda x: keras.ops.transpose(x, (0, 2, 3, 1)),
    "moveaxis": lambda x: keras.ops.moveaxis(x, 1, -1),
    "swapaxes": lambda x: keras.ops.swapaxes(keras.ops.swapaxes(x, 1, 2), 2, 3),
    "code": layers.Lambda(lambda x: tf.transpose(x, (0, 2, 3, 1))),
}


def turning(turn):
    """A network whose map is how bright its input is, which has the channels first."""
    ends = keras.Input((3, 48, 64))
    conv = layers.Conv2D(1, 1, activation="relu", kernel_initializer="ones", name="conv")
    pooled = layers.GlobalAveragePooling2D()(conv(turn(ends)))
    return keras.Model(ends, layers.Dense(2, kernel_initializer="ones")(pooled))


@pytest.mark.parametrize("name", TURNS_OF_CHANNELS)
def test_an_input_with_channels_first_that_the_model_turns_is_explained(name):
    image = np.zeros((3, 48, 64), np.float32)
    image[:, 20:24, 36:40] = 1
    result = tfcam.explain(turning(TURNS_OF_CHANNELS[name]), image, preprocess=None, target=1)
    wanted = np.zeros((48, 64))
    wanted[20:24, 36:40] = 1
    assert result.layer == "conv"
    np.testing.assert_allclose(result.heatmap, wanted, atol=1e-6)
    assert result.findings == ()


def test_every_door_turns_pictures_for_such_a_model(tmp_path):
    """As for the same network behind an input of pictures."""
    turned = turning(TURNS_OF_CHANNELS["permute"])
    plain = keras.Sequential([keras.Input((48, 64, 3)), *turned.layers[2:]])
    pictures = list(np.random.default_rng(2).integers(0, 256, (2, 48, 64, 3)).astype(np.uint8))
    options = {"preprocess": "unit"}

    def answers(model):
        yield tfcam.explain(model, pictures[0], **options).raw
        yield tfcam.explain(model, pictures[0], method="saliency", **options).raw
        yield tfcam.compare(model, pictures[0], methods=["layer_cam"], **options)[0, 0].raw
        found = tfcam.evaluate(model, pictures, methods=["cam"], metrics=["deletion"], **options)
        yield found.summary["mean"]
        tfcam.stream(model, pictures, to=tmp_path / model.name, method="hires_cam", **options)
        yield tfcam.open_store(tmp_path / model.name, data=pictures)[1].heatmap

    for ours, wanted in zip(answers(turned), answers(plain), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


def test_an_input_whose_rows_become_channels_is_told():
    ends = keras.Input((24, 8, 16))
    x = layers.Conv2D(4, 3, name="conv")(layers.Permute((2, 3, 1))(ends))
    model = keras.Model(ends, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match="It moves the axes of its input"):
        tfcam.explain(model, np.zeros((24, 8, 16), np.float32), preprocess=None)


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
