"""The options that ask how far maps can be trusted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tfcam.engine.option import flag
from tfcam.engine.options import METHODS

VERIFY = flag(
    "verify",
    False,
    "Ask how far each map can be trusted, as ``tfcam.verify`` does: about 260 forward passes more "
    "for each, and a finding where the removal test does not support it.",
)
VERIFY_ROWS = replace(
    VERIFY,
    words="Test of each map whether hiding what it marks lowers the explained number more than "
    "chance would: 200 forward passes more for each picture, and two columns, ``p_value`` and "
    "``verdict``.",
)
METHODS_OF_REPORT = replace(
    METHODS,
    words="The methods, by their names in ``tfcam.METHODS``, of which the first is verified; by "
    "default grad_cam, layer_cam and integrated_gradients, of a text integrated_gradients, "
    "occlusion and gradient_input, of a black box occlusion.",
)


def check_verified(verify: bool, tile: Any) -> None:
    """Refuse to verify maps of tiles: each tile has a number of its own.

    Raises:
        ValueError: If both are asked for.
    """
    if VERIFY.check(verify) and tile is not None:
        raise ValueError("verify=True asks about the picture as a whole; leave tile= out.")
