"""Many passes one after the other: constant memory, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tfcam.utils.progress import count_step

# Tensors in any structure.
State = TypeVar("State")


def fold(count: int, start: State, step: Callable[[tf.Tensor, State], State]) -> State:
    """Compute step(count - 1, ... step(1, step(0, start))).

    Args:
        count: Number of steps.
        start: Tensors.
        step: Index, a scalar int32, and tensors -> tensors of the same shapes and dtypes.

    Example:
        >>> int(fold(3, tf.constant(1), lambda index, value: value * (index + 1)))
        6
    """
    told = _told(count, step)
    _, end = tf.while_loop(
        lambda index, _: index < count,
        lambda index, value: (index + 1, told(index, value)),
        (tf.constant(0), start),
        parallel_iterations=1,
    )
    return end


def fold_chunks(
    count: int, most: int, start: State, step: Callable[[tf.Tensor, tf.Tensor, State], State]
) -> State:
    """Fold chunks of the indices 0, ..., count - 1.

    Args:
        count: Number of indices.
        most: Number of those in a chunk at most; chunks are as large as leaves little to fill up.
        start: Tensors.
        step: Indices (n,) int32, their weights (n,) float32, which are 0 where a chunk is filled up
            and 1 elsewhere, and tensors -> tensors of the same shapes and dtypes.

    Example:
        >>> add = lambda indices, weights, total: total + tf.reduce_sum(weights)
        >>> float(fold_chunks(5, 2, tf.constant(0.0), add))
        5.0
    """
    most = min(most, count)
    size = min(range(most, most // 2, -1), key=lambda size: -count % size)

    def chunk(number: tf.Tensor, state: State) -> State:
        indices = number * size + tf.range(size)
        weights = tf.cast(indices < count, tf.float32)
        return step(tf.minimum(indices, count - 1), weights, state)

    return fold(-(-count // size), start, chunk)


def mean_of(count: int, most: int, like: State, function: Callable[[tf.Tensor], State]) -> State:
    """Average function(0), ..., function(count - 1).

    Args:
        count: Number of values.
        most: Number of those that are computed at once at most.
        like: Tensors of the shapes of a value, in the structure that the function returns.
        function: Indices (n,) int32 -> tensors (n, ...) float32.

    Example:
        >>> float(mean_of(4, 3, tf.constant(0.0), lambda indices: tf.cast(indices, tf.float32)))
        1.5
    """

    def add(indices: tf.Tensor, weights: tf.Tensor, total: State) -> State:
        return tf.nest.map_structure(
            lambda sums, values: sums + tf.tensordot(weights, values, 1), total, function(indices)
        )

    start = tf.nest.map_structure(lambda value: tf.zeros_like(value, tf.float32), like)
    total = fold_chunks(count, most, start, add)
    return tf.nest.map_structure(lambda value: value / count, total)


def in_chunks(
    count: int | tf.Tensor, size: int, function: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Compute function(0), ..., function(count - 1), ``size`` of them at once.

    Args:
        count: Number of values; a scalar int32 where it may change.
        size: Number of those computed at once at most; the last chunk is filled up with the last
            index.
        function: Indices (n,) int32 -> (n, ...) float32.

    Returns:
        (count, ...) float32.

    Example:
        >>> in_chunks(3, 2, lambda indices: tf.cast(10 * indices, tf.float32)).numpy()
        array([ 0., 10., 20.], dtype=float32)
    """
    chunks = -(-count // size)
    size = -(-count // chunks)  # as equal as can be: little is filled up

    def chunk_of(chunk: tf.Tensor) -> tf.Tensor:
        return function(tf.minimum(chunk * size + tf.range(size), count - 1))

    parts = tf.map_fn(
        # Run eagerly, it would rewrite all code that it comes to, a user's own too.
        tf.autograph.experimental.do_not_convert(_told(chunks, chunk_of)),
        tf.range(chunks),
        fn_output_signature=tf.float32,
        parallel_iterations=1,
    )
    return tf.reshape(parts, (chunks * size, *parts.shape[2:]))[:count]


def _told(count: int | tf.Tensor, step: Callable[..., State]) -> Callable[..., State]:
    """Let each step, whose first argument is its index, tell the progress bar when it is done."""

    def tell(index: np.ndarray, of: np.ndarray) -> None:
        count_step(int(index), int(of))

    def told(*values: Any) -> State:
        result = step(*values)
        with tf.control_dependencies(tf.nest.flatten(result)):
            tf.numpy_function(tell, [values[0], count], [])  # also where it is compiled
        return result

    return told
