"""Eager, compiled, frozen: the same numbers, and each runs as it says."""

from typing import NamedTuple

import pytest
import tensorflow as tf

from tfcam.engine.runner import Compiled, EagerFirst, Frozen


class Pair(NamedTuple):
    total: tf.Tensor
    parts: list
    nothing: None = None


def make(weight):
    """A function of tensors that notes whether it runs eagerly."""
    eager = []

    def function(x, y):
        eager.append(tf.executing_eagerly())
        return Pair(tf.reduce_sum(weight * x + y), [x, {"y": y}])

    return function, eager


def ran(runner, function, *values, key=None):
    tensors = [tf.constant(each) for each in values]
    shapes = tuple(tuple(each.shape) for each in tensors)
    return runner(key or shapes, function, tensors)(*tensors)


@pytest.mark.parametrize("runner", [EagerFirst, Compiled, Frozen])
def test_the_structure_and_the_numbers_are_the_functions_own(runner):
    function, _ = make(tf.Variable(3.0))
    own = runner()
    for _ in range(3):
        found = ran(own, function, [1.0, 2.0], [10.0, 20.0])
        assert isinstance(found, Pair)
        assert (float(found.total), found.nothing) == (39.0, None)
        assert found.parts[0].numpy().tolist() == [1.0, 2.0]
        assert found.parts[1]["y"].numpy().tolist() == [10.0, 20.0]


def test_eager_first_is_compiled_from_the_second_call_for_a_key():
    function, eager = make(tf.Variable(1.0))
    runner = EagerFirst()
    for _ in range(4):
        ran(runner, function, [1.0], [2.0])
    assert eager == [True, False]
    ran(runner, function, [1.0, 1.0], [2.0, 2.0])
    assert eager == [True, False, True]


def test_a_large_batch_is_compiled_at_once():
    function, eager = make(tf.Variable(1.0))
    ran(EagerFirst(), function, [1.0] * 16, [2.0] * 16)
    assert eager == [False]


def test_compiled_from_the_first_call():
    function, eager = make(tf.Variable(1.0))
    runner = Compiled()
    for _ in range(2):
        ran(runner, function, [1.0], [2.0])
    assert eager == [False]


def test_frozen_keeps_the_weights_that_it_met_and_compiled_follows_them():
    for runner, wanted in ((Compiled(), 70.0), (Frozen(), 30.0)):
        weight = tf.Variable(3.0)
        function, _ = make(weight)
        assert float(ran(runner, function, [10.0], [0.0]).total) == 30.0
        weight.assign(7.0)
        assert float(ran(runner, function, [10.0], [0.0]).total) == wanted


def test_only_the_last_few_are_kept():
    function, eager = make(tf.Variable(1.0))
    runner = Compiled()
    for key in range(1, 18):
        ran(runner, function, [1.0], [2.0], key=key)
    assert (len(runner.functions), len(eager)) == (16, 17)
    ran(runner, function, [1.0], [2.0], key=1)
    assert len(eager) == 18
