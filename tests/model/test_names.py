"""Layers and models of any name that Keras allows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks

PICTURE = networks.pictures(1)[0]


def named(model_name, conv, head="head"):
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name=conv)(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, "softmax", name=head)(x), name=model_name)
    return networks.seeded(model)


def nested(model_name, conv):
    inner = keras.Sequential([keras.Input((12, 12, 3)), layers.Conv2D(4, 3, name=conv)], name="täl")
    x = layers.GlobalAveragePooling2D()(inner(inputs := keras.Input((12, 12, 3))))
    return networks.seeded(keras.Model(inputs, layers.Dense(3, "softmax")(x), name=model_name))


def frames(model_name, conv):
    """A convolution of each frame, which is traced in a loop of its own."""
    inputs = keras.Input((2, 12, 12, 3))
    x = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu", name=conv), name="td")(inputs)
    x = layers.GlobalAveragePooling3D()(x)
    return networks.seeded(keras.Model(inputs, layers.Dense(3)(x), name=model_name))


@pytest.mark.thinned(8)
@pytest.mark.parametrize("make", [named, nested], ids=lambda make: make.__name__)
@pytest.mark.parametrize("names", [("my model", "conv 1"), ("café", "größe"), ("_m", "a%b")])
@pytest.mark.parametrize("method", ["grad_cam", "saliency", "guided_backprop", "score_cam"])
def test_names_that_graphs_do_not_take(make, names, method):
    odd, plain = make(*names), make("plain", "conv")
    if method == "guided_backprop" and make is nested:
        method = "integrated_gradients"  # there is no ReLU
    scope, wanted = tf.Graph.name_scope, tfcam.explain(plain, PICTURE, method=method)
    explainer = tfcam.Explainer(odd, method=method)
    for call in range(3):
        np.testing.assert_allclose(explainer(PICTURE).raw, wanted.raw, rtol=1e-4, atol=1e-6)
        assert tf.Graph.name_scope is scope, call
    assert (odd.name, odd.layers[-1].name) == (names[0], odd.layers[-1].name)


@pytest.mark.parametrize("name", [">", "a>", "b\\c"])
def test_names_that_scopes_take_and_nodes_do_not(name):
    explainer = tfcam.Explainer(named(name, name), method="saliency")
    assert explainer(PICTURE, 0).heatmap.max() == 1


@pytest.mark.slow
def test_names_inside_loops_frozen_streamed_and_exported(tmp_path):
    model, video = frames("mein Netz", "die Schicht"), np.stack([PICTURE, -PICTURE])
    with pytest.raises(ValueError, match="not a valid"):  # as Keras itself has it
        tf.function(model).get_concrete_function(tf.TensorSpec((1, *video.shape)))
    keras.utils.clear_session()  # it leaves Keras in the scope that it could not enter
    wanted = tfcam.explain(frames("plain", "conv"), video, method="saliency")
    for _ in range(2):
        found = tfcam.explain(model, video, method="saliency")
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)

    model = named("mein Netz", "die Schicht")
    wanted = tfcam.explain(model, PICTURE, preprocess=None)
    frozen = tfcam.explain(model, PICTURE, freeze=True)
    np.testing.assert_allclose(frozen.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    store = tfcam.stream(model, [PICTURE] * 2, to=tmp_path / "store", progress=False)
    np.testing.assert_allclose(store[1].raw, wanted.raw, rtol=1e-2, atol=1e-3)
    explainer = tfcam.Explainer(model, preprocess=None)
    explainer.export(tmp_path / "exported")
    served = tf.saved_model.load(str(tmp_path / "exported")).signatures["serving_default"]
    heatmap = next(v for k, v in served(tf.constant(PICTURE[None])).items() if "heatmap" in k)
    np.testing.assert_allclose(heatmap[0], wanted.heatmap, atol=1e-3)
    assert model.name == "mein Netz"


@pytest.mark.parametrize("name", ["a:0", "a:input", "input:1", "a::b", ":"])
def test_colons_in_names(name):
    model, plain = named("m", name), named("m", "conv")
    for asked, same in [(name, "conv"), (f"{name}:input", "conv:input"), (f"{name}:0", "conv:0")]:
        found = tfcam.explain(model, PICTURE, asked)
        np.testing.assert_array_equal(found.raw, tfcam.explain(plain, PICTURE, same).raw)
    with pytest.raises(ValueError, match=r"No layer 'x:y' in 'm'\."):
        tfcam.explain(model, PICTURE, "x:y")


def test_a_colon_of_a_name_goes_before_the_number_of_a_call():
    inputs = keras.Input((12, 12, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="a")
    x = shared(shared(inputs))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, name="a:1")(x))
    model = networks.seeded(keras.Model(inputs, layers.Dense(2)(x)))
    assert tfcam.explain(model, PICTURE, "a:1", target=0).layer == "a:1"
    assert tfcam.explain(model, PICTURE, "a:0", target=0).raw.shape == (12, 12)
    with pytest.raises(ValueError, match="only ':<call>' and ':input' may stand; got 'a:x'"):
        tfcam.explain(model, PICTURE, "a:x")
