"""The calls of a functional model, read from Keras's own graph: nothing has to be traced.

Only for graphs of which it is known what each layer calls: Keras's own layers without layers
inside them. All others are traced.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.model.call_graph import Call, CallGraph, Shape, axis_orders, channels_last
from tfcam.model.eager_gradients import layers_harm
from tfcam.model.inputs import Input
from tfcam.model.layer_types import attentions, sealed_path
from tfcam.model.tree import ModelTree, has_own_call
from tfcam.model.videos import lay_out_frames

_OWN = ("keras.src.layers.", "keras.src.ops.numpy", "keras.src.applications.")


# Layers whose code is the user's, or that pass a tensor on or not as they are set.
_OPAQUE = (keras.layers.Lambda, keras.layers.TFSMLayer)


# What moves axes, or joins and moves tokens, in ways that only a trace tells.
_MOVING = ("Einsum", "Rot90", "Tensordot")
_MOVING_VIDEOS = (
    *("Cropping3D", "Flip", "GetItem", "Pad", "Repeat", "Roll", "Slice", "Split", "Stack", "Take"),
    *("TakeAlongAxis", "Tile", "Unstack", "ZeroPadding3D"),
)
_MOVING_TOKENS = ("Concatenate", "Flip", "Hstack", "Pad", "Roll", "Take", "ZeroPadding1D")


_OPAQUE_MODULE = "keras.src.layers.preprocessing.image_preprocessing"


# What gives back in inference the very tensor that it takes.
_PASSING = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)


class UntoldError(Exception):
    """What a part of the model does can't be told without tracing it."""


class Reader:
    """Goes through a functional model's graph in the order in which it would run.

    Args:
        tree: A built Keras model.
        rank: The rank of a map.
        first: Whether the model has its channels first.

    Attributes:
        calls: The calls, in the order in which they end.
        sources: Which inputs each tensor depends on.
        parents: The tensors that each is made from.
        kinds: The class of what makes each.
        ranks: The number of axes of each.
        turns: The axes of each that a transposition makes.
    """

    def __init__(self, tree: ModelTree, rank: int, first: bool) -> None:
        self.calls: list[Call] = []
        self.sources: dict[str, frozenset[int]] = {}
        self.parents: dict[str, tuple[str, ...]] = {}
        self.kinds: dict[str, str] = {}
        self.ranks: dict[str, int] = {}
        self.turns: dict[str, Sequence[int]] = {}
        self._nodes, self._rank, self._first = tree.node_by_id, rank, first
        self._numbers = Counter[int]()

    def run(self, model: Any, inputs: Sequence[str]) -> list[str]:
        """The names of the tensors that a model returns for those that it is given."""
        graph = plain_graph(model)
        if len(graph.inputs) != len(inputs):
            raise UntoldError
        names = {id(tensor): name for tensor, name in zip(graph.inputs, inputs, strict=True)}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if node.operation and not node.is_input:
                    self._call(node, names)
        if any(id(tensor) not in names for tensor in graph.outputs):
            raise UntoldError
        return [names[id(tensor)] for tensor in graph.outputs]

    def _call(self, node: Any, names: dict[int, str]) -> None:
        operation, arguments = node.operation, node.arguments
        if id(operation) not in self._nodes or any(
            id(tensor) not in names for tensor in arguments.keras_tensors
        ):
            raise UntoldError
        path, reference, innermost = self._nodes[id(operation)]
        first = arguments.args[0] if arguments.args else next(iter(arguments.kwargs.values()))
        taken = [t for t in tf.nest.flatten(first) if isinstance(t, keras.KerasTensor)]
        taken_names = [names[id(tensor)] for tensor in taken]
        number = self._numbers[id(operation)]
        self._numbers[id(operation)] += 1
        if hasattr(operation, "_nodes_by_depth") or isinstance(operation, keras.Model):
            made_names = self.run(operation, taken_names)
        else:
            _check_known(operation, innermost)
            tokens = self._rank == 4 and any(len(tensor.shape) == 3 for tensor in node.outputs)
            if tokens and type(operation).__name__ in _MOVING_TOKENS:
                raise UntoldError
            if self._rank == 5 and type(operation).__name__ in _MOVING_VIDEOS:
                raise UntoldError
            if _folds(operation, node.outputs, self._rank):
                raise UntoldError
            fresh = [f"{len(self.calls)}:{index}" for index in range(len(node.outputs))]
            made_names = taken_names if _passes(operation) else fresh
        whole = [names[id(tensor)] for tensor in arguments.keras_tensors]
        together = frozenset[int]().union(*(self.sources[name] for name in whole))
        for tensor, name in zip(node.outputs, made_names, strict=True):
            names[id(tensor)] = name
            self.sources.setdefault(name, together)
            if name not in whole:
                self.parents.setdefault(name, tuple(whole))
                self.kinds.setdefault(name, _kind(operation))
                self.ranks.setdefault(name, len(tensor.shape))
                if axes := _turns(operation, len(tensor.shape)):
                    self.turns.setdefault(name, axes)
        single = node.outputs[0] if len(node.outputs) == 1 else None
        self.calls.append(
            Call(
                path,
                reference,
                number,
                tuple(taken_names),
                None if single is None else made_names[0],
                None if single is None else self._shape(single),
                self._shape(taken[0]) if taken else None,
            )
        )

    def _shape(self, tensor: Any) -> Shape | None:
        shape = _shape(tensor)
        return channels_last(shape, self._rank) if self._first else shape


def read_calls(tree: ModelTree, inputs: Sequence[Input], which: int) -> CallGraph | None:
    """Read what a model calls from its graph, if that tells it; None where it must be traced.

    Args:
        tree: A built Keras model.
        inputs: What it takes.
        which: Which of them is explained.

    Returns:
        The calls; shapes are those of a batch of one.
    """
    if any(None in taken.shape for taken in inputs):
        return None
    explained = inputs[which]
    rank = len(explained.sides) + 2
    names = [f"input:{number}" for number in range(len(inputs))]
    reader = Reader(tree, rank, explained.layers_first)
    reader.sources |= {name: frozenset({number}) for number, name in enumerate(names)}
    try:
        graph = plain_graph(tree.model)
        _check_order(graph.inputs, inputs)
        outputs = reader.run(tree.model, names)
        shape = _shape(graph.outputs[0]) if len(outputs) == 1 else None
    except UntoldError:
        return None
    return CallGraph(
        lay_out_frames(reader.calls, rank, explained.shape),
        tuple(outputs),
        shape,
        rank,
        tuple(side for side in explained.sides if side),
        frozenset(path for path, _ in attentions(tree)),
        reader.sources if len(inputs) > 1 else {},
        which,
        tree.name,
        sealed_path(tree),
        reader.parents,
        reader.kinds,
        names[which],
        tf.nest.pack_sequence_as(graph.output, outputs),
        tuple(map(_shape, graph.outputs)),
        ranks=reader.ranks,
        orders=axis_orders(
            reader.parents,
            reader.kinds,
            reader.ranks,
            reader.turns,
            {n: i.order for n, i in zip(names, inputs, strict=True) if i.channels_first},
        ),
        own_order=explained.layers_order,
        harms_eagerly=layers_harm(tree.operations),
    )


def plain_graph(model: Any) -> Any:
    """The graph that a functional or sequential model runs through.

    Raises:
        UntoldError: If it does not run through one as it is.
    """
    graph = getattr(model, "_functional", model) if isinstance(model, keras.Sequential) else model
    if has_own_call(model) or not hasattr(graph, "_nodes_by_depth"):
        raise UntoldError
    return graph


def _check_order(tensors: Sequence[Any], inputs: Sequence[Input]) -> None:
    if [tuple(tensor.shape[1:]) for tensor in tensors] != [taken.own_shape for taken in inputs]:
        raise UntoldError


def _check_known(operation: Any, innermost: bool) -> None:
    kind = type(operation)
    activation = getattr(operation, "activation", None)
    if (
        not kind.__module__.startswith(_OWN)
        or kind.__module__.startswith(_OPAQUE_MODULE)
        or isinstance(operation, _OPAQUE)
        or kind.__name__ in _MOVING
        or "call" in operation.__dict__
        or not innermost
        or not getattr(activation, "__module__", "keras.").startswith("keras.")
    ):
        raise UntoldError


def _kind(operation: Any) -> str:
    """The class of an operation; that of a softmax where it ends in one."""
    softmax = getattr(operation, "activation", None) is keras.activations.softmax
    return "Softmax" if softmax else type(operation).__name__


def _turns(operation: Any, rank: int) -> Sequence[int] | None:
    """The axes that an operation makes of those that it is given, if it is a transposition."""
    if isinstance(operation, keras.layers.Permute):
        return (0, *operation.dims)
    name, axes = type(operation).__name__, np.empty(range(rank))
    if name == "Moveaxis":
        return np.moveaxis(axes, operation.source, operation.destination).shape
    if name == "Swapaxes":
        return np.swapaxes(axes, operation.axis1, operation.axis2).shape
    return operation.axes if name == "Transpose" else None


def _folds(operation: Any, made: Sequence[Any], rank: int) -> bool:
    """Whether an operation lays positions out anew: in a map, or any of a video."""
    if type(operation).__name__ != "Reshape":
        return False
    sides = [tensor.shape[1:-1] for tensor in made if rank == 5 or len(tensor.shape) == rank]
    return any(None in each or math.prod(each) > 1 for each in sides)


def _passes(operation: Any) -> bool:
    linear = getattr(operation, "activation", None) is keras.activations.linear
    return isinstance(operation, _PASSING) or (
        isinstance(operation, keras.layers.Activation) and linear
    )


def _shape(tensor: Any) -> Shape:
    if tensor.shape[0] not in (None, 1) or None in tensor.shape[1:]:
        raise UntoldError
    return (1, *tensor.shape[1:])
