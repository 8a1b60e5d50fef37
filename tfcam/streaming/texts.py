"""Texts with their labels, one by one, from wherever they are: the source of a stream of texts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.data.example import Example, Skipped, Source
from tfcam.data.sources import label_of, open_data
from tfcam.engine.opened_model import open_model
from tfcam.preprocessing.modes import Preprocess
from tfcam.preprocessing.names import split_window
from tfcam.preprocessing.text_readers import Text, split_label, strings_in
from tfcam.utils.digest import digest_names
from tfcam.utils.files import read_lines, storable
from tfcam.utils.paths import as_path
from tfcam.utils.validation import shown

# The setting "unit" of a store of texts; of the second a tuple of strings is one text.
TEXTS, TEXTS_OF_SEGMENTS = "texts", "texts of segments"


def open_texts(data: Any, pairs: bool) -> Source:
    """Open texts of any kind: the image of each example is the text, as ``text_of`` reads it.

    Args:
        data: A list of strings or of (string, label); a pair (strings, labels) of arrays; a
            ``tf.data.Dataset`` of these, in batches or not, or of dicts with "text" and "label"; a
            .txt file, a text on each line; a function that gives an iterable of these, such as a
            generator function, anew each time it is called.
        pairs: Whether a tuple of strings is one text of several segments.

    Raises:
        ValueError: If there is no text.
        TypeError: If it is of another kind.

    Example:
        >>> source = open_texts([("a good film", 1), "a bad film"], pairs=False)
        >>> [(each.id, str(each.image), each.label) for each in source.read(0)]
        [('000000', 'a good film', 1), ('000001', 'a bad film', None)]
    """
    if isinstance(data, tf.data.Dataset):
        data = data.unbatch() if _is_batched(data.element_spec) else data
        count = int(data.cardinality().numpy())
        name = "a tf.data.Dataset of texts"
        return _in_order(name, lambda start: data.skip(start).as_numpy_iterator(), count, pairs)
    if isinstance(data, str | os.PathLike):
        return _of_list(_lines(as_path(data, "data")), pairs)
    if callable(data):
        name = f"the texts of {getattr(data, '__name__', 'a function')}"
        return _in_order(name, lambda start: itertools.islice(data(), start, None), -1, pairs)
    if isinstance(data, tuple) and len(data) == 2 and all(hasattr(one, "shape") for one in data):
        data = list(zip(*map(np.asarray, data), strict=True))
    if isinstance(data, Iterator) or not isinstance(data, Iterable):
        raise TypeError(
            "Texts must be a list of strings or of (string, label), a tf.data.Dataset, a .txt "
            "file, or a function that gives an iterable of them anew; got "
            f"{type(data).__name__}."
        )
    return _of_list(list(data), pairs)


def open_source(
    model: keras.Model, data: Any, preprocess: Preprocess, options: Mapping[str, Any]
) -> Source:
    """Open the texts of a model of texts, or else pictures, videos or volumes.

    Args:
        model: The model.
        data: As ``tfcam.stream`` takes it.
        preprocess: What may turn strings into the model's inputs, or has a window of pictures.
        options: What says which pictures are meant.

    Raises:
        ValueError: If there is nothing, or it is of another form.
        TypeError: If it is of another kind.
    """
    opened = open_model(model)
    if not opened.is_text:
        volumes = None if opened.others else opened.input.form
        window = split_window(preprocess)[0]
        return open_data(data, **options, floats=True, window=window, volumes=volumes)
    if opened.others and opened.input.behind is not None:
        names = ", ".join(repr(taken.name) for taken in opened.graph.inputs)
        raise ValueError(
            f"stream is for models of which a text is all that they take; {model.name!r} takes "
            f"{names}. Explain what you have one by one."
        )
    return open_texts(data, pairs=callable(preprocess) or opened.input.behind is None)


def text_of(example: np.ndarray) -> Text:
    """The text of an example: a string, or a tuple of its segments.

    Example:
        >>> text_of(np.array("a film")), text_of(np.array(["why?", "so"]))
        ('a film', ('why?', 'so'))
    """
    return example.item() if example.ndim == 0 else tuple(example.tolist())


def _lines(file: Path) -> list[str]:
    if file.suffix != ".txt":
        raise ValueError(
            f"Texts are read from a .txt file, a text on each line; got {str(file)!r}."
        )
    return read_lines(file)


def _of_list(items: list[Any], pairs: bool) -> Source:
    if not items:
        raise ValueError("data must hold at least one text; got none.")
    item = partial(_numbered, items, pairs)

    def read(start: int) -> Iterator[Example | Skipped]:
        return map(item, range(start, len(items)))

    name = f"{len(items)} texts"
    return Source(name, read, len(items), digest_names([name]), item=item, unit=_unit(pairs))


def _numbered(items: list[Any], pairs: bool, number: int) -> Example | Skipped:
    return _example(number, items[number], pairs)


def _in_order(name: str, begin: Callable[[int], Iterator[Any]], count: int, pairs: bool) -> Source:
    """Texts that can be read in their order only; a count below 0 is not known."""

    def read(start: int) -> Iterator[Example | Skipped]:
        return (_example(start + place, each, pairs) for place, each in enumerate(begin(start)))

    key, known = digest_names([name, str(count)]), count if count >= 0 else None
    return Source(name, read, known, key, unit=_unit(pairs))


def _unit(pairs: bool) -> str:
    return TEXTS_OF_SEGMENTS if pairs else TEXTS


def _is_batched(elements: Any) -> bool:
    """Whether the elements of a data set are batches of texts, (B,) or (B, 1)."""
    first = elements["text"] if isinstance(elements, Mapping) else tf.nest.flatten(elements)[0]
    rank = first.shape.rank
    return bool(rank and (rank > 1 or first.shape[0] != 1))


def _example(number: int, item: Any, pairs: bool) -> Example | Skipped:
    if isinstance(item, Mapping):
        item = (item.get("text"), item["label"]) if "label" in item else item.get("text")
    given, label = split_label(item, pairs)
    text = strings_in(given, pairs)
    if isinstance(text, list) and len(text) == 1:
        text = text[0]
    if text is None or isinstance(text, list):
        return Skipped(f"{number:06d}", f"It must be a string; got {shown(given)}.")
    plain = storable(text) if isinstance(text, str) else tuple(map(storable, text))
    return Example(f"{number:06d}", np.array(plain), label=label_of(label))
