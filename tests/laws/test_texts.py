"""Sentences with one word that decides: which methods find it, and "not" in front of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam

OTHERS = [
    "the",
    "a",
    "film",
    "story",
    "actor",
    "plot",
    "scene",
    "was",
    "is",
    "with",
    "and",
    "of",
    "very",
    "this",
    "that",
    "music",
    "camera",
    "evening",
]
GOOD, BAD = ("wonderful", "brilliant", "lovely"), ("awful", "boring", "dreadful")


def sentences(count, seed):
    """Texts, their classes, and the places of the words that decide."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        words = list(rng.choice(OTHERS, rng.integers(5, 10)))
        good, negated, place = rng.random() < 0.5, rng.random() < 0.3, rng.integers(len(words) + 1)
        planted = ["not"] * negated + [rng.choice(GOOD if good else BAD)]
        words[place:place] = planted
        places = set(range(place, place + len(planted)))
        found.append((" ".join(words), int(good != negated), places))
    texts, labels, places = zip(*found, strict=True)
    return list(texts), np.array(labels), places


def trained(read, *middle):
    """A model of strings, around a network that is trained on what the layer makes of them."""
    texts, labels, _ = sentences(2000, 0)
    read.adapt(texts)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((read.get_config()["output_sequence_length"],), dtype="int64")
    x = layers.Embedding(read.vocabulary_size(), 16, mask_zero=len(middle) == 1)(inputs)
    for layer in middle:
        x = layer(x)
    network = keras.Model(inputs, layers.Dense(2)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(4e-3), loss)
    network.fit(read(tf.constant(texts)), labels, batch_size=32, epochs=6, verbose=0)
    strings = keras.Input((1,), dtype="string")
    return keras.Model(strings, network(read(strings)))


def convolutional():
    convolution = layers.Conv1D(32, 3, padding="same", activation="relu")
    read = layers.TextVectorization(output_sequence_length=14)
    return trained(read, convolution, layers.GlobalMaxPooling1D())


def recurrent():
    return trained(layers.TextVectorization(output_sequence_length=14), layers.GRU(24))


METHODS = {
    "convolutional": ("integrated_gradients", "occlusion", "lrp", "gradient_input"),
    "recurrent": ("integrated_gradients", "occlusion"),
}


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("kind", METHODS)
def test_the_word_that_decides_is_found(kind):
    model = {"convolutional": convolutional, "recurrent": recurrent}[kind]()
    texts, labels, places = sentences(200, 1)
    outputs = model.predict(tf.constant(texts)[:, tf.newaxis], verbose=0)
    assert (outputs.argmax(1) == labels).mean() >= 0.97
    negated = np.array([len(each) == 2 for each in places])
    for method in METHODS[kind]:
        results = tfcam.explain(model, texts, method=method)
        strongest = [
            int(np.abs(found.raw).argmax()) == max(p)
            for found, p in zip(results, places, strict=True)
        ]
        assert np.mean(np.array(strongest)[~negated]) >= 0.95, method
        largest = [set(np.abs(found.raw).argsort()[-2:].tolist()) for found in results]
        both = np.array([two == p for two, p in zip(largest, places, strict=True)])
        assert both[negated].mean() >= (0.9 if method == "occlusion" else 0.7), method
    default = tfcam.explain(model, texts[0])
    assert default.method == "integrated_gradients"
    fine = tfcam.explain(model, texts, method="integrated_gradients", steps=64)
    errors = [abs(found.measured["completeness_error"]) for found in fine]
    assert max(errors) <= 0.02 * np.median([abs(found.score) for found in fine])
