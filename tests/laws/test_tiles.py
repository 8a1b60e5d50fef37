"""``tile=`` does at every door what it does at ``explain``."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tests import networks
from tests.explainer.test_tiling import TILE, local, two_layers
from tfcam.cli.commands import app
from tfcam.metrics import energy

RNG = np.random.default_rng(0)
SIZES = [(28, 40), (9, 50), (29, 39), TILE, (28, 40)]
PICTURES = [RNG.integers(0, 256, (*size, 3)).astype(np.uint8) for size in SIZES]
BOXES = np.float32([[2, 2, 30, 9]])
EXAMPLES = [tfcam.Example(str(n), each, BOXES, n % 3) for n, each in enumerate(PICTURES)]
ASKED = {"tile": TILE, "preprocess": "unit", "batch_size": 4}


@pytest.fixture(scope="module")
def model():
    return local(TILE)


def explained(model, picture, *place, **options):
    return tfcam.explain(model, picture, *place, **{"target": 1, **ASKED, **options})


def check_same(found, wanted):
    np.testing.assert_allclose(found.raw, wanted.raw, atol=1e-5 * np.abs(wanted.raw).max())
    np.testing.assert_allclose(found.heatmap, wanted.heatmap, atol=1e-5)
    np.testing.assert_array_equal(found.image, wanted.image)
    assert found.score == pytest.approx(wanted.score, rel=1e-4)
    assert (found.target, found.layer, found.method) == (wanted.target, wanted.layer, wanted.method)
    assert (found.findings, found.preprocessing) == (wanted.findings, wanted.preprocessing)
    for name in ("tile", "tile_cell"):
        assert tuple(found.options[name]) == wanted.options[name]


def test_compare(model):
    chosen = {"methods": ["grad_cam", "saliency"], "layers": ["cells", "mixed"], "targets": [1, 2]}
    picture = PICTURES[1]
    found = tfcam.compare(model, picture, **chosen, **ASKED)
    for row, method in zip(found.cells, chosen["methods"], strict=True):
        for number, cell in enumerate(row):
            place = [] if method == "saliency" else [chosen["layers"][number // 2]]
            target = chosen["targets"][number % 2]
            wanted = explained(model, picture, *place, method=method, target=target)
            check_same(cell, wanted)


def test_compare_of_layers_whose_tiles_begin_elsewhere():
    """Cells of 8 and 12 pixels in tiles of 24."""
    model = two_layers()
    asked = {"tile": (24, 24), "preprocess": "unit"}
    names = ["fine", "coarse"]
    chosen = {"layers": names, "methods": ["layer_cam"], "targets": [1]}
    (row,) = tfcam.compare(model, PICTURES[0], **chosen, **asked).cells
    for cell, layer in zip(row, names, strict=True):
        check_same(cell, explained(model, PICTURES[0], layer, method="layer_cam", tile=(24, 24)))


@pytest.mark.slow
def test_compare_of_models(model):
    models = [model, networks.seeded(local(TILE), 5)]
    found = tfcam.compare(models, PICTURES[2], methods=["grad_cam"], targets=[2], **ASKED)
    for (cell,), own in zip(found.cells, models, strict=True):
        check_same(cell, explained(own, PICTURES[2], target=2))


@pytest.mark.parametrize("method", ["grad_cam", "saliency"])
@pytest.mark.thinned(1)
def test_stream_of_pictures_of_several_sizes(model, method, tmp_path):
    asked = {**ASKED, "target": 1, "method": method, "shard_size": 2}
    made = tfcam.stream(model, PICTURES, to=tmp_path, **asked)
    assert made.settings["tile"] == str(TILE)
    store = tfcam.open_store(tmp_path, data=PICTURES)
    wanted = [explained(model, each, method=method) for each in PICTURES]
    for row, own in zip(store, wanted, strict=True):
        check_same(row, own)
        np.testing.assert_allclose(row.signed_heatmap, own.signed_heatmap, atol=1e-5)
    most = np.max([own.raw.shape for own in wanted], axis=0)
    assert store.raws.shape == (5, *most)
    h, w = wanted[1].raw.shape[:2]
    np.testing.assert_array_equal(store.raws[1, :h, :w], store[1].raw)
    assert np.isnan(store.raws[1, h:]).all()
    for tile in (None, (24, 16)):
        with pytest.raises(ValueError, match=r"with other settings \(tile: '\(16, 24\)' there"):
            tfcam.stream(model, PICTURES, to=tmp_path, **{**asked, "tile": tile})


@pytest.mark.slow
def test_a_stream_that_was_stopped_goes_on(model, tmp_path):
    asked = {**ASKED, "target": "label", "shard_size": 2}
    pairs = [(each, n % 3) for n, each in enumerate(PICTURES)]
    whole = tfcam.stream(model, pairs, to=tmp_path / "whole", **asked)
    tfcam.stream(model, pairs, to=tmp_path / "again", **asked)
    for gone in ("maps-00000.parquet", "maps-00002.parquet", "done.json"):
        (tmp_path / "again" / gone).unlink()
    again = tfcam.stream(model, pairs, to=tmp_path / "again", **{**asked, "tile": list(TILE)})
    assert again.finished
    for row, own, (picture, label) in zip(again, whole, pairs, strict=True):
        np.testing.assert_array_equal(row.raw, own.raw)
        assert (row.target, row.score) == (own.target, own.score)
        check_same(row, explained(model, picture, target=label))


def test_stream_of_floats_beside_pixels(model, tmp_path):
    """What is prepared can't be in a batch with what is not."""
    floats = [each.astype(np.float32) / 255 for each in PICTURES[:2]]
    data = [PICTURES[0], floats[1], PICTURES[2]]
    asked = {**ASKED, "preprocess": None}
    store = tfcam.stream(model, data, to=tmp_path, target=1, shard_size=3, **asked)
    for row, own in zip(store, data, strict=True):
        found, wanted = row.raw, explained(model, own, preprocess=None).raw
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_a_stored_map_that_does_not_cover_its_picture_is_damaged(model, tmp_path, monkeypatch):
    store = tfcam.stream(model, PICTURES[:1], to=tmp_path, target=1, **ASKED)
    facts = store._facts(store._find(0)[0])
    for cell in ([2, 2], [4], None, ["a", 4], [4, 0]):
        broken = {**facts, "options": {**facts["options"], "tile_cell": cell}}
        monkeypatch.setattr(store, "_facts", lambda table, broken=broken: broken)
        with pytest.raises(ValueError, match="row of '000000' in .* is damaged: A map of tiles"):
            store[0]


def test_diagnose(model):
    found = tfcam.diagnose(model, PICTURES[0], target=1, tile=TILE, preprocess="unit")
    wanted = explained(model, PICTURES[0])
    assert found.findings == wanted.findings
    assert found.facts["explained"] == f"class 1, {wanted.score:.6g}"
    assert found.facts["tiles"] == "9 of 16 x 24 pixels"
    bright = PICTURES[0].astype(np.float32)
    bright[-4:, -4:] = 3e38
    (broken,) = tfcam.diagnose(model, bright, target=1, tile=TILE, preprocess=None)
    assert broken.code == "not_finite"


def test_evaluate(model):
    chosen = {"methods": ["grad_cam", "lrp"], "layer": ["cells", "mixed"]}
    asked = {"target": "label", "metrics": ["energy"], "baselines": (), **chosen, **ASKED}
    result = tfcam.evaluate(model, EXAMPLES[:2], **asked)
    assert result.settings["tile"] == [*TILE]
    assert len(result.table) == 6
    for row in result.table.itertuples():
        example = EXAMPLES[int(row.image)]
        place = [row.layer] if row.layer else []
        wanted = explained(model, example.image, *place, method=row.method, target=example.label)
        assert row.value == pytest.approx(energy(wanted.heatmap, BOXES), abs=1e-5)


def test_an_evaluation_remembers_its_tiles(model, tmp_path):
    asked = {"methods": ["grad_cam"], "metrics": ["gini"], "baselines": (), "target": 1, **ASKED}
    made = tfcam.evaluate(model, EXAMPLES[:2], to=tmp_path, **asked)
    again = tfcam.evaluate(model, EXAMPLES[:2], to=tmp_path, **{**asked, "tile": list(TILE)})
    assert again.table.equals(made.table)
    for tile in (None, (24, 16)):
        with pytest.raises(ValueError, match="with other settings"):
            tfcam.evaluate(model, EXAMPLES[:2], to=tmp_path, **{**asked, "tile": tile})


@pytest.mark.slow
def test_recommend(model):
    asked = {"methods": ["grad_cam", "layer_cam"], "metrics": ["energy"], "target": 1, **ASKED}
    found = tfcam.recommend(model, EXAMPLES, layers=["cells"], **asked)
    wanted = tfcam.evaluate(model, EXAMPLES, layer=["cells"], baselines=(), **asked)
    assert found.evaluation.table.equals(wanted.table)
    assert found.evaluation.settings["tile"] == [*TILE]


@pytest.mark.slow
def test_report(model, tmp_path):
    asked = {**ASKED, "methods": ["grad_cam", "layer_cam", "saliency"], "layers": ["cells"]}
    found = tfcam.report(model, PICTURES[0], target=1, **asked)
    check_same(found.explanation, explained(model, PICTURES[0], "cells"))
    assert found.explanation.verification is None
    assert not found.answers
    cells = {cell.method: cell for each in found.comparisons.values() for cell in each}
    check_same(cells["layer_cam"], explained(model, PICTURES[0], "cells", method="layer_cam"))
    check_same(cells["saliency"], explained(model, PICTURES[0], method="saliency"))
    assert "The map is laid of tiles" in found.to_html()


def test_a_black_box(tmp_path):
    """Brightness of the middle of what it is shown, at every door."""

    def ask(images):
        bright = np.asarray(images)[:, 4:12, 8:16].mean((1, 2, 3)) / 255
        return np.stack([bright, 1 - bright], axis=1)

    box = tfcam.BlackBox(ask, (*TILE, 3), probabilities=True)
    asked = {"tile": TILE, "preprocess": "raw", "batch_size": 4}
    hide = {"window": 8, "stride": 8}
    wanted = explained(box, PICTURES[1], target=0, method="occlusion", **asked, **hide)
    assert wanted.heatmap.any()
    method = ("occlusion", hide)
    compared = tfcam.compare(box, PICTURES[1], methods=[method], targets=[0], **asked)
    check_same(compared[0, 0], wanted)
    options = {**asked, **hide, "target": 0, "method": "occlusion"}
    store = tfcam.stream(box, PICTURES[1:2], to=tmp_path, **options)
    check_same(store[0], wanted)
    told = {"methods": [method], "metrics": ["energy"], "baselines": (), "target": 0, **asked}
    (value,) = tfcam.evaluate(box, EXAMPLES[1:2], **told).table["value"]
    assert value == pytest.approx(energy(wanted.heatmap, BOXES), abs=1e-5)


DOORS = {
    "compare": lambda model, to, **asked: tfcam.compare(
        model, PICTURES[0], targets=[asked.pop("target")], **asked
    ),
    "stream": lambda model, to, **asked: tfcam.stream(model, PICTURES, to=to, **asked),
    "diagnose": lambda model, to, **asked: tfcam.diagnose(model, PICTURES[0], **asked),
    "report": lambda model, to, **asked: tfcam.report(model, PICTURES[0], **asked),
    "evaluate": lambda model, to, **asked: tfcam.evaluate(
        model, EXAMPLES, metrics=["energy"], **asked
    ),
    "recommend": lambda model, to, **asked: tfcam.recommend(
        model, EXAMPLES, metrics=["energy"], **asked
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_what_tiles_can_not_do_is_refused_at_every_door(model, door, tmp_path):
    ask, asked = DOORS[door], {"tile": TILE, "preprocess": "unit"}
    named = "targets" if door == "compare" else "target"
    with pytest.raises(ValueError, match=f"name the class by {named}=; got None"):
        ask(model, tmp_path, target=None, **asked)
    with pytest.raises(ValueError, match=r"tile must be \(height, width\), in pixels; got \(16,\)"):
        ask(model, tmp_path, target=1, **{**asked, "tile": (16,)})
    two = keras.Input((*TILE, 3)), keras.Input((*TILE, 3))
    mixed = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(layers.Add()(two)))
    with pytest.raises(ValueError, match="tile= is for models with one input, of images"):
        ask(keras.Model(two, mixed), tmp_path, target=1, **asked)
    assert not list(tmp_path.iterdir())


def test_what_asks_about_the_whole_picture_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"^insertion, road ask the model about a picture at once"):
        tfcam.evaluate(model, EXAMPLES, metrics=["insertion", "energy", "road"], target=1, **ASKED)
    with pytest.raises(ValueError, match=r"ask the model about a picture at once.*\"energy\""):
        tfcam.recommend(model, EXAMPLES, target=1, **ASKED)
    with pytest.raises(ValueError, match="leave tile= out"):
        tfcam.stream(model, PICTURES, to=tmp_path, target=1, verify=True, **ASKED)
    with pytest.raises(ValueError, match="this map is laid of tiles"):
        tfcam.verify(model, explained(model, PICTURES[3]), preprocess="unit")


def typed(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.mark.slow
def test_the_command_line(model, at_work):
    model.save("local.keras")
    (at_work / "pictures").mkdir()
    for number, picture in enumerate(PICTURES[:2]):
        Image.fromarray(picture).save(f"pictures/{number}.png")
    tiles = ["--tile", "16,24", "--preprocess", "unit", "--batch-size", "4"]
    data = ["local.keras", "pictures", "--target", 1]
    found = typed("explain-dataset", *data, "--to", "maps", *tiles)
    assert found.exit_code == 0, found.stderr
    for row, picture in zip(tfcam.open_store("maps", data="pictures"), PICTURES, strict=False):
        check_same(row, explained(model, picture))
    shown = ["pictures/0.png", "--model", "local.keras", *tiles]
    found = typed("compare", *shown, "--target", 1, "--method", "grad_cam", "--output", "a.png")
    assert found.exit_code == 0, found.stderr
    found = typed("evaluate", *data, "--metric", "deletion", *tiles)
    assert found.exit_code == 2
    assert "deletion ask the model about a picture at once" in " ".join(found.stderr.split())
    found = typed("explain", *shown, "--target", 1, "--verify")
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)
    assert "leave tile= out" in found.stderr
    found = typed("verify", *shown, "--target", 1)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1)
    assert "this map is laid of tiles" in found.stderr
    found = typed("diagnose", "pictures/0.png", "--model", "local.keras", "--target", 1, *tiles[:4])
    assert "9 of 16 x 24 pixels" in found.stdout
    found = typed("explain", *shown, "--target", 1, "--json")
    assert json.loads(found.stdout)[0]["target"] == 1
