"""What a model calls, in order, and who feeds whom: what layers and heads are read from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import keras

from tfcam.model.hooks import Side
from tfcam.model.layouts import Layout
from tfcam.model.token_origins import TokenOrigins

Shape = tuple[int | None, ...]

# Of the axes behind the batch, counted as (..., channels) has them: (1, 0, 2) is columns first.
Order = tuple[int, ...]

# How an output comes about. "probability" is one whose logits are gone, such as the mean of several
# networks' sigmoids; "other" is an activation that gives neither logits nor probabilities.
Ending = Literal["softmax", "sigmoid", "probability", "linear", "other"]


@dataclass(frozen=True)
class Call:
    """One call of one operation.

    Attributes:
        path: The operation's path in the model.
        reference: Gives the operation, or None where it no longer exists; nothing is kept alive.
        number: Which of its calls, from 0.
        inputs: The names of the tensors that it takes: equal names are the same tensor.
        output: The name of the one tensor that it gives; None where there are several.
        shape: The shape of that tensor, the channels last.
        input_shape: The shape of the first of the inputs, the channels last.
        frames: Number of the frames that it has as a batch, of a video; 1 where it has no time;
            None where it has the axes of the input. ``shape`` has them apart, (1, T, h, w, K).
        input_frames: The same of the first of the inputs.
    """

    path: str
    reference: Callable[[], Any]
    number: int
    inputs: tuple[str, ...]
    output: str | None
    shape: Shape | None
    input_shape: Shape | None = None
    frames: int | None = None
    input_frames: int | None = None

    @property
    def operation(self) -> Any:
        """The layer or operation that is called."""
        return self.reference()

    def tensor(self, side: Side) -> str | None:
        """The name of the one tensor that it gives, or of the first that it takes."""
        return self.output if side == "output" else next(iter(self.inputs), None)

    def shape_at(self, side: Side) -> Shape | None:
        """The shape of that tensor."""
        return self.shape if side == "output" else self.input_shape


@dataclass(frozen=True)
class CallGraph:
    """What a model calls, in the order in which the calls end, and what it returns.

    Attributes:
        calls: The calls.
        outputs: The names of the tensors that it returns.
        shape: The shape of its one output; None where there are several.
        rank: The rank of a map: that of the explained input, and at least 3.
        sides: The spatial sizes of that input, as it was traced.
        attentions: The paths of the layers whose attention can be read.
        sources: Of a model with several inputs, which of them each tensor depends on.
        which: Which input is explained.
        name: The model's name, for messages.
        sealed: The path of an exported network inside, whose layers are layers no more.
        parents: The tensors that each tensor is made from, in the order in which they are made.
        kinds: What makes each tensor: a class of Keras, or a type of TensorFlow's operations.
        explained_input: The name of the tensor that is the explained input.
        returned: The names of the outputs in the model's own structure.
        output_shapes: The shape of each output.
        traced: What is known of each output by its key, where the calls were traced; the key of
            an only one is None.
        cuts: The (height, width) of each picture that was cut into tokens (B, height width, D), in
            the order in which it was, where the calls were traced.
        ranks: The number of axes of each tensor.
        orders: In which order each tensor has the axes behind its batch, where it is another than
            (..., channels): (2, 0, 1) where the channels stand before rows and columns.
        own_order: In which order the model takes those of the explained input.
        origins: Which patch each token is of, where tokens are joined, cut or moved.
        layouts: How the positions of tensors lie in the explained input, where that was followed.
        harms_eagerly: Whether it holds a convolution whose gradient may not be computed eagerly;
            see ``eager_gradients``.
    """

    calls: tuple[Call, ...]
    outputs: tuple[str, ...]
    shape: Shape | None
    rank: int
    sides: tuple[int, ...] = ()
    attentions: frozenset[str] = frozenset()
    sources: Mapping[str, frozenset[int]] = field(default_factory=dict)
    which: int = 0
    name: str = "model"
    sealed: str | None = None
    parents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    explained_input: str = ""
    returned: Any = None
    output_shapes: tuple[Shape | None, ...] = ()
    traced: Mapping[str | int | None, tuple[Shape | None, Ending | None]] = field(
        default_factory=dict
    )
    cuts: tuple[tuple[int, int], ...] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)
    orders: Mapping[str, Order] = field(default_factory=dict)
    own_order: Order = ()
    origins: TokenOrigins = field(default_factory=TokenOrigins)
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    harms_eagerly: bool = False

    def producer(self, tensor: str) -> Call | None:
        """Find the first call that returned a tensor: the innermost, as that one ends first."""
        made = (c for c in self.calls if c.output == tensor and tensor not in c.inputs)
        return next(made, None)

    def tensor(self, path: str, number: int | None, side: Side) -> str | None:
        """Name the tensor that goes into or comes out of a call; None if there was none."""
        for call in self.calls:
            if call.path == path and number in (None, call.number):
                return call.tensor(side)
        return None

    def frames(self, path: str, number: int | None, side: Side) -> int | None:
        """How many frames of a video are a batch where a call is opened; see ``Call``."""
        for call in self.calls:
            if call.path == path and number in (None, call.number):
                return call.frames if side == "output" else call.input_frames
        return None

    @cached_property
    def maps(self) -> list[Call]:
        """The calls that return a map: more than one position, laid out as the input is.

        Those without time, or with time at another place than the input has it, are maps of a
        video only where there are no others.
        """
        maps = [call for call in self.calls if self._has_map(call)]
        if self.rank == 5:
            own = self.positions(self.explained_input)
            maps = [call for call in maps if self.positions(call.output) == own] or maps
        return [call for call in maps if call.frames != 1] or maps

    def _has_map(self, call: Call) -> bool:
        shape = call.shape
        if shape is None or len(shape) != self.rank or self.in_attention(call):
            return False
        layout = self.layouts.get(call.output or "")
        if self.moves_channels(call.output) or (layout is not None and not layout.sides):
            return False
        return math.prod(size or 2 for size in shape[1:-1]) > 1

    @cached_property
    def _token_layouts(self) -> list[tuple[int, Shape, Layout]]:
        """Of which calls it is known where the tokens of a video lie: the call's place, and how."""
        known = []
        for place, call in enumerate(self.calls):
            layout = self.layouts.get(call.output or "")
            if layout is not None and layout.order and call.shape is not None:
                known.append((place, call.shape[:-1], layout))
        return known

    def layout(self, call: Call, side: Side) -> Layout | None:
        """How what goes into or comes out of a call lies in the explained input; None if unknown.

        What attends to others has no place of its own: it lies as the last tokens before it do, of
        as many in the same axes.
        """
        shape, layout = call.shape_at(side), self.layouts.get(call.tensor(side) or "")
        if layout is not None or shape is None:
            return layout
        end = self.calls.index(call)
        for place, axes, known in reversed(self._token_layouts):
            if place < end and axes == shape[:-1]:
                return known
        return None

    def order(self, tensor: str | None, rank: int) -> Order:
        """In which order a tensor of so many axes has those behind its batch."""
        order = self.orders.get(tensor or "", ())
        return order if len(order) == rank - 1 else tuple(range(rank - 1))

    def moves_channels(self, tensor: str | None) -> bool:
        """Whether a map has its channels at another place than the model's input has them."""
        if self.ranks.get(tensor or "") != self.rank:
            return False
        channels, order = self.rank - 2, self.order(tensor, self.rank)
        own = self.own_order if len(self.own_order) == len(order) else tuple(range(self.rank - 1))
        return order.index(channels) != own.index(channels)

    def positions(self, tensor: str | None) -> Order:
        """In which order a map has the input's rows, columns and the like."""
        return tuple(axis for axis in self.order(tensor, self.rank) if axis != self.rank - 2)

    def in_attention(self, call: Call) -> bool:
        """Whether a call is inside an attention layer, where (B, T, heads, d) is no map."""
        return any(call.path.startswith(f"{path}/") for path in self.attentions)

    def explained(self, calls: Sequence[Call]) -> list[Call]:
        """Those of some calls that depend on the explained one of several inputs."""
        sources = self.sources
        return [c for c in calls if not sources or self.which in sources.get(c.output or "", ())]

    def explained_alone(self) -> list[Call]:
        """The calls that take what comes from the explained one of several inputs alone."""
        alone, sources = {self.which}, self.sources
        return [c for c in self.calls if c.inputs and sources.get(c.inputs[0]) == alone]

    @cached_property
    def embedding(self) -> Call | None:
        """The call that turns the explained input's whole numbers into vectors; None without.

        It takes the numbers as they are given, and may share them with smaller tables, such as one
        of segments; what takes numbers that are only made beside them, such as positions, is none.
        """
        made = {self.explained_input}
        for call in self.calls:
            if isinstance(call.operation, keras.layers.TextVectorization):
                made.add(call.output or "")
        for name, sources in self.parents.items():
            if self.kinds.get(name) in _CASTS and made & set(sources):
                made.add(name)
        tables = [c for c in self.calls if isinstance(c.operation, keras.layers.Embedding)]
        taking = [call for call in tables if made & set(call.inputs[:1])]
        return max(taking, key=lambda call: int(call.operation.input_dim), default=None)

    @property
    def embedding_name(self) -> str | None:
        """What ``embedding`` can be asked for by."""
        return None if self.embedding is None else self.call_name(self.embedding)

    def call_name(self, call: Call) -> str:
        """Name a call as it can be asked for: its path, with its number where there are several."""
        number = self.call_number(call)
        return call.path if number is None else f"{call.path}:{number}"

    @cached_property
    def _counts(self) -> Counter[int]:
        # There is one weak reference to an operation.
        return Counter(id(call.reference) for call in self.calls)

    def call_number(self, call: Call) -> int | None:
        """Which call of its operation it is; None of the only one."""
        return call.number if self._counts[id(call.reference)] > 1 else None


def channels_last(shape: Shape | None, rank: int) -> Shape | None:
    """The shape of a tensor of a model that has its channels first, as a map has it."""
    return shape if shape is None or len(shape) != rank else (shape[0], *shape[2:], shape[1])


# What gives the numbers that it takes.
_CASTS = ("Cast", "Identity")

_PRODUCTS = ("BatchMatMulV2", "BatchMatMulV3", "Dot", "Einsum", "MatMul", "Matmul")


def axis_orders(
    parents: Mapping[str, tuple[str, ...]],
    kinds: Mapping[str, str],
    ranks: Mapping[str, int],
    turns: Mapping[str, Sequence[int]],
    first: Mapping[str, Order],
) -> dict[str, Order]:
    """In which order each tensor has the axes behind its batch, where that is not (..., channels).

    A reshaping to another rank makes new positions, but for what a dense layer does, which works
    on (B T, D); channels that stand first do so still. So does a product of two tensors, as in
    attention, and a reshaping to as many axes.

    Args:
        parents: The tensors that each tensor is made from, in the order in which they are made.
        kinds: What makes each.
        ranks: The number of axes of each.
        turns: The axes of each that a transposition makes.
        first: The order of the inputs.

    Example:
        >>> parents = {"b": ("a",), "c": ("b",), "d": ("c",)}
        >>> turned, back = (0, 2, 1, 3), (0, 2, -2, 3)
        >>> axis_orders(parents, {}, dict.fromkeys("abcd", 4), {"b": turned, "d": back}, {})
        {'b': (1, 0, 2), 'c': (1, 0, 2)}
    """
    orders = dict(first)
    for name, sources in parents.items():
        rank, order = ranks.get(name, 0), orders.get(sources[0])
        kind, same = kinds.get(name), ranks.get(sources[0]) == rank > 2
        if (kind == "Reshape" and same) or (kind in _PRODUCTS and len(set(sources)) > 1):
            order = None
        if rank != 2 and order is not None and len(order) != rank - 1:
            first_still = order[0] == len(order) - 1
            order = (rank - 2, *range(rank - 2)) if first_still else None
        if name in turns:
            before, axes = order or range(rank - 1), [axis % rank for axis in turns[name]]
            order = None if axes[0] else tuple(before[axis - 1] for axis in axes[1:])
        if order is not None and list(order) != sorted(order):
            orders[name] = order
    return orders
