"""What a dream raises: each objective against float64 loops, and the algebra of objectives."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from tests.tolerances import ROUNDED, rounding
from tfcam.feature_visualization import objectives
from tfcam.feature_visualization.blur import blur_images
from tfcam.feature_visualization.objectives import Seen
from tfcam.passes.outputs import Outputs


@pytest.fixture
def activations(rng):
    return rng.normal(size=(2, 3, 4, 5)).astype("float32")


@pytest.fixture
def pictures(rng):
    return rng.random((2, 7, 6, 3)).astype("float32")


def value(objective, pictures, activations=None, scores=None, labels=None):
    maps = {} if activations is None else {"conv": tf.constant(activations)}
    scores = None if scores is None else tf.constant(scores)
    seen = Seen(tf.constant(pictures), maps, Outputs(scores, scores, True), labels)
    return objective(seen).numpy()


def mean_channel(A, k):
    height, width, _ = A.shape
    return sum(A[i, j, k] for i in range(height) for j in range(width)) / (height * width)


def test_channel_is_its_mean(pictures, activations):
    wanted = [mean_channel(A.astype(float), 2) for A in activations]
    found = value(objectives.channel("conv", 2), pictures, activations)
    assert found == pytest.approx(wanted, abs=rounding(activations))


def test_neuron_is_one_number_of_the_middle_or_where_it_is_asked_for(pictures, activations):
    middle = value(objectives.neuron("conv", 4), pictures, activations)
    np.testing.assert_array_equal(middle, activations[:, 1, 2, 4])
    corner = value(objectives.neuron("conv", 4, (2, 0)), pictures, activations)
    np.testing.assert_array_equal(corner, activations[:, 2, 0, 4])


def test_neuron_of_a_vector_needs_no_position(pictures, activations):
    vectors = activations[:, 0, 0]
    found = value(objectives.neuron("conv", 3), pictures, vectors)
    np.testing.assert_array_equal(found, vectors[:, 3])
    assert value(objectives.channel("conv", 3), pictures, vectors) == pytest.approx(vectors[:, 3])


def test_direction_is_the_mean_projection(pictures, activations):
    v = np.array([1.0, -2.0, 0.0, 0.5, 3.0])
    length = sum(x * x for x in v) ** 0.5
    wanted = []
    for A in activations.astype(float):
        total = sum(
            A[i, j, k] * v[k] / length for i in range(3) for j in range(4) for k in range(5)
        )
        wanted.append(total / 12)
    found = value(objectives.direction("conv", v), pictures, activations)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    longer = value(objectives.direction("conv", 7 * v), pictures, activations)
    np.testing.assert_allclose(longer, wanted, rtol=1e-5, atol=1e-6)


def test_layer_is_the_mean_of_squares(pictures, activations):
    wanted = [sum(x * x for x in A.astype(float).ravel()) / A.size for A in activations]
    assert value(objectives.layer("conv"), pictures, activations) == pytest.approx(wanted)


def test_diversity_is_minus_the_mean_similarity_of_gram_matrices(pictures, rng):
    activations = rng.normal(size=(3, 2, 2, 4)).astype("float32")

    def gram(A):
        return np.array(
            [
                [sum(A[i, j, a] * A[i, j, b] for i in range(2) for j in range(2)) for b in range(4)]
                for a in range(4)
            ]
        )

    grams = [gram(A.astype(float)) for A in activations]
    units = [G / np.sqrt((G**2).sum()) for G in grams]
    wanted = [-sum((units[n] * units[m]).sum() for m in range(3) if m != n) / 2 for n in range(3)]
    three = np.repeat(pictures[:1], 3, axis=0)
    found = value(objectives.diversity("conv"), three, activations)
    assert found == pytest.approx(wanted, rel=ROUNDED)
    same = np.repeat(activations[:1], 3, axis=0)
    assert value(objectives.diversity("conv"), three, same) == pytest.approx([-1, -1, -1])


def test_class_logit_takes_indices_and_labels(pictures):
    scores = np.array([[1.0, 2.0], [3.0, 5.0]], "float32")
    assert value(objectives.class_logit(1), pictures, scores=scores).tolist() == [2, 5]
    named = value(objectives.class_logit("cat"), pictures, scores=scores, labels=["cat", "dog"])
    assert named.tolist() == [1, 3]


def test_l2_is_the_mean_squared_distance_from_grey(pictures):
    wanted = [sum((v - 0.5) ** 2 for v in x.astype(float).ravel()) / x.size for x in pictures]
    assert value(objectives.l2(), pictures) == pytest.approx(wanted)


def test_total_variation_by_loops_and_zero_for_a_constant(pictures):
    def variation(x):
        height, width, channels = x.shape
        total = 0.0
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    total += abs(x[i + 1, j, c] - x[i, j, c]) if i + 1 < height else 0
                    total += abs(x[i, j + 1, c] - x[i, j, c]) if j + 1 < width else 0
        return total / x.size

    wanted = [variation(x.astype(float)) for x in pictures]
    assert value(objectives.total_variation(), pictures) == pytest.approx(wanted)
    assert value(objectives.total_variation(), np.full_like(pictures, 0.3)).tolist() == [0, 0]


def gaussian_blur(x, width):
    """Along rows, then along columns; what is beyond the edge is mirrored, edge pixel included."""
    reach = min(int(4 * width + 0.5), min(x.shape[:2]))
    weights = [np.exp(-(o**2) / (2 * width**2)) for o in range(-reach, reach + 1)]

    def along(x):
        size, out = len(x), np.zeros_like(x)
        for i in range(size):
            for o, w in zip(range(-reach, reach + 1), weights, strict=True):
                at = i + o
                at = -1 - at if at < 0 else 2 * size - 1 - at if at >= size else at
                out[i] += w / sum(weights) * x[at]
        return out

    return along(along(x).transpose(1, 0, 2)).transpose(1, 0, 2)


def test_blur_by_loops_and_by_scipy(pictures):
    wanted = np.stack([gaussian_blur(x.astype(float), 1.2) for x in pictures])
    found = blur_images(tf.constant(pictures), 1.2).numpy()
    np.testing.assert_allclose(found, wanted, atol=ROUNDED)
    by_scipy = scipy.ndimage.gaussian_filter(pictures[0].astype(float), (1.2, 1.2, 0))
    np.testing.assert_allclose(found[0], by_scipy, atol=ROUNDED)
    penalty = [((x - y) ** 2).mean() for x, y in zip(pictures.astype(float), wanted, strict=True)]
    assert value(objectives.blur(1.2), pictures) == pytest.approx(penalty, rel=1e-5)


def test_blur_wider_than_the_picture_keeps_its_mean(pictures):
    found = blur_images(tf.constant(pictures), 50.0).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(
        blur_images(tf.ones((1, 3, 3, 1)), 50.0), np.ones((1, 3, 3, 1)), 1e-6
    )
    with pytest.raises(ValueError, match="width of a blur must be above 0; got 0"):
        blur_images(tf.constant(pictures), 0)


def test_objectives_are_a_vector_space(pictures, activations):
    a, b = objectives.channel("conv", 1), objectives.layer("conv")

    def of(objective):
        return value(objective, pictures, activations)

    np.testing.assert_allclose(of(a + b), of(a) + of(b), rtol=ROUNDED)
    np.testing.assert_allclose(of(a - b), of(a) - of(b), rtol=ROUNDED)
    np.testing.assert_allclose(of(3 * a), 3 * of(a), rtol=ROUNDED)
    np.testing.assert_allclose(of(a * 3), of(3 * a))
    np.testing.assert_allclose(of(a / 4), of(a) / 4)
    np.testing.assert_array_equal(of(-a), -of(a))
    np.testing.assert_allclose(of(2 * (a - 0.5 * b)), 2 * of(a) - of(b), rtol=1e-5)
    np.testing.assert_allclose(of(sum([a, b, a])), of(2 * a + b), rtol=ROUNDED)


def test_an_objective_says_what_it_is_and_which_layers_it_needs():
    one = objectives.channel("a", 1) - 0.5 * objectives.layer("b") + objectives.neuron("a", 2)
    assert repr(one) == "channel('a', 1) - 0.5 * layer('b') + neuron('a', 2)"
    assert repr(-objectives.l2()) == "-l2()"
    assert one.layers == ["a", "b"]
    assert one.target is None
    assert (objectives.class_logit(3) - objectives.class_logit(4)).target == 3
    assert (objectives.class_logit(3) + objectives.class_logit(4)).target is None


def test_a_layer_may_be_an_object():
    dense = keras.layers.Dense(2, name="head")
    assert repr(objectives.channel(dense, 0)) == "channel('head', 0)"


@pytest.mark.parametrize("other", [3, "a", None])
def test_objectives_add_to_objectives_only(other):
    with pytest.raises(TypeError):
        _ = objectives.l2() + other
    with pytest.raises(TypeError):
        _ = objectives.l2() - other


def test_objectives_do_not_multiply_each_other():
    with pytest.raises(TypeError):
        _ = objectives.l2() * objectives.l2()
    with pytest.raises(ValueError, match="scaled by a finite number; got nan"):
        _ = float("nan") * objectives.l2()


def test_what_does_not_fit_the_layer_is_said(pictures, activations):
    with pytest.raises(ValueError, match=r"channel must be in 0..4, as 'conv' has 5.*; got 5"):
        value(objectives.channel("conv", 5), pictures, activations)
    with pytest.raises(ValueError, match=r"inside the map of 'conv', .*\(3, 4\); got \(3, 0\)"):
        value(objectives.neuron("conv", 0, (3, 0)), pictures, activations)
    with pytest.raises(ValueError, match=r"inside the map of 'conv'.*got \(1,\)"):
        value(objectives.neuron("conv", 0, 1), pictures, activations)
    with pytest.raises(ValueError, match="each of the 5 channels of 'conv'; got 2"):
        value(objectives.direction("conv", [1, 2]), pictures, activations)
    with pytest.raises(ValueError, match="at least two, with count=2"):
        value(objectives.diversity("conv"), pictures[:1], activations[:1])
    own = objectives.of_layer("own", "conv", lambda a: tf.reduce_mean(a))
    with pytest.raises(ValueError, match=r"each of the 2 pictures; own gave float32 of shape \(\)"):
        value(own, pictures, activations)


@pytest.mark.parametrize("vector", [[0, 0], [], [[1, 2]], [1, float("nan")], ["a"]])
def test_a_direction_is_a_list_of_numbers(vector):
    with pytest.raises(ValueError, match="A direction must be a list of finite numbers"):
        objectives.direction("conv", vector)


def test_what_names_no_class_channel_or_layer_is_refused():
    with pytest.raises(TypeError, match="class must be an index or a label; got 1.5"):
        objectives.class_logit(1.5)
    with pytest.raises(ValueError, match="channel must be at least 0; got -1"):
        objectives.channel("conv", -1)
    with pytest.raises(TypeError, match="channel must be a whole number; got 'a'"):
        objectives.channel("conv", "a")
    with pytest.raises(TypeError, match="layer must be a path, a name, .*; got None"):
        objectives.layer(None)
