"""Training on Stanford Dogs: the networks, what a run leaves, a kill and what is left of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import tfcam
from training import networks, train
from training.epochs import Patience, read_log
from training.recipes import RECIPES, Recipe, Stage

# Keras's own model.save, with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
TINY = Recipe(
    stages=(
        Stage("head", 2, 1e-3, backbone=False, optimizer="adam"),
        Stage("all", 2, 1e-3, backbone=True, optimizer="adam", cosine=True),
    ),
    batch=32,
    flip=True,
    dropout=0.2,
)
ROOT = Path(__file__).parents[2]
PICTURES = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype("float32")


@pytest.fixture(scope="module")
def asked() -> dict[str, object]:
    if "TFCAM_TEST_DATA" not in os.environ:
        pytest.skip("TFCAM_TEST_DATA does not say where the data is")
    folder = Path(os.environ["TFCAM_TEST_DATA"]) / "tensorflow_datasets"
    return {
        "backbone": "custom",
        "weights": None,
        "data_dir": folder,
        "breeds": ["beagle", "toy poodle"],
        "size": 32,
        "download": False,
    }


@pytest.mark.parametrize(
    ("backbone", "mode"), [("resnet50", "caffe"), ("mobilenet_v2", "tf"), ("DenseNet121", "torch")]
)
@pytest.mark.thinned(1, kept="slow")
def test_a_network_prepares_its_pictures_itself(backbone, mode, tmp_path):
    model = networks.build_network(backbone, 3, RECIPES["recommended"], None, 64)
    inner = next(each for each in model.layers if isinstance(each, keras.Model))
    prepared = keras.applications.imagenet_utils.preprocess_input(PICTURES.copy(), mode=mode)
    pooled = np.mean(inner(prepared, training=False), axis=(1, 2))
    kernel, bias = model.get_layer("breeds").get_weights()
    wanted = keras.ops.softmax(pooled @ kernel + bias)
    np.testing.assert_allclose(model(PICTURES), wanted, rtol=2e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(PICTURES), model(PICTURES), rtol=1e-5)
    explained = tfcam.explain(again, PICTURES[0].astype(np.uint8))
    assert explained.layer.startswith(f"{inner.name}/")
    assert explained.raw.shape == (2, 2)


@pytest.mark.slow
def test_the_papers_network_divides_by_255():
    model = networks.build_network("mobilenet_v2", 3, RECIPES["paper"], None, 64)
    inner = next(each for each in model.layers if isinstance(each, keras.Model))
    pooled = np.mean(inner(PICTURES / 255, training=False), axis=(1, 2))
    kernel, bias = model.get_layer("breeds").get_weights()
    wanted = keras.ops.softmax(pooled @ kernel + bias)
    np.testing.assert_allclose(model(PICTURES), wanted, rtol=2e-4, atol=1e-5)


@pytest.mark.slow
def test_resnet50_of_the_paper_has_the_papers_parameters():
    model = networks.build_network("resnet50", 120, RECIPES["paper"], None)
    assert model.count_params() == 23_833_592
    assert model.input_shape == (None, 224, 224, 3)


def test_to_the_small_network_grad_cam_applies_and_cam_does_not():
    model = networks.build_network("custom", 3, RECIPES["paper"], size=64)
    image = PICTURES[0].astype(np.uint8)
    assert tfcam.explain(model, image).layer == "block4_conv"
    with pytest.raises(ValueError, match="CAM needs a linear head"):
        tfcam.explain(model, image, method="cam")


@pytest.mark.slow
def test_normalisation_keeps_its_statistics_unless_the_recipe_lets_it_learn():
    for name, moves in (("paper", True), ("recommended", False)):
        model = networks.build_network("mobilenet_v2", 3, RECIPES[name], None, 64)
        networks.let_learn(model, True, RECIPES[name].normalization)
        inner = next(each for each in model.layers if isinstance(each, keras.Model))
        before = inner.get_layer("bn_Conv1").moving_mean.numpy()
        model(PICTURES, training=True)
        assert (inner.get_layer("bn_Conv1").moving_mean.numpy() != before).any() == moves


def test_weights_that_can_not_be_had_are_told(monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    with pytest.raises(OSError, match="ImageNet weights of VGG16 could not be loaded: no network"):
        networks.build_network("vgg16", 3, RECIPES["paper"])


@pytest.mark.product
def test_a_run_leaves_everything_that_was_used(asked, tmp_path, capsys):
    output = tmp_path / "run"
    run = train.train(output, recipe=TINY, **asked)
    assert json.loads((output / "run.json").read_text()) == json.loads(json.dumps(run))
    assert run["counts"]["train"] + run["counts"]["validation"] == 200
    assert run["settings"]["recipe"]["stages"][1]["learning_rate"] == 1e-3
    assert run["versions"]["keras"] == keras.__version__
    rows = read_log(output)
    assert [(row["stage"], row["epoch"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    best = keras.saving.load_model(output / "model.keras")
    lowest = min(row["val_loss"] for row in rows)
    dogs = train.data.load(asked["data_dir"], breeds=asked["breeds"], size=32, download=False)
    scores = best.evaluate(train.data.batches(dogs.validation, 32, 2), verbose=0, return_dict=True)
    assert scores["loss"] == pytest.approx(lowest, rel=1e-4)
    assert scores["accuracy"] == pytest.approx(run["validation_accuracy"])
    assert (output / "curves.png").stat().st_size > 5000

    capsys.readouterr()
    assert train.train(output, recipe=TINY, **asked) == json.loads(json.dumps(run))
    assert "nothing is left to do" in capsys.readouterr().out
    with pytest.raises(train.RunError, match=r"holds a run with another seed\. Give the same"):
        train.train(output, recipe=TINY, **asked, seed=5)


CODE = """
import sys
from pathlib import Path
from tests.training.test_dogs_training import TINY
from training import train
output, data_dir, mirrored = sys.argv[1:]
if mirrored == "mirrored":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
run = train.train(
    Path(output), recipe=TINY, backbone="custom", weights=None, data_dir=Path(data_dir),
    breeds=["beagle", "toy poodle"], size=32, download=False, mirrored=mirrored == "mirrored",
)
print("devices", run["devices"])
"""


def start(output: Path, data_dir: object, mirrored: str = "") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(output), str(data_dir), mirrored],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.product
def test_killed_and_started_again_it_ends_like_an_unbroken_run(asked, tmp_path):
    output = tmp_path / "killed"
    process = start(output, asked["data_dir"])
    deadline = time.monotonic() + 200
    while len(read_log(output)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)  # within the last epoch, or in what follows it
    process.communicate()
    assert "test_accuracy" not in json.loads((output / "run.json").read_text())
    before = read_log(output)
    assert 3 <= len(before) <= 4

    said, _ = start(output, asked["data_dir"]).communicate(timeout=300)
    assert "devices 1" in said, said
    rows = read_log(output)
    assert [(row["stage"], row["epoch"]) for row in rows] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert rows[:2] == before[:2]  # what was done is not done again
    start(tmp_path / "unbroken", asked["data_dir"]).communicate(timeout=300)
    assert read_log(tmp_path / "unbroken") == rows
    ended, unbroken = (
        keras.saving.load_model(tmp_path / each / "model.keras").get_weights()
        for each in ("killed", "unbroken")
    )
    for one, other in zip(ended, unbroken, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("lowest", "losses", "ended"),
    [
        (None, [1.0, 2.0], False),
        (None, [1.0, 2.0, 3.0], True),
        (None, [3.0, 4.0, 2.0, 2.5], False),
        (0.5, [1.0, 0.9], True),  # better than before, not than the stage before
        (0.5, [1.0, 0.4, 0.45], False),
    ],
)
def test_a_stage_ends_as_if_it_had_not_been_stopped(lowest, losses, ended):
    assert Patience(2, lowest, losses).ended == ended
    whole = Patience(2, lowest, [])
    whole.set_model(keras.Sequential())
    whole.model.stop_training = False
    for epoch, loss in enumerate(losses):
        whole.on_epoch_end(epoch, {"val_loss": loss})
    assert whole.model.stop_training == ended


@pytest.mark.product
def test_two_devices_train_one_network(asked, tmp_path):
    said, _ = start(tmp_path / "two", asked["data_dir"], "mirrored").communicate(timeout=300)
    assert "devices 2" in said, said
    assert len(read_log(tmp_path / "two")) == 4


@pytest.mark.slow
def test_the_command_line_tells_what_is_wrong(tmp_path):
    words = [sys.executable, "-m", "training.train", "--offline", "--data-dir", str(tmp_path)]
    words += ["--output", str(tmp_path / "run"), "--backbone", "custom"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().split("\n")[-1].startswith("Stanford Dogs must be in")
