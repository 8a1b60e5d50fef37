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
from tests.tolerances import ROUNDED
from tfcam import findings
from tfcam.explainer import numeric_checks
from tfcam.explainer.checks import of_measured
from tfcam.explainer.numeric_checks import underflowed
from tfcam.findings import FINDINGS, Finding, finding
from tfcam.methods.registry import METHODS
from tfcam.model import labels as asking
from tfcam.passes.reading import Need
from tfcam.preprocessing.ranges import Range
from tfcam.targets.classes import Difference, Top

FACTS = {
    "target": "tabby cat",
    "others": "the same map does elsewhere",
    "seen": 9,
    "count": 49,
    "layer": "block5/conv_{3}",  # a name in braces stays as it is
    "probability": 0.99996,
    "why": "it is zero at all of its 49 values",
    "holder": "The map and its score",
    "start": "They start in 'conv', whose output holds 3; its weights are finite.",
    "low": -0.25,
    "high": 1.5,
    "least": 0.0,
    "most": 255.0,
    "lost": 31,
    "model": "tiny",
    "method": "eigen_cam",
    "extra": 5,
    "frames": 8,
    "where": "in front",
    "patches": "16 x 14",
    "key": "cats/1.jpg",
    "size": 5e-10,
    "all": ["a/last", "b/last"],
    "error": 0.75,
    "fidelity": 0.25,
    "share": 0.031,
    "p_value": 0.36,
    "verdict": "not supported",
}


@pytest.mark.parametrize("code", FINDINGS)
def test_a_message_is_one_line_with_all_its_facts(code):
    template = FINDINGS[code].message
    asked = {name for _, name, _, _ in string.Formatter().parse(template) if name}
    assert asked <= set(FACTS)
    found = finding(code, **{name: FACTS[name] for name in asked})
    assert found == Finding(code, found.message)
    assert str(found) == f"{code}: {found.message}"
    assert re.fullmatch(r"[A-Z][^\n]{20,220}\.", found.message)
    shown = {"probability": "0.999960", "least": " 0 ", "most": " 255:", "size": "5.0e-10"}
    shown |= {"share": "3.1%"}
    assert all(shown.get(name, str(FACTS[name])) in found.message for name in asked)
    if asked:
        with pytest.raises(KeyError):
            finding(code)


@pytest.mark.parametrize("code", FINDINGS)
def test_cause_and_remedy_are_one_sentence_each(code):
    found = Finding(code, "Something was found.")
    assert (found.cause, found.remedy) == (FINDINGS[code].cause, FINDINGS[code].remedy)
    for text in (found.cause, found.remedy):
        assert re.fullmatch(r"[A-Z][^\n|]{20,220}\.", text)
        assert not re.search(r"[.!?] ", text)
    assert found.cause != found.remedy


@pytest.mark.parametrize(
    ("missing", "score", "told"),
    [(0.11, 1.0, True), (-0.11, 1.0, True), (0.09, 1.0, False), (0.11, 2e5, False)],
)
def test_what_a_map_lacks_is_told_but_for_rounding(missing, score, told):
    """From 1 % of the sum without signs on: here of 10."""
    raw = np.float32([[6, -4]])
    found = of_measured({"completeness_error": missing}, "deep_lift", raw, score)
    assert [each.code for each in found] == ["incomplete"] * told


def test_a_code_must_be_known():
    with pytest.raises(KeyError, match="no_such_code"):
        finding("no_such_code")


def test_each_code_is_raised_somewhere_and_no_other():
    sources = Path(findings.__file__).parent.rglob("*.py")
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


def agnostic(method):
    """What a method that knows no class has to say where one is asked for."""
    return [] if METHODS[method].class_specific else ["class_agnostic"]


def explained(model, layer="conv", image=IMAGE, **options):
    """The result, the same one by one, in a batch, eager and compiled; checked to be sound."""
    shared = tfcam.Explainer(model, layer, **options.pop("made", {}))
    alone = shared(image, **options)
    for result in [*shared([image, image], **options), shared(image, **options)]:
        assert result.findings == alone.findings
        np.testing.assert_allclose(result.heatmap, alone.heatmap, atol=ROUNDED)
    assert alone.heatmap.shape == (8, 8)
    assert alone.heatmap.dtype == np.float32
    assert np.isfinite(alone.heatmap).all()
    assert alone.picture().shape == (8, 8, 3)
    return alone, [each.code for each in alone.findings]


def ignoring(method):
    """What deconvnet has to say of a network without maxima."""
    return ["image_ignored"] * (method == "deconvnet")


@pytest.mark.thinned(6)
@pytest.mark.parametrize("method", networks.METHODS)
def test_a_sound_map_has_no_findings_and_is_not_looked_at_again(method, monkeypatch):
    def fail(*given):
        pytest.fail("another pass of the network")

    monkeypatch.setattr(numeric_checks, "_probe", fail)
    monkeypatch.setattr(numeric_checks, "start_of_nan", fail)
    result, codes = explained(network(), made={"method": method})
    assert codes == ignoring(method)
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
    assert codes == ["no_positive_evidence", "gradient_absent"]
    assert "speaks for nothing:" in result.findings[0].message
    assert result.label == "nothing"


def test_one_position():
    result, codes = explained(network("one"), layer="whole", target=0)
    assert codes == ["one_position"]
    assert "'whole' has only one position" in result.findings[0].message
    assert result.raw.shape == (1, 1)
    np.testing.assert_allclose(result.heatmap, np.ones((8, 8)), atol=ROUNDED)


@pytest.mark.parametrize("method", networks.METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.thinned(5)
def test_not_finite(method, value):
    model = network()
    model.get_layer("conv").set_weights([np.full((1, 1, 3, 2), value)])
    result, codes = explained(model, made={"method": method})
    assert codes == ["not_finite"]
    bad = np.count_nonzero(~np.isfinite(result.raw)) + (not np.isfinite(result.score))
    assert bad >= 64
    assert (
        f"The map and its score hold {bad} values that are NaN or infinite"
        in result.findings[0].message
    )
    # inf - inf and 0 inf are NaN, but every one of the 2 x 64 sums has an inf in it.
    assert "They start in 'conv', whose output holds 128; its weights hold 6." in str(
        result.findings[0]
    )
    assert not result.heatmap.any()
    assert result.boxes().shape == (0, 4)


@pytest.mark.thinned(6)
@pytest.mark.parametrize("method", networks.METHODS)
def test_a_score_that_is_not_finite_is_told(method):
    model = network(kernel=[[np.nan, 1], [1, 1]])
    result, codes = explained(model, made={"method": method}, target=0)
    assert np.isnan(result.score)
    assert codes == ["not_finite", *agnostic(method)]
    found = result.findings[0].message
    assert re.search(r"They start in 'dense', whose output holds \d; its weights hold 1\.", found)


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
@pytest.mark.thinned(3)
def test_saturated(method):
    """A logit of 1e3: the softmax is 1 and its gradient 0; the logit's own map is sound."""
    model = network(kernel=1e3 * np.eye(2), bias=-1e3)
    made = {"method": method, "score": "probability"}
    result, codes = explained(model, made=made, target=0)
    assert result.probability == 1.0
    empty = ["no_positive_evidence"] * (not result.heatmap.any())
    stopped = ["gradient_absent"] * bool(empty and METHODS[method].needs == Need.GRADIENTS)
    if method in ("guided_grad_cam", "finer_cam"):  # more than a gradient, or not of the class
        stopped = [code for code in codes if code == "gradient_absent"]
    chance = [code for code in codes if code == "noisy_map"]  # rounding alone is left of it
    assert not chance or method in ("rise", "lime")
    assert codes == [*empty, *chance, "saturated", *agnostic(method), *stopped]
    found = result.findings[len(empty + chance)]
    assert "probability is 1.000000" in found.message
    assert "score='logit'" in found.message
    logit, codes = explained(model, made={"method": method}, target=0)
    assert codes == agnostic(method) + ignoring(method)
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
    monkeypatch.setattr(asking, "imagenet_labels", lambda: known)
    inputs = keras.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(1000, "softmax")(x), name="mobilenetv2_1.00_224")
    result = tfcam.explain(model, 2 * IMAGE - 1, target=7)
    codes = [each.code for each in result.findings if each.code != "no_positive_evidence"]
    assert codes == (["no_labels"] if known is None else [])
    assert result.label == (None if known is None else "label 7")


# --- what is looked for only where something is wrong ---------------------------------------


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "cam", "eigen_cam", "score_cam"])
def test_dead_layer(method):
    """Below zero everywhere, the image is nothing to the ReLU: 8 x 8 x 2 zeros."""
    made = {"method": method}
    result, codes = explained(network(), image=-IMAGE, made=made)
    assert codes == ["no_positive_evidence", "dead_layer"]
    assert "All 128 activations of 'conv' are zero" in result.findings[1].message
    one, other = tfcam.Explainer(network(), "conv", method=method)([IMAGE, -IMAGE])
    assert one.findings == ()
    assert other.findings == result.findings


def test_an_empty_map_of_a_living_layer_is_not_dead():
    """One of 128 activations is alive, in a channel that class 0 has no weight for."""
    image = np.full((8, 8, 3), -1, np.float32)
    image[2, 3, 1] = 1
    result, codes = explained(network(), image=image, target=0)
    assert not result.raw.any()
    assert codes == ["no_positive_evidence"]


def test_the_dead_one_of_several_layers_is_told():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 1, use_bias=False, name="conv")(inputs)
    x = layers.ReLU(name="dead")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    model.get_layer("conv").set_weights([np.full((1, 1, 3, 2), -1.0)])
    _, codes = explained(model, ["conv", "dead"])
    assert codes == ["no_positive_evidence", "gradient_absent", "dead_layer"]
    result, _ = explained(model, ["conv", "dead"])
    said = [each.message for each in result.findings]
    assert "reaches 'conv': it is zero at all of its 128 values." in said[1]
    assert "All 128 activations of 'dead' are zero" in said[2]


def test_gradient_absent():
    """Nothing but the bias makes the logit; the error where it is missing altogether stays."""
    result, codes = explained(network(kernel=np.zeros((2, 2))), target=0)
    assert codes == ["no_positive_evidence", "gradient_absent"]
    assert result.findings[1].message == (
        "No gradient of the score reaches 'conv': it is zero at all of its 128 values."
    )
    _, codes = explained(network(kernel=[[1e-20, 0], [0, 0]]), target=0)
    assert codes == []
    with pytest.raises(ValueError, match="no gradient reaches 'conv'"):
        tfcam.explain(network(), IMAGE, "conv", target=lambda y: tf.stop_gradient(y[:, 0]))


def test_the_logits_that_only_a_graph_shows_are_those_that_are_looked_at():
    """Saturated, the probability has no gradient, but the logit has: it is the activation's."""
    model = networks.plain_head()
    kernel, bias = model.dense.get_weights()
    model.dense.set_weights([1e4 * np.abs(kernel), bias])
    image = networks.pictures(1)[0]
    for weights in (model.dense.get_weights(), [0 * kernel, bias]):
        model.dense.set_weights(weights)
        codes = [each.code for each in tfcam.explain(model, image, "norm", target=0).findings]
        assert ("gradient_absent" in codes) == (not weights[0].any())


# --- where NaN starts -----------------------------------------------------------------------


def chain(*steps):
    """The steps in a row, then pooling and two classes."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 1, activation="relu", use_bias=False, name="conv")(inputs)
    for step in steps:
        x = step(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(2, name="dense")(x))
    model.get_layer("conv").set_weights([np.eye(3, 2, dtype="float32")[None, None]])
    model.get_layer("dense").set_weights([np.eye(2), np.zeros(2)])
    return model


def first_nan(model, image=IMAGE, **options):
    result, codes = explained(model, image=image, **options)
    assert codes == ["not_finite"]
    return result.findings[0].message


def test_nan_starts_in_a_layer_with_finite_weights():
    """log 0 is -inf where the ReLU gave 0: at three pixels of channel 0, at none of channel 1."""
    image = IMAGE.copy()
    image[0, :3, 0] = -1
    model = chain(layers.Activation(keras.ops.log, name="log"))
    said = first_nan(model, image, target=1)
    assert "They start in 'log', whose output holds 3; its weights are finite." in said
    _, codes = explained(model, target=1)
    assert "not_finite" not in codes


def test_nan_starts_in_the_inner_layer_and_in_the_call_that_makes_it():
    shared = layers.Activation(lambda x: 1e30 * x, name="shared")
    inside = keras.Sequential([shared, shared], name="inside")
    said = first_nan(chain(inside))
    # 1e30 x 1e30 is more than float32 holds, 0.1 and more times 1e30 is not.
    assert "They start in 'inside/shared:1', whose output holds 128; its weights" in said


def test_nan_that_no_layer_gives_is_told():
    """The slope of the root is infinite at 0, where the root itself is 0."""
    image = IMAGE.copy()
    image[0, 0] = -1
    said = first_nan(chain(layers.Activation(keras.ops.sqrt, name="root")), image, target=0)
    assert "No layer gives such values: they arise in the score, its gradient" in said


def test_nan_that_the_preprocessing_makes_is_told():
    def broken(pixels):
        return np.where(pixels < 100, np.float32(np.nan), pixels)

    picture = np.full((8, 8, 3), 200, np.uint8)
    picture[0, :5] = 0
    said = first_nan(network(), picture, made={"preprocess": broken})
    assert "They start in the model's input, which holds 15." in said


def test_nan_that_float16_makes_is_told():
    """200 x 400 is more than float16 holds."""
    double = layers.Rescaling(400.0, dtype="float16", name="double")
    image = np.full((8, 8, 3), 200, np.float32)
    said = first_nan(chain(double), image=image, made={"preprocess": None})
    assert "They start in 'double', whose output holds 128; its weights are finite." in said


# --- an input that can't be the model's -----------------------------------------------------


def scaling(scale, offset=0.0):
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(scale, offset, name="scale")(inputs)
    x = layers.Conv2D(2, 1, name="conv")(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    model.get_layer("conv").set_weights([np.ones((1, 1, 3, 2)), np.ones(2)])
    return model


def family(name):
    """A network of that name with 1000 classes."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 1, name="conv")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(1000)(x), name=name)


def spanning(low, high):
    """Values from low to high, evenly."""
    return np.linspace(low, high, 8 * 8 * 3, dtype=np.float32).reshape(8, 8, 3)


RAW, TF, CAFFE = (scaling(1 / 255), family("mobilenetv2_1.00_224"), family("vgg16"))
UNIT, TORCH = scaling(255.0), family("densenet121")
WRONG = [
    (
        RAW,
        spanning(0, 1),
        "from 0 to 1, but the model takes those from 0 to 255: 0..255 as it is, ",
    ),
    (scaling(1 / 127.5, -1), spanning(-1, 1), "from -1 to 1, but the model takes those from 0 to"),
    (RAW, spanning(-2.1, 2.6), "from -2.1 to 2.6, but"),
    (RAW, spanning(-120, 150), "from -120 to 150, but"),
    (
        UNIT,
        spanning(0, 255),
        "from 0 to 255, but the model takes those from 0 to 1: scaled to 0..1",
    ),
    (UNIT, spanning(-1, 1), "from -1 to 1, but"),
    (
        TF,
        spanning(0, 255),
        "takes those from -1 to 1: scaled to -1..1, as mobilenet_v2 was trained.",
    ),
    (TF, spanning(-2.1, 2.6), "from -2.1 to 2.6, but the model takes those from -1 to 1"),
    # 0 - 123.68 and 255 - 103.939; (0 - 0.485) / 0.229 and (1 - 0.406) / 0.225
    (CAFFE, spanning(0, 255), "from 0 to 255, but the model takes those from -123.7 to 151.1: BGR"),
    (CAFFE, spanning(0, 1), "from 0 to 1, but"),
    (TORCH, spanning(0, 255), "from 0 to 255, but the model takes those from -2.118 to 2.64: "),
    # Divided by 255 alone: nothing is darker than grey, or than the mean.
    (TF, spanning(0, 1), "from 0 to 1, but the model takes those from -1 to 1"),
    (TORCH, spanning(0, 1), "from 0 to 1, but the model takes those from -2.118 to 2.64"),
    (CAFFE, spanning(0, 100), "from 0 to 100, but the model takes those from -123.7"),
    # Prepared twice.
    (TF, spanning(-1, 1) / 127.5 - 1, "but the model takes those from -1 to 1"),
    (UNIT, spanning(0, 1) / 255, "but the model takes those from 0 to 1"),
    (TORCH, (spanning(-2.1, 2.6) / 255 - 0.45) / 0.225, "but the model takes those from -2.118"),
    (CAFFE, spanning(-123, 151) - 110, "but the model takes those from -123.7"),
]
RIGHT = [
    (RAW, spanning(0, 255)),
    (RAW, spanning(-3, 258)),  # resized by a filter that overshoots
    (RAW, np.zeros((8, 8, 3), np.float32)),
    (RAW, np.full((8, 8, 3), 0.4, np.float32)),
    (RAW, (spanning(0, 1) > 0.5).astype(np.float32)),  # nearly black, but whole numbers
    (RAW, spanning(0, 4)),
    (UNIT, spanning(0, 1)),
    (TF, spanning(-1, 1)),
    (TF, spanning(-0.3, 1)),
    (TF, np.zeros((8, 8, 3), np.float32)),
    (CAFFE, spanning(-123, 151)),
    (CAFFE, np.full((8, 8, 3), 0.4, np.float32)),
    (TORCH, spanning(-2.1, 2.6)),
    (TORCH, spanning(-0.2, 1)),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_input_range(case):
    model, image, said = WRONG[case]
    result = tfcam.explain(model, image, "conv", target=0, preprocess=None)
    codes = [each.code for each in result.findings]
    assert "input_range" in codes
    found = result.findings[codes.index("input_range")]
    assert said in found.message
    assert found.message.startswith("The input holds values from ")


@pytest.mark.parametrize("case", range(len(RIGHT)))
def test_an_input_that_may_be_the_models_is_not_doubted(case):
    model, image = RIGHT[case]
    result = tfcam.explain(model, image, "conv", target=0)
    assert "input_range" not in [each.code for each in result.findings]


def test_input_range_of_each_image_eager_and_compiled():
    explainer = tfcam.Explainer(RAW, "conv")
    images = [spanning(0, 255), spanning(0, 1)]
    for _ in range(3):
        found = [[each.code for each in result.findings] for result in explainer(images, target=0)]
        assert ["input_range" in each for each in found] == [False, True]


@pytest.mark.parametrize("model", [RAW, UNIT, TF, CAFFE, TORCH], ids=lambda model: model.name)
@pytest.mark.parametrize("value", [0, 1, 100, 255])
def test_what_is_prepared_here_always_fits(model, value):
    picture = np.full((5, 7, 3), value, np.uint8)
    picture[2, 3] = 3 - min(value, 3)
    result = tfcam.explain(model, picture, "conv", target=0)
    assert "input_range" not in [each.code for each in result.findings]


def test_a_range_is_doubted_only_where_it_is_known():
    """Of a model that tells nothing, and of one whose scaling is of no known pixels."""
    normal = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Normalization(mean=[0.1] * 3, variance=[900.0] * 3),
            layers.Conv2D(2, 1),
            layers.GlobalAveragePooling2D(),
        ]
    )
    for model in (network(), normal):
        for image in (spanning(0, 1), spanning(0, 255), spanning(-50, 50)):
            result = tfcam.explain(model, image, target=0)
            assert "input_range" not in [each.code for each in result.findings]


def test_a_range_is_known_whatever_the_head():
    nested = keras.Sequential([keras.Input((8, 8, 3)), family("vgg16"), layers.Dense(2)])
    few = keras.Model(CAFFE.input, layers.Dense(10)(CAFFE.layers[-2].output), name="vgg16")
    for model in (nested, few):
        result = tfcam.explain(model, spanning(0, 1), target=0)
        assert "input_range" in [each.code for each in result.findings]
        result = tfcam.explain(model, spanning(-120, 150), target=0)
        assert "input_range" not in [each.code for each in result.findings]


def test_a_preprocessing_that_was_asked_for_is_checked_as_well():
    picture = spanning(0, 255).astype(np.uint8)
    for preprocess, wrong in {"unit": True, "tf": True, "raw": False, None: False}.items():
        result = tfcam.explain(RAW, picture, "conv", target=0, preprocess=preprocess)
        assert ("input_range" in [each.code for each in result.findings]) == wrong, preprocess
    result = tfcam.explain(TF, picture, "conv", target=0, preprocess=None)
    assert "input_range" in [each.code for each in result.findings]


def test_a_range_says_how_it_is_reached():
    mode = Range(0.0, 255.0, "BGR, mean off, as vgg16 was trained")
    assert mode.preparation == "BGR, mean off"


# --- float16 --------------------------------------------------------------------------------


def half(kernel=1.0, first=1.0, pool=False, policy="mixed_float16", head="float32", bias=0.0):
    """Passes channels 0 and 1 on, in a policy; two classes, of which class 0 sees channel 0."""
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 1, use_bias=False, name="conv", dtype=policy)(inputs)
    x = layers.MaxPooling2D(2, dtype=policy)(x) if pool else x
    x = layers.GlobalAveragePooling2D(dtype=policy)(x)
    model = keras.Model(inputs, layers.Dense(2, "softmax", name="dense", dtype=head)(x))
    model.get_layer("conv").set_weights([first * np.eye(3, 2)[None, None]])
    model.get_layer("dense").set_weights([kernel * np.eye(2), np.array([0.0, bias])])
    return model


LOST = {
    # 1e-13 x 2^14 is less than the 6e-8 that float16 holds; the other channel has no gradient.
    "zero": ({"kernel": 1e-13}, 64, 64),
    # Of each 2 x 2 one is the largest.
    "behind a pooling": ({"kernel": 1e-13, "pool": True}, 16, 16),
    # 1e-8 x 2^14 / 64 is a subnormal number.
    "subnormal": ({"kernel": 1e-8}, 64, 64),
    "a head of float16": ({"kernel": 1e-7, "head": "mixed_float16"}, 64, 64),
}
HELD = {
    "a sound one": {},
    "zeros that a pooling makes": {"pool": True, "first": 1e-5},
    "small activations": {"first": 1e-6},
    "small gradients in float32": {"kernel": 1e-13, "policy": "float32"},
    "small gradients in bfloat16": {"kernel": 1e-13, "policy": "mixed_bfloat16"},
    "no gradient at all": {"kernel": 0.0},
    "small ones that are held": {"kernel": 1e-6},
}


@pytest.mark.thinned(2)
@pytest.mark.parametrize("case", LOST)
def test_float16_underflow(case):
    options, count, lost = LOST[case]
    result, codes = explained(half(**options), target=0)
    assert codes[-1] == "float16_underflow"
    assert f"Of the {count} gradients of 'conv' that are not zero, {lost} are too small" in str(
        result.findings[-1]
    )
    assert codes[:-1] == ["no_positive_evidence"] * (not result.raw.any())


@pytest.mark.thinned(3)
@pytest.mark.parametrize("case", HELD)
def test_what_float16_holds_is_no_underflow(case):
    _, codes = explained(half(**HELD[case]), target=0)
    absent = ["no_positive_evidence", "gradient_absent"]
    assert codes == (absent if case == "no gradient at all" else [])


def test_the_gradient_of_a_saturated_probability_underflows_in_float16():
    """p (1 - p) is 1e-10, and 2^14 / 64 times that."""
    model = half(bias=np.log(1e10))
    result, codes = explained(model, made={"score": "probability"}, target=0)
    assert result.score == pytest.approx(1e-10, rel=1)
    assert codes[-2:] == ["saturated", "float16_underflow"]


@pytest.mark.slow
def test_a_callable_is_scaled_as_well():
    result, codes = explained(half(kernel=1e-13), target=lambda outputs: outputs[:, 0])
    assert codes[-1] == "float16_underflow"
    assert "Of the 64 gradients" in result.findings[-1].message


def test_underflow_by_hand():
    explained, further = np.array([0.0, 0.0, 2.0**-30, 1.0]), np.array([0.0, 1e-5, 1e-3, 9.0])
    # The first has none; of three the second is lost; the third is 2^-16, below 2^-14.
    assert underflowed([explained, further], half=False) == (3, 1)
    assert underflowed([explained, further], half=True) == (3, 2)
    # What overflows says nothing; the next one that does not is taken.
    over = np.array([0.0, np.inf, 1.0, 1.0])
    assert underflowed([explained, over], half=False) == (2, 0)
    assert underflowed([explained, over, further], half=False) == (3, 1)


# --- what is asked for ----------------------------------------------------------------------


@pytest.mark.thinned(12)
@pytest.mark.parametrize("method", networks.METHODS)
def test_class_agnostic(method):
    if not agnostic(method):
        assert tfcam.explain(network(), IMAGE, "conv", target=1, method=method).findings == ()
        return
    result, codes = explained(network(), made={"method": method}, target=1)
    assert codes == ["class_agnostic", *ignoring(method)]
    assert result.findings[0].message == (
        f"The map of {method!r} is the same, or nearly the same, for every class: it is no "
        "evidence for class 1."
    )


def test_class_agnostic_for_every_way_to_ask():
    explainer = tfcam.Explainer(network(), "conv", method="eigen_cam", labels=["cat", "dog"])
    named = explainer([IMAGE, IMAGE], target=[None, "dog"])
    assert [[each.code for each in one.findings] for one in named] == [[], ["class_agnostic"]]
    assert named[1].findings[0].message.endswith("no evidence for dog.")
    for target in (Difference("cat", "dog"), lambda outputs: outputs[:, 1], "cat"):
        assert [each.code for each in explainer(IMAGE, target).findings] == ["class_agnostic"]
    for each in explainer(IMAGE, Top(2)):
        assert [found.code for found in each.findings] == ["class_agnostic"]


@pytest.mark.parametrize("target", [0, lambda outputs: outputs[:, 0]])
@pytest.mark.parametrize("augment", [False, True])
def test_image_ignored(target, augment):
    images = np.stack([IMAGE, IMAGE[::-1]])
    for _ in range(2):
        found = tfcam.explain(network(), images, target=target, method="deconvnet", augment=augment)
        assert ["image_ignored" in [each.code for each in r.findings] for r in found] == [True] * 2
    np.testing.assert_array_equal(found[0].raw, found[1].raw)
    told = next(each for each in found[0].findings if each.code == "image_ignored")
    assert told.message.startswith(
        "Deconvnet makes the same map of this image and of noise: in 'tiny'"
    )


def pooled(x):
    return layers.MaxPooling2D(2)(x)


def squashed(x):
    return layers.Activation("tanh")(x)


@pytest.mark.parametrize("step", [pooled, squashed])
def test_an_image_that_decides_is_not_called_ignored(step):
    inputs = keras.Input((8, 8, 3))
    x = step(layers.Conv2D(4, 3, activation="relu", name="conv")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    images = np.stack([IMAGE, IMAGE[::-1]])
    found = tfcam.explain(networks.seeded(model), images, target=0, method="deconvnet")
    assert np.abs(found[0].raw - found[1].raw).max() > 1e-3
    assert [each.code for each in found[0].findings] == ["class_agnostic"]


@pytest.mark.parametrize("method", ["grad_cam", "attention_rollout", "saliency"])
@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.thinned(2)
def test_prefix_tokens(prefix, method):
    """12 x 12 pixels in patches of 4: 3 x 3, behind the prefix."""
    explainer = tfcam.Explainer(networks.vit(prefix), "block0", method=method)
    if method == "saliency":
        explainer = tfcam.Explainer(networks.vit(prefix), method=method)
    for _ in range(2):
        found = explainer(networks.pictures(1)[0]).findings
        told = [each.message for each in found if each.code == "prefix_tokens"]
        assert told == [
            f"The {prefix + 9} tokens of 'block0' are taken as 3 x 3 patches, row by row, and "
            f"{prefix} further without a patch (in front), such as a class token."
        ] * (prefix > 0 and method != "saliency")


def test_prefix_tokens_of_several_layers_are_told_once():
    result = tfcam.explain(networks.vit(1), networks.pictures(1)[0], ["block0", "norm1"])
    assert [each.code for each in result.findings].count("prefix_tokens") == 1
