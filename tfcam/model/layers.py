"""What is inside a model: every layer that has a map, and which one to explain by default.

Words: an *operation* is a Keras layer, or an operation without a layer such as ConvNeXt's last
``Add``. A *map* is an output with the rank of the model's input and more than one position, or
tokens (B, T, D) that can be laid out on a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import keras

from tfcam.model.call_graph import Call, CallGraph
from tfcam.model.heads import Head, HeadError
from tfcam.model.hooks import Side
from tfcam.model.layer_types import CONVOLUTIONS, GLOBAL_POOLINGS, PASSING
from tfcam.model.tokens import known_grid, map_shapes, token_shape
from tfcam.utils.terminal_text import make_printable


class DefaultLayer(NamedTuple):
    """The layer that is explained when none is named.

    Attributes:
        path: What names it.
        reason: Why this one, in one clause.
        call: Its call.
        side: Whether what goes into the call is explained, or what comes out of it.
    """

    path: str
    reason: str
    call: Call
    side: Side = "output"


def default_layer(calls: CallGraph, grid: tuple[int, int] | None = None) -> DefaultLayer:
    """Choose which map to explain when none is named.

    Args:
        calls: What the model calls.
        grid: (height, width) of its tokens' grid where the user says it.

    Raises:
        ValueError: If no operation of the model has a map.
    """
    maps = calls.explained(mapped_calls(calls, grid))
    if not maps:
        raise ValueError(_no_map(calls))
    # Squeeze-and-excite blocks pool too, but maps follow them; after the head's pooling none does.
    for call in calls.explained(calls.calls[calls.calls.index(maps[-1]) + 1 :]):
        if isinstance(call.operation, GLOBAL_POOLINGS) and call.inputs:
            return _source(calls, call, f"feeds {call.path}, the last global pooling")
    tokens = known_grid(calls, maps[-1], grid)
    attended = _last_attended(calls, grid)
    if tokens is not None and tokens.prefix and attended is not None:
        return _source(
            calls,
            attended,
            f"goes into {attended.path}, the last attention: later patch tokens get no gradient "
            "where the head reads the class token",
        )
    for call in reversed(maps):
        if not isinstance(call.operation, PASSING):
            reason = "the last map of the network, which has no global pooling"
            return DefaultLayer(calls.call_name(call), reason, call)
    return DefaultLayer(calls.call_name(maps[-1]), "the last map of the network", maps[-1])


def _source(calls: CallGraph, call: Call, reason: str) -> DefaultLayer:
    """What goes into a call: the layer that gives it, or that input itself."""
    source = calls.producer(call.inputs[0])
    if source is None:
        return DefaultLayer(f"{calls.call_name(call)}:input", reason, call, "input")
    return DefaultLayer(calls.call_name(source), reason, source)


def _no_map(calls: CallGraph) -> str:
    tokens = [call.path for call in calls.calls if token_shape(calls, call)]
    hint = f" If {tokens[-1]!r} gives tokens, pass grid=(height, width)." if tokens else ""
    return (
        f"A layer with a map is needed; {calls.name!r} has none (no output of rank "
        f"{calls.rank} with more than one position). Methods of pixels, such as saliency, "
        f"need no layer.{hint}{sealed_hint(calls.sealed)}"
    )


def sealed_hint(sealed: str | None) -> str:
    """What to say of an exported network inside, whose layers are layers no more."""
    if sealed is None:
        return ""
    return (
        f" What is inside {sealed!r}, an exported SavedModel, can't be opened: saliency, "
        "smooth_grad and integrated_gradients still work."
    )


def _last_attended(calls: CallGraph, grid: tuple[int, int] | None) -> Call | None:
    """The last attention from tokens that have a grid."""
    for call in reversed(calls.calls):
        if call.path in calls.attentions and known_grid(calls, call, grid, "input"):
            return call
    return None


def mapped_calls(calls: CallGraph, grid: tuple[int, int] | None = None) -> list[Call]:
    """List the calls that give a map, but for whole models, which only pass on what is inside."""
    models = keras.Model
    return [call for call in map_shapes(calls, grid) if not isinstance(call.reference(), models)]


def list_layers(
    calls: CallGraph, head: Head | HeadError, grid: tuple[int, int] | None = None
) -> LayerList:
    """List the layers that have a map.

    Args:
        calls: What the model calls.
        head: Its head.
        grid: (height, width) of its tokens' grid where the user says it.
    """
    pooled = None if isinstance(head, HeadError) else head.tensor
    shapes = map_shapes(calls, grid)
    entries = [
        LayerInfo(
            index,
            calls.call_name(call),
            type(call.operation).__name__,
            shapes[call],
            isinstance(call.operation, CONVOLUTIONS),
            call.output == pooled and not _has_prefix(calls, call, grid),
        )
        for index, call in enumerate(mapped_calls(calls, grid))
    ]
    default = default_layer(calls, grid)
    return LayerList(entries, default.path, default.reason)


def _has_prefix(calls: CallGraph, call: Call, grid: tuple[int, int] | None) -> bool:
    """Whether tokens come before those of patches, which no map can show."""
    known = known_grid(calls, call, grid)
    return known is not None and known.prefix > 0


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
        return make_printable("\n".join(lines))

    __repr__ = __str__
