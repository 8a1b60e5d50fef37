"""Heatmaps at the size of a model's input, and the order of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcam import maps
from tfcam.metrics.probing import Probe

Heatmaps = np.ndarray | Sequence[Any]


def checked(heatmaps: Heatmaps, count: int | None = None) -> list[np.ndarray]:
    """Heatmaps one by one, if they are such.

    Args:
        heatmaps: (B, H, W) floats in [0, 1], a list of (H, W), or of ``Explanation``.
        count: How many there must be.

    Raises:
        ValueError: If they are too few or many, empty, not finite or not in [0, 1].

    Example:
        >>> checked(np.array([[[0.0, 1.0]]]))
        [array([[0., 1.]], dtype=float32)]
    """
    if hasattr(heatmaps, "heatmap"):
        heatmaps = [heatmaps]
    found = [np.asarray(getattr(each, "heatmap", each), np.float32) for each in heatmaps]
    if count is not None and len(found) != count:
        raise ValueError(
            f"There must be one heatmap for each image, {count}; got {len(found)}. One image alone "
            "has heatmaps (1, H, W)."
        )
    for each in found:
        if not each.size or not np.isfinite(each).all() or each.min() < 0 or each.max() > 1:
            seen = f"{each.min():g} to {each.max():g}" if each.size else "an empty one"
            raise ValueError(
                f"A heatmap must hold finite values in [0, 1]; got {seen}. "
                "tfcam.maps.scale makes one of a raw map."
            )
    return found


def sized(probe: Probe, heatmaps: Heatmaps) -> np.ndarray:
    """Heatmaps resized linearly to the model's input, whose pixels they are then of.

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
        >>> sized(Probe(tfcam.demo_model(), scene.image), np.ones((1, 4, 4))).shape
        (1, 128, 128)
    """
    sides = probe.inputs.shape[1:-1]
    found = checked(heatmaps, len(probe))
    if odd := [each.shape for each in found if each.ndim != len(sides)]:
        raise ValueError(
            f"A heatmap must have as many axes as the model's input has sides, {len(sides)}; "
            f"got one of shape {odd[0]}."
        )
    return np.stack([maps.resize(each, sides) for each in found])


def ranks(heatmap: np.ndarray) -> np.ndarray:
    """The place of each pixel in the descending order; of equal ones the first in reading order.

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


def top(heatmap: np.ndarray, fraction: float) -> np.ndarray:
    """The round(fraction H W) pixels of highest rank: that many exactly, however many are equal.

    Args:
        heatmap: (H, W).
        fraction: In [0, 1].

    Returns:
        (H, W) bool.

    Raises:
        ValueError: If the fraction is not in [0, 1].

    Example:
        >>> top(np.ones((2, 2)), 0.25)
        array([[ True, False],
               [False, False]])
    """
    return ranks(heatmap) < round(checked_fraction(fraction) * heatmap.size)


def checked_fraction(fraction: float) -> float:
    """Refuse what is no fraction.

    Raises:
        ValueError: If it is none.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"A fraction of the pixels must be in [0, 1]; got {fraction}.")
    return fraction
