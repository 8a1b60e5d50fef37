"""Methods measured on videos and volumes, against NumPy on a network that is set by hand."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests.model.test_videos import each_step
from tfcam.data.example import Example
from tfcam.images.blur import RISE_BLUR
from tfcam.metrics.imputation import impute
from tfcam.metrics.registry import METRICS

SIDES = (4, 6, 5)


def by_hand(channels=2, sides=(None, *SIDES[1:])):
    """Class 0 sees the mean of what is positive in channel 0, class 1 in channel 1: (D, H, W)."""
    start = keras.Input((*sides, channels))
    conv = layers.Conv3D(2, 1, activation="relu", name="seen")
    x = layers.GlobalAveragePooling3D()(conv(start))
    dense = layers.Dense(2, activation="softmax")
    model = keras.Model(start, dense(x), name="by_hand")
    conv.set_weights([np.eye(channels, 2).reshape(1, 1, 1, channels, 2), np.zeros(2)])
    dense.set_weights([10 * np.eye(2), np.zeros(2)])
    return model


def probability(volume, target):
    """What ``by_hand`` gives, in NumPy."""
    score = 10 * np.maximum(volume[..., :2], 0).mean(axis=(0, 1, 2), dtype=np.float64)
    return np.exp(score[target]) / np.exp(score).sum()


def volume(seed=0, sides=SIDES, channels=2):
    """A volume whose object, of channel 0, is a block at the front; and where that is."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 0.2, (*sides, channels)).astype("float32")
    inside = np.zeros(sides, bool)
    inside[:2, 1:3, 2:4] = True
    values[inside, 0] += 3
    return values, inside


def blurred(values):
    """RISE's blur of each slice, zero outside, by a loop over the taps."""
    padded = np.pad(values.astype(np.float64), [(0, 0), (5, 5), (5, 5), (0, 0)])
    height, width = values.shape[1:3]
    return sum(
        RISE_BLUR[y, x] * padded[:, y : y + height, x : x + width]
        for y in range(11)
        for x in range(11)
    )


@pytest.mark.parametrize("name", ["deletion", "insertion"])
def test_curves_are_those_of_a_loop_over_voxels(name):
    """Zero for deletion, each slice's blur for insertion; the strongest voxels first."""
    values, _ = volume()
    probe = tfcam.metrics.Probe(by_hand(), values)
    heatmap = np.random.default_rng(1).random(SIDES).astype("float32")
    curve = getattr(tfcam.metrics, name)(probe, [heatmap], steps=6)
    order = np.argsort(-heatmap.ravel(), kind="stable")
    other = np.zeros_like(values) if name == "deletion" else blurred(values)
    start, end = (values, other) if name == "deletion" else (other, values)
    wanted = []
    for count in np.linspace(0, heatmap.size, 7):
        changed = start.reshape(-1, 2).copy()
        changed[order[: round(count)]] = end.reshape(-1, 2)[order[: round(count)]]
        wanted.append(probability(changed.reshape(values.shape), 0))
    np.testing.assert_allclose(curve.probabilities[0], wanted, atol=1e-5)


def test_fills_of_volumes():
    values, inside = volume()
    for fill, wanted in [("zero", 0), ("mean", values.mean((0, 1, 2))), ("blur", blurred(values))]:
        filled = impute(values, inside, fill)
        np.testing.assert_allclose(
            filled, np.where(inside[..., None], wanted, values), rtol=1e-4, atol=1e-5
        )


def examples(count=4):
    drawn = [volume(seed) for seed in range(count)]
    return [Example(f"{n}", one, label=0, mask=inside) for n, (one, inside) in enumerate(drawn)]


@pytest.mark.slow
def test_methods_are_compared_on_volumes(tmp_path):
    """The network's own map lies on the object; the random one does not; the page shows both."""
    asked = {"methods": ["grad_cam", "cam"], "target": "label", "progress": False}
    result = tfcam.evaluate(by_hand(), examples(), **asked, to=tmp_path)
    assert result.pictures == 4
    mean = result.summary.set_index(["metric", "method"])["mean"]
    usual = [m.name for m in METRICS.values() if m.usual and not m.refusal(3)]
    assert set(mean.index.get_level_values(0)) == set(usual)
    assert {"insertion", "deletion", "average_drop", "pointing_game", "energy"} <= set(usual)
    assert not {"road", "box_iou", "max_box_acc_v2"} & set(usual)
    found = result.table.query("method == 'grad_cam' and metric == 'energy'")["value"]
    for value, one in zip(found, examples(), strict=True):
        heat = tfcam.explain(by_hand(), one.image, target=0).heatmap
        assert value == pytest.approx(heat[one.mask].sum() / heat.sum(), abs=1e-5)
    assert mean["energy", "grad_cam"] > 0.6 > 0.1 > mean["energy", "full_image"]
    assert mean["energy", "full_image"] == pytest.approx(8 / 120)
    assert mean["deletion", "grad_cam"] < mean["deletion", "random_map"]
    page = result.to_html(tmp_path / "page.html").read_text()
    assert "data:image/jpeg" in page
    assert "4 volumes" in repr(result)
    again = tfcam.evaluate(by_hand(), examples(), **asked, to=tmp_path)
    np.testing.assert_array_equal(again.table["value"], result.table["value"])


@pytest.mark.thinned(6, kept="slow")
@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if not m.refusal(3)])
def test_each_metric_that_fits_gives_numbers(name):
    options = {"mu_fidelity": {"grid": 3}, "faithfulness_correlation": {"size": 9}}.get(name, {})
    result = tfcam.evaluate(
        by_hand(), examples(2), metrics=[(name, options)], methods=["grad_cam"], progress=False
    )
    assert np.isfinite(result.summary["mean"]).all()


@pytest.mark.parametrize("name", ["road", "box_iou", ("insertion", {"fill": "noisy_linear"})])
def test_metrics_of_pictures_are_refused_by_name(name):
    words = "eight neighbours" if name != "box_iou" else "boxes are for pictures"
    with pytest.raises(ValueError, match=f"can't measure videos or volumes: .*{words}"):
        tfcam.evaluate(by_hand(), examples(2), metrics=[name], progress=False)


@pytest.mark.slow
def test_boxes_of_volumes_are_left_out_with_the_reason():
    wrong = Example("boxed", volume()[0], boxes=np.float32([[0, 0, 2, 2]]))
    flat = Example("flat", volume()[0], mask=np.ones(SIDES[1:], bool))
    with pytest.raises(ValueError, match=r"boxed: boxes are for pictures.*a mask \(4, 6, 5\)"):
        tfcam.evaluate(by_hand(), [wrong, flat], progress=False)
    result = tfcam.evaluate(by_hand(), [flat, *examples(1)], metrics=["energy"], progress=False)
    assert result.pictures == 1
    assert "picture's size (4, 6, 5); got (6, 5)" in result.skipped["reason"][0]


@pytest.mark.slow
def test_videos_of_several_lengths_and_whole_segmentations():
    """A video of each length is measured with those of its own; a callable is explained, too."""
    model = by_hand(3)
    given = [volume(n, (length, *SIDES[1:]), 3)[0] for n, length in enumerate([4, 3, 3, 5])]
    result = tfcam.recommend(model, given, methods=["grad_cam", "eigen_cam"], progress=False)
    assert set(result.evaluation.table["metric"]) == {"insertion(steps=10)", "deletion(steps=10)"}
    alone = tfcam.metrics.Probe(model, given[3])
    heat = tfcam.explain(model, given[3]).heatmap
    wanted = tfcam.metrics.deletion(alone, [heat], steps=10).area[0]
    rows = result.evaluation.table.query("image == '000003' and method == 'grad_cam'")
    found = rows[rows["metric"].str.startswith("deletion")]["value"].iloc[0]
    assert found == pytest.approx(float(wanted), abs=1e-5)
    assert "4 videos" in result.sentence

    start = keras.Input((*SIDES, 2))
    x = layers.Conv3D(3, 1, activation="relu", name="seen")(start)
    whole = keras.Model(start, layers.Conv3D(2, 1, activation="softmax")(x))
    measured = tfcam.evaluate(
        whole,
        examples(2),
        target=tfcam.Segmentation(1),
        methods=["grad_cam"],
        metrics=["deletion", "energy"],
        progress=False,
    )
    assert np.isfinite(measured.summary["mean"]).all()


@pytest.mark.slow
def test_frames_one_by_one():
    """A network over the frames of a video, one after the other."""
    given = np.random.default_rng(3).normal(0, 1, (3, 5, 16, 16, 3)).astype("float32")
    result = tfcam.evaluate(each_step(), given, methods=["grad_cam"], progress=False)
    assert result.pictures == 3
    assert np.isfinite(result.summary["mean"]).all()


def test_similarities_of_volumes_are_those_of_their_slices():
    rng = np.random.default_rng(5)
    first, second = rng.random((2, 3, 16, 12)).astype("float32")
    wanted = [tfcam.metrics.ssim(*pair) for pair in zip(first, second, strict=True)]
    assert tfcam.metrics.ssim(first, second) == pytest.approx(np.mean(wanted))
    assert tfcam.metrics.hog_spearman(first, first) == 1
    assert abs(tfcam.metrics.hog_spearman(first, second)) < 0.4
    with pytest.raises(ValueError, match="at least 11 x 11 pixels; got 5 x 16"):
        tfcam.metrics.ssim(first[..., :5], second[..., :5])


@pytest.mark.slow
def test_a_volume_is_verified_and_its_weights_are_drawn_anew():
    """The object makes the class: its map is supported, one beside it is not."""
    model, (values, inside) = by_hand(), volume(0, (8, *SIDES[1:]))
    own, beside = inside.astype("float32"), np.roll(inside, 4, 0).astype("float32")
    asked = {"image": values, "target": 0, "draws": 19, "progress": False}
    assert tfcam.verify(model, own, **asked).checks[0].verdict == "supported"
    assert tfcam.verify(model, beside, **asked).checks[0].verdict == "not supported"
    wide = by_hand(sides=(2, 12, 12))
    drawn, _ = volume(0, (2, 12, 12))
    sanity = tfcam.metrics.randomisation(wide, drawn[np.newaxis], methods=["grad_cam"])
    assert np.isfinite(sanity.table[["ssim", "spearman", "hog"]].to_numpy()).all()
