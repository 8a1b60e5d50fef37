"""What runs: one layer, method and score of a model; eager at first, compiled from then on.

Nothing here keeps a model alive: what is kept about it holds weak references to it only.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.heads import HeadError, find_head
from tfcam.inspection import Layer, Tap, open_layer
from tfcam.methods import METHODS, Method
from tfcam.recording import Record, record
from tfcam.submodel import KEPT, Outputs, SubModel
from tfcam.tapping import LOCK

_OPENED: weakref.WeakKeyDictionary[Any, OpenedModel] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Computed:
    """What one run gives, as NumPy arrays.

    Attributes:
        raw: (B, h, w) or (B, H, W, C), the raw maps.
        scores: (B,), the explained numbers.
        indices: (B,), the explained classes; -1 where a callable is explained.
        values: The model's outputs, (B, C), or None where they are of another form.
        kind: "logit", "probability" or "output".
    """

    raw: np.ndarray
    scores: np.ndarray
    indices: np.ndarray
    values: np.ndarray | None
    kind: str

    def probability(self, index: int) -> float | None:
        """The probability of an image's class, where the model gives one."""
        if self.values is None or self.kind == "output" or self.indices[index] < 0:
            return None
        return float(self.values[index, self.indices[index]])


class Engine:
    """Computes the maps of one layer of a model by one method."""

    def __init__(
        self,
        model: Any,
        tap: Tap | None,
        layer: str | None,
        reason: str,
        method: Method,
        score: str,
        options: Mapping[str, Any],
    ) -> None:
        self.layer, self.reason, self.method = layer, reason, method
        self._options = dict(options)
        self.submodel = SubModel(model, [] if tap is None else [tap], score)
        self.head = None
        if "class_weights" in method.needs:
            self.head = open_model(model).head
        self._found = False
        self._gated = 0
        self._seen: OrderedDict[Any, Any] = OrderedDict()

    @property
    def options(self) -> dict[str, Any]:
        """What the result should say about how it was computed."""
        gated = (
            {"gated_activations": self._gated} if "guided_gradients" in self.method.needs else {}
        )
        return {"score": self.submodel.score, **self._options, **gated}

    def __call__(self, inputs: np.ndarray, target: np.ndarray | Callable[[Any], Any]) -> Computed:
        """Compute the maps of a batch.

        Args:
            inputs: (B, h, w, C), what the model takes.
            target: (B,) class indices, or a callable outputs -> (B,).
        """
        if callable(target) and "class_weights" in self.method.needs:
            raise ValueError(
                f"{self.method.name!r} needs a class: an index, a label or None; got a callable. "
                "grad_cam takes callables."
            )
        images = tf.convert_to_tensor(inputs)
        given = (images,) if callable(target) else (images, tf.constant(target))
        function, compiled = self._function(given, target)
        results = function(*given)
        if not compiled and self._hides_logits(results[3]):
            # Keras left no note of the logits: a traced graph can be walked back to them.
            results = self._function(given, target)[0](*given)
        raw, scores, indices = (each.numpy() for each in results[:3])
        values = None if results[3] is None else results[3].numpy()
        return Computed(raw, scores, indices, values, self._kind(values))

    def _function(
        self, given: tuple[tf.Tensor, ...], target: Any
    ) -> tuple[Callable[..., Any], bool]:
        """What computes inputs of this shape, and whether it is compiled."""
        target = target if callable(target) else None
        key = (*given[0].shape, given[0].dtype, target)
        function = self._eager(target)
        with LOCK:
            compiled = key in self._seen
            if compiled and self._seen[key] is None:
                # One for each shape: a tf.function that held them all would complain of that.
                traced = tf.function(function, autograph=False)
                self._seen[key] = traced.get_concrete_function(*given)
            function = self._seen.setdefault(key, None) or function
            self._seen.move_to_end(key)
            if len(self._seen) > KEPT:
                self._seen.popitem(last=False)
        return function, compiled

    def _eager(self, target: Any) -> Callable[..., Any]:
        def compute(images: tf.Tensor, indices: tf.Tensor | None = None) -> Any:
            return self._compute(images, target if indices is None else indices)

        return compute

    def _compute(self, images: tf.Tensor, target: Any) -> tuple[tf.Tensor | None, ...]:
        needs = self.method.needs
        (reading,), outputs, scores, indices = self.submodel.read(
            images, target, "gradients" in needs, "image_gradients" in needs
        )
        if self.head is not None:
            weights, _ = self.head.weights(self.submodel.model, reading.activations.shape[-1])
            reading = replace(reading, class_weights=tf.gather(tf.transpose(weights), indices))
        if "guided_gradients" in needs:
            guided, self._gated = self.submodel.guided_gradients(images, target)
            reading = replace(reading, guided_gradients=guided)
        self._found = outputs.found
        raw = _checked(self.method(reading, **self._options), self.method, images)
        return raw, scores, indices, _class_values(outputs)

    def _hides_logits(self, values: tf.Tensor | None) -> bool:
        """Whether outputs in 0..1 suggest a softmax or sigmoid that was not found."""
        if self._found or self.submodel.score != "logit" or values is None:
            return False
        return bool(tf.reduce_all((values >= 0) & (values <= 1)))

    def _kind(self, values: np.ndarray | None) -> str:
        if self._found:
            return "logit"
        if values is None:
            return "output"
        within = bool((values >= 0).all() and (values <= 1).all())
        if self.submodel.score == "probability":
            return "probability" if within else "output"
        sums = values.shape[1] > 1 and np.allclose(values.sum(axis=1), 1, atol=1e-3)
        return "probability" if within and sums else "output"


def _class_values(outputs: Outputs) -> tf.Tensor | None:
    values = outputs.values
    if not isinstance(values, tf.Tensor) or any(side != 1 for side in values.shape[1:-1]):
        return None
    return tf.cast(tf.reshape(values, (-1, values.shape[-1])), tf.float32)


def _checked(raw: Any, method: Method, images: tf.Tensor) -> tf.Tensor:
    rank = images.shape.rank if method.pixels else images.shape.rank - 1
    if not isinstance(raw, tf.Tensor) or raw.shape.rank != rank or raw.shape[0] != images.shape[0]:
        shape = getattr(raw, "shape", type(raw).__name__)
        raise ValueError(
            f"A method must return a tensor (B, h, w) from its reading; {method.name!r} returned "
            f"{shape} for {images.shape[0]} images."
        )
    return raw


class OpenedModel:
    """What is known of a model, found once: its record, its head, its engines."""

    def __init__(self, model: Any) -> None:
        self._reference = weakref.ref(model)
        self.variables = _variables(model)
        self._record: Record | None = None
        self._engines: OrderedDict[Any, Engine] = OrderedDict()

    @property
    def _model(self) -> Any:
        return self._reference()

    @property
    def record(self) -> Record:
        """Every call of the model, traced when first asked for."""
        if self._record is None:
            self._record = record(self._model)
        return self._record

    @property
    def classes(self) -> int | None:
        """How many classes the model tells apart; None where its output is of another form."""
        shape = getattr(self._model, "output_shape", None) or self.record.shape
        return shape[-1] if isinstance(shape, tuple) and len(shape) > 1 else None

    @property
    def head(self) -> Any:
        """The linear head that CAM needs.

        Raises:
            ValueError: If the model has none.
        """
        model = self._model
        head = find_head(model, self.record)
        if isinstance(head, HeadError):
            others = ", ".join(
                each.name for each in METHODS.values() if "class_weights" not in each.needs
            )
            raise ValueError(
                "CAM needs a linear head: global pooling, then one linear layer, then the output. "
                f"{model.name!r} has another: {head.reason}. These apply: {others}."
            )
        return head

    def engine(
        self,
        layer: Layer,
        method: Method,
        score: str,
        options: Mapping[str, Any],
        shared: bool = True,
    ) -> Engine:
        """The engine for what is asked; ``shared``: the same one when it is asked again.

        What closes over a user's callable must not be shared: the callable may hold the model.

        Raises:
            ValueError: If there is no such layer, or the method does not apply there.
        """
        model = self._model
        shared &= METHODS.get(method.name) is method
        shared &= all(isinstance(value, int | float | str) for value in options.values())
        # An object is known by what it is, and kept alive by the model, not by this.
        named = layer if layer is None or isinstance(layer, str | int) else id(layer)
        key = (named, method.name, score, tuple(sorted(options.items())))
        with LOCK:
            if shared and key in self._engines:
                self._engines.move_to_end(key)
                return self._engines[key]
            engine = self._make(model, layer, method, score, options)
            if shared:
                self._engines[key] = engine
                if len(self._engines) > KEPT:
                    self._engines.popitem(last=False)
        return engine

    def _make(
        self, model: Any, layer: Layer, method: Method, score: str, options: Mapping[str, Any]
    ) -> Engine:
        if method.pixels and "gradients" not in method.needs:
            reason = "the method explains the input"
            return Engine(model, None, None, reason, method, score, options)
        tap, reason = open_layer(model, layer, lambda: self.record)
        path = _full_path(tap)
        if "class_weights" in method.needs:
            pooled, opened = self.head.tensor, self.record.tensor(tap.path, tap.number, tap.side)
            if opened != pooled:
                source = self.record.producer(pooled)
                raise ValueError(
                    f"CAM applies only to the map that the head pools, "
                    f"{self.record.name(source) if source else 'the input of the pooling'!r}; got "
                    f"{path!r}. For other layers use grad_cam."
                )
        return Engine(model, tap, path, reason, method, score, options)


def _full_path(tap: Tap) -> str:
    number = "" if tap.number is None else f":{tap.number}"
    return f"{tap.path}{number}{':input' if tap.side == 'input' else ''}"


def open_model(model: Any) -> OpenedModel:
    """What is known of a model; found anew where its variables have been replaced."""
    with LOCK:
        opened = _OPENED.get(model)
        if opened is None or opened.variables != _variables(model):
            opened = _OPENED[model] = OpenedModel(model)
        return opened


def _variables(model: Any) -> tuple[int, ...]:
    return tuple(map(id, model.variables))
