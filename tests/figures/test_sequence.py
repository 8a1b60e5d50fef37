"""Columns one after another: as a GIF whose colours are true, and as a page with a slider."""

import io
import re

import keras
import numpy as np
import pytest
from PIL import Image

import tfcam
from tests.model.test_strings import flat
from tests.pages.browser import opened_browser
from tfcam.figures.palette import PLAIN
from tfcam.figures.sequence import write_gif
from tfcam.scenes import KINDS


@pytest.fixture(scope="module")
def layers(shapes):
    scene = tfcam.scenes.draw_scene(3).image
    return tfcam.compare(
        shapes, scene, layers="all_convolutions", methods=["layer_cam", "saliency"], labels=KINDS
    )


def test_all_convolutions_are_those_of_keras_from_the_first_to_the_last(shapes, layers):
    names = [layer.name for layer in shapes.layers if isinstance(layer, keras.layers.Conv2D)]
    assert list(layers.columns) == names
    assert len(names) == 6
    listed = tfcam.compare(
        *(shapes, tfcam.scenes.draw_scene(3).image),
        layers=["all_convolutions"],
        methods=["layer_cam"],
    )
    np.testing.assert_array_equal(listed[0, 2].raw, layers[0, 2].raw)
    inner = keras.Model(shapes.input, shapes.get_layer(names[2]).output)
    assert layers[0, 2].raw.shape == inner.output_shape[1:3]


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("shared_scale", [False, True])
def test_a_gif_shows_each_column_in_its_colours(layers, tmp_path, shared_scale):
    path = layers.save(tmp_path / "layers.gif", shared_scale=shared_scale, seconds=0.5)
    with Image.open(path) as gif:
        assert gif.n_frames == 6
        assert gif.info["loop"] == 0
        for number in range(6):
            gif.seek(number)
            assert gif.info["duration"] == 500
            expected = layers._sheet(shared_scale, 0.6, PLAIN, number).rasterize(80)
            drawn = np.asarray(gif.convert("RGB"), int)[: expected.shape[0], : expected.shape[1]]
            assert np.abs(drawn - expected).max() < 32
            assert np.abs(drawn - expected).mean() < 4


def test_frames_that_are_equal_are_shown_as_long_as_others():
    frame = np.full((8, 8, 3), 200, np.uint8)
    with Image.open(io.BytesIO(write_gif([frame, frame, frame[:7]], 0.3))) as gif:
        shown = 0
        for number in range(gif.n_frames):
            gif.seek(number)
            shown += gif.info["duration"]
    assert shown == 900


@pytest.mark.slow
def test_a_page_holds_every_column_with_words_and_needs_no_other_file(layers, tmp_path):
    path = layers.save(tmp_path / "layers.html", contours=True)
    text = path.read_text("utf-8")
    assert text.count("data:image/webp;base64,") == 7  # the first is there without JavaScript
    assert "layer_cam at block2_conv; heart" in text.replace("\\n", " ")
    assert not re.findall(r"(?:src|href)=\"(?!data:)|https?://", text)
    assert 'type="range" min="0" max="5"' in text


@pytest.mark.slow
def test_a_label_can_not_end_the_script(layers, tmp_path):
    bad = tfcam.Comparison(layers.rows, ("</script><b>", *layers.columns[1:]), layers.cells)
    text = bad.save(tmp_path / "layers.html").read_text("utf-8")
    assert text.count("</script>") == 1
    assert "<b>" not in text


def test_what_can_not_be_shown_so_is_said(layers, tmp_path):
    for seconds in (0, -1, float("nan"), 1e9):
        with pytest.raises(ValueError, match="seconds must be in"):
            layers.save(tmp_path / "layers.gif", seconds=seconds)
    words = tfcam.compare(flat(), "not a good film", methods=["saliency"])
    with pytest.raises(ValueError, match="one after another are of pictures"):
        words.save(tmp_path / "words.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_slider_is_moved_by_the_keyboard(layers, tmp_path):
    path = layers.save(tmp_path / "layers.html", seconds=0.1)
    with opened_browser() as chromium:
        page = chromium.new_page(viewport={"width": 400, "height": 800})
        page.goto(path.as_uri())
        first = page.get_attribute("#shown", "src")
        page.focus("#place")
        page.keyboard.press("End")
        assert page.inner_text("#name") == "6 of 6: block5_conv"
        assert "layer_cam at block5_conv" in page.get_attribute("#shown", "alt")
        assert page.get_attribute("#shown", "src") != first
        page.click("#play")
        page.wait_for_function("document.querySelector('#name').innerText.startsWith('3 of 6')")
        page.click("#play")
        assert page.inner_text("#play") == "Play"
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert page.evaluate("document.querySelector('#shown').naturalWidth") > 500
