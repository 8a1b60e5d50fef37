"""One pass: activations, gradients and scores are those of the model, and injection is the head."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import ROUNDED, rounding
from tfcam.model.graph import graph_of
from tfcam.model.taps import resolve
from tfcam.passes.submodel import SubModel


def opened(model, *names, **options):
    return SubModel(graph_of(model), [resolve(graph_of(model), name) for name in names], **options)


def truth(model, names, inputs, target):
    """Activations and gradients by a plain functional model with several outputs."""
    several = keras.Model(model.input, [*(model.get_layer(n).output for n in names), model.output])
    images = tf.constant(inputs)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        *maps, outputs = several(images, training=False)
        score = tf.reduce_sum(tf.gather(outputs._keras_logits, target, batch_dims=1))
    return maps, [tape.gradient(score, each) for each in maps]


@pytest.mark.thinned(2)
@pytest.mark.parametrize("call", ["eager", "compiled", "XLA"])
def test_several_layers_in_one_pass_equal_a_model_of_several_outputs(call):
    model, inputs = networks.flat(), networks.pictures(3)
    names, target = ["first", "second", "features"], [0, 2, 1]
    sub = opened(model, *names)

    def read(images):
        outputs, _, (answer,), _ = sub.read_each(images, [tf.constant(target)])
        found = [(r.activations, r.gradients) for r in answer.readings]
        return found, outputs.values, answer.readings[0].scores, answer.pairs[:, 0]

    if call != "eager":
        read = tf.function(read, autograph=False, jit_compile=call == "XLA")
    found, values, scores, indices = read(tf.constant(inputs))
    wanted = truth(model, names, inputs, target)
    for (activations, gradients), A, G in zip(found, *wanted, strict=True):
        np.testing.assert_allclose(activations, A, atol=rounding(A))
        np.testing.assert_allclose(gradients, G, rtol=1e-4, atol=1e-7)
    outputs = model(inputs, training=False).numpy()
    log_p = np.log(outputs)
    # A probability is off by as much of itself as its logits are.
    np.testing.assert_allclose(values, outputs, rtol=rounding(log_p))
    differences = log_p[range(3), target] - log_p[:, 0]
    logits = [r.score for r in tfcam.explain(model, inputs, target=0)]
    np.testing.assert_allclose(scores - np.array(logits), differences, atol=rounding(log_p))
    assert indices.numpy().tolist() == target


def test_eager_outputs_are_the_models_bit_for_bit():
    model, inputs = networks.flat(), networks.pictures(3)
    outputs, _ = opened(model, "first", "features").forward(tf.constant(inputs))
    np.testing.assert_array_equal(outputs.values, model(inputs, training=False))


@pytest.mark.parametrize("layer", ["first", "second", "norm", "features"])
def test_gradients_agree_with_finite_differences_of_the_head(layer):
    model, inputs = networks.flat(), tf.constant(networks.pictures(1))
    sub, target = opened(model, layer), tf.constant([1])
    (reading,), *_ = sub.read(inputs, target)
    A, G = reading.activations.numpy(), reading.gradients.numpy()
    # Some values are moved, and none of the tied zeros, so that hardly any ReLU or maximum
    # changes its mind on the way; all the same way, so that the slope is no small difference.
    generator = np.random.default_rng(0)
    moved = (generator.uniform(size=A.shape) < 0.3) & (A != 0)
    direction = (np.sign(G) * np.abs(generator.normal(0, 1, A.shape)) * moved).astype(np.float32)
    step = 0.01

    def score(activations):
        return float(sub.head(inputs, [tf.constant(activations)], target)[0])

    slope = (score(A + step * direction) - score(A - step * direction)) / (2 * step)
    # Two scores of one size are subtracted, and the rest is divided by the step.
    off = rounding(score(A), count=2) / (2 * step)
    np.testing.assert_allclose(slope, (G * direction).sum(), rtol=2e-3, atol=off)
    assert score(A) == pytest.approx(float(reading.scores[0]), rel=1e-5)


def test_injected_activations_are_the_head_alone():
    model, inputs = networks.flat(), tf.constant(networks.pictures(2))
    sub = opened(model, "features")
    kernel, bias = model.get_layer("head").get_weights()
    given = np.random.default_rng(1).normal(0, 1, (2, 6, 6, 8)).astype(np.float32)
    wanted = given.mean((1, 2), dtype=np.float64) @ kernel + bias
    for run in (sub.head, tf.function(sub.head, autograph=False)):
        scores = run(inputs, [tf.constant(given)], tf.constant([2, 0]))
        np.testing.assert_allclose(scores, wanted[[0, 1], [2, 0]], rtol=1e-5)


def test_what_only_feeds_an_injected_layer_is_pruned_once_traced():
    model = networks.flat()
    sub = opened(model, "features")

    @tf.function(autograph=False)
    def head(images, activations):
        return sub.head(images, [activations], tf.constant([0]))

    shapes = (1, 12, 12, 3), (1, 6, 6, 8)
    concrete = head.get_concrete_function(*(tf.TensorSpec(shape) for shape in shapes))
    needed, stack = set(), [concrete.graph.outputs[0].op]
    while stack:
        operation = stack.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            stack += [tensor.op for tensor in operation.inputs]
    kinds = {concrete.graph.get_operation_by_name(name).type for name in needed}
    assert "MatMul" in kinds
    assert "Conv2D" not in kinds


def test_an_input_can_be_tapped_as_well_as_an_output():
    model, inputs = networks.flat(), tf.constant(networks.pictures(2))
    sub = opened(model, "pool:input", "features")
    (into, out), *_ = sub.read(inputs, tf.constant([0, 0]))
    np.testing.assert_array_equal(into.activations, out.activations)
    np.testing.assert_allclose(into.gradients, out.gradients, rtol=ROUNDED)


def test_inference_mode_is_honoured():
    model, inputs = networks.flat(), tf.constant(networks.pictures(4))
    moving = model.get_layer("norm").get_weights()
    runs = [opened(model, "features").read(inputs, tf.constant([0] * 4))[0][0] for _ in range(2)]
    np.testing.assert_array_equal(runs[0].activations, runs[1].activations)
    for before, after in zip(moving, model.get_layer("norm").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_gradients_do_not_underflow(policy):
    model, flat = networks.in_policy(policy, networks.flat), networks.flat()
    inputs = tf.constant(networks.pictures(2))

    def small(outputs):
        return 1e-3 * tf.cast(outputs[:, 0], tf.float32)

    (reading,), *_ = opened(model, "features").read(inputs, small)
    (wanted,), *_ = opened(flat, "features").read(inputs, small)
    assert reading.gradients.dtype == tf.float32
    # Half precision keeps two or three digits; without scaling most of these would be zero.
    off = rounding(1.0, count=1, dtype=policy.removeprefix("mixed_"))
    np.testing.assert_allclose(reading.gradients, wanted.gradients, rtol=off)
    assert np.count_nonzero(reading.gradients) == np.count_nonzero(wanted.gradients)


@pytest.mark.thinned(9)
@pytest.mark.parametrize(
    ("activation", "kind"),
    [
        (layers.Activation("softmax"), "logit"),
        (layers.Activation("sigmoid"), "logit"),
        (layers.Softmax(), "logit"),
        (keras.ops.softmax, "logit"),
        (keras.ops.sigmoid, "logit"),
        (layers.Lambda(tf.nn.softmax), "logit"),
        (layers.Activation("linear"), "output"),
        (layers.Activation("tanh"), "output"),
    ],
)
@pytest.mark.parametrize("call", ["eager", "compiled"])
def test_scores_before_the_activation_are_found_however_it_is_written(activation, kind, call):
    ends = keras.Input((12, 12, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(ends))
    logits = layers.Dense(3, name="head")(x)
    model = keras.Model(ends, activation(logits))
    inputs = networks.pictures(2)
    bare = keras.Model(ends, logits)(inputs, training=False).numpy()
    explainer = tfcam.Explainer(model, "conv")
    for _ in range(1 if call == "eager" else 2):
        results = explainer(inputs, [1, 2])
    assert {each.score_kind for each in results} == {kind}
    wanted = bare if kind == "logit" else activation(bare).numpy()
    np.testing.assert_allclose([r.score for r in results], wanted[[0, 1], [1, 2]], rtol=1e-5)


def test_asked_for_probabilities_are_the_models_own_output():
    model, inputs = networks.flat(), networks.pictures(2)
    results = tfcam.explain(model, inputs, target=1, score="probability")
    outputs = model(inputs, training=False).numpy()
    assert [each.score for each in results] == pytest.approx(outputs[:, 1].tolist(), rel=1e-5)
    assert {each.score_kind for each in results} == {"probability"}


@pytest.mark.slow
def test_a_submodel_does_not_keep_its_model():
    sub = opened(networks.flat(), "features")
    keras.backend.clear_session()
    import gc

    gc.collect()
    with pytest.raises(ReferenceError, match="no longer exists"):
        _ = sub.model
