"""Scores of segmentation, regression, detection and embeddings, and their gradients by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks
from tests.tolerances import ROUNDED, rounding
from tfcam.targets.callables import name_of, part_of, per_image, with_labels
from tfcam.targets.detection import Box
from tfcam.targets.regression import Regression
from tfcam.targets.segmentation import Segmentation
from tfcam.targets.similarity import Similarity

CALLS = {
    "eager": lambda function: function,
    "traced": lambda function: tf.function(function, autograph=False),
    "XLA": lambda function: tf.function(function, autograph=False, jit_compile=True),
}
LABELS = ["road", "car", "tree"]


def numbers(*shape, dtype="float32"):
    return tf.constant(np.random.default_rng(6).normal(0, 2, shape), dtype)


def with_gradient(target, outputs, call="eager"):
    def both(each):
        with tf.GradientTape() as tape:
            tape.watch(each)
            scores = target(each)
        return scores, tape.gradient(scores, each)

    return CALLS[call](both)(outputs)


def check(target, outputs, replica, call="eager"):
    """Score and gradient of a target against a replica that gives both of one image."""
    found, gradient = with_gradient(target, outputs, call)
    assert found.dtype == tf.float32
    assert found.shape == (outputs.shape[0],)
    tolerance = TOLERANCES[outputs.dtype.name]
    for image, exact in enumerate(outputs.numpy().astype("float64")):
        score, slope = replica(exact, image)
        off = rounding(exact, count=1)
        np.testing.assert_allclose(found[image], score, rtol=1e-5, atol=off)
        np.testing.assert_allclose(
            gradient[image].numpy().astype("float64"), slope, rtol=tolerance, atol=tolerance / 10
        )


TOLERANCES = {
    **{half: rounding(1.0, count=1, dtype=half) for half in ("float16", "bfloat16")},
    **dict.fromkeys(("float32", "float64"), ROUNDED),
}
every_call = pytest.mark.parametrize("call", CALLS)
every_float = pytest.mark.parametrize(
    ("call", "dtype"),
    [
        *(("eager", each) for each in TOLERANCES),
        *((call, each) for call in ("traced", "XLA") for each in ("float16", "float32")),
    ],
)


# --- segmentation ---------------------------------------------------------------------------


def segmentation(outputs, index, mask=None, threshold=0.0, total=0):
    """Sum of y^c_ij over the pixels (i, j) of M, and its slope, in loops.

    Of one channel y^0 = total - y^1.
    """
    h, w, classes = outputs.shape
    score, slope = 0.0, np.zeros(outputs.shape)
    for i in range(h):
        for j in range(w):
            if mask is not None:
                weight = mask[i][j]
            elif classes == 1:
                weight = (outputs[i, j, 0] > threshold) == (index == 1)
            else:
                weight = max(range(classes), key=lambda c: outputs[i, j, c]) == index
            if classes == 1 and index == 0:
                score += weight * (total - outputs[i, j, 0])
                slope[i, j, 0] = -float(weight)
                continue
            channel = index if classes > 1 else 0
            score += weight * outputs[i, j, channel]
            slope[i, j, channel] = weight
    return score, slope


@every_float
def test_segmentation_where_the_class_is_predicted(call, dtype):
    outputs = numbers(3, 5, 4, 3, dtype=dtype)
    for index in range(3):
        check(Segmentation(index), outputs, lambda y, _, c=index: segmentation(y, c), call)


@every_float
def test_segmentation_over_a_mask(call, dtype):
    outputs = numbers(2, 5, 4, 3, dtype=dtype)
    rng = np.random.default_rng(2)
    for mask in (rng.random((5, 4)) > 0.5, rng.random((5, 4)), rng.random((5, 4)) - 0.5):
        target = Segmentation(1, mask)
        check(target, outputs, lambda y, _, m=mask: segmentation(y, 1, m), call)
    masks = rng.random((2, 5, 4)) > 0.3
    check(Segmentation(2, masks), outputs, lambda y, b: segmentation(y, 2, masks[b]), call)


@pytest.mark.parametrize("index", [0, 1])
def test_one_channel_is_of_two_classes_on_each_side_of_its_threshold(index):
    outputs = numbers(2, 5, 4, 1)
    check(Segmentation(index), outputs, lambda y, _: segmentation(y, index))
    probabilities = tf.sigmoid(outputs)
    for threshold in (0.5, 0.7):
        target = Segmentation(index, threshold=threshold)
        check(
            target,
            probabilities,
            lambda y, _, t=threshold: segmentation(y, index, None, t, total=1),
        )
    likely = Segmentation(index)
    check(likely, probabilities, lambda y, _: segmentation(y, index, None, 0.5, total=1))
    assert abs(with_gradient(likely, probabilities)[1].numpy()).sum() < 40  # not all pixels
    mask = np.random.default_rng(2).random((5, 4)) > 0.5
    check(Segmentation(index, mask), outputs, lambda y, _: segmentation(y, index, mask))
    one = Segmentation("tumour").with_labels(["tumour"])
    assert (one.target, one.name) == (1, "segmentation of tumour")


@pytest.mark.parametrize("given", [(10, 8), (15, 4), (30, 40), (1, 1), (5, 2), (7, 3)])
def test_a_mask_of_another_size_is_brought_to_the_outputs(given):
    mask = np.random.default_rng(3).random(given).astype("float32")
    found = with_gradient(Segmentation(0, mask), numbers(1, 5, 4, 2))[1][0, :, :, 0]
    wanted = tf.image.resize(mask[..., None], (5, 4), method="nearest")[..., 0]
    np.testing.assert_array_equal(found, wanted)
    if given == (5, 2):
        np.testing.assert_array_equal(found, np.repeat(mask, 2, axis=1))


def test_a_mask_of_odd_size_is_read_at_the_centres():
    mask = np.eye(3, dtype=bool)[[1]]  # (1, 3): the middle
    found = with_gradient(Segmentation(0, mask), numbers(1, 1, 5, 2))[1][0, 0, :, 0]
    assert found.numpy().tolist() == [0, 0, 1, 0, 0]  # centres 0.3, 0.9, 1.5, 2.1, 2.7 of 3


def test_where_a_class_is_predicted_nowhere_the_score_is_0():
    outputs = tf.constant(np.stack([np.ones((2, 2)), np.zeros((2, 2))], axis=-1)[None], tf.float32)
    found, gradient = with_gradient(Segmentation(1), outputs)
    assert found.numpy().tolist() == [0]
    assert not gradient.numpy().any()


@every_call
def test_what_is_outside_of_the_mask_does_not_count_even_if_infinite(call):
    outputs = tf.constant([[[[-np.inf], [2.0], [np.nan]]]])
    found, gradient = with_gradient(Segmentation(1, [[False, True, False]]), outputs, call)
    assert found.numpy().tolist() == [2]
    assert gradient.numpy().ravel().tolist() == [0, 1, 0]


def test_half_precision_does_not_overflow():
    outputs = tf.fill((1, 40, 40, 1), tf.constant(100.0, tf.float16))
    assert Segmentation(1)(outputs).numpy().tolist() == [160_000]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("classes", [1, 3])
def test_segmentation_of_volumes_is_that_of_all_their_slices(call, classes):
    outputs = numbers(2, 5, 3, 4, classes)

    def slices(y, *asked):
        each = [segmentation(one, 1, *(mask[n] for mask in asked)) for n, one in enumerate(y)]
        return sum(score for score, _ in each), np.stack([slope for _, slope in each])

    check(Segmentation(1), outputs, lambda y, _: slices(y), call)
    masks = np.random.default_rng(2).random((2, 5, 3, 4)) > 0.3
    target = Segmentation(1, masks)
    check(target, outputs, lambda y, b: slices(y, masks[b]), call)
    first = Segmentation(1, channels_first=True)(tf.transpose(outputs, [0, 4, 1, 2, 3]))
    np.testing.assert_array_equal(first, Segmentation(1)(outputs))
    last = target.for_images(slice(1, 2))(outputs[1:])
    np.testing.assert_array_equal(last, target(outputs)[1:])


def test_a_mask_fits_volumes_or_pictures():
    with pytest.raises(ValueError, match=r"volumes \(D, H, W\) or .* got \(3, 3\) for outputs"):
        Segmentation(0, np.ones((3, 3)))(numbers(2, 2, 3, 3, 2))
    with pytest.raises(ValueError, match=r"got \(1, 2, 3, 3\) for outputs \(1, 3, 3, 2\)"):
        Segmentation(0, np.ones((1, 2, 3, 3)))(numbers(1, 3, 3, 2))
    with pytest.raises(ValueError, match=r"not 0, in each image"):
        Segmentation(0, np.stack([np.ones((2, 3, 3)), np.zeros((2, 3, 3))]))
    either = np.stack([np.eye(3), np.zeros((3, 3))])  # a slice of a volume may be empty
    Segmentation(0, either)(numbers(4, 2, 3, 3, 2))
    with pytest.raises(ValueError, match=r"not 0, in each image"):
        Segmentation(0, either)(numbers(2, 3, 3, 2))
    with pytest.raises(ValueError, match=r"not 0, in each image"):
        Segmentation(0, either, volumes=False)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 2), bool), r"have a pixel that is not 0, in each image\. It is empty"),
        (np.zeros((2, 2)), r"have a pixel that is not 0"),
        (np.zeros((0, 2)), r"have a pixel that is not 0"),
        (np.full((2, 2), 255, np.uint8), r"bool or float, .* got uint8 \(2, 2\)\. mask > 0 makes"),
        (np.ones(4), r"bool or float, \(H, W\) or \(B, H, W\), .*; got float64 \(4,\)"),
        (np.array([[np.nan, 1]]), r"must be finite; got NaN"),
        (np.array([[np.inf, 1]]), r"must be finite"),
    ],
)
def test_a_wrong_mask_is_told(mask, message):
    with pytest.raises(ValueError, match=message):
        Segmentation(0, mask)


def test_wrong_outputs_of_a_segmentation_are_told():
    with pytest.raises(ValueError, match=r"outputs \(B, H, W, classes\) or .* returns \(2, 3\)"):
        Segmentation(0)(numbers(2, 3))
    with pytest.raises(ValueError, match=r"axis of classes is left out, .*expand_dims\(mod"):
        Segmentation(0)(numbers(2, 3, 4))
    with pytest.raises(ValueError, match=r"one tensor .* a dict of 2\. Choose one with output="):
        Segmentation(0)({"a": numbers(2, 3, 3, 2), "b": numbers(2)})
    with pytest.raises(ValueError, match=r"in 0\.\.1: 2 classes; got 2"):
        Segmentation(2)(numbers(2, 3, 3, 2))
    with pytest.raises(ValueError, match=r"A mask for each image .* got 3 for 2 images"):
        Segmentation(0, np.ones((3, 3, 3)))(numbers(2, 3, 3, 2))
    with pytest.raises(ValueError, match=r"outputs' size, 2 x 2, it is empty"):
        Segmentation(0, np.eye(9)[:1])(numbers(1, 2, 2, 2))  # one pixel, in the corner


@pytest.mark.parametrize("kind", [Segmentation, Box])
def test_classes_of_targets_are_indices_or_labels(kind):
    outputs = numbers(2, 3, 3, 3) if kind is Segmentation else numbers(2, 5, 7)
    np.testing.assert_array_equal(with_labels(kind("Car"), LABELS)(outputs), kind(1)(outputs))
    assert with_labels(kind("Car"), LABELS).target == 1
    assert with_labels(kind(1), LABELS) == with_labels(kind("car"), LABELS)
    word = kind.__name__.lower()
    assert name_of(kind(np.int64(1))) == f"{word} of class 1"
    assert name_of(kind("Car")) == f"{word} of Car"
    assert name_of(with_labels(kind(1), LABELS)) == f"{word} of car"
    with pytest.raises(ValueError, match="'car' is a label, but the labels .* not known"):
        kind("car")(outputs)
    with pytest.raises(ValueError, match="No class is labelled 'cat'. Did you mean 'car'"):
        with_labels(kind("cat"), LABELS)
    with pytest.raises(ValueError, match="in 0..2: 3 classes; got 3"):
        with_labels(kind(3), LABELS)
    with pytest.raises(ValueError, match="at least 0; got -1"):
        kind(-1)
    with pytest.raises(TypeError, match="must be a class index or a label; got None"):
        kind(None)
    with pytest.raises(TypeError, match="of type float"):
        kind(1.0)


# --- regression -----------------------------------------------------------------------------


@every_float
@pytest.mark.parametrize(("sign", "index"), [(1, 0), (-1, 0), (1, 2), (-1, 1)])
def test_regression(sign, index, dtype, call):
    def replica(y, _):
        slope = np.zeros(3)
        slope[index] = sign
        return sign * y[index], slope

    check(Regression(sign, index), numbers(4, 3, dtype=dtype), replica, call)


def test_regression_of_one_number():
    outputs = tf.constant([1.5, -2.0])
    assert Regression()(outputs).numpy().tolist() == [1.5, -2.0]
    assert Regression(-1)(outputs[:, None]).numpy().tolist() == [-1.5, 2.0]


def test_names_of_regressions():
    names = [Regression().name, Regression(-1).name, Regression(1, 3).name]
    assert names == ["regression, up", "regression, down", "regression of output 3, up"]


@pytest.mark.parametrize("sign", [0, 2, -2, 0.5, "up", None])
def test_the_sign_is_1_or_minus_1(sign):
    with pytest.raises(ValueError, match=r"sign must be 1, what raises it, or -1; got"):
        Regression(sign)


def test_wrong_regressions_are_told():
    for index in (-1, 1.5, "0"):
        with pytest.raises(ValueError, match=r"index must be a whole number of at least 0; got"):
            Regression(index=index)
    with pytest.raises(ValueError, match=r"one of the model's 3 numbers, 0\.\.2; got 3"):
        Regression(index=3)(numbers(2, 3))
    with pytest.raises(ValueError, match=r"0\.\.0; got 1"):
        Regression(index=1)(numbers(2))
    with pytest.raises(ValueError, match=r"outputs \(B,\) or \(B, n\); .* \(2, 3, 4\)"):
        Regression()(numbers(2, 3, 4))
    with pytest.raises(ValueError, match=r"a list of 2\. Choose one with output="):
        Regression()([numbers(2), numbers(2)])


# --- detection ------------------------------------------------------------------------------


def overlap(a, b):
    """Intersection over union of two boxes [x0, y0, x1, y1]."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(width, 0) * max(height, 0)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def detection(outputs, index, box=None):
    """The score at the chosen anchor, and its slope."""
    best, chosen = -np.inf if box is None else 0.0, None
    for anchor, row in enumerate(outputs):
        value = row[4 + index] if box is None else overlap(row[:4], box)
        if value > best:
            best, chosen = value, anchor
    slope = np.zeros(outputs.shape)
    if chosen is None:
        return 0.0, slope
    slope[chosen, 4 + index] = 1
    return outputs[chosen, 4 + index], slope


def anchors(count=3, places=20, classes=3, dtype="float32"):
    rng = np.random.default_rng(4)
    corners = rng.integers(0, 40, (count, places, 2))
    sizes = rng.integers(1, 30, (count, places, 2))
    scores = rng.normal(0, 2, (count, places, classes))
    return tf.constant(np.concatenate([corners, corners + sizes, scores], axis=-1), dtype)


GIVEN = np.array([[10, 10, 30, 25], [2, 5, 12, 9], [20, 30, 50, 60]])


@every_float
def test_the_anchor_with_the_highest_score(call, dtype):
    outputs = anchors(dtype=dtype)
    for index in range(3):
        check(Box(index), outputs, lambda y, _, c=index: detection(y, c), call)


@every_float
def test_the_anchor_that_overlaps_most(call, dtype):
    outputs = anchors(dtype=dtype)
    check(Box(1, GIVEN[0]), outputs, lambda y, _: detection(y, 1, GIVEN[0]), call)
    check(Box(2, GIVEN), outputs, lambda y, b: detection(y, 2, GIVEN[b]), call)


def test_boxes_by_hand():
    # Overlaps with [0, 0, 2, 2]: 1 of 4 + 4 - 1; 2 of 4 + 4 - 2; 0; the box inside out has none.
    rows = [[1, 1, 3, 3, 0.1], [0, 1, 2, 3, 0.2], [5, 5, 6, 6, 0.9], [2, 2, 0, 0, 0.8]]
    assert Box(0, [0, 0, 2, 2])(tf.constant([rows])).numpy() == pytest.approx([0.2])


def test_where_no_box_overlaps_the_score_is_0():
    outputs = tf.constant([[[0.0, 0, 1, 1, 5], [1, 1, 2, 2, 6]]] * 2)
    target = Box(0, [[0, 0, 1, 1], [7, 7, 9, 9]])
    found, gradient = with_gradient(target, outputs)
    assert found.numpy().tolist() == [5, 0]
    assert gradient.numpy().sum() == 1


def test_a_box_that_is_not_a_number_overlaps_with_none():
    outputs = tf.constant([[[np.nan, 0, 1, 1, 5], [0, 0, 2, 2, 6]]])
    assert Box(0, [0, 0, 1, 1])(outputs).numpy().tolist() == [6]


def written(outputs, form):
    x0, y0, x1, y1 = (outputs[..., i] for i in range(4))
    columns = {
        "xyxy": (x0, y0, x1, y1),
        "yxyx": (y0, x0, y1, x1),
        "xywh": (x0, y0, x1 - x0, y1 - y0),
        "center_xywh": ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0),
    }[form]
    return tf.concat([tf.stack(columns, axis=-1), outputs[..., 4:]], axis=-1)


@pytest.mark.parametrize("form", ["xyxy", "yxyx", "xywh", "center_xywh"])
def test_boxes_may_be_written_in_many_ways(form):
    outputs = anchors()
    wanted = [detection(y, 0, b)[0] for y, b in zip(outputs.numpy(), GIVEN, strict=True)]
    np.testing.assert_array_equal(Box(0, GIVEN, form=form)(written(outputs, form)), wanted)


def test_boxes_and_scores_are_found_and_named():
    both = anchors(classes=4)
    boxes, scores, other = both[..., :4], both[..., 4:], numbers(3, 20, 6)
    wanted = Box(1, GIVEN)(both).numpy().tolist()
    found = {
        "named": {"classification": scores, "box": boxes},
        "named alike": {"cls_logits": scores, "bbox": boxes, "count": numbers(3)},
    }
    for outputs in found.values():
        assert Box(1, GIVEN)(outputs).numpy().tolist() == wanted
    by_shape = [boxes, tf.concat([scores, scores], -1)]
    assert Box(1, GIVEN)(by_shape).numpy().tolist() == wanted
    assert Box(1, GIVEN)(tuple(by_shape[::-1])).numpy().tolist() == wanted
    assert Box(1, GIVEN)([both]).numpy().tolist() == wanted
    third = {"loc": boxes, "conf": scores, "z": other}
    assert Box(1, GIVEN, boxes="loc", scores="conf")(third).numpy().tolist() == wanted
    assert Box(1, GIVEN, boxes=2, scores=0)([scores, other, boxes]).numpy().tolist() == wanted
    assert Box(1, GIVEN, scores=0)([scores, boxes]).numpy().tolist() == wanted


@pytest.mark.parametrize(
    "outputs",
    [
        [numbers(2, 9, 7), numbers(2, 4, 7)],  # two levels
        [[numbers(2, 9, 4), numbers(2, 9, 3)], [numbers(2, 4, 4), numbers(2, 4, 3)]],
        [numbers(2, 9, 4), numbers(2, 9, 3), numbers(2, 6, 4), numbers(2, 6, 3)],
        [numbers(2, 8, 8, 21), numbers(2, 4, 4, 21)],
        {"loc": numbers(2, 9, 4), "conf": numbers(2, 9, 4)},  # four classes, no telling names
        {"box": numbers(2, 9, 4), "a": numbers(2, 9, 3), "b": numbers(2, 9, 3)},
        {"box": numbers(2, 9, 4), "class": numbers(2, 8, 3)},  # not the same anchors
        numbers(2, 9, 4),
        numbers(2, 9),
    ],
)
def test_outputs_that_can_not_be_told_apart_are_refused(outputs):
    message = r"boxes= and scores=\. Where they come in several levels, .* pass a callable"
    with pytest.raises(ValueError, match=message):
        Box(0)(outputs)


def test_wrong_boxes_are_told():
    for box in ([0, 0, 1], [[[0, 0, 1, 1]]], 3):
        with pytest.raises(ValueError, match=r"must be \[x0, y0, x1, y1\], or \(B, 4\); got shape"):
            Box(0, box)
    for box in ([0, 0, 0, 1], [0, 2, 1, 1], [0, 0, np.nan, 1], [0, 0, 1, np.inf]):
        with pytest.raises(ValueError, match="must have x0 < x1 and y0 < y1, all finite; got"):
            Box(0, box)
    with pytest.raises(ValueError, match="form must be one of xyxy, yxyx, .*; got 'corners'"):
        Box(0, form="corners")
    with pytest.raises(ValueError, match="A box for each image .* got 3 for 2 images"):
        Box(0, GIVEN)(anchors(2))
    with pytest.raises(ValueError, match="boxes must be one of 'a', 'b'; got 'c'"):
        Box(0, boxes="c")({"a": anchors(), "b": anchors()})
    with pytest.raises(ValueError, match="scores must be one of 0; got 1"):
        Box(0, scores=1)(anchors())
    with pytest.raises(ValueError, match="in 0..2: 3 classes; got 3"):
        Box(3)(anchors())


# --- embeddings -----------------------------------------------------------------------------


def similarity(e, r):
    """cos(e, r), and its slope r / (|e| |r|) - cos e / |e|^2, in loops."""
    product = sum(a * b for a, b in zip(e, r, strict=True))
    lengths = [sum(a * a for a in each) ** 0.5 for each in (e, r)]
    score = product / (lengths[0] * lengths[1])
    slope = [
        b / (lengths[0] * lengths[1]) - score * a / lengths[0] ** 2
        for a, b in zip(e, r, strict=True)
    ]
    return score, np.array(slope)


@every_float
def test_similarity(call, dtype):
    outputs = numbers(3, 6, dtype=dtype)
    references = np.random.default_rng(9).normal(size=(3, 6))
    one = references[0]
    check(Similarity(one), outputs, lambda e, _: similarity(e, one), call)
    check(Similarity(references), outputs, lambda e, b: similarity(e, references[b]), call)
    check(Similarity(tf.constant(one)), outputs, lambda e, _: similarity(e, one), call)


def test_similarity_laws():
    outputs = numbers(2, 5)
    reference = np.random.default_rng(1).normal(size=5)
    found = Similarity(reference)(outputs)
    for other in (Similarity(reference[None]), Similarity(1e200 * reference)):
        np.testing.assert_allclose(other(outputs), found, rtol=1e-6)
    np.testing.assert_allclose(Similarity(-reference)(outputs), -found, rtol=1e-6)
    for factor in (1e-30, 1e30):  # whose squares are no float32
        scores, slopes = with_gradient(Similarity(reference), outputs * factor)
        np.testing.assert_allclose(scores, found, rtol=1e-5)
        wanted = with_gradient(Similarity(reference), outputs)[1] / factor
        np.testing.assert_allclose(slopes, wanted, rtol=1e-4)
        # Along the embedding itself nothing changes.
        along = (slopes.numpy().astype("float64") * outputs.numpy()).sum(axis=1) * factor
        np.testing.assert_allclose(along, 0, atol=1e-6)
    np.testing.assert_allclose(Similarity(outputs)(outputs), [1, 1], rtol=1e-6)
    images = tf.reshape(outputs, (2, 1, 1, 5))
    np.testing.assert_array_equal(Similarity(reference[None, None, None])(images), found)


def test_an_embedding_with_one_entry_has_its_full_slope():
    outputs = tf.constant([[0.0, -2.0, 0.0]])  # the largest entry alone: the length is exactly 1
    check(Similarity([3.0, 4.0, 0.0]), outputs, lambda e, _: similarity(e, [3.0, 4.0, 0.0]))
    assert Similarity([3.0, 4.0, 0.0])(outputs).numpy() == pytest.approx([-0.8])


@every_call
def test_an_embedding_of_zeros_scores_0(call):
    outputs = tf.constant([[0.0, 0.0], [2.0, 0.0]])
    found, gradient = with_gradient(Similarity([1.0, 2.0]), outputs, call)
    np.testing.assert_allclose(found, [0, 5**-0.5], rtol=1e-6)
    np.testing.assert_allclose(gradient, [[0, 0], [0, 5**-0.5]], atol=1e-7)


def test_what_is_given_is_copied():
    reference = np.array([1.0, 0.0])
    target = Similarity(reference)
    reference[:] = [0, 1]
    assert target(tf.constant([[5.0, 0.0]])).numpy().tolist() == [1]
    with pytest.raises(ValueError, match="read-only"):
        target.reference[0] = 3
    mask = np.eye(2)
    target = Segmentation(0, mask)
    mask[:] = 0
    assert target.mask.any()
    box = np.array([0, 0, 2, 2], "float32")
    target = Box(0, box)
    box[:] = 0
    assert target.box.tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ([0.0, 0.0], "must be finite and not all zeros"),
        ([[1.0, 0.0], [0.0, 0.0]], "must be finite and not all zeros"),
        ([np.nan, 1.0], "must be finite and not all zeros"),
        ([np.inf, 1.0], "must be finite and not all zeros"),
        (np.zeros((0, 3)), r"must be \(D,\) or \(B, D\); got shape \(0, 3\)"),
        (3.0, r"must be \(D,\) or \(B, D\); got shape \(\)"),
        (np.ones((2, 3, 4)), r"must be \(D,\) or \(B, D\); got shape \(2, 3, 4\)"),
    ],
)
def test_a_wrong_reference_is_told(reference, message):
    with pytest.raises(ValueError, match=message):
        Similarity(reference)


def test_wrong_outputs_of_a_similarity_are_told():
    with pytest.raises(ValueError, match="must have the embedding's size, 4; got 3"):
        Similarity(np.ones(3))(numbers(2, 4))
    with pytest.raises(ValueError, match="A reference for each image .* got 3 for 2 images"):
        Similarity(np.ones((3, 4)))(numbers(2, 4))
    for shape in ((2,), (2, 3, 3, 4)):
        with pytest.raises(ValueError, match=r"Similarity needs outputs \(B, D\)"):
            Similarity(np.ones(4))(numbers(*shape))
    with pytest.raises(ValueError, match=r"a tuple of 2\. Choose one with output="):
        Similarity(np.ones(4))((numbers(2, 4), numbers(2, 4)))


# --- all of them ----------------------------------------------------------------------------

MAKE = {
    "segmentation": lambda value=1.0: Segmentation(0, [[value, 0.0]]),
    "segmentation by image": lambda value=1.0: Segmentation(0, [[[value]], [[1.0]], [[2.0]]]),
    "regression": lambda value=1: Regression(1 if value == 1 else -1),
    "box": lambda value=1.0: Box(0, [0, 0, 1, value]),
    "box by image": lambda value=1.0: Box(0, [[0, 0, 1, value], [0, 0, 1, 2], [0, 0, 1, 3]]),
    "similarity": lambda value=1.0: Similarity([value, 1.0]),
    "similarity by image": lambda value=1.0: Similarity([[value, 1.0], [1.0, 1.0], [2.0, 1.0]]),
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_equal_targets_are_equal(make):
    assert make() == make()
    assert hash(make()) == hash(make())
    assert make() != make(2.0)
    assert make() != "target"
    assert len({make(), make(), make(2.0)}) == 2


def test_targets_of_another_kind_are_not_equal():
    assert Box(0) != Segmentation(0)
    assert Segmentation(0, [[1.0, 0.0]]) != Segmentation(0, [[1.0], [0.0]])
    assert Segmentation(0) != Segmentation(0, threshold=0.5)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("segmentation by image", "mask"),
        ("box by image", "box"),
        ("similarity by image", "reference"),
    ],
)
def test_what_is_given_by_image_goes_with_its_images(name, array):
    target = MAKE[name]()
    if array != "reference":  # one reference is one for all images
        np.testing.assert_array_equal(
            getattr(part_of(target, slice(1, 2)), array), getattr(target, array)[1:2]
        )
    np.testing.assert_array_equal(
        getattr(part_of(target, slice(1, 3)), array), getattr(target, array)[1:3]
    )
    shared = MAKE[name.removesuffix(" by image")]()
    assert part_of(shared, slice(0, 1)) is shared


@every_call
def test_a_list_may_hold_targets_of_pixels(call):
    outputs = numbers(3, 4, 4, 3)
    mask = np.random.default_rng(1).random((3, 4, 4)) > 0.5

    def corner(each):
        return each[:, 0, 0, 0]

    target = per_image([Segmentation("car"), corner, Segmentation(2, mask)], 3, LABELS)
    found, gradient = with_gradient(target, outputs, call)
    exact = outputs.numpy().astype("float64")
    first, first_slope = segmentation(exact[0], 1)
    last, last_slope = segmentation(exact[2], 2, mask[2])
    np.testing.assert_allclose(found, [first, exact[1, 0, 0, 0], last], rtol=1e-5)
    np.testing.assert_allclose(gradient[0], first_slope)
    np.testing.assert_allclose(gradient[2], last_slope)
    assert gradient[1].numpy().sum() == 1


# --- through the front door -----------------------------------------------------------------


def pixel_classes():
    """The small network's features with a class for each pixel in place of its head."""
    body = networks.flat()
    features = body.get_layer("features").output
    head = keras.layers.Conv2D(2, 1, activation="softmax", name="pixels")
    head_weights = np.random.default_rng(0).normal(size=(1, 1, 8, 2)).astype("float32")
    model = keras.Model(body.input, head(features))
    head.set_weights([head_weights, np.zeros(2, "float32")])
    return model, head_weights[0, 0]


def test_seg_grad_cam_of_a_linear_head_is_known_in_closed_form():
    """Each pixel's logit is W_c A_ij: the mean gradient is |M| W_c / Z."""
    model, weights = pixel_classes()
    images = networks.pictures(2)
    maps = keras.Model(model.input, model.get_layer("features").output)(images).numpy()
    mask = np.zeros((6, 6), bool)
    mask[1:4, 2:6] = True
    results = tfcam.explain(model, images, "features", target=Segmentation(1, mask))
    wanted = mask.sum() / 36 * (maps @ weights[:, 1])
    np.testing.assert_allclose(results.raws, wanted, rtol=1e-4, atol=1e-5)
    scores = (maps @ weights[:, 1])[:, mask].sum(axis=1)
    np.testing.assert_allclose([each.score for each in results], scores, rtol=1e-4)


def test_what_is_given_by_image_goes_through_all_parts_of_a_batch():
    model, _ = pixel_classes()
    images = networks.pictures(3)
    masks = np.random.default_rng(2).random((3, 6, 6)) > 0.5
    alone = [
        tfcam.explain(model, images[i], "features", target=Segmentation(0, masks[i])).raw
        for i in range(3)
    ]
    explainer = tfcam.Explainer(model, "features", batch_size=2)
    found = explainer(images, Segmentation(0, masks))
    np.testing.assert_allclose(found.raws, alone, rtol=1e-4, atol=1e-6)
    assert {each.label for each in found} == {"segmentation of class 0"}


def test_the_maps_of_up_and_down_are_opposite():
    images = networks.pictures(2)
    up, down = (
        tfcam.explain(networks.flat(), images, target=Regression(sign, 1)) for sign in (1, -1)
    )
    np.testing.assert_allclose(up.raws, -down.raws, rtol=1e-5, atol=1e-6)
    plain = tfcam.explain(networks.flat(), images, target=1)
    np.testing.assert_allclose(up.raws, plain.raws, rtol=1e-5, atol=1e-6)
    assert up[0].label == "regression of output 1, up"
    assert down[0].label == "regression of output 1, down"


def test_a_target_that_changes_when_it_is_asked_is_asked_each_time():
    """Compiled, it would be asked once; its key is another at each call, and nothing is kept."""

    class Falling:
        def __init__(self):
            self.times = 0

        def __call__(self, outputs):
            self.times += 1
            return outputs[:, 0] / self.times

    model, inputs, target = networks.flat(), networks.pictures(20), Falling()
    explainer = tfcam.Explainer(model, preprocess=None)
    scores = [explainer(inputs, target)[3].score for _ in range(4)]
    times = target.times
    np.testing.assert_allclose(scores[1:], [scores[0] / n for n in range(2, 5)], rtol=1e-5)
    assert times == 4


@pytest.mark.parametrize("sides", [2, 3])
def test_classes_of_pixels_and_voxels_are_asked_for_by_segmentation(sides):
    convolution = keras.layers.Conv2D if sides == 2 else keras.layers.Conv3D
    model = keras.Sequential([keras.Input((4,) * sides + (1,)), convolution(2, 1)])
    found = r"returns \(1, 4, .*classifies each pixel or voxel tfcam.Segmentation\(class\)"
    with pytest.raises(ValueError, match=found):
        tfcam.explain(model, np.ones((4,) * sides + (1,), "f4"), preprocess=None)
