"""Text of others as a terminal may show it."""

from __future__ import annotations

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
