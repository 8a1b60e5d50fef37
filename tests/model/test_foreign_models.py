"""What is no Keras model is named for what it is, with what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests import networks
from tfcam.cli.commands import app

PICTURE = networks.pictures(1)[0]
DOORS = [
    lambda model: tfcam.explain(model, PICTURE),
    tfcam.Explainer,
    lambda model: tfcam.compare(model, PICTURE),
    tfcam.layers,
    lambda model: tfcam.diagnose(model, PICTURE),
    lambda model: tfcam.evaluate(model, [PICTURE]),
    lambda model: tfcam.recommend(model, [PICTURE]),
    lambda model: tfcam.stream(model, [PICTURE], to="x"),
    lambda model: tfcam.metrics.Probe(model, PICTURE),
    lambda model: tfcam.dream(model, 0),
]
FILES = {
    "dogs.keras": r"keras\.models\.load_model\('.*dogs\.keras'\) gives it",
    "dogs.h5": r"keras\.models\.load_model",
    "dogs.weights.h5": r"weights alone: .* model\.load_weights\('.*dogs\.weights\.h5'\)",
    "dogs.json": "a structure without weights: keras.models.model_from_json",
    "dogs.tflite": r"TFLite file has no gradients.*BlackBox\.from_tflite\('.*dogs\.tflite'\)",
    "dogs.onnx": r"ONNX file has no gradients.*tfcam\.BlackBox\.from_onnx\('.*dogs\.onnx'\)",
    "dogs.pt": "no file of a Keras model",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    networks.flat().export(str(folder), verbose=False)
    return folder


@pytest.mark.parametrize("door", DOORS, ids=range(len(DOORS)))
def test_every_door_says_what_to_do_with_a_path(door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="must be a built Keras model; got 'dogs.h5' .*load_model"):
        door("dogs.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FILES)
def test_files_are_told_by_their_endings(name, tmp_path):
    for path in (name, tmp_path / name):
        with pytest.raises(TypeError, match=FILES[name]):
            tfcam.explain(path, PICTURE)


def test_the_text_of_a_structure_is_told():
    with pytest.raises(TypeError, match="without weights: keras.models.model_from_json"):
        tfcam.explain(networks.flat().to_json(), PICTURE)


def test_a_folder_of_a_saved_model(saved):
    message = r"TFSMLayer\('.*model', call_endpoint='serving_default'\)"
    for model in (saved, str(saved)):
        with pytest.raises(TypeError, match=message):
            tfcam.explain(model, PICTURE)
    with pytest.raises(TypeError, match=r"by tf\.saved_model\.load: keras\.layers\.TFSMLayer"):
        tfcam.explain(tf.saved_model.load(str(saved)), PICTURE)
    # And the advice works.
    inputs = keras.Input((12, 12, 3))
    outputs = layers.TFSMLayer(str(saved), call_endpoint="serving_default")(inputs)
    model = keras.Model(inputs, next(iter(outputs.values())))
    asked = {"method": "saliency", "target": 1, "score": "probability"}
    found = tfcam.explain(model, PICTURE, **asked)
    wanted = tfcam.explain(networks.flat(), PICTURE, **asked)
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-3, atol=1e-6)


def of_package(package):
    return type("Model", (), {"__module__": f"{package}.models"})()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (of_package("tf_keras"), "of tf_keras, the old Keras 2: save it"),
        (of_package("torch.nn"), r"a PyTorch model.*tfcam\.BlackBox\(function, shape\)"),
        (of_package("torchvision"), r"of type Model\.$"),
        (keras.Sequential, "the model itself, not its class"),
        (layers.Conv2D(2, 3), r"keras\.Model\(inputs, layer\(inputs\)\)"),
        (tf.lite.Interpreter.__new__(tf.lite.Interpreter), "TFLite file has no gradients"),
        (lambda images: images, r"scores of a batch.*tfcam\.BlackBox\(function, shape\)"),
        (7, r"got 7 of type int\.$"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_objects_are_told_by_where_they_come_from(model, message):
    with pytest.raises(TypeError, match=message):
        tfcam.layers(model)


@pytest.fixture
def photo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save("a.png")
    return "a.png"


def command(*words):
    return CliRunner().invoke(app, [*map(str, words)])


@pytest.mark.parametrize("name", ["net.json", "net.pt", "net.weights.h5", "other"])
def test_the_command_line_says_it_too(photo, name):
    from pathlib import Path

    path = Path(name)
    if name == "other":
        path.mkdir()
    else:
        path.write_bytes(b"x")
    for words in (["explain", photo], ["compare", photo], ["layers"]):
        run = command(*words, "--model", path)
        assert (run.exit_code, run.stdout) == (2, "")
        assert run.stderr.startswith(f"tfcam: {str(path)!r} is no file of a whole Keras model. ")
        assert len(run.stderr.strip().splitlines()) == 1


OWN = """
import keras

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""
UNREGISTERED = OWN.replace('@keras.saving.register_keras_serializable("mine")\n', "")


@pytest.mark.parametrize("source", [OWN, UNREGISTERED], ids=["registered", "plain"])
def test_layers_of_ones_own_are_imported(photo, source, tmp_path):
    (tmp_path / "mine.py").write_text(source)
    namespace = {"__name__": "mine"}
    exec(compile(source, "mine.py", "exec"), namespace)
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(2, 3, name="conv")(namespace["Twice"]()(layers.Rescaling(1 / 255)(inputs)))
    keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x))).save("net.keras")
    keras.saving.get_custom_objects().clear()
    without = command("layers", "--model", "net.keras")
    assert without.exit_code == 2
    assert "'net.keras' holds 'Twice', which is not of Keras: name the Python" in without.stderr
    found = command("layers", "--model", "net.keras", "--import", "mine.py")
    assert found.exit_code == 0, found.stderr
    assert "Explained by default: conv" in found.stdout
    told = {
        "nowhere.py": "There is no file or folder 'nowhere.py'",
        "a.png": "--import must name a Python file that can be run; 'a.png'",
    }
    for wrong, message in told.items():
        run = command("layers", "--model", "net.keras", "--import", wrong)
        assert run.exit_code == 2
        assert message in run.stderr
