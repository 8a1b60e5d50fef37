"""Biases and FullGrad: hand arithmetic, a float64 replica, completeness, and what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests import networks, replicas
from tests.laws import law
from tests.tolerances import rounding
from tfcam.methods.bias_terms import bias_taps, biases
from tfcam.methods.full_grad import completeness_error, full_gradient_map
from tfcam.model.graph import graph_of
from tfcam.passes.reading import Need
from tfcam.passes.submodel import SubModel
from tfcam.targets.regression import Regression


def decomposed(model, inputs, target=0, taps=None):
    """x, df/dx, every b df/dz, and f."""
    images = tf.constant(inputs)
    taps = bias_taps(graph_of(model)) if taps is None else taps
    chosen = target if callable(target) else tf.fill([len(inputs)], target)
    read = SubModel(graph_of(model), taps, heads=True).read(
        images, chosen, Need.GRADIENTS | Need.IMAGE_GRADIENTS
    )
    readings, scores = read.readings, read.readings[0].scores
    parts = [
        biases(tap.operation(), each.activations) * each.gradients
        for tap, each in zip(taps, readings, strict=True)
    ]
    return images, readings[0].image_gradients, parts, scores


def names(model):
    return [(tap.path, tap.number) for tap in bias_taps(graph_of(model))]


def filled(model, seed=3, spread=0.4):
    """The model with every weight its own, none of them zero."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.dtype != "float32":
            continue
        values = rng.normal(0.05, spread, variable.shape)
        variable.assign(values**2 + 0.5 if "variance" in variable.path else values)
    return model


def assert_complete(model, inputs, target=0):
    """The parts sum up to the score, and no longer do if any one of the biases is left out."""
    images, gradients, parts, scores = decomposed(model, inputs, target)
    error = completeness_error(images, gradients, parts, scores).numpy()
    scale = np.abs(scores).max()
    # The parts may be larger than the score, and cancel: rounding is relative to them.
    terms = [total(images * gradients), *map(total, parts)]
    assert np.abs(error).max() < rounding(scores, *terms)
    for index in range(len(parts)):
        fewer = parts[:index] + parts[index + 1 :]
        left = completeness_error(images, gradients, fewer, scores)
        assert np.abs(left).max() > 1e-4 * scale, bias_taps(graph_of(model))[index].path


def hand_set(activation="relu"):
    """z = 2 x - 3, then an activation; f = 8 mean(a) + 5."""
    ends = keras.Input((2, 2, 1))
    x = layers.Conv2D(1, 1, activation=activation, name="conv")(ends)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(ends, layers.Dense(1, name="head")(x))
    model.get_layer("conv").set_weights([np.full((1, 1, 1, 1), 2.0), np.array([-3.0])])
    model.get_layer("head").set_weights([np.array([[8.0]]), np.array([5.0])])
    return model


def test_numbers_on_paper():
    # z = (-1, 1; 3, -11), a = (0, 1; 3, 0), f = 8 * 4 / 4 + 5 = 13; df/da = 2, df/dx = 4 or 0.
    picture = np.array([[1.0, 2.0], [3.0, -4.0]], "float32")[None, ..., None]
    images, gradients, (conv, head), scores = decomposed(hand_set(), picture, Regression())
    assert scores.numpy().tolist() == [13]
    assert (images * gradients).numpy().ravel().tolist() == [0, 8, 12, 0]
    assert conv.numpy().ravel().tolist() == [0, -6, -6, 0]
    assert head.numpy().tolist() == [[5]]
    assert completeness_error(images, gradients, [conv, head], scores).numpy().tolist() == [0]
    M = full_gradient_map(images, gradients, [conv, head]).numpy()
    np.testing.assert_allclose(M, [[[0, 8 / 12 + 1], [2, 0]]], rtol=1e-6)


def test_numbers_on_paper_where_relu6_is_full():
    # z = (-1, 1; 3, 17), a = (0, 1; 3, 6), f = 8 * 10 / 4 + 5 = 25: x df/dx = 20, biases 0 and 5.
    picture = np.array([[1.0, 2.0], [3.0, 10.0]], "float32")[None, ..., None]
    images, gradients, (conv, head), scores = decomposed(hand_set("relu6"), picture, Regression())
    assert scores.numpy().tolist() == [25]
    assert (images * gradients).numpy().ravel().tolist() == [0, 8, 12, 0]
    assert conv.numpy().ravel().tolist() == [0, -6, -6, 12]
    assert completeness_error(images, gradients, [conv, head], scores).numpy().tolist() == [0]


def small():
    ends = keras.Input((4, 4, 2))
    x = layers.Conv2D(3, 3, activation="relu", name="conv")(ends)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(max_value=0.8, name="short")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = filled(keras.Model(ends, layers.Dense(2, activation="softmax", name="head")(x)))
    conv, norm = model.get_layer("conv"), model.get_layer("norm")
    conv.bias.assign([0.5, -0.4, 0.3])
    norm.beta.assign([0.7, -0.3, 0.9])
    return model


def replica(model, x, extra):
    """The network of ``small`` in float64; ``extra[l]`` is added at layer l, before its bend."""
    W, b = (w.astype(np.float64) for w in model.get_layer("conv").get_weights())
    z = np.zeros((2, 2, 3))
    for i in range(2):
        for j in range(2):
            for k in range(3):
                z[i, j, k] = b[k] + (x[i : i + 3, j : j + 3] * W[..., k]).sum() + extra[0][i, j, k]
    norm = model.get_layer("norm")
    gamma, beta, mu, var = (w.astype(np.float64) for w in norm.get_weights())
    y = replicas.batch_norm(np.maximum(z, 0), gamma, beta, mu, var, norm.epsilon) + extra[1]
    a = np.clip(y, 0, 0.8) + extra[2]
    V, c = (w.astype(np.float64) for w in model.get_layer("head").get_weights())
    full = np.where(y >= 0.8, 0.8, 0.0)
    shift = beta - gamma * mu / np.sqrt(var + norm.epsilon)
    return a.mean((0, 1)) @ V + c, [np.broadcast_to(b, z.shape), np.tile(shift, (2, 2, 1)), full], c


@law("each bias by finite differences", "full_grad")
def test_every_bias_equals_the_replica_moved_at_that_bias(rng):
    """In a linear region b df/dz is b (f(z + d) - f(z)) / d, at each position by itself."""
    model, inputs = small(), rng.normal(0, 1, (3, 4, 4, 2)).astype(np.float32)
    assert names(model) == [("conv", 0), ("norm", 0), ("short", 0), ("head", 0)]
    _, _, parts, scores = decomposed(model, inputs, 1)
    for n, x in enumerate(inputs.astype(np.float64)):
        zero = [np.zeros((2, 2, 3)) for _ in range(3)]
        f, constants, c = replica(model, x, zero)
        assert scores[n].numpy() == pytest.approx(f[1], rel=1e-5)
        for layer in range(3):
            wanted = np.zeros((2, 2, 3))
            for place in np.ndindex(2, 2, 3):
                moved = [each.copy() for each in zero]
                moved[layer][place] = 1e-6
                slope = (replica(model, x, moved)[0][1] - f[1]) / 1e-6
                wanted[place] = constants[layer][place] * slope
            np.testing.assert_allclose(parts[layer][n], wanted, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(parts[3][n], [0, c[1]], rtol=1e-6)
    assert (np.asarray(parts[2]) != 0).any()  # some values were full
    assert_complete(model, inputs)


def map_replica(x, gradient, parts):
    """Srinivas and Fleuret 2019, FullGrad of one image, with loops over layers and channels."""
    height, width, _ = x.shape
    M = np.zeros((height, width))
    for each in [x * gradient, *(part for part in parts if part.ndim == 3)]:
        values = np.abs(each.astype(np.float64))
        span = values.max() - values.min()
        for c in range(values.shape[-1]):
            channel = (values[..., c] - values.min()) / span if span else 0 * values[..., c]
            M += replicas.bilinear(channel, height, width)
    return M


def test_the_map_equals_the_replica(rng):
    model, inputs = networks.flat(), networks.pictures(2)
    images, gradients, parts, _ = decomposed(model, inputs)
    M = full_gradient_map(images, gradients, parts).numpy()
    for n in range(2):
        each = [part[n].numpy() for part in parts]
        wanted = map_replica(inputs[n], gradients[n].numpy(), each)
        np.testing.assert_allclose(M[n], wanted, rtol=1e-4, atol=1e-5)
    one = full_gradient_map(images[1:], gradients[1:], [part[1:] for part in parts])
    np.testing.assert_allclose(M[1:], one, rtol=1e-6)


def test_constant_parts_are_zero_and_dense_biases_are_not_in_the_map():
    ones = tf.ones((2, 3, 4, 2))
    parts = [tf.ones((2, 1, 1, 5)), tf.zeros((2, 2, 2, 1)), tf.constant([[1.0, 9.0]] * 2)]
    M = full_gradient_map(ones, ones, parts).numpy()
    np.testing.assert_array_equal(M, np.zeros((2, 3, 4)))


def ends(size=networks.SIZE):
    return keras.Input((size, size, 3))


def headed(x, start):
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(start, layers.Dense(3, activation="softmax", name="head")(x))


def residual():
    start = ends()
    x = skip = layers.Conv2D(6, 3, padding="same", name="first")(start)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="unbiased")(x)
    x = layers.BatchNormalization(scale=False, name="unscaled")(x)
    x = layers.Activation("relu")(layers.Add()([x, skip]))
    return headed(layers.MaxPooling2D()(x), start)


def slopes():
    start = ends()
    x = layers.SeparableConv2D(6, 3, activation="leaky_relu", name="separable")(start)
    x = layers.PReLU(alpha_initializer=keras.initializers.Constant(0.3), shared_axes=[1, 2])(x)
    x = layers.DepthwiseConv2D(3, activation=tf.nn.relu, name="depthwise")(x)
    x = layers.Conv2D(6, 3, groups=3, name="grouped")(x)
    x = layers.LeakyReLU(negative_slope=0.1)(x)
    x = layers.Conv2DTranspose(4, 3, strides=2, activation="relu", name="transposed")(x)
    return headed(layers.ReLU(negative_slope=0.2)(x), start)


def saturated():
    start = ends()
    x = layers.Rescaling(20.0, offset=-3.0, name="scaled")(start)
    x = layers.Conv2D(5, 3, activation="relu6", name="inline")(x)
    x = layers.ReLU(max_value=6, name="layer")(layers.Conv2D(5, 3, name="conv")(x))
    x = layers.Rescaling(8.0, name="no_offset")(layers.Conv2D(5, 1, use_bias=False)(x))
    x = layers.Activation("relu6", name="activation")(x)
    x = layers.Conv2D(5, 1, use_bias=False)(x)
    x = layers.ReLU(max_value=2.5, negative_slope=0.3, name="lower")(x)
    return headed(layers.ReLU(threshold=0.5)(x), start)


def twice():
    start = ends()
    conv = layers.Conv2D(3, 3, padding="same", activation="relu", name="twice")
    return headed(conv(conv(start)), start)


def nested():
    start = ends()
    inner = keras.Model(s := ends(), layers.Conv2D(4, 3, activation="relu", name="conv")(s))
    inner.name = "backbone"
    return headed(layers.BatchNormalization(name="norm")(inner(start)), start)


def moves():
    """Everything that only moves numbers about, and operations without a layer."""
    start = ends()
    x = layers.Normalization(mean=[0.3, -0.2, 0.1], variance=[0.5, 1.0, 2.0], name="stats")(start)
    x = layers.ZeroPadding2D(1)(layers.Cropping2D(1)(x))
    y = layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="dilated")(x)
    x = layers.UpSampling2D(2)(layers.AveragePooling2D(2, padding="same")(y))
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.MaxPooling2D()(x))
    x = layers.Concatenate()([keras.ops.add(x, y), layers.Subtract()([x, y])])
    x = layers.Average()([layers.Dropout(0.5)(x), layers.SpatialDropout2D(0.5)(x)])
    x = layers.Maximum()([x, layers.Permute((2, 1, 3))(x)]) / 2.0
    x = layers.Identity()(layers.Reshape((6, 24, 8))(x))
    x = layers.Lambda(lambda z: tf.nn.relu(z) - 0.5 * tf.nn.relu(-z), name="own")(x)
    pooled = layers.GlobalMaxPooling2D()(x) + keras.ops.mean(x, (1, 2))
    x = layers.Dense(5, activation="relu", name="hidden")(layers.Flatten()(pooled))
    return keras.Model(start, layers.Dense(3, name="head")(x))


def volume():
    start = keras.Input((6, 6, 3))
    x = layers.Reshape((3, 6, 6, 1))(layers.Permute((3, 1, 2))(start))
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="solid")(x)
    x = layers.Reshape((36, 12))(x)
    x = layers.Conv1D(4, 3, activation="relu", name="line")(x)
    return keras.Model(start, layers.Dense(3, name="head")(layers.GlobalMaxPooling1D()(x)))


SMALL = {
    residual: ["first", "norm", "unscaled", "head"],
    slopes: ["separable", "depthwise", "grouped", "transposed", "head"],
    saturated: ["scaled", "inline", "conv", "layer", "activation", "lower", "head"],
    twice: ["twice", "twice", "head"],
    nested: ["backbone/conv", "norm", "head"],
    moves: ["stats", "dilated", "hidden", "head"],
    volume: ["solid", "line", "head"],
}


@pytest.mark.thinned(2)
@law("complete: parts sum to the score", "full_grad")
@pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)
def test_pixels_and_biases_sum_up_to_the_score(make, rng):
    model = filled(make())
    inputs = rng.normal(0, 1, (3, *model.input_shape[1:])).astype(np.float32)
    before = networks.snapshot(model, inputs)
    assert [tap.path for tap in bias_taps(graph_of(model))] == SMALL[make]
    assert networks.snapshot(model, inputs) == before
    assert_complete(model, inputs, 1)
    assert_complete(model, inputs, lambda outputs: outputs[:, 2] - 3 * outputs[:, 0])


def test_a_shared_layer_counts_once_for_each_call():
    assert names(twice()) == [("twice", 0), ("twice", 1), ("head", 0)]


@pytest.mark.parametrize("kind", networks.KINDS)
@pytest.mark.thinned(5)
def test_every_kind_of_model_has_the_same_parts(kind):
    model, inputs = networks.make(kind), networks.pictures(2)
    taps = bias_taps(graph_of(model))
    assert [tap.path.split("/")[-1] for tap in taps] == ["first", "second", "norm", "head"]
    found, wanted = decomposed(model, inputs, 2), decomposed(networks.flat(), inputs, 2)
    for each, other in zip(found[2], wanted[2], strict=True):
        np.testing.assert_allclose(each, other, rtol=1e-4, atol=1e-6)
    assert_complete(model, inputs, 2)


def test_a_compiled_pass_has_the_same_parts():
    model, inputs = networks.flat(), networks.pictures(2)
    taps = bias_taps(graph_of(model))
    traced = tf.function(lambda: decomposed(model, inputs, taps=taps), autograph=False)
    for each, other in zip(traced()[2], decomposed(model, inputs)[2], strict=True):
        np.testing.assert_allclose(each, other, rtol=1e-4, atol=1e-6)


def test_biases_off_the_way_to_the_score_are_not_tapped():
    start = ends()
    used, side = (layers.Conv2D(2, 3, name=name)(start) for name in ("used", "side"))
    # A step: no small change of the image moves it, whatever comes before it.
    gate = keras.ops.cast(layers.Activation("tanh")(side) > 0, "float32")
    model = headed(used * gate, start)
    assert names(model) == [("used", 0), ("head", 0)]
    assert_complete(filled(model), networks.pictures(2))


def total(values):
    return values.numpy().reshape(len(values), -1).sum(1)


def application(name, inputs):
    """A network with random biases and, so that pictures reach its end, fitted batch statistics."""
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if variable.name in ("bias", "beta"):
            variable.assign(rng.normal(0, 0.3, variable.shape))
        elif variable.name == "gamma":
            variable.assign(rng.uniform(1, 3, variable.shape))
        elif variable.name == "kernel":
            variable.assign(1.4 * variable)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(inputs, training=True)
    return model


@pytest.mark.parametrize(("name", "count"), [("MobileNetV2", 88), ("DenseNet121", 122)])
@pytest.mark.thinned(1, kept="slow")
def test_networks_of_keras_applications_are_complete(name, count, rng):
    inputs = rng.normal(0, 1, (2, 64, 64, 3)).astype(np.float32)
    model = application(name, inputs)
    images, gradients, parts, scores = decomposed(model, inputs, 5)
    assert len(parts) == count
    error = completeness_error(images, gradients, parts, scores)
    # The parts are far larger than the score, and cancel: rounding is relative to them.
    sums = {"pixels": total(images * gradients)}
    for tap, part in zip(bias_taps(graph_of(model)), parts, strict=True):
        kind = type(tap.operation()).__name__
        sums[kind] = sums.get(kind, 0) + total(part)
    scale = max(np.abs(each).max() for each in sums.values())
    assert np.abs(error).max() < rounding(*sums.values())
    for kind in sums.keys() - {"Dense"}:
        assert np.abs(sums[kind]).min() > 0.01 * scale, kind


@pytest.mark.slow
def test_a_network_with_its_real_weights_is_complete(mobilenet, rng):
    inputs = rng.uniform(-1, 1, (1, 224, 224, 3)).astype(np.float32)
    images, gradients, parts, scores = decomposed(mobilenet, inputs, 281)
    error = completeness_error(images, gradients, parts, scores)
    terms = [total(images * gradients), *map(total, parts)]
    assert np.abs(error).max() < rounding(scores, *terms)
    M = full_gradient_map(images, gradients, parts).numpy()
    assert M.shape == (1, 224, 224)
    assert np.isfinite(M).all()
    assert M.min() >= 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("EfficientNetB0", "'stem_activation' computes silu"),
        ("ConvNeXtTiny", "stem_layernorm' computes LayerNormalization"),
        ("MobileNetV3Small", "'activation.*' computes hard_silu"),
    ],
)
@pytest.mark.thinned(1, kept="slow")
def test_networks_that_are_not_piecewise_linear_are_refused(name, reason):
    model = getattr(keras.applications, name)(weights=None, input_shape=(64, 64, 3))
    with pytest.raises(ValueError, match=f"piecewise linear.*{reason}.*Use 'grad_cam'"):
        bias_taps(graph_of(model))


@keras.saving.register_keras_serializable("tests")
class Shifted(layers.Layer):
    def call(self, x):
        return x + 1.0


class Own(layers.Conv2D):
    pass


class Root(keras.Model):
    def __init__(self):
        super().__init__(name="root")
        self.conv = layers.Conv2D(2, 3)

    def call(self, x):
        return tf.reduce_mean(tf.sqrt(tf.nn.relu(self.conv(x))), [1, 2])


CURVED = {
    "'bend' computes gelu": lambda x: layers.Activation("gelu", name="bend")(x),
    "'bend' computes tanh": lambda x: layers.Conv2D(2, 1, activation="tanh", name="bend")(x),
    "'bend' computes sigmoid": lambda x: layers.Dense(2, activation="sigmoid", name="bend")(x),
    "'bend' computes elu": lambda x: layers.Conv2D(2, 1, activation="elu", name="bend")(x),
    "'bend' computes Softmax": lambda x: layers.Softmax(name="bend")(x),
    "'gate' computes Multiply": lambda x: layers.Multiply(name="gate")(
        [x, layers.GlobalAveragePooling2D(keepdims=True)(x)]
    ),
    "'norm' computes GroupNormalization": lambda x: layers.GroupNormalization(1, name="norm")(x),
    "'look.*' computes": lambda x: layers.MultiHeadAttention(1, 2, name="look")(x, x),
    "'true_divide.*' computes TrueDivide": lambda x: 1.0 / x,
    "'inner' computes Lambda .PartitionedCall": lambda x: layers.Lambda(
        tf.function(lambda z: tf.nn.relu(z)), name="inner"
    )(x),
    "'loop' computes tanh": lambda x: layers.ConvLSTM2D(2, 3, name="loop")(x[:, None]),
    "'waves' computes Lambda": lambda x: layers.Lambda(
        lambda z: tf.math.real(tf.signal.fft(tf.complex(z, z))), name="waves"
    )(x),
    "'own' computes Lambda": lambda x: layers.Lambda(tf.stop_gradient, name="own")(x),
}


@pytest.mark.parametrize("reason", CURVED)
def test_what_is_not_piecewise_linear_is_named(reason):
    start = ends(6)
    model = headed(CURVED[reason](start), start)
    with pytest.raises(ValueError, match=f"piecewise linear.*({reason})"):
        bias_taps(graph_of(model))


def test_what_is_in_no_layer_is_named_by_the_model():
    model = Root()
    model(networks.pictures(1))
    with pytest.raises(ValueError, match="piecewise linear.*'root' computes Sqrt"):
        bias_taps(graph_of(model))


def test_several_inputs_are_refused():
    pictures = [keras.Input((4, 4, 3), name=name) for name in "ab"]
    x = layers.Conv2D(2, 3, activation="relu")(layers.Concatenate()(pictures))
    model = keras.Model(pictures, layers.Dense(2)(layers.Flatten()(x)), name="both")
    with pytest.raises(ValueError, match="'both' has several inputs"):
        bias_taps(graph_of(model))


UNKNOWN = {
    "'shifted' adds one .*is of the class Shifted": lambda x: Shifted(name="shifted")(x),
    "'mine' adds one .*is of the class Own": lambda x: Own(2, 1, name="mine")(x),
    "'plus' adds one .*is of the class Add": lambda x: keras.src.ops.numpy.Add(name="plus")(x, 1.0),
    "'bend' adds one .*has the activation hard_tanh": lambda x: layers.Activation(
        "hard_tanh", name="bend"
    )(x),
    "'bend' adds one .*threshold and a negative": lambda x: layers.ReLU(
        threshold=1.0, negative_slope=0.5, name="bend"
    )(x),
    "'limit' adds one .*is of the class Lambda": lambda x: layers.Lambda(
        lambda z: tf.minimum(z, 2.0), name="limit"
    )(x),
}


@pytest.mark.parametrize("reason", UNKNOWN)
def test_constants_that_no_known_layer_adds_are_refused(reason):
    start = ends(6)
    model = headed(UNKNOWN[reason](start), start)
    with pytest.raises(ValueError, match=f"every constant.*{reason}.*Let a layer of Keras add it"):
        bias_taps(graph_of(model))


def test_biases_of_an_unknown_layer_are_refused():
    with pytest.raises(ValueError, match="'shifted' is of the class Shifted"):
        biases(Shifted(name="shifted"), tf.ones((1, 2)))


def test_biases_lie_along_the_axis_of_the_channels():
    conv = layers.Conv2D(2, 1, data_format="channels_first")
    conv.build((None, 3, 4, 5))
    conv.bias.assign([1.0, 2.0])
    assert biases(conv, tf.ones((1, 2, 4, 5)))[0, :, 0, 0].numpy().tolist() == [1, 2]
    norm = layers.BatchNormalization(axis=1)
    norm.build((None, 2, 5, 4))
    norm.beta.assign([1.0, 2.0])
    assert biases(norm, tf.ones((1, 2, 4, 5)))[0, :, 0, 0].numpy().tolist() == [1, 2]
    turned = layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 4.0], invert=True)
    turned.build((None, 2))
    assert biases(turned, tf.ones((1, 2))).numpy().ravel().tolist() == [1, 2]
