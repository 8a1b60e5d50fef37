"""A store of maps as it is read: its table, and each row as an ``Explanation``."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from tfcam import maps
from tfcam.findings import Finding, finding
from tfcam.images.kinds import ImageError
from tfcam.images.loading import is_prepared, load_image
from tfcam.maps.scaling import shown_values
from tfcam.preprocessing.prepare import FLOATS_AS_PIXELS, displayed, rounded
from tfcam.results.explanation import Explanation
from tfcam.results.tile_cells import tile_cell
from tfcam.streaming.shard_files import (
    SKIPPED,
    metadata_of,
    open_parquet,
    read_table,
    readable,
    schema_of,
)
from tfcam.streaming.shards import Shards
from tfcam.streaming.store_data import StoreData
from tfcam.streaming.store_settings import check_settings
from tfcam.streaming.text_rows import padded, text_values
from tfcam.streaming.volume_rows import padded_volumes, shown_volume
from tfcam.utils.paths import as_path
from tfcam.utils.run_folder import SETTINGS, read_facts
from tfcam.utils.terminal_text import printable_lines

# What a table of all rows leaves out: it may be larger than memory.
_LARGE = ("map", "messages", "spans", "numbers")


# No picture has more: somebody else may have written the store.
_MOST_PIXELS = 2**28


_FACTS = {"layer_reason": str, "preprocessing": str, "options": dict, "versions": dict}


def open_store(path: str | os.PathLike[str], *, data: Any = None, follow: bool = False) -> MapStore:
    """Read what ``tfcam.stream`` wrote.

    Args:
        path: The store's folder; one that is not finished yet shows what is done.
        data: Where the pictures are, as ``tfcam.stream`` took it.
        follow: Without ``data``, look for the pictures where the store says that they were: a
            folder, or a data set of tensorflow_datasets. Of a store that somebody else made that
            is a place on your machine that they chose.

    Returns:
        A ``MapStore``.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no store, a file of it is damaged, or ``data`` are others than those
            explained.

    Example:
        >>> import tempfile, tfcam
        >>> pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = tfcam.stream(tfcam.demo_model(), pictures, to=folder)
        ...     store = open_store(folder, data=pictures)
        ...     len(store), store[2].heatmap.shape, list(store.table["layer"].unique())
        (3, (128, 128), ['features'])
    """
    store = MapStore(as_path(path), data, follow)
    if data is not None and len(store):
        store[0]  # so that other pictures are told at once
    return store


class MapStore:
    """The maps of a whole data set, in a folder; nothing is read before it is asked for.

    A row is an ``Explanation``: ``store[0]``, ``store["cat.jpg"]``, or one after another in a
    loop. Its picture is read anew, and shown where it is the one that was explained. Where that is
    not to be had, it is grey, and a finding says so. A text and its words are in the store.

    Args:
        path: The folder.
        data: The data set.
        follow: Whether it is looked for where the store says that it was.

    Attributes:
        path: The folder.
        settings: What the store was made with.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no store, a file of it is damaged, or ``data`` are others than those
            explained.
    """

    def __init__(self, path: Path, data: Any = None, follow: bool = False) -> None:
        self.path = path
        file = path / SETTINGS
        if not path.is_dir():
            raise FileNotFoundError(f"No store {str(path)!r}.")
        if not file.exists() or "shard_size" not in read_facts(file):
            told = f"{str(path)!r} holds no store of maps; give a folder of tfcam.stream."
            if any(path.glob("maps-*.parquet")):
                told += f" Of its maps {SETTINGS} is missing, or another's: put a copy back."
            raise ValueError(told)
        self.settings = check_settings(read_facts(file), file)
        self._shards = Shards(path, self.settings["shard_size"])
        self._files = self._shards.files("maps")
        for file in (*self._files, *self._shards.files("skipped")):
            self._shards.check_file(file)
        counts = [metadata_of(file).num_rows for file in self._files]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._groups = functools.lru_cache(maxsize=64)(self._count_groups)
        self._read = functools.lru_cache(maxsize=2)(self._read_group)
        self._data = StoreData(self.settings, data, follow)

    @property
    def finished(self) -> bool:
        """Whether all of the data is done."""
        return self._shards.finished

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __repr__(self) -> str:
        state = "" if self.finished else ", not finished: run the same again to go on"
        skipped = self._shards.count("skipped")
        left = f", {skipped} left out" if skipped else ""
        others = self._shards.strangers()
        state += f"; not of the store: {', '.join(others)}" if others else ""
        where, how = self.settings["layer"] or "the input", self.settings["method"]
        text = f"Store of {len(self)} maps{left} by {how} at {where} in {str(self.path)!r}{state}"
        return printable_lines([text])

    @property
    def dataset(self) -> ds.Dataset:
        """All rows as a ``pyarrow.dataset.Dataset``: for filters, and what is too large at once."""
        schemas = [schema_of(file) for file in self._files]
        own = max(schemas, key=len, default=pa.schema([]))  # without the map where all is left out
        return ds.dataset([str(file) for file in self._files], own, format="parquet")

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """All rows without their maps, as a pandas DataFrame; read when first asked for."""
        names = [name for name in self.dataset.schema.names if name not in _LARGE]
        return self._columns(names).to_pandas()

    @functools.cached_property
    def skipped(self) -> pd.DataFrame:
        """The pictures that could not be explained, and why."""
        parts = [read_table(file, SKIPPED.names) for file in self._shards.files("skipped")]
        return pa.concat_tables([SKIPPED.empty_table(), *parts]).to_pandas()

    @property
    def raws(self) -> np.ndarray:
        """(N, h, w) float32, or (N, h, w, C) of pixels: the raw signed maps of all rows.

        Of videos and volumes (N, d, h, w), of texts (N, W), for the most frames or words that one
        has, of pictures in tiles for the largest: NaN behind the last of the others.
        """
        if not len(self):
            return np.zeros((0, 0, 0), np.float32)
        if self._data.volumes is not None or self.settings.get("tile") is not None:
            return padded_volumes(self._columns(["map", "shape"]))
        if self._data.of_texts:
            return padded(self._columns(["map"])["map"])
        table = self._columns(["map", "shape"])
        shape = table["shape"][0].as_py()
        flat = table["map"].combine_chunks()
        return flat.flatten().to_numpy().reshape(len(self), *shape)

    def _columns(self, names: Sequence[str]) -> pa.Table:
        """Read columns of all rows; what is damaged is named."""
        own = pa.schema([self.dataset.schema.field(name) for name in names])
        parts = [
            read_table(file, names).replace_schema_metadata(None)
            for file, count in zip(self._files, np.diff(self._ends, prepend=0), strict=True)
            if count
        ]
        return pa.concat_tables([own.remove_metadata().empty_table(), *parts])

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
            image: Its picture, as ``tfcam.explain`` takes it; None reads it anew. Not of a text.

        Raises:
            IndexError: If there is no such row.
            KeyError: If there is no such key.
            ValueError: If the picture has another size than the one explained.
        """
        table, at = self._find(row)
        values = {name: table[name][at].as_py() for name in table.column_names if name != "map"}
        facts = self._facts(table)
        flat = table["map"].chunk(0).slice(at, 1).flatten().to_numpy()
        findings = [
            Finding(*texts) for texts in zip(values["findings"], values["messages"], strict=True)
        ]
        if "text" in values:
            self._data.example(values)  # tells another text
            told = text_values(values, flat, self.path)
            raw, size = flat, flat.shape
        elif self._data.volumes is not None:
            size = (values["depth"], values["height"], values["width"])
            raw = self._folded(values, flat, size)
            given = image if image is not None else self._image_of(values)
            findings += [finding("no_picture", key=values["key"])] if given is None else []
            told = {"image": shown_volume(given, self._data.volumes, size, values["key"])}
        else:
            size = (values["height"], values["width"])
            raw = self._folded(values, flat, size)
            window = self.settings.get("picture_window")
            if image is not None and window is not None:
                image = load_image(image, window=window)
            image = self._image_of(values) if image is None else image
            if image is None:
                findings.append(finding("no_picture", key=values["key"]))
                image = np.full((*size, 3), 128, np.uint8)
            as_pixels = facts["preprocessing"].startswith(FLOATS_AS_PIXELS)
            picture = _pixels(image, size, as_pixels)
            if picture.shape[:2] != size:
                raise ValueError(
                    f"The picture of {values['key']!r} must have the size that was explained, "
                    f"{size}; it has {picture.shape[:2]}."
                )
            told = {"image": picture}
        empty = "not_finite" in values["findings"]
        shown = shown_values(raw, self.settings["shown"])
        cell = self._cell(values, facts["options"], size)
        return Explanation(
            heatmap=np.zeros(size, np.float32) if empty else maps.heatmap(shown, size, cell),
            raw=raw.copy(),
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
            **told,
        )

    def _image_of(self, values: Mapping[str, Any]) -> np.ndarray | None:
        """Read what a row explains anew; None where it is not to be had."""
        example = self._data.example(values)
        return None if example is None else example.image

    def _folded(
        self, values: Mapping[str, Any], flat: np.ndarray, size: tuple[int, ...]
    ) -> np.ndarray:
        """Give a picture's map its shape."""
        if math.prod(values["shape"]) != flat.size or not 0 < math.prod(size) <= _MOST_PIXELS:
            raise ValueError(
                f"The row of {values['key']!r} in {str(self.path)!r} is damaged: {flat.size} "
                f"values of shape {values['shape']}, of a picture of {size}."
            )
        return flat.reshape(values["shape"])

    def _cell(
        self, values: Mapping[str, Any], options: Mapping[str, Any], size: tuple[int, ...]
    ) -> Sequence[int] | None:
        """How many pixels a cell of a map of tiles has; None of other maps."""
        try:
            return None if "shape" not in values else tile_cell(options, values["shape"], size)
        except ValueError as error:
            where = f"The row of {values['key']!r} in {str(self.path)!r} is damaged: "
            raise ValueError(f"{where}{error}") from None

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
        row = self._columns(["key"])["key"].index(key).as_py()
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
        file = self._files[shard]
        with readable(file), open_parquet(file) as parquet:
            return parquet.read_row_group(group).combine_chunks()

    def _facts(self, table: pa.Table) -> dict[str, Any]:
        """What all rows of a file have in common."""
        try:
            facts = json.loads(table.schema.metadata[b"tfcam"])
            if {name: type(value) for name, value in facts.items()} == _FACTS:
                return facts
        except (KeyError, ValueError, RecursionError, AttributeError):
            pass
        raise ValueError(f"A file of {str(self.path)!r} does not say how its maps were made.")


def _pixels(image: Any, size: tuple[int, int], as_pixels: bool) -> np.ndarray:
    """A picture to show; one in a row of values has the size that was explained.

    Args:
        image: As it is given.
        size: (height, width) that was explained.
        as_pixels: Whether floats were taken as pixels of 0..255.
    """
    if len(getattr(image, "shape", ())) == 1 and image.size % math.prod(size) == 0:
        image = image.reshape(*size, -1)
    if is_prepared(image):
        image = image[..., np.newaxis] if image.ndim == 2 else image
        if image.shape[:2] != size == image.shape[1:]:
            image = np.moveaxis(image, 0, -1)
        return load_image(rounded(image)) if as_pixels else displayed(image)
    try:
        return load_image(image)
    except ImageError as error:
        raise ValueError(f"image must be a picture: {error}") from None
