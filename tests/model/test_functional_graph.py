"""What Keras's graph tells of a model is what a trace of it shows, or it tells nothing."""

import keras
import pytest
from keras import layers

from tests import kinds, networks
from tfcam.model.functional_graph import read_calls
from tfcam.model.graph import graph_of
from tfcam.model.tracing import trace_calls

# Kinds whose layers call what no graph shows.
TRACED = {
    "subclassed",
    "functional in a subclassed model",
    "subclassed in a functional model",
    "`call` under `tf.function`",
    "subclassed, in TensorFlow's own operations",
    "KerasHub ViT classifier",
    "text (Embedding, Conv1D)",
    "videos (ConvLSTM2D)",
    "transformer with a class token",
    "transformer whose tokens are pooled",
    "input (None, None, 3)",
}


def named_in_order(calls):
    """The calls, their tensors named by when they are first seen, so that two can be equal."""
    seen = {}

    def name(tensor):
        return None if tensor is None else seen.setdefault(tensor, len(seen))

    steps = [
        (each.path, each.operation, each.number, [*map(name, each.inputs)], name(each.output))
        for each in calls.calls
    ]
    shapes = [(each.shape, each.input_shape) for each in calls.calls]
    sources = {seen[tensor]: of for tensor, of in calls.sources.items() if tensor in seen}
    rest = calls.shape, calls.rank, calls.sides, calls.attentions, calls.which
    return steps, shapes, [*map(name, calls.outputs)], sources, rest


def assert_read_is_traced(model, which=0):
    graph = graph_of(model)
    read = read_calls(graph, graph.inputs, which)
    assert read is not None
    assert named_in_order(read) == named_in_order(trace_calls(graph, graph.structure, which))


@pytest.mark.parametrize("kind", sorted({*kinds.BUILDABLE} - {"videos with channels first"}))
@pytest.mark.thinned(6)
def test_the_graph_of_every_kind_is_read_as_it_is_traced_or_not_at_all(kind):
    model = kinds.case(kind).model
    assert (read_calls(graph_of(model), graph_of(model).inputs, 0) is None) is (kind in TRACED)
    if kind in TRACED:
        return
    for which in range(len(model.inputs)):
        assert_read_is_traced(model, which)


def small(*steps):
    inputs = tensor = keras.Input((8, 8, 3))
    for step in steps:
        tensor = step(tensor)
    return keras.Model(inputs, tensor)


class Doubled(layers.Layer):
    def call(self, inputs):
        return inputs * 2


class Skipping(keras.Model):
    def call(self, inputs, training=None, mask=None):
        return inputs


def test_what_passes_a_tensor_on_is_told_from_what_makes_one():
    passing = [
        layers.Dropout(0.5),
        layers.SpatialDropout2D(0.5),
        layers.GaussianNoise(0.1),
        layers.Identity(),
        layers.Activation("linear"),
        layers.ActivityRegularization(0.1),
    ]
    making = [layers.Activation("relu"), layers.Rescaling(2.0), layers.ZeroPadding2D(0)]
    shared = layers.Conv2D(3, 1)
    assert_read_is_traced(small(*passing, shared, *making, shared, lambda x: x + 1))


def test_what_no_graph_tells_is_traced():
    changed = small(layers.Conv2D(3, 3))
    changed.layers[1].call = lambda inputs: inputs
    inputs = keras.Input((8, 8, 3))
    unknown = {
        "a layer of the user's": small(Doubled()),
        "a function": small(layers.Lambda(lambda x: x)),
        "an activation of the user's": small(layers.Activation(lambda x: x)),
        "layers in a layer": small(layers.TimeDistributed(layers.Dense(2))),
        "a layer whose call was replaced": changed,
        "a layer that augments": small(layers.RandomFlip()),
        "a functional model with a call of its own": Skipping(inputs, layers.Conv2D(2, 1)(inputs)),
        "an open size": keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 1)]),
    }
    for model in unknown.values():
        assert read_calls(graph_of(model), graph_of(model).inputs, 0) is None
    calls = graph_of(unknown["a layer of the user's"]).calls().calls
    assert [call.path for call in calls] == ["doubled"]


def test_a_network_that_is_read_is_not_traced(monkeypatch):
    monkeypatch.setattr("tfcam.model.graph.trace_calls", None)
    model = networks.flat()
    assert graph_of(model).calls().calls
