"""Large work: ``python -m tests.benchmarks.large`` prints a table of seconds and memory.

Each row has a process of its own: the compiled forward pass, the first call, the second, which
compiles, the median of five more, and by how much the process grew from before the first call.
The vision transformer is of vit-keras (the extra ``zoo``).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tfcam
from tests.benchmarks.memory import status
from tests.benchmarks.networks import build
from tests.benchmarks.timing import timed


class Work(NamedTuple):
    """What is asked of a model."""

    model: Any
    shape: tuple[int, ...]
    asked: dict[str, Any]


def _classes(count: int, method: str = "grad_cam") -> Work:
    return Work(
        build("mobilenet_v2"), (224, 224, 3), {"target": tfcam.Top(count), "method": method}
    )


def _every_layer() -> Work:
    model = keras.applications.ResNet152(weights=None)
    return Work(model, (224, 224, 3), {"target": 5, "layer": "all_convolutions"})


def _volume(method: str) -> Work:
    inputs = x = keras.Input((128, 128, 128, 1))
    for filters in (8, 16, 32):
        x = layers.Conv3D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling3D()(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
    return Work(model, (128, 128, 128, 1), {"target": 0, "method": method})


def _transformer(method: str) -> Work:
    from vit_keras import vit

    model = vit.vit_b16(384, pretrained=False, pretrained_top=False, classes=10)
    return Work(model, (384, 384, 3), {"target": 0, "method": method})


WORK: dict[str, Callable[[], Work]] = {
    "Grad-CAM for 10 classes, MobileNetV2": lambda: _classes(10),
    "Grad-CAM for 100 classes": lambda: _classes(100),
    "Grad-CAM for all 1,000 classes": lambda: _classes(1000),
    "saliency for 100 classes": lambda: _classes(100, "saliency"),
    "Grad-CAM at all 155 convolutions of ResNet152": _every_layer,
    "Grad-CAM of a volume of 128 x 128 x 128, three Conv3D": lambda: _volume("grad_cam"),
    "saliency of that volume": lambda: _volume("saliency"),
    "Grad-CAM of ViT-B/16 at 384 x 384": lambda: _transformer("grad_cam"),
    "saliency of ViT-B/16 at 384 x 384": lambda: _transformer("saliency"),
}


def measure(what: str) -> str:
    """Measure one row of the table."""
    work = WORK[what]()
    values = np.random.default_rng(0).random(work.shape, np.float32)
    forward = tf.function(lambda x: work.model(x, training=False))
    batch = tf.constant(values[np.newaxis])
    passes = [timed(lambda: forward(batch)[0].numpy()) for _ in range(7)]
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    calls = [
        timed(lambda: tfcam.explain(work.model, values, preprocess=None, **work.asked))
        for _ in range(7)
    ]
    grown = status("VmHWM") - before
    times = statistics.median(passes[2:]), *calls[:2], statistics.median(calls[2:])
    cells = [what, *(f"{seconds:.2f}" for seconds in times), f"{grown / 1024:.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure what is named, or every row in a process of its own."""
    if sys.argv[1:]:
        print(measure(sys.argv[1]))
        return
    print("| what | forward, s | first call, s | second, s | then, s | memory, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for what in WORK:
        command = [sys.executable, "-m", "tests.benchmarks.large", what]
        done = subprocess.run(command, capture_output=True, text=True)
        print(done.stdout.strip() or f"{what}: {done.stderr[-400:]}", flush=True)


if __name__ == "__main__":
    main()
