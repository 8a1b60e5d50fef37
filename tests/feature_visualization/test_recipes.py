"""How a dream climbs: Adam, even steps, and Yosinski's regularisers, each by a replica."""

import numpy as np
import pytest
import tensorflow as tf

from tests.feature_visualization.test_objectives import gaussian_blur
from tests.tolerances import ROUNDED, rounding
from tfcam.feature_visualization.parametrisations import Fourier, Pixels
from tfcam.feature_visualization.recipes import PRESETS, Recipe, choose_recipe, drop_least


@pytest.fixture
def pixels(rng):
    return rng.uniform(-0.4, 0.4, (2, 6, 5, 3)).astype("float32")


@pytest.fixture
def slope(rng):
    return rng.normal(size=(2, 6, 5, 3)).astype("float32")


def climbed(recipe, pixels, slope, step=0):
    state = recipe.start(tf.constant(pixels))
    return recipe.climb(state, tf.constant(slope), tf.constant(step))[0].numpy()


def least_to_zero(x, importance, percentile):
    """Pixels whose importance is below that of the pixel at the percentile become 0."""
    out = x.copy()
    for n in range(len(x)):
        ranked = sorted(importance[n].ravel())
        limit = ranked[min(int(len(ranked) * percentile / 100), len(ranked) - 1)]
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                if importance[n, i, j] < limit:
                    out[n, i, j] = 0
    return out


def test_adam_by_its_paper(pixels, rng):
    slopes = rng.normal(size=(5, *pixels.shape))
    recipe = Recipe(Pixels(sigmoid=True), rate=0.03)
    state = recipe.start(tf.constant(pixels))
    x, m, v = pixels.astype(float), 0.0, 0.0
    for t, g in enumerate(slopes, 1):
        state = recipe.climb(state, tf.constant(g, tf.float32), tf.constant(t - 1))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        x = x + 0.03 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    # Of 1 - 0.999^t, a thousandth of what is subtracted, few digits are left in a step of 0.03.
    np.testing.assert_allclose(state[0], x, atol=rounding(0.03 / 1e-3, count=1))


def test_even_steps_move_each_picture_by_the_rate_on_average(pixels, slope):
    slope[1] *= 1000
    moved = climbed(Recipe(Pixels(), rate=0.01, ascent="even"), pixels, slope) - pixels
    assert np.abs(moved).mean(axis=(1, 2, 3)) == pytest.approx([0.01, 0.01], rel=1e-4)
    np.testing.assert_allclose(moved[0], 0.01 * slope[0] / np.abs(slope[0]).mean(), atol=ROUNDED)
    still = climbed(Recipe(Pixels(), ascent="even"), pixels, 0 * slope)
    np.testing.assert_allclose(still, pixels, atol=ROUNDED)


def test_yosinskis_step_in_their_symbols(pixels, slope):
    """x <- r(x + eta g): decay, blur on every fourth step, small norms, small contributions."""
    recipe = Recipe(
        Pixels(),
        rate=0.02,
        ascent="even",
        decay=0.1,
        blur=0.8,
        blur_every=4,
        norm_percentile=30,
        contribution_percentile=20,
    )
    g = slope.astype(float)
    eta = 0.02 / np.abs(g).mean(axis=(1, 2, 3), keepdims=True)
    for step in range(4):
        x = (pixels.astype(float) + eta * g) * (1 - 0.1)
        if step == 3:
            x = np.stack([gaussian_blur(each, 0.8) for each in x])
        norms = np.sqrt((x**2).sum(axis=-1))
        contributions = np.abs((x * g).sum(axis=-1))
        x = least_to_zero(least_to_zero(x, norms, 30), contributions, 20)
        np.testing.assert_allclose(climbed(recipe, pixels, slope, step), x, atol=ROUNDED)


def test_clipped_shares_are_exact(rng):
    pixels = tf.constant(rng.normal(size=(2, 10, 10, 3)), tf.float32)
    norms = tf.norm(pixels, axis=-1)
    for percentile in (0, 10, 50, 90, 100):
        kept = drop_least(pixels, norms, percentile)
        zero = np.all(kept.numpy() == 0, axis=-1).sum(axis=(1, 2))
        assert zero.tolist() == [min(percentile, 99)] * 2
    equal = tf.ones((1, 4, 4, 3))
    np.testing.assert_array_equal(drop_least(equal, equal[..., 0], 50), equal)


def test_pixels_come_back_into_range(slope):
    edge = np.full((2, 6, 5, 3), 0.5, "float32")
    moved = climbed(Recipe(Pixels(), rate=0.1, ascent="even"), edge, slope)
    assert moved.max() == 0.5
    assert moved.min() < 0.5


def test_presets_and_their_changes():
    assert choose_recipe("yosinski", {}) is not None
    changed = choose_recipe("yosinski", {"blur": 2.0, "steps": 3})
    assert (changed.blur, changed.steps, changed.decay) == (2.0, 3, PRESETS["yosinski"].decay)
    own = Recipe(Pixels(), steps=5)
    assert choose_recipe(own, {}) == own
    assert isinstance(PRESETS["fourier"].parametrisation, Fourier)


@pytest.mark.parametrize(
    ("preset", "options", "kind", "message"),
    [
        ("deepdream", {}, ValueError, "preset must be one of fourier, plain, yosinski, deep_dream"),
        (None, {}, ValueError, "preset must be one of .*; got None"),
        ("plain", {"step": 3}, TypeError, "no option 'step'; a recipe has parametrisation, .*"),
        ("plain", {"steps": 0}, ValueError, "steps must be at least 1; got 0"),
        ("plain", {"steps": 2.5}, TypeError, "steps must be a whole number; got 2.5"),
        ("plain", {"rate": 0}, ValueError, "rate must be above 0; got 0"),
        ("plain", {"rate": -1}, ValueError, "rate must be at least 0; got -1"),
        ("plain", {"rate": "fast"}, TypeError, "rate must be a number; got 'fast'"),
        ("plain", {"rate": float("nan")}, ValueError, "rate must be at least 0; got nan"),
        ("plain", {"ascent": "sgd"}, ValueError, "ascent must be one of adam, even; got 'sgd'"),
        ("plain", {"decay": 2}, ValueError, "decay must be in 0..1; got 2"),
        ("plain", {"blur_every": 0}, ValueError, "blur_every must be at least 1; got 0"),
        ("plain", {"norm_percentile": 101}, ValueError, "norm_percentile must be in 0..100"),
        ("plain", {"transforms": "Jitter"}, TypeError, "transforms must be a list of tfcam.tran"),
        ("plain", {"transforms": [3]}, TypeError, "transforms must be a list"),
        ("plain", {"transforms": 3}, TypeError, "transforms must be a list"),
        ("fourier", {"blur": 1}, ValueError, "act on pixels: they need parametrisation=Pixels"),
        ("plain", {"parametrisation": "pixels"}, TypeError, "parametrisation must be Fourier"),
    ],
)
def test_what_makes_no_recipe_is_refused(preset, options, kind, message):
    with pytest.raises(kind, match=message):
        choose_recipe(preset, options)
