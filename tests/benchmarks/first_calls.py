"""The first call, in a new process or of a new model in a warm one.

``python -m tests.benchmarks.first_calls '{"kind": "explain", "warm": 0}'`` prints JSON.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

import keras
import tensorflow as tf

import tfcam
from tests.benchmarks.networks import build, last_map, pictures
from tests.benchmarks.timing import Seconds, timed

NETWORK = "resnet50"
KINDS = ("forward", "explain", "explain, layer named")


def first(kind: str) -> float:
    """The seconds of the first call of a new model; what is imported has been imported before."""
    model, images = build(NETWORK), pictures(NETWORK, 1)
    layer = last_map(NETWORK) if kind == "explain, layer named" else None
    explain, given = tfcam.explain, tf.constant(images)
    if kind == "forward":
        return timed(lambda: model(given, training=False).numpy())
    return timed(lambda: explain(model, images, layer, preprocess=None))


def in_a_warm_process(rounds: int) -> Seconds:
    """The seconds of each kind in each round, a new model each time, in shuffled order."""
    seconds: Seconds = {kind: [] for kind in KINDS}
    order, shuffle = list(KINDS), random.Random(0).shuffle
    for number in range(rounds + 1):
        shuffle(order)
        for kind in order:
            took = first(kind)
            keras.utils.clear_session()
            if number:  # the first round warms up
                seconds[kind].append(round(took, 6))
    return seconds


def answer(kind: str, warm: int) -> Any:
    """What the process is asked for: one first call, or ``warm`` rounds of all kinds."""
    return in_a_warm_process(warm) if warm else first(kind)


if __name__ == "__main__":
    print(json.dumps(answer(**json.loads(sys.argv[1]))))
