"""Pictures explained tile by tile: the map of the whole where the network is local."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam import maps
from tfcam.explainer.tiling import Whole, explain_tiles

TILE = (16, 24)


def local(sides=(None, None)):
    """Each cell of 4 x 4 pixels is seen by itself, so that tiles change nothing."""
    inputs = keras.Input((*sides, 3))
    x = layers.Conv2D(8, 4, strides=4, activation="relu", name="cells")(inputs)
    x = layers.Conv2D(8, 1, activation="relu", name="mixed")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    return networks.seeded(model)


@pytest.fixture
def picture(rng):
    """51 x 67 pixels: neither side holds whole tiles."""
    return rng.integers(0, 256, (52, 68, 3)).astype(np.uint8)


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "saliency", "gradient_input"])
def test_of_a_local_network_tiles_give_the_map_of_the_whole(picture, method):
    options = {"target": 1, "method": method, "preprocess": "unit"}
    whole = tfcam.explain(local(), picture, **options)
    tiled = tfcam.explain(local(TILE), picture, tile=TILE, batch_size=4, **options)
    assert tiled.heatmap.max() == 1
    np.testing.assert_allclose(tiled.heatmap, whole.heatmap, atol=1e-5)
    scale = np.abs(tiled.raw).max() / np.abs(whole.raw).max()  # a tile averages fewer cells
    np.testing.assert_allclose(tiled.raw, scale * whole.raw, atol=1e-5 * np.abs(tiled.raw).max())
    np.testing.assert_array_equal(tiled.image, picture)
    assert (tiled.target, tiled.options["tile"]) == (1, TILE)


def test_each_tile_is_explained_once(picture):
    explainer, asked, done = tfcam.Explainer(local(TILE), preprocess="unit"), [], []

    def explain(pieces):
        asked.extend(piece.tobytes() for piece in pieces)
        return [[one] for one in explainer(np.stack(pieces), 1)]

    explain_tiles(explain, Whole(picture), TILE, 1, advance=done.append)
    assert len(asked) == len(set(asked)) == sum(done) > 20


def test_a_tile_is_faint_beside_one_with_much_more(picture):
    """Bright at the right alone: no tile is scaled by itself, and the edge is not a seam."""
    picture = picture // 32
    picture[:, 40:] *= 8
    model = local(TILE)
    tiled = tfcam.explain(model, picture, target=1, tile=TILE, preprocess="unit")
    assert tiled.heatmap[:, 44:].max() > 3 * tiled.heatmap[:, :36].max()


@pytest.mark.parametrize("sides", [(16, 24), (9, 70), (53, 67), (16, 25)])
def test_any_picture_has_a_map_of_its_own_size(rng, sides):
    """Smaller than a tile, as large, and sides that hold no whole number of cells."""
    picture = rng.integers(0, 256, (*sides, 3)).astype(np.uint8)
    explainer = tfcam.Explainer(local(TILE), tile=TILE, preprocess="unit", batch_size=3)
    result, again = explainer([picture, picture], 2)
    assert result.heatmap.shape == sides == again.heatmap.shape
    assert np.isfinite(result.heatmap).all()
    assert result.heatmap.any()
    prepared = explainer.prepared()(picture.astype(np.float32) / 255, 2)
    np.testing.assert_allclose(prepared.heatmap, result.heatmap, atol=1e-5)
    if sides == TILE:
        plain = tfcam.explain(local(TILE), picture, target=2, preprocess="unit")
        np.testing.assert_allclose(result.heatmap, plain.heatmap, atol=1e-5)
        assert result.score == pytest.approx(plain.score, rel=1e-5)


def test_a_map_whose_cells_are_no_whole_pixels_is_cut_before_it_is_resized(rng):
    """The papers' order, as without tiles: 15 pixels to 7 cells."""
    inputs = keras.Input((15, 15, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    model = networks.seeded(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    picture = rng.integers(0, 256, (15, 15, 3)).astype(np.uint8)
    options = {"target": 1, "method": "hires_cam", "preprocess": "unit"}
    plain = tfcam.explain(model, picture, **options)
    assert plain.raw.min() < 0 < plain.raw.max()
    tiled = tfcam.explain(model, picture, tile=(15, 15), **options)
    np.testing.assert_allclose(tiled.heatmap, plain.heatmap, atol=1e-5)
    late = np.maximum(tfcam.maps.resize(plain.raw, (15, 15)), 0)
    assert np.abs(plain.heatmap - late / late.max()).max() > 0.05  # they can be told apart


def two_layers():
    """Cells of 8 and of 12 pixels, none a multiple of the other."""
    inputs = keras.Input((24, 24, 3))
    fine = layers.Conv2D(4, 8, strides=8, activation="relu", name="fine")(inputs)
    coarse = layers.Conv2D(4, 12, strides=12, activation="relu", name="coarse")(inputs)
    pooled = [layers.GlobalAveragePooling2D()(each) for each in (fine, coarse)]
    return networks.seeded(keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(pooled))))


def test_layers_are_fused_over_the_whole_picture(picture):
    """Not tile by tile, each of which would then be as bright as any other."""
    picture = picture // 32
    picture[:, 40:] *= 8
    places, shared = ["cells", "mixed"], {"target": 1, "preprocess": "unit", "method": "layer_cam"}
    options = {**shared, "fuse": "mean"}
    whole = tfcam.explain(local(), picture, places, **options)
    tiled = tfcam.explain(local(TILE), picture, places, tile=TILE, **options)
    np.testing.assert_allclose(tiled.heatmap, whole.heatmap, atol=1e-5)
    np.testing.assert_array_equal(tiled.raw, tiled.heatmap)
    for name in places:
        own = tfcam.explain(local(TILE), picture, name, tile=TILE, **shared)
        np.testing.assert_allclose(tiled.parts[name], own.raw, atol=1e-5)


def test_layers_whose_cells_do_not_fit_each_other_are_fused_pixel_by_pixel(rng):
    """No two tiles that overlap begin at cells of both."""
    model, picture = two_layers(), rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    options = {"target": 1, "preprocess": "unit", "method": "layer_cam"}
    places, tile = ["fine", "coarse"], (24, 24)
    tiled = tfcam.explain(model, picture, places, tile=tile, **options)
    assert [part.shape for part in tiled.parts.values()] == [(30, 40)] * 2
    one = tfcam.explain(model, picture[:24, :24], places, **options)
    alone = tfcam.explain(model, picture[:24, :24], places, tile=tile, **options)
    np.testing.assert_allclose(alone.heatmap, one.heatmap, atol=1e-5)


def test_each_picture_of_a_batch_has_its_own_class(picture):
    picture = picture[:20, :30]
    explainer = tfcam.Explainer(local(TILE), tile=TILE, preprocess="unit")
    for targets in ([1, 2], np.array([1, 2])):
        found = explainer([picture, picture], targets)
        assert [each.target for each in found] == [1, 2]
        for each in found:
            wanted = explainer(picture, each.target).raw
            np.testing.assert_allclose(each.raw, wanted, atol=1e-6)
    with pytest.raises(ValueError, match="one for each image"):
        explainer([picture, picture], [1, 2, 0])
    with pytest.raises(ValueError, match="name the class by target="):
        explainer([picture, picture], [1, None])
    with pytest.raises(ValueError, match="A batch must hold at least one image"):
        explainer([], 1)


def test_values_in_a_window_are_those_of_the_whole(picture):
    """A tile of them is not windowed twice."""
    picture = picture[:20, :30]
    values = picture[..., 0].astype(np.int16) * 8 - 1000
    window = tfcam.images.Window(-1000, 8 * 255 - 1000, "unit")
    grey = np.repeat(picture[..., :1], 3, axis=-1)
    wanted = tfcam.explain(local(TILE), grey, target=1, tile=TILE, preprocess="unit")
    found = tfcam.explain(local(TILE), values, target=1, tile=TILE, preprocess=window)
    np.testing.assert_allclose(found.raw, wanted.raw, atol=1e-5)
    np.testing.assert_array_equal(found.image, grey)
    assert found.preprocessing == f"-1000..1040 as 0..255: {wanted.preprocessing}"


@pytest.mark.parametrize("preprocess", ["unit", "auto"])
def test_floats_of_a_dark_tile_are_pixels_as_those_of_the_others_are(picture, preprocess):
    picture = picture[:28, :40].copy()
    picture[:18, :26] //= 200
    inputs = keras.Input((*TILE, 3))
    scaled = inputs if preprocess == "unit" else layers.Rescaling(255.0)(inputs)
    x = layers.Conv2D(4, 4, strides=4, activation="relu")(scaled)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    options = {"target": 1, "tile": TILE, "preprocess": preprocess}
    wanted = tfcam.explain(networks.seeded(model), picture, **options)
    found = tfcam.explain(model, picture.astype(np.float32), **options)
    np.testing.assert_allclose(found.raw, wanted.raw, atol=1e-5 * np.abs(wanted.raw).max())
    np.testing.assert_array_equal(found.image, picture)
    prefix = "floats of 0..255 as pixels: " if preprocess == "auto" else ""
    assert found.preprocessing == prefix + wanted.preprocessing


def test_a_signed_map_lies_where_the_heatmap_does(rng):
    """A picture of half a cell more than whole ones."""
    picture = rng.integers(0, 256, (18, 26, 3)).astype(np.uint8)
    result = tfcam.explain(local(TILE), picture, target=1, tile=TILE, preprocess="unit")
    assert (result.raw.shape, result.options["tile_cell"]) == ((5, 7), (4, 4))
    wide = maps.resize(result.raw, (20, 28))[:18, :26]
    np.testing.assert_allclose(result.signed_heatmap, wide / np.abs(wide).max(), atol=1e-6)
    wanted = maps.scale(maps.evidence(result.raw, (20, 28))[:18, :26])
    np.testing.assert_allclose(result.heatmap, wanted, atol=1e-6)
    odd = replace(result, options={**result.options, "tile_cell": [3, 4]})
    with pytest.raises(ValueError, match=r"in cells of \[3, 4\] is of no picture of \(18, 26\)"):
        _ = odd.signed_heatmap


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": None}, "name the class by target="),
        ({"target": [0, 1]}, "name the class by target="),
        ({"target": tfcam.Top(2)}, "name the class by target="),
        ({"tile": (16,)}, r"tile must be \(height, width\), in pixels; got \(16,\)"),
        ({"tile": (16, 0)}, r"tile must be \(height, width\)"),
        ({"verify": True}, "leave tile= out"),
    ],
)
def test_what_tiles_cannot_do_is_refused(picture, options, said):
    asked = {"target": 1, "tile": TILE, "preprocess": "unit"} | options
    with pytest.raises(ValueError, match=said):
        tfcam.explain(local(TILE), picture, **asked)
    with pytest.raises(ValueError, match="can't be exported"):
        tfcam.Explainer(local(TILE), tile=TILE).export("folder", 1)


def test_a_map_that_is_not_finite_in_one_tile_is_said(picture):
    values = picture.astype(np.float32) / 255
    values[-4:, -4:] = 1e3

    def broken(reading):
        total = tf.reduce_sum(reading.activations, axis=-1)
        return tf.where(total > 50, np.nan, total)

    options = {"target": 1, "method": broken, "preprocess": None}
    result = tfcam.explain(local(TILE), values, "cells", tile=TILE, **options)
    assert "not_finite" in [each.code for each in result.findings]
    assert not result.heatmap.any()
