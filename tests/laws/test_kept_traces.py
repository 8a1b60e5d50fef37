"""What is compiled is used again only for what it was compiled for: inputs, targets as they are."""

import functools
import gc
import subprocess
import sys
import types
from dataclasses import dataclass, field

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.project import ROOT
from tfcam.engine.runner import Compiled, EagerFirst
from tfcam.methods import registry
from tfcam.utils.recent import LIMIT

PICTURE, OTHER = networks.pictures(2)
PIXELS = ["guided_backprop", "guided_grad_cam", "deconvnet", "saliency", "grad_cam", "full_grad"]


# --- a second input whose length changes ----------------------------------------------------


class Centred(layers.Layer):
    """Less its mean, whose length is a number in a trace."""

    def call(self, series):
        length = keras.ops.cast(keras.ops.shape(series)[1], series.dtype)
        return series - keras.ops.sum(series, axis=1, keepdims=True) / length


def with_a_series():
    image, series = keras.Input((12, 12, 3)), keras.Input((None, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    # A product: what the series says changes the gradient of the image.
    x = layers.Multiply()([layers.GlobalAveragePooling2D()(x), layers.LSTM(4)(Centred()(series))])
    return networks.seeded(keras.Model([image, series], layers.Dense(3, name="head")(x)))


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("method", PIXELS[:-1])
def test_a_second_input_may_change_its_length(method):
    explainer = tfcam.Explainer(with_a_series(), method=method)
    rng = np.random.default_rng(0)
    for length in (5, 9, 5):
        series = rng.normal(size=(length, 2)).astype("float32")
        for dtype in ("float32", "float16"):
            given = [PICTURE, series.astype(dtype)]
            fresh = tfcam.explain(with_a_series(), given, method=method)  # nothing is kept of it
            np.testing.assert_allclose(explainer(given).raw, fresh.raw, rtol=1e-4, atol=1e-7)


# --- targets that change --------------------------------------------------------------------


@dataclass
class Weighted:
    """A target as people write it: it has no hash."""

    index: int = 0
    weights: list = field(default_factory=lambda: [1.0])

    def __call__(self, outputs):
        return outputs[:, self.index] * self.weights[0]


class Nested:
    def __init__(self):
        self.inner = {"of": Weighted()}

    def score(self, outputs):
        return self.inner["of"](outputs)

    __call__ = score


KNOB = [1.0]


def with_a_global(outputs):
    return outputs[:, 1] * KNOB[0]


def closed(scale):
    return lambda outputs: outputs[:, 1] * scale["by"]


def changing():
    """Each a target, and what changes it."""
    plain, listed, nested, array = Weighted(), Weighted(), Nested(), Weighted()
    array.weights = np.ones(1, np.float32)
    scale, partial = {"by": 1.0}, functools.partial(lambda o, w: o[:, 0] * w[0], w=[1.0])
    return {
        "attribute": (plain, lambda: setattr(plain, "index", 2)),
        "list": (listed, lambda: listed.weights.__setitem__(0, -2.0)),
        "array": (array, lambda: array.weights.__setitem__(0, -2.0)),
        "inner object": (nested, lambda: setattr(nested.inner["of"], "index", 1)),
        "method": (nested.score, lambda: setattr(nested.inner["of"], "index", 2)),
        "closure": (closed(scale), lambda: scale.update(by=-3.0)),
        "global": (with_a_global, lambda: KNOB.__setitem__(0, -3.0)),
        "partial": (partial, lambda: partial.keywords["w"].__setitem__(0, -3.0)),
    }


@pytest.mark.thinned(1)
@pytest.mark.parametrize("kind", changing())
@pytest.mark.parametrize("method", ["grad_cam", "saliency", "guided_backprop", "ablation_cam"])
def test_a_target_is_taken_as_it_is_now(kind, method):
    model, (target, change) = networks.flat(), changing()[kind]
    KNOB[0] = 1.0
    explainer = tfcam.Explainer(model, method=method, score="logit")
    for _ in range(3):
        before = explainer(PICTURE, target)
    change()
    fresh = tfcam.explain(model, PICTURE, target=target, method=method)
    np.testing.assert_allclose(explainer(PICTURE, target).raw, fresh.raw, rtol=1e-4, atol=1e-7)
    assert not np.allclose(fresh.raw, before.raw, rtol=1e-2, atol=1e-6)


@dataclass(frozen=True)
class Frozen:
    """As people write a target: it has a hash that fails, and may have no comparison."""

    weights: object

    def __call__(self, outputs):
        return outputs[:, 0] * self.weights[0]


class Odd(Frozen):
    def __eq__(self, other):
        raise RuntimeError("not to be compared")

    def __hash__(self):
        return 1


@pytest.mark.parametrize("kind", [Frozen, Odd])
@pytest.mark.parametrize("make", [list, np.array, tf.constant], ids=["list", "array", "tensor"])
def test_a_target_that_has_no_hash_or_comparison_is_taken(kind, make):
    model, targets = networks.flat(), [kind(make([1.0])), kind(make([-2.0]))]
    explainer = tfcam.Explainer(model)
    wanted = tfcam.explain(model, PICTURE, target=lambda outputs: outputs[:, 0])
    for _ in range(2):
        for target, factor in zip(targets, (1, -2), strict=True):
            found = explainer(PICTURE, target)
            np.testing.assert_allclose(found.raw, factor * wanted.raw, rtol=1e-4, atol=1e-7)
            assert found.score == pytest.approx(factor * wanted.score, rel=1e-5)
    both = explainer(PICTURE, targets)
    assert both[1].score == pytest.approx(-2 * both[0].score, rel=1e-5)


def test_one_number_of_a_large_array_counts():
    """As a mask over a picture that is changed in its place."""
    model, mask = networks.flat(), np.zeros((400, 300), np.float32)
    explainer = tfcam.Explainer(model)

    def target(outputs):
        return outputs[:, 0] * float(mask.max())

    mask[0, 0] = 1.0
    for _ in range(3):
        before = explainer(PICTURE, target)
    mask[399, 299] = 2.0
    np.testing.assert_allclose(explainer(PICTURE, target).raw, 2 * before.raw, rtol=1e-4)


def test_targets_without_a_hash_one_for_each_image():
    model, targets = networks.flat(), [Weighted(0), Weighted(2)]
    explainer = tfcam.Explainer(model)
    for _ in range(3):
        found = explainer(np.stack([PICTURE, OTHER]), targets)
        targets[1].index = 1 if targets[1].index == 2 else 2
        alone = [tfcam.explain(model, PICTURE, target=Weighted(0)), None]
        alone[1] = tfcam.explain(model, OTHER, target=Weighted(3 - targets[1].index))
        for one, own in zip(found, alone, strict=True):
            np.testing.assert_allclose(one.raw, own.raw, rtol=1e-4, atol=1e-7)


@dataclass(frozen=True)
class OfClass:
    index: int

    def __call__(self, outputs):
        return outputs[:, self.index]


def test_equal_targets_share_what_is_compiled():
    model, traces = networks.flat(), []

    @dataclass(frozen=True)
    class Counted(OfClass):
        def __call__(self, outputs):
            traces.append(tf.executing_eagerly())
            return super().__call__(outputs)

    explainer = tfcam.Explainer(model)
    for _ in range(6):
        explainer(PICTURE, Counted(1))
    assert traces.count(False) <= 2  # the trace, and what its findings look at


# --- gradients that TensorFlow does not compute eagerly without harm -------------------------

STRIDED = """
import keras, numpy as np, tfcam
from keras import layers
inputs = keras.Input((224, 224, 3))
x = layers.Conv2D(8, 3, padding="same", activation="relu", name="early")(inputs)
x = layers.Conv2D(16, 1, strides=2, activation="relu", name="late")(x)
x = layers.GlobalAveragePooling2D()(x)
model = keras.Model(inputs, layers.Dense(3)(x))
picture = np.random.default_rng(0).normal(size=(224, 224, 3)).astype("float32")
for method, layer in [("saliency", None), ("grad_cam", "early"), ("grad_cam", "late"),
                      ("guided_backprop", None), ("integrated_gradients", None)]:
    for _ in range(3):
        options = {"layer": layer} if layer else {}
        first = tfcam.explain(model, picture, target=0, method=method, **options)
        explainer = tfcam.Explainer(model, method=method, **options)
        np.testing.assert_allclose(explainer(picture, 0).raw, first.raw, rtol=1e-3, atol=1e-6)
print("alive")
"""

ATTENTION = """
import keras, numpy as np, tensorflow as tf, tfcam.losses
from keras import layers
from tests import networks
inputs = keras.Input((112, 112, 3))
x = layers.Conv2D(8, 3, padding="same", activation="relu", name="early")(inputs)
x = layers.Conv2D(16, 1, strides=2, activation="relu", name="late")(x)
model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
attention = tfcam.losses.AttentionLoss(model, "early")
pictures = np.random.default_rng(0).normal(size=(2, 112, 112, 3)).astype("float32")
masks, labels = np.zeros((2, 112, 112)), np.array([0, 1])
masks[:, :50] = 1
for _ in range(4):
    beside = attention(pictures, masks, labels)
    assert 0.3 < beside.numpy().min() <= beside.numpy().max() < 0.8
learner = tfcam.losses.AttentionModel(attention)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
learner.compile("sgd", loss, jit_compile=True)
learner.fit(pictures, (labels, masks), epochs=2, verbose=0)

explainer, target = tfcam.Explainer(model, "early"), networks.Counting()
scores = [float(explainer(pictures[0], target).score) for _ in range(3)]
np.testing.assert_allclose(np.array(scores) / scores[0], [1, 2, 3], rtol=1e-4)
print("alive")
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [STRIDED, ATTENTION], ids=["explained", "trained"])
def test_steps_of_a_convolution_of_one_pixel_do_no_harm(script):
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "alive\n"), run.stderr[-2000:]


class Convolving(layers.Layer):
    """Steps of one pixel, in a user's own code."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(1, 1, shape[-1], 4))

    def call(self, x):
        return keras.ops.relu(keras.ops.conv(x, self.kernel, strides=2))


KERNEL, WIDER = np.ones((1, 1, 4, 4), np.float32), np.ones((2, 2, 4, 4), np.float32)
from_elsewhere = tf.nn.conv2d  # no name tells what it does


@tf.function
def in_a_function(x):
    return from_elsewhere(x, KERNEL, 2, "SAME")


def raw(x):
    return tf.raw_ops.Conv2D(input=x, filter=KERNEL, strides=[1, 2, 2, 1], padding="VALID")


def spread(x):
    return tf.nn.conv2d_transpose(x, KERNEL, (1, 20, 20, 4), 2, "VALID")


def by_operation(x):
    return keras.ops.conv(x, KERNEL, strides=2)


HARMING = {
    "layer": Convolving(),
    "operation": by_operation,
    "another name": layers.Lambda(lambda x: from_elsewhere(x, KERNEL, 2, "SAME")),
    "raw": layers.Lambda(raw),
    "function": layers.Lambda(in_a_function),
    "activation": layers.Conv2D(4, 1, activation=raw),
    "transposed": layers.Conv2DTranspose(4, 1, strides=2),
    "own transposed": layers.Lambda(spread),
    "one axis": layers.Conv2D(4, 1, strides=(1, 2)),
}
HARMLESS = {
    "steps of two pixels": layers.Conv2D(4, 2, strides=2),
    "16 channels": lambda x: layers.Conv2D(4, 1, strides=2)(layers.Conv2D(16, 1)(x)),
    "own, of two pixels": layers.Lambda(
        lambda x: tf.nn.conv2d(x, np.ones((2, 2, 4, 4)), 2, "SAME")
    ),
    "own, without steps": layers.Lambda(lambda x: tf.nn.conv2d(x, KERNEL, 1, "SAME")),
    "no convolution, called so": layers.Lambda(lambda conv2d: conv2d[:, ::2, ::2]),
}


def stepping(step):
    inputs = keras.Input((12, 12, 3))
    x = step(layers.Conv2D(4, 3, activation="relu", name="early")(inputs))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("step", HARMING.values(), ids=HARMING.keys())
def test_gradients_that_end_python_are_traced_at_once(step):
    """Eagerly, TensorFlow 2.21 ends the process: see ``eager_gradients``."""
    runner = tfcam.Explainer(stepping(step), "early").pipeline.engine.runner
    assert isinstance(runner, Compiled)


@pytest.mark.parametrize("step", HARMLESS.values(), ids=HARMLESS.keys())
def test_other_gradients_are_not(step):
    runner = tfcam.Explainer(stepping(step), "early").pipeline.engine.runner
    assert isinstance(runner, EagerFirst)


@pytest.mark.parametrize("method", ["guided_backprop", "deep_lift", "lrp", "guided_grad_cam"])
def test_a_target_that_changes_is_asked_anew_by_methods_that_only_graphs_can_compute(method):
    model, target = networks.flat(), networks.Counting()
    explainer = tfcam.Explainer(model, method=method)
    scores = np.array([explainer(PICTURE, target).score for _ in range(3)])
    times = scores / scores[0]
    assert len(set(times.round())) == 3
    np.testing.assert_allclose(times, times.round(), rtol=1e-5)


def test_gradients_by_pixels_are_traced_from_the_first_call_on():
    eager = []

    class Sees(layers.Layer):
        def call(self, x):
            eager.append(tf.executing_eagerly())
            return x

    inputs = keras.Input((12, 12, 3))
    x = Sees()(layers.Conv2D(4, 3, activation="relu")(inputs))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    for method in PIXELS[:4]:
        eager.clear()
        tfcam.explain(model, PICTURE, method=method, target=0)
        assert not any(eager)


# --- methods of one's own, and options that change ------------------------------------------


def test_a_method_of_ones_own_is_taken_as_it_is_now():
    factors = [1.0]

    def scaled(reading):
        return factors[0] * tf.reduce_sum(reading.activations, axis=-1)

    explainer = tfcam.Explainer(networks.flat(), method=scaled)
    for _ in range(3):
        before = explainer(PICTURE)
    factors[0] = -2.0
    np.testing.assert_allclose(explainer(PICTURE).raw, -2 * before.raw, rtol=1e-5)


def test_what_a_method_or_a_target_notes_of_itself_is_no_change():
    """Once eager, once traced; what it read of a list that others change is another matter."""
    traced = []

    def noting(reading):
        traced.append("method")
        return tf.reduce_sum(reading.gradients * reading.activations, axis=-1)

    def asked(outputs):
        traced.append("target")
        return outputs[:, 1]

    explainer = tfcam.Explainer(networks.flat(), "features", method=noting)
    for _ in range(4):
        explainer(networks.pictures(1), asked)
    assert sorted(traced) == ["method"] * 2 + ["target"] * 2


def test_a_module_of_ones_own_is_read_whatever_its_functions_are_called(monkeypatch):
    module = types.ModuleType("helpers")
    exec("factor = 1.0\ndef add(x):\n    return factor * x", vars(module))
    monkeypatch.setitem(globals(), "helpers", module)

    def asked(outputs):
        return helpers.add(outputs[:, 1])  # noqa: F821

    explainer = tfcam.Explainer(networks.flat(), "features")
    for _ in range(3):
        before = explainer(PICTURE, asked)
    module.factor = 3.0
    np.testing.assert_allclose(explainer(PICTURE, asked).raw, 3 * before.raw, rtol=1e-5)


def test_a_method_that_is_stored_anew_under_its_name_is_the_new_one(monkeypatch):
    model = networks.flat()
    monkeypatch.setattr("tfcam.methods.registry.METHODS", dict(tfcam.METHODS))
    found = []
    for factor in (1.0, 3.0):

        def scaled(reading, factor=factor):
            return factor * tf.reduce_sum(reading.activations, axis=-1)

        registry.method()(scaled)
        found += [tfcam.explain(model, PICTURE, method="scaled").raw for _ in range(2)]
    np.testing.assert_allclose(found[3], 3 * found[0], rtol=1e-5)


@pytest.mark.slow
def test_an_array_among_the_options_is_taken_as_it_is_now():
    model, baseline = networks.flat(), np.zeros((1, 12, 12, 3), np.float32)
    explainer = tfcam.Explainer(model, method="expected_gradients", baselines=baseline, samples=4)
    for _ in range(2):
        before = explainer(PICTURE, 0).raw
    baseline[:] = 0.7
    fresh = tfcam.explain(
        networks.flat(),
        PICTURE,
        target=0,
        method="expected_gradients",
        baselines=baseline,
        samples=4,
    )
    np.testing.assert_allclose(explainer(PICTURE, 0).raw, fresh.raw, rtol=1e-3, atol=1e-6)
    assert not np.allclose(before, fresh.raw, rtol=1e-2)


# --- a long life ----------------------------------------------------------------------------


def traces():
    """What TensorFlow holds of traced functions."""
    for _ in range(3):  # what a first one lets go of, the next frees
        gc.collect()
    return sum(type(one).__name__ == "FuncGraph" for one in gc.get_objects())


@pytest.mark.product
def test_what_is_compiled_is_bounded_whatever_is_asked_and_goes_with_the_model(monkeypatch):
    """Each call is another model, method, target, size of batch or explainer."""
    most = 6
    monkeypatch.setattr(LIMIT, "size", most)
    for _ in range(most):  # what others have left is let go of
        passing = tfcam.Explainer(networks.flat(), "features")
        passing(networks.pictures(1)), passing(networks.pictures(1))
    del passing
    before = traces()
    models = [networks.flat(), networks.flat()]
    explainers, found = [], {}
    for count in (1, 2):
        for index, model in enumerate(models):
            for target in (0, tfcam.Difference(0, 1), lambda outputs: outputs[:, 1]):
                for method in ("grad_cam", "saliency"):
                    explainers.append(tfcam.Explainer(model, "features", method=method))
                    pictures = networks.pictures(count)
                    maps = [explainers[-1](pictures, target)[0].raw for _ in range(2)]
                    found.setdefault((index, str(target)[:9], method), []).extend(maps)
            assert traces() - before <= most
    for maps in found.values():  # those that were let go of, too
        for other in maps[1:]:
            np.testing.assert_allclose(other, maps[0], rtol=1e-4, atol=1e-7)
    explainers[0](networks.pictures(1), 0)  # its own were let go of long ago
    del explainers, models, model
    assert traces() == before


# --- texts of any length ---------------------------------------------------------------------


class Middled(layers.Layer):
    """Each word less the mean of all, whose number is read as code may read it."""

    def __init__(self, how):
        super().__init__()
        self.how, self.lengths = how, []

    def call(self, x):
        if not tf.executing_eagerly():
            self.lengths.append(x.shape[1])
        known = {"open": keras.ops.shape(x)[1], "or": x.shape[1] or 1, "nine": 1.0}
        if self.how == "nine" and x.shape[1] == 9:
            return 3.0 * x
        number = keras.ops.cast(known[self.how], x.dtype)
        return x - keras.ops.sum(x, 1, keepdims=True) / number


def of_words(how):
    middled, strings = Middled(how), keras.Input((1,), dtype="string")
    read = layers.TextVectorization(vocabulary=list("abcdefgh"))
    x = layers.Conv1D(4, 3, padding="same")(middled(layers.Embedding(10, 4)(read(strings))))
    x = layers.GlobalAveragePooling1D()(keras.ops.gelu(x))  # all that is padded would count in it
    return networks.seeded(keras.Model(strings, layers.Dense(3, name="head")(x))), middled.lengths


TEXTS = [" ".join("abcdefgh"[n % 8] for n in range(length)) for length in (5, 9, 2, 12, 1)]


def as_alone(how, method, texts, tolerance):
    """The lengths that one explainer of texts is traced for, each as by itself."""
    model, lengths = of_words(how)
    explainer = tfcam.Explainer(model, method=method)
    lengths.clear()
    found = [explainer(text) for text in texts + texts]
    traced = [*lengths]
    for number, text in enumerate(texts):
        alone = tfcam.explain(of_words(how)[0], text, method=method)
        for own in found[number :: len(texts)]:
            np.testing.assert_allclose(own.raw, alone.raw, rtol=0, atol=tolerance)
            assert own.score == pytest.approx(alone.score, abs=tolerance)
    return traced


@pytest.mark.slow
def test_one_trace_serves_texts_of_all_lengths():
    """But those of one word, whose length reads as an axis that there is not."""
    assert set(as_alone("open", "gradient_input", TEXTS, 1e-6)) == {None, 1}


@pytest.mark.thinned(2, kept="slow")
@pytest.mark.parametrize(
    "method", ["integrated_gradients", "occlusion", "grad_cam", "eigen_cam", "ablation_cam"]
)
def test_one_trace_serves_texts_of_all_lengths_by_any_method(method):
    assert set(as_alone("open", method, TEXTS, 1e-6)) == {None, 1}


@pytest.mark.thinned(1)
@pytest.mark.parametrize("how", ["or", "nine"])
def test_a_layer_whose_code_reads_the_length_is_traced_for_each(how):
    """Where it is open, such code goes another way; what comes out would be of no text."""
    assert 9 in as_alone(how, "gradient_input", TEXTS[:2], 1e-6)


@pytest.mark.slow
def test_words_are_hidden_by_one_trace_whatever_their_number():
    model, lengths = of_words("open")
    maps = [tfcam.explain(model, text, method="occlusion") for text in TEXTS[:4]]
    lengths.clear()
    erased = [tfcam.metrics.erase_words(model, [own.text], [own]) for own in maps]
    assert set(lengths) == {None}
    for own, text in zip(erased, TEXTS, strict=False):
        score = model(tf.constant([[text]])).numpy()
        likely = np.exp(score) / np.exp(score).sum()
        assert own.probabilities[0] == pytest.approx(likely.max(), abs=1e-6)


@pytest.mark.slow
def test_a_text_is_what_it_is_alone_beside_longer_ones(tmp_path):
    """Nothing masks what would fill it up: in a mean over the words each position counts."""
    model, texts = of_words("open")[0], TEXTS[:4]
    alone = [tfcam.explain(model, text, method="gradient_input", target=1) for text in texts]
    together = tfcam.explain(model, texts, method="gradient_input", target=[1] * 4)
    store = tfcam.stream(model, texts, to=tmp_path, method="gradient_input", target=1)
    erased = tfcam.metrics.erase_words(model, texts, alone, 1)
    for number, own in enumerate(alone):
        for found in (together[number], store[number]):
            assert found.words == own.words
            assert found.score == pytest.approx(own.score, abs=1e-6)
            np.testing.assert_allclose(found.raw, own.raw, atol=1e-6)
        likely = keras.ops.softmax(model(tf.constant([[own.text]])))[0, 1]
        assert erased.probabilities[number] == pytest.approx(float(likely), abs=1e-6)


@pytest.mark.slow
def test_a_text_is_what_it_is_alone_beside_pairs_of_other_lengths():
    strings = [keras.Input((1,), dtype="string", name=name) for name in ("first", "second")]
    means = []
    for own in strings:
        read = layers.TextVectorization(vocabulary=list("abcdefgh"))
        means.append(layers.GlobalAveragePooling1D()(layers.Embedding(10, 4)(read(own))))
    inputs = dict(zip(("first", "second"), strings, strict=True))
    model = networks.seeded(keras.Model(inputs, layers.Dense(2)(layers.Multiply()(means))))
    pairs = [("a b", "c d e"), ("d e", "f"), ("b c d e", "g h")]
    firsts, seconds = map(list, zip(*pairs, strict=True))
    both = {"first": firsts, "second": seconds}
    together = tfcam.explain(model, both, input="first", target=[1] * 3)
    for (first, second), found in zip(pairs, together, strict=True):
        own = tfcam.explain(model, {"first": first, "second": second}, input="first", target=1)
        np.testing.assert_allclose(found.raw, own.raw, atol=1e-6)
