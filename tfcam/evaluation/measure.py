"""A batch of pictures measured: each candidate's maps by each metric."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcam import maps
from tfcam.data.example import Example
from tfcam.evaluation.aggregate import Tally
from tfcam.evaluation.candidates import Candidate, Candidates
from tfcam.metrics import localisation
from tfcam.metrics.curves import Curve
from tfcam.metrics.probing import Probe
from tfcam.metrics.registry import Measure
from tfcam.utils.progress import Advance


def measured(
    examples: Sequence[Example],
    probe: Probe,
    candidates: Candidates,
    measures: Sequence[Measure],
    tally: Tally,
    labels: Sequence[str] | None,
    advance: Advance,
) -> list[tuple[Any, ...]]:
    """The rows of a batch.

    Args:
        examples: At most as many as a batch.
        probe: Asks the model about them.
        candidates: What makes the maps.
        measures: What is measured.
        tally: Keeps what is no row.
        labels: The label of each class.
        advance: Told by how many pictures the work has gone on.

    Returns:
        Picture, method, layer, metric, value, target, label, probability; a picture's together.
    """
    ids, pictures = [each.id for each in examples], [each.image for each in examples]
    raws = candidates(ids, pictures, probe.inputs, probe.targets)
    tally.pictures += len(examples)
    tally.notes["preprocessing"] = probe.preprocessing
    spoken = [str(each) if labels is None else labels[each] for each in probe.targets]
    regions = [_region(each, probe.inputs.shape[1:3], tally) for each in examples]
    rows = []
    for candidate, own in zip(candidates.all, raws, strict=True):
        whole = [bool(np.isfinite(each).all()) for each in own]
        for name, good in zip(ids, whole, strict=True):
            if not good:
                tally.skipped.append((name, f"{candidate.name}: its map holds NaN or infinity."))
        own = [raw if good else np.zeros_like(raw) for raw, good in zip(own, whole, strict=True)]
        values = _values(candidate, examples, regions, own, whole, probe, measures, tally)
        for (metric, place), value in values.items():
            about = (int(probe.targets[place]), spoken[place], float(probe.probabilities[place]))
            who = (candidate.method, candidate.layer, metric.name)
            rows.append((place, (ids[place], *who, value, *about)))
        if candidate.kind == "method":
            _show(candidate, examples, own, spoken, values, tally)
        advance(len(examples) / len(raws))
    rows.sort(key=lambda row: row[0])  # a picture's rows together
    return [row for _, row in rows]


def _values(
    candidate: Candidate,
    examples: Sequence[Example],
    regions: Sequence[np.ndarray | None],
    raws: Sequence[np.ndarray],
    whole: Sequence[bool],
    probe: Probe,
    measures: Sequence[Measure],
    tally: Tally,
) -> dict[tuple[Measure, int], float]:
    """What one candidate gets, by metric and place in the batch."""
    size = probe.inputs.shape[1:3]
    small = np.stack([maps.heatmap(each, size) for each in raws])
    empty = sum(good and not each.any() for good, each in zip(whole, small, strict=True))
    if empty:
        tally.empty[candidate.name] = tally.empty.get(candidate.name, 0) + empty
    found: dict[tuple[Measure, int], float] = {}
    of_truth = any(each.kind == "truth" for each in measures)
    large = [
        maps.heatmap(raw, each.image.shape[:2]) if of_truth else small[0]
        for raw, each in zip(raws, examples, strict=True)
    ]
    for measure in measures:
        key = (candidate.method, candidate.layer, measure.name)
        if measure.kind in ("probe", "map"):
            given = (probe, small) if measure.kind == "probe" else (small,)
            result = measure.function(*given, **measure.options)
            numbers = getattr(result, measure.of_curve) if isinstance(result, Curve) else result
            for place, good in enumerate(whole):
                if good:
                    found[measure, place] = float(numbers[place])
                    if isinstance(result, Curve):
                        tally.add_curve(key, result.fractions, result.probabilities[place])
            continue
        for place, example in enumerate(examples):
            truth = example.boxes if measure.needs == "boxes" else regions[place]
            if truth is None or not whole[place]:
                continue
            if measure.kind == "truth":
                number = measure.function(large[place], truth, **measure.options)
                found[measure, place] = float(number)
            else:
                scaled = _scaled(truth, example.image.shape[:2], size)
                tally.add_to_set(key, example.id, small[place], scaled)
    return found


def _region(example: Example, size: tuple[int, int], tally: Tally) -> np.ndarray | None:
    """Where the object is: its mask, else its boxes; None where that is no pixel."""
    truth, own = example.boxes if example.mask is None else example.mask, example.image.shape[:2]
    if truth is None:
        return None
    try:
        localisation.truth_mask(truth, own)
        localisation.truth_mask(_scaled(truth, own, size), size)
    except ValueError as error:
        tally.skipped.append((example.id, f"Only what needs no region was measured: {error}"))
        return None
    return truth


def _scaled(truth: np.ndarray, size: tuple[int, int], wanted: tuple[int, int]) -> np.ndarray:
    """Boxes or a mask on the picture resized."""
    if truth.dtype == bool:
        return maps.resize(truth, wanted) > 0.5
    across, down = wanted[1] / size[1], wanted[0] / size[0]
    return truth * np.array([across, down, across, down], np.float32)


def _show(
    candidate: Candidate,
    examples: Sequence[Example],
    raws: Sequence[np.ndarray],
    spoken: Sequence[str],
    values: Mapping[tuple[Measure, int], float],
    tally: Tally,
) -> None:
    """Keep the pictures that are the best or worst so far by the leading metric."""
    if not tally.leading and values:
        tally.leading = next(iter(values))[0].name
    for (measure, place), value in values.items():
        if measure.name == tally.leading:
            example, raw = examples[place], raws[place]
            tally.show(
                (candidate.method, candidate.layer),
                value,
                example.id,
                spoken[place],
                measure.better == "higher",
                example.image,
                functools.partial(maps.heatmap, raw, example.image.shape[:2]),
                example.boxes,
            )
