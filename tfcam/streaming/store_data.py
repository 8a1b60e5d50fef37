"""The data that a store was made of: its pictures or texts, compared with what is kept of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from tfcam.data.example import OF_VOLUMES, Example, Skipped, Source, kind_of_unit
from tfcam.data.marks import mark_at
from tfcam.data.sources import open_data
from tfcam.data.volumes import VolumeForm
from tfcam.streaming.texts import TEXTS_OF_SEGMENTS, open_texts


class StoreData:
    """What a store was made of, where it is at hand.

    Args:
        settings: The store's.
        data: What a user gives; None for nothing.
        follow: Whether it is looked for where the settings say that it was.

    Attributes:
        of_texts: Whether these are texts.
        volumes: The form of videos and volumes; None of others.

    Raises:
        ValueError: If what a user gives are others.
    """

    def __init__(self, settings: Mapping[str, Any], data: Any, follow: bool) -> None:
        self._settings, self._data, self._follow = settings, data, follow
        unit = settings.get("unit")
        self._kind = kind_of_unit(unit)
        self.of_texts = self._kind == "text"
        self.volumes: VolumeForm | None = None
        if unit in OF_VOLUMES:
            self.volumes = VolumeForm.of_described(settings["volume"])
        self._reader: tuple[int, Iterator[Example | Skipped]] | None = None
        source = None if data is None else self._source
        if source is not None and source.key != settings["pictures_digest"]:
            raise ValueError(
                f"data must be those that were explained, {settings['data']}; these are "
                f"others: {source.name}."
            )

    @functools.cached_property
    def _source(self) -> Source | None:
        place = self._settings["place"] or {}
        window = self._settings.get("picture_window")
        if self._data is not None:  # paths that the store names are not followed
            known = {"split": place["split"]} if "split" in place else {}
            if self.of_texts:
                return open_texts(self._data, self._settings["unit"] == TEXTS_OF_SEGMENTS)
            return open_data(self._data, **known, floats=True, window=window, volumes=self.volumes)
        if not self._follow or "://" in place.get("data", "://"):
            return None
        try:
            source = open_data(floats=True, window=window, **place)
        except (ValueError, OSError):
            return None  # moved, or another machine: the maps can be had without
        return source if source.key == self._settings["pictures_digest"] else None

    def example(self, row: Mapping[str, Any]) -> Example | None:
        """Read the example of a row anew, if it is the one that was explained.

        Args:
            row: The columns of the row.

        Raises:
            ValueError: If the user's data hold another in its place.
        """
        source, number = self._source, row["number"]
        if source is None:
            return None
        example = source.item(number) if source.item else self._next(source, number)
        if mark_at(source, number, example).picture == row["picture"]:
            return None if isinstance(example, Skipped) else example
        if self._data is None:
            return None
        raise ValueError(
            f"data must be those that were explained, {self._settings['data']}; number {number}, "
            f"{row['key']!r}, is another {self._kind}. Give those, or "
            "open the store without data."
        )

    def _next(self, source: Source, number: int) -> Example | Skipped:
        """Read on from the last one asked for, of data that can be read in order only."""
        if self._reader is None or number < self._reader[0]:
            self._reader = (number, source.read(number))
        at, reader = self._reader
        for _ in range(number - at):
            next(reader)
        self._reader = (number + 1, reader)
        return next(reader)
