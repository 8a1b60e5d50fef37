"""The embedded model: small, loaded offline, with scenes whose truth is known."""

from __future__ import annotations

import tfcam.utils.backend  # noqa: F401  # before Keras loads what is not TensorFlow

# isort: split

from importlib import resources

import keras


def demo_model() -> keras.Model:
    """Load the network that comes with tfcam: it names the shapes that ``tfcam.scenes`` draws.

    Returns:
        A convolutional network for pictures (128, 128, 3) of 0..255, with global average pooling
        and one dense layer; its classes are ``tfcam.scenes.KINDS``. ``training/shapes.py`` made it.

    Example:
        >>> demo_model().output_shape
        (None, 8)
    """
    with resources.as_file(resources.files("tfcam") / "assets" / "shapes.keras") as path:
        return keras.models.load_model(path, compile=False)
