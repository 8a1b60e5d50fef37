"""Maps as tensors: what ``tfcam.maps`` does in NumPy, of a batch and inside a graph."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from tfcam.maps.scaling import Fusion

# The spacing of numbers near 1.
FLOAT32 = 2.0**-23


def sizes(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    """List the sizes of a tensor's axes: numbers, or scalars where a trace leaves them open.

    Example:
        >>> sizes(tf.zeros((2, 3)))
        [2, 3]
    """
    known = tensor.shape.as_list()
    if None not in known:
        return list(known)
    scalars = tf.unstack(tf.shape(tensor))
    return [scalar if size is None else size for size, scalar in zip(known, scalars, strict=True)]


def by_rows(variants: tf.Tensor) -> tf.Tensor:
    """Lay variants (n, B, ...) out as one batch (n B, ...).

    Example:
        >>> by_rows(tf.zeros((2, 3, 4))).shape
        TensorShape([6, 4])
    """
    count, batch, *sides = sizes(variants)
    return tf.reshape(variants, (count * batch, *sides))


def resized(maps: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Resize maps linearly, with the centres of positions at halves.

    Args:
        maps: (B, ..., K) float32 with one, two or three axes of positions.
        size: As many sizes.

    Returns:
        (B, *size, K) float32.

    Example:
        >>> resized(tf.constant([[[0.0], [1.0]]]), [4]).numpy().ravel()
        array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """
    size = list(size)
    if len(size) == 2:
        return tf.image.resize(maps, size)
    if len(size) == 1:
        return tf.image.resize(maps[:, :, tf.newaxis], [*size, 1])[:, :, 0]
    _, depth, *sides, channels = sizes(maps)
    slices = tf.image.resize(tf.reshape(maps, (-1, *sides, channels)), size[1:])
    columns = tf.reshape(slices, (-1, depth, size[1] * size[2], channels))
    deep = tf.image.resize(columns, [size[0], size[1] * size[2]])
    return tf.reshape(deep, (-1, *size, channels))


def scaled(maps: tf.Tensor, least: float = 0.0) -> tf.Tensor:
    """Keep what is positive of each map and divide it by its maximum, as ``maps.scale`` does.

    Args:
        maps: (B, ...) float32, signed.
        least: A map whose maximum is not above this counts as empty.

    Returns:
        (B, ...) float32 in [0, 1]; zero for a map that is empty. So is its gradient.

    Example:
        >>> scaled(tf.constant([[-1.0, 1.0, 2.0], [-1.0, 0.0, 0.0]])).numpy()
        array([[0. , 0.5, 1. ],
               [0. , 0. , 0. ]], dtype=float32)
    """
    positive = tf.nn.relu(maps)
    axes = list(range(1, positive.shape.rank))
    largest = tf.reduce_max(positive, axis=axes, keepdims=True)
    empty = largest <= least
    # Chosen before the division: the gradient of what is not chosen would be NaN times zero.
    return tf.where(empty, 0.0, positive) / tf.where(empty, 1.0, largest)


def evidence(raws: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Keep what is positive of raw maps, then resize them, as ``maps.evidence`` does.

    Args:
        raws: (B, h, w) signed; or (B, H, W, C) of pixels, of which the largest absolute value over
            the channels is shown.
        size: (height, width) in pixels.

    Returns:
        (B, *size) float32, not negative.

    Example:
        >>> evidence(tf.constant([[[-9.0, 2.0]]]), (1, 4)).numpy()
        array([[[0. , 0.5, 1.5, 2. ]]], dtype=float32)
    """
    pixels = raws.shape.rank == len(size) + 2
    positive = tf.reduce_max(tf.abs(raws), axis=-1) if pixels else tf.nn.relu(raws)
    return resized(positive[..., tf.newaxis], size)[..., 0]


def heatmaps(raws: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Make heatmaps of raw maps: ReLU, then resized, then scaled, as ``maps.heatmap`` does.

    Args:
        raws: (B, h, w) signed, or (B, H, W, C) of pixels, as ``evidence`` takes them.
        size: (height, width) in pixels.

    Returns:
        (B, *size) float32 in [0, 1].

    Example:
        >>> heatmaps(tf.constant([[[-1.0, 2.0]]]), (1, 2)).numpy()
        array([[[0., 1.]]], dtype=float32)
    """
    return scaled(evidence(raws, size))


def fused(heatmaps: Sequence[tf.Tensor], how: Fusion = "max") -> tf.Tensor:
    """Make one heatmap of those of several layers, as ``maps.fuse`` does.

    Args:
        heatmaps: (B, H, W) each, in [0, 1].
        how: "max", "mean", "product" or "tanh_max".

    Returns:
        (B, H, W) float32 in [0, 1].

    Example:
        >>> fused([tf.constant([[[1.0, 0.5]]]), tf.constant([[[0.0, 1.0]]])], "mean").numpy()
        array([[[0.6666667, 1.       ]]], dtype=float32)
    """
    stack = tf.stack(heatmaps)
    if how == "mean":
        return scaled(tf.reduce_mean(stack, axis=0))
    if how == "product":
        return scaled(tf.reduce_prod(stack, axis=0))
    return scaled(tf.reduce_max(tf.tanh(2 * stack) if how == "tanh_max" else stack, axis=0))


def cancels(terms: tf.Tensor, axes: Sequence[int], spacing: float = FLOAT32) -> tf.Tensor:
    """Tell whether all sums over some axes are nothing but the rounding of what was summed.

    They are where the largest is less than 64 roundings of the largest sum of absolute terms, as
    terms are themselves sums that cancelled. In dtypes of few digits, where that would be much, it
    is also less than an 8th of what is left of n terms of random signs, 1 / sqrt(n) of their size.

    Args:
        terms: (B, ..., K) float32.
        axes: Those that are summed over.
        spacing: Of numbers near 1 in the dtype that the terms were computed in.

    Returns:
        (B, 1, ..., 1) bool: whether it is so of every sum of an image.

    Example:
        >>> cancels(tf.constant([[1.0, -1.0 + 1e-7], [1e-9, 2e-9]]), [1]).numpy().ravel()
        array([ True, False])
    """
    sums = tf.abs(tf.reduce_sum(terms, axes, keepdims=True))
    absolute = tf.reduce_sum(tf.abs(terms), axes, keepdims=True)
    sides = sizes(terms)
    count = tf.cast(tf.maximum(math.prod(sides[axis] for axis in axes), 1), terms.dtype)
    least = tf.minimum(tf.cast(64 * spacing, count.dtype), 1 / (8 * tf.sqrt(count)))
    inner = list(range(1, terms.shape.rank))
    largest, size = (tf.reduce_max(each, inner, keepdims=True) for each in (sums, absolute))
    return (largest <= least * size) & tf.math.is_finite(size)


def first_component(maps: tf.Tensor, towards: tf.Tensor | None = None) -> tf.Tensor:
    """A v_1 of each image's matrix of positions by channels, through the smaller Gram matrix.

    A singular vector has no sign. It is turned so that it agrees with ``towards`` (a positive
    inner product) or, without that, so that its larger extreme is positive.

    Args:
        maps: (B, h, w, K) float32, not centred.
        towards: (B, h, w), or None.

    Returns:
        (B, h, w) float32; NaN for an image that has NaN or infinite values, as everywhere else.

    Example:
        >>> first_component(tf.constant([[[[3.0, 0.0], [4.0, 0.0]]]])).numpy().round(4)
        array([[[3., 4.]]], dtype=float32)
    """
    batch, *sides, channels = sizes(maps)
    matrix = tf.reshape(maps, (-1, math.prod(sides), channels))
    # The decomposition stops at NaN.
    finite = tf.reduce_all(tf.math.is_finite(matrix), axis=(1, 2), keepdims=True)
    matrix = tf.where(finite, matrix, 0.0)
    # Scaled first: squares of gradients underflow.
    size = tf.reduce_max(tf.abs(matrix), axis=(1, 2), keepdims=True)
    matrix = tf.math.divide_no_nan(matrix, size)

    def by_positions() -> tf.Tensor:
        values, vectors = tf.linalg.eigh(tf.matmul(matrix, matrix, transpose_b=True))
        return tf.sqrt(tf.nn.relu(values[:, -1:])) * vectors[..., -1]

    def by_channels() -> tf.Tensor:
        vectors = tf.linalg.eigh(tf.matmul(matrix, matrix, transpose_a=True))[1]
        return tf.linalg.matvec(matrix, vectors[..., -1])

    fewer = math.prod(sides) <= channels
    if isinstance(fewer, bool):
        component = by_positions() if fewer else by_channels()
    else:
        component = tf.cond(fewer, by_positions, by_channels)
    if towards is None:
        agreement = tf.reduce_max(component, 1) + tf.reduce_min(component, 1)
    else:
        agreement = tf.reduce_sum(component * tf.reshape(towards, tf.shape(component)), 1)
    sign = tf.where(agreement < 0, -1.0, 1.0)[:, tf.newaxis]
    component = tf.where(finite[..., 0], component * sign * size[..., 0], float("nan"))
    return tf.reshape(component, (batch, *sides))
