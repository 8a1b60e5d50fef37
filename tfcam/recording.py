"""What a model calls, in order: the record that layers, heads and preprocessing are read from."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfcam.checks import check_model
from tfcam.tapping import Side, Visitor, observed, walk

_NOMINAL = 224


@dataclass(frozen=True)
class Call:
    """One call of one operation, as it happened while the model was traced.

    ``inputs`` and ``output`` name tensors: equal names are the same tensor. ``position`` counts
    in ``walk(model)``, so that a record keeps no model alive. ``input_shape`` is that of the first
    of the inputs.
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
        rank: The rank of a map: that of the input, and at least 3.
        sides: The spatial sizes of the input, as it was traced.
        attentions: The paths of the layers whose attention can be read.
    """

    calls: tuple[Call, ...]
    outputs: tuple[str, ...]
    shape: tuple[int | None, ...] | None
    rank: int
    sides: tuple[int, ...] = ()
    attentions: frozenset[str] = frozenset()

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

    def name(self, call: Call) -> str:
        """The path by which a call can be asked for, with its number where there are several."""
        repeated = sum(other.position == call.position for other in self.calls) > 1
        return f"{call.path}:{call.number}" if repeated else call.path


def input_shape(model: Any) -> tuple[int | None, ...]:
    """The shape of the model's one input without the batch axis; unknown sizes are None.

    Raises:
        ValueError: If the model is not built, or has several inputs.
        TypeError: If it is no Keras model.
    """
    check_model(model)
    if not model.built:
        raise ValueError(
            f"The model must be built before it can be explained; {model.name!r} has never been "
            "called. Call it once on a batch of images, or build it with its input shape."
        )
    shape = getattr(model, "input_shape", None)
    if shape is None:
        shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, tuple | list) or not all(
        s is None or isinstance(s, int) for s in shape
    ):
        raise ValueError(
            "The model must have one input tensor; "
            f"{model.name!r} takes {'an unknown input' if shape is None else shape}."
        )
    return tuple(shape[1:])


def attentions(model: Any) -> list[tuple[str, Any]]:
    """The layers that can return attention scores, with their paths: the innermost ones.

    These are ``keras.layers.MultiHeadAttention`` and its like, and any layer whose ``call`` takes
    ``return_attention_scores``.
    """
    found = [(path, each) for path, each in walk(model) if _returns_scores(each)]
    return [
        (path, each)
        for path, each in found
        if not any(_returns_scores(child) for _, child in walk(each))
    ]


def _returns_scores(operation: Any) -> bool:
    call = getattr(operation.call, "python_function", operation.call)
    return "return_attention_scores" in inspect.signature(call).parameters


def record(model: Any, size: int = _NOMINAL) -> Record:
    """Trace the model once, without computing anything, and note every call.

    Args:
        model: A built Keras model with one input.
        size: What stands for the spatial sizes that the model leaves open, in pixels.

    Returns:
        The calls in the order in which they ended.
    """
    check_model(model)
    positions: dict[int, tuple[int, str]] = {}
    for position, (path, operation) in enumerate(walk(model)):
        positions.setdefault(id(operation), (position, path))
    calls: list[Call] = []
    inputs: dict[tuple[int, int], tuple[tuple[str, ...], tuple[int | None, ...] | None]] = {}

    def visit(operation: Any, number: int, side: Side, value: Any) -> Any:
        tensors = [t for t in tf.nest.flatten(value) if isinstance(t, tf.Tensor)]
        if side == "input":
            first = _shape(tensors[0]) if tensors else None
            inputs[id(operation), number] = tuple(map(tensor_name, tensors)), first
            return value
        position, path = positions[id(operation)]
        single = tensors[0] if len(tensors) == 1 else None
        names, taken = inputs.get((id(operation), number), ((), None))
        calls.append(
            Call(
                path,
                position,
                number,
                names,
                None if single is None else tensor_name(single),
                None if single is None else _shape(single),
                taken,
            )
        )
        return value

    _, ends = trace(model, visit, size)
    outputs = tuple(tensor_name(tensor) for tensor in ends)
    readable = frozenset(path for path, _ in attentions(model))
    single = tuple(ends[0].shape) if len(ends) == 1 else None
    *sides, _ = (side or size for side in input_shape(model))
    rank = max(3, len(sides) + 2)
    return Record(tuple(calls), outputs, single, rank, tuple(sides), readable)


def trace(model: Any, visit: Visitor, size: int = _NOMINAL) -> tuple[Any, list[tf.Tensor]]:
    """Trace the model once on one image, without computing anything.

    Args:
        model: A built Keras model with one input.
        visit: Sees what goes into and comes out of each call of each operation inside.
        size: What stands for the spatial sizes that the model leaves open, in pixels.

    Returns:
        The traced function, whose first input is the image, and the tensors in its graph that the
        model returns.
    """
    ends: list[tf.Tensor] = []

    @tf.function(autograph=False)
    def traced(images: tf.Tensor) -> Any:
        with observed(model, [operation for _, operation in walk(model)], visit):
            outputs = run(model, images)
        ends.extend(tf.nest.flatten(outputs))
        return outputs

    shape = input_shape(model)
    sides = (side or size for side in shape[:-1])
    spec = tf.TensorSpec((1, *sides, shape[-1] or 3), input_dtype(model))
    return traced.get_concrete_function(spec), ends


def logits(output: tf.Tensor) -> tf.Tensor | None:
    """What went into the softmax or sigmoid that made an output: Keras notes it, or the graph."""
    noted = getattr(output, "_keras_logits", None)
    if noted is not None or not tf.is_symbolic_tensor(output):
        return noted
    operation = output.op
    while operation.type in ("Identity", "Cast", "Reshape", "Squeeze"):
        operation = operation.inputs[0].op
    return operation.inputs[0] if operation.type in ("Softmax", "Sigmoid") else None


def run(model: Any, images: tf.Tensor) -> Any:
    """Call the model in inference mode with its one input, in the structure that it asks for."""
    if getattr(model, "inputs", None) and not isinstance(model, keras.Sequential):
        images = tf.nest.pack_sequence_as(model.input, [images])
    return model(images, training=False)


def input_dtype(model: Any) -> str:
    """The dtype that the model's input asks for, float32 where it says nothing."""
    inputs = getattr(model, "inputs", None)
    dtype = inputs[0].dtype if inputs else "float32"
    return dtype if "int" in dtype else "float32"


def _shape(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape)


def tensor_name(tensor: tf.Tensor) -> str:
    """A tensor's name in its graph; casts and identities are the tensor that they copy."""
    if not tf.is_symbolic_tensor(tensor):  # a constant that the model holds, such as positions
        return f"constant {id(tensor)}"
    while tensor.op.type in ("Cast", "Identity"):
        tensor = tensor.op.inputs[0]
    return tensor.name
