"""Numbers that are no word of a model, and functions of texts that fail: one clear error each."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks

GOOD, BAD = np.array([1, 2, 3, 4, 5, 0]), np.array([1, 2, 3, 25, 5, 0])
BEYOND = r"must be in 0..19, those of the embeddings of 'table'; \[1, 2, 3, 25, 5, 0\] holds 25"


def network(table=None):
    table = table or layers.Embedding(20, 8, name="table")
    start = keras.Input((6,), dtype="int32")
    x = layers.Conv1D(8, 3, padding="same", activation="relu", name="seen")(table(start))
    x = layers.GlobalAveragePooling1D()(x)
    return networks.seeded(keras.Model(start, layers.Dense(2, activation="softmax")(x)))


@pytest.fixture(scope="module")
def model():
    return network()


def lengths(strings):
    """The number of a word is how many letters it has."""
    rows = [[len(word) for word in string.split()][:6] for string in strings]
    return np.array([row + [0] * (6 - len(row)) for row in rows])


def of_one(string):
    return lengths([string.strip()])


def without_z(strings):
    for string in strings:
        if "z" in string:
            raise KeyError("z")
    return lengths(strings)


DOORS = {
    "explain": tfcam.explain,
    "a batch": lambda model, text, **options: tfcam.explain(model, [text, text], **options),
    "compare": lambda model, text, **options: tfcam.compare(
        model, text, methods=["gradient_input"], **options
    ),
    "diagnose": tfcam.diagnose,
    "report": tfcam.report,
    "evaluate": lambda model, text, **options: tfcam.evaluate(
        model, [text], methods=["gradient_input"], **options
    ),
}


@pytest.mark.parametrize("door", [name for name in DOORS if name != "evaluate"])
def test_numbers_beyond_the_table_are_refused_at_every_door(model, door):
    with pytest.raises(ValueError, match=BEYOND):
        DOORS[door](model, BAD)


def test_numbers_below_the_table_and_beside_good_ones_are_refused(model):
    with pytest.raises(ValueError, match=r"\[-1, -2, -3, -4, -5, 0\] holds -1\."):
        tfcam.explain(model, -GOOD)
    with pytest.raises(ValueError, match=BEYOND):
        tfcam.Explainer(model, batch_size=1)([GOOD, BAD, GOOD])
    assert tfcam.explain(model, np.full(6, 19)).words == ("19",) * 6


def test_a_table_with_code_of_its_own_takes_what_it_takes():
    class Clipped(layers.Embedding):
        def call(self, inputs):
            return super().call(keras.ops.clip(inputs, 0, 19))

    own = network(Clipped(20, 8, name="table"))
    found = tfcam.explain(own, BAD, target=1)
    np.testing.assert_allclose(found.raw, tfcam.explain(own, np.minimum(BAD, 19), target=1).raw)


@pytest.mark.parametrize("door", DOORS)
def test_texts_beyond_the_table_are_named_at_every_door(model, door):
    text = f"a {'b' * 31} c"
    with pytest.raises(ValueError, match=f"{re.escape(repr(text))} gives 31"):
        DOORS[door](model, text, preprocess=lengths)


@pytest.mark.parametrize("door", DOORS)
def test_a_function_of_one_text_is_told_that_it_gets_a_list(model, door):
    said = r"must take a list of texts, .*; of_one ended with AttributeError: 'list' object has"
    with pytest.raises(ValueError, match=said) as error:
        DOORS[door](model, "a bb ccc", preprocess=of_one)
    assert isinstance(error.value.__cause__, AttributeError)


def test_the_text_that_a_function_fails_on_is_named(model):
    with pytest.raises(ValueError, match="without_z of 'zz z' ended with KeyError: 'z'"):
        tfcam.explain(model, ["a bb", "zz z", "c"], preprocess=without_z)


def test_a_stream_leaves_out_such_texts_with_the_reason(model, tmp_path):
    texts = ["a bb", "zz c", "d" * 31, "ee f"]
    store = tfcam.stream(model, texts, to=tmp_path, preprocess=without_z)
    assert list(store.table["key"]) == ["000000", "000003"]
    first, second = store.skipped["reason"]
    assert "KeyError: 'z'" in first
    assert "gives 31" in second
