"""Activation maximisation: what it finds, what it leaves alone, what it says of itself."""

import dataclasses
import gc
import json

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import tfcam
from tests import networks
from tfcam.feature_visualization import objectives
from tfcam.feature_visualization.parametrisations import Fourier, Pixels
from tfcam.feature_visualization.recipes import PRESETS, Recipe
from tfcam.feature_visualization.transforms import Jitter
from tfcam.scenes import KINDS

STILL = Recipe(Pixels(deviation=0.0), rate=0.01)


@pytest.fixture(scope="module")
def shapes():
    return tfcam.demo_model()


def linear(side=4, classes=2, channels=3, seed=0):
    """y = W x + b on pixels of 0..1."""
    rng = np.random.default_rng(seed)
    model = keras.Sequential(
        [
            keras.Input((side, side, channels)),
            layers.Flatten(name="flat"),
            layers.Dense(classes, name="head"),
        ]
    )
    for variable in model.variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def weights_of(model, target):
    shape = model.input_shape[1:]
    return np.asarray(model.get_layer("head").kernel)[:, target].reshape(shape)


def test_of_a_linear_network_the_dream_goes_along_the_weights():
    model = linear()
    made = tfcam.dream(model, 1, preset=STILL, preprocess="unit", ascent="even", steps=20)
    W = weights_of(model, 1)
    way = made.image / 255.0 - 0.5
    cosine = (way * W).sum() / np.linalg.norm(way) / np.linalg.norm(W)
    assert cosine > 0.999  # rounded to whole pixel values
    # 20 steps of 0.01 W / mean |W| from grey: by hand.
    wanted = np.round(255 * np.clip(0.5 + 0.2 * W / np.abs(W).mean(), 0, 1))
    assert np.abs(made.image - wanted).max() <= 1
    bias = float(np.asarray(model.get_layer("head").bias)[1])
    grey = np.full_like(W, 128 / 255)
    assert made.start[0] == pytest.approx((W * grey).sum() + bias, abs=1e-4)
    assert made.scores[0] == pytest.approx((W * (made.image / 255.0)).sum() + bias, abs=1e-4)


def test_at_the_end_every_pixel_is_as_its_weight_wants_it():
    model = linear()
    made = tfcam.dream(model, 0, preset=STILL, preprocess="unit", steps=80)
    np.testing.assert_array_equal(made.image, np.where(weights_of(model, 0) > 0, 255, 0))
    W, b = weights_of(model, 0), float(np.asarray(model.get_layer("head").bias)[0])
    assert made.scores[0] == pytest.approx(W[W > 0].sum() + b, abs=1e-4)
    less = tfcam.dream(model, -objectives.class_logit(0), preset=STILL, preprocess="unit", steps=80)
    np.testing.assert_array_equal(less.image, 255 - made.image)


def test_a_penalty_balances_the_objective_where_their_slopes_meet():
    """max <W, x> / n - lambda mean (x - 1/2)^2 is at x = 1/2 + W / (2 lambda)."""
    model = linear()
    W, size = weights_of(model, 1), 48
    strength = 4 * np.abs(W).max()
    aim = objectives.class_logit(1) / size - strength * objectives.l2()
    made = tfcam.dream(model, aim, preset=STILL, preprocess="unit", steps=300, rate=0.005)
    np.testing.assert_allclose(made.image / 255, 0.5 + W / (2 * strength), atol=0.006)


def test_a_difference_is_of_both_logits_in_one_pass():
    model = linear(classes=3)
    aim = objectives.class_logit(0) - 2 * objectives.class_logit(2)
    made = tfcam.dream(model, aim, preset=STILL, preprocess="unit", steps=80)
    W = weights_of(model, 0) - 2 * weights_of(model, 2)
    np.testing.assert_array_equal(made.image, np.where(W > 0, 255, 0))


def test_a_model_is_run_once_for_all_layers(monkeypatch):
    from tfcam.passes.submodel import SubModel

    runs, forward = [], SubModel.forward
    monkeypatch.setattr(
        SubModel, "forward", lambda self, *args, **kw: runs.append(1) or forward(self, *args, **kw)
    )
    model = networks.flat()
    aim = objectives.channel("first", 1) + objectives.neuron("second", 2) - objectives.layer("norm")
    tfcam.dream(model, aim, preprocess="tf", steps=5, size=None)
    # Traced once for all steps, and once to measure the first and the last picture.
    assert len(runs) == 2


@pytest.mark.parametrize("target", range(8))
@pytest.mark.thinned(1, kept="slow")
def test_every_class_of_the_embedded_network_is_found(shapes, target):
    made = tfcam.dream(shapes, target, steps=128)
    assert made.scores[0] >= 10 * abs(made.start[0])
    probability = shapes(made.images.astype("float32"))[0, target]
    assert probability > 0.9
    assert made.probabilities[0] == pytest.approx(float(probability), abs=1e-5)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("preset", ["plain", "yosinski"])
def test_presets_raise_the_objective_tenfold(shapes, preset):
    made = tfcam.dream(shapes, "heart", preset=preset, labels=KINDS, steps=64)
    assert made.scores[0] > 10 * abs(made.start[0])
    assert made.probabilities[0] > 0.9
    assert made.settings["preset"] == preset


@pytest.mark.product
def test_mobilenet_sees_what_it_was_asked_for(mobilenet):
    """Through Keras's own preprocessing, from whole pixel values."""
    made = tfcam.dream(mobilenet, "goldfish", steps=24)
    inputs = keras.applications.mobilenet_v2.preprocess_input(made.images.astype("float32"))
    assert mobilenet(inputs).numpy()[0, 1] > 0.9
    assert made.scores[0] > 10 * abs(made.start[0])
    assert made.objective == "class_logit('goldfish')"
    assert made.preprocessing.startswith("scaled to -1..1")
    aim = objectives.channel("block_5_expand", 3)
    channel = tfcam.dream(mobilenet, aim, steps=16)
    assert channel.scores[0] > 10 * abs(channel.start[0])
    assert channel.probabilities is None


@pytest.mark.slow
def test_the_same_seed_gives_the_same_picture_bit_for_bit(shapes):
    first, again = (tfcam.dream(shapes, 3, steps=6, seed=4) for _ in range(2))
    assert first == again
    assert first.images.tobytes() == again.images.tobytes()
    other = tfcam.dream(shapes, 3, steps=6, seed=5)
    assert not np.array_equal(other.images, first.images)
    assert (first.seed, other.seed) == (4, 5)


@pytest.mark.slow
def test_several_pictures_differ_and_each_has_its_curve(shapes):
    made = tfcam.dream(shapes, 6, count=3, steps=12)
    assert made.images.shape == (3, 128, 128, 3)
    assert made.images.dtype == np.uint8
    assert made.curve.shape == (12, 3)
    assert made.scores.shape == made.start.shape == made.probabilities.shape == (3,)
    assert len({each.tobytes() for each in made.images}) == 3
    assert (made.curve[-1] > made.curve[0]).all()
    np.testing.assert_array_equal(made.image, made.images[made.scores.argmax()])


@pytest.mark.slow
def test_diversity_makes_pictures_differ_more(shapes):
    aim, apart = objectives.class_logit(6), objectives.diversity("features")

    plain = tfcam.dream(shapes, aim, count=2, steps=40, transforms=[])
    diverse = tfcam.dream(shapes, aim + 60 * apart, count=2, steps=40, transforms=[])

    def likeness(images):
        maps = shapes.get_layer("features")
        inner = keras.Model(shapes.input, maps.output)(images.astype("float32")).numpy()
        flat = inner.reshape(2, -1, inner.shape[-1])
        a, b = (x.T @ x for x in flat)
        return (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)

    assert likeness(diverse.images) < likeness(plain.images) - 0.05


def test_the_curve_starts_and_the_scores_end_where_the_pictures_do(shapes):
    made = tfcam.dream(shapes, 1, preset="plain", steps=10)
    # Without transforms the first value is that of the noise, but for its rounding to bytes.
    assert made.curve[0] == pytest.approx(made.start, abs=0.05)
    assert made.curve[-1] < made.scores


@pytest.mark.slow
def test_a_dream_from_a_picture_keeps_the_picture(shapes):
    scene = tfcam.scenes.draw_scene(1).image
    made = tfcam.dream(shapes, objectives.layer("features"), preset="deep_dream", image=scene)
    assert made.scores[0] > 10 * made.start[0]
    correlation = np.corrcoef(made.image.ravel(), scene.ravel())[0, 1]
    assert 0.3 < correlation < 0.999
    nothing = tfcam.dream(
        shapes, objectives.layer("features"), preset="deep_dream", image=scene, rate=1e-6, steps=1
    )
    np.testing.assert_array_equal(nothing.image, scene)


@pytest.mark.slow
def test_pictures_are_resized_to_the_model_and_open_sides_take_theirs():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(2, 3, name="conv")(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    options = {"preprocess": "unit", "steps": 2}
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    aim = objectives.channel("conv", 0)
    assert tfcam.dream(model, aim, image=picture, **options).image.shape == (20, 30, 3)
    assert tfcam.dream(model, aim, size=(9, 14), **options).image.shape == (9, 14, 3)
    small = tfcam.dream(linear(), 0, image=picture, preprocess="unit", steps=1)
    assert small.image.shape == (4, 4, 3)


@pytest.mark.parametrize("channels", [1, 6])
def test_pictures_of_other_channels(channels):
    model = linear(channels=channels)
    made = tfcam.dream(model, 0, preset=STILL, preprocess="unit", steps=80)
    np.testing.assert_array_equal(made.image, np.where(weights_of(model, 0) > 0, 255, 0))
    assert made.picture.shape == (4, 4, 3)
    fourier = tfcam.dream(model, 0, preprocess="unit", steps=10, transforms=[])
    assert fourier.scores[0] > fourier.start[0]


@pytest.mark.slow
def test_channels_first_is_the_same_dream():
    images = []
    for order in ("channels_last", "channels_first"):
        shape = (8, 8, 3) if order == "channels_last" else (3, 8, 8)
        inputs = keras.Input(shape)
        x = layers.Conv2D(4, 3, name="conv", data_format=order)(inputs)
        x = layers.GlobalAveragePooling2D(data_format=order)(x)
        model = networks.seeded(keras.Model(inputs, layers.Dense(2)(x)))
        aim = objectives.channel("conv", 1) + objectives.class_logit(0)
        images.append(tfcam.dream(model, aim, preprocess="unit", steps=3).images)
    np.testing.assert_allclose(*images, atol=1)


@pytest.mark.parametrize("kind", sorted(networks.KINDS))
@pytest.mark.thinned(1, kept="slow")
def test_every_kind_of_model_dreams_alike_and_is_left_as_it_was(kind):
    model = networks.make(kind)
    before = networks.snapshot(model, networks.pictures(), predict=False)
    aim = objectives.class_logit(1) + objectives.channel("features", 2)
    made = tfcam.dream(model, aim, preprocess="tf", steps=4)
    after = networks.snapshot(model, networks.pictures(), predict=False)
    assert after == before
    wanted = tfcam.dream(networks.flat(), aim, preprocess="tf", steps=4)
    assert made.scores == pytest.approx(wanted.scores, rel=1e-3)
    assert made.score_kind == "logit"


@pytest.mark.slow
def test_half_precision_climbs_as_full_precision_does():
    half = networks.in_policy("mixed_float16", networks.flat)
    networks.with_weights(half)
    full = networks.flat()
    made, wanted = (
        tfcam.dream(m, 1, preprocess="tf", preset="plain", steps=30) for m in (half, full)
    )
    assert made.scores == pytest.approx(wanted.scores, rel=0.05)
    # So small a score has gradients that float16 alone would lose.
    tiny = tfcam.dream(
        half, 1e-5 * objectives.class_logit(1), preprocess="tf", preset="plain", steps=30
    )
    assert 1e5 * tiny.scores == pytest.approx(wanted.scores, rel=0.1)


def test_a_model_without_softmax_is_told_apart_from_one_with():
    bare = tfcam.dream(linear(), 0, preset=STILL, preprocess="unit", steps=2)
    assert (bare.score_kind, bare.probabilities) == ("output", None)
    layer_only = tfcam.dream(
        linear(), objectives.channel("head", 1), preset=STILL, preprocess="unit", steps=2
    )
    assert layer_only.score_kind == "activation"


def test_of_several_outputs_one_is_named():
    inputs = keras.Input((4, 4, 3))
    flat = layers.Flatten()(inputs)
    heads = [layers.Dense(2, name=name)(flat) for name in ("one", "two")]
    model = networks.seeded(keras.Model(inputs, dict(zip(("one", "two"), heads, strict=True))))
    options = {"preset": STILL, "preprocess": "unit", "steps": 80}
    for name in ("one", "two"):
        W = np.asarray(model.get_layer(name).kernel)[:, 1].reshape(4, 4, 3)
        made = tfcam.dream(model, 1, output=name, **options)
        np.testing.assert_array_equal(made.image, np.where(W > 0, 255, 0))
    with pytest.raises(ValueError, match="Choose one with output='one' or 'two'"):
        tfcam.dream(model, 1, **options)


@pytest.mark.slow
def test_of_a_layer_that_ends_in_a_softmax_the_logit_is_taken():
    model = networks.flat()
    options = {"preprocess": "tf", "steps": 3}
    by_layer = tfcam.dream(model, objectives.channel("head", 1), **options)
    by_class = tfcam.dream(model, 1, **options)
    np.testing.assert_array_equal(by_layer.images, by_class.images)


@pytest.mark.slow
def test_layers_by_index_path_and_object_are_the_same(shapes):
    layer = shapes.get_layer("features")
    index = next(e.index for e in tfcam.layers(shapes) if e.path == "features")
    made = [
        tfcam.dream(shapes, objectives.channel(each, 3), steps=2).images
        for each in (layer, "features", index)
    ]
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


@pytest.mark.slow
def test_no_step_is_traced_again_and_nothing_is_kept(shapes):
    traced = []

    def counted(pixels):
        traced.append(1)
        return pixels

    tfcam.dream(shapes, 1, preprocess=counted, steps=20)
    assert len(traced) == 2  # the step, and what measures
    gc.collect()
    before = len([each for each in gc.get_objects() if isinstance(each, tf.Tensor)])
    for _ in range(3):
        tfcam.dream(shapes, 1, steps=3)
    gc.collect()
    after = len([each for each in gc.get_objects() if isinstance(each, tf.Tensor)])
    assert after <= before


def test_a_bar_is_shown_where_it_is_asked_for(capfd):
    options = {"preset": STILL, "preprocess": "unit", "steps": 3}
    tfcam.dream(linear(), 0, **options)
    assert "dreaming" not in capfd.readouterr().err
    tfcam.dream(linear(), 0, progress=True, **options)
    assert "dreaming" in capfd.readouterr().err


@pytest.mark.slow
def test_it_saves_and_loads_back_equal(shapes, tmp_path):
    made = tfcam.dream(shapes, "heart", labels=KINDS, steps=3, count=2)
    path = made.save(tmp_path / "heart.npz")
    assert tfcam.Dream.load(path) == made
    channel = tfcam.dream(shapes, objectives.channel("features", 0), steps=2)
    assert tfcam.Dream.load(channel.save(tmp_path / "channel.npz")) == channel
    assert channel != made
    with Image.open(made.save(tmp_path / "heart.png")) as image:
        assert image.size == (2 * 128 + 4, 128)
        np.testing.assert_array_equal(np.asarray(image)[:, :128], made.images[0])
        assert json.loads(image.info["tfcam"])["settings"]["seed"] == 0
    with pytest.raises(ValueError, match="saved as .png or .npz; got"):
        made.save(tmp_path / "heart.jpg")
    with pytest.raises(FileNotFoundError, match="folder of .* does not exist"):
        made.save(tmp_path / "nowhere/heart.png")
    with pytest.raises(FileNotFoundError, match="No file"):
        tfcam.Dream.load(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="holds no dream"):
        tfcam.Dream.load(tmp_path / "heart.png")


@pytest.mark.slow
def test_it_shows_what_it_is(shapes):
    made = tfcam.dream(shapes, "heart", labels=KINDS, steps=3, count=5)
    lines = repr(made).splitlines()
    assert lines[0] == "Dream of class_logit('heart'), 5 pictures of 128 x 128 pixels"
    assert lines[1].endswith("(logit), in 3 steps")
    assert "fourier, seed 0" in repr(made)
    assert made.picture.shape == (2 * 128 + 4, 4 * 128 + 12, 3)
    axes = made.plot()
    ticks = axes.figure.axes[1].get_xticks()
    assert (ticks == ticks.round()).all()  # steps are whole
    assert axes.get_title().startswith("class_logit('heart')\n")
    lines = axes.figure.axes[1].lines
    np.testing.assert_array_equal(lines[0].get_ydata(), made.curve[:, 0])
    plt.close("all")
    assert made._repr_html_().startswith('<img alt="class_logit(&#x27;heart&#x27;): ')
    own = plt.figure().subplots()
    assert made.plot(own) is own
    plt.close("all")


@pytest.mark.slow
def test_a_result_can_not_be_changed(shapes):
    made = tfcam.dream(shapes, 0, steps=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.objective = "mine"


def integers():
    inputs = keras.Input((8,), dtype="int32")
    return keras.Sequential([inputs, layers.Embedding(9, 2), layers.Flatten(), layers.Dense(2)])


def two_inputs():
    a, b = keras.Input((4, 4, 3)), keras.Input((2,))
    x = layers.Concatenate()([layers.Flatten()(a), b])
    return keras.Model([a, b], layers.Dense(2)(x))


FLAT = networks.flat
WRONG = [
    (FLAT, 1.5, {}, TypeError, "objective must be a class index, a label, or one of tfcam.obj"),
    (FLAT, "cat", {}, ValueError, "labels of this model are not known"),
    (FLAT, "cot", {"labels": ["cat", "dog", "cow"]}, ValueError, "No class is labelled 'cot'"),
    (FLAT, 3, {}, ValueError, "class index must be in 0..2: 3 classes; got 3"),
    (FLAT, objectives.layer("frist"), {}, ValueError, "No layer 'frist'.*Did you mean 'first'"),
    (FLAT, objectives.channel("first", 6), {}, ValueError, "channel must be in 0..5.*got 6"),
    (FLAT, objectives.layer(99), {}, ValueError, "index must be in 0.."),
    (FLAT, objectives.diversity("first"), {}, ValueError, "at least two, with count=2"),
    (FLAT, 0, {"steps": 0}, ValueError, "steps must be at least 1; got 0"),
    (FLAT, 0, {"stepps": 3}, TypeError, "no option 'stepps'"),
    (FLAT, 0, {"count": 0}, ValueError, "count must be at least 1; got 0"),
    (FLAT, 0, {"seed": -1}, ValueError, "seed must be at least 0; got -1"),
    (FLAT, 0, {"preset": "deep_dream"}, ValueError, "starts from a picture: pass image="),
    (FLAT, 0, {"image": np.zeros((4, 4, 3), "uint8"), "count": 2}, ValueError, "leave out count"),
    (FLAT, 0, {"size": (8, 8)}, ValueError, r"what the model takes, \(12, 12\); got \(8, 8\)"),
    (FLAT, 0, {"size": 8}, ValueError, r"size must be \(height, width\) in pixels; got 8"),
    (FLAT, 0, {"preprocess": None}, ValueError, "preprocess must say how pixels of 0..255"),
    (FLAT, 0, {"preprocess": "auto"}, ValueError, "wants its pictures can't be read from it"),
    (FLAT, 0, {"preprocess": lambda x: np.array(x)}, ValueError, "compute with TensorFlow or k"),
    (FLAT, 0, {"preprocess": lambda x: x[:, :4]}, ValueError, "keep the shape of the batch"),
    (FLAT, 0, {"preprocess": tf.round}, ValueError, "must depend on the layer in a differen"),
    (FLAT, 0, {"labels": ["a"]}, ValueError, "labels must name each of the model's 3 classes"),
    (integers, 0, {}, ValueError, "the model must have one input, of .height, width, channels"),
    (two_inputs, 0, {}, ValueError, "the model must have one input"),
    (lambda: "vgg16", 0, {}, TypeError, "model must be a built Keras model; got 'vgg16'"),
]


@pytest.mark.thinned(13)
@pytest.mark.parametrize(("make", "aim", "options", "kind", "message"), WRONG)
def test_what_does_not_fit_is_said(make, aim, options, kind, message):
    with pytest.raises(kind, match=message):
        tfcam.dream(make(), aim, **{"preprocess": "tf", "steps": 2, **options})


def test_what_does_not_stay_finite_is_said():
    def root(activations):
        return tf.sqrt(tf.reduce_sum(activations, axis=-1) - 1e6)

    aim = objectives.of_layer("root", "head", root)
    with pytest.raises(ValueError, match=r"must stay finite; before step 0 it is \[nan\]. Lower"):
        tfcam.dream(linear(), aim, preset=STILL, preprocess="unit")


def test_not_inside_a_tf_function():
    with pytest.raises(ValueError, match="needs values, which there are none inside a tf.func"):
        tf.function(lambda: tfcam.dream(linear(), 0, preprocess="unit"), autograph=False)()


@pytest.mark.slow
def test_own_transforms_and_parametrisations_are_taken():
    def still(seed, size):
        return tf.eye(3)

    options = {"preprocess": "unit", "steps": 5}
    plain = tfcam.dream(linear(), 0, transforms=[], **options)
    same = tfcam.dream(linear(), 0, transforms=[still], **options)
    assert np.abs(plain.images.astype(int) - same.images).max() <= 1
    moved = tfcam.dream(linear(), 0, transforms=[Jitter(2)], **options)
    assert not np.array_equal(moved.images, plain.images)
    flat = tfcam.dream(linear(), 0, parametrisation=Fourier(power=0.0), **options)
    assert flat.settings["parametrisation"].startswith("Fourier(power=0.0")
    assert set(PRESETS) == {"fourier", "plain", "yosinski", "deep_dream"}


@pytest.mark.slow
def test_many_dreams_of_one_model_are_no_reason_for_a_warning(shapes, caplog, monkeypatch):
    monkeypatch.setattr(tf.get_logger(), "propagate", True)
    for target in range(6):
        tfcam.dream(shapes, target, steps=1, progress=False)
    assert caplog.records == []
