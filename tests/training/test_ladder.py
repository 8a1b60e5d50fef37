"""The ladder's rungs, on maps whose boxes can be told by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from training import ladder
from training.ladder import RUNGS

SIZE = 40


def two_blobs() -> np.ndarray:
    """A map (40, 40): a speck at the bottom, which OpenCV lists first, and the object above."""
    raw = np.zeros((SIZE, SIZE), np.float32)
    raw[5:25, 10:30] = 1.0
    raw[34:37, 3:6] = 0.5
    return raw


def test_each_rung_changes_one_thing():
    for one, two in itertools.pairwise(RUNGS):
        changed = [
            name for name in vars(one) if name != "name" and vars(one)[name] != vars(two)[name]
        ]
        assert len(changed) == 1, (one.name, changed)


def test_the_first_contour_is_the_speck_and_the_largest_part_the_object():
    truths = np.array([[10, 5, 30, 25]], np.float32)
    first, largest = RUNGS[3], RUNGS[4]
    assert ladder.overlap(first, two_blobs(), SIZE, truths, 0.2) == 0.0
    # The rotated rectangle's corners are pixels inside: [10, 5, 29, 24], 19 x 19 of 20 x 20.
    assert ladder.overlap(largest, two_blobs(), SIZE, truths, 0.2) == pytest.approx(361 / 400)
    assert ladder.overlap(RUNGS[5], two_blobs(), SIZE, truths, 0.2) == 1.0


def test_a_rotated_rectangle_grows_when_it_is_made_upright():
    """A tilted ellipse: its own box holds it, that of its rotated rectangle is larger."""
    rows, columns = np.indices((SIZE, SIZE))
    bar = ((rows + columns - 40) / 30) ** 2 + ((rows - columns) / 10) ** 2 < 1
    upright = ladder.box(bar.astype(np.float32), 0.5, largest=True, upright=True)[0]
    rotated = ladder.box(bar.astype(np.float32), 0.5, largest=True, upright=False)[0]
    y, x = np.nonzero(bar)
    np.testing.assert_array_equal(upright, [x.min(), y.min(), x.max() + 1, y.max() + 1])
    assert (rotated[:2] < upright[:2]).all()
    assert (rotated[2:] > upright[2:]).all()


def test_dividing_by_a_negative_maximum_turns_a_map_over_and_a_heatmap_stays_empty():
    raw = np.full((2, 2), -1.0)
    raw[0, 0] = -4.0
    assert ladder.course_map(raw, 2)[0, 0] == 4.0
    truths = np.array([[0, 0, 40, 40]], np.float32)
    assert ladder.overlap(RUNGS[2], raw, SIZE, truths, 0.2) > 0
    assert ladder.overlap(RUNGS[3], raw, SIZE, truths, 0.2) == 0


def test_the_threshold_and_the_nearest_box():
    raw = two_blobs()
    raw[5:25, 30:38] = 0.3  # a foot of the hill
    truths = np.array([[0, 30, 9, 40], [10, 5, 30, 25]], np.float32)
    upright, tuned, nearest = RUNGS[5:]
    assert ladder.overlap(upright, raw, SIZE, truths[1:], 0.4) == pytest.approx(400 / 560)
    assert ladder.overlap(tuned, raw, SIZE, truths[1:], 0.4) == 1.0
    assert ladder.overlap(tuned, raw, SIZE, truths, 0.4) == 0.0
    assert ladder.overlap(nearest, raw, SIZE, truths, 0.4) == 1.0


def test_an_empty_map_overlaps_nothing_on_every_rung():
    truths = np.array([[0, 0, 40, 40]], np.float32)
    for rung in RUNGS:
        assert ladder.overlap(rung, np.zeros((7, 7)), SIZE, truths, 0.2) == 0.0


def test_a_sum_of_changes_is_the_whole():
    """Undoing every change of the last rung gives the first."""
    back = replace(
        RUNGS[-1],
        name=RUNGS[0].name,
        paper=True,
        score="probability",
        heatmap=False,
        largest=False,
        upright=False,
        tuned=False,
        any_box=False,
    )
    assert back == RUNGS[0]
