"""What is explained: every form of a target, and one clear message for every wrong one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks
from tfcam.targets import PREDICTED, checked_scores, class_indices, class_scores

LABELS = ["tabby cat", "Egyptian_cat", "golden retriever", "hot dog", "crane", "crane"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [PREDICTED] * 3),
        (4, [4, 4, 4]),
        (0, [0, 0, 0]),
        (5, [5, 5, 5]),  # the last class
        (np.int64(4), [4, 4, 4]),
        (np.uint8(4), [4, 4, 4]),
        ([3, 0, 5], [3, 0, 5]),
        ((3, 0, 5), [3, 0, 5]),
        (np.array([3, 0, 5]), [3, 0, 5]),
        (np.array([3, 0, 5], np.uint8), [3, 0, 5]),
        (np.array(4), [4, 4, 4]),
        (tf.constant([3, 0, 5]), [3, 0, 5]),
        (tf.constant([3, 0, 5], tf.int64), [3, 0, 5]),
        (tf.constant(4), [4, 4, 4]),
        ([np.int32(3), "hot dog", 5], [3, 3, 5]),
        ("golden retriever", [2, 2, 2]),
        ("Golden_Retriever", [2, 2, 2]),
        ("  golden   RETRIEVER ", [2, 2, 2]),
        ("egyptian cat", [1, 1, 1]),
        (np.str_("hot dog"), [3, 3, 3]),
        (np.array(["hot dog", "tabby cat", "hot dog"]), [3, 0, 3]),
    ],
)
def test_every_form_of_a_target(target, expected):
    indices = class_indices(target, 3, 6, LABELS)
    np.testing.assert_array_equal(indices, np.array(expected, np.int32), strict=True)


def test_classes_that_are_not_known_have_no_upper_end():
    assert class_indices(10_000, 1, None, None).tolist() == [10_000]


NO_KIND = r"class index, a label, None .* a list of these, or a callable outputs -> \(B,\); got "


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (-1, ValueError, r"must be in 0\.\.5: 6 classes; got -1\."),
        (6, ValueError, r"must be in 0\.\.5: 6 classes; got 6\."),
        ([0, 1, 6], ValueError, r"must be in 0\.\.5: 6 classes; got 6\."),
        (np.array([0, -2, 1]), ValueError, r"in 0\.\.5: 6 classes; got -2\."),
        ([], ValueError, r"one for each image; got 0 for 3 images\."),
        ([0, 1], ValueError, r"one for each image; got 2 for 3 images\."),
        (tf.constant([0, 1, 2, 3]), ValueError, r"one for each image; got 4 for 3 images\."),
        (1.0, TypeError, NO_KIND + r"1\.0 of type float\."),
        (np.float32(1), TypeError, NO_KIND + r".*1\.0.* of type float32\."),
        ([0, 1, 2.5], TypeError, NO_KIND + r"2\.5 of type float\."),
        (np.array([0.0, 1.0, 2.0]), TypeError, NO_KIND + r"0\.0 of type float\."),
        (tf.constant([0.0, 1.0, 2.0]), TypeError, NO_KIND + r"0\.0 of type float\."),
        (True, TypeError, NO_KIND + "True of type bool"),
        (np.array([True, False, True]), TypeError, NO_KIND + "True of type bool"),
        (np.True_, TypeError, NO_KIND + ".*True.* of type bool"),
        ([[0], [1], [2]], TypeError, NO_KIND + r"\[0\] of type list\."),
        ({"class": 1}, TypeError, NO_KIND + ".* of type dict"),
        (b"hot dog", TypeError, NO_KIND + ".* of type bytes"),
        ("tabby", ValueError, r"No class is labelled 'tabby'\. Did you mean 'tabby cat'.*\?"),
        ("goldn retriver", ValueError, r"Did you mean 'golden retriever'\?"),
        ("CAT", ValueError, r"labelled 'CAT'\. Did you mean 'tabby cat', 'egyptian cat'.*\?"),
        ("xylophone", ValueError, r"No class is labelled 'xylophone'\. See `labels`\."),
        ("Crane", ValueError, r"The label 'Crane' names classes \[4, 5\]; give one of these"),
    ],
)
def test_every_wrong_target_is_told(target, error, message):
    with pytest.raises(error, match=message):
        class_indices(target, 3, 6, LABELS)


def test_a_label_needs_known_labels():
    with pytest.raises(ValueError, match=r"'dog' is a label, but .* not known\. Pass labels="):
        class_indices("dog", 1, 6, None)
    with pytest.raises(ValueError, match=r"A class index must be at least 0; got -1\."):
        class_indices(-1, 1, None, None)


def test_the_score_of_a_class_is_read_from_its_own_row():
    outputs = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert class_scores(outputs, tf.constant([2, 0])).numpy().tolist() == [3.0, 4.0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_callables_scores_pass_as_they_are(dtype):
    scores = tf.constant([1.0, 2.0], dtype)
    assert checked_scores(scores, 2) is scores


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros(2, np.float32), r"must return a tensor \(B,\) .* got ndarray\. NumPy breaks"),
        (1.5, r"must return a tensor \(B,\) .* got float\."),
        (None, r"must return a tensor \(B,\) .* got NoneType\."),
        ([tf.constant(1.0)], r"must return a tensor \(B,\) .* got list\."),
        (tf.constant(1.0), r"shape \(2,\); got shape \(\), float32\."),
        (tf.zeros((2, 1)), r"shape \(2,\); got shape \(2, 1\), float32\."),
        (tf.zeros(3), r"shape \(2,\); got shape \(3,\), float32\."),
        (tf.constant([1, 2]), r"one float for each image, .* got shape \(2,\), int32\."),
        (tf.constant([True, False]), r"one float for each image, .* got shape \(2,\), bool\."),
    ],
)
def test_a_callable_must_return_one_float_for_each_image(scores, message):
    with pytest.raises(ValueError, match=message):
        checked_scores(scores, 2)


# --- through the front door -----------------------------------------------------------------


@pytest.fixture(scope="module")
def explainer():
    return tfcam.Explainer(networks.flat(), labels=["cat", "dog", "sheep dog"])


@pytest.fixture(scope="module")
def by_class(explainer):
    inputs = networks.pictures(3)
    return np.stack([explainer(inputs, target).raws for target in range(3)])


@pytest.mark.parametrize(
    "target",
    [
        [2, 0, 1],
        ("sheep dog", 0, "dog"),
        np.array([2, 0, 1]),
        tf.constant([2, 0, 1]),
        lambda outputs: tf.gather(outputs, [2, 0, 1], batch_dims=1),
        lambda outputs: keras.ops.sum(outputs * [[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], axis=-1),
    ],
)
def test_each_image_gets_its_own_target(explainer, by_class, target):
    results = explainer(networks.pictures(3), target)
    np.testing.assert_allclose(results.raws, by_class[[2, 0, 1], [0, 1, 2]], rtol=1e-5, atol=1e-6)
    if not callable(target):
        assert [each.target for each in results] == [2, 0, 1]
        assert [each.label for each in results] == ["sheep dog", "cat", "dog"]


def test_a_list_of_targets_goes_with_its_images_through_all_parts_of_a_batch(by_class):
    explainer = tfcam.Explainer(networks.flat(), batch_size=2)
    for target in ([2, 0, 1], np.array([2, 0, 1]), tf.constant([2, 0, 1])):
        raws = explainer(networks.pictures(3), target).raws
        np.testing.assert_allclose(raws, by_class[[2, 0, 1], [0, 1, 2]], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="got 2 for 3 images"):
        explainer(networks.pictures(3), [0, 1])


def test_the_map_of_a_difference_is_the_difference_of_the_maps(explainer, by_class):
    results = explainer(networks.pictures(3), lambda outputs: outputs[:, 2] - outputs[:, 1])
    np.testing.assert_allclose(results.raws, by_class[2] - by_class[1], rtol=1e-4, atol=1e-5)
    assert {each.score_kind for each in results} == {"callable"}
    assert {each.target for each in results} == {None}


def test_none_is_the_predicted_class(explainer, by_class):
    results = explainer(networks.pictures(3))
    predicted = explainer.model(networks.pictures(3)).numpy().argmax(axis=-1)
    assert [each.target for each in results] == predicted.tolist()
    np.testing.assert_allclose(results.raws, by_class[predicted, [0, 1, 2]], rtol=1e-5, atol=1e-6)
