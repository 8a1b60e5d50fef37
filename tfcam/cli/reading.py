"""How the command line reads pictures and arrays, of a window of values where one is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfcam.cli.terminal import silence
from tfcam.images.array_files import is_array_file, read_array, read_arrays
from tfcam.images.window import AppliedWindow, Window

if TYPE_CHECKING:
    import numpy as np


def read_image(source: str, window: tuple[float, float] | None = None) -> np.ndarray:
    """Read the pixels of a file or URL, in quiet; of a window where one is given.

    What is in a file of arrays is given as it is: how it is laid out depends on the model.
    """
    from tfcam.images.loading import load_image

    if is_array_file(source):
        array = read_array(source)
        if window is None:
            return array
        if array.ndim > 3:
            raise ValueError(
                f"--window is for pictures; {source!r} holds an array {array.shape}. Cut its "
                "values before they are saved."
            )
        return load_image(array, window=window)
    with silence():  # libtiff complains there of what it then refuses
        return load_image(source, window=window)


def read_data(data: str) -> Any:
    """Read data that are a file of arrays: one batch, or several by name; others as they are."""
    if not is_array_file(data):
        return data
    arrays = read_arrays(data)
    return arrays if len(arrays) > 1 else next(iter(arrays.values()), None)


def read_window(options: dict[str, Any]) -> tuple[float, float] | None:
    """Take --window, with which a picture is read first; how it is prepared tells of it."""
    window: tuple[float, float] | None = options.pop("window")
    if window is not None:
        options["preprocess"] = AppliedWindow(*window, options["preprocess"])
    return window


def with_window(options: dict[str, Any]) -> dict[str, Any]:
    """Make --window a part of how pictures are prepared, where many are read later."""
    window = options.pop("window")
    if window is not None:
        options["preprocess"] = Window(window[0], window[1], options["preprocess"])
    return options
