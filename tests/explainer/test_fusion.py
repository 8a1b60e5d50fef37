"""Several layers in one map: how heatmaps are fused, and what a result of several layers says."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests import networks
from tests.tolerances import ROUNDED
from tfcam import maps

WAYS = ["max", "mean", "product", "tanh_max"]
PAIR = ["first", "features"]
# CAM applies to one layer, maps of attention to transformers.
ELSEWHERE = ("cam", *networks.OF_ATTENTION)
LAYERED = [name for name, m in tfcam.METHODS.items() if m.layered and name not in ELSEWHERE]


def replica(heatmaps, how):
    """Each pixel in a loop; LayerCAM's fusion (Jiang et al. 2021) is max of tanh(2 M / max M)."""
    fused = np.zeros(heatmaps[0].shape)
    for i in range(fused.shape[0]):
        for j in range(fused.shape[1]):
            values = [float(each[i, j]) for each in heatmaps]
            fused[i, j] = {
                "max": max(values),
                "mean": sum(values) / len(values),
                "product": np.prod(values),
                "tanh_max": max(np.tanh(2 * value) for value in values),
            }[how]
    return fused / fused.max() if fused.any() else fused


# --- maps.fuse ------------------------------------------------------------------------------


def test_by_hand():
    first, second = np.array([[1.0, 0.5, 0.0]]), np.array([[0.25, 0.5, 1.0]])
    # Each is divided by its maximum: 1, 0.625, 0.25 and tanh 2 = 0.964.
    wanted = {
        "max": [1, 0.5, 1],
        "mean": [1, 0.5 / 0.625, 0.5 / 0.625],
        "product": [1, 1, 0],
        "tanh_max": [1, np.tanh(1) / np.tanh(2), 1],
    }
    for how, values in wanted.items():
        fused = maps.fuse([first, second], how)
        np.testing.assert_allclose(fused, [values], rtol=ROUNDED)
        assert fused.dtype == np.float32
    np.testing.assert_array_equal(maps.fuse([first, second]), maps.fuse([first, second], "max"))


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_fuse_equals_the_replica(rng, how, count):
    heatmaps = [maps.scale(rng.normal(0, 1, (6, 5))) for _ in range(count)]
    fused = maps.fuse(heatmaps, how)
    np.testing.assert_allclose(fused, replica(heatmaps, how), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(maps.fuse(heatmaps[::-1], how), fused, rtol=ROUNDED)
    assert fused.max() == 1
    if how != "tanh_max":  # which bends a map
        np.testing.assert_allclose(maps.fuse(heatmaps[:1], how), heatmaps[0], rtol=ROUNDED)


@pytest.mark.parametrize("how", WAYS)
def test_empty_heatmaps_stay_empty(how):
    empty, full = np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32)
    assert not maps.fuse([empty, empty], how).any()
    assert maps.fuse([empty, full], how).any() == (how != "product")


def test_how_the_ways_relate(rng):
    heatmaps = [maps.scale(rng.normal(0, 1, (6, 5))) for _ in range(3)]
    fused = {how: maps.fuse(heatmaps, how) for how in WAYS}
    # tanh rises with its input, so that it only bends the maximum, and lifts what is faint.
    bent = np.tanh(2 * fused["max"]) / np.tanh(2)
    np.testing.assert_allclose(fused["tanh_max"], bent, rtol=1e-5)
    assert (fused["tanh_max"] >= fused["max"] - 1e-6).all()
    assert ((fused["product"] > 0) <= (fused["max"] > 0)).all()


@pytest.mark.parametrize("how", ["sum", "", None, "MAX"])
def test_other_ways_are_told(how):
    with pytest.raises(ValueError, match="fuse must be one of max, mean, product, tanh_max; got"):
        maps.fuse([np.ones((2, 2))], how)
    with pytest.raises(ValueError, match="fuse must be one of max, mean, product, tanh_max; got"):
        tfcam.Explainer(networks.flat(), fuse=how)


# --- results of several layers --------------------------------------------------------------


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("count", [1, 3])
def test_the_fused_heatmap_is_that_of_the_heatmaps_of_each_layer(how, count):
    model, x = networks.flat(), networks.pictures(count)
    results = tfcam.explain(model, x, PAIR, target=1, fuse=how)
    single = {path: tfcam.explain(model, x, path, target=1) for path in PAIR}
    for index, result in enumerate(results):
        alone = [single[path][index] for path in PAIR]
        assert list(result.parts) == PAIR
        for path, each in zip(PAIR, alone, strict=True):
            np.testing.assert_allclose(
                result.parts[path], each.raw, rtol=1e-6, atol=1e-6 * np.abs(each.raw).max()
            )
        wanted = replica([each.heatmap for each in alone], how)
        np.testing.assert_allclose(result.heatmap, wanted, atol=1e-5)
        np.testing.assert_array_equal(result.raw, result.heatmap)
        assert result.score == pytest.approx(alone[0].score, rel=1e-6)
        assert result.layer == "first + features"
        assert result.layer_reason == f"2 layers as given, fused by {how}"
        assert result.options["fuse"] == how
        assert "fuse" not in alone[0].options
        assert not alone[0].parts
        assert "first + features" in result.title
        assert "first + features" in repr(result)


@pytest.mark.parametrize("name", LAYERED)
@pytest.mark.thinned(2)
def test_every_method_of_a_layer_takes_several(name):
    model, x = networks.flat(), networks.pictures(2)
    results = tfcam.explain(model, x, PAIR, target=1, method=name)
    for path in PAIR:
        single = tfcam.explain(model, x, path, target=1, method=name)
        for result, alone in zip(results, single, strict=True):
            assert result.parts[path].shape == alone.raw.shape
            largest = np.abs(alone.raw).max()
            np.testing.assert_allclose(result.parts[path], alone.raw, rtol=0, atol=1e-5 * largest)
    heatmaps = [tfcam.explain(model, x, path, target=1, method=name).heatmaps for path in PAIR]
    for index, result in enumerate(results):
        wanted = replica([each[index] for each in heatmaps], "max")
        np.testing.assert_allclose(result.heatmap, wanted, atol=1e-4)
        assert result.method == name


def test_cam_applies_to_one_layer_only():
    with pytest.raises(ValueError, match="CAM applies only to the map that the head pools, 'feat"):
        tfcam.explain(networks.flat(), networks.pictures(1), PAIR, method="cam")
    with pytest.raises(ValueError, match="CAM applies only to the map that the head pools, 'feat"):
        tfcam.Explainer(networks.flat(), PAIR, method="finer_cam", base="cam")
    # A list of that one is that one.
    model, x = networks.flat(), networks.pictures(1)
    listed, single = (tfcam.explain(model, x, at, method="cam") for at in (["features"], None))
    np.testing.assert_array_equal(listed.raws, single.raws)


@pytest.mark.parametrize("name", ["saliency", "integrated_gradients", "deconvnet"])
def test_maps_of_pixels_without_a_layer_have_no_parts(name):
    (result,) = tfcam.explain(networks.flat(), networks.pictures(1), PAIR, method=name)
    assert result.layer is None
    assert not result.parts
    assert result.raw.shape == (12, 12, 3)


@pytest.mark.parametrize("call", ["a first", "a second", "a third"])
def test_eager_and_compiled_are_one(call):
    model, x = networks.flat(), networks.pictures(2)
    explainer = tfcam.Explainer(model, PAIR)
    for _ in range(["a first", "a second", "a third"].index(call) + 1):
        results = explainer(x, 1)
    assert explainer.layer == "first + features"
    for path in PAIR:
        single = tfcam.explain(model, x, path, target=1)
        for result, alone in zip(results, single, strict=True):
            np.testing.assert_allclose(result.parts[path], alone.raw, rtol=1e-5, atol=1e-6)


def test_all_convolutions_are_those_of_the_list_of_layers():
    model, x = networks.flat(), networks.pictures(1)
    listed = [each.path for each in tfcam.layers(model) if each.convolution]
    assert listed == ["first", "second"]
    (found,) = tfcam.explain(model, x, "all_convolutions", target=1)
    (wanted,) = tfcam.explain(model, x, listed, target=1)
    assert list(found.parts) == listed
    assert found.layer == "first + second"
    np.testing.assert_array_equal(found.heatmap, wanted.heatmap)


def test_nested_convolutions_are_found_and_many_are_named_in_short():
    model, x = networks.make("two levels of nesting"), networks.pictures(1)
    listed = [each.path for each in tfcam.layers(model) if each.convolution]
    (found,) = tfcam.explain(model, x, "all_convolutions", target=1)
    assert list(found.parts) == listed == ["middle/backbone/first", "middle/backbone/second"]
    (plain,) = tfcam.explain(networks.flat(), x, "all_convolutions", target=1)
    np.testing.assert_allclose(found.heatmap, plain.heatmap, atol=1e-5)
    inputs = keras.Input((6, 6, 3))
    y = inputs
    for name in "abcd":
        y = layers.Conv2D(4, 3, padding="same", activation="relu", name=name)(y)
    deep = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))
    (found,) = tfcam.explain(deep, np.ones((1, 6, 6, 3), np.float32), "all_convolutions")
    assert found.layer == "a ... d (4 layers)"
    assert list(found.parts) == list("abcd")


def test_a_network_without_convolutions_is_told():
    inputs = keras.Input((6, 6, 3))
    y = layers.GlobalAveragePooling2D()(layers.Dense(4)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(y), name="plain")
    with pytest.raises(ValueError, match="'plain' has no convolution that gives a map"):
        tfcam.Explainer(model, "all_convolutions")


def test_layers_may_be_indexes_names_and_objects():
    model, x = networks.flat(), networks.pictures(1)
    listed = tfcam.layers(model)
    ends = [listed[0].path, listed[-1].path]
    assert ends == PAIR
    wanted = tfcam.explain(model, x, ends, target=1)[0]
    for given in ([0, -1], (0, "features"), [model.get_layer("first"), len(listed) - 1]):
        found = tfcam.explain(model, x, given, target=1)[0]
        assert list(found.parts) == PAIR
        np.testing.assert_array_equal(found.heatmap, wanted.heatmap)
    # The order is that in which they are given.
    turned = tfcam.explain(model, x, [-1, 0], target=1)[0]
    assert list(turned.parts) == PAIR[::-1]
    np.testing.assert_array_equal(turned.heatmap, wanted.heatmap)


def test_a_list_of_one_layer_is_that_layer():
    model, x = networks.flat(), networks.pictures(1)
    listed, single = (tfcam.explain(model, x, at, target=1)[0] for at in (["first"], "first"))
    assert listed == single
    assert not listed.parts
    assert listed.raw.shape == (12, 12)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ([], "A list of layers must name at least one; got an empty one"),
        ((), "A list of layers must name at least one; got an empty one"),
        (["first", "first"], "must name each once; 'first' is there twice"),
        (["first", 0], "must name each once; 'first' is there twice"),
        ([-1, "features", "first"], "must name each once; 'features' is there twice"),
        (["features", None], "must name each once; 'features' is there twice"),
        (["first", "featres"], r"No layer 'featres'.*Did you mean 'features'"),
        (["first", 99], r"A layer's index must be in 0\.\..*got 99"),
        (["first", "head"], r"is a map \(B, h, w, K\), .* 'head'"),
    ],
)
def test_lists_that_can_not_be_are_told(given, match):
    with pytest.raises(ValueError, match=match):
        tfcam.explain(networks.flat(), networks.pictures(1), given)


def test_parts_are_saved_and_loaded(tmp_path):
    model, x = networks.flat(), networks.pictures(1)
    for method in ("grad_cam", "guided_grad_cam"):
        (result,) = tfcam.explain(model, x, PAIR, target=1, method=method, fuse="mean")
        again = tfcam.Explanation.load(result.save(tmp_path / "result.npz"))
        assert again == result
        assert list(again.parts) == PAIR
        for path in PAIR:
            np.testing.assert_array_equal(again.parts[path], result.parts[path])
        other = tfcam.explain(model, x, PAIR[::-1], target=1, method=method, fuse="mean")[0]
        assert other != result
        assert result.save(tmp_path / "result.png").stat().st_size > 0


def test_the_hand_set_network_in_two_layers():
    x = np.zeros((2, 2, 2), np.float32)
    x[..., 0], x[..., 1] = [[1, 0], [0, 3]], [[0, 2], [0, 0]]
    base = networks.hand_set()
    inputs = keras.Input((2, 2, 2))
    y = base.get_layer("conv")(inputs)
    y = layers.Conv2D(2, 1, use_bias=False, name="double")(y)
    model = keras.Model(inputs, base.get_layer("head")(base.get_layer("pool")(y)))
    model.get_layer("double").set_weights([np.diag([2.0, 1.0])[None, None]])
    result = tfcam.explain(model, x, ["conv", "double"], target=0, fuse="product")
    # Behind the doubling channels are 2 (1 0; 0 3) and (0 2; 0 0), weights (2, -4) / 4; before it
    # (1 0; 0 3) has twice the weight: one map.
    for path in ("conv", "double"):
        assert result.parts[path].tolist() == [[1, -2], [0, 3]]
    np.testing.assert_allclose(result.heatmap, [[1 / 9, 0], [0, 1]], rtol=1e-6)


def test_what_no_layer_supports_is_told():
    model, x = networks.flat(), networks.pictures(1)
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([0 * kernel, bias])
    (result,) = tfcam.explain(model, x, PAIR, target=1)
    assert not result.heatmap.any()
    codes = [each.code for each in result.findings]
    assert codes == ["no_positive_evidence", "gradient_absent", "gradient_absent"]


def test_a_layer_that_is_not_finite_is_told():
    model, x = networks.flat(), networks.pictures(1)
    kernel, bias = model.get_layer("head").get_weights()
    kernel[0, 1] = np.nan
    model.get_layer("head").set_weights([kernel, bias])
    (result,) = tfcam.explain(model, x, PAIR, target=1)
    assert "not_finite" in [each.code for each in result.findings]
    assert not result.heatmap.any()
