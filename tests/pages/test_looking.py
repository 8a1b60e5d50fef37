"""What the page shows, without a browser: maps as of tfcam.compare, answers as of plain Keras."""

import io
import re

import keras
import numpy as np
import pytest
from PIL import Image

import tfcam
from tests.model.test_strings import flat
from tfcam.pages.looking import (
    Choice,
    Look,
    Subject,
    answers,
    full_report,
    look,
    read_picture,
    read_text,
    verify_map,
)
from tfcam.pages.networks import Network, embedded, offered
from tfcam.pages.showing import (
    DOWNLOADS,
    FORMS,
    Style,
    make_download,
    python_lines,
    show_answers,
    show_maps,
    show_verification,
    show_words,
)
from tfcam.scenes import KINDS
from tfcam.utils.progress import watched

HEART, CIRCLE = KINDS.index("heart"), KINDS.index("circle")


@pytest.fixture(scope="module")
def network():
    return embedded()


@pytest.fixture(scope="module")
def subject():
    return Subject(tfcam.scenes.draw_scene(3).image, "scene.png")


@pytest.fixture(scope="module")
def found(network, subject):
    methods = ("saliency", "grad_cam", "attention_rollout")
    return look(network, subject, Choice((HEART, CIRCLE), network.usual_place, methods))


def encoded(pixels, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def test_what_the_network_says_is_what_keras_predicts(network, subject):
    expected = network.model.predict(subject.content[np.newaxis].astype("f4"), verbose=0)[0]
    order = np.argsort(-expected)[:5]
    said = answers(network, subject)
    assert [answer.target for answer in said] == order.tolist()
    assert said[0].words == f"{KINDS[order[0]]}, {expected[order[0]]:.1%}"


def test_maps_are_those_of_compare_in_the_order_asked_for(network, subject, found):
    assert found.made == ("saliency", "grad_cam")
    given = (network.model, subject.content)
    by_layer = tfcam.compare(
        *given, methods=["grad_cam"], layers=["features"], targets=[HEART, CIRCLE]
    )
    # With the layer given, saliency would explain that layer.
    by_pixels = tfcam.compare(*given, methods=["saliency"], targets=[HEART, CIRCLE])
    for column in range(2):
        for row, expected in enumerate((by_pixels, by_layer)):
            mine = found.comparison[row, column]
            np.testing.assert_array_equal(mine.raw, expected[0, column].raw)
            assert mine.target == (HEART, CIRCLE)[column]


def test_a_method_that_does_not_apply_is_said_and_the_others_are_there(found):
    assert len(found.problems) == 1
    assert found.problems[0].startswith("attention_rollout: A map of attention needs")
    assert 'role="alert"' in show_words(found)
    alone = look(
        found.network, found.subject, found.choice._replace(methods=("generic_attention",))
    )
    assert alone.comparison is None
    assert "generic_attention" in show_words(alone)
    assert show_maps(alone, Style()) == ""


def test_an_earlier_layer_is_explained_where_the_slider_says(network, subject):
    place = next(n for n, one in enumerate(network.places) if one.path == "block3_relu")
    mine = look(network, subject, Choice((HEART,), place, ("grad_cam",))).comparison[0, 0]
    inner = keras.Model(network.model.input, network.model.get_layer("block3_relu").output)
    assert mine.raw.shape == inner.output_shape[1:3]
    expected = tfcam.explain(network.model, subject.content, "block3_relu", target=HEART)
    np.testing.assert_array_equal(mine.raw, expected.raw)
    assert network.places[network.usual_place].path == "features"


@pytest.mark.parametrize("form", FORMS)
def test_the_python_lines_make_the_same_picture(found, form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(found.subject.content).save("scene.png")
    layer = look(found.network, found.subject, found.choice._replace(methods=("grad_cam",)))
    style = Style(form, 0.4)
    code = python_lines(layer, style)
    names = {}
    exec(compile(code, "lines", "exec"), names)
    np.testing.assert_array_equal(names["maps"][0, 1].raw, layer.comparison[0, 1].raw)
    made = make_download("PNG", layer, style)
    assert (tmp_path / "maps.png").read_bytes() == made.content
    both = python_lines(found, style)
    assert "attention_rollout" not in both
    assert both.count("tfcam.compare(") == both.count(".save(") == 2


def test_forms_differ_and_say_what_they_show(found):
    shown = {form: show_maps(found, Style(form)) for form in FORMS}
    assert len(set(shown.values())) == 3
    for text in shown.values():
        assert text.count("<img ") == 4
        assert text.count('alt="Map of heart, probability 0.913') == 2
    assert show_maps(found, Style(alpha=0.1)) != shown["colours"]


@pytest.mark.slow
def test_labels_and_names_can_not_put_html_on_the_page(subject):
    bad = Network("net", tfcam.demo_model(), [f"<script>{n}</script>" for n in range(8)])
    named = subject._replace(name='<img src=x onerror="alert(1)">.png')
    said = answers(bad, named)
    found = look(bad, named, Choice((said[0].target,), 20, ("grad_cam", "lrp")))
    verification = show_verification(verify_map(found, 0, 0))
    everything = show_answers(said, named) + show_maps(found, Style()) + show_words(found)
    assert "<script" not in everything + verification
    assert "<img src=x" not in everything


@pytest.mark.slow
def test_downloads_hold_the_maps(found, tmp_path):
    made = {what: make_download(what, found, Style()) for what in DOWNLOADS[:3]}
    assert made["PNG"].content[:4] == b"\x89PNG"
    assert b"<svg" in made["SVG"].content[:500]
    assert made["NPZ"].name == "scene_tfcam.zip"
    one = look(
        found.network, found.subject, found.choice._replace(targets=(HEART,), methods=("cam",))
    )
    file = tmp_path / "one.npz"
    file.write_bytes(make_download("NPZ", one, Style()).content)
    np.testing.assert_array_equal(tfcam.Explanation.load(file).raw, one.comparison[0, 0].raw)
    with pytest.raises(ValueError, match="explain first"):
        make_download("PNG", Look(*(found.network, found.subject, found.choice, None)), Style())


@pytest.mark.slow
def test_a_map_is_verified_as_by_the_library_and_says_how_far_it_is(found):
    parts = []
    with watched(lambda part, what: parts.append((part, what))):
        mine = verify_map(found, 1, 1)
    explained = tfcam.explain(
        *(found.network.model, found.subject.content, "features"), target=CIRCLE, verify=True
    )
    assert mine.method == "grad_cam"
    assert mine.verification.p_value == explained.verification.p_value
    np.testing.assert_array_equal(mine.verification.falls, explained.verification.falls)
    numbers = [part for part, what in parts if what == "verifying"]
    assert numbers == sorted(numbers)
    assert len(numbers) > 20
    assert numbers[-1] == pytest.approx(1)


@pytest.mark.slow
def test_the_report_is_that_of_the_library(found):
    mine = full_report(found)
    assert mine.explanation.target == HEART
    assert mine.explanation.method == "saliency"
    assert "How far this map can be trusted" in mine.to_html()


def test_uploads_are_read_within_limits():
    tall = np.zeros((4, 2, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    assert read_picture(embedded(), encoded(tall, "JPEG", exif=turned), "a.jpg").content.shape == (
        2,
        4,
        3,
    )
    whole = encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    bomb = b"P6 60000 60000 255\n" + bytes(300)
    for content, words in (
        (whole[:-200], "a.png: .*damaged"),
        (b"MZ no picture", "a.png: An image file must be"),
        (b"", "a.png"),
        (bomb, "a.png: .*pixels"),
        (bytes(50 * 2**20 + 1), "at most 50 MB"),
    ):
        with pytest.raises(ValueError, match=words) as told:
            read_picture(embedded(), content, "a.png")
        assert "\n" not in str(told.value)
        assert len(str(told.value)) < 300


@pytest.mark.slow
def test_a_text_is_read_word_by_word():
    network = Network("words", flat())
    assert network.is_text
    subject = read_text("not a good film ")
    assert subject.content == "not a good film"
    said = answers(network, subject)
    found = look(network, subject, Choice((said[0].target,), 0, network.methods[:1]))
    assert found.comparison[0, 0].words == ("not", "a", "good", "film")
    assert "good" in show_maps(found, Style())
    tested = verify_map(found, 0, 0)
    assert tested.verification == tfcam.verify(network.model, found.comparison[0, 0])
    assert "Hiding" in show_verification(tested)
    assert "<i>" not in show_answers(said, read_text("a <i>good</i> film"))
    names = {}
    lines = python_lines(found, Style()).replace("model = ...", "model = given")
    exec(compile(lines, "lines", "exec"), names | {"given": network.model})
    assert re.search("text = 'not a good film'", lines)
    for text, words in ((" \n", "no words"), ("a" * 20_001, "at most 20,000")):
        with pytest.raises(ValueError, match=words):
            read_text(text)


def test_a_black_box_is_asked_for_scores_alone(subject):
    def scores(images):
        return np.stack([images.mean((1, 2, 3)), images[:, :4].mean((1, 2, 3))], axis=-1)

    network = Network("box", tfcam.BlackBox(scores, (16, 16, 3)), preprocess="unit")
    assert network.places == ()
    assert set(network.methods) <= {"occlusion", "rise", "kernel_shap", "lime"}
    small = Subject(subject.content[:16, :16])
    found = look(network, small, Choice((0,), 0, network.methods[:1]))
    assert found.problems == ()
    assert found.comparison[0, 0].method == "occlusion"


def test_what_the_page_can_offer():
    model = tfcam.demo_model()
    assert [one.name for one in offered([model, model])] == [model.name, f"{model.name} (2)"]
    assert offered(embedded())[0].labels == list(KINDS)
    with pytest.raises(ValueError, match="got none"):
        offered([])
    series = keras.Sequential([keras.Input((9, 2)), keras.layers.GlobalAveragePooling1D()])
    with pytest.raises(ValueError, match="networks of pictures .* or of texts.*tfcam.explain"):
        offered({"series": series})
