"""What a dream raises: terms that add, subtract and scale, all read from one forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tfcam.feature_visualization.blur import blur_images
from tfcam.passes.outputs import Outputs
from tfcam.targets.classes import class_index
from tfcam.utils.validation import check_count, kind_of, shown

Layer: TypeAlias = str | int | keras.Operation


@dataclass(frozen=True)
class Seen:
    """What objectives are computed from: all of one forward pass of ``n`` pictures.

    Attributes:
        images: (n, H, W, C) in [0, 1], before they are transformed.
        activations: What each named layer gives, (n, ..., K).
        outputs: What the model returns; its ``scores`` are from before the softmax or sigmoid.
        labels: The label of each class, where they are known.
    """

    images: tf.Tensor
    activations: Mapping[Layer, tf.Tensor]
    outputs: Outputs
    labels: Sequence[str] | None = None

    @property
    def scores(self) -> tf.Tensor:
        """The score of each class, (n, classes)."""
        return self.outputs.class_scores

    def class_index(self, target: int | str) -> int:
        """Find the index of a class by its index or label."""
        return class_index(target, self.scores.shape[-1], self.labels)


@dataclass(frozen=True)
class Term:
    """One part of an objective.

    Attributes:
        name: What it is called.
        function: What has been seen -> (n,).
        layer: The layer that it needs, if any.
        target: The class that it is of, if any.
    """

    name: str
    function: Callable[[Seen], tf.Tensor]
    layer: Layer | None = None
    target: int | str | None = None


@dataclass(frozen=True, repr=False)
class Objective:
    """What a picture is made to raise: a weighted sum of terms.

    Objectives add and subtract, and a number scales them; all terms are read from one pass.

    Attributes:
        terms: Weights and terms.

    Example:
        >>> 2 * (channel("conv", 5) - layer("conv"))
        2 * channel('conv', 5) - 2 * layer('conv')
    """

    terms: tuple[tuple[float, Term], ...]

    def __call__(self, seen: Seen) -> tf.Tensor:
        """The objective of each picture, (n,) float32."""
        parts = [weight * _of_each(term, seen) for weight, term in self.terms]
        return tf.add_n(parts)

    @property
    def layers(self) -> list[Layer]:
        """The layers that it needs, each once."""
        return list(dict.fromkeys(term.layer for _, term in self.terms if term.layer is not None))

    @property
    def target(self) -> int | str | None:
        """The class that it raises; None where there is none, or more than one."""
        targets = [t.target for weight, t in self.terms if t.target is not None and weight > 0]
        return targets[0] if len(targets) == 1 else None

    def __add__(self, other: object) -> Objective:
        if not isinstance(other, Objective):
            return self if isinstance(other, Real) and other == 0 else NotImplemented
        return Objective(self.terms + other.terms)

    __radd__ = __add__  # sum() begins with 0

    def __sub__(self, other: object) -> Objective:
        return self + -other if isinstance(other, Objective) else NotImplemented

    def __neg__(self) -> Objective:
        return -1 * self

    def __mul__(self, factor: object) -> Objective:
        if not isinstance(factor, Real):
            return NotImplemented
        if not math.isfinite(factor):
            raise ValueError(f"An objective must be scaled by a finite number; got {factor}.")
        return Objective(tuple((float(factor) * weight, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __truediv__(self, divisor: object) -> Objective:
        return self * (1 / divisor) if isinstance(divisor, Real) else NotImplemented

    def __repr__(self) -> str:
        text = ""
        for weight, term in self.terms:
            factor = "" if abs(weight) == 1 else f"{abs(weight):g} * "
            sign = ("-" if weight < 0 else "") if not text else (" - " if weight < 0 else " + ")
            text += f"{sign}{factor}{term.name}"
        return text


def _of_each(term: Term, seen: Seen) -> tf.Tensor:
    value = tf.convert_to_tensor(term.function(seen))
    if value.shape != (seen.images.shape[0],) or not value.dtype.is_floating:
        raise ValueError(
            f"An objective must give one real number for each of the {seen.images.shape[0]} "
            f"pictures; {term.name} gave {value.dtype.name} of shape {tuple(value.shape)}."
        )
    return tf.cast(value, tf.float32)


def _one(
    name: str,
    function: Callable[[Seen], tf.Tensor],
    layer: Layer | None = None,
    target: int | str | None = None,
) -> Objective:
    return Objective(((1.0, Term(name, function, layer, target)),))


def class_logit(target: int | str) -> Objective:
    """Raise the score of a class before the softmax or sigmoid.

    Args:
        target: A class index or a label.

    Returns:
        The objective y_c.

    Raises:
        TypeError: If it is neither.

    Source: Simonyan et al. 2013, "Deep Inside Convolutional Networks", section 2.

    Example:
        >>> class_logit(3) - class_logit("cat")
        class_logit(3) - class_logit('cat')
    """
    if isinstance(target, bool) or not isinstance(target, Integral | str):
        raise TypeError(f"A class must be an index or a label; got {kind_of(target)}.")
    wanted = target if isinstance(target, str) else int(target)

    def score(seen: Seen) -> tf.Tensor:
        return seen.scores[:, seen.class_index(wanted)]

    return _one(f"class_logit({wanted!r})", score, target=wanted)


def of_layer(name: str, layer: Layer, function: Callable[[tf.Tensor], tf.Tensor]) -> Objective:
    """Make an objective of your own, from what a layer gives.

    Args:
        name: What it is called.
        layer: A path, a name, an index of ``tfcam.layers(model)``, or a layer of the model.
        function: Activations (n, ..., K) float32 -> (n,), in TensorFlow or ``keras.ops``.

    Returns:
        The objective.

    Raises:
        TypeError: If it names no layer.

    Example:
        >>> of_layer("peak", "conv", lambda a: tf.reduce_max(a, axis=[1, 2, 3]))
        peak
    """
    if isinstance(layer, bool) or not isinstance(layer, str | Integral | keras.Operation):
        raise TypeError(
            f"A layer must be a path, a name, an index or a layer of the model; got "
            f"{kind_of(layer)}."
        )
    place = int(layer) if isinstance(layer, Integral) else layer
    return _one(
        name, lambda seen: function(tf.cast(seen.activations[place], tf.float32)), layer=place
    )


def channel(layer: Layer, index: int) -> Objective:
    """Raise the mean of one channel of a layer over all positions.

    Args:
        layer: A path, a name, an index of ``tfcam.layers(model)``, or a layer of the model. Of one
            that ends in a softmax or sigmoid, what goes into that.
        index: The channel, from 0.

    Returns:
        The objective mean_ij A_ij^k.

    Raises:
        TypeError: If the index is no whole number.
        ValueError: If the index is negative, or, when used, out of range.

    Source: Olah et al. 2017, "Feature Visualization".

    Example:
        >>> channel("conv", 5)
        channel('conv', 5)
    """
    index = check_count("channel", index, least=0)

    def mean(activations: tf.Tensor) -> tf.Tensor:
        _check_channel(layer, index, activations)
        return _over_positions(activations[..., index])

    return of_layer(f"channel({_name(layer)}, {index})", layer, mean)


def neuron(layer: Layer, index: int, position: Sequence[int] | None = None) -> Objective:
    """Raise one channel of a layer at one position.

    Args:
        layer: A path, a name, an index of ``tfcam.layers(model)``, or a layer of the model.
        index: The channel, from 0.
        position: (row, column), or one number for tokens; None takes the middle.

    Returns:
        The objective A_ij^k.

    Raises:
        TypeError: If an index is no whole number.
        ValueError: If one is negative, or, when used, out of range.

    Source: Yosinski et al. 2015, "Understanding Neural Networks Through Deep Visualization".

    Example:
        >>> neuron("conv", 5, (0, 3))
        neuron('conv', 5, (0, 3))
    """
    index = check_count("channel", index, least=0)
    if position is not None:
        listed = [position] if isinstance(position, Integral) else list(position)
        position = tuple(check_count("position", place, least=0) for place in listed)

    def value(activations: tf.Tensor) -> tf.Tensor:
        _check_channel(layer, index, activations)
        sides = tuple(activations.shape[1:-1])
        chosen = tuple(side // 2 for side in sides) if position is None else tuple(position)
        inside = len(chosen) == len(sides)
        if not (inside and all(at < side for at, side in zip(chosen, sides, strict=True))):
            raise ValueError(
                f"A position must lie inside the map of {_name(layer)}, which has the sides "
                f"{sides}; got {chosen}."
            )
        place = (slice(None), *chosen, index)
        return activations[place]

    where = "" if position is None else f", {tuple(position)}"
    return of_layer(f"neuron({_name(layer)}, {index}{where})", layer, value)


def direction(layer: Layer, vector: Any) -> Objective:
    """Raise how far a layer's channels go in one direction, the mean over all positions.

    Args:
        layer: A path, a name, an index of ``tfcam.layers(model)``, or a layer of the model.
        vector: (K,), a number for each channel; only its direction counts.

    Returns:
        The objective mean_ij <A_ij, v> / |v|.

    Raises:
        ValueError: If the vector is none, zero or not finite, or, when used, of another length.

    Source: Olah et al. 2017, "Feature Visualization", on interaction between neurons.

    Example:
        >>> direction("conv", [3.0, 4.0])
        direction('conv', 2 numbers)
    """
    numbers = np.asarray(vector)
    real = numbers.ndim == 1 and numbers.size > 0 and numbers.dtype.kind in "iuf"
    if not real or not np.isfinite(numbers).all() or not numbers.any():
        raise ValueError(
            "A direction must be a list of finite numbers, one for each channel, not all zero; "
            f"got {shown(vector)}."
        )
    unit = tf.constant(numbers / np.linalg.norm(numbers.astype(float)), tf.float32)

    def along(activations: tf.Tensor) -> tf.Tensor:
        if activations.shape[-1] != len(numbers):
            raise ValueError(
                f"A direction must have a number for each of the {activations.shape[-1]} channels "
                f"of {_name(layer)}; got {len(numbers)}."
            )
        return _over_positions(tf.linalg.matvec(activations, unit))

    return of_layer(f"direction({_name(layer)}, {len(numbers)} numbers)", layer, along)


def layer(layer: Layer) -> Objective:
    """Raise all of a layer: the mean of its squared activations, as in DeepDream.

    Args:
        layer: A path, a name, an index of ``tfcam.layers(model)``, or a layer of the model.

    Returns:
        The objective mean_ijk (A_ij^k)^2.

    Source: Mordvintsev et al. 2015, "Inceptionism".

    Example:
        >>> layer("conv")
        layer('conv')
    """

    def squares(activations: tf.Tensor) -> tf.Tensor:
        return _over_positions(tf.reduce_mean(activations**2, axis=-1))

    return of_layer(f"layer({_name(layer)})", layer, squares)


def diversity(layer: Layer) -> Objective:
    """Raise how much pictures that are made together differ in what channels go together.

    Minus the mean cosine similarity of a picture's Gram matrix, sum_ij A_ij A_ij^T, with those of
    the others.

    Args:
        layer: A path, a name, an index of ``tfcam.layers(model)``, or a layer of the model.

    Returns:
        The objective, in [-1, 1].

    Raises:
        ValueError: When used with one picture only.

    Source: Olah et al. 2017, "Feature Visualization", on diversity.

    Example:
        >>> channel("conv", 5) + 2 * diversity("conv")
        channel('conv', 5) + 2 * diversity('conv')
    """

    def unlike(activations: tf.Tensor) -> tf.Tensor:
        count, channels = activations.shape[0], activations.shape[-1]
        if count < 2:
            raise ValueError("Diversity is between pictures: make at least two, with count=2.")
        flat = tf.reshape(activations, (count, -1, channels))
        grams = tf.reshape(tf.matmul(flat, flat, transpose_a=True), (count, -1))
        units = tf.math.l2_normalize(grams, axis=-1)
        alike = tf.matmul(units, units, transpose_b=True)
        others = tf.reduce_sum(alike, axis=-1) - tf.linalg.diag_part(alike)
        return -others / (count - 1)

    return of_layer(f"diversity({_name(layer)})", layer, unlike)


def l2() -> Objective:
    """Measure how far a picture is from grey; to be subtracted.

    Returns:
        The objective mean (x - 0.5)^2, of pixels in 0..1.

    Source: Simonyan et al. 2013, eq. 1.

    Example:
        >>> class_logit(3) - 10 * l2()
        class_logit(3) - 10 * l2()
    """
    return _one("l2()", lambda seen: _over_positions(tf.reduce_mean((seen.images - 0.5) ** 2, -1)))


def total_variation() -> Objective:
    """Measure how much neighbouring pixels differ; to be subtracted.

    Returns:
        The objective sum |x_(i+1)j - x_ij| + |x_i(j+1) - x_ij|, over the number of values.

    Source: Mahendran and Vedaldi 2015, "Understanding Deep Image Representations by Inverting
    Them", section 2, with beta = 1.

    Example:
        >>> class_logit(3) - 5 * total_variation()
        class_logit(3) - 5 * total_variation()
    """

    def variation(seen: Seen) -> tf.Tensor:
        return tf.image.total_variation(seen.images) / math.prod(seen.images.shape[1:])

    return _one("total_variation()", variation)


def blur(width: float = 1.0) -> Objective:
    """Measure how much a picture differs from itself blurred; to be subtracted.

    Args:
        width: Deviation of the Gaussian, in pixels.

    Returns:
        The objective mean (x - blurred(x))^2.

    Source: Olah et al. 2017, "Feature Visualization", on penalising high frequencies.

    Example:
        >>> class_logit(3) - 100 * blur(2.0)
        class_logit(3) - 100 * blur(2)
    """
    return _one(
        f"blur({width:g})",
        lambda seen: _over_positions(
            tf.reduce_mean((seen.images - blur_images(seen.images, width)) ** 2, -1)
        ),
    )


def _over_positions(values: tf.Tensor) -> tf.Tensor:
    """The mean over everything but the pictures, (n,)."""
    return tf.reduce_mean(values, axis=list(range(1, values.shape.rank)))


def _name(layer: Layer) -> str:
    return repr(layer if isinstance(layer, str | Integral) else getattr(layer, "name", layer))


def _check_channel(layer: Layer, index: int, activations: tf.Tensor) -> None:
    count = activations.shape[-1]
    if index >= count:
        raise ValueError(
            f"A channel must be in 0..{count - 1}, as {_name(layer)} has {count} channels; "
            f"got {index}."
        )
