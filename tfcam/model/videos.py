"""Which calls of a model of videos give maps, though they lack the axis of time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from tfcam.model.call_graph import Call, Shape
from tfcam.model.layouts import Layout

# The rank of a video, (B, T, h, w, C).
_RANK = 5


def lay_out_frames(
    calls: Sequence[Call],
    rank: int,
    sides: Sequence[int | None],
    moved: Collection[str] = (),
    layouts: Mapping[str, Layout] = {},
) -> tuple[Call, ...]:
    """Give what is of the frames of a video the shape of a map, (1, T, h, w, K).

    What has no time any more, such as the last state of a ConvLSTM2D, is (1, 1, h, w, K).

    Args:
        calls: What a model calls, for one example.
        rank: The rank of a map.
        sides: The spatial sizes of the explained input, its frames first.
        moved: Tensors on whose way the axis of examples was moved: which frame is whose is open.
        layouts: How tensors lie in the video, where that was followed.
    """
    if rank != _RANK:
        return tuple(calls)
    still: set[str] = set()

    def frames(shape: Shape | None, tensor: str | None) -> int | None:
        if shape is None or len(shape) != _RANK - 1:
            return None
        if tensor in still:
            return 1
        if tensor in moved:
            return None
        layout = layouts.get(tensor or "", Layout())
        placed = len(layout.sides) == _RANK - 2 and not layout.order
        return shape[0] if placed or 1 != shape[0] == sides[0] else None

    def laid_out(call: Call) -> Call:
        taken = (*call.inputs, None)[0]
        shape, given = call.shape or (), call.input_shape or ()
        if shape[:1] == (1,) and (taken in still or "2D" in type(call.operation).__name__):
            still.add(call.output or "")
        counts = frames(call.shape, call.output), frames(call.input_shape, taken)
        shape, given = (
            sizes if count is None else (1, count, *sizes[1:])
            for count, sizes in zip(counts, (shape, given), strict=True)
        )
        known = replace(call, frames=counts[0], input_frames=counts[1])
        return replace(known, shape=shape or None, input_shape=given or None)

    return tuple(map(laid_out, calls))


def moved_examples(
    parents: Mapping[str, tuple[str, ...]], turns: Mapping[str, Sequence[int]]
) -> set[str]:
    """The tensors on whose way a transposition moved the axis of examples."""
    moved = {name for name, axes in turns.items() if axes[0] % len(axes)}
    for name, sources in parents.items():
        if not moved.isdisjoint(sources):
            moved.add(name)
    return moved
