"""Stanford Dogs with its bounding boxes, through the same resizing as its pictures.

python -m training.data                   downloads and prepares it, once
python -m training.data --data-dir DIR    there, and says what is in it
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

SIZE = 224  # pixels, of ResNet50
NAME = "stanford_dogs"
Resize = Literal["stretch", "letterbox"]


class DataError(RuntimeError):
    """The data set is not there, and can't be had."""


@dataclass(frozen=True)
class Dogs:
    """The three parts of the data, apart from each other.

    Each example is a dict: "image" (S, S, 3) uint8; "label", an index into ``labels``; "boxes"
    (n, 4) float32, half-open [x0, y0, x1, y1) in pixels of that image; "name", its file.

    Attributes:
        labels: The breeds, in the order of their indices.
        train: What is learnt from.
        validation: What thresholds and epochs are chosen on; taken from the official train split.
        test: The official test split, for the last number only.
        counts: Number of examples in each part.
    """

    labels: tuple[str, ...]
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    counts: dict[str, int]


def load(
    data_dir: Path | str | None = None,
    *,
    breeds: Sequence[str] = (),
    size: int = SIZE,
    resize: Resize = "stretch",
    validation: float = 0.2,
    seed: int = 0,
    download: bool = True,
) -> Dogs:
    """Read Stanford Dogs.

    Args:
        data_dir: Where TensorFlow Datasets keeps its data; None for its own place.
        breeds: Only these, such as "beagle"; all 120 if empty.
        size: The side of the pictures in pixels.
        resize: "stretch" changes the aspect ratio, as the course did; "letterbox" keeps it and
            fills up with black.
        validation: The share of each breed's training pictures that is kept for validation.
        seed: Random seed of the choice.
        download: Whether to download it where it is not there yet.

    Returns:
        The data, read as it is asked for.

    Raises:
        DataError: If the data is not there, and was not or could not be downloaded.
        ValueError: If there is no such breed, or an argument is out of range.
    """
    if resize not in ("stretch", "letterbox"):
        raise ValueError(f"resize must be 'stretch' or 'letterbox'; got {resize!r}.")
    if not 0 < validation < 1:
        raise ValueError(f"validation must be a share, 0 < validation < 1; got {validation}.")
    builder = prepared(data_dir, download)
    known = builder.info.features["label"].names
    indices = breed_indices(known, breeds)
    renumbered = np.full(len(known), -1, np.int64)
    renumbered[indices] = np.arange(len(indices))

    train = _labels(builder, "train")
    chosen = renumbered[train] >= 0
    held_out = hold_out(train, validation, seed)
    tested = renumbered[_labels(builder, "test")] >= 0
    parts = {"train": chosen & ~held_out, "validation": chosen & held_out, "test": tested}
    read = {
        part: _read(builder, "test" if part == "test" else "train", kept, renumbered, size, resize)
        for part, kept in parts.items()
    }
    return Dogs(
        labels=tuple(breed(known[index]) for index in indices),
        counts={part: int(kept.sum()) for part, kept in parts.items()},
        **read,
    )


def prepared(data_dir: Path | str | None, download: bool) -> Any:
    """The data set, downloaded and prepared if that is wanted.

    Raises:
        DataError: If it is not there, and was not or could not be downloaded.
    """
    builder = tfds.builder(NAME, data_dir=data_dir)
    if builder.info.splits:
        return builder
    need = (
        f"Stanford Dogs must be in {builder.data_dir}, and is not. It takes 780 MB to download and "
        "as much again on disk: python -m training.data gets it, --data-dir says where it lies."
    )
    if not download:
        raise DataError(need)
    try:
        builder.download_and_prepare()
    except Exception as error:  # each way to fail has its own: no network, no space, a checksum
        first = str(error).strip().split("\n")[0]
        raise DataError(f"{need} The download failed: {first}") from None
    return builder


def breed(label: str) -> str:
    """A label as a reader writes it.

    Example:
        >>> breed("n02110185-Siberian_husky")
        'Siberian husky'
    """
    return label.partition("-")[2].replace("_", " ")


def breed_indices(known: Sequence[str], breeds: Sequence[str]) -> list[int]:
    """Which of the known labels these breeds are; all if none are named.

    Raises:
        ValueError: If there is no such breed, or one is named twice.
    """
    plain = [breed(label).casefold() for label in known]
    asked = [each.replace("_", " ").casefold() for each in breeds]
    for each in asked:
        if each not in plain:
            near = [name for name in plain if set(name.split()) & set(each.split())] or plain
            raise ValueError(f"No breed {each!r}; there are {', '.join(near[:9])}.")
    if len(set(asked)) < len(asked):
        raise ValueError(f"Each breed may be named once; got {', '.join(breeds)}.")
    return sorted(plain.index(each) for each in asked) or list(range(len(known)))


def hold_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which examples are kept for validation: the same share of each class, at least one.

    Args:
        labels: (N,) class indices.
        share: In (0, 1).
        seed: Random seed of the choice.

    Returns:
        (N,) bool.
    """
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for kind in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == kind))
        held[mine[: max(1, round(share * len(mine)))]] = True
    return held


def fit(image: tf.Tensor, boxes: tf.Tensor, size: int, resize: Resize) -> tuple[Any, Any]:
    """A picture as a square, and its boxes in pixels of that.

    Args:
        image: (H, W, 3).
        boxes: (n, 4) as TensorFlow Datasets gives them: [y0, x0, y1, x1], fractions of the sides.
        size: The side of the square in pixels.
        resize: "stretch" or "letterbox".

    Returns:
        (size, size, 3) uint8, and (n, 4) float32 [x0, y0, x1, y1).
    """
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
    square = tf.constant([size, size], tf.float32)
    inner = tf.stack([height, width])
    inner = square if resize == "stretch" else tf.round(inner * size / tf.maximum(height, width))
    inner = tf.maximum(inner, 1.0)
    resized = tf.image.resize(image, tf.cast(inner, tf.int32))
    start = tf.floor((square - inner) / 2)
    top, left = tf.unstack(tf.cast(start, tf.int32))
    pixels = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
    padded = tf.image.pad_to_bounding_box(pixels, top, left, size, size)
    corners = tf.gather(boxes, [1, 0, 3, 2], axis=1) * tf.tile(inner[::-1], [2])
    return tf.ensure_shape(padded, (size, size, 3)), corners + tf.tile(start[::-1], [2])


def for_evaluation(part: tf.data.Dataset, size: int, kept: np.ndarray) -> tf.data.Dataset:
    """The kept pictures as ``tfcam.evaluate`` takes them."""

    def element(example: dict[str, tf.Tensor]) -> dict[str, Any]:
        corners = tf.gather(example["boxes"], [1, 0, 3, 2], axis=1) / size
        return {
            "image": example["image"],
            "label": example["label"],
            "objects": {"bbox": corners},
            "image/filename": example["name"],
        }

    chosen = part.enumerate().filter(lambda place, _: tf.gather(tf.constant(kept), place))
    counted = tf.data.experimental.assert_cardinality(int(kept.sum()))
    return chosen.map(lambda _, example: element(example)).apply(counted)


def batches(
    part: tf.data.Dataset,
    size: int,
    classes: int,
    *,
    epochs: range | None = None,
    shuffled: int = 1,
    seed: int = 0,
    flip: bool = False,
) -> tf.data.Dataset:
    """Batches of images and one-hot labels of one part, its pictures kept in memory.

    Args:
        part: Of ``Dogs``.
        size: Number of examples in a batch.
        classes: Number of labels.
        epochs: Those to learn from, one after the other: each is shuffled and mirrored in a way of
            its own, which its number and ``seed`` tell. None: the examples once, as they are.
        shuffled: Number of examples that are shuffled at a time.
        seed: Of the shuffling and mirroring.
        flip: Whether to mirror half of them, left to right.
    """
    pairs = part.map(lambda each: (each["image"], tf.one_hot(each["label"], classes))).cache()
    if epochs is None:
        return pairs.batch(size).prefetch(tf.data.AUTOTUNE)

    def learnt(epoch: int) -> tf.data.Dataset:
        chosen = pairs.shuffle(shuffled, seed=epoch + seed * 10_000)
        if flip:
            numbered = chosen.enumerate()
            chosen = numbered.map(lambda n, pair: (_mirrored(pair[0], (seed + n, epoch)), pair[1]))
        return chosen.batch(size)

    first, *others = map(learnt, epochs)
    return functools.reduce(tf.data.Dataset.concatenate, others, first).prefetch(tf.data.AUTOTUNE)


def _mirrored(image: tf.Tensor, seed: tuple[tf.Tensor, int]) -> tf.Tensor:
    """Mirror a picture by chance."""
    return tf.where(tf.random.stateless_uniform((), seed) < 0.5, image[:, ::-1], image)


def _labels(builder: Any, split: str) -> np.ndarray:
    """The labels of a split in its order, without its pictures."""
    if split not in builder.info.splits:
        raise DataError(f"{builder.data_dir} has no {split!r} split; prepare the data set anew.")
    read = builder.as_dataset(split=split, decoders=tfds.decode.PartialDecoding({"label": True}))
    return np.array([int(example["label"]) for example in read.as_numpy_iterator()])


def _read(
    builder: Any, split: str, kept: np.ndarray, renumbered: np.ndarray, size: int, resize: Resize
) -> tf.data.Dataset:
    """The kept examples of a split; pictures that are not kept are not even decoded."""
    keep, numbers = tf.constant(kept), tf.constant(renumbered)
    encoded = builder.as_dataset(
        split=split,
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False),  # `batches` caches what it keeps
    )
    feature = builder.info.features["image"]

    def decoded(example: dict[str, Any]) -> dict[str, Any]:
        picture = feature.decode_example(example["image"])
        image, boxes = fit(picture, example["objects"]["bbox"], size, resize)
        name, label = example["image/filename"], tf.gather(numbers, example["label"])
        return {"image": image, "label": label, "boxes": boxes, "name": name}

    chosen = encoded.enumerate().filter(lambda place, _: tf.gather(keep, place))
    read = chosen.map(lambda _, example: example).map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    return read.apply(tf.data.experimental.assert_cardinality(int(kept.sum())))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="where TensorFlow Datasets keeps its data")
    try:
        dogs = load(parser.parse_args().data_dir)
    except DataError as error:
        parser.exit(2, f"{error}\n")
    print(f"{len(dogs.labels)} breeds; " + ", ".join(f"{n} {p}" for p, n in dogs.counts.items()))


if __name__ == "__main__":
    main()
