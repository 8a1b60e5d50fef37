"""Keras must compute with TensorFlow: to import this says so where it does not."""

import json
import os
import sys
from pathlib import Path


def configured_backend() -> str:
    """The backend that Keras has, or would have once it is imported.

    Example:
        >>> configured_backend()
        'tensorflow'
    """
    loaded = getattr(sys.modules.get("keras"), "config", None)
    if loaded is not None:
        return str(loaded.backend())
    if said := os.environ.get("KERAS_BACKEND"):
        return said
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        settings = json.loads((home / "keras.json").read_text(encoding="utf-8"))
        return str(settings.get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"


if (_backend := configured_backend()) != "tensorflow":
    raise ImportError(
        f"tfcam needs Keras with TensorFlow; Keras is set to {_backend!r}. Set the environment "
        "variable KERAS_BACKEND=tensorflow before keras is imported; .keras files of models that "
        "were made with another backend can be loaded then."
    )
