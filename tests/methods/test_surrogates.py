"""KernelSHAP and LIME: games by hand, and against replicas in float64."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfcam
from tests.laws import law
from tests.methods.test_masking import QUADRANTS, additive, filled, score
from tests.methods.test_perturbation import images, small
from tests.tolerances import relative, rounding
from tfcam.methods.surrogates import kernel_weights


class Game(layers.Layer):
    """A score of a few values, each of which is there (1) or not (0)."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        value = self.function(*ops.unstack(x[..., 0], axis=1))
        return ops.stack([value, 0 * value], -1)


def game(players, function):
    ends = keras.Input((players, 1))
    return keras.Model(ends, Game(function)(ends))


def played(players, function, method="kernel_shap", **options):
    options = {"segments": np.arange(players), "fill": "zero", "target": 0, **options}
    x = np.ones((players, 1), "f4")
    return tfcam.explain(game(players, function), x, method=method, **options)


def shapley(players, v):
    """phi_m = sum_S |S|! (M - |S| - 1)! / M! (v(S + m) - v(S))."""
    phi = np.zeros(players)
    for m in range(players):
        others = [n for n in range(players) if n != m]
        for size in range(players):
            weight = math.factorial(size) * math.factorial(players - size - 1)
            for S in itertools.combinations(others, size):
                gain = v(*(n in S or n == m for n in range(players))) - v(
                    *(n in S for n in range(players))
                )
                phi[m] += weight / math.factorial(players) * gain
    return phi


def by_hand(a, b, c):
    return 2 * a + 3 * b + 4 * a * b - 6 * b * c


def many(*z):
    """A game of seven with pairs and a triple in it."""
    return sum((n + 1) * one for n, one in enumerate(z)) + 5 * z[0] * z[1] - 4 * z[2] * z[3] * z[6]


# --- KernelSHAP -----------------------------------------------------------------------------


def test_shapley_values_by_hand():
    result = played(3, by_hand)
    np.testing.assert_allclose(result.raw, [4, 2, -3], atol=1e-5)
    assert result.measured["efficiency_residual"] == pytest.approx(0, abs=1e-5)
    assert result.measured["standard_error"] == 0
    assert result.raw.sum() == pytest.approx(3, abs=1e-5)
    # Leaving out one at a time is something else: its falls do not sum to the rise.
    left_out = played(3, by_hand, "occlusion")
    np.testing.assert_allclose(left_out.raw, [6, 1, -6], atol=1e-5)


def test_kernel_weights_by_hand():
    np.testing.assert_allclose(kernel_weights(3) / [3, 3], [1 / 3, 1 / 3])
    np.testing.assert_allclose(kernel_weights(4) / [4, 6, 4], [1 / 4, 1 / 8, 1 / 4])


@law("few parts: the Shapley values", "kernel_shap")
@pytest.mark.parametrize(
    ("players", "v"), [(1, lambda a: 5 * a), (2, lambda a, b: a * b), (7, many)]
)
def test_of_few_parts_they_are_exact(players, v):
    result = played(players, v)
    np.testing.assert_allclose(result.raw, shapley(players, v), atol=rounding(30.0))


def test_of_an_image_they_are_exact():
    model, x = small(), images(2)
    found = tfcam.explain(model, x, target=[0, 2], method="kernel_shap", segments=QUADRANTS)
    numbers = [3, 5, 7, 9]
    for result, each, c in zip(found, x, [0, 2], strict=True):

        def v(*seen, each=each, c=c):
            shown = np.isin(QUADRANTS, [n for n, one in zip(numbers, seen, strict=True) if one])
            return score(model, np.where(shown[..., None], each, filled(each, "mean")), c)

        for number, phi in zip(numbers, shapley(4, v), strict=True):
            np.testing.assert_allclose(
                result.raw[number == QUADRANTS], phi, atol=rounding(result.score)
            )


@law("values sum to the rise", "kernel_shap")
@pytest.mark.parametrize("segments", ["grid:2", "grid:4", "slic:6", "quickshift"])
@pytest.mark.thinned(3)
def test_values_sum_to_the_rise(segments):
    model, x = small(), images(2)
    options = {"segments": segments, "samples": 240, "target": 1}
    for result, each in zip(
        tfcam.explain(model, x, method="kernel_shap", **options), x, strict=True
    ):
        rise = score(model, each, 1) - score(model, filled(each, "mean"), 1)
        total = sum(float(value) for value in np.unique(result.raw))
        if segments.startswith("grid"):
            assert total == pytest.approx(rise, abs=rounding(result.score))
        assert abs(result.measured["efficiency_residual"]) < rounding(result.score)


@law("additive: each part's own, from any sample", "kernel_shap")
@pytest.mark.parametrize("samples", [64, 100])
def test_of_an_additive_function_they_are_exact_from_any_sample(samples):
    x = np.random.default_rng(1).normal(size=(16, 2)).astype("f4")
    options = {"segments": np.arange(16), "fill": "zero", "target": 0, "samples": samples}
    result = tfcam.explain(additive(16, 2), x, method="kernel_shap", **options)
    np.testing.assert_allclose(result.raw, (x.astype(float) ** 2).sum(1), atol=rounding(32.0))
    assert result.measured["standard_error"] < 1e-4


def twelve(*z):
    return many(*z[:7]) + 3 * z[7] * z[8] + 3 * z[8] * z[9] - z[10]


@pytest.mark.slow
def test_sampled_values_come_near_and_their_error_says_how_near():
    exact = played(12, twelve, samples=5000).raw
    np.testing.assert_allclose(exact, shapley(12, twelve), atol=rounding(90.0))
    found = [played(12, twelve, samples=240, seed=seed) for seed in range(8)]
    off = np.stack([each.raw for each in found]) - exact
    assert np.abs(off.mean(0)).max() < 0.25  # of values up to 10
    said = np.mean([each.measured["standard_error"] * each.raw.std() for each in found])
    assert said == pytest.approx(np.sqrt((off**2).mean(0)).mean(), rel=0.45)
    better = played(12, twelve, samples=960)
    assert better.measured["standard_error"] < 0.75 * found[0].measured["standard_error"]


@pytest.mark.slow
def test_choices_are_drawn_by_the_kernel_each_with_its_complement():
    asked = []

    def ask(images):
        asked.append(images[..., 0] > 0)
        return images.sum((1, 2))[:, np.newaxis]

    box = tfcam.BlackBox(ask, (12, 1))
    options = {"segments": np.arange(12), "fill": "zero", "target": lambda scores: scores[:, 0]}
    tfcam.explain(box, np.ones((12, 1), "f4"), method="kernel_shap", samples=2000, **options)
    # First about its width, then the image, then with nothing seen.
    choices = np.concatenate(asked[2:])[1:2001]
    np.testing.assert_array_equal(choices[::2], ~choices[1::2])
    sizes = np.bincount(choices.sum(1), minlength=13) / 2000
    wanted = kernel_weights(12) / kernel_weights(12).sum()
    np.testing.assert_allclose(sizes[1:12], wanted, atol=0.03)
    assert sizes[0] == sizes[12] == 0
    # Of each size, each part equally often.
    np.testing.assert_allclose(choices[choices.sum(1) == 1].mean(0), 1 / 12, atol=0.05)


@law("equal parts are equal, idle ones 0", "kernel_shap")
def test_equal_parts_are_equal_and_idle_ones_zero():
    result = played(4, lambda a, b, c, d: a * b + 2 * c)
    np.testing.assert_allclose(result.raw, [0.5, 0.5, 2, 0], atol=1e-5)


def test_parts_may_be_numbered_as_one_likes():
    order = np.array([40, 7, 12])
    np.testing.assert_allclose(played(3, by_hand, segments=order).raw, [4, 2, -3], atol=1e-5)


# --- LIME -----------------------------------------------------------------------------------


def lime_replica(v, z, ridge):
    """Weighted ridge regression with a free intercept: theta, R^2."""
    M = z.shape[1]
    D = 1 - np.sqrt(z.sum(1) / M)
    pi = np.sqrt(np.exp(-(D**2) / 0.25**2))
    y = np.array([v(*row) for row in z])
    A = np.hstack([np.ones((len(z), 1)), z])
    penalty = ridge * np.eye(M + 1)
    penalty[0, 0] = 0
    theta = np.linalg.solve(A.T @ (pi[:, None] * A) + penalty, A.T @ (pi * y))
    mean = (pi * y).sum() / pi.sum()
    missed, varied = (pi * (y - A @ theta) ** 2).sum(), (pi * (y - mean) ** 2).sum()
    covariance = np.linalg.inv(A.T @ (pi[:, None] * A) + penalty)[1:, 1:]
    errors = np.sqrt(np.diag(covariance) * missed / (len(z) - M - 1))
    return theta[1:], 1 - missed / varied, errors.mean() / theta[1:].std()


def drawn(players, samples, seed):
    z = tf.random.stateless_uniform((players, samples), [seed, 0]).numpy().T < 0.5
    z[0] = True
    return z.astype(float)


@pytest.mark.parametrize("ridge", [0, 0.01, 1.0, 30.0])
@pytest.mark.parametrize(("samples", "seed"), [(40, 0), (300, 5)])
@pytest.mark.thinned(3)
def test_lime_equals_the_replica(samples, seed, ridge):
    result = played(7, many, "lime", samples=samples, seed=seed, ridge=ridge)
    theta, fidelity, error = lime_replica(many, drawn(7, samples, seed), ridge)
    np.testing.assert_allclose(result.raw, theta, atol=rounding(30.0))
    assert result.measured["fidelity"] == pytest.approx(fidelity, abs=1e-4)
    assert result.measured["standard_error"] == pytest.approx(error, rel=1e-3)


def test_lime_of_an_image_equals_the_replica():
    model, x = small(), images(2)
    found = tfcam.explain(
        model, x, target=[0, 2], method="lime", segments=QUADRANTS, samples=60, fill="blur"
    )
    numbers = np.array([3, 5, 7, 9])
    for result, each, c in zip(found, x, [0, 2], strict=True):

        def v(*seen, each=each, c=c):
            shown = np.isin(QUADRANTS, numbers[np.array(seen) > 0])
            return score(model, np.where(shown[..., None], each, filled(each, "blur")), c)

        theta, fidelity, _ = lime_replica(v, drawn(4, 60, 0), 1.0)
        for number, value in zip(numbers, theta, strict=True):
            np.testing.assert_allclose(
                result.raw[number == QUADRANTS], value, atol=rounding(result.score)
            )
        assert result.measured["fidelity"] == pytest.approx(fidelity, abs=1e-3)


@law("additive without a ridge: exact, R^2 = 1", "lime")
def test_of_an_additive_function_lime_is_exact():
    result = played(5, lambda a, b, c, d, e: a - 2 * b + 3 * c + 7 * e, "lime", ridge=0, samples=50)
    np.testing.assert_allclose(result.raw, [1, -2, 3, 0, 7], atol=1e-4)
    assert result.measured["fidelity"] == pytest.approx(1, abs=1e-6)
    assert result.measured["standard_error"] < 1e-5


@law("a ridge shrinks the weights", "lime")
def test_a_ridge_shrinks_the_weights():
    norms = [np.linalg.norm(played(7, many, "lime", ridge=ridge).raw) for ridge in (0, 1, 100)]
    assert norms[0] > norms[1] > norms[2]


def test_of_a_constant_nothing_is_left_to_explain():
    result = played(3, lambda a, b, c: 0 * a + 2.7, "lime")
    assert np.abs(result.raw).max() < rounding(2.7)
    assert result.measured["fidelity"] == 1


def test_a_game_that_is_not_additive_is_told():
    """Only all six together count: no sum of parts says that."""
    result = played(6, lambda *z: math.prod(z), "lime")
    assert result.measured["fidelity"] < 0.5
    assert "not_additive" in [each.code for each in result.findings]
    assert "not_additive" not in [each.code for each in played(7, many, "lime").findings]


# --- both -----------------------------------------------------------------------------------

BOTH = ["kernel_shap", "lime"]


@law("a seed repeats", *BOTH)
@pytest.mark.parametrize("method", BOTH)
@pytest.mark.thinned(1)
def test_a_seed_repeats_and_another_differs(method):
    options = {"segments": "grid:4", "samples": 80, "target": 1, "method": method}
    once, again, other = (
        tfcam.explain(small(), images(1)[0], seed=seed, **options).raw for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert relative(other, once) > 1e-3


@pytest.mark.parametrize("segments", ["grid:3", "slic:8", "quickshift:8"])
@pytest.mark.parametrize("method", BOTH)
@pytest.mark.thinned(2)
def test_a_batch_gives_what_single_images_give(method, segments):
    model, x = small(), images(3)
    options = {"method": method, "segments": segments, "samples": 60}
    many_at_once = tfcam.explain(model, x, target=[0, 1, 2], **options)
    for result, image, c in zip(many_at_once, x, range(3), strict=True):
        alone = tfcam.explain(model, image, target=c, **options)
        np.testing.assert_allclose(result.raw, alone.raw, atol=10 * rounding(alone.score))
        assert result.measured == pytest.approx(alone.measured, rel=1e-2, abs=1e-4)


@pytest.mark.thinned(1, kept="slow")
@law("superpixels: as a map of one's own", *BOTH)
@pytest.mark.parametrize("method", BOTH)
def test_superpixels_are_as_a_map_of_ones_own(method):
    """One image that has fewer parts than there may be: those that it lacks change nothing."""
    scene = tfcam.scenes.draw_scene(2)
    explainer = tfcam.Explainer(tfcam.demo_model(), method=method, segments="slic:8", samples=250)
    result = explainer(scene.image, int(scene.labels[0]))
    numbers = np.unique(result.raw, return_inverse=True)[1].reshape(result.raw.shape)
    own = tfcam.explain(
        tfcam.demo_model(),
        scene.image,
        target=int(scene.labels[0]),
        method=method,
        segments=numbers,
        samples=300,
    )
    assert np.corrcoef(own.raw.ravel(), result.raw.ravel())[0, 1] > 0.95
    if method == "kernel_shap":
        values = [result.raw[numbers == n][0] for n in range(numbers.max() + 1)]
        exact = [own.raw[numbers == n][0] for n in range(numbers.max() + 1)]
        assert sum(values) == pytest.approx(sum(exact), abs=1e-2)


@pytest.mark.parametrize("method", BOTH)
def test_of_one_colour_there_is_one_part_or_none(method):
    x = np.full((8, 8, 3), 0.4, "f4")
    result = tfcam.explain(small(), x, target=1, method=method, segments="slic:5", samples=40)
    assert np.isfinite(result.raw).all()
    assert np.abs(result.raw).max() < rounding(result.score)


@pytest.mark.parametrize("method", BOTH)
def test_what_does_not_fit_is_told(method):
    def ask(**options):
        tfcam.explain(small(), images(1)[0], method=method, **options)

    with pytest.raises(
        ValueError, match="samples must be at least 32, two for each of 16 parts; got 31"
    ):
        ask(segments="grid:4", samples=31)
    with pytest.raises(ValueError, match="'lime'|samples must be at least 1"):
        ask(samples=0)
    with pytest.raises(TypeError, match="segments must be a name"):
        ask(segments=3)
    large = keras.Sequential([keras.Input((40, 40, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match="at most 1024 parts.*got 1600. For single pixels take"):
        tfcam.explain(large, np.zeros((40, 40, 1), "f4"), method=method, segments="grid:40")


def test_a_ridge_below_zero_is_refused():
    with pytest.raises(ValueError, match="ridge must be at least 0; got -1"):
        played(3, by_hand, "lime", ridge=-1)
