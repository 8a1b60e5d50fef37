"""Names of others as figures can draw them: plain text, in a font that has their letters.

A label may hold a dollar sign, an escape, half of a letter (a surrogate), or a script that
matplotlib's own font does not know, of which matplotlib would fail, or warn.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from tfcam.utils.terminal_text import make_printable

# Where they are installed, for scripts that matplotlib's own font does not have.
_OTHER_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "NanumGothic",
    "Malgun Gothic",
    "AppleGothic",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Noto Sans Arabic",
    "Arial Unicode MS",
)


@functools.cache
def families() -> list[str]:
    """The fonts in which letters are looked for, the first that has one."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _OTHER_FONTS if name in installed)]


@functools.cache
def _letters() -> frozenset[int]:
    paths = [font_manager.findfont(FontProperties(family=[name])) for name in families()]
    return frozenset({ord("\n")}).union(*(FT2Font(path).get_charmap() for path in paths))


def drawable(text: str) -> str:
    """Text with a box for each letter that no font has, and "?" for what is no letter.

    Example:
        >>> drawable("café" + chr(27) + "[1m"), drawable(chr(0x13000))
        ('café?[1m', '□')
    """
    if text.isascii() and text.isprintable():
        return text
    printable = make_printable(text)
    return "".join(letter if ord(letter) in _letters() else "□" for letter in printable)


def write_names(axis: Axis) -> None:
    """Have the names along an axis drawn as they are."""
    axis.set_ticklabels([drawable(label.get_text()) for label in axis.get_ticklabels()])
    for label in axis.get_ticklabels():
        label.set_parse_math(False)
        label.set_fontfamily(families())


def write_plainly(artist: Artist) -> None:
    """Have all text of a figure or of axes drawn as it is: no formula, no letter without a font.

    The numbers along axes stay as they are.
    """
    numbers = {id(label) for axes in artist.findobj(Axes) for label in _tick_labels(axes)}
    for text in artist.findobj(Text):
        if id(text) in numbers:
            continue
        text.set_parse_math(False)
        if not text.get_text().isascii():
            text.set_fontfamily(families())
        text.set_text(drawable(text.get_text()))


def _tick_labels(axes: Axes) -> Iterator[Text]:
    for axis in (axes.xaxis, axes.yaxis):
        for tick in (*axis.majorTicks, *axis.minorTicks):
            yield from (tick.label1, tick.label2)
