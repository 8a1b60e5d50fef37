"""The tag of a word: numbers by hand, words that are found, and what is told where they are not."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tfcam.targets import Tag

WORDS = ["in", "paris", "bob", "met"]
VALUES = np.array([0.0, 0.0, 2.0, 3.0, 5.0, 7.0])  # of padding, unknown, and the words
# What the word before, the word itself and the word after give each tag.
KERNEL = np.array([[0.5, 2.0, 0.0], [1.0, -1.0, 0.25], [0.0, 0.5, -2.0]])
TEXT, LABELS = "Bob met Bob in Paris", ["O", "PER", "LOC"]


def tagger(activation=None, length=7):
    """Of each word the scores of three tags, by the words around it."""
    read = layers.TextVectorization(vocabulary=WORDS, output_sequence_length=length)
    strings = keras.Input((1,), dtype="string")
    embedding = layers.Embedding(6, 1)
    tags = layers.Conv1D(3, 3, padding="same", activation=activation)
    model = keras.Model(strings, tags(embedding(read(strings))))
    embedding.set_weights([VALUES[:, np.newaxis]])
    tags.set_weights([KERNEL[:, np.newaxis], np.zeros(3)])
    return model


@pytest.mark.thinned(1)
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_tag_is_explained_by_the_words_around(activation):
    """The scores are sums: each word gives its value times what the kernel has at its place."""
    model = tagger(activation)
    for method in ("integrated_gradients", "gradient_input", "occlusion"):
        found = tfcam.explain(model, TEXT, target=Tag("Paris", "LOC"), labels=LABELS, method=method)
        assert found.label == "LOC of 'Paris'"
        wanted = [0, 0, 0, 2 * KERNEL[0, 2], 3 * KERNEL[1, 2]]
        np.testing.assert_allclose(found.raw, wanted, atol=1e-4, err_msg=method)
        assert found.score == pytest.approx(0.75)
    # The second "Bob", of which "met" says most, is tagged as a person.
    found = tfcam.explain(model, TEXT, target=Tag(2), labels=LABELS)
    assert found.label == "PER of 'Bob'"
    np.testing.assert_allclose(found.raw, [0, 7 * 2.0, 5 * -1.0, 2 * 0.5, 0], atol=1e-4)
    assert tfcam.explain(model, TEXT, target=Tag(-3), labels=LABELS) == found


@pytest.mark.slow
def test_each_text_has_its_own_place():
    model, texts = tagger(), [TEXT, "Paris met Bob", "in Paris"]
    found = tfcam.explain(model, texts, target=Tag(-1), labels=LABELS)
    assert [each.label for each in found] == ["O of 'Paris'", "PER of 'Bob'", "O of 'Paris'"]
    for text, own in zip(texts, found, strict=True):
        alone = tfcam.explain(model, text, target=Tag(-1), labels=LABELS)
        np.testing.assert_allclose(own.raw, alone.raw, atol=1e-6)
    several = tfcam.explain(model, texts[:2], target=[Tag(0, 1), Tag(-1, 2)])
    assert [each.label for each in several] == ["class 1 of 'Bob'", "class 2 of 'Bob'"]
    np.testing.assert_allclose(several[1].raw, [0, 0, 5 * 0.25], atol=1e-4)
    table = tfcam.compare(model, TEXT, methods=["occlusion"], targets=[Tag(4), Tag(0)])
    assert [each.label for each in table] == ["class 0 of 'Paris'", "class 0 of 'Bob'"]
    assert tfcam.diagnose(model, TEXT, target=Tag(4, 2)).facts["explained"].endswith(", 0.75")
    numbers = keras.Sequential([keras.Input((3,), dtype="int64"), *model.layers[2:]])
    np.testing.assert_allclose(
        tfcam.explain(numbers, [3, 5, 4], target=Tag(2, 2)).raw, [0, 0, 1.25]
    )


def test_the_first_piece_of_a_word_is_tagged():
    """Behind a token in front, words of a piece for each letter."""
    pieces = {"o": 1, "k": 2, "n": 3}

    def read(texts):
        rows = [[9, *(pieces[letter] for letter in text.replace(" ", ""))] for text in texts]
        return np.array([row[:6] + [0] * (6 - len(row)) for row in rows])

    inputs = keras.Input((6,), dtype="int64")
    embedding = layers.Embedding(10, 3)
    model = keras.Model(inputs, embedding(inputs))  # the tags of a piece are its own alone
    embedding.set_weights([np.arange(30.0).reshape(10, 3)])
    found = tfcam.explain(model, "no ok", target=Tag("ok", 1), preprocess=read, method="occlusion")
    np.testing.assert_allclose(found.raw, [0, 4 - 1])  # "o", whose row is 3, 4, 5, for 0, 1, 2


def test_one_tag_alone_tells_two_apart():
    outputs = tf.constant([[[3.0], [-2.0]]])
    assert Tag(0, 1, place=(1, 2))(outputs).numpy() == [-2]
    assert Tag(0, 0, place=(1, 2))(outputs).numpy() == [2]
    chances = tf.constant([[[0.75], [0.25]]])
    assert Tag(0, 0, place=(1, 2))(chances).numpy() == [0.75]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, r"returns \(1, 7, 3\).*of a network that tags words tfcam.Tag\(word\)"),
        (Tag(5), r"must be in 0..4, of 'Bob', 'met', 'Bob', 'in', 'Paris'; got 5"),
        (Tag("Rome"), "must be one of 'Bob', 'met'.*; got 'Rome'"),
        (Tag("Bob"), "got 'Bob', and it is there at 0, 2: give one of these"),
        (Tag(0, 3), "must be in 0..2: 3 classes; got 3"),
        (Tag(0, "X"), "No class is labelled 'X'"),
    ],
)
def test_what_does_not_fit_is_told(target, words):
    with pytest.raises(ValueError, match=words):
        tfcam.explain(tagger(), TEXT, target=target, labels=LABELS)


def test_what_is_no_tagger_is_told(tmp_path):
    with pytest.raises(TypeError, match=r"must be its index or the word itself; got 1\.5"):
        Tag(1.5)
    model = tagger()
    halved = keras.Model(model.input, layers.AveragePooling1D(2)(model.output))
    with pytest.raises(ValueError, match=r"each of the 7 positions .* returns \(1, 3, 3\)"):
        tfcam.explain(halved, TEXT, target=Tag(0))
    with pytest.raises(ValueError, match="the tag of word 0 is asked of one text"):
        tfcam.stream(model, [TEXT], to=tmp_path, target=Tag(0))
    with pytest.raises(ValueError, match=r"Tag needs outputs \(B, L, tags\)"):
        tfcam.explain(tfcam.demo_model(), tfcam.scenes.draw_scene(1).image, target=Tag(0))
