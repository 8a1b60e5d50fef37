"""Pictures that everybody can read: even colours, letters large enough, lines told apart in black
and white, titles that say it all, and words for who can't see them."""

import dataclasses
import functools
import itertools
import re
from html.parser import HTMLParser

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import tfcam
from tests.figures import test_overlays as test_drawing
from tests.results import test_comparison, test_explanation
from tfcam.cli.demo_figure import run_demo
from tfcam.figures import charts
from tfcam.figures.palette import Palette
from tfcam.metrics.sanity_result import Randomisation
from tfcam.metrics.similarity_table import SIMILARITIES
from tfcam.results.comparison import Comparison
from training import study_figures

SMALLEST = 7  # points, that are read on a screen and in print
NOTEBOOK = 8  # inches; what is wider is shown smaller


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


def lightness(colours):
    """CIE L*, what is left of a colour in black and white; (..., 3) sRGB in [0, 1]."""
    colours = np.asarray(colours, float)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_lightness_by_hand():
    assert lightness([[0, 0, 0], [1, 1, 1]]) == pytest.approx([0, 100], abs=1e-3)
    assert lightness([119 / 255] * 3) == pytest.approx(50, abs=0.1)  # mid grey


def test_what_is_more_is_lighter_in_evenly_small_steps():
    shown = lightness(Palette().colours(np.linspace(0, 1, 256)))
    steps = np.diff(shown)
    assert shown[0] < 1
    assert shown[-1] > 95
    assert steps.min() > 0
    assert steps.max() < 2 * steps.mean()
    # The colormap of so many papers: its yellow is lighter than its red, which is the maximum.
    assert np.diff(lightness(Palette("jet").colours(np.linspace(0, 1, 256)))).min() < 0


def test_every_map_has_that_colormap_unless_another_is_asked_for():
    import inspect

    for function in (
        tfcam.Explanation.overlay,
        tfcam.Explanation.picture,
        tfcam.Explanation.plot,
        tfcam.Explanation.colored,
        tfcam.Comparison.plot,
        tfcam.Comparison.save,
        tfcam.Explanations.plot,
        tfcam.Explanations.save,
    ):
        assert inspect.signature(function).parameters["colormap"].default == "inferno"


# --- letters --------------------------------------------------------------------------------


def randomisation(steps=12):
    """Of three methods, with as many steps as a large network has."""
    methods = ["grad_cam", "eigen_cam", "saliency"]
    layers = ["nothing", *(f"block{n}_sepconv2_act" for n in range(1, steps))]
    numbers = dict.fromkeys(SIMILARITIES, 0.5)
    rows = [
        {"method": method, "step": step, "layer": layer, "image": 0, "empty": False, **numbers}
        for method, (step, layer) in itertools.product(methods, enumerate(layers))
    ]
    image = np.zeros((20, 20, 3), np.uint8)
    maps = {method: [np.zeros((20, 20), np.float32)] * steps for method in methods}
    nothing = dict.fromkeys(methods)
    return Randomisation(pd.DataFrame(rows), "cascading", "original", image, maps, nothing)


def means(panels, methods=("grad_cam", "layer_cam"), layer=""):
    names = [f"{method}{layer}" for method in methods] + ["random_map"]
    numbers = np.tile([0.5, 0.4, 0.6], (len(names), 1))
    quiet = [name == "random_map" for name in names]
    return charts.draw_means(
        [charts.Means(f"metric {n} ↑", names, numbers, quiet) for n in range(panels)]
    )


def curves(panels=2, methods=5):
    x, numbers = np.linspace(0, 1, 5), np.tile([0.5, 0.4, 0.6], (5, 1))
    drawn = [charts.Line(f"method {n}", x, numbers, n > 6) for n in range(methods)]
    return charts.draw_curves({f"metric {n}": drawn for n in range(panels)})


def ladder():
    rungs = ["A: the course, as it was run", "B: trained as recommended"]
    rows = itertools.product(rungs, ["cam", "grad_cam"])
    numbers = {"mean": 0.5, "low": 0.4, "high": 0.6}
    return study_figures._ladder(
        pd.DataFrame([{"rung": rung, "method": method, **numbers} for rung, method in rows])
    )


def thresholds():
    found = {name: np.linspace(0.5, 0, 100) for name in ("cam", "grad_cam")}
    return study_figures._thresholds(found, {"cam": 0.01, "grad_cam": 0.02})


class Dogs:
    labels = ("beagle", "Siberian husky", "toy poodle")


def pictures(count=6):
    boxes = np.array([[2.0, 3, 15, 17]])
    image = np.zeros((20, 20, 3), np.uint8)
    return [(n, {"image": image, "boxes": boxes, "label": n % 3}) for n in range(count)]


MAPS = {name: np.random.default_rng(0).random((6, 4, 4)) for name in ("cam", "grad_cam")}
METHODS = list(MAPS)
EQUAL = {"cam": 0.2, "grad_cam": 0.2}
SCENES = [tfcam.scenes.draw_scene(seed) for seed in range(6)]
KINDS = [tfcam.scenes.KINDS[each.labels[0]] for each in SCENES]


@functools.cache
def beyond_maps():
    """What a layer holds, how layers arrange pictures, and what a class likes."""
    model, images = tfcam.demo_model(), [each.image for each in SCENES]
    features = tfcam.features(model, images[0], "features")
    arranged = tfcam.embed(model, images, ["features"], classes=KINDS)
    return features, arranged, tfcam.dream(model, 0, steps=2)


FIGURES = {
    "channels": lambda: beyond_maps()[0].plot(),
    "an embedding of data": lambda: beyond_maps()[1].plot(),
    "a dream": lambda: beyond_maps()[2].plot().figure,
    "an image": lambda: test_explanation.made().plot().figure,
    "a series": lambda: test_drawing.series(channels=6).plot().figure,
    "a text": lambda: test_drawing.text().plot().figure,
    "a volume": lambda: test_drawing.volume().plot().figure,
    "several images": lambda: test_explanation.several().plot(),
    "a signed image": lambda: test_explanation.made(parts={}).plot(signed=True).figure,
    "a signed comparison": lambda: test_comparison.grid("a", "bc", parts={}).plot(signed=True),
    "a comparison": lambda: test_comparison.by_class().plot(),
    "a wide comparison": lambda: test_comparison.grid(["cam"], list("abcde")).plot(),
    "the demo": lambda: run_demo(1, 1)[0],
    "randomised weights": lambda: randomisation().show(),
    "their curve": lambda: randomisation().plot().figure,
    "one mean": lambda: means(1),
    "many means": lambda: means(7, layer=" at block5_conv3"),
    "curves": curves,
    "many curves": lambda: curves(3, 12),
    "the ladder": ladder,
    "thresholds": thresholds,
    "the data": lambda: study_figures._samples(Dogs, pictures()),
    "overlays": lambda: study_figures._overlays(Dogs, pictures(), MAPS, METHODS, 20),
    "boxes": lambda: study_figures._boxed(Dogs, pictures(), MAPS, METHODS, 20, EQUAL),
}


def written(figure):
    figure.canvas.draw()
    texts = figure.findobj(lambda each: isinstance(each, Text) and each.get_visible())
    return [each for each in texts if each.get_text().strip()]


@pytest.mark.thinned(1)
@pytest.mark.parametrize("name", FIGURES)
def test_letters_can_be_read_at_the_width_of_a_notebook(name):
    figure = FIGURES[name]()
    shown = min(1, NOTEBOOK / figure.get_size_inches()[0])
    texts = written(figure)
    assert texts
    for each in texts:
        assert each.get_fontsize() * shown >= SMALLEST, (each.get_text(), each.get_fontsize())


@pytest.mark.thinned(1)
@pytest.mark.parametrize("name", FIGURES)
def test_maps_have_a_colour_bar(name):
    figure = FIGURES[name]()
    said = {each.get_text() for each in written(figure)}
    of_what = r"of (the|each) map's (maximum|99th percentile)(:\sblue against, red for)?"
    of_what += "|of the largest value .*"
    bars = {text for text in said if re.fullmatch(of_what, text)}
    of_numbers = ("mean", "curve", "ladder", "threshold", "data", "boxes", "dream")
    assert len(bars) == (0 if any(word in name for word in of_numbers) else 1)


# --- lines ----------------------------------------------------------------------------------


def strokes(axes):
    """How the lines with a label look without colour."""
    lines = [each for each in axes.get_lines() if not each.get_label().startswith("_")]
    containers = [each[0] for each in axes.containers if hasattr(each, "has_yerr")]
    return [(each._unscaled_dash_pattern, each.get_marker()) for each in lines or containers]


@pytest.mark.parametrize("count", [2, 5])
def test_lines_are_told_apart_without_their_colours(count):
    looks = strokes(curves(1, count).axes[0])
    assert len(looks) == count
    assert len(set(map(repr, looks))) == count


def test_lines_of_sanity_checks_are_told_apart_without_their_colours():
    looks = strokes(randomisation().plot())
    assert len(looks) == len(set(map(repr, looks))) == 3


def test_many_lines_are_told_apart_by_colour_and_stroke_together():
    lines = curves(1, 12).axes[0].get_lines()
    looks = {(each.get_color(), repr(each._unscaled_dash_pattern)) for each in lines}
    assert len(looks) == 12


def test_baselines_are_told_from_methods_without_colour():
    *_, method_mean, _, baseline_mean = means(1, ("cam",)).axes[0].get_lines()
    assert method_mean.get_markerfacecolor() == method_mean.get_color()
    assert baseline_mean.get_markerfacecolor() == "white"


def test_boxes_have_an_edge_that_shows_on_any_picture():
    figure = FIGURES["boxes"]()
    for axes in figure.axes:
        for edge, line in itertools.pairwise(axes.patches[::1]):
            if to_rgb(edge.get_edgecolor()[:3]) == (0, 0, 0):
                assert edge.get_linewidth() > line.get_linewidth()
                assert lightness(line.get_edgecolor()[:3]) > 40
                np.testing.assert_array_equal(edge.get_bbox(), line.get_bbox())
    assert {each.get_linestyle() for each in figure.axes[0].patches} >= {"-", "--"}


# --- words ----------------------------------------------------------------------------------


class Images(HTMLParser):
    """The attributes of the images of a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.found.append(dict(attrs))


ODD = 'a "label" of <b>many</b> & odd letters, '


@pytest.mark.parametrize("made", [test_explanation.made, test_drawing.series, test_drawing.volume])
def test_a_notebooks_picture_has_its_title_in_words(made):
    result = made(label=ODD)
    (image,) = Images(result._repr_html_()).found
    for said in (ODD, "probability 0.1", "block5/conv_3:1", "grad_cam"):
        assert said in image["alt"]
        assert said in result.title
    assert image["src"].startswith("data:image/png;base64,iVBOR")


def test_a_comparisons_picture_has_all_its_titles_in_words():
    found = test_comparison.by_class()
    (image,) = Images(found._repr_html_()).found
    assert image["alt"].startswith("Comparison of 2 x 2 maps; star, probability 0.75, grad_cam at")
    for each in found:
        assert each.title.replace("\n", ", ") in image["alt"]
    series = test_drawing.series()
    assert Comparison(("a",), ("b",), ((series,),))._repr_html_() is None


@pytest.mark.parametrize("number", range(3))
def test_other_pictures_have_what_they_show_in_words(number):
    made = beyond_maps()[number]
    (image,) = Images(made._repr_html_()).found
    said = [
        ("channels of features", "channel "),
        (*KINDS, "features: the nearest"),
        ("class_logit(0)", "probability 0."),
    ]
    for each in said[number]:
        assert each in image["alt"]


def said_in(figure):
    return " ".join(" ".join(each.get_text() for each in figure.texts).split())


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        (("grad_cam", "layer_cam"), ("star", "heart"), ["Layer: features."]),
        (("first", "second"), ("star", "heart"), ["Layer: features.", "Methods, row by row: grad"]),
        (
            ("features", "features"),
            ("star", "heart"),
            ["Methods, row by row: grad_cam, layer_cam."],
        ),
    ],
)
def test_a_comparison_says_the_class_probability_layer_and_method(rows, columns, said):
    cells = test_comparison.by_class().cells
    cells = tuple(tuple(dataclasses.replace(e, layer="features") for e in row) for row in cells)
    text = said_in(Comparison(rows, columns, cells).plot())
    for each in ("star", "probability 0.75", "heart", "features", "grad_cam", "layer_cam", *said):
        assert each in text
    assert ("Layer:" in text) == (rows[0] != "features")
    assert ("Method" in text) == (rows[0] != "grad_cam")


def test_one_scale_for_maps_that_are_compared():
    """Quarter the raw values: a quarter of the colours, where one scale is asked for."""
    strong = test_comparison.made([[0.0, 4.0]])
    weak = test_comparison.made([[0.0, 1.0]])
    figure = Comparison(("cam",), ("a", "b"), ((strong, weak),)).plot(shared_scale=True, alpha=1.0)
    shown = [axes.images[0].get_array().max(axis=(0, 1)) for axes in figure.axes[1:3]]
    seen = mpl.colormaps["inferno"](1.0)[0]
    assert np.abs(shown[0][0] - 255 * seen) <= 1
    drawn = dataclasses.replace(weak, heatmap=weak.heatmap / 4).overlay(1.0)
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), drawn, atol=1)
    assert isinstance(figure, Figure)
