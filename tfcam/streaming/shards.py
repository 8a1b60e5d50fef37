"""The files of a store of maps while it is made: shards that are there whole or not at all.

Shard ``k`` is of the pictures ``k * shard_size`` up to the next shard's first. What could not be
explained of it is written first, its maps last: a shard counts when its maps are there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfcam.results.explanation import Explanation
from tfcam.utils.files import open_whole, write_whole
from tfcam.utils.run_folder import SETTINGS, keep_settings, make_folder

_DONE = "done.json"


# What says where things are, not what they are: it may change between two runs.
TOLD = ("model", "place")


# As much is collected before it goes to the file, in bytes of maps.
_FLUSHED = 16 * 2**20


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


SKIPPED = pa.schema([("number", pa.int64()), ("key", pa.string()), ("reason", pa.string())])


_PLAIN = {
    "number": pa.int64(),
    "key": pa.string(),
    "truth": pa.string(),
    "target": pa.int32(),
    "label": pa.string(),
    "score": pa.float32(),
    "score_kind": pa.string(),
    "probability": pa.float32(),
    "layer": pa.string(),
    "method": pa.string(),
    "height": pa.int32(),
    "width": pa.int32(),
    "box": pa.list_(pa.float32(), 4),
    "findings": pa.list_(pa.string()),
    "messages": pa.list_(pa.string()),
    "measured": pa.map_(pa.string(), pa.float32()),
}


@dataclass(frozen=True)
class Row:
    """One picture's row.

    Attributes:
        number: Its place in the data.
        key: Its name.
        truth: Its label in the data, as text; None where it has none.
        explanation: What is kept of it but the picture and the heatmap.
    """

    number: int
    key: str
    truth: str | None
    explanation: Explanation


class SkippedRow(NamedTuple):
    """A picture that could not be explained: its place in the data, its name, and why."""

    number: int
    key: str
    reason: str


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
        make_folder(self.folder)
        lock = filelock.FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)  # the system lets go of it when the process is killed
        except filelock.Timeout:
            raise ValueError(
                f"Another run is writing to {str(self.folder)!r}: wait until it has ended, or give "
                "another folder."
            ) from None
        try:
            with _told(self.folder):
                if not self.done() and _is_store(self.folder):
                    for file in self.folder.glob("skipped-*.parquet"):
                        file.unlink()
                    (self.folder / SETTINGS).unlink()  # nothing was made with them
                keep_settings(self.folder, settings, "a store of maps", TOLD)
                self._clear()
            yield
        finally:
            self._clear()
            lock.release()

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
    def finished(self) -> dict[str, int] | None:
        """How many pictures there were in the end; None while some are left to do."""
        file = self.folder / _DONE
        return json.loads(file.read_text()) if file.exists() else None

    def finish(self) -> None:
        """Note that all is done."""
        counts = {"explained": self.count("maps"), "skipped": self.count("skipped")}
        with _told(self.folder):
            write_whole(self.folder / _DONE, json.dumps(counts).encode())

    def count(self, kind: str) -> int:
        """Count the rows of ``maps`` or ``skipped``."""
        return sum(metadata_of(file).num_rows for file in self.files(kind))

    def files(self, kind: str) -> list[Path]:
        """List the files of ``maps`` or ``skipped``, in order; only those of shards that count."""
        return [self.file(kind, shard) for shard in self.done() if self.file(kind, shard).exists()]

    def file(self, kind: str, shard: int) -> Path:
        return self.folder / f"{kind}-{shard:05d}.parquet"

    def done(self) -> list[int]:
        """List the shards that are whole."""
        return sorted(int(file.stem.split("-")[1]) for file in self.folder.glob("maps-*.parquet"))

    @contextlib.contextmanager
    def shard(self, number: int) -> Iterator[ShardWriter]:
        """Open a shard to write; it counts when the block ends well."""
        with _told(self.folder), open_whole(self.file("maps", number)) as file:
            writer = ShardWriter(file)
            try:
                yield writer
                writer.close()
            finally:
                writer.abandon()
            skipped = self.file("skipped", number)
            skipped.unlink(missing_ok=True)  # of a run that was killed here
            if writer.skipped:
                table = pa.table(list(map(list, zip(*writer.skipped, strict=True))), SKIPPED)
                with open_whole(skipped) as other:
                    pq.write_table(table, other)


class ShardWriter:
    """One shard while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self.skipped: list[SkippedRow] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Add the rows of a batch."""
        if not rows:
            return
        table = table_of(rows)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, table.schema, compression="zstd")
        self._waiting.append(table)
        if sum(table.nbytes for table in self._waiting) > _FLUSHED:
            self._flush()

    def _flush(self) -> None:
        if self._waiting and self._writer is not None:
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting = []

    def close(self) -> None:
        """Write what is left; of no row an empty table."""
        self._flush()
        if self._writer is None:
            empty = pa.schema(_PLAIN.items()).empty_table()
            self._writer = pq.ParquetWriter(self._file, empty.schema)
        self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, as it is."""
        if self._writer is not None:
            self._writer.is_open = False  # else it would write its end when it is deleted


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Lay rows out as in a file; what is the same for all of them is in its metadata."""
    columns: dict[str, list[Any]] = {name: [] for name in _PLAIN}
    for row in rows:
        for name, value in _values(row).items():
            columns[name].append(value)
    arrays = {name: pa.array(values, _PLAIN[name]) for name, values in columns.items()}
    first = rows[0].explanation
    raws = [row.explanation.raw for row in rows]
    if sizes := [raw.shape for raw in raws if raw.shape != raws[0].shape]:
        raise ValueError(f"All maps of a store must have one shape; got {raws[0].shape}, {sizes}.")
    flat = pa.array(np.concatenate([raw.astype(np.float32).ravel() for raw in raws]))
    arrays["map"] = pa.FixedSizeListArray.from_arrays(flat, raws[0].size)
    shapes = pa.array(np.tile(np.array(raws[0].shape, np.int32), len(raws)))
    arrays["shape"] = pa.FixedSizeListArray.from_arrays(shapes, raws[0].ndim)
    facts = {
        "layer_reason": first.layer_reason,
        "preprocessing": first.preprocessing,
        "options": first.options,
        "versions": first.versions,
    }
    table = pa.table(arrays)
    return table.replace_schema_metadata({"tfcam": json.dumps(facts)})


def _values(row: Row) -> dict[str, Any]:
    explanation = row.explanation
    boxes = explanation.boxes()
    height, width = explanation.heatmap.shape
    return {
        "number": row.number,
        "key": row.key,
        "truth": row.truth,
        "target": explanation.target,
        "label": explanation.label,
        "score": explanation.score,
        "score_kind": explanation.score_kind,
        "probability": explanation.probability,
        "layer": explanation.layer,
        "method": explanation.method,
        "height": height,
        "width": width,
        "box": boxes[0] if len(boxes) else None,
        "findings": [finding.code for finding in explanation.findings],
        "messages": [finding.message for finding in explanation.findings],
        "measured": list(explanation.measured.items()),
    }


def _is_store(folder: Path) -> bool:
    file = folder / SETTINGS
    return file.exists() and "shard_size" in json.loads(file.read_text())


def metadata_of(file: Path) -> pq.FileMetaData:
    """Read what a Parquet file says of itself.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{str(file)!r} is damaged ({error}). Delete it and run the same again: its pictures "
            "are then explained anew."
        ) from None


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say of a disk that is full what is kept and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(
            f"The store {str(folder)!r} could not be written: {os.strerror(error.errno)}. What is "
            "done is kept: make room and run the same again to go on."
        ) from None
