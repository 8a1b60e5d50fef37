"""How series, texts and volumes look: what is drawn where, in which colours, and what is read."""

import io
import json
import re
from html.parser import HTMLParser

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers
from matplotlib.patches import Rectangle
from PIL import Image
from rich.console import Console

import tfcam
from tests.results.test_explanation import FACTS
from tfcam.figures import overlays as drawing
from tfcam.figures import text as lettering
from tfcam.figures.letters import drawable
from tfcam.figures.palette import LEVELS, Palette
from tfcam.results.comparison import Comparison
from tfcam.results.explanation import Explanation
from tfcam.results.explanations import Explanations

RNG = np.random.default_rng(0)
WORDS = ("not", "<b>good</b>", "$x_2$", "Kätzchen & co", "영화", "a\nb")


def made(image, heatmap, **changes):
    raw = np.asarray(heatmap, np.float32)
    return Explanation(
        **{"heatmap": raw, "raw": raw, "image": np.asarray(image), **FACTS, "parts": {}, **changes}
    )


def series(length=20, channels=2, **changes):
    heatmap = np.linspace(0, 1, length)
    return made(RNG.normal(size=(length, channels)), heatmap, **changes)


def text(words=WORDS, **changes):
    return made(np.arange(len(words)), np.linspace(0, 1, len(words)), words=tuple(words), **changes)


def volume(size=(12, 5, 7), **changes):
    heatmap = np.zeros(size)
    heatmap[size[0] // 2, 0, -1] = 1
    return made(RNG.normal(size=(*size, 1)), heatmap, **changes)


KINDS = {"series": series, "text": text, "volume": volume}


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


def colour(value, colormap="inferno"):
    return mpl.colormaps[colormap](float(value))[:3]


# --- series ---------------------------------------------------------------------------------


@pytest.mark.parametrize("colormap", ["inferno", "viridis"])
def test_a_series_is_lines_before_its_heatmap(colormap):
    result = series()
    axes = result.plot(colormap=colormap)
    lines = axes.get_lines()
    for channel, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(20))
        np.testing.assert_array_equal(line.get_ydata(), result.image[:, channel])
    assert len({line.get_color() for line in lines}) == len(lines) == 2
    (background,) = axes.images
    wanted = [colour(value, colormap) for value in result.heatmap]
    np.testing.assert_allclose(background.get_array()[0], wanted)
    left, right, low, high = background.get_extent()
    assert (left, right) == (-0.5, 19.5)  # each position is the middle of its colour
    assert low < result.image.min() < result.image.max() < high
    assert axes.get_title() == result.title
    _, bar = axes.figure.axes
    assert bar.get_ylabel() == "of the map's maximum"
    assert axes.figure.get_supxlabel() == "no_labels; one_position"
    axes.figure.canvas.draw()


@pytest.mark.parametrize("channels", [0, 1, 2, 6, 7, 30])
def test_few_channels_are_named(channels):
    result = made(RNG.normal(size=(5, channels)), np.ones(5)) if channels else None
    result = result or made(RNG.normal(size=5), np.ones(5))  # numbers without an axis of channels
    legend = result.plot().get_legend()
    names = [each.get_text() for each in legend.get_texts()] if legend else []
    assert names == [f"channel {n}" for n in range(channels) if 1 < channels <= 6]
    assert len(result.plot().get_lines()) == max(channels, 1)


@pytest.mark.parametrize("length", [1, 2, 5000])
def test_series_of_any_length_and_without_range_are_drawn(length):
    result = made(np.full((length, 1), 3.0, "float32"), np.zeros(length))
    axes = result.plot()
    assert axes.get_ylim() == (2, 4)
    axes.figure.canvas.draw()


# --- volumes --------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 8, 9, 10, 24, 155])
def test_slices_are_few_evenly_spaced_and_hold_the_hottest(depth):
    for hottest in {0, depth // 2, depth - 1}:
        heatmap = np.zeros((depth, 2, 3))
        heatmap[hottest, 1, 2] = 1
        slices = list(drawing.choose_slices(heatmap))
        assert hottest in slices
        assert 0 <= slices[0] < slices[-1] + 1 <= depth
        assert len(slices) <= 9
        assert len(slices) >= min(depth, 5)
        assert len(set(np.diff(slices))) <= 1
        rows, columns = drawing.arrange_slices(heatmap.shape)
        assert rows * columns >= len(slices)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_volume_is_slices_under_the_heatmap(alpha):
    result = volume((12, 5, 7))
    axes = result.plot(alpha=alpha, colormap="viridis")
    inside = axes.child_axes
    assert [each.get_title() for each in inside] == [f"slice {n}" for n in range(0, 12, 2)]
    grey = result.image[..., 0]
    low, high = np.percentile(grey, [0.5, 99.5])
    for number, each in zip(range(0, 12, 2), inside, strict=True):
        (shown,) = each.images
        below = 255 * np.clip((grey[number] - low) / (high - low), 0, 1)
        above = 255 * mpl.colormaps["viridis"](result.heatmap[number])[..., :3]
        weight = alpha * np.minimum(2 * result.heatmap[number], 1)[..., None]
        wanted = weight * above + (1 - weight) * below[..., None]
        np.testing.assert_allclose(shown.get_array(), wanted, atol=0.51)
    assert axes.get_title() == result.title
    axes.figure.canvas.draw()


def test_frames_of_a_video_in_colour():
    """Red, then green, then blue: where the map is zero a frame is as it was."""
    video = np.zeros((3, 4, 4, 3), np.float32)
    for frame in range(3):
        video[frame, ..., frame] = 2.5
    axes = plt.figure().subplots()
    drawing.draw_volume(axes, video, np.zeros((3, 4, 4)), 0.5, Palette())
    inside = axes.child_axes
    assert [each.get_title() for each in inside] == ["frame 0", "frame 1", "frame 2"]
    for frame, each in enumerate(inside):
        shown = each.get_images()[0].get_array()
        np.testing.assert_array_equal(shown, np.broadcast_to(255 * np.eye(3)[frame], (4, 4, 3)))
    picture, _ = drawing.lay_out_slices(video, np.zeros((3, 4, 4)))
    np.testing.assert_array_equal(picture[0, ::4], 255 * np.eye(3))


@pytest.mark.thinned(2)
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 40, 4), (3, 4, 40), (200, 3, 3)])
def test_volumes_of_any_shape_are_drawn(size):
    flat = made(np.ones((*size, 2), "float32"), np.zeros(size))
    for result in (volume(size), flat):
        with Image.open(io.BytesIO(result._repr_png_())) as image:
            assert image.width == 800
            assert image.height <= 1200


def test_slices_do_not_overlap():
    figure = volume((24, 28, 28)).plot().figure
    figure.canvas.draw()
    boxes = [each.get_tightbbox() for each in figure.axes[0].child_axes]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


# --- texts ----------------------------------------------------------------------------------


def on_page(axes):
    """The words and the colours below them, in their order."""
    words = list(axes.texts)
    patches = [each for each in axes.patches if isinstance(each, Rectangle)]
    return words, patches


def test_a_text_is_words_on_their_colours():
    result = text(("the", "film", "was", "$good$"))
    axes = result.plot(colormap="viridis")
    words, patches = on_page(axes)
    assert [each.get_text() for each in words] == ["the", "film", "was", "$good$"]
    for value, word, patch in zip(result.heatmap, words, patches, strict=True):
        np.testing.assert_allclose(patch.get_facecolor()[:3], colour(value, "viridis"))
        assert word.get_color() == lettering.choose_ink(np.array(colour(value, "viridis")))
    assert axes.get_title() == result.title
    bar = axes.figure.axes[1]
    assert bar.get_xlabel() == "of the map's maximum"
    assert axes.figure.texts[0].get_text() == "no_labels; one_position"
    axes.figure.canvas.draw()


@pytest.mark.thinned(1)
@pytest.mark.parametrize("own", [True, False])
def test_words_stay_inside_and_do_not_run_into_each_other(own):
    words = RNG.choice(["a", "film", "wonderfully", "x" * 200, "W" * 30, ""], 90)
    result = text(words)
    axes = result.plot() if own else result.plot(plt.figure(figsize=(4, 30)).add_subplot())
    axes.figure.canvas.draw()
    frame = axes.get_window_extent()
    shown, patches = on_page(axes)
    assert len(shown) == len(words)
    boxes = [each.get_window_extent() for each in patches]
    for word, box in zip(shown, boxes, strict=True):
        seen = word.get_window_extent()
        assert box.x0 - 0.5 <= seen.x0
        assert seen.x1 <= box.x1 + 0.5
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1 + 1e-6
        assert frame.y0 <= box.y0
        assert box.y1 <= frame.y1
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 : number + 20])


@pytest.mark.slow
def test_what_does_not_fit_is_counted():
    result = text(["wonderful"] * 500)
    small = result.plot(plt.figure(figsize=(4, 2)).add_subplot())
    shown = [each.get_text() for each in small.texts]
    assert shown[-1] == f"… and {500 - (len(shown) - 1)} more"
    assert 5 < len(shown) < 100
    long = text(["wonderful"] * 3000)
    with Image.open(io.BytesIO(long._repr_png_())) as image:
        assert image.height < 3000
    shown = [each.get_text() for each in long.plot().texts]
    assert shown[-1] == f"… and {3000 - (len(shown) - 1):,} more"


def test_letters_that_no_font_has_are_boxes_not_warnings():
    axes = text(("\U0001f9ff", "x\U0001f9ffy", " \t")).plot()
    shown = [each.get_text() for each in axes.texts]
    assert shown[2] == "␣"
    if drawable("\U0001f9ff") == "□":
        assert shown[:2] == ["□", "x□y"]
    axes.figure.canvas.draw()


def contrast(one, other):
    """WCAG 2.2, relative luminance and contrast ratio, of two sRGB colours in [0, 1]."""

    def luminance(colour):
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colormap", ["inferno", "viridis", "jet", "gray"])
def test_every_word_can_be_read(colormap):
    for value in np.linspace(0, 1, 101):
        below = np.array(colour(value, colormap))
        above = {"black": (0, 0, 0), "white": (1, 1, 1)}
        chosen = contrast(above.pop(lettering.choose_ink(below)), below)
        (other,) = above.values()
        assert chosen >= contrast(other, below)
        assert chosen >= 4.5


class Page(HTMLParser):
    """What is on a page: its text, and each span's text and style."""

    def __init__(self, page):
        super().__init__()
        self.open, self.spans, self.tags = [], [], []
        self.seen = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag != "br":
            self.open.append((tag, dict(attributes), len(self.seen)))

    def handle_endtag(self, tag):
        opened, attributes, start = self.open.pop()
        assert opened == tag
        if "title" in attributes:
            self.spans.append((self.seen[start:], attributes))

    def handle_data(self, data):
        self.seen += data


def test_a_notebook_shows_the_words_of_a_text():
    result = text(label="<i>film</i> & more")
    page = Page(result._repr_html_())
    assert [word for word, _ in page.spans] == [" ".join(word.split()) for word in WORDS]
    assert set(page.tags) == {"div", "b", "span", "br"}  # nothing that was given is a tag
    for value, (_, span) in zip(result.heatmap, page.spans, strict=True):
        style = dict(each.split(":") for each in span["style"].split(";"))
        assert style["background"] == mpl.colors.to_hex(colour(value))
        assert style["color"] == lettering.choose_ink(np.array(colour(value)))
        assert span["title"] == f"{value:.2f}"
    assert page.seen.startswith("<i>film</i> & more, probability 0.1grad_cam at block5")
    assert page.seen.endswith("of the map's maximumno_labels; one_position")
    # Colours of its own, on light and on dark pages.
    assert re.match('<div style="background:#000004;color:white;', result._repr_html_())


def test_only_texts_are_words():
    for result in (series(), volume()):
        with pytest.raises(ValueError, match=f"colored is for texts; .* of {result.extent}"):
            result.colored()


def test_a_terminal_shows_the_words_of_a_text():
    result = text()
    shown = result.colored("viridis")
    assert shown.plain == "".join(f" {' '.join(word.split())} " for word in WORDS)
    for value, span in zip(result.heatmap, shown.spans, strict=True):
        below = colour(value, "viridis")
        assert (
            span.style == f"{lettering.choose_ink(np.array(below))} on {mpl.colors.to_hex(below)}"
        )
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=30)
    console.print(shown)
    assert "\x1b[" in console.file.getvalue()
    assert "\x1b" not in repr(result)


# --- each of them ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "extent"),
    [("series", "20 positions"), ("text", "6 positions"), ("volume", "12 x 5 x 7 voxels")],
)
def test_the_text_says_how_large_it_is(kind, extent):
    result = KINDS[kind]()
    assert result.extent == extent
    assert repr(result).splitlines()[0].endswith(f"by grad_cam, {extent}")


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_for_images(kind):
    result = KINDS[kind]()
    for name in ("overlay", "picture", "boxes"):
        with pytest.raises(
            ValueError, match=f"{name} is for images; this explains a {kind} of .* Use plot"
        ):
            getattr(result, name)()


@pytest.mark.parametrize("kind", KINDS)
def test_a_colormap_must_be_there(kind):
    with pytest.raises(ValueError, match="No matplotlib colormap 'infernal'"):
        KINDS[kind]().plot(colormap="infernal")


@pytest.mark.parametrize("kind", KINDS)
def test_plot_draws_on_the_axes_given(kind):
    figure, (left, right) = plt.subplots(1, 2)
    result = KINDS[kind]()
    assert result.plot(right) is right
    assert right.get_title() == result.title
    assert figure.axes == [left, right]
    assert not left.get_children()[0].get_visible() or not left.lines
    assert KINDS[kind]().plot().figure is not figure
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_the_figure_and_everything(kind, tmp_path):
    result = KINDS[kind](findings=())
    with Image.open(result.save(tmp_path / "a.png")) as image:
        assert (image.format, image.mode, image.width) == ("PNG", "RGB", 1200)
        assert json.loads(image.text["tfcam"])["words"] == list(result.words)
    assert Explanation.load(result.save(tmp_path / "a.npz")) == result
    loaded = Explanation.load(tmp_path / "a.npz")
    assert loaded.words == result.words
    assert isinstance(loaded.words, tuple)
    assert repr(loaded) == repr(result)
    assert plt.get_fignums() == []


def test_the_numbers_of_a_text_are_its_words():
    assert made(np.array([3, 0, 12]), np.ones(3)).words == ("3", "0", "12")
    assert made(np.array([3.0, 0.5]), np.ones(2)).words == ()
    assert made(np.zeros((3, 1), int), np.ones(3)).words == ()
    assert text().words == WORDS


# --- from explain ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader():
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4)(inputs)
    x = layers.Conv1D(6, 3, padding="same", activation="relu", name="conv")(x)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


@pytest.mark.slow
def test_words_are_given_to_explain(reader):
    result = tfcam.explain(reader, [3, 1, 4], target=0, words=["a", "cat", 7])
    assert result.words == ("a", "cat", "7")
    assert tfcam.explain(reader, [3, 1, 4], target=0).words == ("3", "1", "4")
    batch = [[3, 1, 4], [1, 5, 2], [2, 6, 0]]
    spoken = [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]]
    found = tfcam.explain(reader, batch, target=0, words=spoken, batch_size=2)
    assert [list(each.words) for each in found] == spoken
    both = tfcam.explain(reader, [3, 1, 4], target=[0, 1], words=["a", "b", "c"])
    assert {each.words for each in both} == {("a", "b", "c")}
    kept = tfcam.Explainer(reader)([3, 1, 4], 0, words=np.array(["x", "y", "z"]))
    assert kept.words == ("x", "y", "z")


@pytest.mark.parametrize("words", [["a"], ["a", "b", "c", "d"], []])
def test_there_must_be_a_word_for_each_position(reader, words):
    with pytest.raises(ValueError, match=f"one for each of the 3 positions; got {len(words)}"):
        tfcam.explain(reader, [3, 1, 4], target=0, words=words)
    with pytest.raises(ValueError, match=f"one for each of the 3 positions; got {len(words)}"):
        tfcam.explain(reader, [[3, 1, 4]], target=0, words=[words])


@pytest.mark.parametrize(
    ("words", "got"),
    [
        (["a", "b"], "2 words"),
        ([["a", "b", "c"]], "1 lists"),
        (["abc", ["a", "b", "c"]], "2 words"),
    ],
)
def test_a_batch_has_a_list_of_words_for_each(reader, words, got):
    with pytest.raises(ValueError, match=f"words for each of the 2 texts of a batch; got {got}"):
        tfcam.explain(reader, [[3, 1, 4], [1, 5, 2]], target=0, words=words)


def test_words_are_for_texts_and_series():
    model = tfcam.demo_model()
    with pytest.raises(ValueError, match="words are for texts and series; this input is none"):
        tfcam.explain(model, tfcam.scenes.draw_scene(1).image, words=["a"])


def test_a_comparison_of_series_is_a_table():
    one = series()
    found = Comparison(("cam", "grad_cam"), ("x",), ((one,), (one,)))
    assert repr(found).startswith("Comparison of 2 x 1 explanations, 20 positions")
    assert found._repr_png_() is None
    with pytest.raises(
        ValueError, match=r"draws images.* of a series of 20 positions\. .*\.plot\(\)"
    ):
        found.plot()


# --- several, and both signs ----------------------------------------------------------------


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("kind", KINDS)
def test_several_are_drawn_one_below_the_other(kind, tmp_path):
    results = Explanations([KINDS[kind](label=name) for name in ("one", "two")])
    figure = results.plot()
    (axes,) = figure.axes
    pixels = axes.images[0].get_array()
    single = [np.asarray(Image.open(io.BytesIO(each.render(150))))[..., :3] for each in results]
    np.testing.assert_array_equal(pixels, np.concatenate(single))
    assert figure.get_figwidth() == pytest.approx(8.0)
    with Image.open(results.save(tmp_path / "a.png")) as image:
        assert image.height == pytest.approx(len(pixels), abs=1)
    page = results._repr_html_()
    assert "one, probability 0.1" in page
    assert "two, probability 0.1" in page


SIGNED = np.array([-1.0, 0.0, 0.5], np.float32)
BLUE, WHITE, PINK = (0, 0, 1), (1, 254 / 255, 254 / 255), (1, 127 / 255, 127 / 255)


def signed(kind):
    """Against, nothing, and half for."""
    if kind == "text":
        return made(np.arange(3), np.maximum(SIGNED, 0), raw=SIGNED, words=("no", "but", "yes"))
    if kind == "series":
        return made(np.zeros((3, 1)), np.maximum(SIGNED, 0), raw=SIGNED)
    raw = np.broadcast_to(SIGNED[:, None, None], (3, 2, 2)).copy()
    return made(np.zeros((3, 2, 2, 1)), np.maximum(raw, 0), raw=raw)


def test_a_signed_series_is_blue_and_red():
    axes = signed("series").plot(signed=True)
    np.testing.assert_allclose(axes.images[0].get_array()[0], [BLUE, WHITE, PINK], atol=0.01)


def test_a_signed_text_is_blue_and_red():
    result = signed("text")
    axes = result.plot(signed=True)
    _, patches = on_page(axes)
    for patch, wanted in zip(patches, [BLUE, WHITE, PINK], strict=True):
        np.testing.assert_allclose(patch.get_facecolor()[:3], wanted, atol=0.01)
    assert axes.figure.axes[1].get_xlabel() == "of the map's maximum: blue against, red for"
    spans = [str(span.style) for span in result.colored(signed=True).spans]
    assert spans[0] == "white on #0000ff"
    assert spans[2].startswith("black on #ff")


def test_a_signed_volume_is_blue_and_red():
    inside = signed("volume").plot(alpha=1.0, signed=True).child_axes
    first, middle, last = (axes.images[0].get_array()[0, 0].tolist() for axes in inside)
    assert first == [0, 0, 255]  # over black
    assert middle == [0, 0, 0]
    assert last == [128, 0, 0]


def test_contours_lie_where_the_map_is_at_a_part_of_its_maximum():
    picture = np.full((60, 60, 3), 90, np.uint8)
    rows, columns = np.mgrid[:60, :60] - 30
    values = np.clip(1 - np.hypot(rows, columns) / 28, 0, 1)
    drawn = drawing.draw_contours(picture, values, Palette("gray"))
    for level in LEVELS:
        colour = round(255 * Palette("gray").colours(np.array([0.5 + level / 2]))[0, 0])
        found = values[drawn[..., 0] == colour]
        assert len(found) > 20
        assert level <= found.min() <= found.max() < level + 1.5 / 28
    # The picture is seen as it is wherever there is no line.
    assert (drawn == 90).all(axis=-1).mean() > 0.6
    both = Palette(signed=True, contours=True)
    signed = drawing.draw_contours(picture, np.where(rows < 0, -values, values), both)
    red, blue = ((signed == colour).all(axis=-1) for colour in ([255, 0, 0], [0, 0, 255]))
    assert rows[red].min() >= 0 > rows[blue].max()
    np.testing.assert_array_equal(
        drawing.overlay(picture, values, 0.6, Palette("gray", contours=True)), drawn
    )
