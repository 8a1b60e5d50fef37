"""``ModelGraph``: the one owner of all that is known of a model."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, TypeAlias, TypeVar

import keras
import tensorflow as tf

from tfcam.findings import Finding
from tfcam.model.applications import Family, find_family, find_similar_family
from tfcam.model.bare_pictures import mark_bare, mark_rows
from tfcam.model.call_graph import Call, CallGraph
from tfcam.model.endings import read_ending
from tfcam.model.functional_graph import UntoldError, read_calls
from tfcam.model.geometry import find_placement
from tfcam.model.heads import Head, HeadError, find_head
from tfcam.model.hooks import LOCK
from tfcam.model.inputs import Input, check_one_image, find_input, read_structure, run
from tfcam.model.labels import Labels, find_labels
from tfcam.model.layers import DefaultLayer, LayerList, default_layer, list_layers
from tfcam.model.open_sizes import is_open, pin_size
from tfcam.model.outputs import (
    ModelOutput,
    classes_of_shape,
    pick_output,
    read_by,
    symbolic_outputs,
)
from tfcam.model.placement import Placement
from tfcam.model.positions import CallKey, call_key, count_positions
from tfcam.model.snapshot import Snapshot
from tfcam.model.stem import Stem, run_stem
from tfcam.model.strings import find_words, mark_texts
from tfcam.model.taps import ALL_CONVOLUTIONS, Layer, Layers, Place, Tap, check_layers, open_layer
from tfcam.model.tokens import check_grid_of, known_grid
from tfcam.model.tracing import trace_calls
from tfcam.model.tree import ModelTree, called_operations
from tfcam.model.turned_inputs import mark_turned
from tfcam.targets.classes import only_tensor
from tfcam.targets.two_classes import Classes, names_of_two
from tfcam.utils.validation import check_model

T = TypeVar("T")

# The names of the tensors that a score is computed from; None where it may be all of them.
Asked: TypeAlias = tuple[str, ...] | None


class ModelGraph(ModelTree):
    """All that is known of a model: found when first asked for, and kept as long as the model.

    ``graph_of(model)`` gives the one that belongs to a model, anew where the model has been
    changed. Nothing in it keeps the model alive. Of a model with several inputs, ``which`` says
    which of them is explained, in their flat order.

    Args:
        model: A Keras model.
    """

    # Whether the model can only be asked for scores, and only from Python.
    is_black_box = False

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self._snapshot = Snapshot(model, called_operations(model))
        self.during_call = self._snapshot.during_call
        self._kept: dict[Hashable, Any] = {}

    def is_current(self) -> bool:
        """Whether the model still has the structure, variables and configuration it was read with.

        What objects of other packages hold inside is not seen, nor what the code of a layer of
        one's own changes itself.
        """
        return self._snapshot.holds()

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """Find something out about the model once; higher rooms keep here what they find."""
        with LOCK:
            if key not in self._kept:
                self._kept[key] = find()
            kept: T = self._kept[key]
            return kept

    # --- what goes in -----------------------------------------------------------------------

    @cached_property
    def structure(self) -> Any:
        """The model's inputs as it takes them: one ``Input``, or a list, tuple or dict of them.

        Raises:
            ValueError: If the model is not built, or does not say what it takes.
        """
        return mark_texts(self, self._said, self.calls)

    @cached_property
    def _said(self) -> Any:
        """The inputs as the model says what they are."""
        structure = read_structure(self)
        for mark in (mark_turned, mark_bare, mark_rows):
            structure = mark(structure, self._calls)
        if is_open(structure):
            structure, self._kept["calls", 0] = pin_size(self, structure)
        return structure

    @cached_property
    def inputs(self) -> list[Input]:
        """The model's inputs in their flat order."""
        flat: list[Input] = tf.nest.flatten(self.structure)
        return flat

    @property
    def takes_images(self) -> bool:
        """Whether one of the inputs is of images."""
        return any(taken.is_image for taken in self.inputs)

    def find_input(self, name: str | int | None = None) -> int:
        """Find which input is meant; the first one with most axes where none is named.

        Of several of whole numbers (L,), as transformers take them, that is the one of words: the
        one with the largest table of embeddings.

        Raises:
            ValueError: If there is no such input.
        """
        found = partial(self.once, "words", lambda: find_words(self.calls()))
        return find_input(self.inputs, name, found)

    def embedding(self, which: int = 0) -> str | None:
        """The layer that turns a text's numbers into vectors, by its path; None without one."""
        return self.calls(which).embedding_name if self.inputs[which].is_text else None

    def check_one_image(self, door: str, volumes: bool = False) -> Input:
        """The input of a model that takes one image, or video or volume, and nothing else.

        Args:
            door: What is for such models, as in "stream is for ...".
            volumes: Whether it is for videos and volumes, too.

        Raises:
            ValueError: If it takes something else.
        """
        return check_one_image(self.inputs, self.name, door, volumes)

    def stem(self, which: int = 0) -> Stem:
        """What pixels become on their way to the first weights."""
        key = ("stem", which)
        stem = self.once(key, lambda: run_stem(self, self.structure, which))
        if not stem.is_current():
            with LOCK:
                stem = self._kept[key] = run_stem(self, self.structure, which)
        return stem

    def run(self, values: Sequence[tf.Tensor]) -> Any:
        """Call the model in inference mode.

        Args:
            values: Its inputs in their flat order, (B, ...) each, the channels last.

        Returns:
            What the model returns, in its own structure.
        """
        return run(self, self.structure, values)

    # --- what happens inside ----------------------------------------------------------------

    def calls(self, which: int = 0) -> CallGraph:
        """What the model calls and who feeds whom, as seen from one of its inputs."""

        return self.once(("calls", which), lambda: self._calls(self._said, which))

    def _calls(self, structure: Any, which: int) -> CallGraph:
        # A trace takes longer than a forward pass.
        read = read_calls(self, tf.nest.flatten(structure), which)
        return read or trace_calls(self, structure, which)

    def layers(
        self, which: int = 0, grid: tuple[int, ...] | None = None, asked: Asked = None
    ) -> LayerList:
        """List every layer that has a map, with the default one for the outputs asked for."""
        calls, head = self.calls(which), self.head(which)
        check_grid_of(calls, grid)

        def find() -> LayerList:
            return list_layers(calls, head, self.default_layer(which, grid, asked), grid)

        return self.once(("layers", which, grid, asked), find)

    def asked(
        self,
        output: str | int | None = None,
        targets: Sequence[Any] = (),
        which: int = 0,
    ) -> Asked:
        """The tensors that a score is computed from; None where it may be all that is returned.

        Args:
            output: Which output is explained.
            targets: What is explained of it; callables are asked which outputs they read.
            which: Which input is explained.

        Raises:
            ValueError: If there is no such output.
        """
        functions = [target for target in targets if callable(target)]
        if output is None and len(functions) < max(len(targets), 1):
            return None
        calls = self.calls(which)
        names = getattr(self.model, "output_names", None) or ()
        returned = pick_output(calls.returned, output, names)
        chosen = tf.nest.flatten(returned)
        if len(chosen) > 1 and functions and len(functions) == len(targets):
            shapes = dict(zip(calls.outputs, calls.output_shapes, strict=True))
            read = [name for each in functions for name in read_by(each, returned, shapes)]
            chosen = [name for name in chosen if name in read]
        return None if len(chosen) == len(calls.outputs) else tuple(chosen)

    def default_layer(
        self, which: int = 0, grid: tuple[int, ...] | None = None, asked: Asked = None
    ) -> DefaultLayer:
        """Choose which map to explain when none is named.

        Args:
            which: Which input is explained.
            grid: (height, width) of its tokens' grid where the user says it.
            asked: The tensors that the score is computed from; see ``asked``.

        Raises:
            ValueError: If no operation of the model has a map.
        """
        calls = self.calls(which)

        def count(maps: Sequence[Call]) -> dict[CallKey, int]:
            wanted = {call_key(call): known_grid(calls, call, grid) for call in maps}
            numbers = [calls.outputs.index(name) for name in asked or calls.outputs]
            return count_positions(self, self.structure, wanted, numbers)

        return self.once(
            ("default", which, grid, asked), lambda: default_layer(calls, grid, asked, count)
        )

    def open_layer(
        self,
        layer: Layer,
        which: int = 0,
        grid: tuple[int, ...] | None = None,
        asked: Asked = None,
    ) -> Place:
        """Find the layer that a user asks for: a path, a name, an object, an index or None.

        Raises:
            ValueError: If there is no such layer, its name is not unique, or it gives tokens whose
                grid can't be told.
        """

        def default() -> DefaultLayer:
            return self.default_layer(which, grid, asked)

        rank = 4 if self.takes_images else len(self.inputs[which].sides) + 2
        place = open_layer(self, layer, lambda: self.calls(which), default, grid, rank)
        return place._replace(tap=self._in_frames(self._seeing(place.tap, which), which))

    def _in_frames(self, tap: Tap, which: int) -> Tap:
        """Of a video, how many frames there are a batch where it is opened."""
        if len(self.inputs[which].sides) < 3:
            return tap
        return replace(tap, frames=self.calls(which).frames(tap.path, tap.number, tap.side))

    def _seeing(self, tap: Tap, which: int) -> Tap:
        """Of a layer that is called several times, the one call that sees the explained input."""
        if len(self.inputs) == 1 or tap.number is not None:
            return tap
        calls = self.calls(which)
        own = [call for call in calls.calls if call.operation is tap.operation()]
        seeing = calls.explained(own)
        return replace(tap, number=seeing[0].number) if len(seeing) == 1 < len(own) else tap

    def open_layers(
        self,
        layer: Layers,
        which: int = 0,
        grid: tuple[int, ...] | None = None,
        asked: Asked = None,
    ) -> list[Place]:
        """Find one layer, a list of layers, or "all_convolutions"; see ``open_layer``.

        Raises:
            TypeError: If something in it can't name a layer.
            ValueError: If there is no such layer, none at all, or one is named twice.
        """
        if isinstance(layer, str) and layer == ALL_CONVOLUTIONS:
            layer = [entry.index for entry in self.layers(which, grid) if entry.convolution]
            if not layer:
                raise ValueError(f"{self.name!r} has no convolution that gives a map.")
        check_layers(layer)
        if not isinstance(layer, list | tuple):
            return [self.open_layer(layer, which, grid, asked)]
        places = [self.open_layer(name, which, grid, asked) for name in layer]
        for index, (tap, *_) in enumerate(places):
            if any(tap.is_at(other) for other, *_ in places[:index]):
                raise ValueError(
                    f"A list of layers must name each once; {tap.name!r} is there twice."
                )
        return places

    def placement(self, tap: Tap, sides: Sequence[int], which: int = 0) -> Placement | str | None:
        """Find how a layer's cells lie in an input of these sides: see ``find_placement``."""
        key = ("placement", which, tap.name, tap.grid, *sides)
        about = (self, self.structure)
        return self.once(key, lambda: find_placement(*about, self.calls(which), tap, sides))

    # --- what comes out ---------------------------------------------------------------------

    def head(self, which: int = 0) -> Head | HeadError:
        """The linear head that pools the last map, or the reason why there is none."""
        calls = self.calls(which)
        return self.once(("head", which), lambda: find_head(calls))

    def output(self, output: str | int | None = None, which: int = 0) -> ModelOutput:
        """What is known of one output, or of the only one: its width, and how it comes about.

        Raises:
            ValueError: If there is no such output.
        """
        return self.once(("output", output), lambda: self._find_output(output, which))

    def _find_output(self, output: str | int | None, which: int) -> ModelOutput:
        model = self.model
        if not getattr(model, "outputs", None):
            traced = getattr(self._traced(which), "traced", {})
            key = next(iter(traced)) if output is None and len(traced) == 1 else output
            if key not in traced:
                return ModelOutput()
            shape, ending = traced[key]
            return ModelOutput(list(traced).index(key), classes_of_shape(shape), ending)
        outputs, names = symbolic_outputs(model), getattr(model, "output_names", None) or ()
        chosen = only_tensor(pick_output(outputs, output, names))
        if not isinstance(chosen, keras.KerasTensor):
            return ModelOutput()
        place = [id(tensor) for tensor in tf.nest.flatten(outputs)].index(id(chosen))
        try:
            ending = read_ending(model, chosen)
        except UntoldError:
            calls = self._traced(which)
            endings = [ending for _, ending in calls.traced.values()] if calls else []
            ending = endings[place] if endings else None
        return ModelOutput(place, classes_of_shape(chosen.shape), ending)

    def _traced(self, which: int) -> CallGraph | None:
        """The calls; None where the model can't be traced: what is wrong is told when it runs."""
        try:
            return self.calls(which)
        except Exception:
            return None

    def classes(
        self,
        output: str | int | None = None,
        which: int = 0,
        labels: Sequence[str] | None = None,
    ) -> Classes:
        """What an output tells apart: see ``ModelOutput.classes``."""
        return self.output(output, which).classes(self.model, labels)

    def labels(
        self, labels: Labels | None = None, output: str | int | None = None
    ) -> tuple[Sequence[str] | None, tuple[Finding, ...]]:
        """The label of each class where they are known, and what to mind about them.

        Args:
            labels: What the user says.
            output: Which output they are of.

        Raises:
            ValueError: If there are more or fewer labels than classes.
        """
        if labels is None and self.own_family is None:
            return None, ()
        facts = self.output(output)
        known, findings = find_labels(self.own_family, facts.width, labels)
        if facts.width == 1 and known and facts.classes(self.model, known).count == 2:
            known = names_of_two(known)
        return known, findings

    # --- what it is -------------------------------------------------------------------------

    @cached_property
    def own_family(self) -> Family | None:
        """The family of keras.applications that the model itself is of, by its name."""
        return find_family([self.model])

    @cached_property
    def family(self) -> Family | None:
        """The family of keras.applications of the model, or else of a network inside it."""
        return find_family([self.model, *self.operations])

    @cached_property
    def similar_family(self) -> Family | None:
        """A family that has a layer of the same name as one of the model's: a hint, no proof."""
        return find_similar_family(self.operations)


_GRAPHS: weakref.WeakKeyDictionary[Any, ModelGraph] = weakref.WeakKeyDictionary()


def graph_of(model: Any) -> ModelGraph:
    """The ``ModelGraph`` of a model, read anew where the model has been changed since.

    Raises:
        TypeError: If it is no Keras model.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="a")])
        >>> graph = graph_of(model)
        >>> [node.path for node in graph.nodes], graph is graph_of(model)
        (['a'], True)
        >>> model.add(keras.layers.GlobalAveragePooling2D(name="b"))
        >>> [node.path for node in graph_of(model).nodes]
        ['a', 'b']
    """
    check_model(model)
    with LOCK:
        graph = _GRAPHS.get(model)
        if graph is None or graph.model is not model or not graph.is_current():
            graph = _GRAPHS[model] = getattr(model, "graph_kind", ModelGraph)(model)
        return graph


def forget(model: Any) -> None:
    """Let go of all that is known of a model, so that it is read anew when next asked for."""
    with LOCK:
        _GRAPHS.pop(model, None)
