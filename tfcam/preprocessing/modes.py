"""The modes of preprocessing, and which of them fits a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from tfcam.images.window import Window
from tfcam.model.applications import Family, find_family
from tfcam.model.graph import ModelGraph, graph_of
from tfcam.model.stem import Arrival
from tfcam.preprocessing.attached import image_converter
from tfcam.preprocessing.names import MODE_OF, MODES, check_preprocess

Preprocess = str | Callable[[np.ndarray], Any] | Window | None


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
    if isinstance(preprocess, Window):
        chosen = choose_preprocessing(graph, preprocess.preprocess, which)
        return replace(chosen, description=preprocess.described + chosen.description)
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
        "network by name, and no scaling was found in front of its first weights. Pass "
        "preprocess='unit' (0..1), 'tf' (-1..1), 'torch', 'caffe', 'raw' (0..255), a callable, or "
        "None if already prepared."
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
    """The range that the model takes: what its first weights or its networks are to be given."""
    if "int" in graph.inputs[which].dtype:
        return _mode("raw", "it takes whole numbers")
    converter = image_converter(graph.model)
    if converter is not None:
        return Preprocessing(converter, f"{converter.name}, as its own preprocessor has it")
    stem = graph.stem(which)
    told = [_wanted(graph, arrival, stem.scaling) for arrival in stem.arrivals]
    modes = {mode for mode, _ in told}
    if len(modes) > 1:
        wants = " and ".join(
            sorted(MODES[mode] if mode else "what can't be told" for mode in modes)
        )
        raise ValueError(
            f"{graph.name!r} gives one input to several networks that want it in different ways: "
            f"{wants}. Pass preprocess='raw' (0..255), 'unit' (0..1), 'tf' (-1..1), 'torch', "
            "'caffe', a callable, or None if already prepared: as it was trained."
        )
    if not told:
        family = graph.own_family
        return None if family is None else _mode(*_of_family(family, False))
    (mode, reason), *_ = told
    return None if mode is None else _mode(mode, reason)


def _wanted(graph: ModelGraph, arrival: Arrival, scaling: str | None) -> tuple[str | None, str]:
    """The mode in which pictures must come for what is reached inside, and why."""
    network = arrival.network and arrival.network()
    family = graph.family if network is None else find_family([network])
    reason = f"{scaling} is inside" if scaling else "its input is scaled inside"
    scale = arrival.scale
    if scale is None:
        return None, ""
    if not scale.is_identity:
        return scale.takes, reason
    if family is None or scale.turned:
        return None, ""
    return _of_family(family, network is not None and _scales(network))


def _scales(network: Any) -> bool:
    """Whether a network of keras.applications scales pixels itself, as the newer ones may."""
    scales = [arrival.scale for arrival in graph_of(network).stem().arrivals]
    return any(scale is not None and not scale.is_identity for scale in scales)


def _of_family(family: Family, scales: bool) -> tuple[str, str]:
    return family.mode if scales else family.bare or family.mode, f"as {family.name} was trained"


def function_name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
