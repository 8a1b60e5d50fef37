"""Files of arrays, as NumPy saves them: videos, volumes, series, and pictures that are no files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from tfcam.images.kinds import ImageError

ENDINGS = (".npy", ".npz")
# Pictures are packed to a hundredth at best; bytes below the first are no matter.
_LEAST, _RATIO = 2**28, 100


def is_array_file(name: str) -> bool:
    """Tell by its name whether a file holds arrays.

    Example:
        >>> is_array_file("clip.npy"), is_array_file("cat.png")
        (True, False)
    """
    return name.lower().endswith(ENDINGS)


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Read the arrays of a file by their names; the only one of a ``.npy`` file is "array".

    Args:
        path: A ``.npy`` or ``.npz`` file.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: (a ValueError) If it holds no arrays of numbers, or objects, or is damaged.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"There is no file {path!r}.")
    try:
        if not Path(path).is_file():  # opening a pipe would wait for ever
            raise OSError("it is a folder or a device")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"array": loaded}
        with loaded:
            _check_size(loaded.zip, Path(path).stat().st_size)
            return dict(loaded)
    except (
        OSError,
        ValueError,
        EOFError,
        MemoryError,
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
        SyntaxError,
    ) as error:
        raise ImageError(
            f"{path!r} must hold arrays of numbers, as numpy.save and savez write them: {error}"
        ) from None


def _check_size(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse what unpacks to far more than arrays of measured values do.

    Raises:
        ValueError: If it does.
    """
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(_LEAST, _RATIO * size):
        raise ValueError(
            f"its {size:,} bytes would unpack to {unpacked:,}. Save the arrays with numpy.save "
            "where you know who wrote it."
        )


def read_array(path: str) -> np.ndarray:
    """Read the one array of a file.

    Args:
        path: A ``.npy`` file, or a ``.npz`` file of one array.

    Raises:
        FileNotFoundError: If there is no such file.
        ImageError: (a ValueError) As ``read_arrays``, or if it holds none or several.
    """
    arrays = read_arrays(path)
    if len(arrays) != 1:
        raise ImageError(
            f"{path!r} must hold one array; it holds {', '.join(map(repr, arrays)) or 'none'}."
        )
    return next(iter(arrays.values()))
