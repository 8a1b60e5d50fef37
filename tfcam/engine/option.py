"""What an option of the library is, said once for all that takes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tfcam.utils.validation import check_count, check_flag


def unchecked(value: Any) -> Any:
    """What only the model or the data can refuse, as it is."""
    return value


@dataclass(frozen=True)
class Option:
    """An option of several doors.

    Attributes:
        name: As in signatures.
        type: As in signatures, as text, as it may name what needs TensorFlow.
        default: As in signatures; ``...`` where there is none.
        words: What it is, in docstrings and on the command line.
        code: What the words go on with in docstrings: what only Python can give.
        check: Takes a value and gives it as it is used, or refuses it.
    """

    name: str
    type: str
    default: Any
    words: str
    code: str = ""
    check: Callable[[Any], Any] = unchecked

    @property
    def text(self) -> str:
        """What a docstring says of it."""
        return f"{self.words} {self.code}".strip()


def flag(name: str, default: bool, words: str) -> Option:
    """An option that is True or False."""
    return Option(name, "bool", default, words, check=partial(check_flag, name))


def count(name: str, default: int, words: str, least: int = 1) -> Option:
    """An option that is a whole number, not below the least."""
    check = partial(check_count, name, least=least)
    return Option(name, "int", default, words, check=check)
