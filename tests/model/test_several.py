"""Models whose own code is written for one example at a time, beside twins that take batches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfcam
from tests import networks
from tfcam.metrics import Probe, average_drop, deletion
from tfcam.model.graph import graph_of
from tfcam.model.several import at_once

SIDE = 12


class Alone(keras.Model):
    """Writes the number of its examples into a reshape: 1, or as many as there are."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.maps = layers.Conv2D(4, 3, activation="relu")
        self.classes = layers.Dense(3, activation="softmax")

    def call(self, x):
        x = self.maps(x)
        rows = ops.reshape(x, (self.count, 100, 4))
        return self.classes(ops.max(rows, axis=1))


def of_lambda(count: int) -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.Lambda(lambda x: ops.reshape(x, (count, 100, 4)), output_shape=(100, 4))(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(ops.max(x, axis=1)))


def of_first(count: int) -> keras.Model:
    """Looks at the first example alone, whatever else it is given: no error tells."""
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    taken = (lambda x: x[:1]) if count == 1 else (lambda x: x)
    x = layers.Lambda(taken, output_shape=(10, 10, 4))(x)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


@pytest.fixture(params=[Alone, of_lambda, of_first])
def twins(request):
    """A model of one example at a time, and one of any number."""
    made = [request.param(count) for count in (1, -1)]
    for model in made:
        model(np.zeros((1, SIDE, SIDE, 3), "f4"))
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.5, w.shape) for w in made[0].get_weights()]
    for model in made:
        model.set_weights(weights)
    return made


@pytest.fixture
def images(rng):
    return rng.normal(0, 1, (3, SIDE, SIDE, 3)).astype("f4")


OPTIONS = {
    "integrated_gradients": {"steps": 5},
    "smooth_grad": {"samples": 5},
    "rise": {"masks": 6},
    "occlusion": {"window": 4},
    "score_cam": {},
}


@pytest.mark.parametrize("method", OPTIONS)
def test_variants_go_through_one_by_one(twins, images, method):
    found, wanted = (
        tfcam.explain(model, images[0], method=method, preprocess=None, **OPTIONS[method])
        for model in twins
    )
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)
    assert np.abs(wanted.raw).max() > 0


def test_every_door_takes_a_batch(twins, images, tmp_path):
    found, wanted = (tfcam.explain(model, images, preprocess=None) for model in twins)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.raw, other.raw, rtol=1e-4, atol=1e-6)
    probes = [Probe(model, images, preprocess=None) for model in twins]
    heatmaps = np.random.default_rng(1).random((3, SIDE, SIDE))
    for metric in (average_drop, lambda *each: deletion(*each, steps=5).probabilities):
        np.testing.assert_allclose(*(metric(probe, heatmaps) for probe in probes), atol=1e-5)
    how = {"preprocess": None, "progress": False, "methods": ["grad_cam"], "baselines": []}
    tables = [tfcam.evaluate(m, [*images], metrics=["deletion"], **how).table for m in twins]
    np.testing.assert_allclose(tables[0].value, tables[1].value, atol=1e-5)
    how = {"preprocess": None, "progress": False, "batch_size": 2}
    stores = [
        tfcam.stream(model, [*images], to=tmp_path / str(n), **how) for n, model in enumerate(twins)
    ]
    for one, other in zip(*stores, strict=True):
        np.testing.assert_allclose(one.raw, other.raw, rtol=1e-3, atol=1e-3)  # kept as float16


def test_deep_lift_says_what_to_take(twins, images):
    with pytest.raises(ValueError, match="takes one example at a time. Take integrated_gradients"):
        tfcam.explain(twins[0], images[0], method="deep_lift", preprocess=None)


def test_only_code_of_ones_own_is_traced(monkeypatch):
    graph = graph_of(networks.flat())
    monkeypatch.setattr(type(graph), "run", lambda *_: pytest.fail("traced"))
    assert at_once(graph, 32) == 32
