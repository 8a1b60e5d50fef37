"""The notebooks run from top to bottom and draw their figures.

They are kept as ``python -m tests.notebooks`` has run them. Some need MobileNetV2's weights; none
may download anything else.
"""

import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from tests import notebooks
from tests.project import PROJECT

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPOSITORY = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
OF_WEIGHTS = ("1_", "2_", "3_", "5_", "8_")

# Hastened, those take less than a minute; the others run whole, among the products.
SHORT = [path for path in NOTEBOOKS if path.stem.startswith(("1_", "2_"))]

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def sources(notebook, kind):
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def run(path, folder, data, hasten=False):
    """The notebook with its outputs, run in a folder that is empty."""
    return notebooks.run(read(path), folder, data, hasten)


def check_outputs(notebook):
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", [])]
    printed = "".join(each.text for each in outputs if each.output_type == "stream")
    assert not re.findall(r".*Warning: .*|WARNING:tensorflow.*", printed), (
        "a reader would see warnings"
    )
    drawn = [
        picture
        for each in outputs
        for kind, picture in each.get("data", {}).items()
        if kind.startswith("image/")
    ]
    assert len(drawn) >= 4
    for each in drawn:
        with Image.open(io.BytesIO(base64.b64decode(each))) as figure:
            assert figure.width <= 1000, "wider than a notebook's page"
            assert np.asarray(figure.convert("L")).std() > 5, "an empty figure"


@pytest.mark.parametrize(
    ("path", "hasten"),
    [
        *(pytest.param(path, True, marks=pytest.mark.slow) for path in SHORT),
        *(pytest.param(path, False, marks=pytest.mark.product) for path in NOTEBOOKS),
    ],
    ids=lambda given: given.stem if isinstance(given, Path) else "hastened" * given or "whole",
)
def test_it_runs(path, hasten, tmp_path):
    data = os.environ.get("TFCAM_TEST_DATA")
    if not data and path.stem.startswith(OF_WEIGHTS):
        pytest.skip("needs MobileNetV2's weights: set TFCAM_TEST_DATA")
    check_outputs(run(path, tmp_path, Path(data).resolve() if data else None, hasten))


@pytest.mark.product
def test_a_figure_is_shown_once_whether_or_not_it_is_a_cells_value(tmp_path):
    prepare = (
        "import tfcam\n"
        "scene = tfcam.scenes.draw_scene(4).image\n"
        "found = tfcam.compare(tfcam.demo_model(), scene, methods=['cam'])"
    )
    shows = ["found", "found.plot()", "found.plot();", "figure = found.plot()"]
    cells = [nbformat.v4.new_code_cell(each) for each in [prepare, *shows]]
    path = tmp_path / "figures.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    for cell in run(path, tmp_path, None).cells[1:]:
        pictures = [each for each in cell.outputs if "image/png" in each.get("data", {})]
        assert len(pictures) == 1, cell.source


@each_notebook
def test_kept_outputs_are_whole_and_small(path):
    notebook = read(path)
    check_outputs(notebook)
    assert path.stat().st_size < 1.5e6
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run from top to bottom"
    assert "TFCAM_TEST_DATA" not in path.read_text(encoding="utf-8")
    kinds = {each.output_type for cell in notebook.cells for each in cell.get("outputs", [])}
    assert kinds <= {"stream", "display_data", "execute_result"}


@each_notebook
def test_it_opens_in_colab_and_installs_there_only(path):
    notebook = read(path)
    badge = f"https://colab.research.google.com/github/{REPOSITORY}/blob/main/notebooks/{path.name}"
    assert f"({badge})" in sources(notebook, "markdown")[0]
    install = sources(notebook, "code")[0]
    assert re.search(r'^if "google\.colab" in sys\.modules:\n    %pip install ', install, re.M)


@each_notebook
def test_the_readme_lists_it(path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"(notebooks/{path.name})" in readme
    assert f"/{REPOSITORY}/blob/main/notebooks/{path.name})" in readme


@each_notebook
def test_links_lead_to_notebooks_that_exist(path):
    text = "\n".join(sources(read(path), "markdown"))
    linked = re.findall(rf"\(https://github.com/{REPOSITORY}/blob/main/notebooks/([^)]*)\)", text)
    assert set(linked) <= {each.name for each in NOTEBOOKS}
    assert not re.findall(r"\]\((?!https://)[^)]*\)", text), "Colab knows no other files"


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_their_code_is_clean(command):
    said = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *NOTEBOOKS],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stdout + said.stderr
