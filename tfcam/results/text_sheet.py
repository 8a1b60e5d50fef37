"""Explanations of one text below each other, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from tfcam.figures import text as lettering
from tfcam.figures.letters import write_plainly
from tfcam.figures.palette import Palette
from tfcam.figures.rendering import render
from tfcam.results.explanation import Explanation

# In inches: what is above a text, and below all.
_GAP, _FOOT = 0.45, 0.55


@dataclass(frozen=True)
class TextSheet:
    """The words of one text on the colours of several maps.

    Attributes:
        explanations: One or more.
        titles: What stands above each.
        palette: The colours.
    """

    explanations: Sequence[Explanation]
    titles: Sequence[str]
    palette: Palette

    def draw(self, figure: Figure) -> None:
        """Draw all on an empty figure, which becomes as high as they need."""
        words, inside, width = self.explanations[0].words, lettering.WIDTH, lettering.FIGURE_WIDTH
        lines = len(lettering.set_words(words, inside - 2 * lettering.MARGIN, lettering.MOST_LINES))
        box = lines * lettering.LINE + 2 * lettering.MARGIN
        height = len(self.explanations) * (box + _GAP) + _FOOT
        figure.set_size_inches(width, height)
        left, wide = (width - inside) / 2 / width, inside / width
        top = height
        for explanation, title in zip(self.explanations, self.titles, strict=True):
            top -= box + _GAP
            axes = figure.add_axes((left, top / height, wide, box / height))
            values = explanation.signed_heatmap if self.palette.signed else explanation.heatmap
            lettering.draw_words(axes, words, values, self.palette)
            write_plainly(axes.set_title(title, fontsize="medium", loc="left"))
        lettering.add_bar(figure, self.palette)

    def render(self, kind: str, dpi: int) -> bytes:
        """Draw all as a file's content."""
        figure = Figure()
        self.draw(figure)
        return render(figure, kind, dpi)
