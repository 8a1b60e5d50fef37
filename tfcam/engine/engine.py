"""What runs: layers, methods and targets of a model in one pass; eager at first, then compiled."""

from __future__ import annotations

import copy
import functools
import operator
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.engine.freezing import frozen
from tfcam.engine.settings import Computed, Settings
from tfcam.maps.tensors import first_component
from tfcam.methods.bias_terms import bias_taps, biases
from tfcam.methods.registry import Method, Request
from tfcam.model.graph import ModelGraph
from tfcam.model.heads import Head
from tfcam.model.hooks import LOCK
from tfcam.model.taps import Place
from tfcam.passes.guided_relu import Gates, Rule
from tfcam.passes.outputs import Outputs
from tfcam.passes.reading import Need, Reading
from tfcam.passes.submodel import KEPT, Answer, SubModel
from tfcam.targets.classes import NOTHING, class_index, class_weights

# A batch of so many images is compiled at once.
_MANY = 16


_GATED: dict[Rule, Need] = {"guided": Need.GUIDED_GRADIENTS, "deconvnet": Need.DECONVNET_GRADIENTS}


class Engine:
    """Computes the maps of some layers of a model by some methods.

    Args:
        graph: What is known of the model.
        places: Where it is opened, and why there.
        requests: The methods; those with a contrast stand alone.
        settings: How scores and maps are made.
        which: Which of the model's inputs is explained.
        heads: For each place the linear head that pools it, where a method makes use of that.
    """

    def __init__(
        self,
        graph: ModelGraph,
        places: Sequence[Place],
        requests: Sequence[Request],
        settings: Settings,
        which: int,
        heads: Sequence[Head | None],
    ) -> None:
        self.settings, self.requests = settings, tuple(requests)
        taps = [tap for tap, _ in places]
        self.layers: list[str] = [tap.name for tap in taps]
        self.reasons = [reason for _, reason in places]
        for each in requests:
            if settings.eigen and not each.method.combines:
                raise ValueError(
                    f"eigen=True combines channels in another way, and {each.method.name!r} "
                    "combines none; leave it out."
                )
        self.needs = functools.reduce(
            operator.or_, (each.method.needs for each in requests), Need.NOTHING
        )
        self.submodel = SubModel(graph, taps, settings.score, settings.output, which)
        self._heads = tuple(heads)
        self._input = graph.inputs[which].name if len(graph.inputs) > 1 else None
        self._biased: SubModel | None = None
        if Need.BIAS_ATTRIBUTIONS in self.needs:
            if settings.score != "logit":
                raise ValueError("full_grad explains the logit; score='probability' is not linear.")
            taps = bias_taps(graph)
            self._biased = SubModel(graph, taps, output=settings.output, heads=True)
        self._found = False
        self.gates = Gates()
        self._seen: OrderedDict[Any, Any] = OrderedDict()
        self._eager_first = True

    @functools.cached_property
    def compiling(self) -> Engine:
        """This, but compiled from the first call on: eagerly, Keras keeps every layer's output."""
        same = copy.copy(self)
        same._seen, same._eager_first = OrderedDict(), False
        return same

    def options(self, request: Request) -> dict[str, Any]:
        """What the result should say about how it was computed."""
        said: dict[str, Any] = {"score": self.settings.score, **request.options}
        settings = self.settings
        asked = {"input": self._input, "output": settings.output, "grid": settings.grid}
        said |= {name: value for name, value in asked.items() if value is not None}
        said |= {name: True for name in ("eigen", "freeze") if getattr(settings, name)}
        if request.method.gates_relus:
            said["gated_activations"] = self.gates.gated
        return said

    def __call__(
        self, inputs: np.ndarray, targets: Sequence[Any], others: Sequence[np.ndarray] = ()
    ) -> list[Computed]:
        """Compute the maps of a batch for each target.

        Args:
            inputs: (B, h, w, C), what the model takes.
            others: Its other inputs, (B, ...) each, in their flat order.
            targets: Each (B, 2) int32 pairs of classes, a callable outputs -> (B,), or, for one
                image, a ``Top``.
        """
        if not tf.executing_eagerly():
            raise ValueError(
                "Explaining needs values, which there are none inside a tf.function: call explain "
                "outside of it. What runs is compiled by itself from the second call on."
            )
        for request in self.requests:
            if request.method.needs_class and any(map(callable, targets)):
                raise ValueError(
                    f"{request.method.name!r} needs a class: an index, a label or None; got a "
                    "callable. grad_cam takes callables."
                )
            pairs = [t for t in targets if isinstance(t, np.ndarray) and t.dtype.kind == "i"]
            if request.method.contrast and any((each[:, 1] != NOTHING).any() for each in pairs):
                raise ValueError(
                    f"{request.method.name!r} holds a class against others by itself; give the "
                    "class alone, or explain the Difference with another method."
                )
            if request.method.changes_input and inputs.dtype.kind in "iu":
                raise ValueError(
                    f"{request.method.name!r} changes the input a little, and the model takes "
                    f"whole numbers, {inputs.dtype.name}. Use a method on a layer, such as "
                    "grad_cam or ablation_cam."
                )
        images = tf.convert_to_tensor(inputs)
        function, compiled, given = self._function(images, targets, others)
        *results, hidden = function(*given)
        if not compiled and self.settings.score == "logit" and hidden:
            # Keras left no note of the logits: a traced graph can be walked back to them.
            *results, _ = self._function(images, targets, others)[0](*given)
        answers, values = keras.tree.map_structure(
            lambda each: None if each is None else each.numpy(), results
        )
        if values is not None:  # on a GPU, the score of a class that there is not would be 0
            most = max(int(pairs.max(initial=0)) for _, _, _, pairs, _ in answers)
            class_index(most, values.shape[1], None)
        kind = self._kind(values)
        return [
            Computed(raws, measured, scores, pairs, weights, values, kind)
            for raws, measured, scores, pairs, weights in answers
        ]

    def raw(self, images: tf.Tensor, target: Any) -> tf.Tensor:
        """The raw maps by the first method at the first layer, for a tape that is open around it.

        Args:
            images: (B, h, w, C), what the model takes.
            target: (B,) classes, (B, 2) pairs of classes, (B, C) weights of the logits, or a
                callable outputs -> (B,).
        """
        ((raws, *_),), *_ = self.compute(self.submodel, images, [target])
        return raws[0][0]

    def _function(
        self, images: tf.Tensor, targets: Sequence[Any], others: Sequence[np.ndarray]
    ) -> tuple[Callable[..., Any], bool, list[tf.Tensor]]:
        """What computes inputs of this shape, whether it is compiled, and what it is given."""
        fixed = tuple(None if isinstance(each, np.ndarray) else each for each in targets)
        arrays = (*others, *(t for t in targets if isinstance(t, np.ndarray)))
        given = [images, *map(tf.constant, arrays)]
        key = (*((*each.shape, each.dtype) for each in given), *map(_hashable, fixed))

        def function(images: tf.Tensor, *rest: tf.Tensor) -> Any:
            beside, left = rest[: len(others)], iter(rest[len(others) :])
            chosen = [next(left) if each is None else each for each in fixed]
            return self.compute(self.submodel.beside(beside), images, chosen)

        with LOCK:
            # A loop of passes is worth compiling at once; eager, a large batch takes much memory.
            at_once = any(each.method.loops for each in self.requests) or len(images) >= _MANY
            at_once |= self.settings.freeze or not self._eager_first
            compiled = at_once or key in self._seen
            if compiled and self._seen.get(key) is None:
                # One for each shape: a tf.function that held them all would complain of that.
                traced = tf.function(function, autograph=False).get_concrete_function(*given)
                self._seen[key] = frozen(traced) if self.settings.freeze else traced
            kept = self._seen.setdefault(key, None)
            self._seen.move_to_end(key)
            if len(self._seen) > KEPT:
                self._seen.popitem(last=False)
        return kept or function, compiled, given

    def compute(self, submodel: SubModel, images: tf.Tensor, targets: Sequence[Any]) -> Any:
        """What is traced: for each target maps, measurements, scores, classes and weights; the
        outputs (B, C); whether logits may be hidden in them.
        """
        contrasts = [
            functools.partial(each.method.contrast, **each.options)
            for each in self.requests
            if each.method.contrast is not None
        ]
        outputs, answers = submodel.read_each(
            images,
            targets,
            self.needs,
            *contrasts,
        )
        self._found = outputs.found
        made = [self._answer(images, answer) for answer in answers]
        return made, _class_values(outputs), outputs.hide_logits

    def _answer(self, images: tf.Tensor, answer: Answer) -> tuple[Any, ...]:
        readings = [
            self._fill(images, answer, reading, index)
            for index, reading in enumerate(answer.readings)
        ]
        raws, measured = [], []
        for request in self.requests:
            asked = readings if request.method.layered else readings[:1]
            made = [self._map(request, reading, images) for reading in asked]
            raws.append([raw for raw, _ in made])
            measured.append([facts for _, facts in made])
        return raws, measured, readings[0].scores, answer.pairs, answer.weights

    def _fill(self, images: tf.Tensor, answer: Answer, reading: Reading, index: int) -> Reading:
        """Add to a reading what the methods need besides gradients."""
        target = reading.network.target
        filled: dict[str, Any] = {"principal": self.settings.eigen}
        filled["network"] = replace(reading.network, at_once=self.settings.at_once)
        head = self._heads[index] if self._heads else None
        if head is not None and not callable(target):
            weights, _ = head.weights(reading.activations.shape[-1])
            filled["class_weights"] = (
                class_weights(weights, answer.pairs)
                if answer.weights is None
                else tf.matmul(answer.weights, weights, transpose_b=True)
            )
        for rule, need in _GATED.items():
            if need in self.needs:
                gated = reading.network.submodel.gated_gradients(images, target, rule)
                gradients, self.gates = gated
                filled[f"{rule}_gradients"] = gradients
        if self._biased is not None:
            filled |= _bias_attributions(self._biased, images, target)
        return replace(reading, **filled)

    def _map(self, request: Request, reading: Reading, images: tf.Tensor) -> tuple[tf.Tensor, Any]:
        made = request.method(reading, **request.options)
        raw, facts = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
        raw = _checked(raw, request.method, images)
        _check_facts(facts, request.method, images.shape[0])
        if self.settings.eigen and raw.shape.rank == images.shape.rank:
            raw = first_component(raw, towards=tf.reduce_sum(raw, axis=-1))
        return raw, facts

    def _kind(self, values: np.ndarray | None) -> str:
        if self._found:
            return "logit"
        if values is None:
            return "output"
        within = bool((values >= 0).all() and (values <= 1).all())
        if self.settings.score == "probability":
            return "probability" if within else "output"
        sums = values.shape[1] > 1 and np.allclose(values.sum(axis=1), 1, atol=1e-3)
        return "probability" if within and sums else "output"


def _hashable(target: Any) -> Any:
    """What stands for a target in a key; a callable without a hash is itself, kept by its graph."""
    return target if getattr(target, "__hash__", None) else id(target)


def _bias_attributions(biased: SubModel, images: tf.Tensor, target: Any) -> dict[str, Any]:
    """What each layer's bias gave to the score, and the gradients by the images."""
    readings, *_ = biased.read(images, target, Need.GRADIENTS | Need.IMAGE_GRADIENTS)
    layers = [tap.operation() for tap in biased.taps]
    parts = [
        biased.channels_last(biases(layer, reading.activations) * reading.gradients)
        for layer, reading in zip(layers, readings, strict=True)
    ]
    return {"bias_attributions": parts, "image_gradients": readings[0].image_gradients}


def _check_facts(facts: Any, method: Method, batch: int) -> None:
    values = facts.values() if isinstance(facts, dict) else [None]
    if not all(isinstance(each, tf.Tensor) and each.shape == (batch,) for each in values):
        raise ValueError(
            "What a method measures besides its map must be a dict of tensors (B,) by name; "
            f"{method.name!r} returned something else."
        )


def _class_values(outputs: Outputs) -> tf.Tensor | None:
    values = outputs.values
    if not isinstance(values, tf.Tensor) or any(side != 1 for side in values.shape[1:-1]):
        return None
    return tf.cast(tf.reshape(values, (-1, values.shape[-1])), tf.float32)


def _checked(raw: Any, method: Method, images: tf.Tensor) -> tf.Tensor:
    rank = images.shape.rank
    positions = max(rank - 2, 1)  # a text has no channels
    ranks = (positions + 1, rank) if method.pixels else (positions + 1,)
    if (
        not isinstance(raw, tf.Tensor)
        or raw.shape.rank not in ranks
        or raw.shape[0] != images.shape[0]
        or not raw.dtype.is_floating
    ):
        shape = getattr(raw, "shape", type(raw).__name__)
        raise ValueError(
            f"A method must return a tensor (B, h, w) of floats from its reading; "
            f"{method.name!r} returned "
            f"{shape} for {images.shape[0]} images."
        )
    return raw
