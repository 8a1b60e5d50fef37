"""``tfcam.images.Window``: values that are not 0..255, in each door."""

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli.commands import app
from tfcam.images import load_image

LOW, HIGH = -160, 240
SCENE = tfcam.scenes.draw_scene(3, kinds=["star"]).image
# What a scanner gives: the scene's grey, spread over the window, and what lies far outside of it.
SCAN = (LOW + SCENE.mean(-1) * (HIGH - LOW) / 255).round().astype(np.int16)
SCAN[:4], SCAN[-4:] = -1024, 3000
PIXELS = load_image(SCAN, window=(LOW, HIGH))
WINDOW = tfcam.images.Window(LOW, HIGH)


@pytest.fixture(scope="module")
def model():
    return tfcam.demo_model()


@pytest.mark.parametrize("given", [SCAN, SCAN.astype("float32"), SCAN[..., np.newaxis]])
def test_a_window_explains_what_its_pixels_do(model, given):
    wanted = tfcam.explain(model, PIXELS, target=1)
    found = tfcam.explain(model, given, target=1, preprocess=WINDOW)
    np.testing.assert_array_equal(found.raw, wanted.raw)
    np.testing.assert_array_equal(found.image, PIXELS)
    assert found.score == wanted.score
    assert found.preprocessing == f"-160..240 as 0..255: {wanted.preprocessing}"
    assert "nearly_black" not in [each.code for each in found.findings]


@pytest.mark.slow
def test_every_door_of_single_pictures_takes_it(model):
    wanted = tfcam.explain(model, PIXELS, target=1)
    batch = tfcam.Explainer(model, preprocess=WINDOW)([SCAN, SCAN], 1)
    compared = tfcam.compare(model, SCAN, targets=[1], methods=["grad_cam"], preprocess=WINDOW)
    probe = tfcam.metrics.Probe(model, [SCAN], 1, preprocess=WINDOW)
    verified = tfcam.verify(model, wanted, image=SCAN, preprocess=WINDOW, draws=19)
    plain = tfcam.verify(model, wanted, draws=19)
    for found in (*batch, compared[0, 0]):
        assert found.score == pytest.approx(wanted.score, rel=1e-5)
    np.testing.assert_allclose(probe.inputs[0], PIXELS.astype("float32"))
    assert verified.p_value == plain.p_value
    told = tfcam.diagnose(model, SCAN, preprocess=WINDOW)
    assert "-160..240 as 0..255" in str(told)
    raw = tfcam.explain(model, SCAN, target=1, preprocess=tfcam.images.Window(LOW, HIGH, "raw"))
    assert raw.score == pytest.approx(wanted.score, rel=1e-5)


SCANS = [SCAN, SCAN[::-1].copy(), SCAN.T.copy(), SCAN[:, ::-1].copy()]
CUT = [load_image(scan, window=(LOW, HIGH)) for scan in SCANS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The scans as files of 16 bits, whose values are counted from -1024."""
    place = tmp_path_factory.mktemp("scans")
    for number, scan in enumerate(SCANS):
        Image.fromarray((scan + 1024).astype(np.uint16)).save(place / f"{number}.png")
    return place


@pytest.mark.parametrize("form", ["folder", "list", "array", "floats", "tf.data"])
@pytest.mark.thinned(2, rest="slow")
def test_a_data_set_is_read_with_it(model, folder, tmp_path, form):
    by = 1024 if form == "folder" else 0
    window = tfcam.images.Window(LOW + by, HIGH + by)
    data = {
        "folder": folder,
        "list": SCANS,
        "array": np.stack(SCANS),
        "floats": [scan.astype("float32") for scan in SCANS],
        "tf.data": tf.data.Dataset.from_tensor_slices(np.stack(SCANS)[..., np.newaxis]),
    }[form]
    made = tfcam.stream(model, data, to=tmp_path / "store", target=1, preprocess=window)
    kept = tfcam.open_store(tmp_path / "store", data=data)  # the window is the store's
    for row, pixels in enumerate(CUT):
        wanted = tfcam.explain(model, pixels, target=1)
        np.testing.assert_allclose(made[row].raw, wanted.raw, atol=1e-5)
        np.testing.assert_array_equal(made[row].image, pixels)
        np.testing.assert_array_equal(kept[row].image, pixels)
        assert made[row].preprocessing == f"{window.described}{wanted.preprocessing}"
    given = np.asarray(SCANS[1]) + by
    np.testing.assert_array_equal(kept.explanation(1, given).image, CUT[1])
    again = {"to": tmp_path / "store", "target": 1}
    assert len(tfcam.stream(model, data, preprocess=window, **again)) == 4
    for other in ("auto", tfcam.images.Window(LOW + by, HIGH + by + 1)):
        with pytest.raises(ValueError, match=r"other settings \(.*picture_window"):
            tfcam.stream(model, data, preprocess=other, **again)


@pytest.mark.slow
def test_what_measures_many_pictures_reads_them_with_it(model, tmp_path):
    asked = {"methods": ["cam", "eigen_cam"], "metrics": ["deletion"]}
    wanted = tfcam.evaluate(model, CUT, baselines=(), **asked)
    kept = {"to": tmp_path / "kept", "baselines": ()}
    found = tfcam.evaluate(model, SCANS, preprocess=WINDOW, **kept, **asked)
    np.testing.assert_allclose(found.table["value"], wanted.table["value"], atol=1e-6)
    assert found.settings["preprocessing"].startswith("-160..240 as 0..255: ")
    with pytest.raises(ValueError, match=r"picture_window: \[-160, 240\] there, \[-160, 241\] now"):
        tfcam.evaluate(model, SCANS, preprocess=tfcam.images.Window(LOW, 241), **kept, **asked)
    best = tfcam.recommend(model, SCANS, layers=["features"], preprocess=WINDOW, **asked)
    assert best.sentence == tfcam.recommend(model, CUT, layers=["features"], **asked).sentence
    shown = tfcam.embed(model, SCANS, "features", preprocess=WINDOW)
    np.testing.assert_allclose(
        shown.features[0], tfcam.embed(model, CUT, "features").features[0], rtol=1e-4
    )
    np.testing.assert_array_equal(shown.thumbnails, tfcam.embed(model, CUT).thumbnails)


def test_what_is_no_window_is_told(model):
    with pytest.raises(ValueError, match=r"verify needs the values .* Give image="):
        tfcam.verify(model, tfcam.explain(model, PIXELS), preprocess=WINDOW)
    with pytest.raises(ValueError, match="two numbers, the lower first; got"):
        tfcam.images.Window(240, -160)
    with pytest.raises(ValueError, match="preprocess must be 'auto', .* got 'unti'. Did you mean"):
        tfcam.explain(model, SCAN, preprocess=tfcam.images.Window(LOW, HIGH, "unti"))


@pytest.mark.slow
def test_in_training(tmp_path):
    look = tfcam.callbacks.ExplainCallback([SCAN], target=[1], folder=tmp_path, preprocess=WINDOW)
    model = tfcam.demo_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.0
    model.fit(PIXELS[np.newaxis].astype("float32"), np.array([1]), verbose=0, callbacks=[look])
    assert look.explanations[0].score == pytest.approx(
        tfcam.explain(model, PIXELS, target=1).score, rel=1e-5
    )


@pytest.mark.slow
def test_on_the_command_line(tmp_path):
    deep = tmp_path / "deep.png"  # 12 bits in a file of 16
    values = (SCENE.mean(-1) * 4095 / 255).round().astype(np.uint16)
    Image.fromarray(values).save(deep)

    def told(*more):
        found = CliRunner().invoke(
            app, ["explain", str(deep), "--model", "shapes", "--json", *more]
        )
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)[0]

    wanted = tfcam.explain(tfcam.demo_model(), load_image(deep, window=(0, 4095)))
    found = told("--window", "0,4095")
    assert found["score"] == pytest.approx(wanted.score, rel=1e-5)
    assert "nearly_black" not in found["findings"]
    assert "nearly_black" in told()["findings"]
    (tmp_path / "many").mkdir()
    Image.fromarray(values).save(tmp_path / "many" / "1.png")
    told_of = [str(tmp_path / "many"), "--window", "0,4095"]
    for command, *more in (
        ("explain-dataset", "--to", str(tmp_path / "store")),
        ("evaluate", "--method", "cam", "--metric", "deletion", "--baseline", "full_image"),
        ("recommend", "--method", "cam", "--metric", "deletion", "--layer", "features"),
    ):
        done = CliRunner().invoke(app, [command, "shapes", *told_of, *more])
        assert done.exit_code == 0, done.output
    assert tfcam.open_store(tmp_path / "store")[0].score == pytest.approx(wanted.score, rel=1e-4)
    # Occlusion has a window of its own.
    kept = tmp_path / "hidden.npz"
    hide = ["--method", "occlusion", "--option", "window=128", "--output", str(kept)]
    assert told("--window", "0,4095", *hide)["score"] == pytest.approx(wanted.score, rel=1e-5)
    assert np.ptp(tfcam.Explanation.load(kept).raw) == 0
    for window, message in (("0", "LOW,HIGH must be two numbers"), ("9,1", "the lower first")):
        wrong = ["diagnose", str(deep), "--model", "shapes", "--window", window]
        failed = CliRunner().invoke(app, wrong)
        assert failed.exit_code == 2
        assert message in failed.output
