"""Maps of pixels by rules of their own on the way back: DeepLIFT."""

from __future__ import annotations

import tensorflow as tf

from tfcam.methods.registry import method
from tfcam.passes.reading import Need, Reading


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
    Differences", section 3.5.1. Departs from the paper: maxima are shared as Captum does, products
    and softmax by exact rules of their own; RevealCancel is not there.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="deep_lift")
        >>> abs(result.measured["completeness_error"]) < 1e-4 * abs(result.score)
        True
    """
    network = reading.network
    start = tf.fill(network.images.shape, tf.cast(baseline, network.images.dtype))
    multipliers, rise = network.multipliers(start)
    raw = multipliers * tf.cast(network.images - start, tf.float32)
    return raw, {"completeness_error": rise - tf.reduce_sum(raw, list(range(1, raw.shape.rank)))}
