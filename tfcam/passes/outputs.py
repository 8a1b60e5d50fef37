"""What is explained: one number for each image, from what the model returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import tensorflow as tf

from tfcam.model.call_graph import Ending
from tfcam.model.endings import BOUNDED
from tfcam.targets.callables import Each, checked_scores
from tfcam.targets.classes import (
    NOTHING,
    PREDICTED,
    Top,
    class_outputs,
    class_scores,
    only_tensor,
    resolved,
)
from tfcam.targets.two_classes import as_columns, two_sides, with_number

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
        ending: How the structure says they come about; None where it can't tell.
        likely: Whether the scores of classes are probabilities.
    """

    values: Any
    scores: Any
    has_logits: bool
    activated: bool = False
    ending: Ending | None = None
    likely: bool = False

    @property
    def hide_logits(self) -> tf.Tensor:
        """Whether a softmax or sigmoid was not found that there is, or that values suggest."""
        if self.activated or self.ending in ("linear", "probability", "other"):
            return tf.constant(False)
        if self.ending is not None:
            return tf.constant(True)
        within = [tf.reduce_all((v >= 0) & (v <= 1)) for v in tf.nest.flatten(self.values)]
        return tf.reduce_any(within)

    @property
    def is_unit(self) -> bool:
        """Whether it is a single unit of each image, which may tell two classes apart."""
        shape = getattr(only_tensor(self.values), "shape", None)
        if shape is None or not shape.rank:
            return False
        return all(side == 1 for side in shape[1:])

    @property
    def class_values(self) -> tf.Tensor:
        """The outputs (B, C) of a classifier; of a single unit the probabilities of two classes."""
        values = class_outputs(self.values)
        if not self.is_unit:
            return values
        values = tf.cast(values, tf.float32)
        return two_sides(tf.where(are_probabilities(self), values, tf.sigmoid(values)), True)

    @property
    def class_scores(self) -> tf.Tensor:
        """The scores (B, C) of a classifier; of a single unit those of two classes."""
        scores = class_outputs(self.scores)
        if not self.is_unit or scores.shape[-1] != 1:
            return scores
        if self.likely:
            return self.class_values
        return two_sides(scores, False if self.has_logits else are_probabilities(self))

    @property
    def with_probabilities(self) -> Outputs:
        """The same, with the probabilities of classes as their scores."""
        if self.is_unit:
            return replace(self, scores=self.values, likely=True)
        return replace(self, scores=probabilities(self))

    def rows(self, chosen: Sequence[int]) -> Outputs:
        """Take rows of a batch, one of them as often as it is named.

        Where scores are the values, they stay the same tensors: gradients go by either.
        """
        leaves = {id(leaf): leaf for leaf in tf.nest.flatten((self.values, self.scores))}
        taken = {key: tf.gather(leaf, chosen) for key, leaf in leaves.items()}
        values, scores = (
            tf.nest.map_structure(lambda leaf: taken[id(leaf)], structure)
            for structure in (self.values, self.scores)
        )
        return replace(self, values=values, scores=scores)

    def split(self, count: int) -> list[Outputs]:
        """Split a batch into parts of equal size."""
        values, scores = (_split(structure, count) for structure in (self.values, self.scores))
        return [replace(self, values=v, scores=s) for v, s in zip(values, scores, strict=True)]


def _split(structure: Any, count: int) -> list[Any]:
    leaves = [tf.split(leaf, count) for leaf in tf.nest.flatten(structure)]
    return [tf.nest.pack_sequence_as(structure, list(part)) for part in zip(*leaves, strict=True)]


def read_outputs(outputs: Any, score: str, ending: Ending | None = None) -> Outputs:
    """Find what went into the final softmax or sigmoid.

    Args:
        outputs: What the model returned.
        score: "logit" or "probability".
        ending: How the structure says they come about.
    """
    leaves = tf.nest.flatten(outputs)
    before = [_before_activation(leaf) for leaf in leaves]
    has_logits = all(logit is not None for logit in before)
    if score == "probability":
        return Outputs(outputs, outputs, False, has_logits, ending, likely=True)
    scores = [leaf if logit is None else logit for leaf, logit in zip(leaves, before, strict=True)]
    packed = tf.nest.pack_sequence_as(outputs, scores)
    return Outputs(outputs, packed, has_logits, has_logits, ending)


def _before_activation(output: tf.Tensor) -> tf.Tensor | None:
    before = logits(output)
    return None if before is None else tf.reshape(before, tf.shape(output))


@dataclass(frozen=True)
class Repeated:
    """A callable for several variants of a batch.

    It may treat each image of the batch in its own way: it sees a batch at a time.
    """

    target: Callable[[Any], tf.Tensor]
    count: int


def repeated(target: TensorTarget, count: int) -> Any:
    """Repeat what is explained for variants of a batch, variant by variant."""
    if callable(target):
        return Repeated(target, count)
    return tf.tile(target, [count, *[1] * (target.shape.rank - 1)])


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
    if isinstance(target, Repeated):
        parts = [select(part, target.target) for part in outputs.split(target.count)]
        scores = tf.concat([part.scores for part in parts], 0)
        pairs = tf.concat([part.pairs for part in parts], 0)
        return Selected(scores, pairs, target)
    if callable(target):
        first = tf.nest.flatten(outputs.values)[0]
        of_classes = (outputs.class_scores,) if _asks_unit(target, outputs) else ()
        scores = checked_scores(target(outputs.scores, *of_classes), first.shape[0])
        nothing = tf.tile([[PREDICTED, NOTHING]], [tf.shape(first)[0], 1])
        return Selected(tf.cast(scores, tf.float32), nothing, target)
    values, logits = outputs.class_values, outputs.class_scores
    if target.dtype.is_floating:
        return Selected(_weighted(logits, target), target, target, target)
    if target.shape.rank == 1:
        target = tf.stack([target, tf.fill(target.shape, NOTHING)], axis=1)
    pairs = resolved(values, target)
    if contrast is None:
        if not outputs.is_unit:
            return Selected(class_scores(logits, pairs), pairs, pairs)
        columns = with_number(logits, class_outputs(outputs.scores)[:, -1:])
        return Selected(class_scores(columns, as_columns(pairs)), pairs, pairs)
    weights = tf.stop_gradient(contrast(logits, pairs))
    return Selected(_weighted(logits, weights), pairs, weights, weights)


def _asks_unit(target: Any, outputs: Outputs) -> bool:
    """Whether some of a list of targets are classes of a single unit."""
    return isinstance(target, Each) and outputs.is_unit


def _weighted(logits: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Sum weighted logits (B,); what has no weight does not count, be it infinite."""
    logits = tf.where(weights == 0, 0.0, tf.cast(logits, tf.float32))
    return tf.reduce_sum(weights * logits, axis=-1)


def spread(outputs: Outputs, targets: Sequence[TensorTarget | Top]) -> list[TensorTarget]:
    """Replace a ``Top`` by the classes that it stands for."""
    spread: list[TensorTarget] = []
    for target in targets:
        if isinstance(target, Top):
            spread += tf.unstack(target.pairs(outputs.class_values)[:, tf.newaxis])
        else:
            spread.append(target)
    return spread


def probabilities(outputs: Outputs) -> tf.Tensor:
    """Take the model's probabilities, or those of its logits where it ends in no activation."""
    if outputs.is_unit:
        return outputs.class_values
    values = tf.cast(class_outputs(outputs.values), tf.float32)
    return tf.where(are_probabilities(outputs), values, tf.nn.softmax(values))


def are_probabilities(outputs: Outputs) -> tf.Tensor:
    """Tell whether a classifier's outputs are probabilities as they are: (B, 1) bool."""
    values = tf.cast(class_outputs(outputs.values), tf.float32)
    if outputs.activated or outputs.ending is not None:
        known = outputs.activated or outputs.ending in BOUNDED
        return tf.fill(tf.shape(values[:, :1]), known)
    within = tf.reduce_all((values >= 0) & (values <= 1), axis=-1, keepdims=True)
    if values.shape[-1] == 1:
        return within
    return within & (tf.abs(tf.reduce_sum(values, axis=-1, keepdims=True) - 1) < 1e-3)


# What hands on the same numbers, in another shape or order.
_RESHAPES = ("Reshape", "Squeeze", "ExpandDims")
_SAME_NUMBERS = ("Identity", "Cast", "Transpose", *_RESHAPES)


def logits(output: tf.Tensor) -> tf.Tensor | None:
    """Find what went into an output's softmax or sigmoid, by Keras's note or by the graph."""
    noted = getattr(output, "_keras_logits", None)
    if noted is not None or not tf.is_symbolic_tensor(output):
        return noted
    operation, moves = output.op, []
    while operation.type in _SAME_NUMBERS:
        moves.append(operation)
        operation = operation.inputs[0].op
    if operation.type not in ("Softmax", "Sigmoid"):
        return None
    before = operation.inputs[0]
    for move in reversed(moves):
        if move.type == "Transpose":
            before = tf.transpose(before, move.inputs[1])
        elif move.type in _RESHAPES:
            before = tf.reshape(before, tf.shape(move.outputs[0]))
    return before
