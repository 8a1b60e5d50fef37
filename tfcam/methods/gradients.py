"""Maps of pixels: what each value of the model's input did for the score."""

from __future__ import annotations

from dataclasses import replace

import tensorflow as tf

from tfcam.methods.batching import mean_of
from tfcam.methods.cam import grad_cam
from tfcam.methods.registry import method
from tfcam.passes.reading import Need, Reading


@method(Need.IMAGE_GRADIENTS, pixels=True)
def saliency(reading: Reading) -> tf.Tensor:
    """Saliency: the score's gradient by the image; where a small change would matter most.

    The heatmap shows the largest absolute value over the channels, as the paper does.

    Args:
        reading: image_gradients (B, H, W, C).

    Returns:
        (B, H, W, C), signed.

    Source: Simonyan et al. 2013, "Deep Inside Convolutional Networks", section 3.

    Example:
        >>> gradients = tf.constant([[[[1.0, -2.0, 0.0]]]])
        >>> saliency(Reading(None, image_gradients=gradients)).numpy()
        array([[[[ 1., -2.,  0.]]]], dtype=float32)
    """
    return tf.convert_to_tensor(reading.image_gradients)


@method(Need.IMAGE_GRADIENTS, pixels=True)
def gradient_input(reading: Reading) -> tf.Tensor:
    """Gradient times input: what each value gives to the score where the network is linear.

    M = x ds/dx. It says nothing where x is 0, which is what the network takes for 0: black, grey
    or the mean colour. Of a network of ReLUs without biases its sum is the score.

    Args:
        reading: image_gradients (B, H, W, C), and the network.

    Returns:
        (B, H, W, C), signed.

    Source: Shrikumar et al. 2016, "Not Just a Black Box: Learning Important Features Through
    Propagating Activation Differences", section 2.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> tfcam.explain(tfcam.demo_model(), scene, method="gradient_input").raw.shape
        (128, 128, 3)
    """
    return tf.cast(reading.network.images, tf.float32) * reading.image_gradients


@method(Need.NETWORK, pixels=True, passes="2 F + steps (F + B)")
def integrated_gradients(
    reading: Reading, *, steps: int = 32, baseline: float = 0.0
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Integrated gradients: each value's part in the score's rise from a baseline to the image.

    M = (x - x') times the mean of ds/dx on the straight way from x' to x, by the midpoint rule.
    The sum of M is s(x) - s(x') but for ``completeness_error``, which the result reports: more
    steps make it smaller.

    Args:
        reading: scores (B,), and the network.
        steps: Number of points on the way.
        baseline: x', in the values of the network's own input: 0 is grey for inputs of -1..1
            and for those with the mean taken off.

    Returns:
        (B, H, W, C), signed, and completeness_error: s(x) - s(x') less the sum of M, (B,).

    Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", eq. 1 and 3.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="integrated_gradients")
        >>> abs(result.measured["completeness_error"]) < 0.05 * abs(result.score)
        True
    """
    network = reading.network
    start = tf.fill(network.images.shape, tf.cast(baseline, network.images.dtype))
    way = network.images - start
    raw = way * mean_of(
        steps, way, lambda step: network.image_gradients(start + _middle(step, steps) * way)
    )
    rise = reading.scores - network.scores(start)[0]
    return raw, {"completeness_error": rise - tf.reduce_sum(raw, list(range(1, raw.shape.rank)))}


def _middle(step: tf.Tensor, steps: int) -> tf.Tensor:
    """Find the middle of one of equal steps from 0 to 1."""
    return (tf.cast(step, tf.float32) + 0.5) / steps


@method(Need.DECONVNET_GRADIENTS, pixels=True, passes="2 F + B", of_class="no")
def deconvnet(reading: Reading) -> tf.Tensor:
    """Deconvnet: the score's gradient by the image, through ReLUs that let back what is positive.

    At each ReLU only positive gradients pass back, wherever its own input was. What it draws comes
    from where maxima were pooled: of a network without max pooling it hardly depends on the image.
    It hardly tells classes apart either; networks without ReLUs are refused.

    Args:
        reading: deconvnet_gradients (B, H, W, C).

    Returns:
        (B, H, W, C), signed.

    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks",
    section 2.1.

    Example:
        >>> gradients = tf.constant([[[[1.0, -2.0, 0.0]]]])
        >>> deconvnet(Reading(None, deconvnet_gradients=gradients)).numpy()
        array([[[[ 1., -2.,  0.]]]], dtype=float32)
    """
    return tf.convert_to_tensor(reading.deconvnet_gradients)


@method(Need.GUIDED_GRADIENTS, pixels=True, passes="2 F + B", of_class="no")
def guided_backprop(reading: Reading) -> tf.Tensor:
    """Guided backpropagation: the score's gradient by the image, through guided ReLUs.

    At each ReLU only positive gradients pass back, and only where its input was positive. It
    draws fine detail but is hardly specific to the class; networks without ReLUs are refused.

    Args:
        reading: guided_gradients (B, H, W, C).

    Returns:
        (B, H, W, C), signed.

    Source: Springenberg et al. 2015, "Striving for Simplicity", section 3.4.

    Example:
        >>> gradients = tf.constant([[[[1.0, -2.0, 0.0]]]])
        >>> guided_backprop(Reading(None, guided_gradients=gradients)).numpy()
        array([[[[ 1., -2.,  0.]]]], dtype=float32)
    """
    return tf.convert_to_tensor(reading.guided_gradients)


@method(Need.GRADIENTS | Need.GUIDED_GRADIENTS, pixels=True, passes="2 (F + B)")
def guided_grad_cam(reading: Reading) -> tf.Tensor:
    """Guided Grad-CAM: guided backpropagation where Grad-CAM finds evidence for the class.

    M = resize(relu(GradCAM)) * guided gradient, for each channel of the image.

    Args:
        reading: activations and gradients (B, h, w, K), guided_gradients (B, H, W, C).

    Returns:
        (B, H, W, C), signed; zero where the resized Grad-CAM is zero.

    Source: Selvaraju et al. 2017, "Grad-CAM", section 3.2.

    Example:
        >>> one = tf.ones((1, 1, 1, 1))
        >>> gradients = tf.constant([[[[1.0, -2.0, 0.0]]]])
        >>> guided_grad_cam(Reading(3 * one, gradients=one, guided_gradients=gradients)).numpy()
        array([[[[ 3., -6.,  0.]]]], dtype=float32)
    """
    evidence = tf.nn.relu(grad_cam(replace(reading, principal=False)))[..., tf.newaxis]
    sides = reading.guided_gradients.shape[1:-1]
    return reading.over_image(evidence, sides) * reading.guided_gradients
