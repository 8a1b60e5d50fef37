"""Every wrong or odd request, at every door: one clear error, and the model is what it was.

One table for each door. Each case is tried as the first call, and again after good ones that have
been compiled; the command line must end with code 2 and one line, and write nothing.
"""

import contextlib
import functools
import http.server
import io
import re
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests import networks
from tfcam.cli.commands import app
from tfcam.images.loading import load_image
from tfcam.model.graph import forget

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (12, 12, 3), dtype=np.uint8)
INPUT = networks.pictures(1)[0]


def look(model, predict=False):
    return networks.snapshot(model, INPUT[None], predict)


# --- networks -------------------------------------------------------------------------------


def ends_in(*head, activation="relu"):
    """A convolution "conv", and what follows it."""
    steps = [layers.Conv2D(4, 3, activation=activation, name="conv"), *head]
    return keras.Sequential([keras.Input((12, 12, 3)), *steps])


def two_ways():
    """A layer beside the way to the explained output, and one with a map of one position."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    aside = layers.Conv2D(2, 3, name="aside")(x)
    outputs = {
        "kind": layers.Dense(3, "softmax", name="kind")(layers.GlobalAveragePooling2D()(x)),
        "other": layers.Dense(2, name="other")(layers.GlobalAveragePooling2D()(aside)),
    }
    return keras.Model(inputs, outputs)


def same_names():
    """Two layers of one name, and one that is called twice."""
    inputs = keras.Input((12, 12, 3))
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    inner = [
        keras.Sequential([layers.Conv2D(3, 3, name="conv")], name=name) for name in ("one", "two")
    ]
    x = inner[1](inner[0](shared(shared(inputs))))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)), name="twins")


def exported(folder):
    """A network whose layers have become a SavedModel."""
    networks.flat().export(str(folder / "saved"), verbose=False)
    layer = layers.TFSMLayer(str(folder / "saved"), call_endpoint="serving_default", name="sealed")
    inputs = keras.Input((12, 12, 3))
    return keras.Model(inputs, layer(inputs)["output_0"], name="shell")


def never_built():
    return keras.Sequential([layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()], name="never")


def stopped():
    """Nothing learns through a rounding."""

    class Rounded(layers.Layer):
        def call(self, x):
            return tf.round(x)

    return ends_in(Rounded(), layers.GlobalAveragePooling2D(), layers.Dense(2, name="head"))


MAKE = {
    "flat": networks.flat,
    "vit": networks.vit,
    "no head": lambda: ends_in(layers.Flatten(), layers.Dense(5, "relu"), layers.Dense(3)),
    "swish": lambda: ends_in(layers.GlobalAveragePooling2D(), layers.Dense(3), activation="swish"),
    "two outputs": two_ways,
    "twins": same_names,
    "stopped": stopped,
    "never built": never_built,
    "vector": lambda: keras.Sequential([keras.Input((12,)), layers.Dense(2)], name="vector"),
}


@pytest.fixture(scope="module")
def model_of(tmp_path_factory):
    """A network of each kind for eager and for compiled calls, and what it is like at first."""

    kept = []

    @functools.cache
    def made(kind, call="eager"):
        folder = tmp_path_factory.mktemp("exported")
        model = exported(folder) if kind == "exported" else MAKE[kind]()
        if kind in ("never built", "vector"):
            return model, None
        kept.append((model, look(model, predict=True)))
        return model, look(model)

    yield made
    for model, before in kept:  # after all the cases
        assert look(model, predict=True) == before


# --- files and a server ---------------------------------------------------------------------


def png(image=PICTURE):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        name = self.path[1:]
        kind, body, status, more = "image/png", png(), 200, {}
        match name:
            case "html":
                kind, body = "text/html; charset=utf-8", b"<html>no picture</html>"
            case "html-as-png":
                body = b"<html>no picture</html>"
            case "missing":
                status = 404
            case "to-file":
                status, more = 302, {"Location": "file:///etc/hosts"}
            case "round":
                status, more = 302, {"Location": "/round"}
            case "huge":
                more = {"Content-Length": str(10**10)}
        self.send_response(status)
        for key, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | more).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder of odd files and the address of a server: what names in the tables stand for."""
    folder = tmp_path_factory.mktemp("odd")
    whole = png(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    (folder / "text.jpg").write_text("no picture at all")
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    bomb = bytearray(whole)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    (folder / "bomb.png").write_bytes(bomb)
    (folder / "folder").mkdir()
    (folder / "good.png").write_bytes(whole)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place[0])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


# --- explain and Explainer ------------------------------------------------------------------


@dataclass
class Case:
    """A wrong request: what is wrong, what is told, and what else is asked that is good."""

    what: str
    bad: dict[str, Any]
    match: str
    error: type[Exception] = ValueError
    model: str = "flat"
    good: dict[str, Any] = field(default_factory=dict)


def images(match, **bad):
    """Wrong pictures."""
    return [Case(f"image: {what}", {"image": image}, match) for what, image in bad.items()]


def floats(match, **bad):
    """Wrong arrays, given as prepared."""
    given = {"preprocess": None}
    return [
        Case(f"input: {what}", {"image": image}, match, good=given) for what, image in bad.items()
    ]


def option(name, match, *values, error=ValueError, model="flat", **good):
    """Wrong values of one option."""
    return [
        Case(f"{name}={value!r:.40}", {name: value}, match, error, model, good) for value in values
    ]


def spoilt(value, *shape):
    array = np.array(INPUT)
    array[1, 2] = value
    return array


REQUESTS = [
    *option("image", "none at .*no.png", "no.png", Path("no.png"), error=FileNotFoundError),
    *images("one of AVIF, .* begins with b'no picture a'", text_named_jpg="text.jpg"),
    *images("An image file must not be empty", empty="empty.png", empty_bytes=b""),
    *images("damaged or cut off", truncated="cut.png", truncated_bytes=png()[:60]),
    *images("must be smaller", decompression_bomb="bomb.png"),
    *images("directory or a device", folder="folder", no_name=""),
    *images("begins with b'garbage'", garbage=b"garbage"),
    *images("only http:// and https:// are followed", ftp="ftp://127.0.0.1/a.png"),
    *images("only http:// and https:// are followed", file_url="file:///etc/hosts"),
    *images("only http:// and https:// are followed", data="data:image/png;base64,AAAA"),
    *images("only http:// and https:// are followed", redirect_to_a_file="SERVER/to-file"),
    *images("redirects more than 5 times", endless_redirects="SERVER/round"),
    *images("cannot be reached", unreachable="http://127.0.0.1:9/a.png"),
    *images("content type is text/html", html="SERVER/html"),
    *images("begins with b'<html>no pic'", html_said_to_be_png="SERVER/html-as-png"),
    *images("answers 404", not_found="SERVER/missing"),
    *images("more than max_bytes", too_large="SERVER/huge"),
    *images("must be a path, an http", none=None, number=5, nested=[[PICTURE]]),
    *images("give it as it is, or as a dict of '.*' alone; got a dict of 'a'", mapping={"a": 1}),
    *images(
        "An image must have shape", flat=PICTURE[0, 0], channels_first=np.moveaxis(PICTURE, -1, 0)
    ),
    *images(
        "An image must have shape", two_channels=PICTURE[..., :2], five_axes=PICTURE[None, None]
    ),
    *images("at least one pixel", no_rows=PICTURE[:0], no_columns=PICTURE[:, :0]),
    *images("a float array must hold pixels of 0..255; these reach 1 only", bools=PICTURE > 9),
    *images("uint8, 0..255; got", objects=PICTURE.astype(object)),
    *images("uint8, 0..255; got", complexes=PICTURE.astype(complex), text=np.array("a.png")),
    *images("Pixels must be 0..255; got", negative=PICTURE.astype(int) - 300),
    *images("Pixels must be 0..255; got", sixteen_bits=PICTURE.astype(np.uint16) * 257),
    *images("hold pixels of 0..255; got values from", floats_of_minus_one=INPUT),
    *images("these reach 1 only", floats_of_one=np.linspace(0, 1, 432).reshape(12, 12, 3)),
    *images("hold pixels of 0..255", nan=spoilt(np.nan), infinite=spoilt(np.inf)),
    *images("at least one image", empty_list=[], empty_batch=PICTURE[None][:0]),
    *images("8 or 16 bits a channel; got 32", deep=Image.new("F", (3, 3))),
    *images("An image must have values", symbolic=keras.Input((12, 12, 3), dtype="uint8")),
    *floats(
        "must be finite; 3 of its", nan=spoilt(np.nan), inf=spoilt(np.inf), less=spoilt(-np.inf)
    ),
    *floats("must be finite", too_large_for_float32=np.full((12, 12, 3), 1e300)),
    *floats("input shape 12 x 12 x 3", one_channel=INPUT[..., :1], size=INPUT[:5], rank=INPUT[0]),
    *floats("input shape 12 x 12 x 3", four=np.zeros((12, 12, 4)), batches=INPUT[None, None]),
    *floats("can't be mixed", mixed=[INPUT, PICTURE]),
    *floats("An image must", symbolic=keras.Input((12, 12, 3)), ragged=tf.ragged.constant([[1.0]])),
    *floats("An image must be a dense array", sparse=tf.sparse.from_dense([[1.0]])),
    *option("layer", "No layer .* Did you mean 'features'", "feature", "fetures"),
    *option("layer", "No layer .* lists all", "", "/", "no/features"),
    *option("layer", "only ':<call>' and ':input'", "features:x", "features:0:output"),
    *option("layer", "No layer ':'", ":"),
    *option("layer", r"must be in 0\.\.5.*got", 6, 99, -7, 10**30, np.int64(6)),
    *option("layer", "must be a path, a name", 1.5, True, b"features", {}, ([0],), error=TypeError),
    *option("layer", "must be a path", np.array([0, 1]), {"features"}, error=TypeError),
    *option("layer", "one tensor that is a map .*gives", "head", "pool"),
    *option("layer", "there is no call 1", "features:1"),
    *option("layer", "must be part of the model", layers.ReLU()),
    *option("layer", "at least one; got an empty", [], ()),
    *option("layer", "is there twice", ["features", "features"], [0, "first"]),
    *option("layer", "'conv' names 2 layers", "conv", model="twins"),
    *option("layer", "called 2 times; say which", "shared", model="twins"),
    *option("layer", "no gradient reaches 'aside'", "aside", model="two outputs", output="kind"),
    *option("layer", "no gradient reaches 'conv'", "conv", model="stopped"),
    *option("target", r"must be in 0\.\.2: 3 classes; got", 3, -1, 10**30, [3], np.int64(3)),
    *option("target", "A target must be a class index", 1.5, True, [0.5], {}, error=TypeError),
    *option("target", "A target must be a class index", {0}, b"cat", error=TypeError),
    *option("target", "labels of this model are not known", "cat", ["cat"]),
    *option(
        "target", "No class is labelled 'cot'. Did you mean 'cat'", "cot", labels=["cat", "a", "b"]
    ),
    *option("target", "names classes .0, 2.", "a", labels=["a", "b", "A"]),
    *option("target", "at least one; got an empty", [], ()),
    *option("target", "must have one for each image; got 2 for 1", np.array([0, 1])),
    *option("target", "got 1 for 2 images", [0], image=[PICTURE, PICTURE]),
    *option("target", "got 3 for 2 images", [0, None, lambda o: o[:, 0]], image=[PICTURE, PICTURE]),
    *option("target", r"shape \(1,\); got shape \(1, 3\)", lambda outputs: outputs),
    *option("target", r"got shape \(\)", lambda outputs: tf.reduce_sum(outputs)),
    *option(
        "target", "must return a tensor", lambda o: 1.0, lambda o: None, lambda o: o.numpy()[0]
    ),
    *option("target", "got shape .* int64", lambda outputs: tf.argmax(outputs, -1)),
    *option("target", "no gradient reaches", lambda o: tf.cast(tf.argmax(o, -1), tf.float32)),
    *option("target", "no gradient reaches", lambda o: tf.stop_gradient(o[:, 0])),
    *option("target", "at most the number of classes, 3; got 4", tfcam.Top(4)),
    *option("target", "Top.k. is for one image", tfcam.Top(2), image=[PICTURE, PICTURE]),
    *option("target", "must be of two classes", tfcam.Difference(1, 1)),
    *option("target", r"must be in 0\.\.2", tfcam.Difference(0, 3), tfcam.Difference(-1, 0)),
    *option("target", r"needs outputs \(B, H, W, classes\)", tfcam.Segmentation(0)),
    *option("target", r"needs outputs \(B, N, 4 \+ classes\)", tfcam.Box(0)),
    *option("target", "must have the embedding's size, 3; got 2", tfcam.Similarity([1.0, 2.0])),
    *option("target", "one of the model's 3 numbers", tfcam.Regression(1, 3)),
    *option("target", "output='kind' or 'other'", 0, model="two outputs"),
    *option("method", "method must be one of", "", 5, [], {}, b"cam", np.array([0, 1])),
    *option("method", "Did you mean 'grad_cam'", "gradcam", "grad-cam", "GRAD_CAM"),
    *option("method", "must return a tensor", lambda reading: None, lambda reading: 1.0),
    *option("method", r"returned \(1, 6, 6, 8\)", lambda reading: reading.activations),
    *option("method", "CAM needs a linear head", "cam", model="no head", layer="conv"),
    *option("method", "head pools, 'features'; got 'first'", "cam", layer="first"),
    *option("method", "gate ReLUs, and .* has none", "guided_backprop", model="swish"),
    *option("method", "gate ReLUs, and .* has none", "deconvnet", "guided_grad_cam", model="swish"),
    *option("method", "piecewise linear", "full_grad", model="swish"),
    *option("method", "needs a network with attention", "attention_rollout"),
    *option("method", "needs a class", "cam", "finer_cam", target=lambda outputs: outputs[:, 0]),
    *option("method", "give the class alone", "finer_cam", target=tfcam.Difference(0, 1)),
    *option(
        "sampels",
        "no option 'sampels'; .* samples, noise, seed",
        3,
        error=TypeError,
        method="smooth_grad_cam_pp",
    ),
    *option("samples", "no option 'samples'; .* are: none", 3, error=TypeError),
    *option("tagret", "no option 'tagret'", 3, error=TypeError),
    *option("samples", "at least 1; got", 0, -1, method="smooth_grad"),
    *option(
        "samples",
        "of type int; got",
        1.5,
        "3",
        None,
        True,
        [1],
        error=TypeError,
        method="smooth_grad",
    ),
    *option("samples", "must be within", 10**30, method="smooth_grad"),
    *option("noise", "at least 0; got -1", -1, method="smooth_grad"),
    *option("noise", "must be finite", float("nan"), float("inf"), 1e300, method="smooth_grad"),
    *option("seed", "at least 0; got", -1, method="smooth_grad"),
    *option("base", "base must be one of", "finer_cam", "gradcam", method="finer_cam"),
    *option("weights", "one of probability", "logits", 1, [], np.array([0, 1]), method="score_cam"),
    *option(
        "normalize_alpha", "of type bool; got", 1, "yes", error=TypeError, method="grad_cam_pp"
    ),
    *option(
        "preprocess", "must be 'auto', None, a callable, a .* or one of", "zip", 5, [], {}, b"unit"
    ),
    *option("preprocess", "must be 'auto'", True, np.array([0, 1])),
    *option("preprocess", "How 'flat' wants its pictures can't be read", "auto"),
    *option("preprocess", "must keep the shape", lambda p: p[0], lambda p: None, lambda p: "x"),
    *option("preprocess", "must give real numbers", lambda p: p * 1j, lambda p: p.astype(str)),
    *option("preprocess", "must give real numbers", lambda p: p.astype(object)),
    *option("labels", "the model's 3 classes; got", ["a"], [], ["a"] * 4, np.array(["a", "b"])),
    *option("labels", "the model's 3 classes; got", {0: "a"}),
    *option("labels", "must be a list of texts", 5, b"abc", {"a", "b"}, error=TypeError),
    *option("labels", "must be a list of texts.*a file.*'abc': No such file", "abc"),
    *option("labels", "must be texts, one", [1, 2, 3], ["a", None, "c"], error=TypeError),
    *option(
        "score", "must be one of logit, probability; got", "logits", None, 1, [], np.array([0, 1])
    ),
    *option("output", "output must be one of", 1, -1, "haed", ""),
    *option("output", "must be the name or index", 1.5, True, [], {}, b"head", error=TypeError),
    *option("output", "output must be one of 'kind', 'other'", "kinds", 2, model="two outputs"),
    *option("grid", "grid must be", 5, (3,), (0, 4), (2.5, 2), (True, 2), "ab", np.zeros((2, 2))),
    *option("grid", "for layers that give tokens", (6, 6)),
    *option("grid", "9 patches|3 x 3|9 tokens|must", (2, 2), model="vit", layer="block0"),
    *option("fuse", "fuse must be one of max", "min", None, 5, [], np.array([0, 1])),
    *option("augment", "True or False; got", 1, "yes", None, [], np.array(1), error=TypeError),
    *option("eigen", "True or False; got", 1, "yes", None, [], error=TypeError),
    *option("eigen", "combines none; leave it out", True, method="attention_rollout", model="vit"),
    *option("batch_size", "at least 1; got", 0, -5),
    *option("batch_size", "must be a whole number; got", 1.5, "2", None, True, error=TypeError),
    *option("score", "full_grad explains the logit", "probability", method="full_grad"),
]
MODELS = [  # models that can't be explained at all, or not so
    *option(
        "model",
        "must be a built Keras model; got",
        None,
        "resnet50",
        5,
        keras.Model,
        error=TypeError,
    ),
    *option("model", "Put the layer into one", layers.Dense(2), error=TypeError),
    Case("never built", {}, "must be built before it can be explained", model="never built"),
    Case("a vector goes in", {}, "A layer with a map is needed|input shape 12", model="vector"),
    Case("exported: no layers", {}, "'sealed', an exported SavedModel, can't", model="exported"),
    Case("exported: a layer", {"layer": "features"}, "No layer .*'sealed'", model="exported"),
    Case("exported: itself", {"layer": "sealed"}, "give one tensor .*gives dict", model="exported"),
    Case("exported: cam", {"method": "cam"}, "saliency, smooth_grad and", model="exported"),
    Case("exported: gates", {"method": "guided_backprop"}, "reach every ReLU", model="exported"),
]


def named(case):
    """The same in every process, whatever a function's address or the order of a set."""
    return re.sub(r" at 0x.*|{'.', '.'}", "", case.what)


def filled(given, server):
    """What is asked, with the server's own address."""
    image = given.get("image")
    if isinstance(image, str):
        given = given | {"image": image.replace("SERVER", server)}
    return given


def assert_told(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert "Exception encountered" not in text
    assert 20 < len(text) < 1500
    assert caught.value.__cause__ is None


@pytest.fixture(scope="module")
def ask():
    """Asks for what is good twice, so that it is compiled; once is enough for all cases."""
    done = set()

    def twice(model, good):
        key = (id(model), repr(sorted(good.items())))
        if key in done:
            return
        done.add(key)
        image = INPUT if good.get("preprocess", "unit") is None else PICTURE
        for _ in range(2):
            tfcam.explain(model, **({"image": image, "preprocess": "unit"} | good))

    return twice


@pytest.mark.parametrize("call", ["eager", "compiled"])
@pytest.mark.parametrize("case", REQUESTS, ids=named)
@pytest.mark.thinned(23, rest="slow")
def test_a_wrong_request_is_one_clear_error_and_changes_nothing(case, call, model_of, place, ask):
    model, before = model_of(case.model, call)
    if call == "compiled":
        # Where nothing good can be asked beside what is wrong, the first call is the only one.
        with contextlib.suppress(ValueError):
            ask(model, case.good)
    else:
        forget(model)
    asked = {"image": PICTURE, "preprocess": "unit"} | case.good | filled(case.bad, place[1])
    with pytest.raises(case.error, match=case.match) as caught:
        tfcam.explain(model, **asked)
    assert_told(caught)
    image, target = asked.pop("image"), asked.pop("target", None)
    with pytest.raises(case.error, match=case.match) as caught:
        tfcam.Explainer(model, **asked)(image, target)
    assert_told(caught)
    assert look(model) == before


def doors(case):
    """Those that take what is asked besides the model."""
    return ["explain", "Explainer"] + ["compare", "layers"] * (
        not {"method", "layer"} & set(case.bad)
    )


@pytest.mark.parametrize(
    ("case", "door"),
    [pytest.param(each, door, id=f"{each.what}-{door}") for each in MODELS for door in doors(each)],
)
def test_a_model_that_can_not_be_explained_says_why(case, door, model_of):
    if "model" in case.bad:
        model, before = case.bad["model"], None
    else:
        model, before = model_of(case.model)
    asked = {name: value for name, value in case.bad.items() if name != "model"}
    asked |= {"preprocess": None}
    call = {
        "explain": lambda: tfcam.explain(model, INPUT, **asked),
        "Explainer": lambda: tfcam.Explainer(model, **asked)(INPUT),
        "compare": lambda: tfcam.compare(model, INPUT, **asked),
        "layers": lambda: tfcam.layers(model),
    }
    with pytest.raises(case.error, match=case.match) as caught:
        call[door]()
    assert_told(caught)
    if before is not None:
        assert look(model) == before


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("method", ["saliency", "smooth_grad", "integrated_gradients"])
def test_an_exported_network_is_still_explained_at_its_input(method, model_of):
    """The maps are those of the probabilities of the network as it was; its logits are inside."""
    shell, before = model_of("exported")
    flat, _ = model_of("flat")
    for target in (1, [0, 2], lambda outputs: outputs[:, 1]):
        by_class = 1 if callable(target) else target
        wanted = tfcam.explain(flat, INPUT, target=by_class, method=method, score="probability")
        for _ in range(2):
            found = tfcam.explain(shell, INPUT, target=target, method=method)
            pairs = (
                zip(found, wanted, strict=True) if isinstance(target, list) else [(found, wanted)]
            )
            for one, other in pairs:
                np.testing.assert_allclose(one.raw, other.raw, rtol=2e-3, atol=1e-6)
                assert one.target in (other.target, None)
                assert one.score == pytest.approx(other.score, rel=1e-4)
    assert look(shell) == before


# --- compare --------------------------------------------------------------------------------

COMPARISONS = [
    *option("layers", "must be a list that holds at least one", [], "features", 0, {}),
    *option("layers", r"must be in 0\.\.5", [0, 99]),
    *option("layers", "must be a path, a name", [1.5], error=TypeError),
    *option("methods", "must be a list that holds at least one", [], "cam", 0, {}, np.array([0])),
    *option("methods", "method must be one of", ["gradcam"], [5], [None], [{}]),
    *option("methods", r"must be \(name, \{option: value\}\)", [("cam",)], [("cam", None)], [()]),
    *option("methods", "no option 'sampels'", [("smooth_grad", {"sampels": 2})], error=TypeError),
    *option("methods", "needs a network with attention", ["grad_cam", "attention_rollout"]),
    *option("targets", "must be a list that holds at least one", [], 0, "cat", {}),
    *option("targets", r"must be in 0\.\.2", [0, 3], [tfcam.Difference(0, 9)]),
    *option("targets", "A target must be a class index", [0, 1.5], [True], error=TypeError),
    *option("targets", "at most the number of classes", tfcam.Top(9)),
    *option("image", "compare takes one image", [PICTURE] * 2, PICTURE[None].repeat(2, 0), []),
    *option("image", "none at 'no.png'", "no.png", error=FileNotFoundError),
    *option("image", "must be a path, an http", None),
    *option("preprocess", "must be 'auto'", "zip", [], np.array([0, 1])),
    *option("labels", "must be a list of texts", 5, error=TypeError),
    *option("score", "must be one of logit, probability; got", "logits", []),
    *option("output", "output must be one of", "x", 5),
    *option("grid", "grid must be", 5, (0, 1)),
    *option("batch_size", "at least 1; got 0", 0),
    *option("batch_size", "must be a whole number", "2", 1.5, error=TypeError),
    *option("progress", "True or False; got", "yes", 1, error=TypeError),
    *option("method", "unexpected keyword argument 'method'", "cam", error=TypeError),
    *option("model", "must be a built Keras model", [None], "x", error=TypeError),
    *option("model", "at least one", [], ()),
]


@pytest.mark.parametrize("call", ["eager", "compiled"])
@pytest.mark.parametrize("case", COMPARISONS, ids=named)
@pytest.mark.thinned(20, rest="slow")
def test_a_wrong_comparison_is_one_clear_error_and_changes_nothing(case, call, model_of):
    model, before = model_of("flat", call)
    good = {"image": PICTURE, "preprocess": "unit", "methods": ["grad_cam", "cam"], "model": model}
    if call == "compiled":
        tfcam.compare(**good)
        tfcam.compare(**good)
    else:
        forget(model)
    with pytest.raises(case.error, match=case.match) as caught:
        tfcam.compare(**(good | case.bad))
    assert_told(caught)
    assert look(model) == before


# --- the command line -----------------------------------------------------------------------

LAMBDA = "holds Python code of its own, such as a Lambda layer, .* say so with --unsafe"
# The model is "shapes" where none is named.
COMMANDS = {
    "explain no.png": "none at 'no.png'",
    "explain text.jpg": "An image file must be one of",
    "explain empty.png": "must not be empty",
    "explain cut.png": "damaged or cut off",
    "explain bomb.png": "must be smaller",
    "explain folder": "The folder 'folder' must hold pictures",
    "explain no*.png": "No file matches",
    "explain ''": "An image must be a file, a folder, a glob or a URL; got ''",
    "explain " + "x" * 5000: "File name too long",
    "explain \x1b[31mred.png/": r"none at|No file matches",
    "explain file:///etc/hosts": "only http:// and https://",
    "explain ftp://127.0.0.1/a.png": "only http:// and https://",
    "explain http://127.0.0.1:9/a.png": "cannot be reached",
    "explain http://": "A URL must lead to an image",
    "explain SERVER/html": "content type is text/html",
    "explain SERVER/to-file": "only http:// and https://",
    "explain SERVER/round": "redirects more than 5 times",
    "explain SERVER/missing": "answers 404",
    "explain SERVER/huge": "more than max_bytes",
    "explain good.png text.jpg no.png --json": None,  # two lines, see below
    "explain good.png --model resnet51": "No network 'resnet51'",
    "explain good.png --model ''": "'' is no file of a whole Keras model",
    "explain good.png --model no.keras": "No model file 'no.keras'",
    "explain good.png --model text.keras": "could not be loaded as a Keras model",
    "explain good.png --model lambda.keras": LAMBDA,
    "explain good.png --model lambda.h5": LAMBDA,
    "explain good.png --model vector.keras": "A layer with a map is needed",
    "explain good.png --layer featurs": "Did you mean 'features'",
    "explain good.png --layer 99": r"must be in 0\.\.",
    "explain good.png --layer " + "9" * 90: r"must be in 0\.\.",
    "explain good.png --layer " + "9" * 5000: "No layer",
    "explain good.png --layer pooling": "one tensor that is a map",
    "explain good.png --layer features --layer features": "is there twice",
    "explain good.png --target 8": r"in 0\.\.7: 8 classes; got 8",
    "explain good.png --target -1": "got -1",
    "explain good.png --target " + "9" * 5000: "No class is labelled '999",
    "explain good.png --target hart": "Did you mean 'heart'",
    "explain good.png --target ''": "No class is labelled ''",
    "explain good.png --method gradcam": "Did you mean 'grad_cam'",
    "explain good.png --method attention_rollout": "needs a network with attention",
    "explain good.png --method cam --layer block1_relu": "CAM applies only to",
    "explain good.png --option samples": "must be NAME=VALUE",
    "explain good.png --option =3": "must be NAME=VALUE",
    "explain good.png --option samples=3": "no option 'samples'",
    "explain good.png --option layer=3": "give --layer '3'",
    "explain good.png --option method=cam": "give --method 'cam'",
    "explain good.png --option target=1": "give --target '1'",
    "explain good.png --batch-size 0": "at least 1; got 0",
    "explain good.png --grid 5": "HEIGHT,WIDTH must be two whole numbers",
    "explain good.png --option augment=maybe": "give --augment 'maybe'",
    "explain good.png --method smooth_grad --option samples=0": "at least 1; got 0",
    "explain good.png --method smooth_grad --option samples=many": "of type int; got 'many'",
    "explain good.png --method smooth_grad --option samples={[]:1}": "of type int; got",
    "explain good.png --method smooth_grad --option samples=" + "-" * 9999 + "1": "of type int",
    "explain good.png --method smooth_grad --option noise=1e999": "finite",
    "explain good.png --fuse min": "fuse must be one of",
    "explain good.png --preprocess zip": "preprocess must be 'auto'",
    "explain good.png --labels no.txt": "--labels must be a text file",
    "explain good.png --labels folder": "--labels must be a text file",
    "explain good.png --labels good.png": "it is no UTF-8 text",
    "explain good.png --labels two.txt": "the model's 8 classes; got 2",
    "explain good.png --output map.jpg": "saved as .png or .npz",
    "explain good.png --output no/map.png": "does not exist; make it first",
    "explain good.png --output text.jpg/folder": "Not a directory|File exists",
    "explain good.png cut.png --output map.png": "must be a folder for 2 images",
    "explain good.png --choose-layer": "asks in a terminal",
    "compare no.png": "none at 'no.png'",
    "compare cut.png": "damaged or cut off",
    "compare SERVER/html": "content type is text/html",
    "compare good.png --method gradcam": "Did you mean 'grad_cam'",
    "compare good.png --layer 99": r"must be in 0\.\.",
    "compare good.png --target 8": "8 classes; got 8",
    "compare good.png --output map.jpg": "saved as .png, .pdf, .svg, .gif or .html",
    "compare good.png --output no/map.png": "does not exist; make it first",
    "compare good.png --model no.keras": "No model file",
    "compare good.png --model lambda.keras": LAMBDA,
    "compare good.png --preprocess zip": "preprocess must be 'auto'",
    "layers --model no.keras": "No model file",
    "layers --model text.keras": "could not be loaded",
    "layers --model lambda.keras": LAMBDA,
    "layers --model vector.keras": "A layer with a map is needed",
    "demo --seed -5": "--seed must be at least 0; got -5",
    "demo --output folder": "'folder' is a folder; name a file in it",
    "demo --output no/demo.png": "does not exist; make it first",
}


@pytest.fixture(scope="module")
def shapes():
    """In place of the embedded network a small one with its names, for each call one."""

    kept = []

    @functools.cache
    def made(call):
        inputs = keras.Input((12, 12, 3))
        x = layers.Conv2D(4, 3, activation="relu", name="block1_relu")(
            layers.Rescaling(1 / 255)(inputs)
        )
        x = layers.Conv2D(4, 3, activation="relu", name="features")(x)
        x = layers.GlobalAveragePooling2D(name="pooling")(x)
        model = keras.Model(inputs, layers.Dense(8, "softmax", name="kinds")(x), name="shapes")
        kept.append((model, look(model, predict=True)))
        return model, look(model)

    yield made
    for model, before in kept:
        assert look(model, predict=True) == before


@pytest.fixture(scope="module")
def models(place):
    """Model files that can't be loaded, or not without a word from the user."""
    folder = place[0]
    (folder / "text.keras").write_text("no model")
    (folder / "two.txt").write_text("cat\ndog\n")
    double = layers.Lambda(lambda x: x * 2.0, name="double")
    head = [layers.Conv2D(2, 3, name="conv"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((12, 12, 3)), layers.Rescaling(1 / 255), double, *head])
    model.save(folder / "lambda.keras")
    model.save(folder / "lambda.h5")
    MAKE["vector"]().save(folder / "vector.keras")
    return model


@pytest.fixture
def quick_demo(monkeypatch):
    """The demo's figure is not drawn."""
    from matplotlib.figure import Figure

    monkeypatch.setattr("tfcam.cli.demo_figure.run_demo", lambda seed: (Figure(), []))


def contents():
    return {str(each): each.is_file() and each.read_bytes() for each in Path().rglob("*")}


def run(command, server):
    words = ["" if word == "''" else word.replace("SERVER", server) for word in command.split(" ")]
    if "--model" not in words and words[0] != "demo":
        words += ["--model", "shapes"]
    return CliRunner().invoke(app, words)


@pytest.mark.usefixtures("models", "quick_demo")
@pytest.mark.parametrize("call", ["eager", "compiled"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[:60])
@pytest.mark.thinned(29, rest="slow")
def test_a_wrong_command_is_one_line_and_code_2_and_writes_nothing(
    command, call, place, shapes, ask, monkeypatch
):
    model, before = shapes(call)
    monkeypatch.setattr("tfcam.demo.demo_model", lambda: model)
    if call == "compiled":
        ask(model, {"image": "good.png", "preprocess": "auto"})
    else:
        forget(model)
    files = contents()
    result = run(command, place[1])
    assert result.exit_code == 2, result.exception
    assert isinstance(result.exception, SystemExit)  # no traceback
    if COMMANDS[command] is None:  # a line for each image that is wrong; the good one is explained
        assert re.fullmatch(r"(tfcam: [^\n]+\n){2}", result.stderr)
    else:
        assert re.fullmatch(rf"tfcam: [^\n]*(?:{COMMANDS[command]})[^\n]*\n", result.stderr), (
            result.stderr
        )
        assert result.stdout in ("", "[]\n")
    assert result.stderr.replace("\n", "").isprintable()
    assert contents() == files
    assert look(model) == before


@pytest.mark.parametrize("command", ["explain good.png", "compare good.png", "layers"])
@pytest.mark.parametrize("file", ["lambda.keras", "lambda.h5"])
def test_unsafe_loads_what_brings_its_own_code(command, file, models, place, tmp_path, monkeypatch):
    folder = place[0]
    (tmp_path / "good.png").write_bytes((folder / "good.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    result = run(f"{command} --model {folder / file} --unsafe", "")
    assert (result.exit_code, result.stderr) == (0, "")
    if command == "layers":
        assert "double" in result.stdout
    if command == "explain good.png":
        wanted = tfcam.explain(models, "good.png")
        assert f"class {wanted.target}" in result.stdout


@pytest.mark.parametrize("command", ["explain", "compare", "layers"])
def test_the_help_of_unsafe_says_what_it_risks(command):
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"})
    text = " ".join(re.sub(r"[│\n]", " ", result.stdout).split())
    assert "--unsafe" in text
    assert "That code runs and may do anything on this machine: only for files from" in text


def test_unsafe_is_not_said_for_what_it_would_not_help():
    result = run("layers --model text.keras --unsafe", "")
    assert result.exit_code == 2
    assert "--unsafe" not in result.stderr


# --- odd, but good --------------------------------------------------------------------------


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned():
    tags = Image.Exif()
    tags[0x0112] = 6
    return tags


RGB = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8))
DEEP = Image.fromarray(RNG.integers(0, 65536, (20, 30), dtype=np.uint16))
ODD = {  # the bytes or the array, and (height, width) of the picture
    "1x1": (saved(RGB.resize((1, 1)), "PNG"), (1, 1)),
    "20,000 pixels wide": (saved(RGB.resize((20_000, 3)), "PNG"), (3, 20_000)),
    "CMYK": (saved(RGB.convert("CMYK"), "JPEG"), (20, 30)),
    "alpha": (saved(RGB.convert("RGBA"), "PNG"), (20, 30)),
    "grey with alpha": (saved(RGB.convert("LA"), "PNG"), (20, 30)),
    "palette": (saved(RGB.quantize(9), "GIF", transparency=3), (20, 30)),
    "black and white": (saved(RGB.convert("1"), "PNG"), (20, 30)),
    "EXIF-rotated": (saved(RGB, "JPEG", exif=turned()), (30, 20)),
    "16-bit": (saved(DEEP, "PNG"), (20, 30)),
    "animated": (saved(RGB, "GIF", save_all=True, append_images=[RGB.rotate(90)]), (20, 30)),
    "PIL": (RGB, (20, 30)),
    "uint8 tensor": (tf.constant(np.asarray(RGB)), (20, 30)),
    "int64": (np.asarray(RGB).astype(np.int64), (20, 30)),
    "batch of one": (np.asarray(RGB)[None], None),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_pictures_are_explained_in_their_own_size(what, model_of):
    model, before = model_of("flat")
    source, size = ODD[what]
    explainer = tfcam.Explainer(model, preprocess="unit")
    wanted = explainer(load_image(source))
    for _ in range(2):
        found = explainer(source)
        found = found if size else found[0]
        assert found.heatmap.shape == (size or (20, 30))
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    assert look(model) == before


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "bfloat16", "tensor", "variable"]
)
def test_floats_of_any_kind_without_a_batch_axis(dtype, model_of):
    model, _ = model_of("flat")
    kinds = {"tensor": tf.constant, "variable": tf.Variable}
    given = kinds.get(dtype, lambda each: tf.cast(each, dtype).numpy())(INPUT)
    found, wanted = tfcam.explain(model, given), tfcam.explain(model, INPUT)
    exact = dtype not in ("float16", "bfloat16")
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4 if exact else 0.2, atol=1e-3)


@pytest.mark.slow
def test_a_url_of_a_local_server_is_explained(model_of, place):
    model, _ = model_of("flat")
    found = tfcam.explain(model, f"{place[1]}/image", preprocess="unit")
    np.testing.assert_array_equal(found.image, PICTURE)
