"""What has been measured so far, in a folder: a run that was stopped goes on where it was.

Rows are Parquet files, one for each batch; ``state.npz`` holds what is not a row and how many
batches are done. It is written last: a batch counts when its state is there, whole.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfcam.writing import write_whole

SETTINGS, _STATE = "settings.json", "state.npz"


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

    def read(self) -> tuple[list[pd.DataFrame], dict[str, np.ndarray]]:
        """The rows of the batches that are done, and the state; both empty at the start."""
        file = self._folder / _STATE
        if not file.exists():
            return [], {}
        with np.load(file, allow_pickle=False) as content:
            state = {name: content[name] for name in content.files}
        done = int(state.pop("batches"))
        return [pd.read_parquet(self._part(number)) for number in range(done)], state

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
        write_whole(self._folder / _STATE, stream.getvalue())

    def _part(self, number: int) -> Path:
        return self._folder / f"rows-{number:05d}.parquet"


def make_folder(folder: Path) -> None:
    """Make a folder to keep things in.

    Raises:
        ValueError: If it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"to must be a folder; {str(folder)!r} is a file.")
    folder.mkdir(parents=True, exist_ok=True)


def keep_settings(
    folder: Path, settings: Mapping[str, Any], what: str, told: Sequence[str] = ()
) -> None:
    """Note the settings of a run in its folder, or check that they are those of the run there.

    Args:
        folder: Where it is kept; what a run that was killed left half written is no matter.
        settings: As JSON can hold them.
        what: What the folder holds, as in "an evaluation".
        told: Settings that may be others.

    Raises:
        ValueError: If the folder holds a run with other settings, or something else.
    """
    file = folder / SETTINGS
    if not file.exists():
        if any(not each.name.startswith(".") for each in folder.iterdir()):
            raise ValueError(
                f"The folder {str(folder)!r} must be empty or hold {what}; it holds something else."
            )
        write_whole(file, json.dumps(settings, indent=2).encode())
        return
    known, given = json.loads(file.read_text()), json.loads(json.dumps(settings))
    names = [key for key in {**known, **given} if key not in told]
    differing = [key for key in names if known.get(key) != given.get(key)]
    if differing:
        said = "; ".join(
            f"{key}: {_short(known.get(key))} there, {_short(given.get(key))} now"
            for key in differing
        )
        raise ValueError(
            f"The folder {str(folder)!r} holds {what} with other settings ({said}). "
            "Give another folder, or the same settings."
        )


def digest(*arrays: Any) -> str:
    """What tells arrays from others, in 16 letters.

    Example:
        >>> digest(np.arange(3)) == digest(np.arange(3)) != digest(np.arange(4))
        True
    """
    found = hashlib.sha256()
    for each in arrays:
        array = np.ascontiguousarray(each)
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()[:16]


def _short(value: Any) -> str:
    return f"{value!r:.80}"
