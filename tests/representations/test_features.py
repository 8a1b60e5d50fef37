"""The strongest channels of a layer are those that plain Keras and NumPy find."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks

PICTURE = tfcam.scenes.draw_scene(1).image


def given_by(model, layer, inputs):
    inner = keras.Model(model.input, model.get_layer(layer).output)
    return inner(inputs, training=False).numpy()


@pytest.mark.parametrize("by", ["mean", "max"])
def test_the_strongest_channels_are_found_in_order(by):
    model = networks.flat()
    inputs = networks.pictures(1)
    found = tfcam.features(model, inputs[0], "features", count=5, by=by, preprocess=None)
    values = given_by(model, "features", inputs)[0].astype(np.float64)
    strengths = getattr(values.reshape(-1, values.shape[-1]), by)(axis=0)
    wanted = sorted(range(len(strengths)), key=lambda k: (-strengths[k], k))[:5]
    assert list(found.channels) == wanted
    np.testing.assert_allclose(found.strengths, strengths[wanted], rtol=1e-5)
    for number, channel in enumerate(wanted):
        np.testing.assert_allclose(found.maps[number], values[..., channel], rtol=1e-5, atol=1e-7)
    assert found.count == values.shape[-1]
    assert found.layer == "features"


def test_of_equal_channels_the_first_comes_first():
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(3, 1, name="conv", kernel_initializer="ones")]
    )
    found = tfcam.features(network, np.ones((4, 4, 1), np.float32), "conv", preprocess=None)
    assert found.channels == (0, 1, 2)
    np.testing.assert_array_equal(found.strengths, [1, 1, 1])


def test_tokens_are_laid_out_on_their_grid():
    from tests.kinds import KINDS

    case = KINDS["transformer with a class token"].build()
    found = tfcam.features(case.model, case.inputs[0], case.layer, count=2, preprocess=None)
    assert found.maps.shape == (2, *case.grid)
    tokens = given_by(case.twin, case.inner, case.given[:1])[0, case.prefix :]
    for channel, each in zip(found.channels, found.maps, strict=True):
        np.testing.assert_allclose(each.ravel(), tokens[:, channel], rtol=1e-4, atol=1e-6)


def test_channels_are_drawn_on_one_scale(tmp_path):
    found = tfcam.features(tfcam.demo_model(), PICTURE, count=4)
    figure = found.plot("gray")
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images][:5]
    largest = [int(each.max()) for each in pictures[1:]]
    peaks = found.maps.max(axis=(1, 2)) / found.maps.max()
    np.testing.assert_allclose(largest, 255 * peaks, atol=8)  # resizing lowers a peak
    texts = " ".join(text.get_text() for text in figure.texts)
    for channel, strength in zip(found.channels, found.strengths, strict=True):
        assert f"channel {channel}\nmean {strength:.3g}" in texts
    assert "strongest 4 of 64 channels of features" in texts
    assert found.save(tmp_path / "channels.png").read_bytes()[:4] == b"\x89PNG"


def test_they_are_saved_whole_and_loaded_equal(tmp_path):
    found = tfcam.features(tfcam.demo_model(), PICTURE, count=4)
    loaded = tfcam.Features.load(found.save(tmp_path / "channels.npz"))
    assert loaded == found
    assert (loaded.channels, repr(loaded)) == (found.channels, repr(found))
    assert loaded != dataclasses.replace(found, strengths=found.strengths + 1)
    assert "channel" in repr(found)
    assert found._repr_png_()[:4] == b"\x89PNG"


def test_dead_channels_are_drawn_dark():
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Conv2D(2, 1, name="conv", kernel_initializer="zeros")]
    )
    found = tfcam.features(network, np.ones((4, 4, 1), np.float32), "conv", preprocess=None)
    dark = found.plot("gray").axes[1].images[0].get_array()
    assert dark.max() == 0


def test_bad_requests_are_told():
    demo = tfcam.demo_model()
    with pytest.raises(ValueError, match="by must be one of .*mean.*max.*got 'sum'"):
        tfcam.features(demo, PICTURE, by="sum")
    with pytest.raises(ValueError, match="count must be"):
        tfcam.features(demo, PICTURE, count=0)
    with pytest.raises(ValueError, match="No layer 'featurs'.*features"):
        tfcam.features(demo, PICTURE, "featurs")
    with pytest.raises(ValueError, match="features takes one image"):
        tfcam.features(demo, [PICTURE, PICTURE])
    with pytest.raises(ValueError, match="A grid of channels is saved as .png, .pdf, .svg or"):
        tfcam.features(demo, PICTURE, count=1).save("channels.txt")
    series = keras.Sequential(
        [keras.Input((8, 2)), layers.Conv1D(3, 3, name="conv"), layers.GlobalAveragePooling1D()]
    )
    with pytest.raises(ValueError, match="features draws the maps of images"):
        tfcam.features(series, np.ones((8, 2), np.float32), "conv")
