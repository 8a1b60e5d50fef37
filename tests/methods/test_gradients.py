"""Maps of pixels that ask the network again, and deconvnet: replicas, laws, hand arithmetic."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.laws import law
from tests.tolerances import ROUNDED, relative, rounding
from tfcam.methods.smoothing import noisy
from tfcam.passes.network import ExplainedNetwork


def pixelwise(*activations, seed=2):
    """1x1 convolutions with activations, averaged: a small network on each pixel."""
    steps = [keras.Input((3, 3, 3))]
    for activation in activations:
        steps += [layers.Conv2D(6, 1), activation]
    model = keras.Sequential([*steps, layers.GlobalAveragePooling2D(), layers.Dense(3)])
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.7, w.shape) for w in model.get_weights()])
    return model


def bent():
    return pixelwise(layers.ReLU(), layers.Activation("relu"))


def linear():
    return pixelwise(layers.Activation("linear"))


def images(count=2):
    return np.random.default_rng(6).normal(0.2, 1, (count, 3, 3, 3)).astype(np.float32)


def score(model, x, c):
    """s(x) = mean(relu(relu(x W1 + b1) W2 + b2)) V_c + b_c of one image, float64."""
    W1, b1, W2, b2, V, b = (w.astype(np.float64) for w in model.get_weights())
    z = np.maximum(x.astype(np.float64) @ W1[0, 0] + b1, 0) @ W2[0, 0] + b2
    return np.maximum(z, 0).mean((0, 1)) @ V[:, c] + b[c]


def gradient(model, x, c, rule="plain"):
    """ds/dx of one image; "guided" and "deconvnet" replace the backward pass of the ReLUs."""
    W1, b1, W2, b2, V, _ = (w.astype(np.float64) for w in model.get_weights())
    z1 = x.astype(np.float64) @ W1[0, 0] + b1
    z2 = np.maximum(z1, 0) @ W2[0, 0] + b2
    back = np.broadcast_to(V[:, c] / 9, z2.shape)
    for z, W in ((z2, W2[0, 0]), (z1, W1[0, 0])):
        if rule == "plain":
            back = back * (z > 0)
        elif rule == "guided":
            back = back * (z > 0) * (back > 0)
        else:
            back = back * (back > 0)
        back = back @ W.T
    return back


def explained(model, x, method, target=1, **options):
    return tfcam.explain(model, x, target=target, method=method, **options)


# --- integrated gradients -------------------------------------------------------------------


def integrated_replica(model, x, c, steps, baseline):
    """Sundararajan et al. 2017, eq. 3, at the middle of each of m steps instead of its end."""
    start, M = np.full(x.shape, float(baseline)), np.zeros(x.shape)
    way = x.astype(np.float64) - start
    for k in range(steps):
        M += way * gradient(model, start + (k + 0.5) / steps * way, c) / steps
    return M


@pytest.mark.parametrize(("steps", "baseline"), [(1, 0.0), (4, 0.0), (32, -1), (10, 0.5)])
def test_integrated_gradients_equal_the_replica(steps, baseline):
    model, x = bent(), images()
    results = explained(model, x, "integrated_gradients", [0, 2], steps=steps, baseline=baseline)
    for result, each, c in zip(results, x, [0, 2], strict=True):
        wanted = integrated_replica(model, each, c, steps, baseline)
        assert relative(result.raw, wanted) < ROUNDED
        start = np.full(each.shape, float(baseline))
        rise = score(model, each, c) - score(model, start, c)
        # What the result reports is the difference of two float32 numbers of the scores' size.
        off = rounding(np.abs(wanted).sum())
        error = rise - wanted.sum()
        assert result.measured["completeness_error"] == pytest.approx(error, abs=off)
        assert f"completeness_error {result.measured['completeness_error']:.3g}" in repr(result)


@law("exact on a linear network", "integrated_gradients")
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("baseline", [0.0, -2.5])
def test_of_a_linear_network_any_number_of_steps_is_exact(steps, baseline):
    model, x = linear(), images()
    W1, _, V, _ = (w.astype(np.float64) for w in model.get_weights())
    slope = W1[0, 0] @ V[:, 1] / 9
    found = explained(model, x, "integrated_gradients", steps=steps, baseline=baseline)
    assert relative(found.raws, (x.astype(np.float64) - baseline) * slope) < ROUNDED
    for each in found:
        assert abs(each.measured["completeness_error"]) < ROUNDED * np.abs(each.raw).sum()


@law("exact on a quadratic network", "integrated_gradients")
@pytest.mark.parametrize("steps", [1, 3])
def test_of_a_quadratic_network_the_midpoint_is_exact(steps):
    inputs = keras.Input((3, 3, 3))
    x = layers.GlobalAveragePooling2D()(keras.ops.square(inputs))
    model = keras.Model(inputs, layers.Dense(2)(x))
    found = explained(model, images(), "integrated_gradients", steps=steps)
    kernel = model.get_weights()[0].astype(np.float64)
    # s = sum x^2 V / 9: each value's part is its own term.
    assert relative(found.raws, images().astype(np.float64) ** 2 * kernel[:, 1] / 9) < ROUNDED


@pytest.mark.thinned(1)
@law("complete but for the reported error", "integrated_gradients")
@pytest.mark.parametrize("kind", ["softplus", "relu"])
def test_the_error_shrinks_with_the_steps(kind):
    model, x = pixelwise(layers.Activation(kind), layers.Activation(kind)), 2 * images(1)

    def error(steps):
        (result,) = explained(model, x, "integrated_gradients", steps=steps)
        return abs(result.measured["completeness_error"])

    first, second, third = error(1), error(8), error(512)
    assert first > 1e-3
    # With the square of the steps where the network is smooth, with the steps where it has kinks.
    assert second < first / (30 if kind == "softplus" else 2)
    assert third < first / 100


@law("of a layer, before one linear layer = HiResCAM", "integrated_gradients")
@pytest.mark.parametrize(("steps", "baseline"), [(1, 0.0), (3, 0.0), (2, 0.5)])
def test_integrated_gradients_of_a_layer_equal_plain_keras(steps, baseline):
    """(A - A') mean ds/dA on the way, of the layer's output, by a model of what follows it."""
    model, x = bent(), images()
    _, first, *_ = model.layers
    head = keras.Sequential([keras.Input((3, 3, 6)), *model.layers[2:]])
    options = {"steps": steps, "baseline": baseline, "layer": first.name}
    results = explained(model, x, "integrated_gradients", [0, 2], **options)
    activations = keras.Model(model.inputs[0], first.output)(x).numpy()
    for result, A, c in zip(results, activations, [0, 2], strict=True):
        start, M = np.full_like(A, baseline), np.zeros(A.shape)
        for k in range(steps):
            point = tf.constant(start + (k + 0.5) / steps * (A - start))[tf.newaxis]
            with tf.GradientTape() as tape:
                tape.watch(point)
                logit = head(point)[0, c]
            M += (A - start) * tape.gradient(logit, point).numpy()[0] / steps
        assert relative(result.raw, M.sum(-1)) < 1e-5
        rise = head(A[np.newaxis])[0, c] - head(start[np.newaxis])[0, c]
        error = result.measured["completeness_error"]
        assert error == pytest.approx(float(rise) - M.sum(), abs=1e-5)
        assert result.layer == first.name
    last = {"layer": model.layers[-3].name, "target": 1}
    exact = explained(model, x, "integrated_gradients", steps=1, **last)
    plain = explained(model, x, "hires_cam", **last)
    assert relative(exact.raws, plain.raws) < ROUNDED


# --- expected gradients ----------------------------------------------------------------------


def expected_replica(model, x, c, starts, samples, seed):
    """Erion et al. 2021, eq. 4; the t-th of the n points of baseline b at (t + u_b) / n of its way.

    The u are the middles of as many even steps as there are baselines, in an order of the seed.
    """
    N, M = len(starts), np.zeros(x.shape)
    u = (np.random.default_rng(seed).permutation(N) + 0.5) / N
    for b in range(N):
        n = len(range(b, samples, N))
        way = x.astype(np.float64) - starts[b]
        for t in range(n):
            M += way * gradient(model, starts[b] + (t + u[b]) / n * way, c) / samples
    return M


PICTURES = np.random.default_rng(8).normal(0, 1, (3, 3, 3, 3)).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("baselines", [PICTURES, PICTURES[:1], (0.5, -1.0), None])
@pytest.mark.thinned(2, rest="slow")
def test_expected_gradients_equal_the_replica(baselines, seed):
    model, x, samples = bent(), images(), 8
    options = {"baselines": baselines, "samples": samples, "seed": seed}
    results = explained(model, x, "expected_gradients", [0, 2], **options)
    for result, each, c in zip(results, x, [0, 2], strict=True):
        starts = np.linspace(each.min(), each.max(), 5) if baselines is None else baselines
        starts = [np.broadcast_to(np.float64(start), each.shape) for start in starts]
        wanted = expected_replica(model, each, c, starts, samples, seed)
        assert relative(result.raw, wanted) < ROUNDED
        # The k-th baseline counts as often as it has its turn.
        mean = np.mean([score(model, starts[k % len(starts)], c) for k in range(samples)])
        error = score(model, each, c) - mean - wanted.sum()
        assert result.measured["completeness_error"] == pytest.approx(error, abs=1e-4)


@pytest.mark.slow
@law("of one baseline: integrated gradients", "expected_gradients")
def test_of_one_baseline_they_are_integrated_gradients():
    model, x = bent(), images()
    found = explained(model, x, "expected_gradients", baselines=0.5, samples=7)
    wanted = explained(model, x, "integrated_gradients", baseline=0.5, steps=7)
    assert relative(found.raws, wanted.raws) < ROUNDED


@law("= w (x - the mean of x') on a linear network", "expected_gradients")
def test_expected_gradients_of_a_linear_network():
    model, x = linear(), images()
    W1, _, V, _ = (w.astype(np.float64) for w in model.get_weights())
    found = explained(model, x, "expected_gradients", baselines=PICTURES, samples=6)
    assert relative(found.raws, (x - PICTURES.mean(0)) * (W1[0, 0] @ V[:, 1] / 9)) < ROUNDED
    for each in found:
        assert abs(each.measured["completeness_error"]) < ROUNDED * np.abs(each.raw).sum()


@pytest.mark.slow
@law("its error shrinks with the samples", "expected_gradients")
def test_the_error_of_expected_gradients_shrinks_with_the_samples():
    model, x = pixelwise(layers.ReLU(), layers.ReLU()), 2 * images(1)

    def error(samples):
        options = {"baselines": PICTURES, "samples": samples}
        (result,) = explained(model, x, "expected_gradients", **options)
        return abs(result.measured["completeness_error"])

    assert error(3) > 30 * error(1200)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("kind", ["pictures", None])
def test_expected_gradients_of_a_batch_are_those_of_single_images(kind):
    model, x = bent(), images(3)
    options = {"baselines": kind and PICTURES, "samples": 5}
    together = explained(model, x, "expected_gradients", **options)
    for each, image in zip(together, x, strict=True):
        (alone,) = explained(model, image[np.newaxis], "expected_gradients", **options)
        np.testing.assert_allclose(each.raw, alone.raw, atol=rounding(alone.raw))


@pytest.mark.parametrize(
    ("baselines", "got"),
    [
        (PICTURES[0], r"shape \(3, 3, 3\)"),
        (np.zeros((2, 3, 4, 3)), r"shape \(2, 3, 4, 3\)"),
        ([0.0, float("nan")], "nan"),
        ([], r"\[\]"),
    ],
)
def test_baselines_of_another_shape_are_refused(baselines, got):
    with pytest.raises(ValueError, match=rf"baselines must be .*\(N, 3, 3, 3\); got .*{got}"):
        explained(bent(), images(), "expected_gradients", baselines=baselines)
    with pytest.raises(TypeError, match="baselines must be numbers or pictures; got 'grey'"):
        explained(bent(), images(), "expected_gradients", baselines="grey")


def test_an_image_that_is_the_baseline_gives_an_empty_map():
    x = np.full((1, 3, 3, 3), 0.25, np.float32)
    (result,) = explained(bent(), x, "integrated_gradients", baseline=0.25)
    assert not result.raw.any()
    assert result.measured["completeness_error"] == 0
    assert [each.code for each in result.findings] == ["no_positive_evidence"]


def test_completeness_is_in_what_is_explained():
    model, x = networks.flat(), networks.pictures(2)
    p = model(np.concatenate([x, 0 * x[:1]]), training=False).numpy()[:, 1]
    results = explained(model, x, "integrated_gradients", score="probability", steps=256)
    for index, each in enumerate(results):
        error = p[index] - p[2] - each.raw.sum(dtype=np.float64)
        assert each.measured["completeness_error"] == pytest.approx(error, abs=1e-5)
        assert abs(error) < 0.01


@pytest.mark.parametrize("target", [lambda o: o[:, 1] - o[:, 0], tfcam.Difference(1, 0)])
def test_parts_of_a_difference_are_differences_of_parts(target):
    model, x = bent(), images()
    each = [explained(model, x, "integrated_gradients", c) for c in (0, 1)]
    found = explained(model, x, "integrated_gradients", target)
    assert relative(found.raws, each[1].raws - each[0].raws) < 1e-5
    errors = [[r.measured["completeness_error"] for r in e] for e in (*each, found)]
    np.testing.assert_allclose(errors[2], np.subtract(errors[1], errors[0]), atol=1e-5)


@pytest.mark.slow
def test_a_callable_may_treat_each_image_in_its_own_way():
    model, x = bent(), images(3)

    def by_image(outputs):
        return tf.gather(outputs, [0, 2, 1], batch_dims=1)

    for method in ("integrated_gradients", "smooth_grad"):
        wanted = explained(model, x, method, [0, 2, 1])
        found = explained(model, x, method, by_image)
        assert relative(found.raws, wanted.raws) < ROUNDED


# --- SmoothGrad -----------------------------------------------------------------------------


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(("samples", "noise", "seed"), [(1, 0.2, 0), (5, 0.15, 8)])
def test_smooth_grad_equals_the_replica(samples, noise, seed, squared):
    model, x = bent(), images()
    found = explained(
        model, x, "smooth_grad", samples=samples, noise=noise, seed=seed, squared=squared
    )
    seen = [noisy(tf.constant(x), seed, tf.constant(n), noise).numpy() for n in range(samples)]
    for index in range(len(x)):
        M = np.zeros(x[index].shape)
        for copy in seen:
            G = gradient(model, copy[index], 1)
            M += (G**2 if squared else G) / samples
        assert relative(found[index].raw, M) < ROUNDED
    assert not squared or (found.raws >= 0).all()


@law("= saliency on a linear network", "smooth_grad")
@pytest.mark.parametrize("noise", [0.0, 0.3, 4.0])
def test_smooth_grad_of_a_linear_network_is_saliency(noise):
    found = explained(linear(), images(), "smooth_grad", samples=4, noise=noise)
    assert relative(found.raws, explained(linear(), images(), "saliency").raws) < ROUNDED


@pytest.mark.thinned(1)
@law("= saliency without noise", "smooth_grad")
@pytest.mark.parametrize("samples", [1, 6])
def test_smooth_grad_without_noise_is_saliency(samples):
    model, x = networks.flat(), networks.pictures(2)
    plain = explained(model, x, "saliency").raws
    options = {"samples": samples, "noise": 0}
    assert relative(explained(model, x, "smooth_grad", **options).raws, plain) < 1e-5
    squares = explained(model, x, "smooth_grad", squared=True, **options).raws
    assert relative(squares, plain.astype(np.float64) ** 2) < 1e-5


@law("a seed repeats", "smooth_grad")
def test_a_seed_repeats_and_another_differs():
    model, x = bent(), images()
    once, again, other = (explained(model, x, "smooth_grad", seed=s).raws for s in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert relative(other, once) > 1e-3


@pytest.mark.parametrize("method", ["smooth_grad", "integrated_gradients", "deconvnet"])
@pytest.mark.thinned(1, kept="slow")
def test_the_size_of_a_batch_changes_nothing(method):
    model, x = networks.flat(), networks.pictures(5)
    target = [0, 1, 2, 0, 1]
    found = [explained(model, x, method, target, batch_size=size).raws for size in (1, 2, 32)]
    assert relative(found[1], found[0]) < 1e-5
    assert relative(found[2], found[0]) < 1e-5


# --- deconvnet ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "count", "layer"),
    [
        ("integrated_gradients", "steps", None),
        ("integrated_gradients", "steps", "first"),
        ("smooth_grad", "samples", None),
        ("smooth_grad_cam_pp", "samples", "first"),
        ("expected_gradients", "samples", None),
    ],
)
def test_how_many_samples_are_computed_at_once_changes_nothing(method, count, layer):
    """Of classes, and of a callable that treats each image of its batch in its own way."""
    factors = tf.constant([1.0, -2.0, 3.0])
    for target in ([0, 1, 2], lambda outputs: factors * outputs[:, 1]):
        how = {"method": method, "target": target, "layer": layer, count: 11}
        one, several = (
            tfcam.explain(networks.flat(), networks.pictures(3), batch_size=size, **how)
            for size in (3, 32)
        )
        for alone, together in zip(one, several, strict=True):
            np.testing.assert_allclose(together.raw, alone.raw, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("count", "side", "batch_size", "wanted"),
    [(1, 16, 32, 8), (3, 16, 32, 2), (9, 16, 32, 1), (1, 16, 5, 5), (1, 1024, 32, 2)],
)
def test_so_many_gradients_are_computed_at_once(monkeypatch, count, side, batch_size, wanted):
    """8 images, no more than are asked for, and no more pixels than 8 of 512 x 512."""
    seen, ask = [], ExplainedNetwork.image_gradients

    def spied(network, images):
        seen.append(images.shape[:2])
        return ask(network, images)

    monkeypatch.setattr(ExplainedNetwork, "image_gradients", spied)
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(inputs)))
    how = {"method": "smooth_grad", "samples": 40, "preprocess": None, "batch_size": batch_size}
    tfcam.explain(model, np.zeros((count, side, side, 1), "f4"), **how)
    assert set(seen) == {(wanted, count)}


@pytest.mark.parametrize("c", [0, 1, 2])
def test_deconvnet_of_two_layers_equals_the_replica(c):
    model, x = bent(), images()
    results = explained(model, x, "deconvnet", c)
    wanted = np.stack([gradient(model, each, c, "deconvnet") for each in x])
    assert relative(results.raws, wanted) < ROUNDED
    for rule, method in (("guided", "guided_backprop"), ("plain", "saliency")):
        other = np.stack([gradient(model, each, c, rule) for each in x])
        assert relative(explained(model, x, method, c).raws, other) < ROUNDED
        assert relative(other, wanted) > 0.1
    assert {each.options["gated_activations"] for each in results} == {2}


@law("blind to what ReLUs let through", "deconvnet")
def test_deconvnet_does_not_ask_what_the_relus_let_through():
    model, x = bent(), images()
    # Of such a network it does not depend on the image at all; guided backpropagation does.
    found, other = (explained(model, x * s, "deconvnet").raws for s in (1, -3))
    np.testing.assert_allclose(found, other, rtol=ROUNDED)
    guided, other = (explained(model, x * s, "guided_backprop").raws for s in (1, -3))
    assert relative(other, guided) > 0.1


@law("= the gradient where no ReLU stops", "deconvnet")
def test_deconvnet_is_the_gradient_where_no_relu_stops_anything():
    model, x = bent(), np.abs(images())
    model.set_weights([np.abs(w) for w in model.get_weights()])
    plain = explained(model, x, "saliency").raws
    for method in ("deconvnet", "guided_backprop"):
        assert relative(explained(model, x, method).raws, plain) < ROUNDED


@pytest.mark.slow
def test_hand_computed_maps():
    model, x = networks.hand_set(), np.zeros((2, 2, 2), np.float32)
    x[..., 0], x[..., 1] = [[1, 0], [0, 3]], [[0, 2], [0, 0]]

    def raw(method, target, layer=None, **options):
        found = tfcam.explain(model, x, layer, target=target, **options, method=method)
        return np.moveaxis(found.raw, -1, 0).tolist()

    # Weights / 4 go back. Class 0: 0.5 for channel 0, also where x = 0; -1 for channel 1 stops.
    assert raw("deconvnet", 0) == [[[0.5, 0.5], [0.5, 0.5]], [[0, 0], [0, 0]]]
    # Class 1: 0 and 8 / 4.
    assert raw("deconvnet", 1) == [[[0, 0], [0, 0]], [[2, 2], [2, 2]]]
    # From 0 the network is linear all the way: x times 0.5 and -1. With s(x) = s(0) = 1, the sum
    # is 0.5 + 1.5 - 2 = 0.
    assert raw("integrated_gradients", 0) == [[[0.5, 0], [0, 1.5]], [[0, -2], [0, 0]]]
    # From -1 the ReLUs let through the last half of the way to 1, and 3/4 and 2/3 of those to 3
    # and 2: 4 * 3/4 * 0.5 for channel 0 at (1, 1), 3 * 2/3 * -1 for channel 1 at (0, 1); the
    # values that stay at 0 or below never pass. Twelve steps meet all of these ends.
    found = raw("integrated_gradients", 0, baseline=-1.0, steps=12)
    np.testing.assert_allclose(found, [[[0.5, 0], [0, 1.5]], [[0, -2], [0, 0]]], rtol=ROUNDED)
    # Squares of 0.5 and -1 where x > 0.
    options = {"samples": 3, "noise": 0.0, "squared": True}
    assert raw("smooth_grad", 0, **options) == [[[0.25, 0], [0, 0.25]], [[0, 1], [0, 0]]]


@pytest.mark.parametrize("activation", ["swish", "gelu", "tanh", "linear"])
def test_deconvnet_of_a_network_without_relus_is_refused(activation):
    with pytest.raises(ValueError, match="deconvnet gate ReLUs, and .* has none.*Use 'grad_cam'"):
        explained(pixelwise(layers.Activation(activation)), images(), "deconvnet")


@pytest.mark.thinned(2)
@pytest.mark.parametrize("method", ["deconvnet", "smooth_grad", "integrated_gradients"])
def test_the_model_is_left_as_it_is(method):
    model, x = networks.flat(), networks.pictures(2)
    before = networks.snapshot(model, x)
    for _ in range(2):
        result = explained(model, x, method)[0]
    assert networks.snapshot(model, x) == before
    assert result.layer is None
    assert result.score == pytest.approx(explained(model, x, "saliency")[0].score, rel=ROUNDED)


@pytest.mark.parametrize(
    ("method", "options", "error", "match"),
    [
        ("integrated_gradients", {"steps": 0}, ValueError, "steps must be at least 1; got 0"),
        ("integrated_gradients", {"steps": 2.5}, TypeError, r"steps must be .* int; got 2\.5"),
        ("integrated_gradients", {"baseline": "x"}, TypeError, "baseline must be .*'x'"),
        ("integrated_gradients", {"baseline": np.inf}, ValueError, "baseline must be finite"),
        ("smooth_grad", {"samples": 0}, ValueError, "samples must be at least 1; got 0"),
        ("smooth_grad", {"noise": -1.0}, ValueError, r"noise must be at least 0; got -1\.0"),
        ("smooth_grad", {"noise": np.nan}, ValueError, "noise must be finite, .*; got nan"),
        ("smooth_grad", {"squared": 1}, TypeError, "squared must be of type bool; got 1"),
        ("deconvnet", {"samples": 1}, TypeError, "'deconvnet' have no option 'samples'.* none"),
    ],
)  # fmt: skip
def test_wrong_options_are_told(method, options, error, match):
    with pytest.raises(error, match=match):
        tfcam.Explainer(bent(), method=method, **options)
