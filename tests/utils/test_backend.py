"""Keras with another backend, and an OpenCV that can't be loaded, are told in one line."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.project import ROOT

LINE = r"ImportError: tfcam needs Keras with TensorFlow; Keras is set to '{}'. Set [^\n]+\n$"


def run(code, folder, **variables):
    """What a process prints that has Keras as it is set up there."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("KERAS")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=kept | {"PYTHONPATH": str(ROOT), "KERAS_HOME": str(folder)} | variables,
    )


ASKED = (
    "import tfcam; tfcam.explain",
    "from tfcam.metrics import gini",
    "from tfcam.losses import AttentionLoss",
    "import tfcam.callbacks",
    "import tfcam; tfcam.demo_model",
)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("backend", ["jax", " openvino"])
def test_another_backend_is_told_before_it_is_loaded(asked, backend, tmp_path):
    said = run(asked, tmp_path, KERAS_BACKEND=backend)
    assert re.search(LINE.format(backend), said.stderr), said.stderr


def test_one_of_the_settings_is_told_and_a_broken_file_of_them_is_kerass_own_matter(tmp_path):
    asked = "from tfcam.utils.backend import configured_backend as of; print(of())"
    settings = tmp_path / "keras.json"
    settings.write_text(json.dumps({"backend": "jax"}))
    assert re.search(LINE.format("jax"), run(asked, tmp_path).stderr)
    assert run(asked, tmp_path, KERAS_BACKEND="tensorflow").stdout == "tensorflow\n"
    for text in ("{", "[]", "{}"):
        settings.write_text(text)
        assert run(asked, tmp_path).stdout == "tensorflow\n"


def test_one_that_is_loaded_counts(tmp_path):
    code = """
import sys, types
sys.modules["keras"] = keras = types.ModuleType("keras")
keras.config = types.SimpleNamespace(backend=lambda: "torch")
import tfcam.engine
"""
    assert re.search(LINE.format("torch"), run(code, tmp_path, KERAS_BACKEND="tensorflow").stderr)


def test_the_command_line_is_a_process_of_its_own(tmp_path):
    code = "from tfcam.cli import main; import sys; sys.argv = ['tfcam', '--help']; main()"
    said = run(code, tmp_path, KERAS_BACKEND="jax")
    assert said.returncode == 0, said.stderr
    assert "explain" in said.stdout


def test_an_opencv_without_its_libraries_is_told(tmp_path):
    (folder := tmp_path / "cv2").mkdir()
    (folder / "__init__.py").write_text("raise ImportError('libGL.so.1: not there')")
    what = r"OpenCV can't be loaded \(libGL.so.1: not there\)\. [^\n]*python-headless[^\n]*\n$"
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    said = run("import tfcam; tfcam.explain", tmp_path, **path)
    assert re.search(f"\nImportError: {what}", said.stderr), said.stderr
    command = "import sys; from tfcam.cli import main; sys.argv = ['tfcam', 'methods']; main()"
    said = run(command, tmp_path, **path)
    assert (said.returncode, said.stdout) == (2, "")
    assert re.match(f"tfcam: {what}", said.stderr), said.stderr


def test_opencv_is_imported_at_one_place():
    importing = re.compile(r"^\s*(import|from) cv2\b", re.M)
    files = (ROOT / "tfcam").rglob("*.py")
    found = [path.name for path in files if importing.search(path.read_text(encoding="utf-8"))]
    assert found == ["opencv.py"]
