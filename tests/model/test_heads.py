"""CAM's linear heads: each form's map against float64 arithmetic, and every other form refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import replicas
from tfcam.model.graph import graph_of
from tfcam.model.heads import Head

INPUTS = keras.Input((8, 8, 3))


def network(*head):
    """Convolution, ReLU and a head; every weight its own."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(5, 3, activation="relu", name="map")(inputs)
    for layer in head:
        x = layer(x)
    model = keras.Model(inputs, x)
    rng = np.random.default_rng(11)
    for variable in model.variables:
        values = rng.normal(0, 0.5, variable.shape)
        variable.assign(values**2 + 0.5 if "variance" in variable.path else values)
    return model


def logits_head():
    return layers.Dense(4, name="linear", activation="softmax")


EXACT = {
    "GAP-Dense": lambda: network(layers.GlobalAveragePooling2D(), logits_head()),
    "GAP-Dense without softmax": lambda: network(layers.GlobalAveragePooling2D(), layers.Dense(4)),
    "GAP-Dense-Activation": lambda: network(
        layers.GlobalAveragePooling2D(), layers.Dense(4), layers.Activation("softmax")
    ),
    "GAP-Dense-Softmax": lambda: network(
        layers.GlobalAveragePooling2D(), layers.Dense(4), layers.Softmax()
    ),
    "GAP-Dropout-Dense": lambda: network(
        layers.GlobalAveragePooling2D(), layers.Dropout(0.5), logits_head()
    ),
    "GAP-Dense of sigmoids": lambda: network(
        layers.GlobalAveragePooling2D(), layers.Dense(4, activation="sigmoid", use_bias=False)
    ),
    "GAP(keepdims)-1x1 convolution": lambda: network(
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Dropout(0.1),
        layers.Conv2D(4, 1),
        layers.Reshape((4,)),
        layers.Activation("softmax"),
    ),
    "convolution-GAP": lambda: network(
        layers.Conv2D(4, 1, activation="relu", name="class_maps"),
        layers.GlobalAveragePooling2D(),
        layers.Activation("softmax"),
    ),
    "GAP-BatchNorm-Dense": lambda: network(
        layers.GlobalAveragePooling2D(), layers.BatchNormalization(), logits_head()
    ),
    "GAP-BatchNorm-Dropout-Dense-BatchNorm": lambda: network(
        layers.GlobalAveragePooling2D(),
        layers.BatchNormalization(scale=False),
        layers.Dropout(0.2),
        layers.Dense(4),
        layers.BatchNormalization(center=False),
        layers.Softmax(),
    ),
    "whole average pooling-Flatten-Dense": lambda: network(
        layers.AveragePooling2D(6), layers.Flatten(), logits_head()
    ),
}


@pytest.fixture
def inputs(rng):
    return rng.normal(0, 1, (3, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("head", EXACT)
@pytest.mark.thinned(2)
def test_the_mean_of_cam_plus_the_bias_is_the_logit(head, inputs):
    model = EXACT[head]()
    found = graph_of(model).head()
    assert isinstance(found, Head), found
    channels = 4 if head == "convolution-GAP" else 5
    _, bias = found.weights(channels)
    for target in range(4):
        results = tfcam.explain(model, inputs, target=target, method="cam")
        scores = [each.score for each in results]
        means = results.raws.astype(np.float64).mean((1, 2)) + float(bias[target])
        np.testing.assert_allclose(means, scores, rtol=2e-5, atol=1e-6)
        grad = tfcam.explain(model, inputs, results[0].layer, target=target).raws
        np.testing.assert_allclose(36 * grad, results.raws, rtol=1e-4, atol=1e-5)


def test_the_folded_batch_norm_equals_its_replica():
    model = EXACT["GAP-BatchNorm-Dense"]()
    pool, norm, dense = model.layers[-3:]
    assert isinstance(pool, layers.GlobalAveragePooling2D)
    found = graph_of(model).head()
    weights, bias = (value.numpy() for value in found.weights(5))
    pooled = np.random.default_rng(0).normal(0, 1, (6, 5))
    gamma, beta, mean, variance = (w.astype(np.float64) for w in norm.get_weights())
    kernel, offset = (w.astype(np.float64) for w in dense.get_weights())
    normed = replicas.batch_norm(pooled, gamma, beta, mean, variance, norm.epsilon)
    np.testing.assert_allclose(pooled @ weights + bias, normed @ kernel + offset, rtol=1e-5)


def test_squeezenets_class_maps_are_the_cam(inputs):
    model = EXACT["convolution-GAP"]()
    maps = keras.Model(model.input, model.get_layer("class_maps").output)(inputs).numpy()
    result = tfcam.explain(model, inputs, target=2, method="cam")
    np.testing.assert_allclose(result.raws, maps[..., 2], rtol=1e-6)
    assert result[0].layer == "class_maps"


def test_max_pooling_weighs_the_whole_map(inputs):
    model = network(layers.GlobalMaxPooling2D(), logits_head())
    maps = keras.Model(model.input, model.get_layer("map").output)(inputs).numpy()
    kernel = model.get_layer("linear").get_weights()[0]
    result = tfcam.explain(model, inputs, target=1, method="cam")
    for index in range(3):
        wanted = replicas.cam(maps[index], kernel[:, 1])
        np.testing.assert_allclose(result[index].raw, wanted, rtol=1e-4, atol=1e-6)
    found = graph_of(model).head()
    assert found.pooling == "max"


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * tf.nn.relu(x)


REFUSED = {
    "two dense layers": (
        [layers.GlobalAveragePooling2D, lambda: layers.Dense(6), logits_head],
        "second",
    ),
    "a ReLU between": (
        [layers.GlobalAveragePooling2D, lambda: layers.Dense(6, activation="relu"), logits_head],
        "second linear layer",
    ),
    "an activation between": (
        [layers.GlobalAveragePooling2D, lambda: layers.ReLU(name="bend"), logits_head],
        "'bend' stands between",
    ),
    "layer normalisation": (
        [layers.GlobalAveragePooling2D, lambda: layers.LayerNormalization(name="ln"), logits_head],
        "'ln' stands between",
    ),
    "flatten": ([layers.Flatten, logits_head], "'map' stands between"),
    "local pooling": (
        [lambda: layers.AveragePooling2D(3, name="local"), layers.Flatten, logits_head],
        "'local' stands between",
    ),
    "a tanh output": (
        [layers.GlobalAveragePooling2D, lambda: layers.Dense(4, activation="tanh", name="t")],
        "'t' is not linear",
    ),
    "a layer of ones own": (
        [layers.GlobalAveragePooling2D, lambda: Doubled(name="own"), logits_head],
        "'own' stands between",
    ),
}


@pytest.mark.parametrize("head", REFUSED)
def test_other_heads_are_refused_with_the_reason_and_what_applies(head, inputs):
    makers, reason = REFUSED[head]
    model = network(*(make() for make in makers))
    with pytest.raises(
        ValueError, match=f"CAM needs a linear head.*{reason}.*These apply: grad_cam"
    ):
        tfcam.explain(model, inputs, method="cam")
    assert not any(entry.cam for entry in tfcam.layers(model))
    assert np.isfinite(tfcam.explain(model, inputs, "map").raws).all()


def test_cam_of_a_callable_target_is_refused(inputs):
    with pytest.raises(ValueError, match="needs a class"):
        tfcam.explain(EXACT["GAP-Dense"](), inputs, method="cam", target=lambda o: o[:, 0])


def test_several_outputs_have_no_one_head(inputs):
    ends = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(ends))
    model = keras.Model(ends, [layers.Dense(2)(x), layers.Dense(2)(x)])
    with pytest.raises(ValueError, match="it has 2 outputs"):
        tfcam.explain(model, inputs, method="cam")
