"""The three steps of explaining: prepare what the model takes, compute, assemble the results."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from tfcam import maps
from tfcam.engine.engine import Engine
from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.engine.options import AUGMENT, FUSE, usual_method
from tfcam.engine.runner import Runner
from tfcam.engine.settings import Settings
from tfcam.explainer import augmentation
from tfcam.explainer.assemble import Cell, Run, explanation, joined
from tfcam.explainer.references import outputs_of, with_embeddings, with_words
from tfcam.explainer.words import checked_words
from tfcam.images.loading import load_image
from tfcam.images.window import Window
from tfcam.methods.registry import Request
from tfcam.model.graph import Asked, forget
from tfcam.model.labels import Labels
from tfcam.model.several import at_once
from tfcam.model.taps import Layers
from tfcam.passes.reading import Need
from tfcam.preprocessing.modes import Preprocess, Preprocessing, choose_preprocessing
from tfcam.preprocessing.others import prepare_others
from tfcam.preprocessing.prepare import Prepared, are_pixels, prepare
from tfcam.preprocessing.sizes import (
    keep_their_sizes,
    runs_of_one_length,
    runs_of_one_size,
    unpadded,
)
from tfcam.results.explanation import Explanation
from tfcam.targets.callables import told_format
from tfcam.targets.classes import Target, Targets
from tfcam.targets.resolve import ResolvedTarget, chosen_targets, is_by_value, spread_targets
from tfcam.targets.two_classes import Classes
from tfcam.utils.validation import kept_labels


def default_method(model: keras.Model, layer: Layers, input: str | int | None) -> str:
    """Choose the method where none is named: that of texts at no layer is another.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If there is no such input.
    """
    opened = open_model(model, input)
    if layer is None and opened.is_text and not opened.has_embeddings:
        return "occlusion"
    return usual_method(opened.is_text, layer)


class Pipeline:
    """A model, a layer and a method in three steps, each of which may have a thread of its own.

    ``refresh`` follows a model that has been changed; the steps do not, as a change between them
    would mix two models.

    Args:
        model: A built Keras model, which this keeps alive.
        layer: One layer or several, by path, name, object or index; None for the default one.
        request: The method.
        settings: How scores and maps are made.
        input: Which input is explained, by name or index.
        preprocess: How pixels become the model's input.
        labels: The label of each class.
        fuse: How several layers become one map.
        augment: Whether the maps of several views are averaged.
        tile: Height and width of the tiles that pictures are cut into; None where they are not.

    Attributes:
        opened: The model as it is explained.
        engine: The engine, for targets that hold no model.
        settings: How scores and maps are made.
        preprocess: How pixels become the model's input.
        labels: The label of each class, where they are known.
        fuse: How several layers become one map.
        augment: Whether the maps of several views are averaged.
        tile: Height and width of the tiles that pictures are cut into; None where they are not.

    Raises:
        ValueError: If an argument does not fit the model; the message says what does.

    Example:
        >>> import tfcam
        >>> pipeline = tfcam.Explainer(tfcam.demo_model()).pipeline
        >>> prepared = pipeline.prepare([tfcam.scenes.draw_scene(1).image])
        >>> run = pipeline.compute(prepared, pipeline.targets(3, count=1))
        >>> [each.target for each in pipeline.assemble(run)]
        [3]
    """

    def __init__(
        self,
        model: keras.Model,
        layer: Layers,
        request: Request,
        settings: Settings,
        *,
        input: str | int | None = None,
        preprocess: Preprocess = "auto",
        labels: Labels | None = None,
        fuse: maps.Fusion = "max",
        augment: bool = False,
        tile: tuple[int, int] | None = None,
    ) -> None:
        FUSE.check(fuse)
        AUGMENT.check(augment)
        self.model, self.settings, self.preprocess = model, settings, preprocess
        self.fuse, self.augment, self.tile = fuse, augment, tile
        self._input, self._follows = input, not settings.freeze
        self.opened = open_model(model, input)
        request = request.at(layer, self.opened.is_text)
        self._question = (layer, [request], settings)
        self._given_labels, self._settled = kept_labels(labels), False
        self._open(self.opened)

    @property
    def layer(self) -> str | None:
        """The path of the explained layer; None for maps of pixels that need no layer."""
        return None if Need.ATTENTIONS in self.engine.needs else joined(self.engine.layers)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells this from others: all that its maps depend on."""
        _, requests, settings = self._question
        methods = [
            (request.method.function, MappingProxyType(request.options)) for request in requests
        ]
        weights = [np.asarray(weight) for weight in self.model.variables]
        how = (settings, self.preprocess, self.labels, self.fuse, self.augment, self._input)
        return self.model, weights, self.layer, methods, how, self.tile

    @property
    def classes(self) -> int | None:
        """The number of classes that the output tells apart; None where it is of another form."""
        return self._classes().count

    @property
    def preprocessing(self) -> Preprocessing:
        """What is done to pictures of 0..255.

        Raises:
            ValueError: If that can't be found out.
        """
        return choose_preprocessing(self.opened.graph, self.preprocess, self.opened.which)

    def prepared(self) -> Pipeline:
        """Copy this for arrays that are already as the model takes them."""
        same = copy.copy(self)
        same.preprocess = None
        return same

    def run_by(self, runner: Runner, targets: Sequence[ResolvedTarget] = ()) -> Pipeline:
        """Copy this with an engine run in another way, which ``refresh`` leaves as it is.

        Args:
            runner: How it is run.
            targets: What will be explained, where that is known: the default layer leads to it.
        """
        same = copy.copy(self)
        same.engine = self.opened.engine(*self._question, runner=runner, targets=targets)
        same._settled, same._follows = True, False
        return same

    def refresh(self) -> None:
        """Open the model anew where it has been changed: what is compiled would not know."""
        if not self._follows:
            return
        opened = open_model(self.model, self._input)
        if opened is not self.opened:
            self._open(opened)

    def reopen(self) -> None:
        """Open the model anew, whatever is known of it."""
        forget(self.model)
        self._open(open_model(self.model, self._input))

    def _open(self, opened: OpenedModel) -> None:
        layer, _, settings = self._question
        self.opened, self.engine = opened, opened.engine(*self._question)
        self._own_engines: dict[tuple[bool, Asked], Engine] = {}
        self._asked = opened.asked(layer, settings.output)
        self.labels, self._findings = opened.graph.labels(self._given_labels, settings.output)

    def targets(
        self,
        target: Target | Targets | np.ndarray,
        count: int,
        several: bool = False,
        texts: Sequence[Any] = (),
        others: Sequence[np.ndarray] = (),
    ) -> list[ResolvedTarget]:
        """Resolve the targets that a user names to what an engine takes.

        Args:
            target: As ``tfcam.explain`` takes it.
            count: The number of images.
            several: Whether a list holds targets of one image, not one for each image.
            texts: Those that are explained, in which targets may name words.
            others: The inputs that are not explained, prepared.

        Raises:
            ValueError: If there is no such class, or it does not fit the images.
        """
        output = self.settings.output
        target = with_embeddings(target, self.opened, self.preprocess, output)

        def outputs(number: int) -> Any:
            beside = [values[number : number + 1] for values in others]
            return outputs_of(self.opened, self.prepare([texts[number]], beside), output)

        target = with_words(target, texts if self.opened.is_text else (), outputs, several)
        chosen = chosen_targets(target, count, several, self.labels, self._classes)
        volumes = len(self.opened.input.sides) == 3
        return [told_format(one, volumes=volumes) for one in chosen]

    def _classes(self) -> Classes:
        return self.opened.classes(self.settings.output, self.labels)

    def others(self, values: Sequence[Any], count: int) -> list[np.ndarray]:
        """Prepare the inputs that are not explained: (count, ...) each."""
        opened = self.opened
        return prepare_others(opened.graph, values, opened.which, count, self.preprocess)

    def prepare(
        self,
        pictures: Sequence[Any],
        others: Sequence[np.ndarray] = (),
        shown: bool = True,
        pixels: bool | None = None,
    ) -> Prepared:
        """Take the first step: prepare what the model takes.

        Args:
            pictures: One or more.
            others: The inputs that are not explained, prepared.
            shown: Whether the results show the pictures.
            pixels: Of a part of a batch, what ``are_pixels`` says of the whole.
        """
        opened = self.opened
        prepared = prepare(opened.graph, pictures, self.preprocess, opened.which, shown, pixels)
        if not others:
            return prepared
        return replace(prepared, others=tuple(unpadded(opened.graph, opened.which, others)))

    def are_pixels(self, pictures: Sequence[Any]) -> bool:
        """Tell whether a batch of floats holds pixels, for a model that wants other values."""
        return are_pixels(self.opened.graph, pictures, self.preprocess, self.opened.which)

    def parts(self, pictures: Sequence[Any], size: int) -> tuple[Sequence[Any], list[slice]]:
        """Split a batch into parts that are computed at once.

        Args:
            pictures: All of them.
            size: Number of pictures of a part, at most.

        Returns:
            The pictures, those in files read where their sizes count; and the parts, of one size
            where each keeps its own, as texts keep their lengths.
        """
        opened, runs = self.opened, [slice(0, len(pictures))]
        size = at_once(opened.graph, min(size, len(pictures)))
        if len(pictures) > 1 and keep_their_sizes(opened.graph, opened.which):
            if isinstance(self.preprocess, Window):  # with which files are read later
                return pictures, [slice(at, at + 1) for at in range(len(pictures))]
            pictures = [one if hasattr(one, "shape") else load_image(one) for one in pictures]
            runs = runs_of_one_size(pictures)
        if len(pictures) > 1 and opened.is_text:
            runs = runs_of_one_length(opened.graph, opened.which, pictures)
        starts = [(at, run.stop) for run in runs for at in range(run.start, run.stop, size)]
        return pictures, [slice(at, min(at + size, stop)) for at, stop in starts]

    def compute(self, prepared: Prepared, targets: Sequence[ResolvedTarget]) -> Run:
        """Take the second step: compute the maps of each target.

        Args:
            prepared: The images.
            targets: As ``targets`` gives them.
        """
        if self.augment:
            if not self.opened.input.is_image:
                raise ValueError("augment=True mirrors and zooms images; this input is none.")
            for target in targets:
                augmentation.check_target(target)
        engine, spread = self.engine_for(targets), spread_targets(targets)
        answers = engine(prepared.inputs, targets, prepared.others, *prepared.words)
        if self.augment:
            answers = [
                augmentation.averaged(engine, prepared, answer, target)
                for answer, target in zip(answers, spread, strict=True)
            ]
        how = {"augment": True} if self.augment else {}
        about = (self.labels, self._findings, self.fuse, how)
        return Run(engine, prepared, spread, answers, *about)

    def engine_for(self, targets: Sequence[ResolvedTarget]) -> Engine:
        """Choose the engine for targets: a user's callable is kept in one that nobody shares."""
        by_value = all(map(is_by_value, targets))
        asked = self.opened.asked(self._question[0], self.settings.output, targets)
        if self._settled or (by_value and asked == self._asked):
            return self.engine
        if (by_value, asked) not in self._own_engines:
            self._own_engines[by_value, asked] = self.opened.engine(
                *self._question, shared=by_value, targets=targets
            )
        return self._own_engines[by_value, asked]

    def assemble(self, run: Run, words: Sequence[Any] | None = None) -> list[Explanation]:
        """Take the third step: explain each image for each target, target by target.

        Args:
            run: The run.
            words: Of texts, the word of each position of each.
        """
        prepared = run.prepared
        each_words = [None] * len(prepared.images) if words is None else words
        spoken = [
            checked_words(own, text.shape[: prepared.axes])
            for own, text in zip(each_words, prepared.images, strict=True)
        ]
        return [
            explanation(Cell(run, target, image, words=own))
            for target in range(len(run.answers))
            for image, own in enumerate(spoken)
        ]
