"""The rows of a store of videos or volumes: maps of a shape each, and what is shown under them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from tfcam.data.volumes import COLOURS, VolumeForm


def shown_volume(given: Any, form: VolumeForm, size: tuple[int, ...], key: str) -> np.ndarray:
    """The video or volume of a row as its explanation shows it, (D, H, W, C).

    Args:
        given: As ``tfcam.explain`` takes one; None for grey, where it is not at hand.
        form: How the model takes it.
        size: (D, H, W) that was explained.
        key: The row's.

    Raises:
        ValueError: If it has another size, or is none.
    """
    if given is None:
        return np.full((*size, COLOURS if form.is_video else 1), 128, np.uint8)
    volume = form.channels_last(form.read(given))
    if volume.shape[:3] != size:
        raise ValueError(
            f"The video or volume of {key!r} must have the size that was explained, {size}; it "
            f"has {volume.shape[:3]}."
        )
    return volume


def padded_volumes(table: pa.Table) -> np.ndarray:
    """Maps of several shapes as one array, NaN behind the last frame of each.

    Args:
        table: The columns "map" and "shape".

    Example:
        >>> table = pa.table({"map": [[1.0, 2.0], [3.0]], "shape": [[2, 1, 1], [1, 1, 1]]})
        >>> padded_volumes(table)[..., 0, 0].tolist()
        [[1.0, 2.0], [3.0, nan]]
    """
    shapes = table["shape"].to_pylist()
    filled = np.full((len(shapes), *map(max, zip(*shapes, strict=True))), np.nan, np.float32)
    for row, values, shape in zip(filled, table["map"], shapes, strict=True):
        row[tuple(map(slice, shape))] = values.values.to_numpy().reshape(shape)
    return filled
