"""The preprocessor that a model of KerasHub brings along."""

from __future__ import annotations

from typing import Any


def image_converter(model: Any) -> Any:
    """The layer that scales pixels of 0..255 for a task of KerasHub; None where there is none.

    Args:
        model: Any model; KerasHub's tasks have a ``preprocessor`` with an ``image_converter``.
    """
    converter = getattr(getattr(model, "preprocessor", None), "image_converter", None)
    return converter if callable(converter) else None


def attached_size(model: Any) -> tuple[int, int] | None:
    """The (height, width) that a model's own preprocessor gives; None where it leaves that open."""
    size = getattr(image_converter(model), "image_size", None)
    return None if not size or None in size else (int(size[0]), int(size[1]))
