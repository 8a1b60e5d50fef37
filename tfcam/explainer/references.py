"""What targets say of texts: those that they compare with, and the words that they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.engine.opened_model import OpenedModel
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.others import prepare_others
from tfcam.preprocessing.prepare import Prepared, prepare
from tfcam.preprocessing.texts import ReadText
from tfcam.targets.by_value import single_tensor
from tfcam.targets.similarity import Similarity
from tfcam.targets.tagging import Tag


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
    outputs = outputs_of(opened, replace(prepared, others=tuple(beside)), output)
    return Similarity(single_tensor(outputs, "Similarity", "(B, D)", (2, 3, 4)).numpy())


def with_words(
    target: Any,
    texts: Sequence[Any],
    outputs: Callable[[int], Any],
    several: bool = False,
) -> Any:
    """Put the position of a word, and its tag, in the place of the word that a ``Tag`` names.

    Args:
        target: As a user gives it; a list has one for each text, or several of one text.
        texts: Each as it was read, or (L,) numbers.
        outputs: Gives what the model returns for one of the texts, (1, L, tags).
        several: Whether a list holds targets of one text.

    Raises:
        ValueError: If a text has no such word.
    """
    if isinstance(target, Tag) and len(texts) > 1:
        target = [target] * len(texts)
    if isinstance(target, list | tuple) and any(isinstance(one, Tag) for one in target):
        numbers = [0] * len(target) if several else range(len(texts))
        if len(numbers) != len(target):
            return target
        pairs = zip(target, numbers, strict=True)
        return [_placed(one, texts[number], number, outputs) for one, number in pairs]
    return _placed(target, texts[0], 0, outputs) if texts else target


def _placed(target: Any, text: Any, number: int, outputs: Callable[[int], Any]) -> Any:
    if not isinstance(target, Tag) or target.place is not None:
        return target
    if isinstance(text, ReadText):
        found = target.at(text.words, text.owners.tolist())
    else:
        values = np.asarray(text)
        found = target.at(list(map(str, values.tolist())), range(len(values)))
    if found.target is not None:
        return found
    return replace(found, target=int(np.argmax(found.scores(outputs(number))[0])))


def outputs_of(opened: OpenedModel, prepared: Prepared, output: str | int | None) -> Any:
    """What the model returns for prepared texts, before its softmax."""
    submodel = opened.bare(output).beside(list(map(tf.constant, prepared.others)))
    return submodel.forward(tf.constant(prepared.inputs)).outputs.scores
