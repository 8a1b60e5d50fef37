"""What a model takes: its inputs, one or several, in the structure that it asks for.

All of tfcam has channels last; a model that takes (B, C, H, W) gets them so here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.data.volumes import VolumeForm
from tfcam.model.scope_names import valid_scopes
from tfcam.model.string_layers import (
    Vectorization,
    find_vectorizations,
    past_strings,
    takes_strings,
)
from tfcam.model.strings import blank_of
from tfcam.model.tree import ModelTree
from tfcam.utils.validation import shown

# What the rounding to whole numbers is called in a graph.
ROUNDED = "pixels_as_whole_numbers"

_STEPPED = (
    keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D,
    keras.layers.ConvLSTM3D,
    keras.layers.TimeDistributed,
)


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: How it can be asked for.
        shape: Without the batch axis, the channels last; unknown sizes are None.
        dtype: What the model asks for; float32 where it says nothing.
        channels_first: Whether the model takes the channels before the sides.
        turned: Whether its layers have them last all the same: the model moves them there itself.
        bare: Whether it takes pictures of one channel without an axis of channels, (h, w); here
            they have that axis.
        row: Whether it takes pictures laid out in a row, (h w channels,), which it folds itself.
        behind: Of an input of strings, the layer that turns them into numbers: the input is here
            what that layer gives, and the strings stay outside.
        blank: Of a text, the number that stands for nothing: the mask where there is one, else
            the padding.
        usual: What stands for the sides that the model leaves open, where it takes no others.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    channels_first: bool = False
    bare: bool = False
    row: bool = False
    behind: Vectorization | None = None
    blank: int = 0
    usual: int | None = None
    turned: bool = False

    @property
    def is_text(self) -> bool:
        """Whether it takes a text as whole numbers, (L,)."""
        return len(self.shape) == 1 and "int" in self.dtype

    @property
    def is_rounded(self) -> bool:
        """Whether it takes pixels, or voxels, as whole numbers: here they are floats until then."""
        return "int" in self.dtype and len(self.shape) > 2

    @property
    def values(self) -> str:
        """The dtype in which its values are known here."""
        return "float32" if self.is_rounded else self.dtype

    @property
    def layers_first(self) -> bool:
        """Whether the layers that see it have the channels before the sides."""
        return self.channels_first and not self.turned

    @property
    def own_shape(self) -> tuple[int | None, ...]:
        """The shape as the model takes it."""
        if self.row:
            return (math.prod(size or 0 for size in self.shape),)
        if self.bare:
            return self.shape[:-1]
        return (self.shape[-1], *self.shape[:-1]) if self.channels_first else self.shape

    @property
    def order(self) -> tuple[int, ...]:
        """The order in which it has the axes of ``shape``."""
        axes = tuple(range(len(self.shape)))
        return (axes[-1], *axes[:-1]) if self.channels_first else axes

    @property
    def layers_order(self) -> tuple[int, ...]:
        """The order in which the layers that see it have the axes of ``shape``."""
        return self.order if self.layers_first else tuple(range(len(self.shape)))

    def shape_of(self, axes: int) -> tuple[int | None, ...]:
        """The shape of an example of so many axes: one channel may lack its axis, as in Keras."""
        if self.channels_first:
            return self.own_shape
        lacks = self.shape[-1] == 1 and axes < len(self.shape)
        return self.shape[:-1] if lacks else self.shape

    def channels_last(self, example: np.ndarray) -> np.ndarray:
        """An example as the model takes it, the channels last; one channel may lack its axis."""
        if self.channels_first and example.ndim == len(self.shape):
            return np.moveaxis(example, 0, -1)
        if self.shape[-1] == 1 and example.ndim == len(self.shape) - 1:
            return example[..., np.newaxis]
        return example

    def folded(self, given: Any) -> Any:
        """What is given for it, with pictures in a row, one or a batch, folded to (h, w, C)."""
        if not self.row:
            return given
        if isinstance(given, list | tuple):
            return type(given)(map(self.folded, given))
        shape = tuple(getattr(given, "shape", ()))
        if shape[-1:] != self.own_shape or len(shape) > 2:
            return given
        return np.reshape(np.asarray(given), (*shape[:-1], *self.shape))

    def as_known(self, batch: tf.Tensor) -> tf.Tensor:
        """A batch as it is known here, the channels last, of one as the model takes it."""
        batch = tf.cast(batch, self.values) if self.is_rounded else batch
        if self.row and batch.shape.rank == 2:
            return tf.reshape(batch, (-1, *self.shape))
        if self.shape[-1] == 1 and batch.shape.rank == len(self.shape):
            return batch[..., tf.newaxis]
        first = self.channels_first and batch.shape.rank == len(self.shape) + 1
        return swapped(batch, to_first=False) if first else batch

    def as_taken(self, batch: tf.Tensor) -> tf.Tensor:
        """A batch as the model takes it, of one that has the channels last."""
        if self.is_rounded and batch.dtype.is_floating:
            with tf.name_scope(ROUNDED):
                batch = tf.saturate_cast(tf.round(batch), self.dtype)
        if self.row:
            return tf.reshape(batch, (-1, *self.own_shape))
        if self.bare:
            return batch[..., 0]
        return swapped(batch, to_first=True) if self.channels_first else batch

    @property
    def is_image(self) -> bool:
        """Whether it takes (h, w, channels)."""
        return len(self.shape) == 3

    @property
    def is_volume(self) -> bool:
        """Whether it takes (frames or slices, h, w, channels)."""
        return len(self.shape) == 4

    @property
    def is_visual(self) -> bool:
        """Whether it takes pictures, videos or volumes."""
        return self.is_image or self.is_volume

    @property
    def form(self) -> VolumeForm | None:
        """How the videos or volumes of a data set must be given; None where it takes none."""
        if not self.is_volume:
            return None
        lacks = self.shape[-1] == 1 and not self.channels_first
        shapes = (self.own_shape, self.own_shape[:-1]) if lacks else (self.own_shape,)
        return VolumeForm(shapes, self.channels_first)

    @property
    def sides(self) -> tuple[int | None, ...]:
        """The axes of positions: all but the channels, which a sequence of numbers has none of."""
        return self.shape[:-1] if len(self.shape) > 1 else self.shape

    def spec(self, size: int) -> tf.TensorSpec:
        """One example, with ``size`` for the sides that the model leaves open."""
        sides = (side or self.usual or size for side in self.sides)
        return tf.TensorSpec(
            (1, *sides, *(n or 3 for n in self.shape[len(self.sides) :])), self.values
        )


def read_structure(tree: ModelTree) -> Any:
    """Read what a model takes: one ``Input``, or a list, tuple or dict of them.

    Raises:
        ValueError: If it is not built, or does not say what it takes.
    """
    model = tree.model
    if not model.built:
        raise ValueError(
            f"The model must be built before it can be explained; {model.name!r} has never been "
            "called. Call it once on a batch of images, or build it with its input shape."
        )
    taken = _structure(model)
    if takes_strings(tree):
        taken = _behind_strings(tree, taken)
    blank = blank_of(model)
    if blank:
        taken = tf.nest.map_structure(lambda one: replace(one, blank=blank), taken)
    most = max(len(one.shape) for one in tf.nest.flatten(taken))
    if most < 2 or not _is_channels_first(tree, most + 1):
        return taken
    return tf.nest.map_structure(
        lambda one: with_channels_first(one) if len(one.shape) == most else one, taken
    )


def _structure(model: Any) -> Any:
    if getattr(model, "inputs", None):
        tensors = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        return _inputs(tensors)
    shape = getattr(model, "input_shape", None)
    if shape is None:
        shape = (model.get_build_config() or {}).get("input_shape")
    if not shape:
        raise ValueError(
            f"The model must say what it takes; {model.name!r} does not. Build it with the shape "
            "of its inputs, or call it in a functional model: "
            "keras.Model(inputs, model(inputs))."
        )
    return _inputs(shape)


def _inputs(taken: Any, name: str | None = None) -> Any:
    if isinstance(taken, dict):
        return {key: _inputs(value, str(key)) for key, value in taken.items()}
    if isinstance(taken, list | tuple) and not _is_shape(taken):
        names = [None if hasattr(one, "name") else f"input_{n}" for n, one in enumerate(taken)]
        return type(taken)(map(_inputs, taken, names))
    if isinstance(taken, list | tuple):
        return Input(name or "input", tuple(taken[1:]))
    dtype = taken.dtype if "int" in taken.dtype else "float32"
    return Input(name or taken.name, tuple(taken.shape[1:]), dtype)


def _behind_strings(tree: ModelTree, taken: Any) -> Any:
    """The inputs, with the numbers of texts in place of the strings."""
    inputs: list[Input] = tf.nest.flatten(taken)
    for behind in find_vectorizations(tree, taken):
        inputs[behind.which] = replace(
            inputs[behind.which],
            shape=(behind.length,),
            dtype="int64",
            behind=behind,
            blank=behind.blank,
        )
    return tf.nest.pack_sequence_as(taken, inputs)


def with_channels_first(taken: Input, turned: bool = False) -> Input:
    """An input as it is known here, of one whose shape has the channels before the sides."""
    shape = (*taken.shape[1:], taken.shape[0])
    return replace(taken, shape=shape, channels_first=True, turned=turned)


def _is_channels_first(tree: ModelTree, axes: int) -> bool:
    """Whether a model's maps of so many axes are (B, C, ...).

    Raises:
        ValueError: If some are and others are not.
    """
    formats: dict[str, str] = {}
    for path, operation in tree.items():
        _check_steps(tree, path, operation)
        spec = getattr(operation, "input_spec", None)
        if axes in (getattr(spec, "ndim", None), getattr(spec, "min_ndim", None)):
            formats.setdefault(getattr(operation, "data_format", "none"), path)
    first, last = formats.get("channels_first"), formats.get("channels_last")
    if first and last:
        raise ValueError(
            f"A model must have one data_format; {first!r} of {tree.name!r} has channels_first, "
            f"{last!r} channels_last. Give both the same."
        )
    return first is not None


def _check_steps(tree: ModelTree, path: str, operation: Any) -> None:
    """Refuse steps in time whose channels are neither the first of the axes nor the last."""
    stepped = getattr(operation, "layer", operation)
    first = getattr(stepped, "data_format", None) == "channels_first"
    if first and isinstance(operation, _STEPPED):
        raise ValueError(
            f"Channels must be the last of the axes or the first; {path!r} of {tree.name!r} has "
            "data_format='channels_first', and thus its channels after the steps in time: "
            "(B, time, channels, ...). Build it with data_format='channels_last'."
        )


def swapped(tensor: tf.Tensor, to_first: bool) -> tf.Tensor:
    """A batch with its channels moved from the end to the front, or back."""
    sides = range(1, tensor.shape.rank - 1)
    order = [tensor.shape.rank - 1, *sides] if to_first else [*(s + 1 for s in sides), 1]
    return tf.transpose(tensor, [0, *order])


def _is_shape(shape: Any) -> bool:
    return all(size is None or isinstance(size, int) for size in shape)


def find_input(
    inputs: Sequence[Input], name: str | int | None, find_words: Callable[[], int]
) -> int:
    """Find which input is meant; the first one with most axes where none is named.

    Args:
        inputs: The model's inputs.
        name: As a user names it.
        find_words: Finds the one of words where all are texts, as transformers take them.

    Raises:
        ValueError: If there is no such input.
    """
    if name is None and len(inputs) > 1 and all(taken.is_text for taken in inputs):
        return find_words()
    if name is None:
        return max(range(len(inputs)), key=lambda n: (len(inputs[n].shape), -n))
    names = [taken.name for taken in inputs]
    index = names.index(name) if isinstance(name, str) and name in names else name
    whole = isinstance(index, int | np.integer) and not isinstance(index, bool)
    if not whole or not 0 <= int(index) < len(inputs):
        raise ValueError(
            f"input must be one of {', '.join(map(repr, names))}, or an index in "
            f"0..{len(inputs) - 1}; got {shown(name)}."
        )
    return int(index)


def check_one_image(inputs: Sequence[Input], name: str, door: str, volumes: bool = False) -> Input:
    """Check that a model takes one image, or video or volume, and nothing else.

    Args:
        inputs: The model's inputs.
        name: The model's name.
        door: What is for such models, as in "stream is for ...".
        volumes: Whether it is for videos and volumes, too.

    Raises:
        ValueError: If it takes something else.
    """
    if len(inputs) > 1 or not (inputs[0].is_image or (volumes and inputs[0].is_visual)):
        names = ", ".join(f"{taken.name!r} {taken.own_shape}" for taken in inputs)
        kinds = "input of images, videos or volumes" if volumes else "image input"
        raise ValueError(f"{door} is for models with one {kinds}; {name!r} takes {names}.")
    return inputs[0]


def run(tree: ModelTree, structure: Any, values: Sequence[tf.Tensor]) -> Any:
    """Call a model in inference mode.

    Args:
        tree: The model.
        structure: Its inputs in the structure in which it takes them.
        values: What it is given, in their flat order, the channels last.
    """
    inputs: list[Input] = tf.nest.flatten(structure)
    ordered = [taken.as_taken(value) for taken, value in zip(inputs, values, strict=True)]
    with valid_scopes(tree.odd_names), past_strings(tree, inputs, ordered), tree.during_call():
        return tree.model(tf.nest.pack_sequence_as(structure, ordered), training=False)
