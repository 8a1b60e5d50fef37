"""Maps of pixels: what each value of the model's input did for the score."""

from __future__ import annotations

import tensorflow as tf

from tfcam.methods import grad_cam, method
from tfcam.submodel import Reading


@method("image_gradients", pixels=True)
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


@method("guided_gradients", pixels=True)
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


@method("gradients", "guided_gradients", pixels=True)
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
    evidence = tf.nn.relu(grad_cam(reading))[..., tf.newaxis]
    size = tf.shape(reading.guided_gradients)[1:3]
    return tf.image.resize(evidence, size, method="bilinear") * reading.guided_gradients
