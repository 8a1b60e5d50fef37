"""Does a map point at the object? Measures of one heatmap against boxes or a mask, in NumPy.

Heatmaps are (H, W), finite, not negative, of the picture's size. Truth is a mask, (H, W) bool, or
boxes, (n, 4) half-open [x0, y0, x1, y1) in pixels; where pixels are counted, a box holds those
whose centre lies in it, and several boxes count as their union.

From a heatmap to boxes one way leads, that of ``tfcam.maps``: ``mask`` keeps what is above a
fraction of the maximum, or an exact number of pixels; ``mask_boxes`` bounds its largest part, each
part, or all of it. Other projects give inclusive corners: ``half_open`` converts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcam import maps
from tfcam.metrics.checks import checked_boxes, checked_thresholds

# Of the pointing game, in pixels (Zhang et al. 2016).
TOLERANCE = 15.0


# From this overlap on a box counts as found (ILSVRC).
FOUND = 0.5


def half_open(inclusive: np.ndarray) -> np.ndarray:
    """Half-open boxes of boxes whose last corner is a pixel inside, as ILSVRC gives them.

    Args:
        inclusive: (n, 4) [x0, y0, x1, y1], both corners inside.

    Returns:
        (n, 4) float32 [x0, y0, x1 + 1, y1 + 1).

    Example:
        >>> half_open(np.array([[0, 0, 9, 9]]))
        array([[ 0.,  0., 10., 10.]], dtype=float32)
    """
    return np.asarray(inclusive, np.float32) + np.array([0, 0, 1, 1], np.float32)


def truth_mask(truth: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The pixels of the truth: a mask as it is, or those whose centre a box holds.

    Args:
        truth: (H, W) bool, or (n, 4) boxes.
        size: (height, width) of the heatmap in pixels.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: If it is neither, or holds no pixel of the picture.

    Example:
        >>> truth_mask(np.array([[1, 0, 3, 1]]), (2, 4)).astype(int)
        array([[0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    truth = np.asarray(truth)
    if truth.dtype == bool:
        if truth.shape != size:
            raise ValueError(
                f"A mask must have the size of the heatmap, {size}; got {truth.shape}. Resize it "
                "to the picture."
            )
        inside = truth
    else:
        inside = np.zeros(size, bool)
        y, x = np.ogrid[: size[0], : size[1]]
        for x0, y0, x1, y1 in checked_boxes(truth):
            columns, rows = (x0 <= x + 0.5) & (x + 0.5 < x1), (y0 <= y + 0.5) & (y + 0.5 < y1)
            inside |= columns & rows
    if not inside.any():
        raise ValueError(
            f"The truth must hold at least one pixel of the {size[1]} x {size[0]} picture; it "
            "holds none. Are the boxes those of this picture, in pixels?"
        )
    return inside


def best_iou(boxes: np.ndarray, truths: np.ndarray) -> float:
    """The largest intersection over union of any box with any true one.

    Args:
        boxes: (n, 4) found; n may be 0.
        truths: (m, 4) true.

    Returns:
        In [0, 1]; 0 where no box was found.

    Raises:
        ValueError: If there are no true boxes.

    Example:
        >>> best_iou(np.array([[0, 0, 4, 2]]), np.array([[1, 1, 3, 5], [0, 0, 4, 4]]))
        0.5
    """
    return float(maps.ious(np.asarray(boxes), checked_boxes(truths)).max(initial=0.0))


def box_iou(
    heatmap: np.ndarray,
    truths: np.ndarray,
    threshold: float = 0.2,
    components: maps.Components = "largest",
    by: maps.By = "maximum",
) -> float:
    """How well the box of a heatmap overlaps the nearest true one.

    Args:
        heatmap: (H, W).
        truths: (m, 4) true boxes.
        threshold: What a pixel must exceed, see ``tfcam.maps.mask``.
        components: Whose boxes, see ``tfcam.maps.mask_boxes``.
        by: "maximum" or "quantile".

    Returns:
        The best intersection over union, in [0, 1]; 0 where nothing exceeds the threshold.

    Raises:
        ValueError: If an argument is none of these.

    Source: Zhou et al. 2016, section 3.2, for the defaults.

    Example:
        >>> heatmap = np.array([[0.1, 1.0, 0.5], [0.0, 0.3, 0.1]])
        >>> box_iou(heatmap, np.array([[1, 0, 3, 1]]))  # of the box [1, 0, 3, 2)
        0.5
    """
    return best_iou(maps.boxes(heatmap, threshold, components, by), truths)


def top_quarter_iou(
    heatmap: np.ndarray, truths: np.ndarray, components: maps.Components = "enclosing"
) -> float:
    """How well the box around the quarter of pixels with the largest values overlaps a true one.

    Exactly round(H W / 4) pixels; of equal values the first, row by row. The box that encloses
    them all is mostly far larger than a quarter of the picture: one stray pixel stretches it.

    Args:
        heatmap: (H, W).
        truths: (m, 4) true boxes.
        components: "enclosing", "largest" or "all".

    Returns:
        The best intersection over union, in [0, 1]; 0 for a map of zeros.

    Example:
        >>> heatmap = np.array([[0.9, 0.8, 0.1, 0.1], [0.0, 0.2, 0.1, 0.3]])
        >>> top_quarter_iou(heatmap, np.array([[0, 0, 2, 2]]))
        0.5
    """
    return box_iou(heatmap, truths, 0.75, components, "quantile")


def iou_curve(
    heatmap: np.ndarray,
    truths: np.ndarray,
    thresholds: np.ndarray,
    components: maps.Components = "largest",
) -> np.ndarray:
    """``box_iou`` at each threshold, with one search for parts for each mask that differs.

    Args:
        heatmap: (H, W).
        truths: (m, 4) true boxes.
        thresholds: (T,) fractions of the maximum, rising, in [0, 1).
        components: As ``box_iou``.

    Returns:
        (T,) float64.

    Raises:
        ValueError: If an argument is none of these.

    Example:
        >>> heatmap = np.array([[0.1, 1.0, 0.5], [0.0, 0.3, 0.1]])
        >>> iou_curve(heatmap, np.array([[1, 0, 3, 1]]), np.array([0.0, 0.2, 0.4, 0.6]))
        array([0.33333333, 0.5       , 1.        , 0.5       ])
    """
    maps.check_finite(heatmap)
    truths, thresholds = checked_boxes(truths), checked_thresholds(thresholds)
    cuts = thresholds.astype(np.float32) * heatmap.max(initial=0.0)
    # How many of the cuts a pixel exceeds, in few bytes, as it is compared many times.
    levels = np.searchsorted(cuts, heatmap, side="left").astype(np.min_scalar_type(len(cuts)))
    curve = np.zeros(len(thresholds))
    lowest = 0
    for level in np.unique(levels):  # between two levels that occur the mask stays the same
        if level > lowest:
            found = maps.mask_boxes(levels >= level, components)
            curve[lowest:level] = maps.ious(found, truths).max(initial=0.0)
            lowest = level
    return curve


def pointing_game(heatmap: np.ndarray, truth: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    """Whether the maximum of a heatmap lies on the object, or less than the tolerance from it.

    A hit if min over pixels of the object of (x - x_max)^2 + (y - y_max)^2 < tolerance^2, or if
    the maximum is one of them. Of several maxima the first counts, row by row.

    Args:
        heatmap: (H, W).
        truth: A mask (H, W) bool, or boxes (n, 4).
        tolerance: In pixels of the heatmap; 0 for none.

    Returns:
        Whether it is a hit; a map of zeros points nowhere and misses.

    Raises:
        ValueError: If the map is not finite, the truth holds no pixel or the tolerance is negative.

    Source: Zhang et al. 2016, "Top-down neural attention by excitation backprop", section 4.1.

    Departs from the paper: a map of zeros misses; the paper does not say what it does.

    Example:
        >>> heatmap = np.zeros((40, 40))
        >>> heatmap[10, 10] = 1
        >>> [pointing_game(heatmap, np.array([[x, 10, 39, 11]])) for x in (24, 25)]
        [True, False]
    """
    maps.check_finite(heatmap)
    if not tolerance >= 0:
        raise ValueError(f"A tolerance must be at least 0 pixels; got {tolerance}.")
    inside = truth_mask(truth, heatmap.shape)
    if heatmap.max() <= 0:
        return False
    top, left = np.unravel_index(heatmap.argmax(), heatmap.shape)
    y, x = np.nonzero(inside)
    squared = int(((y - top) ** 2 + (x - left) ** 2).min())
    return squared == 0 or squared < tolerance**2


def mean_over_classes(hits: Sequence[bool], classes: Sequence[int]) -> float:
    """The share of hits of each class, averaged over the classes that occur.

    Args:
        hits: One for each image.
        classes: The class of each image.

    Returns:
        In [0, 1].

    Raises:
        ValueError: If there is not one class for each hit, or none at all.

    Source: Zhang et al. 2016, section 4.1.

    Example:
        >>> mean_over_classes([True, True, True, False], [0, 0, 0, 1])
        0.5
    """
    if len(hits) != len(classes) or not len(hits):
        raise ValueError(
            f"There must be one class for each hit, at least one; got {len(hits)} hits and "
            f"{len(classes)} classes."
        )
    given, kinds = np.asarray(hits, np.float64), np.asarray(classes)
    return float(np.mean([given[kinds == each].mean() for each in np.unique(kinds)]))


def energy(heatmap: np.ndarray, truth: np.ndarray) -> float:
    """The share of a heatmap that lies on the object: the energy-based pointing game.

    sum of L over the object / sum of L; also called relevance mass accuracy. A uniform map scores
    ``area_fraction``, so compare with that.

    Args:
        heatmap: (H, W).
        truth: A mask (H, W) bool, or boxes (n, 4).

    Returns:
        In [0, 1]; 0 for a map of zeros.

    Raises:
        ValueError: If the map is not finite, or the truth holds no pixel.

    Source: Wang et al. 2020, "Score-CAM", section 4.3; Arras et al. 2022, "CLEVR-XAI".

    Example:
        >>> energy(np.array([[0.5, 1.0], [0.0, 0.5]]), np.array([[1, 0, 2, 1]]))
        0.5
    """
    maps.check_finite(heatmap)
    inside = truth_mask(truth, heatmap.shape)
    values = heatmap.astype(np.float64)
    total = values.sum()
    return float(values[inside].sum() / total) if total > 0 else 0.0


def area_fraction(truth: np.ndarray, size: tuple[int, int]) -> float:
    """The share of the picture that the object takes: what ``energy`` gives to a uniform map.

    Args:
        truth: A mask (H, W) bool, or boxes (n, 4).
        size: (height, width) of the picture in pixels.

    Returns:
        In (0, 1].

    Example:
        >>> area_fraction(np.array([[1, 0, 3, 1]]), (2, 4))
        0.25
    """
    return float(truth_mask(truth, size).mean())


def relevance_rank_accuracy(heatmap: np.ndarray, truth: np.ndarray) -> float:
    """The share of the |object| pixels with the largest values that lie on the object.

    Args:
        heatmap: (H, W); of equal values the first count, row by row.
        truth: A mask (H, W) bool, or boxes (n, 4).

    Returns:
        In [0, 1]; 0 for a map of zeros.

    Raises:
        ValueError: If the map is not finite, or the truth holds no pixel.

    Source: Arras et al. 2022, "CLEVR-XAI".

    Example:
        >>> relevance_rank_accuracy(np.array([[0.5, 1.0, 0.7]]), np.array([[True, True, False]]))
        0.5
    """
    maps.check_finite(heatmap)
    inside = truth_mask(truth, heatmap.shape)
    if heatmap.max() <= 0:
        return 0.0
    return float(inside.flat[maps.ranking(heatmap)[: inside.sum()]].mean())


def gt_known_localisation(overlaps: Sequence[float]) -> float:
    """The share of images whose box, of the map of the true class, overlaps by at least 0.5.

    Args:
        overlaps: (N,) the intersection over union of each image, such as of ``box_iou``.

    Returns:
        In [0, 1].

    Source: ILSVRC development kit: a box is wrong if its overlap is below 0.5.

    Example:
        >>> gt_known_localisation([0.5, 0.49, 0.9, 0.0])
        0.5
    """
    return top1_localisation(overlaps, [True] * len(overlaps))


def top1_localisation(overlaps: Sequence[float], correct: Sequence[bool]) -> float:
    """The share of images whose class is right and whose box overlaps by at least 0.5.

    Args:
        overlaps: (N,) the intersection over union of each image, of the predicted class's map.
        correct: (N,) whether the predicted class is right.

    Returns:
        In [0, 1].

    Raises:
        ValueError: If there is not one of each for every image, or no image.

    Source: ILSVRC development kit.

    Example:
        >>> top1_localisation([0.5, 0.9, 0.9, 0.0], [True, False, True, True])
        0.5
    """
    if len(overlaps) != len(correct) or not len(overlaps):
        raise ValueError(
            "There must be one overlap and one answer for each image, at least one; got "
            f"{len(overlaps)} and {len(correct)}."
        )
    return float(np.mean((np.asarray(overlaps) >= FOUND) & np.asarray(correct, bool)))
