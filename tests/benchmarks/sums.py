"""What the rules of the way back keep: DeepLIFT's completeness and LRP's shares, on large networks.

``python -m tests.benchmarks.sums`` prints for each network the error of DeepLIFT's completeness as
a share of the score's rise, how far LRP with hardly any epsilon is from the gradient times the
input, and the share that each composite keeps. Weights are ImageNet's where this machine has them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tfcam

DATA = Path(os.environ.get("TFCAM_TEST_DATA", ""))


def vit() -> Any:
    """A small vision transformer with random weights."""
    import keras_hub

    keras.utils.set_random_seed(0)
    shape = (64, 64, 3)
    backbone = keras_hub.models.ViTBackbone(
        image_shape=shape, patch_size=16, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128
    )
    return keras_hub.models.ViTImageClassifier(backbone=backbone, num_classes=10)


def of_noise(name: str) -> Any:
    """A network of keras.applications whose normalisations have seen noise, its weights random."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(noise((224, 224, 3), 2), training=True)
    return model


def noise(shape: tuple[int, ...], count: int) -> np.ndarray:
    """Noise (count, *shape)."""
    return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)


NETWORKS: dict[str, Callable[[], Any]] = {
    "MobileNetV2": lambda: keras.applications.MobileNetV2(weights="imagenet"),
    "EfficientNet-Lite0": lambda: keras.models.load_model(
        DATA / "models" / "efficientnet_lite0.keras", compile=False
    ),
    "ViT": vit,
    "ResNet50": lambda: of_noise("ResNet50"),
    "DenseNet121": lambda: of_noise("DenseNet121"),
    "ConvNeXtTiny": lambda: of_noise("ConvNeXtTiny"),
}
# That scale pixels inside: noise of one grey value would hardly move their score.
OF_PIXELS = ("ConvNeXtTiny",)
COMPOSITES = ("epsilon", "epsilon_plus", "epsilon_gamma_box", "alpha2_beta1")


def row(name: str) -> str:
    """A row of the table."""
    model = NETWORKS[name]()
    image = noise(model.input_shape[1:], 1)[0]
    if name in OF_PIXELS:
        image = 128 + 64 * image

    def explain(method: str, **options: Any) -> Any:
        return tfcam.explain(model, image, target=1, method=method, preprocess=None, **options)

    def said(call: Callable[[], str]) -> str:
        try:
            return call()
        except ValueError as error:
            return str(error).split(".")[0]

    def complete() -> str:
        found = explain("deep_lift")
        error = found.measured["completeness_error"]
        rise = float(np.sum(found.raw, dtype=np.float64)) + error
        return f"{abs(error / rise):.1e}"

    def distance() -> str:
        plain, lrp = (
            explain("gradient_input").raw,
            explain("lrp", composite="epsilon", epsilon=1e-12).raw,
        )
        return f"{np.abs(plain - lrp).max() / np.abs(plain).max():.1e}"

    def kept(composite: str) -> str:
        return f"{explain('lrp', composite=composite).measured['kept']:.3g}"

    cells = [said(complete), said(distance)]
    cells += [said(lambda composite=composite: kept(composite)) for composite in COMPOSITES]
    return " | ".join((name, *cells))


if __name__ == "__main__":
    print(" | ".join(("network", "DeepLIFT", "from gradient x input", *COMPOSITES)))
    for each in NETWORKS:
        print(row(each), flush=True)
