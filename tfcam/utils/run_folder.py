"""A folder that a run keeps its settings in, so that it can be continued."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfcam.utils.files import write_whole

SETTINGS, STATE = "settings.json", "state.npz"


def make_folder(folder: Path) -> None:
    """Make a folder to keep things in.

    Raises:
        ValueError: If it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"to must be a folder; {str(folder)!r} is a file.")
    folder.mkdir(parents=True, exist_ok=True)


def keep_settings(
    folder: Path, settings: Mapping[str, Any], what: str, changing: Sequence[str] = ()
) -> None:
    """Note the settings of a run in its folder, or check that they are those of the run there.

    Args:
        folder: Where it is kept; what a run that was killed left half written is no matter.
        settings: As JSON can hold them.
        what: What the folder holds, as in "an evaluation".
        changing: The names of settings that may be others.

    Raises:
        ValueError: If the folder holds a run with other settings, or something else.
    """
    file = folder / SETTINGS
    if not file.exists():
        if any(not file.name.startswith(".") for file in folder.iterdir()):
            raise ValueError(
                f"The folder {str(folder)!r} must be empty or hold {what}; it holds something else."
            )
        write_whole(file, json.dumps(settings, indent=2).encode())
        return
    old, new = json.loads(file.read_text()), json.loads(json.dumps(settings))
    names = [key for key in {**old, **new} if key not in changing]
    differing = [key for key in names if old.get(key) != new.get(key)]
    if differing:
        changes = "; ".join(
            f"{key}: {_short(old.get(key))} there, {_short(new.get(key))} now" for key in differing
        )
        raise ValueError(
            f"The folder {str(folder)!r} holds {what} with other settings ({changes}). "
            "Give another folder, or the same settings."
        )


def _short(value: Any) -> str:
    return f"{value!r:.80}"
