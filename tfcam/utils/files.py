"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tfcam.utils.paths import as_path

# What an operating system says of a disk that is full.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a crash.

    Raises:
        FileNotFoundError: If its folder does not exist.
        IsADirectoryError: If it is a folder.
    """
    with open_whole(path) as file:
        file.write(content)


def check_is_file(path: Path) -> None:
    """Refuse a pipe or a device, which would be waited for without end.

    Raises:
        OSError: If there is something else than a file.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is a folder, a pipe or a device")


def as_text(name: str) -> str:
    """Write a file's name, which may be any bytes on Linux, as text that every file can hold.

    Example:
        >>> as_text("caf\\udce9.png")
        'caf\ufffd.png'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def storable(value: Any) -> Any:
    """A value as every file can hold it: a text without halves of letters, the others as they are.

    Example:
        >>> storable("a\\ud800b"), storable(3)
        ('a?b', 3)
    """
    return utf8(value).decode("utf-8") if isinstance(value, str) else value


def utf8(text: str) -> bytes:
    """A text as a file holds it; half of a letter is a question mark."""
    return text.encode("utf-8", "replace")


def read_lines(path: Path) -> list[str]:
    """Read the texts of a file with one on each line; empty lines are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no UTF-8 text, or no file but a folder, a pipe or a device.
    """
    try:
        check_is_file(path)
    except OSError as error:
        raise ValueError(f"Texts are read from a file; {str(path)!r}: {error}.") from None
    try:
        content = path.read_text("utf-8-sig")  # a mark at its beginning is of no text
    except UnicodeDecodeError as error:
        raise ValueError(
            f"A file of texts must be in UTF-8; {str(path)!r} is not, from byte {error.start} on. "
            "Save it as UTF-8."
        ) from None
    return text_lines(content)


def text_lines(content: str) -> list[str]:
    """Split texts, one on each line; empty lines are left out.

    Example:
        >>> text_lines("a film\\n\\na book"), text_lines("a\\u2028film")
        (['a film', 'a book'], ['a\\u2028film'])
    """
    return [line for line in re.split(r"\r?\n|\r", content) if line.strip()]


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
    path, (*others, last) = as_path(path), endings
    if path.suffix not in endings:
        known = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"{what} is saved as {known}; got {str(path)!r}.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"The folder of {str(path)!r} does not exist; make it first.")
    return path


def check_no_input(output: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to write over what is read, whatever it is called there: a link, or other letters.

    Args:
        output: The file that is to be written.
        inputs: Files that are read; what is none, such as a URL, is passed over.

    Raises:
        ValueError: If it is one of them.
    """
    if not output.exists():
        return
    for source in map(Path, inputs):
        if _is_same(output, source):
            raise ValueError(
                f"{str(output)!r} must be another file than those that are read; it is "
                f"{str(source)!r}, which would be written over."
            )


def _is_same(file: Path, other: Path) -> bool:
    try:
        return file.samefile(other)
    except (OSError, ValueError):  # no file, such as a URL
        return False


@contextlib.contextmanager
def told_if_full(what: str, kept: str) -> Iterator[None]:
    """Say of a disk that is full what is kept and what to do.

    Args:
        what: What is written, as a sentence begins with it.
        kept: A sentence on what was there and what is done.

    Raises:
        OSError: With the number of the error, and words.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        told = OSError(
            f"{what} could not be written: {os.strerror(error.errno)}. {kept} Make room and do the "
            "same again."
        )
        told.errno = error.errno
        raise told from None


@contextlib.contextmanager
def open_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write that is there whole after the block, or not at all where it fails.

    It is written beside its place under a name of its own, which nothing else has: what stands at
    that name, or is linked there, is never written to.

    Raises:
        FileNotFoundError: If its folder does not exist.
        IsADirectoryError: If it is a folder.
        OSError: If the disk is full.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder of {str(path)!r} does not exist; make it first.")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; name a file in it.")
    temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}")
    with told_if_full(repr(str(path)), "What was there is as it was."):
        file = temporary.open("xb")
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # else a crash could leave its name without it
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_whole(path: Path, mark: str) -> Iterator[Path]:
    """Make a folder that is there whole after the block, or not at all where it fails.

    It is made beside its place under a name of its own. An empty folder, or one that was made so,
    makes way for it.

    Args:
        path: The folder.
        mark: The name of a file that says that a folder was made so.

    Yields:
        The folder to write to.

    Raises:
        FileNotFoundError: If the folder that it is in does not exist.
        ValueError: If it is a file, or a folder of something else.
        OSError: If the disk is full.
    """
    path = path.resolve()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder of {str(path)!r} does not exist; make it first.")
    if path.exists() and not path.is_dir():
        raise ValueError(f"{str(path)!r} must be a folder; it is a file.")
    if path.is_dir() and any(path.iterdir()) and not (path / mark).is_file():
        raise ValueError(
            f"The folder {str(path)!r} must be empty, or one that was written here before; it "
            "holds something else. Name another."
        )
    token = secrets.token_hex(8)
    made = path.with_name(f".{path.name[:50]}.{token}")
    old = path.with_name(f".{path.name[:50]}.{token}.old")
    try:
        with told_if_full(f"The folder {str(path)!r}", "What was there is as it was."):
            made.mkdir()
            yield made
            (made / mark).touch()
        if path.is_dir():
            path.rename(old)
        try:
            made.rename(path)
        except OSError:
            if old.is_dir():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
