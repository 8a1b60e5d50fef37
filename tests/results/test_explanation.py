"""The result: its colours by hand, its files read back, its looks, and what it says of itself."""

import dataclasses
import inspect
import io
import json
import os
from pathlib import Path

import keras
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfcam
import tfcam.losses
from tests import networks
from tfcam import maps
from tfcam.findings import Finding, finding
from tfcam.results.explanation import Explanation
from tfcam.results.explanations import Explanations
from tfcam.results.verification import Check, Verification

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
VERIFICATION = Verification(
    *("Kätzchen", 0.1, (Check("Used?", "not supported", "No <b>."),)),
    *(np.array([0.5, 1.0]), IMAGE, HEATMAP, 0.25, ("mean",), 0, 9, 0),
)


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
            weight = alpha * min(2 * HEATMAP[i, j], 1)
            for k in range(3):
                value = weight * 255 * colour[k] + (1 - weight) * IMAGE[i, j, k]
                assert abs(overlay[i, j, k] - value) <= 0.5 + 1e-9


def test_an_overlay_of_nothing_is_the_picture_and_of_everything_the_colours():
    np.testing.assert_array_equal(made().overlay(0.0), IMAGE)
    # jet ends at half red, viridis at a yellow, inferno at a light one. R, G, B.
    for colormap, most in [
        ("jet", [128, 0, 0]),
        ("viridis", [253, 231, 37]),
        ("inferno", [252, 255, 164]),
    ]:
        overlay = made().overlay(1.0, colormap)
        assert overlay[1, 2].tolist() == most
        np.testing.assert_array_equal(overlay[0, 0], IMAGE[0, 0])  # nothing there: the picture


@pytest.mark.parametrize("level", [0, 10, 128, 255])
def test_a_picture_stays_visible_under_a_sparse_map(level):
    """One hot pixel: all others are as they were, on black, grey and white."""
    heatmap = np.zeros((8, 8), np.float32)
    heatmap[3, 4] = 1
    image = np.full((8, 8, 3), level, np.uint8)
    overlay = made(heatmap=heatmap, image=image).overlay()
    changed = np.argwhere((overlay != image).any(axis=-1)).tolist()
    assert changed == [[3, 4]]
    # The rest of the picture shines through, and the colour can be told from it.
    assert 0.3 * level <= overlay[3, 4].min()
    assert np.abs(overlay[3, 4].astype(int) - level).max() >= 50


def test_more_is_more_opaque_up_to_half_of_the_maximum():
    values = np.linspace(0, 1, 101, dtype=np.float32)[np.newaxis]
    image = np.random.default_rng(0).integers(0, 256, (1, 101, 3), np.uint8)
    shown = made(heatmap=values, image=image).overlay(0.5).astype(float)
    other = made(heatmap=values, image=255 - image).overlay(0.5).astype(float)
    # What is left of the picture: how far two overlays differ, for how far their pictures do.
    left = (shown - other) / (image.astype(float) - (255.0 - image))
    wanted = np.broadcast_to(1 - 0.5 * np.minimum(2 * values, 1)[..., np.newaxis], left.shape)
    sure = np.abs(2.0 * image - 255) > 100
    np.testing.assert_allclose(left[sure], wanted[sure], atol=0.02)


# --- both signs -----------------------------------------------------------------------------

MIXED = {"raw": np.array([[-3.0, 1.5, 0.0]], np.float32), "parts": {}}


def test_a_signed_map_by_hand():
    result = made(**MIXED)
    np.testing.assert_allclose(result.signed_heatmap, [[-1, 0.5, 0]] * 2)
    # Blue to the weight of the first, red to half of it, and nothing.
    overlay = result.overlay(0.8, signed=True)
    for column, (colour, weight) in enumerate([((0, 0, 255), 0.8), ((255, 0, 0), 0.4)]):
        wanted = weight * np.array(colour) + (1 - weight) * IMAGE[:, column]
        np.testing.assert_allclose(overlay[:, column], wanted, atol=0.5)
    np.testing.assert_array_equal(overlay[:, 2], IMAGE[:, 2])
    np.testing.assert_array_equal(result.picture(0.8, signed=True), overlay)


def test_the_other_sign_is_the_other_colour():
    result = made(**MIXED)
    other = made(raw=-MIXED["raw"], parts={})
    red, green, blue = np.moveaxis(result.overlay(1.0, signed=True).astype(int), -1, 0)
    swapped = np.moveaxis(other.overlay(1.0, signed=True).astype(int), -1, 0)
    assert (red[:, 0] < blue[:, 0]).all()
    assert (swapped[0][:, 0] > swapped[2][:, 0]).all()
    np.testing.assert_array_equal(green, swapped[1])


def test_what_speaks_for_one_class_speaks_against_the_other():
    """Difference(a, b) and Difference(b, a): the same map with its colours changed."""
    model, image = networks.flat(), networks.pictures(1)[0]
    one, other = (
        tfcam.explain(model, image, "second", target=tfcam.Difference(*pair), method="hires_cam")
        for pair in [(0, 1), (1, 0)]
    )
    assert one.signed_heatmap.min() < 0 < one.signed_heatmap.max() or one.signed_heatmap.any()
    np.testing.assert_allclose(one.signed_heatmap, -other.signed_heatmap, atol=1e-6)
    # The red of the one is the heatmap of what is positive.
    wanted = maps.signed(one.raw, one.heatmap.shape)
    np.testing.assert_array_equal(one.signed_heatmap, wanted)


def test_a_signed_map_of_pixels_is_the_sum_over_channels_by_itself():
    raw = np.zeros((2, 3, 3), np.float32)
    raw[0, 0], raw[1, 2], raw[0, 1] = [1, 1, 2], [-1, -1, 0], [3, -3, 0]
    for options in ({}, {"gated_activations": 2}):
        result = made(raw=raw, parts={}, options=options)
        np.testing.assert_allclose(result.signed_heatmap, [[1, 0, 0], [0, 0, -0.5]])
        picture = result.picture(signed=True)
        assert picture[0, 0].tolist() == [255, 0, 0]
        assert (picture[0, 1] >= 254).all()  # white: what is for and against cancels
        assert picture[1, 2, 2] == 255
        assert picture[1, 2, 0] < 140


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_a_signed_map_of_nothing_is_the_picture(value):
    result = made(raw=np.full((1, 2), value, np.float32), parts={})
    np.testing.assert_array_equal(result.overlay(signed=True), IMAGE)


def test_several_layers_have_no_signed_map(tmp_path):
    for ask in (made().overlay, made().picture, made().plot, lambda **o: made().save("a.png", **o)):
        with pytest.raises(ValueError, match="signed map is of one layer; this is fused of 2"):
            ask(signed=True)


def test_both_signs_are_saved_and_have_their_bar(tmp_path):
    result = made(**MIXED)
    with Image.open(result.save(tmp_path / "a.png", signed=True)) as image:
        np.testing.assert_array_equal(np.asarray(image), result.picture(signed=True))
    *_, bar = result.plot(signed=True).figure.axes
    assert bar.get_ylabel() == "of the map's maximum:\nblue against, red for"
    assert [each.get_text().replace("−", "-") for each in bar.get_yticklabels()] == ["-1", "0", "1"]
    bar.figure.canvas.draw()
    assert bar.get_tightbbox().y1 <= bar.figure.bbox.y1


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


def test_other_maps_of_pixels_are_one_channel_on_a_scale():
    """Simonyan et al. 2013: the largest absolute value over the channels."""
    raw = np.zeros((2, 3, 3), np.float32)
    raw[0, 0], raw[0, 1], raw[1, 2] = [1, -4, 2], [2, 0, 0], [0, 0, -1]
    result = made(raw=raw, heatmap=np.abs(raw).max(axis=-1) / 4, options={})
    limit = np.percentile(result.heatmap, 99)
    wanted = mpl.colormaps["gray"](np.minimum(result.heatmap / limit, 1))[..., :3]
    np.testing.assert_allclose(result.picture(colormap="gray"), 255 * wanted, atol=0.5)
    axes = result.plot()
    *_, bar = axes.figure.axes
    assert bar.get_ylabel() == "of the map's 99th percentile"
    assert [made(raw=raw).look, result.look, made().look] == ["channels", "pixels", "overlay"]


@pytest.mark.thinned(1)
@pytest.mark.parametrize("method", ["saliency", "smooth_grad", "integrated_gradients"])
def test_maps_of_pixels_are_grey_only_where_they_are_guided(method):
    model, image = networks.flat(), networks.pictures(1)[0]
    result = tfcam.explain(model, image, method=method, target=1)
    np.testing.assert_allclose(
        result.heatmap, np.abs(result.raw).max(-1) / np.abs(result.raw).max()
    )
    assert result.look == "pixels"
    for guided in ("guided_backprop", "deconvnet", "guided_grad_cam"):
        assert tfcam.explain(model, image, method=guided, target=1).look == "channels"


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
    told = {"words": [], "text": "", "spans": [], "verification": None}
    return facts | {"parts": list(PARTS), **told}


@pytest.mark.parametrize("raw_shape", [(1, 2), (2, 3, 3)])
def test_a_png_holds_the_picture_and_the_facts(tmp_path, raw_shape):
    raw = np.random.default_rng(0).normal(size=raw_shape).astype(np.float32)
    result, path = made(raw=raw), tmp_path / "a.png"
    assert result.save(path) == path
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), result.picture())
        assert json.loads(image.text["tfcam"]) == saved_facts(result)


def test_a_png_holds_the_facts_of_a_verification(tmp_path):
    path = made(verification=VERIFICATION).save(tmp_path / "a.png")
    with Image.open(path) as image:
        facts = json.loads(image.text["tfcam"])["verification"]
    assert facts["checks"] == [dataclasses.asdict(check) for check in VERIFICATION.checks]
    assert not {"falls", "image", "heatmap"} & set(facts)


def test_what_is_attached_is_checked_when_it_is_loaded(tmp_path):
    odd = dataclasses.replace(VERIFICATION, falls=np.arange(3))
    with pytest.raises(ValueError, match=r"falls is an array \(3,\) of int64"):
        Explanation.load(made(verification=odd).save(tmp_path / "a.npz"))
    none = dataclasses.replace(VERIFICATION, checks=())
    with pytest.raises(ValueError, match="it holds no answers"):
        Explanation.load(made(verification=none).save(tmp_path / "b.npz"))


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
    "text": "good Kätzchen",
    "spans": ((0, 4), (5, 13)),
    "verification": VERIFICATION,
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


@pytest.mark.thinned(8)
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
    notes = "no_labels; one_position"
    assert axes.figure.get_supxlabel() == (f"mid grey is zero; {notes}" if pixels else notes)
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


def several(count=3, **changes):
    """Explanations of as many pictures, of which no two are alike."""
    return Explanations(
        [
            made(image=np.roll(IMAGE, n, axis=1), label=f"class {n}", parts={}, **changes)
            for n in range(count)
        ]
    )


def drawn(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_a_batch_is_drawn_each_picture_beside_its_map():
    results = several()
    figure = results.plot()
    wanted = [each for one in results for each in (one.image, one.picture())]
    shown = drawn(figure)
    assert len(shown) == 8  # two rows of four, the last two of them blank
    for picture, expected in zip(shown, wanted, strict=False):
        np.testing.assert_array_equal(picture, expected)
    assert all((blank == 255).all() for blank in shown[6:])
    texts = [each.get_text() for each in figure.texts]
    for number in range(3):
        assert f"class {number}, probability 0.1" in texts
    assert "grad_cam at block5/conv_3:1" in texts  # said once
    figure.canvas.draw()


def test_classes_of_one_picture_are_drawn_beside_it():
    results = Explanations([made(label=name, parts={}) for name in ("cat", "dog")])
    shown = drawn(results.plot(0.3, "jet"))
    for picture, expected in zip(
        shown, [IMAGE, *(each.picture(0.3, "jet") for each in results)], strict=True
    ):
        np.testing.assert_array_equal(picture, expected)


def test_pictures_of_all_shapes_stand_inside_the_figure():
    sizes = [(2, 30), (30, 2), (8, 8), (1, 1), (700, 1400)]
    results = Explanations(
        [
            made(
                image=np.zeros((*size, 3), np.uint8),
                heatmap=np.zeros(size, np.float32),
                label="a label of many words, $\\no$ formula, " * 2,
            )
            for size in sizes
        ]
    )
    figure = results.plot()
    figure.canvas.draw()
    assert figure.get_figwidth() <= 9.01
    assert figure.get_figheight() < 14
    for each in [*figure.texts, *(axes for axes in figure.axes)]:
        box = each.get_window_extent()
        assert box.x0 >= -1
        assert box.x1 <= figure.bbox.x1 + 1
        assert box.y0 >= -1
        assert box.y1 <= figure.bbox.y1 + 1


def test_of_very_many_the_first_are_drawn():
    figure = several(40).plot()
    assert len(drawn(figure)) == 64
    assert "The first 32 of 40 are drawn." in [each.get_text() for each in figure.texts]


def test_signed_maps_of_a_batch():
    results = several(2, raw=MIXED["raw"])
    for picture, each in zip(drawn(results.plot(signed=True))[1::2], results, strict=True):
        np.testing.assert_array_equal(picture, each.picture(signed=True))


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
@pytest.mark.thinned(1, rest="slow")
def test_a_batch_is_saved_and_shown(tmp_path, ending):
    results = several()
    path = results.save(tmp_path / f"a.{ending}")
    assert path.read_bytes()[:4] == {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xm"}[ending]
    with Image.open(io.BytesIO(results._repr_png_())) as image:
        image.load()
    page = results._repr_html_()
    assert "class 2, probability 0.1" in page
    assert plt.get_fignums() == []


def test_a_batch_that_can_not_be_drawn_is_told(tmp_path):
    nothing = Explanations([])
    assert nothing._repr_png_() is None
    for draw in (nothing.plot, lambda: nothing.save(tmp_path / "a.png")):
        with pytest.raises(ValueError, match="must be an explanation to draw; these are none"):
            draw()
    with pytest.raises(ValueError, match=r"saved as \.png, \.pdf or \.svg; got"):
        several().save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="signed map is of one layer"):
        Explanations([made()]).plot(signed=True)
    with pytest.raises(ValueError, match="No matplotlib colormap"):
        several().plot(colormap="infernal")
    assert list(tmp_path.iterdir()) == []


# --- one rule -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["show", "plot", "save"])
def test_plot_gives_axes_of_one_picture_and_a_figure_of_several(name):
    """Axes where ``ax`` can be given, else a figure; so does ``show``, and ``save`` a path."""
    for owner in (getattr(tfcam, name) for name in tfcam.__all__):
        function = getattr(owner, name, None) if inspect.isclass(owner) else None
        if function is None or issubclass(owner, keras.Model):
            continue
        given = inspect.signature(function)
        wanted = "Path" if name == "save" else "Axes" if "ax" in given.parameters else "Figure"
        assert given.return_annotation == wanted, owner


def given_by(kind, values):
    """Pictures as people hold them, and how each is changed afterwards."""
    if kind == "PIL":
        return Image.fromarray(values)
    if kind == "variable":
        return tf.Variable(values)
    return values


@pytest.mark.parametrize("kind", ["uint8", "grey", "rgba", "float", "PIL", "variable"])
def test_a_picture_that_is_changed_afterwards_does_not_change_what_was_explained(kind):
    model = networks.flat()
    shape = {"grey": (12, 12, 1), "rgba": (12, 12, 4)}.get(kind, (12, 12, 3))
    values = np.random.default_rng(0).integers(1, 255, shape, np.uint8)
    values = values.astype(np.float32) if kind == "float" else values
    image = given_by(kind, values)
    asked = {"preprocess": None if kind == "float" else "unit", "target": 1}
    explainer = tfcam.Explainer(model, preprocess=asked["preprocess"])
    results = [tfcam.explain(model, image, **asked), explainer(image, 1), explainer([image], 1)[0]]
    before = [each.image.copy() for each in results]
    if kind == "PIL":
        image.paste((0, 0, 0), (0, 0, 12, 12))
    elif kind == "variable":
        image.assign(tf.zeros_like(image))
    else:
        image[:] = 0
    for result, picture in zip(results, before, strict=True):
        np.testing.assert_array_equal(result.image, picture)
        assert picture.any()


def test_nor_does_a_series_or_a_volume():
    for given, layer in [((8, 2), keras.layers.Conv1D), ((4, 4, 4, 1), keras.layers.Conv3D)]:
        pool = keras.layers.GlobalAveragePooling1D if len(given) == 2 else None
        pool = pool or keras.layers.GlobalAveragePooling3D
        model = keras.Sequential(
            [keras.Input(given), layer(3, 3, padding="same"), pool(), keras.layers.Dense(2)]
        )
        values = np.ones(given, np.float32)
        result = tfcam.explain(model, values, target=0)
        values[:] = 0
        assert (result.image == 1).all()
