"""Models in files that can only be asked: TFLite, SavedModel, ONNX."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.utils.digest import digest_file
from tfcam.utils.extras import import_extra
from tfcam.utils.paths import as_path
from tfcam.utils.suggestions import did_you_mean


@dataclass(frozen=True)
class Sealed:
    """A model of a file, as a function.

    Attributes:
        ask: Images (B, H, W, C) float32 -> scores (B, classes).
        shape: What it takes of one image, (H, W, C).
        name: That of the file.
        batch_size: So many images at once, where it takes no other number; else None.
        digests: Of its files.
    """

    ask: Callable[[np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    name: str
    batch_size: int | None
    digests: tuple[str, ...]

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells it from others: its content."""
        return self.digests

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.ask(images)


def _tflite_interpreter(path: str) -> Any:
    """LiteRT's interpreter where it is installed, else TensorFlow's, which is to move there."""
    if find_spec("ai_edge_litert") is not None:
        from ai_edge_litert.interpreter import Interpreter

        return Interpreter(model_path=path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tf.lite.Interpreter(model_path=path)


def read_tflite(path: str | os.PathLike[str]) -> Sealed:
    """Read a TFLite file: see ``BlackBox.from_tflite``."""
    file = _file(path)
    try:
        interpreter = _tflite_interpreter(str(file))
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise _unread(path, "a TFLite file", error) from None
    taken, given = interpreter.get_input_details(), interpreter.get_output_details()
    _check_one(path, [one["name"] for one in taken], "inputs")
    _check_one(path, [one["name"] for one in given], "outputs")
    (taken,), (given,) = taken, given
    shape = _sides(path, taken["shape"][1:])

    def ask(images: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(taken["index"], _quantised(images, taken))
        interpreter.invoke()
        return _real(interpreter.get_tensor(given["index"]), given)

    own = taken.get("shape_signature", taken["shape"])[0]
    size = None if own == -1 else int(own)
    if size is None:
        size = 32
        interpreter.resize_tensor_input(taken["index"], (size, *shape))
        interpreter.allocate_tensors()
    return Sealed(ask, shape, file.stem, size, (digest_file(file),))


def _quantised(images: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Real numbers as a tensor of a TFLite model has them."""
    kind, (scale, zero) = np.dtype(details["dtype"]), details["quantization"]
    if kind.kind == "f" or not scale:
        return images.astype(kind)
    limits = np.iinfo(kind)
    return np.clip(np.round(images / scale + zero), limits.min, limits.max).astype(kind)


def _real(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """The real numbers of a tensor of a TFLite model."""
    scale, zero = details["quantization"]
    if values.dtype.kind == "f" or not scale:
        return values.astype(np.float32)
    return (scale * (values.astype(np.float32) - zero)).astype(np.float32)


def read_saved_model(
    path: str | os.PathLike[str],
    signature: str = "serving_default",
    output: str | int | None = None,
) -> Sealed:
    """Read a SavedModel: see ``BlackBox.from_saved_model``."""
    folder = as_path(path)
    if not (folder / "saved_model.pb").is_file():
        raise FileNotFoundError(f"No folder of a SavedModel {str(path)!r}: it has saved_model.pb.")
    try:
        loaded = tf.saved_model.load(str(folder))
    except Exception as error:  # damaged files let nearly anything out
        raise _unread(path, "a SavedModel", error) from None
    if signature not in loaded.signatures:
        known = list(loaded.signatures)
        raise ValueError(
            f"signature must be one of {', '.join(known) or 'none'}; got {signature!r}."
            f"{did_you_mean(signature, known)}"
        )
    function = loaded.signatures[signature]
    specs = function.structured_input_signature[1]
    _check_one(path, list(specs), "inputs")
    ((name, spec),) = specs.items()
    scores = _named(path, list(function.structured_outputs), output)

    def ask(images: np.ndarray) -> np.ndarray:
        # Its variables live as long as what was loaded does.
        given = loaded.signatures[signature](**{name: tf.cast(images, spec.dtype)})
        return np.asarray(given[scores])

    parts = tuple(digest_file(file) for file in sorted(folder.rglob("*")) if file.is_file())
    return Sealed(ask, _sides(path, spec.shape[1:]), folder.name, spec.shape[0], parts)


def read_onnx(path: str | os.PathLike[str], output: str | int | None = None) -> Sealed:
    """Read an ONNX file: see ``BlackBox.from_onnx``."""
    runtime = import_extra("onnxruntime", extra="onnx", user="BlackBox.from_onnx")
    file = _file(path)
    try:
        session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has classes of its own for it
        raise _unread(path, "an ONNX file", error) from None
    _check_one(path, [one.name for one in session.get_inputs()], "inputs")
    (taken,) = session.get_inputs()
    scores = _named(path, [one.name for one in session.get_outputs()], output)
    sides = _sides(path, taken.shape[1:])
    first = len(sides) == 3 and sides[0] in (1, 3, 4) and sides[2] not in (1, 3, 4)
    kind = {"tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}

    def ask(images: np.ndarray) -> np.ndarray:
        images = np.moveaxis(images, -1, 1) if first else images
        given = np.ascontiguousarray(images, kind.get(taken.type, np.float32))
        (found,) = session.run([scores], {taken.name: given})
        return np.asarray(found)

    shape = (*sides[1:], sides[0]) if first else sides
    size = taken.shape[0] if isinstance(taken.shape[0], int) else None
    return Sealed(ask, shape, file.stem, size, (digest_file(file),))


def _file(path: str | os.PathLike[str]) -> Path:
    file = as_path(path)
    if not file.is_file():
        raise FileNotFoundError(f"No model file {str(path)!r}.")
    return file


def _unread(path: str | os.PathLike[str], kind: str, error: Exception) -> ValueError:
    why = " ".join(str(error).split())
    return ValueError(f"{str(path)!r} could not be read as {kind}: {why:.200}")


def _check_one(path: str | os.PathLike[str], names: Sequence[str], what: str) -> None:
    if len(names) != 1:
        raise ValueError(
            "A BlackBox needs a model with one input of images and one output of scores; "
            f"{str(path)!r} has {len(names)} {what}: {', '.join(names)}. Give a function of it."
        )


def _named(path: str | os.PathLike[str], names: Sequence[str], output: str | int | None) -> str:
    if output is None:
        _check_one(path, names, "outputs, one of which can be named by output=")
        return names[0]
    if isinstance(output, int) and 0 <= output < len(names):
        return names[output]
    if not isinstance(output, str) or output not in names:
        raise ValueError(
            f"output must be one of {', '.join(names)}; got {output!r}."
            f"{did_you_mean(output, names)}"
        )
    return output


def _sides(path: str | os.PathLike[str], shape: Any) -> tuple[int, ...]:
    sides = tuple(int(side) for side in shape if isinstance(side, int | np.integer))
    if len(sides) != len(shape) or not all(side > 0 for side in sides):
        raise ValueError(
            f"{str(path)!r} leaves its sides open, {list(shape)}: give a function of it, and "
            "the shape, tfcam.BlackBox(function, (H, W, C))."
        )
    return sides
