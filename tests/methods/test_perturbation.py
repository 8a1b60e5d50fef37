"""Maps that ask the network again: against float64 replicas whose forward pass is NumPy's too."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks, replicas
from tests.laws import law
from tests.tolerances import ROUNDED, ablation_rounding, relative, rounding
from tfcam.methods.perturbation import _unit
from tfcam.methods.smoothing import noisy
from tfcam.model.graph import graph_of
from tfcam.model.taps import resolve
from tfcam.passes.submodel import SubModel

LOOPING = ["smooth_grad_cam_pp", "score_cam", "ablation_cam"]
WEIGHTS = ["probability", "channel_softmax", "logit_softmax"]
BASES = [name for name in networks.METHODS if name != "finer_cam"]


# --- the network, and the same in float64 ---------------------------------------------------


def small(activation="relu", classes=5, head="softmax"):
    """A map (3, 3, 4) of an image (8, 8, 3), and a tail that is not linear in it."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, activation=activation, name="map")(inputs)
    x = layers.Conv2D(6, 1, activation=activation, name="mix")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(classes, activation=head, name="head")(x))
    rng = np.random.default_rng(11)
    model.set_weights([rng.normal(0.05, 0.5, w.shape) for w in model.get_weights()])
    return model


def images(count=3):
    return np.random.default_rng(4).normal(0, 1, (count, 8, 8, 3)).astype(np.float32)


def double(model):
    return [w.astype(np.float64) for w in model.get_weights()]


def forward(model, x):
    """The map A (3, 3, 4) of one image, float64."""
    W, b, *_ = double(model)
    A = np.zeros((3, 3, 4))
    for i in range(3):
        for j in range(3):
            patch = x[2 * i : 2 * i + 3, 2 * j : 2 * j + 3].astype(np.float64)
            A[i, j] = np.tensordot(patch, W, axes=3) + b
    return np.maximum(A, 0)


def tail(model, A):
    """The logits (C,) of a map."""
    _, _, W, b, V, c = double(model)
    return np.maximum(A @ W[0, 0] + b, 0).mean((0, 1)) @ V + c


def slope(model, A, v):
    """The gradient (3, 3, 4) of sum_i v_i y_i by the map."""
    _, _, W, b, V, _ = double(model)
    return ((A @ W[0, 0] + b > 0) * (V @ v) / 9) @ W[0, 0].T


def softmax(y):
    e = np.exp(y - y.max())
    return e / e.sum()


def test_the_network_in_float64_is_the_network():
    model, x = small(), images()
    exact = np.stack([softmax(tail(model, forward(model, each))) for each in x])
    np.testing.assert_allclose(model(x, training=False), exact, rtol=1e-5)
    read = SubModel(graph_of(model), [resolve(graph_of(model), "map")])
    (reading,), *_ = read.read(tf.constant(x), tf.constant([1, 0, 2]))
    for index, c in enumerate([1, 0, 2]):
        A = forward(model, x[index])
        assert relative(reading.activations[index], A) < ROUNDED
        assert relative(reading.gradients[index], slope(model, A, np.eye(5)[c])) < ROUNDED


def raws(model, x, method, layer="map", target=1, **options):
    return tfcam.explain(model, x, layer, target=target, method=method, **options).raws


# --- Smooth Grad-CAM++ ----------------------------------------------------------------------


def smooth_replica(A, copies):
    """Omeiza et al. 2019, eq. 7 and 8: D1, D2, D3 are means of G, G^2, G^3 over n copies."""
    h, w, K = A.shape
    n, weights = len(copies), np.zeros(K)
    for k in range(K):
        for i in range(h):
            for j in range(w):
                D1 = D2 = D3 = 0.0
                for G in copies:
                    D1 += G[i, j, k] / n
                    D2 += G[i, j, k] ** 2 / n
                    D3 += G[i, j, k] ** 3 / n
                denominator = 2 * D2 + A[:, :, k].sum() * D3
                alpha = D2 / denominator if denominator > 0 else 0.0
                weights[k] += alpha * max(D1, 0.0)
    return replicas.cam(A, weights)


@pytest.mark.parametrize(("samples", "noise", "seed"), [(1, 0.2, 0), (3, 0.15, 0), (8, 0.4, 9)])
def test_smooth_grad_cam_pp_equals_the_replica(samples, noise, seed):
    model, x = small(), images()
    options = {"samples": samples, "noise": noise, "seed": seed}
    found = raws(model, x, "smooth_grad_cam_pp", **options)
    seen = [noisy(tf.constant(x), seed, tf.constant(n), noise).numpy() for n in range(samples)]
    for index in range(len(x)):
        copies = [slope(model, forward(model, each[index]), np.eye(5)[1]) for each in seen]
        wanted = smooth_replica(forward(model, x[index]), copies)
        assert relative(found[index], wanted) < ROUNDED
    assert relative(found, raws(model, x, "grad_cam_pp")) > 1e-3


@law("= Grad-CAM++ without noise", "smooth_grad_cam_pp")
@pytest.mark.parametrize("samples", [1, 2, 7])
def test_without_noise_it_is_grad_cam_pp(samples):
    model, x = small(), images()
    found = raws(model, x, "smooth_grad_cam_pp", samples=samples, noise=0)
    assert relative(found, raws(model, x, "grad_cam_pp")) < ROUNDED


@law("= Grad-CAM++ on a linear network", "smooth_grad_cam_pp")
@pytest.mark.parametrize("noise", [0.1, 1.0, 5.0])
def test_on_a_linear_network_it_is_grad_cam_pp_whatever_the_noise(noise):
    model, x = small("linear"), images()
    found = raws(model, x, "smooth_grad_cam_pp", noise=noise)
    assert relative(found, raws(model, x, "grad_cam_pp")) < ROUNDED


def test_smooth_grad_cam_pp_keeps_its_value_where_powers_underflow():
    model, x = small("linear", head=None), images(1)
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel * 1e-20, bias])  # G^2 is 0 in float32
    plain = raws(model, x, "grad_cam_pp")
    assert np.abs(plain).max() > 0
    assert relative(raws(model, x, "smooth_grad_cam_pp"), plain) < ROUNDED


def test_noise_may_wake_what_the_image_itself_leaves_dead():
    model, x = small(head=None), images(1)
    kernel, bias = model.get_layer("mix").get_weights()
    model.get_layer("mix").set_weights([kernel, 0 * bias - 4])
    A = forward(model, x[0])
    assert not slope(model, A, np.eye(5)[1]).any()
    seen = [noisy(tf.constant(x), 0, tf.constant(n), 0.5).numpy()[0] for n in range(8)]
    wanted = smooth_replica(A, [slope(model, forward(model, n), np.eye(5)[1]) for n in seen])
    assert np.abs(wanted).max() > 0.1
    assert relative(raws(model, x, "smooth_grad_cam_pp", noise=0.5)[0], wanted) < ROUNDED


def test_smooth_grad_cam_pp_of_a_saturated_probability_is_finite():
    """Gradients of the image itself are far smaller than those of its noisy copies."""
    model, x = small(), images()
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([100 * kernel, bias])
    options = {"score": "probability", "noise": 0.5, "target": None}
    assert np.isfinite(raws(model, x, "smooth_grad_cam_pp", **options)).all()


def test_noise_does_not_depend_on_the_batch():
    x = tf.constant(images(4) * [[[[1]]], [[[5]]], [[[0.1]]], [[[2]]]], tf.float32)
    for index in range(3):
        together = noisy(x, 3, tf.constant(index), 0.15).numpy()
        for row in range(4):
            alone = noisy(x[row : row + 1], 3, tf.constant(index), 0.15).numpy()
            np.testing.assert_array_equal(together[row], alone[0])
    model, many = small(), images(3)
    found = raws(model, many, "smooth_grad_cam_pp")
    for row in range(3):
        alone = raws(model, many[row : row + 1], "smooth_grad_cam_pp")
        assert relative(found[row], alone[0]) < ROUNDED


def test_noise_has_the_deviation_that_is_said():
    x = tf.constant(np.linspace(-1, 3, 64 * 64 * 3, dtype=np.float32).reshape(1, 64, 64, 3))
    drawn = (noisy(x, 0, tf.constant(0), 0.25) - x).numpy() / (0.25 * 4)
    assert drawn.mean() == pytest.approx(0, abs=0.03)
    assert drawn.std() == pytest.approx(1, abs=0.03)
    other = (noisy(x, 0, tf.constant(1), 0.25) - x).numpy() / (0.25 * 4)
    assert abs(np.corrcoef(drawn.ravel(), other.ravel())[0, 1]) < 0.05


@law("a seed repeats", "smooth_grad_cam_pp")
def test_a_seed_repeats_and_another_differs():
    model, x = small(), images()
    once, again, other = (raws(model, x, "smooth_grad_cam_pp", seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(once, again)
    assert relative(other, once) > 1e-3


# --- Score-CAM ------------------------------------------------------------------------------


def unit(values):
    low, high = values.min(), values.max()
    return np.zeros_like(values) if high == low else (values - low) / (high - low)


def score_replica(model, x, c, weights, channels=None):
    """Wang et al. 2020, eq. 3 to 6: H_k = s(Up(A_k)), w_k = f_c(X o H_k), M = sum_k w_k A_k."""
    A = forward(model, x)
    order = np.argsort(-A.std((0, 1)), kind="stable")[:channels]
    A = A[:, :, order]
    scores = np.zeros(A.shape[-1])
    for k in range(A.shape[-1]):
        H = unit(replicas.bilinear(A[:, :, k], 8, 8))
        y = tail(model, forward(model, x * H[:, :, None]))
        scores[k] = y[c] if weights == "logit_softmax" else softmax(y)[c]
        if weights == "probability" and not H.any():
            scores[k] = 0.0
    return replicas.cam(A, scores if weights == "probability" else softmax(scores))


@pytest.mark.thinned(6)
@pytest.mark.parametrize("channels", [None, 1, 3, 4, 9])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_score_cam_equals_the_replica(weights, channels):
    model, x = small(), images()
    found = raws(model, x, "score_cam", weights=weights, channels=channels, target=[0, 2, 1])
    for index, c in enumerate([0, 2, 1]):
        wanted = score_replica(model, x[index], c, weights, channels)
        assert relative(found[index], wanted) < ROUNDED


def one_hot():
    """A network whose map is its input (2, 2, 4); on ``ONE_HOT`` the map M holds w_k itself."""
    inputs = keras.Input((2, 2, 4))
    x = layers.Conv2D(4, 1, use_bias=False, activation="relu", name="map")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))
    rng = np.random.default_rng(2)
    V, b = rng.normal(0, 6, (4, 3)), rng.normal(0, 1, 3)
    model.set_weights([np.eye(4)[None, None], V, b])
    return model, V, b


ONE_HOT = np.eye(4, dtype=np.float32).reshape(1, 2, 2, 4)  # channel k is 1 at position k


@pytest.mark.thinned(2)
@pytest.mark.parametrize("c", [0, 1, 2])
def test_the_weights_of_score_cam(c):
    model, V, b = one_hot()
    found = {w: raws(model, ONE_HOT, "score_cam", target=c, weights=w).ravel() for w in WEIGHTS}
    # Seen through channel k the image is that channel alone: logits V_k / 4 + b.
    logits = V / 4 + b
    p = np.stack([softmax(y) for y in logits])[:, c]
    assert relative(found["probability"], p) < ROUNDED
    assert relative(found["channel_softmax"], softmax(p)) < ROUNDED
    assert relative(found["logit_softmax"], softmax(logits[:, c])) < ROUNDED
    assert ((found["probability"] >= 0) & (found["probability"] <= 1)).all()
    for name in ("channel_softmax", "logit_softmax"):
        assert (found[name] > 0).all()
        assert found[name].sum() == pytest.approx(1, abs=ROUNDED)


@law("softmax: between the channels", "score_cam")
@pytest.mark.parametrize("weights", WEIGHTS[1:])
def test_score_cam_with_a_softmax_lies_between_the_channels(weights):
    model, x = small(), images()
    for index, raw in enumerate(raws(model, x, "score_cam", weights=weights)):
        A = forward(model, x[index])
        assert (raw >= A.min(-1) - rounding(A)).all()
        assert (raw <= A.max(-1) + rounding(A)).all()


@law("softmax: no baseline matters", "score_cam")
def test_a_softmax_over_channels_does_not_see_the_baseline():
    model, x = small(), images()
    before = raws(model, x, "score_cam", weights="logit_softmax")
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel, bias + 3])  # f_c moves by 3 for all inputs
    assert relative(raws(model, x, "score_cam", weights="logit_softmax"), before) < 1e-5


@law("constant network: mean of channels", "score_cam")
@pytest.mark.parametrize("weights", WEIGHTS[1:])
def test_a_network_that_sees_nothing_gives_the_mean_of_the_channels(weights):
    model, x = small(), images()
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([0 * kernel, bias])
    wanted = np.stack([forward(model, each).mean(-1) for each in x])
    assert relative(raws(model, x, "score_cam", weights=weights), wanted) < ROUNDED


def test_what_a_channel_shows_does_not_depend_on_its_scale(rng):
    A = rng.normal(0, 1, (2, 3, 3, 4)).astype(np.float32)
    scaled = A * [1, 7, 0.01, 1] + [0, 3, -2, 100]
    plain = _unit(tf.constant(A)).numpy()
    # What float32 holds of a channel is divided by what it varies by.
    off = rounding(np.abs(scaled).max((1, 2)) / np.ptp(scaled, (1, 2)), count=2)
    np.testing.assert_allclose(_unit(tf.constant(scaled, tf.float32)), plain, atol=off)
    assert plain.min((1, 2)).tolist() == [[0] * 4] * 2
    assert plain.max((1, 2)).tolist() == [[1] * 4] * 2
    assert not _unit(tf.constant(0 * A + 5)).numpy().any()


def with_constant_channels(*which):
    model = small()
    kernel, bias = model.get_layer("map").get_weights()
    kernel[..., which], bias[list(which)] = 0, 2
    model.get_layer("map").set_weights([kernel, bias])
    return model


def test_a_channel_that_does_not_vary_has_no_weight():
    model, x = with_constant_channels(1), images()
    found = raws(model, x, "score_cam")
    for index in range(len(x)):
        A = forward(model, x[index])
        assert (A[..., 1] == 2).all()
        wanted = score_replica(model, x[index], 1, "probability")
        assert relative(found[index], wanted) < ROUNDED
    # Of channels that do not vary at all nothing is left, and nothing divides by zero.
    result = tfcam.explain(with_constant_channels(0, 1, 2, 3), x[0], "map", method="score_cam")
    assert not result.raw.any()
    assert [each.code for each in result.findings] == ["no_positive_evidence"]


@pytest.mark.slow
def test_the_channels_that_vary_most_are_all_where_the_others_are_constant():
    model, x = with_constant_channels(0, 2), images()
    found = raws(model, x, "score_cam", channels=2)
    assert relative(found, raws(model, x, "score_cam")) < ROUNDED
    assert relative(raws(model, x, "score_cam", channels=1), found) > 1e-3


def test_score_cam_takes_the_probability_of_a_network_that_ends_in_logits():
    model, bare, x = small(), small(head=None), images()
    for weights in WEIGHTS:
        wanted = raws(model, x, "score_cam", weights=weights)
        assert relative(raws(bare, x, "score_cam", weights=weights), wanted) < ROUNDED


class Steps(layers.Layer):
    """Rounds to halves: no gradient passes."""

    def call(self, x):
        return tf.round(2 * x) / 2


def test_score_cam_and_ablation_cam_need_no_gradient():
    plain, x = small(), images()
    inputs = keras.Input((8, 8, 3))
    y = Steps()(plain.get_layer("map")(inputs))
    for name in ("mix", "pool", "head"):
        y = plain.get_layer(name)(y)
    model = keras.Model(inputs, y)
    with pytest.raises(ValueError, match="no gradient reaches 'map'.*a rounding"):
        raws(model, x, "grad_cam")
    scores, ablations = raws(model, x, "score_cam"), raws(model, x, "ablation_cam")
    for index in range(len(x)):
        A, weights, drops = forward(plain, x[index]), np.zeros(4), np.zeros(4)
        for k in range(4):
            H = unit(replicas.bilinear(A[:, :, k], 8, 8))[:, :, None]
            seen = np.round(2 * forward(plain, x[index] * H)) / 2
            weights[k] = softmax(tail(plain, seen))[1]
            off = np.round(2 * np.where(np.arange(4) == k, 0, A)) / 2
            drops[k] = tail(plain, np.round(2 * A) / 2)[1] - tail(plain, off)[1]
        assert relative(scores[index], replicas.cam(A, weights)) < ROUNDED
        assert relative(ablations[index], replicas.cam(A, drops)) < ROUNDED


# --- Ablation-CAM ---------------------------------------------------------------------------


def ablation_replica(A, y, fill="zero"):
    """Desai and Ramaswamy 2020, eq. 2 and 3, slope not divided by y: w_k = y - y_k."""
    weights = np.zeros(A.shape[-1])
    for k in range(A.shape[-1]):
        off = A.copy()
        off[:, :, k] = A[:, :, k].mean() if fill == "mean" else 0.0
        weights[k] = y(A) - y(off)
    return replicas.cam(A, weights)


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_ablation_cam_equals_the_replica(fill, score):
    model, x = small(), images()
    found = raws(model, x, "ablation_cam", fill=fill, score=score, target=[0, 2, 1])
    for index, c in enumerate([0, 2, 1]):

        def y(A, c=c):
            return softmax(tail(model, A))[c] if score == "probability" else tail(model, A)[c]

        A = forward(model, x[index])
        wanted = ablation_replica(A, y, fill)
        np.testing.assert_allclose(found[index], wanted, atol=ablation_rounding(y(A), A))


def folded():
    """A head with a batch normalisation between pooling and the linear layer."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="features")(inputs)
    x = layers.BatchNormalization()(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0.2, 0.5, w.shape) ** 2 + 0.1 for w in model.get_weights()])
    return model


@law("closed form on a linear head = passes", "ablation_cam")
@pytest.mark.parametrize("make", [networks.flat, folded])
def test_the_closed_form_is_what_injection_gives(make):
    model, x = make(), networks.pictures(3)
    closed = raws(model, x, "ablation_cam", layer="features")
    # A callable has no class weights: each channel is really taken out.
    injected = raws(model, x, "ablation_cam", layer="features", target=lambda o: o[:, 1])
    assert relative(closed, injected) < 1e-5
    read = SubModel(graph_of(model), [resolve(graph_of(model), "features")])
    (reading,), *_ = read.read(tf.constant(x), tf.constant([1, 1, 1]))
    A, G = (v.numpy().astype(np.float64) for v in (reading.activations, reading.gradients))
    # On such a head W_kc = Z G_kc, so that w_k = W_kc mean(A_k) = sum_ij G_k A_k.
    wanted = np.einsum("bhwk,bk->bhw", A, (G * A).sum((1, 2)))
    assert relative(closed, wanted) < ROUNDED


def test_without_what_is_special_about_a_channel_an_average_stays_the_same():
    model, x = networks.flat(), networks.pictures(2)
    assert not raws(model, x, "ablation_cam", layer="features", fill="mean").any()
    whole = np.abs(raws(model, x, "ablation_cam", layer="features")).max()
    injected = raws(
        model, x, "ablation_cam", layer="features", fill="mean", target=lambda o: o[:, 1]
    )
    assert np.abs(injected).max() < 1e-5 * whole


def test_a_maximum_is_not_averaged(rng):
    inputs = keras.Input((2, 2, 4))
    x = layers.Conv2D(4, 1, use_bias=False, activation="relu", name="map")(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="head")(layers.GlobalMaxPooling2D()(x)))
    V, b = rng.normal(0, 1, (4, 3)), rng.normal(0, 1, 3)
    model.set_weights([np.eye(4)[None, None], V, b])
    A = np.abs(rng.normal(0, 1, (1, 2, 2, 4))).astype(np.float32)
    wanted = replicas.cam(A[0].astype(np.float64), V[:, 1] * A[0].max((0, 1)))
    assert relative(raws(model, A, "ablation_cam")[0], wanted) < ROUNDED


@law("additive tail: weights sum to the score", "ablation_cam")
@pytest.mark.parametrize("c", [0, 1, 2])
@pytest.mark.parametrize("injected", [False, True])
def test_the_drops_of_an_additive_tail_add_up_to_the_score(injected, c):
    model, V, b = one_hot()
    target = (lambda outputs: outputs[:, c]) if injected else c
    result = tfcam.explain(model, ONE_HOT, "map", target=target, method="ablation_cam")[0]
    assert relative(result.raw.ravel(), V[:, c] / 4) < ROUNDED
    assert result.raw.sum() == pytest.approx(result.score - b[c], rel=1e-5)


# --- Finer-CAM ------------------------------------------------------------------------------


def finer_weights(y, c, nearest=3, strength=1.0):
    """Zhang et al. 2025, eq. 5: y_c - alpha sum_i p_i y_i / sum_i p_i, i nearest to c."""
    order = sorted((abs(y[i] - y[c]), i) for i in range(len(y)) if i != c)
    near, p, v = [i for _, i in order[:nearest]], softmax(y), np.eye(len(y))[c]
    for i in near:
        v[i] -= strength * p[i] / sum(p[j] for j in near)
    return v


@pytest.mark.parametrize("base", ["grad_cam", "layer_cam", "hires_cam", "grad_cam_pp"])
@pytest.mark.parametrize(("nearest", "strength"), [(3, 1.0), (1, 0.5), (2, 1), (9, 2.0)])
def test_finer_cam_equals_the_replica(base, nearest, strength):
    model, x = small(), images()
    options = {"base": base, "nearest": nearest, "strength": strength}
    results = tfcam.explain(model, x, "map", target=[0, 2, 1], method="finer_cam", **options)
    for index, c in enumerate([0, 2, 1]):
        A = forward(model, x[index])
        v = finer_weights(tail(model, A), c, nearest, strength)
        wanted = getattr(replicas, base)(A, slope(model, A, v))
        assert relative(results[index].raw, wanted) < ROUNDED
        logits = tail(model, A)
        assert results[index].score == pytest.approx(v @ logits, abs=rounding(logits))
        assert results[index].score_kind == "contrast"
        assert results[index].target == c


@law("on CAM: CAM less the weighted CAMs", "finer_cam")
def test_finer_cam_with_cam_is_a_difference_of_cams():
    model, x = networks.flat(), networks.pictures(3)
    each = [raws(model, x, "cam", None, c).astype(np.float64) for c in range(3)]
    p = model(x, training=False).numpy().astype(np.float64)
    for nearest, strength in ((2, 1.0), (2, 0.3), (1, 1.0)):
        options = {"base": "cam", "nearest": nearest, "strength": strength}
        found = raws(model, x, "finer_cam", None, 1, **options)
        for index in range(3):
            v = finer_weights(np.log(p[index]), 1, nearest, strength)
            wanted = sum(v[i] * each[i][index] for i in range(3))
            assert relative(found[index], wanted) < 1e-5


@law("strength 0: its base", "finer_cam")
@pytest.mark.parametrize("base", BASES)
@pytest.mark.thinned(4)
def test_finer_cam_without_strength_is_its_base(base):
    model, x = networks.flat(), networks.pictures(2)
    found = tfcam.explain(model, x, target=1, method="finer_cam", base=base, strength=0)
    plain = tfcam.explain(model, x, target=1, method=base)
    assert relative(found.raws, plain.raws) < 1e-5
    assert found[0].score == pytest.approx(plain[0].score, rel=1e-5)


@law("two classes: their difference", "finer_cam")
@pytest.mark.parametrize("base", ["grad_cam", "layer_cam", "ablation_cam"])
def test_of_two_classes_finer_cam_is_their_difference(base):
    model, x = small(classes=2), images()
    found = [raws(model, x, "finer_cam", target=c, base=base) for c in (0, 1)]
    for c in (0, 1):
        wanted = raws(model, x, base, target=tfcam.Difference(c, 1 - c))
        assert relative(found[c], wanted) < 1e-5
    if base != "layer_cam":
        assert relative(found[0], -found[1]) < 1e-5


def test_finer_cam_does_not_leave_a_difference_out():
    """Its classes are the nearest ones: a second class of the target's own has no place."""
    model, x = small(), images()
    with pytest.raises(ValueError, match="(?i)difference"):
        raws(model, x, "finer_cam", target=tfcam.Difference(0, 1))


# --- by hand --------------------------------------------------------------------------------


@pytest.fixture
def hand():
    """The network set by hand, and a picture with channels (1 0; 0 3) and (0 2; 0 0)."""
    x = np.zeros((2, 2, 2), np.float32)
    x[..., 0], x[..., 1] = [[1, 0], [0, 3]], [[0, 2], [0, 0]]
    return networks.hand_set(), x


def hand_raw(hand, target, **options):
    return tfcam.explain(*hand, "conv", target=target, **options).raw


def test_hand_computed_ablation_cam(hand):
    # Pooled channels are (1, 0.5); without one, class 0 loses 2 * 1 and -4 * 0.5: w = (2, -2).
    for target in (0, lambda outputs: outputs[:, 0]):
        assert hand_raw(hand, target, method="ablation_cam").tolist() == [[2, -4], [0, 6]]
    # Class 1 loses 0 and 8 * 0.5: w = (0, 4).
    assert hand_raw(hand, 1, method="ablation_cam").tolist() == [[0, 8], [0, 0]]


def test_hand_computed_score_cam(hand):
    # H_0 = (1/3 0; 0 1), H_1 = (0 1; 0 0). Seen through H_0: channels (1/3 0; 0 3) and 0, pooled
    # (5/6, 0), logits 2 * 5/6 + 1 = 8/3 and 0. Seen through H_1: pooled (0, 1/2), logits
    # -4 / 2 + 1 = -1 and 8 / 2 = 4.
    p0, p1 = 1 / (1 + np.exp(-8 / 3)), 1 / (1 + np.exp(5))
    found = hand_raw(hand, 0, method="score_cam")
    np.testing.assert_allclose(found, [[p0, 2 * p1], [0, 3 * p0]], rtol=ROUNDED)
    found = hand_raw(hand, 1, method="score_cam")
    np.testing.assert_allclose(found, [[1 - p0, 2 * (1 - p1)], [0, 3 * (1 - p0)]], rtol=1e-5)
    # Logits of class 0: 8/3 and -1, of which a softmax makes w_0 = 1 / (1 + exp(-11/3)).
    w = 1 / (1 + np.exp(-11 / 3))
    found = hand_raw(hand, 0, method="score_cam", weights="logit_softmax")
    np.testing.assert_allclose(found, [[w, 2 * (1 - w)], [0, 3 * w]], rtol=ROUNDED)
    # Channel 0 varies most: its deviation is sqrt(1.5), that of channel 1 sqrt(0.75).
    found = hand_raw(hand, 0, method="score_cam", channels=1)
    np.testing.assert_allclose(found, [[p0, 0], [0, 3 * p0]], rtol=ROUNDED)


def test_hand_computed_finer_cam(hand):
    # Of two classes the other has all of p: W_0 - W_1 = (2, -12), as Grad-CAM over 4 positions.
    assert hand_raw(hand, 0, method="finer_cam").tolist() == [[0.5, -6], [0, 1.5]]
    # Half as strong: (2, -4 - 4) / 4.
    assert hand_raw(hand, 0, method="finer_cam", strength=0.5).tolist() == [[0.5, -4], [0, 1.5]]
    assert hand_raw(hand, 0, method="finer_cam", base="cam").tolist() == [[2, -24], [0, 6]]


def test_hand_computed_smooth_grad_cam_pp(hand):
    # As Grad-CAM++: the gradients of the average do not depend on the image. Class 0: G = 0.5
    # and -1, S_0 = 4: alpha = 1 / 4, w_0 = 4 * 0.5 / 4.
    found = hand_raw(hand, 0, method="smooth_grad_cam_pp", noise=0.5)
    np.testing.assert_allclose(found, [[0.5, 0], [0, 1.5]], rtol=ROUNDED)


# --- targets, batches, options --------------------------------------------------------------


def by_image(outputs):
    return tf.gather(outputs, [0, 2, 1], batch_dims=1)


@pytest.mark.thinned(3)
@pytest.mark.parametrize("layer", ["map", "mix"])
@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize("method", ["smooth_grad_cam_pp", "ablation_cam"])
def test_a_callable_may_treat_each_image_in_its_own_way(method, score, layer):
    model, x = small(), images()
    wanted = raws(model, x, method, layer, [0, 2, 1], score=score)
    # Probabilities are far apart in size, and so are the errors of their differences.
    bound = 1e-5 if score == "logit" else 1e-4
    assert relative(raws(model, x, method, layer, by_image, score=score), wanted) < bound


SCORED = {"probability": "probability", "channel_softmax": "probability", "logit_softmax": "logit"}


@pytest.mark.parametrize(("weights", "score"), list(SCORED.items()))
def test_a_callable_of_score_cam_may_too(weights, score):
    # A callable's number stands for the probability: it is one where score="probability".
    model, x, options = small(), images(), {"weights": weights, "score": score}
    wanted = raws(model, x, "score_cam", target=[0, 2, 1], **options)
    assert relative(raws(model, x, "score_cam", target=by_image, **options), wanted) < 1e-5


@pytest.mark.thinned(1)
@pytest.mark.parametrize("method", [*LOOPING, "finer_cam"])
def test_the_size_of_a_batch_changes_nothing(method):
    model, x = small(), images(5)
    target = [0, 1, 2, 3, 1]
    found = [raws(model, x, method, target=target, batch_size=size) for size in (1, 2, 32)]
    assert relative(found[1], found[0]) < 1e-5
    assert relative(found[2], found[0]) < 1e-5


@pytest.mark.parametrize("method", LOOPING)
def test_none_is_the_class_predicted_for_the_image_as_it_is(method):
    model, x = small(), images()
    predicted = model(x, training=False).numpy().argmax(-1).tolist()
    options = {"noise": 3.0} if method == "smooth_grad_cam_pp" else {}
    found = raws(model, x, method, target=None, **options)
    assert relative(found, raws(model, x, method, target=predicted, **options)) < ROUNDED


@pytest.mark.parametrize(
    ("method", "options", "error", "match"),
    [
        ("score_cam", {"weights": "x"}, ValueError, "weights must be one of probability, .*'x'"),
        ("score_cam", {"channels": 0}, ValueError, "channels must be at least 1; got 0"),
        ("score_cam", {"channels": 2.0}, TypeError, r"channels must be of type int \| None"),
        ("smooth_grad_cam_pp", {"samples": 0}, ValueError, "samples must be at least 1; got 0"),
        ("smooth_grad_cam_pp", {"samples": 1.5}, TypeError, r"samples must be .* int; got 1\.5"),
        ("smooth_grad_cam_pp", {"samples": True}, TypeError, "samples must be .* int; got True"),
        ("smooth_grad_cam_pp", {"noise": -1}, ValueError, "noise must be at least 0; got -1"),
        ("smooth_grad_cam_pp", {"noise": -0.1}, ValueError, r"noise must be at least 0; got -0\.1"),
        ("smooth_grad_cam_pp", {"noise": np.nan}, ValueError, "noise must be finite, .*; got nan"),
        ("smooth_grad_cam_pp", {"noise": np.inf}, ValueError, "noise must be finite, .*; got inf"),
        ("smooth_grad_cam_pp", {"seed": -1}, ValueError, "seed must be at least 0; got -1"),
        ("smooth_grad", {"squared": 1}, TypeError, "squared must be of type bool; got 1"),
        ("ablation_cam", {"fill": "x"}, ValueError, "fill must be one of zero, mean; got 'x'"),
        ("finer_cam", {"base": "nothing"}, ValueError, "base must be one of cam, .*'nothing'"),
        ("finer_cam", {"base": "finer_cam"}, ValueError, "base must be one of .*'finer_cam'"),
        ("finer_cam", {"nearest": 0}, ValueError, "nearest must be at least 1; got 0"),
        ("finer_cam", {"strength": "1"}, TypeError, "strength must be of type float; got '1'"),
        ("finer_cam", {"samples": 3}, TypeError, "'finer_cam' have no option 'samples'"),
        ("score_cam", {"noise": 0.1}, TypeError, "have no option 'noise'.* are: weights, channels"),
    ],
)  # fmt: skip
def test_wrong_options_are_told(method, options, error, match):
    with pytest.raises(error, match=match):
        tfcam.Explainer(small(), method=method, **options)


def test_finer_cam_refuses_what_has_no_classes():
    with pytest.raises(ValueError, match="'finer_cam' needs a class: .*got a callable"):
        raws(small(), images(), "finer_cam", target=lambda outputs: outputs[:, 0])


@pytest.mark.parametrize("method", [*LOOPING, "finer_cam"])
def test_the_model_is_left_as_it_is(method):
    model, x = small(), images()
    before = networks.snapshot(model, x)
    raws(model, x, method)
    assert networks.snapshot(model, x) == before
