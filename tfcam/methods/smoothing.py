"""Maps averaged over noisy copies of the input: SmoothGrad, Smooth Grad-CAM++."""

from __future__ import annotations

import tensorflow as tf

from tfcam.maps.tensors import sizes
from tfcam.methods.batching import fold_chunks, mean_of
from tfcam.methods.cam import positions
from tfcam.methods.registry import method
from tfcam.passes.reading import Need, Reading


def _smooth_grad_of_words(
    reading: Reading,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    squared: bool = False,
) -> tf.Tensor:
    """The size of the gradient by each word's embedding, averaged over noisy embeddings."""
    network, activations = reading.network, reading.activations

    def gradients(indices: tf.Tensor) -> tf.Tensor:
        slopes = network.head_gradients(_copies(activations, seed, indices, noise))
        return slopes**2 if squared else slopes

    mean = mean_of(samples, network.gradient_groups, activations, gradients)
    return tf.reduce_sum(mean, -1) if squared else tf.norm(mean, axis=-1)


@method(Need.NETWORK, pixels=True, passes="F + samples (F + B)", of_words=_smooth_grad_of_words)
def smooth_grad(
    reading: Reading,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
    squared: bool = False,
) -> tf.Tensor:
    """SmoothGrad: saliency averaged over noisy copies of the image.

    M = mean over the copies of ds/dx at x + N(0, sigma^2), sigma = noise (max x - min x).

    Args:
        reading: the network.
        samples: Number of noisy copies.
        noise: Deviation of the noise, as a fraction of the range of each image's values.
        seed: Random seed of the noise, which is the same for each image.
        squared: Average the squares of the gradients.

    Returns:
        (B, H, W, C), signed but for squares; of a text the norm of the mean gradient by each
        embedding, whose values the noise is added to, or the sum of the squares, (B, L).

    Source: Smilkov et al. 2017, "SmoothGrad", section 3; squares: Hooker et al. 2019.

    Example:
        >>> import numpy as np, tfcam
        >>> scene, options = tfcam.scenes.draw_scene(1).image, {"samples": 2, "noise": 0.0}
        >>> smooth = tfcam.explain(tfcam.demo_model(), scene, method="smooth_grad", **options)
        >>> plain = tfcam.explain(tfcam.demo_model(), scene, method="saliency")
        >>> bool(np.allclose(smooth.raw, plain.raw, rtol=1e-3, atol=1e-6))
        True
    """
    network = reading.network

    def gradients(indices: tf.Tensor) -> tf.Tensor:
        slopes = network.image_gradients(_copies(network.images, seed, indices, noise))
        return slopes**2 if squared else slopes

    return mean_of(samples, network.gradient_groups, network.images, gradients)


def noisy(images: tf.Tensor, seed: int, index: tf.Tensor, noise: float) -> tf.Tensor:
    """Add Gaussian noise of a fraction of each image's own range.

    The noise is that of the seed and the index, the same for each image of a batch, so that an
    image's map does not depend on the batch it is in.

    Example:
        >>> images = tf.constant([0.0, 2.0], shape=(1, 1, 2, 1))
        >>> once, again = (noisy(images, 1, tf.constant(0), noise=0.1) for _ in range(2))
        >>> bool(tf.reduce_all(once == again))
        True
    """
    axes = list(range(1, images.shape.rank))
    ranges = tf.reduce_max(images, axes, keepdims=True) - tf.reduce_min(images, axes, keepdims=True)
    drawn = tf.random.stateless_normal((1, *sizes(images)[1:]), tf.stack([seed, index]))
    return images + noise * ranges * drawn


def _copies(images: tf.Tensor, seed: int, indices: tf.Tensor, noise: float) -> tf.Tensor:
    """Make a noisy copy for each index (n,), (n, B, ...)."""
    return tf.stack([noisy(images, seed, index, noise) for index in tf.unstack(indices)])


@method(Need.NETWORK, passes="F + samples (F + B)", of_class="partly")
def smooth_grad_cam_pp(
    reading: Reading, *, samples: int = 8, noise: float = 0.15, seed: int = 0
) -> tf.Tensor:
    """Smooth Grad-CAM++: Grad-CAM++ with gradients averaged over noisy copies of the image.

    alpha_ijk = D2 / (2 D2 + S_k D3), with D2 and D3 the means of G^2 and G^3 over the copies;
    w_k = sum_ij alpha_ijk relu(D1), D1 the mean of G;  M = sum_k w_k A_k. Activations and their
    sums S_k are those of the image itself. Without noise it is Grad-CAM++.

    Args:
        reading: activations (B, h, w, K), and the network.
        samples: Number of noisy copies.
        noise: Deviation of the noise, as a fraction of the range of each image's values.
        seed: Random seed of the noise, which is the same for each image.

    Returns:
        (B, h, w), signed where activations are.

    Source: Omeiza et al. 2019, "Smooth Grad-CAM++", eq. 7 and 8. Departs from the paper: the
    numerator of alpha is D2, as in Grad-CAM++, not D1.

    Example:
        >>> import numpy as np, tfcam
        >>> scene, options = tfcam.scenes.draw_scene(1).image, {"samples": 2, "noise": 0.0}
        >>> smooth = tfcam.explain(
        ...     tfcam.demo_model(), scene, method="smooth_grad_cam_pp", **options)
        >>> plain = tfcam.explain(tfcam.demo_model(), scene, method="grad_cam_pp")
        >>> bool(np.allclose(smooth.heatmap, plain.heatmap, atol=1e-5))
        True
    """
    axes = positions(reading.activations)
    size, (first, second, third) = _noisy_powers(reading, samples, noise, seed)
    sums = tf.reduce_sum(reading.activations, axes, keepdims=True)
    alpha = tf.math.divide_no_nan(second, tf.nn.relu(2 * second + size * sums * third))
    weights = tf.reduce_sum(alpha * size * tf.nn.relu(first), axes, keepdims=True)
    return reading.combine(weights * reading.activations)


def _noisy_powers(
    reading: Reading, samples: int, noise: float, seed: int
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Find each image's largest gradient m over the copies; average (G/m), its square and cube.

    Powers of small gradients underflow, those of large ones overflow: they are taken relative to m.
    """
    network, axes = reading.network, [*positions(reading.activations), -1]

    def add(indices: tf.Tensor, weights: tf.Tensor, state: list[tf.Tensor]) -> list[tf.Tensor]:
        gradients = network.gradients(_copies(network.images, seed, indices, noise))
        largest = tf.reduce_max(tf.abs(gradients), axis=0)
        size = tf.maximum(state[0], tf.reduce_max(largest, axes, keepdims=True))
        shrunk = tf.math.divide_no_nan(state[0], size)
        gradients = tf.math.divide_no_nan(gradients, size)
        powers = [
            total * shrunk**n + tf.tensordot(weights, gradients**n, 1)
            for n, total in enumerate(state[1:], 1)
        ]
        return [size, *powers]

    totals = [tf.zeros_like(reading.activations)] * 3
    start = [tf.reduce_max(totals[0], axes, keepdims=True), *totals]
    size, *sums = fold_chunks(samples, network.gradient_groups, start, add)
    return size, [total / samples for total in sums]
