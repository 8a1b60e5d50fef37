"""Pictures with their boxes and labels, one by one, from wherever they are.

A picture that can't be used is handed on as ``Skipped``, with the reason, never left out silently.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.data.annotations import AnnotationError
from tfcam.data.example import VIDEOS, VOLUMES, Example, Mark, Skipped, Source
from tfcam.data.folders import open_folder
from tfcam.data.pairs import is_array, is_batch, only_part, row_of, zip_pair
from tfcam.data.reader import NAMES, Reader, checked, picture_in
from tfcam.data.volumes import VolumeForm
from tfcam.images.arrays import of_columns
from tfcam.images.kinds import ImageError
from tfcam.images.loading import as_numpy
from tfcam.images.window import Limits
from tfcam.utils.digest import digest_arrays, digest_bytes, digest_file, digest_names
from tfcam.utils.digest_value import digest_value
from tfcam.utils.files import as_text
from tfcam.utils.paths import as_path


def open_data(
    data: Any,
    *,
    split: str = "test",
    data_dir: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
    floats: bool = False,
    window: Limits = None,
    volumes: VolumeForm | None = None,
) -> Source:
    """Open data of any kind: find out what they are, and how to read them.

    Args:
        data: A folder of pictures; a ``tf.data.Dataset``; the name of a data set of
            tensorflow_datasets that is on this machine; a list of pictures, as
            ``tfcam.explain`` takes them, or of ``Example``; an array (N, H, W, 3) uint8, of grey
            pictures (N, H, W) or of rows (N, values); a pair (images, labels), as arrays or lists,
            masks for labels, too; a ``keras.utils.PyDataset`` of batches. Pictures may be in a dict
            of one, as a model of one named input takes them.
        split: Which part of a data set of tensorflow_datasets.
        data_dir: Where tensorflow_datasets keeps it, if not in its usual place.
        annotations: Of a folder: a folder of VOC's XML files or a JSON file of COCO's form, if not
            beside the pictures.
        floats: Whether a ``tf.data.Dataset`` and a list may hold arrays of floats, which are handed
            on as they are: the model's input, already prepared.
        window: The values that become black and white, as ``load_image`` takes them, of files and
            arrays alike; floats are pictures then, too.
        volumes: The form of the videos or volumes that the data hold, in arrays or lists of
            arrays; None where they hold pictures.

    Returns:
        What can be read.

    Raises:
        ValueError: If there is nothing, or it is of another form.
        TypeError: If it is of another kind.

    Example:
        >>> source = open_data([np.zeros((4, 6, 3), np.uint8)])
        >>> [(each.id, each.image.shape) for each in source.read(0)], source.count
        ([('000000', (4, 6, 3))], 1)
    """
    read_picture = Reader(floats, window, volumes)
    if volumes is not None:
        return _of_volumes(data, read_picture, VIDEOS if volumes.is_video else VOLUMES)
    if isinstance(data, tf.data.Dataset):
        return _of_tf_data(data, read_picture)
    if isinstance(data, str | os.PathLike):
        path = as_path(data, "data")
        if path.is_dir():
            return open_folder(
                path, None if annotations is None else as_path(annotations, "annotations"), window
            )
        if isinstance(data, str) and not path.exists() and data.replace("/", "").isidentifier():
            return _of_tfds(data, split, data_dir, read_picture)
        return _of_list([data], read_picture)
    source = _of_arrays(data, read_picture)
    if source is not None:
        return source
    raise TypeError(
        "data must be a folder, a tf.data.Dataset or PyDataset, the name of a data set of "
        "tensorflow_datasets, (images, labels), or a list of pictures; got "
        f"{type(data).__name__}."
    )


def _of_arrays(data: Any, read_picture: Reader) -> Source | None:
    """What lies in arrays, batches and lists; None of what does not."""
    data = of_columns(data)
    if isinstance(data, keras.utils.PyDataset):
        return _of_batches(data, read_picture)
    # As data sets are loaded whole.
    if _holds_arrays(data) and NAMES.intersection(data) and len(data) > 1:
        return _of_tf_data(tf.data.Dataset.from_tensor_slices(dict(data)), read_picture)
    data = only_part(data) if _holds_arrays(data) else data
    pair = zip_pair(data, read_picture.volumes)
    if pair is not None:
        return _of_list(pair, read_picture)
    if isinstance(data, list | tuple) or (is_array(data) and is_batch(data, read_picture.volumes)):
        return _of_list(list(as_numpy(data) if is_array(data) else data), read_picture)
    return None


def _of_volumes(data: Any, read_picture: Reader, unit: str) -> Source:
    """Videos and volumes: no file holds them, and no folder."""
    whole = isinstance(data, tf.data.Dataset)
    source = _of_tf_data(data, read_picture) if whole else _of_arrays(data, read_picture)
    if source is None:
        got = f"{type(data).__name__} {getattr(data, 'shape', '')}".rstrip()
        raise TypeError(
            "Videos and volumes must be a batch or list of arrays, (arrays, labels), a "
            f"tf.data.Dataset or a PyDataset of them; got {got}."
        )
    return replace(source, unit=unit)


def _holds_arrays(data: Any) -> bool:
    """Whether data are arrays by name, such as {"image": images, "label": labels}."""
    return isinstance(data, Mapping) and bool(data) and all(map(is_array, data.values()))


def _of_batches(data: keras.utils.PyDataset, read_picture: Reader) -> Source:
    """Pictures that come in batches of images, or of (images, labels)."""

    def read(start: int) -> Iterator[Example | Skipped]:
        number = 0
        for place in range(len(data)):
            batch = data[place]
            images, labels = batch[:2] if isinstance(batch, tuple) else (batch, None)
            images = only_part(images)
            for row, image in enumerate(images):
                if number >= start:
                    own = None if labels is None else row_of(labels, row, len(images))
                    item = image if labels is None else (image, own)
                    yield _example(f"{number:06d}", item, read_picture)
                number += 1

    name = f"a {type(data).__name__}"
    return Source(name, read, None, digest_names([name, str(len(data))]))


def _of_list(items: list[Any], read_picture: Reader) -> Source:
    if not items:
        raise ValueError("data must hold at least one picture; got an empty list.")
    ids = [_id_of(item, number) for number, item in enumerate(items)]
    if len(set(ids)) < len(ids):
        ids = [f"{number:06d} {name}" for number, name in enumerate(ids)]

    def item(number: int) -> Example | Skipped:
        return _example(ids[number], items[number], read_picture)

    def read(start: int) -> Iterator[Example | Skipped]:
        return map(item, range(start, len(items)))

    key = digest_names(ids)
    mark = partial(_mark_item, items)
    return Source(f"{len(items)} pictures", read, len(items), key, item=item, mark=mark)


def _mark_item(items: list[Any], number: int) -> Mark | None:
    """Mark an element of a list as it was given; None where it must be read."""
    item = items[number]
    picture, label, truth = item, None, None
    if isinstance(item, Example):
        picture, label = item.image, item.label
        truth = (item.boxes, item.box_labels, item.mask, item.others)
    elif isinstance(item, tuple) and len(item) == 2:
        picture, label = item
    if isinstance(picture, bytes):
        digest = digest_bytes(picture)
    elif isinstance(picture, np.ndarray) and not picture.dtype.hasobject:
        digest = digest_arrays(picture)
    elif isinstance(picture, str | os.PathLike):
        try:
            digest = digest_file(Path(picture))
        except OSError:  # a URL, or what is not there
            return None
    else:
        return None
    return Mark(digest, label, digest_value(truth))


def _id_of(item: Any, number: int) -> str:
    picture = item[0] if isinstance(item, tuple) and len(item) == 2 else item
    if isinstance(picture, Example):
        return as_text(picture.id)
    return as_text(str(picture)) if isinstance(picture, str | os.PathLike) else f"{number:06d}"


def _example(name: str, item: Any, read_picture: Reader) -> Example | Skipped:
    """An element of a list: an ``Example``, a picture, or (picture, label)."""
    try:
        if isinstance(item, Example):
            image = read_picture(item.image)
            return checked(replace(item, id=name, image=image), read_picture.sides(image))
        if isinstance(item, tuple) and len(item) == 2:
            return Example(name, read_picture(item[0]), label=item[1])
        return Example(name, read_picture(item))
    except (ImageError, AnnotationError, OSError) as error:
        return Skipped(name, str(error))


def _of_tf_data(
    data: tf.data.Dataset,
    read_picture: Reader,
    name: str = "a tf.data.Dataset",
    names: tuple[str, ...] | None = None,
    place: Mapping[str, str | None] | None = None,
) -> Source:
    if read_picture.is_batched(data.element_spec):
        data = data.unbatch()
    count = int(data.cardinality().numpy())

    def read(start: int) -> Iterator[Example | Skipped]:
        elements, number = iter(data.skip(start).prefetch(tf.data.AUTOTUNE)), start
        while True:
            try:
                element = next(elements)
            except StopIteration:
                return
            except tf.errors.OpError as error:
                raise ValueError(
                    f"The data set must give its elements; it fails at number {number}: "
                    f"{error.message}"
                ) from None
            yield _element(element, number, read_picture)
            number += 1

    known = count if count >= 0 else None
    key = digest_names([name, str(data.element_spec), str(count)])
    return Source(name, read, known, key, names, place=place)


def _element(element: Any, number: int, read_picture: Reader) -> Example | Skipped:
    """An element of a ``tf.data.Dataset``: image, (image, label), or a dict as TFDS has it."""
    name = f"{number:06d}"
    try:
        if isinstance(element, tuple) and len(element) >= 2:
            return Example(name, read_picture(element[0]), label=label_of(element[1]))
        if not isinstance(element, dict) or not NAMES.intersection(element):
            return Example(name, read_picture(element))
        if "image/filename" in element:
            name = element["image/filename"].numpy().decode(errors="replace")
        image, things = read_picture(picture_in(element)), element.get("objects", {})
        size = read_picture.sides(image)
        normalised = things.get("bbox", element.get("bbox"))
        mask = element.get("mask")
        example = Example(
            name,
            image,
            None if normalised is None else _in_pixels(normalised, size),
            label_of(element.get("label")),
            tuple(label_of(label) for label in things.get("label", ())),
            None if mask is None else np.asarray(mask, bool).reshape(size),
        )
        return checked(example, size)
    except (ImageError, AnnotationError) as error:
        return Skipped(name, str(error))


def label_of(value: Any) -> Any:
    """A label as data sets give it: a class's index or name; several numbers as they are.

    Which class several numbers name depends on how many the model has.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):  # of each output
        return {key: label_of(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return tuple(map(label_of, value))
    plain = np.asarray(value)
    if plain.size != 1:
        return plain
    only = plain.item()
    return only.decode(errors="replace") if isinstance(only, bytes) else only


def _in_pixels(boxes: Any, size: tuple[int, ...]) -> np.ndarray:
    """Boxes [ymin, xmin, ymax, xmax] in [0, 1], as TFDS has them, in pixels."""
    height, width = size[-2:]
    corners = np.asarray(boxes, np.float32).reshape(-1, 4)[:, [1, 0, 3, 2]]
    return corners * np.array([width, height, width, height], np.float32)


def _of_tfds(name: str, split: str, data_dir: Any, read_picture: Reader) -> Source:
    import tensorflow_datasets as tfds

    where = "" if data_dir is None else f", data_dir={str(data_dir)!r}"
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        known = builder.info.splits
        if not known:
            raise ValueError("it is not on this machine")
        dataset = builder.as_dataset(split=split)
    except Exception as error:  # tfds has many kinds, and lists hundreds of names in some
        why = str(error).strip().split("\n")[0].rstrip(".:")
        raise ValueError(
            f"data={name!r} must be a folder, or a data set of tensorflow_datasets with the split "
            f"{split!r} on this machine: {why}. To get it, run once: "
            f"tensorflow_datasets.load({name!r}, split={split!r}{where}, download=True)."
        ) from None
    features = builder.info.features
    names = getattr(dict(features).get("label"), "names", None)
    title = f"{builder.info.full_name}, {split}"
    place = {
        "data": name,
        "split": split,
        "data_dir": None if data_dir is None else str(Path(data_dir).absolute()),
    }
    return _of_tf_data(
        dataset, read_picture, title, None if names is None else tuple(names), place=place
    )
