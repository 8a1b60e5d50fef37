"""The values of a picture that become black and white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tfcam.images.kinds import ImageError
from tfcam.utils.validation import shown

# (low, high), in the units of the values.
Limits: TypeAlias = tuple[float, float] | None


@dataclass(frozen=True)
class Window:
    """Values of a picture from ``low`` to ``high`` become pixels of 0..255, and these the input.

    For what is not 0..255: 10, 12 or 16 bits, Hounsfield units, floats. What lies outside of the
    window is cut off. It is given as ``preprocess``.

    Args:
        low: The value that becomes 0, in the units of the file or array.
        high: The value that becomes 255.
        preprocess: How pixels become the model's input: "auto", a mode, a family's name, a
            callable, or None where the model takes them as they are.

    Raises:
        ImageError: If these are no two numbers, the lower first.

    Example:
        >>> import tfcam
        >>> scan = np.linspace(-1000, 1000, 256 * 256).reshape(256, 256).astype(np.int16)
        >>> result = tfcam.explain(tfcam.demo_model(), scan, preprocess=Window(-160, 240))
        >>> result.preprocessing
        '-160..240 as 0..255: 0..255 as it is, Rescaling is inside'
        >>> result.image.min(), result.image.max()
        (np.uint8(0), np.uint8(255))
    """

    low: float
    high: float
    preprocess: Any = "auto"

    def __post_init__(self) -> None:
        check_window(self.limits)

    @property
    def limits(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    @property
    def described(self) -> str:
        """What it does, in words."""
        return f"{self.low:g}..{self.high:g} as 0..255: "


class AppliedWindow(Window):
    """A window that pictures were read with: they are 0..255 already."""


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
