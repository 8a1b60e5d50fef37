"""Pictures as nested lists of numbers, and of bool: as arrays of numbers, as Keras takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np


def as_arrays(given: Any) -> Any:
    """Make nested lists of numbers arrays, bool numbers, and columns lists; all else stays.

    Example:
        >>> as_arrays([[[0, 1], [2, 3]], [np.array([True]), "cat.png"]])[1]
        [array([1.], dtype=float32), 'cat.png']
        >>> as_arrays([[0, 1], [2, 3]]).shape
        (2, 2)
    """
    given = of_columns(given)
    if isinstance(given, Mapping):
        return {key: as_arrays(value) for key, value in given.items()}
    if isinstance(given, list | tuple) and type(given) in (list, tuple):
        nested = given and isinstance(given[0], list | tuple) and _nests_numbers(given)
        array = _rectangular(given) if nested else None
        return type(given)(map(as_arrays, given)) if array is None else as_arrays(array)
    if getattr(getattr(given, "dtype", None), "name", given) == "bool":
        return np.asarray(given, np.float32)
    return given


def of_columns(values: Any) -> Any:
    """Turn a column of a table, as pandas has them, into a list, several into an array.

    Example:
        >>> import pandas as pd
        >>> of_columns(pd.Series(["a.jpg", "b.jpg"])), of_columns(pd.DataFrame({"a": [1, 0]})).shape
        (['a.jpg', 'b.jpg'], (2, 1))
    """
    if type(values).__module__.split(".")[0] != "pandas":
        return values
    array = np.asarray(values)
    return array.tolist() if array.ndim == 1 else array


def _nests_numbers(value: Any) -> bool:
    """Whether the first of what is nested in lists is a number."""
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, Number | np.generic)


def _rectangular(value: Sequence[Any]) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        return None
    return array if array.dtype.kind in "biuf" else None
