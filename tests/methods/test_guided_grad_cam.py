"""Guided Grad-CAM is the product of its two parts."""

import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks, replicas
from tests.laws import law
from tests.tolerances import rounding


@law("product of its parts", "guided_grad_cam")
@pytest.mark.parametrize("layer", ["first", "features"])
def test_guided_grad_cam_is_the_product_of_its_parts(layer):
    model, inputs = networks.flat(), networks.pictures(2)
    parts = {
        name: tfcam.explain(model, inputs, layer, target=0, method=name).raws.astype(np.float64)
        for name in ("grad_cam", "guided_backprop", "guided_grad_cam")
    }
    for grad_cam, guided, product in zip(*parts.values(), strict=True):
        evidence = replicas.bilinear(np.maximum(grad_cam, 0), *guided.shape[:2])
        wanted = evidence[..., None] * guided
        assert wanted.any()
        np.testing.assert_allclose(product, wanted, atol=rounding(wanted))
        assert not product[evidence == 0].any()


@law("= the gradient", "saliency")
def test_saliency_is_the_gradient_of_the_score_by_the_image():
    model, inputs = networks.flat(), networks.pictures(2)
    images = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(images)
        score = tf.reduce_sum(model(images, training=False)._keras_logits[:, 1])
    wanted = tape.gradient(score, images).numpy()
    results = tfcam.explain(model, inputs, target=1, method="saliency")
    np.testing.assert_allclose(results.raws, wanted, rtol=1e-4, atol=1e-7)
    largest = np.abs(wanted).max(-1)
    scaled = largest / largest.max((1, 2), keepdims=True)
    np.testing.assert_allclose(results.heatmaps, scaled, atol=1e-5)
    assert results[0].layer is None


def test_a_map_of_pixels_is_turned_back_to_rgb_for_networks_that_take_bgr(rng):
    import keras
    from keras import layers

    ends = keras.Input((4, 4, 3))
    x = layers.Conv2D(3, 1, activation="relu", use_bias=False, name="conv")(ends)
    model = keras.Model(ends, layers.Dense(1, name="head")(layers.GlobalAveragePooling2D()(x)))
    model.get_layer("conv").set_weights([np.eye(3, dtype=np.float32)[None, None]])
    # The score is the first channel's mean: blue, for a network that takes BGR.
    model.get_layer("head").set_weights([np.array([[1.0], [0.0], [0.0]]), np.zeros(1)])
    picture = rng.integers(200, 256, (4, 4, 3), dtype=np.uint8)
    result = tfcam.explain(model, picture, preprocess="caffe", method="guided_backprop")
    np.testing.assert_allclose(result.raw[..., 2], 1 / 16)
    assert not result.raw[..., :2].any()
    same = tfcam.explain(model, picture, preprocess="raw", method="guided_backprop")
    np.testing.assert_allclose(same.raw[..., 0], 1 / 16)
