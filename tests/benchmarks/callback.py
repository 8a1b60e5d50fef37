"""What ExplainCallback costs: epochs with maps and without, turn by turn, in one training.

python -m tests.benchmarks.callback                      MobileNetV2 at 160 pixels
python -m tests.benchmarks.callback --pictures 1000      longer epochs, a smaller share
"""

import argparse
import statistics
import tempfile
import time

import keras
import numpy as np
import psutil

import tfcam

SIZE, EXPLAINED = 160, 8


class Stopwatch(keras.callbacks.Callback):
    """When each epoch began, what the callback had taken by then, and the memory in use."""

    def __init__(self, look):
        super().__init__()
        self.look, self.rows = look, []

    def on_epoch_begin(self, epoch, logs=None):
        now, memory = time.perf_counter(), psutil.Process().memory_info().rss
        self.rows.append((now, self.look.seconds, memory / 1e6))


def measure(pictures, epochs):
    """Seconds of each epoch, those of the callback in it, and megabytes in use after it."""
    scenes = [tfcam.scenes.draw_scene(seed, size=SIZE) for seed in range(pictures)]
    images = np.stack([each.image for each in scenes])
    labels = np.array([each.labels[0] for each in scenes])
    inputs = keras.Input((SIZE, SIZE, 3))
    backbone = keras.applications.MobileNetV2(
        input_shape=(SIZE, SIZE, 3), include_top=False, weights=None, pooling="avg"
    )
    x = backbone(keras.layers.Rescaling(1 / 127.5, -1)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(8, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    shown = scenes[:EXPLAINED]
    with tempfile.TemporaryDirectory() as folder:
        look = tfcam.callbacks.ExplainCallback(
            [each.image for each in shown],
            boxes=[each.boxes for each in shown],
            labels=tfcam.scenes.KINDS,
            every=2,
            max_share=None,
            log_dir=folder,
            folder=folder,
        )
        watch = Stopwatch(look)
        model.fit(images, labels, epochs=epochs, verbose=0, callbacks=[watch, look])
    pairs = zip(watch.rows, watch.rows[1:], strict=False)
    return watch.rows[0][1], [
        (later[0] - earlier[0], later[1] - earlier[1], later[2]) for earlier, later in pairs
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=320, help="how many an epoch has")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    trial, rows = measure(options.pictures, options.epochs)
    print(f"the trial before training: {trial:.2f} s")
    for number, (seconds, own, memory) in enumerate(rows, 1):
        print(f"epoch {number}: {seconds:.2f} s, of it maps {own:.2f} s; {memory:.0f} MB")
    # The first two compile the training and the maps.
    without = statistics.median(seconds for seconds, own, _ in rows[2:] if not own)
    maps = statistics.median(own for _, own, _ in rows[2:] if own)
    with_maps = statistics.median(seconds for seconds, own, _ in rows[2:] if own)
    print(f"median epoch without maps {without:.2f} s, with maps {with_maps:.2f} s")
    print(f"maps of {EXPLAINED} pictures: {maps:.2f} s, {maps / without:.1%} of an epoch")


if __name__ == "__main__":
    main()
