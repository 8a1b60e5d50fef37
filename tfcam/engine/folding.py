"""A convolution and the factors and terms that follow it, such as a normalisation's, become one.

TensorFlow itself folds a factor into a convolution's kernel, but leaves it behind a depthwise one,
and joins an activation only to a convolution with a bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

_DEPTHWISE = "DepthwiseConv2dNative"


# What normalisations and casts of weights are made of.
_SIMPLE = ("AddV2", "Cast", "Identity", "Mul", "Neg", "Reshape", "Rsqrt", "Sqrt", "Squeeze", "Sub")


def folded(function: Any) -> Any:
    """Fold a function's graph: one kernel and one bias for each run of constant steps.

    A run is a float32 convolution of two dimensions with what multiplies or shifts each of its
    channels. Where a value between them is asked for too, as at a tapped layer, it ends before.
    The results differ by float32 rounding.

    Args:
        function: A traced function whose variables are constants.

    Returns:
        A ``GraphDef`` with inputs and outputs of the same names.

    Example:
        >>> from tensorflow.python.framework import convert_to_constants as constants
        >>> kernel = tf.Variable(tf.ones((1, 1, 1, 2)))
        >>> steps = tf.function(lambda x: 3.0 * tf.nn.conv2d(x, kernel, 1, "SAME") + [1.0, 2.0])
        >>> traced = steps.get_concrete_function(tf.TensorSpec((1, 1, 1, 1)))
        >>> given = constants.convert_variables_to_constants_v2(traced)
        >>> graph = folded(given)
        >>> [node.input[0] for node in graph.node if node.op == "BiasAdd"]
        ['Conv2D']
        >>> once = function_of(graph, given.inputs, given.outputs)
        >>> once(tf.fill((1, 1, 1, 1), 10.0))[0].numpy().ravel().tolist()
        [31.0, 32.0]
    """
    definition = function.graph.as_graph_def()
    runs = _runs(function)
    constants = [step.constant for run in runs for step in run]
    values = iter(function_of(definition, [], constants)() if constants else ())
    nodes = {node.name: node for node in definition.node}
    for run in runs:
        convolution, last = run[0].op, run[-1].op
        kernel, bias = _one(run, [next(values).numpy().astype(float) for _ in run])
        kernel_name = _add_constant(definition, f"{last.name}/folded_kernel", kernel)
        bias_name = _add_constant(definition, f"{last.name}/folded_bias", bias)
        nodes[convolution.name].input[1] = kernel_name
        node = nodes[last.name]
        node.Clear()
        node.name, node.op = last.name, "BiasAdd"
        node.input.extend([convolution.name, bias_name])
        node.attr["T"].type = tf.float32.as_datatype_enum
        node.attr["data_format"].s = convolution.get_attr("data_format")
    return definition


def function_of(
    definition: Any, inputs: Sequence[tf.Tensor], outputs: Sequence[tf.Tensor]
) -> Callable[..., list[tf.Tensor]]:
    """Make the function of a graph, from tensors to tensors of the names that these have."""
    names = [tensor.name for tensor in outputs]
    needed = _needed(definition, names)
    used = {node.name for node in needed.node}

    def load(*tensors: tf.Tensor) -> list[tf.Tensor]:
        pairs = zip(inputs, tensors, strict=True)
        fed = {tensor.name: value for tensor, value in pairs if tensor.op.name in used}
        return tf.graph_util.import_graph_def(needed, fed, names, name="")

    signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in inputs]
    return tf.compat.v1.wrap_function(load, signature)


def _needed(definition: Any, outputs: Sequence[str]) -> Any:
    """Cut a graph to what leads to tensors: kernels that were folded are held twice else."""
    nodes = {node.name: node for node in definition.node}
    names: set[str] = set()
    following = [*outputs]
    while following:
        name = following.pop().removeprefix("^").split(":")[0]
        if name not in names:
            names.add(name)
            following += nodes[name].input
    kept = [node for node in definition.node if node.name in names]
    return type(definition)(node=kept, versions=definition.versions, library=definition.library)


class _Step(NamedTuple):
    """A convolution with its kernel, or what follows one with its factors or terms."""

    op: tf.Operation
    constant: tf.Tensor


def _runs(function: Any) -> list[list[_Step]]:
    """Find each convolution with the steps after it, where these do more than add a bias."""
    fixed: set[tf.Operation] = set()
    for op in function.graph.get_operations():
        computed = op.type in _SIMPLE and all(tensor.op in fixed for tensor in op.inputs)
        if (op.type == "Const" or computed) and not op.control_inputs:  # inside of loops these have
            fixed.add(op)
    results = {tensor.ref() for tensor in function.outputs}
    runs = []
    for op in function.graph.get_operations():
        if _is_foldable(op) and op.inputs[1].op in fixed and _is_plain(op):
            run: list[_Step] = [_Step(op, op.inputs[1])]
            while (value := run[-1].op.outputs[0]).ref() not in results:
                step = _next(value, fixed, op)
                if step is None:
                    break
                run.append(step)
            if len(run) > 2 or run[-1].op.type == "Mul":
                runs.append(run)
    return runs


def _is_foldable(op: tf.Operation) -> bool:
    """Not in groups: with a bias and an activation, these run on few CPUs."""
    if op.type != "Conv2D":
        return op.type == _DEPTHWISE
    pictures, kernel = (operand.shape for operand in op.inputs)
    return pictures[_channel_axis(op)] == kernel[2]


def _channel_axis(op: tf.Operation) -> int:
    return 3 if op.get_attr("data_format") == b"NHWC" else 1


def _is_plain(op: tf.Operation) -> bool:
    return op.outputs[0].dtype == tf.float32 and not op.control_inputs


def _next(value: tf.Tensor, fixed: set[tf.Operation], convolution: tf.Operation) -> _Step | None:
    """What uses a value, if that is all that does and it multiplies or shifts each channel."""
    if len(value.consumers()) != 1:
        return None
    (op,) = value.consumers()
    constants = [tensor for tensor in op.inputs if tensor.op in fixed]
    if op.type not in ("Mul", "AddV2", "BiasAdd") or len(constants) != 1 or not _is_plain(op):
        return None
    axis = _channel_axis(convolution)
    if op.type != "BiasAdd" and not _is_per_channel(constants[0].shape, axis, value.shape[axis]):
        return None
    return _Step(op, constants[0])


def _is_per_channel(shape: tf.TensorShape, axis: int, channels: int) -> bool:
    if not shape.is_fully_defined() or shape.rank > 4:
        return False
    sizes = [1] * (4 - shape.rank) + shape.as_list()
    return sizes.pop(axis) in (1, channels) and set(sizes) == {1}


def _one(run: Sequence[_Step], constants: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Join a run to one kernel and one bias."""
    kernel, *values = constants
    # Of a depthwise kernel (height, width, K, M), channel k * M + m of the result is that of k, m.
    shape = kernel.shape[2 if run[0].op.type == _DEPTHWISE else 3 :]
    scale, bias = np.ones(shape), np.zeros(shape)
    for step, factor in zip(run[1:], values, strict=True):
        factor = np.broadcast_to(factor.ravel(), scale.size).reshape(shape)
        if step.op.type == "Mul":
            scale, bias = scale * factor, bias * factor
        else:
            bias = bias + factor
    return kernel * scale, bias.ravel()


def _add_constant(definition: Any, name: str, value: np.ndarray) -> str:
    node = definition.node.add(op="Const", name=name)
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32))
    return name
