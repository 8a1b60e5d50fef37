"""Pictures larger than the network takes at once: explained tile by tile, one map of all.

Tiles overlap by about half. The signed maps of one class are laid beside each other, cell by cell
of the layer, and averaged where tiles overlap, before any is scaled: a tile with little evidence
stays faint beside one with much.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfcam import maps
from tfcam.engine.opened_model import OpenedModel
from tfcam.findings import Finding
from tfcam.images.loading import as_numpy, is_prepared, load_image
from tfcam.images.window import Window
from tfcam.maps.scaling import Shown, shown_values
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.names import split_window
from tfcam.preprocessing.prepare import (
    Prepared,
    are_pixels,
    as_picture,
    displayed,
    prepare,
    rounded,
)
from tfcam.results.explanation import Explanation
from tfcam.targets.callables import names_place
from tfcam.targets.classes import Top

Sides = tuple[int, int]
# What a network strides over, at most, in most networks.
_STRIDE = 32
# Explains pieces (h, w, C): of each, by each method at each layer.
Explain = Callable[[list[np.ndarray]], Sequence[Sequence[Explanation]]]


def check_tiles(opened: OpenedModel, targets: Sequence[Any], name: str = "target") -> None:
    """Refuse a model that takes no single image, and what each tile has another answer to.

    Args:
        opened: The model.
        targets: What is explained.
        name: What the user names it by.

    Raises:
        ValueError: If there are other inputs, or a target names no class, several, or a place.
    """
    if opened.others or not opened.input.is_image:
        raise ValueError("tile= is for models with one input, of images.")
    for target in targets:
        if target is None or isinstance(target, Top | list | tuple | np.ndarray):
            raise ValueError(
                "tile= explains one class in every tile, and each tile may be predicted another: "
                f"name the class by {name}=; got {target!r}."
            )
        if names_place(target):
            raise ValueError(
                "tile= cuts the picture, but not the mask or box of a target; give the target "
                "without."
            )


@dataclass(frozen=True, eq=False)
class Whole:
    """A picture that is cut into tiles.

    Attributes:
        pixels: (H, W, C) uint8, or floats as they were given.
        as_pixels: Whether these floats are pixels of 0..255.
    """

    pixels: np.ndarray
    as_pixels: bool = False

    @property
    def sides(self) -> Sides:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def shown(self) -> np.ndarray:
        """(H, W, 3) uint8, to look at."""
        if self.as_pixels:
            return load_image(rounded(self.pixels))
        return displayed(self.pixels) if is_prepared(self.pixels) else self.pixels

    def cut(self, start: Sides, tile: Sides) -> np.ndarray:
        """Cut a tile (h, w, C); its edge is repeated where it reaches beyond the picture."""
        piece = self.pixels[start[0] : start[0] + tile[0], start[1] : start[1] + tile[1]]
        missing = [(0, side - own) for side, own in zip(tile, piece.shape, strict=False)]
        return np.pad(piece, [*missing, (0, 0)], mode="edge") if np.any(missing) else piece


def read_whole(opened: OpenedModel, image: Any, preprocess: Preprocess) -> Whole:
    """Read a picture that is cut into tiles; what it holds is told of the whole.

    Args:
        opened: The model.
        image: A picture, or a float array (H, W, C).
        preprocess: How pixels become the model's input.

    Raises:
        ValueError: If it is no single picture.
    """
    as_they_are = preprocess is None or (isinstance(preprocess, str) and preprocess == "auto")
    if isinstance(preprocess, Window):
        applied = split_window(preprocess)[1] == preprocess
        whole = Whole(load_image(image, window=None if applied else preprocess.limits))
    elif not is_prepared(image):
        whole = Whole(load_image(image))
    elif as_they_are:
        pixels = are_pixels(opened.graph, [image], preprocess, opened.which)
        whole = Whole(as_numpy(image), pixels)
    else:
        whole = Whole(as_picture(image))
    if whole.pixels.ndim != 3:
        raise ValueError(f"tile= cuts one picture (H, W, C); got shape {whole.pixels.shape}.")
    return whole


def prepare_tiles(
    opened: OpenedModel, pieces: Sequence[np.ndarray], preprocess: Preprocess, as_pixels: bool
) -> Prepared:
    """Prepare pieces of pictures as the model takes them.

    Args:
        opened: The model.
        pieces: (h, w, C) each.
        preprocess: As ``read_whole`` took it.
        as_pixels: Whether floats are pixels, as the whole says.
    """
    applied = split_window(preprocess)[1]
    return prepare(opened.graph, pieces, applied, opened.which, shown=False, pixels=as_pixels)


class Mosaic:
    """The map of a whole picture, laid of those of its tiles.

    Args:
        sides: Height and width of the picture.
        tile: Height and width of a tile.
        like: The explanation of some tile, which says how large maps are.
        how: What the heatmap shows of raw maps.

    Attributes:
        sides: Height and width of the picture.
        starts: Where tiles begin, row by row.
    """

    def __init__(self, sides: Sides, tile: Sides, like: Explanation, how: Shown) -> None:
        self.sides, self._tile, self._how = sides, tile, how
        shapes = [raw.shape for raw in _raws(like)]
        self._cells, self.starts = _laid_out(shapes, sides, tile)
        self._canvases = [
            _Canvas(np.add(self.starts[-1], tile) // cell, shape[2:])
            for cell, shape in zip(self._cells, shapes, strict=True)
        ]
        self._first: Explanation | None = None
        self._scores: list[float] = []
        self._likely: list[float] = []
        self._told: list[dict[str, Finding]] = []

    def lay(self, start: Sides, result: Explanation) -> None:
        """Lay the map of the tile that begins somewhere."""
        self._first = self._first or result
        for canvas, cell, raw in zip(self._canvases, self._cells, _raws(result), strict=True):
            values = raw if cell != (1, 1) else _over_pixels(raw, self._tile, self._how)
            canvas.lay(values, np.floor_divide(start, cell))
        self._scores.append(result.score)
        if result.probability is not None:
            self._likely.append(result.probability)
        self._told.append({each.code: each for each in result.findings})

    def explanation(self, image: np.ndarray) -> Explanation:
        """Explain the whole picture, once all tiles are laid.

        Args:
            image: (H, W, 3) uint8, as it is shown.

        Returns:
            Its ``raw`` is of the cells of all tiles, its score and probability are the means of the
            tiles'; findings are those that all tiles have.
        """
        first = self._first
        assert first is not None
        sides, raws = self.sides, list[np.ndarray]()
        for canvas, (height, width) in zip(self._canvases, self._cells, strict=True):
            raws.append(canvas.mean()[: -(-sides[0] // height), : -(-sides[1] // width)])
        heatmap = np.zeros(sides, np.float32)
        if all(np.isfinite(raw).all() for raw in raws):
            heatmaps = [
                maps.heatmap(shown_values(raw, self._how), sides, cell)
                for raw, cell in zip(raws, self._cells, strict=True)
            ]
            several = len(heatmaps) > 1
            heatmap = maps.fuse(heatmaps, first.options["fuse"]) if several else heatmaps[0]
        told: dict[str, Any] = {"tile": self._tile}
        if not first.parts:
            told["tile_cell"] = self._cells[0]
        return replace(
            first,
            heatmap=heatmap,
            raw=heatmap if first.parts else raws[0],
            image=image,
            score=float(np.mean(self._scores)),
            probability=float(np.mean(self._likely)) if self._likely else None,
            options={**first.options, **told},
            measured={},
            parts=dict(zip(first.parts, raws, strict=True)) if first.parts else {},
            findings=tuple(of_all(self._told)),
        )


def explain_tiles(
    explain: Explain,
    whole: Whole,
    tile: Sides,
    at_once: int,
    hows: Sequence[Shown] = ("positive",),
    advance: Callable[[int], object] = lambda count: None,
) -> list[Explanation]:
    """Explain a picture tile by tile.

    Args:
        explain: Explains a batch of pieces, all for the same classes.
        whole: The picture.
        tile: Height and width of a tile in pixels.
        at_once: Number of tiles that are explained at once.
        hows: What each heatmap of a piece shows of the raw map.
        advance: Is told of the tiles that are done.

    Returns:
        The explanation of the whole picture for each of a piece.
    """
    (firsts,) = explain([whole.cut((0, 0), tile)])
    mosaics = [
        Mosaic(whole.sides, tile, first, how) for first, how in zip(firsts, hows, strict=True)
    ]
    # Where cells of two layers are no multiples of each other, their tiles may begin elsewhere.
    alike: dict[tuple[Sides, ...], list[int]] = {}
    for number, mosaic in enumerate(mosaics):
        alike.setdefault(tuple(mosaic.starts), []).append(number)
    for starts, numbers in alike.items():
        for start, results in _explained(explain, whole, starts, firsts, tile, at_once, advance):
            for number in numbers:
                mosaics[number].lay(start, results[number])
    image = whole.shown
    return [mosaic.explanation(image) for mosaic in mosaics]


def of_all(told: Sequence[dict[str, Finding]]) -> Iterator[Finding]:
    """What is said of every tile; what is not finite in one makes all of the map so."""
    for code, found in {code: found for own in told for code, found in own.items()}.items():
        if code == "not_finite" or all(code in own for own in told):
            yield found


def following_pieces(
    whole: Whole, tile: Sides, raw: Sequence[int], at_once: int
) -> Iterator[list[np.ndarray]]:
    """Cut a picture into all tiles but the first, some at once.

    Args:
        whole: The picture.
        tile: Height and width of a tile.
        raw: The shape of the map of one.
        at_once: Number of tiles of a batch, at most.
    """
    _, (_, *starts) = _laid_out([raw], whole.sides, tile)
    for at in range(0, len(starts), at_once):
        yield [whole.cut(start, tile) for start in starts[at : at + at_once]]


def _laid_out(
    shapes: Sequence[Sequence[int]], sides: Sides, tile: Sides
) -> tuple[list[Sides], list[Sides]]:
    """The cell of each layer's map, and where tiles begin, row by row."""
    cells, grain = _cells(shapes, tile)
    rows, columns = map(_starts, sides, tile, grain)
    return cells, [*itertools.product(rows, columns)]


def _raws(explanation: Explanation) -> list[np.ndarray]:
    """The raw map of each layer that is fused; else the only one."""
    return [*explanation.parts.values()] or [explanation.raw]


class _Canvas:
    """Where maps are laid, summed and counted."""

    def __init__(self, sides: np.ndarray, rest: tuple[int, ...]) -> None:
        self._total = np.zeros((*sides, *rest), np.float32)
        self._count = np.zeros(tuple(sides), np.float32)

    def lay(self, raw: np.ndarray, start: np.ndarray) -> None:
        rows, columns = (slice(at, at + side) for at, side in zip(start, raw.shape, strict=False))
        self._total[rows, columns] += raw
        self._count[rows, columns] += 1

    def mean(self) -> np.ndarray:
        count = self._count if self._total.ndim == 2 else self._count[..., np.newaxis]
        return self._total / count


def _cells(shapes: Sequence[Sequence[int]], tile: Sides) -> tuple[list[Sides], Sides]:
    """The cell of each layer's map, and how far apart tiles may begin, at cells of all of them."""
    cells = [_cell(shape[:2], tile) for shape in shapes]
    grain = tuple(math.lcm(*sizes) for sizes in zip(*cells, strict=True))
    if len(cells) > 1 and any(2 * size > side for size, side in zip(grain, tile, strict=True)):
        return [(1, 1)] * len(cells), (1, 1)  # else tiles could not overlap
    return cells, (grain[0], grain[1])


def _cell(raw: Sequence[int], tile: Sides) -> Sides:
    """How many pixels a cell of a tile's map has; 1 where that is no whole number."""
    if any(side % cells for side, cells in zip(tile, raw, strict=True)):
        return 1, 1
    return tile[0] // raw[0], tile[1] // raw[1]


def _over_pixels(raw: np.ndarray, tile: Sides, how: Shown) -> np.ndarray:
    """Lay a map over its tile; where what is positive is shown, as if it had been cut before."""
    signed = maps.resize(raw, tile)
    if how != "positive":
        return signed
    positive = maps.resize(np.maximum(raw, 0), tile)
    return np.where(positive > 0, positive, signed)


def _starts(side: int, tile: int, cell: int) -> list[int]:
    """Where tiles begin along a side: evenly, overlapping by half or nearly, at whole cells.

    And, where they can, at multiples of the strides that most networks have, up to 32 pixels, so
    that what the network sees of a tile is what it would see of the whole.
    """
    grain = math.lcm(cell, math.gcd(tile, _STRIDE, 2 ** (tile.bit_length() - 2) if tile > 1 else 1))
    grain = grain if 2 * grain <= tile else cell
    last = -(-max(side - tile, 0) // grain)
    count = -(-2 * last * grain // tile) + 1
    return (np.unique(np.round(np.linspace(0, last, count)).astype(int)) * grain).tolist()


def _explained(
    explain: Explain,
    whole: Whole,
    starts: Sequence[Sides],
    first: Sequence[Explanation],
    tile: Sides,
    at_once: int,
    advance: Callable[[int], object],
) -> Iterator[tuple[Sides, Sequence[Explanation]]]:
    """Explain every tile after the first, as many at once as are compiled for."""
    yield starts[0], first
    advance(1)
    for at in range(1, len(starts), at_once):
        group = starts[at : at + at_once]
        full = [*group, *[group[-1]] * (min(at_once, len(starts) - 1) - len(group))]
        results = explain([whole.cut(start, tile) for start in full])
        yield from zip(group, results, strict=False)
        advance(len(group))
