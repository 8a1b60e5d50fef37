"""The words of texts as they are written, and the numbers that each of them is made into."""

import itertools
import re
import string

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfcam.preprocessing.text_readers import TextReader
from tfcam.preprocessing.texts import read_texts


def words_of(text, layer, learnt=None):
    """What a layer makes of a text: each word with the vocabulary's names of its numbers."""
    layer.adapt([learnt or text])
    names = layer.get_vocabulary()
    reader = TextReader(
        lambda texts: [np.asarray(layer(tf.constant(list(texts))))],
        0,
        lambda number: names[number],
        whole=True,
        blanks=frozenset([0]),
    )
    ((read,), _) = read_texts(reader, [text])
    assert [read.text[start:end] for start, end in read.spans] == list(read.words)
    found = [[names[n] for n in read.numbers[read.owners == w]] for w in range(len(read.words))]
    return list(zip(read.words, found, strict=True)), read.cut


def plain(text):
    """As the guide to texts in Keras has it: no line breaks of HTML, no punctuation."""
    text = tf.strings.regex_replace(tf.strings.lower(text), "<br />", " ")
    return tf.strings.regex_replace(text, f"[{re.escape(string.punctuation)}]", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("यह अच्छी फिल्म है", ["यह", "अच्छी", "फिल्म", "है"]),
        ("cafe\u0301 nai\u0308ve", ["cafe\u0301", "nai\u0308ve"]),
        ("فيلم جَيِّد", ["فيلم", "جَيِّد"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("นี้ดี", ["นี้", "ดี"]),
        ("𠮷野", ["𠮷", "野"]),
        ("か\u3099 x", ["か\u3099", "x"]),
    ],
)
def test_marks_belong_to_the_letters_before_them(text, words):
    found, _ = words_of(text, layers.TextVectorization(split="character", standardize=None))
    assert [word for word, _ in found] == words
    assert "".join("".join(letters) for _, letters in found) == text


def test_what_is_taken_out_parts_words():
    text = "A good film.<br /><br />The plot (by me) is bad, 3<br />stars<br />"
    found, cut = words_of(text, layers.TextVectorization(standardize=plain))
    assert found == [
        ("A", ["a"]),
        ("good", ["good"]),
        ("film", ["film"]),
        ("The", ["the"]),
        ("plot", ["plot"]),
        ("(by", ["by"]),
        ("me)", ["me"]),
        ("is", ["is"]),
        ("bad,", ["bad"]),
        ("3", ["3"]),
        ("stars", ["stars"]),
    ]
    assert cut == 0


@pytest.mark.parametrize("text", ["这部电影 is <b>&amp; out-of-date", "good x这部"])
def test_words_that_are_not_known_are_whole(text):
    layer = layers.TextVectorization()
    found, cut = words_of(text, layer, learnt="film")
    assert found == [(word, ["[UNK]"]) for word in text.split()]
    assert cut == 0


def test_words_that_become_one_number_are_one():
    layer = layers.TextVectorization(
        standardize=lambda text: tf.strings.regex_replace(text, "New York", "New_York")
    )
    found, _ = words_of("to New York by\u00a0train", layer)
    assert found == [
        ("to", ["to"]),
        ("New York", ["New_York"]),
        ("by\u00a0train", ["by\u00a0train"]),
    ]


@pytest.mark.parametrize(
    "function",
    [
        lambda words: words[::-1],
        lambda words: [*words, *map(" ".join, itertools.pairwise(words))],
    ],
)
def test_words_that_change_with_what_follows_are_not_told(function):
    def encode(texts):
        rows = [[1 + hash(word) % 1000 for word in function(text.split())] for text in texts]
        return [np.array([row + [0] * (12 - len(row)) for row in rows])]

    reader = TextReader(encode, 0, str, whole=True, blanks=frozenset([0]))
    ((read,), _) = read_texts(reader, ["a very good film"])
    assert read.spans == ()
    assert len(read.words) == len(function(["a", "very", "good", "film"]))


def test_the_end_of_a_text_with_punctuation():
    """Of a function that parts words at spaces and keeps the last ones, as of IMDB in Keras."""

    def encode(texts):
        rows = [[1 + hash(word) % 1000 for word in text.split()] for text in texts]
        return [np.array([([0] * 3 + row)[-3:] for row in rows])]

    reader = TextReader(encode, 0, str, whole=True, blanks=frozenset([0]))
    ((read,), _) = read_texts(reader, ["A film, as I said, by him."])
    assert (read.words, read.cut) == (("said,", "by", "him."), 4)
    assert read.spans == ((13, 18), (19, 21), (22, 26))


def test_a_word_that_is_not_known_is_one():
    """Also where a function makes a word of an empty text, of which nothing is left to split."""
    known = {"a": 2, "lovely": 3, "film": 4}

    def encode(texts):
        rows = [[known.get(word, 1) for word in text.split(" ")] for text in texts]
        return [np.array([(row + [0] * 6)[:6] for row in rows])]

    reader = TextReader(encode, 0, str, whole=True)
    ((read,), _) = read_texts(reader, ["What a lovely film tonight"])
    assert read.words == ("What", "a", "lovely", "film", "tonight")
    assert read.owners.tolist() == [0, 1, 2, 3, 4, -1]
