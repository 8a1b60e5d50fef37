"""What has been measured so far, in a folder: a run that was stopped goes on where it was.

Rows are Parquet files, one for each batch; ``state.npz`` holds what is not a row and how many
batches are done. It is written last: a batch counts when its state is there, whole.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfcam.utils.files import write_whole
from tfcam.utils.run_folder import STATE, keep_settings, make_folder


class Stored(NamedTuple):
    """The rows of the batches that are done, and the state after them; both empty at the start."""

    batches: list[pd.DataFrame]
    state: dict[str, np.ndarray]


class Store:
    """A folder that a run is kept in.

    Args:
        folder: Made where there is none.
        settings: What the run depends on, as JSON can hold it.

    Raises:
        ValueError: If the folder holds a run with other settings, or something else.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder = folder
        make_folder(folder)
        keep_settings(folder, settings, "an evaluation")

    def read(self) -> Stored:
        """Read what is done."""
        file = self._folder / STATE
        if not file.exists():
            return Stored([], {})
        with np.load(file, allow_pickle=False) as content:
            state = {name: content[name] for name in content.files}
        done = int(state.pop("batches"))
        return Stored([pd.read_parquet(self._part(number)) for number in range(done)], state)

    def write(self, number: int, rows: pd.DataFrame, state: dict[str, np.ndarray]) -> None:
        """Add a batch.

        Args:
            number: Which one, from 0.
            rows: Its rows.
            state: The state after it.
        """
        stream = io.BytesIO()
        rows.to_parquet(stream, index=False)
        write_whole(self._part(number), stream.getvalue())
        stream = io.BytesIO()
        np.savez_compressed(stream, batches=np.array(number + 1), **state)  # type: ignore[arg-type]
        write_whole(self._folder / STATE, stream.getvalue())

    def _part(self, number: int) -> Path:
        return self._folder / f"rows-{number:05d}.parquet"
