"""Trains the model that tfcam carries: a small CNN that names the shapes in tfcam.scenes.

python -m training.shapes                    writes tfcam/assets/shapes.keras and shapes.json
python -m training.shapes --logs /tmp/logs   the same, watched in TensorBoard
"""

import argparse
import json
import time
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np

from tfcam.scenes import KINDS, draw_scene
from tfcam.utils.files import write_whole

OUTPUT = Path("tfcam/assets/shapes.keras")
SEED = 0
SIZE = 128  # pixels; large enough to see the maps, small enough to train without a GPU
SCENES = 8_000  # drawn once and kept in memory, 50 kB each
SHAPES = 3  # 1 to 3 shapes a scene in equal parts: a class must find its own shape among others
EPOCHS = 7  # under five minutes on two cores; three more move the maps further onto the shapes
BATCH = 32  # as fast a scene as 64 on two cores, and twice the steps
LEARNING_RATE = 1.5e-3  # at 1e-2 it learnt far slower; falls to zero along a cosine
FRESH = 2_000  # single-shape scenes never trained on: gives the accuracy to half a percent

# Filters of each block, and whether it halves the map. The first has a 4 x 4 kernel with stride 2,
# which halves at little cost (and "same" pads an even kernel evenly: a 3 x 3 one would shift the
# map against the image). Halved three times, the last map is 16 x 16, one cell for 8 x 8 pixels;
# the three blocks there widen what a cell sees to 70 pixels, about the largest shape, so that a
# map peaks in the middle of a shape rather than along its edges.
STEM = 16
BLOCKS = ((24, True), (48, True), (64, False), (64, False), (64, False))


def build_model() -> keras.Model:
    """A plain stack that ends in pooling and one dense layer, so that even CAM explains it."""
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    # No bias in a convolution: the normalisation takes the mean away and adds its own.
    x = layers.Conv2D(STEM, 4, 2, padding="same", use_bias=False, name="stem_conv")(x)
    x = layers.BatchNormalization(momentum=0.9, name="stem_norm")(x)
    x = layers.ReLU(name="stem_relu")(x)
    for number, (filters, halved) in enumerate(BLOCKS, start=1):
        name = f"block{number}"
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
        if halved:  # before the normalisation, which then costs a quarter
            x = layers.MaxPooling2D(name=f"{name}_pool")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        # ReLU as a layer of its own: guided backpropagation changes its gradient.
        x = layers.ReLU(name="features" if number == len(BLOCKS) else f"{name}_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dense(len(KINDS), activation="softmax", name="kinds")(x)
    return keras.Model(image, x, name="shapes")


def draw_scenes(
    rng: np.random.Generator, count: int, most_shapes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, S, S, 3) uint8 and targets (N, 8), uniform over the kinds in each scene."""
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    targets = np.zeros((count, len(KINDS)), np.float32)
    for i in range(count):
        shapes = 1 + i % most_shapes
        scene = draw_scene(rng, shapes, SIZE)
        images[i] = scene.image
        targets[i, list(scene.labels)] = 1 / shapes
    return images, targets


def seen_from(images: np.ndarray, epoch: int) -> np.ndarray:
    """One of the eight ways to turn and mirror a square; no kind changes by it."""
    turned = np.rot90(images, epoch % 4, axes=(1, 2))
    return turned[:, :, ::-1] if epoch % 8 >= 4 else turned


def hit(targets: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
    """Whether the likeliest kind is in the scene; top-1 accuracy where there is one shape."""
    likeliest = keras.ops.argmax(probabilities, axis=-1, keepdims=True)
    return keras.ops.take_along_axis(targets, likeliest, axis=-1) > 0


def train(
    output: Path = OUTPUT,
    scenes: int = SCENES,
    epochs: int = EPOCHS,
    seed: int = SEED,
    fresh: int = FRESH,
    logs: Path | None = None,
) -> float:
    """Train the model, write it and its JSON, and return its accuracy on fresh scenes."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    images, targets = draw_scenes(rng, scenes, SHAPES)

    model = build_model()
    steps = epochs * -(-scenes // BATCH)
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    model.compile(keras.optimizers.Adam(schedule), "categorical_crossentropy", metrics=[hit])
    callbacks = [keras.callbacks.TensorBoard(logs)] if logs else []
    for epoch in range(epochs):
        history = model.fit(
            seen_from(images, epoch),
            targets,
            BATCH,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=callbacks,
            verbose=0,
        ).history
        print(f"epoch {epoch + 1}/{epochs}: loss {history['loss'][0]:.3f}, ", end="")
        print(f"likeliest kind is in the scene {history['hit'][0]:.1%}", flush=True)

    fresh_images, fresh_targets = draw_scenes(rng, fresh, 1)  # the same stream, further on
    accuracy = model.evaluate(fresh_images, fresh_targets, verbose=0, return_dict=True)["hit"]
    write(model, output, scenes=scenes, epochs=epochs, seed=seed, fresh=fresh, accuracy=accuracy)
    return accuracy


def write(
    model: keras.Model,
    output: Path,
    *,
    scenes: int,
    epochs: int,
    seed: int,
    fresh: int,
    accuracy: float,
) -> None:
    """Write the model for use, not for more training, and beside it how it was made."""
    output.parent.mkdir(parents=True, exist_ok=True)
    # A model around the same layers that was never compiled: no optimizer state, a third the size.
    keras.Model(model.input, model.output, name=model.name).save(output)
    facts = {
        "kinds": KINDS,
        "input": [SIZE, SIZE, 3],
        "layer": "features",
        "accuracy": round(accuracy, 4),
        "fresh_scenes": fresh,
        "trained_scenes": scenes,
        "epochs": epochs,
        "seed": seed,
        "command": f"python -m training.shapes --output {output.as_posix()}"
        f" --scenes {scenes} --epochs {epochs} --seed {seed}",
    }
    text = json.dumps(facts, indent=2) + "\n"
    write_whole(output.with_suffix(".json"), text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the .keras file to write")
    parser.add_argument("--scenes", type=int, default=SCENES, help="scenes to train on")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--logs", type=Path, help="folder for TensorBoard")
    options = parser.parse_args()
    if options.logs and find_spec("tensorboard") is None:
        parser.error("--logs needs TensorBoard; install it with: pip install tensorboard")
    start = time.perf_counter()
    accuracy = train(
        options.output, options.scenes, options.epochs, options.seed, logs=options.logs
    )
    kilobytes = options.output.stat().st_size / 1000
    print(f"{accuracy:.2%} on {FRESH} fresh scenes after {time.perf_counter() - start:.0f} s")
    print(f"{options.output}: {kilobytes:.0f} kB")


if __name__ == "__main__":
    main()
