"""The guide "from your script to tfcam": its blocks run, and both sides give the same numbers."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from tests.networks import seeded
from tests.project import GUIDES
from tests.tolerances import relative

PAGES = [GUIDES / name for name in ("from_your_script.md", "from_your_script_inputs.md")]
SECTIONS = [
    section
    for page in PAGES
    for section in re.split(r"^## \d+\. ", page.read_text(), flags=re.MULTILINE)[1:]
]
FINDINGS = ["Atelectasis", "Effusion", "Nodule", *(f"finding {n}" for n in range(3, 14))]


def chained(shape, steps):
    """A functional model of layers in a row."""
    x = ends = keras.Input(shape)
    for step in steps:
        x = step(x)
    return seeded(keras.Model(ends, x))


def classifier(shape, head, axes=2):
    """Two convolutions, pooled, a head."""
    form = {"padding": "same", "activation": "relu"}
    steps = [
        getattr(layers, f"Conv{axes}D")(6, 3, **form),
        getattr(layers, f"Conv{axes}D")(8, 3, strides=2, name="features", **form),
        getattr(layers, f"GlobalAveragePooling{axes}D")(name="pool"),
        head,
    ]
    return chained(shape, steps)


def softmax(count=5):
    return layers.Dense(count, activation="softmax", name="head")


def normal(*shape):
    return np.random.default_rng(5).normal(0, 1, shape).astype("float32")


def picture(head):
    return {"model": classifier((24, 24, 3), head), "image": normal(24, 24, 3)}


def brain_scans():
    inner = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(64, 64, 3), name="efficientnetb0"
    )
    pool = layers.GlobalAveragePooling2D(name="pool")
    image = np.random.default_rng(5).uniform(0, 255, (64, 64, 3)).astype("float32")
    return {"model": chained((64, 64, 3), [inner, pool, softmax(4)]), "image": image}


def pneumonia():
    names = picture(layers.Dense(1, activation="sigmoid", name="head"))
    head = names["model"].layers[-1]
    (probability,) = names["model"](names["image"][None])
    logit = np.log(probability / (1 - probability))
    head.bias.assign(head.bias - logit - 1)  # the picture is normal
    return names


def digits():
    digit = np.random.default_rng(5).integers(0, 256, (28, 28)).astype("uint8")
    return {"model": classifier((28, 28, 1), softmax(10)), "digit": digit}


def with_table():
    picture, table = keras.Input((24, 24, 3), name="picture"), keras.Input((4,), name="table")
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="features")(picture)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), table])
    model = seeded(keras.Model([picture, table], layers.Dense(3)(x)))
    return {"model": model, "image": normal(24, 24, 3), "row": normal(4)}


def tomography():
    model = classifier((8, 16, 16, 1), layers.Dense(3), axes=3)
    return {"model": model, "volume": normal(8, 16, 16, 1)}


def video():
    conv = layers.Conv2D(8, 3, strides=2, activation="relu")
    steps = [
        layers.TimeDistributed(conv, name="features"),
        layers.TimeDistributed(layers.GlobalAveragePooling2D()),
        layers.GRU(6),
        softmax(),
    ]
    return {"model": chained((5, 16, 16, 3), steps), "clip": normal(5, 16, 16, 3)}


def u_net():
    ends = keras.Input((16, 16, 3))
    form = {"padding": "same", "activation": "relu"}
    around = layers.Conv2D(6, 3, **form)(ends)
    x = layers.Conv2D(8, 3, name="bottom", **form)(layers.MaxPooling2D()(around))
    x = layers.Concatenate()([layers.UpSampling2D()(x), around])
    classes = layers.Conv2D(3, 1, activation="softmax", name="classes")(x)
    mask = np.zeros((16, 16), bool)
    mask[3:9, 4:12] = True
    return {"model": seeded(keras.Model(ends, classes)), "image": normal(16, 16, 3), "mask": mask}


NAMES = (
    lambda: picture(softmax()),
    lambda: picture(softmax()),
    brain_scans,
    lambda: {**picture(layers.Dense(14, activation="sigmoid")), "findings": FINDINGS},
    pneumonia,
    digits,
    with_table,
    tomography,
    video,
    u_net,
)


def run(number, tmp_path, monkeypatch):
    """What the blocks of a section leave behind, each run on a new model of the same weights."""
    monkeypatch.chdir(tmp_path)
    left = []
    for block in re.findall(r"```python\n(.*?)```", SECTIONS[number - 1], re.DOTALL):
        keras.utils.set_random_seed(7)
        names = NAMES[number - 1]()
        exec(compile(block, f"script {number}", "exec"), names)
        left.append(names)
    return left


def scaled(raw):
    """As the scripts make a heatmap of a raw map."""
    positive = np.maximum(raw, 0)
    return positive / positive.max()


@pytest.mark.thinned(1)
@pytest.mark.parametrize("number", [1, 3, 6, 7, 8, 9, 10])
def test_a_script_and_tfcam_give_the_same_numbers(number, tmp_path, monkeypatch):
    before, after = run(number, tmp_path, monkeypatch)
    heatmap = np.asarray(before["heatmap"])
    assert 0 < heatmap.mean() < 1
    assert relative(scaled(after["result"].raw), heatmap) < 1e-4


def test_the_class_that_drops_negative_slopes_is_no_grad_cam_but_can_be_a_method(
    tmp_path, monkeypatch
):
    before, after, kept = run(2, tmp_path, monkeypatch)
    assert (np.asarray(before["weights"]) >= 0).all()
    assert np.asarray(before["heatmap"]).min() == 0
    assert relative(scaled(after["result"].raw), before["heatmap"]) > 0.1
    raw = kept["result"].raw
    stretched = (raw - raw.min()) / (raw.max() - raw.min())
    assert relative(stretched, before["heatmap"]) < 1e-4


def test_of_many_labels_each_has_the_numbers_of_its_script(tmp_path, monkeypatch):
    before, after = run(4, tmp_path, monkeypatch)
    assert [one.label for one in after["results"]] == ["Effusion", "Nodule"]
    for one in after["results"]:
        assert relative(scaled(one.raw), before["heatmaps"][one.label]) < 1e-4


def test_of_one_unit_the_script_shows_the_class_that_is_not_predicted(tmp_path, monkeypatch):
    before, after = run(5, tmp_path, monkeypatch)
    assert after["result"].label == "normal"
    assert relative(scaled(after["pneumonia"].raw), before["heatmap"]) < 1e-4
    assert relative(after["result"].raw, -after["pneumonia"].raw) < 1e-4


def test_there_are_ten_scripts():
    assert len(SECTIONS) == len(NAMES) == 10
