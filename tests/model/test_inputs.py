"""Series, texts, volumes and several inputs: the same formulas, whatever a model takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks, replicas
from tests.networks import seeded
from tests.tolerances import rounding
from tfcam import maps
from tfcam.maps.tensors import resized
from tfcam.methods.registry import METHODS

KIND = {1: "1D", 2: "2D", 3: "3D"}
CHANGING = [name for name in networks.METHODS if METHODS[name].changes_input]


def layer(name, axes):
    """A Keras layer for inputs of so many axes of positions."""
    return getattr(layers, f"{name}{KIND[axes]}")


# --- formulas, restated in float64 ----------------------------------------------------------


def convolved(x, kernel, bias):
    """A "valid" convolution of one example (*sides, C), and its ReLU, over any number of axes."""
    window = kernel.shape[:-2]
    sides = [n - w + 1 for n, w in zip(x.shape[:-1], window, strict=True)]
    out = np.zeros((*sides, kernel.shape[-1]))
    for place in np.ndindex(*sides):
        for step in np.ndindex(*window):
            at = tuple(p + s for p, s in zip(place, step, strict=True))
            out[place] += x[at].astype(float) @ kernel[step].astype(float)
    return np.maximum(out + bias, 0)


def by_replica(replica, A, G):
    """A replica for images, on the positions of a series or a volume in one long row."""
    flat = replica(A.reshape(1, -1, A.shape[-1]), G.reshape(1, -1, G.shape[-1]))
    return flat.reshape(A.shape[:-1])


def one_convolution(sides, head):
    inputs = keras.Input((*sides, 2))
    x = layer("Conv", len(sides))(3, 2, activation="relu", name="conv")(inputs)
    x = layer("GlobalAveragePooling", len(sides))()(x) if head == "pooled" else layers.Flatten()(x)
    return seeded(keras.Model(inputs, layers.Dense(2, activation="softmax", name="head")(x)))


@pytest.mark.parametrize("sides", [(7,), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "hires_cam", "x_grad_cam"])
def test_the_formulas_hold_for_series_and_volumes(sides, method):
    model = one_convolution(sides, "flat")
    x = np.random.default_rng(1).normal(size=(*sides, 2)).astype("float32")
    kernel, bias = model.get_layer("conv").get_weights()
    weights, offsets = model.get_layer("head").get_weights()
    A = convolved(x, kernel, bias)
    G = weights[:, 1].reshape(A.shape).astype(float)  # the flat head's own weight for each
    result = tfcam.explain(model, x, "conv", target=1, method=method)
    wanted = by_replica(getattr(replicas, method), A, G)
    np.testing.assert_allclose(result.raw, wanted, rtol=1e-4, atol=1e-5)
    assert result.score == pytest.approx((A * G).sum() + offsets[1], rel=1e-4)
    assert result.heatmap.shape == sides
    np.testing.assert_array_equal(result.image, x)


@pytest.mark.parametrize("sides", [(7,), (3, 4, 5)], ids=str)
def test_cam_of_series_and_volumes(sides):
    model = one_convolution(sides, "pooled")
    x = np.random.default_rng(1).normal(size=(*sides, 2)).astype("float32")
    kernel, bias = model.get_layer("conv").get_weights()
    weights, offsets = model.get_layer("head").get_weights()
    A = convolved(x, kernel, bias)
    result = tfcam.explain(model, x, target=0, method="cam")
    assert result.layer == "conv"
    wanted = by_replica(lambda A, w: replicas.cam(A, w[0, 0]), A, weights[:, :1].T[None])
    np.testing.assert_allclose(result.raw, wanted, rtol=1e-4, atol=1e-5)
    assert result.raw.mean() + offsets[0] == pytest.approx(result.score, rel=1e-4)


def test_a_series_by_hand():
    inputs = keras.Input((4, 1))
    x = layers.Conv1D(1, 1, use_bias=False, activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="head")(layers.GlobalAveragePooling1D()(x)))
    model.get_layer("conv").set_weights([np.full((1, 1, 1), 2.0)])
    model.get_layer("head").set_weights([np.full((1, 1), 6.0), np.array([1.0])])
    result = tfcam.explain(model, np.array([[1.0], [-1.0], [2.0], [0.0]], "float32"), target=1)
    # A = 2, 0, 4, 0; each gradient is 6 / 4; the logit of class 1 is 6 * 6 / 4 + 1.
    assert result.raw.tolist() == [3, 0, 6, 0]
    assert result.heatmap.tolist() == [0.5, 0, 1, 0]
    assert result.score == 10


# --- the same network with another number of axes -------------------------------------------


def network(sides, flat_axes=()):
    """The network of tests/networks.py for inputs of some sides; ``flat_axes`` are of size 1."""
    axes = len(sides)

    def over(size):
        return tuple(1 if axis in flat_axes else size for axis in range(axes))

    inputs = keras.Input((*sides, 3))
    x = layer("Conv", axes)(6, over(3), padding="same", activation="relu", name="first")(inputs)
    # Max pooling breaks ties between zeros in another way in 3D, which deconvnet shows.
    x = layer("AveragePooling", axes)(over(2), name="smaller")(x)
    x = layer("Conv", axes)(8, over(3), padding="same", name="second")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="features")(x)
    x = layer("GlobalAveragePooling", axes)(name="pool")(x)
    x = layers.Dense(3, activation="softmax", name="head")(x)
    return seeded(keras.Model(inputs, x))


@pytest.fixture(scope="module")
def twins():
    """Pairs of one network with an axis of size 1 and without, and what brings one to the other."""
    series, row = network((12,)), network((1, 12), flat_axes=(0,))
    image, slab = network((12, 12)), network((1, 12, 12), flat_axes=(0,))
    for plain, widened in ((series, row), (image, slab)):
        for one, other in zip(plain.variables, widened.variables, strict=True):
            other.assign(tf.reshape(one, other.shape))
    return {"series": (series, row), "volume": (image, slab)}


@pytest.mark.parametrize("kind", ["series", "volume"])
@pytest.mark.parametrize("method", networks.METHODS)
@pytest.mark.thinned(4)
def test_an_axis_of_size_one_changes_nothing(twins, kind, method):
    plain, widened = twins[kind]
    inputs = np.random.default_rng(2).normal(size=(2, *plain.input_shape[1:])).astype("float32")
    own = tfcam_options(method)
    options = {"samples": 98 if "segments" in own else 3} if "samples" in own else {}
    layer = "features" if method in ("cam", "finer_cam") else "second"
    for call in range(2):  # as it runs, and compiled
        found = tfcam.explain(plain, inputs, layer, target=[0, 2], method=method, **options)
        wide = tfcam.explain(
            widened, inputs[:, None], layer, target=[0, 2], method=method, **options
        )
        for one, other in zip(found, wide, strict=True):
            np.testing.assert_allclose(one.raw, other.raw[0], rtol=1e-3, atol=2e-6, err_msg=call)
            np.testing.assert_allclose(one.heatmap, other.heatmap[0], atol=1e-4)
            assert one.score == pytest.approx(other.score, rel=1e-5)
            assert one.measured == pytest.approx(other.measured, rel=1e-3, abs=1e-5)
            assert one.heatmap.shape == plain.input_shape[1:-1]


def tfcam_options(method):
    return METHODS[method].function.__kwdefaults__ or {}


def test_several_layers_of_a_series_are_fused():
    model = network((12,))
    x = np.random.default_rng(2).normal(size=(12, 3)).astype("float32")
    fused = tfcam.explain(model, x, ["first", "features"], target=1, method="layer_cam")
    each = [tfcam.explain(model, x, p, target=1, method="layer_cam") for p in fused.parts]
    wanted = np.maximum(each[0].heatmap, each[1].heatmap)
    np.testing.assert_allclose(fused.heatmap, wanted / wanted.max(), atol=1e-6)


@pytest.mark.parametrize("sides", [(4,), (3, 2, 2)], ids=str)
def test_findings_of_series_and_volumes(sides):
    inputs = keras.Input((*sides, 2))
    x = layer("Conv", len(sides))(3, sides, activation="relu", name="whole")(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten()(x)))
    model.get_layer("whole").set_weights([np.ones((*sides, 2, 3)), np.zeros(3)])
    model.get_layer("head").set_weights([np.array([[1, -1]] * 3), np.zeros(2)])
    for target, codes in ((0, ["one_position"]), (1, ["no_positive_evidence", "one_position"])):
        result = tfcam.explain(model, np.ones((*sides, 2), "float32"), "whole", target=target)
        assert [each.code for each in result.findings] == codes
        assert (result.heatmap == 1 - target).all()
        assert result.heatmap.shape == sides


def test_augment_is_for_images():
    with pytest.raises(ValueError, match="augment=True mirrors and zooms images"):
        tfcam.explain(network((12,)), np.ones((12, 3), "float32"), augment=True)


@pytest.mark.parametrize(("shape", "size"), [((12, 4), "12 x 3"), ((9, 3), "12 x 3")])
def test_a_series_must_fit(shape, size):
    with pytest.raises(ValueError, match=rf"input shape {size}, all of one size; got \({shape[0]}"):
        tfcam.explain(network((12,)), np.ones(shape, "float32"))


def test_a_series_is_given_as_numbers_and_prepared():
    model, x = network((12,)), np.ones((12, 3), "float32")
    with pytest.raises(ValueError, match="must be given as numbers .*; got str"):
        tfcam.explain(model, "a_series.csv")
    with pytest.raises(ValueError, match="preprocess='unit' is for images; .* or a callable"):
        tfcam.explain(model, x, preprocess="unit")
    halved = tfcam.explain(model, 2 * x, target=1, preprocess=lambda batch: batch / 2)
    plain = tfcam.explain(model, x, target=1)
    np.testing.assert_allclose(halved.raw, plain.raw, rtol=1e-6)
    np.testing.assert_array_equal(halved.image, 2 * x)
    assert halved.preprocessing == "<lambda>, as given"
    x[3, 1] = np.nan
    with pytest.raises(ValueError, match="must be finite; 1 of its values"):
        tfcam.explain(model, x)


def test_numbers_without_channels_are_a_series_of_one():
    """Saliency shows absolute values, with an axis for the one channel or without."""
    plain = keras.Input((12,))
    x = layers.Reshape((12, 1))(plain)
    inner = layers.Conv1D(4, 3, padding="same", activation="relu", name="conv")
    head = layers.Dense(2)
    flat = keras.Model(plain, head(layers.GlobalAveragePooling1D()(inner(x))))
    wide_input = keras.Input((12, 1))
    wide = keras.Model(wide_input, head(layers.GlobalAveragePooling1D()(inner(wide_input))))
    seeded(wide)
    x = np.random.default_rng(0).normal(size=12).astype("float32")
    for method in ("grad_cam", "saliency", "integrated_gradients"):
        one = tfcam.explain(flat, x, target=0, method=method)
        other = tfcam.explain(wide, x[:, None], target=0, method=method)
        np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-5)


# --- open lengths ---------------------------------------------------------------------------


def test_an_open_length_equals_a_fixed_one():
    inputs = keras.Input((None, 3))
    x = layers.Conv1D(6, 3, padding="same", activation="relu", name="conv")(inputs)
    head = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    model = seeded(keras.Model(inputs, head))
    assert str(tfcam.layers(model)).splitlines()[1].split()[:2] == ["0", "conv"]
    for length in (5, 9, 5, 9):
        x = np.random.default_rng(length).normal(size=(length, 3)).astype("float32")
        result = tfcam.explain(model, x, target=1)
        kernel, bias = model.get_layer("conv").get_weights()
        A = convolved(np.pad(x, ((1, 1), (0, 0))), kernel, bias)
        G = np.broadcast_to(model.layers[-1].get_weights()[0][:, 1] / length, A.shape)
        wanted = by_replica(replicas.grad_cam, A, G)
        np.testing.assert_allclose(result.raw, wanted, rtol=1e-4, atol=1e-6)


# --- texts ----------------------------------------------------------------------------------


def text_model(length=None, dtype="int32"):
    inputs = keras.Input((length,), dtype=dtype)
    x = layers.Embedding(11, 4, name="embedding")(inputs)
    x = layers.Conv1D(6, 3, activation="relu", name="conv")(x)
    x = layers.GlobalMaxPooling1D(name="pool")(x)
    return seeded(keras.Model(inputs, layers.Dense(2, activation="softmax", name="head")(x)))


TEXT = np.array([3, 7, 7, 1, 0, 10, 2, 5])


@pytest.mark.parametrize("length", [None, len(TEXT)])
@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "hires_cam"])
def test_a_text_is_explained_at_its_convolution(length, method):
    model = text_model(length)
    table, kernel, bias, weights, offsets = model.get_weights()
    A = convolved(table[TEXT], kernel, bias)
    G = np.zeros(A.shape)  # max pooling: only the largest of each channel counts
    for k in range(A.shape[-1]):
        if A[:, k].max() > 0:
            G[A[:, k].argmax(), k] = weights[k, 1]
    for given in (TEXT, TEXT.tolist(), tf.constant(TEXT)):
        result = tfcam.explain(model, given, target=1, method=method)
        assert result.layer == "conv"
        wanted = by_replica(getattr(replicas, method), A, G)
        np.testing.assert_allclose(result.raw, wanted, rtol=1e-4, atol=1e-6)
        assert result.score == pytest.approx(A.max(axis=0) @ weights[:, 1] + offsets[1], rel=1e-4)
        assert result.heatmap.shape == (len(TEXT),)
    batch = tfcam.explain(model, [TEXT, TEXT[::-1]], target=1, method=method)
    np.testing.assert_allclose(batch[0].raw, wanted, rtol=1e-4, atol=1e-6)
    single = tfcam.explain(model, TEXT[::-1], target=1, method=method)
    np.testing.assert_allclose(batch[1].raw, single.raw, rtol=1e-5, atol=1e-7)


def test_gradient_times_embedding():
    """HiResCAM at the embedding: what each word's vector gives, summed over its dimensions."""
    model = text_model()
    table, kernel, bias, weights, _ = model.get_weights()
    vectors = table[TEXT].astype(float)
    A = convolved(vectors, kernel, bias)
    wanted = np.zeros(len(TEXT))
    for k in range(A.shape[-1]):
        start = A[:, k].argmax()
        for step in range(kernel.shape[0]):
            add = weights[k, 0] * vectors[start + step] @ kernel[step, :, k]
            wanted[start + step] += add * (A[start, k] > 0)
    result = tfcam.explain(model, TEXT, "embedding", target=0, method="hires_cam")
    np.testing.assert_allclose(result.raw, wanted, rtol=1e-4, atol=1e-6)


OF_WORDS = [name for name in CHANGING if METHODS[name].of_layer or METHODS[name].hides_words]


@pytest.mark.parametrize("method", sorted(set(CHANGING) - set(OF_WORDS)))
def test_whole_numbers_can_not_be_changed_a_little(method):
    with pytest.raises(ValueError, match="whole numbers, int32"):
        tfcam.explain(text_model(), TEXT, "conv", method=method)


@pytest.mark.parametrize("method", sorted(set(networks.METHODS) - set(CHANGING)))
def test_other_methods_explain_texts(method):
    pooled = keras.Input((None,), dtype="int32")
    x = layers.Embedding(11, 4, name="embedding")(pooled)
    x = layers.Conv1D(6, 3, activation="relu", name="conv")(x)
    x = layers.Dense(2, name="head")(layers.GlobalAveragePooling1D(name="pool")(x))
    model = seeded(keras.Model(pooled, x))
    vectors = model.get_layer("embedding").get_weights()[0][TEXT]
    series = keras.Input((None, 4))
    x = model.get_layer("conv")(series)
    x = model.get_layer("head")(model.get_layer("pool")(x))
    embedded = keras.Model(series, x)
    found = tfcam.explain(model, TEXT, "conv:0", target=1, method=method)
    wanted = tfcam.explain(embedded, vectors, "conv:0", target=1, method=method)
    np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-4, atol=1e-6)


def test_an_embedding_behind_an_input_of_floats():
    """Keras's own default dtype of an input."""
    model = text_model(dtype="float32")
    found = tfcam.explain(model, TEXT, target=1)
    np.testing.assert_allclose(found.raw, tfcam.explain(text_model(), TEXT, target=1).raw)
    assert tfcam.explain(model, TEXT).layer == "embedding"


# --- resizing -------------------------------------------------------------------------------


def interpolated(values, size):
    """Linear along each axis in turn, with centres at halves and edges repeated; float64."""
    values = values.astype(float)
    for axis, wanted in enumerate(size):
        count = values.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * count / wanted - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, count - 1)
        part = (at - low).reshape(-1, *[1] * (values.ndim - 1 - axis))
        values = (1 - part) * values.take(low, axis) + part * values.take(high, axis)
    return values


SIZES = [
    ((5,), (17,)),
    ((17,), (5,)),
    ((1,), (4,)),
    ((40,), (70_000,)),
    ((3, 4, 5), (7, 9, 6)),
    ((7, 9, 6), (3, 4, 5)),
    ((1, 1, 1), (2, 3, 4)),
    ((8, 16, 16), (64, 256, 256)),
]


@pytest.mark.parametrize(("shape", "size"), SIZES, ids=str)
def test_maps_of_series_and_volumes_are_resized_linearly(shape, size):
    values = np.random.default_rng(0).normal(size=shape).astype("float32")
    wanted = interpolated(values, size)
    found = maps.resize(values, size)
    # Positions are float32, and a value changes by as much as they are off, times the slope.
    off = rounding(max(shape), count=1) * np.ptp(values)
    np.testing.assert_allclose(found, wanted, atol=off)
    assert found.dtype == np.float32
    tensor = resized(tf.constant(np.stack([values, 2 * values])[..., None]), size)
    assert tensor.shape == (2, *size, 1)
    np.testing.assert_allclose(tensor[0, ..., 0], found, atol=off)
    np.testing.assert_allclose(tensor[1, ..., 0], 2 * tensor[0, ..., 0], atol=1e-5)


@pytest.mark.parametrize(("shape", "size"), [SIZES[0], SIZES[4]], ids=str)
def test_channels_are_resized_each_by_itself(shape, size):
    values = np.random.default_rng(0).normal(size=(*shape, 7)).astype("float32")
    found = maps.resize(values, size)
    tensor = resized(tf.constant(values[None]), size)[0]
    for channel in range(7):
        wanted = interpolated(values[..., channel], size)
        np.testing.assert_allclose(found[..., channel], wanted, atol=1e-5)
        np.testing.assert_allclose(tensor[..., channel], wanted, atol=1e-5)


def test_the_replica_by_hand():
    np.testing.assert_allclose(interpolated(np.array([0.0, 1.0]), (4,)), [0, 0.25, 0.75, 1])
    image = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(interpolated(image, (7, 5)), replicas.bilinear(image, 7, 5))
