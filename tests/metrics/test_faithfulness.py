"""Faithfulness: hand arithmetic, laws, golden values, and float64 replicas with loops."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks
from tests.model import test_data_format
from tests.tolerances import ROUNDED
from tfcam.metrics import confidence, faithfulness
from tfcam.metrics.faithfulness import (
    adcc,
    average_drop,
    completeness_residual,
    confidence_change,
    faithfulness_correlation,
    harmonic_adcc,
    increase_in_confidence,
    removal,
    win,
)
from tfcam.metrics.probing import Probe, Replaced
from tfcam.metrics.ranking import ranks, top_pixels

SIDE = 6


def linear_probe(images, weights=None):
    """A model whose number is the sum of its pixels times weights (H, W)."""
    weights = np.full((SIDE, SIDE), 1 / SIDE**2) if weights is None else weights
    inputs = keras.Input((SIDE, SIDE, 1))
    dense = layers.Dense(1, use_bias=False)
    model = keras.Model(inputs, dense(layers.Flatten()(inputs)))
    dense.set_weights([weights.reshape(-1, 1)])
    return Probe(model, images, tfcam.Regression(), batch_size=5)


def classifier(seed=1, scale=1.0):
    """A small network that is not saturated, with three classes."""
    inputs = keras.Input((SIDE, SIDE, 2))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="features")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign(rng.normal(0, scale, variable.shape))
    return model


@pytest.fixture
def probe(rng):
    images = rng.normal(0, 2, (5, SIDE, SIDE, 2)).astype("f4")
    return Probe(classifier(), images, [0, 1, 2, 0, 1], batch_size=3)


@pytest.fixture
def heatmaps(rng):
    return rng.random((5, SIDE, SIDE)).astype("f4")


def probability(probe, image, which):
    """The network in float64, with loops."""
    kernel, bias = (w.astype(np.float64) for w in probe.model.get_layer("features").get_weights())
    weights, start = (w.astype(np.float64) for w in probe.model.get_layer("head").get_weights())
    padded = np.pad(image.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    total = np.zeros(4)
    for y in range(SIDE):
        for x in range(SIDE):
            seen = padded[y : y + 3, x : x + 3]
            total += np.maximum(np.einsum("abc,abck->k", seen, kernel) + bias, 0)
    logits = total / SIDE**2 @ weights + start
    return np.exp(logits[probe.targets[which]]) / np.exp(logits).sum()


def test_ranks_are_stable_and_the_top_is_exact(rng):
    assert ranks(np.array([[0.5, 0.1, 0.5]])).tolist() == [[0, 2, 1]]
    for heatmap in (np.ones((5, 7)), np.zeros((5, 7)), rng.integers(0, 3, (5, 7)) / 2):
        for fraction in (0, 0.25, 0.5, 0.77, 1):
            chosen = top_pixels(heatmap, fraction)
            assert chosen.sum() == round(fraction * 35)
            np.testing.assert_array_equal(chosen, ranks(heatmap) < round(fraction * 35))
        chosen = top_pixels(heatmap, 0.5)
        assert heatmap[chosen].min() >= heatmap[~chosen].max()
    assert top_pixels(np.ones((2, 4)), 0.5).tolist() == [[True] * 4, [False] * 4]


def test_the_metrics_are_their_formulas_in_float64(probe, heatmaps):
    for i in range(5):
        x, L = probe.inputs[i], heatmaps[i]
        Y = probability(probe, x, i)
        after = probability(probe, x * L[..., None], i)
        assert probe.probabilities[i] == pytest.approx(Y, rel=1e-5)
        assert average_drop(probe, heatmaps)[i] == pytest.approx(max(0, Y - after) / Y, abs=ROUNDED)
        assert increase_in_confidence(probe, heatmaps)[i] == float(after > Y)
        assert confidence_change(probe, heatmaps)[i] == pytest.approx(after - Y, abs=ROUNDED)
        order = sorted(range(SIDE**2), key=lambda n: (-L.ravel()[n], n))
        without = x.copy().reshape(-1, 2)
        without[order[:9]] = 0
        change = probability(probe, without.reshape(x.shape), i) - Y
        assert removal(probe, heatmaps)[i] == pytest.approx(change, abs=ROUNDED)
    assert 0 < increase_in_confidence(probe, heatmaps).sum() < 5  # both happen


def test_a_map_of_ones_loses_nothing_and_one_of_zeros_all(probe):
    ones, zeros = np.ones((5, SIDE, SIDE)), np.zeros((5, SIDE, SIDE))
    for function in (average_drop, increase_in_confidence, confidence_change):
        assert (function(probe, ones) == 0).all()
    empty = probe(np.zeros_like(probe.inputs), range(5))
    np.testing.assert_array_equal(confidence_change(probe, zeros), empty - probe.probabilities)
    drops = np.maximum(probe.probabilities - empty, 0) / probe.probabilities
    np.testing.assert_allclose(average_drop(probe, zeros), drops, rtol=1e-6)


def test_a_constant_model_changes_nothing(rng):
    model = classifier()
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel * 0, bias])
    probe = Probe(model, rng.normal(0, 1, (2, SIDE, SIDE, 2)).astype("f4"))
    maps = rng.random((2, SIDE, SIDE))
    for function in (average_drop, confidence_change, removal, faithfulness_correlation):
        options = {"size": 5} if function is faithfulness_correlation else {}
        assert function(probe, maps, **options).tolist() == [0, 0]


def test_falls_rises_and_ties_are_all_there_is(probe, heatmaps):
    maps = heatmaps.copy()
    maps[0] = 1
    drops, rises = average_drop(probe, maps), increase_in_confidence(probe, maps)
    ties = confidence_change(probe, maps) == 0
    assert (drops > 0).sum() + rises.sum() + ties.sum() == 5
    assert ((drops >= 0) & (drops <= 1)).all()


def test_the_scale_of_a_map_matters_to_drops_and_not_to_removal(probe, heatmaps):
    assert (average_drop(probe, heatmaps / 2) != average_drop(probe, heatmaps)).any()
    for monotone in (lambda L: L / 2, np.sqrt, lambda L: L**3):
        np.testing.assert_array_equal(removal(probe, monotone(heatmaps)), removal(probe, heatmaps))


def test_a_batch_is_each_image_alone(probe, heatmaps):
    model, images = probe.model, probe.inputs
    for function, options in [
        (average_drop, {}),
        (removal, {"fill": "noisy_linear"}),
        (removal, {"fill": "blur", "keep": True}),
        (faithfulness_correlation, {"subsets": 7, "size": 9}),
    ]:
        together = function(probe, heatmaps, **options)
        assert together.dtype == np.float32
        for i in range(5):
            alone = Probe(model, images[i : i + 1], int(probe.targets[i]))
            found = function(alone, heatmaps[i : i + 1], **options)
            assert found[0] == pytest.approx(together[i], abs=1e-5)


@pytest.mark.parametrize("fraction", [0, 0.25, 0.4, 1])
def test_exactly_that_many_pixels_are_removed(fraction):
    probe = linear_probe(np.ones((1, SIDE, SIDE, 1), np.float32))
    count = round(fraction * SIDE**2)
    for heatmap in (np.ones((1, SIDE, SIDE)), np.zeros((1, SIDE, SIDE))):
        fall = removal(probe, heatmap, fraction=fraction)[0]
        assert fall == pytest.approx(-count / SIDE**2, abs=ROUNDED)
        kept = removal(probe, heatmap, fraction=fraction, keep=True)[0]
        assert kept == pytest.approx(count / SIDE**2 - 1, abs=ROUNDED)


def test_removal_by_each_fill_by_hand(rng):
    image = rng.random((1, SIDE, SIDE, 1)).astype("f4")
    probe = linear_probe(image)
    heatmap = rng.random((1, SIDE, SIDE))
    removed = top_pixels(heatmap[0].astype("f4"), 0.25)
    gone = image[0, removed].sum()
    assert removal(probe, heatmap)[0] == pytest.approx(-gone / 36, abs=ROUNDED)
    mean = (9 * image.mean() - gone) / 36
    assert removal(probe, heatmap, fill="mean")[0] == pytest.approx(mean, abs=ROUNDED)
    one, same, other = (removal(probe, heatmap, fill="noisy_linear", seed=n) for n in (1, 1, 2))
    assert one == same != other


def test_of_heatmaps_of_pictures_those_at_the_models_size_count(rng):
    scene = tfcam.scenes.draw_scene(3)
    picture = np.repeat(np.repeat(scene.image, 2, 0), 3, 1)
    model = tfcam.demo_model()
    result = tfcam.explain(model, [picture])
    probe = Probe(model, [picture])
    assert result[0].heatmap.shape == (256, 384)
    resized = tfcam.maps.resize(result[0].heatmap, (128, 128))
    for function in (average_drop, removal):
        assert function(probe, result) == function(probe, resized[np.newaxis])
        assert function(probe, result[0]) == function(probe, [result[0].heatmap])


def test_wins_by_hand():
    assert win(np.array([0.1, 0.2, 0.3, 0.0]), np.array([0.2, 0.1, 0.3, 0.0])) == (0.25, 0.25, 0.5)
    drops = np.random.default_rng(0).integers(0, 3, (2, 50)) / 2
    assert sum(win(*drops)) == pytest.approx(1)
    assert win(*drops)[:2] == win(*drops[::-1])[1::-1]
    for a, b in [(np.zeros(2), np.zeros(3)), (np.zeros(0), np.zeros(0))]:
        with pytest.raises(ValueError, match="of the same images"):
            win(a, b)


def test_the_correlation_of_a_linear_model_is_exactly_one(rng):
    weights = rng.random((SIDE, SIDE))
    images = rng.random((3, SIDE, SIDE, 1)).astype("f4")
    probe = linear_probe(images, weights)
    given = images[..., 0] * weights
    given /= given.max()
    options = {"size": 8, "subsets": 40}
    np.testing.assert_allclose(faithfulness_correlation(probe, given, **options), 1, atol=1e-5)
    against = faithfulness_correlation(probe, 1 - given, **options)
    np.testing.assert_allclose(against, -1, atol=1e-5)  # each set has as many pixels
    assert (faithfulness_correlation(probe, np.full((3, SIDE, SIDE), 0.3), **options) == 0).all()


def test_the_correlation_is_that_of_signs(rng):
    weights = rng.normal(size=(SIDE, SIDE))
    images = rng.random((3, SIDE, SIDE, 1)).astype("f4")
    probe, given = linear_probe(images, weights), images[..., 0] * weights
    options = {"size": 8, "subsets": 40}
    np.testing.assert_allclose(faithfulness_correlation(probe, given, **options), 1, atol=1e-5)
    assert (faithfulness_correlation(probe, np.maximum(given, 0), **options) < 0.95).all()


def test_the_correlation_with_loops(probe, heatmaps):
    found = faithfulness_correlation(probe, heatmaps, subsets=12, size=7, seed=3)
    rng = np.random.default_rng(3)
    sets = [rng.choice(SIDE**2, 7, replace=False) for _ in range(12)]
    for i in range(5):
        falls, shown = [], []
        for S in sets:
            without = probe.inputs[i].copy().reshape(-1, 2)
            without[S] = 0
            p = probability(probe, without.reshape(SIDE, SIDE, 2), i)
            falls.append(probability(probe, probe.inputs[i], i) - p)
            shown.append(heatmaps[i].ravel()[S].sum())
        assert found[i] == pytest.approx(np.corrcoef(falls, shown)[0, 1], abs=1e-4)


def test_adcc_has_the_golden_value():
    golden = harmonic_adcc(np.array([0.2]), np.array([0.9]), np.array([0.3]))
    assert golden[0] == pytest.approx(0.791623, abs=ROUNDED)
    assert harmonic_adcc(np.zeros(1), np.ones(1), np.zeros(1))[0] == 1
    for worst in [(1, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 1)]:
        assert harmonic_adcc(*np.array(worst, float)[:, np.newaxis])[0] == 0


def test_adcc_is_its_formula(probe, heatmaps, rng):
    again = rng.random((5, SIDE, SIDE)).astype("f4")
    again[4] = 0.5
    asked = []
    found = adcc(probe, heatmaps, lambda images: (asked.append(images), again)[1])
    np.testing.assert_array_equal(asked[0], probe.inputs * heatmaps[..., np.newaxis])
    np.testing.assert_array_equal(found.average_drop, average_drop(probe, heatmaps))
    for i in range(4):
        coherency = (1 + np.corrcoef(heatmaps[i].ravel(), again[i].ravel())[0, 1]) / 2
        complexity = np.abs(heatmaps[i]).sum() / SIDE**2
        parts = [1 / coherency, 1 / (1 - complexity), 1 / (1 - found.average_drop[i])]
        assert found.adcc[i] == pytest.approx(3 / sum(parts), rel=1e-5)
        assert found.coherency[i] == pytest.approx(coherency, rel=1e-5)
    assert found.coherency[4] == found.adcc[4] == 0  # a constant map coheres with nothing


def test_adcc_of_a_map_of_ones_is_the_worst(probe):
    ones = np.ones((5, SIDE, SIDE))
    assert (adcc(probe, ones, lambda images: ones).adcc == 0).all()


@pytest.mark.thinned(1)
@pytest.mark.parametrize("preprocess", ["auto", "raw"])
def test_an_explainer_explains_the_masked_image_of_the_same_class(preprocess):
    scenes = [tfcam.scenes.draw_scene(n, shapes=2) for n in range(3)]
    model, images = tfcam.demo_model(), [each.image for each in scenes]
    targets = [each.labels[1] for each in scenes]
    explainer = tfcam.Explainer(model, preprocess=preprocess)
    probe, first = Probe(model, images, targets), explainer(images, targets)
    seen = probe.inputs * first.heatmaps[..., np.newaxis]
    again = tfcam.explain(model, seen, target=targets, preprocess=None).heatmaps
    wanted = adcc(probe, first, lambda images: again)
    np.testing.assert_allclose(adcc(probe, first, explainer), wanted, rtol=1e-4)


def test_an_explainer_gets_the_other_inputs_and_the_channels_where_the_model_has_them(rng):
    image, number = keras.Input((SIDE, SIDE, 2), name="image"), keras.Input((2,), name="number")
    x = layers.Conv2D(3, 3, activation="relu", name="features")(image)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), number])
    model = keras.Model({"image": image, "number": number}, layers.Dense(3)(x))
    given = {
        "image": rng.normal(0, 1, (3, SIDE, SIDE, 2)).astype("f4"),
        "number": rng.normal(0, 1, (3, 2)).astype("f4"),
    }
    explainer = tfcam.Explainer(model, "features")
    probe = Probe(model, given, target=1)
    again = probe.as_given(probe.inputs)
    assert set(again) == set(given)
    for name in given:
        np.testing.assert_array_equal(again[name], given[name])
    heatmaps = explainer(given, [1, 1, 1]).heatmaps
    assert np.isfinite(adcc(probe, heatmaps, explainer).adcc).all()
    with pytest.raises(ValueError, match="the target is a callable"):
        adcc(Probe(model, given, lambda outputs: outputs[:, 0] ** 2), heatmaps, explainer)


def test_hires_cam_and_integrated_gradients_are_complete():
    model, images = networks.flat(), networks.pictures(3)
    results = tfcam.explain(model, images, "features", method="hires_cam")
    bias = model.get_layer("head").get_weights()[1][[each.target for each in results]]
    scores = np.array([each.score for each in results])
    residual = completeness_residual(results, without=bias)
    assert (residual < 1e-5 * np.abs(scores)).all()
    np.testing.assert_allclose(completeness_residual(results), np.abs(bias), atol=1e-4)
    paths = tfcam.explain(model, images, method="integrated_gradients")
    wanted = [abs(each.measured["completeness_error"]) for each in paths]
    np.testing.assert_allclose(completeness_residual(paths), wanted, rtol=1e-6)


def test_what_is_no_probability_has_no_drop(rng):
    probe = linear_probe(-np.ones((1, SIDE, SIDE, 1), np.float32))
    with pytest.raises(ValueError, match="the target's number is -1. Use confidence_change"):
        average_drop(probe, np.ones((1, SIDE, SIDE)))


def test_bad_input_is_one_clear_error(probe, heatmaps):
    for given, message in [
        (heatmaps[:4], "one heatmap for each image, 5; got 4"),
        (heatmaps[0], "one heatmap for each image, 5; got 6"),
        (heatmaps * 2, "in \\[0, 1\\]"),
        (heatmaps[:, 0], "as many axes as the model's input has sides, 2"),
    ]:
        for function in (average_drop, confidence_change, removal):
            with pytest.raises(ValueError, match=message):
                function(probe, given)
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="must be in \\[0, 1\\]"):
            removal(probe, heatmaps, fraction=fraction)
    with pytest.raises(ValueError, match="fill must be one of"):
        removal(probe, heatmaps, fill="grey")
    for options in ({"size": 36}, {"size": 0}, {"size": 5, "subsets": 1}):
        with pytest.raises(ValueError, match="at least 2 subsets, of 1 to 35 pixels"):
            faithfulness_correlation(probe, heatmaps, **options)


def test_one_masked_image_exists_at_a_time(probe, heatmaps):
    largest = []
    ask = Probe.__call__

    def counting(self, variants, index):
        made = isinstance(variants, Replaced)
        rows = variants.hidden if made else variants
        watched = (largest.append(each.nbytes) or each for each in rows)
        return ask(self, replace(variants, hidden=watched) if made else watched, index)

    Probe.__call__ = counting
    try:
        for function in (average_drop, removal):
            function(probe, heatmaps)
        faithfulness_correlation(probe, heatmaps, size=3, subsets=4)
    finally:
        Probe.__call__ = ask
    assert len(largest) == 5 + 5 + 20
    assert max(largest) == probe.inputs[0].nbytes


@pytest.mark.parametrize("kind", [confidence.AverageDrop, confidence.IncreaseInConfidence])
def test_metrics_of_keras_add_up_to_the_mean_and_are_serialisable(kind, rng):
    before, after = rng.random((2, 30)).astype("f4")
    before[3] = 0
    metric = kind()
    for part in (slice(0, 7), slice(7, 30)):
        metric.update_state(before[part], after[part, np.newaxis])
    drops = kind is confidence.AverageDrop
    each = (confidence.relative_drop if drops else confidence.confidence_increased)(before, after)
    assert float(metric.result()) == pytest.approx(np.mean(each), rel=1e-5)
    again = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(again) is kind
    assert again.name == metric.name
    assert again.get_config() == metric.get_config()
    metric.reset_state()
    assert float(metric.result()) == 0


def test_metrics_of_keras_work_in_evaluate(rng):
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[0.5]], np.float32)])
    model.compile(loss="mse", metrics=[confidence.AverageDrop(), confidence.IncreaseInConfidence()])
    values = rng.random((20, 1)).astype("f4")
    results = model.evaluate(values, values[:, 0] * 0.75, batch_size=8, verbose=0, return_dict=True)
    assert results["average_drop"] == pytest.approx(1 / 3, rel=1e-5)
    assert results["increase_in_confidence"] == 0


def test_the_drop_by_hand():
    drop = np.asarray(confidence.relative_drop([0.8, 0.5, 0.0, 0.0], [0.2, 0.9, 0.0, 0.3]))
    np.testing.assert_allclose(drop, [0.75, 0, 0, 0], rtol=1e-6)
    assert np.asarray(
        confidence.confidence_increased([0.8, 0.5, 0.5], [0.2, 0.9, 0.5])
    ).tolist() == [0, 1, 0]


@pytest.mark.slow
def test_real_photos(data, mobilenet):
    files = sorted((data / "images/imagenet").glob("*.JPEG"))[:8]
    results = tfcam.explain(mobilenet, files, method="cam")
    probe = Probe(mobilenet, files, batch_size=8)
    assert probe.targets.tolist() == [each.target for each in results]
    most, least = removal(probe, results), removal(probe, [1 - r.heatmap for r in results])
    assert most.mean() < least.mean() - 0.05  # the map's top quarter counts for more
    drops = average_drop(probe, results)
    masked = faithfulness.masked_images(probe, results)
    after = mobilenet(masked).numpy()[np.arange(8), probe.targets]
    wanted = np.maximum(probe.probabilities - after, 0) / probe.probabilities
    np.testing.assert_allclose(drops, wanted, atol=1e-4)


def test_a_model_with_channels_first_is_measured_as_its_twin():
    last, first = test_data_format.twins()
    channels_last, channels_first = test_data_format.INPUTS, test_data_format.FIRST
    results = tfcam.explain(last, channels_last, "second")
    here, there = Probe(last, channels_last), Probe(first, channels_first)
    np.testing.assert_array_equal(here.inputs, there.inputs)
    np.testing.assert_array_equal(there.as_given(there.inputs), channels_first)
    np.testing.assert_allclose(here.probabilities, there.probabilities, rtol=1e-4)
    for function in (average_drop, removal):
        np.testing.assert_allclose(function(here, results), function(there, results), atol=1e-5)
    one = adcc(here, results, tfcam.Explainer(last, "second"))
    other = adcc(there, results, tfcam.Explainer(first, "second"))
    np.testing.assert_allclose(one, other, atol=1e-4)
