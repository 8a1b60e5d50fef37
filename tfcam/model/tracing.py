"""Tracing a model once, to see what it calls, without computing anything."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from tfcam.model.call_graph import (
    Call,
    CallGraph,
    Ending,
    Shape,
    axis_orders,
    channels_last,
)
from tfcam.model.eager_gradients import graph_harms
from tfcam.model.endings import traced_ending
from tfcam.model.followed_places import follow_places
from tfcam.model.frames import AT_ONCE
from tfcam.model.hooks import Side, Visitor, observed
from tfcam.model.inputs import ROUNDED, Input, run
from tfcam.model.layer_types import RECURRENT_MAPS, attentions, sealed_path
from tfcam.model.layouts import Layout
from tfcam.model.token_origins import TokenOrigins, find_origins
from tfcam.model.tree import ModelTree
from tfcam.model.videos import lay_out_frames, moved_examples

# What stands for the sides that a model leaves open, in pixels.
_NOMINAL = 224


class Traced(NamedTuple):
    """A model as it was traced.

    Attributes:
        function: The traced function, whose first inputs are the model's.
        outputs: The tensors in its graph that the model returns.
    """

    function: Any
    outputs: list[tf.Tensor]


def trace(tree: ModelTree, structure: Any, visit: Visitor, size: int = _NOMINAL) -> Traced:
    """Trace a model once on one example, without computing anything.

    Args:
        tree: The model.
        structure: Its inputs in the structure in which it takes them.
        visit: Sees what goes into and comes out of each call of each operation inside.
        size: What stands for the spatial sizes that the model leaves open, in pixels.
    """
    outputs: list[tf.Tensor] = []

    @tf.function(autograph=False)
    def traced(*values: tf.Tensor) -> Any:
        with observed(tree, tree.operations, visit):
            returned = run(tree, structure, values)
        outputs.extend(tf.nest.flatten(returned))
        return returned

    specs = [taken.spec(size) for taken in tf.nest.flatten(structure)]
    return Traced(traced.get_concrete_function(*specs), outputs)


def trace_calls(tree: ModelTree, structure: Any, which: int, size: int = _NOMINAL) -> CallGraph:
    """Trace any model once, and note what it calls.

    Args:
        tree: The model.
        structure: Its inputs in the structure in which it takes them.
        which: Which of them is explained.
        size: What stands for the spatial sizes that the model leaves open, in pixels.
    """
    taken: list[Input] = tf.nest.flatten(structure)
    rank = len(taken[which].sides) + 2
    calls: list[Call] = []
    inputs: dict[tuple[int, int], tuple[tuple[str, ...], Shape | None]] = {}

    def shape_of(tensor: tf.Tensor) -> Shape | None:
        shape = None if tensor.shape.rank is None else tuple(tensor.shape)
        return channels_last(shape, rank) if taken[which].layers_first else shape

    def visit(operation: Any, number: int, side: Side, value: Any) -> Any:
        tensors = [t for t in tf.nest.flatten(value) if isinstance(t, tf.Tensor)]
        if side == "input":
            first = shape_of(tensors[0]) if tensors else None
            inputs[id(operation), number] = tuple(map(tensor_name, tensors)), first
            return value
        single = tensors[0] if len(tensors) == 1 else None
        names, first = inputs.get((id(operation), number), ((), None))
        calls.append(
            Call(
                *tree.node_by_id[id(operation)][:2],
                number,
                names,
                None if single is None else tensor_name(single),
                None if single is None else shape_of(single),
                first,
            )
        )
        return value

    function, outputs = trace(tree, structure, visit, size)
    parents, kinds = _parents(function.graph, len(taken))
    turns, sides = _turns(function.graph), taken[which].spec(size).shape[1 : rank - 1]
    explained = function.graph.inputs[which].name
    layouts = _layouts(function.graph, parents, explained, calls, rank)
    return CallGraph(
        lay_out_frames(calls, rank, sides, moved_examples(parents, turns), layouts),
        tuple(map(tensor_name, outputs)),
        tuple(outputs[0].shape) if len(outputs) == 1 else None,
        rank,
        tuple(sides),
        frozenset(path for path, _ in attentions(tree)),
        _sources(function.graph, len(taken)) if len(taken) > 1 else {},
        which,
        tree.name,
        sealed_path(tree),
        parents,
        kinds,
        tensor_name(function.graph.inputs[which]),
        tf.nest.pack_sequence_as(function.structured_outputs, list(map(tensor_name, outputs))),
        tuple(map(shape_of, outputs)),
        dict(zip(_keys(function.structured_outputs), map(_known, outputs), strict=False)),
        tuple(_cuts(function.graph, parents)),
        ranks := _ranks(function.graph),
        axis_orders(parents, kinds, ranks, turns, {}),
        taken[which].layers_order,
        find_origins(function.graph, parents, tensor_name) if rank == 4 else TokenOrigins(),
        layouts,
        graph_harms(function.graph),
    )


def _layouts(
    graph: tf.Graph,
    parents: dict[str, tuple[str, ...]],
    explained: str,
    calls: list[Call],
    rank: int,
) -> dict[str, Layout]:
    """How what goes into calls and comes out of them lies in the explained picture or video."""
    if rank < 4:
        return {}
    wanted = {name for call in calls for name in (call.output, *call.inputs[:1]) if name}
    recurrent = {
        call.output: call.inputs[0]
        for call in calls
        if call.output and call.inputs and isinstance(call.operation, RECURRENT_MAPS)
    }
    return follow_places(graph, parents, explained, wanted, tensor_name, recurrent)


def _keys(outputs: Any) -> list[str | int | None]:
    """List the keys of outputs in their flat order; places where they are in another structure."""
    if tf.is_tensor(outputs):
        return [None]
    flat = isinstance(outputs, dict) and not any(map(tf.nest.is_nested, outputs.values()))
    return sorted(outputs) if flat else list(range(len(tf.nest.flatten(outputs))))


def _known(output: tf.Tensor) -> tuple[Shape | None, Ending | None]:
    return None if output.shape.rank is None else tuple(output.shape), traced_ending(output)


def _sources(graph: tf.Graph, count: int) -> dict[str, frozenset[int]]:
    """Which of the first ``count`` inputs of a graph each tensor depends on."""
    sources: dict[str, frozenset[int]] = {}
    for number, tensor in enumerate(graph.inputs[:count]):
        sources[tensor.name] = frozenset({number})
    for operation in graph.get_operations():
        seen = frozenset[int]().union(*(sources.get(t.name, ()) for t in operation.inputs))
        for tensor in operation.outputs:
            sources.setdefault(tensor.name, seen)
    return sources


# What asks a tensor for its shape alone, or passes no gradient on.
_UNRELATED = ("Shape", "ShapeN", "Size", "Rank", "StopGradient", "ArgMax", "ZerosLike", "OnesLike")


def _parents(graph: tf.Graph, count: int) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """What each tensor that depends on the inputs is made from, and by which operation."""
    fed = {tensor.name for tensor in graph.inputs[:count]}
    parents, kinds = dict[str, tuple[str, ...]](), dict[str, str]()
    for operation in graph.get_operations():
        if _copies(operation) or operation.type in _UNRELATED:
            continue
        own = tuple(name for name in map(tensor_name, operation.inputs) if name in fed)
        for tensor in operation.outputs if own else ():
            fed.add(tensor.name)
            parents[tensor.name], kinds[tensor.name] = own, operation.type
    return parents, kinds


def _cuts(graph: tf.Graph, fed: Container[str]) -> Iterator[tuple[int, int]]:
    """Find where (B, height, width, ...) becomes tokens (B, height width, D)."""
    for operation in graph.get_operations():
        if operation.type == "Reshape" and operation.outputs[0].name in fed:
            taken, made = operation.inputs[0].shape, operation.outputs[0].shape
            if taken[1:].is_fully_defined() and made[1:].is_fully_defined() and len(taken) > 3:
                height, width, *rest = taken[1:]
                if min(height, width) > 1 and made[1:] == [height * width, math.prod(rest)]:
                    yield height, width


def _ranks(graph: tf.Graph) -> dict[str, int]:
    """How many axes each tensor has, where that is known."""
    made = [tensor for operation in graph.get_operations() for tensor in operation.outputs]
    return {tensor.name: tensor.shape.rank for tensor in made if tensor.shape.rank is not None}


def _turns(graph: tf.Graph) -> dict[str, tuple[int, ...]]:
    """The axes of each tensor that a transposition makes."""
    operations = graph.get_operations()
    return {each.outputs[0].name: axes for each in operations if (axes := _axes(each))}


def _axes(operation: tf.Operation) -> tuple[int, ...] | None:
    """The axes of what an operation takes, as what it makes has them, if it is a transposition."""
    if operation.type == "Transpose":
        known = tf.get_static_value(operation.inputs[1])
        return None if known is None else tuple(map(int, known))
    if operation.type == "Einsum" and len(operation.inputs) == 1:
        taken, made = operation.get_attr("equation").decode().split("->")
        same = "." not in taken and sorted(taken) == sorted(made)
        return tuple(map(taken.index, made)) if same else None
    return None


def _copies(operation: tf.Operation) -> bool:
    """Whether an operation gives the values that it takes."""
    at_once = operation.type == "Reshape" and AT_ONCE in operation.name
    same = at_once or (ROUNDED in operation.name and operation.type != "Const")
    return operation.type in ("Cast", "Identity", "EnsureShape") or same


def tensor_name(tensor: tf.Tensor) -> str:
    """A tensor's name in its graph; casts and identities are the tensor that they copy.

    So is a batch of the frames of videos, where a layer for each step is called once for all.
    """
    if not tf.is_symbolic_tensor(tensor):  # a constant that the model holds, such as positions
        return f"constant {id(tensor)}"
    while _copies(tensor.op):
        tensor = tensor.op.inputs[0]
    return tensor.name
