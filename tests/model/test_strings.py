"""Models of texts, as people have them: strings in, their own words out."""

import re

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.networks import seeded
from tfcam.model.graph import graph_of

TEXTS = ["not a good film", "a bad film, not good!", "what a lovely state-of-the-art film"]
WORDS = ("what", "a", "lovely", "state-of-the-art", "film")


def vectorization(**options):
    layer = layers.TextVectorization(max_tokens=40, **options)
    layer.adapt(TEXTS)
    return layer


def network(vectorized, length=12, dtype="int64"):
    """A network of numbers: what stands behind the strings."""
    inputs = keras.Input((length,), dtype=dtype)
    x = layers.Embedding(40, 6, name="embedding")(inputs)
    x = layers.Conv1D(5, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return seeded(keras.Model(inputs, layers.Dense(3, name="head")(x), name="net"))


def nested():
    vectorized = vectorization(output_sequence_length=12)
    strings = keras.Input((1,), dtype="string", name="review")
    return keras.Model(strings, network(vectorized)(vectorized(strings)))


def flat():
    vectorized = vectorization(output_sequence_length=12)
    strings = keras.Input((), dtype="string")
    x = layers.Embedding(40, 6, name="embedding")(vectorized(strings))
    x = layers.Conv1D(5, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return seeded(keras.Model(strings, layers.Dense(3, activation="softmax", name="head")(x)))


def sequential():
    vectorized = vectorization()  # as long as the text is
    return seeded(
        keras.Sequential(
            [
                keras.Input((1,), dtype="string"),
                vectorized,
                layers.Embedding(40, 6, mask_zero=True),
                layers.GRU(5),
                layers.Dense(1, activation="sigmoid"),
            ]
        )
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.read = vectorization(output_sequence_length=12)
        self.net = network(self.read)

    def call(self, texts):
        return self.net(self.read(texts))


def subclassed():
    model = Subclassed()
    model(tf.constant(TEXTS))
    return model


MODELS = {"nested": nested, "flat": flat, "sequential": sequential, "subclassed": subclassed}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.thinned(1, rest="slow")
def test_a_string_is_explained_word_by_word(kind):
    model = MODELS[kind]()
    found = tfcam.explain(model, TEXTS[2])
    assert (found.words, found.text, found.method) == (WORDS, TEXTS[2], "integrated_gradients")
    assert [found.text[start:end] for start, end in found.spans] == list(WORDS)
    assert found.raw.shape == found.heatmap.shape == (5,)
    given = tf.constant([TEXTS[2]])[:, tf.newaxis] if kind != "subclassed" else [TEXTS[2]]
    (own,) = model.predict(tf.constant(given), verbose=0)
    if found.probability is not None:
        expected = own[found.target] if own.size > 1 else max(own[0], 1 - own[0])
        np.testing.assert_allclose(found.probability, expected, rtol=1e-5)
    else:
        assert found.target == own.argmax()
        np.testing.assert_allclose(found.score, own.max(), rtol=1e-5)
    # What integrated gradients give the words is all that they and the padding's fill differ by.
    error = found.measured["completeness_error"]
    ids = layer_of(model, layers.TextVectorization)(tf.constant([TEXTS[2]])).numpy()
    nothing = tfcam.explain(model, ids, target=found.target)[0]
    np.testing.assert_allclose(found.raw, nothing.raw[: len(WORDS)], atol=1e-6)
    assert abs(error) < 0.05 * abs(found.score)


def layer_of(model, kind):
    return next(each for each in graph_of(model).operations if isinstance(each, kind))


@pytest.mark.parametrize("kind", ["nested", "flat"])
def test_maps_of_strings_equal_those_of_their_numbers(kind):
    """Of Grad-CAM at the convolution, against a tape by hand."""
    model = MODELS[kind]()
    (found,) = tfcam.explain(model, TEXTS[2:], "conv" if kind == "flat" else "net/conv", target=1)
    numbers = layer_of(model, layers.TextVectorization)(tf.constant(TEXTS[2:]))
    net = model if kind == "flat" else model.get_layer("net")
    a = net.get_layer("conv")(net.get_layer("embedding")(numbers))
    with tf.GradientTape() as tape:
        tape.watch(a)
        score = tf.reduce_mean(a, 1) @ net.get_layer("head").kernel + net.get_layer("head").bias
        score = score[:, 1]
    weights = tf.reduce_mean(tape.gradient(score, a), 1, keepdims=True)
    wanted = tf.reduce_sum(weights * a, -1)[0, :5]
    np.testing.assert_allclose(found.raw, wanted, atol=1e-6)


def test_gradients_by_the_embeddings():
    """Against a tape by hand: norms, and the product with the embedding."""
    model = nested()
    net = model.get_layer("net")
    numbers = layer_of(model, layers.TextVectorization)(tf.constant(TEXTS[2:]))
    vectors = net.get_layer("embedding")(numbers)
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        mean = tf.reduce_mean(net.get_layer("conv")(vectors), 1)
        score = net.get_layer("head")(mean)[:, 1]
    slopes = tape.gradient(score, vectors).numpy()[0, :5].astype(np.float64)
    norms = np.linalg.norm(slopes, axis=-1)
    no_noise = {"samples": 2, "noise": 0.0}
    for method, options, wanted in [
        ("saliency", {}, norms),
        ("smooth_grad", no_noise, norms),
        ("smooth_grad", {**no_noise, "squared": True}, norms**2),
        ("gradient_input", {}, (slopes * vectors.numpy()[0, :5]).sum(-1)),
    ]:
        found = tfcam.explain(model, TEXTS[2], method=method, target=1, **options)
        assert found.layer == "net/embedding"
        np.testing.assert_allclose(found.raw, wanted, rtol=1e-4, atol=1e-7, err_msg=method)


def test_a_batch_is_its_texts_one_by_one():
    model = nested()
    batch = tfcam.explain(model, TEXTS, method="occlusion", target=0)
    for text, found in zip(TEXTS, batch, strict=True):
        alone = tfcam.explain(model, text, method="occlusion", target=0)
        assert alone.words == found.words
        np.testing.assert_allclose(found.raw, alone.raw, atol=1e-6)


GIVEN = {
    "a list": TEXTS[:1],
    "an array": np.array(TEXTS[:1]),
    "objects": np.array([[TEXTS[0]]], object),
    "a tensor": tf.constant(TEXTS[:1]),
    "a column": tf.constant([TEXTS[:1]]),
    "bytes": [TEXTS[0].encode()],
    "a batch with labels": (tf.constant(TEXTS[:1]), tf.constant([1])),
    "by name": {"review": TEXTS[:1]},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
@pytest.mark.thinned(3, rest="slow")
def test_strings_are_taken_however_they_are_wrapped(given):
    model = nested()
    (found,) = tfcam.explain(model, given, target=1)
    assert found.words == ("not", "a", "good", "film")
    np.testing.assert_allclose(found.raw, tfcam.explain(model, TEXTS[0], target=1).raw)


def test_strings_beside_a_table():
    strings = keras.Input((1,), dtype="string", name="text")
    table = keras.Input((2,), name="table")
    vectorized = vectorization(output_sequence_length=12)
    x = layers.Concatenate()([network(vectorized)(vectorized(strings)), layers.Dense(3)(table)])
    model = seeded(keras.Model({"text": strings, "table": table}, layers.Dense(2)(x)))
    given = {"text": TEXTS[0], "table": [0.5, 1.0]}
    found = tfcam.explain(model, given, input="text", target=1)
    assert found.words == ("not", "a", "good", "film")
    own = model.predict(
        {"text": tf.constant([[TEXTS[0]]]), "table": np.array([[0.5, 1.0]])}, verbose=0
    )
    np.testing.assert_allclose(found.score, own[0, 1], rtol=1e-5)


def test_strings_beside_a_picture_with_channels_first():
    strings = keras.Input((1,), dtype="string", name="text")
    picture = keras.Input((3, 12, 16), name="picture")
    vectorized = vectorization(output_sequence_length=12)
    turned = layers.Permute((2, 3, 1))(picture)
    seen = layers.Conv2D(4, 3, activation="relu", name="seen")(turned)
    seen = layers.Dense(3)(layers.GlobalAveragePooling2D()(seen))
    x = layers.Add()([network(vectorized)(vectorized(strings)), seen])
    model = seeded(keras.Model({"text": strings, "picture": picture}, layers.Dense(2)(x)))
    image = np.random.default_rng(4).random((3, 12, 16)).astype("float32")
    given = {"text": TEXTS[0], "picture": image}
    own = model.predict({"text": tf.constant([[TEXTS[0]]]), "picture": image[None]}, verbose=0)
    found = tfcam.explain(model, given, input="text", target=1)
    assert found.words == ("not", "a", "good", "film")
    np.testing.assert_allclose(found.score, own[0, 1], rtol=1e-5)


def test_hand_examples():
    """A mean of embeddings: what a word gives is its own number, whatever stands beside it."""
    vectorized = layers.TextVectorization(vocabulary=["not", "good"], output_sequence_length=4)
    strings = keras.Input((1,), dtype="string")
    embedding = layers.Embedding(4, 1)
    x = layers.GlobalAveragePooling1D()(embedding(vectorized(strings)))
    model = keras.Model(strings, layers.Dense(1, use_bias=False, name="head")(x))
    embedding.set_weights([np.array([[0.0], [0.0], [-1.0], [2.0]])])
    model.get_layer("head").set_weights([np.array([[12.0]])])
    methods = ("integrated_gradients", "gradient_input", "occlusion", "kernel_shap", "lrp")
    for method in methods:
        found = tfcam.explain(
            model, "Not good", method=method, target=tfcam.Regression(), score="logit"
        )
        assert found.words == ("Not", "good")
        np.testing.assert_allclose(found.raw, [-3, 6], atol=1e-4, err_msg=method)


def test_kernel_shap_is_exact_for_a_batch_of_different_lengths():
    model = nested()
    results = tfcam.explain(model, TEXTS, method="kernel_shap", target=2)
    read = layer_of(model, layers.TextVectorization)
    for text, found in zip(TEXTS, results, strict=True):
        ids, count = read(tf.constant([text])).numpy()[0], len(found.words)
        assert (ids[:count] > 0).all()
        assert not ids[count:].any()
        choices = np.arange(2**count)[:, None] >> np.arange(count) & 1
        hidden = np.tile(ids, (2**count, 1))
        hidden[:, :count] *= choices
        scores = model.get_layer("net").predict(hidden, verbose=0)[:, 2]
        np.testing.assert_allclose(found.raw, shapley(choices, scores), atol=1e-5)
        assert found.measured["standard_error"] == 0


def shapley(choices, scores):
    """By the definition: how much a word adds, over all orders in which words come."""
    import itertools

    count = choices.shape[1]
    by_choice = {tuple(row): score for row, score in zip(choices, scores, strict=True)}
    values = np.zeros(count)
    orders = list(itertools.permutations(range(count)))
    for order in orders:
        seen = [0] * count
        for word in order:
            before = by_choice[tuple(seen)]
            seen[word] = 1
            values[word] += by_choice[tuple(seen)] - before
    return values / len(orders)


# --- what a user's function makes of strings ------------------------------------------------


VOCABULARY = {word: n for n, word in enumerate(["not", "a", "good", "film", "bad", "lovely"], 1)}


def encode(texts, length=6, keep="start"):
    rows = [[VOCABULARY.get(word, 9) for word in text.lower().split()] for text in texts]
    rows = [row[:length] if keep == "start" else row[-length:] for row in rows]
    return np.array([row + [0] * (length - len(row)) for row in rows])


def test_a_function_turns_strings_into_numbers():
    net = network(None, 6)
    found = tfcam.explain(net, "Not a GOOD film", preprocess=encode, target=1)
    assert found.words == ("Not", "a", "GOOD", "film")
    numbers = tfcam.explain(net, encode(["not a good film"])[0], target=1)
    np.testing.assert_allclose(found.raw, numbers.raw[:4], atol=1e-6)


def test_a_function_of_numbers_is_not_asked_for_strings():
    net = network(None, 6)
    numbers = encode(["not a good film"])[0]
    found = tfcam.explain(net, numbers + 40, preprocess=lambda batch: batch % 40, target=1)
    np.testing.assert_allclose(found.raw, tfcam.explain(net, numbers, target=1).raw, atol=1e-6)


def test_a_function_that_fills_up_batches_alone():
    """As long as the longest text of a batch, as a TextVectorization without a length gives it."""
    net, read = network(None, None), vectorization()
    found = tfcam.explain(net, TEXTS[1], preprocess=read, target=1)
    assert found.words == ("a", "bad", "film,", "not", "good")
    numbers = tfcam.explain(net, read(tf.constant(TEXTS[1:2])).numpy()[0], target=1)
    np.testing.assert_allclose(found.raw, numbers.raw, atol=1e-6)
    both = tfcam.explain(net, TEXTS[:2], preprocess=read, target=1)
    assert [each.words for each in both] == [("not", "a", "good", "film"), found.words]


def test_a_segment_of_another_input_is_not_cut():
    first, second = keras.Input((6,), dtype="int32"), keras.Input((6,), dtype="int32")
    embedding, mean = layers.Embedding(40, 3, name="embedding"), layers.GlobalAveragePooling1D()
    x = layers.Concatenate()([mean(embedding(first)), mean(embedding(second))])
    model = seeded(keras.Model([first, second], layers.Dense(2)(x)))

    def read(texts):
        return [encode([one for one, _ in texts]), encode([two for _, two in texts])]

    found = tfcam.explain(model, ("a good film", "not bad"), preprocess=read)
    assert found.words == ("a", "good", "film")
    assert "text_cut" not in [one.code for one in found.findings]


def test_what_is_cut_is_told():
    net = network(None, 6)
    long = "not a good film but a lovely one"
    first = tfcam.explain(net, long, preprocess=encode)
    assert first.words == ("not", "a", "good", "film", "but", "a")
    assert [one.code for one in first.findings if one.code == "text_cut"] == ["text_cut"]
    last = tfcam.explain(net, long, preprocess=lambda texts: encode(texts, keep="end"))
    assert last.words == ("good", "film", "but", "a", "lovely", "one")
    assert "2 words" in next(str(one) for one in last.findings if one.code == "text_cut")


def test_pairs_of_words_have_the_names_of_the_vocabulary():
    vectorized = vectorization(output_sequence_length=9, ngrams=2)
    strings = keras.Input((1,), dtype="string")
    model = keras.Model(strings, network(vectorized, 9)(vectorized(strings)))
    found = tfcam.explain(model, "a good film")
    assert found.words == ("a", "good", "film", "a good", "good film")
    assert not found.spans
    assert "words_unknown" in [one.code for one in found.findings]


def test_letters_are_summed_to_words():
    vectorized = vectorization(output_sequence_length=30, split="character")
    strings = keras.Input((1,), dtype="string")
    model = keras.Model(strings, network(vectorized, 30)(vectorized(strings)))
    found = tfcam.explain(model, "a good film", target=1)
    assert found.words == ("a", "good", "film")
    ids = vectorized(tf.constant(["a good film"])).numpy()[0]
    each = tfcam.explain(model, ids, target=1)
    parts = [each.raw[start:end].sum() for start, end in found.spans]
    # The spaces between them are letters of the word that follows.
    assert found.raw.sum() == pytest.approx(each.raw.sum(), abs=1e-5)
    assert found.raw[0] == pytest.approx(parts[0], abs=1e-6)


def test_hiding_a_word_hides_all_of_its_letters():
    """Occlusion, by hand: padding in the place of each; the fall is the word's, not a letter's."""
    read = vectorization(output_sequence_length=30, split="character")
    strings = keras.Input((1,), dtype="string")
    model = keras.Model(strings, network(read, 30)(read(strings)))
    found = tfcam.explain(model, "a good film", target=1, method="occlusion")
    ids = read(tf.constant(["a good film"])).numpy()
    net = model.get_layer("net")
    whole = net(ids)[0, 1]
    for word, (start, end) in enumerate([(0, 1), (1, 6), (6, 11)]):  # with the space before it
        hidden = ids.copy()
        hidden[0, start:end] = 0
        assert found.raw[word] == pytest.approx(float(whole - net(hidden)[0, 1]), abs=1e-6)


# --- what is refused ------------------------------------------------------------------------


def test_what_can_not_be_explained_is_told():
    net = network(None, 6)
    with pytest.raises(ValueError, match=r"must be given as numbers.*Strings need preprocess="):
        tfcam.explain(net, "a film")
    with pytest.raises(ValueError, match="at least one word that the model sees; got '...'"):
        tfcam.explain(nested(), "...")
    with pytest.raises(ValueError, match="A string has words of its own"):
        tfcam.explain(nested(), "a film", words=["a", "film"])
    with pytest.raises(ValueError, match=r"whole numbers \(B, L\) for 1 texts; got float64"):
        tfcam.explain(net, "a film", preprocess=lambda texts: encode(texts) / 2)
    with pytest.raises(ValueError, match=r"must give rows of one length, \(B, L\)"):
        tfcam.explain(net, TEXTS, preprocess=lambda texts: [[3] * len(text) for text in texts])
    with pytest.raises(ValueError, match="fill='blur' is for images; of a text"):
        tfcam.explain(nested(), "a film", method="occlusion", fill="blur")
    first = tfcam.explain(nested(), "a film", target=lambda outputs: outputs[:, 0])
    with pytest.raises(ValueError, match="verified for a class; the explanation is of '<lambda>'"):
        tfcam.verify(nested(), first)
    with pytest.raises(ValueError, match="'rise' changes the input a little"):
        tfcam.explain(nested(), "a film", method="rise")


def test_the_model_stays_as_it_is():
    model = nested()
    given = tf.constant([[text] for text in TEXTS])
    before = model.predict(given, verbose=0)
    read = layer_of(model, layers.TextVectorization)
    tfcam.explain(model, TEXTS)
    assert "call" not in vars(read)
    np.testing.assert_array_equal(model.predict(given, verbose=0), before)


def test_a_text_is_saved_with_its_words(tmp_path):
    found = tfcam.explain(nested(), TEXTS[0])
    path = found.save(tmp_path / "text.npz")
    again = tfcam.Explanation.load(path)
    assert again == found
    assert again.spans == found.spans
    assert again.words == found.words
    assert found.save(tmp_path / "text.png").exists()
    assert "good" in found._repr_html_()
    assert "film" in found.colored(signed=True).plain


@pytest.mark.slow
def test_a_string_is_drawn_in_both_signs():
    """In red what speaks for the class, in blue what speaks against it; a comparison likewise."""
    found = tfcam.explain(nested(), TEXTS[2])
    page = found._repr_html_()
    assert "blue against, red for" in page
    shares = [float(value) for value in re.findall(r'title="(-?[\d.]+)"', page)]
    np.testing.assert_allclose(shares, found.raw / np.abs(found.raw).max(), atol=0.006)
    both = tfcam.compare(nested(), TEXTS[2], methods=["integrated_gradients", "occlusion"])
    figure = both.plot(signed=True)
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert words == list(WORDS) * 2
    plt.close(figure)
    assert both._repr_png_().startswith(b"\x89PNG")


def test_the_principal_component_of_a_text():
    model = nested()
    found = tfcam.explain(model, TEXTS[2], "net/conv", method="hires_cam", eigen=True)
    read = layer_of(model, layers.TextVectorization)(tf.constant(TEXTS[2:]))
    net = model.get_layer("net")
    a = net.get_layer("conv")(net.get_layer("embedding")(read)).numpy()[0].astype(np.float64)
    weighted = a * net.get_layer("head").kernel.numpy()[:, found.target] / 12
    component = weighted @ np.linalg.svd(weighted)[2][0]
    component *= np.sign(component @ weighted.sum(1))
    np.testing.assert_allclose(np.abs(found.raw), np.abs(component[:5]), atol=1e-5)


@pytest.mark.parametrize("padding", [0, 1])
def test_words_are_hidden_by_what_fills_texts_up(padding):
    """Also where that is 1, and 0 begins each text, as of RoBERTa."""
    known = {"not": 4, "a": 5, "good": 6, "film": 7}
    first = 1 - padding

    def encode(texts):
        rows = [[first, *(known.get(word, 3) for word in text.split()), 2] for text in texts]
        return np.array([(row + [padding] * 9)[:9] for row in rows])

    net = network(None, length=9)
    (numbers,) = encode(["not a good film"])
    found = tfcam.explain(
        net, "not a good film", preprocess=encode, method="occlusion", target=1, batch_size=3
    )
    variants = np.repeat(numbers[np.newaxis], 4, 0)
    variants[np.arange(4), np.arange(1, 5)] = padding
    score = net.predict(numbers[np.newaxis], verbose=0)[0, 1]
    expected = score - net.predict(variants, verbose=0)[:, 1]
    np.testing.assert_allclose(found.raw, expected, atol=1e-6)
    ways = {"preprocess": encode, "target": 1, "method": "integrated_gradients", "steps": 256}
    summed = tfcam.explain(net, "not a good film", **ways)
    nothing = np.where(numbers >= 4, padding, numbers)[np.newaxis]
    rise = score - net.predict(nothing, verbose=0)[0, 1]
    np.testing.assert_allclose(summed.raw.sum(), rise, atol=2e-3 * abs(score))
    erased = tfcam.metrics.erase_words(
        net, ["not a good film"], [[1.0, 0, 0, 0]], 1, fractions=(0.25,), preprocess=encode
    )
    soft = tf.nn.softmax(net.predict(np.stack([numbers, variants[0]]), verbose=0)).numpy()[:, 1]
    np.testing.assert_allclose(erased.comprehensiveness, [soft[0] - soft[1]], atol=1e-6)
