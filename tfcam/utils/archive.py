"""Results as files: facts and arrays in one archive without pickle, or facts beside a picture."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import types
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import (
    Any,
    ClassVar,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from PIL import Image, PngImagePlugin

from tfcam.utils.files import check_is_file, open_whole, write_whole
from tfcam.utils.paths import as_path

T = TypeVar("T")


# The facts' name among the arrays, and what stands in them for an array.
_FACTS, _ARRAY = "tfcam", "__array__"


@dataclasses.dataclass(frozen=True)
class Form:
    """What an array must be.

    Attributes:
        kinds: NumPy's letters of the kinds of its numbers, such as "f" or "iu".
        ranks: The numbers of axes that it may have.
    """

    kinds: str
    ranks: tuple[int, ...]


class Archived:
    """A dataclass that ``save_archive`` writes and that is read back equal."""

    # What the arrays of a file must be, by the names of their fields.
    forms: ClassVar[Mapping[str, Form]] = {}

    @classmethod
    def load(cls: type[T], path: str | os.PathLike[str], max_bytes: int = 2**30) -> T:
        """Read back what ``save`` wrote as ``.npz``, equal to what it was.

        Args:
            path: The file.
            max_bytes: The most bytes of memory that its content may take.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no such thing, or more than ``max_bytes``.
        """
        return load_archive(path, cls, max_bytes)

    def misfit(self) -> str:
        """What of this does not fit together, in words; "" where all does."""
        return ""

    def __eq__(self, other: object) -> bool:
        """Tell whether both would be saved the same; NaN equals NaN."""
        if type(self) is not type(other):
            return NotImplemented
        mine, others = _parts(self), _parts(other)
        facts = [json.dumps(parts.facts, sort_keys=True) for parts in (mine, others)]
        return facts[0] == facts[1] and all(
            np.array_equal(array, others.arrays[name], equal_nan=True)
            for name, array in mine.arrays.items()
        )

    __hash__ = None  # type: ignore[assignment]


def in_unit_range(heatmap: np.ndarray) -> bool:
    """Tell whether all of a heatmap is in 0..1, up to rounding, and nothing NaN.

    Example:
        >>> in_unit_range(np.array([0.0, 1.0])), in_unit_range(np.array([0.0, np.nan]))
        (True, False)
    """
    return bool(((heatmap >= -1e-3) & (heatmap <= 1 + 1e-3)).all())


def save_archive(path: Path, result: Any) -> None:
    """Write a dataclass as ``.npz``, whole or not at all.

    Args:
        path: The file.
        result: An instance; its fields hold arrays, bytes and what JSON can hold, in lists,
            tuples, dicts or further dataclasses.
    """
    facts, arrays = _parts(result)
    text = json.dumps({"kind": type(result).__name__, "fields": facts})
    entries: dict[str, Any] = {_FACTS: np.array(text), **arrays}
    with open_whole(path) as file:
        np.savez_compressed(file, **entries)


def load_archive(path: str | os.PathLike[str], kind: type[T], max_bytes: int = 2**30) -> T:
    """Read back what ``save_archive`` wrote, equal to what it was.

    Nothing is read before its size is known, and everything must be of the kind that the dataclass
    says: somebody else may have written the file.

    Args:
        path: The file.
        kind: The dataclass that it was of.
        max_bytes: The most bytes of memory that its content may take.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no such thing, or more than ``max_bytes``.
    """
    path = as_path(path)
    if not path.exists():
        raise FileNotFoundError(f"No file {str(path)!r}.")
    try:
        check_is_file(path)
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
            if size <= max_bytes:
                return _read(archive, kind)
    except Exception as error:  # damaged files let nearly anything out
        why = " ".join(str(error).split())
        raise ValueError(
            f"{str(path)!r} holds no {kind.__name__.lower()}; give a .npz that "
            f"{kind.__name__}.save wrote. ({why:.200})"
        ) from None
    raise ValueError(
        f"{str(path)!r} would take {size:,} bytes of memory, more than max_bytes = {max_bytes:,}. "
        "Pass a larger max_bytes where you know who wrote it."
    )


def _read(archive: zipfile.ZipFile, kind: type[T]) -> T:
    arrays = _Arrays(archive)
    facts = json.loads(str(arrays.take(_FACTS)))
    if facts["kind"] != kind.__name__:
        raise ValueError(f"it is of {facts['kind']!r:.50}")
    result: T = _typed(_unpacked(facts["fields"], arrays), kind, kind.__name__)
    return result


def _whole(result: Any) -> Any:
    """A dataclass, if its arrays are what they must be and all of it fits together.

    Raises:
        ValueError: If not.
    """
    for name, form in getattr(result, "forms", {}).items():
        array = getattr(result, name)
        if array is not None and not (array.dtype.kind in form.kinds and array.ndim in form.ranks):
            raise ValueError(f"{name} is an array {array.shape} of {array.dtype}")
    if why := getattr(result, "misfit", str)():
        raise ValueError(why)
    return result


class _Arrays:
    """The arrays of an archive, each to be taken once: a file can name one many times."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left = {info.filename: info for info in archive.infolist()}
        if len(self._left) < len(archive.infolist()):
            raise ValueError("a part of it is there twice")

    def take(self, name: str) -> np.ndarray:
        info = self._left.pop(f"{name}.npy")
        with self._archive.open(info) as file:
            version = np.lib.format.read_magic(file)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read_header(file)
            if not dtype.hasobject and math.prod(shape) * dtype.itemsize != (
                info.file_size - file.tell()
            ):
                raise ValueError(f"{name} has not the size that it says")
        with self._archive.open(info) as file:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array


def save_picture(path: Path, pixels: np.ndarray, result: Any) -> None:
    """Write a PNG file with the facts of a dataclass in it, as the text "tfcam"; no arrays.

    Args:
        path: The file.
        pixels: (H, W, 3) uint8 RGB.
        result: An instance; of a dict of arrays the names are kept.
    """
    text = PngImagePlugin.PngInfo()
    text.add_itxt("tfcam", json.dumps(_without_arrays(_parts(result).facts)))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png", pnginfo=text)
    write_whole(path, stream.getvalue())


class _Parts(NamedTuple):
    """A dataclass as JSON can hold it, and its arrays by their place."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


def _parts(result: Any) -> _Parts:
    arrays: dict[str, np.ndarray] = {}
    return _Parts(_packed(result, arrays), arrays)


def _packed(value: Any, arrays: dict[str, np.ndarray], name: str = "") -> Any:
    """A value as JSON can hold it; its arrays are put aside, by their place."""
    if isinstance(value, bytes):
        value = np.frombuffer(value, np.uint8)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"An array of Python objects can not be saved; {name} is one.")
        arrays[name] = value
        return {_ARRAY: name}
    if dataclasses.is_dataclass(value):
        before, names = (
            f"{name}." if name else "",
            [field.name for field in dataclasses.fields(value)],
        )
        return {field: _packed(getattr(value, field), arrays, before + field) for field in names}
    if isinstance(value, Mapping):  # by number, as a name may be that of no file
        parts = enumerate(value.items())
        return {key: _packed(part, arrays, f"{name}.{number}") for number, (key, part) in parts}
    if isinstance(value, list | tuple):
        return [_packed(part, arrays, f"{name}.{number}") for number, part in enumerate(value)]
    return value


def _unpacked(value: Any, arrays: _Arrays) -> Any:
    if _is_array(value):
        return arrays.take(value[_ARRAY])
    if isinstance(value, dict):
        return {key: _unpacked(part, arrays) for key, part in value.items()}
    return [_unpacked(part, arrays) for part in value] if isinstance(value, list) else value


def _typed(value: Any, kind: Any, name: str) -> Any:
    """What JSON made of tuples and dataclasses, as these again.

    Raises:
        TypeError: If it is of another kind.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, Union):
        (own,) = (one for one in inner if one is not type(None))
        return None if value is None else _typed(value, own, name)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(part, inner[0], name) for part in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: _typed(part, inner[1], name) for key, part in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        hints = get_type_hints(kind)
        return _whole(kind(**{key: _typed(part, hints[key], key) for key, part in value.items()}))
    if kind is bytes and isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return value.tobytes()
    if kind in (str, bool) and type(value) is kind:
        return value
    if kind in (int, float) and type(value) in (int, kind):
        return value
    if kind is np.ndarray and isinstance(value, np.ndarray):
        return value
    raise TypeError(f"{name} is {value!r:.50}")


def _without_arrays(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    parts = {name: part for name, part in value.items() if not _is_array(part)}
    return {
        name: list(part) if _is_of_arrays(part) else _without_arrays(part)
        for name, part in parts.items()
    }


def _is_array(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_ARRAY}


def _is_of_arrays(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_array, value.values()))
