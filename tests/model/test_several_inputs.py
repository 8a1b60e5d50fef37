"""Models with several inputs: one is explained, as if the others were constants inside."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcam
from tests import networks
from tests.networks import seeded
from tfcam.images.loading import resize_image
from tfcam.model.graph import graph_of

SIZE, OTHER = 12, 8
RNG = np.random.default_rng(4)
LEFT = RNG.normal(size=(3, SIZE, SIZE, 3)).astype("float32")
RIGHT = RNG.normal(size=(3, OTHER, OTHER, 3)).astype("float32")
FACTS = RNG.normal(size=(3, 4)).astype("float32")
GIVEN = {"left": LEFT, "right": RIGHT, "facts": FACTS}
ORDER = ["left", "right", "facts"]  # as a list; a dict is in the order of its keys


class Fixed(layers.Layer):
    """One of a batch of constants, once for each example; which one can be set."""

    def __init__(self, values, which):
        super().__init__()
        self.values, self.which = tf.constant(values), which

    def call(self, x):
        return tf.repeat(self.values[self.which][None], tf.shape(x)[0], 0)

    def compute_output_shape(self, shape):
        return (shape[0], *self.values.shape[1:])


def tower(x, name):
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name=f"{name}_first")(x)
    x = layers.MaxPooling2D(name=f"{name}_smaller")(x)
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name=f"{name}_last")(x)
    return layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)


def joined(left, right, facts):
    """A head whose gradients depend on every input."""
    seen = [tower(left, "left"), tower(right, "right"), layers.Dense(6, name="facts_dense")(facts)]
    x = layers.Concatenate(name="join")(seen)
    x = layers.Dense(7, activation="relu", name="mixed")(x)
    return layers.Dense(3, activation="softmax", name="head")(x)


def inputs():
    return {
        "left": keras.Input((SIZE, SIZE, 3), name="left"),
        "right": keras.Input((OTHER, OTHER, 3), name="right"),
        "facts": keras.Input((4,), name="facts"),
    }


def as_list():
    given = inputs()
    return seeded(keras.Model([given[name] for name in ORDER], joined(**given)), 8)


def as_tuple():
    given = inputs()
    return seeded(keras.Model(tuple(given[name] for name in ORDER), joined(**given)), 8)


def as_dict():
    given = inputs()
    return seeded(keras.Model(given, joined(**given)), 8)


class Called(keras.Model):
    """A subclassed model, called with a dict."""

    def __init__(self):
        super().__init__()
        self.inner = as_list()

    def call(self, given):
        return self.inner([given[name] for name in ORDER])


def subclassed():
    model = Called()
    model({name: value[:1] for name, value in GIVEN.items()})
    return model


def nested():
    given = inputs()
    return keras.Model(given, as_list()([given[name] for name in ORDER]))


KINDS = {
    "list": (as_list, list),
    "tuple": (as_tuple, tuple),
    "dict": (as_dict, dict),
    "subclassed": (subclassed, dict),
    "nested": (nested, dict),
}


def given(kind, index=slice(None)):
    """What a model takes, of some of the examples."""
    chosen = {name: value[index] for name, value in GIVEN.items()}
    return chosen if kind is dict else kind(chosen[name] for name in ORDER)


def alone(name):
    """The model of one input alone, the others being constants inside, and what sets these."""
    which, taken = tf.Variable(0), inputs()[name]
    fixed = {each: Fixed(GIVEN[each], which)(taken) for each in ORDER if each != name}
    return seeded(keras.Model(taken, joined(**{**fixed, name: taken})), 8), which


OPTIONS = {
    "smooth_grad": {"samples": 3},
    "smooth_grad_cam_pp": {"samples": 3},
    "integrated_gradients": {"steps": 4},
}
# One for each way in which a method asks the network.
METHODS = ["grad_cam", "eigen_cam", "finer_cam", "saliency", "guided_backprop", "guided_grad_cam"]
METHODS += ["score_cam", "ablation_cam", "smooth_grad", "smooth_grad_cam_pp"]
METHODS += ["integrated_gradients"]


@pytest.fixture(scope="module")
def wanted():
    """Each input's maps, example by example, of the models that take it alone."""
    found = {}
    for name in ("left", "right"):
        model, which = alone(name)
        for method in METHODS:
            options = OPTIONS.get(method, {})
            explainer = tfcam.Explainer(model, f"{name}_last", method=method, **options)
            found[name, method] = []
            for index in range(3):
                which.assign(index)
                found[name, method].append(explainer(GIVEN[name][index], index))
    return found


def assert_same(results, wanted):
    for one, other in zip(results, wanted, strict=True):
        np.testing.assert_allclose(one.raw, other.raw, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(one.heatmap, other.heatmap, atol=1e-3)
        assert one.score == pytest.approx(other.score, rel=1e-4)
        assert one.measured == pytest.approx(other.measured, abs=1e-4)
        np.testing.assert_array_equal(one.image, other.image)


@pytest.fixture(scope="module")
def model():
    """The model that takes a dict, which is left as it was."""
    model = as_dict()
    before = networks.snapshot(model, GIVEN)
    yield model
    assert networks.snapshot(model, GIVEN) == before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["left", "right"])
@pytest.mark.thinned(1)
def test_every_method_takes_the_others_as_constants(name, method, model, wanted):
    options = OPTIONS.get(method, {})
    explainer = tfcam.Explainer(model, f"{name}_last", input=name, method=method, **options)
    for _ in range(2):  # as it runs, and compiled
        assert_same(explainer(GIVEN, [0, 1, 2]), wanted[name, method])
    single = explainer({each: value[1] for each, value in GIVEN.items()}, 1)
    assert_same([single], wanted[name, method][1:2])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.thinned(1, kept="slow")
def test_every_structure_of_inputs(kind, wanted):
    make, form = KINDS[kind]
    model = make()
    before = networks.snapshot(model, given(form))
    for name in ("left", "right"):
        which = name if kind != "subclassed" else sorted(ORDER).index(name)
        for method, batch_size in (("grad_cam", 1), ("saliency", 2), ("guided_backprop", 32)):
            found = tfcam.explain(
                model,
                given(form),
                f"{name}_last",
                input=which,
                target=[0, 1, 2],
                method=method,
                batch_size=batch_size,
            )
            assert_same(found, wanted[name, method])
    assert networks.snapshot(model, given(form)) == before


@pytest.mark.parametrize("method", ["grad_cam", "guided_backprop"])
@pytest.mark.slow
def test_the_size_of_batches_changes_nothing(method, model, wanted):
    for batch_size in (1, 2, 32):
        for _ in range(2):
            found = tfcam.explain(
                model,
                GIVEN,
                "left_last",
                input="left",
                target=[0, 1, 2],
                method=method,
                batch_size=batch_size,
            )
        assert_same(found, wanted["left", method])


def test_an_input_is_named_or_numbered_and_has_a_default(wanted):
    model = as_list()
    for which in ("right", 1):
        found = tfcam.explain(model, given(list), input=which, target=[0, 1, 2])
        assert_same(found, wanted["right", "grad_cam"])
        # Its own last pooling is not the model's: the last one that sees it.
        assert {each.layer for each in found} == {"right_last"}
    default = tfcam.explain(model, given(list), target=[0, 1, 2])
    assert_same(default, wanted["left", "grad_cam"])
    assert default[0].layer == "left_last"


@pytest.mark.parametrize("name", ["middle", 3, -1])
def test_an_unknown_input_is_refused(name):
    with pytest.raises(
        ValueError, match=rf"input must be one of 'left', 'right', 'facts', .* 0\.\.2; got {name!r}"
    ):
        tfcam.explain(as_list(), given(list), input=name)


def test_a_layer_must_see_the_input():
    with pytest.raises(
        ValueError,
        match="must see the explained input, 'left'; 'right_last' does not. Pass input='right'",
    ):
        tfcam.explain(as_list(), given(list), "right_last")
    with pytest.raises(ValueError, match="'left_last' does not. Pass input='left'"):
        tfcam.explain(as_dict(), GIVEN, ["right_first", "left_last"], input="right")


def test_the_sources_of_each_layer():
    model = as_list()
    made = graph_of(model).calls(0)
    seen = {call.path: made.sources[call.output] for call in made.calls if call.output}
    assert seen["left_last"] == {0}
    assert seen["right_pool"] == {1}
    assert seen["facts_dense"] == {2}
    assert seen["join"] == seen["head"] == {0, 1, 2}


# --- what is given --------------------------------------------------------------------------


@pytest.mark.parametrize("form", [dict, list])
def test_others_without_a_batch_axis_are_those_of_every_image(form):
    model = as_dict() if form is dict else as_list()
    whole = [np.repeat(value[:1], 3, axis=0) for value in (RIGHT, FACTS)]
    once = [RIGHT[0], FACTS[0].tolist()]
    whole, once = ([LEFT, *each] for each in (whole, once))
    if form is dict:
        whole, once = (dict(zip(ORDER, each, strict=True)) for each in (whole, once))
    for batch_size in (2, 32):
        found = tfcam.explain(model, once, input="left", target=1, batch_size=batch_size)
        wanted = tfcam.explain(model, whole, input="left", target=1)
        assert len(found) == 3
        np.testing.assert_allclose(found.raws, wanted.raws, rtol=1e-5, atol=1e-7)


def test_a_batch_may_be_a_list_of_examples():
    lists = [list(LEFT), [tf.constant(each) for each in RIGHT], FACTS.tolist()]
    found = tfcam.explain(as_list(), lists, target=[0, 1, 2])
    wanted = tfcam.explain(as_list(), given(list), target=[0, 1, 2])
    np.testing.assert_allclose(found.raws, wanted.raws, rtol=1e-6)


def test_all_inputs_must_be_of_as_many_examples():
    with pytest.raises(ValueError, match="as many examples; 'facts' has 2, the explained one 3"):
        tfcam.explain(as_list(), [LEFT, RIGHT, FACTS[:2]])
    with pytest.raises(ValueError, match="as many examples; 'right' has 3, the explained one 1"):
        tfcam.explain(as_list(), [LEFT[0], RIGHT, FACTS[0]])


@pytest.mark.parametrize(
    "wrong", [LEFT, [LEFT, RIGHT], [LEFT, RIGHT, FACTS, FACTS], GIVEN, "picture.png"], ids=str
)
def test_a_list_model_takes_a_list_of_all(wrong):
    with pytest.raises(
        ValueError, match=r"give a list of all of them \('left', 'right', 'facts'\); got a"
    ):
        tfcam.explain(as_list(), wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        LEFT,
        [LEFT, RIGHT, FACTS],
        {"left": LEFT, "right": RIGHT},
        GIVEN | {"more": FACTS},
        {"left": LEFT, "right": RIGHT, "facs": FACTS},
    ],
    ids=str,
)
def test_a_dict_model_takes_a_dict_of_all(wrong):
    with pytest.raises(ValueError, match=r"give a dict of all of them \(.*'facts'.*\); got a"):
        tfcam.explain(as_dict(), wrong)


def test_each_input_must_fit():
    with pytest.raises(ValueError, match=r"input shape 4, all of one size; got \(5,\)"):
        tfcam.explain(as_list(), [LEFT[0], RIGHT[0], np.ones(5)])
    with pytest.raises(ValueError, match=r"input shape 8 x 8 x 3, .* got \(12, 12, 3\)"):
        tfcam.explain(as_list(), [LEFT[0], LEFT[0], FACTS[0]])
    with pytest.raises(ValueError, match="'facts' must be given as numbers .* got str"):
        tfcam.explain(as_list(), [LEFT[0], RIGHT[0], "facts"])
    broken = FACTS[0].copy()
    broken[1] = np.inf
    with pytest.raises(ValueError, match="must be finite; 1 of its values"):
        tfcam.explain(as_list(), [LEFT[0], RIGHT[0], broken])


def test_pictures_for_two_inputs_are_both_prepared():
    picture = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    other = RNG.integers(0, 256, (9, 5, 3), dtype=np.uint8)
    result = tfcam.explain(as_list(), [picture, other, FACTS[0]], target=0, preprocess="unit")
    assert result.heatmap.shape == (20, 30)
    np.testing.assert_array_equal(result.image, picture)
    sized = [
        resize_image(each, (side, side)) / np.float32(255)
        for each, side in ((picture, SIZE), (other, OTHER))
    ]
    wanted = tfcam.explain(as_list(), [*sized, FACTS[0]], target=0)
    np.testing.assert_allclose(result.raw, wanted.raw, rtol=1e-5, atol=1e-7)
    right = tfcam.explain(
        as_list(), [picture, other, FACTS[0]], input="right", target=0, preprocess="unit"
    )
    assert right.heatmap.shape == (9, 5)
    # A batch, where each picture is prepared once.
    pair = tfcam.explain(
        as_list(), [[picture] * 2, [other] * 2, FACTS[:2]], target=0, preprocess="unit"
    )
    np.testing.assert_allclose(pair[0].raw, result.raw, rtol=1e-5, atol=1e-7)
    # A callable is for the pictures alone.
    called = tfcam.explain(
        as_list(), [picture, other, FACTS[0]], target=0, preprocess=lambda pixels: pixels / 255
    )
    np.testing.assert_allclose(called.raw, result.raw, rtol=1e-5, atol=1e-7)


def test_each_picture_is_prepared_as_its_own_branch_wants():
    one, two = keras.Input((SIZE, SIZE, 3), name="one"), keras.Input((SIZE, SIZE, 3), name="two")
    conv = layers.Conv2D(5, 3, activation="relu", name="conv")
    first = layers.GlobalAveragePooling2D()(conv(layers.Rescaling(1 / 255)(one)))
    second = layers.GlobalAveragePooling2D()(conv(layers.Rescaling(255.0)(two)))
    model = seeded(keras.Model([one, two], layers.Dense(2)(first * second)))
    pictures = RNG.integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    for which, description in (("one", "0..255 as it is"), ("two", "scaled to 0..1")):
        result = tfcam.explain(model, list(pictures), input=which, target=0)
        assert result.preprocessing == f"{description}, Rescaling is inside"
        given = [pictures[:1].astype("float32"), pictures[1:] / np.float32(255)]
        assert result.score == pytest.approx(float(model(given)[0, 0]), rel=1e-5)


def test_preprocessing_is_found_on_the_branch_of_the_image():
    """A Normalization on the facts, whose mean is over 1, says nothing of the picture."""
    picture = keras.Input((SIZE, SIZE, 3), name="picture")
    facts = keras.Input((4,), name="facts")
    normal = layers.Normalization(mean=[300.0] * 4, variance=[4.0] * 4)
    x = layers.Rescaling(1 / 255)(picture)
    x = layers.Conv2D(5, 3, activation="relu", name="conv")(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), normal(facts)])
    for order in ([picture, facts], [facts, picture]):
        model = keras.Model(order, layers.Dense(2)(x))
        image = RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        values = [image if each is picture else FACTS[0] for each in order]
        result = tfcam.explain(model, values, target=0)
        assert result.preprocessing == "0..255 as it is, Rescaling is inside"
        assert result.heatmap.shape == (20, 20)
    bare = keras.Model([picture, facts], layers.Dense(2)(
        layers.Concatenate()([
            layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3)(picture)), normal(facts)])
    ))  # fmt: skip
    with pytest.raises(ValueError, match="wants its pictures can't be read"):
        tfcam.explain(bare, [image, FACTS[0]], target=0)


# --- a tower for two ------------------------------------------------------------------------


def siamese():
    """One tower for both pictures; the score is a dense layer of their difference's square."""
    shared = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            layers.Conv2D(5, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(name="pool"),
        ],
        name="shared",
    )
    one, two = keras.Input((SIZE, SIZE, 3), name="one"), keras.Input((SIZE, SIZE, 3), name="two")
    x = keras.ops.square(shared(one) - shared(two))
    return seeded(keras.Model([one, two], layers.Dense(2, name="head")(x)), 6)


def flat_side(side, index):
    """The same written flat: one picture's own tower, the other's features a constant."""
    model = siamese()
    conv, head = model.get_layer("shared").layers[0], model.get_layer("head")
    other = LEFT[index] if side == 1 else LEFT[::-1][index]
    constant = model.get_layer("shared")(other[None])[0].numpy()
    taken = keras.Input((SIZE, SIZE, 3))
    mine = layers.Conv2D(5, 3, activation="relu", name="own")
    x = layers.GlobalAveragePooling2D()(mine(taken))
    x = layers.Dense(2, name="own_head")(keras.ops.square(x - constant))
    flat = keras.Model(taken, x)
    mine.set_weights(conv.get_weights())
    flat.get_layer("own_head").set_weights(head.get_weights())
    return flat


@pytest.mark.thinned(2)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("method", ["grad_cam", "ablation_cam"])
def test_each_call_of_a_shared_tower_has_its_own_map(side, method):
    model, pair = siamese(), [LEFT, LEFT[::-1].copy()]
    found = tfcam.explain(
        model, pair, f"shared/conv:{side}", input=side, target=[0, 1, 0], method=method
    )
    for index, target in enumerate([0, 1, 0]):
        image = pair[side][index]
        wanted = tfcam.explain(flat_side(side, index), image, "own", target=target, method=method)
        np.testing.assert_allclose(found[index].raw, wanted.raw, rtol=1e-3, atol=1e-6)


def test_a_call_of_a_shared_tower_sees_one_picture():
    pair = [LEFT[0], LEFT[1]]
    by_default = tfcam.explain(siamese(), pair, input="two", target=0)
    assert by_default.layer == "shared/conv:1"
    with pytest.raises(ValueError, match="'shared/conv:1' does not. Pass input='two'"):
        tfcam.explain(siamese(), pair, "shared/conv:1", target=0)
    for name in ("one", "two"):
        bare = tfcam.explain(siamese(), pair, "conv", input=name, target=0)
        wanted = tfcam.explain(siamese(), pair, input=name, target=0)
        assert bare.layer == wanted.layer
        np.testing.assert_array_equal(bare.raw, wanted.raw)


def test_of_several_calls_that_see_the_picture_one_is_asked_for():
    one, two = (keras.Input((SIZE, SIZE, 3), name=name) for name in ("one", "two"))
    conv = layers.Conv2D(3, 3, padding="same", name="conv")
    x = layers.Concatenate()([conv(conv(one)), conv(two)])
    model = keras.Model([one, two], layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match="is called 3 times; say which"):
        tfcam.explain(model, [LEFT[0], LEFT[1]], "conv", target=0)
    two = tfcam.explain(model, [LEFT[0], LEFT[1]], "conv", input="two", target=0)
    assert two.layer == "conv:2"


# --- series beside pictures, comparisons, memory ---------------------------------------------


def test_a_text_beside_a_picture():
    picture = keras.Input((SIZE, SIZE, 3), name="picture")
    text = keras.Input((None,), dtype="int32", name="text")
    seen = layers.Conv2D(5, 3, activation="relu", name="seen")(picture)
    read = layers.Embedding(9, 4, name="embedding")(text)
    read = layers.Conv1D(6, 3, padding="same", activation="relu", name="read")(read)
    x = layers.Multiply()(
        [
            layers.Dense(4)(layers.GlobalAveragePooling2D()(seen)),
            layers.Dense(4)(layers.GlobalAveragePooling1D()(read)),
        ]
    )
    model = seeded(keras.Model([picture, text], layers.Dense(2)(x)))
    words = ["a", "cat", "not", "a", "dog"]
    both = [LEFT[0], [3, 1, 4, 1, 5]]
    result = tfcam.explain(model, both, input="text", target=1, words=words, method="grad_cam")
    assert (result.layer, result.heatmap.shape, result.words) == ("read", (5,), tuple(words))
    image = tfcam.explain(model, both, target=1)
    assert (image.layer, image.heatmap.shape, image.words) == ("seen", (SIZE, SIZE), ())
    # How pictures are prepared is no matter of the text.
    pixels = [RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8), both[1]]
    unit = tfcam.explain(model, pixels, input="text", target=1, preprocess="unit")
    assert unit.preprocessing == "none: given as prepared"
    assert unit.score == tfcam.explain(model, pixels, target=1, preprocess="unit").score
    # Methods that change the picture leave the words alone.
    saliency = tfcam.explain(model, both, target=1, method="integrated_gradients")
    assert abs(saliency.measured["completeness_error"]) < 0.05 * abs(saliency.raw).sum()
    assert tfcam.explain(model, both, target=1, method="guided_grad_cam").raw.shape[-1] == 3


@pytest.mark.slow
def test_compare_with_several_inputs(model):
    one = {name: value[0] for name, value in GIVEN.items()}
    chosen = ["grad_cam", "saliency", "ablation_cam"]
    for name in ("left", "right"):
        found = tfcam.compare(model, one, methods=chosen, targets=[0, 2], input=name)
        for method in chosen:
            for column, target in enumerate([0, 2]):
                alone = tfcam.explain(model, one, input=name, target=target, method=method)
                cell = found[method, column]
                np.testing.assert_allclose(cell.raw, alone.raw, rtol=1e-4, atol=1e-7)
                assert cell.layer == alone.layer
        assert found._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="compare takes one image"):
        tfcam.compare(model, GIVEN)


@pytest.mark.parametrize("method", ["grad_cam", "guided_backprop"])
def test_no_other_input_is_remembered(method):
    """What is compiled for one shape is used again with other values of the other inputs."""
    model = as_list()
    explainer = tfcam.Explainer(model, "left_last", method=method)
    first = [explainer([LEFT[0], RIGHT[0], FACTS[0]], 0) for _ in range(3)][-1]
    second = explainer([LEFT[0], RIGHT[1], FACTS[2]], 0)
    fresh = tfcam.explain(as_list(), [LEFT[0], RIGHT[1], FACTS[2]], target=0, method=method)
    np.testing.assert_allclose(second.raw, fresh.raw, rtol=1e-4, atol=1e-7)
    assert abs(first.score - second.score) > 1e-3


@pytest.mark.slow
def test_nothing_keeps_the_model_alive():
    model = as_dict()
    for name in ("left", "right"):
        for _ in range(2):
            tfcam.explain(model, GIVEN, input=name, target=0)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
