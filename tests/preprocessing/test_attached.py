"""Tasks of KerasHub bring their preprocessor along: its size and its scaling are used."""

import keras
import numpy as np
import pytest

import tfcam
from tests import networks

models = pytest.importorskip("keras_hub").models
layers = pytest.importorskip("keras_hub").layers

SCALE, OFFSET = [1 / 51, 1 / 64, 1 / 58], [-2.0, -1.5, -1.8]
SQUARE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
WIDE = np.random.default_rng(1).integers(0, 256, (50, 90, 3), np.uint8)


def classifier(size=(64, 64), activation=None):
    backbone = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    converter = layers.ResNetImageConverter(image_size=size, scale=SCALE, offset=OFFSET)
    task = models.ResNetImageClassifier(
        backbone=backbone,
        num_classes=3,
        activation=activation,
        preprocessor=models.ResNetImageClassifierPreprocessor(image_converter=converter),
    )
    return networks.seeded(task)


@pytest.fixture(scope="module")
def task():
    return classifier()


def by_hand(task, picture, target):
    """Grad-CAM of what the task itself makes of a picture."""
    inputs = keras.ops.convert_to_tensor(task.preprocessor(picture[np.newaxis].astype("float32")))
    return tfcam.explain(task, inputs.numpy()[0], target=target, preprocess=None)


@pytest.mark.slow
def test_a_picture_is_prepared_as_the_task_prepares_it(task):
    found = tfcam.explain(task, SQUARE)
    assert found.preprocessing.startswith("res_net_image_converter, as its own preprocessor has it")
    assert found.target == int(np.argmax(task.predict(SQUARE[np.newaxis], verbose=0)))
    wanted = by_hand(task, SQUARE, found.target)
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    assert found.score == pytest.approx(
        float(task.predict(SQUARE[np.newaxis], verbose=0)[0, found.target]), rel=1e-4
    )  # logits are logits


@pytest.mark.slow
def test_its_size_is_used_and_every_door_takes_it(task, tmp_path):
    probe = tfcam.metrics.Probe(task, [WIDE, SQUARE])
    assert probe.inputs.shape == (2, 64, 64, 3)
    pixels = (probe.inputs[1] - OFFSET) / SCALE
    np.testing.assert_allclose(pixels, SQUARE, atol=0.02)
    found = tfcam.explain(task, [WIDE, SQUARE])
    assert [each.heatmap.shape for each in found] == [(50, 90), (64, 64)]
    store = tfcam.stream(task, [WIDE, SQUARE], to=tmp_path / "store", progress=False)
    np.testing.assert_allclose(store[1].heatmap, found[1].heatmap, atol=2e-3)
    compared = tfcam.compare(task, SQUARE, methods=["grad_cam", "saliency"])
    np.testing.assert_allclose(compared[0, 0].raw, found[1].raw, rtol=1e-4, atol=1e-6)


def test_an_open_size_leaves_pictures_their_own():
    task = classifier(size=None)
    assert tfcam.metrics.Probe(task, WIDE).inputs.shape == (1, 50, 90, 3)


def test_what_is_said_goes_before_it(task):
    probe = tfcam.metrics.Probe(task, SQUARE, preprocess="raw")
    np.testing.assert_array_equal(probe.inputs[0], SQUARE)
