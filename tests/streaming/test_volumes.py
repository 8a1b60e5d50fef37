"""A stream of videos and volumes: each row is what explain gives, and the run goes on."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam.metrics.removal_test import removal_tests

SIDE = 8


def network(frames=None):
    """Two classes of a video or volume of any length."""
    start = keras.Input((frames, SIDE, SIDE, 1))
    x = layers.Conv3D(4, 3, padding="same", activation="relu", name="seen")(start)
    x = layers.GlobalAveragePooling3D()(x)
    return networks.seeded(keras.Model(start, layers.Dense(2, activation="softmax")(x)))


def videos(*lengths, channels=1):
    rng = np.random.default_rng(1)
    return [rng.normal(0, 1, (n, SIDE, SIDE, channels)).astype("float32") for n in lengths]


def check_rows(store, model, given):
    for row, one in zip(store, given, strict=True):
        found = tfcam.explain(model, one)
        assert (row.target, row.layer, row.findings) == (found.target, "seen", found.findings)
        np.testing.assert_allclose(row.raw, found.raw, atol=1e-6)
        np.testing.assert_allclose(row.heatmap, found.heatmap, atol=1e-5)
        np.testing.assert_array_equal(row.image, found.image)


def test_a_row_is_what_explain_gives_of_videos_of_several_lengths(tmp_path):
    model, given = network(), videos(5, 5, 3, 7)
    store = tfcam.stream(model, given, to=tmp_path, batch_size=2, shard_size=3)
    assert store.finished
    again = tfcam.open_store(tmp_path, data=given)
    check_rows(again, model, given)
    assert again.table[["depth", "height", "width"]].values.tolist()[2:] == [[3, 8, 8], [7, 8, 8]]
    assert again.raws.shape == (4, 7, 8, 8)
    np.testing.assert_array_equal(again.raws[2, :3], again[2].raw)
    assert np.isnan(again.raws[2, 3:]).all()
    bare = tfcam.open_store(tmp_path)[1]
    assert bare.findings[-1].code == "no_picture"
    assert bare.image.shape == (5, 8, 8, 1)
    with pytest.raises(ValueError, match="number 1, '000001', is another volume"):
        tfcam.open_store(tmp_path, data=[given[0], *given[:3]])[1]
    with pytest.raises(ValueError, match=r"must have the size that was explained, \(5, 8, 8\)"):
        again.explanation(0, given[2])


FORMS = {
    "array": lambda x, y: x,
    "without the channel": lambda x, y: x[..., 0],
    "pair": lambda x, y: (x, y),
    "batched set": lambda x, y: tf.data.Dataset.from_tensor_slices((x, y)).batch(2),
    "set of dicts": lambda x, y: tf.data.Dataset.from_tensor_slices({"video": x, "label": y}),
    "integers": lambda x, y: (x * 40).astype("int16"),
    "nested lists": lambda x, y: [x[0].tolist(), *x[1:]],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.thinned(2, rest="slow")
def test_each_form_of_data(tmp_path, form):
    model, given, labels = network(5), np.stack(videos(5, 5, 5)), np.array([1, 0, 1])
    data = FORMS[form](given, labels)
    asked = {"target": "label"} if form in ("pair", "batched set", "set of dicts") else {}
    store = tfcam.stream(model, data, to=tmp_path, batch_size=2, **asked)
    explained = (given * 40).astype("int16") if form == "integers" else given
    for row, one, label in zip(store, explained, labels, strict=True):
        found = tfcam.explain(model, one, target=int(label) if asked else None)
        assert row.target == found.target
        np.testing.assert_allclose(row.heatmap, found.heatmap, atol=1e-4)


def test_it_goes_on_after_a_stop_and_refuses_other_videos(tmp_path):
    model, given = network(), videos(5, 4, 5, 4)
    first = list(tfcam.stream(model, given, to=tmp_path, shard_size=1))
    (tmp_path / "maps-00002.parquet").unlink()
    with pytest.raises(ValueError, match="number 1 is another now"):
        tfcam.stream(model, [given[0], *given[:3]], to=tmp_path, shard_size=1)
    again = tfcam.stream(model, given, to=tmp_path, shard_size=1)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.raw, other.raw)


def test_settings_that_do_not_say_which_videos_they_are_of_are_told(tmp_path):
    tfcam.stream(network(), videos(3), to=tmp_path)
    file = tmp_path / "settings.json"
    settings = json.loads(file.read_text())
    known = settings["volume"]
    shapes = [{}, [], [8], [*known["shapes"], [8, 8]], [[2.5, 8, 8, 1]]]
    wrong = [None, {"shapes": known["shapes"]}, known | {"more": 1}, known | {"channels_first": 0}]
    for volume in [*wrong, *(known | {"shapes": one} for one in shapes)]:
        file.write_text(json.dumps(settings | {"volume": volume}))
        with pytest.raises(ValueError, match="does not say which videos or volumes it is of: vol"):
            tfcam.open_store(tmp_path)


def test_what_does_not_fit_is_left_out_or_refused(tmp_path):
    model, given = network(), videos(5, 4)
    data = [given[0], given[1][:, :6], "a.mp4", np.full((2, 8, 8, 1), np.nan, "float32")]
    store = tfcam.stream(model, data, to=tmp_path)
    assert len(store) == 1
    reasons = store.skipped.reason.tolist()
    for reason, words in zip(reasons, [r"(4, 6, 8, 1)", "got str", "128 of its"], strict=True):
        assert words in reason
    for wrong, words in [("videos", "got str"), (given[0], r"got ndarray \(5, 8, 8, 1\)")]:
        with pytest.raises(TypeError, match=f"Videos and volumes must be a batch.*{words}"):
            tfcam.stream(model, wrong, to=tmp_path / "other")


def test_channels_first_are_shown_last(tmp_path):
    start = keras.Input((2, 4, SIDE, SIDE))
    x = layers.GlobalMaxPooling3D(data_format="channels_first")(start)
    model = networks.seeded(keras.Model(start, layers.Dense(2)(x)))
    given = videos(4, 4, channels=2)
    turned = [np.moveaxis(one, -1, 0) for one in given]
    store = tfcam.stream(model, turned, to=tmp_path, method="saliency")
    again = tfcam.open_store(tmp_path, data=turned)
    for row, one, own in zip(again, given, turned, strict=True):
        assert row.heatmap.shape == (4, SIDE, SIDE)
        np.testing.assert_array_equal(row.raw, tfcam.explain(model, own, method="saliency").raw)
        np.testing.assert_array_equal(row.image, one)
    assert len(store) == 2


@pytest.mark.slow
def test_maps_are_tested(tmp_path):
    model, given = network(), videos(4, 6)
    store = tfcam.stream(model, given, to=tmp_path, verify=True)
    for row, one in zip(store.table.itertuples(), given, strict=True):
        probe = tfcam.metrics.Probe(model, one)
        (test,) = removal_tests(probe, [tfcam.explain(model, one)])
        assert (row.verdict, row.p_value) == (test.verdict, pytest.approx(test.p_value))
