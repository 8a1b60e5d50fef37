"""An option does at every door what it does at ``explain``."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

import tfcam
from tests import networks
from tests.model.test_several_inputs import as_list, siamese
from tfcam.metrics import class_sensitivity, energy, input_sensitivity, randomisation

RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 255, (12, 12, 3)).astype(np.uint8) for _ in range(4)]
BOXES = np.float32([[0, 0, 4, 12]])
EXAMPLES = [tfcam.Example(f"{number}", picture, BOXES) for number, picture in enumerate(PICTURES)]
# Each makes another map than none does.
OPTIONS = [{"score": "probability"}, {"grid": (1, 9)}]


@pytest.fixture(scope="module")
def model():
    """Nine tokens, 3 x 3 unless somebody says otherwise."""
    return networks.vit(prefix=0)


@pytest.fixture(scope="module")
def heads():
    """One map and two heads, which see other channels of it."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="map")(inputs)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = [layers.Dense(n, activation="softmax", name=f"head{n}")(x) for n in (3, 5)]
    return networks.seeded(keras.Model(inputs, outputs), 3)


def alone(heads):
    """The second head as a model of its own."""
    return keras.Model(heads.input, heads.outputs[1])


def heatmap(model, given, **options):
    options = {"preprocess": "unit", "method": "grad_cam", **options}
    return tfcam.explain(model, given, **options).heatmap


def measured(evaluation):
    table = evaluation.table
    return table[table.metric == "energy"].set_index("image")["value"].to_dict()


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_evaluate(model, options):
    chosen = {"methods": ["grad_cam"], "metrics": ["energy"], "baselines": ()}
    found = tfcam.evaluate(model, EXAMPLES, preprocess="unit", **chosen, **options)
    for example in EXAMPLES:
        wanted = heatmap(model, example.image, **options)
        assert not np.allclose(wanted, heatmap(model, example.image), atol=0.01)
        own = energy(wanted, BOXES)
        assert measured(found)[example.id] == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.thinned(1, kept="slow")
def test_recommend(model, options):
    chosen = {"methods": ["grad_cam", "layer_cam"], "metrics": ["deletion"], "preprocess": "unit"}
    found = tfcam.recommend(model, PICTURES, layers=["block0"], **chosen, **options)
    wanted = tfcam.evaluate(model, PICTURES, layer="block0", baselines=(), **chosen, **options)
    pd.testing.assert_frame_equal(found.evaluation.table, wanted.table)
    others = tfcam.recommend(model, PICTURES, layers=["block0"], **chosen).evaluation.table
    assert not np.allclose(found.evaluation.table["value"], others["value"])


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("which", ["left", "right"])
def test_evaluate_and_recommend_of_a_model_with_several_inputs(which):
    model, sides = as_list(), {"left": 12, "right": 8}
    pictures = {
        name: [RNG.integers(0, 255, (side, side, 3)).astype(np.uint8) for _ in range(3)]
        for name, side in sides.items()
    }
    facts = RNG.normal(size=(3, 4)).astype("float32")
    (other,) = set(sides) - {which}
    data = [
        tfcam.Example(str(n), pictures[which][n], BOXES, others=(pictures[other][n], facts[n]))
        for n in range(3)
    ]
    chosen = {"methods": ["grad_cam"], "input": which, "preprocess": "unit", "batch_size": 2}
    found = tfcam.evaluate(model, data, metrics=["energy"], baselines=(), **chosen)
    for n in range(3):
        given = [pictures["left"][n], pictures["right"][n], facts[n]]
        own = energy(heatmap(model, given, input=which), BOXES)
        assert measured(found)[str(n)] == pytest.approx(own, abs=1e-4)
    best = tfcam.recommend(model, data, metrics=["deletion"], **chosen)
    assert {path.split("_")[0] for path in best.table["layer"]} == {which}
    with pytest.raises(ValueError, match=r"beside it, left, facts, as others.*it has 0\."):
        tfcam.evaluate(model, pictures["right"], input="right", metrics=["energy"])


def annotate(file, name, x0, y0, x1, y1):
    """Write a box in the form of Pascal VOC, whose pixels count from 1."""
    file.write_text(
        f"<annotation><object><name>{name}</name><bndbox><xmin>{x0 + 1}</xmin>"
        f"<ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object></annotation>"
    )


@pytest.mark.slow
def test_recommend_finds_annotations_that_lie_elsewhere(tmp_path):
    model = tfcam.demo_model()
    drawn = [tfcam.scenes.draw_scene(seed) for seed in range(3)]
    (tmp_path / "pictures").mkdir()
    (tmp_path / "boxes").mkdir()
    for number, scene in enumerate(drawn):
        keras.utils.save_img(tmp_path / f"pictures/{number}.png", scene.image, scale=False)
        x0, y0, x1, y1 = (round(float(edge)) for edge in scene.boxes[0])
        annotate(tmp_path / f"boxes/{number}.xml", "star", x0, y0, x1, y1)
    chosen = {"methods": ["cam"], "layers": ["features"], "metrics": ["energy"]}
    found = tfcam.recommend(model, tmp_path / "pictures", annotations=tmp_path / "boxes", **chosen)
    given = [tfcam.Example(f"{n}", scene.image, scene.boxes) for n, scene in enumerate(drawn)]
    wanted = tfcam.recommend(model, given, **chosen).evaluation.table["value"]
    np.testing.assert_allclose(found.evaluation.table["value"], wanted, atol=0.02)
    with pytest.raises(
        ValueError,
        match="No metric gave a number for any of the 3 pictures: no picture has boxes or a mask",
    ):
        tfcam.recommend(model, tmp_path / "pictures", **chosen)


@pytest.mark.parametrize("options", [*OPTIONS, {"augment": True}, {"eigen": True}], ids=str)
@pytest.mark.thinned(1, kept="slow")
def test_stream(model, options, tmp_path):
    chosen = {"preprocess": "unit", "method": "grad_cam", "batch_size": 2}
    store = tfcam.stream(model, PICTURES[:3], to=tmp_path, **chosen, **options)
    for number, picture in enumerate(PICTURES[:3]):
        wanted = tfcam.explain(model, picture, **chosen, **options)
        plain = tfcam.explain(model, picture, **chosen)
        assert not np.allclose(wanted.heatmap, plain.heatmap, atol=0.01)
        np.testing.assert_allclose(store[number].raw, wanted.raw, rtol=1e-3, atol=1e-5)


def test_embed_takes_the_classes_of_an_output(heads):
    chosen = {"preprocess": "unit", "layer": "map"}
    found = tfcam.embed(heads, PICTURES, output=1, **chosen)
    wanted = tfcam.embed(alone(heads), PICTURES, **chosen)
    assert found.classes == wanted.classes
    with pytest.raises(ValueError, match="output='head3' or 'head5', or say the class of each"):
        tfcam.embed(heads, PICTURES, **chosen)
    named = keras.Model(heads.input, dict(zip(["few", "many"], heads.outputs, strict=True)))
    with pytest.raises(ValueError, match="2 outputs: name the one .* with output='few' or 'many'"):
        tfcam.embed(named, PICTURES, **chosen)


def test_embed_takes_the_classes_of_annotations(tmp_path):
    for folder in ("pictures", "boxes"):
        (tmp_path / folder).mkdir()
    for number, picture in enumerate(PICTURES):
        keras.utils.save_img(tmp_path / f"pictures/{number}.png", picture, scale=False)
        annotate(tmp_path / f"boxes/{number}.xml", f"kind {number % 2}", 0, 0, 4, 4)
    model = networks.make("sequential")
    found = tfcam.embed(
        model, tmp_path / "pictures", preprocess="unit", annotations=tmp_path / "boxes"
    )
    assert found.classes == ("kind 0", "kind 1", "kind 0", "kind 1")


@pytest.mark.thinned(1)
@pytest.mark.parametrize(
    ("check", "options"),
    [
        (class_sensitivity, OPTIONS[0]),
        (class_sensitivity, OPTIONS[1]),
        (input_sensitivity, OPTIONS[0]),  # the norm of a map is the same on any grid
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_sanity(model, check, options):
    chosen = {"preprocess": "unit", "methods": ["grad_cam"]}
    plain, found = (
        check(model, PICTURES[:2], **chosen),
        check(model, PICTURES[:2], **chosen, **options),
    )
    numbers = [column for column in plain if column != "method"]
    assert not np.allclose(plain[numbers], found[numbers], rtol=0.01)


def test_sanity_of_an_output(heads):
    chosen = {"preprocess": "unit", "methods": ["grad_cam"]}
    for check in (class_sensitivity, input_sensitivity):
        found = check(heads, PICTURES[:2], output=1, **chosen)
        wanted = check(alone(heads), PICTURES[:2], **chosen)
        pd.testing.assert_frame_equal(found, wanted, rtol=1e-4)
    with pytest.raises(ValueError, match="of a model with several say which with output="):
        class_sensitivity(heads, PICTURES[:2], **chosen)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_randomisation(model, options):
    chosen = {"preprocess": "unit", "methods": ["grad_cam"], "steps": 2}
    found = randomisation(model, PICTURES[:2], **chosen, **options)
    np.testing.assert_allclose(
        found.heatmaps["grad_cam"][0], heatmap(model, PICTURES[0], **options), atol=1e-3
    )


@pytest.mark.parametrize("which", ["one", "two"])
def test_randomisation_of_one_of_several_inputs(which):
    model, pair = siamese(), [picture / np.float32(255) for picture in PICTURES[:2]]
    found = randomisation(model, pair, methods=["grad_cam"], steps=1, preprocess=None, input=which)
    wanted = heatmap(model, pair, input=which, preprocess=None)
    np.testing.assert_allclose(found.heatmaps["grad_cam"][0], wanted, atol=1e-3)


@pytest.mark.parametrize(
    "options", [*OPTIONS, {"augment": True}, {"eigen": True}, {"labels": list("abc")}], ids=str
)
@pytest.mark.thinned(1, kept="slow")
def test_the_callback(model, options, tmp_path):
    trained = keras.models.clone_model(model)
    trained.set_weights(model.get_weights())
    trained.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    look = tfcam.callbacks.ExplainCallback(
        PICTURES[:2], folder=tmp_path, preprocess="unit", **options
    )
    inputs = np.stack(PICTURES) / np.float32(255)
    trained.fit(inputs, np.zeros(4), verbose=0, callbacks=[look])
    wanted = tfcam.explain(trained, PICTURES[0], preprocess="unit", **options)
    np.testing.assert_allclose(look.explanations[0].heatmap, wanted.heatmap, atol=1e-3)
    assert look.explanations[0].label == wanted.label
    with pytest.raises(TypeError, match="ExplainCallback has no freeze"):
        tfcam.callbacks.ExplainCallback(PICTURES, folder=tmp_path, freeze=True)


def test_attention_of_an_output_and_on_a_grid(heads, model):
    masks = np.zeros((2, 12, 12), "float32")
    masks[:, :4] = 1
    images, targets = np.stack(PICTURES[:2]) / np.float32(255), np.array([0, 1])
    found = tfcam.losses.AttentionLoss(heads, "map", output=1)(images, masks, targets)
    wanted = tfcam.losses.AttentionLoss(alone(heads), "map")(images, masks, targets)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    first, other = (
        tfcam.losses.AttentionLoss(model, "block0", grid=grid)(images, masks, targets).numpy()
        for grid in [(3, 3), (1, 9)]
    )
    assert not np.allclose(first, other, rtol=0.01)


def test_layers_lists_what_an_input_and_a_grid_allow():
    model = as_list()
    for name in ("left", "right"):
        assert tfcam.layers(model, input=name).default == f"{name}_last"
    tokens = networks.vit(prefix=0)
    shapes = {entry.path: entry.shape for entry in tfcam.layers(tokens, grid=(1, 9))}
    assert shapes["block0"] == (1, 9, 8)
    with pytest.raises(ValueError, match="grid must be"):
        tfcam.layers(tokens, grid=9)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("progress", [True, False])
def test_what_takes_long_shows_a_bar_where_it_is_asked_for(progress, capsys, tmp_path):
    model = networks.make("sequential")
    chosen = {"preprocess": "unit", "progress": progress}
    for call in (
        lambda: tfcam.embed(model, PICTURES, **chosen),
        lambda: tfcam.recommend(
            model, PICTURES, methods=["grad_cam"], metrics=["deletion"], **chosen
        ),
        lambda: class_sensitivity(model, PICTURES[:1], methods=["grad_cam"], **chosen),
        lambda: input_sensitivity(model, PICTURES[:1], methods=["grad_cam"], **chosen),
        lambda: randomisation(model, PICTURES[:1], methods=["grad_cam"], steps=1, **chosen),
    ):
        call()
        assert bool(capsys.readouterr().err) is progress
