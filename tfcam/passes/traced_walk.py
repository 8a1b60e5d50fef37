"""A walk back over the graph that is being traced: from scores to images, by a rule for each step.

Inside a traced function the forward pass is a list of TensorFlow's operations. Going back through
them, a rule says what each input of an operation gets of what its outputs have: a multiplier, a
share. What it adds becomes part of the same graph; the model is neither copied nor changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.ops import get_gradient_function

# Their values are of shapes only, or the same whatever the input is.
_STILL = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"}

# Keras compiles a grouped convolution, so that it is a function of its own in the graph.
_FUNCTIONS = {"PartitionedCall", "StatefulPartitionedCall"}

# Their gradient is no function of one operation.
_FLOW = {*_FUNCTIONS, "While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}

_CONVOLUTIONS = {"Conv2D", "Conv3D"}
# What may stand beside them in such a function: it hands on values.
_BESIDE = {"ReadVariableOp", "Identity", "Const", "NoOp"}

# An operation, its inputs that depend on the images and what each output got -> what each of these
# inputs gets, None for nothing.
StepRule = Callable[
    [tf.Operation, Sequence[tf.Tensor], Sequence[tf.Tensor]], Sequence[tf.Tensor | None]
]


class NoRuleError(ValueError):
    """A rule does not know an operation on the way from images to scores."""


def walk_back(
    ends: Sequence[tf.Tensor],
    start: tf.Tensor,
    given: Sequence[tf.Tensor],
    rule: StepRule,
    until: tf.Tensor | None = None,
) -> tf.Tensor:
    """Carry values back from the ends of a traced pass to where it starts.

    Args:
        ends: Tensors of the graph that is being traced.
        start: A tensor that they depend on.
        given: What each end has, in its shape.
        rule: What the inputs of an operation get; it may refuse one with ``NoRuleError``.
        until: A tensor on the way, where it ends; None for the start.

    Returns:
        What that tensor got, in its shape; zeros where nothing of it reaches the ends.

    Example:
        >>> @tf.function
        ... def slope(x):
        ...     y = 3 * x + 1
        ...     return walk_back([y], x, [tf.ones_like(y)], gradients_of)
        >>> slope(tf.constant([2.0])).numpy()
        array([3.], dtype=float32)
    """
    until = start if until is None else until
    found = reached(ends, start, given, rule, until)
    return tf.zeros_like(until) if found is None else found


def reached(
    ends: Sequence[tf.Tensor],
    start: tf.Tensor,
    given: Sequence[tf.Tensor],
    rule: StepRule,
    until: tf.Tensor,
) -> tf.Tensor | None:
    """Carry values back as ``walk_back`` does; None where nothing gets to ``until``."""
    way = operations_between(start, ends)
    moving = {start.ref(), *(output.ref() for operation in way for output in operation.outputs)}
    got: dict[object, tf.Tensor] = {}

    def add(tensor: tf.Tensor, value: tf.Tensor) -> None:
        known = got.get(tensor.ref())
        got[tensor.ref()] = value if known is None else known + value

    for end, value in zip(ends, given, strict=True):
        add(end, value)
    for operation in reversed(way):
        if operation is until.op:
            break
        if not any(output.ref() in got for output in operation.outputs):
            continue
        values = [
            got.pop(output.ref()) if output.ref() in got else _nothing(output)
            for output in operation.outputs
        ]
        inputs = [tensor for tensor in operation.inputs if tensor.ref() in moving]
        unique = list({tensor.ref(): tensor for tensor in inputs}.values())
        for tensor, value in zip(unique, rule(operation, unique, values), strict=True):
            if value is not None:
                add(tensor, value)
    return got.get(until.ref())


def _nothing(tensor: tf.Tensor) -> tf.Tensor | None:
    """Zeros in the shape of a tensor; None of a variable, which loops hand on as well."""
    return None if tensor.dtype == tf.resource else tf.zeros_like(tensor)


def operations_between(start: tf.Tensor, ends: Sequence[tf.Tensor]) -> list[tf.Operation]:
    """List the operations that depend on the start and that ends depend on, as they were made."""
    needed, stack = set(), [end.op for end in ends]
    while stack:
        operation = stack.pop()
        if operation.name not in needed and operation.type not in _STILL:
            needed.add(operation.name)
            stack += [tensor.op for tensor in operation.inputs]
    moving, way = {start.ref()}, []
    for operation in start.graph.get_operations():
        if operation.name in needed and any(t.ref() in moving for t in operation.inputs):
            moving |= {output.ref() for output in operation.outputs}
            way.append(operation)
    return way


def gradients_of(
    operation: tf.Operation, inputs: Sequence[tf.Tensor], given: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Give inputs the gradient of one operation: the rule that is exact where it is linear.

    Args:
        operation: Of a traced graph.
        inputs: Those of its inputs that are asked for.
        given: The gradient of each of its outputs.

    Raises:
        NoRuleError: If TensorFlow knows no gradient of it.
    """
    if operation.type not in _FLOW and get_gradient_function(operation) is None:
        raise no_rule(operation, "a gradient")
    slopes = slopes_of(operation, inputs, given)
    return [
        tf.zeros_like(wanted) if slope is None else slope
        for slope, wanted in zip(slopes, inputs, strict=True)
    ]


def slopes_of(
    operation: tf.Operation, inputs: Sequence[tf.Tensor], given: Sequence[tf.Tensor]
) -> list[tf.Tensor | None]:
    """Give inputs the gradient of one operation: None where it has none by an input."""
    if operation.type in _FLOW:
        moves = [has_slope(output) for output in operation.outputs]
        ends = list(itertools.compress(operation.outputs, moves))
        values = list(itertools.compress(given, moves))
        return list(tf.gradients(ends, inputs, values, stop_gradients=inputs))
    # tf.gradients would go through the whole graph at each step.
    function = get_gradient_function(operation)
    found = [] if function is None else function(operation, *given)
    found = found if isinstance(found, list | tuple) else [found]
    pairs = [(t, g) for t, g in zip(operation.inputs, found, strict=False) if g is not None]
    parts = [[tf.convert_to_tensor(g) for t, g in pairs if t is wanted] for wanted in inputs]
    return [tf.add_n(own) if own else None for own in parts]


def has_slope(tensor: tf.Tensor) -> bool:
    """Tell whether a gradient may go back to a tensor: not to whole numbers; to lists, of loops."""
    return tensor.dtype.is_floating or tensor.dtype == tf.variant


def convolves(operation: tf.Operation) -> bool:
    """Tell whether an operation calls a function that only convolves."""
    return bool(_convolutions(operation))


def inner_convolution(operation: tf.Operation) -> Any:
    """Find the convolution of a function that is one alone; None for any other operation."""
    found = _convolutions(operation)
    return found[0] if len(found) == 1 else None


def _convolutions(operation: tf.Operation) -> list[Any]:
    """List those in a function that only convolves, else none."""
    if operation.type not in _FUNCTIONS:
        return []
    name = operation.get_attr("f").name
    functions = operation.graph.as_graph_def().library.function
    (body,) = (function.node_def for function in functions if function.signature.name == name)
    found = [node for node in body if node.op in _CONVOLUTIONS]
    return found if all(node.op in (*_CONVOLUTIONS, *_BESIDE) for node in body) else []


def fitted(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Sum over the axes along which an input was repeated to fit another."""
    extra = values.shape.rank - like.shape.rank
    total = tf.reduce_sum(values, list(range(extra))) if extra else values
    axes = [axis for axis, side in enumerate(like.shape) if side == 1 and total.shape[axis] != 1]
    return tf.reduce_sum(total, axes, keepdims=True) if axes else total


def repeated(operation: tf.Operation, inputs: Sequence[tf.Tensor]) -> tf.Operation:
    """Add an operation to its graph once more, on other inputs of the same shapes."""
    return operation.graph.create_op(
        operation.type,
        list(inputs),
        [output.dtype for output in operation.outputs],
        attrs=dict(operation.node_def.attr),
    )


def no_rule(operation: tf.Operation, what: str) -> NoRuleError:
    """Word the error where an operation has no rule."""
    return NoRuleError(
        f"Every operation on the way from the image to the score must have {what}; "
        f"{operation.type!r} ({operation.name}) has none. Use 'integrated_gradients' or "
        "'grad_cam' instead."
    )
