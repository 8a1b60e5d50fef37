"""What is inside a model: every layer that has a map, and which one to explain by default.

Words: an *operation* is a Keras layer, or an operation without a layer such as ConvNeXt's last
``Add``. A *map* is an output with the rank of the model's input and more than one position, or
tokens (B, T, D) that can be laid out on a grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import keras

from tfcam.model.call_graph import Call, CallGraph
from tfcam.model.dependence import (
    before,
    behind_kernels,
    dominates,
    is_gate,
    may_select,
    only_weights,
    reached,
    scores,
)
from tfcam.model.heads import Head, HeadError
from tfcam.model.hooks import Side
from tfcam.model.layer_types import CONVOLUTIONS, GLOBAL_POOLINGS, PASSING
from tfcam.model.members import maps_beside
from tfcam.model.positions import CallKey, call_key
from tfcam.model.tokens import known_grid, map_shapes, token_shape
from tfcam.utils.terminal_text import printable_lines


class DefaultLayer(NamedTuple):
    """The layer that is explained when none is named.

    Attributes:
        path: What names it.
        reason: Why this one, in one clause.
        call: Its call.
        side: Whether what goes into the call is explained, or what comes out of it.
        others: What names the last maps beside it, such as those of an ensemble's other networks.
    """

    path: str
    reason: str
    call: Call
    side: Side = "output"
    others: tuple[str, ...] = ()


# Gradients are first looked for at so many maps: at all of a large network that takes long.
_LATEST = 16
# Counts, of some calls, the positions that the gradient of the outputs that are asked for reaches.
CountPositions = Callable[[Sequence[Call]], Mapping[CallKey, int]]


def default_layer(
    calls: CallGraph,
    grid: tuple[int, ...] | None = None,
    asked: Sequence[str] | None = None,
    count: CountPositions | None = None,
) -> DefaultLayer:
    """Choose which map to explain when none is named.

    Args:
        calls: What the model calls.
        grid: (height, width) of its tokens' grid where the user says it.
        asked: The outputs that the score is computed from; all of them where it is None.
        count: Counts positions that have a gradient; asked only where the calls do not tell.

    Raises:
        ValueError: If no operation of the model has a map.
    """
    asked = calls.outputs if asked is None else asked
    among = reached(calls, asked)
    every = calls.explained(mapped_calls(calls, grid))
    if not every:
        raise ValueError(_no_map(calls))
    ends = scores(calls, asked)
    used = [call for call in every if call.output in among] or every
    # What hands on the very tensor that it takes may do so beside the way to the score.
    used = [call for call in used if call.output not in call.inputs] or used
    inner = [call for call in used if call.output not in ends]
    weights = [call.output or "" for call in inner if _weights_another(calls, call, asked)]
    besides = before(calls, asked, weights) if weights else among
    used = [call for call in used if call.output in besides] or used
    maps = [call for call in used if call.output not in ends] or used
    chosen = _choose(calls, grid, asked, among, used, maps, count)
    tensor = chosen.call.output if chosen.side == "output" else chosen.call.inputs[0]
    others = maps_beside(calls, tensor or "", asked, maps, among)
    return chosen._replace(others=tuple(map(calls.call_name, others)))


def _weights_another(calls: CallGraph, call: Call, asked: Sequence[str]) -> bool:
    """Whether a map goes beside another to the score, as weights of its positions do.

    They are one channel, or between 0 and 1.
    """
    may_be = (call.shape or ())[-1:] == (1,) or is_gate(calls, call.output or "")
    return may_be and not dominates(calls, call.output or "", asked)


def _choose(
    calls: CallGraph,
    grid: tuple[int, ...] | None,
    asked: Sequence[str],
    among: frozenset[str],
    used: Sequence[Call],
    maps: Sequence[Call],
    count: CountPositions | None,
) -> DefaultLayer:
    """Choose one of some maps.

    Args:
        calls: What the model calls.
        grid: (height, width) of its tokens' grid where the user says it.
        asked: The outputs that the score is computed from.
        among: The tensors that it is computed from.
        used: The maps among these.
        maps: Those of them that are no scores.
        count: Counts positions that have a gradient.
    """
    reaching = [call for call in calls.explained(calls.calls) if call.output in among]
    # Squeeze-and-excite blocks pool too, but maps follow them; after the head's pooling none does.
    after = reaching[reaching.index(maps[-1]) + 1 :] if maps[-1] in reaching else ()
    pooling = [call for call in after if isinstance(call.operation, GLOBAL_POOLINGS)]
    for call in pooling:
        if _pools_map(calls, call, grid):
            return _source(calls, call, f"feeds {call.path}, the last global pooling")
    tokens = known_grid(calls, maps[-1], grid)
    attended = _last_attended(calls, reaching, grid)
    if tokens is not None and tokens.extra and not tokens.frames and attended is not None:
        return _source(
            calls,
            attended,
            f"goes into {attended.path}, the last attention: later patch tokens get no gradient "
            "where the head reads the class token",
        )
    last = next((c for c in reversed(maps) if not isinstance(c.operation, PASSING)), maps[-1])
    if len(maps) < len(used):
        return _before_scores(calls, maps, last, asked, used)
    if count is not None and last.output:
        if may_select(calls, last.output, among):
            return _with_gradients(calls, maps, last, count)
        if only_weights(calls, asked):
            seen = behind_kernels(calls)
            return _with_gradients(calls, [c for c in maps if c.output in seen], last, count)
    reason = "the last map of the network"
    if pooling:  # of what has one position
        reason += " with more than one position"
    elif not isinstance(last.operation, PASSING):
        reason += ", which has no global pooling"
    return DefaultLayer(calls.call_name(last), reason, last)


def _pools_map(calls: CallGraph, pooling: Call, grid: tuple[int, ...] | None) -> bool:
    """Whether a pooling is of more than one position, or of tokens that have places."""
    sides = (pooling.input_shape or ())[1:-1]
    if not pooling.inputs or all(side == 1 for side in sides):
        return False
    return len(sides) == calls.rank - 2 or known_grid(calls, pooling, grid, "input") is not None


def _before_scores(
    calls: CallGraph, maps: Sequence[Call], last: Call, asked: Sequence[str], used: Sequence[Call]
) -> DefaultLayer:
    """The last map that all of a map of scores is computed from."""
    first = next(call for call in used if call not in maps)
    for call in reversed(maps):
        if not isinstance(call.operation, PASSING) and dominates(calls, call.output or "", asked):
            last = call
            break
    reason = f"the last map before {first.path}, from which on there are scores of each position"
    return DefaultLayer(calls.call_name(last), reason, last)


def _with_gradients(
    calls: CallGraph, maps: Sequence[Call], last: Call, count: CountPositions
) -> DefaultLayer:
    """The last map as wide as the last of all whose gradient reaches more than one position."""
    before = maps[: maps.index(last) + 1]
    latest = before[-_LATEST:]
    for some in [latest, before] if len(latest) < len(before) else [before]:
        counts = count(some)
        open_maps = [c for c in some if counts.get(call_key(c), 0) > 1]
        open_maps = [c for c in open_maps if not isinstance(c.operation, PASSING)]
        wide = [c for c in open_maps if (c.shape or ())[-1:] == (last.shape or ())[-1:]]
        if wide:
            break
    chosen = (wide or open_maps or [last])[-1]
    reason = "the last map of the network, which has no global pooling"
    if chosen is not last:
        reason = f"the last map whose mean gradient is of many positions; of {last.path} it is not"
    return DefaultLayer(calls.call_name(chosen), reason, chosen)


def _source(calls: CallGraph, call: Call, reason: str) -> DefaultLayer:
    """What goes into a call: the layer that gives it, or that input itself."""
    source = calls.producer(call.inputs[0])
    if source is None:
        return DefaultLayer(f"{calls.call_name(call)}:input", reason, call, "input")
    return DefaultLayer(calls.call_name(source), reason, source)


def _no_map(calls: CallGraph) -> str:
    tokens = [call.path for call in calls.calls if token_shape(calls, call)]
    hint = f" If {tokens[-1]!r} gives tokens, pass grid=(height, width)." if tokens else ""
    if any(calls.moves_channels(call.output) for call in calls.calls):
        hint += " It moves the axes of its input, whose channels are to be where its layers' are."
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


def _last_attended(
    calls: CallGraph, reaching: Sequence[Call], grid: tuple[int, ...] | None
) -> Call | None:
    """The last attention from tokens that have a grid."""
    for call in reversed(reaching):
        if call.path in calls.attentions and known_grid(calls, call, grid, "input"):
            return call
    return None


def mapped_calls(calls: CallGraph, grid: tuple[int, ...] | None = None) -> list[Call]:
    """List the calls that give a map, but for what only passes on what is inside, as models do."""
    outer = keras.Model | keras.layers.TimeDistributed
    return [call for call in map_shapes(calls, grid) if not isinstance(call.reference(), outer)]


def list_layers(
    calls: CallGraph,
    head: Head | HeadError,
    default: DefaultLayer,
    grid: tuple[int, ...] | None = None,
) -> LayerList:
    """List the layers that have a map.

    Args:
        calls: What the model calls.
        head: Its head.
        default: The layer that is explained when none is named.
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
            call.output == pooled and not _has_extra(calls, call, grid),
        )
        for index, call in enumerate(mapped_calls(calls, grid))
    ]
    return LayerList(entries, default.path, default.reason)


def _has_extra(calls: CallGraph, call: Call, grid: tuple[int, ...] | None) -> bool:
    """Whether tokens stand beside those of patches, which no map can show."""
    known = known_grid(calls, call, grid)
    return known is not None and known.extra > 0


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
        return printable_lines(lines)

    __repr__ = __str__
