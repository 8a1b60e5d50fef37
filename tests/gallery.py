"""The gallery: a picture of each method, of kinds of model, and of findings on a map.

    python -m tests.gallery [NAME ...]

Draws them, or those that are named, into ``.docs/gallery``, and writes the page. Methods explain
MobileNetV2 on a photograph (``TFCAM_TEST_DATA`` is the folder with its weights), all else the
embedded network on drawn scenes, or networks that are set by hand.
"""

from __future__ import annotations

import argparse
import base64
import functools
import io
import tempfile
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.notebooks import small
from tests.project import GUIDES, find_keras_home

find_keras_home()

import cv2  # noqa: E402
import keras  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
from keras import layers, ops  # noqa: E402
from skimage.data import chelsea, coffee  # noqa: E402

import tfcam  # noqa: E402
from tests.networks import PrefixTokens  # noqa: E402
from tfcam.findings import FINDINGS  # noqa: E402
from tfcam.methods import Need  # noqa: E402
from tfcam.scenes import KINDS, draw_scene  # noqa: E402

PAGE, FOLDER = GUIDES / "gallery.md", GUIDES / "gallery"
WIDTH, DPI, ACROSS = 480, 80, 3
HEART, STAR = KINDS.index("heart"), KINDS.index("star")
TWO = draw_scene(4, kinds=["heart", "star"]).image
SIDES = TWO.shape
PHOTO = np.hstack([chelsea()[:, 75:375], coffee()[50:350, 150:450]])
WORTH = {"lovely": 2.0, "dull": -2.0, "not": -1.0, "but": 0.2}  # of words, to a critic
WORDS = ["a", "and", "film", "the", "ending", *WORTH]

Draw = Callable[[], tfcam.Explanation]


class Shown(NamedTuple):
    """What a picture shows: in words, and how it is made; whether both signs are drawn."""

    words: str
    draw: Draw
    signed: bool = False


# --- networks -------------------------------------------------------------------------------


def head() -> tuple[np.ndarray, np.ndarray]:
    """The weights (64, 8) and biases of the embedded network's last layer."""
    return tfcam.demo_model().layers[-1].get_weights()


def features() -> keras.Model:
    """The embedded network up to the maps that its pooling sums up, (16, 16, 64)."""
    demo = tfcam.demo_model()
    return keras.Model(demo.input, demo.get_layer("features").output, name="features")


def network(*steps: Callable[[Any], Any], name: str = "shapes") -> keras.Model:
    """Steps from a picture on."""
    inputs = keras.Input(SIDES, name="picture")
    return keras.Model(inputs, functools.reduce(lambda x, step: step(x), steps, inputs), name=name)


def classifier(*before: Callable[[Any], Any], scale: float = 1) -> keras.Model:
    """The embedded network, with steps before it; its logits times a scale."""
    last = layers.Dense(8, activation="softmax", name="kinds")
    model = network(*before, features(), layers.GlobalAveragePooling2D(name="pooling"), last)
    last.set_weights([scale * each for each in head()])
    return model


def one_unit(activation: str | None) -> keras.Model:
    """Is it a heart, or a star? One unit says."""
    unit = layers.Dense(1, activation, name="unit")
    model = network(features(), layers.GlobalAveragePooling2D(), unit, name="heart_or_star")
    unit.set_weights([each[..., [HEART]] - each[..., [STAR]] for each in head()])
    return model


def masks() -> keras.Model:
    """Each pixel is of one of eight kinds."""
    pixels = layers.Conv2D(8, 1, name="pixels")
    up, last = layers.UpSampling2D(8, interpolation="bilinear"), layers.Softmax()
    model = network(features(), pixels, up, last, name="segmenter")
    kernel, bias = head()
    pixels.set_weights([kernel[np.newaxis, np.newaxis], bias])
    return model


def embedder() -> keras.Model:
    """A picture becomes 64 numbers."""
    return network(features(), layers.GlobalAveragePooling2D(), name="embedder")


def several_heads() -> keras.Model:
    """A kind, and how bright the picture is."""
    demo = tfcam.demo_model()
    bright = layers.GlobalAveragePooling2D(name="mean")(demo.get_layer("rescaling").output)
    outputs = {"kind": demo.output, "brightness": layers.Dense(1, name="brightness")(bright)}
    return keras.Model(demo.input, outputs, name="two_heads")


def with_numbers() -> keras.Model:
    """A picture beside three numbers."""
    picture, numbers = keras.Input(SIDES, name="picture"), keras.Input((3,), name="numbers")
    last = layers.Dense(8, activation="softmax", name="kinds")
    pooled = layers.GlobalAveragePooling2D()(features()(picture))
    joined = layers.Concatenate()([pooled, numbers])
    model = keras.Model([picture, numbers], last(joined), name="picture_and_numbers")
    kernel, bias = head()
    last.set_weights([np.concatenate([kernel, np.zeros((3, 8))]), bias])
    return model


def wave() -> tuple[keras.Model, np.ndarray]:
    """A network that looks for one beat, and a series of 200 steps that has it once."""
    beat = np.sin(np.linspace(0, 2 * np.pi, 16)) * np.hanning(16)
    inputs = keras.Input((200, 1))
    search = layers.Conv1D(1, 16, padding="same", activation="relu", name="search")
    pooled = layers.GlobalAveragePooling1D()(search(inputs))
    last = layers.Dense(2, name="beats")
    model = keras.Model(inputs, last(pooled), name="beats")
    search.set_weights([beat[:, np.newaxis, np.newaxis], np.array([-1.0])])
    last.set_weights([np.array([[0.0, 1.0]]), np.zeros(2)])
    series = np.random.default_rng(0).normal(0, 0.15, 200)
    series[120:136] += beat
    return model, series[:, np.newaxis].astype("float32")


def ball() -> tuple[keras.Model, np.ndarray]:
    """A network that looks for what is bright and round, and a volume that holds it once."""
    z, y, x = np.mgrid[:8, :32, :32]
    distance = np.hypot(np.hypot(2 * (z - 5), y - 20), x - 10)
    volume = np.random.default_rng(0).normal(0.2, 0.05, z.shape) + np.exp(-((distance / 5) ** 2))
    inputs = keras.Input((8, 32, 32, 1))
    search = layers.Conv3D(1, 3, padding="same", activation="relu", name="search")
    last = layers.Dense(2, name="balls")
    model = keras.Model(inputs, last(layers.GlobalAveragePooling3D()(search(inputs))), name="balls")
    search.set_weights([np.full((3, 3, 3, 1, 1), 1 / 27), np.array([-0.4])])
    last.set_weights([np.array([[0.0, 1.0]]), np.zeros(2)])
    return model, volume[..., np.newaxis].astype("float32")


def video() -> tuple[keras.Model, np.ndarray]:
    """The embedded network on each of four frames, and a heart that comes in the third."""
    inputs = keras.Input((4, *SIDES))
    maps = layers.TimeDistributed(features(), name="frames")(inputs)
    last = layers.Dense(8, activation="softmax", name="kinds")
    model = keras.Model(inputs, last(layers.GlobalAveragePooling3D()(maps)), name="video")
    last.set_weights(head())
    frames = [draw_scene(6, kinds=[kind]).image for kind in ("cross", "square", "heart", "circle")]
    return model, np.stack(frames)


def reader(length: int | None = None, ngrams: int | None = None) -> keras.Model:
    """What each word of a critic adds to "good"."""
    words = layers.TextVectorization(
        output_mode="int", output_sequence_length=length, vocabulary=WORDS, ngrams=ngrams
    )
    table = layers.Embedding(len(WORDS) + 2, 1, name="worth")
    last = layers.Dense(2, activation="softmax", name="opinion")
    inputs = keras.Input((), dtype="string", name="text")
    model = keras.Model(inputs, last(ops.sum(table(words(inputs)), axis=1)), name="critic")
    values = [0.0, 0.0, *(WORTH.get(word, 0.0) for word in WORDS)]
    table.set_weights([np.array(values)[:, np.newaxis]])
    last.set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    return model


@functools.cache
def transformer() -> keras.Model:
    """Two blocks with a class token on the embedded network's maps, trained for a minute."""
    keras.utils.set_random_seed(0)
    maps = keras.Input((16, 16, 64))
    x = layers.Dense(64, name="patches")(layers.AveragePooling2D(2)(maps))
    x = PrefixTokens(1, name="class_token")(layers.Reshape((64, 64))(x))
    for block in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 16, name=f"attention{block}")(y, y)])
        y = layers.Dense(64, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add(name=f"block{block}")([x, layers.Dense(64)(y)])
    last = layers.Dense(8, activation="softmax", name="kinds")
    blocks = keras.Model(maps, last(layers.LayerNormalization()(x)[:, 0]), name="transformer")
    scenes = [draw_scene(seed) for seed in range(2000)]
    seen = features().predict(np.stack([each.image for each in scenes]), verbose=0)
    blocks.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    labels = np.array([each.labels[0] for each in scenes])
    blocks.fit(seen, labels, epochs=6, verbose=0)
    return network(features(), blocks, name="vision_transformer")


def ask(images: np.ndarray) -> np.ndarray:
    """Any function of pictures: here one that asks the embedded network."""
    return tfcam.demo_model().predict(images, verbose=0)


# --- what is shown --------------------------------------------------------------------------


def by_method(name: str) -> tfcam.Explanation:
    """A cat beside a cup, by MobileNetV2; of attention, a heart beside a star by a transformer."""
    if Need.ATTENTIONS in tfcam.METHODS[name].needs:
        return tfcam.explain(transformer(), TWO, method=name, target="heart", labels=KINDS)
    model = keras.applications.MobileNetV2()
    return tfcam.explain(model, PHOTO, method=name, target="Egyptian cat", progress=False)


def shape(model: Any, *, target: Any = "heart", **options: Any) -> tfcam.Explanation:
    """The heart beside the star."""
    return tfcam.explain(model, TWO, target=target, labels=KINDS, progress=False, **options)


def similar() -> tfcam.Explanation:
    """What is like another star."""
    other = draw_scene(40, kinds=["star"]).image[np.newaxis]
    star = tfcam.Similarity(embedder().predict(other, verbose=0)[0])
    return tfcam.explain(embedder(), TWO, target=star)


def tiled() -> tfcam.Explanation:
    """A picture of 512 x 512 pixels for a network that takes 128 x 128."""
    scenes = [
        [draw_scene(seed).image for seed in (n, n + 1, n + 2, n + 3)] for n in range(0, 16, 4)
    ]
    large = np.vstack([np.hstack(row) for row in scenes])
    model, labels = tfcam.demo_model(), KINDS
    return tfcam.explain(model, large, target="heart", labels=labels, tile=(128, 128))


def text(told: str, **options: Any) -> tfcam.Explanation:
    """A critic's sentence."""
    model = reader(**options)
    return tfcam.explain(model, told, target="good", labels=["bad", "good"], progress=False)


def of(found: tuple[keras.Model, np.ndarray], **options: Any) -> tfcam.Explanation:
    """A model and what it is given."""
    return tfcam.explain(*found, **options)


MODELS = {
    "classes": Shown("Several classes", lambda: shape(tfcam.demo_model())),
    "against_another": Shown(
        "One class against another: `Difference`",
        lambda: shape(tfcam.demo_model(), target=tfcam.Difference("heart", "star")),
        signed=True,
    ),
    "one_sigmoid_unit": Shown(
        "Two classes by one sigmoid unit",
        lambda: tfcam.explain(one_unit("sigmoid"), TWO, target=1, labels=["star", "heart"]),
        signed=True,
    ),
    "masks": Shown(
        "Masks: `Segmentation`", lambda: shape(masks(), target=tfcam.Segmentation(HEART))
    ),
    "embeddings": Shown("Embeddings: `Similarity` to another star", similar),
    "several_outputs": Shown(
        "Several outputs: `output=`", lambda: shape(several_heads(), output="kind")
    ),
    "several_inputs": Shown(
        "A picture beside numbers",
        lambda: tfcam.explain(
            with_numbers(), [TWO, np.zeros(3, "f4")], input="picture", target="heart", labels=KINDS
        ),
    ),
    "transformer": Shown(
        "A transformer with a class token", lambda: shape(transformer(), method="generic_attention")
    ),
    "function": Shown(
        "Any function: `BlackBox`",
        lambda: shape(
            tfcam.BlackBox(ask, SIDES, probabilities=True), method="kernel_shap", preprocess="raw"
        ),
        signed=True,
    ),
    "large": Shown("A picture larger than the network: `tile=`", tiled),
    "series": Shown("A series", lambda: of(wave(), target=1, labels=["none", "beat"])),
    "text": Shown("A text", lambda: text("a lovely film but not the ending"), signed=True),
    "volume": Shown("A volume", lambda: of(ball(), target=1, labels=["none", "ball"])),
    "video": Shown("A video", lambda: of(video(), target="heart", labels=KINDS)),
}


def turned() -> tfcam.Explanation:
    """The network turns the picture by an angle before it looks."""
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([c, -s, 64 * (1 - c + s), s, c, 64 * (1 - c - s), 0, 0], "f4")
    model = classifier(lambda x: ops.image.affine_transform(x, turn))
    return shape(model, preprocess="raw")


def dark() -> tfcam.Explanation:
    """Twelve bits in a file of sixteen."""
    with tempfile.TemporaryDirectory() as name:
        path = str(Path(name) / "film.png")
        cv2.imwrite(path, TWO[..., ::-1].astype(np.uint16) * 16)
        return tfcam.explain(tfcam.demo_model(), path, target="heart", labels=KINDS)


def infinite() -> tfcam.Explanation:
    """A weight has become infinite."""
    model = classifier()
    model.get_layer("kinds").kernel.assign(np.full((64, 8), np.inf))
    return shape(model)


def silent() -> keras.Model:
    """Whatever it sees speaks against a heart."""
    kernel, bias = head()
    model = classifier()
    model.get_layer("kinds").set_weights([-np.abs(kernel), bias])
    return model


def dead() -> tfcam.Explanation:
    """A bias that no picture gets over."""
    model = tfcam.demo_model()
    norm = model.get_layer("block5_norm")
    norm.beta.assign(norm.beta - 1e3)
    return shape(model)


def pooled() -> keras.Model:
    """Its pooling leaves one position."""
    pool = layers.GlobalAveragePooling2D(keepdims=True, name="pooled")
    last = layers.Dense(8, name="kinds")
    model = network(features(), pool, last, layers.Flatten())
    last.set_weights(head())
    return model


def average() -> keras.Model:
    """Two networks, averaged."""
    inputs = keras.Input(SIDES)
    members = [keras.models.clone_model(tfcam.demo_model()) for _ in range(2)]
    for number, member in enumerate(members):
        member.set_weights(tfcam.demo_model().get_weights())
        member.name = f"member{number}"
    return keras.Model(inputs, layers.Average()([each(inputs) for each in members]))


def unseen() -> keras.Model:
    """Its softmax is written so that nothing can see it to be one."""

    def shares(logits: Any) -> Any:
        likely = ops.softmax(logits) * 1.0
        return likely / ops.sum(likely, axis=-1, keepdims=True)

    last = layers.Dense(8, name="kinds")
    model = network(features(), layers.GlobalAveragePooling2D(), last, shares)
    last.set_weights(head())
    return model


def biased() -> keras.Model:
    """Nothing but its biases decides."""
    model = classifier()
    kernel, bias = head()
    model.get_layer("kinds").set_weights([0 * kernel, bias])
    return model


def attending() -> keras.Model:
    """A softmax over the positions says how much each counts."""
    weigh, last = layers.Dense(1, name="weigh"), layers.Dense(8, name="kinds")

    def pooling(maps: Any) -> Any:
        shares = ops.softmax(ops.reshape(weigh(maps), (-1, 256, 1)), axis=1)
        return ops.sum(shares * ops.reshape(maps, (-1, 256, 64)), axis=1)

    model = network(features(), pooling, last)
    weigh.set_weights([np.full((64, 1), 0.01), np.zeros(1)])
    last.set_weights(head())
    return model


def summed() -> tuple[keras.Model, np.ndarray]:
    """A network that sums up all frames, and the frames of the video."""
    inputs, state = keras.Input((4, *SIDES)), layers.ConvLSTM2D(64, 1, name="state")
    maps = layers.TimeDistributed(features())(inputs)
    last = layers.Dense(8, activation="softmax", name="kinds")
    model = keras.Model(inputs, last(layers.GlobalAveragePooling2D()(state(maps))), name="summed")
    kernel, recurrent, bias = state.get_weights()
    kernel[:], recurrent[:], bias[:] = 0, 0, 9  # all gates are open
    kernel[0, 0, :, 128:192], bias[128:192] = np.eye(64), 0
    state.set_weights([kernel, recurrent, bias])
    last.set_weights(head())
    return model, video()[1]


def prepared() -> keras.Model:
    """The embedded network behind its scaling, which nobody tells any more."""
    demo = tfcam.demo_model()
    return keras.Model(demo.get_layer("rescaling").output, demo.output, name="prepared")


def half() -> keras.Model:
    """Its last layers compute in float16, and hardly anything goes through them."""
    pooling = layers.GlobalAveragePooling2D(dtype="mixed_float16")
    last = layers.Dense(8, name="kinds", dtype="mixed_float16")
    maps = layers.Activation("linear", dtype="mixed_float16", name="half")
    model = network(features(), maps, pooling, last)
    last.set_weights([1e-6 * each for each in head()])
    return model


def plain(activation: str) -> keras.Model:
    """Convolutions without a pooling between, as they were drawn at random."""
    keras.utils.set_random_seed(0)
    steps = [layers.Conv2D(16, 5, strides=2, activation=activation) for _ in range(2)]
    last = layers.Dense(8, name="kinds")
    return network(layers.Rescaling(1 / 255), *steps, layers.GlobalAveragePooling2D(), last)


def either(images: np.ndarray) -> np.ndarray:
    """Is the heart to be seen, or the star, but not both?"""
    seen = []
    for x0, y0, x1, y1 in draw_scene(4, kinds=["heart", "star"]).boxes.astype(int):
        there = np.abs(images[:, y0:y1, x0:x1] - TWO[y0:y1, x0:x1]).mean(axis=(1, 2, 3)) < 20
        seen.append(there)
    return np.stack([seen[0] == seen[1], seen[0] != seen[1]], axis=1).astype("float32")


def kept() -> tfcam.Explanation:
    """From a store, which holds no pictures."""
    with tempfile.TemporaryDirectory() as name:
        options = {"target": HEART, "labels": KINDS, "progress": False}
        tfcam.stream(tfcam.demo_model(), TWO[np.newaxis], to=name, **options)
        return tfcam.open_store(name)[0]


def unnamed() -> tfcam.Explanation:
    """Without the file of ImageNet's labels."""
    model = keras.applications.MobileNetV2()
    with unittest.mock.patch("tfcam.model.labels.imagenet_labels", return_value=None):
        return tfcam.explain(model, PHOTO, target=285)


MAPS_OF = {
    "no_positive_evidence": lambda: shape(silent()),
    "saturated": lambda: shape(classifier(scale=100), target=None, score="probability"),
    "one_logit": lambda: tfcam.explain(one_unit(None), TWO, target=1),
    "dead_layer": dead,
    "one_of_several": lambda: shape(average()),
    "one_position": lambda: shape(pooled(), layer="pooled"),
    "place_unknown": turned,
    "text_cut": lambda: text("a lovely film but not the ending", length=4),
    "words_unknown": lambda: text("a lovely film but not dull", ngrams=2),
    "not_finite": infinite,
    "input_range": lambda: tfcam.explain(
        tfcam.demo_model(), TWO.astype("f4") / 255, target="heart", labels=KINDS
    ),
    "nearly_black": dark,
    "class_agnostic": lambda: shape(tfcam.demo_model(), method="eigen_cam"),
    "incomplete": lambda: shape(
        tfcam.demo_model(), method="integrated_gradients", steps=1, target="circle"
    ),
    "noisy_map": lambda: shape(tfcam.demo_model(), method="rise", masks=40),
    "unsupported": lambda: shape(tfcam.demo_model(), target="arrow", verify=True),
    "probability_explained": lambda: shape(unseen()),
    "one_number": lambda: tfcam.explain(one_unit(None), TWO),
    "gradient_absent": lambda: shape(biased()),
    "rounding_alone": lambda: shape(attending(), layer="weigh"),
    "no_time": lambda: of(summed(), target="heart", labels=KINDS),
    "pixels_as_prepared": lambda: tfcam.explain(
        prepared(), TWO.astype("f4"), target="heart", labels=KINDS
    ),
    "float16_underflow": lambda: shape(half(), layer="half"),
    "image_ignored": lambda: shape(plain("relu"), method="deconvnet", target=None),
    "prefix_tokens": lambda: shape(transformer()),
    "not_additive": lambda: tfcam.explain(
        tfcam.BlackBox(either, SIDES, probabilities=False),
        TWO,
        target=1,
        method="lime",
        segments="grid:4",
        preprocess="raw",
        progress=False,
    ),
    "no_picture": kept,
    "no_labels": unnamed,
    "nothing_to_gate": lambda: tfcam.diagnose(plain("swish"), TWO),
}
FOUND = {code: Shown(f"`{code}`", MAPS_OF[code]) for code in FINDINGS if code in MAPS_OF}
METHODS = {name: Shown(f"`{name}`", functools.partial(by_method, name)) for name in tfcam.METHODS}
SHOWN = METHODS | MODELS | FOUND


SECTIONS = {
    "Methods": (
        METHODS,
        "Why *Egyptian cat*? MobileNetV2 on a cat beside a cup, by each of the "
        "[methods](methods.md); those of attention ask a small transformer why *heart*.",
    ),
    "Models": (
        MODELS,
        "Where is the heart? [Any model](any_model.md), of shapes, beats, balls and words.",
    ),
    "Findings": (
        FOUND,
        "What can be seen of what is wrong, or is said where there is no map. "
        "[Troubleshooting](troubleshooting.md) says what to do.",
    ),
}


def draw(name: str) -> bytes | str:
    """Draw one: the map over its picture, or what a notebook shows of no picture, as a PNG.

    What is found without a map is what is said of it.
    """
    shown = SHOWN[name]
    result = shown.draw()
    told = {each.code: each.message for each in result.findings}
    if name in FOUND and name not in told:
        raise ValueError(f"{name} is not found, but {result.findings}")
    if isinstance(result, tfcam.Diagnosis):
        return told[name]
    if result.heatmap.ndim == 2:
        return cv2.imencode(".png", result.picture(signed=shown.signed)[..., ::-1])[1].tobytes()
    ax, buffer = result.plot(signed=shown.signed), io.BytesIO()
    ax.figure.savefig(buffer, dpi=DPI)
    plt.close(ax.figure)
    return buffer.getvalue()


def keep(name: str) -> Path:
    """Draw one and keep it small."""
    drawn = draw(name)
    for path in FOLDER.glob(f"{name}.*"):
        path.unlink()
    if isinstance(drawn, str):
        path = FOLDER / f"{name}.txt"
        path.write_text(drawn, encoding="utf-8")
        return path
    ((kind, picture),) = small(base64.b64encode(drawn).decode(), WIDTH).items()
    path = FOLDER / f"{name}.{kind.removeprefix('image/')}"
    path.write_bytes(base64.b64decode(picture))
    return path


def _cell(name: str) -> str:
    (path,) = FOLDER.glob(f"{name}.*")
    meaning = tfcam.METHODS[name].summary.partition(": ")[2] if name in METHODS else ""
    meaning = meaning or (FINDINGS[name].cause if name in FOUND else "")
    words = f"{SHOWN[name].words}<br>{meaning}" if meaning else SHOWN[name].words
    if path.suffix == ".txt":
        return f"*{path.read_text(encoding='utf-8')}*<br>{words}"
    return f"![{name}](gallery/{path.name})<br>{words}"


def page() -> str:
    """The whole page."""
    text = "# Gallery\n\nMade by `python -m tests.gallery`.\n"
    for title, (shown, told) in SECTIONS.items():
        text += f"\n## {title}\n\n{told}\n\n" + "| " * ACROSS + "|\n" + "|---" * ACROSS + "|\n"
        cells = [*map(_cell, shown)]
        for start in range(0, len(cells), ACROSS):
            row = cells[start : start + ACROSS]
            text += "| " + " | ".join(row + [""] * (ACROSS - len(row))) + " |\n"
    return text


def main() -> None:
    """Draw those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SHOWN, []])
    FOLDER.mkdir(exist_ok=True)
    for name in parser.parse_args().names or SHOWN:
        print(keep(name).name, flush=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
