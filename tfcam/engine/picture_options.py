"""What is asked of pictures alone: how a file becomes one of 0..255, and its tiles."""

from __future__ import annotations

from functools import partial

from tfcam.engine.option import Option
from tfcam.utils.validation import check_size

WINDOW = Option(
    "window",
    "tuple[float, float] | None",
    None,
    "The values that become black and white, for what is not 0..255: 10, 12 or 16 bits, or "
    "Hounsfield units, such as -160,240.",
)
TILE = Option(
    "tile",
    "tuple[int, int] | None",
    None,
    "Height and width in pixels of the tiles in which a picture is explained that is larger than "
    "the network takes at once: they overlap by half or more, and their maps become one. One class "
    "is explained in all, which the target must name.",
    check=partial(check_size, name="tile"),
)
