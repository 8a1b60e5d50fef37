"""Which layer and method is best: ranks by hand, and what is said of them."""

import inspect
import itertools

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from scipy import stats

import tfcam
from tests.coverage import false_claims
from tfcam.engine.candidate_layers import candidate_layers
from tfcam.engine.opened_model import open_model
from tfcam.evaluation.ranking import rank_candidates
from tfcam.evaluation.statistics import holm, wilcoxon

METRICS = [("insertion", {"steps": 4}), ("deletion", {"steps": 4})]


def rows(values, metric="insertion"):
    """A table of pictures x methods."""
    return pd.DataFrame(
        [
            (f"{place}", f"m{number}", "x", metric, value)
            for place, row in enumerate(values)
            for number, value in enumerate(row)
        ],
        columns=["image", "method", "layer", "metric", "value"],
    )


def test_ranks_by_hand():
    # Places by picture: 1 2 3, 1 3 2, then 1.5 1.5 3.
    found = rank_candidates(
        rows([[0.9, 0.5, 0.1], [0.9, 0.1, 0.5], [0.4, 0.4, 0.1]]), {"insertion": "higher"}
    )
    assert found.method.tolist() == ["m0", "m1", "m2"]
    assert found["rank"].to_numpy() == pytest.approx([3.5 / 3, 6.5 / 3, 8 / 3])
    assert found.p.iloc[0] == 1
    assert not found.differs.any()  # three pictures prove nothing


def test_a_lower_value_is_better_where_the_metric_says_so():
    values = [[0.1, 0.5], [0.2, 0.9]]
    table = pd.concat([rows(values, "deletion"), rows(values, "insertion")])
    for better, best in (({"deletion": "lower"}, "m0"), ({"deletion": "higher"}, "m1")):
        part = table[table.metric == "deletion"]
        assert rank_candidates(part, better).method.iloc[0] == best
    both = rank_candidates(table, {"deletion": "lower", "insertion": "higher"})
    assert both["rank"].tolist() == [1.5, 1.5]


def test_p_is_of_each_pictures_mean_rank_corrected_for_all_pairs(rng):
    values = rng.random((12, 4)) + np.array([0.6, 0.3, 0, 0.1])
    found = rank_candidates(rows(values), {"insertion": "higher"})
    places = stats.rankdata(-values, axis=1)
    order = np.argsort(places.mean(axis=0), kind="stable")
    assert found.method.tolist() == [f"m{n}" for n in order]
    assert found["rank"].to_numpy() == pytest.approx(places.mean(axis=0)[order])
    pairs = list(itertools.combinations(order, 2))
    wanted = holm([wilcoxon(places[:, a], places[:, b]) for a, b in pairs])[:3]
    assert found.p.to_numpy() == pytest.approx([1, *wanted])
    assert (found.differs == (found.p < 0.05)).all()
    assert (found[["n", "shared"]] == 12).all(axis=None)


def test_a_method_with_missing_values_changes_nothing_between_others(rng):
    values = rng.random((20, 3)) + np.array([0.5, 0, 0.2])
    pair = rank_candidates(rows(values[:, :2]), {"insertion": "higher"})
    values[3:, 2] = np.nan
    found = rank_candidates(rows(values), {"insertion": "higher"}).set_index("method")
    assert found.n.to_dict() == {"m0": 20, "m1": 20, "m2": 3}
    assert found.shared.to_dict() == {"m0": 20, "m1": 20, "m2": 3}
    assert found.p["m1"] <= 3 * pair.p[1]
    assert found.differs["m1"]
    # One more than the share of pictures lost to each of the others, half of those that it lacks.
    lost = (values[:, 1] > values[:, 0]).sum() + (values[:3, 2] > values[:3, 0]).sum() + 17 / 2
    assert found["rank"]["m0"] == pytest.approx(1 + lost / 20)


def test_values_that_differ_by_rounding_share_a_rank(rng):
    first = rng.random(20)
    values = np.stack([first, first + 1e-9, first - 0.1], axis=1)
    found = rank_candidates(rows(values), {"insertion": "higher"})
    assert found["rank"].tolist() == [1.5, 1.5, 3]
    assert found.differs.tolist() == [False, False, True]


@pytest.mark.parametrize("methods", [8, 20])
@pytest.mark.slow
def test_of_methods_that_are_all_alike_none_is_said_to_differ(methods):
    # 0.05 and two standard errors of 100 tables; the best is chosen on the same pictures.
    assert false_claims(methods, 12, 100) <= 0.09


def test_without_numbers_nothing_is_ranked():
    with pytest.raises(ValueError, match="numbers for two of them on the same picture"):
        rank_candidates(rows([[np.nan, 1.0]]), {"insertion": "higher"})
    with pytest.raises(ValueError, match="numbers for two of them on the same picture"):
        rank_candidates(rows([[1.0]]).iloc[:0], {"insertion": "higher"})


def test_the_layers_are_the_default_one_and_the_last_of_larger_maps():
    found = candidate_layers(open_model(tfcam.demo_model()))
    sizes = {each.path: each.shape[0] for each in tfcam.layers(tfcam.demo_model())}
    assert found[0] == "features"
    assert len(found) == 3
    heights = [sizes[each] for each in found]
    assert all(later >= 1.5 * earlier for earlier, later in itertools.pairwise(heights))


class Scaled(layers.Layer):
    """Scaling of one's own, by what it has learnt."""

    def build(self, shape):
        self.by = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.by / 255


@pytest.mark.parametrize(
    "scaling",
    [
        [layers.Rescaling(1 / 255)],
        [layers.Rescaling(2.0), layers.ZeroPadding2D(2), layers.BatchNormalization()],
        [Scaled(), layers.Activation("tanh")],
        [lambda x: keras.ops.divide(x, 255.0)],
    ],
    ids=["rescaling", "several", "own", "operation"],
)
def test_a_layer_that_only_scales_pixels_is_no_candidate(scaling):
    x = inputs = keras.Input((32, 32, 3))
    for step in scaling:
        x = step(x)
    for name in ("first", "second"):
        x = layers.Conv2D(4, 3, strides=2, padding="same", name=name)(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert candidate_layers(open_model(model)) == ["second", "first"]


@pytest.fixture
def seen(monkeypatch):
    """What evaluate is asked for, which then ends."""
    seen = {}

    def spied(model, data, **options):
        seen.update(options)
        raise RuntimeError("asked")

    monkeypatch.setitem(tfcam.recommend.__globals__, "evaluate", spied)
    return seen


@pytest.mark.parametrize(("methods", "count"), [(["cam", "grad_cam"], 1), (["grad_cam"], 3)])
def test_cam_is_tried_where_it_applies(seen, methods, count):
    with pytest.raises(RuntimeError, match="asked"):
        tfcam.recommend(tfcam.demo_model(), "folder", methods=methods)
    assert seen["layer"][0] == "features"
    assert len(seen["layer"]) == count


def test_what_evaluate_takes_too_is_handed_on(seen):
    taken = [set(inspect.signature(each).parameters) for each in (tfcam.evaluate, tfcam.recommend)]
    options = {"split": "train", "batch_size": 3, "seed": 5, "score": "probability", "tile": 64}
    with pytest.raises(RuntimeError, match="asked"):
        tfcam.recommend(tfcam.demo_model(), "folder", **options)
    assert options.items() <= seen.items()
    assert set.intersection(*taken) - {"model", "data"} <= set(seen)


@pytest.mark.slow
def test_what_is_best_and_whether_it_is_sure():
    model = tfcam.demo_model()
    pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(8)]
    found = tfcam.recommend(
        model, pictures, methods=["grad_cam", "eigen_cam"], metrics=METRICS, batch_size=8
    )
    best = found.table.iloc[0]
    assert (found.method, found.layer) == (best.method, best.layer)
    assert found.table["rank"].is_monotonic_increasing
    assert len(found.table) == 6
    insertion = found.evaluation.table.query(
        "method == @found.method and layer == @found.layer and metric == 'insertion(steps=4)'"
    )["value"]
    assert f"insertion {insertion.mean():.3f} [" in found.sentence
    assert "explains shapes best on these 8 pictures" in found.sentence
    sure = "is significant" if found.table.differs.iloc[1] else "is not significant (p = "
    assert sure in found.sentence
    assert found.sentence in repr(found)
    assert found.sentence in found._repr_html_()


@pytest.mark.slow
def test_too_few_pictures_are_said_to_prove_nothing():
    # The smallest p of three pictures is 2 / 2^3.
    pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(3)]
    found = tfcam.recommend(
        tfcam.demo_model(),
        pictures,
        methods=["grad_cam", "eigen_cam"],
        layers=["features"],
        metrics=METRICS,
        batch_size=3,
    )
    assert found.table.p.iloc[1] >= 0.25
    assert found.sentence.endswith("no difference could be significant: take more.")


@pytest.mark.slow
def test_a_map_that_is_no_number_on_most_pictures_is_no_matter_for_others():
    def often_broken(reading):
        return reading.activations[..., 0] * np.array([np.nan] * 6 + [1] * 2)[:, None, None]

    pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(8)]
    options = {"layers": ["features"], "metrics": METRICS, "batch_size": 8}
    model, methods = tfcam.demo_model(), ["grad_cam", "eigen_cam"]
    alone = tfcam.recommend(model, pictures, methods=methods, **options)
    found = tfcam.recommend(model, pictures, methods=[*methods, often_broken], **options)
    assert found.table.set_index("method").n.to_dict() == {
        "grad_cam": 8,
        "eigen_cam": 8,
        "often_broken": 2,
    }
    compared = found.evaluation.comparisons.set_index(["metric", "first", "second"])
    before = alone.evaluation.comparisons.set_index(["metric", "first", "second"])
    names = [name.split(" at ")[0] for name in compared.index.get_level_values("second")]
    assert compared.n.tolist() == [2 if name == "often_broken" else 8 for name in names]
    assert compared.loc[before.index, "p"].equals(before["p"])
    assert "best on these 8 pictures" in found.sentence


@pytest.mark.slow
def test_a_method_without_any_number_is_named_and_one_picture_has_no_interval():
    """It would be missing from the table, and nobody told."""

    def broken(reading):
        return reading.activations[..., 0] * np.nan

    model, picture = tfcam.demo_model(), tfcam.scenes.draw_scene(0).image
    asked = {"methods": ["cam", broken], "metrics": ["deletion"], "layers": ["features"]}
    found = tfcam.recommend(model, [picture], **asked)
    assert found.table["method"].tolist() == ["cam"]
    value = found.table["deletion"].item()
    assert found.sentence == (
        f"cam at features explains shapes best on this picture: deletion {value:.3f}. "
        "broken at features is not ranked: every map held NaN or infinity."
    )
    assert "not measured: broken at features: every map held NaN" in repr(found.evaluation)
