"""The script that makes the embedded model runs, and the model it left is as good as it says."""

import json
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from tfcam.scenes import KINDS, draw_scene
from training import shapes

# Keras 3.15 reads TensorFlow variables in a way that NumPy 2 warns of; nothing here can change it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ASSET = Path(__file__).parents[2] / "tfcam" / "assets" / "shapes.keras"


@pytest.fixture(scope="module")
def asset() -> keras.Model:
    return keras.saving.load_model(ASSET)


@pytest.mark.slow
def test_a_miniature_run_writes_a_model_that_reloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapes, "BLOCKS", ((4, True), (4, True)))
    output = tmp_path / "new" / "shapes.keras"
    accuracy = shapes.train(output, scenes=6, epochs=1, seed=5, fresh=4)

    model = keras.saving.load_model(output)
    assert model.name == "shapes"
    assert not model.compiled  # saved without its optimizer
    probabilities = model(np.zeros((2, 128, 128, 3), np.uint8)).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    facts = json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))
    assert tuple(facts["kinds"]) == KINDS
    assert facts["accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert (facts["seed"], facts["trained_scenes"], facts["input"]) == (5, 6, [128, 128, 3])
    assert "--scenes 6 --epochs 1 --seed 5" in facts["command"]


def test_targets_are_uniform_over_the_kinds_in_a_scene() -> None:
    images, targets = shapes.draw_scenes(np.random.default_rng(0), 6, most_shapes=3)
    assert (images.shape, images.dtype) == ((6, 128, 128, 3), np.uint8)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    assert (targets > 0).sum(axis=1).tolist() == [1, 2, 3, 1, 2, 3]


def test_the_eight_views_of_a_scene_are_all_different() -> None:
    image = np.arange(16).reshape(1, 4, 4, 1)
    views = {shapes.seen_from(image, epoch).tobytes() for epoch in range(8)}
    assert len(views) == 8
    np.testing.assert_array_equal(shapes.seen_from(image, 8), image)


def test_a_hit_is_any_kind_in_the_scene() -> None:
    targets = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]], np.float32)
    probabilities = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0, 0.4, 0.6]], np.float32)
    assert np.array(shapes.hit(targets, probabilities)).ravel().tolist() == [True, False, True]


def test_the_embedded_model_is_small_and_says_how_it_was_made(asset: keras.Model) -> None:
    assert ASSET.stat().st_size <= 1_000_000
    facts = json.loads(ASSET.with_suffix(".json").read_text(encoding="utf-8"))
    assert tuple(facts["kinds"]) == KINDS
    assert (None, *facts["input"]) == asset.input_shape
    assert facts["accuracy"] >= 0.97
    _, height, width, _ = asset.get_layer(facts["layer"]).output.shape
    assert min(height, width) >= 16


@pytest.mark.slow
def test_the_embedded_model_knows_fresh_scenes(asset: keras.Model) -> None:
    images, targets = shapes.draw_scenes(np.random.default_rng(20_000), 300, most_shapes=1)
    probabilities = asset.predict(images, verbose=0)
    assert (probabilities.argmax(axis=1) == targets.argmax(axis=1)).mean() >= 0.97


def test_the_embedded_model_looks_at_the_shape_it_names(asset: keras.Model) -> None:
    """The pointing game: the highest pixel of each class's CAM lies on that class's shape."""
    scenes = [draw_scene(30_000 + seed, shapes=2) for seed in range(100)]
    features = keras.Model(asset.input, asset.get_layer("features").output)
    A = features.predict(np.stack([scene.image for scene in scenes]), verbose=0)
    W = asset.get_layer("kinds").get_weights()[0]
    maps = A @ W  # (B, h, w, 8)
    hits = [
        mask.flat[cv2.resize(cam[..., label], mask.shape).argmax()]
        for cam, scene in zip(maps, scenes, strict=True)
        for label, mask in zip(scene.labels, scene.masks, strict=True)
    ]
    assert np.mean(hits) >= 0.95
