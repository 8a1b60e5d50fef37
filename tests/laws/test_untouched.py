"""Nothing of a model changes and nothing leaks: whatever is asked, whatever fails, and by whom."""

import contextlib
import gc
import itertools
import json
import subprocess
import sys
import textwrap
import threading
import weakref

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import tfcam
from tests import kinds, networks
from tfcam.model import hooks as tapping
from tfcam.model.graph import forget, graph_of

SMALL = [name for name in kinds.BUILDABLE if kinds.KINDS[name].small]
CHEAP = {
    "smooth_grad": {"samples": 2},
    "smooth_grad_cam_pp": {"samples": 2},
    "integrated_gradients": {"steps": 2},
    "expected_gradients": {"samples": 2},
    "score_cam": {"channels": 2},
    "rise": {"masks": 8},
    "kernel_shap": {"segments": "grid:2"},
    "lime": {"segments": "grid:2", "samples": 8},
}
FACTS: dict[str, tuple[kinds.Case, dict[str, object]]] = {}


def facts(kind):
    """The case of a kind, built once, and all that must not change in it."""
    if kind not in FACTS:
        case = kinds.KINDS[kind].build()
        networks.snapshot(case.model, case.inputs)  # `predict` makes its own function once
        FACTS[kind] = case, networks.snapshot(case.model, case.inputs)
    return FACTS[kind]


REQUESTS = {
    "kind": st.sampled_from(SMALL),
    "method": st.sampled_from(sorted(tfcam.METHODS)),
    "layer": st.sampled_from(["the case's", None, -1, 0, 99, "no such layer"]),
    "target": st.sampled_from(["the case's", None, 0, -1, 99, "cat", lambda outputs: 1.0]),
    "extra": st.sampled_from([{}, {}, {"augment": True}, {"eigen": True}, {"batch_size": 0}]),
}


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(**REQUESTS)
@pytest.mark.slow
def test_whatever_is_asked_the_model_is_as_it_was(kind, method, layer, target, extra):
    case, before = facts(kind)
    options = {"target": kinds.TARGETS, **case.options, **CHEAP.get(method, {}), **extra}
    if target != "the case's":
        options["target"] = target
    layer = case.layer if layer == "the case's" else layer
    for _ in range(2):
        with contextlib.suppress(ValueError, TypeError):
            found = tfcam.explain(case.model, case.inputs, layer, method=method, **options)
            assert all(np.isfinite(each.heatmap).all() for each in found)
    assert networks.snapshot(case.model, case.inputs) == before


SAVED = ["functional, with Dropout and BatchNormalization", "two levels of nesting"]
SAVED += ["backbone called on its own input", "masks (U-Net)", "int8, quantised", "channels first"]


@pytest.mark.thinned(1)
@pytest.mark.parametrize("kind", SAVED)
def test_a_model_that_was_explained_can_be_saved_and_loaded(kind, tmp_path):
    case, _ = facts(kind)
    options = {"target": kinds.TARGETS, **case.options}
    for method in ("grad_cam", "guided_backprop"):
        tfcam.explain(case.model, case.inputs, case.layer, method=method, **options)
    loaded = networks.reloaded(case.model, tmp_path)
    outputs = (np.asarray(model(case.inputs, training=False)) for model in (case.model, loaded))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-6)


# --- failures in the middle -------------------------------------------------------------------


class ToldToFailError(Exception):
    """A user's own error."""


def failing(layer, error, when):
    """Let a call of the layer raise, counted from now on; returns what undoes that."""
    original, count = layer.call, itertools.count()

    def call(*args, **kwargs):
        if next(count) == when:
            raise error("in the middle")
        return original(*args, **kwargs)

    layer.__dict__["call"] = call
    return lambda: layer.__dict__.pop("call")


FAILING = {
    "backbone on its own input": "guided_backprop",
    "functional in a subclassed": "grad_cam",
    "call under tf.function": "guided_backprop",
    "rematerialised": "grad_cam",
}


@pytest.mark.parametrize("kind", [each for each in FAILING if each in networks.KINDS])
@pytest.mark.thinned(1, kept="slow")
def test_wherever_a_layer_fails_the_model_is_as_it_was_and_is_explained_the_next_time(kind):
    """Each layer fails at each of its calls: while it is recorded, run as it is, and traced."""
    model, inputs = networks.make(kind), networks.pictures(1)

    def explained():
        options = {"target": 1, "method": FAILING[kind]}
        return tfcam.explain(model, inputs, "second", **options).raws

    wanted, before, clean = explained(), networks.snapshot(model, inputs), networks.marks(model)
    operations = list({id(each): each for each in graph_of(model).operations}.values())
    failed = 0
    for place, (operation, when) in enumerate(itertools.product(operations, range(4))):
        error = (ToldToFailError, KeyboardInterrupt)[(place + place // 4) % 2]
        forget(model)
        undo = failing(operation, error, when)
        changed = networks.marks(model)
        try:
            explained(), explained()
        except error as caught:
            failed += "in the middle" in str(caught)
        assert networks.marks(model) == changed
        undo()
        assert networks.marks(model) == clean
        if place % 4 == place // 4 % 4:
            for _ in range(2):
                np.testing.assert_allclose(explained(), wanted, rtol=1e-4, atol=1e-7)
    calls = 1 if FAILING[kind] == "guided_backprop" else 2  # gated gradients are traced at once
    assert failed >= calls * len(operations)
    assert networks.snapshot(model, inputs) == before
    assert tapping.LOCK.acquire(timeout=1)
    tapping.LOCK.release()


# --- threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("kind", ["subclassed", "call under tf.function"])
@pytest.mark.thinned(1, kept="slow")
def test_threads_that_explain_at_once_find_what_one_alone_does(kind, count):
    models = [networks.make(kind), networks.flat()]
    inputs = [networks.pictures(2) + step for step in range(3)]
    methods = ["grad_cam", "guided_backprop", "layer_cam", "smooth_grad"]
    before = [networks.snapshot(model, inputs[0]) for model in models]

    def explained(number, step):
        method = methods[(number // 2 + step) % len(methods)]
        chosen, options = models[number % 2], CHEAP.get(method, {})
        return tfcam.explain(
            chosen, inputs[step], "second", target=number % 3, method=method, **options
        ).raws

    asked = [(number, step) for number in range(count) for step in range(3)]
    wanted = {each: explained(*each) for each in asked}
    for model in models:
        forget(model)
    found, failures, start = {}, [], threading.Barrier(count)

    def work(number):
        try:
            start.wait()
            for step in range(3):
                found[number, step] = explained(number, step)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for each in asked:
        np.testing.assert_allclose(found[each], wanted[each], rtol=1e-4, atol=1e-6)
    assert [networks.snapshot(model, inputs[0]) for model in models] == before


# --- memory -----------------------------------------------------------------------------------

LOOPS = textwrap.dedent(
    """
    import gc, json, pathlib, weakref
    import numpy as np
    import keras
    import tfcam
    from keras import layers

    def resident():
        gc.collect()
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def network():
        ends = keras.Input((None, None, 3))
        x = layers.Conv2D(8, 3, activation="relu", name="conv")(ends)
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
        return keras.Model(ends, layers.Dense(5, activation="softmax")(x))

    rng, model, found = np.random.default_rng(0), network(), {}

    def loop(name, calls, ask, warm=20):
        for number in range(calls):
            if number == warm:
                start = resident()
            ask(number)
        found[name] = resident() - start

    def image(size=64):
        return rng.normal(size=(size, size, 3)).astype("float32")

    def explain(**options):
        return lambda number: tfcam.explain(model, image(), "conv", **options)

    loop("one shape", 200, explain(target=1))
    loop("targets", 200, lambda number: explain(target=number % 5)(number))
    loop("callables", 100, lambda number: explain(target=lambda o: o[:, number % 5])(number))
    loop("guided", 100, explain(target=1, method="guided_backprop"))
    explainer = tfcam.Explainer(model, "conv", method="guided_grad_cam")
    explainer(image(), 0), explainer(image(), 0)
    references = weakref.ref(model), weakref.ref(explainer)
    del model, explainer
    gc.collect()
    found["alive"] = sum(each() is not None for each in references)
    print(json.dumps(found))
    """
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.product
def test_two_hundred_calls_take_no_more_memory_than_twenty():
    run = subprocess.run(
        [sys.executable, "-c", LOOPS], capture_output=True, text=True, check=True, timeout=300
    )
    found = json.loads(run.stdout)
    assert found.pop("alive") == 0
    assert {name: grown for name, grown in found.items() if grown > 20} == {}  # megabytes


@pytest.mark.parametrize("form", ["sizes", "targets", "methods"])
@pytest.mark.slow
def test_a_model_is_freed_whatever_was_kept_of_it(form):
    ends = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(ends)
    model = keras.Model(ends, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    explainer = tfcam.Explainer(model, "conv")
    for number in range(6):
        size = 6 + number // 2 if form == "sizes" else 8
        picture = np.ones((size, size, 3), np.float32)
        target = [0, 1, lambda o, held=model: o[:, 0]][number // 2] if form == "targets" else 0
        explainer(picture, target)
        if form == "methods":
            for method in ("guided_grad_cam", "score_cam", "full_grad"):
                tfcam.explain(model, picture, "conv", method=method)
    if form == "targets":
        with pytest.raises(ValueError, match="got 9"):
            explainer(picture, 9)
    references = weakref.ref(model), weakref.ref(explainer)
    del model, explainer, target
    gc.collect()
    assert [each() for each in references] == [None, None]
