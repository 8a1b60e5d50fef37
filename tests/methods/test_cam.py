"""Formulas: against their float64 replicas, on a network set by hand, and by the laws they obey."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks, replicas
from tests.laws import law
from tests.tolerances import ROUNDED, relative, rounding
from tfcam.methods import METHODS, Need, method
from tfcam.methods.cam import cam, grad_cam, grad_cam_pp
from tfcam.model.graph import graph_of
from tfcam.model.taps import resolve
from tfcam.passes.reading import Reading
from tfcam.passes.submodel import SubModel

SHAPES = [(1, 1, 1), (2, 3, 4), (7, 7, 16), (3, 1, 5)]


def reading(A, G=None, w=None):
    def tensor(values):
        return None if values is None else tf.constant(values[None], tf.float32)

    return Reading(tensor(A), gradients=tensor(G), class_weights=tensor(w))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_methods_equal_their_replicas(rng, shape, signed):
    A = rng.normal(0, 1, shape).astype(np.float32)
    A = A if signed else np.abs(A)
    G = rng.normal(0, 1, shape).astype(np.float32)
    w = rng.normal(0, 1, shape[-1]).astype(np.float32)
    assert relative(cam(reading(A, w=w))[0], replicas.cam(A, w)) < ROUNDED
    assert relative(grad_cam(reading(A, G))[0], replicas.grad_cam(A, G)) < ROUNDED
    A, G = A.astype(np.float64), G.astype(np.float64)
    for name in ("hires_cam", "layer_cam", "grad_cam_elementwise"):
        assert relative(_run(name, A, G), getattr(replicas, name)(A, G)) < ROUNDED, name
    if not signed:
        assert relative(grad_cam_pp(reading(A, G))[0], replicas.grad_cam_pp(A, G)) < ROUNDED
        assert relative(_run("x_grad_cam", A, G), replicas.x_grad_cam(A, G)) < ROUNDED


def _run(name, A, G):
    return tfcam.METHODS[name](reading(A, G))[0]


@law("= Eigen-CAM of G A", "eigen_grad_cam")
@pytest.mark.parametrize("shape", [(1, 1, 3), (4, 4, 40), (7, 7, 256), (14, 14, 8), (9, 5, 45)])
def test_eigen_maps_equal_their_replicas_through_either_gram_matrix(rng, shape):
    A = np.abs(rng.normal(0, 1, shape))
    # One channel stands out, as in networks: near-equal singular values have no one direction.
    A[..., 0] *= 8
    G = np.abs(rng.normal(1, 0.2, shape))
    for maps in (A, -A):
        found = _run("eigen_cam", maps, G)
        assert relative(found, replicas.eigen_cam(maps)) < ROUNDED
        assert (np.asarray(found) >= -1e-5).all()
        assert relative(_run("eigen_grad_cam", maps, G), replicas.eigen_grad_cam(maps, G)) < ROUNDED


@law("invariant to mixed channels; rank one kept", "eigen_cam")
def test_laws_of_eigen_cam(rng):
    A = np.abs(rng.normal(0, 1, (6, 6, 9)))
    A[..., 0] *= 5
    plain = _run("eigen_cam", A, None)
    Q, _ = np.linalg.qr(rng.normal(0, 1, (9, 9)))
    # Channels mixed orthogonally keep a component but for its sign.
    assert relative(np.abs(_run("eigen_cam", A @ Q, None)), np.abs(plain)) < 1e-5
    assert relative(_run("eigen_cam", 1e-12 * A, None), 1e-12 * np.asarray(plain)) < 1e-5
    u, v = np.abs(rng.normal(0, 1, 36)), np.abs(rng.normal(0, 1, 9))
    rank_one = _run("eigen_cam", np.outer(u, v).reshape(6, 6, 9), None)
    assert relative(rank_one, u.reshape(6, 6) * np.linalg.norm(v)) < 1e-5
    assert not np.asarray(_run("eigen_cam", 0 * A, None)).any()


@law("same for every class", "eigen_cam")
def test_eigen_cam_knows_of_no_class():
    model, inputs = networks.flat(), networks.pictures(3)
    maps = [tfcam.explain(model, inputs, target=c, method="eigen_cam").raws for c in range(3)]
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[0], maps[2])
    by_class = [tfcam.explain(model, inputs, target=c, method="eigen_grad_cam") for c in range(3)]
    assert np.abs(by_class[0].raws - by_class[1].raws).max() > 1e-3


def test_x_grad_cam_with_sums_that_vanish_stays_finite(rng):
    A = rng.normal(0, 1, (4, 4, 3)).astype(np.float32)
    A[..., 0] -= A[..., 0].mean()
    A[..., 1] = 0
    G = rng.normal(0, 1, (4, 4, 3)).astype(np.float32)
    kept = np.where(np.arange(3) == 2, A, 0).astype(np.float64)
    assert relative(_run("x_grad_cam", A, G), replicas.x_grad_cam(kept, G)) < 1e-5


@law("= Grad-CAM for even gradients", "x_grad_cam", "hires_cam")
@law("sum = that of HiResCAM", "x_grad_cam")
@law("at least HiResCAM for A >= 0", "layer_cam")
@law("LayerCAM(s) - LayerCAM(-s) = HiResCAM", "layer_cam")
@law("= LayerCAM for A >= 0", "grad_cam_elementwise")
def test_how_the_one_pass_maps_relate(rng):
    A, G = np.abs(rng.normal(0, 1, (5, 5, 7))), rng.normal(0, 1, (5, 5, 7))
    run = {name: np.asarray(_run(name, A, G)) for name in ("hires_cam", "layer_cam", "x_grad_cam")}
    # For A >= 0: LayerCAM is element-wise Grad-CAM, is at least HiResCAM, and contrasts to it.
    assert relative(_run("grad_cam_elementwise", A, G), run["layer_cam"]) < ROUNDED
    assert (run["layer_cam"] >= run["hires_cam"] - 1e-5).all()
    assert relative(run["layer_cam"] - _run("layer_cam", A, -G), run["hires_cam"]) < 1e-5
    # XGrad-CAM keeps the sum of HiResCAM.
    assert run["x_grad_cam"].sum() == pytest.approx(run["hires_cam"].sum(), rel=1e-5)
    # A gradient that is the same everywhere makes Grad-CAM, HiResCAM and XGrad-CAM one map.
    even = np.broadcast_to(G[:1, :1], G.shape)
    for name in ("hires_cam", "x_grad_cam"):
        assert relative(_run(name, A, even), replicas.grad_cam(A, even)) < 1e-5


def test_grad_cam_pp_with_signed_activations_equals_the_replica(rng):
    # The replica gives alpha 0 where the denominator is not positive; kept away from the pole,
    # where no precision would do.
    A = rng.normal(0, 0.05, (5, 5, 6)).astype(np.float32)
    G = rng.normal(0, 1, (5, 5, 6)).astype(np.float32)
    assert (A.sum((0, 1)) < 0).any()
    assert relative(grad_cam_pp(reading(A, G))[0], replicas.grad_cam_pp(A, G)) < ROUNDED
    large = -10 * np.abs(A)
    assert np.isfinite(grad_cam_pp(reading(large, 100 * np.abs(G)))).all()


def test_grad_cam_pp_keeps_its_value_where_the_papers_powers_underflow(rng):
    A = np.abs(rng.normal(0, 1, (7, 7, 4))).astype(np.float32)
    G = np.full((7, 7, 4), 1e-20, np.float32)  # G^2 is 0 in float32
    wanted = 49 * 1e-20 / 2 * A.sum(-1, dtype=np.float64)
    assert relative(grad_cam_pp(reading(A, G))[0], wanted) < ROUNDED


@law("authors' form: relu(G) for even gradients", "grad_cam_pp")
@pytest.mark.parametrize("shape", SHAPES)
def test_normalised_grad_cam_pp_is_the_authors_form(rng, shape):
    A = np.abs(rng.normal(0, 1, shape))
    G = rng.normal(0, 1, shape)
    found = tfcam.METHODS["grad_cam_pp"](reading(A, G), normalize_alpha=True)[0]
    assert relative(found, replicas.grad_cam_pp(A, G, normalised=True)) < ROUNDED
    # A gradient that is the same everywhere leaves the positive gradients themselves.
    even = np.broadcast_to(G[:1, :1], shape)
    found = tfcam.METHODS["grad_cam_pp"](reading(A, even), normalize_alpha=True)[0]
    assert relative(found, replicas.cam(A, np.maximum(even[0, 0], 0))) < ROUNDED


def test_options_reach_the_method_and_the_result():
    model, inputs = networks.flat(), networks.pictures(2)
    kernel = model.get_layer("head").get_weights()[0]
    graph = graph_of(model)
    A = SubModel(graph, [resolve(graph, "features")]).forward(tf.constant(inputs))[1][0]
    for _ in range(2):
        plain = tfcam.explain(model, inputs, target=1, method="grad_cam_pp")
        results = tfcam.explain(model, inputs, target=1, method="grad_cam_pp", normalize_alpha=True)
        wanted = np.maximum(kernel[:, 1], 0) / 36  # the closed form on such a head
        assert relative(results.raws, np.asarray(A) @ wanted) < 1e-5
        assert results[0].options["normalize_alpha"] is True
        assert "normalize_alpha" not in plain[0].options
        assert np.abs(plain.raws - results.raws).max() > 1e-3


def test_the_factor_exp_of_the_score_is_one_number_for_each_image(rng):
    A, G = np.abs(rng.normal(0, 1, (2, 4, 4, 3)))
    plain, scaled = replicas.grad_cam_pp(A, G), replicas.grad_cam_pp(A, G, score=2.5)
    assert relative(scaled, np.exp(2.5) * plain) < 1e-12


@pytest.fixture
def hand():
    """The network set by hand and a picture for it, with channels (1 0; 0 3) and (0 2; 0 0)."""
    image = np.zeros((2, 2, 2), np.float32)
    image[..., 0] = [[1, 0], [0, 3]]
    image[..., 1] = [[0, 2], [0, 0]]
    return networks.hand_set(), image


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("call", ["eager", "compiled"])
def test_hand_computed_maps(hand, call):
    model, image = hand

    def raw(method, target):
        explainer = tfcam.Explainer(model, "conv", method=method)
        for _ in range(1 if call == "eager" else 3):
            result = explainer(image, target)
        return result

    # CAM of class 0: 2 * channel 0 - 4 * channel 1.
    assert raw("cam", 0).raw.tolist() == [[2, -8], [0, 6]]
    # Pooled channels are (1, 0.5): logits 2 * 1 - 4 * 0.5 + 1 and 8 * 0.5.
    assert raw("cam", 0).score == 1.0
    assert raw("cam", 1).score == 4.0
    # The gradient of the mean is W / 4 everywhere: Grad-CAM is CAM / 4.
    assert raw("grad_cam", 0).raw.tolist() == [[0.5, -2], [0, 1.5]]
    # G = 0.5 and -1; S_0 = 4: alpha_0 = 1 / (2 + 0.5 * 4) = 1 / 4, w_0 = 4 * 0.5 / 4, w_1 = 0.
    assert raw("grad_cam_pp", 0).raw.tolist() == [[0.5, 0], [0, 1.5]]
    # HiResCAM and XGrad-CAM are Grad-CAM here; LayerCAM leaves the negative gradient out.
    assert raw("hires_cam", 0).raw.tolist() == raw("x_grad_cam", 0).raw.tolist()
    assert raw("x_grad_cam", 0).raw.tolist() == [[0.5, -2], [0, 1.5]]
    assert raw("layer_cam", 0).raw.tolist() == [[0.5, 0], [0, 1.5]]
    assert raw("grad_cam_elementwise", 0).raw.tolist() == [[0.5, 0], [0, 1.5]]
    # The second channel has one value, the first two: v_1 is the first, of length sqrt(1 + 9).
    np.testing.assert_allclose(raw("eigen_cam", 0).raw, [[1, 0], [0, 3]], atol=rounding(3.0))
    # Gradients by pixels: W / 4 where the ReLU lets through.
    assert raw("saliency", 0).raw[..., 0].tolist() == [[0.5, 0], [0, 0.5]]
    assert raw("saliency", 0).raw[..., 1].tolist() == [[0, -1], [0, 0]]
    # Class 1: G_1 = 2, S_1 = 2: alpha = 1 / 6, w_1 = 4 * 2 / 6 = 4 / 3.
    np.testing.assert_allclose(raw("grad_cam_pp", 1).raw, [[0, 8 / 3], [0, 0]], rtol=ROUNDED)
    # The ReLU lets channel 0 through at (0, 0) and (1, 1); its gradient 0.5 is positive there.
    # Channel 1 has the gradient -1, which guided backpropagation stops.
    guided = raw("guided_backprop", 0).raw
    assert guided[..., 0].tolist() == [[0.5, 0], [0, 0.5]]
    assert not guided[..., 1].any()
    # Guided Grad-CAM is their product with relu(Grad-CAM) = (0.5 0; 0 1.5).
    assert raw("guided_grad_cam", 0).raw[..., 0].tolist() == [[0.25, 0], [0, 0.75]]


def gradients(model, inputs, target, **options):
    """Readings of the flat network at "features"."""
    sub = SubModel(graph_of(model), [resolve(graph_of(model), "features")], **options)
    return sub.read(tf.constant(inputs), tf.constant(target))[0][0]


@law("mean + bias = logit", "cam")
@law("Z x = CAM on a linear head", "grad_cam")
@law("closed form on a linear head", "grad_cam_pp")
def test_laws_on_a_head_of_average_pooling_and_one_dense_layer(rng):
    model, inputs = networks.flat(), networks.pictures(3)
    target = [0, 2, 1]
    read = gradients(model, inputs, target)
    W, b = model.get_layer("head").get_weights()
    A = read.activations.numpy().astype(np.float64)
    maps = np.stack([replicas.cam(A[i], W[:, c].astype(np.float64)) for i, c in enumerate(target)])
    # The mean of CAM plus the bias is the logit; Z times Grad-CAM is CAM.
    np.testing.assert_allclose(maps.mean((1, 2)) + b[target], read.scores, rtol=1e-5)
    assert relative(36 * grad_cam(read), maps) < 1e-5
    assert relative(tfcam.explain(model, inputs, target=target, method="cam").raws, maps) < ROUNDED
    # Grad-CAM++ has a closed form there: w_k = relu(W_kc) / (2 + W_kc mean(A_k)).
    weights = np.maximum(W[:, target].T, 0) / (2 + W[:, target].T * A.mean((1, 2)))
    closed = np.einsum("bhwk,bk->bhw", A, weights)
    assert relative(grad_cam_pp(read), closed) < 1e-5


@law("sum + bias = logit before one linear layer", "hires_cam", "x_grad_cam")
@pytest.mark.parametrize("between", [keras.layers.GlobalAveragePooling2D, keras.layers.Flatten])
def test_the_sum_and_the_bias_are_the_logit_before_one_linear_layer(between):
    source = networks.flat()
    body = keras.Model(source.input, source.get_layer("features").output)
    head = keras.layers.Dense(3, activation="softmax", name="last")
    model = keras.Sequential([keras.Input((12, 12, 3)), body, between(), head])
    W, b = (np.random.default_rng(2).normal(0, 1, w.shape) for w in head.get_weights())
    head.set_weights([W, b])
    x, target = networks.pictures(3), [0, 2, 1]
    for name in ("hires_cam", "x_grad_cam"):
        results = tfcam.explain(model, x, "features", target=target, method=name)
        sums = results.raws.sum((1, 2), dtype=np.float64)
        np.testing.assert_allclose(sums + b[target], [r.score for r in results], rtol=1e-4)
    # Each position by its own weights where these are flattened: M_ij = sum_k W_ijk A_ijk.
    if between is keras.layers.Flatten:
        A = body(x).numpy().astype(np.float64)
        by_hand = (A * W[:, target].T.reshape(3, 6, 6, 8)).sum(-1)
        found = tfcam.explain(model, x, "features", target=target, method="hires_cam").raws
        assert relative(found, by_hand) < ROUNDED


# Grad-CAM++ weighs by the score's own size, Score-CAM by probabilities, as Finer-CAM may as well.
OF_SCALE = ("grad_cam_pp", "smooth_grad_cam_pp", "score_cam")


@pytest.mark.parametrize("name", [n for n in networks.METHODS if n != "finer_cam"])
@pytest.mark.thinned(1)
def test_logits_scaled_by_a_number_leave_the_heatmap_as_it_is(name):
    model, x = networks.flat(), networks.pictures(2)
    before = tfcam.explain(model, x, target=[0, 2], method=name).heatmaps
    head = model.get_layer("head")
    head.set_weights([4 * weight for weight in head.get_weights()])
    after = tfcam.explain(model, x, target=[0, 2], method=name).heatmaps
    if name in OF_SCALE:
        assert np.abs(after - before).max() > 1e-4
    else:
        np.testing.assert_allclose(after, before, atol=2e-5)


@law("of a probability: contrast with all classes", "grad_cam")
def test_grad_cam_of_probability_is_the_contrast_with_all_classes():
    model, inputs = networks.flat(), networks.pictures(2)
    p = model(inputs, training=False).numpy().astype(np.float64)
    each = [tfcam.explain(model, inputs, target=c, method="cam").raws for c in range(3)]
    mean = sum(p[:, c, None, None] * each[c] for c in range(3))
    found = tfcam.explain(model, inputs, "features", target=1, score="probability").raws
    assert relative(found, p[:, 1, None, None] / 36 * (each[1] - mean)) < 1e-4


@law("linear in the target", "grad_cam")
@pytest.mark.parametrize("layer", ["first", "features"])
def test_grad_cam_is_linear_in_the_target(layer):
    model, inputs = networks.flat(), networks.pictures(2)

    def raws(target):
        return tfcam.explain(model, inputs, layer, target=target).raws

    assert relative(raws(lambda o: o[:, 0] + o[:, 2]), raws(0) + raws(2)) < 1e-5
    assert relative(raws(lambda o: 3.0 * o[:, 1]), 3 * raws(1)) < 1e-5
    assert relative(raws(lambda o: o[:, 0] - o[:, 1]), -raws(lambda o: o[:, 1] - o[:, 0])) < ROUNDED


@pytest.mark.parametrize("name", networks.METHODS)
@pytest.mark.thinned(6)
def test_a_channels_order_does_not_matter(name, rng):
    model, inputs = networks.flat(), networks.pictures(2)
    before = tfcam.explain(model, inputs, target=1, method=name).raws
    order = rng.permutation(8)
    for layer in ("second", "norm"):
        weights = model.get_layer(layer).get_weights()
        model.get_layer(layer).set_weights([weight[..., order] for weight in weights])
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel[order], bias])
    after = tfcam.explain(model, inputs, target=1, method=name).raws
    assert relative(after, before) < 1e-5


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("name", networks.METHODS)
@pytest.mark.thinned(6)
def test_a_batch_is_its_images_one_by_one(name, count):
    model, inputs = networks.flat(), networks.pictures(count)
    targets = [index % 3 for index in range(count)]
    together = tfcam.explain(model, inputs, target=targets, method=name)
    for index in range(count):
        alone = tfcam.explain(model, inputs[index], target=targets[index], method=name)
        assert relative(together[index].raw, alone.raw) < ROUNDED
        assert together[index].score == pytest.approx(alone.score, rel=ROUNDED)


@pytest.mark.thinned(9)
@pytest.mark.parametrize("name", networks.METHODS)
def test_logits_of_a_thousand_give_finite_maps(name):
    model = networks.flat()
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel * 3000, bias])
    result = tfcam.explain(model, networks.pictures(1), method=name)[0]
    assert abs(result.score) > 1e3
    assert np.isfinite(result.raw).all()
    empty = [each.code for each in result.findings] == ["no_positive_evidence"]
    assert result.heatmap.max() == (0.0 if empty else 1.0)
    least = result.raw.min() if name == "rise" else 0  # its heatmap shows what is above that
    assert empty == (result.raw.max() <= least)


def test_a_function_of_ones_own_is_a_method():
    def brightest(reading):
        """The largest activation at each position."""
        return tf.reduce_max(reading.activations, axis=-1)

    model, inputs = networks.flat(), networks.pictures(2)
    results = tfcam.explain(model, inputs, "features", method=brightest)
    wanted = keras.Model(model.inputs, model.get_layer("features").output)([inputs]).numpy().max(-1)
    np.testing.assert_allclose(results.raws, wanted, rtol=ROUNDED)
    assert results[0].method == "brightest"


def test_a_method_that_returns_no_map_is_refused():
    with pytest.raises(ValueError, match=r"must return a tensor \(B, h, w\).*'whole' returned"):
        tfcam.explain(
            networks.flat(), networks.pictures(1), method=_named("whole", lambda r: r.activations)
        )
    with pytest.raises(ValueError, match=r"'array' returned .*NoneType"):
        tfcam.explain(networks.flat(), networks.pictures(1), method=_named("array", lambda r: None))


def _named(name, function):
    function.__name__ = name
    return function


def test_a_method_of_ones_own_does_not_take_the_place_of_a_built_in_one():
    def grad_cam(reading):
        return reading.activations[..., 0]

    before = METHODS["grad_cam"].function
    with pytest.raises(ValueError, match="a name of its own; tfcam has a 'grad_cam' already"):
        method(Need.NOTHING)(grad_cam)
    assert METHODS["grad_cam"].function is before
