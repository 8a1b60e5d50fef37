"""The attention loss: its formula, its derivative by the weights, a training with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tfcam.losses import AttentionLoss, AttentionModel, outside_energy, squared_error
from tfcam.metrics.localisation import energy

SIZE, CLASSES, CHANNELS = 6, 2, 3


def energy_replica(M, m):
    """The papers' symbols, one image, loops."""
    outside = total = 0.0
    for y in range(M.shape[0]):
        for x in range(M.shape[1]):
            positive = max(M[y, x], 0.0)
            outside += positive * (1 - m[y, x])
            total += positive
    return outside / total if total > 0 else 0.0


def squared_replica(M, m):
    largest, found = max(M.max(), 0.0), 0.0
    for y in range(M.shape[0]):
        for x in range(M.shape[1]):
            scaled = max(M[y, x], 0.0) / largest if largest > 0 else 0.0
            found += (scaled - m[y, x]) ** 2
    return found / M.size


REPLICAS = {"outside_energy": energy_replica, "squared_error": squared_replica}
LOSSES = {"outside_energy": outside_energy, "squared_error": squared_error}


@pytest.mark.parametrize("name", LOSSES)
def test_formulas_are_those_of_the_papers(name, rng):
    maps, masks = rng.normal(size=(4, 5, 7)), (rng.random((4, 5, 7)) < 0.3).astype(float)
    masks[3] *= 0.25  # masks may be soft
    found = LOSSES[name](tf.constant(maps, tf.float32), tf.constant(masks, tf.float32))
    wanted = [REPLICAS[name](*each) for each in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=2e-6)


def test_energy_by_hand():
    """3 + 1 positive, of which the 3 lie inside: 1/4 outside; the negative does not count."""
    maps = tf.constant([[[3.0, 1.0], [-8.0, 0.0]]])
    assert outside_energy(maps, tf.constant([[[1.0, 0.0], [0.0, 0.0]]])).numpy() == 0.25
    assert outside_energy(maps, tf.constant([[[0.5, 0.0], [0.0, 0.0]]])).numpy() == 0.625
    # (3/3 - 1)^2, (1/3 - 0)^2, 0, (0 - 1)^2
    masks = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
    assert squared_error(maps, masks).numpy() == pytest.approx((1 / 9 + 1) / 4)


@pytest.mark.parametrize("name", LOSSES)
def test_neither_depends_on_the_scale_of_a_map(name, rng):
    maps = tf.constant(rng.normal(size=(2, 4, 4)), tf.float32)
    masks = tf.constant(rng.random((2, 4, 4)) < 0.5, tf.float32)
    one = LOSSES[name](maps, masks)
    for factor in (1e-12, 1e-3, 1e6, 1e30):
        np.testing.assert_allclose(LOSSES[name](factor * maps, masks), one, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("values", [0.0, -1.0, 1e-30, 1e-45, 1e-18])
@pytest.mark.parametrize("mask", [0.0, 0.5, 1.0])
def test_value_and_derivative_are_finite_wherever_they_are_taken(name, values, mask):
    maps = tf.Variable(np.full((1, 3, 3), values, np.float32))
    with tf.GradientTape() as tape:
        found = LOSSES[name](maps, tf.fill((1, 3, 3), mask))
    assert np.isfinite(found.numpy()).all()
    assert np.isfinite(tape.gradient(found, maps).numpy()).all()


class Squared(layers.Layer):
    def call(self, x):
        return x * x


def tiny():
    """1x1 convolution, ReLU, squares, average, dense: gradients depend on the activations."""
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(CHANNELS, 1, activation="relu", name="features")(inputs)
    x = layers.GlobalAveragePooling2D()(Squared()(x))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))


def tiny_replica(K, b, W, images, masks, labels, loss):
    """Grad-CAM of the tiny network and its loss, summed over the images, in float64 with loops.

    A_k = relu(sum_c K_ck x_c + b_k); y = sum_k W_k (1/Z) sum_ij A_ijk^2 + bias, so that
    G_ijk = 2 W_k A_ijk / Z; w_k = (1/Z) sum_ij G_ijk; M_ij = sum_k w_k A_ijk.
    """
    total = 0.0
    for image, mask, label in zip(images, masks, labels, strict=True):
        A = np.maximum(image @ K.reshape(3, CHANNELS) + b, 0.0)
        Z = A.shape[0] * A.shape[1]
        M = np.zeros(A.shape[:2])
        for k in range(CHANNELS):
            w = sum(2 * W[k, label] * A[i, j, k] / Z for i in range(SIZE) for j in range(SIZE)) / Z
            M += w * A[..., k]
        if mask.max() > 0:
            total += loss(M, mask)
    return total


def case(rng):
    model = tiny()
    for weight in model.weights:
        weight.assign(rng.normal(0.2, 0.6, weight.shape))
    images = rng.normal(size=(3, SIZE, SIZE, 3)).astype(np.float32)
    masks = (rng.random((3, SIZE, SIZE)) < 0.4).astype(np.float32)
    return model, images, masks, np.array([0, 1, 1])


@pytest.mark.parametrize("name", LOSSES)
def test_the_derivative_by_the_weights_is_that_of_finite_differences(name, rng):
    """By a float64 replica of network, Grad-CAM and loss: second derivatives and all."""
    model, images, masks, labels = case(rng)
    attention = AttentionLoss(model, "features", loss=name)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(attention(images, masks, labels))
    given = [np.asarray(each, np.float64) for each in model.get_weights()[:3]]

    def replica(weights):
        x = images.astype(np.float64)
        return tiny_replica(*weights, x, masks.astype(float), labels, REPLICAS[name])

    assert float(loss) == pytest.approx(replica(given), rel=1e-5)
    assert float(loss) > 0.1
    for number, slope in enumerate(tape.gradient(loss, model.trainable_weights[:3])):
        wanted = np.zeros(given[number].shape)
        for place in np.ndindex(wanted.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = [each.copy() for each in given]
                moved[number][place] += step
                sides.append(replica(moved))
            wanted[place] = (sides[0] - sides[1]) / 2e-6
        assert np.abs(wanted).max() > 1e-3
        np.testing.assert_allclose(slope, wanted, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("method", ["grad_cam", "cam", "layer_cam", "hires_cam", "grad_cam_pp"])
def test_the_loss_is_what_the_metric_says_of_the_explanation(method):
    """1 - localisation.energy of the heatmap that users see, at the size of the picture."""
    scenes = [tfcam.scenes.draw_scene(seed) for seed in range(3)]
    images = np.stack([each.image for each in scenes])
    masks, labels = (
        np.concatenate([each.masks for each in scenes]),
        [each.labels[0] for each in scenes],
    )
    model = tfcam.demo_model()
    found = AttentionLoss(model, "features", method=method)(images, masks, np.array(labels))
    shown = tfcam.explain(model, images, "features", method=method, target=labels)
    wanted = [1 - energy(each.heatmap, mask) for each, mask in zip(shown, masks, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


FORMS = {
    "channels first": ((3, 10, 12), lambda x: np.moveaxis(x, -1, 1)),
    "in a dict": ((10, 12, 3), lambda x: {"image": x}),
    "grey": ((10, 12), lambda x: x[..., 0]),
    "rows": ((120,), lambda x: x[..., 0].reshape(len(x), -1)),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_are_taken_as_the_model_takes_them(form, rng):
    """The loss is what the energy says of the maps that explain gives, also in fit."""
    shape, as_taken = FORMS[form]
    x = inputs = keras.Input(shape, name="image")
    x = layers.Permute((2, 3, 1))(x) if shape[0] == 3 else x
    x = layers.Reshape((10, 12, 1))(x) if len(shape) < 3 else x
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    outputs = layers.Dense(2, activation="softmax")(layers.Flatten()(x))
    model = keras.Model({"image": inputs} if form == "in a dict" else inputs, outputs)
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape))
    given = as_taken(rng.normal(size=(3, 10, 12, 3)).astype("float32"))
    masks, labels = np.zeros((3, 10, 12), bool), np.array([0, 1, 1])
    masks[:, 2:7, 1:8] = True
    asked = {"method": "layer_cam", "preprocess": None}
    explained = tfcam.explain(model, given, target=labels, **asked)
    pairs = zip(explained.heatmaps, masks > 0, strict=True)
    wanted = np.array([1 - energy(heatmap, mask) for heatmap, mask in pairs])
    attention = AttentionLoss(model, method="layer_cam")
    np.testing.assert_allclose(attention(given, masks, labels), wanted, rtol=1e-4)
    learner = AttentionModel(attention)
    learner.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    history = learner.fit(given, (labels, masks), verbose=0).history
    assert history["attention_loss"] == pytest.approx([wanted.mean()], rel=1e-4)


@pytest.mark.thinned(1)
@pytest.mark.parametrize("output", ["kind", "age"])
def test_labels_of_several_outputs(output, rng):
    """A class of one, a number of the other, which its own loss tells: what raises it is shown."""
    inputs = keras.Input((10, 12, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu", name="conv")(inputs))
    heads = {"kind": layers.Dense(3, name="kind")(x), "age": layers.Dense(1, name="age")(x)}
    model = keras.Model(inputs, heads)
    images = rng.normal(size=(3, 10, 12, 3)).astype("float32")
    masks = (rng.random((3, 10, 12)) < 0.5).astype("float32")
    labels = {"kind": np.array([2, 0, 1]), "age": np.array([[-3.0], [0.0], [53.0]])}
    how = {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "age": "mse"}
    target = labels["kind"] if output == "kind" else tfcam.Regression()
    explained = tfcam.explain(model, images, target=target, output=output, preprocess=None)
    pairs = zip(explained.heatmaps, masks > 0, strict=True)
    wanted = np.array([1 - energy(heatmap, mask) for heatmap, mask in pairs])
    attention = AttentionLoss(model, output=output)
    learner = AttentionModel(attention)
    learner.compile(keras.optimizers.SGD(0.0), how)
    history = learner.fit(images, (labels, masks), verbose=0).history
    assert history["attention_loss"] == pytest.approx([wanted.mean()], rel=1e-4)
    if output == "kind":
        pair = [labels["age"], labels["kind"]]  # in the flat order of the outputs
        for given in (labels, pair, tuple(pair)):
            np.testing.assert_allclose(attention(images, masks, given), wanted, rtol=1e-4)
        with pytest.raises(ValueError, match="Targets must be numbers, .*got strings"):
            attention(images, masks, np.array(["a", "b", "c"]))


@pytest.mark.parametrize("frames", [4, None])
def test_the_gradient_of_masks_of_volumes_is_that_of_a_tape_by_hand(frames, rng):
    """Grad-CAM before a mean and a Dense layer: the weights are W / (D H W), as Zhou et al. say."""
    start = keras.Input((frames, SIZE, SIZE, 1))
    conv = layers.Conv3D(CHANNELS, 3, padding="same", activation="relu", name="seen")
    x = layers.GlobalAveragePooling3D()(conv(start))
    dense = layers.Dense(CLASSES)
    model = networks.seeded(keras.Model(start, dense(x)))
    dense.kernel.assign(abs(dense.kernel) + 0.1)  # so that no map is empty
    volumes = tf.constant(rng.normal(size=(3, 4, SIZE, SIZE, 1)), tf.float32)
    masks, labels = rng.random((3, 4, SIZE, SIZE)) < 0.3, np.array([1, 0, 1])
    with tf.GradientTape() as tape:
        found = AttentionLoss(model)(volumes, masks, labels)
        mean = tf.reduce_mean(found)
    gradients = tape.gradient(mean, model.trainable_weights)
    with tf.GradientTape() as tape:
        A = conv(volumes)
        weights = tf.gather(tf.transpose(dense.kernel), labels) / (4 * SIZE * SIZE)
        M = tf.nn.relu(tf.einsum("bdhwk,bk->bdhw", A, weights))
        outside = tf.reduce_sum(M * (1.0 - tf.cast(masks, tf.float32)), [1, 2, 3])
        wanted = outside / tf.reduce_sum(M, [1, 2, 3])
        by_hand = tf.reduce_mean(wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    weights = [conv.kernel, conv.bias, dense.kernel]
    for one, other in zip(gradients, tape.gradient(by_hand, weights), strict=False):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-6)
    learner = AttentionModel(AttentionLoss(model), weight=1.0)
    learner.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = learner.fit(volumes, (labels, masks[..., np.newaxis]), verbose=0).history
    assert history["attention_loss"][0] == pytest.approx(float(by_hand), rel=1e-3)
    coarse = AttentionLoss(model)(volumes, np.ones((3, 2, 3, 3), bool), labels)
    np.testing.assert_allclose(coarse, 0, atol=1e-6)
    with pytest.raises(ValueError, match=r"Masks must be \(B, D, H, W\) or .*got .*\(3, 6, 6\)"):
        AttentionLoss(model)(volumes, masks[:, 0], labels)


def test_an_image_without_a_mask_counts_nothing(rng):
    model, images, masks, labels = case(rng)
    masks[1] = 0
    attention = AttentionLoss(model, "features")
    with tf.GradientTape() as tape:
        found = attention(images, masks[..., np.newaxis], labels)
    slope = tape.gradient(found[1], model.trainable_weights)
    assert found[1] == 0
    assert all(each is None or not np.any(each.numpy()) for each in slope)
    alone = attention(images[::2], masks[::2], labels[::2])
    np.testing.assert_allclose(alone, found.numpy()[::2], rtol=1e-6)


def test_one_hot_labels_are_classes(rng):
    model, images, masks, labels = case(rng)
    attention = AttentionLoss(model, "features")
    one_hot = np.eye(CLASSES)[labels]
    np.testing.assert_allclose(
        attention(images, masks, one_hot), attention(images, masks, labels), rtol=1e-6
    )


def learner(model, **options):
    made = AttentionModel(AttentionLoss(model, "features"), **options)
    made.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def test_one_step_is_that_of_both_losses_by_hand(rng):
    """SGD: the weights move by -rate x gradient of (crossentropy + weight x mean attention)."""
    model, images, masks, labels = case(rng)
    masks[2] = 0
    attention = AttentionLoss(model, "features")
    with tf.GradientTape() as tape:
        entropy = keras.losses.sparse_categorical_crossentropy(labels, model(images))
        beside = attention(images, masks, labels)
        total = tf.reduce_mean(entropy) + 3.0 * tf.reduce_sum(beside) / 3
    slopes = tape.gradient(total, model.trainable_weights)
    wanted = [w - 0.1 * g for w, g in zip(model.get_weights(), slopes, strict=True)]
    history = learner(model, weight=3.0).fit(images, (labels, masks), verbose=0).history
    assert history["loss"][0] == pytest.approx(float(total), rel=1e-5)
    # Of the two that have a mask.
    assert history["attention_loss"][0] == pytest.approx(float(tf.reduce_sum(beside)) / 2, rel=1e-5)
    for one, other in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_no_weight_is_training_without_it(rng):
    model, images, masks, labels = case(rng)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    learner(model, weight=0.0).fit(images, (labels, masks), epochs=3, shuffle=False, verbose=0)
    plain.fit(images, labels, epochs=3, shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_it_learns_to_look_where_it_is_told(rng):
    model, images, masks, labels = case(rng)
    made = learner(model, weight=5.0)
    data = tf.data.Dataset.from_tensor_slices((images, (labels, masks))).batch(2)
    before = made.evaluate(data, verbose=0, return_dict=True)["attention_loss"]
    made.fit(data, epochs=30, shuffle=False, verbose=0)  # the last batch is smaller
    after = made.evaluate(data, verbose=0, return_dict=True)
    assert after["attention_loss"] < before - 0.1
    assert set(made.evaluate(images, labels, verbose=0, return_dict=True)) == {"loss", "accuracy"}


@pytest.mark.slow
def test_it_is_trained_in_mixed_precision_and_watched(rng, tmp_path):
    policy = keras.mixed_precision.dtype_policy()
    try:
        keras.mixed_precision.set_dtype_policy("mixed_float16")
        model, images, masks, labels = case(rng)
        made = learner(model)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    look = tfcam.callbacks.ExplainCallback(images, "features", folder=tmp_path, max_share=None)
    history = made.fit(images, (labels, masks), epochs=3, verbose=0, callbacks=[look]).history
    assert np.isfinite(history["attention_loss"]).all()
    assert history["attention_loss"][2] != history["attention_loss"][0]
    assert len(list(tmp_path.iterdir())) == 3


def leaky(slope, layers_after=()):
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((12, 12, 3)), layers.Conv2D(4, 3, name="features")]
    rest = [layers.LeakyReLU(slope, name="leaky"), layers.GlobalAveragePooling2D()]
    return keras.Sequential([*inputs, *rest, *layers_after, layers.Dense(3)], name="leaky")


def turned(model):
    model.get_layer("leaky").negative_slope = -2.0


def cut(model):
    model.pop()
    model.add(layers.Activation("tanh"))
    model.add(layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(seed=1)))


@pytest.mark.parametrize("change", [turned, cut])
def test_the_loss_is_of_the_model_as_it_is_now(change, rng):
    masks, labels = rng.random((2, 12, 12)) < 0.5, np.array([0, 2])
    images, models = networks.pictures(2), [leaky(0.3), leaky(0.3)]
    attention = AttentionLoss(models[0], "features")
    before = attention(images, masks, labels).numpy()
    for model in models:
        change(model)
    wanted = AttentionLoss(models[1], "features")(images, masks, labels).numpy()
    np.testing.assert_allclose(attention(images, masks, labels), wanted, rtol=1e-5)
    assert not np.allclose(wanted, before, rtol=1e-2)


@pytest.mark.slow
def test_training_goes_on_with_the_network_as_it_is_now(rng):
    """Also after Keras has compiled its steps."""
    masks, labels = rng.random((2, 12, 12)) < 0.5, np.array([0, 2])
    networks_ = [leaky(0.3), leaky(0.3)]
    learners = [learner(network, weight=3.0) for network in networks_]
    for each in learners:
        each.fit(networks.pictures(2), (labels, masks), verbose=0)
        each.evaluate(networks.pictures(2), (labels, masks), verbose=0)
    step = learners[0].train_function
    learners[0].make_train_function()
    assert learners[0].train_function is step  # nothing was changed
    for network in networks_:
        turned(network)
    learners[1] = learner(networks_[1], weight=3.0)  # which has compiled nothing yet
    found, wanted = (
        each.evaluate(networks.pictures(2), (labels, masks), verbose=0, return_dict=True)
        for each in learners
    )
    assert found == pytest.approx(wanted, rel=1e-5)
    found, wanted = (
        each.fit(networks.pictures(2), (labels, masks), verbose=0).history for each in learners
    )
    assert found["attention_loss"] == pytest.approx(wanted["attention_loss"], rel=1e-5)
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-5)


def test_a_layer_that_is_there_no_more_is_told(rng):
    model = leaky(0.3)
    attention = AttentionLoss(model, "leaky")
    for _ in range(3):
        model.pop()
    model.add(layers.GlobalMaxPooling2D())
    model.add(layers.Dense(3))
    with pytest.raises(ValueError, match="leaky"):
        attention(networks.pictures(2), np.ones((2, 12, 12)), np.array([0, 1]))


def test_saving_it_saves_the_network(tmp_path):
    model = networks.hand_set()
    made = AttentionModel(AttentionLoss(model, "conv"))
    made.compile("sgd", "sparse_categorical_crossentropy")
    images = np.ones((2, 2, 2, 2), np.float32)
    made.fit(images, (np.array([0, 1]), np.ones((2, 2, 2))), verbose=0)
    made.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [each.name for each in loaded.layers] == [each.name for each in model.layers]
    np.testing.assert_array_equal(loaded(images), made(images))


def test_wrong_requests_are_told(rng):
    model, images, masks, labels = case(rng)
    with pytest.raises(ValueError, match="one formula .* 'score_cam' is not. Use cam, grad"):
        AttentionLoss(model, method="score_cam")
    with pytest.raises(ValueError, match="'eigen_cam' is not"):
        AttentionLoss(model, method="eigen_cam")
    with pytest.raises(ValueError, match="loss must be one of outside_energy, squared_error"):
        AttentionLoss(model, loss="energy")
    with pytest.raises(ValueError, match="weight must be at least 0; got -1"):
        AttentionModel(AttentionLoss(model), weight=-1)
    with pytest.raises(ValueError, match="Masks must be .B, H, W. or .* of shape .6, 6."):
        AttentionLoss(model, "features")(images, masks[0], labels)
    series = keras.Sequential([keras.Input((8, 2)), layers.Conv1D(2, 3), layers.Flatten()])
    told = r"AttentionLoss is for models with one input of images, .* takes .*\(8, 2\)"
    with pytest.raises(ValueError, match=told):
        AttentionLoss(series)
