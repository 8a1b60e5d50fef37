"""Models that take strings: the layers inside that turn them into numbers."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcam.model.bags import as_bag, is_bag, reads_alike
from tfcam.model.hooks import observed, rewired
from tfcam.model.scope_names import valid_scopes
from tfcam.model.tree import ModelTree

_KINDS = (keras.layers.TextVectorization, keras.layers.StringLookup, keras.layers.Hashing)
# What gives the strings that it takes.
_PASSING = ("EnsureShape", "ExpandDims", "Identity", "Reshape", "Squeeze")
_INSTEAD = (
    "Explain the network behind it: tfcam.explain(network, text, preprocess=function), with a "
    "function of strings that gives the numbers."
)


class Vectorization(NamedTuple):
    """The layer that turns one input of strings into whole numbers.

    Attributes:
        layer: Gives the layer, and does not keep it alive.
        length: The number of positions that it gives; None where that is the text's own.
        which: Which of the model's inputs are the strings.
        sides: The axes of that input behind the batch: () or (1,).
        calls: Which of the layer's calls take this input.
        direct: Whether the strings come there as they are given.
        blank: The number that stands for no word.
    """

    layer: Callable[[], Any]
    length: int | None
    which: int
    sides: tuple[int, ...]
    calls: tuple[int, ...] = ()
    direct: bool = True
    blank: int = 0

    @property
    def is_bag(self) -> bool:
        """Whether it counts words: its numbers are those of a twin that lists them."""
        return is_bag(self.layer())

    @property
    def is_whole(self) -> bool:
        """Whether each string is one word, as the value of a category is."""
        return not isinstance(self.layer(), keras.layers.TextVectorization)

    def numbers(self, strings: Any) -> np.ndarray:
        """Turn strings that come to the layer into numbers, (B, L)."""
        if self.is_bag:
            return reads_alike(self.layer(), strings)
        return np.asarray(self.layer()(strings)).reshape(len(strings), -1)

    def given(self, numbers: tf.Tensor) -> tf.Tensor:
        """What the layer gives to the model for numbers (B, L)."""
        if self.is_bag:
            return as_bag(self.layer(), numbers)
        return tf.reshape(numbers, (-1,)) if self.is_whole and self.sides == () else numbers


class _Call(NamedTuple):
    """A call of a layer of strings: the inputs that it depends on, and whether it takes one."""

    layer: Any
    number: int
    sources: frozenset[int]
    direct: bool


def takes_strings(tree: ModelTree) -> bool:
    """Whether a model takes strings."""
    inputs = getattr(tree.model, "inputs", None)
    if inputs:
        return any(one.dtype == "string" for one in inputs)
    return any(isinstance(each, keras.layers.TextVectorization) for each in string_layers(tree))


def string_layers(tree: ModelTree) -> list[Any]:
    """List the layers of a model that turn strings into numbers, without those inside of them."""
    found = [each for each in tree.operations if isinstance(each, _KINDS)]
    inner = {id(getattr(each, "_lookup_layer", None)) for each in found}
    return [each for each in {id(one): one for one in found}.values() if id(each) not in inner]


def find_vectorizations(tree: ModelTree, structure: Any) -> list[Vectorization]:
    """Find the layers that turn the strings that a model takes into whole numbers.

    Args:
        tree: The model.
        structure: Its inputs.

    Raises:
        ValueError: If there is none behind an input of strings, or several, or what it gives has no
            number for each word.
    """
    inputs, layers = tf.nest.flatten(structure), string_layers(tree)
    dtypes = getattr(tree.model, "inputs", None) or ()
    strings = [n for n, one in enumerate(dtypes) if one.dtype == "string"] or [0]
    calls = _calls(tree, structure, strings, layers)
    return [_behind(tree, inputs[which], which, strings, calls) for which in strings]


def _behind(
    tree: ModelTree, taken: Any, which: int, strings: Sequence[int], calls: Sequence[_Call]
) -> Vectorization:
    own = [call for call in calls if which in call.sources]
    layers = {id(call.layer): call.layer for call in own}
    if any(len(call.sources & set(strings)) > 1 for call in own):
        raise ValueError(
            "Each input of strings must be turned into numbers by itself; "
            f"{own[0].layer.name!r} of {tree.name!r} takes several of them, joined. {_INSTEAD}"
        )
    if len(layers) != 1:
        names = ", ".join(repr(each.name) for each in layers.values()) or "none"
        raise ValueError(
            "A model of strings is explained where one TextVectorization, StringLookup or Hashing "
            f"turns each input of them into numbers; behind {taken.name!r} of {tree.name!r} there "
            f"is {names}. {_INSTEAD}"
        )
    layer = own[0].layer
    sides = tuple(side or 1 for side in taken.shape)
    _check_form(tree, layer, sides)
    numbers = tuple(call.number for call in own)
    length: int | None = 1
    if isinstance(layer, keras.layers.TextVectorization):
        length = None if is_bag(layer) else layer.get_config()["output_sequence_length"]
    direct = all(call.direct for call in own)
    blank = 0 if isinstance(layer, keras.layers.TextVectorization) else _blank(layer)
    return Vectorization(weakref.ref(layer), length, which, sides, numbers, direct, blank)


def _check_form(tree: ModelTree, layer: Any, sides: tuple[int, ...]) -> None:
    config = layer.get_config()
    if isinstance(layer, keras.layers.TextVectorization):
        if config["ragged"] or config["sparse"]:
            name = "ragged" if config["ragged"] else "sparse"
            raise ValueError(
                "A text is explained word by word, for which its TextVectorization must not be "
                f"ragged or sparse; {layer.name!r} of {tree.name!r} has {name}=True."
            )
        return
    kind = type(layer).__name__
    if np.prod(sides, dtype=int) != 1:
        raise ValueError(
            f"A {kind} is explained where each string is one value of it, (B, 1); "
            f"{layer.name!r} of {tree.name!r} takes words one by one, "
            f"(B, {', '.join(map(str, sides))}). Explain the network behind it by the numbers of "
            "the words, and name these: "
            "tfcam.explain(network, numbers, words=[...])."
        )
    if config["output_mode"] != "int" or config["sparse"]:
        raise ValueError(
            f"A {kind} must give a number for each string, output_mode='int'; {layer.name!r} of "
            f"{tree.name!r} has output_mode={config['output_mode']!r}. {_INSTEAD}"
        )


def _blank(layer: Any) -> int:
    """The number of a string that is empty."""
    try:
        return int(np.asarray(layer(tf.constant([""]))).reshape(-1)[0])
    except Exception:
        raise ValueError(
            f"Of a string that is hidden the layer {layer.name!r} must give some number; it knows "
            "none for what is not in its vocabulary. Build it with num_oov_indices=1."
        ) from None


def _calls(
    tree: ModelTree, structure: Any, strings: Sequence[int], layers: Sequence[Any]
) -> list[_Call]:
    """Trace which inputs of strings come to which calls of layers of strings."""
    seen: list[tuple[Any, int, tf.Tensor]] = []

    def visit(operation: Any, number: int, side: str, value: Any) -> Any:
        if side == "input" and tf.is_tensor(value):
            seen.append((operation, number, value))
        return value

    @tf.function(autograph=False)
    def traced(*values: tf.Tensor) -> Any:
        with valid_scopes(tree.odd_names), observed(tree, layers, visit):
            return tree.model(tf.nest.pack_sequence_as(structure, values), training=False)

    inputs = tf.nest.flatten(structure)
    try:
        graph = traced.get_concrete_function(
            *(
                tf.TensorSpec((1, *(side or 1 for side in one.shape)), tf.string)
                if number in strings
                else one.spec(16)
                for number, one in enumerate(inputs)
            )
        ).graph
    except Exception:  # what is wrong with the model is told when it runs
        return [_Call(each, 0, frozenset(strings[:1]), True) for each in layers]
    return [
        _Call(layer, number, *_origin(graph, tensor, len(inputs))) for layer, number, tensor in seen
    ]


def _origin(graph: tf.Graph, tensor: tf.Tensor, count: int) -> tuple[frozenset[int], bool]:
    """The inputs that a tensor depends on, and whether it is one of them as it is given."""
    places = {one.name: number for number, one in enumerate(graph.inputs[:count])}
    direct = tensor
    while direct.name not in places and direct.op.type in _PASSING:
        direct = direct.op.inputs[0]
    waiting, seen = [tensor], set[str]()
    while waiting:
        one = waiting.pop()
        if one.name not in seen:
            seen.add(one.name)
            waiting += one.op.inputs
    return frozenset(places[name] for name in seen & set(places)), direct.name in places


def past_strings(
    tree: ModelTree, inputs: Sequence[Any], values: list[Any]
) -> AbstractContextManager[None]:
    """Put empty strings in place of numbers, which layers of strings then give by themselves.

    Args:
        tree: The model.
        inputs: Its inputs in their flat order.
        values: What it is given in their order; changed.
    """
    known: dict[tuple[int, int], tf.Tensor] = {}
    layers = []
    for taken in inputs:
        behind = taken.behind
        if behind is None:
            continue
        numbers = values[behind.which]
        values[behind.which] = tf.fill((tf.shape(numbers)[0], *behind.sides), "")
        given = behind.given(numbers)
        known |= {(id(behind.layer()), number): given for number in behind.calls}
        layers.append(behind.layer())
    if not layers:
        return nullcontext()

    def wrap(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        count = itertools.count()

        def call(*args: Any, **kwargs: Any) -> Any:
            number = next(count)
            if (id(layer), number) in known:
                return known[id(layer), number]
            return original(*args, **kwargs)

        return call

    return rewired(tree, layers, wrap)


class _ArrivedError(Exception):
    """Strings have come to a layer: the rest need not be computed."""

    def __init__(self, strings: Any) -> None:
        super().__init__()
        self.strings = strings


def arriving(tree: ModelTree, structure: Any, behind: Vectorization, strings: tf.Tensor) -> Any:
    """The strings that come to a layer where the model changes them before.

    Args:
        tree: The model.
        structure: Its inputs.
        behind: The layer.
        strings: (B,), what the model is given.
    """
    count, values = len(strings), []
    for number, one in enumerate(tf.nest.flatten(structure)):
        if number == behind.which:
            values.append(tf.reshape(strings, (-1, *behind.sides)))
        elif one.behind is not None:
            values.append(tf.fill((count, *one.behind.sides), ""))
        else:
            spec = one.spec(16)
            values.append(one.as_taken(tf.zeros((count, *spec.shape[1:]), spec.dtype)))

    def visit(layer: Any, number: int, side: str, value: Any) -> Any:
        if number == behind.calls[0] and side == "input":
            raise _ArrivedError(value)
        return value

    try:
        with valid_scopes(tree.odd_names), observed(tree, [behind.layer()], visit):
            tree.model(tf.nest.pack_sequence_as(structure, values), training=False)
    except _ArrivedError as arrived:
        return tf.reshape(arrived.strings, (count, -1))[:, 0]
    raise ValueError(f"No strings come to the layer {behind.layer().name!r} of {tree.name!r}.")
