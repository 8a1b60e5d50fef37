"""A model's probability of each image's class, asked of changed images: what metrics need."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.engine.opened_model import open_model
from tfcam.engine.settings import Settings
from tfcam.model.hooks import LOCK
from tfcam.model.inputs import split_batch
from tfcam.passes.outputs import are_probabilities, of_logits
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.prepare import prepare, prepare_others
from tfcam.targets.callables import ClassScore, Each, as_callable, checked_scores, part_of
from tfcam.targets.classes import (
    NOTHING,
    PREDICTED,
    Target,
    class_index,
    class_outputs,
    class_scores,
    resolved,
)
from tfcam.targets.resolve import chosen_targets

_MISFIT = "index must name the image of each variant: {} numbers for {} variants."


class Probe:
    """A model's probability of each image's class, to be asked of changed images.

    What is asked for stays what it was also where a changed image would be called another class.
    The probability is the one that ``explain`` reports; of a model that gives logits their softmax
    (of a single one, the sigmoid); of a ``Difference`` that of the one class less that of the
    other; of a callable target, such as ``tfcam.Regression``, its number. The model is compiled
    for ``batch_size`` images, once for all its probes; after the model has been changed, make a
    new probe.

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
            pixels, or None for images that are already prepared.
        labels: The label of each class, in the order of the classes; by default known of ImageNet
            networks.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        batch_size: Number of images that are computed at once; fewer take less memory.

    Attributes:
        model: The model.
        inputs: (B, H, W, C) float32, the images as the model takes them.
        targets: (B,) int32, the classes; -1 where the target is a callable.
        probabilities: (B,) float32, of the unchanged images.
        preprocessing: What was done to the pictures, in words.

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
        labels: Sequence[str] | None = None,
        input: str | int | None = None,
        output: str | int | None = None,
        batch_size: int = 32,
    ) -> None:
        settings = Settings(output=output, at_once=batch_size)  # checks them
        opened = open_model(model, input)
        self.model, self._size, self._which = model, batch_size, opened.which
        self._structure = opened.graph.structure
        explained, others = opened.split(images)
        batch = split_batch(explained, opened.axes)
        pictures = [explained] if batch is None else batch
        if not pictures:
            raise ValueError("A batch must hold at least one image; got an empty one.")
        (chosen,) = chosen_targets(
            target,
            len(pictures),
            False,
            opened.graph.labels(labels)[0],
            lambda: opened.classes(output),
        )
        prepared = prepare(opened.graph, pictures, preprocess, opened.which)
        if prepared.inputs.dtype.kind != "f":
            raise ValueError(
                "Metrics change the input bit by bit, and the model takes whole numbers, "
                f"{prepared.inputs.dtype.name}. Ask a model that takes what its embedding gives."
            )
        self.inputs, self.preprocessing = prepared.inputs, prepared.description
        self._others = prepare_others(opened.graph, others, opened.which, len(pictures), preprocess)
        self._asked = _one_by_one(chosen, len(pictures))
        self._is_class = np.array([isinstance(each, ClassScore) for each in self._asked])
        given = (self.inputs, *self._others)
        kinds = bool(self._is_class.any()), bool(self._is_class.all())
        self._function = _compiled(opened.bare(settings.output), batch_size, *kinds, given)
        self._start()

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.inputs)

    def __call__(self, variants: np.ndarray | Iterable[np.ndarray], index: Any) -> np.ndarray:
        """The probabilities of changed images.

        Args:
            variants: (N, H, W, C) as the model takes them, or chunks (n, H, W, C) of them one
                after the other, such as a generator makes: no more than a chunk and a batch are
                held at a time.
            index: (N,) whole numbers: which of the B images each is a variant of.

        Returns:
            (N,) float32.

        Raises:
            ValueError: If variants and index do not fit each other or the images, or what goes
                into the model or comes out of it is not finite.
        """
        found = [
            self._numbers(which, values, self._called(which, scores))
            for which, values, _, scores in self._computed(variants, self._checked(index))
        ]
        return np.concatenate([np.zeros(0, np.float32), *found])

    def as_given(self, images: np.ndarray) -> Any:
        """Changed images as the model itself takes them, with its other inputs.

        Args:
            images: (B, H, W, C), a variant of each image.

        Returns:
            An array, or a list or dict of the inputs; channels where the model has them.
        """
        wanted = self._structure
        values = list(self._others)
        values.insert(self._which, images)
        values = [
            np.moveaxis(value, -1, 1) if taken.channels_first else value
            for taken, value in zip(tf.nest.flatten(wanted), values, strict=True)
        ]
        return tf.nest.pack_sequence_as(wanted, values)

    def _start(self) -> None:
        """What the unchanged images say: their classes, and whether outputs are probabilities."""
        images = np.arange(len(self.inputs))
        computed = [
            (values, whole, self._called(which, scores))
            for which, values, whole, scores in self._computed(self.inputs, images)
        ]
        values, whole, called = (np.concatenate(each) for each in zip(*computed, strict=True))
        self._as_they_are = bool(whole[self._is_class].all())
        given = [getattr(each, "pair", (PREDICTED, NOTHING)) for each in self._asked]
        self._pairs = np.array(given, np.int32)
        if self._is_class.any():
            class_index(max(0, self._pairs.max()), values.shape[1], None)  # refuses what is none
            found = resolved(tf.constant(values), self._pairs).numpy()
            self._pairs = np.where(self._is_class[:, np.newaxis], found, self._pairs)
        self.targets = self._pairs[:, 0]
        self.probabilities = self._numbers(images, values, called)

    def _numbers(self, which: np.ndarray, values: np.ndarray, called: np.ndarray) -> np.ndarray:
        """What is asked for: the classes' probabilities, the callables' numbers."""
        numbers, classes = called.copy(), self._is_class[which]
        if classes.any():
            likely = values if self._as_they_are else of_logits(values)
            numbers[classes] = class_scores(likely[classes], self._pairs[which[classes]])
        if broken := np.count_nonzero(~np.isfinite(numbers)):
            raise ValueError(
                f"The model must give finite numbers; it gives NaN or infinite ones for {broken} "
                f"of {len(numbers)} images. tfcam.diagnose(model, image) shows where they start."
            )
        return numbers

    def _called(self, which: np.ndarray, scores: Any) -> np.ndarray:
        """The numbers of the callable targets; 0 where the target is a class."""
        numbers = np.zeros(len(which), np.float32)
        for row, image in enumerate(which):
            if not self._is_class[image]:
                own = tf.nest.map_structure(lambda leaf, row=row: leaf[row : row + 1], scores)
                numbers[row] = checked_scores(self._asked[image](own), 1)[0]
        return numbers

    def _computed(
        self, variants: np.ndarray | Iterable[np.ndarray], index: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, Any]]:
        """For each batch which images it is of, and what the model gives for it.

        That is (n, C) values and whether they are probabilities, and what callables take.
        """
        chunks = [variants] if isinstance(variants, np.ndarray) else variants
        rows = itertools.chain.from_iterable(chunks)
        for start in range(0, len(index), self._size):
            which = index[start : start + self._size]
            batch = list(itertools.islice(rows, len(which)))
            self._check(batch, len(which), start, len(index))
            filled = np.stack(batch + [batch[-1]] * (self._size - len(batch)))
            full = np.concatenate([which, np.repeat(which[-1:], self._size - len(which))])
            given = [filled.astype(self.inputs.dtype), *(each[full] for each in self._others)]
            values, whole, scores = self._function(*map(tf.constant, given))
            count = len(which)
            yield which, values[:count].numpy(), whole[:count, 0].numpy(), scores
        if next(rows, None) is not None:
            raise ValueError(_MISFIT.format(len(index), "more"))

    def _checked(self, index: Any) -> np.ndarray:
        numbers = np.asarray(index)
        whole = numbers.ndim == 1 and (numbers.dtype.kind in "iu" or not numbers.size)
        if not whole or (numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self)):
            raise ValueError(
                "index must say of each variant which image it is of, whole numbers (N,) in "
                f"0..{len(self) - 1}; got {index!r}."
            )
        return numbers.astype(np.int64)

    def _check(self, batch: list[np.ndarray], wanted: int, start: int, count: int) -> None:
        if len(batch) < wanted:
            raise ValueError(_MISFIT.format(count, start + len(batch)))
        for each in batch:
            if np.shape(each) != self.inputs.shape[1:]:
                raise ValueError(
                    f"A variant must have the shape of the model's input {self.inputs.shape[1:]}; "
                    f"got {np.shape(each)}."
                )
            if not np.isfinite(each).all():
                raise ValueError("Variants must be finite; one holds NaN or infinite values.")


def _compiled(
    submodel: SubModel, size: int, classes: bool, only: bool, given: Sequence[np.ndarray]
) -> Any:
    """The model for one batch, compiled once for all probes that ask it for the same.

    Args:
        submodel: The model opened at no layer.
        size: How many images are computed at once.
        classes: Whether a class is asked for.
        only: Whether nothing else is.
        given: Examples of what it takes.
    """

    def function(images: tf.Tensor, *others: tf.Tensor) -> Any:
        outputs, _ = submodel.beside(others).forward(images)
        if not classes:
            return tf.zeros((size, 0)), tf.ones((size, 1), tf.bool), outputs.scores
        values = tf.cast(class_outputs(outputs.values), tf.float32)
        return values, are_probabilities(outputs), None if only else outputs.scores

    specs = [tf.TensorSpec((size, *each.shape[1:]), each.dtype) for each in given]
    key = (size, classes, only, *((tuple(spec.shape), spec.dtype) for spec in specs))
    with LOCK:
        return submodel.traced(key, tf.function(function, autograph=False), specs)


def _one_by_one(chosen: Any, count: int) -> list[Callable[[Any], Any]]:
    """The target of each image as a callable of its own outputs; of a class a ``ClassScore``."""
    if not callable(chosen):
        return [as_callable(pair) for pair in chosen]
    if hasattr(chosen, "check_count"):
        chosen.check_count(count)
    own = [part_of(chosen, slice(image, image + 1)) for image in range(count)]
    return [each.targets[0] if isinstance(each, Each) else each for each in own]
