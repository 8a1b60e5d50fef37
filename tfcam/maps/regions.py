"""From a heatmap to a mask and boxes, and how far boxes overlap: NumPy in, NumPy out."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from tfcam.utils.opencv import cv2
from tfcam.utils.validation import check_choice

Components = Literal["largest", "all", "enclosing"]


By = Literal["maximum", "quantile"]


def mask(values: np.ndarray, threshold: float, by: By = "maximum") -> np.ndarray:
    """Where a map is strictly above a fraction of its maximum, or above a quantile of its pixels.

    A quantile counts pixels: exactly round((1 - threshold) H W) of them are kept, those with the
    largest values; of equal ones the first, row by row.

    Args:
        values: (H, W), not negative, finite.
        threshold: Fraction of the maximum or of the pixels, 0 <= threshold < 1.
        by: "maximum" or "quantile".

    Returns:
        (H, W) bool; nowhere true where the map is all zero.

    Raises:
        ValueError: If the threshold is not in [0, 1), ``by`` is neither, or a value is not finite.

    Example:
        >>> mask(np.array([[0.0, 0.4, 1.0]]), 0.4)
        array([[False, False,  True]])
        >>> mask(np.array([[0.4, 0.4], [0.4, 1.0]]), 0.5, "quantile")
        array([[ True, False],
               [False,  True]])
    """
    if not 0.0 <= threshold < 1.0:
        what = "pixels" if by == "quantile" else "maximum"
        raise ValueError(
            f"A threshold must be a fraction of the {what}, 0 <= threshold < 1; got {threshold}."
        )
    check_choice("by", by, get_args(By))
    check_finite(values)
    if by == "maximum":
        return values > np.float32(threshold) * values.max(initial=0.0)
    kept = np.zeros(values.size, bool)
    if values.max(initial=0.0) > 0:
        kept[ranking(values)[: round((1 - threshold) * values.size)]] = True
    return kept.reshape(values.shape)


def check_finite(values: np.ndarray) -> None:
    """Refuse a map that holds NaN or infinite values: nothing is above NaN.

    Raises:
        ValueError: If it does.
    """
    if not np.isfinite(values).all():
        raise ValueError(
            "A map must be finite to be measured; this one holds NaN or infinite values. "
            "tfcam.diagnose says in which layer they start."
        )


def ranking(values: np.ndarray) -> np.ndarray:
    """Flat indices of all pixels, largest value first; of equal ones the first, row by row.

    Example:
        >>> ranking(np.array([[0.5, 1.0], [0.0, 0.5]])).tolist()
        [1, 0, 3, 2]
    """
    return np.argsort(-values.astype(np.float64), axis=None, kind="stable")  # uint8 has no minus


def boxes(
    values: np.ndarray,
    threshold: float = 0.2,
    components: Components = "largest",
    by: By = "maximum",
) -> np.ndarray:
    """Boxes around the connected parts of a thresholded map.

    Args:
        values: (H, W) heatmap, not negative, finite.
        threshold: Fraction of the maximum that a pixel must exceed, or of the pixels that are left
            out; 0.2 is that of Zhou et al.
        components: "largest" for the largest part only, "all" for each part, "enclosing" for one
            box around them all.
        by: What the threshold is a fraction of: "maximum" or "quantile", the pixels.

    Returns:
        (n, 4) float32, half-open [x0, y0, x1, y1); n is 0 where nothing exceeds the threshold.

    Raises:
        ValueError: If an argument is none of these.

    Example:
        >>> boxes(np.array([[0, 0, 0], [0, 1, 1]], np.float32))
        array([[1., 1., 3., 2.]], dtype=float32)
    """
    return mask_boxes(mask(values, threshold, by), components)


def mask_boxes(binary: np.ndarray, components: Components = "largest") -> np.ndarray:
    """Boxes around the connected parts of a mask.

    Parts are 8-connected; "largest" counts pixels, not the area inside a contour, which is zero
    for a thin line.

    Args:
        binary: (H, W) bool.
        components: "largest" for the largest part only, "all" for each part, largest first; of
            equal ones the topmost, then the leftmost; "enclosing" for one box around them all.

    Returns:
        (n, 4) float32, half-open [x0, y0, x1, y1); n is 0 where the mask is empty.

    Raises:
        ValueError: If ``components`` is none of these.

    Example:
        >>> mask_boxes(np.array([[True, False, True, True]]), "all")
        array([[2., 0., 4., 1.], [0., 0., 1., 1.]], dtype=float32)
    """
    check_choice("components", components, get_args(Components))
    left, top, width, height = cv2.boundingRect(binary.astype(np.uint8))
    if width == 0:
        return np.zeros((0, 4), np.float32)
    part = binary[top : top + height, left : left + width].astype(np.uint8)
    # Twice as fast with 16 bits, where they can number a part in each second row and column.
    short = (height + 1) * (width + 1) < 4 * (2**16 - 2)
    labels = cv2.CV_16U if short else cv2.CV_32S
    _, _, statistics, _ = cv2.connectedComponentsWithStats(part, connectivity=8, ltype=labels)
    x, y, width, height, area = statistics[1:].T  # the first is the background
    x, y = x + left, y + top
    order = np.lexsort((x, y, -area))  # cv2's own order differs between its versions
    if components == "largest":
        order = order[:1]
    result = np.stack([x, y, x + width, y + height], axis=-1)[order].astype(np.float32)
    if components == "enclosing":
        return np.concatenate([result[:, :2].min(axis=0), result[:, 2:].max(axis=0)])[np.newaxis]
    return result


def iou(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two half-open boxes.

    Args:
        box: (4,) [x0, y0, x1, y1).
        other: (4,) [x0, y0, x1, y1).

    Returns:
        In [0, 1]; 0 where both are empty.

    Example:
        >>> iou(np.array([0, 0, 10, 10]), np.array([5, 0, 15, 10]))  # 50 / 150
        0.3333333333333333
    """
    return float(ious(np.asarray(box)[np.newaxis], np.asarray(other)[np.newaxis])[0, 0])


def ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with each other one.

    Args:
        boxes: (n, 4) half-open [x0, y0, x1, y1).
        others: (m, 4) likewise.

    Returns:
        (n, m) float64 in [0, 1].

    Example:
        >>> ious(np.array([[0, 0, 10, 10]]), np.array([[5, 0, 10, 10], [20, 0, 30, 10]]))
        array([[0.5, 0. ]])
    """
    one, two = boxes[:, np.newaxis].astype(np.float64), others[np.newaxis].astype(np.float64)
    corners = [np.maximum(one[..., :2], two[..., :2]), np.minimum(one[..., 2:], two[..., 2:])]
    shared = _area(np.concatenate(corners, axis=-1))
    union = _area(one) + _area(two) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(axis=-1)
