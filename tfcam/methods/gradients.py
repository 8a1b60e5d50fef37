"""Maps of pixels: what each value of the model's input did for the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tfcam.maps.tensors import sizes
from tfcam.methods.batching import mean_of
from tfcam.methods.cam import grad_cam
from tfcam.methods.registry import OPTION_CHECKS, method
from tfcam.passes.reading import Need, Network, Reading
from tfcam.utils.validation import shown

Baselines: TypeAlias = Sequence[float] | np.ndarray | float | None


def _saliency_of_words(reading: Reading) -> tf.Tensor:
    """The size of the gradient by each word's embedding."""
    return tf.norm(reading.gradients, axis=-1)


@method(Need.IMAGE_GRADIENTS, pixels=True, of_words=_saliency_of_words)
def saliency(reading: Reading) -> tf.Tensor:
    """Saliency: the score's gradient by the image; where a small change would matter most.

    The heatmap shows the largest absolute value over the channels, as the paper does.

    Args:
        reading: image_gradients (B, H, W, C).

    Returns:
        (B, H, W, C), signed; of a text the norm of the gradient by each embedding, (B, L).

    Source: Simonyan et al. 2013, "Deep Inside Convolutional Networks", section 3.

    Example:
        >>> gradients = tf.constant([[[[1.0, -2.0, 0.0]]]])
        >>> saliency(Reading(None, image_gradients=gradients)).numpy()
        array([[[[ 1., -2.,  0.]]]], dtype=float32)
    """
    return tf.convert_to_tensor(reading.image_gradients)


def _gradient_input_of_words(reading: Reading) -> tf.Tensor:
    """The gradient times the embedding, summed over its values."""
    return reading.combine(reading.activations * reading.gradients)


@method(Need.IMAGE_GRADIENTS, pixels=True, of_words=_gradient_input_of_words)
def gradient_input(reading: Reading) -> tf.Tensor:
    """Gradient times input: what each value gives to the score where the network is linear.

    M = x ds/dx. It says nothing where x is 0, which is what the network takes for 0: black, grey
    or the mean colour. Of a network of ReLUs without biases its sum is the score.

    Args:
        reading: image_gradients (B, H, W, C), and the network.

    Returns:
        (B, H, W, C), signed; of a text the sum over each embedding, (B, L).

    Source: Shrikumar et al. 2016, "Not Just a Black Box: Learning Important Features Through
    Propagating Activation Differences", section 2.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> tfcam.explain(tfcam.demo_model(), scene, method="gradient_input").raw.shape
        (128, 128, 3)
    """
    return tf.cast(reading.network.images, tf.float32) * reading.image_gradients


def _integrated_at_layer(
    reading: Reading, *, steps: int = 32, baseline: float | None = None
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Integrated gradients from the layer's activations on, summed over its channels."""
    network, activations = reading.network, reading.activations
    start = tf.fill(sizes(activations), float(baseline or 0.0))
    if baseline is None and network.words is not None:
        start = network.activations_of(network.hidden)
    way = activations - start
    slopes = _mean_slopes(network, network.head_gradients, start, way, steps)
    raw = reading.combine(way * slopes)
    rise = reading.scores - network.head(start)[0]
    total = tf.reduce_sum(way * slopes, list(range(1, way.shape.rank)))
    return raw, {"completeness_error": rise - total}


@method(
    Need.NETWORK,
    pixels=True,
    passes="2 F + steps (F + B)",
    of_layer=_integrated_at_layer,
)
def integrated_gradients(
    reading: Reading, *, steps: int = 32, baseline: float | None = None
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Integrated gradients: each value's part in the score's rise from a baseline to the image.

    M = (x - x') times the mean of ds/dx on the straight way from x' to x, by the midpoint rule.
    The sum of M is s(x) - s(x') but for ``completeness_error``, which the result reports: more
    steps make it smaller.

    Args:
        reading: scores (B,), and the network.
        steps: Number of points on the way.
        baseline: x', in the values of the network's own input: 0 is grey for inputs of -1..1
            and for those with the mean taken off. Of a layer that is given, its activations. None
            is 0, and of a text the mask, or else the padding, in place of each word.

    Returns:
        (B, H, W, C), signed, or of a layer that is given, and of a text's embeddings, the sum over
        the channels (B, h, w); and
        completeness_error: s(x) - s(x') less the sum of M, (B,).

    Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", eq. 1 and 3.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="integrated_gradients")
        >>> abs(result.measured["completeness_error"]) < 0.05 * abs(result.score)
        True
    """
    network = reading.network
    start = tf.fill(network.images.shape, tf.cast(baseline or 0.0, network.images.dtype))
    way = network.images - start
    raw = way * _mean_slopes(network, network.image_gradients, start, way, steps)
    rise = reading.scores - network.scores(start)[0]
    return raw, {"completeness_error": rise - tf.reduce_sum(raw, list(range(1, raw.shape.rank)))}


@method(Need.NETWORK, pixels=True, passes="F + samples (F + B) + baselines F")
def expected_gradients(
    reading: Reading, *, baselines: Baselines = None, samples: int = 50, seed: int = 0
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Expected gradients: integrated gradients averaged over several baselines.

    M = the mean over samples of (x - x') ds/dx at x' + a (x - x'). The baselines x' take turns; the
    a of each are evenly spread over its way, and so are those of all together. Of one baseline it
    is integrated gradients in as many steps. With pictures of a data set as baselines it is what
    SHAP calls GradientExplainer.

    Args:
        reading: scores (B,), and the network.
        baselines: Pictures (N, H, W, C) in the values of the network's own input, or numbers, each
            a picture of that value alone; None for five such, evenly from the image's least to its
            largest value.
        samples: Number of gradients; of more baselines only so many are taken, the first.
        seed: Random seed, the same for each image: which baseline is met how far on its way.

    Returns:
        (B, H, W, C), signed, and completeness_error: s(x) less the mean of s(x') less the sum
        of M, (B,).

    Raises:
        ValueError: If baselines are neither numbers nor of the shape of the network's input.

    Source: Erion et al. 2021, "Improving Performance of Deep Learning Models with Axiomatic
    Attribution Priors and Expected Gradients", eq. 4. Departs from the paper: the points on the
    way are evenly spread, not drawn.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1).image
        >>> result = tfcam.explain(tfcam.demo_model(), scene, method="expected_gradients")
        >>> abs(result.measured["completeness_error"]) < 0.1 * abs(result.score)
        True
    """
    network = reading.network
    starts = _pictures(baselines, network.images)[:samples]
    raw = _expected(network, starts, samples, seed)
    rise = reading.scores - _mean_score(network, starts, samples)
    return raw, {"completeness_error": rise - tf.reduce_sum(raw, list(range(1, raw.shape.rank)))}


def _expected(network: Network, starts: tf.Tensor, samples: int, seed: int) -> tf.Tensor:
    """Average (x - x') ds/dx over points on the ways from baselines to the images."""
    images, count = tf.cast(network.images, tf.float32), starts.shape[0]
    offsets = (np.random.default_rng(seed).permutation(count) + 0.5) / count
    turns, which = np.divmod(np.arange(samples), count)
    shares = tf.constant((turns + offsets[which]) / np.bincount(which)[which], tf.float32)

    def terms(indices: tf.Tensor) -> tf.Tensor:
        ways = images - tf.gather(starts, indices % count)
        points = images - (1 - _spread(tf.gather(shares, indices), images)) * ways
        return ways * network.image_gradients(tf.cast(points, network.images.dtype))

    return mean_of(samples, network.gradient_groups, images, terms)


def _mean_score(network: Network, starts: tf.Tensor, samples: int) -> tf.Tensor:
    """Average the scores (B,) of baselines, each as often as it has its turn."""
    count, images = starts.shape[0], network.images
    turns = np.bincount(np.arange(samples) % count) * count / samples
    turns = tf.constant(turns, tf.float32)

    def terms(indices: tf.Tensor) -> tf.Tensor:
        chosen = tf.cast(tf.gather(starts, indices), images.dtype)
        variants = tf.broadcast_to(chosen, (*indices.shape, *images.shape))
        scores = network.scores(tf.reshape(variants, (-1, *images.shape[1:])))
        return tf.gather(turns, indices)[:, tf.newaxis] * scores

    return mean_of(count, network.groups, tf.zeros(images.shape[:1]), terms)


def check_baselines(baselines: object) -> None:
    """Refuse text, before it is known what the network takes.

    Raises:
        TypeError: If it is text.
    """
    if isinstance(baselines, str):
        raise TypeError(f"baselines must be numbers or pictures; got {shown(baselines)}.")


OPTION_CHECKS["Baselines"] = check_baselines


def _pictures(baselines: Baselines, images: tf.Tensor) -> tf.Tensor:
    """Lay baselines out as (N, B or 1, ...) float32, which fit the images.

    Raises:
        ValueError: If they are neither numbers nor pictures in the shape of the images.
    """
    if baselines is None:
        axes = list(range(1, images.shape.rank))
        values = tf.cast(images, tf.float32)
        low = tf.reduce_min(values, axes, keepdims=True)
        high = tf.reduce_max(values, axes, keepdims=True)
        return tf.stack([low + step / 4 * (high - low) for step in range(5)])
    given = np.asarray(baselines)
    sides = tuple(images.shape[1:])
    fits = given.ndim <= 1 or given.shape[1:] == sides
    if not (fits and given.size and given.dtype.kind in "iuf" and np.isfinite(given).all()):
        got = f"shape {given.shape}" if given.ndim > 1 else shown(baselines)
        raise ValueError(
            "baselines must be finite numbers, or pictures in the shape of what the model takes, "
            f"(N, {', '.join(map(str, sides))}); got {got}."
        )
    plain = given.ndim <= 1
    shape = (-1, *[1] * images.shape.rank) if plain else (len(given), 1, *sides)
    return tf.constant(given.reshape(shape), tf.float32)


def _mean_slopes(
    network: Network,
    gradients: Callable[[tf.Tensor], tf.Tensor],
    start: tf.Tensor,
    way: tf.Tensor,
    steps: int,
) -> tf.Tensor:
    """Average the gradients in the middles of equal steps of a way (B, ...) from a start."""

    def slopes(indices: tf.Tensor) -> tf.Tensor:
        middles = (tf.cast(indices, tf.float32) + 0.5) / steps
        return gradients(start + _spread(middles, way) * way)

    return mean_of(steps, network.gradient_groups, way, slopes)


def _spread(factors: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Lay factors (n,) out so that each is one of images (B, ...)."""
    return tf.reshape(factors, (-1, *[1] * images.shape.rank))


@method(Need.DECONVNET_GRADIENTS, pixels=True, passes="F + B", of_class="no")
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


@method(Need.GUIDED_GRADIENTS, pixels=True, passes="F + B", of_class="no")
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


@method(Need.GRADIENTS | Need.GUIDED_GRADIENTS, pixels=True, passes="F + B")
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
