"""``tfcam report``: the page of the library, under a name that is not written over."""

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests.metrics.test_words import additive
from tfcam.cli.commands import app
from tfcam.scenes import KINDS


@pytest.fixture
def picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = tfcam.scenes.draw_scene(1, kinds=["star"]).image
    Image.fromarray(picture).save("a.png")
    return picture


def reported(*words):
    return CliRunner().invoke(app, ["report", "a.png", "--model", "shapes", *words])


@pytest.mark.slow
def test_it_writes_the_page_of_the_library_once(picture):
    words = ["--method", "grad_cam", "--layer", "features", "--target", "heart"]
    result = reported(*words)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "wrote a_report_features_heart_grad_cam.html"
    expected = tfcam.report(
        *(tfcam.demo_model(), picture),
        methods=["grad_cam"],
        layers=["features"],
        target="heart",
        labels=KINDS,
    )
    assert (
        Path("a_report_features_heart_grad_cam.html").read_text(encoding="utf-8")
        == expected.to_html()
    )
    result = reported(*words)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [("--output page.pdf", "saved as .html"), ("--method grad_cm", "Did you mean 'grad_cam'")],
)
def test_what_can_not_be_done_is_told_in_one_line(picture, words, message):
    result = reported(*words.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_text_is_reported_compared_and_diagnosed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    additive().save("words.keras")
    Image.new("RGB", (8, 8)).save("words.png")
    asked = ["--model", "words.keras", "--text", "a good film"]
    for command, written in [
        ("report", ["a_good_film_report_occlusion.html"]),
        ("compare", ["a_good_film_compare_occlusion.png"]),
        ("diagnose", []),
    ]:
        more = [] if command == "diagnose" else ["--method", "occlusion"]
        result = CliRunner().invoke(app, [command, *asked, *more])
        assert result.exit_code == 0, result.stderr
        assert [f"wrote {file}" in result.stdout for file in written] == [True] * len(written)
    assert "good</span>" in Path("a_good_film_report_occlusion.html").read_text(encoding="utf-8")
    for words, message in [
        ([], "a picture, or --text for a model of texts; got neither"),
        (["words.png", "--text", "a film"], "got 'words.png' and a text"),
        (["--text", "one\ntwo"], "takes one text here; got 2 lines"),
    ]:
        result = CliRunner().invoke(app, ["report", "--model", "words.keras", *words])
        assert result.exit_code == 2
        assert message in result.stderr
