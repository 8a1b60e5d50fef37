"""Data as people have them: floats, many channels, pairs of arrays, batches of Keras."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam import Example
from tfcam.data.pairs import zip_pair

PICTURES = networks.pictures(6)
LABELS = np.array([0, 2, 1, 1, 0, 2])
ASKED = {
    "methods": ["grad_cam"],
    "metrics": ["deletion", "entropy"],
    "baselines": ["sobel_edges"],
    "progress": False,
    "target": "label",
}


@pytest.fixture(scope="module")
def model():
    return networks.flat()


@pytest.fixture(scope="module")
def wanted(model):
    """By hand: the map of each picture's own class, measured."""
    probe = tfcam.metrics.Probe(model, PICTURES, LABELS.tolist())
    heatmaps = tfcam.explain(model, PICTURES, target=LABELS.tolist()).heatmaps
    return tfcam.metrics.deletion(probe, heatmaps).area


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, place):
        part = slice(4 * place, 4 * place + 4)
        return PICTURES[part], keras.utils.to_categorical(LABELS[part], 3)


class BatchesOfDicts(Batches):
    def __getitem__(self, place):
        pictures, labels = super().__getitem__(place)
        return {"image": pictures}, labels, np.ones(len(labels))


PAIRS = list(zip(PICTURES, LABELS, strict=True))
FORMS = {
    "examples": [Example(str(n), image, label=own) for n, (image, own) in enumerate(PAIRS)],
    "pairs": PAIRS,
    "(N, 1) labels": (PICTURES, LABELS[:, np.newaxis]),
    "one-hot labels": (PICTURES, np.eye(3)[LABELS]),
    "tensors": (tf.constant(PICTURES), tf.constant(LABELS)),
    "tf.data": tf.data.Dataset.from_tensor_slices((PICTURES, LABELS)).batch(4),
    "PyDataset": Batches(),
    "PyDataset of dicts": BatchesOfDicts(),
    "dicts": tf.data.Dataset.from_tensor_slices(({"image": PICTURES}, LABELS)).batch(4),
    "a dict": ({"image": PICTURES}, LABELS),
    "lists": (list(PICTURES), LABELS.tolist()),
    "a list of arrays": [PICTURES, LABELS],
    "with weights": (PICTURES, LABELS, np.ones(6)),
    "loaded whole": {"image": PICTURES, "label": LABELS},
}


@pytest.mark.thinned(7)
@pytest.mark.parametrize("preprocess", ["auto", None])
@pytest.mark.parametrize("form", FORMS)
def test_floats_are_measured_as_they_are(model, wanted, form, preprocess):
    found = tfcam.evaluate(model, FORMS[form], **ASKED, preprocess=preprocess).table
    rows = found[(found["method"] == "grad_cam") & (found["metric"] == "deletion")]
    np.testing.assert_allclose(rows["value"], wanted, rtol=1e-4)
    assert rows["target"].tolist() == LABELS.tolist()


@pytest.mark.slow
def test_recommend_and_stream_take_pairs_too(model, tmp_path):
    methods = ["grad_cam", "layer_cam"]
    found = tfcam.recommend(model, FORMS["one-hot labels"], methods=methods, progress=False)
    assert "on these 6 pictures" in str(found)
    store = tfcam.stream(
        model, FORMS["PyDataset"], to=tmp_path / "store", target="label", progress=False
    )
    wanted = tfcam.explain(model, PICTURES[5], target=2)
    assert len(store) == 6
    np.testing.assert_allclose(store[5].heatmap, wanted.heatmap, atol=2e-3)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: {x.name: x}])
def test_a_model_that_wraps_its_one_input(model, wanted, wrap):
    wrapped = keras.Model(wrap(model.inputs[0]), model.outputs[0])
    found = tfcam.evaluate(wrapped, FORMS["pairs"], **ASKED, batch_size=4).table
    rows = found[(found["method"] == "grad_cam") & (found["metric"] == "deletion")]
    np.testing.assert_allclose(rows["value"], wanted, rtol=1e-4)


def test_what_stands_beside_pictures():
    masks = PICTURES[..., :1] > 0
    assert [row.shape for _, row in zip_pair((PICTURES, masks))] == [(12, 12, 1)] * 6
    of_two = zip_pair((PICTURES, {"kind": LABELS, "age": (LABELS + 20).tolist()}))
    assert [row for _, row in of_two][1] == {"kind": 2, "age": 22}
    assert [row for _, row in zip_pair((PICTURES, (LABELS, LABELS + 20)))][1] == (2, 22)
    assert zip_pair((PICTURES[:1], PICTURES[1:2])) is None  # two pictures
    assert zip_pair(tuple(PICTURES[..., 0])) is None
    with pytest.raises(
        ValueError, match=r"got a dict of 'a', 'b'\. Of a model with several inputs"
    ):
        zip_pair(({"a": PICTURES, "b": PICTURES}, LABELS))


@pytest.mark.slow
def test_thirteen_channels_with_boxes_in_a_report(tmp_path):
    inputs = keras.Input((12, 12, 13))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    x = layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(x))
    model = networks.seeded(keras.Model(inputs, x))
    pictures = np.random.default_rng(0).normal(size=(3, 12, 12, 13)).astype("float32")
    data = [Example(str(n), each, np.float32([[2, 3, 9, 10]])) for n, each in enumerate(pictures)]
    result = tfcam.evaluate(
        model,
        data,
        methods=["grad_cam"],
        metrics=["energy", "deletion"],
        explainers={"mine": lambda images, classes: [np.abs(each).mean(-1) for each in images]},
        progress=False,
    )
    rows = result.table[result.table["metric"] == "energy"]
    heatmaps = tfcam.explain(model, pictures).heatmaps
    energies = [each[3:10, 2:9].sum() / each.sum() for each in heatmaps]
    np.testing.assert_allclose(rows["value"][rows["method"] == "grad_cam"], energies, rtol=1e-4)
    assert (rows["method"] == "mine").sum() == 3
    result.to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count("<img") >= 3


def test_data_of_another_kind_are_told(model):
    for data in (PICTURES[0], {"a": 1}, iter([1])):
        with pytest.raises(TypeError, match=r"\(images, labels\), or a list of pictures; got"):
            tfcam.evaluate(model, data)


class WatchedBatches(Batches):
    def __init__(self):
        super().__init__()
        self.last_is_read = threading.Event()

    def __getitem__(self, place):
        if place == 1:
            self.last_is_read.set()
        return super().__getitem__(place)


def test_the_next_batch_is_read_while_one_is_measured(model):
    data, waited = WatchedBatches(), []

    def slow(pictures, classes):
        waited.append(data.last_is_read.wait(timeout=20))
        return np.ones((len(pictures), 4, 4), np.float32)

    asked = {**ASKED, "methods": [], "explainers": {"slow": slow}, "batch_size": 2}
    found = tfcam.evaluate(model, data, **asked)
    assert waited == [True] * 3
    assert found.table["image"].nunique() == 6


def test_nothing_is_read_on_after_an_error(model):
    def broken(pictures, classes):
        raise ArithmeticError("none of these")

    asked = {**ASKED, "methods": [], "explainers": {"broken": broken}, "batch_size": 1}
    before = set(threading.enumerate())
    with pytest.raises(ArithmeticError, match="none of these") as kept:
        tfcam.evaluate(model, Batches(), **asked)
    assert kept.traceback  # it holds all that ran
    assert not [each for each in set(threading.enumerate()) - before if "work" in each.name]
