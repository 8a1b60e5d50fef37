"""Volumes: what is segmented in them is explained where it lies."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks
from tfcam.results.slices import as_pictures

SPOT = (5, 2, 8)


@pytest.fixture(scope="module")
def model():
    """Scores each voxel for what is bright there."""
    keras.utils.set_random_seed(3)
    start = keras.Input((7, 6, 10, 1))
    value = keras.layers.Conv3D(4, 3, padding="same", activation="relu", name="seen")(start)
    found = keras.Model(start, keras.layers.Conv3D(2, 1, activation="softmax", name="end")(value))
    seen, end = found.get_layer("seen"), found.get_layer("end")
    seen.set_weights([np.abs(seen.get_weights()[0]), np.full(4, -0.2)])
    end.set_weights([np.full((1, 1, 1, 4, 2), (-1.0, 1.0)), np.array([0.1, -0.1])])
    return found


@pytest.fixture(scope="module")
def volume():
    value = np.zeros((7, 6, 10, 1), "float32")
    value[SPOT] = 5
    return value


def by_hand(model, volume, mask=None):
    """Grad-CAM of the sum of the logits of class 1 over the mask."""
    maps = model.get_layer("seen")(volume[np.newaxis])
    with tf.GradientTape() as tape:
        tape.watch(maps)
        end = model.get_layer("end")
        logits = tf.nn.conv3d(maps, end.kernel, [1] * 5, "SAME") + end.bias
        where = logits[..., 1] > logits[..., 0] if mask is None else mask
        score = tf.reduce_sum(tf.where(where, logits[..., 1], 0.0))
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=[1, 2, 3], keepdims=True)
    return tf.reduce_sum(weights * maps, axis=-1)[0].numpy()


@pytest.mark.parametrize("masked", [False, True])
def test_a_segmented_volume_is_explained_as_by_hand_by_explain_explainer_and_compare(
    model, volume, masked
):
    mask = np.zeros((1, 7, 6, 10), bool)
    mask[0, 4:, :4, 6:] = True
    target = tfcam.Segmentation(1, mask if masked else None)
    wanted = by_hand(model, volume, mask if masked else None)
    about = {"target": target, "preprocess": None}
    found = [
        tfcam.explain(model, volume, **about),
        tfcam.Explainer(model, preprocess=None)(volume, target=target),
        *tfcam.compare(model, volume, targets=[target], methods=["grad_cam"], preprocess=None),
    ]
    for one in found:
        np.testing.assert_allclose(one.raw, wanted, rtol=1e-4, atol=1e-6)
        place = np.unravel_index(one.heatmap.argmax(), one.heatmap.shape)
        assert np.abs(np.subtract(place, SPOT)).max() <= 1


def test_one_mask_of_a_volume_is_for_all_volumes():
    """(D, H, W), as (H, W) of pictures: the sum of the logits over it, in each volume."""
    volume = x = keras.Input((4, 6, 6, 1))
    x = keras.layers.Conv3D(4, 3, padding="same", activation="relu", name="conv")(x)
    model = networks.seeded(keras.Model(volume, keras.layers.Conv3D(3, 1)(x)))
    given = np.random.default_rng(1).random((5, 4, 6, 6, 1)).astype("float32")
    mask = np.zeros((4, 6, 6), bool)
    mask[1:3, 2:5, :2] = True
    wanted = np.asarray(model(given))[..., 1][:, mask].sum(-1)
    alone = tfcam.explain(model, given[0], target=tfcam.Segmentation(1, mask))
    np.testing.assert_allclose(alone.score, wanted[0], rtol=1e-5)
    explainer = tfcam.Explainer(model, batch_size=2)  # a part of the batch has the whole mask
    for masks in (mask, np.stack([mask] * 5)):
        found = explainer(given, tfcam.Segmentation(1, masks))
        np.testing.assert_allclose([each.score for each in found], wanted, rtol=1e-5)
        np.testing.assert_allclose(found[0].raw, alone.raw, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"of volumes \(D, H, W\) or \(B, D, H, W\); got \(6, 6\)"):
        tfcam.explain(model, given[0], target=tfcam.Segmentation(1, mask[1]))
    with pytest.raises(ValueError, match="must be as many as the images; got 2 for 5"):
        tfcam.explain(model, given, target=tfcam.Segmentation(1, np.stack([mask] * 2)))


@pytest.mark.parametrize(("channels", "name"), [(3, "frames"), (1, "slices")])
def test_a_comparison_shows_the_same_frames_under_every_map(tmp_path, channels, name):
    inputs = keras.Input((20, 12, 10, channels))
    x = keras.layers.Conv3D(4, 3, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling3D()(x)
    network = networks.seeded(keras.Model(inputs, keras.layers.Dense(3)(x)))
    clip = np.random.default_rng(0).normal(0, 1, (20, 12, 10, channels)).astype("float32")
    asked = {"methods": ["grad_cam", "saliency"], "targets": [0, 1], "preprocess": None}
    found = tfcam.compare(network, clip, **asked)
    laid, said = as_pictures(found.cells)
    numbers = [int(number) for number in re.findall(r"\d+", said)]
    assert (said.split()[0], len(numbers)) == (name, len(set(numbers)))
    hottest = np.sum([each.heatmap for each in found], axis=0).max(axis=(1, 2)).argmax()
    assert hottest in numbers
    for flat, whole in zip([*laid[0], *laid[1]], found, strict=True):
        assert flat.image.shape == (*flat.heatmap.shape, 3)
        columns = flat.heatmap.shape[1] // 10
        for place, number in enumerate(numbers):
            row, column = divmod(place, columns)
            part = np.s_[12 * row : 12 * row + 12, 10 * column : 10 * column + 10]
            np.testing.assert_array_equal(flat.heatmap[part], whole.heatmap[number])
    for signed, shared in ((False, True), (True, False)):
        found.save(tmp_path / "maps.png", signed=signed, shared_scale=shared)
    assert "</html>" in found.save(tmp_path / "maps.html").read_text()
    assert found.html is not None


def test_videos_are_called_videos_and_their_parts_frames():
    inputs = keras.Input((4, 12, 10, 3))
    x = keras.layers.GlobalAveragePooling3D()(keras.layers.Conv3D(4, 3)(inputs))
    network = networks.seeded(keras.Model(inputs, keras.layers.Dense(3)(x)))
    clips = np.random.default_rng(0).normal(0, 1, (3, 4, 12, 10, 3)).astype("float32")
    found = tfcam.explain(network, clips[0], target=1, preprocess=None)
    assert "4 frames of 10 x 12 pixels" in repr(found)
    with pytest.raises(ValueError, match="overlay is for images; .* a video of 4 frames"):
        found.overlay()
    asked = {"methods": ["grad_cam", "layer_cam"], "metrics": ["insertion"], "preprocess": None}
    assert "on these 3 videos" in str(tfcam.recommend(network, clips, **asked))
