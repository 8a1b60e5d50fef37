"""A folder that keeps what has been measured: a run that was stopped goes on where it was.

Rows are Parquet files, one for each batch; ``state.npz`` holds what is not a row and how many
batches are done. It is written last: a batch counts when its state is there, whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from tfcam.utils.archive import Archived, save_archive
from tfcam.utils.files import open_whole
from tfcam.utils.run_folder import STATE, keep_settings, make_folder


class Stored(NamedTuple):
    """The rows of the batches that are done, and the state after them; both empty at the start."""

    batches: list[pd.DataFrame]
    state: dict[str, Any]


@dataclass(frozen=True, eq=False)
class State(Archived):
    """The state of a run: what is no row.

    Attributes:
        batches: The number of batches that are done.
        tally: What ``Tally.state`` gives.
    """

    batches: int
    tally: dict[str, Any]


class Store:
    """A folder that keeps a run.

    Args:
        folder: The folder, made where there is none.
        settings: What the run depends on, as JSON can hold it.

    Raises:
        ValueError: If the folder holds a run with other settings, or something else.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        make_folder(folder)
        keep_settings(folder, settings, "an evaluation")

    def read(self) -> Stored:
        """Read what is done.

        Raises:
            ValueError: If the state is damaged.
        """
        file = self._folder / STATE
        if not file.exists():
            return Stored([], {})
        try:
            state = State.load(file)
        except ValueError:
            raise ValueError(f"{str(file)!r} is damaged: begin anew in another folder.") from None
        rows = [pd.read_parquet(self._part(number)) for number in range(state.batches)]
        return Stored(rows, state.tally)

    def write(self, number: int, rows: pd.DataFrame, state: dict[str, Any]) -> None:
        """Add a batch.

        Args:
            number: The batch's number, from 0.
            rows: The batch's rows.
            state: The state after the batch.
        """
        with open_whole(self._part(number)) as file:
            rows.to_parquet(file, index=False)
        save_archive(self._folder / STATE, State(number + 1, state))

    def _part(self, number: int) -> Path:
        return self._folder / f"rows-{number:05d}.parquet"
