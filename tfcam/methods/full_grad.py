"""FullGrad: the input's gradient and every bias's, added up over the whole network."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcam.maps.tensors import resized
from tfcam.methods.registry import method
from tfcam.passes.reading import Need, Reading


@method(Need.BIAS_ATTRIBUTIONS, pixels=True, passes="2 F + B", of_class="partly", combines=False)
def full_grad(reading: Reading) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """FullGrad: what the image's values and every layer's biases gave to the score.

    s(x) = sum x ds/dx + sum_l sum b_l ds/dz_l where the network is piecewise linear; others are
    refused. M = psi(x ds/dx) + sum_l psi(b_l ds/dz_l), summed over channels; psi takes absolute
    values, scales each layer's to 0..1 and resizes. It says where, not for or against.

    Args:
        reading: image_gradients (B, H, W, C), bias_attributions of each layer, scores (B,), and
            the network.

    Returns:
        (B, H, W), not negative, and completeness_error: s(x) less the sum of both parts, (B,).

    Source: Srinivas and Fleuret 2019, "Full-Gradient Representation", section 3 and 5.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="full_grad")
        >>> abs(result.measured["completeness_error"]) < 1e-4 * abs(result.score)
        True
    """
    values = (reading.network.images, reading.image_gradients, reading.bias_attributions)
    error = completeness_error(*values, reading.scores)
    return full_gradient_map(*values), {"completeness_error": error}


def full_gradient_map(
    images: tf.Tensor, gradients: tf.Tensor, attributions: Sequence[tf.Tensor]
) -> tf.Tensor:
    """Sum absolute attributions of pixels and biases, each scaled: FullGrad's map.

    M = sum_c psi(x df/dx)_c + sum_l sum_c psi(b_l df/dz_l)_c, with psi = resize(rescale(|.|)).
    As in the authors' code, rescaling to [0, 1] is over all positions and channels of an image and
    layer together, so that channels keep their proportions, and only biases of maps count, not
    those of dense layers. Other than there, nothing is added to the denominator (a constant tensor
    becomes zero), and resizing aligns pixel areas, not corners, as all of tfcam does.

    Args:
        images: The model's input, (B, H, W, C).
        gradients: Of the scores by the images, (B, H, W, C).
        attributions: b_l df/dz_l of each bias, of the shape of its layer's output.

    Returns:
        (B, H, W), not negative.

    Source: Srinivas and Fleuret 2019, "Full-Gradient Representation", FullGrad; the rescaling is
    that of the authors' code (idiap/fullgrad-saliency).

    Example:
        >>> pixels, bias = tf.constant([[[[1.0], [3.0]]]]), tf.constant([[[[0.0], [-2.0]]]])
        >>> full_gradient_map(pixels, tf.ones_like(pixels), [bias]).numpy()
        array([[[0., 2.]]], dtype=float32)
    """
    sides = images.shape[1:-1]
    maps = [
        attribution for attribution in attributions if attribution.shape.rank == images.shape.rank
    ]
    parts = [_rescaled(tf.abs(values)) for values in (images * gradients, *maps)]
    # Sums and resizing are linear: one channel is resized in place of all.
    sums = [tf.reduce_sum(part, axis=-1, keepdims=True) for part in parts]
    return tf.add_n([resized(total, sides) for total in sums])[..., 0]


def _rescaled(values: tf.Tensor) -> tf.Tensor:
    """Scale each image's values to [0, 1], from smallest to largest; zero where all are equal."""
    axes = range(1, values.shape.rank)
    values -= tf.reduce_min(values, axis=axes, keepdims=True)
    return tf.math.divide_no_nan(values, tf.reduce_max(values, axis=axes, keepdims=True))


def completeness_error(
    images: tf.Tensor, gradients: tf.Tensor, attributions: Sequence[tf.Tensor], scores: tf.Tensor
) -> tf.Tensor:
    """Subtract pixels and biases from the score: zero, but for rounding, if no bias is missing.

    Args:
        images: The model's input, (B, H, W, C).
        gradients: Of the scores by the images, (B, H, W, C).
        attributions: b_l df/dz_l of each bias, (B, ...); those of dense layers too.
        scores: (B,).

    Returns:
        (B,), f(x) - sum x df/dx - sum_l sum b_l df/dz_l.

    Source: Srinivas and Fleuret 2019, "Full-Gradient Representation", completeness.

    Example:
        >>> pixels, bias = tf.constant([[[[1.0], [3.0]]]]), tf.constant([[0.5]])
        >>> completeness_error(pixels, 2 * pixels, [bias], tf.constant([20.75])).numpy()
        array([0.25], dtype=float32)
    """
    parts = [images * gradients, *attributions]
    sums = [tf.reduce_sum(part, axis=range(1, part.shape.rank)) for part in parts]
    return scores - tf.add_n(sums)
