"""Methods measured on texts."""

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests.metrics.test_words import additive, sigmoid

TEXTS = [("a good film", 1), ("a bad film a", 0), ("good bad film", 1), ("film good a a", 1)]


@pytest.mark.slow
def test_methods_are_measured_beside_maps_that_know_nothing():
    result = tfcam.evaluate(additive(), TEXTS, target=1, seed=1)
    assert set(result.summary.metric) == {
        "deletion",
        "insertion",
        "comprehensiveness",
        "sufficiency",
    }
    means = result.wide()
    # The score is a sum of words: each of these finds the order of their weights.
    for metric, lower in [("deletion", True), ("insertion", False), ("comprehensiveness", False)]:
        best = means.loc["occlusion", metric]
        others = means.loc[["random_words", "first_words"], metric]
        assert (best <= others).all() if lower else (best >= others).all()
        embedded = [name for name in means.index if name.startswith("integrated_gradients")]
        assert means.loc[embedded[0], metric] == pytest.approx(best, abs=1e-6)
    assert repr(result).startswith("Evaluation of 'functional")
    assert "on 4 texts" in repr(result)
    row = result.table[(result.table.method == "occlusion") & (result.table.metric == "deletion")]
    without = sigmoid([2.5, 0.5, 0.0, 0.0])
    assert row.value.iloc[0] == pytest.approx((without[1:] + without[:-1]).mean() / 2, abs=1e-6)
    assert row.image.iloc[0] == "000000 a good film"


@pytest.mark.slow
def test_the_label_of_each_text_may_be_explained():
    result = tfcam.evaluate(additive(), TEXTS, target="label", methods=["occlusion"])
    targets = result.table.drop_duplicates("image").target
    assert targets.tolist() == [1, 0, 1, 1]
    plain = tfcam.evaluate(additive(), [text for text, _ in TEXTS], metrics=["deletion"])
    assert plain.table.drop_duplicates("image").target.tolist() == [1, 0, 0, 1]
    assert set(plain.table.metric) == {"deletion"}
    assert np.isfinite(plain.table.value).all()


@pytest.mark.slow
def test_the_share_that_is_supported_is_that_of_verify():
    model, texts = additive(8), ["a good film a a a a a", "a bad film a a a a a", "a good film"]
    asked = {"target": 1, "metrics": ["supported"], "methods": ["occlusion"], "seed": 0}
    found = tfcam.evaluate(model, texts, **asked)
    own = found.table[found.table.method == "occlusion"].value.tolist()
    maps = tfcam.explain(model, texts, method="occlusion", target=1)
    said = [tfcam.verify(model, each).checks[0].verdict == "supported" for each in maps]
    # The best of 56 orders; of one marked word of eight, or of three, no p is as small as 0.05.
    assert own == said == [True, False, False]
    assert found.wide().loc["occlusion", "supported"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_the_best_method_and_layer_of_texts_is_recommended():
    """The score is a sum of words, all of the same slope: leaving out tells them apart."""
    choice = tfcam.recommend(additive(), TEXTS, target=1, methods=["saliency", "occlusion"])
    assert (choice.method, choice.layer, choice.table["rank"].iloc[1] > 1.5) == (
        *("occlusion", ""),
        True,
    )
    assert "best on these 4 texts: deletion" in choice.sentence
    assert "sufficiency" in choice.table
    model = additive()
    (layer,) = (each.name for each in model.layers if isinstance(each, layers.Embedding))
    apart = tfcam.recommend(
        model, TEXTS, methods=["grad_cam"], layers=[layer], metrics=["deletion"]
    )
    assert (apart.method, apart.layer) == ("grad_cam", layer)
    usual = tfcam.recommend(additive(), TEXTS[:2], metrics=["deletion"])
    assert set(usual.table.method) == {
        *("integrated_gradients", "gradient_input", "saliency", "occlusion")
    }
    with pytest.raises(ValueError, match="metrics of texts must be of deletion"):
        tfcam.recommend(additive(), TEXTS, metrics=["road"])


@pytest.mark.slow
def test_texts_come_as_a_file_and_as_a_data_set(tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(text for text, _ in TEXTS))
    options = {"methods": ["occlusion"], "baselines": [], "metrics": ["deletion"]}
    wanted = tfcam.evaluate(additive(), [text for text, _ in TEXTS], **options)
    found = tfcam.evaluate(additive(), tmp_path / "texts.txt", **options)
    assert found.table.equals(wanted.table)
    texts, labels = zip(*TEXTS, strict=True)
    data = tf.data.Dataset.from_tensor_slices((list(texts), list(labels))).batch(3)
    found = tfcam.evaluate(additive(), data, target="label", **options)
    assert found.table.target.tolist() == [1, 0, 1, 1]
    with pytest.raises(ValueError, match="Text number 1 can't be measured. It must be a string"):
        tfcam.evaluate(additive(), [*TEXTS[:1], 5], **options)


def test_what_does_not_fit_is_told(tmp_path):
    model = additive()
    with pytest.raises(ValueError, match="metrics of texts must be of deletion, insertion"):
        tfcam.evaluate(model, TEXTS, metrics=["road"])
    for wrong in ([], "deletion"):
        with pytest.raises(ValueError, match="a list of at least one metric; got"):
            tfcam.evaluate(model, TEXTS, metrics=wrong)
    with pytest.raises(ValueError, match="baselines of texts must be of random_words"):
        tfcam.evaluate(model, TEXTS, baselines=["sobel_edges"])
    with pytest.raises(ValueError, match="explainers and to are for pictures"):
        tfcam.evaluate(model, TEXTS, to=tmp_path / "run")
    with pytest.raises(ValueError, match="A text has no label"):
        tfcam.evaluate(model, ["a good film"], target="label")
