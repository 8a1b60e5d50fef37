"""Simple functions of an image's parts in the network's place: KernelSHAP, LIME."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tfcam.methods.masking import masked_scores
from tfcam.methods.registry import method
from tfcam.methods.segments import Parts, Segments, parts_of
from tfcam.passes.reading import Need, Reading

# So many parts are told apart at most: a system of as many equations is solved.
_MOST = 1024
# The error of KernelSHAP is found by leaving out one of so many blocks of samples.
_BLOCKS = 10
# LIME's: of the distance of a sample from the whole image.
_WIDTH = 0.25


class _Samples(NamedTuple):
    """Which parts are seen in each sample.

    Attributes:
        chosen: (B, count, n) float64, or (1, count, n): 1 where a part is seen.
        weights: (B, 1, n) float64, or (1, 1, n).
    """

    chosen: tf.Tensor
    weights: tf.Tensor


@method(
    Need.SCORES,
    pixels=True,
    passes="F + samples F",
    combines=False,
    shown_as="positive",
    hides_words=True,
    any_length=False,
)
def kernel_shap(
    reading: Reading,
    *,
    segments: Segments | None = None,
    samples: int = 2048,
    seed: int = 0,
    fill: Literal["mean", "zero", "blur"] = "mean",
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """KernelSHAP: each part's Shapley value, its share in the score's rise; no gradients.

    phi minimises sum_z pi(z) (s(z) - s(0) - sum_m z_m phi_m)^2 with sum_m phi_m = s(x) - s(0), over
    choices z of the parts that are seen, pi(z) = (M - 1) / (C(M, k) k (M - k)) of k of M parts. All
    choices are asked for where there are at most ``samples``, up to 11 parts by default: the values
    are then exact. Else choices are drawn by pi, each with its complement.

    Args:
        reading: scores (B,), and the network.
        segments: The parts: "grid:7" for 7 along each side, "slic" or "quickshift" for superpixels,
            or an integer map of the network's input, (H, W); None is "grid:7", and of a text its
            words.
        samples: Number of choices, at least two for each part.
        seed: Random seed of the choices.
        fill: What hides: the image's "mean" colour, "zero" of the network's own input, or the
            image behind a "blur". Of a text, "mean" is the mask, or else the padding.

    Returns:
        (B, H, W), signed, a value for each part, the same at all of its pixels;
        efficiency_residual, s(x) - s(0) less the sum of the values, (B,); and standard_error, the
        mean over the parts of the values' standard error, as a fraction of the values' deviation,
        (B,).

    Source: Lundberg and Lee 2017, "A Unified Approach to Interpreting Model Predictions", theorem
    2.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(
        ...     tfcam.demo_model(), scene, method="kernel_shap", segments="grid:3")
        >>> abs(result.measured["efficiency_residual"]) < 1e-3, result.measured["standard_error"]
        (True, 0.0)
    """
    parts = _parts(segments, reading, samples)
    drawn = _all(parts) if _can_be_all(parts, samples) else _by_kernel(parts, samples, seed)
    scores = _scores(reading, parts, drawn.chosen, fill)
    rise = tf.cast(reading.scores, tf.float64)[:, tf.newaxis] - scores[:, :1]
    values = _constrained(drawn, scores[:, 1:] - scores[:, :1], rise, parts.present)
    error = _left_out_error(values, parts.present) * (not _can_be_all(parts, samples))
    residual = tf.cast(rise[:, 0] - tf.reduce_sum(values[:, 0], 1), tf.float32)
    return parts.spread(values[:, 0]), {"efficiency_residual": residual, "standard_error": error}


@method(
    Need.SCORES,
    pixels=True,
    passes="F + samples F",
    combines=False,
    shown_as="positive",
    hides_words=True,
    any_length=False,
)
def lime(
    reading: Reading,
    *,
    segments: Segments | None = None,
    samples: int = 1000,
    ridge: float = 1.0,
    seed: int = 0,
    fill: Literal["mean", "zero", "blur"] = "mean",
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """LIME: the weights of a linear function of the image's parts near the whole; no gradients.

    theta minimises sum_z pi(z) (s(z) - b - sum_m z_m theta_m)^2 + ridge |theta|^2, over random
    choices z of the parts that are seen, each with probability 1/2; pi(z) = exp(-D^2 / (2 0.25^2)),
    D = 1 - sqrt(k / M) of k of M parts. ``fidelity`` says how much of the score that explains.

    Args:
        reading: the network.
        segments: The parts: "grid:7" for 7 along each side, "slic" or "quickshift" for superpixels,
            or an integer map of the network's input, (H, W); None is "grid:7", and of a text its
            words.
        samples: Number of choices, at least two for each part; the first shows all.
        ridge: How much large weights cost, at least 0.
        seed: Random seed of the choices.
        fill: What hides: the image's "mean" colour, "zero" of the network's own input, or the
            image behind a "blur". Of a text, "mean" is the mask, or else the padding.

    Returns:
        (B, H, W), signed, a weight for each part, the same at all of its pixels; fidelity, the
        weighted R^2 of the linear function, 1 where it is the score, (B,); and standard_error, the
        mean over the parts of the weights' standard error, as a fraction of the weights' deviation,
        (B,).

    Source: Ribeiro et al. 2016, "Why Should I Trust You?", eq. 1, and the authors' code. Departs
    from it: no choice of features; hides by the image's mean colour, not by each part's; the logit
    is explained unless score="probability" says otherwise.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="lime", segments="grid:4")
        >>> 0.5 < result.measured["fidelity"] < 1
        True
    """
    _check_ridge(ridge)
    parts = _parts(segments, reading, samples)
    drawn = _by_halves(parts, samples, seed)
    scores = _scores(reading, parts, drawn.chosen, fill)[:, 1:]
    theta, fidelity, errors = _ridge(drawn, scores, ridge * parts.present, reading.spacing)
    error = _relative(errors, theta, parts.present)
    return parts.spread(theta), {"fidelity": fidelity, "standard_error": error}


def _check_ridge(ridge: float) -> None:
    if not ridge >= 0:
        raise ValueError(f"ridge must be at least 0; got {ridge}.")


def _parts(segments: Segments | None, reading: Reading, samples: int) -> Parts:
    """Divide the images, into no more parts than the samples can tell apart."""
    parts = parts_of(segments, reading.network)
    if parts.count > _MOST:
        raise ValueError(
            f"segments must be of at most {_MOST} parts, for each of which others are hidden and "
            f"shown; got {parts.count}. For single pixels take integrated_gradients or deep_lift."
        )
    if samples < 2 * parts.count:
        raise ValueError(
            f"samples must be at least {2 * parts.count}, two for each of {parts.count} parts; got "
            f"{samples}. Ask for more, or for fewer segments."
        )
    return parts


def _scores(reading: Reading, parts: Parts, chosen: tf.Tensor, fill: str) -> tf.Tensor:
    """Score the images with no part seen, then with each choice (B, count, n): (B, 1 + n)."""
    choices = tf.transpose(tf.pad(chosen, [[0, 0], [0, 0], [1, 0]]), (2, 0, 1)) > 0
    scores = masked_scores(
        reading.network,
        choices.shape[0],
        lambda indices: parts.seen(tf.gather(choices, indices)),
        fill,
    )
    return tf.cast(tf.transpose(scores), tf.float64)


def _by_halves(parts: Parts, samples: int, seed: int) -> _Samples:
    """Draw choices that show each part with probability 1/2, the first of them all."""
    present = parts.present[..., tf.newaxis]
    draws = tf.random.stateless_uniform((parts.count, samples), [seed, 0])
    chosen = tf.cast((draws < 0.5) | (tf.range(samples) == 0), tf.float64) * present
    shares = tf.reduce_sum(chosen, 1, keepdims=True) / tf.reduce_sum(present, 1, keepdims=True)
    return _Samples(chosen, tf.exp(-0.5 * ((1 - tf.sqrt(shares)) / _WIDTH) ** 2))


def _ridge(
    drawn: _Samples, scores: tf.Tensor, penalty: tf.Tensor, spacing: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Fit weights and a free intercept to scores.

    Args:
        drawn: The samples.
        scores: (B, n) float64.
        penalty: (B, count) or (1, count) float64, what the square of each weight costs.
        spacing: Of numbers near 1 in the dtype of the scores.

    Returns:
        The weights (B, count), R^2 (B,) float32, and the weights' standard errors (B, count).
    """
    chosen, weights = drawn
    scores = scores[..., tf.newaxis]
    total = tf.reduce_sum(weights, 2, keepdims=True)
    off = chosen - tf.reduce_sum(weights * chosen, 2, keepdims=True) / total
    rises = scores - tf.matmul(weights, scores) / total
    gram = tf.matmul(weights * off, off, transpose_b=True)
    inverse = _inverse(gram + tf.linalg.diag(penalty))
    theta = tf.matmul(inverse, tf.matmul(weights * off, rises))
    missed = tf.matmul(weights, (rises - tf.matmul(off, theta, transpose_a=True)) ** 2)[:, 0]
    varied = tf.matmul(weights, rises**2)[:, 0]
    rounded = (64 * spacing * tf.reduce_max(tf.abs(scores), 1)) ** 2 * total[:, 0]
    fidelity = tf.where(varied > rounded, 1 - tf.math.divide_no_nan(missed, varied), 1)
    seen = tf.reduce_sum(tf.cast(tf.reduce_any(chosen > 0, 2), tf.float64), 1, keepdims=True)
    freedom = tf.maximum(chosen.shape[2] - seen - 1, 1)
    errors = tf.sqrt(missed / freedom * tf.linalg.diag_part(inverse))
    return theta[..., 0], tf.cast(fidelity[:, 0], tf.float32), errors


def _left_out_error(values: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Tell the jackknife's standard error of values (B, 1 + blocks, count), relative."""
    off = values[:, 1:] - tf.reduce_mean(values[:, 1:], 1, keepdims=True)
    spread = (_BLOCKS - 1) / _BLOCKS * tf.reduce_sum(off**2, 1)
    return _relative(tf.sqrt(spread), values[:, 0], present)


def _relative(errors: tf.Tensor, values: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """The mean of errors (B, count) as a fraction of the values' deviation, (B,) float32."""
    count = tf.reduce_sum(present, 1)
    mean = tf.reduce_sum(values * present, 1, keepdims=True) / count[:, tf.newaxis]
    deviation = tf.sqrt(tf.reduce_sum(((values - mean) * present) ** 2, 1) / count)
    error = tf.reduce_sum(errors * present, 1) / count
    return tf.cast(tf.math.divide_no_nan(error, deviation), tf.float32)


def kernel_weights(count: int) -> np.ndarray:
    """The weights of KernelSHAP for choices of 1, ..., count - 1 parts together.

    Example:
        >>> kernel_weights(4) / [4, 6, 4]  # of each choice: C(4, k) have k parts
        array([0.25 , 0.125, 0.25 ])
    """
    sizes = np.arange(1, count)
    return (count - 1) / (sizes * (count - sizes))


def _can_be_all(parts: Parts, samples: int) -> bool:
    """Whether all choices of the parts can be asked for."""
    return 2**parts.count - 2 <= samples


def _all(parts: Parts) -> _Samples:
    """All choices but none and all parts, with their weights, which are those of own parts."""
    count, present = parts.count, parts.present[..., tf.newaxis]
    numbers = np.arange(1, max(2**count - 1, 2))
    chosen = (numbers >> np.arange(count)[:, np.newaxis]) & 1
    table = np.zeros((count + 1, count + 1))
    for m in range(2, count + 1):
        table[m, 1:m] = kernel_weights(m) / [math.comb(m, k) for k in range(1, m)]
    own = tf.constant(chosen[np.newaxis], tf.float64) * present
    of, seen = (tf.cast(tf.reduce_sum(each, 1, keepdims=True), tf.int32) for each in (present, own))
    weights = tf.gather_nd(tf.constant(table), tf.stack([of + 0 * seen, seen], -1))
    return _Samples(own, weights)


def _by_kernel(parts: Parts, samples: int, seed: int) -> _Samples:
    """Draw choices by the kernel, each with its complement behind it."""
    present, count, pairs = parts.present, parts.count, samples // 2
    own = tf.cast(tf.reduce_sum(present, 1), tf.int32)
    # Of m parts, the probability of at most 1, 2, ... of them.
    most = np.ones((count + 1, count))
    for m in range(2, count + 1):
        most[m, : m - 1] = np.cumsum(kernel_weights(m)) / kernel_weights(m).sum()
    at = tf.random.stateless_uniform((pairs,), [seed, 1])[:, tf.newaxis]
    limits = tf.gather(tf.constant(most, tf.float32), own)
    sizes = 1 + tf.reduce_sum(tf.cast(at >= limits[:, tf.newaxis], tf.int32), 2)
    # So many as come first in a random order of the parts that are there.
    order = tf.random.stateless_uniform((pairs, count), [seed, 0])
    order = tf.where(present[:, tf.newaxis] > 0, order, 2.0)
    ranks = tf.argsort(tf.argsort(order, axis=2), axis=2)
    chosen = tf.cast(ranks < sizes[..., tf.newaxis], tf.float64) * present[:, tf.newaxis]
    both = tf.stack([chosen, present[:, tf.newaxis] - chosen], 2)
    both = tf.reshape(both, (-1, 2 * pairs, count))
    seen = tf.reduce_sum(both, 2)
    weights = tf.cast((seen > 0) & (seen < tf.cast(own, tf.float64)[:, tf.newaxis]), tf.float64)
    return _Samples(tf.transpose(both, (0, 2, 1)), weights[:, tf.newaxis])


def _constrained(
    drawn: _Samples, rises: tf.Tensor, rise: tf.Tensor, present: tf.Tensor
) -> tf.Tensor:
    """Fit the values of all samples, and with each block of samples left out.

    Args:
        drawn: The samples.
        rises: (B, n) float64, how much each rises above nothing seen.
        rise: (B, 1) float64, how much the whole does: what the values sum to.
        present: (B, count) or (1, count) float64, the parts that an image has.

    Returns:
        (B, 1 + blocks, count) float64.
    """
    chosen, weights, seen = map(_in_blocks, (*drawn, rises[:, tf.newaxis]))
    weighted = chosen * weights
    grams = _and_left_out(tf.matmul(weighted, chosen, transpose_b=True))
    sums = _and_left_out(tf.linalg.matvec(weighted, seen[:, :, 0]))
    # As the sum of the values is known, the square of its error may be added.
    ones = present[:, tf.newaxis]
    inverse = _inverse(grams + ones[..., tf.newaxis] * ones[..., tf.newaxis, :])
    free = tf.linalg.matvec(inverse, sums + rise[:, tf.newaxis] * ones)
    slopes = tf.linalg.matvec(inverse, tf.broadcast_to(ones, inverse.shape[:-1]))
    excess = tf.reduce_sum(free, 2, keepdims=True) - rise[:, tf.newaxis]
    return free - excess / tf.reduce_sum(slopes, 2, keepdims=True) * slopes


def _in_blocks(values: tf.Tensor) -> tf.Tensor:
    """Cut (B, rows, n) into blocks of whole pairs, filled up with 0: (B, blocks, rows, size)."""
    batch, rows, count = values.shape
    size = 2 * -(-count // (2 * _BLOCKS))
    padded = tf.pad(values, [[0, 0], [0, 0], [0, size * _BLOCKS - count]])
    return tf.transpose(tf.reshape(padded, (batch, rows, _BLOCKS, size)), (0, 2, 1, 3))


def _inverse(grams: tf.Tensor) -> tf.Tensor:
    """Invert symmetric matrices, where they can be: parts that are always together share alike."""
    values, vectors = tf.linalg.eigh(grams)
    kept = values > 1e-10 * values[..., -1:]
    inverse = tf.where(kept, 1 / tf.where(kept, values, 1), 0)
    return tf.matmul(vectors * inverse[..., tf.newaxis, :], vectors, transpose_b=True)


def _and_left_out(blocks: tf.Tensor) -> tf.Tensor:
    """Sum over blocks (B, blocks, ...): of all, then of all but each."""
    total = tf.reduce_sum(blocks, 1, keepdims=True)
    return tf.concat([total, total - blocks], 1)
