"""The experiment with a planted shortcut: what it draws, teaches and writes."""

import json

import numpy as np
import pytest
from PIL import Image

from tfcam.scenes import KINDS
from training import attention


def test_the_tag_betrays_the_class_or_another_or_is_not_there():
    scenes = attention.draw_scenes(np.random.default_rng(0), 40)
    rng = np.random.default_rng(1)
    corner = {tag: scenes.tagged(tag, rng)[:, 5, 5].tolist() for tag in attention.TAGS}
    colours = {}
    for label, colour in zip(scenes.labels, corner["right"], strict=True):
        assert colours.setdefault(label, colour) == colour
    assert len({tuple(each) for each in colours.values()}) == len(colours) > 4
    assert corner["none"] == scenes.images[:, 5, 5].tolist()
    assert not any(
        one == other for one, other in zip(corner["right"], corner["wrong"], strict=True)
    )
    # The tag changes its corner and nothing else.
    changed = (scenes.tagged("right", rng) != scenes.images).any(axis=(0, 3))
    y, x = np.nonzero(changed)
    assert (y.min(), x.min(), y.max(), x.max()) == (1, 1, attention.TAG, attention.TAG)


@pytest.mark.product
def test_a_miniature_run_writes_numbers_table_and_figure(tmp_path):
    """The loss moves the maps onto the shape already here; accuracy needs more scenes."""
    recipe = attention.Recipe(scenes=32, fresh=8, epochs=4, seeds=1)
    result = attention.write(tmp_path / "run", recipe)
    assert json.loads((tmp_path / "run" / "attention.json").read_text()) == result
    lines = (tmp_path / "run" / "attention.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {arm}" for arm in attention.ARMS]
    with Image.open(tmp_path / "run" / "attention.png") as picture:
        assert picture.width > 600
    told = {row["arm"]: row["answer"]["none"]["energy"] for row in result["rows"]}
    assert told["tag, attention loss"] > told["tag, no attention loss"] + 0.05
    assert 0 < result["uniform_energy"] < 0.3
    assert result["chance"] == 1 / len(KINDS)
