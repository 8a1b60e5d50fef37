"""An explainer as a SavedModel, which needs TensorFlow alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfcam import maps
from tfcam.engine.engine import Engine
from tfcam.engine.freezing import frozen
from tfcam.maps.tensors import resized
from tfcam.model.graph import ModelGraph
from tfcam.model.inputs import Input, swapped
from tfcam.preprocessing.modes import Preprocessing

_LUMA = (0.299, 0.587, 0.114)  # as images.to_channels


def save(
    path: str | os.PathLike[str],
    engine: Engine,
    target: Any,
    preprocessing: Preprocessing | None,
    fusion: maps.Fusion,
    labels: Sequence[str] | None,
) -> None:
    """Write a SavedModel whose signature ``serving_default`` takes images and explains them.

    Args:
        path: The folder to write.
        engine: What computes.
        target: One pair of classes (1, 2) for all images, or a callable outputs -> (B,).
        preprocessing: What is done to pictures of 0..255; None where the images come prepared.
        fusion: How several layers become one map.
        labels: The label of each class.

    Raises:
        ValueError: If the model has several inputs or asks for a size that is not known, or the
            method or the preprocessing needs values.
    """
    graph = engine.submodel.graph
    (taken,) = _single(graph)
    _check_method(engine)
    size, pixels = taken.sides, engine.requests[0].method.pixels
    if None in taken.shape:
        raise ValueError(
            f"A model's input must have a size to be exported; {graph.name!r} takes {taken.shape}. "
            "Build it with the size that it will see."
        )

    def explained(image: tf.Tensor) -> dict[str, tf.Tensor]:
        images, shown = image, tf.unstack(tf.shape(image)[1 : 1 + len(size)])
        if preprocessing is not None:
            images = _prepared(image, taken, preprocessing)
        elif taken.channels_first:
            images, shown = swapped(image, to_first=False), tf.unstack(tf.shape(image)[2:])
        batch = tf.shape(images)[0]
        chosen = target if callable(target) else tf.tile(tf.constant(target), [batch, 1])
        (answer,) = engine.compute(engine.submodel, images, [chosen]).answers
        made = {
            "score": answer.scores,
            "heatmap": _heatmap(answer.raws[0], shown, pixels, fusion),
        }
        if not callable(target):
            made["class"] = answer.pairs[:, 0]
        if labels is not None and "class" in made:
            made["label"] = tf.gather(tf.constant(list(labels)), made["class"])
        return made

    spec = (
        tf.TensorSpec([None, *[None] * len(size), 3], tf.uint8, "image")
        if preprocessing is not None
        else tf.TensorSpec([None, *taken.own_shape], taken.dtype, "image")
    )
    traced = tf.function(explained, autograph=False).get_concrete_function(spec)
    fixed = frozen(traced)
    module = tf.Module()
    serving = tf.function(lambda image: fixed(image), input_signature=[spec])
    # Gated gradients are in the graph already, and have no gradient of their own.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, os.fspath(path), {"serving_default": serving}, options)


def _single(graph: ModelGraph) -> list[Input]:
    inputs = graph.inputs
    if len(inputs) > 1:
        raise ValueError(f"A model of one input can be exported; {graph.name!r} has {len(inputs)}.")
    return inputs


def _check_method(engine: Engine) -> None:
    for each in engine.requests:
        if each.method.loops:
            raise ValueError(
                f"A method of one pass can be exported; {each.method.name!r} runs the network "
                "many times. Use one such as grad_cam."
            )


def _prepared(image: tf.Tensor, taken: Input, preprocessing: Preprocessing) -> tf.Tensor:
    """Pictures (B, H, W, 3) uint8 as the model takes them: as ``images.resize_image`` and on."""
    size, given = tf.constant(taken.sides), tf.shape(image)[1:3]
    pixels = tf.cast(image, tf.float32)
    factor = tf.maximum(1, tf.reduce_min(given // (2 * size)))
    smaller = tf.image.resize(pixels, given // factor, "area")
    pixels = tf.cond(factor > 1, lambda: tf.round(smaller), lambda: pixels)
    pixels = tf.round(tf.image.resize(pixels, size))
    if taken.shape[-1] == 1:
        pixels = tf.round(tf.tensordot(pixels, _LUMA, 1)[..., tf.newaxis])
    try:
        made = preprocessing.function(pixels)
    except Exception as error:
        raise ValueError(
            "preprocess must work on tensors to be exported, with operations of TensorFlow or "
            f"keras.ops; this one failed: {error}. Name a mode, or export with preprocess=None."
        ) from None
    return tf.cast(made, taken.dtype)


def _heatmap(
    raws: Sequence[tf.Tensor], size: Sequence[tf.Tensor], pixels: bool, fusion: maps.Fusion
) -> tf.Tensor:
    """The heatmaps (B, *size) in [0, 1], as ``maps.heatmap`` and ``maps.fuse`` make them."""
    raws = [tf.abs(each) for each in raws] if pixels else raws
    scaled = [_scaled(_at_size(each, size)) for each in raws]
    if len(scaled) == 1:
        return scaled[0]
    stack = tf.stack(scaled)
    by: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "max": lambda each: tf.reduce_max(each, axis=0),
        "mean": lambda each: tf.reduce_mean(each, axis=0),
        "product": lambda each: tf.reduce_prod(each, axis=0),
        "tanh_max": lambda each: tf.reduce_max(tf.tanh(2 * each), axis=0),
    }
    return _scaled(by[fusion](stack))


def _at_size(raw: tf.Tensor, size: Sequence[tf.Tensor]) -> tf.Tensor:
    """Maps (B, h, w), or of pixels (B, h, w, C), at another size: (B, *size)."""
    flat = tf.reduce_max(raw, axis=-1) if raw.shape.rank == len(size) + 2 else raw
    return resized(flat[..., tf.newaxis], size)[..., 0]


def _scaled(values: tf.Tensor) -> tf.Tensor:
    positive = tf.nn.relu(values)
    axes = list(range(1, values.shape.rank))
    return tf.math.divide_no_nan(positive, tf.reduce_max(positive, axis=axes, keepdims=True))
