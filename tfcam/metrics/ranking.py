"""Heatmaps at the size of a model's input, and the order of their pixels."""

from __future__ import annotations

import numpy as np

from tfcam import maps
from tfcam.metrics.checks import (
    Heatmaps,
    Maps,
    checked_fraction,
    checked_heatmaps,
    checked_maps,
)
from tfcam.metrics.probing import Probe
from tfcam.metrics.similarity_table import signed_map
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


def evidence_on_input(probe: Probe, given: Maps, keeps_sums: bool = False) -> np.ndarray:
    """Resize maps, signed or not, linearly to the model's input, their channels summed.

    Args:
        probe: The model and its images.
        given: (B, H, W) or (B, H, W, C), a list of these, or explanations, whose raw maps count.
        keeps_sums: Refuse those of another size, whose sums would not stay.

    Returns:
        (B, h, w) float32.

    Raises:
        ValueError: If they are no maps, not one for each image, or of another size where it counts.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> evidence_on_input(probe, -np.ones((1, 4, 4, 3))).mean()
        np.float32(-3.0)
    """
    check_probe(probe)
    sides = probe.inputs.shape[1:-1]
    arrays = checked_maps(given, len(probe))
    if odd := [array.shape for array in arrays if array.ndim - len(sides) not in (0, 1)]:
        raise ValueError(
            f"A map must have as many axes as the model's input has sides, {len(sides)}, or one "
            f"more of channels; got one of shape {odd[0]}."
        )
    summed = [signed_map(array, len(sides)) for array in arrays]
    if keeps_sums and (odd := [array.shape for array in summed if array.shape != sides]):
        raise ValueError(
            f"The sums of a map are compared with the number itself, so it must have the input's "
            f"size, {sides}; got {odd[0]}. With scaled=True any size is taken."
        )
    return np.stack([maps.resize(array, sides) for array in summed])


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
    count = round(checked_fraction(fraction) * heatmap.size)
    if not 0 < count < heatmap.size:
        return np.full(heatmap.shape, count > 0)
    least = np.partition(heatmap, heatmap.size - count, axis=None)[heatmap.size - count]
    chosen, equal = heatmap > least, np.flatnonzero(heatmap == least)
    chosen.flat[equal[: count - np.count_nonzero(chosen)]] = True
    return chosen
