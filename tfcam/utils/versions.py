"""The versions of the packages that make a result."""

from __future__ import annotations

import functools
from importlib import metadata


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of the packages that make a result."""
    names = ("tfcam", "keras", "tensorflow", "numpy")
    return {name: metadata.version(name) for name in names}
