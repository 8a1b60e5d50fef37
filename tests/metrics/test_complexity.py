"""How simple a map is: golden values, hand arithmetic, the definitions with loops."""

import numpy as np
import pytest

import tfcam
from tests.tolerances import ROUNDED
from tfcam.metrics.complexity import entropy, gini, mean_value


def test_golden_values():
    assert gini([np.array([[0.1, 0.2], [0.3, 0.4]])])[0] == np.float32(0.25)
    np.testing.assert_allclose(entropy([np.ones((4, 8))]), np.log(32), rtol=ROUNDED)
    np.testing.assert_allclose(entropy([np.array([[0.25, 0.75]])]), 0.562335, rtol=ROUNDED)
    assert mean_value([np.array([[0.0, 0.5], [1.0, 0.5]])])[0] == 0.5


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_one_pixel_has_it_all_or_all_have_the_same(count):
    single = np.zeros((1, count))
    single[0, -1] = 0.6
    np.testing.assert_allclose(gini([single]), (count - 1) / count, rtol=ROUNDED)
    assert entropy([single])[0] == 0
    assert gini([np.full((1, count), 0.3)])[0] == pytest.approx(0, abs=1e-7)


def test_a_map_of_zeros_is_zero_everywhere():
    zeros = np.zeros((2, 3, 4))
    for function in (gini, entropy, mean_value):
        assert function(zeros).tolist() == [0, 0]
        assert function(zeros).dtype == np.float32
        assert not np.signbit(function(zeros)).any()


def test_the_definitions_with_loops(rng):
    heatmaps = rng.random((3, 5, 6)) ** 3
    for heatmap, index, spread in zip(heatmaps, gini(heatmaps), entropy(heatmaps), strict=True):
        a = heatmap.astype(np.float32).astype(np.float64).ravel()
        apart = sum(abs(one - other) for one in a for other in a)
        assert index == pytest.approx(apart / (2 * len(a) ** 2 * a.mean()), rel=1e-6)
        shares = [each / a.sum() for each in a]
        assert spread == pytest.approx(-sum(p * np.log(p) for p in shares), rel=1e-6)


def test_brightness_and_order_do_not_matter(rng):
    heatmap = rng.random((6, 6))
    shuffled = rng.permutation(heatmap.ravel()).reshape(4, 9)
    for function in (gini, entropy):
        values = function([heatmap, heatmap / 3, shuffled])
        np.testing.assert_allclose(values, values[0], rtol=ROUNDED)


def test_explanations_of_any_size_are_taken():
    scene = tfcam.scenes.draw_scene(2)
    results = tfcam.explain(tfcam.demo_model(), [scene.image, scene.image[:60]])
    np.testing.assert_array_equal(gini(results), gini([each.heatmap for each in results]))
    assert gini(results[0]).tolist() == gini(results).tolist()[:1]


@pytest.mark.parametrize(
    ("heatmap", "message"),
    [
        (np.array([[1.5]]), "in \\[0, 1\\]; got 1.5 to 1.5"),
        (np.array([[-0.1, 1.0]]), "-0.1 to 1"),
        (np.array([[np.nan, 1.0]]), "finite"),
        (np.zeros((0, 3)), "an empty one"),
    ],
)
def test_what_is_no_heatmap_is_refused(heatmap, message):
    with pytest.raises(ValueError, match=message):
        gini([heatmap])
