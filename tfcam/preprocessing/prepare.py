"""From pictures as they are given to the model's input, and what was done to them, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfcam.findings import Finding, finding
from tfcam.images.loading import as_numpy, is_prepared, load_image, resize_image, to_channels
from tfcam.images.window import AppliedWindow, Window
from tfcam.model.graph import ModelGraph
from tfcam.model.inputs import Input
from tfcam.model.strings import padding_of
from tfcam.preprocessing.modes import Preprocess, choose_preprocessing, function_name
from tfcam.preprocessing.ranges import known_range, look_like_counts, look_like_pixels
from tfcam.preprocessing.sizes import size_for
from tfcam.preprocessing.texts import ReadText
from tfcam.preprocessing.vocabulary import check_vocabulary
from tfcam.utils.validation import check_shape, check_shapes, shown

# What is said of floats that were taken as pixels.
FLOATS_AS_PIXELS = "floats of 0..255 as pixels: "


@dataclass(frozen=True)
class Prepared:
    """Pictures ready for the model.

    Attributes:
        images: Each picture as given, (H, W, 3) uint8 RGB; of other inputs (a series, a text, a
            volume) the array as given.
        inputs: (B, h, w, C), what the model takes.
        axes: Number of axes of positions of each.
        others: The model's other inputs, (B, ...) each, in their flat order.
        description: What was applied, in words.
        bgr: Whether the input's channels are in the order blue, green, red.
        findings: What to mind about all of them.
        seen: What to mind of each picture, where ``images`` no longer shows it.
        texts: Of strings, each text as it was read.
        owners: Of texts, (B, L) int32: which word each number is of, -1 where it is of none.
        blank: Of texts, the number that stands for nothing; None where the input tells it.
    """

    images: list[np.ndarray]
    inputs: np.ndarray
    description: str
    bgr: bool = False
    axes: int = 2
    others: tuple[np.ndarray, ...] = ()
    findings: tuple[Finding, ...] = ()
    seen: tuple[tuple[Finding, ...], ...] = ()
    texts: tuple[ReadText, ...] = ()
    owners: np.ndarray | None = None
    blank: int | None = None

    @property
    def words(self) -> tuple[np.ndarray | None, int | None]:
        """What an engine is told of the words of texts: ``owners`` and ``blank``."""
        return self.owners, self.blank


def prepare(
    graph: ModelGraph,
    pictures: Sequence[Any],
    preprocess: Preprocess,
    which: int = 0,
    shown: bool = True,
    pixels: bool | None = None,
) -> Prepared:
    """Load, resize and preprocess pictures for a model; what is given is never changed.

    Args:
        graph: What is known of the model.
        pictures: Each a path, URL, bytes, PIL image or uint8 array, or, already prepared, a
            float array (h, w, C).
        preprocess: A mode, a family's name, a callable, "auto" or None.
        which: Which of the model's inputs they are.
        shown: Whether inputs that were given prepared are made a picture to look at; else it is
            black.
        pixels: Of a part of a batch, what ``are_pixels`` says of the whole.

    Raises:
        ValueError: If pictures and prepared arrays are mixed, or sizes do not fit.
    """
    taken = graph.inputs[which]
    if not taken.is_image:
        return _as_given(graph, pictures, preprocess, which)
    if isinstance(preprocess, Window):
        limits = None if isinstance(preprocess, AppliedWindow) else preprocess.limits
        cut = [load_image(picture, window=limits) for picture in pictures]
        ready = prepare(graph, cut, preprocess.preprocess or "raw", which, shown)
        return replace(ready, description=preprocess.described + ready.description)
    shape = taken.shape
    prepared = [is_prepared(picture) for picture in pictures]
    unsaid = preprocess is None or (isinstance(preprocess, str) and preprocess == "auto")
    if any(prepared) and unsaid:
        if not all(prepared):
            raise ValueError(
                "Pictures and float arrays (taken as already prepared) can't be mixed in a batch; "
                f"{sum(prepared)} of {len(prepared)} are floats."
            )
        if pixels is None:
            pixels = are_pixels(graph, pictures, preprocess, which)
        if not pixels:
            doubts = () if preprocess is None else _doubts(graph, pictures, which)
            return replace(_already_prepared(pictures, taken, shown), findings=doubts)
        prepared = [False] * len(pictures)
        pictures = [_rounded(picture, taken) for picture in pictures]
    # What is wrong with a picture is told before what can't be known of the model.
    chosen = None if unsaid else choose_preprocessing(graph, preprocess, which)
    loaded = [
        as_picture(picture) if floats else load_image(picture)
        for picture, floats in zip(pictures, prepared, strict=True)
    ]
    chosen = chosen or choose_preprocessing(graph, preprocess, which)
    size = size_for(graph, shape, loaded)
    channels = loaded[0].shape[2] if shape[2] is None else shape[2]
    resized = [to_channels(resize_image(image, size), channels) for image in loaded]
    batch = np.stack(resized, dtype=np.float32)
    inputs = as_numpy(chosen.function(batch))
    if inputs.shape != batch.shape:
        raise ValueError(
            f"preprocess must keep the shape of the batch {batch.shape}; it gave {inputs.shape}."
        )
    if inputs.dtype.kind not in "fiub" and "float" not in inputs.dtype.name:  # bfloat16
        raise ValueError(f"preprocess must give real numbers; it gave {inputs.dtype.name}.")
    fresh = inputs is not batch  # what a callable returns may be its own
    inputs = inputs.astype(taken.values, copy=fresh)
    floats = FLOATS_AS_PIXELS if pixels else ""
    return Prepared(loaded, inputs, floats + chosen.description, chosen.bgr)


def are_pixels(
    graph: ModelGraph, pictures: Sequence[Any], preprocess: Preprocess, which: int = 0
) -> bool:
    """Tell whether a batch of floats holds pixels of 0..255 for a model that wants other values.

    It does where the model's own range is known, and they can't be of it. Where the model takes
    pixels as they are, floats of its size are such already.

    Args:
        graph: What is known of the model.
        pictures: The whole batch.
        preprocess: As the user says; None where the floats are prepared whatever they hold.
        which: Which of the model's inputs they are.
    """
    taken = graph.inputs[which]
    automatic = isinstance(preprocess, str) and preprocess == "auto"
    if not automatic or not taken.is_image or not all(map(is_prepared, pictures)):
        return False
    arrays = [_picture_of(picture, taken) for picture in pictures]
    if not all(array.ndim == 3 and array.shape[-1] in (1, 3, 4) for array in arrays):
        return False
    if not look_like_pixels(arrays):
        return False
    known = known_range(graph, which)
    if known is None:
        return False
    resized = known.is_raw and any(
        side not in (None, own)
        for array in arrays
        for own, side in zip(array.shape, taken.shape, strict=True)
    )
    return resized or known.excludes(arrays)


def _picture_of(picture: Any, taken: Input) -> np.ndarray:
    """A float picture (h, w, C), however the model takes it."""
    array = _float32(picture)
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    first = taken.channels_first and array.ndim == 3 and array.shape[-1] not in (1, 3, 4)
    return taken.channels_last(array) if first else array


def _rounded(picture: Any, taken: Input) -> np.ndarray:
    return rounded(_picture_of(picture, taken))


def rounded(values: np.ndarray) -> np.ndarray:
    """Round floats of 0..255, and what a filter overshot, to pixels."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _doubts(graph: ModelGraph, pictures: Sequence[Any], which: int) -> tuple[Finding, ...]:
    """Find pixels, or what a scanner counts, given to a model that does not tell what it takes."""
    arrays = list(map(_float32, pictures))
    doubtful = look_like_pixels(arrays) or look_like_counts(arrays)
    if not doubtful or known_range(graph, which) is not None:
        return ()
    high = float(max(array.max() for array in arrays))
    return (finding("pixels_as_prepared", high=high, model=graph.name),)


def _as_given(
    graph: ModelGraph, values: Sequence[Any], preprocess: Preprocess, which: int
) -> Prepared:
    """Series, texts, volumes: taken as prepared, or handed to a callable."""
    taken = graph.inputs[which]
    # A mode is for pictures.
    if not (graph.takes_images or preprocess in ("auto", None) or callable(preprocess)):
        raise ValueError(
            f"preprocess={preprocess!r} is for images; the input {taken.name!r} takes "
            f"{taken.shape}. Give it prepared, or a callable."
        )
    if any(isinstance(value, ReadText) for value in values):
        return _texts(values, taken, preprocess)
    arrays = [np.array(value) for value in values]  # the result keeps them
    for array in arrays:
        if array.dtype.kind not in "biuf":
            hint = ""
            if taken.is_text:
                hint = " Strings need preprocess=a function of a list of them that gives (B, L)."
            if taken.behind is not None:
                raise ValueError(
                    f"Each text for the input {taken.name!r} must be one string; got "
                    f"{shown(values[0])}."
                )
            raise ValueError(
                f"The input {taken.name!r} must be given as numbers {taken.shape}; got "
                f"{type(values[0]).__name__}.{hint}"
            )
    check_shapes(arrays, taken.shape_of)
    arrays = [taken.channels_last(array) for array in arrays]
    batch = np.stack(arrays).astype(taken.values)
    described = "none: given as prepared"
    if callable(preprocess):
        batch, described = (
            np.asarray(preprocess(batch)),
            f"{function_name(preprocess)}, as given",
        )
    owners = None
    if taken.is_text and batch.ndim == 2:
        check_vocabulary(graph, which, batch)
        owners = np.where(batch == padding_of(graph.model), -1, np.arange(batch.shape[1])).astype(
            np.int32
        )
    return Prepared(arrays, batch, described, axes=len(taken.sides), owners=owners)


def _texts(values: Sequence[ReadText], taken: Input, preprocess: Preprocess) -> Prepared:
    """Texts that were read from strings; each is shown as the first number of each word."""
    batch = np.stack([text.numbers for text in values]).astype(taken.dtype)
    check_shape(batch[0], taken.shape, batch[0].shape)
    by = "the model's own tokens"
    if callable(preprocess):
        by = f"{function_name(preprocess)}, from strings"
    return Prepared(
        [_first_numbers(text) for text in values],
        batch,
        by,
        axes=1,
        texts=tuple(values),
        owners=np.stack([text.owners for text in values]),
        blank=values[0].blank,
    )


def _first_numbers(text: ReadText) -> np.ndarray:
    first = [int(np.argmax(text.owners == word)) for word in range(len(text.words))]
    return text.numbers[first]


def _already_prepared(pictures: Sequence[Any], taken: Input, shown: bool) -> Prepared:
    arrays = [_float32(picture) for picture in pictures]  # np.stack copies them
    arrays = [array[0] if array.ndim == 4 and len(array) == 1 else array for array in arrays]
    check_shapes(arrays, taken.shape_of)
    arrays = [taken.channels_last(array) for array in arrays]
    inputs = np.stack(arrays)
    black = np.broadcast_to(np.uint8(0), (*inputs.shape[1:3], 3))
    images = [displayed(array) if shown else black for array in arrays]
    return Prepared(images, inputs, "none: given as prepared")


def _float32(array: Any) -> np.ndarray:
    """As float32; what is too large for it becomes infinite, and is told as such."""
    with np.errstate(over="ignore"):
        return np.asarray(as_numpy(array), np.float32)


def as_picture(array: Any) -> np.ndarray:
    """A float array of 0..255 as a picture.

    Raises:
        ValueError: If it holds others.
    """
    values = _float32(array)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 255:
        raise ValueError(
            "With a preprocess other than None, a float array must hold pixels of 0..255; "
            f"got values from {values.min():g} to {values.max():g}."
        )
    if 0 < values.max() <= 1:
        raise ValueError(
            "With a preprocess other than None, a float array must hold pixels of 0..255; "
            f"these reach {values.max():g} only. Give 255 times that, or preprocess=None."
        )
    return load_image(np.round(values).astype(np.uint8))


def displayed(array: Any) -> np.ndarray:
    """A picture to show of an input whose preprocessing is unknown: stretched to 0..255."""
    values = _float32(array)
    low, high = float(values.min()), float(values.max())
    # float32 is quick, and has digits enough unless the range is beyond its own.
    values = values if 1e-30 < high - low < 1e30 else values.astype(np.float64)
    factor = 255 / (high - low) if high > low else 0.0
    stretched = values - low  # in one array: a new one costs as much as the step
    stretched *= factor
    pixels = np.rint(stretched, out=stretched).astype(np.uint8)
    if pixels.shape[-1] < 3:
        return np.repeat(pixels[..., :1], 3, axis=-1)
    return np.ascontiguousarray(pixels[..., :3])
