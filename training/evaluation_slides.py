"""Measures CAM, Grad-CAM and Grad-CAM++ in the three ways of a well-known set of slides, and more.

python -m training.evaluation_slides --data-dir DIR                Stanford Dogs, its test images
python -m training.evaluation_slides --data-dir DIR --images 20    of the one-dog ones the first 20

DIR is where tensorflow_datasets keeps stanford_dogs. For the class that MobileNetV2 (ImageNet)
predicts: 1. p(x L) - p(x); 2. p(x without the quarter of highest rank) - p(x), that quarter 0;
3. IoU of the box around that quarter with the nearest true box. Each is the mean over images with
its 95 % bootstrap-t interval; images with one object and with several apart; beside maps that ask
no model, and with each map's difference to CAM on the same images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow_datasets as tfds

from tfcam import maps
from tfcam.evaluation.intervals import bootstrap_intervals
from tfcam.explainer.explainer import Explainer
from tfcam.metrics.faithfulness import confidence_change, removal
from tfcam.metrics.localisation import top_quarter_iou
from tfcam.metrics.probing import Probe

METHODS = ("cam", "grad_cam", "grad_cam_pp")
WAYS = ("1. p(x L) - p(x)", "2. without top quarter", "3. IoU of top quarter's box")
BATCH = 32
RESAMPLES = 10_000


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo and its true boxes.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4), half-open [x0, y0, x1, y1) in pixels.
    """

    image: np.ndarray
    boxes: np.ndarray


def read_dogs(data_dir: Path, split: str) -> Iterator[Photo]:
    """The photos of Stanford Dogs, one by one."""
    dataset = tfds.load("stanford_dogs", split=split, data_dir=str(data_dir), download=False)
    for example in tfds.as_numpy(dataset):
        height, width = example["image"].shape[:2]
        y0, x0, y1, x1 = example["objects"]["bbox"].T
        yield Photo(
            example["image"], np.stack([x0 * width, y0 * height, x1 * width, y1 * height], 1)
        )


def sobel(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The length of the gradient of the grey picture."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    return maps.scale(np.hypot(across, down))


def random(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uniform numbers at 7 x 7 positions, resized as a layer's map is."""
    return maps.heatmap(rng.random((7, 7)), image.shape[:2])


def centre(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A hill in the middle, whose deviation is a quarter of each side."""
    y, x = (np.linspace(-2, 2, side) for side in image.shape[:2])
    return maps.scale(np.exp(-(y[:, np.newaxis] ** 2 + x**2) / 2))


BASELINES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "Sobel edges": sobel,
    "random": random,
    "centre Gaussian": centre,
}


def measure(
    model: keras.Model, photos: Sequence[Photo], seed: int = 0, batch_size: int = BATCH
) -> dict[str, np.ndarray]:
    """All three ways of all maps.

    Args:
        model: A classifier of keras.applications.
        photos: Those to measure.
        seed: Of the random maps.
        batch_size: Number of images that are held at a time as the model takes them.

    Returns:
        By the map's name (N, 3) float64: p(x L) - p(x), p without the top quarter - p(x), and the
        IoU of its box.
    """
    explainers = {name: Explainer(model, method=name) for name in METHODS}
    rng = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {name: [] for name in (*METHODS, *BASELINES)}
    for start in range(0, len(photos), batch_size):
        batch = photos[start : start + batch_size]
        images = [photo.image for photo in batch]
        probe = Probe(model, images, batch_size=batch_size)
        made = {
            name: [result.heatmap for result in explain(images, probe.targets.tolist())]
            for name, explain in explainers.items()
        }
        made |= {name: [draw(each, rng) for each in images] for name, draw in BASELINES.items()}
        for name, heatmaps in made.items():
            pairs = zip(heatmaps, batch, strict=True)
            overlaps = np.array([top_quarter_iou(shown, photo.boxes) for shown, photo in pairs])
            ways = [confidence_change(probe, heatmaps), removal(probe, heatmaps), overlaps]
            found[name].append(np.stack(ways, axis=1).astype(np.float64))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def interval(values: np.ndarray) -> str:
    """The mean over images and its 95 % interval, in words.

    Example:
        >>> interval(np.array([1.0, 1.0]))
        '+1.0000 [+1.0000, +1.0000]'
    """
    [interval] = bootstrap_intervals(values[:, np.newaxis], resamples=RESAMPLES)
    return "{:+.4f} [{:+.4f}, {:+.4f}]".format(*interval)


def table(measured: dict[str, np.ndarray], whole: np.ndarray) -> str:
    """A Markdown table of the means, and of the differences to CAM on the same images.

    Args:
        measured: As ``measure`` gives it, of some images.
        whole: (N,), the IoU of the whole picture as a box.
    """
    lines = ["| map | " + " | ".join(WAYS) + " |", "|---" * (len(WAYS) + 1) + "|"]
    rows = dict(measured)
    first = METHODS[0]
    rows |= {
        f"{name} less {first}": measured[name] - measured[first] for name in list(measured)[1:]
    }
    for name, values in rows.items():
        lines.append(f"| {name} | " + " | ".join(map(interval, values.T)) + " |")
    return "\n".join([*lines, f"| whole picture as the box | | | {interval(whole)} |"])


def whole_picture_iou(photo: Photo) -> float:
    """The IoU of the whole picture with the nearest true box."""
    height, width = photo.image.shape[:2]
    return max(maps.iou(np.array([0, 0, width, height]), box) for box in photo.boxes)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="of tensorflow_datasets")
    parser.add_argument("--split", default="test", help="such as test or train+test")
    parser.add_argument("--images", type=int, help="how many with one object; all where not given")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos = list(read_dogs(options.data_dir, options.split))
    single = list(islice((each for each in photos if len(each.boxes) == 1), options.images))
    several = [each for each in photos if len(each.boxes) > 1]
    model = keras.applications.MobileNetV2(weights="imagenet")
    for title, group in (("One object", single), ("Several objects", several)):
        if group:
            measured = measure(model, group, options.seed)
            whole = np.array([whole_picture_iou(photo) for photo in group])
            print(f"\n{title}: {len(group)} images\n\n{table(measured, whole)}", flush=True)


if __name__ == "__main__":
    main()
