"""What nothing can be called is one clear error, at every door that takes a path."""

import pytest

import tfcam
from tfcam.callbacks import ExplainCallback
from tfcam.scenes import draw_scene

PICTURE = draw_scene(1).image


@pytest.fixture(scope="module")
def explanation(shapes):
    return tfcam.explain(shapes, PICTURE)


DOORS = {
    "stream": lambda model, _, path: tfcam.stream(model, [PICTURE], to=path),
    "stream, data": lambda model, _, path: tfcam.stream(model, path, to="store"),
    "stream_on_ray": lambda model, _, path: tfcam.stream_on_ray(model, "pictures", to=path),
    "evaluate": lambda model, _, path: tfcam.evaluate(
        model, [PICTURE], methods=["grad_cam"], metrics=["average_drop"], to=path
    ),
    "recommend": lambda model, _, path: tfcam.recommend(
        model, [PICTURE], methods=["grad_cam"], metrics=["average_drop"], to=path
    ),
    "annotations": lambda model, _, path: tfcam.stream(model, ".", to="store", annotations=path),
    "open_store": lambda model, _, path: tfcam.open_store(path),
    "Explanation.load": lambda model, _, path: tfcam.Explanation.load(path),
    "Dream.load": lambda model, _, path: tfcam.Dream.load(path),
    "save": lambda model, explanation, path: explanation.save(path),
    "export": lambda model, _, path: tfcam.Explainer(model).export(path),
    "report": lambda model, _, path: tfcam.report(model, PICTURE).save(path),
    "TFLite": lambda model, _, path: tfcam.BlackBox.from_tflite(path),
    "SavedModel": lambda model, _, path: tfcam.BlackBox.from_saved_model(path),
    "folder of maps": lambda model, _, path: ExplainCallback([PICTURE], folder=path),
    "log_dir": lambda model, _, path: ExplainCallback([PICTURE], log_dir=path),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", ["a\0b.png", "a" * 300 + ".png"])
def test_what_nothing_can_be_called_is_told(shapes, explanation, tmp_path, monkeypatch, door, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"must be a path that can be used; 'a.*: .*(null|long)"):
        DOORS[door](shapes, explanation, path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("door", [door for door in DOORS if door != "stream, data"])
@pytest.mark.parametrize("path", [3, b"maps"])
def test_what_is_no_path_is_told(shapes, explanation, tmp_path, monkeypatch, door, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match="must be a path, as a text or a pathlib.Path; got"):
        DOORS[door](shapes, explanation, path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("place", ["link", "file/inside"])
def test_a_folder_that_can_not_be_made_is_told(shapes, tmp_path, place):
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="to must be a folder; .*(what is not there|in, a file)"):
        tfcam.stream(shapes, [PICTURE], to=tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"
