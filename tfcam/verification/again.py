"""The questions that need the map once more: its stability, and what it owes to training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from scipy import ndimage

from tfcam.explainer.explainer import Explainer
from tfcam.methods.registry import METHODS
from tfcam.metrics.hiding import Hiding
from tfcam.metrics.random_weights import kept_weights, reinitialise, stages
from tfcam.metrics.removal_test import NOT_SUPPORTED, SUPPORTED, UNDECIDED
from tfcam.metrics.sanity_result import REACTS
from tfcam.metrics.similarity import spearman
from tfcam.model.hooks import LOCK
from tfcam.results.explanation import Explanation
from tfcam.results.verification import Check
from tfcam.utils.progress import Advance
from tfcam.verification.questions import effect

# Maps at least so similar are the same; stable where the median is, or not stable.
SAME, STABLE, UNSTABLE = 0.95, 0.8, 0.5
# Noise of this part of the input's range, and shifts by this part of its sides.
_NOISE, _SHIFT, _NOISES = 0.02, 0.02, 4
# Groups of layers that are drawn anew, one after the other.
STAGES = 3
_MISSING = (
    "The map was not made again: its method is not known here, or asks the model many times. Give "
    "explainer=, the tfcam.Explainer that made it."
)


def explainer_of(explanation: Any, model: keras.Model, **given: Any) -> Explainer | None:
    """Build the Explainer that made an explanation, from what that says of itself.

    Args:
        explanation: The explanation, or a heatmap.
        model: The model.
        given: ``preprocess``, ``labels``, ``input`` and ``output``.

    Returns:
        None where it can't be known: a method of one's own, or a heatmap alone; and where the
        method asks the network again and again, which takes long.
    """
    method = METHODS.get(getattr(explanation, "method", ""))
    if not isinstance(explanation, Explanation) or method is None:
        return None
    if method.loops and not explanation.text:
        return None
    options = {k: v for k, v in explanation.options.items() if k != "gated_activations"}
    layer: Any = list(explanation.parts) or explanation.layer
    try:
        return Explainer(
            model,
            layer if method.placed else None,
            method=method.name,
            progress=False,
            **{**given, **options, "freeze": False},
        )
    except (ValueError, TypeError):  # such as paths that are numbered
        return None


class Again:
    """Makes the map once more, of other inputs of the model or with other weights.

    Args:
        explainer: What made it.
        hiding: The model and the picture.
        target: The explained target.
    """

    def __init__(self, explainer: Explainer, hiding: Hiding, target: Any) -> None:
        self._explainer, self._hiding, self._target = explainer.prepared(), hiding, target
        self.count = 0
        self.own = self.map()

    def map(self, image: np.ndarray | None = None, target: Any = None) -> np.ndarray:
        """Make the map of an image as the model takes it: (H, W) in [0, 1].

        Args:
            image: (H, W, C), another; by default its own.
            target: Another target.
        """
        self.count += 1
        image = self._hiding.image if image is None else image
        given = self._hiding.probe.as_given(image[np.newaxis], [self._hiding.place])
        result: Any = self._explainer(given, [self._target if target is None else target])
        heatmap: np.ndarray = result[0].heatmap
        return heatmap

    def likeness(self, rival: int | None) -> float | None:
        """The rank correlation with the map of another class; None without one."""
        return None if rival is None else spearman(self.own, self.map(target=rival))


class AgainOfText:
    """Makes the map of a text's words once more, (W,) signed.

    Args:
        explainer: What made it.
        text: The text, as it was given.
        target: The explained class.
    """

    def __init__(self, explainer: Explainer, text: Any, target: Any) -> None:
        self._explainer, self._text, self._target = explainer, text, target
        self.count = 0
        self.own = self.map()

    def map(self, *, target: Any = None) -> np.ndarray:
        """Make the map, of another class where one is given."""
        self.count += 1
        result: Any = self._explainer(self._text, self._target if target is None else target)
        raw: np.ndarray = result.raw
        return raw


def of_stability(again: Again | None, hiding: Hiding, seed: int, advance: Advance) -> Check:
    """Ask whether the map stays where the picture hardly changes and the answer does not.

    Four times with noise, and shifted by a fiftieth of each side, each way; the maps of shifted
    pictures are shifted back. Supported where the median rank correlation with the map is at least
    0.8, not supported below 0.5.

    Args:
        again: Makes the map again.
        hiding: The model and the picture.
        seed: The seed of the noise.
        advance: Is told of each change.
    """
    question = "Is it stable?"
    if again is None:
        return Check(question, UNDECIDED, _MISSING)
    pictures, shifts = zip(*_changes(hiding, seed), strict=True)
    similarities, total = [], len(pictures)
    same = _same_answers(hiding, np.stack(pictures))
    for changed, shift, counts in zip(pictures, shifts, same, strict=True):
        if counts:
            back = ndimage.shift(again.map(changed), [-s for s in shift], order=0, mode="nearest")
            similarities.append(spearman(again.own, back))
        advance(1)
    if 2 * len(similarities) < total:
        words = f"The answer itself changes in {total - len(similarities)} of {total} small changes"
        return Check(question, UNDECIDED, f"{words} of the picture.")
    middle = float(np.median(similarities))
    verdict = SUPPORTED if middle >= STABLE else NOT_SUPPORTED if middle < UNSTABLE else UNDECIDED
    sentence = (
        f"Of {len(similarities)} pictures with a little noise or shifted a little, to which the "
        f"model gives the same answer, the maps have a median rank correlation of {middle:.2f} "
        f"with this one, {min(similarities):.2f} at least."
    )
    return Check(question, verdict, sentence, "median rank correlation", middle)


def changes(hiding: Hiding) -> int:
    """Count the small changes."""
    return _NOISES + 2 * len(hiding.sides)


def random_maps(
    again: Again | AgainOfText | None, model: keras.Model, seed: int, advance: Advance
) -> list[np.ndarray] | str:
    """Make the maps of the network with its head drawn anew, then half of it, then all.

    The weights are put back bit for bit, however this ends.

    Args:
        again: Makes the map again.
        model: The model.
        seed: The seed of the weights.
        advance: Is told of each map.

    Returns:
        The maps; or why there are none.
    """
    if again is None:
        return _MISSING
    found = []
    try:
        with LOCK, kept_weights(model):
            for stage in stages(model, STAGES):
                reinitialise(stage, seed)
                found.append(again.map())
                advance(1)
    except ValueError as error:
        return str(error)
    return found


def of_training(
    again: Again | AgainOfText | None,
    maps: list[np.ndarray] | str,
    fall: float,
    others: np.ndarray,
) -> Check:
    """Ask whether the map comes from what was learnt, not from the picture alone.

    Not supported where the maps with random weights have a mean absolute rank correlation of 0.5 or
    more with it; supported where, besides, hiding what it marks lowers the number more than what
    any of them marks; else undecided.

    Args:
        again: Makes the map again.
        maps: Those of random weights, or why there are none.
        fall: By how much the number falls where what the map marks is hidden.
        others: (n,) by how much where what they mark is hidden.
    """
    question = "Does it come from what was learnt?"
    if again is None or isinstance(maps, str):
        return Check(question, UNDECIDED, maps if isinstance(maps, str) else _MISSING)
    middle = float(np.mean([abs(spearman(again.own, each)) for each in maps]))
    most = float(others.max())
    verdict = SUPPORTED if middle < REACTS and fall > most else UNDECIDED
    verdict = NOT_SUPPORTED if middle >= REACTS else verdict
    extreme = "at least" if most < 0 else "at most"
    sentence = (
        f"With random weights, first in the head, at last in all layers, the maps keep a rank "
        f"correlation of {middle:.2f} with this one; hiding what they mark "
        f"{effect(most, 'the number')} {extreme}, hiding what this one marks {effect(fall, 'it')}."
    )
    return Check(question, verdict, sentence, "rank correlation with random weights", middle)


def _changes(hiding: Hiding, seed: int) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """Change the picture a little: each with the shift that it has."""
    image, sides = hiding.image, hiding.sides
    rng, spread = np.random.default_rng(seed), _NOISE * float(np.ptp(image))
    for _ in range(_NOISES):
        noisy = image + rng.normal(0, spread, image.shape)
        yield noisy.clip(image.min(), image.max()).astype(image.dtype), (0,) * len(sides)
    for axis, side in enumerate(sides):
        for step in (1, -1):
            shift = tuple(
                step * max(1, round(_SHIFT * side)) * (axis == a) for a in range(len(sides))
            )
            yield ndimage.shift(image, (*shift, 0), order=0, mode="nearest"), shift


def _same_answers(hiding: Hiding, images: np.ndarray) -> np.ndarray:
    """Tell of which images the most likely class is that of the picture; other targets', always."""
    if hiding.answer is None:
        return np.ones(len(images), bool)
    values = hiding.probe.class_probabilities(images, np.full(len(images), hiding.place))
    return np.asarray(values.argmax(axis=1) == hiding.answer)
