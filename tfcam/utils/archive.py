"""Results as files: facts and arrays in one archive without pickle, or facts beside a picture."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from PIL import Image, PngImagePlugin

from tfcam.utils.files import open_whole, write_whole

T = TypeVar("T")


Arrays = Mapping[str, np.ndarray]


# The facts' name among the arrays, and what stands in them for an array.
_FACTS, _ARRAY = "tfcam", "__array__"


class Archived:
    """A dataclass that ``save_archive`` writes and that is read back equal."""

    @classmethod
    def load(cls: type[T], path: str | os.PathLike[str]) -> T:
        """Read back what ``save`` wrote as ``.npz``, equal to what it was.

        Args:
            path: The file.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it holds no such thing.
        """
        return load_archive(path, cls)

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


def load_archive(path: str | os.PathLike[str], kind: type[T]) -> T:
    """Read back what ``save_archive`` wrote, equal to what it was.

    Args:
        path: The file.
        kind: The dataclass that it was of.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no such thing.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"No file {str(path)!r}.")
    try:
        # np.load would leave a broken file that it opened itself open.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            facts = json.loads(str(arrays[_FACTS]))
            if facts["kind"] == kind.__name__:
                return _typed(_unpacked(facts["fields"], arrays), kind)
    except Exception:  # damaged files let nearly anything out
        pass
    raise ValueError(
        f"{str(path)!r} holds no {kind.__name__.lower()}; give a .npz that {kind.__name__}.save "
        "wrote."
    )


def save_picture(path: Path, pixels: np.ndarray, result: Any) -> None:
    """Write a PNG file with the facts of a dataclass in it, as the text "tfcam"; no arrays.

    Args:
        path: The file.
        pixels: (H, W, 3) uint8 RGB.
        result: An instance; of a dict of arrays the names are kept.
    """
    facts = {
        name: list(value) if _is_of_arrays(value) else value
        for name, value in _parts(result).facts.items()
        if not _is_array(value)
    }
    text = PngImagePlugin.PngInfo()
    text.add_itxt("tfcam", json.dumps(facts))
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


def _unpacked(value: Any, arrays: Arrays) -> Any:
    if _is_array(value):
        return arrays[value[_ARRAY]]
    if isinstance(value, dict):
        return {key: _unpacked(part, arrays) for key, part in value.items()}
    return [_unpacked(part, arrays) for part in value] if isinstance(value, list) else value


def _typed(value: Any, kind: Any) -> Any:
    """What JSON made of tuples and dataclasses, as these again."""
    if kind is bytes:
        return value.tobytes()
    if get_origin(kind) is tuple:
        return tuple(_typed(part, get_args(kind)[0]) for part in value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{name: _typed(part, hints[name]) for name, part in value.items()})
    return value


def _is_array(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {_ARRAY}


def _is_of_arrays(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_is_array, value.values()))
