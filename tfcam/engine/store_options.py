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
    "A name for your own functions and objects that make the maps, by which a stopped run "
    "recognises them where their code can't be read.",
    "A run goes on only with the same ones. They are compared by their code, constants and what "
    "they refer to, and by this name instead where these can't be read, or change while they run.",
    check=check_key,
)
