"""Finding the layers that a user names, by path, name, object or index."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, TypeAlias

import keras

from tfcam.model.call_graph import Record
from tfcam.model.hooks import Side
from tfcam.model.inputs import inputs_of
from tfcam.model.layers import default_layer, list_layers, mapped_calls, sealed
from tfcam.model.tokens import Grid, grid_of
from tfcam.model.tree import walk
from tfcam.utils.suggestions import did_you_mean
from tfcam.utils.validation import kind_of, shown

Layer: TypeAlias = str | int | keras.Operation | None


Layers: TypeAlias = Layer | Sequence[str | int | keras.Operation]


ALL_CONVOLUTIONS = "all_convolutions"


@dataclass(frozen=True)
class Tap:
    """Where a model is opened: an operation, which of its calls, its input or its output.

    ``grid`` is how the tokens there lie in the image; None where there is a map.
    """

    path: str
    operation: weakref.ref[Any]
    number: int | None = None
    side: Side = "output"
    grid: Grid | None = None

    @property
    def name(self) -> str:
        """What names this place: the path, with the call and the side where they matter."""
        number = "" if self.number is None else f":{self.number}"
        return f"{self.path}{number}{':input' if self.side == 'input' else ''}"


def open_layer(
    model: Any,
    layer: Layer,
    calls: Callable[[], Record],
    grid: tuple[int, int] | None = None,
) -> tuple[Tap, str]:
    """Find the layer that a user asks for in any of the ways to name one.

    Args:
        model: A built Keras model.
        layer: A path, a bare name, a layer object, an index of ``layers(model)``, or None.
        calls: Gives the model's record; asked for only where the names do not do.
        grid: (height, width) of the tokens' grid, where it is not that of a map before them.

    Returns:
        The tap, and why this layer.

    Raises:
        ValueError: If there is no such layer, its name is not unique, or it gives tokens whose
            grid can't be told.
    """
    tap, reason = _open(model, layer, calls, grid)
    return _with_grid(model, tap, calls, grid), reason


def _with_grid(
    model: Any, tap: Tap, calls: Callable[[], Record], given: tuple[int, int] | None
) -> Tap:
    """The tap, with the grid of its tokens where it has tokens."""
    # Only where Keras's graph does not say that there are as many axes as in an image.
    known = getattr(getattr(tap.operation(), tap.side, None), "shape", ())
    if given is None and (len(known) == 4 or not any(each.is_image for each in inputs_of(model))):
        return tap
    operations = [operation for _, operation in walk(model)]
    for call in calls().calls:
        same = operations[call.position] is tap.operation() and tap.number in (None, call.number)
        shape = call.shape if tap.side == "output" else call.input_shape
        if same and shape is not None and len(shape) == 3 and calls().rank == 4:
            return replace(tap, grid=grid_of(calls(), call, given, tap.side))
        if same:
            break
    if given is not None:
        raise ValueError(
            f"grid=(height, width) is for layers that give tokens (B, T, D); {tap.path!r} does "
            "not. Leave it out."
        )
    return tap


def _open(
    model: Any, layer: Layer, calls: Callable[[], Record], grid: tuple[int, int] | None
) -> tuple[Tap, str]:
    if layer is None:
        path, reason = default_layer(model, calls(), grid)
        return resolve(model, path), reason
    if not isinstance(layer, Integral) or isinstance(layer, bool):
        return resolve(model, layer), "as given"
    layer = int(layer)
    mapped, operations = mapped_calls(model, calls(), grid)
    if not -len(mapped) <= layer < len(mapped):
        raise ValueError(
            f"A layer's index must be in 0..{len(mapped) - 1}, as {model.name!r} has {len(mapped)} "
            f"layers with a map; got {layer}. tfcam.layers(model) lists them."
        )
    call = mapped[layer]
    number = None if calls().name(call) == call.path else call.number
    tap = Tap(call.path, weakref.ref(operations[call.position]), number)
    return tap, f"index {layer} of tfcam.layers(model)"


def open_layers(
    model: Any, layer: Layers, calls: Callable[[], Record], grid: tuple[int, int] | None = None
) -> list[tuple[Tap, str]]:
    """Find one layer, a list of layers, or "all_convolutions"; see ``open_layer``.

    Raises:
        ValueError: If there is no such layer, none at all, or one is named twice.
    """
    if isinstance(layer, str) and layer == ALL_CONVOLUTIONS:
        layer = [each.index for each in list_layers(model, calls()) if each.convolution]
        if not layer:
            raise ValueError(f"{model.name!r} has no convolution that gives a map.")
    for each in layer if isinstance(layer, list | tuple) else [layer]:
        if isinstance(each, bool) or not isinstance(each, str | Integral | keras.Operation | None):
            raise TypeError(
                "A layer must be a path, a name, an index, a layer of the model or None, or a list "
                f"of these; got {shown(each)}."
            )
    if not isinstance(layer, list | tuple):
        return [open_layer(model, layer, calls, grid)]
    if not layer:
        raise ValueError("A list of layers must name at least one; got an empty one.")
    opened = [open_layer(model, each, calls, grid) for each in layer]
    names = [tap.name for tap, _ in opened]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"A list of layers must name each once; {repeated[0]!r} is there twice.")
    return opened


def resolve(model: Any, layer: str | keras.Operation) -> Tap:
    """Find the operation that a path, a bare name or an object names.

    A path may end in ``:1`` (the second call of a shared layer) and in ``:input`` (the tensor that
    goes into the layer, where the tensor has no layer of its own).

    Raises:
        ValueError: If nothing or more than one operation has this name, or the object is not
            part of the model.
        TypeError: If it can't name one.
    """
    nodes = list(walk(model))
    if not isinstance(layer, str):
        if not isinstance(layer, keras.Operation):
            raise TypeError(
                "A layer must be a path, a name, an index, a layer object, or a list of these; "
                f"got {kind_of(layer)}."
            )
        found = next(((path, node) for path, node in nodes if node is layer), None)
        if found is None:
            raise ValueError(
                f"The layer must be part of the model; {getattr(layer, 'name', layer)!r} "
                f"is not inside {model.name!r}."
            )
        return Tap(found[0], weakref.ref(found[1]))
    name, number, side = _parse(layer)
    matching = [(path, node) for path, node in nodes if path == name] or [
        (path, node) for path, node in nodes if f"/{path}".endswith(f"/{name}")
    ]
    if len({id(node) for _, node in matching}) > 1:
        paths = ", ".join(repr(path) for path, _ in matching[:8])
        raise ValueError(
            f"A layer's name must be unique; {name!r} names {len(matching)} layers of "
            f"{model.name!r}: {paths}. Give the whole path, the layer object or its index."
        )
    if not matching:
        suggestion = did_you_mean(name, (path for path, _ in nodes))
        raise ValueError(
            f"No layer {name!r} in {model.name!r}.{suggestion} "
            f"tfcam.layers(model) lists all that have a map.{sealed(model)}"
        )
    path, node = matching[0]
    return Tap(path, weakref.ref(node), number, side)


def _parse(layer: str) -> tuple[str, int | None, Side]:
    name, *rest = layer.split(":")
    side: Side = "output"
    if rest and rest[-1] == "input":
        rest, side = rest[:-1], "input"
    if not rest:
        return name, None, side
    if len(rest) == 1 and rest[0].isdecimal():
        return name, int(rest[0]), side
    raise ValueError(
        f"After a layer's name only ':<call>' and ':input' may stand; got {layer!r}. "
        "For example 'encoder/conv:1' is the second call of a shared layer."
    )
