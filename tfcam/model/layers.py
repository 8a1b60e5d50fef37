"""What is inside a model: every layer that has a map, and which one to explain by default.

Words: an *operation* is a Keras layer, or an operation without a layer such as ConvNeXt's last
``Add``. A *map* is an output with the rank of the model's input and more than one position, or
tokens (B, T, D) that can be laid out on a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import keras

from tfcam.model.call_graph import Call, Record, record
from tfcam.model.heads import HeadError, find_head
from tfcam.model.layer_types import CONVOLUTIONS, GLOBAL_POOLINGS, PASSING
from tfcam.model.tokens import known_grid, map_shape, token_shape
from tfcam.model.tree import walk
from tfcam.utils.terminal_text import printable


def default_layer(
    model: Any, calls: Record, given: tuple[int, int] | None = None
) -> tuple[str, str]:
    """Which map to explain when none is named, and why.

    Args:
        model: A built Keras model.
        calls: Its record.
        given: (height, width) of its tokens' grid where the user says it.

    Returns:
        The path, and the reason in one clause.

    Raises:
        ValueError: If no operation of the model has a map.
    """
    mapped, operations = mapped_calls(model, calls, given)
    maps = [each for each in mapped if calls.sees_explained(each)]
    if not maps:
        tokens = [call.path for call in calls.calls if token_shape(calls, call)]
        hint = f" If {tokens[-1]!r} gives tokens, pass grid=(height, width)." if tokens else ""
        raise ValueError(
            f"A layer with a map is needed; {model.name!r} has none (no output of rank "
            f"{calls.rank} with more than one position). Methods of pixels, such as saliency, "
            f"need no layer.{hint}{sealed(model)}"
        )
    # Squeeze-and-excite blocks pool too, but maps follow them; after the head's pooling none does.
    for call in calls.calls[calls.calls.index(maps[-1]) + 1 :]:
        pools = isinstance(operations[call.position], GLOBAL_POOLINGS) and call.inputs
        if pools and calls.sees_explained(call):
            source = calls.producer(call.inputs[0])
            path = f"{calls.name(call)}:input" if source is None else calls.name(source)
            return path, f"feeds {call.path}, the last global pooling"
    grid = known_grid(calls, maps[-1], given)
    attended = _last_attended(calls, given)
    if grid is not None and grid.prefix and attended is not None:
        source = calls.producer(attended.inputs[0])
        path = f"{calls.name(attended)}:input" if source is None else calls.name(source)
        return path, (
            f"goes into {attended.path}, the last attention: later patch tokens get no gradient "
            "where the head reads the class token"
        )
    for call in reversed(maps):
        if not isinstance(operations[call.position], PASSING):
            return calls.name(call), "the last map of the network, which has no global pooling"
    return calls.name(maps[-1]), "the last map of the network"


def sealed(model: Any) -> str:
    """What to say of an exported network inside, whose layers are layers no more."""
    for path, operation in walk(model):
        if isinstance(operation, keras.layers.TFSMLayer):
            return (
                f" What is inside {path!r}, an exported SavedModel, can't be opened: saliency, "
                "smooth_grad and integrated_gradients still work."
            )
    return ""


def _last_attended(calls: Record, given: tuple[int, int] | None) -> Call | None:
    """The last attention from tokens that have a grid."""
    for call in reversed(calls.calls):
        if call.path in calls.attentions and known_grid(calls, call, given, "input"):
            return call
    return None


def layers(model: keras.Model) -> LayerList:
    """List every layer that has a map, with its path, index, kind and shape.

    Args:
        model: Any built Keras model with one input.

    Returns:
        The layers in the order in which the model calls them. It prints as a table. Sizes that
        the model leaves open are those for pictures of 224 x 224.

    Raises:
        ValueError: If the model is not built, or none of its layers has a map.

    Example:
        >>> import keras, tfcam
        >>> model = keras.Sequential([
        ...     keras.Input((8, 8, 3)),
        ...     keras.layers.Conv2D(4, 3, name="conv"),
        ...     keras.layers.GlobalAveragePooling2D(name="pool"),
        ...     keras.layers.Dense(2, name="head"),
        ... ])
        >>> tfcam.layers(model)
        index  layer  kind    map        convolution  CAM
        0      conv   Conv2D  6 x 6 x 4  yes          yes
        Explained by default: conv (feeds pool, the last global pooling).
    """
    return list_layers(model, record(model))


def mapped_calls(
    model: Any, calls: Record, given: tuple[int, int] | None = None
) -> tuple[list[Call], list[Any]]:
    """The calls that give a map, but for whole models, which only pass on what is inside them."""
    operations = [operation for _, operation in walk(model)]
    maps = [call for call in calls.calls if map_shape(calls, call, given)]
    return [c for c in maps if not isinstance(operations[c.position], keras.Model)], operations


def list_layers(model: Any, calls: Record) -> LayerList:
    """The layers of ``layers(model)``, from a record that is already there."""
    mapped, operations = mapped_calls(model, calls)
    head = find_head(model, calls)
    pooled = None if isinstance(head, HeadError) else head.tensor
    entries = [
        LayerInfo(
            index,
            calls.name(call),
            type(operations[call.position]).__name__,
            map_shape(calls, call) or (),
            isinstance(operations[call.position], CONVOLUTIONS),
            call.output == pooled and not _has_prefix(calls, call),
        )
        for index, call in enumerate(mapped)
    ]
    return LayerList(entries, *default_layer(model, calls))


def _has_prefix(calls: Record, call: Call) -> bool:
    """Whether tokens come before those of patches, which no map can show."""
    grid = known_grid(calls, call)
    return grid is not None and grid.prefix > 0


@dataclass(frozen=True)
class LayerInfo:
    """One layer that has a map.

    Attributes:
        index: Its place in the list, which also names it: ``explain(model, image, index)``.
        path: Its path in the model, ``outer/inner``.
        kind: The class of the layer or operation.
        shape: (height, width, channels) of its map for one image, of tokens on their grid;
            unknown sizes are None.
        convolution: Whether it is a convolution.
        cam: Whether CAM applies there.
    """

    index: int
    path: str
    kind: str
    shape: tuple[int | None, ...]
    convolution: bool
    cam: bool


class LayerList(Sequence[LayerInfo]):
    """The layers of a model that have a map; prints as a table.

    Attributes:
        default: The path of the layer that is explained when none is named.
        reason: Why that one, in one clause.
    """

    def __init__(self, entries: Sequence[LayerInfo], default: str, reason: str) -> None:
        self._entries, self.default, self.reason = tuple(entries), default, reason

    @overload
    def __getitem__(self, index: int) -> LayerInfo: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LayerInfo]: ...
    def __getitem__(self, index: int | slice) -> LayerInfo | Sequence[LayerInfo]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def rows(self) -> list[tuple[str, ...]]:
        """The table's cells as text, the header first."""
        header: tuple[str, ...] = ("index", "layer", "kind", "map", "convolution", "CAM")
        return [header] + [
            (
                str(entry.index),
                entry.path,
                entry.kind,
                " x ".join("?" if size is None else str(size) for size in entry.shape),
                "yes" if entry.convolution else "",
                "yes" if entry.cam else "",
            )
            for entry in self
        ]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        lines.append(f"Explained by default: {self.default} ({self.reason}).")
        return printable("\n".join(lines))

    __repr__ = __str__
