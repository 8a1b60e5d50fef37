"""DeepLIFT's rescale rule: what each input of an operation gave to the difference of two passes.

A batch holds images first, then what they are held against: one for each image, or one for all. A
multiplier m is a contribution per difference; each rule here keeps the sum of m (x - x') from an
operation's outputs to its inputs exactly, but for rounding. It stands at the image; what stands at
the starts is of no account.

Source: Shrikumar et al. 2017, "Learning Important Features Through Propagating Activation
Differences", section 3.5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from tfcam.maps.tensors import sizes
from tfcam.passes.traced_walk import convolves, fitted, gradients_of, no_rule, repeated

# Linear in all inputs that depend on the image together: their gradient is exact.
_LINEAR = {
    *("Identity", "Cast", "EnsureShape", "CheckNumerics", "Snapshot", "Neg"),
    *("Add", "AddV2", "AddN", "Sub", "BiasAdd", "Sum", "Mean", "Cumsum", "AvgPool", "AvgPool3D"),
    *("Reshape", "Squeeze", "ExpandDims", "Transpose", "Tile", "BroadcastTo", "ReverseV2", "Roll"),
    *("ConcatV2", "Pack", "Unpack", "Split", "SplitV", "Slice", "StridedSlice"),
    *("Gather", "GatherV2", "GatherNd", "Pad", "PadV2", "MirrorPad", "Select", "SelectV2"),
    *("SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace"),
    *("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ScaleAndTranslate"),
}

# Linear in each of two inputs: where both depend on the image, the gradient in the middle is exact.
_BILINEAR = {
    *("Mul", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"),
    *("Conv2D", "Conv3D", "DepthwiseConv2dNative"),
    *("Conv2DBackpropInput", "Conv3DBackpropInputV2", "DepthwiseConv2dNativeBackpropInput"),
}

# Quadratic: so is it of their inputs.
_QUADRATIC = {"Square", "SquaredDifference"}

# Functions of one number each.
_UNARY = {
    *("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "Tanh", "Sigmoid"),
    *("Erf", "Erfc", "Exp", "Expm1", "Log", "Log1p", "Sqrt", "Rsqrt", "Reciprocal", "Abs"),
    *("Sin", "Cos", "Atan", "Sinh", "Cosh"),
}

_DIVISIONS = {"RealDiv", "Div", "DivNoNan"}

_MAXIMA = {"MaxPool", "MaxPool3D", "Max"}

_Tensors = Sequence[tf.Tensor]


def is_linear(operation: tf.Operation, inputs: _Tensors) -> bool:
    """Tell whether an operation is linear in some of its inputs: its gradient is then the same.

    Args:
        operation: Of a traced graph.
        inputs: Those of its inputs that depend on the images.
    """
    moving = {id(tensor) for tensor in inputs}
    moves = [id(tensor) in moving for tensor in operation.inputs]
    if operation.type in _DIVISIONS:
        return moves == [True, False]
    single = operation.type in _BILINEAR or convolves(operation)
    return operation.type in _LINEAR or (single and sum(moves) == 1)


def _epsilon(dtype: tf.DType) -> float:
    """Find the smallest step from 1 to the next number of a type."""
    return float({"float64": 2**-52, "float32": 2**-23, "float16": 2**-10}.get(dtype.name, 2**-7))


@dataclass(frozen=True)
class Rescaling:
    """The rule of a batch: a ``StepRule``.

    Args:
        images: B, the number of images.
        starts: The number of starts behind them: B, or 1 that all are held against.
    """

    images: int
    starts: int

    def __call__(
        self, operation: tf.Operation, inputs: _Tensors, given: _Tensors
    ) -> list[tf.Tensor]:
        """Give inputs the multipliers of an operation.

        Args:
            operation: Of a traced graph.
            inputs: Those of its inputs that depend on the images.
            given: The multipliers of its outputs.

        Raises:
            NoRuleError: If there is no rule for it.
        """
        kind = operation.type
        if any(tensor.dtype == tf.variant for tensor in inputs):
            raise no_rule(operation, "a DeepLIFT rule for loops, as of recurrent layers")
        if not all(tensor.dtype.is_floating for tensor in inputs):
            raise no_rule(operation, "a DeepLIFT rule for indices and choices that the image makes")
        if kind in ("StopGradient", "PreventGradient"):
            return list(given)  # tf.nn.moments has one: its value moves, whatever its gradient is
        if kind == "IdentityN":
            return [given[list(map(id, operation.inputs)).index(id(tensor))] for tensor in inputs]
        if is_linear(operation, inputs):
            return gradients_of(operation, inputs, given)
        if any(not t.shape.rank or (t.shape[0] or 0) % self._count for t in inputs):
            raise no_rule(operation, "a DeepLIFT rule where the batch is not the first axis")
        if kind in _BILINEAR | _QUADRATIC:
            return self._at_the_mean(operation, inputs, given)
        rules = dict.fromkeys(_UNARY, self._unary) | dict.fromkeys(_DIVISIONS, self._divided)
        rules |= dict.fromkeys(_MAXIMA, self._pooled) | {"Softmax": self._softmax}
        rules |= dict.fromkeys(("Maximum", "Minimum"), self._larger) | {"Pow": self._unary}
        if kind not in rules or (kind == "Pow" and inputs[0] is not operation.inputs[0]):
            raise no_rule(operation, "a DeepLIFT rule")
        return rules[kind](operation, inputs, given)

    @property
    def _count(self) -> int:
        return self.images + self.starts

    def halves(self, tensor: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Split a batch into images and the start of each, or one start that fits all."""
        rows = sizes(tensor)[0] // self._count
        first, second = tf.split(tensor, [rows * self.images, rows * self.starts])
        # As of windows, of which an image has several: one start does not fit them by itself.
        if self.starts < self.images and tensor.shape[0] != self._count:
            second = self._for_each(second)
        return first, second

    def with_starts(self, first: tf.Tensor) -> tf.Tensor:
        """Fill a batch up, where what stands at the starts is of no account."""
        return tf.concat([first, first[: sizes(first)[0] // self.images * self.starts]], axis=0)

    def middle(self, tensor: tf.Tensor) -> tf.Tensor:
        """Put each image's mean with its start in place of it."""
        first, second = self.halves(tensor)
        return self.with_starts((first + second) / 2)

    def _for_each(self, start: tf.Tensor) -> tf.Tensor:
        return tf.tile(start, [self.images // self.starts, *[1] * (start.shape.rank - 1)])

    def _slope(self, z: tf.Tensor, x: tf.Tensor, tangent: tf.Tensor) -> tf.Tensor:
        """Divide the difference of z by that of x; the tangent where x hardly differs."""
        (z1, z0), (x1, x0) = self.halves(z), self.halves(x)
        difference = x1 - x0
        least = 16 * tf.cast(_epsilon(x.dtype), x.dtype) * (tf.abs(x1) + tf.abs(x0))
        differs = tf.abs(difference) > least
        secant = (z1 - z0) / tf.where(differs, difference, tf.ones_like(difference))
        return self.with_starts(tf.where(differs, secant, sum(self.halves(tangent)) / 2))

    def _at_the_mean(
        self, operation: tf.Operation, inputs: _Tensors, given: _Tensors
    ) -> list[tf.Tensor]:
        moving = {id(tensor) for tensor in inputs}
        middles = [self.middle(t) if id(t) in moving else t for t in operation.inputs]
        again = repeated(operation, middles)
        slopes = gradients_of(again, middles, given)
        totals = {id(tensor): tf.zeros_like(tensor) for tensor in inputs}
        for tensor, slope in zip(operation.inputs, slopes, strict=True):
            if id(tensor) in totals:
                totals[id(tensor)] += slope
        return [totals[id(tensor)] for tensor in inputs]

    def _unary(self, operation: tf.Operation, inputs: _Tensors, given: _Tensors) -> list[tf.Tensor]:
        (x,), (z,) = inputs, operation.outputs
        (tangent,) = gradients_of(operation, [x], [tf.ones_like(z)])
        return [given[0] * self._slope(z, x, tangent)]

    def _divided(
        self, operation: tf.Operation, inputs: _Tensors, given: _Tensors
    ) -> list[tf.Tensor]:
        """a / b = a (1 / b): the middle of each for the other."""
        a, b = operation.inputs
        if a is b:
            return [tf.zeros_like(a)]
        b1, b0 = self.halves(b)
        top = self.middle(a) if any(tensor is a for tensor in inputs) else a
        found = {id(a): self.middle(1 / b), id(b): -top / self.with_starts(b1 * b0)}
        return [fitted(given[0] * found[id(tensor)], tensor) for tensor in inputs]

    def _larger(
        self, operation: tf.Operation, inputs: _Tensors, given: _Tensors
    ) -> list[tf.Tensor]:
        """max(a, b) = a + relu(b - a), min(a, b) = a - relu(a - b): the rule of the ReLU."""
        a, b = operation.inputs
        ahead = b - a if operation.type == "Maximum" else a - b
        share = self._slope(operation.outputs[0] - a, b - a, tf.cast(ahead > 0, a.dtype))
        found = {id(a): 1 - share, id(b): share}
        return [fitted(given[0] * found[id(tensor)], tensor) for tensor in inputs]

    def _pooled(
        self, operation: tf.Operation, inputs: _Tensors, given: _Tensors
    ) -> list[tf.Tensor]:
        """Route what a maximum gained to where either has it, each up to the larger of both."""
        (x,), (m, _) = inputs, self.halves(given[0])
        x1, x0 = self.halves(x)
        if self.starts < self.images:  # a start gains differently beside each image
            x0 = self._for_each(x0) if x.shape[0] == self._count else x0
            x = tf.concat([x1, x0], axis=0)
            operation = repeated(operation, [x, *operation.inputs[1:]])
        z1, z0 = tf.split(operation.outputs[0], 2)
        larger = tf.maximum(z1, z0)
        gains = tf.concat([m * (larger - z0), m * (z1 - larger)], axis=0)
        total = tf.add(*tf.split(gradients_of(operation, [x], [gains])[0], 2))
        return [self.with_starts(tf.math.divide_no_nan(total, x1 - x0))]

    def _softmax(
        self, operation: tf.Operation, inputs: _Tensors, given: _Tensors
    ) -> list[tf.Tensor]:
        """log z = x - L, and as the sum of z does not change L rises by the mean rise of x.

        The mean is weighted by l = (z - z') / (log z - log z'), which lies between z and z':
        dividing exponentials by their sum instead would divide by numbers of any size.
        """
        (x,), (m,), (z,) = inputs, given, operation.outputs
        weights = self._slope(z, tf.nn.log_softmax(x), z)
        total = tf.reduce_sum(weights, axis=-1, keepdims=True)
        return [weights * (m - tf.reduce_sum(m * weights, axis=-1, keepdims=True) / total)]
