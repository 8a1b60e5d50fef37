"""What a model calls, in order: the record that layers, heads and preprocessing are read from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from tfcam.model.functional_graph import read_graph
from tfcam.model.hooks import Side, Visitor, observed
from tfcam.model.inputs import find_input, inputs_of, run
from tfcam.model.layer_types import attentions
from tfcam.model.tree import walk

_NOMINAL = 224


@dataclass(frozen=True)
class Call:
    """One call of one operation, as it happened while the model was traced.

    ``inputs`` and ``output`` name tensors: equal names are the same tensor. ``position`` counts
    in ``walk(model)``, so that a record keeps no model alive. ``input_shape`` is that of the first
    of the inputs. Shapes have the channels last.
    """

    path: str
    position: int
    number: int
    inputs: tuple[str, ...]
    output: str | None
    shape: tuple[int | None, ...] | None
    input_shape: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Record:
    """What a model calls, in the order in which the calls end, and what it returns.

    Attributes:
        calls: The calls.
        outputs: The names of the tensors that it returns.
        shape: The shape of its one output; None where there are several.
        rank: The rank of a map: that of the explained input, and at least 3.
        sides: The spatial sizes of that input, as it was traced.
        attentions: The paths of the layers whose attention can be read.
        sources: Of a model with several inputs, which of them each tensor depends on.
        which: Which input is explained.
    """

    calls: tuple[Call, ...]
    outputs: tuple[str, ...]
    shape: tuple[int | None, ...] | None
    rank: int
    sides: tuple[int, ...] = ()
    attentions: frozenset[str] = frozenset()
    sources: Mapping[str, frozenset[int]] = field(default_factory=dict)
    which: int = 0

    def producer(self, tensor: str) -> Call | None:
        """The first call that returned this tensor: the innermost one, as that one ends first."""
        made = (c for c in self.calls if c.output == tensor and tensor not in c.inputs)
        return next(made, None)

    def tensor(self, path: str, number: int | None, side: Side) -> str | None:
        """The name of the tensor that goes into or comes out of a call; None if there was none."""
        for call in self.calls:
            if call.path == path and number in (None, call.number):
                return call.output if side == "output" else (*call.inputs, None)[0]
        return None

    def has_map(self, call: Call) -> bool:
        """Whether a call returned a map: more than one position, laid out as the input is."""
        shape = call.shape
        if shape is None or len(shape) != self.rank or self.in_attention(call):
            return False
        return math.prod(size or 2 for size in shape[1:-1]) > 1

    def in_attention(self, call: Call) -> bool:
        """Whether a call is inside an attention layer, where (B, T, heads, d) is no map."""
        return any(call.path.startswith(f"{path}/") for path in self.attentions)

    def sees_explained(self, call: Call) -> bool:
        """Whether what a call returns depends on the explained one of several inputs."""
        return not self.sources or self.which in self.sources.get(call.output or "", ())

    def sees_only_explained(self, call: Call) -> bool:
        """Whether a call takes what comes from the explained one of several inputs alone."""
        return bool(call.inputs) and self.sources.get(call.inputs[0]) == {self.which}

    def name(self, call: Call) -> str:
        """The path by which a call can be asked for, with its number where there are several."""
        repeated = sum(other.position == call.position for other in self.calls) > 1
        return f"{call.path}:{call.number}" if repeated else call.path


def record(model: Any, which: int | None = None, size: int = _NOMINAL) -> Record:
    """Note every call of a model, without computing anything.

    Args:
        model: A built Keras model.
        which: Which of its inputs is explained; None takes the one with most axes.
        size: What stands for the spatial sizes that the model leaves open, in pixels.

    Returns:
        The calls in the order in which they end.
    """
    which = find_input(model) if which is None else which
    # A trace takes longer than a forward pass.
    return read_record(model, which) or trace_record(model, which, size)


def read_record(model: Any, which: int) -> Record | None:
    """The record as Keras's graph tells it; None where that does not tell everything."""
    read = read_graph(model)
    if read is None:
        return None
    steps, outputs, single, sources = read
    taken = inputs_of(model)
    explained = taken[which]
    rank = len(explained.sides) + 2

    def last(shape: tuple[int | None, ...] | None) -> tuple[int | None, ...] | None:
        return _channels_last(shape, rank) if explained.channels_first else shape

    calls = tuple(
        Call(path, position, number, inputs, output, last(shape), last(first))
        for position, path, number, inputs, output, shape, first in steps
    )
    sides = tuple(side for side in explained.sides if side)
    readable = frozenset(path for path, _ in attentions(model))
    kept = sources if len(taken) > 1 else {}
    return Record(calls, tuple(outputs), single, rank, sides, readable, kept, which)


def trace_record(model: Any, which: int, size: int = _NOMINAL) -> Record:
    """The record of any model, which is traced once."""
    taken = inputs_of(model)
    rank = len(taken[which].sides) + 2
    positions: dict[int, tuple[int, str]] = {}
    for position, (path, operation) in enumerate(walk(model)):
        positions.setdefault(id(operation), (position, path))
    calls: list[Call] = []
    inputs: dict[tuple[int, int], tuple[tuple[str, ...], tuple[int | None, ...] | None]] = {}

    def shape_of(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
        shape = _shape(tensor)
        return _channels_last(shape, rank) if taken[which].channels_first else shape

    def visit(operation: Any, number: int, side: Side, value: Any) -> Any:
        tensors = [t for t in tf.nest.flatten(value) if isinstance(t, tf.Tensor)]
        if side == "input":
            first = shape_of(tensors[0]) if tensors else None
            inputs[id(operation), number] = tuple(map(tensor_name, tensors)), first
            return value
        position, path = positions[id(operation)]
        single = tensors[0] if len(tensors) == 1 else None
        names, first = inputs.get((id(operation), number), ((), None))
        calls.append(
            Call(
                path,
                position,
                number,
                names,
                None if single is None else tensor_name(single),
                None if single is None else shape_of(single),
                first,
            )
        )
        return value

    concrete, ends = trace(model, visit, size)
    outputs = tuple(tensor_name(tensor) for tensor in ends)
    readable = frozenset(path for path, _ in attentions(model))
    single = tuple(ends[0].shape) if len(ends) == 1 else None
    sides = tuple(side or size for side in taken[which].sides)
    sources = _sources(concrete.graph, len(taken)) if len(taken) > 1 else {}
    return Record(tuple(calls), outputs, single, rank, sides, readable, sources, which)


def _sources(graph: tf.Graph, count: int) -> dict[str, frozenset[int]]:
    """Which of the first ``count`` inputs of a graph each tensor depends on."""
    found: dict[str, frozenset[int]] = {}
    for number, tensor in enumerate(graph.inputs[:count]):
        found[tensor.name] = frozenset({number})
    for operation in graph.get_operations():
        seen = frozenset[int]().union(*(found.get(t.name, ()) for t in operation.inputs))
        for tensor in operation.outputs:
            found.setdefault(tensor.name, seen)
    return found


def trace(model: Any, visit: Visitor, size: int = _NOMINAL) -> tuple[Any, list[tf.Tensor]]:
    """Trace the model once on one example, without computing anything.

    Args:
        model: A built Keras model.
        visit: Sees what goes into and comes out of each call of each operation inside.
        size: What stands for the spatial sizes that the model leaves open, in pixels.

    Returns:
        The traced function, whose first inputs are the model's, and the tensors in its graph that
        the model returns.
    """
    ends: list[tf.Tensor] = []

    @tf.function(autograph=False)
    def traced(*values: tf.Tensor) -> Any:
        with observed(model, [operation for _, operation in walk(model)], visit):
            outputs = run(model, values)
        ends.extend(tf.nest.flatten(outputs))
        return outputs

    return traced.get_concrete_function(*(each.spec(size) for each in inputs_of(model))), ends


def _channels_last(
    shape: tuple[int | None, ...] | None, rank: int
) -> tuple[int | None, ...] | None:
    """The shape of a tensor of a model that has its channels first, as a map has it."""
    return shape if shape is None or len(shape) != rank else (shape[0], *shape[2:], shape[1])


def _shape(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape)


def tensor_name(tensor: tf.Tensor) -> str:
    """A tensor's name in its graph; casts and identities are the tensor that they copy."""
    if not tf.is_symbolic_tensor(tensor):  # a constant that the model holds, such as positions
        return f"constant {id(tensor)}"
    while tensor.op.type in ("Cast", "Identity"):
        tensor = tensor.op.inputs[0]
    return tensor.name
