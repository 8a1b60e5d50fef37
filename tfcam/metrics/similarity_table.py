"""How similar pairs of explanations are, as rows of a table and their means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfcam.metrics.similarity import hog_spearman, spearman, ssim
from tfcam.results.explanation import Explanation

SIMILARITIES = ("ssim", "spearman", "spearman_absolute", "hog")


def similarities(before: Explanation, after: Explanation) -> dict[str, float]:
    """Compute all similarities of two explanations of one image, and whether the later is empty."""
    axes = before.heatmap.ndim
    return {
        "ssim": ssim(before.heatmap, after.heatmap),
        "spearman": spearman(signed_map(before.raw, axes), signed_map(after.raw, axes)),
        "spearman_absolute": spearman(
            absolute_map(before.raw, axes), absolute_map(after.raw, axes)
        ),
        "hog": hog_spearman(before.heatmap, after.heatmap),
        "empty": not after.heatmap.any(),
    }


def means_and_deviations(
    frame: pd.DataFrame, by: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame:
    """Average each column, with its deviation beside it, such as ``ssim`` and ``ssim_std``.

    Args:
        frame: One row for each measurement.
        by: The columns that tell the groups.
        columns: The columns that are averaged.

    Returns:
        One row for each group, in the order in which they come; the deviation of one is 0.

    Example:
        >>> frame = pd.DataFrame({"method": ["cam", "cam"], "ssim": [0.5, 1.0]})
        >>> means_and_deviations(frame, ["method"], ["ssim"]).values.tolist()
        [['cam', 0.75, 0.25]]
    """
    groups = frame.groupby(list(by), sort=False)[list(columns)]
    table = groups.mean().join(groups.std(ddof=0).add_suffix("_std"))
    return table[[f"{name}{end}" for name in columns for end in ("", "_std")]].reset_index()


def signed_map(raw: np.ndarray, axes: int) -> np.ndarray:
    """Reduce a raw map to one signed number for each position: of pixels the sum over channels."""
    return raw if raw.ndim == axes else raw.sum(axis=-1)


def absolute_map(raw: np.ndarray, axes: int) -> np.ndarray:
    """Take the absolute values of a raw map: of pixels their sum over the channels."""
    return np.abs(raw) if raw.ndim == axes else np.abs(raw).sum(axis=-1)
