"""Checks of the numbers behind a map: where NaN begins, what underflowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfcam.engine.settings import Explained
from tfcam.findings import Finding, finding
from tfcam.methods.registry import METHODS, Method
from tfcam.model.hooks import observed
from tfcam.model.taps import Tap
from tfcam.model.tokens import to_map
from tfcam.passes.loss_scaling import HALF_SCALE
from tfcam.passes.outputs import Outputs, select
from tfcam.passes.reading import Need, Reading
from tfcam.passes.submodel import SubModel
from tfcam.preprocessing.prepare import Prepared

# The smallest number that float16 holds with all its digits.
_NORMAL = float(np.finfo(np.float16).tiny)


# By how much the score is scaled up once more, to see which gradients were only too small; the
# largest that does not overflow tells most.
_LARGER = (2.0**20, 2.0**10, 2.0)


def start_of_nan(submodel: SubModel, prepared: Prepared, image: int) -> str:
    """Say in a sentence where values that are NaN or infinite start: one more pass.

    Args:
        submodel: The opened model.
        prepared: What it took.
        image: Which of the images.
    """
    graph, values = submodel.graph, [*prepared.others]
    values.insert(submodel.which, prepared.inputs)
    one = [tf.convert_to_tensor(value[image : image + 1]) for value in values]
    if count := _not_finite(one):
        return f"They start in the model's input, which holds {count}."
    starts: list[tuple[Any, int, int]] = []
    calls = Counter[int]()

    def visit(operation: Any, number: int, side: str, value: Any) -> Any:
        calls[id(operation)] = number + 1
        if side == "output" and not starts and (count := _not_finite(value)):
            starts.append((operation, number, count))
        return value

    with observed(graph, graph.operations, visit):
        graph.run(one)
    if not starts:
        return "No layer gives such values: they arise in the score, its gradient or the method."
    (operation, number, count), *_ = starts
    path = graph.path(operation)
    path = f"{path}:{number}" if calls[id(operation)] > 1 else path
    weights = _not_finite([weight.value for weight in getattr(operation, "weights", ())])
    held = f"its weights hold {weights}" if weights else "its weights are finite"
    return f"They start in {path!r}, whose output holds {count}; {held}."


def _not_finite(values: Any) -> int:
    """Count the values that are NaN or infinite, of tensors that have values."""
    tensors = [
        value for value in tf.nest.flatten(values) if isinstance(value, tf.Tensor | tf.Variable)
    ]
    return sum(
        int(tf.math.count_nonzero(~tf.math.is_finite(tensor)))
        for tensor in tensors
        if tensor.dtype.is_floating and not tf.is_symbolic_tensor(tensor)
    )


def of_layers(
    submodel: SubModel,
    prepared: Prepared,
    explained: Explained,
    method: Method,
    places: Sequence[int],
    raws: Sequence[np.ndarray],
) -> list[Finding]:
    """Find why maps are empty, or smaller than float16 holds: one more pass for those that are."""
    slopes = Need.GRADIENTS in method.needs and method.contrast is None
    sizes = [np.abs(raw).max() for raw in raws]
    if not np.isfinite(sizes).all():
        return []
    half = slopes and min(sizes) < _NORMAL and submodel.half
    doubtful = [size == 0 or (half and size < _NORMAL) for size in sizes]
    if not any(doubtful):
        return []
    activations, gradients = _probe(submodel, prepared, explained, slopes, half)
    findings = []
    for index, place in enumerate(places[: len(sizes)]):
        if doubtful[index]:
            layer, slopes_there = submodel.taps[place], [layers[place] for layers in gradients]
            reason = _of_layer(layer, activations[place], slopes_there)
            if reason is None and slopes_there and not sizes[index]:
                A, G = (
                    tf.constant(values[np.newaxis], tf.float32)
                    for values in (activations[place], slopes_there[0])
                )
                reading = Reading(A, gradients=G, spacing=submodel.graph.spacing)
                reason = _of_sums(layer, reading, method)
            findings += [reason] if reason else []
    return findings


def _of_layer(tap: Tap, activations: np.ndarray, gradients: Sequence[np.ndarray]) -> Finding | None:
    """Find what is wrong with a layer.

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


def _of_sums(tap: Tap, reading: Reading, method: Method) -> Finding | None:
    """Find that the map of one image is empty because what the method sums is rounding alone."""
    base = METHODS["grad_cam"] if method.pixels else method  # what guided Grad-CAM stands on
    size = float(cancelled(base, reading)[0])
    return finding("rounding_alone", layer=tap.name, method=base.name, size=size) if size else None


def cancelled(method: Method, reading: Reading) -> tf.Tensor:
    """How large the maps (B,) would be that are empty as rounding alone; 0 for all others."""
    kept, raw = (
        tf.abs(method(replace(reading, spacing=spacing))) for spacing in (reading.spacing, 0.0)
    )
    axes = list(range(1, raw.shape.rank))
    empty = tf.reduce_all(tf.equal(kept, 0.0), axes)  # not where it is NaN
    return tf.where(empty, tf.reduce_max(raw, axes), 0.0)


def underflowed(gradients: Sequence[np.ndarray], half: bool) -> tuple[int, int]:
    """Count the gradients that are not zero, and those of them that float16 could not hold.

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
    finite = (slopes for slopes in larger if np.isfinite(slopes).all())
    further = next(finite, explained)
    present = (explained != 0) | (further != 0)
    lost = present & (explained == 0)
    if half:
        lost |= present & (np.abs(explained) * HALF_SCALE < _NORMAL)
    return int(np.count_nonzero(present)), int(np.count_nonzero(lost))


def _probe(
    submodel: SubModel, prepared: Prepared, explained: Explained, slopes: bool, half: bool
) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Read the activations of one image at each tap, and the gradients: see ``_of_layer``."""
    own, one, arrays = None, explained.image, (prepared.inputs, *prepared.others)
    if callable(explained.target):  # which may treat each image of the batch in its own way
        own = explained.target
    else:
        arrays = tuple(array[one : one + 1] for array in (*arrays, explained.pairs))
        one = 0

    @tf.function(autograph=False)  # as the engine's: what eager calls hide is found in a graph
    def look(images: tf.Tensor, *rest: tf.Tensor) -> Any:
        others, target = (rest, own) if own is not None else (rest[:-1], rest[-1])

        def scores(outputs: Any) -> tf.Tensor:
            return tf.cast(select(Outputs(outputs, outputs, True), target).scores, tf.float32)

        scaled = [lambda outputs, by=by: by * scores(outputs) for by in _LARGER if half]
        targets = [target, *scaled] if slopes else [target]
        needs = Need.GRADIENTS if slopes else Need.NOTHING
        single_pass = submodel.beside(others).read_each(images, targets, needs)
        slopes_of = [
            [reading.gradients for reading in a.readings] for a in single_pass.answers if slopes
        ]
        return single_pass.tapped, slopes_of

    tensors = [*map(tf.convert_to_tensor, arrays)]
    if own is None:  # many images may have empty maps
        look = submodel.traced(("look", slopes, half), look, tensors)
    elif not submodel.graph.is_black_box:  # called as it is, TensorFlow would warn of tracing
        look = look.get_concrete_function(*tensors)
    tapped, gradients = look(*tensors)
    activations = []
    for tap, activation in zip(submodel.taps, tapped, strict=True):
        activations.append(
            (activation if tap.grid is None else to_map(activation, tap.grid)).numpy()
        )
    return [activation[one] for activation in activations], [
        [slope.numpy()[one] for slope in layers] for layers in gradients
    ]
