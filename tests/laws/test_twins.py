"""What is computed in NumPy here and in TensorFlow there is the same number, on random inputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from scipy import ndimage

import tfcam
from tests.tolerances import ROUNDED, rounding
from tfcam import maps, metrics
from tfcam.explainer.export import prepare_pictures
from tfcam.feature_visualization.blur import blur_images
from tfcam.losses import outside_energy, squared_error
from tfcam.maps import tensors
from tfcam.model.graph import graph_of
from tfcam.preprocessing.modes import choose_preprocessing
from tfcam.preprocessing.prepare import prepare

# Both compute in float32, on numbers of at most 1.
CLOSE = {"rtol": ROUNDED, "atol": ROUNDED}
# Positions up to 100 are float32, too, and a sample lies between two pixels.
RESIZED = {"rtol": 0, "atol": rounding(100.0, count=2)}

SIZES = [
    ((7,), (30,)),
    ((30,), (7,)),
    ((7, 5), (64, 90)),
    ((1, 1), (5, 3)),
    ((40, 31), (12, 9)),
    ((3, 4, 5), (6, 9, 20)),
]


@pytest.fixture
def heats(rng):
    """Heatmaps (B, H, W) with equal values and empty ones among them."""
    values = np.round(rng.random((6, 9, 12)), 1).astype(np.float32)
    values[4] = 0
    return values


@pytest.mark.parametrize(("small", "size"), SIZES)
def test_maps_are_resized(rng, small, size):
    values = rng.normal(size=(2, *small, 3)).astype(np.float32)
    found = tensors.resized(tf.constant(values), size)
    np.testing.assert_allclose(found, [maps.resize(each, size) for each in values], **RESIZED)


@pytest.mark.parametrize("magnitude", [1e-15, 1.0, 1e15])
def test_maps_are_scaled(rng, magnitude):
    values = (magnitude * rng.normal(size=(5, 6, 7))).astype(np.float32)
    values[1], values[2] = 0, -np.abs(values[2])
    wanted = [maps.scale(each) for each in values]
    np.testing.assert_allclose(tensors.scaled(tf.constant(values)), wanted, **CLOSE)


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize(("small", "size"), SIZES)
def test_raw_maps_become_heatmaps(rng, small, size, channels):
    raws = rng.normal(size=(3, *small, *channels)).astype(np.float32)
    raws[0] = -1e-3  # empty, unless it is of pixels
    wanted = np.stack([maps.heatmap(each, size) for each in raws])
    # Divided by the maximum, which a small map has lost digits of, too.
    shown = np.abs(raws[1:]) if channels else raws[1:]
    largest = [maps.evidence(each, size).max() for each in shown]
    least = min(1.0, *(value for value in largest if value))
    tolerance = {"rtol": 0, "atol": 2 * RESIZED["atol"] / least}
    np.testing.assert_allclose(tensors.heatmaps(tf.constant(raws), size), wanted, **tolerance)


@pytest.mark.parametrize("how", ["max", "mean", "product", "tanh_max"])
def test_heatmaps_of_layers_are_fused(rng, how):
    stack = rng.random((3, 4, 8, 9)).astype(np.float32)
    stack[:, 2] = 0
    found = tensors.fused([tf.constant(layer) for layer in stack], how)
    wanted = [maps.fuse(list(stack[:, image]), how) for image in range(4)]
    np.testing.assert_allclose(found, wanted, **CLOSE)


def test_energy_is_measured_and_learnt(rng, heats):
    masks = rng.random(heats.shape) < 0.3
    found = outside_energy(tf.constant(heats), tf.constant(masks, tf.float32)).numpy()
    wanted = [1 - metrics.energy(*each) for each in zip(heats, masks, strict=True)]
    wanted[4] = 0  # a map of zeros looks nowhere: it has no energy, inside or outside
    assert metrics.energy(heats[4], masks[4]) == 0
    np.testing.assert_allclose(found, wanted, rtol=ROUNDED)


def test_a_learnt_map_is_scaled_as_a_heatmap_is(rng):
    raws = rng.normal(size=(4, 6, 7)).astype(np.float32)
    masks = rng.random(raws.shape).astype(np.float32)
    found = squared_error(tf.constant(raws), tf.constant(masks))
    wanted = [np.mean((maps.scale(r) - m) ** 2) for r, m in zip(raws, masks, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=ROUNDED)


def test_the_best_classes_are_ranked_as_pixels_are(rng):
    scores = np.round(rng.random((1, 40)), 1).astype(np.float32)  # many are equal
    pairs = tfcam.Top(40).pairs(tf.constant(scores)).numpy()
    assert pairs[:, 0].tolist() == maps.ranking(scores).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_detectors_box_is_the_one_that_overlaps_most(seed):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.random((30, 2, 2)) * 20, axis=1).reshape(-1, 4).astype(np.float32)
    scores = rng.permutation(30).astype(np.float32)
    outputs = np.concatenate([corners, scores[:, np.newaxis]], axis=1)[np.newaxis]
    for box in np.sort(rng.random((10, 2, 2)) * 20, axis=1).reshape(-1, 4):
        overlaps = maps.ious(corners, box[np.newaxis])[:, 0]
        found = float(tfcam.Box(0, box.tolist())(tf.constant(outputs))[0])
        assert found == (scores[overlaps.argmax()] if overlaps.max() > 0 else 0)


def test_the_cosine_of_features_is_the_target_similarity():
    kinds = ["star", "square", "star", "heart", "square", "heart"]
    pictures = [tfcam.scenes.draw_scene(n, kinds=[kind]).image for n, kind in enumerate(kinds)]
    found = tfcam.embed(tfcam.demo_model(), pictures, "stem_relu", classes=kinds)
    features = found.features[0]
    cosines = np.stack([tfcam.Similarity(each)(tf.constant(features)) for each in features])
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, unit @ unit.T, atol=ROUNDED)
    np.fill_diagonal(cosines, -1)
    near = [kinds[other] == kinds[n] for n, other in enumerate(cosines.argmax(axis=1))]
    assert found.neighbours[0] == pytest.approx(np.mean(near))


@pytest.mark.parametrize("width", [0.4, 1.5, 3.0])
def test_a_blur_with_a_gradient_is_the_blur_without(rng, width):
    images = rng.random((2, 20, 25, 3)).astype(np.float32)
    found = blur_images(tf.constant(images), width)
    wanted = ndimage.gaussian_filter(images, (0, width, width, 0), mode="reflect", truncate=4.0)
    np.testing.assert_allclose(found, wanted, **CLOSE)


@pytest.mark.parametrize("mode", ["raw", "unit", "tf", "torch", "caffe"])
def test_arrays_and_tensors_are_preprocessed(rng, mode):
    pixels = rng.integers(0, 256, (2, 4, 5, 3)).astype(np.float32)
    model = tfcam.demo_model()
    function = choose_preprocessing(graph_of(model), mode).function
    before = tf.constant(pixels)
    found = np.asarray(function(before))
    # Values up to 255, less up to 124 of the mean.
    np.testing.assert_allclose(found, function(pixels.copy()), rtol=0, atol=rounding(255.0))
    np.testing.assert_array_equal(before, pixels)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [(24, 32), (17, 50), (60, 61), (130, 200)])
def test_pictures_are_prepared_inside_a_graph(rng, size, channels):
    inputs = keras.Input((24, 32, channels))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(inputs)))
    small = rng.integers(0, 256, (2, 6, 8, 3), np.uint8)
    pictures = np.stack([tfcam.images.loading.resize_image(each, size) for each in small])
    graph, wanted = graph_of(model), prepare(graph_of(model), list(pictures), "raw").inputs
    preprocessing = choose_preprocessing(graph, "raw")
    found = prepare_pictures(tf.constant(pictures), graph.inputs[0], preprocessing).numpy()
    # OpenCV resizes bytes in fixed point: a value near a half may be rounded the other way, once
    # when the picture is averaged, once when it is stretched, once when it becomes grey.
    differences = found - wanted
    assert np.abs(differences).max() <= (1 if channels == 3 else 2)
    assert np.abs(differences).mean() < 0.25


def test_keras_metrics_are_the_means_of_their_functions(rng, heats):
    sides = np.sort(rng.integers(0, 9, (6, 2, 2)), axis=1).reshape(-1, 1, 4)
    boxes = list(sides + np.array([0, 0, 1, 1]))
    kinds = [0, 1, 1, 2, 2, 2]
    overlaps = [metrics.box_iou(*each) for each in zip(heats, boxes, strict=True)]
    hits = [metrics.pointing_game(*each) for each in zip(heats, boxes, strict=True)]
    overlap, best = metrics.BoxIoU(), metrics.MaxBoxAccuracy(version=2)
    pointing = metrics.PointingGame(classes=3)
    for metric in (overlap, best):
        metric.update_state(heats, boxes)
    pointing.update_state(heats, boxes, kinds)
    assert float(overlap.result()) == pytest.approx(np.mean(overlaps), rel=ROUNDED)
    assert float(best.result()) == pytest.approx(best.accuracies.max(axis=1).mean(), rel=ROUNDED)
    assert float(pointing.result()) == pytest.approx(metrics.mean_over_classes(hits, kinds))


def test_average_precision_is_that_of_the_sorted_pixels(rng, heats):
    from sklearn.metrics import average_precision_score

    masks = rng.random(heats.shape) < 0.3
    metric = metrics.PixelAveragePrecision(thresholds=np.arange(10) / 10)
    quantised = np.minimum(heats, np.float32(0.9))  # one threshold for each value that occurs
    metric.update_state(quantised, masks)
    wanted = average_precision_score(masks.ravel(), quantised.ravel())
    assert float(metric.result()) == pytest.approx(wanted, rel=ROUNDED)
