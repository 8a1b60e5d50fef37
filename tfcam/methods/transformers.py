"""Maps of a transformer's attention: rollout, and relevance by attention and gradients."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcam.methods.registry import method
from tfcam.model.tokens import Grid, to_map
from tfcam.passes.reading import Need, Reading


@method(Need.ATTENTIONS, passes="F", of_class="no", combines=False)
def attention_rollout(reading: Reading) -> tf.Tensor:
    """Attention rollout: how much each patch reaches the class token through all attentions.

    a_l = the mean of layer l's heads plus the identity, each row scaled to the sum 1;
    R = a_L ... a_1; the map is the class token's row of R, or the mean of the patches' rows where
    the head reads no such token. It knows of no class, and of nothing but attention. For
    transformers only.

    Args:
        reading: attentions, each (B, heads, T, T), and the grid of the patches; of texts the words,
            of which the first token is none where it is the class token.

    Returns:
        (B, h, w), not negative; of texts (B, T).

    Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3.

    Example:
        >>> from tfcam.model.tokens import Grid
        >>> scores = tf.constant([[[[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]])
        >>> attention_rollout(Reading(None, attentions=(scores,), grid=Grid(1, 2, 1))).numpy()
        array([[[0.25, 0.25]]], dtype=float32)
    """
    if reading.grid is None:
        return _word_map(rollout(reading.attentions), reading)
    return rollout_map(reading.attentions, reading.grid)


@method(Need.ATTENTIONS | Need.ATTENTION_GRADIENTS, combines=False)
def generic_attention(reading: Reading) -> tf.Tensor:
    """Generic attention: what speaks for the class on its way through all attentions.

    R = I, then of each layer l in turn R = R + mean_heads(relu(ds/dA_l A_l)) R, elementwise in the
    brackets; the map is the class token's row of R, or where the head reads no such token the
    mean of the patches' rows of R - I. Unlike rollout it tells classes apart. For transformers
    only.

    Args:
        reading: attentions and attention_gradients, each (B, heads, T, T), and the grid of the
            patches; of texts the words, of which the first token is none where it is the class
            token.

    Returns:
        (B, h, w), not negative; of texts (B, T).

    Source: Chefer et al. 2021, "Generic Attention-Model Explainability for Interpreting Bi-Modal
    and Encoder-Decoder Transformers", eq. 5 and 6.

    Example:
        >>> from tfcam.model.tokens import Grid
        >>> scores = tf.constant([[[[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]])
        >>> slopes = tf.constant([[[[1.0, 4.0, -4.0]] * 3]])
        >>> reading = Reading(
        ...     None, attentions=(scores,), attention_gradients=(slopes,), grid=Grid(1, 2, 1)
        ... )
        >>> generic_attention(reading).numpy()
        array([[[2., 0.]]], dtype=float32)
    """
    _check_scores(reading.attentions)
    flow = generic_flow(reading.attentions, reading.attention_gradients)
    if reading.grid is None:
        return _word_map(flow, reading)
    return _row_map(flow, reading.grid)


def generic_flow(scores: Sequence[tf.Tensor], slopes: Sequence[tf.Tensor]) -> tf.Tensor:
    """Add up what speaks for the score on its way through all attentions.

    Args:
        scores: (B, heads, T, T) for each attention, from the first to the last.
        slopes: The explained score's gradients by them.

    Returns:
        R - I, (B, T, T), not negative.

    Example:
        >>> generic_flow([tf.ones((1, 1, 2, 2))] * 2, [tf.ones((1, 1, 2, 2))] * 2)[0].numpy()
        array([[4., 4.],
               [4., 4.]], dtype=float32)
    """
    flow = tf.zeros_like(scores[0][:, 0])
    for layer_scores, layer_slopes in zip(scores, slopes, strict=True):
        step = tf.reduce_mean(tf.nn.relu(layer_slopes * layer_scores), axis=1)
        flow += step + tf.matmul(step, flow)
    return flow


def rollout(scores: Sequence[tf.Tensor]) -> tf.Tensor:
    """Multiply attentions out: how much each token of the last layer takes from each patch token.

    a_l = 0.5 mean_heads(A_l) + 0.5 I with its rows divided by their sums;  R = a_L ... a_1. The
    identity stands for the connection around each attention.

    Args:
        scores: (B, heads, T, T) for each attention, from the first to the last.

    Returns:
        (B, T, T); rows sum to 1.

    Raises:
        ValueError: If there are no scores, or not all are of the same tokens.

    Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3.

    Example:
        >>> uniform = tf.fill((1, 1, 2, 2), 0.5)
        >>> rollout([uniform])[0].numpy()
        array([[0.75, 0.25],
               [0.25, 0.75]], dtype=float32)
    """
    _check_scores(scores)
    identity = tf.eye(tf.shape(scores[0])[2], dtype=scores[0].dtype)
    flow = identity[tf.newaxis]
    for layer_scores in scores:
        step = 0.5 * tf.reduce_mean(layer_scores, axis=1) + 0.5 * identity
        flow = tf.matmul(step / tf.reduce_sum(step, axis=-1, keepdims=True), flow)
    return flow


def rollout_map(scores: Sequence[tf.Tensor], grid: Grid) -> tf.Tensor:
    """Lay attention rollout on the grid: the class token's row, or the mean of the patches' rows.

    Args:
        scores: (B, heads, T, T) for each attention, from the first to the last.
        grid: How the T tokens lie in the image.

    Returns:
        (B, h, w), not negative.

    Raises:
        ValueError: As ``rollout``, or if attention is over other tokens than the grid holds.

    Example:
        >>> rollout_map([tf.fill((1, 1, 3, 3), 1 / 3)], Grid(1, 2, extra=1)).numpy().round(4)
        array([[[0.1667, 0.1667]]], dtype=float32)
    """
    flow = rollout(scores)
    return _row_map(flow, grid)


def _row_map(flow: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Lay what reaches the class token on the grid, or the mean of the patches without one."""
    count = grid.count
    if flow.shape[-1] not in (count, None):
        raise ValueError(
            f"A map of attention needs attention over all {count} tokens; here each is over "
            f"{flow.shape[-1]}, such as those of a window. A gradient method such as grad_cam "
            "applies."
        )
    if grid.extra and grid.class_token is not None:
        row = flow[:, grid.class_token]
    else:
        row = tf.reduce_mean(to_map(flow, grid), axis=range(1, 1 + len(grid.sides)))
    return to_map(row[..., tf.newaxis], grid)[..., 0]


def _word_map(flow: tf.Tensor, reading: Reading) -> tf.Tensor:
    """What reaches a text's class token, or the mean of its words where it has none: (B, T)."""
    words = reading.network.words
    assert words is not None
    length = words.owners.shape[1]
    if flow.shape[-1] != length:
        raise ValueError(
            f"A map of attention needs attention over all {length} positions of the text; here "
            f"each is over {flow.shape[-1]}. Gradients, as of integrated_gradients, apply."
        )
    of_words = tf.cast(words.owners >= 0, flow.dtype)[..., tf.newaxis]
    mean = tf.math.divide_no_nan(tf.reduce_sum(of_words * flow, 1), tf.reduce_sum(of_words, 1))
    return tf.where(words.owners[:, :1] < 0, flow[:, 0], mean)


def _check_scores(scores: Sequence[tf.Tensor]) -> None:
    if not scores:
        raise ValueError("A map of attention needs at least one attention; the model called none.")
    shapes = [tuple(layer_scores.shape) for layer_scores in scores]
    if any(len(shape) != 4 or shape[2] != shape[3] for shape in shapes):
        raise ValueError(
            "A map of attention needs scores (B, heads, T, T), of attention over all tokens; got "
            f"{', '.join(map(str, dict.fromkeys(shapes)))}."
        )
    if len({(shape[0], shape[2]) for shape in shapes}) > 1:
        raise ValueError(
            "A map of attention needs the same tokens in every attention; their number, or that of "
            f"windows, changes from call to call: {', '.join(map(str, dict.fromkeys(shapes)))}. "
            "A gradient method such as grad_cam applies."
        )
