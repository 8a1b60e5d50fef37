"""Insertion, deletion and ROAD: hand arithmetic, laws, and float64 replicas with loops."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks
from tfcam.metrics.curves import (
    FRACTIONS,
    RATIONALES,
    Curve,
    comprehensiveness,
    deletion,
    insertion,
    road,
    road_lerf,
    road_morf,
    sufficiency,
)
from tfcam.metrics.faithfulness import removal
from tfcam.metrics.imputation import impute
from tfcam.metrics.probing import Probe, Replaced

SIDE = 6
STEPPED = (deletion, insertion)
ROADS = (road_morf, road_lerf, road)


def points(result):
    """The curve's probabilities, or the numbers themselves."""
    return result.probabilities if isinstance(result, Curve) else result


def mean_probe(images):
    """A model whose number is the mean of its pixels."""
    inputs = keras.Input((SIDE, SIDE, 1))
    dense = layers.Dense(1, use_bias=False)
    model = keras.Model(inputs, dense(layers.Flatten()(inputs)))
    dense.set_weights([np.full((SIDE**2, 1), 1 / SIDE**2)])
    return Probe(model, images, tfcam.Regression(), batch_size=7)


@pytest.fixture
def probe():
    return Probe(networks.flat(), networks.pictures(3), [0, 1, 2], batch_size=4)


@pytest.fixture
def heatmaps(rng):
    return rng.random((3, 12, 12)).astype("f4")


def test_the_area_is_that_of_rise_where_steps_are_equal(rng):
    scores = rng.random((4, 9))
    area = Curve(np.linspace(0, 1, 9), scores).area
    wanted = [(s.sum() - s[0] / 2 - s[-1] / 2) / (len(s) - 1) for s in scores]
    np.testing.assert_allclose(area, wanted, rtol=1e-6)
    assert Curve(np.array([0, 0.5, 1]), np.array([[1, 0.5, 0]])).area[0] == 0.5
    # 0.8 (1 + 0) / 2 + 0.2 (0 + 1) / 2, where steps are not; in steps it would be 0.5 as well.
    assert Curve(np.array([0, 0.8, 1]), np.array([[1, 0, 0.5]])).area[0] == np.float32(0.45)
    assert Curve(np.array([0.1, 0.5]), np.array([[0.3, 0.5]])).area[0] == np.float32(0.4)


@pytest.mark.parametrize("steps", [1, 5, 28, 36])
def test_of_a_mean_the_curves_are_straight_lines(steps):
    probe = mean_probe(np.ones((2, SIDE, SIDE, 1), np.float32))
    maps = np.stack([np.ones((SIDE, SIDE)), np.eye(SIDE)])
    down = deletion(probe, maps, steps=steps)
    up = insertion(probe, maps, steps=steps, fill="zero")
    assert down.probabilities.shape == (2, steps + 1)
    np.testing.assert_array_equal(down.fractions * 36, np.round(down.fractions * 36))
    np.testing.assert_allclose(down.probabilities, [1 - down.fractions] * 2, atol=1e-6)
    np.testing.assert_allclose(up.probabilities, [up.fractions] * 2, atol=1e-6)
    np.testing.assert_allclose(down.area, 0.5, atol=1e-6)
    np.testing.assert_allclose(up.area, 0.5, atol=1e-6)


def test_deletion_by_hand_in_the_order_of_the_map_and_of_reading():
    image = np.arange(36, dtype=np.float32).reshape(1, SIDE, SIDE, 1)
    probe = mean_probe(image)
    rising = deletion(probe, image[..., 0] / 35, steps=36).probabilities[0]
    wanted = [sum(range(36 - removed)) / 36 for removed in range(37)]
    np.testing.assert_allclose(rising, wanted, atol=1e-4)
    ties = deletion(probe, np.full((1, SIDE, SIDE), 0.7), steps=36).probabilities[0]
    wanted = [sum(range(removed, 36)) / 36 for removed in range(37)]
    np.testing.assert_allclose(ties, wanted, atol=1e-4)


def test_the_curves_with_loops(probe, heatmaps):
    model, pixels = probe.model, 144
    for function, fill in [(deletion, "zero"), (insertion, "blur"), (deletion, "mean")]:
        found = function(probe, heatmaps, steps=6, fill=fill)
        for i in range(3):
            order = sorted(range(pixels), key=lambda n: (-heatmaps[i].ravel()[n], n))
            image = probe.inputs[i].reshape(pixels, 3)
            other = impute(probe.inputs[i], np.ones((12, 12), bool), fill).reshape(pixels, 3)
            start, end = (image, other) if function is deletion else (other, image)
            current, wanted = start.copy(), []
            for step in range(7):
                for n in order[: step * 24]:
                    current[n] = end[n]
                output = model(current.reshape(1, 12, 12, 3), training=False).numpy()[0]
                wanted.append(output[probe.targets[i]])
            np.testing.assert_allclose(found.probabilities[i], wanted, rtol=1e-4, atol=1e-7)


def test_curves_begin_and_end_where_they_must(probe, heatmaps):
    down, up = deletion(probe, heatmaps), insertion(probe, heatmaps)
    everything = np.ones((12, 12), bool)
    blurred = np.stack([impute(each, everything, "blur") for each in probe.inputs])
    np.testing.assert_allclose(down.probabilities[:, 0], probe.probabilities, rtol=1e-5)
    np.testing.assert_allclose(up.probabilities[:, -1], probe.probabilities, rtol=1e-5)
    empty = probe(np.zeros_like(probe.inputs), range(3))
    np.testing.assert_allclose(down.probabilities[:, -1], empty, rtol=1e-5)
    np.testing.assert_allclose(up.probabilities[:, 0], probe(blurred, range(3)), rtol=1e-5)
    for curve in (down, up):
        assert curve.fractions[[0, -1]].tolist() == [0, 1]


@pytest.mark.parametrize("function", [*STEPPED, *ROADS])
@pytest.mark.thinned(2, rest="slow")
def test_only_the_order_counts(probe, heatmaps, function):
    wanted = points(function(probe, heatmaps))
    for monotone in (lambda L: L / 3, np.sqrt, lambda L: 0.2 + 0.5 * L**3):
        np.testing.assert_array_equal(points(function(probe, monotone(heatmaps))), wanted)


@pytest.mark.parametrize("function", [*STEPPED, *ROADS])
def test_a_constant_model_has_flat_curves(rng, heatmaps, function):
    model = networks.flat()
    weights, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([weights * 0, bias])
    probe = Probe(model, networks.pictures(3))
    found = function(probe, heatmaps)
    if function is road:
        assert found.tolist() == [0, 0, 0]
    else:
        np.testing.assert_allclose(found.probabilities, probe.probabilities[0], rtol=1e-6)
        np.testing.assert_allclose(found.area, probe.probabilities, rtol=1e-6)


@pytest.mark.parametrize("function", [*STEPPED, *ROADS])
def test_a_batch_is_each_image_alone(probe, heatmaps, function):
    together = points(function(probe, heatmaps))
    for i in range(3):
        alone = Probe(probe.model, probe.inputs[i : i + 1], int(probe.targets[i]))
        found = points(function(alone, heatmaps[i : i + 1]))
        np.testing.assert_allclose(found[0], together[i], rtol=1e-5, atol=1e-7)


def test_road_removes_the_fraction_that_it_says_from_either_end():
    image = np.zeros((1, SIDE, SIDE, 1), np.float32)
    image[0, :2] = 1  # a third
    probe = mean_probe(image)
    heatmap = image[..., 0]
    options = {"fractions": [0, 1 / 6, 1 / 3, 2 / 3], "fill": "zero"}
    most, least = (f(probe, heatmap, **options) for f in (road_morf, road_lerf))
    np.testing.assert_allclose(most.fractions * 36, [0, 6, 12, 24])
    np.testing.assert_allclose(most.probabilities[0], [1 / 3, 1 / 6, 0, 0], atol=1e-6)
    np.testing.assert_allclose(least.probabilities[0], [1 / 3] * 4, atol=1e-6)
    combined = road(probe, heatmap, **options)[0]
    assert combined == pytest.approx((0 + 1 / 6 + 1 / 3 + 1 / 3) / 4 / 2, abs=1e-6)
    against = road(probe, 1 - heatmap, **options)[0]
    assert against == pytest.approx(-combined, abs=1e-6)


def test_road_asks_for_both_orders_in_the_same_batches(probe, heatmaps, monkeypatch):
    function, asked = probe._asked(4), []
    counted = {4: lambda *batch: asked.append(batch) or function(*batch)}
    monkeypatch.setattr(probe, "_asked", counted.__getitem__)
    road(probe, heatmaps, fractions=[0.3, 0.6])
    assert len(asked) == 3  # 12 pictures, 4 at once


def test_road_is_seeded_and_half_the_difference_of_its_means(probe, heatmaps):
    one, same, other = (road_morf(probe, heatmaps, seed=n).probabilities for n in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    most, least = (f(probe, heatmaps).probabilities.mean(axis=1) for f in (road_morf, road_lerf))
    np.testing.assert_allclose(road(probe, heatmaps), (least - most) / 2, atol=1e-6)
    assert road_morf(probe, heatmaps).fractions == pytest.approx(
        [round(each * 144) / 144 for each in FRACTIONS]
    )


def test_a_variant_is_made_when_it_is_asked_for(probe, heatmaps):
    largest, ahead, ask = [], [], Probe.__call__

    def counting(self, variants, index):
        def watched(rows):
            for made, each in enumerate(rows):
                largest.append(each.nbytes)
                ahead.append(made)
                yield each

        asked = self._asked
        batches = []

        def seen(*given):
            batches.append(len(ahead))
            return asked(len(given[0]))(*given)

        self._asked = lambda size: seen
        try:
            if isinstance(variants, Replaced):
                return ask(self, replace(variants, hidden=watched(variants.hidden)), index)
            return ask(self, watched(variants), index)
        finally:
            self._asked = asked
            assert np.diff([0, *batches]).max() <= 4  # no more than a batch was made between two

    Probe.__call__ = counting
    try:
        for function in (deletion, insertion, road_morf):
            ahead.clear()
            function(probe, heatmaps)
    finally:
        Probe.__call__ = ask
    assert max(largest) == probe.inputs[0].nbytes
    assert len(largest) == 3 * (29 + 29 + 9)


def test_a_series_can_be_deleted(rng):
    inputs = keras.Input((10, 2))
    x = layers.Conv1D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    probe = Probe(model, rng.normal(0, 1, (2, 10, 2)).astype("f4"))
    curve = deletion(probe, rng.random((2, 10)), steps=10)
    np.testing.assert_allclose(curve.probabilities[:, 0], probe.probabilities, rtol=1e-5)
    with pytest.raises(ValueError, match="for images \\(H, W, C\\)"):
        insertion(probe, rng.random((2, 10)), steps=10)


def test_bad_input_is_one_clear_error(probe, heatmaps):
    for function in STEPPED:
        for steps in (0, 145, 2.5, True):
            with pytest.raises(ValueError, match="whole number in 1..144"):
                function(probe, heatmaps, steps=steps)
        with pytest.raises(ValueError, match="no pixel is left"):
            function(probe, heatmaps, fill="noisy_linear")
        with pytest.raises(ValueError, match="fill must be one of"):
            function(probe, heatmaps, fill="grey")
    for fractions in ([], [0.5, 0.5], [0.5, 0.2]):
        with pytest.raises(ValueError, match="fractions must rise"):
            road_morf(probe, heatmaps, fractions=fractions)
    with pytest.raises(ValueError, match="must be in \\[0, 1\\]; got 1.5"):
        road_lerf(probe, heatmaps, fractions=[0.5, 1.5])
    with pytest.raises(ValueError, match="none is. Remove fewer"):
        road_morf(probe, heatmaps, fractions=[1.0])


@pytest.mark.slow
def test_real_photos(data, mobilenet):
    files = sorted((data / "images/imagenet").glob("*.JPEG"))[:3]
    results = tfcam.explain(mobilenet, files, method="cam")
    probe = Probe(mobilenet, files)
    against = [1 - each.heatmap for each in results]
    assert (deletion(probe, results, steps=8).area < deletion(probe, against, steps=8).area).all()
    assert (insertion(probe, results, steps=8).area > insertion(probe, against, steps=8).area).all()
    assert road(probe, results, fractions=[0.3, 0.6]).mean() > 0


# AOPC, comprehensiveness, sufficiency


def test_aopc_by_hand():
    curve = Curve(np.linspace(0, 1, 4), np.array([[0.8, 0.5, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(curve.aopc, [(0 + 0.3 + 0.6 + 0.7) / 4, 0], atol=1e-7)
    assert curve.aopc.dtype == np.float32


def test_aopc_of_a_deletion_is_the_mean_fall(probe, heatmaps):
    curve = deletion(probe, heatmaps, steps=6)
    falls = probe.probabilities[:, np.newaxis] - curve.probabilities
    np.testing.assert_allclose(curve.aopc, falls.mean(axis=1), atol=1e-6)


def test_aopc_needs_the_unchanged_image(probe, heatmaps):
    with pytest.raises(ValueError, match="must begin at the fraction 0; it begins at 0.0972"):
        _ = road_morf(probe, heatmaps).aopc
    curve = road_morf(probe, heatmaps, fractions=[0.0, 0.5], fill="zero")
    np.testing.assert_allclose(curve.aopc, -np.diff(curve.probabilities)[:, 0] / 2, atol=1e-6)


def test_rationales_of_a_linear_model_by_hand():
    image = np.zeros((1, SIDE, SIDE, 1), np.float32)
    image[0, :2] = 3  # a third of the pixels, the mean is 1
    probe, found = mean_probe(image), image[..., 0] / 3
    assert comprehensiveness(probe, found, fractions=[1 / 6]) == pytest.approx(0.5)
    assert sufficiency(probe, found, fractions=[1 / 6]) == pytest.approx(0.5)
    options = {"fractions": [1 / 6, 1 / 3, 0.5]}
    assert comprehensiveness(probe, found, **options) == pytest.approx((0.5 + 1 + 1) / 3)
    assert sufficiency(probe, found, **options) == pytest.approx((0.5 + 0 + 0) / 3)
    assert comprehensiveness(probe, 1 - found, **options) == pytest.approx(0, abs=1e-6)
    assert sufficiency(probe, 1 - found, **options) == pytest.approx(1)
    mean = {"fill": "mean", "fractions": [1 / 3]}
    assert comprehensiveness(probe, found, **mean) == pytest.approx(1 - 1 / 3)
    assert sufficiency(probe, found, **mean) == pytest.approx(1 - 5 / 3)


def test_rationales_are_the_mean_of_removals(probe, heatmaps):
    removed = [removal(probe, heatmaps, fraction=r) for r in RATIONALES]
    kept = [removal(probe, heatmaps, fraction=r, keep=True) for r in RATIONALES]
    found = comprehensiveness(probe, heatmaps), sufficiency(probe, heatmaps)
    np.testing.assert_allclose(found[0], -np.mean(removed, axis=0), atol=1e-6)
    np.testing.assert_allclose(found[1], -np.mean(kept, axis=0), atol=1e-6)
    for metric in (comprehensiveness, sufficiency):
        assert metric(probe, heatmaps).dtype == np.float32
        np.testing.assert_array_equal(metric(probe, heatmaps), metric(probe, heatmaps**3))
    assert (sufficiency(probe, heatmaps, fractions=[1.0]) == 0).all()
    assert (comprehensiveness(probe, heatmaps, fractions=[0.0]) == 0).all()


@pytest.mark.parametrize("metric", [comprehensiveness, sufficiency])
def test_rationales_of_wrong_fractions_are_refused(probe, heatmaps, metric):
    for fractions in ([], [0.5, 0.2], [0.2, 0.2]):
        with pytest.raises(ValueError, match="fractions must rise"):
            metric(probe, heatmaps, fractions=fractions)
    for fraction in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
            metric(probe, heatmaps, fractions=[fraction])
