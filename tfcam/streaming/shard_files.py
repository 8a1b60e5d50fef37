"""One file of a store of maps: its rows as columns, its writer, and how it is read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfcam.data.example import Mark
from tfcam.data.marks import label_text
from tfcam.results.explanation import Explanation
from tfcam.utils.files import check_is_file, storable

# As much is collected before it goes to the file, in bytes of maps.
_FLUSHED = 16 * 2**20


SKIPPED = pa.schema(
    [
        ("number", pa.int64()),
        *((name, pa.string()) for name in ("key", "reason", "picture", "truth")),
    ]
)


PLAIN = {
    "number": pa.int64(),
    "key": pa.string(),
    "picture": pa.string(),
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


# The columns of a run of texts, whose maps have a value for each word: "numbers" is the first
# number of each, "spans" start and end of one after the other. Height, width, box are of pictures.
OF_TEXT = {
    "text": pa.string(),
    "words": pa.list_(pa.string()),
    "spans": pa.list_(pa.int32()),
    "numbers": pa.list_(pa.int64()),
    "map": pa.list_(pa.float32()),
}


# The columns of a run of videos or volumes, whose maps have a shape each: (depth, height, width).
OF_VOLUME = {
    "depth": pa.int32(),
    "map": pa.list_(pa.float32()),
    "shape": pa.list_(pa.int32()),
}


# The columns of maps of tiles, which are as large as their pictures are.
OF_TILES = {
    "map": pa.list_(pa.float32()),
    "shape": pa.list_(pa.int32()),
}


# The columns of a run that tests its maps.
TESTED = {"verdict": pa.string(), "p_value": pa.float64()}


@dataclass(frozen=True)
class Row:
    """One picture's row.

    Attributes:
        number: Its place in the data.
        key: Its name.
        mark: What tells it from others, and its label in the data.
        explanation: What is kept of it but the picture and the heatmap.
        tested: The values of the columns ``TESTED``, where maps are tested.
    """

    number: int
    key: str
    mark: Mark
    explanation: Explanation
    tested: Mapping[str, Any] = field(default_factory=dict)


class SkippedRow(NamedTuple):
    """A picture that could not be explained: its place in the data, its name, why, and its mark."""

    number: int
    key: str
    reason: str
    picture: str
    truth: str | None


class ShardError(ValueError):
    """A file of a store is damaged, incomplete, or of another run; the message says what to do."""

    def __init__(self, file: Path, why: str, foreign: bool = False) -> None:
        self.file, self.foreign = file, foreign
        do = "Move it away" if foreign else "Delete it"
        super().__init__(
            f"{str(file)!r} {why}. {do} and run the same again: its pictures are then explained "
            "anew, and no others."
        )


class ShardWriter:
    """One shard while it is written."""

    def __init__(self, file: BinaryIO, mark: dict[bytes, bytes]) -> None:
        self._file, self._mark = file, mark
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self.skipped: list[SkippedRow] = []

    def add(self, rows: Sequence[Row]) -> None:
        """Add the rows of a batch."""
        if not rows:
            return
        table = table_of(rows)
        if self._writer is None:
            self._writer = self._open(table.schema)
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
            self._writer = self._open(pa.schema(PLAIN.items()))
        self._writer.close()

    def _open(self, schema: pa.Schema) -> pq.ParquetWriter:
        told = schema.with_metadata({**(schema.metadata or {}), **self._mark})
        # With a sum of each page: else a bit that has changed would be another map.
        return pq.ParquetWriter(self._file, told, compression="zstd", write_page_checksum=True)

    def abandon(self) -> None:
        """Let go of the file, as it is."""
        if self._writer is not None:
            self._writer.is_open = False  # else it would write its end when it is deleted


def kept_of(mark: Mark) -> tuple[str, str | None]:
    """What a store keeps of a mark: the columns "picture" and "truth"."""
    return mark.picture, label_text(mark.label)


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Lay rows out as in a file; what is the same for all of them is in its metadata."""
    first = rows[0].explanation
    own = OF_TEXT if first.text else OF_VOLUME if first.heatmap.ndim == 3 else {}
    own = OF_TILES if "tile" in first.options else own
    kinds = PLAIN | {name: TESTED[name] for name in rows[0].tested} | own
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    for row in rows:
        for name, value in {**_values(row), **row.tested}.items():
            columns[name].append(storable(value))
    arrays = {name: pa.array(values, kinds[name]) for name, values in columns.items()}
    if not own:
        arrays |= _maps_of([row.explanation.raw for row in rows])
    facts = {
        "layer_reason": first.layer_reason,
        "preprocessing": first.preprocessing,
        "options": first.options,
        "versions": first.versions,
    }
    table = pa.table(arrays)
    return table.replace_schema_metadata({"tfcam": json.dumps(facts)})


def _maps_of(raws: Sequence[np.ndarray]) -> dict[str, pa.Array]:
    """The columns of maps that have one shape."""
    if sizes := [raw.shape for raw in raws if raw.shape != raws[0].shape]:
        raise ValueError(f"All maps of a store must have one shape; got {raws[0].shape}, {sizes}.")
    flat = pa.array(np.concatenate([raw.astype(np.float32).ravel() for raw in raws]))
    shapes = pa.array(np.tile(np.array(raws[0].shape, np.int32), len(raws)))
    return {
        "map": pa.FixedSizeListArray.from_arrays(flat, raws[0].size),
        "shape": pa.FixedSizeListArray.from_arrays(shapes, raws[0].ndim),
    }


def _values(row: Row) -> dict[str, Any]:
    explanation = row.explanation
    return {
        "number": row.number,
        "key": row.key,
        "picture": row.mark.picture,
        "truth": label_text(row.mark.label),
        "target": explanation.target,
        "label": explanation.label,
        "score": explanation.score,
        "score_kind": explanation.score_kind,
        "probability": explanation.probability,
        "layer": explanation.layer,
        "method": explanation.method,
        "findings": [finding.code for finding in explanation.findings],
        "messages": [finding.message for finding in explanation.findings],
        "measured": list(explanation.measured.items()),
        **_own_values(explanation),
    }


def _own_values(explanation: Explanation) -> dict[str, Any]:
    if explanation.text:
        return _of_text(explanation)
    if explanation.heatmap.ndim == 3:
        return _of_volume(explanation)
    return _of_picture(explanation)


def _of_volume(explanation: Explanation) -> dict[str, Any]:
    sides = dict(zip(("depth", "height", "width"), explanation.heatmap.shape, strict=True))
    raw = explanation.raw.astype(np.float32)
    return {**sides, "box": None, "map": raw.ravel(), "shape": raw.shape}


def _of_picture(explanation: Explanation) -> dict[str, Any]:
    boxes = explanation.boxes()
    height, width = explanation.heatmap.shape
    values = {"height": height, "width": width, "box": boxes[0] if len(boxes) else None}
    if "tile" not in explanation.options:
        return values
    raw = explanation.raw.astype(np.float32)
    return {**values, "map": raw.ravel(), "shape": raw.shape}


def _of_text(explanation: Explanation) -> dict[str, Any]:
    return {
        "height": None,
        "width": None,
        "box": None,
        "text": explanation.text,
        "words": explanation.words,
        "spans": [side for span in explanation.spans for side in span],
        "numbers": explanation.image,
        "map": explanation.raw.astype(np.float32),
    }


def metadata_of(file: Path) -> pq.FileMetaData:
    """Read what a Parquet file says of itself.

    Raises:
        ShardError: If it is damaged.
    """
    with readable(file):
        return pq.read_metadata(file)


def schema_of(file: Path) -> pa.Schema:
    """Read the columns of a Parquet file.

    Raises:
        ShardError: If it is damaged.
    """
    with readable(file):
        return pq.read_schema(file)


def read_table(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or some of its columns.

    Raises:
        ShardError: If it is damaged.
    """
    with readable(file), open_parquet(file) as parquet:
        return parquet.read(columns)


def open_parquet(file: Path) -> pq.ParquetFile:
    """Open a Parquet file whose pages are compared with their sums."""
    return pq.ParquetFile(file, page_checksum_verification=True)


@contextlib.contextmanager
def readable(file: Path) -> Iterator[None]:
    """Say of a file that can't be read which it is, and what to do.

    Raises:
        ShardError: If it is damaged.
    """
    try:
        check_is_file(file)
        yield
    except (pa.ArrowException, OSError, KeyError) as error:
        why = " ".join(str(error).split())
        raise ShardError(file, f"is damaged ({why:.200})") from None
