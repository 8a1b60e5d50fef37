"""What a layer must be for its map to be explained, and the messages where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfcam.model.taps import Tap


class NoGradientError(ValueError):
    """The score does not depend on a layer in a way that has a gradient."""


def check_map(tap: Tap, value: Any, least: int, rank: int | None) -> None:
    """Refuse what a tapped layer gave where it is no map.

    Args:
        tap: Where the model is opened.
        value: What the layer gave.
        least: Number of axes that it must have at least.
        rank: Number of axes of a map; None where any will do.
    """
    axes = value.shape.rank if isinstance(value, tf.Tensor) else None
    if axes is not None and axes >= least and (tap.grid or tap.frames or rank in (None, axes)):
        return
    raise ValueError(
        "A layer to explain must give one tensor that is a map (B, h, w, K), of as many axes as "
        f"the input; {tap.path!r} gives "
        f"{type(value).__name__ if axes is None else tuple(value.shape)}. See tfcam.layers(model)."
    )


def check_whole(layers: Sequence[str], maps: Sequence[tf.Tensor], count: int) -> None:
    """Refuse a layer that has not one map for each image.

    Args:
        layers: Their paths.
        maps: (B, h, w, K), what each gave.
        count: Number of images.

    Raises:
        ValueError: If one has more maps or fewer, as where the model cuts pictures into parts.
    """
    for layer, one in zip(layers, maps, strict=True):
        if one.shape[0] not in (None, count):
            raise ValueError(
                f"A layer to explain must give one map for each image; {layer!r} gives "
                f"{one.shape[0]} for {count}, as where a model puts the parts of a picture one "
                "after the other in the batch. Explain a layer before that, see "
                "tfcam.layers(model), or the pixels, by method='saliency'."
            )


def check_reached(tap: Tap, calls: int, taken: bool) -> None:
    """Refuse a tap that was not reached, or reached more often than it can tell apart.

    Args:
        tap: Where the model is opened.
        calls: How often its layer was called.
        taken: Whether the call that it names was among them.
    """
    if calls == 0:
        raise NoGradientError(
            f"The layer must be on the way to the output; {tap.path!r} is part of the model, but "
            "was not called for this input. tfcam.layers(model) lists those that are."
        )
    if not taken:
        raise ValueError(
            f"{tap.path!r} is called {calls} times (0..{calls - 1}); there is no call {tap.number}."
        )
    if tap.number is None and calls > 1:
        raise ValueError(
            f"{tap.path!r} is called {calls} times; say which: "
            + " or ".join(f"'{tap.path}:{number}'" for number in range(min(calls, 4)))
            + "."
        )


def no_gradient(place: str) -> str:
    """Word the error where no gradient reaches a place."""
    return (
        f"The score must depend on the layer in a differentiable way, but no gradient reaches "
        f"{place}: it is not on the way to the explained output, or an argmax, a rounding, a "
        "stop_gradient or NumPy code stands between. Choose another layer, or a target that is "
        "computed from the outputs with keras.ops or tf."
    )
