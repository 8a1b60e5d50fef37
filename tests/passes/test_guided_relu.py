"""Guided ReLUs: hand arithmetic, what is gated and counted, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.laws import law
from tfcam.engine.settings import Settings
from tfcam.methods.registry import ask
from tfcam.targets.classes import NOTHING


def guided(model, inputs, target=0):
    return tfcam.explain(model, inputs, target=target, method="guided_backprop")


def plain(model, inputs, target=0):
    images = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = model(images, training=False)
        score = tf.reduce_sum(getattr(outputs, "_keras_logits", outputs)[:, target])
    return tape.gradient(score, images).numpy()


def pixelwise(*activations, units=6):
    """1x1 convolutions with activations, averaged: a small network on each pixel."""
    steps = [keras.Input((2, 2, 3))]
    for activation in activations:
        steps += [layers.Conv2D(units, 1), activation]
    model = keras.Sequential([*steps, layers.GlobalAveragePooling2D(), layers.Dense(2)])
    rng = np.random.default_rng(2)
    for variable in model.variables:
        variable.assign(rng.normal(0, 1, variable.shape))
    return model


def replica(model, inputs, target, gate):
    """Two layers z = x W1 + b1, s = mean(relu(z) W2 + b2) V in float64; ``gate`` guides."""
    (W1, b1, W2, b2, V, _) = (w.astype(np.float64) for w in model.get_weights())
    z1 = inputs @ W1[0, 0] + b1
    z2 = np.maximum(z1, 0) @ W2[0, 0] + b2
    back = np.broadcast_to(V[:, target] / 4, z2.shape)
    back = back * (z2 > 0) * (back > 0 if gate else True)
    back = back @ W2[0, 0].T
    back = back * (z1 > 0) * (back > 0 if gate else True)
    return back @ W1[0, 0].T


@law("two layers by hand; forward unchanged", "guided_backprop")
def test_two_layers_equal_the_replica(rng):
    model = pixelwise(layers.ReLU(), layers.Activation("relu"))
    inputs = rng.normal(0, 1, (3, 2, 2, 3)).astype(np.float32)
    for target in (0, 1):
        found = guided(model, inputs, target)
        wanted = replica(model, inputs, target, gate=True)
        np.testing.assert_allclose(found.raws, wanted, rtol=1e-4, atol=1e-6)
        assert found[0].options["gated_activations"] == 2
        unguided = replica(model, inputs, target, gate=False)
        np.testing.assert_allclose(plain(model, inputs, target), unguided, rtol=1e-4, atol=1e-6)
        assert np.abs(wanted - unguided).max() > 0.1
    outputs = [each.score for each in guided(model, inputs, 0)]
    np.testing.assert_allclose(outputs, model(inputs, training=False)[:, 0], rtol=1e-5)


def test_the_result_counts_what_was_gated_for_a_callable_too(rng):
    model = pixelwise(layers.ReLU(), layers.Activation("relu"))
    inputs = rng.normal(0, 1, (1, 2, 2, 3)).astype(np.float32)
    (result,) = guided(model, inputs, lambda outputs: outputs[:, 0])
    assert result.options["gated_activations"] == 2


def test_relu6_stops_where_it_is_flat(rng):
    model = pixelwise(layers.ReLU(max_value=6))
    inputs = 12 * rng.normal(0, 1, (4, 2, 2, 3)).astype(np.float32)
    W, b, V, _ = (w.astype(np.float64) for w in model.get_weights())
    z = inputs @ W[0, 0] + b
    assert (z > 6).any()
    back = np.broadcast_to(np.maximum(V[:, 0], 0) / 4, z.shape) * ((z > 0) & (z < 6))
    np.testing.assert_allclose(guided(model, inputs).raws, back @ W[0, 0].T, rtol=1e-4, atol=1e-6)


ELSEWHERE = {
    "PReLU": lambda: layers.PReLU(alpha_initializer=keras.initializers.Constant(0.3)),
    "hard_sigmoid": lambda: layers.Activation("hard_sigmoid"),
    "hard_silu": lambda: layers.Activation("hard_silu"),
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_the_relu_inside_another_activation_is_not_gated(kind, rng):
    """PReLU is relu(x) - a relu(-x), hard sigmoid relu6(x + 3) / 6: the parts are no activation."""
    inputs = rng.normal(0, 2, (3, 2, 2, 3)).astype(np.float32)
    with_relu = pixelwise(ELSEWHERE[kind](), layers.ReLU())
    results = guided(with_relu, inputs)
    # PReLU's positive part is a ReLU; it is gated, its negative part is not.
    assert results[0].options["gated_activations"] == (2 if kind == "PReLU" else 1)
    if kind != "PReLU":
        with pytest.raises(ValueError, match="has none"):
            guided(pixelwise(ELSEWHERE[kind]()), inputs)


@pytest.mark.parametrize("activation", ["swish", "gelu", "tanh", "linear", "leaky_relu"])
def test_networks_without_relus_are_refused(activation, rng):
    model = pixelwise(layers.Activation(activation))
    before = networks.snapshot(model, np.zeros((1, 2, 2, 3), np.float32))
    for method in ("guided_backprop", "guided_grad_cam"):
        with pytest.raises(ValueError, match="gate ReLUs, and .* has none.*Use 'grad_cam'"):
            tfcam.explain(model, np.zeros((1, 2, 2, 3), np.float32), 0, method=method)
    assert networks.snapshot(model, np.zeros((1, 2, 2, 3), np.float32)) == before


class Hidden(keras.layers.Layer):
    """Its ReLU is inside a traced function of its own."""

    @tf.function
    def bend(self, x):
        return tf.nn.relu(x)

    def call(self, x):
        return self.bend(x)


def test_relus_out_of_reach_are_refused_not_passed_off():
    with pytest.raises(ValueError, match="must reach every ReLU; 1 of .* are inside"):
        guided(pixelwise(Hidden(), layers.ReLU()), np.ones((1, 2, 2, 3), np.float32))


def test_every_way_to_write_a_relu_is_gated(rng):
    inputs = rng.normal(0, 1, (2, 2, 2, 3)).astype(np.float32)
    ways = {
        "layer": layers.ReLU(),
        "activation": layers.Activation("relu"),
        "lambda": layers.Lambda(tf.nn.relu),
    }
    found = [guided(pixelwise(way, layers.ReLU()), inputs).raws for way in ways.values()]
    ends = keras.Input((2, 2, 3))
    x = keras.ops.relu(layers.Conv2D(6, 1)(ends))
    x = layers.Conv2D(6, 1, activation="relu")(x)
    model = keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    model.set_weights(pixelwise(layers.ReLU(), layers.ReLU()).get_weights())
    for each in [*found[1:], guided(model, inputs).raws]:
        np.testing.assert_allclose(each, found[0], rtol=1e-5, atol=1e-7)


@tf.custom_gradient
def guided_by_hand(x):
    y = tf.nn.relu(x)
    return y, lambda back: tf.where((y > 0) & (back > 0), back, 0.0)


@tf.custom_gradient
def deconvnet_by_hand(x):
    return tf.nn.relu(x), tf.nn.relu


def steps(x, kind):
    """What stands between two ReLUs."""
    if kind == "grouped":  # a function of its own in the graph
        return layers.Conv2D(6, 3, groups=2)(x)
    if kind == "stopped":
        return x + 0.5 * keras.ops.stop_gradient(x)
    if kind == "loop":
        return layers.Reshape((4, 1, 6))(
            layers.SimpleRNN(6, return_sequences=True)(layers.Reshape((4, 24))(x))
        )
    if kind == "maxima":
        return layers.MaxPooling2D(2)(x)
    if kind == "gate":
        return x * layers.Dense(6, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.BatchNormalization()(layers.DepthwiseConv2D(3)(x))


def between(kind, activation):
    """Two ReLUs, written as an activation, and a step between them."""
    keras.utils.set_random_seed(3)
    ends = keras.Input((6, 6, 3))
    x = layers.Activation(activation)(layers.Conv2D(6, 3)(ends))
    x = layers.Activation(activation)(layers.Conv2D(8, 1)(steps(x, kind)))
    return keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


KINDS = ("linear", "grouped", "stopped", "loop", "maxima", "gate")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.thinned(2, rest="slow")
def test_what_stands_between_relus_has_its_own_gradient(kind, rng):
    """Against plain Keras, with activations whose gradient is written by hand."""
    inputs = rng.normal(0, 1, (2, 6, 6, 3)).astype(np.float32)
    by_hand = {"guided_backprop": guided_by_hand, "deconvnet": deconvnet_by_hand}
    for method, activation in by_hand.items():
        results = tfcam.explain(between(kind, "relu"), inputs, target=1, method=method)
        wanted = plain(between(kind, activation), inputs, 1)
        np.testing.assert_allclose(results.raws, wanted, rtol=1e-4, atol=1e-6)
        assert np.abs(wanted).max() > 1e-3
    ignored = ["image_ignored" in [each.code for each in result.findings] for result in results]
    assert ignored == [kind in ("linear", "grouped", "stopped")] * 2
    same = np.allclose(wanted[0], wanted[1], atol=1e-5)
    assert same == ignored[0]


def test_all_pixel_methods_share_one_forward_pass(rng):
    """Each layer's convolution stands in what is compiled once, and the loops of none."""
    methods = ["saliency", "gradient_input", "guided_backprop", "deconvnet", "guided_grad_cam"]
    inputs = rng.normal(0, 1, (1, 6, 6, 3)).astype(np.float32)
    model = between("linear", "relu")
    kinds = []
    for asked in (methods, *([method] for method in methods)):
        engine = tfcam.Explainer(model, method=asked[0]).pipeline.opened.engine(
            None, [ask(method, {}) for method in asked], Settings()
        )
        engine(inputs, [np.array([[1, NOTHING]], np.int32)])
        (function,) = (engine.runner.functions.get(key, None) for key in engine.runner.functions)
        operations = function.graph.get_operations()
        kinds.append([each.type for each in operations].count("Conv2D"))
    assert kinds == [2] * 6
