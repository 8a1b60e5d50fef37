"""LRP's rules for linear layers: how what the outputs of a layer have is shared among its inputs.

z_j = sum_i a_i w_ij + b_j; a rule gives R_i of R_j. A batch normalisation, or whatever else only
scales and shifts the channels behind a layer, counts as part of it.

Source: Bach et al. 2015, "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by
Layer-Wise Relevance Propagation"; Montavon et al. 2019, "Layer-Wise Relevance Propagation: An
Overview", sections 10.2 and 10.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import tensorflow as tf

from tfcam.passes.traced_walk import convolves, gradients_of, inner_convolution, no_rule, repeated
from tfcam.utils.validation import check_choice

# Which of an operation's inputs is the image's, which the kernel, and where the kernel's outputs
# are.
PLACES = {
    "Conv2D": (0, 1, -1),
    "Conv3D": (0, 1, -1),
    "DepthwiseConv2dNative": (0, 1, -1),
    "MatMul": (0, 1, -1),
    "Conv2DBackpropInput": (2, 1, -2),
    "Conv3DBackpropInputV2": (2, 1, -2),
}


@dataclass(frozen=True)
class Linear:
    """A linear layer in a traced graph, with what scales and shifts its outputs.

    Attributes:
        operation: What convolves or multiplies.
        x: Its input that depends on the image.
        scale: Of each output, or a number.
        shift: The bias, of each output, or a number.
        positive: Whether x is never negative.
        epsilon: Added to each denominator, away from zero.
        gamma: How much more positive weights count, by the rule of that name.
        conserves: Whether "zplus" leaves the biases out.
        bounds: Between which values the network's inputs lie; None for those of each picture.
    """

    operation: tf.Operation
    x: tf.Tensor
    scale: tf.Tensor | float = 1.0
    shift: tf.Tensor | float = 0.0
    positive: bool = False
    epsilon: float = 1e-6
    gamma: float = 0.25
    conserves: bool = False
    bounds: tuple[float, float] | None = None

    @property
    def z(self) -> tf.Tensor:
        """Its outputs."""
        return self.operation.outputs[0] * self._over_outputs(self.scale) + self.bias

    @property
    def kernel(self) -> tf.Tensor:
        """Its weights w, scaled.

        Raises:
            NoRuleError: If they are not known as such.
        """
        kernel, kind = self._weights(), self.operation.type
        if isinstance(self.scale, float) or self.scale.shape.rank == 0:
            return kernel * self.scale
        if kind == "DepthwiseConv2dNative":
            return kernel * tf.reshape(self.scale, kernel.shape[2:])
        turned = kind == "MatMul" and self.operation.get_attr("transpose_b")
        turned |= PLACES.get(kind, (0, 1, -1))[2] == -2
        return kernel * (self.scale[:, tf.newaxis] if turned else self.scale)

    def _weights(self) -> tf.Tensor:
        kind = self.operation.type
        if kind in PLACES:
            return self.operation.inputs[PLACES[kind][1]]
        others = [tensor for tensor in self.operation.inputs if tensor is not self.x]
        if inner_convolution(self.operation) is None or len(others) != 1:
            raise no_rule(self.operation, f"the LRP rule that is asked for ({kind} has 'epsilon')")
        if others[0].dtype != tf.resource:
            return others[0]
        return tf.raw_ops.ReadVariableOp(resource=others[0], dtype=self.x.dtype)

    @property
    def bias(self) -> tf.Tensor:
        """Its biases b, which fit its outputs."""
        return tf.cast(self._over_outputs(self.shift), self.x.dtype)

    def _over_outputs(self, value: tf.Tensor | float) -> tf.Tensor | float:
        """Lay a value of each output where the outputs have their channels."""
        if (
            isinstance(value, float)
            or value.shape.rank != 1
            or not is_channels_first(self.operation)
        ):
            return value
        return tf.reshape(value, (-1, *[1] * (self.operation.outputs[0].shape.rank - 2)))

    def of(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Apply the layer without its bias to other inputs and weights."""
        if (node := inner_convolution(self.operation)) is not None:
            return _grouped(node, x, kernel)
        inputs = list(self.operation.inputs)
        data, weights, _ = PLACES[self.operation.type]
        inputs[data], inputs[weights] = x, kernel
        return repeated(self.operation, inputs).outputs[0]

    def back(self, outputs: tf.Tensor, x: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Carry values of outputs back to the x that they were made from, by the weights."""
        if convolves(self.operation):
            return tf.gradients(outputs, x, values, stop_gradients=[x])[0]
        return gradients_of(outputs.op, [x], [values])[0]

    def stable(self, z: tf.Tensor) -> tf.Tensor:
        """Move a denominator away from zero; 0 counts as positive."""
        return stable(z, self.epsilon)


def is_channels_first(operation: tf.Operation) -> bool:
    """Whether what convolves has its channels in front of its positions."""
    return "data_format" in operation.node_def.attr and (
        operation.get_attr("data_format") in (b"NCHW", b"NCDHW")
    )


# A linear layer, and what its outputs have -> what its inputs get.
LinearRule: TypeAlias = Callable[[Linear, tf.Tensor], tf.Tensor]


def stable(z: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Move a denominator away from zero; 0 counts as positive."""
    # Half precision has nothing smaller but 0 and what loses its digits.
    step = tf.cast(max(epsilon, 2.0**-14) if z.dtype == tf.float16 else epsilon, z.dtype)
    return z + tf.where(z >= 0, step, -step)


def _grouped(node: Any, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolve in groups, compiled as Keras does it."""

    def convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        graph = tf.compat.v1.get_default_graph()
        attributes = dict(node.attr)
        return graph.create_op(node.op, [x, kernel], [x.dtype], attrs=attributes).outputs[0]

    return tf.function(convolve, autograph=False, jit_compile=True)(x, kernel)


def epsilon(layer: Linear, relevance: tf.Tensor) -> tf.Tensor:
    """R_i = sum_j a_i w_ij / (z_j + epsilon sign z_j) R_j, with the bias in z."""
    shares = relevance / layer.stable(layer.z) * layer.scale
    return layer.x * layer.back(layer.operation.outputs[0], layer.x, shares)


def zplus(layer: Linear, relevance: tf.Tensor) -> tf.Tensor:
    """R_i = sum_j (a_i w_ij)+ / sum_i (a_i w_ij)+ R_j; a positive bias takes its share."""
    return _shared(layer, relevance, 1, layer.conserves)


def alpha2_beta1(layer: Linear, relevance: tf.Tensor) -> tf.Tensor:
    """R_i = sum_j (2 (a_i w_ij)+ / sum_i (a_i w_ij)+ - (a_i w_ij)- / sum_i (a_i w_ij)-) R_j."""
    return 2 * _shared(layer, relevance, 1) - _shared(layer, relevance, -1)


def gamma(layer: Linear, relevance: tf.Tensor) -> tf.Tensor:
    """R_i = sum_j a_i (w_ij + gamma w_ij+) / sum_i a_i (w_ij + gamma w_ij+) R_j where z_j > 0.

    Where z_j < 0 the negative parts count more instead; the generalised form, for a of either sign.
    """
    w, x, z = layer.kernel, layer.x, layer.z
    heavier = w + layer.gamma * tf.nn.relu(w), w - layer.gamma * tf.nn.relu(-w)
    bias = layer.bias
    biases = bias + layer.gamma * tf.nn.relu(bias), bias - layer.gamma * tf.nn.relu(-bias)
    signs = (1,) if layer.positive else (1, -1)
    found = tf.zeros_like(x)
    for side, own_bias in zip((0, 1), biases, strict=True):
        halves = [_half(x, sign, layer.positive) for sign in signs]
        outputs = [
            layer.of(half, heavier[side if sign > 0 else 1 - side])
            for half, sign in zip(halves, signs, strict=True)
        ]
        total = layer.stable(tf.add_n(outputs) + own_bias)
        mine = z > 0 if side == 0 else z < 0
        shares = tf.where(mine, relevance / total, tf.zeros_like(total))
        for half, each in zip(halves, outputs, strict=True):
            found += half * layer.back(each, half, shares)
    return found


def flat(layer: Linear, relevance: tf.Tensor) -> tf.Tensor:
    """R_i = sum_j R_j / n_j: all n_j inputs that an output sees get the same."""
    ones = tf.ones_like(layer.x)
    outputs = layer.of(ones, tf.ones_like(layer.kernel))
    return layer.back(outputs, ones, relevance / layer.stable(outputs))


def box(layer: Linear, relevance: tf.Tensor) -> tf.Tensor:
    """R_i = sum_j (a_i w_ij - l w_ij+ - h w_ij-) / sum_i (...) R_j, for inputs between l and h.

    Without bounds they are the least and the largest value of each picture.
    """
    w, x = layer.kernel, layer.x
    axes = list(range(1, x.shape.rank))
    low, high = layer.bounds or (
        tf.reduce_min(x, axes, keepdims=True),
        tf.reduce_max(x, axes, keepdims=True),
    )
    values = x, low + tf.zeros_like(x), high + tf.zeros_like(x)
    kernels = w, tf.nn.relu(w), -tf.nn.relu(-w)
    outputs = list(map(layer.of, values, kernels))
    shares = relevance / layer.stable(outputs[0] - outputs[1] - outputs[2])
    parts = [
        each * layer.back(made, each, shares) for each, made in zip(values, outputs, strict=True)
    ]
    return parts[0] - parts[1] - parts[2]


def _half(x: tf.Tensor, sign: int, positive: bool = False) -> tf.Tensor:
    """Keep what is positive, or what is negative."""
    return x if positive else sign * tf.nn.relu(sign * x)


def _shared(layer: Linear, relevance: tf.Tensor, sign: int, conserves: bool = False) -> tf.Tensor:
    """Share relevance by the parts a_i w_ij of one sign."""
    w, x = layer.kernel, layer.x
    halves = [_half(x, 1, layer.positive)] + ([] if layer.positive else [_half(x, -1)])
    kernels = [sign * tf.nn.relu(sign * w), -sign * tf.nn.relu(-sign * w)]
    outputs = [layer.of(half, kernel) for half, kernel in zip(halves, kernels, strict=False)]
    total = tf.add_n(outputs)
    rest = tf.zeros_like(x)
    if conserves:
        dead = total == 0
        rest = flat(layer, tf.where(dead, relevance, tf.zeros_like(relevance)))
        relevance = tf.where(dead, tf.zeros_like(relevance), relevance)
    else:
        total += sign * tf.nn.relu(sign * layer.bias)
    shares = relevance / (sign * layer.stable(sign * total))  # 0 has the sign of the others
    return tf.add_n(
        [rest]
        + [
            half * layer.back(each, half, shares)
            for half, each in zip(halves, outputs, strict=True)
        ]
    )


RULES: dict[str, LinearRule] = {
    "epsilon": epsilon,
    "zplus": zplus,
    "gamma": gamma,
    "alpha2_beta1": alpha2_beta1,
    "flat": flat,
    "box": box,
}


@dataclass(frozen=True)
class Composite:
    """Which rule each kind of linear layer has: a name of ``RULES``, or a function of one's own.

    A function takes a ``Linear`` and what its outputs have, and gives what its input gets.

    Attributes:
        convolution: Of convolutions.
        dense: Of layers without positions.
        depthwise: Of depthwise convolutions; None for that of convolutions.
        first: Of the linear layers that no other is before; None for that of their kind.
        affine: Of what scales and shifts behind no linear layer: "pass", or "epsilon", by which
            the shift takes its share.
        conserves: Whether biases get nothing by "zplus", so that all relevance is kept: the map
            is much less sharp. Where nothing is positive the rule is "flat".
        bounds: Between which values the network's inputs lie, for "box"; None for those of each
            picture.

    Raises:
        ValueError: If there is no such rule.

    Example:
        >>> Composite(convolution="gamma", first="flat").dense
        'epsilon'
    """

    convolution: str | LinearRule = "zplus"
    dense: str | LinearRule = "epsilon"
    depthwise: str | LinearRule | None = None
    first: str | LinearRule | None = None
    affine: str = "pass"
    conserves: bool = False
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_choice("affine", self.affine, ("pass", "epsilon"))
        for name in ("convolution", "dense", "depthwise", "first"):
            rule = getattr(self, name)
            if isinstance(rule, str):
                check_choice(name, rule, tuple(RULES))

    def rule(self, layer: Linear, is_first: bool) -> LinearRule:
        """Find the rule of a linear layer."""
        kind = layer.operation.type
        chosen = self.convolution if "Conv" in kind or "Call" in kind else self.dense
        if kind == "DepthwiseConv2dNative" and self.depthwise is not None:
            chosen = self.depthwise
        if is_first and self.first is not None:
            chosen = self.first
        return RULES[chosen] if isinstance(chosen, str) else chosen


COMPOSITES = {
    "epsilon": Composite(convolution="epsilon", affine="epsilon"),
    "epsilon_plus": Composite(),
    "epsilon_plus_flat": Composite(first="flat"),
    # Of nine inputs some cancel: gamma at a depthwise convolution explodes.
    "epsilon_gamma_box": Composite(convolution="gamma", depthwise="zplus", first="box"),
    "alpha2_beta1": Composite(convolution="alpha2_beta1"),
}


def found_composite(composite: Composite | str, epsilon: float, gamma: float) -> Composite:
    """Find a composite by its name, and check what its rules take.

    Raises:
        ValueError: If there is none of the name, epsilon is not positive or gamma is negative.
    """
    if epsilon <= 0 or gamma < 0:
        raise ValueError(
            "epsilon must be greater than 0, and gamma at least 0; "
            f"got epsilon={epsilon}, gamma={gamma}."
        )
    if isinstance(composite, Composite):
        return composite
    return COMPOSITES[check_choice("composite", composite, tuple(COMPOSITES))]
