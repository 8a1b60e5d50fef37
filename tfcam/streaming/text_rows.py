"""The rows of a store of texts: the words of each are in the store, and no data are needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa


def text_values(values: Mapping[str, Any], raw: np.ndarray, path: Path) -> dict[str, Any]:
    """What an ``Explanation`` of a text has that one of a picture has not.

    Args:
        values: The columns of the row.
        raw: (W,) its map.
        path: The store's.

    Raises:
        ValueError: If the row is damaged.
    """
    words, sides, numbers = (values[name] for name in ("words", "spans", "numbers"))
    if not len(words) == len(numbers) == len(raw) or len(sides) not in (0, 2 * len(words)):
        raise ValueError(
            f"The row of {values['key']!r} in {str(path)!r} is damaged: {raw.size} values and "
            f"{len(sides) // 2} spans of {len(words)} words."
        )
    return {
        "words": tuple(words),
        "spans": tuple(zip(sides[::2], sides[1::2], strict=True)),
        "text": values["text"],
        "image": np.array(numbers, np.int64),
    }


def padded(maps: pa.ChunkedArray) -> np.ndarray:
    """Maps of texts as one array (N, W), NaN behind the last word of each.

    Example:
        >>> padded(pa.chunked_array([[[1.0, 2.0], [3.0]]])).tolist()
        [[1.0, 2.0], [3.0, nan]]
    """
    rows = maps.to_pylist()
    filled = np.full((len(rows), max(map(len, rows))), np.nan, np.float32)
    for row, values in zip(filled, rows, strict=True):
        row[: len(values)] = values
    return filled
