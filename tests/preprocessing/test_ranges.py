"""Floats of 0..255 are pixels where a model is known to want other values; else doubted."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import tfcam
from tests.tolerances import rounding
from tfcam.model.graph import graph_of
from tfcam.preprocessing.prepare import are_pixels, prepare
from tfcam.preprocessing.ranges import Range

PICTURE = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
FLOATS = PICTURE.astype(np.float32)
DARK = np.random.default_rng(4).uniform(0, 0.9, (8, 8, 3)).astype(np.float32)


def small(name="mine", scale=None):
    """A classifier under a name, which may scale its input."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    x = inputs if scale is None else scale(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu", name="conv")(x))
    return keras.Model(inputs, layers.Dense(3, "softmax")(x), name=name)


def codes(explanation):
    return [finding.code for finding in explanation.findings]


KNOWN = {
    "tf": small("mobilenetv2_1.00_224"),
    "caffe": small("vgg16"),
    "torch": small("densenet121"),
    "unit": small(scale=layers.Rescaling(255.0)),
    "raw": small(scale=layers.Rescaling(1 / 255)),
}


@pytest.mark.parametrize("mode", KNOWN)
@pytest.mark.parametrize("size", [(8, 8), (13, 11)])
def test_floats_of_pixels_are_explained_as_the_uint8_picture_is(mode, size):
    picture = np.resize(PICTURE, (*size, 3))
    wanted = tfcam.explain(KNOWN[mode], picture, target=1)
    found = tfcam.explain(KNOWN[mode], picture.astype(np.float32), target=1)
    np.testing.assert_allclose(found.heatmap, wanted.heatmap, atol=1e-5)
    assert found.probability == pytest.approx(wanted.probability, rel=1e-5)
    assert codes(found) == codes(wanted)
    if mode != "raw" or size != (8, 8):
        assert found.preprocessing == f"floats of 0..255 as pixels: {wanted.preprocessing}"
        np.testing.assert_array_equal(found.image, picture)


def test_none_takes_floats_as_they_are():
    prepared = prepare(graph_of(KNOWN["tf"]), [FLOATS], None)
    np.testing.assert_array_equal(prepared.inputs[0], FLOATS)
    assert "input_range" in codes(tfcam.explain(KNOWN["tf"], FLOATS, preprocess=None))


@pytest.mark.parametrize("mode", ["tf", "caffe", "torch", "unit"])
def test_what_was_prepared_is_taken_as_it_is(mode):
    graph = graph_of(KNOWN[mode])
    ready = prepare(graph, [PICTURE], "auto").inputs
    again = prepare(graph, list(ready), "auto")
    np.testing.assert_array_equal(again.inputs, ready)
    assert again.description == "none: given as prepared"
    assert not codes(tfcam.explain(KNOWN[mode], ready[0]))


def test_a_batch_is_judged_as_a_whole():
    """A dark picture is one of its batch, even computed apart; alone it is doubted."""
    model = KNOWN["tf"]
    explainer = tfcam.Explainer(model, batch_size=1)
    (dark, _), picture = explainer([DARK, FLOATS], target=0), np.rint(DARK).astype(np.uint8)
    wanted = tfcam.explain(model, picture, target=0)
    np.testing.assert_allclose(dark.raw, wanted.raw, atol=10 * rounding(wanted.raw))
    assert dark.preprocessing.startswith("floats of 0..255 as pixels")
    alone = tfcam.explain(model, DARK, target=0)
    assert alone.preprocessing == "none: given as prepared"
    assert codes(alone) == ["input_range"]


def test_a_stream_and_a_comparison_take_floats_of_pixels_likewise(tmp_path):
    model = KNOWN["tf"]
    wanted = tfcam.explain(model, PICTURE, target=0)
    store = tfcam.stream(model, [FLOATS, FLOATS[::-1]], to=tmp_path / "maps", target=0)
    streamed = store.explanation("000000")
    np.testing.assert_allclose(streamed.raw, wanted.raw, atol=10 * rounding(wanted.raw))
    compared = tfcam.compare(model, FLOATS, methods=["grad_cam"], targets=[0])
    assert compared[0, 0].preprocessing == f"floats of 0..255 as pixels: {wanted.preprocessing}"


def test_values_that_a_filter_overshot_are_cut():
    floats = FLOATS.copy()
    floats[0, 0] = -4.0, 258.0, 100.0
    prepared = prepare(graph_of(KNOWN["tf"]), [floats], "auto")
    np.testing.assert_allclose(prepared.inputs[0, 0, 0], [-1, 1, 100 / 127.5 - 1], atol=1e-6)


def test_floats_of_pixels_for_a_model_that_tells_nothing_are_doubted():
    found = tfcam.explain(small(), FLOATS, target=0)
    assert codes(found) == ["pixels_as_prepared"]
    assert "preprocess='unit' (0..1)" in str(found)
    of_12_bits = tfcam.explain(small(), np.rint(16 * FLOATS), target=0)
    assert codes(of_12_bits) == ["pixels_as_prepared"]
    assert not codes(tfcam.explain(small(), np.rint(16 * FLOATS), target=0, preprocess=None))
    for preprocess in (None, "unit"):
        assert not codes(tfcam.explain(small(), FLOATS, target=0, preprocess=preprocess))
    assert not codes(tfcam.explain(small(), FLOATS / 127.5 - 1, target=0))


def test_whole_numbers_that_a_range_of_means_could_hold_are_pixels():
    """Of 0..100 caffe's range holds all, but what has a mean taken off is never whole."""
    whole = np.minimum(FLOATS, 100)
    assert are_pixels(graph_of(KNOWN["caffe"]), [whole], "auto")
    assert not are_pixels(graph_of(KNOWN["caffe"]), [whole + 0.32], "auto")


@pytest.mark.slow
def test_a_real_photo_as_keras_loads_it(mobilenet, data):
    path = data / "images/classic/dog_and_cat.png"
    wanted = tfcam.explain(mobilenet, path)
    loaded = keras.utils.img_to_array(keras.utils.load_img(path))
    for given in (loaded, loaded[None]):
        found = tfcam.explain(mobilenet, given)
        found = found if isinstance(found, tfcam.Explanation) else found[0]
        assert found.target == wanted.target == 243
        assert found.probability == pytest.approx(wanted.probability, abs=1e-5)


@pytest.mark.parametrize(("most", "black"), [(1023, True), (4095, True), (65535, False)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_values_of_few_bits_in_a_file_of_16_are_told(tmp_path, form, most, black):
    values = np.linspace(0, most, 64).astype(np.uint16).reshape(8, 8)
    path = tmp_path / f"scan.{form.lower()}"
    Image.fromarray(values).save(path)
    found = tfcam.explain(KNOWN["raw"], path, target=0)
    assert ("nearly_black" in codes(found)) == black
    if black:
        assert f"largest value is {round(most / 257)} of 255" in str(found)


@pytest.mark.parametrize("value", [0, 9, 255])
def test_a_picture_of_one_colour_hides_nothing(value):
    picture = np.full((8, 8, 3), value, np.uint8)
    assert "nearly_black" not in codes(tfcam.explain(KNOWN["raw"], picture, target=0))


def test_contrast_is_that_of_each_channel_by_itself():
    known = Range(-1.0, 1.0, "divided by 127.5, less 1, as somebody says")
    colour = np.broadcast_to(np.float32([0.1, 0.5, 0.9]), (6, 4, 3))
    assert known.fits(colour)  # of one colour: nothing can be told
    for place in [(0, 0), (5, 3)]:
        for channel in range(3):
            varying = colour.copy()
            varying[(*place, channel)] = 0.3
            assert not known.fits(varying)  # in 0..1 alone, where -1..1 is taken
