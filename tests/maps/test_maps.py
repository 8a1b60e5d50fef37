"""From raw map to boxes: against TensorFlow, against a flood fill in loops, and by hand."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tests.tolerances import rounding
from tfcam import maps
from tfcam.maps.scaling import shown_values


def drawn(*rows):
    """A map from text: '.' is 0, a digit d is d / 9."""
    return np.array([[0 if c == "." else int(c) / 9 for c in row] for row in rows], np.float32)


# --- resize, scale, heatmap -----------------------------------------------------------------


def bilinear(values, size):
    """Bilinear resizing in float64, pixel centres at half positions."""
    for axis, (old, new) in enumerate(zip(values.shape, size, strict=False)):
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        part = (at - low).reshape([-1 if each == axis else 1 for each in range(values.ndim)])
        high = np.minimum(low + 1, old - 1)
        values = np.take(values, low, axis) * (1 - part) + np.take(values, high, axis) * part
    return values


@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (5,)])
@pytest.mark.parametrize(
    ("small", "size"),
    [
        ((7, 7), (224, 224)),
        ((7, 7), (7, 7)),
        ((1, 1), (5, 3)),
        ((1, 4), (9, 2)),
        ((5, 3), (31, 64)),
        ((3, 5), (10, 10)),
        ((12, 9), (6, 3)),
        ((10, 20), (13, 7)),
        ((31, 64), (5, 3)),
    ],
)
def test_resize_is_bilinear_as_tensorflows(rng, small, size, channels):
    values = rng.random((*small, *channels))
    resized = maps.resize(values, size)
    assert resized.dtype == np.float32
    assert resized.shape == (*size, *channels)
    batch = tf.constant(values.reshape(1, *small, -1), tf.float32)
    theirs = tf.image.resize(batch, size, method="bilinear").numpy().reshape(resized.shape)
    # Positions are float32 in TensorFlow, and in OpenCV for some numbers of channels.
    tolerance = rounding(max(small), count=2)
    np.testing.assert_allclose(resized, theirs, atol=tolerance)
    np.testing.assert_allclose(resized, bilinear(values, size), atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.uint8])
def test_resize_takes_any_real_dtype_and_leaves_it(dtype):
    values = np.array([[0, 4], [8, 12]], dtype)
    before = values.copy()
    assert maps.resize(values, (2, 4)).tolist() == [[0, 1, 3, 4], [8, 9, 11, 12]]
    np.testing.assert_array_equal(values, before, strict=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3))),
        (np.full((2, 3), -4.0), np.zeros((2, 3))),
        (np.full((2, 3), 0.7), np.ones((2, 3))),
        ([[-8.0, 0.0, 1.0, 4.0]], [[0, 0, 1 / 4, 1]]),
        ([[-1.0, 1e-42]], [[0, 1]]),  # smaller than the smallest normal float32
        ([[3e38, 1.5e38]], [[1, 1 / 2]]),
        (np.zeros((0, 3)), np.zeros((0, 3))),
    ],
)
def test_scale_by_hand(values, expected):
    scaled = maps.scale(np.asarray(values, np.float32))
    np.testing.assert_array_equal(scaled, np.asarray(expected, np.float32), strict=True)


def test_scale_laws(rng):
    for values in rng.normal(size=(20, 6, 5)).astype(np.float32):
        scaled = maps.scale(values)
        assert scaled.dtype == np.float32
        assert scaled.min() == 0.0
        assert scaled.max() == 1.0
        np.testing.assert_array_equal(scaled == 0, values <= 0)
        np.testing.assert_array_equal(maps.scale(scaled), scaled)
        np.testing.assert_array_equal(maps.scale(2**-30 * values), scaled)
        np.testing.assert_allclose(scaled, np.maximum(values, 0) / values.max(), rtol=1e-6)


def test_a_negative_cell_takes_nothing_from_its_neighbours():
    """The papers' order: max(M, 0) of the cells, resized, then divided by what is left as largest.

    At half-pixel centres two cells a, b become a, (3 a + b) / 4, (a + 3 b) / 4, b.
    """
    raw = np.array([[-30.0, 1.0]])  # resized before the ReLU: -30, -22.25, -6.75, 1
    np.testing.assert_array_equal(maps.evidence(raw, (1, 4)), [[0, 0.25, 0.75, 1]])
    np.testing.assert_array_equal(maps.heatmap(raw, (1, 4)), [[0, 0.25, 0.75, 1]])
    # To half the width: means of two. It is divided last, as that lowers the largest.
    np.testing.assert_array_equal(maps.heatmap(np.array([[-9.0, 4, 2, -9]]), (1, 2)), [[1, 0.5]])


@pytest.mark.parametrize("size", [(10, 15), (3, 4), (5, 6)])
def test_a_heatmap_is_that_of_the_papers_order(rng, size):
    for raw in rng.normal(size=(5, 4, 5)):
        wanted = bilinear(np.where(raw > 0, raw, 0), size)
        other = np.maximum(bilinear(raw, size), 0)
        wanted, other = wanted / wanted.max(), other / other.max()
        np.testing.assert_allclose(maps.heatmap(raw, size), wanted, atol=1e-6)
        assert np.abs(wanted - other).max() > 0.05  # the orders can be told apart


def test_what_is_given_stays_as_it_was(rng):
    raw = rng.normal(size=(4, 4)).astype(np.float32)
    before = raw.copy()
    maps.heatmap(raw, (4, 4))
    np.testing.assert_array_equal(raw, before)


@pytest.mark.parametrize("size", [(5, 5), (20, 31), (2, 3), (4, 4)])
def test_the_largest_value_is_one_also_where_resizing_lowers_it(rng, size):
    for raw in rng.normal(size=(10, 4, 4)):
        resized = maps.resize(np.maximum(raw, 0), size)
        heatmap = maps.heatmap(raw, size)
        assert heatmap.shape == size
        assert heatmap.dtype == np.float32
        assert heatmap.min() >= 0
        assert heatmap.max() == (1.0 if resized.max() > 0 else 0.0)
        assert heatmap.argmax() == (resized.argmax() if resized.max() > 0 else 0)


@pytest.mark.parametrize(("value", "shown"), [(0.0, 0.0), (-3.0, 0.0), (0.2, 1.0)])
def test_heatmap_of_a_constant_map(value, shown):
    np.testing.assert_array_equal(
        maps.heatmap(np.full((2, 3), value), (5, 4)), np.full((5, 4), shown)
    )


def test_heatmap_of_pixels_is_the_largest_absolute_value_over_channels():
    raw = np.array([[[1.0, -4.0, 2.0], [0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]])
    np.testing.assert_array_equal(maps.heatmap(raw, (1, 3)), [[1, 1 / 4, 0]])


# --- mask and boxes -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 7, 8, 20])
def test_channels_become_one_as_numpy_has_it(rng, channels):
    raw = rng.normal(0, 1, (9, 8, channels)).astype(np.float32)
    heatmap, total = np.abs(raw).max(axis=-1), np.maximum(raw.sum(axis=-1, keepdims=True), 0)
    np.testing.assert_array_equal(maps.heatmap(raw, (9, 8)), heatmap / heatmap.max())
    np.testing.assert_array_equal(shown_values(raw, "summed"), total)


def test_mask_is_strictly_above_the_fraction():
    values = np.array([[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]], np.float32)
    for number, threshold in enumerate([0.0, 0.2, 0.4, 0.6, 0.8]):
        np.testing.assert_array_equal(maps.mask(values, threshold)[0], np.arange(6) > number)
        np.testing.assert_array_equal(maps.mask(64 * values, threshold)[0], np.arange(6) > number)
    assert not maps.mask(np.zeros((2, 2)), 0.0).any()


LINE_AND_BLOB = drawn(
    "9999999999..",
    "............",
    "..........99",
    "..........99",
)
EQUAL = drawn(
    "...99..",
    ".......",
    "99...99",
    ".......",
    "......9",
    "......9",
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (drawn(".....", "..99.", "....."), [[2, 1, 4, 2]]),  # x before y, in 3 rows and 5 columns
        (drawn("..", ".9", ".9", ".9", ".."), [[1, 1, 2, 4]]),
        (drawn("9....", ".....", "....9"), [[0, 0, 1, 1], [4, 2, 5, 3]]),  # equal: topmost first
        (drawn("9..", ".9.", "..9"), [[0, 0, 3, 3]]),  # diagonal neighbours are connected
        (drawn("..9", ".9.", "9.."), [[0, 0, 3, 3]]),
        (drawn("999", "9.9", "999"), [[0, 0, 3, 3]]),  # a hole is no part
        (drawn("9.99", "9..."), [[0, 0, 1, 2], [2, 0, 4, 1]]),
        (EQUAL, [[3, 0, 5, 1], [0, 2, 2, 3], [5, 2, 7, 3], [6, 4, 7, 6]]),
        (LINE_AND_BLOB, [[0, 0, 10, 1], [10, 2, 12, 4]]),  # 10 pixels against 4
        (np.zeros((3, 4), np.float32), np.zeros((0, 4))),
        (np.ones((3, 5), np.float32), [[0, 0, 5, 3]]),
        (np.full((1, 1), 0.3, np.float32), [[0, 0, 1, 1]]),
    ],
)
def test_boxes_by_hand(values, expected):
    expected = np.asarray(expected, np.float32).reshape(-1, 4)
    np.testing.assert_array_equal(maps.boxes(values, components="all"), expected, strict=True)
    np.testing.assert_array_equal(maps.boxes(values), expected[:1], strict=True)


def test_the_area_inside_a_contour_would_choose_the_wrong_part():
    binary = (LINE_AND_BLOB > 0).astype(np.uint8)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    widest = cv2.boundingRect(max(contours, key=cv2.contourArea))
    assert tuple(widest) == (10, 2, 2, 2)  # the blob: the line's contour has area 0
    assert maps.boxes(LINE_AND_BLOB).tolist() == [[0, 0, 10, 1]]


def test_boxes_shrink_as_the_threshold_rises_and_keep_the_maximum():
    values = drawn("12321", "24642", "24942", "12321")
    last = np.array([0, 0, 5, 4])
    for threshold in np.linspace(0, 0.99, 34):
        (box,) = maps.boxes(values, threshold)
        assert (box[:2] >= last[:2]).all()
        assert (box[2:] <= last[2:]).all()
        last = box
    assert last.tolist() == [2, 2, 3, 3]


# clovaai/wsolevaluation's own tests: a map, and its box at thresholds 0, 0.2, 0.4, 0.6, 0.8.
WSOL = [
    (
        [[0, 0, 0, 0, 0], [0, 0.4, 0.4, 0.4, 0.6], [0, 0.4, 1, 0.8, 0.6], [0, 0.4, 0.4, 0.4, 0.6]],
        [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]],
    ),
    (
        [
            [0.4, 0, 0.2, 0.2, 0.2],
            [0.4, 0.4, 0, 0.4, 0],
            [0, 0, 0, 0.4, 0],
            [1, 0.6, 0.8, 0.2, 0.2],
        ],
        [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]],
    ),
]


@pytest.mark.parametrize(("values", "golden"), WSOL)
def test_boxes_hold_those_of_wsolevaluation(values, golden):
    values = np.array(values, np.float32)
    height, width = values.shape
    for threshold, expected in zip([0.0, 0.2, 0.4, 0.6, 0.8], golden, strict=True):
        # Theirs is [x, y, min(x + w, W - 1), min(y + h, H - 1)]; ours [x, y, x + w, y + h).
        found = maps.boxes(values, threshold, "all")
        theirs = np.minimum(found, [width, height, width - 1, height - 1]).tolist()
        assert expected in theirs
        # Where there are two parts, they take the one with the larger area inside its contour:
        # three pixels around a corner, not five in a row; or the last one of single pixels.
        assert (theirs[0] == expected) == (len(found) == 1)


def flood_fill(values, threshold):
    """Boxes of the 8-connected parts in plain loops: [(pixels, box), ...]."""
    values = values.astype(np.float64)
    height, width = values.shape
    rest = {
        (i, j)
        for i in range(height)
        for j in range(width)
        if values[i, j] > threshold * values.max()
    }
    parts = []
    while rest:
        part, todo = [], [rest.pop()]
        while todo:
            i, j = todo.pop()
            part.append((i, j))
            near = {(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)} & rest
            rest -= near
            todo += near
        rows, columns = zip(*part, strict=True)
        box = [min(columns), min(rows), max(columns) + 1, max(rows) + 1]
        parts.append((len(part), box))
    return sorted(parts, key=lambda each: (-each[0], each[1][1], each[1][0]))


@pytest.mark.parametrize("seed", range(50))
def test_boxes_are_those_of_a_flood_fill(seed):
    rng = np.random.default_rng(seed)
    values = rng.random(rng.integers(1, 24, 2)).astype(np.float32)
    threshold = rng.uniform(0.3, 0.9)
    expected = [box for _, box in flood_fill(values, threshold)]
    assert maps.boxes(values, threshold, "all").tolist() == expected
    assert maps.boxes(values, threshold).tolist() == expected[:1]


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 20, float("nan")])
def test_a_threshold_must_be_a_fraction(threshold):
    with pytest.raises(ValueError, match=r"fraction of the maximum, 0 <= threshold < 1; got "):
        maps.boxes(np.ones((2, 2)), threshold)


def test_components_must_be_known():
    with pytest.raises(ValueError, match="one of largest, all, enclosing; got 'multi'"):
        maps.boxes(np.ones((2, 2)), components="multi")


def test_a_quantile_keeps_an_exact_number_of_pixels(rng):
    for size in [(4, 4), (5, 7), (1, 1), (3, 2)]:
        for values in (rng.random(size), np.ones(size), rng.integers(0, 3, size) + 1.0):
            for threshold in (0.0, 0.25, 0.5, 0.75, 0.9):
                kept = maps.mask(values, threshold, "quantile")
                assert kept.sum() == round((1 - threshold) * values.size)
                assert kept.all() or not kept.any() or values[kept].min() >= values[~kept].max()
    first = maps.mask(np.ones((2, 4)), 0.75, "quantile")
    assert first.astype(int).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert not maps.mask(np.zeros((2, 4)), 0.75, "quantile").any()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_pixels_are_ranked_in_any_dtype(dtype):
    values = np.array([[0, 1], [1, 0]], dtype)
    assert maps.ranking(values).tolist() == [1, 2, 0, 3]
    assert maps.mask(values, 0.75, "quantile").tolist() == [[False, True], [False, False]]


def test_as_many_parts_as_there_can_be():
    for size in [(3, 5), (509, 511), (511, 511), (512, 514), (1, 131_070), (1, 131_071)]:
        values = np.zeros(size)
        values[::2, ::2] = 1
        found = maps.boxes(values, components="all")
        assert len(found) == values.sum()
        assert found[-1].tolist() == [*(2 * ((n - 1) // 2) for n in size[::-1])] + [
            2 * ((n - 1) // 2) + 1 for n in size[::-1]
        ]


def test_the_enclosing_box_holds_all_parts(rng):
    assert maps.boxes(EQUAL, components="enclosing").tolist() == [[0, 0, 7, 6]]
    assert maps.boxes(np.zeros((2, 2)), components="enclosing").shape == (0, 4)
    for binary in rng.random((20, 6, 9)) > 0.8:
        y, x = np.nonzero(binary)
        expected = [[x.min(), y.min(), x.max() + 1, y.max() + 1]] if len(x) else []
        assert maps.mask_boxes(binary, "enclosing").tolist() == expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("by", ["maximum", "quantile"])
def test_a_map_that_is_not_finite_has_no_boxes(value, by):
    with pytest.raises(ValueError, match="must be finite .*tfcam.diagnose"):
        maps.boxes(np.array([[1.0, value]]), by=by)


def test_by_must_be_known():
    with pytest.raises(ValueError, match="by must be one of maximum, quantile; got 'otsu'"):
        maps.mask(np.ones((2, 2)), 0.5, "otsu")
    with pytest.raises(ValueError, match="fraction of the pixels, 0 <= threshold < 1; got 1"):
        maps.mask(np.ones((2, 2)), 1, "quantile")


# --- intersection over union ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "other", "expected"),
    [
        ([0, 0, 10, 10], [0, 0, 10, 10], 1),
        ([0, 0, 10, 10], [5, 0, 15, 10], 50 / (100 + 100 - 50)),
        ([0, 0, 10, 10], [0, 5, 10, 15], 50 / 150),
        ([0, 0, 4, 2], [1, 1, 3, 5], 2 / (8 + 8 - 2)),
        ([0, 0, 10, 10], [2, 3, 4, 8], 10 / 100),  # one inside the other
        ([0.5, 0, 1.5, 1], [0, 0, 1, 1], 0.5 / 1.5),
        ([0, 0, 10, 10], [10, 0, 20, 10], 0),  # half-open boxes that touch share nothing
        ([0, 0, 1, 1], [5, 5, 6, 6], 0),  # apart along both axes
        ([0, 0, 0, 0], [0, 0, 0, 0], 0),
        ([0, 0, 0, 5], [0, 0, 5, 5], 0),
        ([3, 3, 1, 1], [0, 0, 5, 5], 0),  # turned inside out: empty
        # Inclusive corners (ILSVRC, wsolevaluation) are half-open ones with 1 added.
        ([1, 2, 5 + 1, 6 + 1], [3, 1, 4 + 1, 5 + 1], (2 * 4) / (5 * 5 + 2 * 5 - 2 * 4)),
        ([0, 0, 9 + 1, 9 + 1], [5, 0, 14 + 1, 9 + 1], 1 / 3),
    ],
)
def test_iou_by_hand(box, other, expected):
    for first, second in [(box, other), (other, box)]:
        for dtype in (np.float32, np.float64):
            value = maps.iou(np.array(first, dtype), np.array(second, dtype))
            assert value == pytest.approx(expected)
            assert isinstance(value, float)


def test_iou_is_that_of_counted_pixels(rng):
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(12)), axis=-1)
    for _ in range(30):
        one, two = np.sort(rng.integers(0, 13, (2, 2, 2)), axis=1).reshape(2, 4)
        inside = [((grid >= b[:2]) & (grid < b[2:])).all(axis=-1) for b in (one, two)]
        shared, union = (inside[0] & inside[1]).sum(), (inside[0] | inside[1]).sum()
        assert maps.iou(one, two) == pytest.approx(shared / union if union else 0.0)
