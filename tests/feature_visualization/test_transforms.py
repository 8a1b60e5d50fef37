"""What a dream must survive: where each pixel is taken from, by loops in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.tolerances import ROUNDED
from tfcam.feature_visualization.transforms import (
    Jitter,
    Pad,
    Rotate,
    Scale,
    apply_transforms,
    sample,
)

SEED = tf.constant([3, 4])


@pytest.fixture
def images(rng):
    return rng.random((2, 6, 9, 3)).astype("float32")


def bilinear(image, matrix):
    """Each pixel from where the matrix says; between the four pixels there, grey outside."""
    height, width, _ = image.shape
    row_middle, column_middle = (height - 1) / 2, (width - 1) / 2
    out = np.zeros_like(image)
    for i in range(height):
        for j in range(width):
            y, x, _ = matrix @ [i - row_middle, j - column_middle, 1.0]
            y, x = y + row_middle, x + column_middle
            top, left = math.floor(y), math.floor(x)
            for row, column in ((a, b) for a in (top, top + 1) for b in (left, left + 1)):
                weight = (1 - abs(y - row)) * (1 - abs(x - column))
                held = 0 <= row < height and 0 <= column < width
                out[i, j] += weight * (image[row, column] if held else 0.5)
    return out


def test_sampling_by_loops(images, rng):
    for _ in range(5):
        matrix = np.eye(3)
        matrix[:2] += rng.normal(size=(2, 3)) * [[0.2, 0.2, 2.0]]
        found = sample(tf.constant(images), tf.constant(matrix, tf.float32)).numpy()
        wanted = [bilinear(image.astype(float), matrix) for image in images]
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_the_gradient_of_sampling_is_its_transpose(images, rng):
    """<sample(x) - sample(0), g> = <x, gradient>: exact, as sampling is affine in x."""
    matrix = tf.constant([[1.1, 0.3, 0.4], [-0.2, 0.9, 1.3], [0.0, 0.0, 1.0]])
    g = rng.normal(size=images.shape).astype("float32")
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(g * sample(x, matrix))
    gradient = tape.gradient(total, x).numpy().astype(float)
    linear = sample(x, matrix).numpy().astype(float) - sample(0 * x, matrix).numpy()
    assert (linear * g).sum() == pytest.approx((images * gradient).sum(), rel=1e-5)


@pytest.mark.parametrize("none", [Jitter(0), Scale(1.0, 1.0), Rotate(0), Pad(0)], ids=str)
def test_without_strength_nothing_changes(none, images):
    np.testing.assert_array_equal(none(SEED, (6, 9)), np.eye(3))
    found = apply_transforms(tf.constant(images), [none, none], 5, tf.constant(2))
    np.testing.assert_allclose(found, images, atol=ROUNDED)
    assert apply_transforms(images, [], 5, tf.constant(2)) is images


@pytest.mark.slow
def test_jitter_moves_by_whole_pixels_to_all_sides(images):
    seen = set()
    for number in range(200):
        down, right = Jitter(1)(tf.constant([number, 0]), (6, 9)).numpy()[:2, 2]
        seen.add((int(down), int(right)))
        assert abs(down) <= 1
        assert abs(right) <= 1
    assert len(seen) == 9
    right = tf.constant([[1.0, 0, 0], [0, 1, 1], [0, 0, 1]])
    moved = sample(tf.constant(images), right).numpy()
    np.testing.assert_allclose(moved[:, :, :-1], images[:, :, 1:], atol=ROUNDED)
    np.testing.assert_allclose(moved[:, :, -1], 0.5, atol=ROUNDED)


@pytest.mark.slow
def test_scale_and_rotation_are_drawn_from_their_whole_range():
    factors, angles = [], []
    for number in range(200):
        seed = tf.constant([number, 1])
        scaled, turned = Scale(0.5, 2.0)(seed, (6, 9)).numpy(), Rotate(30)(seed, (6, 9)).numpy()
        assert scaled[0, 0] == scaled[1, 1]
        factors.append(1 / scaled[0, 0])
        np.testing.assert_allclose(turned[:2, :2] @ turned[:2, :2].T, np.eye(2), atol=ROUNDED)
        angles.append(math.degrees(math.atan2(turned[1, 0], turned[0, 0])))
    assert 0.5 <= min(factors) < 0.55
    assert 1.9 < max(factors) <= 2.0
    assert -30 <= min(angles) < -28
    assert 28 < max(angles) <= 30


def test_a_quarter_turn_turns_a_square_picture(rng):
    square = rng.random((1, 5, 5, 1)).astype("float32")
    quarter = tf.constant([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found = sample(tf.constant(square), quarter)[0]
    np.testing.assert_allclose(found, np.rot90(square[0], -1), atol=ROUNDED)


def test_padding_shrinks_the_picture_into_a_grey_border():
    white = tf.ones((1, 12, 12, 1))
    found = apply_transforms(white, [Pad(4)], 0, tf.constant(0)).numpy()[0, :, :, 0]
    # Pixel k is taken from 5.5 + (k - 5.5) 20 / 12: the third from -1/3, a third of it grey.
    side = np.array([0, 0, 2 / 3, 1, 1, 1, 1, 1, 1, 2 / 3, 0, 0])
    np.testing.assert_allclose(found, 0.5 + 0.5 * np.outer(side, side), atol=ROUNDED)


def test_transforms_follow_each_other(images):
    both = apply_transforms(tf.constant(images), [Pad(2), Scale(2.0, 2.0)], 0, tf.constant(0))
    matrix = np.diag([10 / 6 / 2, 13 / 9 / 2, 1])
    wanted = [bilinear(image.astype(float), matrix) for image in images]
    np.testing.assert_allclose(both, wanted, atol=2e-5)


@pytest.mark.slow
def test_a_seed_repeats_and_each_step_and_place_draws_anew(images):
    x = tf.constant(images)
    every = [Jitter(3), Rotate(20), Jitter(3)]
    first = apply_transforms(x, every, 1, tf.constant(0)).numpy()
    np.testing.assert_array_equal(first, apply_transforms(x, every, 1, tf.constant(0)))
    assert not np.array_equal(first, apply_transforms(x, every, 1, tf.constant(1)))
    assert not np.array_equal(first, apply_transforms(x, every, 2, tf.constant(0)))
    compiled = tf.function(lambda step: apply_transforms(x, every, 1, step))
    np.testing.assert_allclose(compiled(tf.constant(0)), first, atol=ROUNDED)
    drawn = []

    def noted(seed, size):
        drawn.append(tuple(seed.numpy()))
        return tf.eye(3)

    apply_transforms(x, [noted, noted], 1, tf.constant(0))
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jitter(-1), "pixels of Jitter must be at least 0; got -1"),
        (lambda: Pad(1.5), "pixels of Pad must be a whole number; got 1.5"),
        (lambda: Scale(0, 1), "Scale needs factors 0 < low <= high; got 0 and 1"),
        (lambda: Scale(2, 1), "got 2 and 1"),
        (lambda: Rotate(-3), "degrees of Rotate must be in 0..180; got -3"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
