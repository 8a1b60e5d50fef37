"""Segmentations, differences and functions of one's own, evaluated as they are explained."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam.metrics.probing import Probe

PICTURES = np.random.default_rng(7).integers(0, 256, (5, 12, 12, 3)).astype("uint8")


@pytest.fixture(scope="module")
def unet():
    inputs = keras.Input((12, 12, 3))
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(
        layers.Rescaling(1 / 255)(inputs)
    )
    deep = layers.Conv2D(6, 3, 2, padding="same", activation="relu", name="deep")(first)
    x = layers.Concatenate()([layers.UpSampling2D()(deep), first])
    return networks.seeded(keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(x)))


def classifier():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(x))
    return networks.seeded(keras.Model(inputs, x))


def corner(outputs):
    return tf.reduce_sum(outputs[:, :4, :4, 2], axis=[1, 2])


@pytest.mark.thinned(1)
@pytest.mark.parametrize("target", [tfcam.Segmentation(1), corner, tfcam.Difference(2, 0)])
def test_the_numbers_are_those_of_explain_and_the_metric(unet, target):
    """By hand: the maps of explain, whose deletion is measured on the same score."""
    model = classifier() if isinstance(target, tfcam.Difference) else unet
    found = tfcam.evaluate(
        model,
        PICTURES,
        methods=["grad_cam"],
        metrics=[("deletion", {"steps": 4})],
        target=target,
        baselines=(),
        batch_size=2,
    )
    explained = tfcam.explain(model, list(PICTURES), target=target)
    assert set(found.table["layer"]) == {explained[0].layer}
    probe = Probe(model, list(PICTURES), target)
    wanted = tfcam.metrics.deletion(probe, explained.heatmaps, steps=4).area
    np.testing.assert_allclose(found.table["value"], wanted, rtol=1e-3)
    np.testing.assert_allclose(found.table["probability"], probe.probabilities, rtol=1e-4)
    assert set(found.table["label"]) == {explained[0].name}
    if callable(target):
        np.testing.assert_allclose(
            found.table["probability"], [one.score for one in explained], rtol=1e-4
        )


def test_recommend_and_a_folder_tell_targets_apart(unet, tmp_path):
    asked = {"methods": ["grad_cam", "layer_cam"], "metrics": [("deletion", {"steps": 2})]}
    one = {"target": tfcam.Segmentation(1), "to": tmp_path / "run", "progress": False}
    choice = tfcam.recommend(unet, PICTURES, **asked, **one)
    (joined,) = (each.name for each in unet.layers if isinstance(each, layers.Concatenate))
    assert set(choice.table["layer"]) == {joined}
    assert choice.evaluation.settings["target"] == "segmentation of class 1"
    with pytest.raises(ValueError, match="target"):
        tfcam.recommend(unet, PICTURES, **asked, **one | {"target": tfcam.Segmentation(2)})
    of_one_name = [lambda o, c=c: tf.reduce_sum(o[..., c], axis=[1, 2]) for c in (0, 1)]
    kept = {"metrics": ["entropy"], "methods": ["grad_cam"], "to": tmp_path / "other"}
    tfcam.evaluate(unet, PICTURES, target=of_one_name[0], **kept)
    with pytest.raises(ValueError, match="target_digest"):
        tfcam.evaluate(unet, PICTURES, target=of_one_name[1], **kept)
    with pytest.raises(TypeError, match=r"or a callable outputs -> \(B,\); got \[1\]"):
        tfcam.evaluate(unet, PICTURES, target=[1])
