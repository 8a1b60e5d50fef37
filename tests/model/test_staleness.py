"""An explanation is that of the model as it is now, whatever of it was changed.

Of each type of Keras's layers: where a changed attribute changes what the model returns, what is
known of the model is out of date; and using a model never puts it out of date.
"""

import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tfcam.metrics.probing import Probe
from tfcam.model.graph import graph_of
from tfcam.model.tree import walk

SHAPES = {1: (9, 4), 2: (8, 8, 4), 3: (5, 5, 5, 2)}
STEPS = (2, 4)
ARGUMENTS = {
    "Activation": ("relu",),
    "AveragePooling1D": (2,),
    "AveragePooling2D": (2,),
    "AveragePooling3D": (2,),
    "Cropping1D": (1,),
    "Dense": (3,),
    "EinsumDense": ("bhwc,cd->bhwd", (None, None, 3)),
    "Lambda": (keras.activations.sigmoid,),
    "Permute": ((2, 1, 3),),
    "Reshape": ((16, 16),),
    "Resizing": (5, 5),
    "CenterCrop": (5, 5),
    "RandomCrop": (5, 5),
    "Rescaling": (0.5, 0.1),
    "UpSampling1D": (2,),
    "GroupNormalization": (2,),
    "RandomTranslation": (0.2, 0.2),
    "RandomZoom": (0.2,),
}
RECURRENT = ("GRU", "LSTM", "SimpleRNN")


def built(name):
    """A layer of a type, and the shapes of what it takes; None of a type that is for other data."""
    kind = getattr(layers, name)
    axes = next((n for n in SHAPES if name.endswith(f"{n}D") or f"{n}D" in name), 2)
    shape = SHAPES[axes]
    if name in ARGUMENTS:
        return kind(*ARGUMENTS[name]), [shape]
    if name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"):
        return kind(), [shape, shape]
    if name == "Dot":
        return kind(axes=2), [(6, 4), (6, 4)]
    if name in ("Attention", "AdditiveAttention"):
        return kind(), [(6, 4), (6, 4)]
    if name == "MultiHeadAttention":
        return kind(2, 3), [(6, 4), (6, 4)]
    if name == "GroupQueryAttention":
        return kind(3, 2, 1), [(6, 4), (6, 4)]
    if name in RECURRENT:
        return kind(3), [STEPS]
    if name == "RNN":
        return kind(layers.LSTMCell(3)), [STEPS]
    if name == "Bidirectional":
        return kind(layers.SimpleRNN(3)), [STEPS]
    if name == "TimeDistributed":
        return kind(layers.Dense(3, activation="relu")), [(6, 4)]
    if name == "SpectralNormalization":
        return kind(layers.Conv2D(3, 3)), [shape]
    if name == "RepeatVector":
        return kind(3), [(4,)]
    if name in ("Masking", "Embedding", "ReversibleEmbedding"):
        return (kind() if name == "Masking" else kind(300, 3)), [
            (6, 4) if name == "Masking" else (6,)
        ]
    if "ConvLSTM" in name:
        return kind(2, 3), [(2, *shape)]
    if "DepthwiseConv" in name:
        return kind(3), [shape]
    if "Conv" in name:
        return kind(3, 3), [shape]
    if name.startswith("Adaptive"):
        return kind(2), [shape]
    if "Dropout" in name or name == "GaussianNoise":
        return kind(0.5), [shape]
    if "STFT" in name or "MelSpectrogram" in name:
        return kind(), [(4000, 1) if "STFT" in name else (4000,)]
    if name == "RandomPosterization":
        return kind(4), [(8, 8, 3)]
    if name.startswith(("Rand", "AugMix")):
        factor = "factor" in list(inspect.signature(kind).parameters)[:1]
        return kind(0.2) if factor else kind(), [(8, 8, 3)]
    return kind(), [shape]


# No layers of a network (they go into one), wrappers of other frameworks, and text.
OTHERS = {
    *("FlaxLayer", "GRUCell", "InputLayer", "JaxLayer", "LSTMCell", "Layer", "SimpleRNNCell"),
    *("StackedRNNCells", "TFSMLayer", "TorchModuleWrapper", "Wrapper", "Pipeline"),
    *("Discretization", "HashedCrossing", "Hashing", "IntegerLookup", "StringLookup"),
    *(
        "TextVectorization",
        "MaxNumBoundingBoxes",
        "CutMix",
        "MixUp",
        "CategoryEncoding",
        "Equalization",
    ),
}
# What every layer has, and no layer's answer depends on.
ALWAYS = set(vars(layers.Identity(name="any"))) - {"_dtype_policy"} | {"built", "_path"}
NAMES = {
    getattr(layers, name): name
    for name in sorted(dir(layers), reverse=True)
    if inspect.isclass(getattr(layers, name)) and issubclass(getattr(layers, name), layers.Layer)
}
KINDS = sorted(name for name in NAMES.values() if name not in OTHERS)


def others_than(value):
    """Values that could stand in place of an attribute's."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, max(value - 1, 0)]
    if isinstance(value, float):
        return [value * 0.5 + 0.3]
    if isinstance(value, str):
        return ["same", "valid", "nearest", "bilinear", "channels_first", "sum", "max"]
    if isinstance(value, tuple | list) and value and all(isinstance(v, int) for v in value):
        return [type(value)(v + 1 for v in value), type(value)(reversed(value))]
    if isinstance(value, tuple):
        return [tuple(reversed(value))]
    if isinstance(value, np.ndarray):
        return [value + 1]
    if value is None:
        return [0.5, 1]
    return [keras.activations.tanh] if callable(value) else []


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.thinned(14, rest="slow")
def test_what_changes_the_output_puts_the_graph_out_of_date(name):
    keras.utils.set_random_seed(0)
    layer, shapes = built(name)
    inputs = [keras.Input(shape) for shape in shapes]
    random = np.random.default_rng(0)
    values = [random.uniform(0, 9, (2, *shape)).astype("float32") for shape in shapes]
    if len(shapes) == 1:
        inputs, values = inputs[0], values[0]
    several = "value" in inspect.signature(layer.call).parameters
    model = keras.Model(inputs, layer(*inputs) if several else layer(inputs))

    def answer():
        return [np.asarray(part) for part in keras.tree.flatten(model(values, training=False))]

    before, graph, changed = answer(), graph_of(model), []
    model(values, training=True)
    assert graph.is_current()
    steady = all(np.array_equal(a, b) for a, b in zip(before, answer(), strict=True))
    for operation in [operation for _, operation in walk(model)]:
        for attribute, value in list(vars(operation).items()):
            if attribute in ALWAYS or isinstance(value, keras.Operation):
                continue
            for other in others_than(value):
                object.__setattr__(operation, attribute, other)
                try:
                    after = answer()
                    differs = steady and any(
                        a.shape != b.shape or not np.array_equal(a, b)
                        for a, b in zip(before, after, strict=True)
                    )
                except Exception:  # not every value is one that Keras can take
                    differs = False
                if differs and graph.is_current():
                    changed.append(f"{type(operation).__name__}.{attribute} = {other!r}")
                object.__setattr__(operation, attribute, value)
    assert changed == []
    assert graph.is_current()


GLOBAL = {"scale": 1.0}


class Own(layers.Layer):
    """A layer whose code reads attributes in every way, and sets some."""

    def __init__(self):
        super().__init__(name="own")
        self.slope, self._offset, self.sides = 1.0, 0.0, (1.0, 1.0)
        self.steps, self.table = [1.0, 1.0], {"a": 1.0}
        self.array = np.ones(4, "float32")
        self.function = keras.activations.linear
        self.note, self.count = "never read", 0

    @property
    def offset(self):
        return self._offset

    def helped(self, x):
        return x * self.sides[1] + self.table["a"]

    def call(self, x):
        self.count += 1
        scaled = (lambda y: y * self.slope * GLOBAL["scale"])(x)
        return self.function(self.helped(scaled) * self.steps[0] * self.array + self.offset)


class Caching(layers.Layer):
    """A layer that keeps in a dict what it was called with."""

    def __init__(self):
        super().__init__(name="own")
        self.kept = {}

    def call(self, x):
        self.kept[len(self.kept)] = x.shape
        return x * len(self.kept)


class Whole(keras.Model):
    """A subclass that reads a number of its own."""

    def __init__(self):
        super().__init__(name="whole")
        self.conv, self.pool = layers.Conv2D(4, 3, name="conv"), layers.GlobalMaxPooling2D()
        self.sign = 1.0

    def call(self, x):
        return self.pool(self.sign * self.conv(x))


class Task(keras.Model):
    """Functional, with a layer beside what it computes, as tasks of KerasHub are."""

    def __init__(self, beside):
        image = keras.Input((8, 8, 4))
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
        super().__init__(image, layers.Dense(2)(x))
        self.beside = beside


def with_layer(layer):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(4, 3, name="conv"),
            layer,
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


OWN = {
    "number": lambda layer: setattr(layer, "slope", -2.0),
    "private number": lambda layer: setattr(layer, "_offset", 3.0),
    "tuple": lambda layer: setattr(layer, "sides", (1.0, -2.0)),
    "list in place": lambda layer: layer.steps.__setitem__(0, -1.0),
    "dict in place": lambda layer: layer.table.update({"a": -4.0}),
    "array in place": lambda layer: layer.array.__imul__(-1),
    "function": lambda layer: setattr(layer, "function", keras.activations.tanh),
}


def image():
    return np.random.default_rng(0).uniform(size=(8, 8, 4)).astype("float32")


@pytest.mark.thinned(4)
@pytest.mark.parametrize("change", OWN)
def test_what_the_call_of_ones_own_layer_reads_counts(change):
    model, fresh = with_layer(Own()), with_layer(Own())
    explainer = tfcam.Explainer(model, "conv", preprocess=None)
    for _ in range(3):
        explainer(image(), 0)
    for each in (model, fresh):
        OWN[change](each.get_layer("own"))
    wanted = tfcam.explain(fresh, image(), "conv", target=0, preprocess=None)
    for found in (
        explainer(image(), 0),
        tfcam.explain(model, image(), "conv", target=0, preprocess=None),
    ):
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-5, atol=1e-7)
        assert found.score == pytest.approx(wanted.score, rel=1e-5)


def test_what_a_layer_sets_or_never_reads_does_not_count():
    model = with_layer(Own())
    graph, layer = graph_of(model), model.get_layer("own")
    layer.note = "read by nobody"
    model(image()[None])
    assert layer.count > 1
    assert graph.is_current()
    caching = with_layer(Caching())
    graph = graph_of(caching)
    caching(image()[None])
    assert graph.is_current()


def test_a_number_of_a_subclass_counts():
    model = Whole()
    model(image()[None])
    explainer = tfcam.Explainer(model, "conv", preprocess=None)
    before = [explainer(image(), 0).score for _ in range(3)][-1]
    model.sign = -1.0
    after = explainer(image(), 0).score
    assert after == pytest.approx(float(model(image()[None])[0, 0]), rel=1e-5)
    assert after != pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize(
    "beside",
    [
        lambda: layers.Resizing(8, 8),
        lambda: keras.Sequential([layers.Rescaling(1 / 255)]),
        lambda: layers.Normalization(mean=0.5, variance=2.0),
    ],
)
def test_a_layer_beside_that_is_first_used_later_is_no_change(beside):
    """As the preprocessor that a model brings along."""
    model = Task(beside())
    probe = Probe(model, image(), 0, preprocess=None)
    graph = graph_of(model)
    model.beside(image()[None])
    assert graph.is_current()
    probe(probe.inputs, [0])


class Opaque(layers.Layer):
    """It asks a function of Python's, of which nothing can be seen."""

    def __init__(self):
        super().__init__(name="own")
        self.look = {"now": 1.0}.__getitem__

    def call(self, x):
        return x * self.look("now")


def test_refresh_sees_what_can_not_be_seen():
    model = with_layer(Opaque())
    explainer = tfcam.Explainer(model, "conv", preprocess=None)
    for _ in range(2):
        explainer(image(), 0)
    layer = model.get_layer("own")
    layer.look.__self__["now"] = 5.0
    explainer.refresh()
    assert explainer(image(), 0).score == pytest.approx(float(model(image()[None])[0, 0]), rel=1e-5)
    assert tfcam.explain(model, image(), preprocess=None, target=0).score == pytest.approx(
        float(model(image()[None])[0, 0]), rel=1e-5
    )


def test_refresh_freezes_the_weights_anew():
    model = with_layer(layers.ReLU())
    explainer = tfcam.Explainer(model, "conv", preprocess=None, freeze=True)
    before = explainer(image(), 0).score
    model.layers[-1].bias.assign([7.0, 0.0])
    assert explainer(image(), 0).score == pytest.approx(before)
    explainer.refresh()
    assert explainer(image(), 0).score == pytest.approx(before + 7, rel=1e-5)


def test_a_probe_of_a_model_that_was_changed_refuses():
    model = with_layer(Own())
    probe = Probe(model, image(), 0, preprocess=None)
    probe(probe.inputs, [0])
    model.get_layer("own").slope = -2.0
    with pytest.raises(ValueError, match="has been changed since. Make a new one"):
        probe(probe.inputs, [0])
    again = Probe(model, image(), 0, preprocess=None)
    wanted = float(tf.nn.softmax(model(image()[None]))[0, 0])
    assert again.probabilities[0] == pytest.approx(wanted, rel=1e-5)


def test_a_stream_explains_the_model_as_it_is(tmp_path):
    model = with_layer(Own())
    for name, slope in (("before", 1.0), ("after", -2.0)):
        model.get_layer("own").slope = slope
        pictures = image()[None]
        tfcam.stream(model, pictures, layer="conv", preprocess=None, target=0, to=tmp_path / name)
        found = tfcam.open_store(tmp_path / name)[0]
        assert found.score == pytest.approx(float(model(pictures)[0, 0]), rel=1e-4)
