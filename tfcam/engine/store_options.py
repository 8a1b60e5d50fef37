"""The options of what keeps its results in a folder: see ``tfcam.engine.options``."""

from __future__ import annotations

from tfcam.engine.option import Option
from tfcam.utils.validation import check_key

STORE = Option(
    "to",
    "str | os.PathLike[str]",
    ...,
    "The folder of the store. A run that was stopped goes on there where it was.",
)
KEEP = Option(
    "to",
    "str | os.PathLike[str] | None",
    None,
    "A folder that keeps what is done. A run that was stopped goes on there where it was, when it "
    "is called again with the same settings, and ends as if it had not been stopped.",
)
KEY = Option(
    "key",
    "str | None",
    None,
    "A name for the functions and objects of your own that make the maps.",
    "A run goes on where it was only with the same ones, told by their code, constants and what "
    "they refer to; where that can't be read, or changes while they run, this name tells them "
    "instead.",
    check=check_key,
)
