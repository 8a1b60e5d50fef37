"""Words coloured by a heatmap: in a figure, in a notebook, in a terminal."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextToPath
from rich.text import Text

from tfcam.figures.letters import drawable, families
from tfcam.figures.palette import OF_MAXIMUM, Palette
from tfcam.utils.terminal_text import make_printable

# Inches and points.
_SIZE, LINE, _PAD, _SPACE = 11, 0.27, 0.045, 0.05


MARGIN, MOST_LINES = 0.1, 100


# Of the words in a figure, of the figure; what is above and below; where the colour bar is.
WIDTH, FIGURE_WIDTH, _AROUND, _BAR = 7.6, 8.0, 1.12, 0.38


_TEXT = TextToPath()


def choose_ink(colour: np.ndarray) -> str:
    """Choose black or white, whichever is easier to read on a colour (WCAG 2's contrast).

    Args:
        colour: (3,) in [0, 1], sRGB.

    Example:
        >>> choose_ink(np.array([1.0, 1.0, 0.0])), choose_ink(np.array([0.2, 0.0, 0.3]))
        ('black', 'white')
    """
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def color_words(words: Sequence[str], values: np.ndarray, palette: Palette) -> Text:
    """Colour words for a terminal, each by its value.

    Args:
        words: One for each position.
        values: (L,) in [0, 1], or signed in [-1, 1].
        palette: The colours.

    Example:
        >>> print(color_words(["not", "good"], np.array([1.0, 0.0]), Palette("gray")).spans[0])
        Span(0, 5, 'black on #ffffff')
    """
    text = Text()
    for word, colour in zip(words, palette.colours(values), strict=True):
        text.append(f" {_visible(word)} ", f"{choose_ink(colour)} on {to_hex(colour)}")
    return text


def words_to_html(
    words: Sequence[str], values: np.ndarray, title: str, foot: str, palette: Palette
) -> str:
    """Write words as HTML: a card of its own colours, the same on light and dark pages.

    Args:
        words: One for each position.
        values: (L,) in [0, 1], or signed in [-1, 1].
        title: Its first line is set bold.
        foot: What to mind, or "".
        palette: The colours.

    Returns:
        HTML; words, title and foot are escaped.
    """
    first, _, rest = title.partition("\n")
    shades = ",".join(map(to_hex, palette.colours(np.linspace(palette.low, 1, 11))))
    empty, low, high = palette.colours(np.array([0.0, palette.low, 1.0]))
    ink = choose_ink(empty)
    small = "font-size:12px;opacity:0.85"
    parts = [
        f'<span title="{value:.2f}" style="background:{to_hex(on)};color:{choose_ink(on)};'
        'padding:2px 4px;border-radius:3px;white-space:pre-wrap;overflow-wrap:anywhere">'
        f"{html.escape(_visible(word))}</span>"
        for word, value, on in zip(words, values, palette.colours(values), strict=True)
    ]
    bar = (
        f'<span style="display:inline-block;width:200px;padding:0 5px;border-radius:3px;'
        f'border:1px solid #888;background:linear-gradient(to right,{shades})">'
        f'<span style="color:{choose_ink(low)}">{palette.low:g}</span>'
        f'<span style="color:{choose_ink(high)};float:right">1</span></span>'
    )
    return (
        f'<div style="background:{to_hex(empty)};color:{ink};padding:12px 14px;border-radius:6px;'
        'max-width:900px;font-family:sans-serif;font-size:15px;text-align:left">'
        f"<div><b>{html.escape(first)}</b></div>"
        f'<div style="{small};margin-bottom:8px">{html.escape(rest)}</div>'
        f'<div dir="auto" style="line-height:1.9">{" ".join(parts)}</div>'
        f'<div style="{small};margin-top:10px">{bar} {palette.label(OF_MAXIMUM)}'
        + (f"<br>{html.escape(foot)}" if foot else "")
        + "</div></div>"
    )


def set_words(words: Sequence[str], width: float, most: int) -> list[list[tuple[str, float]]]:
    """Break words into lines.

    Args:
        words: What to set.
        width: Of a line, in inches.
        most: The most lines; what does not fit is left out.

    Returns:
        Lines of words as they can be drawn, each with its width in inches.
    """
    lines: list[list[tuple[str, float]]] = [[]]
    left = width
    for word in words:
        shown = drawable(_visible(word))
        needed = _width(shown) + 2 * _PAD
        while needed > width and len(shown) > 2:
            shown = f"{shown[: int(len(shown) * 0.8)].rstrip('…')}…"
            needed = _width(shown) + 2 * _PAD
        if needed > left and lines[-1]:
            if len(lines) == most:
                break
            lines.append([])
            left = width
        lines[-1].append((shown, needed))
        left -= needed + _SPACE
    return lines


def figure_size(words: Sequence[str]) -> tuple[float, float]:
    """Measure a figure of words with its title and colour bar: width and height in inches."""
    lines = len(set_words(words, WIDTH - 2 * MARGIN, MOST_LINES))
    return FIGURE_WIDTH, lines * LINE + 2 * MARGIN + _AROUND


def add_axes(figure: Figure, foot: str, palette: Palette) -> Axes:
    """Add axes for words to a figure of ``figure_size``, with a colour bar and a foot.

    Words are set in inches, so that no layout may move the axes afterwards.
    """
    width, height = figure.get_size_inches()
    left = (width - WIDTH) / 2 / width
    axes = figure.add_axes((left, 0.62 / height, WIDTH / width, (height - _AROUND) / height))
    add_bar(figure, palette)
    figure.text(1 - left, _BAR / height, foot, ha="right", fontsize="small")
    return axes


def add_bar(figure: Figure, palette: Palette) -> None:
    """Add a colour bar at the foot of a figure of words."""
    width, height = figure.get_size_inches()
    left = (width - WIDTH) / 2 / width
    bar = figure.add_axes((left, _BAR / height, 2.5 / width, 0.13 / height))
    figure.colorbar(palette.scale(), cax=bar, orientation="horizontal", ticks=palette.ticks)
    bar.set_xlabel(palette.label(OF_MAXIMUM), fontsize="small", labelpad=1)
    bar.tick_params(labelsize="small", pad=1.5, length=2)


def draw_words(axes: Axes, words: Sequence[str], values: np.ndarray, palette: Palette) -> None:
    """Draw words on their colours, as many as there is room for.

    Args:
        axes: Where to; what they show is measured in inches.
        words: One for each position.
        values: (L,) in [0, 1], or signed in [-1, 1].
        palette: The colours.
    """
    figure: Any = axes.figure
    box = axes.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    axes.set_xlim(0, box.width)
    axes.set_ylim(box.height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    (empty,) = palette.colours(np.zeros(1))
    axes.set_facecolor(to_hex(empty.tolist()))
    room = max(1, int((box.height - 2 * MARGIN) / LINE + 1e-6))
    inside = max(box.width - 2 * MARGIN, LINE)
    lines = set_words(words, inside, room)
    if (left_out := len(words) - sum(map(len, lines))) > 0 and room > 1:
        lines = lines[: room - 1]
        left_out = len(words) - sum(map(len, lines))
    colour = iter(palette.colours(values))
    for number, line in enumerate(lines):
        x, y = MARGIN, MARGIN + number * LINE
        for (word, width), on in zip(line, colour, strict=False):
            patch = Rectangle((x, y + 0.02), width, LINE - 0.04, facecolor=on, linewidth=0)
            axes.add_patch(patch)
            _write(axes, x + _PAD, y, word, choose_ink(on))
            x += width + _SPACE
    if left_out > 0:
        y = MARGIN + len(lines) * LINE
        _write(axes, MARGIN, y, f"… and {left_out:,} more", choose_ink(empty))


def _write(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.text(
        x,
        y + 0.68 * LINE,
        text,
        color=colour,
        fontproperties=_font(),
        va="baseline",
        parse_math=False,  # a word may hold a $
        clip_on=True,
    )


def _visible(word: str) -> str:
    """A word on one line; one of spaces alone is shown as a space."""
    return make_printable(" ".join(word.split())) or "␣"


def _width(text: str) -> float:
    return _TEXT.get_text_width_height_descent(text, _font(), False)[0] / 72


@functools.cache
def _font() -> FontProperties:
    return FontProperties(family=families(), size=_SIZE)
