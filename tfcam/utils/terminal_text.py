"""Text of others as a terminal may show it."""

from __future__ import annotations

from collections.abc import Iterable

# They join letters, in Persian or in emoji, and move nothing.
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


def make_printable(text: object) -> str:
    """Replace what a terminal would obey instead of showing it, such as escapes in a file's name.

    Args:
        text: Anything; what it is as text.

    Returns:
        The same lines, with "?" for each control character and a space for each strange space.

    Example:
        >>> make_printable("\\x1b[31mred.png")
        '?[31mred.png'
    """
    return "".join(
        letter
        if letter.isprintable() or letter == "\n" or letter in _JOINERS
        else " "
        if letter.isspace()
        else "?"
        for letter in str(text)
    )


def printable_lines(lines: Iterable[object]) -> str:
    """Join lines as a terminal may show them: each stays one, whatever names of others hold.

    Example:
        >>> printable_lines(["label  cat\\nscore  1", "score  0.2"])
        'label  cat score  1\\nscore  0.2'
    """
    return "\n".join(make_printable(str(line).replace("\n", " ")) for line in lines)
