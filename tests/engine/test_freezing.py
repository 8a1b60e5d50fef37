"""With its weights built in, a network is explained as before, until it is trained on."""

from collections import OrderedDict

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks
from tests.tolerances import ROUNDED, rounding
from tfcam.engine.freezing import frozen

QUICK = {
    "score_cam": {"channels": 4},
    "smooth_grad": {"samples": 3},
    "smooth_grad_cam_pp": {"samples": 3},
    "integrated_gradients": {"steps": 4},
    "rise": {"masks": 16},
    "kernel_shap": {"segments": "grid:3", "samples": 40},
    "lime": {"segments": "grid:3", "samples": 40},
}
PICTURES = [tfcam.scenes.draw_scene(seed).image for seed in range(2)]


@pytest.mark.parametrize("method", sorted(networks.METHODS))
@pytest.mark.thinned(1)
def test_every_method_gives_the_same(method):
    options = {"method": method, **QUICK.get(method, {})}
    make, pictures = tfcam.demo_model, PICTURES
    if tfcam.METHODS[method].pixels:
        # Folded kernels round otherwise, and a gradient by the image jumps where a ReLU is at 0 or
        # two values share a maximum: here all are a hundred roundings or more away from that.
        make, pictures = networks.flat, networks.pictures(2)
    plain = tfcam.Explainer(make(), **options)(pictures)
    frozen = tfcam.Explainer(make(), freeze=True, **options)(pictures)
    for one, other in zip(plain, frozen, strict=True):
        np.testing.assert_allclose(other.raw, one.raw, atol=rounding(one.raw))
        assert other.score == pytest.approx(one.score, rel=ROUNDED)
        assert other.options["freeze"] is True
        assert "freeze" not in one.options
        assert (other.target, other.findings) == (one.target, one.findings)


@pytest.mark.slow
def test_training_on_is_not_followed():
    network = networks.flat()
    inputs = networks.pictures(2)
    plain = tfcam.Explainer(network, "features", preprocess=None)
    frozen = tfcam.Explainer(network, "features", preprocess=None, freeze=True)
    before = frozen(inputs)
    network.set_weights([1.5 * each for each in network.get_weights()])
    assert plain(inputs)[0].score != pytest.approx(before[0].score)
    assert frozen(inputs)[0].score == before[0].score
    # What it was before training, asked for again, was compiled for those weights too.
    again = tfcam.Explainer(network, "features", preprocess=None, freeze=True)
    assert again(inputs)[0].score == pytest.approx(plain(inputs)[0].score, rel=1e-5)


def test_freezing_leaves_the_model_as_it_was():
    network = networks.flat()
    weights = network.get_weights()
    tfcam.Explainer(network, "features", preprocess=None, freeze=True)(networks.pictures(1))
    for one, other in zip(weights, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(isinstance(each, keras.Variable) for each in network.weights)


def test_what_is_no_variable_is_still_used():
    """A table stays one; so does a large constant."""
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer([1, 2], [30, 40]), -1)
    large = tf.constant(np.arange(900.0))

    @tf.function
    def look(keys):
        return {"found": table.lookup(keys), "none": None, "sum": tf.reduce_sum(large)}

    fixed = frozen(look.get_concrete_function(tf.TensorSpec((2,), tf.int32)))
    for keys, values in (([1, 2], [30, 40]), ([2, 3], [40, -1])):
        given = fixed(tf.constant(keys))
        assert (given["found"].numpy().tolist(), given["none"]) == (values, None)
        assert float(given["sum"]) == 899 * 450


def test_an_argument_may_be_unused():
    first = tf.function(lambda x, y: x + 1)
    fixed = frozen(first.get_concrete_function(tf.TensorSpec(()), tf.TensorSpec((2,))))
    assert float(fixed(tf.constant(1.0), tf.zeros(2))) == 2


def test_the_structure_is_kept():
    """TensorFlow's order of outputs is that of sorted keys."""
    place = tf.TensorSpec(())

    def several(x):
        return OrderedDict(late=(x, None), early=[2 * x, {"z": 3 * x, "y": 4 * x}, {}])

    found = frozen(tf.function(several).get_concrete_function(place))(tf.constant(1.0))
    assert found == several(1.0)
    assert type(found) is OrderedDict


def test_a_factor_is_in_the_kernel():
    """Seen in the graph of who calls it: the numbers would be the same without."""
    kernel = tf.Variable(tf.ones((1, 1, 3, 2)))
    place = tf.TensorSpec((1, 4, 4, 3))
    steps = tf.function(lambda x: tf.nn.conv2d(x, kernel, 1, "SAME") * [2.0, 3.0] + 1.0)
    outer = tf.function(frozen(steps.get_concrete_function(place))).get_concrete_function(place)
    called = outer.graph.as_graph_def().library.function
    kinds = {node.op for function in called for node in function.node_def}
    assert "BiasAdd" in kinds
    assert not {"Mul", "AddV2"} & kinds


def test_no_tensor_is_printed_at_each_call(monkeypatch):
    """TensorFlow does where it is called by another signature than it has: 1 ms for a picture."""
    double = tf.function(lambda x: 2 * x).get_concrete_function(tf.TensorSpec((3,)))
    fixed, printed = frozen(double), []
    monkeypatch.setattr(type(tf.zeros(())), "__repr__", lambda self: printed.append(1) or "")
    fixed(tf.ones(3))
    assert not printed


def test_freeze_is_yes_or_no():
    with pytest.raises(TypeError, match="freeze must be True or False; got 'yes'"):
        tfcam.Explainer(tfcam.demo_model(), freeze="yes")


@pytest.mark.slow
def test_a_recurrent_network_is_frozen_too_streamed_and_exported(tmp_path):
    """TensorFlow can't make constants of what the gradient of a loop reads."""
    layers = keras.layers
    steps = [layers.Conv2D(4, 3, padding="same", name="conv"), layers.Reshape((12, 48))]
    head = [layers.LSTM(6), layers.Dense(3, activation="softmax")]
    model = networks.seeded(keras.Sequential([keras.Input((12, 12, 3)), *steps, *head]))
    inputs = networks.pictures(2)
    wanted = tfcam.Explainer(model, preprocess=None)(inputs, 1)
    frozen = tfcam.Explainer(model, preprocess=None, freeze=True)
    store = tfcam.stream(model, inputs, to=tmp_path / "store", target=1, preprocess=None)
    tfcam.Explainer(model, preprocess=None).export(tmp_path / "saved", 1)
    served = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    for found in (frozen(inputs, 1), frozen(inputs, 1), [store.explanation(n) for n in range(2)]):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one.raw, other.raw, atol=1e-6 * np.abs(other.raw).max())
    heatmaps = served(image=tf.constant(inputs))["heatmap"]
    np.testing.assert_allclose(heatmaps, [each.heatmap for each in wanted], atol=1e-5)
    model.layers[-1].kernel.assign(-model.layers[-1].kernel)  # it holds the weights of before
    np.testing.assert_allclose(frozen(inputs, 1)[0].raw, wanted[0].raw, rtol=1e-5)
