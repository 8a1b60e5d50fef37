"""What is explained: every form of a target, and one clear message for every wrong one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks
from tests.tolerances import rounding
from tfcam.model.outputs import pick_output
from tfcam.targets.callables import (
    as_callable,
    checked_scores,
    name_of,
    part_of,
    per_image,
    with_labels,
)
from tfcam.targets.classes import (
    NOTHING,
    PREDICTED,
    Difference,
    Top,
    class_indices,
    class_outputs,
    class_scores,
    class_weights,
    pair_name,
    resolved,
)
from tfcam.targets.regression import Regression
from tfcam.targets.segmentation import Segmentation

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
        (np.array([b"hot dog", b"tabby cat", b"hot dog"]), [3, 0, 3]),
        (tf.constant([["hot dog"], ["tabby cat"], ["hot dog"]]), [3, 0, 3]),
        (np.array([[3], [0], [3]], np.uint8), [3, 0, 3]),
        (tf.constant([[3.0], [0.0], [3.0]]), [3, 0, 3]),
        (np.array([3.0, 0.0, 3.0]), [3, 0, 3]),
        (np.eye(6, dtype="float32")[[3, 0, 3]], [3, 0, 3]),
        (np.eye(6, dtype=bool)[[3, 0, 3]], [3, 0, 3]),
    ],
)
def test_every_form_of_a_target(target, expected):
    pairs = class_indices(target, 3, 6, LABELS)
    wanted = np.array([[each, NOTHING] for each in expected], np.int32)
    np.testing.assert_array_equal(pairs, wanted, strict=True)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Difference(4, 0), [[4, 0]] * 3),
        (Difference("hot dog", "Tabby_Cat"), [[3, 0]] * 3),
        (Difference(None, 5), [[PREDICTED, 5]] * 3),
        (Difference(5, None), [[5, PREDICTED]] * 3),
        ([3, "tabby cat", Difference(0, 1)], [[3, NOTHING], [0, NOTHING], [0, 1]]),
        ((None, Difference("hot dog", None), 2), [[-1, -2], [3, -1], [2, -2]]),
    ],
)
def test_differences_are_pairs(target, expected):
    pairs = class_indices(target, 3, 6, LABELS)
    np.testing.assert_array_equal(pairs, np.array(expected, np.int32), strict=True)


def test_classes_that_are_not_known_have_no_upper_end():
    assert class_indices(10_000, 1, None, None).tolist() == [[10_000, NOTHING]]


def test_of_no_images_there_are_no_pairs():
    assert class_indices([], 0, 6, None).shape == (0, 2)


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
        (np.array([0.0, 1.0, 2.5]), ValueError, r"whole floats.*2\.5.* of the shape \(3,\)\."),
        (tf.constant([[0.0], [0.5], [1.0]]), ValueError, r"0\.5.* of the shape \(3, 1\)\."),
        (np.eye(3), ValueError, r"\(N,\), \(N, 1\) or one-hot \(N, 6\); got the shape \(3, 3\)\."),
        (np.ones((3, 6)), ValueError, r"one-hot numbers.* of the shape \(3, 6\)\."),
        (True, TypeError, NO_KIND + "True of type bool"),
        (np.array([True, False, True]), ValueError, "True and False of two classes; got .*True"),
        (np.True_, TypeError, NO_KIND + ".*True.* of type bool"),
        ([[0], [1], [2]], TypeError, NO_KIND + r"\[0\] of type list\."),
        ({"class": 1}, TypeError, NO_KIND + ".* of type dict"),
        (b"hot dog", TypeError, NO_KIND + ".* of type bytes"),
        ("tabby", ValueError, r"No class is labelled 'tabby'\. Did you mean 'tabby cat'.*\?"),
        ("goldn retriver", ValueError, r"Did you mean 'golden retriever'\?"),
        ("CAT", ValueError, r"labelled 'CAT'\. Did you mean 'tabby cat', 'egyptian cat'.*\?"),
        ("xylophone", ValueError, r"No class is labelled 'xylophone'\. See `labels`\."),
        (Difference(2, 2), ValueError, r"of two classes: .* got Difference\(a=2, b=2\)\."),
        (Difference("hot dog", 3), ValueError, r"of two classes: .* got Difference\(a='hot dog'"),
        (Difference(None, None), ValueError, r"of two classes: of a class with itself it is 0"),
        ([0, 1, Difference(1, 1)], ValueError, r"of two classes"),
        (Difference(0, 6), ValueError, r"must be in 0\.\.5: 6 classes; got 6\."),
        (Difference(0, [1]), TypeError, NO_KIND + r"\[1\] of type list\."),
        (Difference(0, Difference(1, 2)), TypeError, NO_KIND + ".* of type Difference"),
        (Top(2), TypeError, NO_KIND + r"Top\(k=2\) of type Top"),
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


# --- scores of pairs ------------------------------------------------------------------------


def logits(count=5, classes=6, dtype="float32"):
    return tf.constant(np.random.default_rng(8).normal(0, 3, (count, classes)), dtype)


PAIRS = [[2, NOTHING], [0, 5], [5, 0], [0, NOTHING], [3, 1]]


def gradient_of(target, outputs):
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        scores = target(outputs)
    return scores, tape.gradient(scores, outputs)


CALLS = {
    "eager": lambda function: function,
    "traced": lambda function: tf.function(function, autograph=False),
    "XLA": lambda function: tf.function(function, autograph=False, jit_compile=True),
}


def test_by_hand():
    outputs = tf.constant([[1.0, 2.0, 3.5], [4.0, 5.0, 6.0]])
    assert class_scores(outputs, [[2, NOTHING], [0, 2]]).numpy().tolist() == [3.5, -2.0]
    weights = tf.constant([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0]])
    assert class_weights(weights, [[2, NOTHING], [0, 2]]).numpy().tolist() == [
        [100, 200],
        [-99, -198],
    ]
    pairs = [[PREDICTED, NOTHING], [0, PREDICTED]]
    assert resolved(outputs, pairs).numpy().tolist() == [[2, NOTHING], [0, 2]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("call", CALLS)
def test_scores_and_gradients_of_pairs(call, dtype):
    outputs = logits(dtype=dtype)
    exact = outputs.numpy().astype("float64")
    wanted, slopes = np.zeros(5), np.zeros((5, 6))
    for image, (a, b) in enumerate(PAIRS):
        wanted[image] = exact[image, a]
        slopes[image, a] = 1
        if b != NOTHING:
            wanted[image] -= exact[image, b]
            slopes[image, b] = -1
    pairs = tf.constant(PAIRS)
    found, gradient = CALLS[call](lambda each: gradient_of(lambda y: class_scores(y, pairs), each))(
        outputs
    )
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_array_equal(gradient.numpy().astype("float64"), slopes)


def test_a_plain_class_is_its_logit_bit_for_bit():
    outputs = tf.constant([[-0.0, 0.0, 1e-40, np.inf, 0.1, -np.inf]] * 6)
    pairs = [[index, NOTHING] for index in range(6)]
    found = class_scores(outputs, pairs).numpy()
    np.testing.assert_array_equal(found.view("uint32"), outputs.numpy()[0].view("uint32"))


def test_class_weights_give_the_scores_of_a_linear_head():
    rng = np.random.default_rng(1)
    weights, features = rng.normal(size=(4, 6)), rng.normal(size=(5, 4))
    found = class_weights(tf.constant(weights, tf.float32), tf.constant(PAIRS))
    plain = [weights[:, a] - (0 if b == NOTHING else weights[:, b]) for a, b in PAIRS]
    np.testing.assert_allclose(found, plain, rtol=1e-5)
    scores = class_scores(tf.constant(features @ weights), PAIRS)
    np.testing.assert_allclose((found * features).numpy().sum(axis=1), scores, rtol=1e-5)


def test_exchanged_classes_change_the_sign_and_a_constant_changes_nothing():
    outputs = logits()
    there, back = [[1, 4]] * 5, [[4, 1]] * 5
    np.testing.assert_array_equal(class_scores(outputs, there), -class_scores(outputs, back))
    moved = class_scores(outputs + 2.0, there)
    off = rounding(outputs + 2.0)
    np.testing.assert_allclose(moved, class_scores(outputs, there), atol=off)


@pytest.mark.parametrize("call", CALLS)
def test_the_predicted_class_is_put_in(call):
    outputs = logits()
    best = outputs.numpy().argmax(axis=1)
    pairs = tf.constant([[-1, -2], [3, -1], [-1, 4], [-1, -1], [1, -2]])
    found = CALLS[call](resolved)(outputs, pairs).numpy()
    wanted = [[best[0], -2], [3, best[1]], [best[2], 4], [best[3]] * 2, [1, -2]]
    np.testing.assert_array_equal(found, np.array(wanted, np.int32), strict=True)


def test_a_predicted_class_held_against_itself_scores_0():
    outputs = tf.constant([[1.0, 3.0]])
    found, gradient = gradient_of(lambda y: class_scores(y, resolved(y, [[PREDICTED, 1]])), outputs)
    assert found.numpy().tolist() == [0]
    assert gradient.numpy().tolist() == [[0, 0]]


def test_names_of_pairs():
    assert pair_name((PREDICTED, 2)) == "the predicted class and not class 2"
    assert pair_name(np.array([1, NOTHING], np.int32)) == "class 1"
    assert pair_name((0, 3), LABELS) == "tabby cat and not hot dog"
    assert pair_name((7, 0), LABELS) == "class 7 and not tabby cat"
    assert as_callable((3, 1)).name == "class 3 and not class 1"


def test_sides_of_length_1_are_left_out():
    assert class_outputs(tf.zeros((2, 1, 1, 3))).shape == (2, 3)
    with pytest.raises(ValueError, match=r"return \(B, classes\); it returns \(2, 4, 4, 3\)\."):
        class_outputs(tf.zeros((2, 4, 4, 3)))
    assert class_outputs(tf.zeros(2)).shape == class_outputs([tf.zeros(2)]).shape == (2, 1)
    with pytest.raises(ValueError, match=r"it returns a list of 2\. Choose one with output="):
        class_outputs([tf.zeros((2, 3)), tf.zeros((2, 4))])


# --- the highest classes --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("call", CALLS)
def test_top_is_the_highest_classes_in_order(call, dtype):
    scores = tf.constant([[0.5, 3.0, -1.0, 3.0, 7.0]], dtype)
    found = CALLS[call](Top(4).pairs)(scores).numpy()
    wanted = [[4, NOTHING], [1, NOTHING], [3, NOTHING], [0, NOTHING]]
    np.testing.assert_array_equal(found, np.array(wanted, np.int32), strict=True)


def test_top_of_all_classes_sorts_them():
    scores = logits(1).numpy()
    np.testing.assert_array_equal(Top(6).pairs(scores)[:, 0], np.argsort(-scores[0]))


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3", None])
def test_k_is_a_number_of_classes(k):
    with pytest.raises(ValueError, match=r"k of Top must be a whole number of at least 1; got"):
        Top(k)


def test_top_needs_one_image_and_enough_classes():
    with pytest.raises(ValueError, match=r"at most the number of classes, 6; got 7\."):
        Top(7).pairs(logits(1))
    for wrong in (logits(2), logits()[0]):
        with pytest.raises(ValueError, match=r"one image, \(1, classes\); got .* one by one\."):
            Top(2).pairs(wrong)


# --- a callable for each image --------------------------------------------------------------


def squares(outputs):
    return keras.ops.sum(outputs**2, axis=-1)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("call", CALLS)
def test_each_image_has_its_own_callable(call, dtype):
    outputs = logits(dtype=dtype)
    exact = outputs.numpy().astype("float64")
    target = per_image([3, squares, Difference("hot dog", 0), None, squares], 6, LABELS)
    found, gradient = CALLS[call](lambda each: gradient_of(target, each))(outputs)
    best = exact[3].argmax()
    wanted = [
        exact[0, 3], (exact[1] ** 2).sum(), exact[2, 3] - exact[2, 0], exact[3, best],
        (exact[4] ** 2).sum(),
    ]  # fmt: skip
    slopes = np.zeros((5, 6))
    slopes[0, 3], slopes[2, 3], slopes[2, 0], slopes[3, best] = 1, 1, -1, 1
    slopes[[1, 4]] = 2 * exact[[1, 4]]
    tolerance = rounding(1.0, count=1, dtype=dtype)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, wanted, rtol=tolerance)
    np.testing.assert_allclose(gradient, slopes, rtol=tolerance)


def test_equal_targets_are_called_once():
    calls = []

    def counted(outputs):
        calls.append(1)
        return outputs[:, 0]

    per_image([counted, 2, counted, 2, counted])(logits())
    assert len(calls) == 1


def test_another_images_infinite_slope_does_not_reach_this_one():
    def log(outputs):  # its slope at 0 is infinite, and 0 times infinity is NaN
        return tf.math.log(outputs[:, 0])

    outputs = tf.constant([[4.0, 1.0], [0.0, 1.0], [-1.0, 1.0]])
    assert np.isnan(gradient_of(lambda y: log(y)[:1], outputs)[1]).any()
    found, gradient = gradient_of(per_image([log, 1, 1]), outputs)
    np.testing.assert_allclose(found, [np.log(4), 1, 1], rtol=1e-6)
    assert gradient.numpy().tolist() == [[0.25, 0], [0, 1], [0, 1]]


def test_a_list_of_targets_takes_several_outputs():
    outputs = {"a": logits(2), "b": tf.constant([[1.0], [5.0]]), "count": tf.constant(7)}
    target = per_image([lambda y: y["b"][:, 0], lambda y: y["a"][:, 2]])
    np.testing.assert_array_equal(target(outputs), [1.0, outputs["a"][1, 2]])


def test_lists_know_their_names_parts_and_equals():
    def make():
        return per_image([3, squares, Segmentation("hot dog")], 6, LABELS)

    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != per_image([3, squares, 2], 6, LABELS)
    assert [name_of(each) for each in make().targets] == [
        "class 3", "squares", "segmentation of hot dog",
    ]  # fmt: skip
    assert make().name == "class 3, squares, segmentation of hot dog"
    assert part_of(make(), slice(1, 3)).targets == make().targets[1:]


def test_wrong_lists_are_told():
    with pytest.raises(ValueError, match="one for each image; got 2 for 5 images"):
        per_image([squares, 1])(logits())
    with pytest.raises(ValueError, match=r"in 0\.\.5: 6 classes; got 9\."):
        per_image([squares, 9], 6)
    with pytest.raises(ValueError, match=r"in 0\.\.5: 6 classes; got 9\."):
        per_image([squares, Difference(0, 9)] * 2 + [1])(logits())
    with pytest.raises(TypeError, match=NO_KIND + r"1\.5 of type float"):
        per_image([squares, 1.5])
    with pytest.raises(ValueError, match=r"one float for each image, shape \(5,\); got shape \(\)"):
        per_image([tf.reduce_sum, 1, 2, 3, 4])(logits())
    with pytest.raises(ValueError, match="got ndarray. NumPy breaks the gradient"):
        per_image([lambda y: y.numpy()[:, 0], 1, 2, 3, 4])(logits())


def test_names_of_callables():
    class Own:
        name = 3

        def __call__(self, outputs):
            return outputs

    assert name_of(squares) == "squares"
    assert name_of(Regression(-1)) == "regression, down"
    assert name_of(Own()) == "Own"


def test_parts_and_labels_of_other_targets_are_the_targets():
    assert part_of(squares, slice(0, 2)) is squares
    assert with_labels(squares, LABELS) is squares
    assert with_labels(Segmentation("hot dog"), None) == Segmentation("hot dog")
    np.testing.assert_array_equal(part_of(np.array(PAIRS), slice(1, 3)), PAIRS[1:3])


# --- one of several outputs -----------------------------------------------------------------

BOXES, CLASSES = tf.zeros((2, 7, 4)), tf.zeros((2, 7, 3))


@pytest.mark.parametrize(
    ("outputs", "output", "names"),
    [
        ([BOXES, CLASSES], 1, ["boxes", "classes"]),
        ([BOXES, CLASSES], "classes", ["boxes", "classes"]),
        ((BOXES, CLASSES), 1, ()),
        ({"z": BOXES, "c": CLASSES}, "c", ["classes", "boxes"]),
        ({"z": BOXES, "c": CLASSES}, "classes", ["classes", "boxes"]),
        ({"classes": CLASSES, "boxes": BOXES}, "classes", ["boxes", "classes"]),
        ({0: BOXES, 1: CLASSES}, 1, ()),
        ([BOXES, {"c": CLASSES}], "classes", ["boxes", "classes"]),
        (CLASSES, 0, ["head"]),
        (CLASSES, "head", ["head"]),
    ],
)
def test_an_output_is_chosen(outputs, output, names):
    assert pick_output(outputs, output, names) is CLASSES


def test_none_leaves_outputs_as_they_are():
    for outputs in (CLASSES, [BOXES, CLASSES], {"a": BOXES}):
        assert pick_output(outputs, None, ["a", "b"]) is outputs


@pytest.mark.parametrize(
    ("outputs", "output", "names", "message"),
    [
        ([BOXES, CLASSES], "clases", ["boxes", "classes"], r"'clases'\. Did you mean 'classes'\?"),
        ([BOXES, CLASSES], 2, ["boxes", "classes"], r"one of 0, 1, 'boxes', 'classes'; got 2\.$"),
        ([BOXES, CLASSES], -1, (), r"one of 0, 1; got -1\.$"),
        ([BOXES, CLASSES], True, (), r"one of 0, 1; got True\."),
        ([BOXES, CLASSES], 1.0, (), r"one of 0, 1; got 1\.0\."),
        ({"z": BOXES, "c": CLASSES}, 0, ["x", "y"], r"one of 'z', 'c', 'x', 'y'; got 0\."),
        ({"boxes": BOXES}, "box", (), r"one of 'boxes'; got 'box'\. Did you mean 'boxes'\?"),
        (CLASSES, 1, ["head"], r"one of 0, 'head'; got 1\."),
        ([BOXES, CLASSES], "same", ["same", "same"], r"'same' is that of outputs \[0, 1\]; give"),
    ],
)  # fmt: skip
def test_an_output_that_is_not_there_is_told(outputs, output, names, message):
    with pytest.raises(ValueError, match=message):
        pick_output(outputs, output, names)


def test_names_are_those_of_keras():
    inputs = keras.Input((4,))
    first, second = (keras.layers.Dense(n, name=name)(inputs) for n, name in ((2, "z"), (3, "a")))
    for outputs in ([first, second], {"one": first, "two": second}, {"b": first, "a2": second}):
        model = keras.Model(inputs, outputs)
        given = model(np.zeros((1, 4)))
        assert pick_output(given, "z", model.output_names).shape == (1, 2)
        assert pick_output(given, "a", model.output_names).shape == (1, 3)


# --- what a callable returns ----------------------------------------------------------------


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
    images = networks.pictures(3)
    results = explainer(images, lambda outputs: outputs[:, 2] - outputs[:, 1])
    np.testing.assert_allclose(results.raws, by_class[2] - by_class[1], rtol=1e-4, atol=1e-5)
    assert {each.score_kind for each in results} == {"callable"}
    assert {each.target for each in results} == {None}
    pairs = explainer(images, Difference("sheep dog", "dog"))
    np.testing.assert_allclose(pairs.raws, by_class[2] - by_class[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        [each.score for each in pairs], [each.score for each in results], rtol=1e-6
    )


def test_cam_takes_differences():
    images, model = networks.pictures(2), networks.flat()
    maps = [tfcam.explain(model, images, method="cam", target=t).raws for t in (2, 0)]
    found = tfcam.explain(model, images, method="cam", target=Difference(2, 0)).raws
    np.testing.assert_allclose(found, maps[0] - maps[1], rtol=1e-5, atol=1e-5)


def test_a_list_may_mix_classes_differences_and_callables(by_class):
    explainer = tfcam.Explainer(networks.flat(), labels=["cat", "dog", "sheep dog"], batch_size=2)
    images = networks.pictures(3)
    wanted = np.stack([by_class[2][0], by_class[0][1] - by_class[1][1], by_class[1][2]])
    for target in (
        ["sheep dog", Difference("cat", "dog"), 1],
        ["sheep dog", Difference("cat", "dog"), lambda outputs: outputs[:, 1]],
    ):
        for _ in range(2):  # as it is, then compiled
            raws = explainer(images, target).raws
            np.testing.assert_allclose(raws, wanted, rtol=1e-4, atol=1e-5)


def test_none_is_the_predicted_class(explainer, by_class):
    results = explainer(networks.pictures(3))
    predicted = explainer.model(networks.pictures(3)).numpy().argmax(axis=-1)
    assert [each.target for each in results] == predicted.tolist()
    np.testing.assert_allclose(results.raws, by_class[predicted, [0, 1, 2]], rtol=1e-5, atol=1e-6)
