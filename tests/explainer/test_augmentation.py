"""Views of an image, maps averaged over them, and maps of first principal components."""

import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks, replicas
from tests.tolerances import ROUNDED, relative, rounding
from tfcam.explainer import augmentation as views
from tfcam.explainer.augmentation import OTHERS, View
from tfcam.model.graph import graph_of
from tfcam.model.taps import resolve
from tfcam.passes.submodel import SubModel

ALL = (View(False, 1.0), *OTHERS)


# --- views ----------------------------------------------------------------------------------


def zoomed(images, zoom):
    """Things ``zoom`` times as large about the centre, bilinear, 0 outside; (B, H, W, C)."""
    batch, height, width, channels = images.shape
    out = np.zeros((batch, height, width, channels))
    for i in range(height):
        for j in range(width):
            y = (height - 1) / 2 + (i - (height - 1) / 2) / zoom
            x = (width - 1) / 2 + (j - (width - 1) / 2) / zoom
            if not (0 <= y <= height - 1 and 0 <= x <= width - 1):
                continue
            y0, x0 = min(int(y), height - 2), min(int(x), width - 2)
            for v, p in ((y0, y0 + 1 - y), (y0 + 1, y - y0)):
                for u, q in ((x0, x0 + 1 - x), (x0 + 1, x - x0)):
                    out[:, i, j] += p * q * images[:, v, u]
    return out


def seen(view, images):
    """The replica of ``View.see``."""
    images = zoomed(images.astype(np.float64), view.zoom)
    return images[:, :, ::-1] if view.flip else images


def undone(view, maps):
    """The replica of ``View.undo``."""
    maps = maps[:, :, ::-1] if view.flip else maps
    return zoomed(maps, 1 / view.zoom)


def averaged(maps):
    """The replica of ``average``, of the maps of all views: each position where it is shown."""
    shown = [undone(view, np.ones(each.shape)) for view, each in zip(ALL, maps, strict=True)]
    total = sum(undone(view, each) for view, each in zip(ALL, maps, strict=True))
    return total / sum(shown)


def test_there_are_six_views_and_one_is_the_image_as_it_is():
    assert len(ALL) == len(set(ALL)) == 6
    assert {(view.flip, view.zoom) for view in ALL} == {
        (flip, zoom) for flip in (False, True) for zoom in (0.9, 1.0, 1.1)
    }


@pytest.mark.parametrize("zoom", [0.9, 1.1, 1.5])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(12, 12), (7, 10)])
def test_see_and_undo_equal_their_replicas(rng, size, flip, zoom):
    images = rng.normal(0, 1, (2, *size, 3)).astype(np.float32)
    view = View(flip, zoom)
    # TensorFlow's positions are float32, of up to 12 pixels, times the slope from pixel to pixel.
    off = rounding(12.0, count=1) * np.ptp(images)
    np.testing.assert_allclose(view.see(images), seen(view, images), atol=off)
    np.testing.assert_allclose(view.undo(tf.constant(images)), undone(view, images), atol=off)


def test_a_mirrored_view_by_hand():
    images = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    assert View(True, 1.0).see(images)[0, ..., 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert View(False, 1.0).see(images)[0, ..., 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    # Twice as near, three pixels show what lies half a pixel around the middle one.
    row = np.array([0, 4, 8], np.float32).reshape(1, 1, 3, 1)
    assert View(False, 2.0).see(row).ravel().tolist() == [2, 4, 6]
    assert View(True, 2.0).see(row).ravel().tolist() == [6, 4, 2]
    # Twice as far, the outer two show what lies outside.
    assert View(False, 0.5).see(row).ravel().tolist() == [0, 4, 0]


def test_mirrored_twice_is_the_image(rng):
    images = rng.normal(0, 1, (2, 5, 6, 3)).astype(np.float32)
    view = View(True, 1.0)
    np.testing.assert_array_equal(view.see(view.see(images)), images)
    np.testing.assert_array_equal(view.undo(tf.constant(view.see(images))), images)


@pytest.mark.parametrize("view", OTHERS)
def test_a_view_undone_is_the_image_but_for_its_rim(view):
    y, x = np.mgrid[:40, :30] / 40
    smooth = np.stack([np.sin(3 * x + y), np.cos(2 * y) * x], -1)[None].astype(np.float32)
    again = view.undo(tf.constant(view.see(smooth))).numpy()
    np.testing.assert_allclose(again[:, 4:-4, 4:-4], smooth[:, 4:-4, 4:-4], atol=2e-3)
    # Linear pictures are met exactly.
    ramp = (x + 2 * y)[None, ..., None].astype(np.float32)
    again = view.undo(tf.constant(view.see(ramp))).numpy()
    np.testing.assert_allclose(again[:, 4:-4, 4:-4], ramp[:, 4:-4, 4:-4], atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 7, 7), (1, 4, 9), (2, 12, 12, 3), (1, 1, 1)])
def test_maps_that_are_the_same_everywhere_stay_so(shape):
    maps = np.full(shape, 2.5, np.float32)
    found = views.average(maps, [maps] * 5)
    assert found.shape == shape
    np.testing.assert_allclose(found, maps, rtol=ROUNDED)


def test_the_average_equals_the_replica(rng):
    maps = rng.normal(0, 1, (6, 2, 7, 8, 3)).astype(np.float32)
    assert relative(views.average(maps[0], maps[1:]), averaged(maps.astype(np.float64))) < ROUNDED
    flat = maps[..., 0]
    wanted = averaged(maps[..., :1].astype(np.float64))[..., 0]
    assert relative(views.average(flat[0], flat[1:]), wanted) < ROUNDED


# --- augment=True ---------------------------------------------------------------------------


@pytest.mark.thinned(1)
@pytest.mark.parametrize("target", [None, 1])
@pytest.mark.parametrize(
    ("method", "layer"),
    [("grad_cam", "first"), ("grad_cam", "features"), ("saliency", None), ("cam", None)],
)
def test_the_augmented_map_is_the_average_over_views(method, layer, target):
    model, x = networks.flat(), networks.pictures(2)
    results = tfcam.explain(model, x, layer, target=target, method=method, augment=True)
    plain = tfcam.explain(model, x, layer, target=target, method=method)
    # The class is that of the image as it is, whatever the views would be taken for.
    fixed = [each.target for each in plain]
    by_view = [
        tfcam.explain(model, view.see(x), layer, target=fixed, method=method).raws for view in ALL
    ]
    wide = [np.atleast_3d(each).reshape(*each.shape[:3], -1).astype(np.float64) for each in by_view]
    assert relative(results.raws, averaged(wide).reshape(plain.raws.shape)) < 1e-5
    assert relative(results.raws, plain.raws) > 1e-2
    for each, other, row in zip(results, plain, x, strict=True):
        assert (each.target, each.score) == (other.target, other.score)
        assert each.options["augment"] is True
        assert "augment" not in other.options
        np.testing.assert_array_equal(each.image, other.image)
        alone = tfcam.explain(model, row, layer, target=each.target, method=method, augment=True)
        assert relative(alone.raw, each.raw) < 1e-5
    shown = tfcam.maps.heatmap(results[0].raw, (12, 12))
    np.testing.assert_allclose(results[0].heatmap, shown, atol=ROUNDED)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("method", ["grad_cam", "score_cam", "integrated_gradients", "deconvnet"])
def test_a_mirrored_image_has_the_mirrored_map(method):
    """The views of an image are those of its mirror image: so for any network."""
    model, x = networks.flat(), networks.pictures(2)
    found, mirrored = (
        tfcam.explain(model, each, target=1, method=method, augment=True).raws
        for each in (x, x[:, :, ::-1])
    )
    assert relative(mirrored, found[:, :, ::-1]) < 1e-5
    plain, other = (
        tfcam.explain(model, each, target=1, method=method).raws for each in (x, x[:, :, ::-1])
    )
    assert relative(other, plain[:, :, ::-1]) > 1e-2


@pytest.mark.slow
def test_the_symmetry_holds_for_several_targets_layers_and_methods():
    model, x = networks.flat(), networks.pictures(1)[0]
    for options in (
        {"target": tfcam.Top(2)},
        {"target": [0, lambda outputs: outputs[:, 1], tfcam.Difference(2, 0)]},
        {"target": 1, "layer": ["first", "features"]},
        {"target": 1, "eigen": True},
    ):  # not finer_cam: its contrast is that of the image as it is, mirrored or not
        found, mirrored = (
            tfcam.explain(model, each, augment=True, **options) for each in (x, x[:, ::-1])
        )
        if isinstance(found, tfcam.Explanation):
            found, mirrored = [found], [mirrored]
        for each, other in zip(found, mirrored, strict=True):
            assert relative(other.raw, each.raw[:, ::-1]) < 1e-4
            for path, part in each.parts.items():
                assert relative(other.parts[path], part[:, ::-1]) < 1e-4


def test_each_of_several_targets_is_augmented_as_if_alone():
    model, x = networks.flat(), networks.pictures(1)[0]
    best = tfcam.explain(model, x, target=tfcam.Top(2), augment=True)
    listed = tfcam.explain(model, x, target=[each.target for each in best], augment=True)
    for each, again in zip(best, listed, strict=True):
        alone = tfcam.explain(model, x, target=each.target, augment=True)
        assert relative(each.raw, alone.raw) < 1e-5
        assert relative(again.raw, alone.raw) < 1e-5


@pytest.mark.slow
def test_a_batch_is_augmented_in_parts():
    model, x = networks.flat(), networks.pictures(5)
    target = [0, 1, 2, None, lambda outputs: outputs[:, 0]]
    wanted = tfcam.explain(model, x, target=target, augment=True).raws
    for size in (1, 2):
        found = tfcam.explain(model, x, target=target, augment=True, batch_size=size).raws
        assert relative(found, wanted) < 1e-5


# --- eigen=True -----------------------------------------------------------------------------


def component(weighted, towards):
    """A v_1 of positions x channels by SVD, with a positive inner product with ``towards``."""
    matrix = weighted.reshape(-1, weighted.shape[-1]).astype(np.float64)
    _, _, Vt = np.linalg.svd(matrix, full_matrices=False)
    found = matrix @ Vt[0]
    return (found * np.sign(found @ towards.ravel())).reshape(weighted.shape[:-1])


def readings(model, x, layer, target):
    sub = SubModel(graph_of(model), [resolve(graph_of(model), layer)])
    (read,), *_ = sub.read(tf.constant(x), tf.constant(target))
    return read.activations.numpy().astype(np.float64), read.gradients.numpy().astype(np.float64)


@pytest.mark.parametrize("layer", ["first", "features"])
def test_the_component_of_grad_cam_equals_the_replica(layer):
    model, x = networks.flat(), networks.pictures(3)
    found = tfcam.explain(model, x, layer, target=[0, 2, 1], eigen=True)
    for A, G, each in zip(*readings(model, x, layer, [0, 2, 1]), found, strict=True):
        wanted = component(G.mean((0, 1)) * A, replicas.grad_cam(A, G))
        # The first direction is known as well as the second singular value is far from it.
        assert relative(each.raw, wanted) < 2e-5
        assert each.options["eigen"] is True


@pytest.mark.parametrize("layer", ["first", "features"])
def test_the_component_of_hires_cam_is_eigen_grad_cam_but_for_its_sign(layer):
    model, x = networks.flat(), networks.pictures(3)
    found = tfcam.explain(model, x, layer, target=1, method="hires_cam", eigen=True).raws
    other = tfcam.explain(model, x, layer, target=1, method="eigen_grad_cam").raws
    for each, wanted in zip(found, other, strict=True):
        assert min(relative(each, wanted), relative(-each, wanted)) < 1e-5


COMBINED = [
    "cam", "grad_cam", "grad_cam_pp", "x_grad_cam", "hires_cam", "layer_cam",
    "grad_cam_elementwise", "smooth_grad_cam_pp", "score_cam", "ablation_cam", "finer_cam",
]  # fmt: skip


@pytest.mark.parametrize("method", COMBINED)
@pytest.mark.thinned(5)
def test_a_component_agrees_with_the_plain_map(method):
    model, x = networks.flat(), networks.pictures(3)
    plain = tfcam.explain(model, x, target=1, method=method).raws
    found = tfcam.explain(model, x, target=1, method=method, eigen=True).raws
    assert found.shape == plain.shape
    for each, other in zip(found, plain, strict=True):
        assert (each * other).sum() > 0
        assert relative(each / np.abs(each).max(), other / np.abs(other).max()) > 1e-3


@pytest.mark.parametrize("method", ["saliency", "smooth_grad", "integrated_gradients"])
@pytest.mark.thinned(1)
def test_the_component_of_a_map_of_pixels_is_one_for_all_channels(method):
    model, x = networks.flat(), networks.pictures(3)
    plain = tfcam.explain(model, x, target=1, method=method).raws
    results = tfcam.explain(model, x, target=1, method=method, eigen=True)
    assert results.raws.shape == (3, 12, 12)
    for each, other in zip(results, plain.astype(np.float64), strict=True):
        assert relative(each.raw, component(other, other.sum(-1))) < 2e-5
        assert each.heatmap.max() == 1


def test_components_of_several_layers():
    model, x = networks.flat(), networks.pictures(2)
    results = tfcam.explain(model, x, ["first", "features"], target=1, eigen=True)
    for path in ("first", "features"):
        single = tfcam.explain(model, x, path, target=1, eigen=True)
        for each, alone in zip(results, single, strict=True):
            assert relative(each.parts[path], alone.raw) < ROUNDED


def test_a_component_by_hand():
    x = np.zeros((2, 2, 2), np.float32)
    x[..., 0], x[..., 1] = [[1, 0], [0, 3]], [[0, 2], [0, 0]]
    result = tfcam.explain(networks.hand_set(), x, "conv", target=0, method="cam", eigen=True)
    # Weighted channels 2 (1 0; 0 3) and -4 (0 2; 0 0) do not overlap; the second is larger, with
    # 8 against sqrt(4 + 36), and its sum is negative.
    np.testing.assert_allclose(result.raw, [[0, -8], [0, 0]], atol=1e-5)
