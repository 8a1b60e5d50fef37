"""What somebody else may have written is read with care: bounded, without code, field by field."""

import io
import json
import os
import pickle
import resource
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tfcam
from tfcam.images import array_files
from tfcam.scenes import draw_scene
from tfcam.utils.archive import load_archive
from tfcam.utils.files import read_lines


@pytest.fixture(scope="module")
def explanation():
    return tfcam.explain(tfcam.demo_model(), draw_scene(1).image)


@pytest.fixture(scope="module")
def dream():
    return tfcam.dream(tfcam.demo_model(), 1, steps=1, progress=False)


def entry(array, pickled=False):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def changed(result, to, facts=None, **arrays):
    """A file of a result with other facts, and other arrays (None for none)."""
    result.save(to)
    with np.load(to) as whole:
        parts = {name: whole[name] for name in whole.files}
    told = json.loads(str(parts.pop("tfcam")))
    if facts:
        facts(told["fields"])
    parts.update(arrays)
    contents = {name: entry(a) if isinstance(a, np.ndarray) else a for name, a in parts.items()}
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tfcam.npy", entry(np.array(json.dumps(told))))
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)
    return to


@pytest.mark.slow
def test_a_file_that_unpacks_to_too_much_is_refused_from_its_headers(explanation, tmp_path):
    file = tmp_path / "bomb.npz"
    explanation.save(file)
    head = entry(np.zeros(1, np.float32)).replace(b"(1,), }     ", b"(536870912,)")
    with (
        zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("other.npy", "w", force_zip64=True) as member,
    ):
        member.write(head)
        for _ in range(2**7):
            member.write(bytes(2**24))
    assert file.stat().st_size < 4 * 2**20
    for kind in (tfcam.Explanation, tfcam.Dream, tfcam.Features, tfcam.Embedding):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ValueError, match=r"bomb.npz' would take 2,\d{3},\d{3},\d{3} bytes"):
            kind.load(file)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_headers_that_lie_and_arrays_named_twice_take_no_memory(explanation, tmp_path):
    def twice(fields):
        fields["options"] = [fields["image"]] * 9999

    lying = entry(np.zeros(9, np.float32)).replace(b"(9,), }", b"(9999999999,), }"[:7])
    huge = entry(np.zeros(1, np.float32))
    huge = huge.replace(b"(1,), }            ", b"(99999999999,), }  ")
    files = [
        changed(explanation, tmp_path / "a.npz", raw=huge),
        changed(explanation, tmp_path / "b.npz", twice),
        changed(explanation, tmp_path / "c.npz", raw=lying),
    ]
    tracemalloc.start()
    for file in files:
        with pytest.raises(ValueError, match=f"{file.name}' holds no explanation; give a .npz"):
            tfcam.Explanation.load(file)
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


class Executed:
    """What runs code when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.slow
def test_no_code_in_a_file_is_run(explanation, dream, tmp_path):
    mark = tmp_path / "executed"
    for result, name in ((explanation, "raw"), (dream, "curve")):
        held = np.empty(1, object)
        held[0] = Executed(mark)
        content = entry(held, pickled=True)
        file = changed(result, tmp_path / "a.npz", **{name: content})
        with pytest.raises(ValueError, match="a.npz' holds no "):
            type(result).load(file)
        assert not mark.exists()
    pickle.loads(pickle.dumps(Executed(mark)))
    assert mark.exists()  # it would have


def setting(name, value):
    return lambda fields: fields.update({name: value})


WRONG_FACTS = [
    ("score", "high"),
    ("score", None),
    ("target", 1.5),
    ("target", True),
    ("label", 3),
    ("method", None),
    ("options", []),
    ("findings", "none"),
    ("findings", [{"code": "made up", "message": "x"}]),
    ("findings", [{"code": "saturated"}]),
    ("findings", [{"code": "saturated", "message": 3}]),
    ("versions", {"tfcam": 1}),
    ("measured", {"error": "x"}),
    ("words", [1]),
    ("parts", {"conv": 3}),
    ("heatmap", None),
    ("unknown", 1),
]


@pytest.mark.parametrize(("name", "value"), WRONG_FACTS)
def test_each_fact_is_checked(explanation, tmp_path, name, value):
    file = changed(explanation, tmp_path / "a.npz", setting(name, value))
    with pytest.raises(ValueError, match=r"a.npz' holds no explanation; give .* \(.+\)"):
        tfcam.Explanation.load(file)


@pytest.mark.parametrize(
    "arrays",
    [
        {"heatmap": np.zeros((128, 128), "U3")},
        {"heatmap": np.zeros((128, 128), np.int32)},
        {"heatmap": np.zeros(())},
        {"heatmap": np.zeros((64, 128), np.float32)},
        {"raw": np.zeros((2, 2), complex)},
        {"raw": np.zeros((1, 1, 1, 1, 1))},
        {"image": np.zeros((128, 128), np.uint8)},
        {"image": np.zeros((128, 128, 3), np.float32)},
    ],
)
def test_each_array_of_an_explanation_is_checked(explanation, tmp_path, arrays):
    with pytest.raises(ValueError, match="a.npz' holds no explanation"):
        tfcam.Explanation.load(changed(explanation, tmp_path / "a.npz", **arrays))


@pytest.mark.parametrize(
    "arrays",
    [
        {"images": np.zeros((1, 128, 128, 3), np.float32)},
        {"images": np.zeros((128, 128, 3), np.uint8)},
        {"images": np.zeros((2, 128, 128, 3), np.uint8)},
        {"images": np.zeros((1, 0, 128, 3), np.uint8)},
        {"scores": np.zeros((0,), np.float32)},
        {"curve": np.zeros((3,), np.float32)},
        {"start": np.zeros((1,), "U1")},
    ],
)
def test_each_array_of_a_dream_is_checked(dream, tmp_path, arrays):
    with pytest.raises(ValueError, match="a.npz' holds no dream"):
        tfcam.Dream.load(changed(dream, tmp_path / "a.npz", **arrays))


@pytest.mark.parametrize("settings", [{}, {"seed": "x", "preset": "plain"}, {"seed": 1}, []])
def test_the_settings_of_a_dream_are_checked(dream, tmp_path, settings):
    with pytest.raises(ValueError, match="a.npz' holds no dream"):
        tfcam.Dream.load(changed(dream, tmp_path / "a.npz", setting("settings", settings)))


def test_what_is_larger_is_read_where_that_is_said(explanation, tmp_path):
    explanation.save(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="more than max_bytes = 1,000. Pass a larger"):
        tfcam.Explanation.load(tmp_path / "a.npz", max_bytes=1000)
    assert tfcam.Explanation.load(tmp_path / "a.npz", max_bytes=10**7) == explanation
    assert load_archive(tmp_path / "a.npz", tfcam.Explanation) == explanation


@pytest.mark.thinned(1)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
@pytest.mark.parametrize("name", ["settings.json", "done.json", "maps-00000.parquet"])
def test_a_pipe_in_a_store_is_not_waited_for(tmp_path, name):
    tfcam.stream(tfcam.demo_model(), [draw_scene(1).image], to=tmp_path, progress=False)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name}' is damaged"):
        repr(tfcam.open_store(tmp_path))
    (tmp_path / "a.npz").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="a.npz' holds no explanation"):
        tfcam.Explanation.load(tmp_path / "a.npz")


def test_rows_of_a_store_that_no_picture_has_are_told(tmp_path):
    tfcam.stream(tfcam.demo_model(), [draw_scene(1).image], to=tmp_path, progress=False)
    (file,) = tmp_path.glob("maps-*")
    table = pq.read_table(file)
    for name, value in (("height", 0), ("width", 2**30), ("shape", [1, 2])):
        column = pa.array([value], table.schema.field(name).type)
        at = table.schema.get_field_index(name)
        pq.write_table(table.set_column(at, table.schema.field(name), column), file)
        with pytest.raises(ValueError, match=r"damaged: \d+ values of shape .*, of a picture of"):
            tfcam.open_store(tmp_path)[0]


def test_arrays_that_unpack_to_too_much_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(array_files, "_LEAST", 2**20)
    np.savez_compressed(tmp_path / "bomb.npz", clips=np.zeros((2, 2**20), np.uint8))
    with pytest.raises(ValueError, match=r"bomb.npz' must .* would unpack to 2,097,\d{3}"):
        array_files.read_arrays(str(tmp_path / "bomb.npz"))
    noise = np.random.default_rng(0).integers(0, 256, (2, 2**20), np.uint8)
    np.savez_compressed(tmp_path / "clips.npz", clips=noise)
    np.testing.assert_array_equal(array_files.read_array(str(tmp_path / "clips.npz")), noise)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_labels_and_texts_in_a_pipe_are_not_waited_for(tmp_path):
    pipe = tmp_path / "names.txt"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="names.txt': it is a folder, a pipe or a device"):
        tfcam.Explainer(tfcam.demo_model(), labels=pipe)(draw_scene(1).image)
    with pytest.raises(ValueError, match="names.txt': it is a folder, a pipe or a device"):
        read_lines(pipe)


@pytest.mark.parametrize("facts", [b'{"options": {}}', b"[]", b"no JSON", b"[" * 100_000])
def test_facts_of_a_store_that_are_none_are_told(tmp_path, facts):
    tfcam.stream(tfcam.demo_model(), [draw_scene(1).image], to=tmp_path, progress=False)
    (file,) = tmp_path.glob("maps-*")
    table = pq.read_table(file)
    told = {**table.schema.metadata, b"tfcam": facts}
    pq.write_table(table.replace_schema_metadata(told), file)
    with pytest.raises(ValueError, match="does not say how its maps were made"):
        tfcam.open_store(tmp_path)[0]
