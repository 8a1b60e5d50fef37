"""Where a layer's cells look in the picture, in models that first crop, pad, mirror or resize it.

What a model does before its first weights is asked of the model itself: pictures whose pixels hold
their own row or column are run up to there. Positions are in pixels of the model's input, the
centre of the first pixel at 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam.model.call_graph import Call, CallGraph
from tfcam.model.dependence import before
from tfcam.model.fitted_sides import between_vertices, fit_side, is_rising
from tfcam.model.hooks import Side, observed
from tfcam.model.inputs import Input, run, swapped
from tfcam.model.layer_types import CONVOLUTIONS
from tfcam.model.layouts import Layout
from tfcam.model.placement import UNKNOWN, Axis, Placement
from tfcam.model.taps import Tap
from tfcam.model.tracing import trace_calls
from tfcam.model.tree import ModelTree

_NORMALIZING = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
)
_POINTWISE = (*_NORMALIZING, keras.layers.Activation, keras.layers.ReLU, keras.layers.Rescaling)
# What takes places from one tensor that another tells.
_SAMPLERS = (
    "CropAndResize",
    "GatherNd",
    "GatherV2",
    "ImageProjectiveTransformV2",
    "ImageProjectiveTransformV3",
)


class _SeenError(Exception):
    """What goes into the first weights is seen: the rest need not be computed."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _Cells(NamedTuple):
    """What goes into the first weights before a layer."""

    tree: ModelTree
    structure: Any
    entry: Call
    tap: Tap
    which: int

    @property
    def channels(self) -> int:
        """Number of channels of the explained input."""
        return tf.nest.flatten(self.structure)[self.which].shape[-1] or 3

    def read(self, picture: np.ndarray) -> np.ndarray | None:
        """Read it for a picture (H, W, 1 or C) of 0..1: (h, w, K); None where it is no grid."""
        inputs: list[Input] = tf.nest.flatten(self.structure)
        taken = inputs[self.which]

        def visit(operation: Any, number: int, side: Side, value: Any) -> Any:
            if number == self.entry.number and side == "input":
                raise _SeenError(value)
            return value

        image = np.broadcast_to(picture[np.newaxis], (1, *picture.shape[:2], self.channels))
        with tf.init_scope():
            specs = [other.spec(len(picture)) for other in inputs]
            values = [tf.zeros(spec.shape, spec.dtype) for spec in specs]
            image = np.round(255 * image) if "int" in taken.dtype else image
            values[self.which] = tf.cast(image, taken.values)
            try:
                with observed(self.tree, [self.entry.operation], visit):
                    run(self.tree, self.structure, values)
            except _SeenError as seen:
                return self._laid_out(seen.value, taken.layers_first)
        return None

    def _laid_out(self, value: Any, channels_first: bool) -> np.ndarray | None:
        rank, grid = getattr(getattr(value, "shape", None), "rank", None), self.tap.grid
        if rank == 3 and grid is not None and value.shape[1] == grid.height * grid.width:
            value, rank = tf.reshape(value, (1, grid.height, grid.width, -1)), 4
        elif channels_first and rank == 4:
            value = swapped(value, to_first=False)
        return tf.cast(value[0], tf.float64).numpy() if rank == 4 else None


def find_placement(
    tree: ModelTree, structure: Any, calls: CallGraph, tap: Tap, sides: Sequence[int]
) -> Placement | str | None:
    """Find how the cells of a layer lie in the explained input.

    Args:
        tree: A built Keras model.
        structure: Its inputs in the structure in which it takes them.
        calls: What it calls.
        tap: The layer.
        sides: Height and width of the input.

    Returns:
        None where they cover it from end to end, as they do in most networks; ``UNKNOWN`` where
        that can't be followed.
    """
    taken: list[Input] = tf.nest.flatten(structure)
    tensor = calls.tensor(tap.path, tap.number, tap.side)
    turned = calls.positions(tensor)
    if not taken[calls.which].is_image:
        turned_axes = turned != calls.positions(calls.explained_input)
        return UNKNOWN if turned_axes else _followed(tree, structure, calls, tap, sides)
    if _is_sampled(calls, tensor):
        return UNKNOWN
    places: set[Placement | str | None] = set()
    for entry in _entries(tree, calls).get(tensor or "", ()):
        if entry is None:
            return UNKNOWN
        plain = _is_plain(calls, entry)
        cells = None if plain else _Cells(tree, structure, entry, tap, calls.which)
        place = None if cells is None else _probe(cells, sides)
        start = calls.positions(entry.inputs[0] if entry.inputs else None)
        places.add(_turn(place, sides) if turned != start else place)
    return places.pop() if len(places) == 1 else UNKNOWN if places else None


def _followed(
    tree: ModelTree, structure: Any, calls: CallGraph, tap: Tap, sides: Sequence[int]
) -> Placement | str | None:
    """How the cells of a layer lie in a video or volume of these sides."""

    def place_in(calls: CallGraph) -> Placement | str | None:
        tensor = calls.tensor(tap.path, tap.number, tap.side)
        return calls.layouts.get(tensor or "", Layout()).place

    place = place_in(calls)
    if place is None or tuple(sides) == calls.sides:
        return place
    inputs: list[Input] = tf.nest.flatten(structure)
    taken = inputs[calls.which]
    inputs[calls.which] = replace(taken, shape=(*sides, *taken.shape[len(sides) :]))
    with tf.init_scope():
        packed = tf.nest.pack_sequence_as(structure, inputs)
        return place_in(trace_calls(tree, packed, calls.which))


def _is_sampled(calls: CallGraph, tensor: str | None) -> bool:
    """Whether places are taken on the way that the picture, or another input, tells."""
    samples = [
        name
        for name, kind in calls.kinds.items()
        if kind in _SAMPLERS and len(set(calls.parents.get(name, ()))) > 1
    ]
    return bool(samples) and not before(calls, [tensor or ""]).isdisjoint(samples)


def _turn(place: Placement | str | None, sides: Sequence[int]) -> Placement | str | None:
    """Where cells lie whose rows and columns have changed places since the first weights."""
    if place is None:
        return Placement(tuple(Axis(0, side, 0, side) for side in sides), transposed=True)
    return place if isinstance(place, str) else place._replace(transposed=not place.transposed)


def _entries(tree: ModelTree, calls: CallGraph) -> dict[str, frozenset[Call | None]]:
    """The first calls with weights that each tensor comes through; None among them where lost."""
    nothing = frozenset[Call | None]()
    found, earlier = {calls.explained_input: nothing}, nothing
    for call in calls.explained(calls.calls):
        # What code without a layer made comes through all that there was.
        entries = nothing.union(*(found.get(tensor, earlier) for tensor in call.inputs))
        operation = call.operation
        innermost = tree.node_by_id[id(operation)].innermost
        if not entries and _has_kernel(operation):
            entries = frozenset({call} if innermost else _inside(call, earlier))
        elif earlier and _moves(operation) and nothing in map(found.get, call.inputs):
            entries = earlier | {None}  # such as a sampler whose places are learned
        if call.output is not None:
            earlier |= found.setdefault(call.output, entries)
    return found


def _inside(call: Call, entries: frozenset[Call | None]) -> set[Call | None]:
    return {entry for entry in entries if entry and entry.path.startswith(f"{call.path}/")}


def _moves(operation: Any) -> bool:
    """Whether it may move what it is given, together with what weights made of it."""
    return not type(operation).__module__.startswith("keras.")


def _has_kernel(operation: Any) -> bool:
    weights = () if isinstance(operation, _NORMALIZING) else getattr(operation, "weights", ())
    return any(len(weight.shape) > 1 for weight in weights)


def _is_plain(calls: CallGraph, entry: Call) -> bool:
    """Whether nothing but what keeps every pixel in its place comes before the first weights."""
    if not entry.inputs:
        return False
    tensor, margin = entry.inputs[0], np.zeros(2, int)
    while tensor != calls.explained_input:
        call = calls.producer(tensor)
        if call is None or not call.inputs:
            return False
        if isinstance(call.operation, keras.layers.ZeroPadding2D):
            margin += np.sum(call.operation.padding, axis=1)
        elif not isinstance(call.operation, _POINTWISE):
            return False
        tensor = call.inputs[0]
    return bool((margin <= _own_padding(entry.operation)).all())


def _own_padding(operation: Any) -> np.ndarray:
    """How much of a margin is but what a convolution that pads nothing itself needs."""
    if isinstance(operation, CONVOLUTIONS) and operation.padding == "valid":
        return (np.array(operation.kernel_size) - 1) * operation.dilation_rate
    return np.zeros(2, int)


def _probe(cells: _Cells, sides: Sequence[int]) -> Placement | str | None:
    """Run pictures of positions up to the first weights, and read where each cell looks."""
    height, width = sides
    down, across = np.mgrid[0.5:height, 0.5:width]
    flat = np.zeros(tuple(sides))
    pictures = [flat, down / height, across / width, flat + 1]
    read = (cells.read(picture[..., np.newaxis]) for picture in pictures)
    known = [values for values in read if values is not None]
    if len(known) < len(pictures):
        return None
    nothing, down, across, one = known
    weight = one - nothing
    seen = np.abs(weight) > 1e-6 * np.abs(weight).max(initial=1e-30)
    counts = seen.sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        y, x = (
            size * np.where(seen, (values - nothing) / weight, 0).sum(axis=-1) / counts
            for values, size in ((down, height), (across, width))
        )
    found = _fit_sides(cells, sides, y, x.T)
    if found is UNKNOWN:
        found = _fit_sides(cells, sides, *_by_parabolas(cells, sides))
    return None if found is UNKNOWN and _keeps_places(cells, sides) else found


def _fit_sides(
    cells: _Cells, sides: Sequence[int], y: np.ndarray, x: np.ndarray
) -> Placement | str | None:
    """Fit where each cell looks, in rows (h, w) and in columns (w, h), along both sides."""
    (height, width), margin = sides, _own_padding(cells.entry.operation)
    for transposed in (False, True):
        if transposed:
            y, x, margin = y.T, x.T, margin[::-1]
        rows, columns = fit_side(y, height, margin[0]), fit_side(x, width, margin[1])
        if rows is not None and columns is not None and _is_grid(y, x.T):
            covering = rows.covers(height) and columns.covers(width) and not transposed
            return None if covering else Placement((rows, columns), transposed)
    return UNKNOWN


def _is_grid(y: np.ndarray, x: np.ndarray) -> bool:
    """Whether rows and columns are known in nearly every cell where the lines of both are.

    Of a picture that is turned or sheared they are known in a part of each line alone.
    """
    rows, columns = np.isfinite(y), np.isfinite(x)
    return (rows & columns)[rows.any(axis=1)][:, columns.any(axis=0)].mean() > 0.9


def _by_parabolas(cells: _Cells, sides: Sequence[int]) -> list[np.ndarray]:
    """Read where each cell looks where a picture's own statistics scale it, (h, w) and (w, h).

    A scaling and a shift of all values leave the vertex of a parabola where it is: of those that
    have it at the ends of a side the cells are known, and so of all between; one that has it in the
    middle must agree.
    """
    found = []
    for axis, size in enumerate(sides):
        along, across = (np.indices(sides)[n] + 0.5 for n in (axis, 1 - axis))
        # Whole numbers round up here and down there: their mean across is exact.
        dither = (across / sides[1 - axis] - 0.5) / 255
        pictures = [(along / size - vertex) ** 2 + dither for vertex in (0, 0.5, 1)]
        read = [cells.read(picture[..., np.newaxis]) for picture in pictures]
        found.append(between_vertices([each[..., 0] for each in read if each is not None], size))
    return [found[0], found[1].T]


def _keeps_places(cells: _Cells, sides: Sequence[int]) -> bool:
    """Whether each pixel only becomes another value where it is, by the picture's own statistics.

    Told by noise, in one channel: where a larger value of it stays the larger one, pixel by pixel,
    no pixel has moved; a margin that a convolution needs may be around them.
    """
    height, width = sides
    noise = np.full((height, width, cells.channels), 0.5)
    noise[..., 0] = np.random.default_rng(0).permutation(height * width).reshape(height, width)
    noise[..., 0] /= height * width
    values = cells.read(noise)
    if values is None:
        return False
    margin = np.subtract(values.shape[:2], sides)
    if (margin < 0).any() or (margin > _own_padding(cells.entry.operation)).any():
        return False
    given, order = values.shape[-1], np.argsort(noise[..., 0], axis=None)
    return any(
        is_rising(values[top : top + height, left : left + width, channel].ravel()[order])
        for top, left in np.ndindex(*(margin + 1))
        for channel in range(given)
    )
