"""A whole data set explained, into a store that a stop at any moment does no harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfcam.engine.options import Score
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
from tfcam.utils.paths import as_path
from tfcam.utils.progress import progress_bar
from tfcam.utils.run_folder import noting
from tfcam.utils.validation import check_count


def stream(
    model: keras.Model,
    data: Any,
    *,
    to: str | os.PathLike[str],
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
    """Explain a whole data set, and keep the maps in a folder of Parquet files.

    Pictures are read and decoded while the network computes, and what it gave is written while it
    goes on; memory does not grow with the data. A run that was stopped, in whatever way, goes on
    where it was when it is called again, and ends as if it had not been stopped: nothing is lost
    and nothing there twice. What is done is compared with the data first, file by file or pixel by
    pixel; a damaged file of the store is made anew. A picture that can't be read is noted with the
    reason, and passed over.

    Args:
        model: Any built Keras 3 model of pictures, videos or volumes, with one input, or of texts;
            it is left as it is.
        data: A folder of pictures; a ``tf.data.Dataset`` of images, of (image, label), or of dicts
            as tensorflow_datasets gives them, that always gives the same in the same order; the
            name of a data set of tensorflow_datasets that is on this machine; a list of pictures.
            Images are uint8 (H, W, 3) of any size, or floats, which are taken as already prepared.
            Of a model of videos or volumes an array of several, a list of arrays (D, H, W, C), a
            pair (arrays, labels) or a ``tf.data.Dataset`` of these; lengths may differ where the
            model takes any.
            Of a model of texts a list of strings or of (string, label), a ``tf.data.Dataset`` of
            these, a .txt file with a text on each line, or a function that gives them anew each
            time it is called, such as a generator function; the store holds the texts, too.
        to: The folder of the store. A run that was stopped goes on there where it was.
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
        ValueError: If an argument does not fit the model or the data, or ``to`` holds another run,
            or one of other pictures.
        TypeError: If an argument is of the wrong kind.
        OSError: If the disk is full.

    Example:
        >>> import tempfile, tfcam
        >>> pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(3)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = stream(tfcam.demo_model(), pictures, to=folder, labels=tfcam.scenes.KINDS)
        ...     store.table[["key", "label", "layer"]].values.tolist()  # doctest: +ELLIPSIS
        [['000000', ..., 'features'], ['000001', ..., 'features'], ['000002', ..., 'features']]
    """
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
        "batch_size": check_count("batch_size", batch_size),
        **options,
    }
    folder = as_path(to, "to")
    where = {"split": split, "data_dir": data_dir, "annotations": annotations}
    source = open_source(model, data, preprocess, where)
    kind = source.kind
    size, verify = check_count("shard_size", shard_size), VERIFY_ROWS.check(verify)
    work = prepare_work(model, source, target, options_of_explainer, size, key, verify)
    store = Shards(folder, shard_size)
    with store.alone(work.settings), noting(folder, work.digest):
        take_up(store, source, progress)
        if not store.finished:
            done = shard_size * len(store.done())
            with progress_bar(source.count, "explaining", progress, f"{kind}s", done) as advance:
                explain_shards(work.explainer, store, left(store, source), advance)
            if not store.done():
                raise ValueError(f"data must hold at least one {kind}; {source.name} holds none.")
            store.finish()
    result = MapStore(folder, data)
    if not len(result):
        first = result.skipped.iloc[0]
        raise ValueError(f"No {kind} could be explained. The first, {first.key}: {first.reason}")
    return result
