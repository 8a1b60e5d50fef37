"""The demo: its arithmetic by hand, and what it finds on scenes whose truth is known."""

import dataclasses
import re

import numpy as np
import pytest

import tfcam
from tfcam.cli.demo_figure import SHOWN, Agreement, agreement, run_demo


@pytest.fixture(scope="module")
def explained():
    scene = tfcam.scenes.draw_scene(4)
    return scene, tfcam.explain(tfcam.demo_model(), scene.image, target=scene.labels[0])


def test_agreement_by_hand(explained):
    scene, result = explained
    truth = np.zeros((1, 128, 128), bool)
    truth[0, 10:30, 40:60] = True
    scene = dataclasses.replace(scene, boxes=np.array([[40, 10, 60, 30]], np.float32), masks=truth)

    def shown(rows, columns):
        heatmap = np.zeros((128, 128), np.float32)
        heatmap[rows, columns] = 1
        return dataclasses.replace(result, heatmap=heatmap)

    exact = shown(slice(10, 30), slice(40, 60))
    half = shown(slice(10, 30), slice(50, 70))  # its first pixel, at x = 50, lies on the shape
    apart = shown(slice(90, 100), slice(0, 9))
    empty = shown(slice(0, 0), slice(0, 0))
    assert agreement([scene], [exact]) == Agreement("grad_cam", 1.0, 1.0)
    assert agreement([scene], [half]).iou == pytest.approx(200 / 600)
    assert agreement([scene], [apart]) == Agreement("grad_cam", 0.0, 0.0)
    assert agreement([scene], [empty]) == Agreement("grad_cam", 0.0, 0.0)
    mean = agreement([scene] * 4, [exact, half, apart, empty])
    assert mean == Agreement("grad_cam", pytest.approx((1 + 1 / 3) / 4), 0.5)


@pytest.mark.slow
def test_the_demos_maps_lie_on_the_shapes():
    figure, rows = run_demo(seed=77, count=12)
    assert [row.method for row in rows] == list(SHOWN)
    found = {row.method: row for row in rows}
    assert found["cam"].iou == pytest.approx(found["grad_cam"].iou, abs=1e-3)
    for name in ("cam", "grad_cam", "grad_cam_pp"):
        assert found[name].pointing >= 0.9
        assert found[name].iou >= 0.6
    assert len(figure.axes) == 3 * (1 + len(SHOWN)) + 1  # and the colour bar
    said = [each.get_text().replace("\n", "") for each in figure.texts]
    assert {*SHOWN, "at features", "the scene"} <= set(said)
    assert sum(bool(re.fullmatch(r"probability [\d.e-]+", each)) for each in said) == 3


@pytest.mark.slow
def test_each_classs_map_lies_on_its_own_shape():
    scenes = [tfcam.scenes.draw_scene(900 + seed, shapes=2) for seed in range(40)]
    explainer = tfcam.Explainer(tfcam.demo_model())
    hits = []
    for which in (0, 1):
        targets = [scene.labels[which] for scene in scenes]
        results = explainer([scene.image for scene in scenes], targets)
        for scene, result in zip(scenes, results, strict=True):
            top = np.unravel_index(result.heatmap.argmax(), result.heatmap.shape)
            hits.append(scene.masks[which][top])
    assert np.mean(hits) >= 0.95
