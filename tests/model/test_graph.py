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


class OwnLeakyReLU(layers.LeakyReLU):
    """A subclass of one of Keras's layers."""


class Branches(keras.Model):
    """A network whose code goes through a list of its layers, and has one by two names."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 3, name="conv")
        self.steps = [layers.ReLU(), layers.Rescaling(-1.0, 0.5)]
        self.left, self.right = layers.Dense(2), layers.Dense(2)
        self.branch, self.pool = self.left, layers.GlobalAveragePooling2D()
        self.calls = 0

    def call(self, inputs):
        self.calls += 1
        features = self.conv(inputs)
        for step in self.steps:
            features = step(features)
        self.left(self.pool(features)), self.right(self.pool(features))
        return self.branch(self.pool(features))


class Owned(layers.Layer):
    """A layer that keeps a reference to the model that holds it."""

    def call(self, inputs):
        return inputs


def small():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(np.array([1.0, 2.0, 3.0], "float32"), name="scale"),
            layers.Lambda(lambda x, k: k * x, arguments={"k": 1.0}, name="times"),
            OwnLeakyReLU(name="own"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.LeakyReLU(name="leaky"),
            layers.GlobalAveragePooling2D(name="pool"),
            layers.Dense(2, name="head"),
        ]
    )


@pytest.mark.slow
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


def renamed_call(model):
    model.get_layer("leaky").call = lambda inputs: -inputs


def in_place(model):
    model.get_layer("scale").scale *= 3  # the same array


CHANGES = {
    "a call of its own": renamed_call,
    "an array in place": in_place,
    "a dict in place": lambda model: model.get_layer("times").arguments.update({"k": -3.0}),
    "a policy": lambda model: setattr(
        model.get_layer("conv"), "dtype_policy", keras.DTypePolicy("mixed_float16")
    ),
    "a slope of a subclass": lambda model: setattr(model.get_layer("own"), "negative_slope", 0.7),
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


@pytest.mark.parametrize(
    "change",
    [lambda model: model.steps.reverse(), lambda model: setattr(model, "branch", model.right)],
    ids=["the order of layers", "which layer"],
)
def test_which_layers_a_subclass_goes_through_counts_and_how_often_it_is_called_does_not(change):
    model, image = Branches(), np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype("float32")
    model(image)
    explainer = tfcam.Explainer(model, "conv", preprocess=None)
    graph = graph_of(model)
    for _ in range(3):
        explainer(image, 0)
    assert graph_of(model) is graph
    change(model)
    found = explainer(image, 0)
    np.testing.assert_allclose(found[0].score, model(image)[0, 0], rtol=1e-4)


def test_a_function_that_left_its_address_to_another_is_told_from_it():
    model = small()
    layer = model.get_layer("conv")
    layer.activation = lambda x: x
    for factor in range(20):
        graph = graph_of(model)
        del layer.activation
        layer.activation = lambda x, factor=factor: factor * x
        assert not graph.is_current()


def test_models_that_are_equal_have_graphs_of_their_own():
    class Equal(keras.Sequential):
        def __eq__(self, other):
            return isinstance(other, Equal)

        def __hash__(self):
            return 1

    one, other = Equal([keras.Input((8, 8, 3))]), Equal([keras.Input((4, 4, 3))])
    assert graph_of(one).model is one
    assert graph_of(other).model is other


def test_a_layer_may_keep_a_reference_to_its_model():
    inputs = keras.Input((8, 8, 3))
    owned = Owned(name="owned")
    model = keras.Model(inputs, owned(layers.Conv2D(2, 3, name="conv")(inputs)))
    vars(owned)["_layers"].append(model)  # as Keras tracks it where it is set in __init__
    assert [node.path for node in graph_of(model).nodes] == ["conv", "owned"]


def test_layers_of_equal_names_are_explained_by_default():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Conv2D(2, 3, name="conv")
            self.second = layers.Conv2D(4, 3, name="conv")
            self.pool, self.head = layers.GlobalAveragePooling2D(), layers.Dense(2)

        def call(self, inputs):
            return self.head(self.pool(self.second(self.first(inputs))))

    model, image = Twins(), np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype("float32")
    model(image)
    (found,) = tfcam.explain(model, image, target=0)
    (wanted,) = tfcam.explain(model, image, model.second, target=0)
    assert found.raw.shape == (4, 4)
    np.testing.assert_array_equal(found.raw, wanted.raw)
    for several in ("all_convolutions", [0, 1]):
        (fused,) = tfcam.explain(model, image, several, target=0)
        np.testing.assert_array_equal(fused.parts["conv (2)"], wanted.raw)
    both = tfcam.compare(model, image[0], layers=["all_convolutions"], methods=["grad_cam"])
    np.testing.assert_array_equal(both["grad_cam", 1].raw, wanted.raw)
    with pytest.raises(ValueError, match="'conv' is there twice"):
        tfcam.explain(model, image, [1, model.second], target=0)


class Dense(layers.Layer):
    """A block that keeps a list of all earlier ones."""

    def __init__(self, earlier, number):
        super().__init__(name=f"block{number}")
        self.earlier = list(earlier)
        self.conv = layers.Conv2D(2, 1, name="conv")

    def call(self, x):
        return self.conv(x)


def test_layers_that_list_all_earlier_ones_are_walked_a_bounded_number_of_times():
    ends, blocks = keras.Input((4, 4, 1)), []
    x = ends
    for number in range(14):
        blocks.append(Dense(blocks, number))
        x = blocks[-1](x)
    model = keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    paths = [node.path for node in graph_of(model).nodes]
    assert len(paths) < 14 * 14 * 20  # all of them would be more than 2 ** 14
    assert {f"block{number}/conv" for number in range(14)} <= set(paths)
    assert "block3/block2/block1/block0/conv" in paths
