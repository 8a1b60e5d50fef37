"""What is known of a model, found once and kept as long as the model lives.

Nothing here keeps a model alive: what is kept about it holds weak references to it only.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from tfcam.engine.engine import Engine
from tfcam.engine.settings import Settings
from tfcam.methods.registry import METHODS, Method, Request
from tfcam.model.call_graph import Record, record
from tfcam.model.heads import Head, HeadError, find_head
from tfcam.model.hooks import LOCK
from tfcam.model.inputs import Input, find_input, inputs_of, split_batch, structure
from tfcam.model.taps import Layers, Tap, open_layers
from tfcam.model.tree import walk
from tfcam.passes.attention import reading_attentions
from tfcam.passes.outputs import pick_output
from tfcam.passes.reading import Need
from tfcam.passes.submodel import KEPT, SubModel
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.prepare import Prepared, prepare, prepare_others
from tfcam.utils.validation import check_model

_OPENED: weakref.WeakKeyDictionary[Any, dict[int, OpenedModel]] = weakref.WeakKeyDictionary()


class OpenedModel:
    """What is known of a model at one of its inputs, found once: its record, head, engines."""

    def __init__(self, model: Any, which: int = 0) -> None:
        self._reference = weakref.ref(model)
        self.which = which
        self.parts = _parts(model)
        self._structure = structure(model)
        self._record: Record | None = None
        self._engines: OrderedDict[Any, Engine] = OrderedDict()
        self._bare: dict[str | int | None, SubModel] = {}

    @property
    def model(self) -> Any:
        return self._reference()

    @property
    def axes(self) -> int:
        """How many axes one example of the explained input has."""
        return len(tf.nest.flatten(self._structure)[self.which].shape)

    def split(self, given: Any) -> tuple[Any, list[Any]]:
        """The explained input and the others, of what a user gives for a model.

        Raises:
            ValueError: If a model with several inputs is given anything but a list or dict of them.
        """
        wanted = self._structure
        if isinstance(wanted, Input):
            return given, []
        if isinstance(wanted, dict):
            values = [given[key] for key in sorted(wanted)] if _has_keys(given, wanted) else None
        else:
            values = list(given) if isinstance(given, list | tuple) else None
        if values is None or len(values) != len(inputs_of(self.model)):
            names = ", ".join(repr(each.name) for each in inputs_of(self.model))
            kind = "dict" if isinstance(wanted, dict) else "list"
            raise ValueError(
                f"{self.model.name!r} has several inputs: give a {kind} of all of them ({names}); "
                f"got a {type(given).__name__}."
            )
        return values.pop(self.which), values

    def prepare_one(self, given: Any, preprocess: Preprocess, asked: str) -> Prepared:
        """One image, with the model's other inputs.

        Args:
            given: What a user gives for the model.
            preprocess: See ``choose_preprocessing``.
            asked: Who asks, as in "compare takes one image".

        Raises:
            ValueError: If it is a batch, or does not fit the model.
        """
        explained, others = self.split(given)
        if split_batch(explained, self.axes) is not None:
            raise ValueError(f"{asked} takes one image; {asked} the images of a batch one by one.")
        how = (preprocess, lambda: self.record)
        prepared = prepare(self.model, [explained], *how, self.which)
        beside = prepare_others(self.model, others, self.which, 1, *how)
        return replace(prepared, others=tuple(beside))

    def bare(self, output: str | int | None = None) -> SubModel:
        """The model opened at no layer, with what was compiled for it."""
        with LOCK:
            if output not in self._bare:
                self._bare[output] = SubModel(self.model, [], output=output, which=self.which)
            return self._bare[output]

    @property
    def record(self) -> Record:
        """Every call of the model, traced when first asked for."""
        if self._record is None:
            self._record = record(self.model, self.which)
        return self._record

    def classes(self, output: str | int | None = None) -> int | None:
        """How many classes an output tells apart; None where it is of another form."""
        if getattr(self.model, "outputs", None):
            names = getattr(self.model, "output_names", None) or ()
            chosen = pick_output(_outputs(self.model), output, names)
            shape = getattr(chosen, "shape", None)
        else:
            shape = self.record.shape if output is None else None
        return shape[-1] if isinstance(shape, tuple) and len(shape) > 1 else None

    def head_at(self, tap: Tap) -> Head:
        """The linear head that pools what is tapped.

        Raises:
            ValueError: If the model has none, or it pools another map.
        """
        head = find_head(self.model, self.record)
        if isinstance(head, HeadError):
            others = ", ".join(
                each.name for each in METHODS.values() if Need.CLASS_WEIGHTS not in each.needs
            )
            raise ValueError(
                "CAM needs a linear head: global pooling, then one linear layer, then the output. "
                f"{self.model.name!r} has another: {head.reason}. These apply: {others}."
            )
        if self.record.tensor(tap.path, tap.number, tap.side) != head.tensor:
            source = self.record.producer(head.tensor)
            raise ValueError(
                f"CAM applies only to the map that the head pools, "
                f"{self.record.name(source) if source else 'the input of the pooling'!r}; got "
                f"{tap.name!r}. For other layers use grad_cam."
            )
        return head

    def average_head_at(self, tap: Tap) -> Head | None:
        """The linear head that averages what is tapped; None where there is another."""
        head = find_head(self.model, self.record)
        if isinstance(head, HeadError) or head.pooling != "average":
            return None
        if tap.grid is not None and tap.grid.prefix:
            return None
        opened = self.record.tensor(tap.path, tap.number, tap.side)
        return head if opened == head.tensor else None

    def engine(
        self,
        layer: Layers,
        requests: Sequence[Request],
        settings: Settings,
        shared: bool = True,
    ) -> Engine:
        """The engine for what is asked; ``shared``: the same one when it is asked again.

        What closes over a user's callable must not be shared: the callable may hold the model; nor
        what holds the weights as they once were.

        Raises:
            ValueError: If there is no such layer, or a method does not apply there.
        """
        plain = int | float | str | None
        shared &= not settings.freeze
        for each in requests:
            shared &= _is_stored(each.method)
            shared &= all(isinstance(value, plain) for value in each.options.values())
        # An object is known by what it is, and kept alive by the model, not by this.
        asked = layer if isinstance(layer, list | tuple) else [layer]
        named = tuple(a if isinstance(a, str | int | None) else id(a) for a in asked)
        several = isinstance(layer, list | tuple)
        key = (several, named, tuple(each.key for each in requests), settings)
        with LOCK:
            if shared and key in self._engines:
                self._engines.move_to_end(key)
                return self._engines[key]
            engine = self._make(layer, requests, settings)
            if shared:
                self._engines[key] = engine
                if len(self._engines) > KEPT:
                    self._engines.popitem(last=False)
        return engine

    def _make(self, layer: Layers, requests: Sequence[Request], settings: Settings) -> Engine:
        layered = any(each.method.layered for each in requests)
        places = (
            open_layers(self.model, layer, lambda: self.record, settings.grid) if layered else []
        )
        taps = [tap for tap, _ in places]
        if any(Need.ATTENTIONS in each.method.needs for each in requests):
            with reading_attentions(self.model):  # refuses what can't be read
                _check_tokens(taps)
        heads: list[Head | None] = [None] * len(taps)
        if any(Need.CLASS_WEIGHTS in each.method.needs for each in requests):
            heads = [self.head_at(tap) for tap in taps]
        elif settings.score == "logit" and any(
            Need.CLASS_WEIGHTS in each.method.wants for each in requests
        ):
            heads = [self.average_head_at(tap) for tap in taps]
        for tap in taps:
            self._check_sees_input(tap)
        return Engine(self.model, places, requests, settings, self.which, heads)

    def _check_sees_input(self, tap: Tap) -> None:
        """Refuse to show a layer's map on an input that the layer does not see."""
        inputs = inputs_of(self.model)
        if len(inputs) == 1:
            return
        tensor = self.record.tensor(tap.path, tap.number, tap.side)
        seen = self.record.sources.get(tensor or "", frozenset())
        if tensor is not None and self.which not in seen:
            names = " or ".join(f"input={inputs[each].name!r}" for each in sorted(seen))
            raise ValueError(
                f"The layer must see the explained input, {inputs[self.which].name!r}; "
                f"{tap.name!r} does not. Pass {names or 'another layer'}."
            )


def _outputs(model: Any) -> Any:
    """The model's symbolic outputs in their structure."""
    return model.outputs[0] if isinstance(model, keras.Sequential) else model.output


def _has_keys(given: Any, wanted: dict[str, Any]) -> bool:
    return isinstance(given, dict) and set(given) == set(wanted)


def _check_tokens(taps: Sequence[Tap]) -> None:
    if len(taps) > 1:
        raise ValueError(
            "Attention rollout goes through all attentions and takes no list of layers; "
            f"got {len(taps)}."
        )
    if strange := [tap.name for tap in taps if tap.grid is None]:
        raise ValueError(
            "Attention rollout needs a layer of tokens, whose grid its map takes; "
            f"{strange[0]!r} gives a map. Name a layer inside the transformer."
        )


def _is_stored(method: Method) -> bool:
    stored = METHODS.get(method.name)
    return stored is not None and stored.function is method.function


def open_model(model: Any, name: str | int | None = None) -> OpenedModel:
    """What is known of a model at one of its inputs; anew where it has been changed.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If there is no such input.
    """
    check_model(model)
    which = find_input(model, name)
    with LOCK:
        known = _OPENED.setdefault(model, {})
        opened = known.get(which)
        if opened is None or opened.parts != _parts(model):
            opened = known[which] = OpenedModel(model, which)
        return opened


def _parts(model: Any) -> tuple[int, ...]:
    """What a compiled function would go on using after it has been replaced."""
    activations = (getattr(each, "activation", None) for _, each in walk(model))
    return (*map(id, model.variables), *map(id, activations))
