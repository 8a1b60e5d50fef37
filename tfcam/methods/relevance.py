"""Maps of pixels by rules of their own on the way back: DeepLIFT and LRP."""

from __future__ import annotations

import tensorflow as tf

from tfcam.methods.registry import OPTION_CHECKS, method
from tfcam.passes.linear_rules import Composite, found_composite
from tfcam.passes.reading import Need, Reading

OPTION_CHECKS["Composite"] = lambda composite: found_composite(composite, 1.0, 0.0)


@method(Need.NETWORK, pixels=True, passes="3 F + 2 B")
def deep_lift(reading: Reading, *, baseline: float = 0.0) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """DeepLIFT: each value's part in the score's rise from a baseline, in one pass back.

    M = m (x - x'), with m of the rescale rule: through z = f(x) of one number m_x = m_z (z - z') /
    (x - x'), through linear layers the gradient. Products, quotients, maxima and softmax have rules
    that keep the sum as well, so that the sum of M is s(x) - s(x') but for rounding, which
    ``completeness_error`` reports. What has no rule, such as a loop, is refused by its name.

    Args:
        reading: the network.
        baseline: x', in the values of the network's own input: 0 is grey for inputs of -1..1
            and for those with the mean taken off.

    Returns:
        (B, H, W, C), signed, and completeness_error: s(x) - s(x') less the sum of M, (B,).

    Source: Shrikumar et al. 2017, "Learning Important Features Through Propagating Activation
    Differences", section 3.5.1. Departs from the paper: what a maximum gained is shared between
    where the image and where the baseline has it, products and softmax have exact rules of their
    own; RevealCancel is not there.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="deep_lift")
        >>> abs(result.measured["completeness_error"]) < 1e-4 * abs(result.score)
        True
    """
    network = reading.network
    start = tf.fill([1, *network.images.shape[1:]], tf.cast(baseline, network.images.dtype))
    multipliers, rise = network.multipliers(start)
    raw = multipliers * tf.cast(network.images - start, tf.float32)
    return raw, {"completeness_error": rise - tf.reduce_sum(raw, list(range(1, raw.shape.rank)))}


def _layer_relevance(
    reading: Reading,
    *,
    composite: Composite | str = "epsilon_plus",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """LRP down to the layer alone, summed over its channels."""
    rules = found_composite(composite, epsilon, gamma)
    relevance = reading.network.relevance(rules, float(epsilon), float(gamma), of_layer=True)
    return reading.combine(relevance[0]), _kept(*relevance)


@method(
    Need.NETWORK,
    pixels=True,
    passes="2 F + 2 B",
    shown_as="summed",
    of_layer=_layer_relevance,
    any_length=False,
)
def lrp(
    reading: Reading,
    *,
    composite: Composite | str = "epsilon_plus",
    epsilon: float = 1e-6,
    gamma: float = 0.25,
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Layer-wise relevance propagation: the score, shared out layer by layer down to the pixels.

    Each layer's outputs share what they have among its inputs by a rule: "epsilon" by what each
    gave, R_i = sum_j a_i w_ij / (z_j + epsilon sign z_j) R_j; "zplus" by what spoke for the output
    alone; "gamma" by both, of which the first counts more; "flat" evenly; "box" for inputs within
    bounds. A batch normalisation is merged into the layer before it, activations let relevance
    pass, of a product with a gate the signal takes all, and of one of two signals each takes half.

    Args:
        reading: the network.
        composite: Which rules: "epsilon" for all layers (on a network of ReLUs the gradient times
            the input); "epsilon_plus", zplus for convolutions and epsilon for dense layers;
            "epsilon_plus_flat", the same with "flat" for the first layer; "epsilon_gamma_box",
            gamma, and box for the first; "alpha2_beta1" for convolutions. Or a ``Composite``.
        epsilon: Added to each denominator, away from zero; more of it leaves weak parts out.
        gamma: How much more positive weights count, by the rule of that name.

    Returns:
        (B, H, W, C), signed, or of a layer that is given the sum over its channels (B, h, w); and
        kept: the sum of M by the score, (B,). Biases take what they gave;
        "zplus" keeps hardly anything of deep networks with biases, and the map is as sharp. A
        heatmap shows the sum over the channels where it is positive: what spoke for the score.

    Raises:
        ValueError: If there is no such composite, epsilon is not positive or gamma is negative.

    Source: Bach et al. 2015, "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by
    Layer-Wise Relevance Propagation", eq. 56 to 60; the rules and composites of Montavon et al.
    2019, "Layer-Wise Relevance Propagation: An Overview", section 10.3. Departs from it: "box" has
    the bounds of each picture's own values; gamma is not for depthwise convolutions.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="lrp")
        >>> result.raw.shape, 0 < result.measured["kept"] < 1.5
        ((128, 128, 3), True)
    """
    rules = found_composite(composite, epsilon, gamma)
    relevance = reading.network.relevance(rules, float(epsilon), float(gamma))
    return relevance[0], _kept(*relevance)


def _kept(relevance: tf.Tensor, total: tf.Tensor) -> dict[str, tf.Tensor]:
    sums = tf.reduce_sum(relevance, list(range(1, relevance.shape.rank)))
    return {"kept": tf.math.divide_no_nan(sums, total)}
