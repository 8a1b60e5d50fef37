"""From a raw map to a heatmap, a mask, boxes: NumPy in, NumPy out.

Maps are (h, w) or, of pixels, (H, W, C); heatmaps (H, W) float32 in [0, 1]; boxes are half-open
[x0, y0, x1, y1) floats in pixels of the heatmap. Maps of series have one axis of positions instead
of two, those of volumes three.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from tfcam.utils.opencv import cv2
from tfcam.utils.validation import check_choice

Fusion = Literal["max", "mean", "product", "tanh_max"]
Shown = Literal["positive", "absolute", "above_least", "summed"]


def resize(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize a map linearly, with pixel centres at half positions as TensorFlow does.

    Args:
        values: (h, w) or (h, w, C), any real dtype; with as many axes of positions as ``size``.
        size: (height, width) in pixels; the length of a series; (depth, height, width).

    Returns:
        float32 of that size.

    Example:
        >>> resize(np.array([[0.0, 1.0]]), (1, 4))
        array([[0.  , 0.25, 0.75, 1.  ]], dtype=float32)
    """
    if len(size) == 1:
        return resize(values[:, np.newaxis], (*size, 1))[:, 0]
    if len(size) == 3:  # each slice, then along the depth
        flat = np.stack([resize(plane, size[1:]) for plane in values])
        deep = resize(flat.reshape(len(flat), -1), (size[0], flat[0].size))
        return deep.reshape(size[0], *flat.shape[1:])
    resized = cv2.resize(values.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    return resized.reshape(*size, *values.shape[2:])  # cv2 drops a single channel


def scale(values: np.ndarray) -> np.ndarray:
    """Keep what is positive and divide by the largest value; a map without any stays zero.

    Args:
        values: any shape, signed, finite.

    Returns:
        float32 in [0, 1].

    Example:
        >>> scale(np.array([[-1.0, 1.0, 2.0]]))
        array([[0. , 0.5, 1. ]], dtype=float32)
    """
    return _divide(np.maximum(values, 0.0))


def _divide(positive: np.ndarray) -> np.ndarray:
    """Divide what is not negative, and nobody else's, by its largest value."""
    largest = positive.max(initial=0.0)
    if largest == 0.0:
        return np.zeros(positive.shape, np.float32)
    if positive.dtype != np.float32:
        return (positive / largest).astype(np.float32)
    positive /= largest  # in place: large maps are made by the thousand
    return positive


def evidence(raw: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Keep what is positive of a map, then resize it: a heatmap before it is scaled.

    In this order, as in the papers: a negative cell takes nothing from its neighbours.

    Args:
        raw: (h, w) signed; or (H, W, C) of pixels, of which the largest absolute value over the
            channels is shown (Simonyan et al. 2013, section 3.1).
        size: (height, width) of the picture in pixels.

    Returns:
        (height, width) float32, not negative.

    Source: Selvaraju et al. 2017, "Grad-CAM", eq. 2: the ReLU is part of the map of h x w cells.

    Example:
        >>> evidence(np.array([[-9.0, 2.0]]), (1, 4))
        array([[0. , 0.5, 1.5, 2. ]], dtype=float32)
    """
    pixels = raw.ndim > len(size)
    return resize(_over_channels(np.maximum, np.abs(raw)) if pixels else np.maximum(raw, 0.0), size)


def _over_channels(combine: np.ufunc, values: np.ndarray) -> np.ndarray:
    """``combine.reduce(values, axis=-1)``, which is 20 to 80 times as slow where these are few."""
    if not 1 < values.shape[-1] < 8:  # of more, sums are in another order
        return combine.reduce(values, axis=-1)
    return functools.reduce(combine, np.moveaxis(values, -1, 0))


def shown_values(raw: np.ndarray, how: Shown) -> np.ndarray:
    """What a heatmap shows of a raw map.

    Args:
        raw: Any shape, signed, of one image.
        how: "positive": as it is, so that negative values are left out; "absolute": their size;
            "above_least": what is above its least value; "summed": the channels' sum, where it is
            positive.

    Returns:
        The same shape; with one channel where they are summed.

    Example:
        >>> shown_values(np.array([-1.0, 2.0]), "above_least")
        array([0., 3.])
    """
    if how == "absolute":
        return np.abs(raw)
    if how == "summed":
        return np.maximum(_over_channels(np.add, raw)[..., np.newaxis], 0)
    return raw - raw.min(initial=np.inf) if how == "above_least" else raw


def heatmap(
    raw: np.ndarray, size: tuple[int, ...], cell: Sequence[int] | None = None
) -> np.ndarray:
    """A picture-sized map in [0, 1]: ReLU, then resized, then scaled.

    Scaled last, as resizing lowers the maximum.

    Args:
        raw: (h, w) signed, or (H, W, C) of pixels, as ``evidence`` takes it.
        size: (height, width) of the picture in pixels.
        cell: Height and width in pixels of one value of a map that may reach beyond the picture, as
            one of tiles does; None where it is as large as the picture.

    Returns:
        (height, width) float32 in [0, 1]; all zero where nothing is positive.

    Example:
        >>> heatmap(np.array([[-1.0, 2.0]]), (1, 2))
        array([[0., 1.]], dtype=float32)
    """
    return _divide(_within(evidence(raw, _covered(raw, size, cell)), size))


def _covered(raw: np.ndarray, size: tuple[int, ...], cell: Sequence[int] | None) -> tuple[int, ...]:
    """The size in pixels of what a map is of."""
    if cell is None:
        return size
    return tuple(count * pixels for count, pixels in zip(raw.shape, cell, strict=False))


def _within(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """What of some values is of the picture, in an array of its own."""
    return values if values.shape == size else values[tuple(map(slice, size))].copy()


def signed(raw: np.ndarray, size: tuple[int, ...], cell: Sequence[int] | None = None) -> np.ndarray:
    """A picture-sized map in [-1, 1]: resized, then divided by its largest absolute value.

    Args:
        raw: (h, w) signed; or (H, W, C) of pixels, of which the sum over the channels is shown.
        size: (height, width) of the picture in pixels.
        cell: As ``heatmap`` takes it.

    Returns:
        (height, width) float32 in [-1, 1]; all zero where nothing is positive or negative.

    Example:
        >>> signed(np.array([[-4.0, 2.0]]), (1, 2))
        array([[-1. ,  0.5]], dtype=float32)
    """
    values = raw if raw.ndim == len(size) else _over_channels(np.add, raw)
    resized = _within(resize(values, _covered(raw, size, cell)), size)
    largest = np.abs(resized).max(initial=0.0)
    return resized / largest if largest else resized


def fuse(heatmaps: Sequence[np.ndarray], how: Fusion = "max") -> np.ndarray:
    """One heatmap of several layers' heatmaps.

    "max", "mean" and "product" take that of each pixel; "tanh_max" is LayerCAM's: the maximum of
    tanh(2 M), which lifts what is faint in shallow layers.

    Args:
        heatmaps: (H, W) each, in [0, 1], of one size.
        how: "max", "mean", "product" or "tanh_max".

    Returns:
        (H, W) float32 in [0, 1], scaled by its maximum.

    Raises:
        ValueError: If ``how`` is none of these.

    Source: tanh_max: Jiang et al. 2021, "LayerCAM", section III.

    Example:
        >>> fuse([np.array([[1.0, 0.5]]), np.array([[0.0, 1.0]])], "mean")
        array([[0.6666667, 1.       ]], dtype=float32)
    """
    check_fusion(how)
    stack = np.stack(heatmaps)
    if how == "mean":
        return scale(stack.mean(axis=0))
    if how == "product":
        return scale(stack.prod(axis=0))
    return scale((np.tanh(2 * stack) if how == "tanh_max" else stack).max(axis=0))


def check_fusion(how: str) -> None:
    """Refuse what is no way to fuse.

    Raises:
        ValueError: If it is none.
    """
    check_choice("fuse", how, get_args(Fusion))
