"""What a line of the gallery says of a model, and how models of most packages are built."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfcam

SIDE = 64
SHAPE = (SIDE, SIDE, 3)
MASK = tfcam.Segmentation(1, np.ones((SIDE, SIDE), bool))

Build = Callable[[], keras.Model]


@dataclass(frozen=True)
class Foreign:
    """A model of somebody else's, and what must come of it.

    Attributes:
        package: Its name on the package index.
        name: What the model is.
        build: Builds it, small and with random weights.
        layer: The layer that is explained by default, as ``tfcam.layers`` names it.
        map: The size of its map.
        target: What is explained.
        grid: The grid of its tokens, where it can't be found.
        refused: What the error says where the model can't be explained like that.
        wrong: What is wrong today, where the right answer above does not come yet.
        last: Whether the tokens of patches stand behind those of no patch.
    """

    package: str
    name: str
    build: Build
    layer: str = ""
    map: tuple[int, ...] = ()
    target: Any = 1
    grid: tuple[int, int] | None = None
    refused: str = ""
    wrong: str = ""
    last: bool = True

    @property
    def module(self) -> str:
        """What is imported of the package."""
        return {"keras-tcn": "tcn"}.get(self.package, self.package.replace("-", "_"))


def call(where: str, *args: Any, **options: Any) -> Build:
    """Say how to build a model by a function "module.name" that is imported when it is built."""

    def build() -> keras.Model:
        module, _, name = where.rpartition(".")
        model: keras.Model = getattr(importlib.import_module(module), name)(*args, **options)
        return model

    return build


def kimm(name: str, layer: str) -> Foreign:
    """A classifier of kimm."""
    common = {"input_shape": SHAPE, "classes": 3, "weights": None, "include_preprocessing": False}
    return Foreign("kimm", name, call(f"kimm.models.{name}", **common), layer, (2, 2))


def vit_keras(name: str, **options: Any) -> Foreign:
    """A vision transformer of vit-keras: the values of its last attention are explained."""
    build = call("vit_keras.vit.build_model", SIDE, 16, 2, 8, 2, "vit", 16, 3, **options)
    value = "Transformer_encoderblock_1/MultiHeadDotProductAttention_1/value"
    return Foreign("vit-keras", name, build, value, (4, 4))


def k3im(name: str, where: str, *args: Any, layer: str = "", **options: Any) -> Foreign:
    """A network of k3im; what is not its builder's is what a line says."""
    own = ("map", "grid", "last", "wrong", "refused")
    facts = {key: options.pop(key) for key in own if key in options}
    build = call(f"k3im.{where}", *args, **options)
    return Foreign("k3im", name, build, layer, **{"map": (4, 4), **facts})


def vision(name: str, where: str, layer: str, **options: Any) -> Foreign:
    """A classifier of keras-vision."""
    build = call(f"keras_vision.{where}", num_classes=3, input_shape=SHAPE, **options)
    return Foreign("keras-vision", name, build, layer, (2, 2))


def medicai(
    name: str, layer: str, map: tuple[int, ...], target: Any = 1, wrong: str = "", **options: Any
) -> Foreign:
    """A network of medicai, of pictures or volumes."""
    options = {"input_shape": SHAPE, "num_classes": 3, **options}
    title = f"{name} of volumes" if len(map) == 3 else name
    build = call(f"medicai.models.{name}", **options)
    return Foreign("medicai", title, build, layer, map, target, wrong=wrong)


def climate(
    name: str,
    where: str,
    layer: str,
    map: tuple[int, ...],
    *args: Any,
    wrong: str = "",
    **options: Any,
) -> Foreign:
    """A network of keras-climate: the first of what it gives of each place is explained."""
    build = call(f"keras_climate.{where}", *args, **options)
    return Foreign("keras-climate", name, build, layer, map, sum_of_first, wrong=wrong)


def sum_of_first(outputs: Any) -> tf.Tensor:
    """The first logit or value, of all positions together."""
    return tf.reduce_sum(outputs[..., 0], axis=list(range(1, len(outputs.shape) - 1)))


def unet(name: str, layer: str, *args: Any, **options: Any) -> Foreign:
    """A segmenter of keras-unet-collection."""
    args = args or ([4, 8, 16], 3)
    build = call(f"keras_unet_collection.models.{name}", SHAPE, *args, **options)
    return Foreign("keras-unet-collection", name, build, layer, (SIDE, SIDE), MASK)


def segmenter(name: str, backbone: str, layer: str, side: int = SIDE, **options: Any) -> Foreign:
    """A segmenter of segmodels-keras."""
    shape = options.pop("input_shape", SHAPE)
    common = {"input_shape": shape, "classes": 3, "encoder_weights": None}
    build = call(f"segmodels_keras.{name}", backbone, **common, **options)
    target = tfcam.Segmentation(1, np.ones(shape[:2], bool))
    title = f"{name} on {backbone}"
    return Foreign("segmodels-keras", title, build, layer, (side, side), target)


def tcn(
    name: str, layer: str, *after: keras.layers.Layer, wrong: str = "", **options: Any
) -> Foreign:
    """A series of 24 steps, a layer of keras-tcn, three classes."""

    def build() -> keras.Model:
        inner = call("tcn.TCN", nb_filters=8, dilations=(1, 2, 4), **options)()
        return keras.Sequential([keras.Input((24, 3)), inner, *after, keras.layers.Dense(3)])

    return Foreign("keras-tcn", name, build, layer, (24,), wrong=wrong)


def volumes(name: str, layer: str, **options: Any) -> Foreign:
    """A network of classification-models-3D, with a head."""

    def build() -> keras.Model:
        classifiers = importlib.import_module("classification_models_3D.kkeras").Classifiers
        network, _ = classifiers.get(name)
        shape = (SIDE, SIDE, SIDE, 1)
        body = network(input_shape=shape, weights=None, include_top=False, **options)
        pooled = keras.layers.GlobalAveragePooling3D()(body.output)
        return keras.Model(body.input, keras.layers.Dense(3)(pooled))

    return Foreign("classification-models-3D", name, build, layer, (2, 2, 2))
