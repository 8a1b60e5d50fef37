"""Texts as numbers: which inputs are of them, and which number stands for nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from tfcam.model.call_graph import CallGraph
from tfcam.model.tree import ModelTree


def mark_texts(tree: ModelTree, structure: Any, calls: Callable[[int], CallGraph]) -> Any:
    """The inputs of a model, those of numbers that have embeddings as whole numbers.

    An input is of floats where nobody says otherwise.

    Args:
        tree: The model.
        structure: Its inputs in the structure in which it takes them.
        calls: What the model calls, as seen from each of its inputs.
    """
    if not any(isinstance(each, keras.layers.Embedding) for each in tree.operations):
        return structure
    inputs = tf.nest.flatten(structure)
    for which, taken in enumerate(inputs):
        floats = len(taken.shape) == 1 and not taken.is_text
        if floats and calls(which).embedding is not None:
            inputs[which] = replace(taken, dtype="int32")
    return tf.nest.pack_sequence_as(structure, inputs)


def find_words(calls: CallGraph) -> int:
    """Find which of several texts holds the words: that with the largest table of embeddings."""
    sizes = {0: 0}
    for call in calls.calls:
        if isinstance(call.operation, keras.layers.Embedding):
            taken = calls.sources.get((*call.inputs, "")[0], ())
            # A table that is used backwards, to name the next word, takes what comes from all.
            for number in taken if len(taken) == 1 else ():
                sizes[number] = max(sizes.get(number, 0), int(call.operation.input_dim))
    return max(sizes, key=lambda number: sizes[number])


def tokenizer_of(model: Any) -> Any:
    """The tokenizer that a task of KerasHub brings along; None where there is none."""
    tokenizer = getattr(getattr(model, "preprocessor", None), "tokenizer", None)
    return tokenizer if callable(tokenizer) else None


def padding_of(model: Any) -> int:
    """The number that fills texts up: that of the model's own tokenizer, else 0."""
    return int(getattr(tokenizer_of(model), "pad_token_id", None) or 0)


def blank_of(model: Any) -> int:
    """The number of the token that stands for nothing: the mask's, else the padding's, else 0."""
    tokenizer = tokenizer_of(model)
    numbers = (getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "pad"))
    return next((int(number) for number in numbers if number is not None), 0)
