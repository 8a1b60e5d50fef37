"""Reading the attention scores of a transformer while it runs."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tfcam.model.graph import ModelGraph
from tfcam.model.hooks import rewired
from tfcam.model.layer_types import attentions
from tfcam.model.tracing import tensor_name
from tfcam.model.tree import inner_operations


@contextlib.contextmanager
def reading_attentions(
    graph: ModelGraph, watch: Callable[[tf.Tensor], object] | None = None
) -> Iterator[list[tf.Tensor]]:
    """Read the attention scores of every self-attention while the model runs inside this scope.

    What the model returns is the same to the last bit: each attention is asked for its scores in
    a call of its own. Open other taps on the model inside this scope.

    Args:
        graph: What is known of the model.
        watch: Called with what goes into each attention, such as ``tape.watch``. The model then
            goes on with what attentions return beside their scores, so that these have gradients;
            it may differ by rounding.

    Yields:
        A list that fills with the scores, one for each call, in their order, as the layer gives
        them: see ``of_heads``.

    Raises:
        ValueError: If the model has no attention, or one whose scores can't be read; while it
            runs, if one attends from some tokens to others.
    """
    readable = attentions(graph)
    _check_readable(graph, readable)
    paths = {id(layer): path for path, layer in reversed(readable)}
    scores: list[tf.Tensor] = []

    def read(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        signature, path = inspect.signature(original), paths[id(layer)]

        def call(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            _check_self(path, bound.arguments)
            if bound.arguments.get("return_attention_scores"):
                outputs = original(*args, **kwargs)
                scores.append(_score(path, outputs))
                return outputs
            bound.arguments["return_attention_scores"] = True
            if watch is not None:
                for tensor in tf.nest.flatten((args, kwargs)):
                    if isinstance(tensor, tf.Tensor) and tensor.dtype.is_floating:
                        watch(tensor)
                with _left_as_it_was(layer, ()):
                    outputs = original(*bound.args, **bound.kwargs)
                scores.append(_score(path, outputs))
                return outputs[0]
            with _left_as_it_was(layer, (args, kwargs)):
                scores.append(_score(path, original(*bound.args, **bound.kwargs)))
            return original(*args, **kwargs)

        return call

    with rewired(graph, [layer for _, layer in readable], read):
        yield scores


def attention_scores(graph: ModelGraph, images: tf.Tensor) -> list[tf.Tensor]:
    """Read the attention scores of every self-attention, for a batch of images.

    Args:
        graph: What is known of a model with one input.
        images: Its input, (B, H, W, C).

    Returns:
        (B, heads, T, T) float32 for each call, in their order; rows sum to 1.

    Raises:
        ValueError: If the scores can't be read; see ``reading_attentions``.
    """
    with reading_attentions(graph) as scores:
        graph.run([images])
    return [of_heads(each) for each in scores]


def _check_readable(graph: ModelGraph, readable: list[tuple[str, Any]]) -> None:
    how = (
        "It reads keras.layers.MultiHeadAttention, and any layer whose call takes "
        "return_attention_scores=True and then returns (outputs, scores)."
    )
    known = {id(layer) for _, layer in readable}
    known |= {id(inner) for _, layer in readable for inner in inner_operations(layer)}
    for path, operation in graph.items():
        named = "attention" in type(operation).__name__.lower()
        if named and not known & {id(operation), *map(id, inner_operations(operation))}:
            raise ValueError(
                f"A map of attention needs the scores of every attention; {path!r} "
                f"({type(operation).__name__}) computes its own and does not give them. {how}"
            )
    if not readable:
        raise ValueError(
            f"A map of attention needs a network with attention; {graph.name!r} has none that can "
            f"be read. {how}"
        )


def _check_self(path: str, arguments: dict[str, Any]) -> None:
    sources = [arguments.get(name) for name in ("inputs", "query", "value", "key")]
    tensors = [value for value in tf.nest.flatten(sources) if isinstance(value, tf.Tensor)]
    if not all(_same(tensors[0], tensor) for tensor in tensors[1:]):
        raise ValueError(
            f"A map of attention needs self-attention; {path!r} attends from one tensor to "
            "another. A gradient method such as grad_cam applies."
        )


def _same(one: tf.Tensor, other: tf.Tensor) -> bool:
    """Whether two tensors are one, but for casts."""
    if one is other:
        return True
    if tf.is_symbolic_tensor(one) and tf.is_symbolic_tensor(other):
        return tensor_name(one) == tensor_name(other)
    if tf.is_symbolic_tensor(one) or tf.is_symbolic_tensor(other) or one.shape != other.shape:
        return False
    return bool(tf.reduce_all(one == tf.cast(other, one.dtype)))


def _score(path: str, outputs: Any) -> tf.Tensor:
    scores = outputs[1] if isinstance(outputs, tuple | list) and len(outputs) == 2 else None
    if not isinstance(scores, tf.Tensor):
        raise ValueError(
            f"A map of attention needs the scores of every attention; {path!r} does not return "
            "them when it is asked to: its own code computes without them."
        )
    return scores


def of_heads(scores: tf.Tensor) -> tf.Tensor:
    """Lay attention scores, or their gradients, out as (B, heads, T, T) float32.

    keras.layers.Attention has one head and no axis for it.
    """
    return tf.cast(scores if scores.shape.rank != 3 else scores[:, tf.newaxis], tf.float32)


@contextlib.contextmanager
def _left_as_it_was(layer: Any, values: Any) -> Iterator[None]:
    """Undo what a call leaves behind: layers remember it, and attention takes off its masks."""
    inside = [layer, *inner_operations(layer)]
    before = [(operation, dict(vars(operation))) for operation in inside]
    masked = [
        (tensor, tensor._keras_mask)
        for tensor in tf.nest.flatten(values)
        if getattr(tensor, "_keras_mask", None) is not None
    ]
    try:
        yield
    finally:
        for operation, attributes in before:
            # Past Keras's tracking, which would note them as new.
            operation.__dict__.clear()
            operation.__dict__.update(attributes)
        for tensor, mask in masked:
            tensor._keras_mask = mask
