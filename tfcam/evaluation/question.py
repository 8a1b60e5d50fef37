"""What is asked of the model about each picture: of which class, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from numbers import Integral
from typing import Any, NamedTuple

import keras
import numpy as np

from tfcam.data.example import Example
from tfcam.engine.opened_model import OpenedModel, open_model
from tfcam.engine.settings import Explained, Settings
from tfcam.explainer.checks import of_given, of_unit
from tfcam.findings import Finding
from tfcam.metrics.probing import Probe
from tfcam.model.graph import graph_of
from tfcam.model.labels import Labels, class_of
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.names import split_window
from tfcam.preprocessing.sizes import keep_their_sizes, runs_of_one_size
from tfcam.targets.callables import name_of, told_format
from tfcam.targets.classes import NOTHING, Target, pair_name
from tfcam.targets.labels import asks_label, label_of_output
from tfcam.targets.resolve import chosen_targets
from tfcam.targets.two_classes import NUMBER
from tfcam.utils.digest import digest_names


class Case(NamedTuple):
    """A picture and what is explained of it, None for the predicted class."""

    example: Example
    target: Target


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of the model about each picture.

    Attributes:
        model: A built Keras model.
        target: None for the predicted class, "label" for each picture's own, or any other that is
            the same for all.
        preprocess: How pixels become the model's input.
        labels: The label of each class, as the user gives them.
        input: Which input is explained of a model that has several.
        settings: How scores are made.
    """

    model: keras.Model
    target: Target
    preprocess: Preprocess
    labels: Labels | None
    input: str | int | None
    settings: Settings

    @property
    def _opened(self) -> OpenedModel:
        return open_model(self.model, self.input)

    @cached_property
    def known_labels(self) -> Sequence[str] | None:
        """The label of each class, where they are known."""
        return graph_of(self.model).labels(self.labels, self.settings.output)[0]

    @cached_property
    def classes(self) -> int | None:
        """The number of classes that the model tells apart."""
        return self._opened.classes(self.settings.output, self.known_labels).count

    @property
    def of_labels(self) -> bool:
        """Whether each picture's own class is explained."""
        return asks_label(self.target)

    @cached_property
    def own_target(self) -> Callable[[Any], Any] | None:
        """The callable that is explained of all pictures; None where it is a class."""
        if not callable(self.target):
            return None
        opened, labels = self._opened, self.known_labels
        classes = partial(opened.classes, self.settings.output, labels)
        (chosen,) = chosen_targets(self.target, 1, False, labels, classes)
        told: Callable[[Any], Any] = told_format(chosen, volumes=len(opened.input.sides) == 3)
        return told

    def case(self, example: Example, label_names: Sequence[str] | None) -> Case:
        """Find the class that is explained of a picture.

        Args:
            example: The picture.
            label_names: The names of the data's classes, where they have some.

        Raises:
            ValueError: If its own is asked for and it has none, or the model has no such class.
        """
        names = [other.name for other in self._opened.others]
        if len(example.others) != len(names):
            raise ValueError(
                f"it must have what the model takes beside it, {', '.join(names) or 'nothing'}, as "
                f"others of its tfcam.Example; it has {len(example.others)}."
            )
        if not self.of_labels:
            return Case(example, self.target)
        if example.label is None:
            raise ValueError("it has no label, and target='label' explains that.")
        label = label_of_output(example.label, self.settings.output)
        return Case(example, class_of(label, label_names, self.classes, self.known_labels))

    def runs(self, cases: Sequence[Case]) -> list[slice]:
        """Split pictures into those that can be in one batch."""
        opened = self._opened
        if not keep_their_sizes(opened.graph, opened.which):
            return [slice(0, len(cases))]
        return runs_of_one_size([case.example.image for case in cases])

    def probe(self, cases: Sequence[Case]) -> Probe:
        """Make a probe of pictures."""
        images = [case.example.image for case in cases]
        others = map(list, zip(*(case.example.others for case in cases), strict=True))
        return Probe(
            self.model,
            self._opened.joined(images, list(others)),
            None if self.target is None else [case.target for case in cases],
            preprocess=split_window(self.preprocess)[1],  # the pictures are read with the window
            labels=self.labels,
            input=self.input,
            output=self.settings.output,
            batch_size=self.settings.at_once,
            freeze=True,
        )

    def findings(self, probe: Probe) -> list[list[Finding]]:
        """Find what to mind of each picture of a probe, whatever explains it."""
        bare, pairs = self._opened.bare(self.settings.output), probe.pairs
        labels, missing = graph_of(self.model).labels(self.labels, self.settings.output)
        found = []
        for image, pair in enumerate(pairs):
            name = pair_name(pair, labels)
            explained = Explained(self.own_target, pairs, image, name, labels)
            about = of_unit(bare, explained) + of_given(bare, probe.prepared, image)
            found.append([*missing, *about])
        return found

    def label(self, pair: Sequence[int] | np.ndarray) -> str:
        """Say in words what is explained: a class, unless the same of all pictures.

        Args:
            pair: The class, and the one that it is held against.
        """
        target = pair[0]
        if target == NUMBER:
            return "the number"
        if self.own_target is not None:
            return name_of(self.own_target)
        if pair[1] != NOTHING:
            return pair_name(pair, self.known_labels)
        return str(target) if self.known_labels is None else self.known_labels[target]

    @property
    def _target_in_words(self) -> Any:
        if callable(self.target):
            return name_of(self.target)
        return self.target if isinstance(self.target, str | Integral) else repr(self.target)

    def described(self) -> dict[str, Any]:
        """Describe what the numbers depend on, as JSON can hold it."""
        labels = self.known_labels
        window, preprocess = split_window(self.preprocess)
        preprocess = preprocess if window is None else preprocess.preprocess
        return {
            "target": "the predicted class" if self.target is None else self._target_in_words,
            "labels_digest": None if labels is None else digest_names(labels),
            "preprocess": getattr(preprocess, "__name__", preprocess),
            "picture_window": None if window is None else [*window],
            "score": self.settings.score,
            "input": self.input,
            "output": self.settings.output,
            "grid": None if self.settings.grid is None else list(self.settings.grid),
            "batch_size": self.settings.at_once,
        }
