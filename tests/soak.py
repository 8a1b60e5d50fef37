"""A long soak: threads explain models that change between calls, compared with fresh processes.

    python -m tests.soak --minutes 20 --threads 16 --seed 0

Each thread draws what it does next: a kind of model, of which it has one of its own, or one that
all threads share; pictures; a method, a target and a layer; `explain`, an `Explainer` that is kept,
or `compare`. Between calls it changes its own models: it trains them a step, draws weights anew,
adapts a normalisation, changes an attribute of a layer. Every result is kept with what made it, and
a process that is started anew for each hundred of them, in which nothing was ever compiled, makes
each again. Memory, file descriptors and threads are printed as it goes. A result that differs is
printed with what made it. What is killed meanwhile is in `tests.kills`.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import pickle
import queue
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import psutil
import tensorflow as tf
from keras import layers, ops

import tfcam

SIDES, CLASSES, AT_ONCE = 32, 4, 100
METHODS: dict[str, dict[str, Any]] = {
    "grad_cam": {},
    "grad_cam_pp": {},
    "layer_cam": {},
    "hires_cam": {},
    "x_grad_cam": {},
    "eigen_cam": {},
    "score_cam": {},
    "ablation_cam": {},
    "saliency": {},
    "gradient_input": {},
    "integrated_gradients": {"steps": 8},
    "smooth_grad": {"samples": 4},
    "guided_grad_cam": {},
}


def _second(outputs: tf.Tensor) -> tf.Tensor:
    return outputs[:, 1]


TARGETS: dict[str, tfcam.Target] = {
    "predicted": None,
    "class": 2,
    "difference": tfcam.Difference(0, 3),
    "function": _second,
}


def _end(x: Any) -> Any:
    return layers.Dense(CLASSES, name="logits")(layers.GlobalAveragePooling2D()(x))


def _convolved(x: Any, name: str) -> Any:
    return layers.Conv2D(8, 3, activation="relu", padding="same", name=name)(x)


def functional() -> keras.Model:
    """Normalisations to adapt, attributes to change."""
    x = image = keras.Input((SIDES, SIDES, 3))
    adapted = layers.Normalization(name="adapted")
    adapted.adapt(np.random.default_rng(0).uniform(size=(4, SIDES, SIDES, 3)))
    x = adapted(x)
    x = layers.BatchNormalization(name="normalised")(_convolved(x, "first"))
    x = layers.LeakyReLU(name="leaky")(layers.Conv2D(8, 3, strides=2, name="second")(x))
    return keras.Model(image, _end(_convolved(x, "last")))


def nested() -> keras.Model:
    """A model inside a model."""
    inner = keras.Sequential(
        [
            keras.Input((SIDES, SIDES, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3, activation="relu", name="last"),
        ],
        name="inner",
    )
    image = keras.Input((SIDES, SIDES, 3))
    return keras.Model(image, _end(inner(image)))


class Subclassed(keras.Model):
    """Code of its own, with an attribute that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = (layers.Conv2D(8, 3, activation="relu") for _ in range(2))
        self.pool, self.logits = layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)
        self.gain = 1.0

    def call(self, images: tf.Tensor) -> tf.Tensor:
        return self.logits(self.pool(self.last(ops.tanh(self.gain * self.first(images)))))


def subclassed() -> keras.Model:
    model = Subclassed()
    model(np.zeros((1, SIDES, SIDES, 3), np.float32))
    return model


def two_inputs() -> keras.Model:
    """A picture and a row."""
    picture, row = keras.Input((SIDES, SIDES, 3), name="picture"), keras.Input((4,), name="row")
    seen = layers.GlobalAveragePooling2D()(_convolved(picture, "last"))
    joined = layers.Concatenate()([seen, row])
    return keras.Model({"picture": picture, "row": row}, layers.Dense(CLASSES)(joined))


def half() -> keras.Model:
    """In bfloat16, which every processor can."""
    image = keras.Input((SIDES, SIDES, 3))
    half = keras.DTypePolicy("mixed_bfloat16")
    x = layers.SeparableConv2D(8, 3, activation="relu", name="first", dtype=half)(image)
    x = layers.Dense(8, activation="relu", name="last", dtype=half)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES, dtype="float32")(x))


def volume() -> keras.Model:
    """Of (8, 16, 16, 1)."""
    image = keras.Input((8, 16, 16, 1))
    x = layers.Conv3D(6, 3, activation="relu", padding="same", name="last")(image)
    return keras.Model(image, layers.Dense(CLASSES)(layers.GlobalAveragePooling3D()(x)))


MODELS: dict[str, Callable[[], keras.Model]] = {
    each.__name__: each for each in (functional, nested, subclassed, two_inputs, half, volume)
}
LAYERS = {"functional": ["second", "last", "leaky"], "nested": ["inner/last"]}
ATTRIBUTES = {
    "functional": [("leaky", "negative_slope"), ("normalised", "epsilon")],
    "subclassed": [(None, "gain")],
}


class State(NamedTuple):
    """What a model is at a call."""

    kind: str
    weights: list[np.ndarray]
    attributes: dict[tuple[str | None, str], float]


class Call(NamedTuple):
    """What was asked, by names and numbers that another process understands."""

    door: str
    state: State
    seed: int
    count: int
    method: str
    target: str
    layer: str | None


def owner(model: keras.Model, layer: str | None) -> Any:
    return model if layer is None else model.get_layer(layer)


def change(kind: str, model: keras.Model, chance: random.Random) -> None:
    """Change a model in one of the ways people do."""
    drawn = np.random.default_rng(chance.getrandbits(32))
    ways = ["weights", "train", *["attribute"] * (kind in ATTRIBUTES)]
    way = chance.choice([*ways, *["adapt"] * (kind == "functional")])
    if way == "weights":
        give(model, [drawn_like(each, drawn) for each in model.get_weights()])
    elif way == "train":
        with tf.GradientTape() as tape:
            images = given(kind, chance.getrandbits(32), 4)
            loss = ops.mean(ops.square(model(images, training=True)))
        gradients = tape.gradient(loss, model.trainable_variables)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.1 * gradient)
    elif way == "adapt":
        model.get_layer("adapted").adapt(drawn.uniform(0, 2, (8, SIDES, SIDES, 3)))
    else:
        layer, name = chance.choice(ATTRIBUTES[kind])
        setattr(owner(model, layer), name, chance.uniform(0.05, 0.5))


def drawn_like(weight: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    """Kernels of both signs; vectors, among which are variances, stay positive."""
    shape = np.shape(weight)
    return drawn.normal(0, 0.3, shape) if len(shape) > 1 else drawn.uniform(0.3, 1, shape)


def give(model: keras.Model, weights: list[np.ndarray]) -> None:
    """Set weights; what a normalisation divides by is derived from its own."""
    model.set_weights(weights)
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()


def state_of(kind: str, model: keras.Model) -> State:
    attributes = {
        (layer, name): getattr(owner(model, layer), name)
        for layer, name in ATTRIBUTES.get(kind, [])
    }
    return State(kind, model.get_weights(), attributes)


def model_of(state: State) -> keras.Model:
    model = MODELS[state.kind]()
    for (layer, name), value in state.attributes.items():
        setattr(owner(model, layer), name, value)
    give(model, state.weights)
    return model


def given(kind: str, seed: int, count: int) -> Any:
    """Prepared inputs for a model, a batch."""
    drawn = np.random.default_rng(seed)
    shape = (count, 8, 16, 16, 1) if kind == "volume" else (count, SIDES, SIDES, 3)
    images = drawn.uniform(0, 1, shape).astype(np.float32)
    if kind == "two_inputs":
        return {"picture": images, "row": drawn.normal(size=(count, 4)).astype(np.float32)}
    return images


def answer(call: Call, model: keras.Model, kept: dict[Any, tfcam.Explainer] | None) -> Any:
    """Ask; return the raw maps and the scores.

    ``kept``: where the explainers of a thread are; None makes one for this call.
    """
    method, options = call.method, METHODS[call.method]
    asked = {"preprocess": None, "layer": call.layer} | options
    if call.state.kind == "two_inputs":
        asked["input"] = "picture"
    inputs, target = given(call.state.kind, call.seed, call.count), TARGETS[call.target]
    if call.door == "explain":
        found = tfcam.explain(model, inputs, method=method, target=target, **asked)
    elif call.door == "compare":
        where = {"layers": None if call.layer is None else [call.layer], "targets": [target]}
        where |= {"input": "picture"} if call.state.kind == "two_inputs" else {}
        one = keras.tree.map_structure(lambda each: each[:1], inputs)
        methods = ["grad_cam", method]
        found = tfcam.compare(model, one, methods=methods, preprocess=None, **where)
    else:
        key = (call.state.kind, call.method, call.layer)
        explainers = {} if kept is None else kept
        if key not in explainers:
            explainers[key] = tfcam.Explainer(model, method=method, **asked)
        found = explainers[key](inputs, target=target)
    return [(each.raw, each.score, each.target) for each in found]


def differs(one: Any, other: Any, kind: str) -> str:
    """What differs of two answers; nothing where only rounding does."""
    allowed = 0.06 if kind == "half" else 2e-3
    if len(one) != len(other):
        return f"{len(one)} results, not {len(other)}"
    for (raw, score, target), (wanted, should, meant) in zip(one, other, strict=True):
        if not isinstance(target, int) or target == meant:
            size = max(float(np.abs(wanted).max()), 1e-6)
            off = float(np.abs(raw - wanted).max()) / size
            if off > allowed or abs(score - should) > allowed * max(abs(should), 1):
                return f"maps differ by {off:.2g} of the largest, scores {score} and {should}"
        elif kind != "half":
            return f"target {target}, not {meant}"
    return ""


def check(path: Path) -> list[str]:
    """In a fresh process: make each result of a file again; return what differs."""
    wrong = []
    for call, found in pickle.loads(path.read_bytes()):  # our own
        wanted = answer(call, model_of(call.state), None)
        if difference := differs(found, wanted, call.state.kind):
            asked = call._replace(state=call.state._replace(weights=[]))
            wrong.append(f"{asked}: {difference}")
    return wrong


class Thread(threading.Thread):
    """Explains until it is told to stop."""

    def __init__(self, seed: int, shared: dict[str, keras.Model], done: queue.Queue[Any]) -> None:
        super().__init__(daemon=True)
        self.chance, self.shared, self.done = random.Random(seed), shared, done
        self.own = {kind: make() for kind, make in MODELS.items()}
        self.kept: dict[bool, dict[Any, tfcam.Explainer]] = {True: {}, False: {}}
        self.stop, self.failed = threading.Event(), ""

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self._once()
        except Exception as error:  # it is told, not swallowed
            self.failed = f"{type(error).__name__}: {error}"

    def _once(self) -> None:
        chance = self.chance
        kind, shared = chance.choice(list(MODELS)), chance.random() < 0.3
        model = self.shared[kind] if shared else self.own[kind]
        if not shared and chance.random() < 0.5:
            change(kind, model, chance)
        call = Call(
            chance.choice(["explain", "Explainer", "Explainer", "compare"]),
            state_of(kind, model),
            chance.getrandbits(32),
            chance.choice([1, 1, 2, 3]),
            chance.choice(list(METHODS)),
            chance.choice(list(TARGETS)),
            chance.choice([None, *LAYERS.get(kind, [])]),
        )
        self.done.put((call, answer(call, model, self.kept[shared])))


def soak(seconds: float, threads: int, seed: int) -> dict[str, Any]:
    """Run all threads for so long; return the counts and what was wrong."""
    keras.utils.set_random_seed(seed)
    shared = {kind: make() for kind, make in MODELS.items()}
    done: queue.Queue[Any] = queue.Queue(maxsize=4 * AT_ONCE)
    at_work = [Thread(seed * 1000 + number, shared, done) for number in range(threads)]
    for each in at_work:
        each.start()
    process, began, counted = psutil.Process(), time.monotonic(), 0
    wrong: list[str] = []
    sizes: list[tuple[int, int, int, int]] = []
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "results"
        while time.monotonic() - began < seconds and not any(each.failed for each in at_work):
            results = []
            with contextlib.suppress(queue.Empty):
                while len(results) < AT_ONCE:
                    results.append(done.get(timeout=min(seconds, 60)))
            file.write_bytes(pickle.dumps(results))
            with fresh.Pool(1) as pool:
                wrong += pool.apply(check, (file,))
            counted += len(results)
            memory = process.memory_info().rss // 2**20
            sizes.append((counted, memory, process.num_fds(), process.num_threads()))
            print(f"{counted} results, {len(wrong)} wrong, {memory} MB, ", end="")
            print(f"{sizes[-1][2]} descriptors, {sizes[-1][3]} threads", flush=True)
    for each in at_work:
        each.stop.set()
    while any(each.is_alive() for each in at_work):
        with contextlib.suppress(queue.Empty):
            done.get(timeout=0.1)
    failed = [each.failed for each in at_work if each.failed]
    return {"results": counted, "wrong": wrong, "failed": failed, "sizes": sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    counts = soak(60 * told.minutes, told.threads, told.seed)
    print("\n".join([*counts["wrong"], *counts["failed"]]))
    print(f"{counts['results']} results compared, {len(counts['wrong'])} wrong")
    if counts["wrong"] or counts["failed"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
