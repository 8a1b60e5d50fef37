"""What is compared and the pictures: their names, and the seed that a picture's name gives."""

from __future__ import annotations

import zlib


def candidate_name(method: str, layer: str) -> str:
    """A method and its layer in words.

    Example:
        >>> candidate_name("grad_cam", "features"), candidate_name("sobel_edges", "")
        ('grad_cam at features', 'sobel_edges')
    """
    return f"{method} at {layer}" if layer else method


def seed_of(name: str, seed: int) -> int:
    """A picture's own seed, the same wherever it stands among others.

    Args:
        name: The picture's.
        seed: That of the whole.

    Example:
        >>> seed_of("dog.jpg", 0) == seed_of("dog.jpg", 0) != seed_of("cat.jpg", 0)
        True
    """
    return zlib.crc32(f"{seed} {name}".encode())
