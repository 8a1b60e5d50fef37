"""Nothing is scaled twice: what reaches the first weights says how pictures must come."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import applications, layers

import tfcam
from tfcam.model.graph import graph_of
from tfcam.preprocessing.modes import choose_preprocessing

RAW, TF = "0..255 as it is", "scaled to -1..1"


class Scaling(keras.Model):
    """Scales in Python code, then asks a network."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def call(self, pixels):
        return self.network(tf.cast(pixels, tf.float32) / 127.5 - 1.0)


def described(model):
    return choose_preprocessing(graph_of(model), "auto").description.rsplit(", ", 1)[0]


def small(name="mine", scale=None):
    """A classifier under a name, which may scale its input."""
    inputs = keras.Input((8, 8, 3))
    x = inputs if scale is None else scale(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(x))
    return keras.Model(inputs, layers.Dense(2)(x), name=name)


def beside(*branches):
    """A model that gives one input to each of several networks."""
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, layers.Add()([branch(inputs) for branch in branches]))


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("form", ["subclass", "functional", "layer"])
def test_a_real_network_behind_code_that_scales_sees_what_it_was_trained_on(mobilenet, data, form):
    picture, inputs = data / "images/classic/dog_and_cat.png", keras.Input((224, 224, 3))
    if form == "subclass":
        model = Scaling(mobilenet)
        model(np.zeros((1, 224, 224, 3), np.float32))
    elif form == "functional":
        model = keras.Model(inputs, mobilenet(applications.mobilenet_v2.preprocess_input(inputs)))
    else:
        scaled = layers.Lambda(lambda pixels: pixels / 127.5 - 1)(inputs)
        model = keras.Model(inputs, mobilenet(scaled))
    explained, plain = tfcam.explain(model, picture), tfcam.explain(mobilenet, picture)
    assert explained.target == plain.target == 243
    assert explained.probability == pytest.approx(plain.probability, abs=1e-4)
    assert explained.probability == pytest.approx(0.61, abs=0.01)


def test_two_networks_that_want_one_input_in_different_ways_are_asked_about():
    model = beside(small("mobilenetv2_1.00_224"), small("vgg16"))
    with pytest.raises(ValueError, match=r"different ways: BGR.* and scaled to -1\.\.1\. Pass"):
        described(model)
    assert described(beside(small("mobilenetv2_1.00_96"), small("xception"))) == TF


def test_two_networks_each_behind_its_own_scaling_take_pixels():
    scaled = [
        lambda x: small("mobilenetv2_1.00_224")(applications.mobilenet_v2.preprocess_input(x)),
        lambda x: small("vgg16")(applications.vgg16.preprocess_input(x)),
        small("efficientnetb0", layers.Rescaling(1 / 255)),
    ]
    assert described(beside(*scaled)) == RAW
    with pytest.raises(ValueError, match=r"0\.\.255 as it is and scaled to -1\.\.1"):
        described(beside(small("xception"), *scaled))


@pytest.mark.parametrize("scale", [None, layers.Rescaling(1 / 127.5, -1)])
def test_a_network_inside_that_may_scale_for_itself(scale):
    """MobileNetV3 has a Rescaling unless it is built without."""
    model = keras.Sequential([keras.Input((8, 8, 3)), small("MobileNetV3Small", scale)])
    assert described(model) == (TF if scale is None else RAW)
    before = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Rescaling(1 / 127.5, -1), *model.layers]
    )
    assert described(before) == RAW


def test_statistics_that_were_trained_since_are_seen():
    layer = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, small("mobilenetv2_1.00_224")])
    assert described(model) == TF
    layer.moving_mean.assign([120.0] * 3)
    layer.moving_variance.assign([4000.0] * 3)
    assert described(model) == RAW


def test_channels_turned_round_alone_are_asked_about():
    turned = small("vgg16")
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="can't be read from it"):
        described(keras.Model(inputs, turned(inputs[..., ::-1])))


def test_an_input_of_whole_numbers_takes_pixels():
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.ops.cast(inputs, "float32")
    assert described(keras.Model(inputs, small()(x))) == RAW


@pytest.mark.parametrize("shape", [(3, 8, 8), (None, None, 3), (8, 8, 1)])
def test_a_scaling_is_read_whatever_the_form_of_the_input(shape):
    form = "channels_first" if shape[0] == 3 else "channels_last"
    inputs = keras.Input(shape)
    x = layers.Conv2D(2, 1, data_format=form)(inputs / 127.5 - 1)
    x = layers.GlobalAveragePooling2D(data_format=form)(x)
    assert described(keras.Model(inputs, layers.Dense(2)(x))) == RAW


def test_pixels_are_followed_to_the_first_dense_layer():
    inputs = keras.Input((8, 8, 3))
    flat = layers.Flatten()(inputs * 2 - 1)
    assert described(keras.Model(inputs, layers.Dense(2)(flat))) == "scaled to 0..1"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_scaling_in_half_precision(policy):
    inputs = keras.Input((8, 8, 3))
    scaled = layers.Rescaling(1 / 127.5, -1, dtype=policy)(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, dtype=policy)(scaled))
    assert described(keras.Model(inputs, layers.Dense(2)(x))) == RAW


def test_a_model_is_run_once_and_left_as_it_was(monkeypatch):
    model = small(scale=lambda x: x / 255)
    weights = model.get_weights()
    graph = graph_of(model)
    assert graph.stem() is graph.stem()
    assert graph_of(model) is graph
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert not any("call" in layer.__dict__ for layer in model.layers)


def test_pixels_are_followed_into_parts_that_lie_in_the_batch():
    """A picture is cut into four, which are seen one after the other."""
    inputs = keras.Input((8, 8, 3))
    scaled = layers.Rescaling(1 / 255, name="scaled")(inputs)
    parts = keras.ops.reshape(scaled, (-1, 2, 4, 2, 4, 3))
    parts = keras.ops.reshape(keras.ops.transpose(parts, (0, 1, 3, 2, 4, 5)), (-1, 4, 4, 3))
    conv = layers.Conv2D(2, 3, kernel_initializer="ones", name="conv")
    seen = layers.GlobalMaxPooling2D()(conv(parts))
    outputs = layers.Dense(2)(keras.ops.max(keras.ops.reshape(seen, (-1, 4, 2)), 1))
    model = keras.Model(inputs, outputs)
    assert described(model).startswith(RAW)
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="'conv' gives 4 for 1, as where a model puts the parts"):
        tfcam.explain(model, picture)
    assert tfcam.explain(model, picture, "scaled").raw.shape == (8, 8)
