"""Sanity checks: weights drawn anew and put back, similarities in loops, laws of each check."""

import random

import keras
import matplotlib
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.networks import KINDS, PrefixTokens, flat, make, pictures, snapshot
from tfcam.metrics import random_weights, sanity, similarity, similarity_table
from tfcam.metrics.sanity_result import Randomisation
from tfcam.metrics.similarity_table import SIMILARITIES, means_and_deviations, similarities


def constant(reading):
    shape = reading.activations.shape
    return tf.reshape(tf.range(shape[1] * shape[2], dtype=tf.float32), (1, *shape[1:3])) * tf.ones(
        (shape[0], 1, 1)
    )


# --- similarities ---------------------------------------------------------------------------


def ssim_loops(x, y):
    """Wang et al. 2004, eq. 13 over every whole window, with K1 = 0.01, K2 = 0.03, L = 1."""
    g = np.array([np.exp(-(d**2) / (2 * 1.5**2)) for d in range(-5, 6)])
    w = np.outer(g, g) / np.outer(g, g).sum()
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for i in range(5, x.shape[0] - 5):
        for j in range(5, x.shape[1] - 5):
            a, b = (each[i - 5 : i + 6, j - 5 : j + 6] for each in (x, y))
            mx, my = (w * a).sum(), (w * b).sum()
            vx, vy = (w * (a - mx) ** 2).sum(), (w * (b - my) ** 2).sum()
            cov = (w * (a - mx) * (b - my)).sum()
            top = (2 * mx * my + c1) * (2 * cov + c2)
            values.append(top / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return np.mean(values)


def ranks_loops(x):
    """The mean rank of each value among all, equal ones together."""
    return [sum(b < a for b in x) + (sum(b == a for b in x) + 1) / 2 for a in x]


def spearman_loops(x, y):
    a, b = (np.array(ranks_loops(each.ravel().tolist())) for each in (x, y))
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def test_similarities_are_those_of_loops(rng):
    for size in [(11, 11), (14, 19), (24, 12)]:
        one, other = rng.random(size), rng.random(size)
        assert similarity.ssim(one, other) == pytest.approx(ssim_loops(one, other), abs=1e-9)
        assert similarity.spearman(one, other) == pytest.approx(spearman_loops(one, other))
        tied = rng.integers(0, 4, size)
        assert similarity.spearman(tied, other) == pytest.approx(spearman_loops(tied, other))


def test_laws_of_similarities(rng):
    one, other = rng.random((48, 52)), rng.random((48, 52))
    for measure in (similarity.ssim, similarity.spearman, similarity.hog_spearman):
        assert measure(one, one) == 1
        assert measure(one, other) == pytest.approx(measure(other, one))
        assert abs(measure(one, other)) < 0.5
    assert similarity.spearman(one, np.exp(3 * one)) == 1  # only ranks matter
    assert similarity.spearman(one, -one) == -1
    assert similarity.spearman([1, 2, 3] * np.ones(3), np.array([1, 3, 2])) == 0.5  # 1 - 6 * 2 / 24


def test_maps_without_variation_are_not_taken_for_unchanged(rng):
    one, none = rng.random((16, 16)), np.zeros((16, 16))
    for measure in (similarity.spearman, similarity.hog_spearman):
        assert measure(one, none) == measure(none, one) == 0
        assert measure(none, none) == 1


def test_small_heatmaps_have_no_ssim():
    with pytest.raises(ValueError, match="at least 11 x 11 pixels; got 20 x 10"):
        similarity.ssim(np.ones((10, 20)), np.ones((10, 20)))


def test_signed_and_absolute_maps():
    raw = np.array([[[1.0, -4.0], [0.5, 0.25]]])
    assert similarity_table.signed_map(raw, 2).tolist() == [[-3, 0.75]]
    assert similarity_table.absolute_map(raw, 2).tolist() == [[5, 0.75]]
    assert similarity_table.absolute_map(raw[0], 2).tolist() == [[1, 4], [0.5, 0.25]]


# --- weights --------------------------------------------------------------------------------


def weights(model):
    return [keras.ops.convert_to_numpy(each) for each in model.variables]


def bits(model):
    return [each.tobytes() for each in weights(model)]


@pytest.mark.parametrize("kind", KINDS)
def test_stages_go_from_the_logits_down(kind):
    model = make(kind)
    found = random_weights.stages(model, 10)
    assert [each.name.split("/")[-1] for each in found] == ["head", "norm", "second", "first"]
    assert [layer.name for each in found for _, layer in each.layers] == [
        "head",
        "norm",
        "second",
        "first",
    ]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [["head", "norm", "second", "first"]]),
        (2, [["head"], ["norm", "second", "first"]]),
        (3, [["head"], ["norm", "second"], ["first"]]),
        (4, [["head"], ["norm"], ["second"], ["first"]]),
    ],
)
def test_stages_hold_consecutive_layers(count, expected):
    found = random_weights.stages(flat(), count)
    assert [[layer.name for _, layer in each.layers] for each in found] == expected
    assert [each.name for each in found] == [each[-1] for each in expected]


def test_each_layer_draws_as_when_it_was_made():
    model = flat()
    for stage in random_weights.stages(model, 10):
        random_weights.reinitialise(stage, 3)
    norm = model.get_layer("norm")
    for variable, value in [
        (norm.gamma, 1),
        (norm.beta, 0),
        (norm.moving_mean, 0),
        (norm.moving_variance, 1),
    ]:
        np.testing.assert_array_equal(np.asarray(variable), np.full(8, value))
    for name, inputs, outputs in [("first", 9 * 3, 9 * 6), ("second", 9 * 6, 9 * 8)]:
        kernel = np.asarray(model.get_layer(name).kernel)
        limit = np.sqrt(6 / (inputs + outputs))  # Glorot's uniform
        assert 0.9 * limit < np.abs(kernel).max() <= limit
        assert not np.asarray(model.get_layer(name).bias).any()


def test_an_initialiser_of_its_own_is_kept():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(2, 3, kernel_initializer="ones", bias_initializer="ones")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    for variable in model.variables:
        variable.assign(variable * 0 - 5)
    for stage in random_weights.stages(model, 9):
        random_weights.reinitialise(stage, 0)
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], np.ones((3, 3, 3, 2)))
    np.testing.assert_array_equal(model.layers[1].get_weights()[1], np.ones(2))


def test_what_is_drawn_depends_on_the_seed_and_the_place_alone():
    drawn = []
    for seed, order in [(1, 1), (1, -1), (2, 1)]:
        model = flat()
        random.seed(5)
        before, tf_before = random.getstate(), np.random.get_state()[1].tolist()
        for stage in random_weights.stages(model, 10)[::order]:
            random_weights.reinitialise(stage, seed)
        assert random.getstate() == before  # the user's own draws stay as they were
        assert np.random.get_state()[1].tolist() == tf_before
        drawn.append(bits(model))
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("mode", ["cascading", "independent"])
@pytest.mark.parametrize("call", range(1, 9))
@pytest.mark.thinned(2)
def test_weights_come_back_bit_for_bit_also_when_interrupted(error, mode, call, monkeypatch):
    model = flat()
    model.get_layer("norm").beta.assign([np.nan, -0.0, np.inf, 1e-42, 1, 2, 3, 4])
    before, identities = bits(model), list(map(id, model.variables))
    seen = []

    def method(reading):
        return reading.activations[..., 0]

    def interrupting(*arguments):
        seen.append(bits(model))
        if len(seen) == call:
            raise error("now")
        return dict.fromkeys(SIMILARITIES, 0.0) | {"empty": False}

    monkeypatch.setattr(sanity, "similarities", interrupting)
    options = {"methods": [method], "mode": mode, "preprocess": None, "steps": 4}
    with pytest.raises(error, match="now"):
        sanity.randomisation(model, pictures(2), **options)
    assert call < 3 or seen[-1] != before  # two images unchanged, then randomised ones
    assert bits(model) == before
    assert list(map(id, model.variables)) == identities


def test_weights_come_back_when_a_layer_fails():
    model = flat()
    before = bits(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers.Conv2D, "get_config", lambda _: {})
        with pytest.raises(ValueError, match="'second' must be made anew .* Give it"):
            sanity.randomisation(model, pictures(1), preprocess=None)
    assert bits(model) == before


def test_the_model_is_untouched():
    model, images = flat(), pictures(2)
    before = snapshot(model, images)
    sanity.randomisation(model, images, methods=["grad_cam", "saliency"], preprocess=None)
    assert snapshot(model, images) == before


def test_normalization_and_a_model_without_weights():
    inputs = keras.Input((12, 12, 3))
    normal = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 1.0, 1.0])
    adapted = layers.Normalization()
    adapted.adapt(pictures(2))
    x = layers.Conv2D(2, 3, name="mine")(adapted(normal(inputs)))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert [each.name for each in random_weights.stages(model, 9)] == ["mine"]
    bare = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.ReLU()(inputs)))
    with pytest.raises(ValueError, match="no weights to draw anew"):
        random_weights.stages(bare, 9)
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        random_weights.stages(model, 0)


def test_weights_inside_layers_are_drawn_once():
    inputs = keras.Input((4, 8))
    x = PrefixTokens(2, name="prefix")(inputs)
    x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x[:, 0]))
    found = random_weights.stages(model, 99)
    names = [layer.name for each in found for _, layer in each.layers]
    assert (names[0], names[-1]) == ("head", "prefix")
    assert set(names[1:-1]) == {"attention_output", "value", "key", "query"}
    held = [id(v) for s in found for _, each in s.layers for v in random_weights.own_weights(each)]
    assert sorted(held) == sorted(map(id, model.weights))
    before = bits(model)
    for stage in found:
        random_weights.reinitialise(stage, 0)
    changed = [a != b for a, b in zip(before, bits(model), strict=True)]
    biases = ["bias" in each.path for each in model.variables]
    assert [not each for each in changed] == biases  # those are zero again


def test_weights_of_the_model_itself_are_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale = self.add_weight(shape=(3,), name="scale")

        def call(self, x):
            return keras.ops.mean(x * self.scale, axis=(1, 2))

    model = Own()
    model(pictures(1))
    with pytest.raises(ValueError, match="scale.* belongs to the model itself. Put it"):
        random_weights.stages(model, 3)


# --- the test of random weights -------------------------------------------------------------

CHECKED = ["cam", "grad_cam", "layer_cam", "eigen_cam", "saliency", "guided_backprop"]


@pytest.fixture(scope="module")
def checked():
    return sanity.randomisation(
        flat(), pictures(3), methods=[*CHECKED, constant], preprocess=None, steps=4
    )


def rows(found, method, step):
    frame = found.frame
    return frame[(frame["method"] == method) & (frame["step"] == step)]


def test_nothing_randomised_is_the_same(checked):
    zero = checked.frame[checked.frame["step"] == 0]
    assert len(zero) == 3 * 7
    # The first run is as it is, the second compiled: alike to rounding.
    np.testing.assert_allclose(zero[list(SIMILARITIES)].to_numpy(float), 1, atol=1e-6)


def test_eigen_cam_knows_nothing_of_the_head(checked):
    head = rows(checked, "eigen_cam", 1)
    assert head["layer"].unique() == ["head"]
    np.testing.assert_allclose(head[list(SIMILARITIES)].to_numpy(float), 1, atol=1e-6)
    assert rows(checked, "eigen_cam", 4)["spearman"].mean() < 0.9
    for method in ("cam", "grad_cam"):
        assert rows(checked, method, 1)["spearman"].mean() < 0.9


def test_a_constant_explainer_hardly_reacts(checked):
    assert (checked.frame[checked.frame["method"] == "constant"]["spearman"] == 1).all()
    verdict = checked.verdicts["constant"]
    assert (verdict.reacts, verdict.similarity) == (False, 1.0)
    assert str(verdict) == (
        "constant hardly reacts: mean rank correlation of absolute values over the randomised "
        "steps 1.00 >= 0.5; 1.00 between different pictures"
    )
    assert str(verdict) in repr(checked)


@pytest.mark.parametrize("mode", ["cascading", "independent"])
@pytest.mark.thinned(1)
def test_each_step_is_an_explanation_of_the_randomised_network(mode):
    # What was compiled before the weights changed must see the new ones: another network with the
    # same random weights, explained for the first time, says the same.
    model, images = flat(), pictures(2)
    targets = model.predict(images, verbose=0).argmax(axis=-1).tolist()
    found = sanity.randomisation(
        model, images, methods=["cam", "grad_cam", "saliency"], mode=mode, preprocess=None, steps=3
    )
    stage = random_weights.stages(model, 3)
    for step in range(4):
        other = flat()
        others = random_weights.stages(other, 3)
        chosen = others[:step] if mode == "cascading" else others[max(step - 1, 0) : step]
        for each in chosen:
            random_weights.reinitialise(each, 0)
        for method in ("cam", "grad_cam", "saliency"):
            before = tfcam.explain(model, images, target=targets, method=method)
            after = tfcam.explain(other, images, target=targets, method=method)
            seen = rows(found, method, step)
            assert seen["layer"].unique() == ["nothing" if step == 0 else stage[step - 1].name]
            np.testing.assert_allclose(found.heatmaps[method][step], after[0].heatmap, atol=1e-5)
            for name in SIMILARITIES:
                expected = [similarities(*pair)[name] for pair in zip(before, after, strict=True)]
                np.testing.assert_allclose(seen[name], expected, atol=1e-4)


def test_the_class_of_the_randomised_model():
    model, images = flat(), pictures(4)
    asked = []

    def spy(explainer, images, targets=None):
        asked.append(targets)
        return explained(explainer, images, targets)

    explained = sanity._explain_batch
    for whose in ("original", "randomised"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sanity, "_explain_batch", spy)
            found = sanity.randomisation(
                model, images, methods=["grad_cam"], explained=whose, preprocess=None, steps=1
            )
        assert found.explained == whose
    predicted = model.predict(images, verbose=0).argmax(axis=-1).tolist()
    assert asked == [None, predicted, predicted, None, None, None]


def test_one_picture_and_options():
    found = sanity.randomisation(
        flat(),
        pictures(1)[0],
        methods=[("grad_cam_pp", {"normalize_alpha": True}), "grad_cam_pp"],
        preprocess=None,
        steps=2,
    )
    assert list(found.verdicts) == ["grad_cam_pp(normalize_alpha=True)", "grad_cam_pp"]
    assert not found.table.isna().any(axis=None)  # one picture has no deviation, and no NaN
    assert (found.table["ssim_std"] == 0).all()


def by_hand():
    frame = pd.DataFrame(
        [
            ["cam", step, layer, image, ssim, 0.0, rank, 1.0, empty]
            for step, layer, image, ssim, rank, empty in [
                (0, "nothing", 0, 1.0, 1.0, False),
                (0, "nothing", 1, 1.0, 1.0, False),
                (1, "head", 0, 0.25, 0.5, False),
                (1, "head", 1, 0.75, 0.7, True),
                (2, "conv", 0, 0.5, 0.1, True),
                (2, "conv", 1, 0.5, 0.3, True),
            ]
        ],
        columns=["method", "step", "layer", "image", *SIMILARITIES, "empty"],
    )
    heatmaps = {"cam": [np.ones((4, 4))] * 3}
    return Randomisation(
        frame, "cascading", "original", np.zeros((4, 4, 3), np.uint8), heatmaps, {"cam": None}
    )


def test_table_and_verdict_by_hand():
    table = by_hand().table
    assert table["layer"].tolist() == ["nothing", "head", "conv"]
    assert table["ssim"].tolist() == [1, 0.5, 0.5]
    assert table["ssim_std"].tolist() == [0, 0.25, 0]
    np.testing.assert_allclose(table["spearman_absolute"], [1, 0.6, 0.2])
    np.testing.assert_allclose(table["spearman_absolute_std"], [0, 0.1, 0.1])
    assert table["images"].tolist() == [2, 2, 2]
    assert table["empty"].tolist() == [0, 1, 2]
    verdict = by_hand().verdicts["cam"]
    assert verdict.similarity == pytest.approx((0.5 + 0.7 + 0.1 + 0.3) / 4)  # step 0 left out
    assert verdict.reacts
    assert str(verdict).endswith("randomised steps 0.40 < 0.5")


def test_maps_of_different_pictures_are_compared_for_a_scale(checked):
    model, images = flat(), pictures(3)
    raws = tfcam.explain(model, images, method="saliency").raws
    absolute = np.abs(raws).sum(axis=-1)
    pairs = [(0, 1), (1, 2), (2, 0)]
    expected = np.mean([spearman_loops(absolute[a], absolute[b]) for a, b in pairs])
    assert checked.unrelated["saliency"] == pytest.approx(expected, abs=1e-4)
    assert checked.verdicts["saliency"].unrelated == checked.unrelated["saliency"]


def test_figures(checked):
    axes = checked.plot(similarity="ssim")
    assert axes.get_ylabel() == "ssim\nwith the original map"
    assert axes.get_xlabel() == "randomised down to"
    labels = [each.get_text() for each in axes.get_xticklabels()]
    assert labels == ["nothing", "head", "norm", "second", "first"]
    assert len(axes.get_legend().get_texts()) == 7
    line = axes.get_lines()[0]
    expected = checked.table[checked.table["method"] == "cam"]["ssim"].to_numpy()
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), expected)
    grid = [each.get_images()[0].get_array() for each in checked.show().axes if each.get_images()]
    assert len(grid) == 7 * 6
    np.testing.assert_array_equal(grid[0], checked.image)
    for shown, heatmap in zip(grid[1:6], checked.heatmaps["cam"], strict=True):
        full = np.percentile(heatmap, 99)  # from here on the colour is the brightest
        shares = [[min(float(value) / full, 1.0) for value in row] for row in heatmap]
        expected = matplotlib.colormaps["inferno"](np.array(shares))[..., :3] * 255
        np.testing.assert_allclose(shown, expected, atol=1)
    with pytest.raises(ValueError, match="must be one of ssim, .*; got 'mse'"):
        checked.plot(similarity="mse")
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "down"}, "mode must be 'cascading' or 'independent'; got 'down'"),
        ({"explained": 3}, "explained must be 'original' or 'randomised'; got 3"),
        ({"methods": []}, r"methods must be a list that holds at least one; got \[\]"),
        ({"methods": "cam"}, "methods must be a list that holds at least one; got 'cam'"),
        ({"steps": 0}, "steps must be at least 1; got 0"),
    ],
)
def test_what_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        sanity.randomisation(flat(), pictures(1), preprocess=None, **options)


# --- class and image ------------------------------------------------------------------------


def test_class_sensitivity_compares_the_likeliest_with_the_least_likely():
    model, images = flat(), pictures(3)
    found = sanity.class_sensitivity(
        model, images, methods=["grad_cam", "eigen_cam"], preprocess=None
    ).set_index("method")
    assert (found.loc["eigen_cam", list(SIMILARITIES)] == 1).all()
    scores = model.predict(images, verbose=0)
    pairs = [
        [tfcam.explain(model, image, target=int(target)).raw for target in (a, b)]
        for image, a, b in zip(images, scores.argmax(-1), scores.argmin(-1), strict=True)
    ]
    expected = [spearman_loops(*pair) for pair in pairs]
    assert found.loc["grad_cam", "spearman"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert found.loc["grad_cam", "spearman_std"] == pytest.approx(np.std(expected), abs=1e-6)


def sensitivity_loops(explain, image, changes):
    """Yeh et al. 2019: max of ||Phi(x + d) - Phi(x)|| / ||Phi(x)||."""
    first = explain(image[None])[0]
    largest = 0.0
    for d in changes:
        total = norm = 0.0
        for a, b in zip(explain((image + d)[None])[0].flat, first.flat, strict=True):
            total += (float(a) - float(b)) ** 2
            norm += float(b) ** 2
        largest = max(largest, np.sqrt(total / norm))
    return largest


def test_max_sensitivity_is_that_of_loops(rng):
    image = rng.normal(size=(4, 5))
    for explain in (np.square, lambda x: x[..., ::2] * 3, lambda x: np.sin(x) + 2):
        found = sanity.max_sensitivity(explain, image, radius=0.2, samples=9, seed=4)
        changes = np.random.default_rng(4).uniform(-0.2, 0.2, (9, 4, 5))
        assert found == pytest.approx(sensitivity_loops(explain, image, changes))
        again = sanity.max_sensitivity(explain, image, radius=0.2, samples=9, seed=4)
        other = sanity.max_sensitivity(explain, image, radius=0.2, samples=9, seed=5)
        assert found == again != other


def test_laws_of_max_sensitivity(rng):
    image = rng.normal(size=(6, 6))
    options = {"radius": 0.1, "samples": 30}
    assert sanity.max_sensitivity(np.ones_like, image, **options) == 0
    assert sanity.max_sensitivity(np.zeros_like, image, **options) == 0
    assert sanity.max_sensitivity(np.abs, image, radius=0.0) == 0
    # Of the identity: at most r sqrt(n) / ||x||, whatever the scale of the map.
    found = sanity.max_sensitivity(lambda x: x, image, **options)
    assert 0 < found <= 0.1 * 6 / np.linalg.norm(image)
    assert sanity.max_sensitivity(lambda x: -7 * x, image, **options) == pytest.approx(found)
    fewer = sanity.max_sensitivity(lambda x: x, image, radius=0.1, samples=3)
    assert fewer <= found  # the first of the same draws
    assert sanity.max_sensitivity(lambda x: x - image, image, **options) == float("inf")


def lipschitz_loops(explain, image, changes):
    first, largest = explain(image[np.newaxis])[0], 0.0
    for change in changes:
        moved = explain(image[np.newaxis] + change)[0] - first
        largest = max(largest, np.sqrt((moved**2).sum()) / np.sqrt((change**2).sum()))
    return largest


def test_local_lipschitz_is_that_of_loops(rng):
    image, options = rng.normal(size=(4, 5)), {"radius": 0.2, "samples": 9, "seed": 4}
    changes = np.random.default_rng(4).uniform(-0.2, 0.2, (9, 4, 5))
    for explain in (lambda x: x**2, lambda x: np.sin(3 * x)):
        found = sanity.local_lipschitz(explain, image, **options)
        assert found == pytest.approx(lipschitz_loops(explain, image, changes))
        for factor in (-7, 0.1):
            scaled = sanity.local_lipschitz(lambda x: factor * explain(x), image, **options)  # noqa: B023
            assert scaled == pytest.approx(abs(factor) * found)
        share = sanity.max_sensitivity(explain, image, **options)
        reach = np.sqrt((changes**2).sum(axis=(1, 2))).max()
        assert share * np.linalg.norm(explain(image)) <= found * reach * (1 + 1e-12)


def test_laws_of_local_lipschitz(rng):
    image, options = rng.normal(size=(6, 6)), {"radius": 0.1, "samples": 30}
    assert sanity.local_lipschitz(np.ones_like, image, **options) == 0  # a linear net's gradient
    assert sanity.local_lipschitz(lambda x: 5 * x, image, **options) == pytest.approx(5)
    assert sanity.local_lipschitz(lambda x: 5 * x - image, image, **options) == pytest.approx(5)
    assert sanity.local_lipschitz(np.abs, image, radius=0.0) == 0
    fewer = sanity.local_lipschitz(np.sin, image, radius=0.1, samples=3)
    assert fewer <= sanity.local_lipschitz(np.sin, image, **options) <= 1


def test_max_sensitivity_refuses():
    image = np.ones((2, 2))
    with pytest.raises(ValueError, match="got -1 and 20"):
        sanity.local_lipschitz(np.abs, image, radius=-1)
    with pytest.raises(ValueError, match="got -1 and 20"):
        sanity.max_sensitivity(np.abs, image, radius=-1)
    with pytest.raises(ValueError, match="got 1 and 0"):
        sanity.max_sensitivity(np.abs, image, radius=1, samples=0)
    with pytest.raises(ValueError, match="finite .*tfcam.diagnose"):
        sanity.max_sensitivity(lambda x: x * np.nan, image, radius=1)


def test_input_sensitivity_of_methods():
    model, images = flat(), pictures(2)
    found = sanity.input_sensitivity(
        model, images, methods=[constant, "grad_cam"], samples=3, radius=0.1, preprocess=None
    ).set_index("method")
    assert found.loc["constant", "max_sensitivity"] == 0
    assert found.loc["constant", "local_lipschitz"] == 0
    expected, slopes = [], []
    for image in images:
        target = int(model.predict(image[None], verbose=0).argmax())
        reach = 0.1 * np.ptp(image)
        changes = np.random.default_rng(0).uniform(-reach, reach, (3, *image.shape))

        def explain(batch, target=target):
            return tfcam.explain(model, batch.astype("float32"), target=target).raws

        expected.append(sensitivity_loops(explain, image, changes))
        slopes.append(lipschitz_loops(explain, image, changes))
    assert found.loc["grad_cam", "local_lipschitz"] == pytest.approx(np.mean(slopes), rel=1e-3)
    assert found.loc["grad_cam", "max_sensitivity"] == pytest.approx(np.mean(expected), rel=1e-3)
    assert found.loc["grad_cam", "max_sensitivity_std"] == pytest.approx(np.std(expected), rel=1e-2)


def test_what_sensitivity_refuses():
    a, b = keras.Input((12, 12, 3)), keras.Input((2,))
    both = layers.Concatenate()([layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(a)), b])
    two = keras.Model([a, b], layers.Dense(2)(both))
    with pytest.raises(ValueError, match="one input.* has several"):
        sanity.input_sensitivity(two, [pictures(1)[0], [1.0, 2.0]], preprocess=None)
    maps = keras.Model(a, layers.Conv2D(2, 3)(a))
    with pytest.raises(ValueError, match=r"one output of classes, \(B, C\)"):
        sanity.class_sensitivity(maps, pictures(1), methods=["eigen_cam"], preprocess=None)


def test_means_and_deviations_keep_the_order():
    frame = pd.DataFrame({"k": ["b", "a", "b"], "v": [1.0, 5.0, 3.0]})
    found = means_and_deviations(frame, ["k"], ["v"])
    assert found.values.tolist() == [["b", 2, 1], ["a", 5, 0]]


def test_a_series_is_refused():
    inputs = keras.Input((20, 2))
    x = layers.Conv1D(3, 3, activation="relu")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    with pytest.raises(ValueError, match="maps of images, videos or volumes; this one has 20"):
        sanity.randomisation(model, np.ones((1, 20, 2), "float32"), preprocess=None)


def test_channels_first():
    inputs = keras.Input((3, 14, 15))
    options = {"padding": "same", "activation": "relu", "data_format": "channels_first"}
    x = layers.Conv2D(6, 3, **options)(inputs)
    x = layers.Conv2D(6, 3, name="last", **options)(x)
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    images = np.random.default_rng(0).normal(size=(2, 3, 14, 15)).astype("float32")
    options = {"methods": ["grad_cam", "eigen_cam"], "preprocess": None}
    found = sanity.randomisation(model, images, steps=2, **options)
    assert (rows(found, "eigen_cam", 1)["spearman"] == 1).all()
    assert (rows(found, "grad_cam", 1)["spearman"] < 0.9).all()
    assert sanity.class_sensitivity(model, images, **options)["ssim"].iloc[1] == 1
    assert (sanity.input_sensitivity(model, images, samples=2, **options).iloc[:, 1] > 0).all()


# --- real weights ---------------------------------------------------------------------------


@pytest.mark.product
def test_guided_backpropagation_shows_the_image_and_not_mobilenet(data, mobilenet):
    photos = sorted((data / "images/imagenet").glob("*.JPEG"))[:2]
    before = bits(mobilenet)
    found = sanity.randomisation(
        mobilenet,
        photos,
        methods=["saliency", "eigen_cam", "guided_backprop"],
        steps=3,
    )
    assert bits(mobilenet) == before
    table = found.table.set_index(["method", "step"])["spearman_absolute"]
    assert table["eigen_cam", 1] == pytest.approx(1, abs=1e-4)  # the head alone
    # The upper half of the layers is random.
    assert table["guided_backprop", 2] > 0.7
    assert table["saliency", 2] < 0.5
