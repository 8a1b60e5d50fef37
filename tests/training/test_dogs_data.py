"""Stanford Dogs: its boxes stay true through the resizing, and its parts stay apart."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from training import data

BREEDS = ["beagle", "Siberian_husky", "toy poodle"]


@pytest.fixture(scope="module")
def data_dir() -> Path:
    if "TFCAM_TEST_DATA" not in os.environ:
        pytest.skip("TFCAM_TEST_DATA does not say where the data is")
    return Path(os.environ["TFCAM_TEST_DATA"]) / "tensorflow_datasets"


@pytest.fixture(scope="module")
def dogs(data_dir: Path) -> data.Dogs:
    return data.load(data_dir, breeds=BREEDS, size=64, download=False)


def names(part: tf.data.Dataset) -> list[bytes]:
    return list(part.map(lambda each: each["name"]).as_numpy_iterator())


@pytest.mark.parametrize(
    ("height", "width", "resize", "box", "corners"),
    [
        # [y0, x0, y1, x1] as fractions -> [x0, y0, x1, y1) on 80 x 80, by hand.
        (40, 80, "stretch", (0.25, 0.5, 0.75, 1.0), (40, 20, 80, 60)),
        (40, 80, "letterbox", (0.25, 0.5, 0.75, 1.0), (40, 30, 80, 50)),
        (160, 40, "stretch", (0.1, 0.2, 0.6, 0.7), (16, 8, 56, 48)),
        (160, 40, "letterbox", (0.1, 0.2, 0.6, 0.7), (34, 8, 44, 48)),
        (30, 30, "letterbox", (0.0, 0.0, 1.0, 1.0), (0, 0, 80, 80)),
    ],
)
def test_boxes_survive_the_resizing(height, width, resize, box, corners):
    _, found = data.fit(tf.zeros((height, width, 3)), tf.constant([box]), 80, resize)
    np.testing.assert_allclose(found[0], corners, atol=1e-4)


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(40, 80), (131, 57), (200, 203)])
def test_what_a_box_holds_it_still_holds(resize, size):
    """A white patch on black, its box, and where the white is afterwards."""
    image = np.zeros((*size, 3), np.uint8)
    top, left, bottom, right = size[0] // 4, size[1] // 3, size[0] // 2, size[1] * 3 // 4
    image[top:bottom, left:right] = 255
    box = np.array([[top / size[0], left / size[1], bottom / size[0], right / size[1]]], np.float32)
    fitted, corners = data.fit(tf.constant(image), tf.constant(box), 96, resize)
    y, x = np.nonzero(fitted.numpy()[..., 0] > 127)
    white = (x.min(), y.min(), x.max() + 1, y.max() + 1)
    np.testing.assert_allclose(corners[0], white, atol=1)


def test_the_held_out_share_is_that_of_each_class():
    labels = np.repeat([0, 1, 2], [100, 40, 3])
    held = data.hold_out(labels, 0.2, seed=1)
    assert [int(held[labels == kind].sum()) for kind in range(3)] == [20, 8, 1]
    np.testing.assert_array_equal(held, data.hold_out(labels, 0.2, seed=1))
    assert (held != data.hold_out(labels, 0.2, seed=2)).any()


@pytest.mark.slow
def test_parts_are_apart_and_named(dogs):
    assert [each.casefold() for each in dogs.labels] == ["beagle", "siberian husky", "toy poodle"]
    assert dogs.counts == {"train": 240, "validation": 60, "test": 238}
    found = {part: names(getattr(dogs, part)) for part in dogs.counts}
    assert {part: len(set(each)) for part, each in found.items()} == dogs.counts
    assert not set(found["train"]) & set(found["validation"])
    assert not set(found["test"]) & set(found["train"] + found["validation"])
    labels = [int(each["label"]) for each in dogs.validation.as_numpy_iterator()]
    assert np.bincount(labels).tolist() == [20, 20, 20]


@pytest.mark.slow
def test_a_label_is_that_of_the_folder_of_its_picture(dogs):
    for each in dogs.test.take(40).as_numpy_iterator():
        breed = data.breed(each["name"].decode().split("/")[1])
        assert dogs.labels[each["label"]].casefold() == breed.casefold()


def test_boxes_lie_in_the_picture(dogs):
    for each in dogs.test.as_numpy_iterator():
        boxes = each["boxes"]
        assert boxes.shape[1] == 4
        assert len(boxes) >= 1
        assert (boxes[:, :2] >= -1e-3).all()
        assert (boxes[:, 2:] <= 64 + 1e-3).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()


@pytest.mark.slow
def test_batches_are_shuffled_anew_and_mirrored(dogs):
    plain = data.batches(dogs.validation, 60, 3)
    images, labels = next(iter(plain))
    assert (images.shape, images.dtype, labels.shape) == ((60, 64, 64, 3), tf.uint8, (60, 3))
    np.testing.assert_array_equal(labels.numpy().sum(axis=1), np.ones(60))
    learnt = {"epochs": range(5), "shuffled": 100, "seed": 3}
    shuffled = data.batches(dogs.validation, 60, 3, **learnt)
    drawn = [each.numpy() for each, _ in shuffled]
    a_time = len(drawn) // 5
    first, second = (np.concatenate(drawn[n * a_time : (n + 1) * a_time]) for n in range(2))
    assert (first != second).any()
    assert sorted(each.tobytes() for each in first) == sorted(each.tobytes() for each in second)
    # An epoch is the same whether the others came before it or not.
    begun = data.batches(dogs.validation, 60, 3, **learnt | {"epochs": range(1, 2)})
    np.testing.assert_array_equal(np.concatenate([each.numpy() for each, _ in begun]), second)
    learnt = {"epochs": range(1), "seed": 3, "flip": True}
    mirrored, _ = next(iter(data.batches(dogs.validation, 60, 3, **learnt)))
    same = (mirrored.numpy() == images.numpy()).all(axis=(1, 2, 3))
    turned = (mirrored.numpy() == images.numpy()[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | turned).all()
    assert 10 < turned.sum() < 50


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"resize": "crop"}, "resize must be 'stretch' or 'letterbox'; got 'crop'"),
        ({"validation": 1.0}, "validation must be a share, 0 < validation < 1; got 1.0"),
        ({"breeds": ["husky"]}, "No breed 'husky'; there are siberian husky"),
        ({"breeds": ["beagle", "Beagle"]}, "Each breed may be named once; got beagle, Beagle"),
    ],
)
def test_wrong_options_are_told(data_dir, options, match):
    with pytest.raises(ValueError, match=match):
        data.load(data_dir, download=False, **options)


def test_data_that_is_not_there_is_told_in_one_message(tmp_path):
    match = "must be in .*stanford_dogs.*It takes 780 MB to download.*python -m training.data"
    with pytest.raises(data.DataError, match=match):
        data.load(tmp_path, download=False)
