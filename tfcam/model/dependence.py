"""What a score is computed from: walking back from a model's output through its calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras

from tfcam.model.call_graph import Call, CallGraph
from tfcam.model.layer_types import has_kernel
from tfcam.model.tree import children

# What only rescales, activates, resizes or rearranges what it takes: classes of Keras and types of
# TensorFlow's operations.
_FINISHING = {
    *("Activation", "Softmax", "Sigmoid", "LogSoftmax", "ReLU", "Relu", "LeakyReLU", "Tanh"),
    *("Reshape", "Permute", "Transpose", "ExpandDims", "Squeeze", "Rescaling", "Resizing"),
    *("UpSampling1D", "UpSampling2D", "UpSampling3D", "ResizeBilinear", "ResizeNearestNeighbor"),
    *("ZeroPadding2D", "Cropping2D", "Dropout", "SpatialDropout2D", "Pad", "PadV2"),
    *("Concatenate", "ConcatV2", "BatchNormalization", "LayerNormalization", "Identity"),
    *("Add", "AddV2", "Average", "Maximum", "Minimum", "Mul", "Sub", "RealDiv", "Neg"),
    *("Multiply", "Subtract", "Divide", "TrueDivide", "Negative", "Clip", "Stack", "Pack"),
}
# What takes some of a map's channels or positions.
_PARTS = ("GetItem", "StridedSlice")
# What may take some positions and leave others, or be part of a softmax over them.
_SELECTING = {
    *("StridedSlice", "Slice", "GatherV2", "GatherNd", "Split", "SplitV", "Unpack", "Exp"),
    *("While", "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall"),
    *("GetItem", "Take", "TakeAlongAxis", "LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"),
}
_SOFTMAX = "Softmax"
_GATES = (keras.activations.sigmoid, keras.activations.softmax)
_LAYING_OUT = ("Reshape", "Permute", "Transpose", "ExpandDims", "Squeeze")
# How many steps after the last weights may be.
_DEEPEST = 30


def reached(calls: CallGraph, asked: Sequence[str]) -> frozenset[str]:
    """The tensors that some tensors are computed from, and those themselves.

    What comes only before a softmax, other than that of the output, weights what is summed: the
    mean of its gradient over the positions is zero, and it is left out.
    """
    values = _unweighted(calls, asked)
    return values if any(call.output in values for call in calls.maps) else before(calls, asked)


def only_weights(calls: CallGraph, asked: Sequence[str]) -> bool:
    """Whether all maps come before a softmax, as where the place of a peak is computed from it."""
    values = _unweighted(calls, asked)
    return not any(call.output in values for call in calls.maps)


def _unweighted(calls: CallGraph, asked: Sequence[str]) -> frozenset[str]:
    ends = scores(calls, asked) | set(asked)
    weighted = {name for name, kind in calls.kinds.items() if kind == _SOFTMAX} - ends
    return before(calls, asked, weighted)


def before(calls: CallGraph, asked: Iterable[str], without: Iterable[str] = ()) -> frozenset[str]:
    """The tensors that some tensors are computed from, and those themselves; some are passed over.

    What only those that are passed over are computed from is left out as well.
    """
    seen: set[str] = set(without)
    found, waiting = set[str](), list(asked)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            found.add(name)
            waiting += calls.parents.get(name, ())
    return frozenset(found)


class _End(NamedTuple):
    """What a tensor is from the last weights on, and whether it goes back to weights alone."""

    names: frozenset[str]
    whole: bool


_NO_END = _End(frozenset(), False)


def scores(calls: CallGraph, asked: Sequence[str]) -> frozenset[str]:
    """The tensors from the last weights on: scores, and what only rescales or resizes them."""
    ends: dict[str, _End] = {}
    return frozenset[str](asked).union(*(_end(calls, name, 0, ends).names for name in asked))


def _end(calls: CallGraph, name: str, depth: int, ends: dict[str, _End]) -> _End:
    if name not in ends:
        ends[name] = _NO_END
        before = None if depth > _DEEPEST else _unfinished(calls, name)
        if before is not None:
            inner = [_end(calls, one, depth + 1, ends) for one in before]
            whole = all(end.whole for end in inner)
            taken = inner if whole or len(inner) < 2 else []
            ends[name] = _End(frozenset({name}).union(*(end.names for end in taken)), whole)
    return ends[name]


def _unfinished(calls: CallGraph, name: str) -> Sequence[str] | None:
    """What a tensor only finishes; nothing where weights make it, None where it is more."""
    call = calls.producer(name)
    kind = "" if call is None else type(call.operation).__name__
    if call is not None and _has_weights(call):
        return ()
    if call is not None and kind in _FINISHING:
        return call.inputs or calls.parents.get(name, ())  # nothing, after a number
    if kind != "Flatten" and calls.kinds.get(name) in _FINISHING:
        return calls.parents[name]
    if calls.kinds.get(name) in _PARTS:
        taken = calls.parents[name]
        return taken if all(calls.ranks.get(one) == calls.rank for one in taken) else None
    return None


def _has_weights(call: Call) -> bool:
    operation = call.operation
    norms = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
    own = getattr(operation, "weights", ()) and not children(operation)
    return bool(own) and not isinstance(operation, norms)


def is_gate(calls: CallGraph, tensor: str) -> bool:
    """Whether a sigmoid or a softmax made what a tensor lays out."""
    while calls.kinds.get(tensor) in _LAYING_OUT:
        tensor = calls.parents[tensor][0]
    call = calls.producer(tensor)
    activation = None if call is None else getattr(call.operation, "activation", None)
    return calls.kinds.get(tensor) in ("Sigmoid", _SOFTMAX) or activation in _GATES


def dominates(calls: CallGraph, tensor: str, asked: Sequence[str]) -> bool:
    """Whether some tensors depend on the explained input through one tensor alone."""
    return calls.explained_input not in before(calls, asked, [tensor])


def behind_kernels(calls: CallGraph) -> frozenset[str]:
    """The tensors that come from weights that mix values; all others hold pixels, though scaled."""
    made = {call.output for call in calls.calls if has_kernel(call.operation)}
    found = set[str]()
    for name, parents in calls.parents.items():  # in the order in which they are made
        if name in made or not found.isdisjoint(parents):
            found.add(name)
    return frozenset(found)


def may_select(calls: CallGraph, tensor: str, among: frozenset[str]) -> bool:
    """Whether some positions of a map may be left out on the way from it.

    Args:
        calls: What the model calls.
        tensor: The map.
        among: The tensors that the score is computed from.
    """
    after = {tensor}
    for name, parents in calls.parents.items():  # in the order in which they are made
        if name in among and name not in after and not after.isdisjoint(parents):
            if calls.kinds.get(name) in _SELECTING:
                return True
            after.add(name)
    return False
