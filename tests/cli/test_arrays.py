"""Videos, volumes and series on the command line: files of arrays."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

import tfcam
from tests import networks
from tfcam.cli.commands import app

CLIPS = np.random.default_rng(5).normal(0, 1, (4, 6, 12, 12, 3)).astype("float32")


@pytest.fixture(scope="module")
def network():
    clip = keras.Input((6, 12, 12, 3))
    x = layers.Conv3D(4, 3, activation="relu", name="seen")(clip)
    x = layers.GlobalAveragePooling3D()(x)
    return networks.seeded(keras.Model(clip, layers.Dense(3, activation="softmax")(x)))


@pytest.fixture
def folder(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network.save("video.keras")
    np.save("clip.npy", CLIPS[0])
    np.savez("clips.npz", video=CLIPS, label=[0, 1, 2, 1])
    np.savez("one.npz", CLIPS[1])
    return tmp_path


def run(line):
    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == 0, found.output
    return found


def refused(line):
    found = CliRunner().invoke(app, line.split())
    assert found.exit_code == 2
    assert found.stderr.count("\n") == 1
    return found.stderr


def test_a_clip_is_explained_as_in_the_library(network, folder):
    wanted = tfcam.explain(network, CLIPS[0], target=1)
    told = json.loads(run("explain one.npz clip.npy --model video.keras --target 1 --json").stdout)
    assert told[1]["score"] == pytest.approx(wanted.score, rel=1e-5)
    frames = wanted.heatmap.max(axis=(1, 2))
    np.testing.assert_allclose(told[1]["frames"], frames, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("compare clip.npy --model video.keras --method grad_cam --output c.png", "c.png"),
        ("verify clip.npy --model video.keras --target 1 --draws 19 --html v.html", "v.html"),
        ("diagnose clip.npy --model video.keras", None),
        ("explain . --model video.keras --target 1", "clip_grad_cam_1.png"),
    ],
)
def test_commands_take_a_clip(folder, line, file):
    run(line)
    assert file is None or (folder / file).stat().st_size > 1000


@pytest.mark.slow
def test_a_report_takes_a_clip(folder):
    run("report clip.npy --model video.keras --target 1 --output r.html")
    assert "frames" in (folder / "r.html").read_text()


def test_many_clips_are_measured_and_streamed(folder):
    line = "evaluate video.keras clips.npz --method grad_cam --metric insertion --target label"
    assert "4 videos" in run(f"{line} --baseline random_map").stdout
    told = run("explain-dataset video.keras clips.npz --to store").stdout
    assert "Explained 4 videos" in told
    store = tfcam.open_store(folder / "store")
    assert (len(store), store[0].extent) == (4, "6 frames of 12 x 12 pixels")


def test_what_is_no_clip_is_refused_in_one_line(folder):
    (folder / "torn.npy").write_bytes((folder / "clip.npy").read_bytes()[:-9])
    np.save("objects.npy", np.array([{}], object))
    np.save("small.npy", CLIPS[0, :, :6])
    model = "--model video.keras"
    assert "must hold arrays of numbers" in refused(f"explain torn.npy {model}")
    assert "must hold arrays of numbers" in refused(f"explain objects.npy {model}")
    assert "must hold one array; it holds 'video', 'label'" in refused(f"explain clips.npz {model}")
    assert "6 x 12 x 12 x 3, all of one size; got (6, 6," in refused(f"explain small.npy {model}")
    assert "--window is for pictures" in refused(f"explain clip.npy {model} --window 0,1")
    assert "there is none at 'none.npy'" in refused(f"explain none.npy {model}")
