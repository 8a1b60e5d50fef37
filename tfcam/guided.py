"""Guided ReLUs: a gradient override map around a traced forward pass, and what it gated.

Springenberg et al. 2015, "Striving for Simplicity", section 3.4: where a ReLU lets its input
through, guided backpropagation lets only positive gradients back. The forward pass is unchanged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

_GUIDED = {"Relu": "TfcamGuidedRelu", "Relu6": "TfcamGuidedRelu6"}
_LIMIT = {"Relu": float("inf"), "Relu6": 6.0}


def _is_activation(operation: tf.Operation) -> bool:
    """Not the ReLU inside another activation: PReLU's relu(-x), hard sigmoid's relu6(x + 3)."""
    source = operation.inputs[0].op
    if source.type == "Neg":
        return False
    if operation.type == "Relu6" and source.type in ("Add", "AddV2"):
        constants = (tf.get_static_value(each) for each in source.inputs)
        return not any(value is not None and (value == 3).all() for value in constants)
    return True


def _guided_relu(operation: tf.Operation, gradient: tf.Tensor) -> tf.Tensor:
    output = operation.outputs[0]
    gate = (output > 0) & (output < tf.cast(_LIMIT[operation.type], output.dtype))
    if _is_activation(operation):
        gate &= gradient > 0
    return tf.where(gate, gradient, tf.zeros_like(gradient))


for _name in _GUIDED.values():
    # The registry is the process's own, and takes a name only once: a reload must not fail.
    with contextlib.suppress(KeyError):
        tf.RegisterGradient(_name)(_guided_relu)


@contextlib.contextmanager
def guided_relus() -> Iterator[None]:
    """Mark the ReLUs that are traced inside; the tape must be outside of the traced function."""
    with tf.compat.v1.get_default_graph().gradient_override_map(_GUIDED):
        yield


@dataclass(frozen=True)
class Gates:
    """How many ReLUs of a traced forward pass are guided, and how many could not be reached."""

    guided: int
    unreached: int


def count_gates(graph: tf.Graph) -> Gates:
    """Count the guided ReLUs of a traced forward pass."""
    guided = [each for each in graph.get_operations() if each.type in _GUIDED]
    inner = [node.op for f in graph.as_graph_def().library.function for node in f.node_def]
    return Gates(sum(map(_is_activation, guided)), sum(op in _GUIDED for op in inner))


def check_gates(gates: Gates, name: str) -> None:
    """Refuse to call a plain gradient guided.

    Raises:
        ValueError: If no ReLU is guided, or some are out of reach.
    """
    if gates.unreached:
        raise ValueError(
            f"Guided backpropagation must reach every ReLU; {gates.unreached} of {name!r} are "
            "inside a tf.function of their own. Remove that decorator, or use another method."
        )
    if not gates.guided:
        raise ValueError(
            f"Guided backpropagation gates ReLUs, and {name!r} has none: its activations are of "
            "another kind, such as swish or GELU. Use 'grad_cam' or another method."
        )
