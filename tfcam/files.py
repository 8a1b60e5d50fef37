"""Files that the command line reads and writes: which pictures are meant, and where results go."""

from __future__ import annotations

import glob
import re
from pathlib import Path

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def expand(sources: list[str]) -> list[str]:
    """Files and URLs as they are, the pictures of folders, the matches of globs."""
    found: list[str] = []
    for source in sources:
        if Path(source).is_dir():
            inside = sorted(Path(source).iterdir())
            matches = [str(each) for each in inside if each.suffix.lower() in _PICTURES]
            if not matches:
                raise ValueError(f"The folder {source!r} must hold pictures; it holds none.")
        elif not Path(source).exists() and glob.has_magic(source) and "://" not in source:
            matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - absolute globs too
            if not matches:
                raise ValueError(f"No file matches {source!r}.")
        else:
            matches = [source]
        found += matches
    return found


def outputs(paths: list[str], method: str, output: Path | None) -> list[Path]:
    """Where the picture of each image goes; images of the same name get numbers."""
    if output is not None and output.suffix and not output.is_dir():
        if len(paths) > 1:
            raise ValueError(f"--output must be a folder for {len(paths)} images; got {output}.")
        return [output]
    folder = output or Path()
    files: list[Path] = []
    for path in paths:
        stem = picture_name(path)
        file, number = folder / f"{stem}_{method}.png", 2
        while file in files:
            file, number = folder / f"{stem}_{number}_{method}.png", number + 1
        files.append(file)
    return files


def picture_name(path: str) -> str:
    """The name of a picture's file or URL without folder and ending, fit to name another file."""
    return re.sub(r"[^\w.-]", "_", Path(path.split("?")[0]).stem) or "image"


def read_labels(path: Path) -> list[str]:
    """The label of each class, one on each line."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ValueError(
            f"--labels must be a text file with one label on each line; {str(path)!r}: {why}."
        ) from None
