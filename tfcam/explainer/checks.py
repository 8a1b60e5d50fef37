"""What is checked of a result: nothing that asks the network again unless something looks wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfcam.engine.engine import Engine
from tfcam.engine.settings import Explained
from tfcam.explainer.numeric_checks import of_layers
from tfcam.findings import Finding, finding
from tfcam.methods.registry import Method
from tfcam.model.geometry import UNKNOWN
from tfcam.model.graph import ModelGraph
from tfcam.model.taps import Tap
from tfcam.model.tokens import Grid
from tfcam.passes.reading import Need
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.modes import choose_preprocessing
from tfcam.preprocessing.prepare import Prepared
from tfcam.targets.resolve import ResolvedTarget

# Pixels divided by 255, also with mean and deviation taken out, are within this.
_SCALED_DOWN = 3.0


def of_result(
    engine: Engine,
    prepared: Prepared,
    explained: Explained,
    method: Method,
    places: Sequence[int],
    raws: Sequence[np.ndarray],
) -> list[Finding]:
    """Find what there is to know about the maps of one image.

    Args:
        engine: The engine that computed them.
        prepared: The pictures.
        explained: What was explained, of which image.
        method: By which method.
        places: At which of the engine's layers.
        raws: The raw map of each of these.
    """
    findings = []
    if explained.named and not method.class_specific:
        findings.append(finding("class_agnostic", method=method.name, target=explained.name))
    misfit = of_input(engine.submodel.graph, prepared, explained.image)
    findings += [misfit] if misfit else []
    shown = bool(np.isfinite(raws[0]).all() and raws[0].any())
    if Need.DECONVNET_GRADIENTS in method.needs and shown and not engine.gates.maxima:
        target = explained.target if callable(explained.target) else explained.pairs
        findings += of_deconvnet(engine.submodel, prepared, target, explained.image)
    if not method.layered:
        return findings
    sides = prepared.inputs.shape[1:-1]
    lost = [place for place in places if engine.placement(place, sides) == UNKNOWN]
    names = [engine.layers[place] for place in lost]
    findings += [finding("place_unknown", layer=name) for name in names]
    findings += of_tokens([engine.submodel.taps[place] for place in places])
    if method.placed:
        findings += of_layers(engine.submodel, prepared, explained, method, places, raws)
    return findings


def of_probability(kind: str, score: str, probability: float | None) -> list[Finding]:
    """Find a probability explained where a logit was asked for, and one that is saturated."""
    if kind == "probability" and score == "logit":
        return [finding("probability_explained")]
    if kind == "probability" and probability is not None and not 1e-4 < probability < 1 - 1e-4:
        return [finding("saturated", probability=probability)]
    return []


def of_tokens(taps: Sequence[Tap]) -> list[Finding]:
    """Count the tokens that are taken for no patch: once for each grid."""
    first: dict[Grid, str] = {}
    for tap in taps:
        if tap.grid is not None and tap.grid.prefix:
            first.setdefault(tap.grid, tap.name)
    return [
        finding(
            "prefix_tokens",
            count=grid.prefix + grid.height * grid.width,
            layer=name,
            prefix=grid.prefix,
            height=grid.height,
            width=grid.width,
        )
        for grid, name in first.items()
    ]


@dataclass(frozen=True)
class Range:
    """What values a model takes, and how this is known: pixels of 0 and of 255 as it takes them."""

    least: float
    most: float
    why: str

    @property
    def preparation(self) -> str:
        """How pixels become such values, without the reason for it."""
        return self.why.rsplit(", ", 1)[0]

    def fits(self, values: np.ndarray) -> bool:
        """Tell whether an input (h, w, C) may have been prepared so; only what can't have does not.

        Its values may leave the range by a tenth of it. In a range of pixels they may not be as
        those of pixels divided by 255: small, of different places, and not whole.
        """
        beyond, low, high = (self.most - self.least) / 10, values.min(), values.max()
        if low < self.least - beyond or high > self.most + beyond:
            return False
        if self.most - self.least < 100 or max(-low, high) > _SCALED_DOWN:
            return True
        differences = values - values[:1, :1]
        return bool((np.abs(differences - np.round(differences)) < 1e-3).all())


def known_range(graph: ModelGraph) -> Range | None:
    """Find what values a model takes; None where it is not known for certain.

    It is where a Rescaling is inside, or where the model is a network of keras.applications with
    its 1000 classes: one with another head may have been trained in another way.
    """
    return graph.once("range", lambda: _find_range(graph))


def _find_range(graph: ModelGraph) -> Range | None:
    if len(graph.inputs) > 1 or not graph.inputs[0].is_image:
        return None
    try:
        chosen = choose_preprocessing(graph, "auto")
    except ValueError:
        return None
    shape = getattr(graph.model, "output_shape", None)
    classes = shape[-1] if isinstance(shape, tuple) else None
    whole = graph.own_family is not None and classes == 1000
    trained = whole and chosen.description.endswith("was trained")
    if not (chosen.description.endswith("Rescaling is inside") or trained):
        return None
    channels = graph.inputs[0].shape[-1] or 3
    black, white = (np.full((1, 1, 1, channels), value, np.float32) for value in (0, 255))
    ends = np.concatenate([np.asarray(chosen.function(pixels)) for pixels in (black, white)])
    return Range(float(ends.min()), float(ends.max()), chosen.description)


def of_input(graph: ModelGraph, prepared: Prepared, image: int) -> Finding | None:
    """Find an input, prepared elsewhere or as the user said, that can't be what the model takes."""
    known = known_range(graph)
    if known is None or prepared.description.rsplit(", ", 1)[0] == known.preparation:
        return None
    values = prepared.inputs[image] if isinstance(prepared.inputs, np.ndarray) else None
    if values is None or values.dtype.kind != "f" or not np.isfinite(values).all():
        return None
    if known.fits(values):
        return None
    return finding(
        "input_range",
        low=float(values.min()),
        high=float(values.max()),
        least=known.least,
        most=known.most,
        why=known.why,
    )


# The same but for the order in which numbers are summed.
_SAME = 1e-3


def of_deconvnet(
    submodel: SubModel, prepared: Prepared, target: ResolvedTarget, image: int
) -> list[Finding]:
    """Find out whether noise has the same map of deconvnet: two more passes.

    Args:
        submodel: The opened model, in which no maximum is passed on.
        prepared: What it took.
        target: (B, 2) pairs of classes, or a callable.
        image: Which of the images.
    """
    others, images = prepared.others, prepared.inputs
    # A callable may treat each image of the batch in its own way.
    if isinstance(target, np.ndarray):
        one = slice(image, image + 1)
        target, images = tf.constant(target[one]), images[one]
        others = tuple(values[one] for values in others)
    opened = submodel.beside([*map(tf.constant, others)])
    noise = np.random.default_rng(0).normal(size=images.shape).astype(images.dtype)
    own, same = (
        opened.gated_gradients(tf.constant(values), target, "deconvnet")[0].numpy()
        for values in (images, noise)
    )
    if not np.allclose(own, same, rtol=0, atol=_SAME * np.abs(own).max()):
        return []
    return [finding("image_ignored", model=submodel.graph.name)]
