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

CELLS = [(kind, method) for kind in kinds.BUILDABLE for method in METHODS]


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
        a, g = (each.astype("f8").reshape(-1, A.shape[-1])[None, case.prefix :] for each in (a, g))
        if method == "cam":
            kernel = case.twin.layers[-1].kernel.numpy().astype("f8")
            flat = replicas.cam(a, kernel[:, TARGETS[image]])
        else:
            flat = getattr(replicas, method)(a, g)
        maps.append(flat.reshape(sides))
    return np.stack(maps)


@functools.lru_cache(maxsize=2)
def together(kind, call):
    """A large network's first image, by all methods of one pass, which are traced at once."""
    case = kinds.case(kind)
    methods = [name for name in METHODS[:-1] if name not in KINDS[kind].refused]
    found = tfcam.compare(
        case.model, case.inputs[0], layers=[case.layer], methods=methods, targets=TARGETS[:1]
    )
    return {name: [result] for name, result in zip(methods, found, strict=True)}


@pytest.mark.parametrize(("kind", "method"), CELLS, ids=lambda value: value)
@pytest.mark.thinned(1)
def test_every_cell_of_the_table(kind, method):
    """The first call runs as it is; the second, of a method of layers and one of pixels, compiled.

    What is compiled is the pass, which all methods of layers share.
    """
    case, reason = kinds.case(kind), KINDS[kind].refused.get(method)
    options = {"target": TARGETS, **case.options}
    if reason is not None:
        for _ in range(2):
            with pytest.raises(ValueError, match=REASONS[reason]):
                tfcam.explain(case.model, case.inputs, case.layer, method=method, **options)
        return
    wanted, (*_, scores) = truth(kind, method), readings(kind)
    size, off = np.abs(wanted).max(), case.tolerance
    assert size > 0
    for call in range(2 if method in ("grad_cam", "guided_backprop") else 1):
        if KINDS[kind].small or method == "guided_backprop":
            found = tfcam.explain(case.model, case.inputs, case.layer, method=method, **options)
        else:
            found = together(kind, call)[method]
        for result, raw, score in zip(found, wanted, scores, strict=False):
            if kind.startswith("mixed_") and method == "guided_backprop":
                # A ReLU that half precision turns over takes its pixels with it: most stay.
                assert np.abs(result.raw - raw).mean() < off * np.abs(raw).mean()
            else:
                np.testing.assert_allclose(result.raw, raw, atol=off * size, err_msg=f"call {call}")
            assert result.score == pytest.approx(score, rel=off, abs=off)
            assert not {each.code for each in result.findings} & {"not_finite", "dead_layer"}


def test_the_table_says_of_every_kind_what_is_asserted():
    assert set(METHODS) <= set(networks.METHODS)
    for kind in KINDS.values():
        assert set(kind.refused) <= set(METHODS)
        assert set(kind.refused.values()) <= set(REASONS)
