"""``tfcam dream`` as it is typed."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli.commands import app
from tfcam.feature_visualization import objectives
from tfcam.scenes import KINDS


@pytest.fixture(autouse=True)
def here(at_work):
    return at_work


def run(*arguments):
    return CliRunner().invoke(app, ["dream", "--model", "shapes", *arguments])


@pytest.mark.slow
def test_a_class_is_dreamt_as_the_library_does_it(here, shapes):
    result = run("--target", "heart", "--steps", "4", "--seed", "2", "--option", "rate=0.1")
    assert (result.exit_code, result.stderr) == (0, "")
    made = tfcam.dream(shapes, "heart", labels=KINDS, steps=4, seed=2, rate=0.1)
    assert result.stdout == f"{made}\n  wrote          dream_heart_seed_2_rate_0.1_steps_4.png\n"
    with Image.open(here / "dream_heart_seed_2_rate_0.1_steps_4.png") as image:
        np.testing.assert_array_equal(np.asarray(image), made.image)
        assert json.loads(image.info["tfcam"])["settings"]["rate"] == 0.1


@pytest.mark.slow
def test_a_channel_and_a_layer(here, shapes):
    assert run("--layer", "features", "--channel", "3", "--steps", "2").exit_code == 0
    made = tfcam.dream(shapes, objectives.channel("features", 3), steps=2)
    with Image.open(here / "dream_features_3_steps_2.png") as image:
        np.testing.assert_array_equal(np.asarray(image), made.image)
    assert run("--layer", "features", "--steps", "2", "--output", "all.npz").exit_code == 0
    wanted = tfcam.dream(shapes, objectives.layer("features"), labels=KINDS, steps=2)
    assert tfcam.Dream.load(here / "all.npz") == wanted


@pytest.mark.slow
def test_from_a_picture_it_is_a_deep_dream(here, shapes):
    scene = tfcam.scenes.draw_scene(1).image
    Image.fromarray(scene).save("scene.png")
    result = run("--layer", "features", "--image", "scene.png", "--steps", "2")
    assert "preset         deep_dream" in result.stdout
    made = tfcam.dream(
        shapes, objectives.layer("features"), preset="deep_dream", image=scene, steps=2
    )
    with Image.open(here / "dream_features_steps_2.png") as image:
        np.testing.assert_array_equal(np.asarray(image), made.image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --target, a class, or --layer"),
        (["--target", "1", "--layer", "features"], "Give --target, a class, or --layer"),
        (["--target", "1", "--channel", "2"], "name that with --layer, without --target"),
        (["--target", "haert"], "No class is labelled 'haert'. Did you mean 'heart'"),
        (["--layer", "feature"], "No layer 'feature' in"),
        (["--target", "1", "--output", "a.jpg"], "saved as .png or .npz; got 'a.jpg'"),
        (["--target", "1", "--output", "no/a.png"], "The folder of 'no/a.png' does not exist"),
        (["--target", "1", "--steps", "0"], "steps must be at least 1; got 0"),
        (["--target", "1", "--option", "blurr=2"], "dream has no option 'blurr'"),
        (["--target", "1", "--preset", "deep"], "preset must be one of fourier, plain"),
        (["--target", "1", "--preset", "deep_dream"], "starts from a picture"),
        (["--target", "1", "--image", "none.png"], "none.png"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
