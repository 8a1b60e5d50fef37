"""A model opened at named layers: activations, gradients and scores in one pass.

The only file with a GradientTape. ``B`` images; activations and gradients are (B, h, w, K).
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import tensorflow as tf

from tfcam.maps.tensors import sizes
from tfcam.model.endings import BOUNDED
from tfcam.model.frames import fold, unfold
from tfcam.model.graph import ModelGraph
from tfcam.model.hooks import Side, observed
from tfcam.model.inputs import swapped
from tfcam.model.outputs import pick_output
from tfcam.model.taps import Tap
from tfcam.model.tokens import to_map
from tfcam.passes.attention import of_heads, reading_attentions
from tfcam.passes.guided_relu import Gates, gated_gradients, is_blind, open_gates
from tfcam.passes.loss_scaling import HALF_SCALE, unscaled
from tfcam.passes.outputs import (
    Contrast,
    Outputs,
    TensorTarget,
    logits,
    read_outputs,
    select,
    spread,
)
from tfcam.passes.reading import Need, Reading
from tfcam.passes.requirements import NoGradientError, check_map, check_reached, no_gradient
from tfcam.targets.callables import told_format
from tfcam.targets.classes import Top
from tfcam.utils.recent import LIMIT, Recent

_IMAGES = -1


class Forward(NamedTuple):
    """What a forward pass gives.

    Attributes:
        outputs: The model's.
        tapped: What each tap gave, as it gave it.
    """

    outputs: Outputs
    tapped: list[tf.Tensor]


class Answer(NamedTuple):
    """What one pass says of one target.

    Attributes:
        readings: One for each tap; one without activations where there is none.
        pairs: (B, 2), the explained classes and those they are held against; ``PREDICTED`` and
            ``NOTHING`` where the target is a callable.
        weights: (B, C), what each logit counts for; None but for a contrast.
        target: What is explained where the network is asked again: the pairs, the weights, or the
            callable.
        blind: Whether deconvnet's gradients, where they were read, are the same for all images.
    """

    readings: list[Reading]
    pairs: tf.Tensor
    weights: tf.Tensor | None
    target: TensorTarget
    blind: bool = False


class Pass(NamedTuple):
    """What one pass gives: that of its forward pass, an answer for each target, and the gates."""

    outputs: Outputs
    tapped: list[tf.Tensor]
    answers: list[Answer]
    gates: Gates = Gates()


class SubModel:
    """A model opened at some of its layers; it keeps the model alive no longer than its owner.

    Args:
        graph: What is known of the model.
        taps: Where to open it.
        score: "logit" for scores before the final softmax or sigmoid, "probability" for the
            model's own output.
        output: Which output is explained of a model that has several, by name or index.
        which: Which input is explained, in their flat order.
        heads: Whether layers without a map may be tapped as well; of one that ends in a softmax or
            sigmoid, what goes into that is taken. All is read as the layers lay it out.

    Attributes:
        half: Whether a layer computes in float16.
        ending: How the explained output comes about; None where the structure can't tell.
    """

    def __init__(
        self,
        graph: ModelGraph,
        taps: Sequence[Tap],
        score: str = "logit",
        output: str | int | None = None,
        which: int = 0,
        heads: bool = False,
    ) -> None:
        self.graph = graph
        self.taps = tuple(taps)
        self.score, self.output, self.which, self._heads = score, output, which, heads
        self.ending = graph.output(output, which).ending
        self._traced: Recent[Any] = Recent(limit=LIMIT)
        self._others: tuple[tf.Tensor, ...] = ()
        self.half = graph.computes_in("float16")
        taken = graph.inputs[which]
        self._rank = None if heads else len(taken.sides) + 2
        self._swapped = len(taken.shape) + 1 if taken.layers_first else None

    def beside(self, others: Sequence[tf.Tensor]) -> SubModel:
        """Set the values of the inputs that are not explained, in a copy of this."""
        same = copy.copy(self)
        same._others = tuple(others)
        return same

    def at(self, taps: Sequence[Tap]) -> SubModel:
        """Open a copy of this at other layers."""
        same = copy.copy(self)
        same.taps = tuple(taps)
        return same

    @property
    def has_others(self) -> bool:
        """Whether the model has inputs that are not explained."""
        return bool(self._others)

    @property
    def model(self) -> Any:
        """The opened model."""
        return self.graph.model

    def forward(
        self,
        images: tf.Tensor,
        watch: Callable[[tf.Tensor], object] | None = None,
        inject: Sequence[tf.Tensor] | None = None,
    ) -> Forward:
        """Run the model once in inference mode.

        Args:
            images: The model's input, (B, H, W, C).
            watch: Called with each tapped tensor, such as ``tape.watch``.
            inject: Given tensors that go on in place of the tapped ones: the head alone, once
                traced, as whatever only fed the replaced tensors is then never computed.

        Returns:
            The outputs, and the tapped tensors in the order of ``taps``.
        """
        tapped: dict[int, tf.Tensor] = {}
        calls = dict.fromkeys(range(len(self.taps)), 0)

        def visit(operation: Any, number: int, side: Side, value: Any) -> Any:
            for index, tap in enumerate(self.taps):
                if tap.operation() is not operation or tap.side != side:
                    continue
                calls[index] += 1
                if tap.number in (None, number):
                    check_map(tap, value, 2 if self._heads else 3, self._rank)
                    before = logits(value) if self._heads else None
                    count = self._frames(tap, value, images)
                    if count is not None:
                        value = unfold(value, count)
                    swaps = self._swapped == value.shape.rank and not self._heads
                    shown = self.channels_last(value) if swaps else value
                    tapped[index] = tf.identity(shown if inject is None else inject[index])
                    if before is not None:  # the score is taken before the activation
                        tapped[index] = before
                    if watch is not None:
                        watch(tapped[index])
                    if before is None:
                        value = swapped(tapped[index], to_first=True) if swaps else tapped[index]
                        value = value if count is None else fold(value)
            return value

        with observed(self.graph, [tap.operation() for tap in self.taps], visit):
            outputs = self.graph.run(self._values(images))
        for index, tap in enumerate(self.taps):
            check_reached(tap, calls[index], index in tapped)
        return Forward(self._outputs(outputs), [tapped[n] for n in range(len(self.taps))])

    def _frames(self, tap: Tap, value: tf.Tensor, images: tf.Tensor) -> int | tf.Tensor | None:
        """How many frames of each video are a batch in what a layer gives; None where none are."""
        if tap.frames is None or value.shape.rank + 1 != self._rank:
            return None
        if tap.frames == 1:
            return 1
        # A model may leave open how many frames videos have, and take some of them.
        if tap.frames == self.graph.calls(self.which).sides[0]:
            return int(images.shape[1])
        return sizes(value)[0] // sizes(images)[0]

    def channels_last(self, value: tf.Tensor) -> tf.Tensor:
        """Turn what a layer gives so that the channels of a map are last."""
        return swapped(value, to_first=False) if value.shape.rank == self._swapped else value

    def _values(self, images: tf.Tensor) -> list[tf.Tensor]:
        """List all inputs; the others as often as there are variants of the images."""
        count = sizes(images)[0]
        values = [
            tf.tile(value, [count // value.shape[0], *[1] * (value.shape.rank - 1)])
            for value in self._others
        ]
        values.insert(self.which, images)
        return values

    def _outputs(self, outputs: Any) -> Outputs:
        names = getattr(self.model, "output_names", None) or ()
        return read_outputs(pick_output(outputs, self.output, names), self.score, self.ending)

    def read(self, images: tf.Tensor, target: TensorTarget, needs: Need = Need.GRADIENTS) -> Answer:
        """Read the answer for one target: see ``read_each``."""
        return self.read_each(images, [target], needs).answers[0]

    def read_each(
        self,
        images: tf.Tensor,
        targets: Sequence[TensorTarget | Top],
        needs: Need = Need.GRADIENTS,
        contrast: Contrast | None = None,
    ) -> Pass:
        """Run one forward pass and, where gradients are needed, each target's backward pass.

        Args:
            images: The model's input, (B, H, W, C).
            targets: Each (B, 2) pairs of classes, (B,) classes, a ``Top`` for one image, or a
                callable outputs -> (B,).
            needs: Which of gradients by the activations, gradients by the images (a whole backward
                pass), the same through gated ReLUs (traced only) and attention scores are read.
            contrast: Turns logits and pairs of classes into what each logit counts for.

        Raises:
            NoGradientError: If the score does not depend on a tapped layer in a differentiable way.
            ValueError: If ReLUs are to be gated and there is none, or one that can't be reached.
        """
        targets = [self.told(target) for target in targets]
        gradients, image_gradients = Need.GRADIENTS in needs, Need.IMAGE_GRADIENTS in needs
        by_attention = Need.ATTENTION_GRADIENTS in needs
        half = self.half
        several = half or len(targets) > 1 or isinstance(targets[0], Top)
        with tf.GradientTape(persistent=several, watch_accessed_variables=False) as tape:
            if image_gradients:
                tape.watch(images)
            # Open before the taps are: each attention is called once more for its scores.
            with self._attending(needs, tape.watch) as attended:
                outputs, tapped = self.forward(images, tape.watch if gradients else None)
            chosen = [select(outputs, target, contrast) for target in spread(outputs, targets)]
            # Images do not depend on each other in inference mode: the gradient of the sum over
            # the batch is each image's own.
            totals = [tf.reduce_sum(selected.scores) for selected in chosen]
            large = [total * HALF_SCALE for total in totals] if half else totals
        wanted: dict[int, tf.Tensor] = {_IMAGES: images} if image_gradients else {}
        wanted |= dict(enumerate(tapped)) if gradients else {}
        wanted |= {-2 - n: scores for n, scores in enumerate(attended) if by_attention}
        rules, gates = open_gates(needs, images, self.graph.name)
        answers = []
        for selected, total, scaled in zip(chosen, totals, large, strict=True):
            slopes = tape.gradient(scaled, wanted) if wanted else {}
            for key, slope in slopes.items():
                if slope is None:
                    path = "attention scores" if key < _IMAGES else "the model's input"
                    path = path if key < 0 else repr(self.taps[key].path)
                    raise NoGradientError(no_gradient(path))
            if half and wanted:
                slopes = unscaled(slopes, functools.partial(tape.gradient, total, wanted))
            # Of an exported network the slope's batch is unknown, but it is that of its tensor.
            slopes = {
                key: tf.ensure_shape(tf.cast(slope, tf.float32), wanted[key].shape)
                for key, slope in slopes.items()
            }
            gated = {rule: gated_gradients(rule, selected.scores, images, half) for rule in rules}
            again = selected.again
            ends = [selected.scores] if callable(again) else tf.nest.flatten(outputs.scores)
            readings = [
                Reading(
                    self._map(index, activation),
                    selected.scores,
                    self._map(index, slopes.get(index)),
                    image_gradients=slopes.get(_IMAGES),
                    guided_gradients=gated.get("guided"),
                    deconvnet_gradients=gated.get("deconvnet"),
                    attentions=tuple(map(of_heads, attended)),
                    attention_gradients=tuple(
                        of_heads(s) for k, s in slopes.items() if k < _IMAGES
                    ),
                    grid=self.taps[index].grid if tapped else None,
                    spacing=self.graph.spacing,
                )
                for index, activation in enumerate(tapped or [None])
            ]
            blind = "deconvnet" in gated and is_blind(ends, images)
            answers.append(Answer(readings, selected.pairs, selected.weights, again, blind))
        return Pass(outputs, tapped, answers, gates)

    def told(self, target: Any) -> Any:
        """Tell a target of pixels how outputs are laid out, and whether they are probabilities."""
        likely = None if self.ending is None else self.ending == "probability"
        if self.score == "probability" and self.ending is not None:
            likely = self.ending in BOUNDED
        return told_format(target, channels_first=self._swapped is not None, likely=likely)

    def _attending(
        self, needs: Need, watch: Callable[[tf.Tensor], object]
    ) -> AbstractContextManager[list[tf.Tensor]]:
        """Open a scope with a list that fills with attention scores, where they are needed."""
        if Need.ATTENTIONS not in needs:
            return nullcontext([])
        return reading_attentions(self.graph, watch if Need.ATTENTION_GRADIENTS in needs else None)

    def _map(self, index: int, values: tf.Tensor | None) -> tf.Tensor | None:
        """Cast activations or gradients to float32, and lay those of tokens on their grid."""
        if values is None:
            return None
        grid, values = self.taps[index].grid, tf.cast(values, tf.float32)
        return values if grid is None else to_map(values, grid)

    def traced(self, key: Hashable, function: Any, tensors: Sequence[tf.Tensor]) -> Any:
        """Trace a function once for each key and kind of tensors; those used last are kept.

        What asks a black box is left as it is.
        """
        if self.graph.is_black_box:
            return function.python_function
        kinds = tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)
        return self._traced.get((key, kinds), lambda: function.get_concrete_function(*tensors))

    def ascent(
        self, function: Callable[[tf.Tensor], tf.Tensor], at: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Evaluate a function of anything that becomes images, and find where it rises.

        Args:
            function: ``at`` -> (B,), on its way through ``forward``.
            at: Where the gradient is wanted.

        Returns:
            The values (B,), and the gradient of their sum, float32, in the shape of ``at``.

        Raises:
            NoGradientError: If the values do not depend on it in a differentiable way.
        """
        half = self.half
        with tf.GradientTape(persistent=half, watch_accessed_variables=False) as tape:
            tape.watch(at)
            values = function(at)
            scaled = values * HALF_SCALE if half else values
        slopes = {_IMAGES: tape.gradient(scaled, at)}
        if slopes[_IMAGES] is None:
            raise NoGradientError(no_gradient("the model's input"))
        if half:
            slopes = unscaled(slopes, lambda: {_IMAGES: tape.gradient(values, at)})
        return values, tf.cast(slopes[_IMAGES], tf.float32)

    def head(
        self,
        images: tf.Tensor,
        activations: Sequence[tf.Tensor],
        target: TensorTarget,
    ) -> tf.Tensor:
        """Score (B,) given activations in place of the tapped ones.

        Traced, only what follows the tapped layers is computed.
        """
        return select(self.forward(images, inject=activations).outputs, target).scores
