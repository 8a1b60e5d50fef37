"""Explanations of several images, or of several classes of one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from matplotlib.figure import Figure

from tfcam.figures.contact_sheet import Cell, ContactSheet, Heading
from tfcam.figures.overlays import embed_png
from tfcam.figures.palette import ALPHA, COLORMAP, PLAIN, Palette
from tfcam.figures.rendering import new_figure, render
from tfcam.results.explanation import Explanation
from tfcam.results.figure_stack import FigureStack
from tfcam.results.sheets import codes, describe_colours, draw_small, scale_alone, shrink
from tfcam.utils.files import check_target, write_whole

_ENDINGS = (".png", ".pdf", ".svg")


_COLUMNS, _SHOWN, _DPI = 4, 32, 150


class Explanations(Sequence[Explanation]):
    """The explanations of a batch of images, in their order; in a notebook it shows itself."""

    def __init__(self, explanations: Sequence[Explanation]) -> None:
        self._explanations = tuple(explanations)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...
    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        if isinstance(index, slice):
            return Explanations(self._explanations[index])
        return self._explanations[index]

    def __len__(self) -> int:
        return len(self._explanations)

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._explanations)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self))

    @property
    def raws(self) -> np.ndarray:
        """(B, h, w), or (B, h, w, C) of pixels: the raw signed maps."""
        return np.stack([explanation.raw for explanation in self])

    @property
    def heatmaps(self) -> np.ndarray:
        """(B, H, W) float32 in [0, 1]: the heatmaps, where all pictures have one size.

        Raises:
            ValueError: If the pictures have different sizes.
        """
        sizes = {explanation.heatmap.shape for explanation in self}
        if len(sizes) > 1:
            raise ValueError(
                f"Heatmaps stack only where all pictures have one size; here are {len(sizes)}. "
                "Take them one by one, or use `raws`, which all have the layer's size."
            )
        return np.stack([explanation.heatmap for explanation in self])

    def plot(self, alpha: float = ALPHA, colormap: str = COLORMAP, signed: bool = False) -> Figure:
        """Draw each picture with its map, or one picture with the maps of its classes.

        Of more than 32 the first 32 are drawn. Series, texts and volumes are drawn one below the
        other.

        Args:
            alpha: The largest weight of the colours, in [0, 1]: from half of the maximum on.
            colormap: The name of a matplotlib colormap.
            signed: Draw what speaks for each in red and what speaks against it in blue.

        Returns:
            The figure; a notebook shows it, else ``matplotlib.pyplot.show()``.

        Raises:
            ValueError: If there is none, alpha is not in [0, 1], there is no such colormap, or a
                signed map is asked for of several layers.
        """
        return self._draw(new_figure(), alpha, Palette(colormap, signed))

    def save(
        self,
        path: str | os.PathLike[str],
        alpha: float = ALPHA,
        colormap: str = COLORMAP,
        signed: bool = False,
    ) -> Path:
        """Write the figure that ``plot`` draws, whole or not at all.

        Args:
            path: Where to; ``.png``, ``.pdf`` or ``.svg``. A file that is there is replaced.
            alpha: As in ``plot``.
            colormap: As in ``plot``.
            signed: As in ``plot``.

        Returns:
            The path.

        Raises:
            ValueError: If it ends in none of these, or as ``plot`` does.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_target(path, "A figure of explanations", _ENDINGS)
        figure = self._draw(Figure(), alpha, Palette(colormap, signed))
        write_whole(path, render(figure, path.suffix[1:], 150))
        return path

    def _repr_png_(self) -> bytes | None:
        if not len(self):
            return None
        return render(self._draw(Figure(), ALPHA, PLAIN), "png", 100)

    def _repr_html_(self) -> str | None:
        """The figure, with all titles for who can't see it; texts one below the other."""
        if self._of_images:
            png = self._repr_png_()
            titles = [explanation.title for explanation in self[:_SHOWN]]
            return embed_png(png, "; ".join(titles)) if png else None
        return "".join(explanation._repr_html_() for explanation in self[:_SHOWN])

    @property
    def _of_images(self) -> bool:
        return all(explanation.heatmap.ndim == 2 for explanation in self)

    def _draw(self, figure: Figure, alpha: float, palette: Palette) -> Figure:
        if not len(self):
            raise ValueError("There must be an explanation to draw; these are none.")
        shown = self[:_SHOWN]
        if self._of_images:
            shown._sheet(alpha, palette, len(self)).draw(figure)
        else:
            shown._stack(figure, alpha, palette)
        return figure

    def _sheet(self, alpha: float, palette: Palette, count: int) -> ContactSheet:
        first = self[0]
        same = all(np.array_equal(explanation.image, first.image) for explanation in self)
        made = {(explanation.method, explanation.layer) for explanation in self}
        cells: list[Cell] = []
        for explanation in self:
            small = shrink(explanation)
            if not cells or not same:
                cells.append(Cell(small.image, "the picture as given" if same else ""))
            drawn = draw_small(
                explanation, scale_alone(explanation, palette.signed), alpha, palette
            )
            what, how = explanation.title.rsplit("\n", 1)
            caption = what if len(made) == 1 else f"{what}\n{how}"
            cells.append(Cell(drawn, caption, codes(explanation)))
        columns = min(_COLUMNS, len(cells))
        cells += [Cell(np.full_like(cells[-1].picture, 255))] * (-len(cells) % columns)
        rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
        legend = describe_colours(self, palette)
        foot = [f"The first {len(self)} of {count} are drawn."] if count > len(self) else []
        headline = first.title.rsplit("\n", 1)[1] if len(made) == 1 else ""
        nothing = Heading("")
        return ContactSheet(
            rows,
            [nothing] * columns,
            [nothing] * len(rows),
            headline,
            foot + legend.foot,
            legend.bar,
            palette,
            legend.faded,
        )

    def _stack(self, figure: Figure, alpha: float, palette: Palette) -> None:
        """Draw the figure of each below the other, as pictures: they are laid out in inches."""
        FigureStack(self, "", alpha, palette).draw(figure, _DPI)
