"""How similar two maps of one image are: structure, ranks, and ranks of oriented gradients.

A map without variation has no ranks. Its correlation with another such map counts as 1, with any
other map as 0, so that a map that has become empty is not taken for one that stayed.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity

_WINDOW = 11  # pixels, of the Gaussian that SSIM weights neighbours with


_CELL = 16  # pixels, of the histograms of oriented gradients


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the structural similarity of two heatmaps, over Gaussian windows of 11 pixels.

    Args:
        first: (H, W) in [0, 1], at least 11 pixels high and wide; of videos and volumes
            (D, H, W), of whose frames or slices the mean is taken.
        second: The other heatmap, likewise.

    Returns:
        In [-1, 1]; 1 for equal heatmaps.

    Raises:
        ValueError: If they are smaller.

    Source: Wang et al. 2004, "Image quality assessment", section III.B and its constants.

    Example:
        >>> heatmap = np.eye(16)
        >>> ssim(heatmap, heatmap), round(ssim(heatmap, np.fliplr(heatmap)), 2)
        (1.0, -0.09)
    """
    if min(first.shape[-2:]) < _WINDOW:
        raise ValueError(
            f"SSIM needs heatmaps of at least {_WINDOW} x {_WINDOW} pixels; got {first.shape[-1]} "
            f"x {first.shape[-2]}. Explain larger pictures."
        )
    if first.ndim == 3:
        return float(np.mean([ssim(*slices) for slices in zip(first, second, strict=True)]))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    wide = (np.asarray(heatmap, np.float64) for heatmap in (first, second))
    return float(structural_similarity(*wide, data_range=1.0, **options))


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Spearman's rank correlation of two maps; equal values share their mean rank.

    Args:
        first: A map of any shape, finite.
        second: The other map, of the same shape.

    Returns:
        In [-1, 1]; without variation 1 where both have none, else 0.

    Example:
        >>> spearman(np.array([1, 2, 3, 4]), np.array([1, 3, 2, 40]))
        0.8
        >>> spearman(np.zeros(4), np.array([1, 3, 2, 40])), spearman(np.zeros(4), np.ones(4))
        (0.0, 1.0)
    """
    constant = [np.ptp(values) == 0 for values in (first, second)]
    if any(constant):
        return float(all(constant))
    # Rounded, so that equal ranks give 1 and not the float next to it.
    return float(np.round(spearmanr(first.ravel(), second.ravel()).statistic, 12))


def hog_spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Spearman's rank correlation of two heatmaps' histograms of oriented gradients.

    Nine orientations in cells of 16 pixels (a third of the shorter side where that is less than 48
    pixels), normalised in blocks of 3 x 3 cells.

    Args:
        first: (H, W) in [0, 1]; of videos and volumes (D, H, W), the histograms of all frames or
            slices one after the other.
        second: The other heatmap, likewise.

    Returns:
        In [-1, 1]; without variation 1 where both have none, else 0.

    Source: Adebayo et al. 2018, "Sanity checks for saliency maps", section 3.

    Example:
        >>> heatmap = np.add.outer(np.arange(48), np.zeros(48)) / 48
        >>> hog_spearman(heatmap, heatmap), hog_spearman(heatmap, 0 * heatmap)
        (1.0, 0.0)
    """
    cell = min(_CELL, min(first.shape[-2:]) // 3)
    options = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (3, 3)}
    slices = (each if each.ndim == 3 else each[np.newaxis] for each in (first, second))
    return spearman(*(np.concatenate([hog(one, **options) for one in each]) for each in slices))
