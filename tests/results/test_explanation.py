"""The result: its colours by hand, its files read back, its looks, and what it says of itself."""

import dataclasses
import io
import json
import os
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import tfcam
from tests import networks
from tfcam import maps
from tfcam.findings import Finding, finding
from tfcam.results.explanation import Explanation, Explanations

IMAGE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14  # 0..238, no two alike
HEATMAP = np.array([[0, 0.25, 0.5], [0.75, 0.1, 1]], np.float32)
FACTS = {
    "target": 7,
    "label": "Kätzchen",
    "score": 1 / 3,
    "score_kind": "logit",
    "probability": 0.1,
    "layer": "block5/conv_3:1",
    "layer_reason": "feeds pool, the last global pooling",
    "method": "grad_cam",
    "preprocessing": "scaled to -1..1, as given",
    "options": {"score": "logit", "gated_activations": 17},
    "findings": (finding("no_labels"), finding("one_position", layer="x")),
    "versions": {"tfcam": "0.1.0", "keras": "3.15.1"},
    "measured": {"completeness_error": -0.25},
}
PARTS = {
    "first": np.array([[1, -2]], np.float32),
    "block5/conv_3:1": np.array([[3], [4]], np.float32),
}


def made(**changes):
    """An explanation with every field set, and no two alike."""
    arrays = {"heatmap": HEATMAP, "raw": np.array([[-1.5, 2.5]], np.float32), "image": IMAGE}
    arrays["parts"] = PARTS
    return Explanation(**{**arrays, **FACTS, **changes})


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


# --- colours --------------------------------------------------------------------------------


@pytest.mark.parametrize("colormap", ["inferno", "jet", "gray"])
@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_an_overlay_by_hand(alpha, colormap):
    overlay = made().overlay(alpha, colormap)
    assert overlay.dtype == np.uint8
    assert overlay.shape == IMAGE.shape
    for i in range(2):
        for j in range(3):
            colour = mpl.colormaps[colormap](float(HEATMAP[i, j]))
            for k in range(3):
                value = alpha * 255 * colour[k] + (1 - alpha) * IMAGE[i, j, k]
                assert abs(overlay[i, j, k] - value) <= 0.5 + 1e-9


def test_an_overlay_of_nothing_is_the_picture_and_of_everything_the_colours():
    np.testing.assert_array_equal(made().overlay(0.0), IMAGE)
    # jet begins at half blue and ends at half red; viridis ends at a yellow. R, G, B.
    jet = made().overlay(1.0, "jet")
    assert jet[0, 0].tolist() == [0, 0, 128]
    assert jet[1, 2].tolist() == [128, 0, 0]
    assert made().overlay(1.0, "viridis")[1, 2].tolist() == [253, 231, 37]
    inferno = made().overlay(1.0)
    assert inferno[0, 0].tolist() == [0, 0, 4]
    assert inferno[1, 2].tolist() == [252, 255, 164]
    # The hottest pixel is the brightest, the empty one the darkest.
    grey = inferno.astype(float).sum(axis=-1)
    assert (grey.argmax(), grey.argmin()) == (HEATMAP.argmax(), HEATMAP.argmin())


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan")])
def test_alpha_must_be_a_weight(alpha):
    for draw in (made().overlay, made().picture):
        with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\]; got "):
            draw(alpha)


def test_a_colormap_must_be_there():
    with pytest.raises(ValueError, match="No matplotlib colormap 'infernal'; 'inferno'"):
        made().overlay(colormap="infernal")


def test_the_picture_of_a_layers_map_is_the_overlay():
    np.testing.assert_array_equal(made().picture(0.3, "jet"), made().overlay(0.3, "jet"))


@pytest.mark.parametrize(
    ("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (5, [0, 1, 2])]
)
def test_the_picture_of_a_map_of_pixels_is_signed(channels, shown):
    raw = np.zeros((2, 3, channels), np.float32)
    raw[0] = 4.0  # the full range: more than 0.1 % of the values
    raw[1, 0], raw[1, 1, 0], raw[1, 2] = -4.0, 2.0, np.linspace(-2, 2, channels)
    picture = made(raw=raw).picture()
    assert picture.dtype == np.uint8
    expected = 127.5 + 127.5 * raw[..., shown] / 4
    np.testing.assert_allclose(picture, expected, atol=0.5)
    assert picture[0, 0].tolist() == [255] * 3
    assert picture[1, 0].tolist() == [0] * 3


def test_a_few_pixels_do_not_darken_all_others():
    rng = np.random.default_rng(0)
    raw = rng.choice([-1.0, 1.0], (100, 100, 3)).astype(np.float32)
    raw[0, 0] = 1e6
    result = made(
        raw=raw, heatmap=np.zeros((100, 100), np.float32), image=np.zeros((100, 100, 3), np.uint8)
    )
    np.testing.assert_array_equal(result.picture(), np.where(raw > 0, 255, 0))


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_empty_map_of_pixels_can_be_drawn(value):
    result = made(raw=np.full((2, 3, 3), value, np.float32))
    assert result.picture().shape == (2, 3, 3)
    if value == 0:
        assert (result.picture() == 128).all()


# --- files ----------------------------------------------------------------------------------


def saved_facts(result):
    facts = {name: getattr(result, name) for name in FACTS}
    facts["findings"] = [dataclasses.asdict(each) for each in result.findings]
    return facts | {"parts": list(PARTS), "words": []}


@pytest.mark.parametrize("raw_shape", [(1, 2), (2, 3, 3)])
def test_a_png_holds_the_picture_and_the_facts(tmp_path, raw_shape):
    raw = np.random.default_rng(0).normal(size=raw_shape).astype(np.float32)
    result, path = made(raw=raw), tmp_path / "a.png"
    assert result.save(path) == path
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), result.picture())
        assert json.loads(image.text["tfcam"]) == saved_facts(result)


CHANGED = {
    "heatmap": HEATMAP[::-1],
    "raw": np.array([[-1.5, 2.25]], np.float32),
    "image": 255 - IMAGE,
    "target": 8,
    "label": "子猫 \\ $x$\n",
    "score": 0.25,
    "score_kind": "output",
    "probability": 0.2,
    "layer": "block5",
    "layer_reason": "as given",
    "method": "cam",
    "preprocessing": "none",
    "options": {"score": "probability"},
    "findings": (finding("no_labels"),),
    "versions": {},
    "measured": {},
    "parts": {"first": PARTS["first"], "block5/conv_3:1": PARTS["first"]},
    "words": ("good", "Kätzchen"),
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *({name: value} for name, value in CHANGED.items()),
        dict.fromkeys(["target", "label", "probability", "layer"]),
        {"findings": ()},
        {"raw": np.zeros((2, 3, 4), np.float32)},
        {"raw": np.full((1, 1), np.nan, np.float32), "score": np.nan, "probability": np.nan},
        {"score": np.inf, "probability": 1.0},
    ],
    ids=str,
)
def test_a_npz_gives_back_what_was_saved(tmp_path, changes):
    result, path = made(**changes), tmp_path / "a.npz"
    assert result.save(str(path)) == path
    loaded = Explanation.load(path)
    assert loaded == result
    assert loaded.findings == result.findings
    assert all(isinstance(each, Finding) for each in loaded.findings)
    for name in ("heatmap", "raw", "image"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(result, name), strict=True)
    assert repr(saved_facts(loaded)) == repr(saved_facts(result))
    assert repr(loaded) == repr(result)
    assert Explanation.load(str(path)) == loaded


@pytest.mark.parametrize("method", networks.METHODS)
def test_what_explain_gives_is_saved_and_loaded_equal(tmp_path, method):
    result = tfcam.explain(networks.flat(), networks.pictures(1)[0], method=method, target=1)
    assert Explanation.load(result.save(tmp_path / "a.npz")) == result
    with Image.open(result.save(tmp_path / "a.png")) as image:
        np.testing.assert_array_equal(np.asarray(image), result.picture())


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.PNG", ".png", "a.png.txt"])
def test_an_ending_must_be_known_and_nothing_is_left(tmp_path, name):
    with pytest.raises(ValueError, match=r"saved as \.png or \.npz; got '.*'\."):
        made().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.png", "a.npz"])
def test_a_folder_must_be_there_and_nothing_is_left(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=r"The folder of .* does not exist; make it first"):
        made().save(tmp_path / "missing" / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.png", "a.npz"])
@pytest.mark.parametrize(("owner", "failing"), [(Path, "replace"), (os, "fsync")])
def test_a_file_is_there_whole_or_as_it_was(tmp_path, monkeypatch, name, owner, failing):
    def fail(*_):
        raise OSError("the disk is full")

    path = tmp_path / name
    path.write_bytes(b"before")
    with monkeypatch.context() as patched:
        patched.setattr(owner, failing, fail)
        with pytest.raises(OSError, match="the disk is full"):
            made().save(path)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == b"before"
    made().save(path)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert path.read_bytes() != b"before"


@pytest.mark.parametrize("kind", ["empty", "text", "png", "truncated", "other", "array", "folder"])
def test_only_what_was_saved_can_be_loaded(tmp_path, kind):
    path = tmp_path / "a.npz"
    whole = made().save(path).read_bytes()
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "other":
        np.savez(path, heatmap=HEATMAP)
    elif kind == "array":
        with path.open("wb") as file:
            np.save(file, HEATMAP)
    else:
        png = made().save(tmp_path / "a.png").read_bytes()
        path.write_bytes({"empty": b"", "text": b"hello", "png": png}.get(kind, whole[:-100]))
    with pytest.raises(ValueError, match=r"holds no explanation; give a \.npz that Explanation\."):
        Explanation.load(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No file '.*a\.npz'\."):
        Explanation.load(tmp_path / "a.npz")


# --- looks ----------------------------------------------------------------------------------


def test_plot_draws_on_the_axes_given():
    figure, axes = plt.subplots(1, 2)
    assert made().plot(axes[1], alpha=0.25, colormap="jet") is axes[1]
    np.testing.assert_array_equal(axes[1].images[0].get_array(), made().overlay(0.25, "jet"))
    assert axes[1].get_title() == made().title
    assert not axes[1].axison
    assert not axes[0].images
    assert len(figure.axes) == 2


@pytest.mark.parametrize("pixels", [False, True])
def test_plot_makes_a_figure_of_its_own(pixels):
    result = made(raw=np.ones((2, 3, 3), np.float32)) if pixels else made()
    axes = result.plot(alpha=0.75)
    assert plt.get_fignums() == [axes.figure.number]
    left, right, *bar = axes.figure.axes
    assert right is axes
    np.testing.assert_array_equal(left.images[0].get_array(), IMAGE)
    np.testing.assert_array_equal(right.images[0].get_array(), result.picture(0.75))
    assert len(bar) == (0 if pixels else 1)  # grey values of pixels are no colours of a bar
    assert axes.figure.get_supxlabel() == "no_labels; one_position"
    axes.figure.canvas.draw()  # the layout fits: no warning


@pytest.mark.parametrize("shape", [(2, 3), (40, 40), (300, 20), (20, 300)])
def test_a_notebook_shows_a_png(shape):
    result = made(
        heatmap=np.zeros(shape, np.float32),
        image=np.zeros((*shape, 3), np.uint8),
        label="a label of many words, $\\no$ formula, " * 2,
        layer="backbone/stage_4/block_12/expand_activation",
    )
    with Image.open(io.BytesIO(result._repr_png_())) as image:
        assert image.format == "PNG"
        assert image.width == 800
        image.load()
    assert plt.get_fignums() == []  # it shows itself: pyplot keeps none


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "Kätzchen, probability 0.1\ngrad_cam at block5/conv_3:1"),
        ({"label": None}, "class 7, probability 0.1\ngrad_cam at block5/conv_3:1"),
        ({"probability": None, "layer": None}, "Kätzchen, logit 0.333\ngrad_cam"),
        ({"probability": None, "score_kind": "callable"}, "Kätzchen, callable 0.333\n"),
    ],
)
def test_a_title_says_what_how_sure_and_how(changes, title):
    assert made(**changes).title.startswith(title)


def test_the_text_says_it_all():
    assert repr(made()).splitlines() == [
        "Explanation of 'Kätzchen' (class 7) by grad_cam, 3 x 2 pixels",
        "  score          0.333333 (logit)",
        "  probability    0.1",
        "  layer          block5/conv_3:1 (feeds pool, the last global pooling)",
        "  preprocessing  scaled to -1..1, as given",
        "  completeness_error -0.25",
        *(f"  finding        {each.code}: {each.message}" for each in FACTS["findings"]),
    ]
    other = repr(made(target=None, probability=None, layer=None, findings=(), label="margin"))
    assert other.splitlines()[0] == "Explanation of 'margin' by grad_cam, 3 x 2 pixels"
    assert "  probability    not known" in other
    assert "  layer          none (feeds" in other
    assert "finding" not in other
    assert "class 7" in repr(made(label=None)).splitlines()[0]


# --- a record -------------------------------------------------------------------------------


def test_it_is_frozen():
    for name in CHANGED:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made(), name, None)


def test_equal_is_equal_in_everything():
    assert made() == made(heatmap=HEATMAP.copy(), findings=tuple(FACTS["findings"]))
    assert set(CHANGED) == {each.name for each in dataclasses.fields(Explanation)}
    for name, value in CHANGED.items():
        assert made(**{name: value}) != made(), name
    assert made(heatmap=HEATMAP[:1]) != made()
    assert made() != "an explanation"
    with pytest.raises(TypeError, match="unhashable"):
        hash(made())


def test_boxes_are_those_of_the_heatmap():
    assert made().boxes(0.6).tolist() == [[0, 1, 1, 2]]  # 0.75 and 1 do not touch, and are equal
    assert made(heatmap=np.zeros((2, 3), np.float32)).boxes().shape == (0, 4)
    for threshold, components in [(0.2, "largest"), (0.6, "all"), (0.6, "largest")]:
        expected = maps.boxes(HEATMAP, threshold, components)
        np.testing.assert_array_equal(made().boxes(threshold, components), expected)
    np.testing.assert_array_equal(made().boxes(), maps.boxes(HEATMAP, 0.2))
    # The third of the pixels with the largest values: 0.75 and 1.
    assert made().boxes(2 / 3, "enclosing", by="quantile").tolist() == [[0, 1, 3, 2]]
    with pytest.raises(ValueError, match="must be finite"):
        made(heatmap=np.full((2, 3), np.nan, np.float32)).boxes()


# --- several --------------------------------------------------------------------------------


def test_explanations_are_a_sequence():
    each = [made(target=number) for number in range(4)]
    results = Explanations(each)
    assert len(results) == 4
    assert list(results) == each
    assert (results[0], results[-1], results[np.int64(2)]) == (each[0], each[3], each[2])
    assert isinstance(results[1:], Explanations)
    assert list(results[1::2]) == each[1::2]
    assert list(reversed(results)) == each[::-1]
    assert each[2] in results
    assert repr(results).count("Explanation of") == 4
    with pytest.raises(IndexError):
        results[4]


def test_heatmaps_and_raws_stack():
    results = Explanations([made(), made(heatmap=1 - HEATMAP, raw=np.ones((1, 2), np.float32))])
    np.testing.assert_array_equal(results.heatmaps, np.stack([HEATMAP, 1 - HEATMAP]), strict=True)
    expected = np.array([[[-1.5, 2.5]], [[1, 1]]], np.float32)
    np.testing.assert_array_equal(results.raws, expected, strict=True)


def test_heatmaps_of_different_sizes_do_not_stack():
    results = Explanations([made(), made(heatmap=HEATMAP.T), made()])
    with pytest.raises(ValueError, match=r"all pictures have one size; here are 2\. .* `raws`"):
        _ = results.heatmaps
    assert results.raws.shape == (3, 1, 2)
