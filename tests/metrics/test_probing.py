"""The probability of each image's class, of changed images: that of ``explain``, batch by batch."""

import gc
import itertools
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import ROUNDED
from tfcam.metrics.probing import Probe, Replaced


def variants_of(probe, count, rng):
    index = rng.integers(0, len(probe), count)
    return probe.inputs[index] * rng.random((count, *probe.inputs.shape[1:])).astype("f4"), index


@pytest.mark.thinned(6)
@pytest.mark.parametrize("kind", networks.KINDS)
def test_the_probability_is_that_of_explain_for_every_kind_of_network(kind):
    model, images = networks.make(kind), networks.pictures(3)
    probe = Probe(model, images, batch_size=2)
    results = tfcam.explain(model, images)
    assert probe.targets.tolist() == [each.target for each in results]
    np.testing.assert_allclose(
        probe.probabilities, [each.probability for each in results], rtol=ROUNDED
    )
    np.testing.assert_array_equal(probe.inputs, images)
    assert probe.preprocessing == results[0].preprocessing


def _classifier(activation, classes=3):
    inputs = keras.Input((4, 4, 1))
    x = layers.Dense(classes, activation=activation)(layers.Flatten()(inputs))
    return keras.Model(inputs, x)


def test_changed_images_are_asked_for_the_class_of_the_unchanged_one(rng):
    model = _classifier("softmax")
    images = rng.normal(0, 1, (4, 4, 4, 1)).astype("f4")
    probe = Probe(model, images, batch_size=3)
    variants, index = variants_of(probe, 11, rng)
    values = model(variants, training=False).numpy()
    assert (values.argmax(1) != probe.targets[index]).any()
    wanted = values[np.arange(11), probe.targets[index]]
    np.testing.assert_allclose(probe(variants, index), wanted, rtol=1e-5)


def test_a_batch_is_each_image_alone_and_chunks_are_the_whole(rng):
    probe = Probe(networks.flat(), networks.pictures(4), batch_size=5)
    variants, index = variants_of(probe, 13, rng)
    together = probe(variants, index)
    alone = [probe(variants[n : n + 1], index[n : n + 1])[0] for n in range(13)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    cuts = np.split(variants, [1, 1, 9])
    np.testing.assert_array_equal(probe(iter(cuts), index), together)
    assert probe(variants[:0], []).shape == (0,)


def test_of_lazy_variants_no_more_than_a_batch_is_held():
    probe = Probe(networks.flat(), networks.pictures(1), batch_size=4)
    made, batches = [], []
    ask = probe._asked(4)

    def counted(*given):
        batches.append(len(made))
        return ask(*given)

    def lazily():
        for _ in range(10):
            made.append(1)
            yield probe.inputs

    probe._asked = {4: counted}.__getitem__
    probe(lazily(), np.zeros(10, int))
    assert batches == [4, 8, 10]  # each batch is computed as soon as it is full


@pytest.mark.parametrize(
    ("activation", "classes", "after"),
    [
        ("softmax", 3, lambda z: z),
        ("sigmoid", 3, lambda z: z),
        ("sigmoid", 1, lambda z: z),
        (None, 3, lambda z: np.exp(z) / np.exp(z).sum(1, keepdims=True)),
        (None, 1, lambda z: 1 / (1 + np.exp(-z))),
    ],
)
def test_probabilities_are_taken_as_they_are_and_made_of_logits(rng, activation, classes, after):
    model = _classifier(activation, classes)
    images = rng.normal(0, 3, (6, 4, 4, 1)).astype("f4")
    probe = Probe(model, images, target=max(classes - 1, 1))  # of a single unit class 1
    wanted = after(model(images).numpy().astype(np.float64))[:, -1]
    np.testing.assert_allclose(probe.probabilities, wanted, rtol=1e-5)
    variants = images * np.float32(0.01)  # logits that could be probabilities stay logits
    wanted = after(model(variants).numpy().astype(np.float64))[:, -1]
    np.testing.assert_allclose(probe(variants, range(6)), wanted, rtol=1e-5)


def test_a_difference_is_that_of_two_probabilities():
    model, images = networks.flat(), networks.pictures(2)
    values = model(images).numpy()
    probe = Probe(model, images, tfcam.Difference(1, 2))
    np.testing.assert_allclose(probe.probabilities, values[:, 1] - values[:, 2], rtol=1e-5)
    assert probe.targets.tolist() == [1, 1]


def test_a_callable_gives_its_number_and_each_image_has_its_own(rng):
    model = _classifier(None)
    images = rng.normal(0, 1, (3, 4, 4, 1)).astype("f4")
    outputs = model(images).numpy()
    regression = Probe(model, images, tfcam.Regression(index=1), batch_size=2)
    np.testing.assert_allclose(regression.probabilities, outputs[:, 1], rtol=1e-5)
    assert regression.targets.tolist() == [-1, -1, -1]
    mixed = Probe(model, images, [None, 2, lambda outputs: 10 * outputs[:, 0]], batch_size=2)
    likely = tf.nn.softmax(outputs).numpy()
    wanted = [likely[0].max(), likely[1, 2], 10 * outputs[2, 0]]
    np.testing.assert_allclose(mixed.probabilities, wanted, rtol=1e-5)
    assert mixed.targets.tolist() == [likely[0].argmax(), 2, -1]
    back = mixed(images[[2, 1, 0]], [2, 1, 0])
    np.testing.assert_allclose(back, wanted[::-1], rtol=1e-5)


def test_masks_for_each_image_stay_with_their_image(rng):
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(3, 3, padding="same")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax")(x))
    images = rng.normal(0, 1, (2, 4, 4, 1)).astype("f4")
    mask = rng.random((2, 4, 4)) > 0.5
    target = tfcam.Segmentation(1, mask)
    wanted = [each.score for each in tfcam.explain(model, images, 0, target=target)]
    probe = Probe(model, images, target)
    np.testing.assert_allclose(probe.probabilities, wanted, rtol=1e-5)
    np.testing.assert_allclose(probe(images[::-1], [1, 0]), wanted[::-1], rtol=1e-5)
    with pytest.raises(ValueError, match="got 2 for 1 images"):
        Probe(model, images[:1], target)


def test_the_other_inputs_stay_with_their_image(rng):
    image, number = keras.Input((4, 4, 1), name="image"), keras.Input((2,), name="number")
    x = layers.Concatenate()([layers.Flatten()(image), number])
    model = keras.Model([image, number], layers.Dense(3, activation="softmax")(x))
    images = rng.normal(0, 1, (3, 4, 4, 1)).astype("f4")
    numbers = rng.normal(0, 5, (3, 2)).astype("f4")
    probe = Probe(model, [images, numbers], target=1, preprocess=None, batch_size=2)
    index = np.array([2, 0, 0, 1])
    wanted = model([images[index] / 2, numbers[index]]).numpy()[:, 1]
    np.testing.assert_allclose(probe(images[index] / 2, index), wanted, rtol=1e-5)


def test_labels_pictures_and_one_image_are_taken_as_explain_takes_them():
    scene = tfcam.scenes.draw_scene(3, kinds=["heart"])
    model = tfcam.demo_model()
    probe = Probe(model, scene.image, "heart", labels=tfcam.scenes.KINDS)
    assert probe.inputs.shape == (1, 128, 128, 3)
    assert probe.inputs.dtype == np.float32
    assert probe.targets.tolist() == list(scene.labels)
    assert probe.preprocessing.startswith("0..255 as it is")


def test_the_model_is_traced_once_for_all_batches():
    model = networks.flat()
    calls = []
    model.get_layer("first").call, call = (
        lambda x: (calls.append(1), call(x))[1],
        model.get_layer("first").call,
    )
    probe = Probe(model, networks.pictures(2), batch_size=2)
    probe(probe.inputs, [0, 1])
    probe(probe.inputs[:1], [0])
    assert len(calls) == 1  # traced, once for all


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0], "1 numbers for more variants"),
        ([0, 1, 0], "3 numbers for 2 variants"),
        ([0, 2], "0..1; got \\[0, 2\\]"),
        ([0, -1], "0..1"),
        ([0.0, 1.0], "whole numbers"),
        ([[0, 1]], "whole numbers"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(index, message):
    probe = Probe(networks.flat(), networks.pictures(2))
    with pytest.raises(ValueError, match=message):
        probe(probe.inputs, index)


def test_bad_input_is_one_clear_error():
    model, images = networks.flat(), networks.pictures(2)
    probe = Probe(model, images)
    with pytest.raises(ValueError, match="shape of the model's input \\(12, 12, 3\\); got"):
        probe(images[:, :-1], [0, 1])
    with pytest.raises(ValueError, match="must be finite"):
        probe(images * np.nan, [0, 1])
    with pytest.raises(ValueError, match="at least one image"):
        Probe(model, [])
    with pytest.raises(TypeError, match="must be a built Keras model"):
        Probe("model", images)
    with pytest.raises(ValueError, match="in 0..2"):
        Probe(model, images, [3, lambda outputs: outputs[:, 0]])
    with pytest.raises(ValueError, match="one by one"):
        Probe(model, images, tfcam.Top(2))
    with pytest.raises(ValueError, match="batch_size"):
        Probe(model, images, batch_size=0)
    inputs = keras.Input((5,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(9, 4)(inputs))
    text = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    with pytest.raises(ValueError, match="whole numbers, int32"):
        Probe(text, np.zeros((1, 5), np.int32))


def test_a_model_that_gives_nan_is_refused():
    model = networks.flat()
    weights, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([weights * np.nan, bias])
    with pytest.raises(ValueError, match="finite numbers; it gives NaN"):
        Probe(model, networks.pictures(2))


@pytest.mark.slow
def test_real_photos_have_the_probability_that_explain_reports(data, mobilenet):
    files = sorted((data / "images/imagenet").glob("*.JPEG"))[:3]
    results = tfcam.explain(mobilenet, files, method="cam")
    probe = Probe(mobilenet, files, batch_size=2)
    wanted = [each.probability for each in results]
    np.testing.assert_allclose(probe.probabilities, wanted, rtol=1e-4)


@pytest.mark.slow
def test_probes_of_one_model_share_what_is_compiled():
    model = networks.flat()
    first = Probe(model, networks.pictures(3), batch_size=4)
    second = Probe(model, networks.pictures(5)[::-1], [0, 1, 2, 0, 1], batch_size=4)
    assert first._asked(4) is second._asked(4)
    other = Probe(model, networks.pictures(3), lambda outputs: outputs[:, 0], batch_size=4)
    assert other._asked(4) is not first._asked(4)
    alone = Probe(networks.flat(), networks.pictures(5)[::-1], [0, 1, 2, 0, 1])
    np.testing.assert_allclose(second.probabilities, alone.probabilities, rtol=1e-6)
    reference = weakref.ref(model)
    del model, first, second, other
    gc.collect()
    assert reference() is None


def test_pixels_are_replaced_as_numpy_does_it(rng):
    """Full and cut batches; and what does not fit is refused."""
    probe = Probe(networks.flat(), networks.pictures(3), batch_size=4)
    others = rng.normal(0, 1, (2, *probe.inputs.shape[1:])).astype("f4")
    hidden = rng.random((9, *probe.inputs.shape[1:3])) < 0.3
    source, index = rng.integers(0, 2, 9), rng.integers(0, 3, 9)
    wanted = np.where(hidden[..., None], others[source], probe.inputs[index])
    found = probe(Replaced(iter(hidden), others, source), index)
    np.testing.assert_array_equal(found, probe(wanted, index))
    with pytest.raises(ValueError, match="9 numbers for 8 variants"):
        probe(Replaced(hidden[:8], others, source), index)
    with pytest.raises(ValueError, match="9 numbers for more variants"):
        probe(Replaced(itertools.chain(hidden, hidden), others, source), index)
    with pytest.raises(ValueError, match="must have the shape of the model's input"):
        probe(Replaced(hidden[:, 1:], others, source), index)
    with pytest.raises(ValueError, match="must be finite"):
        probe(Replaced(hidden, np.full_like(others, np.nan), source), index)


@pytest.mark.parametrize("freeze", [False, True])
def test_few_variants_cost_no_full_batch(freeze, monkeypatch):
    """As many as the probe has images are computed alone; those of a call all in one size."""
    probe = Probe(networks.flat(), networks.pictures(3), batch_size=8, freeze=freeze)
    asked, function = [], probe._asked
    monkeypatch.setattr(probe, "_asked", lambda size: asked.append(size) or function(size))
    variants = np.linspace(0, 1, 20, dtype="f4")[:, None, None, None] * probe.inputs[:1]
    wanted = [probe.model(each[None], training=False)[0, probe.targets[0]] for each in variants]
    for count, size in {3: 3, 2: 3, 4: 8, 8: 8, 11: 8, 20: 8}.items():
        found = probe(variants[:count], [0] * count)
        np.testing.assert_allclose(found, wanted[:count], atol=1e-6)
        assert asked.pop() == size


def test_a_frozen_probe_gives_the_same_and_never_what_the_model_was_before():
    model, images = networks.flat(), networks.pictures(3)
    plain, first = Probe(model, images), Probe(model, images, freeze=True)
    kept = first._asked(3)
    assert kept is not plain._asked(3)
    np.testing.assert_allclose(first.probabilities, plain.probabilities, atol=1e-6)
    changed = plain.inputs * 0.5
    np.testing.assert_allclose(first(changed, range(3)), plain(changed, range(3)), atol=1e-6)
    assert Probe(model, images, freeze=True)._asked(3) is kept  # once for all probes
    before = first(changed, range(3))
    model.set_weights([1.5 * weight for weight in model.get_weights()])
    after = Probe(model, images, freeze=True)
    np.testing.assert_allclose(
        after(changed, range(3)), Probe(model, images)(changed, range(3)), atol=1e-6
    )
    assert np.abs(after(changed, range(3)) - before).max() > 1e-3
    np.testing.assert_array_equal(first(changed, range(3)), before)
