"""``tfcam evaluate`` and ``tfcam recommend`` as they are typed."""

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import tfcam
from tfcam.cli.commands import app


@pytest.fixture(autouse=True)
def pictures(at_work):
    folder = at_work / "pictures"
    folder.mkdir()
    for seed in range(3):
        scene = tfcam.scenes.draw_scene(seed)
        Image.fromarray(scene.image).save(folder / f"{seed}.png")
        x0, y0, x1, y1 = (int(each) for each in scene.boxes[0])
        (folder / f"{seed}.xml").write_text(
            f"<annotation><object><name>{tfcam.scenes.KINDS[scene.labels[0]]}</name><bndbox>"
            f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
            "</bndbox></object></annotation>"
        )
    (folder / "z.png").write_bytes(b"nothing")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.slow
def test_evaluate_prints_the_means_and_what_was_left_out_and_writes_a_report(pictures):
    options = ["--method", "cam", "--metric", "energy", "--metric", "box_iou", "--target", "label"]
    files = ["--to", "kept", "--html", "report.html", "--parquet", "all.parquet"]
    found = run("evaluate", "shapes", "pictures", *options, *files)
    assert found.exit_code == 0, found.stderr
    assert "on 3 pictures, 1 left out" in found.stdout
    assert "left out z.png: " in found.stdout
    assert "wrote report.html" in found.stdout
    table = pd.read_parquet("all.parquet")
    assert len(table) == 3 * 6 * 2
    assert "cam" in (pictures.parent / "report.html").read_text()
    again = run("evaluate", "shapes", "pictures", *options, "--to", "kept")
    assert again.stdout.splitlines()[:8] == found.stdout.splitlines()[:8]
    other = run("evaluate", "shapes", "pictures", *options, "--to", "kept", "--seed", "1")
    assert (other.exit_code, other.stderr.count("\n")) == (2, 1)
    assert "other settings (seed: 0 there, 1 now)" in other.stderr


@pytest.mark.slow
def test_recommend_prints_a_sentence_and_a_table(pictures):
    found = run(
        "recommend",
        "shapes",
        "pictures",
        "--method",
        "cam",
        "--layer",
        "features",
        "--html",
        "r.html",
    )
    assert found.exit_code == 0, found.stderr
    assert "cam at features explains shapes best on these 3 pictures: insertion 0." in found.stdout
    assert (pictures.parent / "r.html").exists()


@pytest.mark.parametrize("command", ["evaluate", "recommend"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shapes", "nowhere"), "must be a folder, or a data set of tensorflow_datasets"),
        (("shapes", "pictures", "--html", "no/r.html"), "The folder of 'no/r.html' does not exist"),
        (("shapes", "pictures", "--method", "gradcam"), "Did you mean 'grad_cam'"),
    ],
)
def test_bad_input_is_one_line(command, arguments, message):
    found = run(command, *arguments)
    assert found.exit_code == 2
    assert message in found.stderr
    assert found.stderr.count("\n") == 1
