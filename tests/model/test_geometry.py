"""Where a layer's cells look in the picture: models that crop, pad, mirror, resize it first."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfcam
from tests import networks
from tests.networks import Code
from tfcam.model.graph import graph_of
from tfcam.model.placement import Axis, Placement

HEIGHT, WIDTH = 48, 64
# Rows and columns of one bright square, of uneven distance to all sides.
SQUARE = (slice(20, 24), slice(36, 40))


class Sampler(layers.Layer):
    """Samples a picture at places that are learned."""

    def call(self, inputs):
        x, shift = inputs
        return tf.roll(x, tf.cast(tf.round(shift[0, 0]), tf.int32), 2)


def brightness(*steps, padding="same", strides=1, kernel=1):
    """A network whose map is how bright its input is, after some steps."""
    inputs = x = keras.Input((HEIGHT, WIDTH, 3))
    for step in steps:
        x = step(x)
    conv = layers.Conv2D(
        1, kernel, strides, padding, name="conv", activation="relu", kernel_initializer="ones"
    )
    x = layers.GlobalAveragePooling2D()(conv(x))
    return keras.Model(inputs, layers.Dense(2, kernel_initializer="ones")(x))


def scene():
    image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    image[SQUARE] = 1
    return image


def peak(heatmap):
    """The centre of what is above half of the maximum."""
    return np.argwhere(heatmap > 0.5).mean(axis=0) + 0.5


STEPS = {
    "crop": [layers.Cropping2D(((4, 10), (20, 6)))],
    "center crop": [layers.CenterCrop(32, 40)],
    "zero padding": [layers.ZeroPadding2D(((10, 2), (30, 0)))],
    "reflection": [Code(lambda x: tf.pad(x, [[0, 0], [9, 3], [14, 2], [0, 0]], "REFLECT"))],
    "mirror": [Code(lambda x: x[:, :, ::-1])],
    "upside down": [Code(lambda x: x[:, ::-1])],
    "random flip": [layers.RandomFlip()],
    "slice": [Code(lambda x: x[:, 10:40])],
    "slice of Keras": [lambda x: x[:, :, 20:60]],
    "permute": [layers.Permute((2, 1, 3))],
    "rotated": [Code(tf.image.rot90)],
    "larger": [layers.Resizing(96, 96)],
    "smaller": [layers.Resizing(24, 32)],
    "resized crop": [layers.Resizing(36, 36, crop_to_aspect_ratio=True)],
    "resized pad": [layers.Resizing(64, 64, pad_to_aspect_ratio=True)],
    "several": [
        layers.Rescaling(2.0, 1.0),
        layers.Cropping2D(((4, 4), (20, 4))),
        Code(lambda x: x[:, :, ::-1]),
        layers.ZeroPadding2D(6),
    ],
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.thinned(10)
def test_the_map_lies_on_what_the_layer_looked_at(name, strides):
    model = brightness(*STEPS[name], strides=strides, kernel=strides)
    found = tfcam.explain(model, scene(), "conv", target=0, preprocess=None)
    assert found.heatmap.shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(peak(found.heatmap), (22, 38), atol=1.01)
    x0, y0, x1, y1 = found.boxes(0.5)[0]
    assert abs((x0 + x1) / 2 - 38) < 1.5
    assert abs((y0 + y1) / 2 - 22) < 1.5
    assert not found.findings


def test_what_the_network_never_saw_is_outside_of_the_map():
    model = brightness(layers.Cropping2D(((4, 10), (20, 6))))
    found = tfcam.explain(model, np.ones((HEIGHT, WIDTH, 3), "f"), "conv", target=0)
    seen = np.zeros((HEIGHT, WIDTH), bool)
    seen[4:-10, 20:-6] = True
    np.testing.assert_array_equal(found.heatmap > 0, seen)
    np.testing.assert_array_equal(found.heatmap[seen], 1)


@pytest.mark.parametrize("kind", ["plain", "rescaled", "padded for a stride", "coded"])
def test_without_geometry_the_map_is_as_the_layer_has_it(kind):
    steps = {
        "plain": [],
        "rescaled": [layers.Rescaling(1 / 255), layers.Normalization(mean=-0.5, variance=2.0)],
        "padded for a stride": [layers.ZeroPadding2D(((0, 1), (0, 1)))],
        "coded": [Code(lambda x: x[..., ::-1] / 127.5 + 1)],
    }[kind]
    model = brightness(*steps, padding="valid" if "padded" in kind else "same", strides=2, kernel=3)
    found = tfcam.explain(model, scene(), "conv", target=0, preprocess=None)
    assert found.raw.shape == (HEIGHT // 2, WIDTH // 2)
    assert not found.findings


def test_networks_of_every_kind_pay_nothing(monkeypatch):
    monkeypatch.setattr("tfcam.model.geometry._probe", None)
    for name in networks.KINDS:
        model = networks.make(name)
        graph = graph_of(model)
        assert graph.placement(graph.open_layer(None).tap, (12, 12)) is None, name


def test_a_learned_place_is_a_finding():
    inputs = keras.Input((HEIGHT, WIDTH, 3))
    shift = layers.Dense(1)(
        layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, name="see")(inputs))
    )
    x = layers.Conv2D(1, 1, name="conv", kernel_initializer="ones")(Sampler()([inputs, shift]))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, kernel_initializer="ones")(x))
    found = tfcam.explain(model, scene(), "conv", target=0, preprocess=None)
    assert "place_unknown" in [finding.code for finding in found.findings]
    assert graph_of(model).placement(graph_of(model).open_layer("see").tap, (48, 64)) is None


def by_gather(x, where):
    """Rows that begin where the picture says."""
    rows = (tf.range(HEIGHT)[tf.newaxis] + tf.cast(where[:, :1], tf.int32)) % HEIGHT
    return tf.gather(x, rows, axis=1, batch_dims=1)


def by_affine(x, where):
    zero, one = tf.zeros_like(where[:, :1]), tf.ones_like(where[:, :1])
    matrix = tf.concat([one, zero, 9 * where[:, :1], zero, one, zero, zero, zero], 1)
    return keras.ops.image.affine_transform(x, matrix)


def by_crop(x, where):
    box = tf.sigmoid(tf.concat([where - 1, where + 1], 1))
    return tf.image.crop_and_resize(x, box, tf.range(tf.shape(x)[0]), (HEIGHT, WIDTH))


@keras.saving.register_keras_serializable()
class Attending(layers.Layer):
    """Looks where its own weights say: what finds the place and what takes it are one layer."""

    def __init__(self, take, **options):
        super().__init__(**options)
        self.take, self.see = take, layers.Conv2D(2, 3, name="see")

    def call(self, x):
        return self.take(x, tf.reduce_mean(self.see(x), [1, 2]))


@pytest.mark.parametrize("take", [by_gather, by_affine, by_crop])
def test_a_place_that_one_layer_finds_and_takes_is_a_finding(take):
    model = networks.seeded(brightness(Attending(take, name="attending")))
    found = tfcam.explain(model, scene(), "conv", target=0, preprocess=None)
    assert "place_unknown" in [finding.code for finding in found.findings]
    graph = graph_of(model)
    seeing = graph.open_layer("attending/see").tap
    assert graph.placement(seeing, (HEIGHT, WIDTH)) is None


def test_places_that_no_picture_tells_are_none_of_these():
    """What is taken from weights, or for the answer alone."""

    class Coded(layers.Layer):
        def build(self, shape):
            self.codes = self.add_weight(shape=(5, 3), initializer="ones")

        def call(self, x):
            return x + tf.gather(self.codes, tf.argmax(x, -1))

    inputs = keras.Input((HEIGHT, WIDTH, 3))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inputs)
    x = layers.Conv2D(3, 3, padding="same", name="after")(Coded()(x))
    x = layers.GlobalAveragePooling2D()(x)
    best = layers.Lambda(lambda z: tf.gather(z, tf.argsort(z)[:, :2], batch_dims=1))(x)
    model = networks.seeded(keras.Model(inputs, best))
    found = tfcam.explain(model, scene(), "after", target=0, preprocess=None)
    assert "place_unknown" not in [finding.code for finding in found.findings]


def turned(degrees):
    """A turn of the picture about its middle."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    y, x = HEIGHT / 2, WIDTH / 2
    matrix = np.array([c, -s, x * (1 - c) + y * s, s, c, y * (1 - c) - x * s, 0, 0], "f4")
    return lambda picture: ops.image.affine_transform(picture, matrix)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: tf.roll(x, 20, 2),
        lambda x: tf.concat([x[:, :, 32:], x[:, :, :32]], 1),
        lambda x: tf.gather(x, np.random.default_rng(0).permutation(HEIGHT), axis=1),
        turned(3),
        turned(-17),
        lambda x: turned(10)(tf.image.per_image_standardization(x)),
        lambda x: ops.image.affine_transform(x, np.array([1, 0.1, 0, 0, 1, 0, 0, 0], "f4")),
        lambda x: ops.image.affine_transform(x, np.array([1, 0, 0, 0, 1, 0, 2e-3, 0], "f4")),
    ],
)
def test_what_can_not_be_followed_is_a_finding(move):
    found = tfcam.explain(brightness(Code(move)), scene(), "conv", target=0, preprocess=None)
    assert [finding.code for finding in found.findings] == ["place_unknown"]


STATISTICS = {
    "standardised": tf.image.per_image_standardization,
    "0 to 1": lambda x: (x - tf.reduce_min(x)) / (tf.reduce_max(x) - tf.reduce_min(x)),
    "each channel": lambda x: tf.math.divide_no_nan(
        x - tf.reduce_mean(x, [1, 2], keepdims=True),
        tf.math.reduce_std(x, [1, 2], keepdims=True),
    ),
    "gamma": lambda x: tf.sqrt(tf.nn.relu(x)),
    "each pixel": lambda x: tf.math.l2_normalize(x, -1),
    "rank": lambda x: tf.cast(
        tf.reshape(tf.argsort(tf.argsort(tf.reshape(x, (-1, HEIGHT * WIDTH * 3)))), tf.shape(x)),
        tf.float32,
    ),
}


@pytest.mark.parametrize("scale", STATISTICS)
def test_statistics_of_the_picture_leave_each_pixel_where_it_is(scale):
    step = Code(STATISTICS[scale])
    found = tfcam.explain(brightness(step), scene(), "conv", target=0, preprocess=None)
    assert "place_unknown" not in [finding.code for finding in found.findings]
    moved = Code(lambda x: tf.roll(STATISTICS[scale](x), 20, 2))
    found = tfcam.explain(brightness(moved), scene(), "conv", target=0, preprocess=None)
    assert "place_unknown" in [finding.code for finding in found.findings]


@pytest.mark.parametrize("last", [False, True], ids=["scaled first", "scaled last"])
@pytest.mark.parametrize("scale", ["standardised", "0 to 1", "each channel"])
@pytest.mark.parametrize("name", ["crop", "mirror", "permute", "resized crop", "smaller"])
@pytest.mark.thinned(6)
def test_statistics_leave_what_was_cropped_or_resized_where_it_is(name, scale, last):
    step = Code(STATISTICS[scale])
    steps = [*STEPS[name], step] if last else [step, *STEPS[name]]
    found, plain = (
        tfcam.explain(brightness(*each), scene(), "conv", target=0, preprocess=None)
        for each in (steps, STEPS[name])
    )
    assert "place_unknown" not in [finding.code for finding in found.findings]
    np.testing.assert_allclose(peak(found.heatmap), (22, 38), atol=1.01)
    np.testing.assert_array_equal(found.heatmap > 0.5, plain.heatmap > 0.5)


def test_what_is_cropped_and_bent_is_a_finding():
    model = brightness(*STEPS["crop"], Code(STATISTICS["gamma"]))
    found = tfcam.explain(model, scene(), "conv", target=0, preprocess=None)
    assert [finding.code for finding in found.findings] == ["place_unknown"]


@pytest.mark.slow
def test_pixels_and_layers_agree_in_every_door():
    model = brightness(Code(lambda x: x[:, :, ::-1]), layers.Cropping2D(((0, 8), (8, 0))))
    for method in ("grad_cam", "cam", "score_cam", "saliency", "integrated_gradients"):
        found = tfcam.explain(model, scene(), method=method, target=0, preprocess=None)
        if method == "saliency":  # of a brightness, the same wherever it is seen
            assert not found.heatmap[40:].any()
            continue
        np.testing.assert_allclose(peak(found.heatmap), (22, 38), atol=0.6)


def test_a_map_that_is_carried_back_is_cut_at_zero_before_it_is_resized():
    whole = Placement((Axis(0, 1, 0, 1), Axis(0, 8, 0, 8)))
    raw = tf.constant([[[4.0, -8.0]]])
    np.testing.assert_allclose(
        tf.nn.relu(whole.carry_back(raw, (1, 8)))[0],
        tfcam.maps.resize(np.array([[4.0, 0.0]]), (1, 8)),
    )
