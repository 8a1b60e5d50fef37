"""What users name files and folders by."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def as_path(path: Any, name: str = "path") -> Path:
    """Take the name of a file or folder, which need not be there.

    Args:
        path: The name.
        name: What the argument is called.

    Raises:
        TypeError: If it is no path.
        ValueError: If nothing can be called so, as it is too long or holds a null character.

    Example:
        >>> as_path("maps/one.png").name
        'one.png'
        >>> as_path(b"maps", "to")
        Traceback (most recent call last):
        TypeError: to must be a path, as a text or a pathlib.Path; got b'maps'.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(f"{name} must be a path, as a text or a pathlib.Path; got {path!r:.60}.")
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # whoever opens it tells that
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        said = repr(str(path))
        said = said if len(said) <= 60 else f"{said[:60]}..."
        raise ValueError(f"{name} must be a path that can be used; {said}: {why}.") from None
    return Path(path)
