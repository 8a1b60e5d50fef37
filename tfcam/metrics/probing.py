"""Asking a model for the probability of each image's class, of changed images."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam.engine.opened_model import open_model
from tfcam.engine.settings import Settings
from tfcam.metrics.probe_function import asked, compiled, filled_up
from tfcam.model.given import split_batch
from tfcam.model.labels import Labels
from tfcam.model.several import at_once
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.others import prepare_others
from tfcam.preprocessing.prepare import prepare
from tfcam.targets.callables import (
    ClassScore,
    Each,
    as_callable,
    checked_scores,
    part_of,
    told_format,
)
from tfcam.targets.classes import (
    NOTHING,
    PREDICTED,
    Target,
    class_index,
    class_scores,
    resolved,
)
from tfcam.targets.regression import Regression
from tfcam.targets.resolve import chosen_targets
from tfcam.targets.two_classes import NUMBER

_MISFIT = "index must name the image of each variant: {} numbers for {} variants."


class _Answer(NamedTuple):
    """What the model gives for a batch of variants.

    Attributes:
        images: (n,) the image that each is a variant of.
        values: (n, C) the outputs of a classifier.
        likely: (n,) whether these are probabilities as they are.
        scores: What callable targets take.
    """

    images: np.ndarray
    values: np.ndarray
    likely: np.ndarray
    scores: Any


@dataclass(frozen=True, eq=False)
class Replaced:
    """Variants of images, some of whose pixels are those of other images; made on the device.

    Attributes:
        hidden: (N, H, W) bool, or one after the other: where pixels are replaced.
        others: (F, H, W, C), what they are replaced by.
        source: (N,) which of these it is.

    Example:
        >>> import tfcam
        >>> probe = Probe(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image)
        >>> top, grey = np.zeros((1, 128, 128), bool), np.full_like(probe.inputs, 0.5)
        >>> top[:, :64] = True
        >>> probe(Replaced(top, grey, source=[0]), index=[0]).shape
        (1,)
    """

    hidden: Iterable[np.ndarray]
    others: np.ndarray
    source: Sequence[int] | np.ndarray


Variants = np.ndarray | Iterable[np.ndarray] | Replaced


class Probe:
    """Asks a model for the probability of each image's class, of changed images.

    What is asked for stays what it was also where a changed image would be called another class.
    The probability is the one that ``explain`` reports; of a model that gives logits their softmax
    (of a single one the sigmoid p, and 1 - p); of a ``Difference`` that of the one class less that
    of the other. Of a callable target, such as ``tfcam.Regression``, and of a model whose one
    number tells no classes apart it is that number. The model is compiled for ``batch_size``
    images, and for as many as the probe has where these are fewer, once for all its probes. A call
    with no more variants than the probe has images takes the latter, so that numbers of one call
    compare to the bit, and those of two but for rounding. After the model has been trained or
    changed, make a new probe.

    Args:
        model: Any built Keras 3 model; it is left as it is.
        images: One image or a batch, as ``tfcam.explain`` takes them; of a model with several
            inputs, all of them.
        target: The class that is explained: an index, or a label where labels are known; by default
            the one that the model predicts. Also a ``tfcam.Difference``, or a callable outputs ->
            (B,) on the outputs before the final softmax or sigmoid, such as ``tfcam.Segmentation``.
            Of a batch a list of these, one for each image.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        batch_size: Number of images that are computed at once; fewer take less memory.
        freeze: Build the weights into what is compiled, as they are now, once for all probes until
            they change. On a CPU it then takes two thirds of the time; worth it from some hundred
            variants on.

    Attributes:
        model: The model.
        images: (H, W, 3) uint8 each, the pictures to look at; of what was given prepared,
            stretched to 0..255.
        inputs: (B, H, W, C) float32, the images as the model takes them.
        others: (B, ...) each, the other inputs of a model that has several.
        pairs: (B, 2) int32, the classes, and those they are held against; -2 where there is none.
        targets: (B,) int32, the classes; -1 where the target is a callable, and -3 where the model
            has one number that is no class.
        probabilities: (B,) float32, of the unchanged images.
        unchanged: (B, C) float32, the probabilities of all their classes, where classes are
            explained.
        preprocessing: What was done to the pictures, in words.
        prepared: The images as they were prepared, with what to mind of them.

    Raises:
        ValueError: If an argument does not fit the model, or the input holds whole numbers.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1, kinds=["star"])
        >>> probe = Probe(tfcam.demo_model(), scene.image)
        >>> tfcam.scenes.KINDS[probe.targets[0]], round(float(probe.probabilities[0]), 2)
        ('star', 0.91)
        >>> empty = np.zeros_like(probe.inputs)
        >>> bool(probe(empty, [0])[0] < probe.probabilities[0])
        True
    """

    def __init__(
        self,
        model: keras.Model,
        images: Any,
        target: Target | Sequence[Target] | np.ndarray = None,
        *,
        preprocess: Preprocess = "auto",
        labels: Labels | None = None,
        input: str | int | None = None,
        output: str | int | None = None,
        batch_size: int = 32,
        freeze: bool = False,
    ) -> None:
        settings = Settings(output=output, at_once=batch_size, freeze=freeze)  # checks them
        opened = open_model(model, input)
        self.model, self._which = model, opened.which
        self._graph, self._structure = opened.graph, opened.graph.structure
        explained, others = opened.split(images)
        batch = split_batch(explained, opened.input)
        pictures = [explained] if batch is None else batch
        if not pictures:
            raise ValueError("A batch must hold at least one image; got an empty one.")
        known, _ = opened.graph.labels(labels, settings.output)
        (chosen,) = chosen_targets(
            target,
            len(pictures),
            False,
            known,
            lambda: opened.classes(settings.output, known),
        )
        chosen = told_format(chosen, volumes=len(opened.input.sides) == 3)
        prepared = prepare(opened.graph, pictures, preprocess, opened.which)
        if prepared.inputs.dtype.kind != "f":
            raise ValueError(
                "Metrics change the input bit by bit, and the model takes whole numbers, "
                f"{prepared.inputs.dtype.name}. Ask a model that takes what its embedding gives."
            )
        self.images, self.preprocessing = prepared.images, prepared.description
        self.prepared = prepared
        self.inputs = prepared.inputs
        self.others = prepare_others(opened.graph, others, opened.which, len(pictures), preprocess)
        bare = opened.bare(settings.output)
        self._score_functions = _one_by_one(bare.told(chosen), len(pictures))
        self.pairs = _pairs(chosen, self._score_functions)
        self._is_class = np.array([isinstance(f, ClassScore) for f in self._score_functions])
        kinds = bool(self._is_class.any()), bool(self._is_class.all())
        examples = (self.inputs, *self.others)
        self._full = at_once(opened.graph, batch_size)
        self._few = min(len(pictures), self._full)
        compile_for = functools.partial(compiled, bare, *kinds, examples)
        self._asked = asked(opened.graph, compile_for, {self._few, self._full}, freeze)
        self._start()

    def __len__(self) -> int:
        """Count the images."""
        return len(self.inputs)

    @functools.cached_property
    def _tensors(self) -> list[tf.Tensor]:
        """The unchanged inputs on the device, the explained one first."""
        return [*map(tf.constant, (self.inputs, *self.others))]

    def __call__(self, variants: Variants, index: Sequence[int] | np.ndarray) -> np.ndarray:
        """Ask for the probabilities of changed images.

        Args:
            variants: (N, H, W, C) as the model takes them, or chunks (n, H, W, C) of them one
                after the other, such as a generator makes: no more than a chunk and a batch are
                held at a time. Or ``Replaced``, whose pixels need not be copied.
            index: (N,) whole numbers: which of the B images each is a variant of.

        Returns:
            (N,) float32.

        Raises:
            ValueError: If variants and index do not fit each other or the images, the model has
                been changed since, or what goes into it or comes out of it is not finite.
        """
        probabilities = [
            self._numbers(answer.images, answer.values, self._callable_scores(answer))
            for answer in self._answers(variants, self._checked(index))
        ]
        return np.concatenate([np.zeros(0, np.float32), *probabilities])

    def class_probabilities(
        self, variants: Variants, index: Sequence[int] | np.ndarray
    ) -> np.ndarray:
        """Ask for the probabilities of every class of changed images.

        Args:
            variants: As for a call.
            index: As for a call.

        Returns:
            (N, C) float32.

        Raises:
            ValueError: As a call does, or if no class is explained.
        """
        if not self._is_class.all():
            raise ValueError("This probe asks for a callable's number; it has no classes.")
        parts = []
        for answer in self._answers(variants, self._checked(index)):
            self._numbers(answer.images, answer.values, self._callable_scores(answer))
            parts.append(self._probabilities(answer.values))
        return np.concatenate(parts)

    def as_given(self, images: np.ndarray, index: Sequence[int] | None = None) -> Any:
        """Put changed images into the form that the model itself takes, with its other inputs.

        Args:
            images: (N, H, W, C) variants.
            index: (N,) which of the images each is a variant of; None for one of each in turn.

        Returns:
            An array, or a list or dict of the inputs; channels where the model has them.
        """
        values = [other if index is None else other[list(index)] for other in self.others]
        values.insert(self._which, images)
        values = [
            np.asarray(taken.as_taken(tf.constant(value)))
            for taken, value in zip(tf.nest.flatten(self._structure), values, strict=True)
        ]
        return tf.nest.pack_sequence_as(self._structure, values)

    def _start(self) -> None:
        """Ask about the unchanged images: their classes, and whether outputs are probabilities."""
        images = np.arange(len(self))
        answers = [
            (answer.values, answer.likely, self._callable_scores(answer))
            for answer in self._answers(self.inputs, images)
        ]
        values, likely, scores = map(np.concatenate, zip(*answers, strict=True))
        self._as_they_are = bool(likely[self._is_class].all())
        if self._is_class.any():
            class_index(max(0, self.pairs.max()), values.shape[1], None)  # refuses what is none
            predicted = resolved(tf.constant(values), self.pairs).numpy()
            self.pairs = np.where(self._is_class[:, np.newaxis], predicted, self.pairs)
        self.targets = self.pairs[:, 0]
        self.probabilities = self._numbers(images, values, scores)
        self.unchanged = self._probabilities(values)

    def _numbers(self, images: np.ndarray, values: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Choose the numbers (n,): the probabilities of classes, the scores of callables."""
        numbers, classes = scores.copy(), self._is_class[images]
        if classes.any():
            likely = self._probabilities(values)[classes]
            numbers[classes] = class_scores(likely, self.pairs[images[classes]])
        broken = np.unique(images[~np.isfinite(numbers)]).tolist()
        if broken:
            raise ValueError(
                "The model must give finite numbers; it gives NaN or infinite ones for image "
                f"{', '.join(map(str, broken))} (from 0). tfcam.diagnose(model, image) shows where "
                "they start."
            )
        return numbers

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        return values if self._as_they_are else np.asarray(tf.nn.softmax(values))

    def _callable_scores(self, answer: _Answer) -> np.ndarray:
        """Compute the scores (n,) of callable targets; 0 where the target is a class."""
        scores = np.zeros(len(answer.images), np.float32)
        for row, image in enumerate(answer.images):
            if not self._is_class[image]:
                outputs = tf.nest.map_structure(
                    lambda leaf, row=row: leaf[row : row + 1], answer.scores
                )
                scores[row] = checked_scores(self._score_functions[image](outputs), 1)[0]
        return scores

    def _answers(self, variants: Variants, index: np.ndarray) -> Iterator[_Answer]:
        """Run the model on full batches of variants."""
        if not self._graph.is_current():
            raise ValueError(
                f"A Probe asks its model as it was; {self._graph.name!r} has been changed since. "
                "Make a new one."
            )
        size = self._few if len(index) <= self._few else self._full
        function = self._asked(size)
        made = self._replaced if isinstance(variants, Replaced) else self._given
        for images, inputs in made(variants, index, size):  # type: ignore[arg-type]
            count, places = len(images), filled_up(images, size)
            others = (tf.gather(values, places) for values in self._tensors[1:])
            values, likely, scores = function(inputs, *others)
            yield _Answer(images, values[:count].numpy(), likely[:count, 0].numpy(), scores)

    def _given(
        self, variants: np.ndarray | Iterable[np.ndarray], index: np.ndarray, size: int
    ) -> Iterator[tuple[np.ndarray, tf.Tensor]]:
        """Take variants as they are: which images each batch is of, and the full batch."""
        chunks = [variants] if isinstance(variants, np.ndarray) else variants
        rows = itertools.chain.from_iterable(chunks)
        for images, batch in self._batches(rows, index, self.inputs.shape[1:], size):
            yield images, tf.constant(batch, self.inputs.dtype)

    def _replaced(
        self, variants: Replaced, index: np.ndarray, size: int
    ) -> Iterator[tuple[np.ndarray, tf.Tensor]]:
        """Replace pixels on the device, batch by batch."""
        self._check(variants.others, self.inputs.shape[1:])
        others = tf.constant(variants.others, self.inputs.dtype)
        sources, sides = iter(np.asarray(variants.source)), self.inputs.shape[1:-1]
        for images, hidden in self._batches(iter(variants.hidden), index, sides, size):
            places = filled_up(images, size)
            source = filled_up(np.fromiter(itertools.islice(sources, len(images)), int), size)
            kept, other = tf.gather(self._tensors[0], places), tf.gather(others, source)
            # Flat, as TensorFlow takes twice as long where a choice must be spread over channels.
            chosen = np.repeat(hidden.reshape(len(hidden), -1), kept.shape[-1], axis=1)
            flat = (tf.reshape(each, chosen.shape) for each in (other, kept))
            yield images, tf.reshape(tf.where(chosen, *flat), kept.shape)

    def _batches(
        self, rows: Iterator[np.ndarray], index: np.ndarray, shape: tuple[int, ...], size: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Gather rows to full batches, the last filled up; with which images each is of."""
        for start in range(0, len(index), size):
            images = index[start : start + size]
            batch = list(itertools.islice(rows, len(images)))
            if len(batch) < len(images):
                raise ValueError(_MISFIT.format(len(index), start + len(batch)))
            self._check(batch, shape)
            yield images, filled_up(np.stack(batch), size)
        if next(rows, None) is not None:
            raise ValueError(_MISFIT.format(len(index), "more"))

    def _checked(self, index: Sequence[int] | np.ndarray) -> np.ndarray:
        numbers = np.asarray(index)
        whole = numbers.ndim == 1 and (numbers.dtype.kind in "iu" or not numbers.size)
        if not whole or (numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self)):
            raise ValueError(
                "index must say of each variant which image it is of, whole numbers (N,) in "
                f"0..{len(self) - 1}; got {index!r}."
            )
        return numbers.astype(np.int64)

    def _check(self, batch: Iterable[np.ndarray], shape: tuple[int, ...]) -> None:
        for variant in batch:
            if np.shape(variant) != shape:
                raise ValueError(
                    f"A variant must have the shape of the model's input {shape}; "
                    f"got {np.shape(variant)}."
                )
            if not np.isfinite(variant).all():
                raise ValueError("Variants must be finite; one holds NaN or infinite values.")


def _pairs(target: Any, score_functions: Sequence[Any]) -> np.ndarray:
    """List the classes (B, 2) of each image."""
    if isinstance(target, np.ndarray):
        return target
    pairs = [
        function.pair if isinstance(function, ClassScore) else (PREDICTED, NOTHING)
        for function in score_functions
    ]
    return np.array(pairs, np.int32)


def _one_by_one(target: Any, count: int) -> list[Callable[[Any], Any]]:
    """Split a target into a callable for each image's own outputs; a class is a ``ClassScore``."""
    if not callable(target):
        return [Regression() if pair[0] == NUMBER else as_callable(pair) for pair in target]
    if hasattr(type(target), "check_count"):
        target.check_count(count)
    parts = [part_of(target, slice(image, image + 1)) for image in range(count)]
    return [part.targets[0] if isinstance(part, Each) else part for part in parts]
