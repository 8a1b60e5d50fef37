"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash.

    Raises:
        FileNotFoundError: If its folder does not exist.
        IsADirectoryError: If it is a folder.
    """
    with open_whole(path) as file:
        file.write(content)


def as_text(name: str) -> str:
    """Write a file's name, which may be any bytes on Linux, as text that every file can hold.

    Example:
        >>> as_text("caf\\udce9.png")
        'caf\ufffd.png'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def check_target(path: str | os.PathLike[str], what: str, endings: Sequence[str]) -> Path:
    """Refuse, before the work, a file that could not be written after it.

    Args:
        path: The file.
        what: What is saved, as a sentence begins with it, such as "A dream".
        endings: Those that it may have.

    Raises:
        ValueError: If it ends in none of these.
        FileNotFoundError: If its folder does not exist.

    Example:
        >>> check_target("map.gif", "A map", [".png", ".npz"])
        Traceback (most recent call last):
        ValueError: A map is saved as .png or .npz; got 'map.gif'.
    """
    path, (*others, last) = Path(path), endings
    if path.suffix not in endings:
        known = f"{', '.join(others)} or {last}"
        raise ValueError(f"{what} is saved as {known}; got {str(path)!r}.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder of {str(path)!r} does not exist; make it first.")
    return path


@contextlib.contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that is there whole after the block, or not at all where it fails.

    It is written beside its place under a name of its own, which nothing else has: what stands at
    that name, or is linked there, is never written to.

    Raises:
        FileNotFoundError: If its folder does not exist.
        IsADirectoryError: If it is a folder.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder of {str(path)!r} does not exist; make it first.")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; name a file in it.")
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}")
    file = temporary.open("xb")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a crash of the machine could leave its name without it
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
