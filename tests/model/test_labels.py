"""Labels as people have them: lists, dicts, files, ImageNet's; one form as good as another."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

import tfcam
from tests import networks
from tfcam.cli.commands import app
from tfcam.model.labels import imagenet_labels

NAMES = ["cat", "dog", "eel"]
PICTURE = networks.pictures(1)[0]
PAIRS = {
    "list": NAMES,
    "tuple": tuple(NAMES),
    "array": np.array(NAMES),
    "class_indices": {"eel": 2, "cat": 0, "dog": 1},
    "by index": {1: "dog", 0: "cat", 2: "eel"},
    "NumPy's index": {"eel": np.int64(2), "cat": np.int64(0), "dog": np.int64(1)},
}
FILES = {
    "names.txt": "cat\ndog\neel\n",
    "numbered.txt": "1: dog\n0: cat\n2: eel\n",
    "table.txt": "0,cat\n1,dog\n2,eel",
    "wordnet.txt": "n02123045 cat\nn02099601 dog\nn01484850 eel\n",
    "windows.txt": "\ufeffcat\r\ndog\r\neel",
    "list.json": json.dumps(NAMES),
    "indices.json": json.dumps({"eel": 2, "cat": 0, "dog": 1}),
    "by_index.json": json.dumps({"2": "eel", "0": "cat", "1": "dog"}),
    "as_keras.json": json.dumps({"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "eel"]}),
}


@pytest.mark.parametrize("labels", PAIRS.values(), ids=PAIRS)
def test_labels_in_the_forms_of_python(labels):
    found = tfcam.explain(networks.flat(), PICTURE, target="dog", labels=labels)
    assert (found.target, found.label) == (1, "dog")


@pytest.mark.parametrize("name", FILES)
def test_labels_of_a_file(name, tmp_path):
    (tmp_path / name).write_bytes(FILES[name].encode())
    for path in (tmp_path / name, str(tmp_path / name)):
        found = tfcam.explain(networks.flat(), PICTURE, target="eel", labels=path)
        assert (found.target, found.label) == (2, "eel")


def test_every_door_takes_them(tmp_path):
    model, indices = networks.flat(), {"eel": 2, "cat": 0, "dog": 1}
    assert tfcam.Explainer(model, labels=indices)(PICTURE, "eel").target == 2
    compared = tfcam.compare(model, PICTURE, methods=["grad_cam"], targets=["eel"], labels=indices)
    assert compared[0, 0].label == "eel"
    assert "eel" in str(tfcam.diagnose(model, PICTURE, target="eel", labels=indices))
    assert tfcam.metrics.Probe(model, PICTURE, "eel", labels=indices).targets.tolist() == [2]
    asked = {"target": "eel", "labels": indices, "preprocess": None, "progress": False}
    store = tfcam.stream(model, [PICTURE], to=tmp_path / "store", **asked)
    assert store[0].label == "eel"
    measured = tfcam.evaluate(model, [PICTURE], metrics=["deletion"], methods=["grad_cam"], **asked)
    assert set(measured.table["target"]) == {2}


def test_labels_of_imagenet(data):
    inputs = keras.Input((12, 12, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs))
    model = keras.Model(inputs, layers.Dense(1000)(x), name="mine")
    found = tfcam.explain(model, PICTURE, target="tabby", labels="imagenet")
    assert (found.target, found.label) == (281, imagenet_labels()[281])
    with pytest.raises(ValueError, match="each of the model's 3 classes; got 1000"):
        tfcam.explain(networks.flat(), PICTURE, labels="imagenet")


def test_the_command_line_takes_json(at_work, shapes):
    (at_work / "kinds.json").write_text(
        json.dumps({name.upper(): n for n, name in enumerate(tfcam.scenes.KINDS)})
    )
    from PIL import Image

    Image.fromarray(tfcam.scenes.draw_scene(1).image).save("a.png")
    asked = ["explain", "a.png", "--model", "shapes", "--labels", "kinds.json", "--target", "STAR"]
    run = CliRunner().invoke(app, [*asked, "--output", "a.npz"])
    assert run.exit_code == 0, run.output
    assert tfcam.Explanation.load("a.npz").label == "STAR"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"cat": 0, "dog": 2, "eel": 3}, r"indices 0\.\.2, each once; got"),
        ({"cat": 0, "dog": 0, "eel": 1}, r"indices 0\.\.2, each once; got"),
        ({"cat": 0.5}, r"indices 0\.\.0, each once"),
        ("nowhere.txt", "or a file, JSON or a label on each line; 'nowhere.txt': No such file"),
        ("cat, dog", "'imagenet', or a file, JSON or a label"),
        (["cat", 3, "eel"], "labels must be texts, one for each class; one is 3 of type int"),
        ({}, "each of the model's 3 classes; got 0"),
    ],
)
def test_what_names_no_classes_is_told(labels, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tfcam.explain(networks.flat(), PICTURE, labels=labels)


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "a.json").write_text("[")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("a.json", "b.txt"):
        with pytest.raises(ValueError, match="it is no UTF-8 text, or no JSON"):
            tfcam.explain(networks.flat(), PICTURE, labels=tmp_path / name)
