"""Transformers from one end to the other: every method that applies, on the tokens' grid."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import ablation_rounding, rounding
from tfcam.methods.transformers import rollout_map
from tfcam.model.graph import graph_of
from tfcam.passes.attention import attention_scores
from tfcam.passes.submodel import SubModel

LAYERED = [
    "grad_cam",
    "grad_cam_pp",
    "x_grad_cam",
    "hires_cam",
    "layer_cam",
    "grad_cam_elementwise",
    "eigen_cam",
    "eigen_grad_cam",
    "finer_cam",
    "smooth_grad_cam_pp",
    "score_cam",
    "ablation_cam",
    "attention_rollout",
]
PIXELS = ["saliency", "smooth_grad", "integrated_gradients"]


def tokens_of(model, inputs, target, layer=None):
    """The layer's tap, and its tokens' activations and gradients by a tap of one's own."""
    graph = graph_of(model)
    tap, *_ = graph.open_layer(layer)
    with tf.GradientTape() as tape:
        outputs, (tokens,) = SubModel(graph, [tap]).forward(tf.constant(inputs), tape.watch)
        score = tf.reduce_sum(outputs.scores[:, target])
    return tap, tokens.numpy(), tape.gradient(score, tokens).numpy()


@pytest.mark.thinned(2)
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_maps_of_tokens_by_hand(prefix):
    """Patch tokens row by row on 3 x 4 patches; the prefix is left out of all sums."""
    model = networks.vit(prefix=prefix, size=(12, 16))
    inputs = np.random.default_rng(1).normal(0, 1, (2, 12, 16, 3)).astype("float32")
    tap, A, G = tokens_of(model, inputs, 1)
    A, G = A[:, prefix:].astype("f8"), G[:, prefix:].astype("f8")
    wanted = {
        "hires_cam": (A * G).sum(-1),
        "grad_cam": (A * G.mean(1, keepdims=True)).sum(-1),
        "layer_cam": (A * np.maximum(G, 0)).sum(-1),
    }
    for name, tokens in wanted.items():
        results = tfcam.explain(model, inputs, method=name, target=1)
        assert results[0].layer == tap.name
        np.testing.assert_allclose(results.raws, tokens.reshape(2, 3, 4), rtol=1e-4, atol=1e-6)
        assert results[0].heatmap.shape == (12, 16)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("name", LAYERED + PIXELS)
@pytest.mark.thinned(1)
def test_a_batch_is_its_images_one_by_one_eager_and_compiled(name, prefix):
    model, inputs = networks.vit(prefix=prefix), networks.pictures(3)
    explainer = tfcam.Explainer(model, method=name)
    _, tokens, _ = tokens_of(model, inputs, 0)
    alone = [
        tfcam.explain(model, inputs[index], method=name, target=target).raw
        for index, target in enumerate([0, 2, 1])
    ]
    for _ in range(2):
        results = explainer(inputs, [0, 2, 1])
        together = results.raws
        assert together.any()
        off = rounding(together)
        if name == "ablation_cam":
            off = ablation_rounding([result.score for result in results], tokens)
        np.testing.assert_allclose(together, np.stack(alone), atol=off)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_ablations_leave_the_prefix_as_it_is(fill):
    """y_k by a pass of the whole model in which the patches' channel k is replaced."""
    model, inputs = networks.vit(prefix=1), networks.pictures(2)
    tap, tokens, _ = tokens_of(model, inputs, 0)
    sub = SubModel(graph_of(model), [tap])

    def score(given):
        return sub.forward(tf.constant(inputs), inject=[tf.constant(given)])[0].scores.numpy()[:, 0]

    patches, drops = tokens[:, 1:], []
    for k in range(tokens.shape[-1]):
        ablated = tokens.copy()
        ablated[:, 1:, k] = patches[..., k].mean(1, keepdims=True) if fill == "mean" else 0
        drops.append(score(tokens) - score(ablated))
    wanted = (np.stack(drops, -1)[:, None] * patches).sum(-1).reshape(2, 3, 3)
    found = tfcam.explain(model, inputs, method="ablation_cam", target=0, fill=fill).raws
    off = ablation_rounding(score(tokens), patches)
    np.testing.assert_allclose(found, wanted, atol=off)


def test_pooled_tokens_without_a_prefix_have_the_closed_form():
    model, inputs = networks.vit(prefix=0), networks.pictures(2)
    closed = tfcam.explain(model, inputs, method="ablation_cam", target=1).raws
    passes = tfcam.explain(model, inputs, method="ablation_cam", target=lambda o: o[:, 1]).raws
    np.testing.assert_allclose(closed, passes, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("prefix", [0, 1])
def test_attention_rollout_is_that_of_the_scores(prefix):
    model, inputs = networks.vit(prefix=prefix), networks.pictures(2)
    tap, *_ = tokens_of(model, inputs, 0)
    wanted = rollout_map(attention_scores(graph_of(model), tf.constant(inputs)), tap.grid)
    explainer = tfcam.Explainer(model, method="attention_rollout")
    for _ in range(2):  # eager, compiled
        results = explainer(inputs, 2)
        np.testing.assert_allclose(results.raws, wanted, rtol=1e-5)
        assert results[0].layer is None
        assert results[0].layer_reason == f"every self-attention, on the grid of {tap.name}"
    np.testing.assert_array_equal(explainer(inputs, 0).raws, results.raws)  # it knows of no class


def test_the_model_is_as_it_was_after_rollout_and_after_failing():
    model, inputs = networks.vit(), networks.pictures(1)
    before = networks.snapshot(model, inputs)
    tfcam.explain(model, inputs, method="attention_rollout")
    with pytest.raises(ValueError, match="no gradient reaches"):
        tfcam.explain(model, inputs, target=lambda outputs: tf.round(outputs[:, 0]))
    assert networks.snapshot(model, inputs) == before


@pytest.mark.parametrize("name", ["full_grad", "guided_backprop", "guided_grad_cam", "deconvnet"])
def test_what_does_not_apply_to_transformers_is_refused(name):
    with pytest.raises(ValueError, match="piecewise linear|has none"):
        tfcam.explain(networks.vit(), networks.pictures(1), method=name)


def test_rollout_of_a_network_without_attention_or_on_a_map_is_refused():
    with pytest.raises(ValueError, match="needs a network with attention"):
        tfcam.explain(networks.flat(), networks.pictures(1), method="attention_rollout")
    with pytest.raises(ValueError, match="needs a layer of tokens.*'patches' gives a map"):
        tfcam.explain(networks.vit(), networks.pictures(1), "patches", method="attention_rollout")


class Cut(layers.Layer):
    """Patches as a list that says nothing of how they lay: 2 x 8 of 4 x 2 pixels."""

    def call(self, images):
        return tf.reshape(images, (-1, 16, 4 * 2 * 3))


def test_a_grid_that_can_not_be_known_is_asked_for_and_used():
    inputs = keras.Input((8, 16, 3))
    tokens = layers.Dense(4, name="embed")(Cut(name="cut")(inputs))
    tokens = tokens + layers.MultiHeadAttention(2, 2, name="attention")(tokens, tokens)
    pooled = layers.GlobalAveragePooling1D(name="pool")(tokens[:, 3:])  # of 13: no rectangle
    model = keras.Model(inputs, layers.Dense(3, name="head")(pooled))
    x = np.random.default_rng(0).normal(0, 1, (1, 8, 16, 3)).astype("float32")
    with pytest.raises(ValueError, match=r"grid=\(height, width\)"):
        tfcam.explain(model, x, "pool:input")
    given = tfcam.explain(model, x, "pool:input", grid=(1, 13))[0]
    assert given.raw.shape == (1, 13)
    with pytest.raises(ValueError, match=r"grid"):
        tfcam.explain(model, x, "pool:input", grid=(4, 4))


@pytest.mark.parametrize("pooling", ["token", "gap"])
@pytest.mark.slow
def test_a_kerashub_classifier_from_its_config(pooling):
    hub = pytest.importorskip("keras_hub").models
    backbone = hub.ViTBackbone(
        image_shape=(32, 48, 3),
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    model = hub.ViTImageClassifier(
        backbone=backbone, num_classes=4, pooling=pooling, preprocessor=None
    )
    x = np.random.default_rng(0).normal(0, 1, (2, 32, 48, 3)).astype("float32")
    before = model(x, training=False).numpy()
    for name in ("grad_cam", "hires_cam", "score_cam", "ablation_cam", "attention_rollout"):
        results = tfcam.explain(model, x, method=name, target=[3, 0])
        assert results.raws.shape == (2, 4, 6)
        assert np.abs(results.raws).max() > 0
        assert results.heatmaps.shape == (2, 32, 48)
    np.testing.assert_array_equal(model(x, training=False), before)
    # A picture of 0..255 needs to be told how the network takes it.
    picture = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    result = tfcam.explain(model, picture, preprocess="tf", method="hires_cam")
    assert (result.heatmap.shape, result.raw.shape) == ((60, 90), (4, 6))
