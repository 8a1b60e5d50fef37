"""What is given for a model: one input however it is wrapped, labels beside it, grey pictures."""

import io

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.networks import seeded
from tests.tolerances import rounding

RNG = np.random.default_rng(7)
PICTURES = RNG.integers(0, 256, (3, 12, 12, 3), np.uint8)
GREY = RNG.normal(size=(8, 12, 12)).astype("float32")


def body(x):
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    return layers.Dense(3, activation="softmax", name="head")(layers.GlobalAveragePooling2D()(x))


def grad_cam(model, image, name="conv"):
    """By hand: the predicted class's logit, of a model that ends in pooling and a linear head."""
    conv, head = model.get_layer(name), model.get_layer("head")
    with tf.GradientTape() as tape:
        maps = keras.Model(model.input, conv.output)(image[None])
        tape.watch(maps)
        logits = tf.reduce_mean(maps, (1, 2)) @ head.kernel + head.bias
        score = tf.reduce_max(logits)
    weights = tf.reduce_mean(tape.gradient(score, maps), (1, 2), keepdims=True)
    return tf.reduce_sum(weights * maps, -1)[0].numpy()


@pytest.fixture(scope="module")
def plain():
    images = keras.Input((12, 12, 3), name="img")
    return seeded(keras.Model(images, body(images)))


WRAPPED = {
    "list": lambda m: keras.Model([m.input], m.output),
    "tuple": lambda m: keras.Model((m.input,), m.output),
    "dict": lambda m: keras.Model({"img": m.input}, m.output),
    "inputs": lambda m: keras.Model(m.inputs, m.output),
    "nested": lambda m: keras.Model({"img": m.input}, keras.Model([m.input], m.output)([m.input])),
}


@pytest.mark.thinned(3)
@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_one_input_is_one_input_however_it_is_wrapped(plain, wrap, tmp_path):
    model, (first, second, _) = wrap(plain), PICTURES
    wanted = grad_cam(plain, first / np.float32(255))
    layer = next(each.path for each in tfcam.layers(model) if each.path.endswith("conv"))
    how = {"preprocess": "unit", "layer": layer}

    def check(raw):
        np.testing.assert_allclose(raw, wanted, atol=rounding(wanted, count=50))

    check(tfcam.explain(model, first, **how).raw)
    check(tfcam.explain(model, {"img": first}, **how).raw)
    for one in (first[None], [first], [first[None]], (first,), {"img": first[None]}):
        (only,) = tfcam.explain(model, one, **how)
        check(only.raw)
    two = tfcam.explain(model, [np.stack([second, first])], **how)
    check(two[1].raw)
    compared = tfcam.compare(
        model, [first], methods=["grad_cam"], layers=[layer], preprocess="unit"
    )
    check(next(iter(compared)).raw)
    store = tfcam.stream(model, [first, second], to=tmp_path, progress=False, **how)
    check(store[0].raw)
    probe = tfcam.metrics.Probe(model, {"img": first}, preprocess="unit")
    assert probe.probabilities[0] == pytest.approx(plain(first[None] / 255).numpy().max())
    assert tfcam.diagnose(model, {"img": first}, layer, preprocess="unit")


def test_a_file_of_keras_2_takes_its_one_input_in_a_list(plain, tmp_path):
    keras.Model([plain.input], plain.output).save(tmp_path / "old.h5")
    model = keras.models.load_model(tmp_path / "old.h5", compile=False)
    found = tfcam.explain(model, PICTURES[0], preprocess="unit").raw
    wanted = grad_cam(plain, PICTURES[0] / np.float32(255))
    np.testing.assert_allclose(found, wanted, atol=rounding(wanted, count=50))


@pytest.mark.parametrize("given", [{}, {"pixels": PICTURES[0]}, {"img": PICTURES[0], "age": 3}])
def test_a_dict_of_anything_else_is_told(plain, given):
    with pytest.raises(ValueError, match="one input: .* a dict of 'img' alone; got a dict of"):
        tfcam.explain(plain, given, preprocess="unit")


# --- labels beside the images, and whole data sets ------------------------------------------

PAIRS = {
    "indices": (PICTURES, np.array([0, 1, 2])),
    "a column": (PICTURES, np.array([[0], [1], [2]])),
    "one-hot": (PICTURES, np.eye(3)),
    "a list": (list(PICTURES), [0, 1, 2]),
    "tensors": (tf.constant(PICTURES), tf.constant([0, 1, 2])),
    "weights": (PICTURES, np.array([0, 1, 2]), np.ones(3)),
    "masks": (PICTURES, np.zeros((3, 12, 12, 1))),
    "two outputs": (PICTURES, {"age": np.ones(3), "kind": np.eye(3)}),
    "one each": (PICTURES[:1], np.array([1])),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_of_images_and_labels_the_images_are_explained(plain, pair):
    found = tfcam.explain(plain, pair, preprocess="unit")
    wanted = tfcam.explain(plain, PICTURES[: len(pair[0])], preprocess="unit")
    np.testing.assert_array_equal(found.raws, wanted.raws)
    # The class is the predicted one: labels are taken only where a target says so.
    predicted = plain(PICTURES / np.float32(255)).numpy().argmax(-1)[: len(found)]
    assert [each.target for each in found] == predicted.tolist()


@pytest.mark.parametrize("label", [2, np.int64(2), tf.constant(2), np.eye(3)[2]], ids=str)
def test_one_image_with_its_label_is_one_image(plain, label):
    found = tfcam.explain(plain, (PICTURES[0], label), preprocess="unit")
    assert isinstance(found, tfcam.Explanation)
    np.testing.assert_array_equal(
        found.raw, tfcam.explain(plain, PICTURES[0], preprocess="unit").raw
    )


@pytest.mark.parametrize(
    "batch",
    [
        (PICTURES[0], PICTURES[1]),
        (PICTURES[:1], PICTURES[1:2]),
        (PICTURES[0, ..., 0], PICTURES[1, ..., 0]),
        (PICTURES[0], PICTURES[1], PICTURES[2]),
    ],
    ids=["arrays", "batches of one", "grey", "three"],
)
def test_a_tuple_of_images_is_a_batch(plain, batch):
    assert len(tfcam.explain(plain, batch, preprocess="unit")) == len(batch)


def test_several_inputs_with_labels():
    left, right = (keras.Input((6, 6, 1), name=name) for name in ("left", "right"))
    x = layers.Concatenate()([left, right])
    images = [RNG.normal(size=(2, 6, 6, 1)).astype("float32") for _ in range(2)]
    labels = np.array([0, 1])
    for taken, pair in [
        ([left, right], (tuple(images), labels)),
        ({"left": left, "right": right}, ({"left": images[0], "right": images[1]}, labels)),
    ]:
        model = seeded(keras.Model(taken, body(x)))
        found = tfcam.explain(model, pair)
        np.testing.assert_array_equal(found.raws, tfcam.explain(model, pair[0]).raws)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return PICTURES, np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("data", "first"),
    [
        (tf.data.Dataset.from_tensors((PICTURES, [0, 1, 2])), "next(iter(data))"),
        (iter([(PICTURES, [0, 1, 2])]), "next(iter(data))"),
        (Batches(), "data[0]"),
    ],
    ids=["tf.data", "iterator", "PyDataset"],
)
def test_a_whole_data_set_is_told_what_explains_it(plain, data, first):
    with pytest.raises(TypeError, match="a whole data set.*tfcam.stream.*tfcam.evaluate") as error:
        tfcam.explain(plain, data, preprocess="unit")
    assert f"images, labels = {first}" in str(error.value)
    with pytest.raises(TypeError, match="a whole data set"):
        tfcam.compare(plain, data, preprocess="unit")


def test_an_open_file_is_no_data_set(plain):
    file = io.BytesIO()
    keras.utils.array_to_img(PICTURES[0], scale=False).save(file, "PNG")
    file.seek(0)
    assert tfcam.explain(plain, file, preprocess="unit").raw.shape == (10, 10)


# --- pictures without an axis of channels ---------------------------------------------------


@pytest.fixture(scope="module")
def with_channel():
    images = keras.Input((12, 12, 1))
    return seeded(keras.Model(images, body(images)))


class Expands(keras.Model):
    """Adds the axis in its own code."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, images):
        return self.inner(images[..., None])


def bare(model, begin):
    images = keras.Input((12, 12))
    return keras.Model(images, model(begin(images)))


def subclassed(model):
    made = Expands(model)
    made(GREY)
    return made


BARE = {
    "itself": lambda m: m,
    "Reshape": lambda m: bare(m, layers.Reshape((12, 12, 1))),
    "expand_dims": lambda m: bare(m, lambda x: keras.ops.expand_dims(x, -1)),
    "GetItem": lambda m: bare(m, lambda x: x[..., None]),
    "Rescaling, Reshape": lambda m: bare(
        m, lambda x: layers.Reshape((12, 12, 1))(layers.Rescaling(1.0)(x))
    ),
    "Sequential": lambda m: keras.Sequential(
        [keras.Input((12, 12)), layers.Reshape((12, 12, 1)), m]
    ),
    "subclassed": subclassed,
}


def test_a_grey_picture_that_the_model_repeats_for_three_channels():
    images = keras.Input((12, 12))
    conv = layers.Conv2D(1, 1, kernel_initializer="ones", activation="relu", name="conv")
    x = conv(layers.Lambda(lambda x: tf.stack([x] * 3, -1))(images))
    head = layers.Dense(2, kernel_initializer="ones")
    model = keras.Model(images, head(layers.GlobalAveragePooling2D()(x)))
    image = np.zeros((12, 12), np.float32)
    image[2:4, 7:9] = 1
    found = tfcam.explain(model, image, target=1, preprocess=None)
    np.testing.assert_allclose(found.heatmap, image, atol=1e-6)


@pytest.mark.thinned(4)
@pytest.mark.parametrize("make", BARE.values(), ids=BARE)
def test_pictures_without_a_channel_are_taken_as_keras_takes_them(with_channel, make):
    model = make(with_channel)
    np.testing.assert_allclose(model(GREY), with_channel(GREY[..., None]))
    layer = next(each.path for each in tfcam.layers(model) if each.path.endswith("conv"))
    wanted = grad_cam(with_channel, GREY[3][..., None])
    for batch in (GREY, GREY[..., None], list(GREY), tf.constant(GREY)):
        found = tfcam.explain(model, batch, layer)
        assert len(found) == 8
        np.testing.assert_allclose(found[3].raw, wanted, atol=rounding(wanted, count=50))
    for one in (GREY[3], GREY[3][..., None]):
        found = tfcam.explain(model, one, layer)
        np.testing.assert_allclose(found.raw, wanted, atol=rounding(wanted, count=50))
        assert found.heatmap.shape == (12, 12)
    picture = tfcam.explain(model, PICTURES[0], layer, preprocess="unit")
    assert picture.heatmap.shape == (12, 12)
    (uint8,) = tfcam.explain(model, PICTURES[:1, ..., 0], layer, preprocess="unit")
    wanted = grad_cam(with_channel, PICTURES[0, ..., :1] / np.float32(255))
    np.testing.assert_allclose(uint8.raw, wanted, atol=rounding(wanted, count=50))
    assert tfcam.explain(model, GREY[0], method="saliency").heatmap.shape == (12, 12)
    with pytest.raises(ValueError, match=r"input shape 12 x 12.*got \(11, 12\)"):
        tfcam.explain(model, GREY[0, 1:], layer)


@pytest.mark.parametrize("begin", [layers.Flatten, lambda: layers.Reshape((-1,))])
def test_the_saliency_of_a_flattened_square_is_a_picture(begin):
    model = keras.Sequential([keras.Input((28, 28)), begin(), layers.Dense(3)])
    digits = RNG.normal(size=(8, 28, 28)).astype("float32")
    weights = model.layers[-1].kernel.numpy().reshape(28, 28, 3)
    found = tfcam.explain(model, digits, target=list(range(3)) + [0] * 5, method="saliency")
    for each, target in zip(found[:3], range(3), strict=True):
        assert each.heatmap.shape == (28, 28)
        np.testing.assert_allclose(each.raw[..., 0], weights[..., target], rtol=1e-5)


SERIES = {
    "Conv1D": [layers.Conv1D(4, 3)],
    "Conv1D of the same shape": [layers.Conv1D(12, 3, padding="same"), layers.Flatten()],
    "LSTM": [layers.LSTM(4)],
    "Normalization, Dense": [layers.Normalization(), layers.Dense(12), layers.Flatten()],
    "pooled": [layers.MaxPooling1D(2), layers.Conv1D(4, 3)],
}


@pytest.mark.parametrize("steps", SERIES.values(), ids=SERIES)
def test_a_series_stays_a_series(steps):
    head = [layers.Flatten(), layers.Dense(3)]
    model = keras.Sequential([keras.Input((12, 12)), *steps, *head])
    assert tfcam.explain(model, GREY[0], method="saliency").heatmap.shape == (12,)


def test_a_wide_table_that_is_flattened_stays_a_series():
    model = keras.Sequential([keras.Input((24, 5)), layers.Flatten(), layers.Dense(3)])
    series = RNG.normal(size=(24, 5)).astype("float32")
    assert tfcam.explain(model, series, method="saliency").heatmap.shape == (24,)


def test_a_series_of_one_channel_may_lack_its_axis():
    model = keras.Sequential([keras.Input((20, 1)), layers.Conv1D(4, 3), layers.Flatten()])
    model.add(layers.Dense(2))
    series = RNG.normal(size=(6, 20)).astype("float32")
    found = tfcam.explain(model, series, target=1)
    wanted = tfcam.explain(model, series[..., None], target=1)
    np.testing.assert_array_equal(found.raws, wanted.raws)
    np.testing.assert_array_equal(tfcam.explain(model, series[2], target=1).raw, wanted[2].raw)


def test_a_bare_picture_model_is_exported(with_channel, tmp_path):
    model = bare(with_channel, layers.Reshape((12, 12, 1)))
    explainer = tfcam.Explainer(model, -1, preprocess=None)
    explainer.export(tmp_path)
    serve = tf.saved_model.load(tmp_path).signatures["serving_default"]
    made = serve(image=tf.constant(GREY))["heatmap"]
    wanted = explainer(GREY).heatmaps
    np.testing.assert_allclose(made, wanted, atol=1e-5)


def test_lists_of_numbers_and_bool_pictures_are_taken_as_keras_takes_them(tmp_path):
    """As arrays: whole numbers are pixels, bool becomes 0 and 1, in every door."""
    model = networks.flat()
    pixels = np.random.default_rng(2).integers(0, 256, (2, 12, 12, 3), np.uint8)
    masks = pixels > 127
    floats = masks.astype("float32")

    def raws(given, preprocess):
        return [each.raw for each in tfcam.explain(model, given, target=1, preprocess=preprocess)]

    for given in (pixels.tolist(), list(pixels.tolist()), (pixels.tolist(), [0, 1])):
        np.testing.assert_array_equal(raws(given, "unit"), raws(pixels, "unit"))
    wanted = raws(floats, None)
    for given in (masks, list(masks), masks.tolist(), floats.tolist(), tf.constant(masks)):
        np.testing.assert_array_equal(raws(given, None), wanted)
    one = tfcam.explain(model, masks[0].tolist(), target=1, preprocess=None)
    np.testing.assert_allclose(one.raw, wanted[0], rtol=1e-5, atol=1e-6)
    store = tfcam.stream(model, masks, to=tmp_path / "store", target=1, preprocess=None)
    found = [store.explanation(number).raw for number in range(2)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"An image must be .* got list"):
        tfcam.explain(model, [[1, 2], [3]])


def test_inputs_lie_in_dicts_and_lists_of_one_another(plain):
    """{"rgb": {"img": x}} of one input, and of two, are those inputs."""
    first, how = PICTURES[0], {"preprocess": "unit", "target": 1}
    wanted = tfcam.explain(plain, first, **how).raw
    alone = keras.Model({"rgb": {"img": plain.input}}, plain.output)
    for one in (first, {"rgb": {"img": first}}, {"rgb": first}, {"img": first}):
        np.testing.assert_array_equal(tfcam.explain(alone, one, **how).raw, wanted)
    batch = tfcam.explain(alone, {"rgb": {"img": PICTURES}}, **how)
    np.testing.assert_array_equal(batch[0].raw, wanted)
    with pytest.raises(ValueError, match="as a dict of 'img' alone; got a dict of 'grey'"):
        tfcam.explain(alone, {"rgb": {"grey": first}}, **how)
    facts = keras.Input((2,), name="facts")
    head = layers.Add()([plain.output, layers.Dense(3, kernel_initializer="zeros")(facts)])
    both = keras.Model({"rgb": {"img": plain.input}, "known": [facts]}, head)
    inner = tfcam.explain(plain, first, "conv", score="probability", **how).raw
    for known in ([[0.5, 1]], [np.ones(2, np.float32)]):
        given = {"rgb": {"img": first}, "known": known}
        found = tfcam.explain(both, given, "conv", input="img", **how)
        np.testing.assert_allclose(found.raw, inner, atol=rounding(inner, count=50))
    with pytest.raises(ValueError, match="give a dict of all of them"):
        tfcam.explain(both, {"rgb": first, "known": [[0.5, 1]]}, input="img", **how)


def test_a_generator_is_told_to_become_a_list(plain):
    """``stream`` and ``evaluate`` take no generators."""
    with pytest.raises(TypeError, match=r"a generator, .*tfcam.evaluate\(model, list\(data\)\)"):
        tfcam.explain(plain, (one for one in PICTURES))


def test_a_column_of_pictures_is_a_batch(plain):
    pd = pytest.importorskip("pandas")
    found = tfcam.explain(plain, pd.Series(list(PICTURES)), preprocess="unit", target=[0, 1, 2])
    wanted = tfcam.explain(plain, PICTURES, preprocess="unit", target=[0, 1, 2])
    np.testing.assert_array_equal(found[2].raw, wanted[2].raw)
