"""The slides' experiment: its core on a few photos, its table and its intervals."""

import numpy as np
import pytest

import tfcam
from tfcam import maps
from tfcam.images.loading import resize_image
from training import evaluation_slides as slides
from training.evaluation_slides import Photo


def test_the_interval_is_that_of_the_bootstrap(rng):
    values = rng.normal(0.5, 0.1, 100)
    mean, rest = slides.interval(values).split(" [")
    low, high = (float(each) for each in rest.rstrip("]").split(", "))
    assert float(mean) == pytest.approx(values.mean(), abs=1e-4)
    half = 1.96 * values.std() / np.sqrt(100)  # what the bootstrap of a mean comes to
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_whole_picture_by_hand():
    boxes = np.array([[0, 0, 10, 5], [2, 0, 6, 2]], float)
    photo = Photo(np.zeros((10, 10, 3), np.uint8), boxes)
    assert slides.whole_picture_iou(photo) == 0.5


def test_the_baselines_are_heatmaps_of_the_pictures_size(rng):
    image = np.zeros((30, 50, 3), np.uint8)
    image[:, 25:] = 255
    drawn = {name: draw(image, rng) for name, draw in slides.BASELINES.items()}
    for heatmap in drawn.values():
        assert heatmap.shape == (30, 50)
        assert heatmap.min() >= 0
        assert heatmap.max() == 1
    assert set(np.flatnonzero(drawn["Sobel edges"][15])) == {24, 25}
    assert np.argwhere(drawn["centre Gaussian"] == 1).mean(axis=0).tolist() == [14.5, 24.5]


def test_the_table_has_the_means_and_the_differences_on_the_same_images():
    measured = {name: np.full((3, 3), 0.1 * n) for n, name in enumerate(slides.METHODS)}
    rows = slides.table(measured, np.array([0.5, 0.7])).splitlines()
    assert rows[2].startswith("| cam | +0.0000 [+0.0000, +0.0000] |")
    assert rows[-2].startswith("| grad_cam_pp less cam | +0.2000 [+0.2000, +0.2000] |")
    assert rows[-1].startswith("| whole picture as the box | | | +0.6000 ")
    assert {row.count("|") for row in rows} == {5}


@pytest.mark.product
def test_four_photos_are_measured_as_they_would_be_by_hand(data, mobilenet):
    folder = data / "tensorflow_datasets"
    if not folder.is_dir():
        pytest.skip("Stanford Dogs is needed in TFCAM_TEST_DATA/tensorflow_datasets")
    photos = list(slides.read_dogs(folder, "test[:4]"))
    assert len(photos) == 4
    for photo in photos:
        height, width = photo.image.shape[:2]
        assert (photo.boxes[:, :2] >= -1).all()
        assert (photo.boxes[:, 2:] <= (width + 1, height + 1)).all()
        assert (photo.boxes[:, 2:] > photo.boxes[:, :2]).all()
    measured = slides.measure(mobilenet, photos, batch_size=3)
    assert list(measured) == [*slides.METHODS, *slides.BASELINES]
    np.testing.assert_allclose(measured["grad_cam"], measured["cam"], atol=1e-3)  # one linear head
    for number, photo in enumerate(photos):
        result = tfcam.explain(mobilenet, photo.image, method="grad_cam_pp")
        x = resize_image(photo.image, (224, 224)) / np.float32(127.5) - 1
        L = maps.resize(result.heatmap, (224, 224))
        order = np.argsort(-L.ravel(), kind="stable")[: 224 * 224 // 4]
        without = x.copy().reshape(-1, 3)
        without[order] = 0
        images = np.stack([x, x * L[..., None], without.reshape(x.shape)])
        before, let_through, after = mobilenet(images).numpy()[:, result.target]
        ways = measured["grad_cam_pp"][number]
        np.testing.assert_allclose(ways[:2], [let_through - before, after - before], atol=1e-3)
        y, x = np.divmod(
            np.argsort(-result.heatmap.ravel(), kind="stable")[: round(result.heatmap.size / 4)],
            result.heatmap.shape[1],
        )
        box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])
        assert ways[2] == pytest.approx(max(maps.iou(box, each) for each in photo.boxes), abs=1e-6)
