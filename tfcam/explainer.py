"""The front door: ``explain``, and ``Explainer``, which is prepared once for many images."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam import attribution as attribution  # its methods join METHODS
from tfcam import maps, views
from tfcam.applications import family_of, imagenet_labels
from tfcam.checks import check_flag, check_labels, shown
from tfcam.engine import Computed, Engine, Request, Settings
from tfcam.explanation import Explanation, Explanations
from tfcam.findings import Finding, finding
from tfcam.images import as_numpy
from tfcam.inspection import Layers
from tfcam.methods import METHODS, Method
from tfcam.opening import open_model
from tfcam.preparation import Preprocess, prepare
from tfcam.results import explanation, joined
from tfcam.submodel import Reading
from tfcam.targets import Target, Top, class_indices, part_of, per_image, with_labels
from tfcam.tasks import Box, Regression, Segmentation, Similarity

# Callable targets that hold no model, so that what is compiled for one can be kept.
BY_VALUE = (Box, Regression, Segmentation, Similarity)


def explain(
    model: keras.Model,
    image: Any,
    layer: Layers = None,
    *,
    target: Target = None,
    method: str | Callable[[Reading], tf.Tensor] = "grad_cam",
    preprocess: Preprocess = "auto",
    labels: Sequence[str] | None = None,
    score: str = "logit",
    output: str | int | None = None,
    grid: tuple[int, int] | None = None,
    fuse: maps.Fusion = "max",
    augment: bool = False,
    eigen: bool = False,
    batch_size: int = 32,
    **options: Any,
) -> Any:
    """Show which parts of an image made a model decide as it did.

    Args:
        model: Any built Keras 3 model with one image input; it is left as it is.
        image: One image or a batch. An image is a path, an http(s) URL, bytes, a PIL image, or a
            uint8 array or tensor (H, W, 3); a float array is taken as already prepared. A batch is
            a list of these, or an array (B, H, W, C).
        layer: Path ("resnet50/conv5_block3_out"), bare name where unique, layer object, index of
            ``tfcam.layers(model)``; None takes the map that feeds the last global pooling, or the
            last map. A list of these, or "all_convolutions": the maps of all are fused.
        target: A class index, a label where labels are known, ``tfcam.Difference``, a callable
            outputs -> (B,) on the outputs before the final softmax or sigmoid (such as
            ``tfcam.Segmentation``), or None for the class that the model predicts. For a batch, a
            list of these, one for each image; for one image, a list of these or ``tfcam.Top(k)``
            gives an explanation of each in one forward pass.
        method: A name of ``tfcam.METHODS``, or a function Reading -> (B, h, w).
        preprocess: "auto", a mode such as "unit" or "caffe", the name of a keras.applications
            family, a callable on (B, H, W, 3) float32 pixels of 0..255, or None.
        labels: The label of each class; known by itself for ImageNet networks.
        score: "logit" for scores before the final softmax or sigmoid, or "probability".
        output: Which output of a model that has several, by name or index.
        grid: (height, width) of a transformer's patches; needed only where it can't be found.
        fuse: How several layers become one map: "max", "mean", "product" or "tanh_max".
        augment: Average the maps of six views: mirrored or not, at three sizes.
        eigen: Combine the weighted channels to their first principal component instead of their
            sum, which smooths the map.
        batch_size: How many images are computed at once.
        options: The method's own options, such as ``normalize_alpha=True`` of "grad_cam_pp".

    Returns:
        An ``Explanation``; ``Explanations``, one for each image, where a batch was given, or one
        for each target, where several were given for one image.

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
    explainer = Explainer(
        model,
        layer,
        method=method,
        preprocess=preprocess,
        labels=labels,
        score=score,
        output=output,
        grid=grid,
        fuse=fuse,
        augment=augment,
        eigen=eigen,
        batch_size=batch_size,
        **options,
    )
    return explainer(image, target)


class Explainer:
    """A model, a layer and a method, prepared once for many images.

    The first call for a shape runs as it is; from the second on it is compiled.

    Args:
        model: See ``explain``; so for all others.
        layer: Which layer.
        method: Which method.
        preprocess: What is done to pictures.
        labels: The label of each class.
        score: "logit" or "probability".
        output: Which output of the model.
        grid: (height, width) of a transformer's patches.
        fuse: How several layers become one map.
        augment: Whether to average the maps of several views.
        eigen: Whether to combine channels to their first principal component.
        batch_size: How many images are computed at once.
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
        method: str | Callable[[Reading], tf.Tensor] = "grad_cam",
        preprocess: Preprocess = "auto",
        labels: Sequence[str] | None = None,
        score: str = "logit",
        output: str | int | None = None,
        grid: tuple[int, int] | None = None,
        fuse: maps.Fusion = "max",
        augment: bool = False,
        eigen: bool = False,
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        maps.check_fusion(fuse)
        check_flag("augment", augment)
        self.model = model
        self._preprocess, self._batch_size = preprocess, batch_size
        self._fuse, self._augment = fuse, augment
        self._opened = open_model(model)
        request = Request(find_method(method).of(options), options)
        self._asked = (layer, [request], Settings(score, output, eigen, batch_size, grid))
        self._engine = self._opened.engine(*self._asked)
        self._labels, self._label_finding = find_labels(model, labels)

    @property
    def layer(self) -> str | None:
        """The path of the explained layer; None for maps of pixels that need no layer."""
        return joined(self._engine.layers)

    def __call__(self, images: Any, target: Target = None) -> Any:
        """Explain one image or a batch; see ``explain`` for what they may be.

        Returns:
            An ``Explanation``, or ``Explanations`` where a batch or several targets were given.
        """
        batch = as_batch(images)
        if batch is None:
            several = isinstance(target, Top | list | tuple)
            results = self._explain([images], self._targets(target, 1, several))
            return Explanations(results) if several else results[0]
        if not batch:
            raise ValueError("A batch must hold at least one image; got an empty one.")
        (chosen,) = self._targets(target, len(batch), several=False)
        results = []
        for start in range(0, len(batch), self._batch_size):
            part = slice(start, start + self._batch_size)
            results += self._explain(batch[part], [part_of(chosen, part)])
        return Explanations(results)

    def _targets(self, target: Any, count: int, several: bool) -> list[Any]:
        return chosen_targets(target, count, several, self._labels, lambda: self._opened.classes)

    def _explain(self, pictures: Sequence[Any], targets: list[Any]) -> list[Explanation]:
        prepared = prepare(self.model, pictures, self._preprocess, lambda: self._opened.record)
        if self._augment:
            for each in targets:
                views.check_target(each)
        own = any(callable(each) and not isinstance(each, BY_VALUE) for each in targets)
        engine = self._own_engine if own else self._engine
        answers = engine(prepared.inputs, targets)
        if self._augment:
            answers = [
                _averaged(engine, prepared.inputs, answer, target)
                for answer, target in zip(answers, spread_targets(targets), strict=True)
            ]
        return [
            explanation(
                engine,
                prepared,
                answer,
                target,
                self._labels,
                image=image,
                fuse=self._fuse,
                found=self._label_finding,
                options={"augment": True} if self._augment else None,
            )
            for answer, target in zip(answers, spread_targets(targets), strict=True)
            for image in range(len(pictures))
        ]

    @functools.cached_property
    def _own_engine(self) -> Engine:
        return self._opened.engine(*self._asked, shared=False)


def chosen_targets(
    target: Any,
    count: int,
    several: bool,
    labels: Sequence[str] | None,
    classes: Callable[[], int | None],
) -> list[Any]:
    """What an engine takes for what a user asks: pairs of classes, callables, a ``Top``.

    Args:
        target: See ``explain``.
        count: How many images there are.
        several: Whether a list holds targets of one image, not one for each image.
        labels: The label of each class.
        classes: How many classes there are; asked for only where a class is named.
    """
    if several:
        if isinstance(target, Top):
            return [target]
        if not target:
            raise ValueError("A list of targets must hold at least one; got an empty one.")
        return [
            one if isinstance(one, Top) else chosen_targets(one, 1, False, labels, classes)[0]
            for one in target
        ]
    if isinstance(target, Top):
        raise ValueError("Top(k) is for one image: give the images one by one.")
    if isinstance(target, list | tuple) and any(map(callable, target)):
        if len(target) != count:
            raise ValueError(
                "A list of targets must have one for each image; got "
                f"{len(target)} for {count} images."
            )
        return [per_image(target, None, labels)]
    if callable(target):
        return [with_labels(target, labels)]
    return [class_indices(target, count, None if target is None else classes(), labels)]


def spread_targets(targets: Sequence[Any]) -> list[Any]:
    """The target of each answer: a ``Top`` has several."""
    spread: list[Any] = []
    for target in targets:
        spread += [None] * target.k if isinstance(target, Top) else [target]
    return spread


def _averaged(engine: Engine, inputs: np.ndarray, answer: Computed, target: Any) -> Computed:
    """The answer with its maps averaged over views, of the class that was explained first."""
    fixed = target if callable(target) else answer.pairs
    seen = [engine(view.see(inputs), [fixed])[0] for view in views.OTHERS]
    raws = [
        [views.average(raw, [each.raws[r][p] for each in seen]) for p, raw in enumerate(places)]
        for r, places in enumerate(answer.raws)
    ]
    return replace(answer, raws=raws, measured=[[{} for _ in each] for each in raws])


def find_method(method: str | Callable[[Reading], tf.Tensor]) -> Method:
    if callable(method):
        return Method(getattr(method, "__name__", type(method).__name__), method)
    if not isinstance(method, str) or method not in METHODS:
        near = difflib.get_close_matches(str(method).lower(), METHODS, n=1)
        raise ValueError(
            f"method must be one of {', '.join(METHODS)}, or a function Reading -> map; "
            f"got {shown(method)}." + (f" Did you mean {near[0]!r}?" if near else "")
        )
    return METHODS[method]


def find_labels(
    model: Any, labels: Sequence[str] | None
) -> tuple[Sequence[str] | None, tuple[Finding, ...]]:
    """The labels of a model's classes, and a finding where they should be known but are not."""
    shape, labels = getattr(model, "output_shape", None), check_labels(labels)
    if labels is not None:
        if isinstance(shape, tuple) and len(labels) != shape[-1]:
            raise ValueError(
                f"labels must name each of the model's {shape[-1]} classes; got {len(labels)}."
            )
        return labels, ()
    if family_of(model, nested=False) is None or not shape or shape[-1] != 1000:
        return None, ()
    known = imagenet_labels()
    return known, () if known else (finding("no_labels"),)


def as_batch(images: Any) -> list[Any] | None:
    """The images of a batch one by one, None where it is a single image."""
    if isinstance(images, list | tuple):
        return list(images)
    shape = getattr(images, "shape", None)
    if shape is not None and len(shape) == 4:
        return list(as_numpy(images))
    return None
