"""What an image may be, for type checkers, and the error of what is none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Protocol, TypeAlias, TypeVar

from PIL import Image


class ImageError(ValueError):
    """The source holds no picture that can be used; the message says why and what to do."""


class Array(Protocol):
    """An array or a tensor, of whatever library."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


# Certainly one: a picture by path, URL, bytes, file or PIL; a text as numbers.
One: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | BinaryIO
    | Image.Image
    | Sequence[float]
)


# One or a batch: what an array is depends on what the model takes, and a model with several inputs
# takes all of them in a tuple or a dict.
OneOrBatch: TypeAlias = Array | tuple[Any, ...] | Mapping[str, Any]


ImageLike: TypeAlias = One | OneOrBatch | list[Any]


# One of a batch, which is a list of these.
OfBatch = TypeVar("OfBatch", bound=One | OneOrBatch)
