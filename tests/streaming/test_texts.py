"""A stream of texts: a store of their words that needs no data, and goes on after a stop."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from keras import layers
from typer.testing import CliRunner

import tfcam
from tests.metrics.test_words import additive
from tests.model.test_strings import TEXTS, flat, network, sequential, vectorization
from tfcam.cli.commands import app

DATA = [(text, number % 3) for number, text in enumerate(TEXTS * 2)]


@pytest.fixture(scope="module")
def model():
    return flat()


def encode(texts):
    """Words of one text or of two segments, as numbers."""
    joined = [text if isinstance(text, str) else " ".join(text) for text in texts]
    return np.stack([[len(word) for word in (one.split() + [""] * 12)[:12]] for one in joined])


@pytest.mark.slow
@pytest.mark.parametrize("make", [flat, pytest.param(sequential, marks=pytest.mark.slow)])
def test_a_row_is_what_explain_gives(tmp_path, make):
    """Of texts of several lengths, each batch filled up; with and without a fixed length."""
    model = make()
    store = tfcam.stream(model, [*DATA, "  "], to=tmp_path, batch_size=4, shard_size=5)
    assert (len(store), store.finished) == (6, True)
    assert store.skipped.values.tolist()[0][:2] == [6, "000006"]
    assert "at least one word" in store.skipped.reason[0]
    again = tfcam.open_store(tmp_path)
    for (text, _), row in zip(DATA, again, strict=True):
        found = tfcam.explain(model, text)
        assert (row.text, row.words, row.spans) == (text, found.words, found.spans)
        assert (row.method, row.target) == ("integrated_gradients", found.target)
        np.testing.assert_allclose(row.raw, found.raw, atol=1e-6)
        np.testing.assert_allclose(row.heatmap, found.heatmap, atol=1e-4)
        np.testing.assert_array_equal(row.image, found.image)
        assert row.findings == found.findings
    assert again.table.truth.tolist() == [str(label) for _, label in DATA]
    assert again.table.words[0].tolist() == ["not", "a", "good", "film"]
    widest = max(len(row.words) for row in again)
    assert again.raws.shape == (6, widest)
    assert np.isnan(again.raws[0, 4:]).all()
    np.testing.assert_array_equal(again.raws[0, :4], again[0].raw)
    assert "film" in again[0]._repr_html_()


def as_dataset():
    texts, labels = zip(*DATA, strict=True)
    return tf.data.Dataset.from_tensor_slices((list(texts), list(labels)))


FORMS = {
    "tf.data": lambda file: as_dataset(),
    "batches": lambda file: as_dataset().batch(4),
    "dicts": lambda file: as_dataset().map(lambda text, label: {"text": text, "label": label}),
    "columns": lambda file: as_dataset().batch(1).map(lambda t, y: (t[:, tf.newaxis], y)),
    "arrays": lambda file: (np.array([text for text, _ in DATA]), np.arange(6) % 3),
    "generator": lambda file: lambda: (each for each in DATA),
    "bytes": lambda file: [(text.encode(), label) for text, label in DATA],
    "file": lambda file: file,
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_texts_come_in_many_forms(model, tmp_path, form):
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(text for text, _ in DATA))
    options = {"method": "gradient_input", "target": 1 if form == "file" else "label"}
    store = tfcam.stream(model, FORMS[form](file), to=tmp_path / "maps", **options)
    assert [row.text for row in store] == [text for text, _ in DATA]
    if form != "file":
        assert [row.target for row in store] == [label for _, label in DATA]
    assert tfcam.open_store(tmp_path / "maps", data=FORMS[form](file))[3].text == TEXTS[0]


def test_a_run_goes_on_with_the_same_texts_alone(model, tmp_path):
    options = {"to": tmp_path, "shard_size": 2, "method": "gradient_input"}
    whole = tfcam.stream(model, DATA, **options)
    wanted, file = whole.raws, tmp_path / "maps-00001.parquet"
    content = file.read_bytes()
    file.unlink()
    (tmp_path / "done.json").unlink()
    with pytest.raises(ValueError, match=r"number 4 is another now \('000004'\)"):
        tfcam.stream(model, [*DATA[:4], ("another film", 1), DATA[5]], **options)
    np.testing.assert_array_equal(tfcam.stream(model, DATA, **options).raws, wanted)
    assert pq.read_table(file).equals(pq.read_table(tfcam.open_store(tmp_path).path / file.name))
    assert len(content) == file.stat().st_size
    # Other words of the same number are no other weights.
    other = flat()
    read = next(each for each in other.layers if isinstance(each, layers.TextVectorization))
    read.set_vocabulary(read.get_vocabulary()[:1:-1])
    with pytest.raises(ValueError, match="vocabulary_digest"):
        tfcam.stream(other, DATA, **options)
    with pytest.raises(ValueError, match="number 2, '000002', is another text"):
        tfcam.open_store(tmp_path, data=[*DATA[:2], *DATA[:4]])[2]


def test_a_pair_is_a_text_of_two_segments(tmp_path):
    pairs = [("a good", "film"), (("not a", "bad film"), 2)]
    net = network(vectorization(output_sequence_length=12))
    store = tfcam.stream(net, pairs, to=tmp_path, preprocess=encode)
    assert [row.text for row in store] == ["a good\nfilm", "not a\nbad film"]
    assert store.table.truth.fillna("").tolist() == ["", "2"]
    found = tfcam.explain(net, ("a good", "film"), preprocess=encode)
    np.testing.assert_allclose(store[0].raw, found.raw, atol=1e-6)


def test_each_map_may_be_tested(tmp_path):
    texts = ["a good film a a a a a", "a bad film a a a a a"]
    model = additive(8)
    store = tfcam.stream(model, texts, to=tmp_path, verify=True, method="occlusion", target=1)
    for text, row, (_, kept) in zip(texts, store, store.table.iterrows(), strict=True):
        found = tfcam.explain(model, text, method="occlusion", target=1, verify=True)
        check = found.verification.checks[0]
        assert (kept.verdict, kept.p_value) == (check.verdict, check.p_value)
        assert row.findings == found.findings
    assert store.table.verdict.tolist() == ["supported", "undecided"]


def test_what_does_not_fit_is_told(model, tmp_path):
    with pytest.raises(TypeError, match="a function that gives an iterable of them anew; got gen"):
        tfcam.stream(model, (each for each in TEXTS), to=tmp_path)
    with pytest.raises(ValueError, match="No text could be explained. The first, 000000: It mu"):
        tfcam.stream(model, [1, 2], to=tmp_path / "numbers")
    with pytest.raises(ValueError, match="must hold at least one text"):
        tfcam.stream(model, [], to=tmp_path)
    with pytest.raises(ValueError, match=r"from a \.txt file, a text on each line; got 'a film'"):
        tfcam.stream(model, "a film", to=tmp_path)
    options = {"target": tfcam.Difference(0, 1), "verify": True}
    with pytest.raises(ValueError, match="verify=True tests of texts whether a class"):
        tfcam.stream(model, TEXTS, to=tmp_path / "difference", **options)


def test_the_command_line_streams_a_file_of_texts(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save("words.keras")
    (tmp_path / "texts.txt").write_text("a good film\na bad film\n")
    said = CliRunner().invoke(app, ["explain-dataset", "words.keras", "texts.txt", "--to", "maps"])
    assert "Store of 2 maps by integrated_gradients" in said.stdout, said.output
    assert tfcam.open_store("maps")[0].words == ("a", "good", "film")
