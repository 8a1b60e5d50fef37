"""A store is continued only by what began it, on the same pictures; damaged files are made anew."""

import functools
import json
import os
import re
import shutil
import socket
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

import tfcam
from tests.streaming.test_stream import same
from tfcam.scenes import draw_scene

ASKED = {"batch_size": 2, "shard_size": 3}
COUNT = 8


@pytest.fixture(scope="module")
def shapes():
    return tfcam.demo_model()


def drawn(changed=()):
    """Pictures of which some are others."""
    return [draw_scene(n + 100 * (n in changed)).image for n in range(COUNT)]


def as_list(pictures, folder):
    return pictures


def as_labelled(pictures, folder):
    return [(picture, number) for number, picture in enumerate(pictures)]


def as_files(pictures, folder):
    """Files of one name, size and time, whatever is in them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, picture in enumerate(pictures):
        file = folder / f"{number}.bmp"
        Image.fromarray(picture).save(file)
        os.utime(file, (1, 1))
    return folder


def as_paths(pictures, folder):
    return sorted(as_files(pictures, folder).iterdir())


def as_dataset(pictures, folder):
    return tf.data.Dataset.from_tensor_slices(np.stack(pictures))


def as_unknown(pictures, folder):
    return as_dataset(pictures, folder).filter(lambda image: True)


def as_part(pictures, folder):
    return as_dataset([*pictures[:1] * 2, *pictures], folder).skip(2).take(COUNT)


KINDS = [as_list, as_labelled, as_files, as_paths, as_dataset, as_unknown, as_part]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.thinned(2)
def test_other_pictures_are_refused_by_the_first_that_differs(shapes, tmp_path, kind, stopped):
    to = tmp_path / "store"
    first = tfcam.stream(shapes, kind(drawn(), tmp_path / "p"), to=to, **ASKED)
    whole = tmp_path / "whole"
    shutil.copytree(to, whole)
    if stopped:
        (to / "done.json").unlink()
        (to / "maps-00002.parquet").unlink()
    kept = {file.name: file.read_bytes() for file in to.glob("*.*")}
    with pytest.raises(ValueError, match=r"same pictures .*number 4 is another now \('"):
        tfcam.stream(shapes, kind(drawn(changed=(4, 5)), tmp_path / "p"), to=to, **ASKED)
    assert kept == {file.name: file.read_bytes() for file in to.glob("*.*")}
    again = tfcam.stream(shapes, kind(drawn(), tmp_path / "p"), to=to, **ASKED)
    assert same(whole, to)
    np.testing.assert_array_equal(again[7].image, first[7].image)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.thinned(3)
def test_a_store_shows_a_picture_only_if_it_is_the_one(shapes, tmp_path, kind):
    tfcam.stream(shapes, kind(drawn(), tmp_path / "p"), to=tmp_path / "store", **ASKED)
    with pytest.raises(ValueError, match="data must be those .*number 0, .* is another picture"):
        tfcam.open_store(tmp_path / "store", data=kind(drawn(changed=[0]), tmp_path / "p"))
    store = tfcam.open_store(tmp_path / "store", data=kind(drawn(changed=[5]), tmp_path / "p"))
    np.testing.assert_array_equal(store[4].image, drawn()[4])
    with pytest.raises(ValueError, match="number 5, .* is another picture"):
        store[5]
    np.testing.assert_array_equal(store[6].image, drawn()[6])


@pytest.mark.slow
def test_other_labels_more_pictures_and_a_repaired_one_are_refused(shapes, tmp_path):
    pictures = drawn()
    pairs = as_labelled(pictures, None)
    tfcam.stream(shapes, pairs, to=tmp_path / "a", **ASKED)
    with pytest.raises(ValueError, match="number 3 has another label"):
        tfcam.stream(shapes, [*pairs[:3], (pictures[3], 9), *pairs[4:]], to=tmp_path / "a", **ASKED)
    tfcam.stream(shapes, as_unknown(pictures, None), to=tmp_path / "b", **ASKED)
    with pytest.raises(ValueError, match="explained; a tf.data.Dataset holds more"):
        tfcam.stream(shapes, as_unknown([*pictures, pictures[0]], None), to=tmp_path / "b", **ASKED)
    with pytest.raises(ValueError, match="number 7 is not there now"):
        tfcam.stream(shapes, as_unknown(pictures[:7], None), to=tmp_path / "b", **ASKED)
    broken = [*pictures[:2], b"broken", *pictures[3:]]
    tfcam.stream(shapes, broken, to=tmp_path / "c", **ASKED)
    with pytest.raises(ValueError, match="number 2 is another now .'000002'"):
        tfcam.stream(shapes, [*pictures[:2], b"BROKEN", *pictures[3:]], to=tmp_path / "c", **ASKED)


# --- what makes the maps ------------------------------------------------------------------------

SCALE = 1.0


def mean_map(reading, power=1):
    return SCALE * tf.reduce_mean(reading.activations**power, axis=-1)


class Weighted:
    """An object of the user's, a method by its call."""

    def __init__(self, weight):
        self.weight = weight

    def __call__(self, reading):
        return tf.reduce_mean(reading.activations, axis=-1) * self.weight


def closure(weight):
    return lambda reading: tf.reduce_mean(reading.activations, axis=-1) * weight


def both(first, second):
    return first, second


PAIRS = {
    "another lambda": (
        lambda r: tf.reduce_mean(r.activations, axis=-1),
        lambda r: tf.reduce_max(r.activations, axis=-1),
    ),
    "another constant": (
        lambda r: tf.reduce_mean(r.activations, axis=-1) * 2.0,
        lambda r: tf.reduce_mean(r.activations, axis=-1) * 3.0,
    ),
    "another closure": (closure(2.0), closure(3.0)),
    "another array in the closure": (closure(np.float32([2])), closure(np.float32([3]))),
    "another function in the closure": (closure(2.0), closure(tf.constant(2.5))),
    "another default": (mean_map, functools.partial(mean_map, power=2)),
    "another state": (Weighted(1.0), Weighted(2.0)),
    "another method of an object": (Weighted(1.0).__call__, Weighted(2.0).__call__),
}


@pytest.mark.thinned(3)
@pytest.mark.parametrize(("first", "second"), PAIRS.values(), ids=PAIRS)
def test_another_method_of_the_same_name_is_another_run(shapes, tmp_path, first, second):
    pictures = drawn()[:2]
    tfcam.stream(shapes, pictures, to=tmp_path, method=first, layer=0)
    tfcam.stream(shapes, pictures, to=tmp_path, method=first, layer=0)
    with pytest.raises(ValueError, match="other settings .*method"):
        tfcam.stream(shapes, pictures, to=tmp_path, method=second, layer=0)


def test_a_global_that_a_function_reads_counts(shapes, tmp_path, monkeypatch):
    tfcam.stream(shapes, drawn()[:1], to=tmp_path, method=mean_map)
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    with pytest.raises(ValueError, match="method_digest"):
        tfcam.stream(shapes, drawn()[:1], to=tmp_path, method=mean_map)


def test_another_target_or_preprocessing_is_another_run(shapes, tmp_path):
    pictures = drawn()[:1]
    for name, first, second in (
        ("target", lambda outputs: outputs[:, 0], lambda outputs: outputs[:, 1]),
        ("preprocess", lambda pixels: pixels / 2, lambda pixels: pixels / 3),
    ):
        tfcam.stream(shapes, pictures, to=tmp_path / name, **{name: first})
        with pytest.raises(ValueError, match=f"{name}_digest"):
            tfcam.stream(shapes, pictures, to=tmp_path / name, **{name: second})


def test_the_same_weights_in_another_model_are_another_run(tmp_path):
    def build(slope):
        inputs = keras.Input((16, 16, 3))
        convolution = keras.layers.Conv2D(2, 3, kernel_initializer="ones", name="conv")(inputs)
        relu = keras.layers.LeakyReLU(negative_slope=slope, name="relu")(convolution)
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pool")(relu))

    asked = {"to": tmp_path, "preprocess": "unit"}
    tfcam.stream(build(0.1), drawn()[:1], **asked)
    tfcam.stream(build(0.1), drawn()[:1], **asked)
    with pytest.raises(ValueError, match="model_digest"):
        tfcam.stream(build(0.2), drawn()[:1], **asked)


def test_what_can_not_be_told_apart_needs_a_key(shapes, tmp_path):
    numbers = iter(tf.data.Dataset.range(9))
    asked = {"to": tmp_path, "method": lambda r: closure(float(len(str(numbers)) > 0))(r)}
    with pytest.raises(ValueError, match="method can't be told from others.*key='"):
        tfcam.stream(shapes, drawn()[:1], **asked)
    assert not list(tmp_path.iterdir())
    tfcam.stream(shapes, drawn()[:1], key="one", **asked)
    assert len(tfcam.stream(shapes, drawn()[:1], key="one", **asked)) == 1
    with pytest.raises(ValueError, match="key: 'one' there, 'two' now"):
        tfcam.stream(shapes, drawn()[:1], key="two", **asked)


def test_what_changes_while_it_runs_may_go_on(shapes, tmp_path):
    """As a counter in a closure does; in a fresh process it is what it was at first."""

    def counting(seen):
        def method(reading):
            seen.append(1)
            return tf.reduce_mean(reading.activations, axis=-1)

        return method

    own = counting([])
    for method in (own, own, counting([])):
        assert len(tfcam.stream(shapes, drawn()[:2], to=tmp_path, method=method)) == 2
    with pytest.raises(ValueError, match="method_digest"):
        tfcam.stream(shapes, drawn()[:2], to=tmp_path, method=counting([2, 2, 2]))


def test_labels_count_though_the_classes_are_the_same(shapes, tmp_path):
    names = [str(number) for number in range(len(tfcam.scenes.KINDS))]
    tfcam.stream(shapes, drawn()[:1], to=tmp_path, labels=names)
    with pytest.raises(ValueError, match="labels_digest"):
        tfcam.stream(shapes, drawn()[:1], to=tmp_path, labels=names[::-1])


# --- files that are damaged, missing, or not of the store ---------------------------------------


@pytest.fixture
def stores(shapes, tmp_path):
    """A store of pictures of which one is broken, and a copy."""
    data = [*drawn()[:4], b"broken", *drawn()[5:]]
    tfcam.stream(shapes, data, to=tmp_path / "store", **ASKED)
    shutil.copytree(tmp_path / "store", tmp_path / "whole")
    return data, tmp_path / "store", tmp_path / "whole"


def flip(file):
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-100]),
    "empty": lambda file: file.write_bytes(b""),
    "nonsense": lambda file: file.write_bytes(b"PAR1" + bytes(999)),
    "missing": lambda file: file.unlink(),
    "a foreign table": lambda file: pq.write_table(
        pq.read_table(file).replace_schema_metadata(None), file
    ),
    "another shard": lambda file: shutil.copy(file.with_name("maps-00000.parquet"), file),
    "its skipped is missing": lambda file: file.with_name("skipped-00001.parquet").unlink(),
    "its skipped is damaged": lambda file: file.with_name("skipped-00001.parquet").write_bytes(b""),
}


def follow_advice(to):
    """Do what the error says, word by word."""
    try:
        complete = tfcam.open_store(to).finished
    except ValueError as error:
        name = re.fullmatch(r"'(.*)' .*\. (Delete it|Move it away) and run .* anew.*", str(error))[
            1
        ]
        Path(name).unlink()
    else:
        assert not complete


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("obey", [False, True])
@pytest.mark.thinned(1)
def test_only_the_damaged_shard_is_made_anew(shapes, stores, damage, obey):
    data, to, whole = stores
    damage(to / "maps-00001.parquet")
    before = {file.name: file.stat().st_mtime_ns for file in to.glob("maps-*")}
    if obey:
        follow_advice(to)
    store = tfcam.stream(shapes, data, to=to, **ASKED)
    assert store.finished
    assert len(store) == 7
    for name in ("maps-00000.parquet", "maps-00002.parquet"):
        assert (to / name).stat().st_mtime_ns == before[name]
    for file in to.glob("other-*"):
        file.unlink()
    assert same(whole, to)


@pytest.mark.parametrize("kind", [as_unknown, as_part])
@pytest.mark.slow
def test_a_shard_between_two_that_are_missing_is_passed_over(shapes, tmp_path, kind):
    """Data that can be read in order only are read on from the shard that is needed next."""
    to, whole = tmp_path / "store", tmp_path / "whole"
    tfcam.stream(shapes, kind(drawn(), tmp_path), to=to, **ASKED)
    shutil.copytree(to, whole)
    for name in ("maps-00000.parquet", "maps-00002.parquet"):
        (to / name).unlink()
    tfcam.stream(shapes, kind(drawn(), tmp_path), to=to, **ASKED)
    assert same(whole, to)


@pytest.mark.slow
def test_a_file_of_another_run_is_kept_under_another_name(shapes, stores, tmp_path):
    data, to, whole = stores
    tfcam.stream(shapes, data, to=tmp_path / "b", method="layer_cam", **ASKED)
    foreign = (tmp_path / "b/maps-00001.parquet").read_bytes()
    (to / "maps-00001.parquet").write_bytes(foreign)
    with pytest.raises(
        ValueError, match="maps-00001.parquet' belongs to another run. Move it away"
    ):
        tfcam.open_store(to)
    tfcam.stream(shapes, data, to=to, **ASKED)
    kept = to / "other-1-maps-00001.parquet"
    assert kept.read_bytes() == foreign
    kept.unlink()
    assert same(whole, to)


@pytest.mark.parametrize(
    "name", ["maps-00000-copy.parquet", "maps-00000 (1).parquet", "maps-000001.parquet", "maps-x"]
)
def test_only_the_stores_own_files_count(shapes, stores, name):
    data, to, _ = stores
    shutil.copy(to / "maps-00000.parquet", to / name)
    store = tfcam.open_store(to)
    assert len(store) == len(store.table) == len(store.raws) == 7
    assert f"not of the store: {name}" in repr(store)
    assert len(tfcam.stream(shapes, data, to=to, **ASKED)) == 7


def test_pages_that_have_changed_are_told(stores):
    _, to, _ = stores
    flip(to / "maps-00000.parquet")
    store = tfcam.open_store(to)
    with pytest.raises(ValueError, match="maps-00000.parquet' is damaged .* Delete it and run"):
        list(store)


def test_skipped_pictures_of_a_killed_run_are_not_counted(shapes, tmp_path):
    """A shard was left out of whole, then its broken picture was given anew."""
    data = drawn()
    tfcam.stream(shapes, [b"broken", *data[1:]], to=tmp_path / "a", **ASKED)
    tfcam.stream(shapes, data, to=tmp_path / "b", **ASKED)
    kept = (tmp_path / "a/skipped-00000.parquet").read_bytes()
    (tmp_path / "b/skipped-00000.parquet").write_bytes(kept)  # its maps were not written yet
    (tmp_path / "b/maps-00000.parquet").unlink()
    store = tfcam.stream(shapes, data, to=tmp_path / "b", **ASKED)
    assert len(store) == COUNT
    assert not len(store.skipped)
    assert not (tmp_path / "b/skipped-00000.parquet").exists()


@pytest.mark.thinned(3)
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 99999, b"null"])
def test_damaged_json_is_told(shapes, stores, content):
    data, to, whole = stores
    kept = (to / "settings.json").read_bytes()
    (to / "settings.json").write_bytes(content)
    for work in (lambda: tfcam.open_store(to), lambda: tfcam.stream(shapes, data, to=to, **ASKED)):
        with pytest.raises(ValueError, match=r"settings.json' is damaged or of .*another folder"):
            work()
    (to / "settings.json").write_bytes(kept)
    (to / "done.json").write_bytes(content)
    with pytest.raises(ValueError, match="done.json' is damaged. Delete it and run the same again"):
        repr(tfcam.open_store(to))
    assert tfcam.stream(shapes, data, to=to, **ASKED).finished
    assert same(whole, to)


@pytest.mark.thinned(3)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shard_size", 0),
        ("shard_size", "3"),
        ("place", "x"),
        ("shown", None),
        ("shown", "x"),
        ("method", 3),
    ],
)
def test_settings_of_another_kind_are_told(stores, name, value):
    _, to, _ = stores
    settings = json.loads((to / "settings.json").read_text())
    (to / "settings.json").write_text(json.dumps(settings | {name: value}))
    with pytest.raises(ValueError, match=f"settings.json' is no settings of a store.*{name} is"):
        tfcam.open_store(to)


def test_a_lock_that_is_a_link_is_not_followed(shapes, tmp_path):
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "store").mkdir()
    (tmp_path / "store/.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(ValueError, match=".lock' must be no link"):
        tfcam.stream(shapes, drawn()[:1], to=tmp_path / "store")
    assert (tmp_path / "victim").read_bytes() == b"mine"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_lock_that_is_no_file_is_told(shapes, tmp_path, make):
    make(tmp_path / ".lock")
    with pytest.raises(ValueError, match="lock' must be a file; it is a folder, a pipe or a dev"):
        tfcam.stream(shapes, [draw_scene(1).image], to=tmp_path, progress=False)


# --- what opening reaches -----------------------------------------------------------------------


@pytest.mark.parametrize("follow", [False, True])
def test_opening_a_store_reaches_no_network(stores, monkeypatch, follow):
    _, to, _ = stores
    settings = json.loads((to / "settings.json").read_text())
    reached = []

    def connect(self, address):
        reached.append(address)
        raise OSError

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: reached.append(a) or [])
    for data in ("http://127.0.0.1:9/a.png", "HTTPS://example.com/a.png", "file:///etc/passwd"):
        (to / "settings.json").write_text(json.dumps(settings | {"place": {"data": data}}))
        store = tfcam.open_store(to, follow=follow)
        assert [finding.code for finding in store[0].findings] == ["no_picture"]
    assert not reached


def test_a_stored_place_is_used_only_where_that_is_said(shapes, tmp_path):
    folder = as_files(drawn(), tmp_path / "pictures")
    tfcam.stream(shapes, folder, to=tmp_path / "store", **ASKED)
    alone = tfcam.open_store(tmp_path / "store")
    assert [finding.code for finding in alone[0].findings] == ["no_picture"]
    followed = tfcam.open_store(tmp_path / "store", follow=True)
    np.testing.assert_array_equal(followed[0].image, drawn()[0])


# --- names --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_name_that_is_no_text_and_a_dead_link_are_listed(shapes, tmp_path):
    folder = as_files(drawn()[:3], tmp_path / "pictures")
    strange = os.fsencode(folder) + b"/caf\xe9.bmp"
    shutil.copy(folder / "0.bmp", strange)
    (folder / "dead.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    store = tfcam.stream(shapes, folder, to=tmp_path / "store", **ASKED)
    assert list(store.table["key"]) == ["0.bmp", "1.bmp", "2.bmp"]
    assert list(store.skipped["key"]) == ["caf\ufffd.bmp", "dead.png", "pipe.png"]
    assert "no UTF-8" in store.skipped["reason"][0]
    assert len(tfcam.stream(shapes, folder, to=tmp_path / "store", **ASKED)) == 3
    listed = tfcam.stream(shapes, [os.fsdecode(strange)], to=tmp_path / "list")
    assert next(iter(listed.table["key"])).endswith("caf\ufffd.bmp")
    result = tfcam.evaluate(shapes, folder, methods=["cam"], metrics=["gini"], baselines=[])
    assert list(result.skipped["image"]) == ["caf\ufffd.bmp", "dead.png", "pipe.png"]
