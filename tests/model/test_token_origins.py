"""Where the tokens of no patch stand in a sequence: the map is the same wherever they do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import rounding
from tfcam.model.graph import graph_of
from tfcam.model.token_origins import find_origins
from tfcam.model.tracing import _parents, tensor_name


class Joined(layers.Layer):
    """Learned tokens in front of the others, after so many of them, and at the end."""

    def __init__(self, front=0, middle=0, end=0, at=4, **options):
        super().__init__(**options)
        self.counts, self.at = (front, middle, end), at

    def build(self, shape):
        self.tokens = self.add_weight(shape=(1, sum(self.counts), shape[-1]), name="tokens")

    def call(self, x):
        tokens = keras.ops.repeat(self.tokens, keras.ops.shape(x)[0], 0)
        front, middle, _ = self.counts
        parts = tokens[:, :front], x[:, : self.at], tokens[:, front : front + middle]
        return keras.ops.concatenate([*parts, x[:, self.at :], tokens[:, front + middle :]], 1)


def transformer(join, read):
    """``networks.vit`` with the same weights; attention does not know where a token stands."""
    plain = networks.vit()
    inputs = keras.Input((12, 12, 3))
    x = join(plain.get_layer("tokens")(plain.get_layer("patches")(inputs)))
    for block in range(2):
        y = plain.get_layer(f"norm{block}")(x)
        x = layers.Add()([x, plain.get_layer(f"attention{block}")(y, y)])
        y = plain.get_layer(f"mlp{block}")(plain.get_layer(f"mlp_norm{block}")(x))
        x = layers.Add()([x, y])
    model = keras.Model(inputs, plain.get_layer("head")(read(plain.get_layer("last_norm")(x))))
    if isinstance(join, Joined):
        count = sum(join.counts)
        own = np.random.default_rng(4).normal(0, 0.5, (1, count, 8))
        own[:, join.read] = plain.get_layer("prefix").tokens[:, 0]
        join.tokens.assign(own)
    return model, plain


METHODS = ("grad_cam", "score_cam", "lrp", "attention_rollout")


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize(
    ("counts", "read"),
    [
        pytest.param((0, 0, 1), -1, id="at the end"),
        pytest.param((0, 0, 1), 9, id="at the end, by index"),
        pytest.param((0, 1, 0), 4, id="between"),
    ],
)
def test_the_map_is_the_same_wherever_the_class_token_stands(counts, read):
    join = Joined(*counts, name="joined")
    join.read = 0
    model, plain = transformer(join, layers.Lambda(lambda x: x[:, read]))
    inputs = networks.pictures(2)
    np.testing.assert_allclose(model(inputs), plain(inputs), atol=1e-6)
    for method in METHODS:
        options = {"layer": "norm1"} if method == "lrp" else {}
        found, wanted = (
            tfcam.explain(each, inputs, target=1, method=method, **options)
            for each in (model, plain)
        )
        for one, other in zip(found, wanted, strict=True):
            size = np.abs(other.raw).max()
            np.testing.assert_allclose(one.raw, other.raw, atol=rounding(20) * max(size, 1))
    where = "between them" if counts[1] else "at the end"
    told = next(each.message for each in found[0].findings if each.code == "prefix_tokens")
    assert f"3 x 3 patches, row by row, and 1 further without a patch ({where})" in told


@pytest.mark.parametrize(
    ("counts", "read", "places", "class_token"),
    [
        ((0, 0, 4), None, tuple(range(9)), None),  # registers at the end, patches pooled
        ((1, 0, 3), 0, tuple(range(1, 10)), 0),
        ((2, 0, 1), -1, tuple(range(2, 11)), 11),
        ((1, 1, 1), 0, (1, 2, 3, 4, *range(6, 11)), 0),
        ((2, 0, 0), 1, (), 1),  # a register first, then the class token
    ],
)
def test_registers_may_stand_on_either_side(counts, read, places, class_token):
    join = Joined(*counts, name="joined")
    join.read = 0
    pool = (lambda x: tf.reduce_mean(x[:, :9], 1)) if read is None else lambda x: x[:, read]
    model, _ = transformer(join, layers.Lambda(pool))
    tap = graph_of(model).open_layer("norm1").tap
    extra = sum(counts)
    assert (tap.grid.extra, tap.grid.places, tap.grid.class_token) == (extra, places, class_token)
    # The activations of a picture that is one colour but for its last patch differ there alone.
    image = np.zeros((1, 12, 12, 3), "float32")
    image[:, 8:, 8:] = 3
    blank = np.zeros_like(image)
    found = [tfcam.features(model, each, "norm0", preprocess=None) for each in (image, blank)]
    one, other = (dict(zip(each.channels, each.maps, strict=True)) for each in found)
    changed = np.any([one[channel] != other[channel] for channel in one], axis=0)
    assert np.argwhere(changed).tolist() == [[2, 2]]


MOVES = {
    "concat": lambda x, y: [tf.concat([x, y], 1)],
    "concat in front": lambda x, y: [tf.concat([y, x], -2)],
    "pad": lambda x, y: [tf.pad(x, [[0, 0], [1, 2], [0, 0]])],
    "pad by": lambda x, y: [tf.pad(x, [[0, 0], [0, 1], [2, 0]], constant_values=-7)],
    "reverse": lambda x, y: [tf.reverse(x, [1])],
    "roll": lambda x, y: [tf.roll(x, 2, 1)],
    "gather": lambda x, y: [tf.gather(x, [3, 1], axis=1)],
    "slice": lambda x, y: [x[:, 1:5:2]],
    "tf.slice": lambda x, y: [tf.slice(x, [0, 2, 0], [-1, 3, -1])],
    "split": lambda x, y: tf.split(x, 3, 1),
    "split unevenly": lambda x, y: tf.split(x, [2, 4], 1),
    "unstack": lambda x, y: tf.unstack(x, axis=1),
    "channels": lambda x, y: [tf.concat([x[..., :2], x[..., 2:]], 2)],
}


@pytest.mark.parametrize("move", MOVES)
def test_tokens_are_followed_as_the_operation_moves_them(move):
    """Tokens that hold their own number, moved, against what is said of each."""
    tokens, extra = tf.fill((1, 6, 4), 1.0) * tf.range(1.0, 7)[:, None], tf.fill((1, 2, 4), -1.0)

    @tf.function
    def traced(x):
        return MOVES[move](x * 1.0, extra)

    concrete = traced.get_concrete_function(tf.TensorSpec((1, 6, 4)))
    parents, _ = _parents(concrete.graph, 1)
    origins = find_origins(concrete.graph, parents, tensor_name).of
    for tensor, values in zip(concrete.outputs, concrete(tokens), strict=True):
        held = np.atleast_2d(values[0])[:, -1].astype(int)
        found = np.array(origins[tensor_name(tensor)])
        np.testing.assert_array_equal(np.maximum(found, 0), np.maximum(held, 0))


def test_steps_of_another_layer_are_no_tokens():
    """``TimeDistributed`` puts the steps first, (T, B, D), and takes them one by one."""
    ends = keras.Input((6, 4, 1))
    x = layers.Conv2D(3, 3, padding="same", activation="relu", name="conv")(ends)
    steps = layers.TimeDistributed(layers.Dense(5, "relu"))(layers.Reshape((6, 12))(x))
    outputs = layers.Dense(2)(layers.GlobalAveragePooling1D()(steps))
    model = networks.seeded(keras.Model(ends, outputs))
    image = np.random.default_rng(0).normal(size=(6, 4, 1)).astype(np.float32)
    both = keras.Model(ends, [x, outputs])
    with tf.GradientTape() as tape:
        activations, scores = both(image[None])
        score = scores[0, 1]
    weights = tf.reduce_mean(tape.gradient(score, activations), (1, 2), keepdims=True)
    found = tfcam.explain(model, image, target=1, preprocess=None)
    assert found.layer == "conv"
    wanted = tf.reduce_sum(weights * activations, -1)[0].numpy()
    np.testing.assert_allclose(found.raw, wanted, atol=rounding(20) * np.abs(wanted).max())
