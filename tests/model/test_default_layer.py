"""The default layer: one that what is asked is computed from, and the gradient still reaches."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.networks import seeded
from tests.tolerances import rounding
from tfcam.model.graph import graph_of

SIZE = 16


def picture(seed=0):
    return np.random.default_rng(seed).uniform(size=(SIZE, SIZE, 3)).astype(np.float32)


def conv(filters, name, x, **options):
    options = {"activation": "relu", "padding": "same"} | options
    return layers.Conv2D(filters, 3, name=name, **options)(x)


def by_hand(model, layer, score):
    """Grad-CAM of one picture by plain Keras, of a functional model."""
    both = keras.Model(model.inputs, [model.get_layer(layer).output, model.output])
    image = tf.constant(picture()[None])
    with tf.GradientTape() as tape:
        tape.watch(image)
        activations, outputs = both(image)
        total = tf.reduce_sum(score(outputs))
    weights = tf.reduce_mean(tape.gradient(total, activations), [1, 2], keepdims=True)
    return tf.reduce_sum(weights * activations, -1)[0].numpy()


# --- several outputs -------------------------------------------------------------------------


def two_heads():
    ends = keras.Input((SIZE, SIZE, 3))
    trunk = conv(4, "trunk", ends)
    age = layers.GlobalAveragePooling2D(name="age_pool")(conv(5, "age_map", trunk))
    kind = layers.GlobalAveragePooling2D(name="kind_pool")(conv(6, "kind_map", trunk))
    outputs = {"age": layers.Dense(2, name="age")(age), "kind": layers.Dense(3, name="kind")(kind)}
    return seeded(keras.Model(ends, outputs), 3)


class OwnHeads(keras.Model):
    def __init__(self):
        super().__init__()
        self.net = two_heads()

    def call(self, x):
        return self.net(x)


def first(outputs):
    return outputs["age"][:, 0]


@pytest.mark.parametrize("make", [two_heads, OwnHeads])
def test_the_default_layer_is_of_the_output_that_is_asked_for(make):
    model, image = make(), picture()
    model(image[None])
    flat = model if make is two_heads else model.net
    for output, index in [("age", 0), ("kind", 2)]:
        path = f"{output}_map"
        wanted = by_hand(flat, path, lambda o, key=output, n=index: o[key][:, n])
        found = tfcam.explain(model, image, target=index, output=output)
        assert found.layer.rsplit("/", 1)[-1] == path
        np.testing.assert_allclose(found.raw, wanted, atol=rounding(wanted))
        assert tfcam.layers(model, output=output).default == found.layer
        diagnosis = tfcam.diagnose(model, image, target=index, output=output)
        assert f"{path} (feeds" in diagnosis.facts["layer"]
        compared = tfcam.compare(model, image, methods=["grad_cam"], output=output, targets=[index])
        np.testing.assert_allclose(compared["grad_cam", 0].raw, wanted, atol=rounding(wanted))


@pytest.mark.parametrize("make", [two_heads, OwnHeads])
def test_the_default_layer_is_of_the_outputs_that_a_callable_reads(make):
    model, image = make(), picture()
    model(image[None])
    for target in (first, tfcam.Regression(1)):
        options = {} if target is first else {"output": "age"}
        explainer = tfcam.Explainer(model, **options)
        for _ in range(2):
            assert explainer(image, target).layer.rsplit("/", 1)[-1] == "age_map"
    found = tfcam.explain(model, image, target=lambda outputs: outputs["kind"][:, 1])
    assert found.layer.rsplit("/", 1)[-1] == "kind_map"
    compared = tfcam.compare(model, image, methods=["grad_cam"], targets=[first])
    assert compared["grad_cam", 0].layer.rsplit("/", 1)[-1] == "age_map"


# --- maps of scores --------------------------------------------------------------------------


def unet(end):
    ends = keras.Input((SIZE, SIZE, 3))
    fine = conv(4, "fine", ends)
    deep = conv(6, "deep", layers.MaxPooling2D()(fine))
    up = layers.Concatenate(name="joined")([layers.UpSampling2D()(deep), fine])
    last = conv(5, "last", up)
    if end == "inside":
        out = conv(3, "scores", last, activation="softmax")
    elif end == "small":
        out = layers.UpSampling2D(2)(conv(3, "scores", conv(5, "low", deep), activation=None))
        out = layers.Activation("softmax")(out)
    elif end == "fcn":
        low = layers.Conv2DTranspose(3, 2, strides=2)(conv(3, "low", deep, activation=None))
        out = layers.Add()([low, conv(3, "scores", last, activation=None)])
        out = layers.Softmax()(out)
    else:
        out = conv(3, "scores", last, activation=None)
        if end != "linear":
            out = layers.Activation(end, name="out")(out)
    return seeded(keras.Model(ends, out), 5)


class Wrapped(keras.Model):
    """A segmenter of one's own that resizes by TensorFlow."""

    def __init__(self):
        super().__init__()
        self.net = unet("linear")

    def call(self, x):
        return tf.nn.softmax(tf.image.resize(self.net(x), (2 * SIZE, 2 * SIZE)))


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        ("inside", "last"),
        ("softmax", "last"),
        ("sigmoid", "last"),
        ("linear", "last"),
        ("small", "low"),
        ("fcn", "fine"),
        ("own", "last"),
    ],
)
def test_the_default_layer_of_a_segmenter_is_before_the_scores(end, wanted):
    model = Wrapped() if end == "own" else unet(end)
    model(picture()[None])
    listed = tfcam.layers(model)
    assert listed.default.rsplit("/", 1)[-1] == wanted
    assert "scores of each position" in listed.reason
    target = tfcam.Segmentation(1, np.eye(SIZE) > 0)
    found = tfcam.explain(model, picture(), target=target)
    assert found.layer == listed.default
    assert found.raw.any()


def test_a_network_of_convolutions_alone_still_has_its_map_of_classes():
    ends = keras.Input((SIZE, SIZE, 3))
    scores = conv(3, "scores", conv(4, "features", ends))
    out = layers.Softmax()(layers.GlobalAveragePooling2D()(scores))
    assert tfcam.layers(keras.Model(ends, out)).default == "scores"


# --- softmax over positions, one position ----------------------------------------------------


class AttentionPooling(keras.Model):
    def __init__(self):
        super().__init__()
        self.features = layers.Conv2D(4, 3, strides=4, activation="relu", name="features")
        self.score, self.head = layers.Dense(1, name="score"), layers.Dense(2)

    def call(self, x):
        x = self.features(x)
        tokens = tf.reshape(x, (-1, 16, 4))
        weights = tf.nn.softmax(tf.reshape(self.score(x), (-1, 16)))
        return self.head(tf.reduce_sum(tokens * weights[..., None], 1))


def test_a_score_before_a_softmax_over_positions_is_not_explained():
    model = AttentionPooling()
    model(picture()[None])
    assert graph_of(model).default_layer()[0] == "features"
    ends = keras.Input((SIZE, SIZE, 3))
    x = layers.Reshape((16, 4))(conv(4, "features", ends, strides=4, padding="same"))
    weights = layers.Softmax(axis=1)(layers.Dense(1, name="score")(x))
    pooled = layers.Flatten()(layers.Dot(axes=1)([weights, x]))
    model = keras.Model(ends, layers.Dense(2)(pooled))
    assert tfcam.layers(model).default != "score"
    found = tfcam.explain(model, picture(), target=1)
    assert np.abs(found.raw).max() > 1e-4


class SoftmaxByHand(keras.Model):
    def __init__(self):
        super().__init__()
        self.features = layers.Conv2D(4, 3, strides=4, activation="relu", name="features")
        self.score, self.head = layers.Conv2D(1, 1, name="score"), layers.Dense(2)

    def call(self, x):
        x = self.features(x)
        weights = tf.exp(self.score(x))
        weights /= tf.reduce_sum(weights, [1, 2], keepdims=True)
        return self.head(tf.reduce_sum(weights * x, [1, 2]))


def test_a_score_whose_mean_gradient_is_zero_by_algebra_is_not_explained():
    model = SoftmaxByHand()
    model(picture()[None])
    assert tfcam.layers(model).default == "features"
    assert np.abs(tfcam.explain(model, picture(), target=1).raw).max() > 1e-4


def exp_over_logsumexp(score):
    return tf.exp(score - tf.reduce_logsumexp(score, [1, 2], keepdims=True))


def sigmoid_over_sum(score):
    return tf.sigmoid(score) / tf.reduce_sum(tf.sigmoid(score), [1, 2], keepdims=True)


def weighting(weigh):
    """A network that sums its features by weights of the positions."""
    ends = keras.Input((SIZE, SIZE, 3))
    features = conv(4, "features", ends, strides=4)
    score = layers.Conv2D(1, 1, name="score")(features)
    weights = layers.Lambda(weigh, name="weights")(score)
    pooled = layers.Lambda(lambda x: tf.einsum("bhwc,bhwk->bc", *x))([features, weights])
    return seeded(keras.Model(ends, layers.Dense(2)(pooled)))


@pytest.mark.parametrize("weigh", [exp_over_logsumexp, sigmoid_over_sum, tf.sigmoid])
def test_weights_of_positions_are_not_explained_but_what_they_weight(weigh):
    """The mean gradient of the features, by hand."""
    model = weighting(weigh)
    found = tfcam.explain(model, picture(), target=1, preprocess=None)
    assert found.layer == "features"
    body = keras.Model(model.input, model.get_layer("features").output)
    kernel = model.layers[-1].kernel[:, 1]
    score = model.get_layer("score")
    with tf.GradientTape() as tape:
        features = body(picture()[None])
        tape.watch(features)
        pooled = tf.einsum("bhwc,bhwk->bc", features, weigh(score(features)))
        logit = tf.tensordot(pooled, kernel, 1)
    weights = tf.reduce_mean(tape.gradient(logit, features), [1, 2], keepdims=True)
    wanted = tf.reduce_sum(weights * features, -1)[0]
    np.testing.assert_allclose(found.raw, wanted, rtol=1e-4, atol=1e-6)


def test_a_map_of_one_channel_that_all_comes_through_is_explained():
    ends = keras.Input((SIZE, SIZE, 3))
    x = layers.Flatten()(conv(1, "one", conv(4, "features", ends, strides=4)))
    assert tfcam.layers(keras.Model(ends, layers.Dense(2)(x))).default == "one"


def test_one_position_is_never_the_default():
    ends = keras.Input((SIZE, SIZE, 3))
    x = conv(4, "features", ends, strides=4)
    x = layers.Conv2D(8, 4, name="fc1")(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 1, name="fc2")(x))
    assert tfcam.layers(keras.Model(ends, layers.Dense(2)(x))).default == "features"


# --- where only some positions are read ------------------------------------------------------


class OwnAttention(layers.Layer):
    """Attention by hand, which gives its weights as well."""

    def __init__(self, name):
        super().__init__(name=name)
        self.q, self.k, self.v = (layers.Dense(8, name=n) for n in "qkv")

    def call(self, x):
        scores = tf.nn.softmax(tf.matmul(self.q(x), self.k(x), transpose_b=True))
        return tf.matmul(scores, self.v(x)), scores


class Classed(keras.Model):
    """A transformer with a class token and attention of its own."""

    def __init__(self, alone=0):
        super().__init__()
        self.patches = layers.Conv2D(8, 4, strides=4, name="patches")
        self.alone = [layers.Dense(8, "tanh", name=f"each{n}") for n in range(alone)]
        self.blocks = [
            (layers.LayerNormalization(name=f"norm{n}"), OwnAttention(f"attention{n}"))
            for n in range(2)
        ]
        self.last, self.head = layers.LayerNormalization(name="last"), layers.Dense(2, name="head")

    def call(self, x):
        x = tf.reshape(self.patches(x), (-1, 16, 8))
        x = tf.concat([tf.zeros_like(x[:, :1]), x], 1)
        for norm, attention in self.blocks:
            x = x + attention(norm(x))[0]
        for dense in self.alone:
            x = dense(x)
        return self.head(self.last(x)[:, 0])


def test_the_default_of_a_class_token_without_keras_attention_still_has_gradients():
    model = Classed()
    model(picture()[None])
    listed = tfcam.layers(model)
    assert listed.default in ("norm1", "attention1/v")
    assert "many positions" in listed.reason
    found = tfcam.explain(model, picture(), target=1)
    assert np.count_nonzero(found.raw) > 8


def test_the_default_far_before_what_is_done_to_each_token_alone():
    model = Classed(alone=18)
    model(picture()[None])
    assert tfcam.layers(model).default in ("norm1", "attention1/v")


def test_the_default_of_a_network_that_reads_the_last_step():
    ends = keras.Input((12, 3))
    x, skips = ends, []
    for number in range(2):
        x = layers.Conv1D(4, 3, padding="causal", activation="relu", name=f"conv{number}")(x)
        skips.append(x)
        x = layers.Conv1D(4, 1, name=f"residual{number}")(x)
    summed = layers.Add(name="summed")(skips)
    model = seeded(keras.Model(ends, layers.Dense(2)(summed[:, -1])), 1)
    assert tfcam.layers(model).default == "residual0"
    found = tfcam.explain(model, np.random.default_rng(0).normal(size=(12, 3)), target=0)
    assert np.count_nonzero(found.raw) > 1


def test_the_default_before_a_recurrent_layer_whose_last_step_is_read():
    ends = keras.Input((12, 3))
    x = layers.Conv1D(4, 3, name="conv")(ends)
    x = layers.LSTM(5, return_sequences=True, name="states")(x)
    assert tfcam.layers(keras.Model(ends, layers.Dense(2)(x[:, -1]))).default == "conv"


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("MobileNetV2", "block_13_expand_relu"),
        ("MobileNetV3Small", "activation"),
        ("EfficientNetB0", "block6a_expand_activation"),
    ],
)
@pytest.mark.thinned(1, kept="slow")
def test_of_pictures_so_small_that_one_position_is_left_no_margin_is_explained(name, default):
    """At 32 pixels the last map is 1 x 1: the last before it, not the zeros laid around that."""
    build = getattr(keras.applications, name)
    model = build(input_shape=(32, 32, 3), weights=None, classes=3)
    listed = tfcam.layers(model)
    (entry,) = [entry for entry in listed if entry.path == listed.default]
    assert entry.path.startswith(default)
    assert entry.shape[:2] == (2, 2)
    assert listed.reason == "the last map of the network with more than one position"


def test_a_margin_is_not_what_is_explained():
    steps = [layers.Conv2D(4, 3, padding="same", activation="relu", name="seen")]
    margins = [layers.ZeroPadding2D(), layers.Cropping2D(((0, 1), (0, 1)))]
    whole = [layers.Conv2D(4, 9), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *steps, *margins, *whole])
    assert tfcam.layers(model).default == "seen"


# --- what is made of scores or of their place ---------------------------------------------------


def of_mask(finish):
    """A mask of one sigmoid channel, 1 where a pixel is red, and what is made of it."""
    ends = keras.Input((SIZE, SIZE, 3))
    seen = conv(4, "seen", ends)
    mask = conv(1, "mask", seen, activation="sigmoid")
    return seeded(keras.Model(ends, finish(mask)), 5)


FINISHES = {
    "both classes": lambda y: layers.Concatenate()([1 - y, y]),
    "one of two": lambda y: layers.Concatenate()([y, 1 - y])[..., :1],
    "stacked": lambda y: keras.ops.stack([1 - y[..., 0], y[..., 0]], -1),
    "clipped": lambda y: keras.ops.clip(y, 0.01, 0.99),
    "scaled": lambda y: 2.0 * y,
    "negative": lambda y: -y / 3,
}


@pytest.mark.parametrize("finish", FINISHES.values(), ids=FINISHES)
def test_what_is_made_of_scores_is_no_map_of_features(finish):
    listed = tfcam.layers(of_mask(finish))
    assert listed.default == "seen"
    assert "the last map before mask" in listed.reason


def place_of_a_peak(depth):
    """Keypoints: a softmax over positions weights their coordinates."""
    ends = keras.Input((SIZE, SIZE, 3))
    x = ends
    for step in range(depth):
        x = conv(4, f"seen{step}", x)
    weights = layers.Softmax()(layers.Reshape((SIZE * SIZE,))(conv(1, "peak", x, activation=None)))
    places = np.stack(np.mgrid[:SIZE, :SIZE], -1).reshape(-1, 2).astype(np.float32) / SIZE
    return seeded(keras.Model(ends, keras.ops.matmul(weights, places)), 3)


def test_the_place_of_a_peak_is_explained_before_its_softmax():
    model = place_of_a_peak(2)
    found = tfcam.explain(model, picture(), target=tfcam.Regression(), preprocess=None)
    assert found.layer == "seen1"  # the gradient of "peak" has the mean 0
    assert not found.findings
    wanted = by_hand(model, "seen1", lambda outputs: outputs[:, 0])
    np.testing.assert_allclose(found.raw, wanted, atol=rounding(wanted, count=50))
    other = tfcam.explain(model, picture(), "peak", target=tfcam.Regression(), preprocess=None)
    assert "rounding_alone" in [finding.code for finding in other.findings]
