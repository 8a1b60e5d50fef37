"""What metrics take, refused where it does not fit: heatmaps, boxes, thresholds, fractions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from tfcam.utils.validation import kind_of


class WithHeatmap(Protocol):
    """Something with a heatmap, such as an ``Explanation``."""

    @property
    def heatmap(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]."""


class WithRaw(Protocol):
    """Something with a raw map, such as an ``Explanation``."""

    @property
    def raw(self) -> np.ndarray:
        """(h, w) or (h, w, C), signed."""


Heatmap = np.ndarray | WithHeatmap
Heatmaps = Heatmap | Iterable[Heatmap]
Map = np.ndarray | WithRaw
Maps = Map | Iterable[Map]


def heatmap_of(heatmap: Heatmap) -> np.ndarray:
    """Get the heatmap (H, W) of an explanation; an array is one itself.

    Raises:
        ValueError: If it is neither.

    Example:
        >>> heatmap_of("dog.png")
        Traceback (most recent call last):
        ValueError: A heatmap must be an array (H, W) of numbers or an explanation; got 'dog.png' of
        type str.
    """
    array = numbers_of(getattr(heatmap, "heatmap", heatmap))
    if array is None or not array.ndim:
        raise ValueError(
            "A heatmap must be an array (H, W) of numbers or an explanation; got "
            f"{kind_of(heatmap)}."
        )
    return array


def image_heatmap(heatmap: Heatmap, volumes: bool = False) -> np.ndarray:
    """Get the heatmap (H, W) of a picture, which must have pixels.

    Args:
        heatmap: The heatmap, or an explanation.
        volumes: Whether it may be (D, H, W), of a video or volume.

    Raises:
        ValueError: If it has none, or is no heatmap.
    """
    array = heatmap_of(heatmap)
    if array.ndim not in ((2, 3) if volumes else (2,)) or not array.size:
        raise ValueError(
            f"A heatmap of a picture must be (H, W){', of a volume (D, H, W)' if volumes else ''}, "
            f"with at least one pixel; got an array of shape {array.shape}."
        )
    return array


def numbers_of(value: object) -> np.ndarray | None:
    """Make an array of real numbers; None where it is none."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    return None if array.dtype.kind in "OSUcmM" else array


def checked_heatmaps(heatmaps: Heatmaps, count: int | None = None) -> list[np.ndarray]:
    """Check heatmaps and list them one by one.

    Args:
        heatmaps: (B, H, W) floats in [0, 1], a list of (H, W), or of ``Explanation``.
        count: The number of images, one for each heatmap; None for any.

    Returns:
        (H, W) float32 each.

    Raises:
        ValueError: If there is none, or too few or too many, or one is empty, not finite or not in
            [0, 1].

    Example:
        >>> checked_heatmaps(np.array([[[0.0, 1.0]]]))
        [array([[0., 1.]], dtype=float32)]
    """
    arrays = _one_by_one(heatmaps, count, heatmap_of)
    for array in arrays:
        if not array.size or not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            seen = f"{array.min():g} to {array.max():g}" if array.size else "an empty one"
            raise ValueError(
                f"A heatmap must hold finite values in [0, 1]; got {seen}. "
                "tfcam.maps.scale makes one of a raw map."
            )
    return arrays


def raw_map_of(map: Map) -> np.ndarray:
    """Get the raw map of an explanation; an array is one itself.

    Raises:
        ValueError: If it is neither.
    """
    array = numbers_of(getattr(map, "raw", map))
    if array is None or not array.ndim:
        raise ValueError(
            f"A map must be an array of numbers or an explanation; got {kind_of(map)}."
        )
    return array


def checked_maps(maps: Maps, count: int) -> list[np.ndarray]:
    """Check maps, signed or not, and list them one by one.

    Args:
        maps: (B, H, W) or (B, H, W, C), a list of these, or of explanations.
        count: The number of images, one map for each.

    Returns:
        (H, W) or (H, W, C) float32 each.

    Raises:
        ValueError: If there are too few or too many, or one is empty or not finite.

    Example:
        >>> checked_maps(np.array([[[-3.0, 1.0]]]), 1)
        [array([[-3.,  1.]], dtype=float32)]
    """
    arrays = _one_by_one(maps, count, raw_map_of)
    if any(not array.size or not np.isfinite(array).all() for array in arrays):
        raise ValueError("A map must hold finite values, at least one; this one does not.")
    return arrays


def _one_by_one(
    heatmaps: Heatmaps | Maps, count: int | None, array_of: Callable[..., np.ndarray]
) -> list[np.ndarray]:
    """List maps one by one, as ``array_of`` gets each, and check how many they are."""
    listed = heatmaps if isinstance(heatmaps, Iterable) else [heatmaps]
    shape = getattr(heatmaps, "shape", None)
    least = 3 if count is None else 2  # (B, L) of series; alone it may be one map (H, W)
    if isinstance(heatmaps, str | bytes | Mapping) or (shape is not None and len(shape) < least):
        got = kind_of(heatmaps) if shape is None else f"an array of shape {tuple(shape)}"
        raise ValueError(
            f"Heatmaps must be (B, H, W), or a list of heatmaps or explanations; got {got}. One "
            "alone is a list of one."
        )
    arrays = [np.asarray(array_of(heatmap), np.float32) for heatmap in listed]
    if not arrays:
        raise ValueError("There must be at least one heatmap; got none.")
    if count is not None and len(arrays) != count:
        raise ValueError(
            f"There must be one heatmap for each image, {count}; got {len(arrays)}. One image "
            "alone has heatmaps (1, H, W)."
        )
    return arrays


def checked_boxes(boxes: np.ndarray) -> np.ndarray:
    """Check true boxes and convert them to float64.

    Raises:
        ValueError: If they are not (n, 4), finite, n > 0.
    """
    array = numbers_of(boxes)
    fits = array is not None and array.ndim == 2 and array.shape[1] == 4 and len(array) > 0
    if array is None or not fits or not np.isfinite(array).all():
        got = kind_of(boxes) if array is None else f"an array of shape {array.shape}"
        raise ValueError(
            f"True boxes must be (n, 4), at least one, [x0, y0, x1, y1) in pixels; got {got}. An "
            "image without an object can't be measured: leave it out."
        )
    return array.astype(np.float64)


def checked_thresholds(thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Check thresholds and convert them to a float64 array.

    Raises:
        ValueError: If they do not rise, or are not in [0, 1).
    """
    array = np.asarray(thresholds, np.float64)
    rising = array.ndim == 1 and len(array) > 0 and (np.diff(array) > 0).all()
    if not rising or not 0 <= array[0] <= array[-1] < 1:
        raise ValueError(f"Thresholds must rise, 0 <= threshold < 1; got {thresholds}.")
    return array


def check_fractions(fractions: Sequence[float]) -> None:
    """Refuse fractions that do not rise.

    Raises:
        ValueError: If there is none, they do not rise, or one is not in [0, 1].
    """
    if not len(fractions) or (np.diff(list(map(checked_fraction, fractions))) <= 0).any():
        raise ValueError(f"fractions must rise, each in [0, 1]; got {list(fractions)}.")


def checked_fraction(fraction: float) -> float:
    """Check a fraction of the pixels.

    Raises:
        ValueError: If it is not in [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"A fraction of the pixels must be in [0, 1]; got {fraction}.")
    return fraction
