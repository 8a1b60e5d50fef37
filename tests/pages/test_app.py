"""The page as a visitor has it: in a browser, by mouse and by keyboard, wide and narrow."""

import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import requests
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests.model.test_strings import flat
from tests.pages.browser import axe_script, opened_browser, violations, visit
from tfcam.cli.commands import app
from tfcam.pages.app import build
from tfcam.pages.networks import Network, embedded
from tfcam.pages.serving import serve

pytestmark = [
    pytest.mark.slow,
    # Gradio's own use of pandas 3.
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting'"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
    # The sockets that it tries ports with.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def chromium():
    with opened_browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(chromium):
    import gradio

    page = build(gradio, [embedded(), Network("words", flat())])
    yield serve(page, gradio, browser=False)
    page.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uploads")
    for kind in ("star", "heart"):
        scene = tfcam.scenes.draw_scene(1 if kind == "star" else 3, kinds=[kind])
        Image.fromarray(scene.image).save(folder / f"{kind}.png")
    (folder / "broken.png").write_bytes((folder / "star.png").read_bytes()[:3000])
    (folder / "bomb.ppm").write_bytes(b"P6 60000 60000 255\n" + bytes(300))
    with (folder / "huge.png").open("wb") as file:
        file.truncate(51 * 2**20)
    return folder


def upload(page, file):
    page.set_input_files("#file input[type=file]", file)


def explained(page, count=1):
    """Wait until there are so many maps, and list what is said of each."""
    page.wait_for_function(f"document.querySelectorAll('#maps img').length === {count}")
    return [image.get_attribute("alt") for image in page.locator("#maps img").all()]


def downloaded(page, what, folder):
    with page.expect_download() as found:
        page.click(f"#download_{what}")
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def test_upload_choose_explain_verify_download(chromium, address, files, tmp_path):
    with visit(chromium, address) as page:
        upload(page, files / "star.png")
        (alt,) = explained(page)
        assert alt.startswith("Map of star, probability 0.9")
        assert "features, 16 x 16 x 64" in page.inner_text("#layer_name")
        page.locator("#classes input").nth(1).check()
        page.fill("#methods input", "layer_cam")
        page.keyboard.press("Enter")
        page.click("#explain")
        alts = explained(page, 4)
        assert [alt.split(", ")[-1] for alt in alts] == [
            *["grad_cam at features"] * 2,
            *["layer_cam at features"] * 2,
        ]
        before = page.inner_html("#maps")
        page.get_by_label("contours").check()
        page.wait_for_function(
            "html => document.querySelector('#maps').innerHTML !== html", arg=before
        )
        made = {what: downloaded(page, what, tmp_path) for what in ("PNG", "SVG", "NPZ")}
        names = {"tfcam": tfcam}
        code = page.inner_text("#lines pre").replace("'star.png'", repr(str(files / "star.png")))
        code = code.replace('"maps.png"', repr(str(tmp_path / "maps.png")))
        exec(compile(code, "lines", "exec"), names)
        assert made["PNG"].read_bytes() == (tmp_path / "maps.png").read_bytes()
        with zipfile.ZipFile(made["NPZ"]) as together:
            (tmp_path / "one.npz").write_bytes(together.read(together.namelist()[0]))
        one = tfcam.Explanation.load(tmp_path / "one.npz")
        np.testing.assert_array_equal(one.raw, names["maps"][0, 0].raw)
        assert b"<svg" in made["SVG"].read_bytes()[:500]
        page.click("#verify")
        # How far it is can be seen wherever the page is scrolled to.
        page.wait_for_function("document.querySelector('#message').innerText.includes('verifying')")
        assert 0 <= page.locator("#message").bounding_box()["y"] < 200
        page.wait_for_selector("#verified h2")
        assert "How far this map can be trusted: star" in page.inner_text("#verified")
        assert "supported" in page.inner_text("#verified")
        report = downloaded(page, "HTML", tmp_path)
        assert report.name == "star_tfcam_report.html"
        assert "where it looked for star" in report.read_text("utf-8").lower()


def test_another_layer_by_the_keyboard_alone(chromium, address, files):
    with visit(chromium, address) as page:
        upload(page, files / "star.png")
        explained(page)
        page.focus("#layer input[type=range]")
        page.keyboard.press("ArrowLeft")
        page.wait_for_function("document.querySelector('#maps img').alt.includes('block5_norm')")
        assert "block5_norm" in page.inner_text("#layer_name")
        page.focus("#verify")
        page.keyboard.press("Shift+Tab")
        page.focus("#explain")
        page.keyboard.press("Enter")
        explained(page)


def test_two_visitors_do_not_mix(chromium, address, files):
    with visit(chromium, address) as one, visit(chromium, address) as two:
        upload(one, files / "star.png")
        upload(two, files / "heart.png")
        assert explained(one)[0].startswith("Map of star")
        assert explained(two)[0].startswith("Map of heart")
        one.locator("#classes input").nth(1).check()
        one.click("#explain")
        two.get_by_label("for and against").check()
        assert all("Map of heart" not in alt for alt in explained(one, 2))
        assert explained(two)[0].startswith("Map of heart")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken.png", "broken.png: "),
        ("bomb.ppm", "bomb.ppm: An image must be smaller"),
        ("huge.png", "50"),
    ],
)
def test_an_upload_that_is_none_is_told_in_one_clear_message(chromium, address, files, name, words):
    with visit(chromium, address) as page:
        upload(page, files / name)
        told = page.locator("[role=alert], [data-testid=toast-body]").first
        told.wait_for()
        text = told.inner_text()
        assert words in text
        assert "Traceback" not in page.content()
        # It goes on with a good one.
        if name != "huge.png":
            upload(page, files / "star.png")
            assert explained(page)[0].startswith("Map of star")


def test_a_text_and_back(chromium, address):
    with visit(chromium, address) as page:
        page.click("#network input")
        page.get_by_role("option", name="words").click()
        page.fill("#text textarea", "not a good film")
        page.click("#read")
        page.wait_for_selector("#maps figure")
        assert "good" in page.inner_text("#maps")
        assert not page.is_visible("#file")
        page.click("#verify")
        page.wait_for_selector("#verified h2")
        assert "5 changed texts" in page.inner_text("#verified")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_who_sees_or_moves_otherwise_can_use_it(chromium, address, files, scheme):
    script = axe_script()
    with visit(chromium, address, color_scheme=scheme) as page:
        page.wait_for_selector("#explain")
        found = violations(page, script, OF_GRADIO)
        upload(page, files / "star.png")
        explained(page)
        page.click("#verify")
        page.wait_for_selector("#verified h2")
        assert found + violations(page, script, OF_GRADIO) == []


# Gradio's own button to choose a file, whose name says the same in other words than it shows.
OF_GRADIO = ("label-content-name-mismatch",)


def test_a_narrow_screen_needs_no_scrolling_sideways(chromium, address, files):
    with visit(chromium, address, width=400) as page:
        upload(page, files / "heart.png")
        explained(page)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 400
        picture = page.locator("#maps img").bounding_box()
        assert picture["width"] > 250


def test_it_tells_browsers_to_ask_no_other_host_and_shows_no_file(address):
    answer = requests.get(address, timeout=60)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert '"analytics_enabled":false' in answer.text.replace(" ", "")
    secret = requests.get(f"{address}gradio_api/file=/etc/passwd", timeout=60)
    assert secret.status_code in (403, 404)
    assert "127.0.0.1" in address


def test_nothing_is_kept(chromium, files, tmp_path, monkeypatch):
    import gradio

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = build(gradio, [embedded()])
    with visit(chromium, serve(page, gradio, browser=False)) as visited:
        upload(visited, files / "star.png")
        explained(visited)
        assert [path.name for path in tmp_path.rglob("*.png")] == ["star.png"]
    page.close()
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) == 0


def test_the_command_serves_until_it_is_stopped(chromium, tmp_path):
    tfcam.demo_model().save(tmp_path / "mine.keras")
    words = ["app", "--model", "mine.keras", "--no-browser", "--port", "7995"]
    said = "The page is at http://127.0.0.1:7995/; Ctrl-C ends it.\n"
    command = [sys.executable, "-m", "tfcam", *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == said
        assert "where did it look" in requests.get("http://127.0.0.1:7995/", timeout=60).text
        taken = CliRunner().invoke(app, words[:1] + words[3:])
        assert taken.exit_code == 2
        assert "port 7995" in taken.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
