"""The list of layers, the ways to name one, and the default."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import rounding
from tfcam.model.graph import graph_of
from tfcam.model.taps import resolve


def chosen(model):
    return graph_of(model).default_layer()[:2]


def test_the_list_of_the_flat_network():
    listed = tfcam.layers(networks.flat())
    assert [(e.index, e.path, e.kind, e.shape, e.convolution, e.cam) for e in listed] == [
        (0, "first", "Conv2D", (12, 12, 6), True, False),
        (1, "smaller", "MaxPooling2D", (6, 6, 6), False, False),
        (2, "thinner", "Dropout", (6, 6, 6), False, False),
        (3, "second", "Conv2D", (6, 6, 8), True, False),
        (4, "norm", "BatchNormalization", (6, 6, 8), False, False),
        (5, "features", "ReLU", (6, 6, 8), False, True),
    ]
    assert listed.default == "features"
    assert listed.reason == "feeds pool, the last global pooling"
    assert listed.rows()[0] == ("index", "layer", "kind", "map", "convolution", "CAM")
    assert "5      features  ReLU" in str(listed)
    assert "Explained by default: features" in str(listed)


@pytest.mark.parametrize("kind", networks.KINDS)
@pytest.mark.thinned(4)
def test_every_kind_lists_the_same_layers_under_its_own_paths(kind):
    model = networks.make(kind)
    before = networks.snapshot(model, networks.pictures(1))
    listed = tfcam.layers(model)
    names = [entry.path.rsplit("/", 1)[-1] for entry in listed]
    wanted = ["first", "smaller", "thinner", "second", "norm", "features"]
    # A subclassed model inside a functional one is listed by Keras's graph as one operation too.
    assert [name for name in names if name in wanted] == wanted
    assert listed.default.rsplit("/", 1)[-1] == "features"
    assert networks.snapshot(model, networks.pictures(1)) == before


def test_layers_are_named_by_path_bare_name_object_and_index():
    model, inputs = networks.make("two levels of nesting"), networks.pictures(1)
    inner = model.layers[0].layers[1].get_layer("second")
    listed = tfcam.layers(model)
    path = "middle/backbone/second"
    index = next(entry.index for entry in listed if entry.path == path)
    ways = ["second", "backbone/second", path, inner, index, index - len(listed)]
    results = [tfcam.explain(model, inputs, way, target=0)[0] for way in ways]
    assert {each.layer.split(":")[0] for each in results} == {path}
    for each in results[1:]:
        np.testing.assert_allclose(each.raw, results[0].raw, rtol=1e-5)


def test_an_ambiguous_name_lists_the_paths():
    backbones = [networks.make("sequential") for _ in range(2)]
    ends = keras.Input((12, 12, 3))
    for name, backbone in zip("ab", backbones, strict=True):
        backbone.name = name
    model = keras.Model(ends, layers.Add()([backbone(ends) for backbone in backbones]))
    with pytest.raises(ValueError, match="'second' names 2 layers.*'a/second', 'b/second'"):
        tfcam.explain(model, networks.pictures(1), "second")
    assert resolve(graph_of(model), "b/second").operation() is backbones[1].get_layer("second")


def test_wrong_names_get_near_ones_suggested():
    model = networks.make("backbone in a Sequential")
    with pytest.raises(ValueError, match="Did you mean 'backbone/second'"):
        resolve(graph_of(model), "secnod")
    with pytest.raises(ValueError, match="Did you mean 'backbone/features'"):
        resolve(graph_of(model), "Features")
    with pytest.raises(ValueError, match=r"No layer 'zzz'.*tfcam\.layers\(model\) lists"):
        resolve(graph_of(model), "zzz")


def shared():
    """One convolution called twice, on the picture and on its own output."""
    ends = keras.Input((12, 12, 3))
    conv = layers.Conv2D(3, 3, padding="same", activation="relu", name="twice")
    x = layers.GlobalAveragePooling2D(name="pool")(conv(conv(ends)))
    return keras.Model(ends, layers.Dense(2, name="head")(x))


def test_a_shared_layer_needs_the_number_of_the_call():
    model, inputs = shared(), networks.pictures(2)
    with pytest.raises(ValueError, match="called 2 times; say which: 'twice:0' or 'twice:1'"):
        tfcam.explain(model, inputs, "twice")
    assert [entry.path for entry in tfcam.layers(model)] == ["twice:0", "twice:1"]
    assert tfcam.layers(model).default == "twice:1"
    last = tfcam.explain(model, inputs, target=1)
    kernel = model.get_layer("head").get_weights()[0]
    conv = model.get_layer("twice")
    A = np.asarray(conv(conv(inputs)))
    np.testing.assert_allclose(last.raws, A @ kernel[:, 1] / 144, rtol=1e-4, atol=1e-6)
    first = tfcam.explain(model, inputs, "twice:0", target=1)
    assert np.abs(first.raws - last.raws).max() > 1e-3
    with pytest.raises(ValueError, match="called 2 times.*no call 2"):
        tfcam.explain(model, inputs, "twice:2")


def test_the_input_of_a_layer_can_be_explained_where_the_tensor_has_no_layer():
    class Residual(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(3, 3, padding="same", name="conv")
            self.pool = layers.GlobalAveragePooling2D(name="pool")
            self.head = layers.Dense(2, name="head")

        def call(self, x):
            return self.head(self.pool(x + self.conv(x)))

    model, inputs = Residual(), networks.pictures(2)
    model(inputs)
    path, reason = chosen(model)
    assert (path, reason) == ("pool:input", "feeds pool, the last global pooling")
    kernel = model.head.get_weights()[0]
    A = inputs + np.asarray(model.conv(inputs))
    for method in ("cam", "grad_cam"):
        for _ in range(2):
            results = tfcam.explain(model, inputs, target=0, method=method)
        factor = 1 if method == "cam" else 144
        wanted = A @ kernel[:, 0]
        np.testing.assert_allclose(factor * results.raws, wanted, atol=rounding(wanted))
        assert results[0].layer == "pool:input"


def test_squeeze_and_excite_pools_too_but_is_not_the_head():
    ends = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="swish", name="conv")(ends)
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="excite")(gate)
    x = layers.Multiply(name="gated")([x, gate])
    pooled = layers.GlobalAveragePooling2D(name="pool")(x)
    assert chosen(keras.Model(ends, layers.Dense(2)(pooled)))[0] == "gated"
    flat = layers.Flatten()(x)
    path, reason = chosen(keras.Model(ends, layers.Dense(2)(flat)))
    assert path == "gated"
    assert "no global pooling" in reason


def test_without_a_global_pooling_the_last_map_before_the_local_one():
    ends = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, name="conv")(ends)
    x = layers.ReLU(name="act")(x)
    x = layers.Flatten()(layers.Dropout(0.1)(layers.MaxPooling2D()(x)))
    assert chosen(keras.Model(ends, layers.Dense(2)(x)))[0] == "act"


def test_a_model_without_maps_says_so():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="A layer with a map is needed.*has none"):
        tfcam.layers(model)
    with pytest.raises(ValueError, match="must be built"):
        tfcam.layers(networks.Chain([layers.Conv2D(1, 1)]))


def test_a_layer_that_is_not_called_says_so():
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.used = layers.Conv2D(2, 3, name="used")
            self.unused = layers.Conv2D(2, 3, name="unused")
            self.unused.build((None, 12, 12, 3))
            self.pool = layers.GlobalAveragePooling2D()

        def call(self, x):
            return self.pool(self.used(x))

    model = Two()
    model(networks.pictures(1))
    with pytest.raises(ValueError, match="'unused' is part of the model, but was not called"):
        tfcam.explain(model, networks.pictures(1), "unused")


def test_open_sizes_are_listed_at_a_nominal_one():
    ends = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", strides=2, name="conv")(ends)
    model = keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert tfcam.layers(model)[0].shape == (112, 112, 4)
    for size in [(10, 14), (20, 8)]:
        result = tfcam.explain(model, np.zeros((*size, 3), np.float32), "conv")
        assert result.raw.shape == (size[0] // 2, size[1] // 2)
