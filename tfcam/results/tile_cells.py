"""The cells of a map that is laid of tiles, which may reach beyond its picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfcam.utils.validation import shown


def tile_cell(
    options: Mapping[str, Any], shape: Sequence[int], size: Sequence[int]
) -> Sequence[int] | None:
    """Tell how many pixels a cell of a map has: height and width; None of a map of no tiles.

    Args:
        options: Those of an explanation, which may come from a file.
        shape: (h, w) or (h, w, C) of its raw map.
        size: (height, width) of its picture.

    Raises:
        ValueError: If such cells do not cover the picture, and nothing else.

    Example:
        >>> tile_cell({"tile": (8, 8), "tile_cell": (4, 4)}, (3, 2), (10, 8))
        (4, 4)
    """
    if "tile" not in options:
        return None
    cell: Any = options.get("tile_cell")
    pair = isinstance(cell, list | tuple) and [type(side) for side in cell] == [int, int]
    if not pair or any(
        pixels < 1 or count != -(-side // pixels)
        for pixels, count, side in zip(cell, shape, size, strict=False)
    ):
        raise ValueError(
            f"A map of tiles must cover its picture: one of shape {tuple(shape)} in cells of "
            f"{shown(cell)} is of no picture of {tuple(size)}."
        )
    return cell
