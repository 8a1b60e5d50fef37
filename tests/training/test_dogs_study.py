"""The study on a small network: what it reports is what the metrics give, and it leaves a page."""

import json
import os
import re
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

import tfcam
from tfcam.metrics import localisation, wsol
from training import study, train
from training.recipes import Recipe, Stage

# Keras's own model.save, with NumPy 2.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.product,
]
STAGES = (Stage("head", 1, 1e-3, backbone=False, optimizer="adam"),)
BREEDS = ["beagle", "toy poodle"]


@pytest.fixture(scope="module")
def data_dir() -> Path:
    if "TFCAM_TEST_DATA" not in os.environ:
        pytest.skip("TFCAM_TEST_DATA does not say where the data is")
    return Path(os.environ["TFCAM_TEST_DATA"]) / "tensorflow_datasets"


@pytest.fixture(scope="module")
def done(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """Two runs and the study of them, and its summary."""
    folder = tmp_path_factory.mktemp("dogs")
    for name, preprocessing in (("paper", "unit"), ("here", "own")):
        train.train(
            folder / name,
            backbone="mobilenet_v2",
            recipe=Recipe(STAGES, 32, preprocessing),
            weights=None,
            data_dir=data_dir,
            breeds=BREEDS,
            size=64,
            download=False,
        )
    summary = study.study(
        folder / "here",
        folder / "study",
        paper=folder / "paper",
        data_dir=data_dir,
        layers=["block_12_add", "out_relu"],
        download=False,
    )
    return folder, summary


def test_the_last_rung_is_the_best_of_boxes_at_the_threshold_of_validation(done, data_dir):
    folder, summary = done
    here = study.open_run(folder / "here", data_dir, download=False)
    explainer = tfcam.Explainer(here.model, preprocess="raw")
    parts: dict[str, list] = {}
    for part in ("validation", "test"):
        examples = list(getattr(here.dogs, part).as_numpy_iterator())
        images = np.stack([each["image"] for each in examples])
        found = explainer(images, target=[int(each["label"]) for each in examples])
        parts[part] = [(one.heatmap, each) for one, each in zip(found, examples, strict=True)]

    metric = wsol.BoxIoU(threshold=study.THRESHOLDS.tolist())
    heatmaps, truths = (
        [one for one, _ in parts["validation"]],
        [each["boxes"] for _, each in parts["validation"]],
    )
    metric.update_state(heatmaps, truths)
    curve = np.asarray(metric.result())
    assert summary["thresholds_from_validation"]["grad_cam"] == study.THRESHOLDS[curve.argmax()]
    assert summary["validation_iou"]["grad_cam"] == pytest.approx(curve.max(), abs=1e-6)

    images = np.stack([each["image"] for _, each in parts["test"]]).astype("float32")
    called = np.argmax(here.model.predict(images, verbose=0), axis=-1)
    right = called == [each["label"] for _, each in parts["test"]]
    assert (summary["test_pictures"], summary["named_rightly"]) == (len(right), right.sum())
    wanted = [
        localisation.box_iou(one, each["boxes"], study.THRESHOLDS[curve.argmax()])
        for (one, each), good in zip(parts["test"], right, strict=True)
        if good
    ]
    last = [row for row in summary["ladder"] if row["rung"].startswith("H")]
    rows = {row["method"]: row for row in last}
    assert rows["grad_cam"]["mean"] == pytest.approx(np.mean(wanted), abs=1e-6)
    assert rows["grad_cam"]["n"] == right.sum()
    # And `tfcam.evaluate`, by its own way, at the same threshold.
    [measured] = [
        row
        for row in summary["right"]
        if row["method"] == "grad_cam" and row["metric"].startswith("box_iou")
    ]
    assert measured["mean"] == pytest.approx(np.mean(wanted), abs=2e-3)


def test_cam_is_grad_cam_from_the_logit_on_and_not_before(done):
    _, summary = done
    assert summary["cam_minus_z_grad_cam"] < 1e-5
    means = {(row["rung"][0], row["method"]): row["mean"] for row in summary["ladder"]}
    for rung in "CDEFGH":
        assert means[rung, "cam"] == pytest.approx(means[rung, "grad_cam"], abs=1e-3)
    assert [rung for rung, method in means if method == "cam"] == list("ABCDEFGH")


def test_gains_are_of_the_same_pictures(done):
    folder, summary = done
    steps = pd.read_parquet(folder / "study" / "ladder.parquet")
    wide = steps[steps.method == "grad_cam"].pivot(index="picture", columns="rung", values="iou")
    for row in summary["changes"]:
        if row["method"] != "grad_cam":
            continue
        names = list(wide.columns)
        both = wide[[row["rung"], names[names.index(row["rung"]) - 1]]].dropna()
        assert row["gain"] == pytest.approx((both.iloc[:, 0] - both.iloc[:, 1]).mean())
        assert row["n"] == len(both)


def test_the_identity_is_checked_and_not_assumed():
    cam = np.random.default_rng(0).normal(size=(3, 2, 2))
    assert study.check_identity({"cam": cam, "grad_cam": cam / 4}) < 1e-12
    with pytest.raises(ValueError, match="CAM must be 4 x Grad-CAM of the logit; they differ by"):
        study.check_identity({"cam": cam, "grad_cam": cam})


def test_it_leaves_rows_figures_and_a_page_that_needs_nothing_else(done):
    folder, summary = done
    output = folder / "study"
    page = (output / "study.html").read_text()
    assert page.count("data:image/png;base64,") == 8
    assert not re.search(r"(src|href)=\"http", page)
    assert f"{summary['named_rightly']} of {summary['test_pictures']} test pictures" in page
    assert len(list(output.glob("figure*.png"))) == 8
    for name in ("right", "all", "layers"):
        table = pd.read_parquet(output / f"{name}.parquet")
        assert {"image", "method", "layer", "metric", "value"} <= set(table.columns)
    assert set(pd.read_parquet(output / "layers.parquet").layer.str.rpartition("/")[2]) == {
        "block_12_add",
        "out_relu",
    }
    assert json.loads((output / "summary.json").read_text())["ladder"] == summary["ladder"]


def test_the_last_blocks_of_resnet50_are_those_of_the_paper():
    model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=3)
    assert study.last_blocks(model) == [
        *(f"conv4_block{number}_out" for number in (4, 5, 6)),
        *(f"conv5_block{number}_out" for number in (1, 2, 3)),
    ]


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="must hold a finished run of python -m training"):
        study.open_run(tmp_path, None)
