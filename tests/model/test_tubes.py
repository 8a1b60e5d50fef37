"""Videos that are cut into tubes: tokens laid out by the part of the video that each is of."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfcam
from tests import networks
from tests.tolerances import rounding
from tests.zoo.by_hand import recorded

FRAMES, SIDE, DEPTH = 8, 16, 6
# How many tubes there are in time, down and across; each is 2 frames of 4 x 4 or 4 x 8 pixels.
GRID = (4, 4, 2)


def cut(video, order="thw"):
    """Tubes as einops cuts them: "b (t p) (h q) (w r) c -> b (t h w) (p q r c)", in any order."""
    t, h, w = GRID
    x = ops.reshape(video, (-1, t, FRAMES // t, h, SIDE // h, w, SIDE // w, 3))
    sides = {"t": 1, "h": 3, "w": 5}
    x = ops.transpose(x, (0, *(sides[side] for side in order), 2, 4, 6, 7))
    return ops.reshape(x, (-1, t * h * w, FRAMES // t * SIDE // h * SIDE // w * 3))


def by_convolution(video):
    x = layers.Conv3D(DEPTH, (2, 4, 8), strides=(2, 4, 8))(video)
    return ops.reshape(x, (-1, 32, DEPTH))


def attended(tokens):
    x = layers.LayerNormalization()(tokens)
    x = tokens + layers.MultiHeadAttention(2, 4)(x, x)
    return layers.LayerNormalization(name="last")(x)


def with_class_token(tokens, at_end):
    own = layers.Dense(DEPTH)(ops.mean(tokens, axis=1, keepdims=True) * 0)
    return ops.concatenate([tokens, own] if at_end else [own, tokens], axis=1)


def of_all(embed, at_end=None):
    """One sequence of all tubes, alone or beside a class token that the head does not read."""

    def build():
        video = keras.Input((FRAMES, SIDE, SIDE, 3))
        x = layers.Dense(DEPTH)(embed(video)) if embed is not by_convolution else embed(video)
        x = x if at_end is None else with_class_token(x, at_end)
        x = attended(x)
        x = layers.GlobalAveragePooling1D()(x)
        return networks.seeded(keras.Model(video, layers.Dense(3)(x)))

    return build


def frame_by_frame(as_batch):
    """Each row of tubes in time attends to itself alone, then time is summed up: ViViT, model 2."""

    def build():
        t, h, w = GRID
        video = keras.Input((FRAMES, SIDE, SIDE, 3))
        x = layers.Dense(DEPTH)(cut(video))
        x = ops.reshape(x, (-1, h * w, DEPTH) if as_batch else (-1, t, h * w, DEPTH))
        x = layers.LayerNormalization(name="last")(layers.Dense(DEPTH, activation="tanh")(x))
        x = ops.reshape(ops.mean(x, axis=-2), (-1, t, DEPTH))
        return networks.seeded(keras.Model(video, layers.Dense(3)(layers.LSTM(4)(x))))

    return build


MODELS = {
    "convolution": of_all(by_convolution),
    "cut": of_all(cut),
    "cut, time last": of_all(lambda video: cut(video, "hwt")),
    "cut, columns first": of_all(lambda video: cut(video, "wht")),
    "class token": of_all(cut, at_end=False),
    "class token at the end": of_all(by_convolution, at_end=True),
    "frames a batch": frame_by_frame(as_batch=True),
    "frames apart": frame_by_frame(as_batch=False),
}


def one_tube(place):
    """A video in which one tube alone is not black."""
    video = np.zeros((1, FRAMES, SIDE, SIDE, 3), "float32")
    t, y, x = place
    tube = (slice(2 * t, 2 * t + 2), slice(4 * y, 4 * y + 4), slice(8 * x, 8 * x + 8))
    video[(0, *tube)] = np.random.default_rng(1).normal(0, 3, (2, 4, 8, 3))
    return video


def size_of_activations(reading):
    return tf.reduce_sum(tf.abs(reading.activations), axis=-1)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.thinned(3, rest="slow")
def test_a_token_is_shown_where_its_tube_is(kind):
    model, place = MODELS[kind](), (2, 1, 1)
    listed = tfcam.layers(model)
    embedding = next(one.path for one in listed if one.kind in ("Dense", "Conv3D"))
    assert (listed.default, listed[-1].shape[:3]) == ("last", GRID)
    # Before anything is mixed, that tube alone is not as in a black video.
    video = one_tube(place)
    own = {"method": size_of_activations, "preprocess": None, "target": 0}
    lit, dark = (tfcam.explain(model, each, embedding, **own)[0] for each in (video, 0 * video))
    np.testing.assert_array_equal(np.argwhere(lit.raw - dark.raw), [place])
    assert lit.heatmap.shape == (FRAMES, SIDE, SIDE)


def codes(found):
    return [each.code for each in found.findings if each.code != "no_positive_evidence"]


def by_hand(model, kind, video, target):
    """Grad-CAM from a plain tape: tokens one by one, then laid out as they were cut."""
    with tf.GradientTape() as tape, recorded(model.get_layer("last"), tape, "output") as seen:
        score = model(video, training=False)[:, target]
    A, G = (np.asarray(each) for each in (seen[0], tape.gradient(score, seen[0])))
    A, G = (each.reshape(-1, *each.shape[-2:]) for each in (A, G))
    patches = {"class token": slice(1, None), "class token at the end": slice(-1)}
    A, G = (each[:, patches.get(kind, slice(None))].reshape(len(video), 32, -1) for each in (A, G))
    values = np.einsum("bk,bnk->bn", G.mean(axis=1), A)
    orders = {"cut, time last": (1, 2, 0), "cut, columns first": (2, 1, 0)}
    order = orders.get(kind, (0, 1, 2))
    laid = values.reshape(-1, *(GRID[axis] for axis in order))
    return np.moveaxis(laid, (1, 2, 3), np.add(order, 1))


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.thinned(3, rest="slow")
def test_a_map_of_tubes_is_as_by_hand(kind):
    model = MODELS[kind]()
    videos = np.random.default_rng(4).normal(0, 1, (2, FRAMES, SIDE, SIDE, 3)).astype("float32")
    wanted = by_hand(model, kind, videos, 1)
    explainer = tfcam.Explainer(model, preprocess=None)
    for _ in range(2):  # eager, then compiled
        for found, raw in zip(explainer(videos, 1), wanted, strict=True):
            np.testing.assert_allclose(found.raw, raw, atol=rounding(50) * np.abs(raw).max())
            assert codes(found) == ["prefix_tokens"] * kind.startswith("class token")


@pytest.mark.thinned(3, kept="slow")
@pytest.mark.parametrize("method", ["score_cam", "ablation_cam", "attention_rollout", "layer_cam"])
@pytest.mark.parametrize("kind", ["class token at the end", "cut, time last", "frames a batch"])
def test_other_methods_take_tubes(kind, method):
    model = MODELS[kind]()
    video = np.random.default_rng(4).normal(0, 1, (1, FRAMES, SIDE, SIDE, 3)).astype("float32")
    if kind == "frames a batch" and method == "attention_rollout":
        with pytest.raises(ValueError, match="attention"):
            tfcam.explain(model, video, method=method, target=0, preprocess=None)
        return
    found = tfcam.explain(model, video, method=method, target=0, preprocess=None)[0]
    assert found.raw.shape == GRID
    assert np.isfinite(found.raw).all()
    assert found.raw.any()


def test_what_is_cut_across_the_whole_video_has_no_place():
    """Cells of every second frame and every fourth row: where a token looks is no one place."""
    t, h, w = GRID
    x = video = keras.Input((FRAMES, SIDE, SIDE, 3))
    x = ops.reshape(x, (-1, FRAMES // t, t, SIDE // h, h, SIDE // w, w, 3))
    x = ops.reshape(ops.transpose(x, (0, 2, 4, 6, 1, 3, 5, 7)), (-1, 32, 192))
    x = layers.GlobalAveragePooling1D()(attended(layers.Dense(DEPTH)(x)))
    model = networks.seeded(keras.Model(video, layers.Dense(3)(x)))
    found = tfcam.explain(model, one_tube((0, 0, 0)), target=0, preprocess=None)[0]
    assert (found.layer, found.raw.shape) == ("last", GRID)
    assert codes(found) == ["place_unknown"]


def test_tubes_of_a_video_that_is_cropped_inside_lie_where_they_look():
    """Of the frames from the third on, without the first eight rows and the last eight columns."""
    x = video = keras.Input((FRAMES + 2, SIDE + 8, SIDE + 8, 3))
    x = layers.Cropping3D(((2, 0), (8, 0), (0, 8)))(x)
    x = layers.GlobalAveragePooling1D()(attended(by_convolution(x)))
    model = networks.seeded(keras.Model(video, layers.Dense(3)(x)))
    clip = np.zeros((1, FRAMES + 2, SIDE + 8, SIDE + 8, 3), "float32")
    clip[:, 2:, 8:, :-8] = one_tube((2, 1, 1))
    embedding = next(one.path for one in tfcam.layers(model) if one.kind == "Conv3D")
    own = {"method": size_of_activations, "preprocess": None, "target": 0}
    lit, dark = (tfcam.explain(model, each, embedding, **own)[0] for each in (clip, 0 * clip))
    assert codes(lit) == []
    bright = np.argwhere(lit.raw - dark.raw > 0.5 * (lit.raw - dark.raw).max())
    np.testing.assert_allclose(bright.mean(axis=0) + 0.5, (2 + 5, 8 + 6, 12), atol=0.6)


@pytest.mark.parametrize("margins", ["for a kernel", "for a pooling"])
def test_margins_that_only_a_kernel_needs_leave_a_video_where_it_is(margins):
    before = {
        "for a kernel": [layers.ZeroPadding3D(1), layers.Rescaling(2.0), layers.Conv3D(4, 3)],
        "for a pooling": [layers.Conv3D(4, 1), layers.ZeroPadding3D(1), layers.MaxPooling3D(3, 2)],
    }
    head = [layers.Conv3D(4, 1), layers.GlobalAveragePooling3D(), layers.Dense(3)]
    stack = [keras.Input((FRAMES, SIDE, SIDE, 3)), *before[margins], *head]
    model = networks.seeded(keras.Sequential(stack))
    found = tfcam.explain(model, one_tube((0, 0, 0)), target=0, preprocess=None)[0]
    assert codes(found) == []


def hidden_order(tokens):
    """Tokens that nothing is known of: each is computed of all, as by a mixing of tokens."""
    mixed = layers.Dense(32, name="mix")(ops.transpose(tokens, (0, 2, 1)))
    return layers.Dense(DEPTH, name="last")(ops.transpose(mixed, (0, 2, 1)))


def test_a_grid_says_how_tubes_lie_where_it_can_not_be_found():
    """Frames first, then rows and columns."""
    video = keras.Input((FRAMES, SIDE, SIDE, 3))
    x = hidden_order(by_convolution(video))
    model = networks.seeded(keras.Model(video, layers.Dense(3)(layers.Flatten()(x))))
    clip = np.random.default_rng(4).normal(0, 1, (1, FRAMES, SIDE, SIDE, 3)).astype("float32")
    asked = {"layer": "last", "target": 1, "preprocess": None}
    wanted = by_hand(model, "", clip, 1)[0]
    found = tfcam.explain(model, clip, grid=GRID, **asked)[0]
    np.testing.assert_allclose(found.raw, wanted, atol=rounding(50) * np.abs(wanted).max())
    assert [one.shape for one in tfcam.layers(model, grid=GRID) if one.path == "last"] == [
        (*GRID, DEPTH)
    ]
    other = tfcam.explain(model, clip, grid=(2, 4, 4), **asked)[0]
    assert other.raw.shape == (2, 4, 4)
    np.testing.assert_array_equal(other.raw.ravel(), found.raw.ravel())


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        (
            (4, 4),
            r"video or volume grid must be \(frames, height, width\), of a picture .*\(4, 4\)",
        ),
        ((3, 4, 3), r"grid=\(3, 4, 3\) is for layers that give tokens .* does not"),
        (
            (0, 4, 2),
            r"grid must be \(height, width\), in patches, of videos \(frames, height, width\)",
        ),
    ],
)
def test_a_grid_that_does_not_fit_a_video_is_refused(grid, told):
    model, clip = MODELS["convolution"](), one_tube((0, 0, 0))
    for call in (tfcam.explain, tfcam.compare, tfcam.diagnose):
        with pytest.raises(ValueError, match=told):
            call(model, clip[0], grid=grid, preprocess=None)
