"""Transformers: tokens laid out on their grid, and what attends to what.

Tokens are (B, T, D): one for each patch, row by row, and beside them ``extra`` ones that are of no
patch (class, distillation, registers), as a rule in front. Attention scores are (B, heads, T, T).
Those of a video are one for each tube, frame by frame; or (B, t, T, D) and (B t, T, D), where each
frame has tokens of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import tensorflow as tf

from tfcam.model.call_graph import Call, CallGraph, Shape
from tfcam.model.hooks import Side

# A class token, a distillation token and some registers.
_MOST_EXTRA = 8


@dataclass(frozen=True)
class Grid:
    """Where tokens lie in the image.

    Attributes:
        height: Rows of patches.
        width: Patches in a row.
        extra: Number of tokens of no patch.
        places: Where the token of each patch stands, row by row; nothing where these are in order,
            behind the extra ones.
        class_token: Where the token of no patch stands that the head reads; None where it reads
            none alone, as where it pools patches beside registers.
        frames: Of a video, how many tubes lie behind one another in time; 0 of a picture.
        apart: Whether ``extra`` and ``places`` are those of each frame, which has its own tokens.
    """

    height: int
    width: int
    extra: int = 0
    places: tuple[int, ...] = ()
    class_token: int | None = 0
    frames: int = 0
    apart: bool = False

    @property
    def sides(self) -> tuple[int, ...]:
        """Height and width, and in front of them the frames of a video."""
        frames = (self.frames,) if self.frames else ()
        return (*frames, self.height, self.width)

    @property
    def count(self) -> int:
        """Number of tokens: of a picture, of a video, or of a frame that has its own."""
        return self.extra + math.prod(self.sides[1:] if self.apart else self.sides)

    @property
    def extra_places(self) -> list[int]:
        """Where the tokens of no patch stand."""
        if not self.places:
            return list(range(self.extra))
        return sorted(set(range(self.count)) - set(self.places))


def token_shape(calls: CallGraph, call: Call, side: Side = "output") -> Shape | None:
    """The shape (1, T, D) of what a call gives or takes, None where these are no tokens.

    Tokens need a model of images (B, H, W, C) and more than one position. Windows of an image,
    which have become a batch of their own, are none; nor are tokens turned to (1, D, T), as where
    an MLP mixes them. Of videos they are (1, T, D), (1, t, T, D) or (t, T, D): see ``known_grid``.
    """
    shape = call.shape_at(side)
    if calls.rank == 5:
        return shape if shape is not None and _tubes(calls, call, side) else None
    if calls.rank != 4 or shape is None or len(shape) != 3:
        return None
    if calls.order(call.tensor(side), 3) == (1, 0):
        return None
    return shape if shape[0] in (1, None) and shape[1] != 1 else None


def grid_of(
    calls: CallGraph, call: Call, size: tuple[int, ...] | None = None, side: Side = "output"
) -> Grid:
    """Find how the tokens of a call lie in the image.

    The evidence is the last map before it that has as many positions as there are tokens, but for
    a few in front: the patch embedding; or else the operation that laid patches in a row. Where
    there is neither, they are taken to be squares that cover the image, behind at most one token.
    Tokens of no patch are taken to be in front, unless the trace tells where they were joined.

    Args:
        calls: What the model calls.
        call: One of its calls.
        size: (height, width) where the user says it.
        side: Whether the call gives or takes the tokens.

    Returns:
        The grid.

    Raises:
        ValueError: If these are no tokens, the given size does not fit, or none is found.

    Example:
        >>> from tfcam.model.call_graph import Call, CallGraph, Shape
        >>> embedding = Call("patches", None, 0, (), "a", (1, 4, 6, 8))
        >>> block = Call("block", None, 0, (), "b", (1, 25, 8))
        >>> grid_of(CallGraph((embedding, block), (), None, 4, (32, 48)), block)
        Grid(height=4, width=6, extra=1, places=(), class_token=0, frames=0, apart=False)
    """
    shape = token_shape(calls, call, side)
    if shape is None or shape[1] is None:
        actual = call.shape_at(side)
        without = replace(calls, orders={})
        raise ValueError(
            "Tokens must be (B, T, D), with a T over 1 that the model fixes, in a model of images; "
            f"{call.path!r} has {'no one tensor' if actual is None else actual} there"
            f"{', its positions last' if token_shape(without, call, side) else ''}."
        )
    tubes = _tubes(calls, call, side)
    if tubes is not None:
        return tubes
    count = shape[1]
    if size is not None:
        return _placed(calls, call, side, _grid_of_size(call, count, size))
    grids = _from_evidence(calls, call, count) or _from_patches(calls, call, count)
    if len(grids) != 1:
        raise ValueError(
            f"The grid of the {count} tokens of {call.path!r} can't be told: no map before them "
            f"has as many positions, and {count} is {'also ' * bool(grids)}no one grid of square "
            "patches behind at most one class token. Pass grid=(height, width)."
        )
    return _placed(calls, call, side, grids.pop())


def _tubes(calls: CallGraph, call: Call, side: Side) -> Grid | None:
    """The grid of the tokens of a video, by the places in it that each was followed from.

    What attends to others has no place of its own: it has the grid of the tokens before it, of as
    many in the same order of axes.
    """
    shape = call.shape_at(side)
    if calls.rank != 5 or shape is None or len(shape) not in (3, 4) or calls.in_attention(call):
        return None
    layout = calls.layout(call, side)
    if layout is None or not layout.order or len(layout.sides) != 3:
        return None
    count = (shape[-2] or 0) if layout.apart or len(shape) == 3 else 0
    extra = count - len(layout.order)
    if not extra < min(_MOST_EXTRA + 1, len(layout.order)):
        return None
    in_order = layout.order == tuple(range(extra, count))
    frames, height, width = layout.sides
    places = () if in_order else layout.order
    return Grid(height, width, extra, places, None, frames, layout.apart)


def _tubes_of_size(calls: CallGraph, call: Call, size: tuple[int, ...], side: Side) -> Grid | None:
    """The grid of so many frames, rows and columns, where it holds the tokens of a video."""
    shape, (frames, height, width) = call.shape_at(side), size
    if shape is None or len(shape) not in (3, 4) or calls.in_attention(call):
        return None
    *before, count, _ = shape
    apart = before[-1] == frames > 1
    if count is None or (before[-1] != 1 and not apart):
        return None
    extra = count - height * width * (1 if apart else frames)
    fits = 0 <= extra <= _MOST_EXTRA and extra < count - extra > 1
    if not fits:
        return None
    known = _tubes(calls, call, side)
    if known is not None and (known.sides, known.apart) == (size, apart):
        return known
    return Grid(height, width, extra, (), None, frames, apart)


def _has_sides_of(calls: CallGraph, size: tuple[int, ...]) -> bool:
    return (len(size) == 3) == (calls.rank == 5)


def check_grid_of(calls: CallGraph, size: tuple[int, ...] | None) -> None:
    """Refuse a grid of as many sides as the explained input does not have.

    Raises:
        ValueError: If it is one.
    """
    if size is None or _has_sides_of(calls, size):
        return
    raise ValueError(
        "Of a video or volume grid must be (frames, height, width), of a picture (height, width); "
        f"{calls.name!r} takes inputs of {calls.rank - 2} sides, and grid is {size}."
    )


def _placed(calls: CallGraph, call: Call, side: Side, grid: Grid) -> Grid:
    """Tell where in the sequence the tokens of patches stand, where the trace tells."""
    origins = calls.origins.of.get(call.tensor(side) or "", ())
    patches = [place for place, origin in enumerate(origins) if origin > 0]
    if len(origins) != grid.count or len(patches) != grid.height * grid.width:
        return grid
    places = tuple(sorted(patches, key=origins.__getitem__))
    in_order = places == tuple(range(grid.extra, grid.count))
    read = calls.origins.read
    class_token = origins.index(read) if read in origins else None
    return replace(grid, places=() if in_order else places, class_token=class_token)


def _grid_of_size(call: Call, count: int, size: tuple[int, ...]) -> Grid:
    grid = _fitting(count, *size)
    if grid is None:
        raise ValueError(
            f"grid=(height, width) must hold all {count} tokens of {call.path!r} but at most "
            f"{_MOST_EXTRA} of no patch; got {size}, which holds {size[0] * size[1]}."
        )
    return grid


def _fitting(count: int, height: int, width: int) -> Grid | None:
    patches = height * width
    extra = count - patches
    fits = 0 <= extra <= _MOST_EXTRA and extra < patches > 1
    return Grid(height, width, extra) if fits else None


def _from_evidence(calls: CallGraph, call: Call, count: int) -> set[Grid]:
    """The grid of the last map that fits, or else of the first cut into tokens that does."""
    cuts = (_fitting(count, *sides) for sides in calls.cuts)
    return _from_maps(calls, call, count) or set([grid for grid in cuts if grid is not None][:1])


def _from_maps(calls: CallGraph, call: Call, count: int) -> set[Grid]:
    """The grid of the last map that fits."""
    shapes = _maps_before(calls, call)
    grids = [
        _fitting(count, shape[1], shape[2])
        for shape in shapes
        if shape[0] in (1, None) and shape[1] is not None and shape[2] is not None
    ]
    fitting = [grid for grid in grids if grid is not None]
    # (B, 1, T, D) may be one head of an attention.
    wide = [grid for grid in fitting if min(grid.height, grid.width) > 1]
    return set((wide or fitting)[-1:])


def _from_patches(calls: CallGraph, call: Call, count: int) -> set[Grid]:
    """The grids of square patches: of the input, else of the first map that can be cut so."""
    for height, width in [calls.sides, *(shape[1:3] for shape in _maps_before(calls, call))]:
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


def _maps_before(calls: CallGraph, call: Call) -> list[Shape]:
    before = set(map(id, calls.calls[: calls.calls.index(call)]))
    return [mapped.shape or () for mapped in calls.maps if id(mapped) in before]


def map_shapes(calls: CallGraph, size: tuple[int, ...] | None = None) -> dict[Call, Shape]:
    """The shape (h, w, K) of each map that a model's calls give, also as tokens, in their order.

    Tokens whose grid can't be told, or only supposed in a network without attention, are no map.
    """
    shapes: dict[Call, Shape] = {}
    maps = set(map(id, calls.maps))
    for call in calls.calls:
        if id(call) in maps:
            shapes[call] = (call.shape or ())[1:]
        elif (grid := known_grid(calls, call, size)) is not None:
            shapes[call] = (*grid.sides, (call.shape or ())[-1])
    return shapes


def known_grid(
    calls: CallGraph, call: Call, size: tuple[int, ...] | None = None, side: Side = "output"
) -> Grid | None:
    """The grid of a call's tokens, None where there are none or it takes supposing too much."""
    if size is not None and not _has_sides_of(calls, size):
        return None
    if calls.rank == 5:
        if size is None:
            return _tubes(calls, call, side)
        return _tubes_of_size(calls, call, size, side)
    shape = token_shape(calls, call, side)
    if shape is None or shape[1] is None or calls.in_attention(call):
        return None
    if size is not None:
        given = _fitting(shape[1], *size)
        return None if given is None else _placed(calls, call, side, given)
    grids = _from_evidence(calls, call, shape[1])
    if not grids and calls.attentions:
        grids = _from_patches(calls, call, shape[1])
    return _placed(calls, call, side, grids.pop()) if len(grids) == 1 else None


def to_map(tokens: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Lay tokens out on their grid, without those of no patch.

    Args:
        tokens: (B, T, D); (B, t, T, D) or (B t, T, D) where each frame of a video has its own.
        grid: How they lie in the image.

    Returns:
        (B, h, w, D), of a video (B, t, h, w, D).

    Raises:
        ValueError: If there are more or fewer tokens than the grid holds.

    Example:
        >>> tokens = tf.reshape(tf.range(7.0), (1, 7, 1))
        >>> to_map(tokens, Grid(2, 3, extra=1))[0, ..., 0].numpy()
        array([[1., 2., 3.],
               [4., 5., 6.]], dtype=float32)
        >>> to_map(tokens, Grid(2, 3, 1, places=(0, 1, 2, 3, 4, 5)))[0, 0, :, 0].numpy()
        array([0., 1., 2.], dtype=float32)
    """
    ranks = (3, 4) if grid.apart else (3,)
    if tokens.shape.rank not in ranks or tokens.shape[-2] not in (grid.count, None):
        sides = " x ".join(map(str, grid.sides))
        raise ValueError(
            f"A grid of {sides} patches beside {grid.extra} tokens needs "
            f"({'B t' if grid.apart else 'B'}, {grid.count}, D); got {tuple(tokens.shape)}. "
            "Pass images of the size that the model was built for, or another "
            "grid=(height, width)."
        )
    in_order = tokens[..., grid.extra :, :]
    patches = tf.gather(tokens, grid.places, axis=-2) if grid.places else in_order
    return tf.reshape(patches, (-1, *grid.sides, tokens.shape[-1]))


def to_tokens(maps: tf.Tensor, tokens: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Lay maps out as tokens, beside those of no patch: undoes ``to_map``.

    Args:
        maps: (B, h, w, D).
        tokens: (B, T, D), whose tokens of no patch are taken.
        grid: How they lie in the image.

    Returns:
        (B, T, D).

    Example:
        >>> tokens, grid = tf.reshape(tf.range(5.0), (1, 5, 1)), Grid(2, 2, 1, (0, 1, 3, 4))
        >>> to_tokens(-to_map(tokens, grid), tokens, grid)[0, :, 0].numpy()
        array([-0., -1.,  2., -3., -4.], dtype=float32)
    """
    sides = [*tf.unstack(tf.shape(tokens)[:-2]), grid.count - grid.extra, maps.shape[-1]]
    patches = tf.reshape(maps, sides)
    if not grid.places:
        return tf.concat([tokens[..., : grid.extra, :], patches], axis=-2)
    joined = [*grid.extra_places, *grid.places]
    beside = tf.gather(tokens, grid.extra_places, axis=-2)
    order = [joined.index(place) for place in range(grid.count)]
    return tf.gather(tf.concat([beside, patches], axis=-2), order, axis=-2)
