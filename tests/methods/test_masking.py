"""Occlusion and RISE, which only ask for scores: by hand, and against replicas in float64."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from skimage.segmentation import quickshift, slic

import tfcam
from tests import networks, replicas
from tests.laws import law
from tests.methods.test_perturbation import forward, images, small, softmax, tail
from tests.tolerances import ROUNDED, relative, rounding
from tfcam import metrics
from tfcam.methods.masking import hidden_by, rise_masks, window_covers
from tfcam.methods.segments import segmented

QUADRANTS = np.repeat(np.repeat(np.array([[9, 3], [5, 7]]), 4, 0), 4, 1)


# --- networks whose answers are known -------------------------------------------------------


class Sum(layers.Layer):
    """The sum of a function of every value, as the one number of class 0, and twice that."""

    def __init__(self, function=ops.square):
        super().__init__()
        self.function = function

    def call(self, x):
        total = ops.sum(self.function(x), axis=list(range(1, len(x.shape))))
        return ops.stack([total, 2 * total], -1)


def additive(*shape, function=ops.square):
    ends = keras.Input(shape)
    return keras.Model(ends, Sum(function)(ends))


def occluded(model, x, **options):
    return tfcam.explain(model, x, method="occlusion", **{"target": 0, **options})


def score(model, x, c):
    return tail(model, forward(model, x))[c]


def filled(x, fill):
    """What stands where an image is hidden, (H, W, C) float64."""
    x = x.astype(np.float64)
    if fill == "blur":
        removed = np.ones(x.shape[:2], bool)
        return metrics.impute(x, removed, "blur").astype(np.float64)
    return np.broadcast_to(x.mean((0, 1)) if fill == "mean" else 0.0, x.shape)


# --- occlusion ------------------------------------------------------------------------------


def test_occlusion_by_hand():
    """f = sum x^2, windows of 2, what is hidden is 0: d = (5, 13), the middle is in both."""
    x = np.array([[1], [2], [3]], "f4")
    result = occluded(additive(3, 1), x, window=2, stride=1, fill="zero")
    np.testing.assert_allclose(result.raw, [5, 9, 13], rtol=1e-6)
    np.testing.assert_allclose(result.heatmap, [5 / 13, 9 / 13, 1], rtol=1e-6)
    assert occluded(additive(3, 1), x, target=1, window=2, stride=1, fill="zero").raw[0] == 10
    # The mean, 2, hides: windows become (2, 2): 1 + 4 - 8 and 4 + 9 - 8.
    np.testing.assert_allclose(
        occluded(additive(3, 1), x, window=2, stride=1).raw, [-3, 1, 5], rtol=1e-6
    )


def occlusion_replica(model, x, c, window, stride, fill):
    """Zeiler and Fergus 2014: d = s(x) - s(x hidden); a pixel is the mean of those over it."""
    H, W, _ = x.shape
    ys = sorted({*range(0, H - window, stride), H - window})
    xs = sorted({*range(0, W - window, stride), W - window})
    total, count = np.zeros((H, W)), np.zeros((H, W))
    for y in ys:
        for z in xs:
            seen = x.astype(np.float64).copy()
            seen[y : y + window, z : z + window] = filled(x, fill)[y : y + window, z : z + window]
            total[y : y + window, z : z + window] += score(model, x, c) - score(model, seen, c)
            count[y : y + window, z : z + window] += 1
    return total / count


@pytest.mark.parametrize("fill", ["mean", "zero", "blur"])
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (1, 1), (4, 3), (8, 1)])
@pytest.mark.thinned(5)
def test_occlusion_equals_the_replica(window, stride, fill):
    model, x = small(), images(2)
    options = {"window": window, "stride": stride, "fill": fill}
    found = occluded(model, x, target=[0, 2], **options)
    for result, each, c in zip(found, x, [0, 2], strict=True):
        wanted = occlusion_replica(model, each, c, window, stride, fill)
        assert np.abs(result.raw - wanted).max() < rounding(result.score, wanted)


@law("additive: each pixel's own part", "occlusion")
@pytest.mark.parametrize("shape", [(6,), (4, 2), (3, 4, 2), (2, 3, 2, 1)])
def test_of_an_additive_function_each_position_has_its_own_part(shape):
    x = np.random.default_rng(1).normal(size=shape).astype("f4")
    parts = np.sum(x.astype(float) ** 2, -1) if len(shape) > 1 else x.astype(float) ** 2
    raw = occluded(additive(*shape), x, window=1, stride=1, fill="zero").raw
    np.testing.assert_allclose(raw, parts, atol=rounding(parts.sum()))


@law("windows side by side: falls sum to the rise", "occlusion")
def test_falls_of_windows_side_by_side_sum_to_the_rise():
    x = np.random.default_rng(2).normal(size=(6, 9, 2)).astype("f4")
    raw = occluded(additive(6, 9, 2), x, window=3, stride=3, fill="zero").raw
    rise = (x.astype(float) ** 2).sum()
    assert raw[1::3, 1::3].sum() == pytest.approx(rise, rel=1e-5)


@law("one window: the rise everywhere", "occlusion")
def test_one_window_is_the_rise_everywhere():
    model, x = small(), images(1)[0]
    result = occluded(model, x, target=1, window=8)
    rise = score(model, x, 1) - score(model, filled(x, "mean"), 1)
    np.testing.assert_allclose(result.raw, np.full((8, 8), rise), atol=rounding(result.score, rise))


@pytest.mark.parametrize(
    ("side", "window", "stride"), [(224, 75, 10), (5, 2, 2), (7, 7, 3), (9, 1, None)]
)
def test_windows_cover_every_position(side, window, stride):
    covers = window_covers(side, window, stride)
    assert (covers.sum(0) > 0).all()
    assert (covers.sum(1) == window).all()
    assert len({tuple(row) for row in covers}) == len(covers)


def test_windows_are_a_seventh_by_default_and_go_by_half_of_that():
    model, x = additive(28, 42, 1), np.random.default_rng(0).normal(size=(28, 42, 1)).astype("f4")
    found = occluded(model, x, fill="zero").raw
    squares = x[..., 0].astype(float) ** 2
    total, count = np.zeros((28, 42)), np.zeros((28, 42))
    for y in range(0, 25, 2):
        for z in range(0, 37, 3):
            total[y : y + 4, z : z + 6] += squares[y : y + 4, z : z + 6].sum()
            count[y : y + 4, z : z + 6] += 1
    np.testing.assert_allclose(found, total / count, atol=rounding(squares.sum()))


@pytest.mark.slow
def test_windows_of_several_sizes_are_averaged_by_their_largest_value():
    model, x = small(), images(1)[0]
    one, two = (occluded(model, x, window=size).raw for size in (2, 4))
    wanted = (one / np.abs(one).max() + two / np.abs(two).max()) / 2
    np.testing.assert_allclose(occluded(model, x, window=[2, 4]).raw, wanted, atol=1e-5)


@law("segments: the fall without each", "occlusion")
def test_segments_are_hidden_one_by_one():
    model, x = small(), images(2)
    found = occluded(model, x, target=1, segments=QUADRANTS)
    for result, each in zip(found, x, strict=True):
        for number in (3, 5, 7, 9):
            inside = number == QUADRANTS
            seen = np.where(inside[..., None], filled(each, "mean"), each)
            fall = score(model, each, 1) - score(model, seen, 1)
            np.testing.assert_allclose(result.raw[inside], fall, atol=rounding(result.score, fall))
    grid = occluded(model, x, target=1, segments="grid:2")
    np.testing.assert_allclose(grid.raws, found.raws, atol=rounding(found.raws))


def test_what_speaks_against_is_negative_and_not_bright():
    """A value below the mean raises a sum of values when the mean hides it."""
    x = np.array([[5], [1], [3]], "f4")
    result = occluded(additive(3, 1, function=lambda x: x), x, window=1, stride=1)
    np.testing.assert_allclose(result.raw, [2, -2, 0], atol=1e-5)
    np.testing.assert_allclose(result.heatmap, [1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(result.signed_heatmap, [1, -1, 0], atol=1e-5)


@law("constant network: 0", "occlusion")
def test_a_network_that_sees_nothing_has_an_empty_map():
    model = additive(4, 4, 3, function=lambda x: 0 * x + 0.3)
    x = np.random.default_rng(0).normal(size=(4, 4, 3)).astype("f4")
    result = occluded(model, x, window=2)
    assert not result.raw.any()
    assert [each.code for each in result.findings] == ["no_positive_evidence"]
    result = tfcam.explain(model, x, target=0, method="rise", masks=40)
    np.testing.assert_allclose(result.raw, result.score, rtol=1e-6)
    assert result.heatmap.max() == 0 or np.ptp(result.raw) < 1e-5


@pytest.mark.thinned(1)
@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_a_batch_gives_what_single_images_give(method):
    model, x = small(), images(3)
    options = {"masks": 30} if method == "rise" else {"window": 3}
    for fill in ("mean", "blur"):
        many = tfcam.explain(model, x, target=[0, 1, 2], method=method, fill=fill, **options)
        for result, image, c in zip(many, x, range(3), strict=True):
            alone = tfcam.explain(model, image, target=c, method=method, fill=fill, **options)
            np.testing.assert_allclose(result.raw, alone.raw, atol=rounding(alone.score))
            assert result.measured == pytest.approx(alone.measured, rel=1e-3)


@pytest.mark.parametrize("fill", ["mean", "zero", "blur"])
def test_what_hides_is_what_metrics_hide_by(fill):
    x = images(2)
    found = np.broadcast_to(hidden_by(fill, tf.constant(x)).numpy(), x.shape)
    for each, image in zip(found, x, strict=True):
        wanted = metrics.impute(image, np.ones((8, 8), bool), fill)
        np.testing.assert_allclose(each, wanted, atol=rounding(image))


def test_a_probability_is_explained_where_it_is_asked_for():
    model, x = small(), images(1)[0]
    seen = filled(x, "mean")
    wanted = softmax(tail(model, forward(model, x))) - softmax(tail(model, forward(model, seen)))
    result = occluded(model, x, target=1, window=8, score="probability")
    np.testing.assert_allclose(result.raw, np.full((8, 8), wanted[1]), atol=rounding(1.0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"window": 9},
            "window must be at most the longest side of what the model takes, 8; got 9",
        ),
        ({"window": 0}, "window must be at least 1; got 0"),
        ({"window": (2, "x")}, "window must be a whole number; got 'x' of type str"),
        ({"window": ()}, "window must be a size, or a list of sizes; got an empty one"),
        ({"stride": 0}, "stride must be at least 1; got 0"),
        ({"fill": "grey"}, "fill must be one of mean, zero, blur; got 'grey'"),
        (
            {"segments": "grid:2", "window": 3},
            "hides windows or segments; got segments with window",
        ),
        (
            {"segments": "grid:2", "stride": 3},
            "hides windows or segments; got segments with stride",
        ),
        ({"segments": "slick"}, "one of grid:7, slic:49, quickshift:100.*Did you mean 'slic'"),
        ({"segments": "grid:0"}, "segments must be one of grid:7"),
        (
            {"segments": np.zeros((8, 7), int)},
            r"a map of what the model takes, \(8, 8\); got \(8, 7",
        ),
        ({"segments": np.zeros((8, 8))}, "an array of whole numbers.*got an array of float64"),
        ({"segments": 7}, "segments must be a name, such as 'grid:7', or an array.*got 7"),
        ({"eigen": True}, "'occlusion' combines none"),
    ],
)
def test_what_does_not_fit_is_told(options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        occluded(small(), images(1)[0], **options)


def test_what_does_not_fit_the_input_is_told():
    x = np.zeros((6, 2), "f4")
    with pytest.raises(ValueError, match=r"fill='blur' is for images \(H, W, C\); got .*\(6, 2\)"):
        occluded(additive(6, 2), x, fill="blur")
    with pytest.raises(ValueError, match=r"segments='slic' is for images \(H, W, C\); got"):
        occluded(additive(6, 2), x, segments="slic")


# --- segments -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["slic", "quickshift", "slic:4", "quickshift:3"])
def test_superpixels_keep_to_what_they_are_of(name):
    """Two halves of different colours: none holds some of both, none is numbered twice.

    Quickshift goes by modes, and may take both for one.
    """
    halves = np.zeros((2, 24, 24, 3), "f4")
    halves[0, :, 12:], halves[1, 12:] = (3, -1, 0.5), (1, 2, 9)
    parts = segmented(name, tf.constant(halves))
    most = int(name.partition(":")[2] or {"slic": 49, "quickshift": 100}[name])
    assert parts.count == most
    for numbers, image in zip(parts.numbers.numpy(), halves, strict=True):
        assert set(np.unique(numbers)) == set(range(numbers.max() + 1))
        assert numbers.max() < most
        for number in range(numbers.max() + 1) if "slic" in name else ():
            assert np.ptp(image[numbers == number], axis=0).max() == 0


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_superpixels_are_those_of_scikit_image_colours_as_eyes_see_them(channels):
    image = tfcam.scenes.draw_scene(3, size=48).image[:40].astype("f4")
    image = np.tile(image, 2)[..., :channels]
    unit = (image - image.min()) / np.ptp(image)
    unit = np.repeat(unit, 3, -1) if channels == 1 else unit
    expected = slic(unit.astype(float), 30, convert2lab=channels in (1, 3), start_label=0)
    assert len(np.unique(expected)) > 10
    (found,) = segmented("slic:30", tf.constant(image[np.newaxis])).numbers.numpy()
    np.testing.assert_array_equal(found, expected)


def test_superpixels_of_quickshift_are_those_that_lime_takes():
    image = tfcam.scenes.draw_scene(3, size=96).image.astype("f4")
    unit = (image - image.min()).astype(float) / np.ptp(image)
    expected = quickshift(unit, kernel_size=4, max_dist=200, ratio=0.2)
    assert 5 < len(np.unique(expected)) < 100
    (found,) = segmented("quickshift", tf.constant(image[np.newaxis])).numbers.numpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("name", ["slic", "quickshift"])
def test_superpixels_of_a_scene_show_the_shape(name):
    scene = tfcam.scenes.draw_scene(1)
    result = tfcam.explain(
        tfcam.demo_model(), scene.image, method="occlusion", segments=f"{name}:30", target=None
    )
    (mask,) = scene.masks
    assert result.raw[mask].mean() > 3 * np.abs(result.raw[~mask]).mean()


# --- RISE -----------------------------------------------------------------------------------


def masks_replica(count, cells, keep, seed, H, W):
    """Petsiuk et al. 2018, section 3.2: cells enlarged to (s + 1) of the step, cut at a shift."""
    cells_seen = tf.random.stateless_uniform((count, cells, cells), [seed, 0]).numpy() < keep
    steps = -(-H // cells), -(-W // cells)
    shifts = [
        tf.random.stateless_uniform((count,), [seed, 2 - axis], 0, steps[axis], tf.int32).numpy()
        for axis in range(2)
    ]
    masks = []
    for number in range(count):
        large = replicas.bilinear(
            cells_seen[number].astype(float), (cells + 1) * steps[0], (cells + 1) * steps[1]
        )
        y, x = shifts[0][number], shifts[1][number]
        masks.append(large[y : y + H, x : x + W])
    return np.array(masks)


@pytest.mark.parametrize(
    ("cells", "keep", "seed", "sides"), [(3, 0.5, 0, (8, 8)), (2, 0.2, 4, (5, 9))]
)
def test_masks_are_those_of_the_paper(cells, keep, seed, sides):
    made = rise_masks(20, cells, keep, seed, sides)(tf.range(20)).numpy()
    np.testing.assert_allclose(made, masks_replica(20, cells, keep, seed, *sides), atol=1e-5)
    assert made.min() >= 0
    assert made.max() <= 1


def test_every_pixel_is_seen_equally_often():
    made = rise_masks(6000, 3, 0.3, 1, (10, 7))(tf.range(6000)).numpy()
    deviation = np.sqrt(0.3 * 0.7 / 6000)
    np.testing.assert_allclose(made.mean(0), np.full((10, 7), 0.3), atol=5 * deviation)
    # Nine cells would make 512 masks, if all were cut at the same place.
    assert len(np.unique(made.reshape(6000, -1), axis=0)) > 2000


def rise_replica(model, x, c, masks, keep, centred, fill):
    """S = sum f M / sum M, or C = mean (f - mean f) (M - p) / (p (1 - p)), and its error."""
    hidden = filled(x, fill)
    f = np.array([score(model, x * m[..., None] + hidden * (1 - m[..., None]), c) for m in masks])
    f3 = f[:, None, None]
    N = len(masks)
    if centred:
        terms = (f3 - f.mean()) * (masks - keep) / (keep * (1 - keep))
        raw = terms.mean(0)
        error = terms.std(0) / np.sqrt(N - 1)
    else:
        raw = (f3 * masks).sum(0) / masks.sum(0)
        error = np.sqrt(((masks * (f3 - raw)) ** 2).sum(0)) / masks.sum(0)
    return raw, error.mean() / raw.std()


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("masks", "fill"), [(50, "zero"), (33, "mean"), (70, "blur")])
@pytest.mark.thinned(4)
def test_rise_equals_the_replica(masks, fill, centred):
    model, x = small(), images(2)
    options = {"masks": masks, "cells": 3, "keep": 0.4, "seed": 3, "fill": fill}
    found = tfcam.explain(model, x, target=[0, 2], method="rise", centred=centred, **options)
    made = masks_replica(masks, 3, 0.4, 3, 8, 8)
    for result, each, c in zip(found, x, [0, 2], strict=True):
        raw, error = rise_replica(model, each, c, made, 0.4, centred, fill)
        assert relative(result.raw, raw) < 10 * ROUNDED
        assert result.measured["standard_error"] == pytest.approx(error, rel=1e-3)


@law("linear network: w x by the masks' covariance", "rise")
@pytest.mark.parametrize("centred", [False, True])
def test_of_a_linear_function_of_two_pixels(centred):
    model = additive(2, 1, function=lambda x: x)
    x = np.array([[1], [3]], "f4")
    made = rise_masks(4000, 2, 0.5, 0, (2,))(tf.range(4000)).numpy().astype(float)
    f = made @ x[:, 0]
    result = tfcam.explain(
        model, x, target=0, method="rise", masks=4000, cells=2, fill="zero", centred=centred
    )
    covariance = (made - 0.5).T @ (made - made.mean(0)) / 4000 / 0.25
    wanted = covariance @ x[:, 0] if centred else (f @ made) / made.sum(0)
    np.testing.assert_allclose(result.raw, wanted, rtol=1e-3)


@law("its error halves with four times the masks", "rise")
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.thinned(1, kept="slow")
def test_the_standard_error_is_what_seeds_differ_by(centred):
    model, x = small(), images(1)[0]
    options = {"target": 1, "method": "rise", "cells": 3, "fill": "zero", "centred": centred}
    explainers = [tfcam.explain(model, x, masks=100, seed=seed, **options) for seed in range(8)]
    raws = np.stack([each.raw for each in explainers])
    said = np.mean([each.measured["standard_error"] * each.raw.std() for each in explainers])
    assert said == pytest.approx(raws.std(0, ddof=1).mean(), rel=0.4)
    many = tfcam.explain(model, x, masks=400, **options)
    assert many.measured["standard_error"] * many.raw.std() == pytest.approx(said / 2, rel=0.25)


@law("a seed repeats", "rise")
def test_a_seed_repeats_and_another_differs():
    model, x = small(), images(1)[0]
    once, again, other = (
        tfcam.explain(model, x, target=1, method="rise", masks=40, seed=seed).raw
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(once, again)
    assert relative(other, once) > 1e-3


@law("heatmap: above its least value", "rise")
def test_the_heatmap_of_rise_is_what_is_above_its_least_value():
    model, x = small(), images(1)[0]
    plain = tfcam.explain(model, x, target=1, method="rise", masks=60)
    wanted = (plain.raw - plain.raw.min()) / np.ptp(plain.raw)
    np.testing.assert_allclose(plain.heatmap, wanted, atol=1e-5)
    centred = tfcam.explain(model, x, target=1, method="rise", masks=60, centred=True)
    wanted = np.maximum(centred.raw, 0) / centred.raw.max()
    np.testing.assert_allclose(centred.heatmap, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"keep": 0}, "keep must be between 0 and 1, a probability; got 0"),
        ({"keep": 1.0}, "keep must be between 0 and 1"),
        ({"masks": 0}, "masks must be at least 1"),
        ({"cells": "x"}, "cells must be of type int"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_what_does_not_fit_rise_is_told(options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        tfcam.explain(small(), images(1)[0], method="rise", **options)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.thinned(1)
def test_rise_points_at_the_shape(seed):
    scene = tfcam.scenes.draw_scene(seed)
    result = tfcam.explain(
        tfcam.demo_model(), scene.image, target=scene.labels[0], method="rise", masks=200
    )
    (mask,) = scene.masks
    top = np.unravel_index(result.heatmap.argmax(), mask.shape)
    rows, columns = np.nonzero(mask)
    assert np.hypot(rows - top[0], columns - top[1]).min() < 10


# --- at every door --------------------------------------------------------------------------

DOORS = [("occlusion", {"window": 3}), ("rise", {"masks": 20})]


@pytest.mark.parametrize("method", DOORS, ids=str)
@pytest.mark.thinned(1, kept="slow")
def test_every_door_shows_the_same_map(method, tmp_path):
    model, pictures = (
        networks.flat(),
        [
            np.random.default_rng(seed).integers(0, 255, (12, 12, 3)).astype("u1")
            for seed in range(2)
        ],
    )
    name, options = method
    wanted = tfcam.explain(model, pictures, target=1, method=name, preprocess="unit", **options)
    found = tfcam.compare(model, pictures[0], methods=[method], targets=[1], preprocess="unit")
    ((cell,),) = found.cells
    # A fall is the difference of two scores: it holds their roundings, of some layers each.
    off = rounding(abs(wanted[0].score), count=20) / np.ptp(wanted[0].raw)
    assert off < 1e-3
    np.testing.assert_allclose(cell.heatmap, wanted[0].heatmap, atol=max(off, 1e-5))
    store = tfcam.stream(
        model, pictures, to=tmp_path, target=1, method=name, preprocess="unit", **options
    )
    for number, each in enumerate(wanted):
        np.testing.assert_allclose(store.explanation(number).heatmap, each.heatmap, atol=1e-3)
    boxes = np.array([[0, 0, 6, 12]], "f4")
    data = [tfcam.Example(str(n), picture, boxes) for n, picture in enumerate(pictures)]
    table = tfcam.evaluate(
        model, data, methods=[method], metrics=["energy"], baselines=(), target=1, preprocess="unit"
    ).table
    for number, each in enumerate(wanted):
        (value,) = table[table.image == str(number)]["value"]
        assert value == pytest.approx(metrics.energy(each.heatmap, boxes), abs=1e-4)


@pytest.mark.slow
def test_an_explainer_masks_in_its_graph_and_leaves_the_model_as_it_was():
    model, x = networks.flat(), networks.pictures(2)
    before = networks.snapshot(model, x)
    for name, options in DOORS:
        explainer = tfcam.Explainer(model, method=name, freeze=True, **options)
        once = explainer(x, 1)
        np.testing.assert_array_equal(explainer(x, 1).raws, once.raws)
        plain = tfcam.explain(model, x, target=1, method=name, **options)
        np.testing.assert_allclose(once.raws, plain.raws, atol=rounding(plain.raws))
        assert re.match("the method explains the input", once[0].layer_reason)
    assert networks.snapshot(model, x) == before
