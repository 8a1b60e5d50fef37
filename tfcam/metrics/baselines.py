"""Baselines: heatmaps that ask no model, which a method must beat before its map says anything.

Each is a function (image (H, W, 3) uint8, seed) -> (H, W) float32 in [0, 1]; ``BASELINES`` holds
them by name. Only ``random_map`` uses the seed. Of a video or volume (D, H, W, C) they are
(D, H, W), with the frames or slices as one side more.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from scipy import ndimage

from tfcam import maps
from tfcam.images.loading import to_channels
from tfcam.utils.opencv import cv2

# As many positions along each side as the last map of most networks has.
_GRID = 7


def full_image(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw a map of ones, whose box is the whole picture.

    Example:
        >>> full_image(np.zeros((1, 2, 3), np.uint8))
        array([[1., 1.]], dtype=float32)
    """
    return np.ones(image.shape[:-1], np.float32)


def centred_box(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw a box in the middle, of the picture's aspect ratio and half its area, or volume.

    Example:
        >>> round(float(centred_box(np.zeros((100, 200, 3), np.uint8)).mean()), 3)
        0.497
    """
    sides = image.shape[:-1]
    result = np.zeros(sides, np.float32)
    margins = [round(side * (1 - 0.5 ** (1 / len(sides))) / 2) for side in sides]
    inner = zip(margins, sides, strict=True)
    result[tuple(slice(margin, side - margin) for margin, side in inner)] = 1
    return result


def centre_gaussian(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw a Gaussian in the middle, whose deviation is a quarter of each side.

    exp(-((x - W/2)^2 / (W/4)^2 + (y - H/2)^2 / (H/4)^2) / 2) at the pixels' centres, scaled.

    Example:
        >>> centre_gaussian(np.zeros((1, 3, 3), np.uint8)).round(2)
        array([[0.41, 1.  , 0.41]], dtype=float32)
    """
    along = [((np.arange(side) + 0.5) / side - 0.5) * 4 for side in image.shape[:-1]]
    squares = functools.reduce(np.add.outer, [places**2 for places in along])
    return maps.scale(np.exp(-squares / 2))


def random_map(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw uniform random numbers at 7 x 7 positions, of volumes 7 x 7 x 7, resized as a map is.

    Example:
        >>> image = np.zeros((4, 4, 3), np.uint8)
        >>> bool((random_map(image, 1) == random_map(image, 1)).all())
        True
    """
    sides = image.shape[:-1]
    return maps.heatmap(np.random.default_rng(seed).random((_GRID,) * len(sides)), sides)


def sobel_edges(image: np.ndarray, seed: int = 0) -> np.ndarray:
    """Find the edges of the picture: the length of the Sobel gradient of its grey.

    Of a video or volume, whose channels have no colours that are known, of their mean, in all three
    directions.

    Example:
        >>> sobel_edges(np.uint8([[[0] * 3, [0] * 3, [255] * 3, [255] * 3]]))
        array([[0., 1., 1., 0.]], dtype=float32)
    """
    if image.ndim == 4:
        mean = image.mean(axis=-1, dtype=np.float64)
        slopes = [ndimage.sobel(mean, axis=axis, mode="mirror") for axis in range(3)]
        return maps.scale(np.sqrt(np.sum(np.square(slopes), axis=0)))
    grey = to_channels(image, 1)[..., 0]
    across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    return maps.scale(np.hypot(across, down))


BASELINES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    baseline.__name__: baseline
    for baseline in (full_image, centred_box, centre_gaussian, random_map, sobel_edges)
}
