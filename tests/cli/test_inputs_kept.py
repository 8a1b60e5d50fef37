"""No command writes over what it reads, however it is named."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tfcam.cli.commands import app
from tfcam.scenes import draw_scene


@pytest.fixture(autouse=True)
def pictures(at_work):
    for name in ("x.png", "y.png"):
        Image.fromarray(draw_scene(1).image).save(name)
    Path("in").mkdir()
    Path("there").symlink_to("in")
    shutil.copy("x.png", "in/x.png")
    os.link("x.png", "hard.png")
    Path("soft.png").symlink_to("x.png")
    Path("own.py").write_text("def own(x): return x")
    for name in ("own.png", "own.html"):
        os.link("own.py", name)
    Path("kept").mkdir()
    Path("kept/rows-00000.parquet").write_bytes(b"done")
    os.link("kept/rows-00000.parquet", "kept/rows.html")
    return at_work


def kept(arguments):
    before = {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()}
    links = [file for file in Path().rglob("*") if file.is_symlink()]
    result = CliRunner().invoke(app, arguments.split())
    assert result.exit_code == 2, result.output
    assert "must be another file than those that are read" in result.stderr
    assert {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()} == before
    assert [file for file in Path().rglob("*") if file.is_symlink()] == links


@pytest.mark.parametrize("overwrite", ["", " --overwrite"])
@pytest.mark.parametrize(
    "arguments",
    [
        "explain x.png --model shapes --output x.png",
        "explain x.png --model shapes --output ./in/../x.png",
        "explain x.png --model shapes --output hard.png",
        "explain x.png --model shapes --output soft.png",
        "explain soft.png --model shapes --output x.png",
        "explain in/x.png --model shapes --output there/x.png",
        "compare x.png --model shapes --output hard.png",
        "dream --model shapes --target 1 --image x.png --output soft.png",
        "evaluate shapes in --html in/x.png",
        "recommend shapes in --html there/x.png",
        "explain x.png --model shapes --import own.py --output own.png",
        "report x.png --model shapes --import own.py --output own.html",
        "evaluate shapes in --html own.py --import own.py",
        "evaluate shapes in --to kept --parquet kept/rows-00000.parquet",
        "ratings kept --html kept/rows.html",
    ],
)
def test_an_input_is_not_written_over(arguments, overwrite):
    kept(arguments + overwrite)


def test_the_map_of_one_picture_may_be_another_picture():
    shutil.copy("x.png", "in/x_grad_cam.png")
    before = Path("in/x_grad_cam.png").read_bytes()
    result = CliRunner().invoke(
        app, ["explain", "in", "--model", "shapes", "--output", "in", "--overwrite"]
    )
    assert result.exit_code == 2
    assert Path("in/x_grad_cam.png").read_bytes() == before


def test_other_files_may_be_written_over():
    Path("out.png").write_bytes(b"old")
    asked = ["explain", "x.png", "--model", "shapes", "--output", "out.png", "--overwrite"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert Path("out.png").read_bytes()[:4] == b"\x89PNG"


def test_two_results_are_two_files():
    asked = ["evaluate", "shapes", "in", "--html", "both", "--parquet", "./in/../both"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2
    assert "Each file must be another one; " in result.stderr
    assert "both' is named twice." in result.stderr
