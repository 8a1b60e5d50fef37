"""What is compared and the pictures: their names, and the seed that a picture's name gives."""

from __future__ import annotations

import zlib
from typing import NamedTuple


class CandidateKey(NamedTuple):
    """A method and the layer that it explains; "" where it needs none."""

    method: str
    layer: str


class MetricKey(NamedTuple):
    """A metric of a method at a layer."""

    method: str
    layer: str
    metric: str


def candidate_name(method: str, layer: str) -> str:
    """Say a method and its layer in words.

    Example:
        >>> candidate_name("grad_cam", "features"), candidate_name("sobel_edges", "")
        ('grad_cam at features', 'sobel_edges')
    """
    return f"{method} at {layer}" if layer else method


def seed_of(name: str, seed: int) -> int:
    """Derive a picture's own seed, the same wherever it stands among others.

    Args:
        name: The picture's name.
        seed: The seed of the whole evaluation.

    Example:
        >>> seed_of("dog.jpg", 0) == seed_of("dog.jpg", 0) != seed_of("cat.jpg", 0)
        True
    """
    return zlib.crc32(f"{seed} {name}".encode())
