"""Whether a model takes several examples at once, or only one."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfcam.model.class_code import is_foreign
from tfcam.model.graph import ModelGraph


def at_once(graph: ModelGraph, most: int) -> int:
    """How many examples a model is given at once: one where it takes no more.

    Code of one's own may be written for one. It is traced for two, once, unless all of it is
    Keras's own.

    Args:
        graph: What is known of the model.
        most: Number of examples that are computed at once at most.
    """
    if most > 1 and not graph.once("several", lambda: _is_plain(graph) or _takes_two(graph)):
        return 1
    return most


def _is_plain(graph: ModelGraph) -> bool:
    """Whether nothing in a model is written by others."""
    own = (keras.layers.Lambda, keras.layers.TFSMLayer)
    inside = (graph.model, *graph.operations)
    return all(is_foreign(type(each)) and not isinstance(each, own) for each in inside)


def _takes_two(graph: ModelGraph) -> bool:
    """Whether a model can be traced for two examples, and gives something of each."""
    if graph.is_black_box:
        return True
    pairs = []
    for taken in graph.inputs:
        spec = taken.spec(224)
        # A length is left open, as wherever texts of several are asked about.
        sides = taken.shape if len(taken.shape) == 1 else spec.shape[1:]
        pairs.append(tf.TensorSpec((2, *sides), spec.dtype))
    function = tf.function(lambda *values: graph.run(values), autograph=False)
    try:
        outputs = function.get_concrete_function(*pairs).outputs
    except Exception:  # whatever its code raises
        return False
    return all(output.shape.rank and output.shape[0] in (None, 2) for output in outputs)
