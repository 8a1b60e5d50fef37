"""A folder that a run keeps its settings in, so that it can be continued."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from tfcam.utils.digest import digest_names
from tfcam.utils.files import check_is_file, write_whole

SETTINGS, STATE, _LOCK = "settings.json", "state.npz", ".lock"
AFTER = "_after"  # ends the name of a setting as it was when the run ended
_LARGEST = 16 * 2**20  # bytes of settings


def make_folder(folder: Path) -> None:
    """Make a folder to keep things in.

    Raises:
        ValueError: If it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"to must be a folder; {str(folder)!r} is a file.")
    if folder.is_symlink() and not folder.exists():
        raise ValueError(f"to must be a folder; {str(folder)!r} is a link to what is not there.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ValueError(
            f"to must be a folder; {str(folder)!r} can't be made, as {error.filename!r} is, or is "
            "in, a file."
        ) from None


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other runs out of it.

    Raises:
        ValueError: If another run is at work there.
    """
    make_folder(folder)
    file = folder / _LOCK
    if file.is_symlink():
        raise ValueError(f"{str(file)!r} must be no link: it would be written to. Remove it.")
    if file.exists() and not file.is_file():
        raise ValueError(f"{str(file)!r} must be a file; it is a folder, a pipe or a device.")
    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=0)  # the system lets go of it when the process is killed
    except filelock.Timeout:
        raise ValueError(
            f"Another run is writing to {str(folder)!r}: wait until it has ended, or give another "
            "folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


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
                f"The folder {str(folder)!r} must be empty or hold {what}; it holds something "
                f"else, or its {SETTINGS} is gone: put a copy back, or give another folder."
            )
        write_whole(file, json.dumps(settings, indent=2).encode())
        return
    old, new = read_facts(file), json.loads(json.dumps(settings))
    names = [key for key in {**old, **new} if key not in changing]
    differing = [
        key
        for key in names
        if not key.endswith(AFTER) and new.get(key) not in (old.get(key), old.get(key + AFTER, ...))
    ]
    if differing:
        changes = "; ".join(
            f"{key}: {_short(old.get(key))} there, {_short(new.get(key))} now" for key in differing
        )
        raise ValueError(
            f"The folder {str(folder)!r} holds {what} with other settings ({changes}). "
            "Give another folder, or the same settings."
        )


def run_mark(folder: Path, changing: Sequence[str] = ()) -> str:
    """What tells the files of a run from those of another: a digest of the settings it began with.

    Args:
        folder: Its folder.
        changing: The names of settings that may be others.

    Raises:
        ValueError: If its settings are damaged.
    """
    settings = read_facts(folder / SETTINGS)
    names = [name for name in settings if name not in changing and not name.endswith(AFTER)]
    return digest_names([json.dumps({name: settings[name] for name in names}, sort_keys=True)])


@contextlib.contextmanager
def noting(folder: Path, digest: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Note at the end what has changed while it ran, such as a counter in a closure.

    A run goes on with that as well as with what it began with.

    Args:
        folder: The folder, which has settings.
        digest: Gives some of the settings as they are now.
    """
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # what ended the block is what is told
            old = read_facts(folder / SETTINGS)
            changed = {f"{name}{AFTER}": now for name, now in digest().items() if old[name] != now}
            if {**old, **changed} != old:
                write_whole(folder / SETTINGS, json.dumps(old | changed, indent=2).encode())


def read_facts(file: Path) -> dict[str, Any]:
    """Read a JSON file of a run's folder.

    Raises:
        ValueError: If it is damaged, or of something else.
    """
    try:
        check_is_file(file)
        size = file.stat().st_size
        if size > _LARGEST:
            raise ValueError(f"it has {size:,} bytes")
        facts = json.loads(file.read_bytes())
        if not isinstance(facts, dict):
            raise ValueError("it holds no names and values")
    except (OSError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"{str(file)!r} is damaged or of something else ({why:.200}): what the folder was made "
            "with can't be told. Put its copy back, or begin anew in another folder."
        ) from None
    return facts


def _short(value: Any) -> str:
    return f"{value!r:.80}"
