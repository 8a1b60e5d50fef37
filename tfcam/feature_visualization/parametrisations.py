"""What stands for a picture while it is made: its pixels, or the waves that it is the sum of.

Ascent takes even steps in whatever stands for the picture. In pixels that favours fine noise; in
waves scaled as those of photographs are, and colours that vary as theirs do, it favours pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

# How the colours of ImageNet's photographs vary: three independent numbers -> red, green, blue.
# Nearly brightness, red against blue, green against both. Olah et al. 2017, "Feature
# Visualization", appendix; published with their code (Lucid).
_VARIATION = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])


COLOURS = _VARIATION / np.linalg.norm(_VARIATION, axis=0).max()


_MIDDLE = 0.5


# Pixels of 0 and 255 have no finite number behind a sigmoid.
_EDGE = 1 / 512


_CONTRAST = 4.0


Shape = tuple[int, int, int, int]


class Parametrisation(Protocol):
    """What a dream's loop asks of what stands for pictures."""

    def noise(self, shape: Shape, seed: int) -> tf.Tensor:
        """Draw parameters to start from, of faint noise; pictures (n, H, W, C)."""

    def images(self, parameters: tf.Tensor, shape: Shape) -> tf.Tensor:
        """Compute the pictures, (n, H, W, C) in [0, 1]."""

    def parameters(self, images: tf.Tensor) -> tf.Tensor:
        """Find the parameters of pictures."""


@dataclass(frozen=True)
class Pixels:
    """A picture is its pixels, less grey.

    Args:
        sigmoid: Whether a sigmoid keeps them within [0, 1]; else they are cut off there.
        decorrelated: Whether what stands for a pixel of three colours is three numbers that are
            independent in photographs; other channels are taken as they are.
        deviation: Of the noise to start from; half the range is 0.5, or 2 before the sigmoid.

    Example:
        >>> grey = tf.fill((1, 2, 2, 3), 0.5)
        >>> float(tf.reduce_max(tf.abs(Pixels().parameters(grey))))
        0.0
    """

    sigmoid: bool = False
    decorrelated: bool = False
    deviation: float = 0.04

    def noise(self, shape: Shape, seed: int) -> tf.Tensor:
        """Draw parameters to start from, (n, H, W, C)."""
        drawn = np.random.default_rng(seed).normal(0, self.deviation, shape)
        return tf.constant(drawn, tf.float32)

    def images(self, parameters: tf.Tensor, shape: Shape) -> tf.Tensor:
        """Compute the pictures, (n, H, W, C) in [0, 1]."""
        values = correlate(parameters) if _are_colours(self, shape) else parameters
        if self.sigmoid:
            return tf.sigmoid(values)
        return tf.clip_by_value(values + _MIDDLE, 0.0, 1.0)

    def parameters(self, images: tf.Tensor) -> tf.Tensor:
        """Find the parameters of pictures, (n, H, W, C)."""
        values = _before_sigmoid(images) if self.sigmoid else images - _MIDDLE
        return decorrelate(values) if _are_colours(self, images.shape) else values


@dataclass(frozen=True)
class Fourier:
    """A picture is a sum of waves, each scaled by one over its frequency, behind a sigmoid.

    x = sigmoid(C irfft2(z sqrt(H W) / max(f, 1 / max(H, W))^power) / 4), with the frequency f in
    waves per pixel, and C the colours of photographs.

    Args:
        power: Of the frequency: 1 as in photographs, 0 for equal waves.
        decorrelated: Whether what stands for a pixel of three colours is three numbers that are
            independent in photographs; other channels are taken as they are.
        deviation: Of the noise to start from.

    Source: Olah et al. 2017, "Feature Visualization", on preconditioning.

    Example:
        >>> waves = Fourier().noise((1, 6, 5, 3), seed=0)
        >>> waves.shape, Fourier().images(waves, (1, 6, 5, 3)).shape
        (TensorShape([1, 3, 6, 3, 2]), TensorShape([1, 6, 5, 3]))
    """

    power: float = 1.0
    decorrelated: bool = True
    deviation: float = 0.01

    def noise(self, shape: Shape, seed: int) -> tf.Tensor:
        """Draw parameters to start from: real and imaginary parts, (n, C, H, W // 2 + 1, 2)."""
        count, height, width, channels = shape
        sizes = (count, channels, height, width // 2 + 1, 2)
        drawn = np.random.default_rng(seed).normal(0, self.deviation, sizes)
        return tf.constant(drawn, tf.float32)

    def images(self, parameters: tf.Tensor, shape: Shape) -> tf.Tensor:
        """Compute the pictures, (n, H, W, C) in [0, 1]."""
        height, width = shape[1:3]
        scaled = parameters * wave_scale(height, width, self.power)[..., tf.newaxis]
        waves = tf.complex(scaled[..., 0], scaled[..., 1])
        values = tf.signal.irfft2d(waves, [height, width]) / _CONTRAST
        values = tf.transpose(values, [0, 2, 3, 1])
        return tf.sigmoid(correlate(values) if _are_colours(self, shape) else values)

    def parameters(self, images: tf.Tensor) -> tf.Tensor:
        """Find the parameters of pictures, (n, C, H, W // 2 + 1, 2)."""
        values = _before_sigmoid(images)
        values = decorrelate(values) if _are_colours(self, images.shape) else values
        height, width = values.shape[1:3]
        waves = tf.signal.rfft2d(_CONTRAST * tf.transpose(values, [0, 3, 1, 2]))
        parts = tf.stack([tf.math.real(waves), tf.math.imag(waves)], axis=-1)
        return parts / wave_scale(height, width, self.power)[..., tf.newaxis]


def wave_scale(height: int, width: int, power: float) -> tf.Tensor:
    """Compute the scale of each wave of a picture: sqrt(H W) / max(f, 1 / max(H, W))^power.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
        power: Of the frequency f, in waves per pixel.

    Returns:
        (H, W // 2 + 1) float32.

    Example:
        >>> wave_scale(2, 2, 1.0).numpy().round(3)
        array([[4.   , 4.   ],
               [4.   , 2.828]], dtype=float32)
    """
    frequency = np.hypot(np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width))
    least = 1 / max(height, width)
    scale = np.sqrt(height * width) / np.maximum(frequency, least) ** power
    return tf.constant(scale, tf.float32)


def correlate(values: tf.Tensor) -> tf.Tensor:
    """Make red, green and blue of independent numbers vary together as in photographs.

    Args:
        values: (..., 3).

    Returns:
        (..., 3).

    Example:
        >>> correlate(tf.constant([[1.0, 0.0, 0.0]])).numpy().round(2)
        array([[0.56, 0.58, 0.58]], dtype=float32)
    """
    return tf.matmul(values, tf.constant(COLOURS.T, values.dtype))


def decorrelate(values: tf.Tensor) -> tf.Tensor:
    """Undo ``correlate``.

    Example:
        >>> decorrelate(correlate(tf.constant([[3.0, 2.0, 1.0]]))).numpy().round(4)
        array([[3., 2., 1.]], dtype=float32)
    """
    return tf.matmul(values, tf.constant(np.linalg.inv(COLOURS).T, values.dtype))


def _are_colours(kind: Pixels | Fourier, shape: Sequence[int]) -> bool:
    """Whether there are three colours that shall vary as in photographs."""
    return kind.decorrelated and shape[-1] == 3


def _before_sigmoid(images: tf.Tensor) -> tf.Tensor:
    held = tf.clip_by_value(images, _EDGE, 1 - _EDGE)
    return tf.math.log(held) - tf.math.log1p(-held)
