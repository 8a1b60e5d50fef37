"""A single unit is two classes in every door: a hand-set network, green for class 1, red for 0.

A picture has a red square at the top left and a green one at the bottom right; the logit is
z = 108 mean(green) - 72 mean(red) + 0.25, all of which is redone here in NumPy.
"""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam.callbacks import ExplainCallback
from tfcam.losses import AttentionLoss, AttentionModel
from tfcam.metrics.probing import Probe

SIDE, RED, GREEN = 12, (slice(1, 3), slice(1, 3)), (slice(5, 7), slice(5, 7))
PLACES = (RED, GREEN)
LABELS = ["cat", "dog"]


def network(activation="sigmoid", loss=None):
    """Conv of the colours, ReLU, average pooling, one unit."""
    ends = keras.Input((SIDE, SIDE, 3))
    x = layers.Rescaling(1 / 255)(ends)
    x = layers.Conv2D(3, 1, use_bias=False, activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(ends, layers.Dense(1, activation=activation, name="head")(x))
    model.get_layer("conv").set_weights([np.eye(3, dtype="f4")[None, None]])
    weights = np.array([[-72.0], [108.0], [0.0]], "f4")
    model.get_layer("head").set_weights([weights, np.array([0.25], "f4")])
    if loss is not None:
        model.compile("sgd", loss)
    return model


FROM_LOGITS = keras.losses.BinaryCrossentropy(from_logits=True)
NETWORKS = {
    "sigmoid": lambda: network(),
    "a logit": lambda: network(None, FROM_LOGITS),
    "Activation": lambda: ended(layers.Activation("sigmoid")),
    "an operation": lambda: ended(keras.ops.sigmoid),
    "a Lambda": lambda: ended(layers.Lambda(tf.sigmoid)),
    "reshaped": lambda: ended(layers.Activation("sigmoid"), layers.Reshape((1, 1, 1))),
    "nested": lambda: nested(),
    "subclassed": lambda: subclassed(),
}


def ended(*steps):
    bare = network(None)
    x = bare.output
    for step in steps:
        x = step(x)
    return keras.Model(bare.input, x)


def nested():
    ends = keras.Input((SIDE, SIDE, 3))
    return keras.Model(ends, layers.Dropout(0.5)(network()(ends)))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = network(None)

    def call(self, x):
        return tf.sigmoid(self.inner(x))


def subclassed():
    model = Own()
    model(np.zeros((1, SIDE, SIDE, 3), "f4"))
    return model


def pictures():
    """Two pictures (uint8) of which the first is of class 0, red, the second of class 1, green."""
    made = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    for picture, red, green in zip(made, (255, 102), (102, 255), strict=True):
        picture[(*RED, 0)], picture[(*GREEN, 1)] = red, green
    return made


def logits(images):
    means = images.astype(float).mean((1, 2)) / 255
    return 108 * means[:, 1] - 72 * means[:, 0] + 0.25


def class_map(images, index):
    """CAM of each picture: the channels weighted by the class's weights."""
    sign = 2 * index - 1
    return sign * (108.0 * images[..., 1] - 72.0 * images[..., 0]) / 255


def inside(heatmap, index):
    """Whether all of a map lies in the square of a class."""
    return heatmap[PLACES[index]].sum() > 0.99 * heatmap.sum() > 0


Z = logits(pictures())
P = 1 / (1 + np.exp(-Z))


def test_the_pictures_are_of_two_classes():
    assert Z[0] < -0.5 < 0.5 < Z[1]


@pytest.mark.thinned(2)
@pytest.mark.parametrize("kind", NETWORKS)
def test_targets_of_a_single_unit(kind):
    model, images = NETWORKS[kind](), pictures()
    layer = "conv" if kind != "nested" else None
    for options in ({}, {"freeze": True}):
        explainer = tfcam.Explainer(model, layer, labels=LABELS, **options)
        for _ in range(2):  # as it is, then compiled
            predicted = explainer(images)
            assert [each.label for each in predicted] == LABELS
            named = [explainer(images, target) for target in (0, "dog")]
            for index, results in (*enumerate(named), (None, predicted)):
                for place, result in enumerate(results):
                    c = place if index is None else index
                    assert (result.target, result.label, result.score_kind) == (
                        c,
                        LABELS[c],
                        "logit",
                    )
                    assert result.score == pytest.approx((2 * c - 1) * Z[place], rel=1e-5)
                    assert result.probability == pytest.approx((1 - P, P)[c][place], rel=1e-5)
                    np.testing.assert_allclose(
                        result.raw * SIDE**2, class_map(images, c)[place], rtol=1e-4, atol=1e-5
                    )
                    assert inside(result.heatmap, c)


@pytest.mark.parametrize("kind", ["sigmoid", "a logit"])
def test_several_targets_differences_and_probabilities(kind):
    model, (picture, _) = NETWORKS[kind](), pictures()
    top = tfcam.explain(model, picture, target=tfcam.Top(2))
    assert [each.target for each in top] == [0, 1]
    assert [each.score for each in top] == pytest.approx([-Z[0], Z[0]], rel=1e-5)
    with pytest.raises(ValueError, match=r"at most the number of classes, 2; got 3"):
        tfcam.explain(model, picture, target=tfcam.Top(3))
    with pytest.raises(ValueError, match=r"in 0\.\.1: 2 classes; got 2"):
        tfcam.explain(model, picture, target=2)
    for target, sign in ((tfcam.Difference(1, 0), 1), (tfcam.Difference(None, 1), -1)):
        assert tfcam.explain(model, picture, target=target).score == pytest.approx(
            2 * sign * Z[0], rel=1e-5
        )
    for target, p in ((0, 1 - P[0]), (1, P[0]), (None, 1 - P[0])):
        result = tfcam.explain(model, picture, target=target, score="probability")
        assert (result.score_kind, result.findings) == ("probability", ())
        assert (result.score, result.probability) == pytest.approx((p, p), rel=1e-5)
    mixed = tfcam.explain(model, pictures(), target=[0, lambda outputs: 3 * outputs[:, 0]])
    assert [each.score for each in mixed] == pytest.approx([-Z[0], 3 * Z[1]], rel=1e-5)
    assert mixed[0].target == 0
    likely = tfcam.explain(model, pictures(), target=[0, tfcam.Regression()], score="probability")
    assert likely[0].score == pytest.approx(1 - P[0], rel=1e-5)


@pytest.mark.parametrize("kind", ["sigmoid", "a logit"])
@pytest.mark.parametrize(
    "method", [m for m in networks.METHODS if tfcam.METHODS[m].of_class == "yes"]
)
@pytest.mark.thinned(5)
def test_every_method_of_classes_shows_each_class_at_its_place(kind, method):
    model, (picture, _) = NETWORKS[kind](), pictures()
    for index in (0, 1):
        result = tfcam.explain(model, picture, target=index, method=method)
        if tfcam.METHODS[method].shown_as:  # windows and cells reach over the edge of a square
            own, other = (result.heatmap[PLACES[c]].mean() for c in (index, 1 - index))
            assert own > 1.5 * max(other, result.heatmap.mean())
        else:
            assert inside(result.heatmap, index) or result.raw.ndim == 3
        if method in ("cam", "finer_cam"):
            times = {"cam": 1, "finer_cam": 2 / SIDE**2}[method]
            wanted = times * class_map(pictures(), index)[0]
            np.testing.assert_allclose(result.raw, wanted, rtol=1e-4, atol=1e-5)
    if method not in ("cam", "finer_cam"):
        values = [tfcam.explain(model, picture, target=c, method=method).raw for c in (0, 1)]
        if method in ("grad_cam", "hires_cam", "x_grad_cam", "saliency", "integrated_gradients"):
            np.testing.assert_allclose(values[0], -values[1], rtol=1e-3, atol=1e-6)


def test_compare_and_diagnose_name_the_classes():
    model, (picture, _) = network(), pictures()
    shown = tfcam.compare(model, picture, methods=["grad_cam"], targets=[0, 1], labels=LABELS)
    assert shown.columns == ("cat", "dog")
    assert [inside(shown[0, c].heatmap, c) for c in (0, 1)] == [True, True]
    facts = tfcam.diagnose(model, picture).facts
    assert facts["explained"] == f"class 0, {-Z[0]:.6g}"
    single = tfcam.explain(model, picture, labels=["dog"])
    assert (single.target, single.label) == (0, "not dog")
    with pytest.raises(ValueError, match=r"must name its two classes, class 0 first.*; got 3\."):
        tfcam.explain(model, picture, labels=["a", "b", "c"])


def test_the_faithfulness_of_each_side_is_that_of_its_probability():
    model, images = network(), pictures()
    assert Probe(model, images).probabilities == pytest.approx([1 - P[0], P[1]], rel=1e-5)
    for index, wanted in ((0, 1 - P), (1, P)):
        probe = Probe(model, images, index)
        assert probe.probabilities == pytest.approx(wanted, rel=1e-5)
        assert probe.targets.tolist() == [index] * 2
        changed = images.astype("f4") * 0
        empty = (0.25, -0.25)[index == 0]
        assert probe(changed, [0, 1]) == pytest.approx([1 / (1 + np.exp(-empty))] * 2, rel=1e-5)
    heatmaps = [each.heatmap for each in tfcam.explain(model, images)]
    for metric, better in ((tfcam.metrics.deletion, -1), (tfcam.metrics.insertion, 1)):
        curves = [metric(Probe(model, images), each) for each in (heatmaps, heatmaps[::-1])]
        ends = curves[0].probabilities[:, [0, -1]]
        whole = ends[:, 0] if better < 0 else ends[:, 1]
        assert whole == pytest.approx([1 - P[0], P[1]], rel=1e-5)
        right, wrong = (curve.probabilities.mean(1) for curve in curves)
        assert (better * right > better * wrong).all()
    masked = images * np.stack(heatmaps)[..., np.newaxis]
    likely = 1 / (1 + np.exp(-logits(masked)))
    before, after = np.array([1 - P[0], P[1]]), np.array([1 - likely[0], likely[1]])
    drop = tfcam.metrics.average_drop(Probe(model, images), heatmaps)
    assert drop == pytest.approx(np.maximum(before - after, 0) / before, abs=1e-5)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("labels", [np.array([0, 1]), np.float32([[0], [1]]), np.eye(2)])
def test_evaluate_and_recommend_explain_the_labels(labels):
    model, images = network(), pictures()
    boxes = [np.float32([[1, 1, 3, 3]]), np.float32([[5, 5, 7, 7]])]
    swapped = [
        tfcam.Example(str(n), image, box, label)
        for n, (image, box, label) in enumerate(zip(images, boxes, labels, strict=True))
    ]
    found = tfcam.evaluate(
        model,
        swapped,
        methods=["grad_cam", "cam"],
        metrics=["pointing_game", "deletion"],
        target="label",
        baselines=(),
    )
    assert found.table[found.table.metric == "pointing_game"].value.tolist() == [1.0] * 4
    assert found.table.target.tolist() == [0] * 4 + [1] * 4
    wanted = {0: 1 - P[0], 1: P[1]}
    assert found.table.probability.tolist() == pytest.approx(
        [wanted[each] for each in found.table.target], rel=1e-5
    )
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    choice = tfcam.recommend(
        model,
        data,
        methods=["grad_cam", "cam"],
        layers=["conv"],
        metrics=["deletion"],
        target="label",
    )
    assert choice.evaluation.table.target.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("labels", [np.array([1, 0]), np.float32([[1], [0]]), np.eye(2)[::-1]])
def test_stream_explains_the_labels(tmp_path, labels):
    data = tf.data.Dataset.from_tensor_slices((pictures(), labels))
    store = tfcam.stream(network(), data, to=tmp_path / "store", target="label", labels=LABELS)
    assert store.table["label"].tolist() == ["dog", "cat"]
    assert store.table["truth"].tolist() == ["1", "0"]
    assert store.table["score"].tolist() == pytest.approx([Z[0], -Z[1]], rel=1e-5)


@pytest.mark.parametrize("labels", [np.array([1, 0]), np.float32([[1], [0]])])
def test_the_callback_takes_the_labels_of_fit(labels):
    model, images = network(loss="binary_crossentropy"), pictures()
    boxes = [np.float32([[5, 5, 7, 7]]), np.float32([[1, 1, 3, 3]])]
    look = ExplainCallback(images, target=labels, boxes=boxes)
    model.optimizer.learning_rate = 0.0
    history = model.fit(images, labels, epochs=1, verbose=0, callbacks=[look]).history
    assert [each.target for each in look.explanations] == [1, 0]
    assert history["explain_pointing_game"] == [1.0]


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("kind", ["sigmoid", "a logit"])
@pytest.mark.parametrize("form", [(2,), (2, 1)])
def test_the_attention_loss_looks_at_the_map_of_each_label(kind, form):
    model, images = NETWORKS[kind](), pictures().astype("f4")
    labels = np.array([0.0, 1.0], "f4").reshape(form)
    masks = np.zeros((2, SIDE, SIDE), bool)
    masks[(0, *RED)] = masks[(1, *GREEN)] = True
    attention = AttentionLoss(model, "conv")
    assert attention(images, masks, labels).numpy() == pytest.approx([0, 0], abs=1e-6)
    assert attention(images, masks, 1 - labels).numpy() == pytest.approx([1, 1], abs=1e-6)
    learner = AttentionModel(attention)
    learner.compile("sgd", FROM_LOGITS if kind == "a logit" else "binary_crossentropy")
    learner.optimizer.learning_rate = 0.0
    for given, wanted in ((labels, 0), (1 - labels, 1)):
        history = learner.fit(images, (given, masks), verbose=0).history
        assert history["attention_loss"] == pytest.approx([wanted], abs=1e-6)
    number = AttentionModel(AttentionLoss(network(None), "conv"))
    number.compile("sgd", "mse")
    assert np.isfinite(number.fit(images, (-3 * labels, masks), verbose=0).history["loss"][0])


@pytest.mark.slow
def test_an_exported_explainer_and_a_dream_take_both_classes(tmp_path):
    model, images = network(), pictures()
    for target, wanted in ((0, [0, 0]), (None, [0, 1])):
        tfcam.Explainer(model, labels=LABELS).export(tmp_path / str(target), target)
        serve = tf.saved_model.load(tmp_path / str(target)).signatures["serving_default"]
        made = serve(image=tf.constant(images))
        assert made["class"].numpy().tolist() == wanted
        signed = [(2 * c - 1) * z for c, z in zip(wanted, Z, strict=True)]
        assert made["score"].numpy() == pytest.approx(signed, rel=1e-5)
        for heatmap, index in zip(made["heatmap"].numpy(), wanted, strict=True):
            assert inside(heatmap, index)
    dreams = [tfcam.dream(model, index, steps=20) for index in (0, 1)]
    assert dreams[0].start == pytest.approx(-dreams[1].start, rel=1e-5)
    for each in dreams:
        assert each.scores[0] > each.start[0]
        assert each.probabilities[0] == pytest.approx(
            1 / (1 + np.exp(-each.scores[0])), rel=1e-4, abs=1e-6
        )
    table = tfcam.metrics.class_sensitivity(model, images, methods=["grad_cam"])
    assert table["spearman"][0] == pytest.approx(-1, abs=1e-6)


@pytest.mark.product
def test_on_the_command_line(tmp_path):
    model, images = network(), pictures()
    model.save(tmp_path / "model.keras")
    keras.utils.save_img(tmp_path / "red.png", images[0], scale=False)
    command = [sys.executable, "-m", "tfcam", "explain", str(tmp_path / "red.png"), "--json"]
    command += [
        "--model",
        str(tmp_path / "model.keras"),
        "--target",
        "1",
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    record = json.loads(done.stdout)
    record = record[0] if isinstance(record, list) else record
    assert record["target"] == 1
    assert record["score"] == pytest.approx(Z[0], rel=1e-5)


# --- a mask of one channel ------------------------------------------------------------------


def mask_network(activation):
    """Each pixel's logit is 4 green - 4 red - 1: it is of class 1 in the green square alone."""
    ends = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(3, 1, use_bias=False, name="features")(layers.Rescaling(1 / 255)(ends))
    model = keras.Model(ends, layers.Conv2D(1, 1, activation=activation, name="mask")(x))
    model.get_layer("features").set_weights([np.eye(3, dtype="f4")[None, None]])
    weights = np.array([-4.0, 4.0, 0.0], "f4").reshape(1, 1, 3, 1)
    model.get_layer("mask").set_weights([weights, np.array([-1.0], "f4")])
    return model


@pytest.mark.parametrize("activation", ["sigmoid", None])
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_a_mask_of_one_channel_has_two_classes(activation, score):
    model, images = mask_network(activation), pictures()
    pixels = images.astype(float) / 255
    z = 4 * pixels[..., 1] - 4 * pixels[..., 0] - 1
    p = 1 / (1 + np.exp(-z))
    likely = score == "probability" and activation is not None
    sides = (1 - p, p) if likely else (-z, z)
    for index in (0, 1):
        target = tfcam.Segmentation(index)
        results = tfcam.explain(model, images, "features", target=target, score=score)
        own = (z > 0) == (index == 1)
        wanted = (sides[index] * own).sum((1, 2))
        assert [each.score for each in results] == pytest.approx(wanted.tolist(), rel=1e-4)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[RED] = True
    about = tfcam.explain(
        model, images[0], "features", target=tfcam.Segmentation("cat", mask), labels=LABELS
    )
    assert inside(about.heatmap, 0)
    assert about.label == "segmentation of cat"


MOVES = {
    "the last axis again": lambda y: keras.ops.expand_dims(keras.ops.squeeze(y, -1), -1),
    "transposed": layers.Permute((2, 1, 3)),
    "as a row": layers.Reshape((1, SIDE * SIDE, 1)),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_the_logits_of_a_mask_are_found_behind_what_lays_it_out_anew(move):
    """They were taken for logits and were probabilities: class 0 had none, class 1 all pixels."""
    plain = mask_network("sigmoid")
    model, image = keras.Model(plain.inputs, move(plain.output)), pictures()[0]
    for index in (0, 1):
        target = tfcam.Segmentation(index)
        found, wanted = (
            tfcam.explain(each, image, "features", target=target) for each in (model, plain)
        )
        assert found.score == pytest.approx(wanted.score, rel=1e-4)
        np.testing.assert_allclose(found.raw, wanted.raw, rtol=1e-3, atol=1e-5)
        assert found.findings == wanted.findings


# --- a logit or a number --------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_linear_unit_is_is_asked_of_loss_labels_and_target():
    _, picture = pictures()
    dark = pictures()[0]
    # Nothing tells: what raises the number, and a finding.
    for image, z in zip((dark, picture), Z, strict=True):
        number = tfcam.explain(network(None), image)
        assert (number.target, number.label, number.score_kind) == (None, "the number", "output")
        assert number.score == pytest.approx(z, rel=1e-5)
        assert number.probability is None
        assert [each.code for each in number.findings] == ["one_number"]
        assert inside(number.heatmap, 1)
    # A class is asked for.
    for target in (0, 1):
        taken = tfcam.explain(network(None), dark, target=target)
        assert taken.score == pytest.approx((2 * target - 1) * Z[0], rel=1e-5)
        assert [each.code for each in taken.findings] == ["one_logit"]
        assert inside(taken.heatmap, target)
    # Labels of both classes, or a loss of two.
    losses = ("binary_crossentropy", keras.losses.BinaryFocalCrossentropy(from_logits=True))
    told = [(network(None), {"labels": LABELS})]
    told += [(network(None, loss), {}) for loss in losses]
    for model, options in told:
        result = tfcam.explain(model, dark, **options)
        assert (result.target, result.findings) == (0, ())
        assert result.score == pytest.approx(-Z[0], rel=1e-5)
    # A loss of numbers, or one label.
    told = [(network(None), {"labels": ["age"]})]
    told += [(network(None, loss), {}) for loss in ("mse", keras.losses.Huber())]
    for model, options in told:
        for target in (None, 0):
            result = tfcam.explain(model, dark, target=target, **options)
            assert (result.target, result.findings) == (None, ())
            assert result.label == options.get("labels", ["the number"])[0]
            assert result.score == pytest.approx(Z[0], rel=1e-5)
        with pytest.raises(ValueError, match=r"in 0\.\.0: 1 classes; got 1"):
            tfcam.explain(model, dark, target=1, **options)
        with pytest.raises(ValueError, match=r"Top needs classes to choose from"):
            tfcam.explain(model, dark, target=tfcam.Top(1), **options)
        with pytest.raises(ValueError, match="finer_cam.* one number, which tells none apart"):
            tfcam.explain(model, dark, method="finer_cam", **options)
        assert Probe(model, dark, **options).probabilities == pytest.approx([Z[0]], rel=1e-5)
        cam = tfcam.explain(model, dark, method="cam", **options)
        np.testing.assert_allclose(cam.raw, class_map(pictures(), 1)[0], rtol=1e-4, atol=1e-5)


def test_the_loss_of_each_output_is_its_own():
    bare = network(None)
    pooled = bare.get_layer("pool").output
    outputs = {"age": layers.Dense(1, name="age")(pooled), "dog": bare.output}
    model = keras.Model(bare.input, outputs)
    model.compile("sgd", {"age": "mse", "dog": FROM_LOGITS})
    dark = pictures()[0]
    assert tfcam.explain(model, dark, "conv", output="age").label == "the number"
    dog = tfcam.explain(model, dark, "conv", output="dog")
    assert (dog.target, dog.findings) == (0, ())
    assert dog.score == pytest.approx(-Z[0], rel=1e-5)


def test_a_number_between_0_and_1_is_no_probability_where_the_structure_says_so():
    model, images = network("tanh", "hinge"), pictures()
    bent = np.tanh(Z)  # -0.50 and 0.985
    for index in (0, 1):
        for result, value in zip(tfcam.explain(model, images, target=index), bent, strict=True):
            assert (result.target, result.score_kind) == (index, "logit")
            assert result.score == pytest.approx((2 * index - 1) * value, rel=1e-5)


class Several(keras.Model):
    """A dict of a sigmoid unit and of a number, which is a third of its logit, turned over."""

    def __init__(self):
        super().__init__()
        self.inner = network(None)

    def call(self, x):
        z = self.inner(x)
        return {"dog": tf.sigmoid(z), "age": z / -3}


def test_each_output_of_a_subclassed_model_is_what_it_is():
    model, images = Several(), pictures()
    model(np.zeros((1, SIDE, SIDE, 3), "f4"))
    dog = tfcam.explain(model, images, "conv", output="dog", preprocess="raw")
    assert [each.target for each in dog] == [0, 1]
    age = tfcam.explain(model, images, "conv", output="age", preprocess="raw")
    assert [each.label for each in age] == ["the number"] * 2
    assert [each.score for each in age] == pytest.approx((-Z / 3).tolist(), rel=1e-5)
    assert [each.code for each in age[1].findings if each.code == "one_number"] == ["one_number"]
