"""A data set explained on several machines or GPUs, by actors of Ray."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam.engine.options import BATCH_SIZE, SHARD_SIZE, Score
from tfcam.engine.picture_options import TILE
from tfcam.engine.trust_options import VERIFY_ROWS
from tfcam.model.labels import Labels
from tfcam.model.taps import Layer
from tfcam.passes.reading import Reading
from tfcam.preprocessing.modes import Preprocess
from tfcam.streaming.shards import Shards
from tfcam.streaming.store import MapStore
from tfcam.streaming.texts import open_source
from tfcam.streaming.work import explain_shards, left, prepare_work, take_up
from tfcam.targets.classes import Target
from tfcam.utils.extras import import_extra
from tfcam.utils.paths import as_path
from tfcam.utils.progress import progress_bar
from tfcam.utils.validation import check_count


def stream_on_ray(
    model: keras.Model | Callable[[], keras.Model],
    data: Any,
    *,
    to: str | os.PathLike[str],
    actors: int = 2,
    num_gpus: float = 0,
    num_cpus: float = 1,
    layer: Layer = None,
    method: str | Callable[[Reading], tf.Tensor] | None = None,
    target: Target = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    augment: bool = False,
    eigen: bool = False,
    tile: tuple[int, int] | None = None,
    verify: bool = False,
    split: str = "test",
    data_dir: str | os.PathLike[str] | None = None,
    annotations: str | os.PathLike[str] | None = None,
    batch_size: int = 32,
    shard_size: int = 1024,
    freeze: bool = True,
    key: str | None = None,
    progress: bool | None = None,
    **options: Any,
) -> MapStore:
    """``tfcam.stream`` by several actors of Ray, on this machine or a cluster.

    Each actor holds the model, compiled once, and explains one shard after another; Ray hands them
    out, starts an actor that died anew, and gives it its shard again. The store is the same as
    that of ``tfcam.stream``, file by file, and either goes on with what the other began. Needs
    ``pip install tfcam[ray]``.

    Args:
        model: A Keras model that can be saved, or, where it has code of its own, a function that
            makes it.
        data: As ``tfcam.stream`` takes it, or a function that gives that: a ``tf.data.Dataset``
            can only be given so. Each machine must have it at the same place.
        to: The folder of the store. A run that was stopped goes on there where it was.
        actors: Number of actors that work at once.
        num_gpus: Number of GPUs that each actor has; less than 1 where several share one.
        num_cpus: Number of CPUs that Ray counts for each actor.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Layer objects are taken,
            too.
        method: The method, by its name in ``tfcam.METHODS``; by default grad_cam, and of a text,
            where no layer is given, integrated_gradients at the embeddings of its words. Or a
            function Reading -> (B, h, w), the raw maps.
        target: The class that is explained: an index, a label, or "label" for each picture's own;
            by default the one that the model predicts. Also a ``tfcam.Difference``, or a callable
            outputs -> (B,) on the outputs before the final softmax or sigmoid, such as
            ``tfcam.Segmentation``.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        augment: Average the maps of six views: mirrored or not, at three sizes.
        eigen: Combine the weighted channels to their first principal component instead of their
            sum, which smooths the map.
        tile: Height and width in pixels of the tiles in which a picture is explained that is larger
            than the network takes at once: they overlap by half or more, and their maps become one.
            One class is explained in all, which the target must name.
        verify: Test of each map whether hiding what it marks lowers the explained number more than
            chance would: 200 forward passes more for each picture, and two columns, ``p_value`` and
            ``verdict``.
        split: Which part of a data set of tensorflow_datasets, such as "test[:100]".
        data_dir: The folder where tensorflow_datasets keeps a data set, if not its usual place.
        annotations: The folder of XML files, or the JSON file, that says what is in a folder of
            pictures, if not beside them.
        batch_size: Number of images that are computed at once; fewer take less memory.
        shard_size: Number of pictures in a file. After a stop, as many are explained anew at most:
            fewer are better where a method takes long.
        freeze: Build the weights into what is compiled, which is faster on a CPU; not done where
            several replicas share a batch.
        key: A name for your own functions and objects that make the maps, by which a stopped run
            recognises them where their code can't be read. A run goes on only with the same ones.
            They are compared by their code, constants and what they refer to, and by this name
            instead where these can't be read, or change while they run.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.
        options: The method's own options, such as ``normalize_alpha=True`` of "grad_cam_pp".

    Returns:
        The store, as ``tfcam.open_store`` gives it.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: As ``tfcam.stream``, or if it is not known how many pictures there are.

    Example:
        >>> store = tfcam.stream_on_ray(model, "photos/", to="maps/", actors=4)  # doctest: +SKIP
    """
    ray_data = import_extra("ray.data", extra="ray", user="stream_on_ray")
    options_of_explainer = {
        "layer": layer,
        "method": method,
        "preprocess": preprocess,
        "labels": labels,
        "score": score,
        "output": output,
        "grid": grid,
        "augment": augment,
        "eigen": eigen,
        "tile": TILE.check(tile),
        "freeze": freeze,
        "batch_size": BATCH_SIZE.check(batch_size),
        **options,
    }
    job = Job(
        model=_packed(model),
        data=data,
        data_options={"split": split, "data_dir": data_dir, "annotations": annotations},
        folder=as_path(to, "to").absolute(),
        target=target,
        options=options_of_explainer,
        shard_size=SHARD_SIZE.check(shard_size),
        key=key,
        verify=VERIFY_ROWS.check(verify),
    )
    worker = ShardWorker(job, check=False)
    source, store = worker.work.explainer.source, worker.store
    if source.count is None:
        raise ValueError(
            "It must be known how many pictures there are to share them out; of "
            f"{source.name} it is not. Let the data say it: "
            "data.apply(tf.data.experimental.assert_cardinality(n))."
        )
    with store.alone(worker.work.settings):
        take_up(store, source, progress)
        shards = list(left(store, source))
        if shards:
            items = ray_data.from_items(
                [{"shard": shard} for shard in shards], override_num_blocks=len(shards)
            )
            explained = items.map_batches(
                ShardWorker,
                fn_constructor_args=(job,),
                batch_size=1,
                concurrency=check_count("actors", actors),
                num_gpus=num_gpus,
                num_cpus=num_cpus,
            )
            done = shard_size * len(store.done())
            with progress_bar(source.count, "explaining", progress, "pictures", done) as advance:
                for row in explained.iter_rows():
                    advance(int(row["pictures"]))
        if not store.finished:
            store.finish()
    return MapStore(Path(to), data() if callable(data) else data)


@dataclass(frozen=True)
class Job:
    """What every actor is told.

    Attributes:
        model: The content of the model's file, or what makes the model.
        data: The pictures, or what gives them.
        data_options: What says which data are meant, besides their name.
        folder: The store's.
        target: What is explained of each picture.
        options: What an ``Explainer`` takes.
        shard_size: Number of pictures in a shard.
        key: What the user's own functions are told apart by.
        verify: Whether each map is tested.
    """

    model: bytes | Callable[[], keras.Model]
    data: Any
    data_options: dict[str, Any]
    folder: Path
    target: Target
    options: dict[str, Any]
    shard_size: int
    key: str | None
    verify: bool


class ShardWorker:
    """What an actor is: a model with what explains it, made once.

    Args:
        job: The job.
        check: Whether the store must be there, with the same settings.
    """

    def __init__(self, job: Job, check: bool = True) -> None:
        model = _unpacked(job.model)
        data = job.data() if callable(job.data) else job.data
        source = open_source(model, data, job.options["preprocess"], job.data_options)
        self.store = Shards(job.folder, job.shard_size)
        asked = job.target, job.options, job.shard_size, job.key, job.verify
        self.work = prepare_work(model, source, *asked)
        if check:
            self.store.check(self.work.settings)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Explain some shards; how many pictures each had."""
        counts = []
        for shard in map(int, batch["shard"]):
            explain_shards(self.work.explainer, self.store, [shard])
            start = shard * self.store.size
            count = self.work.explainer.source.count or 0
            counts.append(min(count, start + self.store.size) - start)
        return {"shard": batch["shard"], "pictures": np.array(counts)}


def _packed(model: Any) -> bytes | Callable[[], keras.Model]:
    """Pack a model to be sent: the content of its file; a function as it is."""
    if not isinstance(model, keras.Model):
        return model
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        return file.read_bytes()


def _unpacked(packed: bytes | Callable[[], keras.Model]) -> keras.Model:
    if callable(packed):
        return packed()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        file.write_bytes(packed)
        return keras.models.load_model(file, compile=False)
