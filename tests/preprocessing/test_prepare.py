"""From pictures to the model's input: exact pixels, and how the range is told or asked for."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import applications, layers
from PIL import Image

import tfcam
from tests.tolerances import ROUNDED, rounding
from tfcam.images.loading import resize_image
from tfcam.model.graph import graph_of
from tfcam.preprocessing.modes import choose_preprocessing
from tfcam.preprocessing.prepare import prepare

PICTURE = np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)


def ready(model, pictures, preprocess="auto"):
    return prepare(graph_of(model), pictures, preprocess)


def network(begin=lambda x: x, shape=(8, 8, 3), name=None):
    """A tiny classifier that begins in a given way."""
    inputs = keras.Input(shape)
    x = layers.Conv2D(2, 3, activation="relu", name="conv")(begin(inputs))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x), name=name)


@pytest.fixture(scope="module")
def plain():
    return network()


# --- modes: each against the arithmetic in float64 ------------------------------------------


def raw(pixels):
    return pixels


def unit(pixels):
    return pixels / 255


def minus_one_to_one(pixels):
    return pixels / 127.5 - 1


def torch(pixels):
    """ImageNet's mean and deviation of R, G, B in 0..1."""
    return (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]


def caffe(pixels):
    """B, G, R of 0..255 minus ImageNet's mean of each."""
    return np.stack(
        [pixels[..., 2] - 103.939, pixels[..., 1] - 116.779, pixels[..., 0] - 123.68], axis=-1
    )


REPLICAS = {"raw": raw, "unit": unit, "tf": minus_one_to_one, "torch": torch, "caffe": caffe}


@pytest.mark.parametrize(
    ("preprocess", "mode"),
    [
        *((mode, mode) for mode in REPLICAS),
        ("vgg16", "caffe"),
        ("resnet", "caffe"),
        ("resnet_v2", "tf"),
        ("mobilenet_v2", "tf"),
        ("densenet", "torch"),
        ("efficientnet", "raw"),
        ("convnext", "raw"),
    ],
)
def test_a_mode_is_its_arithmetic(plain, preprocess, mode):
    given = PICTURE.copy()
    prepared = ready(plain, [PICTURE, PICTURE[::-1]], preprocess)
    expected = REPLICAS[mode](np.stack([given, given[::-1]]).astype(np.float64))
    assert prepared.inputs.dtype == np.float32
    np.testing.assert_allclose(prepared.inputs, expected, atol=rounding(expected))
    assert prepared.bgr == (mode == "caffe")
    assert prepared.description.endswith(", as given")
    np.testing.assert_array_equal(prepared.images, [given, given[::-1]], strict=False)
    np.testing.assert_array_equal(PICTURE, given)


def test_pictures_are_resized_as_pictures_and_then_prepared(plain):
    large = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    prepared = ready(plain, [large, PICTURE], "unit")
    np.testing.assert_array_equal(prepared.images[0], large)
    np.testing.assert_allclose(prepared.inputs[0], resize_image(large, (8, 8)) / 255, atol=ROUNDED)
    np.testing.assert_allclose(prepared.inputs[1], PICTURE / 255, atol=ROUNDED)


def test_every_form_of_one_picture_gives_the_same_input(plain, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    file = io.BytesIO(path.read_bytes())
    forms = [path, str(path), path.read_bytes(), file, Image.fromarray(PICTURE), PICTURE]
    forms += [
        PICTURE[None],
        tf.constant(PICTURE),
        PICTURE.astype(np.int64),
        np.asfortranarray(PICTURE),
    ]
    prepared = ready(plain, forms, "raw")
    np.testing.assert_array_equal(prepared.inputs, np.stack([PICTURE] * len(forms)))
    np.testing.assert_array_equal(prepared.images, np.stack([PICTURE] * len(forms)))


# --- "auto": what a model tells of itself ---------------------------------------------------


def normalization(largest):
    """Adapted to pixels of 0..largest."""
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, largest, (16, 8, 8, 3)).astype("float32"))
    return layer


class Halved(layers.Layer):
    """Scales 0..255 to -1..1."""

    def call(self, pixels):
        return pixels / 127.5 - 1


def batch_normalization(mean, variance):
    """With statistics, as training leaves them."""
    layer = layers.BatchNormalization()
    layer.build((None, 8, 8, 3))
    layer.set_weights([np.ones(3), np.zeros(3), np.full(3, mean), np.full(3, variance)])
    return layer


BEGINNINGS = {
    "Rescaling(1/255)": (lambda: layers.Rescaling(1 / 255), "raw"),
    "Rescaling(1/127.5, -1)": (lambda: layers.Rescaling(1 / 127.5, -1), "raw"),
    "Rescaling(255)": (lambda: layers.Rescaling(255), "unit"),
    "Rescaling(2, -1)": (lambda: layers.Rescaling(2, -1), "unit"),
    "Rescaling of each channel": (lambda: layers.Rescaling([1 / 255, 1 / 128, 1 / 64]), "raw"),
    "Normalization of 0..255": (lambda: normalization(255), "raw"),
    "Normalization of 0..1": (lambda: normalization(1), "unit"),
    "RandomFlip, Rescaling": (
        lambda: keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)]),
        "raw",
    ),
    "Resizing, Normalization": (
        lambda: keras.Sequential([layers.Resizing(8, 8), normalization(1)]),
        "unit",
    ),
    "x / 255": (lambda: lambda x: x / 255.0, "raw"),
    "2 x - 1": (lambda: lambda x: 2 * x - 1, "unit"),
    "(x - 0.5) / 0.5": (lambda: lambda x: (x - 0.5) / 0.5, "unit"),
    "Lambda": (lambda: layers.Lambda(lambda x: x / 255.0), "raw"),
    "a custom layer": (lambda: Halved(), "raw"),
    "each by its own values": (
        lambda: layers.Lambda(tf.image.per_image_standardization),
        "raw",
    ),
    "BatchNormalization of 0..255": (lambda: batch_normalization(120.0, 4000.0), "raw"),
    "BatchNormalization of 0..1": (lambda: batch_normalization(0.4, 0.07), "unit"),
    "resized, scaled, cut": (
        lambda: lambda x: layers.CenterCrop(8, 8)(layers.Resizing(12, 12)(x) / 255.0),
        "raw",
    ),
    "mobilenet_v2": (lambda: applications.mobilenet_v2.preprocess_input, "raw"),
    "densenet": (lambda: applications.densenet.preprocess_input, "raw"),
    "vgg16": (lambda: applications.vgg16.preprocess_input, "raw"),
}


@pytest.mark.thinned(46)
@pytest.mark.parametrize("form", ["functional", "in front of a named backbone", "nested twice"])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_model_that_scales_inside_takes_what_that_takes(beginning, form):
    make, mode = BEGINNINGS[beginning]
    begin, inputs = make(), keras.Input((8, 8, 3))
    if form == "functional":
        model = network(begin)
    elif form == "nested twice":
        model = keras.Sequential([inputs, keras.Sequential([network(begin)])])
    else:
        model = keras.Model(inputs, network(name="mobilenetv2_1.00_224")(begin(inputs)))
    prepared = ready(model, [PICTURE])
    wanted = REPLICAS[mode](PICTURE[None] / 1.0)
    np.testing.assert_allclose(prepared.inputs, wanted, atol=rounding(wanted))
    assert prepared.description.endswith(" is inside") or "scaled inside" in prepared.description


def in_sequential(backbone):
    return keras.Sequential([keras.Input(backbone.input_shape[1:]), layers.RandomFlip(), backbone])


def in_functional(backbone):
    inputs = keras.Input(backbone.input_shape[1:])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(backbone(inputs)))


FORMS = [lambda backbone: backbone, in_sequential, in_functional]


@pytest.mark.parametrize("within", FORMS)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("vgg16", "caffe"),
        ("resnet101", "caffe"),
        ("resnet50v2", "tf"),
        ("densenet169", "torch"),
        ("xception", "tf"),
        ("mobilenet_1.00_224", "tf"),
        ("MobileNetV3Large", "tf"),  # has no Rescaling: built with include_preprocessing=False
        ("efficientnetv2-b0", "torch"),
        ("convnext_tiny", "torch"),
    ],
)
def test_a_network_of_keras_applications_is_told_by_its_name(name, mode, within):
    prepared = ready(within(network(name=name)), [PICTURE])
    wanted = REPLICAS[mode](PICTURE / 1.0)
    np.testing.assert_allclose(prepared.inputs[0], wanted, atol=rounding(wanted))
    assert prepared.bgr == (mode == "caffe")
    assert prepared.description.endswith(" was trained")


@pytest.mark.parametrize("within", FORMS)
def test_a_real_mobilenet_v2(within):
    size = {"input_shape": (32, 32, 3), "alpha": 0.35, "include_top": False, "pooling": "avg"}
    model = within(applications.MobileNetV2(weights=None, **size))
    prepared = ready(model, [PICTURE])
    expected = minus_one_to_one(resize_image(PICTURE, (32, 32)) / 1.0)
    np.testing.assert_allclose(prepared.inputs[0], expected, atol=ROUNDED)
    assert prepared.description == "scaled to -1..1, as mobilenet_v2 was trained"


class OutOfOrder(keras.Model):
    """Lists its layers in another order than it calls them."""

    def __init__(self, scale, last):
        super().__init__()
        self.head = layers.Dense(2)
        self.last = last
        self.conv = layers.Conv2D(2, 3)
        self.pool = layers.GlobalAveragePooling2D()
        self.scale = scale

    def call(self, images):
        return self.last(self.head(self.pool(self.conv(self.scale(images)))))


@pytest.mark.parametrize(
    ("scale", "last", "mode"),
    [(1 / 255, 255, "raw"), (255, 1 / 255, "unit"), (1 / 255, None, "raw"), (None, 255, None)],
)
def test_a_subclassed_model_is_read_in_the_order_in_which_it_runs(scale, last, mode):
    first, last = (layers.Identity() if s is None else layers.Rescaling(s) for s in (scale, last))
    model = OutOfOrder(first, last)
    model(np.zeros((1, 8, 8, 3), np.float32))
    if mode is None:  # scaling the scores says nothing of the pictures
        with pytest.raises(ValueError, match="can't be read from it"):
            ready(model, [PICTURE])
    else:
        inputs = ready(model, [PICTURE]).inputs
        wanted = REPLICAS[mode](PICTURE / 1.0)
        np.testing.assert_allclose(inputs[0], wanted, atol=rounding(wanted))


UNCLEAR = {
    "nothing": lambda x: x,
    "cut off at 1": lambda x: keras.ops.clip(x, 0.0, 1.0),
    "the root": lambda x: keras.ops.sqrt(x),
    "x / 65535": lambda x: x / 65535.0,
    "of no known mean": lambda x: (x - 0.1) / 30.0,
    "BatchNormalization": lambda x: layers.BatchNormalization()(x),
    "Rescaling after a convolution": lambda x: layers.Rescaling(255)(layers.Conv2D(3, 1)(x)),
    "Normalization not adapted": lambda x: layers.Normalization()(x),
    "Normalization of -1..1": lambda x: layers.Normalization(mean=[0.0] * 3, variance=[1.0] * 3)(x),
}


@pytest.mark.parametrize("beginning", UNCLEAR)
def test_a_model_that_tells_nothing_is_asked_about(beginning):
    model = network(UNCLEAR[beginning], name="mine")
    with pytest.raises(
        ValueError, match=r"How 'mine' wants its pictures .* preprocess='unit'"
    ) as e:
        ready(model, [PICTURE])
    assert "named as in" not in str(e.value)
    assert ready(model, [PICTURE], "unit").inputs.shape == (1, 8, 8, 3)


@pytest.mark.parametrize("beginning", ["cut off at 1", "the root", "of no known mean"])
def test_the_name_of_a_backbone_says_nothing_behind_what_is_unclear(beginning):
    backbone, inputs = network(name="mobilenetv2_1.00_224"), keras.Input((8, 8, 3))
    model = keras.Model(inputs, backbone(UNCLEAR[beginning](inputs)))
    with pytest.raises(ValueError, match="can't be read from it"):
        ready(model, [PICTURE])


def test_layer_names_are_a_hint_and_no_proof():
    base = applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    x = layers.GlobalAveragePooling2D()(base.output)
    model = keras.Model(base.input, layers.Dense(2)(x), name="mine")
    with pytest.raises(ValueError, match=r"named as in 'resnet' \(BGR, ImageNet mean taken off\)"):
        ready(model, [PICTURE])
    expected = caffe(resize_image(PICTURE, (32, 32)) / 1.0)
    found = ready(model, [PICTURE], "resnet").inputs[0]
    np.testing.assert_allclose(found, expected, atol=rounding(expected))


def test_an_unknown_name_is_told(plain):
    message = r"'auto', None, a callable, .*Window or one of raw, unit, .*'zip'"
    with pytest.raises(ValueError, match=message):
        ready(plain, [PICTURE], "zip")


def test_calls_are_read_only_where_they_are_needed(plain, monkeypatch):
    monkeypatch.setattr("tfcam.model.graph.read_calls", None)
    for model in (network(layers.Rescaling(1 / 255)), in_sequential(network(name="vgg16"))):
        assert choose_preprocessing(graph_of(model), "auto").description
    assert choose_preprocessing(graph_of(plain), "unit").description


# --- arrays of floats: already prepared -----------------------------------------------------


@pytest.mark.parametrize("preprocess", ["auto", None])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_a_float_array_is_the_input_itself(plain, dtype, preprocess):
    values = tf.cast(np.random.default_rng(1).normal(size=(8, 8, 3)), dtype)
    expected = tf.cast(values, tf.float32).numpy()
    for given in (values, values[None], values.numpy()):
        prepared = ready(plain, [given], preprocess)
        np.testing.assert_array_equal(prepared.inputs, expected[None], strict=True)
        assert prepared.description == "none: given as prepared"
        # What is shown is stretched to 0..255.
        shown = 255 * (expected - expected.min()) / np.ptp(expected)
        np.testing.assert_allclose(prepared.images[0], shown, atol=0.51)
        assert prepared.images[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("channels", "values", "shown"),
    [
        (1, [[[2.0], [4.0]]], [[[0] * 3, [255] * 3]]),
        (2, [[[2.0, 9], [4.0, 2]]], [[[0] * 3, [73] * 3]]),  # 255 (4 - 2) / 7 = 72.86
        (3, [[[7.0] * 3, [7.0] * 3]], [[[0] * 3, [0] * 3]]),
        (5, [[[0.0, 1, 2, 3, 5], [5, 4, 3, 2, 1]]], [[[0, 51, 102], [255, 204, 153]]]),
    ],
)
def test_what_is_shown_of_a_prepared_array(channels, values, shown):
    model = network(layers.ZeroPadding2D(2), (1, 2, channels))
    prepared = ready(model, [np.array(values)], None)
    np.testing.assert_array_equal(prepared.images[0], np.array(shown, np.uint8), strict=True)


@pytest.mark.parametrize(
    ("low", "high"),
    [(-1, 1), (0, 255), (1e6, 1e6 + 1), (1e6 + 0.3, 1e6 + 1), (-3e38, 3e38), (0, 1e-40), (2, 2)],
)
def test_what_is_shown_is_the_float64_replica_whatever_the_range(rng, low, high):
    model, array = network(), rng.uniform(low, high, (8, 8, 3)).astype(np.float32)
    exact = array.astype(np.float64)
    span = exact.max() - exact.min()
    wanted = np.round(255 * (exact - exact.min()) / span) if span else np.zeros(exact.shape)
    np.testing.assert_array_equal(ready(model, [array]).images[0], wanted)


@pytest.mark.parametrize("mode", ["unit", "tf"])
def test_a_picture_that_was_scaled_is_shown_as_it_was(rng, mode):
    picture = rng.integers(0, 256, (8, 8, 3), np.uint8)
    picture[0, 0] = 0, 255, 7
    given = ready(network(), [picture], mode).inputs
    np.testing.assert_array_equal(ready(network(), list(given)).images[0], picture)


@pytest.mark.parametrize(
    "shape", [(9, 8, 3), (8, 8, 1), (8, 8), (8, 8, 4), (2, 8, 8, 3), (3, 8, 8)]
)
def test_a_float_array_of_another_shape_is_told(plain, shape):
    with pytest.raises(ValueError, match=r"already prepared .* input shape 8 x 8 x 3") as error:
        ready(plain, [np.zeros(shape, np.float32)])
    assert f"got {shape}. For a picture of 0..255 give uint8" in str(error.value)


def test_prepared_arrays_of_a_batch_have_one_size():
    model = network(shape=(None, None, 3))
    arrays = [np.zeros((8, 8, 3)), np.zeros((9, 8, 3))]
    assert ready(model, arrays[1:]).inputs.shape == (1, 9, 8, 3)
    with pytest.raises(ValueError, match=r"any x any x 3, all of one size; got \(9, 8, 3\)\."):
        ready(model, arrays)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_float_array_must_be_finite(plain, value):
    array = np.zeros((8, 8, 3))
    array[0, 0, :2] = value
    with pytest.raises(ValueError, match="must be finite; 2 of its values are NaN or infinite"):
        ready(plain, [array])
    with pytest.raises(ValueError, match=r"must hold pixels of 0\.\.255; got values from"):
        ready(plain, [array], "unit")


def test_pictures_and_prepared_arrays_are_not_mixed(plain):
    mixed = [PICTURE, np.zeros((8, 8, 3)), PICTURE]
    for preprocess in ("auto", None):
        with pytest.raises(ValueError, match=r"can't be mixed in a batch; 1 of 3 are floats\."):
            ready(plain, mixed, preprocess)


def test_with_a_preprocess_floats_are_pixels_of_0_to_255(plain):
    floats = PICTURE + np.float32(0.25)
    for preprocess in ("torch", lambda pixels: pixels / 255):
        mixed = ready(plain, [PICTURE, np.minimum(floats, 255)], preprocess)
        np.testing.assert_array_equal(mixed.inputs[0], mixed.inputs[1])
        np.testing.assert_array_equal(mixed.images[0], mixed.images[1])
    for low, high in [(-1, 1), (0, 256)]:
        wrong = np.linspace(low, high, 192).reshape(8, 8, 3)
        with pytest.raises(ValueError, match=rf"0\.\.255; got values from {low} to {high}\."):
            ready(plain, [wrong], "unit")


# --- callables ------------------------------------------------------------------------------


def test_a_callable_gets_pixels_and_gives_the_input(plain):
    seen = []

    def halved(pixels):
        seen.append(pixels)
        return pixels / 2

    prepared = ready(plain, [PICTURE, PICTURE[:, ::-1]], halved)
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen[0], np.stack([PICTURE, PICTURE[:, ::-1]]))
    np.testing.assert_array_equal(prepared.inputs, seen[0] / 2)
    assert prepared.description == "halved, as given"


@pytest.mark.parametrize(
    "function",
    [
        lambda pixels: tf.constant(pixels) / 255,
        lambda pixels: pixels.astype(np.float64) / 255,
        layers.Rescaling(1 / 255),
        keras.Sequential([layers.Rescaling(1 / 255)]),
    ],
)
def test_what_a_callable_gives_may_be_of_any_kind(plain, function):
    expected = tfcam.explain(plain, PICTURE, preprocess="unit")
    result = tfcam.explain(plain, PICTURE, preprocess=function)
    np.testing.assert_allclose(result.raw, expected.raw, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda pixels: pixels[0], r"\(8, 8, 3\)"),
        (lambda pixels: pixels[..., :1], r"\(2, 8, 8, 1\)"),
        (lambda pixels: pixels[:1], r"\(1, 8, 8, 3\)"),
        (lambda pixels: None, r"\(\)"),
    ],
)
def test_a_callable_must_keep_the_shape(plain, function, shape):
    message = rf"must keep the shape of the batch \(2, 8, 8, 3\); it gave {shape}\."
    with pytest.raises(ValueError, match=message):
        ready(plain, [PICTURE, PICTURE], function)


def in_place(pixels):
    pixels *= 0.0
    return pixels


@pytest.mark.parametrize("preprocess", [*REPLICAS, None, in_place])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_is_given_is_never_changed_nor_shared(plain, dtype, preprocess):
    given = [PICTURE.astype(dtype), PICTURE[::-1].astype(dtype)]
    before = [each.copy() for each in given]
    prepared = ready(plain, given, preprocess)
    made = [prepared.inputs, *prepared.images]
    for each, was in zip(given, before, strict=True):
        np.testing.assert_array_equal(each, was, strict=True)
        assert not any(np.shares_memory(each, one) for one in made)
    assert not any(np.shares_memory(prepared.inputs, one) for one in prepared.images)
    if preprocess is not None:
        np.testing.assert_array_equal(prepared.images, [PICTURE, PICTURE[::-1]])


# --- forms of input -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["raw", "unit", "tf"])
def test_a_grey_model_gets_luma_and_shows_the_picture_as_given(mode):
    model = network(shape=(1, 4, 1), begin=layers.ZeroPadding2D(2))
    picture = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    luma = picture @ np.array([0.299, 0.587, 0.114])  # 76.2, 149.7, 29.1, 18.2
    prepared = ready(model, [picture, np.array([[0, 1, 128, 255]], np.uint8)], mode)
    grey = np.stack([np.round(luma), [[0, 1, 128, 255]]])[..., None]
    np.testing.assert_allclose(prepared.inputs, REPLICAS[mode](grey), atol=1e-6)
    np.testing.assert_array_equal(prepared.images[0], picture)
    assert prepared.images[1].tolist() == [[[0] * 3, [1] * 3, [128] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["torch", "caffe"])
def test_the_mean_of_three_channels_is_not_for_grey(mode):
    model = network(shape=(8, 8, 1))
    with pytest.raises(ValueError, match=f"'{mode}' is for three channels; the model takes 1"):
        ready(model, [PICTURE], mode)


def test_a_picture_does_not_fit_four_channels():
    model = network(shape=(8, 8, 4))
    with pytest.raises(ValueError, match=r"got 3 to become 4.*array of floats"):
        ready(model, [PICTURE], "unit")
    assert ready(model, [np.zeros((8, 8, 4))]).inputs.shape == (1, 8, 8, 4)


@pytest.mark.parametrize(
    ("shape", "name", "size"),
    [
        ((None, None, 3), "mine", (20, 30)),  # of the first picture
        ((None, None, 3), "vgg16", (224, 224)),
        ((None, None, 3), "xception", (299, 299)),
        ((None, 12, 3), "mine", (20, 12)),
        ((16, None, 3), "vgg16", (16, 224)),
        ((16, 12, 3), "vgg16", (16, 12)),
        ((None, None, None), "mine", (20, 30)),
    ],
)
def test_sizes_that_a_model_leaves_open(shape, name, size):
    first = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    begin = layers.Rescaling(1.0) if shape[-1] is None else lambda x: x
    inputs = keras.Input(shape)
    outputs = layers.GlobalAveragePooling2D()(begin(inputs))
    model = keras.Model(inputs, outputs, name=name)
    other = PICTURE
    if name == "mine":
        other = 255 - first
        with pytest.raises(ValueError, match="pictures of any size, and those of this batch have"):
            ready(model, [first, PICTURE], "raw")
    prepared = ready(model, [first, other], "raw")
    assert prepared.inputs.shape == (2, *size, 3)
    for given, image, made in zip((first, other), prepared.images, prepared.inputs, strict=True):
        np.testing.assert_array_equal(image, given)
        np.testing.assert_array_equal(made, resize_image(given, size))


def test_pictures_of_different_sizes_are_explained_together_as_alone(plain):
    rng = np.random.default_rng(0)
    given = [rng.integers(0, 256, (*size, 3), np.uint8) for size in [(8, 8), (20, 9), (5, 31)]]
    together = tfcam.explain(plain, given, preprocess="unit")
    for picture, result in zip(given, together, strict=True):
        alone = tfcam.explain(plain, picture, preprocess="unit")
        assert result.heatmap.shape == picture.shape[:2]
        np.testing.assert_array_equal(result.image, picture)
        np.testing.assert_allclose(result.raw, alone.raw, rtol=1e-4, atol=1e-7)
        assert result.preprocessing == "scaled to 0..1, as given"


def test_pictures_are_for_models_that_take_images():
    model = keras.Sequential([keras.Input((16,), name="mine"), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"'unit' is for images; the input 'mine' takes \(16,"):
        ready(model, [PICTURE], "unit")
