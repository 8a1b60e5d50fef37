"""``Similarity`` with another text: embedded by the model that is explained."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.model.test_strings import TEXTS, vectorization
from tests.networks import seeded


def embedding(strings=True):
    """A network that embeds sentences, (B, 5)."""
    read = vectorization(output_sequence_length=12)
    given = keras.Input((1,), dtype="string") if strings else keras.Input((12,), dtype="int64")
    x = layers.Embedding(40, 6)(read(given) if strings else given)
    x = layers.Conv1D(5, 3, padding="same", activation="relu")(x)
    return seeded(keras.Model(given, layers.GlobalAveragePooling1D()(x))), read


@pytest.mark.slow
def test_a_text_is_compared_with_another():
    """At each door the same as with the embedding that ``predict`` gives; at itself 1."""
    model, _ = embedding()
    vectors = model.predict(tf.constant(TEXTS)[:, tf.newaxis], verbose=0)
    named, given = tfcam.Similarity(TEXTS[1]), tfcam.Similarity(vectors[1])
    found = tfcam.explain(model, TEXTS[2], target=named)
    wanted = tfcam.explain(model, TEXTS[2], target=given)
    cosine = vectors[1] @ vectors[2] / np.prod(np.linalg.norm(vectors[1:], axis=1))
    assert found.score == pytest.approx(cosine, abs=1e-5)
    np.testing.assert_allclose(found.raw, wanted.raw, atol=1e-6)
    assert (found.label, found.score_kind) == (wanted.label, "callable")
    assert tfcam.explain(model, TEXTS[1], target=named).score == pytest.approx(1, abs=1e-5)
    each = tfcam.explain(model, TEXTS, target=[tfcam.Similarity(text) for text in TEXTS[::-1]])
    assert each[1].score == pytest.approx(1, abs=1e-5)
    assert each[0].score == pytest.approx(each[2].score, abs=1e-5)
    compared = tfcam.compare(model, TEXTS[2], methods=["occlusion"], targets=[named, given])
    np.testing.assert_allclose(compared[0, 0].raw, compared[0, 1].raw, atol=1e-6)
    facts = tfcam.diagnose(model, TEXTS[2], target=named).facts
    assert facts["explained"] == f"similarity, {found.score:.6g}"


def test_strings_are_read_by_the_function_that_reads_the_explained_one():
    net, read = embedding(strings=False)
    options = {"preprocess": lambda texts: read(tf.constant([" ".join(each) for each in texts]))}
    other = ("a bad film,", "not good!")
    vector = net.predict(read(tf.constant([TEXTS[1]])), verbose=0)
    text = ("what a lovely", "state-of-the-art film")
    found = tfcam.explain(net, text, target=tfcam.Similarity(other), **options)
    wanted = tfcam.explain(net, text, target=tfcam.Similarity(vector), **options)
    np.testing.assert_allclose(found.raw, wanted.raw, atol=1e-6)
    with pytest.raises(ValueError, match=r"is for models of strings; 'functional\w*' takes none"):
        tfcam.explain(net, np.ones(12, int), target=tfcam.Similarity("a film"))


def test_of_pictures_and_outside_of_explain_a_text_is_refused():
    with pytest.raises(ValueError, match=r"is for models of strings; 'shapes' takes none"):
        tfcam.explain(
            tfcam.demo_model(), tfcam.scenes.draw_scene(1).image, target=tfcam.Similarity("a")
        )
    with pytest.raises(ValueError, match="The reference 'a film' must be embedded first"):
        tfcam.Similarity("a film")(np.ones((1, 5), np.float32))
