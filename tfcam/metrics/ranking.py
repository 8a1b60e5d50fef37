"""Heatmaps at the size of a model's input, and the order of their pixels."""

from __future__ import annotations

import numpy as np

from tfcam import maps
from tfcam.metrics.checks import Heatmaps, checked_fraction, checked_heatmaps
from tfcam.metrics.probing import Probe
from tfcam.utils.validation import kind_of


def check_probe(probe: object) -> None:
    """Refuse what is no probe.

    Raises:
        TypeError: If it is none.
    """
    if not isinstance(probe, Probe):
        raise TypeError(
            f"probe must be a tfcam.metrics.Probe(model, images); got {kind_of(probe)}."
        )


def on_input(probe: Probe, heatmaps: Heatmaps) -> np.ndarray:
    """Resize heatmaps linearly to the model's input.

    Args:
        probe: The model and its images.
        heatmaps: (B, H, W) in [0, 1], or a list, of any sizes.

    Returns:
        (B, h, w) float32 in [0, 1].

    Raises:
        ValueError: If they are no heatmaps, or not one for each image.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1)
        >>> on_input(Probe(tfcam.demo_model(), scene.image), np.ones((1, 4, 4))).shape
        (1, 128, 128)
    """
    check_probe(probe)
    sides = probe.inputs.shape[1:-1]
    arrays = checked_heatmaps(heatmaps, len(probe))
    if odd := [array.shape for array in arrays if array.ndim != len(sides)]:
        raise ValueError(
            f"A heatmap must have as many axes as the model's input has sides, {len(sides)}; "
            f"got one of shape {odd[0]}."
        )
    return np.stack([maps.resize(array, sides) for array in arrays])


def ranks(heatmap: np.ndarray) -> np.ndarray:
    """Rank the pixels of a heatmap, the largest first; of equal ones the first in reading order.

    Args:
        heatmap: (H, W).

    Returns:
        (H, W) int64: 0 for the largest, H W - 1 for the smallest.

    Example:
        >>> ranks(np.array([[0.5, 1.0], [0.5, 0.0]]))
        array([[1, 0],
               [2, 3]])
    """
    places = np.empty(heatmap.size, np.int64)
    places[maps.ranking(heatmap)] = np.arange(heatmap.size)
    return places.reshape(heatmap.shape)


def top_pixels(heatmap: np.ndarray, fraction: float) -> np.ndarray:
    """Select the round(fraction H W) pixels of highest rank: that many exactly.

    Args:
        heatmap: (H, W).
        fraction: In [0, 1].

    Returns:
        (H, W) bool.

    Raises:
        ValueError: If the fraction is not in [0, 1].

    Example:
        >>> top_pixels(np.ones((2, 2)), 0.25)
        array([[ True, False],
               [False, False]])
    """
    return ranks(heatmap) < round(checked_fraction(fraction) * heatmap.size)
