"""The front door: ``explain``, and ``Explainer``, which is prepared once for many images."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcam import attribution as attribution  # its methods join METHODS
from tfcam import maps
from tfcam.applications import family_of, imagenet_labels
from tfcam.engine import Computed, Engine, open_model
from tfcam.explanation import Explanation, Explanations
from tfcam.findings import Finding, finding
from tfcam.inspection import Layer
from tfcam.methods import METHODS, Method
from tfcam.preparation import Prepared, Preprocess, prepare
from tfcam.submodel import Reading
from tfcam.targets import Target, class_indices


def explain(
    model: keras.Model,
    image: Any,
    layer: Layer = None,
    *,
    target: Target = None,
    method: str | Callable[[Reading], tf.Tensor] = "grad_cam",
    preprocess: Preprocess = "auto",
    labels: Sequence[str] | None = None,
    score: str = "logit",
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
            last map.
        target: A class index, a label where labels are known, a list of these (one for each
            image), a callable outputs -> (B,) on the outputs before the final softmax or
            sigmoid, or None for the class that the model predicts.
        method: A name of ``tfcam.METHODS``, or a function Reading -> (B, h, w).
        preprocess: "auto", a mode such as "unit" or "caffe", the name of a keras.applications
            family, a callable on (B, H, W, 3) float32 pixels of 0..255, or None.
        labels: The label of each class; known by itself for ImageNet networks.
        score: "logit" for scores before the final softmax or sigmoid, or "probability".
        batch_size: How many images are computed at once.
        options: The method's own options, such as ``normalize_alpha=True`` of "grad_cam_pp".

    Returns:
        An ``Explanation``; ``Explanations``, one for each image, where a batch was given.

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
        layer: Layer = None,
        *,
        method: str | Callable[[Reading], tf.Tensor] = "grad_cam",
        preprocess: Preprocess = "auto",
        labels: Sequence[str] | None = None,
        score: str = "logit",
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        if score not in ("logit", "probability"):
            raise ValueError(f"score must be 'logit' or 'probability'; got {score!r}.")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}.")
        self.model = model
        self._method = _find_method(method)
        self._method.check_options(options)
        self._preprocess, self._batch_size = preprocess, batch_size
        self._opened = open_model(model)
        self._asked = (layer, self._method, score, options)
        self._engine = self._opened.engine(*self._asked)
        self._labels, self._label_finding = _labels(model, labels)

    @property
    def layer(self) -> str | None:
        """The path of the explained layer; None for maps of pixels that need no layer."""
        return self._engine.layer

    def __call__(self, images: Any, target: Target = None) -> Any:
        """Explain one image or a batch; see ``explain`` for what they may be.

        Returns:
            An ``Explanation``, or ``Explanations`` where a batch was given.
        """
        batch = _batch(images)
        pictures = [images] if batch is None else batch
        if not pictures:
            raise ValueError("A batch must hold at least one image; got an empty one.")
        chosen: Any = target
        if not callable(target):
            classes = None if target is None else self._opened.classes
            chosen = class_indices(target, len(pictures), classes, self._labels)
        results: list[Explanation] = []
        for start in range(0, len(pictures), self._batch_size):
            part = slice(start, start + self._batch_size)
            results += self._explain(pictures[part], chosen if callable(chosen) else chosen[part])
        return results[0] if batch is None else Explanations(results)

    def _explain(self, pictures: Sequence[Any], target: Any) -> list[Explanation]:
        prepared = prepare(self.model, pictures, self._preprocess, lambda: self._opened.record)
        engine = self._own_engine if callable(target) else self._engine
        computed = engine(prepared.inputs, target)
        count = range(len(pictures))
        return [self._result(engine, prepared, computed, each, target) for each in count]

    @functools.cached_property
    def _own_engine(self) -> Engine:
        return self._opened.engine(*self._asked, shared=False)

    def _result(
        self, engine: Engine, prepared: Prepared, computed: Computed, index: int, target: Any
    ) -> Explanation:
        image = prepared.images[index]
        raw = computed.raw[index]
        if engine.method.pixels and prepared.bgr:
            raw = np.ascontiguousarray(raw[..., ::-1])
        chosen = None if callable(target) else int(computed.indices[index])
        label = getattr(target, "__name__", type(target).__name__) if callable(target) else None
        if chosen is not None and self._labels is not None and chosen < len(self._labels):
            label = self._labels[chosen]
        probability = computed.probability(index)
        kind = "callable" if callable(target) else computed.kind
        found = list(self._label_finding)
        score = float(computed.scores[index])
        if broken := np.count_nonzero(~np.isfinite(raw)) + (not np.isfinite(score)):
            found.append(finding("not_finite", count=broken))
            heatmap = np.zeros(image.shape[:2], np.float32)
        else:
            heatmap = maps.heatmap(raw, image.shape[:2])
            if not heatmap.any():
                found.append(finding("no_positive_evidence", target=label or f"class {chosen}"))
        if not engine.method.pixels and raw.size == 1:
            found.append(finding("one_position", layer=engine.layer))
        if kind == "probability" and engine.submodel.score == "logit":
            found.append(finding("probability_explained"))
        elif (
            kind == "probability" and probability is not None and not 1e-4 < probability < 1 - 1e-4
        ):
            found.append(finding("saturated", probability=probability))
        return Explanation(
            heatmap=heatmap,
            raw=raw,
            image=image,
            target=chosen,
            label=label,
            score=score,
            score_kind=kind,
            probability=probability,
            layer=engine.layer,
            layer_reason=engine.reason,
            method=engine.method.name,
            preprocessing=prepared.description,
            options=engine.options,
            findings=tuple(found),
            versions=_versions(),
        )


def _find_method(method: str | Callable[[Reading], tf.Tensor]) -> Method:
    if callable(method):
        return Method(getattr(method, "__name__", type(method).__name__), method)
    if method not in METHODS:
        near = difflib.get_close_matches(str(method), METHODS, n=1)
        raise ValueError(
            f"method must be one of {', '.join(METHODS)}, or a function Reading -> map; "
            f"got {method!r}." + (f" Did you mean {near[0]!r}?" if near else "")
        )
    return METHODS[method]


def _labels(
    model: Any, labels: Sequence[str] | None
) -> tuple[Sequence[str] | None, tuple[Finding, ...]]:
    """The labels of a model's classes, and a finding where they should be known but are not."""
    shape = getattr(model, "output_shape", None)
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


def _batch(images: Any) -> list[Any] | None:
    """The images of a batch one by one, None where it is a single image."""
    if isinstance(images, list | tuple):
        return list(images)
    shape = getattr(images, "shape", None)
    if shape is not None and len(shape) == 4:
        return list(np.asarray(images))
    return None


@functools.cache
def _versions() -> dict[str, str]:
    names = ("tfcam", "keras", "tensorflow", "numpy")
    return {name: metadata.version(name) for name in names}
