"""Random weights for parts of a model, for a while: each layer draws as when it was made."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np

from tfcam.model.graph import graph_of
from tfcam.model.tree import children


class Placed(NamedTuple):
    """A layer and its place among all operations of the model."""

    position: int
    layer: keras.Layer


@dataclass(frozen=True)
class Stage:
    """Layers that are randomised together.

    Attributes:
        name: The path of the lowest of them, the one nearest to the image.
        layers: Each with its place among all operations of the model.
    """

    name: str
    layers: tuple[Placed, ...]


def stages(model: keras.Model, count: int) -> list[Stage]:
    """Split the layers with weights into groups of consecutive ones, from the logits down.

    The first group is the layer of the logits alone, the others hold about equally many; a single
    group holds all. What prepares the data (``Normalization``) is left out: training did not learn
    it.

    Args:
        model: A Keras model.
        count: The largest number of groups, at least 1.

    Returns:
        The groups, those nearest to the output first.

    Raises:
        ValueError: If the count is none, the model has no weights, or has some outside its layers.
    """
    if count < 1:
        raise ValueError(f"steps must be at least 1; got {count}.")
    if own := own_weights(model):
        raise ValueError(
            f"Weights are drawn anew layer by layer; {own[0].path!r} belongs to the model itself. "
            "Put it into a layer."
        )
    graph = graph_of(model)
    operations = graph.items()
    positions = {id(layer): place for place, (_, layer) in reversed([*enumerate(operations)])}
    calls = graph.calls(graph.find_input()).calls
    order = dict.fromkeys(positions[id(call.operation)] for call in calls)
    layers = [
        Placed(position, operations[position][1])
        for position in reversed(order)
        if own_weights(operations[position][1])
        and not isinstance(operations[position][1], keras.layers.Normalization)
    ]
    if not layers:
        raise ValueError(f"{model.name!r} has no weights to draw anew.")
    parts = np.array_split(np.arange(1, len(layers)), max(count - 1, 1))
    groups = [[0], *(part.tolist() for part in parts if len(part))]
    if count == 1:
        groups = [list(range(len(layers)))]
    return [
        Stage(operations[layers[group[-1]].position][0], tuple(layers[n] for n in group))
        for group in groups
    ]


def own_weights(operation: keras.Operation) -> list[keras.Variable]:
    """List the weights that a layer holds itself, not in a layer inside it."""
    inner = {id(w) for child in children(operation) for w in getattr(child, "weights", [])}
    return [w for w in getattr(operation, "weights", []) if id(w) not in inner]


@contextlib.contextmanager
def kept_weights(model: keras.Model) -> Iterator[None]:
    """Put back every variable of a model, bit for bit, however the block ends."""
    before = [(variable, np.array(np.asarray(variable))) for variable in model.variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def reinitialise(stage: Stage, seed: int) -> None:
    """Draw the weights of a stage anew, each by its layer's own initialiser.

    A new layer of the same configuration is built and its weights are taken over: batch
    normalisation gets gamma 1, beta 0, mean 0 and variance 1 unless it says otherwise. What a layer
    draws depends on the seed and its place in the model only.

    Args:
        stage: The layers.
        seed: The seed of the weights.

    Raises:
        ValueError: If a layer can't be made anew from its configuration.
    """
    for position, layer in stage.layers:
        for variable, new in zip(own_weights(layer), _draw(layer, seed, position), strict=True):
            variable.assign(new)


def _draw(layer: keras.Layer, seed: int, position: int) -> list[keras.Variable]:
    """Draw weights for a layer."""
    state = random.getstate()
    # An initialiser without a seed of its own takes one from here.
    random.seed(f"{seed} {position}")
    try:
        fresh = type(layer).from_config(layer.get_config())
        fresh.build_from_config(layer.get_build_config())
    except Exception as error:
        raise ValueError(
            f"The layer {layer.name!r} must be made anew from its configuration to draw its "
            f"weights anew; that failed: {' '.join(str(error).split())} Give it a get_config."
        ) from error
    finally:
        random.setstate(state)
    return own_weights(fresh)
