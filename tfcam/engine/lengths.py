"""One trace for texts of all lengths, where a model leaves the length open and a method can."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tfcam.model.hooks import LOCK
from tfcam.passes.submodel import SubModel

Result = TypeVar("Result")


class OpenLengths:
    """What is compiled for texts of any length, as long as it answers as each length by itself.

    Code that asks for a text's length while it is traced, and finds it open, may go another way.
    So the model is asked once more, as it is, about the first texts of each length: where its
    outputs are others, or it can't be traced, each length has a trace of its own from then on.

    Args:
        submodel: The opened model.

    Attributes:
        apart: Whether each length has a trace of its own.
    """

    def __init__(self, submodel: SubModel) -> None:
        self._submodel = submodel
        self._agreed = set[Any]()
        self.apart = False

    def run(
        self,
        compute: Callable[[Sequence[Any]], tuple[Result, Sequence[tf.Tensor]]],
        tensors: Sequence[tf.Tensor],
        taken: int,
        owners: bool = False,
    ) -> Result:
        """Compute something of texts, compiled for any length where that gives the same.

        Args:
            compute: Tensors, or descriptions of such -> what is computed of the tensors, compiled
                for these; and all that the model returned, nothing where it was run as it is.
            tensors: The explained input, the others, and more.
            taken: Number of those that the model takes.
            owners: Whether the next one tells words apart, which is as long as the text.
        """
        inputs = tensors[:taken]
        specs = None if self.apart else self._specs(inputs)
        if specs is None:
            return compute(tensors)[0]
        rest = list(tensors[taken:])
        if owners:
            rest[0] = tf.TensorSpec(specs[0].shape, rest[0].dtype)
        try:
            result, outputs = compute([*specs, *rest])
            if self._agrees(inputs, outputs):
                return result
        except Exception:  # of what is wrong in itself, each length by itself tells as well
            pass
        result, _ = compute(tensors)
        self.apart = True
        return result

    def _specs(self, inputs: Sequence[tf.Tensor]) -> list[tf.TensorSpec] | None:
        """Describe inputs with the lengths of texts left open; None where they can't be.

        A length of 1 has a trace of its own: it would read as an axis that there is not.
        """
        graph, which = self._submodel.graph, self._submodel.which
        taken = list(graph.inputs)
        taken.insert(0, taken.pop(which))
        if graph.is_black_box or not taken[0].is_text:
            return None
        specs = []
        for one, tensor in zip(taken, inputs, strict=True):
            sides = zip(one.shape, tensor.shape[1:], strict=True)
            left = [None if own is None and size > 1 else size for own, size in sides]
            specs.append(tf.TensorSpec((tensor.shape[0], *left), tensor.dtype))
        return specs if None in specs[0].shape else None

    def _agrees(self, inputs: Sequence[tf.Tensor], values: Sequence[tf.Tensor]) -> bool:
        """Tell whether the model as it is gives what it gave with the length left open.

        Args:
            inputs: The explained one, and the others in their flat order.
            values: What the model returned, each (B, ...); nothing where it was run as it is.
        """
        lengths = tuple(tuple(tensor.shape) for tensor in inputs)
        if not values or lengths in self._agreed:
            return True
        images, *others = inputs
        submodel = self._submodel.at([]).beside(others)
        with LOCK:
            own = tf.nest.flatten(submodel.forward(images).outputs.values)
        spacing = submodel.graph.spacing
        if not all(_alike(*pair, spacing) for pair in zip(own, values, strict=True)):
            return False
        self._agreed.add(lengths)
        return True


def _alike(one: tf.Tensor, other: tf.Tensor, spacing: float) -> bool:
    """Whether two tensors of numbers are the same but for rounding."""
    if one.shape != other.shape:
        return False
    first, second = (np.asarray(tf.cast(each, tf.float64)) for each in (one, other))
    finite = np.isfinite(first)
    size = np.abs(first[finite]).max(initial=0.0)
    return bool(np.allclose(first, second, rtol=0, atol=math.sqrt(spacing) * size, equal_nan=True))
