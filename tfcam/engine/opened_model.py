"""A model as it is explained at one of its inputs: what it is given, and the engines for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tfcam.engine.engine import Engine
from tfcam.engine.lengths import OpenLengths
from tfcam.engine.refusals import check_black_box, check_embedded, check_rounded, check_tokens
from tfcam.engine.runner import AsItIs, Compiled, EagerFirst, Frozen, Runner
from tfcam.engine.settings import Settings
from tfcam.methods.registry import METHODS, Method, Request
from tfcam.model.call_graph import CallGraph
from tfcam.model.given import split_batch, split_inputs
from tfcam.model.graph import Asked, ModelGraph, graph_of
from tfcam.model.heads import Head, HeadError
from tfcam.model.hooks import LOCK
from tfcam.model.inputs import Input
from tfcam.model.taps import Layers, Tap
from tfcam.passes.attention import reading_attentions
from tfcam.passes.reading import Need
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.others import prepare_others
from tfcam.preprocessing.prepare import Prepared, prepare
from tfcam.preprocessing.text_readers import Text, TextReader, find_reader, strings_in
from tfcam.preprocessing.texts import read_texts
from tfcam.preprocessing.vocabulary import check_vocabulary
from tfcam.targets.two_classes import Classes
from tfcam.utils.recent import Recent

# Gradients of the scores by the images.
_BY_PIXELS = Need.IMAGE_GRADIENTS | Need.GUIDED_GRADIENTS | Need.DECONVNET_GRADIENTS
_BY_PIXELS |= Need.BIAS_ATTRIBUTIONS


class OpenedModel:
    """A model as it is explained at one of its inputs, with the engines made for it.

    Args:
        graph: What is known of the model.
        which: Which of its inputs is explained, in their flat order.
    """

    def __init__(self, graph: ModelGraph, which: int = 0) -> None:
        self.graph, self.which = graph, which
        self._engines: Recent[Engine] = Recent()
        self._bare: dict[str | int | None, SubModel] = {}
        self._lengths: dict[str | int | None, OpenLengths] = {}

    @property
    def input(self) -> Input:
        """The explained input."""
        return self.graph.inputs[self.which]

    @property
    def others(self) -> list[Input]:
        """The inputs that are not explained."""
        return [input for number, input in enumerate(self.graph.inputs) if number != self.which]

    @property
    def calls(self) -> CallGraph:
        """What the model calls, as seen from the explained input."""
        return self.graph.calls(self.which)

    @property
    def axes(self) -> int:
        """How many axes one example of the explained input has."""
        return len(self.input.shape)

    @property
    def is_text(self) -> bool:
        """Whether a text is explained: strings, or numbers of which each has an embedding."""
        return self.has_embeddings or self.input.behind is not None

    @property
    def has_embeddings(self) -> bool:
        """Whether each word of a text has an embedding, as those in a bag of words have not."""
        return self.graph.embedding(self.which) is not None

    def split(self, inputs: Any, preprocess: Preprocess = "auto") -> tuple[Any, list[Any]]:
        """Split what a user gives for a model into the explained input and the others.

        Strings are read where the model takes texts: each becomes a ``ReadText``.

        Args:
            inputs: What a user gives for the model.
            preprocess: What may turn strings into the model's inputs.

        Raises:
            TypeError: If it is a data set, and not what is in it.
            ValueError: If a model with several inputs is given anything but a list or dict of them.
        """
        texts = self.strings(inputs, preprocess)
        # A user's function is asked only where there are strings: it may be one of numbers.
        if texts is not None:
            reader = find_reader(self.graph, self.which, preprocess, _first(texts))
            if reader is not None and reader.whole:
                return self._read(reader, texts)
        inputs = self.input.folded(inputs) if len(self.graph.inputs) == 1 else inputs
        values = split_inputs(inputs, self.graph.structure, self.graph.name)
        explained = self.input.folded(values.pop(self.which))
        texts = self.strings(explained, preprocess)
        if texts is not None:
            reader = find_reader(self.graph, self.which, preprocess, _first(texts))
            explained = explained if reader is None else self._read(reader, texts)[0]
        return explained, values

    def _read(self, reader: TextReader, texts: Text | list[Text]) -> tuple[Any, list[Any]]:
        """Read one text or a batch: the texts with their words, and the inputs beside them."""
        read, others = read_texts(reader, texts if isinstance(texts, list) else [texts])
        numbers, strings = [text.numbers for text in read], [text.text for text in read]
        check_vocabulary(self.graph, self.which, numbers, strings)
        if isinstance(texts, list):
            return read, others
        return read[0], [values[0] for values in others]

    def strings(self, given: Any, preprocess: Preprocess) -> Text | list[Text] | None:
        """The text or texts that are given; None where these are no strings.

        Args:
            given: What a user gives for the explained input, or for the model.
            preprocess: What may turn strings into the model's inputs.
        """
        pairs = callable(preprocess) or self.input.behind is None
        return strings_in(given, pairs) if self.input.is_text else None

    def joined(self, explained: Any, others: Sequence[Any]) -> Any:
        """What a user gives for the model, of the explained input and the others: see ``split``."""
        if not self.others:  # a list of pictures would be one of inputs in it
            return explained
        values = list(others)
        values.insert(self.which, explained)
        return tf.nest.pack_sequence_as(self.graph.structure, values)

    def split_one(self, inputs: Any, preprocess: Preprocess, door: str) -> tuple[Any, list[Any]]:
        """Split what a user gives of one image, as ``split`` does.

        Args:
            inputs: What a user gives for the model.
            preprocess: What may turn strings into the model's inputs.
            door: Who asks, as in "compare takes one image".

        Raises:
            ValueError: If it is a batch.
        """
        explained, others = self.split(inputs, preprocess)
        batch = split_batch(explained, self.input)
        if batch is None:
            return explained, others
        if len(batch) != 1:
            raise ValueError(f"{door} takes one image; {door} the images of a batch one by one.")
        return batch[0], others

    def prepare_one(self, inputs: Any, preprocess: Preprocess, door: str) -> Prepared:
        """Prepare one image, with the model's other inputs.

        Args:
            inputs: What a user gives for the model.
            preprocess: A mode, a family's name, a callable, "auto" or None.
            door: Who asks, as in "compare takes one image".

        Raises:
            ValueError: If it is a batch, or does not fit the model.
        """
        explained, others = self.split_one(inputs, preprocess, door)
        prepared = prepare(self.graph, [explained], preprocess, self.which)
        beside = prepare_others(self.graph, others, self.which, 1, preprocess)
        return replace(prepared, others=tuple(beside))

    def bare(self, output: str | int | None = None) -> SubModel:
        """Open the model at no layer, with what was compiled for it."""
        with LOCK:
            if output not in self._bare:
                self._bare[output] = SubModel(self.graph, [], output=output, which=self.which)
            return self._bare[output]

    def lengths(self, output: str | int | None = None) -> OpenLengths:
        """What is compiled of the model at no layer for texts of any length."""
        with LOCK:
            if output not in self._lengths:
                self._lengths[output] = OpenLengths(self.bare(output))
            return self._lengths[output]

    def classes(
        self, output: str | int | None = None, labels: Sequence[str] | None = None
    ) -> Classes:
        """Tell what an output tells apart: see ``ModelOutput.classes``."""
        return self.graph.classes(output, self.which, labels)

    def head_at(self, tap: Tap) -> Head:
        """Find the linear head that pools what is tapped.

        Raises:
            ValueError: If the model has none, or it pools another map.
        """
        head = self.graph.head(self.which)
        if isinstance(head, HeadError):
            others = ", ".join(
                method.name
                for method in METHODS.values()
                if not method.needs & (Need.CLASS_WEIGHTS | Need.ATTENTIONS)
            )
            raise ValueError(
                "CAM needs a linear head: global pooling, then one linear layer, then the output. "
                f"{self.graph.name!r} has another: {head.reason}. These apply: {others}."
            )
        if self.calls.tensor(tap.path, tap.number, tap.side) != head.tensor:
            source = self.calls.producer(head.tensor)
            raise ValueError(
                f"CAM applies only to the map that the head pools, "
                f"{self.calls.call_name(source) if source else 'the input of the pooling'!r}; got "
                f"{tap.name!r}. For other layers use grad_cam."
            )
        return head

    def average_head_at(self, tap: Tap) -> Head | None:
        """Find the linear head that averages what is tapped; None where there is another."""
        head = self.graph.head(self.which)
        if isinstance(head, HeadError) or head.pooling != "average":
            return None
        if tap.grid is not None and tap.grid.extra:
            return None
        opened = self.calls.tensor(tap.path, tap.number, tap.side)
        return head if opened == head.tensor else None

    def asked(self, layer: Layers, output: str | int | None, targets: Sequence[Any] = ()) -> Asked:
        """Tell which of what the model returns the default layer must lead to, if it is asked for.

        Args:
            layer: One layer or several; only None is the default one.
            output: Which output is explained.
            targets: What is explained of it.
        """
        layers = layer if isinstance(layer, list | tuple) else [layer]
        if all(each is not None for each in layers):
            return None
        return self.graph.asked(output, targets, self.which)

    def engine(
        self,
        layer: Layers,
        requests: Sequence[Request],
        settings: Settings,
        shared: bool = True,
        runner: Runner | None = None,
        targets: Sequence[Any] = (),
    ) -> Engine:
        """Make the engine for some layers and methods, or find the one that there is.

        Args:
            layer: One layer or several, by path, name, object or index; None for the default one.
            requests: The methods.
            settings: How scores and maps are made.
            shared: Whether it may be the same one when it is asked again. What closes over a
                user's callable must not be: the callable may hold the model; nor what holds the
                weights as they once were.
            runner: How it is run, which is then its own; None takes what suits the methods.
            targets: What is explained, where that is known: the default layer is one that it is
                computed from.

        Raises:
            ValueError: If there is no such layer, or a method does not apply there.
        """
        at_words = [request.method.name for request in requests if request.method.at_words]
        if layer is None and at_words:
            layer = self.graph.embedding(self.which)
            check_embedded(layer, at_words[0], self.graph.name)
        plain = int | float | str | None
        shared &= not settings.freeze and runner is None
        for request in requests:
            shared &= _is_stored(request.method)
            shared &= all(isinstance(value, plain) for value in request.options.values())
        # An object is known by what it is, and kept alive by the model, not by this.
        layers = layer if isinstance(layer, list | tuple) else [layer]
        named = tuple(a if isinstance(a, str | int | None) else id(a) for a in layers)
        several = isinstance(layer, list | tuple)
        asked = self.asked(layer, settings.output, targets)
        # A function of one's own may be stored anew under its name.
        how = tuple((request.method.function, *request.key) for request in requests)
        key = (several, named, how, settings, asked)
        with LOCK:
            if shared:
                return self._engines.get(
                    key, lambda: self._make(layer, requests, settings, None, asked)
                )
            return self._make(layer, requests, settings, runner, asked)

    def _make(
        self,
        layer: Layers,
        requests: Sequence[Request],
        settings: Settings,
        runner: Runner | None,
        asked: Asked,
    ) -> Engine:
        if self.graph.is_black_box:
            check_black_box(self.graph, requests, settings.freeze)
            runner = AsItIs()
        check_rounded(self.input, requests, self.graph.name)
        layered = any(request.method.layered for request in requests)
        places = []
        if layered:
            places = self.graph.open_layers(layer, self.which, settings.grid, asked)
        taps = [place.tap for place in places]
        if any(Need.ATTENTIONS in request.method.needs for request in requests):
            with reading_attentions(self.graph):  # refuses what can't be read
                check_tokens(taps, self.input.is_text)
        heads: list[Head | None] = [None] * len(taps)
        if any(Need.CLASS_WEIGHTS in request.method.needs for request in requests):
            heads = [self.head_at(tap) for tap in taps]
        elif settings.score == "logit" and any(
            Need.CLASS_WEIGHTS in request.method.wants for request in requests
        ):
            heads = [self.average_head_at(tap) for tap in taps]
        for tap in taps:
            self._check_sees_input(tap)
            self._check_channels(tap)
        if runner is None:
            at_once = any(self._at_once(request.method) for request in requests)
            runner = Frozen() if settings.freeze else Compiled() if at_once else EagerFirst()
        return Engine(self.graph, places, requests, settings, self.which, heads, runner)

    def _at_once(self, method: Method) -> bool:
        """Whether a method is compiled from its first call on.

        A loop of passes is worth it; gradients by pixels, and all on their way through certain
        layers, are not safe eagerly.
        """
        by_pixels = bool(method.needs & _BY_PIXELS)
        by_layer = Need.GRADIENTS in method.needs and self.calls.harms_eagerly
        return method.loops or by_pixels or by_layer

    def _check_channels(self, tap: Tap) -> None:
        """Refuse a layer whose channels stand where the positions of a map should."""
        tensor = self.calls.tensor(tap.path, tap.number, tap.side)
        if tap.grid is None and self.calls.moves_channels(tensor):
            raise ValueError(
                "A layer must have its channels where the model's input has them; those of "
                f"{tap.name!r} have changed places with its positions. Choose a layer before the "
                "axes are moved, of those that tfcam.layers(model) lists."
            )

    def _check_sees_input(self, tap: Tap) -> None:
        """Refuse to show a layer's map on an input that the layer does not see."""
        inputs = self.graph.inputs
        if len(inputs) == 1:
            return
        tensor = self.calls.tensor(tap.path, tap.number, tap.side)
        sources = self.calls.sources.get(tensor or "", frozenset())
        if tensor is not None and self.which not in sources:
            names = " or ".join(f"input={inputs[number].name!r}" for number in sorted(sources))
            raise ValueError(
                f"The layer must see the explained input, {inputs[self.which].name!r}; "
                f"{tap.name!r} does not. Pass {names or 'another layer'}."
            )


def _first(texts: Text | list[Text]) -> Text:
    return texts[0] if isinstance(texts, list) else texts


def _is_stored(method: Method) -> bool:
    stored = METHODS.get(method.name)
    if stored is None:
        return False
    return method.function in (stored.function, stored.of_layer, stored.of_words)


def open_model(model: Any, name: str | int | None = None) -> OpenedModel:
    """Open a model at one of its inputs; anew where it has been changed.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If there is no such input.
    """
    graph = graph_of(model)
    which = graph.find_input(name)
    return graph.once(("opened", which), lambda: OpenedModel(graph, which))
