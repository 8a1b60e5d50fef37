"""Texts on the command line: what names a file, and what measures them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import tfcam
from tests.model.test_bags import counting
from tfcam.cli.commands import app


def run(*words):
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_file_is_named_by_the_method_that_was_used(at_work):
    """Of a bag of words that is another than of other texts, which only the model tells."""
    counting(output_mode="multi_hot").save("bag.keras")
    told = run("explain", "--model", "bag.keras", "--text", "bob lives", "--option", "fill=zero")
    assert "by occlusion" in told
    assert [path.name for path in Path().glob("*.png")] == ["bob_lives_occlusion_fill_zero.png"]
    again = CliRunner().invoke(
        app, ["explain", "--model", "bag.keras", "--text", "bob lives", "--option", "fill=zero"]
    )
    assert (again.exit_code, "is there already" in again.stderr) == (2, True)


@pytest.mark.slow
def test_texts_are_measured_beside_maps_that_know_nothing(at_work):
    counting(output_mode="multi_hot").save("bag.keras")
    Path("texts.txt").write_text("bob lives\nbob met a bob\n")
    words = ["bag.keras", "texts.txt", "--metric", "supported", "--baseline", "first_words"]
    lines = run("evaluate", *words, "--method", "occlusion").splitlines()
    assert lines[0].endswith("on 2 texts")
    assert {line.split()[0] for line in lines[-2:]} == {"occlusion", "first_words"}
    refused = CliRunner().invoke(app, ["evaluate", *words[:2], "--baseline", "random_map"])
    assert "baselines must be one of random_words, first_words" in refused.stderr


@pytest.mark.parametrize("command", ["explain", "compare", "diagnose", "verify", "report"])
def test_a_model_of_pictures_does_not_take_a_text_for_the_name_of_one(at_work, command):
    cv2.imwrite("a.png", np.zeros((8, 8, 3), np.uint8))
    Path("texts.txt").write_text("a.png\n")
    given = [["--text", "a.png"]] + [["texts.txt"]] * (command == "explain")
    for words in given:
        found = CliRunner().invoke(app, [command, "--model", "shapes", *words])
        assert (found.exit_code, found.stdout) == (2, "")
        assert "--text and .txt files are for models of texts; 'shapes' takes none" in found.stderr
        assert len(found.stderr.splitlines()) == 1


@pytest.mark.thinned(1)
@pytest.mark.parametrize("command", ["diagnose", "explain", "verify"])
def test_a_window_is_told(at_work, command):
    """Twelve bits in a file of sixteen, and how they became pixels."""
    grey = tfcam.scenes.draw_scene(1, kinds=["star"]).image[..., 0]
    cv2.imwrite("a.png", grey.astype(np.uint16) * 16)
    words = ["--model", "shapes", "--window", "0,4095"]
    if command == "verify":
        run(command, "a.png", *words, "--draws", "20", "--html", "found.npz")
        assert Path("found.npz").exists()
    else:
        assert "0..4095 as 0..255: 0..255 as it is" in run(command, "a.png", *words)
