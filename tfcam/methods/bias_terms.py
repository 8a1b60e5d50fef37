"""The biases of a piecewise-linear network, what each did for the score, and FullGrad's map.

Around an image such a network is linear: f(x) = sum x df/dx + sum_l b_l df/dz_l over all biases.
Srinivas and Fleuret 2019, "Full-Gradient Representation for Neural Network Visualization".
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfcam.model.graph import ModelGraph
from tfcam.model.hooks import Side
from tfcam.model.layer_types import CONVOLUTIONS
from tfcam.model.taps import Tap
from tfcam.model.tracing import trace
from tfcam.passes.outputs import logits
from tfcam.passes.traced_walk import convolves

# TensorFlow's operations that are piecewise linear in all their floating-point inputs together.
_JOINT = {
    *("Placeholder", "Identity", "Cast", "EnsureShape", "CheckNumerics", "Snapshot", "Neg", "Abs"),
    *("Add", "AddV2", "AddN", "Sub", "BiasAdd", "Sum", "Mean", "Cumsum"),
    *("Max", "Min", "Maximum", "Minimum", "Relu", "Relu6", "LeakyRelu", "Select", "SelectV2"),
    *("MaxPool", "MaxPoolV2", "MaxPool3D", "AvgPool", "AvgPool3D"),
    *("Reshape", "Squeeze", "ExpandDims", "Transpose", "Tile", "BroadcastTo", "ReverseV2", "Roll"),
    *("ConcatV2", "Pack", "Unpack", "Split", "SplitV", "Slice", "StridedSlice"),
    *("Gather", "GatherV2", "GatherNd", "Pad", "PadV2", "MirrorPad"),
    *("SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace"),
    *("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"),
}


# Linear in one of their inputs, where the others do not depend on the image.
_SINGLE = {
    *("Mul", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"),
    *("Conv2D", "Conv3D", "DepthwiseConv2dNative", "ScaleAndTranslate"),
    *("Conv2DBackpropInput", "Conv3DBackpropInputV2", "DepthwiseConv2dNativeBackpropInput"),
}


_DIVISIONS = {"RealDiv", "Div", "DivNoNan"}


# They take numbers and return numbers that no small change of the image changes.
_CONSTANT = {"ZerosLike", "OnesLike"}


_WEIGHTED = (*CONVOLUTIONS, keras.layers.Dense, keras.layers.EinsumDense)


# Exact classes: what a class derived from them adds is not known.
_KNOWN = {
    *_WEIGHTED,
    keras.layers.BatchNormalization,
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.ReLU,
    keras.layers.Activation,
}


_LINEAR = {None, keras.activations.linear}


# The score is what goes into the output's softmax or sigmoid: they are not part of the network.
_LINEAR |= {keras.activations.softmax, keras.activations.sigmoid}


# The slope of an activation where its output is not positive.
_SLOPES: dict[Any, float] = dict.fromkeys(_LINEAR, 1.0) | {
    keras.activations.relu: 0.0,
    keras.activations.relu6: 0.0,
    keras.activations.leaky_relu: 0.2,
    tf.nn.relu: 0.0,
    tf.nn.relu6: 0.0,
    tf.nn.leaky_relu: 0.2,
}


@dataclass(frozen=True)
class _Span:
    """One call of a Keras operation, and which operations of the graph were made during it."""

    path: str
    operation: Any
    number: int
    graph: Any
    start: int
    end: int


def bias_taps(graph: ModelGraph) -> list[Tap]:
    """Find where a piecewise linear network adds constants on the way to its score.

    The model is traced once, and every TensorFlow operation between image and score is looked at:
    each must be piecewise linear, and each that adds a constant must be inside a layer whose
    biases are known (``biases`` computes them). So layers of one's own and Lambda layers may be in
    between as long as they add no constant.

    Args:
        graph: What is known of a model with one input.

    Returns:
        A tap for each call that adds a constant, in the order of the calls. The last layer is
        there too: where its softmax or sigmoid is inside of it, the tap stands for its logits.

    Raises:
        ValueError: If an operation is not piecewise linear, or adds a constant in another way.

    Example:
        >>> model = keras.Sequential([
        ...     keras.Input((4, 4, 3)),
        ...     keras.layers.Conv2D(2, 3, activation="relu", name="conv"),
        ...     keras.layers.Flatten(name="flat"),
        ...     keras.layers.Dense(2, activation="softmax", name="head"),
        ... ])
        >>> from tfcam.model.graph import graph_of
        >>> [tap.path for tap in bias_taps(graph_of(model))]
        ['conv', 'head']
    """
    spans, visit = _spans(graph)
    traced, ends = trace(graph, graph.structure, visit)
    if len(graph.inputs) > 1:
        raise ValueError(
            f"FullGrad sums up what one input and the biases give; {graph.name!r} has several "
            "inputs. Use 'integrated_gradients' or another method."
        )
    operations = traced.graph.get_operations()
    makers: list[_Span | None] = [None] * len(operations)
    for span in spans:  # inner calls end, and are listed, before outer ones
        if span.graph is traced.graph:  # not in the body of a loop
            for index in range(span.start, span.end):
                makers[index] = makers[index] or span
    scores = [end if logits(end) is None else logits(end) for end in ends]
    moving = _moving(operations, traced.inputs[0])
    needed = _between(scores, moving)
    adding = [
        (operation.type, maker)
        for operation, maker in zip(operations, makers, strict=True)
        if operation.name in needed and _adds(operation, moving, graph, maker)
    ]
    taps = [_tap(kind, maker, graph) for kind, maker in adding]
    return list(dict.fromkeys(taps))


def _spans(graph: ModelGraph) -> tuple[list[_Span], Callable[[Any, int, Side, Any], Any]]:
    """Make a list of calls, and the visitor that fills it while the model is traced."""
    starts: dict[tuple[int, int], int] = {}
    spans: list[_Span] = []

    def visit(operation: Any, number: int, side: Side, value: Any) -> Any:
        traced = tf.compat.v1.get_default_graph()
        now = len(traced.get_operations())
        key = id(operation), number
        if side == "input":
            starts[key] = now
        else:
            path, start = graph.path(operation) or operation.name, starts.get(key, now)
            spans.append(_Span(path, operation, number, traced, start, now))
        return value

    return spans, visit


def _moving(operations: Sequence[tf.Operation], images: tf.Tensor) -> set[str]:
    """Name all tensors that a small change of the image changes."""
    moving = {images.name}
    for operation in operations:
        if operation.type not in _CONSTANT and any(t.name in moving for t in operation.inputs):
            moving |= {tensor.name for tensor in operation.outputs if not _counts(tensor.dtype)}
    return moving


def _counts(dtype: tf.DType) -> bool:
    """Whether it is of comparisons, indices and sizes: no small change of the image moves them."""
    return dtype.is_integer or dtype.is_bool


def _between(scores: Sequence[tf.Tensor], moving: set[str]) -> set[str]:
    """Name the operations by which a change of the image reaches the scores."""
    needed: set[str] = set()
    stack = list(scores)
    while stack:
        tensor = stack.pop()
        if tensor.name in moving and tensor.op.name not in needed:
            needed.add(tensor.op.name)
            stack += tensor.op.inputs
    return needed


def _adds(
    operation: tf.Operation, moving: set[str], graph: ModelGraph, maker: _Span | None
) -> bool:
    """Whether an operation adds a constant, where only ``moving`` tensors depend on the image.

    Raises:
        ValueError: If it is not piecewise linear.
    """
    operands = [tensor for tensor in operation.inputs if tensor.dtype.is_floating]
    moves = [tensor.name in moving for tensor in operands]
    kind = operation.type
    if kind in _JOINT:
        still = [tensor for tensor, moves_too in zip(operands, moves, strict=True) if not moves_too]
        return kind == "Relu6" or any(map(_nonzero, still))
    single = kind in _SINGLE or (kind in _DIVISIONS and moves[0]) or convolves(operation)
    if single and sum(moves) <= 1:
        return False
    raise ValueError(
        "FullGrad needs a network that is piecewise linear up to its score, as those of "
        f"convolutions, batch normalisation and ReLU are; {_path(maker, graph)} computes "
        f"{_kind(maker, kind)}. Use 'grad_cam' or another method."
    )


def _tap(kind: str, maker: _Span | None, graph: ModelGraph) -> Tap:
    """Tap a call that adds a constant.

    Raises:
        ValueError: If it is not known what its layer adds.
    """
    unknown = "is no layer" if maker is None else _unknown(maker.operation)
    if maker is None or unknown:
        raise ValueError(
            "FullGrad must know every constant that is added on the way to the score; "
            f"{_path(maker, graph)} adds one ({kind}), and it {unknown}. Let a layer of Keras add "
            "it, or use 'grad_cam' or another method."
        )
    return Tap(maker.path, weakref.ref(maker.operation), maker.number)


def _path(maker: _Span | None, graph: ModelGraph) -> str:
    return repr(graph.name if maker is None else maker.path)


def _nonzero(tensor: tf.Tensor) -> bool:
    value = tf.get_static_value(tensor)
    return value is None or bool((value != 0).any())


def _kind(maker: _Span | None, kind: str) -> str:
    """Name what a layer computes, in the words of who wrote the model."""
    if maker is None:
        return kind
    activation = getattr(maker.operation, "activation", None)
    known = activation in _SLOPES and kind not in ("Softmax", "Sigmoid")
    what = maker.operation if known or activation is None else activation
    return f"{_named(what)} ({kind})"


def _named(what: Any) -> str:
    return getattr(what, "__name__", type(what).__name__)


def _unknown(layer: Any) -> str | None:
    """Say why it is not known what a layer adds; None where it is."""
    if type(layer) not in _KNOWN:
        return f"is of the class {type(layer).__name__}"
    activation = getattr(layer, "activation", None)
    if activation not in _SLOPES:
        return f"has the activation {_named(activation)}"
    if isinstance(layer, keras.layers.ReLU) and layer.threshold and layer.negative_slope:
        return "has both a threshold and a negative slope"
    return None


def biases(layer: Any, output: tf.Tensor) -> tf.Tensor:
    """Compute the constant that a layer adds in the linear region that its output is in.

    A layer a = s(z + b) has b s'(z + b). Batch normalisation adds beta - gamma mu / sqrt(var +
    eps). A ReLU with a maximum adds that maximum where its output has reached it. Times the
    score's gradient by the output, this is what the bias did for the score: b_l df/dz_l.

    Args:
        layer: A layer of which ``bias_taps`` has a tap.
        output: What it returned, (B, ..., K); logits where it has a softmax or sigmoid.

    Returns:
        float32, of a shape that broadcasts to the output's.

    Raises:
        ValueError: If it is not known what the layer adds.

    Source: Srinivas and Fleuret 2019, "Full-Gradient Representation", the bias-gradients.

    Example:
        >>> layer = keras.layers.Conv2D(1, 1, activation="relu", bias_initializer="ones")
        >>> layer.build((None, 1, 2, 3))
        >>> biases(layer, tf.constant([[[[0.5], [0.0]]]])).numpy().ravel()
        array([1., 0.], dtype=float32)
    """
    if unknown := _unknown(layer):
        raise ValueError(
            f"The biases of a layer can be read only where it is known what it adds; "
            f"{layer.name!r} {unknown}."
        )
    activation = getattr(layer, "activation", None)
    output = tf.cast(output, tf.float32)
    slope = tf.where(output > 0, 1.0, _SLOPES[activation])
    limit = layer.max_value if isinstance(layer, keras.layers.ReLU) else None
    if activation is keras.activations.relu6:
        limit = 6.0
    constant = _constant(layer, output.shape.rank)
    if limit is None:
        return constant * slope
    return tf.where(output >= limit, tf.cast(limit, tf.float32), constant * slope)


def _constant(layer: Any, rank: int) -> tf.Tensor:
    """Compute what a layer adds before its activation."""

    def along(values: Any, axis: int) -> tf.Tensor:
        shape = [1] * rank
        shape[axis] = -1
        return tf.reshape(_float(values), shape)

    if isinstance(layer, _WEIGHTED):
        if layer.bias is None:
            return tf.zeros(())
        if isinstance(layer, keras.layers.EinsumDense):
            return _float(layer.bias)
        first = getattr(layer, "data_format", None) == "channels_first"
        return along(layer.bias, 1 if first else -1)
    if isinstance(layer, keras.layers.BatchNormalization):
        factor = tf.math.rsqrt(_float(layer.moving_variance) + layer.epsilon)
        if layer.scale:
            factor *= _float(layer.gamma)
        shift = -_float(layer.moving_mean) * factor
        return along(shift + _float(layer.beta) if layer.center else shift, layer.axis)
    if isinstance(layer, keras.layers.Normalization):
        mean = _float(layer.mean)
        deviation = tf.maximum(tf.sqrt(_float(layer.variance)), keras.config.epsilon())
        return mean if layer.invert else -mean / deviation
    return _float(layer.offset) if isinstance(layer, keras.layers.Rescaling) else tf.zeros(())


def _float(values: Any) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(values), tf.float32)
