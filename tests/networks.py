"""Small networks: one set by hand, whose answers can be checked on paper, and one of each kind.

All kinds are the same network with the same weights, written in different ways.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfcam
from tfcam.methods import Need
from tfcam.model.tree import walk

SIZE, CLASSES = 12, 3
# Those that apply to networks without attention.
OF_ATTENTION = {name for name, m in tfcam.METHODS.items() if Need.ATTENTIONS in m.needs}
METHODS = [name for name in tfcam.METHODS if name not in OF_ATTENTION]


def hand_set() -> keras.Model:
    """Two channels of a 2x2 map, average pooling, two classes; every number is small.

    The "conv" layer is a 1x1 convolution that passes channels 0 and 1 of the image on, then ReLU.
    Class 0 has the weights (2, -4), class 1 has (0, 8); the biases are 1 and 0.
    """
    inputs = keras.Input((2, 2, 2))
    x = layers.Conv2D(2, 1, activation="relu", use_bias=False, name="conv")(inputs)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="head")(x))
    model.get_layer("conv").set_weights([np.eye(2, dtype="float32")[None, None]])
    weights = np.array([[2.0, 0.0], [-4.0, 8.0]], "float32")
    model.get_layer("head").set_weights([weights, np.array([1.0, 0.0], "float32")])
    return model


class Code(layers.Layer):
    """Code of one's own."""

    def __init__(self, function: Callable[[tf.Tensor], tf.Tensor], **options: object) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return self.function(x)


@keras.saving.register_keras_serializable("tfcam_tests")
class PrefixTokens(layers.Layer):
    """Learned tokens in front of the others: class, distillation, registers."""

    def __init__(self, count: int = 1, **options: object) -> None:
        super().__init__(**options)
        self.count = count

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.tokens = self.add_weight(shape=(1, self.count, shape[-1]), name="tokens")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return keras.ops.concatenate(
            [keras.ops.repeat(self.tokens, keras.ops.shape(x)[0], 0), x], 1
        )

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "count": self.count}


def vit(
    prefix: int = 1, size: tuple[int, int] = (SIZE, SIZE), patch: int = 4, blocks: int = 2
) -> keras.Model:
    """A vision transformer of width 8 and two heads; its head reads token 0, or pools them all."""
    inputs = keras.Input((*size, 3))
    x = layers.Conv2D(8, patch, strides=patch, name="patches")(inputs)
    x = layers.Reshape((-1, 8), name="tokens")(x)
    if prefix:
        x = PrefixTokens(prefix, name="prefix")(x)
    for block in range(blocks):
        y = layers.LayerNormalization(name=f"norm{block}")(x)
        y = layers.MultiHeadAttention(2, 4, name=f"attention{block}")(y, y)
        x = layers.Add(name=f"attended{block}")([x, y])
        y = layers.LayerNormalization(name=f"mlp_norm{block}")(x)
        y = layers.Dense(8, activation="gelu", name=f"mlp{block}")(y)
        x = layers.Add(name=f"block{block}")([x, y])
    x = layers.LayerNormalization(name="last_norm")(x)
    x = x[:, 0] if prefix else layers.GlobalAveragePooling1D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))
    rng = np.random.default_rng(11)
    for variable in model.variables:
        variable.assign(rng.normal(0, 0.5, variable.shape) + (variable.name == "gamma"))
    return model


def pictures(count: int = 2) -> np.ndarray:
    """Prepared inputs, (count, SIZE, SIZE, 3) float32 around zero."""
    return np.random.default_rng(5).normal(0, 1, (count, SIZE, SIZE, 3)).astype("float32")


def body() -> list[keras.Layer]:
    """Convolutions to a map (6, 6, 8) named "features"."""
    return [
        layers.Conv2D(6, 3, padding="same", activation="relu", name="first"),
        layers.MaxPooling2D(name="smaller"),
        layers.Dropout(0.3, name="thinner"),
        layers.Conv2D(8, 3, padding="same", name="second"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="features"),
    ]


def head() -> list[keras.Layer]:
    return [
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(CLASSES, activation="softmax", name="head"),
    ]


def _chain(x: keras.KerasTensor, steps: list[keras.Layer]) -> keras.KerasTensor:
    for step in steps:
        x = step(x)
    return x


def _input() -> keras.KerasTensor:
    return keras.Input((SIZE, SIZE, 3))


def _backbone() -> keras.Model:
    inputs = _input()
    return keras.Model(inputs, _chain(inputs, body()), name="backbone")


def seeded(model: keras.Model, seed: int = 3) -> keras.Model:
    """The model, with every weight its own."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        values = rng.normal(0.02, 0.4, variable.shape)
        variable.assign(values**2 + 0.5 if "variance" in variable.path else values)
    return model


def in_policy(policy: str, make: Callable[[], keras.Model]) -> keras.Model:
    """A model that is built under a dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(before)


def flat() -> keras.Model:
    """The functional network that all other kinds are compared with, every weight its own."""
    inputs = _input()
    return seeded(keras.Model(inputs, _chain(inputs, body() + head()), name="flat"))


class Chain(keras.Model):
    """Layers called one after the other in ``call``."""

    def __init__(self, steps: list[keras.Layer]) -> None:
        super().__init__(name="chain")
        self.steps = steps

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for step in self.steps:
            x = step(x)
        return x


class DecoratedChain(Chain):
    """The same, with ``call`` under ``tf.function``."""

    @tf.function
    def call(self, x: tf.Tensor) -> tf.Tensor:
        for step in self.steps:
            x = step(x)
        return x


class PlainHead(keras.Model):
    """A head in TensorFlow's own words: ReLU and softmax are no layers and no Keras operations."""

    def __init__(self) -> None:
        super().__init__(name="plain_head")
        self.steps = body()[:-1]
        self.dense = layers.Dense(CLASSES, name="head")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for step in self.steps:
            x = step(x)
        return tf.nn.softmax(self.dense(tf.reduce_mean(tf.nn.relu(x), [1, 2])))


def _sequential(steps: list[keras.Layer], with_input: bool = True) -> keras.Model:
    return keras.Sequential([_input()] * with_input + steps)


def _two_levels() -> keras.Model:
    inner = _input()
    middle = keras.Model(inner, _backbone()(inner), name="middle")
    return _sequential([middle, *head()])


def _own_input() -> keras.Model:
    """KerasHub's pattern: the backbone is called on its own input."""
    backbone = _backbone()
    return keras.Model(backbone.input, _chain(backbone(backbone.input), head()))


def _subclassed_inside() -> keras.Model:
    inputs = _input()
    return keras.Model(inputs, _chain(Chain(body())(inputs), head()))


def _nested_functional() -> keras.Model:
    inputs = _input()
    return keras.Model(inputs, _chain(_backbone()(inputs), head()))


def _rematerialised() -> keras.Model:
    with keras.RematScope(mode="full"):
        steps = body() + head()
    return _sequential(steps)


KINDS: dict[str, Callable[[], keras.Model]] = {
    "sequential": lambda: _sequential(body() + head()),
    "sequential without Input": lambda: _sequential(body() + head(), with_input=False),
    "backbone in a Sequential": lambda: _sequential([_backbone(), *head()]),
    "backbone in a functional": _nested_functional,
    "two levels of nesting": _two_levels,
    "backbone on its own input": _own_input,
    "subclassed": lambda: Chain(body() + head()),
    "functional in a subclassed": lambda: Chain([_backbone(), *head()]),
    "subclassed in a functional": _subclassed_inside,
    "call under tf.function": lambda: DecoratedChain(body() + head()),
}
if hasattr(keras, "RematScope"):  # newer than the oldest Keras that tfcam runs on
    KINDS["rematerialised"] = _rematerialised


def make(kind: str) -> keras.Model:
    """A network of a kind, built, with the weights of ``flat``."""
    return with_weights(KINDS[kind]())


def plain_head() -> keras.Model:
    """``PlainHead`` with the weights of ``flat``; its map is the output of "norm", before ReLU."""
    return with_weights(PlainHead())


def with_weights(model: keras.Model) -> keras.Model:
    model(pictures(1))
    source = flat()
    for _, operation in walk(model):
        if operation.name in ("first", "second", "norm", "head"):
            operation.set_weights(source.get_layer(operation.name).get_weights())
    return model


def reloaded(model: keras.Model, folder: Path) -> keras.Model:
    """The model, saved and loaded again."""
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def _bytes(outputs: object) -> list[bytes]:
    return [np.asarray(each).tobytes() for each in tf.nest.flatten(outputs)]


def _predict(model: keras.Model, inputs: object) -> list[bytes]:
    try:
        return _bytes(model.predict(inputs, verbose=0))
    except ValueError:  # Keras's own predict can't run a rematerialised Dropout
        return []


def _config(model: keras.Model) -> str:
    try:
        return repr(model.get_config())
    except NotImplementedError:  # subclassed
        return ""


def marks(model: keras.Model) -> dict[str, object]:
    """What a tap could leave behind: nodes, and what is in every ``__dict__``."""
    inside = [model, *(operation for _, operation in walk(model))]
    return {
        "nodes": [(len(o._inbound_nodes), len(o._outbound_nodes)) for o in inside],
        # `predict` itself gives a model a new history.
        "dicts": [{k: id(v) for k, v in vars(o).items() if k != "history"} for o in inside],
    }


def snapshot(model: keras.Model, inputs: object, predict: bool = True) -> dict[str, object]:
    """All that must not change: weights, config, outputs, and ``marks``.

    ``predict``, by far the slowest to look at, may be left to a last look.
    """
    return {
        "weights": [weight.tobytes() for weight in model.get_weights()],
        "trainable": [variable.trainable for variable in model.variables],
        "config": _config(model),
        "outputs": _bytes(model(inputs, training=False)),
        "predict": _predict(model, inputs) if predict else [],
        **marks(model),
    }


class Counting:
    """So many times the first class as it has been asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, outputs):
        self.calls += 1
        return outputs[:, 0] * self.calls
