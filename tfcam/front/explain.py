"""The front door: ``explain``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import keras
import numpy as np
import tensorflow as tf

from tfcam import maps
from tfcam.engine.options import Score
from tfcam.engine.trust_options import check_verified
from tfcam.explainer.explainer import Explainer
from tfcam.images.kinds import ImageLike, OfBatch, One, OneOrBatch
from tfcam.model.labels import Labels
from tfcam.model.taps import Layers
from tfcam.passes.reading import Reading
from tfcam.preprocessing.modes import Preprocess
from tfcam.results.explanation import Explanation
from tfcam.results.explanations import Explanations
from tfcam.targets.classes import Target, Targets
from tfcam.verification.attach import verified


@overload
def explain(
    model: keras.Model,
    image: One,
    layer: Layers = None,
    *,
    target: Target = None,
    method: str | Callable[[Reading], tf.Tensor] | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    fuse: maps.Fusion = "max",
    augment: bool = False,
    eigen: bool = False,
    batch_size: int = 32,
    tile: tuple[int, int] | None = None,
    words: Sequence[Any] | None = None,
    verify: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Explanation: ...
@overload
def explain(
    model: keras.Model,
    image: list[OfBatch],
    layer: Layers = None,
    *,
    target: Target | Targets | np.ndarray = None,
    method: str | Callable[[Reading], tf.Tensor] | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    fuse: maps.Fusion = "max",
    augment: bool = False,
    eigen: bool = False,
    batch_size: int = 32,
    tile: tuple[int, int] | None = None,
    words: Sequence[Any] | None = None,
    verify: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Explanations: ...
@overload
def explain(
    model: keras.Model,
    image: One | OneOrBatch,
    layer: Layers = None,
    *,
    target: Targets,
    method: str | Callable[[Reading], tf.Tensor] | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    fuse: maps.Fusion = "max",
    augment: bool = False,
    eigen: bool = False,
    batch_size: int = 32,
    tile: tuple[int, int] | None = None,
    words: Sequence[Any] | None = None,
    verify: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Explanations: ...
@overload
def explain(
    model: keras.Model,
    image: OneOrBatch,
    layer: Layers = None,
    *,
    target: Target | np.ndarray = None,
    method: str | Callable[[Reading], tf.Tensor] | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    fuse: maps.Fusion = "max",
    augment: bool = False,
    eigen: bool = False,
    batch_size: int = 32,
    tile: tuple[int, int] | None = None,
    words: Sequence[Any] | None = None,
    verify: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Any: ...
def explain(
    model: keras.Model,
    image: ImageLike,
    layer: Layers = None,
    *,
    target: Target | Targets | np.ndarray = None,
    method: str | Callable[[Reading], tf.Tensor] | None = None,
    preprocess: Preprocess = "auto",
    labels: Labels | None = None,
    score: Score = "logit",
    input: str | int | None = None,
    output: str | int | None = None,
    grid: tuple[int, ...] | None = None,
    fuse: maps.Fusion = "max",
    augment: bool = False,
    eigen: bool = False,
    batch_size: int = 32,
    tile: tuple[int, int] | None = None,
    words: Sequence[Any] | None = None,
    verify: bool = False,
    progress: bool | None = None,
    **options: Any,
) -> Explanation | Explanations:
    """Show which parts of an image made a model decide as it did.

    Args:
        model: Any built Keras 3 model; it is left as it is.
        image: One image or a batch. An image is a path, an http(s) URL, bytes, a PIL image, or a
            uint8 array or tensor (H, W, 3); a float array is taken as already prepared. A batch is
            a list of these, or an array (B, H, W, C). A series (L, C), a text as numbers (L,) or a
            volume (D, H, W, C) is given prepared. A prepared array has the model's own shape, be
            its channels last or first. Of a model with several inputs, a list, tuple or dict of
            them all, as the model takes it. Of a model of texts a string, a list of strings as a
            batch, or a tuple of strings as one text of several segments, such as a premise and a
            hypothesis: where the model takes strings, brings its preprocessor along, as those of
            KerasHub do, or ``preprocess`` makes a list of strings the model's inputs.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Several, or
            "all_convolutions", are fused into one map. Several are a list; layer objects are taken,
            too.
        target: The class that is explained: an index, or a label where labels are known; by default
            the one that the model predicts. Also a ``tfcam.Difference``, or a callable outputs ->
            (B,) on the outputs before the final softmax or sigmoid, such as ``tfcam.Segmentation``.
            Of a batch a list of these, one for each image; of one image a list of these, or
            ``tfcam.Top(k)``, gives an explanation of each; up to 32 share a forward pass.
        method: The method, by its name in ``tfcam.METHODS``; by default grad_cam, and of a text,
            where no layer is given, integrated_gradients at the embeddings of its words. Or a
            function Reading -> (B, h, w), the raw maps.
        preprocess: How pixels of 0..255 become the model's input: "auto" finds out, "raw" leaves
            them, "unit", "tf", "torch" and "caffe" scale them, and the name of a keras.applications
            family, such as "resnet_v2", does what that needs. Or a callable on (B, H, W, 3) float32
            pixels, ``tfcam.images.Window``, or None if prepared.
        labels: The label of each class, in the order of the classes, or a file with a label on each
            line or of JSON; by default known of ImageNet networks. Or a dict of names and indices,
            such as ``class_indices``, or "imagenet".
        score: The number that is explained: "logit", the score before the final softmax or sigmoid,
            or "probability", the one after it.
        input: Which input is explained of a model that has several, by name or index; by default
            the first of those with most axes.
        output: Which output is explained of a model that has several, by name or index.
        grid: Height and width of a transformer's grid of patches, of videos and volumes (frames,
            height, width) of its tubes; needed only where it can't be found.
        fuse: How the maps of several layers become one, pixel by pixel: "max", "mean", "product",
            or "tanh_max", which lifts what is faint in shallow layers.
        augment: Average the maps of six views: mirrored or not, at three sizes.
        eigen: Combine the weighted channels to their first principal component instead of their
            sum, which smooths the map.
        batch_size: Number of images that are computed at once; fewer take less memory.
        tile: Height and width in pixels of the tiles in which a picture is explained that is larger
            than the network takes at once: they overlap by half or more, and their maps become one.
            One class is explained in all, which the target must name.
        words: The word of each position of a text that is given as numbers, shown instead of these;
            of a batch of texts a list of these. A string has its own.
        verify: Ask how far each map can be trusted, as ``tfcam.verify`` does: about 260 forward
            passes more for each, and a finding where the removal test does not support it.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.
        options: The method's own options, such as ``normalize_alpha=True`` of "grad_cam_pp".

    Returns:
        An ``Explanation``; ``Explanations``, one for each image, where a batch was given, or one
        for each target, where several were given for one image. A type checker takes a list for a
        batch; of an array, a tuple or a dict it can't tell.

    Raises:
        ValueError: If an argument does not fit the model; the message says what does.
        TypeError: If an argument is of the wrong kind.

    Example:
        >>> import tfcam
        >>> scene = tfcam.scenes.draw_scene(1, kinds=["star"])
        >>> kinds = tfcam.scenes.KINDS
        >>> result = tfcam.explain(tfcam.demo_model(), scene.image, "features", labels=kinds)
        >>> result.label, result.heatmap.shape, result.raw.shape
        ('star', (128, 128), (16, 16))
    """
    check_verified(verify, tile)
    explainer = Explainer(
        model,
        layer,
        method=method,
        preprocess=preprocess,
        labels=labels,
        score=score,
        input=input,
        output=output,
        grid=grid,
        fuse=fuse,
        augment=augment,
        eigen=eigen,
        batch_size=batch_size,
        tile=tile,
        progress=progress,
        **options,
    )
    call: Callable[..., Explanation | Explanations] = explainer
    explained = call(image, target, words)
    if not verify:
        return explained
    return verified(explained, explainer, image, target, batch_size=batch_size, progress=progress)
