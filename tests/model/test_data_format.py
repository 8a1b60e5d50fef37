"""A network with channels first is explained as its twin with channels last."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import kinds, networks
from tests.networks import seeded
from tfcam import Segmentation
from tfcam.model.graph import graph_of

SIDES = (16, 12)
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(2, *SIDES, 3)).astype("float32")
FIRST = np.ascontiguousarray(np.moveaxis(INPUTS, -1, 1))
OPTIONS = {
    "smooth_grad": {"samples": 3},
    "smooth_grad_cam_pp": {"samples": 3},
    "integrated_gradients": {"steps": 4},
}


def network(first, begin=None):
    form = {"data_format": "channels_first" if first else "channels_last"}
    axis = 1 if first else -1
    inputs = keras.Input((3, *SIDES) if first else (*SIDES, 3))
    x = inputs if begin is None else begin(inputs)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="first", **form)(x)
    x = layers.AveragePooling2D(2, name="smaller", **form)(x)
    x = layers.Conv2D(8, 3, padding="same", name="second", **form)(x)
    x = layers.BatchNormalization(axis=axis, name="norm")(x)
    x = layers.ReLU(name="features")(x)
    y = layers.Conv2D(8, 1, name="beside", **form)(x)
    x = layers.Add(name="added")([x, y])
    x = layers.GlobalAveragePooling2D(name="pool", **form)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))


def twins():
    last, first = seeded(network(False)), network(True)
    first.set_weights(last.get_weights())
    np.testing.assert_allclose(last(INPUTS).numpy(), first(FIRST).numpy(), rtol=1e-4, atol=1e-6)
    return last, first


@pytest.fixture(scope="module")
def pair():
    last, first = twins()
    before = networks.snapshot(first, FIRST)
    yield last, first
    assert networks.snapshot(first, FIRST) == before


@pytest.mark.parametrize("method", networks.METHODS)
@pytest.mark.thinned(2)
def test_every_method_gives_the_map_of_the_twin(pair, method):
    last, first = pair
    options = OPTIONS.get(method, {})
    layer = "added" if method in ("cam", "finer_cam") else "second"
    for _ in range(2):  # as it runs, and compiled
        wanted = tfcam.explain(last, INPUTS, layer, target=[0, 2], method=method, **options)
        found = tfcam.explain(first, FIRST, layer, target=[0, 2], method=method, **options)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one.raw, other.raw, rtol=1e-3, atol=2e-6)
            np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-4)
            np.testing.assert_array_equal(one.image, other.image)
            assert one.score == pytest.approx(other.score, rel=1e-5)
            assert one.measured == pytest.approx(other.measured, abs=1e-4)
            assert one.heatmap.shape == SIDES


def test_layers_are_listed_and_chosen_as_in_the_twin(pair):
    last, first = (tfcam.layers(model) for model in pair)
    assert str(first) == str(last)
    assert first.default == "added"
    assert [each.path for each in first if each.cam] == ["added"]
    found = [tfcam.explain(each, given, -1) for each, given in zip(pair, (INPUTS, FIRST))]  # noqa: B905
    np.testing.assert_allclose(found[1].raws, found[0].raws, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("options", [{"augment": True}, {"eigen": True}, {"fuse": "mean"}], ids=str)
def test_options_act_as_on_the_twin(pair, options):
    places = ["second", "first"] if "fuse" in options else "second"
    found, wanted = (
        tfcam.explain(model, given, places, target=1, **options)
        for model, given in zip(pair[::-1], (FIRST, INPUTS), strict=True)
    )
    np.testing.assert_allclose(found.raws, wanted.raws, rtol=1e-4, atol=1e-6)


def test_a_picture_is_prepared_as_for_the_twin(pair):
    picture = RNG.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for how in ("unit", "caffe"):
        found, wanted = (
            tfcam.explain(model, picture, target=1, preprocess=how) for model in pair[::-1]
        )
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)
        assert found.heatmap.shape == (40, 30)
        np.testing.assert_array_equal(found.image, picture)


def test_a_prepared_array_has_the_models_own_shape(pair):
    with pytest.raises(ValueError, match=r"input shape 3 x 16 x 12, .* got \(16, 12, 3\)"):
        tfcam.explain(pair[1], INPUTS[0])


def test_nothing_of_the_scaling_inside_is_lost():
    models = [network(first, layers.Rescaling(1 / 255)) for first in (False, True)]
    models[1].set_weights(seeded(models[0]).get_weights())
    picture = RNG.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    wanted, found = (tfcam.explain(model, picture, target=1) for model in models)
    assert found.preprocessing == "0..255 as it is, Rescaling is inside"
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)


def test_compare_and_nested_models():
    last, first = twins()
    outer = keras.Input((3, *SIDES))
    nested = keras.Model(outer, first(outer))
    chosen = ["grad_cam", "layer_cam", "score_cam", "saliency"]
    wanted = tfcam.compare(last, INPUTS[0], methods=chosen, targets=[1])
    found = tfcam.compare(nested, FIRST[0], methods=chosen, targets=[1])
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.raw, other.raw, rtol=1e-3, atol=1e-6)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("axes", [1, 3])
def test_series_and_volumes_with_channels_first(axes):
    sides = (9,) if axes == 1 else (4, 6, 5)
    models = []
    for first in (False, True):
        form = {"data_format": "channels_first" if first else "channels_last"}
        inputs = keras.Input((2, *sides) if first else (*sides, 2))
        conv = getattr(layers, f"Conv{axes}D")(3, 2, activation="relu", name="conv", **form)
        pool = getattr(layers, f"GlobalAveragePooling{axes}D")(**form)
        models.append(keras.Model(inputs, layers.Dense(2)(pool(conv(inputs)))))
    models[1].set_weights(seeded(models[0]).get_weights())
    x = RNG.normal(size=(*sides, 2)).astype("float32")
    for method in ("grad_cam", "cam", "saliency", "score_cam"):
        wanted = tfcam.explain(models[0], x, target=1, method=method)
        found = tfcam.explain(models[1], np.moveaxis(x, -1, 0), target=1, method=method)
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-3, atol=1e-6)
        np.testing.assert_array_equal(found.image, x)
        assert found.heatmap.shape == sides


def test_tokens_of_patches_with_channels_first():
    """Attention from a convolution with channels first: its tokens have the same grid."""
    models = []
    for first in (False, True):
        form = {"data_format": "channels_first" if first else "channels_last"}
        inputs = keras.Input((3, *SIDES) if first else (*SIDES, 3))
        x = layers.Conv2D(8, 4, strides=4, name="patches", **form)(inputs)
        x = (
            layers.Permute((2, 1))(layers.Reshape((8, 12))(x))
            if first
            else layers.Reshape((12, 8))(x)
        )
        x = layers.Add(name="block")([x, layers.MultiHeadAttention(2, 4, name="attention")(x, x)])
        x = layers.Dense(2)(layers.GlobalAveragePooling1D()(x))
        models.append(keras.Model(inputs, x))
    models[1].set_weights(seeded(models[0]).get_weights())
    for method in ("grad_cam", "attention_rollout", "ablation_cam"):
        wanted = tfcam.explain(models[0], INPUTS, "block", target=1, method=method)
        found = tfcam.explain(models[1], FIRST, "block", target=1, method=method)
        assert found.raws.shape == (2, 4, 3)
        np.testing.assert_allclose(found.raws, wanted.raws, rtol=1e-3, atol=1e-6)


def test_one_input_of_several_with_channels_first():
    models = []
    for first in (False, True):
        form = {"data_format": "channels_first" if first else "channels_last"}
        picture = keras.Input((3, *SIDES) if first else (*SIDES, 3), name="picture")
        facts = keras.Input((4,), name="facts")
        x = layers.Conv2D(5, 3, activation="relu", name="conv", **form)(picture)
        x = layers.Concatenate()([layers.GlobalAveragePooling2D(**form)(x), facts])
        models.append(keras.Model([picture, facts], layers.Dense(2)(layers.Dense(6, "relu")(x))))
    models[1].set_weights(seeded(models[0]).get_weights())
    facts = RNG.normal(size=(2, 4)).astype("float32")
    for method in ("grad_cam", "saliency"):
        wanted = tfcam.explain(models[0], [INPUTS, facts], target=1, method=method)
        found = tfcam.explain(models[1], [FIRST, facts], target=1, method=method)
        np.testing.assert_allclose(found.raws, wanted.raws, rtol=1e-3, atol=1e-6)


def test_mixed_formats_are_refused():
    inputs = keras.Input((*SIDES, 3))
    x = layers.Conv2D(4, 3, name="one")(inputs)
    x = layers.Conv2D(4, 3, data_format="channels_first", name="two")(layers.Permute((3, 1, 2))(x))
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    with pytest.raises(ValueError, match="one data_format; 'two' of .* has channels_first, 'one'"):
        tfcam.explain(model, INPUTS)


def test_masks_with_their_classes_first():
    """As the model takes its images, or as it is said."""
    masks = np.arange(2 * 64).reshape(2, 8, 8) % 3 == 0
    last, first = kinds.u_net(), kinds.u_net(first=True)
    turned = keras.Model(first.input, layers.Permute((2, 3, 1))(first.output))
    x = kinds.normal(8, 8, 3)
    x_first = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    for target in (Segmentation(1, masks), [Segmentation(0, masks[0]), Segmentation(2)]):
        wanted = tfcam.explain(last, x, "features", target=target).raws
        found = tfcam.explain(first, x_first, "features", target=target).raws
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    # Turned after its softmax, where the logits are not to be found.
    asked = {"layer": "features", "score": "probability"}
    wanted = tfcam.explain(last, x, target=Segmentation(1, masks), **asked).raws
    said = Segmentation(1, masks, channels_first=False)
    for _ in range(2):
        found = tfcam.explain(turned, x_first, target=said, **asked).raws
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-6)


def test_channels_after_the_steps_in_time_are_refused():
    ends = keras.Input((4, 3, 8, 6))
    conv = layers.Conv2D(2, 3, data_format="channels_first")
    x = layers.Flatten()(layers.TimeDistributed(conv, name="each")(ends))
    model = keras.Model(ends, layers.Dense(2)(x))
    with pytest.raises(ValueError, match="'each' of .* has data_format='channels_first', and thus"):
        tfcam.explain(model, np.zeros((1, 4, 3, 8, 6), np.float32))


def test_a_map_with_fewer_axes_than_the_input_is_refused():
    ends = keras.Input((8, 6, 3))
    x = layers.Reshape((8, 12))(layers.Conv2D(2, 3, padding="same")(ends))
    x = layers.Conv1D(4, 3, name="lines")(x)
    model = keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    message = r"^Tokens must be|^The grid of the 6 tokens of 'lines' can't be told"
    with pytest.raises(ValueError, match=message):
        tfcam.explain(model, np.zeros((1, 8, 6, 3), np.float32), "lines")


def test_a_flatten_says_nothing_of_the_format():
    inputs = keras.Input((3, *SIDES))
    x = layers.Conv2D(4, 3, data_format="channels_first", activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    result = tfcam.explain(model, FIRST[0], "conv", target=1, method="hires_cam")
    with tf.GradientTape() as tape:
        maps = model.get_layer("conv")(FIRST[:1])
        tape.watch(maps)
        score = model.layers[-1](model.layers[-2](maps))[0, 1]
    wanted = tf.reduce_sum(maps * tape.gradient(score, maps), axis=1)[0]
    np.testing.assert_allclose(result.raw, wanted.numpy(), rtol=1e-4, atol=1e-6)


def test_the_format_is_read_anew_where_the_layers_are_others():
    model = keras.Sequential([keras.Input((8, 8, 8)), layers.Conv2D(2, 3)])
    assert not graph_of(model).inputs[0].channels_first
    model.pop()
    model.add(layers.Conv2D(2, 3, data_format="channels_first"))
    assert graph_of(model).inputs[0].channels_first
