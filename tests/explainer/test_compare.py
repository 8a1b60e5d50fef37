"""Several methods, layers, targets and models in one call: what they are, and how many passes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam import METHODS, Difference, Segmentation, Top
from tfcam.explainer.compare import compare

ONE_PASS = [
    "grad_cam",
    "grad_cam_pp",
    "x_grad_cam",
    "hires_cam",
    "layer_cam",
    "grad_cam_elementwise",
    "eigen_cam",
    "eigen_grad_cam",
]


class Counting(layers.Layer):
    """Counts forward passes, and traces, in which nothing is computed."""

    passes = traces = 0

    def call(self, x):
        if tf.executing_eagerly():
            Counting.passes += 1
        else:
            Counting.traces += 1
        return x


@pytest.fixture
def counted():
    """The flat network with a layer that counts; layers as in ``flat``.

    It stands behind the first weights: what stands before them is also asked how it scales
    pixels and where it moves them, once for a model.
    """
    source = networks.flat()
    inputs = keras.Input((networks.SIZE, networks.SIZE, 3))
    x = Counting(name="count")(source.layers[1](inputs))
    for layer in source.layers[2:]:
        x = layer(x)
    model = keras.Model(inputs, x)
    Counting.passes = Counting.traces = 0
    return model


# One pass


def test_all_one_pass_methods_layers_and_classes_share_one_forward_pass(counted):
    found = compare(
        counted, networks.pictures(1)[0], layers=["first", "second", "features"], targets=[0, 1, 2]
    )
    assert (Counting.passes, Counting.traces) == (1, 1)
    assert found.rows == tuple(ONE_PASS)
    assert len(found) == len(ONE_PASS) * 9
    assert found.columns[:3] == ("first, class 0", "first, class 1", "first, class 2")


def test_maps_of_pixels_and_cam_share_it_too(counted):
    methods = ["cam", "grad_cam", "saliency"]
    found = compare(counted, networks.pictures(1)[0], layers=["features"], methods=methods)
    # Gradients of pixels are compiled from the first call on. The layer that CAM and the default
    # one need is read from one more trace.
    assert (Counting.passes, Counting.traces) == (0, 2)
    assert found.rows == tuple(methods)


def test_top_classes_of_one_image_take_one_forward_pass(counted):
    x = networks.pictures(1)[0]
    results = tfcam.explain(counted, x, "features", target=Top(3))
    assert (Counting.passes, Counting.traces) == (1, 1)
    probabilities = counted(x[None], training=False).numpy()[0]
    assert [each.target for each in results] == np.argsort(-probabilities).tolist()
    assert [each.probability for each in results] == pytest.approx(sorted(probabilities)[::-1])
    for each in results:
        alone = tfcam.explain(counted, x, "features", target=each.target)
        np.testing.assert_allclose(each.raw, alone.raw, rtol=1e-5, atol=1e-7)
        assert each.score == pytest.approx(alone.score)


@pytest.mark.parametrize("name", networks.METHODS)
@pytest.mark.thinned(1)
def test_many_targets_of_one_image_are_each_by_itself(name):
    model, x = networks.flat(), networks.pictures(1)[0]
    targets = [2, Difference(0, 1), None]
    if not METHODS[name].needs_class:
        targets.append(lambda outputs: outputs[:, 0] + outputs[:, 2])
    if METHODS[name].contrast is not None:
        targets.remove(Difference(0, 1))
    together = tfcam.explain(model, x, target=targets, method=name)
    assert len(together) == len(targets)
    for each, target in zip(together, targets, strict=True):
        alone = tfcam.explain(model, x, target=target, method=name)
        bound = 1e-5 * np.abs(alone.raw).max()
        np.testing.assert_allclose(each.raw, alone.raw, atol=bound)
        assert (each.target, each.label) == (alone.target, alone.label)
        assert each.score == pytest.approx(alone.score, rel=1e-5)


# What is compared


@pytest.mark.parametrize("name", networks.METHODS)
@pytest.mark.thinned(1)
def test_every_cell_is_what_explain_gives(name):
    model, x = networks.flat(), networks.pictures(1)[0]
    found = compare(model, x, methods=["grad_cam", name], targets=[0, 2])
    for column, target in enumerate([0, 2]):
        alone = tfcam.explain(model, x, method=name, target=target)
        cell = found[1, column]
        np.testing.assert_allclose(cell.raw, alone.raw, atol=1e-5 * np.abs(alone.raw).max())
        assert (cell.method, cell.layer, cell.target) == (name, alone.layer, target)
        assert cell.options == alone.options


def test_models_by_methods():
    model, other, x = networks.flat(), networks.flat(), networks.pictures(1)[0]
    other.set_weights([2 * weight for weight in other.get_weights()])
    found = compare([model, other], x, methods=["grad_cam", "eigen_cam"], targets=[1])
    assert found.rows == ("flat (1)", "flat (2)")
    assert found.columns == ("grad_cam", "eigen_cam")
    for row, each in enumerate([model, other]):
        alone = tfcam.explain(each, x, target=1)
        np.testing.assert_allclose(found[row, "grad_cam"].raw, alone.raw, rtol=1e-5, atol=1e-7)


def test_options_callables_and_labels():
    model, x = networks.flat(), networks.pictures(1)[0]

    def brightest(reading):
        return keras.ops.max(reading.activations, axis=-1)

    methods = [("grad_cam_pp", {"normalize_alpha": True}), brightest, "grad_cam", "grad_cam"]
    found = compare(
        model, x, methods=methods, targets=["b", Difference("a", "c")], labels=list("abc")
    )
    assert found.rows == (
        "grad_cam_pp(normalize_alpha=True)",
        "brightest",
        "grad_cam (1)",
        "grad_cam (2)",
    )
    assert found.columns == ("b", "a and not c")
    assert found[0, 0].options["normalize_alpha"] is True
    wanted = tfcam.explain(model, x, target=0).raw - tfcam.explain(model, x, target=2).raw
    np.testing.assert_allclose(found[2, 1].raw, wanted, atol=1e-6)


def test_a_map_of_pixels_is_the_same_for_every_layer():
    model, x = networks.flat(), networks.pictures(1)[0]
    found = compare(model, x, layers=[0, -1], methods=["saliency", "hires_cam"])
    np.testing.assert_array_equal(found[0, 0].raw, found[0, 1].raw)
    assert (found[1, 0].raw.shape, found[1, 1].raw.shape) == ((12, 12), (6, 6))
    assert found.columns == ("first", "features")


@pytest.mark.slow
def test_nothing_is_changed():
    model, x = networks.flat(), networks.pictures(1)
    before = networks.snapshot(model, x)
    compare(model, x[0], methods=["grad_cam", "score_cam", "guided_backprop"], targets=Top(2))
    with pytest.raises(ValueError, match="none"):
        compare(model, x[0], methods=["grad_cam", "score_cam"], layers=["none"])
    assert networks.snapshot(model, x) == before


@pytest.mark.parametrize("name", ["layers", "methods", "targets"])
@pytest.mark.parametrize("value", [[], "grad_cam"])
def test_lists_must_hold_something(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a list that holds at least one"):
        compare(networks.flat(), networks.pictures(1)[0], **{name: value})


def test_what_can_not_be_augmented():
    model, x = networks.flat(), networks.pictures(1)
    for target in (Segmentation(0, [[True]]), tfcam.Box(0, [0, 0, 1, 1])):
        for given in (target, [target]):
            with pytest.raises(ValueError, match="moves the image, but not the mask or box"):
                tfcam.explain(model, x, target=given, augment=True)


@pytest.mark.parametrize("grid", [(3,), (0, 4), (2.5, 2), "44"])
def test_a_grid_is_two_numbers(grid):
    with pytest.raises(ValueError, match=r"grid must be \(height, width\)"):
        tfcam.explain(networks.vit(), networks.pictures(1), grid=grid)


def test_targets_by_value_are_compiled_once():
    model, x = networks.flat(), networks.pictures(1)
    engine = tfcam.Explainer(model).pipeline.engine
    for _ in range(2):
        tfcam.explain(model, x, target=tfcam.Regression(1, index=2))
    assert len(engine.runner.compiled.functions) == 1


def test_what_can_not_be_compared():
    model, x = networks.flat(), networks.pictures(2)
    with pytest.raises(ValueError, match="one image; compare the images of a batch one by one"):
        compare(model, x)
    with pytest.raises(ValueError, match="must hold at least one|holds at least one"):
        compare([], x[0])
    for more in ({"layers": [0, 1]}, {"targets": [0, 1]}, {"targets": Top(2)}):
        with pytest.raises(ValueError, match="one layer and one target for all"):
            compare([model, model], x[0], **more)


# Several outputs, and targets of each kind, through the front door


def two_outputs():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    pooled = layers.GlobalAveragePooling2D()(x)
    kinds = layers.Dense(3, activation="softmax", name="kinds")(pooled)
    age = layers.Dense(1, name="age")(pooled)
    return keras.Model(inputs, {"kinds": kinds, "age": age}), keras.Model(inputs, kinds)


@pytest.mark.parametrize("runs", [1, 2])
def test_one_of_several_outputs_by_its_name(rng, runs):
    both, kinds = two_outputs()
    x = rng.normal(0, 1, (2, 8, 8, 3)).astype("float32")
    explainer = tfcam.Explainer(both, "conv", output="kinds")
    for _ in range(runs):
        found = explainer(x, [2, None])
    wanted = tfcam.explain(kinds, x, "conv", target=[2, None])
    np.testing.assert_allclose(found.raws, wanted.raws, rtol=1e-4, atol=1e-7)
    assert [each.score_kind for each in found] == ["logit", "logit"]
    assert [each.probability for each in found] == pytest.approx(
        [each.probability for each in wanted]
    )
    assert found[0].options["output"] == "kinds"
    age = tfcam.explain(both, x, "conv", output="age", target=tfcam.Regression())
    assert [each.score for each in age] == pytest.approx(both(x)["age"].numpy()[:, 0].tolist())
    assert age[0].label == "regression, up"
    with pytest.raises(ValueError, match="'ages'.*'age'"):
        tfcam.explain(both, x, "conv", output="ages")
    with pytest.raises(ValueError, match="output="):
        tfcam.explain(both, x, "conv", target=1)


def test_a_segmentation_is_explained_at_its_mask(rng):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax", name="head")(x))
    picture = rng.normal(0, 1, (1, 8, 8, 3)).astype("float32")
    mask = np.zeros((8, 8), bool)
    mask[2:4, 5:7] = True
    (found,) = tfcam.explain(
        model, picture, "conv", target=Segmentation(1, mask), method="hires_cam"
    )
    # Of a head of 1x1 convolutions the map is A_ij w inside of the mask and nothing outside.
    A = keras.Model(inputs, x)(picture).numpy()[0].astype("f8")
    w = model.get_layer("head").get_weights()[0][0, 0, :, 1]
    np.testing.assert_allclose(found.raw, np.where(mask, A @ w, 0), rtol=1e-4, atol=1e-6)
    assert found.label.startswith("segmentation of class 1")
    assert found.score_kind == "callable"
    assert found.target is None


def test_a_difference_is_the_difference_for_cam_as_well():
    model, x = networks.flat(), networks.pictures(2)
    a, b, both = (
        tfcam.explain(model, x, target=target, method="cam") for target in (0, 2, Difference(0, 2))
    )
    np.testing.assert_allclose(both.raws, a.raws - b.raws, rtol=1e-4, atol=1e-5)
    assert both[0].score == pytest.approx(a[0].score - b[0].score, rel=1e-4)
    assert (both[0].target, both[0].label) == (0, "class 0 and not class 2")
    assert both[0].probability == a[0].probability
    predicted = tfcam.explain(model, x, target=Difference(None, 2), method="cam")
    named = [each.target for each in tfcam.explain(model, x)]
    assert [each.target for each in predicted] == named


def test_each_image_its_own_kind_of_target():
    model, x = networks.flat(), networks.pictures(4)

    def doubled(outputs):
        return 2 * outputs[:, 1]

    targets = [1, doubled, Difference(2, 0), None]
    for size in (1, 3, 32):
        found = tfcam.explain(model, x, target=targets, batch_size=size)
        for index, target in enumerate(targets[:3]):
            alone = tfcam.explain(model, x[index], target=target)
            np.testing.assert_allclose(found[index].raw, alone.raw, rtol=1e-4, atol=1e-6)
        assert [each.label for each in found[1:3]] == ["doubled", "class 2 and not class 0"]


def test_targets_that_do_not_fit():
    model, x = networks.flat(), networks.pictures(2)
    with pytest.raises(ValueError, match="one image: give the images one by one"):
        tfcam.explain(model, x, target=Top(2))
    with pytest.raises(ValueError, match="at least one; got an empty one"):
        tfcam.explain(model, x[0], target=[])
    with pytest.raises(ValueError, match="one for each image; got 3 for 2 images"):
        tfcam.explain(model, x, target=[0, lambda outputs: outputs[:, 0], 1])
    with pytest.raises(ValueError, match="k|Top"):
        tfcam.explain(model, x[0], target=Top(9))
    with pytest.raises(ValueError, match="needs a class.*got a callable"):
        tfcam.explain(model, x, method="finer_cam", target=lambda outputs: outputs[:, 0])
    with pytest.raises(ValueError, match="holds a class against others by itself"):
        tfcam.explain(model, x, method="finer_cam", target=Difference(0, 1))
