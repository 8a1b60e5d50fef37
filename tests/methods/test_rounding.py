"""Maps that are zero by algebra are drawn empty; small ones that are not are left as they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.networks import seeded
from tests.tolerances import relative
from tfcam.maps.tensors import cancels

SIZE = 16
PICTURES = np.random.default_rng(0).uniform(size=(2, SIZE, SIZE, 3)).astype(np.float32)
CODE = "rounding_alone"


def features(ends):
    return layers.Conv2D(8, 3, padding="same", activation="relu", name="features")(ends)


class Weigh(layers.Layer):
    def call(self, weights, x):
        return tf.reduce_sum(weights * x, [1, 2])


def attention_pooling():
    """The mean gradient before a softmax over the positions is zero."""
    ends = keras.Input((SIZE, SIZE, 3))
    x = features(ends)
    weights = layers.Softmax((1, 2))(layers.Conv2D(1, 1, name="explained")(x))
    return keras.Model(ends, layers.Dense(3, dtype="float32")(Weigh()(weights, x)))


def instance_normalisation():
    """So it is before a normalisation of each channel over the positions."""
    ends = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(6, 3, name="explained")(features(ends))
    x = layers.Activation("relu")(layers.GroupNormalization(groups=-1)(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(x))
    return keras.Model(ends, layers.Dense(3, dtype="float32")(x))


def unit_length():
    """Activations times gradients add to zero where the length of the channels is normalised."""
    ends = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", name="explained")(ends)
    x = layers.Conv2D(6, 3, activation="relu")(layers.UnitNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(ends, layers.Dense(3, dtype="float32")(x))


def mask():
    """As in instance normalisation, over both axes at once, by hand."""
    ends = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(1, 3, padding="same", name="explained")(features(ends))
    x = layers.Lambda(lambda y: y - tf.reduce_mean(y, [1, 2], keepdims=True))(x)
    x = layers.Flatten()(layers.Activation("tanh")(x))
    return keras.Model(ends, layers.Dense(3, dtype="float32")(x))


CASES = [
    (attention_pooling, "grad_cam"),
    (attention_pooling, "guided_grad_cam"),
    (instance_normalisation, "grad_cam"),
    (unit_length, "hires_cam"),
    (mask, "grad_cam"),
]


def codes(explanation):
    return [each.code for each in explanation.findings]


@pytest.mark.parametrize(("make", "method"), CASES)
@pytest.mark.thinned(3)
def test_what_cancels_is_drawn_empty_and_said(make, method):
    model = seeded(make(), 4)
    explainer = tfcam.Explainer(model, "explained", method=method, preprocess=None)
    for results in (explainer(PICTURES, 1), explainer(PICTURES, 1)):  # then compiled
        for found in results:
            assert not found.raw.any()
            assert not found.heatmap.any()
            (said,) = [each for each in found.findings if each.code == CODE]
            assert "'explained' is rounding error alone" in said.message
    # What does not cancel at the same layer is shown.
    options = {"layer": "explained", "target": 1, "preprocess": None}
    other = tfcam.explain(model, PICTURES[0], method="grad_cam_elementwise", **options)
    assert other.heatmap.max() == 1
    assert CODE not in codes(other)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_what_cancels_in_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        models = [seeded(make(), 4) for make in (instance_normalisation, small)]
    finally:
        keras.config.set_dtype_policy("float32")
    cancelled, shown = [
        tfcam.explain(model, PICTURES[0], "explained", target=1, preprocess=None)
        for model in models
    ]
    assert not cancelled.raw.any()
    assert CODE in codes(cancelled)
    assert shown.raw.any()
    assert CODE not in codes(shown)


@pytest.mark.slow
def test_every_door_leaves_it_empty(tmp_path):
    model = seeded(attention_pooling(), 4)
    options = {"preprocess": None, "layers": ["explained", "features"]}
    compared = tfcam.compare(model, PICTURES[0], methods=["grad_cam"], **options)
    noise, shown = list(compared)
    assert (noise.heatmap.max(), shown.heatmap.max()) == (0, 1)
    assert CODE in codes(noise)
    explainer = tfcam.Explainer(model, "explained", preprocess=None)
    explainer.export(tmp_path / "exported")
    signature = tf.saved_model.load(str(tmp_path / "exported")).signatures["serving_default"]
    assert not signature(image=tf.constant(PICTURES))["heatmap"].numpy().any()
    said = tfcam.diagnose(model, PICTURES[0], "explained", preprocess=None)
    assert CODE in [each.code for each in said.findings]
    fused = tfcam.explain(model, PICTURES[0], ["explained", "features"], preprocess=None)
    assert CODE in codes(fused)
    np.testing.assert_allclose(fused.heatmap, shown.heatmap, atol=1e-6)


# --- what is small, but no rounding ----------------------------------------------------------


def small(factor=1.0, bias=0.0):
    ends = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="explained")(ends)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(3, name="scores")(x)
    x = layers.Rescaling(factor, [bias, 0.0, 0.0])(x)
    return keras.Model(ends, layers.Softmax(dtype="float32")(x))


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "x_grad_cam"])
@pytest.mark.parametrize(
    ("score", "factor", "bias"), [("probability", 1.0, 18.0), ("logit", 1e-20, 0.0)]
)
def test_small_gradients_are_shown(method, score, factor, bias):
    plain, faint = seeded(small(), 5), seeded(small(factor, bias), 5)
    options = {"layer": "explained", "method": method, "target": 1, "preprocess": None}
    found = tfcam.explain(faint, PICTURES[0], score=score, **options)
    assert 0 < np.abs(found.raw).max() < 1e-8
    assert CODE not in codes(found)
    if score == "logit":
        wanted = tfcam.explain(plain, PICTURES[0], score=score, **options)
        assert relative(found.raw / factor, wanted.raw) < 1e-4


def test_one_picture_of_a_batch():
    """Gradients before a normalisation and a ReLU: the second picture's mean is not zero."""
    terms = tf.constant([[[[1.0], [-1.0]]], [[[1.0], [-0.99]]]])
    assert cancels(terms, [1, 2]).numpy().ravel().tolist() == [True, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_does_not_cancel(bad):
    assert not cancels(tf.constant([[1.0, -1.0, bad]]), [1]).numpy().any()


@pytest.mark.parametrize("spacing", [2.0**-23, 2.0**-10, 2.0**-7])
def test_terms_of_random_signs_do_not_cancel(spacing):
    terms = np.random.default_rng(3).normal(size=(20, 56, 56, 16)).astype(np.float32)
    assert not cancels(tf.constant(terms), [1, 2], spacing).numpy().any()
