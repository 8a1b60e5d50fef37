"""The linear head that CAM needs: global pooling, then one linear layer, then the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfcam.model.call_graph import Call, CallGraph
from tfcam.model.layer_types import GLOBAL_POOLINGS, POINTWISE

_RESHAPING = (keras.layers.Reshape, keras.layers.Flatten, keras.layers.Dropout)


_LINEAR = ("linear", "softmax", "sigmoid")


@dataclass(frozen=True)
class Head:
    """A linear head: which tensor it pools, and its layers; they are not kept alive.

    Attributes:
        tensor: The pooled tensor's name in the call graph.
        pooling: "average" or "max".
        affine: The batch normalisations and the linear layer, in the order in which they act.
    """

    tensor: str
    pooling: str
    affine: tuple[Callable[[], Any], ...]

    def weights(self, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Fold the head into one linear layer of the pooled channels.

        Batch normalisation y = (p - mu) gamma / sqrt(var + eps) + beta is linear in p, so that
        W' = diag(gamma / sqrt(var + eps)) W and b' = b + (beta - mu gamma / sqrt(var + eps)) W.

        Returns:
            Weights (K, C) and biases (C,), float32.
        """
        factor, weights, bias = tf.ones(channels), None, tf.zeros(channels)
        for layer in (reference() for reference in self.affine):
            if isinstance(layer, keras.layers.BatchNormalization):
                variance = tf.convert_to_tensor(layer.moving_variance)
                slope = tf.math.rsqrt(variance + layer.epsilon)
                if layer.scale:
                    slope *= tf.convert_to_tensor(layer.gamma)
                shift = -tf.convert_to_tensor(layer.moving_mean) * slope
                if layer.center:
                    shift += tf.convert_to_tensor(layer.beta)
                bias = bias * slope + shift
                if weights is None:
                    factor *= slope
                else:
                    weights *= slope
            else:
                kernel = tf.cast(tf.convert_to_tensor(layer.kernel), tf.float32)
                kernel = tf.reshape(kernel, (-1, kernel.shape[-1]))
                # Not as a product of matrices, which costs as much as the whole of ResNet50.
                weights = factor[:, tf.newaxis] * kernel
                bias = tf.linalg.matvec(kernel, bias, transpose_a=True)
                if layer.bias is not None:
                    bias += tf.cast(tf.convert_to_tensor(layer.bias), tf.float32)
        if weights is None:
            weights = tf.linalg.diag(factor)
        return weights, bias


@dataclass(frozen=True)
class HeadError:
    """Why a model's head is not linear in the pooled map."""

    reason: str


def find_head(calls: CallGraph) -> Head | HeadError:
    """Walk back from the output to the global pooling, through what CAM can fold.

    Returns:
        The head, or the reason why there is none that CAM applies to.
    """
    if len(calls.outputs) != 1:
        return HeadError(f"it has {len(calls.outputs)} outputs")
    tensor, affine = calls.outputs[0], list[Callable[[], Any]]()
    linear = False
    while (call := calls.producer(tensor)) is not None and len(call.inputs) == 1:
        operation = call.operation
        if pooling := _pooling(operation, call):
            return Head(call.inputs[0], pooling, tuple(reversed(affine)))
        if isinstance(operation, keras.layers.BatchNormalization):
            affine.append(call.reference)
        elif isinstance(operation, keras.layers.Dense) or _pointwise(operation, call):
            if linear:
                return HeadError(f"{call.path!r} is a second linear layer before the output")
            if getattr(operation, "quantization_mode", None) is not None:
                return HeadError(f"{call.path!r} is quantised")
            if not _is_linear(operation, at_output=not affine):
                return HeadError(f"{call.path!r} is not linear after the pooling")
            linear = True
            affine.append(call.reference)
        elif not (_is_activation(operation) and not affine) and not isinstance(
            operation, _RESHAPING
        ):
            break
        tensor = call.inputs[0]
    if call is None:
        return HeadError("its output is not made by a layer, so that its head can't be read")
    return HeadError(f"{call.path!r} stands between its pooling and its output")


def _pooling(operation: Any, call: Call) -> str | None:
    if isinstance(operation, GLOBAL_POOLINGS):
        return "max" if "Max" in type(operation).__name__ else "average"
    whole = call.shape is not None and all(size == 1 for size in call.shape[1:-1])
    if isinstance(operation, keras.layers.AveragePooling2D) and whole:
        return "average"
    return None


def _pointwise(operation: Any, call: Call) -> bool:
    """A 1x1 convolution of a 1x1 map is a dense layer (MobileNet's head)."""
    if not isinstance(operation, POINTWISE) or call.shape is None:
        return False
    return all(side == 1 for side in (*operation.kernel_size, *call.shape[1:-1]))


def _is_linear(operation: Any, at_output: bool) -> bool:
    name = getattr(operation.activation, "__name__", None)
    return name == "linear" or (at_output and name in _LINEAR)


def _is_activation(operation: Any) -> bool:
    if isinstance(operation, keras.layers.Activation):
        return operation.activation.__name__ in _LINEAR
    return type(operation).__name__ in ("Softmax", "Sigmoid")
