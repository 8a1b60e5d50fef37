"""What stands in place of removed pixels: the laws of each fill, and the definitions with loops."""

from typing import get_args

import numpy as np
import pytest

from tfcam.images.blur import RISE_BLUR
from tfcam.metrics.imputation import Fill, impute, impute_noisy_linear


@pytest.fixture
def image(rng):
    return rng.normal(0, 1, (12, 15, 3)).astype(np.float32)


@pytest.fixture
def inner():
    """A hole that does not touch the border."""
    removed = np.zeros((12, 15), bool)
    removed[3:8, 4:11] = True
    removed[5, 6] = False
    return removed


def linear(image, removed, seed=0, noise=0.0):
    return impute_noisy_linear(image, removed, np.random.default_rng(seed), noise)


@pytest.mark.parametrize("fill", get_args(Fill))
def test_what_is_not_removed_stays_and_the_image_given_too(image, inner, fill):
    before = image.copy()
    filled = impute(image, inner, fill)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(filled[~inner], image[~inner])
    assert (filled[inner] != image[inner]).any(axis=-1).all()
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(impute(image, np.zeros_like(inner), fill), image)


def test_zero_and_mean_by_hand(image, inner):
    assert (impute(image, inner, "zero")[inner] == 0).all()
    wanted = image.reshape(-1, 3).astype(np.float64).mean(axis=0)
    filled = impute(image, inner, "mean")[inner]
    np.testing.assert_allclose(filled, np.tile(wanted, (len(filled), 1)), rtol=1e-6)


def test_the_blur_with_loops_and_zeros_outside(image):
    kernel = RISE_BLUR
    blurred = impute(image, np.ones((12, 15), bool), "blur")
    height, width, channels = image.shape
    wanted = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            for v in range(-5, 6):
                for u in range(-5, 6):
                    if 0 <= y + v < height and 0 <= x + u < width:
                        wanted[y, x] += kernel[v + 5, u + 5] * image[y + v, x + u]
    np.testing.assert_allclose(blurred, wanted, atol=1e-6)
    assert channels == blurred.shape[-1]


def test_the_kernel_is_a_folded_gaussian_whose_sum_is_one():
    kernel = RISE_BLUR
    assert kernel.shape == (11, 11)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], rtol=1e-12)
    np.testing.assert_allclose(kernel, kernel.T, rtol=1e-12)
    # The Gaussian at distance d and at all of its mirror images, cut off at 4 sigma as SciPy does.
    g = np.exp(-(np.arange(-20, 21) ** 2) / 50)
    g /= g.sum()
    folded = np.zeros(11)
    for offset, weight in zip(range(-20, 21), g, strict=True):
        place = (5 + offset) % 22
        folded[min(place, 21 - place)] += weight
    np.testing.assert_allclose(kernel, np.outer(folded, folded), rtol=1e-9)


def test_the_linear_fill_is_the_dense_system_with_loops(image, rng):
    removed = rng.random((12, 15)) < 0.6
    places = [tuple(each) for each in np.argwhere(removed)]
    number = {place: index for index, place in enumerate(places)}
    matrix, right = np.zeros((len(places),) * 2), np.zeros((len(places), 3))
    for (y, x), row in number.items():
        near = [(y + v, x + u) for v in (-1, 0, 1) for u in (-1, 0, 1) if (v, u) != (0, 0)]
        near = [(a, b) for a, b in near if 0 <= a < 12 and 0 <= b < 15]
        weights = [1 / 6 if a == y or b == x else 1 / 12 for a, b in near]
        matrix[row, row] = 1
        for place, weight in zip(near, weights, strict=True):
            if place in number:
                matrix[row, number[place]] -= weight / sum(weights)
            else:
                right[row] += weight / sum(weights) * image[place]
    wanted = np.linalg.solve(matrix, right)
    np.testing.assert_allclose(linear(image, removed)[removed], wanted, atol=1e-6)


def test_a_constant_is_reproduced_and_a_ramp_inside(inner, rng):
    constant = np.full((12, 15, 2), 0.7, np.float32)
    everywhere = rng.random((12, 15)) < 0.9
    np.testing.assert_allclose(linear(constant, everywhere), constant, rtol=1e-6)
    y, x = np.mgrid[:12, :15]
    ramp = (2.0 * x - 3.0 * y + 1)[..., np.newaxis].astype(np.float32)
    np.testing.assert_allclose(linear(ramp, inner), ramp, atol=1e-5)
    touching = np.zeros_like(inner)
    touching[4:7, :3] = True
    assert np.abs(linear(ramp, touching) - ramp).max() > 0.1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_nothing_overshoots(image, rng, share):
    removed = rng.random((12, 15)) < share
    removed[0, 0] = False
    filled, kept = linear(image, removed), image[~removed]
    assert (filled >= kept.min(axis=0) - 1e-6).all()
    assert (filled <= kept.max(axis=0) + 1e-6).all()


def test_the_noise_is_on_the_hole_alone_seeded_and_of_the_images_size(rng):
    image = rng.normal(5, 40, (60, 60, 3)).astype(np.float32)
    removed = np.zeros((60, 60), bool)
    removed[10:50, 10:50] = True
    noisy = linear(image, removed, seed=1, noise=0.01)
    difference = noisy - linear(image, removed)
    assert (difference[~removed] == 0).all()
    assert difference[removed].std() == pytest.approx(0.01 * image.std(), rel=0.05)
    np.testing.assert_array_equal(noisy, linear(image, removed, seed=1, noise=0.01))
    assert (noisy != linear(image, removed, seed=2, noise=0.01))[removed].all()


def test_scattered_holes_of_a_whole_picture_are_filled(rng):
    # Pivoting would take minutes here.
    image = rng.normal(0, 1, (224, 224, 3)).astype(np.float32)
    filled = linear(image, rng.random((224, 224)) < 0.9)
    assert np.isfinite(filled).all()


def test_bad_input_is_one_clear_error(image, inner):
    with pytest.raises(ValueError, match="none is. Remove fewer"):
        impute(image, np.ones_like(inner), "noisy_linear")
    with pytest.raises(ValueError, match="zero, mean, blur, noisy_linear; got 'black'"):
        impute(image, inner, "black")
    for fill in ("blur", "noisy_linear"):
        with pytest.raises(ValueError, match="for images \\(H, W, C\\)"):
            impute(image[0], inner[0], fill)
    assert (impute(image[0], inner[3], "zero")[inner[3]] == 0).all()  # a series
