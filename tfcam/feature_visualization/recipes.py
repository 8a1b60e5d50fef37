"""How a dream is made: what stands for the picture, what it must survive, how it climbs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import tensorflow as tf

from tfcam.engine.doors import DOORS
from tfcam.feature_visualization.blur import blur_images
from tfcam.feature_visualization.parametrisations import Fourier, Parametrisation, Pixels
from tfcam.feature_visualization.transforms import Jitter, Pad, Rotate, Scale, Transform
from tfcam.utils.suggestions import did_you_mean
from tfcam.utils.validation import check_choice, check_count, kind_of, shown

# Adam's, as its authors set them.
_FIRST, _SECOND, _TINY = 0.9, 0.999, 1e-8


State = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How a dream is made.

    Attributes:
        parametrisation: ``Fourier`` or ``Pixels``, of ``tfcam.parametrisations``.
        transforms: What is done to the picture before the model sees it, from
            ``tfcam.transforms``; or a function (seed, size) -> matrix of your own.
        steps: The number of steps of the ascent.
        rate: Of the ascent.
        ascent: "adam", or "even": the gradient over its mean absolute value, so that a value
            moves by ``rate`` a step on average, whatever the network.
        decay: What part of each pixel's distance from grey is lost in each step.
        blur: Deviation of a Gaussian blur, in pixels; 0 for none.
        blur_every: The number of steps from one blur to the next.
        norm_percentile: The percentage of the pixels, those nearest to grey, that become grey in
            each step.
        contribution_percentile: The percentage of the pixels, those that do least for the
            objective, |sum_c x_c dy/dx_c|, that become grey in each step.
    """

    parametrisation: Parametrisation = field(default_factory=Fourier)
    transforms: Sequence[Transform] = ()
    steps: int = 256
    rate: float = 0.05
    ascent: str = "adam"
    decay: float = 0.0
    blur: float = 0.0
    blur_every: int = 4
    norm_percentile: float = 0.0
    contribution_percentile: float = 0.0

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("blur_every", self.blur_every)
        check_choice("ascent", self.ascent, ("adam", "even"))
        _check_number("rate", self.rate, 0, math.inf)
        _check_number("decay", self.decay, 0, 1)
        _check_number("blur", self.blur, 0, math.inf)
        _check_number("norm_percentile", self.norm_percentile, 0, 100)
        _check_number("contribution_percentile", self.contribution_percentile, 0, 100)
        if self.rate == 0:
            raise ValueError("rate must be above 0; got 0.")
        if not hasattr(self.parametrisation, "images"):
            raise TypeError(
                "parametrisation must be Fourier() or Pixels() of tfcam.parametrisations; got "
                f"{kind_of(self.parametrisation)}."
            )
        listed = isinstance(self.transforms, list | tuple)
        if not listed or not all(map(callable, self.transforms)):
            raise TypeError(
                "transforms must be a list of tfcam.transforms, such as [Jitter(8)], or of "
                f"functions (seed, size) -> matrix; got {shown(self.transforms)}."
            )
        plain = isinstance(self.parametrisation, Pixels) and not (
            self.parametrisation.sigmoid or self.parametrisation.decorrelated
        )
        changed = self.decay, self.blur, self.norm_percentile, self.contribution_percentile
        if any(changed) and not plain:
            raise ValueError(
                "decay, blur and percentiles act on pixels: they need "
                f"parametrisation=Pixels(); got {self.parametrisation}."
            )

    def settings(self) -> dict[str, Any]:
        """Describe its fields as plain values and texts, as a result keeps them."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {
            "parametrisation": str(self.parametrisation),
            "transforms": [str(transform) for transform in self.transforms],
        }

    def start(self, parameters: tf.Tensor) -> State:
        """Make the state before the first step."""
        return parameters, tf.zeros_like(parameters), tf.zeros_like(parameters)

    def climb(self, state: State, slope: tf.Tensor, step: tf.Tensor) -> State:
        """Take a step, and return the state after it.

        Args:
            state: Parameters, and Adam's two means.
            slope: The objective's gradient by the parameters.
            step: Number of the step, from 0: scalar int32.
        """
        parameters, first, second = state
        if self.ascent == "adam":
            first = _FIRST * first + (1 - _FIRST) * slope
            second = _SECOND * second + (1 - _SECOND) * slope**2
            count = tf.cast(step + 1, tf.float32)
            mean = first / (1 - _FIRST**count)
            way = mean / (tf.sqrt(second / (1 - _SECOND**count)) + _TINY)
        else:
            axes = list(range(1, slope.shape.rank))
            size = tf.reduce_mean(tf.abs(slope), axis=axes, keepdims=True)
            way = tf.math.divide_no_nan(slope, size)
        parameters += self.rate * way
        return self._regularised(parameters, slope, step), first, second

    def _regularised(self, pixels: tf.Tensor, slope: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        if self.decay:
            pixels *= 1 - self.decay
        if self.blur:
            due = tf.equal((step + 1) % self.blur_every, 0)
            pixels = tf.cond(due, lambda: blur_images(pixels, self.blur), lambda: pixels)
        norms, gains = tf.norm(pixels, axis=-1), tf.abs(tf.reduce_sum(pixels * slope, axis=-1))
        pixels = drop_least(pixels, norms, self.norm_percentile)
        pixels = drop_least(pixels, gains, self.contribution_percentile)
        if isinstance(self.parametrisation, Pixels) and not self.parametrisation.sigmoid:
            # What has left the range would get no gradient that brings it back.
            shape = tuple(pixels.shape)
            pixels = self.parametrisation.parameters(self.parametrisation.images(pixels, shape))
        return pixels


def drop_least(pixels: tf.Tensor, importance: tf.Tensor, percentile: float) -> tf.Tensor:
    """Make grey the pixels of least importance.

    Args:
        pixels: (n, H, W, C), less grey.
        importance: (n, H, W).
        percentile: Their percentage; of pixels that are equally important all stay.

    Returns:
        (n, H, W, C).

    Example:
        >>> pixels = tf.reshape(tf.constant([3.0, -1.0, 2.0, 4.0]), (1, 2, 2, 1))
        >>> drop_least(pixels, tf.abs(pixels[..., 0]), 50).numpy().ravel()
        array([3., 0., 0., 4.], dtype=float32)
    """
    if not percentile:
        return pixels
    ranked = tf.sort(tf.reshape(importance, (pixels.shape[0], -1)), axis=-1)
    count = ranked.shape[1]
    limit = ranked[:, min(int(count * percentile / 100), count - 1), tf.newaxis, tf.newaxis]
    return tf.where((importance >= limit)[..., tf.newaxis], pixels, 0.0)


def _check_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {kind_of(value)}.")
    if not least <= float(value) <= most or math.isinf(value):  # so NaN is refused as well
        reach = f"at least {least}" if math.isinf(most) else f"in {least}..{most}"
        raise ValueError(f"{name} must be {reach}; got {shown(value)}.")


PRESETS = {
    # Fine waves a little weaker than in photographs, and noise that can be seen, as what a grey
    # picture leaves at zero has no gradient to begin with.
    "fourier": Recipe(
        Fourier(power=1.2, deviation=0.2),
        (Pad(12), Jitter(8), Scale(0.9, 1.1), Rotate(10), Jitter(4)),
        steps=192,
        rate=0.03,
    ),
    "plain": Recipe(Pixels(), rate=0.01),
    "yosinski": Recipe(Pixels(), rate=0.02, ascent="even", decay=0.0001, blur=1.0),
    "deep_dream": Recipe(Pixels(), (Jitter(16),), steps=64, rate=0.01, ascent="even"),
}


def choose_recipe(preset: str | Recipe, options: dict[str, Any]) -> Recipe:
    """Choose a recipe, by name or as it is, and change some of its fields.

    Raises:
        ValueError: If there is no such preset, or a field is out of range.
        TypeError: If a recipe has no such field.
    """
    if not isinstance(preset, Recipe):
        check_choice("preset", preset, list(PRESETS))
        preset = PRESETS[preset]
    known = [field.name for field in dataclasses.fields(Recipe)]
    if unknown := [name for name in options if name not in known]:
        own = (option.name for option in DOORS["dream"])
        raise TypeError(
            f"dream has no option {unknown[0]!r}; a recipe has {', '.join(known)}."
            f"{did_you_mean(unknown[0], [*known, *own])}"
        )
    return dataclasses.replace(preset, **options)
