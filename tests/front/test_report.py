"""The report of one picture: what is on the page, what asks nobody, and what is refused."""

from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests.metrics.test_words import additive
from tfcam.scenes import KINDS

STAR = tfcam.scenes.draw_scene(1, kinds=["star"]).image
EVIL = ['<script src="http://a.b/c.js">', "</title>", "a & b", '" onload="x', *KINDS[4:]]


@pytest.fixture(scope="module")
def demo():
    return tfcam.demo_model()


@pytest.fixture(scope="module")
def made(demo):
    return tfcam.report(demo, STAR, target=0, labels=EVIL)


class Page(HTMLParser):
    """The tags of a page, its headings, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.titles, self.text, self._in = [], [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._in = tag
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data
        if self._in == "h2" and data.strip():
            self.titles.append(data)


@pytest.mark.slow
def test_the_page_has_everything_and_asks_nobody(made, tmp_path):
    path = made.save(tmp_path / "report.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.titles == [
        "What the model answers",
        f"Where it looked for {EVIL[0]}",
        "Findings",
        "How far this map can be trusted",
        "What speaks for each of the most likely classes",
        "The same by several methods and at several layers",
        "Maps of pixels, that need no layer",
        "What this page does not say",
        "How it was made",
    ]
    assert made.explanation.verification.sentence.split(".")[0] in page.text
    assert all(finding.message in page.text for finding in made.explanation.findings)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 5
    assert all(each["src"].startswith("data:image/png;base64,") for each in images)
    assert all(len(each["alt"]) > 20 for each in images)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base"}
    assert not [each for _, each in page.tags if {"href", "onload", "action"} & set(each)]
    assert "url(" not in path.read_text(encoding="utf-8")


@pytest.mark.slow
def test_it_says_what_the_other_doors_say(demo, made):
    probabilities = demo.predict(STAR[np.newaxis].astype(np.float32), verbose=0)[0]
    order = np.argsort(-probabilities)[:4]
    assert [answer.name for answer in made.answers] == [EVIL[place] for place in order]
    np.testing.assert_allclose(
        [answer.number for answer in made.answers], probabilities[order], rtol=1e-4
    )
    assert made.explanation == tfcam.explain(demo, STAR, target=0, labels=EVIL, verify=True)
    _, grid, pixels = made.comparisons.values()
    assert grid.rows == ("grad_cam", "layer_cam")
    assert grid.columns[0] == made.explanation.layer
    assert len(grid.columns) == 3
    np.testing.assert_allclose(grid[0, 0].heatmap, made.explanation.heatmap, atol=1e-5)
    assert pixels.rows == ("integrated_gradients",)
    assert repr(made).startswith("Report on shapes, with 11 further maps")
    assert made._repr_html_().count("<h2>") == 9


@pytest.mark.slow
def test_a_number_a_series_and_a_black_box_have_their_pages():
    x = keras.Input((12, 12, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3, activation="relu")(x))
    age = keras.Model(x, layers.Dense(1)(pooled))
    age.compile(loss="mse")
    picture = np.random.default_rng(0).random((12, 12, 3)).astype(np.float32)
    number = tfcam.report(age, picture, methods=["grad_cam"], target=tfcam.Regression())
    assert number.answers == ()
    said = age.predict(picture[np.newaxis], verbose=0)[0, 0]
    assert f"{said:.3g}" in Page(number.to_html()).text
    x = keras.Input((16, 2))
    y = layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3)(x)))
    series = np.random.default_rng(0).random((16, 2)).astype(np.float32)
    page = Page(tfcam.report(keras.Model(x, y), series, methods=["grad_cam", "saliency"]).to_html())
    assert [tag for tag, _ in page.tags].count("img") == 6  # map, test, three classes, pixels
    box = tfcam.BlackBox(lambda images: images.mean(axis=(1, 2)), (8, 8, 3))
    assert len(tfcam.report(box, picture[:8, :8]).answers) == 3


def test_a_batch_of_one_is_one():
    """As of a model of several inputs, whose inputs Keras takes in batches."""
    clip, length = keras.Input((4, 12, 12, 3)), keras.Input((1,))
    x = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3, activation="relu", name="seen")(clip))
    model = keras.Model([clip, length], layers.Dense(3)(layers.Concatenate()([x, length])))
    given = [np.random.default_rng(0).random((1, 4, 12, 12, 3)), np.ones((1, 1))]
    asked = {"target": 1, "layers": ["seen"], "methods": ["grad_cam"], "preprocess": None}
    wanted = tfcam.explain(model, given, "seen", target=1, preprocess=None)[0]
    np.testing.assert_array_equal(
        tfcam.report(model, given, **asked).explanation.heatmap, wanted.heatmap
    )


def test_what_does_not_fit_is_refused_with_what_to_do(demo):
    with pytest.raises(ValueError, match="one image or text and one target; got 2"):
        tfcam.report(demo, [STAR, STAR])
    with pytest.raises(ValueError, match="at least one"):
        tfcam.report(demo, STAR, methods=[])
    with pytest.raises(ValueError, match="method"):
        tfcam.report(demo, STAR, methods=["grad_cm"])


def test_it_is_saved_as_a_page_only(made, tmp_path):
    with pytest.raises(ValueError, match=r"saved as \.html"):
        made.save(tmp_path / "report.pdf")
    with pytest.raises(FileNotFoundError):
        made.save(tmp_path / "none" / "report.html")


@pytest.mark.slow
def test_a_text_has_a_page_of_its_words():
    """A sum of words: each of the methods finds the same ones; and no word of pictures."""
    model, text, labels = additive(12), "a good <b> film a bad a a film", ["bad", "good"]
    made = tfcam.report(model, text, target=1, labels=labels)
    assert made.explanation == tfcam.explain(model, text, target=1, labels=labels, verify=True)
    likely, several = made.comparisons.values()
    assert several.rows == ("integrated_gradients", "occlusion", "gradient_input")
    for found in several:
        assert [found.words[place] for place in np.argsort(found.raw)[[-1, 0]]] == ["good", "bad"]
    assert [each.name for each in made.answers] == [each.name for each in likely]
    html = made.to_html()
    page = Page(html)
    assert page.titles == [
        "What the model answers",
        "Which words spoke for good",
        "Findings",
        "How far this map can be trusted",
        "What speaks for each of the most likely classes",
        "The same by several methods",
        "What this page does not say",
        "How it was made",
    ]
    assert made.explanation.verification.sentence.split(".")[0] in page.text
    assert "picture" not in page.text
    assert "pixel" not in page.text
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base"}
    other = tfcam.report(model, text, target=tfcam.Difference(1, 0), methods=["occlusion"])
    assert "tested for a class, and class 1 and not class 0 is none" in Page(other.to_html()).text
    with pytest.raises(ValueError, match="one image or text and one target; got 2"):
        tfcam.report(model, [text, text])
