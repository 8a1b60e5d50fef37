"""One kernel and one bias do what a convolution and the steps after it did."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tests.tolerances import ROUNDED, rounding
from tfcam.engine.folding import folded, function_of

PLACE = (2, 7, 6, 4)
RNG = np.random.default_rng(0)
KERNEL, WIDE, GROUPED = (RNG.normal(size=(3, 3, *end)) for end in ((4, 6), (4, 2), (2, 6)))
SCALE, SHIFT, BIAS = RNG.uniform(0.5, 2, 6), RNG.normal(size=6), RNG.normal(size=6)
SCALE8, SHIFT8 = RNG.uniform(0.5, 2, (1, 1, 1, 8)), RNG.normal(size=(1, 8))


def conv(x, kernel=KERNEL, strides=1, **options):
    return tf.nn.conv2d(x, tf.cast(kernel, x.dtype), strides, "SAME", **options)


def normal(x, scale=SCALE, shift=SHIFT):
    return x * tf.cast(scale, x.dtype) + tf.cast(shift, x.dtype)


def depthwise(x):
    return tf.nn.depthwise_conv2d(x, tf.cast(WIDE, x.dtype), (1, 2, 2, 1), "VALID")


FOLDED = {
    "normalisation": lambda x: normal(conv(x)),
    "then an activation": lambda x: tf.nn.relu6(normal(conv(x))),
    "factor first": lambda x: tf.cast(SCALE, x.dtype) * conv(x) + tf.cast(SHIFT, x.dtype),
    "factor alone": lambda x: conv(x) * tf.cast(SCALE, x.dtype),
    "one number": lambda x: conv(x) * 3 + 1,
    "bias": lambda x: normal(tf.nn.bias_add(conv(x), tf.cast(BIAS, x.dtype))),
    "two": lambda x: normal(normal(conv(x)), BIAS, SCALE),
    "strides": lambda x: normal(conv(x, strides=2)),
    "dilated": lambda x: normal(conv(x, dilations=2)),
    "depthwise": lambda x: normal(depthwise(x), SCALE8, SHIFT8),
    "one kernel in two places": lambda x: normal(conv(x)) - normal(conv(x), BIAS, SCALE),
}
KEPT = {
    "no factor": lambda x: tf.nn.bias_add(conv(x), tf.cast(BIAS, x.dtype)),
    "its value is asked for": lambda x: ((y := conv(x)), normal(y)),
    "its value is used": lambda x: normal(y := conv(x)) + tf.nn.relu(y),
    "a factor of each place": lambda x: conv(x) * tf.ones((7, 6, 1), x.dtype),
    "a factor of each picture": lambda x: conv(x) * tf.ones((2, 1, 1, 1), x.dtype),
    "a factor of the picture": lambda x: conv(x) * tf.reduce_mean(x),
    "a random factor": lambda x: conv(x) * tf.random.stateless_uniform((6,), (1, 2), dtype=x.dtype),
    "after an activation": lambda x: normal(tf.nn.relu(conv(x))),
    "half precision": lambda x: normal(conv(tf.cast(x, tf.float16))),
    "a kernel that is computed": lambda x: normal(conv(x, KERNEL * tf.reduce_mean(x))),
    "groups": lambda x: normal(conv(x, GROUPED)),
    "in a loop": lambda x: tf.map_fn(lambda each: normal(conv(each[tf.newaxis])), x),
}


def fixed(function, shape=PLACE):
    traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec(shape))
    return convert_variables_to_constants_v2(traced)


def kinds(function):
    return [op.type for op in function.graph.get_operations()]


def in_one(function):
    return function_of(folded(function), function.inputs, function.outputs)


@pytest.mark.parametrize("name", FOLDED)
def test_steps_become_one(name):
    """Against the same steps one by one in float64."""
    before = fixed(FOLDED[name])
    once = in_one(before)
    assert "Mul" in kinds(before)
    assert "Mul" not in kinds(once)
    pictures = RNG.normal(size=PLACE)
    want = FOLDED[name](tf.constant(pictures)).numpy()
    got = once(tf.constant(pictures, tf.float32))[0].numpy()
    np.testing.assert_allclose(got, want, atol=rounding(want))


@pytest.mark.parametrize("name", KEPT)
def test_what_cannot_be_one_stays(name):
    before = fixed(KEPT[name])
    assert folded(before) == before.graph.as_graph_def()


def test_what_is_asked_for_itself_stays():
    """Without the step that ``tf.function`` puts between a value and an output."""
    before = fixed(lambda x: normal(conv(x)))
    (convolved,) = (op for op in before.graph.get_operations() if op.type == "Conv2D")
    asked = [*convolved.outputs, *before.outputs]
    both = function_of(before.graph.as_graph_def(), before.inputs, asked)
    assert folded(both) == both.graph.as_graph_def()


def test_channels_may_come_first():
    """Only the graph: TensorFlow convolves so on few CPUs."""
    shape = (2, 4, 6, 6)

    def steps(x, scale):
        return conv(x, data_format="NCHW") * tf.cast(scale, x.dtype)

    once = in_one(fixed(lambda x: steps(x, SCALE[:, np.newaxis, np.newaxis]), shape))
    (added,) = (op for op in once.graph.get_operations() if op.type == "BiasAdd")
    assert added.get_attr("data_format") == b"NCHW"
    found = tf.get_static_value(added.inputs[0].op.inputs[1])
    np.testing.assert_allclose(found, KERNEL * SCALE, rtol=ROUNDED)
    along_rows = fixed(lambda x: steps(x, SCALE), shape)
    assert folded(along_rows) == along_rows.graph.as_graph_def()


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("MobileNetV2", 52),
        ("EfficientNetB0", 49),
    ],
)
@pytest.mark.thinned(1, kept="slow")
def test_networks_give_the_same(name, runs):
    """Every normalisation of a convolution is gone; none is that of an untrained network."""
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)(
        weights=None, input_shape=(75, 75, 3), include_top=False, pooling="avg"
    )
    for weight in network.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(RNG.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "moving_mean"):
            weight.assign(RNG.normal(0, 0.2, weight.shape))
    once = in_one(fixed(lambda x: network(x, training=False), (2, 75, 75, 3)))
    assert sum(op.name.endswith("/folded_bias") for op in once.graph.get_operations()) == runs
    pictures = tf.constant(RNG.uniform(0, 255, (2, 75, 75, 3)), tf.float32)
    want = network(pictures, training=False).numpy()
    np.testing.assert_allclose(once(pictures)[0].numpy(), want, atol=1e-5 * np.abs(want).max())
