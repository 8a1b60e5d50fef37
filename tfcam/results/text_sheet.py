"""Explanations of one text below each other, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from tfcam.figures import text as lettering
from tfcam.figures.letters import write_plainly
from tfcam.figures.palette import OF_MAXIMUM, Palette
from tfcam.figures.rendering import render
from tfcam.results.explanation import Explanation

# In inches: the width of a figure and of what is inside, what is below a text, and below all.
_WIDTH, _INSIDE, _GAP, _FOOT = 8.0, 7.6, 0.45, 0.55


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
        words = self.explanations[0].words
        lines = len(lettering.set_words(words, _INSIDE - 2 * lettering.MARGIN, 100))
        box = lines * lettering.LINE + 2 * lettering.MARGIN
        height = len(self.explanations) * (box + _GAP) + _FOOT
        figure.set_size_inches(_WIDTH, height)
        left, wide = (_WIDTH - _INSIDE) / 2 / _WIDTH, _INSIDE / _WIDTH
        top = height
        for explanation, title in zip(self.explanations, self.titles, strict=True):
            top -= box + _GAP
            axes = figure.add_axes((left, top / height, wide, box / height))
            values = explanation.signed_heatmap if self.palette.signed else explanation.heatmap
            lettering.draw_words(axes, words, values, self.palette)
            write_plainly(axes.set_title(title, fontsize="medium", loc="left"))
        bar = figure.add_axes((left, 0.36 / height, 2.5 / _WIDTH, 0.13 / height))
        palette = self.palette
        figure.colorbar(palette.scale(), cax=bar, orientation="horizontal", ticks=palette.ticks)
        bar.set_xlabel(palette.label(OF_MAXIMUM), fontsize="small", labelpad=1)
        bar.tick_params(labelsize="small", pad=1.5, length=2)

    def render(self, kind: str, dpi: int) -> bytes:
        """Draw all as a file's content."""
        figure = Figure()
        self.draw(figure)
        return render(figure, kind, dpi)
