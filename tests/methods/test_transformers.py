"""Transformers from one end to the other: every method that applies, on the tokens' grid."""

import functools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.laws import law
from tests.tolerances import ablation_rounding, relative, rounding
from tfcam.methods.registry import METHODS
from tfcam.methods.transformers import rollout_map
from tfcam.model.graph import graph_of
from tfcam.passes.attention import attention_scores
from tfcam.passes.reading import Reading, Words
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
    "generic_attention",
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


def slopes_of(model, image, target):
    """Each attention's scores, and the logit's gradients by what is added to them: plain Keras."""
    attentions = [layer for layer in model.layers if isinstance(layer, layers.MultiHeadAttention)]
    head, scores, added = model.layers[-1], [], []
    before = keras.Model(model.input, head.input)

    def probed(softmax, *args, **kwargs):
        scores.append(softmax(*args, **kwargs))
        added.append(tf.zeros_like(scores[-1]))
        tape.watch(added[-1])
        return scores[-1] + added[-1]

    with pytest.MonkeyPatch.context() as patch, tf.GradientTape() as tape:
        for attention in attentions:
            softmax = functools.partial(probed, attention._masked_softmax)
            patch.setitem(attention.__dict__, "_masked_softmax", softmax)
            # Without scores to be returned it computes in one fused operation.
            whole = functools.partial(attention.call, return_attention_scores=True)
            first = functools.partial(lambda call, *a, **k: call(*a, **k)[0], whole)
            patch.setitem(attention.__dict__, "call", first)
        logit = (tf.matmul(before(image[np.newaxis]), head.kernel) + head.bias)[0, target]
    assert len(scores) == len(attentions)
    return scores, tape.gradient(logit, added)


@law("equals plain Keras's gradients by the scores", "generic_attention")
@pytest.mark.parametrize("prefix", [0, 1])
def test_generic_attention_equals_the_replica(prefix):
    """R = R + mean_h(relu(dS/dA_l A_l)) R, by rows of patches; Chefer et al. 2021, eq. 5 and 6."""
    model, inputs = networks.vit(prefix=prefix), networks.pictures(2)
    explainer = tfcam.Explainer(model, method="generic_attention")
    for _ in range(2):  # eager, compiled
        results = explainer(inputs, [0, 2])
        for result, image, c in zip(results, inputs, [0, 2], strict=True):
            T = 9 + prefix
            R = np.eye(T)
            for A, G in zip(*slopes_of(model, image, c), strict=True):
                A, G = A.numpy()[0].astype(np.float64), G.numpy()[0].astype(np.float64)
                step = np.zeros((T, T))
                for head in range(len(A)):
                    step += np.maximum(G[head] * A[head], 0) / len(A)
                R = R + step @ R
            wanted = R[0, 1:] if prefix else (R - np.eye(T)).mean(0)
            assert relative(result.raw, wanted.reshape(3, 3)) < 1e-4
            assert result.layer_reason.startswith("every self-attention, on the grid of ")


class Evenly(layers.Layer):
    """Attention that looks everywhere alike."""

    def call(self, x, return_attention_scores=False):
        count = x.shape[1]
        scores = tf.matmul(0 * x, x, transpose_b=True)[:, tf.newaxis] + 1 / count
        outputs = tf.matmul(scores[:, 0], x)
        return (outputs, scores) if return_attention_scores else outputs


@law("even attention: each patch's own positive part", "generic_attention")
def test_generic_attention_tells_classes_apart_where_rollout_does_not():
    """s_c = the mean of channel c: relu(G A) of patch k = relu(x_kc) / T^2 in each row."""
    inputs = keras.Input((8, 12, 3))
    patches = layers.Conv2D(3, 4, strides=4, use_bias=False, name="patches")
    x = layers.Reshape((-1, 3))(patches(inputs))
    x = layers.GlobalAveragePooling1D()(Evenly(name="attention")(x))
    model = keras.Model(inputs, layers.Dense(3, use_bias=False, kernel_initializer="identity")(x))
    patches.set_weights([np.full((4, 4, 1, 1), 1 / 16) * np.eye(3)])
    image = np.random.default_rng(3).normal(0, 1, (8, 12, 3)).astype(np.float32)
    tokens = image.reshape(2, 4, 3, 4, 3).mean((1, 3))
    for c in range(3):
        found = tfcam.explain(model, image, method="generic_attention", target=c, preprocess=None)
        np.testing.assert_allclose(found.raw, np.maximum(tokens[..., c], 0) / 36, atol=1e-6)
        rolled = tfcam.explain(model, image, method="attention_rollout", target=c, preprocess=None)
        np.testing.assert_allclose(rolled.raw, np.full((2, 3), 1 / 6), atol=1e-6)


class Aside(Evenly):
    """Says it has scores, but computes without them."""

    def call(self, x, return_attention_scores=False):
        outputs, scores = super().call(x, True)
        return (x, scores) if return_attention_scores else outputs


def test_attention_scores_beside_the_way_are_refused():
    inputs = keras.Input((8, 12, 3))
    x = layers.Reshape((-1, 3))(layers.Conv2D(3, 4, strides=4, name="patches")(inputs))
    x = layers.GlobalAveragePooling1D()(Aside(name="attention")(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(ValueError, match="no gradient reaches attention scores"):
        tfcam.explain(model, np.ones((8, 12, 3), "f4"), method="generic_attention", target=0)


@pytest.mark.parametrize("name", sorted(networks.OF_ATTENTION))
def test_a_network_without_attention_or_a_map_is_refused(name):
    with pytest.raises(ValueError, match="needs a network with attention"):
        tfcam.explain(networks.flat(), networks.pictures(1), method=name)
    with pytest.raises(ValueError, match="needs a layer of tokens.*'patches' gives a map"):
        tfcam.explain(networks.vit(), networks.pictures(1), "patches", method=name)


def test_the_model_is_as_it_was_after_rollout_and_after_failing():
    model, inputs = networks.vit(), networks.pictures(1)
    before = networks.snapshot(model, inputs)
    for method in networks.OF_ATTENTION:
        tfcam.explain(model, inputs, method=method)
    with pytest.raises(ValueError, match="no gradient reaches"):
        tfcam.explain(model, inputs, target=lambda outputs: tf.round(outputs[:, 0]))
    assert networks.snapshot(model, inputs) == before


@pytest.mark.parametrize("name", ["full_grad", "guided_backprop", "guided_grad_cam", "deconvnet"])
def test_what_does_not_apply_to_transformers_is_refused(name):
    with pytest.raises(ValueError, match="piecewise linear|has none"):
        tfcam.explain(networks.vit(), networks.pictures(1), method=name)


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
@pytest.mark.thinned(1, kept="slow")
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
    for name in ("grad_cam", "hires_cam", "score_cam", "ablation_cam", *networks.OF_ATTENTION):
        results = tfcam.explain(model, x, method=name, target=[3, 0])
        assert results.raws.shape == (2, 4, 6)
        assert np.abs(results.raws).max() > 0
        assert results.heatmaps.shape == (2, 32, 48)
    np.testing.assert_array_equal(model(x, training=False), before)
    # A picture of 0..255 needs to be told how the network takes it.
    picture = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    result = tfcam.explain(model, picture, preprocess="tf", method="hires_cam")
    assert (result.heatmap.shape, result.raw.shape) == ((60, 90), (4, 6))


# --- texts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["attention_rollout", "generic_attention"])
def test_words_take_the_class_tokens_row_or_the_mean_of_their_own(method):
    rng = np.random.default_rng(3)
    scores = rng.dirichlet(np.ones(4), size=(2, 2, 4)).astype("float32")  # two texts, two heads
    slopes = rng.normal(size=scores.shape).astype("float32")
    owners = tf.constant([[-1, 0, 1, -1], [0, 0, 1, -1]])  # only the first has a class token
    network = SimpleNamespace(words=Words(owners, tf.constant(0), None))
    reading = Reading(None, attentions=(scores,), attention_gradients=(slopes,), network=network)
    found = METHODS[method](reading).numpy()
    if method == "attention_rollout":
        flow = 0.5 * scores.mean(1) + 0.5 * np.eye(4)
    else:
        flow = np.maximum(scores * slopes, 0).mean(1)
    np.testing.assert_allclose(found[0], flow[0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1], flow[1, :3].mean(0), atol=1e-6)
