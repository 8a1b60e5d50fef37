"""What a method must not be asked for, and what it must return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcam.methods.registry import Method
from tfcam.targets.classes import NOTHING
from tfcam.targets.resolve import ResolvedTarget
from tfcam.targets.two_classes import NUMBER


class MethodMap(NamedTuple):
    """What a method returned.

    Attributes:
        raw: The raw maps (B, h, w), or (B, H, W, C) of pixels.
        measured: What it measured besides, (B,) by name.
    """

    raw: tf.Tensor
    measured: dict[str, tf.Tensor]


def check_question(method: Method, inputs: np.ndarray, targets: Sequence[ResolvedTarget]) -> None:
    """Refuse targets or inputs that a method can't explain.

    Args:
        method: The method.
        inputs: What the model takes.
        targets: As an engine takes them.

    Raises:
        ValueError: If it explains classes only, or changes an input that can't be changed.
    """
    if method.needs_class and any(map(callable, targets)):
        raise ValueError(
            f"{method.name!r} needs a class: an index, a label or None; got a "
            "callable. grad_cam takes callables."
        )
    pairs = [t for t in targets if isinstance(t, np.ndarray) and t.dtype.kind == "i"]
    if method.contrast and any((pair[:, 1] != NOTHING).any() for pair in pairs):
        raise ValueError(
            f"{method.name!r} holds a class against others by itself; give the "
            "class alone, or explain the Difference with another method."
        )
    if method.contrast and any((pair[:, 0] == NUMBER).any() for pair in pairs):
        raise ValueError(
            f"{method.name!r} needs another class to hold one against; the model has one number, "
            "which tells none apart. Use another method, or name a class of two."
        )
    if method.changes_input and inputs.dtype.kind in "iu" and not method.hides_words:
        raise ValueError(
            f"{method.name!r} changes the input a little, and the model takes "
            f"whole numbers, {inputs.dtype.name}. Use integrated_gradients, which explains the "
            "embeddings of words, occlusion, which hides words, or a method on a layer, such as "
            "grad_cam."
        )


def checked_map(returned: Any, method: Method, images: tf.Tensor) -> MethodMap:
    """Take what a method returned, where it is what a method must return.

    Args:
        returned: A raw map, or a raw map and a dict of what it measured.
        method: The method.
        images: Of which images, as the model takes them.

    Raises:
        ValueError: If it is something else.
    """
    whole = isinstance(returned, tuple) and len(returned) == 2
    raw, measured = returned if whole else (returned, {})
    rank, count = images.shape.rank, images.shape[0]
    positions = max(rank - 2, 1)  # a text has no channels
    ranks = (positions + 1, rank) if method.pixels else (positions + 1,)
    if (
        not isinstance(raw, tf.Tensor)
        or raw.shape.rank not in ranks
        or raw.shape[0] != count
        or not raw.dtype.is_floating
    ):
        shape = getattr(raw, "shape", type(raw).__name__)
        raise ValueError(
            "A method must return a tensor (B, h, w) of floats from its reading; "
            f"{method.name!r} returned {shape} for {count} images."
        )
    values = measured.values() if isinstance(measured, dict) else [None]
    if not all(isinstance(value, tf.Tensor) and value.shape == (count,) for value in values):
        raise ValueError(
            "What a method measures besides its map must be a dict of tensors (B,) by name; "
            f"{method.name!r} returned something else."
        )
    return MethodMap(raw, measured)
