"""Ensembles: that one network of several is shown is said, and all of them can be fused."""

import ast

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests.networks import seeded
from tests.tolerances import ROUNDED
from tfcam.model.graph import graph_of

SIZE = 16
PICTURE = np.random.default_rng(0).uniform(size=(SIZE, SIZE, 3)).astype(np.float32)


def conv(filters, name, x, **options):
    return layers.Conv2D(filters, 3, padding="same", activation="relu", name=name, **options)(x)


def member(name, filters, activation=None):
    ends = keras.Input((SIZE, SIZE, 3))
    x = conv(filters, "last", conv(filters, "first", ends, strides=2))
    x = layers.Dense(3, activation=activation)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(ends, x, name=name)


def average(activation=None):
    ends = keras.Input((SIZE, SIZE, 3))
    members = [member(name, n, activation) for name, n in [("a", 4), ("b", 5), ("c", 6)]]
    return seeded(keras.Model(ends, layers.Average()([one(ends) for one in members])), 2)


def weighted():
    ends = keras.Input((SIZE, SIZE, 3))
    out = 0.2 * member("a", 4)(ends) + 0.8 * member("b", 5)(ends)
    return seeded(keras.Model(ends, out), 2)


class Own(keras.Model):
    """An ensemble by hand, whose members are blocks that are passed by."""

    def __init__(self):
        super().__init__()
        self.stems = [layers.Conv2D(4, 3, padding="same", name=f"stem{n}") for n in "ab"]
        self.blocks = [
            layers.Conv2D(4, 3, padding="same", activation="relu", name=f"block{n}") for n in "ab"
        ]
        self.heads = [layers.Dense(3, name=f"head{n}") for n in "ab"]

    def call(self, x):
        scores = []
        for stem, block, head in zip(self.stems, self.blocks, self.heads, strict=True):
            y = stem(x)
            y = y + block(y)
            scores.append(head(keras.ops.mean(y, (1, 2))))
        return (scores[0] + scores[1]) / 2


def streams():
    """Two branches of one network, put together behind their poolings."""
    ends = keras.Input((SIZE, SIZE, 3))
    stem = conv(4, "stem", ends)
    pooled = [layers.GlobalMaxPooling2D()(conv(5, name, stem)) for name in ("fine", "coarse")]
    return seeded(keras.Model(ends, layers.Dense(3)(layers.Concatenate()(pooled))), 2)


@pytest.mark.parametrize(
    ("make", "paths"),
    [
        (average, {"a/last", "b/last", "c/last"}),
        (lambda: average("softmax"), {"a/last", "b/last", "c/last"}),
        (weighted, {"a/last", "b/last"}),
        (Own, {"blocka", "blockb"}),
        (streams, {"fine", "coarse"}),
    ],
    ids=["average", "softmax", "weighted", "own", "streams"],
)
def test_that_one_of_several_networks_is_shown_is_a_finding(make, paths):
    model = make()
    model(PICTURE[None])
    shown = tfcam.explain(model, PICTURE, target=1, preprocess=None)
    (found,) = [each for each in shown.findings if each.code == "one_of_several"]
    assert shown.layer in paths
    assert found.message.startswith(f"The score comes from {len(paths)} branches")
    assert paths == set(ast.literal_eval(found.message.split("layer=")[1].removesuffix(".")))
    named = tfcam.explain(model, PICTURE, shown.layer, target=1, preprocess=None)
    assert "one_of_several" not in [each.code for each in named.findings]
    np.testing.assert_array_equal(named.raw, shown.raw)


def test_all_members_are_fused_as_by_hand():
    model = average()
    fused = tfcam.explain(
        model, PICTURE, ["a/last", "b/last", "c/last"], target=1, preprocess=None, fuse="mean"
    )
    assert "one_of_several" not in [each.code for each in fused.findings]
    heatmaps = []
    for name in "abc":  # the score is a third of each member's
        alone = tfcam.explain(model.get_layer(name), PICTURE, target=1, preprocess=None)
        np.testing.assert_allclose(
            3 * fused.parts[f"{name}/last"], alone.raw, atol=ROUNDED * np.abs(alone.raw).max()
        )
        heatmaps.append(alone.heatmap)
    wanted = np.mean(heatmaps, axis=0)
    np.testing.assert_allclose(fused.heatmap, wanted / wanted.max(), atol=ROUNDED)


def residual():
    ends = keras.Input((SIZE, SIZE, 3))
    x = conv(4, "stem", ends)
    x = layers.Add()([x, conv(4, "block", x)])
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply(name="gated")([x, gate])
    return keras.Model(ends, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def inception():
    ends = keras.Input((SIZE, SIZE, 3))
    x = layers.Concatenate(name="mixed")([conv(3, "one", ends), conv(3, "two", ends)])
    return keras.Model(ends, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


class Residual(keras.Model):
    """Blocks that are passed by, and a head that reads one position."""

    def __init__(self):
        super().__init__()
        self.stem = layers.Conv2D(4, 3, padding="same", name="stem")
        self.block = layers.Conv2D(4, 3, padding="same", activation="relu", name="block")
        self.head = layers.Dense(3)

    def call(self, x):
        x = self.stem(x)
        return self.head((x + self.block(x))[:, 0, 0])


@pytest.mark.parametrize("make", [residual, inception, Residual, lambda: member("a", 4)])
def test_blocks_that_are_passed_by_and_joined_branches_are_one_network(make):
    model = make()
    model(PICTURE[None])
    assert graph_of(model).default_layer().others == ()


def test_the_members_that_another_output_reads_are_not_meant():
    ends = keras.Input((SIZE, SIZE, 3))
    outputs = {name: member(name, 4)(ends) for name in ("age", "kind")}
    model = keras.Model(ends, outputs)
    shown = tfcam.explain(model, PICTURE, target=1, output="age", preprocess=None)
    assert (shown.layer, shown.findings) == ("age/last", ())
