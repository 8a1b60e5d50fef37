"""Explanations of texts below each other, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from tfcam.figures import text as lettering
from tfcam.figures.letters import write_plainly
from tfcam.figures.palette import Palette
from tfcam.figures.rendering import rasterize, render
from tfcam.results.explanation import Explanation

# In inches: what is above all, above a text, and below all.
_HEAD, _GAP, _FOOT = 0.3, 0.45, 0.55


@dataclass(frozen=True)
class TextSheet:
    """Words on the colours of their maps: of one text by several maps, or of several texts.

    Attributes:
        explanations: One or more.
        titles: What stands above each.
        palette: The colours.
        headline: What holds for the whole sheet, or "".
    """

    explanations: Sequence[Explanation]
    titles: Sequence[str]
    palette: Palette
    headline: str = ""

    def draw(self, figure: Figure) -> None:
        """Draw all on an empty figure, which becomes as high as they need."""
        inside, width = lettering.WIDTH, lettering.FIGURE_WIDTH
        boxes = [_height(explanation.words) for explanation in self.explanations]
        head = _HEAD if self.headline else 0.0
        height = head + sum(boxes) + len(boxes) * _GAP + _FOOT
        figure.set_size_inches(width, height)
        left, wide = (width - inside) / 2 / width, inside / width
        if self.headline:
            middle = 1 - head / 2 / height
            written = figure.text(0.5, middle, self.headline, ha="center", va="center")
            written.set(fontsize="medium", fontweight="bold")
            write_plainly(written)
        top = height - head
        for explanation, title, box in zip(self.explanations, self.titles, boxes, strict=True):
            top -= box + _GAP
            axes = figure.add_axes((left, top / height, wide, box / height))
            values = explanation.signed_heatmap if self.palette.signed else explanation.heatmap
            lettering.draw_words(axes, explanation.words, values, self.palette)
            write_plainly(axes.set_title(title, fontsize="medium", loc="left"))
        lettering.add_bar(figure, self.palette)

    def render(self, kind: str, dpi: int) -> bytes:
        """Draw all as a file's content."""
        figure = Figure()
        self.draw(figure)
        return render(figure, kind, dpi)

    def rasterize(self, dpi: int) -> np.ndarray:
        """Draw all as (H, W, 3) uint8."""
        figure = Figure(dpi=dpi)
        self.draw(figure)
        return rasterize(figure)


def _height(words: Sequence[str]) -> float:
    """How high words are when they are set, in inches."""
    room = lettering.WIDTH - 2 * lettering.MARGIN
    lines = len(lettering.set_words(words, room, lettering.MOST_LINES))
    return lines * lettering.LINE + 2 * lettering.MARGIN
