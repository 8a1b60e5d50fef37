"""Localisation: one heatmap measured against boxes or a mask.

Heatmaps are (H, W), finite, not negative, of the picture's size. Truth is a mask, (H, W) bool, or
boxes, (n, 4) half-open [x0, y0, x1, y1) in pixels; where pixels are counted, a box holds those
whose centre lies in it, and several boxes count as their union. Of a video or volume heatmap and
mask are (D, H, W), and there are no boxes.

From a heatmap to boxes one way leads, that of ``tfcam.maps``: ``mask`` keeps what is above a
fraction of the maximum, or an exact number of pixels; ``mask_boxes`` bounds its largest part, each
part, or all of it. Other projects give inclusive corners: ``half_open`` converts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
from scipy.stats import rankdata

from tfcam import maps
from tfcam.metrics.checks import Heatmap, checked_boxes, checked_thresholds, image_heatmap
from tfcam.utils.digest import digest_arrays
from tfcam.utils.recent import Recent
from tfcam.utils.validation import check_choice

# The tolerance of the pointing game in pixels (Zhang et al. 2016).
TOLERANCE = 15.0


# The least overlap of a box that counts as found (ILSVRC).
FOUND = 0.5
# Of the maps that were measured last: the versions of MaxBoxAcc ask for the same parts, and to find
# them takes longest. A tree of all parts (a max-tree) takes longer than a hundred searches.
_CURVES: Recent[np.ndarray] = Recent(64)


def half_open(inclusive: np.ndarray) -> np.ndarray:
    """Convert boxes whose last corner is a pixel inside, as in ILSVRC, to half-open boxes.

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
    """Build the mask of the truth: a mask as it is, or the pixels whose centre lies in a box.

    Args:
        truth: A mask (H, W) bool, or boxes (n, 4).
        size: (height, width) of the heatmap in pixels.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: If the truth is neither, or holds no pixel of the picture.

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
    elif len(size) != 2:
        raise ValueError(
            f"For a heatmap {size} the truth must be a bool mask {size}: boxes are for pictures; "
            f"got {truth.dtype} {truth.shape}."
        )
    else:
        inside = np.zeros(size, bool)
        y, x = np.ogrid[: size[0], : size[1]]
        for x0, y0, x1, y1 in checked_boxes(truth):
            columns, rows = (x0 <= x + 0.5) & (x + 0.5 < x1), (y0 <= y + 0.5) & (y + 0.5 < y1)
            inside |= columns & rows
    if not inside.any():
        raise ValueError(
            f"The truth must hold at least one pixel of the {' x '.join(map(str, size[::-1]))} "
            "picture; it holds none. Are the boxes those of this picture, in pixels?"
        )
    return inside


def best_iou(boxes: np.ndarray, truths: np.ndarray) -> float:
    """Compute the largest intersection over union (IoU) of any box with any true box.

    Args:
        boxes: (n, 4) predicted boxes; n may be 0.
        truths: (m, 4) true boxes.

    Returns:
        In [0, 1]; 0 without a predicted box.

    Raises:
        ValueError: If there are no true boxes.

    Example:
        >>> best_iou(np.array([[0, 0, 4, 2]]), np.array([[1, 1, 3, 5], [0, 0, 4, 4]]))
        0.5
    """
    return float(maps.ious(np.asarray(boxes), checked_boxes(truths)).max(initial=0.0))


def box_iou(
    heatmap: Heatmap,
    truths: np.ndarray,
    threshold: float = 0.2,
    components: maps.Components = "largest",
    by: maps.By = "maximum",
) -> float:
    """Compute the overlap (IoU) of a heatmap's box with the nearest true box.

    Args:
        heatmap: (H, W), or an ``Explanation``.
        truths: (m, 4) true boxes.
        threshold: The fraction of the maximum, or of the pixels, see ``tfcam.maps.mask``.
        components: "largest", "all" or "enclosing", see ``tfcam.maps.mask_boxes``.
        by: "maximum" or "quantile": what the threshold is a fraction of.

    Returns:
        The best IoU, in [0, 1]; 0 where nothing exceeds the threshold.

    Raises:
        ValueError: If an argument is none of these, or there is no true box.

    Source: Zhou et al. 2016, section 3.2, for the defaults.

    Example:
        >>> heatmap = np.array([[0.1, 1.0, 0.5], [0.0, 0.3, 0.1]])
        >>> box_iou(heatmap, np.array([[1, 0, 3, 1]]))  # of the box [1, 0, 3, 2)
        0.5
    """
    return best_iou(maps.boxes(image_heatmap(heatmap), threshold, components, by), truths)


def top_quarter_iou(
    heatmap: Heatmap, truths: np.ndarray, components: maps.Components = "enclosing"
) -> float:
    """Compute the IoU of the box around the largest quarter of the pixels with a true box.

    Exactly round(H W / 4) pixels; of equal values the first, row by row. The box that encloses
    them all is mostly far larger than a quarter of the picture: one stray pixel stretches it.

    Args:
        heatmap: (H, W), or an ``Explanation``.
        truths: (m, 4) true boxes.
        components: "enclosing", "largest" or "all".

    Returns:
        The best IoU, in [0, 1]; 0 for a map of zeros.

    Example:
        >>> heatmap = np.array([[0.9, 0.8, 0.1, 0.1], [0.0, 0.2, 0.1, 0.3]])
        >>> top_quarter_iou(heatmap, np.array([[0, 0, 2, 2]]))
        0.5
    """
    return box_iou(heatmap, truths, 0.75, components, "quantile")


def iou_curve(
    heatmap: Heatmap,
    truths: np.ndarray,
    thresholds: np.ndarray,
    components: maps.Components = "largest",
) -> np.ndarray:
    """Compute ``box_iou`` at each threshold, searching for parts once for each distinct mask.

    Args:
        heatmap: (H, W), or an ``Explanation``.
        truths: (m, 4) true boxes.
        thresholds: (T,) fractions of the maximum, rising, in [0, 1).
        components: "largest", "all" or "enclosing".

    Returns:
        (T,) float64 in [0, 1].

    Raises:
        ValueError: If an argument is none of these.

    Example:
        >>> heatmap = np.array([[0.1, 1.0, 0.5], [0.0, 0.3, 0.1]])
        >>> iou_curve(heatmap, np.array([[1, 0, 3, 1]]), np.array([0.0, 0.2, 0.4, 0.6]))
        array([0.33333333, 0.5       , 1.        , 0.5       ])
    """
    heatmap = image_heatmap(heatmap)
    maps.check_finite(heatmap)
    truths, thresholds = checked_boxes(truths), checked_thresholds(thresholds)
    check_choice("components", components, get_args(maps.Components))
    cuts = thresholds.astype(np.float32) * heatmap.max(initial=0.0)
    # How many of the cuts a pixel exceeds, in few bytes, as it is compared many times.
    levels = np.searchsorted(cuts, heatmap, side="left").astype(np.min_scalar_type(len(cuts)))
    whole = components == "enclosing"
    key = (digest_arrays(levels, truths), len(cuts), whole)
    curves = _CURVES.get(key, lambda: _overlaps(levels, truths, len(cuts), whole))
    return curves[int(components == "all")].copy()


def _overlaps(levels: np.ndarray, truths: np.ndarray, count: int, whole: bool) -> np.ndarray:
    """Measure the overlap at each of the cuts, (2, T): of the largest part, and of the best."""
    curves = np.zeros((2, count))
    lowest = 0
    for level in np.unique(levels):  # between two levels that occur the mask stays the same
        if level > lowest:
            boxes = maps.mask_boxes(levels >= level, "enclosing" if whole else "all")
            found = maps.ious(boxes, truths)
            curves[:, lowest:level] = [[found[:1].max(initial=0.0)], [found.max(initial=0.0)]]
            lowest = level
    return curves


def pointing_game(heatmap: Heatmap, truth: np.ndarray, tolerance: float = TOLERANCE) -> bool:
    """Play the pointing game: does the maximum lie on the object, or less than a tolerance off?

    A hit if min over pixels of the object of (x - x_max)^2 + (y - y_max)^2 < tolerance^2, or if
    the maximum is one of them. Of several maxima the first counts, row by row.

    Args:
        heatmap: (H, W), or an ``Explanation``.
        truth: A mask (H, W) bool, or boxes (n, 4).
        tolerance: The tolerance in pixels of the heatmap, in frames or slices likewise; 0 for none.

    Returns:
        True for a hit; a map of zeros points nowhere and misses.

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
    heatmap = image_heatmap(heatmap, volumes=True)
    maps.check_finite(heatmap)
    if not tolerance >= 0:
        raise ValueError(f"A tolerance must be at least 0 pixels; got {tolerance}.")
    inside = truth_mask(truth, heatmap.shape)
    if heatmap.max() <= 0:
        return False
    top = np.unravel_index(heatmap.argmax(), heatmap.shape)
    squared = int(((np.argwhere(inside) - top) ** 2).sum(axis=1).min())
    return squared == 0 or squared < tolerance**2


def mean_over_classes(hits: Sequence[bool], classes: Sequence[int]) -> float:
    """Average the share of hits of each class over the classes that occur.

    Args:
        hits: Whether each image is a hit.
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
    hit, kinds = np.asarray(hits, np.float64), np.asarray(classes)
    return float(np.mean([hit[kinds == kind].mean() for kind in np.unique(kinds)]))


def energy(heatmap: Heatmap, truth: np.ndarray) -> float:
    """Compute the share of a heatmap that lies on the object: the energy-based pointing game.

    sum of L over the object / sum of L; also called relevance mass accuracy. A uniform map scores
    ``area_fraction``, so compare with that.

    Args:
        heatmap: (H, W), or an ``Explanation``.
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
    heatmap = image_heatmap(heatmap, volumes=True)
    maps.check_finite(heatmap)
    inside = truth_mask(truth, heatmap.shape)
    values = heatmap.astype(np.float64)
    total = values.sum()
    return float(values[inside].sum() / total) if total > 0 else 0.0


def area_fraction(truth: np.ndarray, size: tuple[int, int]) -> float:
    """Compute the share of the picture that the object takes: the ``energy`` of a uniform map.

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


def relevance_rank_accuracy(heatmap: Heatmap, truth: np.ndarray) -> float:
    """Compute the share of the |object| pixels with the largest values that lie on the object.

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
    heatmap = image_heatmap(heatmap, volumes=True)
    maps.check_finite(heatmap)
    inside = truth_mask(truth, heatmap.shape)
    if heatmap.max() <= 0:
        return 0.0
    return float(inside.flat[maps.ranking(heatmap)[: inside.sum()]].mean())


def localisation_auc(heatmap: Heatmap, truth: np.ndarray) -> float:
    """Compute the area under the ROC curve of a heatmap's pixels, those of the object as the truth.

    The chance that a pixel of the object has a larger value than one beside it, equal values
    counting half: 0.5 for a uniform map, whatever the object's size; only the order counts.

    Args:
        heatmap: (H, W), or an ``Explanation``.
        truth: A mask (H, W) bool, or boxes (n, 4).

    Returns:
        In [0, 1]; NaN where the object fills the picture, so that nothing is beside it.

    Raises:
        ValueError: If the map is not finite, or the truth holds no pixel.

    Source: Fawcett 2006, "An introduction to ROC analysis".

    Example:
        >>> heatmap = np.array([[0.5, 1.0, 0.7, 0.5]])
        >>> localisation_auc(heatmap, np.array([[True, True, False, False]]))  # 2.5 of 4 pairs
        0.625
    """
    heatmap = image_heatmap(heatmap, volumes=True)
    maps.check_finite(heatmap)
    inside = truth_mask(truth, heatmap.shape)
    within, beside = int(inside.sum()), int((~inside).sum())
    if not beside:
        return float("nan")
    places = rankdata(heatmap)[inside.ravel()]
    return float((places.sum() - within * (within + 1) / 2) / (within * beside))


def gt_known_localisation(overlaps: Sequence[float]) -> float:
    """Compute GT-known localisation: the share of images whose box overlaps by at least 0.5.

    Args:
        overlaps: (N,) the IoU of each image, of the map of its true class, such as of ``box_iou``.

    Returns:
        In [0, 1].

    Source: ILSVRC development kit: a box is wrong if its overlap is below 0.5.

    Example:
        >>> gt_known_localisation([0.5, 0.49, 0.9, 0.0])
        0.5
    """
    return top1_localisation(overlaps, [True] * len(overlaps))


def top1_localisation(overlaps: Sequence[float], correct: Sequence[bool]) -> float:
    """Compute top-1 localisation: the share of images with the right class and box.

    Args:
        overlaps: (N,) the IoU of each image, of the map of its predicted class; at least 0.5 is
            right.
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
