"""A store of maps as it is read: its table, and each row as an ``Explanation``."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tfcam import maps
from tfcam.data.example import Example, Skipped, Source
from tfcam.data.sources import open_data
from tfcam.findings import Finding, finding
from tfcam.images.loading import ImageError, is_prepared, load_image
from tfcam.preprocessing.prepare import displayed
from tfcam.results.explanation import Explanation
from tfcam.streaming.shards import SKIPPED, Shards, metadata_of
from tfcam.utils.run_folder import SETTINGS
from tfcam.utils.terminal_text import make_printable

# What a table of all rows leaves out: it may be larger than memory.
_LARGE = ("map", "messages")


def open_store(path: str | os.PathLike[str], *, data: Any = None) -> MapStore:
    """Read what ``tfcam.stream`` wrote.

    Args:
        path: The store's folder; one that is not finished yet shows what is done.
        data: Where the pictures are, as ``tfcam.stream`` took it. None looks where they were: a
            folder, files and data sets of tensorflow_datasets are found again, a
            ``tf.data.Dataset`` and arrays are not.

    Returns:
        A ``MapStore``.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no store, or ``data`` are others than those explained.

    Example:
        >>> import tempfile, tfcam
        >>> pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = tfcam.stream(tfcam.demo_model(), pictures, to=folder)
        ...     store = open_store(folder, data=pictures)
        ...     len(store), store[2].heatmap.shape, list(store.table["layer"].unique())
        (3, (128, 128), ['features'])
    """
    return MapStore(Path(path), data)


class MapStore:
    """The maps of a whole data set, in a folder; nothing is read before it is asked for.

    A row is an ``Explanation``: ``store[0]``, ``store["cat.jpg"]``, or one after another in a
    loop. Its picture is read anew. Where that is not to be had, it is grey, and a finding says so.

    Args:
        path: The folder.
        data: The data set, where it can't be found again by itself.

    Attributes:
        path: The folder.
        settings: What the store was made with.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no store, or ``data`` are others than those explained.
    """

    def __init__(self, path: Path, data: Any = None) -> None:
        self.path = path
        file = path / SETTINGS
        if not path.is_dir():
            raise FileNotFoundError(f"No store {str(path)!r}.")
        if not file.exists() or "shard_size" not in json.loads(file.read_text()):
            raise ValueError(
                f"{str(path)!r} holds no store of maps; give a folder of tfcam.stream."
            )
        self.settings: dict[str, Any] = json.loads(file.read_text())
        self._shards = Shards(path, self.settings["shard_size"])
        self._files = self._shards.files("maps")
        counts = [metadata_of(file).num_rows for file in self._files]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._data = data
        self._reader: tuple[int, Iterator[Example | Skipped]] | None = None
        self._groups = functools.lru_cache(maxsize=64)(self._count_groups)
        self._read = functools.lru_cache(maxsize=2)(self._read_group)
        if data is not None and self._source is not None:
            self._check(self._source)

    @property
    def finished(self) -> bool:
        """Whether all of the data is done."""
        return self._shards.finished is not None

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __repr__(self) -> str:
        state = "" if self.finished else ", not finished: run the same again to go on"
        skipped = self._shards.count("skipped")
        left = f", {skipped} left out" if skipped else ""
        where, how = self.settings["layer"] or "the input", self.settings["method"]
        text = f"Store of {len(self)} maps{left} by {how} at {where} in {str(self.path)!r}{state}"
        return make_printable(text)

    @property
    def dataset(self) -> ds.Dataset:
        """All rows as a ``pyarrow.dataset.Dataset``: for filters, and what is too large at once."""
        schemas = [pq.read_schema(file) for file in self._files]
        own = max(schemas, key=len, default=pa.schema([]))  # without the map where all is left out
        return ds.dataset([str(file) for file in self._files], own, format="parquet")

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """All rows without their maps, as a pandas DataFrame; read when first asked for."""
        names = [name for name in self.dataset.schema.names if name not in _LARGE]
        return self.dataset.to_table(columns=names).to_pandas()

    @functools.cached_property
    def skipped(self) -> pd.DataFrame:
        """The pictures that could not be explained, and why."""
        parts = [pq.read_table(file) for file in self._shards.files("skipped")]
        return pa.concat_tables([SKIPPED.empty_table(), *parts]).to_pandas()

    @property
    def raws(self) -> np.ndarray:
        """(N, h, w) float32, or (N, h, w, C) of pixels: the raw signed maps of all rows."""
        if not len(self):
            return np.zeros((0, 0, 0), np.float32)
        table = self.dataset.to_table(columns=["map", "shape"])
        shape = table["shape"][0].as_py()
        flat = table["map"].combine_chunks()
        return flat.flatten().to_numpy().reshape(len(self), *shape)

    def __iter__(self) -> Iterator[Explanation]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int | str) -> Explanation:
        """Explain a row, by its number or its key.

        Raises:
            IndexError: If there is no such row.
            KeyError: If there is no such key.
        """
        return self.explanation(row)

    def explanation(self, row: int | str, image: Any = None) -> Explanation:
        """Make the explanation of a row.

        Args:
            row: Its number or its key.
            image: Its picture, as ``tfcam.explain`` takes it; None reads it anew.

        Raises:
            IndexError: If there is no such row.
            KeyError: If there is no such key.
            ValueError: If the picture has another size than the one explained.
        """
        table, at = self._find(row)
        values = {name: table[name][at].as_py() for name in table.column_names if name != "map"}
        facts = json.loads(table.schema.metadata[b"tfcam"])
        raw = table["map"].chunk(0).slice(at, 1).flatten().to_numpy().reshape(values["shape"])
        size = (values["height"], values["width"])
        findings = [
            Finding(*texts) for texts in zip(values["findings"], values["messages"], strict=True)
        ]
        picture = self._picture(values["number"]) if image is None else _pixels(image)
        if picture is None:
            findings.append(finding("no_picture", key=values["key"]))
            picture = np.full((*size, 3), 128, np.uint8)
        if picture.shape[:2] != size:
            raise ValueError(
                f"The picture of {values['key']!r} must have the size that was explained, {size}; "
                f"it has {picture.shape[:2]}."
            )
        empty = "not_finite" in values["findings"]
        shown = np.abs(raw) if self.settings["pixels"] else raw
        return Explanation(
            heatmap=np.zeros(size, np.float32) if empty else maps.heatmap(shown, size),
            raw=raw.copy(),
            image=picture,
            findings=tuple(findings),
            measured=dict(values["measured"]),
            **{
                name: values[name]
                for name in (
                    "target",
                    "label",
                    "score",
                    "score_kind",
                    "probability",
                    "layer",
                    "method",
                )
            },
            **facts,
        )

    def _find(self, row: int | str) -> tuple[pa.Table, int]:
        """Find the part of a file that holds a row, and where in it."""
        place = self._row_of(row) if isinstance(row, str) else int(row)
        if not -len(self) <= place < len(self):
            raise IndexError(f"The store has {len(self)} rows; there is no row {row}.")
        place %= len(self)
        shard = int(np.searchsorted(self._ends, place, side="right"))
        place -= int(self._ends[shard - 1]) if shard else 0
        for group, count in enumerate(self._groups(shard)):
            if place < count:
                return self._read(shard, group), place
            place -= count
        raise IndexError(f"The store has no row {row}.")

    def _row_of(self, key: str) -> int:
        """Find the first row of a key: only keys are read."""
        keys = self.dataset.to_table(columns=["key"])["key"]
        row = keys.index(key).as_py()
        if row < 0:
            known = self.skipped.loc[self.skipped["key"] == key, "reason"]
            why = f"it was left out: {known.iloc[0]}" if len(known) else "there is none in the data"
            raise KeyError(f"The store has no row {key!r}: {why}")
        return row

    def _count_groups(self, shard: int) -> list[int]:
        """Count the rows of each part of a file."""
        groups = metadata_of(self._files[shard])
        return [groups.row_group(group).num_rows for group in range(groups.num_row_groups)]

    def _read_group(self, shard: int, group: int) -> pa.Table:
        with pq.ParquetFile(self._files[shard]) as file:
            return file.read_row_group(group).combine_chunks()

    # --- the pictures -----------------------------------------------------------------------

    @functools.cached_property
    def _source(self) -> Source | None:
        place = self.settings["place"]
        try:
            if self._data is not None:
                return open_data(self._data, **_options(place), floats=True)
            source = None if place is None else open_data(floats=True, **place)
        except (ValueError, OSError):
            if self._data is not None:
                raise
            return None  # moved, or another machine: the maps can be had without
        return source if source is not None and source.key == self._key else None

    @property
    def _key(self) -> str:
        return self.settings["pictures_digest"]

    def _check(self, source: Source) -> None:
        if source.key != self._key:
            raise ValueError(
                f"data must be those that were explained, {self.settings['data']}; these are "
                f"others: {source.name}."
            )

    def _picture(self, number: int) -> np.ndarray | None:
        if self._source is None:
            return None
        example = self._source.item(number) if self._source.item else self._next(number)
        return None if isinstance(example, Skipped) else _pixels(example.image)

    def _next(self, number: int) -> Example | Skipped:
        """Read a picture of data that can be read in order only: on from the last one asked for."""
        assert self._source is not None
        if self._reader is None or number < self._reader[0]:
            self._reader = (number, self._source.read(number))
        at, reader = self._reader
        for _ in range(number - at):
            next(reader)
        self._reader = (number + 1, reader)
        return next(reader)


def _options(place: dict[str, Any] | None) -> dict[str, Any]:
    """List what says which data are meant, besides their name."""
    return {name: value for name, value in (place or {}).items() if name != "data"}


def _pixels(image: Any) -> np.ndarray:
    if is_prepared(image):
        return displayed(image)
    try:
        return load_image(image)
    except ImageError as error:
        raise ValueError(f"image must be a picture: {error}") from None
