"""Transformers: tokens laid out on their grid, and what attends to what.

Tokens are (B, T, D): ``prefix`` tokens in front that stand for no patch (class, distillation,
registers), then one for each patch, row by row. Attention scores are (B, heads, T, T).
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfcam.intake import run
from tfcam.recording import Call, Record, attentions, tensor_name
from tfcam.tapping import Side, rewired, walk

# A class token, a distillation token and some registers.
_MOST_PREFIX = 8


@dataclass(frozen=True)
class Grid:
    """Where tokens lie in the image.

    Attributes:
        height: Rows of patches.
        width: Patches in a row.
        prefix: How many tokens come before those of the patches.
    """

    height: int
    width: int
    prefix: int = 0


def token_shape(calls: Record, call: Call, side: Side = "output") -> tuple[int | None, ...] | None:
    """The shape (1, T, D) of what a call gives or takes, None where these are no tokens.

    Tokens need a model of images (B, H, W, C) and more than one position. Windows of an image,
    which have become a batch of their own, are none.
    """
    shape = call.shape if side == "output" else call.input_shape
    if calls.rank != 4 or shape is None or len(shape) != 3:
        return None
    return shape if shape[0] in (1, None) and shape[1] != 1 else None


def grid_of(
    calls: Record, call: Call, given: tuple[int, int] | None = None, side: Side = "output"
) -> Grid:
    """Find how the tokens of a call lie in the image.

    The evidence is the last map before it that has as many positions as there are tokens, but for
    a few in front: the patch embedding. Where patches were cut out without a convolution, they
    are taken to be squares that cover the image, behind at most one token.

    Args:
        calls: The model's record.
        call: One of its calls.
        given: (height, width) where the user says it.
        side: Whether the call gives or takes the tokens.

    Returns:
        The grid.

    Raises:
        ValueError: If these are no tokens, the given grid does not fit, or none is found.

    Example:
        >>> from tfcam.recording import Call, Record
        >>> embedding = Call("patches", 0, 0, (), "a", (1, 4, 6, 8))
        >>> block = Call("block", 1, 0, (), "b", (1, 25, 8))
        >>> grid_of(Record((embedding, block), (), None, 4, (32, 48)), block)
        Grid(height=4, width=6, prefix=1)
    """
    shape = token_shape(calls, call, side)
    if shape is None or shape[1] is None:
        found = call.shape if side == "output" else call.input_shape
        raise ValueError(
            "Tokens must be (B, T, D), with a T over 1 that the model fixes, in a model of images; "
            f"{call.path!r} has {'no one tensor' if found is None else found} there."
        )
    count = shape[1]
    if given is not None:
        return _given(call, count, given)
    grids = _from_maps(calls, call, count) or _from_patches(calls, call, count)
    if len(grids) != 1:
        raise ValueError(
            f"The grid of the {count} tokens of {call.path!r} can't be told: no map before them "
            f"has as many positions, and {count} is {'also ' * bool(grids)}no one grid of square "
            "patches behind at most one class token. Pass grid=(height, width)."
        )
    return grids.pop()


def _given(call: Call, count: int, given: tuple[int, int]) -> Grid:
    grid = _fitting(count, *given)
    if grid is None:
        raise ValueError(
            f"grid=(height, width) must hold all {count} tokens of {call.path!r} but at most "
            f"{_MOST_PREFIX} in front; got {given}, which holds {given[0] * given[1]}."
        )
    return grid


def _fitting(count: int, height: int, width: int) -> Grid | None:
    patches = height * width
    prefix = count - patches
    fits = 0 <= prefix <= _MOST_PREFIX and prefix < patches > 1
    return Grid(height, width, prefix) if fits else None


def _from_maps(calls: Record, call: Call, count: int) -> set[Grid]:
    """The grid of the last map that fits."""
    shapes = [each.shape or () for each in _before(calls, call) if calls.has_map(each)]
    grids = [
        _fitting(count, shape[1], shape[2])
        for shape in shapes
        if shape[0] in (1, None) and shape[1] is not None and shape[2] is not None
    ]
    fitting = [grid for grid in grids if grid is not None]
    # (B, 1, T, D) may be one head of an attention.
    wide = [grid for grid in fitting if min(grid.height, grid.width) > 1]
    return set((wide or fitting)[-1:])


def _from_patches(calls: Record, call: Call, count: int) -> set[Grid]:
    """The grids of square patches: of the input, else of the first map that can be cut so."""
    maps = [each.shape or () for each in _before(calls, call) if calls.has_map(each)]
    for height, width in [calls.sides, *(shape[1:3] for shape in maps)]:
        if height is None or width is None:
            continue
        if height == width:
            sizes = {(side, side) for side in range(2, height + 1)}
        else:
            sizes = {(height // p, width // p) for p in range(1, min(height, width) + 1)}
        grids = {Grid(h, w, count - h * w) for h, w in sizes if count - h * w in (0, 1)}
        if grids:
            return grids
    return set()


def _before(calls: Record, call: Call) -> Sequence[Call]:
    return calls.calls[: calls.calls.index(call)]


def map_shape(
    calls: Record, call: Call, given: tuple[int, int] | None = None
) -> tuple[int | None, ...] | None:
    """The shape (h, w, K) of the map that a call gives, also as tokens; None where it has none.

    Tokens whose grid can't be told, or only supposed in a network without attention, are none.
    """
    if calls.has_map(call):
        return (call.shape or ())[1:]
    grid = known_grid(calls, call, given)
    return None if grid is None else (grid.height, grid.width, (call.shape or ())[-1])


def known_grid(
    calls: Record, call: Call, given: tuple[int, int] | None = None, side: Side = "output"
) -> Grid | None:
    """The grid of a call's tokens, None where there are none or it takes supposing too much."""
    shape = token_shape(calls, call, side)
    if shape is None or shape[1] is None or calls.in_attention(call):
        return None
    if given is not None:
        return _fitting(shape[1], *given)
    grids = _from_maps(calls, call, shape[1])
    if not grids and calls.attentions:
        grids = _from_patches(calls, call, shape[1])
    return grids.pop() if len(grids) == 1 else None


def to_map(tokens: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Lay tokens out on their grid, without those in front.

    Args:
        tokens: (B, T, D).
        grid: How they lie in the image.

    Returns:
        (B, h, w, D).

    Raises:
        ValueError: If there are more or fewer tokens than the grid holds.

    Example:
        >>> tokens = tf.reshape(tf.range(7.0), (1, 7, 1))
        >>> to_map(tokens, Grid(2, 3, prefix=1))[0, ..., 0].numpy()
        array([[1., 2., 3.],
               [4., 5., 6.]], dtype=float32)
    """
    wanted = grid.prefix + grid.height * grid.width
    if tokens.shape.rank != 3 or tokens.shape[1] not in (wanted, None):
        raise ValueError(
            f"A grid of {grid.height} x {grid.width} patches behind {grid.prefix} tokens needs "
            f"(B, {wanted}, D); got {tuple(tokens.shape)}. Pass images of the size that the model "
            "was built for, or another grid=(height, width)."
        )
    return tf.reshape(tokens[:, grid.prefix :], (-1, grid.height, grid.width, tokens.shape[-1]))


@contextlib.contextmanager
def reading_attentions(model: Any) -> Iterator[list[tf.Tensor]]:
    """Read the attention scores of every self-attention while the model runs inside this scope.

    What the model returns is the same to the last bit: each attention is asked for its scores in
    a call of its own. Open other taps on the model inside this scope.

    Args:
        model: A built Keras model.

    Yields:
        A list that fills with (B, heads, T, T) float32, one for each call, in their order.

    Raises:
        ValueError: If the model has no attention, or one whose scores can't be read; while it
            runs, if one attends from some tokens to others.
    """
    readable = attentions(model)
    _check_readable(model, readable)
    paths = {id(layer): path for path, layer in reversed(readable)}
    scores: list[tf.Tensor] = []

    def read(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        signature, path = inspect.signature(original), paths[id(layer)]

        def call(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            _check_self(path, given.arguments)
            if given.arguments.get("return_attention_scores"):
                outputs = original(*args, **kwargs)
                scores.append(_score(path, outputs))
                return outputs
            given.arguments["return_attention_scores"] = True
            with _left_as_it_was(layer, (args, kwargs)):
                scores.append(_score(path, original(*given.args, **given.kwargs)))
            return original(*args, **kwargs)

        return call

    with rewired(model, [layer for _, layer in readable], read):
        yield scores


def attention_scores(model: Any, images: tf.Tensor) -> list[tf.Tensor]:
    """The attention scores of every self-attention, for a batch of images.

    Args:
        model: A built Keras model with one input.
        images: Its input, (B, H, W, C).

    Returns:
        (B, heads, T, T) float32 for each call, in their order; rows sum to 1.

    Raises:
        ValueError: If the scores can't be read; see ``reading_attentions``.
    """
    with reading_attentions(model) as scores:
        run(model, [images])
    return list(scores)


def _check_readable(model: Any, readable: list[tuple[str, Any]]) -> None:
    how = (
        "It reads keras.layers.MultiHeadAttention, and any layer whose call takes "
        "return_attention_scores=True and then returns (outputs, scores)."
    )
    known = {id(layer) for _, layer in readable}
    known |= {id(inner) for _, layer in readable for _, inner in walk(layer)}
    for path, each in walk(model):
        named = "attention" in type(each).__name__.lower()
        if named and not known & {id(each), *(id(inner) for _, inner in walk(each))}:
            raise ValueError(
                f"Attention rollout needs the scores of every attention; {path!r} "
                f"({type(each).__name__}) computes its own and does not give them. {how}"
            )
    if not readable:
        raise ValueError(
            f"Attention rollout needs a network with attention; {model.name!r} has none that can "
            f"be read. {how}"
        )


def _check_self(path: str, arguments: dict[str, Any]) -> None:
    sources = [arguments.get(name) for name in ("inputs", "query", "value", "key")]
    tensors = [each for each in tf.nest.flatten(sources) if isinstance(each, tf.Tensor)]
    if not all(_same(tensors[0], each) for each in tensors[1:]):
        raise ValueError(
            f"Attention rollout needs self-attention; {path!r} attends from one tensor to "
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
            f"Attention rollout needs the scores of every attention; {path!r} does not return "
            "them when it is asked to: its own code computes without them."
        )
    # keras.layers.Attention has one head and no axis for it.
    return tf.cast(scores if scores.shape.rank != 3 else scores[:, tf.newaxis], tf.float32)


@contextlib.contextmanager
def _left_as_it_was(layer: Any, values: Any) -> Iterator[None]:
    """Undo what a call leaves behind: layers remember it, and attention takes off its masks."""
    inside = [layer, *(inner for _, inner in walk(layer))]
    before = [(each, dict(vars(each))) for each in inside]
    masked = [
        (tensor, tensor._keras_mask)
        for tensor in tf.nest.flatten(values)
        if getattr(tensor, "_keras_mask", None) is not None
    ]
    try:
        yield
    finally:
        for each, attributes in before:
            # Past Keras's tracking, which would note them as new.
            each.__dict__.clear()
            each.__dict__.update(attributes)
        for tensor, mask in masked:
            tensor._keras_mask = mask


def rollout(scores: Sequence[tf.Tensor]) -> tf.Tensor:
    """Attention rollout: how much each token of the last layer takes from each patch token.

    a_l = 0.5 mean_heads(A_l) + 0.5 I with its rows divided by their sums;  R = a_L ... a_1. The
    identity stands for the connection around each attention.

    Args:
        scores: (B, heads, T, T) for each attention, from the first to the last.

    Returns:
        (B, T, T); rows sum to 1.

    Raises:
        ValueError: If there are no scores, or not all are of the same tokens.

    Source: Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers", section 3.

    Example:
        >>> uniform = tf.fill((1, 1, 2, 2), 0.5)
        >>> rollout([uniform])[0].numpy()
        array([[0.75, 0.25],
               [0.25, 0.75]], dtype=float32)
    """
    if not scores:
        raise ValueError("Attention rollout needs at least one attention; the model called none.")
    shapes = [tuple(each.shape) for each in scores]
    if any(len(shape) != 4 or shape[2] != shape[3] for shape in shapes):
        raise ValueError(
            "Attention rollout needs scores (B, heads, T, T), of attention over all tokens; got "
            f"{', '.join(map(str, dict.fromkeys(shapes)))}."
        )
    if len({(shape[0], shape[2]) for shape in shapes}) > 1:
        raise ValueError(
            "Attention rollout needs the same tokens in every attention; their number, or that of "
            f"windows, changes from call to call: {', '.join(map(str, dict.fromkeys(shapes)))}. "
            "A gradient method such as grad_cam applies."
        )
    identity = tf.eye(tf.shape(scores[0])[2], dtype=scores[0].dtype)
    flow = identity[tf.newaxis]
    for each in scores:
        step = 0.5 * tf.reduce_mean(each, axis=1) + 0.5 * identity
        flow = tf.matmul(step / tf.reduce_sum(step, axis=-1, keepdims=True), flow)
    return flow


def rollout_map(scores: Sequence[tf.Tensor], grid: Grid) -> tf.Tensor:
    """Attention rollout on the grid: the class token's row; without one, the mean of all rows.

    Args:
        scores: (B, heads, T, T) for each attention, from the first to the last.
        grid: How the T tokens lie in the image. The first in front is the class token.

    Returns:
        (B, h, w), not negative.

    Raises:
        ValueError: As ``rollout``, or if attention is over other tokens than the grid holds.

    Example:
        >>> rollout_map([tf.fill((1, 1, 3, 3), 1 / 3)], Grid(1, 2, prefix=1)).numpy().round(4)
        array([[[0.1667, 0.1667]]], dtype=float32)
    """
    flow = rollout(scores)
    count = grid.prefix + grid.height * grid.width
    if flow.shape[-1] not in (count, None):
        raise ValueError(
            f"Attention rollout needs attention over all {count} tokens; here each is over "
            f"{flow.shape[-1]}, such as those of a window. A gradient method such as grad_cam "
            "applies."
        )
    row = flow[:, 0] if grid.prefix else tf.reduce_mean(flow, axis=1)
    return to_map(row[..., tf.newaxis], grid)[..., 0]
