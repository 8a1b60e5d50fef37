"""Figures as files."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure


def render(figure: Figure, kind: str, dpi: int) -> bytes:
    """Write a figure as a file's content.

    Args:
        figure: What is written; it stays as it is.
        kind: "png", "pdf" or "svg".
        dpi: Dots per inch of a PNG file.

    Example:
        >>> render(Figure(), "png", 100)[:4]
        b'\\x89PNG'
    """
    stream = io.BytesIO()
    # Less than half of the time for a sixth more bytes.
    quick: dict[str, Any] = {"pil_kwargs": {"compress_level": 2}} if kind == "png" else {}
    figure.savefig(stream, format=kind, dpi=dpi, **quick)
    return stream.getvalue()
