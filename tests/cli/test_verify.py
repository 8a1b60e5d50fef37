"""``tfcam verify``: what it says is what the library says; what can't be done is told before."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli.commands import app
from tfcam.scenes import KINDS


@pytest.fixture
def picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = tfcam.scenes.draw_scene(1, kinds=["star"]).image
    Image.fromarray(picture).save("a.png")
    return picture


def verified(*words):
    return CliRunner().invoke(app, ["verify", "a.png", "--model", "shapes", *words])


@pytest.mark.slow
def test_it_says_what_the_library_says(picture):
    model = tfcam.demo_model()
    explanation = tfcam.explain(model, picture, target=5, method="layer_cam", labels=KINDS)
    expected = tfcam.verify(model, explanation, target=5, draws=19, seed=3, labels=KINDS)
    words = f"--target {KINDS[5]} --method layer_cam --draws 19 --seed 3 --html page.html"
    result = verified(*words.split())
    assert result.exit_code == 0, result.stderr
    *lines, wrote = result.stdout.splitlines()
    assert "\n".join(lines) == repr(expected)
    assert wrote == "wrote page.html"
    assert Path("page.html").read_text(encoding="utf-8").count("<tr>") == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--draws 0", "draws"),
        ("--fraction 2", "fraction"),
        ("--fill noise", "fills must be"),
        ("--html page.pdf", "saved as .html, .npz or .png"),
        ("--html a/page.html", "does not exist"),
    ],
)
def test_what_can_not_be_done_is_told_in_one_line(picture, words, message):
    result = verified(*words.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_explain_says_it_too(picture):
    words = ["explain", "a.png", "--model", "shapes", "--target", KINDS[3], "--verify"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    expected = tfcam.explain(tfcam.demo_model(), picture, target=3, labels=KINDS, verify=True)
    assert result.stdout.startswith(repr(expected))
    assert "finding        unsupported" in result.stdout
    assert Path(f"a_grad_cam_{KINDS[3]}.png").exists()  # named as without
    result = CliRunner().invoke(app, [*words, "--json"])
    (record,) = json.loads(result.stdout)
    assert (record["verdict"], record["p_value"]) == (
        expected.verification.verdict,
        expected.verification.p_value,
    )
