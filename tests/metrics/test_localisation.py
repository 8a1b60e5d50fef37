"""Measures of localisation: golden values, hand arithmetic, laws, loops in float64."""

import keras
import numpy as np
import pytest

import tfcam
from tests.maps.test_maps import LINE_AND_BLOB, WSOL, drawn, flood_fill
from tfcam import maps
from tfcam.metrics import localisation as loc
from tfcam.metrics import wsol

TAUS = np.arange(100) / 100


def smooth(rng, size=(20, 26), small=(4, 5)):
    return maps.scale(maps.resize(rng.random(small), size))


def some_boxes(rng, size, count):
    """Boxes of at least one pixel."""
    x, y = (np.sort(rng.choice(length, (count, 2)), axis=1) for length in size[::-1])
    return np.stack([x[:, 0], y[:, 0], x[:, 1] + 1, y[:, 1] + 1], axis=1)


# --- loops ----------------------------------------------------------------------------------


def iou_loops(box, other):
    shared = 1.0
    for low, high in ((0, 2), (1, 3)):
        shared *= max(min(box[high], other[high]) - max(box[low], other[low]), 0.0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return shared / (sum(areas) - shared)


def pixels(boxes, size):
    inside = np.zeros(size, bool)
    for i in range(size[0]):
        for j in range(size[1]):
            for x0, y0, x1, y1 in boxes:
                inside[i, j] |= x0 <= j + 0.5 < x1 and y0 <= i + 0.5 < y1
    return inside


def hit_loops(heatmap, inside, tolerance):
    best, at = -1.0, (0, 0)
    for i in range(heatmap.shape[0]):
        for j in range(heatmap.shape[1]):
            if heatmap[i, j] > best:
                best, at = heatmap[i, j], (i, j)
    near = [
        (i - at[0]) ** 2 + (j - at[1]) ** 2 < tolerance**2
        for i, j in zip(*np.nonzero(inside), strict=True)
    ]
    return any(near)


def energy_loops(heatmap, inside):
    part = total = 0.0
    for i in range(heatmap.shape[0]):
        for j in range(heatmap.shape[1]):
            total += float(heatmap[i, j])
            part += float(heatmap[i, j]) * bool(inside[i, j])
    return part / total


# --- one heatmap ----------------------------------------------------------------------------


def test_golden_overlap_of_wsolevaluation():
    one, two = loc.half_open([[1, 2, 5, 6]]), loc.half_open([[3, 1, 4, 5]])
    assert loc.best_iou(one, two) == pytest.approx(8 / 27)
    assert loc.best_iou(loc.half_open([[0, 0, 9, 9]]), loc.half_open([[5, 0, 14, 9]])) == (
        pytest.approx(1 / 3)
    )


def test_golden_resizing_of_wsolevaluation():
    # From 10 x 20 to 35 x 10 (width x height), cut to whole numbers: (1, 2, 4, 3) is (3, 1, 14, 1).
    scaled = np.array([1, 2, 4, 3]) * [35 / 10, 10 / 20, 35 / 10, 10 / 20]
    assert scaled.astype(int).tolist() == [3, 1, 14, 1]
    # That is the inclusive box of a single row of pixels, and here [3, 1, 15, 2).
    assert loc.half_open([scaled.astype(int)]).tolist() == [[3, 1, 15, 2]]


@pytest.mark.parametrize(("values", "golden"), WSOL)
def test_the_curve_finds_the_golden_boxes_of_wsolevaluation(values, golden):
    values = np.array(values, np.float32)
    height, width = values.shape
    thresholds = np.array([0.0, 0.2, 0.4, 0.6, 0.8])
    for number, expected in enumerate(golden):
        found = maps.boxes(values, thresholds[number], "all")
        # Theirs is [x, y, min(x + w, W - 1), min(y + h, H - 1)]; ours [x, y, x + w, y + h).
        theirs = np.minimum(found, [width, height, width - 1, height - 1])
        truth = found[(theirs == expected).all(axis=1)]
        assert len(truth) == 1
        assert loc.iou_curve(values, truth, thresholds, "all")[number] == 1


def test_best_iou_by_hand():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]])
    assert loc.best_iou(boxes, np.array([[5, 0, 15, 10], [20, 0, 30, 20]])) == 0.5
    assert loc.best_iou(boxes, np.array([[5, 0, 15, 10]])) == pytest.approx(1 / 3)
    assert loc.best_iou(np.zeros((0, 4)), np.array([[0, 0, 1, 1]])) == 0


def test_overlaps_are_those_of_loops(rng):
    for _ in range(10):
        one, two = (some_boxes(rng, (12, 9), 4) for _ in range(2))
        expected = [[iou_loops(a, b) for b in two] for a in one]
        np.testing.assert_allclose(maps.ious(one, two), expected, atol=1e-15)
        assert loc.best_iou(one, two) == pytest.approx(max(map(max, expected)))


def test_empty_uniform_and_line():
    truth = np.array([[0, 0, 6, 4]])
    assert loc.box_iou(np.zeros((4, 6)), truth) == 0  # no box, never the whole picture
    assert loc.box_iou(np.ones((4, 6)), truth) == 1  # all ones: the whole picture
    assert loc.box_iou(LINE_AND_BLOB, np.array([[0, 0, 10, 1]])) == 1  # ten pixels beat four
    assert loc.box_iou(LINE_AND_BLOB, np.array([[10, 2, 12, 4]])) == 0
    assert loc.box_iou(LINE_AND_BLOB, np.array([[10, 2, 12, 4]]), components="all") == 1
    assert loc.box_iou(LINE_AND_BLOB, np.array([[0, 0, 12, 4]]), components="enclosing") == 1


def test_top_quarter_by_hand():
    heatmap = drawn(
        "98......", "76......", "........", ".......5"
    )  # 8 of 32 pixels, 3 of them zero
    # The three zeros are the first of the zeros: (0, 2), (0, 3), (0, 4).
    assert loc.top_quarter_iou(heatmap, np.array([[0, 0, 8, 4]])) == 1
    assert loc.top_quarter_iou(heatmap, np.array([[0, 0, 5, 2]]), "largest") == 1
    # A uniform map: the first quarter of the rows; a map of zeros: none.
    assert loc.top_quarter_iou(np.full((8, 8), 0.3), np.array([[0, 0, 8, 2]])) == 1
    assert loc.top_quarter_iou(np.zeros((8, 8)), np.array([[0, 0, 8, 2]])) == 0


@pytest.mark.parametrize("components", ["largest", "all", "enclosing"])
def test_the_curve_is_the_overlap_at_each_threshold(rng, components):
    for number in range(12):
        heatmap = smooth(rng) if number % 2 else rng.random((14, 11)).astype(np.float32)
        truths = some_boxes(rng, heatmap.shape, 1 + number % 3)
        curve = loc.iou_curve(heatmap, truths, TAUS, components)
        expected = [loc.box_iou(heatmap, truths, tau, components) for tau in TAUS]
        np.testing.assert_array_equal(curve, expected)


def test_the_curve_is_that_of_a_flood_fill(rng):
    heatmap = rng.random((9, 12)).astype(np.float32)
    truths = some_boxes(rng, heatmap.shape, 2)
    for threshold in (0.31, 0.62, 0.83):
        parts = [box for _, box in flood_fill(heatmap, threshold)]
        for components, boxes in (("largest", parts[:1]), ("all", parts)):
            expected = max(iou_loops(a, b) for a in boxes for b in truths)
            curve = loc.iou_curve(heatmap, truths, np.array([threshold]), components)
            assert curve == pytest.approx([expected])


def test_the_curve_of_nothing_is_zero():
    truth = np.array([[0, 0, 2, 2]])
    np.testing.assert_array_equal(loc.iou_curve(np.zeros((2, 2)), truth, TAUS), np.zeros(100))
    np.testing.assert_array_equal(loc.iou_curve(np.ones((2, 2)), truth, TAUS), np.ones(100))


@pytest.mark.parametrize(("distance", "hit"), [(0, True), (14, True), (15, False), (16, False)])
def test_pointing_tolerates_less_than_fifteen_pixels(distance, hit):
    heatmap = np.zeros((40, 50))
    heatmap[20, 5] = 1
    box = np.array([[5 + distance, 20, 50, 21]])
    assert loc.pointing_game(heatmap, box) is hit
    assert loc.pointing_game(heatmap, pixels(box, (40, 50))) is hit
    assert loc.pointing_game(heatmap, box, tolerance=0) is (distance == 0)


def test_pointing_measures_squared_distance():
    heatmap = np.zeros((40, 40))
    heatmap[0, 0] = 1
    assert not loc.pointing_game(heatmap, np.array([[9, 12, 10, 13]]))  # 81 + 144 = 225
    assert loc.pointing_game(heatmap, np.array([[8, 12, 9, 13]]))  # 64 + 144 = 208


def test_pointing_takes_the_first_of_equal_maxima_and_nothing_points_nowhere():
    heatmap = np.zeros((3, 60))
    heatmap[1, [10, 50]] = 1
    assert loc.pointing_game(heatmap, np.array([[9, 1, 12, 2]]), 0)
    assert not loc.pointing_game(heatmap, np.array([[49, 1, 52, 2]]), 0)
    assert not loc.pointing_game(np.zeros((3, 3)), np.ones((3, 3), bool))


def test_pixel_measures_are_those_of_loops(rng):
    for number in range(20):
        heatmap = smooth(rng) if number % 2 else rng.random((20, 26))
        boxes = some_boxes(rng, heatmap.shape, 1 + number % 2)
        inside = pixels(boxes, heatmap.shape)
        np.testing.assert_array_equal(loc.truth_mask(boxes, heatmap.shape), inside)
        assert loc.energy(heatmap, boxes) == pytest.approx(energy_loops(heatmap, inside))
        for tolerance in (1, 3, 15):
            assert loc.pointing_game(heatmap, boxes, tolerance) == hit_loops(
                heatmap, inside, tolerance
            )
        order = sorted(range(heatmap.size), key=lambda each: -heatmap.flat[each])
        top = order[: inside.sum()]
        expected = sum(bool(inside.flat[each]) for each in top) / inside.sum()
        assert loc.relevance_rank_accuracy(heatmap, boxes) == pytest.approx(expected)


def test_a_fractional_box_holds_the_pixels_whose_centre_it_holds():
    assert loc.truth_mask(np.array([[0.5, 0.0, 2.5, 0.6]]), (2, 4)).tolist() == [
        [True, True, False, False],
        [False] * 4,
    ]


@pytest.mark.parametrize("value", [1e-3, 0.4, 1.0])
def test_the_energy_of_a_uniform_map_is_the_area(rng, value):
    for boxes in (some_boxes(rng, (11, 7), 2) for _ in range(5)):
        area = loc.area_fraction(boxes, (11, 7))
        assert area == pixels(boxes, (11, 7)).mean()
        assert loc.energy(np.full((11, 7), value, np.float32), boxes) == pytest.approx(area)


def test_a_perfect_map_is_perfect(rng):
    truth = rng.random((9, 8)) > 0.7
    heatmap = truth.astype(np.float32)
    assert loc.energy(heatmap, truth) == 1
    assert loc.relevance_rank_accuracy(heatmap, truth) == 1
    assert loc.pointing_game(heatmap, truth, 0)
    assert loc.energy(1 - heatmap, truth) == 0
    assert loc.relevance_rank_accuracy(0 * heatmap, truth) == loc.energy(0 * heatmap, truth) == 0


def test_localised_from_a_half_on():
    assert loc.gt_known_localisation([0.5, 0.4999999, 1.0]) == pytest.approx(2 / 3)
    assert loc.top1_localisation([0.5, 0.6, 0.4, 0.9], [True, False, True, True]) == 0.5


def test_the_mean_over_classes_is_not_that_over_images():
    hits, classes = [True] * 8 + [False] * 2, [3] * 8 + [5] * 2
    assert np.mean(hits) == 0.8
    assert loc.mean_over_classes(hits, classes) == 0.5


BAD_MAP = np.array([[0.0, np.nan]])
TRUTH = np.array([[0, 0, 1, 1]])


@pytest.mark.parametrize(
    "measure",
    [
        loc.box_iou,
        loc.top_quarter_iou,
        loc.pointing_game,
        loc.energy,
        loc.relevance_rank_accuracy,
        lambda heatmap, truth: loc.iou_curve(heatmap, truth, TAUS),
        lambda heatmap, truth: wsol.PixelAveragePrecision().update_state([heatmap], [truth]),
        lambda heatmap, truth: wsol.MaxBoxAccuracy().update_state([heatmap], [truth]),
    ],
)
def test_a_map_that_is_not_finite_is_refused(measure):
    with pytest.raises(ValueError, match="must be finite .*tfcam.diagnose"):
        measure(BAD_MAP, TRUTH)


def test_what_is_refused():
    ones = np.ones((4, 6))
    with pytest.raises(ValueError, match=r"the size of the heatmap, \(4, 6\); got \(6, 4\)"):
        loc.energy(ones, np.ones((6, 4), bool))
    with pytest.raises(ValueError, match="at least one pixel of the 6 x 4 picture"):
        loc.energy(ones, np.array([[0.1, 0.1, 0.3, 0.3]]))
    for boxes in (np.zeros((0, 4)), np.zeros(4), [[0, 0, np.nan, 1]]):
        with pytest.raises(ValueError, match=r"must be \(n, 4\), at least one"):
            loc.box_iou(ones, boxes)
    for thresholds in ([0.2, 0.1], [0.5, 1.0], [-0.1], []):
        with pytest.raises(ValueError, match="Thresholds must rise, 0 <= threshold < 1"):
            loc.iou_curve(ones, TRUTH, thresholds)
    with pytest.raises(ValueError, match="at least 0 pixels; got -1"):
        loc.pointing_game(ones, TRUTH, -1)
    with pytest.raises(ValueError, match="got 1 hits and 2 classes"):
        loc.mean_over_classes([True], [1, 2])
    with pytest.raises(ValueError, match="got 0 and 0"):
        loc.gt_known_localisation([])


# --- sets -----------------------------------------------------------------------------------


def a_set(rng, count=7):
    heatmaps = [smooth(rng) for _ in range(count)]
    return heatmaps, [some_boxes(rng, (20, 26), 1 + n % 2) for n in range(count)]


@pytest.mark.parametrize(
    ("version", "deltas", "parts"), [(1, [0.5], 1), (2, [0.3, 0.5, 0.7], None)]
)
def test_max_box_accuracy_is_that_of_loops(rng, version, deltas, parts):
    heatmaps, boxes = a_set(rng)
    taus = [0.0, 0.1, 0.25, 0.4, 0.6, 0.8, 0.95]
    best = []
    for delta in deltas:
        shares = []
        for tau in taus:
            right = 0
            for heatmap, truths in zip(heatmaps, boxes, strict=True):
                found = [box for _, box in flood_fill(heatmap, tau)][:parts]
                right += max(iou_loops(a, b) for a in found for b in truths) >= delta
            shares.append(right / len(heatmaps))
        best.append(max(shares))
    metric = wsol.MaxBoxAccuracy(version, thresholds=taus)
    for start in (0, 3, 5):  # in batches of different sizes
        part = slice(start, {0: 3, 3: 5, 5: None}[start])
        metric.update_state(heatmaps[part], boxes[part])
    assert float(metric.result()) == pytest.approx(np.mean(best))
    assert list(metric.best_thresholds) == deltas
    np.testing.assert_allclose(metric.accuracies.max(axis=1), best)


def test_one_threshold_holds_for_the_whole_set():
    # Each map alone is right at one of the thresholds, but no threshold is right for both: a best
    # threshold for each image would say 1.
    heatmaps = [drawn("9999", "3333", "3333"), drawn("9922", "9922", "2222")]
    boxes = [np.array([[0, 0, 4, 3]]), np.array([[0, 0, 2, 2]])]
    thresholds = [0.1, 0.5]
    alone = [wsol.MaxBoxAccuracy(1, thresholds) for _ in heatmaps]
    both = wsol.MaxBoxAccuracy(1, thresholds)
    for metric, heatmap, box in zip(alone, heatmaps, boxes, strict=True):
        metric.update_state([heatmap], [box])
        both.update_state([heatmap], [box])
    assert [float(metric.result()) for metric in alone] == [1, 1]
    assert float(both.result()) == 0.5


def test_version_2_takes_the_best_of_all_parts():
    for version, expected in ((1, 0), (2, 1)):
        metric = wsol.MaxBoxAccuracy(version)
        metric.update_state([LINE_AND_BLOB], [np.array([[10, 2, 12, 4]])])
        assert float(metric.result()) == expected


def test_pixel_average_precision_is_that_of_loops(rng):
    heatmaps = [*(smooth(rng) for _ in range(4)), rng.random((5, 6)).astype(np.float32)]
    masks = [rng.random(each.shape) > 0.6 for each in heatmaps]
    ignored = [rng.random(each.shape) > 0.9 for each in heatmaps]
    taus = np.arange(0, 20) / 20
    area, last = 0.0, 0.0
    truth = sum((m & ~g).sum() for m, g in zip(masks, ignored, strict=True))
    for tau in taus[::-1]:
        chosen = right = 0
        for heatmap, mask, region in zip(heatmaps, masks, ignored, strict=True):
            for value, true, out in zip(heatmap.flat, mask.flat, region.flat, strict=True):
                chosen += value >= np.float32(tau) and not out
                right += value >= np.float32(tau) and not out and bool(true)
        recall = right / truth
        area += (right / chosen if chosen else 0.0) * (recall - last)
        last = recall
    metric = wsol.PixelAveragePrecision(taus)
    metric.update_state(heatmaps[:2], masks[:2], ignored[:2])
    metric.update_state(heatmaps[2:], masks[2:], ignored[2:])
    assert float(metric.result()) == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.005, 0.5, 1.0])
def test_pixel_average_precision_of_uniform_and_perfect_maps(rng, value):
    truth = rng.random((9, 8)) > 0.7
    metric = wsol.PixelAveragePrecision()
    metric.update_state([np.full((9, 8), value)], [truth])
    assert float(metric.result()) == pytest.approx(truth.mean())
    metric.reset_state()
    assert float(metric.result()) == 0
    metric.update_state([truth.astype(np.float32)], [truth])
    assert float(metric.result()) == 1


def test_mean_overlap_and_its_curve(rng):
    heatmaps, boxes = a_set(rng)
    curves = [loc.iou_curve(m, b, TAUS) for m, b in zip(heatmaps, boxes, strict=True)]
    curve, one = wsol.BoxIoU(TAUS), wsol.BoxIoU(0.2)
    for metric in (curve, one):
        metric.update_state(heatmaps, boxes)
    np.testing.assert_allclose(np.asarray(curve.result()), np.mean(curves, axis=0))
    assert float(one.result()) == pytest.approx(np.mean(curves, axis=0)[20])


@pytest.mark.parametrize(
    "metric",
    [
        wsol.BoxIoU(TAUS),
        wsol.MaxBoxAccuracy(1),
        wsol.MaxBoxAccuracy(),
        wsol.PixelAveragePrecision(),
        wsol.PointingGame(tolerance=0),
    ],
    ids=lambda metric: metric.name,
)
def test_counts_of_several_sets_give_the_result_of_each(rng, metric):
    heatmaps, boxes = a_set(rng)
    boxes[0] = maps.boxes(heatmaps[0], 0.3)
    results, counts = [], []
    for count in (1, 2, len(heatmaps)):
        metric.reset_state()
        metric.update_state(heatmaps[:count], boxes[:count])
        results.append(np.asarray(metric.result()))
        counts.append([np.array(each) for each in metric.variables])
    several = [np.stack(each) for each in zip(*counts, strict=True)]
    np.testing.assert_array_equal(metric.value(*several), results)
    assert len(np.unique(results)) > 1


def test_both_versions_of_max_box_accuracy_search_for_parts_once(rng, monkeypatch):
    heatmaps, boxes = a_set(rng)
    boxes[0] = maps.boxes(heatmaps[0], 0.3)
    wanted = wsol.MaxBoxAccuracy(1)
    wanted.update_state(heatmaps, boxes)
    loc._CURVES._slots.clear()
    wsol.MaxBoxAccuracy(2).update_state(heatmaps, boxes)
    monkeypatch.delattr(maps, "ious")
    first = wsol.MaxBoxAccuracy(1)
    first.update_state(heatmaps, boxes)
    np.testing.assert_array_equal(first.accuracies, wanted.accuracies)
    monkeypatch.undo()
    moved = [box - 9 for box in boxes]  # other boxes are other overlaps
    first.update_state(heatmaps, moved)
    assert not np.array_equal(first.accuracies, wanted.accuracies)


def test_sets_of_explanations_of_any_sizes():
    model, scenes = tfcam.demo_model(), [tfcam.scenes.draw_scene(seed) for seed in (1, 2)]
    images = [scenes[0].image, scenes[1].image[:100, :120]]
    results = tfcam.Explainer(model, preprocess="raw")(images)
    assert {each.heatmap.shape for each in results} == {(128, 128), (100, 120)}
    boxes = [np.array([[10, 10, 90, 90]])] * 2
    for metric in (wsol.BoxIoU(), wsol.MaxBoxAccuracy(), wsol.PixelAveragePrecision()):
        metric.update_state(results, boxes)
        value = float(metric.result())
        metric.reset_state()
        metric.update_state([each.heatmap for each in results], boxes)
        assert float(metric.result()) == value


def test_random_maps_have_the_energy_of_the_area_and_maps_of_the_shape_more(rng):
    scenes = [tfcam.scenes.draw_scene(seed) for seed in range(12)]
    explainer = tfcam.Explainer(tfcam.demo_model())
    results = explainer([s.image for s in scenes], [s.labels[0] for s in scenes])
    for scene, result in zip(scenes, results, strict=True):
        mask = scene.masks[0]
        area = loc.area_fraction(mask, mask.shape)
        assert loc.energy(rng.random(mask.shape), mask) == pytest.approx(area, rel=0.05)
        assert loc.energy(result.heatmap, mask) > 2 * area
        assert loc.relevance_rank_accuracy(result.heatmap, mask) > 2 * area


def test_pointing_is_averaged_over_the_classes_that_occur():
    heatmap = np.zeros((3, 60))
    heatmap[1, 0] = 1
    hit, miss = np.array([[0, 0, 1, 3]]), np.array([[59, 0, 60, 3]])
    truths, labels = [hit] * 4 + [miss], [0, 0, 0, 2, 2]
    metric = wsol.PointingGame(classes=4)
    metric.update_state([heatmap] * 5, truths, labels)
    assert float(metric.result()) == pytest.approx((1 + 0.5) / 2)
    hits = [loc.pointing_game(heatmap, each) for each in truths]
    assert float(metric.result()) == pytest.approx(loc.mean_over_classes(hits, labels))
    plain = wsol.PointingGame()
    plain.update_state([heatmap] * 5, truths)
    assert float(plain.result()) == pytest.approx(0.8)


METRICS = [
    wsol.BoxIoU(0.3, "all"),
    wsol.BoxIoU([0.1, 0.3]),
    wsol.MaxBoxAccuracy(1),
    wsol.MaxBoxAccuracy(2, thresholds=[0.1, 0.2]),
    wsol.PixelAveragePrecision([0.0, 0.5]),
    wsol.PointingGame(tolerance=3),
]


@pytest.mark.parametrize("metric", METRICS, ids=lambda each: each.name)
def test_metrics_are_keras_metrics(rng, metric):
    heatmaps, boxes = a_set(rng, 3)
    assert isinstance(metric, keras.metrics.Metric)
    assert np.all(np.asarray(metric.result()) == 0)  # nothing seen: no NaN
    metric.update_state(heatmaps, boxes)
    again = type(metric).from_config(metric.get_config())
    again.update_state(np.stack(heatmaps), boxes)  # a batch as one array
    np.testing.assert_array_equal(np.asarray(again.result()), np.asarray(metric.result()))
    sizes = [variable.shape for variable in metric.variables]
    metric.update_state(heatmaps, boxes)  # the same again: the same mean, no more memory
    assert [variable.shape for variable in metric.variables] == sizes
    np.testing.assert_allclose(np.asarray(metric.result()), np.asarray(again.result()))
    metric.reset_state()
    assert np.all(np.asarray(metric.result()) == 0)


def test_pixels_are_counted_beyond_what_float32_holds():
    metric = wsol.PixelAveragePrecision([0.0])
    metric.update_state([np.ones((1, 3))], [np.array([[True, False, False]])])
    metric._all.assign_add([2.0**24])
    metric._all.assign_add([1.0])
    assert float(metric._all[0]) == 2**24 + 4


def test_metrics_refuse():
    with pytest.raises(ValueError, match="version must be 1 or 2; got 3"):
        wsol.MaxBoxAccuracy(3)
    with pytest.raises(ValueError, match="Thresholds must start at 0"):
        wsol.PixelAveragePrecision([0.1, 0.2])
    with pytest.raises(ValueError, match=r"must be in \[0, 1\].* got 0.0 to 2.0"):
        wsol.PixelAveragePrecision().update_state([np.array([[0.0, 2.0]])], [TRUTH])
    with pytest.raises(ValueError, match="at least one class; got 0"):
        wsol.PointingGame(0)
    with pytest.raises(ValueError, match="Pass labels.* there are 2"):
        wsol.PointingGame(2).update_state([np.ones((1, 1))], [TRUTH])


# --- the area under the ROC curve ------------------------------------------------------------


def test_localisation_auc_counts_pairs_of_pixels(rng):
    for heatmap in (rng.random((5, 6)), rng.integers(0, 4, (5, 6)) / 4):
        truth = rng.random((5, 6)) < 0.4
        pairs = [(a > b) + (a == b) / 2 for a in heatmap[truth] for b in heatmap[~truth]]
        assert loc.localisation_auc(heatmap, truth) == pytest.approx(np.mean(pairs))
        assert loc.localisation_auc(1 - heatmap, truth) == pytest.approx(1 - np.mean(pairs))
        assert loc.localisation_auc(heatmap**3, truth) == pytest.approx(np.mean(pairs))
        assert loc.localisation_auc(heatmap, ~truth) == pytest.approx(1 - np.mean(pairs))


def test_localisation_auc_at_its_ends():
    truth = np.zeros((4, 4), bool)
    truth[:2, :3] = True
    assert loc.localisation_auc(truth.astype(float), truth) == 1
    assert loc.localisation_auc(truth.astype(float), np.array([[0, 0, 3, 2]])) == 1
    assert loc.localisation_auc((~truth).astype(float), truth) == 0
    for value in (0.0, 0.3, 1.0):
        assert loc.localisation_auc(np.full((4, 4), value), truth) == 0.5
    assert np.isnan(loc.localisation_auc(np.eye(4), np.ones((4, 4), bool)))
    with pytest.raises(ValueError, match="must be finite"):
        loc.localisation_auc(np.full((4, 4), np.nan), truth)
