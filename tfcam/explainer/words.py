"""The words of a text, as a user gives them, one for each position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def word_lists(words: Any, count: int) -> Sequence[Any]:
    """Check the words of each text of a batch.

    Args:
        words: A list of words for each, or None.
        count: Number of texts.

    Raises:
        ValueError: If there are more or fewer lists, or words alone.

    Example:
        >>> word_lists([["a", "film"], ["great"]], 2)
        [['a', 'film'], ['great']]
    """
    if words is None:
        return [None] * count
    kind = "words" if any(isinstance(word, str) for word in words) else "lists"
    if kind == "words" or len(words) != count:
        raise ValueError(
            f"words must be a list of words for each of the {count} texts of a batch; got "
            f"{len(words)} {kind}."
        )
    return words


def checked_words(words: Any, size: tuple[int, ...]) -> tuple[str, ...]:
    """Check the words of one text, one for each position.

    Args:
        words: Of any kind, or None.
        size: (L,) of the text.

    Raises:
        ValueError: If there are more or fewer, or it is no text.

    Example:
        >>> checked_words(["a", 7], (2,))
        ('a', '7')
    """
    if words is None:
        return ()
    if len(size) != 1:
        raise ValueError("words are for texts and series; this input is none. Leave them out.")
    if len(words) != size[0]:
        raise ValueError(
            f"words must be one for each of the {size[0]} positions; got {len(words)}."
        )
    return tuple(map(str, words))
