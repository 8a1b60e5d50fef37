"""Models whose input leaves its size open: any size is taken, or the one that fits inside."""

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import tfcam
from tests import networks
from tfcam.model.graph import graph_of


def body(x, flatten=False):
    x = layers.Conv2D(4, 3, strides=4, padding="same", activation="relu", name="conv")(x)
    x = layers.Flatten()(x) if flatten else layers.GlobalAveragePooling2D()(x)
    return layers.Dense(3, "softmax", name="head")(x)


def fixed(side):
    inputs = keras.Input((side, side, 3))
    return networks.seeded(keras.Model(inputs, body(inputs, flatten=True), name=f"inner_{side}"))


def around(side, *before):
    inputs = x = keras.Input((None, None, 3))
    for layer in before:
        x = layer(x)
    return keras.Model(inputs, fixed(side)(x))


def with_positions(side):
    """Weights for so many positions, as position embeddings have them."""
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 4, strides=4, activation="relu", name="conv")(inputs)
    x = layers.Reshape(((side // 4) ** 2 * 4,))(x)
    return networks.seeded(keras.Model(inputs, layers.Dense(3, name="head")(x)))


class Subclassed(keras.Model):
    def __init__(self, side):
        super().__init__()
        self.inner = fixed(side)

    def build(self, shape):
        self.built = True

    def call(self, x):
        return self.inner(x)


def subclassed(side):
    inputs = keras.Input((None, None, 3))
    model = Subclassed(side)
    model.build((None, None, None, 3))
    return keras.Model(inputs, model(inputs))


PINNED = {
    "around 96": (lambda: around(96), 96),
    "around 224": (lambda: around(224), 224),
    "around 52": (lambda: around(52), 52),
    "scaled before": (lambda: around(64, layers.Rescaling(1 / 255)), 64),
    "positions of 96": (lambda: with_positions(96), 96),
    "positions of 128": (lambda: with_positions(128), 128),
}
PHOTO = np.random.default_rng(0).integers(0, 256, (70, 110, 3), np.uint8)


@pytest.mark.parametrize("name", PINNED)
def test_pictures_are_brought_to_the_size_that_fits_inside(name):
    make, side = PINNED[name]
    model = make()
    assert graph_of(model).inputs[0].shape == (side, side, 3)
    assert tfcam.layers(model).default.endswith("conv")
    found = tfcam.explain(model, PHOTO, preprocess="raw")
    assert found.heatmap.shape == PHOTO.shape[:2]
    prepared = tfcam.metrics.Probe(model, PHOTO, preprocess="raw").inputs
    assert prepared.shape == (1, side, side, 3)
    # Given prepared at that size it is the same, and another size is told.
    again = tfcam.explain(model, prepared[0], target=found.target)
    np.testing.assert_allclose(again.raw, found.raw, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=rf"{side} x {side} x 3, .*\(70, 110, 3\)"):
        tfcam.explain(model, PHOTO.astype("float32") / 255, preprocess=None)


ANY = {
    "convolutions": lambda: keras.Model(i := keras.Input((None, None, 3)), body(i)),
    "resized before": lambda: around(96, layers.Resizing(96, 96)),
}


@pytest.mark.parametrize("make", ANY.values(), ids=ANY)
def test_where_any_size_will_do_pictures_keep_their_own(make):
    model = networks.seeded(make())
    assert graph_of(model).inputs[0].shape == (None, None, 3)
    assert tfcam.metrics.Probe(model, PHOTO, preprocess="raw").inputs.shape == (1, 70, 110, 3)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("make", ANY.values(), ids=ANY)
def test_pictures_of_several_sizes_together(make, tmp_path):
    model, rng = networks.seeded(make()), np.random.default_rng(3)
    sizes = [(70, 50), (70, 50), (48, 64), (70, 50)]
    pictures = [rng.integers(0, 256, (*size, 3)).astype("uint8") for size in sizes]
    asked = {"preprocess": "unit"}
    wanted = [tfcam.explain(model, picture, **asked) for picture in pictures]
    for found, one in zip(tfcam.Explainer(model, **asked)(pictures), wanted, strict=True):
        np.testing.assert_allclose(found.heatmap, one.heatmap, atol=1e-3)
    files = [tmp_path / f"{number}.png" for number in range(4)]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture[..., 0].astype("uint16") * 16).save(file)  # 12 bits of 16
    window = tfcam.images.Window(0, 4095, "unit")
    alone = tfcam.explain(model, files[2], preprocess=window).heatmap
    read = tfcam.Explainer(model, preprocess=window)(files[1:3])[1]
    np.testing.assert_allclose(read.heatmap, alone, atol=1e-3)
    options = {"methods": ["grad_cam"], "metrics": ["entropy"], "baselines": ()}
    table = tfcam.evaluate(model, pictures, **options, **asked).table
    np.testing.assert_allclose(table["probability"], [one.probability for one in wanted], rtol=1e-3)
    if wanted[0].raw.shape == wanted[2].raw.shape:
        store = tfcam.stream(model, pictures, to=tmp_path / "store", **asked)
        for number, one in enumerate(wanted):
            np.testing.assert_allclose(store[number].heatmap, one.heatmap, atol=1e-3)
        return
    with pytest.raises(ValueError, match=r"one shape.* of '000000', \(12, 16\) of '000002'\. Give"):
        tfcam.stream(model, pictures, to=tmp_path / "store", **asked)


def test_texts_of_an_open_length_with_weights_for_so_many_words():
    words = keras.Input((None,), dtype="int32")
    x = layers.Embedding(20, 4)(words)
    x = layers.Reshape((64, 4))(x)
    x = layers.Conv1D(4, 3, padding="same", activation="relu", name="conv")(x)
    model = networks.seeded(keras.Model(words, layers.Dense(2)(layers.Flatten()(x))))
    assert graph_of(model).inputs[0].shape == (64,)
    found = tfcam.explain(model, np.arange(64, dtype="int32") % 20, method="grad_cam")
    assert (found.layer, found.raw.shape) == ("conv", (64,))


def test_a_model_that_takes_nothing_says_what_it_says_itself():
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Reshape((7919,))(x)))
    with pytest.raises(ValueError, match="total size of the tensor must be unchanged"):
        tfcam.layers(model)
