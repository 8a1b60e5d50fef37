"""How maps look: colours over pictures, series before their heatmap, volumes slice by slice."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy import ndimage

from tfcam import maps
from tfcam.data.volumes import COLOURS
from tfcam.figures.palette import ALPHA, LEVELS, PLAIN, Palette

# Bright, and told apart also by the colour-blind; a black edge parts them from hot colours.
_LINES = ("white", "#56b4e9", "#f0a0d0", "#7fe0a0", "#e8d060", "#b0b0b0")


_SLICES = 9


# Lines of charts: told apart also by the colour-blind (Okabe and Ito), and in black and white.
LINE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


STROKES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))


def overlay(
    picture: np.ndarray, values: np.ndarray, alpha: float = ALPHA, palette: Palette = PLAIN
) -> np.ndarray:
    """Lay a coloured map over a picture, which stays as it is where the map is zero.

    See ``Palette.lay``.

    Args:
        picture: (..., 3) uint8.
        values: (...) in [0, 1], or signed in [-1, 1].
        alpha: The largest weight of the colours, in [0, 1].
        palette: The colours.

    Returns:
        (..., 3) uint8.

    Raises:
        ValueError: If alpha is not in [0, 1].

    Example:
        >>> grey = np.full((3, 3), 100, np.uint8)
        >>> overlay(grey, np.array([0.0, 0.25, 1.0]), 0.5, Palette("gray"))
        array([[100, 100, 100],
               [ 91,  91,  91],
               [178, 178, 178]], dtype=uint8)
    """
    if not isinstance(alpha, Real) or not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must be in [0, 1]; got {alpha!r:.60}.")
    if palette.contours:
        return draw_contours(picture, values, palette)
    return np.round(255.0 * palette.lay(values, picture / 255.0, alpha)).astype(np.uint8)


def draw_contours(picture: np.ndarray, values: np.ndarray, palette: Palette) -> np.ndarray:
    """Draw lines on a picture around where a map is at least 25, 50 and 75 % of its maximum.

    The lines lie inside of what they surround, lighter where the map is higher, on a dark edge; of
    a signed map they are red, and blue around what speaks against it.

    Args:
        picture: (H, W, 3) uint8.
        values: (H, W) in [0, 1], or signed in [-1, 1].
        palette: The colours.

    Returns:
        (H, W, 3) uint8.

    Example:
        >>> grey, values = np.full((5, 5, 3), 100, np.uint8), np.zeros((5, 5))
        >>> values[1:4, 1:4] = 0.3
        >>> draw_contours(grey, values, Palette("gray"))[2, :, 0]
        array([ 20, 160, 100, 160,  20], dtype=uint8)
    """
    drawn, width = picture.copy(), max(1, round(max(values.shape) / 300))
    for sign in (1, -1) if palette.signed else (1,):
        for level in LEVELS:
            inside = sign * values >= level
            line = inside & ~ndimage.binary_erosion(inside, iterations=width, border_value=1)
            edge = ndimage.binary_dilation(line, iterations=width) & ~inside
            shown = float(sign) if palette.signed else 0.5 + level / 2
            drawn[edge] = 20
            drawn[line] = np.round(255 * palette.colours(np.array([shown])))
    return drawn


def draw_pixels(values: np.ndarray, palette: Palette) -> np.ndarray:
    """Colour a map of pixels by itself: over a picture its single pixels could not be seen.

    The full range is the 99th percentile of absolute values, as a few pixels would else darken
    all others.

    Args:
        values: (H, W) in [0, 1], or signed in [-1, 1].
        palette: The colours.

    Returns:
        (H, W, 3) uint8.

    Example:
        >>> draw_pixels(np.array([[0.0, 0.5, 0.5]]), Palette("gray"))[..., 0]
        array([[  0, 255, 255]], dtype=uint8)
    """
    shown = np.clip(values / _range(values), palette.low, 1)
    return np.round(255 * palette.colours(shown)).astype(np.uint8)


def _range(values: np.ndarray) -> float:
    """What is drawn at full strength; where nearly all is zero, the largest value."""
    sizes = np.abs(values)
    return float(np.percentile(sizes, 99) or sizes.max(initial=0.0) or 1.0)


def draw_signed_pixels(raw: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Draw a signed map of pixels by itself in its own colours: grey is zero.

    The full range is the 99th percentile of absolute values, as a few pixels would else darken
    all others. Of more than three channels the first three are drawn, of two the first.

    Args:
        raw: (h, w, C) signed.
        size: (height, width) wanted.

    Returns:
        (height, width, 3) uint8.

    Example:
        >>> draw_signed_pixels(np.array([[[-1.0], [0.0], [1.0]]]), (1, 3))[..., 0]
        array([[  0, 128, 255]], dtype=uint8)
    """
    values = maps.resize(raw[..., : 3 if raw.shape[-1] >= 3 else 1], size)
    grey = np.round(127.5 + 127.5 * np.clip(values / _range(values), -1, 1)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey, (*size, 3)))


def figure_size(size: tuple[int, ...], bar: bool = True) -> tuple[float, float]:
    """Measure a figure with its title and colour bar: width and height in inches.

    Args:
        size: (L,) of a series, (height, width) of an image, (depth, height, width) of a volume.
        bar: Whether an image has a colour bar beside it; without one it is larger.

    Example:
        >>> figure_size((128,))
        (8.0, 3.0)
    """
    if len(size) == 1:
        return 8.0, 3.0
    height, width = size[-2:]
    if len(size) == 2:
        return 8.0, min(12.0, (3.5 if bar else 4.0) * height / width + 0.7)
    rows, columns = arrange_slices(size)
    return 8.0, min(12.0, rows * 7.3 / columns * height / width + 0.5)


def embed_png(png: bytes, words: str) -> str:
    """Write a picture as HTML, with words for who can't see it.

    Args:
        png: The picture.
        words: What it shows; the lines are joined.

    Returns:
        HTML that holds the picture.

    Example:
        >>> embed_png(b"", "tabby\\ncam")
        '<img alt="tabby, cam" src="data:image/png;base64,">'
    """
    held = base64.b64encode(png).decode()
    alt = html.escape(", ".join(line.strip() for line in words.split("\n")))
    return f'<img alt="{alt}" src="data:image/png;base64,{held}">'


def draw_series(axes: Axes, series: np.ndarray, values: np.ndarray, palette: Palette) -> None:
    """Draw the channels of a series as lines before the heatmap.

    Args:
        axes: Where to.
        series: (L,) or (L, C), finite.
        values: (L,) in [0, 1], or signed in [-1, 1].
        palette: The colours.
    """
    series = series.reshape(len(series), -1).astype(float)
    low, high = series.min(), series.max()
    margin = 0.08 * (high - low) or 1.0
    extent = (-0.5, len(series) - 0.5, low - margin, high + margin)
    axes.imshow(palette.colours(values)[np.newaxis], extent=extent, aspect="auto")
    channels = series.shape[1]
    width = 1.3 if channels <= len(_LINES) else 0.7
    edge = effects.withStroke(linewidth=2 * width, foreground="black")
    for channel, values in enumerate(series.T):
        axes.plot(
            values,
            color=_LINES[channel % len(_LINES)],
            linewidth=width,
            marker="o" if len(series) == 1 else None,
            path_effects=[edge],
            label=f"channel {channel}",
        )
    axes.set_xlim(extent[:2])
    axes.set_ylim(extent[2:])
    axes.set_xlabel("position")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if 1 < channels <= len(_LINES):
        axes.legend(
            fontsize="small", labelcolor="white", facecolor="black", framealpha=0.6, ncols=channels
        )


def slice_name(volume: np.ndarray) -> str:
    """What a part of a volume (D, H, W, C) along its first axis is called."""
    return "frame" if volume.shape[-1] == COLOURS else "slice"


def volume_extent(volume: np.ndarray) -> str:
    """How large a volume (D, H, W, C) is, in words.

    Example:
        >>> volume_extent(np.zeros((8, 4, 6, 3))), volume_extent(np.zeros((8, 4, 6, 1)))
        ('8 frames of 6 x 4 pixels', '8 x 4 x 6 voxels')
    """
    depth, height, width = volume.shape[:3]
    if slice_name(volume) == "frame":
        return f"{depth} frames of {width} x {height} pixels"
    return f"{depth} x {height} x {width} voxels"


def choose_slices(heatmap: np.ndarray) -> range:
    """Choose the slices of a volume to show: at most nine, evenly spaced, with the hottest.

    Args:
        heatmap: (D, H, W).

    Returns:
        Their numbers.

    Example:
        >>> heatmap = np.zeros((32, 2, 2))
        >>> heatmap[13] = 1
        >>> list(choose_slices(heatmap))
        [1, 5, 9, 13, 17, 21, 25, 29]
    """
    step = math.ceil(len(heatmap) / _SLICES)
    hottest = int(heatmap.reshape(len(heatmap), -1).max(axis=1).argmax())
    return range(hottest % step, len(heatmap), step)


def arrange_slices(size: tuple[int, ...]) -> tuple[int, int]:
    """Arrange the slices of a volume in rows and columns, about twice as wide as high.

    Args:
        size: (depth, height, width).

    Example:
        >>> arrange_slices((8, 32, 32))
        (2, 4)
    """
    depth, height, width = size
    count = math.ceil(depth / math.ceil(depth / _SLICES))
    columns = min(count, max(1, round(math.sqrt(2.2 * count * height / width))))
    rows = math.ceil(count / columns)
    return rows, math.ceil(count / rows)


def _pixels(volume: np.ndarray) -> np.ndarray:
    """A volume (D, H, W, C) as pixels of 0..255: (D, H, W, 3) of a video in colour, else 1."""
    colour = volume.shape[-1] == COLOURS
    shown = volume if colour else volume.mean(axis=-1, keepdims=True, dtype=np.float64)
    low, high = np.percentile(shown, [0.5, 99.5])  # a few voxels would else darken all others
    return 255 * np.clip((shown - low) / (high - low or 1.0), 0, 1)


def lay_out_slices(volume: np.ndarray, heatmap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay the slices that ``draw_volume`` shows side by side, in rows: one picture of them.

    Args:
        volume: (D, H, W, C), finite.
        heatmap: (D, H, W).

    Returns:
        (rows H, columns W, 3) uint8, and the heatmap (rows H, columns W) of it.

    Example:
        >>> picture, heatmap = lay_out_slices(np.zeros((3, 4, 4, 1)), np.ones((3, 4, 4)))
        >>> picture.shape, heatmap.sum()
        ((4, 12, 3), np.float64(48.0))
    """
    chosen = choose_slices(heatmap)
    return side_by_side(slice_pictures(volume), chosen), side_by_side(heatmap, chosen)


def slice_pictures(volume: np.ndarray) -> np.ndarray:
    """The slices of a volume (D, H, W, C) as pictures, (D, H, W, 3) uint8."""
    pixels = np.round(_pixels(volume)).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:3], COLOURS))


def side_by_side(values: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """Lay some slices of values (D, H, W, ...) side by side, in rows: (rows H, columns W, ...)."""
    depth, height, width = values.shape[:3]
    rows, columns = arrange_slices((depth, height, width))
    numbers = list(chosen)[: rows * columns]
    whole = np.zeros((rows * columns, *values.shape[1:]), values.dtype)
    whole[: len(numbers)] = values[numbers]
    grid = whole.reshape(rows, columns, *values.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *values.shape[3:])


def draw_volume(
    axes: Axes, volume: np.ndarray, values: np.ndarray, alpha: float, palette: Palette
) -> None:
    """Draw slices of a volume in grey, or frames of a video in colour, under the heatmap.

    Three channels are red, green and blue, and what has them is a video. Each has its number.

    Args:
        axes: Where to; the slices get axes inside.
        volume: (D, H, W, C), finite; of other than three channels the mean is drawn.
        values: (D, H, W) in [0, 1], or signed in [-1, 1].
        alpha: The largest weight of the colours, in [0, 1].
        palette: The colours.
    """
    rows, columns = arrange_slices(values.shape)
    shown = overlay(_pixels(volume), values, alpha, palette)
    kind = slice_name(volume)
    axes.set_axis_off()
    for place, number in enumerate(choose_slices(np.abs(values))):
        row, column = divmod(place, columns)
        box = (column / columns, 1 - (row + 1) / rows, 0.94 / columns, 0.86 / rows)
        inside = axes.inset_axes(box)
        inside.imshow(shown[number])
        inside.set_title(f"{kind} {number}", fontsize="small", pad=2)
        inside.set_axis_off()
