"""What commands ask of a picture's file before it is a picture of 0..255."""

from __future__ import annotations

from tfcam.engine.option import Option

WINDOW = Option(
    "window",
    "tuple[float, float] | None",
    None,
    "The values that become black and white, for what is not 0..255: 10, 12 or 16 bits, or "
    "Hounsfield units, such as -160,240.",
)
