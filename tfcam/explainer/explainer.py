"""``Explainer``: what ``explain`` does, prepared once for many images."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, overload

import keras
import numpy as np
import tensorflow as tf

from tfcam import maps
from tfcam.engine.doors import DOORS
from tfcam.engine.options import Score
from tfcam.engine.picture_options import TILE
from tfcam.engine.settings import Settings
from tfcam.explainer.export import save
from tfcam.explainer.pipeline import Pipeline, default_method
from tfcam.explainer.tiling import (
    Explain,
    Whole,
    check_tiles,
    explain_tiles,
    prepare_tiles,
    read_whole,
)
from tfcam.explainer.words import word_lists
from tfcam.images.kinds import ImageLike, OfBatch, One, OneOrBatch
from tfcam.methods.registry import ask
from tfcam.model.given import split_batch
from tfcam.model.labels import Labels
from tfcam.model.taps import Layers
from tfcam.passes.reading import Reading
from tfcam.preprocessing.modes import Preprocess
from tfcam.results.explanation import Explanation
from tfcam.results.explanations import Explanations
from tfcam.targets.callables import part_of
from tfcam.targets.classes import Target, Targets, Top
from tfcam.utils.progress import Advance, progress_bar

# What a mistaken option may be meant for besides those of the method.
_OWN = [option.name for option in (*DOORS["Explainer"], *DOORS["explain"])]
# What explain takes and an Explainer is not made with, and what to do instead.
_LATER = {
    "target": "give it in the call, explainer(image, target)",
    "words": "give them in the call, explainer(image, words=words)",
    "verify": "call tfcam.verify(model, explanation) on what it gives",
}


class Explainer:
    """A model, a layer and a method, prepared once for many images.

    The first call for a shape runs as it is; from the second on it is compiled. A model that has
    been trained or changed is explained as it is now, by the target and the method as they are now;
    where their code reads what can't be seen, see ``refresh``.

    Args:
        model: Any built Keras 3 model; it is left as it is.
        layer: The layer: a path ("resnet50/conv5_block3_out"), a bare name where it is unique, or
            an index of ``tfcam.layers``; by default the last map that the output is computed from,
            before pooling, a softmax over positions or a mixing of axes. Several, or
            "all_convolutions", are fused into one map. Several are a list; layer objects are taken,
            too.
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
        freeze: Build the weights into what is compiled, as they are at the first call with images
            of a shape. On a CPU that is faster than the network by itself, as layers are folded
            together; it does not see later training.
        progress: Show a progress bar on the error stream; by default in a terminal or a notebook,
            where it takes more than a second.
        options: The method's own options.

    Raises:
        ValueError: If an argument does not fit the model; the message says what does.
        TypeError: If the method has no such option.

    Example:
        >>> import tfcam
        >>> explainer = tfcam.Explainer(tfcam.demo_model(), method="grad_cam_pp")
        >>> explainer.layer
        'features'
        >>> pictures = [tfcam.scenes.draw_scene(seed).image for seed in range(3)]
        >>> explainer(pictures).heatmaps.shape
        (3, 128, 128)
    """

    def __init__(
        self,
        model: keras.Model,
        layer: Layers = None,
        *,
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
        freeze: bool = False,
        progress: bool | None = None,
        **options: Any,
    ) -> None:
        _check_given_later(options)
        self._batch_size, self._progress = batch_size, progress
        self.pipeline = Pipeline(
            model,
            layer,
            ask(default_method(model, layer, input) if method is None else method, options, _OWN),
            Settings(score, output, eigen, batch_size, grid, freeze),
            input=input,
            preprocess=preprocess,
            labels=labels,
            fuse=fuse,
            augment=augment,
            tile=TILE.check(tile),
        )
        if tile is not None:
            check_tiles(self.pipeline.opened, [])

    @property
    def model(self) -> keras.Model:
        """The explained model."""
        return self.pipeline.model

    @property
    def layer(self) -> str | None:
        """The path of the explained layer; None for maps of pixels that need no layer."""
        return self.pipeline.layer

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a label is no list of letters
        self, images: One, target: Target = None, words: Sequence[Any] | None = None
    ) -> Explanation: ...
    @overload
    def __call__(
        self,
        images: list[OfBatch],
        target: Target | Targets | np.ndarray = None,
        words: Sequence[Any] | None = None,
    ) -> Explanations: ...
    @overload
    def __call__(
        self, images: One | OneOrBatch, target: Targets, words: Sequence[Any] | None = None
    ) -> Explanations: ...
    @overload
    def __call__(
        self,
        images: OneOrBatch,
        target: Target | np.ndarray = None,
        words: Sequence[Any] | None = None,
    ) -> Any: ...
    def __call__(
        self,
        images: ImageLike,
        target: Target | Targets | np.ndarray = None,
        words: Sequence[Any] | None = None,
    ) -> Explanation | Explanations:
        """Explain one image or a batch.

        Args:
            images: One image or a batch, as ``tfcam.explain`` takes them.
            target: The class that is explained: an index, or a label where labels are known; by
                default the one that the model predicts. Also a ``tfcam.Difference``, or a callable
                outputs -> (B,) on the outputs before the final softmax or sigmoid, such as
                ``tfcam.Segmentation``. Of a batch a list of these, one for each image; of one image
                a list of these, or ``tfcam.Top(k)``, gives an explanation of each; up to 32 share a
                forward pass.
            words: The word of each position of a text that is given as numbers, shown instead of
                these; of a batch of texts a list of these. A string has its own.

        Returns:
            An ``Explanation``, or ``Explanations`` where a batch or several targets were given.
        """
        pipeline = self.pipeline
        pipeline.refresh()
        explained, others = pipeline.opened.split(images, pipeline.preprocess)
        batch = split_batch(explained, pipeline.opened.input)
        if batch is not None and not batch:
            raise ValueError("A batch must hold at least one image; got an empty one.")
        if pipeline.tile is not None:
            return self._tiled(pipeline.tile, explained, batch, target)
        if batch is None:
            several = isinstance(target, Top | list | tuple)
            beside = pipeline.others(others, 1)
            chosen = pipeline.targets(target, 1, several, [explained], beside)
            with self._progress_bar(1):
                prepared = pipeline.prepare([explained], beside)
                results = pipeline.assemble(pipeline.compute(prepared, chosen), [words])
            return Explanations(results) if several else results[0]
        spoken = word_lists(words, len(batch))
        beside = pipeline.others(others, len(batch))
        (own,) = pipeline.targets(target, len(batch), False, batch, beside)
        pixels, results = pipeline.are_pixels(batch), []
        with self._progress_bar(len(batch)) as advance:
            pictures, parts = pipeline.parts(batch, self._batch_size)
            for part in parts:
                own_others = [values[part] for values in beside]
                prepared = pipeline.prepare(pictures[part], own_others, pixels=pixels)
                run = pipeline.compute(prepared, [part_of(own, part)])
                results += pipeline.assemble(run, spoken[part])
                advance(len(prepared.images))
        return Explanations(results)

    def _tiled(
        self, tile: tuple[int, int], image: Any, batch: list[Any] | None, target: Any
    ) -> Explanation | Explanations:
        """Explain one image or a batch tile by tile."""
        pipeline, images = self.pipeline, [image] if batch is None else batch
        targets = [target] * len(images)
        if batch is not None and isinstance(target, list | tuple | np.ndarray):
            pipeline.targets(target, len(batch))  # refuses what does not fit
            targets = list(target)
        check_tiles(pipeline.opened, targets)
        (request,), results = pipeline.engine.requests, list[Explanation]()
        for one, own in zip(images, targets, strict=True):
            whole = read_whole(pipeline.opened, one, pipeline.preprocess)
            with progress_bar(None, "explaining", self._progress) as advance:
                how = tile, self._batch_size, [request.shown], advance
                results += explain_tiles(self._explains(whole, own), whole, *how)
        return results[0] if batch is None else Explanations(results)

    def _explains(self, whole: Whole, target: Any) -> Explain:
        """Make what explains tiles of a picture."""
        pipeline = self.pipeline

        def explain(pieces: list[np.ndarray]) -> list[list[Explanation]]:
            ready = prepare_tiles(pipeline.opened, pieces, pipeline.preprocess, whole.as_pixels)
            run = pipeline.compute(ready, pipeline.targets(target, len(pieces)))
            return [[explanation] for explanation in pipeline.assemble(run)]

        return explain

    def refresh(self) -> None:
        """Let go of all that is known of the model and compiled for it, and read it anew.

        Changed weights, layers and attributes of layers are noticed without, and so are globals,
        closures, defaults, objects and functions that the code of a user's layer names. It is
        needed where that code asks what can't be looked into, such as an object of another package,
        a file or a clock, or where a user sets what the code of a layer sets itself; and with
        ``freeze=True``, which keeps the weights of its first call.

        Example:
            >>> import tfcam
            >>> explainer = tfcam.Explainer(tfcam.demo_model(), freeze=True)
            >>> explainer.refresh()
        """
        self.pipeline.reopen()

    def export(self, path: str | os.PathLike[str], target: Target = None) -> None:
        """Write a SavedModel that explains images with TensorFlow alone.

        Its signature ``serving_default`` takes ``image``: pictures (B, H, W, 3) uint8 RGB of one
        size, which are brought to the model's size and preprocessed inside, or, where the Explainer
        has ``preprocess=None``, the model's prepared input. It returns ``class`` (B,) int32,
        ``score`` (B,) and ``heatmap`` (B, H, W) in [0, 1], both float32, and ``label`` where labels
        are known. The weights are in it as they are now.

        Of a model of strings with a ``TextVectorization`` behind them it takes ``text``, (B,)
        strings, and returns ``heatmap`` and ``raw`` (B, L) of the ``tokens`` (B, L), as the layer's
        vocabulary has them; "" is the padding, whose values are 0.

        Args:
            path: The folder to write, there whole or not at all; an empty one, or one that was
                exported before, makes way.
            target: The class that is explained: an index, or a label where labels are known; by
                default the one that the model predicts. Also a ``tfcam.Difference``, or a callable
                outputs -> (B,) on the outputs before the final softmax or sigmoid, such as
                ``tfcam.Segmentation``.

        Raises:
            ValueError: If the model has several inputs, the method runs the network many times, the
                preprocessing can't be part of a graph, as of strings that are counted, or the
                folder holds something else.
            FileNotFoundError: If the folder that it is to be in does not exist.

        Example:
            >>> import tempfile, tfcam
            >>> scene = tfcam.scenes.draw_scene(1).image
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     tfcam.Explainer(tfcam.demo_model()).export(folder)
            ...     explain = tf.saved_model.load(folder).signatures["serving_default"]
            ...     explain(image=tf.constant(scene[None]))["heatmap"].shape
            TensorShape([1, 128, 128])
        """
        if self.pipeline.tile is not None:
            raise ValueError("tile= needs several passes and can't be exported.")
        self.pipeline.refresh()
        save(path, self.pipeline, target)

    def prepared(self) -> Explainer:
        """Copy this for arrays that are already as the model takes them.

        Returns:
            An Explainer with ``preprocess=None``, all else the same.
        """
        same = copy.copy(self)
        same.pipeline = self.pipeline.prepared()
        return same

    def _progress_bar(self, count: int) -> AbstractContextManager[Advance]:
        """Open a bar for some pictures; it can't tell parts of those that are computed at once."""
        known = count > self._batch_size
        unit = "texts" if self.pipeline.opened.is_text else "pictures"
        total, unit = (count, unit) if known else (None, "")
        return progress_bar(total, "explaining", self._progress, unit)


def _check_given_later(options: Iterable[str]) -> None:
    """Refuse what ``explain`` takes and an ``Explainer`` is not made with."""
    for name in sorted(_LATER.keys() & set(options)):
        raise TypeError(f"An Explainer is made without {name}: {_LATER[name]}.")
