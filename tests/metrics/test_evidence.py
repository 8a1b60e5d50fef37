"""Infidelity, sensitivity-n and mu-fidelity: hand arithmetic, laws, float64 replicas with loops."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests.metrics.test_faithfulness import SIDE, classifier, linear_probe, probability
from tests.tolerances import ROUNDED
from tfcam.metrics.evidence import infidelity, mu_fidelity, sensitivity_n
from tfcam.metrics.pixel_sets import grid_cells, random_sets, random_squares, rank_correlation
from tfcam.metrics.probing import Probe

SETTINGS = [
    (infidelity, {"samples": 9, "side": 2}),
    (sensitivity_n, {"subsets": 7, "fractions": [0.1, 0.4]}),
    (mu_fidelity, {"subsets": 9, "grid": 3, "share": 0.34}),
]
each = pytest.mark.parametrize(("metric", "options"), SETTINGS, ids=lambda value: str(value)[:20])


@pytest.fixture
def probe(rng):
    images = rng.normal(0, 2, (4, SIDE, SIDE, 2)).astype("f4")
    return Probe(classifier(scale=0.5), images, [0, 1, 2, 0], batch_size=3)


@pytest.fixture
def maps(rng):
    return rng.normal(0, 1, (4, SIDE, SIDE)).astype("f4")


@pytest.fixture
def linear(rng):
    """A linear model's probe, and what each pixel gives to its number."""
    weights = rng.normal(0, 1, (SIDE, SIDE))
    images = rng.random((3, SIDE, SIDE, 1)).astype("f4")
    return linear_probe(images, weights), images[..., 0] * weights


def falls_and_sums(probe, maps, which, sets):
    """What is lost without each set, and what the map says of it, one pixel after the other."""
    falls, sums = [], []
    for removed in sets:
        image, said = probe.inputs[which].copy(), 0.0
        for y in range(SIDE):
            for x in range(SIDE):
                if removed[y, x]:
                    image[y, x] = 0
                    said += float(maps[which][y, x])
        falls.append(
            probability(probe, probe.inputs[which], which) - probability(probe, image, which)
        )
        sums.append(said)
    return np.array(falls), np.array(sums)


def ranks(values):
    return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]


# The sets


def test_sets_have_their_sizes_and_places():
    for removed in random_sets((4, 5), 7, 20, 0):
        assert removed.shape == (4, 5)
        assert removed.sum() == 7
    corners = set()
    for square in random_squares((4, 5), 3, 200, 0):
        y, x = np.nonzero(square)
        assert square.sum() == 9
        assert (np.ptp(y), np.ptp(x)) == (2, 2)
        corners.add((int(y.min()), int(x.min())))
    assert corners == {(y, x) for y in range(2) for x in range(3)}
    assert grid_cells((5, 3), 2).tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 1], [2, 2, 3], [2, 2, 3]]
    assert grid_cells((4,), 2).tolist() == [0, 0, 1, 1]


def test_ranks_that_differ_by_rounding_are_equal(rng):
    values, other = rng.integers(0, 3, 40) / 3, rng.random(40)
    noisy = values * (1 + 1e-15 * rng.random(40))
    wanted = np.corrcoef(ranks(values), ranks(other))[0, 1]
    assert rank_correlation(noisy, other) == pytest.approx(wanted, abs=1e-12)
    assert rank_correlation(np.full(40, 0.1) * (1 + 1e-15 * other), other) == 0
    assert rank_correlation(np.zeros(40), other) == 0
    single = values + 1e-7 * rng.random(40)  # as the falls of probabilities are
    assert rank_correlation(other, single, 1e-6) == pytest.approx(wanted, abs=1e-12)
    assert rank_correlation(other, single) != pytest.approx(wanted, abs=1e-3)


# The formulas


@pytest.mark.slow
def test_infidelity_with_loops(probe, maps):
    found = infidelity(probe, maps, samples=9, side=2, seed=3, scaled=False)
    fitted = infidelity(probe, maps, samples=9, side=2, seed=3)
    sets = list(random_squares((SIDE, SIDE), 2, 9, 3))
    for i in range(4):
        falls, sums = falls_and_sums(probe, maps, i, sets)
        assert found[i] == pytest.approx(np.mean((sums - falls) ** 2), rel=1e-4)
        tried = [np.mean((b * sums - falls) ** 2) for b in np.linspace(0, 1, 20001)]
        assert fitted[i] == pytest.approx(min(tried), rel=1e-3, abs=1e-9)


@pytest.mark.slow
def test_infidelity_of_a_linear_model_by_hand(linear):
    probe, given = linear
    options = {"samples": 30, "side": 3}
    np.testing.assert_allclose(infidelity(probe, given, scaled=False, **options), 0, atol=1e-9)
    np.testing.assert_allclose(infidelity(probe, 3 * given, **options), 0, atol=1e-9)  # b = 1/3
    squares = list(random_squares((SIDE, SIDE), 3, 30, 0))
    for i in range(3):
        falls = np.array([given[i][square].sum() for square in squares])
        loose = infidelity(probe, 3 * given, scaled=False, **options)[i]
        assert loose == pytest.approx(np.mean((2 * falls) ** 2), rel=1e-4)
        against = infidelity(probe, -given, **options)[i]  # no better than a map of zeros
        assert against == pytest.approx(np.mean(falls**2), rel=1e-4)
        assert infidelity(probe, 0 * given, **options)[i] == pytest.approx(against, rel=1e-6)


def test_infidelity_takes_a_seventh_of_the_shorter_side():
    model = keras.Sequential([keras.Input((28, 56, 1)), layers.Flatten(), layers.Dense(1)])
    images = np.random.default_rng(0).random((1, 28, 56, 1)).astype("f4")
    probe = Probe(model, images, tfcam.Regression())
    found = infidelity(probe, images[..., 0], samples=20)
    assert found == infidelity(probe, images[..., 0], samples=20, side=4)
    assert found != infidelity(probe, images[..., 0], samples=20, side=5)


def test_sensitivity_n_with_loops(probe, maps):
    found = sensitivity_n(probe, maps, subsets=12, fractions=[0.1, 0.5], seed=3)
    for i in range(4):
        wanted = []
        for size in (4, 18):
            sets = random_sets((SIDE, SIDE), size, 12, 3)
            wanted.append(np.corrcoef(*falls_and_sums(probe, maps, i, sets))[0, 1])
        assert found[i] == pytest.approx(np.mean(wanted), abs=1e-4)


def test_mu_fidelity_with_loops(probe, maps):
    found = mu_fidelity(probe, maps, subsets=15, grid=3, share=0.34, seed=3)
    cells = np.arange(9).reshape(3, 3).repeat(2, 0).repeat(2, 1)
    rng = np.random.default_rng(3)
    chosen = [rng.choice(9, 3, replace=False) for _ in range(15)]
    for i in range(4):
        sets = [np.isin(cells, numbers) for numbers in chosen]
        falls, sums = falls_and_sums(probe, maps, i, sets)
        wanted = np.corrcoef(ranks(falls.round(7)), ranks(sums.round(7)))[0, 1]
        assert found[i] == pytest.approx(wanted, abs=2e-2)  # near ties of float32 may swap


# Laws


@each
def test_a_linear_model_is_told_exactly(linear, metric, options):
    probe, given = linear
    wanted, against = (0, None) if metric is infidelity else (1, -1)
    for factor in (1, 7):
        np.testing.assert_allclose(metric(probe, factor * given, **options), wanted, atol=1e-5)
    if against is not None:
        np.testing.assert_allclose(metric(probe, -given, **options), against, atol=1e-5)


@each
def test_a_batch_is_each_image_alone(probe, maps, metric, options):
    together = metric(probe, maps, **options)
    assert together.dtype == np.float32
    for i in range(4):
        alone = Probe(probe.model, probe.inputs[i : i + 1], int(probe.targets[i]))
        assert metric(alone, maps[i : i + 1], **options)[0] == pytest.approx(together[i], abs=1e-4)


@each
def test_a_seed_is_kept_and_another_differs(probe, maps, metric, options):
    found = [metric(probe, maps, seed=seed, **options) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


@each
@pytest.mark.parametrize("fill", ["mean", "blur", "noisy_linear"])
def test_every_fill_is_taken_and_counts(probe, maps, metric, options, fill):
    found = metric(probe, maps, fill=fill, **options)
    assert np.isfinite(found).all()
    assert (found != metric(probe, maps, **options)).any()


@each
def test_a_constant_model_and_a_map_of_zeros_say_nothing(probe, maps, metric, options):
    if metric is not infidelity:
        assert (metric(probe, np.zeros_like(maps), **options) == 0).all()
    kernel, bias = probe.model.get_layer("head").get_weights()
    probe.model.get_layer("head").set_weights([kernel * 0, bias])
    constant = Probe(probe.model, probe.inputs)
    assert (metric(constant, maps, **options) == 0).all()


@each
def test_maps_of_channels_are_summed_and_small_ones_resized(probe, rng, metric, options):
    apart = rng.normal(0, 1, (4, 3, 3, 5)).astype("f4")
    large = [tfcam.maps.resize(one.sum(axis=-1), (SIDE, SIDE)) for one in apart]
    found = metric(probe, apart, **options)
    np.testing.assert_allclose(found, metric(probe, np.stack(large), **options), atol=1e-5)


@each
def test_the_raw_map_of_an_explanation_counts(probe, metric, options):
    targets = probe.targets.tolist()
    explainer = tfcam.Explainer(probe.model, "features", method="gradient_input")
    results = explainer.prepared()(probe.inputs, targets)
    raws = [one.raw for one in results]
    assert min(raw.min() for raw in raws) < 0
    np.testing.assert_array_equal(metric(probe, results, **options), metric(probe, raws, **options))
    heatmaps = [one.heatmap for one in results]
    assert (metric(probe, results, **options) != metric(probe, heatmaps, **options)).any()


@each
def test_series_have_one_side(rng, metric, options):
    model = keras.Sequential([keras.Input((9, 2)), layers.Flatten(), layers.Dense(1)])
    series = rng.random((2, 9, 2)).astype("f4")
    probe = Probe(model, series, tfcam.Regression())
    weights = model.layers[-1].get_weights()[0].reshape(9, 2)
    wanted = 0 if metric is infidelity else 1
    np.testing.assert_allclose(metric(probe, series * weights, **options), wanted, atol=1e-4)


@pytest.mark.slow
def test_a_saliency_map_is_told_from_its_negative_on_the_embedded_network():
    scenes = [tfcam.scenes.draw_scene(seed).image for seed in range(3)]
    model = tfcam.demo_model()
    probe = Probe(model, scenes)
    results = tfcam.Explainer(model, method="cam")(scenes, probe.targets)
    against = [-one.raw for one in results]
    assert (mu_fidelity(probe, results, subsets=40) > mu_fidelity(probe, against, subsets=40)).all()
    assert (infidelity(probe, results, samples=40) < infidelity(probe, against, samples=40)).all()


# Refusals


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        (infidelity, {"samples": 1}, "at least 2 squares, of a side of 1 to 5 pixels; got 1 of 1"),
        (infidelity, {"side": 6}, "at least 2 squares, of a side of 1 to 5 pixels; got 100 of 6"),
        (infidelity, {"fill": "grey"}, "fill must be"),
        (sensitivity_n, {"subsets": 1}, "at least 2 subsets, of 1 to 35 pixels; got 1 of"),
        (sensitivity_n, {"fractions": []}, "at least 2 subsets, of 1 to 35 pixels; got 50 of"),
        (sensitivity_n, {"fractions": [0.001]}, r"got 50 of \[0\]"),
        (sensitivity_n, {"fractions": [1.0]}, r"got 50 of \[36\]"),
        (sensitivity_n, {"fractions": [1.5]}, r"must be in \[0, 1\]; got 1.5"),
        (mu_fidelity, {}, "grid must be in 2..6, the shorter side; got 9"),
        (mu_fidelity, {"grid": 3, "share": 0.0}, "of 1 to 8 cells; got 200 of 0"),
        (mu_fidelity, {"grid": 3, "subsets": 1}, "at least 2 subsets, of 1 to 8 cells; got 1 of 2"),
    ],
)
def test_wrong_options_are_one_clear_error(probe, maps, metric, options, message):
    with pytest.raises(ValueError, match=message):
        metric(probe, maps, **options)


@each
def test_wrong_maps_are_one_clear_error(probe, maps, metric, options):
    broken = maps.copy()
    broken[1, 2, 3] = np.nan
    for given, message in [
        (maps[:3], "one heatmap for each image, 4; got 3"),
        (broken, "must hold finite values"),
        (maps[:, 0], "as many axes as the model's input has sides, 2, or one more of channels"),
        (["a"] * 4, "A map must be an array of numbers or an explanation; got 'a'"),
        (np.zeros((4, 0, 3)), "must hold finite values, at least one"),
    ]:
        with pytest.raises(ValueError, match=message):
            metric(probe, given, **options)
    with pytest.raises(TypeError, match=r"probe must be a tfcam\.metrics\.Probe"):
        metric("model", maps, **options)


def test_what_is_not_scaled_must_have_the_size_of_the_input(probe, maps):
    with pytest.raises(ValueError, match=r"input's size, \(6, 6\); got \(3, 6\). With scaled=True"):
        infidelity(probe, maps[:, ::2], scaled=False)
    infidelity(probe, maps[:, ::2])
    assert infidelity(probe, maps, samples=3, scaled=False) == pytest.approx(
        infidelity(probe, maps[..., np.newaxis], samples=3, scaled=False), rel=ROUNDED
    )
