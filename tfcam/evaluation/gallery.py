"""The pictures that a method explains best and worst, as small JPEG files."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from tfcam.figures.overlays import lay_out_slices, overlay
from tfcam.utils.opencv import cv2

SHOWN, _SIDE = 3, 200


@dataclass
class Shown:
    """A picture among the best or worst of a method.

    Attributes:
        value: The leading metric's value.
        image: The picture's name.
        label: What was explained, in words.
        jpeg: The picture under its heatmap, as a JPEG file.
    """

    value: float
    image: str
    label: str
    jpeg: bytes


@dataclass
class Gallery:
    """The pictures that a method explains best by the leading metric, and worst.

    Attributes:
        best: The best, best first.
        worst: The worst, worst first.
    """

    best: list[Shown] = field(default_factory=list)
    worst: list[Shown] = field(default_factory=list)

    def add(self, value: float, higher: bool, draw: Callable[[], Shown]) -> None:
        """Keep a picture if it is among the best or worst so far.

        Args:
            value: The leading metric's value.
            higher: Whether more is better.
            draw: Draws the picture; called where it is kept.
        """
        shown: Shown | None = None
        for kept, rising in ((self.best, not higher), (self.worst, higher)):
            sign = 1 if rising else -1
            values = [sign * picture.value for picture in kept]
            place = int(np.searchsorted(values, sign * value, "right"))
            if place < SHOWN:
                shown = shown or draw()
                kept.insert(place, shown)
                del kept[SHOWN:]


def draw_thumbnail(picture: np.ndarray, heatmap: np.ndarray, boxes: np.ndarray | None) -> bytes:
    """Draw a small picture under its heatmap, with the true boxes, as a JPEG file.

    Args:
        picture: (H, W, 3) uint8; or (D, H, W, C) any, of which slices are shown side by side.
        heatmap: (H, W), or (D, H, W).
        boxes: (n, 4), or None.
    """
    if heatmap.ndim == 3:
        picture, heatmap = lay_out_slices(picture, heatmap)
    factor = min(1.0, _SIDE / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    heat = cv2.resize(heatmap, size, interpolation=cv2.INTER_AREA)
    stream = io.BytesIO()
    mixed = overlay(small, np.clip(heat, 0, 1))
    for x0, y0, x1, y1 in [] if boxes is None else (boxes * factor).round().astype(int).tolist():
        cv2.rectangle(mixed, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), (255, 255, 255), 1)
    Image.fromarray(mixed).save(stream, "JPEG", quality=85)
    return stream.getvalue()
