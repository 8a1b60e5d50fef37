"""Which range of pixels a scaling takes, told by what it makes of known pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# So many numbers of each picture are looked at.
_ENOUGH = 4096


@dataclass(frozen=True)
class Scale:
    """What pixels became on their way to the first weights.

    Attributes:
        takes: The mode for which it is made: "raw", pixels of 0..255, or "unit", those of 0..1;
            None where that can't be told.
        is_identity: Whether all came as they were.
        turned: Whether the channels came in the opposite order.
    """

    takes: str | None
    is_identity: bool = False
    turned: bool = False


def read_scale(values: np.ndarray) -> Scale | None:
    """Read from the pictures of ``probes`` for which range a scaling is made.

    Networks are given numbers of the size of 1, or pixels around zero. A scaling that takes 0..255
    there takes such pixels; one that takes 0..1 there takes those.

    Args:
        values: (6, ...), what became of them.

    Returns:
        The scale, or None where nothing came through.

    Example:
        >>> from tfcam.model.stem import probes
        >>> pixels = probes((4, 4, 3))
        >>> [read_scale(f(pixels)).takes for f in (lambda x: x / 255, lambda x: 2 * x - 1)]
        ['raw', 'unit']
    """
    flat = values.reshape(len(values), -1)
    flat = flat[:, :: 1 + flat.shape[1] // _ENOUGH].astype(np.float64)
    ramp, tiny = flat[4], flat[5]
    if np.isfinite(ramp).all() and np.ptp(ramp) and np.allclose(ramp, tiny, atol=np.ptp(ramp) / 50):
        return Scale("raw")  # each picture is scaled by its own values
    black, grey, white = flat[:3, flat[0] != flat[2]]
    if not black.size or not np.isfinite(flat[:4]).all():
        return None
    span = white - black
    if (np.abs(grey - (black + white) / 2) > np.abs(span) / 30).any():
        return Scale(None)  # cut off, or bent
    zero = -255 * black / span  # the pixel that becomes zero
    if (np.abs(zero) < 0.01).all() and (np.abs(span - 255) < 3).all():
        return Scale(None, True, _is_turned(values))
    for takes, fits in (("raw", _of_255), ("unit", _of_1)):
        if fits(np.abs(span), zero).all():
            return Scale(takes)
    return Scale(None)


def _of_255(span: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Which elements are scaled as pixels of 0..255 are: divided, their mean taken off, or both."""
    small, centred = span < 26, (zero > 5) & (zero < 250)
    return (span > 0.4) & (span < 258) & (centred | (small & (np.abs(zero) < 0.01)))


def _of_1(span: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Which elements are scaled as pixels of 0..1 are: multiplied, or around a mean of theirs."""
    # The deviation of what lies in 0..1 is at most that of zeros and ones with its mean.
    centred = (zero > 0.2) & (zero < 0.8)
    deviation = zero * (1 - zero) * (span / 255) ** 2 > 0.99
    return (span > 250) & (centred | deviation | ((span > 2500) & (np.abs(zero) < 0.01)))


def _is_turned(values: np.ndarray) -> bool:
    if values.ndim != 4 or values.shape[-1] != 3:
        return False
    colour = values[3, values.shape[1] // 2, values.shape[2] // 2]
    return bool(colour[0] < colour[-1])
