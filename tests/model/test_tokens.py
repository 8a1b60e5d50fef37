"""Transformers: the grid of the tokens, the default layer, attention scores and rollout."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks, replicas
from tests.laws import law
from tests.tolerances import ROUNDED, rounding
from tfcam.methods.cam import cam, grad_cam
from tfcam.methods.transformers import rollout, rollout_map
from tfcam.model.call_graph import Call, CallGraph
from tfcam.model.graph import graph_of
from tfcam.model.tokens import Grid, grid_of, to_map
from tfcam.passes.attention import attention_scores, reading_attentions
from tfcam.passes.reading import Reading
from tfcam.passes.submodel import SubModel


def opened(model, layer=None, **options):
    return graph_of(model).open_layer(layer, **options)


def read(model, layer, inputs, target):
    """The reading as maps, and the tokens of the gradient."""
    tap, *_ = opened(model, layer)
    sub = SubModel(graph_of(model), [replace(tap, grid=None)])
    sub._rank = None  # tokens as they are, which no user gets
    (reading,), *_ = sub.read(tf.constant(inputs), tf.constant([target] * len(inputs)))
    A, G = (to_map(each, tap.grid) for each in (reading.activations, reading.gradients))
    return Reading(A, reading.scores, G), reading.gradients.numpy()


# The grid


def tokens_after(*shapes, sides=(12, 12), tokens=(1, 17, 8)):
    """A record of maps of these shapes and then tokens."""
    maps = [Call(f"map{i}", None, 0, (), f"m{i}", (1, *shape, 4)) for i, shape in enumerate(shapes)]
    last = Call("block", None, 0, (), "t", tokens)
    return CallGraph((*maps, last), (), None, 4, sides, frozenset({"attention"})), last


@pytest.mark.parametrize(
    ("shapes", "count", "grid"),
    [
        ([(4, 4)], 16, Grid(4, 4, 0)),
        ([(4, 4)], 17, Grid(4, 4, 1)),
        ([(4, 4)], 21, Grid(4, 4, 5)),  # a class token and four registers
        ([(2, 8)], 16, Grid(2, 8, 0)),  # no square, although 16 is one
        ([(8, 8), (4, 5), (2, 2)], 22, Grid(4, 5, 2)),
        ([(3, 4), (4, 3)], 13, Grid(4, 3, 1)),  # the last one, after a transposition
        ([(4, 4), (1, 17)], 17, Grid(4, 4, 1)),  # one head's (B, 1, T, D) is no patch embedding
        ([(1, 31)], 31, Grid(1, 31, 0)),
        ([(8, 8)], 10, Grid(3, 3, 1)),
        ([], 37, Grid(6, 6, 1)),
    ],
)
def test_the_grid_is_that_of_the_map_before_the_tokens_or_of_square_patches(shapes, count, grid):
    calls, call = tokens_after(*shapes, tokens=(1, count, 8))
    assert grid_of(calls, call) == grid


def test_square_patches_cover_images_that_are_not_square():
    calls, call = tokens_after(sides=(24, 40), tokens=(1, 16, 8))
    assert grid_of(calls, call) == Grid(3, 5, 1)
    calls, call = tokens_after(sides=(24, 40), tokens=(1, 15, 8))
    assert grid_of(calls, call) == Grid(3, 5, 0)
    calls, call = tokens_after((12, 12), sides=(25, 40), tokens=(1, 36, 8))
    assert grid_of(calls, call) == Grid(6, 6, 0)  # resized to a square first


@pytest.mark.parametrize("count", [15, 20, 23])
def test_a_grid_that_can_not_be_told_is_asked_for(count):
    calls, call = tokens_after((8, 8), tokens=(1, count, 8))
    with pytest.raises(ValueError, match=rf"grid of the {count} tokens.*grid=\(height, width\)"):
        grid_of(calls, call)


def test_a_given_grid_must_fit():
    calls, call = tokens_after((4, 4), tokens=(1, 17, 8))
    assert grid_of(calls, call, (2, 8)) == Grid(2, 8, 1)
    assert grid_of(calls, call, (3, 5)) == Grid(3, 5, 2)
    for given in [(4, 5), (2, 4), (1, 1)]:
        with pytest.raises(ValueError, match="must hold all 17 tokens of 'block' but at most 8"):
            grid_of(calls, call, given)


@pytest.mark.parametrize("shape", [(1, 1, 8), (4, 16, 8), (1, 16), None, (1, None, 8)])
def test_what_is_no_tokens_has_no_grid(shape):
    calls, call = tokens_after((4, 4), tokens=shape)
    with pytest.raises(ValueError, match="Tokens must be .B, T, D.*'block' has"):
        grid_of(calls, call)


def test_tokens_are_laid_out_row_by_row_behind_the_prefix():
    tokens = tf.reshape(tf.range(2.0 * 8 * 2), (2, 8, 2))
    found = to_map(tokens, Grid(2, 3, 2)).numpy()
    assert found.shape == (2, 2, 3, 2)
    for b in range(2):
        for row in range(2):
            for column in range(3):
                place = 2 + 3 * row + column
                np.testing.assert_array_equal(found[b, row, column], tokens[b, place])
    with pytest.raises(ValueError, match=r"3 x 3 patches beside 1 tokens needs \(B, 10, D\)"):
        to_map(tokens, Grid(3, 3, 1))


# The layers


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize("size", [(12, 12), (8, 16)])
@pytest.mark.thinned(1)
def test_token_layers_are_listed_with_their_grid(prefix, size):
    model = networks.vit(prefix, size)
    before = networks.snapshot(model, np.ones((1, *size, 3), "float32"))
    listed = tfcam.layers(model)
    names = [entry.path for entry in listed]
    start = ["patches", "tokens", *["prefix"] * bool(prefix), "norm0", "attention0"]
    assert names[: len(start)] == start
    assert names[-1] == "last_norm"
    # What is inside attention, (B, T, heads, d) and (B, heads, T, T), is no map.
    assert not any("/" in name for name in names)
    assert {entry.shape for entry in listed} == {(size[0] // 4, size[1] // 4, 8)}
    assert [entry.path for entry in listed if entry.cam] == ["last_norm"] * (prefix == 0)
    assert networks.snapshot(model, np.ones((1, *size, 3), "float32")) == before


def test_the_default_still_has_gradients_where_the_head_reads_the_class_token():
    model, inputs = networks.vit(), networks.pictures(2)
    path, reason, *_ = graph_of(model).default_layer()
    assert path == "norm1"
    assert reason.startswith("goes into attention1, the last attention: later patch tokens get no")
    _, G = read(model, "block1", inputs, 1)
    assert not G[:, 1:].any()
    assert G[:, 0].any()
    _, G = read(model, None, inputs, 1)
    assert (np.abs(G[:, 1:]).max(-1) > 1e-4).all()


def test_the_default_is_the_pooled_tokens_where_they_are_pooled():
    model = networks.vit(prefix=0)
    assert graph_of(model).default_layer()[:2] == (
        "last_norm",
        "feeds pool, the last global pooling",
    )


def test_the_default_without_a_prefix_is_the_last_map():
    inner = networks.vit(prefix=0)
    x = layers.Flatten()(inner.get_layer("last_norm").output)
    model = keras.Model(inner.input, layers.Dense(2)(x))
    assert graph_of(model).default_layer()[0] == "last_norm"


def test_the_default_inside_other_models():
    inner = networks.vit()
    backbone = keras.Model(inner.input, inner.get_layer("last_norm").output, name="backbone")
    ends = keras.Input((12, 12, 3))
    nested = keras.Model(ends, layers.Dense(2)(backbone(ends)[:, 0]))
    assert graph_of(nested).default_layer()[0] == "backbone/norm1"
    own = keras.Model(backbone.input, layers.Dense(2)(backbone(backbone.input)[:, 0]))
    assert graph_of(own).default_layer()[0] == "backbone/norm1"


class PostNorm(keras.Model):
    """Its attention takes a sum that no layer makes."""

    def __init__(self):
        super().__init__(name="post_norm")
        self.patches = layers.Conv2D(8, 4, strides=4, name="patches")
        self.prefix = networks.PrefixTokens(1, name="prefix")
        self.shift = layers.Dense(8, name="shift")
        self.attention = layers.MultiHeadAttention(2, 4, name="attention")
        self.head = layers.Dense(3, name="head")

    def tokens(self, images):
        x = self.prefix(tf.reshape(self.patches(images), (-1, 9, 8)))
        return x + self.shift(x)

    def scores(self, x):
        return self.head(self.attention(x, x)[:, 0])

    def call(self, images):
        return self.scores(self.tokens(images))


def test_what_goes_into_attention_is_tapped_in_all_its_arguments():
    model, inputs = PostNorm(), networks.pictures(2)
    model(inputs)
    assert graph_of(model).default_layer()[0] == "attention:input"
    _, G = read(model, None, inputs, 2)
    with tf.GradientTape() as tape:
        x = model.tokens(inputs)
        tape.watch(x)
        score = tf.reduce_sum(model.scores(x)[:, 2])
    np.testing.assert_allclose(G, tape.gradient(score, x), rtol=1e-4, atol=1e-6)
    assert np.abs(G[:, 1:]).min() > 0


def test_layers_are_opened_with_their_grid(monkeypatch):
    model = networks.vit(size=(8, 16))
    with monkeypatch.context() as patched:  # a convolution's rank is known without tracing
        patched.setattr("tfcam.model.graph.read_calls", None)
        assert graph_of(model).open_layer("patches")[0].grid is None
    grid = Grid(2, 4, 1)
    for way in ("block0", 8, model.get_layer("block0"), "attention1:input", "attention1"):
        assert graph_of(model).open_layer(way)[0].grid == grid
    assert graph_of(model).open_layer("attention1/attention_output")[0].grid == grid
    assert graph_of(model).open_layer("block0", grid=(4, 2))[0].grid == Grid(4, 2, 1)
    assert graph_of(model).open_layer(None, grid=(1, 8))[0].grid == Grid(1, 8, 1)
    with pytest.raises(ValueError, match="for layers that give tokens.*'patches' does not"):
        graph_of(model).open_layer("patches", grid=(2, 4))
    with pytest.raises(ValueError, match="must hold all 9 tokens of 'block0'"):
        graph_of(model).open_layer("block0", grid=(3, 4))


class Patches(layers.Layer):
    """Cuts patches out without a convolution."""

    def call(self, images):
        patches = keras.ops.image.extract_patches(images, 4)
        return keras.ops.reshape(patches, (-1, 9, 48))


def test_patches_cut_out_without_a_convolution():
    ends = keras.Input((12, 12, 3))
    x = layers.Rescaling(2.0, name="scaled")(ends)
    x = layers.Dense(8, name="embedded")(Patches(name="patches")(x))
    attended = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = keras.Model(ends, layers.Dense(2)(layers.Flatten()(attended)))
    assert [(e.path, e.shape) for e in tfcam.layers(model)] == [
        ("scaled", (12, 12, 3)),
        ("patches", (3, 3, 48)),
        ("embedded", (3, 3, 8)),
        ("attention", (3, 3, 8)),
    ]


def test_sequences_of_other_models_are_no_maps():
    ends = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, strides=(3, 1), padding="same", name="conv")(ends)
    squeezed = layers.Reshape((1, 6))(layers.GlobalAveragePooling2D()(x))
    gated = layers.Multiply(name="gated")([x, layers.Reshape((1, 1, 6))(squeezed)])
    columns = layers.Reshape((16, 18), name="columns")(gated)
    read_out = layers.SimpleRNN(4, return_sequences=True, name="read")(columns)
    model = keras.Model(ends, layers.Dense(2)(layers.Flatten()(read_out)))
    assert [entry.path for entry in tfcam.layers(model)] == ["conv", "gated"]
    assert tfcam.layers(model).default == "gated"
    # Named, 16 columns may still be squares of the image; what can't be is asked for.
    assert opened(model, "read")[0].grid == Grid(4, 4, 0)
    ends = keras.Input((12, 12, 3))
    odd = keras.Model(ends, layers.Dense(4, name="odd")(layers.Reshape((24, 18))(ends)))
    with pytest.raises(ValueError, match="If 'odd' gives tokens, pass grid"):
        tfcam.layers(odd)
    with pytest.raises(ValueError, match=r"grid of the 24 tokens of 'odd'"):
        opened(odd, "odd")
    assert opened(odd, "odd", grid=(4, 6))[0].grid == Grid(4, 6, 0)


# Maps


@pytest.mark.parametrize(("prefix", "layer"), [(0, "last_norm"), (1, "norm1"), (2, "block0")])
def test_grad_cam_of_tokens_is_that_of_the_grid(prefix, layer):
    model, inputs = networks.vit(prefix), networks.pictures(2)
    several = keras.Model(model.input, [model.get_layer(layer).output, model.output])
    with tf.GradientTape() as tape:
        A, outputs = several(inputs, training=False)
        score = tf.reduce_sum(outputs._keras_logits[:, 2])
    G = tape.gradient(score, A)
    grid = (2, 3, 3, 8)
    A, G = (np.float64(each)[:, prefix:].reshape(grid) for each in (A, G))
    reading, _ = read(model, layer, inputs, 2)
    np.testing.assert_allclose(reading.activations, A, rtol=1e-5, atol=1e-6)
    wanted = np.stack([replicas.grad_cam(a, g) for a, g in zip(A, G, strict=True)])
    np.testing.assert_allclose(grad_cam(reading), wanted, rtol=1e-3, atol=1e-6)


def test_the_mean_of_cam_over_pooled_tokens_is_the_logit():
    model, inputs = networks.vit(prefix=0), networks.pictures(2)
    reading, _ = read(model, None, inputs, 1)
    weights, bias = model.get_layer("head").get_weights()
    raw = cam(Reading(reading.activations, class_weights=tf.constant(weights[:, [1, 1]].T)))
    np.testing.assert_allclose(np.mean(raw, (1, 2)) + bias[1], reading.scores, rtol=1e-4)
    np.testing.assert_allclose(9 * grad_cam(reading), raw, rtol=1e-3, atol=1e-5)


# Attention scores


def scores_by_hand(layer, x):
    """Vaswani et al. 2017, eq. 1 without the values: softmax(Q K^T / sqrt d), each head alone."""
    (Wq, bq), (Wk, bk) = (
        [np.float64(each) for each in dense.get_weights()]
        for dense in (layer.query_dense, layer.key_dense)
    )
    B, T, _ = x.shape
    H, d = bq.shape
    scores = np.zeros((B, H, T, T))
    for b in range(B):
        for h in range(H):
            for i in range(T):
                query = x[b, i] @ Wq[:, h] + bq[h]
                energies = [query @ (x[b, j] @ Wk[:, h] + bk[h]) / d**0.5 for j in range(T)]
                powers = np.exp(energies - np.max(energies))
                scores[b, h, i] = powers / powers.sum()
    return scores


@pytest.mark.thinned(1)
@pytest.mark.parametrize("call", ["eager", "compiled", "XLA"])
def test_scores_are_read_and_the_model_is_left_as_it_was(call):
    model, inputs = networks.vit(), networks.pictures(2)
    norms = keras.Model(model.input, [model.get_layer(f"norm{i}").output for i in range(2)])
    before = networks.snapshot(model, inputs)

    def found(images):
        return attention_scores(graph_of(model), images)

    if call != "eager":
        found = tf.function(found, autograph=False, jit_compile=call == "XLA")
    found = found(tf.constant(inputs))
    assert networks.snapshot(model, inputs) == before
    assert len(found) == 2
    for number, x in enumerate(norms(inputs)):
        wanted = scores_by_hand(model.get_layer(f"attention{number}"), np.float64(x))
        np.testing.assert_allclose(found[number], wanted, rtol=1e-4, atol=1e-6)


def test_outputs_are_the_same_to_the_last_bit_while_scores_are_read_and_layers_tapped():
    model, inputs = networks.vit(), tf.constant(networks.pictures(3))
    sub = SubModel(graph_of(model), [opened(model)[0], opened(model, "attention0")[0]])
    plain, taken = sub.forward(inputs)
    with reading_attentions(graph_of(model)) as scores:
        outputs, again = sub.forward(inputs)
    assert [tuple(each.shape) for each in scores] == [(3, 2, 10, 10)] * 2
    np.testing.assert_array_equal(outputs.values, model(inputs, training=False))
    np.testing.assert_array_equal(outputs.values, plain.values)
    for one, other in zip(taken, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_each_image_has_its_own_scores():
    model, inputs = networks.vit(), networks.pictures(3)
    together = attention_scores(graph_of(model), tf.constant(inputs))
    alone = [attention_scores(graph_of(model), tf.constant(inputs[i : i + 1])) for i in range(3)]
    for number, scores in enumerate(together):
        single = np.concatenate([each[number] for each in alone])
        np.testing.assert_allclose(scores, single, atol=ROUNDED)


def attending(attend):
    """A network of tokens whose attention is ``attend``."""
    ends = keras.Input((12, 12, 3))
    x = layers.Reshape((9, 8), name="tokens")(layers.Conv2D(8, 4, strides=4)(ends))
    pooled = layers.GlobalAveragePooling1D()(attend(x))
    return keras.Model(ends, layers.Dense(2)(pooled))


def test_shared_nested_and_decorated_attention():
    shared = layers.MultiHeadAttention(2, 4, name="shared")

    class Decorated(layers.Layer):
        @tf.function
        def call(self, x):
            return shared(query=x, value=x)

    class Holder(Decorated):
        def __init__(self):
            super().__init__()
            self.attention = shared

    def attend(x):
        inner = keras.Input((9, 8))
        nested = keras.Model(inner, shared(inner, inner), name="nested")
        return Holder()(nested(nested(x)))

    model, inputs = attending(attend), networks.pictures(1)
    before = networks.snapshot(model, inputs)
    scores = attention_scores(graph_of(model), tf.constant(inputs))
    assert networks.snapshot(model, inputs) == before
    x = keras.Model(model.input, model.get_layer("tokens").output)(inputs)
    assert len(scores) == 3
    for found in scores:
        np.testing.assert_allclose(found, scores_by_hand(shared, np.float64(x)), rtol=1e-4)
        x = shared(x, x)


@pytest.mark.parametrize(
    ("attention", "heads"),
    [
        (lambda x: layers.Attention()([x, x]), 1),
        (lambda x: layers.AdditiveAttention()([x, x, x]), 1),
        (lambda x: layers.GroupQueryAttention(4, 4, 2)(x, x), 4),
        (lambda x: layers.MultiHeadAttention(2, 4, dropout=0.5)(x, x), 2),
        (lambda x: layers.MultiHeadAttention(2, 4)(x, x, return_attention_scores=True)[0], 2),
        (lambda x: layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True), 2),
    ],
    ids=["Attention", "AdditiveAttention", "grouped", "dropout", "with its scores", "causal"],
)
def test_every_attention_of_keras_is_read(attention, heads):
    model, inputs = attending(attention), networks.pictures(2)
    before = networks.snapshot(model, inputs)
    (scores,) = attention_scores(graph_of(model), tf.constant(inputs))
    assert networks.snapshot(model, inputs) == before
    assert scores.shape == (2, heads, 9, 9)
    np.testing.assert_allclose(tf.reduce_sum(scores, -1), 1.0, rtol=1e-5)


def test_masks_are_still_there_for_the_models_own_call():
    class Masked(layers.Layer):
        def __init__(self):
            super().__init__()
            self.attention = layers.MultiHeadAttention(2, 4)

        def call(self, x):
            x._keras_mask = tf.range(9)[tf.newaxis] < 5
            # The product has no mask: masked queries count in what follows, too.
            return 1.0 * self.attention(x, x)

    model, inputs = attending(Masked()), tf.constant(networks.pictures(1))
    with reading_attentions(graph_of(model)) as scores:
        outputs = model(inputs, training=False)
    np.testing.assert_array_equal(outputs, model(inputs, training=False))
    np.testing.assert_array_equal(scores[0][0, :, :5, 5:], np.zeros((2, 5, 4)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_gives_float32_scores(policy):
    inputs = tf.constant(networks.pictures(1))
    model = networks.vit()
    wanted = attention_scores(graph_of(model), inputs)
    model = networks.in_policy(policy, networks.vit)
    off = rounding(1.0, count=2, dtype=policy.removeprefix("mixed_"))
    for found, scores in zip(attention_scores(graph_of(model), inputs), wanted, strict=True):
        assert found.dtype == tf.float32
        np.testing.assert_allclose(found, scores, atol=off)
    assert opened(model)[0].grid == Grid(3, 3, 1)


class Fused(layers.MultiHeadAttention):
    """Its own code, which does not know scores."""

    def _compute_attention(self, query, key, value, *others, **options):
        return keras.ops.dot_product_attention(query, key, value), None


class WindowAttention(layers.Layer):
    def call(self, x):
        return x


def test_attention_that_can_not_be_read_is_refused_with_the_reason():
    model, inputs = networks.flat(), tf.constant(networks.pictures(1))
    with pytest.raises(ValueError, match="needs a network with attention; 'flat' has none"):
        attention_scores(graph_of(model), inputs)
    model = attending(lambda x: WindowAttention(name="own")(x))
    with pytest.raises(ValueError, match="'own' .WindowAttention. computes its own.*It reads"):
        attention_scores(graph_of(model), inputs)
    model = attending(lambda x: Fused(2, 4, name="fused")(x, x))
    before = networks.snapshot(model, inputs)
    with pytest.raises(ValueError, match="'fused' does not return them when it is asked"):
        attention_scores(graph_of(model), inputs)
    assert networks.snapshot(model, inputs) == before


@pytest.mark.parametrize("traced", [False, True])
def test_cross_attention_is_refused(traced):
    cross = layers.MultiHeadAttention(2, 4, name="cross")
    model = attending(lambda x: cross(x, layers.Dense(8)(x)))
    found = tf.function(attention_scores, autograph=False) if traced else attention_scores
    with pytest.raises(ValueError, match="needs self-attention; 'cross' attends from one tensor"):
        found(graph_of(model), tf.constant(networks.pictures(1)))


# Rollout


def rollout_by_hand(A):
    """Abnar and Zuidema 2020, section 3, of one image: A is (layers, heads, T, T)."""
    L, H, T, _ = A.shape
    R = np.eye(T)
    for layer in range(L):
        a = np.zeros((T, T))
        for i in range(T):
            for j in range(T):
                for h in range(H):
                    a[i, j] += 0.5 * A[layer, h, i, j] / H
                a[i, j] += 0.5 * (i == j)
            a[i] /= a[i].sum()
        R = a @ R
    return R


def some_scores(rng, depth=3, batch=2, heads=4, count=7):
    A = rng.gamma(0.3, 1.0, (depth, batch, heads, count, count)) + 1e-6
    return A / A.sum(-1, keepdims=True)


def test_rollout_is_the_paper_s(rng):
    A = some_scores(rng)
    found = rollout(list(tf.constant(A)))
    wanted = np.stack([rollout_by_hand(A[:, b]) for b in range(2)])
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(rollout(list(tf.constant(A, tf.float32))), wanted, rtol=1e-4)
    # The last layer comes first in the product.
    assert np.abs(rollout(list(tf.constant(A[::-1]))) - wanted).max() > 1e-2


@law("rows sum to 1; identity gives I", "attention_rollout")
def test_laws_of_rollout(rng):
    A = tf.constant(some_scores(rng))
    np.testing.assert_allclose(tf.reduce_sum(rollout(list(A)), -1), 1.0, rtol=1e-12)
    shuffled = [tf.gather(each, rng.permutation(4), axis=1) for each in A]
    np.testing.assert_allclose(rollout(shuffled), rollout(list(A)), rtol=1e-12)
    identity = tf.eye(7, batch_shape=[2, 4], dtype=tf.float64)
    np.testing.assert_allclose(rollout([identity] * 3), identity[:, 0], rtol=1e-12)
    uniform = tf.fill((1, 2, 7, 7), 1 / 7)
    diagonal = np.diagonal(rollout([uniform])[0])
    np.testing.assert_allclose(diagonal, 0.5 + 0.5 / 7, rtol=1e-6)
    # Rows that do not sum to 1 are divided by their own sums.
    halved = A * tf.constant([0.5, 1, 0, 2, 1, 1, 1], tf.float64)[:, tf.newaxis]
    np.testing.assert_allclose(tf.reduce_sum(rollout(list(halved)), -1), 1.0, rtol=1e-12)


@law("a network by hand", "attention_rollout")
def test_rollout_of_a_hand_set_network():
    # Two layers; the class token looks at patch 1 only in the first, at patch 0 only in the last,
    # and every patch at itself.
    def looking(at):
        row = [float(at == j) for j in range(3)]
        return tf.constant([[[row, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]])

    scores = [looking(at=2), looking(at=1)]
    np.testing.assert_allclose(rollout(scores)[0, 0], [0.25, 0.5, 0.25])
    np.testing.assert_allclose(rollout_map(scores, Grid(1, 2, 1)), [[[0.5, 0.25]]])


def test_the_map_is_the_class_token_s_row_or_the_mean_of_all(rng):
    A = list(tf.constant(some_scores(rng, count=8)))
    R = rollout(A).numpy()
    np.testing.assert_array_equal(rollout_map(A, Grid(2, 3, 2)), np.reshape(R[:, 0, 2:], (2, 2, 3)))
    pooled = rollout_map(A, Grid(2, 4))
    np.testing.assert_allclose(pooled, R.mean(1).reshape(2, 2, 4), rtol=1e-12)
    np.testing.assert_allclose(tf.reduce_sum(pooled, (1, 2)), 1.0, rtol=1e-12)


def test_rollout_refuses_attention_that_is_not_over_the_same_tokens():
    def scores(*shape):
        return tf.fill(shape, 1 / shape[-1])

    with pytest.raises(ValueError, match="at least one attention; the model called none"):
        rollout([])
    with pytest.raises(ValueError, match=r"changes from call to call: \(16, 2, 4, 4\), \(4, 2, 4"):
        rollout([scores(16, 2, 4, 4), scores(4, 2, 4, 4)])
    with pytest.raises(ValueError, match="changes from call to call"):
        rollout([scores(1, 2, 16, 16), scores(1, 2, 4, 4)])
    with pytest.raises(ValueError, match=r"over all tokens; got \(1, 2, 4, 5\)"):
        rollout([scores(1, 2, 4, 5)])
    with pytest.raises(ValueError, match="over all 17 tokens; here each is over 4, such as"):
        rollout_map([scores(4, 2, 4, 4)], Grid(4, 4, 1))


# KerasHub


def hub(kind, shape, pooling="token"):
    models = pytest.importorskip("keras_hub").models
    sizes = {"patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 8}
    sizes["mlp_dim" if kind == "ViT" else "intermediate_dim"] = 16
    backbone = getattr(models, f"{kind}Backbone")(image_shape=shape, name="body", **sizes)
    classifier = getattr(models, f"{kind}ImageClassifier")
    return classifier(backbone=backbone, num_classes=3, pooling=pooling)


@pytest.mark.parametrize("shape", [(16, 16, 3), (8, 16, 3)])
@pytest.mark.parametrize(
    ("kind", "pooling", "prefix"), [("ViT", "token", 1), ("ViT", "gap", 1), ("DeiT", "token", 2)]
)
@pytest.mark.slow
def test_transformers_of_keras_hub(rng, kind, pooling, prefix, shape):
    model = hub(kind, shape, pooling)
    inputs = rng.normal(0, 1, (2, *shape)).astype("float32")
    before = networks.snapshot(model, inputs)
    tap, reason, _ = opened(model)
    block = f"body/{kind.lower()}_encoder/transformer_block_2"
    assert tap.path == f"{block}/ln_1"
    assert reason.startswith(f"goes into {block}/mha, the last attention")
    grid = Grid(shape[0] // 4, shape[1] // 4, prefix)
    assert tap.grid == (replace(grid, class_token=None) if pooling == "gap" else grid)
    _, G = read(model, None, inputs, 0)
    assert (np.abs(G[:, prefix:]).max(-1) > 0).all()
    scores = attention_scores(graph_of(model), tf.constant(inputs))
    count = prefix + shape[0] * shape[1] // 16
    assert [tuple(each.shape) for each in scores] == [(2, 2, count, count)] * 2
    raw = rollout_map(scores, tap.grid).numpy()
    rows = rollout_by_hand(np.float64([each[1] for each in scores]))[:, prefix:]
    wanted = rows[prefix:].mean(axis=0) if pooling == "gap" else rows[0]
    np.testing.assert_allclose(raw[1], wanted.reshape(raw.shape[1:]), rtol=1e-4)
    assert networks.snapshot(model, inputs) == before


@pytest.mark.filterwarnings("ignore::UserWarning")  # KerasHub's own, when Swin is built
def test_windows_of_keras_hub_are_explained_by_gradients_but_not_by_rollout(rng):
    models = pytest.importorskip("keras_hub").models
    backbone = models.SwinTransformerBackbone(
        image_shape=(32, 32, 3), embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4
    )
    model = models.SwinTransformerImageClassifier(backbone=backbone, num_classes=3)
    assert opened(model)[0].grid == Grid(4, 4, 0)
    inputs = rng.normal(0, 1, (1, 32, 32, 3)).astype("float32")
    reading, _ = read(model, None, inputs, 0)
    assert float(tf.reduce_max(tf.abs(reading.gradients))) > 0
    with pytest.raises(ValueError, match="WindowAttention. computes its own and does not give"):
        attention_scores(graph_of(model), tf.constant(inputs))
