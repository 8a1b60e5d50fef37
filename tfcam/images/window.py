"""The values of a picture that become black and white."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from tfcam.images.kinds import ImageError
from tfcam.utils.validation import shown

# (low, high), in the units of the values.
Window: TypeAlias = tuple[float, float] | None


def check_window(window: Any) -> None:
    """Refuse what are not two numbers, the lower first."""
    try:
        low, high = map(float, window)
        fits = -np.inf < low < high < np.inf
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ImageError(
            f"window must be (low, high), two numbers, the lower first; got {shown(window)}."
        )


def windowed(values: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Map the values of a window to 0..255; what lies outside is cut off.

    Args:
        values: Of any shape.
        window: (low, high): what becomes 0, and what becomes 255.

    Returns:
        uint8, of the same shape, rounded.

    Raises:
        ImageError: If a value is NaN.

    Example:
        >>> windowed(np.array([-1000.0, -160.0, 40.0, 240.0]), (-160, 240)).tolist()
        [0, 0, 128, 255]
    """
    low, high = map(float, window)
    if np.isnan(values).any():
        raise ImageError("The values in a window must be numbers; some are NaN. Replace them.")
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    return np.floor(share * 255 + 0.5).astype(np.uint8)
