"""DeepLIFT and gradient times input: replica, laws, hand arithmetic, what is refused."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfcam
from tests import networks
from tests.laws import law
from tests.methods.test_gradients import bent, gradient, images, linear, pixelwise
from tests.replicas import deep_lift
from tests.tolerances import ROUNDED, relative, rounding


def lifted(model, x, target=1, **options):
    return tfcam.explain(model, x, target=target, method="deep_lift", preprocess=None, **options)


def on_numbers(function, *numbers, baseline=0.0):
    """The map of a function of a few numbers, each a channel of one pixel."""
    inputs = keras.Input((1, 1, len(numbers)))
    model = keras.Model(inputs, function(ops.reshape(inputs, (-1, len(numbers)))))
    x = np.reshape(np.float32(numbers), (1, 1, 1, -1))
    (result,) = lifted(model, x, lambda outputs: outputs[:, 0], baseline=baseline)
    assert abs(result.measured["completeness_error"]) < 1e-6
    return result.raw.ravel().tolist()


def assert_complete(model, x, baseline=0.0, least=1e-3, **options):
    """The map sums to the score's rise, taken from Keras's own scores."""
    start = np.full_like(x, baseline)
    both = [
        np.array(
            [
                each.score
                for each in tfcam.explain(
                    model, each, target=1, preprocess=None, method="saliency", **options
                )
            ],
            np.float64,
        )
        for each in (x, start)
    ]
    found = lifted(model, x, baseline=baseline, **options)
    rises = both[0] - both[1]
    assert np.abs(rises).max() > least  # else nothing is tested
    sums = found.raws.sum((1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(sums, rises, atol=1e-4 * np.abs(both).max())
    errors = [each.measured["completeness_error"] for each in found]
    np.testing.assert_allclose(errors, rises - sums, atol=1e-4 * np.abs(both).max())


@pytest.mark.parametrize("baseline", [0.0, -0.7])
def test_deep_lift_equals_the_replica(baseline):
    model, x = bent(), images()
    found = lifted(model, x, [0, 2], baseline=baseline)
    for result, each, c in zip(found, x, [0, 2], strict=True):
        wanted = deep_lift(model.get_weights(), each, np.full(each.shape, baseline), c)
        assert relative(result.raw, wanted) < ROUNDED


@pytest.mark.slow
@law("functions of two numbers by hand", "deep_lift")
def test_by_hand():
    """Products share evenly, maxima up to the larger of both, softmax by its secant."""
    assert on_numbers(lambda x: 1 - ops.relu(1 - x), 2) == [1]
    assert on_numbers(lambda x: ops.relu(x[:, :1] + x[:, 1:] - 1), 1, 1) == [0.5, 0.5]
    product = on_numbers(lambda x: x[:, :1] * x[:, 1:] + 0, 3, 5)
    assert product == pytest.approx([7.5, 7.5])
    assert on_numbers(lambda x: (x[:, :1] + 1) * (x[:, 1:] + 2), 2, 3) == pytest.approx([7, 6])
    likely = on_numbers(lambda x: ops.softmax(x)[:, :1] + 0, 3, 1)
    # l = (0.6726, 0.2656), which (z - z') / (log z - log z') is: m = l0 l1 / (l0 + l1) (1, -1).
    assert likely == pytest.approx([3 * 0.19040, -0.19040], abs=1e-4)
    assert on_numbers(lambda x: ops.max(x, axis=1, keepdims=True), 3, 1) == [3, 0]
    assert on_numbers(lambda x: ops.square(x), 3) == [9]
    assert on_numbers(lambda x: x * x * x, 2) == [8]
    # max(a, b) = a + relu(b - a), which stays 0.
    assert on_numbers(lambda x: ops.maximum(x[:, :1], x[:, 1:]), 3, 1) == [3, 0]
    assert on_numbers(lambda x: ops.minimum(x[:, :1], x[:, 1:]), 3, 1) == [0, 1]
    quotient = on_numbers(lambda x: x[:, :1] / (x[:, 1:] + 1), 4, 1)
    assert quotient == pytest.approx([4 * 0.75, -1])  # 4 mean(1, 1/2); -(mean of 0 and 4) / (1 2)


@law("= w (x - x') on a linear network", "deep_lift")
@law("= the gradient times the input", "gradient_input")
def test_of_a_linear_network():
    model, x = linear(), images()
    W1, _, V, _ = (w.astype(np.float64) for w in model.get_weights())
    slope = W1[0, 0] @ V[:, 1] / 9
    assert relative(lifted(model, x, baseline=-2.5).raws, (x + 2.5) * slope) < ROUNDED
    found = tfcam.explain(model, x, target=1, method="gradient_input").raws
    assert relative(found, x * slope) < ROUNDED


@pytest.mark.parametrize("method", ["deep_lift", "lrp"])
def test_a_target_may_be_of_one_output_of_two(method):
    inputs = keras.Input((1, 1, 2))
    one, other = (layers.Dense(1, use_bias=False) for _ in range(2))
    outputs = {"one": one(layers.Flatten()(inputs)), "other": other(layers.Flatten()(inputs))}
    model = keras.Model(inputs, outputs)
    one.set_weights([np.float32([[2], [-1]])])
    x, target = np.float32([[[[3, 4]]]]), lambda outputs: outputs["one"][:, 0]
    (result,) = tfcam.explain(model, x, target=target, method=method, preprocess=None)
    assert result.raw.ravel() == pytest.approx([6, -4], rel=1e-4)


def test_gradient_input_equals_the_replica():
    model, x = bent(), images()
    found = tfcam.explain(model, x, target=[0, 2], method="gradient_input")
    for result, each, c in zip(found, x, [0, 2], strict=True):
        assert relative(result.raw, each * gradient(model, each, c)) < ROUNDED


@law("of one ReLU without bias = gradient times input", "deep_lift", "gradient_input")
def test_of_one_layer_without_bias_deep_lift_is_gradient_times_input():
    model, x = pixelwise(layers.ReLU()), images()
    model.set_weights([w * (w.ndim > 1) for w in model.get_weights()])
    lift = lifted(model, x)
    plain = tfcam.explain(model, x, target=1, method="gradient_input")
    assert relative(lift.raws, plain.raws) < ROUNDED
    # Without biases the network is homogeneous: both sum to the score.
    for each in plain:
        assert each.raw.sum(dtype=np.float64) == pytest.approx(each.score, rel=1e-4)


@law("0 where image and baseline are the same", "deep_lift")
def test_an_image_that_is_the_baseline_gives_an_empty_map():
    (result,) = lifted(bent(), np.full((1, 3, 3, 3), 0.25, np.float32), baseline=0.25)
    assert not result.raw.any()
    assert result.measured["completeness_error"] == 0


class Gated(layers.Layer):
    """Squeezes, excites, divides and takes maxima of pairs: all that depends on the image."""

    def call(self, x):
        gate = ops.sigmoid(ops.mean(x, axis=(1, 2), keepdims=True))
        half = x.shape[-1] // 2
        return (
            ops.maximum(x[..., :half], x[..., half:])
            * gate[..., :half]
            / (1 + ops.abs(gate[..., half:]))
        )


def network(kind):
    """Small networks of what real ones are made of."""
    steps = {
        "pooled": [
            layers.Conv2D(6, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(6),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.DepthwiseConv2D(3),
            layers.AveragePooling2D(2),
            layers.Conv2D(4, 1, activation="swish"),
        ],
        "gated": [
            layers.Conv2D(8, 3),
            Gated(),
            layers.LayerNormalization(),
            layers.Activation("gelu"),
        ],
        "slopes": [
            layers.Conv2D(5, 3),
            layers.PReLU(),
            layers.Conv2D(4, 3, activation="hard_silu"),
            layers.Conv2D(6, 1, groups=2),
            layers.LeakyReLU(),
            layers.Conv2DTranspose(3, 2, activation="elu"),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.GroupNormalization(1),
        ],
    }[kind]
    pool = layers.GlobalMaxPooling2D() if kind == "pooled" else layers.GlobalAveragePooling2D()
    steps = [keras.Input((9, 9, 3)), *steps, pool]
    return networks.seeded(keras.Sequential([*steps, layers.Dense(3, activation="softmax")]))


@law("sums to the score's rise", "deep_lift")
@pytest.mark.parametrize("baseline", [0.0, 0.4])
@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize("kind", ["pooled", "gated", "slopes"])
@pytest.mark.thinned(2)
def test_it_is_complete(kind, score, baseline):
    x = np.random.default_rng(4).normal(0, 1, (2, 9, 9, 3)).astype(np.float32)
    assert_complete(network(kind), x, baseline, score=score)


@pytest.mark.parametrize("score", ["probability", "logit"])
@pytest.mark.thinned(1, rest="slow")
def test_it_is_complete_of_a_single_unit(score):
    """Its probability is computed from the values that the model returns, which are the scores."""
    steps = [keras.Input((9, 9, 3)), layers.Flatten(), layers.Dense(4, activation="relu")]
    model = networks.seeded(keras.Sequential([*steps, layers.Dense(1, activation="sigmoid")]))
    x = np.random.default_rng(4).normal(0, 1, (2, 9, 9, 3)).astype(np.float32)
    assert_complete(model, x, score=score)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.thinned(1, kept="slow")
def test_it_is_complete_on_a_transformer(prefix):
    model = networks.vit(prefix=prefix, size=(12, 16))
    x = np.random.default_rng(1).normal(0, 1, (2, 12, 16, 3)).astype("float32")
    assert_complete(model, x)


class Windows(layers.Layer):
    """Computes windows of 3 x 3, which become a batch, each for itself."""

    def __init__(self):
        super().__init__()
        self.steps = [layers.Conv2D(4, 2, activation="relu"), layers.MaxPooling2D(2)]

    def call(self, x):
        count, side, channels = ops.shape(x)[0], x.shape[1] // 3, x.shape[-1]
        x = ops.transpose(ops.reshape(x, (-1, side, 3, side, 3, channels)), (0, 1, 3, 2, 4, 5))
        x = ops.reshape(x, (-1, 3, 3, channels))
        for step in self.steps:
            x = step(x)
        return ops.reshape(x, (count, side, side, 4))


def beside_a_row():
    picture, row = keras.Input((9, 9, 3)), keras.Input((2,))
    x = layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3, activation="relu")(picture))
    x = layers.Multiply()([x, layers.Dense(4)(row)])
    x = layers.Dense(6, activation="gelu")(x)
    return networks.seeded(keras.Model([picture, row], layers.Dense(3, activation="softmax")(x)))


@pytest.mark.parametrize("kind", ["windows", "pooled", "gated", "slopes", "beside a row"])
@pytest.mark.thinned(1, rest="slow")
def test_a_batch_gives_what_single_images_give(kind):
    """One start stands for all images, but where a row of each image's own goes with it."""
    rng = np.random.default_rng(4)
    x = [rng.normal(0, 1, (3, 9, 9, 3)).astype("f4")]
    if kind == "beside a row":
        model, x = beside_a_row(), [*x, rng.normal(0, 1, (3, 2)).astype("f4")]
    elif kind == "windows":
        steps = [keras.Input((9, 9, 3)), Windows(), layers.Flatten(), layers.Dense(3)]
        model = networks.seeded(keras.Sequential(steps))
    else:
        model = network(kind)
    together = lifted(model, x if len(x) > 1 else x[0], [0, 1, 2], baseline=0.3)
    for n, each in enumerate(together):
        own = [every[n : n + 1] for every in x]
        (alone,) = lifted(model, own if len(own) > 1 else own[0], n, baseline=0.3)
        np.testing.assert_allclose(each.raw, alone.raw, atol=rounding(alone.raw))
        rise = each.score - score(model, np.full_like(own[0], 0.3), n, *own[1:])
        assert each.raw.sum(dtype=np.float64) == pytest.approx(rise, abs=1e-4)


def score(model, image, c, *rows):
    """Keras's own score, before a softmax."""
    last = model.layers[-1]
    ahead = keras.Model(model.inputs, last.input)
    given = np.array(ahead([image, *rows]), np.float64)
    kernel, bias = (np.array(w, np.float64) for w in last.get_weights())
    return (given @ kernel + bias)[0, c]


class Chosen(layers.Layer):
    """Each image chooses what it becomes."""

    def call(self, x):
        return tf.where(tf.reduce_mean(x, -1, keepdims=True) > 0, 2 * x, x * x)


class Looped(layers.Layer):
    def call(self, x):
        return tf.while_loop(lambda n, _: n < 3, lambda n, x: (n + 1, 1.1 * x), (0, x))[1]


class Mixed(layers.Layer):
    """A softmax of rows, which are put ahead of the batch."""

    def call(self, x):
        rows = ops.transpose(ops.concatenate([x, 2 * x[:, :1]], axis=1), (1, 0, 2, 3))
        return ops.transpose(ops.softmax(rows), (1, 0, 2, 3))


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (Chosen, "Select"),
        (Looped, "While"),
        (Mixed, "where the batch is not the first axis; 'Soft"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(layer, name):
    model = keras.Sequential(
        [keras.Input((3, 3, 3)), layer(), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    )
    with pytest.raises(ValueError, match=re.escape("must have a DeepLIFT rule") + f".*{name}"):
        lifted(model, images())


def test_recurrent_layers_are_refused_as_loops():
    ends = keras.Input((3, 4, 3))
    x = layers.GRU(2, name="steps")(layers.Reshape((3, 12))(ends))
    model = keras.Model(ends, layers.Dense(2)(x))
    with pytest.raises(ValueError, match="must have a DeepLIFT rule for loops, as of recurrent"):
        lifted(model, np.ones((1, 3, 4, 3), "f4"))


def test_the_model_is_as_it_was():
    model, x = network("pooled"), np.random.default_rng(4).normal(0, 1, (1, 9, 9, 3)).astype("f4")
    before = networks.snapshot(model, x)
    for _ in range(2):
        lifted(model, x)
    assert networks.snapshot(model, x) == before
