"""Pictures in each form that arrays come in, streamed and evaluated as they are explained."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import rounding

RNG = np.random.default_rng(9)
ROWS, LABELS = RNG.random((5, 144)).astype("float32"), np.array([0, 1, 2, 1, 0])


def grey(shape):
    """A network of grey pictures 12 x 12 that takes them in a shape."""
    inputs = keras.Input(shape)
    x = layers.Reshape((12, 12, 1))(inputs) if shape != (12, 12, 1) else inputs
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return networks.seeded(keras.Model(inputs, layers.Dense(3, activation="softmax")(x)))


FORMS = {
    "array": lambda x: x,
    "pair": lambda x: (x, LABELS),
    "list": list,
    "batches": lambda x: tf.data.Dataset.from_tensor_slices((x, LABELS)).batch(2),
    "batches without labels": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(2),
    "one by one": lambda x: tf.data.Dataset.from_tensor_slices((x, LABELS)),
}


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("shape", [(144,), (12, 12), (12, 12, 1)])
def test_rows_and_grey_pictures_are_streamed_as_they_are_explained(shape, tmp_path):
    """As keras.datasets.mnist gives them: (N, 28, 28) and no axis of channels."""
    model, given = grey(shape), ROWS.reshape(5, *(shape if len(shape) == 1 else (12, 12)))
    wanted = tfcam.explain(model, given, preprocess=None)
    for form, make in FORMS.items():
        store = tfcam.stream(model, make(given), to=tmp_path / form, preprocess=None)
        assert len(store) == 5
        for number, explanation in enumerate(wanted):
            found = store.explanation(number)
            assert (found.target, found.heatmap.shape) == (explanation.target, (12, 12))
            size = np.abs(explanation.raw).max()
            np.testing.assert_allclose(found.raw, explanation.raw, atol=rounding(20) * size)
    pixels = (given * 255).astype("uint8")
    store = tfcam.stream(model, pixels, to=tmp_path / "pixels", preprocess="unit")
    again = tfcam.explain(model, pixels, preprocess="unit")
    np.testing.assert_allclose(store.table["score"], [each.score for each in again], rtol=1e-4)


def test_rows_and_grey_pictures_are_evaluated():
    tables = [
        tfcam.evaluate(
            grey(shape),
            (ROWS.reshape(5, *shape[:2]), LABELS),
            methods=["grad_cam"],
            metrics=["insertion"],
            target="label",
            preprocess=None,
        ).table
        for shape in [(144,), (12, 12), (12, 12, 1)]
    ]
    for table in tables:
        np.testing.assert_allclose(table["value"], tables[0]["value"], rtol=1e-4)
        assert table["target"].tolist() == tables[0]["target"].tolist()
        assert sorted(set(table["target"])) == [0, 1, 2]


def test_labels_of_several_outputs_are_those_of_the_explained_one(tmp_path):
    inputs = keras.Input((12, 12, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(inputs))
    outputs = {"age": layers.Dense(1)(x), "kind": layers.Dense(3, activation="softmax")(x)}
    model = networks.seeded(keras.Model(inputs, outputs))
    pictures = networks.pictures(5)
    ages = np.arange(5.0)
    labels = {"age": ages, "kind": LABELS}
    data = tf.data.Dataset.from_tensor_slices((pictures, labels))
    asked = {"output": "kind", "target": "label", "preprocess": None}
    store = tfcam.stream(model, data, to=tmp_path / "one", **asked)
    assert store.table["target"].tolist() == LABELS.tolist()
    measured = {"methods": ["grad_cam"], "metrics": ["insertion"]}
    table = tfcam.evaluate(model, data.batch(2), **measured, **asked).table
    assert table["target"].tolist()[:: len(table) // 5] == LABELS.tolist()
    with pytest.raises(ValueError, match=r"No picture .* 'age', 'kind', need output= one of these"):
        tfcam.stream(model, data, to=tmp_path / "two", target="label", preprocess=None)
    only = keras.Model(inputs, {"kind": outputs["kind"]})
    data = tf.data.Dataset.from_tensor_slices((pictures, {"kind": LABELS}))
    asked.pop("output")
    store = tfcam.stream(only, data, to=tmp_path / "three", **asked)
    assert store.table["target"].tolist() == LABELS.tolist()


def test_a_picture_that_is_not_finite_is_left_out_and_named(tmp_path):
    model, pictures = networks.flat(), networks.pictures(4)
    pictures[2, 3, 3] = np.nan
    store = tfcam.stream(model, pictures, to=tmp_path / "store", preprocess=None)
    assert store.table["number"].tolist() == [0, 1, 3]
    assert store.skipped["reason"].str.contains("must be finite; 3 of its values").tolist() == [
        True
    ]
    with pytest.raises(ValueError, match=r"must be finite; 3 of .* is number 2 of the batch"):
        tfcam.explain(model, pictures, preprocess=None)
    with pytest.raises(
        ValueError, match="No picture could be explained. The first, 000000: A prep"
    ):
        tfcam.stream(model, pictures[2:3], to=tmp_path / "none", preprocess=None)


def test_what_is_seen_of_a_picture_alone_is_found(tmp_path):
    dark = np.random.default_rng(1).integers(0, 12, (3, 30, 30, 3)).astype("uint8")
    dark[1] *= 20
    asked = {"preprocess": "unit", "target": 0}
    codes = [
        [[one.code for one in made.findings] for made in each]
        for each in (
            tfcam.explain(networks.flat(), list(dark), **asked),
            tfcam.stream(networks.flat(), dark, to=tmp_path / "dark", **asked),
        )
    ]
    assert codes[0] == codes[1]
    assert ["nearly_black" in each for each in codes[1]] == [True, False, True]


def test_masks_beside_pictures_fill_no_store(tmp_path):
    pictures = networks.pictures(2)
    for side in (12, 80):
        masks = np.zeros((2, side, side, 1), "float32")
        store = tfcam.stream(networks.flat(), (pictures, masks), to=tmp_path / str(side), target=1)
        assert len(store) == 2
    assert store.table["truth"].str.len().max() < 100
    masks[1, 0, 0] = 1
    with pytest.raises(ValueError, match="number 1 has another label"):
        tfcam.stream(networks.flat(), (pictures, masks), to=tmp_path / "80", target=1)


@pytest.mark.slow
def test_floats_are_shown_as_they_were_explained(tmp_path):
    pixels = np.random.default_rng(2).integers(40, 90, (2, 32, 32, 3)).astype("float32")
    model = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=3)
    store = tfcam.stream(model, pixels, to=tmp_path / "pixels", target=0)
    np.testing.assert_array_equal(store[1].image, pixels[1].astype("uint8"))
    first = keras.Input((3, 10, 14))
    x = layers.Conv2D(4, 3, name="conv")(layers.Permute((2, 3, 1))(first))
    turned = keras.Model(first, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    given = np.random.default_rng(3).normal(size=(2, 3, 10, 14)).astype("float32")
    store = tfcam.stream(turned, given, to=tmp_path / "turned", target=0)
    wanted = tfcam.explain(turned, given[1], target=0)
    np.testing.assert_array_equal(store[1].image, wanted.image)


@pytest.mark.slow
def test_rows_and_grey_pictures_are_explained_in_training(tmp_path):
    for shape in [(144,), (12, 12), (12, 12, 1)]:
        model, given = grey(shape), ROWS.reshape(5, *shape[:2])
        model.compile("sgd", "sparse_categorical_crossentropy")
        look = tfcam.callbacks.ExplainCallback(given, folder=tmp_path, preprocess=None)
        model.fit(given, LABELS, verbose=0, callbacks=[look])
        wanted = tfcam.explain(model, given, preprocess=None)
        found = [explanation.score for explanation in look.explanations]
        np.testing.assert_allclose(found, [each.score for each in wanted], rtol=1e-4)
