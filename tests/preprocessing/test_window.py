"""``tfcam.images.Window``: values that are not 0..255, in each door that takes single pictures."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli import app
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


def test_what_reads_pictures_itself_says_so(model, tmp_path):
    ask = "takes no tfcam.images.Window: give it a list of tfcam.images.load_image"
    with pytest.raises(ValueError, match=f"stream reads .* {ask}"):
        tfcam.stream(model, [PIXELS], to=tmp_path / "store", preprocess=WINDOW)
    with pytest.raises(ValueError, match=f"evaluate reads .* {ask}"):
        tfcam.evaluate(model, [PIXELS], methods=["grad_cam"], preprocess=WINDOW)
    with pytest.raises(ValueError, match=r"verify needs the values .* Give image="):
        tfcam.verify(model, tfcam.explain(model, PIXELS), preprocess=WINDOW)
    with pytest.raises(ValueError, match="two numbers, the lower first; got"):
        tfcam.images.Window(240, -160)
    with pytest.raises(ValueError, match="preprocess must be 'auto', .* got 'unti'. Did you mean"):
        tfcam.explain(model, SCAN, preprocess=tfcam.images.Window(LOW, HIGH, "unti"))


def test_in_training(tmp_path):
    look = tfcam.callbacks.ExplainCallback([SCAN], target=[1], folder=tmp_path, preprocess=WINDOW)
    model = tfcam.demo_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.0
    model.fit(PIXELS[np.newaxis].astype("float32"), np.array([1]), verbose=0, callbacks=[look])
    assert look.explanations[0].score == pytest.approx(
        tfcam.explain(model, PIXELS, target=1).score, rel=1e-5
    )


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
    for window, message in (("0", "LOW,HIGH must be two numbers"), ("9,1", "the lower first")):
        wrong = ["diagnose", str(deep), "--model", "shapes", "--window", window]
        failed = CliRunner().invoke(app, wrong)
        assert failed.exit_code == 2
        assert message in failed.output
