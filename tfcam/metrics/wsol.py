"""Weakly supervised localisation over a set of images: Keras metrics that count as they go.

Each takes heatmaps, or explanations, and their truth batch by batch and keeps counts for each
threshold, never the heatmaps: memory does not grow. They count in NumPy, so they are called
eagerly, not inside a compiled training step. A threshold that is chosen on a set must be measured
on another: ``best_thresholds`` of one split go into ``BoxIoU`` on the next.

Other code differs: wsolevaluation quantises maps to 0..255, takes the part with the largest area
inside its contour and inclusive corners, one pixel too far at the right and the bottom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfcam import maps
from tfcam.metrics import localisation
from tfcam.metrics.checks import Heatmap, checked_thresholds, heatmap_of
from tfcam.metrics.counting import Counting

THRESHOLDS = tuple(np.arange(100) / 100)


def _grid(thresholds: Sequence[float] | None) -> np.ndarray:
    return checked_thresholds(THRESHOLDS if thresholds is None else thresholds)


def _listed(thresholds: Sequence[float] | None) -> list[float] | None:
    return None if thresholds is None else [float(threshold) for threshold in thresholds]


def _arrays(heatmaps: Iterable[Heatmap]) -> list[np.ndarray]:
    return [heatmap_of(heatmap) for heatmap in heatmaps]


class BoxIoU(Counting):
    """Averages the overlap (IoU) of each heatmap's box with the nearest true box.

    Args:
        threshold: The fraction of the maximum; or several, rising, for the curve over them.
        components: "largest", "all" (the best box counts) or "enclosing".
        name: The name of the metric.

    Example:
        >>> metric = BoxIoU(threshold=[0.2, 0.4])
        >>> heatmap = np.array([[0.1, 1.0, 0.5], [0.0, 0.3, 0.1]])
        >>> metric.update_state([heatmap], [np.array([[1, 0, 3, 1]])])
        >>> np.asarray(metric.result())
        array([0.5, 1. ])
    """

    def __init__(
        self,
        threshold: float | Sequence[float] = 0.2,
        components: maps.Components = "largest",
        name: str = "box_iou",
    ) -> None:
        super().__init__(name=name)
        maps.mask_boxes(np.zeros((1, 1), bool), components)  # refuses what there is not
        self.threshold, self.components = threshold, components
        self._thresholds = checked_thresholds(np.atleast_1d(threshold))
        self._total = self._count("total", len(self._thresholds))
        self._images = self._count("images")

    def update_state(self, heatmaps: Iterable[Heatmap], boxes: Iterable[np.ndarray]) -> None:
        """Add heatmaps (H, W) and the true boxes (n, 4) of each."""
        for heatmap, truths in zip(_arrays(heatmaps), boxes, strict=True):
            curve = localisation.iou_curve(heatmap, truths, self._thresholds, self.components)
            self._total.assign_add(curve)
            self._images.assign_add(1)

    def value(self, *counts: np.ndarray) -> np.ndarray:
        """In [0, 1], 0 without images: a number, or (T,) where several thresholds were given."""
        total, images = counts
        mean = total / np.maximum(images, 1)[..., np.newaxis]
        return mean[..., 0] if np.ndim(self.threshold) == 0 else mean

    def get_config(self) -> dict[str, Any]:
        threshold = np.asarray(self.threshold).tolist()
        return {"threshold": threshold, "components": self.components, "name": self.name}


class MaxBoxAccuracy(Counting):
    """Measures MaxBoxAcc: the share of images whose box is right, at the set's best threshold.

    MaxBoxAcc(delta) = max over tau of 1/N sum_i [IoU_i(tau) >= delta]. Version 1: of the largest
    part, delta = 0.5. Version 2: of the best of all parts, the mean over delta = 0.3, 0.5, 0.7,
    each with its own best tau. A best threshold for each image would be another, larger number.

    Args:
        version: 1 or 2.
        thresholds: The thresholds tau, fractions of the maximum, rising; by default 0, 0.01, ...,
            0.99.
        name: The name of the metric.

    Raises:
        ValueError: If the version is neither, or the thresholds do not rise in [0, 1).

    Source: Choe et al. 2020, "Evaluating weakly supervised object localization methods right",
        section 4.1; version 2 is of the authors' extension of it.

    Departs from the authors' code: parts are compared by their pixels, and boxes are half-open.

    Example:
        >>> metric = MaxBoxAccuracy(version=1)
        >>> heatmap = np.array([[0.1, 1.0, 0.5], [0.0, 0.3, 0.1]])
        >>> metric.update_state([heatmap], [np.array([[1, 0, 3, 1]])])
        >>> float(metric.result()), metric.best_thresholds
        (1.0, {0.5: 0.1})
    """

    def __init__(
        self,
        version: int = 2,
        thresholds: Sequence[float] | None = None,
        name: str = "max_box_accuracy",
    ) -> None:
        super().__init__(name=name)
        if version not in (1, 2):
            raise ValueError(f"version must be 1 or 2; got {version!r}.")
        self.version, self.thresholds = version, thresholds
        self.deltas = (0.5,) if version == 1 else (0.3, 0.5, 0.7)
        self._components: maps.Components = "largest" if version == 1 else "all"
        self._thresholds = _grid(thresholds)
        self._right = self._count("right", len(self.deltas), len(self._thresholds))
        self._images = self._count("images")

    def update_state(self, heatmaps: Iterable[Heatmap], boxes: Iterable[np.ndarray]) -> None:
        """Add heatmaps (H, W) and the true boxes (n, 4) of each."""
        deltas = np.array(self.deltas)[:, np.newaxis]
        for heatmap, truths in zip(_arrays(heatmaps), boxes, strict=True):
            curve = localisation.iou_curve(heatmap, truths, self._thresholds, self._components)
            self._right.assign_add((curve >= deltas).astype(np.float64))
            self._images.assign_add(1)

    @property
    def accuracies(self) -> np.ndarray:
        """The share of images that are right, (deltas, T) float64, at each threshold."""
        return np.asarray(self._right) / max(float(self._images), 1.0)

    @property
    def best_thresholds(self) -> dict[float, float]:
        """The best threshold for each delta, the lowest of equal ones."""
        best = self._thresholds[self.accuracies.argmax(axis=1)]
        return dict(zip(self.deltas, best.tolist(), strict=True))

    def value(self, *counts: np.ndarray) -> np.ndarray:
        right, images = counts
        return right.max(axis=-1).mean(axis=-1) / np.maximum(images, 1)

    def get_config(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "thresholds": _listed(self.thresholds),
            "name": self.name,
        }


class PixelAveragePrecision(Counting):
    """Measures PxAP: the area under the precision-recall curve of all pixels of the set, pooled.

    PxPrec(tau) = #{s >= tau and truth} / #{s >= tau}, PxRec(tau) = #{s >= tau and truth} /
    #{truth}; PxAP = sum over tau, falling, of PxPrec(tau) (PxRec(tau) - PxRec(tau before)).

    Args:
        thresholds: The thresholds tau, rising from 0; by default 0, 0.01, ..., 0.99.
        name: The name of the metric.

    Raises:
        ValueError: If the thresholds do not rise from 0, below 1.

    Source: Choe et al. 2020, section 4.1.

    Example:
        >>> metric = PixelAveragePrecision()
        >>> truth = np.array([[True, False], [False, False]])
        >>> metric.update_state([np.ones((2, 2))], [truth])  # a uniform map: the share of truth
        >>> float(metric.result())
        0.25
    """

    def __init__(
        self,
        thresholds: Sequence[float] | None = None,
        name: str = "pixel_average_precision",
    ) -> None:
        super().__init__(name=name)
        self.thresholds = thresholds
        self._thresholds = _grid(thresholds)
        if self._thresholds[0] != 0:
            raise ValueError(
                "Thresholds must start at 0, where every pixel counts and recall is 1; got "
                f"{self._thresholds[0]}."
            )
        self._true = self._count("true", len(self._thresholds))
        self._all = self._count("all", len(self._thresholds))

    def update_state(
        self,
        heatmaps: Iterable[Heatmap],
        masks: Iterable[np.ndarray],
        ignored: Iterable[np.ndarray] | None = None,
    ) -> None:
        """Add heatmaps (H, W) in [0, 1] and their truth; pixels that are ignored count nowhere.

        Args:
            heatmaps: (H, W) each.
            masks: (H, W) bool each, or boxes (n, 4).
            ignored: (H, W) bool each.
        """
        arrays = _arrays(heatmaps)
        left_out = ignored if ignored is not None else [np.zeros(m.shape, bool) for m in arrays]
        for heatmap, truth, region in zip(arrays, masks, left_out, strict=True):
            maps.check_finite(heatmap)
            if heatmap.min() < 0 or heatmap.max() > 1:
                raise ValueError(
                    "A heatmap must be in [0, 1], as pixels of all images are pooled; got "
                    f"{heatmap.min()} to {heatmap.max()}. tfcam.maps.scale brings it there."
                )
            counted = ~np.asarray(region, bool)
            inside = localisation.truth_mask(truth, heatmap.shape)
            # Both in float32, so that a value on a threshold counts as above it.
            cuts = self._thresholds.astype(np.float32)
            levels = np.searchsorted(cuts, heatmap.astype(np.float32), side="right") - 1
            count = len(cuts)
            self._all.assign_add(np.bincount(levels[counted], minlength=count).astype(np.float64))
            true = np.bincount(levels[counted & inside], minlength=count)
            self._true.assign_add(true.astype(np.float64))

    def value(self, *counts: np.ndarray) -> np.ndarray:
        true, above = (each[..., ::-1] for each in counts)
        precision = true.cumsum(axis=-1) / np.maximum(above.cumsum(axis=-1), 1)
        return (precision * true).sum(axis=-1) / np.maximum(true.sum(axis=-1), 1)

    def get_config(self) -> dict[str, Any]:
        return {"thresholds": _listed(self.thresholds), "name": self.name}


class PointingGame(Counting):
    """Measures the pointing game: the share of heatmaps that hit, averaged over the classes.

    See ``tfcam.metrics.pointing_game`` for one heatmap.

    Args:
        classes: The number of classes; 1 for the plain share over all images.
        tolerance: The tolerance in pixels.
        name: The name of the metric.

    Source: Zhang et al. 2016, section 4.1.

    Example:
        >>> metric = PointingGame(classes=2)
        >>> heatmaps = np.eye(3)[:, np.newaxis] * np.ones((3, 40, 1))
        >>> truth = np.array([[0, 0, 1, 40]])
        >>> metric.update_state(heatmaps, [truth] * 3, labels=[0, 0, 1])
        >>> float(metric.result())
        1.0
    """

    def __init__(
        self,
        classes: int = 1,
        tolerance: float = localisation.TOLERANCE,
        name: str = "pointing_game",
    ) -> None:
        super().__init__(name=name)
        if classes < 1:
            raise ValueError(f"There must be at least one class; got {classes}.")
        self.classes, self.tolerance = classes, tolerance
        self._hits, self._images = self._count("hits", classes), self._count("images", classes)

    def update_state(
        self,
        heatmaps: Iterable[Heatmap],
        truths: Iterable[np.ndarray],
        labels: Iterable[int] | None = None,
    ) -> None:
        """Add heatmaps (H, W), their boxes (n, 4) or masks (H, W) bool, and their classes."""
        arrays = _arrays(heatmaps)
        kinds = list(labels) if labels is not None else [0] * len(arrays)
        if labels is None and self.classes > 1:
            raise ValueError(f"Pass labels, the class of each image: there are {self.classes}.")
        for heatmap, truth, kind in zip(arrays, truths, kinds, strict=True):
            hit = localisation.pointing_game(heatmap, truth, self.tolerance)
            image = np.eye(self.classes)[kind]
            self._hits.assign_add(image * hit)
            self._images.assign_add(image)

    def value(self, *counts: np.ndarray) -> np.ndarray:
        """In [0, 1], of the classes that occurred; 0 without images."""
        hits, images = counts
        shares = hits / np.maximum(images, 1)
        return shares.sum(axis=-1) / np.maximum((images > 0).sum(axis=-1), 1)

    def get_config(self) -> dict[str, Any]:
        return {"classes": self.classes, "tolerance": self.tolerance, "name": self.name}
