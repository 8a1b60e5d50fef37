"""What is checked of a result: nothing that asks the network again unless something looks wrong."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.applications import family_of
from tfcam.engine import Engine
from tfcam.findings import Finding, finding
from tfcam.half_precision import HALF_SCALE
from tfcam.indifference import of_deconvnet
from tfcam.inspection import Tap
from tfcam.intake import inputs_of, run
from tfcam.methods import Method
from tfcam.opening import open_model
from tfcam.preparation import Prepared, choose_preprocessing
from tfcam.scoring import Outputs, select
from tfcam.submodel import SubModel
from tfcam.tapping import observed, walk
from tfcam.targets import NOTHING, PREDICTED
from tfcam.tokens import Grid, to_map

# The smallest number that float16 holds with all its digits.
_NORMAL = float(np.finfo(np.float16).tiny)
# By how much the score is scaled up once more, to see which gradients were only too small; the
# largest that does not overflow tells most.
_LARGER = (2.0**20, 2.0**10, 2.0)
# Pixels divided by 255, also with mean and deviation taken out, are within this.
_SCALED_DOWN = 3.0
_RANGES: weakref.WeakKeyDictionary[Any, Range | None] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Explained:
    """What was explained, of which image.

    Attributes:
        target: As it was asked for: pairs of classes, a callable, None for ``Top``.
        pairs: (B, 2), the explained classes and those they are held against.
        image: Which of the images.
        name: What the target is called.
    """

    target: Any
    pairs: np.ndarray
    image: int
    name: str

    @property
    def named(self) -> bool:
        """Whether somebody asked for a target, rather than for the predicted class."""
        if not isinstance(self.target, np.ndarray):
            return True
        return tuple(self.target[self.image]) != (PREDICTED, NOTHING)


def of_result(
    engine: Engine,
    prepared: Prepared,
    explained: Explained,
    method: Method,
    places: Sequence[int],
    raws: Sequence[np.ndarray],
) -> list[Finding]:
    """What there is to know about the maps of one image.

    Args:
        engine: What computed them.
        prepared: The pictures.
        explained: What was explained, of which image.
        method: By which method.
        places: At which of the engine's layers.
        raws: The raw map of each of these.
    """
    findings = []
    if explained.named and not method.class_specific:
        findings.append(finding("class_agnostic", method=method.name, target=explained.name))
    found = of_input(engine.submodel.model, prepared, explained.image)
    findings += [found] if found else []
    shown = bool(np.isfinite(raws[0]).all() and raws[0].any())
    if "deconvnet_gradients" in method.needs and shown and not engine.gates.maxima:
        asked = explained.target if callable(explained.target) else explained.pairs
        findings += of_deconvnet(engine.submodel, prepared, asked, explained.image)
    if not method.layered:
        return findings
    findings += of_tokens([engine.submodel.taps[place] for place in places])
    if "attentions" not in method.needs:
        findings += _of_layers(engine.submodel, prepared, explained, method, places, raws)
    return findings


def of_probability(kind: str, score: str, probability: float | None) -> list[Finding]:
    """Whether a probability is explained where a logit was asked for, and one that is saturated."""
    if kind == "probability" and score == "logit":
        return [finding("probability_explained")]
    if kind == "probability" and probability is not None and not 1e-4 < probability < 1 - 1e-4:
        return [finding("saturated", probability=probability)]
    return []


def of_tokens(taps: Sequence[Tap]) -> list[Finding]:
    """How many tokens are taken for no patch: once for each grid."""
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
        """Whether an input (h, w, C) may have been prepared so; only what can't have does not.

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


def known_range(model: Any) -> Range | None:
    """What values a model takes; None where it is not known for certain.

    It is where a Rescaling is inside, or where the model is a network of keras.applications with
    its 1000 classes: one with another head may have been trained in another way.
    """
    if model not in _RANGES:
        _RANGES[model] = _find_range(model)
    return _RANGES[model]


def _find_range(model: Any) -> Range | None:
    if len(inputs_of(model)) > 1 or not inputs_of(model)[0].is_image:
        return None
    try:
        chosen = choose_preprocessing(model, "auto", lambda: open_model(model).record)
    except ValueError:
        return None
    shape = getattr(model, "output_shape", None)
    classes = shape[-1] if isinstance(shape, tuple) else None
    whole = family_of(model, nested=False) is not None and classes == 1000
    trained = whole and chosen.description.endswith("was trained")
    if not (chosen.description.endswith("Rescaling is inside") or trained):
        return None
    channels = inputs_of(model)[0].shape[-1] or 3
    black, white = (np.full((1, 1, 1, channels), each, np.float32) for each in (0, 255))
    ends = np.concatenate([np.asarray(chosen.function(each)) for each in (black, white)])
    return Range(float(ends.min()), float(ends.max()), chosen.description)


def of_input(model: Any, prepared: Prepared, image: int) -> Finding | None:
    """Whether an input that was prepared elsewhere, or as the user said, can't be what it takes."""
    known = known_range(model)
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


def start_of_nan(submodel: SubModel, prepared: Prepared, image: int) -> str:
    """Where values that are NaN or infinite start: one more pass, in a sentence.

    Args:
        submodel: The opened model.
        prepared: What it took.
        image: Which of the images.
    """
    model, values = submodel.model, [*prepared.others]
    values.insert(submodel.which, prepared.inputs)
    one = [tf.convert_to_tensor(each[image : image + 1]) for each in values]
    if count := _not_finite(one):
        return f"They start in the model's input, which holds {count}."
    paths: dict[int, str] = {}
    for path, operation in walk(model):
        paths.setdefault(id(operation), path)
    seen: list[tuple[Any, int, int]] = []
    calls = Counter[int]()

    def visit(operation: Any, number: int, side: str, value: Any) -> Any:
        calls[id(operation)] = number + 1
        if side == "output" and not seen and (count := _not_finite(value)):
            seen.append((operation, number, count))
        return value

    with observed(model, [operation for _, operation in walk(model)], visit):
        run(model, one)
    if not seen:
        return "No layer gives such values: they arise in the score, its gradient or the method."
    (operation, number, count), *_ = seen
    path = paths[id(operation)]
    path = f"{path}:{number}" if calls[id(operation)] > 1 else path
    weights = _not_finite([each.value for each in getattr(operation, "weights", ())])
    held = f"its weights hold {weights}" if weights else "its weights are finite"
    return f"They start in {path!r}, whose output holds {count}; {held}."


def _not_finite(values: Any) -> int:
    """How many values are NaN or infinite, of tensors that have values."""
    tensors = [
        each for each in tf.nest.flatten(values) if isinstance(each, tf.Tensor | tf.Variable)
    ]
    return sum(
        int(tf.math.count_nonzero(~tf.math.is_finite(each)))
        for each in tensors
        if each.dtype.is_floating and not tf.is_symbolic_tensor(each)
    )


def _of_layers(
    submodel: SubModel,
    prepared: Prepared,
    explained: Explained,
    method: Method,
    places: Sequence[int],
    raws: Sequence[np.ndarray],
) -> list[Finding]:
    """Why maps are empty, or smaller than float16 holds: one more pass for those that are."""
    slopes = "gradients" in method.needs and method.contrast is None
    sizes = [np.abs(raw).max() for raw in raws]
    if not np.isfinite(sizes).all():
        return []
    half = slopes and min(sizes) < _NORMAL and submodel.half
    doubtful = [size == 0 or (half and size < _NORMAL) for size in sizes]
    if not any(doubtful):
        return []
    activations, gradients = _probe(submodel, prepared, explained, slopes, half)
    findings = []
    for place, doubted in zip(places, doubtful, strict=False):
        if doubted:
            layer = submodel.taps[place]
            found = _of_layer(layer, activations[place], [each[place] for each in gradients])
            findings += [found] if found else []
    return findings


def _of_layer(tap: Tap, activations: np.ndarray, gradients: Sequence[np.ndarray]) -> Finding | None:
    """What is wrong with a layer.

    Args:
        tap: The layer.
        activations: Of one image, in the layer's own dtype.
        gradients: The same, as float32: as explained, then with the score scaled up by each of
            ``_LARGER`` where the network computes in float16.
    """
    if not activations.any():
        return finding("dead_layer", layer=tap.name, count=activations.size)
    if not gradients:
        return None
    count, lost = underflowed(gradients, activations.dtype == np.float16)
    if lost > count / 2:
        return finding("float16_underflow", layer=tap.name, count=count, lost=lost)
    if not gradients[0].any():
        why = f"it is zero at all of its {gradients[0].size} values"
        return finding("gradient_absent", layer=tap.name, why=why)
    return None


def underflowed(gradients: Sequence[np.ndarray], half: bool) -> tuple[int, int]:
    """How many gradients are not zero, and how many of these float16 could not hold.

    A gradient that is zero, but not where the score is scaled up further, has underflowed. One
    that float16 holds as a subnormal number has lost digits.

    Args:
        gradients: As explained, and with the score scaled up further.
        half: Whether the first are float16's, with the score scaled up by ``HALF_SCALE``.

    Example:
        >>> explained = np.array([0.0, 0.0, 1.0])
        >>> underflowed([explained, np.array([0.0, 1e-3, 2.0**20])], half=True)
        (2, 1)
    """
    explained, *larger = gradients
    finite = (each for each in larger if np.isfinite(each).all())
    further = next(finite, explained)
    present = (explained != 0) | (further != 0)
    lost = present & (explained == 0)
    if half:
        lost |= present & (np.abs(explained) * HALF_SCALE < _NORMAL)
    return int(np.count_nonzero(present)), int(np.count_nonzero(lost))


def _probe(
    submodel: SubModel, prepared: Prepared, explained: Explained, slopes: bool, half: bool
) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """The activations of one image at each tap, and the gradients: see ``_of_layer``."""
    own, one, arrays = None, explained.image, (prepared.inputs, *prepared.others)
    if callable(explained.target):  # which may treat each image of the batch in its own way
        own = explained.target
    else:
        arrays = tuple(each[one : one + 1] for each in (*arrays, explained.pairs))
        one = 0

    @tf.function(autograph=False)  # as the engine's: what eager calls hide is found in a graph
    def look(images: tf.Tensor, *rest: tf.Tensor) -> Any:
        others, target = (rest, own) if own is not None else (rest[:-1], rest[-1])

        def scores(outputs: Any) -> tf.Tensor:
            return tf.cast(select(Outputs(outputs, outputs, True), target).scores, tf.float32)

        scaled = [lambda outputs, by=by: by * scores(outputs) for by in _LARGER if half]
        targets = [target, *scaled] if slopes else [target]
        _, answers = submodel.beside(others).read_each(images, targets, slopes)
        taken = [each.network.activations for each in answers[0].readings]
        return taken, [[each.gradients for each in a.readings] for a in answers if slopes]

    given = [*map(tf.convert_to_tensor, arrays)]
    shapes = tuple((tuple(each.shape), each.dtype) for each in given)
    if own is None:  # many images may have empty maps
        look = submodel.traced(("look", slopes, half, shapes), look, given)
    taken, gradients = look(*given)
    activations = []
    for tap, each in zip(submodel.taps, taken, strict=True):
        activations.append((each if tap.grid is None else to_map(each, tap.grid)).numpy())
    return [each[one] for each in activations], [
        [slope.numpy()[one] for slope in each] for each in gradients
    ]
