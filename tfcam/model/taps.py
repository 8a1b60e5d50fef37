"""Finding the layers that a user names, by path, name, object or index."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, NamedTuple, TypeAlias

import keras

from tfcam.model.call_graph import CallGraph
from tfcam.model.hooks import Side
from tfcam.model.layer_types import sealed_path
from tfcam.model.layers import DefaultLayer, mapped_calls, sealed_hint
from tfcam.model.tokens import Grid, check_grid_of, grid_of, known_grid
from tfcam.model.tree import ModelTree, Node
from tfcam.utils.suggestions import did_you_mean
from tfcam.utils.validation import kind_of, shown

Layer: TypeAlias = str | int | keras.Operation | None


Layers: TypeAlias = Layer | Sequence[str | int | keras.Operation]


ALL_CONVOLUTIONS = "all_convolutions"


@dataclass(frozen=True)
class Tap:
    """Where a model is opened: an operation, which of its calls, its input or its output.

    ``grid`` is how the tokens there lie in the image; None where there is a map. ``frames`` is how
    many frames of a video there are a batch, (B T, h, w, K); 1 where the map has no time.
    """

    path: str
    operation: Callable[[], Any]
    number: int | None = None
    side: Side = "output"
    grid: Grid | None = None
    frames: int | None = None

    @property
    def name(self) -> str:
        """What names this place: the path, with the call and the side where they matter."""
        number = "" if self.number is None else f":{self.number}"
        return f"{self.path}{number}{':input' if self.side == 'input' else ''}"

    def is_at(self, other: Tap) -> bool:
        """Whether another opens the model at the same place; names may be those of several."""
        place = (id(self.operation()), self.number, self.side)
        return place == (id(other.operation()), other.number, other.side)


class Place(NamedTuple):
    """Where a model is opened, why there, and what names the last maps beside it."""

    tap: Tap
    reason: str
    others: tuple[str, ...] = ()


def open_layer(
    tree: ModelTree,
    layer: Layer,
    calls: Callable[[], CallGraph],
    default: Callable[[], DefaultLayer],
    grid: tuple[int, ...] | None = None,
    rank: int = 4,
) -> Place:
    """Find the layer that a user asks for in any of the ways to name one.

    Args:
        tree: A built Keras model.
        layer: A path, a bare name, a layer object, an index of ``layers(model)``, or None.
        calls: Gives what the model calls; asked for only where the names do not do.
        default: Gives the layer that is explained when none is named.
        grid: (height, width) of the tokens' grid, where it is not that of a map before them.
        rank: Number of axes of a map.

    Raises:
        ValueError: If there is no such layer, its name is not unique, or it gives tokens whose
            grid can't be told.
    """
    if grid is not None:
        check_grid_of(calls(), grid)
    place = _open(tree, layer, calls, default, grid)
    return place._replace(tap=_with_grid(place.tap, calls, grid, rank))


def _with_grid(
    tap: Tap, calls: Callable[[], CallGraph], grid: tuple[int, ...] | None, rank: int
) -> Tap:
    """The tap, with the grid of its tokens where it has tokens."""
    # Only where Keras's graph does not say that there are as many axes as in a map.
    known = getattr(getattr(tap.operation(), tap.side, None), "shape", ())
    if grid is None and (len(known) == rank or rank < 4):
        return tap
    graph = calls()
    for call in graph.calls:
        same = call.operation is tap.operation() and tap.number in (None, call.number)
        shape = call.shape if tap.side == "output" else call.input_shape
        if same and shape is not None and len(shape) == 3 and graph.rank == 4:
            return replace(tap, grid=grid_of(graph, call, grid, tap.side))
        if same and graph.rank == 5:
            known = known_grid(graph, call, grid, tap.side)
            if known is not None or grid is None:
                return replace(tap, grid=known)
        if same:
            break
    if grid is not None:
        raise ValueError(
            f"grid={grid} is for layers that give tokens (B, T, D), and so many; {tap.path!r} does "
            "not. Leave it out."
        )
    return tap


def _open(
    tree: ModelTree,
    layer: Layer,
    calls: Callable[[], CallGraph],
    default: Callable[[], DefaultLayer],
    grid: tuple[int, ...] | None,
) -> Place:
    if layer is None:
        _, reason, call, side, others = default()
        tap = Tap(call.path, call.reference, calls().call_number(call), side)
        return Place(tap, reason, others)
    if not isinstance(layer, Integral) or isinstance(layer, bool):
        return Place(resolve(tree, layer), "as given")
    layer = int(layer)
    mapped = mapped_calls(calls(), grid)
    if not -len(mapped) <= layer < len(mapped):
        raise ValueError(
            f"A layer's index must be in 0..{len(mapped) - 1}, as {tree.name!r} has {len(mapped)} "
            f"layers with a map; got {layer}. tfcam.layers(model) lists them."
        )
    call = mapped[layer]
    tap = Tap(call.path, call.reference, calls().call_number(call))
    return Place(tap, f"index {layer} of tfcam.layers(model)")


def check_layers(layer: Layers) -> None:
    """Refuse what can't name a layer or several.

    Raises:
        TypeError: If something in it is of the wrong kind.
        ValueError: If the list is empty.
    """
    for name in layer if isinstance(layer, list | tuple) else [layer]:
        if isinstance(name, bool) or not isinstance(name, str | Integral | keras.Operation | None):
            raise TypeError(
                "A layer must be a path, a name, an index, a layer of the model or None, or a list "
                f"of these; got {shown(name)}."
            )
    if isinstance(layer, list | tuple) and not layer:
        raise ValueError("A list of layers must name at least one; got an empty one.")


def resolve(tree: ModelTree, layer: str | keras.Operation) -> Tap:
    """Find the operation that a path, a bare name or an object names.

    A path may end in ``:1`` (the second call of a shared layer) and in ``:input`` (the tensor that
    goes into the layer, where the tensor has no layer of its own).

    Raises:
        ValueError: If nothing or more than one operation has this name, or the object is not
            part of the model.
        TypeError: If it can't name one.
    """
    if not isinstance(layer, str):
        if not isinstance(layer, keras.Operation):
            raise TypeError(
                "A layer must be a path, a name, an index, a layer object, or a list of these; "
                f"got {kind_of(layer)}."
            )
        path = tree.path(layer)
        if path is None:
            raise ValueError(
                f"The layer must be part of the model; {getattr(layer, 'name', layer)!r} "
                f"is not inside {tree.name!r}."
            )
        return Tap(path, weakref.ref(layer))
    name, number, side = _parse(layer, tree)
    matching = _named(tree, name)
    if len({node.reference for node in matching}) > 1:
        paths = ", ".join(repr(node.path) for node in matching[:8])
        raise ValueError(
            f"A layer's name must be unique; {name!r} names {len(matching)} layers of "
            f"{tree.name!r}: {paths}. Give the whole path, the layer object or its index."
        )
    if not matching:
        suggestion = did_you_mean(name, (node.path for node in tree.nodes))
        raise ValueError(
            f"No layer {name!r} in {tree.name!r}.{suggestion} "
            f"tfcam.layers(model) lists all that have a map.{sealed_hint(sealed_path(tree))}"
        )
    return Tap(matching[0].path, matching[0].reference, number, side)


def _named(tree: ModelTree, name: str) -> list[Node]:
    """The operations that a path or a bare name may mean."""
    return [node for node in tree.nodes if node.path == name] or [
        node for node in tree.nodes if f"/{node.path}".endswith(f"/{name}")
    ]


def _parse(layer: str, tree: ModelTree) -> tuple[str, int | None, Side]:
    """Part a layer's name from ":<call>" and ":input"; it may hold colons itself."""
    side: Side = "output"
    if _named(tree, layer):
        return layer, None, side
    if layer.endswith(":input"):
        layer, side = layer.removesuffix(":input"), "input"
    name, colon, call = layer.rpartition(":")
    if not colon or _named(tree, layer):
        return layer, None, side
    if call.isdecimal():
        return name, int(call), side
    if not _named(tree, layer.partition(":")[0]):
        return layer, None, side
    raise ValueError(
        f"After a layer's name only ':<call>' and ':input' may stand; got {layer!r}. "
        "For example 'encoder/conv:1' is the second call of a shared layer."
    )
