"""Imputation of removed pixels: zero, the mean, a blur, or what their neighbours say.

All work on images as the model takes them, after preprocessing, so that zero is what the literature
means by it: the mean grey where preprocessing centres the values ("tf", "torch", "caffe"), black
where the model takes 0..1 or 0..255 ("unit", "raw"). A removed pixel loses all of its channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from tfcam.images.blur import RISE_BLUR
from tfcam.metrics.neighbour_fill import fill_from_neighbours
from tfcam.utils.opencv import cv2
from tfcam.utils.validation import check_choice

Fill = Literal["zero", "mean", "blur", "noisy_linear"]


def impute_zero(image: np.ndarray, removed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace removed pixels by 0.

    Args:
        image: (H, W, C) as the model takes it.
        removed: (H, W) bool.
        rng: Not used.

    Returns:
        (H, W, C) float32.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> impute_zero(np.ones((1, 2, 1)), np.array([[True, False]]), rng).ravel()
        array([0., 1.], dtype=float32)
    """
    return _replaced(image, removed, 0.0)


def impute_mean(image: np.ndarray, removed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace removed pixels by the mean of the whole image, channel by channel.

    Args:
        image: (H, W, C) as the model takes it.
        removed: (H, W) bool.
        rng: Not used.

    Returns:
        (H, W, C) float32.

    Example:
        >>> image = np.array([[[0.0], [4.0]]])
        >>> impute_mean(image, np.array([[True, False]]), np.random.default_rng(0)).ravel()
        array([2., 4.], dtype=float32)
    """
    return _replaced(image, removed, image.mean(tuple(range(image.ndim - 1)), dtype=np.float64))


def impute_blur(image: np.ndarray, removed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace removed pixels by those of the image blurred with RISE's kernel.

    The kernel is a Gaussian of sigma 5 on 11 x 11 pixels, what lies outside folded back in, with a
    sum of 1; outside of the image is 0. Of a video or volume each frame or slice is blurred so, as
    a picture: nothing moves from one to the next.

    Args:
        image: (H, W, C) as the model takes it, or (D, H, W, C).
        removed: (H, W) or (D, H, W) bool.
        rng: Not used.

    Returns:
        The image's shape, float32.

    Raises:
        ValueError: If the image has one side, as a series.

    Source: Petsiuk et al. 2018, "RISE", and its published evaluation.

    Example:
        >>> point = np.zeros((11, 11, 1))
        >>> point[5, 5] = 1
        >>> rng = np.random.default_rng(0)
        >>> float(impute_blur(point, np.ones((11, 11), bool), rng).sum().round(4))
        1.0
    """
    if image.ndim == 4:
        return np.stack([impute_blur(*each, rng) for each in zip(image, removed, strict=True)])
    _check_two_sides(image, "zero or mean")
    blurred = cv2.filter2D(
        image.astype(np.float32), -1, RISE_BLUR, borderType=cv2.BORDER_CONSTANT
    ).reshape(image.shape)  # cv2 drops a single channel
    return _replaced(image, removed, blurred)


def impute_noisy_linear(
    image: np.ndarray, removed: np.ndarray, rng: np.random.Generator, noise: float = 0.01
) -> np.ndarray:
    """Replace each removed pixel by the weighted mean of its eight neighbours, and noise.

    x_i = sum_j w_ij x_j / sum_j w_ij, with w = 1/6 for neighbours that share an edge and 1/12 for
    those that share a corner. Neighbours may be removed, too: it is one sparse linear system for
    all removed pixels. Then N(0, noise^2) is added to them. So the shape of what was removed is
    hard to see, which a flat fill gives away.

    Args:
        image: (H, W, C) as the model takes it.
        removed: (H, W) bool; not all of them.
        rng: The generator of the noise.
        noise: The deviation of the noise, as a fraction of that of the image's values.

    Returns:
        (H, W, C) float32.

    Raises:
        ValueError: If nothing is left to start from, or the image does not have two sides.

    Source: Rong et al. 2022, "A Consistent and Efficient Evaluation Strategy for Attribution
        Methods" (ROAD), section 4.2.

    Departs from the paper: the noise is relative to the image's values, whose range is the model's.
    For inputs with a deviation of 1 it is the paper's.

    Example:
        >>> ramp = np.arange(25.0).reshape(5, 5, 1)
        >>> hole = np.zeros((5, 5), bool)
        >>> hole[2, 2:4] = True
        >>> rng = np.random.default_rng(0)
        >>> impute_noisy_linear(ramp, hole, rng, noise=0)[2].ravel()
        array([10., 11., 12., 13., 14.], dtype=float32)
    """
    _check_two_sides(image, "zero, mean, or blur of volumes")
    if removed.all():
        raise ValueError(
            "Removed pixels are computed from those that are left, and none is. Remove fewer, or "
            "choose another fill: zero, mean, blur."
        )
    if not removed.any():
        return image.astype(np.float32)
    filled = fill_from_neighbours(image, removed)
    drawn = rng.normal(0, noise * image.std(dtype=np.float64), filled[removed].shape)
    filled[removed] += drawn
    return filled.astype(np.float32)


def impute(
    image: np.ndarray, removed: np.ndarray, fill: Fill = "zero", seed: int = 0
) -> np.ndarray:
    """Replace the removed pixels of an image.

    Args:
        image: (H, W, C) as the model takes it.
        removed: (H, W) bool.
        fill: What replaces them: "zero", "mean", "blur" or "noisy_linear".
        seed: The seed of the noise.

    Returns:
        (H, W, C) float32; what is not removed is as it was.

    Raises:
        ValueError: If there is no such fill, or it does not apply.

    Example:
        >>> impute(np.ones((1, 2, 1)), np.array([[True, False]])).ravel()
        array([0., 1.], dtype=float32)
    """
    check_choice("fill", fill, FILLS)
    return FILLS[fill](image, removed, np.random.default_rng(seed))


def _replaced(image: np.ndarray, removed: np.ndarray, values: float | np.ndarray) -> np.ndarray:
    return np.where(removed[..., np.newaxis], values, image).astype(np.float32)


def _check_two_sides(image: np.ndarray, others: str) -> None:
    if image.ndim != 3:
        raise ValueError(
            f"This fill is for images (H, W, C); got shape {image.shape}. Choose {others}."
        )


FILLS: dict[Fill, Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]] = {
    "zero": impute_zero,
    "mean": impute_mean,
    "blur": impute_blur,
    "noisy_linear": impute_noisy_linear,
}
