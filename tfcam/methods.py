"""Every map as one pure function of a reading; ``METHODS`` holds them by name.

A method takes a ``Reading`` (activations A and gradients G, both (B, h, w, K), of the score s) and
returns a raw signed map (B, h, w), or (B, H, W, C) where it speaks of pixels. Scaling, resizing and
colour happen once, afterwards. Z = h w is the number of positions; c is the explained class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tfcam.submodel import Reading

METHODS: dict[str, Method] = {}


@dataclass(frozen=True)
class Method:
    """A map's function and what it needs from a reading besides the activations.

    Attributes:
        name: What ``method=`` takes.
        function: Reading -> raw map.
        needs: Names of the reading's fields that must be filled.
        pixels: Whether the map has the resolution and channels of the model's input.
    """

    name: str
    function: Callable[[Reading], tf.Tensor]
    needs: tuple[str, ...] = ("gradients",)
    pixels: bool = False

    def __call__(self, reading: Reading) -> tf.Tensor:
        return self.function(reading)

    @property
    def summary(self) -> str:
        """The first line of its documentation."""
        return (self.function.__doc__ or "").strip().split("\n")[0]


def method(
    *needs: str, pixels: bool = False
) -> Callable[[Callable[[Reading], tf.Tensor]], Callable[[Reading], tf.Tensor]]:
    """Store a function in ``METHODS`` under its own name."""

    def store(function: Callable[[Reading], tf.Tensor]) -> Callable[[Reading], tf.Tensor]:
        METHODS[function.__name__] = Method(function.__name__, function, needs, pixels)
        return function

    return store


def _positions(maps: tf.Tensor) -> list[int]:
    """The spatial axes of a channels-last tensor."""
    return list(range(1, maps.shape.rank - 1))


@method("class_weights")
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
    return tf.linalg.einsum("b...k,bk->b...", reading.activations, reading.class_weights)


@method("gradients")
def grad_cam(reading: Reading) -> tf.Tensor:
    """Grad-CAM: the channels weighted by the mean of their gradients.

    w_k = (1/Z) sum_ij G_ijk;  M = sum_k w_k A_k. On a head of average pooling and one linear
    layer Z M is the class activation map.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed: the ReLU of the paper's eq. 2 comes with the scaling.

    Source: Selvaraju et al. 2017, "Grad-CAM", eq. 1 and 2.

    Example:
        >>> activations = tf.constant([[[[1.0, 2.0], [0.0, 1.0]]]])
        >>> gradients = tf.constant([[[[1.0, 0.0], [3.0, 0.0]]]])
        >>> grad_cam(Reading(activations, gradients=gradients)).numpy()
        array([[[2., 0.]]], dtype=float32)
    """
    weights = tf.reduce_mean(reading.gradients, _positions(reading.gradients), keepdims=True)
    return tf.reduce_sum(weights * reading.activations, axis=-1)


@method("gradients")
def grad_cam_pp(reading: Reading) -> tf.Tensor:
    """Grad-CAM++: the channels weighted by their positive gradients, each by how rare it is.

    alpha_ijk = 1 / (2 + G_ijk S_k) where G_ijk > 0, else 0, with S_k = sum_ij A_ijk;
    w_k = sum_ij alpha_ijk relu(G_ijk);  M = sum_k w_k A_k.

    This is the paper's alpha = G^2 / (2 G^2 + S G^3) without its powers of G, which underflow.
    The paper's factor exp(s) is one positive number for each image and is left out: it overflows
    for logits over 88, and no scaled map shows it. Where signed activations (swish, GELU) make
    the denominator negative or zero, alpha is 0.

    Args:
        reading: activations and gradients (B, h, w, K).

    Returns:
        (B, h, w), signed where activations are.

    Source: Chattopadhay et al. 2018, "Grad-CAM++", eq. 5, 10 and 19.
    Departs from the authors' code: alpha is not normalised over positions, as in the paper.

    Example:
        >>> activations = tf.constant([[[[1.0], [1.0]]]])
        >>> gradients = tf.constant([[[[1.0], [-1.0]]]])
        >>> grad_cam_pp(Reading(activations, gradients=gradients)).numpy()  # 1 / (2 + 1 * 2)
        array([[[0.25, 0.25]]], dtype=float32)
    """
    positions = _positions(reading.gradients)
    sums = tf.reduce_sum(reading.activations, positions, keepdims=True)
    denominator = 2.0 + reading.gradients * sums
    alpha = tf.math.divide_no_nan(1.0, tf.nn.relu(denominator))
    weights = tf.reduce_sum(alpha * tf.nn.relu(reading.gradients), positions, keepdims=True)
    return tf.reduce_sum(weights * reading.activations, axis=-1)
