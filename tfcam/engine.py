"""What runs: layers, methods and targets of a model in one pass; eager at first, then compiled."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.biases import bias_taps, biases
from tfcam.checks import check_count, check_flag, check_grid, check_output, shown
from tfcam.components import first_component
from tfcam.heads import Head
from tfcam.inspection import Tap
from tfcam.methods import Method
from tfcam.scoring import Outputs
from tfcam.submodel import KEPT, Answer, Reading, SubModel
from tfcam.tapping import LOCK
from tfcam.targets import NOTHING, class_weights


@dataclass(frozen=True)
class Request:
    """A method with its options."""

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        return self.method.name, *sorted(self.options.items())


@dataclass(frozen=True)
class Settings:
    """How scores and maps are made, whatever the method.

    Attributes:
        score: "logit" or "probability".
        output: Which output of the model, by name or index.
        eigen: Whether channels are combined to their first principal component.
        at_once: How many images a looping method computes at once.
        grid: (height, width) of the patches of a transformer, where it can't be found.
    """

    score: str = "logit"
    output: str | int | None = None
    eigen: bool = False
    at_once: int = 32
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.score, str) or self.score not in ("logit", "probability"):
            raise ValueError(f"score must be 'logit' or 'probability'; got {shown(self.score)}.")
        check_flag("eigen", self.eigen)
        # Equal settings share an engine, and True equals 1.
        object.__setattr__(self, "output", check_output(self.output))
        object.__setattr__(self, "at_once", check_count("batch_size", self.at_once))
        object.__setattr__(self, "grid", check_grid(self.grid))


@dataclass(frozen=True)
class Computed:
    """What one run gives for one target, as NumPy arrays.

    Attributes:
        raws: For each method and each layer (one, where it explains pixels without a layer), the
            raw maps (B, h, w) or (B, H, W, C).
        measured: For each method and layer, what it measured: (B,) by name.
        scores: (B,), the explained numbers.
        pairs: (B, 2), the explained classes and those they are held against.
        values: The model's outputs, (B, C), or None where they are of another form.
        kind: "logit", "probability" or "output".
    """

    raws: list[list[np.ndarray]]
    measured: list[list[dict[str, np.ndarray]]]
    scores: np.ndarray
    pairs: np.ndarray
    values: np.ndarray | None
    kind: str

    def probability(self, index: int) -> float | None:
        """The probability of an image's class, where the model gives one."""
        if self.values is None or self.kind == "output" or self.pairs[index, 0] < 0:
            return None
        return float(self.values[index, self.pairs[index, 0]])


class Engine:
    """Computes the maps of some layers of a model by some methods.

    Args:
        model: The model; it is not kept alive.
        places: Where it is opened, and why there.
        requests: The methods; those with a contrast stand alone.
        settings: How scores and maps are made.
        heads: For each place the linear head that pools it, where a method makes use of that.
    """

    def __init__(
        self,
        model: Any,
        places: Sequence[tuple[Tap, str]],
        requests: Sequence[Request],
        settings: Settings,
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
        self.needs = {need for each in requests for need in each.method.needs}
        self.submodel = SubModel(model, taps, settings.score, settings.output)
        self._heads = tuple(heads)
        self._biased: SubModel | None = None
        if "bias_attributions" in self.needs:
            if settings.score != "logit":
                raise ValueError("full_grad explains the logit; score='probability' is not linear.")
            taps = bias_taps(model)
            self._biased = SubModel(model, taps, output=settings.output, heads=True)
        self._found = False
        self._gated = 0
        self._seen: OrderedDict[Any, Any] = OrderedDict()

    def options(self, request: Request) -> dict[str, Any]:
        """What the result should say about how it was computed."""
        said: dict[str, Any] = {"score": self.settings.score, **request.options}
        if self.settings.output is not None:
            said["output"] = self.settings.output
        if self.settings.eigen:
            said["eigen"] = True
        if {"guided_gradients", "deconvnet_gradients"} & set(request.method.needs):
            said["gated_activations"] = self._gated
        return said

    def __call__(self, inputs: np.ndarray, targets: Sequence[Any]) -> list[Computed]:
        """Compute the maps of a batch for each target.

        Args:
            inputs: (B, h, w, C), what the model takes.
            targets: Each (B, 2) int32 pairs of classes, a callable outputs -> (B,), or, for one
                image, a ``Top``.
        """
        if not tf.executing_eagerly():
            raise ValueError(
                "Explaining needs values, which there are none inside a tf.function: call explain "
                "outside of it. What runs is compiled by itself from the second call on."
            )
        for request in self.requests:
            if any(map(callable, targets)) and (
                "class_weights" in request.method.needs or request.method.contrast
            ):
                raise ValueError(
                    f"{request.method.name!r} needs a class: an index, a label or None; got a "
                    "callable. grad_cam takes callables."
                )
            pairs = [each for each in targets if isinstance(each, np.ndarray)]
            if request.method.contrast and any((each[:, 1] != NOTHING).any() for each in pairs):
                raise ValueError(
                    f"{request.method.name!r} holds a class against others by itself; give the "
                    "class alone, or explain the Difference with another method."
                )
        images = tf.convert_to_tensor(inputs)
        function, compiled, given = self._function(images, targets)
        results = function(*given)
        if not compiled and self._hides_logits(results[1]):
            # Keras left no note of the logits: a traced graph can be walked back to them.
            results = self._function(images, targets)[0](*given)
        answers, values = tf.nest.map_structure(
            lambda each: None if each is None else each.numpy(), results
        )
        kind = self._kind(values)
        return [
            Computed(raws, measured, scores, pairs, values, kind)
            for raws, measured, scores, pairs in answers
        ]

    def _function(
        self, images: tf.Tensor, targets: Sequence[Any]
    ) -> tuple[Callable[..., Any], bool, list[tf.Tensor]]:
        """What computes inputs of this shape, whether it is compiled, and what it is given."""
        fixed = tuple(None if isinstance(each, np.ndarray) else each for each in targets)
        given = [images, *(tf.constant(t) for t in targets if isinstance(t, np.ndarray))]
        key = (*images.shape, images.dtype, fixed)

        def function(images: tf.Tensor, *pairs: tf.Tensor) -> Any:
            left = iter(pairs)
            return self._compute(images, [next(left) if each is None else each for each in fixed])

        with LOCK:
            # A loop of passes is worth compiling at once.
            compiled = key in self._seen or any(each.method.loops for each in self.requests)
            if compiled and self._seen.get(key) is None:
                # One for each shape: a tf.function that held them all would complain of that.
                traced = tf.function(function, autograph=False)
                self._seen[key] = traced.get_concrete_function(*given)
            kept = self._seen.setdefault(key, None)
            self._seen.move_to_end(key)
            if len(self._seen) > KEPT:
                self._seen.popitem(last=False)
        return kept or function, compiled, given

    def _compute(self, images: tf.Tensor, targets: Sequence[Any]) -> Any:
        contrasts = [
            functools.partial(each.method.contrast, **each.options)
            for each in self.requests
            if each.method.contrast is not None
        ]
        outputs, answers = self.submodel.read_each(
            images,
            targets,
            "gradients" in self.needs,
            "image_gradients" in self.needs,
            "attentions" in self.needs,
            *contrasts,
        )
        self._found = outputs.found
        return [self._answer(images, answer) for answer in answers], _class_values(outputs)

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
        return raws, measured, readings[0].scores, answer.pairs

    def _fill(self, images: tf.Tensor, answer: Answer, reading: Reading, index: int) -> Reading:
        """Add to a reading what the methods need besides gradients."""
        target = reading.network.target
        filled: dict[str, Any] = {"principal": self.settings.eigen}
        filled["network"] = replace(reading.network, at_once=self.settings.at_once)
        head = self._heads[index] if self._heads else None
        if head is not None and not callable(target):
            weights, _ = head.weights(self.submodel.model, reading.activations.shape[-1])
            filled["class_weights"] = (
                class_weights(weights, answer.pairs)
                if answer.weights is None
                else tf.matmul(answer.weights, weights, transpose_b=True)
            )
        for rule in ("guided", "deconvnet"):
            if f"{rule}_gradients" in self.needs:
                gradients, self._gated = self.submodel.gated_gradients(images, target, rule)
                filled[f"{rule}_gradients"] = gradients
        if self._biased is not None:
            filled |= _bias_attributions(self._biased, images, target)
        return replace(reading, **filled)

    def _map(self, request: Request, reading: Reading, images: tf.Tensor) -> tuple[tf.Tensor, Any]:
        made = request.method(reading, **request.options)
        raw, facts = made if isinstance(made, tuple) else (made, {})
        raw = _checked(raw, request.method, images)
        if self.settings.eigen and raw.shape.rank == images.shape.rank:
            raw = first_component(raw, towards=tf.reduce_sum(raw, axis=-1))
        return raw, facts

    def _hides_logits(self, values: tf.Tensor | None) -> bool:
        """Whether outputs in 0..1 suggest a softmax or sigmoid that was not found."""
        if self._found or self.settings.score != "logit" or values is None:
            return False
        return bool(tf.reduce_all((values >= 0) & (values <= 1)))

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


def _bias_attributions(biased: SubModel, images: tf.Tensor, target: Any) -> dict[str, Any]:
    """What each layer's bias gave to the score, and the gradients by the images."""
    readings, *_ = biased.read(images, target, image_gradients=True)
    layers = [tap.operation() for tap in biased.taps]
    parts = [
        biases(layer, reading.activations) * reading.gradients
        for layer, reading in zip(layers, readings, strict=True)
    ]
    return {"bias_attributions": parts, "image_gradients": readings[0].image_gradients}


def _class_values(outputs: Outputs) -> tf.Tensor | None:
    values = outputs.values
    if not isinstance(values, tf.Tensor) or any(side != 1 for side in values.shape[1:-1]):
        return None
    return tf.cast(tf.reshape(values, (-1, values.shape[-1])), tf.float32)


def _checked(raw: Any, method: Method, images: tf.Tensor) -> tf.Tensor:
    rank = images.shape.rank
    ranks = (rank - 1, rank) if method.pixels else (rank - 1,)
    if (
        not isinstance(raw, tf.Tensor)
        or raw.shape.rank not in ranks
        or raw.shape[0] != images.shape[0]
    ):
        shape = getattr(raw, "shape", type(raw).__name__)
        raise ValueError(
            f"A method must return a tensor (B, h, w) from its reading; {method.name!r} returned "
            f"{shape} for {images.shape[0]} images."
        )
    return raw
