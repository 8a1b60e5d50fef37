"""Faults that a review found, each provoked again."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import rounding
from tfcam import Segmentation


def hidden_softmax():
    """A mask whose softmax stands between two reshapings, where Keras notes no logits."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(3, 3, padding="same", name="pixels")(inputs)
    x = layers.Softmax()(layers.Reshape((144, 3))(x))
    model = keras.Model(inputs, layers.Reshape((12, 12, 3))(x))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(0, 1, w.shape) for w in model.get_weights()])
    return model


def test_the_first_call_explains_what_the_second_does_where_logits_are_hidden():
    model, x = hidden_softmax(), networks.pictures(1)[0]
    target = Segmentation(1, np.ones((12, 12), bool))
    explainer = tfcam.Explainer(model, "pixels", method="hires_cam")
    first, second = explainer(x, target), explainer(x, target)
    logits = keras.Model(model.input, model.get_layer("pixels").output)(x[None])
    assert first.score == pytest.approx(float(tf.reduce_sum(logits[..., 1])), rel=1e-4)
    assert second.score == pytest.approx(first.score, rel=1e-5)
    np.testing.assert_allclose(first.raw, second.raw, atol=1e-4)


def test_compare_takes_all_convolutions_one_by_one():
    model, x = networks.flat(), networks.pictures(1)[0]
    found = tfcam.compare(model, x, layers=["all_convolutions", "features"], methods=["grad_cam"])
    assert found.columns == ("first", "second", "features")
    with pytest.raises(ValueError, match="a list of single layers"):
        tfcam.compare(model, x, layers=[["first", "second"]])


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize(
    "name", ["grad_cam", "hires_cam", "saliency", "integrated_gradients", "full_grad"]
)
@pytest.mark.thinned(4)
def test_large_gradients_do_not_overflow_in_half_precision(name, runs):
    """Weights of 8000: scaled up by 2^14 their gradients are beyond float16."""
    model, same = networks.in_policy("mixed_float16", networks.hand_set), networks.hand_set()
    for each in (model, same):
        kernel, bias = each.get_layer("head").get_weights()
        each.get_layer("head").set_weights([1000 * kernel, bias])
    x = np.random.default_rng(0).uniform(0.1, 1, (2, 2, 2, 2)).astype("float32")
    explainer = tfcam.Explainer(model, method=name)
    for _ in range(runs):
        found = explainer(x, 1)
    wanted = tfcam.explain(same, x, method=name, target=1)
    assert not any(each.code == "not_finite" for r in found for each in r.findings)
    np.testing.assert_allclose(found.raws, wanted.raws, rtol=5e-3, atol=1e-2)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("name", ["saliency", "integrated_gradients", "guided_backprop"])
def test_half_precision_of_single_layers_is_seen(name):
    """Gradients of 1e-8 underflow in float16, wherever the float16 is."""

    def make(dtype):
        inputs = keras.Input((6, 6, 2))
        x = layers.Conv2D(3, 3, activation="relu", name="conv", dtype=dtype)(inputs)
        x = layers.GlobalAveragePooling2D(dtype=dtype)(x)
        model = keras.Model(inputs, layers.Dense(2, name="head", dtype="float32")(x))
        rng = np.random.default_rng(1)
        sizes = [2e-2, 0, 1e-6, 0]
        shapes = [w.shape for w in model.get_weights()]
        model.set_weights([s * rng.normal(0, 1, w) for s, w in zip(sizes, shapes, strict=True)])
        return model

    x = np.abs(np.random.default_rng(2).normal(0, 1, (1, 6, 6, 2))).astype("float32")
    found = tfcam.explain(make("mixed_float16"), x, method=name, target=0).raws
    wanted = tfcam.explain(make("float32"), x, method=name, target=0).raws
    assert np.abs(wanted).max() < 1e-7
    np.testing.assert_allclose(found, wanted, atol=rounding(wanted, count=8, dtype="float16"))


def test_score_cam_takes_the_sigmoids_own_probability_whatever_is_explained():
    model = networks.flat()
    head = keras.models.clone_model(model)
    head.layers[-1].activation = keras.activations.sigmoid
    head.set_weights(model.get_weights())
    x = networks.pictures(1)
    by = {s: tfcam.explain(head, x, method="score_cam", target=1, score=s) for s in SCORES}
    np.testing.assert_allclose(by["logit"].raws, by["probability"].raws, rtol=1e-5)


SCORES = ("logit", "probability")


@pytest.mark.slow
def test_a_class_beside_a_callable_is_still_a_class():
    model, x = networks.flat(), networks.pictures(3)

    def second(outputs):
        return outputs[:, 1]

    for name in ("grad_cam", "score_cam"):
        mixed = tfcam.explain(model, x, target=[1, second, None], method=name)
        alone = tfcam.explain(model, x[:1], target=1, method=name)[0]
        np.testing.assert_allclose(mixed[0].raw, alone.raw, rtol=1e-4, atol=1e-7)
        facts = [(r.target, r.label, r.score_kind) for r in (mixed[0], alone)]
        assert facts[0] == facts[1]
        assert mixed[0].probability == pytest.approx(alone.probability)
        assert (mixed[1].target, mixed[1].label) == (None, "second")
        assert mixed[2].target == int(np.argmax(model(x[2:], training=False)[0]))


def test_a_replaced_activation_is_noticed():
    x = networks.pictures(1)

    def changed(model):
        model.get_layer("first").activation = keras.activations.tanh
        return model

    model = networks.flat()
    explainer = tfcam.Explainer(model)
    for _ in range(2):
        explainer(x, 0)
        tfcam.explain(model, x, target=0)
    wanted = tfcam.explain(changed(networks.flat()), x, target=0)[0].score
    changed(model)
    assert tfcam.explain(model, x, target=0)[0].score == pytest.approx(wanted, rel=1e-5)
    assert explainer(x, 0)[0].score == pytest.approx(wanted, rel=1e-5)


def test_pictures_of_several_sizes_are_not_squeezed_to_the_first():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    pictures = [np.zeros((*size, 3), np.uint8) for size in ((10, 17), (20, 12))]
    together = tfcam.explain(model, pictures, preprocess="unit")
    alone = [tfcam.explain(model, each, preprocess="unit") for each in pictures]
    assert [each.raw.shape for each in together] == [(8, 15), (18, 10)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.raw, other.raw)


@pytest.mark.parametrize("name", ["cam", "saliency", "smooth_grad", "layer_cam"])
def test_a_stored_function_is_its_method(name):
    model, x = networks.flat(), networks.pictures(1)
    by_function = tfcam.explain(model, x, method=tfcam.METHODS[name].function, target=1)
    by_name = tfcam.explain(model, x, method=name, target=1)
    np.testing.assert_allclose(by_function.raws, by_name.raws, atol=rounding(by_name.raws))
    assert by_function[0].method == name


@pytest.mark.slow
def test_rollout_takes_no_list_of_layers():
    model, x = networks.vit(), networks.pictures(1)[0]
    assert tfcam.Explainer(model, method="attention_rollout").layer is None
    with pytest.raises(ValueError, match="takes no list of layers; got 2"):
        tfcam.explain(model, x, ["block0", "block1"], method="attention_rollout")
    with pytest.raises(ValueError, match="None of these methods explains a layer"):
        tfcam.compare(model, x, layers=["block0", "block1"], methods=["attention_rollout"])
    found = tfcam.compare(
        model, x, layers=["norm0", "norm1"], methods=["grad_cam", "attention_rollout"]
    )
    assert found.columns == ("norm0", "norm1")
    np.testing.assert_array_equal(found[1, 0].raw, found[1, 1].raw)


def test_what_a_base_can_not_do_finer_cam_can_not():
    model, x = networks.flat(), networks.pictures(1)
    with pytest.raises(ValueError, match="eigen=True combines channels"):
        tfcam.explain(model, x, method="finer_cam", base="full_grad", eigen=True)
    given = tfcam.explain(networks.vit(prefix=0), x, grid=(3, 3))[0]
    assert given.options["grid"] == (3, 3)


def test_every_view_of_finer_cam_has_the_same_contrast():
    """With cam as the base the map is linear in the weights, which must be those of the image."""
    model, x = networks.flat(), networks.pictures(1)
    found = tfcam.explain(
        model, x, method="finer_cam", base="cam", target=1, augment=True, nearest=1
    )
    cams = [
        tfcam.explain(model, x, method="cam", target=c, augment=True).raws.astype("f8")
        for c in range(3)
    ]
    logits = [r.score for r in (tfcam.explain(model, x, target=c)[0] for c in range(3))]
    nearest = min((0, 2), key=lambda c: abs(logits[c] - logits[1]))
    np.testing.assert_allclose(found.raws, cams[1] - cams[nearest], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "uint8"])
@pytest.mark.parametrize("name", networks.METHODS)
@pytest.mark.thinned(1)
def test_preprocessing_may_return_any_kind_of_number(name, dtype):
    picture = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    found = tfcam.explain(
        networks.flat(), picture, method=name, preprocess=lambda p: p.astype(dtype)
    )
    wanted = tfcam.explain(networks.flat(), picture, method=name, preprocess="raw")
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-5, atol=1e-6)


def test_a_class_of_one_of_several_outputs_is_checked():
    inputs = keras.Input((12, 12, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(inputs))
    model = keras.Model(inputs, [layers.Dense(2, name="a")(x), layers.Dense(5, name="b")(x)])
    for output, count in ((0, 2), ("b", 5)):
        with pytest.raises(ValueError, match=f"in 0..{count - 1}: {count} classes"):
            tfcam.explain(model, networks.pictures(1), "conv", output=output, target=9)


def with_facts(facts):
    def measured(reading):
        return tf.reduce_sum(reading.activations, -1), facts

    return measured


@pytest.mark.parametrize("facts", [None, 3, {"a": 1.0}, {"a": tf.constant(1.0)}, (1, 2)])
def test_what_a_method_of_ones_own_measures_is_checked(facts):
    model, x = networks.flat(), networks.pictures(2)
    with pytest.raises(ValueError, match="must be a dict of tensors|must return a tensor"):
        tfcam.explain(model, x, method=with_facts(facts))
    with pytest.raises(ValueError, match="of floats from its reading"):
        tfcam.explain(model, x, method=lambda r: tf.reduce_sum(r.activations, -1) > 0)
    found = tfcam.explain(model, x, method=with_facts({"a": tf.constant([1.0, 2.0])}))
    assert [each.measured for each in found] == [{"a": 1.0}, {"a": 2.0}]


@dataclass
class Unhashable:
    index: int

    def __call__(self, outputs):
        return outputs[:, self.index]


def test_a_target_without_a_hash_is_a_target():
    model, x = networks.flat(), networks.pictures(1)
    explainer = tfcam.Explainer(model)
    for index in (0, 1, 2, 0):
        found = explainer(x, Unhashable(index))[0]
        assert found.score == pytest.approx(tfcam.explain(model, x, target=index)[0].score)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"grid": 3}, ValueError, "grid must be"),
        ({"batch_size": "a"}, TypeError, "batch_size must be a whole number; got 'a'"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
        ({"labels": 3}, TypeError, "labels must be"),
        ({"labels": [1, 2, 3]}, TypeError, "labels must be"),
        ({"labels": "abc"}, ValueError, "labels must be"),
        ({"output": [0]}, TypeError, "output must be the name or index"),
        ({"method": ["grad_cam"]}, ValueError, "method must be one of"),
        ({"eigen": "no"}, TypeError, "eigen must be True or False"),
        ({"augment": 1}, TypeError, "augment must be True or False"),
        ({"method": "smooth_grad", "seed": 2**70}, ValueError, "seed must be within 2147483647"),
        ({"layer": True}, TypeError, "A layer must be"),
    ],
)
def test_options_of_the_wrong_kind(options, error, match):
    with pytest.raises(error, match=match):
        tfcam.explain(networks.flat(), networks.pictures(1), **options)


@pytest.mark.parametrize("model", ["resnet", None, layers.Dense(2)])
def test_what_is_no_model(model):
    for function in (tfcam.explain, tfcam.compare):
        with pytest.raises(TypeError, match="model must be a built Keras model; got"):
            function(model, networks.pictures(1)[0])


@pytest.mark.parametrize("method", [("grad_cam",), ("grad_cam", 3), (1, 2, 3)])
def test_a_method_with_options_is_a_pair(method):
    with pytest.raises(ValueError, match="must be \\(name, {option: value}\\)"):
        tfcam.compare(networks.flat(), networks.pictures(1)[0], methods=[method])


def test_numbers_of_numpy_are_options_and_can_be_saved(tmp_path):
    options = {"samples": np.int64(2), "noise": np.float32(0.1)}
    found = tfcam.explain(networks.flat(), networks.pictures(1)[0], method="smooth_grad", **options)
    assert tfcam.Explanation.load(found.save(tmp_path / "a.npz")) == found
