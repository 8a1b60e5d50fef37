"""How a model's output comes about: by a softmax, a sigmoid, or a linear layer.

Read from Keras's graph where that tells it, and else from the operations of a trace. Values, which
may look like probabilities by chance, decide only where neither can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfcam.model.call_graph import Ending
from tfcam.model.functional_graph import UntoldError, plain_graph

BOUNDED: tuple[Ending, ...] = ("softmax", "sigmoid", "probability")
_OWN = "keras.src."
_WITH_KERNEL = frozenset({"Dense", "EinsumDense", "DepthwiseConv1D", "DepthwiseConv2D"})
_WITH_KERNEL |= {f"Conv{d}D" for d in (1, 2, 3)} | {f"Conv{d}DTranspose" for d in (1, 2, 3)}
_WITH_KERNEL |= {f"SeparableConv{d}D" for d in (1, 2)}
# What hands on the same numbers, in another shape or dtype.
_SAME = frozenset({"Reshape", "Flatten", "Permute", "Squeeze", "ExpandDims", "Transpose", "Cast"})
_SAME |= {"Identity", "ActivityRegularization", "GaussianNoise"}
_SAME |= {"Dropout", "AlphaDropout", "GaussianDropout"}
_SAME |= {f"SpatialDropout{d}D" for d in (1, 2, 3)}
# What takes means of the same numbers: of logits it makes logits, of probabilities probabilities.
_MEANS = frozenset({"Average", "Mean", "Resizing"})
_MEANS |= {f"{kind}{d}D" for d in (1, 2, 3) for kind in ("UpSampling", "AveragePooling")}
_MEANS |= {f"GlobalAveragePooling{d}D" for d in (1, 2, 3)}
_ACTIVATIONS: dict[str, Ending] = {
    "softmax": "softmax",
    "sigmoid": "sigmoid",
    "hard_sigmoid": "probability",
}


@dataclass(frozen=True, eq=False)
class _Frame:
    """A functional model whose graph is walked, and what it was given by the one around it."""

    nodes: dict[int, Any]
    given: dict[int, Any]
    outer: _Frame | None


def read_ending(model: Any, output: Any) -> Ending | None:
    """Read from Keras's graph how an output comes about.

    Args:
        model: A functional or sequential model.
        output: One of its symbolic outputs.

    Returns:
        The ending; None where it is another.

    Raises:
        UntoldError: If code that is not Keras's own stands at the end.
    """
    return _ending(output, _frame(plain_graph(model)))


def _frame(graph: Any, given: Sequence[Any] = (), outer: _Frame | None = None) -> _Frame:
    nodes = [node for level in graph._nodes_by_depth.values() for node in level]
    made = {id(tensor): node for node in nodes if not node.is_input for tensor in node.outputs}
    return _Frame(made, dict(zip(map(id, graph.inputs), given, strict=False)), outer)


def _ending(tensor: Any, frame: _Frame) -> Ending | None:
    if id(tensor) in frame.given and frame.outer is not None:
        return _ending(frame.given[id(tensor)], frame.outer)
    node = frame.nodes.get(id(tensor))
    if node is None:
        return None
    operation, taken = node.operation, node.arguments.keras_tensors
    if hasattr(operation, "_nodes_by_depth") or isinstance(operation, keras.Model):
        graph = plain_graph(operation)
        place = [id(output) for output in node.outputs].index(id(tensor))
        return _ending(graph.outputs[place], _frame(graph, taken, frame))
    kind = type(operation)
    own = kind.__module__.startswith(_OWN) and "call" not in vars(operation)
    if not own or isinstance(operation, keras.layers.Lambda | keras.layers.TFSMLayer):
        raise UntoldError
    name = kind.__name__
    if name in ("Softmax", "Sigmoid", "HardSigmoid"):
        return _ACTIVATIONS["hard_sigmoid" if name == "HardSigmoid" else name.lower()]
    if name == "Activation" or name in _WITH_KERNEL:
        activation = operation.activation
        if not getattr(activation, "__module__", "").startswith(_OWN):
            raise UntoldError
        if activation is keras.activations.linear:
            return "linear" if name in _WITH_KERNEL else _ending(taken[0], frame)
        return _ACTIVATIONS.get(activation.__name__, "other")
    if name in _SAME:
        return _ending(taken[0], frame)
    if name in _MEANS:
        return _of_mean([_ending(each, frame) for each in taken])
    if name == "BatchNormalization":
        return "linear"
    return None


def _of_mean(endings: Sequence[Ending | None]) -> Ending | None:
    if all(ending == "linear" for ending in endings):
        return "linear"
    return "probability" if all(ending in BOUNDED for ending in endings) else None


_COPIES = ("Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "Transpose")
_PRODUCTS = ("MatMul", "BatchMatMulV2", "Conv2D", "Conv3D", "Einsum", "DepthwiseConv2dNative")
_SHIFTS = ("BiasAdd", "AddV2", "Sub", "Mul", "RealDiv")


def traced_ending(tensor: tf.Tensor) -> Ending | None:
    """Read from a traced graph how one of its tensors comes about; None where it is another way."""
    if not tf.is_symbolic_tensor(tensor):
        return None
    operation, shifted = tensor.op, False
    while True:
        if operation.type in ("Softmax", "Sigmoid"):
            return None if shifted else _ACTIVATIONS[operation.type.lower()]
        if operation.type in _PRODUCTS:
            return "linear"
        taken = list(operation.inputs)
        if operation.type in _SHIFTS:
            if operation.type != "RealDiv" and _is_fixed(taken[0].op):
                taken.reverse()
            if not _is_fixed(taken[1].op):
                return None
            shifted = True
        elif operation.type not in _COPIES:
            return None
        operation = taken[0].op


def _is_fixed(operation: tf.Operation) -> bool:
    """Whether an operation gives a constant or a weight."""
    while operation.type in _COPIES:
        operation = operation.inputs[0].op
    return operation.type in ("Const", "ReadVariableOp")
