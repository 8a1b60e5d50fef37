"""Every kind of model gives the flat model's map, by name alone, and is left as it was."""

import gc
import re
import threading
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import rounding
from tfcam.model import hooks as tapping

# One method for each thing that a reading may hold.
METHODS = ["cam", "eigen_cam", "saliency", "guided_grad_cam"]


@pytest.fixture(scope="module")
def wanted():
    model, inputs = networks.flat(), networks.pictures(2)
    return {
        (name, layer): tfcam.explain(model, inputs, layer, target=[0, 2], method=name)
        for name in METHODS
        for layer in (None, "features", "second")
        if (name, layer) != ("cam", "second")
    }


@pytest.mark.parametrize("call", ["eager", "compiled"])
@pytest.mark.parametrize("kind", networks.KINDS)
@pytest.mark.thinned(1, kept="slow")
def test_every_kind_gives_the_flat_models_map_and_is_left_as_it_was(kind, call, wanted):
    model, inputs = networks.make(kind), networks.pictures(2)
    before = networks.snapshot(model, inputs)
    for (name, layer), flat in wanted.items():
        explainer = tfcam.Explainer(model, layer, method=name)
        for _ in range(1 if call == "eager" else 3):
            results = explainer(inputs, [0, 2])
        np.testing.assert_allclose(results.raws, flat.raws, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(results.heatmaps, flat.heatmaps, atol=1e-4)
        assert [each.score for each in results] == pytest.approx(
            [each.score for each in flat], rel=1e-5
        )
        assert {each.score_kind for each in results} == {"logit"}
        if layer is None and name != "saliency":
            assert explainer.layer.rsplit("/", 1)[-1] == "features"
    assert networks.snapshot(model, inputs) == before


@pytest.mark.thinned(2)
@pytest.mark.parametrize(
    "kind", ["sequential", "backbone in a Sequential", "two levels of nesting"]
)
def test_saved_and_loaded_models_give_the_same_map(kind, wanted, tmp_path):
    model = networks.reloaded(networks.make(kind), tmp_path)
    for name in METHODS:
        found = tfcam.explain(model, networks.pictures(2), "features", target=[0, 2], method=name)
        np.testing.assert_allclose(found.raws, wanted[name, "features"].raws, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("call", ["eager", "compiled"])
def test_tensorflows_own_softmax_and_relu_are_found(call, wanted):
    model, inputs = networks.plain_head(), networks.pictures(2)
    explainer = tfcam.Explainer(model, "norm")
    for _ in range(1 if call == "eager" else 2):
        results = explainer(inputs, [0, 2])
    # The map is the one before the ReLU: its gradient is that after it, gated.
    flat = tfcam.explain(networks.flat(), inputs, "norm", target=[0, 2])
    np.testing.assert_allclose(results.raws, flat.raws, rtol=1e-4, atol=1e-6)
    assert results[0].score_kind == "logit"


@pytest.mark.slow
def test_the_default_is_the_class_that_the_model_predicts():
    model, inputs = networks.flat(), networks.pictures(6)
    kernel, bias = model.get_layer("head").get_weights()
    logits = np.stack(
        [[each.score for each in tfcam.explain(model, inputs, target=c)] for c in range(3)]
    )
    model.get_layer("head").set_weights([kernel, bias - logits.mean(1)])
    predicted = model(inputs, training=False).numpy().argmax(-1)
    assert len(set(predicted)) > 1
    for _ in range(2):
        results = tfcam.explain(model, inputs)
        assert [each.target for each in results] == predicted.tolist()
        assert [each.probability for each in results] == pytest.approx(
            model(inputs, training=False).numpy().max(-1).tolist(), rel=1e-5
        )


def test_targets_may_differ_by_image_and_be_callables():
    model, inputs = networks.flat(), networks.pictures(3)
    mixed = tfcam.explain(model, inputs, target=[2, 0, 1])
    for index, target in enumerate([2, 0, 1]):
        single = tfcam.explain(model, inputs[index], target=target)
        np.testing.assert_allclose(mixed[index].raw, single.raw, rtol=1e-5, atol=1e-7)

    def second_class(outputs):
        return outputs[:, 1]

    called = tfcam.explain(model, inputs, target=second_class)
    np.testing.assert_allclose(called.raws, tfcam.explain(model, inputs, target=1).raws, rtol=1e-5)
    assert (called[0].target, called[0].label, called[0].score_kind) == (
        None,
        "second_class",
        "callable",
    )


def test_labels_name_targets_and_results():
    model, inputs = networks.flat(), networks.pictures(2)
    labels = ["old dog", "cat", "bear"]
    results = tfcam.explain(model, inputs, target=["Old_Dog", 1], labels=labels)
    assert [(each.target, each.label) for each in results] == [(0, "old dog"), (1, "cat")]


def test_long_batches_run_in_parts():
    model, inputs = networks.flat(), networks.pictures(7)
    targets = [0, 1, 2, 0, 1, 2, 0]
    whole = tfcam.explain(model, inputs, target=targets)
    parts = tfcam.explain(model, inputs, target=targets, batch_size=3)
    np.testing.assert_allclose(parts.raws, whole.raws, atol=rounding(whole.raws))


def test_the_second_call_is_compiled_and_equals_the_first(monkeypatch):
    model, inputs = networks.flat(), networks.pictures(2)
    runs = []
    original = keras.layers.Dense.call
    monkeypatch.setattr(
        keras.layers.Dense, "call", lambda *a, **k: runs.append(1) or original(*a, **k)
    )
    results = [tfcam.explain(model, inputs, "second") for _ in range(5)]
    # Python runs the layer for the first call and for the trace of the second, then no more.
    assert len(runs) == 2
    for each in results[1:]:
        np.testing.assert_allclose(each.raws, results[0].raws, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_ever_new_sizes_do_not_pile_up():
    ends = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(ends)
    model = keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    explainer = tfcam.Explainer(model, "conv", method="guided_grad_cam")
    for size in range(5, 25):
        picture = np.ones((size, size, 3), np.float32)
        for _ in range(2):
            assert explainer(picture, 0).raw.shape == (size, size, 3)
    assert len(explainer.pipeline.engine.runner.functions) == 16


def test_training_between_calls_is_seen():
    model, inputs = networks.flat(), networks.pictures(1)
    explainer = tfcam.Explainer(model)
    before = [explainer(inputs, 0).raws for _ in range(3)][-1]
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([2 * kernel, bias])
    np.testing.assert_allclose(explainer(inputs, 0).raws, 2 * before, rtol=1e-5)


@pytest.mark.parametrize("target", [0, lambda outputs: outputs[:, 0]])
@pytest.mark.parametrize("kind", ["sequential", "backbone on its own input", "subclassed"])
@pytest.mark.thinned(2, kept="slow")
def test_nothing_keeps_a_model_alive(kind, target):
    model = networks.make(kind)
    for _ in range(3):
        tfcam.explain(model, networks.pictures(1), target=target)
        tfcam.explain(model, networks.pictures(1), target=target, method="guided_grad_cam")
    explainer = tfcam.Explainer(model, "features")
    explainer(networks.pictures(1), target)
    reference = weakref.ref(model)
    del model, explainer
    gc.collect()
    assert reference() is None


def test_a_callable_that_holds_the_model_does_not_keep_it_alive():
    model = networks.flat()
    for _ in range(3):
        tfcam.explain(
            model,
            networks.pictures(1),
            target=lambda outputs, model=model: outputs[:, model.output_shape[-1] - 1],
        )
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


@pytest.mark.slow
def test_two_threads_explain_two_models_while_a_third_predicts():
    model, other, inputs = networks.flat(), networks.make("subclassed"), networks.pictures(2)
    wanted = tfcam.explain(model, inputs, "second", target=0).raws
    outputs = np.asarray(model(inputs, training=False))
    failures = []

    def run(work):
        try:
            for _ in range(8):
                work()
        except Exception as error:
            failures.append(error)

    def explain(which):
        found = tfcam.Explainer(which, "second", method=_fresh())(inputs, 0).raws
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)

    def predict():
        np.testing.assert_array_equal(np.asarray(model(inputs, training=False)), outputs)

    work = [lambda: explain(model), lambda: explain(other), lambda: explain(model), predict]
    threads = [threading.Thread(target=run, args=(each,)) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def _fresh():
    """Grad-CAM under a name of its own, so that each call opens the model anew."""

    def again(reading):
        return tfcam.METHODS["grad_cam"](reading)

    return again


class Failing(keras.layers.Layer):
    """Raises when told to."""

    fail = False

    def call(self, x):
        if Failing.fail:
            raise RuntimeError("told to fail")
        return x


@pytest.mark.parametrize("call", ["eager", "compiled"])
def test_a_failing_call_leaves_the_model_as_it_was(call, monkeypatch):
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(2, 3, name="conv"),
            Failing(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    inputs = networks.pictures(1)
    before = networks.snapshot(model, inputs)
    explainer = tfcam.Explainer(model, "conv")
    if call == "compiled":
        explainer(inputs)
    monkeypatch.setattr(Failing, "fail", True)
    with pytest.raises(RuntimeError, match="told to fail"):
        explainer(inputs)
    monkeypatch.setattr(Failing, "fail", False)
    assert networks.snapshot(model, inputs) == before
    assert tapping.LOCK.acquire(timeout=1)
    tapping.LOCK.release()
    assert np.isfinite(explainer(inputs).raws).all()


BAD = {
    "no such layer": ({"layer": "feature"}, ValueError, "No layer 'feature'.*'features'"),
    "index out of range": ({"layer": 99}, ValueError, r"must be in 0\.\..*got 99"),
    "foreign layer": ({"layer": layers.ReLU()}, ValueError, "must be part of the model"),
    "no map": (
        {"layer": "head"},
        ValueError,
        r"^A layer .* is a map.*'head' gives \(2, 3\)",
    ),
    "no such call": ({"layer": "first:1"}, ValueError, "called 1 times.*no call 1"),
    "odd suffix": ({"layer": "first:out"}, ValueError, "only ':<call>' and ':input'"),
    "class out of range": ({"target": 3}, ValueError, r"in 0\.\.2: 3 classes; got 3"),
    "negative class": ({"target": -1}, ValueError, "got -1"),
    "wrong number of targets": ({"target": [0]}, ValueError, "got 1 for 2 images"),
    "no labels": ({"target": "cat"}, ValueError, "labels of this model are not known"),
    "float target": ({"target": 1.0}, TypeError, "got 1.0 of type float"),
    "callable's shape": ({"target": lambda o: o}, ValueError, r"shape \(2,\); got shape \(2, 3\)"),
    "callable's kind": ({"target": lambda o: 3.0}, ValueError, "must return a tensor.*got float"),
    "argmax": (
        {"target": lambda o: tf.cast(tf.argmax(o, -1), tf.float32)},
        ValueError,
        "no gradient reaches 'features'",
    ),
    "unknown method": ({"method": "grad_cams"}, ValueError, "Did you mean 'grad_cam'"),
    "unknown option": (
        {"method": "grad_cam_pp", "normalise_alpha": True},
        TypeError,
        "'grad_cam_pp' have no option 'normalise_alpha'; .* are: normalize_alpha",
    ),
    "option of another method": ({"normalize_alpha": True}, TypeError, "'grad_cam'.* are: none"),
    "unknown score": ({"score": "logits"}, ValueError, "one of logit, probability; got 'logits'"),
    "cam elsewhere": (
        {"layer": "second", "method": "cam"},
        ValueError,
        "CAM applies only to the map that the head pools, 'features'; got 'second'",
    ),
    "empty batch": ({"image": []}, ValueError, "at least one image"),
    "batch size": ({"batch_size": 0}, ValueError, "at least 1; got 0"),
    "labels' number": ({"labels": ["a"]}, ValueError, "each of the model's 3 classes; got 1"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.thinned(3)
def test_bad_requests_get_one_clear_error_and_change_nothing(case):
    options, kind, message = BAD[case]
    model, inputs = networks.flat(), networks.pictures(2)
    before = networks.snapshot(model, inputs)
    with pytest.raises(kind, match=message) as caught:
        tfcam.explain(model, **{"image": inputs, **options})
    assert caught.value.__cause__ is None
    assert networks.snapshot(model, inputs) == before


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"target": 1}, r"made without target: give it in the call, explainer\(image, target\)"),
        ({"words": ["a"]}, "made without words: give them in the call"),
        ({"verify": True}, "made without verify: call tfcam.verify"),
        ({"targets": 1}, "no option 'targets'; .* Did you mean 'target'"),
    ],
)
def test_what_an_explainer_is_not_made_with(options, advice):
    with pytest.raises(TypeError, match=advice):
        tfcam.Explainer(networks.flat(), **options)


def test_models_that_can_not_be_explained_yet_say_why():
    with pytest.raises(ValueError, match="must be built"):
        tfcam.explain(networks.Chain([layers.Conv2D(1, 1)]), networks.pictures(1))
    a, b = keras.Input((4, 4, 3)), keras.Input((4, 4, 3))
    two = keras.Model([a, b], layers.Add()([a, b]))
    with pytest.raises(ValueError, match="has several inputs: give a list of all of them"):
        tfcam.explain(two, np.zeros((1, 4, 4, 3), np.float32))
    vector = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="A layer with a map is needed.*no output of rank 3"):
        tfcam.explain(vector, np.zeros((1, 4), np.float32))


def test_several_outputs_need_a_callable():
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    pooled = layers.GlobalAveragePooling2D()(x)
    outputs = {
        "kind": layers.Dense(2, activation="softmax")(pooled),
        "size": layers.Dense(1)(pooled),
    }
    model = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="one tensor .*; it returns a dict of 2"):
        tfcam.explain(model, networks.pictures(2), "conv")
    result = tfcam.explain(
        model, networks.pictures(2), "conv", target=lambda outputs: outputs["size"][:, 0]
    )
    kernel = model.layers[-1].get_weights()[0]
    wanted = keras.Model(inputs, x)(networks.pictures(2)).numpy() @ kernel / 100
    np.testing.assert_allclose(result.raws, wanted[..., 0], rtol=1e-4, atol=1e-6)


def test_pictures_come_back_in_their_own_size(rng):
    inputs = keras.Input((16, 24, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(4, 3, strides=4, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    small = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    large = rng.integers(0, 256, (64, 40, 3), dtype=np.uint8)
    results = tfcam.explain(model, [small, large], "conv", target=0)
    assert [each.heatmap.shape for each in results] == [(30, 50), (64, 40)]
    assert results.raws.shape == (2, 4, 6)
    np.testing.assert_array_equal(results[0].image, small)
    assert results[0].score_kind == "output"
    assert results[0].probability is None
    with pytest.raises(ValueError, match="here are 2"):
        _ = results.heatmaps


@pytest.mark.slow
def test_a_bar_counts_what_one_picture_takes(shapes, capfd):
    picture = tfcam.scenes.draw_scene(0).image
    tfcam.explain(shapes, picture, method="score_cam", channels=4, progress=True)
    assert re.search(r"explaining .* ([1-9]\d*)/\1", capfd.readouterr().err)


@pytest.mark.slow
def test_progress_is_shown_where_it_is_asked_for(shapes, capfd):
    pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(5)]
    options = {"method": "score_cam", "channels": 4}
    quiet = tfcam.explain(shapes, pictures, batch_size=2, **options)
    assert capfd.readouterr().err == ""
    shown = tfcam.explain(shapes, pictures, batch_size=2, progress=True, **options)
    assert "5/5, " in (err := capfd.readouterr().err)
    assert " pictures/s" in err
    np.testing.assert_array_equal(shown.raws, quiet.raws)
    tfcam.Explainer(shapes, progress=True, **options)(pictures[0])
    assert "explaining" in (err := capfd.readouterr().err)
    assert "pictures" not in err
