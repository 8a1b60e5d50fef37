"""Which patch each token of a sequence is of: what joins, cuts and moves tokens, followed."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf

# Of each token: the number of its patch, from 1; of what is of no patch, such as a class token or
# a register, a number of its own below 0; of padding 0.
Origins: TypeAlias = tuple[int, ...]

# What joins, cuts or moves tokens: types of TensorFlow's operations.
_MOVING = {
    *("ConcatV2", "Pad", "PadV2", "ReverseV2", "Roll", "GatherV2"),
    *("StridedSlice", "Slice", "Split", "SplitV", "Unpack"),
}


class TokenOrigins(NamedTuple):
    """Where the tokens of a model come from.

    Attributes:
        of: Of each tensor whose tokens were joined, cut or moved, what each token is of.
        read: The number of the first token of no patch that is taken out alone; 0 without one.
    """

    of: Mapping[str, Origins] = {}
    read: int = 0


def find_origins(
    graph: tf.Graph, parents: Mapping[str, tuple[str, ...]], name_of: Callable[[tf.Tensor], str]
) -> TokenOrigins:
    """Follow tokens (B, T, D) through a traced model.

    Of tensors that are joined, the longest is that of the patches, where nothing is known of it. A
    tensor has the tokens of what it is made from, unless an operation moves them.

    Args:
        graph: The graph, traced for one example.
        parents: The tensors that each tensor is made from, of those that depend on the inputs.
        name_of: Names a tensor of the graph.
    """
    origins: dict[str, Origins] = {}
    fresh, read = itertools.count(-1, -1), 0
    for operation in graph.get_operations():
        made = [tensor for tensor in operation.outputs if tensor.name in parents]
        taken = _tokens_taken(operation) if made else []
        if not taken:
            sources = (origins.get(name) for name in (parents[made[0].name] if made else ()))
            found = next(filter(None, sources), None)
            origins |= {tensor.name: found for tensor in made if found}
            continue
        names = list(map(name_of, taken))
        known = [_fitting(origins.get(n), t) for n, t in zip(names, taken, strict=True)]
        fed = [name in parents for name in names]
        given = _completed([tensor.shape[1] for tensor in taken], known, fed, fresh)
        for tensor, moved in zip(made, _moved(operation, taken, given), strict=False):
            origins[tensor.name] = moved
            if len(moved) == 1 and moved[0] < 0:
                read = read or moved[0]
    return TokenOrigins(origins, read)


def _tokens_taken(operation: tf.Operation) -> list[tf.Tensor]:
    """The tensors that may be of tokens, of what may move these; none of any other operation."""
    if operation.type not in _MOVING:
        return []
    taken = [tensor for tensor in operation.inputs if tensor.shape.rank == 3]
    if any(tensor.shape[0] != 1 for tensor in taken):  # the first axis is another than the batch
        return []
    along = operation.type != "ConcatV2" or tf.get_static_value(operation.inputs[-1]) in (1, -2)
    return taken if along and all(t.shape[1:].is_fully_defined() for t in taken) else []


def _fitting(known: Origins | None, tensor: tf.Tensor) -> Origins:
    return known if known is not None and len(known) == tensor.shape[1] else ()


def _completed(
    lengths: list[int], known: list[Origins], fed: list[bool], fresh: Iterator[int]
) -> list[Origins]:
    """Number the tokens of tensors of which nothing is known yet."""
    longest = max(lengths)
    return [
        each
        or tuple(
            range(1, length + 1)
            if depends and length == longest
            else itertools.islice(fresh, length)
        )
        for length, each, depends in zip(lengths, known, fed, strict=True)
    ]


def _moved(
    operation: tf.Operation, taken: list[tf.Tensor], given: list[Origins]
) -> Iterator[Origins]:
    """Move the numbers of tokens by the operation itself."""
    numbers = {
        tensor.ref(): np.broadcast_to(np.array(each)[:, np.newaxis], tensor.shape[1:])[np.newaxis]
        for tensor, each in zip(taken, given, strict=True)
    }
    values = [numbers.get(t.ref(), tf.get_static_value(t)) for t in operation.inputs]
    if any(value is None for value in values):
        return
    with tf.init_scope():
        for moved in tf.nest.flatten(run_on(operation, values)):
            result = np.asarray(moved)
            if result.ndim == 2:  # the axis of tokens was taken out
                result = result[:, np.newaxis]
            if result.ndim == 3 and len(result) == 1 and result.size:
                channel = np.argmax(np.count_nonzero(result[0], axis=0))
                yield tuple(result[0, :, channel].tolist())


# What only computes with sizes, and gives the same for the same.
_OF_SIZES = {
    *("Pack", "StridedSlice", "Slice", "ConcatV2", "GatherV2", "Reshape", "ExpandDims", "Squeeze"),
    *("Add", "AddV2", "Sub", "Mul", "FloorDiv", "RealDiv", "Floor", "Round", "Cast", "Neg"),
    *("Less", "Greater", "GreaterEqual", "Select", "SelectV2", "FloorMod", "Prod"),
    *("Maximum", "Minimum", "Range", "Fill", "Tile", "Shape", "Identity", "ReverseV2"),
}


def constant_value(tensor: tf.Tensor) -> np.ndarray | None:
    """The value of a tensor that is made of constants alone; None of any other."""
    value = tf.get_static_value(tensor)
    if value is not None or not tf.is_symbolic_tensor(tensor) or tensor.op.type not in _OF_SIZES:
        return value
    values = list(map(constant_value, tensor.op.inputs))
    if not values or any(one is None for one in values):
        return None
    with tf.init_scope():
        return np.asarray(tf.nest.flatten(run_on(tensor.op, values))[tensor.value_index])


def run_on(operation: tf.Operation, values: list[Any]) -> Any:
    """Run an operation of a graph on other values."""
    function = getattr(tf.raw_ops, operation.type)
    rest, arguments, inferred = iter(values), dict[str, Any](), set[str]()
    # Of what it takes, Python has its own names.
    names = inspect.signature(function).parameters
    for name, taken in zip(names, operation.op_def.input_arg, strict=False):
        inferred |= {taken.type_attr, taken.number_attr}
        several = taken.number_attr
        count = operation.get_attr(several) if several else 1
        given = list(itertools.islice(rest, count))
        arguments[name] = given if several else given[0]
    if operation.type == "PadV2":
        arguments["constant_values"] = np.int64(0)
    for attribute in operation.op_def.attr:
        if attribute.name not in inferred:
            arguments[attribute.name] = operation.get_attr(attribute.name)
    return function(**arguments)
