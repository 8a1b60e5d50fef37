"""A store as it is read: lazily, by row or by key, with its pictures or without them."""

import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

import tfcam
from tfcam.scenes import KINDS, draw_scene
from tfcam.streaming import shard_files
from tfcam.streaming.store import MapStore


@pytest.fixture(scope="module")
def shapes():
    return tfcam.demo_model()


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "pictures"
    home.mkdir()
    for number in range(5):
        Image.fromarray(draw_scene(number).image).resize((100 + number, 80)).save(
            home / f"{number}.png"
        )
    (home / "2b.png").write_bytes(b"broken")
    return home


@pytest.fixture
def store(shapes, folder, tmp_path):
    asked = {"batch_size": 2, "shard_size": 2, "labels": KINDS}
    return tfcam.stream(shapes, folder, to=tmp_path / "store", **asked)


@pytest.mark.slow
def test_a_store_has_a_table_and_a_row_for_each_picture(store, shapes, folder):
    assert isinstance(store.table, pd.DataFrame)
    assert "map" not in store.table
    assert list(store.table["key"]) == [f"{number}.png" for number in range(5)]
    assert list(store.skipped["key"]) == ["2b.png"]
    wanted = [tfcam.explain(shapes, folder / key, labels=KINDS) for key in store.table["key"]]
    assert list(store.table["label"]) == [each.label for each in wanted]
    assert len(store) == len(wanted) == 5
    for row, (found, own) in enumerate(zip(store, wanted, strict=True)):
        np.testing.assert_allclose(found.raw, own.raw, atol=1e-5 * np.abs(own.raw).max())
        np.testing.assert_array_equal(store.raws[row], found.raw)
        np.testing.assert_array_equal(found.image, own.image)
        assert found == store[row - 5] == store[f"{row}.png"]
    assert repr(store).startswith("Store of 5 maps, 1 left out by grad_cam at features in ")


def test_an_explanation_of_a_row_can_be_drawn_and_saved(store, tmp_path):
    found = store["3.png"]
    found.plot()
    plt.close("all")
    found.save(tmp_path / "one.npz")
    assert tfcam.Explanation.load(tmp_path / "one.npz") == found
    assert found.boxes().tolist() == [store.table.set_index("key")["box"]["3.png"].tolist()]


def test_without_its_picture_a_row_has_its_map_and_says_what_is_missing(store, folder):
    whole = store[1]
    shutil.rmtree(folder)
    alone = tfcam.open_store(store.path)[1]
    np.testing.assert_array_equal(alone.heatmap, whole.heatmap)
    np.testing.assert_array_equal(alone.raw, whole.raw)
    assert np.unique(alone.image).tolist() == [128]
    assert [each.code for each in alone.findings] == ["no_picture"]
    assert "The picture of '1.png' is not at hand" in alone.findings[0].message
    given = tfcam.open_store(store.path).explanation(1, whole.image)
    assert given == whole


def test_pictures_that_were_moved_are_found_by_data(store, folder, tmp_path):
    whole = store[4]
    moved = folder.rename(tmp_path / "moved")
    assert tfcam.open_store(store.path, data=moved)[4] == whole


def test_other_pictures_are_refused(store, folder):
    (folder / "5.png").write_bytes((folder / "4.png").read_bytes())
    with pytest.raises(ValueError, match="data must be those that were explained, 6 pictures of"):
        tfcam.open_store(store.path, data=folder)
    assert [each.code for each in tfcam.open_store(store.path)[0].findings] == ["no_picture"]


def test_a_picture_of_another_size_is_refused(store):
    with pytest.raises(ValueError, match=r"must have the size that was explained, \(80, 101\)"):
        store.explanation(1, np.zeros((80, 100, 3), np.uint8))
    with pytest.raises(ValueError, match="image must be a picture"):
        store.explanation(1, b"no picture")


def test_pictures_of_a_data_set_are_read_on_from_the_last(shapes, tmp_path):
    pictures = np.stack([draw_scene(seed).image for seed in range(6)])
    started = []

    def drawn():
        started.append(1)
        yield from pictures

    spec = tf.TensorSpec((128, 128, 3), tf.uint8)
    data = tf.data.Dataset.from_generator(drawn, output_signature=spec)
    tfcam.stream(shapes, data, to=tmp_path, batch_size=4)
    store = tfcam.open_store(tmp_path, data=data)
    started.clear()
    for row in (0, 1, 4, 5):
        np.testing.assert_array_equal(store[row].image, pictures[row])
    assert len(started) == 1
    np.testing.assert_array_equal(store[2].image, pictures[2])
    assert len(started) == 2
    assert [each.code for each in tfcam.open_store(tmp_path)[0].findings] == ["no_picture"]


@pytest.mark.thinned(2)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_prepared_floats_are_shown_as_explain_shows_them(shapes, tmp_path, dtype):
    floats = np.stack([draw_scene(seed).image for seed in range(2)]).astype(dtype)
    data = tf.data.Dataset.from_tensor_slices(floats)
    store = tfcam.stream(shapes, data, to=tmp_path, batch_size=2)
    np.testing.assert_array_equal(store[1].image, tfcam.explain(shapes, floats[1]).image)


def test_a_large_store_is_not_read_whole(store, monkeypatch):
    fresh = tfcam.open_store(store.path)
    read = []
    original = shard_files.open_parquet
    monkeypatch.setattr(
        "tfcam.streaming.store.open_parquet", lambda file: read.append(file) or original(file)
    )
    monkeypatch.setattr(
        MapStore,
        "dataset",
        property(lambda self: pytest.fail("read the whole store")),
    )
    assert len(fresh) == 5
    assert fresh[3].name
    assert len(read) == 1


def test_a_store_that_is_not_finished_says_so_and_shows_what_is_done(store):
    (store.path / "done.json").unlink()
    (store.path / "maps-00001.parquet").unlink()
    found = tfcam.open_store(store.path)
    assert "not finished: run the same again to go on" in repr(found)
    assert list(found.table["key"]) == ["0.png", "1.png", "3.png", "4.png"]
    assert found[2].image.shape == (80, 103, 3)


def test_what_is_no_store_or_has_no_such_row_is_told(store, tmp_path):
    with pytest.raises(FileNotFoundError, match="No store"):
        tfcam.open_store(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no store of maps; give a folder of tfcam.stream"):
        tfcam.open_store(tmp_path)
    for row in (5, -6):
        with pytest.raises(IndexError, match=f"The store has 5 rows; there is no row {row}"):
            store[row]
    with pytest.raises(KeyError, match="no row 'cat.png': there is none in the data"):
        store["cat.png"]


def test_filters_read_only_what_is_asked_for(store):
    import pyarrow.compute as pc

    label = store.table["label"][0]
    kept = store.dataset.to_table(columns=["key"], filter=pc.field("label") == label)
    assert kept["key"].to_pylist() == list(store.table["key"][store.table["label"] == label])
