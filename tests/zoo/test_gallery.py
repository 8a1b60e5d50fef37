"""What is explained of models that nobody here wrote: the right layer, and Grad-CAM as by hand."""

import warnings
from importlib.util import find_spec

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests.tolerances import relative
from tests.zoo import by_hand
from tests.zoo.__main__ import GUIDE, table
from tests.zoo.gallery import GALLERY


def built(foreign):
    """The model, its names and weights as in a new process."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    with warnings.catch_warnings():  # what packages do as they are imported and built is theirs
        warnings.simplefilter("ignore")
        return foreign.build()


def inputs_of(model):
    """One example around zero, whole numbers for texts, in the model's own structure."""
    rng = np.random.default_rng(7)

    def example(tensor):
        shape = [1, *(side or 6 for side in tensor.shape[1:])]
        if "int" in tensor.dtype:
            return rng.integers(1, 9, shape)
        return rng.normal(0, 1, shape).astype("float32")

    sequential = isinstance(model, keras.Sequential)
    return tf.nest.map_structure(example, model.inputs[0] if sequential else model.input)


def score_of(target):
    """The explained number by hand: the logit before a softmax or sigmoid."""

    def score(outputs):
        outputs = tf.nest.map_structure(lambda one: getattr(one, "_keras_logits", one), outputs)
        return target(outputs) if callable(target) else outputs[:, target]

    return score


def case(foreign):
    marks = [pytest.mark.skipif(not find_spec(foreign.module), reason=f"no {foreign.package}")]
    if foreign.wrong:
        marks.append(pytest.mark.xfail(strict=True, reason=foreign.wrong))
    return pytest.param(foreign, id=f"{foreign.package}: {foreign.name}", marks=marks)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("foreign", [case(one) for one in GALLERY if not one.refused])
def test_a_foreign_model_is_explained_at_a_sensible_layer_as_by_hand(foreign):
    model = built(foreign)
    inputs = inputs_of(model)
    before = tf.nest.flatten(model(inputs, training=False))
    explainer = tfcam.Explainer(model, preprocess=None, grid=foreign.grid)
    first, second = (explainer(inputs, foreign.target)[0] for _ in range(2))
    assert (first.layer, first.raw.shape) == (foreign.layer, foreign.map)
    score = score_of(foreign.target)
    by_tape = by_hand.grad_cam(model, foreign.layer, inputs, score, foreign.map, foreign.last)[0]
    assert np.abs(by_tape).max() > 0
    assert relative(first.raw, by_tape) < 1e-4
    assert relative(second.raw, first.raw) < 1e-4
    after = tf.nest.flatten(model(inputs, training=False))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("foreign", [case(one) for one in GALLERY if one.refused])
def test_a_foreign_model_is_refused_with_a_reason(foreign):
    model = built(foreign)
    with pytest.raises(ValueError, match=foreign.refused):
        tfcam.explain(model, inputs_of(model), target=foreign.target, preprocess=None)


def test_the_gallery_is_large():
    assert len(GALLERY) >= 60
    assert len({one.package for one in GALLERY}) >= 8


def test_the_guide_shows_the_gallery():
    assert table() in GUIDE.read_text(), "python -m tests.zoo writes it"
