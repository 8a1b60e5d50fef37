"""Pooled features and their projection are those of plain Keras and NumPy in float64."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers
from PIL import Image

import tfcam
from tests.representations.test_features import given_by

KINDS = ["star", "square", "ring", "star", "square", "ring"]
KINDS = [kind if kind in tfcam.scenes.KINDS else tfcam.scenes.KINDS[0] for kind in KINDS]
PICTURES = [tfcam.scenes.draw_scene(n, kinds=[kind]).image for n, kind in enumerate(KINDS)]


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


def test_features_are_means_over_positions_and_points_their_principal_components():
    model = tfcam.demo_model()
    found = tfcam.embed(model, PICTURES, ["stem_relu", "features"], classes=KINDS, batch_size=4)
    assert found.layers == ("stem_relu", "features")
    inputs = np.stack(PICTURES).astype(np.float32)
    for number, layer in enumerate(found.layers):
        wanted = given_by(model, layer, inputs).astype(np.float64).mean(axis=(1, 2))
        np.testing.assert_allclose(found.features[number], wanted, rtol=1e-4, atol=1e-6)
        # Pearson: the right singular vectors of the centred matrix.
        centred = wanted - wanted.mean(axis=0)
        _, sizes, vectors = np.linalg.svd(centred, full_matrices=False)
        points = centred @ vectors[:2].T
        signs = np.sign((points * found.points[number]).sum(axis=0))
        np.testing.assert_allclose(found.points[number], points * signs, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            found.explained[number], (sizes**2 / (sizes**2).sum())[:2], rtol=1e-4
        )


def test_the_nearest_neighbours_are_counted_by_hand():
    from tfcam.representations.projection import share_of_neighbours

    features = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.5, 1.0], [0.0, 0.0]])
    # 0 and 1 point the same way, 2 and 3 nearly; what is all zero is as near to each.
    assert share_of_neighbours(features, ["a", "a", "b", "b", "a"]) == 1.0
    assert share_of_neighbours(features, ["a", "b", "b", "b", "a"]) == pytest.approx(3 / 5)


def test_classes_are_given_or_the_datas_or_predicted(tmp_path):
    model = tfcam.demo_model()
    given = tfcam.embed(model, PICTURES, classes=["x", "y"] * 3)
    assert given.classes == ("x", "y") * 3
    of_data = tfcam.embed(model, list(zip(PICTURES, KINDS, strict=True)))
    assert of_data.classes == tuple(KINDS)
    predicted = tfcam.embed(model, PICTURES, labels=tfcam.scenes.KINDS)
    each = tfcam.explain(model, PICTURES, labels=tfcam.scenes.KINDS)
    assert predicted.classes == tuple(one.label for one in each)
    unnamed = tfcam.embed(model, PICTURES)
    assert unnamed.classes == tuple(f"class {one.target}" for one in each)


def test_pictures_that_can_not_be_read_are_left_out_and_told(tmp_path):
    for number, picture in enumerate(PICTURES):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = tfcam.embed(tfcam.demo_model(), tmp_path)
    assert len(found.ids) == 6
    assert [each.id for each in found.skipped] == ["broken.png"]
    assert "left out broken.png" in repr(found)


@pytest.mark.slow
def test_t_sne_repeats_with_its_seed():
    one, other = (tfcam.embed(tfcam.demo_model(), PICTURES, by="tsne", seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.points, other.points)
    assert one.explained == ()
    # Pictures of one kind lie nearer to each other than to others.
    assert one.neighbours == other.neighbours


@pytest.mark.parametrize("thumbnails", [True, False])
def test_the_figure_says_what_it_shows(thumbnails, tmp_path):
    found = tfcam.embed(tfcam.demo_model(), PICTURES, ["stem_relu", "features"], classes=KINDS)
    figure = found.plot(thumbnails)
    assert figure.get_figwidth() == 8.0
    for axes, layer in zip(figure.axes, found.layers, strict=True):
        assert axes.get_title().startswith(f"{layer}\nthe nearest picture is of the same class")
        assert "of the variance" in axes.get_xlabel()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == sorted(set(KINDS))
    path = found.save(tmp_path / "points.png", thumbnails)
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("thumbnails", [True, False])
@pytest.mark.parametrize("layers", ["features", ["stem_relu", "features"]])
def test_every_point_is_inside_its_axes(thumbnails, layers):
    found = tfcam.embed(tfcam.demo_model(), PICTURES, layers, classes=KINDS)
    figure = found.plot(thumbnails)
    figure.canvas.draw()
    for axes, points in zip(figure.axes, found.points, strict=True):
        inside = axes.transAxes.inverted().transform(axes.transData.transform(points))
        assert inside.min() > 0.02
        assert inside.max() < 0.98
        assert np.ptp(inside, axis=0).min() > 0.7  # and they fill them
        assert len(axes.artists) == (len(PICTURES) if thumbnails else 0)


@pytest.mark.parametrize("count", [1, 9, 40, 63, 500])
@pytest.mark.parametrize(
    "words", ["", " of a name so long that four of them fit into no line at all"]
)
@pytest.mark.thinned(2)
def test_the_legend_leaves_room_however_many_classes_there_are(count, words):
    names = tuple(f"class {n}{words}" for n in range(count)) * (4 if count < 4 else 1)
    points = np.random.default_rng(0).normal(size=(2, len(names), 2)).astype(np.float32)
    thumbnails = np.zeros((len(names), 40, 40, 3), np.uint8)
    found = tfcam.Embedding(
        ("first", "x" * 90), points, (), names, thumbnails, names, "tsne", (), (0.5, 0.5)
    )
    figure = found.plot(thumbnails=False)
    figure.canvas.draw()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    for axes in figure.axes:
        assert box.y1 < axes.get_tightbbox().y0
        assert axes.get_window_extent().height > 2 * figure.dpi
        assert axes.get_tightbbox().x1 <= figure.bbox.x1
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= figure.bbox.x1
    shown = [text.get_text() for text in legend.get_texts()]
    assert len(shown) == min(count, 41)
    assert (shown[-1] == f"and {count - 40} more") == (count > 40)


def test_many_pictures_without_classes_are_drawn(tmp_path):
    """The classes that a network of a thousand predicts, each its own."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1000, activation="softmax"),
        ]
    )
    pictures = list(np.random.default_rng(0).integers(0, 256, (63, 8, 8, 3), np.uint8))
    found = tfcam.embed(model, pictures, "conv")
    assert found.save(tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_it_is_saved_whole_and_loaded_equal(tmp_path):
    pictures = [*PICTURES, b"no picture"]
    found = tfcam.embed(tfcam.demo_model(), pictures, ["stem_relu", "features"])
    loaded = tfcam.Embedding.load(found.save(tmp_path / "points.npz"))
    assert loaded == found
    assert (loaded.skipped, loaded.explained) == (found.skipped, found.explained)
    assert [each.dtype for each in loaded.features] == [np.float32] * 2
    assert repr(loaded) == repr(found)
    with pytest.raises(ValueError, match="holds no features; give a .npz that Features.save wrote"):
        tfcam.Features.load(tmp_path / "points.npz")


def test_bad_requests_are_told():
    demo = tfcam.demo_model()
    with pytest.raises(ValueError, match="At least 4 pictures are needed; got 2"):
        tfcam.embed(demo, PICTURES[:2])
    with pytest.raises(ValueError, match="classes must have one for each picture; got 2 for 6"):
        tfcam.embed(demo, PICTURES, classes=["a", "b"])
    with pytest.raises(ValueError, match="by must be one of .*pca.*tsne"):
        tfcam.embed(demo, PICTURES, by="umap")
    with pytest.raises(ValueError, match="No layer 'nowhere'"):
        tfcam.embed(demo, PICTURES, "nowhere")
    series = keras.Sequential([keras.Input((8, 2)), layers.Conv1D(3, 3, name="conv")])
    with pytest.raises(ValueError, match="embed is for models with one image input; .* takes"):
        tfcam.embed(series, PICTURES, "conv")
    masks = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Conv2D(2, 1, name="conv")]
    )
    with pytest.raises(ValueError, match="say the class of each with classes="):
        tfcam.embed(masks, [np.zeros((8, 8, 3), np.uint8)] * 4, "conv")


def test_the_default_layer_is_the_asked_outputs():
    image = keras.Input((16, 16, 3))
    shared = keras.layers.Conv2D(4, 3, strides=2, name="shared")(image)
    age = keras.layers.Conv2D(6, 3, name="of_age")(shared)
    pool = keras.layers.GlobalMaxPooling2D
    outputs = [keras.layers.Dense(1, name="age")(pool()(age))]
    outputs.append(keras.layers.Dense(3, activation="softmax", name="kind")(pool()(shared)))
    model = keras.Model(image, outputs)
    pictures = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), np.uint8)
    for output, layer in (("age", "of_age"), ("kind", "shared")):
        made = tfcam.embed(
            model, pictures, output=output, preprocess="unit", classes=[*"abab"], progress=False
        )
        assert made.layers == (layer,) == (tfcam.layers(model, output=output).default,)


@pytest.mark.parametrize(("by", "shares"), [("pca", (1.0, 0.0)), ("tsne", ())])
def test_pictures_of_one_channel_lie_on_a_line(by, shares):
    from tfcam.representations.projection import project

    values = np.float32([[3], [1], [4], [1], [5]])
    points, found = project(values, by, 0)
    assert np.isfinite(points).all()
    assert found == pytest.approx(shares)
    if by == "pca":
        np.testing.assert_allclose(np.abs(points[:, 0]), np.abs(values - 2.8)[:, 0], rtol=1e-6)
        np.testing.assert_allclose(points[:, 1], 0, atol=1e-6)


@pytest.mark.parametrize(("by", "shares"), [("pca", ((0.0, 0.0),)), ("tsne", ())])
def test_pictures_that_a_layer_gives_the_same_lie_on_one_point(by, shares):
    found = tfcam.embed(tfcam.demo_model(), PICTURES[:1] * 5, by=by, progress=False)
    assert (found.points[0] == 0).all()
    assert found.explained == shares
    found.plot()
