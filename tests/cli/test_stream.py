"""``tfcam explain-dataset`` as it is typed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli.commands import app
from tfcam.scenes import KINDS, draw_scene

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def pictures(at_work):
    folder = at_work / "pictures"
    folder.mkdir()
    for seed in range(5):
        Image.fromarray(draw_scene(seed).image).save(folder / f"{seed}.png")
    (folder / "z.png").write_bytes(b"nothing")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["explain-dataset", *arguments])


@pytest.mark.slow
def test_a_folder_is_explained_and_a_summary_ends_it():
    asked = ("shapes", "pictures", "--to", "maps", "--method", "layer_cam", "--batch-size", "2")
    found = run(*asked, "--target", "star")
    assert found.exit_code == 0, found.stderr
    first, second, third = found.stdout.splitlines()
    assert first.startswith("Explained 5 pictures in ")
    assert first.endswith(" a second.")
    assert second == "Store of 5 maps, 1 left out by layer_cam at features in 'maps'"
    assert third.startswith("left out z.png: ")
    store = tfcam.open_store("maps")
    assert set(store.table["label"]) == {"star"}
    assert set(store.table["target"]) == {KINDS.index("star")}
    again = run(*asked, "--target", "star")
    assert again.stdout.splitlines() == ["Nothing was left to do.", second, third]


@pytest.mark.slow
def test_options_of_the_method_are_taken():
    options = ("--method", "score_cam", "--option", "channels=4", "--layer", "features")
    assert run("shapes", "pictures", "--to", "maps", *options).exit_code == 0
    assert tfcam.open_store("maps").settings["channels"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shapes", "nothing", "--to", "maps"), "must be a folder, or a data set of tensorflow"),
        (("shapes", "pictures", "--to", "pictures"), "must be empty or hold a store of maps"),
        (("shapes", "pictures", "--to", "maps", "--layer", "nope"), "nope"),
    ],
)
def test_what_can_not_be_done_is_one_line(arguments, message):
    found = run(*arguments)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)
    assert message in found.stderr


@pytest.mark.slow
def test_ctrl_c_ends_with_a_word_how_to_go_on(pictures, tmp_path):
    for seed in range(5, 400):
        (pictures / f"{seed}.png").write_bytes((pictures / f"{seed % 5}.png").read_bytes())
    asked = ["shapes", "pictures", "--to", "maps", "--shard-size", "4", "--batch-size", "4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tfcam", "explain-dataset", *asked, "--method", "score_cam"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("maps/maps-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "stopped; what is done is kept in maps. Type the same again to go on." in err
    assert "Traceback" not in err
    assert out == ""
    assert len(tfcam.open_store(tmp_path / "maps")) >= 4
