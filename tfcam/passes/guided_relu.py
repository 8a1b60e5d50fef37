"""Gated ReLUs: a gradient override map around a traced forward pass, and what it gated.

Springenberg et al. 2015, "Striving for Simplicity", section 3.4: "guided" lets back only positive
gradients, and only where the ReLU let its input through; "deconvnet" (Zeiler and Fergus 2014) lets
back every positive gradient, wherever it came from. The forward pass is unchanged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

Rule = Literal["guided", "deconvnet"]


_MAXIMA = ("MaxPool", "MaxPoolV2", "MaxPool3D", "MaxPoolWithArgmax", "Max")


_LIMIT = {"Relu": float("inf"), "Relu6": 6.0}


def _is_activation(operation: tf.Operation) -> bool:
    """Not the ReLU inside another activation: PReLU's relu(-x), hard sigmoid's relu6(x + 3)."""
    source = operation.inputs[0].op
    if source.type == "Neg":
        return False
    if operation.type == "Relu6" and source.type in ("Add", "AddV2"):
        constants = (tf.get_static_value(tensor) for tensor in source.inputs)
        return not any(value is not None and (value == 3).all() for value in constants)
    return True


def _guided(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    output = operation.outputs[0]
    gate = (output > 0) & (output < tf.cast(_LIMIT[operation.type], output.dtype))
    if _is_activation(operation):
        gate &= gradient > 0
    return tf.where(gate, gradient, tf.zeros_like(gradient))


def _deconvnet(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(gradient) if _is_activation(operation) else _guided(operation, gradient)


_OVERRIDES = {
    rule: {kind: f"Tfcam_{rule}_{kind}" for kind in _LIMIT} for rule in ("guided", "deconvnet")
}


for _rule, _function in (("guided", _guided), ("deconvnet", _deconvnet)):
    for _name in _OVERRIDES[_rule].values():
        # The registry is the process's own, and takes a name only once: a reload must not fail.
        with contextlib.suppress(KeyError):
            tf.RegisterGradient(_name)(_function)


@contextlib.contextmanager
def gated_relus(rule: Rule) -> Iterator[None]:
    """Mark the ReLUs that are traced inside; the tape must be outside of the traced function."""
    with tf.compat.v1.get_default_graph().gradient_override_map(_OVERRIDES[rule]):
        yield


@dataclass(frozen=True)
class Gates:
    """What decides which gradients of a traced forward pass get back.

    Attributes:
        gated: Number of ReLUs that are gated.
        unreached: Number of those that could not be reached.
        maxima: Number of operations that pass a maximum on.
    """

    gated: int = 0
    unreached: int = 0
    maxima: int = 0


def count_gates(graph: tf.Graph) -> Gates:
    """Count the gated ReLUs of a traced forward pass, and its maxima."""
    operations = graph.get_operations()
    gated = [operation for operation in operations if operation.type in _LIMIT]
    inner = [node.op for f in graph.as_graph_def().library.function for node in f.node_def]
    maxima = sum(operation.type in _MAXIMA for operation in operations)
    return Gates(sum(map(_is_activation, gated)), sum(op in _LIMIT for op in inner), maxima)


def check_gates(gates: Gates, name: str) -> None:
    """Refuse to call a plain gradient a gated one.

    Raises:
        ValueError: If no ReLU is gated, or some are out of reach.
    """
    if gates.unreached:
        raise ValueError(
            f"Guided backpropagation and deconvnet must reach every ReLU; {gates.unreached} of "
            f"{name!r} are "
            "inside a tf.function of their own. Remove that decorator, or use another method."
        )
    if not gates.gated:
        raise ValueError(
            f"Guided backpropagation and deconvnet gate ReLUs, and {name!r} has none: its "
            "activations are of another kind, such as swish or GELU. Use 'grad_cam' or another "
            "method."
        )
