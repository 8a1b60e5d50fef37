"""What somebody may have meant who named a thing that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST = 4


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Suggest the known names that are like a mistaken one.

    Args:
        name: The mistaken name; anything but a text suggests nothing.
        known: The names that there are.

    Returns:
        A sentence to end an error message with, a space before it; "" where nothing is like it.

    Example:
        >>> did_you_mean("featurs", ["stem", "backbone/features"])
        " Did you mean 'backbone/features'?"
        >>> did_you_mean("zebra", ["dog"])
        ''
    """
    names = find_similar(name, known) if isinstance(name, str) else []
    return f" Did you mean {', '.join(map(repr, names))}?" if names else ""


def find_similar(name: str, known: Iterable[str]) -> list[str]:
    """Find the known names that hold a mistaken one, or are spelled nearly as it is.

    Case does not count, and a path may be meant by its last part.

    Args:
        name: The mistaken name.
        known: The names that there are.

    Returns:
        At most four, the nearest first.

    Example:
        >>> find_similar("Cat", ["dog", "egyptian cat", "tabby cat"])
        ['tabby cat', 'egyptian cat']
    """
    wanted, paths = name.lower(), list(known)
    spelled: dict[str, str] = {}  # of two that read the same, the first
    for path in paths:
        spelled.setdefault(path.lower(), path)
    for path in paths:
        spelled.setdefault(path.rsplit("/", 1)[-1].lower(), path)
    holding = sorted((spelling for spelling in spelled if wanted and wanted in spelling), key=len)
    near = difflib.get_close_matches(wanted, spelled, n=_MOST)
    return list(dict.fromkeys(spelled[spelling] for spelling in holding + near))[:_MOST]
