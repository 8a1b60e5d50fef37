"""Which layer turns which strings into numbers: several inputs, values, what is changed before."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.networks import seeded

WORDS = ["the", "a", "paris", "bob", "lives", "in", "met"]
GIVEN = {"premise": "Bob met Paris!", "hypothesis": "paris lives"}


def read(**options):
    return layers.TextVectorization(vocabulary=WORDS, **{"output_sequence_length": 8} | options)


def two(shared):
    """A premise and a hypothesis, each with a layer of its own, or both with one."""
    first = read()
    second = first if shared else read(output_sequence_length=6)
    premise, hypothesis = (keras.Input((1,), dtype="string", name=name) for name in GIVEN)
    table = layers.Embedding(9, 4, name="table")
    pooled = [
        layers.GlobalAveragePooling1D()(table(x)) for x in (first(premise), second(hypothesis))
    ]
    x = layers.Dense(8, activation="tanh", name="both")(layers.Concatenate()(pooled))
    inputs = {"premise": premise, "hypothesis": hypothesis}
    return seeded(keras.Model(inputs, layers.Dense(2, name="head")(x)))


def scores(model, premise, hypothesis):
    """By NumPy, of numbers (n, L) each."""
    table = model.get_layer("table").embeddings.numpy()
    pooled = np.concatenate([table[np.array(x)].mean(1) for x in (premise, hypothesis)], 1)
    both, head = model.get_layer("both"), model.get_layer("head")
    hidden = np.tanh(pooled @ both.kernel.numpy() + both.bias.numpy())
    return hidden @ head.kernel.numpy() + head.bias.numpy()


@pytest.mark.thinned(1)
@pytest.mark.parametrize("shared", [False, True])
def test_each_of_two_texts_is_explained(shared):
    model, length = two(shared), 8 if shared else 6
    numbers = {"premise": [5, 8, 4, 0, 0, 0, 0, 0], "hypothesis": [4, 6, *[0] * (length - 2)]}
    whole = scores(model, *([each] for each in numbers.values()))[0, 1]
    for name, words in [("premise", ("Bob", "met", "Paris")), ("hypothesis", ("paris", "lives"))]:
        found = tfcam.explain(model, GIVEN, input=name, target=1, method="occlusion")
        assert found.words == words
        assert found.score == pytest.approx(whole, abs=1e-6)
        for place, fall in enumerate(found.raw):
            hidden = {
                **numbers,
                name: [0 if n == place else v for n, v in enumerate(numbers[name])],
            }
            without = scores(model, *([each] for each in hidden.values()))[0, 1]
            assert fall == pytest.approx(whole - without, abs=1e-6)
    batch = {"premise": [GIVEN["premise"], "the a"], "hypothesis": [GIVEN["hypothesis"], "bob"]}
    results = tfcam.explain(model, batch, input="premise", target=1)
    alone = tfcam.explain(
        model, {"premise": "the a", "hypothesis": "bob"}, input="premise", target=1
    )
    assert [each.words for each in results] == [("Bob", "met", "Paris"), ("the", "a")]
    np.testing.assert_allclose(results[1].raw, alone.raw, atol=1e-6)
    for one in results:
        assert abs(one.measured["completeness_error"]) < 0.05 * abs(one.score)


def test_strings_that_the_model_changes_are_read_as_it_does():
    """Lower case and another name for a town, in code of the model's own."""

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.read = read(standardize=None)
            self.net = keras.Sequential([layers.Embedding(9, 4), layers.Flatten(), layers.Dense(2)])

        def call(self, texts):
            return self.net(
                self.read(tf.strings.regex_replace(tf.strings.lower(texts), "rome", "paris"))
            )

    model, text = Own(), "Bob MET Rome"
    model(tf.constant([text]))
    seeded(model)
    own = model(tf.constant([text])).numpy()[0]
    found = tfcam.explain(model, text, target=1, method="occlusion")
    assert found.score == pytest.approx(own[1], abs=1e-6)
    for place in range(3):
        numbers = np.array([[5, 8, 4, 0, 0, 0, 0, 0]])
        numbers[0, place] = 0
        assert found.raw[place] == pytest.approx(own[1] - float(model.net(numbers)[0, 1]), abs=1e-6)


def test_values_beside_a_text_and_numbers():
    """A text, a category that is hashed, one that is looked up, and a table of numbers."""
    names = {"text": "string", "country": "string", "kind": "string", "table": "float32"}
    inputs = {
        n: keras.Input((3,) if n == "table" else (1,), dtype=d, name=n) for n, d in names.items()
    }
    x = layers.GlobalAveragePooling1D()(layers.Embedding(9, 4)(read()(inputs["text"])))
    hashed = layers.Hashing(12)(inputs["country"])
    kind = layers.StringLookup(vocabulary=["film", "book"])(inputs["kind"])
    parts = [layers.Flatten()(layers.Embedding(12, 4)(one)) for one in (hashed, kind)]
    model = seeded(
        keras.Model(inputs, layers.Dense(2)(layers.Concatenate()([x, *parts, inputs["table"]])))
    )
    given = {"text": "bob met", "country": "france", "kind": "book", "table": [1.0, 2.0, 3.0]}

    def score(**changed):
        return model(
            {
                n: tf.constant([[v]] if n != "table" else [v])
                for n, v in {**given, **changed}.items()
            }
        )[0, 1]

    whole = float(score())
    for name in ("country", "kind"):
        found = tfcam.explain(model, given, input=name, target=1, method="occlusion")
        assert found.words == (given[name],)
        assert found.score == pytest.approx(whole, abs=1e-6)
        assert found.raw[0] == pytest.approx(whole - float(score(**{name: ""})), abs=1e-6)
    found = tfcam.explain(model, given, input="text", target=1)
    assert (found.words, found.method) == (("bob", "met"), "integrated_gradients")


def on(*shapes, make):
    """A model of strings that are turned into numbers as ``make`` does."""
    inputs = [keras.Input(shape, dtype="string", name=f"s{n}") for n, shape in enumerate(shapes)]
    x = make(*inputs)
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0], layers.Dense(2)(layers.Flatten()(x))
    )


def joined(*strings):
    both = layers.Lambda(lambda z: tf.strings.join(z, " "), output_shape=(1,), dtype="string")
    return layers.Embedding(9, 2)(read()(both(strings)))


REFUSED = {
    "joined": ([(1,), (1,)], joined, "takes several of them, joined"),
    "twice": (
        [(1,)],
        lambda s: layers.Concatenate()([layers.Embedding(9, 2)(read()(s)) for _ in "ab"]),
        "behind 's0' of .* there is 'text_vector.*', 'text_vector",
    ),
    "one by one": (
        [(6,)],
        lambda s: layers.Embedding(9, 2)(layers.StringLookup(vocabulary=WORDS)(s)),
        r"takes words one by one, \(B, 6\).*explain\(network, numbers, words=",
    ),
    "one-hot": (
        [(1,)],
        lambda s: layers.StringLookup(vocabulary=WORDS, output_mode="one_hot")(s),
        "has output_mode='one_hot'",
    ),
    "no unknown": (
        [(1,)],
        lambda s: layers.Embedding(9, 2)(
            layers.StringLookup(vocabulary=WORDS, num_oov_indices=0)(s)
        ),
        "Build it with num_oov_indices=1",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_can_not_be_told_apart_is_refused(kind):
    shapes, make, words = REFUSED[kind]
    with pytest.raises(ValueError, match=words):
        tfcam.explain(on(*shapes, make=make), ["bob met"] * len(shapes))


def test_doors_of_one_text_say_what_else_the_model_takes(tmp_path):
    model = two(True)
    with pytest.raises(ValueError, match="takes 'hypothesis', 'premise'. Explain and verify what"):
        tfcam.evaluate(model, [GIVEN])
    with pytest.raises(ValueError, match="stream is for models of which a text is all that they"):
        tfcam.stream(model, [GIVEN], to=tmp_path)
    with pytest.raises(ValueError, match="'hypothesis' has 1, the explained one 2"):
        tfcam.explain(model, {"premise": ["a", "the"], "hypothesis": ["a"]}, input="premise")


def test_a_step_of_a_network_that_writes():
    """From a string and the words so far: gradient times embedding, against a tape."""
    source = keras.Input((1,), dtype="string", name="source")
    so_far = keras.Input((4,), dtype="int64", name="so_far")
    known, written = layers.Embedding(9, 4), layers.Embedding(9, 4)
    reading, writing = layers.GRU(5, return_state=True), layers.GRU(5, return_sequences=True)
    vectorized, head = read(), layers.Dense(9, activation="softmax")
    _, state = reading(known(vectorized(source)))
    steps = writing(written(so_far), initial_state=state)
    model = seeded(keras.Model({"source": source, "so_far": so_far}, head(steps)))
    given = {"source": "bob lives in paris", "so_far": np.array([1, 4, 5, 0])}
    asked = {"method": "gradient_input", "target": lambda outputs: outputs[:, 2, 4]}
    vectors = known(vectorized(tf.constant([given["source"]])))
    own = written(given["so_far"][np.newaxis])
    with tf.GradientTape() as tape:
        tape.watch([vectors, own])
        _, state = reading(vectors)
        score = tf.matmul(writing(own, initial_state=state), head.kernel)[0, 2, 4] + head.bias[4]
    for name, values, slopes in zip(
        given, (vectors, own), tape.gradient(score, [vectors, own]), strict=True
    ):
        found = tfcam.explain(model, given, input=name, **asked)
        assert found.score == pytest.approx(float(score), abs=1e-6)
        np.testing.assert_allclose(found.raw, tf.reduce_sum(values * slopes, -1)[0, :4], atol=1e-6)
    assert found.words == ("1", "4", "5", "0")
