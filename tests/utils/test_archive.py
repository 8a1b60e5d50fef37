"""Facts and arrays in one file, and back."""

import dataclasses
import json
import pickle
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfcam.utils.archive import Archived, save_archive, save_picture


@dataclass(frozen=True)
class Part:
    name: str
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Result(Archived):
    array: np.ndarray
    score: float = 0.5
    names: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    by_name: dict[str, np.ndarray] = field(default_factory=dict)
    shares: tuple[tuple[float, ...], ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    missing: np.ndarray | None = None
    content: bytes = b""


@dataclass(frozen=True, eq=False)
class Other(Archived):
    array: np.ndarray


FULL = Result(
    np.arange(6, dtype=np.int16).reshape(2, 3),
    np.nan,
    ("子猫", "../../up"),
    (Part("one", np.array([1.5, np.nan])), Part("two", np.zeros(0, np.float16))),
    {"../../up": np.eye(2, dtype=bool), "b/c:1": np.float32([[1]])},
    ((0.5, 0.25), ()),
    {"steps": [1, 2], "baseline": np.ones(3), "none": None, "deep": {"a": True}},
    content=b"\x00jpeg\xff\x00",
)


@pytest.mark.parametrize("result", [FULL, Result(np.zeros((0, 2)))])
def test_what_is_saved_comes_back_equal_in_type_and_value(tmp_path, result):
    path = tmp_path / "a.npz"
    save_archive(path, result)
    loaded = Result.load(str(path))
    assert loaded == result
    assert repr(loaded) == repr(result)  # tuples, dataclasses and dtypes are what they were
    assert loaded.array.dtype == result.array.dtype


def test_an_archive_holds_no_pickle_and_no_strange_names(tmp_path):
    save_archive(tmp_path / "a.npz", FULL)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as held:
        assert {name: held[name].shape for name in held.files} == {
            "tfcam": (),
            "array": (2, 3),
            "parts.0.values": (2,),
            "parts.1.values": (0,),
            "by_name.0": (2, 2),
            "by_name.1": (1, 1),
            "options.1": (3,),
            "content": (7,),
        }
    with pytest.raises(TypeError, match="An array of Python objects can not be saved; array is"):
        save_archive(tmp_path / "b.npz", Other(np.array([None, "a"], object)))
    assert not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"array": FULL.array + 1},
        {"array": FULL.array.reshape(3, 2)},
        {"score": 0.5},
        {"names": ("子猫",)},
        {"parts": FULL.parts[:1]},
        {"by_name": {}},
        {"options": {**FULL.options, "baseline": np.zeros(3)}},
        {"missing": np.zeros(1)},
        {"content": b"\x00jpeg\xff"},
    ],
    ids=str,
)
def test_every_field_counts_for_equality(changes):
    other = dataclasses.replace(FULL, **changes)
    assert other != FULL
    assert other != FULL
    assert other == dataclasses.replace(FULL, **changes)
    assert Other(FULL.array) != FULL


def test_another_kind_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    save_archive(path, FULL)
    with pytest.raises(ValueError, match="a.npz' holds no other; give a .npz that Other.save"):
        Other.load(path)
    whole = path.read_bytes()
    for content in (b"", whole[:-40], whole[40:], b"PK\x03\x04" + bytes(99), pickle.dumps({})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="holds no result; give a .npz that Result.save wrote"):
            Result.load(path)
    with pytest.raises(FileNotFoundError, match="No file '.*b.npz'"):
        Result.load(tmp_path / "b.npz")


def test_a_picture_holds_the_facts_as_text(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    save_picture(tmp_path / "a.png", pixels, dataclasses.replace(FULL, parts=(), score=2.0))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
        facts = json.loads(image.text["tfcam"])
    assert facts["names"] == ["子猫", "../../up"]
    assert facts["by_name"] == ["../../up", "b/c:1"]
    assert (facts["score"], facts["shares"]) == (2.0, [[0.5, 0.25], []])
    assert "array" not in facts
