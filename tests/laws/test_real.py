"""Real weights and real pictures: what the maps of MobileNetV2 mean."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tfcam.model.labels import imagenet_labels

# By eye, in pixels of dog_and_cat.png (224 x 224): [x0, y0, x1, y1).
DOG, CAT = (74, 15, 168, 158), (40, 120, 200, 224)


def density(heatmap, box):
    x0, y0, x1, y1 = box
    return heatmap[y0:y1, x0:x1].mean()


@pytest.mark.parametrize("method", ["cam", "grad_cam"])
@pytest.mark.parametrize(
    ("target", "here", "there"), [("bull mastiff", DOG, CAT), ("tabby", CAT, DOG)]
)
@pytest.mark.thinned(1, rest="slow")
def test_the_map_lies_on_the_animal_that_is_asked_for(data, mobilenet, method, target, here, there):
    picture = data / "images/classic/dog_and_cat.png"
    result = tfcam.explain(mobilenet, picture, target=target, method=method)
    assert result.label == target
    assert density(result.heatmap, here) >= 2 * density(result.heatmap, there)


@pytest.mark.product
def test_the_command_line_finds_both_animals(data, tmp_path):
    picture = data / "images/classic/dog_and_cat.png"
    for target, here, there in [("bull mastiff", DOG, CAT), ("tabby", CAT, DOG)]:
        file = tmp_path / f"{target}.npz"
        options = ["--model", "mobilenet_v2", "--target", target, "--output", str(file), "--json"]
        run = subprocess.run(
            [sys.executable, "-m", "tfcam", "explain", str(picture), *options],
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stderr == ""
        (record,) = json.loads(run.stdout)
        assert record["label"] == target
        assert record["layer"] == "out_relu"
        heatmap = tfcam.Explanation.load(file).heatmap
        assert density(heatmap, here) >= 2 * density(heatmap, there)


@pytest.mark.slow
def test_two_hundred_photos_are_recognised_and_explained(data, mobilenet):
    files = sorted((data / "images/imagenet").glob("*.JPEG"))[:200]
    labels = imagenet_labels()
    results = tfcam.Explainer(mobilenet)(files)
    wanted = [file.stem.split("_", 1)[1].replace("_", " ").lower() for file in files]
    right = [r.label.lower() == w for r, w in zip(results, wanted, strict=True)]
    assert np.mean(right) >= 0.85
    assert set(wanted) <= {label.lower() for label in labels}
    for result, file in zip(results, files, strict=True):
        assert np.isfinite(result.raw).all(), file
        assert result.heatmap.max() == 1.0, file
        assert result.heatmap.shape == result.image.shape[:2]
        assert result.findings == (), file


@pytest.mark.slow
def test_the_laws_of_cam_hold_with_real_weights(data, mobilenet):
    files = sorted((data / "images/classic").glob("*.jpg"))
    bias = mobilenet.layers[-1].get_weights()[1]
    cam, grad_cam = (
        tfcam.explain(mobilenet, files, method=method) for method in ("cam", "grad_cam")
    )
    for one, other in zip(cam, grad_cam, strict=True):
        assert one.target == other.target
        scale = np.abs(one.raw).max()
        assert np.abs(one.raw - 49 * other.raw).max() < 1e-4 * scale
        mean = one.raw.mean(dtype=np.float64) + bias[one.target]
        assert mean == pytest.approx(one.score, rel=1e-5)


class Wrapped(keras.Model):
    """The backbone and a head of its own, in a subclass."""

    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.pool, self.head = backbone, layers.GlobalAveragePooling2D(), head

    def call(self, x):
        return self.head(self.pool(self.backbone(x)))


@pytest.mark.slow
def test_nested_and_subclassed_real_networks_give_the_flat_networks_map(data, mobilenet, tmp_path):
    def parts():
        backbone = keras.applications.MobileNetV2(include_top=False, input_shape=(224, 224, 3))
        head = layers.Dense(1000, activation="softmax", name="predictions")
        head.build((None, 1280))
        head.set_weights(mobilenet.layers[-1].get_weights())
        return backbone, head

    def sequential():
        backbone, head = parts()
        return keras.Sequential([backbone, layers.GlobalAveragePooling2D(), head])

    def functional():
        backbone, head = parts()
        ends = keras.Input((224, 224, 3))
        x = backbone(ends)
        return keras.Model(ends, head(layers.GlobalAveragePooling2D()(x)))

    def subclassed():
        model = Wrapped(*parts())
        model(np.zeros((1, 224, 224, 3), np.float32))
        return model

    saved = sequential()
    saved.save(tmp_path / "nested.keras")
    models = [saved, keras.models.load_model(tmp_path / "nested.keras"), functional(), subclassed()]
    files = [data / "images/classic" / name for name in ("dog_and_cat.png", "goldfish.jpg")]
    wanted = tfcam.explain(mobilenet, files, "out_relu", target=[281, 1])
    inner = tfcam.explain(mobilenet, files, "block_13_expand_relu", target=[281, 1])
    for model in models:
        for layer, flat in (("out_relu", wanted), ("block_13_expand_relu", inner)):
            found = tfcam.explain(model, files, layer, target=[281, 1])
            scale = np.abs(flat.raws).max()
            np.testing.assert_allclose(found.raws, flat.raws, atol=2e-5 * scale)
            assert found[0].preprocessing == flat[0].preprocessing
        assert tfcam.explain(model, files).raws.shape == (2, 7, 7)
