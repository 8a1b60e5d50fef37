"""The table of keras.applications families: names, input size, preprocessing, usual layer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tfcam.utils.suggestions import find_similar


@dataclass(frozen=True)
class Family:
    """One family of keras.applications.

    Attributes:
        name: The family's name in messages.
        pattern: What the whole name of such a network matches.
        size: The side of its square input in pixels, where the network leaves it open.
        mode: How its pictures are prepared: "caffe" (BGR, ImageNet mean off), "tf" (-1..1),
            "torch" (ImageNet mean and deviation), or "raw" (0..255: it scales them itself).
        layer: The layer that its users name; only for hints, as built networks are read.
        bare: The mode if it was built with ``include_preprocessing=False``.
    """

    name: str
    pattern: str
    size: int
    mode: str
    layer: str = ""
    bare: str = ""


FAMILIES = (
    Family("vgg16", r"vgg16", 224, "caffe", "block5_conv3"),
    Family("vgg19", r"vgg19", 224, "caffe", "block5_conv4"),
    Family("resnet", r"resnet(50|101|152)", 224, "caffe", "conv5_block3_out"),
    Family("resnet_v2", r"resnet(50|101|152)v2", 224, "tf", "post_relu"),
    Family("densenet", r"densenet(121|169|201)", 224, "torch", "conv5_block16_concat"),
    Family("inception_v3", r"inception_v3", 299, "tf", "mixed10"),
    Family("inception_resnet_v2", r"inception_resnet_v2", 299, "tf", "conv_7b_ac"),
    Family("xception", r"xception", 299, "tf", "block14_sepconv2_act"),
    Family("mobilenet", r"mobilenet_\d\.\d\d_\w+", 224, "tf", "conv_pw_13_relu"),
    Family("mobilenet_v2", r"mobilenetv2_\d\.\d\d_\w+", 224, "tf", "out_relu"),
    Family("mobilenet_v3", r"mobilenetv3(large|small)", 224, "raw", bare="tf"),
    Family("nasnet_mobile", r"nasnet_mobile", 224, "tf"),
    Family("nasnet_large", r"nasnet_large", 331, "tf"),
    Family("efficientnet", r"efficientnetb\d", 224, "raw", "top_activation"),
    Family("efficientnet_v2", r"efficientnetv2-b\d", 224, "raw", "top_activation", bare="torch"),
    Family("efficientnet_v2", r"efficientnetv2-[sml]", 384, "raw", "top_activation", bare="tf"),
    Family("convnext", r"convnext_\w+", 224, "raw", bare="torch"),
)


def find_family(models: Iterable[Any]) -> Family | None:
    """Find the family of the first of some networks whose name tells one."""
    import keras  # here, as the command line checks names before it loads

    for operation in models:
        if isinstance(operation, keras.Model):
            for family in FAMILIES:
                if re.fullmatch(family.pattern, operation.name, re.IGNORECASE):
                    return family
    return None


def find_similar_family(operations: Iterable[Any]) -> Family | None:
    """Find a family that has a layer of the same name as one of these: a hint, no proof."""
    names = {operation.name for operation in operations}
    return next((family for family in reversed(FAMILIES) if family.layer in names), None)


def builder_names() -> dict[str, str]:
    """The networks of keras.applications: their plain name -> name of their class."""
    import keras

    builders = (name for name in dir(keras.applications) if name[0].isupper())
    return {_plain(name): name for name in builders}


def build(name: str, weights: str | None = "imagenet", **options: Any) -> Any:
    """Build a network of keras.applications, with its ImageNet weights if nothing else is said.

    Args:
        name: Its name, in any case, with or without underscores: "mobilenet_v2".
        weights: "imagenet", a file, or None for random ones.
        options: What else its function takes, such as ``include_top``.

    Raises:
        ValueError: If keras.applications has no such network, or it does not take an option.
        OSError: If its weights are neither here nor to be had.
    """
    builder = builder_class(name)
    import keras

    try:
        return getattr(keras.applications, builder)(weights=weights, **options)
    except Exception as error:
        # Keras raises a bare Exception where a download fails.
        raise OSError(
            f"The ImageNet weights of {builder} could not be loaded: {error}. Connect to the "
            "internet once; Keras then keeps them in ~/.keras/models, or under KERAS_HOME."
        ) from None


def builder_class(name: str) -> str:
    """Find the class of keras.applications that builds a network.

    Args:
        name: Its name, in any case, with or without underscores.

    Raises:
        ValueError: If keras.applications has no such network.

    Example:
        >>> builder_class("mobilenet_v2")
        'MobileNetV2'
    """
    builders = builder_names()
    if _plain(name) not in builders:
        near = find_similar(name, builders.values())
        raise ValueError(
            f"No network {name!r} in keras.applications; it has "
            f"{', '.join(near or builders.values())}{' and others' if near else ''}."
        )
    return builders[_plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
