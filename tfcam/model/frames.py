"""Videos (B, T, h, w, C) whose frames become a batch, (B T, h, w, K), and back.

A ``TimeDistributed`` layer calls what it holds once for each frame; while a model is looked into,
it calls it once for all frames, which gives the same numbers and lets a layer inside be a map of
the video.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

# The rank of a video.
_RANK = 5


# What the reshaping of frames to a batch is called in a graph, and that back.
AT_ONCE = "frames_at_once"


def frames_at_once(operation: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call of an operation, that of one for each step in time changed to one for all steps.

    Args:
        operation: Any operation.
        call: Its call.

    Returns:
        ``call`` itself where it is none for each step, or has been changed.
    """
    if not isinstance(operation, keras.layers.TimeDistributed) or hasattr(call, "at_once"):
        return call

    @functools.wraps(call)
    def at_once(inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> Any:
        if mask is not None or inputs.shape.rank < _RANK:
            return call(inputs, training=training, mask=mask)
        layer, sizes = operation.layer, tf.shape(inputs)
        in_training = "training" in inspect.signature(layer.call).parameters
        given = {"training": training} if in_training else {}
        made = layer.call(fold(inputs), **given)
        apart = tf.concat([sizes[:2], tf.shape(made)[1:]], 0)
        known = (*inputs.shape[:2], *made.shape[1:])
        return tf.ensure_shape(tf.reshape(made, apart, name=AT_ONCE), known)

    at_once.at_once = True  # type: ignore[attr-defined]
    return at_once


def fold(videos: tf.Tensor) -> tf.Tensor:
    """Make the frames of videos (B, T, ...) a batch, (B T, ...)."""
    frames = tf.reshape(videos, tf.concat([[-1], tf.shape(videos)[2:]], 0), name=AT_ONCE)
    return tf.ensure_shape(frames, (None, *videos.shape[2:]))


def unfold(frames: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Make a batch of frames, (B T, ...), videos of so many frames each, (B, T, ...).

    Example:
        >>> unfold(tf.range(6), 3).numpy()
        array([[0, 1, 2],
               [3, 4, 5]], dtype=int32)
    """
    return tf.reshape(frames, (-1, count, *frames.shape[1:]))


def by_example(values: tf.Tensor, count: int) -> tf.Tensor:
    """Give the frames of each of so many videos an axis, where they are a batch: (B, T, ...)."""
    return values if values.shape[0] == count else unfold(values, values.shape[0] // count)
