"""Twenty ratings as a rater gives them in a browser, by mouse and by the arrow keys."""

import json
import math
import shutil

import pytest
import requests
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests.pages.browser import axe_script, opened_browser, violations, visit
from tests.pages.test_app import pytestmark  # noqa: F401
from tfcam.cli.commands import app
from tfcam.evaluation.ratings import read_ratings, strengths
from tfcam.pages.networks import embedded
from tfcam.pages.rate import BUTTONS, build
from tfcam.pages.rating import Rating
from tfcam.pages.serving import serve

METHODS = ("grad_cam", "layer_cam")
# What the rater says: 20 answers, of which the keys give every other.
SAID = ["left", "right", "left", "left", "tie", "right", "neither", "left", "right", "left"] * 2
# Two keys at once are one answer, and so is a double click.
TWICE = """keys => keys.forEach(key => document.body.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true })))"""


@pytest.fixture(scope="module")
def rating(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rated")
    pictures = []
    for number in range(20):
        pictures.append(folder / f"{number}.png")
        Image.fromarray(tfcam.scenes.draw_scene(number).image).save(pictures[-1])
    return Rating(embedded(), tuple(pictures), METHODS, folder / "ratings", repeats=0.1)


@pytest.fixture(scope="module")
def chromium():
    with opened_browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(chromium, rating):
    import gradio

    page = build(gradio, rating)
    yield serve(page, gradio, browser=False)
    page.close()


def begin(page, name):
    page.fill("#name input, #name textarea", name)
    page.click("#begin")
    page.wait_for_selector("#question h2")


def at(page, number):
    """Wait for a question, whose pair is then to be seen."""
    page.wait_for_function(
        f"document.querySelector('#question')?.innerText.startsWith('{number + 1} of 22')"
    )


def test_twenty_ratings_are_those_that_were_clicked(chromium, address, rating):
    heard = []
    with visit(chromium, address) as page:
        page.on("response", lambda answer: heard.append(answer) if "api" in answer.url else None)
        begin(page, "Ada")
        for number, said in enumerate(SAID[:12]):
            at(page, number)
            page.wait_for_timeout(400)
            if number % 2:
                page.evaluate(TWICE, [BUTTONS[said][1], "ArrowLeft"])
            else:
                page.dblclick(f"#{said}")
        at(page, 12)
        html = page.content()
    texts = [answer.url for answer in heard] + [html]
    assert len(heard) > 12
    assert not [text for text in texts for method in METHODS if method in text]
    with visit(chromium, address) as page:  # another day
        begin(page, "Ada")
        for number, said in enumerate(SAID[12:], start=12):
            at(page, number)
            page.wait_for_timeout(400)
            page.click(f"#{said}")
        at(page, 20)
        for number in (20, 21):
            at(page, number)
            page.wait_for_timeout(400)
            page.keyboard.press("ArrowRight")
        page.wait_for_selector("text=Thank you, Ada: all 22 pairs are answered.")
        assert not page.is_visible("#left")
    table = read_ratings(rating.folder)
    assert sorted(table["picture"].unique()) == sorted(rating.names)
    pairs = rating.pairs("Ada")
    said = [*SAID, "right", "right"]
    assert table["answer"].tolist() == said
    # Bradley and Terry's strengths of two: half the log odds, a tie half a win for each.
    points = {"left": 1.0, "right": 0.0, "tie": 0.5, "neither": 0.5}
    first = [
        (pair, points[one]) for pair, one in zip(pairs, said, strict=True) if not pair.repeated
    ]
    won = sum(point if pair.left == 0 else 1 - point for pair, point in first)
    assert 0 < won < 20 == len(first)
    found = strengths(table).set_index("method")["strength"]
    assert found["grad_cam at features"] == pytest.approx(math.log(won / (20 - won)) / 2)
    assert found["layer_cam at features"] == pytest.approx(-math.log(won / (20 - won)) / 2)


def test_two_raters_at_once_and_who_sees_or_moves_otherwise(chromium, address, rating):
    with visit(chromium, address) as one, visit(chromium, address, width=400) as two:
        begin(one, "Bob")
        begin(two, "Cid")
        at(one, 0)
        at(two, 0)
        one.click("#left")
        at(one, 1)
        two.click("#neither")
        at(two, 1)
        assert two.evaluate("document.documentElement.scrollWidth") <= 400
        assert rating.answered("Bob") == rating.answered("Cid") == 1
        script = axe_script()
        assert violations(one, script) + violations(two, script) == []


def test_the_command_serves_and_leaves_out_what_is_no_picture(
    chromium, rating, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"none")
    for number in (0, 1):
        shutil.copy(rating.pictures[number], tmp_path)
    pages = []

    def serve_without_waiting(page, *given, **options):
        pages.append((page, serve(page, *given, **{**options, "wait": False})))

    monkeypatch.setattr("tfcam.pages.serving.serve", serve_without_waiting)
    words = ["rate", ".", "--model", "shapes", "--to", "kept", "--no-browser"]
    words += ["--method", "cam", "--method", "rise", "--most", "1", "--layer", "features"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    ((page, address),) = pages
    assert "which map is better" in requests.get(address, timeout=60).text
    page.close()
    assert result.stdout.startswith("Answers are kept in kept; tfcam ratings kept")
    assert "left out: broken.png: " in result.stderr
    settings = json.loads((tmp_path / "kept" / "settings.json").read_text())
    assert settings["pictures"] == ["0.png", "1.png"]
    assert (settings["methods"], settings["most"]) == (["cam", "rise"], 1)
    again = CliRunner().invoke(app, [*words, "--seed", "1"])
    assert again.exit_code == 2
    assert "with other settings (seed: 0 there, 1 now)" in again.stderr
