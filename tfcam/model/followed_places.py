"""Which places of the input each token and cell of a model is of: what moves them, followed."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfcam.model.followed import VIDEO, Followed, evenly, in_one_table
from tfcam.model.layouts import Extent, Layout, is_even
from tfcam.model.placement import UNKNOWN
from tfcam.model.token_origins import constant_value, run_on

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
# What takes parts of what it is given, at places that may be computed.
_SAMPLING = _MOVING | {
    *("CropAndResize", "GatherNd", "ImageProjectiveTransformV2", "ImageProjectiveTransformV3"),
    "TensorListFromTensor",  # for a loop, which may do anything
}


def follow_places(
    graph: tf.Graph,
    parents: Mapping[str, tuple[str, ...]],
    explained: str,
    wanted: Container[str],
    name_of: Callable[[tf.Tensor], str],
    recurrent: Mapping[str, str] = {},
) -> dict[str, Layout]:
    """Follow the places of the input through a traced model, and tell how some tensors have them.

    A map that is computed anew, as by a convolution, lies evenly over what it is computed from.
    What works on the channels of each position leaves it where it is; where tokens of two tensors
    are mixed, as in attention, nothing is known until a residual connection tells.

    Args:
        graph: The graph, traced for one example.
        parents: The tensors that each tensor is made from, of those that depend on the inputs.
        explained: The input whose places are followed, (1, *sides, C).
        wanted: The tensors that are told.
        name_of: Names a tensor of the graph.
        recurrent: Maps that are computed step by step, as by a ConvLSTM, each with what from.

    Returns:
        The layout of each of the wanted tensors whose places are known.
    """
    (start,) = (tensor for tensor in graph.inputs if tensor.name == explained)
    if not start.shape[1:].is_fully_defined():
        return {}
    way = _Way(start, parents, name_of, recurrent)
    layouts: dict[str, Layout] = {}
    for operation in graph.get_operations():
        made = [tensor for tensor in operation.outputs if tensor.name in parents]
        if not made or not all(tensor.shape.is_fully_defined() for tensor in made):
            continue
        way.go_on(operation, made)
        for tensor in made:
            layout = way.layout(tensor) if tensor.name in wanted else None
            if layout is not None:
                layouts[tensor.name] = layout
    return layouts


class _Way:
    """What is known of each tensor on the way through a model."""

    def __init__(
        self,
        start: tf.Tensor,
        parents: Mapping[str, tuple[str, ...]],
        name_of: Callable[[tf.Tensor], str],
        recurrent: Mapping[str, str],
    ) -> None:
        self._parents, self._name_of, self._recurrent = parents, name_of, recurrent
        self._rank, sizes = start.shape.rank, tuple(start.shape[1:-1])
        self._whole = Extent.whole(sizes) if self._rank == VIDEO else None
        self._known = {start.name: evenly(sizes, start.shape, self._whole)}
        self._lost = set[str]()  # of which nothing is known, made from what was moved

    def go_on(self, operation: tf.Operation, made: Sequence[tf.Tensor]) -> None:
        """Follow the places through one more operation."""
        found = self._moved(operation) if operation.type in _MOVING else None
        if found is None:
            found = [self._kept(tensor, operation) for tensor in made]
        for tensor, followed in zip(made, [*found, *[None] * len(made)], strict=False):
            followed = followed or self._stepwise(tensor)
            if followed is not None:
                self._known[tensor.name] = followed
            elif self._whole and self._loses(operation):
                self._lose(tensor, operation, self._whole.sizes)

    def layout(self, tensor: tf.Tensor) -> Layout | None:
        """How a tensor lies in the input; None of what is no map and no tokens, or not known."""
        followed = self._known.get(tensor.name)
        return None if followed is None else followed.layout

    def _lose(self, tensor: tf.Tensor, operation: tf.Operation, sizes: Sequence[int]) -> None:
        """Note that a tensor is made of what was moved; the cells of a map still stand in order."""
        shape, given = tensor.shape, self._of(operation.inputs[0])
        frames = bool(given and given.lines) and shape.rank == VIDEO - 1
        frames = frames and shape[0] == operation.inputs[0].shape[0]
        if frames or (shape.rank == VIDEO and shape[0] == 1):
            sides = shape[:-1] if frames else shape[1:-1]
            lost = Extent.whole(sizes, lost=True)
            self._known[tensor.name] = evenly(list(sides), shape, lost)
        else:
            self._lost.add(tensor.name)

    def _loses(self, operation: tf.Operation) -> bool:
        """Whether an operation that can't be followed makes something of what has been moved."""
        names = list(map(self._name_of, operation.inputs))
        known = (self._known.get(name) for name in names)
        maps = [one for one in known if one is not None and one.lines is not None]
        sampled = operation.type in _SAMPLING - _FOLDING and bool(maps)
        return sampled or any(map(self._is_moved, names))

    def _is_moved(self, name: str) -> bool:
        followed = self._known.get(name)
        layout = followed and followed.layout
        return name in self._lost or bool(layout and layout.sides and layout.place)

    def _of(self, tensor: tf.Tensor) -> Followed | None:
        """What an operation takes; the frames of one video as a batch are those of the video."""
        followed = self._known.get(self._name_of(tensor))
        same = followed is None or followed.numbers.shape == tuple(tensor.shape)
        return followed if same or followed is None else followed.at(tensor.shape)

    def _kept(self, tensor: tf.Tensor, operation: tf.Operation) -> Followed | None:
        """The places of what is computed at each position, or of a map that is computed anew."""
        shape, names = tensor.shape, [self._name_of(taken) for taken in operation.inputs]
        depending = [name for name in names if name in self._parents or name in self._known]
        if shape.rank < 2 or (operation.type in _PRODUCTS and len(depending) == len(names)):
            return None
        if self._whole and operation.type in _SAMPLING:
            return None
        if operation.type in _MAPPING:
            return self._anew(shape, depending, _margins(operation))
        known = filter(None, map(self._known.get, names))
        same = [moved for followed in known if (moved := followed.at(shape)) is not None]
        return self._agreed(same) if same else None

    def _stepwise(self, tensor: tf.Tensor) -> Followed | None:
        given = self._recurrent.get(tensor.name)
        return None if given is None else self._anew(tensor.shape, [given], ())

    def _anew(
        self, shape: tf.TensorShape, names: Sequence[str], margins: Sequence[int]
    ) -> Followed | None:
        """The places of a map that is computed anew, or of what has the very positions given."""
        given = next(filter(None, map(self._known.get, names)), None)
        same = None if given is None else given.at(shape)
        frames = bool(self._whole and given and given.lines and shape.rank == VIDEO - 1)
        sides = list(shape[:-1]) if frames else list(shape[1:-1])
        is_map = frames or (shape.rank == self._rank and shape[0] == 1)
        if not is_map or math.prod(sides) < 2 or (same and self._whole is None):
            return same
        if self._whole is None:
            return evenly(sides, shape, None)
        if given is None or given.extent is None:
            lost = not self._lost.isdisjoint(names)
            extent = Extent.whole(self._whole.sizes, fresh=False, lost=lost)
        elif given.lines is None:
            extent = Extent.whole(self._whole.sizes, lost=True)
        else:
            extent = given.extent.at(given.lines, margins)._replace(fresh=False)
        return evenly(sides, shape, extent)

    def _agreed(self, found: Sequence[Followed]) -> Followed:
        """The places of what is made of several, position by position.

        Of those that differ it is the whole input where each lies about evenly over it, or the mean
        where they differ by less than a position.
        """
        first, *others = found
        if first.extent is None or all(one.numbers is first.numbers for one in others):
            return first
        layouts = [one.layout for one in found]
        lines = [one.lines for one in found]
        if len({layout and layout.place for layout in layouts}) == 1 or None in lines:
            return first
        every = [
            one.extent.with_frames(line)
            for one, line in zip(found, lines, strict=True)
            if one.extent is not None and line is not None
        ]
        extent = Extent.whole(first.extent.sizes, fresh=False)
        if not all(is_even(line) for own in every for line in own):
            near = [
                np.ptp(each, axis=0).max() * len(each[0]) < 1 for each in zip(*every, strict=True)
            ]
            mean = [np.mean(each, axis=0) for each in zip(*every, strict=True)]
            lost = any(layout is not None and layout.place == UNKNOWN for layout in layouts)
            extent = extent.at(mean) if all(near) and not lost else extent._replace(lost=True)
        return evenly([len(line) for line in every[0]], first.numbers.shape, extent)

    def _moved(self, operation: tf.Operation) -> list[Followed | None]:
        """Move the numbers of places by the operation itself; what is joined of no place is 0."""
        if operation.type in _FOLDING:
            given = self._of(operation.inputs[0])
            shape = operation.outputs[0].shape
            return [given and replace(given, numbers=given.numbers.reshape(shape))]
        names = [self._name_of(tensor) for tensor in operation.inputs]
        known = [self._of(tensor) for tensor in operation.inputs]
        if operation.type == "ConcatV2":
            beside = self._channels_joined(operation, known)
            if beside is not None:
                return [beside]
            known = in_one_table(known)
        first = next(filter(None, known), None)
        values: list[np.ndarray | None] = []
        for tensor, name, followed in zip(operation.inputs, names, known, strict=True):
            if followed is not None and first is not None and followed.places is first.places:
                values.append(followed.numbers)
            elif name in self._parents and operation.type != "ConcatV2":
                return []
            else:
                static = constant_value(tensor)
                blank = tensor.shape.is_fully_defined() and tensor.dtype.is_floating
                values.append(np.zeros(tensor.shape, int) if blank else static)
        if first is None or any(value is None for value in values):
            return []
        with tf.init_scope():
            moved = [np.asarray(one) for one in tf.nest.flatten(run_on(operation, values))]
        return [replace(first, numbers=each) if each.ndim > 1 else None for each in moved]

    def _channels_joined(
        self, operation: tf.Operation, known: Sequence[Followed | None]
    ) -> Followed | None:
        """What channels of several maps of a video are of, side by side; None of anything else."""
        shape = operation.outputs[0].shape
        maps = [one for one in known if one is not None and one.lines is not None]
        if (
            self._whole is None
            or len(maps) < 2
            or any(one.places is maps[0].places for one in maps[1:])
        ):
            return None
        same = [one.at(shape) for one in maps]
        return None if None in same else self._agreed([one for one in same if one is not None])


def _margins(operation: tf.Operation) -> tuple[int, ...]:
    """How many positions along each side of a video are but what an operation's kernel needs."""
    if "Conv" in operation.type or "Depthwise" in operation.type:
        sizes, steps = operation.inputs[1].shape[:-2], operation.get_attr("dilations")[1:-1]
    elif operation.type in ("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D"):
        sizes, steps = operation.get_attr("ksize")[1:-1], (1, 1, 1)
    else:
        return ()
    reach = [(size - 1) * step for size, step in zip(sizes, steps, strict=False)]
    return (*[0] * (VIDEO - 2 - len(reach)), *reach)
