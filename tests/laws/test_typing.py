"""What a type checker says of a script that uses tfcam."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SCRIPT = """
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tfcam
from tfcam import Difference, Explainer, Explanation, Explanations, Top, explain


def use(model: Any, array: np.ndarray, picture: Image.Image) -> None:
    explainer = Explainer(model, "features", method="layer_cam", batch_size=4)

    # One picture
    reveal_type(explain(model, "dog.jpg"))  # Explanation
    reveal_type(explain(model, Path("dog.jpg"), "features", target="tabby"))  # Explanation
    reveal_type(explain(model, picture, target=Difference(1, 2), samples=3))  # Explanation
    reveal_type(explain(model, b"...", ["a", "b"], target=lambda outputs: outputs))  # Explanation
    reveal_type(explain(model, [12, 7, 301], words=["not", "so", "bad"]))  # Explanation
    reveal_type(explainer("dog.jpg", 3))  # Explanation
    reveal_type(explainer(picture))  # Explanation

    # A batch, or several targets
    reveal_type(explain(model, ["dog.jpg", "cat.jpg"]))  # Explanations
    reveal_type(explain(model, [array, array], target=[1, "tabby"]))  # Explanations
    reveal_type(explain(model, [array, array], target=np.array([1, 2])))  # Explanations
    reveal_type(explain(model, [[1, 2], [3, 4]], target=1))  # Explanations
    reveal_type(explain(model, "dog.jpg", target=Top(3)))  # Explanations
    reveal_type(explain(model, array, target=[1, 2]))  # Explanations
    reveal_type(explain(model, {"left": array, "right": array}, target=Top(2)))  # Explanations
    reveal_type(explainer([picture, picture]))  # Explanations
    reveal_type(explainer("dog.jpg", Top(3)))  # Explanations
    reveal_type(explainer("dog.jpg", [1, 2]))  # Explanations

    # What only the model can tell
    reveal_type(explain(model, array))  # Any
    reveal_type(explain(model, (array, array), input="left"))  # Any
    reveal_type(explainer(array, np.array([1, 2])))  # Any
    reveal_type(explainer({"left": array, "right": array}))  # Any

    explain(model, "dog.jpg").heatmaps  # error: "Explanation" has no attribute "heatmaps"
    explain(model, ["dog.jpg"]).heatmap  # error: "Explanations" has no attribute "heatmap"
    explain(model, 3)  # error: No overload variant
    explain(model, "dog.jpg", score="probabilty")  # error: No overload variant
    explain(model, "dog.jpg", grid=7)  # error: No overload variant
    Explainer(model, fuse="median")  # error: Argument "fuse" to "Explainer"
    Explainer(model, eigen="yes")  # error: Argument "eigen" to "Explainer"
    tfcam.evaluate(model, "photos", score="probabilty")  # error: Argument "score" to "evaluate"
    tfcam.evaluate(model, "photos", grids=(7, 7))  # error: Unexpected keyword argument "grids"
    tfcam.recommend(model, "photos", progress="yes")  # error: Argument "progress" to "recommend"
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What mypy says of each line, by its number."""
    script = tmp_path_factory.mktemp("user") / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        if place := re.match(r".*script\.py:(\d+): (error|note): (.*)", line):
            found.setdefault(int(place[1]), []).append(f"{place[2]}: {place[3]}")
    return found


LINES = dict(enumerate(SCRIPT.splitlines(), 1))


@pytest.mark.parametrize("number", [n for n, line in LINES.items() if "reveal_type" in line])
def test_the_type_of_a_result_is_known(said, number):
    kind = LINES[number].split("# ")[1]
    assert any(re.search(rf'Revealed type is "(?:.*\.)?{kind}"', each) for each in said[number])


@pytest.mark.parametrize("number", [n for n, line in LINES.items() if "# error: " in line])
def test_wrong_use_is_refused(said, number):
    message = LINES[number].split("# error: ")[1]
    assert any(each.startswith(f"error: {message}") for each in said[number])


def test_nothing_else_is_refused(said):
    refused = {n for n, lines in said.items() if any(each.startswith("error") for each in lines)}
    assert refused == {n for n, line in LINES.items() if "# error: " in line}
