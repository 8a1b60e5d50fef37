"""The three steps by hand give what an Explainer gives, in whatever way they are run."""

import numpy as np
import pytest

import tfcam
from tests import networks
from tfcam.engine.runner import Compiled, Frozen


def by_steps(pipeline, inputs, target=None):
    prepared = pipeline.prepare(list(inputs))
    return pipeline.assemble(pipeline.compute(prepared, pipeline.targets(target, len(inputs))))


def test_the_three_steps_are_an_explainers_call():
    model, inputs = networks.flat(), networks.pictures(3)
    explainer = tfcam.Explainer(model, "second", labels=list("abc"))
    steps, call = (
        by_steps(explainer.pipeline, inputs, ["a", "c", "b"]),
        explainer(inputs, [0, 2, 1]),
    )
    for one, other in zip(steps, call, strict=True):
        np.testing.assert_allclose(one.raw, other.raw, rtol=1e-5, atol=1e-8)
        assert (one.label, one.layer, one.findings) == (other.label, other.layer, other.findings)
        assert one.score == pytest.approx(other.score, rel=1e-6)


@pytest.mark.parametrize("runner", [Compiled, Frozen])
def test_another_runner_gives_the_same(runner):
    model, inputs = networks.flat(), networks.pictures(2)
    pipeline = tfcam.Explainer(model, "features").pipeline
    own = pipeline.run_by(runner())
    assert own.engine is not pipeline.engine
    for one, other in zip(by_steps(own, inputs), by_steps(pipeline, inputs), strict=True):
        np.testing.assert_allclose(one.raw, other.raw, rtol=1e-4, atol=1e-7)
    assert len(own.engine.runner.functions) == 1
    assert own.engine_for([len]) is own.engine  # a user's callable, too


def test_a_users_callable_is_kept_in_an_engine_of_its_own():
    pipeline = tfcam.Explainer(networks.flat()).pipeline
    assert pipeline.engine_for([np.zeros((1, 2)), tfcam.Regression(1.0)]) is pipeline.engine
    own = pipeline.engine_for([lambda outputs: outputs[:, 0]])
    assert own is not pipeline.engine
    assert own is pipeline.engine_for([lambda outputs: outputs[:, 1]])


def test_a_changed_model_is_opened_anew_but_not_by_a_runner_of_its_own():
    model = networks.flat()
    pipeline = tfcam.Explainer(model).pipeline
    own = pipeline.run_by(Frozen())
    before = pipeline.engine, own.engine
    model.get_layer("head").activation = None
    for each in (pipeline, own):
        each.refresh()
    assert pipeline.engine is not before[0]
    assert own.engine is before[1]


def test_the_layer_and_the_classes_are_told():
    pipeline = tfcam.Explainer(networks.flat(), ["first", "features"]).pipeline
    assert (pipeline.layer, pipeline.classes) == ("first + features", 3)
    assert tfcam.Explainer(networks.flat(), method="saliency").pipeline.layer is None
