"""What a probe asks of a model: compiled for full batches, once for all its probes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.engine.freezing import frozen_once
from tfcam.model.graph import ModelGraph
from tfcam.model.hooks import LOCK
from tfcam.passes.outputs import are_probabilities
from tfcam.passes.submodel import SubModel


def asked(
    graph: ModelGraph,
    compile_for: Callable[[int], Callable[..., Any]],
    sizes: Collection[int],
    freeze: bool,
) -> Callable[[int], Callable[..., Any]]:
    """Give what asks the model for batches of each size: compiled when it is first wanted.

    Args:
        graph: What is known of the model.
        compile_for: Compiles it for a number of images of a batch.
        sizes: These numbers.
        freeze: Whether the weights are built into it, as they are now.
    """
    if not freeze:
        return functools.cache(compile_for)
    functions = frozen_once(graph, map(compile_for, sizes))
    return dict(zip(sizes, functions, strict=True)).__getitem__


def compiled(
    submodel: SubModel, classes: bool, only: bool, examples: Sequence[np.ndarray], size: int
) -> Callable[..., Any]:
    """Compile the model for one batch, once for all probes that ask it for the same.

    Args:
        submodel: The model opened at no layer.
        classes: Whether a class is explained.
        only: Whether nothing else is.
        examples: Examples of the inputs, (n, ...) each.
        size: The number of images of a batch.
    """

    def function(images: tf.Tensor, *others: tf.Tensor) -> Any:
        outputs, _ = submodel.beside(others).forward(images)
        if not classes:
            return tf.zeros((size, 0)), tf.ones((size, 1), tf.bool), outputs.scores
        values = tf.cast(outputs.class_values, tf.float32)
        likely = are_probabilities(outputs) | outputs.is_unit
        return values, likely, None if only else outputs.scores

    specs = [tf.TensorSpec((size, *example.shape[1:]), example.dtype) for example in examples]
    with LOCK:
        return submodel.traced((size, classes, only), tf.function(function, autograph=False), specs)


def filled_up(rows: np.ndarray, size: int) -> np.ndarray:
    """Repeat the last of some rows until they are so many."""
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows
