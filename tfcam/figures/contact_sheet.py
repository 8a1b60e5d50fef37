"""A grid of pictures with titles that do not run into each other, at the width of a notebook.

All lengths are inches, font sizes are points. Text is measured before it is placed: matplotlib's
own layouts do not break lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from tfcam.figures.letters import drawable, families
from tfcam.figures.palette import PLAIN, Palette
from tfcam.figures.rendering import rasterize, render

WIDTH = 9.0


_NARROWEST, _TALLEST, _PAGE = 1.25, 3.0, 13.0  # a column, a picture, the pictures of all rows


_ROW_TITLE, _MARGIN, _GAP, _BAR = 1.45, 0.12, 0.1, 0.14


_TEXT = TextToPath()


@dataclass(frozen=True)
class Font:
    """How text is set: its size in points, and whether it is bold."""

    size: float
    bold: bool = False

    @property
    def line(self) -> float:
        """The height of a line."""
        return 1.25 * self.size / 72

    @property
    def weight(self) -> str:
        """As matplotlib names it."""
        return "bold" if self.bold else "normal"

    def width(self, text: str) -> float:
        """Measure a line of text: the most that it is wide, in inches."""
        properties = FontProperties(size=self.size, weight=self.weight, family=_family(text))
        line = drawable(text.replace("\n", " "))
        width, _, _ = _TEXT.get_text_width_height_descent(line, properties, False)
        return 1.06 * width / 72  # letters are set to whole pixels when they are drawn


def _family(text: str) -> list[str] | None:
    return None if text.isascii() else families()


_Lettering = list[tuple[list[str], Font]]


_SetCell = tuple[np.ndarray, _Lettering, _Lettering]


HEADLINE, LABEL, CAPTION, NOTE = Font(10), Font(9, bold=True), Font(8), Font(8)


@dataclass(frozen=True)
class Heading:
    """The title of a row or column: its label, and what holds for all of it."""

    label: str
    caption: str = ""


def fit(text: str, width: float, font: Font, lines: int = 3) -> str:
    """Break and shorten text so that it is at most so wide and has at most so many lines.

    It is broken after spaces and slashes, and elsewhere only where a part is too wide. What does
    not fit is replaced by an ellipsis: the end of words, but the beginning of a path, as the end
    of a path tells more.

    Args:
        text: One line.
        width: In inches.
        font: How it will be set.
        lines: At most so many.

    Returns:
        The lines, joined by newlines.

    Example:
        >>> fit("resnet50/conv5_block3_out", 1.3, CAPTION)
        'resnet50/\\nconv5_block3_out'
        >>> fit("resnet50/conv5_block3_out", 1.3, CAPTION, lines=1)
        '…conv5_block3_out'
    """
    words = " " in text
    parts = _parts(text, width, font)
    broken = _flow(parts, width, font)
    if len(broken) <= lines:
        return "\n".join(_even(parts, width, font))
    if words:
        kept = broken[:lines]
        return "\n".join([*kept[:-1], _cut(kept[-1] + "…", width, font, at_end=True)])
    kept = broken[-lines:]
    return "\n".join([_cut("…" + kept[0], width, font, at_end=False), *kept[1:]])


def _parts(text: str, width: float, font: Font) -> list[str]:
    """What stays on one line: words and names; where these are too wide, pieces of them."""
    parts = [text]
    for place in (r"(?<=[\s/])", r"(?=\()", r"(?<=[_.,:-])", r"(?<=.)"):
        wide = [font.width(part.strip()) > width for part in parts]
        split = [
            re.split(place, part) if w else [part] for part, w in zip(parts, wide, strict=True)
        ]
        parts = [piece for pieces in split for piece in pieces if piece]
    return parts


def _flow(parts: list[str], width: float, font: Font) -> list[str]:
    """Fill lines with parts, one line after the other."""
    lines = [""]
    for part in parts:
        if lines[-1] and font.width((lines[-1] + part).strip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.strip() for line in lines]


def _even(parts: list[str], width: float, font: Font) -> list[str]:
    """As few lines as there must be, of nearly equal widths: no last line of three letters."""
    fewest = len(_flow(parts, width, font))
    shares = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    tried = (_flow(parts, share * width, font) for share in shares)
    return next(lines for lines in tried if len(lines) == fewest)


def _cut(line: str, width: float, font: Font, at_end: bool) -> str:
    """Take letters away beside the ellipsis until the line fits."""
    while font.width(line) > width and len(line) > 2:
        line = line[:-2].rstrip() + "…" if at_end else "…" + line[2:]
    return line


@dataclass(frozen=True)
class Cell:
    """One picture, (H, W, 3) uint8, what stands above it, and short lines below it."""

    picture: np.ndarray
    caption: str = ""
    notes: tuple[str, ...] = ()

    def set(self, width: float) -> _SetCell:
        """Break the texts of the cell into lines."""
        notes = [line for note in self.notes for line in fit(note, width, NOTE, 2).split("\n")]
        return self.picture, [(_lines(self.caption, width, CAPTION), CAPTION)], [(notes, NOTE)]


class ContactSheet:
    """Rows of pictures with texts around them.

    Args:
        cells: Rows of cells.
        columns: The title of each column.
        rows: The title of each row.
        headline: What holds for the whole sheet, or "".
        foot: What else to know, one line each.
        bar: The label of the colour bar; None for no bar.
        palette: The colours of the bar.
        faded: Whether the maps lie over pictures, and the bar's colours fade as theirs do.
    """

    def __init__(
        self,
        cells: Sequence[Sequence[Cell]],
        columns: Sequence[Heading],
        rows: Sequence[Heading],
        headline: str,
        foot: Sequence[str],
        bar: str | None,
        palette: Palette = PLAIN,
        faded: bool = True,
    ) -> None:
        self._bar, self._palette, self._faded = bar, palette, faded
        self._titles = [_lettered(heading, _ROW_TITLE) for heading in rows]
        self._left = _MARGIN + max(_width(title) for title in self._titles) + _GAP
        self._set_sizes(cells, len(rows), len(columns))
        inside, whole = self._pitch - _GAP, self.width - 2 * _MARGIN
        self._columns = [_lettered(heading, inside) for heading in columns]
        self._rows = [[cell.set(inside) for cell in row] for row in cells]
        self._headline = [(_lines(headline, whole, HEADLINE), HEADLINE)]
        self._foot = [(_lines(line, whole, NOTE), NOTE) for line in foot]

    def _set_sizes(self, cells: Sequence[Sequence[Cell]], rows: int, columns: int) -> None:
        """The room of a picture, and the pitch of the columns."""
        ratios = [_ratio(cell.picture) for row in cells for cell in row]
        self._pitch = max((WIDTH - self._left - _MARGIN) / columns, _NARROWEST)
        self._tallest = min(max(_PAGE / rows, _NARROWEST), _TALLEST)
        self._picture_width = min(self._pitch - _GAP, self._tallest / min(ratios))
        self._pitch = max(self._picture_width + _GAP, min(self._pitch, _NARROWEST))
        self.width = self._left + columns * self._pitch + _MARGIN

    def draw(self, figure: Figure) -> None:
        """Draw on an empty figure, which gets the size that this needs."""
        columns = max(_height(title) for title in self._columns)
        top = _MARGIN + _height(self._headline) + columns + _GAP
        bottom = _height(self._foot) + _MARGIN / 2
        rows = list(zip(self._rows, self._titles, strict=True))
        height = top + sum(self._row_height(*row) for row in rows) + bottom
        figure.set_size_inches(self.width, height + (_BAR + 0.36 if self._bar else 0))
        pen = _Pen(figure)
        pen.write(self.width / 2, _MARGIN, self._headline)
        for number, column in enumerate(self._columns):
            pen.write(self._centre(number), top - _GAP / 3 - _height(column), column)
        for row, title in rows:
            self._draw_row(pen, top, row, title)
            top += self._row_height(row, title)
        if self._bar:
            self._draw_bar(pen, top)
        pen.write(_MARGIN, pen.height - bottom, self._foot, "left")

    def render(self, kind: str, dpi: int) -> bytes:
        """Write the sheet as a file's content, "png", "pdf" or "svg"; no figure stays open."""
        figure = Figure()
        self.draw(figure)
        return render(figure, kind, dpi)

    def rasterize(self, dpi: int) -> np.ndarray:
        """Draw the sheet as (H, W, 3) uint8."""
        figure = Figure(dpi=dpi)
        self.draw(figure)
        return rasterize(figure)

    def _centre(self, column: int) -> float:
        return self._left + (column + 0.5) * self._pitch

    def _picture_height(self, row: list[_SetCell]) -> float:
        ratio = max(_ratio(picture) for picture, _, _ in row)
        return min(self._picture_width * ratio, self._tallest)

    def _row_height(self, row: list[_SetCell], title: _Lettering) -> float:
        above, below = _around(row)
        return max(above + self._picture_height(row) + below, _height(title)) + _GAP

    def _draw_row(self, pen: _Pen, top: float, row: list[_SetCell], title: _Lettering) -> None:
        (above, below), height = _around(row), self._picture_height(row)
        free = self._row_height(row, title) - _GAP - above - height - below
        start = top + above + free / 2
        middle = start + (height - _height(title)) / 2
        pen.write(_MARGIN, max(middle, top), title, "left")
        for number, (picture, caption, notes) in enumerate(row):
            centre = self._centre(number)
            pen.picture(centre, start, self._picture_width, height, picture)
            pen.write(centre, start - _height(caption), caption)
            pen.write(centre, start + height, notes)

    def _draw_bar(self, pen: _Pen, top: float) -> None:
        width = min(3.0, self.width - 4 * _MARGIN)
        middle = (self._centre(1) + self._centre(len(self._columns) - 1)) / 2
        left = min(middle - width / 2, self.width - width - 2 * _MARGIN)
        axes = pen.axes(left, top, width, _BAR)
        colours, ticks = self._palette.scale(self._faded), self._palette.ticks
        bar = pen.figure.colorbar(colours, cax=axes, orientation="horizontal", ticks=ticks)
        bar.set_label(self._palette.label(self._bar or ""), fontsize=CAPTION.size, labelpad=1)
        axes.tick_params(labelsize=NOTE.size, pad=1.5, length=2)


def _lines(text: str, width: float, font: Font) -> list[str]:
    paragraphs = text.split("\n") if text else []
    return [line for paragraph in paragraphs for line in fit(paragraph, width, font).split("\n")]


def _lettered(heading: Heading, width: float) -> _Lettering:
    return [
        (_lines(heading.label, width, LABEL), LABEL),
        (_lines(heading.caption, width, CAPTION), CAPTION),
    ]


def _height(lettering: _Lettering) -> float:
    return sum(len(lines) * font.line for lines, font in lettering)


def _width(lettering: _Lettering) -> float:
    return max((font.width(line) for lines, font in lettering for line in lines), default=0.0)


def _ratio(picture: np.ndarray) -> float:
    """The height of a picture of width 1."""
    return picture.shape[0] / picture.shape[1]


def _around(row: list[_SetCell]) -> tuple[float, float]:
    """The space above and below the pictures of a row."""
    return max(_height(caption) for _, caption, _ in row), max(_height(n) for _, _, n in row)


class _Pen:
    """Writes and draws on a figure at inches from its top left corner."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.width, self.height = figure.get_size_inches()

    def write(self, x: float, top: float, lettering: _Lettering, align: str = "center") -> None:
        for lines, font in lettering:
            top += len(lines) * font.line
            if lines:
                self.figure.text(
                    x / self.width,
                    1 - (top - 0.27 * font.line) / self.height,
                    drawable("\n".join(lines)),
                    ha=align,
                    va="baseline",  # of the last line; tops differ between letters
                    fontsize=font.size,
                    fontweight=font.weight,
                    fontfamily=_family("".join(lines)),
                    linespacing=1.15,
                    parse_math=False,  # a label may hold a $
                )

    def axes(self, left: float, top: float, width: float, height: float) -> matplotlib.axes.Axes:
        return self.figure.add_axes(
            (
                left / self.width,
                1 - (top + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )

    def picture(
        self, centre: float, top: float, width: float, height: float, pixels: np.ndarray
    ) -> None:
        axes = self.axes(centre - width / 2, top, width, height)
        axes.imshow(pixels)
        axes.set_axis_off()
