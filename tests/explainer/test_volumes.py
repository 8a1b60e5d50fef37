"""Volumes: what is segmented in them is explained where it lies."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcam

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
