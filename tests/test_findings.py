"""Each finding: one clear message, and a network that brings it about; no NaN, no warning."""

import re
import string
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam import explainer, findings
from tfcam.findings import FINDINGS, Finding, finding

FACTS = {
    "target": "tabby cat",
    "count": 49,
    "layer": "block5/conv_{3}",  # a name in braces stays as it is
    "probability": 0.99996,
}


@pytest.mark.parametrize("code", FINDINGS)
def test_a_message_is_one_line_with_all_its_facts(code):
    asked = {name for _, name, _, _ in string.Formatter().parse(FINDINGS[code]) if name}
    assert asked <= set(FACTS)
    found = finding(code, **{name: FACTS[name] for name in asked})
    assert found == Finding(code, found.message)
    assert str(found) == f"{code}: {found.message}"
    assert re.fullmatch(r"[A-Z][^\n]{20,220}\.", found.message)
    shown = {"probability": "0.999960"}
    assert all(shown.get(name, str(FACTS[name])) in found.message for name in asked)
    if asked:
        with pytest.raises(KeyError):
            finding(code)


def test_a_code_must_be_known():
    with pytest.raises(KeyError, match="no_such_code"):
        finding("no_such_code")


def test_each_code_is_raised_somewhere_and_no_other():
    sources = Path(findings.__file__).parent.glob("*.py")
    code = "\n".join(re.sub(r">>> .*", "", path.read_text("utf-8")) for path in sources)
    assert set(re.findall(r"\bfinding\(\s*\"(\w+)\"", code)) == set(FINDINGS)


# --- networks that bring them about ---------------------------------------------------------


class Renormalised(layers.Layer):
    """A softmax that nothing can see to be one: what goes out is made by a division."""

    def call(self, scores):
        probabilities = tf.nn.softmax(scores) * 1.0
        return probabilities / tf.reduce_sum(probabilities, axis=-1, keepdims=True)


def network(head="softmax", kernel=None, bias=0.0, width=8, name="tiny"):
    """One convolution that passes (1, 0, 0), (0, 1, 0) of the image on, pooling, two classes."""
    inputs = keras.Input((width, width, 3))
    x = layers.Conv2D(2, 1, activation="relu", use_bias=False, name="conv")(inputs)
    x = layers.MaxPooling2D(width, name="whole")(x) if head == "one" else x
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(2, None if head == "hidden" else "softmax", name="dense")(x)
    model = keras.Model(inputs, Renormalised()(x) if head == "hidden" else x, name=name)
    model.get_layer("conv").set_weights([np.eye(3, 2, dtype="float32")[None, None]])
    kernel = np.eye(2) if kernel is None else np.array(kernel)
    model.get_layer("dense").set_weights([kernel, np.array([0.0, bias])])
    return model


IMAGE = np.random.default_rng(1).uniform(0.1, 1, (8, 8, 3)).astype("float32")


def explained(model, layer="conv", **options):
    """The result, the same one by one, in a batch, eager and compiled; checked to be sound."""
    shared = tfcam.Explainer(model, layer, **options.pop("made", {}))
    alone = shared(IMAGE, **options)
    for result in [*shared([IMAGE, IMAGE], **options), shared(IMAGE, **options)]:
        assert result.findings == alone.findings
        np.testing.assert_allclose(result.heatmap, alone.heatmap, atol=1e-6)
    assert alone.heatmap.shape == (8, 8)
    assert alone.heatmap.dtype == np.float32
    assert np.isfinite(alone.heatmap).all()
    assert alone.picture().shape == (8, 8, 3)
    return alone, [each.code for each in alone.findings]


@pytest.mark.parametrize("method", networks.METHODS)
def test_a_sound_map_has_no_findings(method):
    result, codes = explained(network(), made={"method": method}, target=1)
    assert codes == []
    assert result.heatmap.max() == 1.0


def test_no_positive_evidence():
    """Class 0 has only weights below zero, so that every pixel speaks against it."""
    model = network(kernel=[[-1, 1], [-2, 1]])
    result, codes = explained(model, target=0)
    assert codes == ["no_positive_evidence"]
    assert "Nothing in this map speaks for class 0:" in result.findings[0].message
    assert not result.heatmap.any()
    assert (result.raw < 0).all()
    assert result.boxes().shape == (0, 4)
    # M = (-1 A_0 - 2 A_1) / Z, Z = 64
    by_hand = -(IMAGE[..., 0] + 2 * IMAGE[..., 1]) / 64
    np.testing.assert_allclose(result.raw, by_hand, rtol=1e-5)
    named, _ = explained(model, made={"labels": ["cat", "dog"]}, target="cat")
    assert "Nothing in this map speaks for cat:" in named.findings[0].message


def test_a_callable_without_evidence_is_named():
    def nothing(outputs):
        return 0.0 * outputs[:, 0]

    result, codes = explained(network(), target=nothing)
    assert codes == ["no_positive_evidence"]
    assert "speaks for nothing:" in result.findings[0].message
    assert result.label == "nothing"


def test_one_position():
    result, codes = explained(network("one"), layer="whole", target=0)
    assert codes == ["one_position"]
    assert "'whole' has one position only" in result.findings[0].message
    assert result.raw.shape == (1, 1)
    np.testing.assert_allclose(result.heatmap, np.ones((8, 8)), atol=1e-6)


@pytest.mark.parametrize("method", networks.METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(method, value):
    model = network()
    model.get_layer("conv").set_weights([np.full((1, 1, 3, 2), value)])
    result, codes = explained(model, made={"method": method}, target=0)
    assert codes == ["not_finite"]
    bad = np.count_nonzero(~np.isfinite(result.raw)) + (not np.isfinite(result.score))
    assert bad >= 64
    assert (
        f"The map and its score hold {bad} values that are NaN or infinite"
        in result.findings[0].message
    )
    assert not result.heatmap.any()
    assert result.boxes().shape == (0, 4)


@pytest.mark.parametrize("method", networks.METHODS)
def test_a_score_that_is_not_finite_is_told(method):
    model = network(kernel=[[np.nan, 1], [1, 1]])
    result, codes = explained(model, made={"method": method}, target=0)
    assert np.isnan(result.score)
    assert codes == ["not_finite"]


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_probability_explained(score):
    result, codes = explained(network("hidden"), made={"score": score}, target=0)
    assert codes == ([] if score == "probability" else ["probability_explained"])
    assert result.score_kind == "probability"
    assert result.score == pytest.approx(result.probability)
    # p_0 = sigmoid(z_0 - z_1): the map is p (1 - p) (A_0 - A_1) / Z.
    z = IMAGE[..., :2].mean(axis=(0, 1), dtype=np.float64)
    p = 1 / (1 + np.exp(z[1] - z[0]))
    assert result.score == pytest.approx(p)
    by_hand = p * (1 - p) * (IMAGE[..., 0] - IMAGE[..., 1]) / 64
    np.testing.assert_allclose(result.raw, by_hand, rtol=1e-4, atol=1e-8)


# FullGrad explains logits only.
@pytest.mark.parametrize("method", [m for m in networks.METHODS if m != "full_grad"])
def test_saturated(method):
    """A logit of 1e3: the softmax is 1 and its gradient 0; the logit's own map is sound."""
    model = network(kernel=1e3 * np.eye(2), bias=-1e3)
    made = {"method": method, "score": "probability"}
    result, codes = explained(model, made=made, target=0)
    assert result.probability == 1.0
    assert "saturated" in codes
    assert codes in (["saturated"], ["no_positive_evidence", "saturated"])
    assert "probability is 1.000000" in result.findings[-1].message
    assert "score='logit'" in result.findings[-1].message
    logit, codes = explained(model, made={"method": method}, target=0)
    assert codes == []
    if logit.score_kind == "logit":
        assert logit.score == pytest.approx(1e3 * IMAGE[..., 0].mean(), rel=1e-5)
    assert logit.heatmap.max() == 1.0


@pytest.mark.parametrize("probability", [0.5, 0.999, 0.99995])
def test_saturated_begins_close_to_one(probability):
    model = network(kernel=np.zeros((2, 2)), bias=np.log(1 / probability - 1))
    result, codes = explained(model, made={"score": "probability"}, target=0)
    assert result.score == pytest.approx(probability)
    assert ("saturated" in codes) == (probability > 1 - 1e-4)


@pytest.mark.parametrize("known", [None, tuple(f"label {number}" for number in range(1000))])
def test_no_labels(monkeypatch, known):
    """A network named as one of keras.applications, with its 1000 classes."""
    monkeypatch.setattr(explainer, "imagenet_labels", lambda: known)
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(1000, "softmax")(x), name="mobilenetv2_1.00_224")
    result = tfcam.explain(model, IMAGE, target=7)
    codes = [each.code for each in result.findings if each.code != "no_positive_evidence"]
    assert codes == (["no_labels"] if known is None else [])
    assert result.label == (None if known is None else "label 7")
