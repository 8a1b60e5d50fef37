"""What is known of a model, found once and kept as long as the model lives.

Nothing here keeps a model alive: what is kept about it holds weak references to it only.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from tfcam.checks import check_model
from tfcam.engine import Engine, Request, Settings
from tfcam.heads import Head, HeadError, find_head
from tfcam.inspection import Layers, Tap, open_layers
from tfcam.methods import METHODS, Method
from tfcam.recording import Record, record
from tfcam.submodel import KEPT
from tfcam.tapping import LOCK
from tfcam.tokens import reading_attentions

_OPENED: weakref.WeakKeyDictionary[Any, OpenedModel] = weakref.WeakKeyDictionary()


class OpenedModel:
    """What is known of a model, found once: its record, its head, its engines."""

    def __init__(self, model: Any) -> None:
        self._reference = weakref.ref(model)
        self.variables = _variables(model)
        self._record: Record | None = None
        self._engines: OrderedDict[Any, Engine] = OrderedDict()

    @property
    def model(self) -> Any:
        return self._reference()

    @property
    def record(self) -> Record:
        """Every call of the model, traced when first asked for."""
        if self._record is None:
            self._record = record(self.model)
        return self._record

    @property
    def classes(self) -> int | None:
        """How many classes the model tells apart; None where its output is of another form."""
        shape = getattr(self.model, "output_shape", None) or self.record.shape
        return shape[-1] if isinstance(shape, tuple) and len(shape) > 1 else None

    def head_at(self, tap: Tap) -> Head:
        """The linear head that pools what is tapped.

        Raises:
            ValueError: If the model has none, or it pools another map.
        """
        head = find_head(self.model, self.record)
        if isinstance(head, HeadError):
            others = ", ".join(
                each.name for each in METHODS.values() if "class_weights" not in each.needs
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

        What closes over a user's callable must not be shared: the callable may hold the model.

        Raises:
            ValueError: If there is no such layer, or a method does not apply there.
        """
        plain = int | float | str | None
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
        if any("attentions" in each.method.needs for each in requests):
            with reading_attentions(self.model):  # refuses what can't be read
                _check_tokens(taps)
        heads: list[Head | None] = [None] * len(taps)
        if any("class_weights" in each.method.needs for each in requests):
            heads = [self.head_at(tap) for tap in taps]
        elif settings.score == "logit" and any(
            "class_weights" in each.method.wants for each in requests
        ):
            heads = [self.average_head_at(tap) for tap in taps]
        return Engine(self.model, places, requests, settings, heads)


def _check_tokens(taps: Sequence[Tap]) -> None:
    if strange := [tap.name for tap in taps if tap.grid is None]:
        raise ValueError(
            "Attention rollout needs a layer of tokens, whose grid its map takes; "
            f"{strange[0]!r} gives a map. Name a layer inside the transformer."
        )


def _is_stored(method: Method) -> bool:
    stored = METHODS.get(method.name)
    return stored is not None and stored.function is method.function


def open_model(model: Any) -> OpenedModel:
    """What is known of a model; found anew where its variables have been replaced.

    Raises:
        TypeError: If it is no Keras model.
    """
    check_model(model)
    with LOCK:
        opened = _OPENED.get(model)
        if opened is None or opened.variables != _variables(model):
            opened = _OPENED[model] = OpenedModel(model)
        return opened


def _variables(model: Any) -> tuple[int, ...]:
    return tuple(map(id, model.variables))
