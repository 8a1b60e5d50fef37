"""Bags of words: each word left out, by hand."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.networks import seeded

WORDS = ["the", "a", "paris", "bob", "lives", "in", "met"]
TEXT = "Bob met bob, in rome the"
BAGS = {
    "multi_hot": {"output_mode": "multi_hot"},
    "padded": {"output_mode": "multi_hot", "pad_to_max_tokens": True, "max_tokens": 20},
    "count": {"output_mode": "count"},
    "tf_idf": {"output_mode": "tf_idf", "idf_weights": np.linspace(0.2, 1.4, 7)},
}


def counting(**options):
    """A small network on a bag of words."""
    strings = keras.Input((1,), dtype="string")
    x = layers.TextVectorization(vocabulary=WORDS, **options)(strings)
    x = layers.Dense(4, activation="tanh")(x)
    return seeded(keras.Model(strings, layers.Dense(2)(x)))


@pytest.mark.parametrize("kind", BAGS)
def test_a_word_is_worth_what_the_score_falls_without_it(kind):
    model = counting(**BAGS[kind])

    def score(words):
        return float(model(tf.constant([[" ".join(words)]]))[0, 1])

    found = tfcam.explain(model, TEXT, target=1)
    words = TEXT.replace(",", "").split()
    assert (found.words, found.method) == (tuple(TEXT.split()), "occlusion")
    assert found.score == pytest.approx(score(words), abs=1e-5)
    falls = [score(words) - score(words[:n] + words[n + 1 :]) for n in range(len(words))]
    np.testing.assert_allclose(found.raw, falls, atol=1e-5)
    if kind == "multi_hot":
        assert found.raw[0] == found.raw[2] == 0  # the other "bob" is still there
    shared = tfcam.explain(model, TEXT, target=1, method="kernel_shap")
    np.testing.assert_allclose(shared.raw.sum(), score(words) - score([]), atol=1e-4)


def test_pairs_of_words_are_told_as_such():
    model = counting(output_mode="count", ngrams=2)
    found = tfcam.explain(model, "bob met", target=1)
    assert found.words == ("bob", "met", "[UNK]")
    assert [each.code for each in found.findings if each.code == "words_unknown"]


@pytest.mark.slow
def test_the_doors_take_what_hides_words(tmp_path):
    model, texts = counting(output_mode="count"), [("bob met paris", 1), ("the a in", 0)]
    result = tfcam.evaluate(model, texts, baselines=[], metrics=["deletion"])
    assert set(result.table.method) == {"occlusion", "kernel_shap", "lime"}
    table = tfcam.compare(model, texts[0][0])
    assert (table.rows, table.columns) == (("occlusion", "kernel_shap", "lime"), ("words",))
    assert tfcam.diagnose(model, texts[0][0]).facts["layer"].startswith("none")
    found = tfcam.explain(model, texts[0][0])
    np.testing.assert_allclose(
        tfcam.Explainer(model, freeze=True)(texts[0][0]).raw, found.raw, atol=1e-6
    )
    for method in ("integrated_gradients", "gradient_input"):
        with pytest.raises(
            ValueError, match=f"'{method}' .* has none for them. .* occlusion, kernel"
        ):
            tfcam.explain(model, TEXT, method=method)
    with pytest.raises(ValueError, match="must not be ragged or sparse; .* has sparse=True"):
        tfcam.explain(counting(output_mode="count", sparse=True), TEXT)


def test_a_frozen_network_of_strings_prints_nothing(monkeypatch):
    """TensorFlow can't write down what filled a table, and would say so."""
    said, handler = [], logging.Handler()
    monkeypatch.setattr(handler, "emit", said.append)
    logger = tf.get_logger()
    logger.addHandler(handler)
    try:
        tfcam.Explainer(counting(output_mode="count"), freeze=True)(TEXT)
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in said] == []
