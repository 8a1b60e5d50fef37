"""Words hidden in the order of a map."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tfcam.metrics import erase_words

VOCABULARY = ["bad", "good", "film", "a"]
WEIGHTS = np.array([0.0, 0.0, -3.0, 2.0, 0.5, 0.0])  # of padding, unknown, and the words


def additive(length=5):
    """The logit of class 1 is the sum of the words' weights, that of class 0 is 0."""
    read = layers.TextVectorization(vocabulary=VOCABULARY, output_sequence_length=length)
    strings = keras.Input((1,), dtype="string")
    embedding = layers.Embedding(6, 1)
    x = layers.GlobalAveragePooling1D()(embedding(read(strings)))
    model = keras.Model(strings, layers.Dense(2, use_bias=False, activation="softmax", name="h")(x))
    embedding.set_weights([WEIGHTS[:, np.newaxis]])
    model.get_layer("h").set_weights([np.array([[0.0, length]])])
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def test_the_numbers_by_hand():
    found = erase_words(additive(), ["a good film"], [[0.0, 2.0, 0.5]], 1, fractions=[0.1, 0.6])
    without = sigmoid([2.5, 0.5, 0.0, 0.0])  # less "good", less "film", less "a"
    alone = sigmoid([0.0, 2.0, 2.5, 2.5])
    assert found.targets.tolist() == [1]
    for name, wanted in {
        "probabilities": without[0],
        "deletion": (without[1:] + without[:-1]).mean() / 2,
        "insertion": (alone[1:] + alone[:-1]).mean() / 2,
        # A tenth of three words is one of them, six tenths are two.
        "comprehensiveness": without[0] - without[[1, 2]].mean(),
        "sufficiency": without[0] - alone[[1, 2]].mean(),
    }.items():
        assert getattr(found, name)[0] == pytest.approx(wanted, abs=1e-6), name


def test_the_right_order_is_best():
    model = additive()
    texts = ["a good film", "a bad bad film a", "good bad film", "film good"] * 3
    results = tfcam.explain(model, texts, target=1)
    best = erase_words(model, texts, results, 1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        drawn = [rng.permutation(len(found.words)) for found in results]
        other = erase_words(model, texts, drawn, 1)
        assert (best.deletion <= other.deletion + 1e-6).all()
        assert (best.insertion >= other.insertion - 1e-6).all()
        assert (best.comprehensiveness >= other.comprehensiveness - 1e-6).all()
        assert (best.sufficiency <= other.sufficiency + 1e-6).all()


def test_all_words_hidden_is_the_text_without_them():
    model = additive()
    predicted = erase_words(model, "bad film", [[1.0, 2.0]], batch_size=2)
    assert predicted.targets.tolist() == [0]
    assert predicted.probabilities[0] == pytest.approx(1 - sigmoid(-2.5), abs=1e-6)


def test_what_does_not_fit_is_told():
    model = additive()
    with pytest.raises(
        ValueError, match="each of the 3 words that the model sees of 'a good film'"
    ):
        erase_words(model, ["a good film"], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="a map for each of 2 texts; got 1"):
        erase_words(model, ["a good film", "bad"], [[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match=r"target must be in 0\.\.1; got 5"):
        erase_words(model, ["good"], [[1.0]], 5)
    with pytest.raises(ValueError, match="fractions must rise"):
        erase_words(model, ["good"], [[1.0]], fractions=[0.5, 0.2])
    with pytest.raises(ValueError, match="Words are hidden in strings"):
        erase_words(model, np.array([[2, 3, 0, 0, 0]]), [[1.0]])
