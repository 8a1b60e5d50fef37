"""Gated ReLUs: the walk back through a traced forward pass, and what it gates.

Springenberg et al. 2015, "Striving for Simplicity", section 3.4: "guided" lets back only positive
gradients, and only where the ReLU let its input through; "deconvnet" (Zeiler and Fergus 2014) lets
back every positive gradient, wherever it came from. The forward pass is that of all other methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import tensorflow as tf

from tfcam.passes.loss_scaling import HALF_SCALE, unscaled
from tfcam.passes.reading import Need
from tfcam.passes.requirements import NoGradientError, no_gradient
from tfcam.passes.rescale_rules import is_linear
from tfcam.passes.traced_walk import has_slope, operations_between, reached, slopes_of

Rule = Literal["guided", "deconvnet"]

_RULES: dict[Need, Rule] = {
    Need.GUIDED_GRADIENTS: "guided",
    Need.DECONVNET_GRADIENTS: "deconvnet",
}
_RELUS = ("Relu", "Relu6")


def _is_activation(operation: tf.Operation) -> bool:
    """Not the ReLU inside another activation: PReLU's relu(-x), hard sigmoid's relu6(x + 3)."""
    source = operation.inputs[0].op
    if source.type == "Neg":
        return False
    if operation.type == "Relu6" and source.type in ("Add", "AddV2"):
        constants = (tf.get_static_value(tensor) for tensor in source.inputs)
        return not any(value is not None and (value == 3).all() for value in constants)
    return True


def gated_gradients(rule: Rule, scores: tf.Tensor, images: tf.Tensor, half: bool) -> tf.Tensor:
    """Find the gradient of traced scores by the images, through gated ReLUs.

    Args:
        rule: What a ReLU lets back.
        scores: (B,) of the graph that is being traced.
        images: (B, H, W, C), which they depend on.
        half: Whether a layer computes in float16.

    Returns:
        (B, H, W, C) float32.

    Raises:
        NoGradientError: If no gradient gets to the images.
    """

    def slopes(scale: float) -> dict[int, tf.Tensor]:
        given = scale * tf.ones_like(scores)
        found = reached([scores], images, [given], partial(_step, rule), images)
        if found is None:
            raise NoGradientError(no_gradient("the model's input"))
        return {0: tf.cast(found, tf.float32)}

    return (unscaled(slopes(HALF_SCALE), lambda: slopes(1.0)) if half else slopes(1.0))[0]


def is_blind(ends: Sequence[tf.Tensor], images: tf.Tensor) -> bool:
    """Tell whether deconvnet's gradient of traced values is the same for all images.

    It is where all but the ReLUs, of which it lets back whatever is positive, is linear.
    """
    way = operations_between(images, ends)
    moving = {images.ref(), *(output.ref() for operation in way for output in operation.outputs)}
    return all(
        _is_gated(operation)
        or operation.type == "StopGradient"
        or is_linear(operation, [each for each in operation.inputs if each.ref() in moving])
        for operation in way
    )


def _step(
    rule: Rule,
    operation: tf.Operation,
    inputs: Sequence[tf.Tensor],
    given: Sequence[tf.Tensor],
) -> list[tf.Tensor | None]:
    """A ``StepRule``."""
    if _is_gated(operation):
        given = [tf.nn.relu(given[0])]
        if rule == "deconvnet":
            return list(given)
    slopes = iter(slopes_of(operation, list(filter(has_slope, inputs)), given))
    return [next(slopes) if has_slope(tensor) else None for tensor in inputs]


def _is_gated(operation: tf.Operation) -> bool:
    return operation.type in _RELUS and _is_activation(operation)


@dataclass(frozen=True)
class Gates:
    """What decides which gradients of a traced forward pass get back.

    Attributes:
        gated: Number of ReLUs that are gated.
        unreached: Number of those that could not be reached.
    """

    gated: int = 0
    unreached: int = 0


def count_gates(graph: tf.Graph) -> Gates:
    """Count the gated ReLUs of a traced forward pass."""
    gated = sum(map(_is_gated, graph.get_operations()))
    inner = [node.op for f in graph.as_graph_def().library.function for node in f.node_def]
    return Gates(gated, sum(op in _RELUS for op in inner))


def open_gates(needs: Need, images: tf.Tensor, name: str) -> tuple[list[Rule], Gates]:
    """List the rules whose gradients are needed, and count what they gate.

    Args:
        needs: What is read.
        images: What a forward pass started with that was just traced.
        name: The network's.

    Raises:
        ValueError: If there is no ReLU to gate, or one that can't be reached.
    """
    rules = [rule for need, rule in _RULES.items() if need in needs]
    if not rules:
        return [], Gates()
    gates = count_gates(images.graph)
    check_gates(gates, name)
    return rules, gates


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
