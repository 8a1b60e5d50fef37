"""Layer-wise relevance propagation: replica, laws, hand arithmetic, what is refused."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfcam
from tests import networks
from tests.laws import law
from tests.methods.test_gradients import bent, images
from tests.methods.test_relevance import Gated, Looped, network
from tests.replicas import lrp
from tests.tolerances import ROUNDED, relative
from tfcam.methods import Composite
from tfcam.passes.relevance_rules import RelevanceRules

SMALL = 1e-9


def shared(model, x, target=1, **options):
    return tfcam.explain(model, x, target=target, method="lrp", preprocess=None, **options)


def by_hand(function, *numbers, **options):
    """The relevance of a few numbers, each a channel of one pixel."""
    inputs = keras.Input((1, 1, len(numbers)))
    model = keras.Model(inputs, function(inputs))
    x = np.reshape(np.float32(numbers), (1, 1, 1, -1))
    (result,) = shared(model, x, lambda outputs: outputs[:, 0], **options)
    return result.raw.ravel()


def two_layers(inputs):
    """z = (3, 1) of x = (1, 2), then s = 2 z_1 - z_2 = 5."""
    x = layers.Conv2D(2, 1, use_bias=False, activation="relu")
    head = layers.Dense(1, use_bias=False)
    outputs = head(layers.Flatten()(x(inputs)))
    x.set_weights([np.float32([[[[1, 3], [1, -1]]]])])
    head.set_weights([np.float32([[2], [-1]])])
    return outputs


@law("two layers by hand", "lrp")
@pytest.mark.parametrize(
    ("composite", "wanted"),
    [
        ("epsilon", (-1, 6)),
        ("epsilon_plus", (1, 4)),
        ("epsilon_plus_flat", (2.5, 2.5)),
        (Composite(convolution="gamma"), (0.5, 4.5)),
        (Composite(first="box", bounds=(0, 4)), (1.4, 3.6)),
        ("epsilon_gamma_box", (0, 6)),  # l = 1, h = 2: (0, 2/3) of z_1, (0, 1) of z_2
        ("alpha2_beta1", (2, 9)),
    ],
)
def test_two_layers_by_hand(composite, wanted):
    found = by_hand(two_layers, 1, 2, composite=composite, gamma=1.0)
    assert found == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("rule", ["epsilon", "zplus", "gamma", "alpha2_beta1", "flat"])
@pytest.mark.thinned(2, rest="slow")
def test_lrp_equals_the_replica(rule):
    model, x = bent(), images()
    found = shared(
        model, x, [0, 2], composite=Composite(convolution=rule), epsilon=SMALL, gamma=0.5
    )
    for result, each, c in zip(found, x, [0, 2], strict=True):
        wanted = lrp(model.get_weights(), each, c, rule, 0.5)
        assert relative(result.raw, wanted) < ROUNDED
        assert result.measured["kept"] == pytest.approx(wanted.sum() / result.score, rel=1e-3)


def rectified():
    """Of ReLUs, with all that routes and adds: residuals, poolings, two ways, nested, reused."""
    inputs = keras.Input((9, 9, 3))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    again = layers.Conv2D(6, 3, padding="same")
    x = layers.Add()([layers.ReLU()(again(x)), layers.LeakyReLU()(again(x))])
    y = layers.MaxPooling2D(2)(layers.SeparableConv2D(4, 3, padding="same")(x))
    z = layers.AveragePooling2D(2)(layers.Conv2D(4, 1, groups=2)(x))
    x = layers.Concatenate()([y, z])
    x = layers.BatchNormalization()(x)
    x = keras.Sequential(
        [keras.Input((8, 8, 8)), layers.Conv2D(5, 3, dilation_rate=2), layers.ReLU()]
    )(layers.ZeroPadding2D(2)(x))
    x = layers.Conv2DTranspose(4, 2, strides=2, activation="relu")(x)
    x = layers.Dense(4, activation="relu")(layers.UpSampling2D(2)(x))
    x = layers.Dense(5, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return networks.seeded(keras.Model(inputs, layers.Dense(3, activation="softmax")(x)))


def noise(count=2):
    return np.random.default_rng(4).normal(0, 1, (count, 9, 9, 3)).astype(np.float32)


@pytest.mark.slow
@law("epsilon to 0: gradient times input on ReLU networks", "lrp")
def test_of_relus_it_is_gradient_times_input():
    model, x = rectified(), noise()
    found = shared(model, x, composite="epsilon", epsilon=SMALL)
    plain = tfcam.explain(model, x, target=1, method="gradient_input", preprocess=None)
    assert np.abs(plain.raws).max() > 1e-3
    assert relative(found.raws, plain.raws) < 1e-3


@law("epsilon to 0: what is lost is FullGrad's biases", "lrp")
def test_what_is_lost_is_what_the_biases_gave():
    model, x = bent(), images(1)
    (found,) = shared(model, x, composite="epsilon", epsilon=SMALL)
    (plain,) = tfcam.explain(model, x, target=1, method="gradient_input", preprocess=None)
    assert found.measured["kept"] * found.score == pytest.approx(plain.raw.sum(), rel=1e-4)


@law("all is kept where biases get nothing", "lrp")
@pytest.mark.parametrize("first", [None, "flat", "box"])
@pytest.mark.thinned(1, kept="slow")
def test_all_is_kept_where_biases_get_nothing(first):
    model, x = rectified(), noise()
    composite = Composite(dense="zplus", first=first, conserves=True)
    for each in shared(model, x, composite=composite):
        assert each.raw.sum(dtype=np.float64) == pytest.approx(each.score, rel=2e-3)
        assert each.measured["kept"] == pytest.approx(1, abs=2e-3)


@law("a batch normalisation counts as part of its layer", "lrp")
@pytest.mark.parametrize("composite", ["epsilon_plus", "epsilon_gamma_box", "alpha2_beta1"])
@pytest.mark.parametrize("kind", [layers.Conv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose])
@pytest.mark.thinned(3)
def test_a_batch_normalisation_is_merged(kind, composite):
    width = () if kind is layers.DepthwiseConv2D else (3,)
    ends = [layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    two = kind(*width, 3, use_bias=False), layers.BatchNormalization()
    apart = networks.seeded(keras.Sequential([keras.Input((9, 9, 3)), *two, *ends]))
    kernel, (gain, shift, mean, variance) = two[0].get_weights()[0], two[1].get_weights()
    gain = np.float32([-0.7, 1.1, 0.4])  # one turns signs round
    two[1].set_weights([gain, shift, mean, variance])
    scale = gain / np.sqrt(variance + two[1].epsilon)
    as_kernel = {layers.DepthwiseConv2D: scale[:, None], layers.Conv2DTranspose: scale[:, None]}
    one = kind(*width, 3)
    inputs = keras.Input((9, 9, 3))
    x = one(inputs)
    for layer in ends:
        x = layer(x)
    one.set_weights([kernel * as_kernel.get(kind, scale), shift - mean * scale])
    x = keras.Model(inputs, x)
    found, wanted = (shared(each, noise(), composite=composite).raws for each in (apart, x))
    assert relative(found, wanted) < 1e-4


@pytest.mark.slow
@law("linear in the target", "lrp")
def test_it_is_linear_in_the_target():
    model, x = rectified(), noise()
    one, other = (shared(model, x, c).raws for c in (0, 2))
    both = shared(model, x, tfcam.Difference(0, 2)).raws
    assert relative(both, one - other) < 1e-4


@pytest.mark.slow
def test_of_a_product_the_signal_takes_all_and_two_signals_half_each():
    first, second = (lambda x: x[:, 0, 0, :1] + 0), (lambda x: x[:, 0, 0, 1:] + 0)
    gated = by_hand(lambda x: first(x) * ops.sigmoid(second(x)), 3, 0.5)
    assert gated == pytest.approx([3 / (1 + np.exp(-0.5)), 0])
    chosen = by_hand(lambda x: first(x) * ops.cast(second(x) > 0, "float32"), 3, 0.5)
    assert chosen == pytest.approx([3, 0])
    assert by_hand(lambda x: first(x) * second(x), 3, 5) == pytest.approx([7.5, 7.5])
    assert by_hand(lambda x: first(x) / second(x), 3, 5) == pytest.approx([0.6, 0])
    assert by_hand(lambda x: ops.square(first(x)) + second(x), 3, 5) == pytest.approx([9, 5])
    matrix = by_hand(lambda x: ops.matmul(x[:, 0, :, :1], x[:, 0, :, 1:])[:, 0] + 0, 3, 5)
    assert matrix == pytest.approx([7.5, 7.5], rel=1e-5)


def test_a_saturated_relu_keeps_what_it_has_however_it_is_written():
    for relu in (ops.relu6, lambda x: ops.minimum(ops.maximum(x, 0), 6)):
        assert by_hand(lambda x, f=relu: f(4 * x[:, 0, 0, :1]), 2) == pytest.approx([6])


def test_softmax_shares_by_attn_lrp():
    """R_i = x_i (R_i - z_i sum R)."""
    found = by_hand(lambda x: ops.softmax(x[:, 0, 0])[:, :1] + 0, 2, 1)
    z = np.exp(2) / (np.exp(2) + np.exp(1))
    assert found == pytest.approx([2 * (z - z * z), -(1 - z) * z], rel=1e-5)


def test_a_shift_behind_no_layer_lets_relevance_pass_but_takes_its_share_by_epsilon():
    assert by_hand(lambda x: x[:, 0, 0] - 1, 4, composite="epsilon_plus") == pytest.approx([3])
    assert by_hand(lambda x: x[:, 0, 0] - 1, 4, composite="epsilon") == pytest.approx([4])


@pytest.mark.parametrize("kind", ["pooled", "gated", "slopes", "transformer"])
@pytest.mark.parametrize("composite", ["epsilon", "epsilon_plus_flat"])
@pytest.mark.thinned(1)
def test_a_batch_gives_what_single_images_give(kind, composite):
    model = networks.vit(size=(12, 12)) if kind == "transformer" else network(kind)
    x = np.random.default_rng(4).normal(0, 1, (3, *model.input_shape[1:])).astype("f4")
    together = shared(model, x, [0, 1, 2], composite=composite)
    for each, image, c in zip(together, x, range(3), strict=True):
        (alone,) = shared(model, image[np.newaxis], c, composite=composite)
        assert np.abs(alone.raw).max() > 0
        assert relative(each.raw, alone.raw) < 1e-4  # denominators near 0 enlarge rounding


@pytest.mark.slow
def test_a_heatmap_shows_what_speaks_for_the_class():
    (result,) = shared(rectified(), noise(1), composite="epsilon")
    total = np.maximum(result.raw.sum(-1), 0)
    assert 0 < (total == 0).mean() < 1  # else nothing is tested
    np.testing.assert_allclose(result.heatmap, total / total.max(), atol=1e-6)


def test_a_rule_of_ones_own():
    def halved(layer, relevance):
        return layer.x * layer.back(layer.operation.outputs[0], layer.x, relevance / layer.z) / 2

    found = by_hand(two_layers, 1, 2, composite=Composite(convolution=halved))
    assert found == pytest.approx([-0.5, 3])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"composite": "epsilon_pluss"}, "composite must be one of epsilon, .*epsilon_plus"),
        ({"epsilon": 0.0}, "epsilon must be greater than 0"),
        ({"gamma": -1.0}, "gamma at least 0"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        shared(bent(), images(), **options)


def test_wrong_rules_are_refused():
    with pytest.raises(ValueError, match="first must be one of .*flat"):
        Composite(first="flatt")
    with pytest.raises(ValueError, match="affine must be one of pass, epsilon"):
        Composite(affine="lost")


class Wrapped(layers.Layer):
    """Sorts, which has no rule."""

    def call(self, x):
        return tf.cumsum(tf.math.cumprod(x, axis=-1), axis=-1)


@pytest.mark.parametrize(("layer", "name"), [(Wrapped, "Cumprod"), (Looped, "While")])
def test_what_has_no_rule_is_refused_by_name(layer, name):
    model = keras.Sequential(
        [keras.Input((3, 3, 3)), layer(), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )
    with pytest.raises(ValueError, match=re.escape("must have an LRP rule") + f".*{name}"):
        shared(model, images())


@pytest.mark.slow
def test_the_model_is_as_it_was():
    model, x = rectified(), noise(1)
    before = networks.snapshot(model, x)
    for _ in range(2):
        shared(model, x)
    assert networks.snapshot(model, x) == before


def test_gates_of_squeeze_and_excite_take_nothing():
    """Gated divides by one of its gates and multiplies by the other."""
    model = keras.Sequential(
        [keras.Input((9, 9, 4)), Gated(), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )
    x = np.random.default_rng(0).normal(0, 1, (1, 9, 9, 4)).astype("f4")
    (result,) = shared(model, x, composite="epsilon", epsilon=SMALL)
    # The larger of each pair has what it gave, and nothing else has anything.
    larger = np.concatenate([x[..., :2] > x[..., 2:], x[..., :2] <= x[..., 2:]], -1)[0]
    assert not result.raw[~larger].any()
    bias = model.layers[-1].get_weights()[1][1]
    assert result.raw.sum() == pytest.approx(result.score - bias, rel=1e-4)


@law("of a layer, epsilon to 0: HiResCAM on ReLU networks", "lrp")
@pytest.mark.parametrize("layer", ["re_lu", "add", "concatenate", "max_pooling2d"])
@pytest.mark.thinned(1)
def test_of_a_layer_it_is_activations_times_gradients(layer):
    """What passes the layer by, as around one side of a residual, is not counted."""
    model, x = rectified(), noise()
    layer = next(each.name for each in model.layers if each.name.startswith(layer))
    found = shared(model, x, layer=layer, composite="epsilon", epsilon=SMALL)
    plain = tfcam.explain(model, x, layer, target=1, method="hires_cam", preprocess=None)
    assert relative(found.raws, plain.raws) < 1e-4
    for result in found:
        assert result.layer == layer
        kept = result.measured["kept"] * result.score
        assert result.raw.sum(dtype=np.float64) == pytest.approx(kept, rel=1e-4)


@pytest.mark.slow
def test_of_tokens_relevance_lies_on_their_grid():
    model = networks.vit(size=(12, 16))
    x = np.random.default_rng(4).normal(0, 1, (2, 12, 16, 3)).astype("f4")
    options = {"composite": "epsilon", "epsilon": SMALL}
    # From the last block on only a normalisation and a dense layer of the class token follow.
    found = shared(model, x, layer="block0", **options)
    assert found.raws.shape == (2, 3, 4)
    assert found.raws.any()
    assert not shared(model, x, layer="block1", **options).raws.any()


@pytest.mark.slow
def test_compare_explains_the_layers_that_are_given():
    model, x = networks.flat(), networks.pictures(1)
    names, methods = ["first", "features"], ["lrp", "integrated_gradients", "grad_cam"]
    found = tfcam.compare(model, x[0], layers=names, methods=methods, preprocess=None)
    for method in methods[:2]:
        for name in names:
            alone = tfcam.explain(model, x[0], name, method=method, preprocess=None)
            each = found[method, name]
            assert (each.layer, each.raw.shape) == (name, alone.raw.shape)
            assert relative(each.raw, alone.raw) < 1e-4
    (one,) = tfcam.compare(model, x[0], methods=["lrp"], preprocess=None).cells[0]
    assert (one.layer, one.raw.shape) == (None, (12, 12, 3))


@pytest.mark.slow
def test_several_layers_together_leave_it_a_map_of_pixels():
    """What is fused or recommended of a list is as it was: ``compare`` takes each by itself."""
    model, x = networks.flat(), networks.pictures(1)
    (result,) = tfcam.explain(model, x, ["first", "features"], target=1, method="lrp")
    assert (result.layer, result.raw.shape) == (None, (12, 12, 3))
    data = networks.pictures(2), np.array([0, 1])
    options = {"methods": ["lrp"], "metrics": ["deletion"], "baselines": [], "preprocess": None}
    for layer, wanted in (("features", "features"), (["features"], ""), (None, "")):
        found = tfcam.evaluate(model, data, layer=layer, **options)
        assert set(found.table["layer"]) == {wanted}


class Twice(layers.Layer):
    """Two convolutions of one kernel, compiled as one function; or one, and a constant beside."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def build(self, shape):
        self.kernel = self.add_weight(shape=(1, 1, 2, 2), initializer="zeros")

    def call(self, x):
        @tf.function(jit_compile=True, autograph=False)
        def convolved(x, kernel):
            for _ in range(self.times):
                x = tf.identity(tf.nn.conv2d(x, tf.identity(kernel), 1, "SAME"))
            return x

        return convolved(x, tf.convert_to_tensor(self.kernel))


def of_one_function(times):
    layer, head = Twice(times), layers.Dense(1, use_bias=False)

    def function(inputs):
        outputs = head(layers.Flatten()(layer(inputs)))
        layer.kernel.assign([[[[1, 3], [1, -1]]]])
        head.set_weights([np.float32([[2], [-1]])])
        return outputs

    return function


@pytest.mark.slow
def test_a_function_of_two_convolutions_is_not_one_of_them():
    """x = (1, 2), W = ((1, 3), (1, -1)), s = 2 z_1 - z_2 as in two_layers; then W twice."""
    assert by_hand(of_one_function(1), 1, 2, composite="epsilon_plus") == pytest.approx((1, 4))
    found = by_hand(of_one_function(2), 1, 1, composite="epsilon", epsilon=SMALL)
    # W W = ((4, 0), (0, 4)): of x = (1, 1) z = (4, 4), and s = 2 * 4 - 4.
    assert found == pytest.approx((8, -4), abs=1e-4)
    with pytest.raises(ValueError, match="must have the LRP rule that is asked for"):
        by_hand(of_one_function(2), 1, 2, composite="epsilon_plus")


@pytest.mark.parametrize("order", ["NCHW", "NCDHW"])
def test_what_scales_and_shifts_channels_that_come_first_is_merged(order):
    """TensorFlow convolves so on few CPUs: only what is merged is computed."""
    composite = Composite(convolution=lambda layer, relevance: layer.bias)
    sides = len(order) - 2
    with tf.Graph().as_default() as graph:
        start = tf.identity(tf.ones((1, 2, *[3] * sides)))
        kernel = tf.ones((*[1] * sides, 2, 2))
        convolved = tf.nn.convolution(start, kernel, data_format=order)
        scale, shift = (tf.reshape(of, (2, *[1] * sides)) for of in ([2.0, -3.0], [1.0, 5.0]))
        behind = scale * convolved - shift
        rules = RelevanceRules([behind], start, composite, epsilon=1e-6, gamma=0.25)
        (bias,) = rules(convolved.op, [start], [behind])
    with tf.compat.v1.Session(graph=graph) as session:
        np.testing.assert_array_equal(session.run(bias), np.reshape([-1, -5], shift.shape))


def test_what_scales_and_shifts_is_merged_where_positions_are_laid_out_anew():
    composite = Composite(convolution=lambda layer, relevance: layer.bias)
    with tf.Graph().as_default() as graph:
        start = tf.identity(tf.ones((1, 3, 3, 2)))
        convolved = tf.nn.conv2d(start, tf.ones((1, 1, 2, 2)), 1, "SAME")
        behind = tf.reshape(convolved, (1, 9, 2)) * [2.0, -3.0] - [1.0, 5.0]
        rules = RelevanceRules([behind], start, composite, epsilon=1e-6, gamma=0.25)
        (bias,) = rules(convolved.op, [start], [tf.reshape(behind, convolved.shape)])
    with tf.compat.v1.Session(graph=graph) as session:
        np.testing.assert_array_equal(session.run(bias), [-1, -5])
