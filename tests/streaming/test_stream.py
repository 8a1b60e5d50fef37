"""A whole data set to a store: equal to explain, each picture once, whatever happens on the way."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from PIL import Image

import tfcam
from tests.tolerances import rounding
from tfcam.images.loading import load_image
from tfcam.scenes import KINDS, draw_scene
from tfcam.streaming.shards import Shards, ShardWriter
from tfcam.utils.files import open_whole

ROOT = Path(__file__).parents[2]
SIZES = [(128, 128), (90, 200), (300, 170), (128, 64), (55, 77), (256, 256), (140, 141)]


@pytest.fixture(scope="module")
def shapes():
    return tfcam.demo_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven pictures of unequal sizes in folders of two classes, and one that is broken."""
    home = tmp_path_factory.mktemp("pictures")
    for number, (width, height) in enumerate(SIZES):
        file = home / KINDS[number % 2] / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(draw_scene(number).image).resize((width, height)).save(file)
    (home / KINDS[0] / "3.png").write_bytes((home / KINDS[1] / "3.png").read_bytes()[:-200])
    return home


def keys_of(store):
    """Every picture's place and name, explained or left out."""
    rows = [*store.table[["number", "key"]].values, *store.skipped[["number", "key"]].values]
    return sorted((int(number), key) for number, key in rows)


def same(one, other):
    """Whether two stores hold the same, to the last bit."""
    files = sorted(each.name for each in one.glob("*.parquet"))
    assert files == sorted(each.name for each in other.glob("*.parquet"))
    return all(pq.read_table(one / name).equals(pq.read_table(other / name)) for name in files)


def check_equal(found, wanted):
    """A row's explanation is what ``explain`` gives; folded kernels round otherwise."""
    off = rounding(1.0, count=80)  # of dozens of layers
    np.testing.assert_allclose(found.raw, wanted.raw, atol=off * np.abs(wanted.raw).max())
    np.testing.assert_allclose(found.heatmap, wanted.heatmap, atol=off)
    np.testing.assert_array_equal(found.image, wanted.image)
    assert (found.target, found.label) == (wanted.target, wanted.label)
    assert found.score == pytest.approx(wanted.score, rel=off)
    assert (found.probability is None) == (wanted.probability is None)
    assert (found.probability or 0) == pytest.approx(wanted.probability or 0, rel=off)
    for name in ("score_kind", "layer", "layer_reason", "method", "preprocessing", "versions"):
        assert getattr(found, name) == getattr(wanted, name)
    assert {**found.options, "freeze": True} == {**wanted.options, "freeze": True}
    assert [each.code for each in found.findings] == [each.code for each in wanted.findings]
    assert found.measured == pytest.approx(wanted.measured, rel=1e-3)


@pytest.mark.thinned(1)
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("grad_cam", {}),
        ("eigen_cam", {"target": "star"}),
        ("saliency", {"target": 3}),
        ("integrated_gradients", {"steps": 4}),
        ("grad_cam_pp", {"normalize_alpha": True, "score": "probability"}),
        ("layer_cam", {"layer": 3, "target": tfcam.Difference("star", "circle")}),
    ],
)
def test_each_row_is_what_explain_gives(shapes, folder, tmp_path, method, options):
    asked = {"method": method, "labels": KINDS, **options}
    # Folded kernels round otherwise: where a ReLU is at 0, its gradient by the image jumps.
    more = {"freeze": False} if method == "integrated_gradients" else {}
    store = tfcam.stream(shapes, folder, to=tmp_path, batch_size=2, shard_size=5, **asked, **more)
    assert len(store) == len(SIZES)
    assert store[0].options.get("freeze", False) is not bool(more)
    layer = asked.pop("layer", None)
    for row, key in enumerate(store.table["key"]):
        wanted = tfcam.explain(shapes, folder / key, layer, **asked)
        check_equal(store[row], wanted)
        box, (own, *_) = store.table["box"][row], (*wanted.boxes(), None)
        assert (box is None) == (own is None)
        assert own is None or box.tolist() == own.tolist()
        assert (store.table["height"][row], store.table["width"][row]) == wanted.image.shape[:2]
    assert store.raws.shape == (len(SIZES), *store[0].raw.shape)


@pytest.mark.slow
def test_a_prepared_batch_of_real_photos_is_what_explain_gives(mobilenet, data, tmp_path):
    photos = sorted((data / "images/imagenet").glob("*.JPEG"))[:5]
    store = tfcam.stream(mobilenet, photos, to=tmp_path, batch_size=4)
    for row, photo in enumerate(photos):
        check_equal(store[row], tfcam.explain(mobilenet, photo))
        assert store[str(photo)] == store[row]


def test_the_last_batch_is_filled_up_and_nothing_of_that_is_kept(shapes, tmp_path):
    pictures = [draw_scene(seed).image for seed in range(5)]
    seen = []

    def watched(reading):
        seen.append(reading.activations.shape[0])
        return tf.reduce_mean(reading.activations, axis=-1)

    store = tfcam.stream(shapes, pictures, to=tmp_path, method=watched, batch_size=4)
    assert set(seen) == {4}
    assert list(store.table["number"]) == [0, 1, 2, 3, 4]


def test_a_picture_that_can_not_be_read_is_noted_once_with_the_reason(shapes, folder, tmp_path):
    store = tfcam.stream(shapes, folder, to=tmp_path, batch_size=2, shard_size=3)
    (row,) = store.skipped.itertuples()
    broken = f"{KINDS[0]}/3.png"
    assert row.key == broken
    assert "damaged or cut off" in row.reason
    assert len(keys_of(store)) == len(SIZES) + 1
    with pytest.raises(KeyError, match="it was left out: .*damaged"):
        store[broken]


def test_a_picture_without_the_label_asked_for_is_noted(shapes, tmp_path):
    pictures = [(draw_scene(seed).image, label) for seed, label in enumerate(["star", "dog", None])]
    store = tfcam.stream(shapes, pictures, to=tmp_path, target="label", labels=KINDS)
    assert list(store.table["label"]) == list(store.table["truth"]) == ["star"]
    first, second = store.skipped["reason"]
    assert "No class is labelled 'dog'" in first
    assert "it has no label" in second


def test_a_shard_of_which_nothing_can_be_read(shapes, tmp_path):
    good = draw_scene(0).image
    store = tfcam.stream(shapes, [b"a", b"b", good, b"c"], to=tmp_path, shard_size=2)
    assert keys_of(store) == [(0, "000000"), (1, "000001"), (2, "000002"), (3, "000003")]
    assert list(store.table["number"]) == [2]
    assert np.isfinite(store[0].raw).all()


# --- data of other kinds ------------------------------------------------------------------------


def images(count):
    return np.stack([draw_scene(seed).image for seed in range(count)])


@pytest.mark.thinned(3)
@pytest.mark.parametrize("count", [0, 1, 4, 5, 8])
def test_a_data_set_whose_length_is_not_known(shapes, tmp_path, count):
    data = tf.data.Dataset.from_tensor_slices(images(max(count, 1))).take(count)
    data = data.filter(lambda image: True)
    asked = {"to": tmp_path / "store", "batch_size": 2, "shard_size": 4}
    if not count:
        with pytest.raises(ValueError, match="must hold at least one picture"):
            tfcam.stream(shapes, data, **asked)
        return
    store = tfcam.stream(shapes, data, **asked)
    assert store.finished
    assert list(store.table["number"]) == list(range(count))
    check_equal(store[count - 1], tfcam.explain(shapes, images(count)[-1]))


@pytest.mark.slow
def test_batches_of_prepared_floats_are_taken_as_they_are(shapes, tmp_path):
    pictures = images(5).astype(np.float32)
    labels = np.arange(5)
    data = tf.data.Dataset.from_tensor_slices((pictures, labels)).batch(3)
    store = tfcam.stream(shapes, data, to=tmp_path, batch_size=2, labels=KINDS)
    assert list(store.table["truth"]) == list("01234")
    for row in range(5):
        check_equal(store[row], tfcam.explain(shapes, pictures[row], labels=KINDS))


def test_a_grey_model_gets_grey_pictures(folder, tmp_path):
    inputs = keras.Input((32, 32, 1))
    features = keras.layers.Conv2D(3, 3, activation="relu", name="features")(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(inputs, keras.layers.Dense(2)(pooled))
    store = tfcam.stream(model, folder, to=tmp_path, preprocess="unit")
    for row, key in enumerate(store.table["key"]):
        check_equal(store[row], tfcam.explain(model, folder / key, preprocess="unit"))


# --- stops --------------------------------------------------------------------------------------


def test_a_finished_store_is_left_as_it_is(shapes, folder, tmp_path, monkeypatch):
    first = tfcam.stream(shapes, folder, to=tmp_path, batch_size=2, shard_size=3)
    before = {each.name: each.stat().st_mtime_ns for each in tmp_path.glob("*.*")}
    monkeypatch.setattr(
        "tfcam.streaming.stream.explain_shards", lambda *_: pytest.fail("explained again")
    )
    again = tfcam.stream(shapes, folder, to=tmp_path, batch_size=2, shard_size=3)
    assert before == {each.name: each.stat().st_mtime_ns for each in tmp_path.glob("*.*")}
    assert again.table.equals(first.table)


@pytest.mark.slow
def test_a_run_that_breaks_off_at_any_write_goes_on_to_the_same_store(
    shapes, folder, tmp_path, monkeypatch
):
    """Breaks off at each place where a file gets its name, before and after."""
    asked = {"batch_size": 2, "shard_size": 3, "labels": KINDS}
    whole = tmp_path / "whole"
    tfcam.stream(shapes, folder, to=whole, **asked)
    replace = Path.replace

    def breaking(at, before):
        calls = []

        def replaced(self, target):
            calls.append(target)
            if len(calls) == at + 1 and before:
                raise RuntimeError("broke off")
            found = replace(self, target)
            if len(calls) == at + 1:
                raise RuntimeError("broke off")
            return found

        return replaced

    for at in range(6):  # settings, three of maps, one of skipped, what says that all is done
        for before in (True, False):
            broken = tmp_path / f"broken {at} {before}"
            with monkeypatch.context() as patched:
                patched.setattr(Path, "replace", breaking(at, before))
                with pytest.raises(RuntimeError, match="broke off"):
                    tfcam.stream(shapes, folder, to=broken, **asked)
            tfcam.stream(shapes, folder, to=broken, **asked)
            assert same(whole, broken)


@pytest.mark.slow
def test_what_is_done_is_not_read_again(shapes, folder, tmp_path, monkeypatch):
    asked = {"batch_size": 2, "shard_size": 2}
    tfcam.stream(shapes, folder, to=tmp_path, **asked)
    (tmp_path / "done.json").unlink()
    (tmp_path / "maps-00001.parquet").unlink()
    (tmp_path / ".maps-00001.parquet.123.456").write_bytes(b"half written")
    read = []
    load = load_image
    monkeypatch.setattr(
        "tfcam.data.folders.load_image",
        lambda path, window: read.append(path) or load(path, window=window),
    )
    store = tfcam.stream(shapes, folder, to=tmp_path, **asked)
    assert len(read) == 2
    assert len(keys_of(store)) == 8
    assert not list(tmp_path.glob(".maps*"))


CODE = """
import sys
import tfcam
model = tfcam.demo_model()
print("ready", flush=True)
tfcam.stream(model, sys.argv[1], to=sys.argv[2], batch_size=4, shard_size=8)
print("finished", flush=True)
"""


def start(folder, to):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(folder), str(to)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.product
def test_killed_at_random_moments_it_ends_like_an_unbroken_run(shapes, tmp_path):
    home = tmp_path / "many"
    home.mkdir()
    for number in range(200):
        Image.fromarray(draw_scene(number).image).save(home / f"{number:03d}.png")
    for number in range(0, 200, 23):
        (home / f"{number:03d}.png").write_bytes(b"broken")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    tfcam.stream(shapes, home, to=whole, batch_size=4, shard_size=8)
    chance, killed = np.random.default_rng(), 0
    for files in (0, 1, 5):  # of 25, each a few hundredths of a second
        process = start(home, broken)
        assert process.stdout.readline() == "ready\n"
        while len(list(broken.glob("*.parquet"))) < files and process.poll() is None:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(home, broken)
    said, complaints = process.communicate()
    assert said == "ready\nfinished\n"
    assert "WARNING:tensorflow" not in complaints
    assert process.returncode == 0
    store = tfcam.open_store(broken)
    assert keys_of(store) == [(number, f"{number:03d}.png") for number in range(200)]
    assert len(store.skipped) == 9
    assert killed
    assert same(whole, broken)


def test_two_runs_at_once_are_refused(shapes, folder, tmp_path):
    other = Shards(tmp_path, 4).alone({"shard_size": 4})
    with other, pytest.raises(ValueError, match="Another run is writing to .*: wait until it has"):
        tfcam.stream(shapes, folder, to=tmp_path)
    assert len(tfcam.stream(shapes, folder, to=tmp_path)) == len(SIZES)


def test_other_settings_are_refused_by_name(shapes, folder, tmp_path):
    tfcam.stream(shapes, folder, to=tmp_path)
    with pytest.raises(
        ValueError,
        match="a store of maps with other settings .method: 'grad_cam' there, 'layer_cam'",
    ):
        tfcam.stream(shapes, folder, to=tmp_path, method="layer_cam")
    with pytest.raises(ValueError, match="target: 'the predicted class' there, 3 now"):
        tfcam.stream(shapes, folder, to=tmp_path, target=3)
    other = keras.models.clone_model(shapes)
    with pytest.raises(ValueError, match="weights_digest"):
        tfcam.stream(other, folder, to=tmp_path)
    with pytest.raises(ValueError, match="pictures: 8 there, 3 now"):
        tfcam.stream(shapes, folder / KINDS[1], to=tmp_path)


def test_settings_with_which_nothing_was_made_may_be_changed(folder, tmp_path):
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Conv2D(2, 3), keras.layers.GlobalMaxPooling2D()]
    )
    with pytest.raises(ValueError, match="Pass preprocess='unit'"):
        tfcam.stream(model, folder, to=tmp_path)
    assert len(tfcam.stream(model, folder, to=tmp_path, preprocess="unit")) == len(SIZES)


def test_a_full_disk_is_told_and_what_is_done_is_kept(shapes, folder, tmp_path, monkeypatch):
    asked = {"batch_size": 2, "shard_size": 3}
    calls = []

    def full(number):
        calls.append(number)
        if (
            len(calls) == 4
        ):  # settings, what was left out, and the maps of the first shard are there
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("tfcam.utils.files.os.fsync", full)
        with pytest.raises(OSError, match="No space left on device. What is done is kept. Make r"):
            tfcam.stream(shapes, folder, to=tmp_path, **asked)
    assert [each.name for each in tmp_path.glob("maps*")] == ["maps-00000.parquet"]
    assert len(keys_of(tfcam.stream(shapes, folder, to=tmp_path, **asked))) == 8


def test_a_damaged_file_is_named(shapes, folder, tmp_path):
    tfcam.stream(shapes, folder, to=tmp_path, shard_size=3)
    (tmp_path / "maps-00001.parquet").write_bytes(b"PAR1 and nonsense")
    with pytest.raises(ValueError, match="maps-00001.parquet' is damaged .* Delete it and run"):
        tfcam.open_store(tmp_path)


def test_an_error_of_the_network_ends_all_threads(shapes, folder, tmp_path):
    def broken(reading):
        raise KeyError("of the method")

    before = threading.active_count()
    with pytest.raises(KeyError, match="of the method"):
        tfcam.stream(shapes, folder, to=tmp_path, method=broken)
    assert threading.active_count() == before
    assert not list(tmp_path.glob("*maps*"))


@pytest.mark.slow
def test_pictures_wait_in_bounded_number(shapes, tmp_path):
    """However many there are, no more are read ahead than a few batches."""
    ahead_most, written = 0, 0
    read = 0

    def endless():
        nonlocal read
        for seed in range(120):
            read += 1
            yield draw_scene(seed % 3).image

    spec = tf.TensorSpec((128, 128, 3), tf.uint8)
    data = tf.data.Dataset.from_generator(endless, output_signature=spec)

    class Slow(ShardWriter):
        def add(self, rows):
            nonlocal ahead_most, written
            time.sleep(0.05)
            ahead_most = max(ahead_most, read - written)
            written += len(rows)
            super().add(rows)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tfcam.streaming.shards.ShardWriter", Slow)
        tfcam.stream(shapes, data, to=tmp_path, batch_size=2, shard_size=20)
    assert written == 120
    assert ahead_most < 40


# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "nowhere/at/all.png"}, "No picture|No file|must"),
        ({"layer": [0, 1]}, "one map of each picture, as the layer has it; got 2 layers"),
        ({"target": [1, 2]}, "target is one for all pictures"),
        ({"target": "dog", "labels": KINDS}, "No class is labelled 'dog'"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"shard_size": 0}, "shard_size must be"),
        ({"data": []}, "at least one picture"),
    ],
)
def test_what_can_not_be_done_is_refused_before_anything_is_written(
    shapes, tmp_path, options, message
):
    asked = {"data": [draw_scene(0).image], "to": tmp_path / "store", **options}
    if asked["data"] == "nowhere/at/all.png":
        asked["data"] = str(tmp_path)
        message = "must hold pictures; it holds none"
    with pytest.raises((ValueError, TypeError), match=message):
        tfcam.stream(shapes, asked.pop("data"), **asked)
    assert not (tmp_path / "store").exists()


def test_a_folder_with_other_things_and_a_file_are_refused(shapes, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be empty or hold a store of maps; it holds"):
        tfcam.stream(shapes, [draw_scene(0).image], to=tmp_path)
    with pytest.raises(ValueError, match="to must be a folder; .* is a file"):
        tfcam.stream(shapes, [draw_scene(0).image], to=tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_progress_is_shown_only_where_it_is_asked_for(shapes, tmp_path, capfd):
    pictures = [draw_scene(seed).image for seed in range(3)]
    tfcam.stream(shapes, pictures, to=tmp_path / "quiet")
    assert "pictures/s" not in "".join(capfd.readouterr())
    tfcam.stream(shapes, pictures, to=tmp_path / "loud", progress=True)
    out, err = capfd.readouterr()
    assert "pictures/s" not in out
    assert "3/3" in err
    assert "pictures/s" in err


@pytest.mark.slow
def test_settings_say_what_made_the_store(shapes, folder, tmp_path):
    tfcam.stream(shapes, folder, to=tmp_path, method="score_cam", channels=4, labels=KINDS)
    settings = json.loads((tmp_path / "settings.json").read_text())
    wanted = {"method": "score_cam", "channels": 4, "layer": "features", "pictures": 8}
    assert {name: settings[name] for name in wanted} == wanted
    assert settings["preprocessing"] == "0..255 as it is, Rescaling is inside"
    assert set(settings["versions"]) == {"tfcam", "keras", "tensorflow", "numpy"}


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    def write():
        with open_whole(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert not list(tmp_path.iterdir())


REPLICAS = """
import sys
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import tfcam
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    mirrored = keras.models.clone_model(tfcam.demo_model())
mirrored.set_weights(tfcam.demo_model().get_weights())
pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(7)]
asked = {"batch_size": 4, "labels": tfcam.scenes.KINDS}
placed = set()
def method(reading):
    placed.add((reading.activations.shape[0], reading.activations.device))
    weights = tf.reduce_mean(reading.gradients, (1, 2))
    return tf.einsum("bhwk,bk->bhw", reading.activations, weights)
for how in ("grad_cam", method):
    to = sys.argv[1] + str(how == method)
    many = tfcam.stream(mirrored, pictures, to=to, method=how, **asked)
    for row, picture in enumerate(pictures):
        wanted = tfcam.explain(tfcam.demo_model(), picture, labels=tfcam.scenes.KINDS)
        difference = np.abs(many[row].raw - wanted.raw).max() / np.abs(wanted.raw).max()
        assert difference < 1e-5, difference
        assert many[row].label == wanted.label
try:
    tfcam.stream(mirrored, pictures, to=sys.argv[1] + "odd", batch_size=3)
except ValueError as error:
    print(error)
print(sorted(placed))
"""


@pytest.mark.slow
def test_a_batch_is_split_over_the_replicas_of_the_models_strategy(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", REPLICAS, str(tmp_path / "store")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert "batch_size must be a multiple of the 2 replicas" in found.stdout
    assert "CPU:0" in found.stdout
    assert "CPU:1" in found.stdout
    assert "(4," not in found.stdout.splitlines()[-1]
