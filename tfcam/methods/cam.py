"""Class activation maps: each one pure function of a reading; ``METHODS`` holds them by name.

A method takes a ``Reading`` (activations A and gradients G, both (B, h, w, K), of the score s) and
returns a raw signed map (B, h, w), or (B, H, W, C) where it speaks of pixels. Scaling, resizing and
colour happen once, afterwards. Z = h w is the number of positions; c is the explained class.
Methods that run the network again are in ``perturbation`` and ``smoothing``, maps of pixels in
``gradients`` and ``full_grad``.
"""

from __future__ import annotations

import tensorflow as tf

from tfcam.maps.tensors import first_component
from tfcam.methods.registry import method
from tfcam.passes.reading import Need, Reading


def positions(maps: tf.Tensor) -> list[int]:
    """List the spatial axes of a channels-last tensor."""
    return list(range(1, maps.shape.rank - 1))


@method(Need.CLASS_WEIGHTS, passes="F")
def cam(reading: Reading) -> tf.Tensor:
    """Class activation map: the channels weighted by the class's weights in a linear head.

    M = sum_k W_kc A_k. The mean of M plus the bias b_c is the logit (average pooling).

    Args:
        reading: activations (B, h, w, K) and class_weights (B, K).

    Returns:
        (B, h, w), signed.

    Source: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", eq. 2.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> cam(Reading(activations, class_weights=tf.constant([[1.0, -1.0]]))).numpy()
        array([[[-1., -1.]]], dtype=float32)
    """
    weights = reading.class_weights
    positions = reading.activations.shape.rank - 2
    weights = tf.reshape(weights, (-1, *[1] * positions, weights.shape[-1]))
    return reading.combine(weights * reading.activations)


@method(Need.GRADIENTS)
def grad_cam(reading: Reading) -> tf.Tensor:
    """Grad-CAM: the channels weighted by the mean of their gradients.

    w_k = (1/Z) sum_ij G_ijk;  M = sum_k w_k A_k. On a head of average pooling and one linear
    layer Z M is the class activation map.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed: the ReLU of the paper's eq. 2 comes with ``maps.heatmap``.

    Source: Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, 0.0], [3.0, 0.0]]]])
        >>> grad_cam(Reading(activations, gradients=gradients)).numpy()
        array([[[2., 0.]]], dtype=float32)
    """
    axes = positions(reading.gradients)
    weights = tf.reduce_mean(reading.gradients, axes, keepdims=True)
    weights = reading.settled(weights, reading.gradients, axes)
    return reading.combine(weights * reading.activations)


@method(Need.GRADIENTS, of_class="partly")
def grad_cam_pp(reading: Reading, *, normalize_alpha: bool = False) -> tf.Tensor:
    """Grad-CAM++: the channels weighted by their positive gradients, each by how rare it is.

    alpha_ijk = 1 / (2 + G_ijk S_k) where G_ijk > 0, else 0, with S_k = sum_ij A_ijk;
    w_k = sum_ij alpha_ijk relu(G_ijk);  M = sum_k w_k A_k.

    This is the paper's alpha = G^2 / (2 G^2 + S G^3) without its powers of G, which underflow.
    The paper's factor exp(s) is one positive number for each image and is left out: it overflows
    for logits over 88, and no scaled map shows it. Where signed activations (swish, GELU) make
    the denominator negative or zero, alpha is 0.

    Args:
        reading: activations and gradients (B, h, w, K).
        normalize_alpha: Divide each channel's alpha by its sum over the positions with a positive
            gradient, as the authors' code does and the paper does not.

    Returns:
        (B, h, w), signed where activations are.

    Source: Chattopadhay et al. 2018, "Grad-CAM++", eq. 5, 10 and 19.

    Example:
        >>> activations = tf.constant([[[[1.0], [1.0]]]])
        >>> gradients = tf.constant([[[[1.0], [-1.0]]]])
        >>> grad_cam_pp(Reading(activations, gradients=gradients)).numpy()  # 1 / (2 + 1 * 2)
        array([[[0.25, 0.25]]], dtype=float32)
    """
    axes = positions(reading.gradients)
    sums = tf.reduce_sum(reading.activations, axes, keepdims=True)
    denominator = tf.where(reading.gradients > 0, 2.0 + reading.gradients * sums, 0.0)
    alpha = tf.math.divide_no_nan(1.0, tf.nn.relu(denominator))
    if normalize_alpha:
        alpha = tf.math.divide_no_nan(alpha, tf.reduce_sum(alpha, axes, keepdims=True))
    weights = tf.reduce_sum(alpha * tf.nn.relu(reading.gradients), axes, keepdims=True)
    return reading.combine(weights * reading.activations)


@method(Need.GRADIENTS)
def x_grad_cam(reading: Reading) -> tf.Tensor:
    """XGrad-CAM: the channels weighted by their gradients, averaged with the activations' shares.

    w_k = sum_ij (A_ijk / S_k) G_ijk with S_k = sum_ij A_ijk;  M = sum_k w_k A_k, so that the sum
    of M is the sum of A G. Equal to Grad-CAM where gradients do not vary over positions. Where a
    channel's sum vanishes against its absolute sum (signed activations), its weight is 0.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed.

    Source: Fu et al. 2020, "Axiom-based Grad-CAM", eq. 8.
    Departs from the authors' code: the sum is guarded by its relative size, not by adding 1e-6,
    which has the wrong sign for negative sums.

    Example:
        >>> activations = tf.constant([[[[1.0], [3.0]]]])
        >>> gradients = tf.constant([[[[4.0], [0.0]]]])
        >>> x_grad_cam(Reading(activations, gradients=gradients)).numpy()  # w = 1/4 * 4
        array([[[1., 3.]]], dtype=float32)
    """
    axes = positions(reading.activations)
    sums = tf.reduce_sum(reading.activations, axes, keepdims=True)
    sizes = tf.reduce_sum(tf.abs(reading.activations), axes, keepdims=True)
    terms = reading.activations * reading.gradients
    products = reading.settled(tf.reduce_sum(terms, axes, keepdims=True), terms, axes)
    sums = tf.where(tf.abs(sums) > 1e-6 * sizes, sums, 0.0)
    return reading.combine(tf.math.divide_no_nan(products, sums) * reading.activations)


@method(Need.GRADIENTS)
def hires_cam(reading: Reading) -> tf.Tensor:
    """HiResCAM: activations times gradients, summed over the channels.

    M = sum_k G_ijk A_ijk. Where one linear layer follows, with or without average pooling, the
    sum of M plus the bias is the logit.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed.

    Source: Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM", eq. 5.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, 0.0], [3.0, -1.0]]]])
        >>> hires_cam(Reading(activations, gradients=gradients)).numpy()
        array([[[ 1., -1.]]], dtype=float32)
    """
    terms = reading.gradients * reading.activations
    return reading.combine(reading.settled(terms, terms, [-1]))


@method(Need.GRADIENTS, of_class="partly")
def layer_cam(reading: Reading) -> tf.Tensor:
    """LayerCAM: each activation weighted by its own positive gradient.

    M = sum_k relu(G_ijk) A_ijk. Made for early layers too; before a pooling or a stride it shows
    their grid.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed where activations are.

    Source: Jiang et al. 2021, "LayerCAM", eq. 4 to 6.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, -2.0], [3.0, 4.0]]]])
        >>> layer_cam(Reading(activations, gradients=gradients)).numpy()
        array([[[1., 4.]]], dtype=float32)
    """
    return reading.combine(tf.nn.relu(reading.gradients) * reading.activations)


@method(Need.GRADIENTS, of_class="partly")
def grad_cam_elementwise(reading: Reading) -> tf.Tensor:
    """Element-wise Grad-CAM: what each activation adds to the score, negative additions left out.

    M = sum_k relu(G_ijk A_ijk). Equal to LayerCAM where activations are not negative; with swish
    or GELU, a negative activation with a negative gradient counts as support.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), not negative.

    Source: Gildenblat et al. 2021, pytorch-grad-cam, "GradCAMElementWise".

    Example:
        >>> activations = tf.constant([[[[1.0, -2.0], [1.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, -2.0], [3.0, -4.0]]]])
        >>> grad_cam_elementwise(Reading(activations, gradients=gradients)).numpy()
        array([[[5., 3.]]], dtype=float32)
    """
    return reading.combine(tf.nn.relu(reading.gradients * reading.activations))


@method(passes="F", of_class="no")
def eigen_cam(reading: Reading) -> tf.Tensor:
    """Eigen-CAM: the activations' first principal component; it knows of no class.

    M = A v_1, with A as a matrix of positions by channels and v_1 its first right singular
    vector; not centred. The sign, which a singular vector does not have, is that of the larger
    extreme of M.

    Args:
        reading: activations (B, h, w, K).

    Returns:
        (B, h, w); not negative where no activation is.

    Source: Muhammad and Yeasin 2020, "Eigen-CAM", section III.

    Example:
        >>> activations = tf.constant([[[[3.0, 0.0], [4.0, 0.0]]]])
        >>> eigen_cam(Reading(activations)).numpy().round(4)
        array([[[3., 4.]]], dtype=float32)
    """
    return first_component(reading.activations)


@method(Need.GRADIENTS, of_class="partly")
def eigen_grad_cam(reading: Reading) -> tf.Tensor:
    """Eigen-Grad-CAM: the first principal component of activations times gradients.

    As Eigen-CAM, of G A in place of A, which makes it depend on the class; but evidence against the
    class counts as well, and a dominant object may hide a weak class. Its sign is a rule, not
    evidence: that of the larger extreme.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed.

    Source: Gildenblat et al. 2021, pytorch-grad-cam, "EigenGradCAM".

    Example:
        >>> activations = tf.constant([[[[3.0, 1.0], [4.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, 0.0], [1.0, 0.0]]]])
        >>> eigen_grad_cam(Reading(activations, gradients=gradients)).numpy().round(4)
        array([[[3., 4.]]], dtype=float32)
    """
    return first_component(reading.gradients * reading.activations)
