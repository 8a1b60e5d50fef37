"""Models that take strings: the layer inside that turns them into numbers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfcam.model.call_graph import CallGraph
from tfcam.model.tree import ModelTree


class Vectorization(NamedTuple):
    """The layer that turns the strings that a model takes into whole numbers.

    Attributes:
        layer: Gives the layer, and does not keep it alive.
        length: The number of positions that it gives; None where that is the text's own.
        which: Which of the model's inputs are the strings.
        sides: The axes of that input behind the batch: () or (1,).
    """

    layer: Callable[[], Any]
    length: int | None
    which: int
    sides: tuple[int, ...]


def takes_strings(tree: ModelTree) -> bool:
    """Whether a model takes strings."""
    inputs = getattr(tree.model, "inputs", None)
    if inputs:
        return any(one.dtype == "string" for one in inputs)
    return bool(_vectorizations(tree))


def find_vectorization(tree: ModelTree, shapes: Sequence[tuple[Any, ...]]) -> Vectorization:
    """Find the layer that turns the strings that a model takes into whole numbers.

    Args:
        tree: The model.
        shapes: Of its inputs, without the batch.

    Raises:
        ValueError: If there is none, there are several, or what it gives has no positions.
    """
    found = _vectorizations(tree)
    inputs = getattr(tree.model, "inputs", None)
    strings = [n for n, one in enumerate(inputs or ()) if one.dtype == "string"]
    if len(found) != 1 or len(strings) > 1:
        raise ValueError(
            "A model of strings is explained where one TextVectorization stands behind one input "
            f"of them; {tree.name!r} has {len(found)} behind {len(strings)}. Explain the network "
            "behind it: tfcam.explain(network, text, preprocess=function), with a function of "
            "strings that gives the numbers."
        )
    (layer,) = found
    config = layer.get_config()
    if config["output_mode"] != "int" or config["ragged"]:
        raise ValueError(
            "A text is explained word by word, for which its TextVectorization must give a number "
            f"for each word: output_mode='int', not ragged; {layer.name!r} of {tree.name!r} has "
            f"output_mode={config['output_mode']!r}, ragged={config['ragged']}."
        )
    which = strings[0] if strings else 0
    sides = tuple(side or 1 for side in shapes[which])
    return Vectorization(weakref.ref(layer), config["output_sequence_length"], which, sides)


def _vectorizations(tree: ModelTree) -> list[Any]:
    unique = {id(operation): operation for operation in tree.operations}
    return [each for each in unique.values() if isinstance(each, keras.layers.TextVectorization)]


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
            for number in calls.sources.get((*call.inputs, "")[0], ()):
                sizes[number] = max(sizes.get(number, 0), int(call.operation.input_dim))
    return max(sizes, key=lambda number: sizes[number])


def tokenizer_of(model: Any) -> Any:
    """The tokenizer that a task of KerasHub brings along; None where there is none."""
    tokenizer = getattr(getattr(model, "preprocessor", None), "tokenizer", None)
    return tokenizer if callable(tokenizer) else None


def blank_of(model: Any) -> int:
    """The number of the token that stands for nothing: the mask's, else the padding's, else 0."""
    tokenizer = tokenizer_of(model)
    numbers = (getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "pad"))
    return next((int(number) for number in numbers if number is not None), 0)
