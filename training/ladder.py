"""From the course's boxes to honest ones, one change at a time: what each change is worth.

The course's way to a box, as the public notebooks have it: the map divided by its maximum,
without a ReLU, and only then resized; what is above 0.05 kept; the first contour that OpenCV
lists, whatever its size; the upright box around the rotated rectangle of least area around it; the
overlap with the first true box only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from tfcam import maps
from tfcam.engine.options import Score
from tfcam.metrics import localisation


@dataclass(frozen=True)
class Rung:
    """One way from a model to an overlap.

    Attributes:
        name: What has changed.
        paper: Whether the paper's network is explained, else the recommended one.
        score: What is explained: "probability" or "logit".
        heatmap: Whether the map is a heatmap (ReLU, resized, divided by its maximum), else the
            course's (divided by its maximum, then resized).
        largest: Whether the part with the most pixels is taken, else the first contour listed.
        upright: Whether its own box is taken, else that of its rotated rectangle.
        tuned: Whether the threshold is the validation's best, else the course's 0.05.
        any_box: Whether the nearest true box counts, else the first.
    """

    name: str
    paper: bool = True
    score: Score = "probability"
    heatmap: bool = False
    largest: bool = False
    upright: bool = False
    tuned: bool = False
    any_box: bool = False


_A = Rung("A: the course, as it was run")
_B = replace(_A, name="B: trained as recommended", paper=False)
_C = replace(_B, name="C: the logit is explained", score="logit")
_D = replace(_C, name="D: ReLU, resized, then scaled", heatmap=True)
_E = replace(_D, name="E: the largest part", largest=True)
_F = replace(_E, name="F: its own upright box", upright=True)
_G = replace(_F, name="G: threshold from validation", tuned=True)
_H = replace(_G, name="H: the nearest of several true boxes", any_box=True)
RUNGS = (_A, _B, _C, _D, _E, _F, _G, _H)
COURSE_THRESHOLD = 0.05


def overlap(rung: Rung, raw: np.ndarray, size: int, truths: np.ndarray, tuned: float) -> float:
    """The intersection over union that a rung gives to a raw map.

    Args:
        rung: The way.
        raw: (h, w) signed, of the layer.
        size: The side of the picture in pixels.
        truths: (n, 4) true boxes on the picture.
        tuned: The threshold chosen on validation.

    Returns:
        In [0, 1]; 0 where there is no box.
    """
    values = maps.heatmap(raw, (size, size)) if rung.heatmap else course_map(raw, size)
    threshold = tuned if rung.tuned else COURSE_THRESHOLD
    found = box(values, threshold, rung.largest, rung.upright)
    return localisation.best_iou(found, truths if rung.any_box else truths[:1])


def course_map(raw: np.ndarray, size: int) -> np.ndarray:
    """A map as the course scales it: by its maximum, whatever its sign, then resized.

    Example:
        >>> course_map(np.array([[-1.0, 2.0]]), 2)[0]
        array([-0.5,  1. ], dtype=float32)
    """
    largest = raw.max()
    scaled = raw / largest if largest else raw
    return maps.resize(scaled, (size, size))


def box(values: np.ndarray, threshold: float, largest: bool, upright: bool) -> np.ndarray:
    """The box of a map, (1, 4) half-open, or (0, 4).

    Args:
        values: (H, W).
        threshold: What a pixel must exceed; of a heatmap, a fraction of its maximum, 1.
        largest: Whether the part with the most pixels is taken, else the first contour listed.
        upright: Whether its own box is taken, else that of its rotated rectangle.
    """
    binary = values > threshold
    part = _largest(binary) if largest else _first(values, binary)
    if upright:
        return maps.mask_boxes(part)
    return _rotated(part)


def _largest(binary: np.ndarray) -> np.ndarray:
    """The 8-connected part with the most pixels."""
    _, labels, found, _ = cv2.connectedComponentsWithStats(binary.astype(np.uint8), connectivity=8)
    sizes = found[1:, cv2.CC_STAT_AREA]
    return labels == 1 + sizes.argmax() if len(sizes) else np.zeros_like(binary)


def _first(values: np.ndarray, binary: np.ndarray) -> np.ndarray:
    """The part whose contour OpenCV lists first; all that is not zero in grey counts as inside."""
    grey = (np.where(binary, values, 0) * 255).clip(0, 255).astype(np.uint8)
    contours, _ = cv2.findContours(grey, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    part = np.zeros(values.shape, np.uint8)
    if contours:
        cv2.drawContours(part, contours, 0, 1, thickness=1)
    return part.astype(bool)


def _rotated(part: np.ndarray) -> np.ndarray:
    """The upright box around the rotated rectangle of least area around a part."""
    points = cv2.findNonZero(part.astype(np.uint8))
    if points is None:
        return np.zeros((0, 4), np.float32)
    corners = cv2.boxPoints(cv2.minAreaRect(points)).astype(int)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])[np.newaxis].astype(np.float32)
