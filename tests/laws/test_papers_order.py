"""A heatmap is the map's ReLU, resized, then scaled, in this order, whichever door makes it."""

import numpy as np
import pytest
import tensorflow as tf

import tfcam
import tfcam.callbacks
import tfcam.losses
from tests import networks
from tests.replicas import bilinear
from tfcam.results.sheets import scale_row

ASKED = {"method": "hires_cam", "preprocess": None}
MODEL, IMAGES = networks.flat(), networks.pictures(2)
MODEL.compile("sgd", "sparse_categorical_crossentropy")


def papers(raw, size=(networks.SIZE, networks.SIZE)):
    """Selvaraju et al. 2017, eq. 2, brought to the picture's size as its figure 2 says."""
    values = bilinear(np.where(raw > 0, raw, 0).astype(np.float64), *size)
    return values / values.max()


def explained(_):
    return tfcam.explain(MODEL, IMAGES[0], "second", target=0, **ASKED)


def called(freeze):
    explainer = tfcam.Explainer(MODEL, "second", freeze=freeze, **ASKED)
    return [explainer(IMAGES[0], target=0) for _ in range(3)][-1]


def streamed(folder):
    asked = {"layer": "second", "target": 0, **ASKED}
    return tfcam.stream(MODEL, list(IMAGES), to=folder / "maps", **asked)[0]


def compared(_):
    asked = {"layers": ["second"], "methods": ["hires_cam"], "targets": [0], "preprocess": None}
    return tfcam.compare(MODEL, IMAGES[0], **asked)[0, 0]


def watched(folder):
    look = tfcam.callbacks.ExplainCallback(IMAGES, "second", target=0, folder=folder, **ASKED)
    MODEL.optimizer.learning_rate = 0.0
    MODEL.fit(IMAGES, np.array([0, 0]), verbose=0, callbacks=[look])
    return look.explanations[0]


DOORS = {
    "explain": explained,
    "compiled": lambda _: called(False),
    "frozen": lambda _: called(True),
    "stream": streamed,
    "compare": compared,
    "callback": watched,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_has_the_papers_order(door, tmp_path):
    result = DOORS[door](tmp_path)
    np.testing.assert_allclose(result.heatmap, papers(result.raw), atol=1e-5)
    other = np.maximum(bilinear(result.raw, *result.heatmap.shape), 0)
    assert np.abs(result.heatmap - other / other.max()).max() > 0.05  # they can be told apart
    np.testing.assert_allclose(scale_row([result])[0], result.heatmap, atol=1e-6)


@pytest.mark.slow
def test_so_has_what_is_exported(tmp_path):
    tfcam.Explainer(MODEL, "second", **ASKED).export(tmp_path / "export", target=0)
    serve = tf.saved_model.load(str(tmp_path / "export")).signatures["serving_default"]
    found = serve(image=tf.constant(IMAGES))["heatmap"].numpy()
    raws = tfcam.explain(MODEL, IMAGES, "second", target=[0, 0], **ASKED).raws
    np.testing.assert_allclose(found, [papers(raw) for raw in raws], atol=1e-5)


@pytest.mark.parametrize("fuse", ["max", "mean"])
def test_so_has_each_of_several_layers(fuse):
    layers = ["first", "second"]
    result = tfcam.explain(MODEL, IMAGES[0], layers, target=0, fuse=fuse, **ASKED)
    wanted = getattr(np, fuse)([papers(raw) for raw in result.parts.values()], axis=0)
    np.testing.assert_allclose(result.heatmap, wanted / wanted.max(), atol=1e-5)


@pytest.mark.parametrize("name", ["outside_energy", "squared_error"])
def test_so_has_what_is_learnt(name):
    masks = np.zeros((2, networks.SIZE, networks.SIZE), np.float32)
    masks[:, 2:8, 3:9] = 1
    found = tfcam.losses.AttentionLoss(MODEL, "second", method="hires_cam", loss=name)(
        IMAGES, masks, np.array([0, 0])
    )
    raws = tfcam.explain(MODEL, IMAGES, "second", target=[0, 0], **ASKED).raws
    heatmaps = np.stack([papers(raw) for raw in raws])
    if name == "outside_energy":
        wanted = (heatmaps * (1 - masks)).sum((1, 2)) / heatmaps.sum((1, 2))
    else:
        wanted = ((heatmaps - masks) ** 2).mean((1, 2))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_a_loss_of_ones_own_sees_both_signs():
    seen = []
    loss = tfcam.losses.AttentionLoss(
        MODEL, "second", method="hires_cam", loss=lambda maps, _: seen.append(maps) or maps[:, 0, 0]
    )
    loss(IMAGES, np.ones((2, 12, 12), np.float32), np.array([0, 0]))
    assert seen[0].numpy().min() < 0
