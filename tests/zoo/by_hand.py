"""Grad-CAM by hand: a plain GradientTape around the model, and nothing of tfcam."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def children(operation: Any) -> list[Any]:
    """What a layer or model holds, operations without a layer included."""
    inside = [*getattr(operation, "_layers", ()), *getattr(operation, "operations", ())]
    return list({id(one): one for one in inside}.values())


def find(model: keras.Model, path: str) -> Any:
    """Find a layer or operation by its path, "outer/inner"; names may hold a slash themselves."""
    for child in children(model):
        if child.name == path:
            return child
        if path.startswith(f"{child.name}/"):
            found = find(child, path.removeprefix(f"{child.name}/"))
            if found is not None:
                return found
    return None


@contextmanager
def recorded(operation: Any, tape: tf.GradientTape, side: str) -> Iterator[list[tf.Tensor]]:
    """Collect what goes into a layer, or what comes out of it, at each call of it."""
    seen, original = [], operation.call

    def call(*args: Any, **options: Any) -> Any:
        taken = args[0] if args else next(iter(options.values()))
        if side == "input":
            tape.watch(taken)
            seen.append(taken)
        made = original(*args, **options)
        if side == "output":
            tape.watch(made)
            seen.append(tf.nest.flatten(made)[0])
        return made

    operation.call = call
    try:
        yield seen
    finally:
        del operation.call


def grad_cam(
    model: keras.Model,
    path: str,
    inputs: Any,
    score: Callable[[Any], tf.Tensor],
    grid: tuple[int, ...],
    last: bool = True,
) -> np.ndarray:
    """Weigh each channel by the mean of its gradient, and add: (B, h, w), before the ReLU.

    Args:
        model: The model, channels last.
        path: The layer, "outer/inner", "layer:1" for its second call, "layer:input" for what goes
            into it.
        inputs: What the model takes.
        score: What is explained, from the model's outputs: (B,).
        grid: The map's size; tokens beside those of patches are left out.
        last: Whether those of patches are the last.
    """
    name, _, rest = path.partition(":")
    side = "input" if rest == "input" else "output"

    @tf.function(autograph=False)  # eagerly, TensorFlow crashes on some strided convolutions
    def slopes(values: Any) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape, recorded(find(model, name), tape, side) as seen:
            explained = score(model(values, training=False))
        activations = seen[int(rest) if rest.isdigit() else -1]
        return activations, tf.convert_to_tensor(tape.gradient(explained, activations))

    constants = tf.nest.map_structure(tf.constant, inputs)
    A, G = (_on_grid(one.numpy(), grid, last) for one in slopes(constants))
    axes = tuple(range(1, G.ndim - 1))
    return (G.mean(axes, keepdims=True) * A).sum(-1)


def _on_grid(values: np.ndarray, grid: tuple[int, ...], last: bool) -> np.ndarray:
    if values.ndim == len(grid) + 2:
        return values
    if values.ndim == 4 or len(values) > 1:  # each frame of a video has its own tokens
        values = values.reshape(-1, *values.shape[-2:])
        return _on_grid_of(values, grid[1:], last).reshape(1, *grid, -1)
    return _on_grid_of(values, grid, last)


def _on_grid_of(values: np.ndarray, grid: tuple[int, ...], last: bool) -> np.ndarray:
    count = math.prod(grid)
    patches = values[:, -count:] if last else values[:, :count]
    return patches.reshape(len(values), *grid, -1)
