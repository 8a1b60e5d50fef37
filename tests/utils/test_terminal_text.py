"""What a terminal would obey is not printed, whoever wrote it."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli.commands import app
from tfcam.figures.palette import Palette
from tfcam.figures.text import words_to_html
from tfcam.results.comparison import Comparison
from tfcam.scenes import KINDS, draw_scene
from tfcam.utils.terminal_text import make_printable

ESCAPE = "\x1b[2J\x1b]0;mine\a"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (ESCAPE, "?[2J?]0;mine?"),
        ("one\ntwo", "one\ntwo"),
        ("a\rb\tc\xa0d", "a b c d"),
        ("left\u202eright\x9b\udce9", "left?right??"),
        ("Größe, 猫, 👩\u200d🚀, می\u200cخواهم", "Größe, 猫, 👩\u200d🚀, می\u200cخواهم"),
        (ValueError("\x7f"), "?"),
    ],
)
def test_control_characters_are_replaced_and_letters_kept(text, wanted):
    assert make_printable(text) == wanted


@pytest.fixture(scope="module")
def explanation():
    labels = [f"{kind}{ESCAPE}" for kind in KINDS]
    return tfcam.explain(tfcam.demo_model(), draw_scene(1).image, labels=labels)


def test_results_print_no_escape_of_a_label_or_layer(explanation):
    named = dataclasses.replace(explanation, layer=f"conv{ESCAPE}", preprocessing=ESCAPE)
    comparison = Comparison((f"row{ESCAPE}",), ("a", "b"), ((named, named),))
    for printed in (repr(named), repr(comparison)):
        assert printed.count("?[2J?]0;mine?") >= 2
        assert make_printable(printed) == printed


def test_a_name_of_several_lines_makes_no_line_of_its_own(explanation):
    fake = "conv\n  score          99"
    named = dataclasses.replace(explanation, layer=fake, preprocessing=fake)
    comparison = Comparison((fake,), ("a",), ((named,),))
    for printed in (repr(named), repr(comparison)):
        assert "conv   score          99" in printed
        assert sum("99" in line for line in printed.split("\n")) == printed.count("99") > 0
        assert not any(line.startswith("  score          99") for line in printed.split("\n"))


def test_a_layer_of_any_name_is_listed():
    inputs = keras.Input((8, 8, 3))
    convolution = keras.layers.Conv2D(2, 3)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(convolution(inputs)))
    convolution.name = f"conv{ESCAPE}"
    listed = str(tfcam.layers(model))
    assert "conv?[2J?]0;mine?" in listed
    assert make_printable(listed) == listed


def test_words_of_a_text_are_cleaned_wherever_they_are_shown(explanation):
    text = dataclasses.replace(
        explanation,
        heatmap=np.ones(2, np.float32),
        raw=np.ones(2),
        image=np.arange(2),
        words=(ESCAPE, "good"),
    )
    assert "\x1b" not in text.colored().plain
    assert "mine" in text.colored().plain


@pytest.mark.slow
def test_the_command_line_prints_no_escape_of_a_file_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["demo", "--output", f"{ESCAPE[:4]}/demo.png"])
    assert result.exit_code == 2
    assert "\x1b" not in result.output


def test_what_to_mind_about_a_text_is_escaped_in_a_notebook():
    script = "<script>alert('mine')</script>"
    page = words_to_html([script, "b"], np.float32([1, 0]), script, script, Palette())
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 3


@pytest.mark.slow
def test_no_command_prints_an_escape_of_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"{ESCAPE}.png"
    Path("in").mkdir()
    for file in (name, f"in/{name}"):
        Image.fromarray(draw_scene(1).image).save(file)
    Path(f"in/broken{name}").write_bytes(b"broken")
    Path(f"{ESCAPE}.txt").write_bytes(b"\xff")
    for command in (
        ["explain", name, "--model", "shapes"],
        ["explain", name, "--model", "shapes", "--json"],
        ["explain", name, "--model", "shapes", "--output", name],
        ["explain", name, f"no{name}", "--model", "shapes", "--overwrite"],
        ["explain", name, "--model", f"{ESCAPE}.keras"],
        ["explain", name, "--model", ESCAPE],
        ["explain", name, "--model", "shapes", "--labels", f"{ESCAPE}.txt"],
        ["explain", name, "--model", "shapes", "--layer", ESCAPE],
        ["explain", name, "--model", "shapes", "--target", ESCAPE],
        ["compare", name, "--model", "shapes", "--method", "cam", "--output", f"out{name}"],
        ["diagnose", name, "--model", "shapes"],
        ["dream", "--model", "shapes", "--target", "1", "--steps", "1", "--output", f"d{name}"],
        ["explain-dataset", "shapes", "in", "--to", ESCAPE],
        ["evaluate", "shapes", "in", "--metric", "gini", "--method", "cam", "--html", ESCAPE],
        ["evaluate", "shapes", ESCAPE],
        ["layers", "--model", ESCAPE],
        ["demo", f"--{ESCAPE}"],
        [ESCAPE],
    ):
        result = CliRunner().invoke(app, command)
        assert result.exit_code in (0, 2), (command, result.output)
        assert not {"\x1b", "\a"} & {*result.output, *result.stderr}, command
