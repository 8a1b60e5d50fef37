"""The modes of preprocessing, and which of them fits a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfcam.model.graph import ModelGraph
from tfcam.preprocessing.names import MODE_OF, MODES, check_preprocess

Preprocess = str | Callable[[np.ndarray], Any] | None


# What keras.applications' preprocess_input begins with in a graph, on pixels of 0..255; what may
# as well be arithmetic on pixels of 0..1, such as 2 x - 1, says nothing.
_ARITHMETIC = ("Divide", "TrueDivide", "GetItem")


_UNCLEAR = ("Add", "Lambda", "Multiply", "Subtract")


@dataclass(frozen=True)
class Preprocessing:
    """How pixels of 0..255 become the model's input.

    Attributes:
        function: (B, H, W, C) float32 in 0..255 -> the model's input.
        description: What it does and why this one, in words.
        bgr: Whether it turns the channels round.
    """

    function: Callable[[np.ndarray], Any]
    description: str
    bgr: bool = False


def choose_preprocessing(
    graph: ModelGraph, preprocess: Preprocess, which: int = 0
) -> Preprocessing:
    """Find out how a model wants its pictures, or say that it must be told.

    Args:
        graph: What is known of the model.
        preprocess: "auto", a mode ("raw", "unit", "tf", "torch", "caffe"), the name of a family
            of keras.applications, a callable, or None where the input is already prepared.
        which: Which of the model's inputs is prepared.

    Raises:
        ValueError: If the name is unknown, or "auto" can't be answered.
    """
    if preprocess is None:
        return Preprocessing(lambda pixels: pixels, "none: taken as already prepared")
    if callable(preprocess):
        return Preprocessing(preprocess, f"{function_name(preprocess)}, as given")
    if check_preprocess(preprocess) != "auto":
        return _mode(MODE_OF[preprocess], "as given")
    told = _told(graph, which)
    if told is not None:
        return told
    hint = graph.similar_family
    raise ValueError(
        f"How {graph.name!r} wants its pictures can't be read from it: it is no keras.applications "
        "network by name and has no Rescaling or Normalization. Pass preprocess='unit' (0..1), "
        "'tf' (-1..1), 'torch', 'caffe', 'raw' (0..255), a callable, or None if already prepared."
        + (f" Its layers are named as in {hint.name!r} ({MODES[hint.mode]})." if hint else "")
    )


def _mode(mode: str, reason: str) -> Preprocessing:
    def function(pixels: np.ndarray) -> np.ndarray:
        if mode in ("raw", "unit"):
            return pixels if mode == "raw" else pixels / np.float32(255)
        if mode != "tf" and pixels.shape[-1] != 3:
            raise ValueError(
                f"preprocess={mode!r} is for three channels; the model takes {pixels.shape[-1]}. "
                "Pass 'unit', 'tf', 'raw' or a callable."
            )
        return keras.applications.imagenet_utils.preprocess_input(pixels, "channels_last", mode)

    return Preprocessing(function, f"{MODES[mode]}, {reason}", mode == "caffe")


def _told(graph: ModelGraph, which: int) -> Preprocessing | None:
    """The range that the model takes, as its first operations or else its family tell."""
    for operation in graph.input_operations(which):
        kind = type(operation).__name__
        if kind == "Rescaling":
            # A factor above 1 takes pixels of 0..1 up; a small one takes those of 0..255 down.
            factor = np.max(operation.scale)
            if 0.1 < factor <= 1:
                return None
            return _mode("unit" if factor > 1 else "raw", "Rescaling is inside")
        if kind == "Normalization":
            mean = np.max(keras.ops.convert_to_numpy(operation.mean))
            if mean > 0:
                return _mode("unit" if mean <= 1 else "raw", "Normalization is inside")
            return None
        if kind in _ARITHMETIC:
            return _mode("raw", "its input is scaled inside")
        if kind in _UNCLEAR:
            return None
        if getattr(operation, "weights", None):
            break
    family = graph.family
    if family is None:
        return None
    return _mode(family.bare or family.mode, f"as {family.name} was trained")


def function_name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
