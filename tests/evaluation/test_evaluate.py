"""Methods measured on many pictures: the numbers are those of the metrics called by hand."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

import tfcam
from tests import networks
from tfcam import maps
from tfcam.data.example import Example, Mark
from tfcam.evaluation.aggregate import FRACTIONS, RESAMPLES, LeftOut, SetCount, Tally
from tfcam.evaluation.gallery import Shown, draw_thumbnail
from tfcam.evaluation.intervals import varying_share_interval
from tfcam.evaluation.names import CandidateKey, MetricKey, seed_of
from tfcam.evaluation.report import named, table_rows, verdicts
from tfcam.evaluation.result import conclude
from tfcam.evaluation.store import State, Store
from tfcam.images.loading import resize_image
from tfcam.metrics import complexity, curves, evidence, faithfulness, localisation, wsol
from tfcam.metrics.baselines import BASELINES, random_map
from tfcam.metrics.probing import Probe
from tfcam.metrics.registry import METRICS, find_metrics
from tfcam.model.labels import class_of
from tfcam.scenes import draw_scene
from tfcam.utils.archive import save_archive

METHODS = ["cam", "grad_cam_pp", "saliency"]
OF_BOXES = ["box_iou", "pointing_game", "energy", "max_box_acc_v2"]


def scenes(count, start=0):
    drawn = [tfcam.scenes.draw_scene(start + number, size=96) for number in range(count)]
    return [
        Example(f"scene {number}", each.image, each.boxes, each.labels[0], mask=each.masks[0])
        for number, each in enumerate(drawn)
    ]


@pytest.fixture(scope="module")
def shapes():
    return tfcam.demo_model()


@pytest.fixture(scope="module")
def data():
    return scenes(10)


@pytest.fixture(scope="module")
def result(shapes, data):
    return tfcam.evaluate(
        shapes, data, methods=METHODS, metrics=OF_BOXES, target="label", batch_size=4
    )


def value(result, image, method, metric):
    table = result.table
    rows = table[(table.image == image) & (table.method == method) & (table.metric == metric)]
    return rows["value"].item()


# The numbers


@pytest.mark.thinned(1)
@pytest.mark.parametrize("method", METHODS)
def test_numbers_are_those_of_the_metrics_called_by_hand(shapes, data, result, method):
    counted = wsol.MaxBoxAccuracy(version=2)
    for example in data:
        found = tfcam.explain(shapes, example.image, method=method, target=example.label)
        heatmap = found.heatmap
        own = value(result, example.id, method, "box_iou")
        assert own == pytest.approx(localisation.box_iou(heatmap, example.boxes), abs=0.02)
        own = value(result, example.id, method, "energy")
        assert own == pytest.approx(localisation.energy(heatmap, example.mask), abs=1e-4)
        own = value(result, example.id, method, "pointing_game")
        assert own == localisation.pointing_game(heatmap, example.mask)
        small = maps.heatmap(found.raw, (128, 128))  # as the model takes it
        counted.update_state([small], [example.boxes * (128 / 96)])
    rows = result.summary[result.summary.metric == "max_box_acc_v2"].set_index("method")
    assert rows.loc[method, "mean"] == pytest.approx(float(counted.result()), abs=0.05)


@pytest.mark.slow
def test_numbers_of_the_model_are_those_of_the_metrics_called_by_hand(shapes, data):
    some = data[:3]
    asked = [("insertion", {"steps": 5}), ("road", {"fractions": [0.5]}), "average_drop", "entropy"]
    found = tfcam.evaluate(
        shapes, some, methods=["layer_cam"], metrics=asked, baselines=["full_image"], batch_size=3
    )
    probe = Probe(shapes, [each.image for each in some])
    raws = [tfcam.explain(shapes, each.image, method="layer_cam").raw for each in some]
    small = np.stack([maps.heatmap(each, (128, 128)) for each in raws])
    wanted = {
        "insertion(steps=5)": curves.insertion(probe, small, steps=5).area,
        "road(fractions=[0.5])": curves.road(probe, small, fractions=[0.5]),
        "average_drop": faithfulness.average_drop(probe, small),
        "entropy": complexity.entropy(small),
    }
    for metric, numbers in wanted.items():
        rows = found.table.query("method == 'layer_cam' and metric == @metric")
        assert rows["value"].to_numpy() == pytest.approx(numbers, abs=2e-3), metric
    whole = found.table.query("method == 'full_image' and metric == 'average_drop'")
    assert (whole["value"] == 0).all()  # nothing is masked
    mean = found.curves.query("method == 'layer_cam'").set_index("fraction")["value"]
    points = curves.insertion(probe, small, steps=5).probabilities.mean(axis=0)
    assert mean.iloc[[0, 20, 40, 60, 80, 100]].to_numpy() == pytest.approx(points, abs=2e-2)
    assert set(found.shown) == {("layer_cam", "features")}


@pytest.mark.slow
def test_signed_maps_are_measured_as_they_are(shapes, data):
    some = data[:2]
    asked = [
        ("infidelity", {"samples": 12}),
        ("faithfulness_correlation", {"subsets": 12}),
        ("mu_fidelity", {"subsets": 12}),
        ("sensitivity_n", {"subsets": 5, "fractions": [0.2]}),
        ("aopc", {"steps": 5}),
        ("comprehensiveness", {"fractions": [0.2]}),
        ("sufficiency", {"fractions": [0.2]}),
    ]
    found = tfcam.evaluate(
        shapes, some, methods=["gradient_input"], metrics=asked, baselines=["centre_gaussian"]
    )
    images = [each.image for each in some]
    probe = Probe(shapes, images, freeze=True)
    # Together, as evaluate explains them: where a ReLU is at 0 but for rounding, gradients jump.
    raws = [each.raw for each in tfcam.explain(shapes, images, method="gradient_input")]
    small = np.stack([maps.heatmap(each, (128, 128)) for each in raws])
    wanted = {
        "infidelity(samples=12)": evidence.infidelity(probe, raws, samples=12),
        "faithfulness_correlation(subsets=12)": faithfulness.faithfulness_correlation(
            probe, raws, subsets=12
        ),
        "mu_fidelity(subsets=12)": evidence.mu_fidelity(probe, raws, subsets=12),
        "aopc(steps=5)": curves.deletion(probe, small, steps=5).aopc,
        "comprehensiveness(fractions=[0.2])": curves.comprehensiveness(
            probe, small, fractions=[0.2]
        ),
        "sufficiency(fractions=[0.2])": curves.sufficiency(probe, small, fractions=[0.2]),
    }
    for metric, numbers in wanted.items():
        rows = found.table.query("method == 'gradient_input' and metric == @metric")
        assert rows["value"].to_numpy() == pytest.approx(numbers, abs=2e-3), metric
    assert len(found.summary) == 2 * len(asked)
    assert found.summary["mean"].notna().all()


def test_a_metric_that_a_picture_has_no_number_of_is_left_out(shapes, data):
    full = replace(data[0], mask=np.ones(data[0].image.shape[:2], bool))
    asked = ["localisation_auc", "energy"]
    found = tfcam.evaluate(shapes, [full, data[1]], methods=["cam"], metrics=asked, baselines=())
    counts = found.summary.set_index("metric")["n"]
    assert counts.to_dict() == {"localisation_auc": 1, "energy": 2}
    heatmap = tfcam.explain(shapes, data[1].image, method="cam").heatmap
    own = value(found, data[1].id, "cam", "localisation_auc")
    assert own == pytest.approx(localisation.localisation_auc(heatmap, data[1].mask), abs=1e-4)
    assert [shown.image for shown in found.shown["cam", "features"].best] == [data[1].id]


def test_a_row_says_what_was_explained(shapes, data, result):
    rows = result.table[result.table.image == "scene 3"]
    found = tfcam.explain(shapes, data[3].image, target=data[3].label)
    assert set(rows.target) == {data[3].label}
    assert rows.probability.to_numpy() == pytest.approx(found.probability, abs=1e-5)
    assert set(result.table.layer) == {"features", ""}
    assert result.table.notna().all(axis=None)
    assert len(result.table) == 10 * (3 + 5) * 3


def test_the_summary_is_of_the_table(result):
    for row in result.summary.itertuples():
        assert row.low <= row.mean <= row.high
        assert row.n == 10
        if row.metric != "max_box_acc_v2":
            own = result.table.query("method == @row.method and metric == @row.metric")["value"]
            assert row.mean == pytest.approx(own.mean())
    assert set(result.summary.kind) == {"method", "baseline"}
    assert list(result.wide().columns) == OF_BOXES
    assert result.best("energy") in ("cam at features", "grad_cam_pp at features", "saliency")


def test_pairs_are_compared_on_the_same_pictures(result):
    pair = result.comparisons.query(
        "metric == 'energy' and first == 'cam at features' and second == 'full_image'"
    ).squeeze()
    own = [
        value(result, f"scene {number}", "cam", "energy")
        - value(result, f"scene {number}", "full_image", "energy")
        for number in range(10)
    ]
    assert pair.difference == pytest.approx(np.mean(own))
    assert pair.p == pytest.approx(2 / 2**10)  # all ten differ in the same direction
    assert pair.p_corrected == pytest.approx(28 * 2 / 2**10, rel=0.5)
    assert pair.n == 10


@pytest.mark.slow
def test_a_batch_size_changes_no_number(shapes, data, result):
    other = tfcam.evaluate(
        shapes, data, methods=METHODS, metrics=OF_BOXES, target="label", batch_size=7
    )
    for table in ("table", "summary"):
        pd.testing.assert_frame_equal(getattr(other, table), getattr(result, table), rtol=1e-3)


# Baselines


def test_the_full_image_overlaps_by_the_share_of_the_largest_box(result, data):
    for example in data:
        x0, y0, x1, y1 = example.boxes[0]
        share = (x1 - x0) * (y1 - y0) / 96**2
        assert value(result, example.id, "full_image", "box_iou") == pytest.approx(share)
        energy = value(result, example.id, "full_image", "energy")
        assert energy == pytest.approx(example.mask.mean(), rel=1e-6)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_heatmaps_of_the_pictures_size(name, rng):
    for shape in [(30, 50, 3), (50, 30, 3), (1, 1, 3)]:
        picture = rng.integers(0, 256, shape, dtype=np.uint8)
        heatmap = BASELINES[name](picture, 3)
        assert heatmap.shape == shape[:2]
        assert heatmap.dtype == np.float32
        assert 0 <= heatmap.min() <= heatmap.max() <= 1


def test_baselines_are_where_they_say(rng):
    picture = np.zeros((60, 100, 3), np.uint8)
    (box,) = maps.boxes(BASELINES["centred_box"](picture, 0))
    assert (box[:2] + box[2:] == [100, 60]).all()
    assert (box[2] - box[0]) * (box[3] - box[1]) == pytest.approx(3000, rel=0.02)
    hill = BASELINES["centre_gaussian"](picture, 0)
    assert hill[30, 50] == hill.max() == hill[29, 49]
    assert hill[30, 75] / hill[30, 50] == pytest.approx(np.exp(-0.5), rel=0.03)
    picture[:, 40:] = 255
    edges = BASELINES["sobel_edges"](picture, 0)
    assert np.flatnonzero(edges[30]).tolist() == [39, 40]


def test_random_maps_belong_to_a_picture_and_a_seed():
    picture = np.zeros((9, 9, 3), np.uint8)
    first, again, other = (random_map(picture, seed_of(n, 0)) for n in ("a", "a", "b"))
    assert (first == again).all()
    assert (first != other).any()
    assert seed_of("a", 0) != seed_of("a", 1)


# Sets


def test_samples_of_a_set_level_metric_count_each_picture_as_often_as_drawn(rng):
    counted = SetCount(wsol.BoxIoU())
    values, times = [], []
    for number in range(12):
        heatmap, box = rng.random((8, 8)), np.array([[1, 1, 6, 6]])
        counted.add(heatmap, box, number)
        values.append(localisation.box_iou(heatmap, box))
        times.append(np.random.default_rng(number).poisson(1, RESAMPLES))
    wanted = [
        sum(t[r] * v for t, v in zip(times, values, strict=True)) / sum(t[r] for t in times)
        for r in range(RESAMPLES)
    ]
    mean, low, high = counted.interval()
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(varying_share_interval(mean, wanted, 12)[1:])
    assert float(counted.metric.result()) == pytest.approx(mean)  # as it was before


@pytest.mark.slow
def test_mean_curves_and_what_is_kept_come_back_from_an_archive(rng, tmp_path):
    tally = Tally({"v1": lambda: wsol.MaxBoxAccuracy(version=1)}, 0)
    curves = rng.random((5, 11))
    for number, curve in enumerate(curves):
        tally.add_curve(MetricKey("cam", "x", "deletion"), np.linspace(0, 1, 11), curve)
        heatmap, box = rng.random((8, 8)).astype(np.float32), np.array([[1, 1, 6, 6]])
        tally.add_to_set(MetricKey("cam", "x", "v1"), str(number), heatmap, box)
        picture = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        jpeg = draw_thumbnail(picture, heatmap, None)
        shown = Shown(curve[0], str(number), "dog", jpeg)
        tally.galleries[CandidateKey("cam", "x")].add(curve[0], True, lambda kept=shown: kept)
    tally.skipped, tally.position, tally.leading = [LeftOut("a", "why")], 6, "deletion"
    mean, error = tally.curves()["cam", "x", "deletion"]
    assert mean[::10] == pytest.approx(curves.mean(axis=0))
    assert error[::10] == pytest.approx(2.776445 * curves.std(axis=0, ddof=1) / np.sqrt(5))
    assert len(mean) == len(FRACTIONS)
    gallery = tally.galleries["cam", "x"]
    order = np.argsort(curves[:, 0])
    assert [each.image for each in gallery.best] == [str(n) for n in order[::-1][:3]]
    assert [each.image for each in gallery.worst] == [str(n) for n in order[:3]]
    again = Tally({"v1": lambda: wsol.MaxBoxAccuracy(version=1)}, 0)
    state = State("a run", 1, tally.state())
    save_archive(tmp_path / "state.npz", state)
    again.restore(State.load(tmp_path / "state.npz").tally)
    assert State("a run", 1, again.state()) == state
    assert again.galleries == tally.galleries
    assert again.sets["cam", "x", "v1"].interval() == tally.sets["cam", "x", "v1"].interval()


def test_a_damaged_state_is_told(tmp_path):
    store = Store(tmp_path / "run", {"seed": 0})
    assert store.read(["image", "value"]) == ([], {}, [])
    rows = pd.DataFrame({"image": ["a"], "value": [0.5]})
    marked = [("a", Mark("0f", "dog", "1e")), ("b", Mark("", None, ""))]
    store.write(0, rows, {"position": 1, "sums": np.ones(3)}, marked)
    (batch,), state, pictures = store.read(["image", "value"])
    assert pictures == marked
    pd.testing.assert_frame_equal(batch, rows)
    assert (state["position"], state["sums"].tolist()) == (1, [1.0] * 3)
    (tmp_path / "run/state.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match="state.npz' is damaged: begin anew in another folder"):
        store.read(["image", "value"])


# What is explained


def test_classes_are_found_by_index_name_or_wordnet_number(monkeypatch):
    known = (("n01", "tench"), ("n02088364", "beagle"), ("n03", "crane"))
    for home in ("imagenet_classes", "imagenet_labels"):
        answer = known if home == "imagenet_classes" else tuple(name for _, name in known)
        monkeypatch.setattr(f"tfcam.model.labels.{home}", lambda answer=answer: answer)
    names = ["n02088364-beagle", "n09-husky"]
    labels = ["tench", "beagle", "crane"]
    assert class_of(2, None, 3, None) == 2
    assert class_of(0, names, 3, labels) == 1
    assert class_of(0, names, 2, None) == 0
    assert class_of("crane", None, 3, labels) == 2
    with pytest.raises(ValueError, match="the model's labels must be known"):
        class_of("crane", None, 3, None)
    with pytest.raises(ValueError, match="n09-husky"):
        class_of(1, names, 3, labels)


def test_without_a_target_the_predicted_class_is_explained(shapes, data):
    found = tfcam.evaluate(shapes, data[:3], methods=["cam"], metrics=["energy"], baselines=())
    predicted = shapes.predict(
        np.stack([resize_image(each.image, (128, 128)) for each in data[:3]]),
        verbose=0,
    )
    assert found.table.target.tolist() == predicted.argmax(axis=1).tolist()


def test_layers_and_explainers_stand_side_by_side(shapes, data):
    explainer = tfcam.Explainer(shapes, method="layer_cam")
    names = [each.path for each in tfcam.layers(shapes) if each.convolution][-2:]
    found = tfcam.evaluate(
        shapes,
        data[:4],
        methods=["layer_cam", "cam"] if names[-1] == "features" else ["layer_cam"],
        layer=["features", names[0]] if names[0] != "features" else ["features"],
        explainers={"mine": lambda pictures, classes: explainer(pictures, classes)},
        baselines=["full_image"],
        metrics=["energy"],
        batch_size=4,
    )
    own = found.table[found.table.method == "mine"]["value"].to_numpy()
    same = found.table.query("method == 'layer_cam' and layer == 'features'")["value"].to_numpy()
    assert own == pytest.approx(same, abs=1e-4)
    assert set(found.summary.kind) == {"method", "explainer", "baseline"}


def test_options_of_methods_and_metrics_are_in_their_names(shapes, data):
    found = tfcam.evaluate(
        shapes,
        data[:3],
        methods=[("grad_cam_pp", {"normalize_alpha": True}), "grad_cam_pp"],
        metrics=[("box_iou", {"threshold": 0.5}), "box_iou"],
        baselines=(),
    )
    assert set(found.table.method) == {"grad_cam_pp(normalize_alpha=True)", "grad_cam_pp"}
    assert list(found.wide().columns) == ["box_iou(threshold=0.5)", "box_iou"]


# What is left out


@pytest.fixture
def folder(tmp_path):
    for example in scenes(3):
        Image.fromarray(example.image).save(tmp_path / f"{example.id[-1]}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG but not really")
    return tmp_path


def test_a_broken_picture_is_listed_or_refused(shapes, folder):
    options = {"methods": ["cam"], "metrics": [("box_iou", {})], "baselines": ()}
    with pytest.raises(ValueError, match="broken.png can not be used: .*damaged"):
        tfcam.evaluate(shapes, folder, skip_broken=False, **options)
    (folder / "0.xml").write_text(
        "<annotation><object><name>star</name><bndbox><xmin>9</xmin><ymin>9</ymin>"
        "<xmax>60</xmax><ymax>60</ymax></bndbox></object></annotation>"
    )
    found = tfcam.evaluate(shapes, folder, **options)
    assert found.skipped.image.tolist() == ["broken.png"]
    assert "damaged" in found.skipped.reason.item()
    assert "3 pictures, 1 left out" in repr(found)
    assert found.summary.n.tolist() == [1]  # only one picture has boxes


def test_where_nothing_can_be_measured_the_first_reason_is_given(shapes, tmp_path):
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="No picture could be measured. The first: a.png: "):
        tfcam.evaluate(shapes, tmp_path)


def test_pictures_without_a_label_are_left_out_where_it_is_explained(shapes, data):
    unlabelled = Example("none", data[0].image, data[0].boxes)
    options = {"methods": ["cam"], "metrics": ["energy"], "target": "label", "baselines": ()}
    found = tfcam.evaluate(shapes, [*data[:2], unlabelled], **options)
    assert found.skipped.image.tolist() == ["none"]
    with pytest.raises(ValueError, match="none can not be explained: it has no label"):
        tfcam.evaluate(shapes, [unlabelled], skip_broken=False, **options)


def test_maps_that_are_not_finite_or_empty_are_counted(shapes, data):
    def broken(pictures, classes):
        kinds = [np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(4)]
        return kinds[: len(pictures)]

    found = tfcam.evaluate(
        shapes,
        data[:3],
        methods=[],
        explainers={"broken": broken},
        metrics=["energy"],
        baselines=(),
    )
    assert found.skipped.reason.tolist() == ["broken: its map holds NaN or infinity."]
    assert found.summary.n.tolist() == [2]
    assert found.settings["empty_maps"] == {"broken": 1}


def test_a_box_smaller_than_a_pixel_is_named(shapes, data):
    tiny = Example("tiny", data[0].image, np.float32([[3.1, 3.1, 3.3, 3.3]]))
    found = tfcam.evaluate(
        shapes, [tiny, data[1]], methods=["cam"], metrics=["energy", "box_iou"], baselines=()
    )
    assert found.skipped.image.tolist() == ["tiny"]
    assert "The truth must hold at least one pixel" in found.skipped.reason.item()
    assert found.summary.set_index("metric").n.to_dict() == {"energy": 1, "box_iou": 2}


def test_pictures_of_one_name_are_told_apart(shapes, data):
    images = tfcam.evaluate(
        shapes,
        tf.data.Dataset.from_tensor_slices(
            {"image": [each.image for each in data[:3]], "image/filename": ["a", "a", "b"]}
        ),
        methods=["cam"],
        metrics=["gini"],
        baselines=(),
    ).table["image"]
    assert images.tolist() == ["a", "a (1)", "b"]


def test_a_target_for_each_picture_is_its_label():
    with pytest.raises(TypeError, match="target must be None, 'label', a class index or a label"):
        tfcam.evaluate(tfcam.demo_model(), [np.zeros((9, 9, 3), np.uint8)], target=[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["energi"]}, "got 'energi'. Did you mean 'energy'"),
        ({"metrics": []}, "a list of at least one metric"),
        ({"metrics": ["energy", "energy"]}, "'energy' is there twice"),
        ({"baselines": ["sobel"]}, "Baselines are full_image, .*; got 'sobel'"),
        ({"methods": [], "baselines": ()}, "At least one method, explainer or baseline"),
        ({"explainers": {"cam": print}, "methods": ["cam"]}, "must have different names"),
        ({"explainers": {"m": lambda p, c: None}}, "'m' must return a heatmap .*NoneType"),
        ({"explainers": {"m": lambda p, c: []}}, "'m' must return .* It returned 0"),
        ({"explainers": {"m": lambda p, c: [1]}}, "'m' must return a heatmap \\(H, W\\) for each"),
    ],
)
def test_what_can_not_be_measured_is_refused(shapes, data, options, message):
    with pytest.raises(ValueError, match=message):
        tfcam.evaluate(shapes, data[:1], **options)


def test_a_metric_has_its_own_options_only():
    with pytest.raises(TypeError, match="'box_iou' has no option 'size'; it has threshold"):
        find_metrics([("box_iou", {"size": 3})])


def test_models_of_other_inputs_are_refused(data):
    inputs = [keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")]
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    with pytest.raises(ValueError, match="what the model takes beside it, b, as others of its"):
        tfcam.evaluate(model, data)
    facts = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="The explained input must be of images, .* takes .*4,"):
        tfcam.evaluate(facts, data)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_what_it_is(name):
    measure = METRICS[name]
    assert measure.name == name
    assert measure.meaning.endswith(".")
    assert measure.better in ("higher", "lower")
    assert find_metrics([name])[0].described == name


# Stopped and gone on

STOPPED = {
    "methods": ["cam", "grad_cam_pp"],
    "metrics": ["box_iou", "energy", "max_box_acc_v2"],
    "target": "label",
    "batch_size": 2,
}


def run_slowly(to):
    """What the killed process runs: slow enough to be killed in the middle."""

    def slow(pictures, classes):
        time.sleep(float(os.environ.get("TFCAM_TEST_SLOW", "0")))
        return [np.eye(4)] * len(pictures)

    return tfcam.evaluate(
        tfcam.demo_model(), scenes(11), explainers={"slow": slow}, to=to, **STOPPED
    )


@pytest.mark.product
def test_a_killed_run_goes_on_and_ends_equal(tmp_path):
    run = f"run_slowly({str(tmp_path / 'a')!r})"
    code = f"from tests.evaluation.test_evaluate import run_slowly; {run}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    environment["TFCAM_TEST_SLOW"] = "1"
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    while process.poll() is None and len(list((tmp_path / "a").glob("rows-*"))) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = {each.name: each.stat().st_mtime_ns for each in (tmp_path / "a").glob("rows-*")}
    assert 2 <= len(done) < 6
    gone_on, whole = run_slowly(tmp_path / "a"), run_slowly(tmp_path / "b")
    kept = [(tmp_path / "a" / name).stat().st_mtime_ns == at for name, at in done.items()]
    assert sum(kept) >= len(done) - 1  # the last may have come without its state
    for table in ("table", "summary", "comparisons", "curves", "skipped"):
        pd.testing.assert_frame_equal(
            getattr(gone_on, table), getattr(whole, table), check_exact=True
        )
    assert gone_on.shown == whole.shown
    assert gone_on.settings == whole.settings


@pytest.mark.slow
def test_a_run_that_is_done_computes_nothing(shapes, data, tmp_path):
    counts = []

    def counting(pictures, classes):
        counts.append(len(pictures))
        return [np.eye(4)] * len(pictures)

    options = {**STOPPED, "explainers": {"counting": counting}, "to": tmp_path / "a"}
    first = tfcam.evaluate(shapes, data, **options)
    assert sum(counts) == 10
    again = tfcam.evaluate(shapes, data, **options)
    assert sum(counts) == 10
    pd.testing.assert_frame_equal(first.summary, again.summary, check_exact=True)


def test_a_folder_of_another_run_is_refused(shapes, data, tmp_path):
    options = {"methods": ["cam"], "metrics": ["energy"], "baselines": ()}
    tfcam.evaluate(shapes, data[:2], to=tmp_path / "a", **options)
    with pytest.raises(ValueError, match=r"other settings \(seed: 0 there, 1 now\)"):
        tfcam.evaluate(shapes, data[:2], to=tmp_path / "a", seed=1, **options)
    with pytest.raises(ValueError, match="other settings .*pictures_digest"):
        tfcam.evaluate(shapes, data[:3], to=tmp_path / "a", **options)
    changed = [data[0], replace(data[2], id=data[1].id)]
    with pytest.raises(ValueError, match="same pictures in the same order .*number 1 is another"):
        tfcam.evaluate(shapes, changed, to=tmp_path / "a", **options)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="must be empty or hold an evaluation"):
        tfcam.evaluate(shapes, data[:2], to=tmp_path / "b", **options)


def test_other_weights_are_another_run(data, tmp_path):
    options = {"methods": ["grad_cam"], "metrics": ["energy"], "preprocess": "unit"}
    model = networks.flat()
    tfcam.evaluate(model, data[:2], to=tmp_path, **options)
    model.layers[-1].set_weights([2 * each for each in model.layers[-1].get_weights()])
    with pytest.raises(ValueError, match="other settings .*weights_digest"):
        tfcam.evaluate(model, data[:2], to=tmp_path, **options)


# The result


def test_the_report_needs_nothing_else_and_has_all_numbers(result, tmp_path):
    text = result.to_html(tmp_path / "report.html").read_text()
    assert not re.findall(r"<script|<link|@import|url\(\s*['\"]?http", text)
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:|#)", text)
    for row in result.summary.itertuples():
        assert f"{row.mean:.3f}<small>{row.low:.3f} to {row.high:.3f}</small>" in text
    for word in (
        "<svg",
        "data:image/jpeg;base64,",
        "predicted" if False else "tensorflow",
        "scene",
    ):
        assert word in text
    assert "<b>" in text
    assert METRICS["energy"].meaning.split("'")[0] in text


def test_names_in_a_report_are_no_markup(shapes, data, tmp_path):
    evil = Example("<script>alert(1)</script>", data[0].image, data[0].boxes)
    found = tfcam.evaluate(shapes, [evil], methods=["cam"], metrics=["energy"])
    text = found.to_html(tmp_path / "report.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_table_is_written_and_read_back(result, tmp_path):
    path = result.to_parquet(tmp_path / "all.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), result.table)
    with pytest.raises(FileNotFoundError, match="folder of .* does not exist"):
        result.to_parquet(tmp_path / "nowhere/all.parquet")


def test_a_figure_has_a_panel_for_each_metric(result):
    figure = result.plot(["energy", "box_iou"])
    assert [axes.get_title() for axes in figure.axes] == ["box_iou ↑", "energy ↑"]
    with pytest.raises(ValueError, match="metric must be one of box_iou, .*; got 'iou'"):
        result.plot(["iou"])
    with pytest.raises(ValueError, match="got 'iou'"):
        result.best("iou")


def test_a_report_says_of_how_many_pictures_each_number_is():
    rows = [
        (f"{n}", name, "", "energy", 0.01 * n + add)
        for n in range(20)
        for name, add in (("a", 0), ("b", 1))
    ]
    rows += [(f"{n}", "c", "", "energy", 0.5 + n) for n in range(3)]
    rows += [("9", "c", "", "energy", np.nan)]
    table = pd.DataFrame(rows, columns=["image", "method", "layer", "metric", "value"])
    kinds = {CandidateKey(name, ""): "method" for name in "abc"}
    tally = Tally({}, 0)
    tally.pictures = 20
    found = conclude(table, tally, {"energy": "higher"}, kinds, {}, 0, {})
    assert found.summary.n.tolist() == [20, 20, 3]
    assert found.comparisons.n.tolist() == [20, 3, 3]
    assert found.comparisons.better.tolist() == ["b", "", ""]
    [verdict] = verdicts(named(found.summary), found.comparisons)
    assert (verdict.best, verdict.n, verdict.equal) == ("c", "3", ["a", "b"])
    [a, _, c] = table_rows(named(found.summary), ["energy"])
    assert (a.cells[0].n, c.cells[0].n) == (20, 3)


def test_curves_are_numbered_through_and_of_what_is_left_out_there_are_no_rows():
    tally = Tally({}, 0)
    for name in "ab":
        tally.add_curve(MetricKey(name, "", "road"), np.arange(2), np.arange(2))
    rows = [("0", "a", "", "road", 0.5)]
    table = pd.DataFrame(rows, columns=["image", "method", "layer", "metric", "value"])
    kinds = {CandidateKey(name, ""): "method" for name in "ab"}
    found = conclude(table, tally, {"road": "higher"}, kinds, {}, 0, {})
    assert found.curves.index.equals(pd.RangeIndex(2 * len(FRACTIONS)))
    assert found.curves["value"].tolist() == [*FRACTIONS, *FRACTIONS]
    assert found.skipped.columns.tolist() == ["image", "reason"]


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize("kind", ["files", "list", "dataset"])
@pytest.mark.thinned(2)
def test_other_pictures_are_another_run(shapes, tmp_path, kind, place):
    def pictures(changed):
        drawn = [tfcam.scenes.draw_scene(n + 50 * (n == changed)).image for n in range(5)]
        if kind == "dataset":
            return tf.data.Dataset.from_tensor_slices(np.stack(drawn))
        if kind == "list":
            return drawn
        home = tmp_path / "pictures"
        home.mkdir(exist_ok=True)
        for number, picture in enumerate(drawn):
            Image.fromarray(picture).save(home / f"{number}.bmp")
        return home

    asked = {"methods": ["cam"], "metrics": ["gini"], "baselines": [], "batch_size": 2}
    tfcam.evaluate(shapes, pictures(None), to=tmp_path / "run", **asked)
    with pytest.raises(ValueError, match=f"same pictures .*number {place} is another now"):
        tfcam.evaluate(shapes, pictures(place), to=tmp_path / "run", **asked)
    tfcam.evaluate(shapes, pictures(None), to=tmp_path / "run", **asked)


@pytest.mark.slow
def test_other_functions_and_explainers_are_another_run(shapes, tmp_path):
    def explainer(power):
        return lambda images, classes: [
            image[..., 0].astype(np.float32) ** power for image in images
        ]

    def preprocess(scale):
        return lambda pixels: pixels * scale

    pictures = [tfcam.scenes.draw_scene(1).image]
    asked = {"metrics": ["gini"], "baselines": []}
    for name, first, second in (
        ("explainers", {"own": explainer(1)}, {"own": explainer(2)}),
        (
            "methods",
            [lambda reading: reading.activations[..., 0]],
            [lambda r: r.activations[..., 1]],
        ),
        ("explainers", *({"x": tfcam.Explainer(shapes, method=m)} for m in ("cam", "layer_cam"))),
        ("preprocess", preprocess(1.0), preprocess(0.5)),
    ):
        to = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        own = asked | ({"methods": []} if name == "explainers" else {})
        tfcam.evaluate(shapes, pictures, to=to, **own, **{name: first})
        tfcam.evaluate(shapes, pictures, to=to, **own, **{name: first})
        with pytest.raises(ValueError, match="other settings .*methods?_digest|preprocess_digest"):
            tfcam.evaluate(shapes, pictures, to=to, **own, **{name: second})
    unreadable = iter(tf.data.Dataset.range(2))
    odd = {"own": lambda images, classes: [np.ones((4, 4)) for _ in images if unreadable]}
    with pytest.raises(ValueError, match="methods can't be told from others.*key="):
        tfcam.evaluate(shapes, pictures, methods=[], explainers=odd, to=tmp_path / "k", **asked)
    tfcam.evaluate(shapes, pictures, methods=[], explainers=odd, **asked)
    for _ in range(2):
        tfcam.evaluate(
            shapes, pictures, methods=[], explainers=odd, to=tmp_path / "k", key="a", **asked
        )


def test_two_runs_at_once_are_refused(shapes, tmp_path):
    asked = {"methods": ["cam"], "metrics": ["gini"], "baselines": [], "to": tmp_path / "run"}
    pictures = [tfcam.scenes.draw_scene(1).image]

    def meanwhile(images, classes):
        with pytest.raises(ValueError, match="Another run is writing to .*: wait until it has"):
            tfcam.evaluate(shapes, pictures, **asked)
        return [np.ones(image.shape[:2]) for image in images]

    own = {"explainers": {"own": meanwhile}, "key": "a"}
    first = tfcam.evaluate(shapes, pictures, **asked, **own)
    again = tfcam.evaluate(shapes, pictures, **asked, **own)  # that let go of the folder
    pd.testing.assert_frame_equal(first.table, again.table)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="must be no link"):
        tfcam.evaluate(shapes, pictures, **asked | {"to": tmp_path / "linked"})
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.thinned(4)
@pytest.mark.parametrize("name", ["rows-00000.parquet", "state.npz", "settings.json"])
@pytest.mark.parametrize("content", [b"", b"PAR1 and nonsense", b"{}", None])
def test_damaged_files_of_a_run_are_told(shapes, tmp_path, name, content):
    asked = {"methods": ["cam"], "metrics": ["gini"], "baselines": [], "to": tmp_path / "run"}
    tfcam.evaluate(shapes, [tfcam.scenes.draw_scene(1).image], **asked)
    file = tmp_path / "run" / name
    if content is None:
        pd.DataFrame({"image": [1]}).to_parquet(file)
    else:
        file.write_bytes(content)
    match = f"{name}' is damaged.*another folder|other settings"
    with pytest.raises(ValueError, match=match):
        tfcam.evaluate(shapes, [tfcam.scenes.draw_scene(1).image], **asked)


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("boxes", [None, np.zeros((0, 4), np.float32)])
def test_without_boxes_it_is_said_that_there_are_none(boxes, shapes):
    pictures = [Example(str(seed), tfcam.scenes.draw_scene(seed).image, boxes) for seed in range(2)]
    options = {"methods": ["grad_cam"], "baselines": []}
    for metrics in (["box_iou"], ["max_box_acc_v2", "box_iou"]):
        with pytest.raises(
            ValueError, match="for any of the 2 pictures: no picture has boxes, which"
        ):
            tfcam.evaluate(shapes, pictures, metrics=metrics, **options)
    with pytest.raises(ValueError, match="no picture has boxes or a mask"):
        tfcam.evaluate(shapes, pictures, metrics=["energy", "pxap"], **options)
    found = tfcam.evaluate(shapes, pictures, metrics=["energy", "box_iou", "gini"], **options)
    assert found.summary.metric.tolist() == ["gini"]
    assert list(found.settings["not_measured"]) == ["energy", "box_iou"]
    assert "not measured: box_iou: no picture has boxes, which" in repr(found)


def test_what_all_pictures_have_is_not_said_to_be_missing(shapes):
    scene = tfcam.scenes.draw_scene(0)
    found = tfcam.evaluate(
        shapes, [Example("0", scene.image, scene.boxes)], methods=["grad_cam"], metrics=["box_iou"]
    )
    assert found.settings["not_measured"] == {}
    assert "not measured" not in repr(found)


def test_each_picture_is_drawn_by_a_seed_of_its_own():
    """The samples of a set-level metric would else be the whole set, so many times."""
    tally = Tally({"v1": lambda: wsol.MaxBoxAccuracy(version=1)}, 0)
    heatmap, key = np.eye(8, dtype=np.float32), MetricKey("cam", "x", "v1")
    after = []
    for name in ("a", "b", "a"):
        tally.add_to_set(key, name, heatmap, np.float32([[0, 0, 8, 8]]))
        after.append([counts.copy() for counts in tally.sets[key].samples])
    for first, second, third in zip(*after, strict=True):
        if first.any():
            assert (second - first != first).any()
            np.testing.assert_array_equal(third - second, first)


@pytest.mark.parametrize("file", ["rows-00000.parquet", "state.npz"])
@pytest.mark.slow
def test_a_file_of_another_evaluation_of_the_same_pictures_is_refused(tmp_path, file):
    """Nothing in it but its run tells that it is of other weights."""
    pictures = [draw_scene(seed).image for seed in range(4)]
    other = keras.models.clone_model(tfcam.demo_model())
    asked = {"methods": ["grad_cam"], "metrics": ["gini"], "batch_size": 2, "progress": False}
    for name, model in (("mine", tfcam.demo_model()), ("theirs", other)):
        tfcam.evaluate(model, pictures, to=tmp_path / name, preprocess="unit", **asked)
    shutil.copy(tmp_path / "theirs" / file, tmp_path / "mine" / file)
    with pytest.raises(ValueError, match=f"{file}' belongs to another run or another place: put"):
        tfcam.evaluate(
            tfcam.demo_model(), pictures, to=tmp_path / "mine", preprocess="unit", **asked
        )


@pytest.mark.slow
def test_rows_that_have_changed_places_are_refused(tmp_path):
    pictures = [draw_scene(1).image] * 4
    asked = {"methods": ["grad_cam"], "metrics": ["gini"], "batch_size": 2, "progress": False}
    tfcam.evaluate(tfcam.demo_model(), pictures, to=tmp_path, **asked)
    shutil.copy(tmp_path / "rows-00001.parquet", tmp_path / "rows-00000.parquet")
    with pytest.raises(ValueError, match=r"rows-00000.parquet' belongs to another run or another"):
        tfcam.evaluate(tfcam.demo_model(), pictures, to=tmp_path, **asked)
