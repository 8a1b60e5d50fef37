"""Shard after shard of pictures explained tile by tile: what is otherwise than of whole ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from tfcam.explainer.tiling import Mosaic, Sides, Whole, prepare_tiles, read_whole
from tfcam.images.loading import is_prepared
from tfcam.preprocessing.prepare import Prepared
from tfcam.results.explanation import Explanation
from tfcam.streaming.shard_explainer import Batch, Read, ShardExplainer
from tfcam.streaming.shard_files import Row
from tfcam.targets.resolve import ResolvedTarget
from tfcam.utils.prefetch import work_ahead

# Pictures share batches of tiles until they fill about as many: the last is filled up.
_BATCHES = 4


class _Tile(NamedTuple):
    """A tile: of which picture, and where it begins."""

    read: Read
    whole: Whole
    mosaic: Mosaic
    start: Sides


class _Part(NamedTuple):
    """Tiles that go through the network together, what it takes of them, and their targets."""

    tiles: Sequence[_Tile]
    prepared: Prepared
    targets: list[ResolvedTarget]


class TileExplainer(ShardExplainer):
    """Explains shards of pictures, each in tiles, which go through the network in full batches."""

    _like: Explanation | None = None  # of the first tile

    @property
    def _tile(self) -> Sides:
        tile = self.pipeline.tile
        assert tile is not None
        return tile

    @property
    def _ahead(self) -> int:
        return 2  # what waits is large

    def _taken(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int] | None]:
        return image, None

    def _differs(self, picture: Read, reads: Sequence[Read]) -> bool:
        """Whether pictures have enough tiles without another."""
        enough = _BATCHES * self.batch_size
        return sum(self._count(read.pixels.shape) for read in reads) >= enough

    def _count(self, shape: Sequence[int]) -> int:
        """The number of tiles of a picture, about."""
        pairs = zip(shape, self._tile, strict=False)
        return math.prod(max(1, -(-2 * side // tile) - 1) for side, tile in pairs)

    def _check_shape(self, key: str, shape: tuple[int, ...]) -> None:
        """Maps of pictures of several sizes have several shapes: each is written with its own."""

    def _prepared(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        return iter(batches)

    def _computed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        return map(self._laid, batches)

    def _laid(self, batch: Batch) -> Batch:
        """Explain all tiles of some pictures."""
        tiles = [tile for read in batch.reads for tile in self._cut(read)]
        with closing(work_ahead(self._parts(tiles))) as parts:
            for part, prepared, targets in parts:
                run = self.pipeline.compute(prepared, targets)
                for tile, result in zip(part, self.pipeline.assemble(run), strict=True):
                    tile.mosaic.lay(tile.start, result)
        mosaics = {tile.read.number: tile.mosaic for tile in tiles}
        reads = [replace(read, pixels=np.empty(0)) for read in batch.reads]
        return replace(batch, reads=reads, results=partial(self._whole_rows, reads, mosaics))

    def _cut(self, read: Read) -> list[_Tile]:
        """Cut a picture into tiles; the first of all says how large maps are."""
        pipeline = self.pipeline
        whole = read_whole(pipeline.opened, read.pixels, pipeline.preprocess)
        if self._like is None:
            piece = whole.cut((0, 0), self._tile)
            ready = self._ready_tiles([piece] * self.batch_size, 1, whole.as_pixels)
            run = pipeline.compute(ready, self._targets([read] * self.batch_size))
            (self._like,) = pipeline.assemble(run)
        (request,) = pipeline.engine.requests
        mosaic = Mosaic(whole.sides, self._tile, self._like, request.shown)
        return [_Tile(read, whole, mosaic, start) for start in mosaic.starts]

    def _parts(self, tiles: Sequence[_Tile]) -> Iterator[_Part]:
        """Prepare tiles in full batches of what is prepared in one way."""
        for (_, as_pixels), alike in itertools.groupby(tiles, _kind):
            group = list(alike)
            for at in range(0, len(group), self.batch_size):
                part = group[at : at + self.batch_size]
                full = [*part, *part[-1:] * (self.batch_size - len(part))]
                pieces = [tile.whole.cut(tile.start, self._tile) for tile in full]
                ready = self._ready_tiles(pieces, len(part), as_pixels)
                yield _Part(part, ready, self._targets([tile.read for tile in full]))

    def _ready_tiles(self, pieces: Sequence[np.ndarray], count: int, as_pixels: bool) -> Prepared:
        """Prepare pieces, of which the first are not there to fill a batch up."""
        pipeline = self.pipeline
        ready = prepare_tiles(pipeline.opened, pieces, pipeline.preprocess, as_pixels)
        return replace(ready, images=ready.images[:count])

    def _whole_rows(self, reads: Sequence[Read], mosaics: Mapping[int, Mosaic]) -> list[Row]:
        """Make the rows of pictures whose tiles are laid."""
        rows = []
        for read in reads:
            mosaic = mosaics[read.number]
            image = np.broadcast_to(np.uint8(0), (*mosaic.sides, 3))  # not kept in a store
            rows.append(Row(read.number, read.key, read.mark, mosaic.explanation(image)))
        return rows


def _kind(tile: _Tile) -> tuple[bool, bool]:
    """What pictures of a batch have in common."""
    return is_prepared(tile.whole.pixels), tile.whole.as_pixels
