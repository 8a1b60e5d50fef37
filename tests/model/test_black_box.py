"""What only gives scores: the maps of the same network in Keras, at every door."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests import networks
from tests.tolerances import rounding
from tfcam.cli.commands import app
from tfcam.metrics import Probe
from tfcam.model.sealed_files import read_onnx

METHODS = [
    ("occlusion", {"window": 4}),
    ("rise", {"masks": 40, "centred": True}),
    ("kernel_shap", {"segments": "grid:2"}),
    ("lime", {"segments": "grid:2", "samples": 60}),
]
NAMES = [name for name, _ in METHODS]
PICTURES = [
    np.random.default_rng(seed).integers(0, 255, (12, 12, 3)).astype("u1") for seed in range(3)
]


@pytest.fixture(scope="module")
def network():
    """Its probabilities are far from 0 and 1."""
    model = networks.flat()
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel / 6, bias / 6])
    return model


@pytest.fixture(scope="module")
def box(network):
    def ask(images):
        return network.predict(images, verbose=0)

    return tfcam.BlackBox(ask, (12, 12, 3), labels=["cat", "dog", "fox"], probabilities=True)


@pytest.mark.parametrize(("method", "options"), METHODS)
@pytest.mark.thinned(1, kept="slow")
def test_maps_are_those_of_the_network(network, box, method, options):
    x = networks.pictures(2)
    found = tfcam.explain(box, x, target=["fox", 0], method=method, **options)
    wanted = tfcam.explain(network, x, target=[2, 0], method=method, score="probability", **options)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.raw, other.raw, atol=rounding(1.0))
        np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-3)
        assert one.score == pytest.approx(other.score, rel=1e-4)
        assert (one.target, one.score_kind) == (other.target, "probability")
    assert [each.label for each in found] == ["fox", "cat"]
    again = tfcam.Explainer(box, method=method, **options)
    for _ in range(2):
        np.testing.assert_allclose(again(x, [2, 0]).raws, found.raws, atol=rounding(1.0))


def means(images):
    return images.mean((1, 2))


def test_a_place_by_hand():
    x = np.zeros((6, 9, 3), "f4")
    x[2:4, 3:6, 1] = 1
    result = tfcam.explain(
        tfcam.BlackBox(means, (6, 9, 3)), x, method="occlusion", window=1, stride=1, fill="zero"
    )
    assert result.target == 1
    np.testing.assert_allclose(result.raw, x[..., 1] / 54, atol=1e-7)


def test_it_is_asked_about_full_batches_that_are_its_own():
    sizes = []

    def ask(images):
        sizes.append((len(images), images.dtype))
        answer = images.mean((1, 2))
        images[:] = 7  # nobody else sees that
        return answer.tolist()

    x = np.random.default_rng(0).normal(size=(3, 6, 6, 3)).astype("f4")
    before = x.copy()
    box = tfcam.BlackBox(ask, (6, 6, 3), batch_size=5)
    found = tfcam.explain(box, x, method="occlusion", window=2)
    assert set(sizes) == {(5, np.dtype("float32"))}
    np.testing.assert_array_equal(x, before)
    for result, image in zip(found, x, strict=True):
        assert result.score == pytest.approx(image.mean((0, 1)).max(), rel=1e-5)


@pytest.mark.parametrize("one", [np.asarray, tf.constant, lambda scores: scores[:, 0]])
def test_scores_may_be_anything_that_numpy_reads(one):
    box = tfcam.BlackBox(lambda images: one(means(images)), (4, 4, 2))
    x = np.random.default_rng(0).normal(size=(4, 4, 2)).astype("f4")
    result = tfcam.explain(box, x, method="occlusion", target=lambda scores: scores[:, 0])
    assert result.score == pytest.approx(x[..., 0].mean(), abs=1e-6)


def test_what_scores_are(network):
    x = networks.pictures(1)[0]
    logits = keras.Model(network.input, network.layers[-2].output)
    kernel, bias = network.layers[-1].get_weights()

    def ask(images):
        return logits.predict(images, verbose=0) @ kernel + bias

    asked = {"method": "occlusion", "window": 6, "target": 1}
    found = tfcam.explain(tfcam.BlackBox(ask, (12, 12, 3), probabilities=False), x, **asked)
    wanted = tfcam.explain(network, x, **asked)  # its logits
    np.testing.assert_allclose(found.raw, wanted.raw, atol=rounding(1.0))
    assert found.score == pytest.approx(wanted.score, rel=1e-4)
    assert (found.score_kind, found.findings) == ("output", wanted.findings)
    open_ = tfcam.BlackBox(lambda v: network.predict(v, verbose=0), (12, 12, 3))
    found = tfcam.explain(open_, x, **asked)
    assert found.score_kind == "probability"
    assert "probability_explained" in [each.code for each in found.findings]
    assert found.probability == pytest.approx(found.score)
    large = tfcam.BlackBox(lambda v: network.predict(v, verbose=0) + 1, (12, 12, 3))
    assert tfcam.explain(large, x, **asked, score="probability").score_kind == "output"


@pytest.mark.parametrize("method", tfcam.METHODS)
def test_methods_that_need_more_say_which_do_not(box, method):
    if method in NAMES:
        return
    said = rf"'{method}' needs layers or gradients, .*These methods apply: {', '.join(NAMES)}\."
    with pytest.raises(ValueError, match=said):
        tfcam.Explainer(box, method=method)


def test_what_needs_layers_says_so(box, tmp_path):
    x = networks.pictures(1)
    only = "The black box 'black_box' only gives scores: it has no layers and no gradients"
    for ask in (
        lambda: tfcam.layers(box),
        lambda: tfcam.features(box, x[0]),
        lambda: tfcam.metrics.randomisation(box, x, methods=["occlusion"]),
    ):
        with pytest.raises(ValueError, match=only):
            ask()
    with pytest.raises(ValueError, match="freeze=True builds weights in, and a black box has none"):
        tfcam.Explainer(box, method="occlusion", freeze=True)
    inside = keras.Sequential([keras.Input((12, 12, 3)), box])
    with pytest.raises(ValueError, match="can be no part of another model or of a graph"):
        tfcam.explain(inside, x[0], method="occlusion")
    with pytest.raises(NotImplementedError, match="make it anew from its function"):
        box.save(tmp_path / "box.keras")
    with pytest.raises(ValueError, match="'black_box' wants its pictures can't be read.*preproc"):
        tfcam.explain(box, PICTURES[0], method="occlusion")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("net.tflite", (4, 4, 3)), TypeError, "function must take images .* got 'net.tflite'"),
        ((means, 4), ValueError, r"shape must be that of one image, \(H, W, C\); got 4"),
        ((means, (4, None, 3)), TypeError, "shape must be a whole number; got None"),
        ((lambda x: x, (4, 4, 3)), ValueError, r"scores \(32, classes\) .*; got \(32, 4, 4, 3\)"),
        ((lambda x: {"a": 1}, (4, 4, 3)), ValueError, r"must return scores .*; got \{'a': 1\}"),
        ((lambda x: means(x)[:1], (4, 4, 3)), ValueError, r"must return scores .*; got \(1, 3\)"),
    ],
)
def test_what_does_not_fit_is_told(arguments, error, said):
    with pytest.raises(error, match=said):
        tfcam.BlackBox(*arguments)


def test_labels_and_probabilities_are_checked():
    with pytest.raises(ValueError, match="labels must name each of the 3 classes .*; got 2"):
        tfcam.BlackBox(means, (4, 4, 3), labels=["a", "b"])
    with pytest.raises(TypeError, match="probabilities must be True or False; got 'yes'"):
        tfcam.BlackBox(means, (4, 4, 3), probabilities="yes")


class GoneError(Exception):
    """A function's own error."""


def test_what_a_function_raises_comes_through_as_it_is():
    def ask(images):
        if images.any():
            raise GoneError("no connection")
        return means(images)

    with pytest.raises(GoneError, match="^no connection$"):
        tfcam.explain(tfcam.BlackBox(ask, (4, 4, 3)), np.ones((4, 4, 3), "f4"), method="occlusion")


def test_nan_is_a_finding():
    box = tfcam.BlackBox(lambda images: means(images) * np.nan, (4, 4, 3))
    result = tfcam.explain(box, np.ones((4, 4, 3), "f4"), method="occlusion")
    assert "not_finite" in [each.code for each in result.findings]
    assert not result.heatmap.any()


# --- doors ----------------------------------------------------------------------------------

UNIT = {"preprocess": "unit"}


@pytest.mark.slow
def test_every_door_shows_the_same_maps(box, network, tmp_path):
    method, options = METHODS[0]
    asked = {"target": 1, "method": method, **UNIT, **options}
    wanted = tfcam.explain(network, PICTURES, score="probability", **asked)
    (found,) = tfcam.compare(box, PICTURES[0], methods=[METHODS[0]], targets=["dog"], **UNIT).cells
    np.testing.assert_allclose(found[0].heatmap, wanted[0].heatmap, atol=1e-3)
    store = tfcam.stream(box, PICTURES, to=tmp_path / "store", **asked)
    for number, each in enumerate(wanted):
        np.testing.assert_allclose(store[number].heatmap, each.heatmap, atol=1e-3)
        assert store[number].label == "dog"
    assert tfcam.diagnose(box, PICTURES[0], **UNIT).facts["CAM"].startswith("does not apply: a bl")
    theirs, own = (Probe(model, PICTURES, **UNIT).probabilities for model in (network, box))
    np.testing.assert_allclose(own, theirs, rtol=1e-4)


FEW = ("deletion", {"steps": 3})


@pytest.mark.slow
def test_it_is_evaluated_and_the_best_method_found(box, network):
    boxes = np.float32([[0, 0, 6, 12]])
    data = [tfcam.Example(str(n), picture, boxes) for n, picture in enumerate(PICTURES)]
    chosen = {"methods": METHODS[:2], "metrics": ["energy", FEW], **UNIT}
    own, theirs = (
        tfcam.evaluate(model, data, baselines=(), score="probability", **chosen).table["value"]
        for model in (box, network)
    )
    np.testing.assert_allclose(own, theirs, atol=1e-2)
    best = tfcam.recommend(box, data, methods=METHODS[:2], metrics=[FEW], **UNIT)
    assert sorted(best.table["method"].str.split("(").str[0]) == ["occlusion", "rise"]
    with pytest.raises(ValueError, match="These methods apply: occlusion, rise"):
        tfcam.recommend(box, data, **UNIT)


def test_a_store_is_not_continued_with_another_function(tmp_path):
    asked = {"to": tmp_path / "store", "method": "occlusion", **UNIT}
    tfcam.stream(tfcam.BlackBox(means, (12, 12, 3)), PICTURES, **asked)
    other = tfcam.BlackBox(lambda images: 2 * images.mean((1, 2)), (12, 12, 3))
    with pytest.raises(ValueError, match="model"):
        tfcam.stream(other, PICTURES, **asked)


# --- files ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    """The network as a TFLite file, quantised to int8, and as a SavedModel."""
    folder = tmp_path_factory.mktemp("files")
    convert = tf.lite.TFLiteConverter.from_keras_model
    (folder / "floats.tflite").write_bytes(convert(network).convert())
    converter = convert(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    inputs = np.abs(networks.pictures(40))  # so that the zero is no zero in int8
    converter.representative_dataset = lambda: ([one[None]] for one in inputs)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    (folder / "int8.tflite").write_bytes(converter.convert())
    network.export(str(folder / "saved"), verbose=False)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["floats.tflite", "int8.tflite", "saved"])
@pytest.mark.thinned(1, kept="slow")
def test_files_give_the_maps_of_their_network(files, network, kind):
    read = tfcam.BlackBox.from_saved_model if kind == "saved" else tfcam.BlackBox.from_tflite
    box = read(files / kind, labels=["cat", "dog", "fox"], probabilities=True)
    assert (box.name, box.asked.taken) == (Path(kind).stem, (12, 12, 3))
    x = np.abs(networks.pictures(2))
    scores = network.predict(x, verbose=0)
    quantised = kind == "int8.tflite"  # probabilities are multiples of 1/256
    np.testing.assert_allclose(box.asked.scores(x), scores, atol=0.02 if quantised else 1e-5)
    asked = {"method": "occlusion", "window": 6, "target": 2}
    found = tfcam.explain(box, x, **asked)
    wanted = tfcam.explain(network, x, score="probability", **asked)
    for one, other in zip(found, wanted, strict=True):
        size = np.abs(other.raw).max()
        np.testing.assert_allclose(one.raw, other.raw, atol=0.03 if quantised else 1e-4 * size)
        assert (one.label, one.score_kind) == ("fox", "probability")
        codes = [[each.code for each in result.findings] for result in (one, other)]
        assert quantised or codes[0] == codes[1]


@pytest.mark.filterwarnings("ignore")
def test_the_command_line_takes_a_file(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PICTURES[0]).save("a.png")
    words = ["explain", "a.png", "--preprocess", "unit", "--json", "--overwrite", "--target", "1"]
    for file in ("floats.tflite", "saved"):
        run = CliRunner().invoke(
            app, [*words, "--model", str(files / file), "--method", "occlusion"]
        )
        assert run.exit_code == 0, run.stderr
        assert json.loads(run.stdout)[0]["target"] == 1
    run = CliRunner().invoke(app, [*words, "--model", str(files / "floats.tflite")])
    assert run.exit_code == 2
    assert "These methods apply: occlusion, rise, kernel_shap, lime" in run.stderr


def test_files_that_can_not_be_read_are_told(files, tmp_path):
    (tmp_path / "cut.tflite").write_bytes(b"no model")
    read = tfcam.BlackBox.from_tflite, tfcam.BlackBox.from_saved_model
    with pytest.raises(FileNotFoundError, match="No model file 'no.tflite'"):
        read[0]("no.tflite")
    with pytest.raises(ValueError, match=r"cut\.tflite' could not be read as a TFLite file: \S"):
        read[0](tmp_path / "cut.tflite")
    with pytest.raises(FileNotFoundError, match="No folder of a SavedModel"):
        read[1](tmp_path)
    with pytest.raises(ValueError, match=r"signature must be one of .*; got 'serve_me'"):
        read[1](files / "saved", signature="serve_me")
    with pytest.raises(ValueError, match=r"output must be one of .*; got 'boxes'"):
        read[1](files / "saved", output="boxes")


def test_a_file_of_several_inputs_is_refused(tmp_path):
    two = [keras.Input((4,), name=name) for name in ("left", "right")]
    keras.Model(two, keras.layers.Add()(two)).export(str(tmp_path / "two"), verbose=False)
    with pytest.raises(ValueError, match=r"has 2 inputs: (left, right|right, left)\. Give"):
        tfcam.BlackBox.from_saved_model(tmp_path / "two")


class Session:
    """What of onnxruntime is used, of a file that takes (C, H, W) and gives the channels' means."""

    def __init__(self, path, providers):
        if Path(path).read_bytes() != b"means":
            raise RuntimeError("Load model failed:\nprotobuf parsing failed")

    def get_inputs(self):
        return [type("In", (), {"name": "x", "shape": ["N", 3, 8, 5], "type": "tensor(float)"})]

    def get_outputs(self):
        return [type("Out", (), {"name": name}) for name in ("scores", "other")]

    def run(self, names, given):
        (x,) = given.values()
        assert x.flags["C_CONTIGUOUS"]
        assert (x.shape[1:], x.dtype) == ((3, 8, 5), np.float32)
        return [x.mean((2, 3)) * {"scores": 1, "other": -1}[name] for name in names]


def test_an_onnx_file_has_its_channels_last_here(tmp_path, monkeypatch):
    monkeypatch.setitem(
        __import__("sys").modules, "onnxruntime", type("ort", (), {"InferenceSession": Session})
    )
    (tmp_path / "net.onnx").write_bytes(b"means")
    (tmp_path / "cut.onnx").write_bytes(b"x")
    box = tfcam.BlackBox.from_onnx(tmp_path / "net.onnx", output="scores", probabilities=False)
    x = np.zeros((8, 5, 3), "f4")
    x[6, 1, 2] = 40
    assert (box.asked.taken, box.name) == ((8, 5, 3), "net")
    result = tfcam.explain(box, x, method="occlusion", window=1, stride=1, fill="zero")
    assert (result.target, result.score) == (2, pytest.approx(1))
    np.testing.assert_allclose(result.raw, x[..., 2] / 40, atol=1e-6)
    with pytest.raises(ValueError, match=re.escape("can be named by output=: scores, other")):
        read_onnx(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="read as an ONNX file: Load model failed: protobuf"):
        read_onnx(tmp_path / "cut.onnx", "scores")
