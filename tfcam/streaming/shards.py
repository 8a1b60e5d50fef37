"""The files of a store of maps while it is made: shards that are there whole or not at all.

Shard ``k`` is of the pictures ``k * shard_size`` up to the next shard's first. What could not be
explained of it is written first, its maps last: a shard counts when its maps are there.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tfcam.data.example import Mark
from tfcam.streaming.shard_files import (
    OF_TEXT,
    OF_TILES,
    OF_VOLUME,
    PLAIN,
    SKIPPED,
    TESTED,
    ShardError,
    ShardWriter,
    metadata_of,
    read_table,
    schema_of,
)
from tfcam.utils.files import open_whole, storable, told_if_full, write_whole
from tfcam.utils.run_folder import SETTINGS, alone_in, keep_settings, read_facts, run_mark

_DONE = "done.json"


# Says in a file of which run and which shard it is.
_MARK = b"tfcam_shard"


# What says where things are, not what they are: it may change between two runs.
TOLD = ("model", "place")


class Kept(NamedTuple):
    """What a shard keeps of a picture: its place in the data, its name and its mark."""

    number: int
    key: str
    mark: Mark


class Shards:
    """The files of a store while it is made.

    Args:
        folder: Where they are.
        size: Number of pictures in a shard.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size

    @contextlib.contextmanager
    def alone(self, settings: dict[str, Any]) -> Iterator[None]:
        """Keep other runs out, note or check the settings, clear away what was left half written.

        Raises:
            ValueError: If another run is at work here, or the folder holds something else.
        """
        with alone_in(self.folder):
            try:
                with _told(self.folder):
                    if not self.done() and _is_store(self.folder):
                        for skipped in self.folder.glob("skipped-*.parquet"):
                            if _number(skipped) >= 0:
                                skipped.unlink()
                        (self.folder / SETTINGS).unlink()  # nothing was made with them
                    keep_settings(self.folder, settings, "a store of maps", TOLD)
                    self._clear()
                yield
            finally:
                self._clear()

    def check(self, settings: dict[str, Any]) -> None:
        """Check that the settings are those of the store, as a worker beside others.

        Raises:
            ValueError: If they are not.
        """
        keep_settings(self.folder, settings, "a store of maps", TOLD)

    def _clear(self) -> None:
        for name in ("maps-", "skipped-", _DONE, SETTINGS):
            for file in self.folder.glob(f".{name}*"):
                file.unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        """Whether all is done, and all of it is there.

        Raises:
            ValueError: If the file that says so is damaged.
        """
        return (self.folder / _DONE).exists() and self._noted == self.counts()

    @property
    def _noted(self) -> dict[str, Any]:
        file = self.folder / _DONE
        try:
            return read_facts(file)
        except ValueError:
            raise ValueError(
                f"{str(file)!r} is damaged. Delete it and run the same again: nothing is explained "
                "anew."
            ) from None

    def counts(self) -> dict[str, int]:
        """Count the pictures that are explained and those that are left out."""
        return {"explained": self.count("maps"), "skipped": self.count("skipped")}

    def mend(self, count: int | None) -> None:
        """Put aside the shards that are damaged, incomplete or of another run: they are left to do.

        A file of another run is kept under another name.

        Args:
            count: The number of pictures of the data; None where that is not known.
        """
        done = self.done()
        for shard in done:
            try:
                self.kept(shard, count, last=shard == done[-1])
            except ShardError as error:
                self._put_aside(error)
        with contextlib.suppress(ValueError):
            if self.finished:
                return
        (self.folder / _DONE).unlink(missing_ok=True)

    def _put_aside(self, error: ShardError) -> None:
        if error.foreign:
            taken = itertools.count(1)
            names = (error.file.with_name(f"other-{n}-{error.file.name}") for n in taken)
            error.file.rename(next(name for name in names if not name.exists()))
        shard = _number(error.file)
        self.file("maps", shard).unlink(missing_ok=True)

    def finish(self) -> None:
        """Note that all is done."""
        with _told(self.folder):
            write_whole(self.folder / _DONE, json.dumps(self.counts()).encode())

    def count(self, kind: str) -> int:
        """Count the rows of ``maps`` or ``skipped``."""
        return sum(metadata_of(file).num_rows for file in self.files(kind))

    def files(self, kind: str) -> list[Path]:
        """List the files of ``maps`` or ``skipped``, in order; only those of shards that count."""
        return [self.file(kind, shard) for shard in self.done() if self.file(kind, shard).exists()]

    def file(self, kind: str, shard: int) -> Path:
        return self.folder / f"{kind}-{shard:05d}.parquet"

    def done(self) -> list[int]:
        """List the shards whose files are there."""
        numbers = map(_number, self.folder.glob("maps-*.parquet"))
        return sorted(number for number in numbers if number >= 0)

    def strangers(self) -> list[str]:
        """List the files that look like a store's and are none of this one."""
        own = {self.file(kind, shard) for shard in self.done() for kind in ("maps", "skipped")}
        files = [*self.folder.glob("maps-*"), *self.folder.glob("skipped-*")]
        return sorted(file.name for file in {*files} - own)

    @functools.cached_property
    def run(self) -> str:
        """What tells the files of this store from those of another: a digest of its settings."""
        return run_mark(self.folder, TOLD)

    def kept(self, shard: int, count: int | None, last: bool) -> list[Kept]:
        """Read what a shard keeps of its pictures.

        Args:
            shard: Its number.
            count: The number of pictures of the data; None where that is not known.
            last: Whether it may hold fewer pictures than others, where that is not known.

        Raises:
            ShardError: If it is damaged, incomplete, or of another run.
        """
        rows = []
        for kind in ("maps", "skipped"):
            file = self.file(kind, shard)
            if kind == "skipped" and not file.exists():
                continue
            self.check_file(file)
            rows += read_table(file, ["number", "key", "picture", "truth"]).to_pylist()
        kept = sorted(
            Kept(row["number"], row["key"], Mark(row["picture"], row["truth"], None))
            for row in rows
        )
        start, stop = shard * self.size, (shard + 1) * self.size
        stop = stop if count is None else max(min(stop, count), start)
        numbers = [row.number for row in kept]
        short = last and count is None and len(numbers)
        if numbers != list(range(start, start + len(numbers) if short else stop)):
            raise ShardError(self.file("maps", shard), "does not hold all of its pictures, once")
        return kept

    def check_file(self, file: Path) -> None:
        """Check that a file is of this store and this shard.

        Raises:
            ShardError: If it is damaged, or of another run.
        """
        metadata, schema = metadata_of(file), schema_of(file)
        kind = file.name.split("-")[0]
        wanted = SKIPPED if kind == "skipped" else pa.schema(PLAIN.items())
        told = schema.metadata or {}
        if told.get(_MARK) != self._mark(_number(file)):
            raise ShardError(file, "belongs to another run", foreign=True)
        types = dict(zip(schema.names, schema.types, strict=True))
        fits = all(types.get(name) == wanted.field(name).type for name in wanted.names)
        fits &= all(types.get(name, kind) == kind for name, kind in TESTED.items())
        own = OF_TEXT if "text" in types else OF_VOLUME if "depth" in types else {}
        if kind == "maps" and metadata.num_rows and own:
            fits &= all(types.get(name) == kind for name, kind in own.items())
        elif kind == "maps" and metadata.num_rows:
            shaped = {name: types.get(name, pa.null()) for name in OF_TILES}
            fixed = all(map(pa.types.is_fixed_size_list, shaped.values()))
            fits &= fixed or shaped == OF_TILES
        if not fits or metadata.num_rows > self.size:
            raise ShardError(file, "has other columns than a store's")

    def _mark(self, shard: int) -> bytes:
        return f"{self.run} {shard}".encode()

    @contextlib.contextmanager
    def shard(self, number: int) -> Iterator[ShardWriter]:
        """Open a shard to write; it counts when the block ends well."""
        with _told(self.folder), open_whole(self.file("maps", number)) as file:
            mark = {_MARK: self._mark(number)}
            writer = ShardWriter(file, mark)
            try:
                yield writer
                writer.close()
            finally:
                writer.abandon()
            skipped = self.file("skipped", number)
            skipped.unlink(missing_ok=True)  # of a run that was killed here
            if writer.skipped:
                columns = [[*map(storable, column)] for column in zip(*writer.skipped, strict=True)]
                table = pa.table(columns, SKIPPED)
                with open_whole(skipped) as other:
                    pq.write_table(table.replace_schema_metadata(mark), other)


def _is_store(folder: Path) -> bool:
    file = folder / SETTINGS
    return file.exists() and "shard_size" in read_facts(file)


def _number(file: Path) -> int:
    """The number of the shard that a file of a store is named after; -1 of any other file."""
    named = re.fullmatch(r"(?:maps|skipped)-(\d{5,9})\.parquet", file.name)
    number = int(named[1]) if named else -1
    return number if named and f"{number:05d}" == named[1] else -1


def _told(folder: Path) -> contextlib.AbstractContextManager[None]:
    return told_if_full(f"The store {str(folder)!r}", "What is done is kept.")
