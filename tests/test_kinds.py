"""Every kind of model is explained as its flat twin is by plain Keras, or told why it is not.

The truth is made without tfcam: activations and gradients by a functional model with two outputs
and a plain tape, the maps by the replicas in float64, guided backpropagation by a clone whose
ReLUs have a gradient of their own.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import kinds, networks, replicas
from tests.kinds import KINDS, METHODS, REASONS, TARGETS

CELLS = [(kind, method) for kind in KINDS for method in METHODS]


def guided_relu(limit):
    @tf.custom_gradient
    def activation(x):
        y = tf.clip_by_value(x, 0, limit)
        return y, lambda dy: tf.where((y > 0) & (y < limit) & (dy > 0), dy, 0)

    return activation


def gated(layer):
    """The layer, with the ReLU in it replaced."""
    if isinstance(layer, layers.ReLU):
        limit = np.inf if layer.max_value is None else layer.max_value
        return layers.Activation(guided_relu(limit), name=layer.name)
    copy = type(layer).from_config(layer.get_config())
    if getattr(copy, "activation", None) is keras.activations.relu:
        copy.activation = guided_relu(np.inf)
    return copy


def slopes(twin, given, which, score):
    """The gradients of the scores by the explained input."""
    watched = given if which is None else given[which]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        scores = score(twin(given, training=False))
    return tape.gradient(scores, watched).numpy()


def guided_by_clone(case):
    clone = keras.models.clone_model(case.twin, clone_function=gated)
    clone.set_weights(case.twin.get_weights())
    given = tf.nest.map_structure(tf.constant, case.given)
    return slopes(clone, given, case.which, case.score)


@functools.lru_cache(maxsize=1)
def readings(kind):
    """The twin's activations and gradients (B, positions, K), and its scores."""
    case = kinds.case(kind)
    inner = next(each for each in case.twin.operations if each.name == case.inner)
    several = keras.Model(case.twin.input, [inner.output, case.twin.output])
    given = tf.nest.map_structure(tf.constant, case.given)
    with tf.GradientTape() as tape:
        tape.watch([each for each in tf.nest.flatten(given) if each.dtype.is_floating])
        activations, outputs = several(given, training=False)
        scores = case.score(outputs)
    gradients = tape.gradient(scores, activations)
    return activations.numpy(), gradients.numpy(), scores.numpy()


def truth(kind, method):
    case = kinds.case(kind)
    if method == "guided_backprop":
        return guided_by_clone(case)
    A, G, _ = readings(kind)
    sides = A.shape[1:-1] if case.grid is None else case.grid
    maps = []
    for image, (a, g) in enumerate(zip(A, G, strict=True)):
        a, g = (
            each.astype("f8").reshape(-1, A.shape[-1])[None, case.prefix :] for each in (a, g)
        )
        if method == "cam":
            kernel = case.twin.layers[-1].kernel.numpy().astype("f8")
            flat = replicas.cam(a, kernel[:, TARGETS[image]])
        else:
            flat = getattr(replicas, method)(a, g)
        maps.append(flat.reshape(sides))
    return np.stack(maps)


@pytest.mark.parametrize(("kind", "method"), CELLS, ids=" / ".join)
def test_every_cell_of_the_table(kind, method):
    """The first call runs as it is, the second is compiled."""
    case, reason = kinds.case(kind), KINDS[kind].refused.get(method)
    options = {"target": TARGETS, **case.options}
    if reason is not None:
        for _ in range(2):
            with pytest.raises(ValueError, match=REASONS[reason]):
                tfcam.explain(case.model, case.inputs, case.layer, method=method, **options)
        return
    wanted, (*_, scores) = truth(kind, method), readings(kind)
    for call in ("eager", "compiled"):
        found = tfcam.explain(case.model, case.inputs, case.layer, method=method, **options)
        size = np.abs(wanted).max()
        assert size > 0
        np.testing.assert_allclose(found.raws, wanted, atol=case.tolerance * size, err_msg=call)
        np.testing.assert_allclose(
            [each.score for each in found], scores, rtol=case.tolerance, atol=case.tolerance
        )
        assert not {each.code for each in found[0].findings} & {"not_finite", "dead_layer"}


def test_the_table_says_of_every_kind_what_is_asserted():
    assert set(METHODS) <= set(networks.METHODS)
    for kind in KINDS.values():
        assert set(kind.refused) <= set(METHODS)
        assert set(kind.refused.values()) <= set(REASONS)
