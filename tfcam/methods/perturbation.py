"""Maps of a layer that ask the network again and again: noise, masks, ablations."""

from __future__ import annotations

from typing import Literal

import tensorflow as tf

from tfcam.maps.tensors import by_rows
from tfcam.methods.batching import in_chunks
from tfcam.methods.cam import positions
from tfcam.methods.masking import masked_scores
from tfcam.methods.registry import method
from tfcam.passes.reading import Need, Reading


@method(Need.NETWORK, passes="F + K F", of_class="partly")
def score_cam(
    reading: Reading,
    *,
    weights: Literal["probability", "channel_softmax", "logit_softmax"] = "probability",
    channels: int | None = None,
    fill: Literal["zero", "mean"] = "zero",
) -> tf.Tensor:
    """Score-CAM: each channel weighted by the score of the image seen through it; no gradients.

    H_k is the resized channel, scaled to 0..1; w_k = f_c(x H_k);  M = sum_k w_k A_k. The baseline
    f_c(0), one number for all channels, is taken as 0.

    Args:
        reading: activations (B, h, w, K), and the network.
        weights: "probability": the probability of the class, 0 for a channel that does not vary,
            as the authors' code does; "channel_softmax": a softmax over the channels of these
            probabilities, as in the paper's second version; "logit_softmax": a softmax over the
            channels of the logits, nearly one channel alone. A callable target's number stands
            for the probability.
        channels: Only the channels that vary most over positions; None takes them all.
        fill: What H_k hides becomes "zero" in the network's own input, as the authors do: grey
            for inputs of -1..1 and for those with the mean taken off, but black for inputs of
            0..255; or the "mean" of each of the image's colours, which is grey for all.

    Returns:
        (B, h, w), not negative where no activation is.

    Source: Wang et al. 2020, "Score-CAM", eq. 3 to 6.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> tfcam.explain(tfcam.demo_model(), scene, method="score_cam", channels=8).raw.shape
        (16, 16)
    """
    activations = _most_varied(reading.activations, channels)
    scores = _masked_scores(reading, activations, weights != "logit_softmax", fill)
    if weights == "probability":
        varies = tf.reduce_max(_unit(activations), positions(activations)) > 0
        scores = tf.where(varies, scores, 0.0)
    else:
        scores = tf.nn.softmax(scores)
    return reading.combine(_over_positions(scores, activations) * activations)


def _most_varied(activations: tf.Tensor, channels: int | None) -> tf.Tensor:
    """Choose each image's channels with the largest deviation over positions, (B, h, w, N)."""
    if channels is None or channels >= activations.shape[-1]:
        return activations
    deviation = tf.math.reduce_std(activations, positions(activations))
    chosen = tf.math.top_k(deviation, channels).indices
    return tf.gather(activations, chosen, axis=-1, batch_dims=1)


def _unit(activations: tf.Tensor) -> tf.Tensor:
    """Scale each channel to 0..1 over its positions; one that does not vary is 0."""
    axes = positions(activations)
    low = tf.reduce_min(activations, axes, keepdims=True)
    return tf.math.divide_no_nan(
        activations - low, tf.reduce_max(activations, axes, keepdims=True) - low
    )


def _over_positions(weights: tf.Tensor, activations: tf.Tensor) -> tf.Tensor:
    """Reshape (B, K) to (B, 1, 1, K)."""
    return tf.reshape(weights, (-1, *[1] * len(positions(activations)), weights.shape[-1]))


def _masked_scores(
    reading: Reading, activations: tf.Tensor, probability: bool, fill: str
) -> tf.Tensor:
    """Score the images seen through each channel, (B, K)."""
    network = reading.network
    # Scaled after resizing, as the authors do: resizing lowers the maximum.
    sides = network.images.shape[1 : activations.shape.rank - 1]

    def keep(indices: tf.Tensor) -> tf.Tensor:
        masks = _unit(reading.over_image(tf.gather(activations, indices, axis=-1), sides))
        last = masks.shape.rank - 1
        return tf.transpose(masks, (last, *range(last)))

    count = activations.shape[-1]
    return tf.transpose(masked_scores(network, count, keep, fill, probability))


@method(Need.HEAD, wants=Need.CLASS_WEIGHTS, passes="F + K heads")
def ablation_cam(reading: Reading, *, fill: Literal["zero", "mean"] = "zero") -> tf.Tensor:
    """Ablation-CAM: each channel weighted by how much the score falls without it; no gradients.

    w_k = y - y_k, y_k being the score with channel k set to zero;  M = sum_k w_k A_k. Only what
    follows the layer is computed for y_k. On average pooling and one linear layer
    w_k = W_kc mean(A_k), which needs no pass at all and is what is computed there.

    Args:
        reading: activations (B, h, w, K), scores (B,), class_weights (B, K) where the head is
            linear, and the network.
        fill: "zero", or "mean" for the channel's mean over its positions: what is missing then
            is only where the channel is active.

    Returns:
        (B, h, w), signed.

    Source: Desai and Ramaswamy 2020, "Ablation-CAM", eq. 2 and 3. Departs from the paper: w_k is
    not divided by y, one number for all channels, whose sign would turn the map over.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [3.0, 0.0]]]])
        >>> weights = tf.constant([[5.0, -1.0]])
        >>> ablation_cam(Reading(activations, class_weights=weights)).numpy()  # w = 10, -1
        array([[[ 8., 30.]]], dtype=float32)
    """
    activations = reading.activations
    means = tf.reduce_mean(activations, positions(activations))
    if reading.class_weights is None:
        drops = reading.scores[:, tf.newaxis] - _ablated_scores(reading, means, fill)
    else:
        drops = reading.class_weights * (means if fill == "zero" else tf.zeros_like(means))
    return reading.combine(_over_positions(drops, activations) * activations)


def _ablated_scores(reading: Reading, means: tf.Tensor, fill: str) -> tf.Tensor:
    """Score the images with each channel set to zero or to its mean, (B, K)."""
    activations, network = reading.activations, reading.network
    channels = activations.shape[-1]
    replacement = _over_positions(means if fill == "mean" else tf.zeros_like(means), activations)

    def scores(indices: tf.Tensor) -> tf.Tensor:
        off = tf.one_hot(indices, channels, on_value=True, off_value=False, dtype=tf.bool)
        off = tf.reshape(off, (-1, *[1] * (activations.shape.rank - 1), channels))
        variants = tf.where(off, replacement, activations)
        return network.head(by_rows(variants))

    return tf.transpose(in_chunks(channels, network.groups, scores))
