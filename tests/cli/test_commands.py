"""The command line, in this process: what it prints and writes, and one line for bad input."""

import functools
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests import networks
from tfcam.cli.commands import app, main
from tfcam.engine.doors import DOORS
from tfcam.scenes import KINDS, draw_scene

LABELS = [f"the {kind}" for kind in KINDS]


@pytest.fixture(autouse=True)
def here(at_work):
    """A folder to work in with three scenes."""
    for seed, name in enumerate(["a.png", "b.png", "c.png"]):
        draw(name, seed)
    return at_work


def draw(name, seed):
    Path(name).parent.mkdir(exist_ok=True)
    Image.fromarray(scene(seed)).save(name)


@functools.cache
def scene(seed):
    return draw_scene(seed).image


def run(*arguments, model="shapes"):
    given = [str(each) for each in arguments]
    return CliRunner().invoke(app, [*given, "--model", model] if model else given)


def explained(*arguments):
    """Run ``explain``, which must succeed and be quiet on the error stream."""
    result = run("explain", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def files(folder="."):
    """Every file and folder below, with its content."""
    found = sorted(Path(folder).rglob("*"))
    return {str(each): each.read_bytes() if each.is_file() else None for each in found}


def made(folder="."):
    """The names of what is in a folder besides the scenes."""
    return sorted({each.name for each in Path(folder).iterdir()} - {"a.png", "b.png", "c.png"})


def assert_shows(file, result):
    """The file holds the result's picture; eager and compiled may round a pixel differently."""
    with Image.open(file) as image:
        np.testing.assert_allclose(np.asarray(image, float), result.picture(), atol=1)


# --- explain --------------------------------------------------------------------------------


def test_one_image(shapes):
    out = explained("a.png")
    expected = tfcam.explain(shapes, "a.png", labels=KINDS)
    assert out.splitlines()[0] == repr(expected).splitlines()[0]
    told = dict(re.findall(r"^  (\w+) +(.*)$", out, re.MULTILINE))
    assert float(told.pop("score").removesuffix(" (logit)")) == pytest.approx(expected.score, 1e-4)
    assert float(told.pop("probability")) == pytest.approx(expected.probability, 1e-4)
    assert told == {
        "layer": "features (feeds pooling, the last global pooling)",
        "preprocessing": expected.preprocessing,
        "wrote": "a_grad_cam.png",
    }
    assert made() == ["a_grad_cam.png"]
    assert_shows("a_grad_cam.png", expected)


@pytest.mark.parametrize("sources", [["a.png", "c.png", "b.png"], ["."], ["?.png"], ["**/*.png"]])
def test_several_images_a_folder_and_globs(shapes, sources):
    out = explained(*sources, "--output", "out/new")
    order = sources if len(sources) > 1 else ["a.png", "b.png", "c.png"]
    assert made("out/new") == ["a_grad_cam.png", "b_grad_cam.png", "c_grad_cam.png"]
    assert [line.split()[-1] for line in out.splitlines() if "wrote" in line] == [
        f"out/new/{name[0]}_grad_cam.png" for name in order
    ]
    for name in order:
        expected = tfcam.explain(shapes, name, labels=KINDS)
        assert_shows(f"out/new/{name[0]}_grad_cam.png", expected)
        assert f"Explanation of {expected.label!r} (class {expected.target}) by grad_cam" in out


def test_only_the_pictures_of_a_folder_are_taken():
    draw("folder/Z.PNG", 0)
    Image.fromarray(scene(1)).save("folder/y.jpeg")
    Path("folder/notes.txt").write_text("no picture")
    Path("folder/below").mkdir()
    records = json.loads(explained("folder", "--json"))
    assert [each["image"] for each in records] == ["folder/Z.PNG", "folder/y.jpeg"]


def test_a_name_with_the_signs_of_a_glob_is_a_name():
    draw("a[1].png", 0)
    explained("a[1].png")
    assert made() == ["a[1].png", "a_1__grad_cam.png"]


def test_json_says_what_explain_says(shapes):
    before = files()
    records = json.loads(explained("a.png", "b.png", "--json"))
    assert files() == before
    for name, record in zip(["a.png", "b.png"], records, strict=True):
        expected = tfcam.explain(shapes, name, labels=KINDS)
        np.testing.assert_allclose(record.pop("boxes"), expected.boxes(), atol=1)
        assert record == {
            "image": name,
            "target": expected.target,
            "label": KINDS[expected.target],
            "score": pytest.approx(expected.score, rel=1e-5),
            "score_kind": "logit",
            "probability": pytest.approx(expected.probability, rel=1e-5),
            "layer": "features",
            "method": "grad_cam",
            "findings": [],
            "verdict": None,
            "p_value": None,
            "file": None,
        }


def test_json_with_output_writes_as_well():
    (record,) = json.loads(explained("a.png", "--json", "--output", "out"))
    assert record["file"] == "out/a_grad_cam.png"
    assert made("out") == ["a_grad_cam.png"]


@pytest.mark.parametrize(
    ("output", "written"),
    [
        ("map.png", "map.png"),
        ("map.npz", "map.npz"),
        ("new/folder", "new/folder/a_grad_cam.png"),
        (".", "a_grad_cam.png"),
        ("is.there", "is.there/a_grad_cam.png"),
    ],
)
def test_output_is_a_file_or_a_folder(shapes, output, written):
    Path("is.there").mkdir()
    before = files()
    assert f"  wrote          {written}\n" in explained("a.png", "--output", output)
    new = {name for name in files() if name not in before and Path(name).is_file()}
    assert new == {written}
    expected = tfcam.explain(shapes, "a.png", labels=KINDS)
    if output == "map.npz":
        loaded = tfcam.Explanation.load(written)
        np.testing.assert_allclose(loaded.raw, expected.raw, rtol=1e-4, atol=1e-6)
        assert (loaded.label, loaded.versions) == (expected.label, expected.versions)
    else:
        assert_shows(written, expected)


def test_equal_names_do_not_overwrite_each_other(shapes):
    sources = ["one/x.png", "two/x.png", "x_2.png", "two/x.jpg"]
    for seed, name in enumerate(sources):
        draw(name, seed)
    records = json.loads(explained(*sources, "--json", "--output", "out"))
    written = [each["file"] for each in records]
    assert len(set(written)) == 4
    assert made("out") == sorted(Path(each).name for each in written)
    for source, file in zip(sources, written, strict=True):
        assert_shows(file, tfcam.explain(shapes, source))


def test_a_file_of_labels_names_the_classes():
    Path("labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    options = ["a.png", "--labels", "labels.txt", "--json"]
    (predicted,) = json.loads(explained(*options))
    assert predicted["label"] == LABELS[predicted["target"]]
    (asked,) = json.loads(explained(*options, "--target", "THE_heart"))
    assert (asked["target"], asked["label"]) == (KINDS.index("heart"), "the heart")


def saved(*arguments):
    explained("a.png", *arguments, "--output", "map.npz", "--overwrite")
    return tfcam.Explanation.load("map.npz")


def test_a_layer_by_name_and_by_index(shapes):
    paths = [each.path for each in tfcam.layers(shapes)]
    for path in (paths[3], paths[-1]):
        by_name = saved("--layer", path)
        assert by_name.layer == path
        for index in (paths.index(path), paths.index(path) - len(paths)):
            by_index = saved("--layer", index)
            np.testing.assert_allclose(by_index.raw, by_name.raw, rtol=1e-4, atol=1e-6)
            assert by_index.layer.split(":")[0] == path


@pytest.mark.parametrize("method", networks.METHODS)
@pytest.mark.thinned(1)
def test_every_method(shapes, method):
    (record,) = json.loads(explained("a.png", "--method", method, "--json", "--output", "out"))
    assert (record["method"], record["file"]) == (method, f"out/a_{method}.png")
    assert_shows(record["file"], tfcam.explain(shapes, "a.png", method=method))


def test_several_layers_are_fused(shapes):
    first, last = tfcam.layers(shapes)[0].path, "features"
    result = saved("--layer", first, "--layer", last, "--fuse", "mean")
    assert list(result.parts) == [first, last]
    assert result.options["fuse"] == "mean"
    assert len(saved("--layer", "all_convolutions").parts) > 2


@pytest.mark.slow
def test_options_of_the_method_are_read():
    result = saved("--method", "smooth_grad", "--option", "samples=2", "--option", "squared=True")
    assert (result.options["samples"], result.options["squared"]) == (2, True)
    result = saved("--method", "score_cam", "--option", "weights=logit_softmax")
    assert result.options["weights"] == "logit_softmax"


def test_choose_layer_asks_in_a_terminal(monkeypatch, shapes):
    monkeypatch.setattr("tfcam.cli.arguments.is_terminal", lambda: True)
    paths = [each.path for each in tfcam.layers(shapes)]
    for answer, layer in [
        ("2\n", paths[2]),
        ("\n", "features"),
        ("99\n" + paths[1] + "\n", paths[1]),
    ]:
        command = ["explain", "a.png", "--model", "shapes", "--choose-layer", "--output", "a.npz"]
        result = CliRunner().invoke(app, [*command, "--overwrite"], input=answer)
        assert result.exit_code == 0, result.stderr
        assert all(path in result.stderr for path in paths)
        assert tfcam.Explanation.load("a.npz").layer == layer
        assert ("must be in 0.." in result.stderr) == (answer[:2] == "99")


def test_choose_layer_needs_a_terminal():
    result = run("explain", "a.png", "--choose-layer")
    assert_one_line(result, "--choose-layer asks in a terminal; .* name the layer with --layer")


def test_a_target_by_label_and_by_index():
    for index in (0, len(KINDS) - 1):
        by_index, by_label = saved("--target", index), saved("--target", KINDS[index])
        np.testing.assert_allclose(by_index.raw, by_label.raw, rtol=1e-4, atol=1e-6)
        assert (by_index.target, by_index.label) == (index, KINDS[index])
        assert (by_label.target, by_label.label) == (index, KINDS[index])


@pytest.mark.parametrize("preprocess", ["unit", "caffe", "mobilenet_v2"])
def test_preprocess_is_handed_on(shapes, preprocess):
    expected = tfcam.explain(shapes, "a.png", preprocess=preprocess)
    result = saved("--preprocess", preprocess)
    assert result.preprocessing == expected.preprocessing != saved().preprocessing
    np.testing.assert_allclose(result.raw, expected.raw, rtol=1e-4, atol=1e-6)


def test_a_model_file_with_nan_is_told_and_its_json_can_be_read():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(2, 3, activation="relu", name="mine")(layers.Rescaling(1 / 255)(inputs))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.get_layer("mine").set_weights([np.full((3, 3, 3, 2), np.nan), np.zeros(2)])
    model.save("nan.keras")
    result = run("explain", "a.png", "--json", model="nan.keras")
    assert (result.exit_code, result.stderr) == (0, "")
    (record,) = json.loads(result.stdout, parse_constant=pytest.fail)
    assert (record["score"], record["probability"]) == (None, None)
    assert (record["layer"], record["label"], record["boxes"]) == ("mine", None, [])
    assert record["findings"] == ["not_finite"]


# --- bad input ------------------------------------------------------------------------------


@pytest.fixture
def wrong_files(shapes):
    Path("text.png").write_text("no picture")
    whole = Path("a.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    Path("text.keras").write_text("no model")
    shapes.save("cut.keras")
    whole = Path("cut.keras").read_bytes()
    Path("cut.keras").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile("other.keras", "w") as file:
        file.writestr("a.txt", "no model")
    Path("two.txt").write_text("cat\ndog\n")
    Path("latin.txt").write_bytes("\n".join(LABELS).replace("e", "é").encode("latin-1"))
    Path("empty").mkdir()


BAD = {
    "missing.png": r"must name an image file; there is none at 'missing\.png'",
    "text.png": r"'text\.png': An image file must be one of AVIF, .* begins with b'no picture'",
    "cut.png": r"'cut\.png': An image must be whole; this one is damaged or cut off",
    "empty": r"The folder 'empty' must hold pictures; it holds none\.",
    "no*.png": r"No file matches 'no\*\.png'\.",
    "http://127.0.0.1:9/a.png": r"'http://127\.0\.0\.1:9/a\.png' does not: the server cannot be",
    "ftp://127.0.0.1/a.png": r"only http:// and https:// are followed",
    "a.png --model resnet51": r"No network 'resnet51' in keras\.applications; it has .*ResNet50,",
    "a.png --model no.keras": r"No model file 'no\.keras'\.",
    "a.png --model text.keras": r"'text\.keras' could not be loaded as a Keras model: ",
    "a.png --model cut.keras": r"'cut\.keras' could not be loaded as a Keras model: ",
    "a.png --model other.keras": r"'other\.keras' could not be loaded as a Keras model: ",
    "a.png --layer featurs": r"No layer 'featurs' in 'shapes'\. Did you mean 'features'\?",
    "a.png --layer 99": r"index must be in 0\.\.\d+, .* got 99\.",
    "a.png --layer pooling": r"'pooling' gives \(1, \d+\)",
    "a.png --target hart": r"No class is labelled 'hart'\. Did you mean 'heart'",
    "a.png --target 8": r"must be in 0\.\.7: 8 classes; got 8\.",
    "a.png --target -1": r"must be in 0\.\.7: 8 classes; got -1\.",
    "a.png --target 1.5": r"No class is labelled '1\.5'",
    "a.png --method gradcam": r"one of cam, grad_cam, .*'gradcam'\. Did you mean 'grad_cam'",
    "a.png --method cam --layer block1_relu": r"CAM applies only to .*'features'; .*'block1_relu'",
    "a.png --preprocess zip": r"preprocess must be 'auto', .* got 'zip'\.",
    "a.png --labels no.txt": r"--labels must be a text file .* 'no\.txt': No such file",
    "a.png --labels empty": r"--labels must be a text file .* 'empty': ",
    "a.png --labels latin.txt": r"--labels must be a text file .* 'latin\.txt': it is no UTF-8",
    "a.png --labels two.txt": r"must name each of the model's 8 classes; got 2\.",
    "a.png --output map.jpg": r"saved as \.png or \.npz; got 'map\.jpg'\.",
    "a.png --output no/map.png": r"The folder of 'no/map\.png' does not exist; make it first\.",
    "a.png --output b.png/new": r"Not a directory|File exists",
    "a.png b.png --output map.png": r"--output must be a folder for 2 images; got map\.png\.",
}


def assert_one_line(result, message):
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)  # no traceback
    assert re.fullmatch(rf"tfcam: [^\n]*(?:{message})[^\n]*\n", result.stderr), result.stderr


@pytest.mark.thinned(18)
@pytest.mark.usefixtures("wrong_files")
@pytest.mark.parametrize("output", ["--output new/folder", "--json"])
@pytest.mark.parametrize("arguments", BAD)
def test_bad_input_is_one_line_and_nothing_is_written(arguments, output):
    before = files()
    given = arguments if "--output" in arguments else f"{arguments} {output}"
    result = run("explain", *given.split(), model=None if "--model" in arguments else "shapes")
    assert_one_line(result, BAD[arguments])
    assert result.stdout in ("", "[]\n")
    assert files() == before


@pytest.mark.usefixtures("wrong_files")
def test_one_broken_image_does_not_stop_the_others(shapes):
    result = run("explain", "a.png", "text.png", "c.png", "--output", "out")
    assert_one_line(result, r"text\.png: .*An image file must be one of")
    assert made("out") == ["a_grad_cam.png", "c_grad_cam.png"]
    for name in "ac":
        assert_shows(f"out/{name}_grad_cam.png", tfcam.explain(shapes, f"{name}.png"))
    assert result.stdout.count("Explanation of") == 2
    result = run("explain", "a.png", "text.png", "c.png", "--json")
    assert_one_line(result, r"text\.png: .*An image file must be one of")
    assert [each["image"] for each in json.loads(result.stdout)] == ["a.png", "c.png"]


@pytest.mark.parametrize(
    "arguments", [["explain"], ["explain", "a.png"], ["compare", "a.png"], ["layers"], ["draw"]]
)
def test_wrong_usage_is_told(arguments):
    result = run(*arguments, model=None)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert result.stdout == ""


# --- compare --------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch):
    """What compare was asked for."""
    given = {}

    def noted(model, image, **options):
        given.update(options, model=model, image=image)
        return real(model, image, **options)

    real = tfcam.compare
    monkeypatch.setattr("tfcam.explainer.compare.compare", noted)
    return given


@pytest.mark.slow
def test_compare_draws_one_figure_and_prints_the_table(asked, shapes):
    options = ["--method", "grad_cam", "--method", "layer_cam", "--target", "star", "--target", "0"]
    result = run("compare", "a.png", *options, "--output", "out.png", "--shared-scale")
    assert (result.exit_code, result.stderr) == (0, "")
    assert made() == ["out.png"]
    assert result.stdout.startswith("Comparison of 2 x 2 explanations, 128 x 128 pixels\n")
    assert result.stdout.endswith("\nwrote out.png\n")
    np.testing.assert_array_equal(asked.pop("image"), scene(0))
    chosen = {
        "model": shapes,
        "methods": ["grad_cam", "layer_cam"],
        "targets": ["star", 0],
        "labels": list(KINDS),
    }
    assert asked == {option.name: option.default for option in DOORS["compare"]} | chosen
    shared = Path("out.png").read_bytes()
    assert run("compare", "a.png", *options, "--output", "out.png", "--overwrite").exit_code == 0
    assert Path("out.png").read_bytes() != shared


def test_both_sides_are_drawn_and_named(shapes):
    explained("a.png", "--signed")
    assert run("compare", "a.png", "--method", "hires_cam", "--signed").exit_code == 0
    assert made() == ["a_compare_hires_cam_signed.png", "a_grad_cam_signed.png"]
    wanted = tfcam.explain(shapes, "a.png", labels=KINDS).picture(signed=True)
    with Image.open("a_grad_cam_signed.png") as image:
        np.testing.assert_allclose(np.asarray(image, float), wanted, atol=1)


@pytest.mark.slow
def test_compare_takes_repeated_layers_and_hands_options_on(asked):
    Path("labels.txt").write_text("\n".join(LABELS))
    options = [
        "--layer",
        "features",
        "--layer",
        "-3",
        "--preprocess",
        "unit",
        "--labels",
        "labels.txt",
    ]
    result = run("compare", "a.png", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    assert made() == ["a_compare_features_-3_preprocess_unit.png", "labels.txt"]
    assert asked["layers"] == ["features", -3]
    assert (asked["methods"], asked["targets"]) == (None, None)
    assert (asked["preprocess"], asked["labels"]) == ("unit", LABELS)


@pytest.mark.slow
def test_compare_takes_several_models(asked, shapes):
    shapes.save("mine.keras")
    result = run("compare", "a.png", "--model", "mine.keras")  # and shapes
    assert (result.exit_code, result.stderr) == (0, "")
    one, other = asked["model"]
    assert [one.name, other.name] == ["shapes", "shapes"]
    assert one is not other is shapes
    assert asked["labels"] is None  # they are known of one only
    run("compare", "a.png", "--model", "shapes", "--overwrite")
    assert asked["model"] == [shapes, shapes]
    assert asked["labels"] == list(KINDS)


@pytest.mark.usefixtures("asked", "wrong_files")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "a.png --output map.jpg",
            r"saved as \.png, \.pdf, \.svg, \.gif or \.html; got 'map\.jpg'\.",
        ),
        ("a.png --output no/map.png", r"The folder of 'no/map\.png' does not exist; make it"),
        ("a.png --model resnet51", BAD["a.png --model resnet51"]),
        ("a.png --labels latin.txt", BAD["a.png --labels latin.txt"]),
        ("a.png --target hart", BAD["a.png --target hart"]),
        ("a.png --method gradcam", BAD["a.png --method gradcam"]),
        ("text.png", BAD["text.png"]),
        ("missing.png", BAD["missing.png"]),
    ],
)
def test_bad_input_of_compare_is_one_line_and_nothing_is_written(arguments, message):
    before = files()
    result = run("compare", *arguments.split())
    assert_one_line(result, message)
    assert result.stdout == ""
    assert files() == before


# --- layers, methods ------------------------------------------------------------------------


def test_layers_prints_the_table(shapes):
    result = run("layers")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{tfcam.layers(shapes)}\n"
    assert "Explained by default: features (feeds pooling" in result.stdout


@pytest.mark.usefixtures("wrong_files")
@pytest.mark.parametrize("name", ["resnet51", "no.keras", "text.keras"])
def test_layers_of_no_model_is_one_line(name):
    result = run("layers", model=name)
    assert_one_line(result, BAD[f"a.png --model {name}"])
    assert result.stdout == ""


def test_layers_of_a_model_without_a_map_is_one_line():
    keras.Sequential([keras.Input((4,)), layers.Dense(2)], name="flat").save("flat.keras")
    assert_one_line(run("layers", model="flat.keras"), "'flat' has none")


def test_methods_prints_each_with_what_it_shows():
    result = run("methods", model=None)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split("│")[1:3] for line in result.stdout.splitlines() if "│" in line]
    assert [name.strip() for name, _ in rows if name.strip()] == list(tfcam.METHODS)
    text = " ".join(" ".join(summary for _, summary in rows).split())
    assert text == " ".join(method.summary for method in tfcam.METHODS.values())


CAFES = [f"café {number}" for number in range(len(KINDS))]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("explain a.png --model shapes --labels cafés.txt", r"caf\? \d"),
        ("explain a.png --model shapes --labels cafés.txt --json", r'"label": "caf\\u00e9 \d"'),
        ("compare a.png --model shapes --labels cafés.txt --method cam", r"caf\? \d"),
        ("diagnose a.png --model shapes --labels cafés.txt", r"caf\? \d"),
        ("explain a.png --model shapes --labels cafés.txt --target thé", r"tfcam: .*'th\?'"),
        ("explain żółw.png --model shapes", r"tfcam: .*'\?\?\?w.png'"),
        ("layers --model shapes", "features"),
        ("methods", "Chattopadh|grad_cam_pp"),
        ("metrics", "deletion"),
    ],
)
def test_a_terminal_of_ascii_gets_question_marks(command, said, monkeypatch):
    """Python would end a program that prints what its terminal does not know."""
    Path("cafés.txt").write_text("\n".join(CAFES), encoding="utf-8")
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    monkeypatch.setattr("sys.argv", ["tfcam", *command.split()])
    monkeypatch.setattr("sys.stdout", streams[0])
    monkeypatch.setattr("sys.stderr", streams[1])
    with pytest.raises(SystemExit) as ended:
        main()
    for stream in streams:
        stream.flush()
    printed = "".join(stream.buffer.getvalue().decode("ascii") for stream in streams)
    assert re.search(said, printed), printed
    assert ended.value.code == (2 if said.startswith("tfcam") else 0)


@pytest.mark.slow
def test_as_a_program_of_its_own(shapes):
    """TensorFlow greets on the error stream past Python: only a real process shows that."""
    program = [sys.executable, "-c", "from tfcam.cli import main; main()"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    done = subprocess.run(
        [*program, "layers", "--model", "shapes"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tfcam.layers(shapes)}\n"


@pytest.mark.parametrize(
    "typed",
    [
        ["explain", "--f\u202eo\u200b\no"],
        ["methods", "a\u202e\u200b\nb"],
        ["ex\u202e\u200b\nplain"],
        ["explain", "a.png", "-\u2066"],
        ["--\u202e\u200b\n"],
    ],
)
def test_what_is_mistyped_is_shown_as_a_terminal_may_show_it(typed):
    """Letters that turn the direction, or have no width, could hide what was typed."""
    result = run(*typed, model=None)
    assert result.exit_code == 2
    assert not re.search("[\u200b\u202e\u2066\x1b]", result.stderr)
    assert len(result.stderr.splitlines()) == 5  # the usage, where help is, a frame of one line


def numbered():
    """Layers a, 0 and b: "0" is the name of one, and the index of another."""
    start = x = keras.Input((12, 12, 3))
    for name in ("a", "0", "b"):
        x = layers.Conv2D(4, 3, activation="relu", name=name)(x)
    return keras.Model(start, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.thinned(2)
@pytest.mark.parametrize(("typed", "path"), [("2", "b"), ("0", "0"), ("1", "0"), ("a", "a")])
def test_a_number_that_a_layer_is_called_by_names_that_layer(typed, path):
    numbered().save("numbered.keras")
    asked = ["a.png", "--preprocess", "unit", "--layer", typed]
    found = json.loads(run("explain", *asked, "--json", model="numbered.keras").stdout)
    assert found[0]["layer"] == path
    if typed == "0":
        shown = run("diagnose", *asked, model="numbered.keras").stdout
        assert "layer            0 (as given)" in shown
        compared = run("compare", *asked, "--layer", "b", model="numbered.keras").stdout
        assert "0" in compared.split()
        dream = ["dream", "--layer", "0", "--steps", "1", "--size", "12,12", "--output", "d.png"]
        dreamt = run(*dream, "--preprocess", "unit", model="numbered.keras")
        assert dreamt.exit_code == 0
        assert "Dream of layer('0')" in dreamt.stdout
