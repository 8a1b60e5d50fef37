"""Explanations of one picture side by side: a grid of them, its figure and its table."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from tfcam.figures.contact_sheet import Cell, ContactSheet, Heading
from tfcam.figures.overlays import embed_png
from tfcam.figures.palette import ALPHA, COLORMAP, PLAIN, Palette
from tfcam.figures.rendering import new_figure
from tfcam.figures.sequence import check_seconds, write_gif, write_slider
from tfcam.results.explanation import Explanation
from tfcam.results.sheets import (
    codes,
    describe_colours,
    draw_small,
    find_label,
    scale_alone,
    scale_row,
    shrink,
)
from tfcam.results.slices import as_pictures
from tfcam.results.text_sheet import TextSheet
from tfcam.utils.files import check_target, write_whole
from tfcam.utils.terminal_text import printable_lines

_ENDINGS = (".png", ".pdf", ".svg", ".gif", ".html")
_DPI = {".gif": 80, ".html": 100}  # of columns one after another


@dataclass(frozen=True, repr=False)
class Comparison:
    """Explanations of one picture in a grid, such as methods x layers or methods x classes.

    ``comparison[row, column]`` is one explanation, by index or by label; iteration goes through
    all of them row by row. In a notebook it shows itself.

    Attributes:
        rows: The label of each row.
        columns: The label of each column.
        cells: The explanations, rows of columns, all of one picture.

    Raises:
        ValueError: If there is no cell, the grid is not rectangular, or pictures differ in size.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Explanation, ...], ...]

    def __post_init__(self) -> None:
        lengths = [len(row) for row in self.cells]
        if not self.columns or not lengths or lengths != [len(self.columns)] * len(self.rows):
            raise ValueError(
                "A comparison must have one explanation or more, one for each of its rows and "
                f"columns; got {len(self.rows)} rows and {len(self.columns)} columns of labels, "
                f"and {len(lengths)} rows of {', '.join(map(str, lengths)) or 'no'} explanations."
            )
        sizes = {explanation.extent: None for explanation in self}
        if len(sizes) > 1:
            raise ValueError(
                f"A comparison must be of one picture; here are pictures of {', '.join(sizes)}. "
                "Compare each picture by itself."
            )

    def __getitem__(self, place: tuple[int | str, int | str]) -> Explanation:
        if not isinstance(place, tuple) or len(place) != 2:
            raise TypeError(
                "A comparison's explanation is at [row, column], each an index or a label; "
                f"got {place!r}."
            )
        row = find_label("row", self.rows, place[0])
        return self.cells[row][find_label("column", self.columns, place[1])]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self) -> Iterator[Explanation]:
        return (explanation for row in self.cells for explanation in row)

    def plot(
        self,
        shared_scale: bool = False,
        alpha: float = ALPHA,
        colormap: str = COLORMAP,
        signed: bool = False,
        contours: bool = False,
    ) -> Figure:
        """Draw the picture and all maps, with what is explained, and the findings below each map.

        Maps of pixels are drawn by themselves, as ``Explanation.picture`` draws them, each in its
        own range. Of a text its words are drawn below each other, each map in its own range. Of a
        video or volume some frames are drawn side by side, the same below each map.

        Args:
            shared_scale: False scales each map by its own maximum. True divides the maps of a row
                by the largest value of that row, so that a weak map looks weak. Rows do not share
                one scale, as maps of different methods have different units: compare along a row
                only where it is one method, not where the rows are models and the columns
                methods.
            alpha: The largest weight of the colours, in [0, 1]: from half of the maximum on.
            colormap: The name of a matplotlib colormap.
            signed: Draw what speaks for each in red and what speaks against it in blue.
            contours: Draw a map over the picture as lines, at 25, 50 and 75 % of its maximum.

        Returns:
            The figure; a notebook shows it, else ``matplotlib.pyplot.show()``.

        Raises:
            ValueError: If alpha is not in [0, 1], there is no such colormap, or a signed map is
                asked for of several layers.
        """
        sheet = self._sheet(shared_scale, alpha, Palette(colormap, signed, contours))
        figure = new_figure()
        sheet.draw(figure)
        return figure

    def save(
        self,
        path: str | os.PathLike[str],
        shared_scale: bool = False,
        alpha: float = ALPHA,
        colormap: str = COLORMAP,
        signed: bool = False,
        contours: bool = False,
        seconds: float = 0.7,
    ) -> Path:
        """Write the figure that ``plot`` draws, whole or not at all.

        As ``.gif`` or ``.html`` the columns are shown one after another, such as layers from the
        first to the last: as an animation, or as a page with a slider that needs no other file.

        Args:
            path: Where to; ``.png``, ``.pdf``, ``.svg``, ``.gif`` or ``.html``.
                A file that is there is replaced.
            shared_scale: As in ``plot``.
            alpha: As in ``plot``.
            colormap: As in ``plot``.
            signed: As in ``plot``.
            contours: As in ``plot``.
            seconds: How long a column is shown of those that are shown one after another.

        Returns:
            The path.

        Raises:
            ValueError: If it ends in none of these, a text is to be shown column by column, or as
                ``plot`` does.
            FileNotFoundError: If its folder does not exist.
        """
        path = check_path(path)
        look = (shared_scale, alpha, Palette(colormap, signed, contours))
        if path.suffix in (".gif", ".html"):
            check_seconds(seconds)
            write_whole(path, self._sequence(path.suffix, seconds, *look))
        else:
            write_whole(path, self._sheet(*look).render(path.suffix[1:], 150))
        return path

    def _sequence(
        self, ending: str, seconds: float, shared_scale: bool, alpha: float, palette: Palette
    ) -> bytes:
        """The columns one after another, as the content of a file."""
        columns, frames = range(len(self.columns)), []
        for column in columns:
            sheet = self._sheet(shared_scale, alpha, palette, column)
            if not isinstance(sheet, ContactSheet):
                raise ValueError("Columns one after another are of pictures; this explains a text.")
            frames.append(sheet.rasterize(_DPI[ending]))
        if ending == ".gif":
            return write_gif(frames, seconds)
        words = ["; ".join(row[column].title for row in self.cells) for column in columns]
        title = f"From {self.columns[0]} to {self.columns[-1]}"
        return write_slider(title, frames, self.columns, words, seconds)

    def table(self) -> str:
        """Write a text table: what each cell explains, its score, layer, method and findings."""
        labels = {
            "row": [row for row in self.rows for _ in self.columns],
            "column": list(self.columns) * len(self.rows),
        }
        facts = {name: [fact(explanation) for explanation in self] for name, fact in _FACTS.items()}
        # Labels that are one of the facts, such as the methods, are not said twice.
        heads = {
            kind: next((n for n in facts if facts[n] == labels[kind]), kind) for kind in labels
        }
        table = {heads[kind]: labels[kind] for kind in labels} | facts
        lines = [[name, *values] for name, values in table.items() if any(values)]
        widths = [max(map(len, line)) for line in lines]
        rows = zip(*lines, strict=True)
        return printable_lines("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)

    def __repr__(self) -> str:
        extent = self.cells[0][0].extent
        size = f"{len(self.rows)} x {len(self.columns)} explanations, {extent}"
        return f"Comparison of {size}\n{self.table()}"

    def _repr_png_(self) -> bytes | None:
        if not self._drawn:  # the table is shown
            return None
        palette = Palette(COLORMAP, signed=True) if self._of_strings else PLAIN
        return self._sheet(False, ALPHA, palette).render("png", 100)

    @property
    def _of_strings(self) -> bool:
        """Whether a string is explained, whose words may speak against something."""
        return all(each.text and not each.parts for each in self)

    @property
    def _drawn(self) -> bool:
        """Whether it can be drawn: an image, a video or volume, or the words of a text."""
        first = self.cells[0][0]
        return first.heatmap.ndim > 1 or bool(first.words)

    def _repr_html_(self) -> str | None:
        return self.html

    @property
    def html(self) -> str | None:
        """The figure, with all titles for who can't see it; None where the table is shown."""
        png = self._repr_png_()
        if png is None:
            return None
        size = f"{len(self.rows)} x {len(self.columns)} maps"
        return embed_png(
            png, "; ".join([f"Comparison of {size}", *(explanation.title for explanation in self)])
        )

    def _sheet(
        self,
        shared_scale: bool,
        alpha: float,
        palette: Palette,
        only: int | None = None,
        title: str = "the picture as given",
    ) -> ContactSheet | TextSheet:
        """The sheet of all columns, or of one; the title is that of the picture."""
        if not self._drawn:
            raise ValueError(
                f"A comparison draws images, videos, volumes and texts; this is of a series of "
                f"{self.cells[0][0].extent}. Draw each "
                "explanation by itself: comparison[row, column].plot()."
            )
        if self.cells[0][0].heatmap.ndim == 1:
            titles = [explanation.title.replace("\n", ", ") for explanation in self]
            return TextSheet([*self], titles, palette)
        if self.cells[0][0].heatmap.ndim == 3:
            laid, title = as_pictures(self.cells)
            same = dataclasses.replace(self, cells=laid)
            return same._sheet(shared_scale, alpha, palette, only, title)
        headline, rows, columns, captions = self._headings()
        everywhere = [code for code in codes(self.cells[0][0]) if len(self) > 1]
        everywhere = [
            code for code in everywhere if all(code in codes(explanation) for explanation in self)
        ]
        shown = slice(None) if only is None else slice(only, only + 1)
        picture = Cell(shrink(self.cells[0][0]).image)
        cells = []
        for row, texts in zip(self.cells, captions, strict=True):
            cells.append([picture])
            signed = palette.signed
            scaled = (
                scale_row(row, signed) if shared_scale else [scale_alone(e, signed) for e in row]
            )
            for explanation, values, text in [*zip(row, scaled, texts, strict=True)][shown]:
                notes = tuple(code for code in codes(explanation) if code not in everywhere)
                drawn = draw_small(explanation, values, alpha, palette)
                cells[-1].append(Cell(drawn, text, notes))
        if any(text for texts in captions for text in texts):  # the maps have captions: so has it
            cells[0][0], title = dataclasses.replace(picture, caption=title), ""
        legend = describe_colours(self, palette, shared_scale)
        foot = [line for line in map(self._unsaid, ("method", "layer")) if line]
        foot += [f"Of every map: {', '.join(everywhere)}."] if everywhere else []
        return ContactSheet(
            cells,
            [Heading("", title), *columns[shown]],
            rows,
            headline,
            foot + legend.foot,
            legend.bar,
            palette,
            legend.faded,
        )

    def _unsaid(self, fact: str) -> str:
        """The methods or layers of the maps, unless they are the labels of rows or columns."""
        facts = [_FACTS[fact](cell) for cell in self]
        labels = [list(self.columns) * len(self.rows), [r for r in self.rows for _ in self.columns]]
        names = list(dict.fromkeys(name for name in facts if name != "-"))
        if not names or facts in labels:
            return ""
        several = "s, row by row" if len(names) > 1 else ""
        return f"{fact.capitalize()}{several}: {', '.join(names)}."

    def _headings(self) -> _Headings:
        """Class and score where they hold: of everything, a row, a column, or each cell."""
        answers = [[_answer(cell) for cell in row] for row in self.cells]
        across = [set(row) for row in answers]
        down = [set(column) for column in zip(*answers, strict=True)]
        nothing = [[""] * len(self.columns) for _ in self.rows]
        rows, columns = list(map(Heading, self.rows)), list(map(Heading, self.columns))
        named = list(self.columns) == [answer.name for answer in answers[0]]
        if len(set().union(*across)) == 1 and not named:
            return _Headings(", ".join(answers[0][0]), rows, columns, nothing)
        if all(len(column) == 1 for column in down):
            return _Headings("", rows, _captioned(self.columns, answers[0]), nothing)
        if all(len(row) == 1 for row in across):
            first = [row[0] for row in answers]
            return _Headings("", _captioned(self.rows, first), columns, nothing)
        captions = [["\n".join(answer) for answer in row] for row in answers]
        return _Headings("", rows, columns, captions)


class _Answer(NamedTuple):
    """The class, and how sure the model is, as an explanation's own title says it."""

    name: str
    number: str


class _Headings(NamedTuple):
    """What is said of a whole comparison, its rows, its columns, and each of its cells."""

    headline: str
    rows: list[Heading]
    columns: list[Heading]
    captions: list[list[str]]


def check_path(path: str | os.PathLike[str]) -> Path:
    """Refuse, before the work, a file that a comparison can't be saved as.

    Raises:
        ValueError: If it is none of those that ``Comparison.save`` writes.
        FileNotFoundError: If its folder does not exist.
    """
    return check_target(path, "A comparison", _ENDINGS)


_FACTS: dict[str, Callable[[Explanation], str]] = {
    "class": lambda cell: cell.name,
    "score": lambda cell: f"{cell.score:.4g} {cell.score_kind}",
    "probability": lambda cell: "" if cell.probability is None else f"{cell.probability:.3g}",
    "layer": lambda cell: str(cell.layer or "-"),
    "method": lambda cell: cell.method,
    "findings": lambda cell: ", ".join(codes(cell)),
}


def _answer(explanation: Explanation) -> _Answer:
    first = explanation.title.rsplit("\n", 1)[0]
    return _Answer(explanation.name, first.removeprefix(f"{explanation.name}, "))


def _captioned(labels: Sequence[str], answers: Sequence[_Answer]) -> list[Heading]:
    return [
        Heading(label, answer.number if label == answer.name else "\n".join(answer))
        for label, answer in zip(labels, answers, strict=True)
    ]
