"""The networks that are trained: a backbone of keras.applications with a new head, or a small one.

What prepares a picture is part of the network: it takes pixels of 0..255, and so does whoever
loads it.
"""

from __future__ import annotations

import keras

from tfcam.model.applications import build
from tfcam.model.graph import graph_of
from training.data import SIZE
from training.recipes import Recipe


def build_network(
    backbone: str, classes: int, recipe: Recipe, weights: str | None = "imagenet", size: int = SIZE
) -> keras.Model:
    """A classifier: preprocessing, the backbone, global average pooling, one softmax layer.

    Args:
        backbone: A network of keras.applications by name, such as "resnet50"; or "custom", a small
            stack of convolutions and pooling with a dense layer behind, to which Grad-CAM applies
            and CAM does not.
        classes: Number of classes.
        recipe: Says how pictures are prepared.
        weights: "imagenet", a weights file, or None for random ones.
        size: The side of the input in pixels.

    Raises:
        ValueError: If there is no such network.
        OSError: If the weights are neither here nor to be had.
    """
    layers = keras.layers
    image = keras.Input((size, size, 3), name="image")
    if backbone == "custom":
        x = layers.Rescaling(1 / 255, name="rescaling")(image)
        for number, filters in enumerate((32, 64, 128, 128), start=1):
            name = f"block{number}"
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}_conv")(x)
            x = layers.MaxPooling2D(name=f"{name}_pool")(x)
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(256, activation="relu", name="dense")(x)
    else:
        inner = build(backbone, weights, include_top=False, input_shape=(size, size, 3))
        x = _prepared(image, inner, recipe)
        x = layers.GlobalAveragePooling2D(name="pooling")(inner(x))
    if recipe.dropout:
        x = layers.Dropout(recipe.dropout, name="dropout")(x)
    # The softmax in float32, also where the rest computes in float16.
    x = layers.Dense(classes, activation="softmax", dtype="float32", name="breeds")(x)
    return keras.Model(image, x, name="dogs")


def _prepared(image: keras.KerasTensor, backbone: keras.Model, recipe: Recipe) -> keras.KerasTensor:
    if recipe.preprocessing == "unit":
        return keras.layers.Rescaling(1 / 255, name="rescaling")(image)
    family = graph_of(backbone).own_family
    if family is None:
        raise ValueError(f"How {backbone.name!r} wants its pictures is not known.")
    if family.mode == "raw":
        return image
    return keras.applications.imagenet_utils.preprocess_input(image, mode=family.mode)


def let_learn(model: keras.Model, backbone: bool, normalization: bool) -> None:
    """Let the whole network learn, or its head alone.

    Args:
        model: Of ``build_network``.
        backbone: Whether its backbone learns.
        normalization: Whether batch normalisation learns with it. What does not learn keeps its
            statistics too; calling the backbone with ``training=False``, as often written, does
            not see to that: Keras 3 hands ``fit``'s own ``training=True`` on to it.
    """
    for inner in model.layers:
        if isinstance(inner, keras.Model):
            inner.trainable = backbone
            for layer in inner._flatten_layers():
                if backbone and isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = normalization
