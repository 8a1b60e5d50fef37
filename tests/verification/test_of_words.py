"""``verify`` of a text: its words hidden in the order of the map, against all other orders."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

import tfcam
from tests.metrics.test_words import WEIGHTS, additive, sigmoid
from tests.model.test_strings import nested
from tfcam.cli.commands import app
from tfcam.engine.settings import Settings
from tfcam.evaluation.intervals import share_interval
from tfcam.metrics.moves import permutation_p
from tfcam.metrics.word_orders import WordsHidden, marked_count, other_orders, word_order
from tfcam.metrics.word_probe import word_probes
from tfcam.verification.attach import verified as attach

NUMBERS = {"bad": 2, "good": 3, "film": 4, "a": 5}
TEXT = "a good film a film"
OWN = WEIGHTS[[NUMBERS[word] for word in TEXT.split()]]


def verified(**options):
    model = additive()
    found = tfcam.explain(model, TEXT, target=1)
    return found, tfcam.verify(model, found, **options)


def test_the_numbers_by_hand():
    """Two of five words in order: 20 orders, each the mean over one and two of them hidden."""
    found, result = verified(fraction=0.4)
    whole = OWN.sum()
    falls = {
        (first, second): sigmoid(whole)
        - np.mean(sigmoid([whole - OWN[first], whole - OWN[first] - OWN[second]]))
        for first, second in itertools.permutations(range(5), 2)
    }
    own = tuple(np.argsort(-found.raw)[:2].tolist())
    assert own[0] == 1  # "good"
    assert result.falls[0] == pytest.approx(falls[own], abs=1e-6)
    others = sorted(fall for order, fall in falls.items() if order != own)
    np.testing.assert_allclose(np.sort(result.falls[1:]), others, atol=1e-6)
    as_much = sum(fall >= falls[own] - 1e-6 for fall in others)
    assert result.p_value == (1 + as_much) / 20
    assert result.number == pytest.approx(sigmoid(whole), abs=1e-6)
    # The log odds against the only other class are the logit.
    contrast = OWN[own[0]] + OWN[own[1]] / 2
    assert result.checks[1].value == pytest.approx(contrast, abs=1e-5)
    alone = sigmoid(OWN[list(own)].sum())
    assert f"These words alone give {alone:.3g}" in result.checks[0].sentence
    assert "Hiding 'good', 'film' (2 of 5 words)" in result.checks[0].sentence


def test_a_map_of_other_words_is_not_supported():
    model, text = additive(), "a good film a a"
    right = tfcam.explain(model, text, target=1)
    result = tfcam.verify(model, right, fraction=0.4)
    assert (result.verdict, result.p_value) == ("supported", 0.05)  # the best of 20 orders
    wrong = replace(right, raw=np.roll(right.raw, 1))
    assert tfcam.verify(model, wrong, fraction=0.4).verdict == "not supported"


def test_a_map_without_a_word_for_the_class_is_undecided(tmp_path):
    model = additive()
    found = tfcam.explain(model, "bad bad", target=1)
    assert found.raw.max() <= 0
    result = tfcam.verify(model, found)
    assert (result.verdict, result.p_value) == ("undecided", 1)
    for check in result.checks[:2]:
        assert check.verdict == "undecided"
        assert "No word speaks for class 1: the map marks nothing" in check.sentence
    assert "(p = 1)" in repr(result)
    result.save(tmp_path / "page.html")
    store = tfcam.stream(model, ["bad bad"], to=tmp_path / "maps", target=1, verify=True)
    assert list(store.table["verdict"]) == ["undecided"]


def test_it_is_attached_to_each_of_a_batch():
    model, texts = additive(), ["a good film a a", "film good", "bad bad"]
    found = tfcam.explain(model, texts, target=1, verify=True)
    for text, each in zip(texts, found, strict=True):
        alone = tfcam.verify(model, tfcam.explain(model, text, target=1))
        assert each.verification.p_value == alone.p_value
        np.testing.assert_allclose(each.verification.falls, alone.falls, atol=1e-6)
    codes = [[finding.code for finding in each.findings] for each in found]
    # Of two or five words one is hidden: too few orders to tell. "bad" speaks against it.
    assert [each.verification.verdict for each in found] == ["undecided"] * 3
    assert ["unsupported" in own for own in codes] == [False] * 3
    assert "changed texts" in found[0].verification.html


def test_a_map_that_marks_what_speaks_against_the_class_has_a_finding():
    explainer, text = tfcam.Explainer(additive()), "a bad film"
    wrong = replace(explainer(text, 1), raw=np.float32([0, 1, 0]))
    found = attach(wrong, explainer, text, 1)
    assert found.verification.verdict == "not supported"
    assert found.findings[-1].code == "unsupported"


def test_what_it_owes_to_training_is_asked_of_long_texts():
    model = nested()
    before = [np.array(weight) for weight in model.get_weights()]
    result = tfcam.verify(model, tfcam.explain(model, "a good film not what a lovely bad film not"))
    assert result.explanations == 5  # its own, the rival's, and three of random weights
    assert result.checks[2].value is not None
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert verified()[1].checks[2].verdict == "undecided"


def test_random_maps_are_rarely_supported():
    """Of random orders no more than 5 % have p <= 0.05, and so on."""
    rng, model = np.random.default_rng(0), additive()
    texts = [" ".join(rng.choice(list(NUMBERS), rng.integers(7, 14))[:5]) for _ in range(200)]
    p_values = []
    for probe in word_probes(model, texts, "auto", None, Settings(at_once=128)):
        values = rng.normal(size=len(probe.read.words))
        own, count = word_order(values), max(1, marked_count(values, 0.4))
        orders = np.stack([own, *other_orders(own, count, 99, 0)])
        falls = -WordsHidden.of(probe, orders, count).mean[:, 1]
        p_values.append(permutation_p(falls[0], falls[1:]))
    for level in (0.05, 0.2, 0.5):  # fewer where words do as much as others
        assert share_interval(np.mean(np.array(p_values) <= level), len(texts)).low <= level


def test_a_text_alone_is_no_map():
    with pytest.raises(TypeError, match="got 'a good film'. Explain it first"):
        tfcam.verify(additive(), "a good film")


@pytest.mark.slow
def test_what_does_not_fit_is_told():
    found, _ = verified()
    with pytest.raises(ValueError, match="the model sees 'good film'"):
        tfcam.verify(additive(), found, image="good film")
    with pytest.raises(ValueError, match="takes one text; got 2"):
        tfcam.verify(additive(), found, image=["good film", TEXT])
    with pytest.raises(ValueError, match="fills are for pictures"):
        tfcam.verify(additive(), found, fills=["zero"])
    with pytest.raises(ValueError, match="is of 'class 1'; got target=0"):
        tfcam.verify(additive(), found, target=0)
    two = tfcam.explain(additive(), "good\nfilm", target=1)
    with pytest.raises(ValueError, match="several lines, and may be of several segments"):
        tfcam.verify(additive(), two)
    assert tfcam.verify(additive(), two, image="good\nfilm").verdict == "undecided"
    other = additive()
    other.get_layer("h").set_weights([np.array([[0.0, -5.0]])])
    with pytest.raises(ValueError, match="its weights, the image or the preprocessing"):
        tfcam.verify(other, found)


def test_the_command_line_says_what_the_library_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = additive()
    model.save("words.keras")
    expected = tfcam.verify(model, tfcam.explain(model, TEXT, target=1), target=1)
    shared = ["--text", TEXT, "--model", "words.keras", "--target", "1"]
    said = CliRunner().invoke(app, ["verify", *shared])
    assert said.stdout.strip() == repr(expected)
    shown = CliRunner().invoke(app, ["explain", *shared, "--verify", "--json"])
    assert f'"p_value": {expected.p_value}' in shown.stdout
    refused = CliRunner().invoke(app, ["verify", "--model", "words.keras"])
    assert "a picture, or --text" in refused.stderr
