"""Pictures larger than the network takes at once: explained tile by tile, one map of all.

Tiles overlap by about half. The signed maps of one class are laid beside each other, cell by cell
of the layer, and averaged where tiles overlap, before any is scaled: a tile with little evidence
stays faint beside one with much.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfcam import maps
from tfcam.findings import Finding
from tfcam.images.loading import load_image
from tfcam.maps.scaling import Shown, shown_values
from tfcam.preprocessing.prepare import displayed
from tfcam.results.explanation import Explanation
from tfcam.targets.callables import names_place
from tfcam.targets.classes import Top

Sides = tuple[int, int]
# What a network strides over, at most, in most networks.
_STRIDE = 32
Explain = Callable[[list[np.ndarray]], Sequence[Explanation]]


def check_tiled(target: Any) -> None:
    """Refuse a target that would be another one in each tile.

    Raises:
        ValueError: If it names no class, several, or a place.
    """
    if target is None or isinstance(target, Top | list | tuple | np.ndarray):
        raise ValueError(
            "tile= explains one class in every tile, and each tile may be predicted another: name "
            f"the class by target=; got {target!r}."
        )
    if names_place(target):
        raise ValueError(
            "tile= cuts the picture, but not the mask or box of a target; give the target without."
        )


def explain_tiles(
    explain: Explain,
    image: Any,
    tile: Sides,
    at_once: int,
    how: Shown = "positive",
    advance: Callable[[int], object] = lambda count: None,
) -> Explanation:
    """Explain a picture tile by tile.

    Args:
        explain: Explains a batch of pieces (h, w, C), all for the same class.
        image: A picture, or a float array (H, W, C) that is already prepared.
        tile: Height and width of a tile in pixels.
        at_once: Number of tiles that are explained at once.
        how: What the heatmap shows of the raw maps.
        advance: Is told of the tiles that are done.

    Returns:
        One explanation: ``raw`` of the cells of all tiles, whose score and probability are the
        means of the tiles'; findings are those that all tiles have.

    Raises:
        ValueError: If it is no picture.
    """
    given = np.asarray(image) if getattr(image, "dtype", None) is not None else None
    ready = given is not None and given.dtype.kind == "f"
    pixels = given if given is not None and ready else load_image(image)
    if pixels.ndim != 3:
        raise ValueError(f"tile= cuts one picture (H, W, C); got shape {pixels.shape}.")
    sides = pixels.shape[:2]
    (first,) = explain([_cut(pixels, (0, 0), tile)])
    cell = _cell(first.raw.shape[:2], tile)
    starts = [*itertools.product(*map(_starts, sides, tile, cell))]
    canvas = _Canvas(np.add(starts[-1], tile) // cell, first.raw.shape[2:])
    scores, likely, told = [], [], []
    for start, result in _explained(explain, pixels, starts, first, tile, at_once, advance):
        raw = result.raw if cell != (1, 1) else _over_pixels(result.raw, tile, how)
        canvas.lay(raw, np.floor_divide(start, cell))
        scores.append(result.score)
        if result.probability is not None:
            likely.append(result.probability)
        told.append({each.code: each for each in result.findings})
    seen = [-(-side // size) for side, size in zip(sides, cell, strict=True)]
    raw = canvas.mean()[: seen[0], : seen[1]]
    whole = tuple(np.multiply(raw.shape[:2], cell))
    heatmap = np.zeros(sides, np.float32)
    if np.isfinite(raw).all():
        evidence = maps.evidence(shown_values(raw, how), whole)
        heatmap = maps.scale(evidence[: sides[0], : sides[1]])
    return replace(
        first,
        heatmap=heatmap,
        raw=raw,
        image=displayed(pixels) if ready else pixels,
        score=float(np.mean(scores)),
        probability=float(np.mean(likely)) if likely else None,
        options={**first.options, "tile": tile},
        measured={},
        findings=tuple(_of_all(told)),
    )


def _of_all(told: Sequence[dict[str, Finding]]) -> Iterator[Finding]:
    """What is said of every tile; what is not finite in one makes all of the map so."""
    for code, found in {code: found for own in told for code, found in own.items()}.items():
        if code == "not_finite" or all(code in own for own in told):
            yield found


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


def _cut(pixels: np.ndarray, start: Sides, tile: Sides) -> np.ndarray:
    """Cut a tile; its edge is repeated where it reaches beyond the picture."""
    piece = pixels[start[0] : start[0] + tile[0], start[1] : start[1] + tile[1]]
    missing = [(0, side - own) for side, own in zip(tile, piece.shape, strict=False)]
    return np.pad(piece, [*missing, (0, 0)], mode="edge")


def _explained(
    explain: Explain,
    pixels: np.ndarray,
    starts: Sequence[Any],
    first: Explanation,
    tile: Sides,
    at_once: int,
    advance: Callable[[int], object],
) -> Iterator[tuple[Any, Explanation]]:
    """Explain every tile after the first, as many at once as are compiled for."""
    yield starts[0], first
    advance(1)
    for at in range(1, len(starts), at_once):
        group = starts[at : at + at_once]
        full = [*group, *[group[-1]] * (min(at_once, len(starts) - 1) - len(group))]
        results = explain([_cut(pixels, start, tile) for start in full])
        yield from zip(group, results, strict=False)
        advance(len(group))
