"""A traced function with the weights in it: what it computes can be folded together beforehand."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfcam.engine.folding import folded, function_of
from tfcam.model.graph import ModelGraph
from tfcam.model.hooks import LOCK
from tfcam.utils.digest import digest_arrays
from tfcam.utils.recent import Recent

# So many functions of a model are kept frozen: each holds its weights once more.
_KEPT = 2


def frozen(concrete: Any) -> Callable[..., Any]:
    """Freeze a traced function: its variables become constants, of the values that they have now.

    Convolutions are folded together with their normalisations; on a CPU, TensorFlow joins them
    with their activations too.

    Args:
        concrete: A ``tf.function`` traced for tensors.

    Returns:
        What takes the same tensors and returns the same structure.

    Example:
        >>> weight = tf.Variable(2.0)
        >>> double = tf.function(lambda x: weight * x)
        >>> fixed = frozen(double.get_concrete_function(tf.TensorSpec([])))
        >>> _ = weight.assign(3.0)
        >>> float(fixed(tf.constant(5.0)))
        10.0
    """
    # Tables are filled already: what did so is of no use here, and TensorFlow can't write it down.
    concrete.graph.clear_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)
    try:
        constant = convert_variables_to_constants_v2(concrete)
    except ValueError:  # of the gradient of a loop, as of a recurrent layer
        return with_copies(concrete)
    # Called as it is, TensorFlow first tries another signature, and prints every tensor for it.
    function = function_of(folded(constant), constant.inputs, constant.outputs)
    captured = {inside.name: outside for outside, inside in concrete.graph.captures}
    # What is no variable, such as a table, stays a value from outside.
    others = [captured[tensor.name] for tensor in constant.inputs if tensor.name in captured]
    numbers = itertools.count()
    places = tf.nest.map_structure(
        lambda leaf: None if leaf is None else next(numbers), concrete.structured_outputs
    )

    def call(*tensors: tf.Tensor) -> Any:
        results = function(*tensors, *others)
        # Keras's, as it is ten times as fast as TensorFlow's.
        return keras.tree.map_structure(lambda n: None if n is None else results[n], places)

    return call


def with_copies(concrete: Any) -> Callable[..., Any]:
    """Let a traced function read copies of its variables, of the values that they have now.

    Args:
        concrete: A ``tf.function`` traced for tensors; it reads the copies from now on.

    Returns:
        The same. Its copies are in ``copies``.
    """
    copies = {id(each.handle): tf.Variable(each, trainable=False) for each in concrete.variables}

    def captured(tensor: tf.Tensor) -> tf.Tensor:
        return copies[id(tensor)].handle if id(tensor) in copies else tensor

    concrete.set_external_captures(list(map(captured, concrete.captured_inputs)))
    concrete.copies = list(copies.values())
    return concrete


def frozen_once(graph: ModelGraph, traced: Iterable[Any]) -> list[Callable[..., Any]]:
    """Freeze what was traced of a model, each once until its weights change.

    A black box is left as it is, and so are replicas, which hold variables of their own.

    Args:
        graph: What is known of the model.
        traced: Traced functions, the same each time.
    """
    strategy = getattr(graph.model, "distribute_strategy", None)
    if graph.is_black_box or getattr(strategy, "num_replicas_in_sync", 1) > 1:
        return list(traced)
    kept: Recent[Any] = graph.once("frozen", lambda: Recent(_KEPT))
    weights = digest_arrays(*map(np.asarray, graph.model.variables))
    with LOCK:
        return [kept.get((each, weights), functools.partial(frozen, each)) for each in traced]
