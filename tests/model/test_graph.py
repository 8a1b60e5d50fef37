"""What is known of a model: found once, let go of with it, and known to be out of date."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks
from tests.benchmarks.journey import journey
from tfcam.model.graph import forget, graph_of


def small():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255, name="scale"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.LeakyReLU(name="leaky"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(2, name="head"),
        ]
    )


def test_a_model_has_one_graph_as_long_as_it_lives():
    model = small()
    graph = graph_of(model)
    assert graph_of(model) is graph
    assert graph.calls() is graph.calls()
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None
    with pytest.raises(ReferenceError, match="no longer exists"):
        _ = graph.model


def test_what_is_forgotten_is_read_anew():
    model = small()
    graph = graph_of(model)
    forget(model)
    assert graph_of(model) is not graph


CHANGES = {
    "a scale": lambda model: setattr(model.get_layer("scale"), "scale", 2.0),
    "an epsilon": lambda model: setattr(model.get_layer("norm"), "epsilon", 0.5),
    "a slope": lambda model: setattr(model.get_layer("leaky"), "negative_slope", 0.1),
    "an activation": lambda model: setattr(
        model.get_layer("conv"), "activation", keras.activations.linear
    ),
    "a layer more": lambda model: model.add(layers.Dense(3, name="more")),
    "a layer less": lambda model: model.pop(),
    "a quantised layer": lambda model: model.get_layer("head").quantize("int8"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_graph_knows_when_it_is_out_of_date(change):
    model = small()
    graph = graph_of(model)
    assert graph.is_current()
    CHANGES[change](model)
    assert not graph.is_current()
    assert graph_of(model) is not graph
    assert graph_of(model).is_current()


def test_statistics_that_are_no_variables_count():
    layer = layers.Normalization()
    layer.adapt(np.ones((2, 8, 8, 3), np.float32))
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, layers.Conv2D(2, 3)])
    graph = graph_of(model)
    layer.adapt(np.full((2, 8, 8, 3), 3, np.float32))
    assert not graph.is_current()


def test_the_map_is_that_of_the_model_as_it_is_now():
    """A slope is no variable: what was traced before it changed must not be used."""
    model, image = small(), np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype("float32")
    explainer = tfcam.Explainer(model, "conv", preprocess=None)
    for _ in range(2):  # eager, then compiled
        explainer(image, 0)
    model.get_layer("leaky").negative_slope = -2.0
    found, anew = explainer(image, 0), small()
    anew.set_weights(model.get_weights())
    anew.get_layer("leaky").negative_slope = -2.0
    wanted = tfcam.Explainer(anew, "conv", preprocess=None)(image, 0)
    np.testing.assert_allclose(found.raws, wanted.raws, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "work",
    [
        lambda model: model(networks.pictures(1)),
        lambda model: model.predict(networks.pictures(1), verbose=0),
        lambda model: tfcam.explain(model, networks.pictures(1)),
        lambda model: (
            model.compile("sgd", "mse"),
            model.fit(networks.pictures(2), np.zeros((2, 3)), verbose=0),
        ),
    ],
    ids=["call", "predict", "explain", "fit"],
)
def test_using_a_model_does_not_put_its_graph_out_of_date(work):
    model = networks.flat()
    graph = graph_of(model)
    work(model)
    assert graph.is_current()


def test_a_first_explain_walks_the_model_once():
    model, image = networks.flat(), networks.pictures(1)
    assert journey(lambda: tfcam.explain(model, image)).walks == 1
    assert journey(lambda: tfcam.explain(model, image)).walks == 0
