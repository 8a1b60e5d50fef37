"""Every text classifier of KerasHub: a string in, its own words out, whatever its tokenizer."""

import io
import warnings

import keras
import numpy as np
import pytest

import tfcam
from tfcam.model.graph import graph_of
from tfcam.preprocessing.prepare import prepare

hub = pytest.importorskip("keras_hub")
sentencepiece = pytest.importorskip("sentencepiece")

TEXT = "the film is unbelievable, not bad!"
WORDS = ("the", "film", "is", "unbelievable", ",", "not", "bad", "!")
PAIR = ("a good film", "the plot is bad")
SENTENCES = [TEXT, *PAIR, "state-of-the-art camera work", "people watched the evening film"]
SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
LENGTH = 40


def pieces():
    """A vocabulary of words and their pieces."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["the", "film", "is", "not", "good", "bad", "un", "##believ", "##able", "plot", "a"]
    return {"vocabulary": [*special, *words, ",", "!"], "lowercase": True}


def byte_pairs():
    """A vocabulary of letters and what they are merged to."""
    letters = sorted(set("".join(SENTENCES)) - {" "})
    merged = ["fi", "lm", "film", "Ġfilm", "no", "not", "Ġnot", "Ġb", "Ġba", "Ġbad"]
    names = ["<s>", "<pad>", "</s>", "<unk>", "Ġ", *letters, *merged, "<mask>"]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    merges = ["f i", "l m", "fi lm", "Ġ film", "n o", "no t", "Ġ not", "Ġ b", "Ġb a", "Ġba d"]
    return {"vocabulary": vocabulary, "merges": merges}


def sentence_pieces(**options):
    """A vocabulary that SentencePiece makes."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 5),
        model_writer=written,
        vocab_size=38,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return {"proto": written.getvalue()}


def named(pad, unk, bos, eos):
    """The numbers of the special pieces, as a family has them."""
    numbers = {"pad_id": pad, "unk_id": unk, "bos_id": bos, "eos_id": eos}
    marks = {"bos_piece": "[CLS]", "eos_piece": "[SEP]", "user_defined_symbols": "[MASK]"}
    return sentence_pieces(**numbers, **marks, pad_piece="<pad>", unk_piece="<unk>")


CUT = {"max_sequence_length": LENGTH + 8}
# How each family makes numbers of strings, and what else its network is made of.
FAMILIES = {
    "Bert": (pieces, {**SMALL, **CUT}),
    "DistilBert": (pieces, {**SMALL, **CUT}),
    "RoformerV2": (pieces, {**SMALL, "head_size": 8, "max_wavelength": 10000}),
    "Roberta": (byte_pairs, {**SMALL, **CUT}),
    "XLMRoberta": (lambda: sentence_pieces(unk_id=0, bos_id=1, eos_id=2), {**SMALL, **CUT}),
    "Albert": (lambda: named(0, 1, 2, 3), {**SMALL, **CUT, "embedding_dim": 8}),
    "FNet": (
        lambda: named(3, 0, 4, 5),
        {key: value for key, value in {**SMALL, **CUT}.items() if key != "num_heads"},
    ),
    "DebertaV3": (
        lambda: sentence_pieces(
            **{"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]"},
            **{"bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"},
            user_defined_symbols="[MASK]",
        ),
        {**SMALL, **CUT, "bucket_size": 16},
    ),
}


def classifier(family):
    read, sizes = FAMILIES[family]
    keras.utils.set_random_seed(1)
    tokenizer = getattr(hub.tokenizers, f"{family}Tokenizer")(**read())
    models, name = hub.models, f"{family}TextClassifier"
    preprocessor = getattr(models, f"{name}Preprocessor")(tokenizer, sequence_length=LENGTH)
    count = tokenizer.vocabulary_size() + 2
    backbone = getattr(models, f"{family}Backbone")(vocabulary_size=count, **sizes)
    return getattr(models, name)(backbone, num_classes=2, preprocessor=preprocessor)


@pytest.mark.thinned(4, kept="slow")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_words_come_out_of_every_classifier(family):
    model = classifier(family)
    found = tfcam.explain(model, TEXT)
    assert (found.words, found.method) == (WORDS, "integrated_gradients")
    assert found.layer.endswith("token_embedding")
    assert [TEXT[start:end] for start, end in found.spans] == list(WORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = model.predict([TEXT], verbose=0)[0]
    np.testing.assert_allclose(found.score, own.max(), rtol=1e-3, atol=1e-6)
    error = abs(found.measured["completeness_error"])
    assert error <= 0.02 * abs(found.score) + 1e-6
    both = tfcam.explain(model, PAIR, method="saliency")
    assert both.words == (*PAIR[0].split(), *PAIR[1].split())
    assert both.text == "\n".join(PAIR)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_hiding_a_word_hides_all_of_its_pieces():
    """Occlusion, by hand: [MASK] in the place of each of a word's numbers."""
    model = classifier("Bert")
    found = tfcam.explain(model, TEXT, method="occlusion", target=1)
    given = {name: np.array(value) for name, value in model.preprocessor([TEXT]).items()}
    mask = model.preprocessor.tokenizer.mask_token_id
    places = [[1], [2], [3], [4, 5, 6], [7], [8], [9], [10]]

    def score(numbers):
        return model({**given, "token_ids": numbers}, training=False)[0, 1].numpy()

    for word, own in enumerate(places):
        hidden = given["token_ids"].copy()
        hidden[0, own] = mask
        fall = score(given["token_ids"]) - score(hidden)
        assert found.raw[word] == pytest.approx(fall, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_what_fills_numbers_up_is_no_word():
    """Of RoBERTa that is 1, and 0 begins each text."""
    model = classifier("Roberta")
    numbers = np.array(model.preprocessor([TEXT])["token_ids"])
    graph = graph_of(model)
    owners = prepare(graph, list(numbers), "auto", graph.find_input("token_ids")).owners
    np.testing.assert_array_equal(owners < 0, numbers == 1)


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["Roberta", "XLMRoberta", "Bert"])
def test_a_stream_goes_on_with_the_same_tokenizer_without_a_key(family, tmp_path):
    """Made anew, as in another process; one with other pieces is another."""
    options = {"to": tmp_path, "method": "gradient_input", "target": 0}

    def fresh():
        keras.backend.clear_session()
        return classifier(family)

    first = tfcam.stream(fresh(), SENTENCES, **options).raws
    np.testing.assert_array_equal(tfcam.stream(fresh(), SENTENCES, **options).raws, first)
    if family == "Roberta":
        other, known = fresh(), byte_pairs()
        merges = [*known["merges"][1::-1], *known["merges"][2:]]
        other.preprocessor.tokenizer.set_vocabulary_and_merges(known["vocabulary"], merges)
        with pytest.raises(ValueError, match="holds a store of maps with other settings"):
            tfcam.stream(other, SENTENCES, **options)


def written():
    """What a network that writes is made of: a tokenizer of byte pairs, and small sizes."""
    known = byte_pairs()
    known["vocabulary"]["<|endoftext|>"] = len(known["vocabulary"])
    return known, {**SMALL, "max_sequence_length": 48}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_next_word_that_a_network_writes():
    """Of GPT-2, whose table of embeddings names the next word, too: a word left out, by hand."""
    known, sizes = written()
    tokenizer = hub.tokenizers.GPT2Tokenizer(**known)
    keras.utils.set_random_seed(1)
    backbone = hub.models.GPT2Backbone(vocabulary_size=tokenizer.vocabulary_size(), **sizes)
    preprocessor = hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=LENGTH)
    model = hub.models.GPT2CausalLM(backbone, preprocessor=preprocessor)
    asked = {"target": lambda outputs: outputs[:, 9, 5], "method": "occlusion"}
    found = tfcam.explain(model, "the film is bad", **asked)
    assert found.words == ("the", "film", "is", "bad")
    given = {name: np.array(value) for name, value in preprocessor(["the film is bad"])[0].items()}

    def score(numbers):
        return float(model({**given, "token_ids": numbers}, training=False)[0, 9, 5])

    first = given["token_ids"].copy()
    (place,) = np.flatnonzero(first[0] == tokenizer.token_to_id("Ġfilm"))
    first[0, place] = tokenizer.pad_token_id or 0
    assert found.raw[1] == pytest.approx(score(given["token_ids"]) - score(first), abs=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_network_that_translates_is_told_what_was_written():
    known, sizes = written()
    tokenizer = hub.tokenizers.BartTokenizer(**known)
    backbone = hub.models.BartBackbone(vocabulary_size=tokenizer.vocabulary_size(), **sizes)
    preprocessor = hub.models.BartSeq2SeqLMPreprocessor(
        tokenizer, encoder_sequence_length=LENGTH, decoder_sequence_length=12
    )
    model = hub.models.BartSeq2SeqLM(backbone, preprocessor=preprocessor)

    def both(texts):
        return preprocessor({"encoder_text": list(texts), "decoder_text": ["the"] * len(texts)})

    asked = {"target": lambda outputs: outputs[:, 2, 5]}
    with pytest.raises(ValueError, match="does not take strings. Pass preprocess=, .*'decoder_tok"):
        tfcam.explain(model, TEXT, **asked)
    found = tfcam.explain(model, TEXT, preprocess=both, input="encoder_token_ids", **asked)
    assert found.words == WORDS
    (own,) = model({name: np.array(value) for name, value in both([TEXT])[0].items()})
    assert found.score == pytest.approx(float(own[2, 5]), rel=1e-3)
