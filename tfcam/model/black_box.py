"""Anything that turns images into scores, as a model: a function of one's own, a sealed file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.findings import Finding
from tfcam.model.call_graph import CallGraph, Ending
from tfcam.model.graph import Asked, ModelGraph
from tfcam.model.inputs import read_structure
from tfcam.model.labels import Labels, read_names
from tfcam.model.outputs import ModelOutput
from tfcam.model.sealed_files import Sealed, read_onnx, read_saved_model, read_tflite
from tfcam.model.stem import Stem
from tfcam.utils.foreign_models import sealed_reader
from tfcam.utils.validation import check_count, check_flag, kind_of, shown


class BlackBoxGraph(ModelGraph):
    """What is known of a black box: what it takes and gives, and nothing of what is inside."""

    is_black_box = True

    @cached_property
    def structure(self) -> Any:
        """The one input, as it was said."""
        return read_structure(self)

    def stem(self, which: int = 0) -> Stem:
        """Nothing is known to stand before its weights."""
        return Stem()

    def run(self, values: Sequence[tf.Tensor]) -> Any:
        """Ask for scores; by Keras, what the function raises would be wrapped in other words."""
        return self.model.asked.call(values[0])

    def asked(
        self, output: str | int | None = None, targets: Sequence[Any] = (), which: int = 0
    ) -> Asked:
        """There is one output."""
        return None

    def labels(
        self, labels: Labels | None = None, output: str | int | None = None
    ) -> tuple[Sequence[str] | None, tuple[Finding, ...]]:
        """The label of each class: as the user says, else those that it came with."""
        return super().labels(self.model.labels if labels is None else labels, output)

    def _calls(self, structure: Any, which: int) -> CallGraph:
        raise ValueError(
            f"The black box {self.name!r} only gives scores: it has no layers and no gradients."
        )

    def _find_output(self, output: str | int | None, which: int) -> ModelOutput:
        return ModelOutput(0, self.model.asked.width, self.model.ending)


class BlackBox(keras.Model):
    """Anything that turns images into scores, to be explained wherever a model is taken.

    It is asked from plain Python, a batch of one size at a time, so that the function may do what
    it likes: NumPy, another library, a ``predict``. Methods that need layers or gradients do not
    apply; "occlusion", "rise", "kernel_shap" and "lime" do, and so do metrics that ask the model.

    Args:
        function: Images (batch_size, H, W, C) float32, as ``preprocess`` makes them -> scores or
            probabilities (batch_size, classes), as anything that NumPy reads.
        shape: What it takes of one image, (H, W, C).
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        probabilities: Whether it gives probabilities (True) or scores before a softmax (False);
            None looks at its values.
        batch_size: Number of images that are computed at once; fewer take less memory.
        name: What it is called.

    Raises:
        TypeError: If the function can't be called, or labels are no texts.
        ValueError: If it does not give a row of scores for each image.

    Example:
        >>> import tfcam
        >>> def mean_colours(images):
        ...     return images.mean(axis=(1, 2))
        >>> box = tfcam.BlackBox(mean_colours, (8, 8, 3), labels=["red", "green", "blue"])
        >>> image = np.zeros((8, 8, 3), "float32")
        >>> image[2:4, 4:6, 1] = 1
        >>> result = tfcam.explain(box, image, method="occlusion", window=2, stride=2, fill="zero")
        >>> result.label, np.argwhere(result.heatmap == 1).tolist()
        ('green', [[2, 4], [2, 5], [3, 4], [3, 5]])
    """

    # Which ``ModelGraph`` is made of it.
    graph_kind = BlackBoxGraph

    def __init__(
        self,
        function: Callable[[np.ndarray], Any],
        shape: Sequence[int],
        *,
        labels: Labels | None = None,
        probabilities: bool | None = None,
        batch_size: int = 32,
        name: str = "black_box",
    ) -> None:
        if not callable(function):
            raise TypeError(
                "function must take images (B, H, W, C) and return scores (B, classes); got "
                f"{kind_of(function)}."
            )
        if probabilities is not None:
            check_flag("probabilities", probabilities)
        asked = _Asked(function, _checked_shape(shape), check_count("batch_size", batch_size))
        inputs = keras.Input(asked.taken, name="image")
        super().__init__(inputs, asked(inputs), name=name)
        known = read_names(labels)
        if known is not None and len(known) != asked.width:
            raise ValueError(
                f"labels must name each of the {asked.width} classes that the function gives; got "
                f"{len(known)}."
            )
        self.asked = asked
        self.labels = None if known is None else tuple(known)
        self.ending: Ending | None = None
        if probabilities is not None:
            self.ending = "probability" if probabilities else "linear"

    @classmethod
    def from_tflite(cls, path: str | os.PathLike[str], **options: Any) -> BlackBox:
        """Read a TFLite file, of floats or quantised to int8 or uint8.

        It takes and gives real numbers: what is quantised is so inside.

        Args:
            path: The file; its model takes one image.
            options: labels, probabilities and name.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it takes something else than one image, or can't be read.
        """
        return cls._of(read_tflite(path), options)

    @classmethod
    def from_saved_model(
        cls,
        path: str | os.PathLike[str],
        *,
        signature: str = "serving_default",
        output: str | int | None = None,
        **options: Any,
    ) -> BlackBox:
        """Read the folder of a SavedModel.

        Args:
            path: The folder; its signature takes one image.
            signature: The name of the function in it.
            output: Which output is explained of a model that has several, by name or index.
            options: labels, probabilities, batch_size and name.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If it has no such signature or output, or takes something else.
        """
        return cls._of(read_saved_model(path, signature, output), options)

    @classmethod
    def from_onnx(
        cls, path: str | os.PathLike[str], *, output: str | int | None = None, **options: Any
    ) -> BlackBox:
        """Read an ONNX file, with the extra ``onnx``.

        Images are (H, W, C) here, also where the file takes (C, H, W).

        Args:
            path: The file; its model takes one image.
            output: Which output is explained of a model that has several, by name or index.
            options: labels, probabilities, batch_size and name.

        Raises:
            FileNotFoundError: If there is no such file.
            ImportError: If onnxruntime is not installed.
            ValueError: If it takes something else than one image, or can't be read.
        """
        return cls._of(read_onnx(path, output), options)

    @classmethod
    def _of(cls, sealed: Sealed, options: dict[str, Any]) -> BlackBox:
        own = {} if sealed.batch_size is None else {"batch_size": sealed.batch_size}
        return cls(sealed, sealed.shape, **{"name": sealed.name, **options, **own})

    def get_config(self) -> dict[str, Any]:
        """Refuse to be saved: the function is no part of a file.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("A BlackBox can't be saved: make it anew from its function.")


def open_sealed(path: str) -> BlackBox:
    """Read a model of a file that can only be asked, whichever kind it is."""
    box: BlackBox = getattr(BlackBox, sealed_reader(path))(path)
    return box


class _Asked(keras.layers.Layer):
    """Asks a function for the scores of images; it has no gradient, and is no part of a graph.

    Attributes:
        function: Images (batch_size, H, W, C) -> scores.
        taken: (H, W, C).
        size: Number of images that it is asked about at once.
        width: Number of scores of each.
    """

    def __init__(
        self, function: Callable[[np.ndarray], Any], taken: tuple[int, ...], size: int
    ) -> None:
        super().__init__(name="asked")
        self.function, self.taken, self.size = function, taken, size
        self.width: int | None = None
        self.width = self.scores(np.zeros((1, *taken), np.float32)).shape[1]

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Ask for the scores (B, classes) float32 of images (B, H, W, C), in full batches."""
        answers = []
        for start in range(0, len(images), self.size):
            part = images[start : start + self.size].astype(np.float32)
            missing = np.repeat(part[-1:], self.size - len(part), axis=0)
            answer = self._checked(self.function(np.concatenate([part, missing])))
            answers.append(answer[: len(part)])
        return np.concatenate(answers)

    def _checked(self, answer: Any) -> np.ndarray:
        scores: np.ndarray
        try:
            scores = np.asarray(answer).astype(np.float32)
        except (TypeError, ValueError):
            scores = np.zeros((), np.float32)
        scores = scores[:, np.newaxis] if scores.ndim == 1 else scores
        if (
            scores.ndim != 2
            or len(scores) != self.size
            or self.width not in (None, scores.shape[1])
        ):
            got = getattr(answer, "shape", None)
            raise ValueError(
                f"The function of a BlackBox must return scores ({self.size}, "
                f"{self.width or 'classes'}) for images {(self.size, *self.taken)}; got "
                f"{shown(answer) if got is None else tuple(got)}."
            )
        return scores

    def call(self, images: Any) -> Any:
        if not tf.executing_eagerly():
            raise ValueError(
                "A black box only gives scores, has no layers and no gradients, and can be no part "
                "of another model or of a graph: it is asked from Python."
            )
        return tf.constant(self.scores(np.asarray(images)))

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        return keras.KerasTensor((images.shape[0], self.width), "float32")


def _checked_shape(shape: Any) -> tuple[int, ...]:
    sides = tuple(shape) if isinstance(shape, list | tuple) else ()
    if not sides:
        raise ValueError(f"shape must be that of one image, (H, W, C); got {shown(shape)}.")
    return tuple(check_count("shape", side) for side in sides)
