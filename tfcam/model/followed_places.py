"""Which places of the input each token and cell of a model is of: what moves them, followed."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcam.model.token_origins import run_on

# What only moves values: types of TensorFlow's operations.
_FOLDING = {"Reshape", "ExpandDims", "Squeeze"}
_MOVING = _FOLDING | {
    *("Transpose", "ConcatV2", "Pad", "PadV2", "MirrorPad", "ReverseV2", "Roll", "GatherV2"),
    *("StridedSlice", "Slice", "Split", "SplitV", "Unpack"),
    *("Pack", "SpaceToDepth", "DepthToSpace", "SpaceToBatchND", "BatchToSpaceND"),
}
# What attends: of two tensors that both come from the input.
_PRODUCTS = {"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "MatMul"}
# What computes a map anew from what lies around each of its positions.
_MAPPING = {
    *("Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3DBackpropInputV2"),
    *("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D"),
    *("ExtractImagePatches", "ExtractVolumePatches", "ScaleAndTranslate"),
    *("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"),
}
# Places that differ by less are the same, in parts of a side of the input.
_SAME = 1e-4


class Layout(NamedTuple):
    """How the positions of a tensor lie in the input.

    Attributes:
        sides: Number of positions along each side of the input; () where they lie on no grid, or
            on one of another order than they stand in.
        order: Of tokens in one sequence, or of the tokens of one frame: where each stands, side
            by side; nothing of maps.
        apart: Whether each frame has tokens of its own.
        covers: Whether they cover the input from end to end, each the part around its place.
    """

    sides: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    apart: bool = False
    covers: bool = True


class _Followed(NamedTuple):
    """The values of a tensor, as numbers of places: 0 is nowhere.

    Attributes:
        places: (n, sides) of each number, in parts of the sides of the input.
        numbers: In the shape of the tensor.
        moved: Whether something was cropped or mirrored before the places were numbered.
    """

    places: np.ndarray
    numbers: np.ndarray
    moved: bool = False

    @property
    def is_of_positions(self) -> bool:
        """Whether all channels of a position are of one place."""
        numbers = self.numbers
        return numbers.strides[-1] == 0 or bool((numbers == numbers[..., :1]).all())

    @property
    def centres(self) -> np.ndarray:
        """The mean place of each position, over its channels: (..., sides), NaN of nowhere."""
        numbers = self.numbers
        if self.is_of_positions:
            return self.places[numbers[..., 0]]
        seen = (numbers > 0)[..., np.newaxis]
        total = np.where(seen, self.places[numbers], 0).sum(axis=-2)
        with np.errstate(invalid="ignore"):
            means: np.ndarray = total / seen.sum(axis=-2)
        return means


def follow_places(
    graph: tf.Graph,
    parents: Mapping[str, tuple[str, ...]],
    explained: str,
    wanted: Container[str],
    name_of: Callable[[tf.Tensor], str],
) -> dict[str, Layout]:
    """Follow the places of the input through a traced model, and tell how some tensors have them.

    A map that is computed anew, as by a convolution, covers the input evenly. What works on the
    channels of each position leaves it where it is; where tokens of two tensors are mixed, as in
    attention, nothing is known until a residual connection tells.

    Args:
        graph: The graph, traced for one example.
        parents: The tensors that each tensor is made from, of those that depend on the inputs.
        explained: The input whose places are followed, (1, *sides, C).
        wanted: The tensors that are told.
        name_of: Names a tensor of the graph.

    Returns:
        The layout of each of the wanted tensors whose places are known.
    """
    (start,) = (tensor for tensor in graph.inputs if tensor.name == explained)
    if not start.shape[1:].is_fully_defined():
        return {}
    rank = start.shape.rank
    known = {explained: _evenly(start.shape)}
    layouts: dict[str, Layout] = {}
    told: dict[int, Layout | None] = {}  # of what is known, which many tensors share
    for operation in graph.get_operations():
        made = [tensor for tensor in operation.outputs if tensor.name in parents]
        if not made or not all(tensor.shape.is_fully_defined() for tensor in made):
            continue
        if operation.type in _MOVING:
            found = _moved(operation, known, parents, name_of)
        else:
            found = [_kept(tensor, operation, known, parents, name_of, rank) for tensor in made]
        for tensor, followed in zip(made, found, strict=False):
            if followed is None:
                continue
            known[tensor.name] = followed
            if tensor.name in wanted:
                if id(followed) not in told:
                    told[id(followed)] = _layout(followed, rank)
                layout = told[id(followed)]
                if layout is not None:
                    layouts[tensor.name] = layout
    return layouts


def _evenly(shape: tf.TensorShape, moved: bool = False) -> _Followed:
    """The positions of a map (1, *sides, K) that covers the input, numbered from 1."""
    sides = shape[1:-1].as_list()
    indices = np.indices(sides).reshape(len(sides), -1).T
    places = np.vstack([np.full(len(sides), np.nan), (indices + 0.5) / sides])
    numbers = 1 + np.arange(math.prod(sides)).reshape(1, *sides, 1)
    return _Followed(places, np.broadcast_to(numbers, shape), moved)


def _kept(
    tensor: tf.Tensor,
    operation: tf.Operation,
    known: Mapping[str, _Followed],
    parents: Mapping[str, tuple[str, ...]],
    name_of: Callable[[tf.Tensor], str],
    rank: int,
) -> _Followed | None:
    """The places of what is computed at each position, or of a map that is computed anew."""
    shape, names = tensor.shape, [name_of(taken) for taken in operation.inputs]
    if shape.rank < 2 or (operation.type in _PRODUCTS and all(name in parents for name in names)):
        return None
    for followed in filter(None, map(known.get, names)):
        if followed.numbers.shape == tuple(shape):
            return followed
        if followed.numbers.shape[:-1] == tuple(shape[:-1]):
            return _of_positions(followed, shape)
    anew = operation.type in _MAPPING and shape.rank == rank and shape[0] == 1
    if anew and math.prod(shape[1:-1]) > 1:
        given = known.get(names[0])
        return _evenly(shape, given is not None and _is_moved(given, operation))
    return None


def _is_moved(followed: _Followed, operation: tf.Operation) -> bool:
    """Whether a video no longer lies as the input does, but for a margin that a kernel needs."""
    centres = followed.centres[0]
    if followed.moved or centres.ndim != 4:
        return followed.moved
    kernel = operation.inputs[1].shape[:3] if "Conv" in operation.type else (1, 1, 1)
    whole = np.isfinite(centres[..., 0])
    inner = [np.flatnonzero(whole.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    margin = np.subtract(centres.shape[:3], [len(each) for each in inner])
    layout = _of_map(centres[np.ix_(*inner)])
    return not layout.covers or not layout.sides or bool((margin >= kernel).any())


def _of_positions(followed: _Followed, shape: tf.TensorShape) -> _Followed:
    """What other channels are computed at the same positions."""
    numbers = followed.numbers
    if followed.is_of_positions:
        return followed._replace(numbers=np.broadcast_to(numbers[..., :1], shape))
    centres = followed.centres.reshape(-1, followed.places.shape[-1])
    places = np.vstack([np.full((1, centres.shape[-1]), np.nan), centres])
    own = 1 + np.arange(len(centres)).reshape(*numbers.shape[:-1], 1)
    return _Followed(places, np.broadcast_to(own, shape), followed.moved)


def _moved(
    operation: tf.Operation,
    known: Mapping[str, _Followed],
    parents: Mapping[str, tuple[str, ...]],
    name_of: Callable[[tf.Tensor], str],
) -> list[_Followed | None]:
    """Move the numbers of places by the operation itself; what is joined of no place is nowhere."""
    if operation.type in _FOLDING:
        given = known.get(name_of(operation.inputs[0]))
        shape = operation.outputs[0].shape
        return [given and given._replace(numbers=given.numbers.reshape(shape))]
    values: list[np.ndarray | None] = []
    first: _Followed | None = None
    for tensor in operation.inputs:
        name = name_of(tensor)
        followed = known.get(name)
        first = first or followed
        if followed is not None and first is not None and followed.places is first.places:
            values.append(followed.numbers)
        elif name in parents and operation.type != "ConcatV2":
            return []
        else:
            static = tf.get_static_value(tensor)
            blank = tensor.shape.is_fully_defined() and tensor.dtype.is_floating
            values.append(np.zeros(tensor.shape, int) if blank else static)
    if first is None or any(value is None for value in values):
        return []
    with tf.init_scope():
        moved = [np.asarray(one) for one in tf.nest.flatten(run_on(operation, values))]
    return [first._replace(numbers=each) if each.ndim > 1 else None for each in moved]


def _layout(followed: _Followed, rank: int) -> Layout | None:
    """How the positions of a map or of tokens lie in the input; None of other tensors."""
    centres, axes = followed.centres, followed.numbers.ndim
    single = len(centres) == 1
    if axes == rank and single:
        layout = _of_map(centres[0])
        if rank == 4 and not layout.sides:  # of pictures, rows and columns may change places
            layout = _of_map(np.swapaxes(centres[0], 0, 1))
    elif axes == 3 and single:
        layout = _of_tokens(centres[0])
    elif rank == 5 and (axes == 3 or (axes == 4 and single)):
        layout = _of_frames(centres if axes == 3 else centres[0])
    else:
        return None
    return layout._replace(covers=layout.covers and not followed.moved)


def _of_map(centres: np.ndarray) -> Layout:
    """Of (*sides, sides): each place along a side is that of its axis alone."""
    sides, lines = centres.shape[:-1], []
    for axis, count in enumerate(sides):
        values = np.moveaxis(centres[..., axis], axis, 0).reshape(count, -1)
        values = values[np.isfinite(values).all(axis=1)]  # what padding adds is nowhere
        if np.ptp(values, axis=1).max(initial=0) > _SAME:
            return Layout()
        lines.append(values[:, 0])
    return Layout(sides, covers=all(map(_is_even, lines)))


def _of_tokens(centres: np.ndarray) -> Layout:
    patches = np.flatnonzero(np.isfinite(centres).all(axis=-1))
    lattice = _lattice(centres[patches])
    if lattice is None:
        return Layout()
    lines, order = lattice
    sides = tuple(map(len, lines))
    return Layout(sides, tuple(patches[order].tolist()), covers=all(map(_is_even, lines)))


def _of_frames(centres: np.ndarray) -> Layout:
    """Of (frames, tokens, sides): the tokens of each frame lie as those of the first do."""
    times, within = centres[..., 0], centres[..., 1:]
    layout = _of_tokens(within[0])
    whole = np.isfinite(within[0]).all(axis=-1)
    if not layout.sides or not whole.any():
        return Layout()
    line = times[:, whole]
    alike = np.array_equal(
        np.isfinite(within), np.isfinite(np.broadcast_to(within[0], within.shape))
    )
    if (
        not alike
        or np.nanmax(np.abs(within - within[0])) > _SAME
        or np.ptp(line, axis=1).max() > _SAME
    ):
        return Layout()
    if (np.diff(line[:, 0]) < _SAME).any():
        return Layout()
    covers = layout.covers and _is_even(line[:, 0])
    return Layout((len(times), *layout.sides), layout.order, apart=True, covers=covers)


def _lattice(points: np.ndarray) -> tuple[list[np.ndarray], np.ndarray] | None:
    """The lines that points lie on along each side, and their order; None where there are gaps."""
    if len(points) < 2:
        return None
    indices, lines = [], []
    for values in points.T:
        ordered = np.sort(values)
        line = ordered[np.r_[True, np.diff(ordered) > _SAME]]
        lines.append(line)
        indices.append(np.abs(values[:, np.newaxis] - line).argmin(axis=1))
    numbers = np.ravel_multi_index(indices, [len(line) for line in lines])
    full = len(points) == math.prod(map(len, lines)) == len(np.unique(numbers))
    return (lines, np.argsort(numbers)) if full else None


def _is_even(line: np.ndarray) -> bool:
    """Whether places lie in the middle of as many equal parts of a side."""
    middles = (np.arange(len(line)) + 0.5) / max(len(line), 1)
    return bool((np.abs(line - middles) * len(line) <= 0.5).all())
