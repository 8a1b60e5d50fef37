"""Without the extras tfcam does its work, and each corner that needs one says what to install."""

import re
import subprocess
import sys

import numpy as np
import pytest

import tfcam
from tests.project import PROJECT

EXTRAS = PROJECT["optional-dependencies"]
HIDDEN = ("gradio", "sklearn", "onnxruntime", "ray", "tensorboard", "keras_hub")

WITHOUT = f"""
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HIDDEN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Nothing())
"""


def run(code, folder):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_main_job_needs_no_extra(tmp_path):
    code = """
import tfcam, tfcam.metrics, tfcam.evaluation.report, tfcam.streaming.store
scene = tfcam.scenes.draw_scene(4)
result = tfcam.explain(tfcam.demo_model(), scene.image)
print(result.heatmap.argmax())
from tfcam.cli import main
sys.argv = ["tfcam", "demo"]
main()
"""
    said = run(code, tmp_path)
    assert said.returncode == 0, said.stderr
    scene = tfcam.scenes.draw_scene(4)
    with_all = tfcam.explain(tfcam.demo_model(), scene.image)
    assert said.stdout.split()[0] == str(with_all.heatmap.argmax())
    assert (tmp_path / "demo.png").exists()


@pytest.mark.parametrize(
    ("module", "extra", "call"),
    [
        ("gradio", "app", lambda model, to: tfcam.app(model)),
        ("sklearn", "embed", lambda model, to: tfcam.embed(model, [np.zeros((64, 64, 3), "u1")])),
        ("onnxruntime", "onnx", lambda model, to: tfcam.BlackBox.from_onnx(to / "net.onnx")),
        ("ray", "ray", lambda model, to: tfcam.stream_on_ray(model, [], to=to)),
    ],
)
def test_who_needs_an_extra_says_what_to_install(module, extra, call, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "ray.data", raising=False)
    line = re.escape(f"needs {module}: python -m pip install 'tfcam[{extra}]'.") + "$"
    with pytest.raises(ImportError, match=line):
        call(tfcam.demo_model(), tmp_path)
    assert extra in EXTRAS


def test_the_extra_dev_holds_every_corner():
    assert {"app", "embed", "onnx", "ray", "train"} <= set(re.findall(r"\w+", EXTRAS["dev"][0]))
