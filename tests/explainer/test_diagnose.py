"""The checks alone: facts and findings; nothing changes, and errors are rows."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from typer.testing import CliRunner

import tfcam
from tests import networks
from tests.test_findings import IMAGE, RAW, chain, half, network, spanning
from tfcam.cli.commands import app
from tfcam.findings import FINDINGS, Finding
from tfcam.results.diagnosis import Diagnosis
from tfcam.targets.classes import Top


def codes(model, image=IMAGE, *arguments, **options):
    """The codes that are found, twice the same."""
    found = tfcam.diagnose(model, image, *arguments, **options)
    assert tfcam.diagnose(model, image, *arguments, **options).findings == found.findings
    assert len(found) == len(list(found)) == len(found.rows()) - 1
    return [each.code for each in found]


# --- facts ----------------------------------------------------------------------------------


def test_the_facts_of_a_sound_network():
    model = networks.flat()
    found = tfcam.diagnose(model, networks.pictures(1)[0], labels=["cat", "dog", "cow"])
    score = tfcam.explain(model, networks.pictures(1)[0]).score
    name, number = found.facts.pop("explained").split(", ")
    assert name in ("cat", "dog", "cow")
    assert float(number) == pytest.approx(score, rel=1e-4)
    assert found.facts == {
        "layer": "features (feeds pool, the last global pooling)",
        "CAM": "applies at features",
        "guided backprop": "applies: 2 ReLUs",
        "preprocessing": "none: given as prepared",
        "output": "logits, found before the final softmax or sigmoid",
        "dtype policy": "float32",
    }
    assert list(found) == []
    assert found.model == "flat"
    assert found


def test_a_named_layer_stands_beside_the_default_one():
    facts = tfcam.diagnose(networks.flat(), networks.pictures(1)[0], "first", target=2).facts
    assert facts["layer"] == "first (as given)"
    assert facts["default layer"] == "features (feeds pool, the last global pooling)"
    assert facts["CAM"] == "applies at features"
    assert facts["explained"].startswith("class 2, ")


def test_what_does_not_apply_says_why():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 3, activation="swish", name="conv")(inputs)
    x = layers.Dense(4)(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(2)(x), name="swish")
    found = tfcam.diagnose(model, IMAGE)
    assert found.facts["CAM"].startswith("does not apply: 'dense")
    assert found.facts["guided backprop"] == "does not apply: there is no ReLU"
    assert found.facts["layer"] == (
        "conv (the last map of the network, which has no global pooling)"
    )
    assert found.facts["output"] == "its own, that no softmax or sigmoid ends"
    assert [each.code for each in found] == ["nothing_to_gate"]
    # conv, flatten and two dense layers
    assert "None of the 4 layer calls in 'swish' computes a ReLU" in found.findings[0].message
    with pytest.raises(ValueError, match="'swish' has none: its activations are of another kind"):
        tfcam.explain(model, IMAGE, method="guided_backprop")


def test_relus_out_of_reach_are_told_and_are_no_finding():
    @tf.function
    def hidden(x):
        return tf.nn.relu(x)

    model = chain(layers.Activation(hidden, name="hidden"))
    found = tfcam.diagnose(model, IMAGE)
    assert "1 ReLUs are inside a tf.function" in found.facts["guided backprop"]
    assert "nothing_to_gate" not in [each.code for each in found]
    with pytest.raises(ValueError, match="must reach every ReLU"):
        tfcam.explain(model, IMAGE, method="guided_backprop")


def test_the_output_and_the_dtypes_are_told():
    facts = tfcam.diagnose(half(), IMAGE).facts
    assert facts["dtype policy"] == "float32, mixed_float16"
    hidden = tfcam.diagnose(network("hidden"), IMAGE)
    assert hidden.facts["output"] == "probabilities"
    assert [each.code for each in hidden] == ["probability_explained"]
    assert codes(network("hidden"), score="probability") == []
    own = tfcam.diagnose(network(), IMAGE, target=lambda outputs: outputs[:, 0])
    assert own.facts["output"] == "a callable's own"
    assert own.facts["explained"].startswith("<lambda>, ")


@pytest.mark.thinned(1)
@pytest.mark.parametrize("prefix", [0, 1])
def test_a_transformer(prefix):
    found = tfcam.diagnose(networks.vit(prefix), networks.pictures(1)[0], target=1)
    assert [each.code for each in found] == ["prefix_tokens"] * prefix + ["nothing_to_gate"]
    applies = "does not apply: " if prefix else "applies at last_norm"
    assert found.facts["CAM"].startswith(applies)


def test_tokens_of_no_patch_that_are_pooled_with_the_others_are_no_map():
    inputs = keras.Input((12, 12, 3))
    x = layers.Reshape((-1, 8))(layers.Conv2D(8, 4, strides=4)(inputs))
    x = networks.PrefixTokens(2, name="prefix")(x)
    x = layers.MultiHeadAttention(1, 8)(x, x)
    x = layers.LayerNormalization(name="norm")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    found = tfcam.diagnose(model, networks.pictures(1)[0])
    assert found.facts["CAM"] == "does not apply: 2 tokens of no patch are pooled with the others"


def test_a_network_without_a_map():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Dense(2, name="dense")(layers.Flatten()(inputs)))
    found = tfcam.diagnose(model, IMAGE, target=1)
    assert found.facts["layer"] == ("none: no layer has a map, and only methods on the input apply")
    assert [each.code for each in found] == ["nothing_to_gate"]
    model.get_layer("dense").set_weights([np.full((192, 2), np.nan), np.zeros(2)])
    assert codes(model) == ["not_finite", "nothing_to_gate"]


# --- findings -------------------------------------------------------------------------------


def test_a_gradient_that_is_stopped_is_a_row():
    model = network()

    def stopped(outputs):
        return tf.stop_gradient(outputs[:, 0])

    found = tfcam.diagnose(model, IMAGE, "conv", target=stopped)
    assert [each.code for each in found] == ["gradient_absent"]
    (row,) = found
    assert "reaches 'conv': it is not on the way to the explained output, or an" in row.message
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(2, 1, activation="relu", name="conv")(inputs)
    x = layers.GlobalAveragePooling2D()(keras.ops.stop_gradient(x))
    model = keras.Model(inputs, layers.Dense(2)(x))
    assert codes(model, IMAGE, "conv") == ["gradient_absent"]
    with pytest.raises(ValueError, match="no gradient reaches 'conv'"):
        tfcam.explain(model, IMAGE, "conv")


def test_a_layer_that_is_not_called_is_a_row():
    class Beside(networks.Chain):
        def __init__(self, steps):
            super().__init__(steps)
            self.beside = layers.Conv2D(2, 1, name="beside")

        def build(self, shape):
            self.beside.build(shape)

    model = Beside([layers.Conv2D(2, 1, activation="relu", name="conv"), *networks.head()])
    model(networks.pictures(1))
    found = tfcam.diagnose(model, networks.pictures(1)[0], "beside")
    assert [each.code for each in found] == ["gradient_absent"]
    assert "reaches 'beside': it is part of the model, but was not called" in str(found.findings[0])
    assert codes(model, networks.pictures(1)[0], "conv") == []
    with pytest.raises(ValueError, match="'beside' is part of the model, but was not called"):
        tfcam.explain(model, networks.pictures(1)[0], "beside")


def test_a_gradient_of_zero_and_a_dead_layer():
    zero = tfcam.diagnose(network(kernel=np.zeros((2, 2))), IMAGE)
    assert [each.code for each in zero] == ["gradient_absent"]
    assert "it is zero at all of its 128 values" in zero.findings[0].message
    dead = tfcam.diagnose(network(), -IMAGE)
    assert [each.code for each in dead] == ["dead_layer"]
    assert "All 128 activations of 'conv'" in dead.findings[0].message
    # A map that speaks against the class is no fault of the network.
    assert codes(network(kernel=[[-1, 1], [-2, 1]]), target=0) == []


def test_nan():
    model = network()
    model.get_layer("conv").set_weights([np.full((1, 1, 3, 2), np.nan)])
    (found,) = tfcam.diagnose(model, IMAGE, target=0)
    assert found.code == "not_finite"
    # 128 activations and the score; behind a ReLU of NaN, the gradients by what comes out of it
    # are those of the pooling.
    assert found.message.startswith(
        "The activations, their gradients and the score hold 129 values that are NaN or infinite"
    )
    assert "They start in 'conv', whose output holds 128; its weights hold 6." in found.message


@pytest.mark.slow
def test_each_of_the_others():
    assert codes(network("one"), IMAGE, "whole") == ["one_position"]
    sure = network(kernel=1e3 * np.eye(2), bias=-1e3)
    assert codes(sure, target=0, score="probability") == ["saturated", "gradient_absent"]
    assert codes(sure, target=0) == []
    assert "input_range" in codes(RAW, spanning(0, 1))
    assert "input_range" not in codes(RAW, spanning(0, 255))
    assert codes(half(kernel=1e-13), target=0) == ["float16_underflow", "nothing_to_gate"]
    assert codes(half(), target=0) == ["nothing_to_gate"]


# --- the object -----------------------------------------------------------------------------


def test_the_table_by_hand():
    rest = Finding("one_position", FINDINGS["one_position"].message.format(layer="whole"))
    found = Diagnosis("tiny", {"layer": "whole (as given)", "CAM": "applies"}, (rest,))
    assert str(found) == repr(found)
    assert str(found).splitlines() == [
        "Diagnosis of 'tiny'",
        "  layer  whole (as given)",
        "  CAM    applies",
        "code                      what                                                        "
        "what to do",
        "one_position              The map of 'whole' has only one position, so it can't show  "
        "Choose a layer before the pooling, one of",
        "                          where. Choose a layer before the pooling;                   "
        "those that `tfcam.layers(model)` lists, or",
        "                          tfcam.layers(model) lists them.                             "
        "give a larger image.",
    ]
    assert found.rows()[1] == ("one_position", rest.message, rest.remedy)
    assert str(Diagnosis("tiny")).splitlines() == ["Diagnosis of 'tiny'", "No findings."]


@pytest.mark.parametrize("kind", networks.KINDS)
@pytest.mark.thinned(3)
def test_nothing_changes_in_any_kind_of_model(kind):
    model, image = networks.make(kind), networks.pictures(1)
    before = networks.snapshot(model, image)
    found = tfcam.diagnose(model, image[0], target=1)
    assert networks.snapshot(model, image) == before
    assert list(found) == []
    assert "features (feeds " in found.facts["layer"]
    assert "applies at " in found.facts["CAM"]
    assert found.facts["guided backprop"] == "applies: 2 ReLUs"


def test_nothing_changes_where_something_is_wrong():
    model, image = networks.flat(), networks.pictures(1)
    kernel, bias = model.get_layer("second").get_weights()
    model.get_layer("second").set_weights([kernel * np.nan, bias])
    before = repr(networks.snapshot(model, image))
    assert codes(model, image[0]) == ["not_finite"]
    assert repr(networks.snapshot(model, image)) == before


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([IMAGE, IMAGE],), {}, "diagnose takes one image"),
        ((IMAGE,), {"target": Top(2)}, r"diagnose takes one target; got Top\(k=2\)"),
        ((IMAGE,), {"target": [0, 1]}, "diagnose takes one target"),
        ((IMAGE, ["conv", "pool"]), {}, "diagnose takes one layer"),
        ((IMAGE, "cnov"), {}, "No layer 'cnov'.*'conv'"),
        ((IMAGE,), {"target": 2}, r"in 0\.\.1: 2 classes; got 2"),
        ((IMAGE,), {"score": "odds"}, "score must be one of logit, probability"),
        ((IMAGE,), {"preprocess": "zip"}, "preprocess must be 'auto'"),
        ((IMAGE[:4],), {}, "must have the model's input shape 8 x 8 x 3"),
    ],
)
def test_bad_input_is_an_error(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        tfcam.diagnose(network(), *arguments, **options)


# --- the command ----------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model and a picture."""
    monkeypatch.chdir(tmp_path)
    model = chain()
    keras.Model(model.input, model(model.input / 255.0)).save("model.keras")
    keras.utils.save_img("a.png", spanning(0, 255), scale=False)
    Path("labels.txt").write_text("cat\ndog\n")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["diagnose", *arguments])


@pytest.mark.usefixtures("here")
def test_the_command_prints_what_diagnose_finds():
    before = sorted(each.name for each in Path().iterdir())
    asked = ("--layer", "conv", "--target", "dog", "--labels", "labels.txt")
    result = run("a.png", "--model", "model.keras", *asked)
    assert (result.exit_code, result.stderr) == (0, "")
    model = keras.models.load_model("model.keras")
    wanted = tfcam.diagnose(model, "a.png", "conv", target="dog", labels=["cat", "dog"])
    assert result.stdout == f"{wanted}\n"
    assert "explained        dog, " in result.stdout
    assert "No findings." in result.stdout
    by_index = run("a.png", "--model", "model.keras", "--layer", "0", "--preprocess", "unit")
    assert by_index.exit_code == 0
    assert "index 0 of tfcam.layers(model)" in by_index.stdout
    assert sorted(each.name for each in Path().iterdir()) == before


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("no.png --model model.keras", "no.png"),
        ("a.png --model no.keras", "No model file 'no.keras'."),
        ("a.png --model model.keras --layer cnov", "No layer 'cnov'"),
        ("a.png --model model.keras --target 9", "in 0..1: 2 classes; got 9."),
        ("a.png --model model.keras --target dog", "labels of this model are not known"),
        ("a.png --model model.keras --preprocess zip", "preprocess must be 'auto'"),
        ("a.png --model model.keras --labels no.txt", "--labels must be a text file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message):
    result = run(*arguments.split())
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("tfcam: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
