"""A model opened at named layers: activations, gradients and scores in one pass.

The only file with a GradientTape. ``B`` images; activations and gradients are (B, h, w, K).
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfcam.guided import check_gates, count_gates, guided_relus
from tfcam.inspection import Tap
from tfcam.recording import run
from tfcam.tapping import Side, observed
from tfcam.targets import PREDICTED, checked_scores, class_scores

# Half-precision gradients of a small score underflow to zero: the score is scaled up, the
# gradient back down. A power of two changes no digit.
_HALF_SCALE = 2.0**14
# Each shape of input is traced by itself; this many are kept.
KEPT = 16


@dataclass(frozen=True)
class Reading:
    """What a method makes its map from; what its method did not ask for is None.

    Attributes:
        activations: (B, h, w, K) float32, the output of the explained layer.
        scores: (B,) float32, the number that is explained.
        gradients: (B, h, w, K) float32, of the score by the activations.
        class_weights: (B, K) float32, of the linear head, for each image's class.
        guided_gradients: (B, H, W, C) float32, of the score by the images, guided.
        image_gradients: (B, H, W, C) float32, of the score by the images.
    """

    activations: tf.Tensor
    scores: tf.Tensor = None
    gradients: tf.Tensor = None
    class_weights: tf.Tensor = None
    guided_gradients: tf.Tensor = None
    image_gradients: tf.Tensor = None


@dataclass(frozen=True)
class Outputs:
    """What the model returns: ``values`` as it is, ``scores`` before its softmax or sigmoid."""

    values: Any
    scores: Any
    found: bool


class SubModel:
    """A model opened at some of its layers; it keeps the model alive no longer than its owner.

    Args:
        model: A built Keras model.
        taps: Where to open it.
        score: "logit" for scores before the final softmax or sigmoid, "probability" for the
            model's own output.
    """

    def __init__(self, model: Any, taps: Sequence[Tap], score: str = "logit") -> None:
        self._model = weakref.ref(model)
        self.taps = tuple(taps)
        self.score = score
        self._traced: OrderedDict[Any, Any] = OrderedDict()

    @property
    def model(self) -> Any:
        """The opened model."""
        model = self._model()
        if model is None:
            raise ReferenceError("The explained model no longer exists; keep a reference to it.")
        return model

    def forward(
        self,
        images: tf.Tensor,
        watch: Callable[[tf.Tensor], object] | None = None,
        inject: Sequence[tf.Tensor] | None = None,
    ) -> tuple[Outputs, list[tf.Tensor]]:
        """Run the model once in inference mode.

        Args:
            images: The model's input, (B, H, W, C).
            watch: Called with each tapped tensor, such as ``tape.watch``.
            inject: Given tensors that go on in place of the tapped ones: the head alone, once
                traced, as whatever only fed the replaced tensors is then never computed.

        Returns:
            The outputs, and the tapped tensors in the order of ``taps``.
        """
        taken: dict[int, tf.Tensor] = {}
        calls = dict.fromkeys(range(len(self.taps)), 0)

        def visit(operation: Any, number: int, side: Side, value: Any) -> Any:
            for index, tap in enumerate(self.taps):
                if tap.operation() is not operation or tap.side != side:
                    continue
                calls[index] += 1
                if tap.number in (None, number):
                    _check_map(tap, value)
                    value = tf.identity(value if inject is None else inject[index])
                    if watch is not None:
                        watch(value)
                    taken[index] = value
            return value

        with observed(self.model, [tap.operation() for tap in self.taps], visit):
            outputs = run(self.model, images)
        for index, tap in enumerate(self.taps):
            _check_reached(tap, calls[index], index in taken)
        return self._outputs(outputs), [taken[index] for index in range(len(self.taps))]

    def _outputs(self, outputs: Any) -> Outputs:
        if self.score == "probability":
            return Outputs(outputs, outputs, False)
        leaves = tf.nest.flatten(outputs)
        logits = [_before_activation(leaf) for leaf in leaves]
        scores = [
            leaf if logit is None else logit for leaf, logit in zip(leaves, logits, strict=True)
        ]
        found = all(logit is not None for logit in logits)
        return Outputs(outputs, tf.nest.pack_sequence_as(outputs, scores), found)

    def read(
        self,
        images: tf.Tensor,
        target: tf.Tensor | Callable[[Any], Any],
        gradients: bool = True,
        image_gradients: bool = False,
    ) -> tuple[list[Reading], Outputs, tf.Tensor, tf.Tensor]:
        """One forward pass and, where gradients are asked for, the head's backward pass.

        Args:
            images: The model's input, (B, H, W, C).
            target: (B,) class indices, ``PREDICTED`` for the predicted class; or a callable
                outputs -> (B,).
            gradients: Whether gradients by the activations are needed.
            image_gradients: Whether gradients by the images are: a whole backward pass.

        Returns:
            A reading for each tap (one without activations where there is none), the outputs, the
            (B,) scores, and the (B,) class indices explained (``PREDICTED`` where the target is a
            callable).

        Raises:
            ValueError: If the score does not depend on a tapped layer in a differentiable way.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            if image_gradients:
                tape.watch(images)
            outputs, taken = self.forward(images, tape.watch if gradients else None)
            scores, indices = select(outputs, target)
            half = any(a.dtype == tf.float16 for a in taken) or self._is_half()
            scale = _HALF_SCALE if half else 1.0
            # Images do not depend on each other in inference mode: the gradient of the sum over
            # the batch is each image's own.
            total = tf.reduce_sum(scores) * scale
        wanted: dict[Any, Any] = {"input": images} if image_gradients else {}
        wanted |= dict(enumerate(taken)) if gradients else {}
        slopes = tape.gradient(total, wanted) if wanted else {}
        for key, slope in slopes.items():
            if slope is None:
                path = "the model's input" if key == "input" else repr(self.taps[key].path)
                raise ValueError(_no_gradient(path))
        found = {key: tf.cast(slope, tf.float32) / scale for key, slope in slopes.items()}
        readings = [
            Reading(
                None if activation is None else tf.cast(activation, tf.float32),
                scores,
                found.get(index),
                image_gradients=found.get("input"),
            )
            for index, activation in enumerate(taken or [None])
        ]
        return readings, outputs, scores, indices

    def guided_gradients(
        self, images: tf.Tensor, target: tf.Tensor | Callable[[Any], Any]
    ) -> tuple[tf.Tensor, int]:
        """The guided gradient of the score by the images, and how many ReLUs it gated.

        Returns:
            (B, H, W, C) float32, and the count.

        Raises:
            ValueError: If the network has no ReLU, or one that can't be reached.
        """
        given = () if callable(target) else (target,)
        key = (target if callable(target) else None, tuple(images.shape), images.dtype)
        if key not in self._traced:
            self._traced[key] = self._guided(target).get_concrete_function(images, *given)
            if len(self._traced) > KEPT:
                self._traced.popitem(last=False)
        concrete = self._traced[key]
        gates = count_gates(concrete.graph)
        check_gates(gates, self.model.name)
        scale = _HALF_SCALE if self._is_half() else 1.0
        # The override map is honoured only where the tape is outside of the traced function.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            total = tf.reduce_sum(concrete(images, *given)) * scale
        gradients = tape.gradient(total, images)
        if gradients is None:
            raise ValueError(_no_gradient("the model's input"))
        return tf.cast(gradients, tf.float32) / scale, gates.guided

    def _guided(self, target: tf.Tensor | Callable[[Any], Any]) -> Any:
        """The guided forward pass, to be traced: for class indices, or for one callable."""

        @tf.function(autograph=False)
        def scores(images: tf.Tensor, indices: tf.Tensor | None = None) -> tf.Tensor:
            with guided_relus():
                outputs, _ = self.forward(images)
                return select(outputs, target if indices is None else indices)[0]

        return scores

    def _is_half(self) -> bool:
        return getattr(self.model, "compute_dtype", None) == "float16"

    def head(
        self,
        images: tf.Tensor,
        activations: Sequence[tf.Tensor],
        target: tf.Tensor | Callable[[Any], Any],
    ) -> tf.Tensor:
        """The scores (B,) when given activations stand in place of the tapped ones.

        Traced, only what follows the tapped layers is computed.
        """
        outputs, _ = self.forward(images, inject=activations)
        return select(outputs, target)[0]


def select(
    outputs: Outputs, target: tf.Tensor | Callable[[Any], Any]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The explained scores (B,) float32, and the class of each image.

    Raises:
        ValueError: If classes are asked of outputs that are not (B, C).
    """
    if callable(target):
        batch = tf.nest.flatten(outputs.values)[0].shape[0]
        scores = tf.cast(checked_scores(target(outputs.scores), batch), tf.float32)
        return scores, tf.fill([batch], PREDICTED)
    if not isinstance(outputs.values, tf.Tensor):
        kind = type(outputs.values).__name__
        raise ValueError(
            f"To explain a class the model must return one tensor (B, classes); it returns a "
            f"{kind} of {len(tf.nest.flatten(outputs.values))}. Pass a callable outputs -> (B,)."
        )
    shape = outputs.values.shape
    if shape.rank is None or shape.rank < 2 or any(side != 1 for side in shape[1:-1]):
        raise ValueError(
            f"To explain a class the model must return (B, classes); it returns {tuple(shape)}. "
            "Pass target=lambda outputs: ..., which returns one number for each image, (B,)."
        )
    classes = (-1, shape[-1])
    values, scores = tf.reshape(outputs.values, classes), tf.reshape(outputs.scores, classes)
    predicted = tf.argmax(values, axis=-1, output_type=tf.int32)
    indices = tf.where(target == PREDICTED, predicted, target)
    return tf.cast(class_scores(scores, indices), tf.float32), indices


def _before_activation(output: tf.Tensor) -> tf.Tensor | None:
    """What went into the final softmax or sigmoid: Keras notes it; a graph can be walked back."""
    logits = getattr(output, "_keras_logits", None)
    if logits is not None or not tf.is_symbolic_tensor(output):
        return logits
    operation = output.op
    while operation.type in ("Identity", "Cast", "Reshape", "Squeeze"):
        operation = operation.inputs[0].op
    if operation.type in ("Softmax", "Sigmoid"):
        return tf.reshape(operation.inputs[0], tf.shape(output))
    return None


def _check_map(tap: Tap, value: Any) -> None:
    if not isinstance(value, tf.Tensor):
        raise ValueError(
            f"A layer to explain must give one tensor; {tap.path!r} gives a "
            f"{type(value).__name__}. tfcam.layers(model) lists those that have a map."
        )
    if value.shape.rank is None or value.shape.rank < 3:
        raise ValueError(
            f"A layer to explain must have a map (B, h, w, K); {tap.path!r} gives "
            f"{tuple(value.shape)}. tfcam.layers(model) lists those that have a map."
        )


def _check_reached(tap: Tap, calls: int, taken: bool) -> None:
    if calls == 0:
        raise ValueError(
            f"The layer must be on the way to the output; {tap.path!r} is part of the model, but "
            "was not called for this input. tfcam.layers(model) lists those that are."
        )
    if not taken:
        raise ValueError(
            f"{tap.path!r} is called {calls} times (0..{calls - 1}); there is no call {tap.number}."
        )
    if tap.number is None and calls > 1:
        raise ValueError(
            f"{tap.path!r} is called {calls} times; say which: "
            + " or ".join(f"'{tap.path}:{number}'" for number in range(min(calls, 4)))
            + "."
        )


def _no_gradient(place: str) -> str:
    return (
        f"The score must depend on the layer in a differentiable way, but no gradient reaches "
        f"{place}: it is not on the way to the explained output, or an argmax, a rounding, a "
        "stop_gradient or NumPy code stands between. Choose another layer, or a target that is "
        "computed from the outputs with keras.ops or tf."
    )
