"""Every kind of model, how to build a small one, and what each method makes of it.

``python -m tests.kinds`` writes the guides' table of kinds. tests/laws/test_kinds.py asserts each
of its cells.
"""

import functools
import importlib
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.networks import seeded
from tests.project import GUIDES
from tests.tolerances import rounding

PAGE = GUIDES / "any_model.md"
METHODS = ("cam", "grad_cam", "grad_cam_pp", "layer_cam", "guided_backprop")
TABLE = re.compile(r"\| kind of model \|.*?\n\n", re.DOTALL)
EXPLAINED = "explained"

# Why a method does not apply, as the guide says it, and what its error says.
REASONS = {
    "no linear head": "CAM needs a linear head: .* has another: ",
    "needs a class": "'cam' needs a class: an index, a label or None; got a callable",
    "quantised head": "CAM needs a linear head: .* 'head' is quantised",
    "no ReLU": "gate ReLUs, and .* has none",
    "channels after time": "channels_first', and thus its channels after the steps in time",
    "whole numbers": "changes the input a little, and the model takes whole numbers",
}
TARGETS = [1, 0]


def class_scores(outputs: Any) -> tf.Tensor:
    """The logits of ``TARGETS``."""
    return tf.gather(getattr(outputs, "_keras_logits", outputs), TARGETS, batch_dims=1)


@dataclass(frozen=True)
class Case:
    """A model, what is asked of it, and its flat functional twin.

    Attributes:
        model: The model.
        inputs: Two examples, as it takes them.
        layer: Which layer is explained.
        twin: The same network with the same weights in one flat functional model with channels
            last and float32; the model itself where it is one.
        given: The two examples as the twin takes them.
        inner: The layer's name in the twin.
        options: What else ``tfcam.explain`` is told; ``TARGETS`` where no target is.
        score: What is explained, from the twin's outputs.
        prefix: How many of the layer's tokens are of no patch.
        grid: Of tokens, how many patches are in a column and in a row.
        which: Of several inputs of the twin, the explained one.
        tolerance: How far a value may be off, as a fraction of the largest.
    """

    model: keras.Model
    inputs: Any
    layer: str | None
    twin: keras.Model
    given: Any
    inner: str
    options: Mapping[str, Any] = field(default_factory=dict)
    score: Callable[[Any], tf.Tensor] = class_scores
    prefix: int = 0
    grid: tuple[int, int] | None = None
    which: Any = None
    tolerance: float = 1e-4


def itself(model: keras.Model, inputs: Any, layer: str, **more: Any) -> Case:
    """A model that is its own flat twin."""
    return Case(model, inputs, layer, model, inputs, layer, **more)


def normal(*shape: int) -> np.ndarray:
    """Two examples around zero."""
    return np.random.default_rng(5).normal(0, 1, (2, *shape)).astype("float32")


# --- networks of keras.applications -----------------------------------------------------------


def _inside(name: str, builder: str) -> Callable[..., keras.Model]:
    """What builds a family of networks, of which ``name`` is one."""
    return getattr(importlib.import_module(getattr(keras.applications, name).__module__), builder)


def application(name: str, size: int) -> Case:
    shape = (size, size, 3)
    options = {"weights": None, "input_shape": shape, "classes": 3}
    # Where a network repeats a block many times, tracing takes long, and shows the same each time.
    if name == "DenseNet121":
        model = _inside("DenseNet121", "DenseNet")([2, 3, 3, 2], **options)
    elif name == "NASNetMobile":
        few = {"num_blocks": 1, "penultimate_filters": 1056, "stem_block_filters": 32}
        rest = {"skip_reduction": False, "filter_multiplier": 2, "default_size": 224}
        model = _inside("NASNetMobile", "NASNet")(**options, **few, **rest)
    else:
        model = getattr(keras.applications, name)(**options)
    # Deep networks with random weights magnify the last digits.
    layer = tfcam.layers(model).default
    return itself(model, normal(*shape), layer, tolerance=5e-3)


# --- the network of tests/networks.py, written in other ways ------------------------------------


def like_flat(model: keras.Model, layer: str = "features", **more: Any) -> Case:
    inputs = networks.pictures(2)
    return Case(model, inputs, layer, networks.flat(), inputs, layer, **more)


def loaded(kind: str) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        return like_flat(networks.reloaded(networks.make(kind), Path(folder)))


def frozen() -> Case:
    model = networks.flat()
    for layer in model.layers[:-1]:
        layer.trainable = False
    return like_flat(model)


def in_half(half: str) -> Case:
    tolerance = rounding(1.0, count=2, dtype=half)
    return like_flat(networks.in_policy(f"mixed_{half}", networks.flat), tolerance=tolerance)


def quantised() -> Case:
    model, twin = networks.flat(), networks.flat()
    with warnings.catch_warnings():  # Keras's own, of layers that it does not quantise
        warnings.simplefilter("ignore", UserWarning)
        model.quantize("int8")
    head = model.get_layer("head")
    kernel = head._kernel.numpy() / head.kernel_scale.numpy()
    twin.get_layer("head").set_weights([kernel, head.bias.numpy()])
    # The pooled values are rounded to 8 bits before the head, which the score shows.
    return Case(model, PICTURES, "features", twin, PICTURES, "features", tolerance=1e-2)


PICTURES = networks.pictures(2)


# --- KerasHub ---------------------------------------------------------------------------------


def hub_resnet() -> Case:
    from keras_hub import models as hub

    def parts() -> tuple[Any, Any]:
        backbone = hub.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[3],
            stackwise_num_filters=[64, 64],
            stackwise_num_blocks=[1, 1],
            stackwise_num_strides=[1, 2],
            block_type="basic_block",
            image_shape=(32, 32, 3),
        )
        whole = hub.ResNetImageClassifier(backbone=backbone, num_classes=3, preprocessor=None)
        return seeded(whole), backbone

    (model, _), (other, backbone) = parts(), parts()
    twin = keras.Model(backbone.input, other.output_dense(other.pooler(backbone.output)))
    inner = backbone.layers[-1].name
    path = f"{model.backbone.name}/{inner}"
    return Case(model, normal(32, 32, 3), path, twin, normal(32, 32, 3), inner)


def hub_vit() -> Case:
    from keras_hub import models as hub

    def parts() -> tuple[Any, Any]:
        backbone = hub.ViTBackbone(
            image_shape=(16, 24, 3),
            patch_size=8,
            num_layers=1,
            num_heads=2,
            hidden_dim=8,
            mlp_dim=16,
            use_class_token=False,
        )
        whole = hub.ViTImageClassifier(
            backbone=backbone, num_classes=3, pooling="gap", preprocessor=None
        )
        return seeded(whole), backbone

    (model, _), (other, backbone) = parts(), parts()
    pooled = keras.ops.mean(backbone.output, axis=1)
    twin = keras.Model(backbone.input, other.output_dense(pooled))
    inputs, inner = normal(16, 24, 3), "vit_encoder"
    path = f"{model.backbone.name}/{inner}"
    return Case(model, inputs, path, twin, inputs, inner, grid=(2, 3))


# --- several inputs and outputs ---------------------------------------------------------------


def siamese() -> Case:
    """One tower for both inputs; in the twin each has its own."""
    ends = [keras.Input((8, 8, 3), name=name) for name in ("one", "two")]
    towers = []
    for _ in range(3):
        steps = [
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(),
        ]
        towers.append(keras.Sequential([keras.Input((8, 8, 3)), *steps], name="tower"))

    def compared(one: Any, two: Any) -> Any:
        return layers.Dense(3, name="head")(keras.ops.square(one - two))

    model = keras.Model(ends, compared(towers[0](ends[0]), towers[0](ends[1])))
    seeded(model)
    own, flat = [], []
    for name in ("one", "two"):
        own.append(keras.Input((8, 8, 3), name=name))
        conv = layers.Conv2D(4, 3, activation="relu", name=f"{name}_conv")
        flat.append(layers.GlobalAveragePooling2D()(conv(own[-1])))
    twin = keras.Model(own, compared(*flat))
    for name in ("one", "two"):
        weights = towers[0].layers[0].get_weights()
        twin.get_layer(f"{name}_conv").set_weights(weights)
    twin.get_layer("head").set_weights(model.get_layer("head").get_weights())
    inputs = [normal(8, 8, 3), normal(8, 8, 3)[::-1].copy()]
    return Case(model, inputs, "tower/conv:1", twin, inputs, "two_conv", {"input": "two"}, which=1)


def with_facts(form: type) -> Case:
    """A picture and four numbers."""
    picture, facts = keras.Input((8, 8, 3), name="picture"), keras.Input((4,), name="facts")
    ends = {"picture": picture, "facts": facts}
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(ends["picture"])
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), ends["facts"]])
    x = layers.Dense(3)(layers.Dense(6, activation="relu")(x))
    given = {"picture": normal(8, 8, 3), "facts": normal(4)}
    if form is list:
        model = keras.Model(list(ends.values()), x)
        return itself(seeded(model), list(given.values()), "conv", which=0)
    return itself(seeded(keras.Model(ends, x)), given, "conv", which="picture")


def headed(*heads: Callable[[Any], Any], shape: tuple[int, ...] = (10, 8, 3)) -> keras.Model:
    """Two convolutions, pooled, and heads on what was pooled."""
    ends = keras.Input(shape)
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="first")(ends)
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="features")(x)
    x = layers.GlobalAveragePooling2D()(x)
    made = [head(x) for head in heads]
    return seeded(keras.Model(ends, made[0] if len(made) == 1 else made))


def several_outputs() -> Case:
    dense = layers.Dense(3, activation="softmax", name="kind"), layers.Dense(1, name="size")
    return itself(
        headed(*dense),
        normal(10, 8, 3),
        "features",
        options={"output": "kind"},
        score=lambda outputs: class_scores(outputs[0]),
    )


def regression() -> Case:
    options = {"target": tfcam.Regression(-1)}
    model = headed(layers.Dense(1))
    inputs = normal(10, 8, 3)
    return itself(model, inputs, "features", options=options, score=lambda o: -o[:, 0])


def embedding() -> Case:
    reference = np.array([1.0, -2.0, 0.5, 3.0])
    unit = (reference / np.linalg.norm(reference)).astype("float32")
    return itself(
        headed(layers.Dense(4)),
        normal(10, 8, 3),
        "features",
        options={"target": tfcam.Similarity(reference)},
        score=lambda o: tf.reduce_sum(o / tf.norm(o, axis=1, keepdims=True) * unit, 1),
    )


MASK = np.arange(64).reshape(8, 8) % 3 == 0


def u_net(first: bool = False) -> keras.Model:
    form = {"data_format": "channels_first" if first else "channels_last"}
    axis = 1 if first else -1
    ends = keras.Input((3, 8, 8) if first else (8, 8, 3))
    around = layers.Conv2D(4, 3, padding="same", activation="relu", name="down", **form)(ends)
    x = layers.MaxPooling2D(**form)(around)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="features", **form)(x)
    x = layers.Concatenate(axis=axis)([layers.UpSampling2D(**form)(x), around])
    x = layers.Conv2D(3, 1, name="mask", **form)(x)
    return seeded(keras.Model(ends, layers.Softmax(axis=axis)(x)))


def masked(outputs: Any) -> tf.Tensor:
    """The logits of class 1 over the mask."""
    return tf.reduce_sum(outputs._keras_logits[..., 1] * MASK, [1, 2])


SEGMENTATION = {"target": tfcam.Segmentation(1, MASK)}


def masks() -> Case:
    return itself(u_net(), normal(8, 8, 3), "features", options=SEGMENTATION, score=masked)


def masks_first() -> Case:
    """Outputs (B, classes, H, W)."""
    model, inputs = u_net(first=True), normal(8, 8, 3)
    first = np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
    return Case(model, first, "features", u_net(), inputs, "features", SEGMENTATION, masked)


def detector() -> Case:
    """A box and three classes at each position."""
    ends = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, strides=2, activation="relu", name="features")(ends)
    boxes = layers.Reshape((-1, 4), name="boxes")(layers.Conv2D(4, 1)(x))
    scores = layers.Reshape((-1, 3))(layers.Conv2D(3, 1)(x))
    scores = layers.Activation("sigmoid", name="scores")(scores)
    model = seeded(keras.Model(ends, {"boxes": boxes, "scores": scores}))
    return itself(
        model,
        normal(8, 8, 3),
        "features",
        options={"target": tfcam.Box(1)},
        score=lambda o: tf.reduce_max(o["scores"]._keras_logits[..., 1], axis=1),
    )


# --- other inputs -----------------------------------------------------------------------------


def over(axes: int, shape: tuple[int, ...], steps: Callable[[Any], Any] = lambda x: x) -> Case:
    """A convolution over one or three axes."""
    ends = keras.Input(shape)
    conv = getattr(layers, f"Conv{axes}D")(4, 2, activation="relu", name="conv")
    x = getattr(layers, f"GlobalAveragePooling{axes}D")()(conv(steps(ends)))
    return itself(seeded(keras.Model(ends, layers.Dense(3)(x))), normal(*shape), "conv")


def text() -> Case:
    ends = keras.Input((None,), dtype="int32")
    x = layers.Embedding(11, 4)(ends)
    x = layers.Conv1D(5, 3, activation="relu", name="conv")(x)
    x = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(x))
    words = np.array([[3, 7, 7, 1, 0, 10], [2, 5, 9, 9, 4, 1]])
    return itself(seeded(keras.Model(ends, x)), words, "conv")


def video(first: bool = False) -> Case:
    """Pictures in a row; with channels first they are (B, T, C, H, W)."""

    def build(first: bool) -> keras.Model:
        form = {"data_format": "channels_first" if first else "channels_last"}
        ends = keras.Input((4, 2, 6, 5) if first else (4, 6, 5, 2))
        lstm = layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True, name="lstm", **form)
        x = lstm(ends)
        x = layers.Flatten()(x) if first else layers.GlobalAveragePooling3D()(x)
        return seeded(keras.Model(ends, layers.Dense(3, name="head")(x)))

    inputs, twin = normal(4, 6, 5, 2), build(False)
    swapped = np.ascontiguousarray(np.moveaxis(inputs, -1, 2))
    return itself(build(True), swapped, "lstm") if first else itself(twin, inputs, "lstm")


def channels_first() -> Case:
    def build(first: bool) -> keras.Model:
        form = {"data_format": "channels_first" if first else "channels_last"}
        ends = keras.Input((3, 10, 8) if first else (10, 8, 3))
        x = layers.Conv2D(5, 3, padding="same", activation="relu", **form)(ends)
        x = layers.BatchNormalization(axis=1 if first else -1)(x)
        x = layers.Conv2D(6, 3, strides=2, activation="relu", name="features", **form)(x)
        x = layers.GlobalAveragePooling2D(**form)(x)
        return seeded(keras.Model(ends, layers.Dense(3, activation="softmax", name="head")(x)))

    inputs = normal(10, 8, 3)
    first = np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
    return Case(build(True), first, "features", build(False), inputs, "features")


def of_shape(*shape: int | None) -> Case:
    """A network for images of a shape, and examples of it; what is open is 10 x 14."""
    sizes = [side or least for side, least in zip(shape, (10, 14, 3), strict=True)]
    model = headed(layers.Dense(3, activation="softmax"), shape=shape)
    return itself(model, normal(*sizes), "features")


def transformer(prefix: int) -> Case:
    # At the last block only the class token has a gradient.
    layer = "block0" if prefix else "last_norm"
    return itself(
        networks.vit(prefix=prefix), networks.pictures(2), layer, prefix=prefix, grid=(3, 3)
    )


# --- the table --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """How to build a case, and why methods do not apply, where they don't."""

    build: Callable[[], Case]
    refused: Mapping[str, str] = field(default_factory=dict)
    small: bool = True


def _refusing(cam: str | None = None, guided: str | None = None) -> dict[str, str]:
    given = {"cam": cam, "guided_backprop": guided}
    return {method: reason for method, reason in given.items() if reason}


_NO_HEAD = _refusing("no linear head")
_NO_RELU = _refusing(guided="no ReLU")
_CALLABLE = _refusing("needs a class")

_APPLICATIONS = {
    "VGG16": (64, _NO_HEAD),
    "ResNet50": (64, {}),
    "MobileNetV2": (64, {}),
    "EfficientNetB0": (64, _NO_RELU),
    "DenseNet121": (64, {}),
    "Xception": (71, {}),
    "InceptionV3": (107, {}),
    "ConvNeXtTiny": (64, _refusing("no linear head", "no ReLU")),
    "NASNetMobile": (64, {}),
}
# How the kinds of tests/networks.py are called in the guide.
_WRITTEN = {
    "sequential": "Sequential",
    "sequential without Input": "Sequential without Input",
    "backbone in a Sequential": "backbone in a Sequential",
    "backbone in a functional": "backbone in a functional model",
    "two levels of nesting": "two levels of nesting",
    "backbone on its own input": "backbone called on its own input",
    "subclassed": "subclassed",
    "functional in a subclassed": "functional in a subclassed model",
    "subclassed in a functional": "subclassed in a functional model",
    "call under tf.function": "`call` under `tf.function`",
    "rematerialised": "rematerialised (`RematScope`)",
}

KINDS: dict[str, Kind] = {
    **{
        f"`keras.applications.{name}`": Kind(
            functools.partial(application, name, size), refused, small=False
        )
        for name, (size, refused) in _APPLICATIONS.items()
    },
    "functional, with Dropout and BatchNormalization": Kind(lambda: like_flat(networks.flat())),
    **{
        called: Kind(lambda kind=kind: like_flat(networks.make(kind)))
        for kind, called in _WRITTEN.items()
    },
    "Sequential loaded from `.keras`": Kind(functools.partial(loaded, "sequential")),
    "nested, loaded from `.keras`": Kind(functools.partial(loaded, "two levels of nesting")),
    "subclassed, in TensorFlow's own operations": Kind(
        lambda: like_flat(networks.plain_head(), "norm"), _NO_HEAD
    ),
    "KerasHub ResNet classifier": Kind(hub_resnet),
    "KerasHub ViT classifier": Kind(hub_vit, _refusing("no linear head", "no ReLU")),
    "layers shared by two inputs (siamese)": Kind(siamese, _NO_HEAD),
    "a dict of inputs": Kind(functools.partial(with_facts, dict), _NO_HEAD),
    "a list of inputs": Kind(functools.partial(with_facts, list), _NO_HEAD),
    "several outputs, one chosen by name": Kind(several_outputs, _NO_HEAD),
    "several classes at once (sigmoid)": Kind(
        lambda: itself(headed(layers.Dense(3, activation="sigmoid")), normal(10, 8, 3), "features")
    ),
    "regression": Kind(regression, _CALLABLE),
    "embedding": Kind(embedding, _CALLABLE),
    "masks (U-Net)": Kind(masks, _NO_HEAD),
    "masks (B, classes, H, W)": Kind(masks_first, _NO_HEAD),
    "boxes and scores (detector)": Kind(detector, _NO_HEAD),
    "series (Conv1D)": Kind(functools.partial(over, 1, (9, 2))),
    "text (Embedding, Conv1D)": Kind(text, _refusing(guided="whole numbers")),
    "volumes (Conv3D)": Kind(functools.partial(over, 3, (4, 5, 3, 2))),
    "videos (ConvLSTM2D)": Kind(video, _NO_RELU),
    "videos with channels first": Kind(
        functools.partial(video, True), dict.fromkeys(METHODS, "channels after time")
    ),
    "transformer with a class token": Kind(
        functools.partial(transformer, 1), _refusing("no linear head", "no ReLU")
    ),
    "transformer whose tokens are pooled": Kind(functools.partial(transformer, 0), _NO_RELU),
    "input (None, None, 3)": Kind(functools.partial(of_shape, None, None, 3)),
    "input that is not square": Kind(functools.partial(of_shape, 8, 14, 3)),
    "one channel (grey)": Kind(functools.partial(of_shape, 10, 8, 1)),
    "six channels": Kind(functools.partial(of_shape, 10, 8, 6)),
    "channels first": Kind(channels_first),
    "mixed_float16": Kind(functools.partial(in_half, "float16")),
    "mixed_bfloat16": Kind(functools.partial(in_half, "bfloat16")),
    "int8, quantised": Kind(quantised, _refusing("quantised head")),
    "frozen backbone": Kind(frozen),
}

# Those that the installed Keras can build.
BUILDABLE = [
    name
    for name in KINDS
    if name not in [_WRITTEN[kind] for kind in set(_WRITTEN) - set(networks.KINDS)]
]


@functools.lru_cache(maxsize=1)
def case(kind: str) -> Case:
    """The case of a kind; the last one is kept, as its cells are asked for one after another."""
    keras.utils.set_random_seed(7)
    return KINDS[kind].build()


def table() -> str:
    """The guides' table of kinds."""
    lines = [
        "| " + " | ".join(["kind of model", *(f"`{method}`" for method in METHODS)]) + " |",
        "|---" * (len(METHODS) + 1) + "|",
    ]
    for name, kind in KINDS.items():
        cells = [kind.refused.get(method, EXPLAINED) for method in METHODS]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    wanted = table()
    PAGE.write_text(TABLE.sub(lambda _: wanted + "\n", PAGE.read_text(), count=1))
