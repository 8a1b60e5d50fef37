"""What an argument can't be is one clear error: a tensor, an iterator, bytes, a date."""

import datetime

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfcam
from tfcam.metrics.random_weights import kept_weights
from tfcam.scenes import KINDS, draw_scene

PICTURE = draw_scene(1).image
ODD = [[], {}, b"x", 1j, True, np.array([1, 2]), tf.constant(1), pd.NA, datetime.date(2020, 1, 1)]


@pytest.fixture(scope="module")
def explanation(shapes):
    return tfcam.explain(shapes, PICTURE)


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_an_input_is_a_name_or_an_index(shapes, odd):
    with pytest.raises(ValueError, match=r"input must be one of 'image', or an index in 0\.\.0; "):
        tfcam.explain(shapes, PICTURE, input=odd)


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd is not True], ids=repr)
def test_alpha_is_a_number(explanation, odd):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\]; got"):
        explanation.overlay(alpha=odd)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"labels": tf.constant(1)}, "labels must be a list of texts"),
        ({"labels": memoryview(b"ab")}, "labels must be texts, one for each class"),
        ({"labels": (number for number in [1, 2])}, "labels must be texts, one for each class"),
        ({"grid": tf.constant(1)}, r"grid must be \(height, width\)"),
        ({"tile": tf.constant(1)}, "tile must be"),
        ({"method": int}, "method must be one of"),
        ({"target": tfcam.Top(10**30)}, "at most the number of classes, 8; got 10"),
    ],
)
def test_what_can_not_be_gone_through_is_told(shapes, arguments, said):
    with pytest.raises((TypeError, ValueError), match=said):
        tfcam.explain(shapes, PICTURE, **arguments)


def test_labels_may_come_one_by_one(shapes):
    names = iter(KINDS)
    explainer = tfcam.Explainer(shapes, labels=names)
    assert explainer(PICTURE).label == explainer(PICTURE).label in KINDS


@pytest.mark.parametrize("door", [tfcam.layers, lambda model: tfcam.explain(model, PICTURE)])
def test_a_long_text_is_no_model(door):
    with pytest.raises(TypeError, match=r"model must be a built Keras model; got '?aaa"):
        door("a" * 3000)


def test_an_empty_reference_is_told():
    with pytest.raises(ValueError, match=r"A reference must be .*; got shape \(0,\)"):
        tfcam.Similarity([])


@pytest.mark.filterwarnings("error")
def test_weights_are_put_back_without_a_warning(shapes):
    before = [np.array(np.asarray(one)) for one in shapes.variables]
    with kept_weights(shapes):
        for variable in shapes.variables:
            variable.assign(keras.ops.zeros_like(variable))
    for variable, value in zip(shapes.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
