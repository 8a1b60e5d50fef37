"""Metrics given wrong things say in one clear error what they take."""

import re

import numpy as np
import pytest

import tfcam
from tfcam import metrics

SCENE = tfcam.scenes.draw_scene(1)
WRONG = ["x", None, 3, {"a": 1}, ["a", "b"], [None], object(), SCENE, np.zeros((2, 2), complex)]
NONE = [[], np.zeros((0, 4, 4))]
LOCAL = (
    *("box_iou", "pointing_game", "energy", "relevance_rank_accuracy", "top_quarter_iou"),
    "localisation_auc",
)
PROBING = (
    "deletion",
    "insertion",
    "road",
    "average_drop",
    "increase_in_confidence",
    "confidence_change",
    "removal",
    "faithfulness_correlation",
    "comprehensiveness",
    "sufficiency",
    "supported",
)
named = pytest.mark.parametrize("wrong", WRONG, ids=lambda value: type(value).__name__)


@pytest.fixture(scope="module")
def probe():
    return metrics.Probe(tfcam.demo_model(), SCENE.image)


@named
@pytest.mark.parametrize("name", ["gini", "entropy", "mean_value"])
def test_no_heatmaps(name, wrong):
    with pytest.raises(ValueError, match="^(A heatmap|Heatmaps) must be .*; got "):
        getattr(metrics, name)(wrong)


@pytest.mark.parametrize("name", ["gini", "entropy", "mean_value"])
def test_one_heatmap_is_not_taken_for_many_rows(name):
    heatmap = np.random.default_rng(0).random((4, 6))
    with pytest.raises(ValueError, match=re.escape("got an array of shape (4, 6). One alone is a")):
        getattr(metrics, name)(heatmap)
    assert getattr(metrics, name)([heatmap]) == getattr(metrics, name)(heatmap[np.newaxis])
    for none in NONE:
        with pytest.raises(ValueError, match="at least one heatmap; got none"):
            getattr(metrics, name)(none)


@named
@pytest.mark.parametrize("name", LOCAL)
def test_no_heatmap_and_no_truth(name, wrong):
    function = getattr(metrics, name)
    with pytest.raises(ValueError, match="^A heatmap (of a picture )?must be .*; got "):
        function(wrong, SCENE.boxes)
    with pytest.raises(ValueError, match=r"^True boxes must be \(n, 4\).*; got "):
        function(np.ones((128, 128)), wrong)


@pytest.mark.parametrize("name", LOCAL)
def test_an_explanation_is_measured_as_its_heatmap(name):
    result = tfcam.explain(tfcam.demo_model(), SCENE.image)
    function = getattr(metrics, name)
    assert function(result, SCENE.boxes) == function(result.heatmap, SCENE.boxes)


@named
@pytest.mark.parametrize("name", PROBING)
def test_no_probe_and_no_heatmaps_of_one(name, wrong, probe):
    function = getattr(metrics, name)
    with pytest.raises(TypeError, match=r"probe must be a tfcam\.metrics\.Probe\(model, images\)"):
        function(wrong, np.ones((1, 128, 128)))
    with pytest.raises(ValueError, match="[Hh]eatmap|^A map must be an array of numbers or an"):
        function(probe, wrong)


@named
def test_no_explanations(wrong):
    with pytest.raises(TypeError, match="results must be a list of explanations; got "):
        metrics.completeness_residual(wrong)


@pytest.mark.parametrize("held", [SCENE, tfcam.Example("a", SCENE.image)])
def test_what_holds_an_image_is_told_to_give_it(held):
    model = tfcam.demo_model()
    calls = [tfcam.explain, tfcam.compare, tfcam.diagnose, metrics.Probe, tfcam.Explainer(model)]
    for call in calls[:-1]:
        with pytest.raises(ValueError, match=r"It holds one: pass its \.image\."):
            call(model, held)
    with pytest.raises(ValueError, match=r"It holds one: pass its \.image\."):
        calls[-1]([held])


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"batchsize": 3}, "batch_size"),
        ({"tagret": 3}, "target"),
        ({"method": "smooth_grad", "sample": 3}, "samples"),
        ({"preprocess": "unti"}, "unit"),
        ({"score": "logits"}, "logit"),
        ({"fuse": "men"}, "mean"),
    ],
)
def test_mistaken_options_are_answered_with_what_may_be_meant(options, meant):
    with pytest.raises((TypeError, ValueError), match=rf"Did you mean .*'{meant}'"):
        tfcam.explain(tfcam.demo_model(), SCENE.image, **options)


def test_mistaken_options_of_metrics_and_dreams():
    with pytest.raises(TypeError, match="Did you mean 'steps'"):
        tfcam.evaluate(tfcam.demo_model(), [SCENE.image], metrics=[("deletion", {"step": 3})])
    with pytest.raises(TypeError, match="Did you mean 'blur'"):
        tfcam.dream(tfcam.demo_model(), 1, blurr=3)
