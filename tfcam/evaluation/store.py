"""A folder that keeps what has been measured: a run that was stopped goes on where it was.

Rows are Parquet files, one for each batch; ``state.npz`` holds what is not a row and how many
batches are done. It is written last: a batch counts when its state is there, whole.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tfcam.data.example import Mark
from tfcam.utils.archive import Archived, save_archive
from tfcam.utils.files import check_is_file, open_whole
from tfcam.utils.run_folder import STATE, keep_settings, make_folder, run_mark

# Where a file of rows says which pictures they are of, those without rows too.
_PICTURES = b"tfcam_pictures"
# And of which run and batch it is.
_MARK = b"tfcam_batch"


class Stored(NamedTuple):
    """What is done: nothing at the start.

    Attributes:
        batches: The rows of each batch.
        state: The state after them.
        pictures: The name and mark of each picture that is done, in order.
    """

    batches: list[pd.DataFrame]
    state: dict[str, Any]
    pictures: list[tuple[str, Mark]]


@dataclass(frozen=True, eq=False)
class State(Archived):
    """The state of a run: what is no row.

    Attributes:
        run: Of which run it is.
        batches: The number of batches that are done.
        tally: What ``Tally.state`` gives.
    """

    run: str
    batches: int
    tally: dict[str, Any]


class Store:
    """A folder that keeps a run.

    Args:
        folder: The folder, made where there is none.
        settings: What the run depends on, as JSON can hold it.

    Attributes:
        folder: The folder.

    Raises:
        ValueError: If the folder holds a run with other settings, or something else.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        make_folder(folder)
        keep_settings(folder, settings, "an evaluation")
        self._run = run_mark(folder)

    def read(self, columns: Sequence[str]) -> Stored:
        """Read what is done.

        Args:
            columns: Those of the rows.

        Raises:
            ValueError: If a file is damaged, missing or of something else.
        """
        file = self.folder / STATE
        if not file.exists():
            return Stored([], {}, [])
        with _whole(file):
            state = State.load(file)
            _check_own(state.run == self._run)
        stored = Stored([], state.tally, [])
        for number in range(state.batches):
            part = self._part(number)
            with _whole(part), pq.ParquetFile(part, page_checksum_verification=True) as parquet:
                table = parquet.read()
                _check_own(table.schema.metadata[_MARK] == self._mark(number))
                told = json.loads(table.schema.metadata[_PICTURES])
                stored.pictures.extend((name, Mark(*mark)) for name, mark in told)
                stored.batches.append(table.to_pandas()[list(columns)])
        return stored

    def write(
        self,
        number: int,
        rows: pd.DataFrame,
        state: dict[str, Any],
        pictures: Sequence[tuple[str, Mark]],
    ) -> None:
        """Add a batch.

        Args:
            number: The batch's number, from 0.
            rows: The batch's rows.
            state: The state after the batch.
            pictures: The name and mark of each picture of the batch.
        """
        table = pa.Table.from_pandas(rows, preserve_index=False)
        told = {**(table.schema.metadata or {}), _PICTURES: json.dumps(pictures)}
        told[_MARK] = self._mark(number)
        with open_whole(self._part(number)) as file:
            pq.write_table(table.replace_schema_metadata(told), file, write_page_checksum=True)
        save_archive(self.folder / STATE, State(self._run, number + 1, state))

    def _mark(self, number: int) -> bytes:
        return f"{self._run} {number}".encode()

    def _part(self, number: int) -> Path:
        return self.folder / f"rows-{number:05d}.parquet"


class _ForeignError(Exception):
    """A file belongs to another run, or to another batch."""


def _check_own(own: bool) -> None:
    if not own:
        raise _ForeignError


@contextlib.contextmanager
def _whole(file: Path) -> Iterator[None]:
    """Say of a file that can't be read which it is, and what to do."""
    try:
        check_is_file(file)
        yield
    except _ForeignError:
        raise ValueError(
            f"{str(file)!r} belongs to another run or another place: put its own back, or begin "
            "anew in another folder."
        ) from None
    except (ValueError, OSError, KeyError, TypeError, pa.ArrowException) as error:
        why = "missing" if isinstance(error, FileNotFoundError) else "damaged"
        raise ValueError(f"{str(file)!r} is {why}: begin anew in another folder.") from None
