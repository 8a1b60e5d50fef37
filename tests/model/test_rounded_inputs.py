"""Models that take pixels or voxels as whole numbers: the answers of the same model of floats."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import rounding

SHAPES = {"picture": (12, 16, 3), "video": (4, 12, 12, 3), "bare": (12, 12, 1)}


def model_of(shape, dtype):
    inputs = keras.Input(shape, dtype=dtype)
    kind = "3D" if len(shape) == 4 else "2D"
    x = layers.Rescaling(1 / 64, -2.0)(inputs)
    x = getattr(layers, f"Conv{kind}")(6, 3, activation="relu", name="conv")(x)
    x = getattr(layers, f"GlobalAveragePooling{kind}")()(x)
    return networks.seeded(keras.Model(inputs, layers.Dense(3, activation="softmax")(x)))


def twins(kind, dtype="uint8"):
    shape = SHAPES[kind]
    whole = np.random.default_rng(1).integers(0, 256, (3, *shape)).astype(dtype)
    return model_of(shape, dtype), model_of(shape, "float32"), whole


@pytest.mark.parametrize(("kind", "dtype"), [("picture", "uint8"), ("video", "int16")])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("grad_cam", {}),
        ("occlusion", {"fill": "zero"}),
        ("lime", {"fill": "zero", "segments": "grid:2", "samples": 40}),
    ],
)
def test_methods_answer_as_for_the_same_model_of_floats(kind, dtype, method, options):
    model, floats, whole = twins(kind, dtype)
    asked = {"target": 1, "method": method, "preprocess": None, **options}
    found = tfcam.explain(model, whole[0], **asked)
    wanted = tfcam.explain(floats, whole[0].astype("float32"), **asked)
    assert (found.score, found.probability) == (wanted.score, wanted.probability)
    np.testing.assert_allclose(found.raw, wanted.raw, atol=rounding(100) * np.abs(wanted.raw).max())


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.thinned(2, rest="slow")
def test_metrics_answer_as_for_the_same_model_of_floats(kind):
    model, floats, whole = twins(kind)
    labels = [0, 1, 2]
    asked = {"methods": ["grad_cam"], "metrics": ["insertion"], "baselines": [], "target": "label"}
    found, wanted = (
        tfcam.evaluate(each, (data, labels), preprocess=None, **asked).table["value"]
        for each, data in ((model, whole), (floats, whole.astype("float32")))
    )
    assert len(found) == 3
    # What is hidden is blurred, or the mean, and then rounded.
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_what_is_changed_is_rounded_and_stays_in_range():
    model, _, whole = twins("picture")
    probe = tfcam.metrics.Probe(model, whole[:1], [1], preprocess=None)
    changed = np.float32(whole[:1]) + 0.6
    changed[0, 0, 0], changed[0, 0, 1] = 300, -20
    given = probe.as_given(changed)
    assert given.dtype == np.uint8
    np.testing.assert_array_equal(given[0, 1:], np.minimum(whole[0, 1:].astype(int) + 1, 255))
    assert given[0, 0, :2].tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "guided_grad_cam", "lrp"])
def test_gradients_at_whole_numbers_are_refused(method):
    model, _, whole = twins("video")
    told = f"'{method}' needs the gradient at the pixels, and .* takes whole numbers, uint8.*occlus"
    with pytest.raises(ValueError, match=told):
        tfcam.explain(model, whole[0], target=1, method=method, preprocess=None)


def test_a_report_takes_what_applies():
    model, _, whole = twins("picture")
    report = tfcam.report(model, whole[0], target=1, layers=["conv"])
    assert "occlusion" in report.comparisons["Maps of pixels, that need no layer"].rows
