"""Pictures explained tile by tile: the map of the whole where the network is local."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam.explainer.tiling import explain_tiles

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
        return explainer(np.stack(pieces), 1)

    explain_tiles(explain, picture, TILE, 1, advance=done.append)
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
