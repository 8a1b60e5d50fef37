"""LRP through a whole network: what each input of an operation gets of what its outputs have.

Relevance is carried itself, not as a multiplier: it is never divided by an activation. Linear
layers have the rules of a composite, activations let it pass, and what only moves values routes it.

Source: Bach et al. 2015, "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by
Layer-Wise Relevance Propagation"; of products and softmax Achtibat et al. 2024, "AttnLRP:
Attention-Aware Layer-Wise Relevance Propagation for Transformers", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcam.passes.linear_rules import PLACES, Composite, Linear, is_channels_first, stable
from tfcam.passes.traced_walk import (
    convolves,
    fitted,
    gradients_of,
    no_rule,
    operations_between,
)

# Each value comes from one other: it keeps what it has.
_PASSING = {
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Tanh", "Sigmoid", "Softplus", "Softsign"),
    *("Erf", "Erfc", "Exp", "Expm1", "Log", "Log1p", "Sqrt", "Rsqrt", "Reciprocal", "Abs", "Neg"),
    *("Square", "Sin", "Cos", "Atan", "Sinh", "Cosh", "StopGradient", "PreventGradient"),
}

# Values are moved, repeated or chosen: their gradient moves what they have back.
_ROUTING = {
    *("Identity", "IdentityN", "Cast", "EnsureShape", "CheckNumerics", "Snapshot"),
    *("Reshape", "Squeeze", "ExpandDims", "Transpose", "Tile", "BroadcastTo", "ReverseV2", "Roll"),
    *("ConcatV2", "Pack", "Unpack", "Split", "SplitV", "Slice", "StridedSlice"),
    *("Gather", "GatherV2", "GatherNd", "Pad", "PadV2", "MirrorPad", "Select", "SelectV2"),
    *("SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace"),
    *("ResizeNearestNeighbor", "MaxPool", "MaxPool3D", "Max", "Min", "TopKV2"),
}

# Sums, with weights that are the same whatever the image is: each summand gets its part.
_SUMMING = {
    *("Add", "AddV2", "AddN", "Sub", "BiasAdd", "Sum", "Mean", "Cumsum", "AvgPool", "AvgPool3D"),
    *("ResizeBilinear", "ResizeBicubic", "ScaleAndTranslate"),
}

_MULTIPLYING = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", *PLACES}

_DIVIDING = {"RealDiv", "Div", "DivNoNan"}

# What multiplies a signal without being one: gates, and the deviations that a norm divides by.
_GATES = {"Sigmoid", "Rsqrt", "Sqrt", "Reciprocal"}

_NOT_NEGATIVE = {"Relu", "Relu6", "Sigmoid", "Softmax", "Abs", "Square", "Softplus", "Exp", "Sqrt"}
_NOT_NEGATIVE_AS_INPUTS = _ROUTING | {"AddV2", "Add", "AddN", "Mean", "Sum", "AvgPool", "AvgPool3D"}

# What may stand between a linear layer and the scale and shift of its channels.
_SEEN_THROUGH = {"Identity", "Cast", "Reshape", "Squeeze", "BatchToSpaceND"}

_Tensors = Sequence[tf.Tensor]


class RelevanceRules:
    """The rules of LRP for one traced pass: a ``StepRule``.

    Args:
        ends: What is explained.
        start: What it depends on.
        composite: Which rule linear layers have.
        epsilon: Added to each denominator, away from zero.
        gamma: How much more positive weights count, by the rule of that name.
    """

    def __init__(
        self,
        ends: _Tensors,
        start: tf.Tensor,
        composite: Composite,
        epsilon: float,
        gamma: float,
    ) -> None:
        self._composite, self._epsilon, self._gamma = composite, epsilon, gamma
        self._ends = {end.ref() for end in ends}
        way = operations_between(start, ends)
        self._moving = {start.ref(), *(output.ref() for step in way for output in step.outputs)}
        self._names = {step.name for step in way}
        self._positive: dict[object, bool] = {}
        self._layers: dict[str, Linear] = {}
        self._merged: set[str] = set()
        self._first: set[str] = set()
        behind: set[object] = set()
        for step in way:
            inputs = self._moving_inputs(step)
            if self._is_linear(step, inputs):
                self._layers[step.name] = self._layer(step, inputs[0])
                if inputs[0].ref() not in behind:
                    self._first.add(step.name)
            elif not any(tensor.ref() in behind for tensor in inputs):
                continue
            behind |= {output.ref() for output in step.outputs}

    def __call__(
        self, operation: tf.Operation, inputs: _Tensors, given: _Tensors
    ) -> list[tf.Tensor | None]:
        """Give inputs what they get of an operation.

        Raises:
            NoRuleError: If there is no rule for it.
        """
        if any(tensor.dtype == tf.variant for tensor in inputs):
            raise no_rule(operation, "an LRP rule for loops, as of recurrent layers")
        # Choices and indices that the image makes are taken as they are.
        real = [tensor for tensor in inputs if tensor.dtype.is_floating]
        if not real or not any(output.dtype.is_floating for output in operation.outputs):
            return [None] * len(inputs)
        found = {
            t.ref(): r for t, r in zip(real, self._shares(operation, real, given), strict=True)
        }
        return [found.get(tensor.ref()) for tensor in inputs]

    def _shares(
        self, operation: tf.Operation, inputs: _Tensors, given: _Tensors
    ) -> Sequence[tf.Tensor | None]:
        kind, relevance = operation.type, given[0]
        if (layer := self._layers.get(operation.name)) is not None:
            return [self._composite.rule(layer, operation.name in self._first)(layer, relevance)]
        if kind == "IdentityN":
            return [given[list(map(id, operation.inputs)).index(id(each))] for each in inputs]
        single = len(inputs) == 1
        if kind in _ROUTING:
            return gradients_of(operation, inputs, given)
        if kind in _PASSING or (kind == "Pow" and inputs[0] is operation.inputs[0]):
            return [relevance]
        if kind in ("Maximum", "Minimum"):
            return [relevance] if single else gradients_of(operation, inputs, given)
        if kind in _DIVIDING | {"Mul"}:
            return self._factors(operation, inputs, relevance)
        if kind == "Softmax":
            total = tf.reduce_sum(relevance, axis=-1, keepdims=True)
            rest = relevance - operation.outputs[0] * total
            return [tf.math.multiply_no_nan(inputs[0], rest)]  # a masked one may be -inf
        shifts = single and kind in ("Add", "AddV2", "BiasAdd", "Sub")
        if shifts and (operation.name in self._merged or self._composite.affine == "pass"):
            return [fitted(relevance, inputs[0])]
        if kind in _SUMMING or kind in _MULTIPLYING:
            # Of a product of two each gets half.
            parts = 1 if kind in _SUMMING or single else len(inputs)
            shares = relevance / stable(parts * operation.outputs[0], self._epsilon)
            slopes = gradients_of(operation, inputs, [shares])
            return [each * slope for each, slope in zip(inputs, slopes, strict=True)]
        raise no_rule(operation, "an LRP rule")

    def _factors(
        self, operation: tf.Operation, inputs: _Tensors, relevance: tf.Tensor
    ) -> list[tf.Tensor | None]:
        """Let a signal take all of what its product with a gate has; two signals take half each."""
        if len(inputs) == 1:
            return [fitted(relevance, inputs[0])]
        if operation.type in _DIVIDING:
            return [fitted(relevance, inputs[0]), None]
        gates = [self._is_gate(tensor) for tensor in inputs]
        share = 0.5 if all(gates) or not any(gates) else 1.0
        return [
            None if gate and share == 1.0 else share * fitted(relevance, tensor)
            for gate, tensor in zip(gates, inputs, strict=True)
        ]

    def _is_gate(self, tensor: tf.Tensor) -> bool:
        operation = tensor.op
        inputs = self._moving_inputs(operation)
        if operation.type in _GATES or not all(each.dtype.is_floating for each in inputs):
            return True
        scaled = operation.type == "Mul" and len(inputs) == 1
        return (operation.type in _ROUTING or scaled) and all(map(self._is_gate, inputs))

    def _moving_inputs(self, operation: tf.Operation) -> list[tf.Tensor]:
        moving = [tensor for tensor in operation.inputs if tensor.ref() in self._moving]
        return list({tensor.ref(): tensor for tensor in moving}.values())

    def _is_linear(self, operation: tf.Operation, inputs: _Tensors) -> bool:
        if len(inputs) != 1:
            return False
        kind, (data, kernel, _) = operation.type, PLACES.get(operation.type, (0, 1, -1))
        if kind in PLACES:
            return operation.inputs[data] is inputs[0] and operation.inputs[kernel] is not inputs[0]
        return kind in _MULTIPLYING or convolves(operation)

    def _layer(self, operation: tf.Operation, x: tf.Tensor) -> Linear:
        """Find what scales and shifts the outputs of a linear layer, and nothing else does."""
        scale: tf.Tensor | float = 1.0
        shift: tf.Tensor | float = 0.0
        output = operation.outputs[0]
        while output.ref() not in self._ends:
            users = [user for user in output.consumers() if user.name in self._names]
            if len(users) != 1:
                break
            (user,) = users
            if user.type in _SEEN_THROUGH and user.outputs[0].shape[-1] == output.shape[-1]:
                output = user.outputs[0]
                continue
            others = [tensor for tensor in user.inputs if tensor.ref() not in self._moving]
            if user.type not in ("Mul", "Add", "AddV2", "Sub", "BiasAdd") or len(others) != 1:
                break
            constant = _of_outputs(others[0], operation)
            if constant is None or (user.type == "Sub" and user.inputs[0] is others[0]):
                break
            if user.type == "Mul":
                scale, shift = scale * constant, shift * constant
            else:
                shift = shift - constant if user.type == "Sub" else shift + constant
            output = user.outputs[0]
            self._merged.add(user.name)
        return Linear(
            operation,
            x,
            scale,
            shift,
            self._is_positive(x),
            self._epsilon,
            self._gamma,
            self._composite.conserves,
            self._composite.bounds,
        )

    def _is_positive(self, tensor: tf.Tensor) -> bool:
        """Whether values can't be negative, by what they come from."""
        if tensor.ref() not in self._positive:
            operation, kind = tensor.op, tensor.op.type
            inputs = [each for each in operation.inputs if each.dtype.is_floating]
            self._positive[tensor.ref()] = kind in _NOT_NEGATIVE or (
                kind in _NOT_NEGATIVE_AS_INPUTS
                and all(each.ref() in self._moving for each in inputs)
                and all(map(self._is_positive, inputs))
            )
        return self._positive[tensor.ref()]


def _of_outputs(constant: tf.Tensor, operation: tf.Operation) -> tf.Tensor | None:
    """Shape a constant so that it fits a linear layer's outputs; None where it is no such."""
    dtype, sides = operation.outputs[0].dtype, constant.shape.as_list()
    while sides and sides[0] == 1:
        sides = sides[1:]
    most = 2 if operation.type == "Einsum" else 1  # heads and their channels
    outputs = operation.outputs[0].shape.as_list()
    if is_channels_first(operation):
        outputs = [outputs[0], *outputs[2:], outputs[1]]
        while len(sides) > 1 and sides[-1] == 1:
            sides = sides[:-1]
    fits = len(sides) <= most and sides == outputs[len(outputs) - len(sides) :]
    return tf.cast(tf.reshape(constant, sides), dtype) if fits else None
