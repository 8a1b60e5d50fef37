"""``explain(..., verify=True)``: what is attached is what ``verify`` says."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

import tfcam
from tests.verification.test_verify import LOWER, UPPER, corner_map, lit_corner, of_corner
from tfcam.evaluation.intervals import share_interval
from tfcam.results.explanation import Explanation

SCENES = [tfcam.scenes.draw_scene(seed, kinds=["star"]).image for seed in (1, 2)]
KINDS = tfcam.scenes.KINDS


@pytest.fixture(scope="module")
def demo():
    return tfcam.demo_model()


def marking(rows, columns):
    """A method of one's own that always marks the same part of the picture."""

    def constant(reading):
        heatmap = corner_map(rows, columns)[np.newaxis]
        return keras.ops.convert_to_tensor(heatmap) + 0 * reading.scores[:, None, None]

    return constant


def small():
    """A network that looks at the upper left quarter only, with a layer in between."""
    x = keras.Input((12, 12, 3))
    y = layers.Conv2D(3, 1, kernel_initializer="ones", name="seen")(x)
    seen = keras.ops.mean(y[:, :6, :6, 0], axis=(1, 2))
    logits = keras.ops.stack([4 * seen, 0 * seen + 1, 0 * seen - 4], axis=-1)
    return keras.Model(x, layers.Softmax()(logits))


def test_a_map_of_what_the_model_uses_has_no_finding_and_any_other_has():
    model, image = small(), lit_corner()
    for rows, verdict, codes in (
        (UPPER, "supported", []),
        (LOWER, "not supported", ["unsupported"]),
    ):
        shared = {"method": marking(rows, rows), "target": 0, "preprocess": None}
        result = tfcam.explain(model, image, "seen", verify=True, **shared)
        assert result.verification.verdict == verdict
        assert [finding.code for finding in result.findings] == codes
        assert verdict in repr(result)
    assert "p = 1" in result.findings[0].message
    assert f"{result.name} hardly more" in result.findings[0].message


@pytest.mark.slow
def test_it_is_what_verify_says_saved_and_shown(demo, tmp_path):
    result = tfcam.explain(demo, SCENES[0], labels=KINDS, verify=True)
    plain = tfcam.explain(demo, SCENES[0], labels=KINDS)
    assert replace(result, verification=None) == plain
    assert result.verification == tfcam.verify(demo, plain, labels=KINDS)
    assert Explanation.load(result.save(tmp_path / "a.npz")) == result
    assert result.save(tmp_path / "a.png").exists()
    assert result._repr_html_().count("<tr>") == 5
    assert "supported (p = " in repr(result)


@pytest.mark.slow
def test_each_of_a_batch_and_of_several_targets_has_its_own(demo):
    batch = tfcam.explain(demo, SCENES, target=[4, 3], verify=True)
    for image, target, result in zip(SCENES, [4, 3], batch, strict=True):
        alone = tfcam.verify(demo, tfcam.explain(demo, image, target=target))
        assert result.verification.p_value == alone.p_value
        np.testing.assert_allclose(result.verification.falls, alone.falls, atol=1e-5)
        assert [c.verdict for c in result.verification.checks] == [c.verdict for c in alone.checks]
    top = tfcam.explain(demo, SCENES[0], target=tfcam.Top(2), verify=True)
    assert [each.verification.name for each in top] == [each.name for each in top]
    first, same = top[0].verification, batch[0].verification
    assert (first.p_value, first.verdict) == (same.p_value, same.verdict)
    np.testing.assert_allclose(first.falls, same.falls, atol=1e-5)
    difference = tfcam.Difference(4, 3)
    (one,) = tfcam.explain(demo, SCENES[0], target=[difference], verify=True)
    alone = tfcam.explain(demo, SCENES[0], target=difference)
    same = tfcam.verify(demo, alone, target=difference)
    assert (one.verification.p_value, one.verification.name) == (same.p_value, same.name)
    np.testing.assert_allclose(one.verification.falls, same.falls, atol=1e-5)


def test_of_several_inputs_each_picture_keeps_its_own_others():
    """The second input says which half of the picture is looked at."""
    x, which = keras.Input((12, 12, 3), name="x"), keras.Input((1,), name="which")
    seen = layers.Conv2D(1, 1, kernel_initializer="ones", name="seen")(x)
    halves = keras.ops.stack(
        [keras.ops.mean(half, axis=(1, 2, 3)) for half in (seen[:, :6], seen[:, 6:])], axis=-1
    )
    chosen = keras.ops.concatenate([which, 1 - which], axis=-1)
    number = keras.ops.sum(halves * chosen, axis=-1)
    logits = keras.ops.stack([number, 1 - number], axis=-1)
    model = keras.Model([x, which], layers.Softmax()(logits))
    images = np.ones((2, 12, 12, 3), np.float32)
    others = np.array([[1.0], [0.0]], np.float32)
    shared = {"target": 0, "method": "layer_cam", "preprocess": None, "verify": True}
    results = tfcam.explain(model, [images, others], "seen", **shared)
    for place, result in enumerate(results):
        half = result.heatmap[:6] if place == 0 else result.heatmap[6:]
        assert half.sum() > 0.9 * result.heatmap.sum()
        own = [images[place], others[place]]
        alone = tfcam.explain(model, own, "seen", **shared)
        np.testing.assert_allclose(result.verification.falls, alone.verification.falls, atol=1e-5)
        assert result.verification.explanations == alone.verification.explanations > 0


@pytest.mark.slow
def test_a_slow_method_is_verified_without_being_asked_again(demo):
    result = tfcam.explain(demo, SCENES[0], method="rise", masks=8, cells=4, verify=True)
    assert result.verification.explanations == 0
    assert len(result.verification.falls) == 100


def test_what_can_not_be_verified_is_refused(demo):
    tokens = keras.Input((6,), dtype="int32")
    y = layers.GlobalAveragePooling1D()(layers.Embedding(9, 4)(tokens))
    model = keras.Model(tokens, layers.Dense(3)(y))
    with pytest.raises(ValueError, match="whole numbers"):
        tfcam.explain(model, np.arange(6), verify=True)
    with pytest.raises(TypeError, match="verify must be True or False"):
        tfcam.explain(demo, SCENES[0], verify="yes")


# --- many pictures --------------------------------------------------------------------------


@pytest.mark.slow
def test_evaluate_counts_what_verify_supports(demo):
    scenes = [tfcam.scenes.draw_scene(seed, kinds=[KINDS[seed]]).image for seed in range(4)]
    methods = ["grad_cam", "saliency"]
    result = tfcam.evaluate(
        *(demo, scenes),
        methods=methods,
        metrics=[("supported", {"draws": 19})],
        baselines=["centre_gaussian"],
        batch_size=3,
    )
    for method in methods:
        rows = result.table[result.table["method"] == method]["value"].to_list()
        explained = [tfcam.explain(demo, scene, method=method) for scene in scenes]
        verdicts = [tfcam.verify(demo, each, draws=19).verdict for each in explained]
        assert rows == [verdict == "supported" for verdict in verdicts]
        summary = result.summary.set_index("method").loc[method]
        wanted = share_interval(np.mean(rows), len(rows))
        assert (summary["mean"], summary["low"], summary["high"]) == pytest.approx(wanted)
    hill = result.table[result.table["method"] == "centre_gaussian"]["value"].to_list()
    probe = tfcam.metrics.Probe(demo, scenes)
    hills = [tfcam.metrics.centre_gaussian(scene) for scene in scenes]
    np.testing.assert_array_equal(hill, tfcam.metrics.supported(probe, hills, draws=19))


def test_the_share_of_maps_that_mark_what_the_model_uses():
    images = np.stack([lit_corner()] * 2)
    probe = tfcam.metrics.Probe(of_corner(), images, target=0, preprocess=None)
    heatmaps = [corner_map(UPPER, UPPER), corner_map(LOWER, LOWER)]
    np.testing.assert_array_equal(tfcam.metrics.supported(probe, heatmaps), [1, 0])
    with pytest.raises(ValueError, match="one heatmap for each image, 2; got 1"):
        tfcam.metrics.supported(probe, heatmaps[:1])
    with pytest.raises(ValueError, match="fills must be"):
        tfcam.metrics.supported(probe, heatmaps, fills=["noisy_linear"])


@pytest.mark.slow
def test_a_stream_has_p_and_verdict_as_columns(demo, tmp_path):
    scenes = [tfcam.scenes.draw_scene(seed, kinds=[KINDS[seed]]).image for seed in range(3)]
    explained = [tfcam.explain(demo, scene, labels=KINDS) for scene in scenes]
    verified = [tfcam.verify(demo, each) for each in explained]
    shared = {"labels": KINDS, "batch_size": 2, "shard_size": 2}
    store = tfcam.stream(demo, scenes, to=tmp_path / "a", verify=True, **shared)
    assert store.table["p_value"].to_list() == [each.p_value for each in verified]
    assert store.table["verdict"].to_list() == [each.verdict for each in verified]
    for row, each, one in zip(store, explained, verified, strict=True):
        added = [] if one.verdict == "supported" else ["unsupported"]
        wanted = [finding.code for finding in each.findings] + added
        assert [finding.code for finding in row.findings if finding.code != "no_picture"] == wanted
    again = tfcam.stream(demo, scenes, to=tmp_path / "a", verify=True, **shared)
    assert len(again) == 3
    with pytest.raises(ValueError, match="verify"):
        tfcam.stream(demo, scenes, to=tmp_path / "a", **shared)
    plain = tfcam.stream(demo, scenes, to=tmp_path / "b", **shared)
    assert not {"p_value", "verdict"} & set(plain.table.columns)


def test_a_stream_tests_each_picture_of_its_own_class_and_none_that_is_not_finite(tmp_path):
    model, image = small(), lit_corner()
    other = np.full_like(image, 2e38)  # its sums are infinite
    data = [tfcam.Example(str(n), each, label=n) for n, each in enumerate([image, image, other])]
    store = tfcam.stream(
        *(model, data),
        to=tmp_path,
        layer="seen",
        method=marking(UPPER, UPPER),
        target="label",
        preprocess=None,
        verify=True,
        key="marking",
    )
    assert store.table["verdict"].fillna("").to_list() == ["supported", "not supported", ""]
    assert store.table["p_value"].isna().to_list() == [False, False, True]


def test_a_map_that_is_not_finite_has_no_verification_and_the_others_of_the_batch_have():
    model, image = small(), lit_corner()
    broken = image.copy()
    broken[0, 0] = 3e38  # three of them overflow in the layer
    found = tfcam.explain(model, np.stack([image, broken]), preprocess=None, verify=True)
    assert [each.verification is None for each in found] == [False, True]
    assert [finding.code for finding in found[1].findings] == ["not_finite"]
    alone = tfcam.explain(model, image, preprocess=None, verify=True)
    assert found[0].verification.p_value == alone.verification.p_value
    assert tfcam.explain(model, broken, preprocess=None, verify=True).verification is None
