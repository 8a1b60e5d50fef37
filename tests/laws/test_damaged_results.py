"""A saved result that is damaged, foreign or hostile is one clear error, whoever loads it."""

import json
import os
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfcam
from tests.laws.test_foreign_files import changed, entry, setting
from tfcam.evaluation.ratings import COLUMNS, read_ratings, write_ratings
from tfcam.results.verification import Check
from tfcam.scenes import draw_scene


def verification():
    heatmap = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    check = Check("Does it?", "supported", "It does.", "fall", 0.5, 0.01, -0.1, 0.1)
    image = np.zeros((8, 8, 3), np.uint8)
    about = ("grad_cam", 0.7, (check,), np.float32([0.5, 0.1]), image, heatmap)
    return tfcam.Verification(*about, 0.2, ("mean",), 0, 10, 2)


def makers():
    model, picture = tfcam.demo_model(), draw_scene(1).image
    pictures = [draw_scene(seed).image for seed in range(4)]
    rows = [("a", "1", "cam", "rise", "left", False), ("a", "2", "rise", "cam", "tie", False)]
    ratings = pd.DataFrame(rows, columns=list(COLUMNS))
    return {
        "Explanation": tfcam.explain(model, picture),
        "Dream": tfcam.dream(model, 1, steps=1, progress=False),
        "Verification": verification(),
        "Features": tfcam.features(model, picture, "features"),
        "Embedding": tfcam.embed(model, pictures, ["features"]),
        "ratings": ratings,
    }


KINDS = ["Explanation", "Dream", "Verification", "Features", "Embedding", "ratings"]
ARCHIVES = KINDS[:-1]


@pytest.fixture(scope="module")
def results():
    return makers()


def saved(results, kind, folder):
    file = folder / ("result.parquet" if kind == "ratings" else "result.npz")
    if kind == "ratings":
        write_ratings(results[kind], file)
    else:
        results[kind].save(file)
    return file


def load(kind, file):
    return read_ratings(file) if kind == "ratings" else getattr(tfcam, kind).load(file)


def words_of(kind, name="result"):
    ending = "parquet" if kind == "ratings" else "npz"
    holds = {"ratings": "ratings; give a file that tfcam rate wrote"}
    told = holds.get(kind, f"{kind.lower()}; give a .npz that {kind}.save wrote")
    return rf"{name}.{ending}' holds no {told}\. \(.+\)$"


def refused(kind, file):
    with pytest.raises(ValueError, match=words_of(kind)) as told:
        load(kind, file)
    assert "\n" not in str(told.value)


def deep(file):
    return b'{"tfcam": ' + b"[" * 100_000


CONTENTS = {
    "empty": lambda whole: b"",
    "halved": lambda whole: whole[: len(whole) // 2],
    "its end": lambda whole: whole[len(whole) // 2 :],
    "one byte less": lambda whole: whole[:-1],
    "a text": lambda whole: "Grüße: a text\n".encode() * 99,
    "json": lambda whole: b'{"kind": "Explanation", "fields": {}}',
    "deep": deep,
    "a picture": lambda whole: tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy(),
    "an array alone": lambda whole: entry(np.zeros(3)),
    "zeros in the middle": lambda whole: whole[:99] + bytes(len(whole) - 199) + whole[-100:],
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_other_content_is_told(results, tmp_path, kind, content):
    file = saved(results, kind, tmp_path)
    file.write_bytes(CONTENTS[content](file.read_bytes()))
    refused(kind, file)


def folder(file):
    file.mkdir()


def pipe(file):
    os.mkfifo(file)


def device(file):
    file.symlink_to("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("make", [folder, pipe, device])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_waited_for(results, tmp_path, kind, make):
    file = saved(results, kind, tmp_path)
    file.unlink()
    make(file)
    if kind == "ratings" and make is folder:  # a folder of ratings, of which there are none
        with pytest.raises(ValueError, match=r"must be a Parquet file of ratings at .* is none"):
            load(kind, file)
    else:
        refused(kind, file)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_of_links_is_no_file(results, tmp_path, kind):
    file = saved(results, kind, tmp_path)
    file.unlink()
    other = file.with_name("other")
    file.symlink_to(other)
    other.symlink_to(file)
    with pytest.raises((ValueError, FileNotFoundError), match=r"No file '.*'\.|there is none"):
        load(kind, file)


@pytest.mark.parametrize("kind", KINDS)
def test_one_bit_that_flips_is_told_or_is_of_no_matter(results, tmp_path, kind):
    """In each region of the file, such as a date, of which nothing is read."""
    file = saved(results, kind, tmp_path)
    whole, wanted = file.read_bytes(), load(kind, file)
    same = wanted.equals if kind == "ratings" else wanted.__eq__
    told = []
    for place in np.linspace(0, 8 * len(whole) - 1, 150).astype(int):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        try:
            assert same(load(kind, file))
        except ValueError as error:
            told.append(str(error))
    assert len(told) > 50
    assert all(" holds no " in message and "\n" not in message for message in told)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_of_something_else_is_told(results, tmp_path, kind):
    file, other = saved(results, kind, tmp_path), "Dream" if kind != "Dream" else "Explanation"
    results[other].save(file)
    refused(kind, file)
    np.savez(file, a=np.zeros(3), b=np.ones(2))
    refused(kind, file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tfcam.npy", entry(np.array(json.dumps({"kind": kind, "fields": 3}))))
    refused(kind, file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tfcam.npy", entry(np.array('{"kind": ' + "[" * 100_000)))
    refused(kind, file)


ARRAYS = {
    "Explanation": ["heatmap", "raw", "image"],
    "Dream": ["images", "start", "scores", "curve"],
    "Verification": ["falls", "image", "heatmap"],
    "Features": ["image", "maps", "strengths"],
    "Embedding": ["points", "thumbnails", "features.0"],
}
WRONG = [
    np.zeros((), np.float32),
    np.zeros((2, 3, 4, 5, 6), np.float32),
    np.zeros((3, 3), "U5"),
    np.zeros((3, 3), complex),
    np.zeros((3, 3), "M8[s]"),
    np.zeros(3, [("a", "f4")]),
    np.zeros((0, 0), np.float32),
]


@pytest.mark.parametrize("kind", ARCHIVES)
def test_each_array_must_be_there_and_of_its_form(results, tmp_path, kind):
    file = tmp_path / "result.npz"
    for name in ARRAYS[kind]:
        for wrong in WRONG:
            refused(kind, changed(results[kind], file, **{name: wrong}))
        results[kind].save(file)
        with np.load(file) as whole:
            parts = {key: whole[key] for key in whole.files if key != name}
        np.savez(file, **parts)
        refused(kind, file)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_each_fact_must_be_there_and_of_its_kind(results, tmp_path, kind):
    file = tmp_path / "result.npz"
    names = [n for n in results[kind].__dataclass_fields__ if n not in {*ARRAYS[kind], "features"}]
    for name in names:
        for value in ({"__array__": "none"}, {"a": {"b": [object.__name__]}}, [[[0]]]):
            if (name, type(value)) in OPEN.get(kind, ()):
                continue
            refused(kind, changed(results[kind], file, setting(name, value)))
    refused(kind, changed(results[kind], file, setting("unknown", 1)))
    required = next(n for n in names if n not in ("options", "versions"))
    refused(kind, changed(results[kind], file, lambda fields: fields.pop(required)))


# What may hold anything: settings as they were given.
OPEN = {"Explanation": {("options", dict)}, "Dream": set()}


NAN = {
    "Explanation": ("heatmap", lambda array: array * np.nan),
    "Verification": ("heatmap", lambda array: array * 2),
    "Embedding": ("points", lambda array: array * np.inf),
}


@pytest.mark.parametrize("kind", NAN)
def test_numbers_that_no_result_has_are_told(results, tmp_path, kind):
    name, make = NAN[kind]
    with np.errstate(invalid="ignore"):
        array = make(getattr(results[kind], name) + 1)
    refused(kind, changed(results[kind], tmp_path / "result.npz", **{name: array}))


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_header_that_says_too_much_takes_no_memory(results, tmp_path, kind):
    name = ARRAYS[kind][0]
    head = entry(np.zeros(1, np.float32))
    lying = head.replace(b"(1,), }            ", b"(99999999999,), }  ")
    long = b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b"{" * 99
    files = [changed(results[kind], tmp_path / "result.npz", **{name: lying}).read_bytes()]
    files.append(changed(results[kind], tmp_path / "result.npz", **{name: long}).read_bytes())
    tracemalloc.start()
    for content in files:
        (tmp_path / "result.npz").write_bytes(content)
        refused(kind, tmp_path / "result.npz")
    assert tracemalloc.get_traced_memory()[1] < 30 * 2**20
    tracemalloc.stop()


def other_rows(**values):
    def change(table):
        return table.assign(**values)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(columns="answer"),
        lambda table: table[:0],
        other_rows(answer="both"),
        other_rows(answer=np.nan),
        other_rows(answer=3),
        other_rows(repeated="yes"),
        other_rows(left="rise", right="rise"),
        lambda table: pd.DataFrame({"a": [1]}),
        lambda table: pd.concat([table] * 6),
    ],
)
def test_ratings_of_other_rows_are_told(results, tmp_path, change, monkeypatch):
    monkeypatch.setattr("tfcam.evaluation.ratings._MOST", 11)
    file = tmp_path / "result.parquet"
    change(results["ratings"]).to_parquet(file, index=False)
    refused("ratings", file)


def test_a_damaged_saved_model_and_deep_labels_are_told(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x00\x01 no model")
    with pytest.raises(ValueError, match="could not be read as a SavedModel: .+"):
        tfcam.BlackBox.from_saved_model(tmp_path)
    (tmp_path / "labels.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="labels must be .* it is no UTF-8 text, or no JSON"):
        tfcam.explain(tfcam.demo_model(), draw_scene(1).image, labels=tmp_path / "labels.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("name", ["boxes.json", "boxes.xml"])
def test_annotations_in_a_pipe_are_not_waited_for(tmp_path, name):
    from tfcam.data.annotations import AnnotationError, read_coco, read_voc

    os.mkfifo(tmp_path / name)
    with pytest.raises(AnnotationError, match="a folder, a pipe or a device"):
        (read_coco if name.endswith("json") else read_voc)(tmp_path / name)
