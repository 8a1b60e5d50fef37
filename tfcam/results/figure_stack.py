"""The figures of several explanations below each other, as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tfcam.figures.letters import write_plainly
from tfcam.figures.overlays import ALPHA
from tfcam.figures.palette import PLAIN, Palette
from tfcam.figures.rendering import rasterize, render
from tfcam.results.explanation import Explanation

# In inches: what is above all.
_HEAD = 0.3


@dataclass(frozen=True)
class FigureStack:
    """What ``Explanation.plot`` draws of each, below each other.

    Attributes:
        explanations: One or more, whose figures have one width.
        headline: What holds for all, or "".
        alpha: The largest weight of the colours.
        palette: The colours.
    """

    explanations: Sequence[Explanation]
    headline: str = ""
    alpha: float = ALPHA
    palette: Palette = PLAIN

    def draw(self, figure: Figure, dpi: int) -> None:
        """Draw all on an empty figure, which becomes as high as they need."""
        drawn = [
            np.asarray(Image.open(io.BytesIO(one.render(dpi, self.alpha, self.palette))))
            for one in self.explanations
        ]
        pixels = np.concatenate([picture[..., :3] for picture in drawn])
        width, inside = pixels.shape[1] / dpi, pixels.shape[0] / dpi
        height = inside + (_HEAD if self.headline else 0.0)
        figure.set_size_inches(width, height)
        axes = figure.add_axes((0, 0, 1, inside / height))
        axes.imshow(pixels)
        axes.set_axis_off()
        if self.headline:
            middle = 1 - _HEAD / 2 / height
            written = figure.text(0.5, middle, self.headline, ha="center", va="center")
            written.set(fontsize="medium", fontweight="bold")
            write_plainly(written)

    def render(self, kind: str, dpi: int) -> bytes:
        """Draw all as a file's content."""
        figure = Figure()
        self.draw(figure, dpi)
        return render(figure, kind, dpi)

    def rasterize(self, dpi: int) -> np.ndarray:
        """Draw all as (H, W, 3) uint8."""
        figure = Figure(dpi=dpi)
        self.draw(figure, dpi)
        return rasterize(figure)
