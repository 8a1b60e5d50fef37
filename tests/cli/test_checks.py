"""What the command line refuses at once: mistaken names and files, and what would be lost."""

import dataclasses
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli.commands import app
from tfcam.cli.names import (
    method_options,
    method_summaries,
    metric_facts,
    network_names,
    preset_names,
    recipe_options,
)
from tfcam.feature_visualization.recipes import PRESETS, Recipe
from tfcam.metrics.registry import METRICS
from tfcam.model.applications import builder_names

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "import sys; from tfcam.cli.commands import app\n"
    "try: app()\n"
    "finally: print([name for name in ('keras', 'tensorflow') if name in sys.modules])"
)
WRONG = {
    "explain missing.png --model shapes": r"there is none at 'missing\.png'",
    "explain missing.png none.png --model shapes": r"missing\.png: .*none\.png: ",
    "explain text.png --model shapes": r"'text\.png': An image file must be one of",
    "explain aa.png --model shapes": r"there is none at 'aa\.png' .* Did you mean 'a\.png'",
    "explain a.png --model shapes --method gradcam": r"got 'gradcam'\. Did you mean 'grad_cam'",
    "explain a.png --model mobilnet_v2": r"No network 'mobilnet_v2' .* MobileNetV2",
    "explain a.png --model mine.kears": r"No network 'mine\.kears'",
    "explain a.png --model mien.keras": r"No model file 'mien\.keras'\. Did you mean 'mine\.keras'",
    "explain a.png --model shapes --method score_cam --option chanels=2": (
        r"'score_cam' has no option 'chanels'; it has weights, channels, fill\. Did you mean 'chan"
    ),
    "explain a.png --model shapes --preprocess unti": r"got 'unti'\. Did you mean 'unit'",
    "explain a.png --model shapes --score logits": r"got 'logits'\. Did you mean 'logit'",
    "explain a.png --model shapes --fuse men": r"fuse must be .*'men'\. Did you mean 'mean'",
    "explain a.png --model shapes --labels no.txt": r"--labels must be a text file .* 'no\.txt'",
    "explain a.png --model shapes --output no/map.png": r"The folder of 'no/map\.png' does not",
    "explain a.png --model shapes --output a.jpg": r"saved as \.png or \.npz",
    "explain a.png --model shapes --output a.png": "'a.png' must be another file than those",
    "explain a.png --model shapes --choose-layer": "there is none: name the layer with --layer",
    "ratings nowhere": "There must be a folder of tfcam rate at 'nowhere'; there is none",
    "compare a.png --model shapes --method layercam": r"got 'layercam'\. Did you mean 'layer_cam'",
    "compare a.png --model shapes --model shaeps": r"No network 'shaeps'",
    "diagnose b.png --model shapes": r"there is none at 'b\.png'",
    "layers --model resnet51": r"No network 'resnet51' .*ResNet50",
    "dream --model shapes --target 1 --image b.png": r"there is none at 'b\.png'",
    "dream --model shapes --target 1 --preset fourrier": r"Did you mean 'fourier'",
    "dream --model shapes --target 1 --option blurr=2": r"dream has no option 'blurr'.*'blur'",
    "explain-dataset shapes pictures --to a.png": r"to must be a folder; 'a\.png' is a file",
    "evaluate shapes pictrues --metric energy": r"data='pictrues' must be a folder.*'pictures'",
    "evaluate shapes pictures --metric enregy": r"got 'enregy'\. Did you mean 'energy'",
    "evaluate shapes pictures --baseline edges": r"baselines must be one of .*'sobel_edges'",
    "recommend shapes pictures --method gradcam": r"got 'gradcam'\. Did you mean 'grad_cam'",
    "recommend shapes pictures --annotations boxs": r"'boxs'\. Did you mean 'boxes'",
    "explain-dataset shapes pictrues --to maps": r"data='pictrues' must be a folder.*'pictures'",
    "explain-dataset shapes pictures --to maps --option stps=2": r"'grad_cam' has no option 'stps'",
    "explain a.png --model shapes --import layers.py": r"no file or folder 'layers\.py'\.",
    "compare a.png --model shapes --output no/a.png": r"folder of 'no/a\.png' does not exist",
    "dream --model shapes --target 1 --output no/a.png": r"folder of 'no/a\.png' does not exist",
}


@pytest.fixture(autouse=True)
def here(at_work):
    Image.fromarray(tfcam.scenes.draw_scene(0).image).save("a.png")
    Path("text.png").write_text("no picture")
    Path("mine.keras").write_text("no model")
    for folder in ("pictures", "boxes"):
        Path(folder).mkdir()
    return at_work


def typed(*arguments, **environment):
    """Type a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "300"} | environment,
        timeout=120,
        check=False,
    )
    return done, done.stdout.splitlines()[-1]


@pytest.mark.parametrize("command", WRONG)
def test_mistakes_are_told_before_the_model_is_loaded(command, monkeypatch):
    def never():
        raise AssertionError("loaded")

    monkeypatch.setattr("tfcam.cli.arguments.load_tensorflow", never)
    found = CliRunner().invoke(app, command.split())
    assert found.exit_code == 2, found.exception
    assert re.search(WRONG[command], " ".join(found.stderr.split()))


@pytest.mark.thinned(2)
@pytest.mark.parametrize("command", [*WRONG][::5])
def test_mistakes_are_told_before_tensorflow_is_loaded(command):
    began = time.process_time(), os.times().children_user
    found, loaded = typed(*command.split())
    assert found.returncode == 2
    assert re.search(WRONG[command], " ".join(found.stderr.split()))
    assert loaded == "[]"
    assert os.times().children_user - began[1] < 2


@pytest.mark.parametrize("command", ["app", "rate a.png --model shapes --to ratings"])
def test_what_is_not_installed_is_told_before_tensorflow_is_loaded(command, tmp_path):
    (tmp_path / "gradio.py").write_text("raise ImportError")
    found, loaded = typed(*command.split(), PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    assert (found.returncode, loaded) == (2, "[]")
    assert "needs gradio: python -m pip install 'tfcam[app]'" in found.stderr


@pytest.mark.parametrize("command", ["--help", "methods", "metrics"])
def test_what_only_lists_loads_no_tensorflow(command):
    found, loaded = typed(command)
    assert (found.returncode, loaded) == (0, "[]")
    assert "evaluate" in found.stdout or "grad_cam" in found.stdout or "road" in found.stdout


def test_names_are_those_of_the_library():
    assert list(method_options()) == list(tfcam.METHODS)
    assert metric_facts() == {name: (each.meaning, each.better) for name, each in METRICS.items()}
    assert list(metric_facts()) == list(METRICS)
    summaries = {name: each.summary for name, each in tfcam.METHODS.items()}
    assert list(method_summaries().items()) == list(summaries.items())
    assert recipe_options() == [field.name for field in dataclasses.fields(Recipe)]
    assert preset_names() == list(PRESETS)
    assert sorted(network_names()) == sorted(builder_names().values())
    for name, options in method_options().items():
        for option in options:
            with pytest.raises(
                (TypeError, ValueError), match=rf"^{option} must|^fill|^base|^weigh"
            ):
                tfcam.METHODS[name].of({option: "no such value"})
    assert all(hasattr(keras.applications, name) for name in network_names())


def made():
    return sorted({path.name for path in Path().glob("*.png")} - {"a.png", "text.png"})


def run(*arguments):
    found = CliRunner().invoke(app, list(arguments))
    assert (found.exit_code, found.stderr) == (0, ""), found.stderr
    return found.stdout


@pytest.mark.slow
def test_what_is_asked_for_names_the_file():
    explain = ("explain", "a.png", "--model", "shapes")
    for options, name in {
        (): "a_grad_cam.png",
        ("--target", "star"): "a_grad_cam_star.png",
        ("--target", "heart"): "a_grad_cam_heart.png",
        ("--target", "heart", "--layer", "features"): "a_grad_cam_heart_features.png",
        ("--method", "layer_cam", "--layer", "-3"): "a_layer_cam_-3.png",
        ("--score", "probability"): "a_grad_cam_score_probability.png",
        ("--eigen",): "a_grad_cam_eigen.png",
        ("--method", "score_cam", "--option", "channels=4"): "a_score_cam_channels_4.png",
        ("--preprocess", "unit"): "a_grad_cam_preprocess_unit.png",
    }.items():
        assert f"wrote          {name}\n" in run(*explain, *options), name
    assert len(made()) == 9


@pytest.mark.slow
def test_two_comparisons_are_two_files():
    run("compare", "a.png", "--model", "shapes", "--target", "star", "--target", "heart")
    run("compare", "a.png", "--model", "shapes", "--method", "cam", "--target", "star")
    run("compare", "a.png", "--model", "shapes")
    assert made() == ["a_compare.png", "a_compare_star_cam.png", "a_compare_star_heart.png"]


@pytest.mark.thinned(3)
@pytest.mark.parametrize(
    "command",
    [
        "explain a.png --model shapes --target star",
        "explain a.png --model shapes --output map.npz",
        "explain a.png --model shapes --output out",
        "compare a.png --model shapes --method cam",
        "dream --model shapes --target star --steps 2",
    ],
)
def test_nothing_is_written_over_but_where_it_is_said(command):
    before = {path for path in Path().rglob("*") if path.is_file()}
    run(*command.split())
    [file] = {path for path in Path().rglob("*") if path.is_file()} - before
    file.write_bytes(b"of somebody")
    found = CliRunner().invoke(app, command.split())
    assert found.exit_code == 2
    assert f"'{file}' is there already: write over with --overwrite" in found.stderr
    assert file.read_bytes() == b"of somebody"
    run(*command.split(), "--overwrite")
    assert file.read_bytes() != b"of somebody"


@pytest.mark.parametrize(
    "command", ["evaluate shapes pictures --html r", "recommend shapes pictures --html r", "demo"]
)
def test_reports_and_figures_are_not_written_over(command):
    for name in ("r", "demo.png"):
        Path(name).write_text("of somebody")
    found = CliRunner().invoke(app, command.split())
    assert found.exit_code == 2
    assert "is there already: write over with --overwrite" in found.stderr
    assert Path("r").read_text() == Path("demo.png").read_text() == "of somebody"


@pytest.mark.parametrize("command", ["explain a.png --method smooth_grad --option samples=32"])
def test_what_loops_shows_its_steps(command):
    found = CliRunner().invoke(app, [*command.split(), "--model", "shapes", "--progress"])
    assert found.exit_code == 0
    assert " 4/4 " in found.stderr
