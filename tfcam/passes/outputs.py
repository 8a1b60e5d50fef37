"""What is explained: one number for each image, from what the model returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import tensorflow as tf

from tfcam.targets.callables import checked_scores
from tfcam.targets.classes import NOTHING, PREDICTED, Top, class_outputs, class_scores, resolved

# Pairs of classes (B, 2), classes (B,), weights of the logits (B, C); a callable outputs -> (B,).
TensorTarget: TypeAlias = tf.Tensor | Callable[[Any], tf.Tensor]


@dataclass(frozen=True)
class Outputs:
    """What the model returns.

    Attributes:
        values: As it is.
        scores: What is explained: before its softmax or sigmoid, or the same.
        has_logits: Whether ``scores`` are from before a softmax or sigmoid.
        activated: Whether ``values`` come from one.
    """

    values: Any
    scores: Any
    has_logits: bool
    activated: bool = False

    @property
    def hide_logits(self) -> tf.Tensor:
        """Whether values in 0..1 suggest a softmax or sigmoid that was not found."""
        if self.activated:
            return tf.constant(False)
        within = [tf.reduce_all((v >= 0) & (v <= 1)) for v in tf.nest.flatten(self.values)]
        return tf.reduce_any(within)


def read_outputs(outputs: Any, score: str) -> Outputs:
    """Find what went into the final softmax or sigmoid; ``score`` is "logit" or "probability"."""
    leaves = tf.nest.flatten(outputs)
    before = [_before_activation(leaf) for leaf in leaves]
    has_logits = all(logit is not None for logit in before)
    if score == "probability":
        return Outputs(outputs, outputs, False, has_logits)
    scores = [leaf if logit is None else logit for leaf, logit in zip(leaves, before, strict=True)]
    return Outputs(outputs, tf.nest.pack_sequence_as(outputs, scores), has_logits, has_logits)


def _before_activation(output: tf.Tensor) -> tf.Tensor | None:
    before = logits(output)
    return None if before is None else tf.reshape(before, tf.shape(output))


# What each logit counts for: logits (B, C), pairs of classes (B, 2) -> (B, C).
Contrast = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Selected:
    """What is explained: scores (B,), pairs of classes (B, 2), weights (B, C) of a contrast."""

    scores: tf.Tensor
    pairs: tf.Tensor
    again: TensorTarget
    weights: tf.Tensor | None = None


def select(outputs: Outputs, target: TensorTarget, contrast: Contrast | None = None) -> Selected:
    """Select the explained scores, float32.

    Args:
        outputs: What the model returned.
        target: (B, 2) pairs of classes, (B,) classes, (B, C) float weights of the logits, or a
            callable outputs -> (B,).
        contrast: Makes weights of the logits from pairs of classes.

    Raises:
        ValueError: If classes are asked of outputs that are not (B, C).
    """
    if callable(target):
        first = tf.nest.flatten(outputs.values)[0]
        scores = checked_scores(target(outputs.scores), first.shape[0])
        nothing = tf.tile([[PREDICTED, NOTHING]], [tf.shape(first)[0], 1])
        return Selected(tf.cast(scores, tf.float32), nothing, target)
    values, logits = class_outputs(outputs.values), class_outputs(outputs.scores)
    if target.dtype.is_floating:
        return Selected(_weighted(logits, target), target, target, target)
    if target.shape.rank == 1:
        target = tf.stack([target, tf.fill(target.shape, NOTHING)], axis=1)
    pairs = resolved(values, target)
    if contrast is None:
        return Selected(class_scores(logits, pairs), pairs, pairs)
    weights = tf.stop_gradient(contrast(logits, pairs))
    return Selected(_weighted(logits, weights), pairs, weights, weights)


def _weighted(logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Sum weighted logits (B,); what has no weight does not count, be it infinite."""
    logits = tf.where(weights == 0, 0.0, tf.cast(logits, tf.float32))
    return tf.reduce_sum(weights * logits, axis=-1)


def spread(outputs: Outputs, targets: Sequence[TensorTarget | Top]) -> list[TensorTarget]:
    """Replace a ``Top`` by the classes that it stands for."""
    spread: list[TensorTarget] = []
    for target in targets:
        if isinstance(target, Top):
            spread += tf.unstack(target.pairs(class_outputs(outputs.values))[:, tf.newaxis])
        else:
            spread.append(target)
    return spread


def probabilities(outputs: Outputs) -> tf.Tensor:
    """Take the model's probabilities, or those of its logits where it ends in no activation."""
    values = tf.cast(class_outputs(outputs.values), tf.float32)
    return tf.where(are_probabilities(outputs), values, of_logits(values))


def are_probabilities(outputs: Outputs) -> tf.Tensor:
    """Tell whether a classifier's outputs are probabilities as they are: (B, 1) bool."""
    values = tf.cast(class_outputs(outputs.values), tf.float32)
    if outputs.activated:
        return tf.ones_like(values[:, :1], tf.bool)
    within = tf.reduce_all((values >= 0) & (values <= 1), axis=-1, keepdims=True)
    if values.shape[-1] == 1:
        return within
    return within & (tf.abs(tf.reduce_sum(values, axis=-1, keepdims=True) - 1) < 1e-3)


def of_logits(values: tf.Tensor) -> tf.Tensor:
    """Turn logits (B, C) into probabilities: their softmax; of a single one the sigmoid."""
    return tf.sigmoid(values) if values.shape[-1] == 1 else tf.nn.softmax(values)


def logits(output: tf.Tensor) -> tf.Tensor | None:
    """Find what went into an output's softmax or sigmoid, by Keras's note or by the graph."""
    noted = getattr(output, "_keras_logits", None)
    if noted is not None or not tf.is_symbolic_tensor(output):
        return noted
    operation = output.op
    while operation.type in ("Identity", "Cast", "Reshape", "Squeeze"):
        operation = operation.inputs[0].op
    return operation.inputs[0] if operation.type in ("Softmax", "Sigmoid") else None
