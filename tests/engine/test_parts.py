"""Many targets of one call: the same as each by itself, and little to compile."""

import numpy as np
import pytest

import tfcam
from tfcam.engine import parts

MIXED = [
    tfcam.Top(3),
    1,
    tfcam.Difference(0, 2),
    lambda outputs: outputs[:, 1] - outputs[:, 0],
    2,
    tfcam.Top(2),
]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(parts, "AT_ONCE", 3)


@pytest.fixture(scope="module")
def picture():
    return tfcam.scenes.draw_scene(1).image


@pytest.mark.parametrize("target", [tfcam.Top(4), [0, 3, 1, 2], MIXED])
def test_parts_change_nothing(request, shapes, picture, target):
    wanted = tfcam.explain(shapes, picture, target=target)
    request.getfixturevalue("few")
    found = tfcam.Explainer(shapes)(picture, target)
    assert [each.name for each in found] == [each.name for each in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-5)
        np.testing.assert_allclose(one.raw, other.raw, atol=1e-5 * np.abs(other.raw).max())
        assert one.probability == pytest.approx(other.probability, abs=1e-6)


@pytest.mark.usefixtures("few")
def test_one_part_is_compiled_for_all(shapes, picture):
    explainer = tfcam.Explainer(shapes, method="saliency")
    for _ in range(2):
        assert len(explainer(picture, [0, 1, 2, 3, 0])) == 5
    assert len(explainer.pipeline.engine.runner.functions) == 1


@pytest.mark.usefixtures("few")
def test_side_by_side(shapes, picture):
    found = tfcam.compare(shapes, picture, methods=["cam", "layer_cam"], targets=[0, 1, 2, 3])
    alone = tfcam.explain(shapes, picture, method="layer_cam", target=3)
    np.testing.assert_allclose(found["layer_cam", 3].heatmap, alone.heatmap, atol=1e-5)


@pytest.mark.usefixtures("few")
def test_more_than_there_are_is_told(shapes, picture):
    with pytest.raises(ValueError, match=r"at most the number of classes, \d+; got 99"):
        tfcam.explain(shapes, picture, target=tfcam.Top(99))
