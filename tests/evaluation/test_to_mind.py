"""What is to be minded of pictures and layers is said of an evaluation as of an explanation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks

ASKED = {"methods": ["grad_cam"], "metrics": ["entropy"], "baselines": (), "progress": False}


class Shuffled(layers.Layer):
    """Moves rows as no crop or mirror does."""

    def call(self, x):
        return tf.gather(x, tf.constant([7, 2, 9, 0, 4, 11, 1, 8, 3, 10, 6, 5]), axis=1)


def network(*steps):
    inputs = x = keras.Input((12, 12, 3))
    for step in steps:
        x = step(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return networks.seeded(keras.Model(inputs, layers.Dense(3, activation="softmax")(x)))


def codes(result):
    return dict(zip(result.findings["code"], result.findings["pictures"], strict=True))


@pytest.mark.slow
def test_what_an_explanation_says_is_counted(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3)).astype("float32")
    model = network(Shuffled())
    said = tfcam.explain(model, pixels[0], "conv").findings
    assert [one.code for one in said] == ["pixels_as_prepared", "place_unknown"]
    found = tfcam.evaluate(model, pixels, layer="conv", batch_size=2, **ASKED)
    assert codes(found) == {"pixels_as_prepared": 5, "place_unknown": 5}
    assert found.findings["message"][1] == said[1].message
    for told in (repr(found), found._repr_html_(), found.to_html(tmp_path / "a.html").read_text()):
        assert "pixels_as_prepared" in told
        assert "place_unknown" in told
    asked = {"methods": ["grad_cam", "layer_cam"], "layers": ["conv"], "metrics": ["entropy"]}
    choice = tfcam.recommend(model, pixels, progress=False, **asked)
    for told in (repr(choice), choice._repr_html_()):
        assert "finding on 5 of 5 pictures: place_unknown: Where in the picture" in told


@pytest.mark.slow
def test_only_the_pictures_that_it_is_true_of_are_counted(tmp_path):
    """Prepared twice, of 12 bits in a file of 16; and a run that was stopped remembers."""
    model = network(layers.Rescaling(1 / 255))
    given = list(np.random.default_rng(1).integers(0, 256, (3, 12, 12, 3)).astype("float32"))
    given[1] /= 255
    assert codes(tfcam.evaluate(model, given, preprocess=None, **ASKED)) == {"input_range": 1}
    dark = [(each // 20).astype("uint8") for each in given]
    for _ in range(2):  # the second time all of it is read from the folder
        found = tfcam.evaluate(model, dark, to=tmp_path / "run", batch_size=2, **ASKED)
        assert codes(found) == {"nearly_black": 2}  # one is of one colour
    bright = [each.astype("uint8") for each in (given[0], given[2])]
    assert not codes(tfcam.evaluate(model, bright, **ASKED))


@pytest.mark.slow
def test_a_number_and_a_probability_are_named():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Flatten()(x)
    number = networks.seeded(keras.Model(inputs, layers.Dense(1)(x)))
    several = [layers.Dense(3, activation="softmax")(x) for _ in range(2)]
    mean = networks.seeded(keras.Model(inputs, layers.Average()(several)))
    pictures = np.random.default_rng(2).integers(0, 256, (2, 12, 12, 3)).astype("uint8")
    assert codes(tfcam.evaluate(number, pictures, **ASKED)) == {"one_number": 2}
    assert codes(tfcam.evaluate(number, pictures, target=1, **ASKED)) == {"one_logit": 2}
    assert codes(tfcam.evaluate(mean, pictures, **ASKED)) == {"probability_explained": 2}


def test_empty_maps_are_counted_in_words():
    model = network(layers.Rescaling(1 / 255))
    head = model.layers[-1]
    head.set_weights([-np.abs(head.get_weights()[0]), head.get_weights()[1]])
    pictures = np.random.default_rng(3).integers(0, 256, (2, 12, 12, 3)).astype("uint8")
    found = tfcam.evaluate(model, pictures, target=1, **ASKED)
    assert "\nempty maps of grad_cam at conv: 2 of 2\n" in repr(found)
