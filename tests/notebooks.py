"""Run notebooks and keep what they show, with small pictures.

    python -m tests.notebooks 8_any_function_any_model

Runs each notebook whose name is given in an empty folder and writes it back with its outputs:
figures of at most 640 pixels, and nothing of what was printed as an error or a log.
``TFCAM_TEST_DATA`` is the folder with the weights.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
WIDTH, COLOURS = 640, 256
# What a hastened run asks first: a few steps of what takes hundreds.
HASTE = """
import keras
import tfcam

def take_at_most(owner, name, **most):
    whole = getattr(owner, name)
    def hastened(*args, **given):
        return whole(*args, **given | {key: min(given.get(key, n), n) for key, n in most.items()})
    setattr(owner, name, hastened)

take_at_most(keras.Model, "fit", epochs=2)
take_at_most(tfcam, "dream", steps=8)
take_at_most(tfcam, "verify", draws=19)
"""
NOBODY = "http://127.0.0.1:9"  # as a proxy: whatever tries to download fails at once


def run(notebook: Any, folder: Path, data: Path | None, hasten: bool = False) -> Any:
    """Run a notebook in a folder, without a network.

    Args:
        notebook: As nbformat reads it; it gets its outputs.
        folder: Where it runs, empty.
        data: The folder with weights and pictures, if there is one.
        hasten: Whether networks are trained, and dreams dreamt, for a few steps only.
    """
    if hasten:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(HASTE))
    apart = {
        "PYTHONPATH": str(ROOT),  # this tfcam, whichever is installed
        "TFCAM_TEST_DATA": str(data or ""),
        "TF_CPP_MIN_LOG_LEVEL": "3",  # what TensorFlow found of GPUs is of no reader
        "PYTHONWARNINGS": "ignore::Warning:tqdm.auto",  # of bars that are not drawn
        "KERAS_HOME": str((data or folder) / "keras"),
        **{f"{scheme}_proxy": NOBODY for scheme in ("http", "https", "HTTP", "HTTPS")},
    }
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}
    )
    client.execute(env=os.environ | apart)
    del notebook.cells[: int(hasten)]
    return notebook


def shrink(notebook: Any) -> Any:
    """Leave what a reader looks at: text, and figures that are small."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
        outputs = [each for each in cell.get("outputs", []) if each.get("name") != "stderr"]
        for each in outputs:
            data = each.get("data", {})
            if "image/png" in data:
                each.data = small(data["image/png"]) | {"text/plain": data["text/plain"]}
        if "outputs" in cell:
            cell.outputs = outputs
    return notebook


def small(png: str, width: int = WIDTH) -> dict[str, str]:
    """Make a figure small: of few colours, or as a photograph; by kind, in Base64."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as figure:
        shown = figure.convert("RGB")
    shown.thumbnail((width, 10 * width))
    drawn, photo = io.BytesIO(), io.BytesIO()
    shown.quantize(COLOURS, dither=Image.Dither.NONE).save(drawn, "PNG", optimize=True)
    shown.save(photo, "JPEG", quality=75, subsampling=0, optimize=True)
    if len(drawn.getvalue()) <= len(photo.getvalue()):
        return {"image/png": base64.b64encode(drawn.getvalue()).decode()}
    return {"image/jpeg": base64.b64encode(photo.getvalue()).decode()}


def main() -> None:
    """Run those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="such as 8_any_function_any_model")
    data = os.environ.get("TFCAM_TEST_DATA")
    for name in parser.parse_args().names:
        path = FOLDER / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            notebook = nbformat.read(path, as_version=4)
            run(notebook, Path(folder), Path(data).resolve() if data else None)
        nbformat.write(shrink(notebook), path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
