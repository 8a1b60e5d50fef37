"""How far a map moves as its image is changed a little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class MapChanges:
    """How far an image and its map are moved by each of several changes.

    Attributes:
        norm: ||Phi(x)||_F, of the map of the unchanged image.
        of_map: (samples,) ||Phi(x + d) - Phi(x)||_F.
        of_image: (samples,) ||d||_F.
    """

    norm: float
    of_map: np.ndarray
    of_image: np.ndarray

    @property
    def max_sensitivity(self) -> float:
        """The largest change of the map as a share of it; infinite where it was all zero."""
        changed = float(self.of_map.max())
        if changed == 0:
            return 0.0
        return changed / self.norm if self.norm > 0 else float("inf")

    @property
    def lipschitz(self) -> float:
        """The largest change of the map for one of the image; 0 where that did not change."""
        moved = self.of_image > 0
        return float((self.of_map[moved] / self.of_image[moved]).max(initial=0.0))


def change_maps(
    explain: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    radius: float,
    samples: int,
    seed: int,
) -> MapChanges:
    """Explain an image, and it with changes d of each value drawn uniformly from -r to r.

    Args:
        explain: Images (B, ...) -> maps (B, ...).
        image: One image, as ``explain`` takes it.
        radius: r, in the units of the image's values.
        samples: Number of changes.
        seed: Random seed, at least 0.

    Raises:
        ValueError: If the radius is negative, there are no samples, or a map is not finite.
    """
    if not radius >= 0 or samples < 1:
        raise ValueError(
            f"The radius must be at least 0 and samples at least 1; got {radius} and {samples}."
        )
    rng = np.random.default_rng(seed)
    changes = rng.uniform(-radius, radius, (samples, *image.shape)).astype(image.dtype)
    first = np.asarray(explain(image[np.newaxis]), np.float64)
    changed = image + changes
    others = np.asarray(explain(changed), np.float64)
    if not np.isfinite(first).all() or not np.isfinite(others).all():
        raise ValueError(
            "Maps must be finite to be compared; here they hold NaN or infinite values. "
            "tfcam.diagnose says in which layer they start."
        )
    moved = changed.astype(np.float64) - image
    return MapChanges(float(_norms(first)[0]), _norms(others - first), _norms(moved))


def _norms(arrays: np.ndarray) -> np.ndarray:
    return np.sqrt((arrays.astype(np.float64) ** 2).reshape(len(arrays), -1).sum(axis=1))
