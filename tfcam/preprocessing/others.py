"""The inputs beside the one that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcam.model.given import split_batch
from tfcam.model.graph import ModelGraph
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.prepare import prepare
from tfcam.preprocessing.text_readers import find_reader, strings_in


def prepare_others(
    graph: ModelGraph,
    values: Sequence[Any],
    which: int,
    count: int,
    preprocess: Preprocess,
) -> list[np.ndarray]:
    """The inputs that are not explained, (count, ...) each: pictures prepared, all else as given.

    A callable is for pictures where a picture is explained, else for the explained input alone.

    Args:
        graph: What is known of a model with several inputs.
        values: What is given for each of the others, with or without the batch axis.
        which: Which of the model's inputs is explained.
        count: Number of examples.
        preprocess: A mode, a family's name, a callable, "auto" or None.

    Raises:
        ValueError: If a value has another shape than its input.
    """
    if not values:
        return []
    known = graph.inputs
    numbers = [number for number in range(len(known)) if number != which]
    if callable(preprocess) and not known[which].is_image:
        preprocess = "auto"
    prepared = []
    for number, value in zip(numbers, values, strict=True):
        taken, how = known[number], preprocess if known[number].is_image else None
        if taken.behind is not None and (texts := strings_in(value, pairs=False)) is not None:
            prepared.append(_beside(graph, number, texts, count))
            continue
        batch = split_batch(value, taken)
        examples = [value] * count if batch is None else batch
        _check_count(taken.name, len(examples), count)
        prepared.append(prepare(graph, examples, how, number).inputs)
    return prepared


def _beside(graph: ModelGraph, number: int, texts: Any, count: int) -> np.ndarray:
    """The numbers of strings that are given beside what is explained."""
    strings = texts if isinstance(texts, list) else [texts] * count
    _check_count(graph.inputs[number].name, len(strings), count)
    reader = find_reader(graph, number, "auto", strings[0])
    assert reader is not None  # it has a layer of strings
    return reader.encode(strings)[0]


def _check_count(name: str, found: int, count: int) -> None:
    if found != count:
        raise ValueError(
            f"All inputs must be of as many examples; {name!r} has {found}, "
            f"the explained one {count}."
        )
