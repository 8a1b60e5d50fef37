"""Verification: moves in loops, falls by plain Keras, p-values counted, laws, planted truths."""

import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import stats

import tfcam
from tests.networks import snapshot
from tests.tolerances import ROUNDED
from tfcam.metrics import Probe
from tfcam.metrics.hiding import Hiding
from tfcam.metrics.moves import moved_maps, permutation_p
from tfcam.metrics.removal_test import Marks, judged
from tfcam.verification.again import of_training

STAR = tfcam.scenes.draw_scene(1, kinds=["star"]).image


@pytest.fixture(scope="module")
def demo():
    return tfcam.demo_model()


def of_corner(side=12):
    """A network of three classes that looks at the upper left quarter only; the third is rare."""
    x = keras.Input((side, side, 3))
    seen = ops.mean(x[:, : side // 2, : side // 2, 0], axis=(1, 2))
    logits = ops.stack([4 * seen, 0 * seen + 1, 0 * seen - 4], axis=-1)
    return keras.Model(x, layers.Softmax()(logits))


def lit_corner(side=12):
    picture = np.zeros((side, side, 3), np.float32)
    picture[: side // 2, : side // 2] = 1
    return picture


def corner_map(rows, columns, side=12):
    heatmap = np.zeros((side, side), np.float32)
    heatmap[rows, columns] = 1
    return heatmap


UPPER, LOWER = slice(None, 6), slice(6, None)


def nothing(_):
    pass


# --- moves ----------------------------------------------------------------------------------


def test_all_moves_of_a_small_map_are_those_of_loops():
    values = np.arange(9.0).reshape(3, 3)
    wanted = set()
    for turned, up, left in itertools.product((False, True), (1, -1), (1, -1)):
        for y, x in itertools.product(range(3), repeat=2):
            base = [[values[j, i] if turned else values[i, j] for j in range(3)] for i in range(3)]
            moved = [
                [base[up * (i - y) % 3][left * (j - x) % 3] for j in range(3)] for i in (0, 1, 2)
            ]
            wanted.add(tuple(itertools.chain(*moved)))
    found = [tuple(moved.ravel()) for moved in moved_maps(values, 1000)]
    assert len(found) == len(set(found)) == 2 * 4 * 9 - 1
    assert {*found, tuple(values.ravel())} == wanted


def test_moves_are_drawn_without_the_map_itself_and_by_the_seed():
    values = np.arange(35.0).reshape(5, 7)
    first, again, other = (list(moved_maps(values, 40, seed)) for seed in (0, 0, 1))
    assert len({moved.tobytes() for moved in [*first, values]}) == 41
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    for moved in first:
        np.testing.assert_array_equal(np.sort(moved, axis=None), values.ravel())
        assert moved.shape == (5, 7)


def test_of_the_moves_of_a_volume_none_turns_sides_of_other_lengths():
    values = np.arange(12.0).reshape(2, 2, 3)
    found = list(moved_maps(values, 10_000))
    assert len(found) == 2 * 8 * 12 - 1
    assert {moved.shape for moved in found} == {(2, 2, 3)}


# --- the test -------------------------------------------------------------------------------


def test_p_is_one_more_than_the_count_of_what_does_as_much():
    rng = np.random.default_rng(0)
    for count in (1, 19, 99):
        others = rng.integers(0, 9, count).astype(float)
        for value in range(-1, 10):
            assert permutation_p(value, others) == (1 + sum(o >= value for o in others)) / (
                1 + count
            )


def test_a_verdict_needs_a_fall_and_enough_moves():
    many, few = np.linspace(0.0, 1.0, 99), np.linspace(0.0, 1.0, 18)
    assert judged(2.0, many) == ("supported", 0.01)
    assert judged(0.9, many)[0] == "undecided"
    assert judged(0.5, many)[0] == "not supported"
    assert judged(-1.0, np.full(99, -2.0))[0] == "not supported"  # p is 0.01, and nothing falls
    assert judged(2.0, few)[0] == judged(0.1, few)[0] == "undecided"


def hidden_by_hand(image, heatmap, fraction, fill):
    """The picture without the highest part of a map, pixel by pixel."""
    flat = sorted(range(heatmap.size), key=lambda place: -heatmap.ravel()[place])
    result = image.reshape(-1, image.shape[-1]).astype(np.float64).copy()
    for place in flat[: round(fraction * heatmap.size)]:
        result[place] = fill
    return result.reshape(image.shape)


@pytest.mark.slow
def test_falls_are_those_of_plain_keras():
    rng = np.random.default_rng(3)
    model, image = of_corner(), rng.random((12, 12, 3)).astype(np.float32)
    heatmap = rng.random((12, 12)) + 0.1
    result = tfcam.verify(
        model, heatmap, image=image, target=0, fills=["mean", "zero"], draws=30, preprocess=None
    )
    own = model.predict(image[np.newaxis], verbose=0)[0, 0]
    wanted = []
    for values in [heatmap.astype(np.float32), *moved_maps(heatmap.astype(np.float32), 30)]:
        fills = (image.mean(axis=(0, 1), dtype=np.float64), 0.0)
        batch = np.stack([hidden_by_hand(image, values, 0.25, fill) for fill in fills])
        wanted.append(own - model.predict(batch, verbose=0)[:, 0].mean())
    np.testing.assert_allclose(result.falls, wanted, atol=20 * ROUNDED)
    assert result.number == pytest.approx(own)
    assert result.p_value == permutation_p(result.falls[0], result.falls[1:])
    assert result.checks[0].value == result.falls[0]


def null_p_values(hiding, count):
    """The p-values of random maps."""
    rng = np.random.default_rng(5)
    for number in range(count):
        marks = Marks.of(hiding, rng.random((7, 7)), 0.25, 19, number)
        falls = marks.falls(marks.marked, nothing).number
        yield permutation_p(falls[0], falls[1:])


def assert_uniform(p_values):
    """Each share lies where a binomial one does but once in a thousand."""
    for level in (0.05, 0.2, 0.5, 0.8):
        found = sum(p <= level + 1e-9 for p in p_values)
        low, high = stats.binom.ppf([0.0005, 0.9995], len(p_values), level)
        assert low <= found <= high, (level, found)


def test_p_is_uniform_of_maps_that_know_nothing():
    image = np.random.default_rng(2).random((12, 12, 3)).astype(np.float32)
    probe = tfcam.metrics.Probe(of_corner(), image, preprocess=None)
    assert_uniform([*null_p_values(Hiding.of(probe, ["mean"], plain=True), 100)])


@pytest.mark.slow
def test_p_is_uniform_on_a_trained_network(demo):
    hiding = Hiding.of(tfcam.metrics.Probe(demo, STAR), ["blur", "mean"], plain=True)
    assert_uniform([*null_p_values(hiding, 100)])


# --- laws -----------------------------------------------------------------------------------


def test_only_the_order_of_a_map_counts(demo):
    heatmap = np.random.default_rng(1).random((128, 128)) + 0.1
    first, second = (
        tfcam.verify(demo, values, image=STAR, draws=9) for values in (heatmap, heatmap**3)
    )
    np.testing.assert_array_equal(first.falls, second.falls)
    assert first.checks == second.checks


def test_a_map_that_marks_all_alike_is_not_supported(demo):
    flat = tfcam.verify(demo, np.zeros((4, 4)), image=STAR)
    assert (flat.p_value, flat.verdict) == (1.0, "not supported")
    # A picture's place in its batch may change the last digits of a probability.
    np.testing.assert_allclose(flat.falls, 0, atol=10 * np.finfo(np.float32).eps)


@pytest.mark.slow
def test_the_model_stays_as_it_is_bit_for_bit():
    model, image = tfcam.demo_model(), STAR
    before = snapshot(model, image[np.newaxis])
    explanation = tfcam.explain(model, image)
    result = tfcam.verify(model, explanation, draws=19)
    assert snapshot(model, image[np.newaxis]) == before
    assert result == tfcam.verify(model, explanation, draws=19)  # and the same again
    assert [check.value is None for check in result.checks] == [False] * 5
    assert result.explanations == 13


# --- planted truths -------------------------------------------------------------------------


def test_what_the_model_uses_is_supported_and_what_it_does_not_see_is_not():
    model, image = of_corner(), lit_corner()
    right = tfcam.verify(model, corner_map(UPPER, UPPER), image=image, target=0, preprocess=None)
    assert right.verdict == "supported"
    assert right.falls.argmax() == 0
    wrong = tfcam.verify(model, corner_map(LOWER, LOWER), image=image, target=0, preprocess=None)
    assert wrong.verdict == "not supported"
    assert wrong.falls[0] == pytest.approx(0, abs=1e-6)


def test_it_is_about_the_class_that_falls_not_about_its_rival():
    model, image = of_corner(), lit_corner()
    for target, wanted in ((0, "supported"), (1, "not supported")):
        result = tfcam.verify(
            model, corner_map(UPPER, UPPER), image=image, target=target, preprocess=None
        )
        assert result.checks[1].verdict == wanted
        assert f"class {1 - target}" in result.checks[1].sentence  # never the rare third


def test_the_fall_of_the_log_odds_is_that_of_the_logits():
    model, image = of_corner(), lit_corner()
    result = tfcam.verify(
        model, corner_map(UPPER, UPPER), image=image, target=0, preprocess=None, fills=["zero"]
    )
    # The logits are 4 m and 1, with m = 1 before and 0 after.
    assert result.checks[1].value == pytest.approx(4.0, abs=1e-5)


def test_a_map_that_is_the_same_for_every_class_is_about_none(demo):
    result = tfcam.verify(demo, tfcam.explain(demo, STAR, method="eigen_cam"), draws=19)
    assert result.checks[1].verdict == "not supported"
    assert "rank correlation of 1.00" in result.checks[1].sentence


def test_a_hill_in_the_middle_tells_no_more_than_itself(demo):
    hill = tfcam.metrics.centre_gaussian(STAR)
    place = tfcam.verify(demo, hill, image=STAR, draws=19).checks[4]
    assert place.value == pytest.approx(0, abs=1e-6)
    assert place.verdict == "undecided"
    corner = tfcam.verify(demo, np.eye(4)[:1], image=STAR, draws=18).checks[4]
    assert corner.verdict == "undecided"  # too few to know what chance does


@pytest.mark.slow
def test_edges_do_not_come_from_what_was_learnt(demo):
    """Edges of the picture, as a method of one's own, which random weights do not change."""
    edges = tfcam.maps.scale(tfcam.metrics.sobel_edges(STAR))

    def ignore(reading):
        return ops.convert_to_tensor(edges[np.newaxis]) + 0 * reading.activations[:, :1, :1, 0]

    explainer = tfcam.Explainer(demo, method=ignore)
    result = tfcam.verify(demo, explainer(STAR), explainer=explainer, draws=19)
    assert result.checks[3].verdict == "not supported"
    assert result.checks[3].value == pytest.approx(1)
    unknown = tfcam.verify(demo, explainer(STAR), draws=19)
    assert [check.verdict for check in unknown.checks[2:4]] == ["undecided"] * 2
    assert "explainer=" in unknown.checks[2].sentence


# --- what is verified -----------------------------------------------------------------------


def test_series_and_callable_targets():
    x = keras.Input((16, 2))
    y = layers.Dense(3, name="classes")(layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3)(x)))
    model = keras.Model(x, y)
    series = np.random.default_rng(0).random((16, 2)).astype(np.float32)
    explanation = tfcam.explain(model, series)
    result = tfcam.verify(model, explanation, draws=99)
    assert result.fills == ("mean", "zero")
    assert len(result.falls) == 1 + 2 * 14 - 1  # all moves of the layer's 14 positions
    assert result.checks[4].verdict == "undecided"

    def first(outputs):
        return outputs[:, 0]

    own = tfcam.verify(model, tfcam.explain(model, series, target=first), target=first, draws=19)
    assert own.number == pytest.approx(model.predict(series[np.newaxis], verbose=0)[0, 0], abs=1e-5)
    assert own.checks[1].verdict == "undecided"
    assert own.explanations > 0


@pytest.mark.slow
def test_a_number_a_difference_and_another_class_are_called_what_they_are(demo):
    x = keras.Input((12, 12, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, activation="relu")(x))
    age = keras.Model(x, layers.Dense(1)(pooled))
    age.compile(loss="mse")
    picture = np.random.default_rng(0).random((12, 12, 3)).astype(np.float32)
    number = tfcam.verify(age, tfcam.explain(age, picture), image=picture, draws=1)
    said = age.predict(picture[np.newaxis], verbose=0)[0, 0]
    assert number.number == pytest.approx(said, abs=1e-5)
    with pytest.raises(ValueError, match="not those of the map"):
        tfcam.verify(age, tfcam.explain(age, picture), image=9 * picture, draws=1)
    target = tfcam.Difference(4, 3)
    difference = tfcam.explain(demo, STAR, target=target)
    result = tfcam.verify(demo, difference, target=target, draws=1)
    assert result.name == "class 4 and not class 3"
    assert result.explanations == 12  # there is no rival
    other = tfcam.verify(demo, tfcam.explain(demo, STAR, target=4), target=3, draws=1)
    assert other.name == "class 3"
    assert other.number < 0.5


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("options", [{"layer": [-1, -3]}, {"method": "saliency"}, {"eigen": True}])
def test_the_map_is_made_again_as_the_explanation_says(demo, options):
    result = tfcam.verify(demo, tfcam.explain(demo, STAR, **options), draws=1)
    assert result.explanations == 13


@pytest.mark.slow
def test_a_slow_method_is_made_again_only_on_request(demo):
    explainer = tfcam.Explainer(demo, method="rise", masks=8, cells=4)
    explanation = explainer(STAR)
    assert tfcam.verify(demo, explanation, draws=1).explanations == 0
    assert tfcam.verify(demo, explanation, draws=1, explainer=explainer).explanations == 13


@pytest.mark.slow
def test_it_is_saved_and_read_back(demo, tmp_path):
    result = tfcam.verify(demo, tfcam.explain(demo, STAR, labels=["<b>&"] * 8), draws=1)
    assert tfcam.Verification.load(result.save(tmp_path / "v.npz")) == result
    page = result.save(tmp_path / "v.html").read_text()
    assert page.count("<tr>") == 5
    assert "data:image/png" in page
    assert "&lt;b&gt;&amp;" in page
    assert "<b>&" not in page
    assert result.save(tmp_path / "v.png").read_bytes()[:4] == b"\x89PNG"
    assert len(result.table) == 5
    assert "fall of the number for" in result.plot().get_xlabel()
    with pytest.raises(ValueError, match=r"saved as \.html, \.npz or \.png"):
        result.save(tmp_path / "v.pdf")


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.slow
def test_what_does_not_fit_is_refused_with_what_to_do(demo):
    explanation = tfcam.explain(demo, STAR)
    heatmap = explanation.heatmap
    with pytest.raises(ValueError, match="give verify image="):
        tfcam.verify(demo, heatmap)
    with pytest.raises(ValueError, match=r"one image; got 2"):
        tfcam.verify(demo, heatmap, image=[STAR, STAR])
    with pytest.raises(ValueError, match=r"given prepared.*image="):
        tfcam.verify(demo, tfcam.explain(demo, STAR.astype(np.float32), preprocess=None))
    with pytest.raises(ValueError, match="no class"):
        tfcam.verify(demo, tfcam.explain(demo, STAR, target=tfcam.Difference(0, 1)))
    with pytest.raises(ValueError, match="not those of the map"):
        tfcam.verify(demo, explanation, image=255 - STAR)
    with pytest.raises(ValueError, match="explainer must make the map"):
        tfcam.verify(demo, explanation, explainer=tfcam.Explainer(demo, method="saliency"))
    with pytest.raises(ValueError, match="2 axes"):
        tfcam.verify(demo, np.zeros(5), image=STAR)
    with pytest.raises(ValueError, match="fills"):
        tfcam.verify(demo, explanation, fills=["noisy_linear"])
    with pytest.raises(ValueError, match="draws"):
        tfcam.verify(demo, explanation, draws=0)
    with pytest.raises(ValueError, match="fraction"):
        tfcam.verify(demo, explanation, fraction=2)


def test_each_question_asks_in_full_batches(demo, monkeypatch):
    """But for its last batch: what a network computes to fill one up is time for nothing."""
    asked, batches = [], Probe._batches

    def counted(*given):
        for images, batch in batches(*given):
            asked.append(len(images))
            yield images, batch

    monkeypatch.setattr(Probe, "_batches", counted)
    tfcam.verify(demo, tfcam.explain(demo, STAR), draws=19, batch_size=16)
    assert sum(count < 16 for count in asked) <= 6  # the picture itself, and five questions
    assert sum(count == 16 for count in asked) >= 2


def test_of_several_inputs_the_image_is_asked_for():
    picture, facts = keras.Input((8, 8, 3), name="picture"), keras.Input((2,), name="facts")
    seen = keras.layers.Conv2D(4, 3, activation="relu")(keras.layers.Rescaling(1 / 255)(picture))
    joined = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(seen), facts])
    model = keras.Model({"picture": picture, "facts": facts}, keras.layers.Dense(2)(joined))
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    given = {"picture": image, "facts": [0.5, 1.0]}
    result = tfcam.explain(model, given, input="picture", target=1)
    with pytest.raises(ValueError, match="several inputs.*Give verify the same image="):
        tfcam.verify(model, result, draws=9)
    assert tfcam.verify(model, result, image=given, draws=9).name == "class 1"


def test_a_rise_is_told_as_a_rise():
    own = SimpleNamespace(own=np.arange(4.0))
    check = of_training(own, [np.array([0.0, 1.0, 3.0, 2.0])], 0.02, np.array([-0.1, -0.004]))
    assert "mark raises the number by 0.004 at least, hiding what this one marks lowers it by" in (
        check.sentence
    )
