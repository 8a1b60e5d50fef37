"""Guided Grad-CAM is the product of its two parts."""

import numpy as np
import pytest

import tfcam
from tests import networks, replicas


@pytest.mark.parametrize("layer", ["first", "features"])
def test_guided_grad_cam_is_the_product_of_its_parts(layer):
    model, inputs = networks.flat(), networks.pictures(2)
    parts = {
        name: tfcam.explain(model, inputs, layer, target=1, method=name).raws.astype(np.float64)
        for name in ("grad_cam", "guided_backprop", "guided_grad_cam")
    }
    for grad_cam, guided, product in zip(*parts.values(), strict=True):
        evidence = replicas.bilinear(np.maximum(grad_cam, 0), *guided.shape[:2])
        wanted = evidence[..., None] * guided
        np.testing.assert_allclose(product, wanted, rtol=1e-4, atol=1e-7 * np.abs(wanted).max())
        assert not product[evidence == 0].any()


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
