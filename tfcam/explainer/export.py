"""An explainer as a SavedModel, which needs TensorFlow alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.engine.engine import Engine
from tfcam.engine.freezing import frozen
from tfcam.explainer.pipeline import Pipeline
from tfcam.maps.tensors import fused, heatmaps
from tfcam.model.graph import ModelGraph
from tfcam.model.inputs import Input, swapped
from tfcam.preprocessing.modes import Preprocessing
from tfcam.targets.classes import Target
from tfcam.targets.two_classes import NUMBER
from tfcam.utils.files import FULL, folder_whole
from tfcam.utils.paths import as_path

# Says in a folder that it was exported here.
_MARK = "tfcam_export"


_LUMA = (0.299, 0.587, 0.114)  # as images.to_channels


def save(path: str | os.PathLike[str], pipeline: Pipeline, target: Target) -> None:
    """Write a SavedModel whose signature ``serving_default`` takes images or texts, and explains.

    Args:
        path: The folder to write: there whole or not at all.
        pipeline: The pipeline that explains.
        target: The target of every image, as ``tfcam.explain`` takes it.

    Raises:
        ValueError: If the model has several inputs or asks for a size that is not known, or the
            method or the preprocessing needs values.
    """
    if pipeline.augment:
        raise ValueError("augment=True needs several passes and can't be exported.")
    (chosen,) = pipeline.targets(target, 1)
    pictures = pipeline.preprocess is not None and pipeline.opened.input.is_image
    preprocessing = pipeline.preprocessing if pictures else None
    engine, graph = pipeline.engine_for([chosen]), pipeline.opened.graph
    (taken,) = _single(graph)
    _check_method(engine)
    size, pixels = taken.sides, engine.requests[0].method.pixels
    read = None if taken.behind is None else _reader(graph, taken)
    vocabulary = [] if read is None else read.get_vocabulary()
    if None in taken.shape and read is None:
        raise ValueError(
            f"A model's input must have a size to be exported; {graph.name!r} takes {taken.shape}. "
            "Build it with the size that it will see."
        )

    def explained(image: tf.Tensor) -> dict[str, tf.Tensor]:
        images = image if read is None else read(tf.reshape(image, (-1,)))
        shown = tf.unstack(tf.shape(images)[1 : 1 + len(size)])
        if preprocessing is not None:
            images = prepare_pictures(image, taken, preprocessing)
        elif taken.bare:
            images = image[..., tf.newaxis]
        elif taken.channels_first:
            images, shown = swapped(image, to_first=False), tf.unstack(tf.shape(image)[2:])
        batch = tf.shape(images)[0]
        own = chosen if callable(chosen) else tf.tile(tf.constant(chosen), [batch, 1])
        (answer,) = engine.compute(engine.submodel, images, [own]).answers
        raws = answer.raws[0]
        if read is not None:  # what is of no word is no part of the map
            raws = [tf.where(images > 0, raw, 0.0) for raw in raws]
        layers = [heatmaps(tf.abs(raw) if pixels else raw, shown) for raw in raws]
        heatmap = fused(layers, pipeline.fuse) if len(layers) > 1 else layers[0]
        results = {"score": answer.scores, "heatmap": heatmap}
        if read is not None:
            results["raw"] = raws[0]
            results["tokens"] = tf.gather(vocabulary, images)
        if isinstance(chosen, np.ndarray) and chosen[0, 0] != NUMBER:
            results["class"] = answer.pairs[:, 0]
        if pipeline.labels is not None and "class" in results:
            results["label"] = tf.gather(tf.constant(list(pipeline.labels)), results["class"])
        return results

    if read is not None:
        spec = tf.TensorSpec([None], tf.string, "text")
    elif preprocessing is not None:
        spec = tf.TensorSpec([None, *[None] * len(size), 3], tf.uint8, "image")
    else:
        spec = tf.TensorSpec([None, *taken.own_shape], taken.dtype, "image")
    traced = tf.function(explained, autograph=False).get_concrete_function(spec)
    fixed = frozen(traced)
    module = tf.Module()
    module.read = read  # whose table is no constant
    module.copies = getattr(fixed, "copies", [])
    serving = tf.function(lambda given: fixed(given), input_signature=[spec])
    # Gated gradients are in the graph already, and have no gradient of their own.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with folder_whole(as_path(path), _MARK) as folder, _as_of_the_system():
        tf.saved_model.save(module, str(folder), {"serving_default": serving}, options)


@contextlib.contextmanager
def _as_of_the_system() -> Iterator[None]:
    """Raise TensorFlow's error of a disk that is full as Python's own."""
    try:
        yield
    except tf.errors.OpError as error:
        for number in FULL:
            if str(error).endswith(os.strerror(number)):
                raise OSError(number, os.strerror(number)) from None
        raise


def _single(graph: ModelGraph) -> list[Input]:
    inputs = graph.inputs
    if len(inputs) > 1:
        raise ValueError(f"A model of one input can be exported; {graph.name!r} has {len(inputs)}.")
    return inputs


def _reader(graph: ModelGraph, taken: Input) -> Any:
    """Find the layer that turns strings into words' numbers inside a graph.

    Raises:
        ValueError: If there is none whose numbers are those of words.
    """
    behind = taken.behind
    assert behind is not None
    if behind.is_bag or behind.is_whole or not behind.direct:
        raise ValueError(
            f"A model of strings can be exported where these go into a TextVectorization of "
            f"output_mode='int' as they are; {graph.name!r} counts them, takes each for one word, "
            "or changes them before. Export the network behind it, which takes numbers of a fixed "
            "length: tfcam.Explainer(network, method='gradient_input').export(path)."
        )
    return behind.layer()


def _check_method(engine: Engine) -> None:
    for request in engine.requests:
        if request.method.loops:
            raise ValueError(
                f"A method of one pass can be exported; {request.method.name!r} asks the network "
                f"more than once. Use one such as {_one_pass(engine)}."
            )


def _one_pass(engine: Engine) -> str:
    return "gradient_input" if engine.submodel.graph.inputs[0].is_text else "grad_cam"


def prepare_pictures(image: tf.Tensor, taken: Input, preprocessing: Preprocessing) -> tf.Tensor:
    """Prepare pictures (B, H, W, 3) uint8 inside a graph, as ``preprocessing.prepare`` does."""
    size, sides = tf.constant(taken.sides), tf.shape(image)[1:3]
    pixels = tf.cast(image, tf.float32)
    factor = tf.maximum(1, tf.reduce_min(sides // (2 * size)))
    smaller = tf.image.resize(pixels, sides // factor, "area")
    pixels = tf.cond(factor > 1, lambda: tf.round(smaller), lambda: pixels)
    pixels = tf.round(tf.image.resize(pixels, size))
    if taken.shape[-1] == 1:
        pixels = tf.round(tf.tensordot(pixels, _LUMA, 1)[..., tf.newaxis])
    try:
        prepared = preprocessing.function(pixels)
    except Exception as error:
        raise ValueError(
            "preprocess must work on tensors to be exported, with operations of TensorFlow or "
            f"keras.ops; this one failed: {error}. Name a mode, or export with preprocess=None."
        ) from None
    return tf.cast(prepared, taken.values)
