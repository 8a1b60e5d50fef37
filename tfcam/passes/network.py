"""The explained network, to be asked again: what sampling methods need."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf

from tfcam.maps.tensors import sizes
from tfcam.model.several import at_once
from tfcam.model.tokens import to_map, to_tokens
from tfcam.passes.linear_rules import Composite
from tfcam.passes.loss_scaling import HALF_SCALE
from tfcam.passes.outputs import Outputs, TensorTarget, repeated, select
from tfcam.passes.reading import Need, Reading, Words
from tfcam.passes.relevance_rules import RelevanceRules
from tfcam.passes.rescale_rules import Rescaling
from tfcam.passes.submodel import SubModel
from tfcam.passes.traced_walk import walk_back
from tfcam.targets.callables import ClassScore, Each

# So many images, of so many pixels together, are computed at once at most where gradients are
# asked for: on two cores more of them are no faster.
GRADIENTS_AT_ONCE = 8
PIXELS_AT_ONCE = GRADIENTS_AT_ONCE * 512**2


@dataclass(frozen=True)
class ExplainedNetwork:
    """The explained network at one layer: a ``Network`` of a reading.

    Attributes:
        submodel: The opened model.
        images: (B, H, W, C), what was explained.
        target: (B, 2) pairs of classes, (B, C) weights of the logits, or a callable.
        at_once: The number of images that are computed at once, at least.
        tap: Which of the model's taps.
        activations: What the layer gave for the images, as it gave it; None without a layer.
        words: Of texts, which word each number is of.
    """

    submodel: SubModel
    images: tf.Tensor
    target: TensorTarget
    at_once: int
    tap: int
    activations: tf.Tensor
    words: Words | None = None

    @property
    def hidden(self) -> tf.Tensor:
        """Texts (B, L) with the mask or padding in place of every word."""
        images = self.images
        if self.words is None:
            blank = self.submodel.graph.inputs[self.submodel.which].blank
            return tf.fill(sizes(images), tf.cast(blank, images.dtype))
        return tf.where(self.words.owners >= 0, tf.cast(self.words.blank, images.dtype), images)

    def activations_of(self, images: tf.Tensor) -> tf.Tensor:
        """Compute what the layer gives for other images, (B, h, w, K) float32."""
        (given,) = self._open().forward(images).tapped
        return tf.cast(given, tf.float32)

    @property
    def groups(self) -> int:
        """How many variants of the images are computed at once."""
        return self._groups(self.at_once)

    @property
    def gradient_groups(self) -> int:
        """How many variants are computed at once of which a gradient is asked.

        Their activations are all held: they are few, and fewer where images are large.
        """
        pixels = math.prod(side or 1 for side in self.images.shape[1:-1])
        return self._groups(min(self.at_once, GRADIENTS_AT_ONCE, PIXELS_AT_ONCE // pixels))

    def _groups(self, images: int) -> int:
        """How many variants of the images have so many images."""
        return at_once(self.submodel.graph, max(1, images // self.images.shape[0]))

    def gradients(self, images: tf.Tensor) -> tf.Tensor:
        """Compute the gradients of the scores by what the layer gives, (n, B, h, w, K).

        Args:
            images: (n, B, H, W, C), n variants of the images.
        """
        return _parted(self._read(self._open(), images, Need.GRADIENTS).gradients, images)

    def image_gradients(self, images: tf.Tensor) -> tf.Tensor:
        """Compute the gradients of the scores by n variants of the images, (n, B, H, W, C)."""
        asked = self._read(self.submodel.at([]), images, Need.IMAGE_GRADIENTS)
        return _parted(asked.image_gradients, images)

    def _read(self, submodel: SubModel, images: tf.Tensor, needs: Need) -> Reading:
        target = repeated(self.target, images.shape[0])
        return submodel.read(_joined(images), target, needs).readings[0]

    def scores(self, images: tf.Tensor, probability: bool = False) -> tf.Tensor:
        """Score n variants of the images.

        Args:
            images: (n B, H, W, C), variant by variant.
            probability: Whether to give the model's probabilities (the softmax of its outputs
                where they are logits). A callable's number is its own.

        Returns:
            (n, B) float32.
        """
        outputs = self.submodel.at([]).forward(images).outputs
        scores = self._select(outputs)
        # Of a list of targets those that are classes have a probability.
        own_targets = None
        if callable(self.target):
            own_targets = self.target.targets if isinstance(self.target, Each) else ()
        if not probability or (own_targets is not None and not any(map(_is_class, own_targets))):
            return scores
        likely = self._select(outputs.with_probabilities)
        return (
            likely
            if own_targets is None
            else tf.where([*map(_is_class, own_targets)], likely, scores)
        )

    def multipliers(self, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Find what each value's difference from a start gave to the score, per difference.

        Args:
            start: (1, H, W, C), held against each image. Where the model has other inputs, each
                image's own go with it.

        Returns:
            (B, H, W, C) float32 by the rescale rule, and the score's rise from the start, (B,).

        Raises:
            NoRuleError: If an operation on the way has no such rule.
            ValueError: If the model takes one example at a time.
        """
        if at_once(self.submodel.graph, 2) < 2:
            raise ValueError(
                "deep_lift lets an image and its baseline through the model together, and "
                f"{self.submodel.graph.name!r} takes one example at a time. Take "
                "integrated_gradients, or let the model take batches."
            )
        batch = self.images.shape[0]
        rule = Rescaling(batch, batch if self.submodel.has_others else 1)
        starts = tf.repeat(start, rule.starts, axis=0)
        both = tf.identity(tf.concat([self.images, starts], axis=0))
        outputs = self.submodel.at([]).forward(both).outputs
        ends = tf.nest.flatten(outputs.scores)
        paired = outputs.rows([*range(batch), *(batch + n % rule.starts for n in range(batch))])
        scores = self._select(paired)
        # Of a target that is not linear in the outputs: its mean slope at both ends.
        slopes = tf.gradients(scores, tf.nest.flatten(paired.scores), unconnected_gradients="zero")
        scale = HALF_SCALE if self.submodel.half else 1.0
        given = [rule.with_starts(sum(tf.split(slope, 2)) / 2) * scale for slope in slopes]
        found, _ = rule.halves(walk_back(ends, both, given, rule))
        return tf.cast(found, tf.float32) / scale, scores[0] - scores[1]

    def relevance(
        self, composite: Composite, epsilon: float, gamma: float, of_layer: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Share the score out among the values of the images, or of the layer, by LRP's rules.

        Returns:
            (B, H, W, C) float32, or (B, h, w, K), and how much was shared out, (B,): the score,
            where that is linear in the outputs.

        Raises:
            NoRuleError: If an operation on the way has no rule.
        """
        start = tf.identity(self.images)
        submodel = self._open() if of_layer else self.submodel.at([])
        outputs, tapped = submodel.forward(start)
        ends = tf.nest.flatten(outputs.scores)
        slopes = tf.gradients(self._select(outputs), ends, unconnected_gradients="zero")
        scale = HALF_SCALE if self.submodel.half else 1.0
        given = [end * slope for end, slope in zip(ends, slopes, strict=True)]
        rules = RelevanceRules(ends, start, composite, epsilon, gamma)
        scaled = [each * scale for each in given]
        found = walk_back(ends, start, scaled, rules, *tapped)
        if of_layer and (grid := self.submodel.taps[self.tap].grid) is not None:
            found = to_map(found, grid)
        batch = start.shape[0]
        totals = [tf.reduce_sum(tf.reshape(tf.cast(g, tf.float32), (batch, -1)), 1) for g in given]
        return tf.cast(found, tf.float32) / scale, tf.add_n(totals)

    def head(self, activations: tf.Tensor) -> tf.Tensor:
        """Score (n, B) n variants of the activations, (n B, h, w, K).

        Once compiled, only what follows the layer, or passes it by, is computed.
        """
        count = sizes(activations)[0] // self.images.shape[0]
        injected = tf.cast(activations, self.activations.dtype)
        if (grid := self.submodel.taps[self.tap].grid) is not None:
            times = [count, *[1] * (self.activations.shape.rank - 1)]
            tokens = tf.tile(self.activations, times)
            injected = to_tokens(injected, tokens, grid)
        # Each variant with its own image, as residual connections pass the layer by.
        images = tf.tile(self.images, [count, *[1] * (self.images.shape.rank - 1)])
        return self._select(self._open().forward(images, inject=[injected]).outputs)

    def head_gradients(self, activations: tf.Tensor) -> tf.Tensor:
        """Compute the gradients of the scores by n variants of the activations, (n, B, h, w, K)."""
        _, slopes = self.submodel.ascent(self.head, _joined(activations))
        return _parted(slopes, activations)

    def _open(self) -> SubModel:
        """Open the model at this layer alone."""
        return self.submodel.at([self.submodel.taps[self.tap]])

    def _select(self, outputs: Outputs) -> tf.Tensor:
        batch = self.images.shape[0]
        count = sizes(tf.nest.flatten(outputs.values)[0])[0] // batch
        scores = select(outputs, repeated(self.target, count)).scores
        return tf.reshape(scores, (count, batch))


def _joined(variants: tf.Tensor) -> tf.Tensor:
    """Lay variants (n, B, ...) out as one batch, (n B, ...)."""
    return tf.reshape(variants, (-1, *sizes(variants)[2:]))


def _parted(values: tf.Tensor, variants: tf.Tensor) -> tf.Tensor:
    """Part a batch (n B, ...) into variants, (n, B, ...)."""
    return tf.reshape(values, (*variants.shape[:2], *sizes(values)[1:]))


def _is_class(target: object) -> bool:
    return isinstance(target, ClassScore)
