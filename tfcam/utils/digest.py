"""Sixteen letters that tell values from others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfcam.utils.files import check_is_file

_CHUNK = 2**20


def digest_arrays(*arrays: Any) -> str:
    """Condense arrays to 16 letters that tell them from others.

    Example:
        >>> digest_arrays(np.arange(3)) == digest_arrays(np.arange(4))
        False
    """
    hashed = hashlib.sha256()
    for values in arrays:
        array = np.ascontiguousarray(values)
        hashed.update(f"{array.dtype} {array.shape}".encode())
        hashed.update(array.reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()[:16]


def digest_names(names: Sequence[str]) -> str:
    """Condense a list of names to 16 letters that tell it from others.

    Example:
        >>> digest_names(["cat", "dog"]) == digest_names(["dog", "cat"])
        False
    """
    return digest_bytes("\n".join(names).encode("utf-8", "surrogatepass"))


def digest_bytes(content: bytes) -> str:
    """Condense bytes to 16 letters that tell them from others."""
    return hashlib.sha256(content).hexdigest()[:16]


def digest_file(path: Path) -> str:
    """Condense the content of a file to 16 letters that tell it from others: as ``digest_bytes``.

    Raises:
        OSError: If it can't be read, or is a pipe or device, which would wait for ever.
    """
    check_is_file(path)
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()[:16]
