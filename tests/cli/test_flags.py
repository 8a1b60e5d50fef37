"""Every option of a door has its flag, with the same words and default; --help is quick."""

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests.doors import PUBLIC, signatures
from tfcam.cli.commands import app
from tfcam.cli.flags import help_words, read_method_options, read_sides, spell_flag
from tfcam.engine.doors import DOORS

COMMANDS = typer.main.get_command(app).commands
# The doors behind each command.
BEHIND = {
    "layers": ["layers"],
    "explain": ["explain", "Explainer"],
    "compare": ["compare"],
    "diagnose": ["diagnose"],
    "verify": ["verify", "Explainer"],
    "report": ["report"],
    "evaluate": ["evaluate"],
    "recommend": ["recommend"],
    "dream": ["dream"],
    "explain-dataset": ["stream"],
    "app": ["app"],
}
# What a command takes in another way, or a command line can't say.
OTHERWISE = {
    "explain": {"image", "words"},  # it reads pictures, which have no words
    "verify": {"explanation", "explainer"},  # it makes them
    "evaluate": {"explainers"},  # functions
    "recommend": {"images"},
    "dream": {"objective"},  # --target, --layer and --channel
    "app": {"wait"},  # a command waits
}


def flags_of(command):
    return {parameter.name: parameter for parameter in COMMANDS[command].params}


@pytest.mark.parametrize(
    ("command", "door"), [(command, door) for command in BEHIND for door in BEHIND[command]]
)
def test_every_option_of_a_door_has_its_flag(command, door):
    flags, options = flags_of(command), {option.name: option for option in DOORS[door]}
    arguments = next(each for each in signatures(PUBLIC[door]) if each.name == door).entries
    assert set(arguments) - set(flags) <= {*OTHERWISE.get(command, ()), "options"}
    for name in set(arguments) & set(flags):
        flag, option = flags[name], options.get(name)
        if option:
            assert (flag.opts, flag.help) == ([spell_flag(option)], help_words(option))
            assert flag.default == (None if option.default is ... else option.default)
            assert flag.required == (option.default is ...)
        elif name not in ("model", "data", "image"):
            clause = re.split("[,:;.]", flag.help)[0]
            assert arguments[name].startswith(clause), name


def test_every_command_of_a_door_is_checked():
    assert set(COMMANDS) - set(BEHIND) == {"demo", "methods", "metrics", "rate", "ratings"}


@pytest.mark.slow
def test_help_is_narrow_and_loads_no_tensorflow():
    code = """
import sys
from typer.testing import CliRunner
from tfcam.cli.commands import app
for name in sys.argv[1:]:
    print(CliRunner().invoke(app, [name, "--help"]).output)
sys.exit(bool({"tensorflow", "keras", "pandas", "matplotlib"} & set(sys.modules)))
"""
    program = [sys.executable, "-c", code, *COMMANDS]
    wide = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env={**wide})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == len(COMMANDS)
    assert max(map(len, done.stdout.splitlines())) <= 80


# What is typed for an option, and what the library gets.
TYPED = {
    "layer": ("features", "features"),
    "layers": ("-2", [-2]),
    "target": ("3", 3),
    "targets": ("star", ["star"]),
    "score": ("probability", "probability"),
    "input": ("1", 1),
    "output": ("second", "second"),
    "grid": ("7,14", (7, 14)),
    "tile": ("7,14", (7, 14)),
    "method": ("layer_cam", "layer_cam"),
    "methods": ("layer_cam", ["layer_cam"]),
    "metrics": ("energy", ["energy"]),
    "fuse": ("mean", "mean"),
    "augment": (None, True),
    "eigen": (None, True),
    "verify": (None, True),
    "preprocess": ("unit", "unit"),
    "labels": ("labels.txt", ["cat", "dog"]),
    "split": ("test[:9]", "test[:9]"),
    "data_dir": ("sets", Path("sets")),
    "annotations": ("boxes", Path("boxes")),
    "batch_size": ("4", 4),
    "shard_size": ("8", 8),
    "seed": ("5", 5),
    "freeze": (None, True),
    "progress": (None, True),
    "to": ("kept", Path("kept")),
    "key": ("mine", "mine"),
}
# Where each command finds its door, and what else must be typed; app hands on whole networks, which
# tests/pages/test_visits.py reads.
PLACES = {
    "layers": ("tfcam.model.listing.layers", "--model shapes"),
    "explain": ("tfcam.explainer.explainer.Explainer", "a.png --model shapes"),
    "compare": ("tfcam.explainer.compare.compare", "a.png --model shapes"),
    "diagnose": ("tfcam.explainer.diagnose.diagnose", "a.png --model shapes"),
    "verify": ("tfcam.explainer.explainer.Explainer", "a.png --model shapes"),
    "report": ("tfcam.front.report.report", "a.png --model shapes"),
    "evaluate": ("tfcam.evaluation.evaluate.evaluate", "shapes ."),
    "recommend": ("tfcam.evaluation.recommend.recommend", "shapes ."),
    "dream": ("tfcam.feature_visualization.dream.dream", "--model shapes --target 1"),
    "explain-dataset": ("tfcam.streaming.stream.stream", "shapes . --to store"),
}


@pytest.fixture
def taken(at_work, monkeypatch):
    """What the doors are given, which then refuse to go on."""
    Path("labels.txt").write_text("cat\ndog\n")
    Image.fromarray(tfcam.scenes.draw_scene(1).image).save("a.png")
    for folder in ("sets", "boxes"):
        Path(folder).mkdir()
    found = {}

    def door(*given, **options):
        found.update(options)
        found.update(zip(("model", "image", "layer"), given, strict=False))
        raise ValueError("that is all")

    for place, _ in PLACES.values():
        monkeypatch.setattr(place, door)
    return found


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command in PLACES for option in DOORS[BEHIND[command][-1]]],
    ids=lambda value: getattr(value, "name", value),
)
def test_what_is_typed_arrives(taken, command, option):
    text, value = TYPED[option.name]
    flag = [spell_flag(option), *([] if text is None else [text])]
    result = CliRunner().invoke(app, [command, *PLACES[command][1].split(), *flag])
    assert (result.exit_code, result.stderr) == (2, "tfcam: that is all\n")
    assert taken[option.name] == value
    for other in DOORS[BEHIND[command][-1]]:  # all else is as it is by default
        if other.name not in (option.name, "labels", "to"):
            assert taken[other.name] == other.default


@pytest.mark.parametrize(
    ("command", "flag", "name", "value"),
    [
        ("explain", "--no-progress", "progress", False),
        ("explain", "--layer features --layer 2", "layer", ["features", 2]),
        ("explain", "--option samples=3 --method smooth_grad", "samples", 3),
        ("compare", "--method cam --method layer_cam", "methods", ["cam", "layer_cam"]),
        ("compare", "--target star --target 0", "targets", ["star", 0]),
        ("evaluate", "--no-skip-broken", "skip_broken", False),
        ("evaluate", "--baseline random_map", "baselines", ["random_map"]),
        ("evaluate", "--layer 0 --layer features", "layer", [0, "features"]),
        ("dream", "--size 32,48", "size", (32, 48)),
        ("dream", "--steps 7", "steps", 7),
        ("explain-dataset", "--no-freeze", "freeze", False),
    ],
)
def test_what_is_typed_otherwise_arrives(taken, command, flag, name, value):
    line = [command, *PLACES[command][1].split(), *flag.split()]
    assert CliRunner().invoke(app, line).stderr == "tfcam: that is all\n"
    assert taken[name] == value


@pytest.mark.parametrize("text", ["7", "7,", "7;7", "-7,7", "a,b", "7,7,7"])
def test_two_sides_are_two_numbers(text):
    with pytest.raises(ValueError, match="HEIGHT,WIDTH must be two whole numbers, such as 14,7"):
        read_sides(text)


def test_what_has_a_flag_is_no_option_of_the_method():
    options = DOORS["explain"]
    assert read_method_options(["channels=4", "fill=mean"], options) == {
        "channels": 4,
        "fill": "mean",
    }
    for text, flag in {"batch_size=4": "--batch-size", "output=a": "--model-output"}.items():
        with pytest.raises(ValueError, match=f"has none of its own: give {flag} '[4a]'"):
            read_method_options([text], options)


@pytest.mark.slow
def test_options_change_what_is_explained(at_work):
    Image.fromarray(tfcam.scenes.draw_scene(1).image).save("a.png")
    line = "explain a.png --model shapes --json --score probability --eigen --augment --freeze"
    (record,) = json.loads(CliRunner().invoke(app, line.split()).stdout)
    chosen = {"score": "probability", "eigen": True, "augment": True}
    wanted = tfcam.explain(tfcam.demo_model(), "a.png", labels=tfcam.scenes.KINDS, **chosen)
    assert (record["score_kind"], record["label"]) == ("probability", wanted.label)
    assert record["score"] == pytest.approx(wanted.score, rel=1e-4)
    np.testing.assert_allclose(record["boxes"], wanted.boxes(), atol=1)


def test_who_stops_reading_is_no_error(monkeypatch):
    def gone(*given):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("tfcam.cli.commands.Console.print", gone)
    result = CliRunner().invoke(app, ["metrics"])
    assert (result.exit_code, result.stderr) == (1, "")


def test_metrics_prints_each_with_what_it_says():
    result = CliRunner().invoke(app, ["metrics"])
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [line.split("│")[1].strip() for line in result.stdout.splitlines() if "│" in line]
    assert [name for name in rows if name] == list(tfcam.metrics.METRICS)
