"""How simple a map is, without asking the model.

A map that is simple need not be right, but of two that are as right the simpler says more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfcam.metrics.checks import Heatmaps, checked_heatmaps


def gini(heatmaps: Heatmaps) -> np.ndarray:
    """Compute the Gini index of each map: 0 where all values are equal, near 1 for a single pixel.

    G = sum_i (2 i - n - 1) a_(i) / (n sum_i a_(i)), with a_(1) <= ... <= a_(n).

    Args:
        heatmaps: (B, H, W) in [0, 1], or a list of any sizes.

    Returns:
        (B,) float32; (n - 1) / n for a single pixel, 0 for a map of zeros.

    Raises:
        ValueError: If they are no heatmaps.

    Source: Chalasani et al. 2020, "Concise Explanations of Neural Networks using Adversarial
        Training" ("sparseness").

    Example:
        >>> gini([np.array([[0.1, 0.2], [0.3, 0.4]])])
        array([0.25], dtype=float32)
    """
    return _of_each(heatmaps, _gini)


def entropy(heatmaps: Heatmaps) -> np.ndarray:
    """Compute the entropy of each map in nats: log n where n pixels share it equally.

    E = - sum_i p_i log p_i, with p = a / sum a.

    Args:
        heatmaps: (B, H, W) in [0, 1], or a list of any sizes.

    Returns:
        (B,) float32; 0 for a single pixel, and for a map of zeros.

    Raises:
        ValueError: If they are no heatmaps.

    Source: Bhatt et al. 2020, "Evaluating and Aggregating Feature-based Model Explanations"
        ("complexity").

    Example:
        >>> entropy(np.ones((1, 10, 10)))  # log 100
        array([4.6051702], dtype=float32)
    """
    return _of_each(heatmaps, _entropy)


def mean_value(heatmaps: Heatmaps) -> np.ndarray:
    """Compute the mean of each map: how much of the image it lets through.

    Com = sum_i |a_i| / (H W).

    Args:
        heatmaps: (B, H, W) in [0, 1], or a list of any sizes.

    Returns:
        (B,) float32 in [0, 1].

    Raises:
        ValueError: If they are no heatmaps.

    Source: Poppi et al. 2021, "Revisiting The Evaluation of Class Activation Mapping"
        ("complexity").

    Example:
        >>> mean_value(np.array([[[0.0, 1.0]]]))
        array([0.5], dtype=float32)
    """
    return _of_each(heatmaps, np.mean)


def _gini(values: np.ndarray) -> float:
    rising, count = np.sort(values), values.size
    total = rising.sum()
    places = 2 * np.arange(1, count + 1) - count - 1
    return (places * rising).sum() / (count * total) if total > 0 else 0.0


def _entropy(values: np.ndarray) -> float:
    positive = values[values > 0]
    shares = positive / positive.sum()
    return -(shares * np.log(shares)).sum() + 0.0  # no minus zero


def _of_each(heatmaps: Heatmaps, function: Callable[[np.ndarray], float]) -> np.ndarray:
    arrays = (heatmap.astype(np.float64).ravel() for heatmap in checked_heatmaps(heatmaps))
    return np.array([function(array) for array in arrays], np.float32)
