"""Test-time augmentation: an image is explained in several views, and the maps are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from tfcam.engine.engine import Engine
from tfcam.engine.settings import Computed
from tfcam.preprocessing.prepare import Prepared
from tfcam.targets.callables import names_place
from tfcam.targets.resolve import ResolvedTarget


@dataclass(frozen=True)
class View:
    """An image as it is seen: mirrored or not, and from how near.

    Attributes:
        flip: Whether left and right change places.
        zoom: How large things appear, about the centre: 1.1 is nearer.
    """

    flip: bool
    zoom: float

    def see(self, images: np.ndarray) -> np.ndarray:
        """See images (B, H, W, C) in this view, bilinear; what lies outside of the image is 0."""
        view = _zoomed(tf.constant(images), self.zoom)
        return (tf.reverse(view, [2]) if self.flip else view).numpy().astype(images.dtype)

    def undo(self, maps: tf.Tensor) -> tf.Tensor:
        """Bring maps (B, h, w, C) of this view back to the image's own place."""
        maps = tf.reverse(maps, [2]) if self.flip else maps
        return _zoomed(maps, 1 / self.zoom)


# All but the image as it is.
OTHERS = tuple(View(flip, zoom) for zoom in (1.0, 0.9, 1.1) for flip in (False, True))[1:]


def check_target(target: ResolvedTarget) -> None:
    """Refuse targets that name a place, which is another place in each view.

    Raises:
        ValueError: If a mask or a box is part of the target.
    """
    if names_place(target):
        raise ValueError(
            "augment=True moves the image, but not the mask or box of a target; give the "
            "target without it, or augment=False."
        )


def _zoomed(images: tf.Tensor, zoom: float) -> tf.Tensor:
    if zoom == 1.0:
        return images
    low, high = 0.5 - 0.5 / zoom, 0.5 + 0.5 / zoom
    batch, height, width, _ = images.shape
    boxes = tf.tile([[low, low, high, high]], [batch, 1])
    return tf.image.crop_and_resize(images, boxes, tf.range(batch), (height, width))


def average(first: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Average the maps of all views, each position over the views that show it.

    Args:
        first: The raw maps of the images as they are, (B, h, w) or (B, H, W, C).
        others: Those of each of ``OTHERS``.

    Returns:
        The averaged maps, of the shape of ``first``.
    """
    total = _with_channels(first)
    counts = tf.ones_like(total)
    for view, maps in zip(OTHERS, others, strict=True):
        total += view.undo(_with_channels(maps))
        counts += view.undo(tf.ones_like(total))
    return (total / counts).numpy().reshape(first.shape)


def _with_channels(maps: np.ndarray) -> tf.Tensor:
    return tf.constant(maps if maps.ndim == 4 else maps[..., np.newaxis])


def averaged(
    engine: Engine, prepared: Prepared, answer: Computed, target: ResolvedTarget | None
) -> Computed:
    """Average an answer's maps over all views, of the class that was explained first.

    Args:
        engine: The engine that computed it.
        prepared: The images.
        answer: What was computed of the images as they are.
        target: For which target.
    """
    classes = answer.pairs if answer.weights is None else answer.weights
    fixed = target if callable(target) else classes
    inputs = (view.see(prepared.inputs) for view in OTHERS)
    views = [engine(view_inputs, [fixed], prepared.others)[0] for view_inputs in inputs]
    raws = [
        [average(raw, [view.raws[r][p] for view in views]) for p, raw in enumerate(places)]
        for r, places in enumerate(answer.raws)
    ]
    return replace(answer, raws=raws, measured=[[{} for _ in layers] for layers in raws])
