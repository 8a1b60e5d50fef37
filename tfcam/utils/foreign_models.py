"""What is given in place of a Keras model, and what to do then."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

_FILES = {
    (".keras", ".h5", ".hdf5"): "keras.models.load_model({path!r}) gives it.",
    (".json", ".yaml", ".yml"): (
        "This is a structure without weights: keras.models.model_from_json(text) makes the model, "
        "model.load_weights(file) its weights."
    ),
    (".tflite", ".lite"): (
        "A TFLite file has no gradients and no layers to open: explain tfcam.BlackBox.from_tflite"
        "({path!r}) by its scores (method='occlusion', 'rise'); for other methods give the Keras "
        "model that it was converted from."
    ),
    (".onnx",): (
        "An ONNX file has no gradients and no layers to open: explain tfcam.BlackBox.from_onnx"
        "({path!r}) by its scores (method='occlusion', 'rise')."
    ),
    (".pt", ".pth", ".safetensors", ".ckpt", ".npz", ".index"): (
        "This is no file of a Keras model: build the model in Keras, and load its weights there."
    ),
    (".pb",): "Give the folder that holds it.",
}
_CALLABLE = (
    "What gives scores of a batch of arrays can be explained by these alone: "
    "tfcam.BlackBox(function, shape), with method='occlusion' or 'rise'."
)
_READERS = {".tflite": "from_tflite", ".lite": "from_tflite", ".onnx": "from_onnx"}
_WEIGHTS = (
    "These are weights alone: build the model as it was trained, then model.load_weights({path!r})."
)
_FOLDER = (
    "A SavedModel is a sealed function: keras.layers.TFSMLayer({path!r}, "
    "call_endpoint='serving_default') in a functional model can be explained at its input "
    "(method='saliency', 'integrated_gradients'), and so can tfcam.BlackBox.from_saved_model"
    "({path!r}) by its scores; for maps of layers, give the Keras model that it was exported from."
)
_PACKAGES = {
    "tf_keras": (
        "This is a model of tf_keras, the old Keras 2: save it there as model.save('model.h5') and "
        "load it with Keras 3, keras.models.load_model('model.h5')."
    ),
    "torch": (
        "This is a PyTorch model: build it in Keras 3, or give tfcam.BlackBox(function, shape) a "
        "function that asks it."
    ),
    "tensorflow.python.saved_model": (
        "This was loaded by tf.saved_model.load: keras.layers.TFSMLayer(folder, "
        "call_endpoint='serving_default') in a functional model can be explained at its input; for "
        "maps of layers, give the Keras model that it was exported from."
    ),
    "tensorflow.lite": (
        "A TFLite file has no gradients and no layers to open: explain tfcam.BlackBox.from_tflite"
        "(path) by its scores; for other methods give the Keras model that it was converted from."
    ),
}


def hint_for(model: Any) -> str:
    """Say what to do with something that is no Keras model; empty where that is not known.

    Example:
        >>> hint_for("dogs.weights.h5")
        "These are weights alone: build the model as it was trained, then
        model.load_weights('dogs.weights.h5')."
    """
    if isinstance(model, str | os.PathLike):
        return _of_path(os.fspath(model))
    for kind in type(model).__mro__:
        for package, words in _PACKAGES.items():
            if f"{kind.__module__}.".startswith(f"{package}."):
                return words
    if isinstance(model, type):
        return "Give the model itself, not its class."
    return _CALLABLE if callable(model) or hasattr(model, "predict_proba") else ""


def _of_path(path: str | bytes) -> str:
    path = os.fsdecode(path)
    if path.lstrip().startswith("{"):  # the text itself, as model.to_json() gives it
        return _FILES[".json", ".yaml", ".yml"]
    if path.endswith(".weights.h5"):
        return _WEIGHTS.format(path=path)
    folder = Path(path)
    try:
        is_saved_model = folder.is_dir() and (folder / "saved_model.pb").is_file()
    except OSError:  # the name of nothing: too long
        is_saved_model = False
    if is_saved_model:
        return _FOLDER.format(path=path)
    for endings, words in _FILES.items():
        if path.lower().endswith(endings):
            return words.format(path=path)
    return ""


def is_sealed(name: str) -> bool:
    """Whether a model's name is that of a file that can only be asked for scores.

    Example:
        >>> is_sealed("no such file.tflite"), is_sealed("dogs.keras")
        (False, False)
    """
    ends = name.lower().endswith(tuple(_READERS))
    return (ends and Path(name).is_file()) or (Path(name) / "saved_model.pb").is_file()


def sealed_reader(name: str) -> str:
    """Which method of ``tfcam.BlackBox`` reads such a file.

    Example:
        >>> sealed_reader("dogs.ONNX"), sealed_reader("saved")
        ('from_onnx', 'from_saved_model')
    """
    return _READERS.get(Path(name).suffix.lower(), "from_saved_model")
