"""What stands for a picture, against float64 sums of waves written out."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfcam.feature_visualization.parametrisations import (
    COLOURS,
    Fourier,
    Pixels,
    correlate,
    decorrelate,
    wave_scale,
)
from tfcam.images.loading import load_image

SHAPES = [(1, 6, 5, 3), (2, 4, 7, 3), (1, 5, 5, 3), (1, 4, 4, 3)]


def frequency(k, size):
    return (k if k <= (size - 1) // 2 else k - size) / size


def picture_of(z, height, width, power):
    """The sum of waves of one channel, (H, W // 2 + 1) complex, by the formula of ``Fourier``.

    The half of the waves that is not held is the mirrored half's conjugate.
    """
    least = 1 / max(height, width)
    whole = np.zeros((height, width), complex)
    for u, v in itertools.product(range(height), range(width)):
        held = v <= width // 2
        f = np.hypot(frequency(u, height), frequency(v, width))
        scale = np.sqrt(height * width) / max(f, least) ** power
        given = z[u, v] if held else np.conj(z[-u % height, -v % width])
        whole[u, v] = scale * given
    # A real picture has real waves where a wave is its own mirror image.
    for v in {0, width // 2} if width % 2 == 0 else {0}:
        column = whole[:, v].copy()
        for u in range(height):
            whole[u, v] = (column[u] + np.conj(column[-u % height])) / 2
    x = np.zeros((height, width), complex)
    for i, j in itertools.product(range(height), range(width)):
        for u, v in itertools.product(range(height), range(width)):
            x[i, j] += whole[u, v] * np.exp(2j * np.pi * (u * i / height + v * j / width))
    x /= height * width
    assert np.abs(x.imag).max() < 1e-9
    return x.real / 4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("power", [1.0, 1.2])
def test_fourier_is_a_sum_of_scaled_waves_in_colours_of_photographs(shape, power, rng):
    count, height, width, _ = shape
    parameters = rng.normal(size=(count, 3, height, width // 2 + 1, 2))
    z = parameters[..., 0] + 1j * parameters[..., 1]
    channels = [[picture_of(z[n, c], height, width, power) for c in range(3)] for n in range(count)]
    values = np.moveaxis(np.array(channels), 1, -1)
    mixed = np.zeros_like(values)
    for c, d in itertools.product(range(3), range(3)):
        mixed[..., c] += COLOURS[c, d] * values[..., d]
    wanted = 1 / (1 + np.exp(-mixed))
    found = Fourier(power).images(tf.constant(parameters, tf.float32), shape).numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_scale_falls_as_one_over_the_frequency(shape):
    _, height, width, _ = shape
    scale = wave_scale(height, width, 1.0).numpy()
    assert scale.shape == (height, width // 2 + 1)
    for u, v in itertools.product(range(height), range(width // 2 + 1)):
        f = max(np.hypot(frequency(u, height), frequency(v, width)), 1 / max(height, width))
        assert scale[u, v] * f == pytest.approx(np.sqrt(height * width), rel=1e-6)
    np.testing.assert_allclose(
        wave_scale(height, width, 0.0), np.full_like(scale, np.sqrt(height * width)), rtol=1e-6
    )


@pytest.mark.parametrize(
    "parametrisation",
    [
        Pixels(),
        Pixels(sigmoid=True),
        Pixels(decorrelated=True),
        Pixels(sigmoid=True, decorrelated=True),
        Fourier(),
        Fourier(power=0.0, decorrelated=False),
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_come_back_from_their_parameters(parametrisation, shape, rng):
    images = tf.constant(rng.uniform(0.05, 0.95, shape), tf.float32)
    parameters = parametrisation.parameters(images)
    assert parameters.shape == parametrisation.noise(shape, 0).shape
    np.testing.assert_allclose(parametrisation.images(parameters, shape), images, atol=2e-5)


@pytest.mark.parametrize("parametrisation", [Pixels(), Pixels(sigmoid=True), Fourier()], ids=str)
def test_pictures_stay_within_range_and_black_and_white_have_finite_parameters(parametrisation):
    shape = (1, 4, 6, 3)
    wild = 100 * parametrisation.noise(shape, 1) / parametrisation.deviation
    images = parametrisation.images(wild, shape).numpy()
    assert images.min() >= 0
    assert images.max() <= 1
    extremes = tf.constant(np.random.default_rng(0).integers(0, 2, shape), tf.float32)
    parameters = parametrisation.parameters(extremes)
    assert np.isfinite(parameters).all()
    np.testing.assert_allclose(parametrisation.images(parameters, shape), extremes, atol=1 / 500)


def test_noise_repeats_by_its_seed_and_has_the_asked_deviation():
    for kind in (Pixels(deviation=0.3), Fourier(deviation=0.3)):
        shape = (1, 64, 64, 3)
        first, again, other = kind.noise(shape, 1), kind.noise(shape, 1), kind.noise(shape, 2)
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
        assert float(np.std(first)) == pytest.approx(0.3, rel=0.03)


def test_colours_and_their_inverse(rng):
    values = rng.normal(size=(2, 3, 3, 3)).astype("float32")
    wanted = np.zeros(values.shape)
    for c, d in itertools.product(range(3), range(3)):
        wanted[..., c] += COLOURS[c, d] * values[..., d].astype(float)
    np.testing.assert_allclose(correlate(tf.constant(values)), wanted, atol=1e-6)
    np.testing.assert_allclose(decorrelate(correlate(tf.constant(values))), values, atol=1e-4)
    assert np.linalg.norm(COLOURS, axis=0).max() == pytest.approx(1)


def test_colours_of_photographs_are_nearly_independent_once_decorrelated(data):
    """The published numbers hold for photographs that they were not made from."""
    paths = sorted((data / "images/classic").glob("*.jpg"))
    pixels = np.concatenate([load_image(each).reshape(-1, 3)[::97] for each in paths]) / 255

    def strongest(values):
        found = np.corrcoef(values.T)
        return np.abs(found[np.triu_indices(3, 1)]).max()

    independent = decorrelate(tf.constant(pixels - 0.5, tf.float32)).numpy()
    assert strongest(pixels) > 0.85
    assert strongest(independent) < 0.5
