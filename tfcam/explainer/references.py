"""Texts that targets compare with, embedded by the model that is explained."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfcam.engine.opened_model import OpenedModel
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.prepare import prepare, prepare_others
from tfcam.targets.by_value import single_tensor
from tfcam.targets.similarity import Similarity


def with_embeddings(
    target: Any, opened: OpenedModel, preprocess: Preprocess, output: str | int | None
) -> Any:
    """Put the embedding of a text in the place of the text that a ``Similarity`` compares with.

    Args:
        target: As a user gives it; a list is of several.
        opened: The model that is explained, which embeds the text, too.
        preprocess: What turns strings into the model's inputs.
        output: Which output is explained.

    Raises:
        ValueError: If the model takes no strings.
    """
    if type(target) in (list, tuple):
        return type(target)(with_embeddings(one, opened, preprocess, output) for one in target)
    if not isinstance(target, Similarity) or not target.is_text:
        return target
    text = opened.strings([target.reference], preprocess)
    read, others = opened.split(text, preprocess) if text else ([], [])
    if not text or not opened.input.is_text or isinstance(read[0], str):
        raise ValueError(
            f"A reference that is a text is for models of strings; {opened.graph.name!r} takes "
            "none. Give its embedding, (D,), or preprocess=, a function of a list of strings."
        )
    prepared = prepare(opened.graph, read, preprocess, opened.which)
    beside = prepare_others(opened.graph, others, opened.which, 1, preprocess)
    submodel = opened.bare(output).beside([tf.constant(values) for values in beside])
    outputs = submodel.forward(tf.constant(prepared.inputs)).outputs.scores
    return Similarity(single_tensor(outputs, "Similarity", "(B, D)", (2, 3, 4)).numpy())
